//! A server: a closed set of roles over one store and one log.
//!
//! ```text
//!              recruited              has everything, view accepted
//!      idle ─────────────▶ joining ──────────────────────────────▶ backup
//!        ▲                    ▲                                   │      ▲
//!        │ no place           │ not in the newest view:           │      │ handed over
//!        │                    │ forget everything, new incarnation│      │
//!        └────────────────────┴───────────────◀───────────────────┤      │
//!                             └────────────◀──── primary ◀────────┘──────┘
//!                                                      suspected the old one, view accepted
//! ```
//!
//! | file | role |
//! |---|---|
//! | [`joining`] | idle and joining: empty, or receiving the state |
//! | [`backup`] | acknowledges every write, grants leases, suspects |
//! | [`primary`] | orders writes, answers clients, looks after its peers |
//! | [`held`] | requests that a primary cannot serve yet |
//! | `dispatch` | which message is for which role |
//! | `diary` | what it has handed to its disk, and what of it is there for good |
//! | `scans` | `KEYS`, a slice at a time |
//! | `sweep` | the end of sessions that are silent for long |
//! | `looks` | what can be asked about a server, which changes nothing |
//! | `patience` | how long a silence must be before it means something |
//! | `peer` | what a primary knows of a server that it sends to |
//! | `transfer` | how a primary brings a server in |
//!
//! The log holds only what is not yet known to be committed: a write that every member has
//! acknowledged is applied and forgotten, so the log needs no trimming of its own.

pub mod backup;
pub mod diary;
mod dispatch;
pub mod held;
pub mod joining;
mod looks;
mod patience;
mod peer;
pub mod primary;
mod scans;
mod swap;
mod sweep;
mod transfer;

use super::message::{Message, Reason, Request};
use super::view::{Incarnation, METADATA, Member, Rank, View, ViewNumber};
use super::{Config, Doom, Event, History, Outbox, Recovered, Rule, Rules, Time};
use crate::core::store::{Bytes, Chance, ClientId, LogEntry, OpNumber, Reply, Stamp, Store, StoreError, UnixMs};
use backup::Backup;
use diary::{Diary, Ticket};
use joining::Joining;
use patience::{Promise, Weather};
use primary::Primary;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
pub use swap::SwapError;

/// The most writes that may be under way.
pub const LOG_OPS_MAX: usize = 16_384;
/// The most bytes of keys and values that may be under way (4 MiB); one more write is always allowed. A new primary
/// sends as much in one message.
pub const LOG_BYTES_MAX: usize = 4 << 20;
/// The most Prepare messages that a backup keeps because an earlier one is still missing.
const AHEAD_MAX: usize = 1024;
/// A life is short that lasts for less than this many announce intervals.
const SHORT_LIFE_ANNOUNCES: u32 = 10;
/// No longer than after this many short lives in a row a server waits before it asks to join again.
const SHORT_LIVES_MAX: u32 = 8;
/// Of the writes that were on the disk the last ones are looked at, this many, for the keys to be shown.
const LOOKED_AT_MAX: usize = 4_096;

/// What every role has.
#[derive(Debug, Clone)]
pub(super) struct Core {
    me: Member,
    config: Config,
    view: Option<Arc<View>>,
    /// Everything that is committed, applied.
    store: Store,
    /// What follows, in order, not known to be committed.
    log: VecDeque<Arc<LogEntry>>,
    log_bytes: usize,
    /// As backup or joining server: the newest write that is known to be committed. It may be in the log still, for
    /// writes are applied a slice at a time.
    committed: OpNumber,
    /// Writes that arrived before the ones that they follow.
    ahead: BTreeMap<OpNumber, Arc<LogEntry>>,
    /// Grows whenever the whole store is replaced.
    generation: u64,
    /// A `RESET` is to end the epoch: this server serves nobody until there is another view.
    retired: Option<u64>,
    /// The newest `RESET` that came to nothing: a late word of it is not heeded.
    unretired: u64,
    /// How late words are, and how far away peers.
    weather: Weather,
    /// What this server has promised by the leases that it has granted, in whatever role.
    promise: Promise,
    /// How many lives of this server in a row were short, and when the present one began.
    short_lives: u32,
    born: Time,
    /// How this server has crashed: it must not be handed anything any more.
    crashed: Option<(Doom, OpNumber)>,
    /// Its disk, if it has one.
    diary: Option<Diary>,
    /// The latest writes, where there are disks.
    history: History,
    /// All lives of these servers before that one are over, for certain.
    over: BTreeMap<Rank, Incarnation>,
}

impl Core {
    /// The newest write in the log that this server may acknowledge.
    fn acked_op(&self) -> OpNumber {
        match &self.diary {
            Some(diary) if self.rule(Rule::SyncBeforeAck) => diary.op().min(self.op()),
            _ => self.op(),
        }
    }

    /// Tells the primary which writes this server has.
    fn acknowledge(&self, primary: Rank, out: &mut Outbox) {
        let (view, incarnation, op) = (self.view_number(), self.me.incarnation, self.acked_op());
        out.send(primary, Message::PrepareOk { view, incarnation, op });
    }

    /// What depends on this record has to wait.
    fn waits_for(&self, ticket: Ticket) -> bool {
        self.rule(Rule::SyncBeforeAck) && self.diary.as_ref().is_some_and(|diary| !diary.has(ticket))
    }

    /// Writes down that this server has, in the present view, what is in its log and nothing else.
    fn note_view(&mut self) -> Option<Ticket> {
        let keep = self.op();
        let view = Arc::clone(self.view.as_ref()?);
        Some(self.diary.as_mut()?.view(self.me, &view, keep))
    }

    /// The newest write in the log.
    fn op(&self) -> OpNumber {
        OpNumber(self.store.op().0 + self.log.len() as u64)
    }

    fn view_number(&self) -> ViewNumber {
        self.view.as_ref().map_or(ViewNumber(0), |view| view.number)
    }

    fn rule(&self, rule: Rule) -> bool {
        self.config.rules.on(rule)
    }

    fn is_member(&self, view: &View) -> bool {
        view.contains(self.me) || (!self.rule(Rule::Incarnation) && view.member_on(self.me.rank).is_some())
    }

    /// This life is over, for certain: whatever it was granted, it makes no use of it.
    fn is_dead(&self, member: Member) -> bool {
        self.over.get(&member.rank).is_some_and(|before| member.incarnation < *before)
    }

    fn append(&mut self, entry: Arc<LogEntry>) {
        assert_eq!(entry.op, self.op().next(), "the log has no gaps");
        let (view, commit) = (self.view_number(), self.committed.max(self.store.op()));
        if let Some(diary) = &mut self.diary {
            diary.entry(view, commit, &entry);
        }
        self.log_bytes += entry.command.size_bytes();
        self.log.push_back(entry);
    }

    /// As backup or joining server: takes in one write in whatever order they arrive.
    fn accept_prepare(&mut self, entry: Arc<LogEntry>) {
        let next = self.op().next();
        if entry.op > next {
            if self.ahead.len() < AHEAD_MAX {
                self.ahead.insert(entry.op, entry);
            }
            return;
        }
        if entry.op == next {
            self.ahead.remove(&entry.op);
            self.append(entry);
            while let Some(entry) = self.ahead.remove(&self.op().next()) {
                self.append(entry);
            }
        }
    }

    /// The state has arrived from the primary.
    fn install(&mut self, mut store: Store, out: &mut Outbox) {
        self.clear_log();
        self.committed = OpNumber(0);
        store.watch(self.store.watching());
        out.rubbish.push(std::mem::replace(&mut self.store, store));
        self.generation += 1;
        self.history = History::of(&self.store);
    }

    /// The state is from the disk, with the writes that led to it: the keys written last count as changed. So do those
    /// of `log`, which followed there: most likely they will follow again, and there would be no room for them then.
    fn note_newest(&mut self, log: &VecDeque<Arc<LogEntry>>) {
        // Those of the whole state that the log began with, if it did.
        let earlier = self.store.take_changed_if_any().unwrap_or_default();
        let entries = log.iter().rev().chain(self.history.newest_first()).take(LOOKED_AT_MAX);
        let keys = entries.flat_map(|entry| entry.command.named_keys().into_iter().rev());
        let mut newest: Vec<Bytes> = Vec::new();
        for key in keys.chain(earlier.iter().rev()) {
            if newest.len() >= self.store.watching() {
                break;
            }
            if !newest.contains(key) {
                newest.push(key.clone());
            }
        }
        newest.reverse();
        self.store.put_back_changed(newest);
    }

    /// Drops everything after what is committed.
    fn clear_log(&mut self) {
        self.log.clear();
        self.log_bytes = 0;
        self.ahead.clear();
    }

    /// Applies the log up to `target` (or its end), but no more than a slice. Hands each answer to `told`.
    fn commit_to(&mut self, target: OpNumber, out: &mut Outbox, mut told: impl FnMut(&LogEntryId, Reply, &mut Outbox)) {
        let end = out.work + self.config.slice;
        while self.store.op() < target && out.work < end {
            let Some(entry) = self.log.pop_front() else { return };
            let past = self.diary.is_some().then(|| Arc::clone(&entry));
            let entry = Arc::unwrap_or_clone(entry);
            self.log_bytes -= entry.command.size_bytes();
            let id = LogEntryId { op: entry.op, client: entry.client, seq: entry.seq };
            let work = self.store.work();
            let reply = self.store.apply(entry);
            out.work += self.store.work() - work;
            if let Some(past) = past {
                self.history.push(past, &self.store);
            }
            if out.detail && reply != Reply::Error(StoreError::SessionEnded) {
                out.tell(Event::Applied { op: id.op, client: id.client, seq: id.seq });
            }
            if id.client != ClientId::PRIMARY {
                told(&id, reply, out);
            }
        }
        out.rubbish.extend(self.store.take_rubbish());
    }

    /// True when the log takes no further write before some of it is committed.
    fn is_log_full(&self) -> bool {
        self.log.len() >= LOG_OPS_MAX || self.log_bytes >= LOG_BYTES_MAX
    }

    /// Time and chance of a log entry that is made now.
    fn stamp(&self, now: Time) -> Stamp {
        let place = self.op().0.rotate_left(32) ^ u64::from(self.me.rank.0) ^ (self.me.incarnation.0 << 48);
        let seed = Chance::new(place ^ self.store.digest()).draw();
        Stamp { time: self.log_time(now), seed }
    }

    /// The time that a log entry has which is made now.
    fn log_time(&self, now: Time) -> UnixMs {
        let newest = self.log.back().map_or(self.store.time(), |entry| entry.stamp.time);
        newest.max(self.config.unix_ms.saturating_add(now.as_millis()))
    }

    /// As backup or joining server: everything up to `commit` is committed. Goes on with applying it.
    fn follow(&mut self, commit: OpNumber, out: &mut Outbox) {
        self.committed = self.committed.max(commit);
        let noting = self.diary.as_ref().is_some_and(Diary::is_noting);
        if noting {
            self.store.note_touches(true);
        }
        self.commit_to(self.committed, out, |_, _, _| {});
        if noting {
            self.note_touched();
        }
    }

    /// What was touched meanwhile is news for a whole state that is being written.
    fn note_touched(&mut self) {
        for touch in self.store.take_touches() {
            self.diary.iter_mut().for_each(|diary| diary.note(&touch));
        }
        self.store.note_touches(false);
    }

    /// The whole state gets to the disk now and then.
    fn tend_snapshot(&mut self) {
        let op = self.op();
        if let Some(diary) = &mut self.diary {
            diary.tend_snapshot(&self.store, op, self.config.snapshot_bytes);
        }
    }

    /// Grants the primary of the view a lease, and promises what it means. Tells how long it is.
    fn grant(&mut self, now: Time) -> Duration {
        let primary = self.view.as_ref().expect("leases are for the primary of a view").primary.rank;
        let silence = self.weather.silence(&self.config.timing, now, primary);
        self.promise.grant(&self.config.timing, now, silence)
    }

    /// A life is over, and another one begins: from the second short life in a row on it waits before it asks to join,
    /// twice as long each time, so that what cannot stay does not come and go all the time.
    fn begin_life(&mut self, now: Time) {
        let short = now.since(self.born) < self.config.timing.announce * SHORT_LIFE_ANNOUNCES;
        self.short_lives = if short { (self.short_lives + 1).min(SHORT_LIVES_MAX) } else { 0 };
        self.born = now;
    }

    /// This life does not ask to join before.
    fn next_join(&self) -> Time {
        self.born + self.config.timing.heartbeat * (2_u32.pow(self.short_lives.saturating_sub(1)) - 1)
    }

    /// There is more to apply than a slice.
    fn is_behind(&self) -> bool {
        self.store.op() < self.committed && !self.log.is_empty()
    }
}

/// Which request a log entry was.
pub(super) struct LogEntryId {
    op: OpNumber,
    client: ClientId,
    seq: crate::core::store::Seq,
}

/// A proposal to the metadata server that is repeated until a newer view is known.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    to: Arc<View>,
    reason: Reason,
    again_at: Time,
    /// The metadata server may be about to accept it.
    confirmed: bool,
}

/// What a server leaves behind that forgets everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// An epoch. Who is a member of the new one's first view keeps its life.
    Epoch { is_member: bool },
    /// Its place in the view, or what it has received.
    Life,
}

/// The role, and what only that role needs.
#[derive(Debug, Clone)]
enum RoleState {
    Joining(Box<Joining>),
    Backup(Backup),
    Primary(Box<Primary>),
}

/// One life, or several, of one server.
#[derive(Debug, Clone)]
pub struct Server {
    core: Core,
    state: RoleState,
    last_turn: Option<Time>,
    next_announce: Time,
    /// The next client request that arrives meets this fate.
    armed: Option<Doom>,
}

impl Server {
    /// An empty server that belongs to nothing yet.
    #[must_use]
    pub fn new(me: Member, config: Config) -> Self {
        Self {
            core: Core {
                me,
                config,
                view: None,
                store: Store::default(),
                log: VecDeque::new(),
                log_bytes: 0,
                committed: OpNumber(0),
                ahead: BTreeMap::new(),
                generation: 0,
                retired: None,
                unretired: 0,
                weather: Weather::default(),
                promise: Promise::default(),
                short_lives: 0,
                born: Time::default(),
                crashed: None,
                diary: None,
                history: History::default(),
                over: BTreeMap::new(),
            },
            state: RoleState::Joining(Box::default()),
            last_turn: None,
            next_announce: Time::default(),
            armed: None,
        }
    }

    /// A server that has a disk, with what was on it; `written` is the last ticket that was given before.
    #[must_use]
    pub fn with_disk(me: Member, config: Config, had: Recovered, written: Ticket) -> Self {
        let mut server = Self::new(me, config);
        let mut diary = Diary::new(written);
        // What no view vouches for is not to be gone on with.
        let counts = had.holder.is_some() || had.op() == OpNumber(0);
        if counts {
            diary.live(me)
        } else {
            diary.forget(me, true)
        }
        server.next_announce = Time::NEVER;
        server.core.diary = Some(diary);
        server.state = RoleState::Joining(Box::new(Joining::with_held(had)));
        server
    }

    /// Everything up to this ticket is on this server's disk.
    pub fn durable(&mut self, now: Time, ticket: Ticket, out: &mut Outbox) {
        let Some(diary) = &mut self.core.diary else { return };
        let news = diary.durable(ticket);
        if diary.is_born_now() {
            self.next_announce = Time::default();
        }
        match &mut self.state {
            _ if self.core.retired.is_some() => {}
            RoleState::Joining(joining) => joining.on_durable(&self.core, out),
            RoleState::Backup(backup) => backup.on_durable(&mut self.core, now, news, out),
            RoleState::Primary(primary) => primary.on_durable(&mut self.core, now, out),
        }
        if self.holds_data() {
            self.core.tend_snapshot();
        }
        self.hand_over(out);
    }

    /// What is to be written leaves with the rest.
    fn hand_over(&mut self, out: &mut Outbox) {
        if let Some(diary) = &mut self.core.diary {
            out.writes.append(&mut diary.take());
        }
    }

    /// It is certain that all lives of the server on `rank` before that one are over: their process has ended. This is
    /// a proof and no suspicion: who is dead reads nothing any more, so no lease is waited for.
    pub fn died(&mut self, now: Time, rank: Rank, before: Incarnation, out: &mut Outbox) {
        let known = self.core.over.entry(rank).or_default();
        if *known >= before {
            return;
        }
        *known = before;
        let member = self.core.view.as_ref().and_then(|view| view.member_on(rank));
        if self.core.crashed.is_some() || !member.is_some_and(|member| self.core.is_dead(member)) {
            return;
        }
        if let RoleState::Primary(primary) = &mut self.state {
            primary.ask_at_once(now);
        }
        self.tick(now, out);
    }

    /// The next client request that arrives makes this server crash, if it is primary and a backup lives.
    pub fn arm(&mut self, doom: Doom) {
        self.armed = Some(doom);
    }

    /// Switches the rules (for demonstrations).
    pub fn set_rules(&mut self, rules: Rules) {
        self.core.config.rules = rules;
    }

    /// As primary: hand over to a backup as soon as everything is committed.
    ///
    /// # Errors
    /// When this server is not primary, or there is no backup.
    pub fn swap(&mut self, now: Time) -> Result<(), SwapError> {
        match &mut self.state {
            RoleState::Primary(primary) => primary.start_handover(&self.core, now),
            _ => Err(SwapError::NotPrimary(self.core.me.rank)),
        }
    }

    /// Takes in one message from another rank.
    pub fn handle(&mut self, now: Time, from: Rank, message: Message, out: &mut Outbox) {
        self.take_in(now, from, message, out);
        self.hand_over(out);
    }

    /// Does what time asks for, and what was put off to the end of a turn (one acknowledgement for many
    /// writes). To be called after every batch of messages, and at [`Server::deadline`].
    pub fn tick(&mut self, now: Time, out: &mut Outbox) {
        self.do_what_is_due(now, out);
        if self.holds_data() && self.core.crashed.is_none() {
            self.core.tend_snapshot();
        }
        self.hand_over(out);
    }

    fn do_what_is_due(&mut self, now: Time, out: &mut Outbox) {
        debug_assert!(self.core.crashed.is_none(), "a crashed server does not tick");
        let timing = self.core.config.timing;
        // A server that was itself held up has not observed all of the silence of others: only an ordinary turn's.
        let gap = self.last_turn.map_or(Duration::ZERO, |last| now.since(last));
        let missed = if gap > timing.stall { gap - timing.heartbeat } else { Duration::ZERO };
        self.last_turn = Some(now);
        if self.core.retired.is_some() && now >= self.next_announce {
            self.say_retired(now, out);
        }
        if now >= self.next_announce {
            let eager = self.core.view.is_none() || matches!(self.state, RoleState::Joining(_));
            self.next_announce = now + if eager { timing.retry } else { timing.announce };
            let (member, role, view, op) = (self.core.me, self.role(), self.core.view_number(), self.core.op());
            out.send(METADATA, Message::Announce { member, role, view, op });
            if let RoleState::Joining(joining) = &self.state
                && self.core.diary.is_some()
                && joining.is_blank()
            {
                out.send(METADATA, Message::Held { member, shelf: joining.shelf() });
            }
        }
        if self.core.retired.is_some() {
            return;
        }
        match &mut self.state {
            RoleState::Joining(joining) => joining.tick(&mut self.core, now, out),
            RoleState::Backup(backup) => backup.tick(&mut self.core, now, missed, out),
            RoleState::Primary(primary) => primary.tick(&mut self.core, now, missed, out),
        }
    }

    /// When [`Server::tick`] wants to be called next, at the latest.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let timing = &self.core.config.timing;
        let own = match &self.state {
            _ if self.core.retired.is_some() => Time::NEVER,
            RoleState::Joining(joining) => joining.deadline(&self.core),
            RoleState::Backup(backup) => backup.deadline(&self.core, self.last_turn.unwrap_or_default()),
            RoleState::Primary(primary) => primary.deadline(),
        };
        // Turns must come often enough that an ordinary one is not taken for a stall.
        let turn = self.last_turn.map_or(Time::default(), |last| last + timing.heartbeat);
        own.min(self.next_announce).min(turn)
    }

    /// The metadata server ends the epoch, or has given that up.
    fn retire(&mut self, now: Time, reset: u64, off: bool, out: &mut Outbox) {
        if off {
            self.core.retired = self.core.retired.filter(|known| *known > reset);
            self.core.unretired = self.core.unretired.max(reset);
        } else if self.holds_data() && reset > self.core.unretired && self.core.retired.is_none_or(|old| old <= reset) {
            self.core.retired = Some(reset);
            self.say_retired(now, out);
        }
    }

    fn say_retired(&self, now: Time, out: &mut Outbox) {
        let holds = self.core.promise.until.since(now);
        if let Some(reset) = self.core.retired {
            let (view, incarnation) = (self.core.view_number(), self.core.me.incarnation);
            out.send(METADATA, Message::Retired { view, incarnation, reset, holds });
        }
    }

    fn on_request(&mut self, now: Time, from: Rank, request: Request, doom: Option<Doom>, out: &mut Outbox) {
        if let RoleState::Primary(primary) = &mut self.state {
            primary.on_request(&mut self.core, now, request, doom, out);
        } else {
            let (client, seq) = (request.client, request.seq);
            out.send(from, Message::NotPrimary { client, seq, view: self.core.view.clone() });
        }
    }

    fn on_peer(
        &mut self,
        now: Time,
        from: Rank,
        view: ViewNumber,
        incarnation: Incarnation,
        out: &mut Outbox,
        then: impl FnOnce(&mut Primary, &mut Core, Member, &mut Outbox),
    ) {
        if self.is_current(now, from, view, out)
            && let RoleState::Primary(primary) = &mut self.state
        {
            then(primary, &mut self.core, Member { rank: from, incarnation }, out);
        }
    }

    /// Fencing: refuses a message of an older view, and asks about a newer one.
    fn is_current(&mut self, now: Time, from: Rank, view: ViewNumber, out: &mut Outbox) -> bool {
        match view.cmp(&self.core.view_number()) {
            Ordering::Equal => return true,
            Ordering::Less if !self.core.rule(Rule::Fencing) => return true,
            Ordering::Less => {
                self.core.weather.note_old_word(&self.core.config.timing, now, from);
                self.point_to_view(from, out);
            }
            Ordering::Greater => out.send(from, Message::GetView),
        }
        false
    }

    fn point_to_view(&self, to: Rank, out: &mut Outbox) {
        if let Some(view) = &self.core.view {
            out.send(to, Message::Refused { view: Arc::clone(view) });
        }
    }

    /// Takes notice of a view. The one place where roles change.
    fn learn(&mut self, now: Time, view: Arc<View>, out: &mut Outbox) {
        if view.number <= self.core.view_number() {
            return;
        }
        let before = self.role();
        let fresh = self.core.view.as_ref().map_or(0, |old| old.epoch) != view.epoch;
        let member = self.core.is_member(&view);
        self.drop_held(&view, member, out);
        // A transfer under way goes on when the view changed but not the primary.
        let (blank, receiving) = match &self.state {
            RoleState::Joining(joining) => (joining.is_blank(), joining.receives_from(view.primary)),
            _ => (false, false),
        };
        if !blank && (fresh || !(member || receiving)) {
            let left = if fresh { Left::Epoch { is_member: member } } else { Left::Life };
            self.forget(now, left, out);
        }
        let same_primary = self.core.view.as_ref().is_some_and(|old| old.primary == view.primary);
        self.core.view = Some(Arc::clone(&view));
        self.core.retired = None;
        if member {
            self.take_role(now, &view, same_primary, out);
        } else if let RoleState::Joining(joining) = &mut self.state {
            joining.ask_soon(self.core.next_join());
        }
        let after = self.role();
        if before != after {
            out.tell(Event::RoleChanged { from: before, to: after, view: view.number });
        }
    }

    /// What was on the disk counts no more in a new epoch, nor for a member that does not lead with it.
    fn drop_held(&mut self, view: &View, member: bool, out: &mut Outbox) {
        let RoleState::Joining(joining) = &mut self.state else { return };
        let Some(held) = joining.held() else { return };
        let is_over = held.epoch < view.epoch;
        if held.epoch != view.epoch || (member && view.primary != self.core.me) {
            joining.drop_held(out);
            let me = self.core.me;
            match &mut self.core.diary {
                // It stays on the disk until something of the new epoch follows: that no life of this server has
                // installed a view of that epoch may be all there is to tell that it has never begun.
                Some(diary) if is_over => diary.outdate(),
                Some(diary) => diary.forget(me, false),
                None => {}
            }
        }
    }

    /// Drops role and state. A server that stays a member (of a new epoch's empty view) keeps its
    /// incarnation; any other becomes a stranger.
    fn forget(&mut self, now: Time, left: Left, out: &mut Outbox) {
        let before = self.core.me;
        if left != (Left::Epoch { is_member: true }) {
            self.core.me.incarnation = self.core.me.incarnation.next();
            out.tell(Event::Forgot { incarnation: self.core.me.incarnation });
        }
        self.core.install(Store::default(), out);
        if let Some(diary) = &mut self.core.diary {
            match left {
                Left::Epoch { is_member: true } => diary.forget(before, false),
                Left::Epoch { is_member: false } => {
                    // That this life has installed no view of the new epoch stays on the disk (see `drop_held`).
                    diary.forget(before, false);
                    diary.live(self.core.me);
                }
                Left::Life => diary.forget(self.core.me, true),
            }
        }
        let recruited = matches!(&self.state, RoleState::Joining(joining) if joining.is_recruited());
        self.core.begin_life(now);
        let joining = Joining::new(recruited, self.core.next_join());
        let before = std::mem::replace(&mut self.state, RoleState::Joining(Box::new(joining)));
        if let RoleState::Joining(joining) = before {
            out.rubbish.extend(joining.into_rest());
        }
        let is_unborn = self.core.diary.as_ref().is_some_and(Diary::is_unborn);
        self.next_announce = if is_unborn { Time::NEVER } else { Time::default() };
    }

    fn take_role(&mut self, now: Time, view: &Arc<View>, same_primary: bool, out: &mut Outbox) {
        let mine = view.primary == self.core.me
            || (!self.core.rule(Rule::Incarnation) && view.primary.rank == self.core.me.rank);
        if mine {
            if let RoleState::Primary(primary) = &mut self.state {
                self.core.note_view();
                primary.on_own_view(&mut self.core, now, view, out);
            } else {
                if let RoleState::Joining(joining) = &mut self.state {
                    joining.come_back(&mut self.core, view, out);
                }
                if !self.core.rule(Rule::Tail) {
                    self.core.clear_log();
                }
                self.core.ahead.clear();
                let primary = Primary::take_over(&mut self.core, now, view, out);
                self.state = RoleState::Primary(Box::new(primary));
            }
            return;
        }
        // A primary that becomes backup has handed over: what it did not serve goes to the new one.
        if let RoleState::Primary(primary) = &mut self.state {
            for request in primary.take_held() {
                out.send(view.primary.rank, Message::Request(request));
            }
        }
        let spoke = match &self.state {
            RoleState::Backup(backup) if same_primary => backup.spoke(),
            RoleState::Joining(joining) => joining.spoke(view.primary),
            _ => None,
        };
        self.state = RoleState::Backup(Backup::new(now, spoke));
    }
}
