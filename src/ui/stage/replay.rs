//! The screen and the keys of `understudy replay FILE`.
//!
//! The moves are those of the stage ([`crate::ui::commands::moves`]), and the keys too.

use super::player::Player;
use crate::ui::commands::moves::Move;
use crate::ui::dashboard::{Theme, view};
use ratatui::Frame;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::widgets::Clear;
use std::io;
use std::time::{Duration, Instant};

/// Steps a second, from slow to fast.
pub(super) const SPEEDS: [f64; 7] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];
/// The one that it begins with.
pub(super) const SPEED_FIRST: usize = 2;
/// A picture is drawn at least this often while anything moves.
pub(super) const FRAME: Duration = Duration::from_millis(33);
/// While nothing moves, keys are waited for this long at a time.
const REST: Duration = Duration::from_millis(500);

/// The keys, at the end of the bar, where there is room.
const KEYS: &str = "<- -> step  [ ] turn  Space play  q leaves";

/// What this key asks for.
#[must_use]
pub fn wanted(key: KeyEvent) -> Option<Move> {
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        _ if key.kind == KeyEventKind::Release => return None,
        KeyCode::Char('c' | 'd') if control => Move::Leave,
        KeyCode::Char(' ') => Move::Play,
        KeyCode::Right if shift => Move::NextTurn,
        KeyCode::Left if shift => Move::LastTurn,
        KeyCode::Right | KeyCode::Char('.') => Move::Forward,
        KeyCode::Left | KeyCode::Char(',') => Move::Back,
        KeyCode::Char(']') | KeyCode::PageDown => Move::NextTurn,
        KeyCode::Char('[') | KeyCode::PageUp => Move::LastTurn,
        KeyCode::Home => Move::Start,
        KeyCode::End => Move::End,
        KeyCode::Char('+' | '=') => Move::Faster,
        KeyCode::Char('-') => Move::Slower,
        KeyCode::Char('q') | KeyCode::Esc => Move::Leave,
        _ => return None,
    })
}

/// A player, and how it is looked at.
#[derive(Debug)]
pub struct Replay {
    player: Player,
    playing: bool,
    speed: usize,
    ascii: bool,
}

impl Replay {
    /// Frozen at the first step.
    #[must_use]
    pub fn new(mut player: Player, ascii: bool) -> Self {
        player.forward();
        Self { player, playing: false, speed: SPEED_FIRST, ascii }
    }

    /// Does what a key asks for. False: leave.
    pub fn act(&mut self, wanted: Move) -> bool {
        match wanted {
            Move::Play => {
                self.playing = !self.playing;
                if self.playing && self.player.is_over() {
                    self.player.start();
                }
                return true;
            }
            Move::Faster => self.speed = (self.speed + 1).min(SPEEDS.len() - 1),
            Move::Slower => self.speed = self.speed.saturating_sub(1),
            Move::Leave => return false,
            Move::Enter => {}
            Move::Forward => drop(self.player.forward()),
            Move::Back => drop(self.player.back()),
            Move::NextTurn => drop(self.player.next_turn()),
            Move::LastTurn => drop(self.player.last_turn()),
            Move::Start => drop(self.player.start()),
            Move::End => drop(self.player.end()),
        }
        self.playing &= matches!(wanted, Move::Faster | Move::Slower);
        true
    }

    /// While it plays: how long a step stands.
    fn stands(&self) -> Option<Duration> {
        self.playing.then(|| Duration::from_secs_f64(1.0 / SPEEDS[self.speed]))
    }

    /// The step has stood long enough.
    fn next(&mut self) {
        self.playing = self.player.forward() && !self.player.is_over();
    }

    /// The picture, so long after the step.
    pub fn draw(&mut self, frame: &mut Frame, theme: &Theme, since: Duration) {
        let area = frame.area();
        self.player.fly_on(since);
        view::draw(frame, self.player.picture(), theme, &[], self.player.now());
        if area.height > 1 {
            let bar = Rect { y: area.bottom() - 1, height: 1, ..area };
            frame.render_widget(Clear, bar);
            let (bar_text, width) = (self.bar(), usize::from(area.width));
            let keys_at = width.saturating_sub(KEYS.len() + 1);
            frame.buffer_mut().set_stringn(bar.x, bar.y, &bar_text, width, theme.strong);
            if bar_text.chars().count() < keys_at {
                frame.buffer_mut().set_string(bar.x + keys_at as u16, bar.y, KEYS, theme.faint);
            }
        }
    }

    /// Where one is, in a line.
    #[must_use]
    pub fn bar(&self) -> String {
        let ((here, whole), (step, steps)) = (self.player.times(), self.player.step());
        let state = if self.playing { format!("{} steps a second", SPEEDS[self.speed]) } else { "frozen".to_owned() };
        let (dots, dot) = if self.ascii { ("...", "-") } else { ("⋮", "·") };
        let pause = self.player.pause_before().map_or_else(String::new, |pause| {
            format!(" {dot} {dots} {:.0} s before it nothing happened", pause.as_secs_f64())
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
            if let event::Event::Key(key) = event::read()?
                && let Some(wanted) = wanted(key)
            {
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
