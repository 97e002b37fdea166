//! What a client under load has measured, and the sum over several.

use super::Workload;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Buckets to each doubling of the latency: a quantile is told at most a sixteenth too high.
const BUCKETS_PER_DOUBLING: u32 = 16;
/// A text is cut to this many characters.
const TEXT_CHARS_MAX: usize = 160;

/// Durations, counted in buckets that grow with them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Latencies {
    counts: BTreeMap<u16, u64>,
}

impl Latencies {
    /// One answer took this long.
    pub fn record(&mut self, took: Duration) {
        *self.counts.entry(bucket(took)).or_default() += 1;
    }

    /// Adds what another client measured.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
    }

    /// The duration that this share of all answers, 0 to 1, did not exceed; zero when there were none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let all: u64 = self.counts.values().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in &self.counts {
            seen += count;
            if seen >= wanted {
                return end_of(*bucket);
            }
        }
        Duration::ZERO
    }
}

/// Linear up to sixteen microseconds; then sixteen steps to each doubling.
fn bucket(took: Duration) -> u16 {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let doublings = micros.ilog2().saturating_sub(BUCKETS_PER_DOUBLING.ilog2());
    (doublings * BUCKETS_PER_DOUBLING + (micros >> doublings) as u32) as u16
}

fn end_of(bucket: u16) -> Duration {
    let bucket = u32::from(bucket);
    let doublings = (bucket / BUCKETS_PER_DOUBLING).saturating_sub(1);
    let step = u64::from(bucket - doublings * BUCKETS_PER_DOUBLING);
    let next = u128::from(step + 1) << doublings;
    Duration::from_micros(u64::try_from(next - 1).unwrap_or(u64::MAX))
}

/// What one client, or all of them, did since the load was last switched on; lost and duplicated since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Which load runs now; `None`: it is switched off.
    pub workload: Option<Workload>,
    /// How many clients this is the sum of.
    pub clients: u32,
    /// Requests answered.
    pub operations: u64,
    /// In the last second.
    pub per_second: u64,
    /// How long answers took.
    pub latencies: Latencies,
    /// The longest time without an answer while requests were outstanding.
    pub downtime: Duration,
    /// How often a client found that another server was primary.
    pub failovers: u64,
    /// Requests whose outcome is unknown, or that were refused.
    pub unanswered: u64,
    /// Answers that showed that something acknowledged was lost.
    pub lost: u64,
    /// Answers that showed that something took effect twice.
    pub duplicated: u64,
    /// The first of these, in words.
    pub first_fault: Option<String>,
}

impl Report {
    /// The sum of several clients: what all have done; of downtime and failovers, the worst that one has seen.
    #[must_use]
    pub fn sum<'a>(reports: impl Iterator<Item = &'a Report>) -> Report {
        let mut sum = Report::default();
        for report in reports {
            sum.workload = sum.workload.or(report.workload);
            sum.clients += report.clients;
            sum.operations += report.operations;
            sum.per_second += report.per_second;
            sum.latencies.add(&report.latencies);
            sum.downtime = sum.downtime.max(report.downtime);
            sum.failovers = sum.failovers.max(report.failovers);
            sum.unanswered += report.unanswered;
            sum.lost += report.lost;
            sum.duplicated += report.duplicated;
            sum.first_fault = sum.first_fault.or_else(|| report.first_fault.clone());
        }
        sum
    }

    /// Notes what must never happen.
    pub fn fault(&mut self, text: String) {
        self.first_fault.get_or_insert_with(|| text.chars().take(TEXT_CHARS_MAX).collect());
    }

    /// On or off, and which.
    #[must_use]
    pub fn state(&self) -> String {
        self.workload.map_or("off".to_owned(), |workload| format!("on workload {workload}"))
    }
}

impl fmt::Display for Report {
    /// One line, stable, for scripts: words and numbers by turns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, operations, per_second, failovers, unanswered, lost, duplicated, .. } = self;
        let (p50, p99) = (self.latencies.quantile(0.5).as_micros(), self.latencies.quantile(0.99).as_micros());
        let downtime = self.downtime.as_millis();
        write!(
            f,
            "load {} clients {clients} operations {operations} per-second {per_second} p50-us {p50} p99-us {p99} \
             downtime-ms {downtime} failovers {failovers} unanswered {unanswered} lost {lost} duplicated {duplicated}",
            self.state()
        )?;
        match &self.first_fault {
            Some(fault) => write!(f, " first-fault {fault}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_sixteenth_too_high() {
        for micros in (1..5_000_u64).chain([70_000, 1_000_003, 60_000_000]) {
            let mut latencies = Latencies::default();
            latencies.record(Duration::from_micros(micros));
            let told = latencies.quantile(0.5).as_micros() as u64;
            assert!(told >= micros && told <= micros + micros / 16, "{micros} told as {told}");
        }
    }

    #[test]
    fn quantiles_are_those_of_all_clients() {
        let report = |micros: u64| {
            let mut report = Report { clients: 1, operations: 100, ..Report::default() };
            (0..100).for_each(|_| report.latencies.record(Duration::from_micros(micros)));
            report
        };
        let sum = Report::sum([report(10), report(1_000)].iter());
        assert_eq!((sum.clients, sum.operations), (2, 200));
        assert_eq!(sum.latencies.quantile(0.5), Duration::from_micros(10));
        assert!(sum.latencies.quantile(0.51) >= Duration::from_micros(1_000));
        assert_eq!(Latencies::default().quantile(0.99), Duration::ZERO);
    }
}
