//! Remembering a terminal, lending it, putting it back.
//!
//! What a program can leave behind in a terminal: input modes (no echo, no line editing), the foreground
//! group, and the screen's own state (scroll region, attributes, hidden cursor, synchronised update, bracketed
//! paste, mouse reports). [`Terminal::restore`] puts all of it back, and is safe to do twice.
//!
//! The process that does this may be in the background and must have called
//! [`block_stops`](super::processes::block_stops), else the kernel stops it.
//!
//! # The shell gets there first
//!
//! When the launcher is killed, two processes see it at once: the shell, which takes the terminal back and starts
//! to edit its next command line, and rank 0, which wants to put the modes back. Old modes under a shell's line
//! editor would echo every key twice. So somebody who is late ([`TerminalEnd::Late`]) looks first: modes that look
//! like a shell's line editor are left alone, and the cursor stays where it is.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, getpgid, getpgrp, getsid};
use rustix::termios::{
    Action, LocalModes, OptionalActions, QueueSelector, Termios, isatty, tcflow, tcflush, tcgetattr, tcgetpgrp,
    tcsetattr, tcsetpgrp,
};
use std::io;

/// Ends a synchronised update, resets attributes and character set, bracketed paste, mouse reports.
const RESET_STATE: &str = "\x1b[?2026l\x1b[0m\x1b(B\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?25h";
/// Resets the scroll region. That homes the cursor, hence the save and restore around it.
const RESET_REGION_IN_PLACE: &str = "\x1b7\x1b[r\x1b8";
/// Leaves the alternate screen, resets the scroll region, and goes to a fresh last line.
const RESET_REGION_TO_LAST_LINE: &str = "\x1b[?1047l\x1b[r\x1b[999;1H\r\n\x1b[J";

/// How the one who used the terminal came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalEnd {
    /// It said goodbye: the cursor is where it left it, typed-ahead input is for the shell.
    Orderly,
    /// It broke off: the cursor can be anywhere, half-typed input must not reach the shell.
    Broken,
    /// As [`TerminalEnd::Broken`], and the shell may already be using the terminal again.
    Late,
}

/// A terminal as it was.
#[derive(Debug)]
pub struct Terminal {
    input: OwnedFd,
    /// The output, if it is a terminal that a full screen is drawn on.
    screen: Option<OwnedFd>,
    modes: Termios,
}

impl Terminal {
    /// Remembers how the terminal `input` is; `None` if it is no terminal. `screen` is where its screen is written,
    /// if it holds one.
    #[must_use]
    pub fn remember(input: BorrowedFd<'_>, screen: Option<BorrowedFd<'_>>) -> Option<Self> {
        let modes = tcgetattr(input).ok()?;
        let screen = screen.filter(|fd| isatty(fd)).and_then(|fd| fd.try_clone_to_owned().ok());
        Some(Self { input: input.try_clone_to_owned().ok()?, screen, modes })
    }

    /// Whether this process's group is the one that may read.
    #[must_use]
    pub fn is_in_foreground(&self) -> bool {
        tcgetpgrp(&self.input).is_ok_and(|group| group == getpgrp())
    }

    /// Makes the group of `borrower` the foreground group. False if it is in another session: there the
    /// descriptor alone is enough.
    #[must_use]
    pub fn lend(&self, borrower: Pid) -> bool {
        let same_session = getsid(Some(borrower)).is_ok_and(|session| getsid(None) == Ok(session));
        same_session && getpgid(Some(borrower)).is_ok_and(|group| tcsetpgrp(&self.input, group).is_ok())
    }

    /// Gives the foreground to `group`, or, if there is no such group any more, to the shell.
    pub fn return_foreground(&self, group: Option<Pid>) {
        if group.is_some_and(|group| tcsetpgrp(&self.input, group).is_ok()) {
            return;
        }
        if let Ok(group) = getsid(None).and_then(|leader| getpgid(Some(leader))) {
            let _ = tcsetpgrp(&self.input, group);
        }
    }

    /// Lets every key through as it is typed: no echo, no signals. Output stays cooked: a line feed returns the
    /// carriage.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn make_input_raw(&self) -> io::Result<()> {
        let mut modes = self.modes.clone();
        modes.make_raw();
        modes.output_modes = self.modes.output_modes;
        Ok(tcsetattr(&self.input, OptionalActions::Now, &modes)?)
    }

    /// Puts modes and screen back. Errors are ignored: a terminal that has been closed needs nothing.
    pub fn restore(&self, end: TerminalEnd) {
        let end = match end {
            TerminalEnd::Late if self.is_edited_by_a_shell() => {
                self.write(&format!("{RESET_REGION_IN_PLACE}\x1b[?25h"));
                return;
            }
            TerminalEnd::Late => TerminalEnd::Broken,
            other => other,
        };
        if end == TerminalEnd::Broken {
            let _ = tcflush(&self.input, QueueSelector::IFlush);
        }
        // Not `Drain` or `Flush`: they wait for output, for ever if somebody pressed Ctrl-S.
        let _ = tcsetattr(&self.input, OptionalActions::Now, &self.modes);
        let _ = tcflow(&self.input, Action::OOn);
        let region = if end == TerminalEnd::Broken { RESET_REGION_TO_LAST_LINE } else { RESET_REGION_IN_PLACE };
        self.write(&format!("{RESET_STATE}{region}"));
    }

    /// Line editors of shells read key by key without echo, but leave Ctrl-C to the kernel; our own does not.
    fn is_edited_by_a_shell(&self) -> bool {
        !self.is_in_foreground()
            && tcgetattr(&self.input).is_ok_and(|now| {
                now.local_modes.contains(LocalModes::ISIG)
                    && !now.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
            })
    }

    fn write(&self, text: &str) {
        let Some(screen) = &self.screen else { return };
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match rustix::io::write(screen.as_fd(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    fn pair() -> (OwnedFd, OwnedFd) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("ours");
        unlockpt(&master).expect("ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("just unlocked");
        (master, slave)
    }

    #[test]
    fn raw_input_is_undone_and_the_screen_is_told() {
        let (master, slave) = pair();
        let before = tcgetattr(&slave).expect("a terminal");
        let terminal = Terminal::remember(slave.as_fd(), Some(slave.as_fd())).expect("a terminal");
        terminal.make_input_raw().expect("a terminal");
        let raw = tcgetattr(&slave).expect("a terminal");
        assert!(!raw.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        assert_eq!(raw.output_modes, before.output_modes);
        terminal.restore(TerminalEnd::Broken);
        let after = tcgetattr(&slave).expect("a terminal");
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
        let mut seen = [0; 512];
        let length = rustix::io::read(&master, &mut seen).expect("something was written");
        let seen = String::from_utf8_lossy(seen.get(..length).expect("no more than asked for")).into_owned();
        assert!(seen.contains("\x1b[r") && seen.contains("\x1b[?25h"), "{seen:?}");
    }

    #[test]
    fn a_file_is_no_terminal() {
        let file = std::fs::File::open("/dev/null").expect("it exists");
        assert!(Terminal::remember(file.as_fd(), None).is_none());
    }
}
