//! The dice: each request that reaches the primary makes it crash with a given probability.

use crate::core::protocol::{CrashPoint, Member};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the dice showed for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roll {
    /// The drawn number, uniform in [0, 1): below the failure rate, the server crashes.
    pub drawn: f64,
    /// Where it crashes, if it does.
    pub point: CrashPoint,
}

/// A seeded source of failures: a stream of its own for every life of every server, so that the
/// fortunes of one life do not depend on how long another one was.
#[derive(Debug, Clone)]
pub struct Dice {
    rng: ChaCha8Rng,
    /// The probability of a crash per request.
    pub rate: f64,
}

impl Dice {
    /// The dice of this life of a server.
    #[must_use]
    pub fn new(seed: u64, member: Member, rate: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((u64::from(member.rank.0) << 32) | member.incarnation.0);
        Self { rng, rate }
    }

    /// Rolls for one request. Always draws the same amount, so that a changed rate does not shift what follows.
    pub fn roll(&mut self) -> Roll {
        let drawn = self.rng.random::<f64>();
        let point = CrashPoint::ALL[self.rng.random_range(0..CrashPoint::ALL.len())];
        Roll { drawn, point }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Incarnation, Rank};

    fn dice(incarnation: u64) -> Dice {
        Dice::new(7, Member { rank: Rank(1), incarnation: Incarnation(incarnation) }, 0.2)
    }

    #[test]
    fn the_same_seed_rolls_the_same_and_every_life_differently() {
        let rolls = |mut d: Dice| (0..50).map(|_| d.roll().drawn).collect::<Vec<_>>();
        assert_eq!(rolls(dice(1)), rolls(dice(1)));
        assert_ne!(rolls(dice(1)), rolls(dice(2)));
    }

    #[test]
    fn a_fifth_of_the_requests_crash_at_every_point_alike() {
        let mut d = dice(1);
        let mut at = [0u32; 4];
        for _ in 0..20_000 {
            let roll = d.roll();
            if roll.drawn < d.rate {
                at[CrashPoint::ALL.iter().position(|p| *p == roll.point).unwrap()] += 1;
            }
        }
        let crashes: u32 = at.iter().sum();
        assert!((3_800..4_200).contains(&crashes), "{crashes} crashes in 20 000 requests at 0.2");
        assert!(at.iter().all(|n| (850..1_150).contains(n)), "points {at:?}");
    }
}
