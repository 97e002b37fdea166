//! What a client may ask, what it is answered, and the limits of both.

use super::bytes::preview;
use super::{Bytes, KeyList};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// The longest value, in bytes (1 MiB); an `APPEND` that would pass it is refused.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The most key bytes that one `KEYS` answers (4 MiB), so that no single answer holds up a rank.
pub const KEYS_REPLY_BYTES_MAX: usize = 4 << 20;

/// A key of a list is cut to this many characters in words.
const KEY_SHOWN_CHARS: usize = 64;

/// One operation on the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The value of a key, or nil.
    Get { key: Bytes },
    /// Store a value, whether or not the key is there.
    Put { key: Bytes, value: Bytes },
    /// Store a value only if the key is not there.
    Add { key: Bytes, value: Bytes },
    /// Store a value only if the key is there.
    Update { key: Bytes, value: Bytes },
    /// Remove a key; answers how many keys that removed (0 or 1).
    Delete { key: Bytes },
    /// Append to a value (a missing key is empty); answers the new length in bytes.
    Append { key: Bytes, value: Bytes },
    /// Add one to a decimal 64-bit integer (a missing key is 0); answers the new number.
    Incr { key: Bytes },
    /// All keys that match a glob ([`super::glob`]), in byte order.
    Keys { pattern: Bytes },
    /// How many keys there are.
    Count,
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Ok,
    /// There is no such value, or the condition of `ADD`/`UPDATE` did not hold; nothing changed.
    Nil,
    /// The value of a `GET`.
    Value(Bytes),
    /// A count, a length, or the new number of an `INCR`.
    Integer(i64),
    /// The keys of a `KEYS`, in byte order.
    Keys(KeyList),
    /// Refused; nothing changed.
    Error(StoreError),
}

/// Why the store refused a command. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreError {
    /// `INCR` on something that is no decimal 64-bit integer.
    NotAnInteger,
    /// `INCR` beyond the largest 64-bit integer.
    Overflow,
    /// A key of this many bytes, more than [`KEY_BYTES_MAX`].
    KeyTooLong(u64),
    /// A value of this many bytes, more than [`VALUE_BYTES_MAX`].
    ValueTooLong(u64),
    /// `KEYS` that matches more than [`KEYS_REPLY_BYTES_MAX`] bytes of keys.
    TooManyKeys,
    /// There are [`super::SESSIONS_MAX`] clients already.
    TooManyClients,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnInteger => write!(f, "value is not a 64-bit integer: PUT a number first, or DELETE the key"),
            Self::Overflow => write!(f, "the number would pass the 64-bit range: PUT a smaller one first"),
            Self::KeyTooLong(bytes) => {
                write!(f, "key of {bytes} bytes is too long: at most {KEY_BYTES_MAX} bytes; nothing stored")
            }
            Self::ValueTooLong(bytes) => {
                write!(f, "value of {bytes} bytes is too long: at most {VALUE_BYTES_MAX} bytes (1 MiB); nothing stored")
            }
            Self::TooManyKeys => {
                write!(f, "more than {KEYS_REPLY_BYTES_MAX} bytes of keys match: use a narrower pattern, or COUNT")
            }
            Self::TooManyClients => write!(f, "too many clients: at most {} are served", super::SESSIONS_MAX),
        }
    }
}

impl std::error::Error for StoreError {}

impl Command {
    /// True for what is answered from committed state without a place in the order of writes.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::Keys { .. } | Self::Count)
    }

    /// The one key this command reads or writes, if it is about one key.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Get { key }
            | Self::Put { key, .. }
            | Self::Add { key, .. }
            | Self::Update { key, .. }
            | Self::Delete { key }
            | Self::Append { key, .. }
            | Self::Incr { key } => Some(key),
            Self::Keys { .. } | Self::Count => None,
        }
    }

    /// The bytes that a write brings along.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put { value, .. }
            | Self::Add { value, .. }
            | Self::Update { value, .. }
            | Self::Append { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The name as a user types it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "GET",
            Self::Put { .. } => "PUT",
            Self::Add { .. } => "ADD",
            Self::Update { .. } => "UPDATE",
            Self::Delete { .. } => "DELETE",
            Self::Append { .. } => "APPEND",
            Self::Incr { .. } => "INCR",
            Self::Keys { .. } => "KEYS",
            Self::Count => "COUNT",
        }
    }

    /// Bytes of key and value, for limits on queues.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.key().map_or(0, |k| k.len()) + self.value().map_or(0, |v| v.len())
    }

    /// Refuses keys and values beyond the limits. Clients check before they send, servers before they accept.
    ///
    /// # Errors
    /// [`StoreError::KeyTooLong`] and [`StoreError::ValueTooLong`].
    pub fn check_limits(&self) -> Result<(), StoreError> {
        let key = match self {
            Self::Keys { pattern } => Some(pattern),
            other => other.key(),
        };
        match (key, self.value()) {
            (Some(key), _) if key.len() > KEY_BYTES_MAX => Err(StoreError::KeyTooLong(key.len() as u64)),
            (_, Some(value)) if value.len() > VALUE_BYTES_MAX => Err(StoreError::ValueTooLong(value.len() as u64)),
            _ => Ok(()),
        }
    }
}

impl Reply {
    /// Bytes that it brings along.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Value(value) => value.len(),
            Self::Keys(keys) => keys.size_bytes(),
            Self::Ok | Self::Nil | Self::Integer(_) | Self::Error(_) => 0,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Keys { pattern } => write!(f, " {pattern}")?,
            other => {
                if let Some(key) = other.key() {
                    write!(f, " {}", key.preview(24))?;
                }
            }
        }
        if let Some(value) = self.value() {
            write!(f, " {}", value.preview(24))?;
        }
        Ok(())
    }
}

impl fmt::Display for Reply {
    /// As redis-cli prints it to a pipe.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Nil => f.write_str("(nil)"),
            Self::Value(value) => value.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Keys(keys) => {
                for (i, key) in keys.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { " " } else { "" }, preview(key, KEY_SHOWN_CHARS))?;
                }
                Ok(())
            }
            Self::Error(error) => write!(f, "(error) {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_their_limits() {
        let bytes = |count: usize| Bytes::from(vec![b'x'; count]);
        let put = |key: usize, value: usize| Command::Put { key: bytes(key), value: bytes(value) };
        assert_eq!(put(KEY_BYTES_MAX, VALUE_BYTES_MAX).check_limits(), Ok(()));
        let too_long = Err(StoreError::KeyTooLong(KEY_BYTES_MAX as u64 + 1));
        assert_eq!(put(KEY_BYTES_MAX + 1, 1).check_limits(), too_long);
        assert_eq!(Command::Keys { pattern: bytes(KEY_BYTES_MAX + 1) }.check_limits(), too_long);
        let too_long = Err(StoreError::ValueTooLong(VALUE_BYTES_MAX as u64 + 1));
        assert_eq!(put(1, VALUE_BYTES_MAX + 1).check_limits(), too_long);
        assert_eq!((put(3, 5).size_bytes(), Command::Count.size_bytes()), (8, 0));
    }
}
