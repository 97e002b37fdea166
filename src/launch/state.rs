//! The directory of logs and history.
//!
//! ```text
//! ~/.local/state/understudy/          history and whatever outlives a run
//!     jobs/1764000000-4711/           one directory a run: mpirun.log and a log a rank
//! ```
//!
//! Only the newest [`JOBS_KEPT_MAX`] job directories stay. A user without a home still gets a place, in the
//! system's temporary directory.

use crate::launch::args::Args;
use rustix::process::{Pid, getppid, getuid};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The usual place of logs and history, whoever the user is.
pub const FOLDER_IN_GENERAL: &str = "~/.local/state/understudy";
/// Tells the ranks where the launcher's job directory is.
pub const JOB_DIR_VARIABLE: &str = "UNDERSTUDY_JOB_DIR";
/// This many job directories are kept.
pub const JOBS_KEPT_MAX: usize = 20;
/// Only the user reads what was typed.
const DIR_MODE: u32 = 0o700;
/// mpirun's own words go here, inside the job directory.
pub const MPIRUN_LOG: &str = "mpirun.log";

/// Where logs and the command history are kept, created if need be.
///
/// `--log-dir`, or `$XDG_STATE_HOME/understudy`, or `~/.local/state/understudy`; when the chosen one cannot be
/// written, a directory in the system's temporary one.
#[must_use]
pub fn state_dir(args: &Args) -> PathBuf {
    place(args.log_dir.clone().or_else(usual_folder), &std::env::temp_dir())
}

/// The wanted place, or one in `temporary`.
fn place(wanted: Option<PathBuf>, temporary: &Path) -> PathBuf {
    if let Some(dir) = wanted.and_then(|dir| std::path::absolute(dir).ok())
        && make_private(&dir).is_ok()
        && rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    {
        return dir;
    }
    let dir = temporary.join(format!("understudy-{}", getuid().as_raw()));
    // Anybody may write to the temporary directory: take one there only if it is truly ours.
    let ours = make_private(&dir).is_ok()
        && dir.symlink_metadata().is_ok_and(|data| data.is_dir() && data.uid() == getuid().as_raw());
    if ours { dir } else { dir.with_extension(std::process::id().to_string()) }
}

/// Where logs and history are kept unless `--log-dir` says otherwise.
#[must_use]
pub fn usual_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder_of(variable("XDG_STATE_HOME"), variable("HOME"))
}

fn folder_of(state_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // The XDG specification: a path that is not absolute is to be ignored.
    let state_home = state_home.filter(|path| path.is_absolute()).map(|path| path.join("understudy"));
    state_home.or_else(|| home.map(|path| path.join(".local/state/understudy")))
}

/// The directory of this run's logs, created if need be: the launcher's, or one named after the mpirun that a person
/// typed, so that all its ranks agree.
///
/// # Errors
/// When it cannot be created, with its name.
pub fn job_dir(args: &Args) -> io::Result<PathBuf> {
    if let Some(dir) = std::env::var_os(JOB_DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let dir = state_dir(args).join("jobs").join(format!("mpirun-{parent}"));
    make_private(&dir).map_err(|error| naming(&dir, &error))?;
    Ok(dir)
}

/// A fresh job directory for the launcher; the oldest ones go.
///
/// # Errors
/// When it cannot be created, with its name.
pub fn new_job_dir(args: &Args) -> io::Result<PathBuf> {
    let jobs = state_dir(args).join("jobs");
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let dir = jobs.join(format!("{seconds}-{}", std::process::id()));
    prune(&jobs, JOBS_KEPT_MAX - 1);
    make_private(&dir).map_err(|error| naming(&dir, &error))?;
    Ok(dir)
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot create {}: {error}; name another place with --log-dir", path.display()),
    )
}

fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// Removes all but the newest `kept` directories, never one whose process still runs. Best effort: a log that
/// cannot be removed must not keep anybody from working.
fn prune(jobs: &Path, kept: usize) {
    let Ok(entries) = std::fs::read_dir(jobs) else { return };
    let mut dirs: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let data = entry.metadata().ok().filter(std::fs::Metadata::is_dir)?;
            Some((data.modified().ok()?, entry.path()))
        })
        .collect();
    dirs.sort_by(|one, other| other.cmp(one));
    for (_, dir) in dirs.into_iter().skip(kept).filter(|(_, dir)| !is_in_use(dir)) {
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Both kinds of names end in the pid of the process that the job lives and dies with.
fn is_in_use(dir: &Path) -> bool {
    let pid = dir.file_name().and_then(|name| name.to_str()?.rsplit('-').next()?.parse().ok()).and_then(Pid::from_raw);
    pid.is_some_and(super::processes::is_alive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("understudy-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn the_specification_decides_then_the_home() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(folder_of(path("/state"), path("/home/a")), path("/state/understudy"));
        assert_eq!(folder_of(path("state"), path("/home/a")), path("/home/a/.local/state/understudy"));
        assert_eq!(folder_of(None, None), None);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_replaced() {
        let temporary = scratch("replaced");
        std::fs::create_dir(&temporary).expect("room for temporary files");
        assert!(place(Some("/proc/nowhere".into()), &temporary).starts_with(&temporary));
        assert_eq!(place(Some(temporary.join("wanted")), &temporary), temporary.join("wanted"));
        std::fs::remove_dir_all(temporary).expect("ours");
    }

    #[test]
    fn a_job_directory_is_private_and_old_ones_go() {
        let root = scratch("jobs");
        // Names that end in no living pid.
        for number in 0..30 {
            make_private(&root.join("jobs").join(format!("{number}-999999999"))).expect("scratch is writable");
        }
        let args = Args::parse_from(["understudy", "--log-dir", root.to_str().expect("plain name")]);
        let dir = new_job_dir(&args).expect("scratch is writable");
        assert_eq!(dir.metadata().expect("just made").permissions().mode() & 0o777, DIR_MODE);
        let left: Vec<_> = std::fs::read_dir(root.join("jobs")).expect("just made").flatten().collect();
        assert_eq!(left.len(), JOBS_KEPT_MAX);
        assert!(left.iter().any(|entry| entry.path() == dir));
        std::fs::remove_dir_all(root).expect("ours");
    }

    #[test]
    fn the_directory_of_a_living_process_is_in_use() {
        assert!(is_in_use(Path::new(&format!("/jobs/1-{}", std::process::id()))));
        assert!(!is_in_use(Path::new("/jobs/1-999999999")));
        assert!(!is_in_use(Path::new("/jobs/other")));
    }
}
