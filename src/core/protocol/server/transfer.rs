//! The primary's side of a state transfer: who may join, and part after part of the state.
//!
//! The newcomer's side is [`super::joining`]; how a live store is read in parts is [`crate::core::store::snapshot`].

use super::Core;
use super::peer::{Peer, PeerStanding};
use super::primary::{Phase, Primary};
use crate::core::protocol::message::{Message, Offer, Reason, SnapshotPart};
use crate::core::protocol::view::{Member, Rank, ViewNumber};
use crate::core::protocol::{Event, Outbox, Rule, Time};
use crate::core::store::{Exporter, OpNumber};
use std::collections::VecDeque;
use std::sync::Arc;

/// Parts of a snapshot that may be under way without an acknowledgement.
pub(super) const TRANSFER_WINDOW: u64 = 4;

#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) id: u64,
    pub(super) source: Source,
    /// Parts sent and not acknowledged, the first of them number `acked`; and when, if only once.
    pub(super) parts: VecDeque<(Option<Time>, Arc<SnapshotPart>)>,
    pub(super) acked: u64,
    /// When it was asked for, or the last part was acknowledged.
    pub(super) progress: Time,
}

/// What is still to be sent.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Everything.
    Whole(Exporter),
    /// Only what comes after this write.
    After(OpNumber),
    /// The last part is made.
    Done,
}

impl Transfer {
    pub(super) fn next_index(&self) -> u64 {
        self.acked + self.parts.len() as u64
    }

    /// Sends the first missing part again, and no more: the others may be under way still, and to send them all would
    /// take the longer the slower the machine is.
    pub(super) fn resend(&mut self, to: Member, view: ViewNumber, out: &mut Outbox) {
        if let Some((sent, part)) = self.parts.front_mut() {
            *sent = None;
            let part = Arc::clone(part);
            let (rank, to, transfer, index) = (to.rank, to.incarnation, self.id, self.acked);
            out.send(rank, Message::Snapshot { view, to, transfer, index, part });
        }
    }

    /// It waits for its turn.
    fn waits(&self) -> bool {
        self.next_index() == 0
    }
}

impl Primary {
    pub(super) fn on_join(
        &mut self,
        core: &mut Core,
        now: Time,
        member: Member,
        offer: Option<Offer>,
        out: &mut Outbox,
    ) {
        let view = Arc::clone(core.view.as_ref().expect("a primary has a view"));
        if let Some(peer) = self.peers.get_mut(&member.rank) {
            let newer = member.incarnation > peer.member.incarnation;
            match peer.standing {
                PeerStanding::Starting | PeerStanding::Started if !core.rule(Rule::Incarnation) => return,
                // A newer life of a backup: the older one is gone for certain.
                PeerStanding::Starting | PeerStanding::Started | PeerStanding::Counted if newer => {
                    peer.restarted = true;
                    self.propose(core, now, out);
                    return;
                }
                PeerStanding::Receiving(_) | PeerStanding::CatchingUp(_) if newer => {}
                // It waits for its turn, or for a part that was lost: that one is sent again now, for the patience of
                // this side may have grown with a bad network that is gone.
                PeerStanding::Receiving(_) | PeerStanding::CatchingUp(_) if member == peer.member => {
                    peer.hear(core, now);
                    if let PeerStanding::Receiving(transfer) | PeerStanding::CatchingUp(transfer) = &mut peer.standing {
                        transfer.resend(member, view.number, out);
                    }
                    return;
                }
                _ => return,
            }
        }
        let others = self.peers.values().filter(|peer| peer.member.rank != member.rank).count();
        let no_place = others + 1 >= core.config.replicas as usize;
        if view.contains(member) || no_place || self.phase == Phase::TakingOver {
            return;
        }
        let served = self.served.entry(member.rank).or_default();
        if *served >= member.incarnation {
            let (view, incarnation) = (view.number, member.incarnation);
            out.send(member.rank, Message::StartOver { view, incarnation });
            return;
        }
        *served = member.incarnation;
        self.transfers += 1;
        let offered = offer.filter(|offer| offer.epoch == view.epoch && core.history.knows(offer));
        let source = offered.map_or(Source::Whole(Exporter::default()), |offer| Source::After(offer.op));
        let id = self.transfers;
        let transfer = Box::new(Transfer { id, source, parts: VecDeque::new(), acked: 0, progress: now });
        let early = !core.rule(Rule::JoinBeforeCount);
        let peer = Peer::new(member, PeerStanding::Receiving(transfer), now, core.config.timing.retry);
        self.peers.insert(member.rank, peer);
        if early {
            let backups = self.peers.values().map(|peer| peer.member).collect();
            self.ask_for(core, now, backups, Reason::Joined { member }, out);
        }
        self.start_transfer(core, now, out);
    }

    /// One transfer at a time, unless the one under way makes no progress: several at once would each take as long as
    /// all of them together, and patience is measured for one.
    pub(super) fn start_transfer(&mut self, core: &Core, now: Time, out: &mut Outbox) {
        let patience = core.config.timing.first_word;
        let mut next: Option<&Peer> = None;
        for peer in self.peers.values() {
            let PeerStanding::Receiving(transfer) = &peer.standing else { continue };
            if !transfer.waits() && now.since(transfer.progress) <= patience {
                return;
            }
            let is_before =
                |next: &Peer| matches!(&next.standing, PeerStanding::Receiving(other) if transfer.id < other.id);
            if transfer.waits() && next.is_none_or(is_before) {
                next = Some(peer);
            }
        }
        let Some(to) = next.map(|peer| peer.member) else { return };
        if let Some(Peer { standing: PeerStanding::Receiving(transfer), .. }) = self.peers.get_mut(&to.rank) {
            // What it misses may not be here any more: it has waited for its turn.
            if matches!(transfer.source, Source::After(op) if core.history.after(op).is_none()) {
                transfer.source = Source::Whole(Exporter::default());
            }
            out.tell(match transfer.source {
                Source::After(op) => Event::CatchUpStarted { to, op, missing: core.store.op().0 - op.0 },
                _ => Event::TransferStarted { to, keys: core.store.len() as u64 },
            });
        }
        self.fill_window(core, now, to.rank, out);
    }

    pub(super) fn on_snapshot_ok(
        &mut self,
        core: &mut Core,
        now: Time,
        member: Member,
        transfer: u64,
        next: u64,
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peer_mut(member) else { return };
        peer.hear(core, now);
        let (PeerStanding::Receiving(running) | PeerStanding::CatchingUp(running)) = &mut peer.standing else { return };
        if running.id != transfer || next > running.next_index() || next <= running.acked {
            return;
        }
        let newly = usize::try_from(next - running.acked).expect("within the window");
        let newest = running.parts.drain(..newly).next_back();
        if let Some((Some(sent), _)) = newest {
            core.weather.note_round_trip(&core.config.timing, now, member.rank, now.since(sent));
        }
        (running.acked, running.progress) = (next, now);
        let installed = matches!(running.source, Source::Done) && running.parts.is_empty();
        peer.resend.answered(now, peer.retry(core));
        self.fill_window(core, now, member.rank, out);
        self.start_transfer(core, now, out);
        if installed {
            self.send_heartbeats(core, now, out); // Its lease is all that is missing.
        }
    }

    /// Keeps the window of a transfer full. With the last part the log begins to follow.
    fn fill_window(&mut self, core: &Core, now: Time, rank: Rank, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(&rank) else { return };
        let view = core.view_number();
        while let PeerStanding::Receiving(transfer) = &mut peer.standing
            && (transfer.parts.len() as u64) < TRANSFER_WINDOW
        {
            let part = match &mut transfer.source {
                Source::Whole(exporter) => match exporter.next_chunk(&core.store) {
                    Some(chunk) => SnapshotPart::Chunk(chunk),
                    None => SnapshotPart::Finale(Box::new(std::mem::take(exporter).finish(&core.store))),
                },
                Source::After(op) => match core.history.after(*op) {
                    Some(missing) => {
                        let newest = missing.last().map(|entry| entry.op);
                        *op = newest.unwrap_or(*op);
                        if newest.is_some() { SnapshotPart::Missing(missing) } else { SnapshotPart::NoneMissing }
                    }
                    None => {
                        // It was too slow, and what it needs is not here any more. If this word is lost, it asks again.
                        let incarnation = peer.member.incarnation;
                        out.send(rank, Message::StartOver { view, incarnation });
                        self.peers.remove(&rank);
                        return;
                    }
                },
                Source::Done => return,
            };
            Self::send_part(core, now, peer, part.into(), out);
        }
    }

    /// Sends the next part. After the last one the log follows.
    fn send_part(core: &Core, now: Time, peer: &mut Peer, part: Arc<SnapshotPart>, out: &mut Outbox) {
        let PeerStanding::Receiving(transfer) = &mut peer.standing else { return };
        let (view, index, last) = (core.view_number(), transfer.next_index(), part.is_last());
        transfer.parts.push_back((Some(now), Arc::clone(&part)));
        let (rank, to, transfer_id) = (peer.member.rank, peer.member.incarnation, transfer.id);
        out.send(rank, Message::Snapshot { view, to, transfer: transfer_id, index, part });
        if last {
            let parts = std::mem::take(&mut transfer.parts);
            let done = Transfer { source: Source::Done, parts, ..**transfer };
            peer.standing = PeerStanding::CatchingUp(Box::new(done));
            peer.acked = core.store.op();
            Self::repeat_prepares(core, peer, out);
        }
    }
}
