//! Keys in, keys out: what a terminal says of its own accord is no key.
//!
//! A terminal answers questions that somebody asked it (another program, before this one was started, or over a slow
//! line), and it reports what nobody asked for: `ESC [ ? 6 2 c`, `ESC ] 11 ; rgb:0/0/0 BEL`, `ESC P … ESC \`,
//! `ESC [ 27 ; 5 ; 13 ~`. A line editor that does not know a sequence takes its beginning for a key and the rest for
//! text, which then stands in front of the next command. So the editor gets only what it knows: text, control
//! characters, and the sequences of keys.
//!
//! # Caveats
//!
//! Alt with one of `[ ] P X ^ _ O` begins like such a sequence. What follows within [`REST_MAX`] is swallowed with it.
//! A paste goes through as it is, whatever it contains.
//!
//! Alt with a control character and Escape before it are the same bytes. It is Alt where the editor has such a key
//! (Ctrl-Alt-G, Ctrl-Alt-], Alt-Backspace); all others are two keys, and the second one follows after [`APART`], since
//! the editor tells them apart by time alone. So Escape and Ctrl-D leave a page and then the program, even when a
//! script or a slow line brings both at once.

use std::time::Duration;

/// The rest of a sequence comes within this long, or it was none.
pub const REST_MAX: Duration = Duration::from_millis(250);
/// After a lone Escape: nothing more comes after this long.
pub const ESCAPE_MAX: Duration = Duration::from_millis(50);
/// An Escape and a control character are kept this far apart: longer than the editor waits for the rest of a sequence.
pub const APART: Duration = Duration::from_millis(150);
/// No sequence of a key is longer.
const SEQUENCE_BYTES_MAX: usize = 32;
/// No more than this waits behind an Escape; the rest is dropped.
const APART_BYTES_MAX: usize = 64 << 10;
/// No answer of a terminal is longer.
const STRING_BYTES_MAX: usize = 64 << 10;

const BELL: u8 = 0x07;
const ESCAPE: u8 = 0x1b;
/// Bell, both that Backspace sends, and Ctrl-]: with Alt they are keys of the editor.
const ALT_CONTROLS: [u8; 4] = [BELL, 0x08, 0x7f, 0x1d];
const PASTE_END: &[u8] = b"\x1b[201~";

/// Lets keys through, byte by byte.
#[derive(Debug, Default)]
pub struct Sieve {
    state: SieveState,
    /// What has come of a sequence whose end has not, or of what shall not come yet.
    held: Vec<u8>,
    /// How much of a string has been swallowed.
    swallowed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum SieveState {
    #[default]
    Text,
    /// After `ESC`.
    Escape,
    /// After an Escape that was a key: what follows has to wait.
    Apart,
    /// After `ESC [`.
    Sequence,
    /// After `ESC [ [`: the function keys of the Linux console.
    Console,
    /// After `ESC O`.
    Shift,
    /// After `ESC ]`, `ESC P` and the like: everything up to its end is one answer.
    String,
    /// An Escape within that: perhaps its end.
    StringEscape,
    /// Between `ESC [ 200 ~` and `ESC [ 201 ~`.
    Paste,
}

impl Sieve {
    /// Takes in what the terminal sends; `keys` gets what a person typed.
    pub fn feed(&mut self, bytes: &[u8], keys: &mut Vec<u8>) {
        for byte in bytes {
            self.take(*byte, keys);
        }
    }

    /// How long to wait for the rest of what has begun; `None` when nothing has.
    #[must_use]
    pub fn waits(&self) -> Option<Duration> {
        match self.state {
            SieveState::Text | SieveState::Paste => None,
            SieveState::Escape => Some(ESCAPE_MAX),
            SieveState::Apart => Some(APART),
            _ => Some(REST_MAX),
        }
    }

    /// The rest has not come: a lone Escape was a key, anything else was not. What had to wait has done so.
    pub fn give_up(&mut self, keys: &mut Vec<u8>) {
        match self.state {
            SieveState::Escape => keys.push(ESCAPE),
            SieveState::Apart => {
                let waited = std::mem::take(&mut self.held);
                self.end();
                return self.feed(&waited, keys);
            }
            _ => {}
        }
        self.end();
    }

    fn end(&mut self) {
        self.state = SieveState::Text;
        self.held.clear();
        self.swallowed = 0;
    }

    fn pass(&mut self, keys: &mut Vec<u8>) {
        keys.append(&mut self.held);
        self.end();
    }

    fn take(&mut self, byte: u8, keys: &mut Vec<u8>) {
        match self.state {
            SieveState::Text if byte == ESCAPE => {
                self.held.push(byte);
                self.state = SieveState::Escape;
            }
            SieveState::Text => keys.push(byte),
            SieveState::Escape => self.after_escape(byte, keys),
            SieveState::Apart if self.held.len() < APART_BYTES_MAX => self.held.push(byte),
            SieveState::Apart => {}
            SieveState::Sequence => self.in_sequence(byte, keys),
            SieveState::Console | SieveState::Shift => {
                self.held.push(byte);
                let is_key = match self.state {
                    SieveState::Console => byte.is_ascii_uppercase(),
                    _ => matches!(byte, b'A'..=b'D' | b'F' | b'H' | b'M' | b'P'..=b'S'),
                };
                if is_key {
                    self.pass(keys);
                } else {
                    self.end();
                }
            }
            SieveState::String => self.in_string(byte, keys),
            SieveState::StringEscape if byte == b'\\' => self.end(),
            SieveState::StringEscape => {
                self.end();
                self.held.push(ESCAPE);
                self.state = SieveState::Escape;
                self.take(byte, keys);
            }
            SieveState::Paste => {
                keys.push(byte);
                if self.ends_paste(byte) {
                    self.end();
                }
            }
        }
    }

    fn after_escape(&mut self, byte: u8, keys: &mut Vec<u8>) {
        self.state = match byte {
            b'[' => SieveState::Sequence,
            b'O' => SieveState::Shift,
            b']' | b'P' | b'X' | b'^' | b'_' => SieveState::String,
            ESCAPE => {
                // Some terminals send Alt with an arrow as two of them; the editor knows that.
                self.held.clear();
                keys.push(ESCAPE);
                SieveState::Escape
            }
            _ if byte.is_ascii_control() && !ALT_CONTROLS.contains(&byte) => {
                self.held.clear();
                keys.push(ESCAPE);
                SieveState::Apart
            }
            _ => {
                self.held.push(byte);
                self.pass(keys);
                return;
            }
        };
        self.held.push(byte);
    }

    fn in_sequence(&mut self, byte: u8, keys: &mut Vec<u8>) {
        match byte {
            b'[' if self.held.len() == 2 => {
                self.held.push(byte);
                self.state = SieveState::Console;
            }
            0x20..=0x3f if self.held.len() < SEQUENCE_BYTES_MAX => self.held.push(byte),
            0x40..=0x7e => {
                let is_key = is_key(&self.held[2..], byte);
                self.held.push(byte);
                let pastes = self.held == b"\x1b[200~";
                if is_key {
                    self.pass(keys);
                } else {
                    self.end();
                }
                if pastes {
                    self.state = SieveState::Paste;
                }
            }
            // Whatever this was, it ends here, and a key was pressed.
            _ => {
                self.end();
                self.take(byte, keys);
            }
        }
    }

    fn in_string(&mut self, byte: u8, keys: &mut Vec<u8>) {
        self.swallowed += 1;
        match byte {
            BELL => self.end(),
            ESCAPE => self.state = SieveState::StringEscape,
            // No answer has these in it: somebody is typing.
            b'\r' | 0x03 | 0x04 => {
                self.end();
                self.take(byte, keys);
            }
            _ if self.swallowed > STRING_BYTES_MAX => self.end(),
            _ => {}
        }
    }

    /// The end of a paste may come in pieces: its last bytes are kept in `held`.
    fn ends_paste(&mut self, byte: u8) -> bool {
        self.held.push(byte);
        if !PASTE_END.starts_with(&self.held) {
            self.held.clear();
            if byte == ESCAPE {
                self.held.push(byte);
            }
        }
        self.held == PASTE_END
    }
}

/// Whether `ESC [ parameters last` is a key that the editor knows.
fn is_key(parameters: &[u8], last: u8) -> bool {
    let Ok(text) = std::str::from_utf8(parameters) else { return false };
    let numbers: Vec<&str> = text.split(';').collect();
    let is_modifier = |number: &&str| matches!(number.parse::<u8>(), Ok(2..=16));
    match (last, numbers.as_slice()) {
        (b'A'..=b'D' | b'F' | b'H' | b'P' | b'Q' | b'S' | b'Z' | b'a'..=b'd', [""]) => true,
        (b'A'..=b'D' | b'F' | b'H' | b'P' | b'Q' | b'S', ["1", modifier]) => is_modifier(modifier),
        (b'~', [number]) => is_numbered_key(number),
        (b'~', [number, modifier]) => is_numbered_key(number) && is_modifier(modifier),
        _ => false,
    }
}

/// Home, Insert, Delete, End, Page Up and Down, the function keys, and the ends of a paste.
fn is_numbered_key(number: &str) -> bool {
    matches!(number.parse::<u8>(), Ok(1..=8 | 11..=15 | 17..=21 | 23..=26 | 28 | 29 | 31..=34 | 200 | 201))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> String {
        let (mut sieve, mut keys) = (Sieve::default(), Vec::new());
        sieve.feed(bytes, &mut keys);
        finish(&mut sieve, &mut keys);
        String::from_utf8_lossy(&keys).into_owned()
    }

    fn finish(sieve: &mut Sieve, keys: &mut Vec<u8>) {
        while sieve.waits().is_some() {
            sieve.give_up(keys);
        }
    }

    #[test]
    fn what_a_terminal_answers_late_is_swallowed() {
        for answer in [
            "\x1b[?62c",
            "\x1b[?1;2c",
            "\x1b[>0;276;0c",
            "\x1b]11;rgb:00/00\x07",
            "\x1b]11;rgb:0000/0000/0000\x1b\\",
            "\x1bP1+r436f=323536\x1b\\",
            "\x1bP!|00000000\x1b\\",
            "\x1b[27;5;13~",
            "\x1b[24;80R",
            "\x1b[13;5u",
            "\x1b[?2026;2$y",
            "\x1b[I",
            "\x1b[O",
            "\x1b[<0;12;7M",
            "\x1b_Gi=31;OK\x1b\\",
            "\x1b[8;24;80t",
        ] {
            assert_eq!(keys(format!("GET {answer}a").as_bytes()), "GET a", "{answer:?}");
        }
    }

    #[test]
    fn keys_pass_as_they_are() {
        for key in [
            "\x1b[A",
            "\x1bOB",
            "\x1b[1;5C",
            "\x1b[H",
            "\x1b[3~",
            "\x1b[5~",
            "\x1b[15~",
            "\x1b[3;5~",
            "\x1bOP",
            "\x1b[[E",
            "\x1b[Z",
            "\x1bb",
            "\x1b\x7f",
            "\x1b\x1b[A",
            "\x1b",
            "\x18c",
            "ä",
            "\x03",
            "\x1b[1;2P",
        ] {
            assert_eq!(keys(key.as_bytes()), key);
        }
    }

    #[test]
    fn an_escape_and_a_control_character_are_two_keys() {
        for (typed, first, then) in [
            ("\x1b\x04", "\x1b", "\x04"),
            ("\x1b\rGET a\r", "\x1b", "\rGET a\r"),
            ("a\x1b\x18s\x1b[A", "a\x1b", "\x18s\x1b[A"),
            ("\x1b\x1b\x04", "\x1b\x1b", "\x04"),
            ("\x1b\x04\x1b\x04", "\x1b", "\x04\x1b"),
            ("\x1b\x07", "\x1b\x07", ""),
            ("\x1b\x1d", "\x1b\x1d", ""),
        ] {
            let (mut sieve, mut keys) = (Sieve::default(), Vec::new());
            sieve.feed(typed.as_bytes(), &mut keys);
            assert_eq!(String::from_utf8_lossy(&keys), first, "{typed:?}");
            assert_eq!(sieve.waits(), (!then.is_empty()).then_some(APART), "{typed:?}");
            keys.clear();
            sieve.give_up(&mut keys);
            assert_eq!(String::from_utf8_lossy(&keys), then, "{typed:?}");
        }
    }

    #[test]
    fn a_paste_passes_whatever_it_contains() {
        let paste = "\x1b[200~PUT a \x1b[?62c\x1b]0;x\x07\x1b[201~";
        assert_eq!(keys(paste.as_bytes()), paste);
        assert_eq!(keys(format!("{paste}\x1b[?62cb").as_bytes()), format!("{paste}b"));
    }

    #[test]
    fn who_types_is_not_swallowed_for_long() {
        let (mut sieve, mut keys) = (Sieve::default(), Vec::new());
        sieve.feed(b"\x1b]GET", &mut keys);
        assert_eq!((sieve.waits(), keys.len()), (Some(REST_MAX), 0));
        sieve.give_up(&mut keys);
        sieve.feed(b"GET a", &mut keys);
        assert_eq!((sieve.waits(), keys.as_slice()), (None, &b"GET a"[..]));
        sieve.feed(b"\x1bPx\r", &mut keys);
        assert!(keys.ends_with(b"a\r"));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_they_come(
            bytes in prop::collection::vec(
                prop_oneof![Just(0x1b_u8), Just(b'['), Just(b']'), Just(b';'), any::<u8>()],
                0..40,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = keys(&bytes);
            let (mut sieve, mut pieces) = (Sieve::default(), Vec::new());
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            sieve.feed(first, &mut pieces);
            let mut later = Vec::new();
            sieve.feed(second, &mut later);
            finish(&mut sieve, &mut later);
            pieces.append(&mut later);
            prop_assert_eq!(String::from_utf8_lossy(&pieces).into_owned(), whole);
        }

        #[test]
        fn text_passes(text in "[ -~äöü\r\t]{0,40}") {
            prop_assert_eq!(keys(text.as_bytes()), text);
        }
    }
}
