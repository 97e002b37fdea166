//! The whole state in bounded chunks, while writes go on.
//!
//! A snapshot of a million keys takes seconds; the primary may not stop for them. So an [`Exporter`]
//! walks the *live* store in the order of its tables. A write that lands behind its position would be missed: what
//! it touched is marked dirty and sent again later, as it then is. When little is dirty, the rest goes out
//! in one step together with the op number, the client table and the digest ([`Finale`]): that instant
//! is the snapshot's point in the log, and the joining server continues from there with the log itself.
//! (The idea is the pre-copy of live virtual machine migration: Clark et al., NSDI 2005.)
//!
//! Strings and small collections are sent whole. A large collection is sent part by part, and of what is written to
//! it meanwhile only the elements are sent again. Of a list the exporter remembers which stretch of its elements has
//! been sent; what was pushed at the ends since then is added there.
//!
//! The importer checks the digest: a wrong snapshot is refused, not served.
//!
//! # Caveats
//!
//! What moves elements in the middle of a large list (`LINSERT`, `LREM`) has the whole list sent again.

use super::table::Table;
use super::value::{Fields, List, Value, ValueKind, Zset};
use super::{Bytes, DATABASES, Db, Double, OpNumber, Sessions, Store, Stored, Touch, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A chunk is closed once it holds this many bytes of keys and values; one entry may exceed it.
pub const CHUNK_BYTES: usize = 64 << 10;
/// A chunk is closed once it holds this many entries and elements, however small.
pub const CHUNK_ENTRIES_MAX: usize = 1024;
/// After this many passes over dirty keys the finale is sent whatever is left, so that a transfer
/// ends even when writes come faster than the link carries them.
const DIRTY_PASSES_MAX: usize = 8;

/// This many of the keys written last are known when a snapshot has arrived, for the display.
const NEWEST_MAX: usize = 32;

/// Where a key is.
type KeyPlace = (Db, Bytes);

/// Some of the store: replace this, remove that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chunk {
    /// Databases that were emptied: before anything else.
    pub flushed: Vec<Db>,
    /// What there is.
    pub pieces: Vec<Piece>,
    /// How many keys the store had when this was made: for whoever wants to know how far a transfer is.
    pub total: u64,
}

/// One key, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The database.
    pub db: Db,
    /// The key.
    pub key: Bytes,
    /// The write that changed it last.
    pub op: OpNumber,
    /// When it expires.
    pub expires: UnixMs,
    /// What it holds.
    pub content: Content,
}

/// What there is of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// It was sent before and is gone since.
    Gone,
    /// A string, or a small collection as it is stored.
    Whole(ValueKind, Bytes),
    /// A part of a large collection; `fresh`: the first one, and nothing that was sent before counts.
    Part {
        /// Forget what was sent before.
        fresh: bool,
        /// Hash or set.
        part: Part,
    },
}

/// Elements of a large collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Of a hash or a set: fields that are there, and such as are gone.
    Fields(ValueKind, Vec<(Bytes, Bytes)>, Vec<Bytes>),
    /// Of a sorted set, likewise.
    Members(Vec<(Bytes, Double)>, Vec<Bytes>),
    /// Of a list.
    Items {
        /// The number of its first element, and how many there are: what was sent beyond that is gone.
        bounds: (i64, u64),
        /// What comes before the elements that were sent, the nearest first.
        front: Vec<Bytes>,
        /// What comes after them.
        back: Vec<Bytes>,
        /// What has changed among them, by number.
        changed: Vec<(i64, Bytes)>,
    },
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Fields(_, present, absent) => present.len() + absent.len(),
            Self::Members(present, absent) => present.len() + absent.len(),
            Self::Items { front, back, changed, .. } => front.len() + back.len() + changed.len(),
        }
    }
}

impl Chunk {
    /// How many entries and elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// Bytes of keys, values and elements.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.pieces.iter().map(Piece::size_bytes).sum()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.flushed.is_empty()
    }
}

impl Piece {
    fn len(&self) -> usize {
        match &self.content {
            Content::Part { part, .. } => part.len().max(1),
            _ => 1,
        }
    }

    fn size_bytes(&self) -> usize {
        let sizes = |all: &[(Bytes, Bytes)]| all.iter().map(|(one, two)| one.len() + two.len()).sum::<usize>();
        let lengths = |all: &[Bytes]| all.iter().map(|one| one.len()).sum::<usize>();
        let content = match &self.content {
            Content::Gone => 0,
            Content::Whole(_, packed) => packed.len(),
            Content::Part { part: Part::Fields(_, present, absent), .. } => sizes(present) + lengths(absent),
            Content::Part { part: Part::Members(present, absent), .. } => {
                present.iter().map(|(member, _)| member.len() + 8).sum::<usize>() + lengths(absent)
            }
            Content::Part { part: Part::Items { front, back, changed, .. }, .. } => {
                lengths(front) + lengths(back) + changed.iter().map(|(_, item)| item.len() + 8).sum::<usize>()
            }
        };
        self.key.len() + content
    }
}

/// The last step of a snapshot: everything that must be of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finale {
    /// The snapshot holds exactly the writes up to this one.
    pub op: OpNumber,
    /// The time of that write.
    pub time: UnixMs,
    /// [`Store::digest`] at that point.
    pub digest: u64,
    /// The client table at that point.
    pub sessions: Sessions,
    /// What had changed behind the walk and was not sent yet.
    pub rest: Chunk,
}

/// What is to be sent again of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dirt {
    /// All of it.
    Key,
    /// When it expires, and which write changed it.
    Meta,
    Element(Bytes),
    Item(i64),
}

/// A large collection that is being sent.
#[derive(Debug, Clone)]
struct Inside {
    db: Db,
    key: Bytes,
    /// The last field or member that was sent.
    at: Option<Bytes>,
    fresh: bool,
}

/// Reads a live store in chunks. Tell it of everything that was touched with [`Exporter::note`], before the next.
#[derive(Debug, Clone, Default)]
pub struct Exporter {
    /// The last key sent, or begun; `None` before the first.
    position: Option<KeyPlace>,
    inside: Option<Inside>,
    /// Which stretch of a large list's elements has been sent.
    lists: BTreeMap<KeyPlace, (i64, i64)>,
    /// The walk over all keys is over; only dirty ones are left.
    walked: bool,
    flushed: BTreeSet<Db>,
    dirty: BTreeSet<(Db, Bytes, Dirt)>,
    /// What was dirty when the pass under way began.
    pass: BTreeSet<(Db, Bytes, Dirt)>,
    passes: usize,
    keys_sent: u64,
}

impl Exporter {
    /// How many entries have been sent so far, repeats included.
    #[must_use]
    pub fn keys_sent(&self) -> u64 {
        self.keys_sent
    }

    /// Something was touched since the last chunk.
    pub fn note(&mut self, touch: &Touch) {
        let (db, key, dirt) = match touch {
            Touch::Flush { db } => {
                self.flushed.insert(*db);
                self.dirty.retain(|(own, ..)| own != db);
                self.pass.retain(|(own, ..)| own != db);
                self.lists.retain(|(own, _), _| own != db);
                self.inside.take_if(|inside| inside.db == *db);
                return;
            }
            Touch::Key { db, key, .. } => (*db, key, Dirt::Key),
            Touch::Element { db, key, element: None } => (*db, key, Dirt::Meta),
            Touch::Element { db, key, element: Some(element) } => (*db, key, Dirt::Element(element.clone())),
            Touch::Item { db, key, number } => (*db, key, Dirt::Item(*number)),
        };
        if !self.walked && !self.is_behind(db, key) {
            return;
        }
        if dirt == Dirt::Key {
            self.lists.remove(&(db, key.clone()));
            self.inside.take_if(|inside| inside.db == db && inside.key == *key);
        }
        self.dirty.insert((db, key.clone(), dirt));
    }

    fn is_behind(&self, db: Db, key: &Bytes) -> bool {
        let order = |key: &Bytes| (super::table::place(key), key.clone());
        self.position.as_ref().is_some_and(|(at, own)| (db, order(key)) <= (*at, order(own)))
    }

    /// The next chunk, or `None` when it is time for [`Exporter::finish`].
    pub fn next_chunk(&mut self, store: &Store) -> Option<Chunk> {
        let mut chunk = Filling::bounded();
        if !self.walked {
            self.walk(store, &mut chunk);
            if chunk.count > 0 {
                return Some(self.sent(chunk, store));
            }
            self.walked = true;
        }
        if self.pass.is_empty() && self.inside.is_none() {
            let is_large = |(db, key, dirt): &(Db, Bytes, Dirt)| {
                *dirt == Dirt::Key && store.get_in(*db, key).is_some_and(|stored| stored.value.packed().is_none())
            };
            let is_little = self.dirty.len() <= CHUNK_ENTRIES_MAX / 4 && !self.dirty.iter().any(is_large);
            if is_little || self.passes >= DIRTY_PASSES_MAX {
                return None;
            }
            self.passes += 1;
            self.pass = std::mem::take(&mut self.dirty);
        }
        self.clean(store, &mut chunk);
        Some(self.sent(chunk, store))
    }

    /// Sends what comes next in the order of the tables.
    fn walk(&mut self, store: &Store, chunk: &mut Filling) {
        while !chunk.is_full() {
            if self.inside.is_some() {
                self.go_on_inside(store, chunk);
                continue;
            }
            let Some((db, key, stored)) = self.next_key(store) else { return };
            let (key, place) = (key.clone(), (db, key.clone()));
            self.position = Some(place);
            self.begin(db, key, stored, chunk);
        }
    }

    fn next_key<'s>(&self, store: &'s Store) -> Option<(Db, &'s Bytes, &'s Stored)> {
        let (mut db, mut after) = match &self.position {
            Some((db, key)) => (*db, Some(key)),
            None => (Db::default(), None),
        };
        loop {
            let table: &Table<Stored> = &store.dbs[db.index()].table;
            // The iterator borrows the position as well; what it gives, only the store.
            let next = table.after_place(after);
            if let Some((key, stored)) = next {
                return Some((db, key, stored));
            }
            db = Db::new(db.index() as u64 + 1).filter(|db| db.index() < DATABASES)?;
            after = None;
        }
    }

    /// Sends a key, or begins to.
    fn begin(&mut self, db: Db, key: Bytes, stored: &Stored, chunk: &mut Filling) {
        match stored.value.packed() {
            Some(packed) => {
                let content = Content::Whole(stored.value.kind(), packed.clone());
                chunk.add(Piece { db, key, op: stored.op, expires: stored.expires, content });
            }
            None => self.inside = Some(Inside { db, key, at: None, fresh: true }),
        }
    }

    /// Sends more of a large collection.
    fn go_on_inside(&mut self, store: &Store, chunk: &mut Filling) {
        let Some(mut inside) = self.inside.take() else { return };
        let Some(stored) = store.get_in(inside.db, &inside.key).filter(|stored| stored.value.packed().is_none()) else {
            return; // It has become something else, and is dirty.
        };
        let fresh = std::mem::take(&mut inside.fresh);
        let room = chunk.room();
        let (part, more) = match &stored.value {
            Value::Hash(fields) | Value::Set(fields) => {
                let (present, more) = take_fields(fields.after(inside.at.as_ref()), room, |field, value| {
                    (field.len() + value.len(), (field.clone(), value.clone()))
                });
                inside.at = present.last().map(|(field, _)| field.clone()).or(inside.at);
                (Part::Fields(stored.value.kind(), present, Vec::new()), more)
            }
            Value::Zset(zset) => {
                let (present, more) = take_fields(zset.after(inside.at.as_ref()), room, |member, score| {
                    (member.len() + 8, (member.clone(), Double(score)))
                });
                inside.at = present.last().map(|(member, _)| member.clone()).or(inside.at);
                (Part::Members(present, Vec::new()), more)
            }
            Value::List(list) => self.stretch(inside.db, &inside.key, list, fresh, room),
            Value::String(_) => return,
        };
        let (db, key) = (inside.db, inside.key.clone());
        let content = Content::Part { fresh, part };
        chunk.add(Piece { db, key, op: stored.op, expires: stored.expires, content });
        if more {
            self.inside = Some(inside);
        }
    }

    /// Sends elements of a list that lie beside those that were sent.
    fn stretch(&mut self, db: Db, key: &Bytes, list: &List, fresh: bool, room: (usize, usize)) -> (Part, bool) {
        let first = list.first();
        let end = first + i64::try_from(list.len()).unwrap_or(i64::MAX);
        let place = (db, key.clone());
        let known = self.lists.get(&place).copied().filter(|_| !fresh).unwrap_or((first, first));
        // What was sent and is still there.
        let (mut from, mut to) = (known.0.max(first), known.1.min(end));
        if from >= to {
            (from, to) = (first, first);
        }
        let (mut bytes, mut count) = (0, 0);
        let mut is_full = |item: &[u8]| {
            let full = count >= room.0 || bytes >= room.1;
            (bytes, count) = (bytes + item.len(), count + 1);
            full
        };
        let item = |number: i64| usize::try_from(number - first).ok().and_then(|at| list.get(at));
        let (mut front, mut back) = (Vec::new(), Vec::new());
        while from > first
            && let Some(own) = item(from - 1)
            && !is_full(own)
        {
            front.push(own.into());
            from -= 1;
        }
        while to < end
            && let Some(own) = item(to)
            && !is_full(own)
        {
            back.push(own.into());
            to += 1;
        }
        self.lists.insert(place, (from, to));
        let bounds = (first, list.len() as u64);
        (Part::Items { bounds, front, back, changed: Vec::new() }, from > first || to < end)
    }

    /// Sends what is dirty.
    fn clean(&mut self, store: &Store, chunk: &mut Filling) {
        while !chunk.is_full() {
            if self.inside.is_some() {
                self.go_on_inside(store, chunk);
                continue;
            }
            let Some((db, key, dirt)) = self.pass.pop_first() else { return };
            let Some(stored) = store.get_in(db, &key) else {
                let (op, expires) = (OpNumber(0), 0);
                chunk.add(Piece { db, key, op, expires, content: Content::Gone });
                continue;
            };
            if dirt == Dirt::Key || stored.value.packed().is_some() {
                self.begin(db, key, stored, chunk);
                continue;
            }
            self.clean_part(db, key, dirt, stored, chunk);
        }
    }

    fn clean_part(&mut self, db: Db, key: Bytes, dirt: Dirt, stored: &Stored, chunk: &mut Filling) {
        let element = if let Dirt::Element(element) = &dirt { Some(element) } else { None };
        let part = match &stored.value {
            Value::Hash(fields) | Value::Set(fields) => {
                let own = element.map(|field| (field, fields.get(field)));
                let present = own.and_then(|(field, value)| Some((field.clone(), value?.into())));
                let absent = own.filter(|(_, value)| value.is_none()).map(|(field, _)| field.clone());
                Part::Fields(stored.value.kind(), Vec::from_iter(present), Vec::from_iter(absent))
            }
            Value::Zset(zset) => {
                let own = element.map(|member| (member, zset.score(member)));
                let present = own.and_then(|(member, score)| Some((member.clone(), Double(score?))));
                let absent = own.filter(|(_, score)| score.is_none()).map(|(member, _)| member.clone());
                Part::Members(Vec::from_iter(present), Vec::from_iter(absent))
            }
            Value::List(list) => {
                let (from, to) = self.lists.get(&(db, key.clone())).copied().unwrap_or_default();
                let number = if let Dirt::Item(number) = dirt { Some(number) } else { None };
                let number = number.filter(|number| (from..to).contains(number));
                let at = number.and_then(|number| usize::try_from(number - list.first()).ok());
                let changed = number.zip(at.and_then(|at| list.get(at))).map(|(number, item)| (number, item.into()));
                let bounds = (list.first(), list.len() as u64);
                // What was pushed at the ends follows.
                self.inside = Some(Inside { db, key: key.clone(), at: None, fresh: false });
                Part::Items { bounds, front: Vec::new(), back: Vec::new(), changed: Vec::from_iter(changed) }
            }
            Value::String(_) => return,
        };
        let content = Content::Part { fresh: false, part };
        chunk.add(Piece { db, key, op: stored.op, expires: stored.expires, content });
    }

    fn sent(&mut self, filling: Filling, store: &Store) -> Chunk {
        self.keys_sent += filling.chunk.pieces.len() as u64;
        let flushed = std::mem::take(&mut self.flushed).into_iter().collect();
        Chunk { total: store.len() as u64, flushed, ..filling.chunk }
    }

    /// Ends the snapshot at the store's present op number.
    #[must_use]
    pub fn finish(mut self, store: &Store) -> Finale {
        self.dirty.append(&mut self.pass);
        self.pass = std::mem::take(&mut self.dirty);
        let mut rest = Filling::unbounded();
        self.clean(store, &mut rest);
        let rest = self.sent(rest, store);
        Finale { op: store.op, time: store.time, digest: store.digest(), sessions: store.sessions.clone(), rest }
    }
}

/// Elements until there is no more room, and whether there are more.
fn take_fields<'a, V, T>(
    elements: impl Iterator<Item = (&'a Bytes, V)>,
    room: (usize, usize),
    item: impl Fn(&'a Bytes, V) -> (usize, T),
) -> (Vec<T>, bool) {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for (name, value) in elements {
        if taken.len() >= room.0 || bytes >= room.1 {
            return (taken, true);
        }
        let (size, item) = item(name, value);
        bytes += size;
        taken.push(item);
    }
    (taken, false)
}

/// A chunk that counts its bytes.
struct Filling {
    chunk: Chunk,
    count: usize,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Filling {
    fn bounded() -> Self {
        Self { chunk: Chunk::default(), count: 0, bytes: 0, count_max: CHUNK_ENTRIES_MAX, bytes_max: CHUNK_BYTES }
    }

    fn unbounded() -> Self {
        Self { count_max: usize::MAX, bytes_max: usize::MAX, ..Self::bounded() }
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max || self.count >= self.count_max
    }

    /// How many elements and bytes fit into it still.
    fn room(&self) -> (usize, usize) {
        (self.count_max.saturating_sub(self.count), self.bytes_max.saturating_sub(self.bytes))
    }

    fn add(&mut self, piece: Piece) {
        self.count += piece.len();
        self.bytes += piece.size_bytes();
        self.chunk.pieces.push(piece);
    }
}

/// The snapshot did not add up; the joining server drops it and asks for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotError {
    expected: u64,
    found: u64,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot digest {:016x} does not match {:016x}: dropped, asking again", self.found, self.expected)
    }
}

impl std::error::Error for SnapshotError {}

/// Builds a store from chunks.
#[derive(Debug, Clone, Default)]
pub struct Importer {
    store: Store,
    total: u64,
    /// The keys written last, of those that have arrived. To look for them afterwards would mean to look at all.
    newest: BTreeMap<OpNumber, Bytes>,
}

impl Importer {
    /// Takes in the next chunk, in the order in which they were made.
    pub fn add(&mut self, chunk: Chunk) {
        self.total = chunk.total;
        for db in chunk.flushed {
            self.store.flush(db);
        }
        for piece in chunk.pieces {
            self.add_piece(piece);
        }
    }

    /// What makes no sense is passed over: the digest will say that something is missing.
    fn add_piece(&mut self, piece: Piece) {
        let Piece { db, key, op, expires, content } = piece;
        if db == Db::default() && content != Content::Gone {
            self.note_newest(&key, op);
        }
        match content {
            Content::Gone => drop(self.store.remove(db, &key)),
            Content::Whole(kind, packed) => {
                if let Some(value) = Value::from_packed(kind, packed) {
                    self.store.put_stored(db, key, Stored { value, op, expires });
                }
            }
            Content::Part { fresh, part } => {
                if fresh || self.store.get_in(db, &key).is_none() {
                    let value = empty_for(&part);
                    self.store.put_stored(db, key.clone(), Stored { value, op, expires });
                }
                self.store.amend(db, &key, op, expires, |value| add_part(value, part));
            }
        }
    }

    fn note_newest(&mut self, key: &Bytes, op: OpNumber) {
        let full = self.newest.len() >= NEWEST_MAX;
        if full && self.newest.first_key_value().is_some_and(|(oldest, _)| *oldest >= op) {
            return;
        }
        if full {
            self.newest.pop_first();
        }
        self.newest.insert(op, key.clone());
    }

    /// What has arrived so far, to be let go of slowly ([`Store::forget_some`]).
    #[must_use]
    pub fn into_rest(self) -> Store {
        self.store
    }

    /// How many keys have arrived.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.store.len()
    }

    /// How many keys there are in all, as far as the sender has said.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The finished store. The keys written last count as changed.
    ///
    /// # Errors
    /// When the content does not have the digest that the sender saw.
    pub fn finish(mut self, finale: Finale) -> Result<Store, SnapshotError> {
        self.add(finale.rest);
        let found = self.store.digest();
        if found != finale.digest {
            return Err(SnapshotError { expected: finale.digest, found });
        }
        self.store.op = finale.op;
        self.store.time = finale.time;
        self.store.sessions = finale.sessions;
        self.store.put_back_changed(self.newest.into_values().collect());
        Ok(self.store)
    }
}

/// An empty collection that takes in such parts.
fn empty_for(part: &Part) -> Value {
    match part {
        Part::Fields(ValueKind::Set, ..) => Value::Set(Fields::unpacked()),
        Part::Fields(..) => Value::Hash(Fields::unpacked()),
        Part::Members(..) => Value::Zset(Zset::unpacked()),
        Part::Items { bounds, .. } => Value::List(List::unpacked(bounds.0)),
    }
}

fn add_part(value: &mut Value, part: Part) {
    match (value, part) {
        (Value::Hash(fields) | Value::Set(fields), Part::Fields(_, present, absent)) => {
            for (field, value) in present {
                fields.set(&field, value);
            }
            for field in &absent {
                fields.remove(field);
            }
        }
        (Value::Zset(zset), Part::Members(present, absent)) => {
            for (member, score) in present.into_iter().filter(|(_, score)| !score.0.is_nan()) {
                zset.set(&member, score.0);
            }
            for member in &absent {
                zset.remove(member);
            }
        }
        (Value::List(list), Part::Items { bounds, front, back, changed }) => {
            list.keep(bounds.0, bounds.1);
            front.into_iter().for_each(|item| list.push(item, true));
            back.into_iter().for_each(|item| list.push(item, false));
            for (number, item) in changed {
                let at = number.checked_sub(list.first()).and_then(|at| usize::try_from(at).ok());
                if let Some(at) = at.filter(|at| *at < list.len()) {
                    list.set(at, item);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientId, Command, LogEntry, Seq, Stamp};
    use super::*;
    use proptest::prelude::*;

    fn write(store: &mut Store, mut exporter: Option<&mut Exporter>, command: Command) {
        let op = store.op().next();
        store.note_touches(exporter.is_some());
        let stamp = Stamp { time: op.0, seed: op.0 };
        store.apply(LogEntry { op, client: ClientId::on(0), seq: Seq(op.0), acked: Seq(0), stamp, command });
        for touch in store.take_touches() {
            exporter.iter_mut().for_each(|exporter| exporter.note(&touch));
        }
    }

    fn command((kind, key, value): (u8, u16, u16)) -> Command {
        let key = Bytes::from(format!("key{key}"));
        let value = Bytes::from("v".repeat(usize::from(value)));
        match kind % 4 {
            0 | 1 => Command::Put { key, value },
            2 => Command::Delete { key },
            _ => Command::Append { key, value },
        }
    }

    proptest! {
        /// Whatever is written between the chunks, the importer ends with exactly the exporter's store.
        #[test]
        fn a_snapshot_under_writes_is_exact(
            before in prop::collection::vec((any::<u8>(), 0u16..2000, 0u16..900), 0..600),
            during in prop::collection::vec(prop::collection::vec((any::<u8>(), 0u16..2000, 0u16..900), 0..400), 0..20),
        ) {
            let mut store = Store::default();
            for c in before {
                write(&mut store, None, command(c));
            }
            let mut exporter = Exporter::default();
            let mut importer = Importer::default();
            let mut during = during.into_iter();
            while let Some(chunk) = exporter.next_chunk(&store) {
                importer.add(chunk);
                for c in during.next().into_iter().flatten() {
                    write(&mut store, Some(&mut exporter), command(c));
                }
            }
            let copy = importer.finish(exporter.finish(&store)).unwrap();
            prop_assert_eq!(copy.full_digest(), store.full_digest());
            prop_assert!(copy.iter().eq(store.iter()));
            prop_assert_eq!(copy.iter().count(), store.len());
        }
    }

    fn words(line: &str) -> Command {
        let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
        super::super::commands::parse(&words).expect("a command")
    }

    /// A write to one of a few collections that grow beyond being packed.
    fn collected((kind, key, number): (u8, u8, u16)) -> Command {
        let (key, at) = (key % 3, number % 400);
        let word = match kind % 24 {
            0..=3 => format!("RPUSH l{key} v{number} w{number} x{number}"),
            4..=5 => format!("LPUSH l{key} v{number} w{number}"),
            6 => format!("LPOP l{key} {}", number % 8),
            7 => format!("RPOP l{key} {}", number % 8),
            8 => format!("LSET l{key} {at} s{number}"),
            9 if number % 5 == 0 => format!("LINSERT l{key} BEFORE v{at} i{number}"),
            10 if number % 9 == 0 => format!("LTRIM l{key} {} -1", number % 100),
            9..=13 => format!("HSET h{key} f{number} {number} g{number} {}", "y".repeat(usize::from(at))),
            14 => format!("HDEL h{key} f{number} g{at}"),
            15..=17 => format!("ZADD z{key} {number} m{number} {at} n{at}"),
            18 => format!("ZPOPMIN z{key} {}", number % 4),
            19..=20 => format!("SADD s{key} m{number} m{at} o{number}"),
            21 => format!("SPOP s{key} {}", number % 4),
            22 if number % 31 == 0 => format!("DEL l{key} h{key}"),
            22 if number % 31 == 1 => format!("RENAME h{key} h{}", (key + 1) % 3),
            22 if number % 301 == 2 => "FLUSHDB".to_owned(),
            22 => format!("PEXPIRE h{key} {}", 1_000_000 + u32::from(number)),
            _ => format!("SET k{number} v"),
        };
        words(&word)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        /// The same with collections that are sent in parts, element by element.
        #[test]
        fn a_snapshot_of_large_collections_under_writes_is_exact(
            before in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u16>()), 0..3000),
            during in prop::collection::vec(
                prop::collection::vec((any::<u8>(), any::<u8>(), any::<u16>()), 0..200), 0..30),
        ) {
            let mut store = Store::default();
            for c in before {
                write(&mut store, None, collected(c));
            }
            let (mut exporter, mut importer) = (Exporter::default(), Importer::default());
            let mut during = during.into_iter();
            while let Some(chunk) = exporter.next_chunk(&store) {
                let chunk: Chunk = postcard::from_bytes(&postcard::to_stdvec(&chunk).unwrap()).unwrap();
                prop_assert!(chunk.len() <= 2 * CHUNK_ENTRIES_MAX);
                prop_assert!(chunk.size_bytes() <= 2 * CHUNK_BYTES);
                importer.add(chunk);
                for c in during.next().into_iter().flatten() {
                    write(&mut store, Some(&mut exporter), collected(c));
                }
            }
            let mut copy = importer.finish(exporter.finish(&store)).unwrap();
            prop_assert_eq!(copy.full_digest(), store.full_digest());
            prop_assert_eq!(copy.size_bytes(), store.size_bytes());
            prop_assert!(copy.iter().eq(store.iter()));
            prop_assert_eq!(copy.next_expiry(), store.next_expiry());
            // What both go on to do is the same, chance included.
            for number in 0..50 {
                for c in [(21, number, 3), (18, number, 2), (6, number, 3), (14, number, 7)] {
                    write(&mut copy, None, collected(c));
                    write(&mut store, None, collected(c));
                }
            }
            prop_assert_eq!(copy.full_digest(), store.full_digest());
        }
    }

    #[test]
    fn a_long_list_goes_in_parts_while_it_is_pushed_and_popped() {
        let mut store = Store::default();
        for number in 0..20_000 {
            write(&mut store, None, words(&format!("RPUSH l {number:0100}")));
        }
        let (mut exporter, mut importer, mut largest) = (Exporter::default(), Importer::default(), 0);
        while let Some(chunk) = exporter.next_chunk(&store) {
            largest = largest.max(chunk.size_bytes());
            importer.add(chunk);
            for line in ["LPUSH l a b c", "RPOP l", "RPUSH l d", "LPOP l 2", "LSET l 100 e"] {
                write(&mut store, Some(&mut exporter), words(line));
            }
        }
        let finale = exporter.finish(&store);
        assert!(largest <= CHUNK_BYTES + 200 && finale.rest.len() < CHUNK_ENTRIES_MAX, "{largest} {finale:?}");
        assert_eq!(importer.finish(finale).unwrap().full_digest(), store.full_digest());
    }

    /// This many keys, each with a value of 64 bytes: 72 bytes an entry.
    fn filled(keys: usize) -> (Store, Vec<Bytes>) {
        let keys: Vec<Bytes> = (0..keys).map(|number| Bytes::from(format!("key{number:05}"))).collect();
        let mut store = Store::default();
        for key in &keys {
            write(&mut store, None, Command::Put { key: key.clone(), value: "v".repeat(64).into() });
        }
        (store, keys)
    }

    fn walked(store: &Store) -> (Exporter, Vec<usize>) {
        let mut exporter = Exporter::default();
        let chunks = std::iter::from_fn(|| exporter.next_chunk(store)).map(|chunk| chunk.pieces.len()).collect();
        (exporter, chunks)
    }

    #[test]
    fn a_chunk_ends_with_its_bytes_or_its_entries() {
        let (mut store, keys) = filled(2_000);
        let (exporter, chunks) = walked(&store);
        let full = CHUNK_BYTES.div_ceil(72);
        assert_eq!(chunks, [full, full, 2_000 - 2 * full]);
        assert_eq!(exporter.keys_sent(), 2_000);
        for key in keys {
            write(&mut store, None, Command::Put { key, value: "".into() });
        }
        assert_eq!(walked(&store).1, [CHUNK_ENTRIES_MAX, 2_000 - CHUNK_ENTRIES_MAX]);
    }

    #[test]
    fn what_changes_behind_the_walk_is_sent_again_but_not_for_ever() {
        let (mut store, _) = filled(2_000);
        let keys: Vec<Bytes> = store.iter().map(|(key, _)| key.clone()).collect();
        let rewrite = |store: &mut Store, exporter: &mut Exporter, count: usize| {
            for key in &keys[..count] {
                write(store, Some(exporter), Command::Put { key: key.clone(), value: "new".into() });
            }
        };
        let mut exporter = Exporter::default();
        let first = exporter.next_chunk(&store).expect("there are keys").pieces.len();
        rewrite(&mut store, &mut exporter, first + 500);
        while exporter.next_chunk(&store).is_some() {}
        assert_eq!(exporter.keys_sent(), 2_000 + first as u64, "what lies ahead of the walk is sent once");
        let few = CHUNK_ENTRIES_MAX / 4;
        let (mut exporter, _) = walked(&store);
        rewrite(&mut store, &mut exporter, few);
        assert_eq!(exporter.next_chunk(&store), None);
        assert_eq!(exporter.finish(&store).rest.pieces.len(), few, "the last part takes them along");
        let (mut exporter, _) = walked(&store);
        let mut passes = 0;
        loop {
            rewrite(&mut store, &mut exporter, few + 1);
            let Some(chunk) = exporter.next_chunk(&store) else { break };
            assert_eq!(chunk.pieces.len(), few + 1);
            passes += 1;
        }
        assert_eq!(passes, DIRTY_PASSES_MAX);
    }

    #[test]
    fn the_keys_written_last_are_known_when_it_has_arrived() {
        let (store, keys) = filled(2_000);
        let (mut exporter, mut importer) = (Exporter::default(), Importer::default());
        while let Some(chunk) = exporter.next_chunk(&store) {
            importer.add(chunk);
        }
        let mut copy = importer.finish(exporter.finish(&store)).unwrap();
        assert_eq!(copy.take_changed_if_any(), Some(keys[2_000 - NEWEST_MAX..].to_vec()));
    }

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let mut store = Store::default();
        write(&mut store, None, command((0, 1, 5)));
        let mut exporter = Exporter::default();
        let mut chunk = exporter.next_chunk(&store).unwrap();
        chunk.pieces[0].content = Content::Whole(ValueKind::String, "other".into());
        let mut importer = Importer::default();
        importer.add(chunk);
        let error = importer.finish(exporter.finish(&store)).unwrap_err();
        assert!(error.to_string().contains("does not match"), "{error}");
    }
}
