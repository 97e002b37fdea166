//! How a process is started that takes the place of a dead one.
//!
//! It is an ordinary child of rank 0, and no process of MPI: nothing in it or about it can hold up anybody who is in
//! MPI's world. What it needs is the running image itself (`IMAGE`: the program's file may have been replaced or
//! deleted since), one end of a pair of sockets as its standard input, and rank 0's first word, which waits there.
//!
//! For each child a thread waits that tells when it has ended; so rank 0 knows at once, and why.

use super::stream::pair;
use super::{Change, Process, ProcessEnd};
use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::fd::{AsFd, OwnedFd, RawFd};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

/// The image that this process runs, whatever has become of the file that it was started from.
#[cfg(target_os = "linux")]
const IMAGE: &str = "/proc/self/exe";
/// What the children are called in the process table: the kernel would name them after the last part of [`IMAGE`].
const NAME: &std::ffi::CStr = c"understudy";
/// Variables that belong to rank 0's place in MPI's world, by how they begin: a child has none.
const OF_THE_WORLD: [&str; 6] = ["OMPI_", "PMIX_", "PMI_", "ORTE_", "PRTE_", "HYDRA_"];
/// Standard input, output and error.
const STANDARD: RawFd = 2;
/// The kernel's number of SIGKILL.
const KILLED: i32 = 9;

/// Starts children and hears of their ends.
pub struct Offspring {
    /// Further variables of their environment.
    environment: Vec<(OsString, OsString)>,
    /// Where their last words go.
    errors: Option<PathBuf>,
    /// Wakes whoever asks for changes.
    wake: Arc<dyn Fn() + Send + Sync>,
    tell: Sender<Change>,
    told: Receiver<Change>,
}

impl fmt::Debug for Offspring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offspring").field("errors", &self.errors).finish_non_exhaustive()
    }
}

impl Offspring {
    /// Children with these variables, whose standard error is appended to that file; `wake` is called when there is
    /// news.
    #[must_use]
    pub fn new(
        environment: Vec<(OsString, OsString)>,
        errors: Option<PathBuf>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (tell, told) = unbounded();
        Self { environment, errors, wake: Arc::new(wake), tell, told }
    }

    /// Starts one, in the background. Returns the socket that leads to it; what is sent there waits for it.
    pub fn start(&self, process: Process, arguments: &[String]) -> Option<OwnedFd> {
        let failed = |how: String| {
            let _ = self.tell.send(Change::Ended { process, end: ProcessEnd { how, killed: false } });
            (self.wake)();
        };
        let (ours, theirs) = match pair() {
            Ok(pair) => pair,
            Err(error) => {
                failed(format!("no sockets for it: {error}"));
                return None;
            }
        };
        let mut command = self.command(arguments, theirs);
        let (tell, wake) = (self.tell.clone(), Arc::clone(&self.wake));
        let thread = std::thread::Builder::new().name(format!("child-{process}")).spawn(move || {
            let end = match command.spawn() {
                Ok(mut child) => {
                    // The other end is the child's alone: so it breaks when the child dies.
                    drop(command);
                    let _ = tell.send(Change::Started { process, pid: child.id() });
                    wake();
                    child.wait().map_or_else(|error| ProcessEnd { how: error.to_string(), killed: false }, end)
                }
                Err(error) => {
                    ProcessEnd { how: format!("this program cannot be started again: {error}"), killed: false }
                }
            };
            let _ = tell.send(Change::Ended { process, end });
            wake();
        });
        if let Err(error) = thread {
            failed(format!("no thread for it: {error}"));
        }
        Some(ours)
    }

    fn command(&self, arguments: &[String], socket: OwnedFd) -> Command {
        let errors = self.errors.as_deref().and_then(append);
        let mut command = Command::new(image());
        command.args(arguments).stdin(Stdio::from(socket)).stdout(Stdio::null());
        command.stderr(errors.map_or_else(Stdio::null, Stdio::from));
        // Named in the process table as this one is.
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        // The terminal's keys are for rank 0.
        command.process_group(0);
        let is_of_the_world =
            |name: &OsString| OF_THE_WORLD.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_the_world(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The next thing that has become of a child.
    pub fn take_change(&self) -> Option<Change> {
        self.told.try_recv().ok()
    }
}

fn append(path: &Path) -> Option<File> {
    File::options().create(true).append(true).open(path).ok()
}

#[cfg(target_os = "linux")]
fn image() -> PathBuf {
    IMAGE.into()
}

#[cfg(not(target_os = "linux"))]
fn image() -> PathBuf {
    std::env::current_exe().unwrap_or_default()
}

fn end(status: ExitStatus) -> ProcessEnd {
    match status.signal() {
        Some(signal) => ProcessEnd { how: format!("it was ended by signal {signal}"), killed: signal == KILLED },
        None => {
            let how = format!("it ended with exit status {}", status.code().unwrap_or_default());
            ProcessEnd { how, killed: false }
        }
    }
}

/// What a child does first of all: it takes its socket, lets go of what it has inherited by chance, and dies with its
/// parent.
///
/// # Errors
/// When this process was not started by rank 0.
pub fn settle_in() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    if rustix::net::sockopt::socket_type(&socket).is_err() {
        let text = "--replaces is for processes that rank 0 starts itself: leave it out";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::thread::set_name(NAME);
        close_inherited(&socket);
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    // The parent may have died before.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() == 1) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "rank 0 is gone"));
    }
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// MPI does not mark everything that it opens as its own: a connection of rank 0 that lives on here would not be closed
/// when rank 0 dies.
#[cfg(target_os = "linux")]
fn close_inherited(socket: &OwnedFd) {
    use std::os::fd::AsRawFd;
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > STANDARD && *descriptor != socket.as_raw_fd())
    {
        let _ = nix::unistd::close(descriptor);
    }
}
