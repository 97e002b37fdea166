//! What can be asked of the reader of logs.

use std::path::PathBuf;

/// The arguments of `understudy log`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct LogArgs {
    /// The folder of a server, or the one that `--data` named.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// A line of JSON for each record.
    #[arg(long)]
    pub json: bool,

    /// Print no records: judge checksums, the chain of hashes, and what the writes come to.
    #[arg(long, conflicts_with = "json")]
    pub verify: bool,
}
