//! How much a door has done, for `INFO` and the dashboard.

use crate::core::protocol::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// The slowest request is that of the last this many seconds.
const SLOWEST_SECONDS: usize = 10;
/// Answer times are told from this many samples.
const SAMPLES: usize = 16;

/// How much a door has done.
#[derive(Debug, Clone)]
pub struct Counters {
    /// When it was opened.
    pub opened: Time,
    /// All connections so far.
    pub connections: u64,
    /// Those that were sent away.
    pub rejected: u64,
    /// All requests so far.
    pub commands: u64,
    /// Those that were refused.
    pub errors: u64,
    /// Those of which nobody knows.
    pub unknown: u64,
    /// Bytes that came.
    pub bytes_in: u64,
    /// Bytes that left.
    pub bytes_out: u64,
    /// Messages that were published.
    pub published: u64,
    /// When this was reset, and how many requests there were then.
    sampled: (Time, u64),
    per_second: VecDeque<u64>,
    /// The slowest answer, by the second.
    slowest: VecDeque<Duration>,
}

impl Counters {
    /// Nothing so far.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            opened: now,
            connections: 0,
            rejected: 0,
            commands: 0,
            errors: 0,
            unknown: 0,
            bytes_in: 0,
            bytes_out: 0,
            published: 0,
            sampled: (now, 0),
            per_second: VecDeque::new(),
            slowest: VecDeque::from([Duration::ZERO]),
        }
    }

    /// The cluster has taken so long for an answer.
    pub fn took(&mut self, _now: Time, took: Duration) {
        if let Some(slowest) = self.slowest.back_mut() {
            *slowest = took.max(*slowest);
        }
    }

    /// About a second has passed.
    pub fn sample(&mut self, now: Time) {
        let (since, commands) = self.sampled;
        let seconds = now.since(since).as_secs_f64();
        if seconds < 0.5 {
            return;
        }
        self.sampled = (now, self.commands);
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a rate of some seconds")]
        self.per_second.push_back((self.commands.saturating_sub(commands) as f64 / seconds) as u64);
        while self.per_second.len() > SAMPLES {
            self.per_second.pop_front();
        }
        self.slowest.push_back(Duration::ZERO);
        while self.slowest.len() > SLOWEST_SECONDS {
            self.slowest.pop_front();
        }
    }

    /// Requests a second, lately.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        self.per_second.back().copied().unwrap_or(0)
    }

    /// The slowest answer of the last seconds.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        self.slowest.iter().max().copied().unwrap_or_default()
    }

    /// `CONFIG RESETSTAT`.
    pub fn reset(&mut self, now: Time) {
        *self = Self { opened: self.opened, ..Self::new(now) };
    }
}
