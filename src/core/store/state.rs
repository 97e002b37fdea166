//! The store itself: apply an operation, answer a read, digest.

use super::commands::Run;
use super::entries::{Database, Stored, Touch};
use super::transaction::{StoreView, Transaction};
use super::value::Value;
use super::work::WRITE_UNITS;
use super::{Bytes, ClientId, Command, DATABASES, Db, Multi, OpNumber, Reply, Scan, Seq, Sessions, StoreError};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// The most keys that one log entry expires.
pub const EXPIRED_KEYS_MAX: usize = 128;

/// Milliseconds since the beginning of 1970.
pub type UnixMs = u64;

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
    /// When the primary took it in, and never before the entry before it.
    pub stamp: Stamp,
    /// What to do.
    pub command: Command,
}

/// What a command may know of the world: time and chance, both given by the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// The time.
    pub time: UnixMs,
    /// The chance.
    pub seed: u64,
}

/// The state that all members agree on, after `op` writes.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub(super) dbs: Box<[Database; DATABASES]>,
    pub(super) sessions: Sessions,
    pub(super) op: OpNumber,
    /// That of the newest entry.
    pub(super) time: UnixMs,
    /// Keys changed since the list was last taken, at most `watch_max`; see [`Store::watch`].
    pub(super) changed: Vec<Bytes>,
    watch_max: usize,
    /// What was done so far, see [`Store::work`].
    pub(super) work: u64,
    /// What was touched, while somebody wants to know.
    pub(super) touched: Option<Vec<Touch>>,
    /// Large values that were removed, to be let go of slowly …
    pub(super) rubbish: Vec<Value>,
    /// … and databases.
    pub(super) flushed: Vec<Database>,
}

impl Store {
    /// How many writes have been applied.
    #[must_use]
    pub fn op(&self) -> OpNumber {
        self.op
    }

    /// The time of the newest write.
    #[must_use]
    pub fn time(&self) -> UnixMs {
        self.time
    }

    /// How many keys there are, in all databases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dbs.iter().map(|base| base.table.len()).sum()
    }

    /// How many keys there are in one database.
    #[must_use]
    pub fn len_of(&self, db: Db) -> usize {
        self.dbs[db.index()].table.len()
    }

    /// How many keys of one database expire one day.
    #[must_use]
    pub fn expiring_of(&self, db: Db) -> usize {
        self.dbs[db.index()].due.len()
    }

    /// True when there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dbs.iter().all(|base| base.table.is_empty())
    }

    /// What all keys and values take in memory, about.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.dbs.iter().map(|base| base.bytes).sum()
    }

    /// The client table.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A digest of all keys, values and op numbers (xxh3, summed over entries). O(1).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.dbs.iter().fold(0, |sum: u64, base| sum.wrapping_add(base.digest))
    }

    /// [`Store::digest`] and the client table together: equal on any two servers with the same [`Store::op`].
    /// Costs time in the number of remembered answers: for checkers.
    ///
    /// # Panics
    /// Never: sessions can always be encoded.
    #[must_use]
    pub fn full_digest(&self) -> u64 {
        let mut hasher = Xxh3::with_seed(self.digest());
        hasher.update(&self.op.0.to_le_bytes());
        hasher.update(&self.time.to_le_bytes());
        hasher.update(&postcard::to_stdvec(&self.sessions).expect("sessions can be encoded"));
        hasher.digest()
    }

    /// What all writes and all that was taken in so far have cost, in units of [`super::work`].
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work
    }

    /// What is stored under a key of the first database.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Stored> {
        self.get_in(Db::default(), key)
    }

    /// What is stored under a key.
    #[must_use]
    pub fn get_in(&self, db: Db, key: &[u8]) -> Option<&Stored> {
        self.dbs[db.index()].table.get(key)
    }

    /// All entries of the first database.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Stored)> {
        self.dbs[0].table.iter()
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

    pub(super) fn note_changed(&mut self, db: Db, key: &Bytes) {
        if self.changed.len() < self.watch_max && db == Db::default() && self.changed.last() != Some(key) {
            self.changed.push(key.clone());
        }
    }

    /// Keys that are past their time, at most [`EXPIRED_KEYS_MAX`] of them.
    #[must_use]
    pub fn past_their_time(&self, now: UnixMs) -> Vec<(Db, Bytes)> {
        let past = Db::all().flat_map(|db| {
            let due = self.dbs[db.index()].due.iter().take_while(|(at, _)| *at <= now);
            due.map(move |(_, key)| (db, key.clone()))
        });
        past.take(EXPIRED_KEYS_MAX).collect()
    }

    /// When the next key expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<UnixMs> {
        self.dbs.iter().filter_map(|base| base.due.first().map(|(at, _)| *at)).min()
    }

    /// Keys of this command that are past their time: whoever wants to answer it has to expire them first.
    #[must_use]
    pub fn stale_keys(&self, command: &Command, now: UnixMs) -> Vec<(Db, Bytes)> {
        if self.next_expiry().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let is_stale = |db: Db, key: &Bytes| self.get_in(db, key).is_some_and(|stored| stored.is_past(now));
        match command {
            Command::Call(call) => {
                call.keys().filter(|key| is_stale(call.db, key)).map(|key| (call.db, key.clone())).collect()
            }
            other => {
                let db = Db::default();
                other.key().filter(|key| is_stale(db, key)).map(|key| (db, key.clone())).into_iter().collect()
            }
        }
    }

    /// Answers a read from this state, at the time of its newest write. A `KEYS` looks at every key: see [`Scan`].
    ///
    /// # Panics
    /// When `command` is a write: a programming error.
    #[must_use]
    pub fn read(&self, command: &Command) -> Reply {
        self.read_at(command, Stamp { time: self.time, seed: self.op.0 })
    }

    /// Answers a read from this state.
    ///
    /// # Panics
    /// When `command` is a write: a programming error.
    #[must_use]
    pub fn read_at(&self, command: &Command, stamp: Stamp) -> Reply {
        let view = StoreView::new(self, Db::default(), stamp);
        match command {
            Command::Get { key } => match view.get(key).map(|stored| &stored.value) {
                None => Reply::Nil,
                Some(Value::String(value)) => Reply::Value(value.clone()),
                Some(_) => Reply::Error(StoreError::WRONG_TYPE),
            },
            Command::Count => Reply::count(self.len_of(Db::default())),
            Command::Keys { pattern } => self.keys_of(Db::default(), pattern),
            Command::Call(call) => match call.row().run {
                Run::Read(run) => run(&StoreView::new(self, call.db, stamp), &call.args).into(),
                Run::Write(_) => panic!("{} is a write and needs a place in the log", call.row().name),
            },
            write => panic!("{} is a write and needs a place in the log", write.name()),
        }
    }

    /// All keys of a database that match a glob, in one go.
    pub(super) fn keys_of(&self, db: Db, pattern: &[u8]) -> Reply {
        Scan::new(db, pattern).step(self, u64::MAX).1.expect("all keys were looked at")
    }

    /// Applies the next write and remembers its answer. Consumes the entry: key and value move into
    /// the store without a copy. What a client asks whose session has ended is not carried out.
    ///
    /// # Panics
    /// When `entry` is not the next in order, or is not a write: the callers' contract.
    pub fn apply(&mut self, entry: LogEntry) -> Reply {
        assert_eq!(entry.op, self.op.next(), "writes are applied in order, without gaps");
        self.op = entry.op;
        self.time = self.time.max(entry.stamp.time);
        self.work += WRITE_UNITS;
        let stamp = Stamp { time: self.time, seed: entry.stamp.seed };
        let LogEntry { client, seq, acked, command, .. } = entry;
        if client == ClientId::PRIMARY {
            return match command {
                Command::End(silent) => Reply::count(self.sessions.end_silent(&silent.clients, silent.before)),
                command => self.execute(command, stamp),
            };
        }
        if self.sessions.has_ended(client) {
            return Reply::Error(StoreError::SessionEnded);
        }
        if matches!(command, Command::Leave) {
            self.sessions.end(client);
            return Reply::Ok;
        }
        let reply = self.execute(command, stamp);
        self.sessions.record(client, seq, acked, stamp.time, reply.clone());
        reply
    }

    fn execute(&mut self, command: Command, stamp: Stamp) -> Reply {
        match command {
            Command::Put { key, value } => {
                self.put(Db::default(), key, Value::String(value), 0);
                Reply::Ok
            }
            Command::Call(mut call) => match call.row().run {
                Run::Write(run) => run(&mut Transaction::new(self, call.db, stamp), &mut call.args).into(),
                Run::Read(run) => run(&StoreView::new(self, call.db, stamp), &call.args).into(),
            },
            Command::Multi(multi) => self.execute_all(*multi, stamp),
            Command::Expire(keys) => {
                let is_past = |store: &Self, db: Db, key: &Bytes| {
                    store.get_in(db, key).is_some_and(|stored| stored.is_past(stamp.time))
                };
                let gone = keys.iter().filter(|(db, key)| is_past(self, *db, key) && self.remove(*db, key)).count();
                Reply::count(gone)
            }
            // They are about a client: only as an entry of their own.
            Command::Leave | Command::End(_) => Reply::Nil,
            read @ (Command::Get { .. } | Command::Keys { .. } | Command::Count) => self.read_at(&read, stamp),
            other => Transaction::new(self, Db::default(), stamp).plain(other),
        }
    }

    /// `EXEC`: all of them, unless a watched key has changed.
    fn execute_all(&mut self, multi: Multi, stamp: Stamp) -> Reply {
        let has_changed = |watched: &super::Watched| {
            let view = StoreView::new(self, watched.db, stamp);
            view.get(&watched.key).map_or(OpNumber(0), |stored| stored.op) != watched.op
        };
        if multi.watched.iter().any(has_changed) {
            return Reply::NilArray;
        }
        let mut chance = super::table::Chance::new(stamp.seed);
        let answers = multi.commands.into_iter().map(|command| {
            self.work += WRITE_UNITS;
            self.execute(command, Stamp { seed: chance.draw(), ..stamp })
        });
        Reply::Array(answers.collect())
    }

    /// Forgets keys, as many as take about this much work; the store is good for nothing else any more. To let go of
    /// a large one at once would take its time. True when nothing is left.
    pub fn forget_some(&mut self, units: u64) -> bool {
        let mut left = units.max(1);
        while left > 0 {
            left -= 1;
            if let Some(value) = self.rubbish.last_mut() {
                if !value.forget(left + 1) {
                    return false;
                }
                self.rubbish.pop();
            } else if let Some(base) = self.dbs.iter_mut().chain(&mut self.flushed).find(|base| !base.is_empty()) {
                let values = base.table.pop_first().into_iter().flatten().map(|(_, stored)| stored.value);
                self.rubbish.extend(values.filter(|value| value.packed().is_none()));
                base.due.pop_first();
            } else {
                return true;
            }
        }
        self.rubbish.is_empty() && self.dbs.iter().chain(&self.flushed).all(Database::is_empty)
    }

    /// What was removed and is large, as a store to be let go of with [`Store::forget_some`].
    pub fn take_rubbish(&mut self) -> Option<Self> {
        let is_any = !self.rubbish.is_empty() || !self.flushed.is_empty();
        let (rubbish, flushed) = (std::mem::take(&mut self.rubbish), std::mem::take(&mut self.flushed));
        is_any.then(|| Self { rubbish, flushed, ..Self::default() })
    }

    /// From now on notes what is touched, or no longer.
    pub fn note_touches(&mut self, on: bool) {
        if on != self.touched.is_some() {
            self.touched = on.then(Vec::new);
        }
    }

    /// What was touched since the last call.
    pub fn take_touches(&mut self) -> Vec<Touch> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// A decimal 64-bit integer exactly as Rust and Redis print it: no sign `+`, no spaces, no leading zeros.
pub(super) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let canonical = matches!(bytes, [b'0'] | [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..]);
    if !canonical || bytes.len() > 20 {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{KEYS_REPLY_BYTES_MAX, StoreError, VALUE_BYTES_MAX};
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
                    .apply(LogEntry {
                        op,
                        client: ClientId::on(0),
                        seq: Seq(op.0),
                        acked: Seq(op.0 - 1),
                        stamp: Stamp::default(),
                        command,
                    })
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
        assert_eq!(store.get(b"k").unwrap().value.size_bytes(), VALUE_BYTES_MAX);
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
        let entry = LogEntry {
            op: OpNumber(2),
            client: ClientId::on(0),
            seq: Seq(1),
            acked: Seq(0),
            stamp: Stamp::default(),
            command: put("a", "1"),
        };
        store.apply(entry);
    }
}
