//! The checker's question asked continuously: is everything explained so far?
//!
//! A key is judged whenever it is quiet: everything called on it has returned, so whatever comes later
//! comes after. Then only the states that the key can be in are remembered, and the operations are
//! forgotten. An operation with unknown outcome stays with the key, because it may still take effect.
//!
//! # Caveats
//!
//! Cost and memory are bounded. A key that is never quiet, or on which too many outcomes are unknown, is
//! given up: [`MonitorStanding::Partly`]. `KEYS` and `COUNT` are judged only by [`check()`](fn@super::check).

use super::linear::{Contradiction, Verdict, check, item};
use super::model::{self, State};
use super::search::{Search, SearchEnd};
use super::{Operation, search, stored};
use crate::core::protocol::{Outcome, Time};
use crate::core::store::{Bytes, Command, Db};
use std::collections::{BTreeSet, HashMap};

/// A key with this many operations that could not be judged yet is given up.
const WAITING_OPERATIONS_MAX: usize = 1024;
/// A key with this many unknown outcomes is given up.
const UNKNOWN_OPERATIONS_MAX: usize = 12;
/// A key that can be in this many states is given up.
const POSSIBLE_STATES_MAX: usize = 64;
/// The most keys that are watched; then all are forgotten, and watching begins again.
const KEYS_MAX: usize = 65_536;
/// The most keys judged in one call of [`Monitor::settle`].
const KEYS_PER_CALL_MAX: usize = 256;
/// The most steps of one judgement.
const STEPS_MAX: u64 = 5_000;
/// The operations kept of a key to show a contradiction: the last of them.
const REMEMBERED_OPERATIONS_MAX: usize = 32;

/// What the monitor can say at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MonitorStanding {
    /// Everything that has returned is explained.
    Ok,
    /// Nothing contradicts, but some operations could not be judged: so many.
    Partly(u64),
    /// Something cannot be explained.
    Failed(Box<Contradiction>),
}

/// Judges operations as they are completed.
#[derive(Debug)]
pub struct Monitor {
    epoch: u32,
    keys: HashMap<Bytes, Key>,
    /// Keys with operations that wait to be judged.
    due: BTreeSet<Bytes>,
    /// What a key is that was never seen.
    unseen: State,
    judged: u64,
    skipped: u64,
    failed: Option<Box<Contradiction>>,
}

/// What is known of one key.
#[derive(Debug)]
struct Key {
    /// What it can be, each with the unknown outcomes (positions in `unknown`) that may still take effect.
    possible: Vec<(State, Vec<usize>)>,
    unknown: Vec<Operation>,
    waiting: Vec<Operation>,
    remembered: Vec<Operation>,
    given_up: bool,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            epoch: 0,
            keys: HashMap::new(),
            due: BTreeSet::new(),
            unseen: State::Absent,
            judged: 0,
            skipped: 0,
            failed: None,
        }
    }
}

impl Monitor {
    /// Takes in an operation that was answered or given up.
    pub fn push(&mut self, operation: &Operation) {
        if operation.epoch > self.epoch {
            self.forget(operation.epoch, State::Absent);
        }
        if stored::is_foreign(&operation.command) && operation.epoch == self.epoch {
            self.give_up_on(&operation.command);
            return;
        }
        let Some(key) = model::key(&operation.command).filter(|_| item(operation, 0).is_some()) else { return };
        if operation.epoch < self.epoch || self.failed.is_some() {
            self.skipped += 1;
            return;
        }
        if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(key) {
            self.forget(self.epoch, State::Any);
        }
        let unseen = self.unseen;
        let track = self.keys.entry(key.clone()).or_insert_with(|| Key::new(unseen));
        if track.given_up {
            self.skipped += 1;
            return;
        }
        track.waiting.push(operation.clone());
        if track.waiting.len() > WAITING_OPERATIONS_MAX {
            self.skipped += track.give_up();
        } else {
            self.due.insert(key.clone());
        }
    }

    /// What is done to values of other kinds is judged only by [`check()`](fn@super::check), with all that happens to
    /// these keys.
    fn give_up_on(&mut self, command: &Command) {
        if command.is_read() {
            return;
        }
        if stored::touches_everything(command) {
            self.forget(self.epoch, State::Any);
        }
        for (_, key) in stored::places(command).into_iter().filter(|(db, _)| *db == Db::default()) {
            let unseen = self.unseen;
            if self.keys.len() < KEYS_MAX || self.keys.contains_key(&key) {
                let track = self.keys.entry(key.clone()).or_insert_with(|| Key::new(unseen));
                self.skipped += track.give_up().max(1);
                self.due.remove(&key);
            }
        }
    }

    /// Judges what can be judged. Every operation that is still running was called at or after `running_since`.
    pub fn settle(&mut self, running_since: Time) {
        let due: Vec<Bytes> = self.due.iter().take(KEYS_PER_CALL_MAX).cloned().collect();
        for key in due {
            let Some(track) = self.keys.get_mut(&key) else { continue };
            match track.settle(running_since) {
                Ok(judged) => self.judged += judged,
                Err(None) => self.skipped += track.give_up(),
                Err(Some(mut contradiction)) => {
                    contradiction.key = Some(key.clone());
                    self.failed.get_or_insert(contradiction);
                }
            }
            self.due.remove(&key);
            if !track.waiting.is_empty() {
                // Not quiet yet: after the others.
                self.due.insert(key);
            }
        }
    }

    /// What can be said now.
    #[must_use]
    pub fn standing(&self) -> MonitorStanding {
        match &self.failed {
            Some(contradiction) => MonitorStanding::Failed(contradiction.clone()),
            None if self.skipped > 0 => MonitorStanding::Partly(self.skipped),
            None => MonitorStanding::Ok,
        }
    }

    /// How many operations have been judged.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.judged
    }

    /// After a `RESET` nothing before it counts; after too many keys nothing is known of any.
    fn forget(&mut self, epoch: u32, unseen: State) {
        self.skipped += self.keys.values().map(|key| key.waiting.len() as u64).sum::<u64>();
        self.epoch = epoch;
        self.unseen = unseen;
        self.keys.clear();
        self.due.clear();
    }
}

impl Key {
    fn new(state: State) -> Self {
        let possible = vec![(state, Vec::new())];
        Self { possible, unknown: Vec::new(), waiting: Vec::new(), remembered: Vec::new(), given_up: false }
    }

    fn give_up(&mut self) -> u64 {
        let skipped = self.waiting.len() as u64;
        *self = Self { given_up: true, ..Self::new(State::Any) };
        skipped
    }

    /// Judges everything up to the last moment at which nothing was running. `Err(None)`: too much.
    fn settle(&mut self, running_since: Time) -> Result<u64, Option<Box<Contradiction>>> {
        self.waiting.sort_by_key(|operation| (operation.call, operation.client, operation.seq));
        let (mut quiet, mut busy_until) = (0, Time::default());
        for (i, operation) in self.waiting.iter().enumerate() {
            if operation.call > busy_until && busy_until < running_since {
                quiet = i;
            }
            busy_until = busy_until.max(operation.returned.unwrap_or_default());
        }
        if busy_until < running_since {
            quiet = self.waiting.len();
        }
        let segment: Vec<Operation> = self.waiting.drain(..quiet).collect();
        if segment.is_empty() {
            return Ok(0);
        }
        self.judge(&segment)?;
        let judged = segment.len() as u64;
        self.remembered.extend(segment);
        let surplus = self.remembered.len().saturating_sub(REMEMBERED_OPERATIONS_MAX);
        self.remembered.drain(..surplus);
        Ok(judged)
    }

    fn judge(&mut self, segment: &[Operation]) -> Result<(), Option<Box<Contradiction>>> {
        let (unknown, known): (Vec<&Operation>, Vec<&Operation>) =
            segment.iter().partition(|operation| operation.outcome == Outcome::Unknown);
        let first_new = self.unknown.len();
        self.unknown.extend(unknown.into_iter().cloned());
        if self.unknown.len() > UNKNOWN_OPERATIONS_MAX {
            return Err(None);
        }
        let mut after: Vec<(State, Vec<usize>)> = Vec::new();
        for (state, left) in std::mem::take(&mut self.possible) {
            let pending: Vec<usize> = left.into_iter().chain(first_new..self.unknown.len()).collect();
            let old = pending.iter().map(|&at| (&self.unknown[at], Some(at)));
            let mut sources: Vec<(&Operation, Option<usize>)> =
                old.chain(known.iter().map(|operation| (*operation, None))).collect();
            sources.sort_by_key(|(operation, _)| (operation.call, operation.client, operation.seq));
            let items: Vec<search::Item> = sources.iter().filter_map(|(operation, _)| item(operation, 0)).collect();
            let mut collect = |search: &Search<'_>| {
                let left: Vec<usize> = search.left().filter_map(|at| sources[at].1).collect();
                let end = (search.keys()[0], left);
                if !after.contains(&end) {
                    after.push(end);
                }
                after.len() > POSSIBLE_STATES_MAX
            };
            if Search::new(&items, vec![state]).run(STEPS_MAX, &mut collect) == SearchEnd::GaveUp {
                return Err(None);
            }
        }
        if after.len() > POSSIBLE_STATES_MAX {
            return Err(None);
        }
        if after.is_empty() {
            return Err(Some(self.contradiction(segment)));
        }
        self.possible = after;
        self.forget_spent_unknowns();
        Ok(())
    }

    fn forget_spent_unknowns(&mut self) {
        let needed: BTreeSet<usize> = self.possible.iter().flat_map(|(_, left)| left.iter().copied()).collect();
        let renumbered: HashMap<usize, usize> = needed.iter().copied().zip(0..).collect();
        for (_, left) in &mut self.possible {
            left.iter_mut().for_each(|at| *at = renumbered[at]);
        }
        self.unknown = needed.into_iter().map(|at| self.unknown[at].clone()).collect();
    }

    /// The shortest stretch of what is remembered that contradicts itself, or everything.
    fn contradiction(&self, segment: &[Operation]) -> Box<Contradiction> {
        let mut all: Vec<Operation> = self.unknown.iter().chain(&self.remembered).chain(segment).cloned().collect();
        all.sort_by_key(|operation| (operation.call, operation.client, operation.seq));
        all.dedup();
        match check(&all) {
            Verdict::Failed(contradiction) => contradiction,
            _ => Box::new(Contradiction { key: None, window: all }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::histories;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Whatever the monitor says, the checker says of the whole history.
        #[test]
        fn the_monitor_agrees_with_the_checker(history in histories()) {
            let mut monitor = Monitor::default();
            let mut by_return = history.clone();
            by_return.sort_by_key(|operation| operation.returned.unwrap_or(operation.call));
            for (i, operation) in by_return.iter().enumerate() {
                monitor.push(operation);
                let running = by_return[i + 1..].iter().map(|later| later.call).min().unwrap_or(Time::NEVER);
                monitor.settle(running);
            }
            monitor.settle(Time::NEVER);
            match (monitor.standing(), check(&history)) {
                (MonitorStanding::Ok, Verdict::Ok)
                | (MonitorStanding::Failed(_), Verdict::Failed(_))
                | (MonitorStanding::Partly(_), _) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn a_long_quiet_history_costs_no_memory() {
        let mut monitor = Monitor::default();
        for n in 1..=10_000_u64 {
            let operation = super::super::linear::tests::incr(n, n * 10, n * 10 + 5, n as i64);
            monitor.push(&operation);
            monitor.settle(Time(n * 10 + 6));
        }
        assert_eq!((monitor.standing(), monitor.judged()), (MonitorStanding::Ok, 10_000));
        assert!(monitor.keys.values().all(|key| key.remembered.len() <= REMEMBERED_OPERATIONS_MAX));
    }
}
