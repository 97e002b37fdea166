//! Messages on their way: how long each travels, and which of them come late, or again.

use crate::protocol::{Message, Rank, Time};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// A message travels at least and at most this long, in microseconds, unless a fault says otherwise.
const TRAVEL_US: std::ops::Range<u64> = 3..60;
/// What comes late or again does so after up to one of these, in microseconds: within its view, after a change of
/// view, and after several, and after the sender and the receiver may have had other lives.
const LATE_US: [u64; 4] = [2_000, 30_000, 300_000, 3_000_000];

/// One message on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Who sent it.
    pub from: Rank,
    /// Who gets it.
    pub to: Rank,
    /// The message.
    pub message: Message,
    /// When it left its sender.
    left: Time,
}

/// How likely it is that a message goes astray.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stray {
    /// It comes in time, and once more later.
    pub again: f64,
    /// It comes late.
    pub late: f64,
}

/// All links.
#[derive(Debug)]
pub struct Network {
    flying: BTreeMap<(Time, u64), Delivery>,
    /// Messages keep their order on a link, as MPI's do.
    last_arrival: BTreeMap<(Rank, Rank), Time>,
    sent: u64,
    stray: Stray,
    chances: ChaCha8Rng,
    /// How many went astray so far, and when the last of them arrives.
    strayed: (u64, Time),
}

impl Network {
    /// Links on which nothing is under way.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chances = ChaCha8Rng::seed_from_u64(seed);
        chances.set_stream(u64::MAX - 1);
        let (flying, last_arrival) = (BTreeMap::new(), BTreeMap::new());
        Self { flying, last_arrival, sent: 0, stray: Stray::default(), chances, strayed: Default::default() }
    }

    /// Messages on their way.
    #[must_use]
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// Messages go astray as often as this from now on.
    pub fn set_stray(&mut self, stray: Stray) {
        self.stray = stray;
    }

    /// When the last message arrives that went astray.
    #[must_use]
    pub fn strays_until(&self) -> Time {
        self.strayed.1
    }

    /// How many messages went astray.
    #[must_use]
    pub fn strayed(&self) -> u64 {
        self.strayed.0
    }

    /// A message leaves its sender at this time; `rng` decides how long it travels.
    pub fn send(&mut self, left: Time, from: Rank, to: Rank, message: Message, rng: &mut ChaCha8Rng) {
        let travel = Duration::from_micros(rng.random_range(TRAVEL_US));
        if self.stray != Stray::default() {
            let drawn = self.chances.random::<f64>();
            let Stray { again, late } = self.stray;
            if drawn < again + late {
                let wait = Duration::from_micros(self.late_us());
                let delivery = Delivery { from, to, message: message.clone(), left };
                self.strayed = (self.strayed.0 + 1, self.strayed.1.max(left + wait));
                self.fly(left + wait, delivery);
            }
            if drawn < late {
                return;
            }
        }
        let last = self.last_arrival.entry((from, to)).or_default();
        let arrival = (left + travel).max(*last);
        *last = arrival;
        self.fly(arrival, Delivery { from, to, message, left });
    }

    fn late_us(&mut self) -> u64 {
        let most = LATE_US[self.chances.random_range(0..LATE_US.len())];
        self.chances.random_range(1_000..most)
    }

    fn fly(&mut self, arrival: Time, delivery: Delivery) {
        self.sent += 1;
        self.flying.insert((arrival, self.sent), delivery);
    }

    /// When the next message arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Time {
        self.flying.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at)
    }

    /// Takes the message that arrives next.
    pub fn arrive(&mut self) -> Option<Delivery> {
        self.flying.pop_first().map(|(_, delivery)| delivery)
    }

    /// The sender dies now: what it has not sent yet will never leave.
    pub fn die(&mut self, from: Rank, now: Time) {
        self.flying.retain(|_, delivery| delivery.from != from || delivery.left <= now);
    }
}
