//! Keys and values: any bytes, printed as text where they are text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use unicode_width::UnicodeWidthChar;

/// An owned byte string of fixed length (16 bytes of handle, one allocation).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(Box<[u8]>);

impl Bytes {
    /// The text of these bytes, cut to `limit` characters, with everything that a terminal would
    /// not print as itself ([`is_shown`]) escaped (`\n`, `\x1b`).
    #[must_use]
    pub fn preview(&self, limit: usize) -> String {
        preview(&self.0, limit)
    }
}

/// True for what takes its own columns on every terminal and does nothing else: no control characters, no combining or
/// invisible ones, no marks that turn the direction of writing; nothing that makes one sign of several (skin tones,
/// flags), because terminals differ in how wide that sign is.
#[must_use]
pub fn is_shown(c: char) -> bool {
    let joins = matches!(c, '\u{1f3fb}'..='\u{1f3ff}' | '\u{1f1e6}'..='\u{1f1ff}' | '\u{ad}');
    !joins && !c.is_control() && c.width().is_some_and(|width| width > 0)
}

/// See [`Bytes::preview`]. Reads no more of `bytes` than it shows.
#[must_use]
pub fn preview(bytes: &[u8], limit: usize) -> String {
    let head = &bytes[..bytes.len().min(limit.saturating_mul(4))];
    let mut text = String::new();
    let mut width = 0;
    for chunk in head.utf8_chunks() {
        let valid =
            chunk.valid().chars().map(|c| if is_shown(c) { c.to_string() } else { c.escape_default().to_string() });
        let invalid = chunk.invalid().iter().map(|b| format!("\\x{b:02x}"));
        for piece in valid.chain(invalid) {
            if width + piece.chars().count() > limit {
                text.push('…');
                return text;
            }
            width += piece.chars().count();
            text.push_str(&piece);
        }
    }
    if head.len() < bytes.len() {
        text.push('…');
    }
    text
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.preview(64))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.preview(64))
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into_boxed_slice())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preview_escapes_what_a_terminal_would_obey() {
        assert_eq!(Bytes::from("a\x1b[2Jb").preview(64), "a\\u{1b}[2Jb");
        assert_eq!(Bytes::from(&b"\xff\x00"[..]).preview(64), "\\xff\\u{0}");
        assert_eq!(Bytes::from("abcdef").preview(3), "abc…");
        assert_eq!(Bytes::from("äöü").preview(3), "äöü");
        assert_eq!(Bytes::from("🙂🙂🙂🙂").preview(3), "🙂🙂🙂…");
        assert_eq!(
            Bytes::from("❤\u{fe0f} 👍\u{1f3fd} 1\u{fe0f}\u{20e3}").preview(64),
            "❤\\u{fe0f} 👍\\u{1f3fd} 1\\u{fe0f}\\u{20e3}"
        );
        let bytes = Bytes::from("a\n");
        assert_eq!((format!("{bytes}"), format!("{bytes:?}")), ("a\\n".into(), "a\\n".into()));
    }
}
