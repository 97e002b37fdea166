//! No queue, log or table grows without bound.

use super::Violation;
use crate::core::node::ServerHost;
use crate::core::protocol::Rank;
use crate::core::protocol::server::LOG_OPS_MAX;
use crate::core::protocol::server::held::HELD_MAX;
use std::collections::BTreeMap;

/// Looks at the queues of all servers.
///
/// # Errors
/// When one is longer than its limit allows.
pub fn check(servers: &BTreeMap<Rank, ServerHost>) -> Result<(), Violation> {
    for host in servers.values() {
        let queued = host.server().map_or(0, |server| server.queued());
        if queued > LOG_OPS_MAX * 2 + HELD_MAX * 2 {
            return Err(Violation::new(
                "bounded",
                format!("server {} holds {queued} things in its queues", host.rank()),
            ));
        }
    }
    Ok(())
}
