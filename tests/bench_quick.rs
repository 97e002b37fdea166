//! The benchmark, as short as it can be: every figure is there, and the JSON can be read again.

#![cfg(feature = "mpi")]

mod support;

use std::ffi::OsStr;
use std::process::Command;
use support::job::{Place, Turn, UNDERSTUDY};
use support::skip::{can_run, program};
use understudy::tools::bench::BenchReport;

/// A short benchmark with these words, and what it prints.
fn bench<'a>(place: &Place, words: impl IntoIterator<Item = &'a OsStr>) -> String {
    let mut command = Command::new(UNDERSTUDY);
    place.furnish(&mut command);
    let output = command.args(["bench", "--quick"]).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The same of one part.
fn measured(part: &str) -> String {
    let (_turn, place) = (Turn::take(), Place::new());
    bench(&place, ["--only", part].map(OsStr::new))
}

#[test]
fn the_door_is_measured_beside_redis() {
    let lacks = [("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")];
    let lacks: Vec<String> = lacks.iter().filter_map(|(name, package)| program(name, package)).collect();
    if !can_run("the_door_is_measured_beside_redis", &lacks) {
        return;
    }
    let said = measured("door");
    let names = ["door_set_rate", "door_get_rate", "door_set_p16_rate", "door_get_p16_rate", "door_set_p50"];
    for name in names.into_iter().chain(["door_hset_p50", "door_string_bytes", "door_hash_bytes"]) {
        assert!(said.lines().any(|line| line.starts_with(name)), "no row {name} in\n{said}");
    }
}

#[test]
fn a_disk_is_measured_beside_none_and_beside_plain_writing() {
    let said = measured("disk");
    let rows =
        ["no", "everysec", "always"].map(|policy| ["put_p50", "put_rate"].map(|of| format!("disk_{policy}_{of}")));
    let plain = ["p50", "rate"].map(|of| format!("disk_always_put_{of}_plain"));
    for name in rows.into_iter().flatten().chain(plain) {
        assert!(said.lines().any(|line| line.starts_with(&name)), "no row {name} in\n{said}");
    }
}

#[test]
fn a_glance_gives_the_figures_and_a_picture() {
    let (_turn, place) = (Turn::take(), Place::new());
    let (json, svg) = (place.path().join("report.json"), place.path().join("report.svg"));
    let words = ["--only", "speed", "--only", "failover", "--keys", "100", "--json"].map(OsStr::new);
    let said = bench(&place, words.into_iter().chain([json.as_os_str(), OsStr::new("--svg"), svg.as_os_str()]));
    let report: BenchReport = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let names = ["get_1_p50", "put_1_p50", "get_256_rate", "put_256_rate", "put_4096_rate", "put_64k_p50"];
    for name in names.into_iter().chain(["failover_p50", "failover_p99"]) {
        let row = report.row(name).unwrap_or_else(|| panic!("no row {name} in\n{said}"));
        assert!(row.limit > 0.0, "{row:?}");
    }
    assert_eq!(report.failovers.len(), 1);
    assert!(std::fs::read_to_string(&svg).unwrap().contains("</svg>"));
}
