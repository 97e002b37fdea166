//! A page: a text that is too long for the prompt's few rows, shown over the cards until it is closed.

use std::borrow::Cow;
use textwrap::{Options, WordSplitter};

/// A text, and where it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    title: String,
    lines: Vec<String>,
    /// The first row that is shown.
    first: usize,
    /// Below it stands how to turn it and close it.
    has_foot: bool,
    /// The same for the back row, if that is another thing.
    slide: Vec<PagePart>,
}

/// A paragraph of a page as the back row sees it, and what stands to the left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePart {
    /// To the left of it.
    pub mark: PageMark,
    /// The paragraph.
    pub text: String,
}

/// What stands to the left of a paragraph for the back row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageMark {
    /// Nothing: the paragraph takes that place as well.
    None,
    /// A number, in big digits where there is room for them.
    Number(usize),
    /// The same, and it is the one that counts.
    Right(usize),
    /// A word.
    Word(String),
}

impl Page {
    /// This text, from its beginning.
    #[must_use]
    pub fn new(title: impl Into<String>, text: &str) -> Self {
        let lines = text.lines().map(str::to_owned).collect();
        Self { title: title.into(), lines, first: 0, has_foot: true, slide: Vec::new() }
    }

    /// The same, and on a large screen, where the text would be lost in a corner, these paragraphs in its place.
    #[must_use]
    pub fn with_slide(self, slide: Vec<PagePart>) -> Self {
        Self { slide, ..self }
    }

    /// Its paragraphs for the back row; none if it has only its text.
    #[must_use]
    pub fn slide(&self) -> &[PagePart] {
        &self.slide
    }

    /// The same, without words on how to close it: the key bar has them.
    #[must_use]
    pub fn without_foot(self) -> Self {
        Self { has_foot: false, ..self }
    }

    /// True when how to turn and close it stands below it.
    #[must_use]
    pub fn has_foot(&self) -> bool {
        self.has_foot
    }

    /// What it is about.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Turns this many pages of this many columns and rows; not beyond the first or the last.
    pub fn turn(&mut self, pages: isize, columns: usize, rows: usize) {
        let step = rows.saturating_sub(1).max(1);
        let all = self.rows(columns).len();
        let moved = self.first.saturating_add_signed(pages.saturating_mul(step as isize));
        self.first = moved.min(all.saturating_sub(rows));
    }

    /// The rows that are shown in this many columns and rows; the number of the first, and how many there are in all.
    #[must_use]
    pub fn shown(&self, columns: usize, rows: usize) -> (Vec<String>, usize, usize) {
        let all = self.rows(columns);
        let count = all.len();
        let first = self.first.min(count.saturating_sub(rows));
        (all.into_iter().skip(first).take(rows).collect(), first, count)
    }

    /// How many rows of this many columns it takes.
    #[must_use]
    pub fn height(&self, columns: usize) -> usize {
        self.rows(columns).len()
    }

    fn rows(&self, columns: usize) -> Vec<String> {
        self.lines.iter().flat_map(|line| broken(line, columns.max(2))).collect()
    }
}

/// A line in rows of at most this many columns, broken at blanks; a word that is longer than a row in its middle.
#[must_use]
pub fn broken(line: &str, columns: usize) -> Vec<String> {
    let options = Options::new(columns).word_splitter(WordSplitter::NoHyphenation);
    textwrap::wrap(line, options).into_iter().map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_turns_from_the_first_page_to_the_last_and_no_further() {
        let text: String = (1..=10).map(|number| format!("line {number}\n")).collect();
        let mut page = Page::new("HELP", &text);
        let shown = |page: &Page| {
            let (rows, first, all) = page.shown(80, 4);
            (rows[0].clone(), rows.len(), first, all)
        };
        assert_eq!(shown(&page), ("line 1".to_owned(), 4, 0, 10));
        page.turn(1, 80, 4);
        assert_eq!(shown(&page), ("line 4".to_owned(), 4, 3, 10));
        page.turn(9, 80, 4);
        assert_eq!(shown(&page), ("line 7".to_owned(), 4, 6, 10));
        page.turn(-1, 80, 4);
        assert_eq!(shown(&page), ("line 4".to_owned(), 4, 3, 10));
        page.turn(-9, 80, 4);
        assert_eq!(shown(&page).2, 0);
    }

    #[test]
    fn long_lines_take_several_rows() {
        let page = Page::new("GET a", "abcdefg\n\n表表表");
        assert_eq!(page.shown(3, 9).0, ["abc", "def", "g", "", "表", "表", "表"]);
        assert_eq!(page.height(80), 3);
        let page = Page::new("CRASH ?", "when the next request gets there");
        assert_eq!(page.shown(20, 9).0, ["when the next", "request gets there"]);
    }
}
