//! When all faults end, the cluster heals: full membership, equal stores, every client answered, within a bound.

use super::Violation;
use crate::core::protocol::{Client, Rank, Time};
use crate::sim::World;
use std::time::Duration;

/// Virtual time that healing may take at pace 1.
pub const HEAL_MS_MAX: u64 = 10_000;

/// True when nothing is left to do.
#[must_use]
pub fn is_healed(world: &World) -> bool {
    is_whole(world) && world.clients().iter().all(|rank| outstanding(world, *rank) == 0)
}

fn outstanding(world: &World, rank: Rank) -> usize {
    world.front(rank).clients().iter().map(Client::outstanding).sum()
}

/// True when all servers that should be are members, equal, and one of them answers.
#[must_use]
pub fn is_whole(world: &World) -> bool {
    let Some(view) = world.view_now() else { return false };
    let wanted = world.setup().config.replicas.min(world.setup().config.servers) as usize;
    let members: Vec<_> = world
        .servers()
        .values()
        .filter_map(|host| host.server())
        .filter(|server| view.contains(server.member()) && server.holds_data())
        .collect();
    members.len() == wanted
        && view.members().count() == wanted
        && members.iter().all(|s| s.store().op() == members[0].store().op() && s.op() == s.store().op())
        && members.iter().all(|s| s.store().full_digest() == members[0].store().full_digest())
        && members.iter().any(|s| s.serves_reads(world.local(s.member().rank)))
}

/// Waits for healing. Tells since when the cluster was whole.
///
/// # Errors
/// When it does not happen in time.
pub fn judge(world: &mut World) -> Result<Time, Violation> {
    let until = world.now() + Duration::from_millis(HEAL_MS_MAX);
    world.run_until(Duration::from_millis(HEAL_MS_MAX), is_whole);
    let whole = world.now();
    if world.run_until(until.since(whole), is_healed) || world.violation().is_some() {
        return Ok(whole);
    }
    let view = world.view_now().map_or_else(|| "no view".to_owned(), ToString::to_string);
    let mut what = format!("not healed after {HEAL_MS_MAX} ms: {view}");
    for host in world.servers().values() {
        let state = host.server().map_or_else(
            || "down".to_owned(),
            |s| {
                format!(
                    "{} {} commit {} op {} in {:?}",
                    s.member(),
                    s.role(),
                    s.store().op(),
                    s.op(),
                    s.view().map(|v| v.number.0)
                )
            },
        );
        what.push_str(&format!("\n    server {}: {state}", host.rank()));
    }
    for rank in world.clients() {
        what.push_str(&format!("\n    client {rank}: {} outstanding", outstanding(world, rank)));
    }
    Err(Violation::new("heals", what))
}
