//! Pictures for slides and handouts: the screen or the diagram, as SVG with its text as text, or as plain text.
//!
//! An SVG has the shape of a slide (16:9), letters of 16 pixels on a sheet about a thousand wide, and a title on each
//! row of the diagram that holds the whole message.

use super::face::Face;
use super::layout;
use super::model::Model;
use super::panels::diagram;
use super::theme::{Theme, ThemeName};
use super::view;
use crate::core::protocol::Time;
use crate::ui::commands::action::Shot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;

/// A letter is so wide, and a row so high, in pixels.
const LETTER: (f64, f64) = (9.64, 20.0);
const FONT_PX: u32 = 16;
/// Around the picture.
const MARGIN: f64 = 16.0;
/// The size of a diagram, in letters: with its margin the shape of a slide.
const DIAGRAM_SIZE: (u16, u16) = (100, 26);
/// The size of a screen that nobody looks at.
pub const SCREEN_SIZE: (u16, u16) = (100, 30);
/// The first sixteen colours, as many terminals have them.
const SIXTEEN: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681", "#ffa198",
    "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
];
const FONTS: &str = "'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace";

/// The picture that is wished for, of what is shown; `None` for a file whose name ends in neither .svg nor .txt.
/// `is_big`: as the back row sees it; `size`: columns and rows of the whole terminal.
#[must_use]
pub fn shot(shot: &Shot, (model, face): (&Model, &Face), is_big: bool, size: (u16, u16), now: Time) -> Option<String> {
    let extension = shot.file.extension()?.to_str()?.to_ascii_lowercase();
    let name = if shot.dark { ThemeName::Dark } else { ThemeName::Light };
    let theme = Theme::new(name, false).for_the_back_row(is_big);
    let (buffer, titles) = match shot.diagram.unwrap_or(face.shows_diagram) {
        true => drawn_diagram(model, face.caption.is_some(), &theme, now),
        false => (drawn_screen((model, face), &theme, size, now)?, Vec::new()),
    };
    match extension.as_str() {
        "svg" => Some(svg(&buffer, shot.dark, &titles)),
        "txt" => Some(text(&buffer)),
        _ => None,
    }
}

/// What is on a row of the picture, in whole sentences.
type Titles = Vec<(u16, String)>;

/// Everything above the prompt, but for the bar of the keys: nobody presses them on a slide.
fn drawn_screen((model, face): (&Model, &Face), theme: &Theme, size: (u16, u16), now: Time) -> Option<Buffer> {
    let (cols, rows) = (size.0.max(1), layout::split(size.0, size.1).0.max(1));
    let mut terminal = Terminal::new(TestBackend::new(cols, rows)).ok()?;
    let face = Face { shows_diagram: false, ..face.clone() };
    terminal.draw(|frame| view::draw(frame, model, &face, theme, &[], now)).ok()?;
    let mut buffer = terminal.backend().buffer().clone();
    buffer.resize(Rect::new(0, 0, cols, rows.saturating_sub(1).max(1)));
    Some(buffer)
}

/// The space–time diagram alone.
fn drawn_diagram(model: &Model, is_stepped: bool, theme: &Theme, now: Time) -> (Buffer, Titles) {
    let area = Rect::new(0, 0, DIAGRAM_SIZE.0, DIAGRAM_SIZE.1);
    let mut buffer = Buffer::empty(area);
    diagram::draw(&mut buffer, area, model, is_stepped, theme, now);
    (buffer, diagram::titles(area, model))
}

/// The diagram as text, as many rows as it has.
#[must_use]
pub fn diagram_text(model: &Model, now: Time) -> String {
    let rows = u16::try_from(model.diagram().rows().len()).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, DIAGRAM_SIZE.0, rows.saturating_add(2));
    let mut buffer = Buffer::empty(area);
    diagram::draw(&mut buffer, area, model, false, &Theme::new(ThemeName::Mono, false), now);
    text(&buffer).trim_end().to_owned()
}

/// The rows, without blanks at their ends.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let row: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// A picture of these cells, on dark or light ground. `titles`: what is on a row, in whole sentences.
#[must_use]
pub fn svg(buffer: &Buffer, is_dark: bool, titles: &[(u16, String)]) -> String {
    let Rect { width, height, .. } = buffer.area;
    let (inner_width, inner_height) = (f64::from(width) * LETTER.0, f64::from(height) * LETTER.1);
    let (wide, high) = (inner_width + 2.0 * MARGIN, inner_height + 2.0 * MARGIN);
    let (wide, high) = (wide.max(high * 16.0 / 9.0), high.max(wide * 9.0 / 16.0));
    let (left, top) = ((wide - inner_width) / 2.0, (high - inner_height) / 2.0);
    let (front, back) = if is_dark { ("#d4d4d4", "#16181c") } else { ("#1a1a1a", "#ffffff") };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide:.0} {high:.0}\" font-family=\"{FONTS}\" \
         font-size=\"{FONT_PX}\">\n<rect width=\"100%\" height=\"100%\" fill=\"{back}\"/>\n"
    );
    for y in 0..height {
        let at_y = top + f64::from(y) * LETTER.1;
        for (x, cell, words) in runs(buffer, y) {
            let at_x = left + f64::from(x) * LETTER.0;
            let columns = words.chars().count();
            let long = columns as f64 * LETTER.0;
            let (mut ink, mut paper) = (colour(cell.fg), colour(cell.bg));
            if cell.modifier.contains(Modifier::REVERSED) {
                (ink, paper) = (Some(paper.unwrap_or_else(|| back.into())), Some(ink.unwrap_or_else(|| front.into())));
            }
            if let Some(paper) = paper {
                let high = LETTER.1;
                let _ = writeln!(
                    out,
                    "<rect x=\"{at_x:.1}\" y=\"{at_y:.1}\" width=\"{long:.1}\" height=\"{high}\" fill=\"{paper}\"/>"
                );
            }
            if words.trim().is_empty() {
                continue;
            }
            let ink = ink.unwrap_or_else(|| front.into());
            let bold = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
            let dim = if cell.modifier.contains(Modifier::DIM) { " opacity=\"0.6\"" } else { "" };
            let _ = writeln!(
                out,
                "<text x=\"{at_x:.1}\" y=\"{:.1}\" textLength=\"{long:.1}\" fill=\"{ink}\"{bold}{dim} \
                 xml:space=\"preserve\">{}</text>",
                at_y + 15.0,
                escaped(&words)
            );
        }
    }
    for (y, title) in titles {
        let at_y = top + f64::from(*y) * LETTER.1;
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{at_y:.1}\" width=\"{inner_width:.1}\" height=\"{}\" fill=\"transparent\">\
             <title>{}</title></rect>",
            LETTER.1,
            escaped(title)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The parts of a row that look alike: where, how, and their letters.
fn runs(buffer: &Buffer, y: u16) -> Vec<(u16, Cell, String)> {
    let mut runs: Vec<(u16, Cell, String)> = Vec::new();
    for x in 0..buffer.area.width {
        let cell = &buffer[(x, y)];
        match runs.last_mut() {
            Some((_, last, words)) if last.style() == cell.style() => words.push_str(cell.symbol()),
            _ => runs.push((x, cell.clone(), cell.symbol().to_owned())),
        }
    }
    runs
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A colour of the palette of 256: themes use those from the sixteenth on, the prompt those before.
fn colour(colour: Color) -> Option<String> {
    let Color::Indexed(number) = colour else { return None };
    let (red, green, blue) = match number {
        0..16 => return Some(SIXTEEN[usize::from(number)].to_owned()),
        16..232 => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let n = number - 16;
            (level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        grey => {
            let level = 8 + 10 * (grey - 232);
            (level, level, level)
        }
    };
    Some(format!("#{red:02x}{green:02x}{blue:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_svg_has_text_as_text_in_the_shape_of_a_slide() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 100, 26));
        buffer.set_string(3, 2, "a <b> & c", ratatui::style::Style::new().fg(Color::Indexed(203)));
        let (dark, light) = (svg(&buffer, true, &[(2, "all of <it>".into())]), svg(&buffer, false, &[]));
        assert!(dark.contains(">a &lt;b&gt; &amp; c<") && dark.contains("#ff5f5f"), "{dark}");
        assert!(dark.contains("<title>all of &lt;it&gt;</title>") && !light.contains("<title>"));
        assert_ne!(dark, light);
        let size = dark.split("viewBox=\"0 0 ").nth(1).and_then(|rest| rest.split('"').next()).expect("a size");
        let sides: Vec<f64> = size.split(' ').map(|side| side.parse().expect("a number")).collect();
        assert!((sides[0] / sides[1] - 16.0 / 9.0).abs() < 0.01, "{size}");
        assert_eq!(text(&buffer).lines().nth(2), Some("   a <b> & c"));
    }
}
