//! The door beside Redis with one replica, both asked by redis-benchmark, in turns.
//!
//! Both keep two copies; Redis does not wait for the second one, unless somebody says WAIT. What is compared is what a
//! client sees: the whole way through its socket and back.

use super::measure::Samples;
use super::processes::resident_bytes;
use super::report::{BenchRow, Target};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The two are asked in turns, so often each.
const ROUNDS: usize = 3;
/// As many requests as are answered within about a second.
const PER_SECOND: f64 = 30_000.0;
const PER_SECOND_PIPELINED: f64 = 150_000.0;
/// Requests in one write.
const PIPELINE: u32 = 16;
/// Whoever is started must answer after this long.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// Who does not answer by then is given up.
const PATIENCE: Duration = Duration::from_secs(10);
const QUICK_SECONDS: f64 = 0.05;
/// What is stored, of the length that redis-benchmark is told.
const VALUE: &str = "0123456789012345678901234567890123456789012345678901234567890123";

/// A program that ends when this goes.
pub(super) struct Contestant {
    child: Child,
    pub(super) port: u16,
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Measures, and hands each figure to `row`.
///
/// # Errors
/// When Redis' programs are not installed, or one of both does not start.
pub fn measure(servers: u32, seconds: f64, quick: bool, row: &mut dyn FnMut(BenchRow)) -> Result<(), String> {
    let seconds = if quick { QUICK_SECONDS } else { seconds / 2.0 };
    let redis = redis(None, &[])?;
    let replica = redis_replica(&redis, &[])?;
    let ours = door(servers, &[])?;
    for (test, pipeline, least) in [("set", 1, 1.0), ("get", 1, 1.0), ("set", PIPELINE, 0.5), ("get", PIPELINE, 0.5)] {
        let per_second = if pipeline == 1 { PER_SECOND } else { PER_SECOND_PIPELINED };
        let requests = (per_second * seconds / ROUNDS as f64).max(500.0);
        let rate = |port| redis_benchmark(port, test, pipeline, requests);
        let rates = in_turns(|| rate(ours.port), || rate(redis.port))?;
        let (name, how) = match pipeline {
            1 => (format!("door_{test}_rate"), String::new()),
            many => (format!("door_{test}_p{many}_rate"), format!(", {many} in one write")),
        };
        let what = format!("{} through the door, 50 connections{how}", test.to_uppercase());
        row(BenchRow::new(&name, &what, rates.0, rates.1, "/s", "Redis with one replica that it does not wait for")
            .wanted(Target::AtLeast(least)));
    }
    let each = Duration::from_secs_f64(seconds / ROUNDS as f64);
    let set = format!("SET key {VALUE}\r\n");
    let p50 =
        in_turns(|| one_by_one(ours.port, &set, each), || one_by_one(redis.port, &format!("{set}WAIT 1 0\r\n"), each))?;
    let what = "SET through the door, one connection, one at a time";
    row(BenchRow::new("door_set_p50", what, p50.0, p50.1, "us", "Redis, SET and WAIT 1 in one write")
        .wanted(Target::AtMost(1.0)));
    drop((redis, replica));
    row(large_hash(&ours, each, if quick { 10_000 } else { 1_000_000 })?);
    drop(ours);
    room(if quick { 10_000 } else { 1_000_000 }, row)
}

/// A field of a large hash is changed as fast as one of a small hash.
fn large_hash(ours: &Contestant, each: Duration, fields: usize) -> Result<BenchRow, String> {
    for (key, count) in [("few", 10), ("many", fields)] {
        fill(ours.port, count, |out, at| out.push_str(&format!("HSET {key} f{at} {at}\r\n")))?;
    }
    let hset = |key: &str| one_by_one(ours.port, &format!("HSET {key} f5 x\r\n"), each);
    let (many, few) = in_turns(|| hset("many"), || hset("few"))?;
    let what = format!("HSET on a hash of {fields} fields, one at a time");
    let row = BenchRow::new("door_hset_p50", &what, many, few, "us", "the same on one of 10");
    Ok(row.wanted(Target::AtMost(1.2)))
}

/// What many small values take, in the primary's process and in that of a redis-server.
fn room(keys: usize, row: &mut dyn FnMut(BenchRow)) -> Result<(), String> {
    type Fill = fn(&mut String, usize);
    let strings: Fill = |out, at| out.push_str(&format!("SET string:{at} value:{at}\r\n"));
    let hashes: Fill = |out, at| out.push_str(&format!("HSET hash:{at} name ann{at} city bonn age 42\r\n"));
    for (name, what, fill_in) in [("string", "strings", strings), ("hash", "hashes of 3 fields", hashes)] {
        let (ours, redis) = (door(2, &[])?, redis(None, &[])?);
        let primary = primary_of(ours.port)?;
        let mut bytes = [0.0; 2];
        for (at, (port, pid)) in [(ours.port, primary), (redis.port, redis.child.id())].into_iter().enumerate() {
            let before = resident_bytes(pid);
            fill(port, keys, fill_in)?;
            bytes[at] = resident_bytes(pid).saturating_sub(before) as f64 / keys as f64;
        }
        let what = format!("memory of a server for each of {keys} small {what}");
        let row_name = format!("door_{name}_bytes");
        row(BenchRow::new(&row_name, &what, bytes[0], bytes[1], "B", "redis-server").wanted(Target::AtMost(1.0)));
    }
    Ok(())
}

/// Many requests, a thousand in one write.
fn fill(port: u16, count: usize, request: impl Fn(&mut String, usize)) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = BufReader::new(connect(port).map_err(text)?);
    let mut answer = String::new();
    for first in (0..count).step_by(1_000) {
        let last = count.min(first + 1_000);
        let mut requests = String::new();
        (first..last).for_each(|at| request(&mut requests, at));
        stream.get_mut().write_all(requests.as_bytes()).map_err(text)?;
        for _ in first..last {
            answer.clear();
            stream.read_line(&mut answer).map_err(text)?;
            if answer.starts_with('-') || answer.is_empty() {
                return Err(format!("it cannot be filled: {answer}"));
            }
        }
    }
    Ok(())
}

/// What a server says of its replication.
fn replication(port: u16) -> Option<String> {
    let mut stream = connect(port).ok()?;
    stream.write_all(b"INFO replication\r\n").ok()?;
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// The process of the primary behind a door.
fn primary_of(port: u16) -> Result<u32, String> {
    wait("nobody leads", || {
        let pid = replication(port)?.lines().find_map(|line| line.strip_prefix("primary_pid:")?.trim().parse().ok());
        pid.filter(|pid| *pid > 0)
    })
}

/// The middle figures of two that are measured in turns.
pub(super) fn in_turns(
    one: impl Fn() -> Result<f64, String>,
    other: impl Fn() -> Result<f64, String>,
) -> Result<(f64, f64), String> {
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        figures[0].push(one()?);
        figures[1].push(other()?);
    }
    figures.iter_mut().for_each(|figures| figures.sort_by(f64::total_cmp));
    Ok((figures[0][ROUNDS / 2], figures[1][ROUNDS / 2]))
}

/// Requests a second.
fn redis_benchmark(port: u16, test: &str, pipeline: u32, requests: f64) -> Result<f64, String> {
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-t", test, "-c", "50", "-P", &pipeline.to_string()])
        .args(["-n", &format!("{requests:.0}"), "-r", "10000", "-d", "64", "--csv"])
        .output()
        .map_err(|error| format!("redis-benchmark: {error}: install redis-tools"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| {
        let mut cells = line.split(',').map(|cell| cell.trim_matches('"'));
        cells.next().filter(|name| name.eq_ignore_ascii_case(test))?;
        cells.next()?.parse().ok()
    });
    rate.ok_or_else(|| format!("redis-benchmark says no rate: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Microseconds of a request, one after the other.
pub(super) fn one_by_one(port: u16, request: &str, each: Duration) -> Result<f64, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = connect(port).map_err(text)?;
    let mut samples = Samples::default();
    let mut buffer = [0; 256];
    let begun = Instant::now();
    while begun.elapsed() < each {
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).map_err(text)?;
        let mut lines = 0;
        while lines < request.matches("\r\n").count() {
            let count = stream.read(&mut buffer).map_err(text)?;
            if count == 0 || buffer.starts_with(b"-") {
                return Err(format!("it is refused: {}", String::from_utf8_lossy(&buffer[..count])));
            }
            lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count();
        }
        samples.record(asked.elapsed());
    }
    Ok(samples.quantile_us(0.5))
}

pub(super) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

// ---- the two -----------------------------------------------------------------------------------

/// `options`: further ones; the last of a kind counts.
pub(super) fn redis(primary: Option<u16>, options: &[&str]) -> Result<Contestant, String> {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(|error| error.to_string())?;
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    // A replica that loads what it is sent from a file would leave that file here.
    command.args(["--repl-diskless-sync", "yes", "--repl-diskless-load", "swapdb", "--repl-diskless-sync-delay", "0"]);
    command.arg("--dir").arg(std::env::temp_dir());
    command.args(options);
    if let Some(primary) = primary {
        command.args(["--replicaof", "127.0.0.1", &primary.to_string()]);
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.map_err(|error| format!("redis-server: {error}: install it to compare with it"))?;
    let redis = Contestant { child, port: port.port() };
    wait("redis-server does not answer", || connect(redis.port).ok())?;
    Ok(redis)
}

/// A replica that has everything.
pub(super) fn redis_replica(primary: &Contestant, options: &[&str]) -> Result<Contestant, String> {
    let replica = redis(Some(primary.port), options)?;
    wait("redis-server's replica does not come", || {
        replication(primary.port).filter(|said| said.contains("state=online"))
    })?;
    Ok(replica)
}

/// Waits until this gives something.
fn wait<T>(what: &str, found: impl Fn() -> Option<T>) -> Result<T, String> {
    let until = Instant::now() + START_DEADLINE;
    loop {
        match found() {
            Some(found) => return Ok(found),
            None if Instant::now() > until => return Err(what.to_owned()),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A cluster with a door, without a console.
pub(super) fn door(servers: u32, options: &[&str]) -> Result<Contestant, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?;
    let mut command = Command::new(program);
    command.args(["serve", "--door", "0", "--spares", "0", "--servers", &servers.to_string()]);
    command.args(options);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut door = Contestant { child: child.map_err(|error| format!("no door: {error}"))?, port: 0 };
    let (said, told) = (door.child.stdout.take(), door.child.stderr.take());
    let (Some(said), Some(told)) = (said, told) else { return Err("the door cannot be heard".to_owned()) };
    let mut told = BufReader::new(told).lines().map_while(Result::ok);
    let at = told.find_map(|line| line.split("the door is open at 127.0.0.1:").nth(1)?.trim().parse().ok());
    door.port = at.ok_or("the door does not say where it is")?;
    let _ = std::thread::Builder::new().name("events".into()).spawn(move || told.for_each(drop));
    let mut ready = String::new();
    let heard = BufReader::new(said).read_line(&mut ready);
    if heard.is_ok() && ready.trim() == "ready" { Ok(door) } else { Err("the cluster is never ready".to_owned()) }
}
