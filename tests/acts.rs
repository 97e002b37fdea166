//! Each single act on each message of a PUT and of a failover, and each timer that fires early: with all rules on,
//! nothing comes of it that must not.

mod support;

use std::time::Duration;
use understudy::core::fault::{Control, Meddling};
use understudy::core::node::Setup;
use understudy::core::protocol::{Config, METADATA, Rank, Rule, Rules, Time};
use understudy::core::store::Command;
use understudy::sim::World;
use understudy::sim::invariants::{heals, linearizable};

/// In what the act is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Play {
    /// A write.
    Put,
    /// A primary has died, and another takes over.
    Failover,
}

/// So long after the first message everything that belongs to the scene has been said.
const LASTS: Duration = Duration::from_millis(80);

fn put(world: &mut World, value: &str) {
    world.submit(METADATA, Command::Append { key: "a".into(), value: value.into() });
}

/// A cluster that is about to carry out a write, or to notice that its primary is dead.
fn begin(play: Play) -> World {
    let setup = Setup { config: Config::new(3), seed: 7, failure_rate: 0.0, recover_after: None, observe: false };
    let mut world = World::new(setup);
    assert!(world.run_until(Duration::from_secs(5), heals::is_healed));
    put(&mut world, "1");
    if play == Play::Failover {
        world.run_for(Duration::from_millis(20));
        let primary = world.primary().expect("it was healed");
        assert_eq!(world.control(primary, &Control::Crash), Ok(()));
        put(&mut world, "2");
    }
    world
}

/// Everything goes on, the one that crashed is back: all is well, and everybody was answered.
fn judge(mut world: World, what: &str) {
    world.run_for(Duration::from_secs(1));
    put(&mut world, "3");
    world.submit(METADATA, Command::Get { key: "a".into() });
    for rank in 1..=3 {
        let _ = world.control(Rank(rank), &Control::Recover);
    }
    world.run_for(Duration::from_secs(6));
    assert_eq!(world.violation(), None, "{what}");
    assert!(heals::is_healed(&world), "{what}: it does not heal");
    assert_eq!(linearizable::judge(world.history()), Ok(()), "{what}");
    assert_eq!(world.given_up(), [], "{what}");
    assert!(world.history().len() >= 3, "{what}");
}

/// The scene up to its n-th step; `None` when it is over before.
fn after_steps(play: Play, steps: usize) -> Option<World> {
    let mut world = begin(play);
    let end = world.now() + LASTS;
    (0..steps).all(|_| world.step(end)).then_some(world)
}

/// Every message that is on its way in the scene, and the number of steps after which it is first seen.
fn messages(play: Play) -> Vec<(usize, u64, String)> {
    let mut world = begin(play);
    let end = world.now() + LASTS;
    let mut seen: Vec<(usize, u64, String)> = Vec::new();
    for steps in 0.. {
        for flying in world.underway(true) {
            if !seen.iter().any(|(_, number, _)| *number == flying.number) {
                seen.push((steps, flying.number, flying.to_string()));
            }
        }
        if !world.step(end) {
            break;
        }
    }
    seen
}

fn every_act_on_every_message(play: Play, least: usize) {
    let messages = messages(play);
    assert!(messages.len() >= least, "{} messages", messages.len());
    for (steps, number, text) in messages {
        for how in Meddling::ALL {
            let mut world = after_steps(play, steps).expect("it was seen there");
            assert!(world.meddle(number, how), "{text} is on its way");
            judge(world, &format!("{how}: {text}"));
        }
    }
}

#[test]
fn every_act_on_every_message_of_a_put_violates_nothing() {
    every_act_on_every_message(Play::Put, 6);
}

#[test]
fn every_act_on_every_message_of_a_failover_violates_nothing() {
    every_act_on_every_message(Play::Failover, 12);
}

#[test]
fn every_timer_that_fires_early_violates_nothing() {
    for play in [Play::Put, Play::Failover] {
        for steps in (0..).step_by(3) {
            let Some(before) = after_steps(play, steps) else { break };
            for rank in 0..=3 {
                let Some(mut world) = after_steps(play, steps) else { break };
                if world.fire(Rank(rank)).is_ok() {
                    judge(world, &format!("timer of {rank} at {:?}", Time::since(before.now(), Time(0))));
                }
            }
        }
    }
}

/// The judge is not blind: without the rule that is for it, one act is enough.
#[test]
fn without_sessions_a_doubled_request_has_two_effects() {
    let mut world = begin(Play::Put);
    for rank in 0..=3 {
        let rules = Rules::without(&[Rule::Sessions]);
        assert_eq!(world.control(Rank(rank), &Control::Rules { rules }), Ok(()));
    }
    let request = world.underway(false).into_iter().find(|flying| flying.text.starts_with("Request")).expect("it left");
    assert!(world.meddle(request.number, Meddling::Double));
    world.run_for(Duration::from_millis(100));
    assert!(world.violation().is_some(), "it was noticed");
}

#[test]
fn messages_are_chosen_by_their_place() {
    let (answers, _) = support::sim::played(&[], &["FLIGHTS", "FLIGHTS drop 9", "FIRE 2"]);
    assert!(answers[0].contains("nothing is on its way"), "{answers:?}");
    assert!(answers[1].contains("0 messages are on their way"), "{answers:?}");
    assert_eq!(answers[2], "OK", "{answers:?}");
}
