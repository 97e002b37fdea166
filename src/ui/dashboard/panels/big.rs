//! For the back row: three numbers that can be read from there, a line a server and a client, the last event.
//!
//! ```text
//!  view          primary       failover
//!  ██████        ██████        ██████
//!      ██            ██        ██        ms
//!  ██████        ██████        ██████
//!  ██            ██                ██
//!  ██████        ██████        ██████
//!
//!  server 1  DOWN
//!  server 2  PRIMARY   op 7
//!  client    GET color   red
//!
//!  server 2 answers in view 2, from op 7
//! ```

use super::digits::{DIGIT_ROWS, digits};
use super::{client, cols, put, wrap};
use crate::core::protocol::{Time, plural};
use crate::ui::dashboard::model::Model;
use crate::ui::dashboard::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// Digits are at most this many times as big.
const SIZE_MAX: u16 = 3;
/// Columns of a server's name, and of its state.
const NAME_COLS: u16 = 11;
const STATE_COLS: u16 = 13;
/// A caption is one line, two where it must be.
const CAPTION_ROWS: usize = 2;

/// Draws the panels of the back row, of which this many are always there: digits do not grow and shrink with what is
/// said below them.
pub fn draw(buffer: &mut Buffer, (area, rows): (Rect, u16), model: &Model, theme: &Theme, now: Time) {
    let others = model.others().newest_first();
    let lines = model.servers().len() + 1 + if model.shows_clients() { 1 } else { 0 };
    // A name above the digits; two blank rows, the lines between them, what happened last.
    let needed = u16::try_from(lines + 1).unwrap_or(u16::MAX).saturating_add(3);
    let size = (rows.saturating_sub(needed) / DIGIT_ROWS).clamp(1, SIZE_MAX);
    let bold = |style: Style| style.add_modifier(Modifier::BOLD);
    let primary = match model.primary() {
        Some(rank) => (rank.0.to_string(), bold(theme.primary)),
        None => ("-".to_owned(), bold(theme.bad)),
    };
    let fields = [
        ("view".to_owned(), (model.view_number().0.to_string(), bold(theme.view))),
        ("primary".to_owned(), primary),
        stopwatch(model, theme, now),
    ];
    let third = area.width / 3;
    for (at, (name, (number, style))) in (0..).zip(&fields) {
        let x = area.x + 1 + at * third;
        put(buffer, x, area.y, third.saturating_sub(1), name, theme.title);
        let place = Rect { x, y: area.y + 1, width: third.saturating_sub(1), height: DIGIT_ROWS * size };
        digits(buffer, place, number, size, (theme.glyphs.sparks[7], *style));
    }
    let mut y = area.y + 2 + DIGIT_ROWS * size;
    for server in model.servers() {
        let state = server.state(now);
        let (style, _) = theme.card(state);
        let x = put(buffer, area.x + 1, y, NAME_COLS, &format!("server {}", server.rank), bold(theme.text));
        let x = put(buffer, x.max(area.x + NAME_COLS), y, STATE_COLS, &state.to_string(), bold(style));
        if let Some(status) = server.status().filter(|_| !state.is_down()) {
            let known = format!("op {}, {} key{}", status.op, status.keys, plural(status.keys));
            put(buffer, x.max(area.x + NAME_COLS + STATE_COLS), y, area.width, &known, theme.text);
        }
        y += 1;
    }
    let mut asked = |name: &str, command: &str, answer: Option<&str>| {
        put(buffer, area.x + 1, y, NAME_COLS, name, bold(theme.text));
        let answer = answer.map_or(("…", theme.doubt), |answer| (answer, client::outcome(answer, theme)));
        let (from, right) = (area.x + NAME_COLS, area.right());
        let room = right.saturating_sub(from + cols(answer.0).min(area.width / 2) + 4);
        let x = put(buffer, from, y, room, command, theme.text) + 3;
        put(buffer, x, y, right.saturating_sub(x + 1), answer.0, bold(answer.1));
        y += 1;
    };
    match (model.outstanding(), model.operations().next_back()) {
        (Some((_, command)), _) => asked("client", command, None),
        (None, Some(last)) => asked("client", &last.command, Some(&last.reply)),
        (None, None) => {}
    }
    if let Some((rank, last)) = others.first().filter(|_| model.shows_clients()) {
        asked(&format!("client {rank}"), &last.command, last.answer.as_deref());
    }
    if let Some(last) = model.story().lines().next_back() {
        let (style, sign) = theme.tone(last.tone);
        let rows = wrap(&last.text, area.width.saturating_sub(4), CAPTION_ROWS);
        for (y, row) in (y + 1..area.bottom()).zip(rows) {
            put(buffer, area.x + 1, y, 2, sign, bold(style));
            put(buffer, area.x + 3, y, area.width.saturating_sub(4), &row, bold(style));
        }
    }
}

/// How long the last failover took, in the unit that gives at most three digits, and whether all is slowed down. It
/// runs while the failover does.
fn stopwatch(model: &Model, theme: &Theme, now: Time) -> (String, (String, Style)) {
    let watch = model.stopwatch();
    let bold = |style: Style| style.add_modifier(Modifier::BOLD);
    let slowed = model.setup.slowed().map_or_else(String::new, |slowed| format!(", {slowed}"));
    let name = |unit: &str| format!("failover, {unit}{slowed}");
    let Some(failover) = watch.failover() else { return (name("ms"), ("-".to_owned(), theme.faint)) };
    let (took, style) = if watch.is_held() {
        (watch.runs_for(now), bold(theme.bad))
    } else if watch.is_running() {
        (watch.runs_for(now), bold(theme.doubt))
    } else {
        (failover.total(), theme.strong)
    };
    let (unit, number) = match took.as_micros() {
        micros @ 0..1_000 if !watch.is_running() => ("µs", micros),
        micros @ 0..1_000_000 => ("ms", micros / 1_000),
        micros => ("s", micros / 1_000_000),
    };
    (name(unit), (number.to_string(), style))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::dashboard::{ModelSetup, ThemeName};

    fn rows(name: ThemeName, ascii: bool) -> Vec<String> {
        let setup = ModelSetup { servers: 2, seed: 1, failure_rate: 0.0, animated: true, pace: 1.0 };
        let model = Model::new(setup, Time(0));
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 15));
        let theme = Theme::new(name, ascii).for_the_back_row(true);
        draw(&mut buffer, (Rect::new(0, 0, 80, 15), 15), &model, &theme, Time(0));
        let row = |y: u16| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..15).map(row).collect()
    }

    #[test]
    fn what_colour_tells_words_and_shapes_tell_as_well() {
        let dark = rows(ThemeName::Dark, false);
        assert!(dark[0].contains("view") && dark[0].contains("primary") && dark[0].contains("failover, ms"));
        assert!(dark[1].starts_with(" ██████ ") && dark[2].starts_with(" ██  ██ "), "a zero: {dark:#?}");
        assert!(dark.iter().any(|row| row.contains("server 2  STARTING")), "{dark:#?}");
        for name in [ThemeName::Light, ThemeName::ColorBlind, ThemeName::Mono] {
            assert_eq!(rows(name, false), dark);
        }
        let ascii: Vec<String> = dark.iter().map(|row| row.replace('█', "#")).collect();
        assert_eq!(rows(ThemeName::Mono, true), ascii);
    }
}
