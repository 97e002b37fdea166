//! The one clock of a process.

use crate::core::protocol::Time;
use rustix::time::{ClockId, clock_gettime};

/// The clock that goes on while the host sleeps. By one that stands meanwhile (`CLOCK_MONOTONIC`) a primary would wake
/// with leases that still look good, and answer beside whoever has taken over. Both are read without a system call.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere there is no other; macOS's goes on.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Nanoseconds since the host was started. All ranks of one host read the same clock, which the
/// dashboard uses; the protocol compares durations only.
#[must_use]
pub fn now() -> Time {
    let time = clock_gettime(CLOCK);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    Time(seconds * 1_000_000_000 + nanos)
}

/// The time of day at the moment when [`now`] was 0, in milliseconds since 1970.
#[must_use]
pub fn unix_ms_at_zero() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    (seconds * 1000 + nanos / 1_000_000).saturating_sub(now().as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own word about how long it has run, sleep included.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_clock_counts_the_time_that_the_host_has_slept() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
            seconds
        };
        let (before, now, after) = (uptime(), now(), uptime());
        let now = now.0 as f64 / 1e9;
        assert!(before - 0.01 <= now && now <= after + 0.02, "{before} {now} {after}");
    }

    /// The same in a name space of time in which the host has slept for a day; where that is not permitted, it is not
    /// tried.
    #[test]
    #[cfg(target_os = "linux")]
    fn it_goes_on_while_the_host_sleeps() {
        const A_DAY: &str = "86400";
        let unshare = || {
            let mut unshare = std::process::Command::new("unshare");
            unshare.args(["--time", "--boottime", A_DAY]);
            unshare
        };
        if !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no name spaces of time here");
            return;
        }
        let test = "mpi::clock::tests::the_clock_counts_the_time_that_the_host_has_slept";
        let output = unshare().arg(std::env::current_exe().unwrap()).args(["--exact", test]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}
