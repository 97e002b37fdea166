//! The stopwatch: how long the last failover took, and what took how long.
//!
//! ```text
//!  failover 46 ms                        failover 46 ms  detect 41 · decide 0.9 · take over 3 · first answer 1
//!  detect       ▇▇▇▇▇▇▇▇▇▇▇       41 ms
//!  decide                  ▇     0.9 ms
//!  take over               ▇       3 ms
//!  first answer             ▇      1 ms
//! ```
//!
//! Where everything is slowed down (`--pace`) it says so. When nobody can take over it stands still, and says why in
//! place of the phases.

use super::{cols, put, put_right, wrap};
use crate::core::protocol::Time;
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::model::stopwatch::Failover;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use std::time::Duration;

const NAME_COLS: u16 = 13;
const NUMBER_COLS: u16 = 8;

/// Draws the panel, in one line if it has but one.
pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme, now: Time) {
    if area.is_empty() {
        return;
    }
    let mut x = put(buffer, area.x + 1, area.y, area.width - 1, "failover", theme.title) + 1;
    let Some(failover) = model.stopwatch().failover() else {
        put(buffer, x, area.y, area.right().saturating_sub(x), "none yet", theme.faint);
        return;
    };
    let (total, style) = total(model, failover, theme, now);
    x = put(buffer, x, area.y, area.right().saturating_sub(x), &total, style) + 2;
    let slowed = model.setup.slowed();
    if model.stopwatch().is_held() {
        let why = model.why.as_deref().unwrap_or("nobody can take over");
        if area.height < 5 {
            put(buffer, x, area.y, area.right().saturating_sub(x), why, theme.doubt);
        } else {
            let width = area.width.saturating_sub(1);
            for (y, row) in (area.y + 1..area.bottom()).zip(wrap(why, width, 4)) {
                put(buffer, area.x + 1, y, width, &row, theme.doubt);
            }
        }
        return;
    }
    if area.height < 5 {
        for (i, (name, took)) in failover.phases().into_iter().enumerate() {
            let separator = if i > 0 { " · " } else { "" };
            x = put(buffer, x, area.y, area.right().saturating_sub(x), separator, theme.faint);
            x = put(buffer, x, area.y, area.right().saturating_sub(x), name, theme.faint);
            let number = took.map_or("…".into(), bare);
            x = put(buffer, x + 1, area.y, area.right().saturating_sub(x + 1), &number, theme.text);
        }
        // The header says it too.
        if let Some(slowed) = slowed.filter(|slowed| x + 2 + cols(slowed) < area.right()) {
            put(buffer, x + 2, area.y, area.width, &slowed, theme.doubt);
        }
        return;
    }
    if let Some(slowed) = slowed {
        put(buffer, x, area.y, area.right().saturating_sub(x), &slowed, theme.doubt);
    }
    phases(buffer, Rect { y: area.y + 1, height: 4, ..area }, failover, theme, now);
}

/// The number in the title: live while it runs.
fn total(model: &Model, failover: &Failover, theme: &Theme, now: Time) -> (String, Style) {
    if model.stopwatch().is_running() {
        let runs = model.stopwatch().runs_for(now);
        return (format!("{} ms …", bare(runs)), theme.doubt.add_modifier(Modifier::BOLD));
    }
    if model.stopwatch().is_held() {
        let runs = model.stopwatch().runs_for(now);
        return (format!("stopped after {} ms", runs.as_millis()), theme.bad.add_modifier(Modifier::BOLD));
    }
    (format!("{} ms", bare(failover.total())), theme.strong)
}

/// The phases below each other, each starting where the one before it ended.
fn phases(buffer: &mut Buffer, area: Rect, failover: &Failover, theme: &Theme, now: Time) {
    let bar_x = area.x + 1 + NAME_COLS;
    let bar_cols = area.right().saturating_sub(bar_x + NUMBER_COLS + 1);
    let running = now.since(failover.phase_began);
    let open = failover.phases().iter().position(|(_, took)| took.is_none()).filter(|_| !failover.is_ready());
    let whole = failover.total() + if open.is_some() { running } else { Duration::ZERO };
    let column = |at: Duration| {
        let share = if whole.is_zero() { 0.0 } else { at.as_secs_f64() / whole.as_secs_f64() };
        (share * f64::from(bar_cols)) as u16
    };
    let mut before = Duration::ZERO;
    for (i, (name, took)) in failover.phases().into_iter().enumerate() {
        let y = area.y + i as u16;
        put(buffer, area.x + 1, y, NAME_COLS, name, theme.faint);
        let live = open == Some(i);
        let Some(took) = took.or(live.then_some(running)) else {
            let text = if i == 3 && failover.is_ready() { "when next asked" } else { "" };
            put(buffer, bar_x, y, area.right().saturating_sub(bar_x), text, theme.faint);
            continue;
        };
        let (from, to) = (column(before).min(bar_cols.saturating_sub(1)), column(before + took));
        let style = if live { theme.doubt } else { theme.primary };
        for x in from..to.max(from + 1).min(bar_cols) {
            put(buffer, bar_x + x, y, 1, theme.glyphs.sparks[6], style);
        }
        let number = format!("{} ms", bare(took));
        put_right(buffer, area.right(), y, cols(&number), &number, theme.text);
        before += took;
    }
}

/// Milliseconds: `0.03`, `0.9`, `3.1`, `41`.
fn bare(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1e3;
    match ms {
        ..0.095 => format!("{ms:.2}"),
        ..9.95 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}
