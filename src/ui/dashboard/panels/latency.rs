//! How long answers take: the quantiles, and the last operations as a sparkline.
//!
//! ```text
//!  answers p50 6µs  p99 21µs
//!  ▁▁▂▁▁▁▃▁▁▁▁▇▁▁▁▁▂▁▁
//! ```
//!
//! A column an operation; its height is the logarithm of its time, so that microseconds and the tens of
//! milliseconds of a failover are both seen.

use super::{cols, put, short};
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::time::Duration;

/// The lowest and the highest column: a microsecond and a second.
const LOWEST_US: f64 = 1.0;
const HIGHEST_US: f64 = 1e6;
/// From here on a request was held up by something that went wrong.
const SLOW: Duration = Duration::from_millis(10);

/// Draws the panel; in one row the sparkline follows the numbers.
pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme) {
    if area.is_empty() {
        return;
    }
    let Some((p50, p99)) = model.latency().quantiles() else { return };
    let mut x = area.x + 1;
    if area.height > 1 {
        x = put(buffer, x, area.y, area.width - 1, "answers  ", theme.title);
    }
    let numbers = format!("p50 {}  p99 {}", short(p50), short(p99));
    x = put(buffer, x, area.y, area.right().saturating_sub(x), &numbers, theme.text);
    let line = if area.height > 1 {
        Rect { x: area.x + 1, y: area.y + 1, width: area.width - 1, height: area.height - 1 }
    } else {
        Rect { x: x + 2, width: area.right().saturating_sub(x + 3), ..area }
    };
    sparks(buffer, line, model, theme);
}

fn sparks(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme) {
    let rows = area.height.min(3);
    let all = model.latency().sparks();
    let skip = all.len().saturating_sub(usize::from(area.width));
    for (x, took) in (area.x..area.right()).zip(all.skip(skip)) {
        let us = (took.as_secs_f64() * 1e6).max(LOWEST_US);
        let share = (us.ln() / (HIGHEST_US / LOWEST_US).ln()).clamp(0.0, 1.0);
        let mut eighths = 1 + (share * f64::from(rows * 8 - 1)).round() as usize;
        let style = if took >= SLOW { theme.bad } else { theme.primary };
        for row in (0..rows).rev() {
            let here = eighths.min(8);
            if here == 0 {
                break;
            }
            eighths -= here;
            put(buffer, x, area.y + row, cols(theme.glyphs.sparks[here - 1]), theme.glyphs.sparks[here - 1], style);
        }
    }
}
