//! Processes die for real: the binary under a real mpirun, in line mode, with SIGKILL from inside and outside.
//!
//! Every test starts its own cluster and is skipped, with a word, where there is no Open MPI.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A machine that is busy with other tests may take this long for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster in line mode.
struct Cluster {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    events: Receiver<String>,
    logs: PathBuf,
    ranks: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Rank {
    pid: i32,
    role: String,
    incarnation: u64,
}

#[derive(Debug, Clone)]
struct Status {
    primary: Option<usize>,
    backups: Vec<usize>,
    ranks: BTreeMap<usize, Rank>,
}

fn has_open_mpi() -> bool {
    let found = Command::new("mpirun").arg("--version").output();
    let is = found.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Open MPI"));
    if !is {
        eprintln!("skipped: there is no mpirun of Open MPI in PATH");
    }
    is
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

impl Cluster {
    fn start(servers: usize, options: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let logs = std::env::temp_dir().join(format!("understudy-kill-{}-{number}", std::process::id()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args(["--plain", "--failure-rate", "0", "--servers", &servers.to_string()])
            .arg("--log-dir")
            .arg(&logs)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let stdin = child.stdin.take();
        let answers = lines(child.stdout.take().expect("piped"));
        let events = lines(child.stderr.take().expect("piped"));
        let cluster = Self { child, stdin, answers, events, logs, ranks: servers + 1 };
        assert_eq!(cluster.ask("PUT started yes"), "OK");
        cluster.wait_until("all servers are members", |status| status.members() == servers);
        cluster
    }

    fn say(&self, line: &str) {
        let mut stdin = self.stdin.as_ref().expect("open until the end");
        writeln!(stdin, "{line}").expect("the cluster reads");
    }

    fn answer(&self) -> String {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer: {error}; events:\n{}", self.told().join("\n")),
        }
    }

    fn ask(&self, line: &str) -> String {
        self.say(line);
        self.answer()
    }

    fn told(&self) -> Vec<String> {
        self.events.try_iter().collect()
    }

    fn status(&self) -> Status {
        let head = self.ask("STATUS");
        let word = |name: &str| {
            let mut words = head.split_whitespace().skip_while(|word| *word != name);
            words.nth(1).unwrap_or("none").to_owned()
        };
        let ranks = (0..self.ranks).map(|_| {
            let line = self.answer();
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
            let rank = Rank {
                pid: after("pid").and_then(|pid| pid.parse().ok()).expect("every rank has a pid"),
                role: after("role").expect("every rank has a role").to_owned(),
                incarnation: after("incarnation").map_or(0, |number| number.parse().expect("a number")),
            };
            (after("rank").and_then(|rank| rank.parse().ok()).expect("every line has a rank"), rank)
        });
        Status {
            ranks: ranks.collect(),
            primary: word("primary").parse().ok(),
            backups: word("backups").split(',').filter_map(|rank| rank.parse().ok()).collect(),
        }
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}: {status:?}\n{}",
                self.told().join("\n")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn quit(mut self) -> Duration {
        let begun = Instant::now();
        drop(self.stdin.take());
        while self.child.try_wait().expect("it is ours").is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = begun.elapsed();
        assert_eq!(self.processes(), Vec::<i32>::new(), "processes are left");
        took
    }

    /// The processes of this cluster, by the one argument that only they have.
    fn processes(&self) -> Vec<i32> {
        let logs = self.logs.to_str().expect("plain name");
        let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).any(|word| word == logs.as_bytes())
        };
        pids.filter(is_ours).collect()
    }
}

impl Status {
    fn members(&self) -> usize {
        self.primary.iter().count() + self.backups.len()
    }

    /// Everybody who was in the view is in it again, in living processes.
    fn is_whole(&self) -> bool {
        self.members() + 1 == self.ranks.len() && self.ranks.values().all(|rank| rank.role != "DEAD")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.logs);
    }
}

fn kill_from_outside(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives and is ours");
}

#[test]
fn twenty_kills_under_load_lose_nothing() {
    if !has_open_mpi() {
        return;
    }
    const KILLS: usize = 20;
    const WRITES: u64 = 400;
    let cluster = Cluster::start(2, &[]);
    let mut counted = 0;
    let mut downtimes = Vec::new();
    for kill in 0..KILLS {
        let status = cluster.wait_until("the view is whole again", Status::is_whole);
        let primary = status.primary.expect("a whole view has a primary");
        // The primary, the backup, and every server by its number.
        let victim = match kill % 4 {
            0 => primary,
            1 => status.backups[0],
            number => number - 1,
        };
        let pid = status.ranks[&victim].pid;
        cluster.say(&format!("{WRITES} INCR n"));
        if kill % 2 == 0 {
            std::thread::sleep(Duration::from_millis(kill as u64));
            kill_from_outside(pid);
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..WRITES {
            let asked = Instant::now();
            let answer = cluster.answer();
            slowest = slowest.max(asked.elapsed());
            counted += 1;
            assert_eq!(answer, counted.to_string(), "after kill {kill} of server {victim}");
        }
        if kill % 2 == 1 {
            assert_eq!(cluster.ask(&format!("KILL {victim}")), "OK");
            let asked = Instant::now();
            counted += 1;
            assert_eq!(cluster.ask("INCR n"), counted.to_string(), "after kill {kill} of server {victim}");
            slowest = asked.elapsed();
        }
        let after = cluster
            .wait_until("a new process is a member", |after| after.is_whole() && after.ranks[&victim].pid != pid);
        assert!(after.ranks[&victim].incarnation > status.ranks[&victim].incarnation, "{status:?} then {after:?}");
        downtimes.push(slowest);
    }
    assert_eq!(cluster.ask("GET n"), counted.to_string());
    downtimes.sort_unstable();
    eprintln!("longest wait for an answer at each of {KILLS} kills: {downtimes:.0?}");
    let took = cluster.quit();
    assert!(took < Duration::from_secs(2), "it took {took:?} to leave");
}

#[test]
fn without_respawn_a_dead_server_waits_for_recover() {
    if !has_open_mpi() {
        return;
    }
    let cluster = Cluster::start(2, &["--no-respawn"]);
    let before = cluster.status();
    assert!(cluster.ask("KILL 0").starts_with("(error)"));
    assert_eq!(cluster.ask("PUT a 1"), "OK");
    assert_eq!(cluster.ask("KILL primary"), "OK");
    let dead = before.primary.expect("it was whole");
    assert_eq!(cluster.ask("GET a"), "1");
    assert!(cluster.ask(&format!("KILL {dead}")).contains("already dead"));
    std::thread::sleep(Duration::from_millis(1_000));
    let status = cluster.status();
    assert_eq!(status.ranks[&dead].role, "DEAD");
    assert_eq!(status.backups, Vec::<usize>::new());
    assert_eq!(cluster.ask("RECOVER"), "OK");
    let status = cluster.wait_until("the recovered server is backup", Status::is_whole);
    assert_ne!(status.ranks[&dead].pid, before.ranks[&dead].pid);
    assert_eq!(cluster.ask("KILL primary"), "OK");
    assert_eq!(cluster.ask("GET a"), "1");
    cluster.quit();
}

#[test]
fn three_servers_survive_two_deaths_at_once() {
    if !has_open_mpi() {
        return;
    }
    let cluster = Cluster::start(3, &[]);
    for round in 0..3 {
        let status = cluster.wait_until("the view is whole", Status::is_whole);
        assert_eq!(cluster.ask(&format!("PUT round {round}")), "OK");
        let primary = status.primary.expect("whole");
        kill_from_outside(status.ranks[&primary].pid);
        kill_from_outside(status.ranks[&status.backups[round % 2]].pid);
        assert_eq!(cluster.ask("GET round"), round.to_string());
    }
    cluster.wait_until("the view is whole in the end", Status::is_whole);
    cluster.quit();
}

#[test]
fn nobody_outlives_a_killed_console() {
    if !has_open_mpi() {
        return;
    }
    let cluster = Cluster::start(2, &[]);
    assert_eq!(cluster.ask("KILL primary"), "OK");
    let status = cluster.wait_until("the view is whole", Status::is_whole);
    kill_from_outside(status.ranks[&0].pid);
    let begun = Instant::now();
    while !cluster.processes().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(4), "still there: {:?}", cluster.processes());
        // The launcher is a zombie until it is asked for.
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("everybody gone {:?} after rank 0", begun.elapsed());
}

/// The servers' answers to a primary that has slept, and was replaced meanwhile.
#[test]
fn a_paused_primary_wakes_as_nobody() {
    if !has_open_mpi() {
        return;
    }
    let cluster = Cluster::start(2, &[]);
    for round in 0..3 {
        let status = cluster.wait_until("the view is whole", Status::is_whole);
        let zombie = status.primary.expect("whole");
        assert_eq!(cluster.ask(&format!("PUT k old{round}")), "OK");
        assert_eq!(cluster.ask("PAUSE primary"), "OK");
        // Through the new primary; nobody is asked before it is there.
        assert_eq!(cluster.ask(&format!("PUT k new{round}")), "OK");
        // The signal may have come after the request: then the old primary has answered, as it may.
        let replaced = |now: &Status| now.primary.is_some_and(|primary| primary != zombie);
        let paused = cluster.wait_until("somebody else is primary", replaced);
        assert_eq!(paused.ranks[&zombie].role, "PAUSED");
        cluster.say(&format!("RESUME {zombie}"));
        for _ in 0..50 {
            cluster.say("GET k");
        }
        assert_eq!(cluster.answer(), "OK");
        for _ in 0..50 {
            assert_eq!(cluster.answer(), format!("new{round}"));
        }
        let before = status.ranks[&zombie].incarnation;
        let joined = |now: &Status| now.is_whole() && now.ranks[&zombie].incarnation > before;
        let after = cluster.wait_until("the zombie has joined again", joined);
        assert_eq!(after.ranks[&zombie].pid, status.ranks[&zombie].pid);
        assert!(after.ranks[&zombie].incarnation > status.ranks[&zombie].incarnation, "{status:?} then {after:?}");
    }
    cluster.quit();
}
