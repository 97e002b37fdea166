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
    pub(super) standing: Standing,
    /// It has everything up to this write.
    pub(super) acked: OpNumber,
    /// It will not ask for another primary before this.
    pub(super) lease_until: Time,
    pub(super) heard: Time,
    /// A newer life of this server has shown up: this one is over.
    pub(super) restarted: bool,
    /// The metadata server was asked for a view without it: it may be out already.
    pub(super) given_up: bool,
    /// When what it has not acknowledged is sent again.
    pub(super) resend: Backoff,
}

#[derive(Debug, Clone)]
pub(super) enum Standing {
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
    pub(super) fn new(member: Member, standing: Standing, now: Time, retry: Duration) -> Self {
        let (acked, lease_until) = (OpNumber(0), Time::default());
        Self {
            member,
            standing,
            acked,
            lease_until,
            heard: now,
            restarted: false,
            given_up: false,
            resend: Backoff::new(now, retry),
        }
    }

    /// Commits wait for it.
    pub(super) fn is_required(&self) -> bool {
        !matches!(self.standing, Standing::Receiving(_))
    }

    /// It could become primary without this server's consent, so reads need its lease.
    pub(super) fn could_replace(&self) -> bool {
        matches!(self.standing, Standing::Counted | Standing::Starting | Standing::Started)
    }

    pub(super) fn is_backup(&self) -> bool {
        matches!(self.standing, Standing::Starting | Standing::Started)
    }

    /// If this primary crashed now, and this server lives, the data would survive.
    pub(super) fn is_sure_backup(&self) -> bool {
        self.is_backup() && !self.restarted && !self.given_up
    }
}
