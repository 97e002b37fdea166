//! The cluster over MPI: one loop a rank.
//!
//! | file | what it holds |
//! |---|---|
//! | [`transport`] | frames over MPI, and over sockets to who comes later; the doorbell |
//! | [`turn`] | one turn of a rank's loop, whatever lives on it |
//! | [`server_rank`] | a server's rank |
//! | [`client_rank`] | a further client's rank |
//! | [`console_rank`] | rank 0 |
//! | `ranks` | the ranks as rank 0 knows and governs them |
//! | [`processes`] | their processes, as the operating system sees them |
//! | [`succession`] | who takes the place of a dead process |
//! | [`end`] | how the loop of a rank other than 0 ends |
//! | [`spare`] | how a process waits for rank 0's first word, and a spare for a place |
//! | [`link`] | packets out, packets in, who has to be woken |
//! | [`pace`] | how a rank waits |
//! | [`turns`] | how long a turn takes |
//! | [`clock`], [`log`] | the clock, the log file |

pub mod client_rank;
pub mod clock;
pub mod console_rank;
pub mod end;
pub mod link;
pub mod log;
pub mod pace;
pub mod processes;
mod ranks;
pub mod server_rank;
pub mod spare;
pub mod succession;
pub mod transport;
pub mod turn;
pub mod turns;

pub use console_rank::ConsoleRank;
pub use link::Link;
pub use succession::Respawn;
