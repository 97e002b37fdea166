//! The loop that runs a node on a transport.
//!
//! ```text
//!   ┌─▶ receive packets ─▶ look at the clock ─▶ host: messages, orders, time ─▶ frames leave ─▶ wait ─┐
//!   └────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`host`] | what lives on a rank, still a plain value; the simulator runs the same |
//! | [`outlet`] | the way out of a host: past injected network faults |
//! | [`observer`] | what a rank has to tell, bounded |
//! | [`server_rank`] | the loop of a server's rank |
//! | [`client_rank`] | the loop of a further client's rank |
//! | [`console_rank`] | the loop of rank 0 |
//! | [`succession`] | who takes the place of a dead process |
//! | [`end`] | how the loop of a rank other than 0 ends |
//! | [`spare`] | how a process waits for rank 0's first word, and a spare for a place |
//! | [`why`] | what to say when nobody is served |
//! | [`desk`] | where the console hands in its wishes |
//! | [`link`] | packets out, packets in, who has to be woken |
//! | [`pace`] | how a rank waits |
//! | [`turns`] | how long a turn takes |
//! | [`brief`](mod@brief) | the beginning of something's words |
//! | [`clock`], [`log`] | the clock, the log file |

pub mod brief;
pub mod client_rank;
pub mod clock;
pub mod console_rank;
pub mod desk;
pub mod end;
pub mod host;
pub mod link;
pub mod log;
pub mod observer;
pub mod outlet;
pub mod pace;
pub mod server_rank;
pub mod spare;
pub mod succession;
pub mod turns;
pub mod why;

pub use crate::protocol::{Outcome, ViewRecord};
pub use console_rank::{ConsoleRank, News};
pub use desk::{Ask, ClusterStatus, Desk, Executed, RankStatus};
pub use host::{FrontHost, ServerHost, Setup, Sink};
pub use link::Link;
pub use succession::Respawn;
