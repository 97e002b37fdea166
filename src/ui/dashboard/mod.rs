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

pub mod layout;
pub mod model;
pub mod painter;
pub mod panels;
pub mod theme;
pub mod view;

pub use model::{Model, Setup};
pub use painter::{Painter, leave_text};
pub use theme::{Theme, ThemeName};
pub use view::KeyHint;

use crate::cluster::News;
use crate::core::protocol::Time;
use crate::ui::commands::moves::Move;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ratatui::Frame;
use rustix::fd::AsFd;
use rustix::termios::tcgetwinsize;
use std::collections::VecDeque;
use std::io::{self, Write};
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
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The cluster tells something.
    News(News),
    /// A text to show over the cards; `None` closes it.
    Page(Option<model::page::Page>),
    /// Turn so many pages of it.
    Turn(isize),
    /// On the stage: go there.
    Move(Move),
    /// Something else wrote over the screen.
    Redraw,
    /// The end: give the terminal back.
    Quit,
}

/// Looks back at what the screen was told. The dashboard's thread tells it everything, and lets it draw.
pub trait Lookback: Send {
    /// This was told, and this is the model now.
    fn told(&mut self, at: Time, news: &News, live: &Model);
    /// The viewer wants to go there.
    fn act(&mut self, wanted: Move, live: &Model);
    /// Draws what is looked at; false, and nothing drawn, when that is the present.
    fn draw(&mut self, frame: &mut Frame, live: &Model, theme: &Theme, keys: &[KeyHint], now: Time) -> bool;
    /// How long its picture stays as it is; `None` when it shows the present.
    fn still_for(&self) -> Option<Duration>;
}

/// The content of the key bar for a state of the model.
pub type KeyBar = Box<dyn Fn(&Model) -> Vec<KeyHint> + Send>;

/// What the dashboard's thread works with.
pub struct Stage {
    /// Shared with the prompt.
    pub model: Arc<Mutex<Model>>,
    /// The looks.
    pub theme: Theme,
    /// The key bar for the state of the model.
    pub keys: KeyBar,
    /// Now, by the clock of [`News::Asked`] and (on one host) of the reports.
    pub clock: Box<dyn Fn() -> Time + Send>,
    /// Columns and rows of the whole terminal.
    pub size: Box<dyn FnMut() -> Option<(u16, u16)> + Send>,
    /// Looks back, where somebody can.
    pub lookback: Option<Box<dyn Lookback>>,
    /// The window has a new size: write this on the prompt's side, then the tail of what was said there.
    pub region: Box<dyn FnMut(String) + Send>,
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
    let mut model = lock(&stage.model);
    let now = (stage.clock)();
    model.tick(now);
    let keys = (stage.keys)(&model);
    let (theme, lookback) = (&stage.theme, &mut stage.lookback);
    painter.paint(|frame| {
        let is_past = lookback.as_mut().is_some_and(|lookback| lookback.draw(frame, &model, theme, &keys, now));
        if !is_past {
            view::draw(frame, &model, theme, &keys, now);
        }
    })?;
    let past = stage.lookback.as_ref().and_then(|lookback| lookback.still_for());
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
    let mut model = lock(&stage.model);
    let mut lookback = stage.lookback.as_mut();
    let now = (stage.clock)();
    let waiting = std::iter::once(first).chain(notices.try_iter().take(NOTICES_PER_TURN_MAX));
    let mut most = Urgency::Idle;
    for notice in waiting {
        let urgency = match (&notice, &mut lookback) {
            (Notice::News(news), Some(lookback)) => {
                let urgency = fold_news(&mut model, now, news);
                lookback.told(now, news, &model);
                urgency
            }
            (Notice::Move(wanted), Some(lookback)) => {
                lookback.act(*wanted, &model);
                Urgency::Lively
            }
            _ => fold_one(&mut model, size, now, notice),
        };
        most = most.max(urgency);
        if most == Urgency::Quit {
            break;
        }
    }
    most
}

fn fold_news(model: &mut Model, now: Time, news: &News) -> Urgency {
    if model.fold(now, news) { Urgency::Lively } else { Urgency::Idle }
}

fn fold_one(model: &mut Model, size: (u16, u16), now: Time, notice: Notice) -> Urgency {
    match notice {
        Notice::News(news) => return fold_news(model, now, &news),
        Notice::Move(_) => {}
        Notice::Page(page) => model.page = page,
        Notice::Turn(pages) => {
            let place = panels::page::inside(layout::page(size.0, size.1));
            if let Some(page) = &mut model.page {
                page.turn(pages, usize::from(place.width), usize::from(place.height));
            }
        }
        Notice::Redraw => return Urgency::Redraw,
        Notice::Quit => return Urgency::Quit,
    }
    Urgency::Lively
}
