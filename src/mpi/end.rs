//! How the loop of a rank other than 0 comes to its end.

use super::log::Log;
use crate::core::protocol::Time;
use std::time::Duration;

/// The operating system is asked this often whether this rank still has a reason to live.
const ORPHAN_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The console said so.
    Told,
    /// mpirun or rank 0 is gone.
    Orphaned,
}

/// Watches for the end.
pub struct EndWatch<'a> {
    is_orphan: &'a dyn Fn() -> bool,
    next_check: Time,
}

impl<'a> EndWatch<'a> {
    /// `is_orphan` asks the operating system.
    pub fn new(now: Time, is_orphan: &'a dyn Fn() -> bool) -> Self {
        Self { is_orphan, next_check: now + ORPHAN_CHECK_INTERVAL }
    }

    /// Is this turn the last? The log says so, and why.
    pub fn come(&mut self, now: Time, told_to_leave: bool, log: &mut Log) -> Option<Ended> {
        let (ended, line) = if told_to_leave {
            (Ended::Told, "told to leave")
        } else if now < self.next_check {
            return None;
        } else {
            self.next_check = now + ORPHAN_CHECK_INTERVAL;
            if !(self.is_orphan)() {
                return None;
            }
            (Ended::Orphaned, "mpirun or rank 0 is gone")
        };
        log.line(now, line);
        log.flush();
        Some(ended)
    }

    /// When it wants to look next.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.next_check
    }
}
