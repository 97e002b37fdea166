//! Keys in the order of a fixed hash.
//!
//! A cursor of the `SCAN` family is a place in that order. It is the same on every server, today and after a
//! failover, and a table that grows or shrinks does not move what is in it: so a scan that is long under way finds
//! everything that was there from its beginning to its end, wherever it goes on. Keys of the same place are always
//! found together.
//!
//! Places have 52 bits, so that a client that takes a cursor for a floating-point number loses nothing of it.

use super::Bytes;
use std::cmp::Ordering;
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
/// A leaf with more entries is cut in two, unless all of them share a place.
const LEAF_MAX: usize = 64;
/// A leaf with fewer takes in the one behind it, if both together are no more than half full.
const LEAF_MIN: usize = LEAF_MAX / 4;
/// This many entries beside the guess are looked at.
const STEPS_MAX: usize = LEAF_MAX / 4;
/// So much room is added to a leaf at a time: what is not used of it is lost.
const LEAF_STEP: usize = 8;

/// The place of a key; never 0, which is where every scan begins.
pub(super) fn place(key: &[u8]) -> u64 {
    (xxh3_64_with_seed(key, SEED) >> DROPPED_BITS).max(1)
}

/// A map from byte strings, ordered by `place` and then by the bytes.
///
/// Entries lie side by side in leaves of some dozens, which are nearly full: a tree whose nodes hold a few entries each
/// takes half as much again, because it has room for those that may come in all of its nodes.
#[derive(Debug, Clone)]
pub struct Table<V> {
    /// By the place from which on entries belong there, up to the next leaf. None is empty.
    leaves: BTreeMap<u64, Vec<Entry<V>>>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry<V> {
    place: u64,
    key: Bytes,
    value: V,
}

impl<V> Entry<V> {
    fn is_before(&self, place: u64, key: &[u8]) -> bool {
        (self.place, &*self.key) < (place, key)
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { leaves: BTreeMap::new(), len: 0 }
    }
}

impl<V: PartialEq> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

/// Where an entry is in its leaf, or where it would have to be.
///
/// Places are those of a hash, and so lie evenly: a guess in proportion (interpolation search; Peterson, 1957) is a few
/// entries off, which are beside each other in memory, where halving jumps to and fro six times. Keys that were made
/// to share a place spoil the guess; then it is halved.
fn search<V>(leaf: &[Entry<V>], place: u64, key: &[u8]) -> Result<usize, usize> {
    let halved = || leaf.binary_search_by(|entry| entry.place.cmp(&place).then_with(|| (*entry.key).cmp(key)));
    let (Some(first), Some(last)) = (leaf.first(), leaf.last()) else { return Err(0) };
    if place <= first.place || place >= last.place || leaf.len() > 2 * LEAF_MAX {
        return halved();
    }
    // Some 52 bits by some 6, and by no 0: the two ends differ.
    let mut at =
        ((place - first.place) * leaf.len() as u64 / (last.place - first.place)).min(leaf.len() as u64 - 1) as usize;
    for _ in 0..STEPS_MAX {
        match leaf[at].place.cmp(&place) {
            Ordering::Less if leaf[at + 1].place > place => return Err(at + 1),
            Ordering::Less => at += 1,
            Ordering::Greater if leaf[at - 1].place < place => return Err(at),
            Ordering::Greater => at -= 1,
            Ordering::Equal if *leaf[at].key == *key => return Ok(at),
            Ordering::Equal => break,
        }
    }
    halved()
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
        let place = place(key);
        let (_, leaf) = self.leaves.range(..=place).next_back()?;
        search(leaf, place, key).ok().map(|at| &leaf[at].value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let place = place(key);
        let (_, leaf) = self.leaves.range_mut(..=place).next_back()?;
        search(leaf, place, key).ok().map(|at| &mut leaf[at].value)
    }

    /// Stores a value; returns the one that was there.
    pub fn insert(&mut self, key: Bytes, value: V) -> Option<V> {
        self.insert_at(place(&key), key, value)
    }

    fn insert_at(&mut self, place: u64, key: Bytes, value: V) -> Option<V> {
        let Some((_, leaf)) = self.leaves.range_mut(..=place).next_back() else {
            self.leaves.insert(0, vec![Entry { place, key, value }]);
            self.len += 1;
            return None;
        };
        let at = match search(leaf, place, &key) {
            Ok(at) => return Some(std::mem::replace(&mut leaf[at].value, value)),
            Err(at) => at,
        };
        if leaf.len() == leaf.capacity() {
            leaf.reserve_exact(leaf.len().min(LEAF_STEP.max(leaf.len() / LEAF_STEP)));
        }
        leaf.insert(at, Entry { place, key, value });
        self.len += 1;
        if leaf.len() > LEAF_MAX
            && let Some(cut) = middle(leaf)
        {
            let behind = leaf.split_off(cut);
            leaf.shrink_to_fit();
            self.leaves.insert(behind[0].place, behind);
        }
        None
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8]) -> Option<(Bytes, V)> {
        self.remove_at(place(key), key)
    }

    fn remove_at(&mut self, place: u64, key: &[u8]) -> Option<(Bytes, V)> {
        let (from, leaf) = self.leaves.range_mut(..=place).next_back()?;
        let (from, at) = (*from, search(leaf, place, key).ok()?);
        let Entry { key, value, .. } = leaf.remove(at);
        self.len -= 1;
        if leaf.len() < LEAF_MIN {
            self.fill(from);
        } else if leaf.len() + 2 * LEAF_STEP <= leaf.capacity() {
            leaf.shrink_to(leaf.len() + LEAF_STEP);
        }
        Some((key, value))
    }

    /// A leaf that has become small goes, if it is empty, or takes in the one behind it.
    fn fill(&mut self, from: u64) {
        let mut leaves = self.leaves.range_mut(from..).map(|(from, leaf)| (*from, leaf));
        let Some((_, leaf)) = leaves.next() else { return };
        if leaf.is_empty() {
            self.leaves.remove(&from);
        } else if let Some((next, behind)) = leaves.next()
            && leaf.len() + behind.len() <= LEAF_MAX / 2
        {
            leaf.reserve_exact(behind.len());
            leaf.append(behind);
            self.leaves.remove(&next);
        } else {
            leaf.shrink_to(leaf.len() + LEAF_STEP);
        }
    }

    /// Removes the keys of the first place.
    pub fn pop_first(&mut self) -> Option<Vec<(Bytes, V)>> {
        let mut first = self.leaves.first_entry()?;
        let leaf = first.get_mut();
        let count = leaf.iter().take_while(|entry| entry.place == leaf[0].place).count();
        let all: Vec<_> = leaf.drain(..count).map(|entry| (entry.key, entry.value)).collect();
        if leaf.is_empty() {
            first.remove();
        }
        self.len -= all.len();
        Some(all)
    }

    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &V)> {
        self.leaves.values().flatten().map(|entry| (&entry.key, &entry.value))
    }

    /// The entries from this one on, whether or not it is there.
    fn entries<'a>(&'a self, place: u64, key: &[u8]) -> impl Iterator<Item = &'a Entry<V>> + use<'a, V> {
        let here = self.leaves.range(..=place).next_back().map_or(&[][..], |(_, leaf)| leaf);
        let rest = self.leaves.range((Bound::Excluded(place), Bound::Unbounded));
        here[here.partition_point(|entry| entry.is_before(place, key))..].iter().chain(rest.flat_map(|(_, leaf)| leaf))
    }

    /// Everything from this place on.
    pub fn starting_at(&self, from: u64) -> impl Iterator<Item = (u64, &Bytes, &V)> {
        self.entries(from, &[]).map(|entry| (entry.place, &entry.key, &entry.value))
    }

    /// Everything after this key, whether or not it is there; from the beginning without one.
    pub fn after<'a>(&'a self, key: Option<&Bytes>) -> impl Iterator<Item = (&'a Bytes, &'a V)> + use<'a, V> {
        let from = key.map_or(0, |key| place(key));
        let mut entries = self.entries(from, key.map_or(&[][..], |key| key)).peekable();
        entries.next_if(|entry| key == Some(&entry.key));
        entries.map(|entry| (&entry.key, &entry.value))
    }

    /// The first after this key.
    #[must_use]
    pub fn after_place(&self, key: Option<&Bytes>) -> Option<(&Bytes, &V)> {
        self.after(key).next()
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

/// Where a leaf is best cut in two: near the middle, and not among keys of one place. `None` when all share one.
fn middle<V>(leaf: &[Entry<V>]) -> Option<usize> {
    let half = leaf.len() / 2;
    let is_cut = |at: &usize| leaf[*at - 1].place != leaf[*at].place;
    (half..leaf.len()).find(is_cut).or_else(|| (1..half).rev().find(is_cut))
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
    use proptest::prelude::*;

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
        for key in ["c", "a", "b"] {
            table.insert_at(place(b"b"), key.into(), 0);
        }
        assert_eq!(table.get(b"b"), Some(&0));
        assert_eq!(table.scan(0, 1).1.len(), 3);
        let after = Bytes::from("b");
        assert_eq!(table.after(Some(&after)).map(|(key, _)| key.to_string()).collect::<Vec<_>>(), ["c"]);
        assert!(table.remove(b"b").is_some() && table.remove(b"b").is_none());
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn many_keys_of_one_place_stay_together_and_can_be_cut_off_from_others() {
        let mut table: Table<usize> = Table::default();
        for number in 0..3 * LEAF_MAX {
            table.insert_at(7, format!("{number:03}").into(), number);
        }
        for place in (1..7).chain(8..4 * LEAF_MAX as u64) {
            table.insert_at(place, "x".into(), 0);
        }
        assert_eq!(table.scan(7, 1).1.len(), 3 * LEAF_MAX);
        assert!(table.iter().skip(6).map(|(_, number)| *number).take(3 * LEAF_MAX).eq(0..3 * LEAF_MAX));
        let mut popped = std::iter::from_fn(|| table.pop_first()).map(|all| all.len());
        assert!(popped.by_ref().take(6).eq([1; 6]) && popped.next() == Some(3 * LEAF_MAX) && popped.all(|n| n == 1));
        assert!(table.is_empty() && table.leaves.is_empty());
    }

    proptest! {
        #[test]
        fn it_does_what_a_sorted_map_does(steps in prop::collection::vec((0..5_u8, 0..900_u16), 0..4000)) {
            let mut table: Table<u16> = Table::default();
            let mut model = BTreeMap::new();
            // Few places, so that some are shared.
            let at = |number: u16| (u64::from(number % 300) + 1, Bytes::from(format!("{number}")));
            for (step, number) in steps {
                let (place, key) = at(number);
                if step < 3 {
                    prop_assert_eq!(table.insert_at(place, key.clone(), number), model.insert((place, key), number));
                    continue;
                }
                let removed = table.remove_at(place, &key).map(|(_, value)| value);
                prop_assert_eq!(removed, model.remove(&(place, key)));
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert!(table.iter().eq(model.iter().map(|((_, key), value)| (key, value))));
            for from in [0, 1, 77, 150, 300, 301] {
                let expected = model.range((from, Bytes::default())..);
                prop_assert!(table.starting_at(from).eq(expected.map(|((place, key), value)| (*place, key, value))));
            }
            let is_whole = |leaf: &Vec<Entry<u16>>| !leaf.is_empty() && leaf.capacity() <= leaf.len() + 2 * LEAF_STEP;
            prop_assert!(table.leaves.values().all(is_whole));
        }

        #[test]
        fn what_comes_after_a_key(keys in prop::collection::btree_set("[a-c]{1,6}", 0..200), key in "[a-c]{1,6}") {
            let mut table: Table<()> = Table::default();
            keys.iter().for_each(|key| assert_eq!(table.insert(key.as_str().into(), ()), None));
            let key = Bytes::from(key);
            let is_after = |own: &Bytes| (place(own), own) > (place(&key), &key);
            let expected: Vec<&Bytes> = table.iter().map(|(own, ())| own).filter(|own| is_after(own)).collect();
            prop_assert!(table.after(Some(&key)).map(|(own, ())| own).eq(expected.iter().copied()));
            prop_assert_eq!(table.after_place(Some(&key)).map(|(own, ())| own), expected.first().copied());
        }
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
