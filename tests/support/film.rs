//! Pictures of a screen, and whether what they show is true.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use understudy::ui::dashboard::export;
use vt100::{Cell, Screen};

fn colour(colour: vt100::Color) -> Color {
    match colour {
        vt100::Color::Default => Color::Reset,
        vt100::Color::Idx(index) => Color::Indexed(index),
        vt100::Color::Rgb(red, green, blue) => Color::Rgb(red, green, blue),
    }
}

fn style(cell: &Cell) -> Style {
    let has = |is: bool, modifier| if is { modifier } else { Modifier::empty() };
    let modifiers = [(cell.inverse(), Modifier::REVERSED), (cell.bold(), Modifier::BOLD), (cell.dim(), Modifier::DIM)];
    let modifiers = modifiers.into_iter().fold(Modifier::empty(), |all, (is, modifier)| all | has(is, modifier));
    Style::new().fg(colour(cell.fgcolor())).bg(colour(cell.bgcolor())).add_modifier(modifiers)
}

/// The screen as it is, as SVG: drawn as `SHOT` draws it.
pub fn svg(screen: &Screen) -> String {
    let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        if let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) {
            let text = if cell.has_contents() { cell.contents() } else { " " };
            buffer[(column, row)].set_symbol(text).set_style(style(cell));
        }
    }
    export::svg(&buffer, true, &[])
}

/// The first duration in this text, in milliseconds: `362µs` and `0.3 ms` are some.
fn duration_ms(text: &str) -> Option<f64> {
    let ends = [("µs", 1e-3), ("ms", 1.0)].into_iter().filter_map(|(unit, factor)| Some((text.find(unit)?, factor)));
    let (end, factor) = ends.min_by_key(|(end, _)| *end)?;
    let before = text[..end].trim_end();
    let number = before.rsplit(|letter: char| !letter.is_ascii_digit() && letter != '.').next()?;
    Some(number.parse::<f64>().ok()? * factor)
}

/// A message there and back takes less than this, says the README ("How a PUT travels", "Speed").
const MESSAGES_MS_MAX: f64 = 5.0;
/// A failover takes less than this, says the README.
const FAILOVER_MS_MAX: f64 = 100.0;

/// What the screen shows that the README denies: a machine that was busy while it was recorded.
pub fn contradictions(lines: &[String]) -> Vec<String> {
    let limits = ["decide ", "take over ", "first answer ", " OK ", "p50 "].map(|word| (word, MESSAGES_MS_MAX));
    let limits = [limits.as_slice(), &["failover ", "detect "].map(|word| (word, FAILOVER_MS_MAX))].concat();
    let exceeds = |line: &str, word: &str, most: f64| {
        line.split_once(word).and_then(|(_, rest)| duration_ms(rest)).is_some_and(|ms| ms > most)
    };
    let denied = |line: &&String| limits.iter().any(|(word, most)| exceeds(line, word, *most));
    lines.iter().filter(denied).cloned().collect()
}
