//! A lodger in the loop of rank 0: something that asks the cluster on behalf of others, such as a door.
//!
//! The loop hands it time, outcomes and how the cluster is, and takes its commands; it hears of new work by a
//! descriptor that a sleeping loop waits for as well. Nothing here may wait.

use crate::core::protocol::{Outcome, Rank, Time, ViewNumber};
use crate::core::store::{Command, Seq};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Who lives in rank 0's loop and asks the cluster.
pub trait Lodger {
    /// Can be read when there is something to do.
    fn bell(&self) -> Arc<OwnedFd>;

    /// How the cluster is; told now and then.
    fn tell(&mut self, facts: Facts);

    /// Takes in what others want, and does what is due. True when there was anything to do.
    fn receive(&mut self, now: Time) -> bool;

    /// The next command for the cluster, if there is one; it will have this number there.
    fn next_command(&mut self, seq: Seq) -> Option<Command>;

    /// What has become of a command. False when it was not one of its own.
    fn answered(&mut self, now: Time, seq: Seq, outcome: &Outcome) -> bool;

    /// Hands out what it has to say.
    fn send(&mut self);

    /// At this moment there is something to do in any case.
    fn deadline(&self) -> Time;

    /// What is shown of it.
    fn sight(&self) -> Sight;
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
}
