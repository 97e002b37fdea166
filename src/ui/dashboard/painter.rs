//! The terminal's upper rows: owned here, and written to in whole frames.
//!
//! The prompt lives in the rows below, in a scroll region of its own, and its editor writes to the same
//! terminal whenever a key is pressed. Two writers on one screen get along because
//!
//! 1. a frame is *one* `write(2)`: the terminal never sees half of it between two keys;
//! 2. a frame saves the cursor (`ESC 7`) and its pen, and puts both back (`ESC 8`);
//! 3. a frame only touches the rows above the region, and scrolls nothing;
//! 4. nothing is asked of the terminal (an answer would arrive as if it had been typed);
//! 5. the region is set on entering and on resizing only, because setting it moves the cursor.
//!
//! ```text
//!  CSI ? 2026 h   begin: show nothing until the end
//!  ESC 7          save cursor and pen
//!  …              cells that changed
//!  ESC 8          back
//!  CSI ? 25 h     the cursor is the prompt's, and visible
//!  CSI ? 2026 l   end: show it all
//! ```
//!
//! A frame in which nothing changed is empty, and an empty frame is not written. The pen is only ever
//! reset as a whole (`CSI 0 m`), so a theme without colours sends no colour code at all.
//!
//! # Caveats
//!
//! After a resize the old rows may have been moved about by the terminal. [`Painter::resize`] says what
//! the prompt's side has to write (it must come from there, so that the editor draws its line again);
//! the rows above are erased with the next frame.

use super::layout;
use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::{Color, Modifier};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use std::fmt::Write as _;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

const FRAME_BEGIN: &[u8] = b"\x1b[?2026h\x1b7";
const FRAME_END: &[u8] = b"\x1b8\x1b[?25h\x1b[?2026l";

/// The owner of the dashboard's rows.
pub struct Painter<W: Write> {
    terminal: Terminal<Ink<W>>,
    cols: u16,
    rows: u16,
}

impl<W: Write> Painter<W> {
    /// Clears the screen, gives the lower rows to the prompt and puts the cursor on the last one.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn enter(mut out: W, cols: u16, rows: u16) -> io::Result<Self> {
        let (dashboard_rows, _) = layout::split(cols, rows);
        out.write_all(format!("\x1b[0m\x1b[2J{}", region(dashboard_rows, rows)).as_bytes())?;
        out.flush()?;
        Ok(Self { terminal: terminal(Ink::new(out, cols, dashboard_rows))?, cols, rows })
    }

    /// The size of the whole terminal that frames are drawn for.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        (self.cols, self.rows)
    }

    /// Draws a frame and writes what differs from the one before.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn paint(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// The terminal has a new size. Answers what the prompt's side must write before its line: it
    /// empties the prompt's rows, sets the region and goes to the last row.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn resize(mut self, cols: u16, rows: u16) -> io::Result<(Self, String)> {
        let (dashboard_rows, _) = layout::split(cols, rows);
        (self.cols, self.rows) = (cols, rows);
        let painter = self.renew()?;
        let mut text = String::from("\x1b[r");
        for row in dashboard_rows + 1..=rows {
            let _ = write!(text, "\x1b[{row};1H\x1b[2K");
        }
        text.push_str(&region(dashboard_rows, rows));
        Ok((painter, text))
    }

    /// Whatever is on the dashboard's rows, the next frame draws all of them.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn renew(self) -> io::Result<Self> {
        let (cols, rows) = (self.cols, self.rows);
        let (dashboard_rows, _) = layout::split(cols, rows);
        let mut ink = Ink::new(self.into_out(), cols, dashboard_rows);
        // A new terminal believes its rows to be blank: without this, old signs would shine through.
        for row in 1..=dashboard_rows {
            let _ = write!(ink.frame, "\x1b[{row};1H\x1b[2K");
        }
        if !ink.frame.is_empty() {
            ink.frame.insert_str(0, "\x1b[0m");
        }
        Ok(Self { terminal: terminal(ink)?, cols, rows })
    }

    /// Gives all rows back to the terminal and puts the cursor on the last one. The picture stays.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn leave(self) -> io::Result<W> {
        let text = leave_text(self.rows);
        let mut out = self.into_out();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(out)
    }

    fn into_out(mut self) -> W {
        self.terminal.backend_mut().out.take().expect("the writer is taken once, by value")
    }
}

/// What makes the terminal whole again, for a panic hook or whoever cleans up: no region, a visible
/// cursor on the last row, a plain pen.
#[must_use]
pub fn leave_text(rows: u16) -> String {
    format!("\x1b[?2026l\x1b[0m\x1b[r\x1b[?25h\x1b[{};1H", rows.max(1))
}

/// Makes the rows below the dashboard a scroll region and goes to the last one.
fn region(dashboard_rows: u16, rows: u16) -> String {
    format!("\x1b[{};{rows}r\x1b[{rows};1H", dashboard_rows + 1)
}

fn terminal<W: Write>(ink: Ink<W>) -> io::Result<Terminal<Ink<W>>> {
    let area = Rect::new(0, 0, ink.size.width, ink.size.height);
    Terminal::with_options(ink, TerminalOptions { viewport: Viewport::Fixed(area) })
}

/// A ratatui backend that collects a frame and writes it at once. It asks the terminal nothing.
struct Ink<W: Write> {
    /// Taken when the painter is taken apart.
    out: Option<W>,
    frame: String,
    size: Size,
}

impl<W: Write> Ink<W> {
    fn new(out: W, cols: u16, rows: u16) -> Self {
        Self { out: Some(out), frame: String::new(), size: Size::new(cols, rows) }
    }
}

impl<W: Write> Backend for Ink<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut pen = None;
        let mut cursor = None;
        for (x, y, cell) in content {
            if cursor != Some((x, y)) {
                let _ = write!(self.frame, "\x1b[{};{}H", y + 1, x + 1);
            }
            let wanted = (cell.fg, cell.bg, cell.modifier);
            if pen != Some(wanted) {
                set_pen(&mut self.frame, wanted);
                pen = Some(wanted);
            }
            self.frame.push_str(cell.symbol());
            cursor = Some((x + cell.symbol().width() as u16, y));
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let Some(out) = &mut self.out else { return Ok(()) };
        let whole = [FRAME_BEGIN, self.frame.as_bytes(), FRAME_END].concat();
        self.frame.clear();
        out.write_all(&whole)?;
        out.flush()
    }

    /// The cursor is the prompt's: a frame never leaves it hidden, so there is nothing to do.
    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, _position: P) -> io::Result<()> {
        Ok(())
    }

    /// Never: it would take the prompt's rows too.
    fn clear(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn clear_region(&mut self, _clear_type: ClearType) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::ZERO })
    }
}

fn set_pen(frame: &mut String, (fg, bg, modifier): (Color, Color, Modifier)) {
    frame.push_str("\x1b[0");
    for (flag, code) in [
        (Modifier::BOLD, 1),
        (Modifier::DIM, 2),
        (Modifier::ITALIC, 3),
        (Modifier::UNDERLINED, 4),
        (Modifier::REVERSED, 7),
        (Modifier::CROSSED_OUT, 9),
    ] {
        if modifier.contains(flag) {
            let _ = write!(frame, ";{code}");
        }
    }
    set_colour(frame, 38, fg);
    set_colour(frame, 48, bg);
    frame.push('m');
}

fn set_colour(frame: &mut String, ground: u8, colour: Color) {
    let number = match colour {
        Color::Reset => return,
        Color::Rgb(r, g, b) => {
            let _ = write!(frame, ";{ground};2;{r};{g};{b}");
            return;
        }
        Color::Indexed(number) => number,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
    };
    let _ = write!(frame, ";{ground};5;{number}");
}
