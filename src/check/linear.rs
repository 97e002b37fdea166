//! The linearizability checker.
//!
//! A history is linearizable when every operation can be given one instant between its call and its
//! return, such that a single store doing them in that order gives the answers that were seen (Herlihy
//! and Wing, 1990). Operations on different keys do not influence each other, so every key is checked alone
//! (locality); `KEYS` and `COUNT` look at all keys, and a history with them is checked a second time as a whole, if
//! there is nothing but strings in it. Values of other kinds are judged with the store itself.
//!
//! An operation with unknown outcome may have happened at any time after its call, or never: it may be
//! put at the very end, where its effect is seen by nobody.
//!
//! When there is no order, [`Contradiction`] shows the shortest stretch of the key's history that contradicts
//! itself whatever the key was before.
//!
//! # Caveats
//!
//! The problem is NP-complete. The search gives up after a number of steps and says
//! [`Verdict::Unknown`]; with the few concurrent operations a key that clients have, it never comes near it.
//! States and sets of operations that were tried are remembered by a digest of 128 bits.

use super::Operation;
use super::model::{self, ModelAnswer, ModelCommand, State};
use super::search::{Item, Search, SearchAction, SearchEnd};
use super::stored;
use crate::core::protocol::{Outcome, Time};
use crate::core::store::{Bytes, Command, Db, KeyPattern, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The search gives up after this many steps a partition, and a few more for every operation.
const STEPS_MAX: u64 = 1_000_000;
const STEPS_PER_OPERATION_MAX: u64 = 50;
/// Looking for the shortest stretch gives up on one after this many steps.
const WINDOW_STEPS_MAX: u64 = 20_000;
/// The most operations shown of a contradiction.
pub const WINDOW_OPERATIONS_MAX: usize = 32;

/// What the checker found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Ok,
    /// There is none.
    Failed(Box<Contradiction>),
    /// The search was given up.
    Unknown,
}

/// Operations that cannot be brought into an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The key they are about, if it is one.
    pub key: Option<Bytes>,
    /// The operations that contradict each other, in the order of their calls.
    pub window: Vec<Operation>,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "no order of these operations on {key} explains their answers:")?,
            None => write!(f, "no order of all operations explains the last of these answers:")?,
        }
        self.window.iter().try_for_each(|operation| write!(f, "\n    {operation}"))
    }
}

/// Judges a history. The order of `operations` does not matter.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    let mut partitions: BTreeMap<(u32, &Bytes), Vec<&Operation>> = BTreeMap::new();
    let mut whole: BTreeSet<u32> = BTreeSet::new();
    let Foreign { mut verdict, epochs, keys } = match check_foreign(operations) {
        Ok(foreign) => foreign,
        Err(failed) => return failed,
    };
    let is_left = |operation: &&Operation| {
        let key = operation.command.key();
        let epoch = operation.epoch;
        epoch > 0 && key.map_or(!epochs.contains(&epoch), |key| !keys.contains(&(epoch, key.clone())))
    };
    for operation in operations.iter().filter(is_left) {
        match model::key(&operation.command) {
            Some(key) => partitions.entry((operation.epoch, key)).or_default().push(operation),
            None if operation.command.key().is_none() => {
                whole.insert(operation.epoch);
            }
            None => {}
        }
    }
    for ((_, key), operations) in partitions {
        match check_key(operations) {
            Verdict::Ok => {}
            Verdict::Unknown => verdict = Verdict::Unknown,
            Verdict::Failed(mut contradiction) => {
                contradiction.key = Some(key.clone());
                return Verdict::Failed(contradiction);
            }
        }
    }
    for epoch in whole {
        match check_whole(operations.iter().filter(|operation| operation.epoch == epoch).collect()) {
            Verdict::Ok => {}
            Verdict::Unknown => verdict = Verdict::Unknown,
            failed => return failed,
        }
    }
    verdict
}

/// What was judged with the store itself.
struct Foreign {
    verdict: Verdict,
    /// Epochs in which `KEYS` and `COUNT` are not judged, since the model does not know of all that there is.
    epochs: BTreeSet<u32>,
    /// Keys that were judged, or cannot be.
    keys: BTreeSet<(u32, Bytes)>,
}

/// Judges what the model of a string cannot, together with all that happened to the same keys.
fn check_foreign(operations: &[Operation]) -> Result<Foreign, Verdict> {
    let is_foreign = |operation: &&Operation| operation.epoch > 0 && stored::is_foreign(&operation.command);
    let epochs: BTreeSet<u32> = operations.iter().filter(is_foreign).map(|operation| operation.epoch).collect();
    let (mut verdict, mut keys) = (Verdict::Ok, BTreeSet::new());
    for epoch in &epochs {
        let all: Vec<&Operation> = operations.iter().filter(|operation| operation.epoch == *epoch).collect();
        if all.iter().any(|operation| stored::touches_everything(&operation.command)) {
            keys.extend(all.iter().filter_map(|operation| Some((*epoch, operation.command.key()?.clone()))));
            match stored::judge(&all) {
                Verdict::Ok => {}
                Verdict::Unknown => verdict = Verdict::Unknown,
                failed => return Err(failed),
            }
            continue;
        }
        let names = stored::entangled(&all);
        let mut groups: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
        for operation in all {
            let place = stored::places(&operation.command).into_iter().next();
            if let Some(name) = place.and_then(|place| names.get(&place)) {
                groups.entry(*name).or_default().push(operation);
            }
        }
        for group in groups.values() {
            match stored::judge(group) {
                Verdict::Ok => {}
                Verdict::Unknown => verdict = Verdict::Unknown,
                failed => return Err(failed),
            }
        }
        keys.extend(names.into_keys().filter(|(db, _)| *db == Db::default()).map(|(_, key)| (*epoch, key)));
    }
    Ok(Foreign { verdict, epochs, keys })
}

fn steps_max(items: usize) -> u64 {
    STEPS_MAX + items as u64 * STEPS_PER_OPERATION_MAX
}

/// An operation on the key as the search sees it; `None` when it says nothing about the store.
pub(super) fn item(operation: &Operation, key: u32) -> Option<Item> {
    let act = ModelCommand::of(&operation.command)?;
    let answer = match &operation.outcome {
        Outcome::Done(reply) => Some(ModelAnswer::of(&operation.command, reply)?),
        Outcome::Unknown if operation.command.is_read() => return None,
        Outcome::Unknown => None,
    };
    Some(Item { call: operation.call, end: operation.returned, action: SearchAction::One { key, act }, answer })
}

fn in_order(operations: &mut [&Operation]) {
    operations.sort_by_key(|op| (op.call, op.client, op.seq));
}

fn check_key(mut operations: Vec<&Operation>) -> Verdict {
    in_order(&mut operations);
    let judged = operations.into_iter().filter_map(|operation| Some((item(operation, 0)?, operation)));
    let (items, operations): (Vec<Item>, Vec<&Operation>) = judged.unzip();
    match Search::new(&items, vec![State::Absent]).run(steps_max(items.len()), |_| true) {
        SearchEnd::Order => Verdict::Ok,
        SearchEnd::GaveUp => Verdict::Unknown,
        SearchEnd::Stuck => {
            let window = shortest_window(&items, first_contradiction(&items, &[State::Absent]));
            let window = window.into_iter().map(|at| operations[at].clone()).collect();
            Verdict::Failed(Box::new(Contradiction { key: None, window }))
        }
    }
}

fn check_whole(mut operations: Vec<&Operation>) -> Verdict {
    in_order(&mut operations);
    let names: BTreeSet<&Bytes> = operations.iter().filter_map(|operation| model::key(&operation.command)).collect();
    let numbers: BTreeMap<&Bytes, u32> = names.iter().copied().zip(0..).collect();
    let (mut items, mut sources) = (Vec::new(), Vec::new());
    for operation in operations {
        let found = match model::key(&operation.command) {
            Some(key) => item(operation, numbers[key]),
            None => item_of_all_keys(operation, &names),
        };
        if let Some(item) = found {
            items.push(item);
            sources.push(operation);
        }
    }
    let keys = vec![State::Absent; names.len()];
    match Search::new(&items, keys.clone()).run(steps_max(items.len()), |_| true) {
        SearchEnd::Order => Verdict::Ok,
        SearchEnd::GaveUp => Verdict::Unknown,
        SearchEnd::Stuck => {
            let until = first_contradiction(&items, &keys);
            let mut window: Vec<Operation> =
                sources.into_iter().filter(|op| op.returned.is_some_and(|end| end <= until)).cloned().collect();
            window.sort_by_key(|operation| operation.returned);
            window.drain(..window.len().saturating_sub(WINDOW_OPERATIONS_MAX / 2));
            Verdict::Failed(Box::new(Contradiction { key: None, window }))
        }
    }
}

/// `KEYS` or `COUNT` as the search sees it.
fn item_of_all_keys(operation: &Operation, names: &BTreeSet<&Bytes>) -> Option<Item> {
    let Outcome::Done(reply) = &operation.outcome else { return None };
    let (action, answer) = match (&operation.command, reply) {
        (Command::Count, Reply::Integer(count)) => (SearchAction::Count, ModelAnswer::Integer(*count)),
        (Command::Keys { pattern }, Reply::Keys(answered)) => {
            let pattern = KeyPattern::new(pattern);
            let answered: BTreeSet<&[u8]> = answered.iter().collect();
            let known: BTreeSet<&[u8]> = names.iter().map(|key| &***key).collect();
            let numbered = names.iter().copied().zip(0u32..);
            let matching: Box<[(u32, bool)]> = numbered
                .filter(|(key, _)| pattern.matches(key))
                .map(|(key, number)| (number, answered.contains(&**key)))
                .collect();
            // A key that nobody ever wrote explains itself by nothing.
            let invented = answered.iter().any(|key| !known.contains(key) || !pattern.compare(key).0);
            if invented {
                (SearchAction::Count, ModelAnswer::Nonsense)
            } else {
                (SearchAction::Keys(matching), ModelAnswer::Ok)
            }
        }
        _ => return None,
    };
    Some(Item { call: operation.call, end: operation.returned, action, answer: Some(answer) })
}

/// The earliest return up to which the items contradict themselves: found by halving, because what
/// contradicts itself still does so when more is known.
fn first_contradiction(items: &[Item], keys: &[State]) -> Time {
    let mut ends: Vec<Time> = items.iter().filter_map(|item| item.end).collect();
    ends.sort_unstable();
    let fails = |until: Time| {
        let known = |item: &Item| Item { end: item.end.filter(|end| *end <= until), ..item.clone() };
        let so_far: Vec<Item> = items.iter().filter(|item| item.call <= until).map(known).collect();
        Search::new(&so_far, keys.to_vec()).run(steps_max(so_far.len()), |_| true) == SearchEnd::Stuck
    };
    let at = ends.partition_point(|until| !fails(*until));
    ends.get(at).or(ends.last()).copied().unwrap_or(Time::NEVER)
}

/// The fewest of the latest items up to `until` that contradict themselves whatever the key
/// was before. Items that hang over an edge may have happened outside, so they need not happen inside.
fn shortest_window(items: &[Item], until: Time) -> Vec<usize> {
    for from in items.iter().rev().map(|item| item.call).filter(|call| *call <= until) {
        let mut inside: Vec<usize> = (0..items.len())
            .filter(|&i| items[i].call <= until && items[i].end.is_none_or(|end| end >= from))
            .collect();
        if inside.len() > WINDOW_OPERATIONS_MAX * 4 {
            break;
        }
        let everything = inside.len() == items.iter().filter(|item| item.call <= until).count();
        let from = (!everything).then_some(from);
        if !contradicts(items, &inside, from, until) {
            continue;
        }
        // A read that is not needed for the contradiction only distracts.
        for at in (0..inside.len()).rev() {
            let fewer: Vec<usize> = inside.iter().copied().filter(|i| *i != inside[at]).collect();
            let is_read = matches!(items[inside[at]].action, SearchAction::One { act: ModelCommand::Get, .. });
            if is_read && contradicts(items, &fewer, from, until) {
                inside = fewer;
            }
        }
        inside.retain(|&i| items[i].end.is_some() || from.is_none_or(|from| items[i].call >= from));
        inside.truncate(WINDOW_OPERATIONS_MAX);
        return inside;
    }
    let up_to = |i: &usize| items[*i].end.is_some_and(|end| end <= until);
    let mut last: Vec<usize> = (0..items.len()).filter(up_to).collect();
    last.sort_by_key(|&i| std::cmp::Reverse(items[i].end));
    last.truncate(WINDOW_OPERATIONS_MAX / 2);
    last.sort_unstable();
    last
}

/// True when no order explains the items `inside`, of what happened from `from` (or since ever) to `until`.
fn contradicts(items: &[Item], inside: &[usize], from: Option<Time>, until: Time) -> bool {
    let is_whole = |item: &Item| from.is_none_or(|from| item.call >= from) && item.end.is_some_and(|end| end <= until);
    let cut = |item: &Item| Item { end: item.end.filter(|_| is_whole(item)), ..item.clone() };
    let window: Vec<Item> = inside.iter().map(|&i| cut(&items[i])).collect();
    let start = if from.is_some() { State::Any } else { State::Absent };
    matches!(Search::new(&window, vec![start]).run(WINDOW_STEPS_MAX, |_| true), SearchEnd::Stuck)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::store::{ClientId, LogEntry, OpNumber, Seq, Stamp, Store};
    use proptest::prelude::*;

    /// `at` in arbitrary ticks; `returned` 0 means unknown.
    fn op(client: u32, seq: u64, call: u64, returned: u64, command: Command, reply: Reply) -> Operation {
        let known = returned > 0;
        Operation {
            client: ClientId::on(client),
            seq: Seq(seq),
            epoch: 1,
            command,
            outcome: if known { Outcome::Done(reply) } else { Outcome::Unknown },
            call: Time(call),
            returned: known.then_some(Time(returned)),
        }
    }
    fn put(value: &str) -> Command {
        Command::Put { key: "x".into(), value: value.into() }
    }
    fn get() -> Command {
        Command::Get { key: "x".into() }
    }
    fn value(text: &str) -> Reply {
        Reply::Value(text.into())
    }
    pub(in crate::check) fn incr(seq: u64, call: u64, returned: u64, number: i64) -> Operation {
        op(0, seq, call, returned, Command::Incr { key: "x".into() }, Reply::Integer(number))
    }

    /// Short histories of a few clients on one key, many of them with a lie or an unknown outcome in it.
    pub(in crate::check) fn histories() -> impl Strategy<Value = Vec<Operation>> {
        let step = (0..3_u32, 0..8_u8, 0..3_u64, 1..40_u64, 0..60_u8, 0..4_i64);
        prop::collection::vec(step, 1..10).prop_map(|steps| {
            let mut store = Store::default();
            let mut free = [1_u64; 3];
            let mut now = 1;
            let mut history = Vec::new();
            for (seq, (client, kind, value, length, luck, lie)) in (1..).zip(steps) {
                let key = || Bytes::from("x");
                let text = || Bytes::from(value.to_string());
                let command = match kind {
                    0 | 1 => Command::Put { key: key(), value: text() },
                    2 => Command::Incr { key: key() },
                    3 => Command::Append { key: key(), value: text() },
                    4 => Command::Delete { key: key() },
                    5 => Command::Add { key: key(), value: text() },
                    _ => Command::Get { key: key() },
                };
                // It happens at `now`, somewhere between its call and its return.
                now = now.max(free[client as usize]) + 1;
                let call = free[client as usize].max(now.saturating_sub(length));
                let reply = if command.is_read() {
                    store.read(&command)
                } else if luck < 4 {
                    Reply::Nil // Unknown, and it never happens.
                } else {
                    let OpNumber(op) = store.op().next();
                    let (op, client, command) = (OpNumber(op), ClientId::on(0), command.clone());
                    store.apply(LogEntry {
                        op,
                        client,
                        seq: Seq(op.0),
                        acked: Seq(0),
                        stamp: Stamp::default(),
                        command,
                    })
                };
                let reply = if luck == 59 { Reply::Integer(lie) } else { reply };
                let returned = now + length;
                free[client as usize] = returned + 1;
                history.push(op(client, seq, call, if luck < 8 { 0 } else { returned }, command, reply));
            }
            history
        })
    }

    /// Tries every order: slow and obviously right.
    fn brute_force(items: &[Item], state: State) -> bool {
        if items.iter().all(|item| item.end.is_none()) {
            return true;
        }
        let horizon = items.iter().filter_map(|item| item.end).min().unwrap_or(Time::NEVER);
        (0..items.len()).filter(|&i| items[i].call <= horizon).any(|i| {
            let SearchAction::One { act, .. } = items[i].action else { return false };
            let next = match items[i].answer {
                Some(answer) => act.admits(state, &answer),
                None => Some(act.effect(state)),
            };
            let rest: Vec<Item> = items.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, x)| x.clone()).collect();
            next.is_some_and(|next| brute_force(&rest, next))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn the_search_finds_what_brute_force_finds(history in histories()) {
            let mut sorted: Vec<&Operation> = history.iter().collect();
            in_order(&mut sorted);
            let items: Vec<Item> = sorted.iter().filter_map(|operation| item(operation, 0)).collect();
            let expected = brute_force(&items, State::Absent);
            match check(&history) {
                Verdict::Ok => prop_assert!(expected),
                Verdict::Failed(contradiction) => {
                    prop_assert!(!expected);
                    prop_assert!(!contradiction.window.is_empty());
                }
                Verdict::Unknown => prop_assert!(false, "too many steps"),
            }
        }
    }

    fn window(history: &[Operation]) -> Vec<u64> {
        match check(history) {
            Verdict::Failed(contradiction) => contradiction.window.iter().map(|operation| operation.seq.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stale_read_is_found_and_shown_alone() {
        let history = [
            op(0, 1, 1, 2, put("a"), Reply::Ok),
            op(0, 2, 3, 4, put("b"), Reply::Ok),
            op(0, 3, 5, 6, get(), value("b")),
            op(1, 4, 7, 8, get(), value("a")),
            op(1, 5, 9, 10, get(), value("a")),
        ];
        assert_eq!(window(&history), [3, 4]);
        assert_eq!(check(&history[..3]), Verdict::Ok);
    }

    #[test]
    fn concurrent_operations_may_be_in_either_order() {
        for seen in ["a", "b"] {
            let history = [
                op(0, 1, 1, 10, put("a"), Reply::Ok),
                op(1, 1, 2, 9, put("b"), Reply::Ok),
                op(2, 1, 11, 12, get(), value(seen)),
            ];
            assert_eq!(check(&history), Verdict::Ok, "{seen}");
        }
    }

    #[test]
    fn two_reads_may_not_go_back_in_time() {
        let history = [
            op(0, 1, 1, 20, put("a"), Reply::Ok),
            op(1, 2, 2, 3, get(), value("a")),
            op(1, 3, 4, 5, get(), Reply::Nil),
        ];
        assert_eq!(window(&history), [1, 2, 3]);
    }

    #[test]
    fn an_unknown_write_may_have_happened_late_or_never() {
        let unknown = op(0, 1, 1, 0, put("a"), Reply::Ok);
        let nil = op(1, 1, 5, 6, get(), Reply::Nil);
        let late = op(1, 2, 7, 8, get(), value("a"));
        assert_eq!(check(&[unknown.clone(), nil.clone()]), Verdict::Ok);
        assert_eq!(check(&[unknown.clone(), nil.clone(), late.clone()]), Verdict::Ok);
        let again = op(1, 3, 9, 10, get(), Reply::Nil);
        assert!(matches!(check(&[unknown, nil, late, again]), Verdict::Failed(_)));
    }

    #[test]
    fn an_effect_applied_twice_is_found() {
        assert_eq!(check(&[incr(1, 1, 2, 1), incr(2, 3, 4, 2)]), Verdict::Ok);
        assert_eq!(window(&[incr(1, 1, 2, 1), incr(2, 3, 4, 2), incr(3, 5, 6, 4)]), [2, 3]);
    }

    #[test]
    fn count_and_keys_look_at_all_keys() {
        let other = Command::Put { key: "y".into(), value: "1".into() };
        let keys = Command::Keys { pattern: "*".into() };
        let ok = [
            op(0, 1, 1, 2, put("a"), Reply::Ok),
            op(0, 2, 3, 4, other, Reply::Ok),
            op(1, 1, 5, 6, Command::Count, Reply::Integer(2)),
            op(1, 2, 7, 8, keys, Reply::Keys(["x", "y"].iter().collect())),
        ];
        assert_eq!(check(&ok), Verdict::Ok);
        for (at, lie) in [
            (2, Reply::Integer(1)),
            (3, Reply::Keys(["x"].iter().collect())),
            (3, Reply::Keys(["x", "y", "z"].iter().collect())),
        ] {
            let mut wrong = ok.clone();
            wrong[at].outcome = Outcome::Done(lie);
            assert!(matches!(check(&wrong), Verdict::Failed(_)), "{:?}", wrong[at]);
        }
    }

    #[test]
    fn a_long_history_with_wide_windows_is_judged_quickly() {
        let mut history = Vec::new();
        for n in 0..100_000_u64 {
            let command = if n % 3 == 0 { put(&n.to_string()) } else { get() };
            let reply = if n % 3 == 0 { Reply::Ok } else { value(&(n - n % 3).to_string()) };
            // Sixty-four at a time, and they take effect in the middle.
            history.push(op((n % 64) as u32, n, n * 10, n * 10 + 640, command, reply));
        }
        let begun = std::time::Instant::now();
        assert_eq!(check(&history), Verdict::Ok);
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}
