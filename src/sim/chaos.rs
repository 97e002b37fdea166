//! A random run: operations and faults, then all faults end and the cluster must heal.
//!
//! A seed and a [`Chaos`] decide everything. The seed also decides the weather of the run: how often the dice
//! crash the primary, how long a crashed server stays down, whether a server is left idle, whether values are so
//! big that a transfer takes many parts, whether an operator says `RESET` now and then, and for how long servers
//! remember how late words were (those that do not suspect soonest). Below that lie the machines, with clocks of their
//! own and troubles (`super::trouble`) of their own.

use super::clock;
use super::coverage::{Coverage, Fault};
use super::happening::{Happening, Recall};
use super::invariants::{Violation, answered, heals, linearizable};
use super::linger::Linger;
use super::pulse::Pulse;
use super::shuttle::Shuttle;
use super::trouble::{self, Gremlin};
use super::world::{Bend, World};
use crate::core::disk::Fsync;
use crate::core::fault::Control;
use crate::core::node::Setup;
use crate::core::protocol::{Config, METADATA, Member, Metadata, Rank, Reason, Role, Rules, Server, Time, Timing};
use crate::core::store::work::SLICE_UNITS;
use crate::core::store::{Bytes, Command, commands};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
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
    /// The most troubles with the machines.
    pub troubles: u32,
    /// The rates of two clocks differ by less than this factor.
    pub clocks: f64,
    /// Turns take this many times what they would take else; 0: no time at all.
    pub work: f64,
    /// In some runs clients ask all the time, and must be served as well as before when all is over.
    pub load: bool,
    /// Clients ask for values of every kind as well.
    pub values: bool,
    /// Everybody has a disk, and everything may stop at once.
    pub disks: bool,
    /// Several clients live on a rank, and sessions end: after a short silence, and by their clients' own will.
    pub sessions: bool,
    /// One run in four is about nothing but acknowledgements that come late by views. (With three servers at least, and
    /// of these runs not all ask everything: so it is said when they are wanted.)
    pub lingers: bool,
    /// Which rules hold.
    pub rules: Rules,
}

impl Default for Chaos {
    fn default() -> Self {
        Self {
            servers: 3,
            clients: 3,
            operations: 300,
            window: 4,
            faults: u32::MAX,
            troubles: u32::MAX,
            clocks: clock::RATES_PROMISED,
            work: 1.0,
            load: false,
            values: false,
            disks: false,
            sessions: false,
            lingers: false,
            rules: Rules::default(),
        }
    }
}

impl Chaos {
    /// The command line that repeats the run of a seed.
    #[must_use]
    pub fn command(&self, seed: u64) -> String {
        let Self { servers, clients, operations, window, faults, troubles, clocks, work, .. } = self;
        let Self { load, values, disks, sessions, rules, .. } = self;
        let mut command =
            format!("understudy fuzz --seeds {seed}..{} --servers {servers} --clients {clients}", seed + 1);
        command.push_str(&format!(" --operations {operations} --window {window}"));
        if *faults != u32::MAX {
            command.push_str(&format!(" --faults {faults}"));
        }
        if *troubles != u32::MAX {
            command.push_str(&format!(" --troubles {troubles}"));
        }
        if *clocks != clock::RATES_PROMISED {
            command.push_str(&format!(" --clocks {clocks}"));
        }
        if *work != 1.0 {
            command.push_str(&format!(" --work {work}"));
        }
        if *load {
            command.push_str(" --load");
        }
        if *values {
            command.push_str(" --values");
        }
        if *disks {
            command.push_str(" --disk");
        }
        if *sessions {
            command.push_str(" --sessions");
        }
        rules.switched_off().for_each(|rule| command.push_str(&format!(" --without {rule}")));
        command
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// Everything held.
    Clean,
    /// Something did not.
    Violated(Violation),
}

/// What is known after a run.
#[derive(Debug)]
pub struct RunReport {
    /// Good or bad.
    pub outcome: RunOutcome,
    /// Operations that clients finished.
    pub operations: usize,
    /// Faults and situations.
    pub coverage: Coverage,
}

/// Clients think for up to this long between two requests, in microseconds.
const THINK_US: std::ops::Range<u64> = 1..6_000;
/// Faults come this far apart, in microseconds.
const FAULT_GAP_US: std::ops::Range<u64> = 500..60_000;
/// Few keys, so that operations meet.
const KEYS: u32 = 4;
/// More keys for big values, so that a transfer takes many parts.
const BIG_KEYS: u32 = 32;
const BIG_VALUE_BYTES: usize = 20 << 10;

/// Faults end after this long, whatever was asked until then; with many operations, after so much for each.
const FAULTS_MAX: Duration = Duration::from_secs(30);
const FAULTS_PER_OPERATION_MAX: Duration = Duration::from_millis(100);

/// Some delays are longer than others by so much: longer than a silence, too.
const LONG_DELAYS: u32 = 8;

/// A `RESET` is carried out by then if nothing hinders it.
const RESET_DEADLINE: Duration = Duration::from_secs(2);

/// With disks, of this many faults some are of another kind: everything stops at once, a disk fails, or a new process
/// takes over from one whose disk has.
const DARK_ONE_IN: u32 = 120;
/// When a view was told of, everything stops within this, in microseconds.
const AMBUSH_US: std::ops::Range<u64> = 0..25_000;
/// An opportunity is waited for no longer.
const AMBUSH_MAX: Duration = Duration::from_millis(200);
/// How much slower than a good disk those of the servers are, and that of the metadata server.
const DISK_PACES: [u64; 3] = [1, 1, 16];
const METADATA_DISK_PACES: [u64; 3] = [1, 1, 64];

/// One run in this many is under load.
const LOAD: [u64; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// In one run of this many somebody asks for all keys at once, instead of one read in this many.
const ASKS_FOR_ALL: [u64; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const READS_OF_ALL_ONE_IN: u32 = 10;

/// With disks, in one run of this many: of this many crashes one takes the disk as well.
const WIPES: [u64; 4] = [0, 0, 0, 1];
const WIPED_ONE_IN: u32 = 3;

/// With sessions that end: this many clients live on a rank, and a session may be silent for this many milliseconds.
const CLIENTS_A_RANK: [u64; 3] = [1, 2, 5];
const IDLE_MS: [u64; 4] = [60, 250, 1_000, 60_000];
/// Before one request in this many its client leaves.
const LEAVES_ONE_IN: u32 = 20;

/// In one run of this many acknowledgements linger (`super::linger`) and the same servers lead again and again
/// (`super::shuttle`), and nothing else is wrong.
const LINGERS: [u64; 4] = [0, 0, 0, 1];
/// That takes one who is replaced, one who replaces it, and one whose acknowledgements come late.
const LINGER_SERVERS_MIN: u32 = 3;

/// Nobody comes back by itself before this, and patience that was learnt stays for this long at least.
const LINGER_DOWN: Duration = Duration::from_secs(1);
const LINGER_MEMORY: Duration = Duration::from_millis(300);

/// Chances that depend on nothing but the seed and on what they are for.
pub(super) fn chances(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// What the seed alone decides.
struct ChaosWeather {
    failure_rate: f64,
    recover_after: Duration,
    one_idle: bool,
    big_values: bool,
    resets: bool,
    /// Clients ask all the time, and must be served as well as before when all is over.
    load: bool,
    /// How much servers do at a time of what takes longer.
    slice: u64,
    /// How long servers remember how late words were.
    memory: Duration,
    /// Now and then somebody asks for all keys at once.
    asks_for_all: bool,
    /// With disks: what is acknowledged is synced.
    synced: bool,
    /// With disks: the whole state is written anew after this many bytes.
    snapshot_bytes: u64,
    /// How slow disks are.
    disk_pace: u32,
    metadata_disk_pace: u32,
    /// With disks: some crashes take the disk as well.
    wipes: bool,
    /// The kernel tells of deaths.
    proofs: bool,
    /// With sessions that end.
    clients_a_rank: u32,
    idle: Duration,
    /// Acknowledgements come late by views, and there are many views.
    lingers: bool,
}

impl ChaosWeather {
    fn of(seed: u64) -> Self {
        let mut rng = chances(seed, 1);
        let mut pick = |choices: &[u64]| choices[rng.random_range(0..choices.len())];
        Self {
            failure_rate: pick(&[0, 0, 2, 10]) as f64 / 100.0,
            recover_after: Duration::from_millis(pick(&[0, 5, 100, 400])),
            one_idle: pick(&[0, 0, 1]) == 1,
            big_values: pick(&[0, 0, 0, 1]) == 1,
            resets: pick(&[0, 0, 0, 0, 0, 1]) == 1,
            load: pick(&LOAD) == 1,
            slice: pick(&[SLICE_UNITS, 50, SLICE_UNITS, 10]),
            memory: Duration::from_millis(pick(&[0, 300, 60_000])),
            asks_for_all: pick(&ASKS_FOR_ALL) == 1,
            synced: pick(&[0, 1, 1]) == 1,
            snapshot_bytes: pick(&[1 << 10, 16 << 10, 1 << 20]),
            disk_pace: pick(&DISK_PACES) as u32,
            metadata_disk_pace: pick(&METADATA_DISK_PACES) as u32,
            proofs: pick(&[0, 1]) == 1,
            clients_a_rank: pick(&CLIENTS_A_RANK) as u32,
            idle: Duration::from_millis(pick(&IDLE_MS)),
            wipes: pick(&WIPES) == 1,
            lingers: pick(&LINGERS) == 1,
        }
    }
}

/// True when acknowledgements come late by views in the run of this seed.
#[must_use]
pub fn lingers(seed: u64, chaos: &Chaos) -> bool {
    let weather = ChaosWeather::of(seed);
    chaos.lingers && weather.lingers && chaos.servers >= LINGER_SERVERS_MIN && !(chaos.load && weather.load)
}

/// A flaw: a protocol that is not ours, to see whether a run would notice it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flaw {
    /// Another timing.
    pub timing: Option<Timing>,
    /// What becomes of messages.
    pub bend: Option<Bend>,
}

/// One run.
#[must_use]
pub fn run(seed: u64, chaos: &Chaos) -> RunReport {
    run_flawed(seed, chaos, Flaw::default())
}

/// One run of a protocol that has a flaw.
#[must_use]
pub fn run_flawed(seed: u64, chaos: &Chaos, flaw: Flaw) -> RunReport {
    let mut world = start_flawed(seed, chaos, flaw, false);
    let outcome = drive(&mut world, seed, chaos);
    RunReport {
        operations: world.history().len(),
        coverage: world.invariants().coverage.clone(),
        outcome: outcome.map_or_else(RunOutcome::Violated, |()| RunOutcome::Clean),
    }
}

/// The same run once more, with what happened: the last of it before its end, or everything.
#[must_use]
pub fn replay(seed: u64, chaos: &Chaos, record: Recall) -> (RunOutcome, Vec<Happening>) {
    let mut world = start(seed, chaos, false);
    world.record(record);
    let outcome = drive(&mut world, seed, chaos);
    (outcome.map_or_else(RunOutcome::Violated, |()| RunOutcome::Clean), world.take_happenings())
}

/// The world of a run, before its first step. An audience wants its ranks to report (`observe`).
#[must_use]
pub fn start(seed: u64, chaos: &Chaos, observe: bool) -> World {
    start_flawed(seed, chaos, Flaw::default(), observe)
}

fn start_flawed(seed: u64, chaos: &Chaos, flaw: Flaw, observe: bool) -> World {
    let weather = ChaosWeather::of(seed);
    let mut config = Config::new(chaos.servers);
    config.clients = chaos.clients.saturating_sub(1);
    config.rules = chaos.rules;
    config.slice = weather.slice;
    config.timing = Timing { memory: weather.memory, ..flaw.timing.unwrap_or(config.timing) };
    if chaos.sessions {
        (config.clients_a_rank, config.timing.idle) = (weather.clients_a_rank, weather.idle);
    }
    let lingers = lingers(seed, chaos);
    if weather.one_idle && chaos.servers > 2 && !lingers {
        config.replicas -= 1;
    }
    let failure_rate = if lingers { 0.0 } else { weather.failure_rate };
    let recover_after = Some(if lingers { LINGER_DOWN } else { weather.recover_after });
    if lingers {
        config.timing.memory = config.timing.memory.max(LINGER_MEMORY);
    }
    let mut world = World::new(Setup { config, seed, failure_rate, recover_after, observe });
    trouble::set_clocks(&mut world, seed, chaos);
    trouble::set_work(&mut world, seed, chaos);
    if chaos.disks {
        world.set_snapshot_bytes(weather.snapshot_bytes);
        world.add_disks(if weather.synced { Fsync::Always } else { Fsync::Never });
        world.set_disk_pace(METADATA, weather.metadata_disk_pace);
        let ranks: Vec<Rank> = world.servers().keys().copied().collect();
        ranks.into_iter().for_each(|rank| world.set_disk_pace(rank, weather.disk_pace));
    }
    if weather.proofs {
        world.prove_deaths();
    }
    if lingers {
        world.set_linger(Linger::new(chances(seed, 9)));
    }
    world.set_bend(flaw.bend);
    world
}

/// What is done to the world of a run, and when.
pub struct Script {
    chaos: Chaos,
    big_values: bool,
    rng: ChaCha8Rng,
    /// Decides which reads are of all keys, if any are.
    reads_of_all: Option<ChaCha8Rng>,
    /// Decides which client of a rank asks, and which one leaves, where sessions end.
    sessions: Option<ChaCha8Rng>,
    monkey: Monkey,
    gremlin: Gremlin,
    /// Where acknowledgements linger.
    shuttle: Option<Shuttle>,
    next_request: Time,
    next_fault: Time,
    asked: u32,
    end: Time,
}

impl Script {
    /// The script of a seed, for a world that begins now.
    #[must_use]
    pub fn new(seed: u64, chaos: &Chaos, now: Time) -> Self {
        let ChaosWeather { resets, big_values, asks_for_all, wipes, .. } = ChaosWeather::of(seed);
        let mut monkey = Monkey {
            rng: ChaCha8Rng::seed_from_u64(!seed),
            faults_left: chaos.faults,
            paused: Vec::new(),
            resets,
            dark: chances(seed, 5),
            wipes: wipes.then(|| chances(seed, 8)),
            wiped: Vec::new(),
        };
        let next_fault = now + Duration::from_micros(monkey.rng.random_range(FAULT_GAP_US));
        let (rng, gremlin) = (ChaCha8Rng::seed_from_u64(seed), Gremlin::new(seed, chaos, now));
        let (asked, end) = (0, now + FAULTS_MAX.max(FAULTS_PER_OPERATION_MAX * chaos.operations));
        // With values of other kinds the model does not know all keys.
        let reads_of_all = (asks_for_all && !chaos.values).then(|| chances(seed, 3));
        let sessions = chaos.sessions.then(|| chances(seed, 6));
        Self {
            chaos: chaos.clone(),
            big_values,
            rng,
            reads_of_all,
            sessions,
            monkey,
            gremlin,
            shuttle: lingers(seed, chaos).then(|| Shuttle::new(seed, now, chaos.faults)),
            next_request: now,
            next_fault,
            asked,
            end,
        }
    }

    /// When the next request or fault is due; `None` when everything was asked, or it has taken too long.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        let trouble = self.next_fault.min(self.gremlin.next());
        let due = self.next_request.min(self.shuttle.as_ref().map_or(trouble, Shuttle::next));
        if self.shuttle.as_ref().is_some_and(Shuttle::is_over) {
            return None;
        }
        (self.asked < self.chaos.operations && due < self.end).then_some(due)
    }

    /// Does what is due.
    pub fn act(&mut self, world: &mut World) {
        let now = world.now();
        if now >= self.next_request && self.shuttle.as_ref().is_some_and(Shuttle::is_quiet) {
            self.next_request = now + Duration::from_micros(self.rng.random_range(THINK_US));
        } else if now >= self.next_request {
            let mut clients = world.clients();
            if self.shuttle.is_some() && clients.len() > 1 {
                clients.retain(|client| *client != METADATA); // It is always heard.
            }
            let client = clients[self.rng.random_range(0..clients.len())];
            let mut command = random_command(&mut self.rng, client, self.asked, self.big_values);
            if self.chaos.values && self.rng.random_bool(0.6) {
                command = random_value(&mut self.rng, self.asked);
            }
            if let (Some(rng), Command::Get { .. }) = (&mut self.reads_of_all, &command)
                && rng.random_range(0..READS_OF_ALL_ONE_IN) == 0
            {
                let keys = Command::Keys { pattern: Bytes::from("*") };
                command = if rng.random_bool(0.5) { Command::Count } else { keys };
            }
            let think = Duration::from_micros(self.rng.random_range(THINK_US));
            let count = world.front(client).clients().len();
            let at = self.sessions.as_mut().map_or(0, |rng| rng.random_range(0..count));
            if let Some(rng) = &mut self.sessions
                && rng.random_range(0..LEAVES_ONE_IN) == 0
            {
                world.leave(client, at);
            }
            if world.front(client).clients()[at].outstanding() < self.chaos.window {
                world.submit_to(client, at, command);
                self.asked += 1;
            }
            self.next_request = now + think;
        }
        if let Some(shuttle) = &mut self.shuttle {
            if now >= shuttle.next() {
                shuttle.strike(world);
            }
            return;
        }
        if now >= self.next_fault {
            self.monkey.strike(world);
            self.next_fault = now + Duration::from_micros(self.monkey.rng.random_range(FAULT_GAP_US));
        }
        if now >= self.gremlin.next() {
            self.gremlin.strike(world);
        }
    }
}

fn drive(world: &mut World, seed: u64, chaos: &Chaos) -> Result<(), Violation> {
    let load = chaos.load && ChaosWeather::of(seed).load;
    let mut pulse = load.then(|| Pulse::begin(world, chaos.window)).transpose()?;
    let mut script = Script::new(seed, chaos, world.now());
    while let Some(mut next) = script.next() {
        if let Some(pulse) = &mut pulse {
            if world.now() >= pulse.next() {
                pulse.beat(world);
            }
            next = next.min(pulse.next());
        }
        while world.step(next) {}
        check(world)?;
        script.act(world);
    }
    heal_all(world);
    if let Some(pulse) = &pulse {
        pulse.judge(world)?;
        check(world)?;
    }
    // The servers that a RESET was waiting for may have forgotten everything since they announced themselves.
    world.run_for(RESET_DEADLINE);
    reset_if_stillborn(world);
    let whole = heals::judge(world)?;
    check(world)?;
    answered::judge(world, whole)?;
    linearizable::judge(world.history())
}

fn check(world: &World) -> Result<(), Violation> {
    world.violation().cloned().map_or(Ok(()), Err)
}

/// All faults end.
pub fn heal_all(world: &mut World) {
    world.note("all faults end");
    world.calm();
    let ranks: Vec<Rank> = world.servers().keys().copied().chain(world.clients()).collect();
    for rank in ranks {
        let _ = world.control(rank, &Control::Heal);
        let _ = world.control(rank, &Control::FailureRate { probability: 0.0 });
        if let Some(host) = world.servers().get(&rank) {
            if host.is_paused() {
                let _ = world.control(rank, &Control::Resume);
            }
            if world.failed_disks().contains(&rank) {
                world.replace(rank);
            } else if world.role(rank) == Role::Down {
                let _ = world.control(rank, &Control::Recover);
            }
        }
    }
    reset_if_stillborn(world);
}

/// An epoch that died before it began holds nothing; without disks, only an operator can say so.
fn reset_if_stillborn(world: &mut World) {
    if world.has_disks() {
        return;
    }
    let newest = world.front(METADATA).metadata().and_then(|metadata| metadata.records().back());
    let stillborn = newest.is_some_and(|record| record.reason == Reason::Formed && record.view.epoch > 1);
    if stillborn && world.holders().is_empty() {
        let _ = world.control(METADATA, &Control::Reset);
    }
}

fn random_command(rng: &mut ChaCha8Rng, client: Rank, number: u32, big_values: bool) -> Command {
    let key = Bytes::from(format!("k{}", rng.random_range(0..KEYS)));
    let counter = Bytes::from(format!("n{}", rng.random_range(0..2)));
    let list = Bytes::from(format!("l{}", rng.random_range(0..2)));
    let big = Bytes::from(format!("b{}", rng.random_range(0..BIG_KEYS)));
    let value = Bytes::from(format!("v{client}.{number}"));
    match rng.random_range(0..100) {
        0..15 if big_values => {
            let value = format!("{number:x}").repeat(BIG_VALUE_BYTES).into();
            Command::Put { key: big, value }
        }
        15..20 if big_values => Command::Get { key: big },
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

/// Something that is done to a value of any kind.
fn random_value(rng: &mut ChaCha8Rng, number: u32) -> Command {
    let one = rng.random_range(0..2);
    let other = 1 - one;
    let member = rng.random_range(0..5);
    let words = |line: String| {
        let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
        commands::parse(&words).expect("the lines below are commands")
    };
    let line = match rng.random_range(0..28) {
        0..=2 => format!("RPUSH q{one} v{number}"),
        3 => format!("LPUSH q{one} v{number} w{number}"),
        4..=5 => format!("LPOP q{one}"),
        6 => format!("RPOP q{one}"),
        7 => format!("LRANGE q{one} 0 -1"),
        8 => format!("SADD s{one} m{member} m{number}"),
        9 => format!("SREM s{one} m{member}"),
        10..=11 => format!("SPOP s{one}"),
        12 => format!("SMEMBERS s{one}"),
        13..=14 => format!("HSET h{one} f{member} {number}"),
        15..=16 => format!("HINCRBY h{one} n {member}"),
        17 => format!("HGETALL h{one}"),
        18 => format!("ZADD z{one} {number} m{member}"),
        19 => format!("ZINCRBY z{one} 1.5 m{member}"),
        20 => format!("ZPOPMIN z{one}"),
        21 => format!("ZRANGE z{one} 0 -1 WITHSCORES"),
        22 => format!("SET e{one} {number} PX {}", 1 + member * 40),
        23..=24 => format!("GET e{one}"),
        25 => format!("PEXPIRE h{one} {}", 1 + member * 60),
        26 => format!("DEL e{one} e{other}"),
        _ => {
            let both = vec![words(format!("INCR x{one}")), words(format!("RPUSH y{one} v{number}"))];
            return Command::multi(both, Vec::new());
        }
    };
    words(line)
}

/// What does the damage.
struct Monkey {
    rng: ChaCha8Rng,
    faults_left: u32,
    paused: Vec<Rank>,
    resets: bool,
    /// Decides when everything stops at once.
    dark: ChaCha8Rng,
    /// Decides which crashes take the disk as well, if any do.
    wipes: Option<ChaCha8Rng>,
    /// Lives whose disks were wiped.
    wiped: Vec<Member>,
}

impl Monkey {
    fn strike(&mut self, world: &mut World) {
        if self.faults_left == 0 {
            return;
        }
        self.faults_left -= 1;
        let servers: Vec<Rank> = world.servers().keys().copied().collect();
        if world.has_disks() {
            let failed = world.failed_disks();
            match self.dark.random_range(0..DARK_ONE_IN) {
                0..10 => return self.darken(world),
                10..12 => {
                    let victim = servers[self.dark.random_range(0..servers.len())];
                    world.note(format!("the disk of {victim} fails"));
                    world.fail_disk(victim);
                    return world.invariants_mut().coverage.inject(Fault::DiskFails);
                }
                12..30 if !failed.is_empty() => {
                    world.note(format!("a new process for {}", failed[0]));
                    return world.replace(failed[0]);
                }
                _ => {}
            }
        }
        let victim = servers[self.rng.random_range(0..servers.len())];
        let fault = match self.rng.random_range(0..100) {
            0..24 => self.wipe(world, victim).or_else(|| crash(world, victim)),
            24..39 => {
                self.paused.push(victim);
                give(world, victim, &Control::Pause, "pause").then_some(Fault::Pause)
            }
            39..54 => self
                .paused
                .pop()
                .and_then(|victim| give(world, victim, &Control::Resume, "resume").then_some(Fault::Resume)),
            54..66 => Some(self.cut(world, &servers)),
            66..79 => Some(everywhere(world, &Control::Heal, Fault::Heal)),
            79..83 => {
                let probability = f64::from(self.rng.random_range(0..30_u32)) / 100.0;
                Some(everywhere(world, &Control::Loss { probability }, Fault::Loss))
            }
            83..86 => {
                let ms = match self.rng.random_range(0..15_u32) {
                    short @ 0..12 => f64::from(short),
                    long => f64::from(long * LONG_DELAYS),
                };
                Some(everywhere(world, &Control::Delay { ms }, Fault::Delay))
            }
            86..89 => Some(everywhere(world, &Control::Duplicate { probability: 0.2 }, Fault::Duplication)),
            89..93 => Some(everywhere(world, &Control::Reorder { probability: 0.2 }, Fault::Reordering)),
            93 if self.resets => give(world, METADATA, &Control::Reset, "reset").then_some(Fault::Reset),
            _ => {
                let primary = world.primary().unwrap_or(victim);
                give(world, primary, &Control::Swap, "swap").then_some(Fault::Swap)
            }
        };
        if let Some(fault) = fault {
            world.invariants_mut().coverage.inject(fault);
        }
    }

    /// Everything stops at once: now, or when a client was just answered, or when a view was just told of. One of
    /// several logs may be damaged, and some servers need a while to come back.
    fn darken(&mut self, world: &mut World) {
        let (answered, view) = (world.history().len(), world.view_now().map(|view| view.number));
        match self.dark.random_range(0..3) {
            0 => drop(world.run_until(AMBUSH_MAX, |world| world.history().len() > answered)),
            1 => {
                world.run_until(AMBUSH_MAX, |world| world.view_now().map(|view| view.number) > view);
                world.run_for(Duration::from_micros(self.dark.random_range(AMBUSH_US)));
            }
            _ => {}
        }
        let power = world.survives_power_cuts() && self.dark.random_range(0..2) == 0;
        let members: Vec<Member> = world.view_now().iter().flat_map(|view| view.members()).collect();
        let damage = world.survives_power_cuts() && members.len() > 1 && self.dark.random_range(0..4) == 0;
        let damaged = damage.then(|| members[self.dark.random_range(0..members.len())].rank);
        // It may be the only log that wipes have left.
        let left = members.iter().filter(|member| !self.wiped.contains(member)).count();
        let damaged = damaged.filter(|_| left > 1);
        // A view that is being written may be the last one. Nobody serves with a damaged log that is the last copy.
        let next = world.front(METADATA).metadata().and_then(|metadata| metadata.deciding());
        let is_last = |rank: &Rank| next.is_some_and(|view| view.members().all(|member| member.rank == *rank));
        let damaged = damaged.filter(|rank| !is_last(rank));
        world.note(if power { "the power fails" } else { "everything is killed" });
        world.lose_everything(power, damaged);
        self.paused.clear();
        let servers: Vec<Rank> = world.servers().keys().copied().collect();
        for server in servers {
            if self.dark.random_range(0..4) == 0 && give(world, server, &Control::Pause, "late:") {
                self.paused.push(server);
            }
        }
        world.invariants_mut().coverage.inject(if power { Fault::PowerCut } else { Fault::KillAll });
    }

    /// A crash that takes the disk as well, where that is no last copy: of what is acknowledged, the other members of
    /// the view have everything on their disks.
    fn wipe(&mut self, world: &mut World, victim: Rank) -> Option<Fault> {
        let rng = self.wipes.as_mut()?;
        let is_due = rng.random_range(0..WIPED_ONE_IN) == 0 && world.survives_power_cuts();
        // What a `RESET` begins may be known only to who is wiped; then it takes another one.
        let begins = |metadata: &Metadata| metadata.is_resetting() || metadata.is_forming();
        let begins = world.front(METADATA).metadata().is_none_or(begins);
        if !is_due || begins || world.is_last_holder(victim) {
            return None;
        }
        self.wiped.extend(world.view_now()?.member_on(victim));
        give(world, victim, &Control::Wipe, "wipe").then_some(Fault::Wipe)
    }

    fn cut(&mut self, world: &mut World, servers: &[Rank]) -> Fault {
        let ranks: Vec<Rank> = servers.iter().copied().chain(world.clients()).collect();
        let a = servers[self.rng.random_range(0..servers.len())];
        let b = ranks[self.rng.random_range(0..ranks.len())];
        let (a, b) = if self.rng.random_range(0..2) == 0 { (a, b) } else { (b, a) };
        give(world, a, &Control::Cut { peer: b, cut: true }, &format!("cut from {b}:"));
        if self.rng.random_range(0..2) == 0 {
            return if a == METADATA || b == METADATA { Fault::CutMetadata } else { Fault::CutOneWay };
        }
        give(world, b, &Control::Cut { peer: a, cut: true }, &format!("cut from {a}:"));
        if a == METADATA || b == METADATA { Fault::CutMetadata } else { Fault::CutBothWays }
    }
}

/// The last server with the data is spared: without it there is nothing left to judge. So is every server while it
/// is not known who begins a new epoch.
pub(super) fn crash(world: &mut World, victim: Rank) -> Option<Fault> {
    let any = |test: fn(&Server) -> bool| world.servers().values().filter_map(|host| host.server()).any(test);
    let forming = world.front(METADATA).metadata().is_none_or(|metadata| metadata.is_forming());
    if (world.is_last_holder(victim) && !world.has_disks()) || forming || any(Server::is_doomed) {
        return None;
    }
    give(world, victim, &Control::Crash, "crash").then_some(Fault::Crash)
}

pub(super) fn give(world: &mut World, rank: Rank, control: &Control, what: &str) -> bool {
    world.note(format!("{what} {rank}"));
    world.control(rank, control).is_ok()
}

fn everywhere(world: &mut World, control: &Control, fault: Fault) -> Fault {
    world.note(format!("{fault}"));
    let ranks: Vec<Rank> = world.servers().keys().copied().chain(world.clients()).collect();
    for rank in ranks {
        let _ = world.control(rank, control);
    }
    fault
}
