//! A request takes effect at most once, and every answer given to it is the same.

use super::Violation;
use crate::core::protocol::Rank;
use crate::core::store::{ClientId, OpNumber, Reply, Seq};
use std::collections::HashMap;

/// Where every request took effect, and what was answered.
#[derive(Debug, Default)]
pub struct ExactlyOnce {
    effects: HashMap<(ClientId, Seq), OpNumber>,
    /// With the server that answered last.
    replies: HashMap<(ClientId, Seq), (Reply, Rank)>,
}

impl ExactlyOnce {
    /// A server applied a request.
    ///
    /// # Errors
    /// When the request already has another place.
    pub fn on_applied(&mut self, rank: Rank, op: OpNumber, client: ClientId, seq: Seq) -> Result<(), Violation> {
        let first = *self.effects.entry((client, seq)).or_insert(op);
        if first == op {
            return Ok(());
        }
        let what = format!("server {rank} applied request c{client}#{seq} as op {op}, it already was op {first}");
        Err(Violation::new("exactly_once", what))
    }

    /// A server answers a request. `Ok(Some(_))`: it is a write that was answered before, last by this server.
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
