//! Which keys are asked for, and how often: YCSB's mixes and Zipf's popularity.
//!
//! The mixes are those of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010),
//! the popularity of keys is Zipf's with the generator of Gray et al. ("Quickly Generating Billion-Record
//! Synthetic Databases", SIGMOD 1994), scattered over the key space.

use crate::core::store::{Bytes, Command};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;
/// How unequal keys are, as YCSB has it.
const ZIPF_SKEW: f64 = 0.99;
/// An odd number near 2⁶⁴ divided by the golden ratio: scatters neighbours.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

/// An endless stream of commands.
#[derive(Debug, Clone)]
pub struct Load {
    rng: ChaCha8Rng,
    keys: u64,
    zipf: Option<Zipf>,
    reads: f64,
    value: Bytes,
    /// For [`Load::filling`]: the key that comes next.
    next: Option<u64>,
}

impl Load {
    /// Reads (this share of them, 0 to 1) and writes of values of `value_bytes`, on `keys` equally popular keys.
    #[must_use]
    pub fn new(seed: u64, keys: u32, reads: f64, value_bytes: u32) -> Self {
        let value = Bytes::from(vec![b'v'; value_bytes as usize]);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { rng, keys: u64::from(keys.max(1)), zipf: None, reads, value, next: None }
    }

    /// Some keys are far more popular than others.
    #[must_use]
    pub fn with_popular_keys(mut self) -> Self {
        self.zipf = Some(Zipf::new(self.keys));
        self
    }

    /// Writes every key once, in scattered order.
    #[must_use]
    pub fn filling(keys: u32, value_bytes: u32) -> Self {
        Self { next: Some(0), ..Self::new(0, keys, 0.0, value_bytes) }
    }

    /// The next command.
    pub fn command(&mut self) -> Command {
        if let Some(number) = self.next {
            self.next = Some(number + 1);
            return Command::Put { key: key(number), value: self.value.clone() };
        }
        let (number, read) = self.draw();
        if read {
            Command::Get { key: key(number) }
        } else {
            Command::Put { key: key(number), value: self.value.clone() }
        }
    }

    /// The number of the key that comes next, below the number of keys, and whether it is read.
    pub fn draw(&mut self) -> (u64, bool) {
        let number = match &self.zipf {
            Some(zipf) => zipf.draw(self.rng.random()).wrapping_mul(SCATTER) % self.keys,
            None => self.rng.random_range(0..self.keys),
        };
        let read = self.reads >= 1.0 || (self.reads > 0.0 && self.rng.random::<f64>() < self.reads);
        (number, read)
    }

    /// From now on this share of all commands, 0 to 1, reads.
    pub fn set_reads(&mut self, reads: f64) {
        self.reads = reads;
    }
}

/// Sixteen hexadecimal digits that scatter neighbouring numbers over the key space.
fn key(number: u64) -> Bytes {
    let mut rest = number.wrapping_mul(SCATTER);
    let mut text = [0; KEY_BYTES];
    for digit in &mut text {
        *digit = b"0123456789abcdef"[(rest >> 60) as usize];
        rest <<= 4;
    }
    Bytes::from(&text[..])
}

/// Ranks drawn so that the second most popular one comes about half as often as the first, and so on.
#[derive(Debug, Clone, Copy)]
struct Zipf {
    keys: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
    /// Below this share of `zeta` it is the second rank.
    second: f64,
}

impl Zipf {
    fn new(keys: u64) -> Self {
        let share = |rank: u64| (rank as f64).powf(-ZIPF_SKEW);
        let zeta: f64 = (1..=keys).map(share).sum();
        let two = 1.0 + share(2);
        let n = keys as f64;
        let eta = (1.0 - (2.0 / n).powf(1.0 - ZIPF_SKEW)) / (1.0 - two / zeta);
        Self { keys: n, alpha: 1.0 / (1.0 - ZIPF_SKEW), zeta, eta, second: two }
    }

    /// The rank, from 0, for a number drawn uniformly from [0, 1).
    fn draw(&self, drawn: f64) -> u64 {
        let scaled = drawn * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < self.second {
            return 1;
        }
        let rank = self.keys * (self.eta * drawn - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.keys as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn filling_writes_every_key_once() {
        let mut load = Load::filling(1000, 8);
        let keys: BTreeSet<Bytes> = (0..1000).map(|_| load.command().key().unwrap().clone()).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| key.len() == KEY_BYTES));
    }

    #[test]
    fn popular_keys_are_popular() {
        let zipf = Zipf::new(10_000);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0_u32; 10_000];
        for _ in 0..100_000 {
            counts[zipf.draw(rng.random()) as usize] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.8..2.2).contains(&ratio), "first to second {ratio}");
        assert!(counts[0] > 8_000, "{}", counts[0]);
    }

    #[test]
    fn mixes_have_the_share_of_reads_they_promise() {
        let mut load = Load::new(1, 100, 0.95, 8).with_popular_keys();
        let reads = (0..10_000).filter(|_| load.command().is_read()).count();
        assert!((9_400..9_600).contains(&reads), "{reads}");
    }
}
