//! What is wrong with the machines under a run: their clocks, their processors, what the network makes of messages.
//!
//! Every kind of trouble may befall every rank, the metadata server and the clients too. The seed decides which
//! kinds a run meets: some runs meet none, so that what fails there is simple.

use super::World;
use super::chaos::Chaos;
use super::clock::Clock;
use super::coverage::Fault;
use super::network::Stray;
use crate::core::protocol::{Rank, Time};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// A clock may be this far ahead of another, in milliseconds.
const OFFSET_MS: std::ops::Range<u64> = 0..1_000_000;
/// How close the fastest clock comes to the bound.
const RATE_MARGIN: f64 = 0.001;
/// One run in this many meets no trouble.
const CALM_ONE_IN: u32 = 5;
/// Each kind of trouble is met by this many of three runs.
const KIND_OF_THREE: u32 = 2;
/// Troubles come this far apart, in microseconds.
const GAP_US: [std::ops::Range<u64>; 3] = [2_000..30_000, 5_000..150_000, 50_000..600_000];
/// A rank has no turn for this long, in microseconds: less than a silence, about a silence, or much longer.
const STALL_US: [std::ops::Range<u64>; 3] = [1_000..30_000, 20_000..70_000, 60_000..1_000_000];
/// A turn is held up in its middle for this long, in microseconds.
const HOLD_US: [std::ops::Range<u64>; 2] = [1_000..60_000, 30_000..200_000];
/// A rank has a turn only this often, in microseconds, for so long.
const SLOW_EVERY_US: std::ops::Range<u64> = 5_000..50_000;
const SLOW_FOR_US: std::ops::Range<u64> = 50_000..1_500_000;
/// A host sleeps for this long, in microseconds, and its clock may be set ahead on waking by up to so much.
const SLEEP_US: [std::ops::Range<u64>; 3] = [80_000..600_000, 80_000..600_000, 500_000..5_000_000];
const AHEAD_US: std::ops::Range<u64> = 100_000..1_000_000;
/// Messages go astray with these probabilities, in percent of a percent.
const AGAIN: [u32; 3] = [50, 300, 1_500];
const LATE: [u32; 3] = [0, 50, 300];

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TroubleKind {
    Stall,
    Hold,
    Slow,
    Sleep,
    Stray,
}

/// Each kind with its weight.
const KINDS: [(TroubleKind, usize); 5] = [
    (TroubleKind::Stall, 6),
    (TroubleKind::Hold, 6),
    (TroubleKind::Slow, 2),
    (TroubleKind::Sleep, 1),
    (TroubleKind::Stray, 2),
];

/// Makes trouble.
pub(super) struct Gremlin {
    rng: ChaCha8Rng,
    /// Those that this run meets, each as often as it weighs.
    kinds: Vec<TroubleKind>,
    gap: std::ops::Range<u64>,
    left: u32,
    next: Time,
}

impl Gremlin {
    /// The trouble of a seed, in a world that begins now.
    pub(super) fn new(seed: u64, chaos: &Chaos, now: Time) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(2);
        let calm = rng.random_range(0..CALM_ONE_IN) == 0;
        let met = KINDS.into_iter().filter(|_| rng.random_range(0..3) < KIND_OF_THREE && !calm);
        let kinds = met.flat_map(|(kind, weight)| std::iter::repeat_n(kind, weight)).collect();
        let gap = GAP_US[rng.random_range(0..GAP_US.len())].clone();
        let mut gremlin = Self { rng, kinds, gap, left: chaos.troubles, next: now };
        gremlin.wait(now);
        gremlin
    }

    /// When the next trouble is due.
    pub(super) fn next(&self) -> Time {
        if self.kinds.is_empty() || self.left == 0 { Time::NEVER } else { self.next }
    }

    fn wait(&mut self, now: Time) {
        self.next = now + Duration::from_micros(self.rng.random_range(self.gap.clone()));
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.rng.random_range(0..choices.len())].clone()
    }

    fn duration(&mut self, choices: &[std::ops::Range<u64>]) -> Duration {
        let range = self.pick(choices);
        Duration::from_micros(self.rng.random_range(range))
    }

    /// Makes the trouble that is due.
    pub(super) fn strike(&mut self, world: &mut World) {
        let now = world.now();
        self.wait(now);
        self.left -= 1;
        let ranks: Vec<Rank> = world.servers().keys().copied().chain(world.clients()).collect();
        let kinds = self.kinds.clone();
        let (kind, rank) = (self.pick(&kinds), self.pick(&ranks));
        // One trouble at a time for a rank: they would add up to a rank that is gone.
        if kind != TroubleKind::Stray && !world.machine_mut(rank).is_free(now) {
            return;
        }
        let fault = match kind {
            TroubleKind::Stall => {
                let wait = self.duration(&STALL_US);
                world.note(format!("no turn for {rank}, {wait:?}"));
                world.stall(rank, wait);
                Fault::Stall
            }
            TroubleKind::Hold => {
                let wait = self.duration(&HOLD_US);
                world.note(format!("next turn of {rank} held up in its middle, {wait:?}"));
                world.machine_mut(rank).hold(wait);
                Fault::Hold
            }
            TroubleKind::Slow => {
                let (every, wait) = (self.duration(&[SLOW_EVERY_US]), self.duration(&[SLOW_FOR_US]));
                world.note(format!("a turn for {rank} only every {every:?}, {wait:?}"));
                world.slow(rank, every, wait);
                Fault::Slow
            }
            TroubleKind::Sleep => self.sleep(world, rank),
            TroubleKind::Stray => {
                let [again, late] = [self.pick(&AGAIN), self.pick(&LATE)].map(|share| f64::from(share) / 10_000.0);
                let stray = if self.rng.random_range(0..3) == 0 { Stray::default() } else { Stray { again, late } };
                world.note(format!("astray: {} again, {} late", stray.again, stray.late));
                world.set_stray(stray);
                Fault::Stray
            }
        };
        world.invariants_mut().coverage.inject(fault);
    }

    fn sleep(&mut self, world: &mut World, rank: Rank) -> Fault {
        let wait = self.duration(&SLEEP_US);
        let ahead = if self.rng.random_range(0..3) == 0 { self.duration(&[AHEAD_US]) } else { Duration::ZERO };
        world.note(format!("host of {rank} sleeps {wait:?}, its clock is then set ahead {ahead:?}"));
        if self.rng.random_range(0..2) == 0 {
            world.sleep(rank, wait, ahead);
        } else {
            // It falls asleep in the middle of a turn.
            world.machine_mut(rank).hold(wait);
            world.machine_mut(rank).clock.jump(ahead);
        }
        if !ahead.is_zero() {
            world.invariants_mut().coverage.inject(Fault::ClockAhead);
        }
        Fault::Sleep
    }
}

/// How many times as long as on an ordinary machine turns take.
const SLOWNESS: [f64; 5] = [0.0, 1.0, 1.0, 4.0, 10.0];

/// Turns take time from now on.
pub(super) fn set_work(world: &mut World, seed: u64, chaos: &Chaos) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(4);
    let slowness = SLOWNESS[rng.random_range(0..SLOWNESS.len())];
    world.set_slowness(slowness * chaos.work);
    if slowness * chaos.work > 0.0 {
        world.invariants_mut().coverage.inject(if slowness > 1.0 { Fault::SlowWork } else { Fault::Work });
    }
}

/// Gives every rank a clock of its own: the rates of two differ by less than `chaos.clocks`.
pub(super) fn set_clocks(world: &mut World, seed: u64, chaos: &Chaos) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(3);
    let most = chaos.clocks - RATE_MARGIN;
    if most <= 1.0 || rng.random_range(0..CALM_ONE_IN) == 0 {
        return;
    }
    let ranks: Vec<Rank> = world.servers().keys().copied().chain(world.clients()).collect();
    for rank in ranks {
        let rate = match rng.random_range(0..3) {
            0 => 1.0,
            1 => most,
            _ => rng.random_range(1.0..most),
        };
        let clock = Clock::new(rate, Duration::from_millis(rng.random_range(OFFSET_MS)));
        world.set_clock(rank, clock);
    }
    world.invariants_mut().coverage.inject(Fault::Clocks);
}
