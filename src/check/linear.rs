//! The linearizability checker.
//!
//! A history is linearizable when every operation can be given one instant between its call and its
//! return, such that a single store doing them in that order gives the answers that were seen (Herlihy
//! and Wing, 1990). The search is that of Wing and Gong (1993) with Lowe's memoisation (2017): walk the
//! history, try each operation that could come next, remember which (set of operations done, state)
//! have been tried. Operations on different keys do not influence each other, so every key is
//! checked alone (locality); `KEYS` and `COUNT` look at all keys, and a history with them is checked whole.
//!
//! An operation with unknown outcome may have happened at any time after its call, or never: it may be
//! put at the very end, where its effect is seen by nobody.
//!
//! # Caveats
//!
//! The problem is NP-complete. The search gives up after a number of steps and says
//! [`Verdict::Unknown`]; with few concurrent operations a key it never comes near it.

use super::Operation;
use crate::protocol::{Outcome, Time};
use crate::store::{Bytes, ClientId, Command, LogEntry, OpNumber, Reply, Seq, Store};
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};

/// The search gives up after this many steps a partition.
pub const STEPS_MAX: u64 = 2_000_000;

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
    /// The operations around the point where the search got stuck, in the order of their calls.
    pub window: Vec<Operation>,
}

/// The most operations shown of a contradiction.
const WINDOW_OPERATIONS_MAX: usize = 12;

/// Judges a history. The order of `operations` does not matter.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    let mut partitions: BTreeMap<(u32, Option<&Bytes>), Vec<&Operation>> = BTreeMap::new();
    let whole: HashSet<u32> = operations.iter().filter(|op| op.command.key().is_none()).map(|op| op.epoch).collect();
    for operation in operations {
        let key = operation.command.key().filter(|_| !whole.contains(&operation.epoch));
        partitions.entry((operation.epoch, key)).or_default().push(operation);
    }
    let mut verdict = Verdict::Ok;
    for ((_, key), operations) in partitions {
        match check_partition(operations) {
            Ok(true) => {}
            Ok(false) => verdict = Verdict::Unknown,
            Err(window) => {
                let window = window.into_iter().cloned().collect();
                return Verdict::Failed(Box::new(Contradiction { key: key.cloned(), window }));
            }
        }
    }
    verdict
}

/// The state of a partition: small, compared and hashed by content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
enum State {
    #[default]
    Nothing,
    One(Bytes),
    Many(BTreeMap<Bytes, Bytes>),
}

/// Does one command on a state, by the very code that the servers run.
fn step(state: &State, command: &Command) -> (State, Reply) {
    let mut store = Store::default();
    let mut seed = |key: Bytes, value: Bytes| {
        let op = store.op().next();
        let command = Command::Put { key, value };
        store.apply(LogEntry { op, client: ClientId(0), seq: Seq(op.0), acked: Seq(op.0 - 1), command });
    };
    match (state, command.key()) {
        (State::One(value), Some(key)) => seed(key.clone(), value.clone()),
        (State::Many(map), _) => map.iter().for_each(|(key, value)| seed(key.clone(), value.clone())),
        _ => {}
    }
    if command.is_read() {
        return (state.clone(), store.read(command));
    }
    let OpNumber(op) = store.op().next();
    let reply = store.apply(LogEntry {
        op: OpNumber(op),
        client: ClientId(0),
        seq: Seq(op),
        acked: Seq(0),
        command: command.clone(),
    });
    let entries: BTreeMap<Bytes, Bytes> = store.iter().map(|(k, s)| (k.clone(), s.value.clone())).collect();
    let state = match state {
        State::Many(_) => State::Many(entries),
        _ => entries.into_values().next().map_or(State::Nothing, State::One),
    };
    (state, reply)
}

/// `Ok(true)`: linearizable; `Ok(false)`: gave up; `Err`: where it got stuck.
fn check_partition(mut operations: Vec<&Operation>) -> Result<bool, Vec<&Operation>> {
    operations.sort_by_key(|op| (op.call, op.client, op.seq));
    let count = operations.len();
    let ends: Vec<Time> = operations.iter().map(|op| op.returned.unwrap_or(Time::NEVER)).collect();
    let many = operations.iter().any(|op| op.command.key().is_none());
    let mut state = if many { State::Many(BTreeMap::new()) } else { State::Nothing };

    let mut done = BitSet::new(count);
    let mut tried: HashSet<(u64, State)> = HashSet::new();
    // What was chosen at each depth, with the state before.
    let mut path: Vec<(usize, State)> = Vec::new();
    let mut candidate = 0;
    let mut first_open = 0;
    let mut deepest: (usize, usize) = (0, 0);
    let mut steps = 0_u64;
    // Everything with a known outcome must find its place; the others may stay at the end.
    let needed = operations.iter().filter(|op| op.returned.is_some()).count();
    let mut placed = 0;
    while placed < needed {
        steps += 1;
        if steps > STEPS_MAX {
            return Ok(false);
        }
        // Whatever is called after the earliest return of an open operation cannot come before it.
        let horizon = earliest_return(&ends, &operations, &done, first_open);
        let mut advanced = false;
        while candidate < count && operations[candidate].call <= horizon {
            if !done.contains(candidate) {
                let operation = operations[candidate];
                let (next, reply) = step(&state, &operation.command);
                let fits = match &operation.outcome {
                    Outcome::Done(seen) => *seen == reply,
                    Outcome::Unknown => next != state,
                };
                if fits {
                    done.insert(candidate);
                    if tried.insert((done.digest(), next.clone())) {
                        path.push((candidate, std::mem::replace(&mut state, next)));
                        placed += usize::from(operation.returned.is_some());
                        if placed > deepest.0 {
                            deepest = (placed, first_open);
                        }
                        while first_open < count && done.contains(first_open) {
                            first_open += 1;
                        }
                        candidate = first_open;
                        advanced = true;
                        break;
                    }
                    done.remove(candidate);
                }
            }
            candidate += 1;
        }
        if !advanced {
            let Some((undone, before)) = path.pop() else {
                let from = deepest.1.saturating_sub(2);
                return Err(operations.into_iter().skip(from).take(WINDOW_OPERATIONS_MAX).collect());
            };
            done.remove(undone);
            placed -= usize::from(operations[undone].returned.is_some());
            state = before;
            first_open = first_open.min(undone);
            candidate = undone + 1;
        }
    }
    Ok(true)
}

fn earliest_return(ends: &[Time], operations: &[&Operation], done: &BitSet, from: usize) -> Time {
    let mut earliest = Time::NEVER;
    for at in from..operations.len() {
        if operations[at].call > earliest {
            break;
        }
        if !done.contains(at) {
            earliest = earliest.min(ends[at]);
        }
    }
    earliest
}

/// A set of positions with a digest that is kept up to date.
struct BitSet {
    words: Vec<u64>,
    digest: u64,
}

impl BitSet {
    fn new(size: usize) -> Self {
        Self { words: vec![0; size.div_ceil(64)], digest: 0 }
    }

    fn contains(&self, at: usize) -> bool {
        self.words[at / 64] & (1 << (at % 64)) != 0
    }

    fn insert(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
        self.digest ^= Self::share(at);
    }

    fn remove(&mut self, at: usize) {
        self.words[at / 64] &= !(1 << (at % 64));
        self.digest ^= Self::share(at);
    }

    fn share(at: usize) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        at.hash(&mut hasher);
        hasher.finish()
    }

    fn digest(&self) -> u64 {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `at` in arbitrary ticks; `returned` 0 means unknown.
    fn op(client: u32, seq: u64, call: u64, returned: u64, command: Command, reply: Reply) -> Operation {
        let known = returned > 0;
        Operation {
            client: ClientId(client),
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

    #[test]
    fn a_stale_read_is_found() {
        let history = [
            op(0, 1, 1, 2, put("a"), Reply::Ok),
            op(0, 2, 3, 4, put("b"), Reply::Ok),
            op(1, 1, 5, 6, get(), value("a")),
        ];
        assert!(matches!(check(&history), Verdict::Failed(_)));
        assert_eq!(check(&history[..2]), Verdict::Ok);
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
            op(1, 1, 2, 3, get(), value("a")),
            op(1, 2, 4, 5, get(), Reply::Nil),
        ];
        assert!(matches!(check(&history), Verdict::Failed(_)));
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
        let incr = |c, s, from, to, n| op(c, s, from, to, Command::Incr { key: "x".into() }, Reply::Integer(n));
        assert_eq!(check(&[incr(0, 1, 1, 2, 1), incr(0, 2, 3, 4, 2)]), Verdict::Ok);
        assert!(matches!(check(&[incr(0, 1, 1, 2, 1), incr(0, 2, 3, 4, 3)]), Verdict::Failed(_)));
    }

    #[test]
    fn count_looks_at_all_keys() {
        let other = Command::Put { key: "y".into(), value: "1".into() };
        let ok = [
            op(0, 1, 1, 2, put("a"), Reply::Ok),
            op(0, 2, 3, 4, other, Reply::Ok),
            op(1, 1, 5, 6, Command::Count, Reply::Integer(2)),
        ];
        assert_eq!(check(&ok), Verdict::Ok);
        let mut wrong = ok;
        wrong[2].outcome = Outcome::Done(Reply::Integer(1));
        assert!(matches!(check(&wrong), Verdict::Failed(_)));
    }
}
