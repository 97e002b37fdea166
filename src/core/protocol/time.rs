//! Time as the protocol sees it: a number that is handed in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since some moment that only this process knows. Two ranks' times are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// Long after everything: "no deadline".
    pub const NEVER: Time = Time(u64::MAX);

    /// How long ago `earlier` was; zero when it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Milliseconds since the start, for transcripts.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Time> for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    /// Not before the beginning of time.
    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}ms", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

/// The durations that the protocol lives by. They scale together: see [`Timing::at_pace`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// The primary sends a heartbeat this often (H).
    pub heartbeat: Duration,
    /// An answered heartbeat lets the primary read until this long after it was *sent* (L).
    pub lease: Duration,
    /// A server that has heard nothing from a peer for this long suspects it (G), where machines are quiet and the
    /// network is fast. Must be longer than `lease`.
    pub silence: Duration,
    /// Where machines are busy, silence and lease grow with how late words are, until the silence is this long.
    pub busy_max: Duration,
    /// Where the network is slow, they grow with the round trip, until the silence is this long.
    pub slow_max: Duration,
    /// A peer that was never heard before may take at least this long.
    pub first_word: Duration,
    /// How late words were is remembered for this long, and up to twice as long.
    pub memory: Duration,
    /// What was not acknowledged is sent again after this long, then ever more rarely.
    pub retry: Duration,
    /// Every server tells the metadata server this often that it is there.
    pub announce: Duration,
    /// The metadata server waits this long for all servers before it forms the first view from those present.
    pub formation: Duration,
    /// The session of a client that has written nothing for this long ends.
    pub idle: Duration,
    /// A request without an answer after this long ends as unknown.
    pub request_deadline: Duration,
    /// A loop that was not run for this long was stalled: of the silence meanwhile it observed only an ordinary turn's.
    pub stall: Duration,
}

/// When something is done again that has had no answer: after the first patience, then ever more rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    /// It is due then.
    pub(super) at: Time,
    patience: Duration,
    /// It was done again since there was an answer.
    again: bool,
}

/// Patience doubles with every repetition, up to this many times the first.
const BACKOFF_MAX: u32 = 8;

impl Backoff {
    /// What was done `now` is done again after `first`, unless there is an answer.
    pub(super) fn new(now: Time, first: Duration) -> Self {
        Self { at: now + first, patience: first, again: false }
    }

    /// There was an answer, and something else is under way. If something had to be done again the patience stays as
    /// it is: what was too short a moment ago would be too short again.
    pub(super) fn answered(&mut self, now: Time, first: Duration) {
        if self.again {
            self.at = now + self.patience;
            self.again = false;
        } else {
            *self = Self::new(now, first);
        }
    }

    /// It was done again `now`.
    pub(super) fn repeated(&mut self, now: Time, first: Duration) {
        self.at = now + self.patience;
        self.patience = (self.patience * 2).min(first * BACKOFF_MAX);
        self.again = true;
    }
}

const HEARTBEAT_INTERVAL_MS: u64 = 10;
const LEASE_MS: u64 = 40;
const SILENCE_MS: u64 = 50;
const BUSY_MAX_MS: u64 = 4 * SILENCE_MS;
const SLOW_MAX_MS: u64 = 20 * SILENCE_MS;
const FIRST_WORD_MS: u64 = 4 * SILENCE_MS;
const MEMORY_MS: u64 = 60_000;
const RETRY_MS: u64 = 20;
const ANNOUNCE_INTERVAL_MS: u64 = 100;
const FORMATION_MS: u64 = 1_500;
const REQUEST_DEADLINE_MS: u64 = 5_000;
/// An hour, at every pace: a client that is out of reach for longer has given up all that it had asked long before,
/// and the answers that are kept for it are of no use to anybody.
const IDLE: Duration = Duration::from_secs(60 * 60);
const STALL_MS: u64 = 25;

impl Default for Timing {
    fn default() -> Self {
        Self::at_pace(1.0)
    }
}

impl Timing {
    /// All durations multiplied by `pace` (2 is half as fast). One pace for the whole cluster and its
    /// whole life: a lease granted at one pace must not be judged at another.
    ///
    /// # Panics
    /// When `pace` is not a positive number; the arguments are checked before they come here.
    #[must_use]
    pub fn at_pace(pace: f64) -> Self {
        assert!(pace.is_finite() && pace > 0.0, "pace {pace} must be positive");
        let ms = |ms: u64| Duration::from_millis(ms).mul_f64(pace);
        let timing = Self {
            heartbeat: ms(HEARTBEAT_INTERVAL_MS),
            lease: ms(LEASE_MS),
            silence: ms(SILENCE_MS),
            busy_max: ms(BUSY_MAX_MS),
            slow_max: ms(SLOW_MAX_MS),
            first_word: ms(FIRST_WORD_MS),
            memory: ms(MEMORY_MS),
            retry: ms(RETRY_MS),
            announce: ms(ANNOUNCE_INTERVAL_MS),
            formation: ms(FORMATION_MS),
            idle: IDLE,
            request_deadline: ms(REQUEST_DEADLINE_MS),
            stall: ms(STALL_MS),
        };
        assert!(timing.silence > timing.lease, "a backup may suspect only after every lease it granted has ended");
        timing
    }

    /// The lease that a backup may grant which suspects after this silence: as much shorter as `lease` is than
    /// `silence`, for the clocks.
    #[must_use]
    pub fn lease_of(&self, silence: Duration) -> Duration {
        let nanos = silence.as_nanos() * self.lease.as_nanos() / self.silence.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The same silence and lease in any weather.
    #[must_use]
    pub fn rigid(self) -> Self {
        Self { busy_max: self.silence, slow_max: self.silence, first_word: self.silence, ..self }
    }
}
