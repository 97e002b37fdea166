//! What can be asked of a cluster, and what it tells, whoever runs it: MPI or the simulator.
//!
//! | file | what it holds |
//! |---|---|
//! | [`branch`] | what has happened otherwise, where time is virtual |
//! | [`desk`] | where the console hands in its wishes |
//! | [`lodger`] | who lives in a rank's loop and asks the cluster for others |
//! | [`news`] | what rank 0 tells |
//! | [`service`] | the service of rank 0, written once |
//! | [`standing`] | how a server is, in one word |
//! | [`underway`] | a message on its way, where that can be seen |
//! | [`why`] | what to say when nobody is served |

pub mod branch;
pub mod desk;
pub mod lodger;
pub mod news;
pub mod service;
pub mod standing;
pub mod underway;
pub mod why;

pub use branch::Branch;
pub use desk::{Ask, ClusterStatus, Desk, Executed, Post, RankStatus};
pub use lodger::{DoorFigures, DoorWord, Facts, Lodger, ServerFacts, Sight};
pub use news::{LiveVerdict, News};
pub use service::{Cluster, Service};
pub use standing::Standing;
pub use underway::Underway;
