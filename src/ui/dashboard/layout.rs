//! Who gets which rows and columns.
//!
//! ```text
//!  ┌────────────────────────────┐ ─┐
//!  │ header                     │  │
//!  │ notice                     │  │
//!  │ stage: cards, client, links│  │ dashboard rows
//!  │ events, failover, latency  │  │
//!  │ key bar                    │  │
//!  ├────────────────────────────┤ ─┤
//!  │ answers, prompt            │  │ prompt rows: a scroll region of the terminal's own
//!  └────────────────────────────┘ ─┘
//! ```

use ratatui::layout::Rect;

/// From this size of the whole terminal on, cards are drawn; below, one line tells the state.
pub const CARDS_SIZE_MIN: (u16, u16) = (60, 18);
/// From this size of the whole terminal on, everything is drawn.
pub const FULL_SIZE_MIN: (u16, u16) = (80, 24);
const PROMPT_ROWS_MIN: u16 = 3;
const PROMPT_ROWS_MAX: u16 = 12;

/// Splits the terminal's rows: how many are the dashboard's, how many the prompt's. The prompt gets
/// about a fifth and never less than three, unless the terminal itself has fewer.
#[must_use]
pub fn split(cols: u16, rows: u16) -> (u16, u16) {
    if rows <= PROMPT_ROWS_MIN {
        return (0, rows);
    }
    if cols < CARDS_SIZE_MIN.0 || rows < CARDS_SIZE_MIN.1 {
        return (1, rows - 1);
    }
    let prompt = ((rows + 1) / 5).clamp(PROMPT_ROWS_MIN, PROMPT_ROWS_MAX);
    (rows - prompt, prompt)
}

/// Where a page lies on a terminal of this size: over everything between the header and the keys. Empty where cards
/// have no room either.
#[must_use]
pub fn page(cols: u16, rows: u16) -> Rect {
    let (dashboard, _) = split(cols, rows);
    let height = if dashboard > 1 { dashboard.saturating_sub(2) } else { 0 };
    Rect { x: 0, y: 1, width: cols, height }
}

/// How much is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// One line.
    Line,
    /// Header, cards, the last event, keys.
    Cards,
    /// Everything.
    Full,
}

/// How much fits into the dashboard's `area`.
#[must_use]
pub fn detail(area: Rect) -> Detail {
    let fits = |(cols, rows)| area.width >= cols && area.height >= split(cols, rows).0;
    if fits(FULL_SIZE_MIN) {
        Detail::Full
    } else if fits(CARDS_SIZE_MIN) {
        Detail::Cards
    } else {
        Detail::Line
    }
}

/// The places of the panels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One row.
    pub header: Rect,
    /// One row, empty when there is nothing to say.
    pub notice: Rect,
    /// A card a server, in rank order.
    pub cards: Vec<Rect>,
    /// The client box, if there is room for links.
    pub client: Option<Rect>,
    /// The box of further clients, below it.
    pub clients: Option<Rect>,
    /// How cards and client are joined.
    pub wiring: Wiring,
    /// The failover, if it is beside or above the events.
    pub failover: Rect,
    /// The latency.
    pub latency: Rect,
    /// The events.
    pub events: Rect,
    /// One row.
    pub keys: Rect,
}

impl Plan {
    /// This many rows above the keys, which the panels give up that have them.
    pub fn take_last_rows(&mut self, rows: u16) -> Rect {
        let place = Rect { y: self.keys.y.saturating_sub(rows), height: rows, ..self.keys };
        for panel in [&mut self.events, &mut self.failover, &mut self.latency] {
            let kept = place.y.saturating_sub(panel.y);
            panel.height = panel.height.min(kept);
        }
        place
    }
}

/// How the links run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// Not drawn.
    None,
    /// One or two servers: a link to the client on these rows, and below it one between the servers.
    Pair {
        /// Row of the messages from the client; the answers are on the next one.
        client_row: u16,
        /// Row of the messages from server 1 to server 2; the way back is the next one.
        server_row: u16,
    },
    /// Three and more: all are on one line, which runs on this row.
    Bus {
        /// The row.
        row: u16,
    },
}

/// Places the panels for `servers` servers; `clients`: further clients have a box of their own where there is room.
#[must_use]
pub fn plan(area: Rect, servers: usize, clients: bool) -> Plan {
    let full = detail(area) == Detail::Full;
    let Rect { x, y, width, height } = area;
    let row = |n: u16| Rect { x, y: y + n.min(height.saturating_sub(1)), width, height: 1 };
    let header = row(0);
    let keys = row(height - 1);
    if !full {
        let events = Rect { y: y + height - 3, height: 2, ..area };
        let stage = Rect { y: y + 2, height: height - 2 - 3, ..area };
        let none = Rect { x, y, width: 0, height: 0 };
        let cards = grid(stage, servers, columns(width, servers), 0);
        let wiring = Wiring::None;
        return Plan {
            header,
            notice: row(1),
            cards,
            client: None,
            clients: None,
            wiring,
            failover: none,
            latency: none,
            events,
            keys,
        };
    }

    let inner = height - 3;
    let crowded = servers > 4;
    // Grids need rows, pairs leave more for the story.
    let share = if crowded { 0.30 } else { 0.42 };
    let bottom_rows = ((f32::from(inner) * share).round() as u16).clamp(5, 14);
    let air = u16::from(height >= AIRY_ROWS_MIN && !crowded);
    let stage = Rect { x, y: y + 2, width, height: inner - bottom_rows - air };
    let bottom = Rect { x, y: y + height - 1 - bottom_rows, width, height: bottom_rows };

    let (cards, (client, clients), wiring) =
        if servers <= 2 { pair(stage, servers, clients) } else { bus(stage, servers) };
    let (notice, failover, latency, events) = bottom_panels(row(1), bottom);
    Plan { header, notice, cards, client: Some(client), clients, wiring, failover, latency, events, keys }
}

/// The same, with one wide place for the space–time diagram instead of cards, client and links.
#[must_use]
pub fn plan_with_diagram(area: Rect, servers: usize) -> (Plan, Rect) {
    let mut plan = plan(area, servers, false);
    plan.cards.clear();
    (plan.client, plan.wiring) = (None, Wiring::None);
    let top = plan.header.y + 2;
    if detail(area) != Detail::Full {
        let diagram = Rect { y: top, height: plan.events.y.saturating_sub(top), ..area };
        return (plan, diagram);
    }
    let events = if area.height < AIRY_ROWS_MIN { EVENTS_ROWS_MIN } else { EVENTS_ROWS_MIN + 2 };
    plan.events = Rect { y: plan.keys.y - events, height: events, ..area };
    plan.failover = Rect { y: plan.events.y - 1, height: 1, ..area };
    let (latency, notice) = (LATENCY_COLS.min(area.width), plan.header.y + 1);
    plan.latency = Rect { x: area.right() - latency, y: notice, width: latency, height: 1 };
    plan.notice = Rect { y: notice, width: area.width - latency - 1, height: 1, ..area };
    let diagram = Rect { y: top, height: plan.failover.y - top, ..area };
    (plan, diagram)
}

/// Below a diagram the newest events have this many rows.
const EVENTS_ROWS_MIN: u16 = 3;
/// From this height on a blank row parts the cards from what is below.
const AIRY_ROWS_MIN: u16 = 22;
const SIDE_BY_SIDE_COLS_MIN: u16 = 100;
const SIDE_COLS: u16 = 32;
const LATENCY_COLS: u16 = 34;

/// Wide: events left, failover and latency right. Narrow: the failover in one line above the events,
/// the latency at the right end of the notice row.
fn bottom_panels(notice: Rect, bottom: Rect) -> (Rect, Rect, Rect, Rect) {
    let Rect { x, y, width, height } = bottom;
    if width < SIDE_BY_SIDE_COLS_MIN || height < 8 {
        let latency = Rect { x: x + width - LATENCY_COLS, width: LATENCY_COLS, ..notice };
        let notice = Rect { width: notice.width - LATENCY_COLS - 1, ..notice };
        let events = Rect { y: y + 1, height: height - 1, ..bottom };
        return (notice, Rect { height: 1, ..bottom }, latency, events);
    }
    let side = SIDE_COLS + (width - SIDE_BY_SIDE_COLS_MIN) / 5;
    let events = Rect { width: width - side - 1, ..bottom };
    let right = Rect { x: x + width - side, y, width: side - 1, height };
    let failover = Rect { height: 5, ..right };
    let latency = Rect { y: y + 6, height: height - 6, ..right };
    (notice, failover, latency, events)
}

/// A box with a line for a further client.
const CLIENTS_ROWS: u16 = 3;

/// The cards, the boxes of rank 0 and of further clients, and how they are joined.
type Placed = (Vec<Rect>, (Rect, Option<Rect>), Wiring);

/// Card, client, card: the links between them grow with the terminal.
fn pair(stage: Rect, servers: usize, clients: bool) -> Placed {
    let Rect { x, y, width, height } = stage;
    let client_cols = (width / 4).clamp(22, 38);
    let gap = (4 + width.saturating_sub(80) * 3 / 20).min(18);
    let card_cols = (width - client_cols - 2 * gap) / 2;
    let slack = width - client_cols - 2 * (gap + card_cols);
    let more_rows = if clients { CLIENTS_ROWS } else { 0 };
    let link_rows = if servers == 2 { 3 - u16::from(clients) } else { 0 };
    let least = if clients { 4 } else { 5 };
    let client_rows = (height - link_rows - more_rows).clamp(least, 10.max(height.saturating_sub(8)));
    let left = Rect { x, y, width: card_cols, height };
    let client = Rect { x: x + card_cols + gap, y, width: client_cols + slack, height: client_rows };
    let others = Rect { y: client.bottom(), height: more_rows, ..client };
    let right = Rect { x: x + width - card_cols, y, width: card_cols, height };
    let server_row = others.bottom() + (height - client_rows - more_rows).saturating_sub(2) / 2;
    let wiring = Wiring::Pair { client_row: y + 1 + (client_rows - 3) / 2, server_row };
    let cards = [left, right].into_iter().take(servers).collect();
    (cards, (client, clients.then_some(others)), wiring)
}

/// One or two rows of cards with a line between or below them, and the client at its left end.
fn bus(stage: Rect, servers: usize) -> Placed {
    let columns = columns(stage.width, servers);
    let rows = servers.div_ceil(columns) as u16;
    let lane = if rows == 1 || stage.height >= 2 * 5 + 3 { 3 } else { 1 };
    let cards = grid(stage, servers, columns, lane);
    let first = cards[0];
    let row = first.bottom() + lane / 2;
    let client = Rect { x: stage.x, y: first.bottom(), width: first.width.saturating_sub(5).max(14), height: lane };
    (cards, (client, None), Wiring::Bus { row })
}

/// Enough columns that two rows suffice where possible, and no card is too narrow for its title.
fn columns(width: u16, servers: usize) -> usize {
    let wanted = match servers {
        0 | 1 => 1,
        2 => 2,
        3 | 4 => servers,
        _ => servers.div_ceil(2),
    };
    let fit = usize::from(width / CARD_COLS_MIN).max(1);
    if wanted <= fit { wanted } else { servers.div_ceil(servers.div_ceil(fit)) }
}

const CARD_COLS_MIN: u16 = 19;

/// Cards in rows; `lane` rows are left free below the first of them.
fn grid(stage: Rect, servers: usize, columns: usize, lane: u16) -> Vec<Rect> {
    let columns = columns.max(1) as u16;
    let rows = (servers as u16).div_ceil(columns).max(1);
    let free = stage.height.saturating_sub(lane);
    let card_rows = free / rows;
    let card_cols = stage.width / columns;
    (0..servers as u16)
        .map(|n| {
            let (column, row) = (n % columns, n / columns);
            let last = column + 1 == columns;
            Rect {
                x: stage.x + column * card_cols,
                y: stage.y + row * card_rows + if row > 0 { lane } else { 0 },
                width: if last { stage.width - column * card_cols } else { card_cols.saturating_sub(1) },
                height: card_rows,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_always_has_its_rows() {
        assert_eq!(split(100, 30), (24, 6));
        assert_eq!(split(80, 24), (19, 5));
        assert_eq!(split(60, 18), (15, 3));
        assert_eq!(split(59, 18), (1, 17));
        for rows in 0..300 {
            let (dashboard, prompt) = split(80, rows);
            assert_eq!(dashboard + prompt, rows);
            assert!(prompt >= PROMPT_ROWS_MIN.min(rows), "{rows} rows leave {prompt} for the prompt");
        }
    }

    #[test]
    fn panels_stay_inside_and_apart() {
        for servers in 1..=8 {
            for (cols, rows) in [(60, 18), (80, 24), (100, 30), (120, 36), (200, 60)] {
                let area = Rect::new(0, 0, cols, split(cols, rows).0);
                let (with_diagram, diagram) = plan_with_diagram(area, servers);
                let plain = [false, true].map(|clients| (plan(area, servers, clients), Rect::default()));
                for (plan, diagram) in plain.into_iter().chain([(with_diagram, diagram)]) {
                    let mut places = plan.cards.clone();
                    places.push(diagram);
                    places.extend([plan.header, plan.notice, plan.events, plan.keys, plan.failover, plan.latency]);
                    places.extend(plan.client.into_iter().chain(plan.clients));
                    for (i, a) in places.iter().enumerate() {
                        assert_eq!(a.intersection(area), *a, "{a} is outside, {servers} servers at {cols}x{rows}");
                        for b in &places[..i] {
                            assert!(a.intersection(*b).is_empty(), "{a} and {b}, {servers} servers at {cols}x{rows}");
                        }
                    }
                }
            }
        }
    }
}
