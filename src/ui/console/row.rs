//! The row in which a line is edited, as it is written to the terminal.
//!
//! ```text
//! understudy[view 4 · primary 2]> PUT color▏ value
//! understudy[view 4 · primary 2]> …o one and to everybody▏ who comes later, and a…
//! ```
//!
//! A line is always one row: of a long one that part is shown which surrounds the cursor, with a mark where it goes
//! on. What does not take the columns that it should, or obeys nobody knows what, is shown as its escape; so the
//! terminal, whatever it makes of such characters, never stands elsewhere than this file believes.

use super::answer::Palette;
use super::ascii;
use super::assist::Span;
use crate::core::store::bytes::is_shown;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What the prompt starts with where there is room.
const NAME: &str = "understudy";
/// The prompt leaves at least this many columns to the line, where there are that many.
const LINE_COLUMNS_MIN: usize = 24;
/// The cursor stands no nearer to the right edge than this share of the row, while the line goes on there.
const AHEAD_SHARE: usize = 4;

/// The prompt with this state, as long as there is room for it.
#[must_use]
pub fn prompt(state: &str, columns: usize) -> String {
    let room = columns.saturating_sub(LINE_COLUMNS_MIN);
    let forms = [format!("{NAME}[{state}]> "), format!("[{state}]> ")];
    forms.into_iter().find(|form| form.width() <= room).unwrap_or_else(|| "> ".to_owned())
}

/// Another prompt, such as that of a search: its end is what matters.
#[must_use]
pub fn fitted(prompt: &str, columns: usize) -> String {
    let shown: Vec<String> =
        prompt.chars().map(|c| if is_shown(c) { c.to_string() } else { ascii::escape(c) }).collect();
    let room = columns.saturating_sub(LINE_COLUMNS_MIN).max(1);
    let mut used = 0;
    let fits = shown.iter().rev().take_while(|piece| {
        used += piece.width();
        used <= room
    });
    let count = fits.count();
    shown[shown.len() - count..].concat()
}

/// What stands in the row.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Before the line.
    pub prompt: &'a str,
    /// The line, in pieces.
    pub spans: &'a [Span<'a>],
    /// The cursor, in bytes of the line; `None`: the line is over.
    pub cursor: Option<usize>,
    /// What is missing, behind the line.
    pub hint: &'a str,
}

/// A character of the line as it is shown.
struct Cell<'a> {
    text: Cow<'a, str>,
    columns: usize,
    style: &'static str,
}

impl Line<'_> {
    /// The row for a terminal of this many columns, and the column of the cursor. The last column stays free: a
    /// terminal that has filled it is of two minds about where its cursor is.
    #[must_use]
    pub fn draw(&self, columns: usize, palette: &Palette) -> (String, usize) {
        let prompt_columns = self.prompt.width();
        let room = columns.saturating_sub(prompt_columns + 1).max(1);
        let (cells, cursor) = self.cells(palette);
        let widths: Vec<usize> = cells.iter().map(|cell| cell.columns).collect();
        let window = window(&widths, cursor, room);
        let mut text = palette.paint(palette.prompt, self.prompt);
        let mut column = prompt_columns;
        let mut cursor_column = column;
        let mark = |text: &mut String| text.push_str(&palette.paint(palette.faint, palette.more()));
        if window.before {
            mark(&mut text);
            column += 1;
        }
        for (at, cell) in cells.iter().enumerate().take(window.end).skip(window.start) {
            if at == cursor {
                cursor_column = column;
            }
            text.push_str(&palette.paint(cell.style, &cell.text));
            column += cell.columns;
        }
        if cursor >= window.end {
            cursor_column = column;
        }
        if window.after {
            mark(&mut text);
        }
        (text, cursor_column)
    }

    /// The line and its hint in cells, and which of them the cursor is on.
    fn cells(&self, palette: &Palette) -> (Vec<Cell<'_>>, usize) {
        let mut cells = Vec::new();
        let mut cursor = None;
        let mut at = 0;
        for span in self.spans {
            for (from, c) in span.text.char_indices() {
                if self.cursor.is_some_and(|cursor| cursor <= at + from) {
                    cursor.get_or_insert(cells.len());
                }
                cells.push(cell(c, &span.text[from..from + c.len_utf8()], span.style, palette.ascii));
            }
            at += span.text.len();
        }
        let end = cells.len();
        cells.extend(
            self.hint
                .char_indices()
                .map(|(from, c)| cell(c, &self.hint[from..from + c.len_utf8()], palette.faint, palette.ascii)),
        );
        // Of a line that is over, the beginning tells most.
        let otherwise = if self.cursor.is_some() { end } else { 0 };
        (cells, cursor.unwrap_or(otherwise))
    }
}

fn cell<'a>(c: char, text: &'a str, style: &'static str, only_ascii: bool) -> Cell<'a> {
    if is_shown(c) && (c.is_ascii() || !only_ascii) {
        return Cell { text: Cow::Borrowed(text), columns: c.width().unwrap_or(1), style };
    }
    let text = ascii::escape(c);
    Cell { columns: text.width(), text: Cow::Owned(text), style }
}

/// Which cells are shown: `start..end`, and whether a mark stands before and behind them.
#[derive(Debug, PartialEq, Eq)]
struct RowWindow {
    start: usize,
    end: usize,
    before: bool,
    after: bool,
}

/// As many cells as `room` holds, the one at `cursor` and some behind it among them. The cursor may also stand behind
/// the last cell, on a column of its own.
fn window(widths: &[usize], cursor: usize, room: usize) -> RowWindow {
    if widths.iter().sum::<usize>() <= room {
        return RowWindow { start: 0, end: widths.len(), before: false, after: false };
    }
    let marks = if room > 4 { 2 } else { 0 };
    let room = room - marks;
    // From the right end of what must be seen to the left, as far as there is room.
    let mut end = cursor.min(widths.len());
    let mut ahead = 0;
    while end < widths.len() && (end == cursor || ahead + widths[end] <= room / AHEAD_SHARE) {
        ahead += widths[end];
        end += 1;
    }
    let mut used = ahead;
    let mut start = cursor.min(widths.len());
    while start > 0 && used + widths[start - 1] <= room {
        start -= 1;
        used += widths[start];
    }
    while end < widths.len() && used + widths[end] <= room {
        used += widths[end];
        end += 1;
    }
    RowWindow { start, end, before: marks > 0 && start > 0, after: marks > 0 && end < widths.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Palette = Palette::PLAIN;

    fn draw(line: &str, cursor: usize, hint: &str, columns: usize) -> (String, usize) {
        let spans = [Span { text: line, style: "" }];
        Line { prompt: "> ", spans: &spans, cursor: Some(cursor), hint }.draw(columns, &PLAIN)
    }

    #[test]
    fn a_short_line_is_shown_as_it_is() {
        assert_eq!(draw("GET", 3, " key", 20), ("> GET key".to_owned(), 5));
        assert_eq!(draw("GET a", 1, "", 20), ("> GET a".to_owned(), 3));
        assert_eq!(draw("", 0, "", 20), ("> ".to_owned(), 2));
    }

    #[test]
    fn of_a_long_line_the_surroundings_of_the_cursor_are_shown() {
        let line: String = ('a'..='z').collect();
        assert_eq!(draw(&line, 0, "", 15), ("> abcdefghij…".to_owned(), 2));
        assert_eq!(draw(&line, 26, "", 15), ("> …qrstuvwxyz".to_owned(), 13));
        assert_eq!(draw(&line, 13, "", 15), ("> …fghijklmno…".to_owned(), 11));
        assert_eq!(draw(&line, 4, "", 15), ("> abcdefghij…".to_owned(), 6));
        let spans = [Span { text: &line, style: "" }];
        let over = Line { prompt: "> ", spans: &spans, cursor: None, hint: "" };
        assert_eq!(over.draw(15, &PLAIN).0, "> abcdefghij…");
    }

    #[test]
    fn what_a_terminal_may_draw_otherwise_is_shown_as_its_escape() {
        assert_eq!(draw("a❤\u{fe0f}b", 7, "", 40), ("> a❤\\u{fe0f}b".to_owned(), 12));
        assert_eq!(draw("a\nb\x1b", 0, "", 40), ("> a\\nb\\u{1b}".to_owned(), 2));
        let ascii = Palette { ascii: true, ..PLAIN };
        let spans = [Span { text: "ä", style: "" }];
        let line = Line { prompt: "> ", spans: &spans, cursor: None, hint: "" };
        assert_eq!(line.draw(40, &ascii).0, "> \\u{e4}");
    }

    #[test]
    fn the_prompt_gives_way_to_the_line() {
        assert_eq!(prompt("view 4 · primary 2", 80), "understudy[view 4 · primary 2]> ");
        assert_eq!(prompt("view 4 · primary 2", 50), "[view 4 · primary 2]> ");
        assert_eq!(prompt("view 4 · primary 2", 30), "> ");
    }

    proptest! {
        #[test]
        fn a_row_is_never_too_long_and_holds_its_cursor(
            line in "[a-z表❤\u{fe0f}\n]{0,90}",
            hint in "[a-z]{0,9}",
            at in any::<prop::sample::Index>(),
            columns in 4_usize..100,
        ) {
            let places: Vec<usize> = line.char_indices().map(|(at, _)| at).chain([line.len()]).collect();
            let (text, cursor) = draw(&line, *at.get(&places), &hint, columns);
            prop_assert!(text.width() < columns.max(2 + 12), "{} in {columns}", text.width());
            prop_assert!((2..columns.max(2 + 12)).contains(&cursor), "{cursor} in {columns}");
        }
    }
}
