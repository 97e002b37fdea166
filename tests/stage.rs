//! The stage over a cluster that lives: the picture freezes, goes back and forth, and is what it would have been.

mod support;

use crossbeam_channel::Receiver;
use ratatui::Terminal as Screen;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use std::path::Path;
use std::time::{Duration, Instant};
use support::terminal::{CTRL_D, CTRL_X, F1, F2, F10, F11, LEFT, RIGHT, Size, Terminal};
use understudy::cluster::{Desk, LiveVerdict, News, Post, Standing};
use understudy::core::disk::Fsync;
use understudy::core::node::Setup;
use understudy::core::protocol::{Config, CrashPoint, Incarnation, METADATA, Outcome, Rank, Time};
use understudy::core::store::{Command, Reply};
use understudy::sim::{DiskSetup, SimStage, VirtualClock, World};
use understudy::ui::commands::moves::Move;
use understudy::ui::dashboard::{self, Face, Lookback, Model, Theme, ThemeName, view};
use understudy::ui::stage::live::KEPT_BYTES_MAX;
use understudy::ui::stage::reel::Reel;
use understudy::ui::stage::{LiveStage, Player, Recording};

/// A failover, as the screen was told it.
fn recorded(name: &str) -> Recording {
    let script = ["PUT a 1", "CRASH primary", "GET a", "SLEEP 3", "RECOVER", "PUT b 2", "SLEEP 5"];
    support::sim::recorded(name, &script)
}

fn theme() -> Theme {
    Theme::new(ThemeName::Dark, false)
}

/// What the screen shows, whether one is on the stage or not.
fn picture(stage: &mut LiveStage, live: &Model, now: Time) -> Buffer {
    let mut screen = Screen::new(TestBackend::new(100, 30)).expect("memory");
    let theme = theme();
    screen
        .draw(|frame| {
            if !stage.draw(frame, (live, &Face::default()), &theme, &[], now) {
                view::draw(frame, live, &Face::default(), &theme, &[], now);
            }
        })
        .expect("memory");
    screen.backend().buffer().clone()
}

/// A picture of the model at the place where one is, at rest.
fn here(player: &Player) -> Buffer {
    let mut screen = Screen::new(TestBackend::new(100, 30)).expect("memory");
    screen
        .draw(|frame| view::draw(frame, player.model(), &Face::default(), &theme(), &[], player.now()))
        .expect("memory");
    screen.backend().buffer().clone()
}

#[test]
fn the_picture_freezes_while_the_cluster_runs_on_and_now_is_what_it_would_have_been() {
    let Recording { heading, pieces } = recorded("live.recording");
    let mut live = Model::new(heading.setup.clone(), heading.begun);
    let mut never_frozen = live.clone();
    let mut stage = LiveStage::new(&live, heading.begun, None, false);
    let half = pieces.len() / 2;
    let mut now = heading.begun;
    let mut frozen = None;
    for (number, (at, news)) in pieces.iter().enumerate() {
        live.fold(*at, news);
        stage.told(*at, news, &live);
        never_frozen.fold(*at, news);
        // The one is drawn whenever something happens, the other only in the end: that makes no difference.
        never_frozen.tick(*at);
        now = *at;
        if number == half {
            stage.act(Move::Enter, &live);
            frozen = Some(here(stage.player()));
        }
    }
    assert_eq!(Some(here(stage.player())), frozen, "it stands, whatever is told");
    let bar = stage.bar(now);
    assert!(bar.contains(" -") && bar.contains("the cluster runs on, End: now"), "{bar}");

    // This many steps forward, back and forward again: the very same pictures.
    stage.act(Move::Start, &live);
    let mut pictures = vec![here(stage.player())];
    let (_, steps) = stage.player().step();
    for _ in 0..steps {
        stage.act(Move::Forward, &live);
        pictures.push(here(stage.player()));
    }
    for (at, before) in pictures.iter().enumerate().rev().skip(1) {
        stage.act(Move::Back, &live);
        assert_eq!(here(stage.player()), *before, "step {at}, on the way back");
    }
    for (at, after) in pictures.iter().enumerate().skip(1) {
        stage.act(Move::Forward, &live);
        assert_eq!(here(stage.player()), *after, "step {at}, the second time");
    }

    // Now, on the stage: the picture above the bar is that of a dashboard that was never frozen. Off it: all of it.
    let mut other = LiveStage::new(&never_frozen, now, None, false);
    let expected = picture(&mut other, &never_frozen, now);
    stage.act(Move::End, &live);
    let above_the_bar = |buffer: &Buffer| buffer.content[..100 * 29].to_vec();
    assert_eq!(above_the_bar(&picture(&mut stage, &live, now)), above_the_bar(&expected));
    stage.act(Move::Leave, &live);
    assert_eq!(picture(&mut stage, &live, now), expected);
    // The pieces alone give it too.
    stage.act(Move::Enter, &live);
    stage.act(Move::Start, &live);
    while stage.player().step().0 < steps {
        stage.act(Move::NextTurn, &live);
        stage.act(Move::Forward, &live);
    }
}

/// Every jump gives the model that folding the pieces one by one gives, whatever it is that the screen shows of it.
#[test]
fn no_jump_leaves_a_piece_out() {
    let Recording { heading, pieces } = recorded("reel.recording");
    // So many that some models are kept between them.
    let pieces: Vec<&(Time, News)> = pieces.iter().cycle().take(700).collect();
    let start = Model::new(heading.setup, heading.begun);
    let (mut model, mut reel) = (start.clone(), Reel::new(start.clone(), heading.begun, usize::MAX));
    let mut expected = vec![format!("{model:?}")];
    for (at, news) in &pieces {
        reel.push(*at, news);
        model.fold(*at, news);
        reel.keep(reel.end(), &model);
        expected.push(format!("{model:?}"));
    }
    let (mut model, mut here) = (start, 0);
    for to in (0..=pieces.len()).chain((0..pieces.len()).rev()).chain((0..300).map(|n| n * 389 % (pieces.len() + 1))) {
        let from = here;
        here = reel.bring(&mut model, from, to);
        assert_eq!(here, to);
        assert!(format!("{model:?}") == expected[to], "from {from} to {to}");
    }
}

/// While the messages of a step fly, the clocks stand: a failover takes as long as it took.
#[test]
fn a_frozen_picture_shows_no_time_that_has_not_passed() {
    let Recording { heading, pieces } = recorded("clocks.recording");
    let mut live = Model::new(heading.setup.clone(), heading.begun);
    let mut stage = LiveStage::new(&live, heading.begun, None, false);
    for (at, news) in &pieces {
        live.fold(*at, news);
        stage.told(*at, news, &live);
    }
    stage.act(Move::Enter, &live);
    stage.act(Move::Start, &live);
    let mut flew = 0;
    for _ in 0..stage.player().step().1 {
        stage.act(Move::Forward, &live);
        if !stage.player().moves(Duration::ZERO) {
            continue;
        }
        let text = |buffer: &Buffer, x: std::ops::Range<u16>, y: std::ops::Range<u16>| -> String {
            y.flat_map(|y| x.clone().map(move |x| (x, y))).map(|place| buffer[place].symbol()).collect()
        };
        let before = picture(&mut stage, &live, live.started);
        std::thread::sleep(Duration::from_millis(120));
        let after = picture(&mut stage, &live, live.started);
        flew += u32::from(before != after);
        // The cards, and everything below them but the links: times are there, and messages are not.
        let is_link = |y: u16| text(&before, 0..100, y..y + 1).contains(['◀', '▶']);
        let below = (14..29).filter(|y| !is_link(*y)).map(|y| (0..100, y..y + 1));
        for (x, y) in [(0..29, 0..14), (71..100, 0..14)].into_iter().chain(below) {
            assert_eq!(text(&before, x.clone(), y.clone()), text(&after, x, y));
        }
    }
    assert!(flew > 5, "the messages fly all the same: {flew}");
}

/// What a class does in ten minutes: reports all the time, and something every second.
fn busy_class(mut each: impl FnMut(Time, &News)) {
    let Recording { pieces, .. } = recorded("class.recording");
    let reports: Vec<&News> = pieces.iter().map(|(_, news)| news).collect();
    // Three ranks, thirty reports a second.
    for number in 0..10 * 60 * 90_u64 {
        each(Time(number * 11_000_000), reports[number as usize % reports.len()]);
    }
}

#[test]
fn ten_minutes_are_kept_and_never_more_than_the_limit() {
    let start = Model::new(recorded("limit.recording").heading.setup, Time(0));
    let mut live = start.clone();
    let (mut stage, mut small) = (LiveStage::new(&start, Time(0), None, false), Player::live(&start, Time(0), 1 << 20));
    busy_class(|at, news| {
        live.fold(at, news);
        stage.told(at, news, &live);
        small.push(at, news, &live);
        let ((bytes, most), (less, limit)) = (stage.player().bytes(), small.bytes());
        // Models are kept at intervals: between two of them the pieces may go beyond it by a little.
        assert!(bytes <= most && less <= limit + (256 << 10), "{bytes} of {most}, {less} of {limit}");
    });
    assert_eq!(stage.player().bytes().1, KEPT_BYTES_MAX);
    let (_, whole) = stage.player().times();
    assert!(whole >= Duration::from_secs(590), "{whole:?} are kept");
    let (_, whole) = small.times();
    assert!(whole < Duration::from_secs(590) && whole > Duration::from_secs(5), "{whole:?} in 1 MiB");
    // The oldest that is kept can be gone to, and from there to now.
    small.join(&live);
    let now = here(&small);
    assert!(small.start() && small.forward() && small.end());
    assert_eq!(here(&small), now);
}

/// What an idle cluster costs the ring: so few bytes a minute that hours of it are kept, and hardly any time. Measured
/// without optimization on two busy cores: 0.6 MiB a minute, and 3 µs a report, of which there are twelve a second.
#[test]
fn an_idle_cluster_costs_the_ring_next_to_nothing() {
    let Recording { heading, pieces } = recorded("idle.recording");
    let is_idle = |news: &News| match news {
        News::Observation(report) => report.events.is_empty() && report.flights.is_empty() && report.keys.is_empty(),
        _ => false,
    };
    let idle: Vec<&News> = pieces.iter().map(|(_, news)| news).filter(|news| is_idle(news)).collect();
    assert!(!idle.is_empty(), "nothing is idle");
    let live = Model::new(heading.setup, Time(0));
    let mut stage = LiveStage::new(&live, Time(0), None, false);
    let before = stage.player().bytes().0;
    // Ten minutes; each of three ranks says four times a second that it lives.
    let reports = 10 * 60 * 12_u64;
    let begun = Instant::now();
    for number in 0..reports {
        stage.told(Time(number * 83_000_000), idle[number as usize % idle.len()], &live);
    }
    let each = begun.elapsed() / reports as u32;
    let minute = (stage.player().bytes().0 - before) / 10;
    println!("{each:?} a report, {} KiB a minute", minute >> 10);
    assert!(minute < 2 << 20, "{minute} bytes a minute");
    assert!(each < Duration::from_millis(5), "{each:?} a report");
    assert_eq!(stage.player().step(), (0, 0), "and there is nothing to step through");
}

// ---- the simulator -----------------------------------------------------------------------------------------

/// A simulated cluster with an audience, and what it tells.
struct Sim {
    desk: Desk,
    news: Receiver<News>,
    clock: VirtualClock,
    live: Model,
    stage: LiveStage,
}

impl Sim {
    fn new() -> Self {
        Self::with_disks(None)
    }

    fn with_disks(disks: Option<DiskSetup>) -> Self {
        let setup = Setup { config: Config::new(2), seed: 1, failure_rate: 0.0, recover_after: None, observe: true };
        let (desk, asks) = Desk::new();
        let (told, news) = crossbeam_channel::unbounded();
        let clock = VirtualClock::default();
        let shown = clock.clone();
        std::thread::spawn(move || {
            let world = World::on_stage(setup, disks);
            SimStage::new(world, shown, asks, Box::new(move |news| drop(told.send(news)))).run();
        });
        let setup = dashboard::ModelSetup { servers: 2, seed: 1, failure_rate: 0.0, animated: true, pace: 1.0 };
        let live = Model::new(setup, Time(0));
        let stage = LiveStage::new(&live, Time(0), Some(desk.clone()), false);
        let mut this = Self { desk, news, clock, live, stage };
        this.hear_until(|sim| sim.live.primary().is_some() && sim.clock.now() > Time(300_000_000));
        this
    }

    fn hear(&mut self, news: &News) {
        let now = self.clock.now();
        if let News::Branched { to, at } = news {
            self.stage.branched(*to, *at, &mut self.live);
            return;
        }
        self.live.fold(now, news);
        self.stage.told(now, news, &self.live);
    }

    /// Folds what is told until this holds.
    fn hear_until(&mut self, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never came");
            let Ok(news) = self.news.recv_timeout(Duration::from_millis(20)) else { continue };
            self.hear(&news);
        }
    }

    /// Everything that was asked so far is done, and told.
    fn settle(&mut self) {
        let _ = self.desk.status();
        while let Ok(news) = self.news.try_recv() {
            self.hear(&news);
        }
    }

    fn act(&mut self, wanted: Move) {
        match wanted {
            Move::Enter => self.desk.stand(true),
            Move::Leave => self.desk.stand(false),
            _ => {}
        }
        self.settle();
        self.stage.act(wanted, &self.live);
        self.settle();
    }
}

#[test]
fn in_the_simulator_time_stands_and_a_step_is_the_next_thing_that_happens() {
    let mut sim = Sim::new();
    sim.act(Move::Enter);
    let stood = sim.clock.now();
    std::thread::sleep(Duration::from_millis(150));
    sim.settle();
    assert_eq!(sim.clock.now(), stood, "time stands");
    let bar = sim.stage.bar(stood);
    assert!(bar.contains("time stands, → the next thing happens"), "{bar}");

    // A PUT takes its way, hop by hop.
    sim.desk.submit(Command::Put { key: "color".into(), value: "red".into() });
    sim.settle();
    let flights = |sim: &Sim| -> Vec<String> {
        let standing = sim.stage.player().picture().flights().in_the_air();
        standing.iter().map(|flying| flying.label.clone()).collect()
    };
    assert_eq!(flights(&sim), ["Request"], "it has left, and not arrived");
    assert_eq!(sim.clock.now(), stood);
    let mut hops = Vec::new();
    let mut pictures = vec![here(sim.stage.player())];
    for _ in 0..3 {
        let time = sim.clock.now();
        sim.act(Move::Forward);
        assert!(sim.clock.now() > time && sim.clock.now().since(time) < Duration::from_millis(1));
        hops.push(flights(&sim).join(" "));
        pictures.push(here(sim.stage.player()));
    }
    assert_eq!(hops, ["Prepare op=1", "PrepareOk op=1", "Reply"]);
    assert!(sim.live.outstanding().is_some(), "the answer is on its way");
    sim.act(Move::Forward);
    assert!(sim.live.outstanding().is_none(), "and has come");

    // Back, and forth again: the same pictures, and time has not moved.
    let (time, end) = (sim.clock.now(), here(sim.stage.player()));
    let (here_now, steps) = sim.stage.player().step();
    assert_eq!(here_now, steps);
    for _ in 0..steps {
        sim.act(Move::Back);
    }
    for _ in 0..steps {
        sim.act(Move::Forward);
    }
    assert_eq!(sim.stage.player().step(), (steps, steps), "going forth in the past lets nothing happen");
    assert_eq!(here(sim.stage.player()), end);
    assert_eq!(sim.clock.now(), time);
    // What waits for an answer gets it although time stands, and time goes on after that.
    assert!(sim.desk.status().primary.is_some());
    sim.act(Move::Leave);
    sim.hear_until(|sim| sim.clock.now().since(time) > Duration::from_millis(50));
    sim.desk.quit();
}

/// Whoever acts in the past begins a branch. What has happened otherwise is kept, picture by picture, and goes on where
/// it was left; and a branch in which nothing else is done is the very same as the one that it left.
#[test]
fn acting_in_the_past_begins_a_branch_and_the_others_are_kept() {
    let mut sim = Sim::new();
    sim.act(Move::Enter);
    sim.desk.submit(Command::Put { key: "color".into(), value: "red".into() });
    sim.settle();
    let mut pictures = vec![here(sim.stage.player())];
    for _ in 0..4 {
        sim.act(Move::Forward);
        pictures.push(here(sim.stage.player()));
    }
    let end = sim.clock.now();
    assert_eq!(sim.stage.in_the_past(), None, "it is now");
    for _ in 0..2 {
        sim.act(Move::Back);
    }
    let past = sim.stage.in_the_past().expect("it is past");
    assert_eq!(here(sim.stage.player()), pictures[2]);
    // What was on its way then can be seen; nothing has happened to it yet.
    let then = sim.desk.underway(Some(past)).expect("it can be seen");
    assert!(then.iter().any(|flying| flying.text.starts_with("PrepareOk")), "{then:?}");

    // The same again: nothing else is done.
    assert_eq!(sim.desk.fork(past), Ok(()));
    sim.settle();
    assert_eq!((sim.clock.now(), sim.stage.in_the_past()), (past, None));
    assert_eq!(sim.desk.underway(None), Some(then.clone()));
    for picture in &pictures[3..] {
        sim.act(Move::Forward);
        assert_eq!(here(sim.stage.player()), *picture);
    }
    assert_eq!(sim.clock.now(), end);

    // And otherwise: the acknowledgement is dropped, so nobody is answered.
    for _ in 0..2 {
        sim.act(Move::Back);
    }
    assert_eq!(sim.desk.fork(past), Ok(()));
    sim.desk.note("drop it");
    assert_eq!(sim.desk.meddle(then[0].number, understudy::core::fault::Meddling::Drop), Ok(()));
    // What comes next is that it is sent again.
    sim.act(Move::Forward);
    assert_ne!(here(sim.stage.player()), pictures[3]);
    assert!(sim.live.outstanding().is_some(), "nobody is answered");
    let bar = sim.stage.bar(sim.clock.now());
    assert!(bar.contains("branch 3 of 3"), "{bar}");
    let listed: Vec<String> = sim.desk.branches().expect("there are some").iter().map(ToString::to_string).collect();
    assert_eq!(listed.len(), 3);
    assert!(listed[0].starts_with("  a ") && listed[2].starts_with("* c "), "{listed:?}");
    assert!(listed[2].contains("left b at ") && listed[2].ends_with(": drop it"), "{listed:?}");

    // Back to the first: its pictures are there, and it goes on from its end.
    assert_eq!(sim.desk.rename(0, "whole".into()), Ok(()));
    assert!(sim.desk.rename(1, "WHOLE".into()).is_err());
    assert_eq!(sim.desk.switch(0), Ok(()));
    sim.settle();
    assert_eq!(sim.clock.now(), end);
    assert!(sim.live.outstanding().is_none(), "there it was answered");
    sim.act(Move::Back);
    sim.act(Move::Forward);
    assert_eq!(here(sim.stage.player()), pictures[4]);
    for picture in pictures.iter().rev().skip(1) {
        sim.act(Move::Back);
        assert_eq!(here(sim.stage.player()), *picture);
    }
    assert_eq!(sim.desk.switch(7), Err("there is no such branch: BRANCH lists them".into()));
    sim.act(Move::End);
    sim.act(Move::Leave);
    sim.hear_until(|sim| sim.clock.now().since(end) > Duration::from_millis(50));
    sim.desk.quit();
}

#[test]
fn a_power_cut_is_of_its_branch() {
    let mut sim = Sim::with_disks(Some(DiskSetup { fsync: Fsync::Always, pace: 8 }));
    let put = Command::Put { key: "color".into(), value: "red".into() };
    assert!(matches!(sim.desk.execute(put), Ok(Outcome::Done(_))));
    sim.act(Move::Enter);
    let before = sim.clock.now();
    sim.act(Move::Forward);
    assert_eq!(sim.desk.power_cut(Some(Rank(2))), Ok(()));
    // Which life of server 1 it is, and how server 2 is.
    let seen = |sim: &mut Sim| {
        sim.settle();
        let status = sim.desk.status();
        let posts = status.ranks.iter().map(|known| (known.rank, known.post));
        posts.filter(|(rank, _)| *rank != METADATA).collect::<Vec<_>>()
    };
    let after = seen(&mut sim);
    assert!(matches!(after[0].1, Post::Server { incarnation: Incarnation(life), .. } if life > 1_000_000), "{after:?}");
    assert!(matches!(after[1].1, Post::Server { standing: Standing::Down, .. }), "{after:?}");

    assert_eq!(sim.desk.fork(before), Ok(()));
    let otherwise = seen(&mut sim);
    assert!(matches!(otherwise[0].1, Post::Server { incarnation: Incarnation(1), .. }), "{otherwise:?}");
    assert!(matches!(otherwise[1].1, Post::Server { standing: Standing::Backup, .. }), "{otherwise:?}");
    assert_eq!(sim.desk.switch(0), Ok(()));
    assert_eq!(seen(&mut sim), after, "the same again");
    sim.act(Move::Leave);
    let got = sim.desk.execute(Command::Get { key: "color".into() });
    assert_eq!(got, Ok(Outcome::Done(Reply::Value("red".into()))), "it was on the disk");
    sim.desk.quit();
}

/// The program over the simulator, in a terminal.
fn in_a_terminal(name: &str, size: Size) -> Terminal {
    let program = support::sim::program(name, &[]);
    let terminal = Terminal::start(program, size);
    terminal.wait_shows("primary 1]>");
    terminal
}

#[test]
fn the_keys_lead_about_the_stage_on_an_empty_line_only() {
    let mut terminal = in_a_terminal("stage-keys", Size(100, 30));
    terminal.press(F2);
    terminal.wait_shows("time stands, → the next thing happens");
    // A line is typed as always, with spaces, dots and signs, and edited with the arrows.
    terminal.press("PUT a.b x-1");
    terminal.press(LEFT);
    terminal.press(RIGHT);
    terminal.wait_last("understudy[view 1 · primary 1]> PUT a.b x-1");
    terminal.press("\r");
    terminal.wait_shows("asked; time stands");
    for _ in 0..4 {
        terminal.press(RIGHT);
    }
    terminal.wait("the answer", |t| t.lines().iter().any(|line| line.contains("OK") && line.contains("µs")));
    terminal.press(LEFT);
    terminal.wait_shows("time stands, End: now");
    // An act is for now.
    terminal.press("PAUSE 2\r");
    terminal.wait_shows("time stands, → the next thing happens");
    terminal.wait_shows("PAUSED");
    // The chord, and the way out.
    terminal.press("\x1b");
    terminal.wait_shows("F2 stage");
    terminal.press(&format!("{CTRL_X}s"));
    terminal.wait_shows("time stands");
    terminal.press(" ");
    terminal.wait_shows("1 a second");
    terminal.press("+");
    terminal.wait_shows("2 a second");
    terminal.press(&format!("{CTRL_X}s"));
    terminal.wait_shows("F2 stage");
    terminal.press(CTRL_D);
    terminal.wait_success();
}

/// In a terminal: whatever is asked for, the client's box says that it is explained, and how much of it.
#[test]
fn values_of_every_kind_are_judged_as_they_are_asked_for() {
    let mut terminal = in_a_terminal("stage-judged", Size(100, 30));
    let lines = ["HSET h f 1", "HINCRBY h f 2", "LPUSH l a b", "LPOP l", "SADD s a", "SPOP s", "ZADD z 1 a"];
    let more = ["SET k v EX 100", "TTL k", "EXPIRE h 100", "MSET a 1 b 2", "LMOVE l m LEFT LEFT", "FLUSHALL"];
    for (count, line) in (1..).zip(lines.into_iter().chain(more)) {
        terminal.press(&format!("{line}\r"));
        terminal.wait_shows(&format!("linearizable {count} "));
    }
    terminal.press("KEYS *\r");
    terminal.press("CHECK\r");
    terminal.wait_shows("linearizable: 13 operations, 0 unknown, 0 failovers; 1 that looks at all keys was not judged");
    terminal.press(CTRL_D);
    terminal.wait_success();
}

/// In a terminal: go back a hop, choose the message that is on its way there, drop it; then go back to how it was.
#[test]
fn a_message_of_the_past_is_chosen_and_dropped_and_the_branches_are_listed() {
    let mut terminal = in_a_terminal("stage-branches", Size(100, 30));
    terminal.press(F2);
    terminal.wait_shows("time stands");
    // Nothing is on its way, and nothing is chosen.
    terminal.press("\t");
    terminal.press("PUT color red\r");
    terminal.wait_shows("asked; time stands");
    for words in ["server 1 sends write 1", "server 2 has every write", "server 1 applies write 1"] {
        terminal.press(RIGHT);
        terminal.wait_shows(words);
    }
    terminal.press(LEFT);
    terminal.wait_shows("End: now, a command forks");
    terminal.press("\t");
    terminal.wait_shows("message 1 of 1: 2 → 1 PrepareOk op=1");
    terminal.press("\r");
    terminal.wait_shows("from 2 to 1, arrives in ");
    terminal.press("\x1b[3~");
    terminal.wait_shows("branch 2 of 2");
    terminal.wait_shows("dropped: PrepareOk op=1 from 2 to 1");
    terminal.wait_shows("time stands, → the next thing happens");
    terminal.press("\x1b[21~");
    terminal.wait_shows("PrepareOk op=1 to 1, lost");
    terminal.press("\x1b[21~");
    terminal.press("BRANCH\r");
    terminal.wait_shows("  a        up to");
    terminal.wait_shows("* b        up to");
    terminal.wait_shows("PrepareOk op=1 from 2 to 1");
    terminal.press("BRANCH b unheard\r");
    terminal.wait_line("OK");
    terminal.press("BRANCH a\r");
    terminal.wait_shows("branch 1 of 2");
    terminal.press(RIGHT);
    terminal.wait_shows("the client has its answer");
    terminal.press("CHECK\r");
    terminal.wait_shows("linearizable: 1 operation, 0 unknown");
    terminal.press("BRANCH nowhere\r");
    terminal.wait_shows("there is no branch nowhere: choose a, unheard");
    terminal.press("BRANCH unheard\r");
    terminal.wait_shows("branch 2 of 2");
    terminal.press("CHECK\r");
    terminal.wait_shows("linearizable: 0 operations");
    // A command in the past begins one as well; which primary is meant is that of then.
    terminal.press(LEFT);
    terminal.wait_shows("End: now, a command forks");
    terminal.press("CRASH primary\r");
    terminal.wait_shows("branch 3 of 3");
    terminal.wait_shows("server 1 crashed");
    terminal.press(CTRL_D);
    terminal.wait_success();
}

#[test]
fn what_is_written_down_has_one_past() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one-past.jsonl");
    let words = ["--history", file.to_str().expect("a plain name")];
    let mut terminal = Terminal::start(support::sim::program("stage-one-past", &words), Size(100, 30));
    terminal.wait_shows("primary 1]>");
    terminal.press("PUT a 1\r");
    terminal.wait_line("OK");
    terminal.press(F2);
    terminal.wait_shows("time stands");
    terminal.press(LEFT);
    terminal.wait_shows("End: now");
    terminal.press("PUT a 2\r");
    terminal.wait_shows("a history is written (--history), which has one past: End goes to now");
    terminal.press(CTRL_D);
    terminal.wait_success();
}

#[test]
fn esc_and_a_letter_right_behind_it_are_two_keys() {
    let mut terminal = in_a_terminal("stage-escape", Size(100, 30));
    terminal.press(F2);
    terminal.wait_shows("time stands");
    terminal.press("\x1bp");
    terminal.wait_shows("F2 stage");
    terminal.wait("the letter", |t| t.lines().iter().any(|line| line.starts_with("understudy[view 1 · primary 1]> p")));
    terminal.press("ut a 1\r");
    terminal.wait_line("OK");
    terminal.press(CTRL_D);
    terminal.wait_success();
}

/// F10 and F11 lead from each of the three pictures to each other; where there is no room, F11 says so.
#[test]
fn big_numbers_and_the_diagram_take_each_others_place() {
    let mut terminal = in_a_terminal("stage-looks", Size(80, 24));
    let is_big = |t: &Terminal| t.shows("██");
    let is_diagram = |t: &Terminal| t.shows("0 client") && !t.shows("client · metadata");
    let is_cards = |t: &Terminal| t.shows("client · metadata");
    terminal.wait("the cards", is_cards);
    terminal.press(F10);
    terminal.wait("the diagram", is_diagram);
    terminal.press(F11);
    terminal.wait("big numbers in its place", is_big);
    terminal.press(F10);
    terminal.wait("the diagram again", is_diagram);
    terminal.press(F10);
    terminal.wait("big numbers again", is_big);
    terminal.press(F11);
    terminal.wait("the cards again", is_cards);
    terminal.press("PRESENT\r");
    terminal.wait("the command does the same", is_big);
    terminal.press("PRESENT\r");
    terminal.wait("and back", is_cards);
    terminal.resize(Size(70, 20));
    // Wider cards, and nothing between them.
    terminal.wait("cards alone", |t| t.shows("┓ ┌ server 2 · BACKUP"));
    terminal.press(F11);
    terminal.wait_shows("big numbers need a terminal of 80x24");
    terminal.press(CTRL_D);
    terminal.wait_success();
}

/// Which step the bar says that this is. What lies above it was drawn with it.
fn step(terminal: &Terminal) -> usize {
    let lines = terminal.lines();
    let bar = lines.iter().find_map(|line| line.split_once("· step ")).expect("a bar");
    bar.1.split('/').next().and_then(|step| step.parse().ok()).expect("a number")
}

/// What the screen was told in one go is as many steps as it was moments.
#[test]
fn the_past_can_be_gone_through_hop_by_hop_also_if_nobody_had_frozen_it() {
    let mut terminal = in_a_terminal("stage-hops", Size(100, 30));
    terminal.press("PUT a 1\r");
    terminal.wait_line("OK");
    terminal.press(F2);
    terminal.wait_shows("time stands");
    for words in [
        "the client has its answer",
        "server 1 applies write 1",
        "server 2 has every write up to 1",
        "server 1 sends write 1 to server 2",
    ] {
        let mut steps = 0;
        while !terminal.shows(words) {
            assert!(steps < 10, "{words}: {:?}", terminal.lines());
            steps += 1;
            let before = step(&terminal);
            terminal.press(LEFT);
            terminal.wait("a step back", |t| step(t) + 1 == before);
        }
    }
    // A picture is made of what is looked at, and so is the diagram.
    terminal.press(F10);
    terminal.wait_shows("Prepare op=1 to 2, on its way");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("past.txt");
    let _ = std::fs::remove_file(&file);
    terminal.press(&format!("SHOT {}\r", file.display()));
    terminal.wait("the file", |_| std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(text.contains("Prepare op=1 to 2, on its way") && !text.contains("Reply"), "{text}");
    terminal.press("\x1b");
    terminal.wait_shows("F2 stage");
    terminal.press(CTRL_D);
    terminal.wait_success();
}

#[test]
fn help_lies_over_the_dashboard_and_is_searched_by_typing() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("first-start");
    let _ = std::fs::remove_dir_all(&home);
    let mut terminal = in_a_terminal("first-start", Size(80, 24));
    // Who starts for the first time sees what to try.
    terminal.wait_shows("Try: PUT color red");
    terminal.wait_shows("COMMAND ? explains one");
    terminal.press(F1);
    terminal.wait_shows("GET key");
    terminal.wait_shows("Type a word to search");
    terminal.press("memory");
    terminal.wait_shows("CRASH who [at] [point]");
    terminal.wait("the rest is gone", |t| !t.shows("GET key"));
    // Esc closes it and takes the word along.
    terminal.press("\x1b");
    terminal.wait_shows("server 1 · PRIMARY");
    terminal.wait_last("understudy[view 1 · primary 1]>");
    // A command that was found can be given at once; a word that is none does no harm.
    terminal.press(F1);
    terminal.press("memory\r");
    terminal.wait_shows("server 1 · PRIMARY");
    terminal.wait("no error", |t| !t.shows("(error)"));
    terminal.press(F1);
    terminal.press("PUT color red\r");
    terminal.wait_line("OK");
    terminal.press("APPEND ?\r");
    terminal.wait_shows("APPEND key value: appends");
    terminal.press(CTRL_D);
    terminal.wait_success();
    // The second time it is known.
    let mut terminal = in_a_terminal("first-start", Size(80, 24));
    assert!(!terminal.shows("Try: PUT color red"));
    terminal.press(CTRL_D);
    terminal.wait_success();
}

// ---- where it breaks ---------------------------------------------------------------------------------------

fn played(commands: &[&str]) -> (Vec<String>, String) {
    support::sim::played(&[], commands)
}

#[test]
fn it_crashes_at_the_point_that_was_named_and_the_request_has_one_effect() {
    for point in CrashPoint::ALL {
        let crash = format!("CRASH primary at {}", point.name());
        let (answers, told) =
            played(&["PUT visits 0", &crash, "INCR visits", "GET visits", "SLEEP 1", "CHECK", "EVENTS 20"]);
        assert_eq!(answers[..4], ["OK", "OK", "1", "1"], "{crash}: {told}");
        assert!(answers[5].contains("linearizable"), "{answers:?}");
        // Nobody's dice, and just there; the operator's act stands before it.
        let told = answers[6..].join("\n");
        let crashed = told.find(&format!("server 1 crashed {point} op=")).unwrap_or_else(|| panic!("{crash}: {told}"));
        let armed = told.find(&format!("server 1 will crash {point}")).unwrap_or_else(|| panic!("{crash}: {told}"));
        assert!(armed < crashed && !told.contains("dice"), "{told}");
    }
}

#[test]
fn who_cannot_crash_at_a_request_says_why() {
    let (answers, _) =
        played(&["CRASH 2 at arrival", "CRASH 2", "SLEEP 1", "CRASH primary at arrival", "CRASH 1 at noon"]);
    assert!(answers[0].contains("server 2 is not primary"), "{answers:?}");
    assert!(answers[3].contains("server 1 has no backup that would answer"), "{answers:?}");
    assert!(answers[4].contains("'noon' is no point: give one of arrival, before-prepare"), "{answers:?}");
    // Before the one that was armed, the dice count no more than after it.
    let (answers, told) = played(&["CRASH primary at before-reply", "CRASH primary", "SLEEP 1", "PUT a 1"]);
    assert_eq!(answers, ["OK", "OK", "OK", "OK"], "{told}");
}

#[test]
fn a_power_cut_leaves_what_is_on_the_disks_and_ends_what_was_done_to_the_links() {
    let words = ["--servers", "2", "--disks", "--fsync", "always"];
    let commands =
        ["PUT color red", "RULE lease off", "CUT 1 2", "POWERCUT", "SLEEP 1", "GET color", "RULE lease", "STATUS"];
    let (answers, told) = support::sim::played(&words, &commands);
    assert_eq!(answers[..6], ["OK", "OK", "OK", "OK", "OK", "red"], "{told}");
    assert!(answers[6].contains("OFF"), "the rules of now: {answers:?}");
    let server = |rank: &str| answers.iter().find(|line| line.starts_with(rank)).expect("it is listed");
    assert!(
        server("rank 1").contains("PRIMARY keys 1 op 1 incarnation 1000001 disk-written 1 disk-synced 1"),
        "{told}"
    );
    assert!(server("rank 2").contains("BACKUP"), "the cut is over: {answers:?}");

    let (answers, told) =
        support::sim::played(&words, &["PUT color red", "POWERCUT 2", "STATUS", "SLEEP 2", "GET color"]);
    assert!(answers.iter().any(|line| line.starts_with("rank 2") && line.contains("DOWN")), "{told}");
    assert_eq!(answers.last().map(String::as_str), Some("red"), "one of them is enough: {told}");
}

#[test]
fn what_is_synced_once_a_second_is_safe_after_a_second() {
    let commands = ["PUT color red", "SLEEP 0.5", "STATUS", "SLEEP 0.6", "STATUS", "POWERCUT", "SLEEP 1", "GET color"];
    let (answers, told) = support::sim::played(&["--disks"], &commands);
    let synced = answers.iter().filter(|line| line.starts_with("rank 1")).map(|line| line.contains("disk-synced 1"));
    assert_eq!(synced.collect::<Vec<_>>(), [false, true], "{answers:?}");
    assert_eq!(answers.last().map(String::as_str), Some("red"), "{told}");
}

#[test]
fn without_disks_there_is_no_power_cut_and_no_rule_of_disks() {
    let (answers, told) = played(&["PUT a 1", "POWERCUT", "GET a", "WIPE 1"]);
    assert!(!told.contains("power fails"), "{told}");
    assert!(answers[1].contains("after a power cut nothing would be left: --sim --disks"), "{answers:?}");
    assert_eq!(answers[2], "1");
    assert!(answers[3].contains("server 1 has no disk") && answers[3].contains("--sim --disks"), "{answers:?}");
    let refused = |words: &[&str]| {
        let output = support::sim::program("sim", words).args(["-c", "COUNT"]).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let why = refused(&["--without", "persist-view"]);
    assert!(why.contains("rule persist-view is about disks, and there are none: --data DIR"), "{why}");
    let why = refused(&["--fsync", "always"]);
    assert!(why.contains("--disks") && why.contains("--data"), "{why}");
    let why = refused(&["--data", "somewhere"]);
    assert!(why.contains("cannot be used with '--data"), "{why}");
}

// ---- who asks ----------------------------------------------------------------------------------------------

#[test]
fn another_client_has_its_own_idea_of_the_primary() {
    // Server 1 and the client on rank 3 are cut off from the others.
    let story = |more: &[&str]| {
        let commands = [
            "AS 3 PUT color blue",
            "GET color",
            "CUT 1 2",
            "CUT 1 0",
            "CUT 3 2",
            "CUT 3 0",
            "SLEEP 1",
            "PUT color red",
            "AS 3 GET color",
        ];
        support::sim::played(&[&["--clients", "1"], more].concat(), &commands)
    };
    let (answers, told) = story(&[]);
    assert_eq!(answers, ["OK", "blue", "OK", "OK", "OK", "OK", "OK", "OK", "(unknown)"], "{told}");
    assert!(told.contains("client 3 asks: GET color"), "{told}");
    assert!(told.contains("client 3 has its answer: (unknown)"), "{told}");
    // Without leases server 1, which has heard of nothing, answers it: the stale read itself.
    let (answers, told) = story(&["--without", "lease"]);
    assert_eq!(answers.last().map(String::as_str), Some("blue"), "{answers:?} {told}");

    let (answers, _) = played(&["AS 3 GET color", "AS x GET color", "AS 0 PUT a 1", "AS 0 CRASH 1", "AS 3"]);
    assert!(answers[0].contains("rank 3 is no client: --clients N starts some"), "{answers:?}");
    assert!(answers[1].contains("'x' is no n"), "{answers:?}");
    assert_eq!(answers[2], "OK");
    assert!(answers[3].contains("CRASH is none") && answers[4].contains("usage: AS n command"), "{answers:?}");
}

/// The clock stands after an answer, and nothing more is told: the badge must know of it by then.
#[test]
fn an_answer_is_judged_before_anything_else_happens() {
    let commands = ["PUT a 1", "GET a", "RPUSH l x", "LPOP l", "GET a"];
    let recording = support::sim::recorded("judged.recording", &commands);
    let (mut asked, mut judged) = (0, 0);
    for (_, news) in &recording.pieces {
        match news {
            News::Verdict(LiveVerdict::Linearizable { operations }) => judged = *operations,
            News::Asked { .. } => {
                assert_eq!(judged, asked, "operations judged when the next one is asked for");
                asked += 1;
            }
            _ => {}
        }
    }
    assert_eq!((judged, asked), (commands.len() as u64, commands.len() as u64));
}
