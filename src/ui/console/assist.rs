//! Completion, hints and highlighting as plain functions of the line and of what is known, so that they
//! can be tested without a terminal.

use super::answer::Palette;
use super::knowledge::Knowledge;
use crate::cluster::Standing;
use crate::core::fault::Meddling;
use crate::core::load::Workload;
use crate::core::protocol::{CrashPoint, Rule};
use crate::ui::commands::parse::{QuoteError, Token, is_repeat, lex, quote};
use crate::ui::commands::stored::GROUPS;
use crate::ui::commands::table::{COMMANDS, CommandGroup, CommandSpec, Parameter, WordKind, all, find};
use unicode_width::UnicodeWidthStr;

/// At most this many completions are offered at once.
pub const COMPLETIONS_MAX: usize = 60;

/// One way to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// As a list shows it.
    pub shown: String,
    /// What replaces the unfinished word.
    pub replacement: String,
}

/// Where in a line a person is typing.
struct CursorPlace {
    /// The words before the unfinished one, without a leading repeat number.
    words: Vec<Token>,
    /// The unfinished word; empty after a blank.
    partial: Vec<u8>,
    /// Where the unfinished word starts.
    start: usize,
}

impl CursorPlace {
    fn at_end_of(line: &str) -> Self {
        let (mut words, error) = lex(line.as_bytes());
        let open = error.is_some() || words.last().is_some_and(|word| word.end == line.len());
        let (partial, start) = match words.pop_if(|_| open) {
            Some(word) => (word.bytes, word.start),
            None => (Vec::new(), line.len()),
        };
        if words.first().is_some_and(|word| is_repeat(&word.bytes)) {
            words.remove(0);
        }
        Self { words, partial, start }
    }

    /// The command and the parameter that the unfinished word is for.
    fn parameter(&self) -> Option<(&'static CommandSpec, &'static Parameter, bool)> {
        let spec = find(&self.words.first()?.bytes)?;
        let at = self.words.len() - 1;
        Some((spec, spec.parameters.get(at)?, at + 1 == spec.parameters.len()))
    }
}

/// What may replace the word that ends at `pos`, and where that word starts.
#[must_use]
pub fn complete(line: &str, pos: usize, knowledge: &dyn Knowledge) -> (usize, Vec<Suggestion>) {
    let Some(line) = line.get(..pos) else { return (pos, Vec::new()) };
    let place = CursorPlace::at_end_of(line);
    let completions = if place.words.is_empty() {
        complete_command(&place.partial)
    } else {
        place.parameter().map_or_else(Vec::new, |(_, parameter, last)| {
            // A blank after the word, when more words may follow.
            let tail = if last { "" } else { " " };
            complete_argument(parameter, &place.partial, tail, knowledge)
        })
    };
    (place.start, completions)
}

fn complete_command(partial: &[u8]) -> Vec<Suggestion> {
    // Who types in small letters goes on in small letters.
    let small = partial.first().is_some_and(u8::is_ascii_lowercase);
    let fits = |name: &&str| name.as_bytes().get(..partial.len()).is_some_and(|n| n.eq_ignore_ascii_case(partial));
    let mut completions = Vec::new();
    // All that Redis has are offered to who has begun to type one.
    let known = all().take(if partial.is_empty() { COMMANDS.len() } else { usize::MAX });
    for spec in known {
        // An alias is offered only to those who are typing it.
        let names = spec.names().filter(fits).take(if partial.is_empty() { 1 } else { usize::MAX });
        for name in names {
            let name = if small { name.to_ascii_lowercase() } else { name.to_owned() };
            let tail = if spec.parameters.is_empty() { "" } else { " " };
            completions.push(Suggestion { replacement: format!("{name}{tail}"), shown: name });
        }
    }
    completions
}

fn complete_argument(parameter: &Parameter, partial: &[u8], tail: &str, knowledge: &dyn Knowledge) -> Vec<Suggestion> {
    let choices: Vec<String> = match parameter.kind {
        WordKind::Key => {
            let keys = knowledge.keys_with_prefix(partial, COMPLETIONS_MAX);
            return keys.iter().map(|key| suggestion(quote(key), tail)).collect();
        }
        WordKind::Server => {
            let picture = knowledge.picture();
            let roles = ["primary", "backup"].map(str::to_owned);
            roles.into_iter().chain(picture.servers.iter().map(|server| server.rank.to_string())).collect()
        }
        WordKind::Rank => knowledge.picture().ranks().map(|rank| rank.to_string()).collect(),
        WordKind::Topic => {
            let groups = CommandGroup::ALL.iter().map(|group| group.name());
            all().map(|spec| spec.name).chain(groups).chain(GROUPS).chain(["keyboard"]).map(str::to_owned).collect()
        }
        WordKind::Rule | WordKind::Scene => Rule::ALL.map(|rule| rule.name().to_owned()).to_vec(),
        WordKind::Point => CrashPoint::ALL.map(|point| point.name().to_owned()).to_vec(),
        WordKind::Deed => Meddling::ALL.map(|deed| deed.name().to_owned()).to_vec(),
        WordKind::Motif => ["screen", "diagram"].map(str::to_owned).to_vec(),
        WordKind::Ground => ["light", "dark"].map(str::to_owned).to_vec(),
        WordKind::Switch => ["on", "off"].map(str::to_owned).to_vec(),
        WordKind::Word => vec![parameter.name.to_owned()],
        WordKind::Load => ["on", "off"].map(str::to_owned).into(),
        WordKind::Workload => Workload::ALL.map(|workload| workload.name().to_owned()).into(),
        WordKind::Value
        | WordKind::Pattern
        | WordKind::Probability
        | WordKind::Millis
        | WordKind::Seconds
        | WordKind::Count
        | WordKind::Hands
        | WordKind::Branch => Vec::new(),
    };
    let fits = |choice: &String| {
        choice.as_bytes().get(..partial.len()).is_some_and(|start| start.eq_ignore_ascii_case(partial))
    };
    choices.into_iter().filter(fits).map(|choice| suggestion(choice, tail)).collect()
}

fn suggestion(word: String, tail: &str) -> Suggestion {
    Suggestion { replacement: format!("{word}{tail}"), shown: word }
}

/// The arguments that are missing, to be shown in grey behind the line; with the blank that is missing.
#[must_use]
pub fn hint(line: &str, pos: usize) -> Option<String> {
    if pos != line.len() || line.trim().is_empty() {
        return None;
    }
    let place = CursorPlace::at_end_of(line);
    // A word that is being typed counts as there.
    let given = place.words.len() + usize::from(!place.partial.is_empty() || place.start < line.len());
    let name = place.words.first().map_or(&place.partial, |word| &word.bytes);
    let missing = find(name)?.parameters_text(given.checked_sub(1)?);
    if missing.is_empty() {
        return None;
    }
    let blank = if line.ends_with(char::is_whitespace) && place.start == line.len() { "" } else { " " };
    Some(format!("{blank}{missing}"))
}

/// A piece of a line, and how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// The piece.
    pub text: &'a str,
    /// An escape sequence, or none.
    pub style: &'static str,
}

/// The line in pieces: the command known or not, quoted words, numbers that repeat.
#[must_use]
pub fn spans<'a>(line: &'a str, palette: &Palette) -> Vec<Span<'a>> {
    let (tokens, error) = lex(line.as_bytes());
    let mut spans = Vec::new();
    let mut at = 0;
    let mut command_seen = false;
    for (i, token) in tokens.iter().enumerate() {
        let unfinished = token.end == line.len();
        let word = &line[token.start..token.end];
        let style = if !command_seen && is_repeat(&token.bytes) {
            palette.number
        } else if !command_seen {
            command_seen = true;
            command_style(&token.bytes, unfinished, palette)
        } else if i + 1 == tokens.len() && matches!(error, Some(QuoteError::Adjacent { .. })) {
            // An open quote is no mistake yet: the word is still being typed.
            palette.error
        } else if word.contains(['"', '\'']) {
            palette.value
        } else {
            ""
        };
        spans.push(Span { text: &line[at..token.start], style: "" });
        spans.push(Span { text: word, style });
        at = token.end;
    }
    spans.push(Span { text: &line[at..], style: "" });
    spans.retain(|span| !span.text.is_empty());
    spans
}

/// Words in columns that fill the rows from the left: what a list of completions looks like.
#[must_use]
pub fn in_columns(words: &[String], width: usize) -> String {
    let widest = words.iter().map(|word| word.width()).max().unwrap_or(0) + 2;
    let columns = (width / widest).max(1);
    let rows = words.len().div_ceil(columns);
    let row = |row: usize| {
        let words = words.iter().skip(row).step_by(rows);
        let padded = words.map(|word| format!("{word}{}", " ".repeat(widest - word.width())));
        padded.collect::<String>().trim_end().to_owned()
    };
    (0..rows).map(row).collect::<Vec<_>>().join("\n")
}

/// A name that may still become a command is not wrong yet.
fn command_style(name: &[u8], unfinished: bool, palette: &Palette) -> &'static str {
    if find(name).is_some() {
        palette.command
    } else if unfinished && !complete_command(name).is_empty() {
        ""
    } else {
        palette.error
    }
}

/// What the prompt says between the brackets: `view 4 · primary 2`.
#[must_use]
pub fn state(knowledge: &dyn Knowledge) -> String {
    let picture = knowledge.picture();
    let answers = |rank| picture.standing(rank).is_none_or(|standing| standing == Standing::Primary);
    match picture.primary.filter(|rank| answers(*rank)) {
        Some(primary) => format!("view {} · primary {primary}", picture.view),
        None => format!("view {} · no primary", picture.view),
    }
}

#[cfg(test)]
mod tests {
    use super::super::knowledge::{FixedKnowledge, Picture, ServerPicture};
    use super::*;
    use crate::core::protocol::{Rank, ViewNumber};
    use proptest::prelude::*;

    fn known() -> FixedKnowledge {
        let server = |rank, standing| ServerPicture { rank: Rank(rank), standing };
        let knowledge = FixedKnowledge::new(Picture {
            view: ViewNumber(4),
            primary: Some(Rank(2)),
            backups: vec![Rank(1)],
            servers: vec![server(1, Standing::Backup), server(2, Standing::Primary)],
            ..Picture::default()
        });
        knowledge.set_keys(["color".into(), "cold day".into(), "fruit".into()]);
        knowledge
    }

    fn completions(line: &str) -> (usize, Vec<String>) {
        let (start, completions) = complete(line, line.len(), &known());
        (start, completions.into_iter().map(|c| c.replacement).collect())
    }

    #[test]
    fn commands_are_completed_in_the_case_they_are_typed() {
        assert_eq!(completions("ge").1[0], "get ");
        assert_eq!(
            completions("RE"),
            (0, ["RESUME ", "RECOVER ", "RESET ", "RENAME ", "RENAMENX "].map(str::to_owned).to_vec())
        );
        assert_eq!(completions("5 inc").1, ["incr ", "incrby ", "incrbyfloat "]);
        assert_eq!(completions("set").1, ["set ", "setex ", "setnx ", "setrange "]);
        assert_eq!(completions("").1.len(), COMMANDS.len());
        assert_eq!(completions("xyz"), (0, vec![]));
    }

    #[test]
    fn arguments_are_completed_by_their_kind() {
        assert_eq!(completions("GET co"), (4, vec!["\"cold day\"".to_owned(), "color".to_owned()]));
        assert_eq!(completions("PUT fr"), (4, vec!["fruit ".to_owned()]));
        assert_eq!(completions("GET \"cold"), (4, vec!["\"cold day\"".to_owned()]));
        assert_eq!(completions("CRASH "), (6, ["primary ", "backup ", "1 ", "2 "].map(str::to_owned).to_vec()));
        assert_eq!(completions("PAUSE P"), (6, vec!["primary".to_owned()]));
        assert_eq!(completions("CUT "), (4, ["0 ", "1 ", "2 "].map(str::to_owned).to_vec()));
        assert_eq!(completions("CUT 1 2 "), (8, vec!["oneway".to_owned()]));
        assert_eq!(completions("help cu"), (5, vec!["CUT".to_owned()]));
        assert_eq!(completions("rule L"), (5, vec!["lease ".to_owned()]));
        assert_eq!(completions("RULE lease o"), (11, ["on", "off"].map(str::to_owned).to_vec()));
        assert_eq!(completions("GET color "), (10, vec![]));
        assert_eq!(completions("PUT color re"), (10, vec![]));
    }

    #[test]
    fn hints_show_what_is_missing() {
        assert_eq!(hint("PUT", 3).as_deref(), Some(" key value"));
        assert_eq!(hint("put ", 4).as_deref(), Some("key value"));
        assert_eq!(hint("put a", 5).as_deref(), Some(" value"));
        assert_eq!(hint("put a ", 6).as_deref(), Some("value"));
        assert_eq!(hint("put a b", 7), None);
        assert_eq!(hint("5 incr", 6).as_deref(), Some(" key"));
        assert_eq!(hint("put \"a b", 8).as_deref(), Some(" value"));
        assert_eq!(hint("put \"", 5).as_deref(), Some(" value"));
        assert_eq!(hint("cut 1 ", 6).as_deref(), Some("b [oneway]"));
        assert_eq!(hint("put a", 3), None);
        assert_eq!((hint("", 0), hint("5", 1), hint("wrong", 5), hint("count", 5)), (None, None, None, None));
    }

    /// The line with escape sequences.
    fn highlight(line: &str, palette: &Palette) -> String {
        spans(line, palette).iter().map(|span| palette.paint(span.style, span.text)).collect()
    }

    #[test]
    fn a_list_fills_the_rows() {
        let words = ["a", "bb", "ccc", "d", "e"].map(str::to_owned);
        assert_eq!(in_columns(&words, 12), "a    d\nbb   e\nccc");
        assert_eq!(in_columns(&words, 3), "a\nbb\nccc\nd\ne");
        assert_eq!(in_columns(&[], 80), "");
    }

    #[test]
    fn highlighting_tells_known_from_unknown() {
        let p = Palette::COLOR;
        assert_eq!(highlight("get a", &p), "\x1b[1;36mget\x1b[0m a");
        assert_eq!(highlight("gte a", &p), "\x1b[31mgte\x1b[0m a");
        assert_eq!(highlight("ge", &p), "ge");
        assert_eq!(highlight("5 get 'a b'", &p), "\x1b[33m5\x1b[0m \x1b[1;36mget\x1b[0m \x1b[32m'a b'\x1b[0m");
        assert_eq!(highlight("get 'a", &p), "\x1b[1;36mget\x1b[0m \x1b[32m'a\x1b[0m");
        assert_eq!(highlight("get 'a'b", &p), "\x1b[1;36mget\x1b[0m \x1b[31m'a'\x1b[0mb");
    }

    #[test]
    fn the_prompt_tells_the_state() {
        let knowledge = known();
        assert_eq!(state(&knowledge), "view 4 · primary 2");
        let mut picture = knowledge.picture();
        picture.servers[1].standing = Standing::Down;
        knowledge.set_picture(picture);
        assert_eq!(state(&knowledge), "view 4 · no primary");
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,30}", words in "[a-zA-Z'\"\\\\ 0-9ä]{0,24}") {
            let knowledge = known();
            for line in [&line, &words] {
                for pos in (0..=line.len()).filter(|pos| line.is_char_boundary(*pos)) {
                    let (start, _) = complete(line, pos, &knowledge);
                    prop_assert!(start <= pos && line.is_char_boundary(start));
                    let _ = hint(line, pos);
                }
                let styled = highlight(line, &Palette::COLOR);
                let plain = ["\x1b[1;36m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
                    .iter()
                    .fold(styled, |text, escape| text.replace(escape, ""));
                prop_assert_eq!(&plain, line);
            }
        }
    }
}
