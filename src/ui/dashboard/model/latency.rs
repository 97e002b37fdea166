//! How long answers take: quantiles over the last minute or less, and the last operations one by one.

use crate::core::protocol::Time;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::time::Duration;

/// The sparkline remembers this many operations.
pub const SPARKS_MAX: usize = 128;
/// Two halves make the window: the older one is dropped when the newer one is this old.
const HALF_WINDOW: Duration = Duration::from_secs(30);
/// With many records the quantiles move slowly: refreshed after this many more.
const REFRESH_EVERY: u64 = 64;
const LOWEST_NS: u64 = 100;
const HIGHEST_NS: u64 = 120_000_000_000;

/// Latencies of the client's operations.
#[derive(Debug, Clone)]
pub struct Latency {
    newer: Histogram<u64>,
    older: Histogram<u64>,
    turned: Time,
    quantiles: Option<(Duration, Duration)>,
    sparks: VecDeque<Duration>,
}

impl Latency {
    pub(super) fn new(now: Time) -> Self {
        let empty = || Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 2).expect("the bounds are sound");
        Self { newer: empty(), older: empty(), turned: now, quantiles: None, sparks: VecDeque::new() }
    }

    pub(super) fn record(&mut self, now: Time, took: Duration) {
        self.age(now);
        self.newer.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if self.sparks.len() == SPARKS_MAX {
            self.sparks.pop_front();
        }
        self.sparks.push_back(took);
        let count = self.newer.len();
        if count <= REFRESH_EVERY || count.is_multiple_of(REFRESH_EVERY) {
            self.refresh();
        }
    }

    /// Old records lose their say. The last quantiles stay on the screen while nobody asks anything. However often
    /// this is asked in between, the outcome is the same.
    pub(super) fn age(&mut self, now: Time) {
        let halves = now.since(self.turned).as_nanos() / HALF_WINDOW.as_nanos();
        if halves == 0 {
            return;
        }
        self.turned = self.turned + HALF_WINDOW * u32::try_from(halves).unwrap_or(u32::MAX);
        if !self.newer.is_empty() {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.reset();
            self.refresh();
        }
    }

    fn refresh(&mut self) {
        let mut both = self.older.clone();
        both.add(&self.newer).expect("both have the same bounds");
        let at = |quantile| Duration::from_nanos(both.value_at_quantile(quantile));
        self.quantiles = Some((at(0.5), at(0.99)));
    }

    /// The median and the 99th percentile, once there was an operation.
    #[must_use]
    pub fn quantiles(&self) -> Option<(Duration, Duration)> {
        self.quantiles
    }

    /// The latest operations, oldest first.
    #[must_use]
    pub fn sparks(&self) -> impl DoubleEndedIterator<Item = Duration> + ExactSizeIterator + '_ {
        self.sparks.iter().copied()
    }
}
