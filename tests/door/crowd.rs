//! What many, slow, greedy or hostile clients do to a door of a real cluster: the others do not feel it, and its memory
//! stays bounded.

use crate::cluster::{Client, kill_primary, open};
use crate::support::job::Job;
use crate::support::skip::{can_run, program};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Connections that do nothing.
const IDLE: usize = 9_900;
/// What the door may grow by for all of them, in bytes.
const IDLE_BYTES_MAX: u64 = IDLE as u64 * 3 * 1024;
/// Somebody else is answered within this time.
const OTHERS: Duration = Duration::from_secs(1);
/// Connections that send a byte now and then.
const SLOW: usize = 300;
/// What clients that do not read may make the door grow by.
const UNREAD_BYTES_MAX: u64 = 96 << 20;

/// Memory of the door's process, in bytes.
fn room(job: &Job) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.rank_zero())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).expect("a number") << 10
}

/// Somebody else asks for a while and is answered in time.
fn others_do_not_feel_it(client: &mut Client) {
    let begun = Instant::now();
    while begun.elapsed() < OTHERS {
        let asked = Instant::now();
        assert_eq!(client.ask("SET others yes"), "+OK");
        assert_eq!(client.ask("GET others"), "yes");
        assert!(asked.elapsed() < OTHERS, "{:?}", asked.elapsed());
    }
}

#[test]
fn many_idle_connections_cost_little_and_disturb_nobody() {
    let descriptors = getrlimit(Resource::Nofile).maximum;
    let lacks = descriptors.filter(|most| *most < IDLE as u64 + 500);
    let lacks: Vec<String> = lacks.map(|most| format!("only {most} files may be open")).into_iter().collect();
    if !can_run("many_idle_connections_cost_little_and_disturb_nobody", &lacks) {
        return;
    }
    // As a user's shell may have it.
    let limit = |current: u64| setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: descriptors });
    limit(1_024).expect("less is allowed");
    let (job, port) = open(&[]);
    limit(IDLE as u64 + 500).expect("so many are allowed");
    let mut client = Client::new(port);
    others_do_not_feel_it(&mut client);
    let before = room(&job);
    let mut crowd: Vec<TcpStream> = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        crowd.push(TcpStream::connect(("127.0.0.1", port)).expect("the door is open"));
    }
    others_do_not_feel_it(&mut client);
    let info = client.ask("INFO clients");
    assert!(info.contains(&format!("connected_clients:{}", IDLE + 1)), "{info}");
    let grown = room(&job).saturating_sub(before);
    eprintln!("{IDLE} idle connections take {} bytes each", grown / IDLE as u64);
    assert!(grown < IDLE_BYTES_MAX, "{grown}");
    // Each of them is still served.
    for stream in crowd.iter_mut().step_by(997) {
        stream.write_all(b"PING\r\n").expect("it is open");
        let mut said = [0; 7];
        stream.read_exact(&mut said).expect("it answers");
        assert_eq!(&said, b"+PONG\r\n");
    }
    drop(crowd);
    others_do_not_feel_it(&mut client);
    job.end(0);
}

#[test]
fn who_sends_a_byte_now_and_then_holds_up_nobody() {
    let (job, port) = open(&[]);
    let mut client = Client::new(port);
    let before = room(&job);
    let requests: [&[u8]; 4] = [b"*3\r\n$3\r\nSET\r\n", b"*1048576\r\n$1\r\n", b"*2\r\n$16777216\r\n", b"SET \"never"];
    let mut slow: Vec<(TcpStream, &[u8])> = (0..SLOW)
        .map(|at| (TcpStream::connect(("127.0.0.1", port)).expect("the door is open"), requests[at % requests.len()]))
        .collect();
    for at in 0..12 {
        for (stream, request) in &mut slow {
            if let Some(byte) = request.get(at..=at) {
                stream.write_all(byte).expect("it is open");
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    others_do_not_feel_it(&mut client);
    let grown = room(&job).saturating_sub(before);
    // A buffer each, and what the cluster itself needs meanwhile; what they announce would be a hundred times as much.
    assert!(grown < SLOW as u64 * (64 << 10), "{grown}");
    job.end(0);
}

#[test]
fn who_does_not_read_takes_bounded_room_and_finds_everything_when_it_does() {
    const ANSWERS: usize = 400;
    let (job, port) = open(&[]);
    let mut client = Client::new(port);
    let value = "x".repeat(1 << 20);
    assert_eq!(client.ask(&format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n{value}", value.len())), "+OK");
    let before = room(&job);
    let mut greedy = TcpStream::connect(("127.0.0.1", port)).expect("the door is open");
    greedy.write_all("GET big\r\n".repeat(ANSWERS).as_bytes()).expect("it takes them");
    std::thread::sleep(Duration::from_secs(1));
    others_do_not_feel_it(&mut client);
    let grown = room(&job).saturating_sub(before);
    eprintln!("{ANSWERS} MiB that nobody reads take {} MiB", grown >> 20);
    assert!(grown < UNREAD_BYTES_MAX, "{grown}");
    // Now it reads.
    greedy.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket can do that");
    let mut answer = vec![0; format!("${}\r\n", value.len()).len() + value.len() + 2];
    for _ in 0..ANSWERS {
        greedy.read_exact(&mut answer).expect("everything comes");
    }
    assert!(answer.ends_with(b"xx\r\n"));
    job.end(0);
}

#[test]
fn beyond_the_bound_writes_are_refused_and_room_that_is_made_is_used() {
    let (mut job, port) = open(&["--servers", "3", "--max-memory", "8M"]);
    let mut client = Client::new(port);
    let value = "x".repeat(64 << 10);
    let set = |client: &mut Client, key: usize| {
        client.ask(&format!("*3\r\n$3\r\nSET\r\n$4\r\n{key:04}\r\n${}\r\n{value}", value.len()))
    };
    let stored = (0..1_000).position(|key| set(&mut client, key).starts_with("-OOM"));
    let stored = stored.expect("there is a bound");
    assert!((100..160).contains(&stored), "{stored} values of 64 KiB in 8 MiB");
    for kill in 0..2 {
        assert!(set(&mut client, 9_999).starts_with("-OOM"), "after {kill} kills");
        assert_eq!(client.ask("GET 0001").len(), value.len());
        assert_eq!(client.ask("DEL 0001"), ":1");
        assert_eq!(set(&mut client, 1), "+OK");
        kill_primary(&mut job);
    }
    assert!(set(&mut client, 9_999).starts_with("-OOM"));
    assert_eq!(client.ask("FLUSHALL"), "+OK");
    assert_eq!(set(&mut client, 9_999), "+OK");
    job.end(0);
}

#[test]
fn redis_benchmark_runs_all_its_tests() {
    let lacks: Vec<String> = program("redis-benchmark", "redis-tools").into_iter().collect();
    if !can_run("redis_benchmark_runs_all_its_tests", &lacks) {
        return;
    }
    let (job, port) = open(&[]);
    for pipeline in ["1", "16"] {
        let mut bench = Command::new("redis-benchmark");
        bench.args(["-p", &port.to_string(), "-n", "3000", "-c", "20", "-P", pipeline, "-q"]);
        let ended = bench.output().expect("it is installed");
        let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && !said.contains("rror"), "{said}");
        let tests = [
            "PING_INLINE",
            "PING_MBULK",
            "SET",
            "GET",
            "INCR",
            "LPUSH",
            "RPUSH",
            "LPOP",
            "RPOP",
            "SADD",
            "HSET",
            "SPOP",
            "ZADD",
            "ZPOPMIN",
            "LRANGE_100",
            "LRANGE_300",
            "LRANGE_500",
            "LRANGE_600",
            "MSET (10 keys)",
        ];
        for test in tests {
            let told = said.split(['\r', '\n']).any(|line| {
                line.strip_prefix(test).is_some_and(|rest| {
                    (rest.starts_with(':') || rest.starts_with(" (")) && rest.contains("requests per second")
                })
            });
            assert!(told, "{test} in\n{said}");
        }
    }
    job.end(0);
}
