//! Keys that are judged together: what they can be, and what was done to them and waits to be judged.
//!
//! A string of its own is judged with its model ([`super::model`]), anything else with the store itself
//! ([`super::stored_search`]): then what the keys hold is kept as the store has it. It is moved into a store to be
//! judged, and out again: as long as nothing happens at the same time, nothing is copied.

use super::Operation;
use super::linear::{Contradiction, Verdict, check, item};
use super::model::{ModelCommand, ModelValue, State};
use super::search::{Item, Search, SearchAction, SearchEnd};
use super::settled::{Settled, StoredItem, settle};
use super::stored::{self, SHOWN_MAX, StoredKey, flush_itself, flushed, is_foreign, places};
use super::stored_search::StoredSearch;
use super::witness::size_bytes;
use crate::core::protocol::{Outcome, Time};
use crate::core::store::{Bytes, OpNumber, Reply, Store, StoreError, Stored, Value};
use std::collections::{BTreeSet, HashMap};

/// Keys on which this many operations could not be judged yet are given up, …
const WAITING_OPERATIONS_MAX: usize = 1024;
/// … and those on which this many bytes of them could not.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Keys with this many unknown outcomes are given up.
const UNKNOWN_OPERATIONS_MAX: usize = 12;
/// Keys that are never quiet are judged at a moment at which this many operations or fewer were running.
const RUNNING_OPERATIONS_MAX: usize = 64;
/// Keys that can be in this many states are given up.
pub(super) const POSSIBLE_STATES_MAX: usize = 64;
/// The most steps of one judgement.
const STEPS_MAX: u64 = 5_000;
/// The operations kept to show a contradiction: the last of them, …
const REMEMBERED_OPERATIONS_MAX: usize = 32;
/// … and no more bytes.
const REMEMBERED_BYTES_MAX: usize = 64 << 10;
/// An operation with more bytes is not kept for each of its keys when they are judged apart again.
const SHARED_BYTES_MAX: usize = 1 << 10;

/// Keys that are judged together.
#[derive(Debug)]
pub(super) struct Track {
    keys: Vec<StoredKey>,
    possible: Possible,
    /// What may still take effect: unknown outcomes, and what was running when the keys were judged last.
    unknown: Vec<Operation>,
    waiting: Vec<Operation>,
    remembered: Vec<Operation>,
    /// Everything that was ever done to the keys is remembered.
    remembers_all: bool,
    waiting_bytes: usize,
    remembered_bytes: usize,
    stored_bytes: usize,
    /// What is not quiet is not tried before this many operations wait.
    patience: usize,
    /// It is in the monitor's queue.
    pub(super) is_due: bool,
}

/// What keys can be, each with the operations (positions in `unknown`) that may still take effect.
#[derive(Debug, Clone)]
enum Possible {
    /// A key of the first database that holds a string, if anything.
    Text(Vec<(State, Vec<usize>)>),
    Stored(Vec<StoredState>),
}

/// One state of keys that are judged with the store.
#[derive(Debug, Clone)]
struct StoredState {
    /// Of each key, in their order.
    contents: Vec<Option<Stored>>,
    digest: u64,
    left: Vec<usize>,
}

/// Why operations could not be judged well: `None` when that is too much work.
pub(super) type Misjudged = Option<Box<Contradiction>>;

impl Track {
    /// A key of which this is known.
    pub(super) fn new(key: StoredKey, state: State) -> Self {
        Self {
            keys: vec![key],
            possible: Possible::Text(vec![(state, Vec::new())]),
            unknown: Vec::new(),
            waiting: Vec::new(),
            remembered: Vec::new(),
            remembers_all: state == State::Absent,
            waiting_bytes: 0,
            remembered_bytes: 0,
            stored_bytes: 0,
            patience: 0,
            is_due: false,
        }
    }

    pub(super) fn keys(&self) -> &[StoredKey] {
        &self.keys
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.waiting_bytes + self.remembered_bytes + self.stored_bytes
    }

    /// How many operations wait to be judged.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True when there can be nothing but strings that do not expire.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.possible, Possible::Text(_))
    }

    /// True when there is nothing.
    pub(super) fn is_gone(&self) -> bool {
        match &self.possible {
            Possible::Text(states) => states.iter().all(|(state, _)| *state == State::Absent),
            Possible::Stored(states) => states.iter().all(|state| state.contents.iter().all(Option::is_none)),
        }
    }

    /// True when nothing that was done is still to take effect or to be judged.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.unknown.is_empty()
    }

    /// Takes in an operation on these keys; false when there are too many.
    pub(super) fn push(&mut self, operation: Operation) -> bool {
        self.waiting_bytes += size_bytes(&operation);
        self.waiting.push(operation);
        self.waiting.len() <= WAITING_OPERATIONS_MAX && self.waiting_bytes <= WAITING_BYTES_MAX
    }

    /// Judges everything up to the last moment at which nothing was running, or at which little was when this many
    /// wait; how many operations that were.
    pub(super) fn settle(&mut self, running_since: Time, patience: usize) -> Result<u64, Misjudged> {
        self.waiting.sort_by_key(|operation| (operation.call, operation.client, operation.seq));
        let (mut count, mut until) = (self.quiet(running_since), Time::NEVER);
        if count == 0
            && self.waiting.len() >= patience.max(self.patience)
            && let Some(cut) = self.calm(running_since)
        {
            (count, until) = (self.waiting.partition_point(|operation| operation.call < cut), cut);
        }
        let segment: Vec<Operation> = self.waiting.drain(..count).collect();
        if segment.is_empty() {
            return Ok(0);
        }
        self.waiting_bytes -= segment.iter().map(size_bytes).sum::<usize>();
        let before = (until != Time::NEVER).then(|| (self.possible.clone(), self.unknown.clone()));
        match (self.judge(&segment, until), before) {
            (Err(None), Some(before)) => {
                self.wait_for_more(before, segment);
                return Ok(0);
            }
            (judged, _) => judged?,
        }
        let judged = segment.iter().filter(|operation| flushed(&operation.command).is_none()).count() as u64;
        self.remember(segment);
        Ok(judged)
    }

    /// What was tried before there was a quiet moment is too much: perhaps there will be one.
    fn wait_for_more(&mut self, (possible, unknown): (Possible, Vec<Operation>), segment: Vec<Operation>) {
        (self.possible, self.unknown) = (possible, unknown);
        self.waiting_bytes += segment.iter().map(size_bytes).sum::<usize>();
        self.waiting.splice(..0, segment);
        self.patience = self.waiting.len() * 2;
    }

    /// How many of the waiting operations had returned before any of the others was called.
    fn quiet(&self, running_since: Time) -> usize {
        let (mut quiet, mut busy_until) =
            (0, self.unknown.iter().filter_map(|one| one.returned).max().unwrap_or_default());
        for (i, operation) in self.waiting.iter().enumerate() {
            if operation.call > busy_until && busy_until < running_since {
                quiet = i;
            }
            busy_until = busy_until.max(operation.returned.unwrap_or_default());
        }
        if busy_until < running_since { self.waiting.len() } else { quiet }
    }

    /// A moment at which few operations were running, if there was one after half of those that wait were called. What
    /// was running may have happened before it or after.
    fn calm(&self, running_since: Time) -> Option<Time> {
        let Possible::Stored(_) = &self.possible else { return None };
        let known = || self.waiting.iter().chain(&self.unknown).filter(|operation| !is_unknown(operation));
        let mut ends: Vec<Time> = known().filter_map(|operation| operation.returned).collect();
        let mut calls: Vec<Time> = known().map(|operation| operation.call).collect();
        ends.sort_unstable();
        calls.sort_unstable();
        let running = |at: Time| calls.partition_point(|call| *call < at) - ends.partition_point(|end| *end < at);
        let later = self.waiting[self.waiting.len() / 2..].iter().map(|operation| operation.call);
        let moments = later.filter(|at| *at <= running_since && *at > self.waiting[0].call);
        moments.min_by_key(|at| running(*at)).filter(|at| running(*at) <= RUNNING_OPERATIONS_MAX)
    }

    fn remember(&mut self, segment: Vec<Operation>) {
        self.remembered_bytes += segment.iter().map(size_bytes).sum::<usize>();
        self.remembered.extend(segment);
        let mut surplus = self.remembered.len().saturating_sub(REMEMBERED_OPERATIONS_MAX);
        let mut bytes: usize = self.remembered[..surplus].iter().map(size_bytes).sum();
        while self.remembered_bytes - bytes > REMEMBERED_BYTES_MAX {
            bytes += size_bytes(&self.remembered[surplus]);
            surplus += 1;
        }
        self.remembered_bytes -= bytes;
        self.remembers_all &= surplus == 0;
        self.remembered.drain(..surplus);
    }

    /// What has not returned before `until` may still take effect afterwards.
    fn judge(&mut self, segment: &[Operation], until: Time) -> Result<(), Misjudged> {
        let may_wait = |one: &&Operation| is_unknown(one) || one.returned.is_some_and(|returned| returned >= until);
        let (unknown, known): (Vec<&Operation>, Vec<&Operation>) = segment.iter().partition(may_wait);
        let first_new = self.unknown.len();
        self.unknown.extend(unknown.into_iter().cloned());
        if self.unknown.iter().filter(|operation| is_unknown(operation)).count() > UNKNOWN_OPERATIONS_MAX {
            return Err(None);
        }
        let new: Vec<usize> = (first_new..self.unknown.len()).collect();
        let judged = match std::mem::replace(&mut self.possible, Possible::Text(Vec::new())) {
            Possible::Text(states) => self.judge_text(states, &known, &new)?,
            Possible::Stored(states) => self.judge_stored(states, &known, &new, until)?,
        };
        let Some(possible) = judged else { return Err(Some(self.contradiction(segment))) };
        self.possible = possible;
        self.forget_spent_unknowns();
        self.stored_bytes = self.possible.bytes();
        Ok(())
    }

    /// Known operations and those with unknown outcome that may still take effect, in the order of their calls.
    fn sources<'t>(&'t self, known: &[&'t Operation], pending: &[usize]) -> Vec<(&'t Operation, Option<usize>)> {
        let old = pending.iter().map(|&at| (&self.unknown[at], Some(at)));
        let mut sources: Vec<_> = old.chain(known.iter().map(|operation| (*operation, None))).collect();
        sources.sort_by_key(|(operation, _)| (operation.call, operation.client, operation.seq));
        sources
    }

    /// What a string can be afterwards, `Ok(None)` when it can be nothing; so with what follows.
    fn judge_text(
        &self,
        states: Vec<(State, Vec<usize>)>,
        known: &[&Operation],
        new: &[usize],
    ) -> Result<Option<Possible>, Misjudged> {
        let mut after: Vec<(State, Vec<usize>)> = Vec::new();
        for (state, mut pending) in states {
            pending.extend(new);
            let sources = self.sources(known, &pending);
            let items: Vec<Item> = sources.iter().filter_map(|(operation, _)| text_item(operation)).collect();
            let mut collect = |search: &Search<'_>| {
                let left: Vec<usize> = search.left().filter_map(|at| sources[at].1).collect();
                let end = (search.keys()[0], left);
                if !after.contains(&end) {
                    after.push(end);
                }
                after.len() > POSSIBLE_STATES_MAX
            };
            let end = Search::new(&items, vec![state]).run(STEPS_MAX, &mut collect);
            if end == SearchEnd::GaveUp || after.len() > POSSIBLE_STATES_MAX {
                return Err(None);
            }
        }
        Ok((!after.is_empty()).then_some(Possible::Text(after)))
    }

    fn judge_stored(
        &self,
        states: Vec<StoredState>,
        known: &[&Operation],
        new: &[usize],
        until: Time,
    ) -> Result<Option<Possible>, Misjudged> {
        let mut after: Vec<StoredState> = Vec::new();
        for StoredState { contents, left: mut pending, .. } in states {
            pending.extend(new);
            let mut items: Vec<StoredItem<'_>> = Vec::new();
            let mut numbers: Vec<Option<usize>> = Vec::new();
            for (operation, number) in self.sources(known, &pending) {
                match settle(operation) {
                    Settled::Item(item) => {
                        let may_wait = operation.returned.is_some_and(|returned| returned >= until);
                        items.push(StoredItem { may_wait, ..item });
                        numbers.push(number);
                    }
                    Settled::Nothing => {}
                    Settled::Open => return Err(None),
                }
            }
            let mut collect = |store: Store, done: &[bool]| {
                let left = numbers.iter().zip(done).filter(|(_, done)| !**done).filter_map(|(number, _)| *number);
                add(&mut after, self.state_in(store, left.collect()));
                after.len() > POSSIBLE_STATES_MAX
            };
            let end = StoredSearch::new(&items).run(self.store(contents), STEPS_MAX, &mut collect);
            if end == SearchEnd::GaveUp || after.len() > POSSIBLE_STATES_MAX {
                return Err(None);
            }
        }
        Ok((!after.is_empty()).then_some(Possible::Stored(after)))
    }

    /// A store with these keys alone.
    fn store(&self, contents: Vec<Option<Stored>>) -> Store {
        let mut store = Store::default();
        for ((db, key), stored) in self.keys.iter().zip(contents) {
            if let Some(stored) = stored {
                store.place_key(*db, key.clone(), stored);
            }
        }
        store
    }

    /// What these keys are in a store.
    fn state_in(&self, mut store: Store, left: Vec<usize>) -> StoredState {
        let digest = store.content_digest();
        let contents = self.keys.iter().map(|(db, key)| store.lift_key(*db, key)).collect();
        StoredState { contents, digest, left }
    }

    fn forget_spent_unknowns(&mut self) {
        if self.unknown.is_empty() {
            return;
        }
        let needed: BTreeSet<usize> = self.possible.lefts().flatten().copied().collect();
        let renumbered: HashMap<usize, usize> = needed.iter().copied().zip(0..).collect();
        self.possible.renumber(|at| renumbered[&at]);
        self.unknown = needed.into_iter().map(|at| self.unknown[at].clone()).collect();
    }

    /// The shortest stretch of what is remembered that contradicts itself, or the last of it.
    fn contradiction(&self, segment: &[Operation]) -> Box<Contradiction> {
        let mut all: Vec<Operation> =
            self.unknown.iter().chain(&self.remembered).chain(segment).cloned().map(flush_itself).collect();
        all.sort_by_key(|operation| (operation.call, operation.client, operation.seq));
        all.dedup();
        let is_text = all.iter().all(|operation| !is_foreign(&operation.command));
        if (is_text || self.remembers_all)
            && let Verdict::Failed(contradiction) = check(&all)
        {
            return contradiction;
        }
        all.drain(..all.len().saturating_sub(SHOWN_MAX.max(segment.len()).min(REMEMBERED_OPERATIONS_MAX)));
        Box::new(Contradiction { key: None, window: all })
    }

    /// From now on judged with the store itself: how many states the keys can be in, if they are known.
    pub(super) fn use_store(&mut self) -> Option<usize> {
        let states = match &self.possible {
            Possible::Stored(states) => return Some(states.len()),
            Possible::Text(states) => states.iter().map(|(state, left)| self.state_of(*state, left.clone())),
        };
        let states = states.collect::<Option<Vec<StoredState>>>()?;
        let count = states.len();
        self.possible = Possible::Stored(states);
        self.stored_bytes = self.possible.bytes();
        Some(count)
    }

    fn state_of(&self, state: State, left: Vec<usize>) -> Option<StoredState> {
        let stored = match state {
            State::Any => return None,
            State::Absent => None,
            State::Present(value) => {
                let value = Value::String(self.bytes_of(&value)?);
                Some(Stored { value, op: OpNumber::default(), expires: 0 })
            }
        };
        Some(self.state_in(self.store(vec![stored]), left))
    }

    /// The model knows of a long string only its fingerprint; whoever wrote or read it last knows the rest.
    fn bytes_of(&self, value: &ModelValue) -> Option<Bytes> {
        if let Some(short) = value.short() {
            return Some(short.into());
        }
        let operations = self.remembered.iter().rev().chain(&self.unknown);
        let read = operations.clone().filter_map(|operation| match &operation.outcome {
            Outcome::Done(Reply::Value(bytes)) => Some(bytes),
            _ => None,
        });
        let written = operations.filter_map(|operation| operation.command.value());
        read.chain(written).find(|bytes| bytes.len() == value.len() && ModelValue::of(bytes) == *value).cloned()
    }

    /// Takes in the keys of another track; both are judged with the store.
    pub(super) fn join(&mut self, other: Self) {
        let count = self.unknown.len();
        if let (Possible::Stored(mine), Possible::Stored(theirs)) = (&mut self.possible, other.possible) {
            self.stored_bytes = self.stored_bytes * theirs.len() + other.stored_bytes * mine.len();
            match &*theirs {
                [one] => mine.iter_mut().for_each(|state| state.extend(one, count)),
                _ => {
                    let pairs = mine.iter().flat_map(|state| theirs.iter().map(|other| state.beside(other, count)));
                    *mine = pairs.collect();
                }
            }
        }
        self.keys.extend(other.keys);
        self.unknown.extend(other.unknown);
        for operation in other.waiting {
            // A flush that waits on both sides is one.
            if !self.waiting.iter_mut().any(|own| stored::join_flushes(own, &operation)) {
                self.waiting.push(operation);
            }
        }
        self.waiting_bytes = self.waiting.iter().map(size_bytes).sum();
        self.is_due |= other.is_due;
        self.remembers_all &= other.remembers_all;
        self.remember(other.remembered);
    }

    /// Each key by itself again, when all is known of them: what was done to several at once binds them no longer.
    pub(super) fn part(mut self) -> Vec<Self> {
        if self.keys.len() < 2 || !self.is_quiet() {
            return vec![self];
        }
        let contents = match &mut self.possible {
            Possible::Stored(states) if states.len() == 1 => std::mem::take(&mut states[0].contents),
            _ => return vec![self],
        };
        let shared: Vec<(Vec<StoredKey>, &Operation)> = self
            .remembered
            .iter()
            .filter(|operation| size_bytes(operation) <= SHARED_BYTES_MAX)
            .map(|operation| (places(&operation.command), operation))
            .collect();
        let apart = self.keys.into_iter().zip(contents).map(|(key, stored)| {
            let own = shared.iter().filter(|(keys, _)| keys.contains(&key)).map(|(_, operation)| (*operation).clone());
            let own: Vec<Operation> = own.collect();
            let mut track = Self::new(key, State::Absent);
            track.possible = Possible::Stored(vec![track.state_in(track.store(vec![stored]), Vec::new())]);
            track.stored_bytes = track.possible.bytes();
            track.remembers_all = false;
            track.remember(own);
            track
        });
        apart.collect()
    }
}

impl Possible {
    fn bytes(&self) -> usize {
        let Self::Stored(states) = self else { return 0 };
        let stored = states.iter().flat_map(|state| state.contents.iter().flatten());
        stored.map(|stored| stored.value.size_bytes()).sum()
    }

    fn lefts(&self) -> Box<dyn Iterator<Item = &Vec<usize>> + '_> {
        match self {
            Self::Text(states) => Box::new(states.iter().map(|(_, left)| left)),
            Self::Stored(states) => Box::new(states.iter().map(|state| &state.left)),
        }
    }

    fn renumber(&mut self, number: impl Fn(usize) -> usize) {
        let renumber = |left: &mut Vec<usize>| left.iter_mut().for_each(|at| *at = number(*at));
        match self {
            Self::Text(states) => states.iter_mut().for_each(|(_, left)| renumber(left)),
            Self::Stored(states) => states.iter_mut().for_each(|state| renumber(&mut state.left)),
        }
    }
}

impl StoredState {
    /// Beside these keys others, whose unknown outcomes come after this many.
    fn extend(&mut self, other: &Self, count: usize) {
        self.contents.extend(other.contents.iter().cloned());
        self.digest = self.digest.wrapping_add(other.digest);
        self.left.extend(other.left.iter().map(|at| at + count));
    }

    fn beside(&self, other: &Self, count: usize) -> Self {
        let mut both = self.clone();
        both.extend(other, count);
        both
    }

    /// Whatever can happen from here can happen from the other one as well.
    fn is_covered_by(&self, other: &Self) -> bool {
        self.digest == other.digest && self.left.iter().all(|at| other.left.contains(at))
    }
}

fn add(states: &mut Vec<StoredState>, new: StoredState) {
    if !states.iter().any(|old| new.is_covered_by(old)) {
        states.retain(|old| !old.is_covered_by(&new));
        states.push(new);
    }
}

fn is_unknown(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Unknown | Outcome::Done(Reply::Error(StoreError::AnswerForgotten)))
}

/// An operation on a string as its model sees it.
fn text_item(operation: &Operation) -> Option<Item> {
    if flushed(&operation.command).is_none() {
        return item(operation, 0);
    }
    let action = SearchAction::One { key: 0, act: ModelCommand::Delete };
    Some(Item { call: operation.call, end: operation.returned, action, answer: None })
}

/// True for what only the store itself can judge.
pub(super) fn needs_store(operation: &Operation) -> bool {
    let is_of_another_kind =
        matches!(&operation.outcome, Outcome::Done(Reply::Error(error)) if *error == StoreError::WRONG_TYPE);
    is_of_another_kind || is_foreign(&operation.command)
}

/// True when it tells something that can be judged.
pub(super) fn tells(operation: &Operation) -> bool {
    match &operation.outcome {
        _ if needs_store(operation) => !matches!(settle(operation), Settled::Nothing),
        // As `item` has it, which has to look at all bytes of the value.
        _ if operation.command.key().is_none() || operation.command.check_limits().is_err() => false,
        Outcome::Unknown => !operation.command.is_read(),
        Outcome::Done(Reply::Error(error)) => {
            matches!(error, StoreError::NotAnInteger | StoreError::Overflow | StoreError::ValueTooLong(_))
        }
        Outcome::Done(_) => true,
    }
}

/// True when it may have changed more than can be tried.
pub(super) fn is_open(operation: &Operation) -> bool {
    is_unknown(operation) && is_foreign(&operation.command) && matches!(settle(operation), Settled::Open)
}
