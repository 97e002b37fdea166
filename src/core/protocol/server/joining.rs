//! Idle and joining: a server without state, or one that is receiving it.

use super::Core;
use super::diary::Ticket;
use super::transfer::TRANSFER_WINDOW;
use crate::core::protocol::message::{Held, Message, Offer, Shelf, SnapshotPart};
use crate::core::protocol::view::{Member, Rank, View};
use crate::core::protocol::{Event, Outbox, Record, Recovered, Role, Time};
use crate::core::store::{Importer, LogEntry, OpNumber, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A transfer that has made no step for this many retry intervals is asked after.
const STALE_TRANSFER_RETRIES: u32 = 10;
/// Patience with a primary that does not answer doubles this many times.
const DOUBLINGS_MAX: u32 = 3;

/// What only a server without a place in the view needs.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    recruited: bool,
    source: Option<StateSource>,
    next_join: Time,
    /// How often the primary was asked since there was news of any.
    asked: u32,
    ack_due: bool,
    /// What was on the disk when this life began.
    held: Option<Box<Recovered>>,
    /// Who has written to the disk since the newest view that is on it.
    lives: Option<(Member, Member)>,
}

/// Where the state comes from.
#[derive(Debug, Clone)]
struct StateSource {
    primary: Member,
    transfer: u64,
    /// The part that is expected next.
    next: u64,
    /// `None` when everything has arrived.
    importer: Option<Importer>,
    /// Parts that have overtaken the next one.
    ahead: BTreeMap<u64, Arc<SnapshotPart>>,
    progress: Time,
    /// With this ticket all of it is on the disk.
    whole: Option<Ticket>,
}

/// What follows from a part of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    /// This life has received something else already, or something wrong: only a new one can begin again.
    StartOver,
}

impl Joining {
    /// Asks nobody before `next_join`.
    pub(super) fn new(recruited: bool, next_join: Time) -> Self {
        Self { recruited, next_join, ..Self::default() }
    }

    /// With what was on the disk.
    pub(super) fn with_held(had: Recovered) -> Self {
        let lives = had.since.zip(had.member);
        let held = had.holder.is_some().then(|| Box::new(had));
        Self { held, lives, ..Self::default() }
    }

    /// What was on the disk, in short.
    pub(super) fn held(&self) -> Option<Held> {
        let had = self.held.as_ref()?;
        let (holder, view) = had.holder.as_ref()?;
        Some(Held { holder: *holder, view: view.number, epoch: view.epoch, op: had.op() })
    }

    /// The same, for the metadata server.
    pub(super) fn shelf(&self) -> Shelf {
        Shelf { held: self.held(), lives: self.lives }
    }

    pub(super) fn drop_held(&mut self, out: &mut Outbox) {
        out.rubbish.extend(self.held.take().map(|had| had.store));
    }

    /// What is on the disk of what is committed.
    fn offer(&self) -> Option<Offer> {
        let had = self.held.as_ref().filter(|_| self.source.is_none())?;
        let (store, epoch) = (&had.store, had.holder.as_ref()?.1.epoch);
        Some(Offer { epoch, op: store.op(), time: store.time(), digest: store.digest() })
    }

    /// The primary sends only what is missing: goes on with what is committed on the disk.
    fn go_on_with_held(&mut self, core: &mut Core, out: &mut Outbox) -> bool {
        let Some(had) = self.held.take() else { return false };
        let Recovered { store, log, holder, history, .. } = *had;
        let keep = store.op();
        core.install(store, out);
        core.history = history;
        core.note_newest(&log);
        if let (Some(diary), Some((member, view))) = (&mut core.diary, holder) {
            diary.was_read(keep);
            diary.view(member, &view, keep);
        }
        true
    }

    /// This server leads a view: as one of the epoch that is on the disk, it leads with that.
    pub(super) fn come_back(&mut self, core: &mut Core, view: &View, out: &mut Outbox) {
        let Some(had) = self.held.take() else { return };
        let same_epoch = had.holder.as_ref().is_some_and(|(_, held)| held.epoch == view.epoch);
        if !same_epoch || self.source.is_some() {
            out.rubbish.push(had.store);
            return;
        }
        let Recovered { store, log, history, .. } = *had;
        core.install(store, out);
        core.history = history;
        core.note_newest(&log);
        core.log_bytes = log.iter().map(|entry| entry.command.size_bytes()).sum();
        core.log = log;
        let op = core.op();
        if let Some(diary) = &mut core.diary {
            diary.was_read(op);
        }
        out.tell(Event::CameBack { op });
    }

    pub(super) fn is_recruited(&self) -> bool {
        self.recruited
    }

    /// True when there is nothing to forget.
    pub(super) fn is_blank(&self) -> bool {
        self.source.is_none()
    }

    /// How many keys have arrived, and of how many.
    pub(super) fn progress(&self) -> Option<(u64, u64)> {
        let importer = self.source.as_ref()?.importer.as_ref()?;
        Some((importer.keys() as u64, importer.total()))
    }

    /// What has arrived of a state that is not whole.
    pub(super) fn into_rest(self) -> Option<Store> {
        Some(self.source?.importer?.into_rest())
    }

    fn has_everything(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.importer.is_none())
    }

    pub(super) fn set_recruited(&mut self, core: &Core, recruited: bool, out: &mut Outbox) {
        // Once the state is on its way, the primary decides; a place that is filled meanwhile shows in the view.
        if self.recruited != recruited && (recruited || self.source.is_none()) {
            self.recruited = recruited;
            let (from, to) = if recruited { (Role::Idle, Role::Joining) } else { (Role::Joining, Role::Idle) };
            out.tell(Event::RoleChanged { from, to, view: core.view_number() });
        }
    }

    /// True while the state comes, or has come, from this life of the primary.
    pub(super) fn receives_from(&self, primary: Member) -> bool {
        self.source.as_ref().is_some_and(|source| source.primary == primary)
    }

    /// A newer view was learnt: no need to wait for an answer of the old one's primary.
    pub(super) fn ask_soon(&mut self, not_before: Time) {
        (self.next_join, self.asked) = (not_before, 0);
    }

    /// When this life of the primary was heard last, if it was.
    pub(super) fn spoke(&self, primary: Member) -> Option<Time> {
        self.source.as_ref().filter(|source| source.primary == primary).map(|source| source.progress)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn on_snapshot(
        &mut self,
        core: &mut Core,
        now: Time,
        from: Rank,
        transfer: u64,
        index: u64,
        part: Arc<SnapshotPart>,
        out: &mut Outbox,
    ) -> Next {
        let primary = core.view.as_ref().expect("a current message has a view").primary;
        if primary.rank != from {
            return Next::GoOn;
        }
        if self.source.as_ref().is_some_and(|source| source.transfer < transfer) {
            return Next::StartOver;
        }
        if self.source.is_none() && index == 0 {
            let missing = part.is_missing();
            if missing && !self.go_on_with_held(core, out) {
                return Next::StartOver;
            }
            let importer = Some(Importer::default());
            let (ahead, whole) = (BTreeMap::new(), None);
            self.source = Some(StateSource { primary, transfer, next: 0, importer, ahead, progress: now, whole });
            out.rubbish.extend(self.held.take().map(|had| had.store));
            let view = core.view.clone();
            if let Some(diary) = core.diary.as_mut().filter(|_| !missing) {
                diary.void();
                diary.write(Record::Begin { member: core.me, view, replaces: true });
            }
        }
        let Some(source) = self.source.as_mut().filter(|s| s.primary == primary && s.transfer == transfer) else {
            return Next::GoOn;
        };
        if (source.next..source.next + TRANSFER_WINDOW).contains(&index) && source.importer.is_some() {
            source.ahead.insert(index, part);
            source.progress = now;
        }
        while let Some(part) = source.ahead.remove(&source.next)
            && let Some(importer) = &mut source.importer
        {
            source.next += 1;
            if let Some(diary) = core.diary.as_mut().filter(|_| !part.is_missing()) {
                diary.write(Record::Part { part: Arc::clone(&part) });
            }
            match Arc::unwrap_or_clone(part) {
                SnapshotPart::Chunk(chunk) => importer.add(chunk),
                SnapshotPart::Missing(entries) => {
                    for entry in entries {
                        if entry.op != core.op().next() {
                            return Next::StartOver;
                        }
                        let op = entry.op;
                        core.committed = core.committed.max(op);
                        core.append(entry);
                    }
                    core.follow(OpNumber(0), out);
                }
                SnapshotPart::NoneMissing => {
                    source.importer = None;
                    source.whole = core.note_view();
                }
                SnapshotPart::Finale(finale) => {
                    let importer = source.importer.take().expect("seen above");
                    match importer.finish(*finale) {
                        Ok(store) => {
                            core.install(store, out);
                            source.whole = core.note_view();
                        }
                        Err(error) => {
                            out.tell(Event::Operator { what: error.to_string() });
                            return Next::StartOver;
                        }
                    }
                }
            }
        }
        Self::acknowledge(source, core, out);
        Next::GoOn
    }

    /// Tells what has arrived; the last part only when all of them are on the disk.
    fn acknowledge(source: &StateSource, core: &Core, out: &mut Outbox) {
        let next = source.next - u64::from(source.whole.is_some_and(|ticket| core.waits_for(ticket)));
        let (view, incarnation, transfer) = (core.view_number(), core.me.incarnation, source.transfer);
        out.send(source.primary.rank, Message::SnapshotOk { view, incarnation, transfer, next });
    }

    /// More is on the disk.
    pub(super) fn on_durable(&mut self, core: &Core, out: &mut Outbox) {
        let Some(source) = self.source.as_mut().filter(|source| source.importer.is_none()) else { return };
        if source.whole.take_if(|ticket| core.diary.as_ref().is_some_and(|diary| diary.has(*ticket))).is_some() {
            Self::acknowledge(source, core, out);
        }
        self.ack_due = true;
    }

    pub(super) fn on_prepare(
        &mut self,
        core: &mut Core,
        now: Time,
        from: Rank,
        commit: OpNumber,
        entry: Arc<LogEntry>,
        out: &mut Outbox,
    ) {
        if self.has_everything() && self.is_from_source(from, now) {
            core.accept_prepare(entry);
            self.ack_due |= core.acked_op() == core.op();
            core.follow(commit, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn on_heartbeat(
        &mut self,
        core: &mut Core,
        now: Time,
        from: Rank,
        commit: OpNumber,
        sent: Time,
        round_trip: Duration,
        out: &mut Outbox,
    ) {
        if self.has_everything() && self.is_from_source(from, now) {
            core.weather.learn_round_trip(&core.config.timing, now, from, round_trip);
            core.follow(commit, out);
            let (view, incarnation, op) = (core.view_number(), core.me.incarnation, core.acked_op());
            let lease = core.grant(now);
            out.send(from, Message::HeartbeatOk { view, incarnation, op, sent, lease });
        }
    }

    fn is_from_source(&mut self, from: Rank, now: Time) -> bool {
        match &mut self.source {
            Some(source) if source.primary.rank == from => {
                source.progress = now;
                true
            }
            _ => false,
        }
    }

    pub(super) fn tick(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        let timing = core.config.timing;
        let Some(view) = core.view.clone() else { return };
        core.follow(OpNumber(0), out);
        if self.ack_due
            && let Some(source) = &self.source
        {
            self.ack_due = false;
            core.acknowledge(source.primary.rank, out);
        }
        if !self.recruited {
            return;
        }
        let patience = timing.retry * STALE_TRANSFER_RETRIES;
        let asleep = self.source.as_ref().is_none_or(|source| now.since(source.progress) > patience);
        if asleep && now >= self.next_join {
            self.next_join = now + timing.retry * 2_u32.pow(self.asked.min(DOUBLINGS_MAX));
            self.asked += 1;
            out.send(view.primary.rank, Message::Join { member: core.me, offer: self.offer() });
        }
    }

    pub(super) fn deadline(&self, core: &Core) -> Time {
        if self.ack_due || core.is_behind() { Time::default() } else { Time::NEVER }
    }
}
