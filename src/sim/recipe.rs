//! How a world came to be as it is: what was done to it, and when. So any moment of it can be had again, to the bit.
//!
//! A world depends on its setup (with its seed), on what disks it has, and on what was done to it from outside. All
//! of that is kept, with the moment of each act: this many steps had been made, and this was the time. To go back is to
//! begin again and to do the same things at the same moments, which takes about as long as it takes to simulate that
//! much time.

use super::World;
use super::world::DiskSetup;
use crate::core::fault::{Control, Meddling};
use crate::core::node::Setup;
use crate::core::protocol::{METADATA, Rank, Time};
use crate::core::store::{Command, Seq};
use std::collections::{BTreeMap, BTreeSet};

/// Something that was done to a world.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// The console's client asked for this.
    Submit(Command),
    /// A rank was given an order.
    Order(Rank, Control),
    /// This was done to the message with this number.
    Meddle(u64, Meddling),
    /// The next timer of a rank fired before it heard anything else.
    Fire(Rank),
    /// All machines lost power, and started again; this server's later.
    PowerCut(Option<Rank>),
}

/// A moment of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// This many things had happened by themselves.
    steps: u64,
    /// When it is.
    pub at: Time,
}

impl Moment {
    /// The moment at which a world is.
    #[must_use]
    pub fn of(world: &World) -> Self {
        Self { steps: world.steps(), at: world.now() }
    }
}

/// How a world came to be.
#[derive(Debug, Clone)]
pub struct Recipe {
    setup: Setup,
    disks: Option<DiskSetup>,
    acts: Vec<(Moment, Act)>,
}

/// A world as it was, and what is to be known of the way there.
#[derive(Debug)]
pub struct Cooked {
    /// The world.
    pub world: World,
    /// Links that were cut by order and not healed, from → to.
    pub cuts: BTreeSet<(Rank, Rank)>,
    /// What the console's client has asked for and not got yet.
    pub asked: BTreeMap<Seq, String>,
}

impl Recipe {
    /// Of a world to which nothing has been done; `None` when it is not a fresh one.
    #[must_use]
    pub fn of(world: &World) -> Option<Self> {
        let is_fresh = world.steps() == 0 && world.flying() == 0;
        // Other disks than those of a stage cannot be had again.
        let is_known = world.disk_setup().is_some() == world.has_disks();
        let recipe = || Self { setup: world.setup().clone(), disks: world.disk_setup(), acts: Vec::new() };
        (is_fresh && is_known).then(recipe)
    }

    /// This is about to be done to the world.
    pub fn note(&mut self, world: &World, act: Act) {
        self.acts.push((Moment::of(world), act));
    }

    /// The same, but for what was done after this time.
    #[must_use]
    pub fn until(&self, at: Time) -> Self {
        let acts = self.acts.iter().filter(|(moment, _)| moment.at <= at).cloned().collect();
        Self { setup: self.setup.clone(), disks: self.disks, acts }
    }

    /// The world at this time: everything that was due by then has happened.
    #[must_use]
    pub fn at(&self, at: Time) -> Cooked {
        let mut cooking = Cooking::new(self);
        while cooking.step(at) {}
        cooking.done()
    }

    /// The world at this moment.
    #[must_use]
    pub fn at_moment(&self, moment: Moment) -> Cooked {
        let mut cooking = Cooking::new(self);
        cooking.wait(moment);
        cooking.done()
    }
}

/// A world that comes to be again. What its ranks tell on the way has been told before.
struct Cooking {
    world: World,
    cuts: BTreeSet<(Rank, Rank)>,
    asked: BTreeMap<Seq, String>,
}

impl Cooking {
    fn new(recipe: &Recipe) -> Self {
        let mut world = World::on_stage(recipe.setup.clone(), recipe.disks);
        world.go_on();
        let mut this = Self { world, cuts: BTreeSet::new(), asked: BTreeMap::new() };
        for (moment, act) in &recipe.acts {
            this.wait(*moment);
            this.act(act);
        }
        this
    }

    fn wait(&mut self, moment: Moment) {
        while self.world.steps() < moment.steps && self.step(Time::NEVER) {}
        if self.world.now() < moment.at {
            self.step(moment.at);
        }
    }

    fn step(&mut self, until: Time) -> bool {
        let stepped = self.world.step(until);
        self.hush();
        stepped
    }

    /// What is told has been told; but rank 0 hears it as it did.
    fn hush(&mut self) {
        if !self.world.has_words() {
            return;
        }
        let servers: Vec<Rank> = self.world.servers().keys().copied().collect();
        for rank in self.world.clients().into_iter().chain(servers) {
            if let Some(observation) = self.world.report(rank, false) {
                self.world.front_mut(METADATA).note_report(&observation);
            }
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Submit(command) => {
                self.asked.insert(self.world.front(METADATA).next_seq(), command.to_string());
                self.world.submit(METADATA, command.clone());
            }
            Act::Order(to, control) => {
                // What was refused is refused again.
                if self.world.control(*to, control).is_ok() {
                    match control {
                        Control::Cut { peer, cut: true } => drop(self.cuts.insert((*to, *peer))),
                        Control::Cut { peer, cut: false } => drop(self.cuts.remove(&(*to, *peer))),
                        Control::Heal => self.cuts.retain(|(from, _)| from != to),
                        _ => {}
                    }
                }
            }
            Act::Meddle(number, how) => drop(self.world.meddle(*number, *how)),
            Act::Fire(rank) => drop(self.world.fire(*rank)),
            Act::PowerCut(late) => {
                self.world.power_cut(*late);
                self.cuts.clear();
            }
        }
        self.hush();
    }

    fn done(mut self) -> Cooked {
        let servers: Vec<Rank> = self.world.servers().keys().copied().collect();
        for rank in self.world.clients().into_iter().chain(servers) {
            let _ = self.world.report(rank, true);
        }
        let ended = self.world.history().iter().filter(|ended| ended.client.rank() == METADATA.0);
        ended.for_each(|ended| drop(self.asked.remove(&ended.seq)));
        Cooked { world: self.world, cuts: self.cuts, asked: self.asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::disk::Fsync;
    use crate::core::protocol::Config;
    use proptest::prelude::*;
    use std::time::Duration;

    fn setup(seed: u64) -> Setup {
        Setup { config: Config::new(3), seed, failure_rate: 0.0, recover_after: None, observe: true }
    }

    fn act(number: u8, world: &World) -> Act {
        let rank = Rank(u32::from(number) % 3 + 1);
        let first = world.underway(true).first().map_or(0, |flying| flying.number);
        match number % 12 {
            0..3 => Act::Submit(Command::Append { key: "a".into(), value: number.to_string().into() }),
            3 => Act::Order(rank, Control::Crash),
            4 => Act::Order(rank, Control::Recover),
            5 => Act::Order(rank, Control::Pause),
            6 => Act::Order(rank, Control::Resume),
            7 => Act::Order(rank, Control::Cut { peer: METADATA, cut: true }),
            8 => Act::Order(rank, Control::Heal),
            9 => Act::PowerCut((number > 100).then_some(rank)),
            10 => Act::Meddle(first, Meddling::ALL[usize::from(number) % Meddling::ALL.len()]),
            _ => Act::Fire(rank),
        }
    }

    fn perform(world: &mut World, act: &Act) {
        match act {
            Act::Submit(command) => world.submit(METADATA, command.clone()),
            Act::Order(to, control) => drop(world.control(*to, control)),
            Act::Meddle(number, how) => drop(world.meddle(*number, *how)),
            Act::Fire(rank) => drop(world.fire(*rank)),
            Act::PowerCut(late) => world.power_cut(*late),
        }
    }

    /// Everything that can be seen of a world.
    fn seen(world: &World) -> String {
        let servers = world
            .servers()
            .iter()
            .map(|(rank, server)| format!("{:?} {:?}", server.status(world.now()), world.disk_status(*rank)));
        let flying = world.underway(true).into_iter().map(|flying| flying.to_string());
        let history = world.history().iter().map(|ended| format!("{ended:?}"));
        servers.chain(flying).chain(history).collect::<Vec<_>>().join("\n")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever was done, the same is there again: at the end, and at any moment before.
        #[test]
        fn what_was_done_again_comes_out_the_same(
            seed in 0..1_000_u64,
            disks in prop::option::of((Just(Fsync::Always).prop_union(Just(Fsync::EverySecond)), 1..100_u32)),
            acts in prop::collection::vec((any::<u8>(), 0..80_000_u64), 1..12),
            back in any::<prop::sample::Index>(),
        ) {
            let disks = disks.map(|(fsync, pace)| DiskSetup { fsync, pace });
            let mut world = World::on_stage(setup(seed), disks);
            world.go_on();
            let mut recipe = Recipe::of(&world).expect("it is fresh");
            let mut moments = Vec::new();
            for (number, micros) in acts {
                world.run_for(Duration::from_micros(micros));
                moments.push((Moment::of(&world), seen(&world)));
                let act = act(number, &world);
                recipe.note(&world, act.clone());
                perform(&mut world, &act);
            }
            world.run_for(Duration::from_millis(30));
            prop_assert_eq!(seen(&recipe.at_moment(Moment::of(&world)).world), seen(&world));
            let (moment, before) = &moments[back.index(moments.len())];
            let acts = recipe.acts.iter().filter(|(at, _)| at < moment).cloned().collect();
            let earlier = Recipe { acts, ..recipe };
            prop_assert_eq!(&seen(&earlier.at_moment(*moment).world), before);
        }
    }
}
