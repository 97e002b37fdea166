//! Processes die for real: the binary under a real mpirun, in line mode, with SIGKILL from inside and outside.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::{Pid, Signal};
use std::process::Command;
use std::time::{Duration, Instant};
use support::job::{Job, UNDERSTUDY};
use support::status::Status;

/// A cluster in line mode whose servers fail only when they are told to.
fn cluster(servers: u32, options: &[&str]) -> Job {
    let mut args = vec!["--plain", "--failure-rate", "0", "--servers"];
    let servers = servers.to_string();
    args.push(&servers);
    args.extend(options);
    let mut job = Job::start(&args);
    job.expect("PUT started yes", "OK");
    whole(&mut job);
    job
}

/// Waits until every server is in the view, in a living process.
fn whole(job: &mut Job) -> Status {
    job.wait_status("the view is whole", Status::is_whole)
}

fn primary(status: &Status) -> u32 {
    status.primary.unwrap_or_else(|| panic!("no primary: {status}"))
}

fn kill_from_outside(job: &Job, status: &Status, rank: u32) {
    job.signal(Pid::from_raw(status.pid(rank)).expect("STATUS names processes"), Signal::KILL);
}

/// Ends the cluster: nobody may be left after two seconds, whoever was killed before.
fn leave(job: Job, code: i32) {
    let took = job.end(code);
    assert!(took < Duration::from_secs(2), "it took {took:?} to leave");
}

#[test]
fn twenty_kills_under_load_lose_nothing() {
    const KILLS: u32 = 20;
    const WRITES: u64 = 400;
    let mut job = cluster(2, &[]);
    let mut counted = 0;
    let mut downtimes = Vec::new();
    for kill in 0..KILLS {
        let before = whole(&mut job);
        // The primary, the backup, and every server by its number.
        let victim = match kill % 4 {
            0 => primary(&before),
            1 => before.backups[0],
            number => number - 1,
        };
        job.tell(&format!("{WRITES} INCR n"));
        if kill % 2 == 0 {
            std::thread::sleep(Duration::from_millis(kill.into()));
            kill_from_outside(&job, &before, victim);
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..WRITES {
            let asked = Instant::now();
            let answer = job.answer();
            slowest = slowest.max(asked.elapsed());
            counted += 1;
            assert_eq!(answer, counted.to_string(), "after kill {kill} of server {victim}");
        }
        if kill % 2 == 1 {
            job.expect(&format!("KILL {victim}"), "OK");
            let asked = Instant::now();
            counted += 1;
            job.expect("INCR n", &counted.to_string());
            slowest = asked.elapsed();
        }
        let replaced = |after: &Status| after.is_whole() && after.pid(victim) != before.pid(victim);
        let after = job.wait_status("a new process is a member", replaced);
        assert!(after.server(victim).incarnation > before.server(victim).incarnation, "{before}\nthen\n{after}");
        downtimes.push(slowest);
    }
    job.expect("GET n", &counted.to_string());
    downtimes.sort_unstable();
    eprintln!("longest wait for an answer at each of {KILLS} kills: {downtimes:.0?}");
    leave(job, 0);
}

#[test]
fn without_respawn_a_dead_server_waits_for_recover() {
    let mut job = cluster(2, &["--no-respawn"]);
    let before = job.status();
    let dead = primary(&before);
    let answer = job.ask("KILL 0");
    assert!(answer.starts_with("(error)"), "{answer}");
    job.expect("PUT a 1", "OK");
    job.expect("KILL primary", "OK");
    job.expect("GET a", "1");
    let answer = job.ask(&format!("KILL {dead}"));
    assert!(answer.contains("already dead"), "{answer}");
    std::thread::sleep(Duration::from_secs(1));
    let status = job.status();
    assert_eq!((status.role(dead), &status.backups[..]), ("DEAD", &[][..]), "{status}");
    job.expect("RECOVER", "OK");
    assert_ne!(whole(&mut job).pid(dead), before.pid(dead));
    job.expect("KILL primary", "OK");
    job.expect("GET a", "1");
    leave(job, 1);
}

#[test]
fn three_servers_survive_two_deaths_at_once() {
    let mut job = cluster(3, &[]);
    for round in 0..3 {
        let status = whole(&mut job);
        job.expect(&format!("PUT round {round}"), "OK");
        kill_from_outside(&job, &status, primary(&status));
        kill_from_outside(&job, &status, status.backups[round % 2]);
        job.expect("GET round", &round.to_string());
    }
    whole(&mut job);
    leave(job, 0);
}

#[test]
fn nobody_outlives_a_killed_console() {
    let mut job = cluster(2, &[]);
    job.expect("KILL primary", "OK");
    let status = whole(&mut job);
    kill_from_outside(&job, &status, 0);
    let took = job.wait_gone();
    assert!(took < Duration::from_secs(4), "the last one went {took:?} after rank 0");
}

/// The servers' answers to a primary that has slept, and was replaced meanwhile.
#[test]
fn a_paused_primary_wakes_as_nobody() {
    let mut job = cluster(2, &[]);
    for round in 0..3 {
        let before = whole(&mut job);
        let zombie = primary(&before);
        job.expect(&format!("PUT k old{round}"), "OK");
        job.expect("PAUSE primary", "OK");
        // Through the new primary; nobody is asked before it is there.
        job.expect(&format!("PUT k new{round}"), "OK");
        // The signal may have come after the request: then the old primary has answered, as it may.
        let replaced = |now: &Status| now.primary.is_some_and(|primary| primary != zombie);
        let paused = job.wait_status("somebody else is primary", replaced);
        assert_eq!(paused.role(zombie), "PAUSED", "{paused}");
        job.tell(&format!("RESUME {zombie}"));
        job.tell("50 GET k");
        assert_eq!(job.answer(), "OK");
        for _ in 0..50 {
            assert_eq!(job.answer(), format!("new{round}"));
        }
        let incarnation = before.server(zombie).incarnation;
        let joined = |now: &Status| now.is_whole() && now.server(zombie).incarnation > incarnation;
        let after = job.wait_status("the zombie has joined again", joined);
        assert_eq!(after.pid(zombie), before.pid(zombie));
    }
    leave(job, 0);
}

/// As under `nohup`: what was ignored at the start stays ignored, by the launcher and by rank 0.
#[test]
fn who_was_told_to_ignore_a_hangup_does() {
    let mut job = Job::of(&["--plain", "--failure-rate", "0"], |_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap '' HUP; exec "$0" "$@""#, UNDERSTUDY]);
        shell
    });
    job.expect("PUT started yes", "OK");
    let status = whole(&mut job);
    let rank_zero = Pid::from_raw(status.pid(0)).expect("STATUS names processes");
    for pid in [job.pid(), rank_zero] {
        job.signal(pid, Signal::HUP);
    }
    std::thread::sleep(Duration::from_millis(700));
    job.expect("GET started", "yes");
    // What was not ignored still counts.
    job.signal(job.pid(), Signal::TERM);
    assert_eq!(job.wait_end().status.code(), Some(143));
    job.wait_gone();
}

/// Whoever takes their place has never had the data.
#[test]
fn when_both_members_are_dead_every_command_says_so_at_once() {
    let mut job = cluster(2, &[]);
    let status = whole(&mut job);
    for rank in [1, 2] {
        kill_from_outside(&job, &status, rank);
    }
    let gone =
        |answer: &str| answer.starts_with("(error) nobody is served") && answer.contains("the data is gone. RESET");
    let begun = Instant::now();
    for line in ["GET started", "PUT a 1", "COUNT"] {
        let answer = job.ask(line);
        assert!(gone(&answer), "{line}: {answer}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?} to say so", begun.elapsed());
    let back = job.wait_status("both are replaced", |status| [1, 2].iter().all(|rank| status.role(*rank) == "IDLE"));
    assert!(back.why.is_some_and(|why| why.contains("the data is gone. RESET")));
    let answer = job.ask("RECOVER");
    assert!(gone(&answer), "RECOVER: {answer}");
    job.expect("RESET", "OK");
    job.expect("GET started", "(nil)");
    job.expect("PUT started again", "OK");
    leave(job, 1);
}

/// A server that was stopped believes what it believed then. `STATUS` does not repeat it as if it were true.
#[test]
fn a_server_that_goes_on_is_no_second_primary() {
    let mut job = cluster(2, &[]);
    for _ in 0..6 {
        let before = whole(&mut job);
        let (old, new) = (primary(&before), before.backups[0]);
        job.expect(&format!("PAUSE {old}"), "OK");
        job.wait_status("the other one leads", |status| status.primary == Some(new) && status.backups.is_empty());
        job.expect(&format!("RESUME {old}"), "OK");
        let after = job.status();
        let leads = |rank: &u32| after.role(*rank) == "PRIMARY";
        assert_eq!([1, 2].iter().filter(|rank| leads(rank)).count(), 1, "{after}");
        assert!(leads(&new), "{after}");
    }
    leave(job, 0);
}
