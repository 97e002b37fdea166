//! What can be asked of the fuzzer.

use crate::core::protocol::{Rule, Rules};
use crate::sim::{Chaos, clock};
use std::ops::Range;
use std::time::Duration;

/// Clocks that differ by more than this have nothing to do with clocks.
const CLOCKS_MAX: f64 = 10.0;
/// With more work than this nothing is ever done.
const WORK_MAX: f64 = 1_000.0;

/// The arguments of `understudy fuzz`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct FuzzArgs {
    /// Which seeds: `A..B` without B, or one alone.
    #[arg(long, default_value = "0..1000", value_name = "A..B", value_parser = seeds, conflicts_with = "duration")]
    pub seeds: Range<u64>,

    /// Run fresh seeds for so long instead (`60s`, `5m`).
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// How many servers.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub servers: u32,

    /// How many clients.
    #[arg(long, default_value_t = 3, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub clients: u32,

    /// Requests in every run.
    #[arg(long, default_value_t = 300, value_name = "O", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub operations: u32,

    /// The most requests that a client has outstanding.
    #[arg(long, default_value_t = 4, value_name = "W", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub window: u32,

    /// At most this many faults in every run.
    #[arg(long, value_name = "F")]
    pub faults: Option<u32>,

    /// At most this many troubles with the machines (stalls, sleep, messages astray) in every run.
    #[arg(long, value_name = "T")]
    pub troubles: Option<u32>,

    /// The rates of two clocks differ by less than this factor; beyond the default things go wrong.
    #[arg(long, default_value_t = clock::RATES_PROMISED, value_name = "R", value_parser = clocks)]
    pub clocks: f64,

    /// Turns take this many times what they would take else; 0: no time at all.
    #[arg(long, default_value_t = 1.0, value_name = "W", value_parser = work)]
    pub work: f64,

    /// In some runs clients ask all the time, and must be served as well as before when all is over; takes longer.
    #[arg(long)]
    pub load: bool,

    /// Clients ask for values of every kind as well: lists, sets, hashes, sorted sets, expiry, EXEC.
    #[arg(long)]
    pub values: bool,

    /// Every server has a disk: everything is killed at once now and then, the power fails, logs are damaged.
    #[arg(long)]
    pub disk: bool,

    /// Several clients live on a rank, and sessions end: after a short silence, and by their clients' own will.
    #[arg(long)]
    pub sessions: bool,

    #[arg(long, value_name = "RULE", help = super::without_help())]
    pub without: Vec<Rule>,

    /// Watch the first seed on the dashboard, in slow motion.
    #[arg(long, conflicts_with_all = ["duration", "trace"])]
    pub watch: bool,

    /// Tell everything that happens, seed by seed.
    #[arg(long)]
    pub trace: bool,
}

impl FuzzArgs {
    /// What kind of runs.
    #[must_use]
    pub fn chaos(&self) -> Chaos {
        Chaos {
            servers: self.servers,
            clients: self.clients,
            operations: self.operations,
            window: self.window as usize,
            faults: self.faults.unwrap_or(u32::MAX),
            troubles: self.troubles.unwrap_or(u32::MAX),
            clocks: self.clocks,
            work: self.work,
            load: self.load,
            values: self.values,
            disks: self.disk,
            sessions: self.sessions,
            lingers: false,
            rules: Rules::without(&self.without),
        }
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = match text.split_once("..") {
        Some((from, to)) => from.parse().ok().zip(to.parse().ok()),
        None => text.parse().ok().and_then(|seed: u64| Some((seed, seed.checked_add(1)?))),
    };
    match range {
        Some((from, to)) if from < to => Ok(from..to),
        _ => Err("give seeds such as 0..1000, or one such as 7".into()),
    }
}

fn clocks(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (1.0..=CLOCKS_MAX).contains(ratio));
    ratio.ok_or_else(|| format!("give a factor from 1 (all alike) to {CLOCKS_MAX}"))
}

fn work(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (0.0..=WORK_MAX).contains(factor));
    factor.ok_or_else(|| format!("give a factor from 0 (no time at all) to {WORK_MAX}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let unit = |suffix: &str, seconds: u64| {
        let number: u64 = text.strip_suffix(suffix)?.parse().ok()?;
        number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    };
    unit("s", 1).or_else(|| unit("m", 60)).or_else(|| unit("h", 3600)).ok_or("give a time such as 60s or 5m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        assert_eq!(seeds("3..9"), Ok(3..9));
        assert_eq!(seeds("7"), Ok(7..8));
        assert!(["", "9..3", "3..", "a", "18446744073709551615"].iter().all(|text| seeds(text).is_err()));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(["", "5", "s", "0s", "99999999999999999999h"].iter().all(|text| duration(text).is_err()));
    }
}
