//! Operations on values of every kind: judged with the store itself.
//!
//! A string has a model that is tried millions of times a second ([`super::model`]). A list, a set, a hash, a sorted
//! set and what an `EXEC` does to several of them at once are judged by the code that carries them out: from the state
//! that was reached so far, every operation that may come next is applied to a copy of the store, and what it answers
//! is compared. Keys that one operation touches together are judged together.
//!
//! # Caveats
//!
//! What chance decided is taken from the answer: an `SPOP` is judged as the removal of what it returned. When a key
//! expires the clocks of the servers decide: the checker lets it go at any moment. That a `WATCH` was right to let an
//! `EXEC` happen is not judged, and neither is a history that is too entangled ([`Verdict::Unknown`]).

use super::Operation;
use super::linear::{Contradiction, Verdict};
use crate::core::protocol::{Outcome, Time};
use crate::core::store::{
    Bytes, ClientId, Command, Db, LogEntry, Multi, Reply, Seq, Stamp, Store, StoreError, commands,
};
use std::collections::{BTreeMap, BTreeSet};

/// More operations on keys that belong together are not judged.
const OPERATIONS_MAX: usize = 1_000;
/// The most steps of one judgement.
const STEPS_MAX: usize = 50_000;
/// The operations shown of a contradiction: the last of them.
const SHOWN_MAX: usize = 16;

/// Where a key is.
pub(super) type StoredKey = (Db, Bytes);

/// The keys of an operation, if it has to be judged here or beside what is.
pub(super) fn places(command: &Command) -> Vec<StoredKey> {
    match command {
        Command::Call(call) => call.keys().map(|key| (call.db, key.clone())).collect(),
        Command::Multi(multi) => {
            let Multi { commands, watched } = &**multi;
            let watched = watched.iter().map(|watched| (watched.db, watched.key.clone()));
            commands.iter().flat_map(places).chain(watched).collect()
        }
        Command::Expire(keys) => keys.to_vec(),
        other => other.key().map(|key| (Db::default(), key.clone())).into_iter().collect(),
    }
}

/// What the model of a string cannot judge.
pub(super) fn is_foreign(command: &Command) -> bool {
    matches!(command, Command::Call(_) | Command::Multi(_))
}

/// True for what changes keys that it does not name, such as a `FLUSHALL`.
pub(super) fn touches_everything(command: &Command) -> bool {
    match command {
        Command::Call(call) => !call.row().is_read() && call.keys().next().is_none(),
        Command::Multi(multi) => multi.commands.iter().any(touches_everything),
        _ => false,
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

/// What is asked of the store, and what it must answer.
struct StoredItem<'o> {
    operation: &'o Operation,
    command: Command,
    /// `None`: anything, or it never happened.
    expected: Option<Reply>,
}

/// An `SPOP` that returned members is the removal of these.
fn settled(operation: &Operation) -> Option<StoredItem<'_>> {
    if operation.command.check_limits().is_err() {
        return None;
    }
    let (command, expected) = match (&operation.command, &operation.outcome) {
        (command, Outcome::Unknown) if command.is_read() => return None,
        (command, Outcome::Unknown | Outcome::Done(Reply::Error(StoreError::AnswerForgotten))) => {
            (without_watches(command), None)
        }
        (Command::Multi(_), Outcome::Done(Reply::NilArray)) => return None,
        (_, Outcome::Done(Reply::Error(error))) if !is_of_the_store(error) => return None,
        (Command::Call(call), Outcome::Done(reply)) if call.row().name == "spop" => {
            let members: Vec<Bytes> = match reply {
                Reply::Value(member) => vec![member.clone()],
                Reply::Set(members) => members.iter().filter_map(value).collect(),
                _ => Vec::new(),
            };
            let count = i64::try_from(members.len()).ok()?;
            let mut words: Vec<Bytes> = vec!["srem".into(), call.args.first()?.clone()];
            words.extend(members);
            if count == 0 {
                words = vec!["scard".into(), call.args.first()?.clone()];
            }
            (commands::parse_in(call.db, &words).ok()?, Some(Reply::Integer(count)))
        }
        (command, Outcome::Done(reply)) => (without_watches(command), Some(reply.clone())),
    };
    Some(StoredItem { operation, command, expected })
}

/// What was watched is told by op numbers, which are others here.
fn without_watches(command: &Command) -> Command {
    match command {
        Command::Multi(multi) => Command::multi(multi.commands.clone(), Vec::new()),
        other => other.clone(),
    }
}

fn is_of_the_store(error: &StoreError) -> bool {
    matches!(error, StoreError::NotAnInteger | StoreError::Overflow | StoreError::ValueTooLong(_))
        || (matches!(error, StoreError::Redis(_)) && *error != StoreError::OUT_OF_MEMORY)
}

fn value(reply: &Reply) -> Option<Bytes> {
    if let Reply::Value(bytes) = reply { Some(bytes.clone()) } else { None }
}

/// Answers that depend on chance, on a clock, or on an order that has no meaning.
fn agree(command: &Command, found: &Reply, expected: &Reply) -> bool {
    let Command::Call(call) = command else { return found == expected };
    match call.row().name {
        "srandmember" | "hrandfield" | "zrandmember" | "ttl" | "pttl" | "object" | "version" => true,
        "scan" | "sscan" | "hscan" | "zscan" => true,
        _ => found == expected,
    }
}

/// Whether some order of these operations explains their answers.
pub(super) fn judge(operations: &[&Operation]) -> Verdict {
    let mut items: Vec<StoredItem<'_>> = operations.iter().filter_map(|operation| settled(operation)).collect();
    items.sort_by_key(|item| (item.operation.call, item.operation.client, item.operation.seq));
    // Of several members that may have been taken there are too many choices.
    let takes_several = |item: &StoredItem<'_>| {
        unknown_pop(item).is_some() && matches!(&item.command, Command::Call(call) if call.args.len() > 1)
    };
    if items.len() > OPERATIONS_MAX || items.iter().any(takes_several) {
        return Verdict::Unknown;
    }
    let mut search = StoredSearch { items: &items, seen: BTreeSet::new(), steps: 0, best: 0 };
    let mut done = vec![false; items.len()];
    match search.explain(&Store::default(), &mut done, 0) {
        Some(true) => Verdict::Ok,
        None => Verdict::Unknown,
        Some(false) => {
            let end = (search.best + 1).min(items.len());
            let window = items[end.saturating_sub(SHOWN_MAX)..end].iter().map(|item| item.operation.clone());
            Verdict::Failed(Box::new(Contradiction { key: None, window: window.collect() }))
        }
    }
}

/// The key of an `SPOP` of which nothing is known.
fn unknown_pop(item: &StoredItem<'_>) -> Option<StoredKey> {
    match &item.command {
        Command::Call(call) if item.expected.is_none() && call.row().name == "spop" => {
            Some((call.db, call.args.first()?.clone()))
        }
        _ => None,
    }
}

struct StoredSearch<'i, 'o> {
    items: &'i [StoredItem<'o>],
    /// States that led nowhere: what was done, and what the store was like.
    seen: BTreeSet<(Vec<bool>, u64)>,
    steps: usize,
    /// How many were explained at best.
    best: usize,
}

impl StoredSearch<'_, '_> {
    /// Whether the rest can be explained from here; `None` when that takes too long to find out.
    fn explain(&mut self, store: &Store, done: &mut Vec<bool>, count: usize) -> Option<bool> {
        self.best = self.best.max(count);
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        let left = |at: &usize| !done[*at];
        let must = (0..self.items.len()).filter(left).filter(|at| self.items[*at].expected.is_some());
        let returned = |at: usize| self.items[at].operation.returned.unwrap_or(Time::NEVER);
        let Some(first_end) = must.map(returned).min() else { return Some(true) };
        let content = store.content_digest();
        if !self.seen.insert((done.clone(), content)) {
            return Some(false);
        }
        let mut gave_up = false;
        let next: Vec<usize> =
            (0..self.items.len()).filter(left).filter(|at| self.items[*at].operation.call <= first_end).collect();
        for at in next {
            for command in self.ways(store, at) {
                let mut after = store.clone();
                if !self.apply(&mut after, at, command) {
                    continue;
                }
                done[at] = true;
                let found = self.explain(&after, done, count + 1);
                done[at] = false;
                match found {
                    Some(true) => return Some(true),
                    None => gave_up = true,
                    Some(false) => {}
                }
            }
        }
        // Nothing fits as things are: something may have expired meanwhile.
        for (db, key) in store.past_their_time(u64::MAX) {
            let mut after = store.clone();
            after.forget_key(db, &key);
            match self.explain(&after, done, count) {
                Some(true) => return Some(true),
                None => gave_up = true,
                Some(false) => {}
            }
        }
        if gave_up { None } else { Some(false) }
    }

    /// What it may have been: of an `SPOP` whose answer is unknown, the removal of any member.
    fn ways(&self, store: &Store, at: usize) -> Vec<Command> {
        let item = &self.items[at];
        let Some((db, key)) = unknown_pop(item) else { return vec![item.command.clone()] };
        let of = |name: &str, member: Option<Bytes>| {
            let words: Vec<Bytes> = [name.into(), key.clone()].into_iter().chain(member).collect();
            commands::parse_in(db, &words).ok()
        };
        let members = of("smembers", None).map(|members| store.read(&members));
        let Some(Reply::Set(members)) = members else { return Vec::new() };
        members.iter().filter_map(value).filter_map(|member| of("srem", Some(member))).collect()
    }

    /// Carries one out; false when it answers something else than it did.
    fn apply(&self, store: &mut Store, at: usize, command: Command) -> bool {
        let item = &self.items[at];
        let found = if command.is_read() {
            store.read(&command)
        } else {
            let op = store.op().next();
            let client = ClientId::PRIMARY;
            let entry = LogEntry { op, client, seq: Seq(op.0), acked: Seq(0), stamp: Stamp::default(), command };
            store.apply(entry)
        };
        item.expected.as_ref().is_none_or(|expected| agree(&item.command, &found, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

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
}
