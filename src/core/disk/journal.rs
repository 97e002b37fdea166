//! Writing a log: which bytes go where, and in which order.
//!
//! Whoever carries the steps out may stop at any of them, for ever: what was acknowledged before is found again.

use super::Fsync;
use super::frame;
use super::reader::{Ending, LogEnd};
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
    /// Goes on where a log ends, or begins one. Files are closed when they have `segment_bytes_max`, or a little more.
    pub fn after(ending: &Ending, owner: Owner, boot: u64, segment_bytes_max: u64, steps: &mut Vec<Step>) -> Self {
        steps.extend(ending.stillborn.map(|number| Step::Remove { number }));
        match &ending.end {
            Some(end) => Self::resume(end, boot, segment_bytes_max, steps),
            None => Self::begin(owner, boot, segment_bytes_max, steps),
        }
    }

    fn begin(owner: Owner, boot: u64, segment_bytes_max: u64, steps: &mut Vec<Step>) -> Self {
        let mut journal = Self {
            owner,
            boot,
            segment_bytes_max,
            first: 1,
            number: 0,
            end: 0,
            chain: 0,
            mark: Mark::first(boot),
            begun_in: None,
            needed_from: None,
        };
        journal.open_next(steps);
        journal
    }

    fn resume(end: &LogEnd, boot: u64, segment_bytes_max: u64, steps: &mut Vec<Step>) -> Self {
        let LogEnd { owner, first, number, at, chain, serial, .. } = *end;
        steps.push(Step::Cut { number, at });
        let (begun_in, needed_from) = (None, None);
        let mark = Mark { serial, ..Mark::first(boot) };
        let mut journal =
            Self { owner, boot, segment_bytes_max, first, number, end: at, chain, mark, begun_in, needed_from };
        journal.set_mark(at, steps);
        journal
    }

    /// Writes these records, one after the other, in one go. True when they are on the disk then: because everything
    /// is synced, or because what they replace is removed.
    pub fn group(&mut self, records: &[Record], fsync: Fsync, steps: &mut Vec<Step>) -> bool {
        self.write(records, steps);
        let synced = fsync == Fsync::Always || self.needed_from.is_some();
        if synced {
            self.sync(steps);
        } else {
            self.set_mark(self.mark.synced, steps);
        }
        synced
    }

    /// Has everything that was written on the disk, and says so in the file. What is not needed any more goes.
    pub fn sync(&mut self, steps: &mut Vec<Step>) {
        steps.push(Step::Sync { number: self.number });
        self.set_mark(self.end, steps);
        if let Some(needed) = self.needed_from.take() {
            steps.extend((self.first..needed).map(|number| Step::Remove { number }));
            self.first = self.first.max(needed);
        }
    }

    fn write(&mut self, records: &[Record], steps: &mut Vec<Step>) {
        let (mut bytes, mut at) = (Vec::new(), self.end);
        for record in records {
            if self.end >= self.segment_bytes_max || (record.replaces_what_was() && self.end > RECORDS_AT) {
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
                Record::Forgot { .. } | Record::Summary { .. } => {
                    (self.begun_in, self.needed_from) = (None, Some(self.number));
                }
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

    /// The file that is written to.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Everything that was written is there, for whoever reads it on this boot of the machine; up to `synced`, it is on
    /// the disk.
    fn set_mark(&mut self, synced: u64, steps: &mut Vec<Step>) {
        self.mark = self.mark.next(self.end, synced);
        let (number, at) = (self.number, self.mark.place());
        steps.push(Step::Write { number, at, bytes: self.mark.to_bytes() });
    }

    /// The file is full: everything in it is on the disk before there is a next one, and then it says that there is.
    fn seal(&mut self, steps: &mut Vec<Step>) {
        let (number, end) = (self.number, self.end);
        steps.push(Step::Sync { number });
        let mark = Mark { sealed: true, ..self.mark.next(end, end) };
        self.open_next(steps);
        steps.push(Step::Write { number, at: mark.place(), bytes: mark.to_bytes() });
    }

    fn open_next(&mut self, steps: &mut Vec<Step>) {
        self.number += 1;
        self.end = RECORDS_AT;
        self.mark = Mark::first(self.boot);
        let header = Header { owner: self.owner, number: self.number, chain: self.chain };
        let mut bytes = header.to_bytes();
        bytes.extend(self.mark.to_bytes());
        bytes.resize(bytes.len() + SECTOR_BYTES, 0);
        steps.push(Step::Create { number: self.number, bytes });
    }
}
