//! What can be asked of a cluster, and what it tells, whoever runs it: MPI or the simulator.
//!
//! | file | what it holds |
//! |---|---|
//! | [`desk`] | where the console hands in its wishes |
//! | [`news`] | what rank 0 tells |
//! | [`why`] | what to say when nobody is served |

pub mod desk;
pub mod news;
pub mod why;

pub use desk::{Ask, ClusterStatus, Desk, Executed, RankStatus};
pub use news::News;
