//! Random runs of the whole cluster in the simulator: every seed must be clean.

use std::sync::atomic::{AtomicU64, Ordering};
use understudy::sim::invariants::Violation;
use understudy::sim::{Chaos, Recall, RunOutcome, replay, run};

/// Runs seeds `0..seeds` on two threads and panics with the first failing one, and everything needed to repeat it.
fn sweep(seeds: u64, chaos: &Chaos) {
    let next = AtomicU64::new(0);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return None;
            }
            if let RunOutcome::Violated(violation) = run(seed, chaos).outcome {
                next.store(seeds, Ordering::Relaxed);
                return Some((seed, violation));
            }
        }
    };
    let failed = std::thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers
            .into_iter()
            .filter_map(|worker| worker.join().expect("a run does not panic"))
            .min_by_key(|(seed, _)| *seed)
    });
    if let Some((seed, violation)) = failed {
        for line in replay(seed, chaos, Recall::Recent).1 {
            eprintln!("{:>14} {line}", line.at);
        }
        panic!("{violation}\nseed {seed} with {chaos:?}\nrepeat it with: {}", chaos.command(seed));
    }
}

#[test]
fn one_server_is_clean() {
    sweep(100, &Chaos { servers: 1, clients: 2, operations: 500, ..Chaos::default() });
}

#[test]
fn two_servers_are_clean() {
    sweep(800, &Chaos { servers: 2, clients: 2, operations: 500, ..Chaos::default() });
}

#[test]
fn three_servers_are_clean() {
    sweep(1_500, &Chaos { servers: 3, clients: 3, operations: 500, ..Chaos::default() });
}

#[test]
fn values_of_every_kind_are_clean() {
    sweep(200, &Chaos { servers: 3, clients: 3, operations: 300, values: true, ..Chaos::default() });
}

#[test]
fn five_servers_and_wide_windows_are_clean() {
    sweep(300, &Chaos { servers: 5, clients: 3, operations: 500, window: 64, ..Chaos::default() });
}

#[test]
fn disks_are_clean() {
    sweep(60, &Chaos { disks: true, ..Chaos::default() });
}

#[test]
fn acknowledgements_that_come_late_by_views_are_clean() {
    sweep(200, &Chaos { lingers: true, ..Chaos::default() });
}

#[test]
fn sessions_that_end_are_clean() {
    sweep(150, &Chaos { sessions: true, ..Chaos::default() });
    sweep(30, &Chaos { sessions: true, disks: true, ..Chaos::default() });
}

/// A `RESET` while a view is being written (the first five); the proof that an epoch never began, which has to outlive
/// several ends of everything, and a log that begins with a snapshot (the next six). In the last two the run itself had
/// damaged the last copy, if the view counts that was being written.
#[test]
fn seeds_of_disks_that_found_something_stay_clean() {
    let chaos = Chaos { disks: true, ..Chaos::default() };
    for seed in [2_467, 2_564, 6_566, 7_044, 1_821, 214, 529, 3_709, 676, 831, 986, 1_074, 1_286] {
        assert_eq!(run(seed, &chaos).outcome, RunOutcome::Clean, "{}", chaos.command(seed));
    }
}

/// A run on machines that are all alike and never in trouble.
fn on_good_machines() -> Chaos {
    Chaos { troubles: 0, clocks: 1.0, work: 0.0, ..Chaos::default() }
}

#[test]
fn good_machines_are_clean() {
    sweep(300, &on_good_machines());
}

/// The seeds, of this many, that violate something.
fn violations(seeds: u64, chaos: &Chaos) -> Vec<(u64, Violation)> {
    let violation = |seed| match run(seed, chaos).outcome {
        RunOutcome::Violated(violation) => Some((seed, violation)),
        RunOutcome::Clean => None,
    };
    (0..seeds).filter_map(violation).collect()
}

#[test]
fn clocks_that_differ_by_more_than_is_promised_break_it() {
    let seeds = 100;
    let found = violations(seeds, &Chaos { clocks: 1.5, ..Chaos::default() });
    assert!(found.iter().any(|(_, violation)| violation.invariant == "one_server"), "{found:?}");
    assert_eq!(violations(seeds, &Chaos::default()), []);
}

/// Whatever went wrong, a second after it is over clients are served as well as before.
#[test]
fn full_speed_comes_back_when_faults_end() {
    let chaos = Chaos { load: true, ..Chaos::default() };
    sweep(100, &chaos);
}

/// Seeds that once showed something, with the run they showed it in.
#[test]
fn seeds_that_once_failed_are_clean() {
    let found = [
        // The servers that a RESET had waited for were waking up: they had announced lives that they then forgot.
        (11_988, Chaos { clients: 1, operations: 289, window: 2, faults: 30, ..on_good_machines() }),
        (11_988, on_good_machines()),
        // A server forgot an epoch that was over before it knew of the next one: nothing was lost.
        (16_177, Chaos { operations: 290, faults: 195, troubles: 372, ..Chaos::default() }),
        // Whoever had everything was a member of the newest view already, and had only not heard of it.
        (3_523, Chaos { operations: 104, faults: 76, troubles: 162, ..Chaos::default() }),
        // What a held up rank had not sent kept everything behind it waiting when all faults had ended.
        (2_195, Chaos { operations: 295, work: 0.0, ..Chaos::default() }),
        (11_988, Chaos::default()),
        // A primary died while its confirmation was under way, and had confirmed more than one view.
        (16_807, Chaos { operations: 155, window: 4, faults: 17, troubles: 2, clocks: 1.0, ..Chaos::default() }),
        (17_289, Chaos { operations: 256, faults: 67, troubles: 0, ..Chaos::default() }),
        // A part that was repeated for an earlier life was taken by the next one, which then had to forget, for ever.
        (2_042, Chaos { operations: 287, ..Chaos::default() }),
        // The patience of a transfer had grown with a bad network, and a lost part was not sent again for seconds.
        (100, Chaos { operations: 244, faults: 57, troubles: 20, ..Chaos::default() }),
        // Who confirms a view and dies while that travels counts as its primary.
        (
            200_751,
            Chaos { clients: 2, operations: 53, window: 1, faults: 24, troubles: 0, work: 0.0, ..Chaos::default() },
        ),
        // The network was slow, and a confirmation still counted after more than a second.
        (218_412, Chaos { operations: 242, faults: 365, ..Chaos::default() }),
        // A primary confirmed a view, wanted another one within the same turn, and died: the first one came about.
        (200_140, Chaos { operations: 299, faults: 210, troubles: 440, ..Chaos::default() }),
    ];
    for (seed, chaos) in found {
        assert_eq!(run(seed, &chaos).outcome, RunOutcome::Clean, "{}", chaos.command(seed));
    }
}
