//! What is told is told in the order of cause: an act before what follows from it, a departure before the next one, a
//! suspicion before the view, the view before who serves in it. So no step shows an effect that has no cause yet.

mod support;

#[cfg(feature = "mpi")]
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use understudy::cluster::News;
use understudy::core::protocol::{Event, METADATA, MessageKind, Rank, Reason};
use understudy::ui::dashboard::Model;
use understudy::ui::stage::{Player, Recording};

/// Everything that was told, one by one, in its order.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Asked,
    Answered,
    Sent(Rank, Rank, MessageKind),
    Happened(Rank, Event),
}

fn told(recording: &Recording) -> Vec<Told> {
    let mut all = Vec::new();
    for (_, news) in &recording.pieces {
        match news {
            News::Asked { .. } => all.push(Told::Asked),
            News::Answered { .. } => all.push(Told::Answered),
            News::Observation(observation) => {
                let rank = observation.rank;
                all.extend(observation.events.iter().map(|(_, event)| Told::Happened(rank, event.clone())));
                all.extend(observation.flights.iter().map(|flight| Told::Sent(rank, flight.to, flight.kind)));
            }
            _ => {}
        }
    }
    all
}

/// Something that must be told: its name, and what it is known by.
type Expected<'a> = (&'a str, &'a dyn Fn(&Told) -> bool);

/// That these were told, in this order.
#[track_caller]
fn in_order(all: &[Told], expected: &[Expected]) {
    let places: Vec<Option<usize>> = expected.iter().map(|(_, is_it)| all.iter().position(is_it)).collect();
    for (pair, names) in places.windows(2).zip(expected.windows(2)) {
        let (before, after) = (names[0].0, names[1].0);
        assert!(pair[0].is_some() && pair[0] < pair[1], "{before} {:?}, {after} {:?} in\n{all:#?}", pair[0], pair[1]);
    }
}

/// A request, hop by hop, and a failover.
fn a_failover_is_told_in_order(recording: &Recording) {
    let all = told(recording);
    let sent = |from: u32, to: u32, kind| move |told: &Told| *told == Told::Sent(Rank(from), Rank(to), kind);
    let prepare = sent(1, 2, MessageKind::Prepare);
    // A heartbeat that comes with the Prepare is answered with the same acknowledgement, once for both.
    let prepared = all.iter().position(&prepare).unwrap_or_default();
    let ok = [MessageKind::PrepareOk, MessageKind::HeartbeatOk].map(|kind| sent(2, 1, kind));
    let acknowledged = all[prepared..].iter().position(|told| ok.iter().any(|ok| ok(told))).map(|at| prepared + at);
    let reply = sent(1, 0, MessageKind::Reply);
    in_order(
        &all,
        &[
            ("request", &sent(0, 1, MessageKind::Request)),
            ("prepare", &prepare),
            ("reply", &reply),
            ("answered", &|told| *told == Told::Answered),
        ],
    );
    assert!(acknowledged.is_some() && acknowledged < all.iter().position(reply), "{acknowledged:?} in\n{all:#?}");
    let decided = |told: &Told| {
        matches!(told, Told::Happened(METADATA, Event::ViewChanged { reason: Reason::PrimarySilent { .. }, .. }))
    };
    in_order(
        &all,
        &[
            ("crash", &|told| matches!(told, Told::Happened(Rank(1), Event::Crashed { .. }))),
            ("suspicion", &|told| matches!(told, Told::Happened(Rank(2), Event::Suspected { .. }))),
            ("decision", &decided),
            ("service", &|told| matches!(told, Told::Happened(Rank(2), Event::Serving { view, .. }) if view.0 > 1)),
            ("the answer of the new primary", &sent(2, 0, MessageKind::Reply)),
        ],
    );
    // What the stopwatch has said once, it does not take back.
    let mut model = Model::new(recording.heading.setup.clone(), recording.heading.begun);
    let mut said = Vec::new();
    for (at, news) in &recording.pieces {
        model.fold(*at, news);
        let Some(failover) = model.stopwatch().failover() else { continue };
        let phases = failover.phases().map(|(_, took)| took);
        let is_kept = |(before, after): (&Option<_>, &Option<_>)| before.is_none() || before == after;
        let before = said.last().copied().unwrap_or([None; 4]);
        assert!(before.iter().zip(&phases).all(is_kept), "{before:?}, and then {phases:?}");
        said.push(phases);
    }
    assert!(said.last().is_some_and(|phases| phases.iter().all(Option::is_some)), "{said:?}");
}

/// A pause, and what comes of going on.
fn a_pause_is_told_in_order(recording: &Recording) {
    let noted = |what: &str| {
        let what = what.to_owned();
        move |told: &Told| matches!(told, Told::Happened(METADATA, Event::Operator { what: said }) if *said == what)
    };
    in_order(
        &told(recording),
        &[
            ("pause", &noted("server 1 paused")),
            ("suspicion", &|told| matches!(told, Told::Happened(Rank(2), Event::Suspected { .. }))),
            ("resume", &noted("server 1 goes on")),
            ("refusal", &|told| matches!(told, Told::Happened(Rank(1), Event::Forgot { .. }))),
        ],
    );
}

const FAILOVER: [&str; 4] = ["PUT a 1", "CRASH primary", "GET a", "SLEEP 0.5"];
const PAUSE: [&str; 6] = ["PUT a 1", "PAUSE 1", "SLEEP 1", "PUT a 2", "RESUME 1", "SLEEP 1"];

#[cfg(feature = "mpi")]
/// Where a recording goes, and the arguments of a run that makes it.
fn arguments(name: &str, script: &[&str]) -> (PathBuf, Vec<String>) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut words: Vec<String> =
        ["--seed", "1", "--failure-rate", "0", "--recover-after", "never", "--record"].map(str::to_owned).into();
    words.push(file.display().to_string());
    script.iter().for_each(|line| words.extend(["-c".to_owned(), (*line).to_owned()]));
    (file, words)
}

#[test]
fn in_the_simulator_a_cause_is_told_before_its_effect() {
    let failover = support::sim::recorded("cause-failover.recording", &FAILOVER);
    a_failover_is_told_in_order(&failover);
    in_order(
        &told(&failover),
        &[
            ("asked", &|told| *told == Told::Asked),
            ("request", &|told| matches!(told, Told::Sent(METADATA, _, MessageKind::Request))),
        ],
    );
    a_pause_is_told_in_order(&support::sim::recorded("cause-pause.recording", &PAUSE));
}

/// The script played over MPI, by servers that have been idle for a while; slowly, so that on a busy machine nobody is
/// suspected who was not touched. Should it happen all the same, it is played again.
#[cfg(feature = "mpi")]
fn over_mpi(name: &str, script: &[&str]) -> Recording {
    let (file, mut words) = arguments(name, &[&["SLEEP 1"], script].concat());
    words.extend(["--pace".to_owned(), "4".to_owned()]);
    let place = support::job::Place::new();
    let _turn = support::job::Turn::take();
    let play = || {
        let mut program = Command::new(support::job::UNDERSTUDY);
        place.furnish(&mut program);
        program.args(&words).output().expect("the program starts")
    };
    let mut output = play();
    for _ in 0..2 {
        if !output.status.success() {
            output = play();
        }
    }
    assert!(output.status.success(), "{output:?}");
    Recording::open(&file).expect("it was just recorded")
}

#[cfg(feature = "mpi")]
#[test]
fn over_mpi_a_cause_is_told_before_its_effect() {
    a_failover_is_told_in_order(&over_mpi("cause-mpi-failover.recording", &FAILOVER));
    a_pause_is_told_in_order(&over_mpi("cause-mpi-pause.recording", &PAUSE));
}

#[test]
fn every_step_has_a_sentence_that_names_the_rule() {
    let mut player = Player::new(support::sim::recorded("cause-captions.recording", &FAILOVER));
    let mut captions = Vec::new();
    while player.forward() {
        let caption = player.caption().map(str::to_owned);
        captions.push(caption.unwrap_or_else(|| panic!("no word at step {:?}", player.step())));
    }
    let all = captions.join("\n");
    for expected in [
        "the client asks: PUT a 1",
        "server 1 sends write 1 to server 2: no answer before all have it",
        "server 2 has every write up to 1: no gaps (wait-for-all)",
        "server 1 crashed: server 2 waits 50 ms, longer than a lease of 40 ms",
        "server 2 heard nothing from 1 for 50 ms; a lease lasts 40: 1 reads no more",
        "view 2 counts: server 2 leads it, 1 is out, whatever it believes",
        "server 2 answers in view 2: it kept all writes, up to op 1 (tail)",
    ] {
        assert!(all.contains(expected), "{expected} in\n{all}");
    }
    assert!(captions.iter().all(|caption| caption.chars().count() < 80), "{all}");
    // Back, and the same words again.
    let last = captions.len() - 1;
    assert!(player.back() && player.caption() == Some(captions[last - 1].as_str()));
}
