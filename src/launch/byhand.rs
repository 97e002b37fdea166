//! Rank 0 without a launcher, under an mpirun that a person typed.
//!
//! There mpirun holds the terminal: it is in the foreground, reads the keys, and forwards them to rank 0 through a
//! pipe. It cannot be made to let go; if rank 0 took the foreground, the kernel would stop mpirun at its next read,
//! and the shell would think the job suspended. So the keys keep coming that way, and the rest is made to fit:
//!
//! ```text
//!   keyboard ─ terminal (raw) ─ mpirun ─ pipe ─ pump thread ─ pseudo-terminal ─ descriptor 0: the line editor
//!   screen ──── terminal ◀───────────────────────────────────────────────────── descriptor 1
//! ```
//!
//! - The terminal is set to raw by rank 0, from the background: keys pass mpirun unchanged, Ctrl-C is a byte.
//! - The line editor insists on a terminal to read from: it gets a pseudo-terminal, and sets modes there as it likes.
//! - Output goes to the terminal directly.
//! - The kernel tells the foreground group about a new size, which is mpirun: the pump looks now and then.
//!
//! # The guardian
//!
//! Nobody would put the terminal back if rank 0 were killed: mpirun does not know what was done. So rank 0 starts a
//! small process first, this very binary with [`GUARDIAN_VARIABLE`] set, that remembers the terminal and waits at one
//! end of a socket pair. Goodbye: it leaves. Closed without goodbye: it puts the terminal back and ends the job.

use super::attach::names_an_mpirun;
use super::processes::{block_stops, block_terminal_signals, descendants, send, wait_until_gone};
use super::terminal::{Terminal, TerminalEnd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, getppid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use signal_hook::consts::SIGWINCH;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// In the environment of a guardian: the pid of the mpirun it may have to end.
pub const GUARDIAN_VARIABLE: &str = "UNDERSTUDY_GUARDIAN";
/// How far up to look for mpirun: helpers may stand between it and a rank.
const ANCESTORS_MAX: usize = 4;
/// How often the pump looks whether the window has another size.
const SIZE_INTERVAL_NS: i64 = 200_000_000;
/// Keys are read in pieces of at most this.
const PUMP_BYTES: usize = 4096;
/// How long a guardian takes to come up, at the very worst.
const GUARDIAN_DEADLINE_MS: u64 = 2_000;
/// How long mpirun may take to end after its ranks are gone, and again after a SIGTERM.
const MPIRUN_PATIENCE_MS: u64 = 300;
/// The guardian says this when it has remembered the terminal.
const READY: u8 = b'r';
/// Rank 0 says this when it leaves and the terminal is whole.
const GOODBYE: u8 = b'g';

/// The terminal of an mpirun that a person typed.
#[derive(Debug)]
pub struct ByHand {
    terminal: Terminal,
    guardian: UnixStream,
}

impl ByHand {
    /// Takes the terminal; `None` if mpirun was not typed at one (then it forwards, and nothing needs doing).
    ///
    /// # Errors
    /// When there is a terminal, but something about it fails.
    pub fn take() -> io::Result<Option<Self>> {
        let Some((mpirun, input, output)) = terminal_of_mpirun() else { return Ok(None) };
        let Some(terminal) = Terminal::remember(input.as_fd(), Some(output.as_fd())) else { return Ok(None) };
        let guardian = start_guardian(mpirun, &output)?;
        let keys = io::stdin().as_fd().try_clone_to_owned()?;
        let (master, slave) = pseudo_terminal(&output)?;
        rustix::stdio::dup2_stdin(&slave)?;
        rustix::stdio::dup2_stdout(&output)?;
        terminal.make_input_raw()?;
        std::thread::Builder::new().name("keys".into()).spawn(move || pump(&keys, &master, &output))?;
        Ok(Some(Self { terminal, guardian }))
    }

    /// Puts the terminal back and lets the guardian go.
    pub(super) fn give_back(&self, end: TerminalEnd) {
        self.terminal.restore(end);
        let _ = (&self.guardian).write_all(&[GOODBYE]);
    }
}

/// mpirun, and its input and output if both are terminals.
fn terminal_of_mpirun() -> Option<(Pid, OwnedFd, OwnedFd)> {
    let mut mpirun = None;
    let mut pid = getppid();
    for _ in 0..ANCESTORS_MAX {
        let Some(ancestor) = pid.filter(|&pid| names_an_mpirun(pid)) else { break };
        mpirun = Some(ancestor);
        pid = parent_of(ancestor);
    }
    let mpirun = mpirun?;
    let terminal = |number: u32| {
        let path = format!("/proc/{mpirun}/fd/{number}");
        open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok().filter(|fd| isatty(fd))
    };
    Some((mpirun, terminal(0)?, terminal(1)?))
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = text.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}

/// A pseudo-terminal without echo: nobody reads what would come back.
fn pseudo_terminal(size_of: &OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut modes = tcgetattr(&slave)?;
    modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    if let Ok(size) = tcgetwinsize(size_of) {
        let _ = tcsetwinsize(&slave, size);
    }
    Ok((master, slave))
}

/// Carries keys from mpirun's pipe to the pseudo-terminal, and news of the window's size. When the keys end, the
/// pseudo-terminal is hung up, which the line editor sees as the end of its input.
fn pump(keys: &OwnedFd, master: &OwnedFd, screen: &OwnedFd) {
    let mut size = tcgetwinsize(screen).ok();
    let mut buffer = [0; PUMP_BYTES];
    loop {
        let interval = Timespec { tv_sec: 0, tv_nsec: SIZE_INTERVAL_NS };
        let mut watched = [PollFd::new(keys, PollFlags::IN)];
        let has_keys = poll(&mut watched, Some(&interval)).is_ok_and(|ready| ready > 0);
        let now = tcgetwinsize(screen).ok();
        let same = match (&size, &now) {
            (Some(one), Some(other)) => one.ws_row == other.ws_row && one.ws_col == other.ws_col,
            _ => true,
        };
        if !same {
            size = now;
            let _ = signal_hook::low_level::raise(SIGWINCH);
        }
        if !has_keys {
            continue;
        }
        match rustix::io::read(keys, &mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let mut rest = buffer.get(..length).unwrap_or_default();
                while !rest.is_empty() {
                    match rustix::io::write(master, rest) {
                        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                        Err(rustix::io::Errno::INTR) => {}
                        Err(_) => return,
                    }
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

/// Starts the guardian and waits until it has remembered the terminal as it is now.
fn start_guardian(mpirun: Pid, terminal: &OwnedFd) -> io::Result<UnixStream> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let guardian = Command::new(std::env::current_exe()?)
        .env(GUARDIAN_VARIABLE, mpirun.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(terminal.try_clone()?))
        .stderr(Stdio::null())
        // mpirun signals whole process groups when it ends a rank; the guardian is to outlive it.
        .process_group(0)
        .spawn()?;
    ours.set_read_timeout(Some(Duration::from_millis(GUARDIAN_DEADLINE_MS)))?;
    ours.read_exact(&mut [0]).map_err(|error| {
        io::Error::new(error.kind(), format!("the guardian of the terminal does not answer: {error}"))
    })?;
    // It ends after us, or we bury it by ending: nobody waits for it.
    drop(guardian);
    Ok(ours)
}

/// Runs the guardian if this process was started as one; the exit code then. Ask before anything else in `main`.
#[must_use]
pub fn guardian() -> Option<ExitCode> {
    let mpirun = std::env::var(GUARDIAN_VARIABLE).ok()?;
    Some(if guard(mpirun.parse().ok().and_then(Pid::from_raw)) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn guard(mpirun: Option<Pid>) -> bool {
    // It must not die of what it guards against.
    if block_terminal_signals().and_then(|()| block_stops()).is_err() {
        return false;
    }
    let stdout = io::stdout();
    let Some(terminal) = Terminal::remember(stdout.as_fd(), Some(stdout.as_fd())) else { return false };
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else { return false };
    let mut socket = UnixStream::from(socket);
    if socket.write_all(&[READY]).is_err() {
        return false;
    }
    let mut word = [0];
    if socket.read_exact(&mut word).is_ok() && word == [GOODBYE] {
        return true;
    }
    terminal.restore(TerminalEnd::Late);
    if let Some(mpirun) = mpirun.filter(|&pid| names_an_mpirun(pid)) {
        end_job(mpirun);
    }
    true
}

/// Ranks first: an mpirun without ranks cleans up after itself and ends.
fn end_job(mpirun: Pid) {
    descendants(mpirun).into_iter().for_each(|pid| send(pid, Signal::KILL));
    let patience = Duration::from_millis(MPIRUN_PATIENCE_MS);
    for signal in [Signal::TERM, Signal::KILL] {
        if wait_until_gone(&[mpirun], patience) {
            return;
        }
        send(mpirun, signal);
    }
    wait_until_gone(&[mpirun], patience);
}
