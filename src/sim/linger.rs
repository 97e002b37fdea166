//! Acknowledgements that linger: they come when another view has begun, or another life of who sent them.
//!
//! What comes late by some time ([`super::network`]) rarely comes late by a view, and rarer still by a view of the
//! same primary: the number of a write has to mean another write by then, and somebody must wait for exactly that. So
//! here it is not time that decides: acknowledgements and leases are kept, and come when the next view begins, or the
//! one after it, or when a server asks to join.

use super::network::Delivery;
use crate::core::protocol::{Incarnation, Message, Rank, ViewNumber};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// One acknowledgement in this many is kept, …
const KEPT_ONE_IN: u32 = 2;
/// … and of those one in this many is missing until then; the others come in time, and again.
const MISSING_ONE_IN: u32 = 4;
/// No more are kept; the oldest are lost.
const KEPT_MAX: usize = 128;
/// When something begins, of this many that are kept one waits for the next beginning.
const STAYS_ONE_IN: u32 = 2;
/// The others come within one of these, in microseconds: before the first words of the new view, and among them.
const WITHIN_US: [u64; 3] = [100, 2_000, 20_000];

/// What is kept, and how it is chosen.
#[derive(Debug)]
pub(super) struct Linger {
    chances: ChaCha8Rng,
    kept: Vec<Delivery>,
    view: ViewNumber,
    lives: BTreeMap<Rank, Incarnation>,
}

impl Linger {
    /// Nothing is kept yet.
    #[must_use]
    pub(super) fn new(chances: ChaCha8Rng) -> Self {
        Self { chances, kept: Vec::new(), view: ViewNumber(0), lives: BTreeMap::new() }
    }

    /// A message sets out: what comes because of it, and when, and whether it is kept itself and does not come in time.
    pub(super) fn pass(&mut self, delivery: Delivery) -> (Vec<(Duration, Delivery)>, bool) {
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

    fn release(&mut self) -> Vec<(Duration, Delivery)> {
        let mut due = Vec::new();
        for late in std::mem::take(&mut self.kept) {
            if self.chances.random_range(0..STAYS_ONE_IN) == 0 {
                self.kept.push(late);
                continue;
            }
            let most = WITHIN_US[self.chances.random_range(0..WITHIN_US.len())];
            due.push((Duration::from_micros(self.chances.random_range(1..most)), late));
        }
        due
    }

    fn keep(&mut self, delivery: Delivery) -> bool {
        let is_answer = matches!(
            delivery.message,
            Message::PrepareOk { .. }
                | Message::HeartbeatOk { .. }
                | Message::StartViewOk { .. }
                | Message::SnapshotOk { .. }
        );
        if !is_answer || self.chances.random_range(0..KEPT_ONE_IN) != 0 {
            return false;
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(delivery);
        self.chances.random_range(0..MISSING_ONE_IN) == 0
    }
}
