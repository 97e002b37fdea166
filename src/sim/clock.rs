//! The clock of one rank: it starts anywhere, runs at a rate of its own, and may jump ahead.

use crate::core::protocol::Time;
use std::time::Duration;

/// What the protocol promises holds as long as the fastest clock runs less than this many times as fast as the
/// slowest: the rates differ by less than a fifth.
pub const RATES_PROMISED: f64 = 1.25;

/// Rates are given in millionths, so that local time is exact arithmetic on every machine.
const MILLION: u64 = 1_000_000;

/// A clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// This many millionths of a second pass on it in a second.
    rate: u64,
    /// What it showed when time began, and how far it has jumped since.
    ahead: u64,
}

impl Default for Clock {
    /// A clock that shows the time.
    fn default() -> Self {
        Self::new(1.0, Duration::ZERO)
    }
}

impl Clock {
    /// A clock that runs this many times as fast as time, and is this much ahead.
    #[must_use]
    pub fn new(rate: f64, ahead: Duration) -> Self {
        let mut clock = Self { rate: (rate * MILLION as f64) as u64, ahead: 0 };
        clock.jump(ahead);
        clock
    }

    /// From now on it is this much further ahead.
    pub fn jump(&mut self, by: Duration) {
        self.ahead += u64::try_from(by.as_nanos()).unwrap_or(u64::MAX / 2);
    }

    /// What it shows at this time.
    #[must_use]
    pub fn local(self, at: Time) -> Time {
        if self.rate == MILLION || at == Time::NEVER {
            return Time(at.0.saturating_add(self.ahead));
        }
        let passed = u128::from(at.0) * u128::from(self.rate) / u128::from(MILLION);
        Time(u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(self.ahead))
    }

    /// The first time at which it shows this, or more.
    #[must_use]
    pub fn time(self, local: Time) -> Time {
        let passed = local.0.saturating_sub(self.ahead);
        if self.rate == MILLION || local == Time::NEVER {
            return if local == Time::NEVER { local } else { Time(passed) };
        }
        let at = (u128::from(passed) * u128::from(MILLION)).div_ceil(u128::from(self.rate));
        Time(u64::try_from(at).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_at_which_a_clock_shows_something_is_exact() {
        for rate in [0.7, 1.0, 1.1, 1.249, 1.5] {
            for ahead in [0, 1, 999_999_937] {
                let mut clock = Clock::new(rate, Duration::from_nanos(ahead));
                for local in [0, 1, 2, 3, 7, 999, 1_000_003, 999_999_938, 77_777_777_777] {
                    let at = clock.time(Time(local));
                    assert!(clock.local(at) >= Time(local), "{clock:?} at {local}");
                    assert!(at == Time(0) || clock.local(Time(at.0 - 1)) < Time(local), "{clock:?} at {local}");
                }
                let before = clock.local(Time(5_000));
                clock.jump(Duration::from_micros(3));
                assert_eq!(clock.local(Time(5_000)), Time(before.0 + 3_000));
                assert_eq!((clock.local(Time::NEVER), clock.time(Time::NEVER)), (Time::NEVER, Time::NEVER));
            }
        }
    }

    #[test]
    fn a_clock_that_runs_faster_shows_more() {
        let second = Time(1_000_000_000);
        assert_eq!(Clock::default().local(second), second);
        assert_eq!(Clock::new(1.2, Duration::ZERO).local(second), Time(1_200_000_000));
        assert_eq!(Clock::new(1.2, Duration::from_secs(1)).time(Time(2_200_000_000)), second);
    }
}
