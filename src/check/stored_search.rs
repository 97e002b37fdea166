//! Looks for orders of operations that a store explains, by carrying them out on copies of one.
//!
//! A read that fits as things are is placed at once: it changes nothing, so no order is lost. Otherwise every operation
//! that may come next is tried. A key that expires one day may do so just before anything that touches it. What need
//! not come at all is placed only where it makes a difference: before something else that answers or leaves another
//! thing behind when the two change places.
//!
//! # Caveats
//!
//! Work is counted in steps, to which a copy of a large value adds. States that led nowhere are remembered by digests
//! of 64 bits.

use super::search::SearchEnd;
use super::settled::{StoredItem, touched, value};
use super::stored::{self, StoredKey};
use crate::core::protocol::Time;
use crate::core::store::{Bytes, ClientId, Command, LogEntry, Reply, Seq, Stamp, Store, commands};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// This many bytes that are copied cost one step.
const BYTES_PER_STEP: u64 = 4096;
/// The most keys of one operation of which each may have expired before it.
const EXPIRING_MAX: usize = 6;

/// A search over operations on keys that belong together.
pub(super) struct StoredSearch<'i, 'o> {
    items: &'i [StoredItem<'o>],
    done: Vec<bool>,
    /// Those that must be placed and are not.
    open: usize,
    placed: usize,
    /// How many were placed at best.
    best: usize,
    /// States that were tried: what was done, what the store was like, and what was put last that need not come.
    tried: BTreeSet<(Vec<bool>, u64, Option<usize>)>,
    steps_left: u64,
    found: bool,
}

/// How an item may come next.
#[derive(Clone)]
struct Way {
    item: usize,
    /// What it is, if not what the item says.
    command: Option<Command>,
    /// What has expired just before.
    expired: Vec<StoredKey>,
}

/// What was placed last, if it need not come at all.
struct PlacedEarly {
    way: Way,
    /// What the store was like before.
    before: Store,
}

/// Whoever looks at the ends that are found says whether no other is wanted.
type Enough<'e> = dyn FnMut(Store, &[bool]) -> bool + 'e;

impl<'i, 'o> StoredSearch<'i, 'o> {
    /// A search over items in the order of their calls.
    pub(super) fn new(items: &'i [StoredItem<'o>]) -> Self {
        let open = items.iter().filter(|item| item.end() != Time::NEVER).count();
        let done = vec![false; items.len()];
        Self { items, done, open, placed: 0, best: 0, tried: BTreeSet::new(), steps_left: 0, found: false }
    }

    /// Searches from this state on. Every end found is shown to `enough`: what the store is like then, and which items
    /// have been placed.
    pub(super) fn run(&mut self, store: Store, steps_max: u64, enough: &mut Enough<'_>) -> SearchEnd {
        self.steps_left = steps_max;
        match self.explore(store, None, enough) {
            ControlFlow::Break(end) => end,
            ControlFlow::Continue(()) if self.found => SearchEnd::Order,
            ControlFlow::Continue(()) => SearchEnd::Stuck,
        }
    }

    /// How many items could be placed at best.
    pub(super) fn best(&self) -> usize {
        self.best
    }

    fn explore(
        &mut self,
        mut store: Store,
        mut early: Option<PlacedEarly>,
        enough: &mut Enough<'_>,
    ) -> ControlFlow<SearchEnd> {
        let mut forced: Vec<usize> = Vec::new();
        let flow = loop {
            if self.open == 0 {
                self.found = true;
                let is_enough = enough(store, &self.done);
                break if is_enough { ControlFlow::Break(SearchEnd::Order) } else { ControlFlow::Continue(()) };
            }
            if !self.spend(1) {
                break ControlFlow::Break(SearchEnd::GaveUp);
            }
            let next = self.next();
            if let Some(at) = next.iter().copied().find(|at| self.fits_and_changes_nothing(&store, *at)) {
                self.place(at);
                forced.push(at);
                early = None;
                continue;
            }
            let Some(mut ways) = self.ways(&store, &next) else { break ControlFlow::Break(SearchEnd::GaveUp) };
            match ways.pop() {
                None => break ControlFlow::Continue(()),
                Some(way) if ways.is_empty() && self.items[way.item].end() != Time::NEVER => {
                    if self.can_swap(early.as_ref(), &way, &store) || !self.apply(&mut store, &way) {
                        break ControlFlow::Continue(());
                    }
                    self.place(way.item);
                    forced.push(way.item);
                    early = None;
                }
                Some(way) => {
                    ways.push(way);
                    break self.branch(store, early, &ways, enough);
                }
            }
        };
        forced.into_iter().rev().for_each(|at| self.take_back(at));
        flow
    }

    fn branch(
        &mut self,
        store: Store,
        early: Option<PlacedEarly>,
        ways: &[Way],
        enough: &mut Enough<'_>,
    ) -> ControlFlow<SearchEnd> {
        let content = store.content_digest();
        if !self.tried.insert((self.done.clone(), content, early.as_ref().map(|early| early.way.item))) {
            return ControlFlow::Continue(());
        }
        for way in ways {
            if !self.spend(1 + store.size_bytes() / BYTES_PER_STEP) {
                return ControlFlow::Break(SearchEnd::GaveUp);
            }
            if self.can_swap(early.as_ref(), way, &store) {
                continue;
            }
            let mut after = store.clone();
            let item = &self.items[way.item];
            // What need not have happened, and did nothing, did not happen.
            if !self.apply(&mut after, way) || (item.expected.is_none() && after.content_digest() == content) {
                continue;
            }
            let may_come_later = item.end() == Time::NEVER && way.expired.is_empty();
            let next = may_come_later.then(|| PlacedEarly { way: way.clone(), before: store.clone() });
            self.place(way.item);
            let flow = self.explore(after, next, enough);
            self.take_back(way.item);
            flow?;
        }
        ControlFlow::Continue(())
    }

    /// Whether what was placed last could as well come after this: then that order is tried elsewhere, and this is not.
    fn can_swap(&self, early: Option<&PlacedEarly>, way: &Way, store: &Store) -> bool {
        let Some(PlacedEarly { way: last, before }) = early else { return false };
        let is_elsewhere = self.items[way.item].end() != Time::NEVER || way.item < last.item;
        if !is_elsewhere || !way.expired.is_empty() {
            return false;
        }
        let (mut swapped, mut own) = (before.clone(), store.clone());
        self.apply(&mut swapped, way)
            && self.apply(&mut swapped, last)
            && self.apply(&mut own, way)
            && swapped.content_digest() == own.content_digest()
    }

    fn spend(&mut self, steps: u64) -> bool {
        self.steps_left = self.steps_left.saturating_sub(steps);
        self.steps_left > 0
    }

    fn place(&mut self, at: usize) {
        self.done[at] = true;
        self.placed += 1;
        self.best = self.best.max(self.placed);
        self.open -= usize::from(self.items[at].end() != Time::NEVER);
    }

    fn take_back(&mut self, at: usize) {
        self.done[at] = false;
        self.placed -= 1;
        self.open += usize::from(self.items[at].end() != Time::NEVER);
    }

    /// Whatever may come next, in the order in which it returned.
    fn next(&self) -> Vec<usize> {
        let left = || (0..self.items.len()).filter(|at| !self.done[*at]);
        let first_end = left().map(|at| self.items[at].end()).min().unwrap_or(Time::NEVER);
        let mut next: Vec<usize> = left().take_while(|at| self.items[*at].operation.call <= first_end).collect();
        next.sort_by_key(|at| self.items[*at].end());
        next
    }

    fn fits_and_changes_nothing(&self, store: &Store, at: usize) -> bool {
        let item = &self.items[at];
        item.command.is_read() && item.agrees(&store.read(&item.command))
    }

    /// All ways in which one of these may come next; `None` when there are too many.
    fn ways(&self, store: &Store, next: &[usize]) -> Option<Vec<Way>> {
        let mut ways = Vec::new();
        for &item in next {
            if !self.items[item].command.is_read() {
                ways.extend(self.commands(store, item).map(|command| Way { item, command, expired: Vec::new() }));
            }
        }
        if store.next_expiry().is_none() {
            return Some(ways);
        }
        for &item in next {
            for expired in some_of(&expiring(store, &self.items[item]))? {
                let ways_then = self.commands(store, item);
                ways.extend(ways_then.map(|command| Way { item, command, expired: expired.clone() }));
            }
        }
        Some(ways)
    }

    /// What an item may have been: of an `SPOP` whose answer is unknown, the removal of any member.
    fn commands(&self, store: &Store, item: usize) -> impl Iterator<Item = Option<Command>> + use<> {
        let popped = self.items[item].unknown_pop();
        let is_plain = popped.is_none();
        let pops = popped.map_or_else(Vec::new, |key| removals(store, &key));
        is_plain.then_some(None).into_iter().chain(pops.into_iter().map(Some))
    }

    /// Carries one out; false when it answers something else than it did.
    fn apply(&self, store: &mut Store, way: &Way) -> bool {
        for (db, key) in &way.expired {
            store.lift_key(*db, key);
        }
        let item = &self.items[way.item];
        if let Some(keys) = stored::flushed(&item.command) {
            keys.iter().for_each(|(db, key)| drop(store.lift_key(*db, key)));
            return true;
        }
        let command = way.command.as_ref().unwrap_or(&item.command);
        let found = if command.is_read() {
            store.read(command)
        } else {
            let op = store.op().next();
            let (client, command) = (ClientId::PRIMARY, command.clone());
            store.apply(LogEntry { op, client, seq: Seq(op.0), acked: Seq(0), stamp: Stamp::default(), command })
        };
        drop(store.take_rubbish());
        item.agrees(&found)
    }
}

/// The removal of each member of a set.
fn removals(store: &Store, (db, key): &StoredKey) -> Vec<Command> {
    let of = |name: &str, member: Option<Bytes>| {
        let words: Vec<Bytes> = [name.into(), key.clone()].into_iter().chain(member).collect();
        commands::parse_in(*db, &words).ok()
    };
    let members = of("smembers", None).map(|members| store.read(&members));
    let Some(Reply::Set(members)) = members else { return Vec::new() };
    members.iter().filter_map(value).filter_map(|member| of("srem", Some(member))).collect()
}

/// The keys of an item that are there and expire one day.
fn expiring(store: &Store, item: &StoredItem<'_>) -> Vec<StoredKey> {
    let expires = |(db, key): &StoredKey| store.get_in(*db, key).is_some_and(|stored| stored.expires != 0);
    touched(item).into_iter().filter(expires).collect()
}

/// Every choice of at least one of these keys; `None` when there are too many.
fn some_of(keys: &[StoredKey]) -> Option<Vec<Vec<StoredKey>>> {
    if keys.len() > EXPIRING_MAX {
        return None;
    }
    let chosen = |mask: usize| keys.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1);
    Some((1..1 << keys.len()).map(|mask| chosen(mask).map(|(_, key)| key.clone()).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::monitor::tests::{LINES, histories_of_all_kinds};
    use super::super::settled::{Settled, settle};
    use super::*;
    use proptest::prelude::*;

    /// Tries every order, with every key that may expire going at every moment: slow and obviously right.
    fn brute_force(items: &[StoredItem<'_>], left: &[usize], store: &Store) -> bool {
        let end = left.iter().map(|at| items[*at].end()).min().unwrap_or(Time::NEVER);
        if end == Time::NEVER {
            return true;
        }
        let search = StoredSearch::new(items);
        let comes_next = |at: &&usize| items[**at].operation.call <= end;
        let in_some_order = left.iter().filter(comes_next).any(|at| {
            let mut after = store.clone();
            let fits = search.apply(&mut after, &Way { item: *at, command: None, expired: Vec::new() });
            let rest: Vec<usize> = left.iter().copied().filter(|other| other != at).collect();
            fits && brute_force(items, &rest, &after)
        });
        in_some_order
            || store.past_their_time(u64::MAX).into_iter().any(|(db, key)| {
                let mut after = store.clone();
                after.lift_key(db, &key);
                brute_force(items, left, &after)
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn it_finds_what_brute_force_finds(history in histories_of_all_kinds(LINES.to_vec(), 6)) {
            let settled = history.iter().map(settle);
            let item = |settled| if let Settled::Item(item) = settled { Some(item) } else { None };
            let mut items: Vec<StoredItem<'_>> = settled.filter_map(item).collect();
            items.sort_by_key(|item| (item.operation.call, item.operation.client, item.operation.seq));
            prop_assume!(items.iter().all(|item| item.unknown_pop().is_none()));
            let all: Vec<usize> = (0..items.len()).collect();
            let found = StoredSearch::new(&items).run(Store::default(), 100_000, &mut |_, _| true);
            let is_explained = brute_force(&items, &all, &Store::default());
            prop_assert_eq!(found, if is_explained { SearchEnd::Order } else { SearchEnd::Stuck });
        }
    }
}
