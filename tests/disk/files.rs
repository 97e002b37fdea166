//! Logs to be broken: the files of one rank, in memory.

use std::collections::BTreeMap;
use understudy::core::disk::{Damage, Ending, Fsync, Journal, Owner, Reader, Step, recover};
use understudy::core::protocol::durable::Record;
use understudy::core::protocol::message::SnapshotPart;
use understudy::core::protocol::{Incarnation, Member, Rank, Recovered, View, ViewNumber};
use understudy::core::store::{ClientId, Command, Exporter, LogEntry, OpNumber, Seq, Stamp, Store};

pub const OWNER: Owner = Owner { cluster: 77, rank: Rank(2) };
pub const BOOT: u64 = 5;
/// Small, so that a log has several.
pub const SEGMENT_BYTES: u64 = 4 << 10;

/// The files of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(pub BTreeMap<u64, Vec<u8>>);

impl Files {
    pub fn carry_out(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Create { number, bytes } => {
                    assert_eq!(self.0.insert(*number, bytes.clone()), None, "a file is made where there is none");
                }
                Step::Write { number, at, bytes } => {
                    let file = self.0.get_mut(number).expect("files are created first");
                    let at = usize::try_from(*at).unwrap();
                    file.resize(file.len().max(at + bytes.len()), 0);
                    file[at..at + bytes.len()].copy_from_slice(bytes);
                }
                Step::Sync { .. } => {}
                Step::Cut { number, at } => {
                    self.0.get_mut(number).expect("there").truncate(usize::try_from(*at).unwrap());
                }
                Step::Remove { number } => drop(self.0.remove(number)),
            }
        }
    }

    /// All records, in order, or what is wrong; on a machine with this boot.
    pub fn records(&self, boot: u64) -> Result<(Vec<Record>, Ending), Damage> {
        let mut records = Vec::new();
        let mut reader = Reader::new(Some(OWNER), boot);
        let newest = self.0.keys().next_back().copied().unwrap_or(0);
        for (number, bytes) in &self.0 {
            reader.file(*number, bytes, *number == newest, &mut |_, record| {
                records.push(record);
                Ok(())
            })?;
        }
        Ok((records, reader.finish()?))
    }

    pub fn recover(&self, boot: u64) -> Result<(Recovered, Ending), Damage> {
        recover(self.0.iter().map(|(number, bytes)| (*number, bytes)), Some(OWNER), boot)
    }
}

pub fn member(incarnation: u64) -> Member {
    Member { rank: OWNER.rank, incarnation: Incarnation(incarnation) }
}

pub fn view(number: u64) -> std::sync::Arc<View> {
    let backups = vec![Member { rank: Rank(1), incarnation: Incarnation(1) }];
    View { number: ViewNumber(number), epoch: 1, primary: member(1), backups }.into()
}

pub fn entry(op: u64, command: Command) -> Record {
    let stamp = Stamp { time: 1_000 + op, seed: op };
    let entry =
        LogEntry { op: OpNumber(op), client: ClientId::on(0), seq: Seq(op), acked: Seq(op - 1), stamp, command };
    Record::Entry { view: ViewNumber(1), commit: OpNumber(op - 1), entry: entry.into() }
}

/// A write of `bytes` bytes; some values are all zeros.
pub fn put(op: u64, bytes: usize) -> Record {
    let value =
        if op.is_multiple_of(3) { vec![0; bytes] } else { format!("{op:07}").repeat(bytes / 7 + 1).into_bytes() };
    entry(op, Command::Put { key: format!("k{}", op % 20).into(), value: value.into() })
}

/// A log of a life, a view, and this many writes, with a whole state after each `snapshot_every` of them.
pub fn life(writes: u64, snapshot_every: u64) -> Vec<Record> {
    let mut records =
        vec![Record::Life { member: member(1) }, Record::View { member: member(1), view: view(1), keep: OpNumber(0) }];
    let mut store = Store::default();
    for op in 1..=writes {
        let record = put(op, 40 + (op as usize * 37) % 900);
        if let Record::Entry { entry, .. } = &record {
            store.apply(LogEntry::clone(entry));
        }
        records.push(record);
        if op % snapshot_every == 0 {
            records.extend(snapshot(&store));
        }
    }
    records
}

/// A whole state as records.
pub fn snapshot(store: &Store) -> Vec<Record> {
    let mut exporter = Exporter::default();
    let mut records = vec![Record::Begin { member: member(1), view: Some(view(1)), replaces: false }];
    let part = |part: SnapshotPart| Record::Part { part: part.into() };
    while let Some(chunk) = exporter.next_chunk(store) {
        records.push(part(SnapshotPart::Chunk(chunk)));
    }
    records.push(part(SnapshotPart::Finale(Box::new(exporter.finish(store)))));
    records
}

/// The steps that write these records, this many at a time; each time with a mark, which every `sync_every`th time says
/// that all is on the disk.
pub fn steps(records: &[Record], group: usize, sync_every: usize) -> Vec<Vec<Step>> {
    let mut begin = Vec::new();
    let mut journal = Journal::after(&Ending::default(), OWNER, BOOT, SEGMENT_BYTES, &mut begin);
    let mut all = vec![begin];
    for (at, group) in records.chunks(group).enumerate() {
        let mut steps = Vec::new();
        let fsync = if at % sync_every == 0 { Fsync::Always } else { Fsync::Never };
        journal.group(group, fsync, &mut steps);
        all.push(steps);
    }
    all
}

/// The files of these records.
pub fn written(records: &[Record], group: usize, sync_every: usize) -> Files {
    let mut files = Files::default();
    steps(records, group, sync_every).iter().for_each(|steps| files.carry_out(steps));
    files
}
