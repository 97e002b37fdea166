//! Committed prefixes agree: stores with the same op number are the same.

use super::Violation;
use crate::core::node::ServerHost;
use crate::core::protocol::Rank;
use crate::core::store::OpNumber;
use std::collections::BTreeMap;

/// The whole client table is compared for one op number in this many; keys and values always.
const FULL_EVERY: u64 = 8;

/// The digest of every op number that any server has reached.
#[derive(Debug, Default)]
pub struct Prefix {
    digests: BTreeMap<(u32, OpNumber), (u64, Rank)>,
    looked: BTreeMap<Rank, (u32, OpNumber)>,
}

impl Prefix {
    /// Compares the server's store with what others had at the same op number.
    ///
    /// # Errors
    /// When they differ.
    pub fn on_server(&mut self, host: &ServerHost) -> Result<(), Violation> {
        let Some(server) = host.server() else { return Ok(()) };
        let (rank, op) = (host.rank(), server.store().op());
        let at = (server.view().map_or(0, |view| view.epoch), op);
        if self.looked.insert(rank, at) == Some(at) {
            return Ok(());
        }
        let full = op.0.is_multiple_of(FULL_EVERY);
        let digest = if full { server.store().full_digest() } else { server.store().digest() };
        let (known, first) = *self.digests.entry(at).or_insert((digest, rank));
        if known == digest {
            return Ok(());
        }
        let what = format!("servers {first} and {rank} differ after op {op}: {known:016x} and {digest:016x}");
        Err(Violation::new("prefix", what))
    }
}
