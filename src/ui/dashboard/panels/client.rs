//! Rank 0: the client and the metadata server share a process, and a box.
//!
//! ```text
//! ╭ client · metadata ─────╮
//! │ view 4  {2, 1}         │
//! │ GET color       red 5µs│
//! │ PUT color red    0.3 s…│
//! ╰ ✓ linearizable 12 ─────╯
//! ╭ client 3 ──────────────╮          further clients, while there is no load
//! │ GET color     (unknown)│
//! ╰────────────────────────╯
//! ```

use super::{cols, fit, put, put_right, seconds, short};
use crate::cluster::{LiveVerdict, Sight};
use crate::core::load::Report;
use crate::core::protocol::{Rank, Time};
use crate::ui::dashboard::model::{FinishedOperation, Model};
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Block, Widget};

/// Draws the box; without a border if it has but one row.
pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme, now: Time) {
    if area.height < 3 {
        let x =
            put(buffer, area.x + 1, area.y, area.width - 1, "client", theme.client.add_modifier(Modifier::BOLD)) + 1;
        let room = area.right().saturating_sub(x);
        let (mut text, style) = latest(model, theme, now);
        if cols(&text) > room {
            text = text.split(' ').next().unwrap_or_default().to_owned();
        }
        put(buffer, x, area.y, room, &text, style);
        return;
    }
    Block::bordered().border_set(theme.glyphs.client).border_style(theme.client).render(area, buffer);
    let title = if area.width >= 21 { " client · metadata " } else { " client " };
    put(buffer, area.x + 1, area.y, area.width - 2, title, theme.client.add_modifier(Modifier::BOLD));

    if let Some((text, style)) = model.verdict.map(|verdict| badge(verdict, theme)) {
        put(buffer, area.x + 1, area.bottom() - 1, area.width - 2, &text, style);
    }

    let body = Rect { x: area.x + 2, y: area.y + 1, width: area.width - 4, height: area.height - 2 };
    if body.height == 1 {
        let (text, style) = latest(model, theme, now);
        put_right(buffer, body.right(), body.y, body.width, &text, style);
        let command = model.outstanding().map(|(_, command)| command.to_owned());
        let command = command.or(model.operations().next_back().map(|o| o.command.clone())).unwrap_or_default();
        put(buffer, body.x, body.y, body.width.saturating_sub(cols(&text) + 1), &command, theme.strong);
        return;
    }
    members(buffer, body, model, theme);
    let rows = model.load.as_ref().map_or(0, |report| load(buffer, body, report, theme));
    let rows = rows + model.door.as_ref().map_or(0, |sight| door(buffer, body, rows, sight, theme));
    operations(buffer, Rect { y: body.y + 1, height: body.height - 1 - rows, ..body }, model, theme, now);
}

/// Draws the box of the further clients: what they asked last, and what they were answered.
pub fn draw_others(buffer: &mut Buffer, area: Rect, model: &Model, theme: &Theme) {
    let ranks: Vec<Rank> = model.client_ranks().collect();
    let (Some(first), Some(last)) = (ranks.first(), ranks.last()) else { return };
    Block::bordered().border_set(theme.glyphs.client).border_style(theme.client).render(area, buffer);
    let title = title(&ranks, |rank| model.is_door(rank));
    put(buffer, area.x + 1, area.y, area.width - 2, &title, theme.client.add_modifier(Modifier::BOLD));
    let body = Rect { x: area.x + 2, y: area.y + 1, width: area.width - 3, height: area.height - 2 };
    for (y, (rank, asked)) in (body.y..body.bottom()).zip(model.others().newest_first()) {
        let name = if first == last { String::new() } else { format!("{rank}: ") };
        let (answer, style) = match &asked.answer {
            Some(answer) => (fit(answer, body.width / 2), outcome(answer, theme)),
            None => ("…".to_owned(), theme.doubt),
        };
        beside(
            buffer,
            Rect { y, height: 1, ..body },
            (&format!("{name}{}", asked.command), theme.strong),
            (&answer, style),
        );
    }
}

/// ` client 3 `, ` clients 3 to 5, door 6 `: the doors come last.
fn title(ranks: &[Rank], is_door: impl Fn(Rank) -> bool) -> String {
    let several = |what: &str, some: &[Rank]| match some {
        [] => None,
        [one] => Some(format!("{what} {one}")),
        [first, .., last] => Some(format!("{what}s {first} to {last}")),
    };
    let (clients, doors) = ranks.split_at(ranks.partition_point(|rank| !is_door(*rank)));
    let words: Vec<String> = several("client", clients).into_iter().chain(several("door", doors)).collect();
    format!(" {} ", words.join(", "))
}

/// One thing at the left end of a row, cut off if it must be, and another at its right end.
fn beside(buffer: &mut Buffer, row: Rect, left: (&str, Style), right: (&str, Style)) {
    put(buffer, row.x, row.y, row.width.saturating_sub(cols(right.0) + 1), left.0, left.1);
    put_right(buffer, row.right(), row.y, row.width, right.0, right.1);
}

/// The checker's verdict on all answers so far: ` ✓ linearizable 12 `.
fn badge(verdict: LiveVerdict, theme: &Theme) -> (String, Style) {
    match verdict {
        LiveVerdict::Linearizable { operations } => {
            (format!(" {} linearizable {} ", theme.glyphs.good, rounded(operations)), theme.ok)
        }
        LiveVerdict::Partly { operations, .. } => (format!(" ? judged only {} ", rounded(operations)), theme.doubt),
        LiveVerdict::Broken => (" NOT LINEARIZABLE ".to_owned(), theme.alarm),
    }
}

/// The view as the metadata server knows it: the primary first, in its colour.
fn members(buffer: &mut Buffer, body: Rect, model: &Model, theme: &Theme) {
    let right = body.right();
    let mut x = put(buffer, body.x, body.y, body.width, &format!("view {}", model.view_number()), theme.strong) + 2;
    for (i, rank) in model.members().iter().enumerate() {
        let (before, style) =
            if i == 0 { ("{", theme.primary.add_modifier(Modifier::BOLD)) } else { (", ", theme.backup) };
        x = put(buffer, x, body.y, right.saturating_sub(x), before, theme.faint);
        x = put(buffer, x, body.y, right.saturating_sub(x), &rank.to_string(), style);
    }
    if !model.members().is_empty() {
        put(buffer, x, body.y, right.saturating_sub(x), "}", theme.faint);
    }
}

/// How the load goes, at the bottom of the box; how many rows that took. What does not fit beside is left out.
fn load(buffer: &mut Buffer, body: Rect, report: &Report, theme: &Theme) -> u16 {
    let state = report.workload.map_or("off".to_owned(), |workload| workload.to_string());
    let Report { operations, per_second, failovers, lost, duplicated, .. } = report;
    let p99 = short(report.latencies.quantile(0.99));
    let gap = if report.downtime.is_zero() { "no gap".to_owned() } else { format!("gap {}", short(report.downtime)) };
    let judged = if *lost + *duplicated > 0 { theme.bad } else { theme.ok };
    let lines = [
        (format!("load {state} {}/s", rounded(*per_second)), format!("p99 {p99}"), theme.strong),
        (format!("{} ops", rounded(*operations)), gap, theme.text),
        (format!("lost {lost} dup {duplicated}"), format!("{failovers} failovers"), judged),
    ];
    let rows = (body.height - 1).min(lines.len() as u16);
    let skipped = lines.len() - usize::from(rows);
    for (i, (left, right, style)) in lines.iter().skip(skipped).enumerate() {
        let y = body.bottom() - rows + i as u16;
        put(buffer, body.x, y, body.width, left, *style);
        if cols(left) + 1 + cols(right) <= body.width {
            put_right(buffer, body.right(), y, body.width, right, theme.faint);
        }
    }
    rows
}

/// How the door is, above what is at the bottom already; how many rows that took.
fn door(buffer: &mut Buffer, body: Rect, taken: u16, sight: &Sight, theme: &Theme) -> u16 {
    let Sight { port, connections, per_second, slowest } = sight;
    let slowest =
        if slowest.is_zero() { "no request lately".to_owned() } else { format!("slowest {}", short(*slowest)) };
    let lines = [
        (format!("door :{port} {connections} in"), format!("{}/s", rounded(*per_second)), theme.strong),
        (slowest, String::new(), theme.faint),
    ];
    let rows = (body.height - 1 - taken).min(lines.len() as u16);
    for (row, (left, right, style)) in (0..rows).zip(&lines) {
        let y = body.bottom() - taken - rows + row;
        put(buffer, body.x, y, body.width, left, *style);
        if cols(left) + 1 + cols(right) <= body.width {
            put_right(buffer, body.right(), y, body.width, right, theme.strong);
        }
    }
    rows
}

/// `999`, `12.3k`, `4.5M`: there is little room.
fn rounded(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

/// The latest operations, newest at the bottom, one or two rows each.
fn operations(buffer: &mut Buffer, body: Rect, model: &Model, theme: &Theme, now: Time) {
    let mut rows: Vec<(String, String, Style, Style)> = Vec::new();
    let outstanding = model.outstanding().map(|(since, command)| {
        (command.to_owned(), format!("{} …", seconds(now.since(since))), theme.strong, theme.doubt)
    });
    let finished = model.operations().rev().enumerate().map(|(age, operation)| {
        let newest = age == 0 && model.outstanding().is_none();
        let style = if newest { theme.strong } else { theme.faint };
        (
            operation.command.clone(),
            answer(operation),
            style,
            if newest { outcome(&operation.reply, theme) } else { theme.faint },
        )
    });
    for (command, answer, style, answer_style) in outstanding.into_iter().chain(finished) {
        let fits = cols(&command) + 1 + cols(&answer) <= body.width;
        if !fits && body.height == 1 && rows.is_empty() {
            beside(buffer, body, (&command, style), (&fit(&answer, body.width / 2), answer_style));
            return;
        }
        let row = if fits {
            vec![(command, answer, style, answer_style)]
        } else {
            vec![(String::new(), answer, style, answer_style), (command, String::new(), style, answer_style)]
        };
        if rows.len() + row.len() > usize::from(body.height) {
            break;
        }
        rows.extend(row);
    }
    let top = body.y + body.height.saturating_sub(rows.len() as u16).min(1);
    for (i, (command, answer, style, answer_style)) in rows.iter().rev().enumerate() {
        let y = top + i as u16;
        put(buffer, body.x, y, body.width, command, *style);
        put_right(buffer, body.right(), y, body.width, &fit(answer, body.width), *answer_style);
    }
}

fn answer(operation: &FinishedOperation) -> String {
    format!("{} {}", fit(&operation.reply, 18), short(operation.took))
}

pub(super) fn outcome(reply: &str, theme: &Theme) -> Style {
    if reply.starts_with("(error)") || reply.starts_with("(unknown)") {
        theme.bad
    } else {
        theme.ok.add_modifier(Modifier::BOLD)
    }
}

/// One short line: what is waited for, or what came last.
fn latest(model: &Model, theme: &Theme, now: Time) -> (String, Style) {
    if let Some(report) = model.load.as_ref().filter(|report| report.workload.is_some()) {
        let (lost, duplicated) = (report.lost, report.duplicated);
        let style = if lost + duplicated > 0 { theme.bad } else { theme.ok };
        return (format!("{}/s lost {lost} dup {duplicated}", rounded(report.per_second)), style);
    }
    match (model.outstanding(), model.operations().next_back()) {
        (Some((since, _)), _) => (format!("{} …", seconds(now.since(since))), theme.doubt),
        (None, Some(operation)) => (answer(operation), outcome(&operation.reply, theme)),
        (None, None) => (String::new(), theme.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_clients_are_called_what_they_are() {
        let titled = |ranks: std::ops::RangeInclusive<u32>, first_door: u32| {
            title(&ranks.map(Rank).collect::<Vec<_>>(), |rank| rank.0 >= first_door)
        };
        assert_eq!(titled(3..=3, 9), " client 3 ");
        assert_eq!(titled(3..=4, 3), " doors 3 to 4 ");
        assert_eq!(titled(3..=6, 6), " clients 3 to 5, door 6 ");
    }
}
