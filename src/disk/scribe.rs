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
use crate::core::protocol::{DiskStatus, Record, Recovered};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
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
    status: Arc<Mutex<DiskStatus>>,
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
        Self::with(wake, move |tells| Some((cabinet, tells)))
    }

    /// Starts the thread, which opens the log first: the first news is what was on it, or why it cannot be used.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn opening(
        open: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<(Cabinet, LogFound), String> + Send + 'static,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        Self::with(wake, move |tells| match open(&mut |read, bytes| tells.reads(read, bytes)) {
            Ok((cabinet, found)) => {
                tells.publish(cabinet.status());
                tells.tell(found.into_news());
                Some((cabinet, tells))
            }
            Err(why) => {
                tells.publish(DiskStatus { failed: true, ..DiskStatus::default() });
                tells.tell(DiskNews::Failed(why));
                None
            }
        })
    }

    fn with(
        wake: impl Fn() + Send + 'static,
        begin: impl FnOnce(ScribeVoice) -> Option<(Cabinet, ScribeVoice)> + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, ordered) = unbounded();
        let (telling, news) = unbounded();
        let status = Arc::default();
        let voice = ScribeVoice { telling, status: Arc::clone(&status), wake: Box::new(wake) };
        thread::Builder::new().name("disk".into()).spawn(move || {
            if let Some((cabinet, voice)) = begin(voice) {
                ScribeDesk { cabinet, ordered, voice, written: 0, unsynced: None, unmarked: false }.run();
            }
        })?;
        Ok(Self { orders: Some(orders), news, status })
    }

    /// Hands an order over.
    pub fn order(&self, order: DiskOrder) {
        // A disk that has failed has said so, and takes nothing any more.
        let _ = self.orders.as_ref().map(|orders| orders.send(order));
    }

    /// What is on the disk by now.
    #[must_use]
    pub fn status(&self) -> DiskStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has to say next.
    #[must_use]
    pub fn news(&self) -> Option<DiskNews> {
        self.news.try_recv().ok()
    }
}

/// How the thread is heard.
struct ScribeVoice {
    telling: Sender<DiskNews>,
    status: Arc<Mutex<DiskStatus>>,
    wake: Box<dyn Fn() + Send>,
}

impl ScribeVoice {
    /// Says what is on the disk by now.
    fn publish(&self, status: DiskStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn reads(&self, read: u64, bytes: u64) {
        self.publish(DiskStatus { bytes, reading: Some((read, bytes)), ..DiskStatus::default() });
    }

    fn tell(&self, news: DiskNews) {
        let _ = self.telling.send(news);
        (self.wake)();
    }
}

impl LogFound {
    fn into_news(self) -> DiskNews {
        DiskNews::Recovered(Box::new(self.damage.map_or(Ok(self.had), Err)))
    }
}

/// The thread.
struct ScribeDesk {
    cabinet: Cabinet,
    ordered: Receiver<DiskOrder>,
    voice: ScribeVoice,
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
                Err(why) => {
                    self.voice.publish(DiskStatus { failed: true, ..self.cabinet.status() });
                    return self.voice.tell(DiskNews::Failed(why));
                }
            }
        }
    }

    /// The system's word, and where.
    fn trouble(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.cabinet.folder().display())
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
    fn turn(&mut self) -> Result<bool, String> {
        let first = match self.patience() {
            Some(patience) => self.ordered.recv_timeout(patience),
            None => self.ordered.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(DiskOrder::Write(record)) => self.write(record)?,
            Ok(DiskOrder::Read) => self.read()?,
            Err(RecvTimeoutError::Timeout) if self.unmarked => {
                self.unmarked = false;
                self.cabinet.sync_mark().map_err(|error| self.trouble(&error))?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                self.cabinet.sync().map_err(|error| self.trouble(&error))?;
                return Ok(false);
            }
        }
        if self.cabinet.fsync() == Fsync::EverySecond
            && self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL)
        {
            self.cabinet.sync().map_err(|error| self.trouble(&error))?;
            self.unsynced = None;
            self.voice.publish(self.cabinet.status());
        }
        Ok(true)
    }

    /// Writes this record, and all others that have come.
    fn write(&mut self, first: Record) -> Result<(), String> {
        let mut group = vec![first];
        let mut read = false;
        while group.len() < GROUP_RECORDS_MAX && !read {
            match self.ordered.try_recv() {
                Ok(DiskOrder::Write(record)) => group.push(record),
                Ok(DiskOrder::Read) => read = true,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if self.cabinet.write(&group).map_err(|error| self.trouble(&error))? {
            (self.unsynced, self.unmarked) = (None, true);
        } else {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        self.written += group.len() as u64;
        self.voice.publish(self.cabinet.status());
        self.voice.tell(DiskNews::Durable(self.written));
        if read { self.read() } else { Ok(()) }
    }

    fn read(&mut self) -> Result<(), String> {
        let Self { cabinet, voice, .. } = self;
        let found =
            cabinet.read_again(&mut |read, bytes| voice.reads(read, bytes)).map_err(|error| error.to_string())?;
        voice.publish(cabinet.status());
        voice.tell(found.into_news());
        Ok(())
    }
}
