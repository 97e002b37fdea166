//! Who is alive, who belongs to this job, and when a rank must leave.
//!
//! A rank can lose those it depends on without being told: mpirun dies and the rank is adopted by
//! another process; rank 0 dies and the servers would serve nobody. Both show in the process table.
//! [`ParentWatch`] looks there, from the main loop when it has time ([`ParentWatch::parent_is_alive`])
//! and, since a main loop may hang in a call into MPI, also from a thread of its own
//! ([`ParentWatch::exit_when_orphaned`]).

use nix::sys::signal::{SigSet, Signal as BlockableSignal};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, getrlimit, kill_process, setrlimit, test_kill_process,
};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// Tells the ranks which process the launcher is.
pub const LAUNCHER_VARIABLE: &str = "UNDERSTUDY_LAUNCHER";

/// Where MPI keeps its shared memory if nobody says otherwise, and how the files begin.
const SHARED_MEMORY: &str = "/dev/shm/";
const SEGMENTS: [&str; 2] = ["vader_segment.", "sm_segment."];
/// How often the watching thread looks.
const WATCH_INTERVAL_MS: u64 = 250;
/// This many open files are more than enough for any process of ours.
const DESCRIPTORS_WANTED: u64 = 4096;
/// As many connections as a door lets in.
const DOOR_DESCRIPTORS_WANTED: u64 = 20_000;
/// So long rank 0 may take to end the job when the launcher is gone.
const GRACE_MS: u64 = 700;
/// How often a wait for somebody's end looks again.
const LOOK_AGAIN_MS: u64 = 10;
/// Exit code of a process that leaves because those it depended on are gone.
pub const ORPHAN_EXIT_CODE: i32 = 1;

/// Notices that mpirun or rank 0 is gone. Clones share what they know.
#[derive(Debug, Clone)]
pub struct ParentWatch {
    parent: Option<Pid>,
    /// 0: not known yet.
    rank_zero: Arc<AtomicI32>,
    /// 0: there is none that could be watched.
    launcher: Arc<AtomicI32>,
}

impl Default for ParentWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ParentWatch {
    /// Remembers who the parent is. Make it early: a parent that died before is not noticed.
    #[must_use]
    pub fn new() -> Self {
        Self { parent: getppid(), rank_zero: Arc::default(), launcher: Arc::default() }
    }

    /// Tells which process rank 0 is. Only on this machine; it is not watched before.
    pub fn rank_zero_is(&self, pid: u32) {
        self.rank_zero.store(i32::try_from(pid).unwrap_or(0), Ordering::Relaxed);
    }

    /// Watches the launcher as well. Only where it is on this machine.
    pub fn launcher_is_here(&self) {
        let pid = std::env::var(LAUNCHER_VARIABLE).ok().and_then(|pid| pid.parse().ok());
        self.launcher.store(pid.unwrap_or(0), Ordering::Relaxed);
    }

    fn launcher_is_gone(&self) -> bool {
        Pid::from_raw(self.launcher.load(Ordering::Relaxed)).is_some_and(|pid| !is_alive(pid))
    }

    /// Whether mpirun, and rank 0 if known, still live. Costs a few system calls: ask it some ten times a second.
    #[must_use]
    pub fn parent_is_alive(&self) -> bool {
        let rank_zero = Pid::from_raw(self.rank_zero.load(Ordering::Relaxed));
        getppid() == self.parent && rank_zero.is_none_or(|pid| pid == getpid() || is_alive(pid))
    }

    /// Ends this process soon after mpirun or rank 0 has gone, even if its main loop hangs.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn exit_when_orphaned(&self) -> std::io::Result<()> {
        let watch = self.clone();
        std::thread::Builder::new().name("parent-watch".into()).spawn(move || {
            while watch.parent_is_alive() && !watch.launcher_is_gone() {
                std::thread::sleep(Duration::from_millis(WATCH_INTERVAL_MS));
            }
            // Rank 0 ends the job. But it may be stopped, and would hear of nothing until it goes on.
            if watch.launcher_is_gone() {
                std::thread::sleep(Duration::from_millis(GRACE_MS));
                super::attach::end_without_launcher();
            }
            remove_shared_memory();
            // Not `std::process::exit`: MPI's exit handlers may wait for those who are gone.
            signal_hook::low_level::exit(ORPHAN_EXIT_CODE)
        })?;
        Ok(())
    }
}

/// Raises the soft limit of open files as far as it may be and is good for: a user's shell may have set it low, and
/// mpirun and all ranks inherit it.
pub fn raise_descriptor_limit() {
    raise_descriptor_limit_to(DESCRIPTORS_WANTED);
}

/// The same for a rank with a door. Not for all: an mpirun may look at every number below the limit whenever it starts
/// a process.
pub fn raise_descriptor_limit_for_a_door() {
    raise_descriptor_limit_to(DESCRIPTORS_WANTED + DOOR_DESCRIPTORS_WANTED);
}

fn raise_descriptor_limit_to(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

/// Keeps the terminal's keys from stopping or interrupting this rank: they are meant for rank 0's prompt.
///
/// For ranks other than 0. Call it before other threads start: they inherit it.
///
/// # Errors
/// When the system refuses.
pub fn block_terminal_signals() -> std::io::Result<()> {
    block(&[BlockableSignal::SIGINT, BlockableSignal::SIGQUIT, BlockableSignal::SIGTSTP])?;
    block_stops()
}

/// Lets this process touch the terminal from the background: without it, setting modes or the foreground group
/// stops the process. A blocked SIGTTOU counts as ignored; a blocked SIGTTIN turns a read into an error.
///
/// # Errors
/// When the system refuses.
pub fn block_stops() -> std::io::Result<()> {
    block(&[BlockableSignal::SIGTTOU, BlockableSignal::SIGTTIN])
}

/// Blocks SIGTSTP: a stopped rank 0 would leave its launcher waiting before a dead screen.
pub(crate) fn block_suspend() -> std::io::Result<()> {
    block(&[BlockableSignal::SIGTSTP])
}

fn block(signals: &[BlockableSignal]) -> std::io::Result<()> {
    signals.iter().copied().collect::<SigSet>().thread_block().map_err(Into::into)
}

/// Whether a process lives on this machine. One that has died but was not yet buried does not.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    if test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    stat(pid).is_none_or(|(state, _)| state != 'Z' && state != 'X')
}

/// State letter and parent from `/proc/<pid>/stat`.
fn stat(pid: Pid) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything, so read from behind it.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The processes of this machine; none where there is no `/proc`.
fn everybody() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// Living processes, other than this one, whose environment holds `name=value`.
///
/// A job's processes are told by such a mark and not by pid or parent: it survives the death of mpirun,
/// holds for processes that were started later, and a pid that the system has given to somebody else does not have it.
#[must_use]
pub fn bearers(name: &str, value: &OsStr) -> Vec<Pid> {
    let mark = [name.as_bytes(), b"=", value.as_bytes()].concat();
    let bears = |&pid: &Pid| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|&byte| byte == 0).any(|variable| variable == mark))
    };
    everybody().filter(|&pid| pid != getpid()).filter(bears).filter(|&pid| is_alive(pid)).collect()
}

/// The signals that this process has been told to ignore by whoever started it (`nohup`, `trap ''`). To be asked before
/// anything is done about signals here. Empty where the system does not say.
#[must_use]
pub fn ignored_signals() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status)
}

/// The numbers of the signals in the line `SigIgn` of a process's status.
fn ignored_in(status: &str) -> Vec<i32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}

/// What a process has in its environment under this name.
#[must_use]
pub fn variable(pid: Pid, name: &str) -> Option<OsString> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |variable: &[u8]| Some(variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.to_vec());
    environment.split(|&byte| byte == 0).find_map(value).map(OsString::from_vec)
}

/// Living processes below `ancestor` in the tree, other than this one.
#[must_use]
pub fn descendants(ancestor: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, i32)> = everybody().filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent.as_raw_nonzero().get()).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter(|&pid| pid != getpid() && is_alive(pid)).collect()
}

/// Removes the files of the shared memory that MPI has mapped into this process: an mpirun that was killed cannot. All
/// ranks of one host have mapped the same ones.
pub fn remove_shared_memory() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for file in segments(&maps) {
        let _ = std::fs::remove_file(file);
    }
}

/// The files of MPI's shared memory among those that a process has mapped.
fn segments(maps: &str) -> impl Iterator<Item = &Path> {
    let mapped = maps.lines().filter_map(|line| Some(Path::new(line.get(line.find(SHARED_MEMORY)?..)?)));
    mapped.filter(|path| {
        let name = path.file_name().map_or(&[][..], OsStr::as_encoded_bytes);
        SEGMENTS.iter().any(|start| name.starts_with(start.as_bytes()))
    })
}

/// Waits until none of `pids` lives; false when time is up.
pub(crate) fn wait_until_gone(pids: &[Pid], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if !pids.iter().any(|&pid| is_alive(pid)) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS));
    }
}

/// Sends a signal; a process that is already gone is no error.
pub(crate) fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").env("UNDERSTUDY_TEST_MARK", "a b").spawn().expect("sleep exists")
    }

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tx\nSigBlk:\t0000000000000007\nSigIgn:\t0000000000001005\nSigCgt:\t00000001\n";
        assert_eq!(ignored_in(status), [1, 3, 13]);
        assert_eq!(ignored_in(""), Vec::<i32>::new());
    }

    #[test]
    fn a_process_is_found_by_its_mark_until_it_is_dead() {
        let mut child = sleeper();
        let pid = Pid::from_child(&child);
        assert!(is_alive(pid));
        // The kernel lets `spawn` return a moment before the new environment can be read.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !bearers("UNDERSTUDY_TEST_MARK", OsStr::new("a b")).contains(&pid) {
            assert!(Instant::now() < deadline, "{pid} is not found by its mark");
            std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS));
        }
        assert!(!bearers("UNDERSTUDY_TEST_MARK", OsStr::new("a")).contains(&pid));
        assert_eq!(variable(pid, "UNDERSTUDY_TEST_MARK"), Some("a b".into()));
        assert_eq!(variable(pid, "UNDERSTUDY_TEST"), None);
        assert!(descendants(getpid()).contains(&pid));
        child.kill().expect("it is ours");
        // Dead but not waited for: it must count as gone.
        assert!(wait_until_gone(&[pid], Duration::from_secs(5)));
        assert!(!bearers("UNDERSTUDY_TEST_MARK", OsStr::new("a b")).contains(&pid));
        child.wait().expect("it is ours");
        assert!(!is_alive(pid));
    }

    #[test]
    fn the_watch_sees_rank_zero_die() {
        let watch = ParentWatch::new();
        assert!(watch.parent_is_alive());
        let mut child = sleeper();
        watch.rank_zero_is(child.id());
        assert!(watch.parent_is_alive());
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(!watch.parent_is_alive());
    }

    #[test]
    fn the_files_of_mpis_shared_memory_are_found_among_the_mapped_ones() {
        let maps = "7f1-7f2 rw-s 00000000 00:1c 5   /dev/shm/vader_segment.vm.0.a.1\n\
                    7f2-7f3 r--p 00000000 08:01 9   /usr/lib/vader_segment.so\n\
                    7f3-7f4 rw-s 00000000 00:1c 6   /dev/shm/of-others\n7f4-7f5 rw-p 00000000 00:00 0\n";
        assert_eq!(segments(maps).collect::<Vec<_>>(), [Path::new("/dev/shm/vader_segment.vm.0.a.1")]);
    }
}
