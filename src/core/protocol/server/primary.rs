//! The primary: orders writes, answers clients, and looks after its peers.

use super::held::{Doomed, Early, RequestQueue};
use super::peer::{Peer, PeerStanding};
use super::scans::Scans;
use super::sweep::Sweep;
use super::transfer::{Source, Transfer};
use super::{Core, LOG_OPS_MAX, Proposal, SwapError, Ticket};
use crate::core::protocol::message::{Message, Reason, Request};
use crate::core::protocol::time::Backoff;
use crate::core::protocol::view::{Incarnation, METADATA, Member, Rank, View};
use crate::core::protocol::{CrashPoint, Doom, Event, Outbox, Rule, Time};
use crate::core::store::{
    Bytes, Chance, ClientId, Command, Db, Exporter, LogEntry, OpNumber, Reply, SESSION_REPLIES_MAX, Seq, Stamp,
    StoreError,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The most writes repeated to one peer at a time.
const REPEATED_PREPARES_MAX: usize = 256;
/// A joining server that has been silent for this many times the usual silence is let go.
const JOINER_SILENCES: u32 = 6;
/// A primary that hears no backup lets itself be replaced when the metadata server has not answered for this many
/// announce intervals.
const CUT_OFF_ANNOUNCES: u32 = 6;
/// Of this many clients it is remembered what their newest write in the log is: then of those with one there alone.
const LOGGED_MAX: usize = 2 * LOG_OPS_MAX;

/// What only a primary needs.
#[derive(Debug, Clone)]
pub struct Primary {
    pub(super) phase: Phase,
    /// With this ticket it is on the disk that this server leads the view.
    noted: Option<Ticket>,
    pub(super) peers: BTreeMap<Rank, Peer>,
    next_heartbeat: Time,
    /// No proposal is sent before this.
    next_proposal: Time,
    /// The view that was asked for last, unless there is no reason for it any more.
    proposal: Option<Proposal>,
    /// Since when this primary has been asking for another view than this one.
    asked_since: Option<Time>,
    /// Requests that cannot be served yet.
    held: RequestQueue,
    /// Reads that wait for a lease.
    unleased: RequestQueue,
    /// Reads of keys that are past their time: they wait until that is in the store.
    stale: RequestQueue,
    /// The newest entry that expires keys.
    expiring: OpNumber,
    /// Requests that have overtaken an earlier write of their client.
    early: Early,
    pub(super) scans: Scans,
    /// There is more to apply, or to serve, than a slice.
    is_behind: bool,
    /// A request that makes this server crash, as soon as a backup has proved that it lives.
    doomed: Option<Doomed>,
    /// Per client: its newest write in the log.
    logged: BTreeMap<ClientId, Seq>,
    pub(super) sweep: Sweep,
    /// Crash instead of answering this write.
    crash_instead_of_answering: Option<(Doom, OpNumber)>,
    /// The newest transfer: grows within this primary's time, and from primary to primary.
    pub(super) transfers: u64,
    /// The newest incarnation of each server that has had a transfer.
    pub(super) served: BTreeMap<Rank, Incarnation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The backups do not all have this view's log yet: nobody is served.
    TakingOver,
    Serving,
    /// Everything is being committed, then `to` takes over; afterwards nothing may be served in this view.
    HandingOver {
        to: Rank,
        /// `None` while the log is being drained; then when to tell again.
        tell_at: Option<Time>,
        deadline: Time,
    },
}

impl Primary {
    /// A member becomes the primary of a view that it asked for, or of the first view.
    pub(super) fn take_over(core: &mut Core, now: Time, view: &Arc<View>, out: &mut Outbox) -> Self {
        let retry = core.config.timing.retry;
        let peer = |member: &Member| (member.rank, Peer::new(*member, PeerStanding::Starting, now, retry));
        let mut primary = Self {
            phase: Phase::TakingOver,
            noted: core.note_view(),
            peers: view.backups.iter().map(peer).collect(),
            next_heartbeat: now,
            next_proposal: now,
            proposal: None,
            asked_since: None,
            held: RequestQueue::default(),
            unleased: RequestQueue::default(),
            stale: RequestQueue::default(),
            expiring: OpNumber(0),
            early: Early::default(),
            scans: Scans::default(),
            is_behind: false,
            doomed: None,
            logged: newest_in_log(core),
            sweep: Sweep::begin(core, now),
            crash_instead_of_answering: None,
            transfers: view.number.0 << 32,
            served: BTreeMap::new(),
        };
        primary.start_view(core, now, None, out);
        primary.advance(core, now, out);
        primary
    }

    /// A view with the same primary: servers came or went.
    pub(super) fn on_own_view(&mut self, core: &mut Core, now: Time, view: &Arc<View>, out: &mut Outbox) {
        let retry = core.config.timing.retry;
        // Who is in neither view stays (it may be receiving the state); who was dropped, goes.
        self.peers.retain(|_, peer| view.contains(peer.member) || !peer.is_backup());
        for backup in &view.backups {
            let peer = self
                .peers
                .entry(backup.rank)
                .and_modify(|peer| {
                    if peer.member != *backup {
                        *peer = Peer::new(*backup, PeerStanding::Starting, now, retry);
                    }
                })
                .or_insert_with(|| Peer::new(*backup, PeerStanding::Starting, now, retry));
            peer.standing = PeerStanding::Starting;
            peer.given_up = false;
            peer.resend = Backoff::new(now, peer.retry(core));
        }
        // Whoever was asked for but not accepted: in this view nobody has been asked for yet.
        for peer in self.peers.values_mut().filter(|peer| matches!(peer.standing, PeerStanding::Counted)) {
            let (parts, id) = (VecDeque::new(), u64::MAX);
            let transfer = Transfer { id, source: Source::Done, parts, acked: id, progress: now };
            peer.standing = PeerStanding::CatchingUp(Box::new(transfer));
        }
        if matches!(self.phase, Phase::HandingOver { .. }) {
            self.phase = Phase::Serving;
        }
        self.next_proposal = now;
        self.proposal = None;
        self.asked_since = None;
        self.start_view(core, now, None, out);
        self.advance(core, now, out);
    }

    /// Sends the view and the uncommitted log to all backups, or to one.
    fn start_view(&self, core: &Core, now: Time, only: Option<Rank>, out: &mut Outbox) {
        let view = core.view.as_ref().expect("a primary has a view");
        let starting = self.peers.values().filter(|peer| matches!(peer.standing, PeerStanding::Starting));
        for peer in starting.filter(|peer| only.is_none_or(|rank| rank == peer.member.rank)) {
            let tail = core.log.iter().cloned().collect();
            let (view, commit) = (Arc::clone(view), core.store.op());
            out.send(peer.member.rank, Message::StartView { view, commit, tail, sent: now });
        }
    }

    /// True when this primary answers (reads also need leases).
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::HandingOver { tell_at: None, .. })
    }

    /// True while nobody else can be primary.
    pub(super) fn has_leases(&self, core: &Core, now: Time) -> bool {
        !core.rule(Rule::Lease) || self.lease_until() > now
    }

    /// The moment until which nobody else can be primary ([`Time::NEVER`] ends: there is nobody else).
    #[must_use]
    pub fn lease_until(&self) -> Time {
        let replacing = self.peers.values().filter(|peer| peer.could_replace());
        replacing.map(|peer| peer.lease_until).min().unwrap_or(Time::NEVER)
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.doomed.is_some() || self.crash_instead_of_answering.is_some() || self.held.has_doomed()
    }

    pub(super) fn has_given_up_a_peer(&self) -> bool {
        let leaves_out = |to: &View| self.peers.values().any(|peer| peer.could_replace() && !to.contains(peer.member));
        self.proposal.as_ref().is_some_and(|proposal| leaves_out(&proposal.to))
    }

    /// How long the lease was at first that ends soonest.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        let replacing = self.peers.values().filter(|peer| peer.could_replace());
        replacing.min_by_key(|peer| peer.lease_until).map(|peer| peer.lease)
    }

    /// The longest silence that a backup may keep.
    pub(super) fn silence(&self, core: &Core, now: Time) -> Option<Duration> {
        self.peers.values().filter(|peer| peer.is_backup()).map(|peer| peer.silence(core, now)).max()
    }

    /// How many requests wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len() + self.unleased.len() + self.stale.len() + self.early.len() + self.scans.len()
    }

    /// The servers that are receiving the state now, with the number of keys sent.
    pub fn transfers(&self) -> impl Iterator<Item = (Member, u64)> + '_ {
        self.peers.values().filter_map(|peer| match &peer.standing {
            PeerStanding::Receiving(transfer) => Some((
                peer.member,
                match &transfer.source {
                    Source::Whole(exporter) => exporter.keys_sent(),
                    Source::After(_) | Source::Done => 0,
                },
            )),
            _ => None,
        })
    }

    pub(super) fn take_held(&mut self) -> impl Iterator<Item = Request> + '_ {
        let doomed = self.doomed.take().map(|doomed| doomed.request);
        let held = std::iter::from_fn(|| self.held.pop().or_else(|| self.unleased.pop()).or_else(|| self.stale.pop()));
        let early = std::iter::from_fn(|| self.early.pop());
        let held = doomed.into_iter().chain(held.map(|(request, _)| request)).chain(early);
        held.chain(self.scans.take_requests())
    }

    // ---- clients -------------------------------------------------------------------------------

    pub(super) fn on_request(
        &mut self,
        core: &mut Core,
        now: Time,
        request: Request,
        doom: Option<Doom>,
        out: &mut Outbox,
    ) {
        let waits = core.is_log_full() && !request.command.is_read();
        if self.phase != Phase::Serving || self.doomed.is_some() || waits {
            self.held.push(request, doom);
            return;
        }
        self.serve(core, now, request, doom, out);
        self.advance(core, now, out);
    }

    fn serve(&mut self, core: &mut Core, now: Time, request: Request, doom: Option<Doom>, out: &mut Outbox) {
        let Request { client, seq, .. } = request;
        let view = core.view.as_ref().expect("a primary has a view");
        if request.epoch != view.epoch {
            out.send(Rank(client.rank()), Message::NotPrimary { client, seq, view: Some(Arc::clone(view)) });
            return;
        }
        match doom {
            Some(doom) if self.has_backup() || core.config.dice_patience > Duration::ZERO => {
                self.prove_backup(core, now, request, doom, out)
            }
            Some(Doom { drawn, .. }) => {
                // The dice spare the last server that holds the data.
                out.tell(Event::Spared { drawn });
                self.carry_out(core, now, request, None, out);
            }
            None => self.carry_out(core, now, request, None, out),
        }
    }

    fn has_backup(&self) -> bool {
        self.peers.values().any(Peer::is_sure_backup)
    }

    /// Before this server crashes on purpose, a backup has to show that the data survives it.
    fn prove_backup(&mut self, core: &Core, now: Time, request: Request, doom: Doom, out: &mut Outbox) {
        self.doomed = Some(Doomed { request, doom, since: now });
        self.send_heartbeats(core, now, out);
    }

    fn carry_out(&mut self, core: &mut Core, now: Time, request: Request, doom: Option<Doom>, out: &mut Outbox) {
        let Request { client, seq, .. } = request;
        if let Some(doom) = doom.filter(|doom| doom.point == CrashPoint::Arrival) {
            core.crashed = Some((doom, core.op()));
            return;
        }
        if let Err(error) = request.command.check_limits() {
            Self::answer(core, client, seq, Reply::Error(error), out);
        } else if self.is_early(core, &request) {
            self.early.push(request);
        } else if request.command.is_read() {
            self.serve_read(core, now, request, doom, out);
        } else {
            self.serve_write(core, now, request, doom, out);
        }
    }

    /// The client's newest write in the store, and in the log.
    fn newest_of(&self, core: &Core, client: ClientId) -> (Seq, Seq) {
        let applied = core.store.sessions().get(client).map_or(Seq(0), |session| session.last);
        (applied, applied.max(self.logged.get(&client).copied().unwrap_or_default()))
    }

    /// An earlier write of the client is missing: it has not arrived or, for a read, is not in the store yet.
    fn is_early(&self, core: &Core, request: &Request) -> bool {
        if request.after == Seq(0) {
            return false;
        }
        let (applied, logged) = self.newest_of(core, request.client);
        if applied == Seq(0) && core.store.sessions().has_ended(request.client) {
            return false; // It will never be there.
        }
        request.after > if request.command.is_read() { applied } else { logged }
    }

    /// Serves what waited for a write that is there now.
    fn serve_early(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        let end = out.work + core.config.slice;
        while !core.is_log_full() && core.crashed.is_none() {
            if out.work >= end {
                self.is_behind = true;
                return;
            }
            let mut early = std::mem::take(&mut self.early);
            let request = early.pop_if(|request| !self.is_early(core, request));
            self.early = early;
            let Some(request) = request else { return };
            self.serve(core, now, request, None, out);
        }
    }

    fn serve_read(&mut self, core: &mut Core, now: Time, request: Request, doom: Option<Doom>, out: &mut Outbox) {
        if let Some(doom) = doom {
            core.crashed = Some((doom, core.op()));
        } else if !self.has_leases(core, now) {
            self.unleased.push(request, None);
        } else if request.command.keys_pattern().is_some() {
            self.on_keys(core, now, request, out);
        } else {
            let stamp = core.stamp(now);
            let stale = core.store.stale_keys(&request.command, stamp.time);
            if !stale.is_empty() {
                // Who reads that a key is gone must never see it again, however slow the next primary's clock is.
                self.expire(core, now, stale, out);
                self.stale.push(request, None);
                return;
            }
            // Nothing is logged that would change what chance is taken from, so each request has its own.
            let seed = Chance::new(stamp.seed ^ request.seq.0.rotate_left(32) ^ u64::from(request.client)).draw();
            let reply = core.store.read_at(&request.command, Stamp { seed, ..stamp });
            Self::answer(core, request.client, request.seq, reply, out);
        }
    }

    /// Has it logged that these keys are past their time; one such entry at a time.
    fn expire(&mut self, core: &mut Core, now: Time, keys: Vec<(Db, Bytes)>, out: &mut Outbox) {
        if keys.is_empty() || self.expiring > core.store.op() {
            return;
        }
        self.expiring = core.op().next();
        self.write(core, now, Command::Expire(keys.into()), out);
    }

    /// Expires keys whose time is over.
    fn expire_due(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        let is_due = || core.store.next_expiry().is_some_and(|at| at <= core.stamp(now).time);
        if self.phase == Phase::Serving && !core.is_log_full() && self.expiring <= core.store.op() && is_due() {
            let keys = core.store.past_their_time(core.stamp(now).time);
            self.expire(core, now, keys, out);
        }
    }

    /// Writes something of the primary's own accord.
    pub(super) fn write(&mut self, core: &mut Core, now: Time, command: Command, out: &mut Outbox) {
        let seq = Seq(core.op().next().0);
        self.log(core, now, (ClientId::PRIMARY, seq, seq), command);
        self.prepare_newest(core, now, out);
    }

    fn log(&self, core: &mut Core, now: Time, (client, seq, acked): (ClientId, Seq, Seq), command: Command) {
        let (op, stamp) = (core.op().next(), core.stamp(now));
        core.append(Arc::new(LogEntry { op, client, seq, acked, stamp, command }));
    }

    /// Sends the newest entry to everybody who has to have it.
    fn prepare_newest(&mut self, core: &Core, now: Time, out: &mut Outbox) {
        let Some(entry) = core.log.back() else { return };
        let (view, commit) = (core.view_number(), core.store.op());
        for peer in self.peers.values_mut().filter(|peer| peer.is_required()) {
            if peer.acked.next() == entry.op {
                // Nothing else is under way: patience begins now, and not at what was acknowledged last.
                peer.resend.answered(now, peer.retry(core));
            }
            out.send(peer.member.rank, Message::Prepare { view, commit, entry: Arc::clone(entry) });
        }
    }

    fn serve_write(&mut self, core: &mut Core, now: Time, request: Request, doom: Option<Doom>, out: &mut Outbox) {
        let Request { client, seq, acked, command, .. } = request;
        let session = core.store.sessions().get(client);
        let logged = self.logged.get(&client).copied().unwrap_or_default();
        let last = session.map_or(logged, |session| logged.max(session.last));
        let has_ended = session.is_none() && core.store.sessions().has_ended(client);
        if (seq <= last || has_ended) && core.rule(Rule::Sessions) {
            let ended = has_ended.then_some(Reply::Error(StoreError::SessionEnded));
            if let Some(doom) = doom {
                core.crashed = Some((doom, core.op()));
            } else if let Some(reply) = ended.or_else(|| session?.reply(seq).cloned()) {
                Self::answer(core, client, seq, reply, out);
            }
            // Otherwise it is in the log and will be answered, or the client has the answer already.
            return;
        }
        if core.store.size_bytes() > core.config.memory_bytes_max && command.needs_memory() {
            Self::answer(core, client, seq, Reply::Error(StoreError::OUT_OF_MEMORY), out);
            return;
        }
        debug_assert!(session.is_none_or(|session| session.pending_replies() <= SESSION_REPLIES_MAX));
        if self.logged.len() >= LOGGED_MAX {
            self.logged = newest_in_log(core);
        }
        self.logged.insert(client, seq);
        let op = core.op().next();
        self.log(core, now, (client, seq, acked), Arc::unwrap_or_clone(command));
        let crash = doom.map(|doom| (doom, op));
        match doom.map(|doom| doom.point) {
            Some(CrashPoint::BeforePrepare) => {
                core.crashed = crash;
                return;
            }
            Some(CrashPoint::BeforeReply) => self.crash_instead_of_answering = crash,
            _ => {}
        }
        self.prepare_newest(core, now, out);
        if doom.is_some_and(|doom| doom.point == CrashPoint::AfterPrepare) {
            core.crashed = crash;
        }
    }

    pub(super) fn answer(core: &Core, client: ClientId, seq: Seq, reply: Reply, out: &mut Outbox) {
        let view = core.view_number();
        out.send(Rank(client.rank()), Message::Reply { client, seq, view, reply });
    }

    // ---- commit --------------------------------------------------------------------------------

    /// Commits what everybody has, and takes the steps that become possible by it.
    fn advance(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        if core.crashed.is_some() {
            return;
        }
        let everybody = self.peers.values().filter(|peer| peer.is_required()).map(|peer| peer.acked).min();
        // This server's own disk is one more of those that a write waits for.
        let target = match everybody {
            Some(acked) if core.rule(Rule::WaitForAll) => acked.min(core.acked_op()),
            _ => core.acked_op(),
        };
        self.is_behind = false;
        if target > core.store.op() {
            self.commit(core, target, out);
        }
        if core.crashed.is_some() {
            return;
        }
        self.step_phase(core, now, out);
        self.serve_held(core, now, out);
    }

    fn commit(&mut self, core: &mut Core, target: OpNumber, out: &mut Outbox) {
        let mut target = target.min(core.op());
        // The backup may have gone since the dice fell.
        if !self.has_backup()
            && let Some((Doom { drawn, .. }, _)) = self.crash_instead_of_answering.take()
        {
            out.tell(Event::Spared { drawn });
        }
        let crash = self.crash_instead_of_answering.filter(|(_, op)| *op <= target);
        if let Some((_, op)) = crash {
            target = op;
        }
        let diary = core.diary.as_ref().is_some_and(super::Diary::is_noting);
        core.store.note_touches(diary || self.scans.is_noting() || self.exporters().next().is_some());
        let view = core.view_number();
        core.commit_to(target, out, |id, reply, out| {
            if crash.is_none_or(|(_, op)| op != id.op) {
                let (client, seq) = (id.client, id.seq);
                out.send(Rank(client.rank()), Message::Reply { client, seq, view, reply });
            }
        });
        for touch in core.store.take_touches() {
            self.scans.note(&touch);
            self.exporters().for_each(|exporter| exporter.note(&touch));
            core.diary.iter_mut().for_each(|diary| diary.note(&touch));
        }
        self.is_behind |= core.store.op() < target;
        if crash.is_some_and(|(_, op)| op <= core.store.op()) {
            core.crashed = crash;
        }
    }

    /// Those who read the store for a server that receives it.
    fn exporters(&mut self) -> impl Iterator<Item = &mut Exporter> {
        self.peers.values_mut().filter_map(|peer| match &mut peer.standing {
            PeerStanding::Receiving(transfer) => match &mut transfer.source {
                Source::Whole(exporter) => Some(exporter),
                Source::After(_) | Source::Done => None,
            },
            _ => None,
        })
    }

    fn step_phase(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        let patience = self.handover_patience(core, now);
        let settled =
            core.log.is_empty() && self.peers.values().all(|peer| !matches!(peer.standing, PeerStanding::Starting));
        match &mut self.phase {
            Phase::TakingOver if settled && !self.noted.is_some_and(|ticket| core.waits_for(ticket)) => {
                self.phase = Phase::Serving;
                out.tell(Event::Serving { view: core.view_number(), op: core.store.op() });
            }
            Phase::HandingOver { to, tell_at, deadline } if settled && tell_at.is_none_or(|at| now >= at) => {
                if tell_at.is_none() {
                    *deadline = now + patience;
                }
                *tell_at = Some(now + core.config.timing.retry);
                out.send(*to, Message::Handover { view: core.view_number(), op: core.op() });
            }
            _ => {}
        }
    }

    fn serve_held(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        if self.phase != Phase::Serving {
            return;
        }
        // A server that is about to join is waited for, but not for long: then the dice spare the last copy.
        let patience = core.config.dice_patience;
        let backup = self.has_backup();
        let in_vain = |doomed: &mut Doomed| !backup && now.since(doomed.since) > patience;
        if let Some(Doomed { request, doom: Doom { drawn, .. }, .. }) = self.doomed.take_if(in_vain) {
            out.tell(Event::Spared { drawn });
            self.carry_out(core, now, request, None, out);
        }
        let end = out.work + core.config.slice;
        while self.has_leases(core, now)
            && out.work < end
            && let Some((request, _)) = self.unleased.pop()
        {
            self.serve(core, now, request, None, out);
        }
        if core.store.op() >= self.expiring {
            for _ in 0..self.stale.len() {
                let Some((request, _)) = self.stale.pop() else { break };
                self.serve(core, now, request, None, out);
            }
        }
        for _ in 0..self.held.len() {
            let blocked = core.is_log_full() || core.crashed.is_some();
            if blocked || self.doomed.is_some() || out.work >= end {
                break;
            }
            let Some((request, doom)) = self.held.pop() else { break };
            self.serve(core, now, request, doom, out);
        }
        self.is_behind |= out.work >= end && self.held.len() + self.unleased.len() > 0;
        self.serve_early(core, now, out);
        // Without backups nothing else would commit what was just logged.
        let alone = self.peers.values().all(|peer| !peer.is_required());
        while alone && core.store.op() < core.acked_op() && core.crashed.is_none() && out.work < end {
            self.commit(core, core.acked_op(), out);
            self.serve_early(core, now, out);
        }
        self.is_behind |= alone && core.store.op() < core.acked_op();
    }

    /// More of the log is on this server's disk.
    pub(super) fn on_durable(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        self.advance(core, now, out);
    }

    // ---- peers ---------------------------------------------------------------------------------

    pub(super) fn peer_mut(&mut self, member: Member) -> Option<&mut Peer> {
        self.peers.get_mut(&member.rank).filter(|peer| peer.member == member)
    }

    /// A peer has everything up to `op`; with `lease_from`, it also granted a lease.
    pub(super) fn on_ack(
        &mut self,
        core: &mut Core,
        now: Time,
        member: Member,
        op: OpNumber,
        granted: Option<(Time, Duration)>,
        out: &mut Outbox,
    ) {
        let end = core.op();
        let Some(peer) = self.peer_mut(member) else { return };
        peer.hear(core, now);
        if let Some((sent, lease)) = granted {
            core.weather.note_round_trip(&core.config.timing, now, member.rank, now.since(sent));
            (peer.lease, peer.lease_until) = (lease, peer.lease_until.max(sent + lease));
            let proves = matches!(peer.standing, PeerStanding::Started) && peer.is_sure_backup();
            if let Some(Doomed { request, doom, .. }) = self.doomed.take_if(|doomed| proves && sent >= doomed.since) {
                self.carry_out(core, now, request, Some(doom), out);
                if core.crashed.is_some() {
                    return;
                }
            }
        }
        let Some(peer) = self.peer_mut(member) else { return };
        if matches!(peer.standing, PeerStanding::Receiving(_) | PeerStanding::Starting) {
            return;
        }
        if op > peer.acked {
            peer.acked = op.min(end);
            peer.resend.answered(now, peer.retry(core));
        }
        // The last part must be acknowledged in this very transfer: a lease alone may come from a server that
        // still has the state of an earlier one.
        let installed = matches!(&peer.standing, PeerStanding::CatchingUp(transfer) if transfer.parts.is_empty());
        if installed && peer.lease_until > now {
            peer.standing = PeerStanding::Counted;
            out.tell(Event::TransferDone { to: member, keys: core.store.len() as u64, op: core.store.op() });
            self.next_proposal = now;
            self.propose(core, now, out);
        }
        self.advance(core, now, out);
    }

    pub(super) fn on_started(
        &mut self,
        core: &mut Core,
        now: Time,
        member: Member,
        op: OpNumber,
        granted: (Time, Duration),
        out: &mut Outbox,
    ) {
        if let Some(peer) = self.peer_mut(member)
            && matches!(peer.standing, PeerStanding::Starting)
        {
            peer.standing = PeerStanding::Started;
        }
        self.on_ack(core, now, member, op, Some(granted), out);
    }

    pub(super) fn repeat_prepares(core: &Core, peer: &Peer, out: &mut Outbox) {
        let (view, commit) = (core.view_number(), core.store.op());
        let missing = core.log.iter().skip_while(|entry| entry.op <= peer.acked);
        for entry in missing.take(REPEATED_PREPARES_MAX) {
            out.send(peer.member.rank, Message::Prepare { view, commit, entry: Arc::clone(entry) });
        }
    }

    // ---- membership ----------------------------------------------------------------------------

    /// Asks for the view that suits what is known of the peers, if that is another one. Everything ever
    /// asked for in one view has the same primary and only peers whose acknowledgements and leases are
    /// required until a newer view is known, so whichever request is accepted, nothing was done without it.
    pub(super) fn propose(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        if now < self.next_proposal {
            return;
        }
        let dead = |peer: &&Peer| core.is_dead(peer.member);
        let lost = |peer: &&Peer| peer.restarted || dead(peer) || peer.is_silent(core, now);
        let candidates = || self.peers.values().filter(|peer| peer.could_replace());
        let undecided = matches!(self.phase, Phase::HandingOver { tell_at: Some(_), deadline, .. } if now >= deadline);
        let reason = if let Some(peer) = candidates().find(lost) {
            let silent_ms = u64::try_from(now.since(peer.heard).as_millis()).unwrap_or(u64::MAX);
            let backup = peer.member;
            if dead(&peer) {
                if self.asked_since.is_none() {
                    out.tell(Event::KnownDead { peer: backup });
                }
                Reason::BackupDied { backup }
            } else if peer.restarted {
                Reason::Restarted { backup }
            } else {
                if self.next_proposal < peer.heard + peer.silence(core, now) {
                    out.tell(Event::Suspected { peer: backup, silent_ms });
                }
                Reason::BackupSilent { backup, silent_ms }
            }
        } else if let Some(peer) = candidates().find(|peer| matches!(peer.standing, PeerStanding::Counted)) {
            Reason::Joined { member: peer.member }
        } else if undecided {
            Reason::Handover
        } else {
            self.proposal = self.proposal.take().filter(|proposal| proposal.confirmed);
            self.asked_since = None;
            return;
        };
        let backups: Vec<Member> = candidates().filter(|peer| !lost(peer)).map(|peer| peer.member).collect();
        let left_out = candidates().filter(|peer| !backups.contains(&peer.member) && !dead(peer));
        let suspects: Vec<_> = left_out.map(|peer| (peer.member.rank, peer.spoke.unwrap_or(peer.heard))).collect();
        for (rank, heard) in suspects {
            core.weather.note_suspect(&core.config.timing, rank, heard);
        }
        self.ask_for(core, now, backups, reason, out);
    }

    /// What it has just heard is no matter for patience.
    pub(super) fn ask_at_once(&mut self, now: Time) {
        self.next_proposal = now;
    }

    pub(super) fn ask_for(&mut self, core: &Core, now: Time, backups: Vec<Member>, reason: Reason, out: &mut Outbox) {
        let view = core.view.as_ref().expect("a primary has a view");
        let to = Arc::new(view.successor(core.me, backups));
        self.next_proposal = now + core.config.timing.retry;
        self.asked_since.get_or_insert(now);
        out.send(METADATA, Message::ChangeView { to: Arc::clone(&to), reason, confirms: None });
        let confirmed = self.proposal.take().is_some_and(|old| old.confirmed && old.to == to);
        self.proposal = Some(Proposal { to, reason, again_at: self.next_proposal, confirmed });
    }

    /// The metadata server asks back: this primary lives, and still wants what it asked for last. From here on
    /// whoever is left out may forget everything at any moment.
    pub(super) fn confirm(&mut self, to: Arc<View>, asked: Time, out: &mut Outbox) {
        let Some(proposal) = self.proposal.as_mut().filter(|proposal| proposal.to == to) else { return };
        proposal.confirmed = true;
        let reason = proposal.reason;
        for peer in self.peers.values_mut().filter(|peer| !to.contains(peer.member)) {
            peer.given_up = true;
        }
        out.send(METADATA, Message::ChangeView { to, reason, confirms: Some(asked) });
    }

    pub(super) fn start_handover(&mut self, core: &Core, now: Time) -> Result<(), SwapError> {
        if self.phase != Phase::Serving {
            return Err(SwapError::Busy);
        }
        let started = self.peers.values().find(|peer| matches!(peer.standing, PeerStanding::Started));
        let backup = started.ok_or(SwapError::NoBackup)?;
        let deadline = now + self.handover_patience(core, now);
        self.phase = Phase::HandingOver { to: backup.member.rank, tell_at: None, deadline };
        Ok(())
    }

    /// To drain the log, and then for the backup to take over, there is this much time.
    fn handover_patience(&self, core: &Core, now: Time) -> Duration {
        self.silence(core, now).unwrap_or(core.config.timing.silence) * 2
    }

    // ---- time ----------------------------------------------------------------------------------

    pub(super) fn tick(&mut self, core: &mut Core, now: Time, missed: Duration, out: &mut Outbox) {
        self.peers.values_mut().for_each(|peer| peer.heard = (peer.heard + missed).min(now));
        if now >= self.next_heartbeat {
            self.send_heartbeats(core, now, out);
        }
        self.let_go(core, now);
        self.start_transfer(core, now, out);
        self.repeat(core, now, out);
        self.propose(core, now, out);
        if let Phase::HandingOver { tell_at: None, deadline, .. } = self.phase
            && now >= deadline
        {
            self.phase = Phase::Serving; // It could not be drained in time; nothing was given away yet.
        }
        self.expire_due(core, now, out);
        self.end_silent(core, now, out);
        self.advance(core, now, out);
        if core.crashed.is_none() {
            self.scan_on(core, now, out);
        }
    }

    pub(super) fn send_heartbeats(&mut self, core: &Core, now: Time, out: &mut Outbox) {
        self.next_heartbeat = now + core.config.timing.heartbeat;
        if self.is_cut_off(core, now) {
            return;
        }
        let (view, commit) = (core.view_number(), core.store.op());
        for peer in self.peers.values().filter(|peer| peer.is_required()) {
            let round_trip = core.weather.round_trip(peer.member.rank);
            out.send(peer.member.rank, Message::Heartbeat { view, commit, sent: now, round_trip });
        }
    }

    /// True when no backup is heard any more, and the metadata server does not answer: then this primary can serve
    /// nobody, and a backup that still hears it had better take over.
    fn is_cut_off(&self, core: &Core, now: Time) -> bool {
        let patience = core.config.timing.announce * CUT_OFF_ANNOUNCES;
        self.asked_since.is_some_and(|since| now.since(since) >= patience)
            && self.proposal.as_ref().is_some_and(|proposal| proposal.to.backups.is_empty())
    }

    /// Joining servers that fell silent, as long as nobody was asked to add them.
    fn let_go(&mut self, core: &Core, now: Time) {
        let timing = &core.config.timing;
        self.peers.retain(|rank, peer| match peer.standing {
            PeerStanding::Receiving(_) | PeerStanding::CatchingUp(_) if core.is_dead(peer.member) => false,
            PeerStanding::Receiving(_) => {
                now.since(peer.heard) <= core.weather.silence(timing, now, *rank) * JOINER_SILENCES
            }
            PeerStanding::CatchingUp(_) => !peer.is_silent(core, now),
            _ => true,
        });
    }

    fn repeat(&mut self, core: &Core, now: Time, out: &mut Outbox) {
        let view = core.view_number();
        let mut starting = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| now >= peer.resend.at) {
            let is_missing_something = match &mut peer.standing {
                PeerStanding::Starting => {
                    starting.push(peer.member.rank);
                    true
                }
                PeerStanding::Receiving(transfer) | PeerStanding::CatchingUp(transfer)
                    if !transfer.parts.is_empty() =>
                {
                    transfer.resend(peer.member, view, out);
                    true
                }
                PeerStanding::Receiving(_) => false,
                _ => {
                    Self::repeat_prepares(core, peer, out);
                    peer.acked < core.op()
                }
            };
            if is_missing_something {
                peer.resend.repeated(now, peer.retry(core));
            } else {
                peer.resend = Backoff::new(now, peer.retry(core));
            }
        }
        for rank in starting {
            self.start_view(core, now, Some(rank), out);
        }
    }

    pub(super) fn deadline(&self) -> Time {
        if self.is_behind || self.scans.is_busy { Time::default() } else { self.next_heartbeat }
    }
}

/// The newest write of each client that has one in the log.
fn newest_in_log(core: &Core) -> BTreeMap<ClientId, Seq> {
    let entries = core.log.iter().map(|entry| (entry.client, entry.seq));
    entries.filter(|(client, _)| *client != ClientId::PRIMARY).collect()
}
