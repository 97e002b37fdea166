//! Requests that wait until they can be served.

use crate::core::protocol::message::Request;
use crate::core::protocol::{Doom, Time};
use crate::core::store::{ClientId, Seq};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The most requests that wait because they cannot be served yet; more are dropped, and their clients repeat them.
pub const HELD_MAX: usize = 16_384;
/// The most bytes of keys and values in requests that wait (16 MiB).
pub const HELD_BYTES_MAX: usize = 16 << 20;

/// A bounded queue in which every request is at most once: clients repeat what is not answered, and a
/// queue of repetitions would cost every turn more the longer the wait.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestQueue {
    queue: VecDeque<(Request, Option<Doom>)>,
    known: BTreeSet<(ClientId, Seq)>,
    bytes: usize,
}

impl RequestQueue {
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

/// Requests that have overtaken an earlier write of their client: they wait for it, so that a client's requests are
/// answered as if carried out in its order. A repetition takes the place of what is here already, since it may follow
/// another write now.
#[derive(Debug, Clone, Default)]
pub(super) struct Early {
    by_client: BTreeMap<ClientId, BTreeMap<Seq, Request>>,
    count: usize,
    bytes: usize,
}

impl Early {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, request: Request) {
        self.finish(request.client, request.acked);
        let bytes = request.command.size_bytes();
        self.take(request.client, request.seq);
        if self.count < HELD_MAX && self.bytes + bytes <= HELD_BYTES_MAX {
            self.bytes += bytes;
            self.count += 1;
            self.by_client.entry(request.client).or_default().insert(request.seq, request);
        }
    }

    fn take(&mut self, client: ClientId, seq: Seq) -> Option<Request> {
        let waiting = self.by_client.get_mut(&client)?;
        let request = waiting.remove(&seq)?;
        if waiting.is_empty() {
            self.by_client.remove(&client);
        }
        self.count -= 1;
        self.bytes -= request.command.size_bytes();
        Some(request)
    }

    /// The client has finished with all requests up to this one.
    fn finish(&mut self, client: ClientId, acked: Seq) {
        while let Some((&seq, _)) = self.by_client.get(&client).and_then(|waiting| waiting.first_key_value())
            && seq <= acked
        {
            self.take(client, seq);
        }
    }

    /// The first request of some client that need not wait any more.
    pub(super) fn pop_if(&mut self, mut ready: impl FnMut(&Request) -> bool) -> Option<Request> {
        let first = self.by_client.values().filter_map(|waiting| waiting.values().next());
        let (client, seq) = first.into_iter().find(|request| ready(request)).map(|first| (first.client, first.seq))?;
        self.take(client, seq)
    }

    pub(super) fn pop(&mut self) -> Option<Request> {
        self.pop_if(|_| true)
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
