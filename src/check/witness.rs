//! The witness of a session: keeps every client operation, judges as it goes, and can be asked for its verdict.
//!
//! Operations come in when they return. One that is still running may already have taken effect, so nothing is
//! judged beyond the moment at which the oldest running one was called: of the history the part before that
//! moment counts, and what returns later than it counts as running, too (a history that is linearizable is so up
//! to every moment).

use super::linear::{Contradiction, Verdict, check};
use super::monitor::{Monitor, MonitorStanding};
use super::{Operation, json, stored};
use crate::core::protocol::{Completion, Outcome, Time};
use crate::core::store::{ClientId, Command};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Operations kept for `CHECK`. When there were more, the monitor's continuous judgement is what is told.
pub const KEPT_OPERATIONS_MAX: usize = 200_000;
/// Bytes of keys and values in the operations kept (64 MiB).
pub const KEPT_BYTES_MAX: usize = 64 << 20;

/// What the witness can say of the session so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Everything is explained: this many operations, this many of them with unknown outcome.
    Linearizable {
        /// Operations judged.
        operations: u64,
        /// Of these, without an answer.
        unknown: u64,
        /// Besides these, such as look at all keys (`KEYS`, `SCAN`), which were not judged.
        listings: u64,
    },
    /// Nothing contradicts, but this many operations could not be judged.
    Partly {
        /// Operations judged.
        operations: u64,
        /// Operations not judged.
        skipped: u64,
    },
    /// Something cannot be explained.
    Failed(Box<Contradiction>),
}

/// Sees every client operation of a session.
#[derive(Debug, Default)]
pub struct Witness {
    kept: Vec<Operation>,
    kept_bytes: usize,
    /// There were more than are kept.
    forgot: bool,
    monitor: Monitor,
    seen: u64,
    unknown: u64,
    /// Operations that look at all keys.
    listings: u64,
    /// Per client: its running operations were all called at or after this.
    running_since: BTreeMap<ClientId, Time>,
    file: Option<HistoryFile>,
}

#[derive(Debug)]
struct HistoryFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Witness {
    /// A witness that also writes every operation to a new file, a line of JSON each ([`json`]).
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn writing(path: &Path) -> io::Result<Self> {
        let file = HistoryFile { path: path.to_owned(), out: BufWriter::new(File::create(path)?) };
        Ok(Self { file: Some(file), ..Self::default() })
    }

    /// This client may have something running, since nobody knows when, until it is heard of.
    pub fn expect(&mut self, client: ClientId) {
        self.running_since.entry(client).or_default();
    }

    /// Takes in what the clients on the rank of this one have finished; what they still have running was called at or
    /// after `running_since`.
    ///
    /// # Errors
    /// When the history cannot be written any more: told once, then no more is written.
    pub fn finished(
        &mut self,
        client: ClientId,
        completions: impl IntoIterator<Item = Completion>,
        running_since: Time,
    ) -> Result<(), String> {
        let mut written = Ok(());
        for completion in completions {
            let operation = Operation::new(completion);
            self.seen += 1;
            self.unknown += u64::from(operation.outcome == Outcome::Unknown);
            self.listings += u64::from(stored::looks_at_all(&operation.command));
            written = written.and(self.write(&operation));
            self.monitor.push(&operation);
            self.keep(operation);
        }
        self.running_since.insert(client, running_since);
        self.monitor.settle(self.judged_until());
        written
    }

    /// Writes out what was finished so far.
    ///
    /// # Errors
    /// As [`Witness::finished`].
    pub fn flush(&mut self) -> Result<(), String> {
        let flushed = self.file.as_mut().map_or(Ok(()), |file| file.out.flush());
        self.or_close(flushed)
    }

    fn write(&mut self, operation: &Operation) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = writeln!(file.out, "{}", json::to_line(operation));
        self.or_close(written)
    }

    fn or_close(&mut self, result: io::Result<()>) -> Result<(), String> {
        let Err(error) = result else { return Ok(()) };
        let path = self.file.take().map(|file| file.path).unwrap_or_default();
        Err(format!("the history {} ends here, it cannot be written: {error}", path.display()))
    }

    /// The monitor's judgement is all that is left.
    fn forget(&mut self) {
        self.forgot = true;
        (self.kept, self.kept_bytes) = (Vec::new(), 0);
    }

    fn keep(&mut self, operation: Operation) {
        let bytes = size_bytes(&operation);
        if self.forgot || self.kept.len() >= KEPT_OPERATIONS_MAX || self.kept_bytes + bytes > KEPT_BYTES_MAX {
            self.forget();
            return;
        }
        self.kept_bytes += bytes;
        self.kept.push(operation);
    }

    fn judged_until(&self) -> Time {
        self.running_since.values().min().copied().unwrap_or(Time::NEVER)
    }

    /// The continuous judgement, at no cost.
    #[must_use]
    pub fn standing(&self) -> Judgement {
        let operations = self.monitor.judged();
        match self.monitor.standing() {
            MonitorStanding::Ok => {
                Judgement::Linearizable { operations, unknown: self.unknown, listings: self.listings }
            }
            MonitorStanding::Partly(skipped) => Judgement::Partly { operations, skipped },
            MonitorStanding::Failed(contradiction) => Judgement::Failed(contradiction),
        }
    }

    /// What is needed to judge everything thoroughly, elsewhere and without holding anybody up.
    #[must_use]
    pub fn brief(&self) -> WitnessBrief {
        WitnessBrief { history: (!self.forgot).then(|| self.up_to(self.judged_until())), standing: self.standing() }
    }

    /// The history up to a moment: what had not returned then was running.
    fn up_to(&self, end: Time) -> Vec<Operation> {
        let called = self.kept.iter().filter(|operation| operation.call < end);
        let cut = |operation: &Operation| match operation.returned {
            Some(returned) if returned >= end => {
                Operation { outcome: Outcome::Unknown, returned: None, ..operation.clone() }
            }
            _ => operation.clone(),
        };
        called.map(cut).collect()
    }
}

/// A copy of what a witness knows.
#[derive(Debug)]
pub struct WitnessBrief {
    /// Everything, if everything was kept.
    history: Option<Vec<Operation>>,
    standing: Judgement,
}

impl WitnessBrief {
    /// Judges everything: may take a second for a long history.
    #[must_use]
    pub fn judge(self) -> Judgement {
        let Some(history) = self.history else { return self.standing };
        match check(&history) {
            Verdict::Ok => {
                let unknown = history.iter().filter(|operation| operation.outcome == Outcome::Unknown).count() as u64;
                let listings = unjudged_listings(&history);
                Judgement::Linearizable { operations: history.len() as u64 - listings, unknown, listings }
            }
            Verdict::Failed(contradiction) => Judgement::Failed(contradiction),
            Verdict::Unknown => self.standing,
        }
    }
}

/// Where there are values of other kinds than strings, [`check()`](fn@check) does not judge what looks at all keys.
fn unjudged_listings(history: &[Operation]) -> u64 {
    let foreign = history.iter().filter(|operation| stored::is_foreign(&operation.command));
    let epochs: BTreeSet<u32> = foreign.map(|operation| operation.epoch).collect();
    let is_unjudged = |one: &&Operation| epochs.contains(&one.epoch) && stored::looks_at_all(&one.command);
    history.iter().filter(is_unjudged).count() as u64
}

/// What an operation takes in memory, about.
pub(super) fn size_bytes(operation: &Operation) -> usize {
    let reply = match &operation.outcome {
        Outcome::Done(reply) => reply.size_bytes(),
        Outcome::Unknown => 0,
    };
    Command::size_bytes(&operation.command) + reply + std::mem::size_of::<Operation>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::store::{Bytes, Reply, Seq, commands};

    fn get(seq: u64, call: u64, returned: u64, value: &str) -> Completion {
        let outcome = Outcome::Done(if value.is_empty() { Reply::Nil } else { Reply::Value(value.into()) });
        let command = Command::Get { key: "a".into() };
        let (client, seq) = (ClientId::on(0), Seq(seq));
        Completion { client, seq, command, outcome, call: Time(call), returned: Time(returned), epoch: 1 }
    }

    fn put(seq: u64, call: u64, returned: u64, value: &str) -> Completion {
        let command = Command::Put { key: "a".into(), value: value.into() };
        let outcome = Outcome::Done(Reply::Ok);
        let (client, seq) = (ClientId::on(0), Seq(seq));
        Completion { client, seq, command, outcome, call: Time(call), returned: Time(returned), epoch: 1 }
    }

    fn linearizable(operations: u64, unknown: u64) -> Judgement {
        Judgement::Linearizable { operations, unknown, listings: 0 }
    }

    #[test]
    fn what_looks_at_all_keys_is_judged_where_there_are_strings_alone() {
        let count =
            |seq: u64| Completion { command: Command::Count, outcome: one(), ..put(seq, seq * 10, seq * 10 + 5, "") };
        fn one() -> Outcome {
            Outcome::Done(Reply::Integer(1))
        }
        let mut witness = Witness::default();
        witness.finished(ClientId::on(0), [put(1, 1, 2, "x"), count(1)], Time(20)).unwrap();
        assert_eq!(witness.brief().judge(), linearizable(2, 0));
        assert_eq!(witness.standing(), Judgement::Linearizable { operations: 1, unknown: 0, listings: 1 });
        let words = ["EXISTS", "a"].map(Bytes::from);
        let exists = Completion { command: commands::parse(&words).unwrap(), outcome: one(), ..put(3, 30, 35, "") };
        witness.finished(ClientId::on(0), [exists], Time(40)).unwrap();
        let both = Judgement::Linearizable { operations: 2, unknown: 0, listings: 1 };
        assert_eq!((witness.brief().judge(), witness.standing()), (both.clone(), both));
    }

    #[test]
    fn what_another_client_has_running_is_not_held_against_a_read() {
        let mut witness = Witness::default();
        let told = witness.finished(ClientId::on(1), [], Time(10));
        assert_eq!(told, Ok(()));
        // The PUT that client 1 called at 10 is read before it returns.
        witness.finished(ClientId::on(0), [get(1, 20, 30, "x")], Time(31)).unwrap();
        assert_eq!(witness.brief().judge(), linearizable(0, 0));
        witness.finished(ClientId::on(1), [put(1, 10, 40, "x")], Time(41)).unwrap();
        assert_eq!(witness.brief().judge(), linearizable(2, 1));
        witness.finished(ClientId::on(0), [get(2, 50, 60, "x")], Time(61)).unwrap();
        witness.finished(ClientId::on(1), [], Time(61)).unwrap();
        assert_eq!(witness.brief().judge(), linearizable(3, 0));
        assert_eq!(witness.standing(), linearizable(3, 0));
    }

    #[test]
    fn a_lost_write_is_seen_by_both_judges() {
        let mut witness = Witness::default();
        witness.finished(ClientId::on(0), [put(1, 1, 2, "x"), get(2, 3, 4, "")], Time(5)).unwrap();
        assert!(matches!(witness.standing(), Judgement::Failed(_)), "{:?}", witness.standing());
        let Judgement::Failed(contradiction) = witness.brief().judge() else { panic!("it was lost") };
        assert_eq!(contradiction.window.len(), 2);
    }

    #[test]
    fn every_operation_is_in_the_file_once() {
        let path = std::env::temp_dir().join(format!("understudy-witness-{}.jsonl", std::process::id()));
        let mut witness = Witness::writing(&path).unwrap();
        let lost = Completion { outcome: Outcome::Unknown, ..put(3, 9, 12, "z") };
        witness.finished(ClientId::on(0), [put(1, 1, 2, "x"), get(2, 3, 4, "x"), lost], Time(13)).unwrap();
        witness.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let read = json::read(text.as_bytes()).unwrap();
        assert_eq!(read, witness.kept);
        assert!(text.lines().nth(2).unwrap().contains("\"return_ns\":null"), "{text}");
    }

    #[test]
    fn what_cannot_be_kept_is_still_judged() {
        let mut witness = Witness::default();
        let many = KEPT_OPERATIONS_MAX as u64 + 1_000;
        for n in 1..=many {
            witness.finished(ClientId::on(0), [put(n, n * 10, n * 10 + 1, "x")], Time(n * 10 + 2)).unwrap();
        }
        assert!(witness.kept.is_empty());
        assert_eq!(witness.brief().judge(), linearizable(many, 0));
    }
}
