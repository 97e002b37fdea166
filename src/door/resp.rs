//! RESP: requests in, replies out, both as plain values.
//!
//! A request is an array of bulk strings, or a line of words with quotes as a person types it into telnet. Bytes come
//! in as the network delivers them; [`Parser::take_next`] gives one whole request after the other. A client that
//! breaks the protocol is told so in Redis' own words, and then nothing more is understood of it.
//!
//! Replies are written by a [`Writer`] that knows the version: what RESP2 has no word for (maps, sets, doubles, null)
//! becomes what Redis makes of it there.

use crate::core::store::Bytes;
use std::fmt;

/// A line (an inline request, or a length) is no longer than this, in bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// The most arguments of a request.
pub const ARGUMENTS_MAX: usize = 1 << 20;
/// The longest argument, in bytes: what is longer than a value may be is refused with words as long as it fits here.
pub const BULK_BYTES_MAX: usize = 16 << 20;
/// A request has no more than this many bytes in all.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;
/// The most arguments of a request before the password was given.
pub const STRANGER_ARGUMENTS_MAX: usize = 10;
/// The longest argument before the password was given, in bytes.
pub const STRANGER_BULK_BYTES_MAX: usize = 16 << 10;
/// Room for this many arguments is made on the word of the client alone.
const ARGUMENTS_TRUSTED: usize = 64;
/// A parser that has nothing left to read keeps this much room.
const ROOM_KEPT_BYTES: usize = 4 << 10;

/// How a client broke the protocol: the end of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// A line without an end.
    InlineTooLong,
    /// A quote that is not closed.
    UnbalancedQuotes,
    /// The number of arguments does not end.
    CountLineTooLong,
    /// The number of arguments is none, or too large.
    InvalidCount,
    /// Too many arguments for somebody who has not given the password.
    StrangerCount,
    /// The length of an argument does not end.
    LengthLineTooLong,
    /// Something else than an argument.
    ExpectedBulk(u8),
    /// The length of an argument is none, or too large.
    InvalidLength,
    /// An argument too long for somebody who has not given the password.
    StrangerLength,
    /// All arguments together are too long.
    RequestTooLong,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::CountLineTooLong => f.write_str("too big mbulk count string"),
            Self::InvalidCount => f.write_str("invalid multibulk length"),
            Self::StrangerCount => f.write_str("unauthenticated multibulk length"),
            Self::LengthLineTooLong => f.write_str("too big bulk count string"),
            Self::ExpectedBulk(got) => {
                let got = if got.is_ascii_control() { ' ' } else { char::from(*got) };
                write!(f, "expected '$', got '{got}'")
            }
            Self::InvalidLength => f.write_str("invalid bulk length"),
            Self::StrangerLength => f.write_str("unauthenticated bulk length"),
            Self::RequestTooLong => write!(f, "a request of more than {REQUEST_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Bytes in, requests out.
#[derive(Debug, Clone, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// Everything before this has been understood.
    at: usize,
    /// In the line that begins there, no end was found up to here.
    searched: usize,
    /// How many arguments of the request are still missing.
    missing: usize,
    /// The length of the argument that is being read.
    length: Option<usize>,
    arguments: Vec<Bytes>,
    /// Bytes of `arguments`.
    gathered: usize,
    broken: bool,
    /// The password has been given, or none is needed.
    pub trusted: bool,
}

impl Parser {
    /// Nothing has arrived yet.
    #[must_use]
    pub fn new(trusted: bool) -> Self {
        Self { trusted, ..Self::default() }
    }

    /// Takes in what has arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.searched = self.searched.saturating_sub(self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait for the rest of a request.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() - self.at + self.gathered
    }

    /// Room that is occupied.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        self.buffer.capacity() + self.gathered
    }

    /// Gives back all room that is not needed.
    pub fn shrink(&mut self) {
        if self.at == self.buffer.len() {
            (self.buffer, self.at, self.searched) = (Vec::new(), 0, 0);
        }
    }

    /// The next whole request, if it has arrived; never an empty one.
    ///
    /// # Errors
    /// When the client does not speak this protocol: nothing more will be understood.
    pub fn take_next(&mut self) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        if self.broken {
            return Ok(None);
        }
        let result = self.try_next();
        if result.is_err() {
            *self = Self { broken: true, trusted: self.trusted, ..Self::default() };
        } else if self.at == self.buffer.len() {
            self.buffer.clear();
            (self.at, self.searched) = (0, 0);
            if self.buffer.capacity() > ROOM_KEPT_BYTES {
                self.buffer = Vec::new();
            }
        }
        result
    }

    fn try_next(&mut self) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        while self.missing == 0 {
            match self.buffer.get(self.at) {
                None => return Ok(None),
                Some(b'*') => {
                    let Some(line) = self.line(ProtocolError::CountLineTooLong)? else { return Ok(None) };
                    let count = number(&self.buffer[line.0 + 1..line.1]).ok_or(ProtocolError::InvalidCount)?;
                    if count > ARGUMENTS_MAX as i64 {
                        return Err(ProtocolError::InvalidCount);
                    }
                    if !self.trusted && count > STRANGER_ARGUMENTS_MAX as i64 {
                        return Err(ProtocolError::StrangerCount);
                    }
                    // Nothing is asked: that is allowed, and answered with nothing.
                    self.missing = usize::try_from(count).unwrap_or(0);
                    self.arguments = Vec::with_capacity(self.missing.min(ARGUMENTS_TRUSTED));
                }
                Some(_) => {
                    let Some(line) = self.line(ProtocolError::InlineTooLong)? else { return Ok(None) };
                    let words = words(&self.buffer[line.0..line.1]).ok_or(ProtocolError::UnbalancedQuotes)?;
                    if !words.is_empty() {
                        return Ok(Some(words));
                    }
                }
            }
        }
        while self.missing > 0 {
            if !self.bulk()? {
                return Ok(None);
            }
        }
        self.gathered = 0;
        Ok(Some(std::mem::take(&mut self.arguments)))
    }

    /// Reads one argument; false when it has not arrived.
    fn bulk(&mut self) -> Result<bool, ProtocolError> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(line) = self.line(ProtocolError::LengthLineTooLong)? else { return Ok(false) };
                if self.buffer[line.0] != b'$' {
                    return Err(ProtocolError::ExpectedBulk(self.buffer[line.0]));
                }
                let length = number(&self.buffer[line.0 + 1..line.1]).and_then(|length| usize::try_from(length).ok());
                let length = length.filter(|length| *length <= BULK_BYTES_MAX).ok_or(ProtocolError::InvalidLength)?;
                if !self.trusted && length > STRANGER_BULK_BYTES_MAX {
                    return Err(ProtocolError::StrangerLength);
                }
                if self.gathered + length > REQUEST_BYTES_MAX {
                    return Err(ProtocolError::RequestTooLong);
                }
                *self.length.insert(length)
            }
        };
        let end = self.at + length;
        // What follows it is passed over unseen, as Redis does.
        if self.buffer.len() < end + 2 {
            return Ok(false);
        }
        self.arguments.push(Bytes::from(&self.buffer[self.at..end]));
        self.gathered += length;
        (self.at, self.searched) = (end + 2, end + 2);
        (self.length, self.missing) = (None, self.missing - 1);
        Ok(true)
    }

    /// Where the next line begins and ends, if it has arrived whole; it counts as read then.
    fn line(&mut self, too_long: ProtocolError) -> Result<Option<(usize, usize)>, ProtocolError> {
        let (start, searched) = (self.at, self.searched.max(self.at));
        let Some(found) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            let long = self.buffer.len() - start > LINE_BYTES_MAX;
            // Who does not begin an argument now never will.
            let other = self.missing > 0 && self.buffer.get(start).is_some_and(|first| *first != b'$');
            return match () {
                () if long => Err(too_long),
                () if other => Err(ProtocolError::ExpectedBulk(self.buffer[start])),
                () => Ok(None),
            };
        };
        let newline = searched + found;
        (self.at, self.searched) = (newline + 1, newline + 1);
        let end = if newline > start && self.buffer[newline - 1] == b'\r' { newline - 1 } else { newline };
        if end - start > LINE_BYTES_MAX {
            return Err(too_long);
        }
        if start == end && self.missing > 0 {
            return Err(ProtocolError::ExpectedBulk(b'\r'));
        }
        Ok(Some((start, end)))
    }
}

/// A decimal number as the protocol writes them: no blanks, no plus, no leading zeros.
fn number(digits: &[u8]) -> Option<i64> {
    let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
    let plain = unsigned.first()?.is_ascii_digit() && (unsigned.len() == 1 || unsigned[0] != b'0');
    if !plain || digits == b"-0" {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The words of a line, with quotes and escapes; `None` when a quote is not closed.
fn words(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[blanks..];
        // A zero ends a line for Redis.
        if rest.first().is_none_or(|byte| *byte == 0) {
            return Some(words);
        }
        let (word, behind) = word(rest)?;
        words.push(word.into());
        rest = behind;
    }
}

/// What C's `isspace` calls a space.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The first word of a text that begins with one, and what follows it.
fn word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut word, mut at) = (Vec::new(), 0);
    // A vertical tab or a form feed inside a word belongs to it; between words it is a blank.
    while text.get(at).is_some_and(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0)) {
        match text[at] {
            quote @ (b'"' | b'\'') => {
                at += 1;
                loop {
                    match (*text.get(at)?, text.get(at + 1)) {
                        (0, _) => return None,
                        (byte, _) if byte == quote => break,
                        (b'\\', Some(b'\'')) if quote == b'\'' => {
                            word.push(b'\'');
                            at += 2;
                        }
                        (b'\\', Some(escaped)) if quote == b'"' => {
                            let (byte, length) = unescaped(*escaped, &text[at + 2..]);
                            word.push(byte);
                            at += length;
                        }
                        (byte, _) => {
                            word.push(byte);
                            at += 1;
                        }
                    }
                }
                at += 1;
                // A closing quote ends the word.
                let ends = text.get(at).is_none_or(|byte| is_blank(*byte) || *byte == 0);
                return ends.then_some((word, &text[at..]));
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
    Some((word, &text[at..]))
}

/// The byte that a backslash and `escaped` mean, and how many bytes that takes in all.
fn unescaped(escaped: u8, behind: &[u8]) -> (u8, usize) {
    let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    match escaped {
        b'x' => match (digit(0), digit(1)) {
            (Some(high), Some(low)) => ((high * 16 + low) as u8, 4),
            _ => (b'x', 2),
        },
        b'n' => (b'\n', 2),
        b'r' => (b'\r', 2),
        b't' => (b'\t', 2),
        b'b' => (0x08, 2),
        b'a' => (0x07, 2),
        other => (other, 2),
    }
}

/// Which version of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Version {
    /// Until it says otherwise.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Version {
    /// As `HELLO` says it.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Writes replies.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// What the reader understands.
    pub version: Version,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, version: Version) -> Self {
        Self { out, version }
    }

    fn is_3(&self) -> bool {
        self.version == Version::Resp3
    }

    fn head(&mut self, kind: u8, number: i64) {
        self.out.push(kind);
        self.decimal(number);
        self.out.extend_from_slice(b"\r\n");
    }

    fn decimal(&mut self, number: i64) {
        // The digits from behind; 20 are enough for every 64-bit number.
        let (mut digits, mut at, mut rest) = ([0; 20], 20, number.unsigned_abs());
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            self.out.push(b'-');
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.out.push(kind);
        // A line end in it would be taken for the end of the reply.
        self.out.extend(text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// A word, such as `OK`.
    pub fn simple(&mut self, word: &str) {
        self.line(b'+', word);
    }

    /// `OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error: a word in capitals, and a sentence.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text);
    }

    /// A number.
    pub fn integer(&mut self, number: i64) {
        self.head(b':', number);
    }

    /// Any bytes.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.head(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Text for people.
    pub fn verbatim(&mut self, text: &str) {
        if self.is_3() {
            self.head(b'=', text.len() as i64 + 4);
            self.out.extend_from_slice(b"txt:");
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// There is no such thing.
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.is_3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// There is no such array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.is_3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// A number with a fraction, in its shortest digits (`text`).
    pub fn double(&mut self, text: &str) {
        if self.is_3() { self.line(b',', text) } else { self.bulk(text) }
    }

    /// This many things follow, in order.
    pub fn array(&mut self, count: usize) {
        self.head(b'*', count as i64);
    }

    /// This many pairs follow.
    pub fn map(&mut self, pairs: usize) {
        if self.is_3() { self.head(b'%', pairs as i64) } else { self.head(b'*', pairs as i64 * 2) }
    }

    /// This many different things follow, in no order.
    pub fn set(&mut self, count: usize) {
        self.head(if self.is_3() { b'~' } else { b'*' }, count as i64);
    }

    /// This many things follow that nobody has asked for.
    pub fn push(&mut self, count: usize) {
        self.head(if self.is_3() { b'>' } else { b'*' }, count as i64);
    }

    /// What was written elsewhere.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}
