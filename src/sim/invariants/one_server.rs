//! At most one server answers clients at any instant (leases: Gray and Cheriton, 1989).

use super::Violation;
use crate::core::node::ServerHost;
use crate::core::protocol::{Rank, Time};
use std::collections::BTreeMap;

/// Looks at all servers at one instant, each by what its own clock shows then.
///
/// # Errors
/// When two would answer a read right now in the same epoch.
pub fn check(local: &dyn Fn(Rank) -> Time, servers: &BTreeMap<Rank, ServerHost>) -> Result<(), Violation> {
    let mut serving: Option<(Rank, u32)> = None;
    for host in servers.values() {
        let now = local(host.rank());
        let Some(server) = host.server().filter(|server| server.serves_reads(now)) else { continue };
        let epoch = server.view().map_or(0, |view| view.epoch);
        match serving {
            Some((other, e)) if e == epoch => {
                let what = format!("servers {other} and {} both answer reads", host.rank());
                return Err(Violation::new("one_server", what));
            }
            _ => serving = Some((host.rank(), epoch)),
        }
    }
    Ok(())
}
