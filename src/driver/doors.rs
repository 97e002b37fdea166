//! How a replacement comes to be reached by the others: it opens a door for each, and they come through it.
//!
//! ```text
//!   replacement ── Opened(port for n3) ──▶ rank 0 ── Connect(port) ──▶ n3 ── MPI_Comm_connect ──▶ replacement
//! ```
//!
//! Whoever was started later opens, so of two that are new at the same time exactly one does. A peer that does not
//! come, because it is paused, or dies on its way, gets a new door after a while.

use super::link::Link;
use super::log::Log;
use crate::protocol::{METADATA, Rank, Time};
use crate::transport::{Change, Packet, Transport};
use std::collections::BTreeMap;
use std::time::Duration;

/// A replacement opens a new door for a peer that has not come within this long; then ever more rarely.
const DOOR_PATIENCE: Duration = Duration::from_secs(3);
/// At the longest.
const DOOR_PATIENCE_MAX: Duration = Duration::from_secs(60);

/// The ranks that a replacement lets come, until they have.
#[derive(Debug, Default)]
pub struct Doors {
    closed: BTreeMap<Rank, Door>,
}

#[derive(Debug)]
struct Door {
    again_at: Time,
    patience: Duration,
}

impl Doors {
    /// Doors for these ranks.
    #[must_use]
    pub fn new(peers: &[Rank]) -> Self {
        let door = |peer: &Rank| (*peer, Door { again_at: Time::default(), patience: DOOR_PATIENCE });
        Self { closed: peers.iter().map(door).collect() }
    }

    /// Opens what is due, and passes on what has come out of it.
    pub fn tend<T: Transport>(&mut self, link: &mut Link<T>, now: Time, log: &mut Log) {
        while let Some(change) = link.transport().take_change() {
            match change {
                Change::Opened { peer, port } => link.push(METADATA, &Packet::Opened { peer, port }),
                Change::Connected { peer, result: Ok(()) } => {
                    self.closed.remove(&peer);
                    log.line(now, &format!("connected with n{peer}"));
                }
                Change::Connected { peer, result: Err(why) } => {
                    log.line(now, &format!("not connected with n{peer}: {why}"));
                }
                Change::Started { .. } => {}
            }
        }
        // A peer that is paused, or dies on its way to us, must not keep the door shut for good.
        for (peer, door) in self.closed.iter_mut().filter(|(_, door)| now >= door.again_at) {
            link.transport().open(*peer);
            door.again_at = now + door.patience;
            door.patience = (door.patience * 2).min(DOOR_PATIENCE_MAX);
        }
    }

    /// `peer` is dead: whoever comes in its place opens a door itself.
    pub fn forget(&mut self, peer: Rank) {
        self.closed.remove(&peer);
    }
}
