//! One sentence above the keys, for whoever goes through what happened step by step.
//!
//! ```text
//!  server 2 heard nothing from 1 for 50 ms; a lease lasts 40: 1 reads no more
//! ```

use super::put;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Draws the sentence.
pub fn draw(buffer: &mut Buffer, area: Rect, caption: &str, theme: &Theme) {
    put(buffer, area.x + 1, area.y, area.width.saturating_sub(1), caption, theme.strong);
}
