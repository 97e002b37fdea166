//! Acknowledgements that linger: they come when another view has begun, or another life of who sent them.
//!
//! What comes late by some time ([`super::network`]) rarely comes late by a view, and rarer still by a view of the
//! same primary: the number of a write has to mean another write by then, and somebody must wait for exactly that. So
//! here it is not time that decides: acknowledgements and leases are kept, and some come when the next view begins, or
//! the one after it, or when a server asks to join. The others come when they do most harm ([`super::shuttle`]).

use super::network::Delivery;
use crate::core::protocol::{Incarnation, Message, Rank, ViewNumber};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// One acknowledgement in this many is missing in time; all the others come in time, and again.
const MISSING_ONE_IN: u32 = 16;
/// No more are kept; the oldest are lost.
const KEPT_MAX: usize = 256;
/// When something begins, one of this many comes.
const COMES_ONE_IN: u32 = 8;
/// It does within one of these, in microseconds: before the first words of the new view, and among them.
const WITHIN_US: [u64; 3] = [100, 2_000, 20_000];

/// A message, and how long from now until it comes.
type Late = (Duration, Delivery);

/// What is kept, and how it is chosen.
#[derive(Debug)]
pub(super) struct Linger {
    chances: ChaCha8Rng,
    kept: VecDeque<Delivery>,
    /// Which words each pair of servers has begun its newest view with.
    begun: BTreeMap<(Rank, Rank), Delivery>,
    view: ViewNumber,
    lives: BTreeMap<Rank, Incarnation>,
}

impl Linger {
    /// Nothing is kept yet.
    #[must_use]
    pub(super) fn new(chances: ChaCha8Rng) -> Self {
        Self { chances, kept: VecDeque::new(), begun: BTreeMap::new(), view: ViewNumber(0), lives: BTreeMap::new() }
    }

    /// A message sets out: what comes because of it, and when, and whether it is kept itself and does not come in time.
    pub(super) fn pass(&mut self, delivery: Delivery) -> (Vec<Late>, bool) {
        let due = if self.begins(&delivery.message) { self.release() } else { Vec::new() };
        (due, self.keep(delivery))
    }

    /// A view begins with this message, or a life.
    fn begins(&mut self, message: &Message) -> bool {
        match message {
            Message::StartView { view, .. } => {
                let is_new = view.number > self.view;
                self.view = view.number.max(self.view);
                is_new
            }
            Message::Join { member, .. } => {
                self.lives.insert(member.rank, member.incarnation) != Some(member.incarnation)
            }
            _ => false,
        }
    }

    fn release(&mut self) -> Vec<Late> {
        let mut due = Vec::new();
        for late in std::mem::take(&mut self.kept) {
            if self.chances.random_range(0..COMES_ONE_IN) > 0 {
                self.kept.push_back(late);
                continue;
            }
            let most = WITHIN_US[self.chances.random_range(0..WITHIN_US.len())];
            due.push((Duration::from_micros(self.chances.random_range(1..most)), late));
        }
        due
    }

    /// All that lingers between two servers comes within this time.
    pub(super) fn recall(&mut self, from: Rank, to: Rank, most: Duration) -> Vec<Late> {
        let is_theirs = |late: &Delivery| late.from == from && late.to == to;
        let (due, kept) = std::mem::take(&mut self.kept).into_iter().partition(is_theirs);
        self.kept = kept;
        let due: VecDeque<Delivery> = due;
        due.into_iter().map(|late| (most.mul_f64(self.chances.random()), late)).collect()
    }

    /// The words once more with which the newest view has begun between two servers: the answer is of now.
    pub(super) fn begin_again(&self, from: Rank, to: Rank) -> Option<Delivery> {
        self.begun.get(&(from, to)).cloned()
    }

    fn keep(&mut self, delivery: Delivery) -> bool {
        let is_answer = matches!(
            delivery.message,
            Message::PrepareOk { .. }
                | Message::HeartbeatOk { .. }
                | Message::StartViewOk { .. }
                | Message::SnapshotOk { .. }
        );
        if matches!(delivery.message, Message::StartView { .. }) {
            self.begun.insert((delivery.from, delivery.to), delivery);
            return false;
        }
        if !is_answer {
            return false;
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(delivery);
        self.chances.random_range(0..MISSING_ONE_IN) == 0
    }
}
