//! `understudy fuzz`: seeds on all cores until one fails, or none does.
//!
//! Every seed is a run of its own ([`crate::sim::chaos`]), so cores need not talk to each other. The first
//! failing seed is made smaller before it is shown: fewer clients, fewer requests, fewer faults, as long as
//! the same property is violated. What is shown at the end repeats it.

use crate::launch::args::FuzzArgs;
use crate::sim::invariants::Violation;
use crate::sim::{Chaos, Coverage, Happening, Recall, RunOutcome, RunReport, replay, run};
use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A failing seed is run at most this often to make it smaller.
const SHRINK_RUNS_MAX: usize = 300;
/// More faults than any run meets: a limit on them begins here to be made smaller.
const SHRINK_FAULTS_START: u32 = 512;
/// The progress is shown this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Without a terminal, this often.
const PROGRESS_LINE_INTERVAL: Duration = Duration::from_secs(10);
const BAR_CELLS: usize = 30;

/// What to run.
#[derive(Debug, Clone)]
pub struct FuzzOptions {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// Begin no run after this long.
    pub duration: Option<Duration>,
    /// What kind of runs.
    pub chaos: Chaos,
    /// How many at a time.
    pub threads: usize,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Runs finished.
    pub seeds: u64,
    /// Operations finished.
    pub operations: u64,
    /// Since the beginning.
    pub elapsed: Duration,
}

impl Progress {
    /// Operations a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }
}

/// A seed that failed, made small.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What went wrong, in the small run.
    pub violation: Violation,
    /// The small run.
    pub chaos: Chaos,
    /// The end of the small run.
    pub last: Vec<Happening>,
}

/// What came of it.
#[derive(Debug)]
pub struct FuzzReport {
    /// Runs and operations in all.
    pub progress: Progress,
    /// Faults and situations in all.
    pub coverage: Coverage,
    /// The lowest seed that failed, if one did.
    pub failure: Option<Failure>,
}

/// Runs seeds on all threads, until one fails.
pub fn fuzz(options: &FuzzOptions, progress: &mut dyn FnMut(Progress)) -> FuzzReport {
    let begun = Instant::now();
    let next = AtomicU64::new(options.seeds.start);
    let over = || options.duration.is_some_and(|limit| begun.elapsed() >= limit);
    let (mut seeds, mut operations, mut coverage) = (0, 0, Coverage::default());
    let mut failed: Option<u64> = None;
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for _ in 0..options.threads.max(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.seeds.end || over() {
                        return;
                    }
                    let _ = sender.send((seed, run_or_panic(seed, &options.chaos)));
                }
            });
        }
        drop(sender);
        for (seed, report) in results {
            seeds += 1;
            operations += report.operations as u64;
            coverage.add(&report.coverage);
            if report.outcome != RunOutcome::Clean {
                // Seeds below it are already under way, and one of them may fail too.
                next.store(options.seeds.end, Ordering::Relaxed);
                failed = Some(failed.map_or(seed, |lowest| lowest.min(seed)));
            }
            progress(Progress { seeds, operations, elapsed: begun.elapsed() });
        }
    });
    let progress = Progress { seeds, operations, elapsed: begun.elapsed() };
    let failure = failed.and_then(|seed| shrink(seed, &options.chaos));
    FuzzReport { progress, coverage, failure }
}

/// A run; an assertion of the protocol that fails is a finding like any other.
fn run_or_panic(seed: u64, chaos: &Chaos) -> RunReport {
    catch_unwind(AssertUnwindSafe(|| run(seed, chaos))).unwrap_or_else(|panic| RunReport {
        outcome: RunOutcome::Violated(Violation::new("panic", words(&*panic))),
        operations: 0,
        coverage: Coverage::default(),
    })
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "an assertion".into())
}

/// The smallest run of this seed that can be found quickly and violates the same property.
#[must_use]
pub fn shrink(seed: u64, chaos: &Chaos) -> Option<Failure> {
    let violation_of = |chaos: &Chaos| match run_or_panic(seed, chaos).outcome {
        RunOutcome::Violated(violation) => Some(violation),
        RunOutcome::Clean => None,
    };
    let mut violation = violation_of(chaos)?;
    let mut small = chaos.clone();
    let mut runs = 0;
    'smaller: while runs < SHRINK_RUNS_MAX {
        for candidate in smaller(&small) {
            runs += 1;
            if let Some(found) = violation_of(&candidate).filter(|found| found.invariant == violation.invariant) {
                (small, violation) = (candidate, found);
                continue 'smaller;
            }
        }
        break;
    }
    let last = catch_unwind(AssertUnwindSafe(|| replay(seed, &small, Recall::Recent).1)).unwrap_or_default();
    Some(Failure { seed, violation, chaos: small, last })
}

/// Runs that are a step smaller, the boldest first.
fn smaller(chaos: &Chaos) -> Vec<Chaos> {
    let steps = |n: u32, least: u32| {
        let mut steps = vec![n / 4, n / 2, n - n / 4, n - n / 8, n.saturating_sub(1)];
        steps.retain(|step| *step >= least && *step < n);
        steps.dedup();
        steps
    };
    let mut all = Vec::new();
    let faults = chaos.faults.min(SHRINK_FAULTS_START);
    all.extend(steps(chaos.operations, 1).into_iter().map(|operations| Chaos { operations, ..chaos.clone() }));
    all.extend(steps(faults, 0).into_iter().map(|faults| Chaos { faults, ..chaos.clone() }));
    all.extend(steps(chaos.clients, 1).into_iter().map(|clients| Chaos { clients, ..chaos.clone() }));
    let troubles = chaos.troubles.min(SHRINK_FAULTS_START);
    all.extend(steps(troubles, 0).into_iter().map(|troubles| Chaos { troubles, ..chaos.clone() }));
    all.extend((chaos.clocks != 1.0).then(|| Chaos { clocks: 1.0, ..chaos.clone() }));
    all.extend(chaos.load.then(|| Chaos { load: false, ..chaos.clone() }));
    all.extend((chaos.work != 0.0).then(|| Chaos { work: 0.0, ..chaos.clone() }));
    let window = u32::try_from(chaos.window).unwrap_or(u32::MAX);
    all.extend(steps(window, 1).into_iter().map(|window| Chaos { window: window as usize, ..chaos.clone() }));
    all
}

/// Runs what the arguments ask for and tells how it went: 0 when every seed was clean, 1 when one failed.
#[must_use]
pub fn main(args: &FuzzArgs) -> ExitCode {
    let chaos = args.chaos();
    let told = if args.trace { trace(&args.seeds, &chaos) } else { tell(args, chaos) };
    told.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    })
}

fn trace(seeds: &Range<u64>, chaos: &Chaos) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    for seed in seeds.clone() {
        let (outcome, happenings) = replay(seed, chaos, Recall::Everything);
        writeln!(out, "─ seed {seed}")?;
        for happening in happenings {
            writeln!(out, "{:>14} {happening}", happening.at)?;
        }
        match outcome {
            RunOutcome::Clean => writeln!(out, "─ seed {seed} is clean")?,
            RunOutcome::Violated(violation) => {
                writeln!(out, "─ seed {seed} violates {violation}")?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn tell(args: &FuzzArgs, chaos: Chaos) -> io::Result<ExitCode> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds = if args.duration.is_some() { fresh_seeds() } else { args.seeds.clone() };
    let options = FuzzOptions { seeds, duration: args.duration, chaos, threads };
    let mut bar = FuzzBar::new(&options);
    let report = fuzz(&options, &mut |progress| bar.show(progress));
    bar.end();
    let mut out = io::stdout().lock();
    let Progress { seeds, operations, elapsed } = report.progress;
    let (rate, seconds) = (report.progress.rate(), elapsed.as_secs_f64());
    writeln!(out, "{seeds} seeds, {operations} operations in {seconds:.1} s: {rate:.0} a second on {threads} cores")?;
    write!(out, "{}", CoverageTable(&report.coverage))?;
    match report.failure {
        None => {
            writeln!(out, "\nall clean")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(failure) => {
            writeln!(out, "\n{failure}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Seeds that were probably never run before.
fn fresh_seeds() -> Range<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() << 20..u64::MAX
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for happening in &self.last {
            writeln!(f, "{:>14} {happening}", happening.at)?;
        }
        writeln!(f, "\nseed {} violates {}", self.seed, self.violation)?;
        let command = self.chaos.command(self.seed);
        write!(f, "repeat it with: {command}\nwatch it with:  {command} --watch")
    }
}

/// Faults and situations with their counts.
struct CoverageTable<'a>(&'a Coverage);

impl std::fmt::Display for CoverageTable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = |f: &mut std::fmt::Formatter<'_>, name: &str, count: u64| match count {
            0 => writeln!(f, "{:>10} {name}", "never"),
            _ => writeln!(f, "{count:>10} {name}"),
        };
        writeln!(f, "\nfaults")?;
        let mut injected = self.0.faults().filter(|(fault, count)| *count > 0 || !fault.is_of_disks());
        injected.try_for_each(|(fault, count)| row(f, fault.name(), count))?;
        writeln!(f, "\nsituations")?;
        // Those of disks are met only where there are some, and those of sessions that end likewise.
        let mut met = self.0.situations().filter(|(situation, count)| *count > 0 || !situation.is_special());
        met.try_for_each(|(situation, count)| row(f, situation.name(), count))?;
        writeln!(f, "\nthe longest turn works {:.1?} on an ordinary machine", self.0.longest_turn)
    }
}

/// The progress, on standard error.
struct FuzzBar {
    total: Option<u64>,
    limit: Option<Duration>,
    terminal: bool,
    shown: Option<Instant>,
}

impl FuzzBar {
    fn new(options: &FuzzOptions) -> Self {
        let total = options.duration.is_none().then(|| options.seeds.end - options.seeds.start);
        Self { total, limit: options.duration, terminal: io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, progress: Progress) {
        let interval = if self.terminal { PROGRESS_INTERVAL } else { PROGRESS_LINE_INTERVAL };
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) || (self.shown.is_none() && !self.terminal) {
            self.shown.get_or_insert_with(Instant::now);
            return;
        }
        self.shown = Some(Instant::now());
        let done = match (self.total, self.limit) {
            (Some(total), _) => progress.seeds as f64 / total as f64,
            (None, Some(limit)) => progress.elapsed.as_secs_f64() / limit.as_secs_f64(),
            (None, None) => 0.0,
        };
        let cells = ((done * BAR_CELLS as f64) as usize).min(BAR_CELLS);
        let bar = "█".repeat(cells) + &"░".repeat(BAR_CELLS - cells);
        let line = format!("{bar} {} seeds, {:.0} operations/s", progress.seeds, progress.rate());
        let (start, end) = if self.terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        let _ = write!(io::stderr(), "{start}{line}{end}");
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Rule, Rules};

    #[test]
    fn a_failing_seed_is_found_made_small_and_repeats() {
        let mut rules = Rules::default();
        rules.set(Rule::Sessions, false);
        let chaos = Chaos { rules, ..Chaos::default() };
        let options = FuzzOptions { seeds: 0..200, duration: None, chaos, threads: 2 };
        let failure = fuzz(&options, &mut |_| {}).failure.expect("without sessions a request takes effect twice");
        assert!(failure.chaos.operations < 300, "{failure}");
        assert_eq!(run(failure.seed, &failure.chaos).outcome, RunOutcome::Violated(failure.violation.clone()));
    }
}
