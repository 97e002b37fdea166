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

/// The sum of two decimal numbers, exactly: as Redis gives it, whose long doubles hide what binary fractions do.
pub(super) fn add_decimals(one: &[u8], two: &[u8]) -> CommandResult<Bytes> {
    let not = || StoreError::NO_FLOAT;
    let (a, b) = (parse_float(one).ok_or_else(not)?, parse_float(two).ok_or_else(not)?);
    if !(a + b).is_finite() {
        return Err(StoreError::said("ERR increment would produce NaN or Infinity"));
    }
    let exact = decimal(one).zip(decimal(two)).and_then(|(one, two)| one.checked_add(two));
    Ok(exact.map_or_else(|| format!("{}", a + b), shown_decimal).into())
}

/// Digits after the point, as many as Redis keeps.
const FRACTION_DIGITS: u32 = 17;

/// In units of the last of [`FRACTION_DIGITS`]; `None` when it is too large or too fine for that.
fn decimal(bytes: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    let (digits, exponent) = match text.split_once('e') {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text.as_str(), 0),
    };
    let negative = digits.starts_with('-');
    let digits = digits.trim_start_matches(['+', '-']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let shift = i32::try_from(FRACTION_DIGITS).ok()? + exponent - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let scaled = match shift {
        0.. => all.checked_mul(power)?,
        _ if all % power == 0 => all / power,
        _ => return None,
    };
    Some(if negative { -scaled } else { scaled })
}

fn shown_decimal(number: i128) -> String {
    let unit = 10_u128.pow(FRACTION_DIGITS);
    let (whole, fraction) = (number.unsigned_abs() / unit, number.unsigned_abs() % unit);
    let sign = if number < 0 { "-" } else { "" };
    let fraction = format!("{fraction:017}");
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
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
    fn decimals_are_added_exactly() {
        let sum = |one: &str, two: &str| add_decimals(one.as_bytes(), two.as_bytes()).map(|sum| sum.to_string());
        assert_eq!(sum("0.1", "0.2").unwrap(), "0.3");
        assert_eq!(sum("3.0", "1.000000000000000005").unwrap(), "4");
        assert_eq!(sum("1", "-1.1").unwrap(), "-0.1");
        assert_eq!(sum("17179869184", "1.5").unwrap(), "17179869185.5");
        assert_eq!(sum("5.0e3", "2.0e2").unwrap(), "5200");
        assert_eq!(sum("10.5", "x"), Err(StoreError::NO_FLOAT));
        assert!(sum("1", "inf").unwrap_err().to_string().contains("NaN or Infinity"));
    }

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
