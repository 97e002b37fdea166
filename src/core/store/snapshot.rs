//! The whole state in bounded chunks, while writes go on.
//!
//! A snapshot of a million keys takes seconds; the primary may not stop for them. So an [`Exporter`]
//! walks the *live* store in key order. A write that lands behind its position would be missed: its
//! key is marked dirty and sent again later, as it then is. When few keys are dirty, the rest goes out
//! in one step together with the op number, the client table and the digest ([`Finale`]): that instant
//! is the snapshot's point in the log, and the joining server continues from there with the log itself.
//! (The idea is the pre-copy of live virtual machine migration: Clark et al., NSDI 2005.)
//!
//! The importer checks the digest: a wrong snapshot is refused, not served.

use super::{Bytes, OpNumber, Sessions, Store, Stored};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

/// A chunk is closed once it holds this many bytes of keys and values; one entry may exceed it.
pub const CHUNK_BYTES: usize = 64 << 10;
/// A chunk is closed once it holds this many entries, however small.
pub const CHUNK_ENTRIES_MAX: usize = 1024;
/// After this many passes over dirty keys the finale is sent whatever is left, so that a transfer
/// ends even when writes come faster than the link carries them.
const DIRTY_PASSES_MAX: usize = 8;

/// So many of the keys written last are known when a snapshot has arrived, for the display.
const NEWEST_MAX: usize = 32;

/// Some entries of the store: replace these, remove those.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chunk {
    /// Key, value, and the write that stored it.
    pub present: Vec<(Bytes, Bytes, OpNumber)>,
    /// Keys that were sent before and are gone since.
    pub absent: Vec<Bytes>,
    /// How many keys the store had when this was made: for whoever wants to know how far a transfer is.
    pub total: u64,
}

impl Chunk {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len() + self.absent.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The last step of a snapshot: everything that must be of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finale {
    /// The snapshot holds exactly the writes up to this one.
    pub op: OpNumber,
    /// [`Store::digest`] at that point.
    pub digest: u64,
    /// The client table at that point.
    pub sessions: Sessions,
    /// What had changed behind the walk and was not sent yet.
    pub rest: Chunk,
}

/// Reads a live store in chunks. Tell it of every write with [`Exporter::note_write`] *before* the write is applied.
#[derive(Debug, Clone, Default)]
pub struct Exporter {
    /// The last key sent; `None` before the first.
    position: Option<Bytes>,
    /// The walk over all keys is over; only dirty ones are left.
    walked: bool,
    dirty: BTreeSet<Bytes>,
    /// The dirty keys of the pass under way.
    pass: BTreeSet<Bytes>,
    passes: usize,
    keys_sent: u64,
}

impl Exporter {
    /// How many entries have been sent so far, repeats included.
    #[must_use]
    pub fn keys_sent(&self) -> u64 {
        self.keys_sent
    }

    /// A write to `key` is about to be applied to the store.
    pub fn note_write(&mut self, key: &Bytes) {
        let behind = self.walked || self.position.as_ref().is_some_and(|position| key <= position);
        if behind && !self.dirty.contains(&**key) {
            self.dirty.insert(key.clone());
        }
    }

    /// The next chunk, or `None` when it is time for [`Exporter::finish`].
    pub fn next_chunk(&mut self, store: &Store) -> Option<Chunk> {
        if !self.walked {
            let chunk = self.walk(store);
            if chunk.is_some() {
                return chunk;
            }
        }
        if self.pass.is_empty() {
            if self.dirty.len() <= CHUNK_ENTRIES_MAX / 4 || self.passes >= DIRTY_PASSES_MAX {
                return None;
            }
            self.passes += 1;
            self.pass = std::mem::take(&mut self.dirty);
        }
        let mut chunk = Filling::default();
        while !chunk.is_full() {
            let Some(key) = self.pass.pop_first() else { break };
            chunk.add(key, store);
        }
        Some(self.sent(chunk, store))
    }

    fn walk(&mut self, store: &Store) -> Option<Chunk> {
        let from = self.position.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&**key));
        let mut chunk = Filling::default();
        for (key, stored) in store.entries.range::<[u8], _>((from, Bound::Unbounded)) {
            if chunk.is_full() {
                break;
            }
            chunk.add_present(key.clone(), stored);
        }
        match chunk.chunk.present.last() {
            Some((key, ..)) => {
                self.position = Some(key.clone());
                Some(self.sent(chunk, store))
            }
            None => {
                self.walked = true;
                None
            }
        }
    }

    fn sent(&mut self, filling: Filling, store: &Store) -> Chunk {
        self.keys_sent += filling.chunk.len() as u64;
        Chunk { total: store.len() as u64, ..filling.chunk }
    }

    /// Ends the snapshot at the store's present op number.
    #[must_use]
    pub fn finish(mut self, store: &Store) -> Finale {
        self.dirty.append(&mut self.pass);
        let mut rest = Filling::default();
        for key in self.dirty {
            rest.add(key, store);
        }
        let rest = Chunk { total: store.len() as u64, ..rest.chunk };
        Finale { op: store.op, digest: store.digest, sessions: store.sessions.clone(), rest }
    }
}

/// A chunk that counts its bytes.
#[derive(Default)]
struct Filling {
    chunk: Chunk,
    bytes: usize,
}

impl Filling {
    fn is_full(&self) -> bool {
        self.bytes >= CHUNK_BYTES || self.chunk.len() >= CHUNK_ENTRIES_MAX
    }

    fn add(&mut self, key: Bytes, store: &Store) {
        match store.entries.get(&key) {
            Some(stored) => self.add_present(key, stored),
            None => {
                self.bytes += key.len();
                self.chunk.absent.push(key);
            }
        }
    }

    fn add_present(&mut self, key: Bytes, stored: &Stored) {
        self.bytes += key.len() + stored.value.len();
        self.chunk.present.push((key, stored.value.clone(), stored.op));
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
        for (key, value, op) in chunk.present {
            self.note_newest(&key, op);
            self.store.insert_at(key, Stored { value, op });
        }
        for key in chunk.absent {
            self.store.remove(&key);
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
        if self.store.digest != finale.digest {
            return Err(SnapshotError { expected: finale.digest, found: self.store.digest });
        }
        self.store.op = finale.op;
        self.store.sessions = finale.sessions;
        self.store.put_back_changed(self.newest.into_values().collect());
        Ok(self.store)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientId, Command, LogEntry, Seq};
    use super::*;
    use proptest::prelude::*;

    fn write(store: &mut Store, exporter: Option<&mut Exporter>, command: Command) {
        let op = store.op().next();
        if let (Some(exporter), Some(key)) = (exporter, command.key()) {
            exporter.note_write(key);
        }
        store.apply(LogEntry { op, client: ClientId(0), seq: Seq(op.0), acked: Seq(0), command });
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

    /// So many keys, each with a value of 64 bytes: 72 bytes an entry.
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
        let chunks = std::iter::from_fn(|| exporter.next_chunk(store)).map(|chunk| chunk.present.len()).collect();
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
        let (mut store, keys) = filled(2_000);
        let rewrite = |store: &mut Store, exporter: &mut Exporter, count: usize| {
            for key in &keys[..count] {
                write(store, Some(exporter), Command::Put { key: key.clone(), value: "new".into() });
            }
        };
        let mut exporter = Exporter::default();
        let first = exporter.next_chunk(&store).expect("there are keys").present.len();
        rewrite(&mut store, &mut exporter, first + 500);
        while exporter.next_chunk(&store).is_some() {}
        assert_eq!(exporter.keys_sent(), 2_000 + first as u64, "what lies ahead of the walk is sent once");
        let few = CHUNK_ENTRIES_MAX / 4;
        let (mut exporter, _) = walked(&store);
        rewrite(&mut store, &mut exporter, few);
        assert_eq!(exporter.next_chunk(&store), None);
        assert_eq!(exporter.finish(&store).rest.present.len(), few, "the last part takes them along");
        let (mut exporter, _) = walked(&store);
        let mut passes = 0;
        loop {
            rewrite(&mut store, &mut exporter, few + 1);
            let Some(chunk) = exporter.next_chunk(&store) else { break };
            assert_eq!(chunk.present.len(), few + 1);
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
        chunk.present[0].1 = "other".into();
        let mut importer = Importer::default();
        importer.add(chunk);
        let error = importer.finish(exporter.finish(&store)).unwrap_err();
        assert!(error.to_string().contains("does not match"), "{error}");
    }
}
