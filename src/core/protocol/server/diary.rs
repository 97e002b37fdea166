//! What a server with a disk has handed to it, and how much of that is there for good.
//!
//! Every record has a number, its ticket: they are numbered in the order in which they are handed over, and whoever
//! looks after the disk says how far it is. Whatever a server acknowledges it has on its disk before.

use crate::core::protocol::durable::Record;
use crate::core::protocol::message::SnapshotPart;
use crate::core::protocol::view::{Member, View, ViewNumber};
use crate::core::store::{Exporter, LogEntry, OpNumber, Store, Touch};
use std::collections::VecDeque;
use std::sync::Arc;

/// A write takes this many bytes on a disk beside its keys and values, about.
const ENTRY_BYTES: u64 = 48;
/// No part of a whole state is handed over while this many records are not on the disk yet.
const PARTS_UNDER_WAY_MAX: u64 = 8;

/// The number of a record.
pub type Ticket = u64;

/// A server's disk, as the server knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Diary {
    written: Ticket,
    /// Of the log everything up to this write is on the disk.
    op: OpNumber,
    /// With this ticket, everything up to that write will be.
    coming: VecDeque<(Ticket, OpNumber)>,
    durable: Ticket,
    /// With this ticket, the disk knows of this life. Nobody hears of the life before: what is on the disk afterwards
    /// tells what it has not been part of.
    born: Option<Ticket>,
    records: Vec<Record>,
    /// What the last record of a view said.
    holder: Option<(Member, Arc<View>)>,
    /// What is on the disk is of an epoch that is over, and goes as soon as there is something else.
    outdated: bool,
    /// Bytes of writes since the last whole state began.
    bytes: u64,
    snapshot: Option<Snapshot>,
}

/// The whole state on its way to the disk.
#[derive(Debug, Clone)]
struct Snapshot {
    exporter: Exporter,
    /// What was in the log when it began has to be in it: the log before that goes.
    from: OpNumber,
}

impl Diary {
    /// So much was handed over before this life.
    pub(super) fn new(written: Ticket) -> Self {
        Self { written, durable: written, ..Self::default() }
    }

    /// True when the record of this ticket is on the disk.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        ticket <= self.durable
    }

    /// What of the log is on the disk.
    pub(super) fn op(&self) -> OpNumber {
        self.op
    }

    /// What is to be handed over now.
    pub(super) fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    pub(super) fn write(&mut self, record: Record) -> Ticket {
        self.written += 1;
        self.records.push(record);
        self.written
    }

    pub(super) fn entry(&mut self, view: ViewNumber, commit: OpNumber, entry: &Arc<LogEntry>) {
        self.bytes += entry.command.size_bytes() as u64 + ENTRY_BYTES;
        let ticket = self.write(Record::Entry { view, commit, entry: Arc::clone(entry) });
        self.coming.push_back((ticket, entry.op));
    }

    /// This member has, in this view, the log up to `keep` and nothing else.
    pub(super) fn view(&mut self, member: Member, view: &Arc<View>, keep: OpNumber) -> Ticket {
        if self.outdated {
            self.write(Record::Forgot { member });
            self.void();
        }
        let ticket = self.write(Record::View { member, view: Arc::clone(view), keep });
        self.coming.retain(|(_, op)| *op <= keep);
        self.op = self.op.min(keep);
        self.holder = Some((member, Arc::clone(view)));
        self.snapshot.iter_mut().for_each(|snapshot| snapshot.from = snapshot.from.min(keep));
        self.coming.push_back((ticket, keep));
        ticket
    }

    /// This life begins, with what is on the disk.
    pub(super) fn live(&mut self, member: Member) {
        self.born = Some(self.write(Record::Life { member }));
    }

    /// What is on the disk counts no more. `new`: a life begins with that.
    pub(super) fn forget(&mut self, member: Member, new: bool) {
        let ticket = self.write(Record::Forgot { member });
        self.void();
        if new {
            self.born = Some(ticket);
        }
    }

    /// Nobody may hear of this life yet.
    pub(super) fn is_unborn(&self) -> bool {
        self.born.is_some()
    }

    /// True once: when everybody may.
    pub(super) fn is_born_now(&mut self) -> bool {
        let durable = self.durable;
        self.born.take_if(|ticket| *ticket <= durable).is_some()
    }

    /// What is on the disk is of an epoch that is over.
    pub(super) fn outdate(&mut self) {
        self.outdated = true;
    }

    /// The log so far counts no more: another state will come, or none.
    pub(super) fn void(&mut self) {
        self.coming.clear();
        self.op = OpNumber(0);
        (self.holder, self.snapshot, self.bytes, self.outdated) = (None, None, 0, false);
    }

    /// Somebody has to say what the state's writes touch.
    pub(super) fn is_noting(&self) -> bool {
        self.snapshot.is_some()
    }

    /// A write has touched this.
    pub(super) fn note(&mut self, touch: &Touch) {
        self.snapshot.iter_mut().for_each(|snapshot| snapshot.exporter.note(touch));
    }

    /// Begins to write the whole state when enough has been written since the last time, and goes on with it, as fast
    /// as the disk takes it. `op`: the newest write in the log.
    pub(super) fn tend_snapshot(&mut self, store: &Store, op: OpNumber, every_bytes: u64) {
        if self.snapshot.is_none() {
            // What is large is not written anew for every little thing.
            let enough = self.bytes >= every_bytes.max(store.size_bytes() / 2);
            let Some((member, view)) = self.holder.clone().filter(|_| enough) else { return };
            self.bytes = 0;
            self.write(Record::Begin { member, view: Some(view), replaces: false });
            self.snapshot = Some(Snapshot { exporter: Exporter::default(), from: op });
        }
        while self.written - self.durable < PARTS_UNDER_WAY_MAX
            && let Some(snapshot) = &mut self.snapshot
        {
            if let Some(chunk) = snapshot.exporter.next_chunk(store) {
                self.write(Record::Part { part: SnapshotPart::Chunk(chunk).into() });
                continue;
            }
            if store.op() < snapshot.from {
                return;
            }
            let Some(Snapshot { exporter, .. }) = self.snapshot.take() else { return };
            let finale = SnapshotPart::Finale(Box::new(exporter.finish(store)));
            self.write(Record::Part { part: finale.into() });
        }
    }

    /// The log up to this write was read from the disk.
    pub(super) fn was_read(&mut self, op: OpNumber) {
        self.op = op;
    }

    /// Everything up to this ticket is on the disk. True when that is news of the log.
    pub(super) fn durable(&mut self, ticket: Ticket) -> bool {
        self.durable = self.durable.max(ticket);
        let before = self.op;
        while let Some((_, op)) = self.coming.pop_front_if(|(own, _)| *own <= ticket) {
            self.op = op;
        }
        self.op != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Incarnation, Rank};
    use crate::core::store::{ClientId, Command, Seq, Stamp};

    #[test]
    fn what_a_view_drops_is_not_on_the_disk_any_more() {
        let me = Member { rank: Rank(1), incarnation: Incarnation(1) };
        let view = Arc::new(View { number: ViewNumber(1), epoch: 1, primary: me, backups: Vec::new() });
        let entry = |op: u64| {
            let command = Command::Incr { key: "n".into() };
            let (client, seq) = (ClientId::on(0), Seq(op));
            Arc::new(LogEntry { op: OpNumber(op), client, seq, acked: Seq(0), stamp: Stamp::default(), command })
        };
        let mut diary = Diary::new(10);
        (1..=4).for_each(|op| diary.entry(ViewNumber(1), OpNumber(0), &entry(op)));
        assert!(diary.durable(12));
        assert_eq!((diary.op(), diary.take().len()), (OpNumber(2), 4));
        let ticket = diary.view(me, &view, OpNumber(1));
        assert_eq!((diary.op(), diary.has(ticket)), (OpNumber(1), false));
        diary.entry(ViewNumber(1), OpNumber(0), &entry(2));
        assert!(!diary.durable(14), "the old writes 2, 3 and 4 are not those that were meant");
        assert!(!diary.durable(ticket) && diary.has(ticket));
        assert!(diary.durable(ticket + 1));
        assert_eq!(diary.op(), OpNumber(2));
    }
}
