//! How long the turns of a rank's loop take.
//!
//! While a rank is in a turn it hears nobody, and a server that is not heard for 50 ms is taken for dead. So what
//! takes longer is cut into slices ([`crate::core::store::work`]); here is measured whether that is enough.

use super::log::Log;
use crate::core::protocol::{Time, TurnTimes};
use std::time::Duration;

/// A turn that took longer than this is worth a line in the log.
pub const LONG_TURN: Duration = Duration::from_millis(10);
/// The longest turn is that of the last one or two of these.
const WINDOW: Duration = Duration::from_secs(5);
/// Steps to each doubling: a quantile is told at most a quarter too high.
const STEPS: u32 = 4;
const BUCKETS: usize = 64 * STEPS as usize;

/// The turns of some seconds.
#[derive(Debug, Clone)]
struct TurnWindow {
    longest: Duration,
    /// Turns in which something was done, by how long they took.
    counts: [u32; BUCKETS],
}

impl Default for TurnWindow {
    fn default() -> Self {
        Self { longest: Duration::ZERO, counts: [0; BUCKETS] }
    }
}

/// Measures turns.
#[derive(Debug)]
pub struct Turns {
    begun: Time,
    ends: Time,
    window: Box<TurnWindow>,
    before: Box<TurnWindow>,
}

impl Turns {
    /// The first turn begins.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { begun: now, ends: now + WINDOW, window: Box::default(), before: Box::default() }
    }

    /// A turn begins: whatever came between it and the one before was not one.
    pub fn begin(&mut self, now: Time) {
        self.begun = now;
    }

    /// The turn ends. `busy`: something was done in it.
    pub fn end(&mut self, now: Time, busy: bool, log: &mut Log) {
        let took = now.since(self.begun);
        self.begun = now;
        if now >= self.ends {
            self.ends = now + WINDOW;
            std::mem::swap(&mut self.window, &mut self.before);
            *self.window = TurnWindow::default();
        }
        self.window.longest = self.window.longest.max(took);
        if busy {
            self.window.counts[bucket(took)] += 1;
        }
        if took > LONG_TURN {
            log.line(now, &format!("a turn of this loop took {took:.1?}"));
        }
    }

    /// The turns of the last seconds.
    #[must_use]
    pub fn times(&self) -> TurnTimes {
        let longest = self.window.longest.max(self.before.longest);
        let count = |at: usize| u64::from(self.window.counts[at]) + u64::from(self.before.counts[at]);
        let all: u64 = (0..BUCKETS).map(count).sum();
        let mut slower = all / 100;
        // From the slowest on, a hundredth of them is slower.
        let at = (0..BUCKETS).rev().find(|at| {
            let here = count(*at);
            let found = here > slower;
            slower = slower.saturating_sub(here);
            found
        });
        TurnTimes { longest, p99: at.map_or(Duration::ZERO, end_of).min(longest) }
    }
}

fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(u64::from(STEPS));
    let doublings = nanos.ilog2();
    let step = (nanos >> (doublings - STEPS.ilog2())) as u32 & (STEPS - 1);
    (doublings * STEPS + step) as usize
}

/// The longest duration that falls into this bucket.
fn end_of(bucket: usize) -> Duration {
    let (doublings, step) = (bucket as u32 / STEPS, bucket as u32 % STEPS);
    let end = (u128::from(STEPS + step + 1) << doublings) / u128::from(STEPS);
    Duration::from_nanos(u64::try_from(end - 1).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::Rank;

    fn turn(turns: &mut Turns, begun: Time, took: Duration, busy: bool) {
        turns.begin(begun);
        turns.end(begun + took, busy, &mut Log::create(None, Rank(1), begun));
    }

    #[test]
    fn a_bucket_holds_what_ends_with_it() {
        for nanos in (4..5_000).chain([1_000_003, 60_000_000_007]) {
            let told = end_of(bucket(Duration::from_nanos(nanos))).as_nanos() as u64;
            assert!(told >= nanos && told <= nanos + nanos / 4, "{nanos} told as {told}");
        }
        assert!(bucket(Duration::MAX) < BUCKETS && bucket(Duration::ZERO) < BUCKETS);
    }

    #[test]
    fn the_longest_turn_is_told_for_some_seconds_and_idle_ones_do_not_hide_the_others() {
        let (mut turns, start) = (Turns::new(Time(0)), Time(1));
        let (long, short) = (Duration::from_millis(7), Duration::from_micros(100));
        (0..1_000).for_each(|_| turn(&mut turns, start, Duration::from_nanos(50), false));
        (0..97).for_each(|_| turn(&mut turns, start, short, true));
        (0..3).for_each(|_| turn(&mut turns, start, long, true));
        assert_eq!(turns.times().longest, long);
        assert!(turns.times().p99 >= long * 3 / 4, "{:?}", turns.times());
        (0..300).for_each(|_| turn(&mut turns, start, short, true));
        assert!((short..short * 2).contains(&turns.times().p99), "{:?}", turns.times());
        turn(&mut turns, start + WINDOW, short, true);
        assert_eq!(turns.times().longest, long, "it is not over yet");
        turn(&mut turns, start + WINDOW * 3, short, true);
        assert_eq!(turns.times().longest, short);
    }
}
