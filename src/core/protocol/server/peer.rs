//! What a primary knows of a server that it sends to: how far it is, and what it counts for.
//!
//! ```text
//!   receiving ──▶ catching up ──▶ counted ──▶ starting ──▶ started
//!      the state     the log        the metadata   a backup of
//!      comes         follows        server is      this view
//!                                   asked
//! ```
//!
//! Commits wait for everybody but the receiving; reads need a lease of everybody from counted on.

use super::Core;
use super::transfer::Transfer;
use crate::core::protocol::Time;
use crate::core::protocol::time::Backoff;
use crate::core::protocol::view::Member;
use crate::core::store::OpNumber;
use std::time::Duration;

/// A server this primary sends to.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) member: Member,
    pub(super) standing: PeerStanding,
    /// It has everything up to this write.
    pub(super) acked: OpNumber,
    /// It will not ask for another primary before this.
    pub(super) lease_until: Time,
    /// How long the last lease was that it granted.
    pub(super) lease: Duration,
    pub(super) heard: Time,
    /// Its last word, if it has said any.
    pub(super) spoke: Option<Time>,
    /// A newer life of this server has shown up: this one is over.
    pub(super) restarted: bool,
    /// The metadata server was asked for a view without it: it may be out already.
    pub(super) given_up: bool,
    /// When what it has not acknowledged is sent again.
    pub(super) resend: Backoff,
}

#[derive(Debug, Clone)]
pub(super) enum PeerStanding {
    /// Receives the state; counts for nothing.
    Receiving(Box<Transfer>),
    /// The last part of the state is on its way, and the log follows: commits wait for it, but it may
    /// still be let go freely.
    CatchingUp(Box<Transfer>),
    /// The metadata server may have been asked to add it: as good as a backup from here on.
    Counted,
    /// A backup that has not confirmed this view's log yet.
    Starting,
    /// A backup.
    Started,
}

impl Peer {
    pub(super) fn new(member: Member, standing: PeerStanding, now: Time, retry: Duration) -> Self {
        let (acked, lease_until) = (OpNumber(0), Time::default());
        Self {
            member,
            standing,
            acked,
            lease_until,
            lease: Duration::ZERO,
            heard: now,
            spoke: None,
            restarted: false,
            given_up: false,
            resend: Backoff::new(now, retry),
        }
    }

    /// It has said something.
    pub(super) fn hear(&mut self, core: &mut Core, now: Time) {
        // What a joining server says, it says when it has something to say.
        if let Some(spoke) = self.spoke.replace(now)
            && self.could_replace()
        {
            core.weather.note_gap(&core.config.timing, now, now.since(spoke));
        }
        self.heard = now;
    }

    /// It has been silent for too long.
    pub(super) fn is_silent(&self, core: &Core, now: Time) -> bool {
        now.since(self.heard) > self.silence(core, now)
    }

    /// How long its silence may be.
    pub(super) fn silence(&self, core: &Core, now: Time) -> Duration {
        let (timing, rank) = (&core.config.timing, self.member.rank);
        let new = self.spoke.is_none();
        if new { core.weather.first_silence(timing, now, rank) } else { core.weather.silence(timing, now, rank) }
    }

    /// What it has not acknowledged is sent again after this long, at first.
    pub(super) fn retry(&self, core: &Core) -> Duration {
        core.weather.retry(&core.config.timing, self.member.rank)
    }

    /// Commits wait for it.
    pub(super) fn is_required(&self) -> bool {
        !matches!(self.standing, PeerStanding::Receiving(_))
    }

    /// It could become primary without this server's consent, so reads need its lease.
    pub(super) fn could_replace(&self) -> bool {
        matches!(self.standing, PeerStanding::Counted | PeerStanding::Starting | PeerStanding::Started)
    }

    pub(super) fn is_backup(&self) -> bool {
        matches!(self.standing, PeerStanding::Starting | PeerStanding::Started)
    }

    /// If this primary crashed now, and this server lives, the data would survive.
    pub(super) fn is_sure_backup(&self) -> bool {
        self.is_backup() && !self.restarted && !self.given_up
    }
}
