//! What a disk costs: a PUT through the door with each policy of `--fsync`, beside memory only, beside plain writing
//! and syncing of as many bytes in groups of the same size, and beside Redis with one replica and the same policy.
//!
//! All contestants keep their files in one folder, so on one file system. Of ours every server has its own log there,
//! so the plain writers are as many, at the same time, and the slowest of them counts.

use super::door::{self, Contestant, connect, in_turns, one_by_one};
use super::report::{BenchRow, Target};
use crate::launch::args::BenchArgs;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Requests that are under way at a time, where it is not one.
const WINDOW: usize = 256;
/// A write takes this many bytes in a log beside its value, about.
const RECORD_BYTES: usize = 64;
/// The policies, and the shares of a rate without a disk (or of plain writing and syncing) that are wanted.
const POLICIES: [(&str, f64); 3] = [("no", 0.85), ("everysec", 0.85), ("always", 0.8)];
const QUICK_SECONDS: f64 = 0.05;
const ROUNDS: f64 = 3.0;

/// A folder for all of them, removed when dropped.
struct BenchFolder(PathBuf);

impl BenchFolder {
    fn make(within: Option<&Path>) -> Result<Self, String> {
        let within = within.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = within.join(format!("understudy-bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn of(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for BenchFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Measures in a folder within `data`, or where temporary files are, and hands each figure to `row`. Gives what could
/// not be measured.
///
/// # Errors
/// When a cluster does not start, or the folder cannot be used.
pub fn measure(wanted: &BenchArgs, data: Option<&Path>, row: &mut dyn FnMut(BenchRow)) -> Result<Vec<String>, String> {
    let folder = BenchFolder::make(data)?;
    let each = if wanted.quick { QUICK_SECONDS } else { wanted.seconds / 2.0 };
    let each = Duration::from_secs_f64(each / ROUNDS);
    let value = "v".repeat(wanted.value_size as usize);
    let set = format!("SET key {value}\r\n");
    let memory = door::door(wanted.servers, &[])?;
    let mut notes = Vec::new();
    for (policy, share) in POLICIES {
        let data = folder.of(&format!("ours-{policy}"))?.display().to_string();
        let ours = door::door(wanted.servers, &["--data", &data, "--fsync", policy])?;
        let plain = |group| plain_rate(&folder, wanted.servers, value.len() + RECORD_BYTES, group, each);
        let what = format!("PUT with --fsync {policy}, one at a time");
        let name = format!("disk_{policy}_put_p50");
        let p50 = |port| one_by_one(port, &set, each);
        let (mine, without) = in_turns(|| p50(ours.port), || p50(memory.port))?;
        row(BenchRow::new(&name, &what, mine, without, "us", "without a disk"));
        if policy == "always" {
            let (mine, plain) = in_turns(|| p50(ours.port), || plain(1).map(|rate| 1e6 / rate))?;
            row(BenchRow::new(&format!("{name}_plain"), &what, mine, plain, "us", "plain write and fdatasync of it"));
        }
        let what = format!("PUT with --fsync {policy}, {WINDOW} under way");
        let name = format!("disk_{policy}_put_rate");
        let rate = |port| window_rate(port, &set, each);
        let (mine, without) = in_turns(|| rate(ours.port), || rate(memory.port))?;
        let mut against_memory = BenchRow::new(&name, &what, mine, without, "/s", "without a disk");
        if policy != "always" {
            against_memory = against_memory.wanted(Target::AtLeast(share));
        }
        row(against_memory);
        if policy == "always" {
            let (mine, plain) = in_turns(|| rate(ours.port), || plain(WINDOW))?;
            let against = format!("plain write and fdatasync of groups of {WINDOW}");
            row(BenchRow::new(&format!("{name}_plain"), &what, mine, plain, "/s", &against)
                .wanted(Target::AtLeast(share)));
        }
        match beside_redis(&folder, policy, &ours, &set, each) {
            Ok([one, many]) => {
                let against = format!("Redis with one replica, appendfsync {policy}, SET and WAIT 1");
                let what = format!("PUT with --fsync {policy}, one at a time");
                row(BenchRow::new(&format!("disk_{policy}_redis_p50"), &what, one.0, one.1, "us", &against));
                let against = format!("Redis with one replica that it does not wait for, appendfsync {policy}");
                let what = format!("PUT with --fsync {policy}, {WINDOW} under way");
                row(BenchRow::new(&format!("disk_{policy}_redis_rate"), &what, many.0, many.1, "/s", &against));
            }
            Err(why) => notes.push(format!("disk, {policy}: {why}")),
        }
    }
    Ok(notes)
}

/// The same of Redis: microseconds one at a time, and requests a second with many under way.
fn beside_redis(
    folder: &BenchFolder,
    policy: &str,
    ours: &Contestant,
    set: &str,
    each: Duration,
) -> Result<[(f64, f64); 2], String> {
    let dir = |name: &str| Ok::<_, String>(folder.of(&format!("redis-{policy}-{name}"))?.display().to_string());
    let (first, second) = (dir("primary")?, dir("replica")?);
    let options = |dir| ["--appendonly", "yes", "--appendfsync", policy, "--dir", dir];
    let primary = door::redis(None, &options(&first))?;
    let replica = door::redis_replica(&primary, &options(&second))?;
    let wait = format!("{set}WAIT 1 0\r\n");
    let one = in_turns(|| one_by_one(ours.port, set, each), || one_by_one(primary.port, &wait, each))?;
    let many = in_turns(|| window_rate(ours.port, set, each), || window_rate(primary.port, set, each))?;
    drop(replica);
    Ok([one, many])
}

/// Requests a second over one connection, with a window of them under way.
fn window_rate(port: u16, request: &str, each: Duration) -> Result<f64, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = connect(port).map_err(text)?;
    let mut buffer = vec![0; 16 << 10];
    let begun = Instant::now();
    let (mut answered, mut under_way) = (0, WINDOW);
    stream.write_all(request.repeat(WINDOW).as_bytes()).map_err(text)?;
    while under_way > 0 {
        let count = stream.read(&mut buffer).map_err(text)?;
        if count == 0 || buffer.starts_with(b"-") {
            return Err(format!("it is refused: {}", String::from_utf8_lossy(&buffer[..count])));
        }
        let answers = buffer[..count].iter().filter(|byte| **byte == b'\n').count();
        answered += answers;
        under_way -= answers;
        if begun.elapsed() < each {
            under_way += answers;
            stream.write_all(request.repeat(answers).as_bytes()).map_err(text)?;
        }
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}

/// Records a second of this many bytes that each of the writers writes and syncs, a group at a time.
fn plain_rate(folder: &BenchFolder, writers: u32, bytes: usize, group: usize, each: Duration) -> Result<f64, String> {
    let piece = vec![b'r'; bytes * group];
    let paths = (0..writers).map(|writer| Ok(folder.of("plain")?.join(writer.to_string())));
    let paths = paths.collect::<Result<Vec<PathBuf>, String>>()?;
    let together = Barrier::new(paths.len());
    let write = |path: &Path| -> std::io::Result<f64> {
        let mut file = File::create(path)?;
        let mut groups = 0;
        let begun = Instant::now();
        while groups == 0 || begun.elapsed() < each {
            file.write_all(&piece)?;
            file.sync_data()?;
            groups += 1;
        }
        Ok(f64::from(groups) / begun.elapsed().as_secs_f64())
    };
    let rates = std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .iter()
            .map(|path| {
                scope.spawn(|| {
                    together.wait();
                    write(path)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(0.0))).collect::<std::io::Result<Vec<f64>>>()
    });
    let slowest = rates.map_err(|error| format!("plain writing: {error}"))?.into_iter().fold(f64::MAX, f64::min);
    Ok(slowest * group as f64)
}
