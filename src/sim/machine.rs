//! The computer under one rank: its clock, and when it lets the rank have a turn.
//!
//! A turn looks at the clock once, after it has taken in what has arrived. Then it works, for as long as the work
//! takes, and what it says leaves at its end. So a turn that is held up in its middle is a turn that takes long:
//! its answers are late, and were right when the clock was read.

use super::clock::Clock;
use crate::core::protocol::Time;
use std::time::Duration;

/// A rank that gets the processor only now and then has it for this long.
const SLICE: Duration = Duration::from_millis(1);

/// One rank's computer.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Its clock.
    pub clock: Clock,
    /// No turn begins before this.
    busy_until: Time,
    /// The next turn is held up for this long in its middle.
    hold: Duration,
    /// A turn only at the beginning of every such stretch of time, until then.
    slow: Option<(Duration, Time)>,
}

impl Machine {
    /// The first moment from `at` on at which a turn can begin.
    #[must_use]
    pub fn next_turn(&self, at: Time) -> Time {
        let at = at.max(self.busy_until);
        match self.slow {
            Some((every, until)) if at < until => {
                let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
                let into = at.0 % every;
                if Duration::from_nanos(into) < SLICE { at } else { Time(at.0 - into + every) }
            }
            _ => at,
        }
    }

    /// A turn that began now works for this long. Tells when it ends: then what it says leaves.
    pub fn work(&mut self, now: Time, work: Duration) -> Time {
        self.busy_until = self.busy_until.max(now) + work + std::mem::take(&mut self.hold);
        self.busy_until
    }

    /// No turn for this long.
    pub fn stall(&mut self, now: Time, wait: Duration) {
        self.busy_until = self.busy_until.max(now + wait);
    }

    /// The next turn is held up for this long, after it has read the clock.
    pub fn hold(&mut self, wait: Duration) {
        self.hold = wait;
    }

    /// For so long, a turn only once in every such stretch of time.
    pub fn slow(&mut self, now: Time, every: Duration, wait: Duration) {
        self.slow = Some((every, now + wait));
    }

    /// True when nothing keeps it from having its turns.
    #[must_use]
    pub fn is_free(&self, now: Time) -> bool {
        self.busy_until <= now && self.hold.is_zero() && self.slow.is_none_or(|(_, until)| until <= now)
    }

    /// Whatever kept it from having its turns is over.
    pub fn calm(&mut self, now: Time) {
        (self.hold, self.slow) = (Duration::ZERO, None);
        self.busy_until = self.busy_until.min(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn turns_wait_for_the_one_before() {
        let mut machine = Machine::default();
        assert_eq!(machine.next_turn(at(5)), at(5));
        assert_eq!(machine.work(at(5), ms(2)), at(7));
        assert_eq!((machine.next_turn(at(6)), machine.next_turn(at(8))), (at(7), at(8)));
        machine.hold(ms(100));
        assert_eq!((machine.work(at(8), ms(1)), machine.work(at(8), ms(1))), (at(109), at(110)));
        machine.stall(at(20), ms(500));
        assert_eq!((machine.next_turn(at(30)), machine.is_free(at(30))), (at(520), false));
        machine.calm(at(30));
        assert!(machine.is_free(at(30)));
        assert_eq!(machine.next_turn(at(30)), at(30));
    }

    #[test]
    fn a_slow_machine_gives_a_turn_now_and_then() {
        let mut machine = Machine::default();
        machine.slow(at(100), ms(30), ms(100));
        assert_eq!(machine.next_turn(at(120)), at(120));
        assert_eq!((machine.next_turn(at(121)), machine.next_turn(at(149))), (at(150), at(150)));
        assert_eq!((machine.next_turn(at(199)), machine.next_turn(at(201))), (at(210), at(201)));
        assert_eq!(machine.next_turn(Time::NEVER), Time::NEVER);
    }
}
