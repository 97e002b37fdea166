//! What is committed, every member of the view has: that is what a client is told with its answer.
//!
//! Who lacks a write that was answered may lead the next view. [`super::durability`] notices then; this notices while
//! all is well. Where a rule is switched off to see what becomes of it, that is not cut short.

use super::Violation;
use crate::core::node::ServerHost;
use crate::core::protocol::{Rank, Server};
use std::collections::BTreeMap;

/// Looks at every primary, and at those who follow it.
///
/// # Errors
/// When one of them lacks what its primary has committed.
pub fn check(servers: &BTreeMap<Rank, ServerHost>) -> Result<(), Violation> {
    servers.values().filter_map(ServerHost::server).try_for_each(|server| check_backups(server, servers))
}

fn check_backups(primary: &Server, servers: &BTreeMap<Rank, ServerHost>) -> Result<(), Violation> {
    let Some(view) = primary.view().filter(|_| primary.as_primary().is_some() && primary.follows_all_rules()) else {
        return Ok(());
    };
    let committed = primary.store().op();
    for backup in &view.backups {
        let Some(server) = servers.get(&backup.rank).and_then(ServerHost::server) else { continue };
        let follows = server.member() == *backup && server.holds_data();
        let same_epoch = server.view().is_some_and(|theirs| theirs.epoch == view.epoch);
        if follows && same_epoch && server.op() < committed {
            let (leader, op) = (primary.member().rank, server.op());
            let what =
                format!("server {leader} has committed op {committed}, and its backup {} has op {op}", backup.rank);
            return Err(Violation::new("copies", what));
        }
    }
    Ok(())
}
