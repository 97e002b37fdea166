//! A request takes effect at most once, and every answer given to it is the same.
//!
//! And of a client that was told that its session has ended, nothing takes effect that had not before.

use super::Violation;
use crate::core::protocol::Rank;
use crate::core::store::{ClientId, OpNumber, Reply, Seq, StoreError};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// Where every request took effect, and what was answered.
#[derive(Debug, Default)]
pub struct ExactlyOnce {
    effects: HashMap<(ClientId, Seq), OpNumber>,
    /// With the server that answered last.
    replies: HashMap<(ClientId, Seq), (Reply, Rank)>,
    /// Who was told that its session has ended.
    ended: HashSet<ClientId>,
}

impl ExactlyOnce {
    /// A server applied a request.
    ///
    /// # Errors
    /// When the request already has another place, or its client was told that it will have none.
    pub fn on_applied(&mut self, rank: Rank, op: OpNumber, client: ClientId, seq: Seq) -> Result<(), Violation> {
        let first = match self.effects.entry((client, seq)) {
            Entry::Occupied(first) => *first.get(),
            Entry::Vacant(_) if self.ended.contains(&client) => {
                let what = format!("server {rank} applied request c{client}#{seq} as op {op}: its session had ended");
                return Err(Violation::new("exactly_once", what));
            }
            Entry::Vacant(place) => *place.insert(op),
        };
        if first == op {
            return Ok(());
        }
        let what = format!("server {rank} applied request c{client}#{seq} as op {op}, it already was op {first}");
        Err(Violation::new("exactly_once", what))
    }

    /// A server answers a request. `Ok(Some(_))`: it is a write that was answered before, last by this server. (That
    /// its session has ended is no answer.)
    ///
    /// # Errors
    /// When it was answered differently before.
    pub fn on_reply(
        &mut self,
        from: Rank,
        client: ClientId,
        seq: Seq,
        reply: &Reply,
    ) -> Result<Option<Rank>, Violation> {
        if *reply == Reply::Error(StoreError::SessionEnded) {
            self.ended.insert(client);
            return Ok(None);
        }
        if !self.effects.contains_key(&(client, seq)) {
            return Ok(None); // A read: its answers may differ, the client takes the first.
        }
        match self.replies.insert((client, seq), (reply.clone(), from)) {
            None => Ok(None),
            Some((first, before)) if first == *reply => Ok(Some(before)),
            Some((first, _)) => {
                let what = format!("request c{client}#{seq} was answered {first}, then {reply}");
                Err(Violation::new("exactly_once", what))
            }
        }
    }

    /// The place of a request in the order of all writes.
    #[must_use]
    pub fn op_of(&self, client: ClientId, seq: Seq) -> Option<OpNumber> {
        self.effects.get(&(client, seq)).copied()
    }
}
