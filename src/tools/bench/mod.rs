//! How fast it is, and how fast it could be: `understudy bench`.
//!
//! A figure alone says little: a store that answers in ten microseconds is slow where MPI carries the
//! same bytes in two. So every figure here is held against a limit that is measured in the same run, in
//! the same ranks, in turns (the store, the limit, the store, the limit): what disturbs the machine
//! disturbs both, and the *ratio* is worth comparing from day to day. Where nature sets no limit, the
//! limit is what was asked for, and the row says so.
//!
//! ```text
//! understudy bench ─┬─ part `speed`:   launcher ── mpirun ─┬─ rank 0: client, metadata server, the clock
//!   (this process:  │                                      └─ ranks 1..N: servers, or the plain relay
//!    bar, table)    ├─ part `servers`: once with 1, 2, 4, 8 servers
//!                   ├─ part `failover`: a cluster a kill
//!                   └─ …     every part tells its figures line by line, as JSON on standard output
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`parts`] | the measurements, one function each |
//! | [`front`] | rank 0's loop: a client with a window, and the other side of the plain relay |
//! | [`rank`] | rank 0's start and end |
//! | [`idle`] | what an idle cluster costs, watched from outside |
//! | [`door`] | the door beside Redis with a replica |
//! | [`disk`] | a disk with each policy, beside none, plain writing, and Redis |
//! | [`processes`] | CPU time, context switches, memory |
//! | [`measure`] | durations, collected |
//! | [`report`] | rows, table, bars, comparison |
//! | [`plot`] | the same as a picture |
//!
//! # How to read the table
//!
//! * `p50`, `p99` are microseconds; of `*_rate` rows too (how long one of the many takes).
//! * The limit of a GET is a ping-pong of as many bytes; that of a PUT a relay over primary and backup and
//!   back. With many in flight the limit sends one MPI message each, as a program does that has no batching.
//! * Latency is that of the whole cycle, from one answer to the next, on both sides.
//!
//! # Caveats
//!
//! The client runs in the loop of rank 0, not behind the console: what is measured is the store, not the
//! prompt. One client has all requests outstanding. With more ranks than cores the scheduler has a part in
//! every figure, in the limit as well.

pub mod disk;
pub mod door;
pub mod idle;
pub mod measure;
pub mod plot;
pub mod processes;
pub mod report;

#[cfg(feature = "mpi")]
pub mod front;
#[cfg(feature = "mpi")]
pub mod parts;
#[cfg(feature = "mpi")]
pub mod rank;

pub use crate::launch::args::BenchArgs;
pub use crate::launch::args::bench::BenchPart;
pub use report::{BenchReport, BenchRow};

use crate::launch::args::Args;
use crate::launch::fail;
use crate::launch::mpirun::YIELD_VARIABLE;
use crossbeam_channel::{RecvTimeoutError, unbounded};
use report::{FailoverPhases, ReportLine, Target};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A cluster that is measured and tells nothing for this long stands still.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Servers that the cost of a PUT is measured with.
const SERVERS: [u32; 4] = [1, 2, 4, 8];
/// Keys of the two clusters that hold many.
pub(crate) const BULK_KEYS: [u32; 2] = [100_000, 1_000_000];
pub(crate) const BULK_KEYS_QUICK: [u32; 2] = [1_000, 10_000];
/// Programs that want a core while nothing happens.
const HOGS: usize = 2;
/// The targets for the outage after a kill, in milliseconds.
const OUTAGE_P50_MS: f64 = 1.0;
const OUTAGE_P99_MS: f64 = 5.0;
/// A glance: how long, how often.
const QUICK_SECONDS: f64 = 0.2;
const QUICK_KILLS: u32 = 1;
/// Clients that share a mixed load.
const MIX_CLIENTS: u32 = 3;
/// Characters of the progress bar.
const PROGRESS_CHARS: usize = 24;

/// Measures what `wanted` asks for and prints the table.
#[must_use]
pub fn run(args: &Args, wanted: &BenchArgs) -> ExitCode {
    match measured(args, wanted).and_then(|report| publish(&report, wanted, args.ascii)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn read_report(path: &std::path::Path) -> Result<BenchReport, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no report of this program: {error}", path.display()))
}

fn measured(args: &Args, wanted: &BenchArgs) -> Result<BenchReport, String> {
    match &wanted.plot {
        Some(path) => read_report(path),
        None => Bench::new(args, wanted).run(),
    }
}

fn publish(report: &BenchReport, wanted: &BenchArgs, ascii: bool) -> Result<(), String> {
    let baseline = wanted.baseline.as_deref().map(read_report).transpose()?;
    let mut out = io::stdout().lock();
    let mut text = format!(
        "{}, {}, {}\nload average before: {:.2}\n\n",
        report.program, report.machine, report.mpi, report.load_before
    );
    text += &report.table(baseline.as_ref());
    text += "\nours / limit\n";
    text += &report.bars(ascii);
    for note in &report.notes {
        text += &format!("\nnote: {note}");
    }
    // A reader that has seen enough is no error.
    let _ = writeln!(out, "{}", text.trim_end());
    let write = |path: &std::path::Path, text: String| {
        std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    if let Some(path) = &wanted.json {
        let text = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
        write(path, text + "\n")?;
    }
    if let Some(path) = &wanted.svg {
        write(path, plot::svg(report))?;
    }
    Ok(())
}

/// One cluster to start.
struct BenchPlan {
    part: BenchPart,
    servers: u32,
    keys: u32,
}

struct Bench<'a> {
    args: &'a Args,
    wanted: BenchArgs,
    report: BenchReport,
    bar: BenchBar,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args, wanted: &BenchArgs) -> Self {
        let mut wanted = wanted.clone();
        if wanted.quick {
            wanted.seconds = wanted.seconds.min(QUICK_SECONDS);
            wanted.failover = wanted.failover.min(QUICK_KILLS);
        }
        let report = BenchReport {
            program: format!("understudy {}", env!("CARGO_PKG_VERSION")),
            machine: processes::machine(),
            load_before: processes::load_average(),
            quick: wanted.quick,
            ..BenchReport::default()
        };
        Self { args, wanted, report, bar: BenchBar::new() }
    }

    fn plans(&self) -> Vec<BenchPlan> {
        let wanted = &self.wanted;
        let parts = BenchPart::ALL.into_iter().filter(|part| wanted.only.is_empty() || wanted.only.contains(part));
        let plan = |part| BenchPlan { part, servers: wanted.servers, keys: wanted.keys };
        let mut plans = Vec::new();
        for part in parts {
            match part {
                BenchPart::Servers => plans.extend(SERVERS.map(|servers| BenchPlan { servers, ..plan(part) })),
                BenchPart::Failover => plans.extend((0..wanted.failover).map(|_| plan(part))),
                BenchPart::Bulk => {
                    let counts = if wanted.quick { BULK_KEYS_QUICK } else { BULK_KEYS };
                    plans.extend(counts.map(|keys| BenchPlan { keys, ..plan(part) }));
                }
                part => plans.push(plan(part)),
            }
        }
        plans
    }

    fn run(mut self) -> Result<BenchReport, String> {
        let plans = self.plans();
        for (at, plan) in plans.iter().enumerate() {
            self.bar.range = (at as f64 / plans.len() as f64, (at + 1) as f64 / plans.len() as f64);
            self.bar.show(0.0, &plan.part.word());
            let measured = match plan.part {
                BenchPart::Idle => self.idle(plan.servers),
                BenchPart::Door => self.door(plan.servers),
                BenchPart::Disk => self.disk(),
                BenchPart::Calm => {
                    let hogs = Hogs::start();
                    let measured = self.cluster(plan);
                    drop(hogs);
                    measured
                }
                _ => self.cluster(plan),
            };
            // What cannot be measured must not keep the rest from being told.
            if let Err(why) = measured {
                self.report.notes.push(format!("{}: {why}", plan.part.word()));
            }
            let kills_are_over = plan.part == BenchPart::Failover
                && plans.get(at + 1).is_none_or(|next| next.part != BenchPart::Failover);
            if kills_are_over {
                self.sum_up_failovers();
            }
        }
        self.bar.clear();
        if self.report.rows.is_empty() {
            return Err(format!("nothing was measured: {}", self.report.notes.join("; ")));
        }
        Ok(self.report)
    }

    /// Starts the cluster of one part and listens to it.
    fn cluster(&mut self, plan: &BenchPlan) -> Result<(), String> {
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?;
        let mut command = Command::new(program);
        command.args(["--failure-rate", "0", "--recover-after", "never", "--plain", "--spares", "0"]);
        command.args(["--servers", &plan.servers.to_string(), "--pace", &self.args.pace.to_string()]);
        if plan.part == BenchPart::Mixes {
            command.args(["--clients", &MIX_CLIENTS.to_string()]);
        }
        if let Some(dir) = &self.args.log_dir {
            command.arg("--log-dir").arg(dir);
        }
        command.args(["bench", "--part", &plan.part.word(), "--servers", &plan.servers.to_string()]);
        command.args(["--keys", &plan.keys.to_string(), "--value-size", &self.wanted.value_size.to_string()]);
        command.args(["--seconds", &self.wanted.seconds.to_string()]);
        if self.wanted.quick {
            command.arg("--quick");
        }
        // The baseline waits inside of MPI, with more ranks than cores.
        command.env(YIELD_VARIABLE, "1");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the cluster cannot be started: {error}"))?;
        let told = child.stdout.take().ok_or("the cluster cannot be heard")?;
        let (telling, lines) = unbounded();
        thread::spawn(move || {
            let mut lines = BufReader::new(told).lines().map_while(Result::ok);
            lines.try_for_each(|line| telling.send(line))
        });
        loop {
            match lines.recv_timeout(SILENCE_MAX) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(line) => self.hear(line),
                    Err(_) => self.report.notes.push(line),
                },
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    // The launcher takes its ranks along.
                    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                    return Err(format!("its cluster said nothing for {} s, and was ended", SILENCE_MAX.as_secs()));
                }
            }
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("its cluster ended with {status}")) }
    }

    fn hear(&mut self, line: ReportLine) {
        match line {
            ReportLine::Progress { done, now } => self.bar.show(done, &now),
            ReportLine::BenchRow(row) => self.report.rows.push(*row),
            ReportLine::FailoverPhases(failover) => self.report.failovers.push(failover),
            ReportLine::Mpi(mpi) => self.report.mpi = mpi,
            ReportLine::Note(note) => self.report.notes.push(note),
        }
    }

    fn idle(&mut self, servers: u32) -> Result<(), String> {
        let rows = &mut self.report.rows;
        idle::measure(servers, self.wanted.quick, &mut |row| rows.push(row))
    }

    fn door(&mut self, servers: u32) -> Result<(), String> {
        let rows = &mut self.report.rows;
        door::measure(servers, self.wanted.seconds, self.wanted.quick, &mut |row| rows.push(row))
    }

    fn disk(&mut self) -> Result<(), String> {
        let rows = &mut self.report.rows;
        let notes = disk::measure(&self.wanted, self.args.data.as_deref(), &mut |row| rows.push(row))?;
        self.report.notes.extend(notes);
        Ok(())
    }

    fn sum_up_failovers(&mut self) {
        let failovers = &self.report.failovers;
        let outages = sorted(failovers, |failover| failover.outage_ms);
        if outages.is_empty() {
            return;
        }
        let count = outages.len();
        let rows = [("p50", 0.5, OUTAGE_P50_MS), ("p99", 0.99, OUTAGE_P99_MS)].map(|(word, share, most)| {
            let what = format!("outage after SIGKILL of the primary under load, {word} of {count}");
            let name = format!("failover_{word}");
            let against = format!("wanted: {most} ms (the kernel tells of the death; silence would take 50)");
            BenchRow::new(&name, &what, quantile(&outages, share), most, "ms", &against).wanted(Target::AtMost(1.0))
        });
        type Phase = fn(&FailoverPhases) -> f64;
        let phases: [(&str, Phase); 4] = [
            ("noticed", |f| f.suspected_ms),
            ("view changed", |f| f.view_ms - f.suspected_ms),
            ("taken over", |f| f.serving_ms - f.view_ms),
            ("answered", |f| f.answered_ms - f.serving_ms),
        ];
        let phases = phases.map(|(word, pick)| {
            let all = sorted(failovers, pick);
            format!("{word} {:.2} ms (max {:.2})", quantile(&all, 0.5), quantile(&all, 1.0))
        });
        self.report.notes.push(format!(
            "failover phases, p50: {}; longest outage {:.1} ms",
            phases.join(", "),
            quantile(&outages, 1.0)
        ));
        self.report.rows.extend(rows);
    }
}

fn sorted(failovers: &[FailoverPhases], pick: fn(&FailoverPhases) -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = failovers.iter().map(pick).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The smallest value that this share of all does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.max(1) - 1).copied().unwrap_or(0.0)
}

/// Threads that want all of their cores, until dropped.
struct Hogs(Arc<AtomicBool>);

impl Hogs {
    fn start() -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        for _ in 0..HOGS {
            let enough = Arc::clone(&enough);
            std::thread::spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(enough)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The progress, on stderr when that is a terminal.
struct BenchBar {
    visible: bool,
    /// The share of everything that the present plan begins and ends with.
    range: (f64, f64),
}

impl BenchBar {
    fn new() -> Self {
        Self { visible: io::stderr().is_terminal(), range: (0.0, 1.0) }
    }

    fn show(&self, done: f64, now: &str) {
        if self.visible {
            let share = self.range.0 + (self.range.1 - self.range.0) * done;
            let full = (share * PROGRESS_CHARS as f64) as usize;
            let bar = "#".repeat(full) + &".".repeat(PROGRESS_CHARS.saturating_sub(full));
            let _ = write!(io::stderr(), "\r[{bar}] {:3.0} %  {now}\x1b[K", share * 100.0);
        }
    }

    fn clear(&self) {
        if self.visible {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_are_the_nearest_above() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.99), 4.0);
        assert_eq!(quantile(&[7.0], 0.01), 7.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
