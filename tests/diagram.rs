//! The space–time diagram: whatever happens, every message that was told of is an arrow, a loss or pending, and nothing
//! is taken in above where it left.

mod support;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use understudy::cluster::News;
use understudy::core::fault::Control;
use understudy::core::node::Setup;
use understudy::core::protocol::{
    Config, CrashCause, Event, Flight, Incarnation, METADATA, MessageKind, Observation, Rank, Receipt, Time,
};
use understudy::core::store::Command;
use understudy::sim::World;
use understudy::ui::dashboard::model::diagram::{Arrow, DiagramRow, ENTRIES_MAX};
use understudy::ui::dashboard::model::flights::FlightKind;
use understudy::ui::dashboard::{self, Face, Model, Theme, ThemeName, view};
use understudy::ui::stage::Player;

/// What befalls the cluster, one after the other.
#[derive(Debug, Clone, Copy)]
enum Act {
    Put,
    Loss(u8),
    Duplicate(u8),
    Delay(u8),
    Crash(u8),
    Recover(u8),
    Pause(u8),
    Resume(u8),
    Cut(u8, u8),
    Heal,
}

fn act() -> impl Strategy<Value = Act> {
    let servers = 1..=3_u8;
    prop_oneof![
        6 => Just(Act::Put),
        1 => (0..60_u8).prop_map(Act::Loss),
        1 => (0..60_u8).prop_map(Act::Duplicate),
        1 => (0..8_u8).prop_map(Act::Delay),
        1 => servers.clone().prop_map(Act::Crash),
        1 => servers.clone().prop_map(Act::Recover),
        1 => servers.clone().prop_map(Act::Pause),
        1 => servers.clone().prop_map(Act::Resume),
        1 => (servers.clone(), 0..=3_u8).prop_map(|(a, b)| Act::Cut(a, b)),
        1 => Just(Act::Heal),
    ]
}

fn carry_out(world: &mut World, act: Act) {
    let control = |world: &mut World, rank: u8, control: Control| {
        let _ = world.control(Rank(rank.into()), &control);
    };
    let all = |world: &mut World, order: &Control| (0..=3).for_each(|rank| control(world, rank, order.clone()));
    let share = |percent: u8| f64::from(percent) / 100.0;
    match act {
        Act::Put => world.submit(METADATA, Command::Put { key: "k".into(), value: "v".into() }),
        Act::Loss(percent) => all(world, &Control::Loss { probability: share(percent) }),
        Act::Duplicate(percent) => all(world, &Control::Duplicate { probability: share(percent) }),
        Act::Delay(ms) => all(world, &Control::Delay { ms: ms.into() }),
        Act::Crash(rank) => control(world, rank, Control::Crash),
        Act::Recover(rank) => control(world, rank, Control::Recover),
        Act::Pause(rank) => control(world, rank, Control::Pause),
        Act::Resume(rank) => control(world, rank, Control::Resume),
        Act::Cut(a, b) if a != b => control(world, a, Control::Cut { peer: Rank(b.into()), cut: true }),
        Act::Cut(..) => {}
        Act::Heal => all(world, &Control::Heal),
    }
}

/// What was told so far, beside what the model makes of it.
struct Audience {
    model: Model,
    sent: usize,
    received: usize,
    not_told: u64,
}

impl Audience {
    fn hear(&mut self, now: Time, observation: Observation) {
        self.sent += observation.flights.iter().filter(|f| !FlightKind::of(f.kind).is_background()).count();
        self.received += observation.receipts.len();
        self.not_told += observation.flights_dropped;
        self.model.fold(now, &News::Observation(Box::new(observation)));
    }
}

/// Every arrow of these rows: its departure, if it has a row, and its receipts, a loss, or that it is pending.
fn by_arrow<'a>(rows: &[DiagramRow<'a>]) -> Vec<(&'a Arrow, Vec<usize>, Vec<usize>)> {
    let mut arrows: BTreeMap<*const Arrow, (&Arrow, Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let (arrow, is_departure) = match row {
            DiagramRow::Departure(arrow) => (*arrow, true),
            DiagramRow::Receipt { arrow, .. } | DiagramRow::Loss(arrow) | DiagramRow::Pending(arrow) => (*arrow, false),
            _ => continue,
        };
        let (_, departures, ends) = arrows.entry(std::ptr::from_ref(arrow)).or_insert((arrow, vec![], vec![]));
        if is_departure { departures.push(place) } else { ends.push(place) }
    }
    arrows.into_values().collect()
}

/// `all`: everybody was heard.
fn judge(audience: &Audience, all: bool) {
    let rows = audience.model.diagram().rows();
    assert!(rows.iter().map(DiagramRow::at).is_sorted(), "time runs downward: {rows:#?}");
    let arrows = by_arrow(&rows);
    for (arrow, departures, ends) in &arrows {
        assert!(!ends.is_empty(), "{arrow:?} has no end");
        let is_one = |place: &usize| !matches!(rows[*place], DiagramRow::Receipt { .. });
        assert!(ends.len() == 1 || !ends.iter().any(is_one), "{arrow:?} ends in several ways");
        assert!(departures.len() <= 1 && departures.iter().all(|left| ends.iter().all(|end| left < end)), "{arrow:?}");
        for end in ends {
            assert!(rows[*end].at() >= arrow.sent, "{arrow:?} is taken in before it left");
            if let DiagramRow::Receipt { late, .. } = &rows[*end] {
                assert_eq!(*late, !departures.is_empty(), "{arrow:?}: its departure is in this row, or in one above");
            }
        }
    }
    // While nothing was forgotten: all that was told of is there.
    let entries = arrows.len()
        + rows.iter().filter(|row| matches!(row, DiagramRow::View { .. } | DiagramRow::Mark { .. })).count();
    if all && audience.not_told == 0 && entries + rows.len() < ENTRIES_MAX {
        assert_eq!(arrows.len(), audience.sent, "every send is an arrow, a loss, or pending");
        let shown = rows.iter().filter(|row| matches!(row, DiagramRow::Receipt { .. })).count();
        assert_eq!(shown, audience.received, "and every receipt is one of theirs");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_taken_in_above_where_it_left_and_nothing_is_left_out(
        seed in 0..1_000_u64,
        acts in prop::collection::vec((act(), 1..4_000_u64, any::<bool>()), 1..30),
    ) {
        let setup = Setup { config: Config::new(3), seed, failure_rate: 0.0, recover_after: None, observe: true };
        let mut world = World::new(setup);
        let shown = dashboard::ModelSetup { servers: 3, seed, failure_rate: 0.0, animated: true, pace: 1.0 };
        let mut audience = Audience { model: Model::new(shown, Time(0)), sent: 0, received: 0, not_told: 0 };
        world.run_until(Duration::from_secs(5), |world| world.primary().is_some());
        for (act, micros, backward) in acts {
            carry_out(&mut world, act);
            world.run_for(Duration::from_micros(micros));
            // Ranks are heard in any order, and not all of them every time.
            let ranks: Vec<u32> = if backward { (0..=3).rev().collect() } else { vec![1, 0, 3] };
            for rank in ranks {
                if let Some(report) = world.report(Rank(rank), true) {
                    audience.hear(world.now(), report);
                }
            }
            judge(&audience, backward);
        }
    }
}

// ---- how it looks ------------------------------------------------------------------------------------------

fn played(commands: &[&str]) -> (String, String) {
    let (answers, told) = support::sim::played(&[], commands);
    (answers.join("\n"), told)
}

#[test]
fn a_failover_can_be_read_off_it() {
    let (told, trouble) = played(&["PUT a 1", "CRASH primary", "GET a", "DIAGRAM"]);
    let order = [
        "heartbeats",
        "Request PUT a 1",
        "Prepare op=1",
        "PrepareOk op=1",
        "Reply OK",
        "crashed",
        "suspects server 1: silent for 50 ms",
        "ChangeView view 2",
        "Confirm view 2",
        "ChangeView view 2, confirmed",
        "view 2: primary 2, no backup",
        "answers in view 2",
        "Request GET a",
        "Reply 1",
    ];
    let mut rest = told.as_str();
    for words in order {
        let at = rest.find(words).unwrap_or_else(|| panic!("'{words}' is not in its place:\n{told}{trouble}"));
        rest = &rest[at..];
    }
    assert!(told.contains("Request GET a to 1, nobody takes it in"), "what was sent to the dead is pending:\n{told}");
    assert!(!told.contains("Reply 1 to 0"), "the last answer has come:\n{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
}

#[test]
fn what_was_sampled_away_is_said() {
    let shown = dashboard::ModelSetup { servers: 2, seed: 1, failure_rate: 0.0, animated: true, pace: 1.0 };
    let mut model = Model::new(shown, Time(0));
    let setup = Setup { config: Config::new(2), seed: 1, failure_rate: 0.0, recover_after: None, observe: true };
    let mut world = World::new(setup);
    let mut report = world.report(Rank(1), true).expect("it was asked");
    report.flights_dropped = 12;
    model.fold(world.now(), &News::Observation(Box::new(report)));
    let rows = model.diagram().rows();
    assert!(rows.iter().any(|row| matches!(row, DiagramRow::Missing { count: 12, .. })), "{rows:?}");
    assert!(screen(&model, None, world.now(), (80, 24)).contains("12 not shown"));
}

/// The diagram on a screen; with a sentence for the step, if one is gone through.
fn screen(model: &Model, caption: Option<&str>, now: Time, (cols, rows): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(cols, dashboard::layout::split(cols, rows).0)).expect("memory");
    let theme = Theme::new(ThemeName::Dark, false);
    let face = Face { shows_diagram: true, caption: caption.map(str::to_owned), page: None };
    terminal.draw(|frame| view::draw(frame, model, &face, &theme, &[], now)).expect("memory");
    terminal.backend().to_string()
}

/// Under load the sample has many receipts whose departure is never told. Line mode folds reports in rank 0's own loop:
/// they must not make every later report dear.
#[test]
fn receipts_that_wait_for_ever_hold_nobody_up() {
    let report = |number: u64| {
        let text = |what: &str, entry: u64| format!("{what} c0#{number}.{entry} PUT k v");
        let at = Time(number * 1_000_000);
        let flight = |entry: u64| {
            let (kind, text) = (MessageKind::Reply, text("Reply", entry));
            Flight { at, to: METADATA, kind, text, lost: false }
        };
        let receipt = |entry: u64| {
            let (kind, text) = (MessageKind::Request, text("Request", entry));
            Receipt { at, from: METADATA, kind, text }
        };
        Observation {
            flights: (0..24).map(flight).collect(),
            receipts: (0..24).map(receipt).collect(),
            ..Observation::empty(Rank(1), 1, at)
        }
    };
    let told = |has_receipts: bool| {
        let reports: Vec<Observation> = (1..200).map(report).collect();
        let shown = dashboard::ModelSetup { servers: 2, seed: 1, failure_rate: 0.0, animated: true, pace: 1.0 };
        let mut model = Model::new(shown, Time(0));
        let begun = Instant::now();
        for mut report in reports {
            if !has_receipts {
                report.receipts.clear();
            }
            model.fold(report.at, &News::Observation(Box::new(report)));
        }
        begun.elapsed()
    };
    let shortest = |has_receipts: bool| (0..5).map(|_| told(has_receipts)).min().expect("five times");
    let (without, with) = (shortest(false), shortest(true));
    println!("199 reports: {without:?} without receipts, {with:?} with them");
    assert!(with < without * 60, "{with:?} with receipts that nobody has sent, {without:?} without");
}

/// At each step the newest row is what the step is about, also on the smallest of the terminals that show everything.
#[test]
fn on_the_stage_the_newest_row_is_the_step() {
    let recording = support::sim::recorded("diagram.recording", &["PUT a 1", "CRASH primary", "GET a"]);
    let mut player = Player::new(recording);
    let mut seen = Vec::new();
    while player.forward() {
        let caption = player.caption().unwrap_or_default().to_owned();
        let text = screen(player.picture(), Some(&caption), player.now(), (80, 24));
        let rows = text.lines().filter(|line| line.contains('▸')).map(str::to_owned);
        seen.extend(rows.map(|row| (caption.clone(), row)));
    }
    let has = |caption: &str, row: &str| seen.iter().any(|(said, shown)| said.contains(caption) && shown.contains(row));
    assert!(has("server 1 sends write 1 to server 2", "Request PUT a 1"), "{seen:#?}");
    assert!(has("view 2 counts", "view 2: primary 2"), "{seen:#?}");
    assert!(has("server 1 crashed", "crashed"), "{seen:#?}");
}

#[test]
fn a_shot_is_a_file_for_slides() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = |name: &str| folder.join(name).display().to_string();
    let (diagram, dark, text) = (name("shot.svg"), name("shot-dark.svg"), name("shot.txt"));
    let lines = [
        "PUT a 1".to_owned(),
        format!("SHOT {diagram} diagram"),
        format!("SHOT {dark} screen dark"),
        format!("SHOT {text}"),
        "SHOT picture.png".to_owned(),
        format!("SHOT {}/nowhere/shot.svg", folder.display()),
        format!("SHOT {diagram} cards"),
    ];
    let (answers, _) = played(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers[..4], ["OK"; 4], "{answers:?}");
    assert!(answers[4].contains("give a name that ends in .svg or .txt"), "{answers:?}");
    assert!(answers[5].contains("cannot be written") && answers[6].contains("screen or diagram"), "{answers:?}");
    let read = |name: &str| std::fs::read_to_string(name).expect("it was written");
    let kind = MessageKind::Prepare;
    assert!(read(&diagram).starts_with("<svg") && read(&diagram).contains(&format!("<title>1 to 2: {kind} op=1")));
    assert!(read(&dark).contains("PRIMARY") && read(&dark).contains("#16181c") && !read(&diagram).contains("#16181c"));
    assert!(read(&text).contains("server 1 · PRIMARY"), "{}", read(&text));
}

/// Reports of a small story, each message and its moment made up: the rows, their order and their times, to the letter.
#[test]
fn rows_stand_in_the_order_and_at_the_distance_in_which_it_happened() {
    let us = |micros: u64| Time(1_000_000_000 + micros * 1_000);
    let flight = |at: u64, to: u32, kind: MessageKind, text: &str| Flight {
        at: us(at),
        to: Rank(to),
        kind,
        text: text.into(),
        lost: false,
    };
    let receipt = |at: u64, from: u32, kind: MessageKind, text: &str| Receipt {
        at: us(at),
        from: Rank(from),
        kind,
        text: text.into(),
    };
    use MessageKind as M;
    let client = Observation {
        flights: vec![
            flight(0, 1, M::Request, "Request c0#1 PUT a 1"),
            flight(40, 1, M::Request, "Request c0#2 GET a"),
        ],
        // By the clock of this host the answer is here before it has left.
        receipts: vec![receipt(60, 1, M::Reply, "Reply c0#1 OK")],
        ..Observation::empty(METADATA, 1, us(200))
    };
    let primary = Observation {
        flights: vec![
            flight(9, 2, M::Prepare, "Prepare op=1"),
            Flight { lost: true, ..flight(9, 2, M::Prepare, "Prepare op=2") },
            flight(62, 0, M::Reply, "Reply c0#1 OK"),
            flight(62, 2, M::Prepare, "Prepare op=3"),
        ],
        receipts: vec![
            receipt(9, 0, M::Request, "Request c0#1 PUT a 1"),
            receipt(62, 2, M::PrepareOk, "PrepareOk op=1"),
            receipt(70, 0, M::Request, "Request c0#2 GET a"),
        ],
        events: vec![
            (us(9), Event::Crashed { cause: CrashCause::Command, at: None }),
            (us(50_070), Event::Recovered { incarnation: Incarnation(2) }),
        ],
        beats: vec![us(70), us(10_070), us(20_070), us(50_070)],
        ..Observation::empty(Rank(1), 1, us(70_000))
    };
    let backup = Observation {
        flights: vec![flight(31, 1, M::PrepareOk, "PrepareOk op=1")],
        // The same message comes twice.
        receipts: vec![
            receipt(31, 1, M::Prepare, "Prepare op=1"),
            receipt(55_069, 1, M::Prepare, "Prepare op=1"),
            receipt(60_069, 1, M::Prepare, "Prepare op=3"),
        ],
        ..Observation::empty(Rank(2), 1, us(70_000))
    };
    let shown = dashboard::ModelSetup { servers: 2, seed: 1, failure_rate: 0.0, animated: true, pace: 1.0 };
    let expected = "
         0 client                          1 STARTING                        2 STARTING
         │──────── Request PUT a 1 ───────▶┊                                 ┊
         │                                 ✗ crashed                         ┊
         │                                 ┊─── Prepare op=1 to 2, leaves    ┊
         │                                 ┊────────────────✗ Prepare op=2 to 2, lost
  +22µs  │                                 ┊┄┄┄┄┄┄┄┄┄ Prepare op=1 ┄┄┄┄┄┄┄┄┄▶┊
   +9µs  │─── Request GET a to 1, leaves   ┊                                 ┊
  +22µs  │                                 ┊◀─────── PrepareOk op=1 ─────────┊
         │◀────────── Reply OK ────────────┊                                 ┊
         │                                 ┊─── Prepare op=3 to 2, leaves    ┊
   +8µs  │┄┄┄┄┄┄┄┄┄ Request GET a ┄┄┄┄┄┄┄┄▶┊                                 ┊
         : 50ms, 2 heartbeats              :                                 :
  +50ms  │                                 ⇉ restarted empty, incarnation 2  ┊
 +5.0ms  │                                 ┊┄┄┄┄┄┄┄┄┄ Prepare op=1 ┄┄┄┄┄┄┄┄┄▶┊
         : 5.0ms                           :                                 :
 +5.0ms  │                                 ┊┄┄┄┄┄┄┄┄┄ Prepare op=3 ┄┄┄┄┄┄┄┄┄▶┊";
    for order in [[&client, &primary, &backup], [&backup, &primary, &client], [&primary, &client, &backup]] {
        let mut model = Model::new(shown.clone(), us(0));
        for told in order {
            model.fold(us(70_000), &News::Observation(Box::new(told.clone())));
        }
        let picture = screen(&model, None, us(70_000), (100, 36));
        let rows = picture.lines().map(|line| line.trim_matches('"').trim_end());
        let shown: Vec<&str> = rows.skip_while(|row| !row.contains("0 client")).take(16).collect();
        assert_eq!(shown.join("\n"), expected[1..], "{}", shown.join("\n"));
    }
}
