//! `INCRBYFLOAT` as Redis counts: with the 80 bits of an x86 processor's long double, printed with 17 digits after the
//! point. Here they are computed in software, so that every server, whatever it runs on, comes to the same bits.

use super::super::{Bytes, StoreError};
use super::CommandResult;
use super::args::parse_float;
use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

/// Digits after the point.
const FRACTION_DIGITS: usize = 17;
/// The longest number that is read, in bytes.
const NUMBER_BYTES_MAX: usize = 5_119;
/// The exponent of a long double stands for this many less.
const EXPONENT_BIAS: i32 = 16_383;

/// The sum of two decimal numbers.
pub(super) fn add_decimals(one: &[u8], two: &[u8]) -> CommandResult<Bytes> {
    let not = || StoreError::NO_FLOAT;
    let (a, b) = (extended(one).ok_or_else(not)?, extended(two).ok_or_else(not)?);
    let sum = (a + b).value;
    if !sum.is_finite() {
        return Err(StoreError::said("ERR increment would produce NaN or Infinity"));
    }
    Ok(shown(sum).into())
}

/// A number as C's `strtold` reads it, without white space; never NaN.
fn extended(bytes: &[u8]) -> Option<X87DoubleExtended> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= NUMBER_BYTES_MAX)?;
    // What has the form of a number is one, but for what only the larger exponent of a long double can hold.
    let read = text.parse::<f64>().ok();
    match read.or_else(|| parse_float(bytes)) {
        Some(number) if read.is_none() => Some(X87DoubleExtended::from_u128(number as u128).value),
        Some(number) if number.is_nan() => None,
        Some(_) if text.trim_start_matches(['+', '-']).starts_with(|first: char| first.is_ascii_alphabetic()) => {
            let infinity = X87DoubleExtended::INFINITY;
            Some(if text.starts_with('-') { -infinity } else { infinity })
        }
        Some(_) => text.parse().ok().filter(|number: &X87DoubleExtended| number.is_finite()),
        None => None,
    }
}

/// As C's `%.17Lf` prints it, without zeros at the end.
fn shown(number: X87DoubleExtended) -> String {
    let bits = number.to_bits();
    let mantissa = bits as u64;
    let exponent = i32::try_from((bits >> 64) & 0x7fff).unwrap_or(0);
    // The number is the mantissa, shifted to the left by this.
    let shift = exponent.max(1) - EXPONENT_BIAS - 63;
    let (whole, digits) = match shift {
        0.. => (shifted(mantissa, shift.unsigned_abs()), [0; FRACTION_DIGITS]),
        _ => {
            let (whole, digits) = split(mantissa, shift.unsigned_abs());
            (whole.to_string(), digits)
        }
    };
    let fraction: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if number.is_negative() && !(whole == "0" && fraction.is_empty()) { "-" } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

/// The whole part of a mantissa that is shifted to the right, and the digits after the point, rounded to even.
fn split(mantissa: u64, right: u32) -> (u64, [u8; FRACTION_DIGITS]) {
    let mut whole = mantissa.checked_shr(right).unwrap_or(0);
    // The fraction in units of 2^-128; what lies below that is less than half a digit of the last place.
    let fraction = match right {
        0..=64 => u128::from(mantissa) << 64 << (64 - right),
        _ => (u128::from(mantissa) << 64).checked_shr(right - 64).unwrap_or(0),
    };
    let (mut high, mut low) = (fraction >> 64, fraction & u128::from(u64::MAX));
    let mut digits = [0; FRACTION_DIGITS];
    for digit in &mut digits {
        (high, low) = (high * 10, low * 10);
        high += low >> 64;
        low &= u128::from(u64::MAX);
        *digit = (high >> 64) as u8;
        high &= u128::from(u64::MAX);
    }
    let half = 1 << 63;
    let is_odd = digits[FRACTION_DIGITS - 1] % 2 == 1;
    if high > half || (high == half && (low > 0 || is_odd)) {
        let carries = digits.iter_mut().rev().all(|digit| {
            *digit = (*digit + 1) % 10;
            *digit == 0
        });
        whole += u64::from(carries);
    }
    (whole, digits)
}

/// A whole number of any size.
fn shifted(mantissa: u64, left: u32) -> String {
    const LIMB: u64 = 1_000_000_000;
    let mut limbs: Vec<u64> = vec![mantissa % LIMB, mantissa / LIMB % LIMB, mantissa / LIMB / LIMB];
    let mut left = left;
    while left > 0 {
        let step = left.min(32);
        let mut carry = 0;
        for limb in &mut limbs {
            let all = (*limb << step) + carry;
            (*limb, carry) = (all % LIMB, all / LIMB);
        }
        while carry > 0 {
            limbs.push(carry % LIMB);
            carry /= LIMB;
        }
        left -= step;
    }
    while limbs.len() > 1 && limbs.last() == Some(&0) {
        limbs.pop();
    }
    let (first, rest) = limbs.split_last().expect("there is a first limb");
    rest.iter().rev().fold(first.to_string(), |text, limb| format!("{text}{limb:09}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_added_as_redis_adds_them() {
        let sum = |one: &str, two: &str| add_decimals(one.as_bytes(), two.as_bytes()).map(|sum| sum.to_string());
        // What redis-server 7.0 on x86-64 answers.
        for (one, two, expected) in [
            ("0.1", "0.2", "0.3"),
            ("3.0", "1.000000000000000005", "4.00000000000000001"),
            ("1", "-1.1", "-0.1"),
            ("17179869184", "1.5", "17179869185.5"),
            ("5.0e3", "2.0e2", "5200"),
            ("0x10", "1", "17"),
            ("1e-20", "-1e-20", "0"),
            ("-1e-30", "0", "0"),
            ("1e30", "0.5", "1000000000000000000024696061952"),
            ("123456789012345678.25", "0.125", "123456789012345678.375"),
        ] {
            assert_eq!(sum(one, two).as_deref(), Ok(expected), "{one} + {two}");
        }
        for bad in ["x", "", "nan", " 1", "1 ", "1e99999"] {
            assert_eq!(sum("10.5", bad), Err(StoreError::NO_FLOAT), "{bad}");
        }
        assert!(sum("1", "-inf").unwrap_err().to_string().contains("NaN or Infinity"));
    }
}
