//! Starts that go wrong over real MPI: somebody dies on the way, there is no room, the folder is closed, and what the
//! environment says is not true. Each is told at once, in one line, with a way out.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::{Signal, kill_process};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};
use support::job::{Ended, Job, Place, UNDERSTUDY};
use support::skip;
use support::status::Status;

/// Somebody dies, and this long afterwards the user knows.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// How many ranks there are.
const RANKS: u32 = 3;
const NOBODY: u32 = 65534;

fn script(place: &Place, name: &str, text: &str) -> String {
    let path = place.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the place is ours");
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
    path.display().to_string()
}

/// A cluster whose rank 1 never comes, so that MPI keeps the others waiting: the mpirun that it is given starts
/// something else there.
fn waiting_cluster() -> Job {
    let job = Job::of(&["--failure-rate", "0"], |place| {
        let rank = script(place, "rank", "[ \"$OMPI_COMM_WORLD_RANK\" = 1 ] && exec sleep 60\nexec \"$@\"");
        let swap = format!("[ \"$word\" = '{UNDERSTUDY}' ] && set -- \"$@\" '{rank}'");
        let mpirun = format!("for word; do shift; {swap}; set -- \"$@\" \"$word\"; done\nexec mpirun \"$@\"");
        let mut command = Command::new("env");
        command.arg(format!("UNDERSTUDY_MPIRUN={}", script(place, "mpirun", &mpirun))).arg(UNDERSTUDY);
        command
    });
    let begun = Instant::now();
    while (0..RANKS).any(|rank| job.processes_of(rank).is_empty()) || !job.has_connected() {
        assert!(begun.elapsed() < support::job::PATIENCE, "the ranks do not come");
        std::thread::sleep(Duration::from_millis(20));
    }
    job
}

/// The end of a start that went wrong: nothing but one line, with these words.
#[track_caller]
fn one_line(mut job: Job, words: &[&str]) -> Ended {
    let ended = job.wait_end();
    job.wait_gone();
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    }
    ended
}

#[test]
fn a_rank_that_dies_while_the_others_wait_for_it_is_told_of() {
    for victim in 0..RANKS {
        let job = waiting_cluster();
        let killed = Instant::now();
        // Where a rank has a keeper, the newer of the two is the rank itself.
        let pid = job.processes_of(victim).into_iter().max_by_key(|pid| pid.as_raw_nonzero()).expect("it was there");
        let _ = kill_process(pid, Signal::KILL);
        // Who dies before it was seen has no pid; and mpirun may have stumbled over the death.
        let who = format!("understudy: rank {victim} ");
        one_line(job, &[&who, " while MPI was starting; ", "; start it again"]);
        assert!(killed.elapsed() < TOLD_WITHIN, "{:?}", killed.elapsed());
    }
}

#[test]
fn no_room_for_temporary_files_is_told_with_a_way_out() {
    let lacks: Vec<String> = [skip::root(), skip::program("unshare", "util-linux")].into_iter().flatten().collect();
    if !skip::can_run("no_room_for_temporary_files_is_told_with_a_way_out", &lacks) {
        return;
    }
    let mount = "mount -t tmpfs -o size=256k none \"$0\" && exec env TMPDIR=\"$0\" \"$@\"";
    let begun = Instant::now();
    let job = Job::of(&["--failure-rate", "0"], |place| {
        let small = place.path().join("small");
        std::fs::create_dir(&small).expect("the place is ours");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", mount]).arg(small).arg(UNDERSTUDY);
        unshare
    });
    let ended = one_line(job, &["while MPI was starting; MPI said: ", " KiB are free in ", ": set TMPDIR"]);
    assert!(begun.elapsed() < TOLD_WITHIN * 2, "{ended:?}");
}

/// A cluster that is started by `sh -c`, by somebody who is not root, after these words in this folder.
fn started_after(words: &str) -> Job {
    Job::of(&["--failure-rate", "0"], |place| {
        let folder = place.path().join("folder");
        std::fs::create_dir(&folder).expect("the place is ours");
        let mut shell = Command::new("sh");
        shell.arg("-c").current_dir(&folder);
        if !rustix::process::geteuid().is_root() {
            shell.arg(format!("{words}; exec \"$0\" \"$@\"")).arg(UNDERSTUDY);
            return shell;
        }
        // Root may enter every folder. The build's own may be closed to others.
        let copy = place.path().join("understudy");
        std::fs::copy(UNDERSTUDY, &copy).expect("there is room for a copy");
        for path in [place.path(), &folder, &place.path().join("home"), &place.path().join("tmp")] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do this");
        }
        let become_nobody = format!("exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \"$0\" \"$@\"");
        shell.arg(format!("{words}; {become_nobody}")).arg(copy);
        shell
    })
}

#[test]
fn a_folder_that_cannot_be_entered_is_no_obstacle() {
    for words in ["chmod 0 .", "rmdir \"$PWD\""] {
        let mut job = started_after(words);
        job.expect("PUT a 1", "OK");
        job.expect("CRASH primary", "OK");
        job.expect("GET a", "1");
        job.end(0);
    }
}

/// What a site has set up about networks contradicts what one machine needs. mpirun would refuse to start.
#[test]
fn settings_of_mpi_that_contradict_are_no_obstacle() {
    let mut job = Job::of(&["--plain", "--failure-rate", "0", "--spares", "0"], |place| {
        let folder = place.path().join("home/.openmpi");
        std::fs::create_dir_all(&folder).expect("the place is ours");
        let settings = "oob_tcp_if_exclude = lo,docker0\nbtl_tcp_if_exclude = lo,docker0\n";
        std::fs::write(folder.join("mca-params.conf"), settings).expect("the place is ours");
        Command::new(UNDERSTUDY)
    });
    job.expect("PUT a 1", "OK");
    let before = job.wait_status("whole", Status::is_whole);
    let primary = before.primary.expect("somebody leads");
    job.expect("KILL primary", "OK");
    job.expect("GET a", "1");
    let replaced = |after: &Status| after.is_whole() && after.pid(primary) != before.pid(primary);
    job.wait_status("a new process is a member", replaced);
    job.end(0);
}

#[test]
fn a_variable_that_was_left_in_the_environment_is_named() {
    for variable in ["PMI_RANK=0", "PMI_RANK=1", "OMPI_COMM_WORLD_RANK=0"] {
        let job = Job::of(&["--plain"], |_| {
            let mut command = Command::new("env");
            command.arg(variable).arg(UNDERSTUDY);
            command
        });
        let (name, _) = variable.split_once('=').expect("a name and a value");
        one_line(job, &[&format!("understudy: {name} in the environment"), &format!("env -u {name} understudy")]);
    }
    let mut job = Job::of(&["--plain"], |_| {
        let mut mpirun = Command::new("mpirun");
        mpirun.args(["-n", "1", UNDERSTUDY]);
        mpirun
    });
    let ended = job.wait_end();
    assert!(ended.stderr.contains("there is no server: start it without mpirun"), "{ended:?}");
}
