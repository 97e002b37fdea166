//! The whole cluster in one thread on virtual time.
//!
//! The simulator runs the very hosts that run over MPI ([`crate::driver::host`]) and decides, from one
//! seed, how long every message travels and what goes wrong. After every step it checks what must always
//! hold ([`invariants`]); at the end it lets all faults end and demands that the cluster heals. So a
//! failing run is a seed, and a seed is a bug report.
//!
//! | file | what it holds |
//! |---|---|
//! | [`world`] | virtual time, the network, the cluster |
//! | [`chaos`] | a random run: operations and faults, then healing |
//! | [`coverage`] | which faults and situations a run has met |
//! | [`happening`] | what happens, line by line, in the common notation |
//! | [`invariants`] | the properties, one a file |
//! | [`stage`] | the cluster with an audience: console and dashboard without MPI |
//!
//! # Caveats
//!
//! All clocks run at the same rate. A message is delivered whole or not at all, and every message is a
//! turn of its own: the batching of the real loop is covered by the tests over MPI.

pub mod chaos;
pub mod coverage;
pub mod happening;
pub mod invariants;
pub mod stage;
pub mod world;

pub use chaos::{Chaos, Outcome, Report, Script, replay, run};
pub use coverage::{Coverage, Fault, Situation};
pub use happening::{Happening, Record, What};
pub use stage::{SimStage, VirtualClock};
pub use world::World;
