//! The start, watched from outside.
//!
//! `MPI_Init` waits until every rank has come, and an mpirun that is to go on when a rank dies says nothing of one that
//! died on the way: the others would wait for ever. So until rank 0 says that MPI has started, the launcher looks
//! every now and then who of this job still lives.
//!
//! A rank that was seen and is gone is missing; so is one that never came while others have long been there (on other
//! hosts nothing can be seen, and only the time limit helps). And where MPI has complained and there is no room for its
//! files, ranks that are all there may wait for ever, too.

use super::RANK_VARIABLES;
use super::processes::{bearers, variable};
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often to look.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A rank that cannot be seen for so long is gone: a process that is just becoming another program has no environment.
const GONE_AFTER: Duration = Duration::from_millis(400);
/// A rank that has not come when the first one has been there for so long never will: mpirun starts all at once.
const NEVER_CAME_AFTER: Duration = Duration::from_secs(3);
/// MPI has started well before this, unless something is wrong.
const STARTED_WITHIN: Duration = Duration::from_secs(4);
/// MPI needs some megabytes for each rank; with less than this free, that is the likely reason of its trouble.
const SCARCE_BYTES: u64 = 32 << 20;
/// So much of what MPI said is repeated.
const WORDS_CHARS_MAX: usize = 160;
/// mpirun stumbles over its own bookkeeping whenever a rank dies: not the reason of anything.
const NOISE: [&str; 2] = ["pmix_event_notification.c", "[warn] Epoll"];

/// Who has been seen.
#[derive(Debug)]
pub(super) struct StartWatch {
    /// Name and value of the mark that all processes of the job have.
    mark: (&'static str, OsString),
    ranks: u32,
    /// Whether all ranks are on this machine.
    local: bool,
    seen: BTreeMap<u32, StartSeen>,
    first: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct StartSeen {
    pid: Pid,
    last: Instant,
}

/// A rank that MPI waits for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) rank: u32,
    /// The process that it was, if it ever came.
    pub(super) pid: Option<Pid>,
}

impl StartWatch {
    pub(super) fn new(mark: (&'static str, OsString), ranks: u32, local: bool) -> Self {
        Self { mark, ranks, local, seen: BTreeMap::new(), first: None }
    }

    /// Looks who is there, and says who is missing.
    pub(super) fn look(&mut self, now: Instant) -> Option<Missing> {
        let here = bearers(self.mark.0, &self.mark.1).into_iter().filter_map(|pid| Some((rank_of(pid)?, pid)));
        self.note(now, here)
    }

    /// True when all are there for so long that, if MPI has complained and there is no room, it waits for nothing.
    pub(super) fn stands_still(&self, now: Instant, log: &Path, places: &[&Path]) -> bool {
        let long = self.first.is_some_and(|first| now.duration_since(first) >= STARTED_WITHIN);
        long && scarce(places).is_some() && words(log).is_some()
    }

    fn note(&mut self, now: Instant, here: impl Iterator<Item = (u32, Pid)>) -> Option<Missing> {
        for (rank, pid) in here.filter(|(rank, _)| *rank < self.ranks) {
            self.first.get_or_insert(now);
            self.seen.entry(rank).or_insert(StartSeen { pid, last: now }).last = now;
        }
        let gone = self.seen.iter().find(|(_, seen)| now.duration_since(seen.last) >= GONE_AFTER);
        let gone = gone.map(|(rank, seen)| Missing { rank: *rank, pid: Some(seen.pid) });
        let long_there = self.local && self.first.is_some_and(|first| now.duration_since(first) >= NEVER_CAME_AFTER);
        gone.or_else(|| {
            let rank = (0..self.ranks).find(|rank| long_there && !self.seen.contains_key(rank))?;
            Some(Missing { rank, pid: None })
        })
    }
}

/// The rank that a process is, as its environment says.
fn rank_of(pid: Pid) -> Option<u32> {
    RANK_VARIABLES.iter().find_map(|name| variable(pid, name)?.to_str()?.parse().ok())
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "rank {} (pid {pid}) died", self.rank),
            None => write!(f, "rank {} died at once", self.rank),
        }
    }
}

/// What has happened, what MPI said of it, and what to do. `log` is mpirun's, `places` are where MPI keeps its files.
pub(super) fn explained(what: &str, log: &Path, places: &[&Path]) -> String {
    // A process that MPI ends says why.
    let said = words(log).map_or_else(
        || "without a word: it was killed, or the machine is short of memory".to_owned(),
        |words| format!("MPI said: {words}"),
    );
    format!("{what} while MPI was starting; {said}; {}", advice(places))
}

/// The first of these places that is nearly full, and how many bytes are free there.
fn scarce<'a>(places: &[&'a Path]) -> Option<(&'a Path, u64)> {
    places.iter().find_map(|place| {
        let free = rustix::fs::statvfs(*place).map(|room| room.f_bavail * room.f_frsize).ok()?;
        (free < SCARCE_BYTES).then_some((*place, free))
    })
}

/// A place that is nearly full is the usual cause; otherwise once more is worth a try.
fn advice(places: &[&Path]) -> String {
    let Some((place, free)) = scarce(places) else { return "start it again".to_owned() };
    let way_out = if place.starts_with(super::launcher::SHARED_MEMORY) { "make room there" } else { "set TMPDIR" };
    format!(
        "only {} KiB are free in {}, and MPI needs some {} MiB: {way_out}",
        free >> 10,
        place.display(),
        SCARCE_BYTES >> 20
    )
}

/// The first thing in mpirun's log that is more than decoration, without the mark of who says it.
pub(super) fn words(log: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&std::fs::read(log).ok()?).into_owned();
    let said = |line: &&str| line.chars().any(char::is_alphanumeric) && !NOISE.iter().any(|noise| line.contains(noise));
    let line = text.lines().map(str::trim).find(said)?;
    let line = match line.split_once("] ") {
        Some((who, rest)) if who.starts_with('[') && !rest.is_empty() => rest,
        _ => line,
    };
    Some(line.chars().take(WORDS_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).expect("not 0")
    }

    fn watch(local: bool) -> StartWatch {
        StartWatch::new(("NAME", "value".into()), 3, local)
    }

    #[test]
    fn a_rank_that_was_there_and_is_gone_is_missing() {
        let (mut watch, begun) = (watch(true), Instant::now());
        let all = || (0..3).map(|rank| (rank, pid(100 + rank as i32)));
        assert_eq!(watch.note(begun, all()), None);
        let without = || all().filter(|(rank, _)| *rank != 1);
        assert_eq!(watch.note(begun + GONE_AFTER / 2, without()), None, "it may just become another program");
        let missing = watch.note(begun + GONE_AFTER, without());
        assert_eq!(missing, Some(Missing { rank: 1, pid: Some(pid(101)) }));
    }

    #[test]
    fn a_rank_that_never_came_is_missing_after_a_while() {
        for local in [true, false] {
            let (mut watch, begun) = (watch(local), Instant::now());
            let some = || (0..2).map(|rank| (rank, pid(100 + rank as i32)));
            let mut missing = None;
            for step in 0..=NEVER_CAME_AFTER.as_millis() / LOOK_EVERY.as_millis() {
                assert_eq!(missing, None);
                missing = watch.note(begun + LOOK_EVERY * step as u32, some());
            }
            // What is on another host cannot be seen.
            assert_eq!(missing, local.then_some(Missing { rank: 2, pid: None }));
        }
    }

    #[test]
    fn ranks_that_are_all_there_stand_still_only_where_mpi_complains_and_has_no_room() {
        let folder = super::super::lifeline::PrivateDir::create().expect("a temporary directory");
        let log = folder.path().join("mpirun.log");
        let (mut watch, begun) = (watch(true), Instant::now());
        let full = [Path::new("/proc")];
        let late = begun + STARTED_WITHIN;
        assert_eq!(watch.note(begun, (0..3).map(|rank| (rank, pid(100 + rank as i32)))), None);
        assert!(!watch.stands_still(late, &log, &full), "without a word");
        std::fs::write(&log, "[vm:5] PMIX ERROR: OUT-OF-RESOURCE in file x.c\n").expect("ours");
        assert!(!watch.stands_still(begun, &log, &full) && !watch.stands_still(late, &log, &[]));
        assert!(watch.stands_still(late, &log, &full));
    }

    #[test]
    fn the_reason_says_who_ended_how_what_mpi_said_and_what_to_do() {
        let folder = super::super::lifeline::PrivateDir::create().expect("a temporary directory");
        let log = folder.path().join("mpirun.log");
        let what = Missing { rank: 1, pid: Some(pid(7)) }.to_string();
        std::fs::write(&log, format!("[vm:5] PMIX ERROR: BAD-PARAM in file {} at line 1\n", NOISE[0])).expect("ours");
        let said = explained(&what, &log, &[]);
        assert!(
            said.starts_with("rank 1 (pid 7) died while MPI was starting; without a word: it was killed"),
            "{said}"
        );
        assert!(said.ends_with("; start it again"), "{said}");
        std::fs::write(&log, "------\n[vm:5] PMIX ERROR: OUT-OF-RESOURCE in file x.c\n").expect("ours");
        // Nothing is ever free there.
        let said = explained(&what, &log, &[Path::new("/proc")]);
        let expected = "rank 1 (pid 7) died while MPI was starting; MPI said: PMIX ERROR: OUT-OF-RESOURCE in file x.c; \
                        only 0 KiB are free in /proc, and MPI needs some 32 MiB: set TMPDIR";
        assert_eq!(said, expected);
    }
}
