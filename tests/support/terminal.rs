//! A pseudo-terminal with a program in it: bytes go in as a keyboard sends them, and a terminal emulator
//! tells what a person would see.

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A screen must show what it should within this time, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_L: &str = "\x0c";
pub const CTRL_X: &str = "\x18";
pub const CTRL_Z: &str = "\x1a";
pub const F1: &str = "\x1bOP";
pub const F2: &str = "\x1bOQ";
pub const F4: &str = "\x1bOS";
pub const F5: &str = "\x1b[15~";
pub const F10: &str = "\x1b[21~";
pub const F11: &str = "\x1b[23~";
pub const UP: &str = "\x1b[A";
pub const RIGHT: &str = "\x1b[C";
pub const LEFT: &str = "\x1b[D";
pub const PAGE_UP: &str = "\x1b[5~";
pub const PAGE_DOWN: &str = "\x1b[6~";
pub const ESCAPE: &str = "\x1b";

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u16, pub u16);

impl Size {
    fn columns(self) -> NonZeroU16 {
        NonZeroU16::new(self.0).expect("a screen has columns")
    }

    fn rows(self) -> NonZeroU16 {
        NonZeroU16::new(self.1).expect("a screen has rows")
    }

    fn window(self) -> Winsize {
        Winsize { ws_row: self.1, ws_col: self.0, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// A pseudo-terminal with a program in it.
pub struct Terminal {
    keyboard: File,
    line: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
    cast: Arc<Mutex<Cast>>,
    child: Child,
    /// Asked for more to tell when a test fails.
    more: Box<dyn Fn() -> String>,
}

impl Terminal {
    /// Starts this program in a terminal of this size.
    pub fn start(mut command: Command, size: Size) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are pseudo-terminals");
        grantpt(&controller).and_then(|()| unlockpt(&controller)).expect("the terminal is ours");
        let name = ptsname(&controller, Vec::new()).expect("the terminal has a name");
        let line = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the terminal opens");
        tcsetwinsize(&line, size.window()).expect("the terminal has a size");
        let end = || Stdio::from(line.try_clone().expect("descriptors are left"));
        command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let keyboard = File::from(controller);
        let mut output = keyboard.try_clone().expect("descriptors are left");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size.rows(), size.columns(), 0)));
        let painted = Arc::clone(&screen);
        let cast = Arc::new(Mutex::new(Cast::new(size)));
        let recorded = Arc::clone(&cast);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                lock(&recorded).note(&bytes[..read]);
                lock(&painted).process(&bytes[..read]);
            }
        });
        Self { keyboard, line, screen, cast, child, more: Box::new(String::new) }
    }

    /// What is on the screen now is the first frame.
    pub fn begin_recording(&self) {
        lock(&self.cast).begun = Some(Instant::now());
    }

    /// What was recorded, as asciicast 2, if it has begun.
    pub fn recording(&self) -> Option<String> {
        lock(&self.cast).text()
    }

    /// Also tells this when a test fails.
    pub fn telling(mut self, more: impl Fn() -> String + 'static) -> Self {
        self.more = Box::new(more);
        self
    }

    /// The process in the terminal.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// The window gets another size.
    pub fn resize(&self, size: Size) {
        // Nothing of the answer may be painted on the old screen.
        let mut screen = self.screen();
        screen.screen_mut().set_size(size.rows(), size.columns());
        tcsetwinsize(&self.keyboard, size.window()).expect("the terminal has a size");
    }

    /// The screen itself; nothing else can be asked while it is held.
    pub fn screen(&self) -> MutexGuard<'_, vt100::Parser> {
        lock(&self.screen)
    }

    /// Row and column of the cursor.
    pub fn cursor(&self) -> (u16, u16) {
        self.screen().screen().cursor_position()
    }

    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen();
        let columns = screen.screen().size().1.get();
        screen.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect()
    }

    pub fn shows(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// The row of the cursor.
    pub fn last(&self) -> String {
        let row = usize::from(self.cursor().0);
        self.lines().get(row).cloned().unwrap_or_default()
    }

    /// Fails the test, with the screen as it is.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}\n{}\n{}", self.lines().join("\n"), (self.more)())
    }

    #[track_caller]
    pub fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            if start.elapsed() > PATIENCE {
                self.fail(&format!("waited {PATIENCE:?} in vain: {what}"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    #[track_caller]
    pub fn wait_last(&self, expected: &str) {
        self.wait(expected, |terminal| terminal.last() == expected);
    }

    #[track_caller]
    pub fn wait_line(&self, expected: &str) {
        self.wait(expected, |terminal| terminal.lines().iter().any(|line| line == expected));
    }

    #[track_caller]
    pub fn wait_shows(&self, text: &str) {
        self.wait(text, |terminal| terminal.shows(text));
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn wait_end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            match self.child.try_wait().expect("the program is ours") {
                Some(status) => return status,
                None if start.elapsed() > PATIENCE => self.fail("the program does not end"),
                None => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    #[track_caller]
    pub fn wait_success(&mut self) {
        if !self.wait_end().success() {
            self.fail("the program fails");
        }
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(&self.line).expect("the terminal is open")
    }

    pub fn echoes(&self) -> bool {
        self.modes().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// The process group that may read; 0 when there is none.
    pub fn foreground(&self) -> u32 {
        tcgetpgrp(&self.keyboard).map_or(0, |group| group.as_raw_nonzero().get().unsigned_abs())
    }
}

/// A recording of everything that a terminal shows, as asciicast 2.
struct Cast {
    size: Size,
    /// What is shown before the recording begins: the first frame.
    first: String,
    begun: Option<Instant>,
    events: String,
    /// The beginning of a character whose end has not come yet.
    pending: Vec<u8>,
}

impl Cast {
    fn new(size: Size) -> Self {
        Self { size, first: String::new(), begun: None, events: String::new(), pending: Vec::new() }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.pending.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.pending, rest)).expect("just seen");
        match self.begun {
            None => self.first.push_str(&text),
            Some(begun) => {
                let at = (begun.elapsed().as_secs_f64() * 1e3).round() / 1e3;
                self.events.push_str(&format!("{}\n", serde_json::json!([at, "o", text])));
            }
        }
    }

    /// `None` if it has not begun.
    fn text(&self) -> Option<String> {
        self.begun?;
        let head = serde_json::json!({"version": 2, "width": self.size.0, "height": self.size.1});
        Some(format!("{head}\n{}\n{}", serde_json::json!([0.0, "o", self.first]), self.events))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
