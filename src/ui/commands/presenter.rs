//! The keys of a presenter on the tour: those of a keyboard's upper row, and those that a clicker sends.
//!
//! Like the moves, they are here so that bindings, help and README derive from one table. They act on an empty line
//! only, while a tour is on and nobody is on the stage.

use super::moves::{self, MoveKey};

/// What a presenter presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TourKey {
    /// 1 to 4, from 0 on.
    Guess(usize),
    /// On.
    Next,
    /// Back.
    Back,
    /// Nothing is to be seen.
    Blank,
    /// The end of it.
    Leave,
}

/// Every key, and what it does.
pub const TOUR_KEYS: &[(&str, &str)] = &[
    ("1 to 4", "the guess: until it is made, nothing happens and F3 to F9 sleep"),
    ("PgDn or Space", "the next command; then what was right, and why; then the next scene"),
    ("PgUp", "the scene once more; at its question, the scene before"),
    ("b", "a blank screen, until the next key"),
    ("Esc", "leaves the tour: your own cluster is there again"),
];

/// Which key is which.
pub const TOUR_BINDINGS: &[(MoveKey, TourKey)] = &[
    (MoveKey::Char('1'), TourKey::Guess(0)),
    (MoveKey::Char('2'), TourKey::Guess(1)),
    (MoveKey::Char('3'), TourKey::Guess(2)),
    (MoveKey::Char('4'), TourKey::Guess(3)),
    (MoveKey::Char(' '), TourKey::Next),
    (MoveKey::PageDown, TourKey::Next),
    (MoveKey::PageUp, TourKey::Back),
    (MoveKey::Char('b'), TourKey::Blank),
    (MoveKey::Escape, TourKey::Leave),
];

impl TourKey {
    /// What this key asks for.
    #[must_use]
    pub fn of(key: MoveKey) -> Option<Self> {
        TOUR_BINDINGS.iter().find(|(known, _)| *known == key).map(|(_, wanted)| *wanted)
    }
}

/// The keys as a Markdown table, for the README.
#[must_use]
pub fn markdown_table() -> String {
    moves::table(TOUR_KEYS.iter().copied())
}
