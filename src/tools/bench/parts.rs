//! The measurements, one function each.

use super::front::{BenchRun, Front, Path};
use super::measure::{Samples, Tail};
use super::processes::resident_bytes;
use super::rank::say;
use super::report::{BenchRow, FailoverPhases, ReportLine, Target};
use super::{BULK_KEYS, BULK_KEYS_QUICK, BenchArgs, BenchPart, MIX_CLIENTS};
use crate::core::fault::Control;
use crate::core::load::loader::WINDOW as LOAD_WINDOW;
use crate::core::load::mix::{KEY_BYTES, Load};
use crate::core::load::{LoadOrder, Workload};
use crate::core::protocol::{Event, METADATA, Rank, Reason, Time};
use crate::core::store::Command;
use crate::mpi::clock;
use crate::mpi::transport::Transport;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// Store and baseline take turns this often: what disturbs the machine disturbs both.
const TURNS: u32 = 10;
/// They go on for up to this many turns, each twice as long as the one before, while one of them has nothing to show.
const TURNS_MAX: u32 = TURNS + 9;
/// Of each slice, this share does not count.
const WARM_SHARE: f64 = 0.1;
/// Bytes that a request or an answer needs beside key and value.
const HEAD_BYTES: u32 = 12;
/// An acknowledgement, or an answer without a value.
const ACK_BYTES: u32 = 8;
/// Many requests at once.
const WINDOW: usize = 256;
/// As many as a client may have.
const WINDOW_WIDE: usize = 4095;
/// The sizes of values that are compared.
const SIZES: [u32; 6] = [16, 256, 4 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Requests outstanding while a primary is killed.
const SEVERAL: usize = 16;

/// What follows from `wanted` on the front of a cluster. Gives the ranks that died of it.
///
/// # Errors
/// What went wrong.
pub fn measure<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<Vec<Rank>, String> {
    let part = wanted.part.ok_or("there is nothing to measure")?;
    if part != BenchPart::Bulk {
        fill(front, wanted.keys.min(FILL_MAX), wanted.value_size);
    }
    let mut dead = Vec::new();
    match part {
        BenchPart::Speed => speed(front, wanted)?,
        BenchPart::Sizes => sizes(front, wanted)?,
        BenchPart::Servers => servers(front, wanted)?,
        BenchPart::Mixes => mixes(front, wanted)?,
        BenchPart::Failover => dead.push(failover(front, wanted)?),
        BenchPart::Calm => calm(front, wanted),
        BenchPart::Bulk => bulk(front, wanted)?,
        BenchPart::Idle | BenchPart::Door | BenchPart::Disk => {
            return Err("this is not measured from within".to_owned());
        }
    }
    if front.failed > 0 {
        say(&ReportLine::Note(format!("{}: {} requests were refused or never answered", part.word(), front.failed)));
    }
    Ok(dead)
}

/// The most keys written before a measurement that is not about many keys.
const FILL_MAX: u32 = 100_000;

/// The most bytes of values outstanding meanwhile.
const FILL_BYTES: usize = 4 << 20;

fn fill<T: Transport>(front: &mut Front<'_, T>, keys: u32, value_bytes: u32) {
    let mut load = Load::filling(keys, value_bytes);
    let mut left = u64::from(keys);
    let window = (FILL_BYTES / value_bytes.max(1) as usize).clamp(1, WINDOW).min(keys as usize);
    front.load(&mut load, window, &mut |_, _| {
        left = left.saturating_sub(1);
        left > window as u64
    });
    // The window's rest was asked for when the last one counted.
}

/// This many values of another size than the rest: they are written before the measurement.
const KEYS_OF_OTHER_SIZE: u32 = 256;

/// One comparison: the same time for the store and for its limit, in turns.
struct Duel {
    /// Share of reads, 0 or 1.
    reads: f64,
    value_bytes: u32,
    window: usize,
    /// In flight on the other side.
    raw_window: usize,
    seconds: f64,
}

impl Duel {
    fn fight<T: Transport>(&self, front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<(Samples, Samples), String> {
        let mut keys = wanted.keys;
        if self.value_bytes != wanted.value_size {
            // What is measured is how values of this size are written anew, not how the store grows.
            keys = keys.min(KEYS_OF_OTHER_SIZE);
            fill(front, keys, self.value_bytes);
        }
        let mut load = Load::new(7, keys, self.reads, self.value_bytes);
        let (mut ours, mut limit) = (Samples::default(), Samples::default());
        let mut slice = Duration::from_secs_f64(self.seconds / f64::from(2 * TURNS));
        let run = |window, slice: Duration| BenchRun {
            window,
            warm: slice.mul_f64(WARM_SHARE),
            counted: slice.mul_f64(1.0 - WARM_SHARE),
        };
        let key = KEY_BYTES as u32 + HEAD_BYTES;
        let (path, forward, back) = if self.reads > 0.0 {
            (Path::PingPong, key, self.value_bytes + ACK_BYTES)
        } else {
            (Path::Relay, key + self.value_bytes, ACK_BYTES)
        };
        // On a busy machine a short slice may pass without any answer.
        let enough = |ours: &Samples, limit: &Samples| !ours.is_empty() && !limit.is_empty();
        for turn in 0..TURNS_MAX {
            if turn >= TURNS {
                if enough(&ours, &limit) {
                    break;
                }
                slice *= 2;
            }
            limit.add(&front.measure_raw(path, forward, back, run(self.raw_window, slice))?);
            // The servers look around, and the leases are granted anew.
            front.execute(Command::Count)?;
            ours.add(&front.measure(&mut load, run(self.window, slice)));
        }
        Ok((ours, limit))
    }
}

fn speed<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<(), String> {
    let (seconds, value) = (wanted.seconds, wanted.value_size);
    let ping_pong = "raw MPI ping-pong client, primary";
    let relay = "raw MPI relay client, primary, backup and back";
    let many = "the same with 256 in flight, one message each";
    let duel = |reads, value_bytes, window, raw_window| Duel { reads, value_bytes, window, raw_window, seconds };
    let plans = [
        ("get_1_p50", "GET, one at a time", duel(1.0, value, 1, 1), ping_pong.to_owned(), Target::AtMost(1.5)),
        ("put_1_p50", "PUT, one at a time", duel(0.0, value, 1, 1), relay.to_owned(), Target::AtMost(1.5)),
        (
            "get_256_rate",
            "GET, 256 outstanding",
            duel(1.0, value, WINDOW, WINDOW),
            format!("{ping_pong}; {many}"),
            Target::AtLeast(2.0),
        ),
        (
            "put_256_rate",
            "PUT, 256 outstanding",
            duel(0.0, value, WINDOW, WINDOW),
            format!("{relay}; {many}"),
            Target::AtLeast(1.5),
        ),
        (
            "put_4096_rate",
            "PUT, 4095 outstanding",
            duel(0.0, value, WINDOW_WIDE, WINDOW),
            format!("{relay}; {many}"),
            Target::AtLeast(1.5),
        ),
        (
            "put_64k_p50",
            "PUT of 64 KiB, one at a time",
            duel(0.0, 64 << 10, 1, 1),
            "raw MPI relay of 64 KiB".to_owned(),
            Target::AtMost(1.3),
        ),
    ];
    let count = plans.len() as f64;
    for (at, (name, what, duel, against, target)) in plans.into_iter().enumerate() {
        say(&ReportLine::Progress { done: at as f64 / count, now: what.to_owned() });
        let (ours, limit) = duel.fight(front, wanted)?;
        say(&ReportLine::BenchRow(Box::new(compare(name, what, &ours, &limit, &against).wanted(target))));
    }
    Ok(())
}

/// Durations for one at a time, rates for many.
fn compare(name: &str, what: &str, ours: &Samples, limit: &Samples, against: &str) -> BenchRow {
    let row = if name.ends_with("rate") {
        BenchRow::new(name, what, ours.rate(), limit.rate(), "/s", against)
    } else {
        BenchRow::new(name, what, ours.quantile_us(0.5), limit.quantile_us(0.5), "us", against)
    };
    row.with_tails(ours.tail(), Some(limit.tail()))
}

fn sizes<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<(), String> {
    for (at, value_bytes) in SIZES.into_iter().enumerate() {
        let what = format!("PUT of {value_bytes} bytes, one at a time");
        say(&ReportLine::Progress { done: at as f64 / SIZES.len() as f64, now: what.clone() });
        let seconds = wanted.seconds / 2.0;
        let duel = Duel { reads: 0.0, value_bytes, window: 1, raw_window: 1, seconds };
        let (ours, limit) = duel.fight(front, wanted)?;
        let against = format!("raw MPI relay of {value_bytes} bytes");
        say(&ReportLine::BenchRow(Box::new(compare(
            &format!("put_{value_bytes}b_p50"),
            &what,
            &ours,
            &limit,
            &against,
        ))));
    }
    Ok(())
}

fn servers<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<(), String> {
    let count = front.view().map_or(0, |view| view.members().count());
    let plans = [("p50", 1, "one at a time"), ("256_rate", WINDOW, "256 outstanding")];
    for (at, (unit, window, how)) in plans.into_iter().enumerate() {
        let what = format!("PUT with {count} servers, {how}");
        say(&ReportLine::Progress { done: at as f64 / 2.0, now: what.clone() });
        let seconds = wanted.seconds / 2.0;
        let duel = Duel { reads: 0.0, value_bytes: wanted.value_size, window, raw_window: window, seconds };
        let (ours, limit) = duel.fight(front, wanted)?;
        let against = format!("raw MPI over {count} ranks, {window} in flight");
        say(&ReportLine::BenchRow(Box::new(compare(
            &format!("put_{count}_servers_{unit}"),
            &what,
            &ours,
            &limit,
            &against,
        ))));
    }
    Ok(())
}

/// Several clients, each in a process of its own, with the load of the console's `LOAD`.
fn mixes<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<(), String> {
    let plans = [(Workload::C, "reads only"), (Workload::B, "95 % reads"), (Workload::A, "half reads")];
    let reads_only = "YCSB C (reads only) in this run";
    let counted = Duration::from_secs_f64(wanted.seconds / 2.0);
    // So that there is something to read.
    front.order_clients(Some(LoadOrder { workload: Workload::A, per_second: None }))?;
    front.idle(counted.mul_f64(0.5));
    let mut best = 0.0;
    for (at, (workload, how)) in plans.into_iter().enumerate() {
        let what =
            format!("YCSB {workload}, {how}, Zipf keys, {MIX_CLIENTS} clients with {LOAD_WINDOW} outstanding each");
        say(&ReportLine::Progress { done: at as f64 / 3.0, now: what.clone() });
        front.order_clients(Some(LoadOrder { workload, per_second: None }))?;
        front.idle(counted.mul_f64(WARM_SHARE));
        let (from, before) = (clock::now(), front.clients_report()?);
        front.idle(counted);
        let (until, after) = (clock::now(), front.clients_report()?);
        front.order_clients(None)?;
        front.failed += after.unanswered + after.lost + after.duplicated;
        let rate = (after.operations - before.operations) as f64 / until.since(from).as_secs_f64();
        best = if at == 0 { rate } else { best };
        let micros = |share| after.latencies.quantile(share).as_secs_f64() * 1e6;
        let (p50_us, p99_us, p999_us, max_us) = (micros(0.5), micros(0.99), micros(0.999), micros(1.0));
        let count = after.operations;
        let tail = Tail { p50_us, p99_us, p999_us, max_us, count, per_second: rate };
        let name = format!("ycsb_{}_rate", workload.to_string().to_lowercase());
        let row = BenchRow::new(&name, &what, rate, best, "/s", reads_only);
        say(&ReportLine::BenchRow(Box::new(row.with_tails(tail, None))));
    }
    Ok(())
}

// ---- faults ------------------------------------------------------------------------------------

/// Load before the primary dies; long enough for the view to have settled.
const BEFORE_DEATH: Duration = Duration::from_millis(200);
/// Load after it: the servers' reports come a little late.
const AFTER_DEATH: Duration = Duration::from_millis(600);

/// A real SIGKILL of the primary under load. Gives the rank that died.
fn failover<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<Rank, String> {
    let victim = front.view().ok_or("there is no view")?.primary.rank;
    let pid = *front.pids.get(&victim).ok_or("the primary has not said who it is")?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("that is no process")?;
    let mut load = Load::new(13, wanted.keys, 0.5, wanted.value_size);
    let death = clock::now() + BEFORE_DEATH;
    let until = death + AFTER_DEATH;
    let mut killed: Option<Time> = None;
    let mut last = death;
    // The longest time without an answer since the kill, and when it ended.
    let mut outage = (Duration::ZERO, death);
    let mut result = Ok(());
    front.load(&mut load, SEVERAL, &mut |now, _| {
        if killed.is_some() {
            outage = outage.max((now.since(last), now));
        } else if now >= death {
            killed = Some(now);
            result = kill_process(pid, Signal::KILL);
        }
        last = now;
        now < until
    });
    front.idle(AFTER_DEATH / 6);
    result.map_err(|error| format!("the primary cannot be killed: {error}"))?;
    let killed = killed.ok_or("nobody was killed")?;
    let after = |found: Option<Time>| found.map_or(0.0, |at| at.since(killed).as_secs_f64() * 1e3);
    let first = |pick: &dyn Fn(&Event) -> bool| {
        front.events.iter().find(|(at, _, event)| *at >= killed && pick(event)).map(|(at, _, _)| *at)
    };
    say(&ReportLine::FailoverPhases(FailoverPhases {
        suspected_ms: after(first(&|event| matches!(event, Event::Suspected { .. } | Event::KnownDead { .. }))),
        view_ms: after(first(&|event| matches!(event, Event::ViewChanged { .. }))),
        serving_ms: after(first(&|event| matches!(event, Event::Serving { .. }))),
        answered_ms: after(Some(outage.1)),
        outage_ms: outage.0.as_secs_f64() * 1e3,
    }));
    Ok(victim)
}

/// How long it is calm.
const CALM: Duration = Duration::from_secs(60);
const CALM_QUICK: Duration = Duration::from_secs(1);

/// Nothing happens but what the process that started this cluster does: it keeps two cores busy.
fn calm<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) {
    let long = if wanted.quick { CALM_QUICK } else { CALM };
    front.events.clear();
    let until = clock::now() + long;
    while clock::now() < until {
        let left = until.since(clock::now()).as_secs_f64() / long.as_secs_f64();
        say(&ReportLine::Progress { done: 1.0 - left, now: "calm, with two CPU hogs".to_owned() });
        front.idle((long / 20).min(until.since(clock::now())));
    }
    let false_alarm = |event: &Event| {
        let Event::ViewChanged { reason, .. } = event else { return false };
        reason.is_failover() || matches!(reason, Reason::BackupSilent { .. } | Reason::BackupDied { .. })
    };
    let count = front.events.iter().filter(|(_, rank, event)| *rank == METADATA && false_alarm(event)).count();
    let what = format!("living servers suspected in {} s of calm, two CPU hogs on two cores", long.as_secs());
    let row = BenchRow::new("false_suspicions", &what, count as f64, 0.0, "", "none is right");
    say(&ReportLine::BenchRow(Box::new(row.wanted(Target::AtMost(0.0)))));
}

// ---- many keys ---------------------------------------------------------------------------------

/// The targets for a million keys of 16 bytes with values of 64.
const TRANSFER_SECONDS_MAX: f64 = 3.0;
const PAUSE_MS_MAX: f64 = 50.0;
const BYTES_PER_KEY_MAX: f64 = 200.0;
/// Bytes of a value where many keys are stored.
const BULK_VALUE_BYTES: u32 = 64;
/// Memory is looked at after this long without anything happening.
const SETTLE: Duration = Duration::from_millis(300);

fn bulk<T: Transport>(front: &mut Front<'_, T>, wanted: &BenchArgs) -> Result<(), String> {
    let keys = wanted.keys;
    let last = [BULK_KEYS[1], BULK_KEYS_QUICK[1]].contains(&keys);
    let suffix = if last { String::new() } else { format!("_{keys}") };
    let members: Vec<Rank> = front.view().iter().flat_map(|view| view.members()).map(|member| member.rank).collect();
    let resident = |front: &Front<'_, T>| -> Vec<u64> {
        members.iter().map(|rank| front.pids.get(rank).map_or(0, |pid| resident_bytes(*pid))).collect()
    };
    say(&ReportLine::Progress { done: 0.0, now: format!("{keys} keys") });
    front.idle(SETTLE);
    let before = resident(front);
    let begun = clock::now();
    fill(front, keys, BULK_VALUE_BYTES);
    let filled = clock::now().since(begun).as_secs_f64();
    front.idle(SETTLE);
    let grown = before.iter().zip(resident(front)).map(|(before, after)| after.saturating_sub(*before));
    let per_key: Vec<f64> = grown.map(|bytes| bytes as f64 / f64::from(keys)).collect();
    let worst = per_key.iter().copied().fold(0.0, f64::max);
    let what =
        format!("memory per key of {keys} (16 B + 64 B), the worst server ({per_key:.0?}); filled in {filled:.1} s");
    let against = "wanted: 200 B (80 B of them are key and value)";
    let row = BenchRow::new(&format!("memory_per_key{suffix}"), &what, worst, BYTES_PER_KEY_MAX, "B", against);
    say(&ReportLine::BenchRow(Box::new(row.wanted(Target::AtMost(1.0)))));
    say(&ReportLine::Progress { done: 0.5, now: format!("transfer of {keys} keys") });
    transfer(front, keys, last)
}

/// A backup loses its memory and gets everything again, while a client goes on asking.
fn transfer<T: Transport>(front: &mut Front<'_, T>, keys: u32, last: bool) -> Result<(), String> {
    let all = front.view().map_or(0, |view| view.members().count());
    let Some(backup) = front.view().and_then(|view| view.backups.first()).map(|member| member.rank) else {
        return Ok(());
    };
    front.control(backup, Control::Crash)?;
    front.wait_until("the view without the backup", |front| {
        front.view().is_some_and(|view| view.members().count() < all)
    })?;
    front.control(backup, Control::Recover)?;
    let begun = clock::now();
    let number = front.view().map(|view| view.number);
    let mut load = Load::new(17, keys, 0.5, BULK_VALUE_BYTES);
    let mut slowest = Duration::ZERO;
    let mut joined = None;
    while joined.is_none() {
        // Short runs, so that the view can be looked at in between.
        let until = clock::now() + Duration::from_millis(5);
        front.load(&mut load, 1, &mut |now, took| {
            slowest = slowest.max(took);
            now < until
        });
        joined = front.view().filter(|view| Some(view.number) != number && view.members().count() == all).cloned();
        if clock::now().since(begun) > Duration::from_secs(60) {
            return Err("the transfer does not end".to_owned());
        }
    }
    let took = clock::now().since(begun).as_secs_f64();
    let pause = slowest.as_secs_f64() * 1e3;
    let suffix = if last { "1m".to_owned() } else { keys.to_string() };
    let what = format!("transfer of {keys} keys while a client goes on asking");
    let row = BenchRow::new(&format!("transfer_{suffix}"), &what, took, TRANSFER_SECONDS_MAX, "s", "wanted: 3 s");
    say(&ReportLine::BenchRow(Box::new(row.wanted(Target::AtMost(1.0)))));
    let what = format!("the slowest request during the transfer of {keys} keys");
    let row = BenchRow::new(&format!("transfer_{suffix}_pause"), &what, pause, PAUSE_MS_MAX, "ms", "wanted: 50 ms");
    say(&ReportLine::BenchRow(Box::new(row.wanted(Target::AtMost(1.0)))));
    Ok(())
}
