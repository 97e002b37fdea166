//! Random runs of the whole cluster in the simulator: every seed must be clean.

use understudy::sim::{Chaos, Outcome, run};

/// Runs `seeds` and panics with the first failing one, and everything needed to repeat it.
fn sweep(seeds: std::ops::Range<u64>, chaos: &Chaos) {
    for seed in seeds {
        let report = run(seed, chaos);
        if let Outcome::Violated(violation) = report.outcome {
            for line in report.last_events {
                eprintln!("{line}");
            }
            panic!("{violation}\nseed {seed} with {chaos:?}");
        }
    }
}

#[test]
fn two_servers_are_clean() {
    sweep(0..100, &Chaos { servers: 2, clients: 2, operations: 500, ..Chaos::default() });
}

#[test]
fn three_servers_are_clean() {
    sweep(0..100, &Chaos { servers: 3, clients: 3, operations: 500, ..Chaos::default() });
}

#[test]
fn five_servers_and_wide_windows_are_clean() {
    sweep(0..40, &Chaos { servers: 5, clients: 3, operations: 500, window: 64, ..Chaos::default() });
}

#[test]
fn one_server_is_clean() {
    sweep(0..20, &Chaos { servers: 1, clients: 2, operations: 300, ..Chaos::default() });
}
