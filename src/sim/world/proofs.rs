//! Who is told for certain that a server is dead, and when.
//!
//! On real hosts the kernel tells it of a process that has ended. Here a crash stands for that: some ranks hear of it
//! soon, each at a time of its own and in any order with what the dead has still sent; others never.

use super::World;
use crate::core::protocol::{Incarnation, METADATA, Rank, Time};
use crate::sim::work::Work;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// A proof is there after at most this many microseconds.
const LATE_US_MAX: u64 = 4_000;
/// One of this many never comes: it would have to come from another host.
const NEVER_ONE_IN: u32 = 6;
/// Who has no turn when a proof comes takes it in this much later.
const AGAIN: Duration = Duration::from_micros(200);

/// Proofs on their way.
#[derive(Debug)]
pub(super) struct Proofs {
    rng: ChaCha8Rng,
    due: Vec<Proof>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Proof {
    at: Time,
    to: Rank,
    dead: Rank,
    before: Incarnation,
}

impl World {
    /// From now on a crash is proven to the others.
    pub fn prove_deaths(&mut self) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.setup.seed);
        rng.set_stream(7);
        self.proofs = Some(Proofs { rng, due: Vec::new() });
    }

    /// All lives of this server up to the present one are over.
    pub(super) fn prove_death(&mut self, dead: Rank) {
        let Some(proofs) = &mut self.proofs else { return };
        let before = self.servers[&dead].incarnation();
        for to in std::iter::once(METADATA).chain(self.servers.keys().copied()).filter(|to| *to != dead) {
            let at = self.now + Duration::from_micros(proofs.rng.random_range(0..LATE_US_MAX));
            if proofs.rng.random_range(0..NEVER_ONE_IN) > 0 {
                proofs.due.push(Proof { at, to, dead, before });
            }
        }
    }

    /// When the next proof is there.
    pub(super) fn next_proof(&self) -> Time {
        let due = self.proofs.iter().flat_map(|proofs| &proofs.due);
        due.map(|proof| proof.at).min().unwrap_or(Time::NEVER)
    }

    /// Hands over the proof that is due.
    pub(super) fn hand_over_proof(&mut self) {
        let Some(proofs) = &mut self.proofs else { return };
        let Some(first) = (0..proofs.due.len()).min_by_key(|at| proofs.due[*at]) else { return };
        let Proof { to, dead, before, .. } = proofs.due.swap_remove(first);
        let paused = self.servers.get(&to).is_some_and(|server| server.is_paused());
        if paused || self.machines[&to].next_turn(self.now) > self.now {
            proofs.due.push(Proof { at: self.now + AGAIN, to, dead, before });
        } else if to == METADATA {
            self.with_front(METADATA, Work::default(), |front, _, _| front.note_over(dead, before));
        } else {
            self.with_server(to, Work::default(), |server, _, now, out| server.died(now, dead, before, out));
        }
    }
}
