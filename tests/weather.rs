//! A slow network is not a dead one, and a busy machine is not a dead one: in the simulator, where time is exact.
//!
//! Here nothing is broken: whatever view changes without a reason is a needless failover. (The moment in which a
//! network becomes slow is one: what was under way a moment ago comes late, and for so long nobody hears anything.)

use std::time::Duration;
use understudy::core::fault::Control;
use understudy::core::node::Setup;
use understudy::core::protocol::{Config, METADATA, Outcome, Rank, Role};
use understudy::core::store::{Bytes, Command, Reply};
use understudy::sim::World;
use understudy::sim::invariants::heals;

const SEEDS: u64 = 20;
const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn world(servers: u32, seed: u64) -> World {
    let config = Config::new(servers);
    let recover_after = None;
    let mut world = World::new(Setup { config, seed, failure_rate: 0.0, recover_after, observe: false });
    let ready =
        |world: &World| world.holders().len() == servers as usize && world.front(METADATA).client().view().is_some();
    assert!(world.run_until(SECOND * 3, ready));
    world
}

fn everywhere(world: &mut World, control: &Control) {
    let ranks: Vec<Rank> = world.servers().keys().copied().chain(world.clients()).collect();
    for rank in ranks {
        world.control(rank, control).expect("it can be done");
    }
}

fn view(world: &World) -> u64 {
    world.view_now().expect("there is a view").number.0
}

/// Asks, and waits for the answer for at most so long.
fn is_answered(world: &mut World, command: Command, limit: Duration) -> bool {
    let seq = world.front(METADATA).next_seq();
    world.submit(METADATA, command);
    world.run_until(limit, |world| {
        world
            .history()
            .iter()
            .any(|op| op.seq == seq && matches!(op.outcome, Outcome::Done(Reply::Ok | Reply::Value(_))))
    })
}

fn put() -> Command {
    Command::Put { key: Bytes::from("k"), value: Bytes::from("v") }
}

fn get() -> Command {
    Command::Get { key: Bytes::from("k") }
}

#[test]
fn a_slow_network_serves_reads_and_writes_without_a_change_of_view() {
    for (seed, delay) in (0..SEEDS).flat_map(|seed| [20, 50, 100].map(|delay| (seed, delay))) {
        let mut world = world(3, seed);
        everywhere(&mut world, &Control::Delay { ms: delay as f64 });
        world.run_for(SECOND);
        assert!(world.run_until(SECOND * 3, heals::is_whole), "seed {seed}: whole with DELAY {delay}");
        let before = view(&world);
        assert!(before <= 5, "seed {seed}: {before} views when DELAY {delay} began");
        for _ in 0..10 {
            let limit = ms(delay) * 4 + ms(100);
            assert!(is_answered(&mut world, put(), limit), "seed {seed}: a write with DELAY {delay}");
            assert!(is_answered(&mut world, get(), limit), "seed {seed}: a read with DELAY {delay}");
        }
        assert_eq!(view(&world), before, "seed {seed}: DELAY {delay} needs no other view");
        assert!(world.violation().is_none(), "seed {seed}: {:?}", world.violation());
    }
}

#[test]
fn on_a_slow_network_a_dead_primary_is_replaced_and_a_joining_server_gets_in() {
    for (seed, delay) in (0..SEEDS).flat_map(|seed| [20, 50, 100].map(|delay| (seed, delay))) {
        let mut world = world(3, seed);
        everywhere(&mut world, &Control::Delay { ms: delay as f64 });
        assert!(is_answered(&mut world, put(), SECOND));
        world.run_for(SECOND);
        let before = view(&world);
        world.control(Rank(1), &Control::Crash).expect("it lives");
        assert!(is_answered(&mut world, get(), SECOND * 3), "seed {seed}: after a crash with DELAY {delay}");
        world.control(Rank(1), &Control::Recover).expect("it is down");
        assert!(world.run_until(SECOND * 5, heals::is_whole), "seed {seed}: joining with DELAY {delay}");
        // One for the crash, one for the joining. (The heir does not know the way to the other backup yet, and may take
        // it out for a moment.)
        assert!(view(&world) <= before + 4, "seed {seed}: {} views with DELAY {delay}", view(&world) - before);
        let settled = view(&world);
        world.run_for(SECOND * 3);
        assert_eq!(view(&world), settled, "seed {seed}: DELAY {delay}: it comes and goes");
        assert!(world.violation().is_none(), "seed {seed}: {:?}", world.violation());
    }
}

#[test]
fn one_slow_link_is_no_reason_either() {
    for seed in 0..SEEDS {
        let mut world = world(3, seed);
        world.control(Rank(2), &Control::Delay { ms: 80.0 }).expect("it lives");
        world.run_for(SECOND);
        assert!(world.run_until(SECOND * 3, heals::is_whole), "seed {seed}");
        let before = view(&world);
        world.run_for(SECOND * 3);
        assert!(is_answered(&mut world, put(), ms(300)) && is_answered(&mut world, get(), ms(300)), "seed {seed}");
        assert_eq!(view(&world), before, "seed {seed}");
    }
}

/// Every rank has a turn only now and then, for a minute; nobody dies.
#[test]
fn a_busy_machine_learns_to_be_patient() {
    for (seed, every) in (0..SEEDS).flat_map(|seed| [30, 45, 70].map(|every| (seed, every))) {
        let mut world = world(3, seed);
        let before = view(&world);
        let ranks: Vec<Rank> = world.servers().keys().copied().collect();
        for rank in ranks {
            world.slow(rank, ms(every + 3 * u64::from(rank.0)), SECOND * 60);
        }
        for _ in 0..60 {
            world.run_for(SECOND);
            assert!(is_answered(&mut world, put(), SECOND * 3), "seed {seed}: a turn every {every} ms");
        }
        let changes = view(&world) - before;
        assert!(changes <= 3, "seed {seed}: {changes} views in a minute with a turn every {every} ms");
        assert_eq!(world.holders().len(), 3, "seed {seed}");
        assert!(world.violation().is_none(), "seed {seed}: {:?}", world.violation());
    }
}

#[test]
fn on_a_quiet_machine_detection_is_as_quick_as_it_was() {
    for seed in 0..SEEDS {
        let mut world = world(3, seed);
        world.run_for(SECOND * 3);
        for rank in [1, 2, 3] {
            let host = &world.servers()[&Rank(rank)];
            let silence = host.server().and_then(|server| server.silence(world.local(Rank(rank))));
            assert_eq!(silence, Some(ms(50)), "seed {seed}: server {rank}");
        }
        world.control(Rank(1), &Control::Crash).expect("it lives");
        let served = world.run_until(ms(90), |world| {
            let leads = |rank| world.role(rank) == Role::Primary;
            [Rank(2), Rank(3)].into_iter().any(leads)
        });
        assert!(served, "seed {seed}: no heir after 90 ms");
    }
}
