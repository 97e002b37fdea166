//! What keys do at the prompt: the table of keys, the moves of the stage, and what would break the screen.
//!
//! The moves are keys that also edit a line; they lead about the stage only while one is on it and the line is empty.
//! So a command is typed as always, and the stage is there again after Enter.

use super::prompt::{Assistant, Pager, PrintHandle, Stagehand};
use crate::ui::commands::Action;
use crate::ui::commands::keys::{KEYS, KeySpec};
use crate::ui::commands::moves::Move;
use crossbeam_channel::Sender;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, KeyCode, KeyEvent, Modifiers, Movement,
    RepeatCount,
};
use std::sync::Arc;

/// The keys that are moves on the stage.
const MOVE_KEYS: &[(KeyCode, Modifiers, Move)] = &[
    (KeyCode::Char(' '), Modifiers::NONE, Move::Play),
    (KeyCode::Right, Modifiers::NONE, Move::Forward),
    (KeyCode::Char('.'), Modifiers::NONE, Move::Forward),
    (KeyCode::Left, Modifiers::NONE, Move::Back),
    (KeyCode::Char(','), Modifiers::NONE, Move::Back),
    (KeyCode::Right, Modifiers::SHIFT, Move::NextTurn),
    (KeyCode::Char(']'), Modifiers::NONE, Move::NextTurn),
    (KeyCode::Left, Modifiers::SHIFT, Move::LastTurn),
    (KeyCode::Char('['), Modifiers::NONE, Move::LastTurn),
    (KeyCode::Home, Modifiers::NONE, Move::Start),
    (KeyCode::End, Modifiers::NONE, Move::End),
    (KeyCode::Char('+'), Modifiers::NONE, Move::Faster),
    (KeyCode::Char('='), Modifiers::NONE, Move::Faster),
    (KeyCode::Char('-'), Modifiers::NONE, Move::Slower),
];

/// What keys act on.
pub(super) struct Bound {
    pub(super) presses: Sender<&'static KeySpec>,
    pub(super) redraw: Sender<()>,
    pub(super) handle: PrintHandle,
    pub(super) pager: Option<Arc<dyn Pager>>,
    pub(super) stage: Option<Arc<dyn Stagehand>>,
}

impl Bound {
    /// Binds the table of keys and takes back what would break the screen.
    pub(super) fn bind(self, editor: &mut Editor<Assistant, FileHistory>) {
        for key in KEYS {
            let press = || {
                EventHandler::Conditional(Box::new(Press {
                    key,
                    presses: self.presses.clone(),
                    stage: self.stage.clone(),
                }))
            };
            editor.bind_sequence(KeyEvent(KeyCode::F(key.function), Modifiers::NONE), press());
            let chord = vec![KeyEvent::ctrl('X'), KeyEvent(KeyCode::Char(key.chord), Modifiers::NONE)];
            editor.bind_sequence(Event::KeySeq(chord), press());
        }
        // By default Ctrl-L wipes the whole screen, dashboard included.
        let redraw = Redraw { redraw: self.redraw.clone() };
        editor.bind_sequence(KeyEvent::ctrl('L'), EventHandler::Conditional(Box::new(redraw)));
        // By default Ctrl-Z stops this process, and the cluster believes that it died.
        let stop = NoStop { handle: self.handle.clone() };
        editor.bind_sequence(KeyEvent::ctrl('Z'), EventHandler::Conditional(Box::new(stop)));
        self.bind_moves(editor);
        if let Some(pager) = &self.pager {
            let turns =
                [(KeyCode::PageUp, Turn::Pages(-1)), (KeyCode::PageDown, Turn::Pages(1)), (KeyCode::Esc, Turn::Close)];
            for (key, turn) in turns {
                let page = OnPage { pager: Arc::clone(pager), stage: self.stage.clone(), turn };
                editor.bind_sequence(KeyEvent(key, Modifiers::NONE), EventHandler::Conditional(Box::new(page)));
            }
        }
        // The character of a switched-off control character: rustyline would take it for Ctrl-Z.
        editor.bind_sequence(KeyEvent::ctrl('@'), EventHandler::Simple(Cmd::Noop));
    }

    fn bind_moves(&self, editor: &mut Editor<Assistant, FileHistory>) {
        let Some(stage) = &self.stage else { return };
        for (key, modifiers, wanted) in MOVE_KEYS {
            let on_stage = OnStage { stage: Arc::clone(stage), wanted: *wanted };
            editor.bind_sequence(KeyEvent(*key, *modifiers), EventHandler::Conditional(Box::new(on_stage)));
        }
    }
}

/// A move, if one is on the stage and nothing is typed.
fn go(stage: &Arc<dyn Stagehand>, wanted: Move, context: &EventContext) -> Option<Cmd> {
    (context.line().is_empty() && stage.is_on()).then(|| {
        stage.go(wanted);
        Cmd::Noop
    })
}

/// A key that is a move on the stage; else what it always is.
struct OnStage {
    stage: Arc<dyn Stagehand>,
    wanted: Move,
}

impl ConditionalEventHandler for OnStage {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        go(&self.stage, self.wanted, context)
    }
}

/// A key of the table: told to the thread that carries it out.
struct Press {
    key: &'static KeySpec,
    presses: Sender<&'static KeySpec>,
    stage: Option<Arc<dyn Stagehand>>,
}

impl ConditionalEventHandler for Press {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        // At once, so that the next key is the stage's already.
        if let (Action::Stage, Some(stage)) = (&self.key.action, &self.stage) {
            stage.go(if stage.is_on() { Move::Leave } else { Move::Enter });
            return Some(Cmd::Noop);
        }
        // Somebody leaning on a key: presses beyond the queue are dropped.
        let _ = self.presses.try_send(self.key);
        Some(Cmd::Noop)
    }
}

/// Ctrl-L.
struct Redraw {
    redraw: Sender<()>,
}

impl ConditionalEventHandler for Redraw {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        let _ = self.redraw.try_send(());
        Some(Cmd::Repaint)
    }
}

/// Ctrl-Z.
struct NoStop {
    handle: PrintHandle,
}

impl ConditionalEventHandler for NoStop {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        self.handle.tell("Ctrl-Z cannot stop a cluster that lives in this terminal: F8 pauses a server, Ctrl-D leaves");
        Some(Cmd::Noop)
    }
}

/// A key that does something to the page while there is one; else what it always does.
struct OnPage {
    pager: Arc<dyn Pager>,
    stage: Option<Arc<dyn Stagehand>>,
    turn: Turn,
}

enum Turn {
    Pages(isize),
    Close,
}

impl ConditionalEventHandler for OnPage {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let was_guide = self.pager.is_typed_to_search();
        let is_for_page = match self.turn {
            Turn::Pages(pages) => self.pager.turn(pages),
            Turn::Close => self.pager.close(),
        };
        if is_for_page {
            // What was typed to search the guide goes with it.
            let closed = was_guide && matches!(self.turn, Turn::Close);
            return Some(if closed { Cmd::Kill(Movement::WholeLine) } else { Cmd::Noop });
        }
        // Without a page they are the stage's.
        let wanted = match self.turn {
            Turn::Pages(pages) if pages > 0 => Move::NextTurn,
            Turn::Pages(_) => Move::LastTurn,
            Turn::Close => Move::Leave,
        };
        go(self.stage.as_ref()?, wanted, context)
    }
}
