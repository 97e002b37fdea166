//! One sentence above the keys, for whoever goes through what happened step by step: in a row, or in two where it must.
//!
//! ```text
//!  server 2 heard nothing from 1 for 50 ms; a lease lasts 40: 1 reads no more
//! ```

use super::{put, wrap};
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A sentence takes at most this many rows.
pub const ROWS_MAX: usize = 2;

/// The rows of a sentence on a screen of this many columns.
#[must_use]
pub fn rows(caption: &str, width: u16) -> Vec<String> {
    wrap(caption, width.saturating_sub(2), ROWS_MAX)
}

/// Draws these rows at the foot of the area.
pub fn draw(buffer: &mut Buffer, area: Rect, rows: &[String], theme: &Theme) {
    for (y, row) in (area.y..area.bottom()).zip(rows) {
        put(buffer, area.x + 1, y, area.width.saturating_sub(1), row, theme.strong);
    }
}
