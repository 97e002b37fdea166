//! The last row of the dashboard, right above the prompt: what to press.
//!
//! ```text
//!  F1 help  F4 recover  F5 crash primary  F6 crash backup  F7 cut link  F8 pause  F9 dice off
//! ```
//!
//! It is also the line between dashboard and prompt, hence a bar over the whole width. The keys come
//! from the console's own table.

use super::{cols, paint, put};
use crate::ui::dashboard::theme::Theme;
use crate::ui::dashboard::view::KeyHint;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Draws the bar. Where not all keys fit, gaps shrink first, then words, then the gap between key and word (`F5crash`),
/// then the last keys are left out.
pub fn draw(buffer: &mut Buffer, area: Rect, keys: &[KeyHint], theme: &Theme) {
    paint(buffer, area.x, area.y, area.width, theme.bar);
    let label = |hint: &KeyHint, brief| if brief { hint.brief.clone() } else { hint.label.clone() };
    let fits = |gap: u16, brief| {
        let needed: u16 = keys.iter().map(|hint| cols(&hint.key) + 1 + cols(&label(hint, brief)) + gap).sum();
        needed < area.width + gap
    };
    let ways = [(3, false), (2, false), (1, false), (2, true), (1, true)];
    let way = ways.into_iter().find(|(gap, brief)| fits(*gap, *brief));
    let ((gap, brief), apart) = way.map_or(((1, true), 0), |way| (way, 1));
    let mut x = area.x + 1;
    for hint in keys {
        let label = label(hint, brief);
        if x + cols(&hint.key) + apart + cols(&label) > area.right() {
            break;
        }
        let (key_style, style) = if hint.enabled { (theme.bar_key, theme.bar) } else { (theme.bar_off, theme.bar_off) };
        x = put(buffer, x, area.y, cols(&hint.key), &hint.key, key_style) + apart;
        x = put(buffer, x, area.y, cols(&label), &label, style) + gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::commands::keys::KEYS;
    use crate::ui::dashboard::ThemeName;

    #[test]
    fn on_the_smallest_screen_that_shows_everything_all_keys_up_to_ten_are_named() {
        let keys: Vec<KeyHint> = KEYS.iter().map(|key| KeyHint::new(key.name(), key.label).brief(key.brief)).collect();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 1));
        draw(&mut buffer, Rect::new(0, 0, 80, 1), &keys, &Theme::new(ThemeName::Mono, true));
        let row: String = (0..80).map(|x| buffer[(x, 0)].symbol()).collect();
        assert!(row.starts_with(" F1help F2stage F3kill ") && row.contains(" F10map"), "{row}");
    }
}
