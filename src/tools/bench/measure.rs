//! Durations, collected.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest duration told apart (a minute); longer ones count as this.
const NANOS_MAX: u64 = 60_000_000_000;
/// Significant digits of a duration.
const DIGITS: u8 = 3;

/// How long each of many operations took, and how long all of them.
#[derive(Debug, Clone)]
pub struct Samples {
    nanos: Histogram<u64>,
    /// The time in which they were done.
    pub elapsed: Duration,
}

impl Default for Samples {
    fn default() -> Self {
        let nanos = Histogram::new_with_max(NANOS_MAX, DIGITS).expect("constants that suit each other");
        Self { nanos, elapsed: Duration::ZERO }
    }
}

impl Samples {
    /// One operation took this long.
    pub fn record(&mut self, took: Duration) {
        self.nanos.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(NANOS_MAX));
    }

    /// Nothing was done yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nanos.is_empty()
    }

    /// Adds what was measured in another slice.
    pub fn add(&mut self, other: &Samples) {
        self.nanos.add(&other.nanos).expect("histograms of one shape");
        self.elapsed += other.elapsed;
    }

    /// How many operations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.nanos.len()
    }

    /// The duration that this share of all operations (0 to 1) did not exceed, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.nanos.value_at_quantile(share) as f64 / 1e3
    }

    /// Operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.count() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The usual three.
    #[must_use]
    pub fn tail(&self) -> Tail {
        Tail {
            p50_us: self.quantile_us(0.5),
            p99_us: self.quantile_us(0.99),
            p999_us: self.quantile_us(0.999),
            max_us: self.nanos.max() as f64 / 1e3,
            count: self.count(),
            per_second: self.rate(),
        }
    }
}

/// The shape of many durations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Half of them did not exceed this, in microseconds.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// How many.
    pub count: u64,
    /// How many a second.
    pub per_second: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_microseconds() {
        let mut samples = Samples::default();
        for us in 1..=1000 {
            samples.record(Duration::from_micros(us));
        }
        samples.elapsed = Duration::from_secs(2);
        let tail = samples.tail();
        assert!((tail.p50_us - 500.0).abs() < 1.0 && (tail.p99_us - 990.0).abs() < 2.0, "{tail:?}");
        assert_eq!((tail.count, tail.per_second), (1000, 500.0));
    }
}
