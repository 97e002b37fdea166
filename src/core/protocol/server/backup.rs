//! The backup: has every write before it is answered, grants leases, and takes over.

use super::{Core, Proposal, Ticket};
use crate::core::protocol::message::{Message, Reason};
use crate::core::protocol::view::{METADATA, Rank, View};
use crate::core::protocol::{Event, Outbox, Rule, Time};
use crate::core::store::{LogEntry, OpNumber};
use std::sync::Arc;
use std::time::Duration;

/// What only a backup needs.
#[derive(Debug, Clone)]
pub struct Backup {
    /// When the primary was last heard, or when it could first have been.
    heard: Time,
    /// The primary's last word, if this server has heard any.
    spoke: Option<Time>,
    /// The primary's log of this view has arrived: only now does this server's log mean anything in it.
    started: bool,
    /// With this ticket that is on the disk.
    noted: Option<Ticket>,
    /// When the last word was sent that has not been answered because it is not.
    unanswered: Option<Time>,
    /// Writes arrived since the last acknowledgement.
    ack_due: bool,
    /// This server asks to be primary. From then on it grants no lease in this view: the request may be
    /// accepted at any later moment.
    proposal: Option<Proposal>,
}

impl Backup {
    /// `spoke`: the last word of the same primary, if it has spoken to this server before.
    pub(super) fn new(now: Time, spoke: Option<Time>) -> Self {
        Self { heard: now, spoke, started: false, noted: None, unanswered: None, ack_due: false, proposal: None }
    }

    /// The last word of the primary.
    pub(super) fn spoke(&self) -> Option<Time> {
        self.spoke
    }

    pub(super) fn has_proposed(&self) -> bool {
        self.proposal.is_some()
    }

    /// The primary has said something.
    fn hear(&mut self, core: &mut Core, now: Time) {
        if let Some(spoke) = self.spoke.replace(now) {
            core.weather.note_gap(&core.config.timing, now, now.since(spoke));
        }
        self.heard = now;
    }

    /// This backup suspects a primary that has been silent for longer.
    pub(super) fn silence(&self, core: &Core, now: Time) -> Duration {
        let (timing, primary) = (&core.config.timing, Self::primary(core));
        match self.spoke {
            Some(_) => core.weather.silence(timing, now, primary),
            None => core.weather.first_silence(timing, now, primary),
        }
    }

    /// The metadata server asks back: this server lives, and still wants what it asked for.
    pub(super) fn confirm(&mut self, to: &Arc<View>, asked: Time, out: &mut Outbox) {
        if let Some(proposal) = self.proposal.as_ref().filter(|proposal| proposal.to == *to) {
            let (to, reason) = (Arc::clone(to), proposal.reason);
            out.send(METADATA, Message::ChangeView { to, reason, confirms: Some(asked) });
        }
    }

    fn primary(core: &Core) -> Rank {
        core.view.as_ref().expect("a backup has a view").primary.rank
    }

    fn commit(core: &mut Core, commit: OpNumber, out: &mut Outbox) {
        core.follow(commit, out);
    }

    pub(super) fn on_start_view(
        &mut self,
        core: &mut Core,
        now: Time,
        commit: OpNumber,
        tail: Vec<Arc<LogEntry>>,
        sent: Time,
        out: &mut Outbox,
    ) {
        self.hear(core, now);
        if !self.started {
            self.started = true;
            // What lies beyond the new primary's commit number is its to say; what lies before is common. What it has
            // as well stays: it may have been acknowledged, and is not to be missing on the disk for a moment.
            let is_common = |mine: &&Arc<LogEntry>| {
                let at = mine.op.0.checked_sub(commit.0 + 1).and_then(|at| usize::try_from(at).ok());
                at.is_none_or(|at| tail.get(at).is_some_and(|theirs| theirs == *mine))
            };
            let common = core.log.iter().take_while(is_common).count();
            for dropped in core.log.drain(common..) {
                core.log_bytes -= dropped.command.size_bytes();
            }
            core.ahead.clear();
            self.noted = core.note_view();
            for entry in tail {
                if entry.op == core.op().next() {
                    core.append(entry);
                }
            }
        }
        Self::commit(core, commit, out);
        self.answer_start(core, now, sent, out);
    }

    /// Who has started has that on its disk: all members of a view that has served anybody know of it afterwards.
    fn answer_start(&mut self, core: &mut Core, now: Time, sent: Time, out: &mut Outbox) {
        if self.noted.is_some_and(|ticket| core.waits_for(ticket)) {
            self.unanswered = Some(sent);
        } else if self.proposal.is_none() {
            let (view, incarnation, op) = (core.view_number(), core.me.incarnation, core.acked_op());
            let (primary, lease) = (Self::primary(core), core.grant(now));
            out.send(primary, Message::StartViewOk { view, incarnation, op, sent, lease });
        }
    }

    pub(super) fn on_prepare(
        &mut self,
        core: &mut Core,
        now: Time,
        commit: OpNumber,
        entry: Arc<LogEntry>,
        out: &mut Outbox,
    ) {
        self.hear(core, now);
        if self.started {
            core.accept_prepare(entry);
            // What has to be on the disk first is acknowledged then.
            self.ack_due |= core.acked_op() == core.op();
            Self::commit(core, commit, out);
        }
    }

    /// More of the log is on the disk.
    pub(super) fn on_durable(&mut self, core: &mut Core, now: Time, news: bool, out: &mut Outbox) {
        if let Some(sent) = self.unanswered.take() {
            self.answer_start(core, now, sent, out);
        }
        if self.started && news {
            self.ack_due = false;
            core.acknowledge(Self::primary(core), out);
        }
    }

    pub(super) fn on_heartbeat(
        &mut self,
        core: &mut Core,
        now: Time,
        commit: OpNumber,
        sent: Time,
        round_trip: Duration,
        out: &mut Outbox,
    ) {
        self.hear(core, now);
        core.weather.learn_round_trip(&core.config.timing, now, Self::primary(core), round_trip);
        if self.started {
            Self::commit(core, commit, out);
            if self.proposal.is_none() {
                let (view, incarnation, op) = (core.view_number(), core.me.incarnation, core.acked_op());
                let (primary, lease) = (Self::primary(core), core.grant(now));
                out.send(primary, Message::HeartbeatOk { view, incarnation, op, sent, lease });
                self.ack_due = false;
            }
        }
    }

    pub(super) fn on_handover(&mut self, core: &mut Core, now: Time, from: Rank, op: OpNumber, out: &mut Outbox) {
        self.hear(core, now);
        // Only the primary of the view hands over.
        if self.started
            && self.proposal.is_none()
            && core.op() == op
            && let Some(view) = core.view.as_ref().filter(|view| view.primary.rank == from)
        {
            let to = view.successor(core.me, view.members().filter(|m| *m != core.me));
            self.propose(core, now, to.into(), Reason::Handover, out);
        }
    }

    pub(super) fn tick(&mut self, core: &mut Core, now: Time, missed: Duration, out: &mut Outbox) {
        let timing = core.config.timing;
        Self::commit(core, OpNumber(0), out);
        if self.ack_due {
            self.ack_due = false;
            core.acknowledge(Self::primary(core), out);
        }
        self.heard = (self.heard + missed).min(now);
        let silent = now.since(self.heard);
        if let Some(proposal) = &mut self.proposal {
            if now >= proposal.again_at {
                proposal.again_at = now + timing.retry;
                let (to, reason) = (Arc::clone(&proposal.to), proposal.reason);
                out.send(METADATA, Message::ChangeView { to, reason, confirms: None });
            }
            return;
        }
        let view = core.view.as_ref().expect("a backup has a view");
        let primary = view.primary;
        // Without the rule, a short silence is as good as a proof.
        let dead = core.is_dead(primary) || (!core.rule(Rule::ProofOfDeath) && silent > timing.silence / 3);
        let reason = if dead {
            out.tell(Event::KnownDead { peer: primary });
            Reason::PrimaryDied { primary }
        } else if silent > self.silence(core, now) && now > core.promise.until {
            let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            out.tell(Event::Suspected { peer: primary, silent_ms });
            core.weather.note_suspect(&core.config.timing, primary.rank, self.spoke.unwrap_or(self.heard));
            Reason::PrimarySilent { primary, silent_ms }
        } else {
            return;
        };
        let others = view.backups.iter().copied().filter(|m| m.rank != core.me.rank && !core.is_dead(*m));
        let to = view.successor(core.me, others);
        self.propose(core, now, to.into(), reason, out);
    }

    fn propose(&mut self, core: &Core, now: Time, to: Arc<View>, reason: Reason, out: &mut Outbox) {
        out.send(METADATA, Message::ChangeView { to: Arc::clone(&to), reason, confirms: None });
        self.proposal = Some(Proposal { to, reason, again_at: now + core.config.timing.retry, confirmed: false });
    }

    pub(super) fn deadline(&self, core: &Core, now: Time) -> Time {
        if self.ack_due || core.is_behind() {
            return Time::default();
        }
        // One nanosecond past the limit: at the limit itself nothing is suspected yet.
        let suspicion = (self.heard + self.silence(core, now)).max(core.promise.until) + Duration::from_nanos(1);
        self.proposal.as_ref().map_or(suspicion, |proposal| proposal.again_at)
    }
}
