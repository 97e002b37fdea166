//! Processes die for real: the binary under a real mpirun, in line mode, with SIGKILL from inside and outside.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::time::{Duration, Instant};
use support::job::{Job, UNDERSTUDY};
use support::load::number;
use support::status::Status;
use understudy::check::witness::KEPT_BYTES_MAX;

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
    job.signal(status.process(rank), Signal::KILL);
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

/// The console and the backup are stopped for a moment. Meanwhile the primary asks for a view without the backup, and
/// dies before it can be asked back: the wish of a dead server throws nobody out who has the data.
#[test]
fn the_wish_of_a_dead_primary_throws_nobody_out() {
    let mut job = cluster(2, &[]);
    for round in 0..5 {
        let before = whole(&mut job);
        let (leader, backup) = (primary(&before), before.backups[0]);
        job.expect(&format!("PUT round {round}"), "OK");
        for rank in [0, backup] {
            job.signal(before.process(rank), Signal::STOP);
        }
        std::thread::sleep(Duration::from_millis(150));
        kill_from_outside(&job, &before, leader);
        for rank in [backup, 0] {
            job.signal(before.process(rank), Signal::CONT);
        }
        job.expect("GET round", &round.to_string());
    }
    whole(&mut job);
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
    whole(&mut job);
    for pid in [job.pid(), job.rank_zero()] {
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
    // A spare would have all the data within some milliseconds, before the second one dies.
    let mut job = cluster(2, &["--spares", "0"]);
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
    // If the second death came after the view without the first, there is a place to ask for, though nobody to give it.
    let waits = |role: &str| matches!(role, "IDLE" | "JOINING");
    let back = job.wait_status("both are replaced", |status| [1, 2].iter().all(|rank| waits(status.role(*rank))));
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

// ---- many kills ------------------------------------------------------------------------------------

/// This many kills in the gate; by hand more: `UNDERSTUDY_KILLS=200 cargo test --test kill many`.
const KILLS: u32 = 40;
/// Served after the last kill, and whole again; with room for a machine that is busy with other tests.
const SERVED_WITHIN: Duration = Duration::from_secs(3);
const WHOLE_WITHIN: Duration = Duration::from_secs(15);
/// Some megabytes.
const BIG_VALUES: usize = 100;
const BIG_VALUE_BYTES: usize = 60_000;
/// After this many kills there are no spares left, and what grows from then on grows for ever.
const SPARES_ARE_GONE: u32 = 10;

/// The same numbers again from the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What a process holds: descriptors, and kilobytes of memory that are its own.
fn held(pid: Pid) -> (usize, u64) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let memory = text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
    (descriptors, memory.unwrap_or_default())
}

/// Whether this server has the data, by its own word.
fn is_member(status: &Status, rank: u32) -> bool {
    let in_view = status.primary == Some(rank) || status.backups.contains(&rank);
    in_view && ["PRIMARY", "BACKUP"].contains(&status.role(rank))
}

/// Whom one may kill without the data's being lost: who has it, if somebody else has it too, and who has not.
fn victims(status: &Status) -> Vec<u32> {
    let holders: Vec<u32> = status.ranks.iter().map(|line| line.rank).filter(|rank| is_member(status, *rank)).collect();
    let lives = |line: &&support::status::RankLine| line.rank != 0 && line.role != "DEAD";
    let all = status.ranks.iter().filter(lives).map(|line| line.rank);
    all.filter(|rank| holders.len() > 1 || holders.len() == 1 && !holders.contains(rank)).collect()
}

#[test]
fn many_kills_in_a_row_hold_nobody_up_and_cost_nothing_for_good() {
    let kills = std::env::var("UNDERSTUDY_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::var("UNDERSTUDY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    eprintln!("UNDERSTUDY_SEED={seed}");
    let mut chance = Chance(seed);
    let mut job = cluster(3, &[]);
    // So much to hand over that some are killed while they join.
    for number in 0..BIG_VALUES {
        job.expect(&format!("PUT big{number} {}", "x".repeat(BIG_VALUE_BYTES)), "OK");
    }
    job.expect("LOAD 2000", "OK");
    let mut early = None;
    let mut unborn = 0;
    for kill in 1..=kills {
        // At once after the last one, so that its successor has not said a word yet, or while it joins, or later.
        std::thread::sleep(Duration::from_millis([0, 3, 30, 400][chance.below(4) as usize] * chance.below(100) / 100));
        let status = loop {
            let status = job.status();
            if !victims(&status).is_empty() {
                break status;
            }
        };
        let mut among = victims(&status);
        let newcomers: Vec<u32> = among.iter().copied().filter(|rank| !is_member(&status, *rank)).collect();
        if !newcomers.is_empty() && chance.below(2) == 0 {
            among = newcomers;
        }
        let victim = among[chance.below(among.len() as u64) as usize];
        unborn += u32::from(!is_member(&status, victim));
        // It may have died since, by a kill before.
        let _ = kill_process(status.process(victim), Signal::KILL);
        job.expect("INCR kills", &kill.to_string());
        if kill == SPARES_ARE_GONE {
            early = Some((whole(&mut job), held(job.rank_zero()), held(job.mpirun())));
        }
    }
    let last = Instant::now();
    job.expect("GET kills", &kills.to_string());
    let served = last.elapsed();
    let after = whole(&mut job);
    let healed = last.elapsed();
    let (rank_zero, mpirun) = (held(job.rank_zero()), held(job.mpirun()));
    eprintln!(
        "{kills} kills, {unborn} of servers that were not members: served after {served:.0?}, whole {healed:.0?}"
    );
    assert!(served < SERVED_WITHIN && healed < WHOLE_WITHIN, "{served:?} {healed:?}");
    job.expect("LOAD off", "OK");
    let line = job.ask("LOAD");
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    if let Some((_, rank_zero_then, mpirun_then)) = early {
        eprintln!("rank 0 {rank_zero_then:?} then {rank_zero:?}, mpirun {mpirun_then:?} then {mpirun:?} (files, kB)");
        assert!(rank_zero.0 <= rank_zero_then.0 + 4 && mpirun.0 <= mpirun_then.0 + 4, "descriptors grow");
        assert!(mpirun.1 <= mpirun_then.1 + 8 * 1024, "mpirun grows");
        // What CHECK will be asked about grows with the load, up to a bound; the kills themselves leave nothing.
        let history = u64::try_from(KEPT_BYTES_MAX / 1024).expect("a bound");
        assert!(rank_zero.1 <= rank_zero_then.1 + history + 8 * 1024, "rank 0 grows");
    }
    // The launcher, mpirun, and the ranks: nobody else is kept.
    assert_eq!(job.processes().len(), 2 + after.ranks.len(), "{:?}", job.processes());
    leave(job, 0);
}

#[test]
fn a_spare_that_is_killed_is_not_missed() {
    let mut job = cluster(2, &[]);
    let before = job.status();
    let ranks: Vec<i32> = before.ranks.iter().map(|line| line.pid).collect();
    let others = [job.pid(), job.mpirun()];
    let spares = job.processes().into_iter().filter(|pid| !others.contains(pid));
    let spares: Vec<Pid> = spares.filter(|pid| !ranks.contains(&pid.as_raw_nonzero().get())).collect();
    assert_eq!(spares.len(), 2, "two sleep: {spares:?}");
    let ticks = |pid: &Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let used: u64 = spares.iter().map(ticks).sum();
    std::thread::sleep(Duration::from_secs(2));
    let used = spares.iter().map(ticks).sum::<u64>() - used;
    assert!(used <= 4, "{used} hundredths of a second of two sleepers within two seconds");
    for spare in &spares {
        job.signal(*spare, Signal::KILL);
    }
    // Whether rank 0 has noticed or not.
    job.expect("KILL primary", "OK");
    job.expect("INCR n", "1");
    let after = whole(&mut job);
    assert_eq!(after.ranks.len(), before.ranks.len());
    job.expect("KILL primary", "OK");
    job.expect("INCR n", "2");
    whole(&mut job);
    leave(job, 0);
}

/// A rebuild or an upgrade while the cluster runs.
#[test]
fn the_programs_file_may_be_replaced_or_deleted_meanwhile() {
    for is_replaced in [false, true] {
        let mut program = std::path::PathBuf::new();
        let args = ["--plain", "--failure-rate", "0", "--spares", "0"];
        let mut job = Job::of(&args, |place| {
            program = place.path().join("understudy");
            std::fs::copy(UNDERSTUDY, &program).expect("there is room for a copy");
            Command::new(&program)
        });
        job.expect("PUT a 1", "OK");
        whole(&mut job);
        std::fs::remove_file(&program).expect("it is ours");
        if is_replaced {
            std::fs::write(&program, "no program").expect("it is ours");
        }
        for _ in 0..2 {
            let before = whole(&mut job);
            job.expect("KILL primary", "OK");
            let dead = primary(&before);
            let replaced = |after: &Status| after.is_whole() && after.pid(dead) != before.pid(dead);
            job.wait_status("a new process is a member", replaced);
        }
        job.expect("GET a", "1");
        leave(job, 0);
    }
}
