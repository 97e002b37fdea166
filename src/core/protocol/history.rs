//! The latest writes that took effect, for servers that come back and have all but these on their disks.

use super::message::Offer;
use crate::core::store::{LogEntry, OpNumber, Store, UnixMs};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most writes that are kept.
const OPS_MAX: usize = 65_536;
/// The most bytes of keys and values that are kept (32 MiB).
const BYTES_MAX: usize = 32 << 20;
/// One part of what is missing has no more writes,
const PART_OPS_MAX: usize = 512;
/// and no more bytes (64 KiB), unless a single one has.
const PART_BYTES_MAX: usize = 64 << 10;

/// What a state is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct StateMark {
    op: OpNumber,
    time: UnixMs,
    digest: u64,
}

impl StateMark {
    fn of(store: &Store) -> Self {
        Self { op: store.op(), time: store.time(), digest: store.digest() }
    }
}

/// The latest writes, without gaps.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The state before the first of them.
    start: StateMark,
    /// Each with the state after it.
    past: VecDeque<(Arc<LogEntry>, StateMark)>,
    bytes: usize,
}

impl History {
    /// It begins with this state.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self { start: StateMark::of(store), ..Self::default() }
    }

    /// A write took effect, and this is the state after it.
    pub fn push(&mut self, entry: Arc<LogEntry>, store: &Store) {
        self.bytes += entry.command.size_bytes();
        self.past.push_back((entry, StateMark::of(store)));
        while self.past.len() > OPS_MAX || self.bytes > BYTES_MAX {
            let Some((oldest, mark)) = self.past.pop_front() else { return };
            self.bytes -= oldest.command.size_bytes();
            self.start = mark;
        }
    }

    /// How many of them come before the state after this write, and that itself.
    fn at(&self, op: OpNumber) -> Option<usize> {
        usize::try_from(op.0.checked_sub(self.start.op.0)?).ok().filter(|at| *at <= self.past.len())
    }

    /// Whoever offers this has what was here then, and what followed is here still.
    #[must_use]
    pub fn knows(&self, offer: &Offer) -> bool {
        let Some(at) = self.at(offer.op) else { return false };
        let mark = at.checked_sub(1).and_then(|at| self.past.get(at)).map_or(self.start, |(_, mark)| *mark);
        mark == StateMark { op: offer.op, time: offer.time, digest: offer.digest }
    }

    /// The writes, the newest one first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<LogEntry>> {
        self.past.iter().rev().map(|(entry, _)| entry)
    }

    /// A part of what follows this write: `None` when it is not here any more, nothing when there is no more.
    #[must_use]
    pub fn after(&self, op: OpNumber) -> Option<Vec<Arc<LogEntry>>> {
        let from = self.at(op)?;
        let mut bytes = 0;
        let fits = |(entry, _): &&(Arc<LogEntry>, StateMark)| {
            let fits = bytes < PART_BYTES_MAX;
            bytes += entry.command.size_bytes();
            fits
        };
        Some(self.past.range(from..).take(PART_OPS_MAX).take_while(fits).map(|(entry, _)| Arc::clone(entry)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::store::{ClientId, Command, Seq, Stamp};

    #[test]
    fn what_is_missing_is_found_for_those_who_had_the_same() {
        let mut store = Store::default();
        let mut history = History::of(&store);
        let mut offers = vec![Offer { epoch: 1, op: OpNumber(0), time: 0, digest: store.digest() }];
        for op in 1..=20 {
            let command = Command::Incr { key: format!("k{}", op % 3).into() };
            let (client, seq, stamp) = (ClientId::on(0), Seq(op), Stamp { time: 100 + op, seed: op });
            let entry = Arc::new(LogEntry { op: OpNumber(op), client, seq, acked: Seq(0), stamp, command });
            store.apply(LogEntry::clone(&entry));
            history.push(entry, &store);
            offers.push(Offer { epoch: 1, op: OpNumber(op), time: store.time(), digest: store.digest() });
        }
        for offer in &offers {
            assert!(history.knows(offer));
            assert!(!history.knows(&Offer { digest: offer.digest ^ 1, ..*offer }));
            let missing: Vec<u64> = history.after(offer.op).unwrap().iter().map(|entry| entry.op.0).collect();
            assert_eq!(missing, (offer.op.0 + 1..=20).collect::<Vec<_>>());
        }
        let later = Offer { op: OpNumber(21), ..offers[20] };
        assert!(!history.knows(&later) && history.after(later.op).is_none());
        let begun = History::of(&store);
        assert!(begun.knows(&offers[20]) && !begun.knows(&offers[19]));
    }
}
