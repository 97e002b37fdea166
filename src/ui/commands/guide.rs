//! What F1 shows over the dashboard: every command with its arguments, the keys by where they work; and what of it a
//! search leaves.

use super::keys::{EDITOR_KEYS, KEYS};
use super::moves::MOVES;
use super::presenter::TOUR_KEYS;
use super::stored::{GROUPS, STORED};
use super::table::{COMMANDS, CommandGroup, CommandSpec};
use textwrap::{Options, WordSplitter};

/// Lines are no longer, so that a page of 80 columns holds them.
const COLUMNS: usize = 76;
/// Usages stand in this many columns.
const USAGE_COLUMNS: usize = 22;
/// Keys in this many.
const KEY_COLUMNS: usize = 16;

/// One thing that can be typed or pressed.
struct GuideEntry {
    heading: &'static str,
    what: String,
    columns: usize,
    says: String,
}

impl GuideEntry {
    fn holds(&self, words: &[String]) -> bool {
        let text = format!("{} {}", self.what, self.says).to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

/// The guide; of it only what holds all words of `search`, or, when nothing does, its first word.
#[must_use]
pub fn guide(search: &str) -> String {
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        let mut text = "Type a word to search, PgDn turns the page, Esc closes.\n".to_owned();
        text.push_str(&listed(entries(COMMANDS.iter()).iter()));
        text.push_str(&format!("\nRedis' commands: HELP {}\n", GROUPS.join(", ")));
        return text;
    }
    let all = entries(COMMANDS.iter().chain(STORED.iter()));
    for words in [&words[..], &words[..1]] {
        let found: Vec<&GuideEntry> = all.iter().filter(|entry| entry.holds(words)).collect();
        if !found.is_empty() {
            return listed(found.into_iter());
        }
    }
    format!("nothing here says '{}': a shorter word?\n", search.trim())
}

fn entries<'a>(commands: impl Iterator<Item = &'a CommandSpec> + Clone) -> Vec<GuideEntry> {
    let mut entries = Vec::new();
    for group in CommandGroup::ALL {
        let of_group = commands.clone().filter(|spec| spec.group == group);
        entries.extend(of_group.map(|spec| GuideEntry {
            heading: group.name(),
            what: spec.usage(),
            columns: USAGE_COLUMNS,
            says: spec.help.to_owned(),
        }));
    }
    let mut key = |heading, what: String, says: &str| {
        entries.push(GuideEntry { heading, what, columns: KEY_COLUMNS, says: says.to_owned() });
    };
    for spec in KEYS {
        key("keys", format!("{}, {}", spec.name(), spec.chord_name()), &format!("{}: {}", spec.label, spec.help));
    }
    for (name, says) in EDITOR_KEYS {
        key("keys while a line is typed", (*name).to_owned(), says);
    }
    for (_, names, says) in MOVES {
        key("keys on the stage, and in a replay", (*names).to_owned(), says);
    }
    for (names, says) in TOUR_KEYS {
        key("keys on the tour", (*names).to_owned(), says);
    }
    entries
}

/// A line each, below its heading; what is too long goes on below itself.
fn listed<'a>(entries: impl Iterator<Item = &'a GuideEntry>) -> String {
    let mut text = String::new();
    let mut heading = "";
    for entry in entries {
        if entry.heading != heading {
            heading = entry.heading;
            text.push_str(&format!("\n{heading}\n"));
        }
        let (what, below) = (format!("  {:<1$} ", entry.what, entry.columns), " ".repeat(entry.columns + 3));
        let options = Options::new(COLUMNS).word_splitter(WordSplitter::NoHyphenation);
        text.push_str(&textwrap::fill(&entry.says, options.initial_indent(&what).subsequent_indent(&below)));
        text.push('\n');
    }
    text.trim_start_matches('\n').to_owned()
}

/// What a person sees who starts this for the first time.
pub const FIRST_STEPS: [&str; 3] = [
    "Try: PUT color red, then F5 (the primary crashes), then GET color: still there.",
    "F2 freezes the picture, to go back and forth in it; F4 restarts who crashed.",
    "F1 shows every command and key; COMMAND ? explains one; Ctrl-D leaves.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_every_command_and_every_key_in_lines_that_fit() {
        let all = guide("");
        for spec in COMMANDS {
            assert!(all.contains(&spec.usage()), "{}", spec.usage());
        }
        for key in KEYS {
            assert!(all.contains(&key.name()) && all.contains(&key.chord_name()), "{}", key.name());
        }
        assert!(MOVES.iter().all(|(_, names, _)| all.contains(names)));
        assert!(TOUR_KEYS.iter().all(|(names, _)| all.contains(names)));
        let longest = all.lines().max_by_key(|line| line.chars().count()).expect("there are lines");
        assert!(longest.chars().count() <= COLUMNS, "{longest}");
        assert!(FIRST_STEPS.iter().all(|line| line.len() < 80));
    }

    #[test]
    fn a_search_leaves_what_holds_its_words() {
        let crash = guide("crash");
        assert!(crash.contains("CRASH who") && crash.contains("F5") && !crash.contains("APPEND"), "{crash}");
        // What is typed may be a command with its arguments.
        assert!(guide("CRASH primary now").contains("CRASH who"));
        assert!(guide("zadd").contains("ZADD"), "Redis' commands are found too");
        assert!(guide("memory loses").contains("CRASH who"), "in any order");
        assert!(guide("xyzzy").contains("nothing here says 'xyzzy'"));
    }
}
