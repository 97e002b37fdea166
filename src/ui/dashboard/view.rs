//! The picture: a pure function of the model.
//!
//! ```text
//!  understudy · view 4 · PRIMARY server 2 · failure rate 20% · seed 7 · up 3m12s            p50 6µs  p99 21µs
//!
//! ┌╌ server 1 · DOWN ╌╌╌╌╌╲╌╌╌╌╌┐       ╭ client · metadata ─────╮       ┏ server 2 · PRIMARY ━━━━━━━━━┓
//! ╎ crashed 1.2 s ago     ╱     ╎       │ view 4  {2}            │       ┃ op 42  commit 42            ┃
//! ╎ back in 1.8 s  ▮▮▮▯▯  ╲     ╎◀──────│                        │───●──▶┃ alone: no lease needed      ┃
//! ╎                       ╱     ╎──────▶│ PUT color red    OK 6µs│◀──────┃ color     red            42 ┃
//! ╎                       ╲     ╎       ╰────────────────────────╯       ┃ fruit     mango          41 ┃
//! ╎                       ╱     ╎───────────────────────────────────────▶┃                             ┃
//! ╎                       ╲     ╎◀───────────────────────────────────────┃                             ┃
//! └╌ incarnation 1 ╌╌╌╌╌╌╌╌╌╌╌╌╌┘                                        ┗━ incarnation 1 ━━━ 2 keys ━━┛
//!  events                                                             failover 46 ms
//!  03:07.1 ✗ server 1 crashed after Prepare op=42 (dice 0.13 < 0.20)  detect       ▇▇▇▇▇▇▇▇▇▇▇     41 ms
//!  03:07.2 ⇨ view 4: primary 2, no backup: server 1 silent for 51 ms  decide                  ▇     1 ms
//!  03:07.2 ✓ server 2 answers in view 4, from op 42                   take over               ▇▇    3 ms
//!                                                                     first answer              ▇   1 ms
//!  F1 help  F4 recover  F5 crash primary  F6 crash backup  F7 cut link  F8 pause  F9 dice
//! ```
//!
//! The prompt lives below, in rows that are not the dashboard's. With three servers and more the cards
//! stand in one or two rows, joined by one line; see [`super::layout`].

use super::face::Face;
use super::layout::{self, Detail, Plan};
use super::model::Model;
use super::panels::{big, caption, card, client, diagram, events, failover, header, keybar, latency, links, page};
use super::theme::{self, Theme};
use crate::core::protocol::Time;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::borrow::Cow;

/// One key of the key bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHint {
    /// What to press: `F5`.
    pub key: Cow<'static, str>,
    /// What that does now.
    pub label: Cow<'static, str>,
    /// The same in fewer letters, for narrow terminals.
    pub brief: Cow<'static, str>,
    /// False: it would only say why it can do nothing now.
    pub enabled: bool,
}

impl KeyHint {
    /// A key that does something.
    #[must_use]
    pub fn new(key: impl Into<Cow<'static, str>>, label: impl Into<Cow<'static, str>>) -> Self {
        let label = label.into();
        Self { key: key.into(), brief: label.clone(), label, enabled: true }
    }

    /// With fewer letters for narrow terminals.
    #[must_use]
    pub fn brief(self, brief: impl Into<Cow<'static, str>>) -> Self {
        Self { brief: brief.into(), ..self }
    }

    /// Dimmed unless it would do something now.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> Self {
        Self { enabled, ..self }
    }
}

/// Draws the dashboard over the whole area of `frame`.
pub fn draw(frame: &mut Frame, model: &Model, face: &Face, theme: &Theme, keys: &[KeyHint], now: Time) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.is_empty() {
        return;
    }
    if layout::detail(area) == Detail::Line {
        header::draw_line(buffer, area, model, theme, now);
        theme::plain(theme, buffer);
        return;
    }
    let (mut plan, diagram) = if face.shows_diagram {
        layout::plan_with_diagram(area, model.servers().len())
    } else {
        (layout::plan(area, model.servers().len(), model.shows_clients()), Rect::default())
    };
    // Who wants to see the diagram sees it, from the back row as well.
    let is_big = theme.big && !face.shows_diagram && layout::detail(area) == Detail::Full;
    let mut last = plan.keys.y;
    if let Some(caption) = &face.caption {
        let rows = caption::rows(caption, area.width);
        let place = plan.take_last_rows(u16::try_from(rows.len()).unwrap_or(1));
        last = place.y;
        caption::draw(buffer, place, &rows, theme);
    }
    let beside_notice = plan.latency.y == plan.notice.y && !plan.latency.is_empty();
    header::draw(buffer, plan.header, model, theme, now, beside_notice);
    let has_latency = if beside_notice { !model.has_notice() } else { !is_big };
    if has_latency {
        latency::draw(buffer, plan.latency, model, theme);
    }
    // What must not be overlooked takes the whole row.
    let whole = Rect { width: area.width, ..plan.notice };
    header::draw_notice(buffer, if model.has_notice() { whole } else { plan.notice }, model, theme);
    if is_big {
        let between = Rect { y: plan.header.y + 3, height: last.saturating_sub(plan.header.y + 3), ..area };
        let always = plan.keys.y.saturating_sub(between.y + caption::ROWS_MAX as u16);
        big::draw(buffer, (between, always), model, theme, now);
        overlay(buffer, area, &plan, (face, theme, keys));
        return;
    }
    for (server, place) in model.servers().iter().zip(&plan.cards) {
        card::draw(buffer, *place, model, server, theme, now);
    }
    if let Some(place) = plan.client {
        client::draw(buffer, place, model, theme, now);
        if let Some(place) = plan.clients {
            client::draw_others(buffer, place, model, theme);
        }
        links::draw(buffer, &plan, model, theme, now);
    }
    diagram::draw(buffer, diagram, model, face.caption.is_some(), theme, now);
    events::draw(buffer, plan.events, model, theme);
    failover::draw(buffer, plan.failover, model, theme, now);
    overlay(buffer, area, &plan, (face, theme, keys));
}

/// The key bar, and the page over everything else.
fn overlay(buffer: &mut Buffer, area: Rect, plan: &Plan, (face, theme, keys): (&Face, &Theme, &[KeyHint])) {
    keybar::draw(buffer, plan.keys, keys, theme);
    if let Some(shown) = &face.page {
        let between =
            Rect { y: plan.header.bottom(), height: plan.keys.y.saturating_sub(plan.header.bottom()), ..area };
        page::draw(buffer, between, shown, theme);
    }
    theme::plain(theme, buffer);
}
