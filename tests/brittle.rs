//! Disks that are full, read-only, unable to sync, or hang, over a real MPI: that server ends, or waits, and nothing
//! that was acknowledged is lost.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use support::data::Data;
use support::job::{Job, run};
use support::skip;
use support::status::Status;

const BRITTLE: [&str; 3] = ["--brittle-disks", "--recover-after", "0.2"];

fn whole(job: &mut Job) -> Status {
    job.wait_status("the view is whole", Status::is_whole)
}

/// From now on the disk of this rank fails like that; `None`: it is well again.
fn set_fault(data: &Data, rank: u32, fault: Option<&str>) {
    let file = data.of(rank).join(understudy::disk::brittle::FAULT);
    match fault {
        Some(fault) => std::fs::write(file, fault).expect("it can be written"),
        None => std::fs::remove_file(file).expect("it is there"),
    }
}

/// The disk of one of two servers fails while there is a load: everything goes on without it, and it comes back with a
/// new process once the disk is well.
fn one_fails(fault: &str, says: &str, failing: u32, fsync: &str) {
    let data = Data::new(&format!("brittle-{fault}-{failing}"));
    let mut job = data.start(2, &[&BRITTLE[..], &["--fsync", fsync]].concat());
    job.expect("PUT a 1", "OK");
    let before = whole(&mut job);
    assert!(before.is_led_by(1, &[2]), "{before}");
    job.tell("2000 INCR n");
    std::thread::sleep(Duration::from_millis(50));
    set_fault(&data, failing, Some(fault));
    (1..=2_000).for_each(|number| assert_eq!(job.answer(), number.to_string(), "{fault} at {failing}"));
    let other = 3 - failing;
    let status = job.wait_status("the other one is alone", |status| {
        status.is_led_by(other, &[]) && status.disk(failing).failed && status.role(failing) == "DOWN"
    });
    assert!(!status.disk(other).failed, "{status}");
    let said = job.stderr();
    let told = format!("server {failing}: its disk cannot be used: {}: {says}", data.of(failing).display());
    assert!(said.contains(&told), "{told}\n{said}");
    let refused = job.ask(&format!("RECOVER {failing}"));
    assert!(refused.contains(&format!("KILL {failing}, and a new process may try")), "{refused}");
    set_fault(&data, failing, None);
    let pid = job.status().process(failing);
    job.signal(pid, Signal::KILL);
    let status = job.wait_status("it is back", |status| status.is_whole() && status.server(failing).keys == 2);
    assert!(!status.disk(failing).failed, "{status}");
    // It has everything: it answers alone.
    job.expect(&format!("CRASH {other}"), "OK");
    job.expect("GET n", "2000");
    job.end(1);
    let (code, said) = data.log(&["--verify"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_full_disk_ends_its_server_only() {
    one_fails("full", "No space left on device", 2, "everysec");
    one_fails("full", "No space left on device", 1, "no");
}

#[test]
fn a_disk_that_turns_read_only_ends_its_server_only() {
    one_fails("read-only", "Read-only file system", 1, "everysec");
}

#[test]
fn a_failing_sync_ends_its_server_only() {
    one_fails("fsync", "Input/output error", 2, "always");
    one_fails("fsync", "Input/output error", 1, "always");
    // Also where nobody waits for it.
    one_fails("fsync", "Input/output error", 2, "everysec");
}

/// The last copy is not served any more, says why, and nothing that was acknowledged is missing when the disk is well.
#[test]
fn the_only_disk_fails() {
    let data = Data::new("brittle-only");
    let mut job = data.start(1, &BRITTLE);
    job.expect("PUT a 1", "OK");
    set_fault(&data, 1, Some("full"));
    let answer = job.ask("PUT a 2");
    assert!(answer.contains("No space left on device") && answer.contains("KILL 1 lets a new process try"), "{answer}");
    set_fault(&data, 1, None);
    job.expect("KILL 1", "OK");
    // What was not acknowledged may have happened, or not.
    let found = job.ask("GET a");
    assert!(["1", "2"].contains(&found.as_str()), "{found}");
    job.expect("PUT a 3", "OK");
    job.end(1);
}

/// Rank 0's disk: the view stays as it is, and the servers go on.
#[test]
fn rank_zeros_disk_fails() {
    let data = Data::new("brittle-zero");
    let mut job = data.start(2, &["--brittle-disks", "--recover-after", "never"]);
    job.expect("PUT a 1", "OK");
    let before = whole(&mut job);
    set_fault(&data, 0, Some("full"));
    job.expect("PUT a 2", "OK");
    job.expect("CRASH 2", "OK");
    let begun = Instant::now();
    while !job.stderr().contains("the view cannot change any more") {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", job.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(job.status().view, before.view);
    job.kill_everybody();
    set_fault(&data, 0, None);
    let mut job = data.start(2, &BRITTLE);
    job.expect("GET a", "2");
    job.end(0);
}

/// A disk that hangs stalls writes, not heartbeats: there is no other view because of it.
#[test]
fn a_disk_that_hangs_stalls_writes_and_nothing_else() {
    let data = Data::new("brittle-hang");
    let mut job = data.start(2, &BRITTLE);
    job.expect("PUT a 1", "OK");
    let before = whole(&mut job);
    for rank in [1, 2, 0] {
        set_fault(&data, rank, Some("hang"));
        job.tell("PUT a 2");
        let begun = Instant::now();
        std::thread::sleep(Duration::from_secs(2));
        set_fault(&data, rank, None);
        assert_eq!(job.answer(), "OK");
        // Rank 0 writes views only.
        assert!(rank == 0 || begun.elapsed() >= Duration::from_secs(2), "rank {rank}");
        let after = whole(&mut job);
        assert_eq!((after.view, after.primary), (before.view, before.primary), "rank {rank}: {after}");
    }
    job.end(0);
}

/// A file system of its own for the log of a rank; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(data: &Data, rank: u32, options: &str) -> Self {
        let path = data.of(rank);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        let disk = Self(path);
        disk.call("mount", &["-t", "tmpfs", "-o", options, "tmpfs"]);
        disk
    }

    fn call(&self, program: &str, args: &[&str]) {
        let status = Command::new(program).args(args).arg(&self.0).status().expect("it runs");
        assert!(status.success(), "{program} {args:?} {}", self.0.display());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// What a test lacks that mounts something: it tries.
fn mounts() -> Option<String> {
    let data = Data::new("brittle-try");
    std::fs::create_dir_all(data.of(1)).expect("a folder can be made");
    let tried = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(data.of(1)).output();
    let mounted = tried.is_ok_and(|tried| tried.status.success());
    drop(mounted.then(|| SmallDisk(data.of(1))));
    (!mounted).then(|| "it must be allowed to mount a tmpfs".to_owned())
}

#[test]
fn a_disk_that_is_really_full_and_then_read_only() {
    let lacks: Vec<String> = skip::root().or_else(mounts).into_iter().collect();
    if !skip::can_run("a_disk_that_is_really_full_and_then_read_only", &lacks) {
        return;
    }
    let data = Data::new("brittle-real");
    let disk = SmallDisk::mount(&data, 2, "size=1m");
    let mut job = data.start(2, &["--recover-after", "0.2"]);
    whole(&mut job);
    let value = "v".repeat(64 << 10);
    (0..32).for_each(|number| job.expect(&format!("PUT k{number} {value}"), "OK"));
    let status = job.wait_status("it has left", |status| status.is_led_by(1, &[]) && status.disk(2).failed);
    assert_eq!(status.server(1).keys, 32);
    assert!(job.stderr().contains("No space left on device"), "{}", job.stderr());
    job.end(0);
    // What is on the full disk is a prefix; once there is room, the server is sent what it misses.
    let (code, said) = data.log(&["--verify"]);
    assert_eq!(code, Some(0), "{said}");
    disk.call("mount", &["-o", "remount,size=16m"]);
    let mut job = data.start(2, &["--recover-after", "0.2"]);
    job.wait_status("it has everything", |status| status.is_whole() && status.server(2).keys == 32);
    job.end(0);
    disk.call("mount", &["-o", "remount,ro"]);
    let read_only = run(&["--plain", "--servers", "2", "--data", data.text(), "-c", "GET k31"], b"");
    let text = format!("{}{}", read_only.text(), read_only.stderr);
    assert!(text.contains("rank-2") && text.contains("Read-only file system"), "{text}");
    disk.call("mount", &["-o", "remount,rw"]);
    let mut job = data.start(2, &[]);
    job.expect("GET k31", &value);
    job.end(0);
}
