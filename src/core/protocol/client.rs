//! The client: sends requests, repeats what was not answered, never gives a request two effects.
//!
//! A request keeps its sequence number through every repetition; the client table of the store
//! ([`crate::core::store::session`]) does the rest. The client learns the view from the metadata server, from
//! refusals, and from being told; when the primary changes it repeats everything outstanding at once, in
//! order. A request without an answer in time ends as unknown: it may or may not have happened.
//!
//! What the store remembers of a client is its session, and that ends: when the client has written nothing for long
//! ([`Timing::idle`]), or when it says so. A client goes on under its next name then. It does so by itself when it has
//! been silent for half as long, so in an ordinary life it never asks in vain; and whoever was out of reach for longer
//! is told, and every write of it that has no answer ends as unknown.
//!
//! How long it waits before it repeats follows from how long answers usually take here (a moving average, as TCP keeps
//! one: RFC 6298). Patience that grew while the network was bad does not outlive that: with every answer the oldest
//! request, for which the younger ones may be waiting, is as impatient again as at first.

use super::message::{Message, Request};
use super::time::Backoff;
use super::view::{METADATA, Rank, View};
use super::{Event, Outbox, Time, Timing};
use crate::core::store::{ClientId, Command, Reply, SESSION_REPLIES_MAX, Seq, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The most requests a client may have outstanding.
pub const WINDOW_MAX: usize = SESSION_REPLIES_MAX / 2;
const _: () = assert!(WINDOW_MAX < SESSION_REPLIES_MAX, "no answer is forgotten that a client may still ask for");
/// The most requests repeated in one turn, so that a repetition cannot flood the primary.
const REPEATS_PER_TURN_MAX: usize = 256;
/// However long answers take, a request is repeated after this many times the ordinary patience.
const PATIENCE_MAX: u32 = 8;
/// The newest answer counts for this fraction (one in this many) of the average.
const USUAL_SHARE: u32 = 8;

/// What became of a client operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Answered.
    Done(Reply),
    /// No answer in time: it may or may not have happened.
    Unknown,
}

/// A finished operation, with everything a history needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Who asked.
    pub client: ClientId,
    /// The client's number of the request.
    pub seq: Seq,
    /// What was asked.
    pub command: Command,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was asked.
    pub call: Time,
    /// When it was answered or given up.
    pub returned: Time,
    /// The epoch in which it was asked (0: the client had not learnt of any view). It has no effect in another.
    pub epoch: u32,
}

#[derive(Debug, Clone)]
struct Pending {
    command: Arc<Command>,
    call: Time,
    resend: Backoff,
    /// The epoch it was last sent in.
    epoch: u32,
}

/// One client.
#[derive(Debug, Clone)]
pub struct Client {
    id: ClientId,
    /// Its next name has a number that is higher by this: those between are other clients' on the rank.
    step: u32,
    /// When it next writes after this, it does so under its next name.
    renew_at: Time,
    timing: Timing,
    view: Option<Arc<View>>,
    last_seq: Seq,
    pending: BTreeMap<Seq, Pending>,
    /// Those of them that are writes.
    writes: BTreeSet<Seq>,
    completions: VecDeque<Completion>,
    next_view_question: Time,
    /// How long answers take, on average.
    usual: Duration,
    /// No pending request needs to be looked at before this.
    next_resend: Time,
}

impl Client {
    /// The first client on `rank`, which has asked nothing yet.
    #[must_use]
    pub fn new(rank: Rank, timing: Timing) -> Self {
        Self {
            id: ClientId::on(rank.0),
            step: 1,
            renew_at: Time::NEVER,
            timing,
            view: None,
            last_seq: Seq(0),
            pending: BTreeMap::new(),
            writes: BTreeSet::new(),
            completions: VecDeque::new(),
            next_view_question: Time::default(),
            usual: Duration::ZERO,
            next_resend: Time::NEVER,
        }
    }

    /// The same under this name; its further names are `step` apart. So several clients of a rank have names of their
    /// own.
    #[must_use]
    pub fn named(self, id: ClientId, step: u32) -> Self {
        Self { id, step, ..self }
    }

    /// The name under which it asks.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// The same, with numbers of its requests after this one.
    #[must_use]
    pub fn numbered_after(self, last: Seq) -> Self {
        Self { last_seq: last, ..self }
    }

    /// True when this request is outstanding.
    #[must_use]
    pub fn awaits(&self, seq: Seq) -> bool {
        self.pending.contains_key(&seq)
    }

    /// How many requests are outstanding.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// Everything outstanding was asked at or after this; with nothing outstanding, what is asked next will be.
    #[must_use]
    pub fn running_since(&self, now: Time) -> Time {
        self.pending.first_key_value().map_or(now + Duration::from_nanos(1), |(_, oldest)| oldest.call)
    }

    /// The newest view this client knows.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// The number that the next request will have.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.last_seq.next()
    }

    /// Takes the oldest finished operation.
    pub fn pop_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    /// Asks for `command`; its [`Completion`] will carry the returned number.
    ///
    /// # Panics
    /// With more than [`WINDOW_MAX`] requests outstanding: look at [`Client::outstanding`] first.
    pub fn submit(&mut self, now: Time, command: Command, out: &mut Outbox) -> Seq {
        assert!(self.pending.len() < WINDOW_MAX, "at most {WINDOW_MAX} requests may be outstanding");
        let seq = self.last_seq.next();
        self.last_seq = seq;
        if let Err(error) = command.check_limits() {
            let (client, outcome, epoch) = (self.id, Outcome::Done(Reply::Error(error)), self.epoch());
            self.completions.push_back(Completion { client, seq, command, outcome, call: now, returned: now, epoch });
            return seq;
        }
        let (resend, epoch) = (Backoff::new(now, self.patience()), self.epoch());
        if !command.is_read() {
            if now >= self.renew_at {
                self.leave(out);
            }
            self.writes.insert(seq);
            self.renew_at = now + self.timing.idle / 2;
        }
        let command = Arc::new(command);
        self.pending.insert(seq, Pending { command, call: now, resend, epoch });
        self.next_resend = self.next_resend.min(resend.at);
        match self.primary() {
            Some(primary) => {
                out.send(primary, Message::Request(self.request(seq)));
            }
            None => self.ask_for_view(now, out),
        }
        seq
    }

    /// Ends its session, and goes on under its next name; not while a write has no answer. The word is given once: if
    /// it gets lost, silence ends the session as well. True when it was given.
    pub fn leave(&mut self, out: &mut Outbox) -> bool {
        if !self.writes.is_empty() {
            return false;
        }
        if let Some(primary) = self.primary() {
            let (client, acked, after, epoch) = (self.id, self.acked(), Seq(0), self.epoch());
            self.last_seq = self.last_seq.next();
            let (seq, command) = (self.last_seq, Arc::new(Command::Leave));
            out.send(primary, Message::Request(Request { client, seq, acked, after, epoch, command }));
        }
        self.renew();
        true
    }

    /// From now on it has its next name. Reads that are under way may be answered under any that it has had.
    fn renew(&mut self) {
        let number = self.id.number() + self.step;
        self.id = ClientId::new(self.id.rank(), self.id.incarnation(), number);
        self.renew_at = Time::NEVER;
    }

    fn has_had_name(&self, client: ClientId) -> bool {
        let (own, step) = (self.id, self.step);
        client == own
            || (client.rank(), client.incarnation()) == (own.rank(), own.incarnation())
                && client.number() < own.number()
                && client.number() % step == own.number() % step
    }

    /// Nobody knows any more what was carried out of what it has asked.
    fn session_ended(&mut self, now: Time, out: &mut Outbox) {
        let client = self.id;
        while let Some(&seq) = self.writes.first() {
            self.finish(now, seq, Outcome::Unknown);
            out.tell(Event::GaveUp { client, seq });
        }
        self.renew();
        out.tell(Event::SessionEnded { client, next: self.id });
    }

    /// Takes in one message.
    pub fn handle(&mut self, now: Time, message: Message, out: &mut Outbox) {
        match message {
            Message::Reply { client, reply: Reply::Error(StoreError::SessionEnded), .. } if client == self.id => {
                self.session_ended(now, out);
            }
            // Of a name that it has given up.
            Message::Reply { reply: Reply::Error(StoreError::SessionEnded), .. } => {}
            Message::Reply { client, seq, reply, .. } if self.has_had_name(client) => {
                self.on_reply(now, seq, reply);
            }
            Message::NotPrimary { client, view, .. } if self.has_had_name(client) => match view {
                Some(view) => self.learn(now, view, out),
                None => self.ask_for_view(now, out),
            },
            Message::ViewIs { view } | Message::Refused { view } => self.learn(now, view, out),
            _ => {}
        }
    }

    /// Does what time asks for: repeats, gives up.
    pub fn tick(&mut self, now: Time, out: &mut Outbox) {
        if now < self.next_resend {
            return;
        }
        let deadline = self.timing.request_deadline;
        while let Some((&seq, oldest)) = self.pending.first_key_value() {
            if now.since(oldest.call) < deadline {
                break;
            }
            self.finish(now, seq, Outcome::Unknown);
            out.tell(Event::GaveUp { client: self.id, seq });
        }
        let due: Vec<Seq> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.resend.at <= now)
            .map(|(seq, _)| *seq)
            .take(REPEATS_PER_TURN_MAX)
            .collect();
        if !due.is_empty() {
            self.ask_for_view(now, out);
            self.repeat(now, &due, out);
        }
        let next = self.pending.values().map(|pending| pending.resend.at).min().unwrap_or(Time::NEVER);
        let oldest = self.pending.first_key_value().map_or(Time::NEVER, |(_, pending)| pending.call + deadline);
        self.next_resend = next.min(oldest);
    }

    /// True when an answer to this message is missing for longer than `patience`.
    #[must_use]
    pub fn misses_answer(&self, now: Time, message: &Message, patience: Duration) -> bool {
        let is_late = |pending: &Pending| now.since(pending.call) >= patience;
        match message {
            Message::Request(request) => {
                self.has_had_name(request.client) && self.pending.get(&request.seq).is_some_and(is_late)
            }
            Message::GetView => self.pending.first_key_value().is_some_and(|(_, oldest)| is_late(oldest)),
            _ => false,
        }
    }

    /// When [`Client::tick`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.next_resend
    }

    /// Ends every outstanding request as unknown.
    pub fn give_up(&mut self, now: Time, out: &mut Outbox) {
        while let Some((&seq, _)) = self.pending.first_key_value() {
            self.finish(now, seq, Outcome::Unknown);
            out.tell(Event::GaveUp { client: self.id, seq });
        }
    }

    fn epoch(&self) -> u32 {
        self.view.as_ref().map_or(0, |view| view.epoch)
    }

    fn primary(&self) -> Option<Rank> {
        self.view.as_ref().map(|view| view.primary.rank)
    }

    fn finish(&mut self, now: Time, seq: Seq, outcome: Outcome) {
        if let Some(Pending { command, call, epoch, .. }) = self.pending.remove(&seq) {
            self.writes.remove(&seq);
            let (client, command) = (self.id, Arc::unwrap_or_clone(command));
            self.completions.push_back(Completion { client, seq, command, outcome, call, returned: now, epoch });
        }
    }

    fn on_reply(&mut self, now: Time, seq: Seq, reply: Reply) {
        let Some(pending) = self.pending.get(&seq) else { return };
        self.usual = self.usual - self.usual / USUAL_SHARE + now.since(pending.call) / USUAL_SHARE;
        self.finish(now, seq, Outcome::Done(reply));
        let patience = self.patience();
        if let Some(mut oldest) = self.pending.first_entry()
            && oldest.get().resend.at > now + patience
        {
            oldest.get_mut().resend = Backoff::new(now, patience);
            self.next_resend = self.next_resend.min(now + patience);
        }
    }

    /// How long a request waits for its answer before it is repeated for the first time.
    fn patience(&self) -> Duration {
        (self.usual * 2).clamp(self.timing.retry, self.timing.retry * PATIENCE_MAX)
    }

    fn learn(&mut self, now: Time, view: Arc<View>, out: &mut Outbox) {
        let old = self.view.replace(Arc::clone(&view));
        match old {
            Some(old) if old.number >= view.number => self.view = Some(old),
            Some(old) if old.epoch != view.epoch => self.give_up(now, out),
            Some(old) if old.primary == view.primary => {}
            _ => {
                let all: Vec<Seq> = self.pending.keys().copied().collect();
                self.repeat(now, &all, out);
            }
        }
    }

    fn ask_for_view(&mut self, now: Time, out: &mut Outbox) {
        if now >= self.next_view_question {
            self.next_view_question = now + self.timing.retry;
            out.send(METADATA, Message::GetView);
        }
    }

    fn repeat(&mut self, now: Time, seqs: &[Seq], out: &mut Outbox) {
        let (primary, epoch, patience) = (self.primary(), self.epoch(), self.patience());
        for &seq in seqs {
            if let Some(primary) = primary {
                out.send(primary, Message::Request(self.request(seq)));
            }
            if let Some(pending) = self.pending.get_mut(&seq) {
                pending.epoch = epoch;
                pending.resend.repeated(now, patience);
                self.next_resend = self.next_resend.min(pending.resend.at);
            }
        }
    }

    fn write_before(&self, seq: Seq) -> Seq {
        self.writes.range(..seq).next_back().copied().unwrap_or_default()
    }

    /// It has finished with all requests up to this one.
    fn acked(&self) -> Seq {
        self.pending.first_key_value().map_or(self.last_seq, |(first, _)| Seq(first.0 - 1))
    }

    fn request(&self, seq: Seq) -> Request {
        let acked = self.acked();
        Request {
            client: self.id,
            seq,
            acked,
            after: self.write_before(seq),
            epoch: self.epoch(),
            command: Arc::clone(&self.pending[&seq].command),
        }
    }
}
