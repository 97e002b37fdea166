//! The store itself: apply an operation, answer a read, digest.

use super::command::VALUE_BYTES_MAX;
use super::work::{KEY_UNITS, WRITE_UNITS, units_of};
use super::{Bytes, ClientId, Command, OpNumber, Reply, Scan, Seq, Sessions, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// One write with its place in the order of all writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place.
    pub op: OpNumber,
    /// Who asked.
    pub client: ClientId,
    /// The client's number of the request.
    pub seq: Seq,
    /// The client has the answers to all its requests up to this one.
    pub acked: Seq,
    /// What to do.
    pub command: Command,
}

/// A value and the write that put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The bytes.
    pub value: Bytes,
    /// The op number of the write that stored them.
    pub op: OpNumber,
}

/// The state that all members agree on, after `op` writes.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub(super) entries: BTreeMap<Bytes, Stored>,
    pub(super) sessions: Sessions,
    pub(super) op: OpNumber,
    /// Sum over all entries of [`entry_digest`]: kept up to date with every write, so comparing two
    /// stores of any size costs one comparison.
    pub(super) digest: u64,
    /// Keys changed since the list was last taken, at most `watch_max`; see [`Store::watch`].
    pub(super) changed: Vec<Bytes>,
    watch_max: usize,
    /// What was done so far, see [`Store::work`].
    work: u64,
}

/// The share of one entry in the digest of the store.
pub(super) fn entry_digest(key: &[u8], value: &[u8], op: OpNumber) -> u64 {
    xxh3_64_with_seed(value, xxh3_64_with_seed(key, op.0))
}

impl Store {
    /// How many writes have been applied.
    #[must_use]
    pub fn op(&self) -> OpNumber {
        self.op
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The client table.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A digest of all keys, values and op numbers (xxh3, summed over entries). O(1).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// [`Store::digest`] and the client table together: equal on any two servers with the same [`Store::op`].
    /// Costs time in the number of remembered answers: for checkers.
    ///
    /// # Panics
    /// Never: sessions can always be encoded.
    #[must_use]
    pub fn full_digest(&self) -> u64 {
        let mut hasher = Xxh3::with_seed(self.digest);
        hasher.update(&self.op.0.to_le_bytes());
        hasher.update(&postcard::to_stdvec(&self.sessions).expect("sessions can be encoded"));
        hasher.digest()
    }

    /// What all writes and all that was taken in so far have cost, in units of [`super::work`].
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work
    }

    /// What is stored under `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Stored> {
        self.entries.get(key)
    }

    /// All entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Stored)> {
        self.entries.iter()
    }

    /// Asks for the keys that writes change from now on, at most `max` of them until
    /// [`Store::take_changed_if_any`]. For the display: it costs a write one comparison when the list is full.
    pub fn watch(&mut self, max: usize) {
        self.watch_max = max;
    }

    /// What was asked for with [`Store::watch`].
    #[must_use]
    pub fn watching(&self) -> usize {
        self.watch_max
    }

    /// The keys changed since the last call (see [`Store::watch`]), oldest first, repeats included.
    pub fn take_changed_if_any(&mut self) -> Option<Vec<Bytes>> {
        (!self.changed.is_empty()).then(|| std::mem::take(&mut self.changed))
    }

    /// Gives back what [`Store::take_changed_if_any`] gave, for later.
    pub fn put_back_changed(&mut self, changed: Vec<Bytes>) {
        self.changed = changed;
    }

    /// Answers a read from this state. A `KEYS` looks at every key: see [`Scan`].
    ///
    /// # Panics
    /// When `command` is a write: a programming error.
    #[must_use]
    pub fn read(&self, command: &Command) -> Reply {
        match command {
            Command::Get { key } => {
                self.entries.get(key).map_or(Reply::Nil, |stored| Reply::Value(stored.value.clone()))
            }
            Command::Count => Reply::Integer(i64::try_from(self.entries.len()).expect("fewer keys than i64::MAX")),
            Command::Keys { pattern } => Scan::new(pattern).step(self, u64::MAX).1.expect("all keys were looked at"),
            Command::Call(call) if call.row().name == "version" => {
                let op = call.args.first().and_then(|key| self.entries.get(key)).map_or(0, |stored| stored.op.0);
                Reply::Integer(i64::try_from(op).expect("op numbers do not run out"))
            }
            write => panic!("{} is a write and needs a place in the log", write.name()),
        }
    }

    /// Applies the next write and remembers its answer. Consumes the entry: key and value move into
    /// the store without a copy.
    ///
    /// # Panics
    /// When `entry` is not the next in order, or is not a write: the callers' contract.
    pub fn apply(&mut self, entry: LogEntry) -> Reply {
        assert_eq!(entry.op, self.op.next(), "writes are applied in order, without gaps");
        self.op = entry.op;
        self.work += WRITE_UNITS;
        if let Some(key) = entry.command.key().filter(|_| self.changed.len() < self.watch_max) {
            self.changed.push(key.clone());
        }
        let reply = self.execute(entry.command);
        self.sessions.record(entry.client, entry.seq, entry.acked, reply.clone());
        reply
    }

    fn execute(&mut self, command: Command) -> Reply {
        match command {
            Command::Put { key, value } => {
                self.insert(key, value);
                Reply::Ok
            }
            Command::Add { key, .. } if self.entries.contains_key(&key) => Reply::Nil,
            Command::Update { key, .. } if !self.entries.contains_key(&key) => Reply::Nil,
            Command::Add { key, value } | Command::Update { key, value } => {
                self.insert(key, value);
                Reply::Ok
            }
            Command::Delete { key } => Reply::Integer(i64::from(self.remove(&key))),
            Command::Append { key, value } => self.append(key, &value),
            Command::Incr { key } => self.increment(key),
            Command::Call(_) => Reply::Error(StoreError::SYNTAX),
            Command::Multi(multi) => Reply::Array(multi.commands.into_iter().map(|c| self.execute(c)).collect()),
            read @ (Command::Get { .. } | Command::Keys { .. } | Command::Count) => {
                panic!("{} is a read and has no place in the log", read.name())
            }
        }
    }

    /// Forgets keys, as many as take about this much work; the store is good for nothing else any more. To let go of
    /// a large one at once would take its time. True when nothing is left.
    pub fn forget_some(&mut self, units: u64) -> bool {
        (0..units / KEY_UNITS).all(|_| self.entries.pop_first().is_some());
        self.entries.is_empty()
    }

    fn append(&mut self, key: Bytes, tail: &[u8]) -> Reply {
        let head: &[u8] = self.entries.get(&key).map_or(&[], |stored| &stored.value);
        let length = head.len() + tail.len();
        if length > VALUE_BYTES_MAX {
            return Reply::Error(StoreError::ValueTooLong(length as u64));
        }
        let value = Bytes::from([head, tail].concat());
        self.insert(key, value);
        Reply::Integer(i64::try_from(length).expect("bounded by VALUE_BYTES_MAX"))
    }

    fn increment(&mut self, key: Bytes) -> Reply {
        let current = match self.entries.get(&key) {
            None => 0,
            Some(stored) => match parse_integer(&stored.value) {
                Some(number) => number,
                None => return Reply::Error(StoreError::NotAnInteger),
            },
        };
        match current.checked_add(1) {
            Some(number) => {
                self.insert(key, number.to_string().into());
                Reply::Integer(number)
            }
            None => Reply::Error(StoreError::Overflow),
        }
    }

    fn insert(&mut self, key: Bytes, value: Bytes) {
        let op = self.op;
        self.insert_at(key, Stored { value, op });
    }

    pub(super) fn insert_at(&mut self, key: Bytes, stored: Stored) {
        self.digest = self.digest.wrapping_add(entry_digest(&key, &stored.value, stored.op));
        self.work += KEY_UNITS + units_of(stored.value.len());
        match self.entries.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(stored);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let old = std::mem::replace(place.get_mut(), stored);
                self.work += units_of(old.value.len());
                self.digest = self.digest.wrapping_sub(entry_digest(place.key(), &old.value, old.op));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        match self.entries.remove(key) {
            Some(old) => {
                self.work += units_of(old.value.len());
                self.digest = self.digest.wrapping_sub(entry_digest(key, &old.value, old.op));
                true
            }
            None => false,
        }
    }
}

/// A decimal 64-bit integer exactly as Rust and Redis print it: no sign `+`, no spaces, no leading zeros.
fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::KEYS_REPLY_BYTES_MAX;
    use super::*;

    /// Applies commands as client 0 and gives the answers as text.
    fn run(store: &mut Store, commands: impl IntoIterator<Item = Command>) -> Vec<String> {
        commands
            .into_iter()
            .map(|command| {
                if command.is_read() {
                    return store.read(&command).to_string();
                }
                let op = store.op().next();
                store
                    .apply(LogEntry { op, client: ClientId(0), seq: Seq(op.0), acked: Seq(op.0 - 1), command })
                    .to_string()
            })
            .collect()
    }

    fn put(key: &str, value: &str) -> Command {
        Command::Put { key: key.into(), value: value.into() }
    }
    fn get(key: &str) -> Command {
        Command::Get { key: key.into() }
    }
    fn incr(key: &str) -> Command {
        Command::Incr { key: key.into() }
    }

    #[test]
    fn every_command_answers_as_documented() {
        let mut store = Store::default();
        let key = || Bytes::from("k");
        let answers = run(
            &mut store,
            [
                get("k"),
                Command::Update { key: key(), value: "no".into() },
                Command::Add { key: key(), value: "1".into() },
                Command::Add { key: key(), value: "2".into() },
                Command::Update { key: key(), value: "9".into() },
                incr("k"),
                Command::Append { key: key(), value: "x".into() },
                incr("k"),
                Command::Count,
                Command::Keys { pattern: "*".into() },
                Command::Delete { key: key() },
                Command::Delete { key: key() },
                incr("fresh"),
                Command::Append { key: "new".into(), value: "abc".into() },
            ],
        );
        let expected = [
            "(nil)",
            "(nil)",
            "OK",
            "(nil)",
            "OK",
            "10",
            "3",
            "(error) value is not a 64-bit integer: PUT a number first, or DELETE the key",
            "1",
            "k",
            "1",
            "0",
            "1",
            "3",
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn increment_refuses_what_is_not_a_canonical_number() {
        for bad in ["", " 1", "+1", "01", "-0", "1.0", "9223372036854775808"] {
            let mut store = Store::default();
            let answers = run(&mut store, [put("n", bad), incr("n"), get("n")]);
            assert!(answers[1].starts_with("(error) value is not"), "{bad:?} gave {}", answers[1]);
            assert_eq!(answers[2], bad);
        }
        let mut store = Store::default();
        let answers = run(&mut store, [put("n", "9223372036854775807"), incr("n"), put("m", "-1"), incr("m")]);
        assert!(answers[1].starts_with("(error) the number would pass"));
        assert_eq!(answers[3], "0");
    }

    #[test]
    fn an_append_beyond_the_limit_changes_nothing() {
        let mut store = Store::default();
        let big = "x".repeat(VALUE_BYTES_MAX);
        let answers = run(&mut store, [put("k", &big), Command::Append { key: "k".into(), value: "y".into() }]);
        assert!(answers[1].contains("at most 1048576 bytes"));
        assert_eq!(store.get(b"k").unwrap().value.len(), VALUE_BYTES_MAX);
    }

    #[test]
    fn globs_select_keys_by_bytes() {
        let mut store = Store::default();
        run(&mut store, ["user:1", "user:2", "user/3", "post:1", "*"].map(|k| put(k, "v")));
        let keys = |p: &str| store.read(&Command::Keys { pattern: p.into() }).to_string();
        assert_eq!(keys("user:*"), "user:1 user:2");
        assert_eq!(keys("user?[3]"), "user/3");
        assert_eq!(keys("*:1"), "post:1 user:1");
        assert_eq!(keys("\\*"), "*");
        assert_eq!(keys("*"), "* post:1 user/3 user:1 user:2");
        assert_eq!(keys("user[^:]*"), "user/3");
        assert_eq!(keys("["), "");
    }

    #[test]
    fn an_answer_has_so_many_keys() {
        let mut store = Store::default();
        let keys = KEYS_REPLY_BYTES_MAX / 64;
        run(&mut store, (0..keys).map(|number| put(&format!("{number:064}"), "")));
        let all = Command::Keys { pattern: "*".into() };
        assert!(matches!(store.read(&all), Reply::Keys(found) if found.len() == keys));
        run(&mut store, [put("k", "")]);
        assert_eq!(store.read(&all), Reply::Error(StoreError::TooManyKeys));
    }

    #[test]
    fn the_digest_depends_on_the_content_alone() {
        let (mut one, mut two) = (Store::default(), Store::default());
        run(&mut one, [put("a", "1"), put("b", "2")]);
        run(&mut two, [put("a", "1"), put("b", "3")]);
        assert_ne!(one.digest(), two.digest());
        run(&mut one, [Command::Delete { key: "a".into() }, Command::Delete { key: "b".into() }]);
        assert_eq!(one.digest(), Store::default().digest());
        assert_ne!(one.full_digest(), Store::default().full_digest());
    }

    #[test]
    fn the_keys_that_change_are_told_in_order_and_not_too_many() {
        let mut store = Store::default();
        assert!(store.is_empty());
        run(&mut store, [put("unseen", "1")]);
        assert_eq!((store.is_empty(), store.take_changed_if_any()), (false, None));
        store.watch(3);
        assert_eq!(store.watching(), 3);
        run(&mut store, [put("b", "1"), put("a", "1"), Command::Delete { key: "b".into() }, put("c", "1")]);
        let changed = vec![Bytes::from("b"), "a".into(), "b".into()];
        assert_eq!(store.take_changed_if_any(), Some(changed.clone()));
        store.put_back_changed(changed.clone());
        assert_eq!((store.take_changed_if_any(), store.take_changed_if_any()), (Some(changed), None));
    }

    #[test]
    #[should_panic(expected = "in order")]
    fn a_gap_in_the_log_is_a_programming_error() {
        let mut store = Store::default();
        let entry =
            LogEntry { op: OpNumber(2), client: ClientId(0), seq: Seq(1), acked: Seq(0), command: put("a", "1") };
        store.apply(entry);
    }
}
