//! The links, and the messages that fly along them.
//!
//! ```text
//!  ┃◀──●───│ client │──────▶│        two servers: a track for each direction of each link
//!  ┃──────▶│        │◀──────│
//!  ┃        ╰──────╯         │
//!  ┃──── Prepare op=42 ◆ ───▶│
//!  ┃◀╌╌╌╌╌╌╌╌╌╌ ✗ ╌╌╌╌╌╌╌╌╌╌╌│        cut, in this direction
//!
//!  └───────────│──┘ └───────────│──┘  three and more: one line for all
//!  client ─────┴──●──┬──────────┴──┬─
//!  ┌─────────────────│┐ ┌──────────│┐
//! ```
//!
//! Only real traffic is drawn, slowed down; see [`crate::ui::dashboard::model::flights`].

use super::{cols, put};
use crate::core::protocol::Rank;
use crate::core::protocol::Time;
use crate::core::protocol::view::METADATA;
use crate::ui::dashboard::layout::{Plan, Wiring};
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;

/// From this many cells on a track has room for words.
const LABEL_COLS_MIN: usize = 30;

/// Draws links, heartbeats, cuts and flights.
pub fn draw(buffer: &mut Buffer, plan: &Plan, model: &Model, theme: &Theme, now: Time) {
    let mut ranks: Vec<Rank> = std::iter::once(METADATA).chain(model.servers().iter().map(|s| s.rank)).collect();
    // Further clients share a box, and its links.
    ranks.extend(model.client_ranks().next().filter(|_| plan.clients.is_some()));
    if let Wiring::Bus { row } = plan.wiring {
        bus(buffer, plan, row, theme);
    }
    for &from in &ranks {
        for &to in ranks.iter().filter(|to| **to != from) {
            let track = track(plan, from, to);
            match (plan.wiring, track.first()) {
                (Wiring::Pair { .. }, _) => line(buffer, &track, model, theme, (from, to), now),
                (_, Some(at)) if from != METADATA && ticks(model, from, to, now) => {
                    put(buffer, at.x, at.y, 1, theme.glyphs.tick, theme.faint);
                }
                _ => {}
            }
        }
    }
    if model.setup.animated {
        flights(buffer, plan, model, theme, now);
    }
}

/// One direction of one link.
fn line(buffer: &mut Buffer, track: &[Position], model: &Model, theme: &Theme, (from, to): (Rank, Rank), now: Time) {
    let (Some(first), Some(last)) = (track.first(), track.last()) else { return };
    let ends = |rank: Rank| -> Vec<Rank> {
        if rank.0 > model.setup.servers { model.client_ranks().collect() } else { vec![rank] }
    };
    let (senders, receivers) = (ends(from), ends(to));
    let cut = senders.iter().any(|from| receivers.iter().any(|to| model.network.is_cut(*from, *to)));
    let (glyph, style) = if cut { (theme.glyphs.link[1], theme.bad) } else { (theme.glyphs.link[0], theme.link) };
    for at in track {
        put(buffer, at.x, at.y, 1, glyph, style);
    }
    put(buffer, last.x, last.y, 1, theme.glyphs.heads[usize::from(last.x > first.x)], style);
    let middle = track[track.len() / 2];
    if cut {
        put(buffer, middle.x, middle.y, 1, theme.glyphs.lost, theme.bad.add_modifier(Modifier::BOLD));
    } else if ticks(model, from, to, now) {
        put(buffer, middle.x, middle.y, 1, theme.glyphs.tick, theme.faint);
    }
}

fn ticks(model: &Model, from: Rank, to: Rank, now: Time) -> bool {
    model.setup.animated && model.flights().ticks(from, to, now, model.started)
}

/// The one line of three and more servers, with a leg to each card.
fn bus(buffer: &mut Buffer, plan: &Plan, row: u16, theme: &Theme) {
    let Some(client) = plan.client else { return };
    let end = plan.cards.iter().map(|card| port(*card, row).0).max().unwrap_or(client.right());
    for x in client.right()..=end {
        put(buffer, x, row, 1, theme.glyphs.link[0], theme.link);
    }
    for card in &plan.cards {
        let (x, y) = port(*card, row);
        let above = y < row;
        for leg in y.min(row) + 1..y.max(row) {
            put(buffer, x, leg, 1, theme.glyphs.legs[2], theme.link);
        }
        put(buffer, x, row, 1, theme.glyphs.legs[usize::from(above)], theme.link);
    }
}

/// Where a card's leg leaves its border. Cards above and below the line leave at different columns.
fn port(card: Rect, row: u16) -> (u16, u16) {
    if card.y < row {
        (card.right().saturating_sub(3), card.bottom() - 1)
    } else {
        (card.right().saturating_sub(5), card.y)
    }
}

/// The cells that a message passes on its way.
fn track(plan: &Plan, from: Rank, to: Rank) -> Vec<Position> {
    let Some(client) = plan.client else { return Vec::new() };
    let card = |rank: Rank| plan.cards.get((rank.0 as usize).wrapping_sub(1)).copied();
    match plan.wiring {
        Wiring::None => Vec::new(),
        Wiring::Pair { client_row, server_row } => {
            let further =
                plan.clients.filter(|_| [from, to].iter().any(|rank| *rank != METADATA && card(*rank).is_none()));
            let client_row = further.map_or(client_row, |others| others.y);
            let place = |rank| card(rank).unwrap_or(further.filter(|_| rank != METADATA).unwrap_or(client));
            let (a, b) = (place(from), place(to));
            let right = a.x < b.x;
            let (left_box, right_box) = if right { (a, b) } else { (b, a) };
            let y = match (card(from), card(to)) {
                (None, _) => client_row,
                (_, None) => client_row + 1,
                _ => server_row + u16::from(!right),
            };
            let cells = (left_box.right()..right_box.x).map(|x| Position { x, y });
            if right { cells.collect() } else { cells.rev().collect() }
        }
        Wiring::Bus { row } => {
            // Down the sender's leg, along the line, up the receiver's; the client is at the left end.
            let end = |rank: Rank| card(rank).map_or((client.right(), row), |card| port(card, row));
            let leg = |(x, y): (u16, u16)| {
                let cells: Vec<Position> =
                    if y < row { (y + 1..row).collect::<Vec<_>>() } else { (row + 1..y).rev().collect() }
                        .into_iter()
                        .map(|y| Position { x, y })
                        .collect();
                cells
            };
            let (start, stop) = (end(from), end(to));
            let mut cells = leg(start);
            let along = start.0.min(stop.0)..=start.0.max(stop.0);
            let straight = along.map(|x| Position { x, y: row });
            if start.0 <= stop.0 {
                cells.extend(straight);
            } else {
                cells.extend(straight.rev());
            }
            cells.extend(leg(stop).into_iter().rev());
            cells
        }
    }
}

fn flights(buffer: &mut Buffer, plan: &Plan, model: &Model, theme: &Theme, now: Time) {
    let mut labels = Vec::new();
    for flight in model.flights().in_the_air() {
        let Some(progress) = flight.progress(now) else { continue };
        // Further clients without a box of their own live in that of rank 0.
        let track = track(plan, flight.from, flight.to);
        if track.is_empty() {
            continue;
        }
        let reach = track.len() - 1;
        let place = ((progress * reach as f64).round() as usize).min(reach);
        let at = track[place];
        let (mut style, mut glyph) = theme.flight(flight.kind);
        if flight.is_wreck(now) {
            (style, glyph) = (theme.bad, theme.glyphs.lost);
        }
        put(buffer, at.x, at.y, 1, glyph, style.add_modifier(Modifier::BOLD));

        let straight = track.iter().all(|cell| cell.y == at.y);
        let label_cols = usize::from(cols(&flight.label));
        if track.len() >= LABEL_COLS_MIN && straight && matches!(plan.wiring, Wiring::Pair { .. }) && place > label_cols
        {
            // The words trail behind the sign.
            let behind = track[place - 1 - label_cols];
            let x = if behind.x < at.x { behind.x } else { at.x + 2 };
            labels.push((Rect { x, y: at.y, width: label_cols as u16, height: 1 }, &flight.label, style));
        }
    }
    // What would hide another message, or its words, is left out; the newest come first.
    for (place, label, style) in labels.into_iter().rev() {
        let is_free = |position: Position| theme.glyphs.link.contains(&buffer[position].symbol());
        if place.intersection(buffer.area).positions().all(is_free) {
            put(buffer, place.x, place.y, place.width, label, style);
        }
    }
}
