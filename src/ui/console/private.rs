//! A terminal between the line editor and the real one.
//!
//! ```text
//!   keyboard ──▶ sieve ──▶ pseudo-terminal ──▶ line editor ──▶ nobody
//!                                                   │
//!                                     its helper: what the line is, where the cursor stands
//!                                                   ▼
//!   screen ◀───────────────────────────────────── foot
//! ```
//!
//! The editor reads descriptor 0 and writes descriptor 1, and there is no way to tell it otherwise. It knows how to
//! edit, but what it draws is made for a screen of its own: a line that is longer than the rows below the dashboard
//! wrecks them, and whatever a terminal says of its own accord becomes text. So those descriptors become a
//! pseudo-terminal of ours. Into it goes what [`Sieve`] lets through; what comes out is thrown away, because
//! [`Foot`](super::foot) draws the row. It is very wide: the editor shall never think of a second row.

use super::sieve::Sieve;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::{Errno, FdFlags, fcntl_setfd, read, write};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::thread::JoinHandle;
use std::time::Instant;

/// The control character of Ctrl-C.
const INTERRUPT: u8 = 3;
/// The editor's columns and rows: no line is as long, no list as high. (It counts in 16 bits.)
const COLUMNS: u16 = 30_000;
const ROWS: u16 = 1_000;
/// Keys that were typed ahead wait here; more are dropped.
const TYPED_BYTES_MAX: usize = 1 << 20;
/// Read at once.
const READ_BYTES: usize = 4096;

/// Descriptors 0 and 1 are a pseudo-terminal, and the real one is quiet, until this is dropped.
#[derive(Debug)]
pub struct PrivateTerminal {
    keyboard: OwnedFd,
    screen: OwnedFd,
    before: Termios,
    pump: Option<(OwnedFd, JoinHandle<()>)>,
}

impl PrivateTerminal {
    /// Takes descriptors 0 and 1, which are a terminal. `interrupt` is asked at every Ctrl-C: true when it was meant
    /// for what is running, and is no key.
    ///
    /// # Errors
    /// When there is no terminal, or none can be made.
    pub fn enter(interrupt: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let keyboard = io::stdin().as_fd().try_clone_to_owned()?;
        let screen = io::stdout().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&keyboard)?;
        let (ours, editors) = pair(&before)?;
        let (stop, stopped) = io::pipe()?;
        let (mut pump, typed) = (Pump::new(ours), keyboard.try_clone()?);
        let pumping = std::thread::Builder::new()
            .name("keyboard".into())
            .spawn(move || pump.run(&typed, &OwnedFd::from(stop), &interrupt))?;
        let this = Self { keyboard, screen, before, pump: Some((stopped.into(), pumping)) };
        tcsetattr(&this.keyboard, OptionalActions::Drain, &quiet(&this.before))?;
        rustix::stdio::dup2_stdin(&editors)?;
        rustix::stdio::dup2_stdout(&editors)?;
        Ok(this)
    }

    /// The real screen.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn screen(&self) -> io::Result<File> {
        Ok(File::from(self.screen.try_clone()?))
    }
}

impl Drop for PrivateTerminal {
    fn drop(&mut self) {
        // Whoever started us puts the terminal back as well; here is nobody left to tell.
        let _ = rustix::stdio::dup2_stdin(&self.keyboard);
        let _ = rustix::stdio::dup2_stdout(&self.screen);
        let _ = tcsetattr(&self.keyboard, OptionalActions::Drain, &self.before);
        if let Some((stop, pumping)) = self.pump.take() {
            drop(stop);
            let _ = pumping.join();
        }
    }
}

/// Both ends of a pseudo-terminal: ours, and the editor's.
fn pair(like: &Termios) -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let editors = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    fcntl_setfd(&ours, FdFlags::CLOEXEC)?;
    fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
    let mut modes = quiet(like);
    // What is switched off cannot be typed: no key may stop or abort the process that holds the cluster together.
    if cfg!(target_os = "linux") {
        modes.special_codes[SpecialCodeIndex::VSUSP] = 0;
        modes.special_codes[SpecialCodeIndex::VQUIT] = 0;
    }
    tcsetattr(&editors, OptionalActions::Now, &modes)?;
    tcsetwinsize(&ours, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((ours, editors))
}

/// No echo, no line editing, no signals: every key comes as it is typed. Output stays as it is.
fn quiet(before: &Termios) -> Termios {
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
    quiet.input_modes.remove(InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON);
    quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
    quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
    quiet
}

/// Brings keys to the editor.
struct Pump {
    editor: OwnedFd,
    sieve: Sieve,
    typed: VecDeque<u8>,
}

impl Pump {
    fn new(editor: OwnedFd) -> Self {
        Self { editor, sieve: Sieve::default(), typed: VecDeque::new() }
    }

    /// Until the terminal is gone, or `stop` is closed. Then the editor finds the end of its input.
    fn run(&mut self, keyboard: &OwnedFd, stop: &OwnedFd, interrupt: &dyn Fn() -> bool) {
        let mut heard = Instant::now();
        loop {
            let waits = self.sieve.waits().map(|rest| rest.saturating_sub(heard.elapsed()));
            let timeout = waits.map(|rest| Timespec { tv_sec: 0, tv_nsec: i64::from(rest.subsec_nanos()) });
            let sends = if self.typed.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut fds = [
                PollFd::new(keyboard, PollFlags::IN),
                PollFd::new(&self.editor, PollFlags::IN | sends),
                PollFd::new(stop, PollFlags::IN),
            ];
            let ready = poll(&mut fds, timeout.as_ref());
            let [pressed, drawn, stopped] = [0, 1, 2].map(|at| !fds[at].revents().is_empty());
            match ready {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if stopped => return,
                Ok(0) => self.give_up(interrupt),
                Ok(_) => {}
            }
            if pressed {
                heard = Instant::now();
                if !self.take(keyboard, interrupt) {
                    return;
                }
            }
            if drawn {
                self.swallow();
            }
            self.send();
        }
    }

    fn give_up(&mut self, interrupt: &dyn Fn() -> bool) {
        let mut keys = Vec::new();
        self.sieve.give_up(&mut keys);
        self.bring(keys, interrupt);
    }

    fn bring(&mut self, mut keys: Vec<u8>, interrupt: &dyn Fn() -> bool) {
        keys.retain(|key| *key != INTERRUPT || !interrupt());
        let room = TYPED_BYTES_MAX.saturating_sub(self.typed.len());
        self.typed.extend(keys.into_iter().take(room));
    }

    /// False when nobody can type any more.
    fn take(&mut self, keyboard: &OwnedFd, interrupt: &dyn Fn() -> bool) -> bool {
        let mut bytes = [0; READ_BYTES];
        let length = match read(keyboard, &mut bytes) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return true,
            Err(_) => return false,
        };
        let mut keys = Vec::new();
        self.sieve.feed(&bytes[..length], &mut keys);
        self.bring(keys, interrupt);
        true
    }

    /// What the editor draws is for nobody.
    fn swallow(&self) {
        let mut bytes = [0; READ_BYTES];
        while matches!(read(&self.editor, &mut bytes), Ok(1..)) {}
    }

    fn send(&mut self) {
        while !self.typed.is_empty() {
            let (first, _) = self.typed.as_slices();
            match write(&self.editor, first) {
                Ok(written) => drop(self.typed.drain(..written)),
                Err(_) => return,
            }
        }
    }
}
