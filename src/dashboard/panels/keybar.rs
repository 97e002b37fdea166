//! The last row of the dashboard, right above the prompt: what to press.
//!
//! ```text
//!  F1 help  F4 recover  F5 crash primary  F6 crash backup  F7 cut link  F8 pause  F9 dice off
//! ```
//!
//! It is also the line between dashboard and prompt, hence a bar over the whole width. The keys come
//! from the console's own table.

use super::{cols, paint, put};
use crate::dashboard::theme::Theme;
use crate::dashboard::view::KeyHint;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Draws the bar. Where not all keys fit, gaps shrink first, then the last keys are left out.
pub fn draw(buffer: &mut Buffer, area: Rect, keys: &[KeyHint], theme: &Theme) {
    paint(buffer, area.x, area.y, area.width, theme.bar);
    let needed = |gap: u16| keys.iter().map(|k| cols(&k.key) + 1 + cols(&k.label) + gap).sum::<u16>();
    let gap = if needed(3) <= area.width {
        3
    } else if needed(2) <= area.width {
        2
    } else {
        1
    };
    let mut x = area.x + 1;
    for KeyHint { key, label, enabled } in keys {
        if x + cols(key) + 1 + cols(label) > area.right() {
            break;
        }
        let (key_style, style) = if *enabled { (theme.bar_key, theme.bar) } else { (theme.bar_off, theme.bar_off) };
        x = put(buffer, x, area.y, cols(key), key, key_style) + 1;
        x = put(buffer, x, area.y, cols(label), label, style) + gap;
    }
}
