//! The one clock of a process.

use crate::protocol::Time;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the system's monotonic clock. All ranks of one host read the same one, which the
/// dashboard uses; the protocol compares durations only.
#[must_use]
pub fn now() -> Time {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    Time(seconds * 1_000_000_000 + nanos)
}
