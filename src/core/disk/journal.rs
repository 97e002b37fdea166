//! Writing a log: which bytes go where, and in which order.
//!
//! Whoever carries the steps out may stop at any of them, for ever: what was acknowledged before is found again.

use super::frame;
use super::reader::End;
use super::segment::{Header, Mark, Owner, RECORDS_AT, SECTOR_BYTES};
use crate::core::protocol::durable::Record;

/// Something to be done to a file, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make this file, with these bytes in it. It is on the disk, and its name too, before anything else is done.
    Create { number: u64, bytes: Vec<u8> },
    /// Write these bytes at this place.
    Write { number: u64, at: u64, bytes: Vec<u8> },
    /// Everything that was written to this file is on the disk before anything else is done.
    Sync { number: u64 },
    /// Drop what this file has beyond this place, and have that on the disk.
    Cut { number: u64, at: u64 },
    /// This file is needed no more.
    Remove { number: u64 },
}

impl Step {
    /// The file.
    #[must_use]
    pub fn number(&self) -> u64 {
        match self {
            Self::Create { number, .. }
            | Self::Write { number, .. }
            | Self::Sync { number }
            | Self::Cut { number, .. }
            | Self::Remove { number } => *number,
        }
    }
}

/// The end of a log that is being written.
#[derive(Debug, Clone)]
pub struct Journal {
    owner: Owner,
    boot: u64,
    segment_bytes_max: u64,
    /// The oldest file.
    first: u64,
    /// The file that is written to, where it ends, and its last hash.
    number: u64,
    end: u64,
    chain: u64,
    mark: Mark,
    /// A whole state begins in this file.
    begun_in: Option<u64>,
    /// What of the log is needed begins in this file, as soon as all of it is on the disk.
    needed_from: Option<u64>,
}

impl Journal {
    /// A log that is empty. Files are closed when they have `segment_bytes_max`, or a little more.
    pub fn begin(owner: Owner, boot: u64, segment_bytes_max: u64, steps: &mut Vec<Step>) -> Self {
        let mut journal = Self {
            owner,
            boot,
            segment_bytes_max,
            first: 1,
            number: 0,
            end: 0,
            chain: 0,
            mark: Mark { serial: 0, boot, written: RECORDS_AT, synced: RECORDS_AT, sealed: false },
            begun_in: None,
            needed_from: None,
        };
        journal.open_next(steps);
        journal
    }

    /// Goes on with a log that was read.
    pub fn resume(end: &End, boot: u64, segment_bytes_max: u64, steps: &mut Vec<Step>) -> Self {
        let End { owner, first, number, at, chain, serial, ref stillborn, .. } = *end;
        steps.extend(stillborn.map(|number| Step::Remove { number }));
        steps.push(Step::Cut { number, at });
        let mark = Mark { serial: serial + 1, boot, written: at, synced: at, sealed: false };
        steps.push(Step::Write { number, at: mark.place(), bytes: mark.to_bytes() });
        let (begun_in, needed_from) = (None, None);
        Self { owner, boot, segment_bytes_max, first, number, end: at, chain, mark, begun_in, needed_from }
    }

    /// The bytes of the files there are, about.
    #[must_use]
    pub fn files(&self) -> std::ops::RangeInclusive<u64> {
        self.first..=self.number
    }

    /// Where the file that is written to ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Writes these records, one after the other.
    pub fn write<'r>(&mut self, records: impl IntoIterator<Item = &'r Record>, steps: &mut Vec<Step>) {
        let (mut bytes, mut at) = (Vec::new(), self.end);
        for record in records {
            let begins = matches!(record, Record::Begin { .. } | Record::Forgot { .. });
            if self.end >= self.segment_bytes_max || (begins && self.end > RECORDS_AT) {
                self.put(at, std::mem::take(&mut bytes), steps);
                self.seal(steps);
                at = self.end;
            }
            let before = bytes.len();
            self.chain = frame::write(record, self.chain, &mut bytes);
            self.end += (bytes.len() - before) as u64;
            match record {
                Record::Begin { .. } => self.begun_in = Some(self.number),
                Record::Life { .. } => self.begun_in = None,
                Record::Forgot { .. } => (self.begun_in, self.needed_from) = (None, Some(self.number)),
                Record::Part { part } if part.is_last() => self.needed_from = self.begun_in.take().or(self.needed_from),
                _ => {}
            }
        }
        self.put(at, bytes, steps);
    }

    fn put(&self, at: u64, bytes: Vec<u8>, steps: &mut Vec<Step>) {
        if !bytes.is_empty() {
            steps.push(Step::Write { number: self.number, at, bytes });
        }
    }

    /// Everything that was written is there, for whoever reads it on this boot of the machine; with `synced`, it is on
    /// the disk. Says so in the file. What is not needed any more goes.
    pub fn mark(&mut self, synced: bool, steps: &mut Vec<Step>) {
        let synced_to = if synced { self.end } else { self.mark.synced };
        self.set_mark(Mark { written: self.end, synced: synced_to, ..self.mark }, steps);
        if synced && let Some(needed) = self.needed_from.take() {
            steps.extend((self.first..needed).map(|number| Step::Remove { number }));
            self.first = self.first.max(needed);
        }
    }

    /// A whole state has been written, and what lies before it goes with the next mark that is synced.
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.needed_from.is_some()
    }

    /// The file that is to be synced.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    fn set_mark(&mut self, mark: Mark, steps: &mut Vec<Step>) {
        self.mark = Mark { serial: self.mark.serial + 1, ..mark };
        let (number, at) = (self.number, self.mark.place());
        steps.push(Step::Write { number, at, bytes: self.mark.to_bytes() });
    }

    /// The file is full: everything in it is on the disk before there is a next one, and then it says that there is.
    fn seal(&mut self, steps: &mut Vec<Step>) {
        let (number, end) = (self.number, self.end);
        steps.push(Step::Sync { number });
        let mark = Mark { serial: self.mark.serial + 1, written: end, synced: end, sealed: true, ..self.mark };
        self.open_next(steps);
        steps.push(Step::Write { number, at: mark.place(), bytes: mark.to_bytes() });
    }

    fn open_next(&mut self, steps: &mut Vec<Step>) {
        self.number += 1;
        self.end = RECORDS_AT;
        self.mark = Mark { serial: 0, boot: self.boot, written: RECORDS_AT, synced: RECORDS_AT, sealed: false };
        let header = Header { owner: self.owner, number: self.number, chain: self.chain };
        let mut bytes = header.to_bytes();
        bytes.extend(self.mark.to_bytes());
        bytes.resize(bytes.len() + SECTOR_BYTES, 0);
        steps.push(Step::Create { number: self.number, bytes });
    }
}
