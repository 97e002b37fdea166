//! A list: packed while it is small, then a deque.
//!
//! # The digest
//!
//! That of a list has to depend on the order and must not cost the whole list with every push. It is the polynomial
//! `h₀ + h₁·B + h₂·B² + …` of the elements' hashes, modulo 2⁶⁴: to push, to pop or to change an element takes a few
//! multiplications, whatever the length (`B` is odd, so that one can divide by it).
//!
//! # Numbers
//!
//! Elements of a deque have numbers that stay the same while things are pushed and popped at the ends: a transfer of
//! a long list in parts goes by them. What moves elements in the middle has the whole list transferred again.

use super::packed::{self, PACKED_ELEMENT_BYTES_MAX, PACKED_ELEMENTS_MAX};
use crate::core::store::Bytes;
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_64;

const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// `BASE · INVERSE = 1`.
const INVERSE: u64 = inverse(BASE);
/// A packed list has no more elements: they move with every push at the head.
const LIST_PACKED_MAX: usize = PACKED_ELEMENTS_MAX / 2;

/// Newton's iteration doubles the number of correct bits, of which an odd number has three to begin with.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

fn power(mut exponent: usize) -> u64 {
    let (mut result, mut square) = (1_u64, BASE);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        exponent >>= 1;
    }
    result
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub struct List(ListForm);

#[derive(Debug, Clone, PartialEq)]
enum ListForm {
    Packed(Bytes),
    Deque(Box<Deque>),
}

#[derive(Debug, Clone, Default)]
struct Deque {
    items: VecDeque<Bytes>,
    /// The number of the first element.
    first: i64,
    sum: u64,
    bytes: usize,
}

impl PartialEq for Deque {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl Deque {
    fn push_back(&mut self, item: Bytes) {
        self.sum = self.sum.wrapping_add(xxh3_64(&item).wrapping_mul(power(self.items.len())));
        self.bytes += item.len();
        self.items.push_back(item);
    }

    fn push_front(&mut self, item: Bytes) {
        self.sum = self.sum.wrapping_mul(BASE).wrapping_add(xxh3_64(&item));
        self.bytes += item.len();
        self.first -= 1;
        self.items.push_front(item);
    }

    fn pop_back(&mut self) -> Option<Bytes> {
        let item = self.items.pop_back()?;
        self.sum = self.sum.wrapping_sub(xxh3_64(&item).wrapping_mul(power(self.items.len())));
        self.bytes -= item.len();
        Some(item)
    }

    fn pop_front(&mut self) -> Option<Bytes> {
        let item = self.items.pop_front()?;
        self.sum = self.sum.wrapping_sub(xxh3_64(&item)).wrapping_mul(INVERSE);
        self.bytes -= item.len();
        self.first += 1;
        Some(item)
    }

    /// After something was moved.
    fn add_up(&mut self) {
        self.sum = self.items.iter().rev().fold(0, |sum: u64, item| sum.wrapping_mul(BASE).wrapping_add(xxh3_64(item)));
        self.bytes = self.items.iter().map(|item| item.len()).sum();
    }
}

impl Default for List {
    fn default() -> Self {
        Self(ListForm::Packed(Bytes::default()))
    }
}

impl List {
    /// An empty deque whose first element will have this number.
    pub(in crate::core::store) fn unpacked(first: i64) -> Self {
        Self(ListForm::Deque(Box::new(Deque { first, ..Deque::default() })))
    }

    /// What was packed elsewhere; `None` when it cannot have been.
    pub(in crate::core::store) fn from_packed(packed: Bytes) -> Option<Self> {
        packed::count(&packed).filter(|count| *count <= LIST_PACKED_MAX).map(|_| Self(ListForm::Packed(packed)))
    }

    /// The packed elements, while they are.
    pub(in crate::core::store) fn packed(&self) -> Option<&Bytes> {
        match &self.0 {
            ListForm::Packed(packed) => Some(packed),
            ListForm::Deque(_) => None,
        }
    }

    /// The number of a deque's first element.
    pub(in crate::core::store) fn first(&self) -> i64 {
        match &self.0 {
            ListForm::Packed(_) => 0,
            ListForm::Deque(deque) => deque.first,
        }
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            ListForm::Packed(packed) => packed::iter(packed).count(),
            ListForm::Deque(deque) => deque.items.len(),
        }
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            ListForm::Packed(packed) => packed.is_empty(),
            ListForm::Deque(deque) => deque.items.is_empty(),
        }
    }

    /// Bytes of all elements.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match &self.0 {
            ListForm::Packed(packed) => packed.len(),
            ListForm::Deque(deque) => deque.bytes + deque.items.len() * super::ELEMENT_COST_BYTES,
        }
    }

    /// What the digest of the store knows of it: O(1) for a deque.
    pub(in crate::core::store) fn digest(&self) -> u64 {
        match &self.0 {
            ListForm::Packed(packed) => xxh3_64(packed),
            ListForm::Deque(deque) => deque.sum ^ (deque.items.len() as u64).rotate_left(40),
        }
    }

    /// The element at this place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        match &self.0 {
            ListForm::Packed(packed) => packed::iter(packed).nth(at),
            ListForm::Deque(deque) => deque.items.get(at).map(|item| &**item),
        }
    }

    /// Elements from `from` on, `count` of them.
    pub fn range(&self, from: usize, count: usize) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match &self.0 {
            ListForm::Packed(packed) => Box::new(packed::iter(packed).skip(from).take(count)),
            ListForm::Deque(deque) => {
                let end = from.saturating_add(count).min(deque.items.len());
                Box::new(deque.items.range(from.min(end)..end).map(|item| &**item))
            }
        }
    }

    /// Adds an element at the head or at the tail.
    pub fn push(&mut self, item: Bytes, at_head: bool) {
        let fits = item.len() <= PACKED_ELEMENT_BYTES_MAX;
        if let ListForm::Packed(packed) = &self.0
            && fits
            && packed::iter(packed).count() < LIST_PACKED_MAX
        {
            let mut new = Vec::with_capacity(packed.len() + item.len() + 1);
            if at_head {
                packed::push(&mut new, &item);
                new.extend_from_slice(packed);
            } else {
                new.extend_from_slice(packed);
                packed::push(&mut new, &item);
            }
            self.0 = ListForm::Packed(new.into());
            return;
        }
        let deque = self.deque();
        if at_head { deque.push_front(item) } else { deque.push_back(item) }
    }

    /// Unpacks it, if need be.
    fn deque(&mut self) -> &mut Deque {
        if let ListForm::Packed(packed) = &self.0 {
            let mut deque = Box::<Deque>::default();
            packed::iter(packed).for_each(|item| deque.push_back(item.into()));
            self.0 = ListForm::Deque(deque);
        }
        match &mut self.0 {
            ListForm::Deque(deque) => deque,
            ListForm::Packed(_) => unreachable!("it has just been unpacked"),
        }
    }

    /// Takes an element away from the head or from the tail.
    pub fn pop(&mut self, at_head: bool) -> Option<Bytes> {
        match &mut self.0 {
            ListForm::Packed(packed) => {
                let mut items: Vec<&[u8]> = packed::iter(packed).collect();
                let item = if items.is_empty() {
                    return None;
                } else {
                    items.remove(if at_head { 0 } else { items.len() - 1 })
                };
                let item = Bytes::from(item);
                *packed = packed::pack(&items);
                Some(item)
            }
            ListForm::Deque(deque) if at_head => deque.pop_front(),
            ListForm::Deque(deque) => deque.pop_back(),
        }
    }

    /// Keeps `count` elements from `from` on. The rest goes element by element.
    pub fn trim(&mut self, from: usize, count: usize) {
        let after = self.len().saturating_sub(from.saturating_add(count));
        if let ListForm::Packed(packed) = &mut self.0 {
            let items: Vec<&[u8]> = packed::iter(packed).skip(from).take(count).collect();
            *packed = packed::pack(&items);
            return;
        }
        (0..from).all(|_| self.pop(true).is_some());
        (0..after).all(|_| self.pop(false).is_some());
    }

    /// Keeps the elements with these numbers: `count` from `first` on.
    pub(in crate::core::store) fn keep(&mut self, first: i64, count: u64) {
        let end = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        let deque = self.deque();
        while deque.first < first && deque.pop_front().is_some() {}
        while deque.first + i64::try_from(deque.items.len()).unwrap_or(0) > end && deque.pop_back().is_some() {}
        if deque.items.is_empty() {
            deque.first = first;
        }
    }

    /// Puts another element in the place of one.
    pub fn set(&mut self, at: usize, item: Bytes) {
        if let ListForm::Packed(packed) = &mut self.0
            && item.len() <= PACKED_ELEMENT_BYTES_MAX
        {
            let mut items: Vec<&[u8]> = packed::iter(packed).collect();
            items[at] = &item;
            *packed = packed::pack(&items);
            return;
        }
        let deque = self.deque();
        let change = xxh3_64(&item).wrapping_sub(xxh3_64(&deque.items[at]));
        deque.sum = deque.sum.wrapping_add(change.wrapping_mul(power(at)));
        deque.bytes = deque.bytes + item.len() - deque.items[at].len();
        deque.items[at] = item;
    }

    /// Puts an element before the one at this place. Moves elements.
    pub fn insert(&mut self, at: usize, item: Bytes) {
        if let ListForm::Packed(packed) = &mut self.0 {
            let mut items: Vec<&[u8]> = packed::iter(packed).collect();
            if item.len() <= PACKED_ELEMENT_BYTES_MAX && items.len() < LIST_PACKED_MAX {
                items.insert(at, &item);
                *packed = packed::pack(&items);
                return;
            }
        }
        let deque = self.deque();
        deque.items.insert(at, item);
        deque.add_up();
    }

    /// Removes up to `count` elements that equal this one, from the head on or from the tail on; returns how many.
    /// Moves elements.
    pub fn remove(&mut self, item: &[u8], count: usize, from_tail: bool) -> usize {
        let mut removed = 0;
        let mut goes = |own: &[u8]| {
            let goes = removed < count && own == item;
            removed += usize::from(goes);
            goes
        };
        match &mut self.0 {
            ListForm::Packed(packed) => {
                let mut items: Vec<&[u8]> = packed::iter(packed).collect();
                if from_tail {
                    items.reverse();
                }
                items.retain(|own| !goes(own));
                if from_tail {
                    items.reverse();
                }
                *packed = packed::pack(&items);
            }
            ListForm::Deque(deque) => {
                if from_tail {
                    let mut kept = VecDeque::new();
                    while let Some(own) = deque.items.pop_back() {
                        if !goes(&own) {
                            kept.push_front(own);
                        }
                    }
                    deque.items = kept;
                } else {
                    deque.items.retain(|own| !goes(own));
                }
                if removed > 0 {
                    deque.add_up();
                }
            }
        }
        removed
    }

    /// Forgets up to `count` elements; true when none is left.
    pub(in crate::core::store) fn forget(&mut self, count: u64) -> bool {
        match &mut self.0 {
            ListForm::Packed(_) => true,
            ListForm::Deque(deque) => {
                (0..count).all(|_| deque.items.pop_back().is_some());
                deque.items.is_empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However a list came about, its digest says what is in it; and it does what a plain vector does.
        #[test]
        fn a_list_does_what_a_vector_does(
            steps in prop::collection::vec((0..8_u8, 0..300_usize, 0..4_u8), 0..600),
        ) {
            let (mut list, mut model) = (List::default(), Vec::<Bytes>::new());
            for (what, at, value) in steps {
                let item = Bytes::from(format!("v{value}"));
                match what {
                    0..=2 => {
                        list.push(item.clone(), false);
                        model.push(item);
                    }
                    3 => {
                        list.push(item.clone(), true);
                        model.insert(0, item);
                    }
                    4 => prop_assert_eq!(list.pop(true), (!model.is_empty()).then(|| model.remove(0))),
                    5 => prop_assert_eq!(list.pop(false), model.pop()),
                    6 if at < model.len() => {
                        list.set(at, item.clone());
                        model[at] = item;
                    }
                    7 if at < model.len() && value > 1 => {
                        list.insert(at, item.clone());
                        model.insert(at, item);
                    }
                    7 if value == 0 => {
                        let before = model.len();
                        let mut left = 2;
                        model.retain(|own| { let goes = left > 0 && *own == item; left -= usize::from(goes); !goes });
                        prop_assert_eq!(list.remove(&item, 2, false), before - model.len());
                    }
                    _ => {}
                }
                prop_assert_eq!(list.len(), model.len());
            }
            prop_assert!(list.range(0, usize::MAX).eq(model.iter().map(|item| &**item)));
            if list.packed().is_none() {
                let mut copy = List::unpacked(7);
                model.iter().for_each(|item| copy.push(item.clone(), false));
                prop_assert_eq!(list.digest(), copy.digest());
            }
        }
    }

    #[test]
    fn elements_go_from_either_end() {
        for long in [3, 400] {
            let mut list = List::default();
            (0..long).for_each(|number| list.push(format!("{}", number % 3).into(), false));
            let before = list.len();
            assert_eq!(list.remove(b"2", 1, true), 1);
            assert_eq!((list.len(), list.get(2)), (before - 1, if long == 3 { None } else { Some(&b"2"[..]) }));
            list.trim(1, 1);
            assert_eq!(list.range(0, 9).collect::<Vec<_>>(), [b"1"]);
        }
    }
}
