//! One connection as a value: what its client has said so far, and what it is still to be told.
//!
//! Requests of one connection are answered in the order in which they came, however many are under way at once: each
//! has a `ReplySlot`, and bytes leave only when everything before them has left. A request that must see what those
//! before it did (`PUBLISH`, `WAIT`) waits until there are none; so does everything behind a pop that blocks.
//!
//! They are also carried out in that order. The protocol sees to it that a request follows the writes before it, but a
//! read that is under way may be answered late, by the next primary even; so a write waits for the reads before it.

use super::hall::Then;
use super::resp::{Parser, Version, Writer};
use super::transaction::DoorTransaction;
use crate::core::protocol::Time;
use crate::core::store::{Bytes, Command, Db, Watched};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

/// The most requests of one connection that are under way; further ones are not looked at meanwhile.
pub const PIPELINE_MAX: usize = 1024;
/// While this many bytes wait for a client to read them, nothing more is read from it.
pub const OUT_BYTES_STOP: usize = 1 << 20;
/// A client for whom this many bytes wait is given up: somebody sends it messages, and it does not read them.
pub const OUT_BYTES_MAX: usize = 32 << 20;
/// The answers of reads that are under way may be so large together, as far as can be foreseen.
const ANSWERS_BYTES_MAX: usize = 4 << 20;
/// The most reads of one connection that are under way, and the fewest that are allowed however large answers are.
const READS_MAX: usize = 512;
const READS_MIN: usize = 4;
/// An answer is expected to be so large, in bytes, until there were some.
const ANSWER_BYTES_EXPECTED: usize = 256 << 10;
/// How slowly a large answer is forgotten: by one in this many with each that follows.
const ANSWER_SHARE: usize = 8;
/// This many bytes are read ahead of what is under way.
const AHEAD_BYTES_MAX: usize = 256 << 10;
/// An idle connection keeps this much room for its replies.
const ROOM_KEPT_BYTES: usize = 4 << 10;

/// The number of a connection, as `CLIENT ID` tells it.
pub type Id = u64;

/// The place of a reply that has not come yet.
#[derive(Debug, Clone, Default)]
struct ReplySlot {
    bytes: Vec<u8>,
    done: bool,
}

/// Why nothing more is done for a connection at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hold {
    /// Go on.
    #[default]
    No,
    /// This request waits until all before it are answered.
    Quiet(Vec<Bytes>),
    /// A write ([`Connection::held`]) waits until the reads before it are answered: they must not see it.
    Reads,
    /// The answer to a `WATCH` is missing.
    Watch,
    /// A pop waits for something to pop.
    Blocked,
}

/// Which replies a client wants, as `CLIENT REPLY` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// All but the next one.
    Skip,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Its number.
    pub id: Id,
    /// Where the client is.
    pub peer: SocketAddr,
    /// Where it has come to.
    pub local: SocketAddr,
    /// What has arrived.
    pub parser: Parser,
    /// What the client understands.
    pub version: Version,
    /// `SELECT`.
    pub db: Db,
    /// The password was given, or none is needed.
    pub trusted: bool,
    /// What the client calls itself, its library, and that one's version.
    pub name: Bytes,
    /// See `name`.
    pub library: (Bytes, Bytes),
    /// Between `MULTI` and `EXEC`.
    pub transaction: Option<DoorTransaction>,
    /// What must not change until `EXEC`.
    pub watched: Vec<Watched>,
    /// What it has subscribed to.
    pub channels: BTreeSet<Bytes>,
    /// And by patterns.
    pub patterns: BTreeSet<Bytes>,
    /// Which replies it wants.
    pub replies: Replies,
    /// Why it waits.
    pub hold: Hold,
    /// Nothing more is read from it; it ends when it has been told everything.
    pub closing: bool,
    /// It ends at once, whatever it was to be told.
    pub is_dropped: bool,
    /// When it came.
    pub since: Time,
    /// When it last asked something.
    pub active: Time,
    /// What it last asked.
    pub last: &'static str,
    /// Bytes that leave with the next write.
    pub out: Vec<u8>,
    /// Requests that the cluster has not answered yet, whether or not a reply is wanted; a pop that blocks is none.
    pub under_way: usize,
    /// Those of them that are reads.
    pub reads: usize,
    /// How large the next answer may be, in bytes: nobody knows before it comes, and who does not read must not make
    /// the cluster answer a thousand times a megabyte.
    expected: usize,
    /// The write that waits for them.
    pub held: Option<Box<(Command, Then)>>,
    slots: VecDeque<ReplySlot>,
    /// The number of the first slot.
    first: u64,
    /// What of its room is in the account of the hall, in bytes.
    pub counted: usize,
    /// It is in the list of those that have something to be written.
    pub is_dirty: bool,
    /// It is in the list of those that have something to be looked at.
    pub is_ready: bool,
}

impl Connection {
    /// Somebody has come.
    #[must_use]
    pub fn new(id: Id, peer: SocketAddr, local: SocketAddr, trusted: bool, now: Time) -> Self {
        Self {
            id,
            peer,
            local,
            parser: Parser::new(trusted),
            version: Version::Resp2,
            db: Db::default(),
            trusted,
            name: Bytes::default(),
            library: (Bytes::default(), Bytes::default()),
            transaction: None,
            watched: Vec::new(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            replies: Replies::On,
            hold: Hold::No,
            closing: false,
            is_dropped: false,
            since: now,
            active: now,
            last: "NULL",
            out: Vec::new(),
            under_way: 0,
            reads: 0,
            expected: ANSWER_BYTES_EXPECTED,
            held: None,
            slots: VecDeque::new(),
            first: 0,
            counted: 0,
            is_dirty: false,
            is_ready: false,
        }
    }

    /// Everything that was asked has been carried out and answered.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.slots.is_empty() && self.under_way == 0
    }

    /// How many channels and patterns it listens to.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Whether more requests can be taken on.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let reads_max = (ANSWERS_BYTES_MAX / self.expected.max(1)).clamp(READS_MIN, READS_MAX);
        let is_far_ahead = self.slots.len().max(self.under_way) >= PIPELINE_MAX || self.reads >= reads_max;
        self.hold == Hold::No && !self.closing && !is_far_ahead && self.out.len() < OUT_BYTES_STOP
    }

    /// Whether more should be read from it: not while it does not read itself, or is far ahead.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let is_far_ahead = !self.has_room() && self.parser.held_bytes() >= AHEAD_BYTES_MAX;
        !self.closing && self.out.len() < OUT_BYTES_STOP && !is_far_ahead
    }

    /// Everything has been said.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_dropped || self.closing && self.out.is_empty() && self.slots.is_empty()
    }

    /// Replies behind all others.
    pub fn reply(&mut self, bytes: &[u8]) {
        if !self.wants_reply() {
            return;
        }
        if self.slots.is_empty() {
            self.out.extend_from_slice(bytes);
        } else {
            self.slots.push_back(ReplySlot { bytes: bytes.to_vec(), done: true });
        }
    }

    /// Replies in its own words.
    pub fn say(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut bytes = Vec::new();
        write(&mut Writer::new(&mut bytes, self.version));
        self.reply(&bytes);
    }

    /// Something it has not asked for.
    pub fn push(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        write(&mut Writer::new(&mut self.out, self.version));
    }

    /// Keeps a place for a reply; `None` when the client does not want it.
    pub fn open_slot(&mut self) -> Option<u64> {
        self.wants_reply().then(|| {
            self.slots.push_back(ReplySlot::default());
            self.first + self.slots.len() as u64 - 1
        })
    }

    /// The reply to `slot` is there.
    pub fn fill(&mut self, slot: u64, write: impl FnOnce(&mut Writer<'_>)) {
        let Some(at) = slot.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return };
        let mut length = 0;
        if at == 0 && !self.slots.is_empty() {
            // The commonest case needs no copy.
            let before = self.out.len();
            write(&mut Writer::new(&mut self.out, self.version));
            length = self.out.len() - before;
            self.slots.pop_front();
            self.first += 1;
        } else if let Some(place) = self.slots.get_mut(at) {
            write(&mut Writer::new(&mut place.bytes, self.version));
            length = place.bytes.len();
            place.done = true;
        }
        self.expected = length.max(self.expected - self.expected.div_ceil(ANSWER_SHARE));
        while let Some(done) = self.slots.pop_front_if(|slot| slot.done) {
            self.out.extend_from_slice(&done.bytes);
            self.first += 1;
        }
    }

    fn wants_reply(&mut self) -> bool {
        match self.replies {
            Replies::On => true,
            Replies::Off => false,
            Replies::Skip => {
                self.replies = Replies::On;
                false
            }
        }
    }

    /// So much of what was to be said has been said.
    pub fn sent(&mut self, count: usize) {
        if count == self.out.len() {
            self.out.clear();
            if self.out.capacity() > ROOM_KEPT_BYTES * 16 {
                self.out = Vec::new();
            }
        } else {
            self.out.drain(..count);
        }
    }

    /// Ends it at once.
    pub fn drop_it(&mut self) {
        (self.closing, self.is_dropped) = (true, true);
    }

    /// What only a busy connection needs is given back.
    pub fn shrink(&mut self) {
        self.parser.shrink();
        if self.out.is_empty() && self.out.capacity() > ROOM_KEPT_BYTES {
            self.out = Vec::new();
        }
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }

    /// The room that its requests and replies take.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        let waiting: usize = self.slots.iter().map(|slot| slot.bytes.capacity()).sum();
        self.parser.room_bytes() + self.out.capacity() + waiting
    }

    /// As if it had just come.
    pub fn reset(&mut self) {
        self.transaction = None;
        self.watched.clear();
        (self.version, self.db, self.name, self.replies) =
            (Version::Resp2, Db::default(), Bytes::default(), Replies::On);
    }
}
