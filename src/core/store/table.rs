//! Keys in the order of a fixed hash.
//!
//! A cursor of the `SCAN` family is a place in that order. It is the same on every server, today and after a
//! failover, and a table that grows or shrinks does not move what is in it: so a scan that is long under way finds
//! everything that was there from its beginning to its end, wherever it goes on. Keys of the same place are always
//! found together.
//!
//! Places have 52 bits, so that a client that takes a cursor for a floating-point number loses nothing of it.

use super::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Every server uses the same.
const SEED: u64 = 0x7461_626c_6573;
/// Bits of the hash that are no part of the place.
const DROPPED_BITS: u32 = 12;
/// To choose at random among more than this many, only the neighbours of a random place are looked at.
const COUNTED_MAX: usize = 1024;
/// How many neighbours.
const NEIGHBOURS: u64 = 128;

/// The place of a key; never 0, which is where every scan begins.
pub(super) fn place(key: &[u8]) -> u64 {
    (xxh3_64_with_seed(key, SEED) >> DROPPED_BITS).max(1)
}

/// A map from byte strings, ordered by `place` and then by the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<V> {
    slots: BTreeMap<u64, Slot<V>>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Slot<V> {
    One(Bytes, V),
    /// Keys that share a place, which hardly ever happens by chance.
    Many(Vec<(Bytes, V)>),
}

impl<V> Slot<V> {
    fn find(&self, key: &[u8]) -> Option<&V> {
        match self {
            Self::One(own, value) => (**own == *key).then_some(value),
            Self::Many(all) => all.iter().find(|(own, _)| **own == *key).map(|(_, value)| value),
        }
    }

    fn find_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        match self {
            Self::One(own, value) => (**own == *key).then_some(value),
            Self::Many(all) => all.iter_mut().find(|(own, _)| **own == *key).map(|(_, value)| value),
        }
    }

    fn get(&self, at: usize) -> Option<(&Bytes, &V)> {
        match self {
            Self::One(key, value) => (at == 0).then_some((key, value)),
            Self::Many(all) => all.get(at).map(|(key, value)| (key, value)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Bytes, &V)> {
        (0..).map_while(|at| self.get(at))
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), len: 0 }
    }
}

impl<V> Table<V> {
    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is stored under `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        self.slots.get(&place(key))?.find(key)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        self.slots.get_mut(&place(key))?.find_mut(key)
    }

    /// Stores a value; returns the one that was there.
    pub fn insert(&mut self, key: Bytes, value: V) -> Option<V> {
        use std::collections::btree_map::Entry;
        match self.slots.entry(place(&key)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Slot::One(key, value));
            }
            Entry::Occupied(mut occupied) => {
                let slot = occupied.get_mut();
                if let Some(old) = slot.find_mut(&key) {
                    return Some(std::mem::replace(old, value));
                }
                let mut all = match std::mem::replace(slot, Slot::Many(Vec::new())) {
                    Slot::One(key, value) => vec![(key, value)],
                    Slot::Many(all) => all,
                };
                let at = all.partition_point(|(other, _)| *other < key);
                all.insert(at, (key, value));
                *slot = Slot::Many(all);
            }
        }
        self.len += 1;
        None
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8]) -> Option<(Bytes, V)> {
        use std::collections::btree_map::Entry;
        let Entry::Occupied(mut occupied) = self.slots.entry(place(key)) else { return None };
        let removed = match occupied.get_mut() {
            Slot::One(own, _) if **own == *key => match occupied.remove() {
                Slot::One(key, value) => (key, value),
                Slot::Many(_) => return None,
            },
            Slot::One(..) => return None,
            Slot::Many(all) => {
                let at = all.iter().position(|(own, _)| **own == *key)?;
                let removed = all.remove(at);
                if all.is_empty() {
                    occupied.remove();
                }
                removed
            }
        };
        self.len -= 1;
        Some(removed)
    }

    /// Removes the keys of the first place.
    pub fn pop_first(&mut self) -> Option<Vec<(Bytes, V)>> {
        let (_, slot) = self.slots.pop_first()?;
        let all = match slot {
            Slot::One(key, value) => vec![(key, value)],
            Slot::Many(all) => all,
        };
        self.len -= all.len();
        Some(all)
    }

    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &V)> {
        self.slots.values().flat_map(Slot::iter)
    }

    /// Everything from this place on.
    pub fn starting_at(&self, from: u64) -> impl Iterator<Item = (u64, &Bytes, &V)> {
        let places = self.slots.range(from..);
        places.flat_map(|(place, slot)| slot.iter().map(|(key, value)| (*place, key, value)))
    }

    /// Everything after this key, whether or not it is there; from the beginning without one.
    pub fn after<'a>(&'a self, key: Option<&'a Bytes>) -> impl Iterator<Item = (&'a Bytes, &'a V)> {
        let at = key.map_or(0, |key| place(key));
        let here = self.slots.get(&at).into_iter().flat_map(Slot::iter);
        let here = here.filter(move |(own, _)| key.is_some_and(|key| *own > key));
        let rest = self.slots.range((Bound::Excluded(at), Bound::Unbounded));
        here.chain(rest.flat_map(|(_, slot)| slot.iter()))
    }

    /// The first after this key.
    #[must_use]
    pub fn after_place(&self, key: Option<&Bytes>) -> Option<(&Bytes, &V)> {
        let at = key.map_or(0, |key| place(key));
        let here = self.slots.get(&at).into_iter().flat_map(Slot::iter);
        let found = key.and_then(|key| here.into_iter().find(|(own, _)| *own > key));
        let rest = || self.slots.range((Bound::Excluded(at), Bound::Unbounded)).next();
        found.or_else(|| rest().and_then(|(_, slot)| slot.get(0)))
    }

    /// At least `count` from this place on, and the place where to go on (0: that was all).
    pub fn scan(&self, from: u64, count: usize) -> (u64, Vec<(&Bytes, &V)>) {
        let mut found = Vec::new();
        let mut last = 0;
        for (place, key, value) in self.starting_at(from) {
            if found.len() >= count && place != last {
                return (place, found);
            }
            last = place;
            found.push((key, value));
        }
        (0, found)
    }

    /// One of them, by chance. Of a large table some are a little likelier than others.
    #[must_use]
    pub fn choose(&self, chance: &mut Chance) -> Option<(&Bytes, &V)> {
        if self.len <= COUNTED_MAX {
            let at = chance.below(self.len as u64);
            return self.iter().nth(usize::try_from(at).ok()?);
        }
        let from = chance.draw() >> DROPPED_BITS;
        let around = self.starting_at(from).map(|(_, key, value)| (key, value)).chain(self.iter());
        let at = chance.below(NEIGHBOURS);
        around.into_iter().nth(usize::try_from(at).ok()?)
    }
}

/// Chance that a log entry brings along: the same numbers on every server.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The chance of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number (Steele, Lea and Flood's `SplitMix`).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_all_that_stays_while_the_table_grows_and_shrinks() {
        let mut table: Table<u32> = Table::default();
        let key = |number: u32| Bytes::from(format!("key{number}"));
        for number in 0..1000 {
            table.insert(key(number), number);
        }
        let (mut cursor, mut seen, mut step) = (0, std::collections::BTreeSet::new(), 0);
        loop {
            let (next, found) = table.scan(cursor, 10);
            seen.extend(found.iter().map(|(_, number)| **number));
            if next == 0 {
                break;
            }
            cursor = next;
            step += 1;
            // Even ones go, others come.
            table.remove(&key(step * 2));
            for more in 0..20 {
                table.insert(key(10_000 + step * 20 + more), 0);
            }
        }
        assert!((0..1000).filter(|number| number % 2 == 1).all(|number| seen.contains(&number)));
    }

    #[test]
    fn a_table_is_a_map() {
        let mut table = Table::default();
        assert_eq!((table.insert("a".into(), 1), table.insert("a".into(), 2)), (None, Some(1)));
        table.insert("b".into(), 3);
        assert_eq!((table.len(), table.get(b"a"), table.get(b"c")), (2, Some(&2), None));
        let order: Vec<Bytes> = table.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(table.after(Some(&order[0])).map(|(key, _)| key).collect::<Vec<_>>(), [&order[1]]);
        assert_eq!(table.after(None).count(), 2);
        assert_eq!(table.remove(b"a").map(|(_, value)| value), Some(2));
        assert_eq!((table.remove(b"a"), table.len(), table.is_empty()), (None, 1, false));
        assert_eq!(table.pop_first(), Some(vec![("b".into(), 3)]));
        assert_eq!(table.pop_first(), None);
    }

    #[test]
    fn keys_of_one_place_are_found_together() {
        let mut table: Table<u8> = Table::default();
        let all = ["a", "b", "c"].map(|key| (Bytes::from(key), 0));
        table.slots.insert(place(b"b"), Slot::Many(all.to_vec()));
        table.len = 3;
        assert_eq!(table.get(b"b"), Some(&0));
        assert_eq!(table.scan(0, 1).1.len(), 3);
        let after = Bytes::from("b");
        assert_eq!(table.after(Some(&after)).map(|(key, _)| key.to_string()).collect::<Vec<_>>(), ["c"]);
        assert!(table.remove(b"b").is_some() && table.remove(b"b").is_none());
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn chance_is_fair() {
        let mut table: Table<()> = Table::default();
        for number in 0..10 {
            table.insert(format!("{number}").into(), ());
        }
        let mut chance = Chance::new(7);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            let (key, ()) = table.choose(&mut chance).expect("there are ten");
            *counts.entry(key.clone()).or_insert(0) += 1;
        }
        assert!(counts.len() == 10 && counts.values().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(Table::<()>::default().choose(&mut chance), None);
    }
}
