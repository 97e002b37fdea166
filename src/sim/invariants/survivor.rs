//! As long as a server keeps its memory that had everything when the last answer was given, nothing is lost: so no
//! server may forget the only copy of what was acknowledged.

use super::Violation;
use super::durability::Durability;
use crate::core::node::ServerHost;
use crate::core::protocol::{Rank, View};
use crate::core::store::OpNumber;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What every server had when it was last looked at.
#[derive(Debug, Default)]
pub struct Survivor {
    had: BTreeMap<Rank, (u32, OpNumber)>,
    /// The newest view, whether or not its members know of it.
    view: Option<Arc<View>>,
}

fn holding(host: &ServerHost) -> Option<(u32, OpNumber)> {
    let server = host.server().filter(|server| server.holds_data())?;
    Some((server.view().map_or(0, |view| view.epoch), server.op()))
}

impl Survivor {
    /// The metadata server has decided on a view.
    pub fn on_view(&mut self, view: &Arc<View>) {
        self.view = Some(Arc::clone(view));
    }

    /// Everything was killed at once.
    pub fn all_lost(&mut self) {
        self.had.clear();
    }

    /// What a server has that is a member of the newest view, but has not heard of that yet.
    fn will_hold(&self, host: &ServerHost) -> Option<(u32, OpNumber)> {
        let view = self.view.as_ref()?;
        let server = host.server().filter(|server| view.contains(server.member()))?;
        Some((server.view().map_or(0, |view| view.epoch), server.op()))
    }

    /// A server has just done something.
    pub fn on_server(&mut self, host: &ServerHost) {
        match holding(host) {
            Some(has) => self.had.insert(host.rank(), has),
            None => self.had.remove(&host.rank()),
        };
    }

    /// A server has just forgotten its state of its own will.
    ///
    /// # Errors
    /// When it had everything that was acknowledged, and nobody has it now.
    pub fn on_forgot(
        &mut self,
        rank: Rank,
        durability: &Durability,
        servers: &BTreeMap<Rank, ServerHost>,
    ) -> Result<(), Violation> {
        let Some((epoch, had)) = self.had.remove(&rank) else { return Ok(()) };
        let needed = durability.acknowledged(epoch);
        // After a RESET nothing of the old epoch counts, even for those who do not know of it yet.
        let is_over = self.view.as_ref().is_some_and(|view| view.epoch > epoch);
        let has_all = |host: &ServerHost| {
            holding(host)
                .or_else(|| self.will_hold(host))
                .is_some_and(|(in_epoch, op)| in_epoch >= epoch && op >= needed)
        };
        if is_over || needed == OpNumber(0) || had < needed || servers.values().any(has_all) {
            return Ok(());
        }
        let what = format!("server {rank} forgot everything up to op {had}, and nobody else has op {needed}");
        Err(Violation::new("survivor", what))
    }
}
