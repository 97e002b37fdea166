//! The loop that runs a node on a transport.

pub mod desk;

pub use desk::{Ask, ClusterStatus, Desk, Outcome, RankStatus, ViewRecord};
