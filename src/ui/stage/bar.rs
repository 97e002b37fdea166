//! The last row of the stage: where one is, and on the right, where there is room, what else there is to say.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Clear;

/// Draws the row. `back` is the style of what is empty.
pub(super) fn draw(frame: &mut Frame, (left, strong): (&str, Style), (right, faint): (&str, Style), back: Style) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let row = Rect { y: area.bottom() - 1, height: 1, ..area };
    let width = usize::from(area.width);
    frame.render_widget(Clear, row);
    let buffer = frame.buffer_mut();
    buffer.set_style(row, back);
    buffer.set_stringn(row.x, row.y, left, width, strong);
    let right_at = width.saturating_sub(right.len() + 1);
    if left.chars().count() < right_at {
        buffer.set_string(row.x + right_at as u16, row.y, right, faint);
    }
}
