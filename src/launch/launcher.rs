//! The launcher's wait: what can happen, and the one way out.
//!
//! Threads turn everything that can happen (a signal, rank 0's words, a closed socket, mpirun's end) into a
//! [`LauncherNotice`] on one channel. The main thread reads them one by one, and leaves through [`Launcher::close`].

use super::lifeline::{self, LIFELINE_VARIABLE, PrivateDir, SHARED_VARIABLE, Said, Told};
use super::mpirun::Mpirun;
use super::processes::{LAUNCHER_VARIABLE, bearers, block_stops, ignored_signals, is_alive, send, wait_until_gone};
use super::start::{self, LOOK_EVERY, StartWatch};
use super::state::{JOB_DIR_VARIABLE, MPIRUN_LOG, new_job_dir};
use super::terminal::{Terminal, TerminalEnd};
use super::{IGNORED_VARIABLE, SPARES_VARIABLE, draws_a_screen, is_rank};
use crate::launch::args::Args;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::fd::AsFd;
use rustix::process::{Pid, Signal, getpgrp, getuid, kill_current_process_group};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A cluster that MPI has not started after this long never will.
const START_DEADLINE_MS: u64 = 60_000;
/// How long rank 0 may take to leave when asked.
const LEAVE_PATIENCE_MS: u64 = 500;
/// How long the others may take to leave after rank 0 has said goodbye.
const GOODBYE_PATIENCE_MS: u64 = 500;
/// How long mpirun may take to end after its ranks are gone, and again after a SIGTERM.
const MPIRUN_PATIENCE_MS: u64 = 300;
/// Rank 0's last words may still be under way when mpirun has ended.
const LAST_WORDS_MS: u64 = 100;
/// Where MPI keeps shared memory, on systems that have it as a directory.
pub(super) const SHARED_MEMORY: &str = "/dev/shm";
/// Exit code when the cluster broke.
const BROKEN_EXIT_CODE: u8 = 1;
/// Shells report death by signal as this plus the signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

/// Something that happened.
#[derive(Debug)]
enum LauncherNotice {
    /// A signal came.
    Signal(i32),
    /// Rank 0 has connected.
    Connected(UnixStream, Pid),
    /// Rank 0 said something.
    Said(Said),
    /// Rank 0's end of the lifeline closed.
    HungUp,
    /// mpirun has ended.
    MpirunEnded(io::Result<ExitStatus>),
}

/// Why the launcher leaves.
#[derive(Debug)]
enum Farewell {
    /// Rank 0 said so.
    Said(u8, TerminalEnd),
    /// A signal said so; how rank 0 came to its end.
    Signal { signal: i32, end: TerminalEnd },
    /// Something died that must not; what to tell the user.
    Broken(String),
}

/// Starts the cluster around this very binary, waits for its end, and puts the terminal back.
///
/// The exit code is rank 0's; 128 + n after signal n; 1 when rank 0 or mpirun died.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match Launcher::start(args) {
        Ok(launcher) => launcher.wait(),
        Err(reason) => {
            complain(&reason);
            ExitCode::from(BROKEN_EXIT_CODE)
        }
    }
}

/// One line on stderr. That stderr is closed is nobody's problem any more.
fn complain(reason: &str) {
    let _ = writeln!(io::stderr(), "understudy: {reason}");
}

struct Launcher {
    private: PrivateDir,
    /// Where MPI keeps shared memory; only held to be removed in the end.
    shared: Option<PrivateDir>,
    /// The socket's path: the mark in the environment of all processes of this job.
    mark: OsString,
    notices: Receiver<LauncherNotice>,
    mpirun: Pid,
    mpirun_lives: bool,
    rank_zero: Option<(UnixStream, Pid)>,
    /// Until rank 0 says that MPI has started.
    starting: Option<StartWatch>,
    reported: Vec<Pid>,
    terminal: Option<Terminal>,
    /// Whether rank 0 reads the terminal.
    is_interactive: bool,
    /// Whether nobody does, and a signal is the way to end it.
    is_service: bool,
    /// Whether the kernel sends the terminal's signals to rank 0 rather than to us.
    is_lent: bool,
    log: PathBuf,
}

impl Launcher {
    fn start(args: &Args) -> Result<Self, String> {
        if is_rank() || std::env::var_os(LIFELINE_VARIABLE).is_some() {
            return Err("this mpirun does not tell its processes their rank; use Open MPI 4 or later".into());
        }
        let mpirun = Mpirun::find()?;
        let hosts = args.hostfile.as_deref().map(read_hostfile).transpose()?;
        let binary =
            std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?;
        let is_interactive = args.command.is_empty() && !args.is_service();
        if is_interactive {
            wait_for_the_foreground();
        }
        block_stops().map_err(|error| format!("cannot block SIGTTOU: {error}"))?;
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let terminal = Terminal::remember(stdin.as_fd(), draws_a_screen(args).then(|| stdout.as_fd()));
        let (tell, notices) = unbounded();
        // What was to be ignored stays ignored, by rank 0 as well: mpirun does not hand that on by itself.
        let ignored = ignored_signals();
        notice_signals(tell.clone(), &ignored)?;

        let job_dir = new_job_dir(args).map_err(|error| error.to_string())?;
        let log = job_dir.join(MPIRUN_LOG);
        let private = PrivateDir::create().map_err(|error| error.to_string())?;
        // Without shared memory that is ours to remove, MPI uses its own place.
        let shared = PrivateDir::create_in(Path::new(SHARED_MEMORY)).ok();
        let socket = private.socket();
        let listener = UnixListener::bind(&socket)
            .map_err(|error| format!("cannot make the socket {}: {error}; set TMPDIR", socket.display()))?;
        notice_rank_zero(listener, tell.clone())?;

        let hostfile = hosts.map(|text| copy_of_hostfile(&text, private.path())).transpose()?;
        let spares = mpirun.spares(args.spares);
        let ranks = 1 + args.servers + args.client_ranks() + spares;
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let (out, err) = log_files(&log)?;
        let mut command = mpirun.command(
            ranks,
            hostfile.as_deref(),
            &[
                LIFELINE_VARIABLE,
                SHARED_VARIABLE,
                JOB_DIR_VARIABLE,
                SPARES_VARIABLE,
                IGNORED_VARIABLE,
                LAUNCHER_VARIABLE,
            ],
            &binary,
            &arguments,
        );
        if hostfile.is_none() {
            mpirun.settle_settings(&mut command, private.path())?;
        }
        mpirun.keep_files_in(&mut command, private.path(), shared.as_ref().map(PrivateDir::path));
        if let Some(shared) = &shared {
            command.env(SHARED_VARIABLE, shared.path());
        }
        if !can_be_entered() {
            command.current_dir("/");
        }
        let child = command
            .env(LIFELINE_VARIABLE, &socket)
            .env(JOB_DIR_VARIABLE, &job_dir)
            .env(IGNORED_VARIABLE, numbers(&ignored))
            .env(SPARES_VARIABLE, spares.to_string())
            .env(LAUNCHER_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Out of the way of the terminal's Ctrl-C, which is ours to handle.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", mpirun.program.display()))?;
        let pid = Pid::from_child(&child);
        notice_mpirun(child, tell)?;
        Ok(Self {
            private,
            shared,
            starting: Some(StartWatch::new((LIFELINE_VARIABLE, socket.clone().into()), ranks, args.hostfile.is_none())),
            mark: socket.into_os_string(),
            notices,
            mpirun: pid,
            mpirun_lives: true,
            rank_zero: None,
            reported: Vec::new(),
            terminal,
            is_interactive,
            is_service: args.is_service(),
            is_lent: false,
            log,
        })
    }

    fn wait(mut self) -> ExitCode {
        let farewell = self.watch();
        self.close(farewell)
    }

    /// Reads notices until one of them is the end.
    fn watch(&mut self) -> Farewell {
        let start_deadline = Instant::now() + Duration::from_millis(START_DEADLINE_MS);
        loop {
            let notice = match self.starting {
                Some(_) => self.notices.recv_timeout(LOOK_EVERY).ok(),
                None => self.notices.recv().ok(),
            };
            match notice {
                None => {
                    if let Some(reason) = self.start_has_failed(start_deadline) {
                        return Farewell::Broken(reason);
                    }
                }
                Some(LauncherNotice::Connected(stream, pid)) => {
                    if let Err(error) = self.hand_over(stream, pid) {
                        return Farewell::Broken(format!("cannot hand the terminal to rank 0: {error}"));
                    }
                }
                Some(LauncherNotice::Said(Said::Exit(code))) => return Farewell::Said(code, TerminalEnd::Orderly),
                Some(LauncherNotice::Said(Said::BreakOff(code))) => return self.broke_off(code),
                Some(LauncherNotice::Said(Said::Pids(pids))) => {
                    self.starting = None;
                    self.reported = to_pids(&pids);
                }
                Some(LauncherNotice::HungUp) => return Farewell::Broken(self.rank_zero_died()),
                Some(LauncherNotice::MpirunEnded(status)) => {
                    self.mpirun_lives = false;
                    return self.last_words().unwrap_or_else(|| Farewell::Broken(self.mpirun_ended(&status)));
                }
                Some(LauncherNotice::Signal(SIGWINCH)) => self.tell(Told::Window),
                Some(LauncherNotice::Signal(SIGINT)) if self.must_forward_interrupt() => self.tell(Told::Interrupt),
                Some(LauncherNotice::Signal(signal)) => {
                    self.tell(Told::Leave);
                    let (end, code) = match self.rank_zero {
                        Some(_) => self.rank_zero_leaves(),
                        None => (TerminalEnd::Orderly, None),
                    };
                    // A service is told to end like that: it has done so, and nothing is wrong.
                    return match code.filter(|_| self.is_service) {
                        Some(code) => Farewell::Said(code, end),
                        None => Farewell::Signal { signal, end },
                    };
                }
            }
        }
    }

    /// Why there is no use in waiting for MPI any longer.
    fn start_has_failed(&mut self, deadline: Instant) -> Option<String> {
        let now = Instant::now();
        let starting = self.starting.as_mut()?;
        if let Some(missing) = starting.look(now) {
            return Some(self.explained(&missing.to_string()));
        }
        if starting.stands_still(now, &self.log, &start_places(&self.private)) {
            return Some(self.explained("the ranks stood still"));
        }
        let who = if self.rank_zero.is_some() { "MPI" } else { "rank 0" };
        (now > deadline).then(|| format!("{who} did not start within {} s", START_DEADLINE_MS / 1000))
    }

    /// What has happened while MPI was starting, with what MPI said of it and what to do.
    fn explained(&self, what: &str) -> String {
        // Its last words are still on their way through mpirun.
        std::thread::sleep(Duration::from_millis(LAST_WORDS_MS));
        start::explained(what, &self.log, &start_places(&self.private))
    }

    /// Gives rank 0 the terminal and the descriptors, in this order: when it has them, it may read at once.
    fn hand_over(&mut self, stream: UnixStream, pid: Pid) -> io::Result<()> {
        lifeline::bound_writes(&stream)?;
        if self.is_interactive {
            self.is_lent = self.terminal.as_ref().is_some_and(|terminal| terminal.lend(pid));
        }
        lifeline::send_descriptors(&stream)?;
        self.rank_zero = Some((stream, pid));
        // Nobody else is to connect.
        let _ = std::fs::remove_file(self.private.socket());
        Ok(())
    }

    /// Ctrl-C at a terminal that could not be lent (rank 0 is in another session) is meant for rank 0.
    fn must_forward_interrupt(&self) -> bool {
        self.is_interactive && self.terminal.is_some() && self.rank_zero.is_some() && !self.is_lent
    }

    fn tell(&self, told: Told) {
        if let Some((stream, _)) = &self.rank_zero {
            lifeline::tell(stream, told);
        }
    }

    /// How rank 0 leaves when it was asked to, and with which code.
    fn rank_zero_leaves(&mut self) -> (TerminalEnd, Option<u8>) {
        let deadline = Instant::now() + Duration::from_millis(LEAVE_PATIENCE_MS);
        loop {
            match self.notices.recv_deadline(deadline) {
                Ok(LauncherNotice::Said(Said::Exit(code))) => return (TerminalEnd::Orderly, Some(code)),
                Ok(LauncherNotice::Said(Said::BreakOff(_)) | LauncherNotice::HungUp) | Err(_) => {
                    return (TerminalEnd::Broken, None);
                }
                Ok(LauncherNotice::MpirunEnded(_)) => self.mpirun_lives = false,
                Ok(_) => {}
            }
        }
    }

    /// The goodbye that rank 0 may have said just before mpirun ended.
    fn last_words(&self) -> Option<Farewell> {
        let deadline = Instant::now() + Duration::from_millis(LAST_WORDS_MS);
        loop {
            match self.notices.recv_deadline(deadline).ok()? {
                LauncherNotice::Said(Said::Exit(code)) => return Some(Farewell::Said(code, TerminalEnd::Orderly)),
                LauncherNotice::Said(Said::BreakOff(code)) => return Some(self.broke_off(code)),
                LauncherNotice::HungUp => return None,
                _ => {}
            }
        }
    }

    /// Rank 0 has left in the middle of things. If a signal told it to that came from elsewhere (from an mpirun that
    /// was told to end, say, which does not always leave it the time for a word), that is as if it had been killed.
    fn broke_off(&self, code: u8) -> Farewell {
        if i32::from(code) != SIGNAL_EXIT_BASE + SIGTERM {
            return Farewell::Said(code, TerminalEnd::Broken);
        }
        // A terminal that closes tells rank 0 and us, in any order.
        let deadline = Instant::now() + Duration::from_millis(LAST_WORDS_MS);
        loop {
            match self.notices.recv_deadline(deadline) {
                Ok(LauncherNotice::Signal(signal)) if signal != SIGWINCH => {
                    return Farewell::Signal { signal, end: TerminalEnd::Broken };
                }
                Ok(_) => {}
                Err(_) => return Farewell::Broken(self.rank_zero_died()),
            }
        }
    }

    fn rank_zero_died(&self) -> String {
        if let (Some(_), Some((_, pid))) = (&self.starting, &self.rank_zero) {
            return self.explained(&start::Missing { rank: 0, pid: Some(*pid) }.to_string());
        }
        let pid = self.rank_zero.as_ref().map_or(String::new(), |(_, pid)| format!(" (pid {pid})"));
        format!("rank 0{pid} died without a word")
    }

    fn mpirun_ended(&self, status: &io::Result<ExitStatus>) -> String {
        let how = match status {
            Ok(status) => status.signal().map_or_else(
                || format!("exit status {}", status.code().unwrap_or_default()),
                |signal| format!("signal {signal}"),
            ),
            Err(error) => error.to_string(),
        };
        match (&self.rank_zero, start::words(&self.log)) {
            (Some(_), _) if self.starting.is_some() => self.explained(&format!("mpirun died ({how})")),
            (Some(_), _) => format!("mpirun died ({how})"),
            (None, Some(words)) => format!("mpirun could not start the ranks ({how}): {words}"),
            (None, None) => format!("mpirun could not start the ranks ({how})"),
        }
    }

    /// The one way out: everybody gone, the terminal whole, the reason told.
    fn close(mut self, farewell: Farewell) -> ExitCode {
        let end = match &farewell {
            Farewell::Said(_, end) | Farewell::Signal { end, .. } => *end,
            // Nothing was on the screen yet.
            Farewell::Broken(_) if self.rank_zero.is_none() => TerminalEnd::Orderly,
            Farewell::Broken(_) => TerminalEnd::Broken,
        };
        if !matches!(farewell, Farewell::Broken(_)) {
            // mpirun ends by itself when all ranks have left.
            self.wait_for_mpirun(GOODBYE_PATIENCE_MS);
        }
        self.end_everybody();
        if let Some(terminal) = &self.terminal {
            terminal.restore(end);
            if self.is_lent {
                terminal.return_foreground(Some(getpgrp()));
            }
        }
        drop((self.private, self.shared.take()));
        match farewell {
            Farewell::Said(code, _) => ExitCode::from(code),
            Farewell::Signal { signal, .. } => {
                ExitCode::from(u8::try_from(SIGNAL_EXIT_BASE + signal).unwrap_or(u8::MAX))
            }
            Farewell::Broken(reason) => {
                complain(&format!("{reason}; the cluster is stopped; see {}", self.log.display()));
                ExitCode::from(BROKEN_EXIT_CODE)
            }
        }
    }

    /// Ranks first: an mpirun without ranks cleans up after itself and ends.
    fn end_everybody(&mut self) {
        for pid in self.ranks() {
            send(pid, Signal::KILL);
        }
        self.wait_for_mpirun(MPIRUN_PATIENCE_MS);
        for signal in [Signal::TERM, Signal::KILL] {
            if self.mpirun_lives {
                send(self.mpirun, signal);
                self.wait_for_mpirun(MPIRUN_PATIENCE_MS);
            }
        }
        // Again: mpirun may have been about to start somebody.
        let late = self.ranks();
        late.iter().for_each(|&pid| send(pid, Signal::KILL));
        wait_until_gone(&late, Duration::from_millis(MPIRUN_PATIENCE_MS));
    }

    /// All living processes of this job but mpirun.
    fn ranks(&self) -> Vec<Pid> {
        let mut ranks = bearers(LIFELINE_VARIABLE, &self.mark);
        if !Path::new("/proc/self/environ").exists() {
            ranks.extend(self.reported.iter().copied().filter(|&pid| is_alive(pid)));
        }
        ranks.retain(|&pid| pid != self.mpirun);
        ranks
    }

    fn wait_for_mpirun(&mut self, patience_ms: u64) {
        let deadline = Instant::now() + Duration::from_millis(patience_ms);
        while self.mpirun_lives {
            match self.notices.recv_deadline(deadline) {
                Ok(LauncherNotice::MpirunEnded(_)) => self.mpirun_lives = false,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Where MPI keeps its files while it starts.
fn start_places(private: &PrivateDir) -> [&Path; 2] {
    [private.path(), Path::new(SHARED_MEMORY)]
}

/// Whether the ranks can be started in this folder: mpirun enters it by its path, and waits for ever if it may not.
fn can_be_entered() -> bool {
    std::env::current_dir().is_ok_and(|folder| rustix::fs::access(folder, rustix::fs::Access::EXEC_OK).is_ok())
}

/// mpirun's own words about a hostfile are for those who know them.
fn read_hostfile(hosts: &Path) -> Result<String, String> {
    let form = "it names one host a line, this machine first";
    let text = std::fs::read_to_string(hosts)
        .map_err(|error| format!("the hostfile {} cannot be read: {error}; {form}", hosts.display()))?;
    let names_a_host = |line: &str| !line.trim().is_empty() && !line.trim().starts_with('#');
    if text.lines().any(names_a_host) {
        return Ok(text);
    }
    Err(format!("the hostfile {} names no host: {form}", hosts.display()))
}

/// The hostfile as mpirun reads it: some editors end lines with a carriage return, and begin a file with an invisible
/// mark, at both of which it stumbles.
fn copy_of_hostfile(text: &str, folder: &Path) -> Result<PathBuf, String> {
    let copy = folder.join("hosts");
    let lines: String =
        text.trim_start_matches('\u{feff}').lines().map(|line| format!("{}\n", line.trim_end())).collect();
    std::fs::write(&copy, lines).map_err(|error| format!("cannot write {}: {error}; set TMPDIR", copy.display()))?;
    Ok(copy)
}

/// Started with `&`, a program that wants to read the terminal stops until it is brought to the foreground.
fn wait_for_the_foreground() {
    let stdin = io::stdin();
    if tcgetpgrp(stdin.as_fd()).is_ok_and(|group| group != getpgrp()) {
        // An orphaned group is not stopped by this; then reading will fail, which is right as well.
        let _ = kill_current_process_group(Signal::TTIN);
    }
}

fn to_pids(pids: &[u32]) -> Vec<Pid> {
    pids.iter().filter_map(|&pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}

fn log_files(log: &Path) -> Result<(File, File), String> {
    let failed =
        |error: io::Error| format!("cannot write {}: {error}; name another place with --log-dir", log.display());
    let out = File::options().create(true).append(true).open(log).map_err(failed)?;
    let err = out.try_clone().map_err(failed)?;
    Ok((out, err))
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = std::thread::Builder::new().name(name.into()).spawn(body);
    started.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

fn numbers(signals: &[i32]) -> String {
    signals.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn notice_signals(tell: Sender<LauncherNotice>, ignored: &[i32]) -> Result<(), String> {
    let heeded = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH].into_iter().filter(|signal| !ignored.contains(signal));
    let mut signals =
        signal_hook::iterator::Signals::new(heeded).map_err(|error| format!("cannot handle signals: {error}"))?;
    thread("signals", move || {
        for signal in &mut signals {
            let _ = tell.send(LauncherNotice::Signal(signal));
        }
    })
}

fn notice_rank_zero(listener: UnixListener, tell: Sender<LauncherNotice>) -> Result<(), String> {
    thread("lifeline", move || {
        for stream in listener.incoming().flatten() {
            // The directory is private already; this also tells who rank 0 is.
            let Ok(peer) = rustix::net::sockopt::socket_peercred(&stream) else { continue };
            let Ok(writer) = stream.try_clone() else { continue };
            if peer.uid != getuid() && !peer.uid.is_root() {
                continue;
            }
            let _ = tell.send(LauncherNotice::Connected(writer, peer.pid));
            drop(listener);
            lifeline::listen_to_rank_zero(stream, |said| drop(tell.send(LauncherNotice::Said(said))));
            let _ = tell.send(LauncherNotice::HungUp);
            return;
        }
    })
}

fn notice_mpirun(mut child: Child, tell: Sender<LauncherNotice>) -> Result<(), String> {
    thread("mpirun", move || drop(tell.send(LauncherNotice::MpirunEnded(child.wait()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostfile_from_another_system_is_copied_in_the_form_that_mpirun_reads() {
        let folder = std::env::temp_dir().join(format!("understudy-hosts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("there is room");
        let hosts = folder.join("theirs");
        std::fs::write(&hosts, "\u{feff}one slots=2\r\n# more\r\ntwo\r\n").expect("it can be written");
        let text = read_hostfile(&hosts).expect("it names hosts");
        let copy = copy_of_hostfile(&text, &folder).expect("it can be copied");
        assert_eq!(std::fs::read_to_string(copy).expect("just written"), "one slots=2\n# more\ntwo\n");
        std::fs::write(&hosts, "# nobody\r\n\r\n").expect("it can be written");
        assert!(read_hostfile(&hosts).expect_err("nobody is named").contains("names no host"));
        std::fs::remove_dir_all(folder).expect("it is ours");
    }
}
