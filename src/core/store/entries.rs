//! Keys and what they hold, one at a time: everything that keeps digest, sizes, expiry and notes up to date.

use super::state::UnixMs;
use super::table::{Chance, Table};
use super::value::{Value, ValueKind};
use super::work::{KEY_UNITS, units_of};
use super::{Bytes, Db, OpNumber, Store};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a key costs in memory besides its bytes and its value's, about.
const KEY_COST_BYTES: u64 = 80;
/// So often another key is looked for when the first that was chosen is past its time.
const ANY_KEY_TRIES: usize = 100;
/// What moves elements in the middle costs one unit for this many of them.
const MOVED_PER_UNIT: u64 = 8;

/// A value and the write that put it there.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What is stored.
    pub value: Value,
    /// The op number of the write that changed it last.
    pub op: OpNumber,
    /// When it expires; 0: never.
    pub expires: UnixMs,
}

impl Stored {
    /// Its time is over: no command sees it any more.
    #[must_use]
    pub fn is_past(&self, now: UnixMs) -> bool {
        self.expires != 0 && self.expires <= now
    }

    /// Its share in the digest of its database, given its key's.
    fn digest(&self, key: u64) -> u64 {
        self.digest_as_of(key, self.op)
    }

    /// The same if another write had put it there.
    fn digest_as_of(&self, key: u64, op: OpNumber) -> u64 {
        let mixed = key ^ self.value.digest().rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ op.0).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 32 ^ self.expires.rotate_left(11)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Without its key.
    fn size_bytes(&self) -> u64 {
        self.value.size_bytes() as u64 + KEY_COST_BYTES
    }
}

/// One of the databases.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) table: Table<Stored>,
    /// Sum over all entries of their digests.
    pub(super) digest: u64,
    /// What all entries take in memory, about.
    pub(super) bytes: u64,
    /// The keys that expire, in the order in which they do.
    pub(super) due: BTreeSet<(UnixMs, Bytes)>,
}

impl Database {
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty() && self.due.is_empty()
    }

    fn add(&mut self, key: u64, key_bytes: usize, stored: &Stored) {
        self.digest = self.digest.wrapping_add(stored.digest(key));
        self.bytes += stored.size_bytes() + key_bytes as u64;
    }

    fn subtract(&mut self, key: u64, key_bytes: usize, stored: &Stored) {
        self.digest = self.digest.wrapping_sub(stored.digest(key));
        self.bytes -= stored.size_bytes() + key_bytes as u64;
    }
}

fn key_digest(db: Db, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, db.index() as u64)
}

fn work_of(stored: &Stored) -> u64 {
    units_of(stored.value.packed().map_or(0, |bytes| bytes.len()))
}

/// What a write has touched, for whoever is reading the store meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touch {
    /// A key came, went, or holds something else altogether.
    Key {
        /// Where.
        db: Db,
        /// Which.
        key: Bytes,
        /// Whether it was there before.
        was_there: bool,
    },
    /// A field or member of a large collection, or when it expires (`None`).
    Element {
        /// Where.
        db: Db,
        /// Of which collection.
        key: Bytes,
        /// Which.
        element: Option<Bytes>,
    },
    /// An element of a long list, by its number.
    Item {
        /// Where.
        db: Db,
        /// Of which list.
        key: Bytes,
        /// Which.
        number: i64,
    },
    /// All keys of a database went.
    Flush {
        /// Which.
        db: Db,
    },
}

/// What a command does to a collection, noted while it does it.
#[derive(Debug, Default)]
pub struct Edit {
    noting: bool,
    /// How many elements were changed.
    changes: u64,
    moved: bool,
    elements: Vec<Bytes>,
    numbers: Vec<i64>,
}

impl Edit {
    /// A field or member is changed, added or removed.
    pub fn element(&mut self, element: &[u8]) {
        self.changes += 1;
        if self.noting {
            self.elements.push(element.into());
        }
    }

    /// An element of a list, by its number, likewise.
    pub fn item(&mut self, number: i64) {
        self.changes += 1;
        if self.noting {
            self.numbers.push(number);
        }
    }

    /// Elements in the middle of a list have moved.
    pub fn moved(&mut self) {
        self.changes += 1;
        self.moved = true;
    }
}

impl Store {
    /// Stores a value in the place of whatever was there.
    pub(super) fn put(&mut self, db: Db, key: Bytes, value: Value, expires: UnixMs) {
        let op = self.op;
        self.put_stored(db, key, Stored { value, op, expires });
    }

    pub(super) fn put_stored(&mut self, db: Db, key: Bytes, stored: Stored) {
        self.note_changed(db, &key);
        self.work += KEY_UNITS + work_of(&stored);
        let (digest, length) = (key_digest(db, &key), key.len());
        let base = &mut self.dbs[db.index()];
        base.add(digest, length, &stored);
        let expires = stored.expires;
        if expires != 0 {
            base.due.insert((expires, key.clone()));
        }
        let name = (self.touched.is_some() || !base.due.is_empty()).then(|| key.clone());
        let old = base.table.insert(key, stored);
        let was_there = old.is_some();
        if let Some(old) = old {
            base.subtract(digest, length, &old);
            if old.expires != 0 && old.expires != expires {
                base.due.remove(&(old.expires, name.clone().unwrap_or_default()));
            }
            self.work += work_of(&old);
            self.let_go(old.value);
        }
        if let (Some(touched), Some(key)) = (&mut self.touched, name) {
            touched.push(Touch::Key { db, key, was_there });
        }
    }

    /// What is large is let go of slowly.
    pub(super) fn let_go(&mut self, value: Value) {
        if value.packed().is_none() {
            self.rubbish.push(value);
        }
    }

    /// Removes a key; what it held comes back.
    pub(super) fn take(&mut self, db: Db, key: &[u8]) -> Option<(Bytes, Stored)> {
        let base = &mut self.dbs[db.index()];
        let (key, old) = base.table.remove(key)?;
        base.subtract(key_digest(db, &key), key.len(), &old);
        if old.expires != 0 {
            base.due.remove(&(old.expires, key.clone()));
        }
        self.work += work_of(&old);
        self.note_changed(db, &key);
        if let Some(touched) = &mut self.touched {
            touched.push(Touch::Key { db, key: key.clone(), was_there: true });
        }
        Some((key, old))
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, db: Db, key: &[u8]) -> bool {
        let Some((_, old)) = self.take(db, key) else { return false };
        self.let_go(old.value);
        true
    }

    /// Changes what a key holds; without one there, an empty value of this kind is begun. A collection that is
    /// empty afterwards goes. The change must say what it does, or nothing is taken to have happened.
    pub(super) fn edit<R>(
        &mut self,
        db: Db,
        key: &Bytes,
        kind: ValueKind,
        change: impl FnOnce(&mut Value, &mut Edit) -> R,
    ) -> R {
        let mut edit = Edit { noting: self.touched.is_some(), ..Edit::default() };
        let op = self.op;
        let base = &mut self.dbs[db.index()];
        let Some(stored) = base.table.get_mut(key) else {
            let mut value = Value::empty(kind);
            let result = change(&mut value, &mut edit);
            self.work += edit.changes;
            if edit.changes > 0 && !value.is_empty() {
                self.put(db, key.clone(), value, 0);
            }
            return result;
        };
        let was_packed = stored.value.packed().is_some();
        let name = key_digest(db, key);
        let (digest, bytes) = (stored.digest(name), stored.size_bytes());
        let result = change(&mut stored.value, &mut edit);
        if edit.changes == 0 {
            return result;
        }
        stored.op = op;
        base.digest = base.digest.wrapping_sub(digest).wrapping_add(stored.digest(name));
        base.bytes = base.bytes - bytes + stored.size_bytes();
        let is_whole = was_packed || stored.value.packed().is_some() || edit.moved;
        let moved = if edit.moved { stored.value.elements() as u64 / MOVED_PER_UNIT } else { 0 };
        self.work += KEY_UNITS + edit.changes + moved + work_of(stored);
        if stored.value.is_empty() {
            self.remove(db, key);
        } else {
            self.note_changed(db, key);
            self.note_edit(db, key, edit, is_whole);
        }
        result
    }

    /// Changes a value that has arrived in part; what its last write and its expiry are comes with it.
    pub(super) fn amend(
        &mut self,
        db: Db,
        key: &Bytes,
        op: OpNumber,
        expires: UnixMs,
        change: impl FnOnce(&mut Value),
    ) {
        let base = &mut self.dbs[db.index()];
        let Some(stored) = base.table.get_mut(key) else { return };
        let name = key_digest(db, key);
        let (digest, bytes) = (stored.digest(name), stored.size_bytes());
        change(&mut stored.value);
        let was = std::mem::replace(&mut stored.expires, expires);
        stored.op = op;
        base.digest = base.digest.wrapping_sub(digest).wrapping_add(stored.digest(name));
        base.bytes = base.bytes - bytes + stored.size_bytes();
        if was != expires {
            base.due.remove(&(was, key.clone()));
            if expires != 0 {
                base.due.insert((expires, key.clone()));
            }
        }
    }

    /// Takes a key out as if its time were over, for a checker.
    pub fn lift_key(&mut self, db: Db, key: &[u8]) -> Option<Stored> {
        self.take(db, key).map(|(_, stored)| stored)
    }

    /// Puts in a key as it was elsewhere, for a checker.
    pub fn place_key(&mut self, db: Db, key: Bytes, stored: Stored) {
        self.put_stored(db, key, stored);
    }

    /// A digest of keys and values alone, whichever writes they are from. Looks at all keys: for a checker.
    #[must_use]
    pub fn content_digest(&self) -> u64 {
        let entries = Db::all().flat_map(|db| self.dbs[db.index()].table.iter().map(move |(key, own)| (db, key, own)));
        entries.fold(0, |sum: u64, (db, key, own)| sum.wrapping_add(own.digest_as_of(key_digest(db, key), OpNumber(0))))
    }

    /// Any key whose time is not over.
    pub(super) fn any_key(&self, db: Db, now: UnixMs, chance: &mut Chance) -> Option<Bytes> {
        let table = &self.dbs[db.index()].table;
        let chosen = (0..ANY_KEY_TRIES).filter_map(|_| table.choose(chance)).find(|(_, stored)| !stored.is_past(now));
        chosen.map(|(key, _)| key.clone())
    }

    /// Some keys of a database from a cursor on, and the next cursor.
    pub(super) fn scan_keys(&self, db: Db, from: u64, count: usize) -> (u64, Vec<(&Bytes, &Stored)>) {
        self.dbs[db.index()].table.scan(from, count)
    }

    fn note_edit(&mut self, db: Db, key: &Bytes, edit: Edit, is_whole: bool) {
        let Some(touched) = &mut self.touched else { return };
        let key = || key.clone();
        if is_whole {
            touched.push(Touch::Key { db, key: key(), was_there: true });
            return;
        }
        let elements = edit.elements.into_iter();
        touched.extend(elements.map(|element| Touch::Element { db, key: key(), element: Some(element) }));
        touched.extend(edit.numbers.into_iter().map(|number| Touch::Item { db, key: key(), number }));
    }

    /// Sets when a key that is there expires (0: never).
    pub(super) fn set_expiry(&mut self, db: Db, key: &Bytes, expires: UnixMs) {
        let op = self.op;
        let base = &mut self.dbs[db.index()];
        let Some(stored) = base.table.get_mut(key) else { return };
        let name = key_digest(db, key);
        let old = stored.digest(name);
        let was = std::mem::replace(&mut stored.expires, expires);
        stored.op = op;
        let is_whole = stored.value.packed().is_some();
        base.digest = base.digest.wrapping_sub(old).wrapping_add(stored.digest(name));
        if was != 0 {
            base.due.remove(&(was, key.clone()));
        }
        if expires != 0 {
            base.due.insert((expires, key.clone()));
        }
        self.note_changed(db, key);
        if let Some(touched) = &mut self.touched {
            let key = key.clone();
            touched.push(match is_whole {
                true => Touch::Key { db, key, was_there: true },
                false => Touch::Element { db, key, element: None },
            });
        }
    }

    /// Removes all keys of a database, at once; they are let go of later.
    pub(super) fn flush(&mut self, db: Db) {
        if self.dbs[db.index()].table.is_empty() {
            return;
        }
        self.flushed.push(std::mem::take(&mut self.dbs[db.index()]));
        if let Some(touched) = &mut self.touched {
            touched.push(Touch::Flush { db });
        }
    }
}
