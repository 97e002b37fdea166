//! A slow network and a busy machine, over real MPI: neither is taken for death.
//!
//! The bounds are generous, since the machine that runs this may be busy already; the exact figures are in the
//! simulator (`tests/weather.rs`).
#![cfg(feature = "mpi")]

mod support;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::job::{Job, PATIENCE};
use support::load::{number, wait_progress};

/// Two programs that want two processors each.
const HOGS: usize = 4;
/// They want them for so long: `SLEEP` takes at most 10 s.
const BUSY_S: &str = "10";
/// A minute allows one false failover; before servers learnt to be patient there were 20 and more in ten seconds.
const FAILOVERS_MAX: u64 = 2;

/// Programs that do nothing but take time; ended when dropped.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start() -> Self {
        let hog = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().expect("a shell starts")
        };
        Self((0..HOGS).map(hog).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

#[test]
fn a_busy_machine_is_no_reason_for_failovers() {
    let mut job = Job::start(&["--failure-rate", "0"]);
    job.wait_led_by(1, &[2]);
    let hogs = Hogs::start();
    job.expect("LOAD on", "OK");
    wait_progress(&mut job, PATIENCE, 100);
    job.expect(&format!("SLEEP {BUSY_S}"), "OK");
    let line = wait_progress(&mut job, PATIENCE, 100);
    let status = job.status();
    drop(hogs);
    eprintln!("{line}\n{status}");
    let longest = status.ranks.iter().filter_map(|rank| rank.silence_ms).max();
    if !longest.is_some_and(|silence| (50..=200).contains(&silence)) {
        job.fail(&format!("STATUS tells no silence, or a strange one:\n{status}"));
    }
    if number(&line, "failovers") > FAILOVERS_MAX {
        job.fail(&format!("too many failovers, and nobody has died: {line}\n{status}"));
    }
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    job.expect("LOAD off", "OK");
    job.end(0);
}

#[test]
fn a_slow_network_is_slow_and_serves() {
    for delay in [20, 50] {
        let mut job = Job::start(&["--servers", "3", "--failure-rate", "0"]);
        job.wait_led_by(1, &[2, 3]);
        job.expect(&format!("DELAY {delay}"), "OK");
        job.wait_status("all together on the slow network", |status| {
            // They have learnt how slow it is.
            let knows = |silence: u64| silence >= 3 * 2 * delay - delay;
            let silences = status.ranks.iter().filter_map(|rank| rank.silence_ms);
            status.is_whole() && silences.filter(|silence| knows(*silence)).count() == 3
        });
        let begun = Instant::now();
        for number in 0..5 {
            job.expect(&format!("PUT key {number}"), "OK");
            job.expect("GET key", &number.to_string());
        }
        let most = Duration::from_secs(5);
        assert!(begun.elapsed() < most, "ten requests with DELAY {delay} took {:.1?}", begun.elapsed());
        // A joining server gets in, and stays.
        job.expect("CRASH primary", "OK");
        job.expect("GET key", "4");
        job.expect("RECOVER", "OK");
        let whole = job.wait_status("the server is back", |status| status.is_whole());
        job.expect("SLEEP 3", "OK");
        let later = job.status();
        if later.view > whole.view + 2 {
            job.fail(&format!("with DELAY {delay} servers come and go:\n{whole}\n{later}"));
        }
        job.expect("GET key", "4");
        job.end(0);
    }
}
