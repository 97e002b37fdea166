//! Starting the cluster, and leaving the terminal whole whatever happens to it.
//!
//! Nobody should have to type `mpirun`. The binary that a user starts is the *launcher*: it starts
//! mpirun around itself, lends its terminal to rank 0, and is the one process that does nothing else
//! but wait, so that it is still there to put the terminal back when rank 0 is not.
//!
//! ```text
//!   shell ── launcher ──────────── mpirun ─┬─ rank 0: console, client, metadata server
//!              │  └─ lifeline (socket) ────┼──┘
//!              └ the terminal, lent        ├─ rank 1: server
//!                                          └─ rank 2: server
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`mpirun`] | finding mpirun, telling its kinds apart, its command line |
//! | `launcher` | the launcher's wait: what can happen, and the one way out |
//! | `start` | the start, watched: MPI waits for ever for a rank that has died on the way |
//! | [`lifeline`] | the socket between launcher and rank 0: what is said on it, and how descriptors travel |
//! | [`mod@attach`] | rank 0's end: take the terminal, follow orders, notice that one has been orphaned |
//! | [`byhand`] | rank 0 without a launcher, under an mpirun that a person typed |
//! | [`terminal`] | remembering a terminal, lending it, putting it back |
//! | [`processes`] | who is alive, who belongs to this job, and when a rank must leave |
//! | [`state`] | the directory of logs and history |
//!
//! # The lifeline
//!
//! mpirun forwards a rank's standard input and output through pipes, which no line editor likes and
//! which costs a copy each way. So mpirun gets no terminal at all. Instead the launcher listens on a
//! socket in a private directory; rank 0 connects; the launcher sends its own descriptors 0, 1 and 2
//! over it, and rank 0 makes them its own. A terminal, a pipe, a file: all behave as if rank 0 had
//! been started in the shell.
//!
//! The open socket then is the proof of life in both directions. The kernel closes it when a process
//! dies, however it dies. Rank 0 says its exit code on it before it leaves; a socket that closes
//! without one means that rank 0 was killed. The other way round, rank 0 learns from the closed socket
//! that the launcher is gone.
//!
//! # Whose death means what
//!
//! | who dies | who notices | what follows |
//! |---|---|---|
//! | rank 0 | launcher (lifeline), the other ranks ([`ParentWatch`]) | the job ends, exit code 1 |
//! | another rank | the protocol | nothing here: the job goes on |
//! | mpirun | launcher (child), every rank ([`ParentWatch`]) | the job ends, exit code 1 |
//! | launcher | rank 0 (lifeline) | rank 0 puts the terminal back and ends the job |
//! | launcher, while rank 0 is stopped | the other ranks ([`ParentWatch`]) | they end the job, rank 0 too |
//!
//! Whoever ends the job also looks for processes that carry this job's mark in their environment and
//! kills what does not leave by itself: a stopped process would otherwise stay for ever.
//!
//! # Job control
//!
//! Under Open MPI every rank is a process group of its own, in the background, within the user's
//! session. The launcher makes rank 0's group the terminal's foreground group, and takes it back in the
//! end. Under MPICH ranks live in a session of their own: there the descriptor alone is enough to read
//! and write, but the kernel sends window-size signals to the launcher, who passes them on.
//!
//! # Caveats
//!
//! All ranks run on this machine: the lifeline is a local socket, and processes are looked up by pid.
//! A launcher that is killed in the few milliseconds before mpirun runs leaves two small directories behind. Under a
//! typed mpirun, mpirun's own complaints about a dead rank land on the screen: they are not ours to redirect.
//! Finding the job's processes by their mark needs `/proc`; elsewhere only reported pids are killed.

pub mod args;
pub mod attach;
pub mod byhand;
mod launcher;
pub mod lifeline;
pub mod manual;
pub mod mpirun;
pub mod processes;
mod start;
pub mod state;
pub mod terminal;

pub use attach::{Attachment, Order, attach};
pub use byhand::guardian;
pub use launcher::run;
pub use processes::{ParentWatch, block_terminal_signals};
pub use state::{job_dir, state_dir};

use crate::launch::args::Args;
use rustix::termios::isatty;
use std::io::{self, Write};
use std::process::ExitCode;

/// The numbers of the signals that the launcher was told to ignore, with commas between.
pub(crate) const IGNORED_VARIABLE: &str = "UNDERSTUDY_IGNORED_SIGNALS";

/// Any of these in the environment: this process was started by an mpirun.
const RANK_VARIABLES: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"];

/// Tells rank 0 how many of the processes that were started are spares.
pub const SPARES_VARIABLE: &str = "UNDERSTUDY_SPARES";

/// How many of the ranks of this mpirun are spares, the last ones. Who types mpirun says so, or has none.
#[must_use]
pub fn spares(args: &Args) -> u32 {
    let told = std::env::var(SPARES_VARIABLE).ok().and_then(|spares| spares.parse().ok());
    told.or(args.spares).unwrap_or(0)
}

/// Whether this process is a rank (started by an mpirun), not the launcher.
#[must_use]
pub fn is_rank() -> bool {
    RANK_VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
}

/// What an mpirun sets together with [`RANK_VARIABLES`].
const COMPANIONS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMIX_NAMESPACE", "PMI_SIZE"];

/// Why this process is no rank although the environment says so: the variable stands alone, as no mpirun leaves it.
#[must_use]
pub fn left_over() -> Option<String> {
    let is_set = |name: &&str| std::env::var_os(name).is_some();
    let names = RANK_VARIABLES.into_iter().filter(is_set);
    if COMPANIONS.iter().any(is_set) { None } else { unset(names) }
}

/// What to tell somebody who is a rank all alone: start it in another way, or take out of the environment what made
/// this process believe that it is one. To be asked before MPI starts, which adds to the environment.
#[must_use]
pub fn alone() -> String {
    let started = rustix::process::getppid().is_some_and(attach::names_an_mpirun);
    let names = RANK_VARIABLES.into_iter().filter(|name| !started && std::env::var_os(name).is_some());
    unset(names).unwrap_or_else(|| {
        "there is no server: start it without mpirun, or with at least two ranks (mpirun -n 3 understudy), and one \
         more for each of --clients and --doors"
            .to_owned()
    })
}

fn unset(names: impl Iterator<Item = &'static str>) -> Option<String> {
    let names: Vec<_> = names.collect();
    let unset: String = names.iter().map(|name| format!("-u {name} ")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} in the environment says that an mpirun started this process, but none did: leave it out (env \
             {unset}understudy)",
            names.join(", ")
        )
    })
}

/// Whether the arguments and `TERM` ask for line mode, whatever stdin and stdout are.
#[must_use]
pub fn asks_for_line_mode(args: &Args) -> bool {
    args.plain
        || args.is_service()
        || !args.command.is_empty()
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether the launcher's (or the shell's) terminal will hold a full screen, which must be put back after a crash.
#[must_use]
pub fn draws_a_screen(args: &Args) -> bool {
    !asks_for_line_mode(args) && isatty(std::io::stdin()) && isatty(std::io::stdout())
}

/// One line on stderr, and the exit code of the process that it ends. That stderr is closed is nobody's problem.
pub fn complain(why: &str) -> u8 {
    let _ = writeln!(std::io::stderr(), "understudy: {why}");
    1
}

/// Words on stdout, at once.
///
/// # Errors
/// When it takes no more; see [`written`].
pub fn print(words: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(words).and_then(|()| out.flush())
}

/// The end of a process that wrote words on stdout. That a reader has seen enough is no error.
#[must_use]
pub fn written(done: io::Result<()>) -> ExitCode {
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&format!("stdout takes no more: {error}")),
        _ => ExitCode::SUCCESS,
    }
}

/// The end of a process that could not begin.
#[must_use]
pub fn fail(why: &str) -> ExitCode {
    ExitCode::from(complain(why))
}
