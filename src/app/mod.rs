//! Puts the rooms together: what runs on which rank, in which thread.
//!
//! ```text
//! rank 0   main thread: MPI, client, metadata server (mpi::console_rank)
//!            ▲ Desk                      │ News
//!          prompt thread (console)     dashboard thread (dashboard), or events on stderr
//! rank N   main thread: MPI and the server (mpi::server_rank)
//! ```

mod lecture;
#[cfg(feature = "mpi")]
mod mpi;
mod notes;
mod outpour;
mod replay;
mod sim;
mod theatre;
mod tour;
mod verdict;

#[cfg(feature = "mpi")]
pub(crate) use mpi::{Begun, begin, end_world, exit_soon};
#[cfg(feature = "mpi")]
pub use mpi::{run_rank, run_replacement};
pub use notes::notes;
pub use replay::replay;
pub use sim::{run_sim, watch};
pub use tour::{play_scene, tour};

use crate::cluster::{Desk, News, Standing, Underway};
use crate::core::fault::Meddling;
use crate::core::node::Setup;
use crate::core::protocol::{Config, Rules, Time, Timing};
use crate::core::store::Bytes;
use crate::launch::args::{Args, RecoverAfter};
use crate::launch::{self, complain, fail};
use crate::mpi::clock;
use crate::ui::commands::action::Shot;
use crate::ui::commands::guide::guide;
use crate::ui::commands::keys::KEYS;
use crate::ui::commands::moves::Move;
use crate::ui::console::answer::Palette;
use crate::ui::console::ascii::ascii;
use crate::ui::console::{
    ConsoleSession, ExitStatus, Knowledge, Pager, Picture, PrintHandle, PromptConfig, Resolved, ServerPicture,
    Stagehand, Standpoint, TourGuide, run_commands, run_lines, run_prompt,
};
use crate::ui::dashboard::ThemeName;
use crate::ui::dashboard::export;
use crate::ui::dashboard::model::page::Page;
use crate::ui::dashboard::{
    self, Chosen, Face, KeyBar, KeyHint, Model, Notice, Painter, Stage, Theme, WatchedCluster, layout, lock,
};
use crate::ui::stage::LiveStage;
use crate::ui::tour::TourScene;
use crossbeam_channel::{Receiver, Sender};
use lecture::{Lecture, LectureHall};
use outpour::Outpour;
use rustix::fd::AsFd;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use verdict::Court;

/// What a terminal is taken for that does not tell its size.
const SIZE_DEFAULT: (u16, u16) = (80, 24);
/// Lines of the transcript that are drawn anew when the window changes its size.
const TRANSCRIPT_TAIL_LINES: usize = 40;
/// Keys offered by completion come from the screen: at most this many.
const COMPLETIONS_MAX: usize = 200;
/// The screen draws a picture within this time.
const SHOT_MAX: Duration = Duration::from_secs(5);
/// A service looks this often whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(20);
/// And waits so long for further doors.
const DOORS_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn setup(args: &Args, ranks: u32, seed: u64, observe: bool) -> Setup {
    let mut config = Config::new(ranks - 1 - args.client_ranks());
    config.clients = args.client_ranks();
    config.replicas = args.replicas.unwrap_or(config.servers).min(config.servers);
    config.timing = Timing::at_pace(args.pace);
    config.rules = Rules::without(&args.without);
    config.memory_bytes_max = args.max_memory.unwrap_or(u64::MAX);
    Setup {
        config,
        seed,
        failure_rate: args.failure_rate,
        recover_after: match args.recover_after {
            RecoverAfter::Seconds(seconds) => Some(Duration::from_secs_f64(seconds)),
            RecoverAfter::Never => None,
        },
        observe,
    }
}

/// The console and what it looks at, over whatever runs the cluster.
struct Playing<'a> {
    args: &'a Args,
    desk: Desk,
    model: Arc<Mutex<Model>>,
    /// None: line mode.
    painter: Option<Painter<File>>,
    court: Court,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Its time is virtual, and can stand.
    is_simulated: bool,
    /// A tour begins at once: its scenes, and with which of them.
    tour: Option<(Vec<TourScene>, usize)>,
}

impl Playing<'_> {
    /// Starts the console's threads, runs the cluster on this one until it ends, and gives the exit code.
    /// `cluster` is handed what to tell the news to, and whether single requests are looked at.
    fn run(mut self, cluster: impl FnOnce(Box<dyn FnMut(News)>, bool)) -> u8 {
        let tape = match replay::Tape::open(self.args, &lock(&self.model)) {
            Ok(tape) => tape,
            Err(why) => return complain(&why),
        };
        let screen = self.painter.take().map(|painter| (painter, dashboard::channel()));
        let console = Console {
            desk: self.desk.clone(),
            knowledge: Arc::new(ModelKnowledge::new(
                Arc::clone(&self.model),
                self.court.clone(),
                Arc::clone(&self.clock),
                screen.as_ref().map(|(_, (notices, _))| notices.clone()),
            )),
            history: launch::state_dir(self.args).join("history"),
            palette: palette(self.args),
            commands: self.args.command.clone(),
            tour: None,
        };
        match screen {
            Some(screen) => self.run_on_screen(cluster, console, tape, screen),
            None => self.run_in_lines(cluster, console, tape),
        }
    }

    /// Answers go to stdout, events to stderr.
    fn run_in_lines(
        self,
        cluster: impl FnOnce(Box<dyn FnMut(News)>, bool),
        console: Console,
        tape: replay::Tape,
    ) -> u8 {
        let client_ranks = self.args.client_ranks() as usize;
        let reading = if self.args.is_service() { console.start_service(client_ranks) } else { console.start_lines() };
        let court = self.court.clone();
        let teller = match Outpour::start(io::stderr()) {
            Ok(outpour) => Arc::new(Teller { outpour, ascii: is_ascii(self.args) }),
            Err(error) => return complain(&format!("no thread for the events: {error}")),
        };
        let telling = Arc::clone(&teller);
        let clock = self.clock;
        let recording = tape.clone();
        let tell = move |news| tell_stderr(&self.model, &self.court, &telling, &recording, clock(), news);
        cluster(Box::new(tell), false);
        let whole = court.close(|trouble| teller.complain(trouble)) & tape.close();
        let code = code_of(reading);
        // The cluster is over: nobody else tells anything any more.
        if let Ok(teller) = Arc::try_unwrap(teller) {
            teller.outpour.close();
        }
        if whole { code } else { code.max(1) }
    }

    /// The dashboard above, the prompt below.
    fn run_on_screen(
        self,
        cluster: impl FnOnce(Box<dyn FnMut(News)>, bool),
        console: Console,
        tape: replay::Tape,
        (painter, (notices, noticed)): (Painter<File>, (Sender<Notice>, Receiver<Notice>)),
    ) -> u8 {
        let ascii = is_ascii(self.args);
        let (region, region_ready) = crossbeam_channel::bounded::<PrintHandle>(1);
        let mut pages = match Pages::new(notices.clone(), ascii) {
            Ok(pages) => pages,
            Err(error) => return complain(&format!("the terminal cannot be drawn on: {error}")),
        };
        let clock = Arc::clone(&self.clock);
        let simulator = self.is_simulated.then(|| self.desk.clone());
        let hand = Arc::new(Hand {
            notices: notices.clone(),
            on: AtomicBool::new(false),
            desk: self.desk.clone(),
            is_simulated: self.is_simulated,
            stands: AtomicBool::default(),
            one_past: one_past(self.args),
            chosen: Mutex::default(),
            ascii,
        });
        let lecture = Lecture::start(LectureHall {
            args: self.args.clone(),
            desk: self.desk.clone(),
            notices: notices.clone(),
            knowledge: Arc::clone(&console.knowledge),
            hand: Arc::clone(&hand),
            palette: console.palette,
        });
        let lecture = match lecture {
            Ok(lecture) => lecture,
            Err(error) => return complain(&format!("no thread for the tour: {error}")),
        };
        if let Some((scenes, at)) = self.tour {
            lecture.begin_with(scenes, at);
        }
        pages.lecture = Some(Arc::clone(&lecture));
        let console = Console { tour: Some(Arc::clone(&lecture)), ..console };
        let lookback = LiveStage::new(&lock(&self.model), clock(), simulator, ascii);
        let own = WatchedCluster::new(self.model, Some(Box::new(lookback)), Box::new(move || (self.clock)()));
        let keys = Arc::clone(&lecture);
        let keys = Box::new(move |model: &Model| keys.keys().unwrap_or_else(|| key_bar(model)));
        let stage = stage(self.args, own, (keys, lecture.blank()), pages.size(), region_ready);
        let drawing =
            thread::Builder::new().name("dashboard".into()).spawn(move || dashboard::run(&noticed, stage, painter));
        let prompting = console.start_prompt(region, notices.clone(), pages, hand);
        cluster(Box::new(forward(notices.clone(), self.court.clone(), tape.clone(), clock)), true);
        let mut trouble = None;
        let whole = self.court.close(|why| trouble = Some(why.to_owned()));
        let code = code_of(prompting);
        lecture.end();
        let _ = notices.send(Notice::Quit);
        if let Ok(drawing) = drawing {
            let _ = drawing.join();
        }
        // The screen is the shell's again.
        if let Some(trouble) = trouble {
            complain(&trouble);
        }
        if tape.close() & whole { code } else { code.max(1) }
    }
}

/// What a thread of the console ended with.
fn code_of(thread: io::Result<thread::JoinHandle<u8>>) -> u8 {
    thread.and_then(|thread| thread.join().map_err(|_| io::Error::other("panic"))).unwrap_or(1)
}

/// Why what has happened must stay as it is, if something is written down of it.
fn one_past(args: &Args) -> Option<&'static str> {
    match (&args.history, &args.record) {
        (Some(_), _) => Some("a history is written (--history), which has one past"),
        (None, Some(_)) => Some("a recording is made (--record), which has one past"),
        (None, None) => None,
    }
}

fn new_model(args: &Args, seed: u64, now: Time) -> Model {
    let (servers, failure_rate, animated, pace) = (args.servers, args.failure_rate, !args.no_animation, args.pace);
    let mut model = Model::new(dashboard::ModelSetup { servers, seed, failure_rate, animated, pace }, now);
    model.unsafe_notice = Rules::without(&args.without).warning();
    model.clients = args.client_ranks();
    model.doors = args.door.doors;
    model
}

fn random_seed() -> u64 {
    // Short enough to be read out in a classroom.
    let nanos = clock::now().0 ^ u64::from(std::process::id()) << 20;
    nanos.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44
}

fn is_mono(args: &Args) -> bool {
    args.theme == ThemeName::Mono || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn is_ascii(args: &Args) -> bool {
    let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_none_or(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
    args.ascii || !utf8 || std::env::var_os("TERM").is_some_and(|term| term == "linux")
}

/// Words on stdout; `in_ascii`: of letters that are on every terminal.
fn say(text: &str, in_ascii: bool) -> io::Result<()> {
    if in_ascii { launch::print(ascii(text).as_bytes()) } else { launch::print(text.as_bytes()) }
}

fn palette(args: &Args) -> Palette {
    let palette = match args.theme {
        _ if is_mono(args) => Palette::MONO,
        ThemeName::Light => Palette::LIGHT,
        _ => Palette::COLOR,
    };
    Palette { ascii: is_ascii(args), ..palette }
}

/// How the dashboard looks.
fn theme(args: &Args) -> Theme {
    let name = if is_mono(args) { ThemeName::Mono } else { args.theme };
    Theme::new(name, is_ascii(args)).for_the_back_row(args.present)
}

/// The terminal itself: the prompt makes something else of descriptor 1.
fn screen() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn enter_screen() -> io::Result<Painter<File>> {
    let screen = screen()?;
    let (cols, rows) = dashboard::terminal_size(&screen).unwrap_or(SIZE_DEFAULT);
    Painter::enter(screen, cols, rows)
}

/// Puts on the dashboard what is too long for the prompt.
struct Pages {
    notices: Sender<Notice>,
    screen: Arc<File>,
    is_open: AtomicBool,
    /// The words that are searched for, while the guide is shown.
    searched: Mutex<Option<String>>,
    /// The line as it was last edited, and whether it was empty when the guide was opened.
    line: Mutex<String>,
    over_nothing: AtomicBool,
    ascii: bool,
    /// What is shown again when an answer is closed.
    lecture: Option<Arc<Lecture>>,
}

impl Pages {
    fn new(notices: Sender<Notice>, ascii: bool) -> io::Result<Self> {
        let (is_open, searched, line, over_nothing) = Default::default();
        Ok(Self { notices, screen: Arc::new(screen()?), is_open, searched, line, over_nothing, ascii, lecture: None })
    }

    fn show_guide(&self, words: &str) -> bool {
        let text = guide(words);
        let page = Page::new("help", &if self.ascii { ascii(&text) } else { text });
        self.notices.send(Notice::Page(Some(page))).is_ok()
    }

    fn size(&self) -> Box<dyn FnMut() -> Option<(u16, u16)> + Send> {
        let screen = Arc::clone(&self.screen);
        Box::new(move || dashboard::terminal_size(&*screen))
    }
}

impl Pager for Pages {
    fn show(&self, title: &str, text: &str) -> bool {
        let (cols, rows) = dashboard::terminal_size(&*self.screen).unwrap_or(SIZE_DEFAULT);
        let (_, prompt_rows) = layout::split(cols, rows);
        let page = Page::new(title, text);
        let fits_below = page.height(usize::from(cols)) < usize::from(prompt_rows);
        if fits_below || layout::page(cols, rows).is_empty() {
            return false;
        }
        *lock(&self.searched) = None;
        self.is_open.store(true, Ordering::SeqCst);
        self.notices.send(Notice::Page(Some(page))).is_ok()
    }

    fn turn(&self, pages: isize) -> bool {
        self.is_open.load(Ordering::SeqCst) && self.notices.send(Notice::Turn(pages)).is_ok()
    }

    fn guide(&self) -> bool {
        let (cols, rows) = dashboard::terminal_size(&*self.screen).unwrap_or(SIZE_DEFAULT);
        if layout::page(cols, rows).is_empty() {
            return false;
        }
        let line = lock(&self.line).clone();
        self.over_nothing.store(line.is_empty(), Ordering::SeqCst);
        *lock(&self.searched) = Some(line);
        self.is_open.store(true, Ordering::SeqCst);
        self.show_guide("")
    }

    fn search(&self, words: &str) -> bool {
        words.clone_into(&mut lock(&self.line));
        let mut searched = lock(&self.searched);
        let Some(before) = &mut *searched else { return false };
        if before != words {
            words.clone_into(before);
            self.show_guide(words);
        }
        true
    }

    fn is_typed_to_search(&self) -> bool {
        lock(&self.searched).is_some() && self.over_nothing.load(Ordering::SeqCst)
    }

    fn close(&self) -> bool {
        *lock(&self.searched) = None;
        let closed = self.is_open.swap(false, Ordering::SeqCst) && self.notices.send(Notice::Page(None)).is_ok();
        if let Some(lecture) = self.lecture.as_ref().filter(|_| closed) {
            lecture.show_page();
        }
        closed
    }
}

/// From the prompt to the stage.
struct Hand {
    notices: Sender<Notice>,
    on: AtomicBool,
    desk: Desk,
    /// The time of our own cluster can stand.
    is_simulated: bool,
    /// Time stands.
    stands: AtomicBool,
    /// Why what has happened must stay as it is, if something is written down of it.
    one_past: Option<&'static str>,
    /// A message that was chosen among those on their way.
    chosen: Mutex<Option<Underway>>,
    ascii: bool,
}

impl Hand {
    /// The time of the cluster that is shown can stand: whatever ours is, that of a scene can.
    fn can_stand(&self) -> bool {
        self.is_simulated || self.desk.is_diverted()
    }

    /// The next message of those on their way.
    fn choose(&self) {
        if !self.can_stand() {
            return;
        }
        let underway = self.desk.underway(self.past()).unwrap_or_default();
        let mut chosen = lock(&self.chosen);
        let last = underway.iter().position(|flying| chosen.as_ref().is_some_and(|last| last.number == flying.number));
        let place = last.map_or(0, |last| (last + 1) % underway.len());
        *chosen = underway.get(place).cloned();
        let shown = chosen.as_ref().map(|flying| Chosen {
            text: if self.ascii { ascii(&flying.text) } else { flying.text.clone() },
            from: flying.from,
            to: flying.to,
            place: place + 1,
            all: underway.len(),
        });
        let _ = self.notices.send(Notice::Choose(shown));
    }

    /// The chosen message never arrives.
    fn drop_chosen(&self) {
        let Some(chosen) = lock(&self.chosen).take() else { return };
        let _ = self.notices.send(Notice::Choose(None));
        let done = self.act_here().and_then(|()| {
            self.desk.note(format!("{}: {} from {} to {}", Meddling::Drop, chosen.text, chosen.from, chosen.to));
            self.desk.meddle(chosen.number, Meddling::Drop)
        });
        if let Err(why) = done {
            self.desk.note(format!("not done: {why}"));
        }
    }
}

impl Standpoint for Hand {
    fn time_stands(&self) -> bool {
        self.stands.load(Ordering::SeqCst)
    }

    fn past(&self) -> Option<Time> {
        if !self.is_on() {
            return None;
        }
        let (answer, told) = crossbeam_channel::bounded(1);
        let _ = self.notices.send(Notice::Past { answer });
        told.recv_timeout(SHOT_MAX).ok().flatten()
    }
}

impl Stagehand for Hand {
    fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    fn read(&self) -> Option<String> {
        let Underway { from, to, text, arrives_in, .. } = lock(&self.chosen).clone()?;
        let words = format!(
            "from {from} to {to}, arrives in {} µs: {text}\nDelete drops it; FLIGHTS lists all: drop, hold, deliver, \
             double",
            arrives_in.as_micros()
        );
        Some(if self.ascii { ascii(&words) } else { words })
    }

    fn act_here(&self) -> Result<(), String> {
        let past = if self.can_stand() { self.past() } else { None };
        let Some(past) = past else {
            self.go(Move::End);
            return Ok(());
        };
        if let Some(why) = self.one_past.filter(|_| !self.desk.is_diverted()) {
            return Err(format!("{why}: End goes to now"));
        }
        self.desk.fork(past)?;
        // Whoever acts now means what is on the screen when the branch has begun.
        let _ = self.past();
        Ok(())
    }

    fn go(&self, wanted: Move) {
        match wanted {
            Move::Choose => return self.choose(),
            Move::Drop => return self.drop_chosen(),
            _ => *lock(&self.chosen) = None,
        }
        if let Move::Enter | Move::Leave = wanted {
            let on = wanted == Move::Enter;
            self.on.store(on, Ordering::SeqCst);
            if self.can_stand() {
                self.stands.store(on, Ordering::SeqCst);
                self.desk.stand(on);
            }
        }
        let _ = self.notices.send(Notice::Move(wanted));
    }
}

fn stage(
    args: &Args,
    own: WatchedCluster,
    (keys, blank): (KeyBar, Arc<AtomicBool>),
    size: Box<dyn FnMut() -> Option<(u16, u16)> + Send>,
    printer: Receiver<PrintHandle>,
) -> Stage {
    let mut print: Option<PrintHandle> = None;
    Stage {
        own,
        guest: None,
        theme: theme(args),
        keys,
        size,
        blank,
        region: Box::new(move |text| {
            print = print.take().or_else(|| printer.try_recv().ok());
            if let Some(print) = &print {
                let tail = print.recent(TRANSCRIPT_TAIL_LINES).join("\r\n");
                print.print(text + &tail);
            }
        }),
    }
}

/// The keys, dimmed when they could do nothing now.
fn key_bar(model: &Model) -> Vec<KeyHint> {
    let picture = picture(model);
    let down = picture.servers_that(Standing::is_down).next().is_some();
    let paused = picture.servers_that(|standing| standing == Standing::Paused).next().is_some();
    KEYS.iter()
        .map(|key| {
            let enabled = match key.function {
                4 => down,
                3 | 5 => picture.primary.is_some(),
                6 | 7 => picture.primary.is_some() && !picture.backups.is_empty() || !picture.cuts.is_empty(),
                8 => picture.primary.is_some() || paused,
                _ => true,
            };
            KeyHint::new(key.name(), key.label).brief(key.brief).enabled(enabled)
        })
        .collect()
}

struct Console {
    desk: Desk,
    knowledge: Arc<ModelKnowledge>,
    history: PathBuf,
    palette: Palette,
    commands: Vec<OsString>,
    /// Leads through the tour, where there is a screen.
    tour: Option<Arc<Lecture>>,
}

impl Console {
    fn session(&self, sight: Resolved) -> ConsoleSession {
        let desk = self.desk.clone();
        let session = ConsoleSession::new(self.desk.clone(), Arc::clone(&self.knowledge) as Arc<dyn Knowledge>, sight)
            .with_ascii(self.palette.ascii)
            .with_kill(Box::new(move |rank| desk.kill(rank)));
        match &self.tour {
            Some(lecture) => session.with_tour(Arc::clone(lecture) as Arc<dyn TourGuide>),
            None => session,
        }
    }

    fn start_prompt(
        self,
        region: Sender<PrintHandle>,
        notices: Sender<Notice>,
        pages: Pages,
        hand: Arc<Hand>,
    ) -> io::Result<thread::JoinHandle<u8>> {
        let (redraw, redraws) = crossbeam_channel::bounded(4);
        let redrawing = notices.clone();
        let _ = thread::Builder::new().name("redraw".into()).spawn(move || {
            for () in redraws {
                let _ = redrawing.send(Notice::Redraw);
            }
        });
        thread::Builder::new().name("prompt".into()).spawn(move || {
            let desk = self.desk.clone();
            let session = self.session(Resolved::Screen).with_standpoint(Arc::clone(&hand) as Arc<dyn Standpoint>);
            let printing = self.tour.clone();
            let status = run_prompt(PromptConfig {
                session: Arc::new(session),
                history_path: Some(self.history),
                palette: self.palette,
                printer_ready: Box::new(move |printer| {
                    printing.iter().for_each(|lecture| lecture.prints_on(printer.clone()));
                    let _ = region.try_send(printer);
                }),
                redraw,
                pager: Some(Arc::new(pages)),
                stage: Some(hand),
                tour: self.tour.map(|lecture| lecture as Arc<dyn TourGuide>),
            });
            desk.quit();
            exit_code(status)
        })
    }

    /// Nobody types: says when somebody is served for the first time, and stays out of the way.
    fn start_service(self, client_ranks: usize) -> io::Result<thread::JoinHandle<u8>> {
        thread::Builder::new().name("ready".into()).spawn(move || {
            let begun = Instant::now();
            loop {
                let status = self.desk.status();
                let clients = status.ranks.iter().filter(|rank| rank.is_client()).count();
                // A door that does not come is not waited for for ever: the others serve.
                let all_there = clients >= client_ranks || begun.elapsed() >= DOORS_PATIENCE;
                if status.primary.is_some() && all_there {
                    break;
                }
                // Nobody answers any more: it was ended before it was ready.
                if status.ranks.is_empty() {
                    return 0;
                }
                thread::sleep(READY_INTERVAL);
            }
            // Whoever does not want to know has closed it.
            let _ = writeln!(io::stdout(), "ready").and_then(|()| io::stdout().flush());
            0
        })
    }

    fn start_lines(self) -> io::Result<thread::JoinHandle<u8>> {
        thread::Builder::new().name("lines".into()).spawn(move || {
            let desk = self.desk.clone();
            let session = self.session(Resolved::Cluster);
            let status = if self.commands.is_empty() {
                run_lines(BufReader::new(io::stdin()), io::stdout(), &session)
            } else {
                run_commands(&lines(&self.commands), io::stdout(), &session)
            };
            desk.quit();
            exit_code(status)
        })
    }
}

/// Any bytes, as the shell hands them in.
fn lines(commands: &[OsString]) -> Vec<&[u8]> {
    commands.iter().map(|line| line.as_bytes()).collect()
}

fn exit_code(status: io::Result<ExitStatus>) -> u8 {
    match status {
        Ok(ExitStatus::Success) => 0,
        Ok(ExitStatus::AnsweredError) => 1,
        Err(error) => complain(&format!("the console ended: {error}")),
    }
}

/// From the loop to the dashboard, without ever waiting for it.
fn forward(
    notices: Sender<Notice>,
    court: Court,
    tape: replay::Tape,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
) -> impl FnMut(News) {
    move |mut news| {
        // One moment: a replay shows what the screen showed.
        let now = clock();
        for news in court.hear(&mut news).chain([news]) {
            if !matches!(news, News::Finished { .. }) {
                tape.record(now, &news);
                let told = Notice::News(now, news);
                match told {
                    // What follows makes no sense without it.
                    Notice::News(_, News::Branched { .. }) => drop(notices.send(told)),
                    told => drop(notices.try_send(told)),
                }
            }
        }
    }
}

/// What line mode says beside the answers.
struct Teller {
    outpour: Outpour,
    ascii: bool,
}

impl Teller {
    fn say(&self, line: &str) {
        if self.ascii {
            self.outpour.say(&ascii(line));
        } else {
            self.outpour.say(line);
        }
    }

    fn complain(&self, why: &str) {
        self.say(&format!("understudy: {why}"));
    }
}

/// Line mode: events go to stderr, the model is kept for those who ask it.
fn tell_stderr(model: &Mutex<Model>, court: &Court, teller: &Teller, tape: &replay::Tape, now: Time, mut news: News) {
    let judged = court.hear(&mut news);
    for news in judged.chain([news]) {
        match &news {
            News::Observation(observation) => {
                for (_, sentence) in dashboard::model::story::sentences(observation) {
                    teller.say(&sentence);
                }
            }
            News::Gone { rank } => teller.say(&format!("server {rank}: its process is gone")),
            News::Why(Some(why)) => teller.say(why),
            News::Unsafe(Some(warning)) => teller.say(&format!("UNSAFE: {warning}")),
            News::Note(trouble) => teller.complain(trouble),
            _ => {}
        }
        tape.record(now, &news);
        lock(model).fold(now, &news);
    }
}

/// A cluster as this process knows it.
#[derive(Clone)]
struct KnownCluster {
    model: Arc<Mutex<Model>>,
    court: Court,
}

/// What the console may ask of the dashboard's model: that of the cluster that is shown.
struct ModelKnowledge {
    own: KnownCluster,
    /// Another cluster is shown.
    guest: Mutex<Option<KnownCluster>>,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// The way to the dashboard, where there is one.
    screen: Option<Sender<Notice>>,
}

impl ModelKnowledge {
    fn new(
        model: Arc<Mutex<Model>>,
        court: Court,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
        screen: Option<Sender<Notice>>,
    ) -> Self {
        Self { own: KnownCluster { model, court }, guest: Mutex::default(), clock, screen }
    }

    fn show(&self, guest: Option<KnownCluster>) {
        *lock(&self.guest) = guest;
    }

    fn shown(&self) -> KnownCluster {
        lock(&self.guest).as_ref().unwrap_or(&self.own).clone()
    }
}

fn picture(model: &Model) -> Picture {
    let now = clock::now();
    let servers: Vec<ServerPicture> =
        model.roles(now).into_iter().map(|(rank, standing)| ServerPicture { rank, standing }).collect();
    let backups =
        servers.iter().filter(|server| server.standing == Standing::Backup).map(|server| server.rank).collect();
    Picture {
        view: model.view_number(),
        primary: model.primary(),
        backups,
        servers,
        clients: model.client_ranks().collect(),
        doors: model.doors as usize,
        cuts: model.network.cut.iter().copied().collect(),
        failure_rate: model.failure_rate(),
    }
}

impl Knowledge for ModelKnowledge {
    fn picture(&self) -> Picture {
        picture(&lock(&self.shown().model))
    }

    fn keys_with_prefix(&self, prefix: &[u8], limit: usize) -> Vec<Bytes> {
        let Ok(prefix) = std::str::from_utf8(prefix) else { return Vec::new() };
        let keys = lock(&self.shown().model).known_keys(prefix);
        keys.into_iter().take(limit.min(COMPLETIONS_MAX)).map(Bytes::from).collect()
    }

    fn latency(&self) -> String {
        match lock(&self.shown().model).latency().quantiles() {
            Some((p50, p99)) => format!("p50 {p50:.1?}  p99 {p99:.1?}  (this client, the last minute)"),
            None => "no requests yet".to_owned(),
        }
    }

    fn check(&self, failovers: u64) -> Result<String, String> {
        self.shown().court.check(failovers)
    }

    fn diagram(&self) -> Option<String> {
        if let Some(screen) = &self.screen {
            let _ = screen.send(Notice::Diagram);
            return None;
        }
        let shown = self.shown();
        let model = lock(&shown.model);
        Some(export::diagram_text(&model, (self.clock)()))
    }

    fn present(&self) -> Result<(), String> {
        let screen = self.screen.as_ref().ok_or("the dashboard has big numbers, and there is none here")?;
        let (answer, done) = crossbeam_channel::bounded(1);
        let _ = screen.send(Notice::Present { answer });
        done.recv_timeout(SHOT_MAX).unwrap_or_else(|_| Err("the screen does not answer: try again".to_owned()))
    }

    fn shoot(&self, shot: &Shot) -> Result<(), String> {
        let drawn = match &self.screen {
            Some(screen) => {
                let (answer, drawn) = crossbeam_channel::bounded(1);
                let _ = screen.send(Notice::Shot { shot: shot.clone(), answer });
                drawn.recv_timeout(SHOT_MAX).ok().flatten()
            }
            None => {
                let shown = self.shown();
                let what = (&*lock(&shown.model), &Face::default());
                export::shot(shot, what, false, export::SCREEN_SIZE, (self.clock)())
            }
        };
        let text = drawn.ok_or("the screen gave no picture: try again")?;
        std::fs::write(&shot.file, text).map_err(|error| format!("{} cannot be written: {error}", shot.file.display()))
    }

    fn events(&self, count: usize) -> Vec<String> {
        let shown = self.shown();
        let model = lock(&shown.model);
        let lines: Vec<String> = model.story().lines().rev().take(count).map(|line| line.text.clone()).collect();
        lines.into_iter().rev().collect()
    }
}
