//! Links that are cut one way, and a server that crashes: whoever has all the data and reaches rank 0, directly or by
//! another server, is enough for everybody to be served.

use std::collections::BTreeSet;
use std::time::Duration;
use understudy::cluster::Desk;
use understudy::core::fault::Control;
use understudy::core::node::Setup;
use understudy::core::protocol::{Config, METADATA, Outcome, Rank};
use understudy::core::store::{Bytes, Command};
use understudy::sim::{SimStage, VirtualClock, World};

/// Three servers, and rank 0 with the metadata server and a client.
const SERVERS: u32 = 3;
/// The most links cut at once.
const CUTS_MAX: usize = 3;
/// How long each of two tries may take.
const TRY: Duration = Duration::from_secs(6);

/// Who is not served for so long is told why.
const LASTING: Duration = Duration::from_secs(3);

type Links = BTreeSet<(u32, u32)>;

/// All sets of one-way cuts, the crashed server's links among them.
fn sets() -> Vec<Links> {
    let links: Vec<(u32, u32)> = (0..=SERVERS)
        .flat_map(|from| (0..=SERVERS).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
        .collect();
    let mut sets = vec![Links::new()];
    for link in links {
        let with = sets.iter().filter(|set| set.len() < CUTS_MAX).map(|set| {
            let mut set = set.clone();
            set.insert(link);
            set
        });
        sets.extend(with.collect::<Vec<_>>());
    }
    sets
}

/// True when messages get from one rank to the other: directly, or by one other server that lives.
fn reaches(cuts: &Links, crashed: u32, from: u32, to: u32) -> bool {
    let open = |from: u32, to: u32| !cuts.contains(&(from, to));
    let by = |by: u32| ![from, to, crashed].contains(&by) && open(from, by) && open(by, to);
    open(from, to) || (1..=SERVERS).any(by)
}

fn world() -> World {
    let config = Config::new(SERVERS);
    let mut world = World::new(Setup { config, seed: 1, failure_rate: 0.0, recover_after: None, observe: false });
    let ready =
        |world: &World| world.holders().len() == SERVERS as usize && world.front(METADATA).client().view().is_some();
    assert!(world.run_until(TRY, ready));
    world
}

fn is_answered(world: &mut World, command: &Command) -> bool {
    (0..2).any(|_| {
        let seq = world.front(METADATA).next_seq();
        world.submit(METADATA, command.clone());
        let done =
            |world: &World| world.history().iter().any(|op| op.seq == seq && matches!(op.outcome, Outcome::Done(_)));
        world.run_until(TRY, done)
    })
}

/// Plays one case. `None`: nobody who has the data reaches rank 0; otherwise whether a write and a read are answered.
fn play(cuts: &Links, crashed: u32, between: Duration) -> Option<bool> {
    let mut world = world();
    let (key, value) = (Bytes::from("k"), Bytes::from("v"));
    assert!(is_answered(&mut world, &Command::Put { key: key.clone(), value: value.clone() }));
    for (from, to) in cuts {
        world.control(Rank(*from), &Control::Cut { peer: Rank(*to), cut: true }).expect("any link can be cut");
    }
    world.run_for(between);
    world.control(Rank(crashed), &Control::Crash).expect("it runs");
    let has_way = |rank: &Rank| reaches(cuts, crashed, rank.0, 0) && reaches(cuts, crashed, 0, rank.0);
    if !world.holders().iter().any(has_way) {
        return None;
    }
    let served = is_answered(&mut world, &Command::Put { key: key.clone(), value })
        && is_answered(&mut world, &Command::Get { key });
    assert!(world.violation().is_none(), "{cuts:?} {crashed}: {}", world.violation().expect("seen"));
    Some(served)
}

/// Every server crashes once with every set of cuts; the cuts come this long before.
fn all(between: Duration, matters: impl Fn(&Links, u32) -> bool) {
    let (mut counted, mut stuck) = (0, Vec::new());
    for cuts in sets() {
        for crashed in (1..=SERVERS).filter(|crashed| matters(&cuts, *crashed)) {
            match play(&cuts, crashed, between) {
                None => {}
                Some(served) => {
                    counted += 1;
                    if !served {
                        stuck.push((cuts.clone(), crashed));
                    }
                }
            }
        }
    }
    println!("{counted} cases in which somebody with the data reaches rank 0, {} of them stuck", stuck.len());
    assert!(stuck.is_empty(), "{} of {counted} are stuck: {stuck:?}", stuck.len());
}

#[test]
fn a_crash_with_cuts_stops_nobody_who_is_reached() {
    // At the same moment: the crashed server's own links make no difference.
    all(Duration::ZERO, |cuts, crashed| cuts.iter().all(|(from, to)| *from != crashed && *to != crashed));
}

#[test]
fn a_crash_some_time_after_the_cuts_stops_nobody_who_is_reached() {
    all(Duration::from_millis(400), |_, _| true);
}

/// What the console of a cluster says that knows of no cut, for they came about by themselves.
fn why(cuts: &Links, crashed: u32) -> Option<String> {
    let mut world = world();
    for (from, to) in cuts {
        world.control(Rank(*from), &Control::Cut { peer: Rank(*to), cut: true }).expect("any link can be cut");
    }
    world.control(Rank(crashed), &Control::Crash).expect("it runs");
    let (desk, asks) = Desk::new();
    let (passed, why) = std::thread::scope(|scope| {
        scope.spawn(|| SimStage::new(world, VirtualClock::default(), asks, Box::new(|_| {})).scripted(true).run());
        desk.submit(Command::Get { key: Bytes::from("k") });
        // A panic in here would wait for the stage for ever.
        let passed = desk.pass(LASTING);
        let why = desk.status().why;
        desk.quit();
        (passed, why)
    });
    assert!(passed, "time is virtual");
    why
}

#[test]
fn whoever_is_not_served_is_told_by_what_is_observed() {
    let mut counted = 0;
    for cuts in sets() {
        for crashed in 1..=SERVERS {
            if cuts.iter().any(|(from, to)| *from == crashed || *to == crashed)
                || play(&cuts, crashed, Duration::ZERO).is_some()
            {
                continue;
            }
            counted += 1;
            let why = why(&cuts, crashed).unwrap_or_else(|| panic!("no word with {cuts:?} when {crashed} has crashed"));
            let (_, link) = why.split_once("the link ").unwrap_or_else(|| panic!("{cuts:?} {crashed}: {why}"));
            let end = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>();
            let (from, to) = link.split_once(" → ").expect("an arrow");
            let named = (end(from).expect("a rank"), end(to).expect("a rank"));
            assert!(cuts.contains(&named), "{cuts:?} {crashed}: {why}");
        }
    }
    assert!(counted >= 30, "only {counted} cases in which nobody can serve");
}

/// Random runs spare the last server that has the data. Whoever has confirmed that it will lead alone counts as that
/// while its word is on its way, for it may be answering already for all that others know; a word that does not arrive
/// spares nobody.
#[test]
fn who_has_confirmed_a_view_is_spared_as_long_as_its_word_travels() {
    for is_lost in [false, true] {
        let mut world = world();
        assert!(is_answered(&mut world, &Command::Put { key: Bytes::from("k"), value: Bytes::from("v") }));
        let primary = world.primary().expect("somebody leads");
        let backups: Vec<Rank> = world.holders().into_iter().filter(|rank| *rank != primary).collect();
        for backup in &backups {
            world.control(*backup, &Control::Pause).expect("it runs");
        }
        let has_asked = |world: &World| world.servers()[&primary].server().is_some_and(|server| server.has_proposed());
        assert!(world.run_until(TRY, has_asked));
        assert!(!world.is_last_holder(primary), "a wish alone makes no view");
        // Its wish has left; its word is next.
        let slow = Control::Delay { ms: 20.0 };
        let lost = Control::Cut { peer: METADATA, cut: true };
        world.control(primary, if is_lost { &lost } else { &slow }).expect("it can be done");
        let view = world.view_now().expect("there is one").number;
        let spared = world.run_until(Duration::from_millis(10), |world| world.is_last_holder(primary));
        assert_eq!((spared, world.view_now().map(|view| view.number)), (!is_lost, Some(view)));
        world.control(primary, &Control::Crash).expect("it runs");
        backups.iter().for_each(|backup| world.control(*backup, &Control::Resume).expect("it is paused"));
        if is_lost {
            assert!(is_answered(&mut world, &Command::Get { key: Bytes::from("k") }), "two servers have the data");
        }
        assert!(world.violation().is_none() || !is_lost, "{:?}", world.violation());
    }
}
