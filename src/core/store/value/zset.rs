//! A sorted set: members and their scores, in the order of scores and, among equal ones, of members.
//!
//! While it is small it is packed, in that order. Then there is a table of scores beside the order itself, which is
//! kept in blocks: the rank of a member is found by adding up the lengths of the blocks before it.

use super::packed::{self, PACKED_ELEMENT_BYTES_MAX, PACKED_ELEMENTS_MAX};
use crate::core::store::Bytes;
use crate::core::store::table::{Chance, Table};
use std::cmp::Ordering;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A block with more members is cut in two.
const BLOCK_MEMBERS_MAX: usize = 512;

/// A sorted set.
#[derive(Debug, Clone, PartialEq)]
pub struct Zset(ZsetForm);

#[derive(Debug, Clone, PartialEq)]
enum ZsetForm {
    /// Member, score (8 bytes), member, score …
    Packed(Bytes),
    Sorted(Box<Sorted>),
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Sorted {
    scores: Table<f64>,
    order: Blocks,
    sum: u64,
    bytes: usize,
}

fn digest_of(member: &[u8], score: f64) -> u64 {
    xxh3_64_with_seed(&score.to_bits().to_le_bytes(), xxh3_64(member))
}

/// Scores are never NaN. A negative zero and a positive one are equal.
fn compare(one: (f64, &[u8]), two: (f64, &[u8])) -> Ordering {
    one.0.partial_cmp(&two.0).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(two.1))
}

/// What is sorted, in blocks of bounded length.
#[derive(Debug, Clone, Default, PartialEq)]
struct Blocks(Vec<Vec<(f64, Bytes)>>);

impl Blocks {
    /// The block that holds what is not before this point, and the place in it.
    fn find(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> (usize, usize) {
        let last_before = |block: &Vec<(f64, Bytes)>| block.last().is_some_and(|(score, m)| is_before(*score, m));
        let at = self.0.partition_point(last_before);
        let inside = self.0.get(at).map_or(0, |block| block.partition_point(|(score, m)| is_before(*score, m)));
        (at, inside)
    }

    fn insert(&mut self, score: f64, member: Bytes) {
        let (mut at, mut inside) = self.find(|s, m| compare((s, m), (score, &member)).is_lt());
        if at == self.0.len() {
            // Behind everything: the last block grows.
            match self.0.len().checked_sub(1) {
                Some(last) => (at, inside) = (last, self.0[last].len()),
                None => self.0.push(Vec::new()),
            }
        }
        let block = &mut self.0[at];
        block.insert(inside, (score, member));
        if block.len() > BLOCK_MEMBERS_MAX {
            // Members that come in order leave full blocks behind.
            let keep = if inside + 1 == block.len() { BLOCK_MEMBERS_MAX } else { BLOCK_MEMBERS_MAX / 2 };
            let rest = block.split_off(keep);
            self.0.insert(at + 1, rest);
        }
    }

    fn remove(&mut self, score: f64, member: &[u8]) {
        let (at, inside) = self.find(|s, m| compare((s, m), (score, member)).is_lt());
        if let Some(block) = self.0.get_mut(at) {
            block.remove(inside);
            if block.is_empty() {
                self.0.remove(at);
            }
        }
    }

    fn rank(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let (at, inside) = self.find(is_before);
        self.0[..at].iter().map(Vec::len).sum::<usize>() + inside
    }

    /// From this rank on.
    fn upwards(&self, mut rank: usize) -> impl Iterator<Item = (&[u8], f64)> {
        let mut at = 0;
        while at < self.0.len() && rank >= self.0[at].len() {
            rank -= self.0[at].len();
            at += 1;
        }
        let members = self.0[at..].iter().flatten().skip(rank);
        members.map(|(score, member)| (&**member, *score))
    }

    /// From this rank on backwards.
    fn downwards(&self, rank: usize, len: usize) -> impl Iterator<Item = (&[u8], f64)> {
        let mut skipped = len.saturating_sub(rank + 1);
        let mut end = self.0.len();
        while end > 0 && skipped >= self.0[end - 1].len() {
            skipped -= self.0[end - 1].len();
            end -= 1;
        }
        let members = self.0[..end].iter().rev().flat_map(|block| block.iter().rev()).skip(skipped);
        members.map(|(score, member)| (&**member, *score))
    }
}

impl Sorted {
    fn set(&mut self, member: &Bytes, score: f64) -> Option<f64> {
        let old = self.scores.insert(member.clone(), score);
        match old {
            Some(old) => {
                self.order.remove(old, member);
                self.sum = self.sum.wrapping_sub(digest_of(member, old));
            }
            None => self.bytes += 2 * member.len(),
        }
        self.order.insert(score, member.clone());
        self.sum = self.sum.wrapping_add(digest_of(member, score));
        old
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (_, score) = self.scores.remove(member)?;
        self.order.remove(score, member);
        self.sum = self.sum.wrapping_sub(digest_of(member, score));
        self.bytes -= 2 * member.len();
        Some(score)
    }
}

impl Default for Zset {
    fn default() -> Self {
        Self(ZsetForm::Packed(Bytes::default()))
    }
}

impl Zset {
    /// An empty one, to be filled with what was no longer packed elsewhere.
    pub(in crate::core::store) fn unpacked() -> Self {
        Self(ZsetForm::Sorted(Box::default()))
    }

    /// What was packed elsewhere; `None` when it cannot have been.
    pub(in crate::core::store) fn from_packed(packed: Bytes) -> Option<Self> {
        let count = packed::count(&packed)?;
        let scores = packed::iter(&packed).skip(1).step_by(2).all(|score| score.len() == size_of::<f64>());
        (scores && count.is_multiple_of(2) && count <= PACKED_ELEMENTS_MAX).then_some(Self(ZsetForm::Packed(packed)))
    }

    /// The packed elements, while they are.
    pub(in crate::core::store) fn packed(&self) -> Option<&Bytes> {
        match &self.0 {
            ZsetForm::Packed(packed) => Some(packed),
            ZsetForm::Sorted(_) => None,
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            ZsetForm::Packed(packed) => packed::iter(packed).count() / 2,
            ZsetForm::Sorted(sorted) => sorted.scores.len(),
        }
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            ZsetForm::Packed(packed) => packed.is_empty(),
            ZsetForm::Sorted(sorted) => sorted.scores.is_empty(),
        }
    }

    /// Bytes of all members and scores.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match &self.0 {
            ZsetForm::Packed(packed) => packed.len(),
            ZsetForm::Sorted(sorted) => sorted.bytes + 2 * sorted.scores.len() * super::ELEMENT_COST_BYTES,
        }
    }

    /// What the digest of the store knows of it: O(1) when it is not packed.
    pub(in crate::core::store) fn digest(&self) -> u64 {
        match &self.0 {
            ZsetForm::Packed(packed) => xxh3_64(packed),
            ZsetForm::Sorted(sorted) => sorted.sum ^ (sorted.scores.len() as u64).rotate_left(40),
        }
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            ZsetForm::Packed(packed) => pairs(packed).find(|(own, _)| *own == member).map(|(_, score)| score),
            ZsetForm::Sorted(sorted) => sorted.scores.get(member).copied(),
        }
    }

    /// Gives a member a score; returns the one it had.
    pub fn set(&mut self, member: &Bytes, score: f64) -> Option<f64> {
        if let ZsetForm::Packed(packed) = &self.0 {
            let mut all: Vec<(&[u8], f64)> = pairs(packed).collect();
            let old = all.iter().position(|(own, _)| *own == &**member).map(|at| all.remove(at).1);
            let count = 2 * (all.len() + 1);
            if member.len() <= PACKED_ELEMENT_BYTES_MAX && count <= PACKED_ELEMENTS_MAX {
                let at = all.partition_point(|(m, s)| compare((*s, m), (score, member)).is_lt());
                all.insert(at, (member, score));
                self.0 = ZsetForm::Packed(pack(&all));
                return old;
            }
            let mut sorted = Box::<Sorted>::default();
            for (member, score) in pairs(packed) {
                sorted.set(&member.into(), score);
            }
            self.0 = ZsetForm::Sorted(sorted);
        }
        match &mut self.0 {
            ZsetForm::Sorted(sorted) => sorted.set(member, score),
            ZsetForm::Packed(_) => unreachable!("it has just been unpacked"),
        }
    }

    /// Removes a member; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            ZsetForm::Packed(packed) => {
                let mut all: Vec<(&[u8], f64)> = pairs(packed).collect();
                let at = all.iter().position(|(own, _)| *own == member)?;
                let (_, score) = all.remove(at);
                *packed = pack(&all);
                Some(score)
            }
            ZsetForm::Sorted(sorted) => sorted.remove(member),
        }
    }

    /// How many members come before a point: of those, `is_before` holds, and of no others.
    #[must_use]
    pub fn rank(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        match &self.0 {
            ZsetForm::Packed(packed) => pairs(packed).take_while(|(member, score)| is_before(*score, member)).count(),
            ZsetForm::Sorted(sorted) => sorted.order.rank(is_before),
        }
    }

    /// The place of a member, from the lowest score on.
    #[must_use]
    pub fn rank_of(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.rank(|s, m| compare((s, m), (score, member)).is_lt()))
    }

    /// Members from this rank on, upwards.
    pub fn upwards(&self, rank: usize) -> Box<dyn Iterator<Item = (&[u8], f64)> + '_> {
        match &self.0 {
            ZsetForm::Packed(packed) => Box::new(pairs(packed).skip(rank)),
            ZsetForm::Sorted(sorted) => Box::new(sorted.order.upwards(rank)),
        }
    }

    /// Members from this rank on, downwards.
    pub fn downwards(&self, rank: usize) -> Box<dyn Iterator<Item = (&[u8], f64)> + '_> {
        match &self.0 {
            ZsetForm::Packed(packed) => {
                let all: Vec<_> = pairs(packed).take(rank.saturating_add(1)).collect();
                Box::new(all.into_iter().rev())
            }
            ZsetForm::Sorted(sorted) => Box::new(sorted.order.downwards(rank, sorted.scores.len())),
        }
    }

    /// All members and scores, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.upwards(0)
    }

    /// The members after this one in the order of the table; those of a packed one have none to go on from.
    pub(in crate::core::store) fn after<'a>(
        &'a self,
        member: Option<&'a Bytes>,
    ) -> impl Iterator<Item = (&'a Bytes, f64)> {
        let table = match &self.0 {
            ZsetForm::Packed(_) => None,
            ZsetForm::Sorted(sorted) => Some(&sorted.scores),
        };
        table.into_iter().flat_map(move |table| table.after(member)).map(|(member, score)| (member, *score))
    }

    /// Some of them from a cursor on, and the next cursor.
    #[must_use]
    pub fn scan(&self, from: u64, count: usize) -> (u64, Vec<(&[u8], f64)>) {
        match &self.0 {
            ZsetForm::Packed(packed) => (0, pairs(packed).collect()),
            ZsetForm::Sorted(sorted) => {
                let (next, found) = sorted.scores.scan(from, count);
                (next, found.into_iter().map(|(member, score)| (&**member, *score)).collect())
            }
        }
    }

    /// One of them by chance.
    #[must_use]
    pub fn choose(&self, chance: &mut Chance) -> Option<(&[u8], f64)> {
        let at = usize::try_from(chance.below(self.len() as u64)).ok()?;
        self.upwards(at).next()
    }

    /// Forgets up to `count` members; true when none is left.
    pub(in crate::core::store) fn forget(&mut self, count: u64) -> bool {
        match &mut self.0 {
            ZsetForm::Packed(_) => true,
            ZsetForm::Sorted(sorted) => {
                let blocks = count.div_ceil(BLOCK_MEMBERS_MAX as u64);
                (0..blocks).all(|_| sorted.order.0.pop().is_some());
                (0..count).all(|_| sorted.scores.pop_first().is_some());
                sorted.scores.is_empty() && sorted.order.0.is_empty()
            }
        }
    }
}

fn pairs(packed: &[u8]) -> impl Iterator<Item = (&[u8], f64)> {
    let mut elements = packed::iter(packed);
    std::iter::from_fn(move || {
        let (member, score) = (elements.next()?, elements.next()?);
        Some((member, f64::from_bits(u64::from_le_bytes(score.try_into().ok()?))))
    })
}

fn pack(all: &[(&[u8], f64)]) -> Bytes {
    let mut packed = Vec::with_capacity(all.iter().map(|(member, _)| member.len() + 10).sum());
    for (member, score) in all {
        packed::push(&mut packed, member);
        packed::push(&mut packed, &score.to_bits().to_le_bytes());
    }
    packed.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_does_what_sorting_does(
            steps in prop::collection::vec((any::<bool>(), 0..1500_u16, -20..20_i8), 0..2500),
        ) {
            let (mut zset, mut model) = (Zset::default(), BTreeMap::<Bytes, f64>::new());
            for (add, member, score) in steps {
                let member = Bytes::from(format!("m{member}"));
                if add || score > 10 {
                    prop_assert_eq!(zset.set(&member, score.into()), model.insert(member, score.into()));
                } else {
                    prop_assert_eq!(zset.remove(&member), model.remove(&member));
                }
            }
            let mut sorted: Vec<(&[u8], f64)> = model.iter().map(|(member, score)| (&**member, *score)).collect();
            sorted.sort_by(|one, two| compare((one.1, one.0), (two.1, two.0)));
            prop_assert_eq!(zset.len(), sorted.len());
            prop_assert!(zset.iter().eq(sorted.iter().copied()));
            for rank in [0, 1, sorted.len() / 2, sorted.len().saturating_sub(1)] {
                prop_assert!(zset.upwards(rank).eq(sorted.iter().skip(rank).copied()));
                prop_assert!(zset.downwards(rank).eq(sorted.iter().take(rank + 1).rev().copied()));
                if let Some((member, _)) = sorted.get(rank) {
                    prop_assert_eq!(zset.rank_of(member), Some(rank));
                }
            }
            let below = sorted.iter().filter(|(_, score)| *score < 3.0).count();
            prop_assert_eq!(zset.rank(|score, _| score < 3.0), below);
        }
    }
}
