//! Pictures of a screen, and whether what they show is true.

use std::fmt::Write;
use vt100::{Cell, Color, Screen};

/// The size of a character, in pixels.
const CELL: (f64, f64) = (8.4, 18.0);
const FONT: f64 = 14.0;
const MARGIN: f64 = 14.0;
const PAPER: &str = "#0d1117";
const INK: &str = "#c9d1d9";
/// The first sixteen colours, as many terminals have them.
const COLOURS: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681", "#ffa198",
    "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
];
/// Brightness of the steps in the cube of 216 colours.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

fn colour(colour: Color, default: &str) -> String {
    match colour {
        Color::Default => default.to_owned(),
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        Color::Idx(index @ 0..=15) => COLOURS[usize::from(index)].to_owned(),
        Color::Idx(index @ 16..=231) => {
            let step = |of: u8| CUBE[usize::from((index - 16) / of % 6)];
            format!("#{:02x}{:02x}{:02x}", step(36), step(6), step(1))
        }
        Color::Idx(index) => format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (index - 232)),
    }
}

/// How a character looks: ink, paper, bold, dim.
type Look = (String, String, bool, bool);

fn look(cell: &Cell) -> Look {
    let (ink, paper) = (colour(cell.fgcolor(), INK), colour(cell.bgcolor(), PAPER));
    let (ink, paper) = if cell.inverse() { (paper, ink) } else { (ink, paper) };
    (ink, paper, cell.bold(), cell.dim())
}

/// The screen as it is, as SVG.
pub fn svg(screen: &Screen) -> String {
    let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
    let (width, height) = (f64::from(columns) * CELL.0 + 2.0 * MARGIN, f64::from(rows) * CELL.1 + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace\" font-size=\"{FONT}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{PAPER}\"/>\n"
    );
    for row in 0..rows {
        let mut run: Option<(u16, Look, String)> = None;
        for column in 0..columns {
            let Some(cell) = screen.cell(row, column) else { continue };
            let (now, text) = (look(cell), if cell.has_contents() { cell.contents() } else { " " });
            match &mut run {
                Some((_, same, words)) if *same == now => words.push_str(text),
                _ => {
                    run.iter().for_each(|run| draw(&mut out, row, run));
                    run = Some((column, now, text.to_owned()));
                }
            }
        }
        run.iter().for_each(|run| draw(&mut out, row, run));
    }
    out + "</svg>\n"
}

fn draw(out: &mut String, row: u16, (column, (ink, paper, bold, dim), words): &(u16, Look, String)) {
    let (x, y) = (MARGIN + f64::from(*column) * CELL.0, MARGIN + f64::from(row) * CELL.1);
    let width = words.chars().count() as f64 * CELL.0;
    if paper != PAPER {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{paper}\"/>",
            CELL.1
        );
    }
    // Blanks at both ends need no drawing; the length keeps the columns in place whatever the font.
    let shown = words.trim_end();
    let blanks = shown.chars().take_while(|letter| *letter == ' ').count();
    let shown = shown.trim_start();
    if shown.is_empty() {
        return;
    }
    let style = match (bold, dim) {
        (true, _) => " font-weight=\"bold\"",
        (_, true) => " opacity=\"0.6\"",
        _ => "",
    };
    let shown_columns = shown.chars().count() as f64;
    let shown = shown.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        "<text xml:space='preserve' x=\"{:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" fill=\"{ink}\"{style}>{shown}</text>",
        x + blanks as f64 * CELL.0,
        y + FONT,
        shown_columns * CELL.0,
    );
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
