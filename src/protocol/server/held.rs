//! Requests that wait until they can be served.

use crate::protocol::message::Request;
use crate::protocol::{Doom, Time};
use crate::store::{ClientId, Seq};
use std::collections::{BTreeSet, VecDeque};

/// The most requests that wait because they cannot be served yet; more are dropped, and their clients repeat them.
pub const HELD_MAX: usize = 16_384;
/// The most bytes of keys and values in requests that wait (16 MiB).
pub const HELD_BYTES_MAX: usize = 16 << 20;

/// A bounded queue in which every request is at most once: clients repeat what is not answered, and a
/// queue of repetitions would cost every turn more the longer the wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    queue: VecDeque<(Request, Option<Doom>)>,
    known: BTreeSet<(ClientId, Seq)>,
    bytes: usize,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn has_doomed(&self) -> bool {
        self.queue.iter().any(|(_, doom)| doom.is_some())
    }

    pub(super) fn push(&mut self, request: Request, doom: Option<Doom>) {
        let bytes = request.command.size_bytes();
        if self.queue.len() >= HELD_MAX || self.bytes + bytes > HELD_BYTES_MAX {
            return;
        }
        if self.known.insert((request.client, request.seq)) {
            self.bytes += bytes;
            self.queue.push_back((request, doom));
        }
    }

    pub(super) fn pop(&mut self) -> Option<(Request, Option<Doom>)> {
        let (request, doom) = self.queue.pop_front()?;
        self.known.remove(&(request.client, request.seq));
        self.bytes -= request.command.size_bytes();
        Some((request, doom))
    }
}

/// A request that makes this server crash as soon as a backup has proved that it lives.
#[derive(Debug, Clone)]
pub(super) struct Doomed {
    pub(super) request: Request,
    pub(super) doom: Doom,
    /// Only a heartbeat sent from here on, and answered, proves that a backup lives.
    pub(super) since: Time,
}
