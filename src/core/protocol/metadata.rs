//! The metadata server: a compare-and-swap register that holds the current view.
//!
//! It accepts the first valid [`Message::ChangeView`] that follows the current view and tells everybody
//! what was decided. It never decides by itself who is dead: only a member of the view may ask, and
//! what the servers announce serves the display, the first view, and joining. So it is off the data
//! path, and a late or repeated message can do no harm.
//!
//! Who asks for a view may have died while the request travelled, or waited here; and whoever is left out of a view
//! forgets everything. So the request alone decides nothing: the asker is asked back ([`Message::Confirm`]), and only
//! its answer, if it comes soon, makes the view. Until then all members of the old view keep what they have, and each
//! of them may ask. Nothing is remembered of a question: its time travels with it, and comes back.
//!
//! `RESET` is fenced: a primary that is cut off from here could go on answering in the old epoch, and its clients would
//! lose what it acknowledged. So the members are told to stop first ([`Message::Retire`]). The old epoch is over once
//! its primary has said that it has, or is known to be dead; or once a backup has, and what it had promised
//! the primary has ended. If none of them can be asked, the `RESET` is refused, and all go on as before.

use super::message::{Held, Message, Reason, Shelf};
use super::returning::{Returning, Shelves, Waiting};
use super::view::{Incarnation, Member, Rank, View, ViewNumber};
use super::{Config, Event, Outbox, Record, Recovered, Role, Rule, Time};
use crate::core::store::OpNumber;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The latest views kept for `VIEW`.
pub const VIEW_RECORDS_MAX: usize = 1024;
/// Two clocks' rates differ by less than one in this many.
const CLOCK_SHARE: u32 = 4;
/// A server that has not announced itself for this many announce intervals is not counted as there.
const ABSENT_ANNOUNCES: u32 = 8;
/// A `RESET` is refused when the old epoch is not known to be over after this many announce intervals.
const FENCE_ANNOUNCES: u32 = 10;
/// A server that was recruited and has not got a place for this many announce intervals keeps no other one waiting.
const RECRUIT_ANNOUNCES: u32 = 10;
/// A record of the metadata server takes this many bytes on its disk, about.
const LEDGER_RECORD_BYTES: u64 = 96;
/// After a `RESET` the servers have this many announce intervals to show that they live.
const RESET_ANNOUNCES: u32 = 3;

/// A view and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewRecord {
    /// When the metadata server decided.
    pub at: Time,
    /// What it decided.
    pub view: Arc<View>,
    /// Why.
    pub reason: Reason,
    /// Who asked; `None` for the metadata server itself.
    pub asked_by: Option<Rank>,
}

/// What is known of a server from its own announcements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownServer {
    /// Its present life.
    pub member: Member,
    /// What it says it is.
    pub role: Role,
    /// The newest view it says it knows.
    pub view: ViewNumber,
    /// The newest write it says it has.
    pub op: OpNumber,
    /// When it last announced itself.
    pub heard: Time,
}

/// A `RESET` that waits for the end of the old epoch.
#[derive(Debug, Clone)]
struct Fence {
    deadline: Time,
    /// The members are told again then.
    ask_at: Time,
    /// From then on nobody answers in the old epoch.
    over_at: Option<Time>,
}

/// A view that nobody hears of before it is on the disk.
#[derive(Debug, Clone)]
struct Decided {
    ticket: u64,
    view: Arc<View>,
    reason: Reason,
    asked_by: Option<Rank>,
}

/// The metadata server's disk, as it knows it.
#[derive(Debug, Clone, Default)]
struct Ledger {
    run: u64,
    written: u64,
    since_summary: u64,
    records: Vec<Record>,
    decided: Option<Decided>,
    /// What the servers have said of their disks.
    told: Shelves,
}

impl Ledger {
    fn write(&mut self, record: Record) -> u64 {
        self.written += 1;
        self.since_summary += 1;
        self.records.push(record);
        self.written
    }

    /// The view that was decided on. The older ones are for people to read; after `bytes_max` of them they go.
    fn view(&mut self, view: Arc<View>, from: Option<Member>, bytes_max: u64) -> u64 {
        if self.since_summary * LEDGER_RECORD_BYTES < bytes_max {
            return self.write(Record::Chosen { view, from });
        }
        let ticket = self.write(Record::Summary { run: self.run, view, from });
        self.since_summary = 0;
        ticket
    }
}

/// The metadata server.
#[derive(Debug, Clone)]
pub struct Metadata {
    config: Config,
    started: Option<Time>,
    ticked: Time,
    view: Option<Arc<View>>,
    /// The old epoch was over, then: only servers that have announced themselves since are known to live.
    reset_at: Option<Time>,
    /// How many `RESET`s there were.
    resets: u64,
    /// A `RESET` whose old epoch may not be over yet.
    fence: Option<Fence>,
    /// Why the last `RESET` was refused.
    refusal: Option<String>,
    /// All lives of a server before this one are known to be over.
    over: BTreeMap<Rank, Incarnation>,
    /// Servers that were told to join, since when.
    recruited: BTreeMap<Rank, Time>,
    servers: BTreeMap<Rank, KnownServer>,
    /// Lives that a view was changed to be rid of: they wait for no place.
    removed: BTreeMap<Rank, Incarnation>,
    /// How old a confirmation may be that comes from this server, since one was older than that before.
    patience: BTreeMap<Rank, Duration>,
    records: VecDeque<ViewRecord>,
    requests: u64,
    failovers: u64,
    /// Its disk, if the cluster has disks.
    ledger: Option<Ledger>,
    /// Nobody leads yet; somebody has something on its disk.
    returning: Option<Returning>,
    /// One log is enough that has what was acknowledged ([`Metadata::with_disk`]).
    one_is_enough: bool,
    /// The newest view number and epoch that are known to be on any disk.
    newest: (ViewNumber, u32),
    /// The life whose log the current view began with, if all were down before.
    came_from: Option<Member>,
}

impl Metadata {
    /// A metadata server that knows nobody yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            started: None,
            ticked: Time::default(),
            view: None,
            reset_at: None,
            resets: 0,
            fence: None,
            refusal: None,
            over: BTreeMap::new(),
            recruited: BTreeMap::new(),
            servers: BTreeMap::new(),
            removed: BTreeMap::new(),
            patience: BTreeMap::new(),
            records: VecDeque::new(),
            requests: 0,
            failovers: 0,
            ledger: None,
            returning: None,
            one_is_enough: false,
            newest: (ViewNumber(0), 0),
            came_from: None,
        }
    }

    /// A metadata server with a disk, with what was on it. `one_is_enough`: servers have on their disks whatever they
    /// acknowledge, also when the power fails.
    #[must_use]
    pub fn with_disk(config: Config, had: Recovered, one_is_enough: bool) -> Self {
        let mut metadata = Self::new(config);
        let Recovered { run, chosen: last, chosen_from: from, since_summary, .. } = had;
        let mut ledger = Ledger { run: run + 1, since_summary, ..Ledger::default() };
        ledger.write(Record::Run { run: run + 1 });
        metadata.ledger = Some(ledger);
        metadata.one_is_enough = one_is_enough;
        metadata.newest = last.as_ref().map_or_else(Default::default, |view| (view.number, view.epoch));
        metadata.returning = last.map(|view| Returning { last: Some(view), from, some_are_enough: one_is_enough });
        metadata
    }

    /// Everything up to this ticket is on the disk.
    pub fn durable(&mut self, now: Time, ticket: u64, out: &mut Outbox) {
        let decided = self.ledger.as_mut().and_then(|ledger| ledger.decided.take_if(|own| own.ticket <= ticket));
        if let Some(Decided { view, reason, asked_by, .. }) = decided {
            self.install(now, view, reason, asked_by, out);
        }
        self.hand_over(out);
    }

    fn hand_over(&mut self, out: &mut Outbox) {
        if let Some(ledger) = &mut self.ledger {
            out.writes.append(&mut ledger.records);
        }
    }

    /// The disks that are there must do: the operator's word.
    pub fn come_back_anyway(&mut self, now: Time, out: &mut Outbox) {
        self.returning.iter_mut().for_each(|returning| returning.some_are_enough = true);
        self.come_back_if_due(now, out);
        self.hand_over(out);
    }

    /// True when it has a disk.
    #[must_use]
    pub fn has_disk(&self) -> bool {
        self.ledger.is_some()
    }

    /// Why nobody leads yet after all were down; `None` when that is not so.
    #[must_use]
    pub fn waits_for_disks(&self) -> Option<Waiting> {
        self.leader(self.ticked)?.err()
    }

    /// The current view.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// The view that is decided on and not known to be on the disk yet; if it is there, it is the last one.
    #[must_use]
    pub fn deciding(&self) -> Option<&Arc<View>> {
        self.ledger.as_ref()?.decided.as_ref().map(|decided| &decided.view)
    }

    /// The latest views, oldest first, at most [`VIEW_RECORDS_MAX`].
    #[must_use]
    pub fn records(&self) -> &VecDeque<ViewRecord> {
        &self.records
    }

    /// What the servers said of themselves.
    #[must_use]
    pub fn known(&self) -> &BTreeMap<Rank, KnownServer> {
        &self.servers
    }

    /// True for the ranks of further clients.
    #[must_use]
    pub fn is_client(&self, rank: Rank) -> bool {
        rank.0 > self.config.servers
    }

    /// How many messages have been handled: stays independent of the rate of client requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// How often another server became primary because the one before had fallen silent.
    #[must_use]
    pub fn failovers(&self) -> u64 {
        self.failovers
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> super::Rules {
        self.config.rules
    }

    /// Switches the rules (for demonstrations).
    pub fn set_rules(&mut self, rules: super::Rules) {
        self.config.rules = rules;
    }

    /// Takes in one message.
    pub fn handle(&mut self, now: Time, from: Rank, message: Message, out: &mut Outbox) {
        self.take_in(now, from, message, out);
        self.hand_over(out);
    }

    fn take_in(&mut self, now: Time, from: Rank, message: Message, out: &mut Outbox) {
        self.started.get_or_insert(now);
        self.requests += 1;
        match message {
            Message::GetView => {
                if let Some(view) = &self.view {
                    out.send(from, Message::ViewIs { view: Arc::clone(view) });
                }
            }
            Message::Announce { member, role, view, op } => self.on_announce(now, from, member, role, view, op, out),
            Message::Held { member, shelf } if member.rank == from => self.on_held(now, member, shelf, out),
            Message::ChangeView { to, reason, confirms } => {
                self.on_change_view(now, from, to, reason, confirms, out);
            }
            Message::Retired { view, incarnation, reset, holds } => {
                self.on_retired(now, from, view, incarnation, reset, holds, out);
            }
            _ => {}
        }
    }

    /// Does what time asks for.
    pub fn tick(&mut self, now: Time, out: &mut Outbox) {
        self.started.get_or_insert(now);
        self.ticked = now;
        self.tend_fence(now, out);
        self.form_if_due(now, out);
        self.come_back_if_due(now, out);
        self.hand_over(out);
    }

    /// A server tells what was on its disk.
    fn on_held(&mut self, now: Time, member: Member, shelf: Shelf, out: &mut Outbox) {
        let Some(ledger) = &mut self.ledger else { return };
        let (view, epoch) = shelf.held.map_or_else(Default::default, |held| (held.view, held.epoch));
        self.newest = (self.newest.0.max(view), self.newest.1.max(epoch));
        ledger.told.insert(member.rank, (member, shelf));
        if self.is_resetting() {
            return;
        }
        if self.returning.is_none() {
            self.begin_returning(member, shelf);
        }
        if self.returning.as_ref().is_some_and(|returning| returning.is_stillborn(member.rank, &shelf)) {
            // All its members are over, so the epoch is, and what is on disks of older ones counts no more.
            self.returning = None;
            self.reset_at = Some(now);
        }
        self.form_if_due(now, out);
        self.come_back_if_due(now, out);
    }

    /// Whoever was in the view may have lost only its memory; without a view, there is something to come back to.
    fn begin_returning(&mut self, member: Member, shelf: Shelf) {
        let Some(view) = &self.view else {
            self.returning = shelf.held.map(|_| Returning::default());
            return;
        };
        if view.members().any(|member| !self.is_over(member)) {
            return;
        }
        let (last, from, some_are_enough) = (Some(Arc::clone(view)), self.came_from, self.one_is_enough);
        self.returning = Some(Returning { last, from, some_are_enough });
        // What the others said is of lives that are over.
        if let Some(ledger) = &mut self.ledger {
            ledger.told = BTreeMap::from([(member.rank, (member, shelf))]);
        }
    }

    /// Others may still come that have something on their disks.
    fn is_patient(&self, now: Time) -> bool {
        self.started.is_none_or(|started| now.since(started) < self.config.timing.formation)
    }

    /// Who leads with what is on its disk, as long as nobody leads.
    fn leader(&self, now: Time) -> Option<Result<(Member, Held), Waiting>> {
        let (returning, ledger) = (self.returning.as_ref()?, self.ledger.as_ref()?);
        let lives = |rank: &Rank| self.servers.get(rank).is_some_and(|known| known.role != Role::Down);
        let told = ledger.told.iter().filter(|(rank, _)| lives(rank)).map(|(rank, told)| (*rank, *told)).collect();
        let highest_view = self.config.rules.on(Rule::RecoverHighestView);
        Some(returning.leader(&told, self.config.servers, self.is_patient(now), highest_view))
    }

    /// Somebody leads again with what is on its disk, if that is enough.
    fn come_back_if_due(&mut self, now: Time, out: &mut Outbox) {
        if self.is_resetting() {
            return;
        }
        let Some(Ok((primary, held))) = self.leader(now) else { return };
        self.returning = None;
        let newest = self.newest.0.max(self.view.as_ref().map_or(ViewNumber(0), |view| view.number));
        let view = View { number: newest.next(), epoch: held.epoch, primary, backups: Vec::new() };
        self.accept(
            now,
            Arc::new(view),
            Reason::CameBack { holder: held.holder, from: held.view, op: held.op },
            None,
            out,
        );
    }

    /// When [`Metadata::tick`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let fence = self.fence.as_ref().filter(|_| self.view.is_some() && !self.is_writing());
        let fence = fence.map(|fence| fence.over_at.unwrap_or(fence.deadline).min(fence.ask_at));
        // When nobody is there by then, the first announcement decides.
        let forming = self.forming_until().filter(|until| *until > self.ticked);
        let patience = self.started.map(|started| started + self.config.timing.formation);
        let patience = patience.filter(|until| self.returning.is_some() && *until > self.ticked);
        forming.into_iter().chain(fence).chain(patience).min().unwrap_or(Time::NEVER)
    }

    /// True while a view of empty servers is to be formed.
    #[must_use]
    pub fn is_forming(&self) -> bool {
        self.forming_until().is_some()
    }

    /// While a view of empty servers is to be formed: how long to wait for those that are missing.
    fn forming_until(&self) -> Option<Time> {
        let timing = &self.config.timing;
        if self.is_writing() || (self.returning.is_some() && self.reset_at.is_none()) {
            return None;
        }
        match (self.reset_at, self.started, &self.view) {
            (Some(reset), ..) => Some(reset + timing.announce * RESET_ANNOUNCES),
            (None, Some(started), None) => Some(started + timing.formation),
            _ => None,
        }
    }

    /// A view was decided on that is not on the disk yet.
    fn is_writing(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.decided.is_some())
    }

    fn form_if_due(&mut self, now: Time, out: &mut Outbox) {
        let Some(until) = self.forming_until() else { return };
        let present = self.founders(now).count();
        if present == self.config.servers as usize || (now >= until && present > 0) {
            self.form(now, out);
        }
    }

    /// Starts over with empty stores: the operator's explicit word. First the old epoch has to be over, unless the
    /// operator does not mind (`anyway`). Then the servers that announce themselves make the new view; whoever was
    /// heard before may be gone.
    pub fn reset(&mut self, now: Time, anyway: bool) {
        self.refusal = None;
        // Of a view that is being written it will be known in a moment: then it has to be fenced as well.
        if anyway || (self.view.is_none() && !self.is_writing()) {
            self.returning = None;
            self.fence = None;
            self.reset_at = Some(now);
        } else if self.fence.is_none() && self.reset_at.is_none() {
            self.resets += 1;
            let deadline = now + self.config.timing.announce * FENCE_ANNOUNCES;
            self.fence = Some(Fence { deadline, ask_at: now, over_at: None });
        }
    }

    /// True while a `RESET` waits for the end of the old epoch or for servers to announce themselves; and while any
    /// view is on its way to the disk, which may be the one that the `RESET` makes.
    #[must_use]
    pub fn is_resetting(&self) -> bool {
        self.fence.is_some() || self.reset_at.is_some() || self.is_writing()
    }

    /// Why the last `RESET` was refused, if it was.
    #[must_use]
    pub fn reset_refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// It is certain that all lives of this server before that one are over: its process has ended, or has said so.
    pub fn note_over(&mut self, rank: Rank, before: Incarnation) {
        let over = self.over.entry(rank).or_default();
        *over = before.max(*over);
    }

    /// The newest life of this server that was heard of.
    #[must_use]
    pub fn newest_life(&self, rank: Rank) -> Option<Incarnation> {
        let in_view = self.view.as_ref().and_then(|view| view.member_on(rank));
        let known = self.servers.get(&rank).map(|known| known.member);
        in_view.max(known).map(|member| member.incarnation)
    }

    fn tend_fence(&mut self, now: Time, out: &mut Outbox) {
        // That the primary of the view before is over says nothing of the one that is being written.
        if self.fence.is_none() || self.is_writing() {
            return;
        }
        let Some(view) = self.view.clone() else { return };
        let timing = self.config.timing;
        let primary_over = self.is_over(view.primary);
        let backup_over = view.backups.iter().any(|backup| self.is_over(*backup));
        let Some(fence) = &mut self.fence else { return };
        if primary_over {
            fence.over_at = Some(now);
        } else if backup_over && fence.over_at.is_none() {
            // What it had promised is not known: as much as there can be.
            fence.over_at = Some(now + timing.slow_max + timing.slow_max / CLOCK_SHARE);
        }
        if fence.over_at.is_some_and(|over_at| now >= over_at) {
            self.fence = None;
            self.reset_at = Some(now);
        } else if now >= fence.deadline && fence.over_at.is_none() {
            self.fence = None;
            let primary = view.primary.rank;
            let why = format!(
                "RESET is refused: server {primary}, primary of view {}, cannot be asked and may go on answering. \
                 HEAL, RESUME, KILL or RECOVER it first, or say RESET anyway",
                view.number
            );
            out.tell(Event::Operator { what: why.clone() });
            self.refusal = Some(why);
        } else if now >= fence.ask_at {
            fence.ask_at = now + timing.retry;
            let (number, reset) = (view.number, self.resets);
            for member in view.members() {
                out.send(member.rank, Message::Retire { view: number, reset, off: false });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn on_retired(
        &mut self,
        now: Time,
        from: Rank,
        number: ViewNumber,
        incarnation: Incarnation,
        reset: u64,
        holds: Duration,
        out: &mut Outbox,
    ) {
        // The view that begins the new epoch may still be on its way to the disk.
        let is_resetting = self.is_resetting();
        let Some(view) = self.view.as_ref().filter(|view| view.number == number) else { return };
        let member = Member { rank: from, incarnation };
        match &mut self.fence {
            Some(fence) if reset == self.resets && view.contains(member) => {
                let wait = if member == view.primary { Duration::ZERO } else { holds + holds / CLOCK_SHARE };
                fence.over_at = Some(fence.over_at.map_or(now + wait, |over_at| over_at.min(now + wait)));
                self.tend_fence(now, out);
            }
            None if !is_resetting => out.send(from, Message::Retire { view: number, reset, off: true }),
            _ => {}
        }
    }

    fn present(&self, now: Time) -> impl Iterator<Item = &KnownServer> {
        let absent = self.config.timing.announce * ABSENT_ANNOUNCES;
        let since = self.reset_at.unwrap_or_default();
        let lives = move |known: &&KnownServer| known.heard >= since && now.since(known.heard) < absent;
        self.servers.values().filter(move |known| known.role != Role::Down && lives(known))
    }

    /// Who may be in a view of empty servers. A life that was removed from a view forgets as soon as it hears of that,
    /// and then it is another one: it would be missing in the new view from the first moment on.
    fn founders(&self, now: Time) -> impl Iterator<Item = &KnownServer> {
        // Who has a disk has to say first what is on it.
        let told = |known: &&KnownServer| {
            let told = |rank: Rank| self.ledger.as_ref().and_then(|ledger| ledger.told.get(&rank));
            self.ledger.is_none() || told(known.member.rank).is_some_and(|(member, _)| *member == known.member)
        };
        let told = move |known: &&KnownServer| self.view.is_some() || told(known);
        self.present(now).filter(|known| !self.is_removed(known.member)).filter(told)
    }

    /// True for a life that a view was changed to be rid of.
    fn is_removed(&self, member: Member) -> bool {
        self.removed.get(&member.rank).is_some_and(|life| *life >= member.incarnation)
    }

    /// Makes a view of empty servers: the first one, or the first of a new epoch.
    fn form(&mut self, now: Time, out: &mut Outbox) {
        let mut members: Vec<Member> =
            self.founders(now).map(|known| known.member).take(self.config.replicas as usize).collect();
        let primary = members.remove(0);
        let (number, epoch) = self
            .view
            .as_ref()
            .map_or((self.newest.0.next(), self.newest.1 + 1), |view| (view.number.next(), view.epoch + 1));
        self.reset_at = None;
        let view = View { number, epoch, primary, backups: members };
        self.accept(now, Arc::new(view), Reason::Formed, None, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn on_announce(
        &mut self,
        now: Time,
        from: Rank,
        member: Member,
        role: Role,
        view: ViewNumber,
        op: OpNumber,
        out: &mut Outbox,
    ) {
        if member.rank != from || !self.config.server_ranks().any(|rank| rank == from) {
            return;
        }
        let known = KnownServer { member, role, view, op, heard: now };
        let newest = self.servers.get(&from).is_none_or(|old| old.member.incarnation <= member.incarnation);
        if newest {
            self.servers.insert(from, known);
        }
        self.tend_fence(now, out);
        self.form_if_due(now, out);
        let recruit = self.is_recruited(now, member);
        out.send(from, Message::Welcome { view: self.view.clone(), recruit });
    }

    /// A server that is in no view joins when the view has a place for it and no lower rank waits for it that may still
    /// take it. (Who is told to join and has not got in for long cannot: it does not hear this, or the primary.)
    fn is_recruited(&mut self, now: Time, member: Member) -> bool {
        let Some(view) = &self.view else { return false };
        let waits = |known: &&KnownServer| !view.contains(known.member) && !self.is_removed(known.member);
        let patience = self.config.timing.announce * RECRUIT_ANNOUNCES;
        let hopeless = |rank: &Rank| self.recruited.get(rank).is_some_and(|since| now.since(*since) > patience);
        let before = self.present(now).filter(|known| known.member.rank < member.rank).filter(waits);
        let waiting_before = before.filter(|known| !hopeless(&known.member.rank)).count();
        let recruit = view.members().count() + waiting_before < self.config.replicas as usize;
        if recruit && !view.contains(member) {
            self.recruited.entry(member.rank).or_insert(now);
        }
        recruit
    }

    fn on_change_view(
        &mut self,
        now: Time,
        from: Rank,
        to: Arc<View>,
        reason: Reason,
        confirms: Option<Time>,
        out: &mut Outbox,
    ) {
        let Some(view) = &self.view else { return };
        if self.is_resetting() {
            // Whoever leads the next view of this epoch would not be fenced. If nothing comes of the `RESET`, the view
            // is asked for again.
            return;
        }
        if !self.is_valid_change(view, from, &to) {
            out.send(from, Message::ViewIs { view: Arc::clone(view) });
        } else if !self.config.rules.on(Rule::Confirm) || self.is_fresh(now, from, confirms) {
            self.accept(now, to, reason, Some(from), out);
        } else {
            out.send(from, Message::Confirm { to, asked: now });
        }
    }

    /// True when who asks for a view lived a moment ago. One that is too old is asked for again, with more patience
    /// each time: the network may be slow.
    fn is_fresh(&mut self, now: Time, from: Rank, confirms: Option<Time>) -> bool {
        let Some(asked) = confirms else { return false };
        let timing = &self.config.timing;
        let patience = self.patience.entry(from).or_insert(timing.silence);
        let fresh = asked <= now && now.since(asked) <= *patience;
        *patience = if fresh { timing.silence } else { (*patience * 2).min(timing.request_deadline) };
        fresh
    }

    /// True when a later life of the server has shown up: a view that it asked for before would be led by nobody.
    fn is_over(&self, member: Member) -> bool {
        let newer = |known: &KnownServer| known.member.incarnation > member.incarnation;
        let certain = |before: &Incarnation| member.incarnation < *before;
        self.config.rules.on(Rule::Incarnation)
            && (self.servers.get(&member.rank).is_some_and(newer) || self.over.get(&member.rank).is_some_and(certain))
    }

    /// The compare of the compare-and-swap. `to` must follow the current view, be asked for by its own
    /// primary, which must be a member now; and bring in only servers whose newest life it is, on the
    /// word of the present primary.
    fn is_valid_change(&self, view: &View, from: Rank, to: &View) -> bool {
        let asker = to.primary;
        let is_member = |member: Member| {
            view.contains(member) || (!self.config.rules.on(Rule::Incarnation) && view.member_on(member.rank).is_some())
        };
        let may_bring_in = asker == view.primary;
        to.number == view.number.next()
            && to.epoch == view.epoch
            && asker.rank == from
            && is_member(asker)
            && !self.is_over(asker)
            && !to.backups.contains(&asker)
            && to.backups.iter().all(|&backup| is_member(backup) || (may_bring_in && !self.is_over(backup)))
    }

    /// Decides on a view. With a disk, nobody hears of it before it is there: who leads a view that is forgotten would
    /// acknowledge what nobody looks for.
    fn accept(&mut self, now: Time, view: Arc<View>, reason: Reason, asked_by: Option<Rank>, out: &mut Outbox) {
        if let Some(ledger) = &mut self.ledger {
            self.came_from = match reason {
                Reason::CameBack { holder, .. } => Some(holder),
                _ => None,
            };
            let ticket = ledger.view(Arc::clone(&view), self.came_from, self.config.snapshot_bytes);
            if self.config.rules.on(Rule::PersistView) {
                ledger.decided = Some(Decided { ticket, view, reason, asked_by });
                return;
            }
        }
        self.install(now, view, reason, asked_by, out);
    }

    fn install(&mut self, now: Time, view: Arc<View>, reason: Reason, asked_by: Option<Rank>, out: &mut Outbox) {
        if let Some(fence) = &mut self.fence {
            // Its members have not been asked yet.
            let deadline = now + self.config.timing.announce * FENCE_ANNOUNCES;
            (fence.over_at, fence.ask_at, fence.deadline) = (None, now, deadline);
        }
        if let Some(old) = &self.view {
            assert!(view.number > old.number, "view numbers only grow");
            let removed = old.members().filter(|member| !view.contains(*member));
            self.removed.extend(removed.map(|member| (member.rank, member.incarnation)));
        }
        self.view = Some(Arc::clone(&view));
        self.returning = None;
        self.recruited.clear();
        self.failovers += u64::from(reason.is_failover());
        if self.records.len() == VIEW_RECORDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(ViewRecord { at: now, view: Arc::clone(&view), reason, asked_by });
        out.tell(Event::ViewChanged { view: Arc::clone(&view), reason, asked_by });
        // The one who asked first: the others wait for it.
        let everybody = self.config.server_ranks().chain(self.config.client_ranks());
        for rank in std::iter::once(view.primary.rank).chain(everybody.filter(|rank| *rank != view.primary.rank)) {
            out.send(rank, Message::ViewIs { view: Arc::clone(&view) });
        }
    }
}
