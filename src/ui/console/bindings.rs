//! What keys do at the prompt: the table of keys, the moves of the stage, and what would break the screen.
//!
//! The moves are keys that also edit a line; they lead about the stage only while one is on it and the line is empty.
//! So a command is typed as always, and the stage is there again after Enter.

use super::prompt::{Assistant, Pager, PrintHandle, Stagehand};
use crate::ui::commands::Action;
use crate::ui::commands::keys::{KEYS, KeySpec};
use crate::ui::commands::moves::{MOVE_KEYS, Move, MoveKey};
use crossbeam_channel::Sender;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, KeyCode, KeyEvent, Modifiers, Movement,
    RepeatCount,
};
use std::sync::Arc;

/// The key as the line editor knows it.
fn known(key: MoveKey) -> KeyEvent {
    let (code, modifiers) = match key {
        MoveKey::Char(character) => (KeyCode::Char(character), Modifiers::NONE),
        MoveKey::Right => (KeyCode::Right, Modifiers::NONE),
        MoveKey::Left => (KeyCode::Left, Modifiers::NONE),
        MoveKey::ShiftRight => (KeyCode::Right, Modifiers::SHIFT),
        MoveKey::ShiftLeft => (KeyCode::Left, Modifiers::SHIFT),
        MoveKey::Home => (KeyCode::Home, Modifiers::NONE),
        MoveKey::End => (KeyCode::End, Modifiers::NONE),
        MoveKey::PageDown => (KeyCode::PageDown, Modifiers::NONE),
        MoveKey::PageUp => (KeyCode::PageUp, Modifiers::NONE),
        MoveKey::Escape => (KeyCode::Esc, Modifiers::NONE),
    };
    KeyEvent(code, modifiers)
}

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
            let turns = [
                (MoveKey::PageUp, Turn::Pages(-1)),
                (MoveKey::PageDown, Turn::Pages(1)),
                (MoveKey::Escape, Turn::Close),
            ];
            for (key, turn) in turns {
                let page = OnPage { pager: Arc::clone(pager), stage: self.stage.clone(), key, turn };
                editor.bind_sequence(known(key), EventHandler::Conditional(Box::new(page)));
            }
        }
        // The character of a switched-off control character: rustyline would take it for Ctrl-Z.
        editor.bind_sequence(KeyEvent::ctrl('@'), EventHandler::Simple(Cmd::Noop));
    }

    fn bind_moves(&self, editor: &mut Editor<Assistant, FileHistory>) {
        let Some(stage) = &self.stage else { return };
        for (key, wanted) in MOVE_KEYS {
            let on_stage = OnStage { stage: Arc::clone(stage), wanted: *wanted };
            editor.bind_sequence(known(*key), EventHandler::Conditional(Box::new(on_stage)));
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
    key: MoveKey,
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
        go(self.stage.as_ref()?, Move::of(self.key)?, context)
    }
}
