//! What doors and rank 0 tell each other: how the cluster is, how much each has to do, what somebody has published.

use crate::core::protocol::{Rank, ViewNumber};
use crate::core::store::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What doors say to each other, and what rank 0 and they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoorWord {
    /// To rank 0: it is open, there.
    Open { at: String },
    /// To all: there is none on that rank, and why.
    Shut { why: String },
    /// To rank 0: how much it has to do.
    Figures(DoorFigures),
    /// From rank 0: how the cluster is.
    Facts(Box<Facts>),
    /// Somebody has published this.
    Published { channel: Bytes, message: Bytes },
    /// This many listen to this channel, or by this pattern, there.
    Listeners { is_pattern: bool, name: Bytes, count: usize },
    /// Somebody waits there for something to pop, or nobody does any more.
    Waiting(bool),
    /// One of these keys may have been filled.
    Filled(Vec<Bytes>),
    /// Somebody has set this.
    Settings(Vec<(String, String)>),
    /// Somebody has asked this about all connections: what comes of it there?
    Question { ticket: u64, words: Vec<Bytes> },
    /// That: lines, or to how many it was done.
    Answer { ticket: u64, lines: String, count: u64 },
    /// Somebody wants to count from zero.
    ResetStats,
}

/// How much a door has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DoorFigures {
    /// On which rank.
    pub rank: Rank,
    /// What is shown of it.
    pub sight: Sight,
    /// How many connections wait for something to pop.
    pub blocked: usize,
    /// How many connections listen to messages.
    pub listeners: usize,
    /// All connections so far.
    pub accepted: u64,
    /// All requests so far.
    pub commands: u64,
}

impl Sight {
    /// This one and another together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            port: self.port,
            connections: self.connections + other.connections,
            per_second: self.per_second + other.per_second,
            slowest: self.slowest.max(other.slowest),
        }
    }
}

/// What is shown of a lodger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sight {
    /// Where it is.
    pub port: u16,
    /// How many are connected.
    pub connections: usize,
    /// Requests a second, lately.
    pub per_second: u64,
    /// The slowest answer of the last seconds.
    pub slowest: Duration,
}

/// A server, as far as a lodger is interested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Its rank.
    pub rank: Rank,
    /// Its process.
    pub pid: u32,
    /// How many writes it has carried out, as last heard,
    pub op: u64,
    /// and the digest of everything that it had stored then.
    pub digest: u64,
}

/// How the cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Since 1970.
    pub wall: Duration,
    /// The number of the view.
    pub view: ViewNumber,
    /// Who leads it.
    pub primary: Option<ServerFacts>,
    /// Who has the data besides.
    pub backups: Vec<ServerFacts>,
    /// Keys of the first database, as last heard.
    pub keys: u64,
    /// How many writes there were, as last heard.
    pub op: u64,
    /// How often another server became primary because the one before had fallen silent.
    pub failovers: u64,
    /// Nobody has the data any more: that, and the way out.
    pub data_gone: Option<String>,
    /// All doors, as last heard.
    pub doors: Vec<DoorFigures>,
}
