//! Bytes into words, words into a [`CommandLine`].
//!
//! The words are split as redis-cli splits them:
//!
//! - words are separated by blanks;
//! - `"double quotes"` know `\n \r \t \b \a`, `\xHH` for any byte, and `\` before any other byte means
//!   that byte;
//! - `'single quotes'` know only `\'`; everything else stands for itself;
//! - a closing quote must be followed by a blank or the end of the line;
//! - outside quotes every byte stands for itself, also NUL and bytes that are no UTF-8.
//!
//! A line that starts with `#` is a comment. A number before a command repeats it.

use super::action::Action;
use super::table as commands;
use crate::core::protocol::Rank;
use crate::core::store::bytes::{is_shown, preview};
use std::fmt;

/// At most this often a command may be repeated by a number before it.
pub const REPEAT_MAX: u32 = 100_000;

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Where it starts in the line, in bytes, its opening quote included.
    pub start: usize,
    /// Where it ends, its closing quote included.
    pub end: usize,
    /// What it stands for: quotes and escapes are gone.
    pub bytes: Vec<u8>,
}

/// Why a line could not be split, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteError {
    /// The quote that was opened here is never closed.
    Unclosed { at: usize, quote: u8 },
    /// The closing quote before here is followed by something that is no blank.
    Adjacent { at: usize },
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unclosed { at, quote } => {
                let quote = char::from(quote);
                write!(f, "column {}: the quote {quote} is not closed: add a {quote} at the end of the word", at + 1)
            }
            Self::Adjacent { at } => write!(
                f,
                "column {}: a closing quote must be followed by a blank: put a blank there, or \\\" for a quote \
                 within quotes",
                at + 1
            ),
        }
    }
}

/// One line, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandLine {
    /// How often.
    pub times: u32,
    /// What.
    pub action: Action,
}

/// Splits a line as far as it can be split: what helps a person while typing needs the words of an
/// unfinished line as well. With an error, the last word is the one that the error is about.
#[must_use]
pub fn lex(line: &[u8]) -> (Vec<Token>, Option<QuoteError>) {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(start) = (at..line.len()).find(|&i| !is_blank(line[i])) {
        let (token, error) = lex_word(line, start);
        at = token.end;
        tokens.push(token);
        if error.is_some() {
            return (tokens, error);
        }
    }
    (tokens, None)
}

fn lex_word(line: &[u8], start: usize) -> (Token, Option<QuoteError>) {
    let mut bytes = Vec::new();
    let mut at = start;
    while let Some(&byte) = line.get(at) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' | b'\'' => {
                let Some(end) = lex_quoted(line, at, &mut bytes) else {
                    let token = Token { start, end: line.len(), bytes };
                    return (token, Some(QuoteError::Unclosed { at, quote: byte }));
                };
                let error = line.get(end).filter(|b| !is_blank(**b)).map(|_| QuoteError::Adjacent { at: end });
                return (Token { start, end, bytes }, error);
            }
            other => {
                bytes.push(other);
                at += 1;
            }
        }
    }
    (Token { start, end: at, bytes }, None)
}

/// Reads the quoted part that opens at `open`; answers where it ends, or `None` when it does not.
fn lex_quoted(line: &[u8], open: usize, bytes: &mut Vec<u8>) -> Option<usize> {
    let quote = line[open];
    let mut at = open + 1;
    loop {
        let byte = *line.get(at)?;
        let next = line.get(at + 1).copied();
        at += 1;
        match (byte, next) {
            (b'\\', Some(b'x')) if quote == b'"' && hex_pair(line.get(at + 1..at + 3)).is_some() => {
                bytes.push(hex_pair(line.get(at + 1..at + 3))?);
                at += 3;
            }
            (b'\\', Some(escaped)) if quote == b'"' => {
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 1;
            }
            (b'\\', Some(b'\'')) if quote == b'\'' => {
                bytes.push(b'\'');
                at += 1;
            }
            (closing, _) if closing == quote => return Some(at),
            (other, _) => bytes.push(other),
        }
    }
}

fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let &[high, low] = pair? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Splits a line into words.
///
/// # Errors
/// When a quote is not closed, or is closed in the middle of a word.
pub fn split(line: &[u8]) -> Result<Vec<Token>, QuoteError> {
    match lex(line) {
        (tokens, None) => Ok(tokens),
        (_, Some(error)) => Err(error),
    }
}

/// A word that [`split`] reads back as exactly these bytes: bare where that is possible, else in
/// double quotes.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let bare = !bytes.is_empty() && bytes[0] != b'#' && bytes.iter().all(|b| b.is_ascii_graphic());
    if bare && !bytes.iter().any(|b| matches!(b, b'"' | b'\'' | b'\\')) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    quote_always(bytes)
}

/// The bytes in double quotes, everything that a terminal would obey or not show escaped.
#[must_use]
pub fn quote_always(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\x08' => text.push_str("\\b"),
                '\x07' => text.push_str("\\a"),
                c if is_shown(c) => text.push(c),
                c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| push_hex(&mut text, b)),
            }
        }
        chunk.invalid().iter().for_each(|b| push_hex(&mut text, *b));
    }
    text.push('"');
    text
}

fn push_hex(text: &mut String, byte: u8) {
    use fmt::Write;
    write!(text, "\\x{byte:02x}").expect("writing to a String does not fail");
}

/// Reads one line. `None` for an empty line and for a comment.
///
/// # Errors
/// What is wrong with the line and how to write it, in words.
pub fn request(line: &[u8]) -> Result<Option<CommandLine>, String> {
    if line.iter().find(|b| !is_blank(**b)).is_none_or(|b| *b == b'#') {
        return Ok(None);
    }
    let mut words = split(line).map_err(|error| error.to_string())?;
    let times = take_repeat(&mut words)?;
    let name = words.remove(0);
    // `GET?`
    if let Some(topic) = name.bytes.strip_suffix(b"?").and_then(commands::find) {
        return Ok(Some(CommandLine { times: 1, action: explained(topic) }));
    }
    let spec = commands::find(&name.bytes).ok_or_else(|| unknown_command(&name.bytes))?;
    if spec.name == commands::AS && words.len() > 1 {
        return Ok(Some(CommandLine { times, action: asked_by_another(spec, words)? }));
    }
    let arguments: Vec<Vec<u8>> = words.into_iter().map(|word| word.bytes).collect();
    let asks = arguments == [b"?"];
    match spec.parse(arguments) {
        // `CRASH ?`; where a question mark is a key or a glob, it is that.
        Err(_) if asks => Ok(Some(CommandLine { times: 1, action: explained(spec) })),
        action => Ok(Some(CommandLine { times, action: action? })),
    }
}

/// `AS 3 GET color`: the words after `AS`.
fn asked_by_another(spec: &commands::CommandSpec, mut words: Vec<Token>) -> Result<Action, String> {
    let rank = String::from_utf8_lossy(&words.remove(0).bytes).into_owned();
    let client = rank.parse().map(Rank).map_err(|_| {
        format!("'{}' is no n: give the rank of a client; usage: {}", preview(rank.as_bytes(), 20), spec.usage())
    })?;
    let name = words.remove(0).bytes;
    let asked = commands::find(&name).ok_or_else(|| unknown_command(&name))?;
    match asked.parse(words.into_iter().map(|word| word.bytes).collect())? {
        Action::Data(command) => Ok(Action::As(client, command)),
        _ => Err(format!("a client asks for data, and {} is none: AS 3 GET color, say", asked.name)),
    }
}

fn explained(spec: &commands::CommandSpec) -> Action {
    Action::Help(Some(spec.name.to_owned()))
}

/// True for a word that repeats the command after it.
#[must_use]
pub fn is_repeat(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

fn take_repeat(words: &mut Vec<Token>) -> Result<u32, String> {
    if !is_repeat(&words[0].bytes) {
        return Ok(1);
    }
    let number = words.remove(0).bytes;
    let text = String::from_utf8_lossy(&number);
    if words.is_empty() {
        return Err(format!(
            "{} alone does nothing: a number repeats the command after it: 5 INCR key",
            preview(&number, 20)
        ));
    }
    match text.parse::<u32>() {
        Ok(times @ 1..=REPEAT_MAX) => Ok(times),
        _ => Err(format!("cannot repeat {} times: give a number from 1 to {REPEAT_MAX}", preview(&number, 20))),
    }
}

fn unknown_command(name: &[u8]) -> String {
    let shown = preview(name, 40);
    match commands::nearest(name) {
        Some(near) => format!("unknown command '{shown}': did you mean {near}? HELP lists all commands"),
        None => format!("unknown command '{shown}': HELP lists all commands"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &[u8]) -> Vec<Vec<u8>> {
        split(line).expect("the line is well formed").into_iter().map(|t| t.bytes).collect()
    }

    #[test]
    fn words_are_split_as_redis_cli_splits_them() {
        assert_eq!(words(b"  SET  a\tb \r\n"), [&b"SET"[..], b"a", b"b"]);
        assert_eq!(words(br#"SET k "a b\n\x41\"\q""#), [&b"SET"[..], b"k", b"a b\nA\"q"]);
        assert_eq!(words(br"SET k 'a \'b\n'"), [&b"SET"[..], b"k", br"a 'b\n"]);
        assert_eq!(words(br#"SET k """#), [&b"SET"[..], b"k", b""]);
        assert_eq!(words(br#"SET k foo"bar baz""#), [&b"SET"[..], b"k", b"foobar baz"]);
        assert_eq!(words(br#"a "\xZZ""#), [&b"a"[..], b"xZZ"]);
        assert_eq!(words(b"a \xff\x00"), [&b"a"[..], b"\xff\x00"]);
        assert_eq!(words(br"a \n"), [&b"a"[..], br"\n"]);
    }

    #[test]
    fn quotes_that_do_not_fit_name_their_column() {
        assert_eq!(split(b"PUT a \"b"), Err(QuoteError::Unclosed { at: 6, quote: b'"' }));
        assert_eq!(split(b"PUT 'a'b c"), Err(QuoteError::Adjacent { at: 7 }));
        assert!(QuoteError::Adjacent { at: 7 }.to_string().starts_with("column 8:"));
        assert_eq!(split(br#"PUT a "b\""#), Err(QuoteError::Unclosed { at: 6, quote: b'"' }));
    }

    #[test]
    fn numbers_repeat_and_comments_do_nothing() {
        assert_eq!(request(b"  # PUT a 1"), Ok(None));
        assert_eq!(request(b" \t"), Ok(None));
        assert_eq!(request(b"5 incr x").map(|r| r.map(|r| r.times)), Ok(Some(5)));
        for wrong in [&b"0 INCR x"[..], b"100001 INCR x", b"99999999999999999999 INCR x", b"5"] {
            assert!(request(wrong).is_err(), "{wrong:?}");
        }
        assert!(request(b"5 5 INCR x").unwrap_err().contains("unknown command '5'"));
    }

    #[test]
    fn an_unknown_command_is_met_with_the_nearest() {
        assert!(request(b"GTE a").unwrap_err().contains("did you mean GET?"));
        assert!(request(b"recovr").unwrap_err().contains("did you mean RECOVER?"));
        assert!(!request(b"xyzzyplugh").unwrap_err().contains("did you mean"));
        assert!(request(b"\"\"").unwrap_err().starts_with("unknown command ''"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line: Vec<u8>) {
            let _ = request(&line);
            let (tokens, _) = lex(&line);
            prop_assert!(tokens.iter().all(|t| t.start < t.end && t.end <= line.len()));
        }

        #[test]
        fn no_near_miss_panics(line in r#"[ 0-9]{0,2}(GET|PUT|CUT|LOSS|SLEEP|EVENTS|CRASH) ?[\\x'"a%. -]{0,12}"#) {
            let _ = request(line.as_bytes());
        }

        #[test]
        fn quoted_bytes_read_back(bytes: Vec<u8>) {
            for token in [quote(&bytes), quote_always(&bytes)] {
                prop_assert_eq!(words(token.as_bytes()), vec![bytes.clone()], "{}", token);
                prop_assert!(!token.chars().any(char::is_control));
            }
        }
    }
}
