//! Operations on values of every kind: judged with the store itself.
//!
//! A string has a model that is tried millions of times a second ([`super::model`]). A list, a set, a hash, a sorted
//! set and what an `EXEC` does to several of them at once are judged by the code that carries them out: from the state
//! that was reached so far, every operation that may come next is applied to a copy of the store, and what it answers
//! is compared. Keys that one operation touches together are judged together.
//!
//! # Caveats
//!
//! What chance decided is taken from the answer ([`super::settled`]). When a key expires the clocks of the servers
//! decide: the checker lets it go at any moment. That a `WATCH` was right to let an `EXEC` happen is not judged, and
//! neither is a history that is too entangled ([`Verdict::Unknown`]).

use super::Operation;
use super::linear::{Contradiction, Verdict};
use super::search::SearchEnd;
use super::settled::{Settled, settle};
use super::stored_search::StoredSearch;
use crate::core::protocol::Outcome;
use crate::core::store::{Bytes, Call, Command, Db, Reply, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// More operations on keys that belong together are not judged.
const OPERATIONS_MAX: usize = 1_000;
/// The most steps of one judgement.
const STEPS_MAX: u64 = 100_000;
/// The operations shown of a contradiction: the last of them.
pub(super) const SHOWN_MAX: usize = 16;

/// Where a key is.
pub(super) type StoredKey = (Db, Bytes);

/// The keys of an operation. What an `EXEC` watched is not among them: that it was right to happen is not judged.
pub(super) fn places(command: &Command) -> Vec<StoredKey> {
    match command {
        Command::Call(call) => {
            let mut places: Vec<StoredKey> = call.keys().map(|key| (call.db, key.clone())).collect();
            places.extend(elsewhere(call));
            places
        }
        Command::Multi(multi) => multi.commands.iter().flat_map(places).collect(),
        Command::Expire(keys) => keys.to_vec(),
        other => other.key().map(|key| (Db::default(), key.clone())).into_iter().collect(),
    }
}

/// The key that a `MOVE` or a `COPY` writes in another database.
fn elsewhere(call: &Call) -> Option<StoredKey> {
    let number = match (call.row().name, &*call.args) {
        ("move", [_, number]) => number,
        ("copy", [_, _, options @ ..]) => &options.windows(2).find(|option| option[0].eq_ignore_ascii_case(b"DB"))?[1],
        _ => return None,
    };
    let db = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).and_then(Db::new)?;
    let key = if call.row().name == "move" { call.args.first() } else { call.args.get(1) };
    key.map(|key| (db, key.clone()))
}

/// What the model of a string cannot judge.
pub(super) fn is_foreign(command: &Command) -> bool {
    matches!(command, Command::Call(_) | Command::Multi(_))
}

/// True for what looks at keys that it does not name, such as a `KEYS` or a `SCAN`.
pub(super) fn looks_at_all(command: &Command) -> bool {
    match command {
        Command::Keys { .. } | Command::Count => true,
        Command::Call(call) => call.row().is_read() && call.keys().next().is_none(),
        _ => false,
    }
}

/// True for what changes keys that it does not name, such as a `FLUSHALL`.
pub(super) fn touches_everything(command: &Command) -> bool {
    match command {
        Command::Call(call) => matches!(call.row().name, "flushall" | "flushdb"),
        Command::Multi(multi) => multi.commands.iter().any(touches_everything),
        _ => false,
    }
}

/// True when it empties this database.
pub(super) fn empties(command: &Command, db: Db) -> bool {
    match command {
        Command::Call(call) => touches_everything(command) && (call.row().name == "flushall" || call.db == db),
        Command::Multi(multi) => multi.commands.iter().any(|part| empties(part, db)),
        _ => false,
    }
}

/// What an operation that empties databases did, or may have done, to keys that it does not name; `None` if it was not
/// carried out.
pub(super) fn flush_of(operation: &Operation) -> Option<Operation> {
    let outcome = match &operation.outcome {
        Outcome::Unknown | Outcome::Done(Reply::Error(StoreError::AnswerForgotten)) => Outcome::Unknown,
        Outcome::Done(Reply::Ok | Reply::Array(_)) => Outcome::Done(Reply::Ok),
        Outcome::Done(_) => return None,
    };
    let returned = operation.returned.filter(|_| outcome != Outcome::Unknown);
    Some(Operation { outcome, returned, ..operation.clone() })
}

/// What such a flush did to these keys, as an operation on them alone. [`flushed`] and [`flush_itself`] know it again.
pub(super) fn flush_on(flush: &Operation, keys: &[StoredKey]) -> Operation {
    let emptied: Vec<StoredKey> = keys.iter().filter(|(db, _)| empties(&flush.command, *db)).cloned().collect();
    let command = Command::multi(vec![flush.command.clone(), Command::Expire(emptied.into())], Vec::new());
    Operation { command, ..flush.clone() }
}

/// The keys that a flush took away, as [`flush_on`] says it. Clients do not ask for this.
pub(super) fn flushed(command: &Command) -> Option<&[StoredKey]> {
    let Command::Multi(multi) = command else { return None };
    match &*multi.commands {
        [_, Command::Expire(keys)] => Some(keys),
        _ => None,
    }
}

/// When both are the same flush, on other keys: then `own` is on all of them.
pub(super) fn join_flushes(own: &mut Operation, other: &Operation) -> bool {
    let keys = match (flushed(&own.command), flushed(&other.command)) {
        (Some(keys), Some(more)) if (own.client, own.seq) == (other.client, other.seq) => [keys, more].concat(),
        _ => return false,
    };
    if let Command::Multi(multi) = &mut own.command {
        multi.commands[1] = Command::Expire(keys.into());
    }
    true
}

/// What the client asked for.
pub(super) fn flush_itself(operation: Operation) -> Operation {
    match &operation.command {
        Command::Multi(multi) if flushed(&operation.command).is_some() => {
            Operation { command: multi.commands[0].clone(), ..operation }
        }
        _ => operation,
    }
}

/// The keys that are touched by what the model of a string cannot judge, each with a name for those that belong
/// together.
pub(super) fn entangled(operations: &[&Operation]) -> BTreeMap<StoredKey, usize> {
    let mut names: BTreeMap<StoredKey, usize> = BTreeMap::new();
    for (at, operation) in operations.iter().enumerate().filter(|(_, operation)| is_foreign(&operation.command)) {
        let places = places(&operation.command);
        let joined: BTreeSet<usize> = places.iter().filter_map(|place| names.get(place).copied()).collect();
        names.values_mut().filter(|name| joined.contains(name)).for_each(|name| *name = at);
        names.extend(places.into_iter().map(|place| (place, at)));
    }
    names
}

/// Whether some order of these operations explains their answers.
pub(super) fn judge(operations: &[&Operation]) -> Verdict {
    let mut items = Vec::new();
    for operation in operations {
        match settle(operation) {
            Settled::Item(item) => items.push(item),
            Settled::Nothing => {}
            Settled::Open => return Verdict::Unknown,
        }
    }
    if items.len() > OPERATIONS_MAX {
        return Verdict::Unknown;
    }
    items.sort_by_key(|item| (item.operation.call, item.operation.client, item.operation.seq));
    let mut search = StoredSearch::new(&items);
    match search.run(Store::default(), STEPS_MAX, &mut |_, _| true) {
        SearchEnd::Order => Verdict::Ok,
        SearchEnd::GaveUp => Verdict::Unknown,
        SearchEnd::Stuck => {
            let end = (search.best() + 1).min(items.len());
            let window = items[end.saturating_sub(SHOWN_MAX)..end].iter().map(|item| item.operation.clone());
            Verdict::Failed(Box::new(Contradiction { key: None, window: window.collect() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;
    use crate::core::protocol::Time;
    use crate::core::store::{ClientId, Seq, commands};

    /// Operations as `call..end line -> answer`, one client each.
    fn history(lines: &[(u64, u64, &str, Reply)]) -> Vec<Operation> {
        let operation = |(at, (call, end, line, reply)): (usize, &(u64, u64, &str, Reply))| {
            let commands: Vec<Command> = line.split("; ").map(words).collect();
            let command = match <[Command; 1]>::try_from(commands) {
                Ok([command]) => command,
                Err(several) => Command::multi(several, Vec::new()),
            };
            let outcome = Outcome::Done(reply.clone());
            let (client, seq) = (ClientId::on(at as u32), Seq(1));
            Operation { client, seq, epoch: 1, command, outcome, call: Time(*call), returned: Some(Time(*end)) }
        };
        lines.iter().enumerate().map(operation).collect()
    }

    fn words(line: &str) -> Command {
        commands::parse(&line.split(' ').map(Bytes::from).collect::<Vec<_>>()).expect("a command")
    }

    fn text(value: &str) -> Reply {
        Reply::Value(value.into())
    }

    fn is_right(lines: &[(u64, u64, &str, Reply)]) -> bool {
        match check(&history(lines)) {
            Verdict::Ok => true,
            Verdict::Failed(_) => false,
            Verdict::Unknown => panic!("it gave up"),
        }
    }

    #[test]
    fn pushes_and_pops_have_an_order() {
        let n = Reply::Integer;
        assert!(is_right(&[(1, 2, "RPUSH l a b", n(2)), (3, 4, "LPOP l", text("a")), (5, 6, "RPOP l", text("b"))]));
        assert!(!is_right(&[(1, 2, "RPUSH l a b", n(2)), (3, 4, "LPOP l", text("b"))]));
        assert!(!is_right(&[(1, 2, "RPUSH l a", n(1)), (3, 4, "LPOP l", text("a")), (5, 6, "LPOP l", text("a"))]));
        // Those that overlap may have been either way round.
        assert!(is_right(&[(1, 9, "RPUSH l a", n(2)), (1, 9, "RPUSH l b", n(1)), (10, 11, "LPOP l", text("b"))]));
    }

    #[test]
    fn members_fields_and_scores_are_judged() {
        let n = Reply::Integer;
        let score = |score: f64| Reply::Double(crate::core::store::Double(score));
        assert!(is_right(&[(1, 2, "SADD s a b", n(2)), (3, 4, "SPOP s", text("b")), (5, 6, "SREM s a b", n(1))]));
        assert!(!is_right(&[(1, 2, "SADD s a b", n(2)), (3, 4, "SPOP s", text("c"))]));
        assert!(!is_right(&[(1, 2, "HINCRBY h f 1", n(1)), (3, 4, "HINCRBY h f 1", n(1))]));
        assert!(is_right(&[
            (1, 9, "HINCRBY h f 1", n(2)),
            (1, 9, "HINCRBY h f 1", n(1)),
            (10, 11, "HGET h f", text("2"))
        ]));
        assert!(!is_right(&[(1, 2, "ZINCRBY z 1.5 m", score(1.5)), (3, 4, "ZSCORE z m", score(3.0))]));
    }

    #[test]
    fn a_key_may_expire_but_not_come_back() {
        let n = Reply::Integer;
        let set = (1, 2, "SET k v PX 10", Reply::Ok);
        assert!(is_right(&[set.clone(), (3, 4, "GET k", text("v")), (5, 6, "GET k", Reply::Nil)]));
        assert!(!is_right(&[set.clone(), (3, 4, "GET k", Reply::Nil), (5, 6, "GET k", text("v"))]));
        assert!(!is_right(&[(1, 2, "SET k v", Reply::Ok), (3, 4, "GET k", Reply::Nil), (5, 6, "LLEN k", n(0))]));
    }

    #[test]
    fn an_exec_happens_at_one_moment() {
        let n = Reply::Integer;
        let both = (1, 2, "INCR a; RPUSH l x", Reply::Array(vec![n(1), n(1)]));
        assert!(is_right(&[both.clone(), (3, 4, "LLEN l", n(1)), (5, 6, "GET a", text("1"))]));
        assert!(!is_right(&[both.clone(), (3, 4, "LLEN l", n(1)), (5, 6, "GET a", Reply::Nil)]));
        let slow = (1, 9, "INCR a; RPUSH l x", Reply::Array(vec![n(1), n(1)]));
        assert!(!is_right(&[slow, (2, 3, "LLEN l", n(1)), (4, 5, "GET a", Reply::Nil)]), "half of it was seen");
    }

    #[test]
    fn chance_and_clocks_are_taken_from_the_answers_of_an_exec_as_well() {
        let n = Reply::Integer;
        let both = |first: Reply, second: Reply| Reply::Array(vec![first, second]);
        let add = (1, 2, "SADD s a b c", n(3));
        let pop = |member: &str| (3, 4, "SPOP s; SCARD s", both(text(member), n(2)));
        assert!(is_right(&[add.clone(), pop("b"), (5, 6, "SISMEMBER s b", n(0))]));
        assert!(!is_right(&[add.clone(), pop("b"), (5, 6, "SISMEMBER s b", n(1))]));
        assert!(!is_right(&[add, pop("d")]));
        let set = (1, 2, "SET k v PX 10; PTTL k", both(Reply::Ok, n(9)));
        assert!(is_right(&[set.clone(), (3, 4, "TTL k", n(1)), (5, 6, "TTL k", n(-2))]));
        assert!(!is_right(&[set, (3, 4, "TTL k", n(-1))]), "it was said to expire");
        assert!(!is_right(&[(1, 2, "SET k v", Reply::Ok), (3, 4, "TTL k", n(5))]), "it never does");
    }

    #[test]
    fn a_condition_that_depends_on_clocks_may_hold_or_not() {
        let n = Reply::Integer;
        let set = (1, 2, "SET k v PX 10000", Reply::Ok);
        for answer in [0, 1] {
            let shorter = (3, 4, "PEXPIRE k 5000 GT", n(answer));
            assert!(is_right(&[set.clone(), shorter, (5, 6, "GET k", text("v"))]));
        }
        assert!(!is_right(&[(1, 2, "SET k v", Reply::Ok), (3, 4, "EXPIRE k 9 GT", n(1))]), "never is later");
        let wrong = Reply::Error(StoreError::WRONG_TYPE);
        assert!(is_right(&[(1, 2, "HSET h f v", n(1)), (3, 4, "SPOP h", wrong)]));
    }

    #[test]
    fn what_is_moved_is_found_in_the_other_database() {
        let n = Reply::Integer;
        let push = (1, 2, "RPUSH l a", n(1));
        let in_the_other = |line: &str| {
            let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
            commands::parse_in(Db::new(1).expect("there are more"), &words).expect("a command")
        };
        for (line, left) in [("MOVE l 1", 0), ("COPY l l DB 1", 1)] {
            let mut all =
                history(&[push.clone(), (3, 4, line, n(1)), (5, 6, "LLEN l", n(left)), (7, 8, "LLEN l", n(1))]);
            all[3].command = in_the_other("LLEN l");
            assert_eq!(check(&all), Verdict::Ok, "{line}");
            all[3].outcome = Outcome::Done(n(0));
            assert!(matches!(check(&all), Verdict::Failed(_)), "{line}");
        }
    }
}
