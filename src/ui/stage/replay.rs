//! The screen and the keys of `understudy replay FILE`.
//!
//! The moves are those of the stage ([`crate::ui::commands::moves`]), and the keys too.

use super::bar;
use super::player::Player;
use super::speed::Speed;
use crate::ui::commands::moves::{Move, MoveKey};
use crate::ui::dashboard::{Face, Theme, view};
use ratatui::Frame;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::Style;
use std::io;
use std::time::{Duration, Instant};

/// A picture is drawn at least this often while anything moves.
pub(super) const FRAME: Duration = Duration::from_millis(33);
/// While nothing moves, keys are waited for this long at a time.
const REST: Duration = Duration::from_millis(500);

/// The keys, at the end of the bar, where there is room.
const KEYS: &str = "<- -> step  [ ] turn  Space play  m diagram  q leaves";

/// What this key asks for.
#[must_use]
pub fn wanted(key: KeyEvent) -> Option<Move> {
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Move::of(match key.code {
        _ if key.kind == KeyEventKind::Release => return None,
        KeyCode::Char('c' | 'd') if control => MoveKey::Escape,
        KeyCode::Char('q') => MoveKey::Escape,
        KeyCode::Char(character) => MoveKey::Char(character),
        KeyCode::Right if shift => MoveKey::ShiftRight,
        KeyCode::Left if shift => MoveKey::ShiftLeft,
        KeyCode::Right => MoveKey::Right,
        KeyCode::Left => MoveKey::Left,
        KeyCode::Home => MoveKey::Home,
        KeyCode::End => MoveKey::End,
        KeyCode::PageDown => MoveKey::PageDown,
        KeyCode::PageUp => MoveKey::PageUp,
        KeyCode::Esc => MoveKey::Escape,
        _ => return None,
    })
}

/// A player, and how it is looked at.
#[derive(Debug)]
pub struct Replay {
    player: Player,
    playing: bool,
    speed: Speed,
    shows_diagram: bool,
    ascii: bool,
}

impl Replay {
    /// Frozen at the first step.
    #[must_use]
    pub fn new(mut player: Player, ascii: bool) -> Self {
        player.forward();
        Self { player, playing: false, speed: Speed::default(), shows_diagram: false, ascii }
    }

    /// Does what a key asks for. False: leave.
    pub fn act(&mut self, wanted: Move) -> bool {
        match wanted {
            Move::Play => {
                self.playing = !self.playing;
                if self.playing && self.player.is_over() {
                    self.player.start();
                }
            }
            Move::Leave => return false,
            _ if self.speed.follow(wanted) => {}
            _ => {
                self.player.follow(wanted);
                self.playing = false;
            }
        }
        true
    }

    /// While it plays: how long a step stands.
    fn stands(&self) -> Option<Duration> {
        self.playing.then(|| self.speed.stands())
    }

    /// The step has stood long enough.
    fn next(&mut self) {
        self.playing = self.player.forward() && !self.player.is_over();
    }

    /// The diagram, or the cards again.
    pub fn toggle_diagram(&mut self) {
        self.shows_diagram = !self.shows_diagram;
    }

    /// The picture, so long after the step.
    pub fn draw(&mut self, frame: &mut Frame, theme: &Theme, since: Duration) {
        self.player.fly_on(since);
        let (shows_diagram, caption) = (self.shows_diagram, self.player.caption().map(str::to_owned));
        let face = Face { page: None, shows_diagram, caption };
        view::draw(frame, self.player.picture(), &face, theme, &[], self.player.now());
        bar::draw(frame, (&self.bar(), theme.strong), (KEYS, theme.faint), Style::default());
    }

    /// Where one is, in a line.
    #[must_use]
    pub fn bar(&self) -> String {
        let ((here, whole), (step, steps)) = (self.player.times(), self.player.step());
        let state =
            if self.playing { format!("{} steps a second", self.speed.per_second()) } else { "frozen".to_owned() };
        let dot = if self.ascii { "-" } else { "·" };
        let pause = self.player.pause_before().map_or_else(String::new, |pause| {
            format!(" {dot} after {:.0} s in which nothing happened", pause.as_secs_f64())
        });
        format!(
            " replay {:.1} s of {:.1} s {dot} step {step} of {steps} {dot} {state}{pause}",
            here.as_secs_f64(),
            whole.as_secs_f64()
        )
    }
}

/// Plays on this terminal until the viewer leaves.
///
/// # Errors
/// When the terminal cannot be drawn on, or read.
pub fn run(mut replay: Replay, theme: &Theme) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let ended = watch(&mut replay, theme, &mut terminal);
    ratatui::restore();
    ended
}

fn watch(replay: &mut Replay, theme: &Theme, terminal: &mut ratatui::DefaultTerminal) -> io::Result<()> {
    let mut stepped = Instant::now();
    loop {
        let since = stepped.elapsed();
        terminal.draw(|frame| replay.draw(frame, theme, since))?;
        let moves = replay.player.moves(since);
        let stands = replay.stands();
        let left = stands.map_or(REST, |stands| stands.saturating_sub(since));
        if event::poll(if moves { left.min(FRAME) } else { left })? {
            let event::Event::Key(key) = event::read()? else { continue };
            if matches!(key.code, KeyCode::F(10) | KeyCode::Char('m')) && key.kind == KeyEventKind::Press {
                replay.toggle_diagram();
            } else if let Some(wanted) = wanted(key) {
                if !replay.act(wanted) {
                    return Ok(());
                }
                stepped = Instant::now();
            }
        } else if stands.is_some_and(|stands| stepped.elapsed() >= stands) {
            replay.next();
            stepped = Instant::now();
        }
    }
}
