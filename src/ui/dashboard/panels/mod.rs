//! The panels, one small file each, and the few strokes that they share.

pub mod big;
pub mod caption;
pub mod card;
pub mod client;
pub mod diagram;
mod digits;
pub mod events;
pub mod failover;
pub mod header;
pub mod keybar;
pub mod latency;
pub mod links;
pub mod page;
mod slide;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Writes `text` from (x, y) on, over at most `width` columns; what does not fit ends in `…`.
/// Answers the column after it.
fn put(buffer: &mut Buffer, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
    let area = buffer.area;
    if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
        return x;
    }
    let width = width.min(area.right() - x);
    let (end, _) = buffer.set_stringn(x, y, fit(text, width), usize::from(width), style);
    end
}

/// Writes `text` so that it ends before column `right`.
fn put_right(buffer: &mut Buffer, right: u16, y: u16, width: u16, text: &str, style: Style) {
    let used = cols(text).min(width);
    put(buffer, right.saturating_sub(used), y, used, text, style);
}

/// How many columns `text` takes.
fn cols(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// `text`, or as much of it as fits with an `…`.
fn fit(text: &str, width: u16) -> String {
    if cols(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > usize::from(width) {
            break;
        }
        short.push(c);
    }
    if width > 0 {
        short.push('…');
    }
    short
}

/// Breaks a sentence at blanks into at most this many rows. What is too long for them is too long in the last one.
fn wrap(text: &str, width: u16, rows_max: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rest = text;
    while rows.len() + 1 < rows_max && cols(rest) > width {
        let mut row = String::new();
        let mut after = rest;
        while let Some((word, next)) = after.split_once(' ') {
            if cols(&row) + cols(word) > width {
                break;
            }
            row.push_str(word);
            row.push(' ');
            after = next;
        }
        if row.is_empty() {
            break;
        }
        rows.push(row.trim_end().to_owned());
        rest = after;
    }
    rows.push(rest.to_owned());
    rows
}

/// Restyles `width` cells from (x, y) on.
fn paint(buffer: &mut Buffer, x: u16, y: u16, width: u16, style: Style) {
    buffer.set_style(Rect { x, y, width, height: 1 }.intersection(buffer.area), style);
}

/// A bar of `width` parts of which `share` are full.
fn gauge(parts: [&'static str; 2], share: f64, width: u16) -> String {
    let full = (share.clamp(0.0, 1.0) * f64::from(width)).round() as u16;
    (0..width).map(|n| parts[usize::from(n >= full)]).collect()
}

/// `800ns`, `6µs`, `1.2ms`, `46ms`, `3.1s`.
pub(crate) fn short(took: Duration) -> String {
    let nanos = took.as_nanos();
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", nanos / 1_000),
        1_000_000..10_000_000 => format!("{:.1}ms", took.as_secs_f64() * 1e3),
        10_000_000..1_000_000_000 => format!("{}ms", nanos / 1_000_000),
        1_000_000_000..10_000_000_000 => format!("{:.1}s", took.as_secs_f64()),
        _ => format!("{}s", took.as_secs()),
    }
}

/// `0.8 s`, `41 s`: for what a person waits for.
fn seconds(lasts: Duration) -> String {
    let tenths = lasts.as_millis() / 100;
    if tenths < 100 { format!("{}.{} s", tenths / 10, tenths % 10) } else { format!("{} s", tenths / 10) }
}

/// `12s`, `3m12s`, `2h05m`.
fn long(lasts: Duration) -> String {
    let s = lasts.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
    }
}

/// A probability, as people say it.
fn percent(probability: f64) -> String {
    let percent = probability * 100.0;
    if (percent - percent.round()).abs() < 0.05 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
}
