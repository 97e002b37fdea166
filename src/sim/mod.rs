//! The whole cluster in one thread on virtual time.
//!
//! The simulator runs the very hosts that run over MPI ([`crate::core::node::host`]) and decides, from one
//! seed, how long every message travels and what goes wrong. After every step it checks what must always
//! hold ([`invariants`]); at the end it lets all faults end and demands that the cluster heals. So a
//! failing run is a seed, and a seed is a bug report.
//!
//! | file | what it holds |
//! |---|---|
//! | [`world`] | virtual time, the cluster |
//! | [`machine`], [`clock`] | the computer under a rank: when it has a turn, and what time it believes it is |
//! | [`work`] | how long a turn takes |
//! | [`network`] | messages on their way, late ones and doubled ones among them |
//! | `linger`, `shuttle` | acknowledgements that come late by views, and many views of the same servers |
//! | [`platter`] | a disk that breaks |
//! | [`acts`] | single acts on one message, or one timer |
//! | [`recipe`] | how a world came to be: any moment of it again |
//! | `branches` | what has happened otherwise, and can be gone on with |
//! | [`chaos`] | a random run: operations and faults, then healing |
//! | `trouble` | what befalls the machines in such a run |
//! | `pulse` | clients that ask all the time, before, during and after it |
//! | [`coverage`] | which faults and situations a run has met |
//! | [`happening`] | what happens, line by line, in the common notation |
//! | [`invariants`] | the properties, one a file |
//! | [`stage`] | the cluster with an audience: console and dashboard without MPI |
//!
//! # Caveats
//!
//! A message is delivered whole or not at all. Nothing is said about clocks that go back, or whose rates differ
//! by more than [`clock::RATES_PROMISED`]: beyond it, things go wrong.

pub mod acts;
mod branches;
pub mod chaos;
pub mod clock;
pub mod coverage;
pub mod happening;
pub mod invariants;
mod linger;
pub mod machine;
pub mod network;
pub mod platter;
mod pulse;
pub mod recipe;
mod shuttle;
pub mod stage;
mod trouble;
pub mod work;
pub mod world;

pub use chaos::{Chaos, Flaw, RunOutcome, RunReport, Script, replay, run, run_flawed};
pub use coverage::{Coverage, Fault, Situation};
pub use happening::{Happening, Recall, What};
pub use stage::{SimStage, VirtualClock};
pub use world::{Bend, DiskSetup, World};
