//! The door of a real cluster: real sockets, real MPI, processes that are killed.

use crate::support::job::Job;
use crate::support::skip::{can_run, program};
use crate::support::status::Status;
use rustix::process::{Pid, Signal};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// A client gives up after so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster with a door, and where that is.
pub fn open(args: &[&str]) -> (Job, u16) {
    let all: Vec<&str> = ["--plain", "--door", "0"].iter().chain(args).copied().collect();
    let mut job = Job::start(&all);
    job.expect("PUT started yes", "OK");
    job.wait_status("the view is whole", Status::is_whole);
    let port = port_of(&job);
    (job, port)
}

/// A service with a door, and where that is.
pub fn open_service(args: &[&str]) -> (Job, u16) {
    let all: Vec<&str> = ["serve", "--door", "0"].iter().chain(args).copied().collect();
    let mut job = Job::start(&all);
    assert_eq!(job.answer(), "ready");
    let port = port_of(&job);
    (job, port)
}

/// Ends a service as a service manager does: in order.
pub fn end_service(mut job: Job) {
    job.signal(job.pid(), Signal::TERM);
    let ended = job.wait_end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    job.wait_gone();
}

/// Where the door is, once that was said.
fn port_of(job: &Job) -> u16 {
    wait_for("the door's address", || {
        let said = job.stderr();
        said.split("the door is open at 127.0.0.1:").nth(1)?.split_whitespace().next()?.parse().ok()
    })
}

/// Waits until this gives something.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills the primary's process when it has this many backups; the door says who it is. It waits until another leads.
pub fn kill_primary_of_service(job: &Job, door: &mut Client, backups: usize) {
    let mut leader = |wanted: usize| {
        let info = door.ask("INFO replication");
        let field =
            |name: &str| info.split(name).nth(1).and_then(|rest| rest.split("\r\n").next()?.parse::<i32>().ok());
        let is_whole = field("connected_slaves:")? >= i32::try_from(wanted).expect("few");
        field("primary_pid:").filter(|pid| is_whole && *pid > 0)
    };
    let killed = wait_for("the view is whole", || leader(backups));
    job.signal(Pid::from_raw(killed).expect("it is none of 0"), Signal::KILL);
    wait_for("another leads", || leader(0).filter(|pid| *pid != killed));
}

/// Kills the primary's process.
pub fn kill_primary(job: &mut Job) {
    let primary = primary(job);
    job.signal(primary, Signal::KILL);
}

/// The primary's process, when all servers have the data.
pub fn primary(job: &mut Job) -> Pid {
    let status = job.wait_status("the view is whole", Status::is_whole);
    status.process(status.primary.expect("a whole view has one"))
}

/// A client that speaks RESP2.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the door is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket can do that");
        stream.set_nodelay(true).expect("a socket can do that");
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("the connection stays");
    }

    /// One line of an answer, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer comes in time");
        assert!(line.ends_with("\r\n"), "the connection stays: {line:?}");
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, text: &str) -> String {
        self.send(&format!("{text}\r\n"));
        let line = self.line();
        match line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => self.text(length),
            None => line,
        }
    }

    /// This many bytes of an answer, and the end of its line.
    pub fn text(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).expect("the rest of the answer comes");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// The other side has closed the connection.
    pub fn expect_end(&mut self) {
        assert!(self.rest().is_empty());
    }

    /// What still comes before the other side ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut left = Vec::new();
        let ended = self.0.read_to_end(&mut left);
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it stays open");
        left
    }
}

#[test]
fn one_connection_lives_through_kills_and_every_request_takes_effect_once() {
    let (mut job, port) = open(&["--servers", "3"]);
    let mut client = Client::new(port);
    assert_eq!(client.ask("PING"), "+PONG");
    let mut counted = 0;
    let mut slowest = Duration::ZERO;
    for kill in 0..3 {
        kill_primary(&mut job);
        // Some of them in one write, with a read that has to see them.
        for _ in 0..50 {
            let asked = Instant::now();
            client.send("INCR n\r\nINCR n\r\nGET n\r\n");
            for _ in 0..2 {
                counted += 1;
                assert_eq!(client.line(), format!(":{counted}"), "after kill {kill}");
            }
            let length = client.line();
            assert_eq!(length, format!("${}", counted.to_string().len()));
            assert_eq!(client.line(), counted.to_string());
            slowest = slowest.max(asked.elapsed());
        }
    }
    eprintln!("longest wait for an answer: {slowest:.0?}");
    job.expect("GET n", &counted.to_string());
    let info = client.ask("INFO replication");
    assert!(info.contains("primary_pid:") && info.contains("role:master"), "{info}");
    job.end(0);
}

#[test]
fn each_question_for_a_random_member_has_a_chance_of_its_own() {
    let (job, port) = open(&[]);
    let mut client = Client::new(port);
    client.ask("SADD s a b c");
    let seen: std::collections::BTreeSet<String> = (0..100).map(|_| client.ask("SRANDMEMBER s")).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    job.end(0);
}

#[test]
fn a_scan_goes_on_over_failovers_and_finds_all_that_stays() {
    const KEYS: usize = 3_000;
    let (mut job, port) = open(&["--servers", "3"]);
    let mut client = Client::new(port);
    for first in (0..KEYS).step_by(500) {
        let sets: String = (first..first + 500).map(|key| format!("SET stays{key} x\r\n")).collect();
        client.send(&sets);
        (0..500).for_each(|_| assert_eq!(client.line(), "+OK"));
    }
    let (mut cursor, mut seen, mut steps) = ("0".to_owned(), std::collections::BTreeSet::new(), 0);
    loop {
        if steps % 8 == 4 {
            kill_primary(&mut job);
        }
        // Others come and go meanwhile.
        assert_eq!(client.ask(&format!("SET goes{steps} x")), "+OK");
        assert_eq!(
            client.ask(&format!("DEL goes{}", steps / 2)),
            if steps == 0 || steps % 2 == 0 { ":1" } else { ":0" }
        );
        client.send(&format!("SCAN {cursor} COUNT 150\r\n"));
        assert_eq!(client.line(), "*2");
        client.line();
        cursor = client.line();
        let count: usize = client.line().trim_start_matches('*').parse().expect("a length");
        for _ in 0..count {
            client.line();
            seen.insert(client.line());
        }
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!(steps >= 13, "there was time for two kills: {steps}");
    assert_eq!(seen.iter().filter(|key| key.starts_with("stays")).count(), KEYS);
    job.end(0);
}

#[test]
fn redis_cli_and_redis_benchmark_use_it_while_the_primary_is_killed() {
    let lacks: Vec<String> =
        ["redis-cli", "redis-benchmark"].iter().filter_map(|name| program(name, "the package redis-tools")).collect();
    if !can_run("redis_cli_and_redis_benchmark_use_it_while_the_primary_is_killed", &lacks) {
        return;
    }
    let (mut job, port) = open(&["--servers", "3"]);
    let port = port.to_string();
    let cli = |words: &[&str]| {
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("it is installed");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    };
    assert_eq!(cli(&["set", "a", "1"]), "OK");
    assert_eq!(cli(&["-3", "get", "a"]), "1");
    assert_eq!(cli(&["incr", "a"]), "2");
    assert_eq!(cli(&["del", "a"]), "1");
    assert_eq!(cli(&["get", "a"]), "");
    let mut bench = Command::new("redis-benchmark");
    bench.args(["-p", &port, "-n", "30000", "-c", "20", "-q", "incr", "n"]);
    let bench = bench.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let mut bench = bench.expect("it is installed");
    while bench.try_wait().expect("it is ours").is_none() {
        kill_primary(&mut job);
        std::thread::sleep(Duration::from_millis(300));
    }
    let ended = bench.wait_with_output().expect("it has ended");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && !said.contains("rror"), "{said}");
    assert_eq!(cli(&["get", "n"]), "30000", "each once");
    job.end(0);
}

#[test]
fn a_door_to_other_machines_needs_a_password() {
    let refused = crate::support::job::run(&["--door", "0.0.0.0:0", "-c", "COUNT"], b"");
    let said = refused.stderr;
    assert!(said.contains("--password-file"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free one");
    let port = taken.local_addr().expect("it has one").port().to_string();
    let refused = crate::support::job::run(&["--door", &port, "-c", "COUNT"], b"");
    let said = refused.stderr;
    assert!(said.contains(&format!("no door at 127.0.0.1:{port}")), "{said}");
}

#[test]
fn a_service_says_that_it_is_ready_and_ends_in_order() {
    let (job, port) = open_service(&[]);
    assert_eq!(Client::new(port).ask("PING"), "+PONG");
    end_service(job);
}
