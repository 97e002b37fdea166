//! The hall behind the door: all connections, what they have asked and what they are told, as one plain value.
//!
//! Bytes and time come in ([`Hall::received`], [`Hall::tick`]), commands for the cluster go out ([`Hall::next_order`]),
//! their outcomes come in ([`Hall::answered`]), and bytes go out ([`Connection::out`]). There is no socket here: tests
//! hold a whole door in their hands.
//!
//! # What a client can rely on
//!
//! * A request has an answer after [`ANSWER_DEADLINE`], if only that it may or may not have happened: clients give up
//!   after five seconds and ask again, and what is asked again may happen twice.
//! * `LOADING` is said only of what was certainly not carried out.
//! * One client that floods, or does not read, holds up itself alone: what it has under way, ahead and unread is
//!   bounded.

use super::blocking::Waiters;
use super::connection::{Connection, Hold, Id, OUT_BYTES_MAX};
use super::counters::Counters;
use super::doors::Others;
use super::everybody::{DoorPart, Gathering};
use super::pubsub::SubscribedBy;
use super::rows::{self, DoorAnswer, Visit};
use super::settings::Settings;
use super::transaction::Planned;
use crate::cluster::{DoorWord, Facts};
use crate::core::protocol::{Outcome, Rank, Time};
use crate::core::store::{Bytes, Command, Reply, StoreError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// A request without an answer after this long ends as unknown. (redis-py gives up after 5 s, and asks again.)
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(4);
/// The most commands that wait for the cluster to take them; while there are that many, no more requests are looked at.
const ORDERS_MAX: usize = 16_384;
/// Unfinished requests of all connections take no more room than this: who asks for more then is given up.
const ROOM_BYTES_MAX: usize = 256 << 20;
/// Nobody is given up for less room than this.
const ROOM_BYTES_GRANTED: usize = 64 << 10;
/// Idle connections give back what they do not need this often.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// The number of a connection begins with the rank of its door, above this many bits.
pub const RANK_SHIFT: u32 = 40;

/// What is said when nobody knows.
const UNKNOWN: &str = "ERR no server has answered in time: it may or may not have happened";
/// What is said of what was not carried out.
const NOT_DONE: &str = "LOADING no server takes requests at the moment: nothing was carried out, try again";

/// The number of a command that was handed to the cluster.
pub type OrderTicket = u64;

/// What is to be done with an outcome.
#[derive(Debug)]
pub enum Then {
    /// The reply is the client's.
    Reply,
    /// The same, in another shape.
    Shape(Shape),
    /// The replies of an `EXEC`, with what the door itself has said in between.
    Exec(Vec<Planned>),
    /// The versions of keys that are watched from now on.
    Watch(Vec<Bytes>),
    /// A pop that may block.
    Pop(u64),
    /// Whether there is anything to pop.
    Look(u64),
    /// What has come of it at all doors.
    Gathered(Gathering),
    /// The answer of a script.
    Script(super::scripts::Answering),
}

impl Then {
    /// It belongs to a pop that may block: that has its reply when it ends.
    fn is_pop(&self) -> bool {
        matches!(self, Self::Pop(_) | Self::Look(_))
    }
}

/// How the answer of a command becomes that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Same,
    /// `LMPOP`'s one element as `BLPOP` gives it.
    Element,
    /// `ZMPOP`'s one member as `BZPOPMIN` gives it.
    Member,
    /// Whether a key of this length is there, as the room that it takes at least, in bytes.
    Room(usize),
}

#[derive(Debug)]
struct Parked {
    id: Id,
    slot: Option<u64>,
    then: Then,
    is_read: bool,
    asked: Time,
    /// Keys that it may have filled, if anybody waits for keys.
    touches: Vec<Bytes>,
}

/// See the module.
#[derive(Debug)]
pub struct Hall {
    /// `CONFIG`, and the password.
    pub settings: Settings,
    /// How the cluster is.
    pub facts: Facts,
    /// How much was done.
    pub counters: Counters,
    /// Everybody; the one that is being served is taken out meanwhile.
    pub connections: BTreeMap<Id, Option<Box<Connection>>>,
    /// Who listens to which channel.
    pub channels: BTreeMap<Bytes, BTreeSet<Id>>,
    /// And by which pattern.
    pub patterns: BTreeMap<Bytes, BTreeSet<Id>>,
    /// Who waits for something to pop.
    pub waiters: Waiters,
    /// The other doors.
    pub others: Others,
    orders: VecDeque<(OrderTicket, Command)>,
    waiting: BTreeMap<OrderTicket, Parked>,
    last_ticket: OrderTicket,
    last_id: Id,
    /// Connections with something to write, or at their end.
    dirty: Vec<Id>,
    /// Connections that may have more to be done for them.
    ready: Vec<Id>,
    /// Room of all unfinished requests, in bytes.
    room: usize,
    next_tidying: Time,
}

impl Hall {
    /// An empty hall.
    #[must_use]
    pub fn new(settings: Settings, now: Time) -> Self {
        Self {
            settings,
            facts: Facts::default(),
            counters: Counters::new(now),
            connections: BTreeMap::new(),
            channels: BTreeMap::new(),
            patterns: BTreeMap::new(),
            waiters: Waiters::default(),
            others: Others::default(),
            orders: VecDeque::new(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            last_id: 0,
            dirty: Vec::new(),
            ready: Vec::new(),
            room: 0,
            next_tidying: now,
        }
    }

    /// The same on `rank`. Numbers of connections are that rank's own.
    #[must_use]
    pub fn on(mut self, rank: Rank) -> Self {
        (self.last_id, self.others.rank) = (u64::from(rank.0) << RANK_SHIFT, rank);
        self
    }

    /// The same among these doors.
    #[must_use]
    pub fn among(mut self, doors: impl Iterator<Item = Rank>) -> Self {
        self.others.are(doors);
        self
    }

    // ---- connections ---------------------------------------------------------------------------

    /// Somebody comes in; when there are too many, he is told and sent away.
    pub fn accept(&mut self, now: Time, peer: SocketAddr, local: SocketAddr) -> Id {
        self.last_id += 1;
        let id = self.last_id;
        let mut connection = Box::new(Connection::new(id, peer, local, self.settings.password.is_none(), now));
        if self.connections.len() >= self.settings.max_clients() {
            self.counters.rejected += 1;
            connection.say(|out| out.error("ERR max number of clients reached"));
            connection.closing = true;
        }
        self.counters.connections += 1;
        self.connections.insert(id, Some(connection));
        self.mark_dirty(id);
        id
    }

    /// A connection.
    pub fn connection(&mut self, id: Id) -> Option<&mut Connection> {
        self.connections.get_mut(&id)?.as_deref_mut()
    }

    /// A connection has ended.
    pub fn gone(&mut self, id: Id) {
        let Some(Some(connection)) = self.connections.remove(&id) else { return };
        self.room -= connection.counted;
        for channel in &connection.channels {
            forget(&mut self.channels, channel, id);
            self.tell_listeners(SubscribedBy::Channel, channel);
        }
        for pattern in &connection.patterns {
            forget(&mut self.patterns, pattern, id);
            self.tell_listeners(SubscribedBy::Pattern, pattern);
        }
        if connection.hold == Hold::Blocked {
            self.waiters.leave(id);
        }
    }

    /// It has something to write.
    pub fn mark_dirty(&mut self, id: Id) {
        if let Some(Some(connection)) = self.connections.get_mut(&id)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.dirty.push(id);
        }
    }

    /// It may go on with what it has sent already.
    fn mark_ready(&mut self, id: Id) {
        if let Some(Some(connection)) = self.connections.get_mut(&id)
            && !connection.is_ready
        {
            connection.is_ready = true;
            self.ready.push(id);
        }
    }

    /// Some of what a connection was to be told has left: it may have stopped because of that.
    pub fn sent(&mut self, id: Id) {
        let goes_on = |connection: &mut Connection| connection.has_room() && connection.parser.held_bytes() > 0;
        if self.connection(id).is_some_and(goes_on) {
            self.mark_ready(id);
        }
    }

    /// Those with something to write.
    pub fn take_dirty(&mut self) -> Vec<Id> {
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty {
            if let Some(Some(connection)) = self.connections.get_mut(id) {
                connection.is_dirty = false;
            }
        }
        dirty
    }

    /// Bytes from a client.
    pub fn received(&mut self, now: Time, id: Id, bytes: &[u8]) {
        self.counters.bytes_in += bytes.len() as u64;
        let Some(connection) = self.connection(id) else { return };
        connection.parser.feed(bytes);
        self.serve(now, id);
    }

    /// Looks at what a connection has sent, as far as it is to be looked at now.
    fn serve(&mut self, now: Time, id: Id) {
        // While it is served it is out of the list, so that it and the others can be changed at once.
        let Some(mut me) = self.connections.get_mut(&id).and_then(Option::take) else { return };
        self.serve_taken(now, &mut me);
        let room = me.parser.room_bytes();
        self.room = self.room - me.counted + room;
        me.counted = room;
        if self.room > ROOM_BYTES_MAX && room > ROOM_BYTES_GRANTED && !me.closing {
            me.say(|out| out.error("ERR too many unfinished requests take all the memory there is for them"));
            me.closing = true;
        }
        let is_dirty = !me.out.is_empty() || me.closing;
        if let Some(place) = self.connections.get_mut(&id) {
            *place = Some(me);
        }
        if is_dirty {
            self.mark_dirty(id);
        }
    }

    fn serve_taken(&mut self, now: Time, me: &mut Connection) {
        if me.is_quiet()
            && let Hold::Quiet(words) = &mut me.hold
        {
            let words = std::mem::take(words);
            me.hold = Hold::No;
            self.request(now, me, words);
        }
        if me.reads == 0
            && let Some(held) = me.held.take()
        {
            let (command, then) = *held;
            me.hold = Hold::No;
            self.ask(now, me, command, then);
        }
        while me.has_room() {
            if self.orders.len() >= ORDERS_MAX {
                self.ready.push(me.id);
                me.is_ready = true;
                return;
            }
            match me.parser.take_next() {
                Ok(Some(words)) => self.request(now, me, words),
                Ok(None) => return,
                Err(error) => {
                    self.counters.errors += 1;
                    me.say(|out| out.error(&format!("ERR {error}")));
                    me.closing = true;
                }
            }
        }
    }

    /// One request.
    fn request(&mut self, now: Time, me: &mut Connection, words: Vec<Bytes>) {
        (me.active, self.counters.commands) = (now, self.counters.commands + 1);
        let Some(name) = words.first() else { return };
        let row = match rows::find(name, &words) {
            Ok(row) => row,
            Err(why) => {
                if let Some(transaction) = &mut me.transaction {
                    transaction.is_spoilt = true;
                }
                return self.refuse(me, &why);
            }
        };
        me.last = row.name();
        if let Err(why) = rows::may(me, row) {
            if let Some(transaction) = &mut me.transaction {
                transaction.is_spoilt = true;
            }
            return self.refuse(me, &why);
        }
        if me.transaction.is_some() && row.is_queued() {
            return super::transaction::queue(self, me, words);
        }
        if row.is_quiet() && !me.is_quiet() {
            me.hold = Hold::Quiet(words);
            return;
        }
        let mut bytes = Vec::new();
        let mut visit = Visit { now, hall: self, me, words: &words, out: &mut bytes, in_exec: false };
        let answer = rows::act(&mut visit, row);
        match answer {
            Ok(DoorAnswer::Said) => me.reply(&bytes),
            Ok(DoorAnswer::Silent) => {}
            Ok(DoorAnswer::Ask(command, then)) if me.reads > 0 && !command.is_read() => {
                me.held = Some(Box::new((command, then)));
                me.hold = Hold::Reads;
            }
            Ok(DoorAnswer::Ask(command, then)) => self.ask(now, me, command, then),
            Ok(DoorAnswer::Gather(words, gathering)) => self.gather(now, me, words, gathering),
            Err(why) => self.refuse(me, &why),
        }
    }

    fn refuse(&mut self, me: &mut Connection, why: &str) {
        self.counters.errors += 1;
        me.say(|out| out.error(why));
    }

    // ---- the cluster ---------------------------------------------------------------------------

    /// Has a command carried out.
    pub fn ask(&mut self, now: Time, me: &mut Connection, command: Command, then: Then) {
        if let Some(why) = &self.facts.data_gone {
            let why = format!("LOADING {why}");
            if let Then::Pop(number) = then {
                self.waiters.end(number);
                me.hold = Hold::No;
            }
            return self.refuse(me, &why);
        }
        let slot = if then.is_pop() { None } else { me.open_slot() };
        // It is remembered which keys may have been filled only while anybody waits for some.
        let anybody_waits = !self.waiters.is_empty() || self.others.anybody_waits();
        let touches = if anybody_waits { filled_by(&command) } else { Vec::new() };
        let is_read = command.is_read();
        me.under_way += usize::from(!then.is_pop());
        me.reads += usize::from(is_read);
        self.order(Parked { id: me.id, slot, then, is_read, asked: now, touches }, command);
    }

    /// The same for a connection that waits for a pop.
    pub fn ask_for(&mut self, now: Time, id: Id, command: Command, then: Then) {
        self.order(Parked { id, slot: None, then, is_read: false, asked: now, touches: Vec::new() }, command);
    }

    /// The same for a reply that is not complete yet.
    pub fn ask_on(&mut self, now: Time, id: Id, slot: u64, command: Command, then: Then) {
        if let Some(connection) = self.connection(id) {
            connection.under_way += 1;
        }
        self.order(Parked { id, slot: Some(slot), then, is_read: false, asked: now, touches: Vec::new() }, command);
    }

    fn order(&mut self, waiting: Parked, command: Command) {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, waiting);
        self.orders.push_back((self.last_ticket, command));
    }

    /// Asks the other doors.
    fn gather(&mut self, now: Time, me: &mut Connection, words: Vec<Bytes>, gathering: Gathering) {
        let (slot, then) = (me.open_slot(), Then::Gathered(gathering));
        me.under_way += 1;
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.waiting.insert(ticket, Parked { id: me.id, slot, then, is_read: false, asked: now, touches: Vec::new() });
        self.others.tell(|| DoorWord::Question { ticket, words });
    }

    /// Another door has answered that.
    pub(super) fn gathered(&mut self, now: Time, from: Rank, ticket: OrderTicket, part: Option<DoorPart>) {
        let Some(Parked { then: Then::Gathered(gathering), .. }) = self.waiting.get_mut(&ticket) else { return };
        if gathering.heard(from, part)
            && let Some(waiting) = self.waiting.remove(&ticket)
        {
            self.deliver(now, waiting, &Reply::Nil);
        }
    }

    /// The door on that rank is gone: it answers nothing any more.
    pub(super) fn forget_door(&mut self, now: Time, door: Rank) {
        self.others.forget(door);
        let is_asked = |parked: &Parked| matches!(parked.then, Then::Gathered(_));
        let tickets: Vec<OrderTicket> =
            self.waiting.iter().filter(|(_, parked)| is_asked(parked)).map(|(ticket, _)| *ticket).collect();
        tickets.into_iter().for_each(|ticket| self.gathered(now, door, ticket, None));
    }

    /// The next command for the cluster. Once it is taken, it may happen.
    pub fn next_order(&mut self) -> Option<(OrderTicket, Command)> {
        self.orders.pop_front()
    }

    /// What has become of a command.
    pub fn answered(&mut self, now: Time, ticket: OrderTicket, outcome: &Outcome) {
        // Without an entry it was given up here before.
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        self.counters.took(now, now.since(waiting.asked));
        self.wake_all(now, &waiting.touches);
        match outcome {
            Outcome::Done(reply) => self.deliver(now, waiting, reply),
            Outcome::Unknown => self.deliver(now, waiting, &Reply::Error(StoreError::said(UNKNOWN))),
        }
    }

    fn deliver(&mut self, now: Time, waiting: Parked, reply: &Reply) {
        let Parked { id, slot, then, is_read, .. } = waiting;
        if let Some(connection) = self.connection(id) {
            connection.under_way -= usize::from(!then.is_pop());
            connection.reads -= usize::from(is_read);
        }
        let then = match then {
            Then::Pop(number) => return self.popped(now, number, reply),
            Then::Look(number) => return self.looked(now, number, reply),
            then => then,
        };
        if let Reply::Error(_) = reply {
            self.counters.errors += 1;
        }
        let Some(connection) = self.connection(id) else { return };
        let slot = slot.unwrap_or(u64::MAX);
        match then {
            Then::Reply => connection.fill(slot, |out| out.store(reply)),
            Then::Shape(shape) => connection.fill(slot, |out| out.shaped(shape, reply)),
            Then::Exec(plan) => connection.fill(slot, |out| super::transaction::finish(out, &plan, reply)),
            Then::Watch(keys) => super::transaction::watched(connection, slot, keys, reply),
            // The time may have been over before all had answered.
            Then::Gathered(gathering) => connection.fill(slot, |out| gathering.write(out)),
            Then::Script(answering) => self.scripted(now, id, slot, answering, reply),
            Then::Pop(_) | Then::Look(_) => {}
        }
        self.mark_dirty(id);
        self.mark_ready(id);
    }

    /// A connection that has waited goes on.
    pub fn release(&mut self, id: Id) {
        if let Some(connection) = self.connection(id) {
            connection.hold = Hold::No;
        }
        self.mark_dirty(id);
        self.mark_ready(id);
    }

    // ---- time ----------------------------------------------------------------------------------

    /// Does what has become possible or due.
    pub fn tick(&mut self, now: Time) {
        while let Some(oldest) = self.waiting.first_entry()
            && now.since(oldest.get().asked) >= ANSWER_DEADLINE
        {
            let (ticket, waiting) = oldest.remove_entry();
            let before = self.orders.len();
            if self.orders.front().is_some_and(|(first, _)| *first <= ticket) {
                self.orders.retain(|(other, _)| *other != ticket);
            }
            let never_left = self.orders.len() < before;
            let why = if never_left { NOT_DONE } else { UNKNOWN };
            self.counters.unknown += u64::from(!never_left);
            self.deliver(now, waiting, &Reply::Error(StoreError::said(why)));
        }
        self.tick_waiters(now);
        if now >= self.next_tidying {
            self.next_tidying = now + TIDY_INTERVAL;
            self.tidy(now);
        }
        for id in std::mem::take(&mut self.ready) {
            if let Some(connection) = self.connection(id) {
                connection.is_ready = false;
                self.serve(now, id);
            }
        }
    }

    /// When [`Hall::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if !self.ready.is_empty() || !self.dirty.is_empty() {
            return Time::default();
        }
        let oldest = self.waiting.first_key_value().map_or(Time::NEVER, |(_, oldest)| oldest.asked + ANSWER_DEADLINE);
        let tidying = if self.connections.is_empty() { Time::NEVER } else { self.next_tidying };
        oldest.min(self.waiters.deadline()).min(tidying)
    }

    /// How many commands are with the cluster, or wait for it.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.waiting.len()
    }

    /// Gives back what idle connections do not need, and ends those that nobody should wait for.
    fn tidy(&mut self, now: Time) {
        self.counters.sample(now);
        if self.waiters.is_empty() {
            self.others.tell_waiting(false);
        }
        let timeout = self.settings.timeout();
        let mut ended = Vec::new();
        for connection in self.connections.values_mut().flatten() {
            let idle = now.since(connection.active);
            if idle >= TIDY_INTERVAL {
                connection.shrink();
            }
            let is_idle = connection.hold == Hold::No && connection.subscriptions() == 0;
            let timed_out = timeout.is_some_and(|timeout| is_idle && idle >= timeout);
            if timed_out || connection.out.len() > OUT_BYTES_MAX {
                connection.drop_it();
                ended.push(connection.id);
            }
        }
        for id in ended {
            self.mark_dirty(id);
        }
    }
}

/// The keys that a command may fill for those who wait to pop from them.
fn filled_by(command: &Command) -> Vec<Bytes> {
    command.grows().into_iter().map(|(_, key)| key.clone()).collect()
}

/// A connection does not listen to this any more.
pub fn forget(register: &mut BTreeMap<Bytes, BTreeSet<Id>>, name: &Bytes, id: Id) {
    if let Some(listeners) = register.get_mut(name) {
        listeners.remove(&id);
        if listeners.is_empty() {
            register.remove(name);
        }
    }
}
