//! What the painter writes, on a terminal that is emulated.

use crate::scenes::Told;
use crate::scenes::{Scene, at, key, keys, status};
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use understudy::cluster::News;
use understudy::core::protocol::{Role, Time};
use understudy::ui::dashboard::ThemeName;
use understudy::ui::dashboard::{
    Face, Model, ModelSetup, Notice, Painter, Stage, Theme, WatchedCluster, layout, lock, view,
};

fn positive(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

/// Collects what is written, write by write.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<Vec<u8>>>>);

impl Tape {
    fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A painter, what it writes, and the terminal that shows it.
struct Easel {
    tape: Tape,
    painter: Option<Painter<Tape>>,
    screen: vt100::Parser,
    theme: Theme,
}

impl Easel {
    fn new(cols: u16, rows: u16) -> Self {
        let tape = Tape::default();
        let painter = Some(Painter::enter(tape.clone(), cols, rows).unwrap());
        let screen = vt100::Parser::new(positive(rows), positive(cols), 0);
        let mut easel = Self { tape, painter, screen, theme: Theme::new(ThemeName::Dark, false) };
        easel.show();
        easel
    }

    /// Draws a frame and answers in how many writes.
    fn paint(&mut self, scene: &Scene) -> usize {
        let painter = self.painter.as_mut().unwrap();
        painter
            .paint(|frame| view::draw(frame, &scene.model, &Face::default(), &self.theme, &keys(), scene.now))
            .unwrap();
        self.show()
    }

    fn show(&mut self) -> usize {
        let writes = self.tape.take();
        for bytes in &writes {
            self.screen.process(bytes);
        }
        writes.len()
    }

    fn row(&self, row: u16) -> String {
        let cols = self.screen.screen().size().1;
        self.screen.screen().rows(0, cols.into()).nth(usize::from(row)).unwrap().trim_end().to_owned()
    }
}

/// Values of signs that terminals draw in one column or two, or in four: a heart and its selector, a skin tone, a key
/// cap, a flag, a family.
const SIGNS: [&str; 5] = [
    "heart\u{2764}\u{fe0f}x",
    "skin\u{1f44d}\u{1f3fd}x",
    "num1\u{fe0f}\u{20e3}x",
    "\u{1f1e9}\u{1f1ea}x",
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f466}x",
];

fn holding(values: &[&str], op: u64) -> Scene {
    let mut scene = Scene::formed(2);
    let keys: Vec<_> = (op..).zip(values).map(|(op, value)| key(&format!("{value}{op}"), value, op)).collect();
    for rank in [1, 2] {
        let role = if rank == 1 { Role::Primary } else { Role::Backup };
        scene.hold(rank, status(role, 1, op + keys.len() as u64, keys.len() as u64), &keys);
    }
    scene.model.hear_answered(scene.now, format!("PUT a {}", values[0]), values[0], Duration::from_micros(6));
    scene.wait(2_000);
    scene
}

#[test]
fn signs_of_several_characters_stay_in_their_cells() {
    for (cols, rows) in [(80, 24), (120, 36)] {
        let cells = |easel: &Easel| -> Vec<Vec<String>> {
            let screen = easel.screen.screen();
            // What was written over and what was never written look alike.
            let cell = |row, col| screen.cell(row, col).map_or("", |cell| cell.contents()).trim().to_owned();
            (0..layout::split(cols, rows).0).map(|row| (0..cols).map(|col| cell(row, col)).collect()).collect()
        };
        let (mut plain, mut signs) = (Easel::new(cols, rows), Easel::new(cols, rows));
        let letters = ["abc", "def", "ghi", "jkl", "mno"];
        plain.paint(&holding(&letters, 10));
        signs.paint(&holding(&SIGNS, 10));
        let is_border = |cell: &String| "┃│┏┓┗┛━─╭╮╰╯┌┐└┘▶◀".contains(cell.as_str()) && !cell.is_empty();
        for (row, (plain, signs)) in cells(&plain).iter().zip(&cells(&signs)).enumerate() {
            for (col, (plain, signs)) in plain.iter().zip(signs).enumerate().filter(|(_, (plain, _))| is_border(plain))
            {
                assert_eq!(plain, signs, "row {row}, column {col} of {cols}x{rows}");
            }
        }
        // And nothing of them is left when something else stands there.
        signs.paint(&holding(&letters, 10));
        assert_eq!(cells(&signs), cells(&plain), "{cols}x{rows}");
    }
}

#[test]
fn a_frame_is_one_write_and_leaves_the_prompt_alone() {
    let mut easel = Easel::new(100, 30);
    easel.screen.process(b"understudy> PUT col\x1b[1;34m");
    let cursor = easel.screen.screen().cursor_position();
    assert_eq!(cursor, (29, 19));
    assert_eq!(easel.paint(&Scene::written(2)), 1);
    assert_eq!(easel.screen.screen().cursor_position(), cursor);
    assert!(!easel.screen.screen().hide_cursor());
    assert_eq!(easel.row(29), "understudy> PUT col");
    assert!(easel.row(0).contains("PRIMARY server 1"));

    // The pen that the prompt had is back, too.
    easel.screen.process(b"X");
    let cell = easel.screen.screen().cell(29, 19).unwrap();
    assert!(cell.bold() && cell.fgcolor() == vt100::Color::Idx(4), "{cell:?}");
}

#[test]
fn nothing_new_writes_nothing() {
    let mut easel = Easel::new(100, 30);
    let mut scene = Scene::written(2);
    easel.paint(&scene);
    assert_eq!(easel.paint(&scene), 0);
    scene.be(1, status(Role::Primary, 1, 42, 6));
    assert_eq!(easel.paint(&scene), 0, "the same report again");
    scene.wait(1_000);
    assert_eq!(easel.paint(&scene), 1, "`up` counts the seconds");
}

#[test]
fn what_the_prompt_prints_scrolls_below_the_dashboard() {
    let mut easel = Easel::new(80, 24);
    easel.paint(&Scene::written(2));
    let before: Vec<String> = (0..19).map(|row| easel.row(row)).collect();
    for line in 0..100 {
        easel.screen.process(format!("answer {line}\r\n").as_bytes());
        easel.paint(&Scene::put(2, line * 10));
        easel.paint(&Scene::written(2));
    }
    assert_eq!((0..19).map(|row| easel.row(row)).collect::<Vec<_>>(), before);
    assert_eq!(easel.row(22), "answer 99");
    assert_eq!(easel.row(19), "answer 96");
}

#[test]
fn the_picture_on_the_terminal_is_the_picture() {
    for (cols, rows) in [(80, 24), (100, 30), (120, 36)] {
        let mut easel = Easel::new(cols, rows);
        for scene in [Scene::written(2), Scene::put(2, 480), Scene::crashed(2, 500), Scene::joining(2), Scene::lost()] {
            easel.paint(&scene);
            let mut fresh = Easel::new(cols, rows);
            fresh.paint(&scene);
            let dashboard_rows = layout::split(cols, rows).0;
            for row in 0..dashboard_rows {
                assert_eq!(easel.row(row), fresh.row(row), "row {row} kept something of the picture before");
            }
            // The key bar reaches to the last column.
            let last = easel.screen.screen().cell(dashboard_rows - 1, cols - 1).unwrap();
            assert_ne!(last.bgcolor(), vt100::Color::Default);
        }
    }
}

#[test]
fn resizing_redraws_everything_and_asks_the_prompts_side_to_move() {
    for (cols, rows) in [(120, 36), (80, 24), (60, 18), (40, 10), (100, 30)] {
        let mut easel = Easel::new(100, 30);
        easel.paint(&Scene::written(2));
        easel.screen.process(b"half-typed");
        easel.screen.screen_mut().set_size(positive(rows), positive(cols));
        let (painter, region) = easel.painter.take().unwrap().resize(cols, rows).unwrap();
        easel.painter = Some(painter);
        easel.screen.process(region.as_bytes());
        assert_eq!(easel.screen.screen().cursor_position(), (rows - 1, 0));
        easel.paint(&Scene::written(2));
        let mut fresh = Easel::new(cols, rows);
        fresh.paint(&Scene::written(2));
        for row in 0..rows {
            assert_eq!(easel.row(row), fresh.row(row), "row {row} at {cols}x{rows}");
        }

        easel.screen.process(b"a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\nj\r\nk\r\nl\r\nm\r\n");
        let dashboard_rows = layout::split(cols, rows).0;
        for row in 0..dashboard_rows {
            assert_eq!(easel.row(row), fresh.row(row), "the region begins too high at {cols}x{rows}");
        }
    }
}

#[test]
fn leaving_gives_all_rows_back() {
    let mut easel = Easel::new(80, 24);
    easel.paint(&Scene::written(2));
    easel.painter.take().unwrap().leave().unwrap();
    easel.show();
    assert_eq!(easel.screen.screen().cursor_position(), (23, 0));
    assert!(!easel.screen.screen().hide_cursor());
    easel.screen.process(b"\n\n\n");
    assert!(easel.row(0).contains("lease") || !easel.row(0).contains("understudy"), "the whole screen scrolls again");
}

#[test]
fn the_mono_theme_sends_no_colour_code() {
    let mut easel = Easel::new(100, 30);
    easel.theme = Theme::new(ThemeName::Mono, false);
    let mut sent = Vec::new();
    for scene in [Scene::written(2), Scene::put(2, 480), Scene::crashed(2, 500), Scene::joining(2), Scene::lost()] {
        let painter = easel.painter.as_mut().unwrap();
        painter
            .paint(|frame| view::draw(frame, &scene.model, &Face::default(), &easel.theme, &keys(), scene.now))
            .unwrap();
        sent.extend(easel.tape.take().concat());
    }
    let text = String::from_utf8(sent).unwrap();
    for sequence in text.split("\x1b[").skip(1) {
        let Some((parameters, _)) = sequence.split_once('m') else { continue };
        if parameters.chars().all(|c| c.is_ascii_digit() || c == ';') {
            for code in parameters.split(';').filter_map(|code| code.parse::<u8>().ok()) {
                assert!(!(30..=49).contains(&code) && code < 90, "CSI {parameters} m is a colour");
            }
        }
    }
}

/// The thread itself: draws at once when something happens, hardly ever when nothing does.
#[test]
fn the_thread_follows_and_rests() {
    let epoch = Instant::now();
    let clock = move || Time(at(0).0 + epoch.elapsed().as_nanos() as u64);
    let setup = ModelSetup { servers: 2, seed: 7, failure_rate: 0.2, animated: true, pace: 1.0 };
    let model = Arc::new(Mutex::new(Model::new(setup, clock())));
    let (notices, waiting) = understudy::ui::dashboard::channel();
    let tape = Tape::default();
    let frames = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&frames);
    let stage = Stage {
        own: WatchedCluster::new(Arc::clone(&model), None, Box::new(clock)),
        guest: None,
        theme: Theme::new(ThemeName::Dark, false),
        keys: Box::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            keys()
        }),
        size: Box::new(|| Some((100, 30))),
        blank: Arc::default(),
        region: Box::new(|_| ()),
    };
    let painter = Painter::enter(tape.clone(), 100, 30).unwrap();
    let thread = std::thread::spawn(move || understudy::ui::dashboard::run(&waiting, stage, painter).map(|_| ()));

    notices.send(Notice::News(clock(), News::Asked { at: clock(), command: "PUT color red".into() })).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !String::from_utf8_lossy(&tape.0.lock().unwrap().concat()).contains("PUT color red") {
        assert!(Instant::now() < deadline, "the request is not on the screen");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(lock(&model).outstanding().is_some());
    let took = Duration::from_micros(6);
    notices
        .send(Notice::News(
            clock(),
            News::Answered { at: clock(), command: "PUT color red".into(), reply: "OK".into(), took },
        ))
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));

    let (before, written) = (frames.load(Ordering::Relaxed), tape.take().len());
    for _ in 0..40 {
        let mut idle = crate::scenes::report(1, clock());
        idle.server = Some(status(Role::Primary, 1, 0, 0));
        notices.send(Notice::News(clock(), News::Observation(Box::new(idle)))).unwrap();
        std::thread::sleep(Duration::from_millis(25));
    }
    let drawn = frames.load(Ordering::Relaxed) - before;
    assert!(drawn <= 12, "{drawn} frames in a second in which nothing happened");
    let writes = tape.take().len();
    assert!(writes <= 5, "{writes} writes in a second in which nothing happened, {written} before");

    notices.send(Notice::Quit).unwrap();
    thread.join().unwrap().unwrap();
    let end = String::from_utf8(tape.take().concat()).unwrap();
    assert!(end.contains("\x1b[r"), "the region is given back: {end:?}");
}

/// What another cluster told happened when it says so, however late the screen gets around to it.
#[test]
fn what_a_guest_tells_has_its_own_time() {
    let setup = || ModelSetup { servers: 2, seed: 7, failure_rate: 0.2, animated: true, pace: 1.0 };
    let [own, guest] = [(); 2].map(|()| Arc::new(Mutex::new(Model::new(setup(), at(0)))));
    let (notices, waiting) = understudy::ui::dashboard::channel();
    let stage = Stage {
        own: WatchedCluster::new(own, None, Box::new(|| at(9_000))),
        guest: None,
        theme: Theme::new(ThemeName::Dark, false),
        keys: Box::new(|_| keys()),
        size: Box::new(|| Some((100, 30))),
        blank: Arc::default(),
        region: Box::new(|_| ()),
    };
    let watched = WatchedCluster::new(Arc::clone(&guest), None, Box::new(|| at(9_000)));
    notices.send(Notice::Guest(Some(Box::new(watched)))).unwrap();
    notices.send(Notice::GuestNews(at(1_000), News::Note("long ago".into()))).unwrap();
    notices.send(Notice::Quit).unwrap();
    let painter = Painter::enter(Tape::default(), 100, 30).unwrap();
    understudy::ui::dashboard::run(&waiting, stage, painter).unwrap();
    let told: Vec<Time> = lock(&guest).story().lines().map(|line| line.at).collect();
    assert_eq!(told, [at(1_000)]);
}
