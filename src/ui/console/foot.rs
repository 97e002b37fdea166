//! The foot of the screen: the rows below the dashboard, and the one who writes there.
//!
//! What is printed scrolls up; in the last row a line is edited, or nothing is. Everything goes out as one write, so a
//! frame of the dashboard never tears it. The row is drawn anew whenever the line changes, something is printed above
//! it, or the state in its prompt is no longer true.

use super::answer::Palette;
use super::ascii::ascii;
use super::assist;
use super::row::{self, Line};
use super::session::ConsoleSession;
use rustix::termios::tcgetwinsize;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The terminal's width when it does not say.
const COLUMNS_DEFAULT: u16 = 80;
/// Pasted text comes in brackets, so that its ends of lines are no Enter.
const PASTE_ON: &str = "\x1b[?2004h";
const PASTE_OFF: &str = "\x1b[?2004l";

/// The foot of the screen. Clones share it.
#[derive(Clone)]
pub struct Foot {
    session: Arc<ConsoleSession>,
    palette: Palette,
    writer: Arc<Mutex<FootWriter>>,
}

struct FootWriter {
    out: File,
    /// What is being edited, if something is.
    edited: Option<Edited>,
    /// What was last written as the row.
    row: String,
}

#[derive(Default)]
struct Edited {
    line: String,
    cursor: usize,
    /// A search in the history has a prompt of its own.
    prompt: Option<String>,
}

impl Foot {
    /// Writes to `out`, which is a terminal.
    #[must_use]
    pub fn new(session: Arc<ConsoleSession>, palette: Palette, out: File) -> Self {
        Self { session, palette, writer: Arc::new(Mutex::new(FootWriter { out, edited: None, row: String::new() })) }
    }

    /// A line is edited from now on.
    pub fn begin(&self) {
        self.change(PASTE_ON, |writer| writer.edited = Some(Edited::default()));
    }

    /// This is the line now, and here is the cursor; `prompt` when it is not the usual one.
    pub fn edited(&self, line: &str, cursor: usize, prompt: Option<&str>) {
        let edited = Edited { line: line.to_owned(), cursor, prompt: prompt.map(str::to_owned) };
        self.change("", |writer| {
            if writer.edited.is_some() {
                writer.edited = Some(edited);
            }
        });
    }

    /// Time has passed: is what the prompt says still true?
    pub fn look_again(&self) {
        self.change("", |_| {});
    }

    /// Prints `text` as lines above the row.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let state = self.state();
        let mut writer = self.lock();
        let mut bytes = if writer.edited.is_some() { "\r\x1b[K".to_owned() } else { String::new() };
        bytes.push_str(text);
        if !text.ends_with('\n') {
            bytes.push('\n');
        }
        writer.row = writer.edited.as_ref().map_or_else(String::new, |edited| self.row(&writer.out, edited, &state));
        bytes.push_str(&writer.row);
        writer.out.write_all(bytes.as_bytes())
    }

    /// The line is over. Answers the row as it stays on the screen. Without a line of its own, what was there last
    /// is left.
    pub fn finish(&self, line: Option<&str>) -> String {
        let state = self.state();
        let mut writer = self.lock();
        let edited = writer.edited.take().unwrap_or_default();
        let line = line.unwrap_or(&edited.line);
        let columns = columns(&writer.out);
        let prompt = row::prompt(&state, columns);
        let spans = assist::spans(line, &self.palette);
        let (text, _) = Line { prompt: &prompt, spans: &spans, cursor: None, hint: "" }.draw(columns, &self.palette);
        let bytes = format!("\r\x1b[K{text}{PASTE_OFF}\n");
        // A terminal that is gone is found out by whoever reads it.
        let _ = writer.out.write_all(bytes.as_bytes());
        writer.row.clear();
        text
    }

    /// Changes what is edited, and draws the row if it looks different then.
    fn change(&self, before: &str, change: impl FnOnce(&mut FootWriter)) {
        let state = self.state();
        let mut writer = self.lock();
        change(&mut writer);
        let Some(edited) = &writer.edited else { return };
        let row = self.row(&writer.out, edited, &state);
        if row != writer.row {
            let _ = writer.out.write_all(format!("{before}{row}").as_bytes());
            writer.row = row;
        }
    }

    /// How many columns there are.
    #[must_use]
    pub fn columns(&self) -> usize {
        columns(&self.lock().out)
    }

    fn state(&self) -> String {
        let state = assist::state(self.session.knowledge());
        if self.palette.ascii { ascii(&state) } else { state }
    }

    /// The row and the cursor in it, from wherever in the row the cursor is.
    fn row(&self, out: &File, edited: &Edited, state: &str) -> String {
        let columns = columns(out);
        let prompt = match &edited.prompt {
            Some(prompt) => row::fitted(prompt, columns),
            None => row::prompt(state, columns),
        };
        let spans = assist::spans(&edited.line, &self.palette);
        let hint = match edited.prompt {
            None => assist::hint(&edited.line, edited.cursor).unwrap_or_default(),
            Some(_) => String::new(),
        };
        let line = Line { prompt: &prompt, spans: &spans, cursor: Some(edited.cursor), hint: &hint };
        let (text, column) = line.draw(columns, &self.palette);
        let forward = if column > 0 { format!("\x1b[{column}C") } else { String::new() };
        format!("\r\x1b[K{text}\r{forward}")
    }

    fn lock(&self) -> MutexGuard<'_, FootWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn columns(out: &File) -> usize {
    let columns = tcgetwinsize(out).map_or(0, |window| window.ws_col);
    usize::from(if columns == 0 { COLUMNS_DEFAULT } else { columns })
}
