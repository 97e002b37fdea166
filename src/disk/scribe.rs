//! A rank's disk: a thread that writes, so that the rank's loop never waits for it.
//!
//! The loop hands records over and goes on. The thread takes all that has come, writes it in one go, syncs once for
//! all of it if that is asked for, says how far it is, and wakes the loop. So one sync serves everybody who waits, the
//! more of them the slower the disk is.
//!
//! A disk that has failed once is not asked again: after a failed `fsync` the system may say that all is well while
//! what was written is gone (Rebello and others, ATC 2020).

use super::cabinet::{Cabinet, LogFound};
use crate::core::disk::Fsync;
use crate::core::node::DiskOrder;
use crate::core::protocol::{Record, Recovered};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// The most records that are written in one go.
const GROUP_RECORDS_MAX: usize = 4_096;
/// Without a sync before each acknowledgement, this often.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The end of a rank waits no longer for its disk.
const END_DEADLINE: Duration = Duration::from_secs(1);
/// With it: when nothing has come for so long, also the mark that says how far it is gets to the disk.
const IDLE: Duration = Duration::from_millis(10);

/// What a disk has to say.
#[derive(Debug)]
pub enum DiskNews {
    /// Everything up to this number is as safe as was asked for.
    Durable(u64),
    /// What was on it, as asked for; or why it counts for nothing.
    Recovered(Box<Result<Recovered, String>>),
    /// It has failed.
    Failed(String),
}

/// The loop's end of it.
#[derive(Debug)]
pub struct Scribe {
    /// `None` at the end.
    orders: Option<Sender<DiskOrder>>,
    news: Receiver<DiskNews>,
}

impl Drop for Scribe {
    /// A rank that ends has everything on its disk, unless that takes too long.
    fn drop(&mut self) {
        self.orders = None;
        let deadline = Instant::now() + END_DEADLINE;
        while self.news.recv_deadline(deadline).is_ok() {}
    }
}

impl Scribe {
    /// Starts the thread. `wake` wakes the loop.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(cabinet: Cabinet, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (orders, ordered) = unbounded();
        let (telling, news) = unbounded();
        let desk =
            ScribeDesk { cabinet, ordered, telling, wake: Box::new(wake), written: 0, unsynced: None, unmarked: false };
        thread::Builder::new().name("disk".into()).spawn(move || desk.run())?;
        Ok(Self { orders: Some(orders), news })
    }

    /// Hands an order over.
    pub fn order(&self, order: DiskOrder) {
        // A disk that has failed has said so, and takes nothing any more.
        let _ = self.orders.as_ref().map(|orders| orders.send(order));
    }

    /// What it has to say next.
    #[must_use]
    pub fn news(&self) -> Option<DiskNews> {
        self.news.try_recv().ok()
    }
}

/// The thread.
struct ScribeDesk {
    cabinet: Cabinet,
    ordered: Receiver<DiskOrder>,
    telling: Sender<DiskNews>,
    wake: Box<dyn Fn() + Send>,
    written: u64,
    /// Since when there is something that was not synced.
    unsynced: Option<Instant>,
    /// The mark that says how far it is may not be on the disk.
    unmarked: bool,
}

impl ScribeDesk {
    fn run(mut self) {
        loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let folder = self.cabinet.folder().display().to_string();
                    return self.tell(DiskNews::Failed(format!("{folder}: {error}")));
                }
            }
        }
    }

    fn tell(&self, news: DiskNews) {
        let _ = self.telling.send(news);
        (self.wake)();
    }

    /// How long there may be nothing to do.
    fn patience(&self) -> Option<Duration> {
        match self.cabinet.fsync() {
            Fsync::Always => self.unmarked.then_some(IDLE),
            Fsync::EverySecond => self.unsynced.map(|since| SYNC_INTERVAL.saturating_sub(since.elapsed())),
            Fsync::Never => None,
        }
    }

    /// Waits for something to do, and does it. False when there will be nothing any more.
    fn turn(&mut self) -> io::Result<bool> {
        let first = match self.patience() {
            Some(patience) => self.ordered.recv_timeout(patience),
            None => self.ordered.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(DiskOrder::Write(record)) => self.write(record)?,
            Ok(DiskOrder::Read) => self.read(),
            Err(RecvTimeoutError::Timeout) if self.unmarked => {
                self.unmarked = false;
                self.cabinet.sync_mark()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                self.cabinet.sync()?;
                return Ok(false);
            }
        }
        if self.cabinet.fsync() == Fsync::EverySecond
            && self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL)
        {
            self.cabinet.sync()?;
            self.unsynced = None;
        }
        Ok(true)
    }

    /// Writes this record, and all others that have come.
    fn write(&mut self, first: Record) -> io::Result<()> {
        let mut group = vec![first];
        let mut read = false;
        while group.len() < GROUP_RECORDS_MAX && !read {
            match self.ordered.try_recv() {
                Ok(DiskOrder::Write(record)) => group.push(record),
                Ok(DiskOrder::Read) => read = true,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if self.cabinet.write(&group)? {
            (self.unsynced, self.unmarked) = (None, true);
        } else {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        self.written += group.len() as u64;
        self.tell(DiskNews::Durable(self.written));
        if read {
            self.read();
        }
        Ok(())
    }

    fn read(&mut self) {
        let had = match self.cabinet.read_again() {
            Ok(LogFound { had, damage: None }) => Ok(had),
            Ok(LogFound { damage: Some(damage), .. }) => Err(damage),
            Err(error) => return self.tell(DiskNews::Failed(error.to_string())),
        };
        self.tell(DiskNews::Recovered(Box::new(had)));
    }
}
