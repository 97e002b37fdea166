//! The cluster over MPI: one loop a rank.
//!
//! ```text
//!   ┌─▶ receive packets ─▶ look at the clock ─▶ host: messages, orders, time ─▶ frames leave ─▶ wait ─┐
//!   └────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`transport`] | frames over MPI, and over sockets to who comes later; the doorbell |
//! | [`server_rank`] | the loop of a server's rank |
//! | [`client_rank`] | the loop of a further client's rank |
//! | [`console_rank`] | the loop of rank 0 |
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
pub mod server_rank;
pub mod spare;
pub mod succession;
pub mod transport;
pub mod turns;

pub use console_rank::ConsoleRank;
pub use link::Link;
pub use succession::Respawn;
