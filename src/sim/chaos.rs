//! A random run: operations and faults, then all faults end and the cluster must heal.

use super::World;
use super::invariants::{Violation, heals, linearizable};
use crate::driver::Setup;
use crate::fault::Control;
use crate::protocol::{Config, Rank, Role, Rules, Server};
use crate::store::{Bytes, Command};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// What kind of run it is. Together with the seed it decides everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Chaos {
    /// How many servers.
    pub servers: u32,
    /// How many clients.
    pub clients: u32,
    /// How many operations in all.
    pub operations: u32,
    /// The most requests a client has outstanding.
    pub window: usize,
    /// The most faults; fewer make a failing seed easier to read.
    pub faults: u32,
    /// Which rules hold.
    pub rules: Rules,
}

impl Default for Chaos {
    fn default() -> Self {
        Self { servers: 3, clients: 3, operations: 300, window: 4, faults: u32::MAX, rules: Rules::default() }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything held.
    Clean,
    /// Something did not.
    Violated(Violation),
}

/// What is known after a run.
#[derive(Debug)]
pub struct Report {
    /// Good or bad.
    pub outcome: Outcome,
    /// Operations that clients finished.
    pub operations: usize,
    /// How often what happened.
    pub situations: BTreeMap<&'static str, u64>,
    /// The last events before the end, in the common notation.
    pub last_events: Vec<String>,
}

/// Clients think for up to this long between two requests, in microseconds.
const THINK_US: std::ops::Range<u64> = 1..6_000;
/// Faults come this far apart, in microseconds.
const FAULT_GAP_US: std::ops::Range<u64> = 500..60_000;
/// Few keys, so that operations meet.
const KEYS: u32 = 4;

/// One run.
#[must_use]
pub fn run(seed: u64, chaos: &Chaos) -> Report {
    let mut world = start(seed, chaos);
    let outcome = drive(&mut world, seed, chaos);
    let mut situations = std::mem::take(&mut world.invariants_mut().situations);
    for (name, count) in world.injected().clone() {
        *situations.entry(name).or_default() += count;
    }
    Report {
        operations: world.history().len(),
        situations,
        last_events: world.recent().map(|(at, what)| format!("{at:>14} {what}")).collect(),
        outcome: outcome.map_or_else(Outcome::Violated, |()| Outcome::Clean),
    }
}

/// The world of a run, before its first step.
#[must_use]
pub fn start(seed: u64, chaos: &Chaos) -> World {
    let mut config = Config::new(chaos.servers);
    config.clients = chaos.clients - 1;
    config.rules = chaos.rules;
    // A timeout would hide a request that is never answered: let patience outlast the faults, mostly.
    let setup = Setup {
        config,
        seed,
        failure_rate: [0.0, 0.0, 0.02, 0.1][(seed % 4) as usize],
        recover_after: Some(Duration::from_millis([0, 5, 100, 400][(seed / 4 % 4) as usize])),
        observe: false,
    };
    World::new(setup)
}

fn drive(world: &mut World, seed: u64, chaos: &Chaos) -> Result<(), Violation> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut monkey = Monkey { rng: ChaCha8Rng::seed_from_u64(!seed), faults_left: chaos.faults, paused: Vec::new() };
    let clients = world.clients();
    let mut next_request = world.now();
    let mut next_fault = world.now() + Duration::from_micros(monkey.rng.random_range(FAULT_GAP_US));
    let mut asked = 0;
    while asked < chaos.operations {
        let until = next_request.min(next_fault);
        while world.step(until) {}
        check(world)?;
        if world.now() >= next_request {
            let client = clients[rng.random_range(0..clients.len())];
            let command = random_command(&mut rng, client, asked);
            let think = Duration::from_micros(rng.random_range(THINK_US));
            if world.front(client).client().outstanding() < chaos.window {
                world.submit(client, command);
                asked += 1;
            }
            next_request = world.now() + think;
        }
        if world.now() >= next_fault {
            monkey.strike(world);
            next_fault = world.now() + Duration::from_micros(monkey.rng.random_range(FAULT_GAP_US));
        }
    }
    heal_all(world);
    heals::judge(world)?;
    check(world)?;
    linearizable::judge(world.history())
}

fn check(world: &World) -> Result<(), Violation> {
    world.violation().cloned().map_or(Ok(()), Err)
}

/// All faults end.
pub fn heal_all(world: &mut World) {
    let ranks: Vec<Rank> = world.servers().keys().copied().chain(world.clients()).collect();
    for rank in ranks {
        let _ = world.control(rank, &Control::Heal);
        let _ = world.control(rank, &Control::FailureRate { probability: 0.0 });
        if let Some(host) = world.servers().get(&rank) {
            if host.is_paused() {
                let _ = world.control(rank, &Control::Resume);
            }
            if world.role(rank) == Role::Down {
                let _ = world.control(rank, &Control::Recover);
            }
        }
    }
}

fn random_command(rng: &mut ChaCha8Rng, client: Rank, number: u32) -> Command {
    let key = Bytes::from(format!("k{}", rng.random_range(0..KEYS)));
    let counter = Bytes::from(format!("n{}", rng.random_range(0..2)));
    let list = Bytes::from(format!("l{}", rng.random_range(0..2)));
    let value = Bytes::from(format!("v{client}.{number}"));
    match rng.random_range(0..100) {
        0..30 => Command::Put { key, value },
        30..55 => Command::Get { key },
        55..60 => Command::Get { key: counter },
        60..63 => Command::Get { key: list },
        63..75 => Command::Incr { key: counter },
        75..85 => Command::Append { key: list, value: format!("{number},").into() },
        85..90 => Command::Delete { key },
        90..95 => Command::Add { key, value },
        _ => Command::Update { key, value },
    }
}

/// What does the damage.
struct Monkey {
    rng: ChaCha8Rng,
    faults_left: u32,
    paused: Vec<Rank>,
}

impl Monkey {
    fn strike(&mut self, world: &mut World) {
        if self.faults_left == 0 {
            return;
        }
        self.faults_left -= 1;
        let servers: Vec<Rank> = world.servers().keys().copied().collect();
        let ranks: Vec<Rank> = servers.iter().copied().chain(world.clients()).collect();
        let victim = servers[self.rng.random_range(0..servers.len())];
        let (a, b) = (ranks[self.rng.random_range(0..ranks.len())], ranks[self.rng.random_range(0..ranks.len())]);
        let everywhere = |world: &mut World, control: &Control| {
            for rank in &ranks {
                let _ = world.control(*rank, control);
            }
        };
        let name = match self.rng.random_range(0..100) {
            0..25 => {
                // The last server with the data is spared: without it there is nothing left to judge. So is one
                // that has just asked to be the last.
                let any =
                    |test: fn(&Server) -> bool| world.servers().values().filter_map(|host| host.server()).any(test);
                let asked = world.servers()[&victim].server().is_some_and(Server::has_proposed);
                let last = world.holders().iter().all(|holder| *holder == victim);
                if last || asked || any(Server::is_doomed) {
                    return;
                }
                let _ = world.control(victim, &Control::Crash);
                "fault: crash"
            }
            25..40 => {
                let _ = world.control(victim, &Control::Pause);
                self.paused.push(victim);
                "fault: pause"
            }
            40..55 => {
                let Some(victim) = self.paused.pop() else { return };
                let _ = world.control(victim, &Control::Resume);
                "fault: resume"
            }
            55..67 => {
                let _ = world.control(a, &Control::Cut { peer: b, cut: true });
                if self.rng.random_range(0..2) == 0 {
                    let _ = world.control(b, &Control::Cut { peer: a, cut: true });
                    "fault: cut both ways"
                } else {
                    "fault: cut one way"
                }
            }
            67..80 => {
                everywhere(world, &Control::Heal);
                "fault: heal"
            }
            80..84 => {
                let probability = self.rng.random_range(0..30) as f64 / 100.0;
                everywhere(world, &Control::Loss { probability });
                "fault: loss"
            }
            84..87 => {
                everywhere(world, &Control::Delay { ms: f64::from(self.rng.random_range(0..15_u32)) });
                "fault: delay"
            }
            87..90 => {
                everywhere(world, &Control::Duplicate { probability: 0.2 });
                "fault: duplication"
            }
            90..94 => {
                everywhere(world, &Control::Reorder { probability: 0.2 });
                "fault: reordering"
            }
            _ => {
                let primary = world.primary().unwrap_or(victim);
                let _ = world.control(primary, &Control::Swap);
                "fault: swap"
            }
        };
        world.count_injected(name);
    }
}

/// Runs a seed and prints everything that happens, in the common notation.
pub fn trace(seed: u64, chaos: &Chaos) {
    let mut world = start(seed, chaos);
    world.collect_happenings(true);
    let outcome = drive(&mut world, seed, chaos);
    for (at, what) in world.take_happenings() {
        println!("{at:>14} {what}");
    }
    println!("{outcome:?}");
}
