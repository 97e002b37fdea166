//! What can be asked about a server, which changes nothing.

use super::primary::Primary;
use super::{RoleState, Server};
use crate::core::protocol::view::{METADATA, Member, Rank, View};
use crate::core::protocol::{Doom, Role, Time};
use crate::core::store::{OpNumber, Store};
use std::sync::Arc;
use std::time::Duration;

impl Server {
    /// Who this is: the incarnation grows when the server forgets its state.
    #[must_use]
    pub fn member(&self) -> Member {
        self.core.me
    }

    /// The role in one word.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.state {
            RoleState::Joining(joining) if !joining.is_recruited() => Role::Idle,
            RoleState::Joining(_) => Role::Joining,
            RoleState::Backup(_) => Role::Backup,
            RoleState::Primary(_) => Role::Primary,
        }
    }

    /// Who has reason to speak to it all the time.
    pub fn listens_to(&self) -> impl Iterator<Item = Rank> {
        let peers: &[Member] = match (&self.state, self.view()) {
            (RoleState::Primary(_), Some(view)) => &view.backups,
            (RoleState::Backup(_), Some(view)) => std::slice::from_ref(&view.primary),
            _ => &[],
        };
        std::iter::once(METADATA).chain(peers.iter().map(|peer| peer.rank))
    }

    /// The newest view this server knows.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        self.core.view.as_ref()
    }

    /// The committed state.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// The committed state, to ask it for changed keys ([`Store::watch`]).
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.core.store
    }

    /// Grows whenever the whole store is replaced: forgotten, or received.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.core.generation
    }

    /// The newest write in the log.
    #[must_use]
    pub fn op(&self) -> OpNumber {
        self.core.op()
    }

    /// True when this server holds the data of the current view: it is a member and up to date.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        matches!(self.state, RoleState::Backup(_) | RoleState::Primary(_))
    }

    /// True while this server answers clients as primary, reads included.
    #[must_use]
    pub fn serves_reads(&self, now: Time) -> bool {
        let leads = |primary: &Primary| primary.is_serving() && primary.has_leases(&self.core, now);
        self.core.retired.is_none() && matches!(&self.state, RoleState::Primary(primary) if leads(primary))
    }

    /// The state of the primary, if this is one.
    #[must_use]
    pub fn as_primary(&self) -> Option<&Primary> {
        match &self.state {
            RoleState::Primary(primary) => Some(primary),
            _ => None,
        }
    }

    /// True when this server follows every rule.
    #[must_use]
    pub fn follows_all_rules(&self) -> bool {
        self.core.config.rules.switched_off().next().is_none()
    }

    /// Which life of the server on this rank this primary sends to, if to any.
    #[must_use]
    pub fn peer(&self, rank: Rank) -> Option<Member> {
        self.as_primary().and_then(|primary| primary.peers.get(&rank)).map(|peer| peer.member)
    }

    /// After how long a silence this server suspects the primary, or as primary the slowest backup; `None` when it has
    /// nobody to suspect.
    #[must_use]
    pub fn silence(&self, now: Time) -> Option<Duration> {
        match &self.state {
            RoleState::Joining(_) => None,
            RoleState::Backup(backup) => Some(backup.silence(&self.core, now)),
            RoleState::Primary(primary) => primary.silence(&self.core, now),
        }
    }

    /// Keys received so far and how many there are in all, when the state is being received.
    #[must_use]
    pub fn receiving(&self) -> Option<(u64, u64)> {
        match &self.state {
            RoleState::Joining(joining) => joining.progress(),
            _ => None,
        }
    }

    /// How many things wait in this server's queues: log, writes ahead of the log, requests held.
    #[must_use]
    pub fn queued(&self) -> usize {
        let held = self.as_primary().map_or(0, Primary::held);
        self.core.log.len() + self.core.ahead.len() + held
    }

    /// Where this server crashed: it is gone, drop it.
    #[must_use]
    pub fn crashed(&self) -> Option<(Doom, OpNumber)> {
        self.core.crashed
    }

    /// True while this primary waits for the proof that a backup lives, to crash then.
    #[must_use]
    pub fn is_doomed(&self) -> bool {
        self.armed.is_some() || self.as_primary().is_some_and(Primary::is_doomed)
    }

    /// True from the moment when this server asked for a view until it knows of a newer one.
    #[must_use]
    pub fn has_proposed(&self) -> bool {
        match &self.state {
            RoleState::Joining(_) => false,
            RoleState::Backup(backup) => backup.has_proposed(),
            RoleState::Primary(primary) => primary.has_given_up_a_peer(),
        }
    }
}
