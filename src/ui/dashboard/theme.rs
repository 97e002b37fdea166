//! What things look like: a field a role, not a field a colour.
//!
//! Colours are of the 256-colour palette, which looks the same on nearly every terminal. No role is
//! told by colour alone: a card's state is also a word and a kind of border, a message's kind also a
//! sign. The mono theme therefore loses nothing but comfort, and [`plain`] makes sure that it holds no
//! colour at all.

use super::model::flights::FlightKind;
use super::model::story::Tone;
use crate::cluster::Standing;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// The dashboard's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ThemeName {
    /// For dark terminals.
    Dark,
    /// For light terminals.
    Light,
    /// Blue and orange: told apart by every eye.
    ColorBlind,
    /// No colour at all.
    Mono,
}

/// Styles and signs.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    /// Ordinary text.
    pub text: Style,
    /// What may be overlooked.
    pub faint: Style,
    /// What must not be overlooked.
    pub strong: Style,
    /// The program's name.
    pub brand: Style,
    /// Titles of panels.
    pub title: Style,
    /// A server in charge.
    pub primary: Style,
    /// A server that acknowledges.
    pub backup: Style,
    /// A server that receives the state.
    pub joining: Style,
    /// A server that is not needed, or has not reported yet.
    pub idle: Style,
    /// A crashed server, a lost message, anything that failed.
    pub bad: Style,
    /// A stopped server, a suspicion.
    pub doubt: Style,
    /// The client's box.
    pub client: Style,
    /// A key's name.
    pub key: Style,
    /// A key that has just changed.
    pub flash: Style,
    /// The title of a card to which something has just happened, added to its own style.
    pub lit: Style,
    /// A notice that the protocol is not safe.
    pub alarm: Style,
    /// A link.
    pub link: Style,
    /// Messages by kind.
    pub request: Style,
    /// See [`FlightKind::Prepare`].
    pub prepare: Style,
    /// See [`FlightKind::Ok`].
    pub ok: Style,
    /// See [`FlightKind::Reply`].
    pub reply: Style,
    /// See [`FlightKind::State`].
    pub state: Style,
    /// See [`FlightKind::View`].
    pub view: Style,
    /// The key bar: keys.
    pub bar_key: Style,
    /// The key bar: what they do.
    pub bar: Style,
    /// The key bar: what would do nothing now.
    pub bar_off: Style,
    /// The signs.
    pub glyphs: &'static Glyphs,
    /// Only ASCII leaves this theme: what users typed is replaced too.
    pub ascii: bool,
    /// For the back row of a class: big numbers, fewer panels.
    pub big: bool,
}

/// The signs that everything is drawn with.
#[derive(Debug, PartialEq)]
pub struct Glyphs {
    /// Borders by state.
    pub primary: border::Set<'static>,
    /// See [`Standing::Backup`].
    pub backup: border::Set<'static>,
    /// See [`Standing::Joining`].
    pub joining: border::Set<'static>,
    /// See [`Standing::Idle`].
    pub idle: border::Set<'static>,
    /// See [`Standing::Down`]: full of gaps.
    pub down: border::Set<'static>,
    /// See [`Standing::Paused`].
    pub paused: border::Set<'static>,
    /// See [`Standing::Dead`].
    pub dead: border::Set<'static>,
    /// The client's box.
    pub client: border::Set<'static>,
    /// A crack through a fallen card, downwards and upwards.
    pub crack: [&'static str; 2],
    /// A full and an empty part of a bar.
    pub gauge: [&'static str; 2],
    /// Heights, lowest first.
    pub sparks: [&'static str; 8],
    /// A link, and a cut one.
    pub link: [&'static str; 2],
    /// Where a link ends: to the left, to the right.
    pub heads: [&'static str; 2],
    /// The bus: leg down, leg up, upright.
    pub legs: [&'static str; 3],
    /// Messages by kind.
    pub request: &'static str,
    /// See [`FlightKind::Prepare`].
    pub prepare: &'static str,
    /// See [`FlightKind::Ok`].
    pub ok: &'static str,
    /// See [`FlightKind::Reply`].
    pub reply: &'static str,
    /// See [`FlightKind::State`].
    pub state: &'static str,
    /// See [`FlightKind::View`].
    pub view: &'static str,
    /// A heartbeat passes.
    pub tick: &'static str,
    /// Lost, cut, crashed.
    pub lost: &'static str,
    /// Somebody suspects.
    pub doubt: &'static str,
    /// The order changed.
    pub turn: &'static str,
    /// It works again.
    pub good: &'static str,
    /// State moves.
    pub moved: &'static str,
    /// An operator.
    pub operator: &'static str,
    /// Differs between members.
    pub differs: &'static str,
}

const fn all_sides(corner: &'static str, across: &'static str, upright: &'static str) -> border::Set<'static> {
    border::Set {
        top_left: corner,
        top_right: corner,
        bottom_left: corner,
        bottom_right: corner,
        vertical_left: upright,
        vertical_right: upright,
        horizontal_top: across,
        horizontal_bottom: across,
    }
}

const fn plain_with(across: &'static str, upright: &'static str) -> border::Set<'static> {
    border::Set {
        vertical_left: upright,
        vertical_right: upright,
        horizontal_top: across,
        horizontal_bottom: across,
        ..border::PLAIN
    }
}

/// For terminals with UTF-8.
pub static UNICODE: Glyphs = Glyphs {
    primary: border::THICK,
    backup: border::PLAIN,
    joining: plain_with("┄", "┆"),
    idle: plain_with("┈", "┊"),
    down: plain_with("╌", "╎"),
    paused: border::DOUBLE,
    dead: all_sides("✗", "╌", "╎"),
    client: border::ROUNDED,
    crack: ["╲", "╱"],
    gauge: ["▮", "▯"],
    sparks: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    link: ["─", "╌"],
    heads: ["◀", "▶"],
    legs: ["┬", "┴", "│"],
    request: "●",
    prepare: "◆",
    ok: "◇",
    reply: "○",
    state: "■",
    view: "▲",
    tick: "•",
    lost: "✗",
    doubt: "?",
    turn: "⇨",
    good: "✓",
    moved: "⇉",
    operator: "»",
    differs: "≠",
};

/// For `--ascii`, `TERM=linux` and locales without UTF-8.
pub static ASCII: Glyphs = Glyphs {
    primary: all_sides("#", "#", "#"),
    backup: all_sides("+", "-", "|"),
    joining: all_sides("+", "~", ":"),
    idle: all_sides(".", ".", "."),
    down: all_sides("x", " ", " "),
    paused: all_sides("=", "=", "="),
    dead: all_sides("X", " ", " "),
    client: all_sides("+", "-", "|"),
    crack: ["\\", "/"],
    gauge: ["#", "."],
    sparks: ["_", "_", ".", "-", "-", "=", "+", "#"],
    link: ["-", " "],
    heads: ["<", ">"],
    legs: ["+", "+", "|"],
    request: "o",
    prepare: "*",
    ok: "+",
    reply: "@",
    state: "%",
    view: "^",
    tick: ".",
    lost: "x",
    doubt: "?",
    turn: ">",
    good: "+",
    moved: "%",
    operator: "$",
    differs: "!",
};

/// The colours of one theme, by the number of the palette.
struct Shades {
    faint: u8,
    brand: u8,
    primary: u8,
    backup: u8,
    joining: u8,
    idle: u8,
    bad: u8,
    doubt: u8,
    client: u8,
    /// Text on a flashing key, and what is behind it.
    flash: (u8, u8),
    alarm: (u8, u8),
    link: u8,
    request: u8,
    prepare: u8,
    ok: u8,
    reply: u8,
    state: u8,
    view: u8,
    bar: (u8, u8),
    bar_key: u8,
    bar_off: u8,
}

const DARK: Shades = Shades {
    faint: 245,
    brand: 255,
    primary: 84,
    backup: 75,
    joining: 80,
    idle: 246,
    bad: 203,
    doubt: 221,
    client: 252,
    flash: (232, 222),
    alarm: (231, 160),
    link: 243,
    request: 231,
    prepare: 213,
    ok: 84,
    reply: 222,
    state: 80,
    view: 221,
    bar: (250, 236),
    bar_key: 222,
    bar_off: 241,
};

const LIGHT: Shades = Shades {
    faint: 242,
    brand: 16,
    primary: 28,
    backup: 25,
    joining: 30,
    idle: 243,
    bad: 160,
    doubt: 130,
    client: 238,
    flash: (16, 222),
    alarm: (231, 160),
    link: 244,
    request: 16,
    prepare: 127,
    ok: 28,
    reply: 94,
    state: 30,
    view: 130,
    bar: (238, 254),
    bar_key: 25,
    bar_off: 248,
};

/// Blue and orange only, after Okabe and Ito: told apart by every eye, on dark and on light ground.
const COLOR_BLIND: Shades = Shades {
    faint: 245,
    brand: 250,
    primary: 39,
    backup: 110,
    joining: 146,
    idle: 246,
    bad: 208,
    doubt: 179,
    client: 249,
    flash: (16, 179),
    alarm: (16, 208),
    link: 242,
    request: 250,
    prepare: 179,
    ok: 39,
    reply: 250,
    state: 110,
    view: 179,
    bar: (252, 237),
    bar_key: 39,
    bar_off: 243,
};

impl Theme {
    /// The theme of this name, with or without signs beyond ASCII.
    #[must_use]
    pub fn new(name: ThemeName, ascii: bool) -> Self {
        let glyphs = if ascii { &ASCII } else { &UNICODE };
        let theme = match name {
            ThemeName::Dark => Self::coloured(&DARK, glyphs),
            ThemeName::Light => Self::coloured(&LIGHT, glyphs),
            ThemeName::ColorBlind => Self::coloured(&COLOR_BLIND, glyphs),
            ThemeName::Mono => Self::mono(glyphs),
        };
        Self { ascii, ..theme }
    }

    fn coloured(palette: &Shades, glyphs: &'static Glyphs) -> Self {
        let fg = |number| Style::new().fg(Color::Indexed(number));
        let on = |(front, back)| Style::new().fg(Color::Indexed(front)).bg(Color::Indexed(back));
        let bar = |number| fg(number).bg(Color::Indexed(palette.bar.1));
        Self {
            text: Style::new(),
            faint: fg(palette.faint),
            strong: Style::new().add_modifier(Modifier::BOLD),
            brand: fg(palette.brand).add_modifier(Modifier::BOLD),
            title: fg(palette.faint).add_modifier(Modifier::BOLD),
            primary: fg(palette.primary),
            backup: fg(palette.backup),
            joining: fg(palette.joining),
            idle: fg(palette.idle),
            bad: fg(palette.bad),
            doubt: fg(palette.doubt),
            client: fg(palette.client),
            key: Style::new().add_modifier(Modifier::BOLD),
            flash: on(palette.flash),
            lit: Style::new().add_modifier(Modifier::REVERSED),
            alarm: on(palette.alarm).add_modifier(Modifier::BOLD),
            link: fg(palette.link),
            request: fg(palette.request),
            prepare: fg(palette.prepare),
            ok: fg(palette.ok),
            reply: fg(palette.reply),
            state: fg(palette.state),
            view: fg(palette.view),
            bar_key: bar(palette.bar_key).add_modifier(Modifier::BOLD),
            bar: on(palette.bar),
            bar_off: bar(palette.bar_off),
            glyphs,
            ascii: false,
            big: false,
        }
    }

    fn mono(glyphs: &'static Glyphs) -> Self {
        let text = Style::new();
        let bold = text.add_modifier(Modifier::BOLD);
        let dim = text.add_modifier(Modifier::DIM);
        let reverse = text.add_modifier(Modifier::REVERSED);
        Self {
            text,
            faint: dim,
            strong: bold,
            brand: bold,
            title: bold,
            primary: bold,
            backup: text,
            joining: text,
            idle: dim,
            bad: bold,
            doubt: bold,
            client: text,
            key: bold,
            flash: reverse,
            lit: reverse,
            alarm: reverse.add_modifier(Modifier::BOLD),
            link: dim,
            request: bold,
            prepare: bold,
            ok: bold,
            reply: bold,
            state: bold,
            view: bold,
            bar_key: reverse.add_modifier(Modifier::BOLD),
            bar: reverse,
            bar_off: reverse.add_modifier(Modifier::DIM),
            glyphs,
            ascii: false,
            big: false,
        }
    }

    /// The same, for the back row of a class.
    #[must_use]
    pub fn for_the_back_row(self, big: bool) -> Self {
        Self { big, ..self }
    }

    /// The look of a card: its style and its border.
    #[must_use]
    pub fn card(&self, state: Standing) -> (Style, border::Set<'static>) {
        let g = self.glyphs;
        match state {
            Standing::Primary => (self.primary, g.primary),
            Standing::Backup => (self.backup, g.backup),
            Standing::Joining => (self.joining, g.joining),
            Standing::Idle | Standing::Starting => (self.idle, g.idle),
            Standing::Down => (self.bad, g.down),
            Standing::Paused => (self.doubt, g.paused),
            Standing::Dead => (self.bad, g.dead),
            Standing::OldPrimary | Standing::OldBackup => (self.doubt, g.idle),
        }
    }

    /// The look of a message.
    #[must_use]
    pub fn flight(&self, kind: FlightKind) -> (Style, &'static str) {
        let g = self.glyphs;
        match kind {
            FlightKind::Request => (self.request, g.request),
            FlightKind::Prepare => (self.prepare, g.prepare),
            FlightKind::Ok => (self.ok, g.ok),
            FlightKind::Reply => (self.reply, g.reply),
            FlightKind::State => (self.state, g.state),
            FlightKind::View => (self.view, g.view),
            FlightKind::Heartbeat => (self.faint, g.tick),
        }
    }

    /// The look of an event.
    #[must_use]
    pub fn tone(&self, tone: Tone) -> (Style, &'static str) {
        let g = self.glyphs;
        match tone {
            Tone::Bad => (self.bad, g.lost),
            Tone::Doubt => (self.doubt, g.doubt),
            Tone::Turn => (self.view, g.turn),
            Tone::Good => (self.primary, g.good),
            Tone::State => (self.joining, g.moved),
            Tone::Operator => (self.strong, g.operator),
        }
    }
}

/// The last step of every frame: an ASCII theme lets no other character out, whatever keys, values and
/// events contain.
pub fn plain(theme: &Theme, buffer: &mut Buffer) {
    if !theme.ascii {
        return;
    }
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let replacement = match cell.symbol() {
                "·" | "–" | "—" => "-",
                "…" => "~",
                "µ" => "u",
                "→" | "⇨" => ">",
                "×" => "x",
                _ => "?",
            };
            cell.set_symbol(replacement);
        }
    }
}
