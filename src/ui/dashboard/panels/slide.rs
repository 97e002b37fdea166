//! The paragraphs of a page for the back row: in the middle of a large screen, with air between them and big numbers.
//!
//! ```text
//! ╭ Scene 3 of 10: Dead, or only slow: can the backup tell? ─────────────────────────────╮
//! │                                                                                      │
//! │             Server 1, the primary, falls silent. Can server 2 find out whether it is │
//! │             dead or only slow?                                                       │
//! │                                                                                      │
//! │        ██                                                                            │
//! │        ██                                                                            │
//! │        ██   Yes: one that is only slow still answers, if you wait a little longer.   │
//! │        ██                                                                            │
//! │        ██                                                                            │
//! │                                                                                      │
//! │    ██████                                                                            │
//! │    …                                                                                 │
//! ╰──────────────────────────────────────────────────────────────────────────────────────╯
//! ```
//!
//! Letters of a terminal do not grow; what can be done is to part what they say, and to make the number big that one
//! raises a hand for.

use super::digits::{DIGIT_COLS, DIGIT_ROWS, digits};
use super::{cols, put, put_right};
use crate::ui::dashboard::model::page::{PageMark, PagePart, broken};
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// With fewer columns there is nothing to spread out.
const COLS_MIN: u16 = 90;
/// Longer lines lose the eye on its way back.
const TEXT_COLS_MAX: u16 = 76;
/// Between a mark and its paragraph.
const GAP_COLS: u16 = 3;
/// At most as many blank rows part paragraphs.
const GAP_ROWS_MAX: u16 = 3;
/// Numbers are at most this many times as big.
const SIZE_MAX: u16 = 2;

/// A slide with numbers of one size.
struct SlideLayout<'a> {
    /// How many times as big as they can be; 0: numbers are letters.
    size: u16,
    mark_cols: u16,
    paragraphs: Vec<SlideParagraph<'a>>,
}

/// A paragraph in lines, and how many rows it takes with its mark.
struct SlideParagraph<'a> {
    mark: &'a PageMark,
    lines: Vec<String>,
    rows: u16,
}

/// Draws the paragraphs, and says so; false, and nothing drawn, where they have no room for this.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, parts: &[PagePart], theme: &Theme) -> bool {
    if parts.is_empty() || area.width < COLS_MIN {
        return false;
    }
    let gaps = u16::try_from(parts.len()).unwrap_or(u16::MAX).saturating_sub(1);
    let mut layouts = (0..=SIZE_MAX).rev().map(|size| SlideLayout::new(parts, area.width, size));
    let Some(layout) = layouts.find(|layout| layout.rows().saturating_add(gaps) <= area.height) else {
        return false;
    };
    let spare = area.height - layout.rows();
    let gap = (spare / (gaps + 2)).clamp(1, GAP_ROWS_MAX);
    let lines = layout.paragraphs.iter().flat_map(|paragraph| &paragraph.lines);
    let text_cols = lines.map(|line| cols(line)).max().unwrap_or(0);
    let x = area.x + area.width.saturating_sub(layout.mark_cols + text_cols) / 2;
    let mut y = area.y + (spare - gap * gaps) / 2;
    for paragraph in &layout.paragraphs {
        let place = Rect { x, y, width: area.right() - x, height: paragraph.rows };
        layout.draw_paragraph(buffer, place, paragraph, theme);
        y += paragraph.rows + gap;
    }
    true
}

impl<'a> SlideLayout<'a> {
    fn new(parts: &'a [PagePart], width: u16, size: u16) -> Self {
        let mark_cols = parts.iter().map(|part| mark_cols(&part.mark, size)).max().unwrap_or(0) + GAP_COLS;
        let text_cols = TEXT_COLS_MAX.min(width.saturating_sub(mark_cols));
        let laid = |part: &'a PagePart| {
            let lines = broken(&part.text, usize::from(text_cols));
            let mark_rows = if is_number(&part.mark) { size * DIGIT_ROWS } else { 0 };
            let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX).max(mark_rows);
            SlideParagraph { mark: &part.mark, lines, rows }
        };
        Self { size, mark_cols, paragraphs: parts.iter().map(laid).collect() }
    }

    /// How many rows all of them take, without any between them.
    fn rows(&self) -> u16 {
        self.paragraphs.iter().map(|paragraph| paragraph.rows).fold(0, u16::saturating_add)
    }

    fn draw_paragraph(&self, buffer: &mut Buffer, place: Rect, paragraph: &SlideParagraph<'_>, theme: &Theme) {
        let SlideParagraph { mark, lines, .. } = paragraph;
        let (word, style) = match mark {
            PageMark::None => (String::new(), theme.strong),
            PageMark::Number(number) => (number.to_string(), theme.view.add_modifier(Modifier::BOLD)),
            PageMark::Right(number) => (number.to_string(), theme.primary.add_modifier(Modifier::BOLD)),
            PageMark::Word(word) => (word.clone(), theme.title),
        };
        self.draw_mark(buffer, place, (&word, is_number(mark)), (theme.glyphs.sparks[7], style));
        // Beside the middle of a big number.
        let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let first = place.y + place.height.saturating_sub(height) / 2;
        let style = if let PageMark::None | PageMark::Right(_) = mark { theme.strong } else { theme.text };
        for (y, line) in (first..place.bottom()).zip(lines) {
            put(buffer, place.x + self.mark_cols, y, place.width.saturating_sub(self.mark_cols), line, style);
        }
    }

    /// Marks end where the gap begins: so they stand close to what they are for.
    fn draw_mark(&self, buffer: &mut Buffer, place: Rect, (mark, is_number): (&str, bool), dot: (&str, Style)) {
        let right = place.x + self.mark_cols.saturating_sub(GAP_COLS);
        if is_number && self.size > 0 {
            let width = DIGIT_COLS * self.size;
            let square = Rect { x: right.saturating_sub(width), width, ..place };
            digits(buffer, square, mark, self.size, dot);
        } else {
            // As in a text: `1. this`.
            let (mark, right) =
                if is_number { (format!("{mark}."), right + GAP_COLS - 1) } else { (mark.to_owned(), right) };
            put_right(buffer, right, place.y, place.width, &mark, dot.1);
        }
    }
}

fn is_number(mark: &PageMark) -> bool {
    matches!(mark, PageMark::Number(_) | PageMark::Right(_))
}

/// How many columns a mark takes.
fn mark_cols(mark: &PageMark, size: u16) -> u16 {
    match mark {
        PageMark::None => 0,
        PageMark::Number(_) | PageMark::Right(_) if size > 0 => DIGIT_COLS * size,
        PageMark::Number(number) | PageMark::Right(number) => cols(&number.to_string()) + 1,
        PageMark::Word(word) => cols(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::dashboard::ThemeName;

    fn part(mark: PageMark, text: &str) -> PagePart {
        PagePart { mark, text: text.to_owned() }
    }

    /// The rows of a screen of this size without the blanks around what is said, if it was drawn at all.
    fn rows(parts: &[PagePart], (width, height): (u16, u16), ascii: bool) -> Option<Vec<String>> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        let drawn = draw(&mut buffer, area, parts, &Theme::new(ThemeName::Mono, ascii));
        let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim().to_owned();
        let rows: Vec<String> = (0..height).map(row).collect();
        assert!(drawn || rows.iter().all(String::is_empty));
        drawn.then_some(rows)
    }

    fn question(answers: usize) -> Vec<PagePart> {
        let answers = (1..=answers).map(|number| part(PageMark::Number(number), &format!("answer {number}")));
        std::iter::once(part(PageMark::None, "Who rules?")).chain(answers).collect()
    }

    #[test]
    fn a_number_is_as_big_as_all_of_them_fit() {
        let big = rows(&question(2), (156, 32), true).expect("drawn");
        let one = big.iter().position(|row| row.starts_with("####   answer 1")).expect("beside its middle");
        assert!(big[one - 4..one + 6].iter().all(|row| row.starts_with("####")), "{big:#?}");
        assert!(big[one - 5].is_empty() && big[one + 6].is_empty(), "{big:#?}");
        let four = rows(&question(4), (156, 32), true).expect("drawn");
        for number in 1..=4 {
            assert!(four.iter().any(|row| row.ends_with(&format!("##   answer {number}"))), "{four:#?}");
        }
        let letters = rows(&question(4), (96, 20), false).expect("drawn");
        let said: Vec<&str> = letters.iter().map(String::as_str).filter(|row| !row.is_empty()).collect();
        assert_eq!(said, ["Who rules?", "1. answer 1", "2. answer 2", "3. answer 3", "4. answer 4"]);
    }

    #[test]
    fn what_has_no_room_to_spread_is_left_to_the_page() {
        assert_eq!(rows(&question(2), (76, 15), false), None, "a terminal of 80 columns");
        assert_eq!(rows(&question(4), (156, 8), false), None, "a row too few");
        assert!(rows(&question(4), (156, 9), false).is_some());
        assert_eq!(rows(&[], (156, 32), false), None);
    }

    #[test]
    fn words_stand_at_the_left_of_what_they_are_about_and_nothing_is_lost() {
        let why = "Silence is all that there is to hear. ".repeat(6);
        let parts = [part(PageMark::Right(3), "Right: No."), part(PageMark::Word("Why".into()), why.trim())];
        let drawn = rows(&parts, (156, 32), false).expect("drawn");
        assert!(drawn.iter().any(|row| row.contains("█   Right: No.")), "{drawn:#?}");
        let first = drawn.iter().position(|row| row.starts_with("Why   Silence")).expect("it is there");
        let said: Vec<&str> = drawn[first..].iter().map(|row| row.trim_start_matches("Why").trim()).collect();
        assert_eq!(said.join(" ").trim(), why.trim());
    }
}
