//! The space–time diagram: a lane a rank that never moves, time downward and not to scale, the newest at the foot.
//!
//! ```text
//!          0 client         1 DOWN           2 PRIMARY
//!          │                ┃                │
//!    +9µs  ├─ Request PUT ─▶┃                │
//!   +31µs  │                ┃─ Prepare op=1 ▶│
//!   +22µs  │                ┃◀ PrepareOk op=1┤
//!          : 50 ms, 5 heartbeats
//!          ════════ view 2: primary 2, no backup: server 1 silent for 51 ms ════════
//! ```
//!
//! A lane is drawn as the border of the card is: heavy for a primary, with gaps for one that is down. An arrow ends
//! where the message is taken in; a lost one ends in a cross half way, a pending one after a few cells. Where the arrow
//! is dotted it left in a row above, because its sender did something else in between.

use super::{cols, put, put_right, short};
use crate::cluster::Standing;
use crate::core::protocol::view::METADATA;
use crate::core::protocol::{Rank, Role, Time, plural};
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::model::diagram::{Arrow, DiagramRow};
use crate::ui::dashboard::model::flights::FlightKind;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after the row above.
const TIME_COLS: u16 = 8;
/// To the right of the last lane there is room for words.
const RIGHT_COLS: u16 = 14;
/// Lanes are no further from each other.
const SPACING_MAX: u16 = 34;
/// What has not been taken in after so long, on a network that is whole, will not be.
const ARRIVES_WITHIN: Duration = Duration::from_millis(20);
/// What is on its way, or was lost, is drawn this far.
const STUB_COLS: u16 = 3;

/// The lanes: where they are, and what their servers are in the row that is drawn.
struct Lanes<'a> {
    buffer: &'a mut Buffer,
    theme: &'a Theme,
    x: BTreeMap<Rank, u16>,
    now: BTreeMap<Rank, Standing>,
    area: Rect,
}

/// Draws the heads of the lanes, and as many of the newest rows as fit. `is_stepped`: somebody goes through what
/// happened, and what happened last is marked.
pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model, is_stepped: bool, theme: &Theme, now: Time) {
    if area.height < 2 || area.width < TIME_COLS + RIGHT_COLS {
        return;
    }
    let all = model.diagram().rows();
    let hidden = hidden(&all, area);
    let mut lanes = Lanes::new(buffer, area, model, theme);
    // On the stage: what happened last, at one moment.
    let newest = drawn(&all).next_back().map(DiagramRow::at).filter(|_| is_stepped);
    let selected = drawn(&all).rev().take_while(|row| Some(row.at()) == newest);
    lanes.heads(model, &selected.flat_map(ranks_of).collect::<Vec<_>>(), now);
    let (mut number, mut y, mut before) = (0, area.y + 1, None);
    for row in &all {
        if let DiagramRow::Role { rank, role, .. } = row {
            lanes.now.insert(*rank, Standing::of(*role, false));
            continue;
        }
        number += 1;
        if number > hidden {
            lanes.row(y, row, before, now);
            if Some(row.at()) == newest {
                lanes.select(y);
            }
            y += 1;
        }
        before = Some(row.at());
    }
    if number == 0 {
        put(
            lanes.buffer,
            area.x + TIME_COLS + 1,
            area.y + 1,
            area.width - TIME_COLS,
            "nothing was said yet",
            theme.faint,
        );
    }
}

/// The rows that are to be seen: what servers become is seen in their lanes.
fn drawn<'a>(all: &'a [DiagramRow<'a>]) -> impl DoubleEndedIterator<Item = &'a DiagramRow<'a>> {
    all.iter().filter(|row| !matches!(row, DiagramRow::Role { .. }))
}

/// How many of them are older than those that fit.
fn hidden(all: &[DiagramRow], area: Rect) -> usize {
    drawn(all).count().saturating_sub(usize::from(area.height.saturating_sub(1)))
}

/// All words of the rows that are drawn in an area, with where they are.
#[must_use]
pub fn titles(area: Rect, model: &Model) -> Vec<(u16, String)> {
    let all = model.diagram().rows();
    let title = |(y, row): (u16, &DiagramRow)| match row {
        DiagramRow::Receipt { arrow, .. }
        | DiagramRow::Departure(arrow)
        | DiagramRow::Loss(arrow)
        | DiagramRow::Pending(arrow) => {
            let lost = if arrow.lost { ", lost" } else { "" };
            Some((y, format!("{} to {}: {}{lost}", arrow.from, arrow.to, arrow.text())))
        }
        _ => None,
    };
    (area.y + 1..).zip(drawn(&all).skip(hidden(&all, area))).filter_map(title).collect()
}

/// Whom a row is about.
fn ranks_of(row: &DiagramRow) -> Vec<Rank> {
    match row {
        DiagramRow::Departure(arrow)
        | DiagramRow::Loss(arrow)
        | DiagramRow::Pending(arrow)
        | DiagramRow::Receipt { arrow, .. } => {
            vec![arrow.from, arrow.to]
        }
        DiagramRow::Mark { rank, .. } | DiagramRow::Role { rank, .. } => vec![*rank],
        DiagramRow::View { .. } | DiagramRow::Silence { .. } | DiagramRow::Missing { .. } => Vec::new(),
    }
}

impl<'a> Lanes<'a> {
    fn new(buffer: &'a mut Buffer, area: Rect, model: &Model, theme: &'a Theme) -> Self {
        let servers = model.servers().iter().map(|server| server.rank);
        let ranks: Vec<Rank> = std::iter::once(METADATA).chain(servers).chain(model.client_ranks()).collect();
        let room = area.width - TIME_COLS - RIGHT_COLS;
        let gaps = u16::try_from(ranks.len()).unwrap_or(u16::MAX).saturating_sub(1).max(1);
        let spacing = (room / gaps).min(SPACING_MAX);
        let first = area.x + TIME_COLS + 1;
        let x = ranks.iter().zip(0u16..).map(|(rank, at)| (*rank, first + at.saturating_mul(spacing))).collect();
        let before = |rank: &Rank| {
            let known = model.servers().iter().find(|server| server.rank == *rank)?;
            let role = model.diagram().role_before(*rank);
            let role = role.or_else(|| model.diagram().is_told_of(*rank).then_some(Role::Idle));
            Some((*rank, role.map_or_else(|| known.state(Time(0)), |role| Standing::of(role, false))))
        };
        let now = ranks.iter().filter_map(before).collect();
        Self { buffer, theme, x, now, area }
    }

    /// Who the lanes are, now: what the cards say, in a word or two.
    fn heads(&mut self, model: &Model, selected: &[Rank], now: Time) {
        let y = self.area.y;
        let lanes: Vec<(Rank, u16)> = self.x.iter().map(|(rank, x)| (*rank, *x)).collect();
        for (at, (rank, x)) in lanes.iter().enumerate() {
            let end = lanes.get(at + 1).map_or(self.area.right(), |(_, next)| next.saturating_sub(1));
            let server = model.servers().iter().find(|server| server.rank == *rank);
            let (mut text, mut style) = match server {
                Some(server) => (format!("{rank} {}", server.state(now)), self.theme.card(server.state(now)).0),
                None if model.is_door(*rank) => (format!("{rank} door"), self.theme.client),
                None => (format!("{rank} client"), self.theme.client),
            };
            if let Some(status) = server.and_then(|server| server.status()).filter(|_| end - x >= 20) {
                text.push_str(&format!(" op {}", status.op));
            }
            if selected.contains(rank) {
                style = style.add_modifier(Modifier::BOLD | Modifier::REVERSED);
            }
            put(self.buffer, *x, y, end.saturating_sub(*x), &text, style);
        }
    }

    fn select(&mut self, y: u16) {
        let sign = if self.theme.ascii { ">" } else { "▸" };
        put(self.buffer, self.area.x + TIME_COLS - 1, y, 1, sign, self.theme.strong);
    }

    fn row(&mut self, y: u16, row: &DiagramRow, before: Option<Time>, now: Time) {
        self.upright(y);
        let is_moment = !matches!(row, DiagramRow::Silence { .. } | DiagramRow::Missing { .. });
        if let Some(before) = before.filter(|before| is_moment && row.at() > *before) {
            let text = format!("+{}", short(row.at().since(before)));
            put_right(self.buffer, self.area.x + TIME_COLS - 1, y, TIME_COLS - 1, &text, self.theme.faint);
        }
        match row {
            DiagramRow::Receipt { arrow, late, .. } => self.arrow(y, arrow, *late),
            DiagramRow::Departure(arrow) => self.stub(y, arrow, "leaves", self.theme.faint),
            DiagramRow::Pending(arrow) if now.since(arrow.sent) > ARRIVES_WITHIN => {
                self.stub(y, arrow, "nobody takes it in", self.theme.doubt);
            }
            DiagramRow::Pending(arrow) => self.stub(y, arrow, "on its way", self.theme.doubt),
            DiagramRow::Loss(arrow) => self.loss(y, arrow),
            DiagramRow::View { text, .. } => self.rule(y, text),
            DiagramRow::Mark { rank, tone, text, .. } => {
                let (style, sign) = self.theme.tone(*tone);
                let x = self.at(*rank);
                put(self.buffer, x, y, 1, sign, style);
                self.words(y, (x, x), text, style);
            }
            DiagramRow::Role { .. } => {}
            DiagramRow::Silence { lasts, beats, .. } => {
                let beats = match *beats {
                    0 => String::new(),
                    beats => format!(", {beats} heartbeat{}", plural(beats)),
                };
                self.fold(y, &format!("{}{beats}", short(*lasts)), self.theme.faint);
            }
            DiagramRow::Missing { count, .. } => self.fold(y, &format!("{count} not shown"), self.theme.doubt),
        }
    }

    fn at(&self, rank: Rank) -> u16 {
        self.x.get(&rank).copied().unwrap_or(self.area.x + TIME_COLS)
    }

    /// All lanes, as what they are here.
    fn upright(&mut self, y: u16) {
        for (rank, x) in &self.x {
            let (style, border) = match self.now.get(rank) {
                Some(standing) => self.theme.card(*standing),
                None => (self.theme.client, self.theme.glyphs.client),
            };
            put(self.buffer, *x, y, 1, border.vertical_left, style);
        }
    }

    fn arrow(&mut self, y: u16, arrow: &Arrow, late: bool) {
        let (from, to) = (self.at(arrow.from), self.at(arrow.to));
        let (left, right) = (from.min(to), from.max(to));
        let (style, _) = self.theme.flight(FlightKind::of(arrow.kind));
        let dotted = if self.theme.ascii { "." } else { "┄" };
        let shaft = if late { dotted } else { self.theme.glyphs.link[0] };
        for x in left + 1..right {
            put(self.buffer, x, y, 1, shaft, style);
        }
        let head = if to > from { to - 1 } else { to + 1 };
        put(self.buffer, head, y, 1, self.theme.glyphs.heads[usize::from(to > from)], style);
        let label = format!(" {} ", arrow.label());
        let inside = (right - left).saturating_sub(3);
        if cols(&label) < inside {
            let x = left + 2 + (inside - cols(&label)) / 2;
            put(self.buffer, x, y, cols(&label), &label, style);
        } else {
            self.words(y, (left, right), &arrow.label(), style);
        }
    }

    /// The beginning of an arrow, and words.
    fn stub(&mut self, y: u16, arrow: &Arrow, what: &str, style: Style) {
        let (from, to) = (self.at(arrow.from), self.at(arrow.to));
        let end = self.shaft(y, from, to, STUB_COLS, style);
        let text = format!("{} to {}, {what}", arrow.label(), arrow.to);
        self.words(y, (from.min(end), from.max(end)), &text, style);
    }

    fn loss(&mut self, y: u16, arrow: &Arrow) {
        let (from, to) = (self.at(arrow.from), self.at(arrow.to));
        let half = (from.abs_diff(to) / 2).max(1);
        let style = self.theme.bad;
        let end = self.shaft(y, from, to, half, style);
        put(self.buffer, end, y, 1, self.theme.glyphs.lost, style.add_modifier(Modifier::BOLD));
        let text = format!("{} to {}, lost", arrow.label(), arrow.to);
        self.words(y, (from.min(end), from.max(end)), &text, style);
    }

    /// This many cells towards `to`; gives the last of them.
    fn shaft(&mut self, y: u16, from: u16, to: u16, cells: u16, style: Style) -> u16 {
        let cells = cells.min(from.abs_diff(to).saturating_sub(1)).max(1);
        let along = |n: u16| if to > from { from + n } else { from.saturating_sub(n) };
        for n in 1..=cells {
            put(self.buffer, along(n), y, 1, self.theme.glyphs.link[0], style);
        }
        along(cells)
    }

    /// Words beside what takes the columns from `left` to `right`: to the right of it, or where they fit.
    fn words(&mut self, y: u16, (left, right): (u16, u16), text: &str, style: Style) {
        let room_right = self.area.right().saturating_sub(right + 2);
        let room_left = left.saturating_sub(self.area.x + TIME_COLS + 1);
        if cols(text) <= room_right || room_right >= room_left {
            put(self.buffer, right + 2, y, room_right, text, style);
        } else {
            let used = cols(text).min(room_left.saturating_sub(1));
            put(self.buffer, left - 1 - used, y, used, text, style);
        }
    }

    fn rule(&mut self, y: u16, text: &str) {
        let (first, width) = (self.area.x + TIME_COLS, self.area.width - TIME_COLS - 1);
        let style = self.theme.view;
        for x in first..first + width {
            put(self.buffer, x, y, 1, if self.theme.ascii { "=" } else { "═" }, style);
        }
        let text = format!(" {text} ");
        let start = first + width.saturating_sub(cols(&text)).min(4);
        put(self.buffer, start, y, width.saturating_sub(start - first), &text, style.add_modifier(Modifier::BOLD));
    }

    fn fold(&mut self, y: u16, text: &str, style: Style) {
        // Many fonts have no dots that stand above each other.
        let sign = ":";
        let lanes: Vec<u16> = self.x.values().copied().collect();
        lanes.iter().for_each(|x| {
            put(self.buffer, *x, y, 1, sign, style);
        });
        self.words(y, (lanes[0], lanes[0]), text, style);
    }
}
