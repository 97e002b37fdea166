//! A rank's log file: what happened, never the screen.

use crate::core::protocol::{Event, Rank, Time};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// A log ends, with a line that says so, once it holds this many bytes.
pub const LOG_BYTES_MAX: u64 = 16 << 20;
/// Lines reach the file at the latest after this long.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The log of one rank. A log that cannot be written is given up silently: the store goes on.
#[derive(Debug)]
pub struct Log {
    rank: Rank,
    file: Option<BufWriter<File>>,
    written: u64,
    started: Time,
    flushed: Time,
}

impl Log {
    /// `rank-N.log` in `dir`.
    #[must_use]
    pub fn create(dir: Option<&Path>, rank: Rank, now: Time) -> Self {
        let file = dir
            .and_then(|dir| File::options().create(true).append(true).open(dir.join(format!("rank-{rank}.log"))).ok());
        // The processes that follow each other in one rank share a file and its limit.
        let written = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
        let file = file.filter(|_| written <= LOG_BYTES_MAX).map(BufWriter::new);
        Self { rank, file, written, started: now, flushed: now }
    }

    /// A line of text.
    pub fn line(&mut self, now: Time, text: &str) {
        let Some(file) = &mut self.file else { return };
        let line = format!("{:>12} n{} {text}\n", now.since(self.started).as_micros(), self.rank);
        self.written += line.len() as u64;
        let full = self.written > LOG_BYTES_MAX;
        let result = if full { file.write_all(b"the log is full\n") } else { file.write_all(line.as_bytes()) };
        if full || result.is_err() {
            let _ = file.flush();
            self.file = None;
        }
    }

    /// An event, in the common notation.
    pub fn event(&mut self, now: Time, event: &Event) {
        if self.file.is_some() {
            self.line(now, &event.to_string());
        }
    }

    /// Brings lines to the file that have waited long enough.
    pub fn tick(&mut self, now: Time) {
        if now.since(self.flushed) >= FLUSH_INTERVAL {
            self.flushed = now;
            self.flush();
        }
    }

    /// Brings all lines to the file.
    pub fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            let _ = file.flush();
        }
    }
}
