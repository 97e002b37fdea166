//! The one table of moves: how one goes through what has happened, live on the stage and in a recording.
//!
//! Like the keys, they are here so that bindings, help and README derive from one table.

/// Where to go from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// On the stage, live: freeze the picture.
    Enter,
    /// Play, or freeze.
    Play,
    /// One step forward.
    Forward,
    /// One step back.
    Back,
    /// To the next turn of the story.
    NextTurn,
    /// To the turn before.
    LastTurn,
    /// To the start.
    Start,
    /// To the end; live: to now.
    End,
    /// More steps a second.
    Faster,
    /// Fewer.
    Slower,
    /// The simulator: the next message on its way.
    Choose,
    /// What the chosen one says.
    Read,
    /// The chosen one never arrives.
    Drop,
    /// The end of it.
    Leave,
}

/// Every move but the way in: its keys, and what it does.
pub const MOVES: &[(Move, &str, &str)] = &[
    (Move::Play, "Space", "freezes; plays on from here"),
    (Move::Forward, "→ or .", "one step: a message, an event, an answer"),
    (Move::Back, "← or ,", "one step back"),
    (Move::NextTurn, "Shift-→ or ]", "to the next turn: a fault, a view, an answer"),
    (Move::LastTurn, "Shift-← or [", "to the turn before"),
    (Move::Start, "Home", "as far back as is kept"),
    (Move::End, "End", "to now; in a recording, to its end"),
    (Move::Faster, "+", "more steps a second"),
    (Move::Slower, "-", "fewer"),
    (Move::Choose, "Tab", "simulator: chooses a message on its way, and the next one"),
    (Move::Read, "Enter", "what the chosen message says, and what can be done to it"),
    (Move::Drop, "Delete", "the chosen message never arrives"),
    (Move::Leave, "Esc", "leaves; in a recording also q"),
];

/// A key of the stage, whatever library reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveKey {
    /// A character.
    Char(char),
    /// →
    Right,
    /// ←
    Left,
    /// Shift-→
    ShiftRight,
    /// Shift-←
    ShiftLeft,
    /// Home.
    Home,
    /// End.
    End,
    /// PgDn, as a presenter's clicker sends it.
    PageDown,
    /// PgUp.
    PageUp,
    /// Tab.
    Tab,
    /// Enter.
    Enter,
    /// Delete.
    Delete,
    /// Esc.
    Escape,
}

/// Which key is which move: on the stage while nothing is typed, and in a replay.
pub const MOVE_KEYS: &[(MoveKey, Move)] = &[
    (MoveKey::Char(' '), Move::Play),
    (MoveKey::Right, Move::Forward),
    (MoveKey::Char('.'), Move::Forward),
    (MoveKey::Left, Move::Back),
    (MoveKey::Char(','), Move::Back),
    (MoveKey::ShiftRight, Move::NextTurn),
    (MoveKey::Char(']'), Move::NextTurn),
    (MoveKey::PageDown, Move::NextTurn),
    (MoveKey::ShiftLeft, Move::LastTurn),
    (MoveKey::Char('['), Move::LastTurn),
    (MoveKey::PageUp, Move::LastTurn),
    (MoveKey::Home, Move::Start),
    (MoveKey::End, Move::End),
    (MoveKey::Char('+'), Move::Faster),
    (MoveKey::Char('='), Move::Faster),
    (MoveKey::Char('-'), Move::Slower),
    (MoveKey::Tab, Move::Choose),
    (MoveKey::Enter, Move::Read),
    (MoveKey::Delete, Move::Drop),
    (MoveKey::Escape, Move::Leave),
];

impl Move {
    /// What this key asks for.
    #[must_use]
    pub fn of(key: MoveKey) -> Option<Self> {
        MOVE_KEYS.iter().find(|(known, _)| *known == key).map(|(_, wanted)| *wanted)
    }
}

/// The moves as a Markdown table, for the README.
#[must_use]
pub fn markdown_table() -> String {
    table(MOVES.iter().map(|(_, keys, what)| (*keys, *what)))
}

/// Keys and what they do, as a Markdown table.
pub(super) fn table(rows: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let rows = rows.map(|(keys, what)| format!("| {keys} | {what} |\n"));
    "| key | |\n|---|---|\n".to_owned() + &rows.collect::<String>()
}
