//! What must hold, always: one property a file, checked after every step of the simulator.
//!
//! | file | property |
//! |---|---|
//! | [`views`] | one history of views; the primary of the next view was a member of the one before |
//! | [`one_server`] | at most one server answers at any instant |
//! | [`one_epoch`] | once `RESET` has begun a new epoch, nobody answers for an old one |
//! | [`prefix`] | stores with the same op number are the same |
//! | [`durability`] | an acknowledged write is in the state of every later primary |
//! | [`copies`] | what is committed, every member of the view has |
//! | [`survivor`] | nobody forgets what nobody else has |
//! | [`exactly_once`] | a request takes effect at most once, and every answer to it is the same |
//! | [`linearizable`] | the clients' history has an order that explains it |
//! | [`answered`] | who asks when nothing is wrong has an answer |
//! | [`heals`] | when all faults end, everything is as before |
//! | [`bounded`] | no queue grows without bound |

pub mod answered;
pub mod bounded;
pub mod copies;
pub mod durability;
pub mod exactly_once;
pub mod heals;
pub mod linearizable;
pub mod one_epoch;
pub mod one_server;
pub mod prefix;
pub mod survivor;
pub mod views;

use super::coverage::{Coverage, Situation};
use crate::check::Operation;
use crate::core::node::ServerHost;
use crate::core::protocol::{
    Config, CrashPoint, Event, METADATA, Message, Metadata, Rank, Reason, Role, Time, ViewNumber,
};
use crate::core::store::Command;
use std::collections::BTreeMap;
use std::fmt;

/// A transfer with this part has more than may be under way at once: it has to be acknowledged on the way.
const MANY_PARTS: u64 = 4;

/// Something that should never have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the property: that of its file.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// A violation of `invariant`.
    #[must_use]
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// All properties that are checked on the way.
#[derive(Debug)]
pub struct Invariants {
    views: views::Views,
    prefix: prefix::Prefix,
    durability: durability::Durability,
    survivor: survivor::Survivor,
    one_epoch: one_epoch::OneEpoch,
    exactly_once: exactly_once::ExactlyOnce,
    /// The first violation found between two checks.
    found: Option<Violation>,
    /// What has been met.
    pub coverage: Coverage,
    /// Who asked for which view, first.
    asked: BTreeMap<ViewNumber, Rank>,
    /// The last view whose primary began with uncommitted writes.
    with_tail: ViewNumber,
    has_disks: bool,
}

impl Invariants {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(_config: &Config) -> Self {
        Self::fresh()
    }

    fn fresh() -> Self {
        Self {
            views: views::Views::default(),
            prefix: prefix::Prefix::default(),
            durability: durability::Durability::default(),
            survivor: survivor::Survivor::default(),
            one_epoch: one_epoch::OneEpoch::default(),
            exactly_once: exactly_once::ExactlyOnce::default(),
            found: None,
            coverage: Coverage::default(),
            asked: BTreeMap::new(),
            with_tail: ViewNumber(0),
            has_disks: false,
        }
    }

    /// Servers have disks: what no memory holds may be there.
    pub fn set_disks(&mut self) {
        self.has_disks = true;
    }

    /// Everything was killed at once: what is in memory is lost.
    pub fn all_lost(&mut self) {
        self.survivor.all_lost();
    }

    /// What was promised before may be gone: nothing of it is looked for any more.
    pub fn forget(&mut self) {
        let coverage = std::mem::take(&mut self.coverage);
        *self = Self { coverage, has_disks: self.has_disks, ..Self::fresh() };
    }

    fn note(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.found.get_or_insert(violation);
        }
    }

    /// A message arrives at a server, whose own clock shows `now`.
    pub fn on_delivery(&mut self, now: Time, host: &ServerHost, message: &Message) {
        let Some(server) = host.server() else { return };
        match message {
            // Only what is for this server; what it carries on arrives elsewhere.
            Message::Relay(relay) if relay.to == host.rank() => self.on_delivery(now, host, &relay.carried()),
            Message::Refused { .. } => self.coverage.meet(Situation::Refused),
            Message::Prepare { entry, view, .. } => {
                let current = server.view().is_some_and(|mine| mine.number == *view);
                if current && server.role() == Role::Backup && entry.op > server.op().next() {
                    self.coverage.meet(Situation::PrepareOvertaken);
                }
            }
            Message::Request(request) => match server.as_primary() {
                None => self.coverage.meet(Situation::WrongServer),
                Some(primary) => {
                    if request.command.is_read() && primary.is_serving() && !server.serves_reads(now) {
                        self.coverage.meet(Situation::ReadWithoutLease);
                    }
                }
            },
            _ => {}
        }
    }

    /// A server asks for a view, and this is the current one.
    pub fn on_change_view(&mut self, from: Rank, asked: ViewNumber, current: ViewNumber) {
        let first = *self.asked.entry(asked).or_insert(from);
        if first != from {
            self.coverage.meet(Situation::TwoAskers);
        }
        if asked <= current {
            self.coverage.meet(Situation::LateChangeView);
        }
    }

    /// A node sends a message.
    pub fn on_send(&mut self, from: Rank, message: &Message) {
        match message {
            Message::Relay(relay) if relay.from == from => self.on_send(from, &relay.carried()),
            Message::Reply { client, seq, reply, .. } => {
                let result = self.exactly_once.on_reply(from, *client, *seq, reply);
                if let Ok(Some(before)) = result {
                    self.coverage.meet(Situation::RepeatedAnswer);
                    if before != from {
                        self.coverage.meet(Situation::RepeatedElsewhere);
                    }
                }
                self.note(result.map(|_| ()));
            }
            Message::Prepare { entry, .. } => match entry.command {
                Command::End(_) => self.coverage.meet(Situation::SessionSilent),
                Command::Leave => self.coverage.meet(Situation::SessionLeft),
                _ => {}
            },
            Message::StartView { view, tail, .. } if !tail.is_empty() && view.number > self.with_tail => {
                self.with_tail = view.number;
                self.coverage.meet(Situation::BegunWithTail);
            }
            Message::Snapshot { index: MANY_PARTS, .. } => self.coverage.meet(Situation::LongTransfer),
            _ => {}
        }
    }

    /// A node tells an event; `now` is the time of the world.
    pub fn on_event(&mut self, now: Time, rank: Rank, event: &Event, servers: &BTreeMap<Rank, ServerHost>) {
        let server = |rank: Rank| servers.get(&rank).and_then(ServerHost::server);
        let situation = match event {
            Event::Applied { op, client, seq } => {
                let result = self.exactly_once.on_applied(rank, *op, *client, *seq);
                self.note(result);
                let primary = server(rank).and_then(|server| server.as_primary());
                if primary.is_none_or(|primary| primary.transfers().next().is_none()) {
                    return;
                }
                Situation::WriteDuringTransfer
            }
            Event::Crashed { at: Some((point, _)), .. } => match point {
                CrashPoint::Arrival => Situation::CrashOnArrival,
                CrashPoint::BeforePrepare => Situation::CrashBeforePrepare,
                CrashPoint::AfterPrepare => Situation::CrashAfterPrepare,
                CrashPoint::BeforeReply => Situation::CrashBeforeReply,
            },
            Event::Crashed { at: None, .. } => Situation::CrashBetween,
            Event::Spared { .. } => Situation::Spared,
            Event::Suspected { .. } => Situation::Suspicion,
            Event::KnownDead { .. } => Situation::DeathProven,
            Event::TransferStarted { .. } => Situation::TransferStarted,
            Event::TransferDone { .. } => Situation::TransferDone,
            Event::Forgot { .. } => {
                let result = self.survivor.on_forgot(rank, &self.durability, servers);
                self.note(if self.has_disks { Ok(()) } else { result });
                Situation::Forgot
            }
            Event::Operator { what } if rank != METADATA => {
                // Nothing garbles messages here, so a snapshot that does not fit was made wrong.
                self.note(Err(Violation::new("prefix", format!("server {rank} refuses its state: {what}"))));
                return;
            }
            Event::LogDamaged { .. } => Situation::DamageTold,
            Event::GaveUp { .. } => Situation::Unknown,
            Event::SessionEnded { .. } => Situation::SessionTold,
            Event::RoleChanged { from: Role::Joining, to: Role::Down, .. } => Situation::JoinInterrupted,
            Event::RoleChanged { from: Role::Idle, to: Role::Joining, .. } => Situation::IdleRecruited,
            Event::ViewChanged { reason, view, .. } => {
                self.survivor.on_view(view);
                self.one_epoch.on_view(now, view);
                let joining = |host: &ServerHost| host.server().is_some_and(|server| server.receiving().is_some());
                let failed_over = reason.is_failover();
                if failed_over && servers.values().any(joining) {
                    self.coverage.meet(Situation::JoinFailedOver);
                }
                match reason {
                    Reason::Formed => Situation::Formed,
                    Reason::PrimarySilent { primary, .. } | Reason::PrimaryDied { primary } => {
                        self.coverage.meet(Situation::Failover);
                        if server(primary.rank).is_none_or(|old| old.member() != *primary || view.contains(*primary)) {
                            return;
                        }
                        Situation::FalseSuspicion
                    }
                    Reason::BackupSilent { .. } | Reason::BackupDied { .. } => Situation::BackupRemoved,
                    Reason::Restarted { .. } => Situation::RestartedRemoved,
                    Reason::Joined { .. } => Situation::Joined,
                    Reason::Handover => Situation::HandedOver,
                    Reason::CameBack { .. } => Situation::CameBack,
                }
            }
            _ => return,
        };
        self.coverage.meet(situation);
    }

    /// A client has an answer.
    pub fn on_answer(&mut self, operation: &Operation) {
        self.note(self.one_epoch.on_answer(operation));
        let op = self.exactly_once.op_of(operation.client, operation.seq);
        self.durability.on_answer(operation, op);
    }

    /// A server has just done something; its own clock shows `now`.
    pub fn on_server(&mut self, now: Time, host: &ServerHost) {
        let result = self.prefix.on_server(host);
        self.note(result);
        let result = self.durability.on_server(now, host);
        self.note(result);
        self.survivor.on_server(host);
        self.note(self.one_epoch.on_server(now, host));
    }

    /// After every step. `local` is what a rank's own clock shows now.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(
        &mut self,
        local: &dyn Fn(Rank) -> Time,
        metadata: &Metadata,
        servers: &BTreeMap<Rank, ServerHost>,
    ) -> Result<(), Violation> {
        if let Some(violation) = self.found.take() {
            return Err(violation);
        }
        self.views.check(metadata)?;
        one_server::check(local, servers)?;
        copies::check(servers)?;
        bounded::check(servers)
    }
}
