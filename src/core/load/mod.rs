//! Load: what clients ask for when nobody types, and whether the answers can be true.
//!
//! | file | what it holds |
//! |---|---|
//! | [`mix`] | which keys, how often: YCSB's mixes, Zipf's popularity |
//! | [`checker`] | what an answer may be: nothing lost, nothing done twice |
//! | [`report`] | what a client has measured, and the sum over several |
//! | [`loader`] | the client's part: what to ask next, and when |
//!
//! A loader is a plain value like the protocol: time is handed in, commands come out. So the same load runs
//! over MPI and in the simulator.
//!
//! # Caveats
//!
//! A client writes only keys of its own (`load:3:17` is one of rank 3's). That is what makes the check exact at any
//! speed; it does not see what several clients do to one key. The checker of whole histories does
//! ([`crate::check`]). Who writes such a key by hand while there is load will be taken for a fault.

pub mod checker;
pub mod loader;
pub mod mix;
pub mod report;

pub use loader::Loader;
pub use report::{Latencies, Report};

use serde::{Deserialize, Serialize};
use std::fmt;

/// The fastest load that can be asked for, in requests a second.
pub const RATE_MAX: f64 = 1_000_000.0;

/// How the keys begin that the load writes.
pub const KEY_PREFIX: &str = "load:";

/// One of YCSB's core workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workload {
    /// Half reads, half writes.
    A,
    /// 95 % reads.
    B,
    /// Only reads.
    C,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// The share of reads, 0 to 1.
    #[must_use]
    pub fn reads(self) -> f64 {
        match self {
            Self::A => 0.5,
            Self::B => 0.95,
            Self::C => 1.0,
        }
    }

    /// Its letter.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a client is to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadOrder {
    /// What to ask for.
    pub workload: Workload,
    /// How many requests a second; `None`: as fast as the answers come, with a window of
    /// [`loader::WINDOW`] outstanding.
    pub per_second: Option<f64>,
}
