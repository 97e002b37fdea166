//! The checker's question asked continuously: is everything explained so far?
//!
//! A key is judged whenever it is quiet: everything called on it has returned, so whatever comes later
//! comes after. Then only the states that the key can be in are remembered, and the operations are
//! forgotten. An operation with unknown outcome stays with the key, because it may still take effect. So does what was
//! running, when a key that holds anything but a string of its own is not quiet for long.
//!
//! Keys that one operation touches (an `EXEC`, an `MSET`, an `LMOVE`) are judged together, on one track, until all
//! of them are quiet and it is certain what each of them is; then each is judged by itself again. What empties a
//! database is told to every track.
//!
//! # Caveats
//!
//! Cost and memory are bounded. Keys that are never quiet (unless what is running can have happened in few ways), or
//! that expire or are unknown in too many ways at once, are given up: [`MonitorStanding::Partly`]. When there are too
//! many keys, those that are quiet are forgotten; a string is learnt anew from what is read of it, and what holds
//! anything else is given up when it is met again. So is a long string that was put together by `APPEND` and not read
//! since, once something is done to it that is not about strings alone, and so are the keys of an `EXEC` with a
//! `FLUSHALL` in it.
//!
//! What looks at all keys (`KEYS`, `COUNT`, `SCAN`, `RANDOMKEY`) is not judged here; `KEYS` and `COUNT` are by
//! [`check()`](fn@super::check), where there is nothing but strings. Neither is which members a scan or a choice by
//! chance finds, when exactly a key expires, that a `WATCH` was right to let an `EXEC` happen, and that a `FLUSHALL`
//! emptied all keys at the same moment.

use super::Operation;
use super::linear::Contradiction;
use super::model::State;
use super::stored::{self, StoredKey};
use super::track::{self, Track};
use crate::core::protocol::Time;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;

/// The most keys that are watched; then all that are quiet are forgotten, and watching begins again.
const KEYS_MAX: usize = 65_536;
/// The most bytes of what they hold and of what was done to them; then likewise.
const BYTES_MAX: usize = 128 << 20;
/// The most keys of which it is known that they were forgotten.
const FORGOTTEN_MAX: usize = 1 << 20;
/// The most keys that are judged together.
const KEYS_TOGETHER_MAX: usize = 4_096;
/// The most tracks judged in one call of [`Monitor::settle`].
const TRACKS_PER_CALL_MAX: usize = 256;
/// Keys that are not quiet are judged when this many operations wait.
const PATIENCE: usize = 64;
/// The most unknown outcomes of what empties a database.
const UNKNOWN_FLUSHES_MAX: usize = 8;

/// What the monitor can say at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MonitorStanding {
    /// Everything that has returned is explained.
    Ok,
    /// Nothing contradicts, but some operations could not be judged: this many.
    Partly(u64),
    /// Something cannot be explained.
    Failed(Box<Contradiction>),
}

/// Judges operations as they are completed.
#[derive(Debug)]
pub struct Monitor {
    epoch: u32,
    /// On which track a key is judged; `None`: it was given up.
    places: HashMap<StoredKey, Option<u64>>,
    tracks: HashMap<u64, Track>,
    next_track: u64,
    /// Tracks with operations that wait to be judged.
    due: VecDeque<u64>,
    /// What empties databases, and may overlap with operations on keys that were not seen yet.
    flushes: Vec<Operation>,
    /// What a key is that was never seen.
    unseen: State,
    /// Hashes of keys that were forgotten and are not gone: true for strings that do not expire, which can be learnt.
    forgotten: HashMap<u64, bool>,
    /// Keys that are not quiet are judged when this many operations wait.
    patience: usize,
    /// Keys that were never seen are given up.
    is_full: bool,
    bytes: usize,
    judged: u64,
    skipped: u64,
    failed: Option<Box<Contradiction>>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            epoch: 0,
            places: HashMap::new(),
            tracks: HashMap::new(),
            next_track: 0,
            due: VecDeque::new(),
            flushes: Vec::new(),
            unseen: State::Absent,
            forgotten: HashMap::new(),
            patience: PATIENCE,
            is_full: false,
            bytes: 0,
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
            self.begin(operation.epoch);
        }
        let is_flush = stored::touches_everything(&operation.command);
        if !is_flush && !track::tells(operation) {
            return;
        }
        if operation.epoch < self.epoch || self.failed.is_some() {
            self.skipped += 1;
            return;
        }
        if is_flush {
            self.flush(operation);
            return;
        }
        match self.track_of(&keys_of(operation), operation) {
            Some(track) => self.add(track, operation.clone()),
            None => self.skipped += 1,
        }
    }

    /// Judges what can be judged. Every operation that is still running was called at or after `running_since`.
    pub fn settle(&mut self, running_since: Time) {
        self.flushes.retain(|flush| flush.returned.is_none_or(|returned| returned >= running_since));
        for _ in 0..self.due.len().min(TRACKS_PER_CALL_MAX) {
            let Some(number) = self.due.pop_front() else { break };
            self.settle_track(number, running_since);
        }
        if self.bytes > BYTES_MAX {
            self.make_room();
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

    fn settle_track(&mut self, number: u64, running_since: Time) {
        let Some(track) = self.tracks.get_mut(&number) else { return };
        track.is_due = false;
        let (bytes, waiting) = (track.bytes(), track.waiting());
        match track.settle(running_since, self.patience) {
            Ok(judged) => {
                self.judged += judged;
                self.bytes = self.bytes + track.bytes() - bytes;
                self.queue_or_part(number);
            }
            Err(None) => {
                self.skipped += (waiting - track.waiting()) as u64;
                self.bytes = self.bytes + track.bytes() - bytes;
                self.give_up(number);
            }
            Err(Some(mut contradiction)) => {
                if let [(_, key)] = track.keys() {
                    contradiction.key = Some(key.clone());
                }
                self.failed.get_or_insert(contradiction);
            }
        }
    }

    /// What waits comes after the others; what does not may be judged key by key again.
    fn queue_or_part(&mut self, number: u64) {
        let Some(track) = self.tracks.get_mut(&number) else { return };
        if track.waiting() > 0 {
            track.is_due = true;
            self.due.push_back(number);
        } else if track.keys().len() > 1
            && let Some(track) = self.remove(number)
        {
            for track in track.part() {
                self.insert(track);
            }
        }
    }

    /// The one track of all these keys. `None` when they cannot be judged: if that changed something, never again.
    fn track_of(&mut self, keys: &[StoredKey], operation: &Operation) -> Option<u64> {
        let found = if track::is_open(operation) { None } else { self.joined(keys, operation) };
        if found.is_none() && !operation.command.is_read() {
            keys.iter().for_each(|key| self.give_up_key(key));
        }
        found
    }

    fn joined(&mut self, keys: &[StoredKey], operation: &Operation) -> Option<u64> {
        if keys.len() > KEYS_TOGETHER_MAX {
            return None;
        }
        let numbers: Option<BTreeSet<u64>> = keys.iter().map(|key| self.place(key)).collect();
        let mut numbers = numbers?;
        let is_plain = keys.len() == 1 && !track::needs_store(operation);
        if !is_plain && !self.can_join(&numbers) {
            return None;
        }
        let first = numbers.pop_first()?;
        if numbers.is_empty() {
            return Some(first);
        }
        let mut joined = self.remove(first)?;
        for number in numbers {
            joined.join(self.remove(number)?);
        }
        Some(self.insert(joined))
    }

    /// Whether these can be judged together, with the store.
    fn can_join(&mut self, numbers: &BTreeSet<u64>) -> bool {
        let (mut keys, mut states) = (0, 1_usize);
        for number in numbers {
            let Some(track) = self.tracks.get_mut(number) else { return false };
            let bytes = track.bytes();
            let Some(count) = track.use_store() else { return false };
            self.bytes = self.bytes + track.bytes() - bytes;
            keys += track.keys().len();
            states = states.saturating_mul(count);
        }
        keys <= KEYS_TOGETHER_MAX && states <= track::POSSIBLE_STATES_MAX
    }

    /// On which track a key is judged, if it is.
    fn place(&mut self, key: &StoredKey) -> Option<u64> {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        if self.places.len() >= KEYS_MAX {
            self.make_room();
        }
        let hash = self.places.hasher().hash_one(key);
        let state = match self.forgotten.remove(&hash) {
            _ if self.is_full => return None,
            None => self.unseen,
            Some(true) => State::Any,
            Some(false) => {
                self.places.insert(key.clone(), None);
                return None;
            }
        };
        let number = self.insert(Track::new(key.clone(), state));
        let flushes = self.flushes.iter().filter(|flush| stored::empties(&flush.command, key.0));
        let flushes: Vec<Operation> = flushes.map(|flush| stored::flush_on(flush, std::slice::from_ref(key))).collect();
        flushes.into_iter().for_each(|flush| self.add(number, flush));
        Some(number)
    }

    fn add(&mut self, number: u64, operation: Operation) {
        let Some(track) = self.tracks.get_mut(&number) else { return };
        let bytes = track.bytes();
        let is_bearable = track.push(operation);
        self.bytes = self.bytes + track.bytes() - bytes;
        if !is_bearable {
            self.give_up(number);
        } else if !std::mem::replace(&mut track.is_due, true) {
            self.due.push_back(number);
        }
    }

    /// Something empties databases, and every key is told. The keys that an `EXEC` names besides are given up.
    fn flush(&mut self, operation: &Operation) {
        let named = keys_of(operation);
        named.iter().for_each(|key| self.give_up_key(key));
        *(if named.is_empty() { &mut self.judged } else { &mut self.skipped }) += 1;
        let Some(flush) = stored::flush_of(operation) else { return };
        let emptied = self.tracks.iter().map(|(number, track)| (*number, stored::flush_on(&flush, track.keys())));
        let emptied: Vec<(u64, Operation)> = emptied.collect();
        emptied.into_iter().for_each(|(number, operation)| self.add(number, operation));
        self.flushes.push(flush);
        if self.flushes.iter().filter(|flush| flush.returned.is_none()).count() > UNKNOWN_FLUSHES_MAX {
            self.is_full = true;
            self.give_up_where(|_| true);
        }
    }

    fn insert(&mut self, track: Track) -> u64 {
        let number = self.next_track;
        self.next_track += 1;
        self.bytes += track.bytes();
        for key in track.keys() {
            self.places.insert(key.clone(), Some(number));
        }
        if track.is_due {
            self.due.push_back(number);
        }
        self.tracks.insert(number, track);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Track> {
        let track = self.tracks.remove(&number)?;
        self.bytes -= track.bytes();
        Some(track)
    }

    fn give_up(&mut self, number: u64) {
        let Some(track) = self.remove(number) else { return };
        self.skipped += track.waiting() as u64;
        for key in track.keys() {
            self.places.insert(key.clone(), None);
        }
    }

    fn give_up_key(&mut self, key: &StoredKey) {
        match self.places.get(key) {
            Some(Some(number)) => self.give_up(*number),
            Some(None) => {}
            None => _ = self.places.insert(key.clone(), None),
        }
    }

    fn give_up_where(&mut self, is_meant: impl Fn(&Track) -> bool) {
        let meant = self.tracks.iter().filter(|(_, track)| is_meant(track)).map(|(number, _)| *number);
        let meant: Vec<u64> = meant.collect();
        meant.into_iter().for_each(|number| self.give_up(number));
    }

    /// Keys that are quiet are forgotten: whatever comes later comes after what was done to them. If that is not
    /// enough, the others are given up, or those to come.
    fn make_room(&mut self) {
        let quiet = self.tracks.iter().filter(|(_, track)| track.is_quiet()).map(|(number, _)| *number);
        for number in quiet.collect::<Vec<u64>>() {
            self.forget(number);
        }
        if self.forgotten.len() > FORGOTTEN_MAX {
            self.is_full |= self.forgotten.values().any(|is_text| !is_text);
            self.unseen = State::Any;
            self.forgotten.clear();
        }
        if self.bytes > BYTES_MAX {
            self.give_up_where(|_| true);
        }
        self.is_full |= self.places.len() >= KEYS_MAX;
    }

    fn forget(&mut self, number: u64) {
        let Some(track) = self.remove(number) else { return };
        for key in track.keys() {
            self.places.remove(key);
            if !track.is_gone() {
                self.forgotten.insert(self.places.hasher().hash_one(key), track.is_text());
            }
        }
    }

    /// After a `RESET` nothing before it counts.
    fn begin(&mut self, epoch: u32) {
        let waiting: usize = self.tracks.values().map(Track::waiting).sum();
        let (judged, skipped) = (self.judged, self.skipped + waiting as u64);
        let failed = self.failed.take();
        *self = Self { epoch, judged, skipped, failed, ..Self::default() };
    }
}

/// The keys of an operation, each once.
fn keys_of(operation: &Operation) -> Vec<StoredKey> {
    let mut keys = stored::places(&operation.command);
    if keys.len() > 1 {
        keys.sort_unstable();
        keys.dedup();
    }
    keys
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::linear::tests::{histories, incr};
    use super::super::{Verdict, check};
    use super::*;
    use crate::core::protocol::Outcome;
    use crate::core::store::{Bytes, ClientId, Command, LogEntry, Reply, Seq, Stamp, Store, StoreError, commands};
    use proptest::prelude::*;

    fn command(line: &str) -> Command {
        let parse = |part: &str| commands::parse(&part.split(' ').map(Bytes::from).collect::<Vec<_>>());
        let parts: Vec<Command> = line.split("; ").map(|part| parse(part).expect("a command")).collect();
        match <[Command; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => Command::multi(parts, Vec::new()),
        }
    }

    /// What a single store answers, with a clock and chance that move.
    #[derive(Default)]
    struct Servers(Store);

    impl Servers {
        fn carry_out(&mut self, command: &Command, time: u64) -> Reply {
            let keys = stored::places(command);
            let past: Vec<StoredKey> =
                self.0.past_their_time(time).into_iter().filter(|key| keys.contains(key)).collect();
            self.write(Command::Expire(past.into()), time);
            let stamp = Stamp { time, seed: time };
            if command.is_read() { self.0.read_at(command, stamp) } else { self.write(command.clone(), time) }
        }

        fn write(&mut self, command: Command, time: u64) -> Reply {
            let op = self.0.op().next();
            let (client, stamp) = (ClientId::PRIMARY, Stamp { time, seed: time });
            self.0.apply(LogEntry { op, client, seq: Seq(op.0), acked: Seq(0), stamp, command })
        }
    }

    /// The monitor after a history, told in the order of the answers; it is asked to settle after each.
    fn judged(history: &[Operation]) -> Monitor {
        judged_by(Monitor::default(), history)
    }

    fn judged_by(mut monitor: Monitor, history: &[Operation]) -> Monitor {
        let mut by_return = history.to_vec();
        by_return.sort_by_key(|operation| operation.returned.unwrap_or(operation.call));
        for (i, operation) in by_return.iter().enumerate() {
            monitor.push(operation);
            let running = by_return[i + 1..].iter().map(|later| later.call).min().unwrap_or(Time::NEVER);
            monitor.settle(running);
        }
        monitor.settle(Time::NEVER);
        monitor
    }

    /// One client after the other asks these lines, and is answered as a store would; `lie` changes the answers.
    fn story(lines: &[&str], mut lie: impl FnMut(usize, Reply) -> Reply) -> Vec<Operation> {
        let mut servers = Servers::default();
        let operation = |(at, line): (usize, &&str)| {
            let time = at as u64 * 10 + 10;
            let reply = lie(at, servers.carry_out(&command(line), time));
            Operation {
                client: ClientId::on(at as u32 % 3),
                seq: Seq(at as u64 + 1),
                epoch: 1,
                command: command(line),
                outcome: Outcome::Done(reply),
                call: Time(time),
                returned: Some(Time(time + 5)),
            }
        };
        lines.iter().enumerate().map(operation).collect()
    }

    /// What there is to do to a few keys of every kind.
    pub(in crate::check) const LINES: &[&str] = &[
        "RPUSH l a",
        "LPUSH l b c",
        "LPOP l",
        "RPOP l",
        "LRANGE l 0 -1",
        "LMOVE l m LEFT RIGHT",
        "LLEN m",
        "HSET h f 1",
        "HSET h g 2 f 3",
        "HINCRBY h f 2",
        "HDEL h f",
        "HGETALL h",
        "HGET h f",
        "SADD s a b",
        "SREM s a",
        "SPOP s",
        "SMEMBERS s",
        "SMOVE s r a",
        "SRANDMEMBER s",
        "ZADD z 1 a",
        "ZINCRBY z 2 a",
        "ZPOPMIN z",
        "ZRANGE z 0 -1 WITHSCORES",
        "SET k v",
        "SET k w PX 15",
        "GET k",
        "INCR k",
        "APPEND k 1",
        "DEL k",
        "DEL k h",
        "INCRBY n 2",
        "INCR n",
        "GET n",
        "MSET k 1 n 2",
        "MGET k n",
        "TTL k",
        "PEXPIRE h 20",
        "PEXPIRE k 30 GT",
        "PERSIST k",
        "EXPIRE l 0",
        "INCR n; RPUSH l x",
        "LPOP l; HINCRBY h f 1; GET n",
        "SPOP s; SCARD s",
        "TYPE k",
        "EXISTS k h l",
    ];
    const FLUSHES: &[&str] = &["FLUSHALL", "FLUSHDB", "FLUSHDB; FLUSHALL"];

    fn is_unknown(operation: &Operation) -> bool {
        operation.outcome == Outcome::Unknown
    }

    fn changed(reply: Reply, luck: i64) -> Reply {
        match reply {
            Reply::Integer(number) => Reply::Integer(number + 1 + luck),
            Reply::Value(_) => Reply::Nil,
            Reply::Nil => Reply::Value("b".into()),
            Reply::Array(mut items) if !items.is_empty() => {
                let last = items.pop().expect("there is one");
                items.push(changed(last, luck));
                Reply::Array(items)
            }
            Reply::Map(mut items) if !items.is_empty() => {
                items.pop();
                Reply::Map(items)
            }
            other => other,
        }
    }

    /// Short histories of a few clients on keys of every kind; in some of them there is an unknown outcome, a lie, or
    /// something that was lost or done twice.
    pub(in crate::check) fn histories_of_all_kinds(
        lines: Vec<&'static str>,
        most: usize,
    ) -> impl Strategy<Value = Vec<Operation>> {
        let step = (0..3_usize, prop::sample::select(lines), 1..12_u64, 0..100_u8, 0..3_i64);
        prop::collection::vec(step, 1..=most).prop_map(|steps| {
            let (mut servers, mut free, mut now, mut history) = (Servers::default(), [1_u64; 3], 1, Vec::new());
            for (seq, (client, line, length, luck, lie)) in (1..).zip(steps) {
                let command = command(line);
                now = now.max(free[client]) + 1;
                let call = free[client].max(now.saturating_sub(length));
                let mut carry_out = || servers.carry_out(&command, now);
                let reply = match luck {
                    0..3 => Reply::Nil, // Unknown, and it never happens.
                    97 => {
                        carry_out();
                        carry_out()
                    }
                    98 if !command.is_read() => Reply::Integer(lie),
                    99 => changed(carry_out(), lie),
                    _ => carry_out(),
                };
                let (returned, is_known) = (now + length, luck >= 6);
                free[client] = returned + 1;
                history.push(Operation {
                    client: ClientId::on(client as u32),
                    seq: Seq(seq),
                    epoch: 1,
                    command,
                    outcome: if is_known { Outcome::Done(reply) } else { Outcome::Unknown },
                    call: Time(call),
                    returned: is_known.then_some(Time(returned)),
                });
            }
            history
        })
    }

    /// The monitor and the checker say the same of a history; nothing is given up where all outcomes are known.
    fn agree_on_every_kind(monitor: &Monitor, history: &[Operation]) -> Result<(), TestCaseError> {
        match (monitor.standing(), check(history)) {
            (MonitorStanding::Ok, Verdict::Ok) | (MonitorStanding::Failed(_), Verdict::Failed(_)) => {}
            (MonitorStanding::Partly(_), _) if history.iter().any(is_unknown) => {}
            (MonitorStanding::Failed(_), Verdict::Unknown) if history.iter().any(track::is_open) => {}
            other => prop_assert!(false, "{:?}", other),
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Whatever the monitor says, the checker says of the whole history.
        #[test]
        fn the_monitor_agrees_with_the_checker(history in histories()) {
            match (judged(&history).standing(), check(&history)) {
                (MonitorStanding::Ok, Verdict::Ok)
                | (MonitorStanding::Failed(_), Verdict::Failed(_))
                | (MonitorStanding::Partly(_), _) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }

        /// So it is with values of every kind; and nothing is given up where all outcomes are known.
        #[test]
        fn they_agree_on_values_of_every_kind(history in histories_of_all_kinds(LINES.to_vec(), 14)) {
            agree_on_every_kind(&judged(&history), &history)?;
        }

        /// So it is when it does not wait for a quiet moment.
        #[test]
        fn they_agree_where_nothing_is_ever_quiet(
            history in histories_of_all_kinds(LINES.to_vec(), 14),
            patience in 1..6_usize,
        ) {
            agree_on_every_kind(&judged_by(Monitor { patience, ..Monitor::default() }, &history), &history)?;
        }

        /// What empties all keys is judged key by key, so less is found; but nothing is made up.
        #[test]
        fn a_flush_makes_no_contradiction(
            history in histories_of_all_kinds(LINES.iter().chain(FLUSHES).chain(FLUSHES).copied().collect(), 14)
        ) {
            let monitor = judged(&history);
            match (monitor.standing(), check(&history)) {
                (MonitorStanding::Failed(contradiction), Verdict::Ok) => prop_assert!(false, "{}", contradiction),
                (MonitorStanding::Partly(_), _) => prop_assert!(history.iter().any(is_unknown)),
                _ => {}
            }
        }
    }

    #[test]
    fn ordinary_use_of_every_kind_is_judged_and_a_wrong_answer_is_found() {
        let lines: Vec<&str> = LINES.iter().chain(FLUSHES).chain(LINES).copied().collect();
        let history = story(&lines, |_, reply| reply);
        let is_judged = |one: &&Operation| track::tells(one) || stored::touches_everything(&one.command);
        let (monitor, count) = (judged(&history), history.iter().filter(is_judged).count());
        assert_eq!((monitor.standing(), monitor.judged()), (MonitorStanding::Ok, count as u64));
        assert!(count + 2 >= lines.len(), "but that a condition did not hold, everything tells something");
        let nothing = Reply::Error(StoreError::OUT_OF_MEMORY);
        let wrong = |lines: &[&str], at: usize, answer: Reply| {
            let history = story(lines, |now, reply| if now == at { answer.clone() } else { reply });
            let MonitorStanding::Failed(contradiction) = judged(&history).standing() else {
                panic!("{lines:?} with {answer} is explained")
            };
            assert!(contradiction.window.contains(&history[at]), "{contradiction}");
            let refused = story(lines, |now, reply| if now == at { nothing.clone() } else { reply });
            assert!(!matches!(judged(&refused[..=at]).standing(), MonitorStanding::Failed(_)));
        };
        let n = Reply::Integer;
        wrong(&["RPUSH l a b", "LPOP l", "LPOP l"], 2, Reply::Value("a".into()));
        wrong(&["HINCRBY h f 1", "HINCRBY h f 1"], 1, n(1));
        wrong(&["LPUSH l a", "LLEN l"], 1, n(2));
        wrong(&["SADD s a", "SPOP s"], 1, Reply::Value("b".into()));
        wrong(&["ZADD z 1 a", "ZINCRBY z 1 a", "ZCARD z"], 2, n(0));
        wrong(&["SET k v EX 100", "TTL k", "GET k", "TTL k"], 3, n(-1));
        wrong(&["INCR n; RPUSH l x", "GET n"], 1, Reply::Nil);
        wrong(&["HSET h f 1", "FLUSHALL", "HGET h f"], 2, Reply::Value("1".into()));
        wrong(&["HSET h f 1", "GET h"], 1, Reply::Nil);
    }

    #[test]
    fn a_key_that_is_never_quiet_is_judged_while_it_is_busy() {
        let after = |wrong: u64| {
            let mut monitor = Monitor::default();
            for n in 1..=3_000_u64 {
                let answer = Outcome::Done(Reply::Integer(n as i64 - i64::from(n == wrong)));
                let one = incr(n, n * 10, n * 10 + 45, 0);
                let client = ClientId::on(n as u32 % 8);
                monitor.push(&Operation { client, command: command("HINCRBY h f 1"), outcome: answer, ..one });
                monitor.settle(Time((n * 10).saturating_sub(30)));
            }
            monitor
        };
        let monitor = after(0);
        assert_eq!(monitor.standing(), MonitorStanding::Ok);
        assert!(monitor.judged() > 2_900, "{} judged", monitor.judged());
        assert!(matches!(after(2_000).standing(), MonitorStanding::Failed(_)));
    }

    #[test]
    fn keys_that_were_together_are_apart_again() {
        let monitor = judged(&story(&["MSET a 1 b 2 c 3", "INCR a; INCR b", "GET c"], |_, reply| reply));
        assert_eq!((monitor.tracks.len(), monitor.standing()), (3, MonitorStanding::Ok));
        // Nobody knows which member is gone: this key is given up, and no other.
        let mut lost = story(&["SET c v", "SADD s a b c", "SPOP s 2", "SCARD s", "GET c"], |_, reply| reply);
        (lost[2].outcome, lost[2].returned) = (Outcome::Unknown, None);
        let mut monitor = judged(&lost[..0]);
        lost.drain(..).for_each(|operation| monitor.push(&operation));
        monitor.settle(Time::NEVER);
        assert_eq!(monitor.places.values().filter(|place| place.is_none()).count(), 1);
        assert!(matches!(monitor.standing(), MonitorStanding::Partly(2..=3)), "{:?}", monitor.standing());
    }

    #[test]
    fn when_there_are_too_many_keys_those_that_are_quiet_are_forgotten() {
        let mut monitor = Monitor::default();
        let put = Command::Put { key: "k".into(), value: "v".into() };
        let mut operation = Operation { command: put, ..incr(1, 1, 2, 1) };
        operation.outcome = Outcome::Done(Reply::Ok);
        for n in 0..KEYS_MAX as u64 + 10 {
            operation.command = Command::Put { key: format!("k{n}").into(), value: "v".into() };
            (operation.call, operation.returned) = (Time(n * 10), Some(Time(n * 10 + 5)));
            monitor.push(&operation);
            monitor.settle(Time(n * 10 + 6));
        }
        assert!(monitor.tracks.len() <= 10 && monitor.bytes < 10_000, "{} bytes", monitor.bytes);
        assert_eq!(monitor.standing(), MonitorStanding::Ok);
        let counted: usize = monitor.tracks.values().map(Track::bytes).sum();
        assert_eq!(monitor.bytes, counted);
        let mut again =
            story(&["SET k1 v", "GET k1", "SET new v EX 9", "HSET h f 1", "DEL h", "TTL new"], |_, reply| reply);
        let since = KEYS_MAX as u64 * 20;
        for operation in &mut again {
            operation.call = Time(operation.call.0 + since);
            operation.returned = operation.returned.map(|returned| Time(returned.0 + since));
        }
        let last = again.pop().expect("it asks when a key expires");
        for operation in again {
            monitor.push(&operation);
            monitor.settle(Time::NEVER);
        }
        assert_eq!(monitor.standing(), MonitorStanding::Ok, "what is new is not there, and a string is learnt");
        monitor.make_room();
        let ask = |command: &str, reply: Reply| Operation {
            command: super::tests::command(command),
            outcome: Outcome::Done(reply),
            ..last.clone()
        };
        monitor.push(&ask("HSET h f 1", Reply::Integer(1)));
        monitor.settle(Time::NEVER);
        assert_eq!(monitor.standing(), MonitorStanding::Ok, "it was gone when it was forgotten");
        monitor.push(&ask("GET new", Reply::Value("v".into())));
        monitor.push(&last);
        monitor.settle(Time::NEVER);
        assert_eq!(monitor.standing(), MonitorStanding::Partly(2), "nobody knows any more that it expires");
    }

    #[test]
    fn a_long_quiet_history_costs_no_memory() {
        let mut monitor = Monitor::default();
        for n in 1..=10_000_u64 {
            monitor.push(&incr(n, n * 10, n * 10 + 5, n as i64));
            monitor.settle(Time(n * 10 + 6));
        }
        assert_eq!((monitor.standing(), monitor.judged()), (MonitorStanding::Ok, 10_000));
        assert!(monitor.bytes < 10_000, "{} bytes", monitor.bytes);
    }
}
