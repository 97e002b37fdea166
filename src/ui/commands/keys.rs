//! The one table of keys.
//!
//! Every key has a chord as well, because terminals like to keep F1, F10 and F11 for themselves: press
//! Ctrl-X, let go, press the letter. A key performs the same [`Action`] as a command would; what it
//! cannot do right now it answers with the reason. Bindings, key bar and the README's table derive
//! from [`KEYS`].

use super::action::{Action, Who};

/// One key.
#[derive(Debug)]
pub struct KeySpec {
    /// F1 to F12.
    pub function: u8,
    /// The letter after Ctrl-X.
    pub chord: char,
    /// What the key bar says.
    pub label: &'static str,
    /// The same for narrow terminals: all up to F10 fit into 80 columns.
    pub brief: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// What it does.
    pub action: Action,
}

/// Every key, in the order of the key bar.
pub static KEYS: &[KeySpec] = &[
    KeySpec {
        function: 1,
        chord: 'h',
        label: "help",
        brief: "help",
        help: "shows all commands and keys; type to search, Esc closes it",
        action: Action::Help(None),
    },
    KeySpec {
        function: 2,
        chord: 's',
        label: "stage",
        brief: "stage",
        help: "the stage: freezes the picture, to go back and forth in it",
        action: Action::Stage,
    },
    KeySpec {
        function: 3,
        chord: 'k',
        label: "kill primary",
        brief: "kill",
        help: "kills the primary's process (SIGKILL)",
        action: Action::Kill(Who::Primary),
    },
    KeySpec {
        function: 4,
        chord: 'r',
        label: "recover",
        brief: "start",
        help: "starts all crashed servers again, empty or with their disks",
        action: Action::Recover(None),
    },
    KeySpec {
        function: 5,
        chord: 'c',
        label: "crash primary",
        brief: "crash",
        help: "the primary loses its memory and falls silent",
        action: Action::Crash(Who::Primary),
    },
    KeySpec {
        function: 6,
        chord: 'b',
        label: "crash backup",
        brief: "backup",
        help: "the backup loses its memory and falls silent",
        action: Action::Crash(Who::Backup),
    },
    KeySpec {
        function: 7,
        chord: 'l',
        label: "cut link",
        brief: "cut",
        help: "cuts the link between primary and backup, or heals what is cut",
        action: Action::ToggleLink,
    },
    KeySpec {
        function: 8,
        chord: 'p',
        label: "pause",
        brief: "pause",
        help: "pauses the primary, or resumes who is paused",
        action: Action::TogglePause,
    },
    KeySpec {
        function: 9,
        chord: 'd',
        label: "dice on/off",
        brief: "dice",
        help: "random crashes off, or on again at the rate they had",
        action: Action::ToggleDice,
    },
    KeySpec {
        function: 10,
        chord: 'm',
        label: "diagram",
        brief: "map",
        help: "who said what to whom, and when it was heard; or the cards again",
        action: Action::Diagram,
    },
    KeySpec {
        function: 11,
        chord: 'v',
        label: "big",
        brief: "big",
        help: "big numbers for the back row, as --present; or all panels again",
        action: Action::Present,
    },
];

/// What the line editor itself binds, for the README; `^X` is Ctrl-X.
pub const EDITOR_KEYS: &[(&str, &str)] = &[
    ("Tab", "completes commands, live keys and servers"),
    ("Ctrl-R", "searches the history"),
    ("Ctrl-C", "clears the line; stops a repeated command"),
    ("PgUp, PgDn", "turn the page of an answer that is too long for the prompt's rows"),
    ("Esc", "closes it"),
    ("Ctrl-L", "draws the screen anew"),
    ("Ctrl-D", "leaves, on an empty line"),
];

impl KeySpec {
    /// `F5`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("F{}", self.function)
    }

    /// `Ctrl-X c`.
    #[must_use]
    pub fn chord_name(&self) -> String {
        format!("Ctrl-X {}", self.chord)
    }

    /// Key, chord and what they do.
    #[must_use]
    pub fn help_line(&self) -> String {
        format!("{:<4}{:<10}{}", self.name(), self.chord_name(), self.help)
    }
}

/// What the key bar shows: key and label.
#[must_use]
pub fn key_bar() -> Vec<(String, &'static str)> {
    KEYS.iter().map(|key| (key.name(), key.label)).collect()
}

/// The keys as a Markdown table, for the README.
#[must_use]
pub fn markdown_table() -> String {
    let mut text = "| key | or | |\n|---|---|---|\n".to_owned();
    for key in KEYS {
        text.push_str(&format!("| {} | {} | {} |\n", key.name(), key.chord_name(), key.help));
    }
    for (name, what) in EDITOR_KEYS {
        text.push_str(&format!("| {name} | | {what} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_has_a_chord_of_its_own_and_says_what_it_does() {
        let functions: BTreeSet<_> = KEYS.iter().map(|key| key.function).collect();
        let chords: BTreeSet<_> = KEYS.iter().map(|key| key.chord).collect();
        let labels: BTreeSet<_> = KEYS.iter().map(|key| key.label).collect();
        assert!(functions.len() == KEYS.len() && chords.len() == KEYS.len() && labels.len() == KEYS.len());
        assert!(KEYS.iter().all(|key| (1..=12).contains(&key.function) && key.chord.is_ascii_lowercase()));
        let up_to_ten = KEYS.iter().filter(|key| key.function <= 10);
        let narrow: usize = up_to_ten.map(|key| format!(" {}{}", key.name(), key.brief).len()).sum();
        assert!(narrow <= 80, "{narrow} columns");
        assert!(KEYS.iter().all(|key| !key.help.is_empty() && !key.label.is_empty() && key.label.len() <= 14));
        // The line editor has uses of its own for these after Ctrl-X.
        assert!(!chords.contains(&'u') && !chords.contains(&'g'));
    }

    #[test]
    fn key_bar_and_table_hold_every_key() {
        let table = markdown_table();
        assert_eq!(key_bar().len(), KEYS.len());
        assert!(key_bar().contains(&("F5".to_owned(), "crash primary")));
        assert!(KEYS.iter().all(|key| table.contains(&key.chord_name()) && table.contains(key.help)));
    }
}
