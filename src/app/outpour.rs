//! The events of line mode, on stderr: told in their order, and never waited for.
//!
//! stderr may be a pipe that nobody reads. Whoever writes to it then waits for ever, and that must not be rank 0. So
//! lines go to a thread of their own; when too many wait, they are dropped and counted.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// At most this many lines wait.
const LINES_MAX: usize = 4_096;
/// In the end, what still waits is given so long; a reader that reads needs less.
const LAST_WORDS_MAX: Duration = Duration::from_millis(300);

/// The way to stderr.
#[derive(Debug)]
pub(super) struct Outpour {
    lines: Sender<String>,
    dropped: Arc<AtomicU64>,
    /// Closed by the thread when everything is written.
    written: Receiver<()>,
}

impl Outpour {
    /// Lines on `out`.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = bounded::<String>(LINES_MAX);
        let (writing, written) = bounded::<()>(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::Builder::new().name("stderr".into()).spawn(move || {
            let _writing = writing;
            pour(&waiting, &counted, out);
        })?;
        Ok(Self { lines, dropped, written })
    }

    /// One line more. Never waits.
    pub(super) fn say(&self, line: &str) {
        if self.lines.try_send(format!("{line}\n")).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The end: what waits is written, if somebody reads it.
    pub(super) fn close(self) {
        drop(self.lines);
        let _ = self.written.recv_timeout(LAST_WORDS_MAX);
    }
}

fn pour(lines: &Receiver<String>, dropped: &AtomicU64, mut out: impl Write) {
    for line in lines {
        // A stderr that is closed is nobody's problem any more.
        let _ = out.write_all(line.as_bytes());
        if lines.is_empty() {
            tell_dropped(dropped, &mut out);
        }
    }
    tell_dropped(dropped, &mut out);
    let _ = out.flush();
}

fn tell_dropped(dropped: &AtomicU64, out: &mut impl Write) {
    let count = dropped.swap(0, Ordering::Relaxed);
    if count > 0 {
        let _ = out.write_all(format!("({count} lines were dropped: nobody read them in time)\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::time::Instant;

    #[test]
    fn nobody_waits_for_a_reader_and_what_was_dropped_is_counted() {
        let (mut reader, writer) = io::pipe().unwrap();
        let outpour = Outpour::start(writer).unwrap();
        let begun = Instant::now();
        let line = "x".repeat(99);
        for _ in 0..3 * LINES_MAX {
            outpour.say(&line);
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        outpour.close();
        let text = reading.join().unwrap().unwrap();
        let told = text.lines().filter(|told| **told == line).count();
        let dropped: usize =
            text.lines().filter_map(|line| line.strip_prefix('(')?.split(' ').next()?.parse::<usize>().ok()).sum();
        assert!(dropped > 0, "a pipe holds 64 KiB");
        assert_eq!(told + dropped, 3 * LINES_MAX);
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_either() {
        let (_reader, writer) = io::pipe().unwrap();
        let outpour = Outpour::start(writer).unwrap();
        (0..LINES_MAX).for_each(|_| outpour.say(&"x".repeat(99)));
        let begun = Instant::now();
        outpour.close();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
