//! A `KEYS` in slices, while writes go on.
//!
//! Looking at a million keys takes a tenth of a second, and the primary may not be silent for so long. So a [`Scan`]
//! walks the live store in the order of its table, a slice at a time. Its answer is the state at the moment at which
//! it began: of a key that lies ahead of it and was written meanwhile it notes whether it had been there. What lies
//! behind it has been looked at already, and what becomes of it there does not matter.
//!
//! ```text
//!   a b c d e f g h          keys, as they were when the scan began
//!         ▲     ▲
//!         │     └ DELETE g: noted as there
//!         └ position         DELETE a: nothing to note, a was found as it was
//! ```

use super::table::place;
use super::work::{KEY_UNITS, units_of};
use super::{Bytes, Db, KEYS_REPLY_BYTES_MAX, KeyPattern, Reply, Store, StoreError, Touch, keylist::KeyPacker};
use std::collections::{BTreeMap, BTreeSet};

/// One byte compared with one piece of a glob costs as much as this many bytes that are copied.
const LOOK_BYTES: usize = 8;

/// A scan under way. Tell it of everything that was touched with [`Scan::note`], before it goes on.
#[derive(Debug, Clone)]
pub struct Scan {
    db: Db,
    pattern: KeyPattern,
    /// The last key that was looked at; `None` before the first.
    position: Option<Bytes>,
    /// Keys ahead that were written since the scan began, in the order of the table, and whether they were there
    /// when it did. As many as writes that are carried out while the scan lasts.
    before: BTreeMap<(u64, Bytes), bool>,
    /// What matches, in the order of the answer.
    found: BTreeSet<Bytes>,
    found_bytes: usize,
    /// All keys were looked at; the answer is being packed.
    packing: Option<KeyPacker>,
}

impl Scan {
    /// The answer will be the state that the store has now.
    #[must_use]
    pub fn new(db: Db, pattern: &[u8]) -> Self {
        let (before, found) = (BTreeMap::new(), BTreeSet::new());
        Self { db, pattern: KeyPattern::new(pattern), position: None, before, found, found_bytes: 0, packing: None }
    }

    /// Something was touched since the last step.
    pub fn note(&mut self, touch: &Touch) {
        match touch {
            _ if self.packing.is_some() => {}
            Touch::Key { db, key, was_there } if *db == self.db => {
                let place = (place(key), key.clone());
                let ahead = self.position.as_ref().is_none_or(|at| place > (super::table::place(at), at.clone()));
                if ahead {
                    self.before.entry(place).or_insert(*was_there);
                }
            }
            // All keys went at once: then the answer is the state after that.
            Touch::Flush { db } if *db == self.db => {
                self.position = None;
                self.before.clear();
                self.found.clear();
                self.found_bytes = 0;
            }
            _ => {}
        }
    }

    /// Looks at some keys: as many as take about this much work, one at least. Returns how much work it was, and the
    /// answer once there is one.
    pub fn step(&mut self, store: &Store, units: u64) -> (u64, Option<Reply>) {
        let mut done = 0;
        if self.packing.is_none() {
            match self.look(store, units, &mut done) {
                Ok(true) => self.packing = Some(KeyPacker::default()),
                Ok(false) => return (done, None),
                Err(error) => return (done, Some(Reply::Error(error))),
            }
        }
        let Some(packing) = &mut self.packing else { return (done, None) };
        while done < units {
            let Some(key) = self.found.pop_first() else {
                return (done, Some(Reply::Keys(std::mem::take(packing).finish())));
            };
            packing.push(&key);
            done += KEY_UNITS;
        }
        (done, None)
    }

    /// Looks at keys; true when that were all.
    fn look(&mut self, store: &Store, units: u64, done: &mut u64) -> Result<bool, StoreError> {
        let from = self.position.take();
        let mut live = store.dbs[self.db.index()].table.after(from.as_ref()).map(|(key, _)| key).peekable();
        loop {
            // Whichever of the two comes first; where both have the key, what was noted counts.
            let is_noted = match (live.peek(), self.before.first_key_value()) {
                (None, None) => return Ok(true),
                (Some(key), Some((noted, _))) => *noted <= (place(key), (*key).clone()),
                (None, Some(_)) => true,
                (Some(_), None) => false,
            };
            let noted;
            let (key, was_there) = if is_noted {
                let was_there;
                ((_, noted), was_there) = self.before.pop_first().expect("just seen");
                live.next_if(|key| **key == noted);
                (&noted, was_there)
            } else {
                (live.next().expect("just seen"), true)
            };
            *done += KEY_UNITS;
            if was_there {
                let (matched, looks) = self.pattern.compare(key);
                *done += units_of(looks * LOOK_BYTES);
                if matched {
                    self.found_bytes += key.len();
                    self.found.insert(key.clone());
                }
            }
            if self.found_bytes > KEYS_REPLY_BYTES_MAX {
                return Err(StoreError::TooManyKeys);
            }
            if *done >= units {
                self.position = Some(key.clone());
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientId, Command, KeyList, LogEntry, Seq, Stamp};
    use super::*;
    use proptest::prelude::*;

    fn write(store: &mut Store, mut scan: Option<&mut Scan>, (delete, key): (bool, u8)) {
        let key = Bytes::from(format!("{}{key}", if key % 3 == 0 { "a" } else { "b" }));
        let command = if delete { Command::Delete { key } } else { Command::Put { key, value: "v".into() } };
        let op = store.op().next();
        store.note_touches(scan.is_some());
        let stamp = Stamp::default();
        store.apply(LogEntry { op, client: ClientId::on(0), seq: Seq(op.0), acked: Seq(0), stamp, command });
        for touch in store.take_touches() {
            scan.iter_mut().for_each(|scan| scan.note(&touch));
        }
    }

    proptest! {
        /// Whatever is written between the slices, the answer is the state in which the scan began.
        #[test]
        fn a_scan_answers_the_state_of_one_moment(
            before in prop::collection::vec((any::<bool>(), any::<u8>()), 0..300),
            during in prop::collection::vec(prop::collection::vec((any::<bool>(), any::<u8>()), 0..30), 0..40),
            units in 1_u64..20,
            glob in prop_oneof![Just("*"), Just("a*"), Just("b?"), Just("*[1-3]")],
        ) {
            let mut store = Store::default();
            for w in before {
                write(&mut store, None, w);
            }
            let pattern = KeyPattern::new(glob.as_bytes());
            let keys = store.iter().map(|(key, _)| key);
            let expected: BTreeSet<&Bytes> = keys.filter(|key| pattern.matches(key)).collect();
            let expected: KeyList = expected.into_iter().collect();
            let mut scan = Scan::new(Db::default(), glob.as_bytes());
            let mut during = during.into_iter();
            let answer = loop {
                let (done, answer) = scan.step(&store, units);
                prop_assert!(done <= units + KEY_UNITS);
                if let Some(answer) = answer {
                    break answer;
                }
                for w in during.next().into_iter().flatten() {
                    write(&mut store, Some(&mut scan), w);
                }
            };
            prop_assert_eq!(answer, Reply::Keys(expected));
        }
    }

    #[test]
    fn a_slice_is_a_slice_whatever_the_glob() {
        let mut store = Store::default();
        for number in 0..1_000 {
            let (op, key) = (store.op().next(), format!("{}{number:04}", "a".repeat(900)).into());
            let command = Command::Put { key, value: "v".into() };
            store.apply(LogEntry {
                op,
                client: ClientId::on(0),
                seq: Seq(op.0),
                acked: Seq(0),
                stamp: Stamp::default(),
                command,
            });
        }
        // Compares every key with itself, from each of its bytes on.
        let glob = format!("*{}b", "a".repeat(400));
        let (mut scan, mut slices) = (Scan::new(Db::default(), glob.as_bytes()), 1);
        let one_key = units_of(401 * 905 * LOOK_BYTES) + KEY_UNITS;
        loop {
            let (done, answer) = scan.step(&store, 10 * one_key);
            assert!(done <= 11 * one_key, "{done} units");
            if answer.is_some() {
                break;
            }
            slices += 1;
        }
        assert!(slices > 50, "{slices} slices");
    }
}
