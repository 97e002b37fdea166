//! An acknowledged write is in the state of every later primary.

use super::Violation;
use crate::check::Operation;
use crate::core::node::ServerHost;
use crate::core::protocol::{Outcome, Time};
use crate::core::store::OpNumber;
use std::collections::BTreeMap;

/// The newest acknowledged write of every epoch.
#[derive(Debug, Default)]
pub struct Durability {
    acknowledged: BTreeMap<u32, OpNumber>,
}

impl Durability {
    /// A client has an answer; `op` is the place of its write in the order of all writes.
    pub fn on_answer(&mut self, operation: &Operation, op: Option<OpNumber>) {
        if let (Outcome::Done(_), Some(op)) = (&operation.outcome, op) {
            let newest = self.acknowledged.entry(operation.epoch).or_default();
            *newest = op.max(*newest);
        }
    }

    /// The newest write of this epoch that a client was told of.
    #[must_use]
    pub fn acknowledged(&self, epoch: u32) -> OpNumber {
        self.acknowledged.get(&epoch).copied().unwrap_or_default()
    }

    /// Whoever answers must have everything that was ever acknowledged.
    ///
    /// # Errors
    /// When it has not.
    pub fn on_server(&self, now: Time, host: &ServerHost) -> Result<(), Violation> {
        let Some(server) = host.server().filter(|server| server.serves_reads(now)) else { return Ok(()) };
        let epoch = server.view().map_or(0, |view| view.epoch);
        let needed = self.acknowledged(epoch);
        if server.store().op() >= needed {
            return Ok(());
        }
        let (rank, op) = (host.rank(), server.store().op());
        let what = format!("server {rank} answers with op {op}, but op {needed} was acknowledged");
        Err(Violation::new("durability", what))
    }
}
