//! Digits that can be read from the back row.
//!
//! ```text
//!  ██████
//!  ██  ██
//!  ██████
//!      ██
//!  ██████
//! ```

use super::{cols, put};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// The digits, three columns by five rows; the last is for "none".
const DIGITS: [[&str; 5]; 11] = [
    ["###", "# #", "# #", "# #", "###"],
    ["  #", "  #", "  #", "  #", "  #"],
    ["###", "  #", "###", "#  ", "###"],
    ["###", "  #", "###", "  #", "###"],
    ["# #", "# #", "###", "  #", "  #"],
    ["###", "#  ", "###", "  #", "###"],
    ["###", "#  ", "###", "# #", "###"],
    ["###", "  #", "  #", "  #", "  #"],
    ["###", "# #", "###", "# #", "###"],
    ["###", "# #", "###", "  #", "###"],
    ["   ", "   ", "###", "   ", "   "],
];
/// Rows of a digit at its smallest.
pub(super) const DIGIT_ROWS: u16 = 5;
/// A dot of a digit is this many columns for each of its rows: about a square.
const DOT_COLS: u16 = 2;
/// Columns of a digit at its smallest.
pub(super) const DIGIT_COLS: u16 = 3 * DOT_COLS;

/// A number in digits as big as fit, in letters if none do: a number without its end is another one.
pub(super) fn digits(buffer: &mut Buffer, area: Rect, number: &str, size_max: u16, (dot, style): (&str, Style)) {
    let fits = |size: &u16| cols(number) * (DIGIT_COLS * size + size) - size <= area.width;
    let Some(size) = (1..=size_max).rev().find(fits) else {
        put(buffer, area.x, area.y, area.width, number, style);
        return;
    };
    let mut x = area.x;
    for digit in number.chars() {
        let shape = DIGITS[digit.to_digit(10).map_or(DIGITS.len() - 1, |digit| digit as usize)];
        let width = DIGIT_COLS * size;
        for (row, dots) in (0..).zip(shape) {
            let line: String = dots
                .chars()
                .map(|wanted| if wanted == '#' { dot } else { " " }.repeat(usize::from(DOT_COLS * size)))
                .collect();
            for again in 0..size {
                put(buffer, x, area.y + row * size + again, width, &line, style);
            }
        }
        x += width + size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_does_not_fit_is_written_small_and_whole() {
        let area = Rect::new(0, 0, 25, DIGIT_ROWS);
        let drawn = |number: &str| {
            let mut buffer = Buffer::empty(area);
            digits(&mut buffer, area, number, 1, ("#", Style::default()));
            (0..25).map(|x| buffer[(x, 0)].symbol()).collect::<String>()
        };
        assert_eq!(drawn("777").trim_end(), "###### ###### ######");
        assert_eq!(drawn("1234").trim_end(), "1234");
        let drawn = |number: &str| {
            let area = Rect::new(0, 0, 25, 2 * DIGIT_ROWS);
            let mut buffer = Buffer::empty(area);
            digits(&mut buffer, area, number, 2, ("#", Style::default()));
            (0..25).map(|x| buffer[(x, 0)].symbol()).collect::<String>()
        };
        assert_eq!(drawn("7").trim_end(), "############");
        assert_eq!(drawn("77").trim_end(), "###### ######", "twice as big it would not fit");
    }

    #[test]
    fn every_digit_is_another() {
        let shapes: std::collections::BTreeSet<_> = DIGITS.iter().collect();
        assert_eq!(shapes.len(), DIGITS.len());
    }
}
