//! What comes back, and its two ways of being written.
//!
//! On the prompt an answer shows its type, as redis-cli does on a terminal: a value in quotes, a number
//! as `(integer) 1`, a list numbered. In line mode it is raw, as redis-cli gives it to a pipe: the bytes
//! of the value alone.
//!
//! # Caveats
//!
//! The prompt shows the first [`SHOWN_BYTES_MAX`] bytes of a value and the first [`SHOWN_ITEMS_MAX`] keys
//! of a list, and says what it left out. Line mode leaves nothing out.

use super::ascii::ascii;
use crate::cluster::Executed;
use crate::core::protocol::Outcome;
use crate::core::store::bytes::preview;
use crate::core::store::{Bytes, KeyList, Reply};
use crate::ui::commands::parse::quote_always;

/// The prompt shows no more bytes of one value.
pub const SHOWN_BYTES_MAX: usize = 16 * 1024;
/// The prompt shows no more keys of one list.
pub const SHOWN_ITEMS_MAX: usize = 1000;

/// In short an answer has no more characters.
const IN_SHORT_CHARS_MAX: usize = 24;

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ok,
    /// Done, and this follows from it: for a person to read. A script gets the `OK` alone.
    Done(String),
    /// There is nothing, and nothing was changed.
    Nil,
    /// A value of the store.
    Value(Bytes),
    /// A number.
    Integer(i64),
    /// Keys.
    List(KeyList),
    /// Any other answer of the store.
    Data(Reply),
    /// Lines to read, without a newline at the end.
    Text(String),
    /// Refused: what and why.
    Error(String),
    /// No answer came in time: it may or may not have happened.
    Unknown,
    /// The console ends now.
    Quit,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done(Reply::Ok) => Self::Ok,
            Outcome::Done(Reply::Nil) => Self::Nil,
            Outcome::Done(Reply::Value(value)) => Self::Value(value),
            Outcome::Done(Reply::Integer(number)) => Self::Integer(number),
            Outcome::Done(Reply::Keys(keys)) => Self::List(keys),
            Outcome::Done(Reply::Error(error)) => Self::Error(error.to_string()),
            Outcome::Done(other) => Self::Data(other),
            Outcome::Unknown => Self::Unknown,
        }
    }
}

impl From<Executed> for Answer {
    fn from(executed: Executed) -> Self {
        executed.map_or_else(Self::Error, Self::from)
    }
}

impl From<Result<Option<String>, String>> for Answer {
    fn from(result: Result<Option<String>, String>) -> Self {
        result.map_or_else(Self::Error, |what| what.map_or(Self::Ok, Self::Done))
    }
}

impl From<Result<(), String>> for Answer {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Error, |()| Self::Ok)
    }
}

/// The escape sequences of the prompt, by what they are for.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// A value, a quoted word.
    pub value: &'static str,
    /// A number.
    pub number: &'static str,
    /// A refusal, an unknown command.
    pub error: &'static str,
    /// `(nil)`, `(unknown)`.
    pub absent: &'static str,
    /// What is there to help and can be overlooked.
    pub faint: &'static str,
    /// A known command.
    pub command: &'static str,
    /// The prompt.
    pub prompt: &'static str,
    /// Back to normal.
    pub end: &'static str,
    /// Nothing beyond ASCII.
    pub ascii: bool,
}

impl Palette {
    /// The sixteen colours that every theme of a dark terminal defines legibly.
    pub const COLOR: Palette = Palette {
        value: "\x1b[32m",
        number: "\x1b[33m",
        error: "\x1b[31m",
        absent: "\x1b[35m",
        faint: "\x1b[90m",
        command: "\x1b[1;36m",
        prompt: "\x1b[1m",
        end: "\x1b[0m",
        ascii: false,
    };
    /// For light ground, where a terminal's own yellow and cyan are often too pale: those of the light theme.
    pub const LIGHT: Palette = Palette {
        value: "\x1b[38;5;28m",
        number: "\x1b[38;5;130m",
        error: "\x1b[38;5;160m",
        absent: "\x1b[38;5;127m",
        faint: "\x1b[38;5;242m",
        command: "\x1b[1;38;5;25m",
        ..Self::COLOR
    };
    /// No colour: only bold and dim.
    pub const MONO: Palette = Palette {
        value: "",
        number: "",
        error: "",
        absent: "",
        faint: "\x1b[2m",
        command: "\x1b[1m",
        prompt: "\x1b[1m",
        end: "\x1b[0m",
        ascii: false,
    };

    /// Nothing but the text.
    pub const PLAIN: Palette = Palette {
        value: "",
        number: "",
        error: "",
        absent: "",
        faint: "",
        command: "",
        prompt: "",
        end: "",
        ascii: false,
    };

    /// The sign for what goes on where nobody sees it.
    #[must_use]
    pub const fn more(&self) -> &'static str {
        if self.ascii { "~" } else { "…" }
    }

    /// `text` in `style`; without any escape sequence when the style is empty.
    #[must_use]
    pub fn paint(&self, style: &str, text: &str) -> String {
        if style.is_empty() { text.to_owned() } else { format!("{style}{text}{}", self.end) }
    }
}

impl Answer {
    /// As line mode writes it, newline included.
    pub fn write_raw(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ok | Self::Done(_) => out.extend_from_slice(b"OK"),
            Self::Nil => out.extend_from_slice(b"(nil)"),
            Self::Value(value) => out.extend_from_slice(value),
            Self::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::List(keys) => out.extend_from_slice(&keys.join(b'\n')),
            Self::Data(reply) => write_lines(reply, out),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Error(why) => out.extend_from_slice(format!("(error) {why}").as_bytes()),
            Self::Unknown => out.extend_from_slice(b"(unknown)"),
            Self::Quit => return,
        }
        out.push(b'\n');
    }

    /// In a few letters, for the events.
    #[must_use]
    pub fn in_short(&self) -> String {
        let mut raw = Vec::new();
        self.write_raw(&mut raw);
        preview(raw.strip_suffix(b"\n").unwrap_or(&raw), IN_SHORT_CHARS_MAX)
    }

    /// As the prompt shows it, newline included.
    #[must_use]
    pub fn pretty(&self, palette: &Palette) -> String {
        let mut text = match self {
            Self::Ok => "OK".to_owned(),
            Self::Done(what) => format!("OK: {what}"),
            Self::Nil => palette.paint(palette.absent, "(nil)"),
            Self::Value(value) => pretty_value(value, palette),
            Self::Integer(number) => palette.paint(palette.number, &format!("(integer) {number}")),
            Self::List(keys) => pretty_list(keys, palette),
            Self::Data(reply) => pretty_reply(reply, palette, 0),
            Self::Text(text) => text.clone(),
            Self::Error(why) => palette.paint(palette.error, &format!("(error) {why}")),
            Self::Unknown => {
                let explained = "no answer came in time: it may or may not have happened; GET the key to see";
                format!("{} {explained}", palette.paint(palette.absent, "(unknown)"))
            }
            Self::Quit => return String::new(),
        };
        text.push('\n');
        text
    }

    /// The same with the console's own words in ASCII. Keys and values stay what they are: those are bytes.
    #[must_use]
    pub fn in_ascii(self) -> Self {
        match self {
            Self::Done(what) => Self::Done(ascii(&what)),
            Self::Text(text) => Self::Text(ascii(&text)),
            Self::Error(why) => Self::Error(ascii(&why)),
            other => other,
        }
    }
}

/// An element a line, as redis-cli gives it to a pipe.
fn write_lines(reply: &Reply, out: &mut Vec<u8>) {
    let line = |out: &mut Vec<u8>, at: usize, item: &Reply| {
        out.extend_from_slice(if at > 0 { b"\n" } else { b"" });
        match item {
            Reply::Nil | Reply::NilArray => {}
            item => write_lines(item, out),
        }
    };
    match reply {
        Reply::Value(value) | Reply::Status(value) => out.extend_from_slice(value),
        Reply::Array(items) | Reply::Set(items) => {
            items.iter().enumerate().for_each(|(at, item)| line(out, at, item));
        }
        Reply::Map(items) | Reply::Pairs(items) => {
            let flat = items.iter().flat_map(|(one, two)| [one, two]);
            flat.enumerate().for_each(|(at, item)| line(out, at, item));
        }
        Reply::Keys(keys) => out.extend_from_slice(&keys.join(b'\n')),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// As redis-cli shows it on a terminal: lists numbered, and what is in them moved to the right.
fn pretty_reply(reply: &Reply, palette: &Palette, indent: usize) -> String {
    let flat: Vec<&Reply> = match reply {
        Reply::Array(items) | Reply::Set(items) => items.iter().collect(),
        Reply::Map(items) | Reply::Pairs(items) => items.iter().flat_map(|(one, two)| [one, two]).collect(),
        Reply::Value(value) => return pretty_value(value, palette),
        Reply::Keys(keys) => return pretty_list(keys, palette),
        Reply::Nil | Reply::NilArray => return palette.paint(palette.absent, "(nil)"),
        Reply::Integer(number) => return palette.paint(palette.number, &format!("(integer) {number}")),
        Reply::Double(number) => return palette.paint(palette.number, &format!("(double) {number}")),
        Reply::Error(error) => return palette.paint(palette.error, &format!("(error) {error}")),
        Reply::Ok | Reply::Status(_) => return reply.to_string(),
    };
    if flat.is_empty() {
        return palette.paint(palette.faint, "(empty list)");
    }
    let shown = flat.len().min(SHOWN_ITEMS_MAX);
    let digits = shown.to_string().len();
    let inner = indent + digits + 2;
    let mut text = String::new();
    for (at, item) in flat.iter().take(shown).enumerate() {
        if at > 0 {
            text.push_str(&format!("\n{}", " ".repeat(indent)));
        }
        text.push_str(&format!("{:>digits$}) {}", at + 1, pretty_reply(item, palette, inner)));
    }
    if shown < flat.len() {
        let rest = format!("{} and {} more (line mode gives them all)", palette.more(), flat.len() - shown);
        text.push_str(&format!("\n{}", palette.paint(palette.faint, &rest)));
    }
    text
}

/// In quotes; under `ascii` every byte beyond it is escaped, as redis-cli has it.
fn quoted(bytes: &[u8], palette: &Palette) -> String {
    let text = quote_always(bytes);
    if !palette.ascii || text.is_ascii() {
        return text;
    }
    let escaped = |c: char| match c {
        c if c.is_ascii() => c.to_string(),
        c => c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
    };
    text.chars().map(escaped).collect()
}

fn pretty_value(value: &Bytes, palette: &Palette) -> String {
    if value.len() <= SHOWN_BYTES_MAX {
        return palette.paint(palette.value, &quoted(value, palette));
    }
    let head = palette.paint(palette.value, &quoted(&value[..SHOWN_BYTES_MAX], palette));
    let more = palette.more();
    let rest = format!("{more} the first {SHOWN_BYTES_MAX} of {} bytes (line mode gives them all)", value.len());
    format!("{head}\n{}", palette.paint(palette.faint, &rest))
}

fn pretty_list(keys: &KeyList, palette: &Palette) -> String {
    if keys.is_empty() {
        return palette.paint(palette.faint, "(empty list)");
    }
    let shown = keys.len().min(SHOWN_ITEMS_MAX);
    let digits = shown.to_string().len();
    let line = |(i, key): (usize, &[u8])| {
        format!("{:>digits$}) {}", i + 1, palette.paint(palette.value, &quoted(key, palette)))
    };
    let mut lines: Vec<_> = keys.iter().take(shown).enumerate().map(line).collect();
    if shown < keys.len() {
        let more = palette.more();
        let rest = format!("{more} and {} more (KEYS with a narrower glob, or COUNT)", keys.len() - shown);
        lines.push(palette.paint(palette.faint, &rest));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Palette = Palette::PLAIN;

    fn raw(answer: &Answer) -> Vec<u8> {
        let mut out = Vec::new();
        answer.write_raw(&mut out);
        out
    }

    #[test]
    fn line_mode_gives_the_bytes_alone() {
        assert_eq!(raw(&Answer::Value(b"a\n\xff".as_slice().into())), b"a\n\xff\n");
        assert_eq!(raw(&Answer::Done("and all is lost".into())), b"OK\n");
        assert_eq!(raw(&Answer::Nil), b"(nil)\n");
        assert_eq!(raw(&Answer::Integer(-7)), b"-7\n");
        assert_eq!(raw(&Answer::List(["a", "b c"].iter().collect())), b"a\nb c\n");
        assert_eq!(raw(&Answer::List(KeyList::default())), b"\n");
        assert_eq!(raw(&Answer::Error("no".into())), b"(error) no\n");
        assert_eq!(raw(&Answer::Unknown), b"(unknown)\n");
        assert_eq!(raw(&Answer::Quit), b"");
    }

    #[test]
    fn the_prompt_shows_types() {
        assert_eq!(Answer::Value("1".into()).pretty(&PLAIN), "\"1\"\n");
        assert_eq!(Answer::Value(b"a\x1b[2J\xff\"".as_slice().into()).pretty(&PLAIN), "\"a\\x1b[2J\\xff\\\"\"\n");
        assert_eq!(Answer::Done("and all is lost".into()).pretty(&PLAIN), "OK: and all is lost\n");
        assert_eq!(Answer::Integer(1).pretty(&PLAIN), "(integer) 1\n");
        assert_eq!(Answer::Nil.pretty(&PLAIN), "(nil)\n");
        assert_eq!(Answer::List(["k", "l"].iter().collect()).pretty(&PLAIN), "1) \"k\"\n2) \"l\"\n");
        assert!(Answer::Unknown.pretty(&PLAIN).starts_with("(unknown) no answer"));
        assert_eq!(Answer::Nil.pretty(&Palette::COLOR), "\x1b[35m(nil)\x1b[0m\n");
    }

    #[test]
    fn in_ascii_the_words_change_and_the_bytes_do_not() {
        let ascii = Palette { ascii: true, ..PLAIN };
        assert_eq!(Answer::Value("Köln".into()).pretty(&ascii), "\"K\\xc3\\xb6ln\"\n");
        assert_eq!(Answer::Value("Köln".into()).in_ascii(), Answer::Value("Köln".into()));
        assert_eq!(Answer::Text("a · b".into()).in_ascii(), Answer::Text("a | b".into()));
        assert_eq!(Answer::Error("no ä".into()).in_ascii(), Answer::Error("no \\u{e4}".into()));
    }

    #[test]
    fn the_prompt_says_what_it_leaves_out() {
        let long = Answer::Value(vec![b'x'; 1 << 20].into()).pretty(&PLAIN);
        assert!(long.len() < SHOWN_BYTES_MAX + 100 && long.contains("of 1048576 bytes"), "{}", long.len());
        let many = Answer::List((0..5000).map(|i| i.to_string()).collect()).pretty(&PLAIN);
        assert_eq!(many.lines().count(), SHOWN_ITEMS_MAX + 1);
        assert!(many.contains("and 4000 more") && many.starts_with("   1) \"0\"\n"));
    }
}
