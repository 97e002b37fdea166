//! No state outlives its cause, over real MPI: under full load the rate is back a second after a fault has ended.
//!
//! The measure is the number of operations in a second, as `LOAD` tells it. On a machine with two processors, and
//! other programs on it, that varies by itself: so the usual rate is the median of some seconds before the fault,
//! taken in the same run; the rate afterwards is the best of five seconds, the first of which begins one second
//! after `HEAL`; and of three rounds one has to reach [`SHARE`] of it. What this looks for is of another size: a
//! window full of requests that wait for each other's repetition served a five-hundredth of the rate, for ten
//! seconds and more, in every round.
#![cfg(feature = "mpi")]

mod support;

use std::time::Instant;
use support::job::{Job, PATIENCE};
use support::load::{number, wait_progress};
use support::status::Status;

/// This much of the usual rate, after a fault.
const SHARE: f64 = 0.9;
const ROUNDS: usize = 3;
const SECONDS_BEFORE: usize = 3;
const SECONDS_AFTER: usize = 5;
/// For this many seconds a fault lasts.
const FAULT_S: &str = "1";

/// Operations a second, measured for about a second.
fn rate(job: &mut Job) -> f64 {
    let operations = number(&job.ask("LOAD"), "operations");
    let begun = Instant::now();
    job.expect("SLEEP 1", "OK");
    let more = number(&job.ask("LOAD"), "operations") - operations;
    more as f64 / begun.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Three servers, two clients besides the console, all at work.
fn at_work() -> Job {
    let mut job = Job::start(&["--servers", "3", "--clients", "2", "--failure-rate", "0"]);
    // On a busy machine the first primary may have been replaced already.
    job.wait_status("the view is whole", Status::is_whole);
    job.expect("LOAD on", "OK");
    wait_progress(&mut job, PATIENCE, 1_000);
    job
}

/// The fault begins, lasts, and ends.
#[track_caller]
fn comes_back_after(job: &mut Job, fault: &str) {
    let mut told = Vec::new();
    for _ in 0..ROUNDS {
        let usual = median((0..SECONDS_BEFORE).map(|_| rate(job)).collect());
        job.expect(fault, "OK");
        job.expect(&format!("SLEEP {FAULT_S}"), "OK");
        job.expect("HEAL", "OK");
        job.expect("SLEEP 1", "OK");
        let mut best = 0.0_f64;
        for _ in 0..SECONDS_AFTER {
            best = best.max(rate(job));
            if best >= SHARE * usual {
                return;
            }
        }
        told.push(format!("{best:.0} of {usual:.0}"));
    }
    job.fail(&format!("operations a second after {fault} and HEAL: {}", told.join(", ")));
}

#[track_caller]
fn end(mut job: Job) {
    job.expect("LOAD off", "OK");
    let line = job.ask("LOAD");
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    eprintln!("{line}");
    job.end(0);
}

#[test]
fn the_rate_comes_back_after_loss() {
    let mut job = at_work();
    comes_back_after(&mut job, "LOSS 0.2");
    end(job);
}

#[test]
fn the_rate_comes_back_after_a_cut_one_way() {
    let mut job = at_work();
    let primary = job.status().primary.unwrap_or_else(|| job.fail("nobody leads"));
    comes_back_after(&mut job, &format!("CUT 0 {primary} ONEWAY"));
    let primary = job.status().primary.unwrap_or_else(|| job.fail("nobody leads"));
    comes_back_after(&mut job, &format!("CUT {primary} {} ONEWAY", primary % 3 + 1));
    end(job);
}
