//! The command line.

pub mod bench;
pub mod door;
pub mod fuzz;
pub mod log;
pub mod tour;

pub use bench::BenchArgs;
pub use door::DoorArgs;
pub use fuzz::FuzzArgs;
pub use log::LogArgs;
pub use tour::TourArgs;

use crate::core::disk::Fsync;
use crate::core::protocol::Rule;
use crate::ui::dashboard::ThemeName;
use clap::builder::ArgPredicate;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// The headings of `--help`.
const CLUSTER: &str = "Cluster";
const FAULTS: &str = "Faults";
const DISPLAY: &str = "Display";
const SCRIPTS: &str = "Scripts";
const FILES: &str = "Files";
/// The options that give a cluster disks.
const DISKS: &str = "kept";

/// A fault-tolerant key-value store on MPI that you can break on purpose and watch survive.
///
/// Without further words it starts one metadata server with the console (rank 0) and the servers
/// (ranks 1..N) under mpirun, and opens the console in this terminal.
#[derive(Debug, Clone, Parser)]
#[command(version, max_term_width = 100, subcommand_value_name = "TOOL", subcommand_help_heading = "Tools")]
pub struct Args {
    /// How many servers hold the data.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    #[arg(help_heading = CLUSTER)]
    pub servers: u32,

    /// How many servers a write waits for, at most; the others stay idle until one of these is lost [default: all].
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=8), help_heading = CLUSTER)]
    pub replicas: Option<u32>,

    /// How many further ranks are clients, for LOAD; without any, the console's own client works.
    #[arg(long, default_value_t = 0, value_name = "M", value_parser = clap::value_parser!(u32).range(0..=8))]
    #[arg(help_heading = CLUSTER)]
    pub clients: u32,

    /// Refuse what would store more than this (200M, 2G); reads and removals go on [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = CLUSTER)]
    pub max_memory: Option<u64>,

    /// Start the ranks on the hosts that this file names, one a line, this machine first.
    #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
    pub hostfile: Option<PathBuf>,

    /// Slows all timeouts down by this factor (0.5 to 100), to watch a failover in slow motion.
    #[arg(long, default_value_t = 1.0, value_name = "X", value_parser = pace, help_heading = CLUSTER)]
    pub pace: f64,

    /// Play the cluster in the simulator, in this process: no MPI needed.
    #[arg(long, help_heading = CLUSTER)]
    pub sim: bool,

    /// With --sim: every server and the metadata server have a simulated disk, for this session: see POWERCUT, WIPE.
    #[arg(long, requires = "sim", conflicts_with = "watch", group = DISKS, help_heading = CLUSTER)]
    pub disks: bool,

    /// With --sim: watch the run that `fuzz` makes of this seed, in slow motion.
    #[arg(long, requires = "sim", help_heading = CLUSTER)]
    pub watch: bool,

    /// Probability with which each request makes the primary crash, 0 to 1; the last server with the data is spared.
    /// With --door 0 unless given.
    #[arg(long, default_value_t = 0.2, value_name = "P", value_parser = probability, help_heading = FAULTS)]
    #[arg(default_value_if("address", ArgPredicate::IsPresent, "0"))]
    pub failure_rate: f64,

    /// Seed of all random choices; the same seed and commands give the same failures. Random if not given, and shown.
    #[arg(long, value_name = "SEED", help_heading = FAULTS)]
    pub seed: Option<u64>,

    /// A crashed server restarts by itself after this many seconds; 0 at once, `never` only by RECOVER.
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = recover_after, help_heading = FAULTS)]
    pub recover_after: RecoverAfter,

    /// Start no process in the place of one that was killed; RECOVER does.
    #[arg(long, help_heading = FAULTS)]
    pub no_respawn: bool,

    /// How many further processes sleep from the start, to take the place of killed servers at once [default: 2]. When
    /// none is left, a new process is started.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(0..=8), help_heading = FAULTS)]
    pub spares: Option<u32>,

    #[arg(long, value_name = "RULE", help = without_help(), help_heading = FAULTS)]
    pub without: Vec<Rule>,

    /// A door for other programs.
    #[command(flatten)]
    pub door: DoorArgs,

    /// Draw with ASCII characters only.
    #[arg(long, help_heading = DISPLAY)]
    pub ascii: bool,

    /// Colours of the dashboard.
    #[arg(long, value_enum, default_value_t = ThemeName::Dark, value_name = "NAME", help_heading = DISPLAY)]
    pub theme: ThemeName,

    /// For the back row of a class: big numbers for view, primary and failover, and fewer panels.
    #[arg(long, help_heading = DISPLAY)]
    pub present: bool,

    /// Do not animate messages.
    #[arg(long, help_heading = DISPLAY)]
    pub no_animation: bool,

    /// Run this line as if it was typed, and leave; may be repeated.
    #[arg(short = 'c', long, value_name = "LINE", help_heading = SCRIPTS)]
    pub command: Vec<OsString>,

    /// Line mode: one command a line in, one answer a line out, no dashboard. Also when stdin or stdout is no terminal.
    #[arg(long, help_heading = SCRIPTS)]
    pub plain: bool,

    /// Write every client operation to this file, a line of JSON each.
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub history: Option<PathBuf>,

    /// Write what the screen is told to this file, for `understudy replay FILE`.
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub record: Option<PathBuf>,

    /// Keep what was acknowledged in this folder, each rank on its own host: the next start finds it again.
    #[arg(long, value_name = "DIR", conflicts_with = "sim", group = DISKS, help_heading = FILES)]
    pub data: Option<PathBuf>,

    /// With --data or --disks: when what was written is brought to the disk. `always`: before it is acknowledged, so
    /// that a power cut loses nothing; `everysec`: once a second; `no`: when the system likes.
    #[arg(long, value_enum, default_value = "everysec", value_name = "WHEN", help_heading = FILES)]
    #[arg(requires = DISKS)]
    pub fsync: FsyncArg,

    /// Where logs and the command history are kept.
    #[arg(long, value_name = "DIR", help_heading = FILES)]
    pub log_dir: Option<PathBuf>,

    /// For processes that rank 0 starts itself: the rank whose place they take, and how many ranks there are.
    #[arg(long, hide = true, value_name = "RANK/RANKS", value_parser = place)]
    pub replaces: Option<RankPlace>,

    /// For tests: with --data, disks fail as a file in their folder says.
    #[arg(long, hide = true, requires = "data")]
    pub brittle_disks: bool,

    /// Something other than the console.
    #[command(subcommand)]
    pub tool: Option<Tool>,
}

/// What this program can do beside the console.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Tool {
    /// Measure the store against plain MPI, on this machine: about seven minutes, or a glance with --quick.
    #[command(hide = cfg!(not(feature = "mpi")))]
    Bench(BenchArgs),
    /// Run the cluster in the simulator under random faults, seed by seed, until a property is violated or none is.
    Fuzz(FuzzArgs),
    /// Run the cluster without a console, for a service manager: `understudy serve --door 6379`, with the same options.
    /// Events go to stderr, one line to stdout says that it is ready, and TERM or INT ends it in order.
    #[command(hide = cfg!(not(feature = "mpi")))]
    Serve,
    /// Play a recording (`--record FILE`) on this terminal: freeze, step, back. Without a terminal, print its events.
    Replay {
        /// The recording.
        file: PathBuf,
    },
    /// Scenes for a class: a question, a guess, and then what happens, in the simulator, always the same way.
    Tour(TourArgs),
    /// Print the log that a server, or a whole cluster, keeps in a folder (`--data DIR`); exit status 1 if it is
    /// damaged.
    Log(LogArgs),
    /// For a lecturer, in a second terminal: the question of the tour that is on, what is right, what to say, the time.
    Notes,
    /// Print the manual page: `understudy man | man -l -`.
    Man,
    /// Print what a shell needs to complete our options: bash, zsh, fish, elvish or powershell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

impl Args {
    /// No console: somebody else looks after this.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.tool == Some(Tool::Serve)
    }

    /// How many ranks behind the servers are clients of the cluster: those for the load, and doors, which come last.
    #[must_use]
    pub fn client_ranks(&self) -> u32 {
        self.clients + self.door.doors
    }

    /// What the options mean together.
    ///
    /// # Errors
    /// What one of them needs.
    pub fn check(&self) -> Result<(), String> {
        let (without, has_disks) = match &self.tool {
            Some(Tool::Fuzz(wanted)) => (&wanted.without, wanted.disk),
            _ => (&self.without, self.data.is_some() || self.disks),
        };
        let idle = without.iter().filter(|_| !has_disks).find_map(|rule| rule.idle_without_disks());
        idle.map_or_else(|| self.door.check(), |why| Err(format!("--without: {why}")))
    }
}

/// When what was written is brought to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FsyncArg {
    /// Before it is acknowledged.
    Always,
    /// Once a second.
    Everysec,
    /// When the system likes.
    No,
}

impl From<FsyncArg> for Fsync {
    fn from(arg: FsyncArg) -> Self {
        match arg {
            FsyncArg::Always => Self::Always,
            FsyncArg::Everysec => Self::EverySecond,
            FsyncArg::No => Self::Never,
        }
    }
}

/// What `--without` is for, with the names of the rules.
pub(crate) fn without_help() -> String {
    format!(
        "Switch a rule of the protocol off, to see what it is for; may be repeated. The store is not safe then. The \
         rules: {}",
        Rule::names()
    )
}

/// Whose place a replacement takes, among how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankPlace {
    /// The rank.
    pub rank: u32,
    /// How many ranks there are.
    pub ranks: u32,
}

/// When a crashed server starts again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RecoverAfter {
    /// By itself, after this many seconds.
    Seconds(f64),
    /// Only by command.
    Never,
}

fn place(text: &str) -> Result<RankPlace, String> {
    let numbers = text.split_once('/').and_then(|(rank, ranks)| Some((rank.parse().ok()?, ranks.parse().ok()?)));
    match numbers {
        Some((rank, ranks)) if 0 < rank && rank < ranks => Ok(RankPlace { rank, ranks }),
        _ => Err("this is for processes that rank 0 starts itself".into()),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("give a probability between 0 and 1, such as 0.2".into()),
    }
}

/// A size in bytes: a number, and perhaps K, M, G or T for the powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: give bytes, or a number with K, M, G or T behind it");
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches('b').trim_end_matches(['k', 'm', 'g', 't']);
    let shift = match lower.trim_end_matches('b').strip_prefix(digits).ok_or_else(wrong)? {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

fn pace(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(pace) if (0.5..=100.0).contains(&pace) => Ok(pace),
        _ => Err("give a factor between 0.5 and 100, such as 10".into()),
    }
}

fn recover_after(text: &str) -> Result<RecoverAfter, String> {
    if text == "never" {
        return Ok(RecoverAfter::Never);
    }
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(RecoverAfter::Seconds(seconds)),
        _ => Err("give seconds (0 to 86400), or `never`".into()),
    }
}
