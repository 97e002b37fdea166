//! The first two rows: what everybody asks first, and what must not be overlooked.
//!
//! ```text
//!  understudy · view 4 · PRIMARY server 2 · failure rate 20% · seed 7 · up 3m12s     p50 6µs  p99 21µs
//!  why  nobody is served: every server of view 4 (1, 2) has lost its memory. RESET starts over empty
//! ```

use super::{cols, long, percent, put, put_right, short};
use crate::cluster::Standing;
use crate::core::protocol::Time;
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// Draws the header. What does not fit is left out, the least important first; the quantiles are, when
/// they stand in the row below (`beside_notice`).
pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme, now: Time, beside_notice: bool) {
    let mut right = area.right().saturating_sub(1);
    if let Some((p50, p99)) = model.latency().quantiles().filter(|_| !beside_notice && area.width >= 80) {
        let text = format!("p50 {}  p99 {}", short(p50), short(p99));
        put_right(buffer, right, area.y, cols(&text), &text, theme.faint);
        right -= cols(&text) + 2;
    }
    let (primary, primary_style) = primary(model, theme);
    // The number is the rank of importance: 0 stays longest.
    let mut parts = vec![
        (2, "understudy".to_owned(), theme.brand),
        (1, format!("view {}", model.view_number()), theme.strong),
        (0, primary, primary_style),
        (3, format!("failure rate {}", percent(model.failure_rate())), theme.text),
        (5, format!("seed {}", model.setup.seed), theme.faint),
        (6, format!("up {}", long(now.since(model.started))), theme.faint),
    ];
    if let Some(slowed) = model.setup.slowed() {
        parts.insert(4, (4, slowed, theme.doubt));
    }
    let room = right.saturating_sub(area.x + 1);
    let needed = |parts: &[(u8, String, Style)]| parts.iter().map(|(_, text, _)| cols(text) + 3).sum::<u16>() - 3;
    while parts.len() > 1 && needed(&parts) > room {
        let least = parts.iter().map(|(rank, ..)| *rank).max();
        parts.retain(|(rank, ..)| Some(*rank) != least);
    }
    let mut x = area.x + 1;
    for (i, (_, text, style)) in parts.iter().enumerate() {
        if i > 0 {
            x = put(buffer, x, area.y, right.saturating_sub(x), " · ", theme.faint);
        }
        x = put(buffer, x, area.y, right.saturating_sub(x), text, *style);
    }
}

fn primary(model: &Model, theme: &Theme) -> (String, Style) {
    match model.primary() {
        Some(rank) => (format!("PRIMARY server {rank}"), theme.primary.add_modifier(Modifier::BOLD)),
        None => ("NO PRIMARY".to_owned(), theme.bad.add_modifier(Modifier::BOLD)),
    }
}

/// Draws the notice row: unsafe, why not, the state of the network; what there is of it.
pub fn draw_notice(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme) {
    let right = area.right();
    let mut x = area.x + 1;
    if let Some(notice) = &model.unsafe_notice {
        x = put(buffer, x, area.y, right.saturating_sub(x), &format!(" UNSAFE  {notice} "), theme.alarm) + 1;
    }
    if let Some(why) = &model.why {
        x = put(buffer, x, area.y, right.saturating_sub(x), "why  ", theme.doubt.add_modifier(Modifier::BOLD));
        x = put(buffer, x, area.y, right.saturating_sub(x), why, theme.doubt) + 2;
    }
    if let Some(network) = network(model) {
        x = put(buffer, x, area.y, right.saturating_sub(x), "network  ", theme.bad.add_modifier(Modifier::BOLD));
        put(buffer, x, area.y, right.saturating_sub(x), &network, theme.bad);
    }
}

/// What was done to the network, in words: `cut 1 ⇄ 2 · loss 10% · delay 5 ms`.
fn network(model: &Model) -> Option<String> {
    let network = &model.network;
    let mut parts = Vec::new();
    for &(a, b) in &network.cut {
        match network.is_cut(b, a) {
            true if a < b => parts.push(format!("cut {a} - {b}")),
            true => {}
            false => parts.push(format!("cut {a} → {b}")),
        }
    }
    if network.loss > 0.0 {
        parts.push(format!("loss {}", percent(network.loss)));
    }
    if network.delay_ms > 0.0 {
        parts.push(format!("delay {} ms", network.delay_ms));
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// The whole state in one line, for terminals too small for cards.
pub fn draw_line(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme, now: Time) {
    let right = area.right();
    let mut x = put(buffer, area.x, area.y, area.width, &format!("view {}", model.view_number()), theme.strong);
    if let Some(notice) = model.unsafe_notice.as_ref().or(model.why.as_ref()) {
        x = put(buffer, x, area.y, right.saturating_sub(x), " · ", theme.faint);
        x = put(buffer, x, area.y, right.saturating_sub(x), notice, theme.doubt);
    }
    let mut roles = model.roles(now);
    roles.sort_by_key(|(rank, state)| (*state != Standing::Primary, *rank));
    for (rank, state) in roles {
        x = put(buffer, x, area.y, right.saturating_sub(x), " · ", theme.faint);
        x = put(buffer, x, area.y, right.saturating_sub(x), &format!("{rank} {state}"), theme.card(state).0);
    }
}
