//! What was acknowledged is found again by the next start, whoever was killed: `--data` over a real MPI.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;
use support::data::{Data, copy};
use support::job::{Job, run};
use support::status::Status;
use understudy::core::disk::segment::Mark;

/// How far the newest file of a rank's log is known to go.
fn mark(data: &Data, rank: u32) -> (Mark, u64) {
    let bytes = std::fs::read(data.newest(rank)).expect("it can be read");
    (Mark::newest(&bytes).expect("there is a mark"), bytes.len() as u64)
}

fn whole(job: &mut Job) -> Status {
    job.wait_status("the view is whole", Status::is_whole)
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("it can be read");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("it can be written");
}

#[test]
fn the_next_start_finds_everything() {
    let data = Data::new("next");
    let mut job = data.start(2, &[]);
    job.expect("PUT color red", "OK");
    job.expect("RPUSH list a b c", "3");
    job.expect("SET soon gone PX 1500", "OK");
    job.expect("HSET hash field value", "1");
    let before = whole(&mut job);
    job.expect("PUT color blue", "OK");
    job.end(0);
    let mut job = data.start(2, &[]);
    job.expect("GET color", "blue");
    job.expect("LLEN list", "3");
    job.expect("HGET hash field", "value");
    std::thread::sleep(Duration::from_millis(1600));
    job.expect("GET soon", "(nil)");
    let after = whole(&mut job);
    assert!(after.view > before.view, "{before}\nthen\n{after}");
    job.expect("INCR n", "1");
    job.end(0);
    let (code, said) = data.log(&["--verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches(", whole").count(), 3, "{said}");
    // Who ends as it should has everything on its disk, also without a sync for each write.
    for rank in [1, 2] {
        let (mark, bytes) = mark(&data, rank);
        assert_eq!((mark.written, mark.synced), (bytes, bytes), "rank {rank}");
    }
}

/// Everything is killed at once, the launcher and mpirun too, under load, at any moment.
fn killed_again_and_again(name: &str, rounds: u32, servers: u32, options: &[&str]) {
    let data = Data::new(name);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut job = data.start(servers, options);
        acknowledged = found(&mut job, acknowledged);
        job.tell("100000 INCR n");
        std::thread::sleep(Duration::from_millis(u64::from(round) * 37 % 400));
        for answer in job.kill_everybody() {
            let number: u64 = answer.parse().unwrap_or_else(|_| panic!("round {round}: {answer}"));
            assert_eq!(number, acknowledged + 1, "round {round}");
            acknowledged = number;
        }
        let (code, said) = data.log(&["--verify"]);
        assert_eq!(code, Some(0), "round {round}: {said}");
    }
    assert!(acknowledged > u64::from(rounds), "there was a load: {acknowledged}");
    let mut job = data.start(servers, options);
    found(&mut job, acknowledged);
    job.end(0);
    eprintln!("{rounds} rounds, {acknowledged} acknowledged");
}

/// What the counter says after a start: one request may have been under way.
fn found(job: &mut Job, acknowledged: u64) -> u64 {
    let found = match job.ask("GET n").as_str() {
        "(nil)" => 0,
        number => number.parse().unwrap_or_else(|_| panic!("GET n is answered {number}")),
    };
    assert!(
        (acknowledged..=acknowledged + 1).contains(&found),
        "{acknowledged} was acknowledged, and {found} is found"
    );
    found
}

#[test]
fn fifty_times_killed_and_nothing_is_forgotten() {
    killed_again_and_again("fifty", 50, 2, &[]);
}

#[test]
fn killed_with_every_policy() {
    killed_again_and_again("always", 5, 2, &["--fsync", "always"]);
    killed_again_and_again("never", 5, 3, &["--fsync", "no"]);
}

#[test]
fn a_crash_of_all_members_takes_the_memory_only() {
    let data = Data::new("crash");
    let mut job = data.start(2, &["--recover-after", "0.2"]);
    job.expect("PUT a 1", "OK");
    whole(&mut job);
    job.expect("CRASH 1", "OK");
    job.expect("CRASH 2", "OK");
    job.expect("GET a", "1");
    job.expect("PUT a 2", "OK");
    whole(&mut job);
    job.expect("GET a", "2");
    job.end(0);
}

#[test]
fn a_wipe_takes_the_disk_as_well() {
    let data = Data::new("wipe");
    let mut job = data.start(2, &["--recover-after", "0.2"]);
    (0..5).for_each(|number| job.expect(&format!("PUT k{number} {number}"), "OK"));
    let status = whole(&mut job);
    let disk = status.disk(1);
    assert!(disk.written >= 5 && disk.synced <= disk.written && disk.bytes > 1_536 && !disk.failed, "{status}");
    // One of two: it is sent everything, not only what it misses.
    job.expect("WIPE 1", "OK");
    let status = job.wait_status("it has everything again", |status| {
        status.is_whole() && status.server(1).keys == 5 && status.disk(1).written == status.server(1).op
    });
    assert!(status.is_led_by(2, &[1]), "{status}");
    job.expect("CRASH 2", "OK");
    job.expect("GET k4", "4");
    whole(&mut job);
    // All of them: the disks do not bring it back.
    job.expect("WIPE backup", "OK");
    job.expect("WIPE primary", "OK");
    let status = job.wait_status("the reason is told", |status| status.why.is_some());
    assert!(status.why.as_deref().is_some_and(|why| why.contains("nothing on its disk")), "{status}");
    job.expect("RESET", "OK");
    job.expect("GET k4", "(nil)");
    whole(&mut job);
    job.end(0);
    let (code, said) = data.log(&["--verify"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn without_disks_there_is_nothing_to_wipe() {
    let words = ["--plain", "--servers", "1", "-c", "GET a", "-c", "WIPE 1", "-c", "POWERCUT", "-c", "FIRE 1"];
    let refused = run(&words, b"");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.text().contains("server 1 has no disk: CRASH 1 takes its memory"), "{refused:?}");
    assert!(refused.text().contains("only the simulator can take the power of all machines"), "{refused:?}");
    assert!(refused.text().contains("timers can be chosen in the simulator only"), "{refused:?}");
    // What cannot happen is not told as if it had.
    let events = &refused.stderr;
    assert!(events.contains("view 1") && !events.contains("power fails") && !events.contains("timer of"), "{events}");
    let refused = run(&["--sim", "--servers", "1", "-c", "GET a", "-c", "WIPE 1"], b"");
    assert!(refused.text().contains("server 1 has no disk: CRASH 1 takes its memory"), "{refused:?}");
}

#[test]
fn a_damaged_log_is_told_and_its_server_takes_everything_from_the_others() {
    let data = Data::new("damage");
    let mut job = data.start(2, &["--fsync", "always"]);
    (0..20).for_each(|number| job.expect(&format!("PUT k{number} {number}"), "OK"));
    whole(&mut job);
    job.end(0);
    let newest = data.newest(1);
    flip(&newest, 1_700);
    let (code, said) = data.log(&["--verify"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("rank-1/log-") && said.contains("is not what was written"), "{said}");
    let mut job = data.start(2, &["--fsync", "always"]);
    job.expect("GET k19", "19");
    job.expect("PUT k20 20", "OK");
    whole(&mut job);
    // Server 1 has it all again: it answers alone.
    job.expect("CRASH 2", "OK");
    job.expect("GET k19", "19");
    job.end(0);
    let (code, said) = data.log(&["--verify"]);
    assert_eq!(code, Some(0), "{said}");
    let line = said.lines().find(|line| line.contains("rank-1:")).unwrap_or_else(|| panic!("{said}"));
    // Of the last write the log need not know that it is committed.
    assert!(line.contains("op 21, "), "{said}");
    assert!(data.of(1).join("damaged-1").is_dir(), "nothing is overwritten");
}

#[test]
fn the_last_copy_is_not_served_when_it_is_damaged() {
    let data = Data::new("last");
    let mut job = data.start(1, &[]);
    job.expect("PUT a 1", "OK");
    job.end(0);
    let newest = data.newest(1);
    flip(&newest, 1_600);
    let mut job = data.start(1, &[]);
    let status =
        job.wait_status("the reason is told", |status| status.why.as_deref().is_some_and(|why| why.contains("disk")));
    let why = status.why.expect("it is there");
    for part in ["server 1 has nothing on its disk", "/rank-1/log-00000", " byte ", "/rank-1/damaged-1 now", "RESET"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(job.ask("GET a").contains(&why), "nobody waits for an answer that will not come");
    job.expect("RESET", "OK");
    job.expect("GET a", "(nil)");
    job.end(1);
}

#[test]
fn a_second_cluster_and_a_foreign_folder_are_refused() {
    let data = Data::new("second");
    let mut job = data.start(1, &[]);
    job.expect("PUT a 1", "OK");
    let second = run(&["--plain", "--servers", "1", "--data", data.text(), "-c", "GET a"], b"");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains("another cluster uses it"), "{second:?}");
    job.expect("GET a", "1");
    job.end(0);
    // The log of another cluster is left as it is, whose ever it is: nothing is written beside it either.
    let other = Data::new("other");
    other.start(2, &[]).end(0);
    for (from, rank) in [(2, 1), (1, 1), (0, 0)] {
        let mixed = Data::new("mixed");
        copy(&data.0, &mixed.0);
        let refused = refuse(&mixed, &other.of(from), rank);
        let (zero, one) = (mixed.text().to_owned() + "/rank-0/log-0", mixed.text().to_owned() + "/rank-1/log-0");
        let told = [&zero, &one, "of cluster", "give another --data, or move away what does not belong there"];
        assert!(told.iter().all(|part| refused.contains(part)), "{refused}");
    }
    // That of another rank as well. The server says so, and nobody waits for an answer that will not come.
    let mixed = Data::new("mixed");
    copy(&other.0, &mixed.0);
    let refused = refuse(&mixed, &other.of(2), 1);
    let place = format!("{}/rank-1/log-00000001 byte 0: this is the log of rank 2 of cluster ", mixed.text());
    let told = [&place, "give another --data, or move it away", "nobody is served: "];
    assert!(told.iter().all(|part| refused.contains(part)), "{refused}");
}

/// Puts this log in the place of a rank's, and starts: what is said then. Nothing in any folder has changed.
fn refuse(data: &Data, log: &Path, rank: u32) -> String {
    std::fs::remove_dir_all(data.of(rank)).expect("it can be removed");
    copy(log, &data.of(rank));
    let bytes = |rank| std::fs::read(data.newest(rank)).expect("it can be read");
    let before = [bytes(0), bytes(1)];
    let refused = run(&["--plain", "--servers", "1", "--data", data.text(), "-c", "GET a"], b"");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    // Rank 0's own log is its own, whatever a server says later.
    assert!(bytes(1) == before[1], "it is left as it is");
    assert!(rank == 1 && log.ends_with("rank-2") || bytes(0) == before[0], "nothing is written");
    format!("{}\n{}", refused.text(), refused.stderr)
}

#[test]
fn the_log_can_be_read_by_a_person() {
    let data = Data::new("print");
    let mut job = data.start(1, &[]);
    job.expect("PUT color red", "OK");
    job.end(0);
    let (code, said) = data.log(&[]);
    assert_eq!(code, Some(0), "{said}");
    let line = said.lines().find(|line| line.contains("Entry ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("view=1 op=1 commit=0 c0#1 PUT color red") && line.contains("Z "), "{line}");
    let (_, said) = data.log(&["--json"]);
    assert!(said.lines().any(|line| line.contains("\"command\":\"PUT color red\"")), "{said}");
}

#[test]
fn rank_zeros_own_disk_is_gone() {
    let data = Data::new("zero");
    let mut job = data.start(2, &[]);
    job.expect("PUT a 1", "OK");
    whole(&mut job);
    job.end(0);
    std::fs::remove_dir_all(data.of(0)).expect("it can be removed");
    let mut job = data.start(2, &[]);
    job.expect("GET a", "1");
    job.expect("INCR n", "1");
    job.end(0);
}

#[test]
fn another_number_of_servers() {
    let data = Data::new("number");
    let mut job = data.start(2, &[]);
    job.expect("PUT a 1", "OK");
    whole(&mut job);
    job.end(0);
    // One more joins, and is sent everything.
    let mut job = data.start(3, &[]);
    job.expect("GET a", "1");
    let status =
        job.wait_status("the third one has everything", |status| status.is_whole() && status.disk(3).written > 0);
    assert_eq!(status.server(3).keys, 1);
    job.expect("PUT a 2", "OK");
    job.end(0);
    // One less: its disk is waited for, until somebody says that the others must do. All of them have everything here.
    let mut job = data.start(2, &[]);
    let status = job.wait_status("it is waited for", |status| status.why.is_some());
    assert!(status.why.is_some_and(|why| why.contains("waiting for the disk of server 3. RECOVER 0 goes on with")));
    job.expect("RECOVER 0", "OK");
    job.expect("GET a", "2");
    job.expect("PUT a 3", "OK");
    whole(&mut job);
    job.end(0);
    // What it has on its disk is old by now.
    let mut job = data.start(3, &[]);
    job.expect("GET a", "3");
    whole(&mut job);
    job.expect("CRASH 1", "OK");
    job.expect("CRASH 2", "OK");
    job.expect("GET a", "3");
    job.end(0);
}

/// A folder moves with its rank, wherever that runs. A rank without its folder has nothing, and with another one's it
/// does not serve.
#[test]
fn ranks_that_moved() {
    let data = Data::new("moved");
    let mut job = data.start(2, &["--fsync", "always"]);
    job.expect("PUT a 1", "OK");
    whole(&mut job);
    job.end(0);
    let there = Data::new("moved-there");
    copy(&data.0, &there.0);
    let mut job = there.start(2, &[]);
    job.expect("GET a", "1");
    job.end(0);
    let without = Data::new("moved-without");
    copy(&data.0, &without.0);
    std::fs::remove_dir_all(without.of(1)).expect("it can be removed");
    let mut job = without.start(2, &[]);
    let status = job.wait_status("the reason is told", |status| status.why.is_some());
    assert!(status.why.is_some_and(|why| why.contains("server 1 has nothing on its disk")));
    job.expect("RECOVER 0", "OK");
    job.expect("GET a", "1");
    let status = whole(&mut job);
    assert_eq!((status.server(1).keys, status.disk(1).written), (1, status.server(1).op), "{status}");
    job.end(0);
    let (one, two) = (data.of(1), data.of(2));
    let aside = data.0.join("aside");
    for (from, to) in [(&one, &aside), (&two, &one), (&aside, &two)] {
        std::fs::rename(from, to).expect("it can be moved");
    }
    let mut job = data.start(2, &[]);
    let status = job.wait_status("the reason is told", |status| {
        status.why.as_deref().is_some_and(|why| ["/rank-1/", "/rank-2/"].iter().all(|part| why.contains(part)))
    });
    let why = status.why.expect("it is there");
    let told = ["log of rank 2 of", "log of rank 1 of", "move it away", "waiting for the disk of server 1, 2"];
    assert!(told.iter().all(|part| why.contains(part)), "{why}");
    job.end(0);
}

#[test]
fn a_killed_process_of_every_server_loses_nothing() {
    let data = Data::new("kill");
    let mut job = data.start(2, &[]);
    job.expect("PUT a 1", "OK");
    let status = whole(&mut job);
    for rank in [1, 2] {
        job.signal(status.process(rank), Signal::KILL);
    }
    job.expect("GET a", "1");
    whole(&mut job);
    job.end(0);
}
