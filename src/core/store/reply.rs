//! What the store answers, in the shapes of RESP3.
//!
//! A door encodes what is here for either protocol and need not know which command it was:
//!
//! | here | RESP3 | RESP2 |
//! |---|---|---|
//! | [`Reply::Ok`], [`Reply::Status`] | simple string | simple string |
//! | [`Reply::Nil`] | null | null bulk string |
//! | [`Reply::NilArray`] | null | null array |
//! | [`Reply::Double`] | double | bulk string |
//! | [`Reply::Map`] | map | array, key and value by turns |
//! | [`Reply::Pairs`] | array of arrays of two | array, first and second by turns |
//! | [`Reply::Set`] | set | array |

use super::bytes::preview;
use super::{Bytes, KeyList, StoreError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A key of a list is cut to this many characters in words.
const KEY_SHOWN_CHARS: usize = 64;
/// What an element costs in an answer besides its bytes.
const ELEMENT_BYTES: usize = 8;

/// What the store answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Ok,
    /// There is no such value, or the condition of `ADD`/`UPDATE` did not hold; nothing changed.
    Nil,
    /// The value of a `GET`, or an element.
    Value(Bytes),
    /// A count, a length, or the new number of an `INCR`.
    Integer(i64),
    /// The keys of a `KEYS`, in byte order.
    Keys(KeyList),
    /// Refused; nothing changed.
    Error(StoreError),
    /// One word, such as the answer of a `TYPE`.
    Status(Bytes),
    /// There is no such collection.
    NilArray,
    /// A score.
    Double(Double),
    /// Several answers, in order.
    Array(#[serde(deserialize_with = "super::depth::deeper")] Vec<Reply>),
    /// Fields and their values.
    Map(#[serde(deserialize_with = "super::depth::deeper")] Vec<(Reply, Reply)>),
    /// Elements that belong together, such as members and their scores.
    Pairs(#[serde(deserialize_with = "super::depth::deeper")] Vec<(Reply, Reply)>),
    /// Elements in no particular order.
    Set(#[serde(deserialize_with = "super::depth::deeper")] Vec<Reply>),
}

/// A number with a fraction; equal when its bits are.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Double(pub f64);

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Double {}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Double {
    /// The fewest digits that give the same number again, in the style of C's `%g`: `3`, `0.1`, `1e+30`, `inf`, `-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if number.is_infinite() {
            return f.write_str(if number > 0.0 { "inf" } else { "-inf" });
        }
        if number == 0.0 {
            return f.write_str(if number.is_sign_negative() { "-0" } else { "0" });
        }
        // As C does: an exponent from the 17th digit on, and below a ten thousandth.
        let scientific = format!("{number:e}");
        let (digits, exponent) = scientific.split_once('e').expect("this format has an exponent");
        let exponent: i32 = exponent.parse().expect("it is a number");
        if (-4..17).contains(&exponent) {
            return write!(f, "{number}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.abs())
    }
}

impl Reply {
    /// Bytes that it brings along.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let pairs = |pairs: &Vec<(Reply, Reply)>| -> usize {
            pairs.iter().map(|(one, two)| one.size_bytes() + two.size_bytes() + ELEMENT_BYTES).sum()
        };
        match self {
            Self::Value(value) | Self::Status(value) => value.len(),
            Self::Keys(keys) => keys.size_bytes(),
            Self::Array(items) | Self::Set(items) => {
                items.iter().map(|item| item.size_bytes() + ELEMENT_BYTES).sum::<usize>()
            }
            Self::Map(items) | Self::Pairs(items) => pairs(items),
            Self::Ok | Self::Nil | Self::NilArray | Self::Integer(_) | Self::Double(_) | Self::Error(_) => 0,
        }
    }

    /// What a set or a list of byte strings is answered with.
    pub(super) fn values(items: impl IntoIterator<Item = Bytes>) -> Vec<Self> {
        items.into_iter().map(Self::Value).collect()
    }

    /// One word.
    pub(super) fn status(word: &str) -> Self {
        Self::Status(word.into())
    }

    /// A count.
    pub(super) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).expect("what fits into memory can be counted"))
    }
}

impl From<Result<Reply, StoreError>> for Reply {
    fn from(result: Result<Reply, StoreError>) -> Self {
        result.unwrap_or_else(Self::Error)
    }
}

impl fmt::Display for Reply {
    /// As redis-cli prints it to a pipe, but on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = |f: &mut fmt::Formatter<'_>, at: usize| f.write_str(if at > 0 { " " } else { "" });
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Nil | Self::NilArray => f.write_str("(nil)"),
            Self::Value(value) | Self::Status(value) => value.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Keys(keys) => {
                for (i, key) in keys.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { " " } else { "" }, preview(key, KEY_SHOWN_CHARS))?;
                }
                Ok(())
            }
            Self::Array(items) | Self::Set(items) => items.iter().enumerate().try_for_each(|(at, item)| {
                between(f, at)?;
                item.fmt(f)
            }),
            Self::Map(items) | Self::Pairs(items) => items.iter().enumerate().try_for_each(|(at, (one, two))| {
                between(f, at)?;
                write!(f, "{one} {two}")
            }),
            Self::Error(error) => write!(f, "(error) {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_is_printed_as_in_c_with_the_fewest_digits() {
        let printed = [0.1, 3.0, -0.0, 1e30, 1.5e-7, 0.0001, 1e16, 1e17, -2.5, f64::INFINITY, f64::NEG_INFINITY]
            .map(|number| Double(number).to_string());
        let expected =
            ["0.1", "3", "-0", "1e+30", "1.5e-07", "0.0001", "10000000000000000", "1e+17", "-2.5", "inf", "-inf"];
        assert_eq!(printed, expected);
    }

    #[test]
    fn nested_answers_are_put_on_one_line() {
        let pair = (Reply::Value("a".into()), Reply::Double(Double(1.5)));
        let reply = Reply::Array(vec![Reply::Integer(0), Reply::Map(vec![pair]), Reply::Nil]);
        assert_eq!((reply.to_string(), reply.size_bytes()), ("0 a 1.5 (nil)".into(), 1 + 8 + 3 * 8));
    }
}
