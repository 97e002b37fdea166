//! The loop that runs a node on a transport.

pub mod desk;
pub mod host;
pub mod observer;
pub mod outlet;

pub use crate::protocol::{Outcome, ViewRecord};
pub use desk::{Ask, ClusterStatus, Desk, RankStatus};
pub use host::{FrontHost, ServerHost, Setup, Sink};
