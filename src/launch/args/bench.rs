//! What can be asked of the benchmark.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The words after `understudy bench`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct BenchArgs {
    /// How many servers hold the data.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub servers: u32,

    /// Bytes of a value.
    #[arg(long, default_value_t = 64, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub value_size: u32,

    /// How many keys the requests are about.
    #[arg(long, default_value_t = 10_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,

    /// How long each figure is measured, half of it for the limit.
    #[arg(long, default_value_t = 4.0, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: f64,

    /// How often the primary is killed.
    #[arg(long, default_value_t = 20, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub failover: u32,

    /// Measure only this; may be repeated.
    #[arg(long, value_enum, value_name = "PART")]
    pub only: Vec<BenchPart>,

    /// A glance instead of a measurement: everything very short, figures good for nothing but a look.
    #[arg(long)]
    pub quick: bool,

    /// Write the figures here as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Compare with the figures of an earlier run.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Draw latencies against their limits, and the phases of the failovers, as SVG.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Draw the SVG from this JSON of an earlier run, and measure nothing.
    #[arg(long, value_name = "FILE", requires = "svg")]
    pub plot: Option<PathBuf>,

    /// This process is the launcher of one part's cluster.
    #[arg(long, value_enum, hide = true)]
    pub part: Option<BenchPart>,
}

/// Measurements that share a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum BenchPart {
    /// GET and PUT, one at a time and many at once.
    Speed,
    /// How the cost grows with bytes.
    Sizes,
    /// How the cost grows with backups.
    Servers,
    /// YCSB A, B and C.
    Mixes,
    /// The primary is killed under load.
    Failover,
    /// Nothing happens but two programs that want all of both cores.
    Calm,
    /// Many keys: memory, and the transfer of the state.
    Bulk,
    /// What an idle cluster costs.
    Idle,
    /// The door beside Redis with a replica, if redis-server and redis-benchmark are installed.
    Door,
    /// What `--data` costs with each policy of `--fsync`, beside no disk, plain writing and syncing, and Redis.
    Disk,
}

impl BenchArgs {
    /// Whether figures of an earlier run are all that is asked for.
    #[must_use]
    pub fn measures_nothing(&self) -> bool {
        self.plot.is_some()
    }
}

impl BenchPart {
    /// In the order in which they are measured.
    pub const ALL: [BenchPart; 10] = [
        Self::Speed,
        Self::Sizes,
        Self::Servers,
        Self::Mixes,
        Self::Bulk,
        Self::Failover,
        Self::Idle,
        Self::Door,
        Self::Disk,
        Self::Calm,
    ];

    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.02..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, 0.02 to 600".into()),
    }
}
