//! The real program over real MPI, in a place of its own.
//!
//! Every job gets a fresh directory as home and for temporary files, and a mark in its environment by which
//! all its processes are found, whoever their parent is by then. When a test fails, the panic shows what the
//! program said and logged; when a test ends, however it ends, nothing of its job is left.

use super::status::Status;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use understudy::launch::processes::{bearers, is_alive, variable};

/// The program.
pub const UNDERSTUDY: &str = env!("CARGO_BIN_EXE_understudy");
/// What should happen happens within this time, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Two seconds after the end nobody is left; the rest is for a busy machine.
pub const GONE_WITHIN: Duration = Duration::from_secs(5);
/// This many clusters run at once: each keeps more processes busy than small machines have cores.
const JOBS_AT_ONCE_MAX: usize = 2;
/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Marks the processes of one job.
const MARK: &str = "UNDERSTUDY_TEST_JOB";
/// Answered by three lines, of which the first is like no other: the end of an answer of unknown length.
const END_OF_ANSWER: &str = "HELP QUIT";

/// The right to run a cluster, given back when dropped.
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for a turn. The lock is a file because test programs do not share memory.
    pub fn take() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let files = (0..JOBS_AT_ONCE_MAX).map(|number| {
            let path = folder.join(format!("cluster-{number}.lock"));
            File::options().create(true).append(true).open(path).expect("cargo made the directory for this")
        });
        let mut files: Vec<_> = files.collect();
        loop {
            if let Some(free) = files.iter().position(|file| file.try_lock().is_ok()) {
                return Self { _lock: files.swap_remove(free) };
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Killed processes of a job are gone, and so is its folder, well before this.
const CLEAN_WITHIN: Duration = Duration::from_secs(5);

/// A home and a directory for temporary files, removed when dropped.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    mark: String,
}

impl Place {
    /// A fresh one.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // Short: the program makes a socket in it, whose path must not be long.
        let path = std::env::temp_dir().join(format!("understudy-job-{mark}"));
        for folder in ["home", "tmp"] {
            std::fs::create_dir_all(path.join(folder)).expect("there is room for temporary files");
        }
        Self { path, mark }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// What a program needs to feel at home here, and nothing that could change how it behaves.
    pub fn furnish(&self, command: &mut Command) {
        command.env("HOME", self.path.join("home")).env("TMPDIR", self.tmp()).env(MARK, &self.mark);
        for name in ["XDG_STATE_HOME", "NO_COLOR", "LC_ALL", "LC_CTYPE", "UNDERSTUDY_MPIRUN"] {
            command.env_remove(name);
        }
        command.env("LANG", "C.UTF-8").env("TERM", "xterm-256color");
        // For an mpirun that is called by hand.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }

    /// The living processes of the job.
    pub fn processes(&self) -> Vec<Pid> {
        bearers(MARK, OsStr::new(&self.mark))
    }

    /// The process of this rank.
    pub fn rank(&self, rank: u32) -> Option<Pid> {
        let mark = format!("OMPI_COMM_WORLD_RANK={rank}");
        let bears = |pid: &Pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        self.processes().into_iter().find(bears)
    }

    /// The process that a user starts.
    pub fn launcher(&self) -> Option<Pid> {
        let ranks: Vec<_> = (0..9).map_while(|rank| self.rank(rank)).collect();
        let is_ours = |pid: &Pid| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == Path::new(UNDERSTUDY))
        };
        self.processes().into_iter().filter(is_ours).find(|pid| !ranks.contains(pid))
    }

    /// mpirun.
    pub fn mpirun(&self) -> Option<Pid> {
        let is_mpirun = |pid: &Pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            ["mpirun", "mpiexec", "orterun", "prterun"].contains(&name.trim_end())
        };
        self.processes().into_iter().find(is_mpirun)
    }

    /// Everything that the job logged.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let jobs = self.path.join("home/.local/state/understudy/jobs");
        for job in std::fs::read_dir(jobs).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(job.path()).into_iter().flatten().flatten() {
                let said = std::fs::read(file.path()).unwrap_or_default();
                text.push_str(&format!("-- {}\n{}\n", file.path().display(), String::from_utf8_lossy(&said)));
            }
        }
        text
    }

    /// What a job of this launcher should have removed. An mpirun that a person typed has files of its own.
    pub fn litter(&self, launcher: Pid, typed: bool) -> Vec<PathBuf> {
        let files = |folder: &Path| {
            let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
            files.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let named = |path: &PathBuf, start: &str| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(start.as_bytes()))
        };
        let mut litter = files(&self.tmp());
        litter.retain(|path| !typed || named(path, "understudy"));
        let mine = format!("understudy-{launcher}-");
        litter.extend(files(Path::new("/dev/shm")).into_iter().filter(|path| named(path, &mine)));
        litter
    }
}

impl Drop for Place {
    /// Who was killed may write for another moment, and a folder in which a file appears meanwhile stays.
    fn drop(&mut self) {
        let deadline = Instant::now() + CLEAN_WITHIN;
        loop {
            let living = self.processes();
            for pid in &living {
                let _ = kill_process(*pid, Signal::KILL);
            }
            // A folder that a test has closed opens again.
            for folder in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
                let _ = std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700));
            }
            let _ = std::fs::remove_dir_all(&self.path);
            if (living.is_empty() && !self.path.exists()) || Instant::now() > deadline {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// What a program has written so far, and how much of it was read.
#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    read: usize,
    ended: bool,
}

fn listen(mut from: impl Read + Send + 'static) -> Arc<Mutex<Said>> {
    let said: Arc<Mutex<Said>> = Arc::default();
    let hearing = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            lock(&hearing).bytes.extend_from_slice(&bytes[..read]);
        }
        lock(&hearing).ended = true;
    });
    said
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cluster in line mode, and a conversation with it.
pub struct Job {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Said>>,
    stderr: Arc<Mutex<Said>>,
    ranks: usize,
    /// Whether an mpirun was started, not the launcher.
    typed: bool,
    started: Instant,
    place: Place,
    _turn: Turn,
}

/// How a job ended.
pub struct Ended {
    pub status: ExitStatus,
    /// All that was not read before.
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {:.1?}\n== stdout\n{}\n== stderr\n{}", self.status, self.took, self.text(), self.stderr)
    }
}

/// Runs the program on this input until it ends by itself, and checks that nothing of it is left.
#[track_caller]
pub fn run(args: &[&str], input: &[u8]) -> Ended {
    run_within(PATIENCE, args, input)
}

/// The same, for work that takes its time.
#[track_caller]
pub fn run_within(patience: Duration, args: &[&str], input: &[u8]) -> Ended {
    let mut job = Job::start(args);
    job.hand_in_all(input);
    let ended = job.wait_within(patience);
    job.wait_gone();
    ended
}

impl Job {
    /// Starts the program as a user does.
    pub fn start(args: &[&str]) -> Self {
        Self::of(args, |_| Command::new(UNDERSTUDY))
    }

    /// Starts the program as `make` says, in the place that it is given.
    pub fn of(args: &[&str], make: impl FnOnce(&Place) -> Command) -> Self {
        let turn = Turn::take();
        let place = Place::new();
        let mut command = make(&place);
        place.furnish(&mut command);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let number = |name: &str| args.iter().position(|arg| *arg == name).and_then(|at| args[at + 1].parse().ok());
        let further = number("--clients").unwrap_or(0) + number("--doors").unwrap_or(0);
        let ranks = 1 + number("--servers").unwrap_or(2_usize) + further;
        Self {
            stdin: child.stdin.take(),
            stdout: listen(child.stdout.take().expect("it is a pipe")),
            stderr: listen(child.stderr.take().expect("it is a pipe")),
            child,
            typed: command.get_program() == "mpirun",
            ranks,
            started,
            place,
            _turn: turn,
        }
    }

    /// The process that was started: the launcher, or an mpirun.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The processes that mpirun has started to be this rank.
    pub fn processes_of(&self, rank: u32) -> Vec<Pid> {
        let is = |pid: &Pid| variable(*pid, "OMPI_COMM_WORLD_RANK").is_some_and(|value| *value == *rank.to_string());
        self.place.processes().into_iter().filter(is).collect()
    }

    /// Whether rank 0 has taken over what the launcher hands over: then the socket is gone.
    pub fn has_connected(&self) -> bool {
        let folders = std::fs::read_dir(self.place.tmp()).into_iter().flatten().flatten();
        let mut private = folders.filter(|folder| folder.file_name().as_encoded_bytes().starts_with(b"understudy-"));
        private.next().is_some_and(|folder| !folder.path().join("lifeline").exists())
    }

    /// mpirun below the launcher.
    #[track_caller]
    pub fn mpirun(&self) -> Pid {
        self.place.mpirun().unwrap_or_else(|| self.fail("no mpirun"))
    }

    /// The process of rank 0.
    #[track_caller]
    pub fn rank_zero(&self) -> Pid {
        self.place.rank(0).unwrap_or_else(|| self.fail("no rank 0"))
    }

    /// The living processes of the job.
    pub fn processes(&self) -> Vec<Pid> {
        self.place.processes()
    }

    /// Fails the test, with all that is known of the job.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let said = |said: &Mutex<Said>| String::from_utf8_lossy(&lock(said).bytes).into_owned();
        panic!(
            "{why}\nafter {:.1?}; processes {:?}\n== stdout\n{}\n== stderr\n{}\n== logs\n{}",
            self.started.elapsed(),
            self.place.processes(),
            said(&self.stdout),
            said(&self.stderr),
            self.place.logs()
        )
    }

    /// Waits until this gives something.
    #[track_caller]
    fn wait<T>(&mut self, patience: Duration, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            if Instant::now() >= deadline {
                self.fail(&format!("waited {patience:?} in vain: {what}"));
            }
            std::thread::sleep(LOOK_AGAIN / 5);
        }
    }

    // ---- the conversation ----------------------------------------------------------------------

    /// Hands in a line.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        let written = stdin.write_all(format!("{line}\n").as_bytes());
        if let Err(error) = written {
            self.fail(&format!("{line:?} cannot be handed in: {error}"));
        }
    }

    /// Hands in everything, from a thread, and closes the input.
    pub fn hand_in_all(&mut self, input: &[u8]) {
        let (mut stdin, input) = (self.stdin.take().expect("the input is open"), input.to_vec());
        std::thread::spawn(move || drop(stdin.write_all(&input)));
    }

    /// The next line of the answers, without its newline.
    #[track_caller]
    pub fn answer(&mut self) -> String {
        self.wait(PATIENCE, "an answer", |job| {
            let mut said = lock(&job.stdout);
            let rest = &said.bytes[said.read..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            said.read += end + 1;
            Some(line)
        })
    }

    /// Hands in a line that is answered by a line.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }

    /// Hands in a line that must be answered by this line.
    #[track_caller]
    pub fn expect(&mut self, line: &str, answer: &str) {
        let answered = self.ask(line);
        if answered != answer {
            self.fail(&format!("{line} is answered by {answered:?}, expected {answer:?}"));
        }
    }

    /// The answer to `STATUS`, once all servers have said hello.
    #[track_caller]
    pub fn status(&mut self) -> Status {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.tell("STATUS");
            self.tell(END_OF_ANSWER);
            let mut lines = Vec::new();
            loop {
                let line = self.answer();
                if line.starts_with("QUIT: ") {
                    break;
                }
                lines.push(line);
            }
            // The rest of the help.
            for _ in 0..2 {
                self.answer();
            }
            if lines.iter().filter(|line| !line.starts_with("why ")).count() == self.ranks + 1 {
                return Status::parse(&lines.join("\n"));
            }
            if Instant::now() > deadline {
                self.fail(&format!("no STATUS of {} ranks:\n{}", self.ranks, lines.join("\n")));
            }
        }
    }

    /// Waits for a `STATUS` like this.
    #[track_caller]
    pub fn wait_status(&mut self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            last = Some(status);
            std::thread::sleep(LOOK_AGAIN);
        }
        self.fail(&format!("waited {PATIENCE:?} in vain: {what}\n{}", last.expect("there was time for one")))
    }

    /// Waits until this server is primary and these are its backups.
    #[track_caller]
    pub fn wait_led_by(&mut self, primary: u32, backups: &[u32]) -> Status {
        let what = format!("primary {primary}, backups {backups:?}");
        self.wait_status(&what, |status| status.is_led_by(primary, backups))
    }

    /// What the program has said on stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stderr).bytes).into_owned()
    }

    // ---- the end -------------------------------------------------------------------------------

    /// Sends a signal to one of the job's processes.
    #[track_caller]
    pub fn signal(&self, pid: Pid, signal: Signal) {
        assert!(self.place.processes().contains(&pid), "{pid} is none of this job's processes");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Kills everybody at once, the launcher and mpirun too. Gives what had been answered and was not read.
    #[track_caller]
    pub fn kill_everybody(mut self) -> Vec<String> {
        for pid in self.place.processes() {
            // Some are gone by then, because others are.
            let _ = kill_process(pid, Signal::KILL);
        }
        let ended = self.wait_end();
        self.wait(GONE_WITHIN, "everybody gone", |job| job.place.processes().is_empty().then_some(()));
        let text = ended.text();
        // The last line may not be whole.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// The end by the end of the input: this exit code, and nobody left; how long that took.
    #[track_caller]
    pub fn end(mut self, code: i32) -> Duration {
        let begun = Instant::now();
        drop(self.stdin.take());
        let ended = self.wait_end();
        if ended.status.code() != Some(code) {
            self.fail(&format!("ended with {:?}, expected exit status {code}", ended.status));
        }
        self.wait_gone();
        begun.elapsed()
    }

    /// Waits until the program that was started ends.
    #[track_caller]
    pub fn wait_end(&mut self) -> Ended {
        self.wait_within(PATIENCE)
    }

    #[track_caller]
    fn wait_within(&mut self, patience: Duration) -> Ended {
        let status = self.wait(patience, "the end", |job| job.child.try_wait().expect("the child is ours"));
        let took = self.started.elapsed();
        // Who was killed may leave somebody behind who holds the pipe for a moment.
        self.wait(GONE_WITHIN, "the end of the output", |job| {
            (lock(&job.stdout).ended && lock(&job.stderr).ended).then_some(())
        });
        let stderr = self.stderr();
        let stdout = lock(&self.stdout);
        Ended { status, stdout: stdout.bytes[stdout.read..].to_vec(), stderr, took }
    }

    /// Waits until no process of this job lives, and looks whether it has tidied up; how long that took.
    #[track_caller]
    pub fn wait_gone(&mut self) -> Duration {
        let (begun, launcher) = (Instant::now(), self.pid());
        self.wait(GONE_WITHIN, "everybody gone", |job| {
            // A launcher that was killed is ours to bury.
            let _ = job.child.try_wait();
            (!is_alive(launcher) && job.place.processes().is_empty()).then_some(())
        });
        let took = begun.elapsed();
        let litter = self.place.litter(launcher, self.typed);
        if !litter.is_empty() {
            self.fail(&format!("left behind: {litter:?}"));
        }
        took
    }
}
