//! What can be asked of the tour.

use clap::Args;

/// The arguments of `understudy tour`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TourArgs {
    /// The scene to begin with: its number, its name, or a file of your own; with --check and --plain, any number of
    /// them [default: the first, or all].
    #[arg(value_name = "SCENE")]
    pub scenes: Vec<String>,

    /// List the scenes: those of the lecture, and one for each rule of the protocol.
    #[arg(long, conflicts_with_all = ["check", "plain", "mpi", "scenes"])]
    pub list: bool,

    /// Play them and say which come out as they say; the exit status is 1 when one does not.
    #[arg(long)]
    pub check: bool,

    /// Tell them in plain words, for logs and screen readers. On a terminal each waits for your guess.
    #[arg(long, conflicts_with = "check")]
    pub plain: bool,

    /// Play them over MPI: with --check those that prove something there, else one.
    #[arg(long, hide = cfg!(not(feature = "mpi")))]
    pub mpi: bool,
}
