//! The glob of a `KEYS`: Redis' own, over bytes.
//!
//! | piece | matches |
//! |---|---|
//! | `*` | any bytes, also none |
//! | `?` | any one byte |
//! | `[a-z_]` | one byte of the class; the ends of a range may stand either way round |
//! | `[^a]` | one byte that is not of the class |
//! | `\x` | the byte `x` itself, in a class as well |
//!
//! Everything else stands for itself, and no glob is wrong: a class that is not closed ends with the glob, and a `\`
//! at the very end is a backslash. As in Redis `]` always closes a class (`[]a]` is a class of nothing, then `a]`),
//! and a range takes what follows its `-`, whatever that is: `[a-]` is not closed.
//!
//! # Caveats
//!
//! A byte beyond 127 counts as such; in Redis that depends on the machine. Names are bytes here: `?` does not match
//! a letter of two bytes.

use super::Bytes;

/// A glob, ready to be compared with keys.
#[derive(Debug, Clone)]
pub struct KeyPattern {
    pieces: Vec<GlobPiece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum GlobPiece {
    /// Any bytes; never two of them in a row.
    Any,
    /// Any one byte.
    One,
    Byte(u8),
    Class(Box<Class>),
}

/// A set of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Class {
    words: [u64; 4],
}

impl Class {
    fn insert(&mut self, byte: u8) {
        self.words[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn contains(&self, byte: u8) -> bool {
        self.words[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    /// Reads what follows a `[`; returns the class, and what follows it.
    fn read(mut rest: &[u8]) -> (Self, &[u8]) {
        let mut class = Self::default();
        let negated = rest.first() == Some(&b'^');
        rest = &rest[usize::from(negated)..];
        loop {
            rest = match *rest {
                [] => break,
                [b'\\', byte, ref after @ ..] => {
                    class.insert(byte);
                    after
                }
                [b']', ref after @ ..] => {
                    rest = after;
                    break;
                }
                [from, b'-', to, ref after @ ..] => {
                    (from.min(to)..=from.max(to)).for_each(|byte| class.insert(byte));
                    after
                }
                [byte, ref after @ ..] => {
                    class.insert(byte);
                    after
                }
            };
        }
        if negated {
            class.words = class.words.map(|word| !word);
        }
        (class, rest)
    }
}

impl KeyPattern {
    /// Reads a glob.
    #[must_use]
    pub fn new(glob: &[u8]) -> Self {
        let mut pieces = Vec::new();
        let mut rest = glob;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'*' if pieces.last() == Some(&GlobPiece::Any) => {}
                b'*' => pieces.push(GlobPiece::Any),
                b'?' => pieces.push(GlobPiece::One),
                b'[' => {
                    let (class, after) = Class::read(rest);
                    rest = after;
                    pieces.push(GlobPiece::Class(Box::new(class)));
                }
                b'\\' if !rest.is_empty() => {
                    pieces.push(GlobPiece::Byte(rest[0]));
                    rest = &rest[1..];
                }
                byte => pieces.push(GlobPiece::Byte(*byte)),
            }
        }
        Self { pieces }
    }

    /// True when the key matches.
    #[must_use]
    pub fn matches(&self, key: &Bytes) -> bool {
        self.compare(key).0
    }

    /// Whether the key matches, and how many bytes were looked at to find out: at most as many as there are pieces,
    /// for each byte of the key.
    ///
    /// What an earlier `*` stands for need not be tried again once a later one is reached: with the fewest bytes that
    /// bring it there, the later one has the most to choose from.
    #[must_use]
    pub fn compare(&self, key: &[u8]) -> (bool, usize) {
        let (mut piece, mut byte, mut looks) = (0, 0, 0);
        // The latest `*`, and the first byte that it does not stand for.
        let mut star: Option<(usize, usize)> = None;
        loop {
            looks += 1;
            let matched = match (self.pieces.get(piece), key.get(byte)) {
                (None, None) => return (true, looks),
                (Some(GlobPiece::Any), _) => {
                    if piece + 1 == self.pieces.len() {
                        return (true, looks);
                    }
                    star = Some((piece, byte));
                    piece += 1;
                    continue;
                }
                (Some(_), None) => return (false, looks),
                (None, Some(_)) => false,
                (Some(GlobPiece::One), Some(_)) => true,
                (Some(GlobPiece::Byte(wanted)), Some(found)) => wanted == found,
                (Some(GlobPiece::Class(class)), Some(found)) => class.contains(*found),
            };
            if matched {
                (piece, byte) = (piece + 1, byte + 1);
            } else if let Some((at, end)) = star {
                star = Some((at, end + 1));
                (piece, byte) = (at + 1, end + 1);
            } else {
                return (false, looks);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition: what is left of the glob against what is left of the key.
    fn is_match(glob: &[u8], key: &[u8]) -> bool {
        match glob {
            [] => key.is_empty(),
            [b'*', rest @ ..] => (0..=key.len()).any(|skipped| is_match(rest, &key[skipped..])),
            _ => key.split_first().is_some_and(|(byte, key)| {
                let (fits, rest) = first_fits(glob, *byte);
                fits && is_match(rest, key)
            }),
        }
    }

    /// Whether the first piece of a glob stands for this byte, and what follows the piece.
    fn first_fits(glob: &[u8], byte: u8) -> (bool, &[u8]) {
        match glob {
            [b'?', rest @ ..] => (true, rest),
            [b'[', b'^', rest @ ..] => {
                let (fits, rest) = is_in_class(rest, byte);
                (!fits, rest)
            }
            [b'[', rest @ ..] => is_in_class(rest, byte),
            [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte, rest),
            [] => (false, glob),
        }
    }

    fn is_in_class(class: &[u8], byte: u8) -> (bool, &[u8]) {
        let (fits, rest) = match class {
            [] => return (false, class),
            [b'\\', literal, rest @ ..] => (*literal == byte, rest),
            [b']', rest @ ..] => return (false, rest),
            [from, b'-', to, rest @ ..] => ((from <= &byte && &byte <= to) || (to <= &byte && &byte <= from), rest),
            [literal, rest @ ..] => (*literal == byte, rest),
        };
        let (later, rest) = is_in_class(rest, byte);
        (fits || later, rest)
    }

    proptest! {
        #[test]
        fn a_glob_matches_what_its_definition_says(glob in r"[a-c*?\[\]\\^\-]{0,10}", key in r"[a-c\[\]\\^\-]{0,8}") {
            let pattern = KeyPattern::new(glob.as_bytes());
            prop_assert_eq!(pattern.matches(&key.as_str().into()), is_match(glob.as_bytes(), key.as_bytes()));
        }

        #[test]
        fn bytes_are_bytes(
            glob in prop::collection::vec(any::<u8>(), 0..12),
            key in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let escaped: Vec<u8> = key.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert_eq!(KeyPattern::new(&glob).compare(&key).0, is_match(&glob, &key));
            prop_assert!(KeyPattern::new(&escaped).compare(&key).0);
        }

        #[test]
        fn the_work_is_bounded(glob in r"[ab*?]{0,24}", key in "[ab]{0,64}") {
            let (_, looks) = KeyPattern::new(glob.as_bytes()).compare(key.as_bytes());
            prop_assert!(looks <= (glob.len() + 1) * (key.len() + 1), "{} looks", looks);
        }
    }

    #[test]
    fn globs_match_as_in_redis() {
        let cases: [(&[u8], &[u8], bool); 32] = [
            (b"user:{1}*", b"user:{1}name", true),
            (b"user:{1}*", b"user:1name", false),
            (b"{a,b}", b"a", false),
            (b"user:{1", b"user:{1", true),
            (b"k\x80*", b"k\x80\xff", true),
            (b"k?", b"k\x80", true),
            (b"[\x80-\xff]", b"\xc3", true),
            (b"[\x80-\xff]", b"a", false),
            (b"h[\\]]llo", b"h]llo", true),
            (b"h[\\]]llo", b"h\\llo", false),
            (b"**/y", b"y", false),
            (b"**/y", b"a/b/y", true),
            (b"*", b"", true),
            (b"h[ae]llo", b"hallo", true),
            (b"h[^e]llo", b"hello", false),
            (b"h[^e]llo", b"hbllo", true),
            (b"h[!e]llo", b"h!llo", true),
            (b"h[a-b]llo", b"hbllo", true),
            (b"h[b-a]llo", b"hallo", true),
            (b"[a-]", b"]", true),
            (b"[a-]", b"_", true),
            (b"[]a]", b"a", false),
            (b"[abc", b"b", true),
            (b"[", b"[", false),
            (b"[^", b"x", true),
            (b"[\\", b"\\", true),
            (b"\\", b"\\", true),
            (b"\\*", b"*", true),
            (b"\\*", b"a", false),
            (b"a\\?", b"ab", false),
            (b"*a*a*b", b"xaxaxb", true),
            (b"", b"a", false),
        ];
        for (glob, key, expected) in cases {
            let found = KeyPattern::new(glob).matches(&key.into());
            assert_eq!(found, expected, "{} against {}", glob.escape_ascii(), key.escape_ascii());
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_one() {
        let glob = "*a".repeat(400) + "*b";
        let key = "a".repeat(1_000);
        let (matched, looks) = KeyPattern::new(glob.as_bytes()).compare(key.as_bytes());
        assert!(!matched && looks < 2 * key.len(), "{looks} looks");
    }
}
