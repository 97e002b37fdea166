//! A page over the cards: what is too long for the prompt's rows.
//!
//! ```text
//! ╭ HELP ────────────────────────────────────────────────────────────────────╮
//! │ data  GET key · PUT key value · ADD key value · UPDATE key value         │
//! │ …                                                                        │
//! ╰ 1-15 of 36 · PgUp, PgDn: turn the page · Esc: close ─────────────────────╯
//! ```

use super::{cols, put, slide};
use crate::ui::dashboard::model::page::Page;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::widgets::{Block, Clear, Widget};

/// Draws the page over whatever is there.
pub fn draw(buffer: &mut Buffer, area: Rect, page: &Page, theme: &Theme) {
    let inside = inside(area);
    if inside.is_empty() {
        return;
    }
    Clear.render(area, buffer);
    Block::bordered().border_set(theme.glyphs.client).border_style(theme.client).render(area, buffer);
    let bold = theme.client.add_modifier(Modifier::BOLD);
    put(buffer, area.x + 1, area.y, area.width - 2, &format!(" {} ", page.title()), bold);
    if slide::draw(buffer, inside, page.slide(), theme) {
        return;
    }
    let (rows, first, all) = page.shown(usize::from(inside.width), usize::from(inside.height));
    let mut foot = String::from(" Esc: close ");
    if rows.len() < all {
        foot = format!(" {}-{} of {all} · PgUp, PgDn: turn the page ·{foot}", first + 1, first + rows.len());
    }
    let y = area.bottom() - 1;
    if page.has_foot() {
        put(buffer, area.x + 1, y, cols(&foot).min(area.width - 2), &foot, theme.faint);
    }
    for (y, row) in (inside.y..inside.bottom()).zip(&rows) {
        put(buffer, inside.x, y, inside.width, row, theme.text);
    }
}

/// Where the text stands.
#[must_use]
pub fn inside(area: Rect) -> Rect {
    let (width, height) = (area.width.saturating_sub(4), area.height.saturating_sub(2));
    Rect { x: area.x + 2, y: area.y + 1, width, height }
}
