//! Arguments and stored values as numbers, and options, as Redis reads them.

use super::super::state::parse_integer;
use super::super::{Bytes, Double, StoreError};
use super::CommandResult;

/// An integer of 64 bits.
pub(super) fn integer(bytes: &[u8]) -> CommandResult<i64> {
    parse_integer(bytes).ok_or(StoreError::NO_INTEGER)
}

/// The number of things that are asked for.
pub(super) fn positive(bytes: &[u8]) -> CommandResult<usize> {
    let out_of_range = || StoreError::said("ERR value is out of range, must be positive");
    let number = parse_integer(bytes).ok_or_else(out_of_range)?;
    usize::try_from(number).map_err(|_| out_of_range())
}

/// A number with a fraction.
pub(super) fn float(bytes: &[u8]) -> CommandResult<f64> {
    parse_float(bytes).ok_or(StoreError::NO_FLOAT)
}

/// A number as C's `strtod` reads it, without white space; never NaN.
pub(super) fn parse_float(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: f64 = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()? as f64,
        None => text.parse().ok()?,
    };
    let says_infinite = text.trim_start_matches(['+', '-']).as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    let overflows = number.is_infinite() && !says_infinite;
    (!number.is_nan() && !overflows).then_some(number)
}

/// Whether an argument is this word, in any letters.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A score as it is printed.
pub(super) fn printed(number: f64) -> Bytes {
    Double(number).to_string().into()
}

/// The places from `start` to `stop` of a list of this length, both counted from the end when negative: the first
/// and how many.
pub(super) fn range(start: i64, stop: i64, length: usize) -> (usize, usize) {
    let end = i64::try_from(length).unwrap_or(i64::MAX);
    let start = if start < 0 { (start.saturating_add(end)).max(0) } else { start };
    let stop = if stop < 0 { stop.saturating_add(end) } else { stop.min(end - 1) };
    if start > stop || start >= end || stop < 0 {
        return (0, 0);
    }
    let count = usize::try_from(stop - start + 1).unwrap_or(0);
    (usize::try_from(start).unwrap_or(0), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_redis_reads_them() {
        let read = |text: &str| parse_float(text.as_bytes());
        assert_eq!(
            (read("1.5"), read("-inf"), read("+inf")),
            (Some(1.5), Some(f64::NEG_INFINITY), Some(f64::INFINITY))
        );
        assert_eq!(
            (read("nan"), read(""), read(" 1"), read("1e400"), read("0x10")),
            (None, None, None, None, Some(16.0))
        );
        assert_eq!(
            (range(0, -1, 3), range(-2, 9, 3), range(2, 1, 3), range(5, 6, 3)),
            ((0, 3), (1, 2), (0, 0), (0, 0))
        );
        assert_eq!((range(-100, 1, 3), range(0, -5, 3)), ((0, 2), (0, 0)));
    }
}
