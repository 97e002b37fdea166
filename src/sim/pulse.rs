//! Clients that ask all the time: what they get when nothing is wrong, they must get again when nothing is wrong again.

use super::World;
use super::invariants::{Violation, heals};
use crate::core::fault::Control;
use crate::core::protocol::{Outcome, Rank, Time};
use crate::core::store::{Bytes, Command};
use std::time::Duration;

/// Every client has this many requests outstanding, or more if the run says so.
const WINDOW: usize = 16;
/// A client looks this often whether it may ask more.
const BEAT: Duration = Duration::from_millis(1);
/// While things go wrong, this often: there is other work.
const SLOW_BEAT: Duration = Duration::from_millis(10);
/// The rate is measured over this long.
const MEASURED: Duration = Duration::from_millis(100);
/// The first view has to be formed.
const BEGIN_MAX: Duration = Duration::from_secs(5);
/// So long after all faults the rate is as before.
const BACK_AFTER: Duration = Duration::from_secs(1);
/// As good as before, in percent.
const AS_BEFORE: usize = 90;
/// Each client writes and reads this many keys of its own.
const KEYS: u64 = 8;

/// The clients' load.
pub(super) struct Pulse {
    window: usize,
    next: Time,
    /// Answers within [`MEASURED`] before anything went wrong.
    before: usize,
}

impl Pulse {
    /// Measures how much is answered while nothing is wrong.
    ///
    /// # Errors
    /// When nothing is answered.
    pub(super) fn begin(world: &mut World, window: usize) -> Result<Self, Violation> {
        // No dice meanwhile, and as many members as there will be in the end: each costs a write its time.
        let dice = |world: &mut World, probability: f64| {
            for rank in world.servers().keys().copied().collect::<Vec<_>>() {
                let _ = world.control(rank, &Control::FailureRate { probability });
            }
        };
        dice(world, 0.0);
        world.run_until(BEGIN_MAX, heals::is_healed);
        let mut pulse = Self { window: window.max(WINDOW), next: world.now(), before: 0 };
        pulse.run(world, MEASURED); // Clients learn who is primary.
        pulse.before = pulse.measure(world);
        let rate = world.setup().failure_rate;
        dice(world, rate);
        if pulse.before == 0 {
            return Err(Violation::new("heals", "nothing is answered although nothing is wrong"));
        }
        Ok(pulse)
    }

    /// When the clients look next, while things go wrong.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// The clients ask.
    pub(super) fn beat(&mut self, world: &mut World) {
        self.ask(world);
        self.next = world.now() + SLOW_BEAT;
    }

    fn ask(&self, world: &mut World) {
        for client in world.clients() {
            while world.front(client).client().outstanding() < self.window {
                let seq = world.front(client).next_seq().0;
                world.submit(client, command(client, seq));
            }
        }
    }

    fn run(&self, world: &mut World, duration: Duration) {
        let until = world.now() + duration;
        while world.now() < until && world.violation().is_none() {
            self.ask(world);
            world.run_for(BEAT.min(until.since(world.now())));
        }
    }

    fn measure(&self, world: &mut World) -> usize {
        let from = world.history().len();
        self.run(world, MEASURED);
        world.history()[from..].iter().filter(|operation| operation.outcome != Outcome::Unknown).count()
    }

    /// All faults have ended now: the rate comes back.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn judge(&self, world: &mut World) -> Result<(), Violation> {
        let since = world.now().max(world.network().strays_until());
        self.run(world, since.since(world.now()) + BACK_AFTER);
        let after = self.measure(world);
        if after * 100 >= self.before * AS_BEFORE || world.violation().is_some() {
            return Ok(());
        }
        let (before, ms) = (self.before, MEASURED.as_millis());
        let what = format!("{after} answers in {ms} ms one second after all faults, {before} before them");
        Err(Violation::new("heals", what))
    }
}

fn command(client: Rank, number: u64) -> Command {
    let key = Bytes::from(format!("p{client}.{}", number % KEYS));
    match number % 3 {
        0 => Command::Get { key },
        _ => Command::Put { key, value: number.to_string().into() },
    }
}
