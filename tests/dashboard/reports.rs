//! What the model makes of reports.

use crate::scenes::Told;
use crate::scenes::{Scene, at, flight, key, member, report, status, view};
use std::time::Duration;
use understudy::cluster::Standing;
use understudy::core::fault::Control;
use understudy::core::node::Setup;
use understudy::core::protocol::{
    Config, CrashCause, Event, Incarnation, METADATA, Rank, Reason, Role, Time, ViewNumber,
};
use understudy::core::store::{Bytes, ClientId, Command, OpNumber, Seq};
use understudy::sim::World;
use understudy::ui::dashboard::model::FRAME;
use understudy::ui::dashboard::model::flights::{FLIGHTS_MAX, FLIGHTS_PER_TRACK_MAX};
use understudy::ui::dashboard::model::server::KEYS_MAX;
use understudy::ui::dashboard::model::story::EVENTS_MAX;

/// What a joining server reports itself, as it comes: from the cluster, not made up.
#[test]
fn a_joining_server_tells_how_far_it_is_and_of_how_much() {
    let setup = Setup { config: Config::new(2), seed: 1, failure_rate: 0.0, recover_after: None, observe: true };
    let mut world = World::new(setup);
    assert!(world.run_until(SOON, |world| world.primary().is_some()));
    for number in 0..5_000 {
        world.submit(METADATA, Command::Put { key: format!("key{number}").into(), value: "v".into() });
        world.run_for(Duration::from_micros(200));
    }
    let backup = Rank(3 - world.primary().expect("just seen").0);
    for order in [Control::Crash, Control::Recover] {
        assert_eq!(world.control(backup, &order), Ok(()));
    }
    let receives = |world: &World| world.servers()[&backup].server().is_some_and(|server| server.receiving().is_some());
    assert!(world.run_until(SOON, receives), "it joins");
    let now = world.now();
    let report = world.server_mut(backup).report(now, true).expect("it was asked");
    let mut scene = Scene::formed(2);
    scene.be(backup.0, report.server.expect("a server reports its state"));
    let transfer = scene.model.servers()[backup.0 as usize - 1].status().and_then(|status| status.transfer);
    let (got, all) = transfer.expect("it is receiving");
    assert!(0 < got && got < all && all == 5_000, "{got} of {all}");
}

const SOON: Duration = Duration::from_secs(10);

fn ms(scene: &Scene) -> [Option<u64>; 4] {
    let failover = scene.model.stopwatch().failover().expect("a failover was seen");
    failover.phases().map(|(_, took)| took.map(|took| took.as_micros() as u64 / 1_000))
}

#[test]
fn the_stopwatch_tells_the_phases() {
    let scene = Scene::taken_over(2, 100);
    assert_eq!(ms(&scene), [Some(41), Some(1), Some(3), Some(1)]);
    assert!(!scene.model.stopwatch().is_running());
}

#[test]
fn it_runs_until_somebody_serves() {
    let mut scene = Scene::crashed(2, 30);
    assert!(scene.model.stopwatch().is_running());
    assert_eq!(ms(&scene), [None; 4]);
    scene.tell(2, Event::Suspected { peer: member(1, 1), silent_ms: 51 });
    assert_eq!(ms(&scene), [Some(30), None, None, None]);
}

#[test]
fn it_stops_when_nobody_can_take_over_and_goes_when_somebody_can() {
    let mut scene = Scene::crashed(2, 300);
    let clock = |scene: &Scene| {
        let watch = scene.model.stopwatch();
        (watch.is_running(), watch.is_held(), watch.runs_for(scene.now))
    };
    let ran = clock(&scene).2;
    assert!(ran >= Duration::from_millis(300) && scene.model.stopwatch().is_running());
    scene.model.hear_why(scene.now, Some("nobody is served: …".into()));
    scene.wait(5_000);
    assert_eq!(clock(&scene), (false, true, ran));
    assert!(scene.model.still_for(scene.now) > FRAME, "a clock that stands draws nothing");
    // Somebody can after all: it has been running all the time.
    scene.model.hear_why(scene.now, None);
    assert_eq!(clock(&scene), (true, false, ran + Duration::from_secs(5)));
}

#[test]
fn starting_over_is_no_failover() {
    let mut scene = Scene::lost();
    assert!(scene.model.stopwatch().is_held());
    let view = view(2, member(2, 3), &[member(1, 3)]);
    scene.tell(0, Event::ViewChanged { view, reason: Reason::Formed, asked_by: None });
    scene.model.hear_why(scene.now, None);
    assert_eq!(scene.model.stopwatch().failover(), None);
}

#[test]
fn who_has_not_heard_of_the_view_is_doubted() {
    let mut scene = Scene::behind();
    let states = |scene: &Scene| -> Vec<String> {
        scene.model.roles(scene.now).into_iter().map(|(_, state)| state.to_string()).collect()
    };
    assert_eq!((states(&scene), scene.model.primary()), (vec!["PRIMARY?".into(), "PRIMARY".into()], Some(Rank(2))));
    // A backup that was left out, and the same once it has joined again.
    scene.be(1, status(Role::Backup, 1, 42, 6));
    assert_eq!(states(&scene)[0], "BACKUP?");
    let mut joined = status(Role::Backup, 3, 42, 6);
    joined.incarnation = Incarnation(2);
    let reason = Reason::Joined { member: member(1, 2) };
    scene.tell(0, Event::ViewChanged { view: view(3, member(2, 1), &[member(1, 2)]), reason, asked_by: None });
    assert_eq!(states(&scene), ["BACKUP?", "PRIMARY"], "its report is old");
    scene.be(1, joined);
    assert_eq!(states(&scene), ["BACKUP", "PRIMARY"]);
}

/// Rank 0 may report its decision before the crashed server reports its crash.
#[test]
fn reports_that_cross_are_put_in_order() {
    let mut scene = Scene::written(2);
    let start = scene.now;
    scene.model.hear_asked(start, "PUT a 1");
    let late = |ms: u64| Time(start.0 + ms * 1_000_000);
    let mut tell = |rank: u32, happened: Time, now: Time, event: Event| {
        let mut observation = report(rank, now);
        observation.events.push((happened, event));
        scene.model.hear(now, observation);
    };
    let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 50 };
    let changed = Event::ViewChanged { view: view(2, member(2, 1), &[]), reason, asked_by: Some(Rank(2)) };
    tell(0, late(52), late(60), changed);
    tell(2, late(54), late(61), Event::Serving { view: ViewNumber(2), op: OpNumber(42) });
    tell(2, late(50), late(61), Event::Suspected { peer: member(1, 1), silent_ms: 50 });
    tell(1, late(0), late(70), Event::Crashed { cause: CrashCause::Command, at: None });
    scene.model.hear_answered(late(71), "PUT a 1", "OK", Duration::from_millis(71));
    assert_eq!(ms(&scene), [Some(50), Some(2), Some(2), Some(17)]);
    let story: Vec<&str> = scene.model.story().lines().rev().take(4).map(|line| line.text.as_str()).collect();
    assert!(story[3].contains("crashed") && story[0].contains("answers"), "{story:?}");
}

/// An idle client is no downtime.
#[test]
fn the_first_answer_is_measured_from_its_request() {
    let mut scene = Scene::crashed(2, 40);
    scene.model.hear_answered(scene.now, "PUT color green", "(unknown)", Duration::from_millis(41));
    scene.tell(2, Event::Suspected { peer: member(1, 1), silent_ms: 50 });
    let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 50 };
    scene.tell(0, Event::ViewChanged { view: view(2, member(2, 1), &[]), reason, asked_by: Some(Rank(2)) });
    scene.tell(2, Event::Serving { view: ViewNumber(2), op: OpNumber(42) });
    assert!(!scene.model.stopwatch().is_running(), "nothing but a request is missing");
    scene.wait(60_000);
    scene.model.hear_asked(scene.now, "GET color");
    scene.wait(2);
    scene.model.hear_answered(scene.now, "GET color", "red", Duration::from_millis(2));
    assert_eq!(ms(&scene)[3], Some(2));
}

/// A cut link: nobody crashed, so the fault is dated back to where the silence began.
#[test]
fn a_failover_without_a_crash_begins_with_the_silence() {
    let mut scene = Scene::written(2);
    scene.tell(2, Event::Suspected { peer: member(1, 1), silent_ms: 50 });
    scene.wait(1);
    let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 51 };
    scene.tell(0, Event::ViewChanged { view: view(2, member(2, 1), &[]), reason, asked_by: Some(Rank(2)) });
    assert_eq!(ms(&scene)[..2], [Some(50), Some(1)]);
}

#[test]
fn a_backup_that_crashes_starts_no_stopwatch() {
    let mut scene = Scene::written(2);
    scene.tell(2, Event::Crashed { cause: CrashCause::Command, at: None });
    assert!(scene.model.stopwatch().failover().is_none());
}

#[test]
fn twenty_failovers_in_a_row_each_have_their_own_phases() {
    let mut scene = Scene::written(2);
    for round in 0..20 {
        let (old, new) = if round % 2 == 0 { (1, 2) } else { (2, 1) };
        scene.model.hear_asked(scene.now, "INCR n");
        scene.tell(old, Event::Crashed { cause: CrashCause::Command, at: None });
        scene.be(old, status(Role::Down, 1 + round, 0, 0));
        scene.wait(50);
        scene.tell(new, Event::Suspected { peer: member(old, 1), silent_ms: 50 });
        let reason = Reason::PrimarySilent { primary: member(old, 1), silent_ms: 50 };
        scene.tell(
            0,
            Event::ViewChanged { view: view(2 + round, member(new, 1), &[]), reason, asked_by: Some(Rank(new)) },
        );
        scene.wait(2);
        scene.tell(new, Event::Serving { view: ViewNumber(2 + round), op: OpNumber(9) });
        scene.be(new, status(Role::Primary, 2 + round, 43, 6));
        scene.wait(1);
        scene.model.hear_answered(scene.now, "INCR n", "1", Duration::from_millis(53));
        assert_eq!(ms(&scene), [Some(50), Some(0), Some(2), Some(1)], "round {round}");
        scene.be(old, status(Role::Backup, 2 + round, 43, 6));
        scene.wait(500);
    }
}

#[test]
fn a_clock_of_another_world_is_not_believed() {
    let mut scene = Scene::written(2);
    for strange in [Time(0), Time(u64::MAX), at(9_999_999)] {
        let mut observation = report(1, strange);
        observation.events.push((strange, Event::Crashed { cause: CrashCause::Command, at: None }));
        scene.model.hear(scene.now, observation);
        let line = scene.model.story().lines().next_back().unwrap();
        assert_eq!(line.at, scene.now);
    }
}

#[test]
fn everything_is_bounded() {
    let mut scene = Scene::formed(2);
    scene.be(1, status(Role::Primary, 1, 0, 100_000));
    for round in 0..2_000u64 {
        let mut observation = report(1, scene.now);
        observation.server = Some(status(Role::Primary, 1, round, 100_000));
        observation.keys = (0..32).map(|n| key(&format!("key{}", round * 32 + n), "v", round * 32 + n)).collect();
        observation.events = vec![(scene.now, Event::Recovered { incarnation: Incarnation(round) })];
        observation.flights = (0..24).map(|_| flight(scene.now, 2, "Prepare", "Prepare op=1", false)).collect();
        scene.model.hear(scene.now, observation);
        scene.model.hear_answered(scene.now, "PUT a b".repeat(1_000), "OK", Duration::from_micros(6));
        scene.wait(1);
    }
    let model = &scene.model;
    assert_eq!(model.story().lines().len(), EVENTS_MAX);
    assert_eq!(model.servers()[0].keys().len(), KEYS_MAX);
    assert_eq!(model.servers()[0].keys()[0].view.key, Bytes::from("key63999"), "the newest key comes first");
    assert!(model.flights().in_the_air().len() <= FLIGHTS_PER_TRACK_MAX.min(FLIGHTS_MAX));
    assert!(model.operations().all(|operation| operation.command.len() < 200));
}

#[test]
fn keys_go_when_they_are_deleted_or_forgotten() {
    let mut scene = Scene::written(2);
    let mut gone = key("color", "", 43);
    gone.value = None;
    scene.hold(1, status(Role::Primary, 1, 43, 5), &[gone]);
    assert_eq!(scene.model.servers()[0].keys().len(), 5);
    assert_eq!(scene.model.known_keys("c"), ["city", "color", "counter"], "the backup still shows it");
    let mut observation = report(1, scene.now);
    observation.keys_cleared = true;
    scene.model.hear(scene.now, observation);
    assert!(scene.model.servers()[0].keys().is_empty());
}

#[test]
fn the_primary_is_who_answers() {
    let mut scene = Scene::new(2);
    assert_eq!(scene.model.primary(), None);
    scene = Scene::written(2);
    assert_eq!(scene.model.primary(), Some(Rank(1)));
    assert_eq!(scene.model.view_number(), ViewNumber(1));
    assert_eq!(Scene::crashed(2, 30).model.primary(), None);
    assert_eq!(Scene::taken_over(2, 30).model.primary(), Some(Rank(2)));
    assert_eq!(Scene::paused().model.primary(), None);
    scene.model.hear_gone(scene.now, Rank(1));
    assert_eq!(scene.model.primary(), None);
    assert_eq!(scene.model.roles(scene.now), [(Rank(1), Standing::Dead), (Rank(2), Standing::Backup)]);
}

/// A dead process says nothing more; the one that replaces it does.
#[test]
fn a_replacement_brings_a_dead_server_back() {
    let mut scene = Scene::written(2);
    scene.model.hear_gone(scene.now, Rank(2));
    scene.be(2, status(Role::Backup, 1, 42, 6));
    assert_eq!(scene.model.servers()[1].state(scene.now), Standing::Dead);
    let mut observation = report(2, scene.now);
    observation.pid = 9_999;
    observation.server = Some(status(Role::Joining, 2, 0, 0));
    scene.model.hear(scene.now, observation);
    assert_eq!(scene.model.servers()[1].state(scene.now), Standing::Joining);
}

#[test]
fn an_idle_screen_stays_still() {
    let mut scene = Scene::written(2);
    scene.wait(4_600);
    assert!(scene.model.still_for(scene.now) > Duration::from_millis(500), "only the seconds of `up` change");
    let mut idle = report(1, scene.now);
    idle.server = Some(status(Role::Primary, 1, 42, 6));
    idle.flights = vec![flight(scene.now, 2, "Heartbeat", "Heartbeat commit=42", false)];
    assert!(!scene.model.hear(scene.now, idle), "proves life, deserves no frame of its own");
    assert!(scene.model.still_for(scene.now) > Duration::from_millis(100), "a heartbeat ticks, it does not fly");
    scene = Scene::put(2, 100);
    assert!(scene.model.still_for(scene.now) <= Duration::from_millis(34), "a message flies");
    scene = Scene::taken_over(2, 60_050);
    assert!(scene.model.still_for(scene.now) > Duration::from_millis(300), "a crash long ago counts in seconds");
}

/// Under load the dice spare somebody a hundred times a second: that is one line, and hides nothing.
#[test]
fn what_repeats_takes_one_line() {
    let mut scene = Scene::written(2);
    let lines = scene.model.story().lines().len();
    for client in 0..50 {
        let gave_up = Event::GaveUp { client: ClientId::on(client % 3), seq: Seq(client.into()) };
        scene.tell(0, gave_up);
    }
    scene.tell(2, Event::Suspected { peer: member(1, 1), silent_ms: 51 });
    scene.tell(2, Event::Suspected { peer: member(1, 1), silent_ms: 51 });
    scene.tell(0, Event::GaveUp { client: ClientId::on(0), seq: Seq(50) });
    let told: Vec<_> = scene.model.story().lines().skip(lines).map(|line| (line.times, line.text.clone())).collect();
    assert_eq!(told.iter().map(|(times, _)| *times).collect::<Vec<_>>(), [50, 2, 1], "{told:?}");
    assert!(told[0].1.contains("request 49"), "{told:?}");
}
