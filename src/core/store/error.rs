//! Why the store refuses a command, in our own words and in those of Redis.

use super::{KEY_BYTES_MAX, KEYS_REPLY_BYTES_MAX, VALUE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

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
    /// The client has been silent for long, or has left: nothing of it is carried out any more. What it had asked
    /// before may have been.
    SessionEnded,
    /// In the words of Redis, the code (`ERR`, `WRONGTYPE`, …) first.
    Redis(Cow<'static, str>),
    /// It was carried out, but its answer was too large to be kept until the client asked for it again.
    AnswerForgotten,
}

impl StoreError {
    /// A command that needs another kind of value than the key has.
    pub const WRONG_TYPE: Self = Self::said("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// Options that do not go together, or are none.
    pub const SYNTAX: Self = Self::said("ERR syntax error");
    /// An argument or a value that is no integer of 64 bits.
    pub const NO_INTEGER: Self = Self::said("ERR value is not an integer or out of range");
    /// An argument or a value that is no number.
    pub const NO_FLOAT: Self = Self::said("ERR value is not a valid float");
    /// There is no memory left for it.
    pub const OUT_OF_MEMORY: Self = Self::said("OOM command not allowed when used memory > 'maxmemory'.");

    /// In the words of Redis.
    #[must_use]
    pub const fn said(text: &'static str) -> Self {
        Self::Redis(Cow::Borrowed(text))
    }

    /// The same with words that are made for the occasion.
    #[must_use]
    pub fn told(text: String) -> Self {
        Self::Redis(Cow::Owned(text))
    }

    /// What a Redis client is told: the code, a space, the text.
    #[must_use]
    pub fn redis_text(&self) -> Cow<'_, str> {
        match self {
            Self::Redis(text) => Cow::Borrowed(text),
            Self::NotAnInteger => "ERR value is not an integer or out of range".into(),
            Self::Overflow => "ERR increment or decrement would overflow".into(),
            other => format!("ERR {other}").into(),
        }
    }
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
            Self::SessionEnded => {
                write!(f, "the session has ended: ask anew, it cannot be known whether this was carried out before")
            }
            Self::Redis(text) => f.write_str(text),
            Self::AnswerForgotten => write!(f, "it was carried out, but its answer was too large to be kept for you"),
        }
    }
}

impl std::error::Error for StoreError {}
