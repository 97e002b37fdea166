//! What keys do at the prompt: the table of keys, the moves of the stage, and what would break the screen.
//!
//! Some keys that also edit a line lead elsewhere when it is empty: to the pages of an answer, through the tour, about
//! the stage, in this order, whichever is there ([`Lead`]). So a command is typed as always, and they lead again after
//! Enter.

use super::prompt::{Assistant, Pager, PrintHandle, Stagehand};
use super::session::TourGuide;
use crate::ui::commands::Action;
use crate::ui::commands::keys::{KEYS, KeySpec};
use crate::ui::commands::moves::{MOVE_KEYS, Move, MoveKey};
use crate::ui::commands::presenter::{TOUR_BINDINGS, TourKey};
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
        MoveKey::Tab => (KeyCode::Tab, Modifiers::NONE),
        MoveKey::Enter => (KeyCode::Enter, Modifiers::NONE),
        MoveKey::Delete => (KeyCode::Delete, Modifiers::NONE),
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
    pub(super) tour: Option<Arc<dyn TourGuide>>,
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
                    tour: self.tour.clone(),
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
        let moves = MOVE_KEYS.iter().map(|(key, _)| *key);
        for key in moves.chain(TOUR_BINDINGS.iter().map(|(key, _)| *key)) {
            let (pager, stage, tour) = (self.pager.clone(), self.stage.clone(), self.tour.clone());
            let lead = Lead { key, handle: self.handle.clone(), pager, stage, tour };
            editor.bind_sequence(known(key), EventHandler::Conditional(Box::new(lead)));
        }
        for letter in ' '..='~' {
            let then = EscapeThen { pager: self.pager.clone(), stage: self.stage.clone(), letter };
            let sequence = KeyEvent(KeyCode::Char(letter), Modifiers::ALT);
            editor.bind_sequence(sequence, EventHandler::Conditional(Box::new(then)));
        }
        // The character of a switched-off control character: rustyline would take it for Ctrl-Z.
        editor.bind_sequence(KeyEvent::ctrl('@'), EventHandler::Simple(Cmd::Noop));
    }
}

/// A key that leads somewhere when nothing is typed; else what it always is.
struct Lead {
    key: MoveKey,
    handle: PrintHandle,
    pager: Option<Arc<dyn Pager>>,
    stage: Option<Arc<dyn Stagehand>>,
    tour: Option<Arc<dyn TourGuide>>,
}

impl Lead {
    /// What it does to the page of an answer, if there is one.
    fn on_page(&self) -> Option<Cmd> {
        let pager = self.pager.as_ref()?;
        let was_guide = pager.is_typed_to_search();
        let is_for_page = match self.key {
            MoveKey::PageUp => pager.turn(-1),
            MoveKey::PageDown => pager.turn(1),
            MoveKey::Escape => pager.close(),
            _ => false,
        };
        // What was typed to search the guide goes with it.
        let closed = was_guide && self.key == MoveKey::Escape;
        is_for_page.then_some(if closed { Cmd::Kill(Movement::WholeLine) } else { Cmd::Noop })
    }

    fn on_stage(&self, stage: &Arc<dyn Stagehand>) -> Option<Cmd> {
        match Move::of(self.key)? {
            Move::Read => {
                if let Some(words) = stage.read() {
                    self.handle.tell(&words);
                }
            }
            wanted => stage.go(wanted),
        }
        Some(Cmd::Noop)
    }

    fn on_tour(&self) -> Option<Cmd> {
        let tour = self.tour.as_ref().filter(|tour| tour.is_on())?;
        tour.press(TourKey::of(self.key)?);
        Some(Cmd::Noop)
    }
}

impl ConditionalEventHandler for Lead {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        if let Some(command) = self.on_page() {
            return Some(command);
        }
        if !context.line().is_empty() || self.pager.as_ref().is_some_and(|pager| pager.is_typed_to_search()) {
            return None;
        }
        match self.stage.as_ref().filter(|stage| stage.is_on()) {
            Some(stage) => self.on_stage(stage),
            None => self.on_tour(),
        }
    }
}

/// A key of the table: told to the thread that carries it out.
struct Press {
    key: &'static KeySpec,
    presses: Sender<&'static KeySpec>,
    stage: Option<Arc<dyn Stagehand>>,
    tour: Option<Arc<dyn TourGuide>>,
}

impl ConditionalEventHandler for Press {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        // At once, so that the next key is the stage's already.
        if let (Action::Stage, Some(stage)) = (&self.key.action, &self.stage) {
            stage.go(if stage.is_on() { Move::Leave } else { Move::Enter });
            return Some(Cmd::Noop);
        }
        // The start button of a clicker sends F5: nothing breaks while a question is open.
        if !self.key.action.only_looks() && self.tour.as_ref().is_some_and(|tour| tour.is_asking()) {
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

/// Esc, and a letter right behind it: terminals send the same for Alt and the letter. Where Esc closes or leaves
/// something it does, and the letter is typed (but for the one that closes a guide in which a word was searched for).
struct EscapeThen {
    pager: Option<Arc<dyn Pager>>,
    stage: Option<Arc<dyn Stagehand>>,
    letter: char,
}

impl ConditionalEventHandler for EscapeThen {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        if let Some(pager) = &self.pager {
            let was_guide = pager.is_typed_to_search();
            if pager.close() {
                // What was typed to search the guide goes with it; the editor can do only one thing at a time.
                return Some(if was_guide { Cmd::Kill(Movement::WholeLine) } else { Cmd::SelfInsert(1, self.letter) });
            }
        }
        let stage = self.stage.as_ref().filter(|stage| context.line().is_empty() && stage.is_on())?;
        stage.go(Move::Leave);
        Some(Cmd::SelfInsert(1, self.letter))
    }
}
