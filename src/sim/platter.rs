//! A disk that breaks: the files of one rank's log, what of them is safe, and how long that takes.
//!
//! What was written and not synced is in the cache: a process that is killed leaves it there, a power cut takes any of
//! its sectors, in no order, and a sector that never reached the disk reads as zeros. Whoever is killed in the middle
//! of a write has written a part of it. With a sync once a second, what was written is safe a second later; that sync
//! takes no time.

use crate::core::disk::segment::SECTOR_BYTES;
use crate::core::disk::{Ending, Fsync, Journal, Owner, Step, recover};
use crate::core::protocol::{DiskStatus, Record, Recovered, Time};
use crate::core::store::OpNumber;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A write takes so long, in microseconds; one in this many takes longer, and some hang.
const WRITE_US: std::ops::Range<u64> = 20..400;
const SLOW_US: std::ops::Range<u64> = 2_000..20_000;
const HANG_US: std::ops::Range<u64> = 100_000..2_000_000;
const SLOW_ONE_IN: u32 = 50;
const HANG_ONE_IN: u32 = 2_000;
/// What is synced once a second waits for no longer than this.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// One file.
#[derive(Debug, Clone, Default)]
struct PlatterFile {
    /// As whoever reads it sees it.
    cached: Vec<u8>,
    /// As it is when the power fails now.
    synced: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl PlatterFile {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.cached.resize(self.cached.len().max(end), 0);
        self.cached[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn sync(&mut self) {
        self.synced.resize(self.cached.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let range = places(sector, self.cached.len());
            self.synced[range.clone()].copy_from_slice(&self.cached[range]);
        }
    }

    /// Of what was not synced any sectors are there, and some of the length.
    fn lose_power(&mut self, rng: &mut ChaCha8Rng) {
        let longer = self.cached.len().saturating_sub(self.synced.len());
        let length = self.cached.len() - rng.random_range(0..=longer);
        self.synced.resize(length.max(self.synced.len().min(self.cached.len())), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let range = places(sector, self.synced.len());
            if rng.random_range(0..2) == 0 {
                self.synced[range.clone()].copy_from_slice(&self.cached[range]);
            }
        }
        self.cached.clone_from(&self.synced);
    }
}

/// Where these sectors are in a file of this length.
fn places(sector: usize, length: usize) -> std::ops::Range<usize> {
    (sector * SECTOR_BYTES).min(length)..((sector + 1) * SECTOR_BYTES).min(length)
}

/// A group of writes under way.
#[derive(Debug)]
struct Group {
    until: Time,
    steps: VecDeque<Step>,
    ticket: u64,
    /// The newest write when it is done, and whether that is synced then.
    newest: OpNumber,
    is_synced: bool,
}

/// One rank's disk.
#[derive(Debug)]
pub struct Platter {
    owner: Owner,
    fsync: Fsync,
    segment_bytes_max: u64,
    boot: u64,
    files: BTreeMap<u64, PlatterFile>,
    journal: Option<Journal>,
    /// What has to be done before the first group of this life.
    begun: Vec<Step>,
    waiting: Vec<Record>,
    /// The number of the newest record of this life that was handed over.
    handed: u64,
    group: Option<Group>,
    rng: ChaCha8Rng,
    /// A write takes this many times what it takes else.
    pace: u32,
    /// It has failed, and does nothing before there is a new process.
    failed: bool,
    /// It takes no longer than it has to.
    calm: bool,
    /// No write takes much longer than another.
    steady: bool,
    /// The newest write that was written, and that was synced.
    written: OpNumber,
    synced: OpNumber,
    /// Since when there is something that was not synced.
    unsynced: Option<Time>,
    /// Bytes of torn ends that were cut off.
    pub torn_bytes: u64,
    /// How long the longest hang was, if one has just begun.
    pub hung: Option<Duration>,
}

impl Platter {
    /// An empty disk.
    #[must_use]
    pub fn new(owner: Owner, fsync: Fsync, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(owner.rank.0) + 1_000);
        let segment_bytes_max = 1 << rng.random_range(12..17);
        Self {
            owner,
            fsync,
            segment_bytes_max,
            boot: 1,
            files: BTreeMap::new(),
            journal: None,
            begun: Vec::new(),
            waiting: Vec::new(),
            handed: 0,
            group: None,
            rng,
            pace: 1,
            failed: false,
            calm: false,
            steady: false,
            written: OpNumber(0),
            synced: OpNumber(0),
            unsynced: None,
            torn_bytes: 0,
            hung: None,
        }
    }

    /// When the next group of writes is done.
    #[must_use]
    pub fn due(&self) -> Time {
        self.group.as_ref().map_or(Time::NEVER, |group| group.until)
    }

    /// From now on a write takes this many times what it takes on a good disk.
    pub fn set_pace(&mut self, pace: u32) {
        self.pace = pace;
    }

    /// From now on no write takes much longer than another.
    pub fn set_steady(&mut self) {
        self.steady = true;
    }

    /// What is on it now.
    #[must_use]
    pub fn status(&self, now: Time) -> DiskStatus {
        let synced = if self.has_sync_due(now) { self.written } else { self.synced };
        let bytes = self.files.values().map(|file| file.cached.len() as u64).sum();
        DiskStatus { written: self.written, synced, bytes, failed: self.failed, reading: None }
    }

    fn has_sync_due(&self, now: Time) -> bool {
        self.fsync == Fsync::EverySecond && self.unsynced.is_some_and(|since| now.since(since) >= SYNC_INTERVAL)
    }

    /// What was to be synced by now has been.
    fn sync_if_due(&mut self, now: Time) {
        if self.has_sync_due(now) {
            self.files.values_mut().for_each(PlatterFile::sync);
            (self.synced, self.unsynced) = (self.written, None);
        }
    }

    /// It fails: what is under way is there in part, and nothing is written any more.
    pub fn fail(&mut self) {
        self.kill();
        self.failed = true;
    }

    /// Whatever hangs goes on.
    pub fn set_calm(&mut self, now: Time) {
        self.calm = true;
        self.group
            .iter_mut()
            .for_each(|group| group.until = group.until.min(now + Duration::from_micros(WRITE_US.end)));
    }

    /// A record is to be written.
    pub fn hand(&mut self, now: Time, record: Record) {
        self.handed += 1;
        if !self.failed {
            self.waiting.push(record);
            self.begin_group(now);
        }
    }

    /// Everything that waits is written in one go: one sync for all of it.
    fn begin_group(&mut self, now: Time) {
        let Some(journal) = self.journal.as_mut().filter(|_| self.group.is_none() && !self.waiting.is_empty()) else {
            return;
        };
        let mut steps = std::mem::take(&mut self.begun);
        let records = std::mem::take(&mut self.waiting);
        let is_synced = journal.group(&records, self.fsync, &mut steps);
        let newest = records.iter().fold(self.written, |before, record| record.newest_op(before));
        let range = match () {
            () if self.calm || self.steady => WRITE_US,
            () if self.rng.random_range(0..HANG_ONE_IN) == 0 => HANG_US,
            () if self.rng.random_range(0..SLOW_ONE_IN) == 0 => SLOW_US,
            () => WRITE_US,
        };
        let pace = if self.calm { 1 } else { self.pace };
        let takes = Duration::from_micros(self.rng.random_range(range.clone())) * pace;
        self.hung = (range == HANG_US).then_some(takes);
        self.group = Some(Group { until: now + takes, steps: steps.into(), ticket: self.handed, newest, is_synced });
    }

    /// The group that was due is done: up to which number everything is safe.
    pub fn complete(&mut self, now: Time) -> Option<u64> {
        self.sync_if_due(now);
        let Group { steps, ticket, newest, is_synced, .. } = self.group.take()?;
        steps.iter().for_each(|step| self.carry_out(step));
        self.written = newest;
        self.synced = if is_synced { newest } else { self.synced.min(newest) };
        self.unsynced = if is_synced { None } else { self.unsynced.or(Some(now)) };
        self.begin_group(now);
        Some(ticket)
    }

    fn carry_out(&mut self, step: &Step) {
        let place = |at: u64| usize::try_from(at).expect("simulated files are small");
        match step {
            Step::Create { number, bytes } => {
                self.create(*number, bytes);
                self.file(*number).sync();
            }
            Step::Write { number, at, bytes } => self.file(*number).write(place(*at), bytes),
            Step::Sync { number } => self.file(*number).sync(),
            Step::Cut { number, at } => {
                self.file(*number).cached.truncate(place(*at));
                self.file(*number).sync();
            }
            Step::Remove { number } => drop(self.files.remove(number)),
        }
    }

    fn create(&mut self, number: u64, bytes: &[u8]) {
        let mut file = PlatterFile::default();
        file.write(0, bytes);
        assert!(self.files.insert(number, file).is_none(), "a file is made where there is none");
    }

    fn file(&mut self, number: u64) -> &mut PlatterFile {
        self.files.get_mut(&number).expect("files are created first")
    }

    /// Whoever writes is killed: of the steps under way some are done, and of one a part.
    pub fn kill(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        let steps = self.group.take().map_or(begun.into(), |group| group.steps);
        let done = self.rng.random_range(0..=steps.len());
        self.carry_out_some(steps, done);
        self.waiting.clear();
        self.journal = None;
    }

    /// Does this many of these steps, and a part of the next one.
    fn carry_out_some(&mut self, steps: impl IntoIterator<Item = Step>, done: usize) {
        let mut steps = steps.into_iter();
        steps.by_ref().take(done).for_each(|step| self.carry_out(&step));
        match steps.next() {
            Some(Step::Write { number, at, mut bytes }) if bytes.len() > SECTOR_BYTES => {
                bytes.truncate(self.rng.random_range(0..bytes.len()));
                self.carry_out(&Step::Write { number, at, bytes });
            }
            Some(Step::Create { number, mut bytes }) => {
                bytes.truncate(self.rng.random_range(0..=bytes.len()));
                self.create(number, &bytes);
            }
            _ => {}
        }
    }

    /// The machine stops, and is started anew.
    pub fn lose_power(&mut self, now: Time) {
        self.sync_if_due(now);
        self.kill();
        self.unsynced = None;
        self.boot += 1;
        // The name of a file that was never synced may be lost as well.
        let rng = &mut self.rng;
        self.files.retain(|_, file| !file.synced.is_empty() || rng.random_range(0..2) == 0);
        self.files.values_mut().for_each(|file| file.lose_power(rng));
    }

    /// A bit flips somewhere. False when there is nothing.
    pub fn flip(&mut self) -> bool {
        let numbers: Vec<u64> = self.files.keys().copied().collect();
        if numbers.is_empty() {
            return false;
        }
        let number = numbers[self.rng.random_range(0..numbers.len())];
        let length = self.file(number).cached.len();
        let (at, bit) = (self.rng.random_range(0..length), self.rng.random_range(0..8));
        let file = self.file(number);
        file.cached[at] ^= 1 << bit;
        file.dirty.insert(at / SECTOR_BYTES);
        file.sync();
        true
    }

    /// A new process takes over: numbers begin at 1 again.
    pub fn restart(&mut self) {
        (self.handed, self.failed) = (0, false);
    }

    /// What is on the disk; a damaged log is put away, and another one begun.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self) -> Result<Recovered, String> {
        self.kill();
        let files = self.files.iter().map(|(number, file)| (*number, &file.cached));
        let read = recover(files, Some(self.owner), self.boot);
        let (result, ending) = match read {
            Ok((had, ending)) => (Ok(had), ending),
            Err(damage) => {
                self.files.clear();
                (Err(format!("the log of server {} is damaged: {damage}", self.owner.rank)), Ending::default())
            }
        };
        self.torn_bytes += ending.end.as_ref().map_or(0, |end| end.torn_bytes);
        self.written = result.as_ref().map_or(OpNumber(0), Recovered::op);
        self.synced = if self.unsynced.is_none() { self.written } else { self.synced.min(self.written) };
        let (owner, boot, bytes_max) = (self.owner, self.boot, self.segment_bytes_max);
        self.journal = Some(Journal::after(&ending, owner, boot, bytes_max, &mut self.begun));
        result
    }
}
