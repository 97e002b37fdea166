//! The prompt at the foot of the dashboard.
//!
//! ```text
//! understudy[view 4 · primary 2]> PUT color▏ value
//! ```
//!
//! rustyline edits the line: it knows its keys, the history, what was killed and can be yanked. It sits at a terminal
//! of its own ([`super::private`]) and draws for nobody; what its helper is told of the line, [`Foot`] draws. Around
//! it:
//!
//! - **Keys** go through a channel to a thread of their own and leave the half-typed line alone; what
//!   they did is printed above it.
//! - **Whatever prints while somebody types** goes through a [`PrintHandle`]: a bounded queue and one
//!   thread that hands each text to the foot. When the queue is full the text is dropped: nothing that prints may
//!   hold anything up.
//! - **The state in the prompt** changes while nobody types: a thread looks every `STATE_INTERVAL`. The first prompt
//!   waits, briefly, until there is a view to tell of.
//! - **Between two prompts**, while a command waits for a failover, what is typed ahead is kept and not shown; Ctrl-C
//!   then interrupts a repeated command.
//! - **What is too long** for the few rows down here is shown on a page over the dashboard ([`Pager`]), where there
//!   is one.
//!
//! # Caveats
//!
//! A key that is pressed while a command is waiting takes effect when the prompt is back. Ctrl-C also drops what was
//! typed in the same moment behind it: rustyline does not keep what it has read then.

use super::ExitStatus;
use super::answer::{Answer, Palette};
use super::ascii::ascii;
use super::assist;
use super::bindings;
use super::foot::Foot;
use super::private::PrivateTerminal;
use super::session::{ConsoleSession, TourGuide};
use crate::ui::commands::action::Action;
use crate::ui::commands::guide::FIRST_STEPS;
use crate::ui::commands::keys::KeySpec;
use crate::ui::commands::moves::Move;
use crate::ui::commands::parse;
use crossbeam_channel::{Receiver, Sender, bounded};
use rustyline::completion::{Completer, Pair};
use rustyline::config::{Behavior, BellStyle, ColorMode, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
/// The first prompt waits this long for the first view.
const FIRST_VIEW_MAX: Duration = Duration::from_millis(1_500);
/// After a lone Escape this long for the rest of a sequence, which comes whole.
const ESCAPE_TIMEOUT_MS: u16 = 25;
const _: () = assert!(super::sieve::APART.as_millis() > 2 * ESCAPE_TIMEOUT_MS as u128);
/// What the line editor takes for its prompt. Nobody sees it.
const PROMPT: &str = "> ";
/// The title of a page is no longer.
const TITLE_CHARS_MAX: usize = 40;

/// What a prompt needs.
pub struct PromptConfig {
    /// Where commands and keys are carried out.
    pub session: Arc<ConsoleSession>,
    /// Where the history is kept; `None`: only in memory.
    pub history_path: Option<PathBuf>,
    /// The colours, and whether there is more than ASCII.
    pub palette: Palette,
    /// Is handed the way to print above the prompt, before the first prompt is shown.
    pub printer_ready: Box<dyn FnOnce(PrintHandle) + Send>,
    /// Is told when the user wants the screen drawn anew (Ctrl-L).
    pub redraw: Sender<()>,
    /// Shows what is too long for the prompt's rows; `None`: it is printed all the same.
    pub pager: Option<Arc<dyn Pager>>,
    /// Lets the picture be frozen and gone back over; `None`: nobody can.
    pub stage: Option<Arc<dyn Stagehand>>,
    /// Leads through scenes; `None`: nobody does.
    pub tour: Option<Arc<dyn TourGuide>>,
}

/// The stage above the prompt.
pub trait Stagehand: Send + Sync {
    /// True while one is on it.
    fn is_on(&self) -> bool;
    /// Goes there. [`Move::Enter`] and [`Move::Leave`] lead onto it and off it.
    fn go(&self, wanted: Move);
    /// What the message says that was chosen ([`Move::Choose`]), if one is.
    fn read(&self) -> Option<String>;
    /// Somebody is about to act: where time is virtual, at the moment that is looked at, which may begin a branch;
    /// elsewhere now.
    ///
    /// # Errors
    /// Why nobody can act at that moment.
    fn act_here(&self) -> Result<(), String>;
}

/// Shows long texts somewhere else than in the prompt's few rows.
pub trait Pager: Send + Sync {
    /// Shows this, unless it fits where the prompt is, or does not fit anywhere.
    fn show(&self, title: &str, text: &str) -> bool;
    /// Turns this many pages. False when nothing is shown.
    fn turn(&self, pages: isize) -> bool;
    /// Closes what is shown. False when nothing is.
    fn close(&self) -> bool;
    /// Shows the guide to commands and keys. False when there is no room.
    fn guide(&self) -> bool;
    /// While the guide is shown: only what holds these words. False when it is not shown.
    fn search(&self, words: &str) -> bool;
    /// True while the guide is shown, and the line was empty before: all that is typed is what is searched for.
    fn is_typed_to_search(&self) -> bool;
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
    let editing = Arc::new(AtomicBool::new(false));
    let (edits, interrupter) = (Arc::clone(&editing), config.session.interrupter());
    let terminal = PrivateTerminal::enter(move || {
        // While a line is edited, Ctrl-C is the editor's.
        let runs = !edits.load(Ordering::SeqCst);
        if runs {
            interrupter.store(true, Ordering::SeqCst);
        }
        runs
    })?;
    let interrupt = signal_hook::flag::register(signal_hook::consts::SIGINT, config.session.interrupter())?;
    let foot = Foot::new(Arc::clone(&config.session), config.palette, terminal.screen()?);
    let result = Prompt::new(config, foot, editing).and_then(Prompt::run);
    signal_hook::low_level::unregister(interrupt);
    drop(terminal);
    result
}

/// The prompt and its threads.
struct Prompt {
    editor: Editor<Assistant, FileHistory>,
    session: Arc<ConsoleSession>,
    history_path: Option<PathBuf>,
    palette: Palette,
    handle: PrintHandle,
    foot: Foot,
    pager: Option<Arc<dyn Pager>>,
    stage: Option<Arc<dyn Stagehand>>,
    /// A line is being edited.
    editing: Arc<AtomicBool>,
    /// The prompt is gone.
    done: Arc<AtomicBool>,
}

impl Prompt {
    fn new(config: PromptConfig, foot: Foot, editing: Arc<AtomicBool>) -> io::Result<Self> {
        let PromptConfig { session, history_path, palette, pager, stage, .. } = config;
        let assistant = Assistant {
            session: Arc::clone(&session),
            foot: foot.clone(),
            pager: pager.clone(),
            palette,
            prompt: Mutex::default(),
        };
        let mut editor = editor(assistant).map_err(io::Error::other)?;
        let (handle, queued) = PrintHandle::new();
        let printing = foot.clone();
        spawn("prints", move || print_all(&queued, &printing))?;
        let (presses, pressed) = bounded(PRESSES_MAX);
        let keys = PromptKeys {
            session: Arc::clone(&session),
            handle: handle.clone(),
            pager: pager.clone(),
            stage: stage.clone(),
            palette,
        };
        spawn("keys", move || pressed.into_iter().for_each(|key| keys.press(key)))?;
        let is_on_tour = config.tour.as_ref().is_some_and(|tour| tour.is_on());
        let bound = bindings::Bound {
            presses,
            redraw: config.redraw,
            handle: handle.clone(),
            pager: pager.clone(),
            stage: stage.clone(),
            tour: config.tour,
        };
        bound.bind(&mut editor);
        let done = Arc::new(AtomicBool::new(false));
        let (ended, watching) = (Arc::clone(&done), foot.clone());
        spawn("prompt state", move || watch_state(&ended, &watching))?;
        (config.printer_ready)(handle.clone());
        let mut prompt = Self { editor, session, history_path, palette, handle, foot, pager, stage, editing, done };
        prompt.load_history(is_on_tour);
        Ok(prompt)
    }

    fn run(mut self) -> io::Result<ExitStatus> {
        self.wait_for_a_view();
        loop {
            self.foot.begin();
            self.editing.store(true, Ordering::SeqCst);
            let read = self.editor.readline(PROMPT);
            self.editing.store(false, Ordering::SeqCst);
            // As it stood there in the end, whatever has changed since.
            let row = self.foot.finish(read.as_deref().ok());
            match read {
                Ok(line) => {
                    self.handle.remember(&row);
                    self.keep_in_history(&line);
                    let searched = self.pager.as_ref().is_some_and(|pager| pager.is_typed_to_search());
                    if let Some(pager) = &self.pager {
                        pager.close();
                    }
                    // What was typed to search the guide need not be a command.
                    if searched && parse::request(line.as_bytes()).is_err() {
                        continue;
                    }
                    if !line.trim().is_empty()
                        && !only_looks(&line)
                        && let Err(why) = act_here(self.stage.as_ref())
                    {
                        self.show(&line, &self.session.worded(Answer::Error(why)))?;
                        continue;
                    }
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

    /// The first prompt tells how things are, not how they were before anything was.
    fn wait_for_a_view(&self) {
        let begun = Instant::now();
        while self.session.knowledge().picture().primary.is_none() && begun.elapsed() < FIRST_VIEW_MAX {
            std::thread::sleep(STATE_INTERVAL / 4);
        }
    }

    /// Carries out one line; false when it was the last.
    fn answer(&self, line: &str) -> io::Result<bool> {
        let request = match parse::request(line.as_bytes()) {
            Ok(None) => return Ok(true),
            Ok(Some(request)) => request,
            Err(why) => return self.show(line, &self.session.worded(Answer::Error(why))).map(|()| true),
        };
        let mut goes_on = true;
        let mut shown = Ok(());
        self.session.run(&request, |answer| {
            goes_on = answer != Answer::Quit;
            shown = self.show(line, &answer);
            shown.is_ok()
        });
        shown.map(|()| goes_on)
    }

    fn show(&self, line: &str, answer: &Answer) -> io::Result<()> {
        let text =
            on_page(self.pager.as_ref(), line, answer, &self.palette).unwrap_or_else(|| answer.pretty(&self.palette));
        if text.is_empty() {
            return Ok(());
        }
        self.handle.remember(&text);
        self.foot.print(&text)
    }

    /// Reads the history. One that cannot be read is put aside, so that a new one can be written. Where there is none,
    /// somebody is here for the first time, and is told what to try; on a tour the scene does that.
    fn load_history(&mut self, is_on_tour: bool) {
        let Some(path) = self.history_path.clone() else { return };
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        match self.editor.load_history(&path) {
            Ok(()) => {}
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound && is_on_tour => {}
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                let steps = FIRST_STEPS.map(|line| self.palette.paint(self.palette.faint, line));
                self.handle.tell(&steps.join("\n"));
            }
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
        self.done.store(true, Ordering::SeqCst);
    }
}

/// Whether this line asks for a look, or is none; a word that is wrong changes nothing either.
fn only_looks(line: &str) -> bool {
    let asked = parse::request(line.as_bytes());
    asked.is_ok_and(|asked| asked.is_none_or(|asked| asked.action.only_looks()))
}

/// Whoever acts, acts where the stage is.
fn act_here(stage: Option<&Arc<dyn Stagehand>>) -> Result<(), String> {
    stage.filter(|stage| stage.is_on()).map_or(Ok(()), |stage| stage.act_here())
}

/// Puts a long answer on a page; answers what is left to say below.
fn on_page(pager: Option<&Arc<dyn Pager>>, line: &str, answer: &Answer, palette: &Palette) -> Option<String> {
    let pager = pager.filter(|_| matches!(answer, Answer::Text(_) | Answer::List(_) | Answer::Value(_)))?;
    let plain = Palette { ascii: palette.ascii, ..Palette::PLAIN };
    let title: String = line.chars().take(TITLE_CHARS_MAX).collect();
    let shown = pager.show(&title, &answer.pretty(&plain));
    shown.then(|| palette.paint(palette.faint, "shown above; Esc closes it") + "\n")
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
        // The list is shown by the helper.
        .completion_prompt_limit(usize::MAX)
        .bracketed_paste(false)
        .keyseq_timeout(Some(ESCAPE_TIMEOUT_MS))
        .bell_style(BellStyle::None)
        // The highlighter is how the row comes to be drawn.
        .color_mode(ColorMode::Forced)
        .behavior(Behavior::Stdio)
        .check_cursor_position(false)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(assistant));
    Ok(editor)
}

/// Carries out what keys ask for.
struct PromptKeys {
    session: Arc<ConsoleSession>,
    handle: PrintHandle,
    pager: Option<Arc<dyn Pager>>,
    stage: Option<Arc<dyn Stagehand>>,
    palette: Palette,
}

impl PromptKeys {
    fn press(&self, key: &KeySpec) {
        // Help, pressed again, goes away.
        if matches!(key.action, Action::Help(_)) && self.pager.as_ref().is_some_and(|pager| pager.close()) {
            return;
        }
        if matches!(key.action, Action::Help(_)) && self.pager.as_ref().is_some_and(|pager| pager.guide()) {
            return;
        }
        if matches!(key.action, Action::Diagram | Action::Present) {
            // Another look at the same moment, and nothing to say.
            let answer = self.session.perform(&key.action);
            if matches!(answer, Answer::Error(_)) {
                self.handle.tell(&key_answer(key, &answer, &self.palette));
            }
            return;
        }
        let may = if key.action.only_looks() { Ok(()) } else { act_here(self.stage.as_ref()) };
        let answer = may.map_or_else(Answer::Error, |()| self.session.press(key, Instant::now()));
        let text = on_page(self.pager.as_ref(), key.label, &answer, &self.palette)
            .unwrap_or_else(|| key_answer(key, &answer, &self.palette));
        self.handle.tell(&text);
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

fn print_all(queued: &Receiver<String>, foot: &Foot) {
    // Once the terminal is gone there is nothing to print on any more.
    while let Ok(text) = queued.recv() {
        if foot.print(&text).is_err() {
            return;
        }
    }
}

/// Draws the row again whenever the state in its prompt is no longer true.
fn watch_state(done: &AtomicBool, foot: &Foot) {
    while !done.load(Ordering::SeqCst) {
        std::thread::sleep(STATE_INTERVAL);
        foot.look_again();
    }
}

/// What rustyline asks: completions, hints; and, each time it draws, how the line should look. That is the moment to
/// draw it.
pub(super) struct Assistant {
    session: Arc<ConsoleSession>,
    foot: Foot,
    pager: Option<Arc<dyn Pager>>,
    palette: Palette,
    /// The prompt of a search or of a numeric argument, while there is one.
    prompt: Mutex<Option<String>>,
}

impl Assistant {
    fn prompt(&self) -> MutexGuard<'_, Option<String>> {
        self.prompt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Helper for Assistant {}
impl Validator for Assistant {}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, completions) = assist::complete(line, pos, self.session.knowledge());
        if completions.len() > 1 {
            let words: Vec<String> = completions.iter().map(|completion| completion.shown.clone()).collect();
            let list = assist::in_columns(&words, self.foot.columns());
            self.foot.print(&if self.palette.ascii { ascii(&list) } else { list })?;
        }
        let pairs = completions.into_iter().map(|c| Pair { display: c.shown, replacement: c.replacement });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Assistant {
    /// The foot knows what is missing, and shows it.
    type Hint = String;
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        self.foot.edited(line, pos, self.prompt().as_deref());
        if let Some(pager) = &self.pager {
            pager.search(line);
        }
        Cow::Borrowed(line)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        *self.prompt() = (!default).then(|| prompt.to_owned());
        Cow::Borrowed(prompt)
    }

    /// Everything is drawn as a whole.
    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::commands::keys::KEYS;

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
        let key = KEYS.iter().find(|key| key.function == 5).expect("it is in the table");
        let why = Answer::Error("server 1 is already down".into());
        assert_eq!(key_answer(key, &why, &Palette::MONO), "F5 crash primary: server 1 is already down");
        assert!(key_answer(key, &Answer::Ok, &Palette::MONO).contains("F5 crash primary: OK"));
    }
}
