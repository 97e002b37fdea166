//! The dashboard: the whole cluster above the prompt, as it happens.
//!
//! A thread of rank 0 receives [`Notice`]s, folds them into a [`Model`], and draws the model with
//! [`view::draw`] through a [`Painter`]. It decides nothing: what it shows, the ranks have reported.
//!
//! ```text
//!   rank 0 ── News ─▶ channel ─▶ Model::fold ─▶ view (pure) ─▶ Painter ─▶ terminal
//!                                      └─▶ prompt, completion: who is primary, which keys
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`model`] | what the screen knows |
//! | [`face`] | what of it is shown, and what lies over it |
//! | [`export`] | pictures for slides: SVG and text |
//! | [`layout`] | who gets which rows and columns |
//! | [`view`] | the picture, as a pure function |
//! | [`panels`] | one file a panel |
//! | [`theme`] | styles and signs by role |
//! | [`painter`] | the terminal's upper rows, in whole frames |
//!
//! # When it draws
//!
//! What deserves attention is drawn at once, yet never more than 30 times a second. Animations and clocks
//! say themselves when the picture changes next ([`Model::still_for`]). Reports that only prove life wait
//! for a quarter of a second. A frame that shows nothing new writes nothing.
//!
//! # Caveats
//!
//! The size of the window is polled (four times a second when nothing else happens), because the signal
//! that announces a change belongs to the prompt's editor.

pub mod export;
pub mod face;
pub mod layout;
pub mod model;
pub mod painter;
pub mod panels;
pub mod theme;
pub mod view;

pub use face::Face;
pub use model::{Model, ModelSetup};
pub use painter::{Painter, leave_text};
pub use theme::{Theme, ThemeName};
pub use view::KeyHint;

use crate::cluster::News;
use crate::core::protocol::{Rank, Time};
use crate::ui::commands::action::Shot;
use crate::ui::commands::moves::Move;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ratatui::Frame;
use rustix::fd::AsFd;
use rustix::termios::tcgetwinsize;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// At most this many notices wait to be folded. Who must not wait uses `try_send`.
pub const NOTICES_MAX: usize = 1_024;
/// At most this many notices are folded before the next look at the clock.
const NOTICES_PER_TURN_MAX: usize = 256;
/// Reports that only prove life are drawn this late at most, and the window's size is polled this often.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);
/// A window that is being resized has settled when its size stayed for this long.
const RESIZE_SETTLED: Duration = Duration::from_millis(60);

/// After a resize all rows are drawn anew, so long after the first time. The editor clears the rows where its
/// line was before, which may be the dashboard's now, and when it gets around to that, nobody is told.
const RESIZE_REDRAWS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(600)];

/// Something for the dashboard's thread.
#[derive(Debug)]
pub enum Notice {
    /// The cluster tells something; when it did.
    News(Time, News),
    /// Another cluster is shown in its place; `None`: no more.
    Guest(Option<Box<WatchedCluster>>),
    /// That other cluster tells something; when it did.
    GuestNews(Time, News),
    /// One sentence above the keys, of the guest.
    Caption(Option<String>),
    /// Something that the picture depends on has changed.
    Look,
    /// A text to show over the cards; `None` closes it.
    Page(Option<model::page::Page>),
    /// Turn this many pages of it.
    Turn(isize),
    /// The diagram in place of the cards, or the cards again.
    Diagram,
    /// Big numbers for the back row, also in place of a diagram; or all panels again. Or why not.
    Present { answer: Sender<Result<(), String>> },
    /// A picture of what is shown, as a file of this name would hold it.
    Shot { shot: Shot, answer: Sender<Option<String>> },
    /// On the stage: go there.
    Move(Move),
    /// A message on its way is chosen, or none is any more.
    Choose(Option<Chosen>),
    /// When what is looked at was, if it is past and could be changed; answered when all that was told before is
    /// folded.
    Past { answer: Sender<Option<Time>> },
    /// Something else wrote over the screen.
    Redraw,
    /// The end: give the terminal back.
    Quit,
}

/// A message on its way that somebody has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// In a few words.
    pub text: String,
    /// Who sent it.
    pub from: Rank,
    /// To whom.
    pub to: Rank,
    /// The how many-th it is, from 1, of how many.
    pub place: usize,
    /// Of how many.
    pub all: usize,
}

/// Looks back at what the screen was told. The dashboard's thread tells it everything, and lets it draw.
pub trait Lookback: Send {
    /// Another branch of what has happened goes on: a new one that left the one before at this time (`forked`), or one
    /// that is known. The model becomes what is known in it.
    fn branched(&mut self, to: usize, forked: Option<Time>, live: &mut Model);
    /// This message was chosen among those on their way; until the next move.
    fn choose(&mut self, chosen: Option<Chosen>);
    /// When what is looked at was, if it is past and could be changed.
    fn in_the_past(&self) -> Option<Time>;
    /// This was told, and this is the model now.
    fn told(&mut self, at: Time, news: &News, live: &Model);
    /// The viewer wants to go there.
    fn act(&mut self, wanted: Move, live: &Model);
    /// Draws what is looked at; false, and nothing drawn, when that is the present.
    fn draw(&mut self, frame: &mut Frame, live: (&Model, &Face), theme: &Theme, keys: &[KeyHint], now: Time) -> bool;
    /// What is looked at, what is said of it, and its time, unless it is the present.
    fn shown(&self) -> Option<(&Model, Option<&str>, Time)>;
    /// How long its picture stays as it is; `None` when it shows the present.
    fn still_for(&self) -> Option<Duration>;
}

/// A cluster that can be shown: ours, or another for a while in its place.
pub struct WatchedCluster {
    /// What is known of it; shared with those who ask.
    pub model: Arc<Mutex<Model>>,
    /// Looks back at it, where somebody can.
    pub lookback: Option<Box<dyn Lookback>>,
    /// Its time, which may stand: that of [`News::Asked`] and (on one host) of the reports.
    pub clock: Box<dyn Fn() -> Time + Send>,
    /// How it is looked at.
    face: Face,
    /// The time that was last seen, and since when that is.
    seen: (Time, Instant),
}

impl WatchedCluster {
    /// A cluster by its model, who looks back at it, and its time.
    #[must_use]
    pub fn new(
        model: Arc<Mutex<Model>>,
        lookback: Option<Box<dyn Lookback>>,
        clock: Box<dyn Fn() -> Time + Send>,
    ) -> Self {
        let seen = (clock(), Instant::now());
        Self { model, lookback, clock, face: Face::default(), seen }
    }

    /// The time, and how long it has been standing.
    fn now(&mut self) -> (Time, Duration) {
        let now = (self.clock)();
        if now != self.seen.0 {
            self.seen = (now, Instant::now());
        }
        (now, self.seen.1.elapsed())
    }

    /// Folds what is told of it.
    fn hear(&mut self, at: Time, news: &News) -> Urgency {
        let mut model = lock(&self.model);
        if let (News::Branched { to, at: forked }, Some(lookback)) = (news, &mut self.lookback) {
            lookback.branched(*to, *forked, &mut model);
            return Urgency::Lively;
        }
        let lively = model.fold(at, news);
        if let Some(lookback) = &mut self.lookback {
            lookback.told(at, news, &model);
        }
        if lively { Urgency::Lively } else { Urgency::Idle }
    }

    /// A picture of what is shown, as a file of this name would hold it.
    fn shoot(&self, shot: &Shot, is_big: bool, size: (u16, u16)) -> Option<String> {
        let live = lock(&self.model);
        match self.lookback.as_ref().and_then(|lookback| lookback.shown()) {
            Some((past, caption, at)) => {
                let face = self.face.saying(caption.map(str::to_owned));
                export::shot(shot, (past, &face), is_big, size, at)
            }
            None => export::shot(shot, (&live, &self.face), is_big, size, (self.clock)()),
        }
    }
}

impl std::fmt::Debug for WatchedCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

/// The content of the key bar for a state of the model.
pub type KeyBar = Box<dyn Fn(&Model) -> Vec<KeyHint> + Send>;

/// What the dashboard's thread works with.
pub struct Stage {
    /// Our cluster.
    pub own: WatchedCluster,
    /// Who is shown in its place.
    pub guest: Option<Box<WatchedCluster>>,
    /// The looks.
    pub theme: Theme,
    /// The key bar for the state of the model.
    pub keys: KeyBar,
    /// Columns and rows of the whole terminal.
    pub size: Box<dyn FnMut() -> Option<(u16, u16)> + Send>,
    /// While this is set nothing is shown.
    pub blank: Arc<AtomicBool>,
    /// The window has a new size: write this on the prompt's side, then the tail of what was said there.
    pub region: Box<dyn FnMut(String) + Send>,
}

impl Stage {
    fn shown(&mut self) -> &mut WatchedCluster {
        self.guest.as_deref_mut().unwrap_or(&mut self.own)
    }
}

/// The way to the dashboard, and its end of it.
#[must_use]
pub fn channel() -> (Sender<Notice>, Receiver<Notice>) {
    bounded(NOTICES_MAX)
}

/// The size of a terminal, by `ioctl`; the terminal itself is not asked.
#[must_use]
pub fn terminal_size(terminal: impl AsFd) -> Option<(u16, u16)> {
    let window = tcgetwinsize(terminal).ok()?;
    (window.ws_col > 0 && window.ws_row > 0).then_some((window.ws_col, window.ws_row))
}

/// What is shared, also after a thread that held it has panicked: such things are only looked at.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Folds and draws until [`Notice::Quit`], or until all senders are gone; then gives the terminal back.
///
/// # Errors
/// When the terminal cannot be written to.
pub fn run<W: Write>(notices: &Receiver<Notice>, mut stage: Stage, painter: Painter<W>) -> io::Result<W> {
    let mut painter = painter;
    // Frames follow the wall clock: the cluster's own may stand, or be slow.
    let mut drawn = Instant::now();
    let mut due = drawn;
    let mut resizing: Option<((u16, u16), Instant)> = None;
    let mut redraws: VecDeque<Instant> = VecDeque::new();
    loop {
        let next = redraws.front().map_or(due, |redraw| due.min(*redraw));
        match notices.recv_timeout(next.saturating_duration_since(Instant::now()).min(IDLE_INTERVAL)) {
            Ok(notice) => {
                let urgency = fold(&mut stage, painter.size(), notice, notices);
                match urgency {
                    Urgency::Quit => return painter.leave(),
                    Urgency::Idle => due = due.min(drawn + IDLE_INTERVAL),
                    Urgency::Lively => due = due.min(drawn + model::FRAME),
                    Urgency::Redraw => {
                        painter = painter.renew()?;
                        due = Instant::now();
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return painter.leave(),
        }

        let now = Instant::now();
        let size = (stage.size)().unwrap_or(painter.size());
        if size != painter.size() {
            let since = resizing.filter(|(seen, _)| *seen == size).map_or(now, |(_, since)| since);
            resizing = Some((size, since));
            if now.duration_since(since) < RESIZE_SETTLED {
                due = now + model::FRAME; // Nothing is drawn for a size that is gone.
                continue;
            }
            let text;
            (painter, text) = painter.resize(size.0, size.1)?;
            (stage.region)(text);
            redraws = RESIZE_REDRAWS.map(|later| now + later).into();
            due = now;
        }
        resizing = None;
        if redraws.pop_front_if(|redraw| now >= *redraw).is_some() {
            painter = painter.renew()?;
            due = now;
        }

        if now >= due {
            let still = paint(&mut stage, &mut painter)?;
            drawn = now;
            due = now + still.max(model::FRAME);
        }
    }
}

/// Draws a frame; says how long it stays true if nothing happens.
fn paint<W: Write>(stage: &mut Stage, painter: &mut Painter<W>) -> io::Result<Duration> {
    let blank = stage.blank.load(Ordering::SeqCst);
    let watched = stage.guest.as_deref_mut().unwrap_or(&mut stage.own);
    let (now, stood) = watched.now();
    let WatchedCluster { model, lookback, face, .. } = watched;
    let mut model = lock(model);
    // What is in the air arrives although the clocks stand.
    model.fly_on(stood);
    model.tick(now);
    let keys = (stage.keys)(&model);
    let theme = &stage.theme;
    painter.paint(|frame| {
        if blank {
            return;
        }
        let is_past = lookback.as_mut().is_some_and(|past| past.draw(frame, (&model, face), theme, &keys, now));
        if !is_past {
            view::draw(frame, &model, face, theme, &keys, now);
        }
    })?;
    let past = lookback.as_ref().and_then(|lookback| lookback.still_for());
    Ok(past.unwrap_or_else(|| model.still_for(now)))
}

/// How soon the screen must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Idle,
    Lively,
    Redraw,
    Quit,
}

/// Folds this notice and those that wait behind it.
fn fold(stage: &mut Stage, size: (u16, u16), first: Notice, notices: &Receiver<Notice>) -> Urgency {
    let waiting = std::iter::once(first).chain(notices.try_iter().take(NOTICES_PER_TURN_MAX));
    let mut most = Urgency::Idle;
    for notice in waiting {
        most = most.max(fold_one(stage, size, notice));
        if most == Urgency::Quit {
            break;
        }
    }
    most
}

/// Big numbers, unless it is them that are shown.
///
/// # Errors
/// When there is no room for them.
fn present(stage: &mut Stage, (cols, rows): (u16, u16)) -> Result<(), String> {
    let (least_cols, least_rows) = layout::FULL_SIZE_MIN;
    if cols < least_cols || rows < least_rows {
        return Err(format!(
            "big numbers need a terminal of {least_cols}x{least_rows}, and this one has {cols}x{rows}: enlarge it"
        ));
    }
    let over_them = std::mem::take(&mut stage.shown().face.shows_diagram);
    stage.theme.big = over_them || !stage.theme.big;
    Ok(())
}

fn fold_one(stage: &mut Stage, size: (u16, u16), notice: Notice) -> Urgency {
    match notice {
        Notice::News(at, news) => {
            let urgency = stage.own.hear(at, &news);
            // Nobody sees it.
            return if stage.guest.is_some() { Urgency::Idle } else { urgency };
        }
        Notice::GuestNews(at, news) => {
            return stage.guest.as_mut().map_or(Urgency::Idle, |guest| guest.hear(at, &news));
        }
        Notice::Guest(guest) => stage.guest = guest,
        Notice::Caption(caption) => {
            if let Some(guest) = &mut stage.guest {
                guest.face.caption = caption;
            }
        }
        Notice::Look => {}
        Notice::Diagram => {
            let face = &mut stage.shown().face;
            face.shows_diagram = !face.shows_diagram;
        }
        Notice::Present { answer } => {
            let _ = answer.try_send(present(stage, size));
        }
        Notice::Shot { shot, answer } => {
            let is_big = stage.theme.big;
            let _ = answer.try_send(stage.shown().shoot(&shot, is_big, size));
            return Urgency::Idle;
        }
        Notice::Move(wanted) => {
            let WatchedCluster { model, lookback, .. } = stage.shown();
            if let Some(lookback) = lookback {
                lookback.act(wanted, &lock(model));
            }
        }
        Notice::Choose(chosen) => {
            if let Some(lookback) = &mut stage.shown().lookback {
                lookback.choose(chosen);
            }
        }
        Notice::Past { answer } => {
            let past = stage.shown().lookback.as_ref().and_then(|lookback| lookback.in_the_past());
            let _ = answer.try_send(past);
            return Urgency::Idle;
        }
        Notice::Page(page) => stage.shown().face.page = page,
        Notice::Turn(pages) => {
            let place = panels::page::inside(layout::page(size.0, size.1));
            if let Some(page) = &mut stage.shown().face.page {
                page.turn(pages, usize::from(place.width), usize::from(place.height));
            }
        }
        Notice::Redraw => return Urgency::Redraw,
        Notice::Quit => return Urgency::Quit,
    }
    Urgency::Lively
}
