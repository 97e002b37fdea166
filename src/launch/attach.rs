//! Rank 0's end: take the terminal, follow orders, notice that one has been orphaned.
//!
//! [`attach`] finds out how this rank was started and makes descriptors 0, 1 and 2 what a program started in a
//! shell would have:
//!
//! | started by | descriptors | terminal put back by |
//! |---|---|---|
//! | the launcher | the launcher's own, received over the lifeline | the launcher; this rank if the launcher is gone |
//! | a person's mpirun at a terminal | the terminal: [`byhand`](super::byhand) | this rank; its guardian after a kill |
//! | a person's mpirun in a pipe | as mpirun made them | nobody: nothing was changed |
//!
//! From then on a few threads wait for what may come, and call the `on_order` that was given. It runs on their
//! stack: it should set a flag or send on a channel, and return.

use super::byhand::ByHand;
use super::lifeline::{self, LIFELINE_VARIABLE, PrivateDir, SHARED_VARIABLE, Said, Told};
use super::processes::{
    ORPHAN_EXIT_CODE, ParentWatch, bearers, block_stops, block_suspend, descendants, ignored_signals,
    remove_shared_memory, send, wait_until_gone,
};
use super::terminal::{Terminal, TerminalEnd};
use super::{IGNORED_VARIABLE, asks_for_line_mode, draws_a_screen};
use crate::launch::args::Args;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, Signal, getpgid, getppid};
use rustix::termios::isatty;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The launcher hands its descriptors over at once; this is for one that is stuck.
const HAND_OVER_DEADLINE_MS: u64 = 5_000;
/// How often rank 0 looks whether mpirun still lives.
const WATCH_INTERVAL_MS: u64 = 250;
/// How long a killed mpirun takes to be gone, at the very worst.
const MPIRUN_PATIENCE_MS: u64 = 300;
/// The first descriptor behind standard input, output and error.
const FREE_DESCRIPTOR_MIN: i32 = 3;
/// Names of one job's processes when a person started mpirun: the run-time's own mark.
const JOB_VARIABLES: [&str; 2] = [LIFELINE_VARIABLE, "PMIX_NAMESPACE"];

/// What is asked of rank 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// End the cluster, orderly and within half a second: the launcher or this process was told to terminate.
    Leave,
    /// Ctrl-C was pressed while no line was being edited.
    Interrupt,
    /// The launcher or mpirun is gone. This process ends soon after the callback returns: last chance to save
    /// something. Do not end the process yourself, the others have still to be ended.
    Orphaned,
}

/// Rank 0's hold on the terminal and on its launcher. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Attachment {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stdin_is_terminal: bool,
    stdout_is_terminal: bool,
    holder: Holder,
    /// One of the states below.
    state: AtomicU8,
}

/// At work.
const ATTACHED: u8 = 0;
/// Goodbye has been said: nobody is missed any more, and no order is passed on.
const FINISHED: u8 = 1;
/// Orphaned, and about to end the job.
const ORPHANED: u8 = 2;

#[derive(Debug)]
enum Holder {
    /// A launcher waits at the other end.
    Launcher {
        lifeline: UnixStream,
        group: Option<Pid>,
        terminal: Option<Terminal>,
        /// What was stderr before: mpirun's log.
        log: OwnedFd,
    },
    /// A person typed mpirun at a terminal.
    ByHand(ByHand),
    /// No terminal is involved.
    Nobody,
}

/// Takes over descriptors 0, 1 and 2 and starts to listen for orders. For rank 0, early: before threads that must
/// not be stopped by touching the terminal, and before anything is read or written. MPI may be initialised or not.
///
/// # Errors
/// When the launcher does not answer, or the terminal cannot be had.
pub fn attach(args: &Args, on_order: impl Fn(Order) + Send + Sync + 'static) -> io::Result<Attachment> {
    let ignored = to_be_ignored();
    block_stops()?;
    block_suspend()?;
    let attachment = Attachment { shared: Arc::new(take_descriptors(args)?) };
    let on_order: Arc<dyn Fn(Order) + Send + Sync> = Arc::new(on_order);
    attachment.follow_signals(&on_order, ignored)?;
    attachment.follow_launcher(&on_order)?;
    attachment.watch_mpirun(&on_order)?;
    Ok(attachment)
}

fn take_descriptors(args: &Args) -> io::Result<Shared> {
    let (stdin_is_terminal, stdout_is_terminal, holder) = match std::env::var_os(LIFELINE_VARIABLE) {
        Some(socket) => {
            // A launcher that is gone already can end nobody, and the other ranks do not know us yet.
            let launcher = connect(&socket, args).inspect_err(|_| end_without_launcher())?;
            (isatty(io::stdin()), isatty(io::stdout()), launcher)
        }
        None if asks_for_line_mode(args) => (false, false, Holder::Nobody),
        None => match ByHand::take()? {
            Some(by_hand) => (true, true, Holder::ByHand(by_hand)),
            // mpirun forwards: what looks like a terminal here (its pseudo-terminal for output) is none.
            None => (false, false, Holder::Nobody),
        },
    };
    Ok(Shared { stdin_is_terminal, stdout_is_terminal, holder, state: AtomicU8::new(ATTACHED) })
}

fn connect(socket: &OsString, args: &Args) -> io::Result<Holder> {
    let gone = |error: io::Error| io::Error::new(error.kind(), format!("the launcher does not answer: {error}"));
    let lifeline = UnixStream::connect(socket).map_err(gone)?;
    lifeline.set_read_timeout(Some(Duration::from_millis(HAND_OVER_DEADLINE_MS)))?;
    let [stdin, stdout, stderr] = lifeline::receive_descriptors(&lifeline).map_err(gone)?;
    lifeline.set_read_timeout(None)?;
    lifeline::bound_writes(&lifeline)?;
    let log = rustix::io::fcntl_dupfd_cloexec(io::stderr(), FREE_DESCRIPTOR_MIN)?;
    rustix::stdio::dup2_stdin(&stdin)?;
    rustix::stdio::dup2_stdout(&stdout)?;
    rustix::stdio::dup2_stderr(&stderr)?;
    let terminal = Terminal::remember(stdin.as_fd(), draws_a_screen(args).then(|| stdout.as_fd()));
    let launcher = rustix::net::sockopt::socket_peercred(&lifeline)?.pid;
    let group = getpgid(Some(launcher)).ok();
    Ok(Holder::Launcher { lifeline, group, terminal, log })
}

impl Attachment {
    /// Whether lines come from a person at a keyboard.
    #[must_use]
    pub fn stdin_is_terminal(&self) -> bool {
        self.shared.stdin_is_terminal
    }

    /// Whether a screen can be drawn on stdout.
    #[must_use]
    pub fn stdout_is_terminal(&self) -> bool {
        self.shared.stdout_is_terminal
    }

    /// Does something that may say on stderr what belongs into the log: MPI's own words when it cannot start are for
    /// the launcher to sum up.
    pub fn with_stderr_in_the_log<T>(&self, work: impl FnOnce() -> T) -> T {
        let Holder::Launcher { log, .. } = &self.shared.holder else { return work() };
        let stderr = rustix::io::fcntl_dupfd_cloexec(io::stderr(), FREE_DESCRIPTOR_MIN);
        let Ok(stderr) = stderr.and_then(|stderr| rustix::stdio::dup2_stderr(log).map(|()| stderr)) else {
            return work();
        };
        let done = work();
        let _ = rustix::stdio::dup2_stderr(&stderr);
        done
    }

    /// Tells the launcher which processes the ranks are. Again whenever that changes; the last word counts.
    pub fn report_pids(&self, pids: &[u32]) {
        if let Holder::Launcher { lifeline, .. } = &self.shared.holder {
            lifeline::say(lifeline, &Said::Pids(pids.to_vec()));
        }
    }

    /// Says goodbye: the terminal is no longer ours, and the process must end within half a second, with this code.
    ///
    /// The caller has put its own things away (line editor, scroll region) and has flushed stdout.
    pub fn finish(&self, exit_code: u8) {
        self.say_goodbye(&Said::Exit(exit_code), TerminalEnd::Orderly);
    }

    /// As [`Attachment::finish`], but in the middle of things: whatever is on the screen, and the modes, are put in
    /// order for us. For an order to leave, or a panic, while a line is being edited in another thread.
    pub fn break_off(&self, exit_code: u8) {
        self.say_goodbye(&Said::BreakOff(exit_code), TerminalEnd::Broken);
    }

    fn say_goodbye(&self, said: &Said, end: TerminalEnd) {
        match self.advance(FINISHED) {
            Ok(_) => {}
            // The line editor fails when the terminal is taken back, and the caller comes here to leave. That would
            // cut short what the orphan still has to do: it ends the process when it is done.
            Err(ORPHANED) => loop {
                std::thread::park();
            },
            Err(_) => return,
        }
        // The input ends with the mpirun that hands it on, and that may be noticed first.
        if !getppid().is_some_and(names_an_mpirun) {
            remove_shared_memory();
        }
        match &self.shared.holder {
            Holder::Launcher { lifeline, .. } => lifeline::say(lifeline, said),
            Holder::ByHand(by_hand) => by_hand.give_back(end),
            Holder::Nobody => {}
        }
    }

    /// From attached to an end, once.
    fn advance(&self, end: u8) -> Result<u8, u8> {
        self.shared.state.compare_exchange(ATTACHED, end, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn follow_signals(&self, on_order: &Arc<dyn Fn(Order) + Send + Sync>, ignored: Vec<i32>) -> io::Result<()> {
        let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let (on_order, this) = (Arc::clone(on_order), self.clone());
        spawn("orders", move || {
            for signal in &mut signals {
                if ignored.contains(&signal) || this.shared.state.load(Ordering::SeqCst) != ATTACHED {
                    continue;
                }
                on_order(if signal == SIGINT { Order::Interrupt } else { Order::Leave });
            }
        })
    }

    fn follow_launcher(&self, on_order: &Arc<dyn Fn(Order) + Send + Sync>) -> io::Result<()> {
        let Holder::Launcher { lifeline, .. } = &self.shared.holder else { return Ok(()) };
        let (stream, on_order, this) = (lifeline.try_clone()?, Arc::clone(on_order), self.clone());
        spawn("lifeline", move || {
            lifeline::listen_to_launcher(stream, |told| match told {
                Told::Leave => on_order(Order::Leave),
                Told::Interrupt => on_order(Order::Interrupt),
                Told::Window => drop(signal_hook::low_level::raise(SIGWINCH)),
            });
            this.orphaned(&*on_order, Lost::Launcher);
        })
    }

    fn watch_mpirun(&self, on_order: &Arc<dyn Fn(Order) + Send + Sync>) -> io::Result<()> {
        let (watch, on_order, this) = (ParentWatch::new(), Arc::clone(on_order), self.clone());
        spawn("parent-watch", move || {
            while watch.parent_is_alive() {
                std::thread::sleep(Duration::from_millis(WATCH_INTERVAL_MS));
            }
            this.orphaned(&*on_order, Lost::Mpirun);
        })
    }

    /// The end of a rank 0 that nobody waits for.
    fn orphaned(&self, on_order: &dyn Fn(Order), lost: Lost) {
        // Two threads may notice at once; and the dying mpirun will ask us to leave, which we are doing.
        if self.advance(ORPHANED).is_err() {
            return;
        }
        on_order(Order::Orphaned);
        match (&self.shared.holder, lost) {
            (Holder::Launcher { group, terminal: Some(terminal), .. }, Lost::Launcher) => {
                let was_ours = terminal.is_in_foreground();
                terminal.restore(TerminalEnd::Late);
                if was_ours {
                    terminal.return_foreground(*group);
                }
            }
            // With the launcher alive, the terminal is its business.
            (Holder::Launcher { .. } | Holder::Nobody, _) => {}
            (Holder::ByHand(by_hand), _) => by_hand.give_back(TerminalEnd::Late),
        }
        match lost {
            Lost::Launcher => end_without_launcher(),
            Lost::Mpirun => end_the_others(),
        }
        remove_shared_memory();
        // Not `std::process::exit`: MPI's exit handlers may wait for those who are gone.
        signal_hook::low_level::exit(ORPHAN_EXIT_CODE)
    }
}

/// The signals that mean nothing to us: the launcher was told so, or whoever typed mpirun was.
fn to_be_ignored() -> Vec<i32> {
    match std::env::var(IGNORED_VARIABLE) {
        Ok(numbers) => numbers.split(',').filter_map(|number| number.parse().ok()).collect(),
        Err(_) => ignored_signals(),
    }
}

/// Whom rank 0 has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Launcher,
    Mpirun,
}

/// Ends the job and removes what the launcher would have removed.
pub(super) fn end_without_launcher() {
    end_the_others();
    let socket = std::env::var_os(LIFELINE_VARIABLE).map(PathBuf::from);
    let private = socket.as_deref().and_then(Path::parent).and_then(PrivateDir::adopt);
    let shared = std::env::var_os(SHARED_VARIABLE).and_then(|dir| PrivateDir::adopt(Path::new(&dir)));
    drop((private, shared));
}

/// Kills the other ranks and mpirun. A stopped process would not leave by itself, and an mpirun that is asked to
/// end would kill this rank first; what it leaves behind is removed by [`end_without_launcher`].
fn end_the_others() {
    let mpirun = getppid().filter(|&pid| names_an_mpirun(pid));
    let marked = JOB_VARIABLES.iter().find_map(|name| Some((name, std::env::var_os(name)?)));
    let mut others = marked.map(|(name, value)| bearers(name, &value)).unwrap_or_default();
    others.extend(mpirun.map(descendants).unwrap_or_default());
    for pid in others.into_iter().filter(|&pid| Some(pid) != mpirun) {
        send(pid, Signal::KILL);
    }
    if let Some(mpirun) = mpirun {
        send(mpirun, Signal::KILL);
        wait_until_gone(&[mpirun], Duration::from_millis(MPIRUN_PATIENCE_MS));
    }
}

/// Whether this is an mpirun, or one of its helpers, and not whoever has adopted us after it died.
pub(super) fn names_an_mpirun(pid: Pid) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    ["mpirun", "mpiexec", "terun", "orted", "prted", "hydra"].iter().any(|part| name.contains(part))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}
