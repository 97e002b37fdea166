//! What was acknowledged is found again by the next start, whoever was killed: `--data` over a real MPI.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::job::{Job, UNDERSTUDY, run};
use support::status::Status;
use understudy::core::disk::segment::Mark;

/// A folder for data, removed when dropped.
struct Data(PathBuf);

impl Data {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("understudy-data-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }

    fn of(&self, rank: u32) -> PathBuf {
        self.0.join(format!("rank-{rank}"))
    }

    /// The newest file of a rank's log.
    fn newest(&self, rank: u32) -> PathBuf {
        let files = std::fs::read_dir(self.of(rank)).expect("there is a log");
        let paths = files.map(|entry| entry.expect("it can be read").path());
        let logs = paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")));
        logs.max().expect("there is a file")
    }

    fn start(&self, servers: u32, options: &[&str]) -> Job {
        let servers = servers.to_string();
        let mut args = vec!["--plain", "--failure-rate", "0", "--servers", &servers, "--data", self.text()];
        args.extend(options);
        Job::start(&args)
    }

    fn log(&self, options: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(UNDERSTUDY).arg("log").arg(&self.0).args(options).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
    assert!(line.contains("op 21, 21 keys"), "{line}");
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
    assert!(status.why.is_some_and(|why| why.contains("server 1 has nothing on its disk")));
    job.expect("RESET", "OK");
    job.expect("GET a", "(nil)");
    job.end(0);
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
    // The log of another rank, and that of another cluster, are left as they are.
    let other = Data::new("other");
    other.start(2, &[]).end(0);
    for (from, rank) in [(other.of(2), 1), (other.of(1), 1), (other.of(0), 0)] {
        let mixed = Data::new("mixed");
        copy(&data.0, &mixed.0);
        std::fs::remove_dir_all(mixed.of(rank)).expect("it can be removed");
        copy(&from, &mixed.of(rank));
        let before = std::fs::read(mixed.newest(1)).expect("it can be read");
        let refused = run(&["--plain", "--servers", "1", "--data", mixed.text(), "-c", "GET a"], b"");
        assert_ne!(refused.text().trim(), "1", "{refused:?}");
        assert!(std::fs::read(mixed.newest(1)).expect("it can be read") == before, "it is left as it is");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let to = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("it can be copied");
        }
    }
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
