//! What happened, one sentence each, the newest last.
//!
//! ```text
//!  events
//!  03:07.1 ✗ server 1 crashed after Prepare op=42 (dice 0.13 < 0.20)
//!  03:07.2 ⇨ view 4: primary 2, no backup: server 1 silent for 51 ms
//! ```
//!
//! Times count from the start of the console, as `up` in the header does.

use super::{put, wrap};
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::time::Duration;

const TIME_COLS: u16 = 8;
const SIGN_COLS: u16 = 2;
/// A sentence takes at most this many rows.
const ROWS_MAX: usize = 2;
/// With at least this many rows there is one for a title.
const TITLE_ROWS_MIN: u16 = 8;

/// Draws as many of the newest events as there are rows; long ones take two.
pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme) {
    let mut area = area;
    if area.height >= TITLE_ROWS_MIN {
        let left_out = model.story().left_out();
        let x = put(buffer, area.x + 1, area.y, area.width - 1, "events", theme.title);
        if left_out > 0 {
            put(buffer, x + 2, area.y, area.right() - x - 2, &format!("{left_out} more left out"), theme.faint);
        }
        area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    let text_x = area.x + 1 + TIME_COLS + SIGN_COLS;
    let text_cols = area.right().saturating_sub(text_x);
    let mut told = Vec::new();
    let mut free = usize::from(area.height);
    for line in model.story().lines().rev() {
        let rows = match line.times {
            1 => wrap(&line.text, text_cols, ROWS_MAX),
            times => wrap(&format!("{} ×{times}", line.text), text_cols, ROWS_MAX),
        };
        if rows.len() > free {
            break;
        }
        free -= rows.len();
        told.push((line, rows));
    }
    let mut y = area.y;
    for (age, (line, rows)) in told.iter().enumerate().rev() {
        let (style, sign) = theme.tone(line.tone);
        put(buffer, area.x + 1, y, TIME_COLS, &clock(line.at.since(model.started)), theme.faint);
        put(buffer, area.x + 1 + TIME_COLS, y, SIGN_COLS, sign, style);
        for row in rows {
            put(buffer, text_x, y, text_cols, row, if age == 0 { style } else { theme.text });
            y += 1;
        }
    }
}

/// `03:07.1`, and `1:03:07` after an hour.
fn clock(since: Duration) -> String {
    let s = since.as_secs();
    if s < 3_600 {
        format!("{:02}:{:02}.{}", s / 60, s % 60, since.subsec_millis() / 100)
    } else {
        format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
    }
}
