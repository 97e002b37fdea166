//! Several hosts (`tests/support/hosts.rs`): `--hostfile`, and cables that are pulled out.
#![cfg(feature = "mpi")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::hosts::Hosts;
use support::job::{Job, PATIENCE, Place, UNDERSTUDY};
use support::load::{number, wait_progress};
use support::skip::{can_run, program};

/// After a cable was out TCP tries again ever more rarely: this takes as long again as it was out, and more.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// The host that a rank runs on: by turns, rank 0 on the first.
fn host_of(rank: u32) -> u32 {
    rank + 1
}

/// Waits until both servers serve together again, whoever leads.
#[track_caller]
fn wait_whole(job: &mut Job) -> u32 {
    let begun = Instant::now();
    loop {
        let status = job.status();
        if let Some(primary) = status.primary.filter(|primary| status.is_led_by(*primary, &[3 - primary])) {
            return primary;
        }
        if begun.elapsed() > HEALED_WITHIN {
            job.fail(&format!("not whole again:\n{status}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_cable_is_pulled_out_and_put_in_again() {
    let Some(hosts) = Hosts::start("a_cable_is_pulled_out_and_put_in_again", 3) else { return };
    let mut job = hosts.job(&["--servers", "2", "--failure-rate", "0"]);
    wait_whole(&mut job);
    job.expect("PUT kept yes", "OK");
    job.expect("LOAD 300", "OK");
    wait_progress(&mut job, HEALED_WITHIN, 100);

    // The primary's: the other takes over and serves alone.
    let primary = wait_whole(&mut job);
    hosts.plug(host_of(primary), false);
    job.wait_status("the backup has taken over", |status| status.primary == Some(3 - primary));
    wait_progress(&mut job, HEALED_WITHIN, 300);
    job.expect("GET kept", "yes");
    hosts.plug(host_of(primary), true);
    assert_eq!(wait_whole(&mut job), 3 - primary);

    // The backup's: writes go on without it.
    let primary = 3 - primary;
    hosts.plug(host_of(3 - primary), false);
    job.wait_status("the primary is alone", |status| status.primary == Some(primary) && status.backups.is_empty());
    wait_progress(&mut job, HEALED_WITHIN, 300);
    hosts.plug(host_of(3 - primary), true);
    assert_eq!(wait_whole(&mut job), primary);

    // The console's: nobody is asked, nothing fails over, and what was asked is answered afterwards.
    hosts.plug(1, false);
    job.expect("SLEEP 1.5", "OK");
    let view = job.status().view;
    hosts.plug(1, true);
    wait_progress(&mut job, HEALED_WITHIN, 300);
    assert_eq!(job.status().view, view);

    job.expect("LOAD off", "OK");
    let line = job.ask("LOAD");
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    assert!(number(&line, "failovers") >= 1, "{line}");
    eprintln!("{line}");
    job.expect("GET kept", "yes");
    job.end(0);
}

/// By a spare, and by a process that is started on the first host and reached over TCP.
#[test]
fn a_server_on_another_host_is_killed_and_replaced() {
    let Some(hosts) = Hosts::start("b", 3) else { return };
    for spares in ["2", "0"] {
        let mut job = hosts.job(&["--servers", "2", "--failure-rate", "0", "--spares", spares]);
        job.expect("PUT kept yes", "OK");
        for _ in 0..2 {
            let primary = wait_whole(&mut job);
            let before = job.status().pid(primary);
            job.expect("KILL primary", "OK");
            job.expect("GET kept", "yes");
            job.wait_status("another process", |status| status.pid(primary) != before && status.is_whole());
        }
        wait_whole(&mut job);
        job.expect("CRASH primary", "OK");
        job.expect("GET kept", "yes");
        job.end(0);
    }
}

#[test]
fn a_hostfile_that_is_none_is_told_in_one_line() {
    let place = Place::new();
    let empty = place.path().join("empty");
    std::fs::write(&empty, "# nobody\n").expect("the place is ours");
    for (file, word) in [(Path::new("/nowhere/hosts"), "cannot be read"), (&empty, "names no host")] {
        let mut job = Job::of(&["--hostfile", file.to_str().expect("a plain name")], |_| Command::new(UNDERSTUDY));
        let begun = Instant::now();
        let ended = job.wait_end();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(word) && ended.stderr.lines().count() == 1, "{ended:?}");
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// What is asked of the door on this host, and answered.
fn at_door(hosts: &Hosts, host: u32, port: &str, words: &[&str]) -> String {
    let mut command = hosts.command(host, "redis-cli");
    command.args(["-h", &Hosts::address(host), "-p", port, "-a", "secret", "--no-auth-warning"]).args(words);
    let output = command.output().expect("it is installed");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

#[test]
fn a_door_on_another_host_listens_there() {
    const TEST: &str = "a_door_on_another_host_listens_there";
    let lacks: Vec<String> = program("redis-cli", "the package redis-tools").into_iter().collect();
    if !can_run(TEST, &lacks) {
        return;
    }
    let Some(hosts) = Hosts::start(TEST, 3) else { return };
    let place = Place::new();
    let password = place.path().join("password");
    std::fs::write(&password, "secret\n").expect("the place is ours");
    let password = password.to_str().expect("a plain name");
    let args = ["--servers", "1", "--failure-rate", "0", "--doors", "1", "--password-file", password];
    let mut job = hosts.job(&[&args[..], &["--plain", "--door", "0.0.0.0:7379"]].concat());
    job.expect("PUT a 1", "OK");
    // Rank 0 is on the first host, the server on the second, the further door on the third.
    assert_eq!(at_door(&hosts, 1, "7379", &["incr", "a"]), "2");
    assert_eq!(at_door(&hosts, 3, "7379", &["incr", "a"]), "3");
    assert_eq!(at_door(&hosts, 3, "7379", &["publish", "c", "m"]), "0");
    assert!(at_door(&hosts, 3, "7379", &["info", "clients"]).contains("door_rank:2"));
    assert_eq!(at_door(&hosts, 2, "7379", &["incr", "a"]), "");
    job.end(0);

    // The first host's address is not the third one's.
    let address = format!("{}:7380", Hosts::address(1));
    let mut job = hosts.job(&[&args[..], &["--plain", "--door", &address]].concat());
    job.expect("PUT a 1", "OK");
    let begun = Instant::now();
    while !job.stderr().contains("give --door 0.0.0.0:7380") {
        assert!(begun.elapsed() < PATIENCE, "{}", job.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(at_door(&hosts, 1, "7380", &["incr", "a"]), "2");
    assert!(at_door(&hosts, 1, "7380", &["info", "clients"]).contains("doors:1"));
    job.end(0);
}
