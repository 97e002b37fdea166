//! A server: what it is, how far it is, what it holds.
//!
//! ```text
//! ┏ server 2 · PRIMARY ━━━━━━━━━━━━━┓      ┌╌ server 1 · DOWN ╌╌╌╌╌╌╌╌╌╌╌┐
//! ┃ op 42  commit 42   lease ▮▮▮▮▮  ┃      ╎ crashed 1.2 s ago      ╲     ╎
//! ┃ color    red                 42 ┃      ╎ back in 1.8 s  ▮▮▮▯▯   ╱     ╎
//! ┃≠fruit    mango               41 ┃      ╎                        ╲     ╎
//! ┃ +12 more                        ┃      ╎                        ╱     ╎
//! ┗━ incarnation 1 ━━━━━━━ 14 keys ━┛      └╌ incarnation 1 ╌╌╌╌╌╌╌╌╌╌╌╌╌╌┘
//! ```
//!
//! The state is told three times: by the word, by the kind of border, by the colour.

use super::{cols, gauge, paint, put, put_right, seconds};
use crate::cluster::Standing;
use crate::core::protocol::{DiskStatus, Rank, Role, ServerStatus, Time, plural};
use crate::core::store::OpNumber;
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::model::server::{FLASH, ServerModel, ShownKey};
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Block, Widget};

/// Draws one card.
pub fn draw(buffer: &mut Buffer, area: Rect, model: &Model, server: &ServerModel, theme: &Theme, now: Time) {
    if area.width < 8 || area.height < 3 {
        return;
    }
    let state = server.state(now);
    let (style, border) = theme.card(state);
    Block::bordered().border_set(border).border_style(style).render(area, buffer);
    let fallen = matches!(state, Standing::Down | Standing::Dead);
    if fallen {
        crack(buffer, area, theme, style);
    }
    title(buffer, area, server, state, theme, now);
    foot(buffer, area, model, server, state, theme);

    let body = Rect { x: area.x + 2, y: area.y + 1, width: area.width - 4, height: area.height - 2 };
    let mut lines = Lines { buffer, body, row: 0 };
    match state {
        Standing::Starting => lines.line("not heard of yet", theme.faint),
        Standing::Idle => {
            lines.line("alive, empty", theme.text);
            lines.line("joins when it is needed", theme.faint);
            left(&mut lines, server, theme);
        }
        Standing::Down => down(&mut lines, server, theme, now),
        Standing::Dead => {
            lines.line("process gone", theme.bad.add_modifier(Modifier::BOLD));
            if let Some(since) = server.out_since(now) {
                lines.line(&format!("for {}", seconds(since)), theme.text);
            }
            left(&mut lines, server, theme);
        }
        Standing::Joining => joining(&mut lines, server, theme),
        Standing::Paused => {
            let paused = server.paused_for(now).map_or("paused".into(), |p| format!("paused for {}", seconds(p)));
            lines.line(&paused, theme.doubt.add_modifier(Modifier::BOLD));
            lines.line("keeps its memory", theme.faint);
            keys(&mut lines, model, server, theme, now);
        }
        Standing::OldPrimary | Standing::OldBackup => {
            behind(&mut lines, model, state, theme);
            keys(&mut lines, model, server, theme, now);
        }
        Standing::Primary | Standing::Backup => {
            progress(&mut lines, model, server, state, theme, now);
            garbage(&mut lines, server, theme);
            disk(&mut lines, server, theme);
            keys(&mut lines, model, server, theme, now);
        }
    }
}

/// The rows of a card that are still free.
struct Lines<'a> {
    buffer: &'a mut Buffer,
    body: Rect,
    row: u16,
}

impl Lines<'_> {
    fn free(&self) -> u16 {
        self.body.height.saturating_sub(self.row)
    }

    fn y(&self) -> u16 {
        self.body.y + self.row
    }

    fn line(&mut self, text: &str, style: Style) {
        self.parts(&[(text, style)]);
    }

    /// Puts parts beside each other, two blanks apart; a part that does not fit starts the next row.
    fn parts(&mut self, parts: &[(&str, Style)]) {
        let mut x = self.body.x;
        for (text, style) in parts {
            if x > self.body.x && x + cols(text) > self.body.right() {
                self.row += 1;
                x = self.body.x;
            }
            if self.free() == 0 {
                return;
            }
            x = put(self.buffer, x, self.y(), self.body.right().saturating_sub(x), text, *style) + 2;
        }
        self.row += 1;
    }
}

fn title(buffer: &mut Buffer, area: Rect, server: &ServerModel, state: Standing, theme: &Theme, now: Time) {
    let room = area.width - 2;
    let long = format!(" server {} · {state} ", server.rank);
    let text = if cols(&long) <= room { long } else { format!(" {} · {state} ", server.rank) };
    let mut style = theme.card(state).0.add_modifier(Modifier::BOLD);
    let fallen = matches!(state, Standing::Down | Standing::Dead);
    if (server.is_lit(now) && state == Standing::Primary) || (server.just_fell(now) && fallen) {
        style = style.patch(theme.lit);
    }
    put(buffer, area.x + 1, area.y, room, &text, style);
}

/// The lower border: which life, how many keys, and which links are cut.
fn foot(buffer: &mut Buffer, area: Rect, model: &Model, server: &ServerModel, state: Standing, theme: &Theme) {
    let Some(status) = server.status() else { return };
    let y = area.bottom() - 1;
    let style = theme.card(state).0;
    let mut right = area.right() - 2;
    if !matches!(state, Standing::Starting | Standing::Idle | Standing::Down | Standing::Dead) {
        let text = format!(" {} key{} ", status.keys, plural(status.keys));
        put_right(buffer, right, y, area.width - 4, &text, style);
        right -= cols(&text).min(area.width - 4) + 1;
    }
    let cut = cut_from(model, server.rank);
    if !cut.is_empty() && model.servers().len() > 2 {
        let text = format!(" {} {cut} ", theme.glyphs.lost);
        put_right(buffer, right, y, right - area.x - 1, &text, theme.bad.add_modifier(Modifier::BOLD));
        right -= cols(&text).min(right - area.x - 1);
    }
    let text = format!(" incarnation {} ", status.incarnation);
    if area.x + 2 + cols(&text) <= right {
        put(buffer, area.x + 2, y, cols(&text), &text, style);
    }
}

fn cut_from(model: &Model, rank: Rank) -> String {
    let peers: Vec<String> =
        model.network.cut.iter().filter(|(from, _)| *from == rank).map(|(_, to)| to.to_string()).collect();
    peers.join(" ")
}

/// A zigzag through the whole card, borders included.
fn crack(buffer: &mut Buffer, area: Rect, theme: &Theme, style: Style) {
    let x = (area.x + area.width * 4 / 5).max(area.right() - 9).min(area.right() - 4);
    for y in area.top()..area.bottom() {
        let [falling, rising] = theme.glyphs.crack;
        let even = (y - area.y).is_multiple_of(2);
        put(buffer, x, y, 1, if even { falling } else { rising }, style);
    }
}

fn down(lines: &mut Lines, server: &ServerModel, theme: &Theme, now: Time) {
    if let Some((read, bytes)) = server.status().and_then(|status| status.disk?.reading) {
        let share = if bytes == 0 { 1.0 } else { (read as f64 / bytes as f64).min(1.0) };
        lines.line(&format!("reads its disk: {:.0}%", share * 100.0), theme.text);
        lines.line(&gauge(theme.glyphs.gauge, share, lines.body.width.min(40)), theme.joining);
        lines.line(&format!("of {}", size(bytes)), theme.faint);
        return;
    }
    let ago = server.out_since(now).map_or("crashed".into(), |ago| format!("crashed {} ago", seconds(ago)));
    lines.line(&ago, theme.bad.add_modifier(Modifier::BOLD));
    match server.back_in(now) {
        Some((left, over)) => {
            let bar = gauge(theme.glyphs.gauge, over, 5);
            lines.parts(&[(&format!("back in {}", seconds(left)), theme.text), (&bar, theme.joining)]);
        }
        None => lines.line("until RECOVER", theme.text),
    }
    left(lines, server, theme);
}

/// What it still has.
fn left(lines: &mut Lines, server: &ServerModel, theme: &Theme) {
    if lines.free() < 2 {
        return;
    }
    let down = server.status().is_some_and(|status| status.role == Role::Down);
    match server.status().and_then(|status| status.disk) {
        Some(disk) if disk.failed => lines.line("its disk has failed", theme.bad),
        Some(disk) if disk.written == OpNumber(0) => lines.line("its disk is empty", theme.faint),
        Some(disk) => lines.line(&format!("its disk has op {}", disk.written), theme.faint),
        None if down => lines.line("its memory is lost", theme.faint),
        None => {}
    }
}

/// How far its disk is: the newest write that was written, and synced, and how large the files are.
fn disk(lines: &mut Lines, server: &ServerModel, theme: &Theme) {
    let Some(DiskStatus { written, synced, bytes, .. }) = server.status().and_then(|status| status.disk) else {
        return;
    };
    // In small cards the keys need the rows.
    if lines.body.height < DISK_ROWS_MIN {
        return;
    }
    let size = size(bytes);
    let long = format!("disk op {written}  synced {synced}  {size}");
    let shorter = [format!("disk {written}/{synced}  {size}"), format!("disk {written}/{synced}")];
    let fits = |text: &&String| cols(text) <= lines.body.width;
    let text = [&long].into_iter().chain(&shorter).find(fits).unwrap_or(&shorter[1]);
    lines.line(text, theme.faint);
}

/// A card with fewer rows for its body has none for the disk.
const DISK_ROWS_MIN: u16 = 5;

/// In bytes, or thousands of them.
fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1e3;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && size < 9.95);
    format!("{size:.digits$} {}", units[unit])
}

/// It has not heard of the newest view, and is wrong about its role.
fn behind(lines: &mut Lines, model: &Model, state: Standing, theme: &Theme) {
    let view = model.view_number();
    let wrong = match (state, model.members().first()) {
        (Standing::OldPrimary, Some(primary)) => format!("view {view} is led by {primary}"),
        _ => format!("not in view {view}"),
    };
    lines.line(&wrong, theme.doubt.add_modifier(Modifier::BOLD));
    lines.line("has not heard of it", theme.faint);
}

fn joining(lines: &mut Lines, server: &ServerModel, theme: &Theme) {
    let Some((got, all)) = server.status().and_then(|status| status.transfer) else {
        lines.line("asks for the state", theme.text);
        return;
    };
    let share = if all == 0 { 1.0 } else { got as f64 / all as f64 };
    let width = lines.body.width.min(40);
    let what = if width >= 24 { "receiving the state: " } else { "receiving " };
    lines.line(&format!("{what}{:.0}%", share.min(1.0) * 100.0), theme.text);
    lines.line(&gauge(theme.glyphs.gauge, share, width), theme.joining);
    lines.line(&format!("{got} of {all} keys"), theme.faint);
}

/// Frames from peers that made no sense: worth a row, as none should ever come.
fn garbage(lines: &mut Lines, server: &ServerModel, theme: &Theme) {
    let frames = server.status().map_or(0, |status| status.garbage);
    if frames > 0 {
        lines.line(&format!("garbage {frames}"), theme.bad.add_modifier(Modifier::BOLD));
    }
}

/// How far it is, and its right to answer.
fn progress(lines: &mut Lines, model: &Model, server: &ServerModel, state: Standing, theme: &Theme, now: Time) {
    let Some(status) = server.status() else { return };
    let (op, commit) = (format!("op {}", status.op), format!("commit {}", status.commit));
    let (right, style) = standing(model, server, status, state, theme, now);
    let width = lines.body.width;
    if cols(&op) + cols(&commit) + STANDING_COLS + 4 <= width {
        lines.parts(&[(&op, theme.text), (&commit, theme.text), (&right, style)]);
    } else if lines.body.height >= 5 {
        // All cards break here alike, so that their keys stand side by side.
        lines.parts(&[(&op, theme.text), (&commit, theme.text)]);
        lines.line(&right, style);
    } else if cols(&op) + cols(&commit) < width {
        // In small cards the keys need the rows.
        lines.line(&format!("{op} {commit}"), theme.text);
    } else {
        lines.line(&format!("{op}/{}", status.commit), theme.text);
    }
}

fn standing(
    model: &Model,
    server: &ServerModel,
    status: &ServerStatus,
    state: Standing,
    theme: &Theme,
    now: Time,
) -> (String, Style) {
    if let Some(silent) = server.silent_for(now) {
        return (format!("silent for {}", seconds(silent)), theme.doubt);
    }
    if state == Standing::Backup {
        let primary = model.members().first().copied();
        return (primary.map_or(String::new(), |rank| format!("follows server {rank}")), theme.faint);
    }
    if !status.serving {
        return ("takes over".into(), theme.doubt);
    }
    match server.lease() {
        // Between two heartbeats a lease runs down by a quarter: that is as good as full.
        Some(share) => (format!("lease {}", gauge(theme.glyphs.gauge, share / LEASE_HEALTHY, 5)), theme.primary),
        None => ("alone, no backup".into(), theme.doubt),
    }
}

/// A lease with this share left is drawn full.
const LEASE_HEALTHY: f64 = 0.6;
/// What [`standing`] usually takes.
const STANDING_COLS: u16 = 17;

fn keys(lines: &mut Lines, model: &Model, server: &ServerModel, theme: &Theme, now: Time) {
    let all = server.status().map_or(0, |status| status.keys);
    let shown = server.keys();
    let free = usize::from(lines.free());
    let waiting = waiting(model, server);
    if all == 0 && free > 0 {
        lines.line(waiting.as_deref().unwrap_or("no keys"), theme.faint);
        return;
    }
    let more = all > free as u64 || (shown.len() as u64) < all;
    let rows = if more && free > 2 { free - 1 } else { free };
    let shown = &shown[..shown.len().min(rows)];
    let widest = |of: fn(&ShownKey) -> String| shown.iter().map(|key| cols(&of(key))).max().unwrap_or(0);
    let width = lines.body.width;
    let op_cols = widest(|key| key.view.op.to_string());
    let key_cols = widest(|key| key.view.key.preview(KEY_CHARS_MAX)).clamp(1, (width * 2 / 5).max(4));
    let value_x = lines.body.x + key_cols + 2;
    let right = lines.body.right();
    let value_cols = right.saturating_sub(value_x + op_cols + 1);
    let peers: Vec<&ServerModel> = model.servers().iter().filter(|peer| peer.rank != server.rank).collect();
    for key in shown {
        let y = lines.y();
        put(lines.buffer, lines.body.x, y, key_cols, &key.view.key.preview(KEY_CHARS_MAX), theme.key);
        put(lines.buffer, value_x, y, value_cols, &value(key, now), theme.text);
        put_right(lines.buffer, right, y, op_cols, &key.view.op.to_string(), theme.faint);
        if now.since(key.changed) < FLASH && key.changed > Time(0) {
            paint(lines.buffer, lines.body.x, y, width, theme.flash);
        }
        if peers.iter().any(|peer| server.differs_from(peer, key, now)) {
            let x = lines.body.x - 1;
            put(lines.buffer, x, y, 1, theme.glyphs.differs, theme.bad.add_modifier(Modifier::BOLD));
        }
        lines.row += 1;
    }
    let rest = all.saturating_sub(shown.len() as u64);
    if rest > 0 && lines.free() > 0 {
        lines.line(&format!("+{rest} more"), theme.faint);
    }
    if let Some(waiting) = waiting.filter(|_| lines.free() > 0) {
        lines.line(&waiting, theme.faint);
    }
}

/// Writes that it has, and does not know yet to be committed. Under load there are always some.
fn waiting(model: &Model, server: &ServerModel) -> Option<String> {
    let status = server.status().filter(|_| model.load.as_ref().is_none_or(|load| load.workload.is_none()))?;
    let writes = status.op.0.checked_sub(status.commit.0).filter(|writes| *writes > 0)?;
    Some(format!("{writes} write{}, not applied", plural(writes)))
}

const KEY_CHARS_MAX: usize = 32;
const VALUE_CHARS_MAX: usize = 64;

/// What it holds; before that how long it still will, in seconds, when it expires.
fn value(key: &ShownKey, now: Time) -> String {
    let Some(value) = &key.view.value else { return String::new() };
    let text = value.preview(VALUE_CHARS_MAX);
    let left = key.view.expires.map(|at| format!("{}s ", at.since(now).as_secs()));
    let left = left.unwrap_or_default();
    match key.view.value_bytes {
        bytes if bytes > value.len() as u64 => format!("{left}({bytes} bytes) {text}"),
        _ => format!("{left}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1_000, 9_940, 9_960, 16_777_216, 999_499_999, 999_500_000, u64::MAX].map(size);
        let expected = ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "17 MB", "999 MB", "1.0 GB", "18446744074 GB"];
        assert_eq!(sizes, expected);
    }
}
