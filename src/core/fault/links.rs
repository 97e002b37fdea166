//! The network's faults, at the sender: what becomes of a message to a peer.

use crate::core::protocol::Rank;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// A message that is to be overtaken is held back for this long, beyond its normal delay.
const REORDER_HOLD: Duration = Duration::from_millis(3);

/// How all links of one sender behave.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Conditions {
    /// Probability that a message vanishes.
    pub loss: f64,
    /// Every message is held back for this long.
    pub delay: Duration,
    /// Probability that a message arrives twice.
    pub duplicate: f64,
    /// Probability that a message is held back so that later ones overtake it.
    pub reorder: f64,
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It vanishes.
    Lost,
    /// It is delivered after this long.
    After(Duration),
    /// It is delivered after this long, and once more after that.
    Twice(Duration, Duration),
}

/// The outgoing links of one rank.
#[derive(Debug, Clone)]
pub struct Links {
    cut: BTreeSet<Rank>,
    conditions: Conditions,
    rng: ChaCha8Rng,
}

impl Links {
    /// Perfect links; `stream` keeps the chances of different senders apart.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream | 1 << 63);
        Self { cut: BTreeSet::new(), conditions: Conditions::default(), rng }
    }

    /// True when every message simply arrives: nothing to decide.
    #[must_use]
    pub fn are_perfect(&self) -> bool {
        self.cut.is_empty() && self.conditions == Conditions::default()
    }

    /// Cuts or mends the link to `peer`, in this direction.
    pub fn set_cut(&mut self, peer: Rank, cut: bool) {
        if cut {
            self.cut.insert(peer);
        } else {
            self.cut.remove(&peer);
        }
    }

    /// How the links behave that are not cut.
    pub fn conditions_mut(&mut self) -> &mut Conditions {
        &mut self.conditions
    }

    /// All faults end.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.conditions = Conditions::default();
    }

    /// Decides about one message to `peer`.
    pub fn decide(&mut self, peer: Rank) -> Fate {
        if self.cut.contains(&peer) {
            return Fate::Lost;
        }
        let Conditions { loss, delay, duplicate, reorder } = self.conditions;
        if loss > 0.0 && self.rng.random::<f64>() < loss {
            return Fate::Lost;
        }
        let held = reorder > 0.0 && self.rng.random::<f64>() < reorder;
        let after = if held { delay + REORDER_HOLD } else { delay };
        if duplicate > 0.0 && self.rng.random::<f64>() < duplicate {
            return Fate::Twice(after, after + REORDER_HOLD / 2);
        }
        Fate::After(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_link_loses_everything_until_it_is_healed() {
        let mut links = Links::new(1, 1);
        links.set_cut(Rank(2), true);
        assert_eq!(links.decide(Rank(2)), Fate::Lost);
        assert_eq!(links.decide(Rank(3)), Fate::After(Duration::ZERO));
        links.heal();
        assert_eq!(links.decide(Rank(2)), Fate::After(Duration::ZERO));
        assert!(links.are_perfect());
    }

    /// Of 10 000 messages under these conditions, how many have this fate.
    fn count(conditions: Conditions, fate: Fate) -> usize {
        let mut links = Links::new(3, 1);
        *links.conditions_mut() = conditions;
        (0..10_000).filter(|_| links.decide(Rank(2)) == fate).count()
    }

    #[test]
    fn every_chance_is_about_what_it_says() {
        let (normal, delay) = (Conditions::default(), Duration::from_millis(7));
        let tenth = 850..1_150;
        let lost = count(Conditions { loss: 0.1, ..normal }, Fate::Lost);
        assert!(tenth.contains(&lost), "{lost} of 10 000 lost at 0.1");
        let overtaken = count(Conditions { reorder: 0.1, delay, ..normal }, Fate::After(delay + REORDER_HOLD));
        assert!(tenth.contains(&overtaken), "{overtaken} of 10 000 held back at 0.1");
        let twice = count(Conditions { duplicate: 0.1, ..normal }, Fate::Twice(Duration::ZERO, REORDER_HOLD / 2));
        assert!(tenth.contains(&twice), "{twice} of 10 000 doubled at 0.1");
        assert_eq!(count(Conditions { delay, ..normal }, Fate::After(delay)), 10_000);
    }

    #[test]
    fn certain_is_certain() {
        let normal = Conditions::default();
        assert_eq!(count(Conditions { loss: 1.0, ..normal }, Fate::Lost), 10_000);
        let both = Conditions { reorder: 1.0, duplicate: 1.0, ..normal };
        assert_eq!(count(both, Fate::Twice(REORDER_HOLD, REORDER_HOLD * 3 / 2)), 10_000);
    }
}
