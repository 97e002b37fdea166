//! The prompt at the foot of the dashboard.
//!
//! ```text
//! understudy[view 4 · primary 2]> PUT color▏ value
//! ```
//!
//! rustyline reads the terminal and nobody else does. Around it:
//!
//! - **Keys** go through a channel to a thread of their own and leave the half-typed line alone; what
//!   they did is printed above it.
//! - **Whatever prints while somebody types** goes through a [`PrintHandle`]: a bounded queue and one
//!   thread that hands each text to rustyline, which repaints the line below it. When the queue is full
//!   the text is dropped: nothing that prints may hold anything up.
//! - **The state in the prompt** changes while nobody types: a thread looks every
//!   `STATE_INTERVAL` and asks for a repaint. rustyline measures a prompt once for each line, so within
//!   one line the text keeps its width (`fit`).
//! - **Between two prompts**, while a command waits for a failover, the terminal stays without echo, so
//!   that what is typed ahead does not smear; Ctrl-C then interrupts a repeated command.
//!
//! # Caveats
//!
//! A key that is pressed while a command is waiting takes effect when the prompt is back. Ctrl-R and a
//! completion that waits for a key hold back what is to be printed until they are done. Ctrl-C also drops
//! what was typed in the same moment behind it: rustyline does not keep what it has read then.

use super::ExitStatus;
use super::action::Action;
use super::answer::{Answer, Palette};
use super::assist;
use super::keys::{KEYS, KeySpec};
use super::parse;
use super::session::Session;
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use rustyline::completion::{Completer, Pair};
use rustyline::config::{Behavior, BellStyle, ColorMode, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Context, Editor, Event, EventContext, EventHandler, ExternalPrinter, Helper,
    KeyCode, KeyEvent, Modifiers, RepeatCount,
};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// The history keeps this many lines.
const HISTORY_LINES_MAX: usize = 1000;
/// Longer lines are not kept.
const HISTORY_LINE_BYTES_MAX: usize = 4096;
/// At most this many texts wait to be printed.
const PRINTS_MAX: usize = 256;
/// At most this many key presses wait to be carried out.
const PRESSES_MAX: usize = 8;
/// The transcript keeps this many lines, for a screen that is drawn anew.
const TRANSCRIPT_LINES_MAX: usize = 200;
/// A line in the transcript is cut to this many characters.
const TRANSCRIPT_CHARS_MAX: usize = 1000;
/// The state in the prompt is looked at this often.
const STATE_INTERVAL: Duration = Duration::from_millis(100);
/// After a lone Escape this long for the rest of a sequence.
const ESCAPE_TIMEOUT_MS: u16 = 100;
/// Asks rustyline to paint the line again: up and down again, which prints nothing.
const REPAINT: &str = "\x1b[A\n";
/// What the prompt starts with where there is room.
const NAME: &str = "understudy";
/// The control character of Ctrl-C.
const INTERRUPT: u8 = 3;

/// What a prompt needs.
pub struct PromptConfig {
    /// Where commands and keys are carried out.
    pub session: Arc<Session>,
    /// Where the history is kept; `None`: only in memory.
    pub history_path: Option<PathBuf>,
    /// No colours.
    pub mono: bool,
    /// Is handed the way to print above the prompt, before the first prompt is shown.
    pub printer_ready: Box<dyn FnOnce(PrintHandle) + Send>,
    /// Is told when the user wants the screen drawn anew (Ctrl-L).
    pub redraw: Sender<()>,
    /// Is told when the user wants help by key; `None`: help is printed above the prompt.
    pub help: Option<Sender<()>>,
}

/// A way to print above the prompt from any thread. Clones share it.
#[derive(Debug, Clone)]
pub struct PrintHandle {
    queue: Sender<String>,
    transcript: Arc<Mutex<VecDeque<String>>>,
}

impl PrintHandle {
    /// A handle and the queue that it fills.
    fn new() -> (Self, Receiver<String>) {
        let (queue, queued) = bounded(PRINTS_MAX);
        (Self { queue, transcript: Arc::default() }, queued)
    }

    /// Prints `text` above the prompt, as lines of their own. Never waits: false when it was dropped
    /// because too much is waiting already.
    pub fn print(&self, text: impl Into<String>) -> bool {
        let mut text = text.into();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.queue.try_send(text).is_ok()
    }

    /// The same, and the transcript remembers it.
    pub fn tell(&self, text: &str) -> bool {
        self.remember(text);
        self.print(text)
    }

    /// The last lines that were shown (typed lines with their prompts, answers), oldest first, with
    /// their escape sequences: for a screen that is drawn anew.
    #[must_use]
    pub fn recent(&self, lines: usize) -> Vec<String> {
        let transcript = self.lock();
        transcript.iter().skip(transcript.len().saturating_sub(lines)).cloned().collect()
    }

    fn remember(&self, text: &str) {
        let mut transcript = self.lock();
        for line in text.lines() {
            if transcript.len() == TRANSCRIPT_LINES_MAX {
                transcript.pop_front();
            }
            transcript.push_back(cut(line));
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.transcript.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(TRANSCRIPT_CHARS_MAX) {
        Some((at, _)) => format!("{}…{}", &line[..at], Palette::MONO.end),
        None => line.to_owned(),
    }
}

/// Runs the prompt until the user leaves. The cluster goes on: to end it is the caller's decision.
///
/// # Errors
/// When there is no terminal, or it can no longer be read.
pub fn run_prompt(config: PromptConfig) -> io::Result<ExitStatus> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(io::Error::other("the prompt needs a terminal: use --plain to read commands from a pipe"));
    }
    let quiet = QuietTerminal::enter()?;
    let interrupt = signal_hook::flag::register(signal_hook::consts::SIGINT, config.session.interrupter())?;
    let result = Prompt::new(config).and_then(Prompt::run);
    signal_hook::low_level::unregister(interrupt);
    drop(quiet);
    result
}

/// The terminal without echo and without line editing of its own, until dropped.
struct QuietTerminal {
    before: Termios,
}

impl QuietTerminal {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        quiet.local_modes.insert(LocalModes::ISIG);
        quiet.input_modes.remove(InputModes::ICRNL | InputModes::IXON);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        quiet.special_codes[SpecialCodeIndex::VINTR] = INTERRUPT;
        // A stopped rank 0 would look dead to the whole cluster: no key may stop or abort it.
        if cfg!(target_os = "linux") {
            quiet.special_codes[SpecialCodeIndex::VSUSP] = 0;
            quiet.special_codes[SpecialCodeIndex::VQUIT] = 0;
        }
        tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for QuietTerminal {
    fn drop(&mut self) {
        // Whoever started us puts the terminal back as well; here is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// The prompt and its threads.
struct Prompt {
    editor: Editor<Assistant, FileHistory>,
    session: Arc<Session>,
    history_path: Option<PathBuf>,
    palette: Palette,
    handle: PrintHandle,
    live: Arc<Live>,
}

impl Prompt {
    fn new(config: PromptConfig) -> io::Result<Self> {
        let palette = if config.mono { Palette::MONO } else { Palette::COLOR };
        let live = Arc::new(Live::new(Arc::clone(&config.session)));
        let mut editor = editor(Assistant { live: Arc::clone(&live), palette }).map_err(io::Error::other)?;
        let (handle, queued) = PrintHandle::new();
        let printer = editor.create_external_printer().map_err(io::Error::other)?;
        spawn("prints", move || print_all(&queued, printer))?;
        let (presses, pressed) = bounded(PRESSES_MAX);
        let keys =
            Keys { session: Arc::clone(&config.session), handle: handle.clone(), help: config.help.clone(), palette };
        spawn("keys", move || pressed.into_iter().for_each(|key| keys.press(key)))?;
        bind(&mut editor, &presses, &config.redraw, &handle);
        let (watched, watching) = (Arc::clone(&live), handle.clone());
        spawn("prompt state", move || watch_state(&watched, &watching))?;
        (config.printer_ready)(handle.clone());
        let history_path = config.history_path;
        let mut prompt = Self { editor, session: config.session, history_path, palette, handle, live };
        prompt.load_history();
        Ok(prompt)
    }

    fn run(mut self) -> io::Result<ExitStatus> {
        loop {
            let text = self.live.begin();
            let read = self.editor.readline(&text);
            self.live.end();
            match read {
                Ok(line) => {
                    self.handle.remember(&format!("{text}{line}"));
                    self.keep_in_history(&line);
                    // A pasted text may be several lines.
                    for line in line.lines() {
                        if !self.answer(line)? {
                            return Ok(ExitStatus::Success);
                        }
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(ExitStatus::Success),
                Err(ReadlineError::Io(error)) => return Err(error),
                Err(other) => return Err(io::Error::other(other)),
            }
        }
    }

    /// Carries out one line; false when it was the last.
    fn answer(&self, line: &str) -> io::Result<bool> {
        let request = match parse::request(line.as_bytes()) {
            Ok(None) => return Ok(true),
            Ok(Some(request)) => request,
            Err(why) => return self.show(&Answer::Error(why)).map(|()| true),
        };
        let mut goes_on = true;
        let mut shown = Ok(());
        self.session.run(&request, |answer| {
            goes_on = answer != Answer::Quit;
            shown = self.show(&answer);
            shown.is_ok()
        });
        shown.map(|()| goes_on)
    }

    /// One answer is one write: it is never torn by a frame of the dashboard.
    fn show(&self, answer: &Answer) -> io::Result<()> {
        let text = answer.pretty(&self.palette);
        self.handle.remember(&text);
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Reads the history. One that cannot be read is put aside, so that a new one can be written.
    fn load_history(&mut self) {
        let Some(path) = self.history_path.clone() else { return };
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        match self.editor.load_history(&path) {
            Ok(()) => {}
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(why) => {
                let aside = path.with_extension("unreadable");
                let moved = if std::fs::rename(&path, &aside).is_ok() { "; it was put aside" } else { "" };
                self.handle.tell(&format!("the history {} cannot be read ({why}){moved}", path.display()));
            }
        }
    }

    /// Kept at once: a history that is written only at the end is lost with the process.
    fn keep_in_history(&mut self, line: &str) {
        if line.len() > HISTORY_LINE_BYTES_MAX || !matches!(self.editor.add_history_entry(line), Ok(true)) {
            return;
        }
        if let Some(path) = self.history_path.clone()
            && let Err(why) = self.append_history(&path)
        {
            self.handle
                .tell(&format!("the history {} cannot be written ({why}): it is kept in memory", path.display()));
            self.history_path = None;
        }
    }

    fn append_history(&mut self, path: &Path) -> Result<(), ReadlineError> {
        self.editor.append_history(path)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        self.live.done.store(true, Ordering::SeqCst);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

fn editor(assistant: Assistant) -> Result<Editor<Assistant, FileHistory>, ReadlineError> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .completion_prompt_limit(assist::COMPLETIONS_MAX)
        .keyseq_timeout(Some(ESCAPE_TIMEOUT_MS))
        .bell_style(BellStyle::None)
        // Whether there are colours is the palette's business; the prompt's state needs the highlighter.
        .color_mode(ColorMode::Forced)
        .behavior(Behavior::Stdio)
        .check_cursor_position(false)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(assistant));
    Ok(editor)
}

/// Binds the table of keys and takes back what would break the screen.
fn bind(
    editor: &mut Editor<Assistant, FileHistory>,
    presses: &Sender<&'static KeySpec>,
    redraw: &Sender<()>,
    handle: &PrintHandle,
) {
    for key in KEYS {
        let press = || EventHandler::Conditional(Box::new(Press { key, presses: presses.clone() }));
        editor.bind_sequence(KeyEvent(KeyCode::F(key.function), Modifiers::NONE), press());
        let chord = vec![KeyEvent::ctrl('X'), KeyEvent(KeyCode::Char(key.chord), Modifiers::NONE)];
        editor.bind_sequence(Event::KeySeq(chord), press());
    }
    // By default Ctrl-L wipes the whole screen, dashboard included.
    let redraw = Redraw { redraw: redraw.clone() };
    editor.bind_sequence(KeyEvent::ctrl('L'), EventHandler::Conditional(Box::new(redraw)));
    // By default Ctrl-Z stops this process, and the cluster believes that it died.
    let stop = NoStop { handle: handle.clone() };
    editor.bind_sequence(KeyEvent::ctrl('Z'), EventHandler::Conditional(Box::new(stop)));
    // The character of a switched-off control character: rustyline would take it for Ctrl-Z.
    editor.bind_sequence(KeyEvent::ctrl('@'), EventHandler::Simple(Cmd::Noop));
}

/// A key of the table: told to the thread that carries it out.
struct Press {
    key: &'static KeySpec,
    presses: Sender<&'static KeySpec>,
}

impl ConditionalEventHandler for Press {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        // Somebody leaning on a key: presses beyond the queue are dropped.
        let _ = self.presses.try_send(self.key);
        Some(Cmd::Noop)
    }
}

/// Ctrl-L.
struct Redraw {
    redraw: Sender<()>,
}

impl ConditionalEventHandler for Redraw {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        let _ = self.redraw.try_send(());
        Some(Cmd::Repaint)
    }
}

/// Ctrl-Z.
struct NoStop {
    handle: PrintHandle,
}

impl ConditionalEventHandler for NoStop {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        self.handle.tell("Ctrl-Z cannot stop a cluster that lives in this terminal: F8 pauses a server, Ctrl-D leaves");
        Some(Cmd::Noop)
    }
}

/// Carries out what keys ask for.
struct Keys {
    session: Arc<Session>,
    handle: PrintHandle,
    help: Option<Sender<()>>,
    palette: Palette,
}

impl Keys {
    fn press(&self, key: &KeySpec) {
        if let (Action::Help(_), Some(help)) = (&key.action, &self.help) {
            let _ = help.try_send(());
            return;
        }
        let answer = self.session.perform(&key.action);
        self.handle.tell(&key_answer(key, &answer, &self.palette));
    }
}

/// What is printed after a key press.
fn key_answer(key: &KeySpec, answer: &Answer, palette: &Palette) -> String {
    let name = format!("{} {}", key.name(), key.label);
    match answer {
        Answer::Text(text) => text.clone(),
        Answer::Error(why) => format!("{name}: {}", palette.paint(palette.error, why)),
        other => palette.paint(palette.faint, &format!("{name}: {}", other.pretty(&Palette::MONO).trim_end())),
    }
}

fn print_all(queued: &Receiver<String>, mut printer: impl ExternalPrinter) {
    // The printer fails when its editor is gone: then there is no prompt to print above any more.
    while let Ok(text) = queued.recv() {
        if printer.print(text).is_err() {
            return;
        }
    }
}

/// Asks for a repaint whenever the state in the prompt is no longer true.
fn watch_state(live: &Live, handle: &PrintHandle) {
    let mut asked_for = String::new();
    while !live.done.load(Ordering::SeqCst) {
        std::thread::sleep(STATE_INTERVAL);
        if !live.reading.load(Ordering::SeqCst) {
            continue;
        }
        let current = live.current();
        if current != *live.painted() && current != asked_for && handle.print(REPAINT) {
            asked_for = current;
        }
    }
}

/// The prompt's text, kept true while the line is being typed.
struct Live {
    session: Arc<Session>,
    /// The columns that rustyline measured for this line.
    columns: AtomicUsize,
    /// A line is being read.
    reading: AtomicBool,
    /// What was painted last.
    painted: Mutex<String>,
    /// The prompt is gone.
    done: AtomicBool,
}

impl Live {
    fn new(session: Arc<Session>) -> Self {
        let (reading, done) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { session, columns: AtomicUsize::new(0), reading, painted: Mutex::default(), done }
    }

    /// The text for the next line.
    fn begin(&self) -> String {
        let text = format!("{NAME}[{}]> ", assist::state(self.session.knowledge()));
        self.columns.store(text.width(), Ordering::SeqCst);
        self.painted().clone_from(&text);
        self.reading.store(true, Ordering::SeqCst);
        text
    }

    fn end(&self) {
        self.reading.store(false, Ordering::SeqCst);
    }

    /// The text as it should be now, as wide as it was at the beginning of the line.
    fn current(&self) -> String {
        fit(&assist::state(self.session.knowledge()), self.columns.load(Ordering::SeqCst))
    }

    fn painted(&self) -> MutexGuard<'_, String> {
        self.painted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The prompt with this state in exactly so many columns: what is too long loses ornament first, what is
/// too short gets blanks.
fn fit(state: &str, columns: usize) -> String {
    let dense = state.replace(" · ", "·");
    let forms = [
        format!("{NAME}[{state}]> "),
        format!("{NAME}[{dense}]> "),
        format!("[{state}]> "),
        format!("[{dense}]> "),
        "> ".to_owned(),
    ];
    let form = forms.into_iter().find(|form| form.width() <= columns).unwrap_or_default();
    let blanks = columns - form.width();
    form + &" ".repeat(blanks)
}

/// Completion, hints and highlighting for rustyline.
struct Assistant {
    live: Arc<Live>,
    palette: Palette,
}

impl Helper for Assistant {}
impl Validator for Assistant {}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, completions) = assist::complete(line, pos, self.live.session.knowledge());
        let pairs = completions.into_iter().map(|c| Pair { display: c.shown, replacement: c.replacement });
        Ok((start, pairs.collect()))
    }
}

/// Shown, but never taken over: it is a name for what is missing, not the missing thing.
struct Missing(String);

impl Hint for Missing {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Missing;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Missing> {
        assist::hint(line, pos).map(Missing)
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned(assist::highlight(line, &self.palette))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        if !default {
            // The prompt of a search or of a numeric argument.
            return Cow::Borrowed(prompt);
        }
        let text = self.live.current();
        let styled = self.palette.paint(self.palette.prompt, &text);
        *self.live.painted() = text;
        Cow::Owned(styled)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.palette.paint(self.palette.faint, hint))
    }

    fn highlight_char(&self, line: &str, _: usize, kind: CmdKind) -> bool {
        kind == CmdKind::Other && !line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_keeps_its_width_while_the_state_changes() {
        let columns = "understudy[view 9 · primary 2]> ".width();
        assert_eq!(fit("view 9 · primary 2", columns), "understudy[view 9 · primary 2]> ");
        assert_eq!(fit("view 10 · no primary", columns), "understudy[view 10·no primary]> ");
        assert_eq!(fit("view 1000 · no primary", columns), "[view 1000 · no primary]>       ");
        for state in ["", "view 9", "view 123456789 · no primary and much more"] {
            for columns in 2..60 {
                assert_eq!(fit(state, columns).width(), columns, "{state} in {columns}");
            }
        }
        assert_eq!(fit("view 1", 1), " ");
    }

    #[test]
    fn the_transcript_is_bounded_and_prints_never_wait() {
        let (handle, queued) = PrintHandle::new();
        for i in 0..PRINTS_MAX + 10 {
            assert_eq!(handle.tell(&format!("line {i}\nand more")), i < PRINTS_MAX);
        }
        assert_eq!(queued.len(), PRINTS_MAX);
        assert_eq!(queued.recv().as_deref(), Ok("line 0\nand more\n"));
        let recent = handle.recent(TRANSCRIPT_LINES_MAX * 2);
        assert_eq!(recent.len(), TRANSCRIPT_LINES_MAX);
        assert_eq!(handle.recent(1), ["and more"]);
        handle.remember(&"x".repeat(5000));
        assert!(handle.recent(1)[0].chars().count() < TRANSCRIPT_CHARS_MAX + 10);
    }

    #[test]
    fn a_key_that_can_do_nothing_says_why() {
        let key = &KEYS[3];
        let why = Answer::Error("server 1 is already down".into());
        assert_eq!(key_answer(key, &why, &Palette::MONO), "F5 crash primary: server 1 is already down");
        assert!(key_answer(key, &Answer::Ok, &Palette::MONO).contains("F5 crash primary: OK"));
    }
}
