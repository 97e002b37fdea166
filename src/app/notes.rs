//! `understudy notes`: what a lecturer reads on another screen of the same user, and a class does not see.
//!
//! The console writes what there is to say into a file of the state folder, which only its user can read, whenever the
//! tour goes on; another process shows it, with the time that was spent.

use super::{is_ascii, say};
use crate::launch::args::Args;
use crate::launch::{fail, state_dir, written};
use crate::ui::tour::talk::Talk;
use crate::ui::tour::text;
use rustix::termios::isatty;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file in the state folder.
const NAME: &str = "tour-notes";
/// It is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// From the top of an empty screen.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// The file between the tour and those who read its notes.
#[derive(Clone)]
pub(super) struct NotesFile {
    path: PathBuf,
    /// When the tour began; when its scene did, and which that is.
    begun: Arc<Mutex<Option<(u64, u64, String)>>>,
}

impl NotesFile {
    pub(super) fn new(args: &Args) -> Self {
        Self { path: state_dir(args).join(NAME), begun: Arc::default() }
    }

    /// What there is to say now. That it cannot be written must not disturb a lecture.
    pub(super) fn write(&self, talk: &Talk) {
        let (now, heading) = (seconds(), talk.heading());
        let mut begun = crate::ui::dashboard::lock(&self.begun);
        let (tour, scene, known) = begun.get_or_insert_with(|| (now, now, heading.clone()));
        if *known != heading {
            (*scene, *known) = (now, heading);
        }
        let text = format!("{tour} {scene}\n{}", text::notes(talk));
        let draft = self.path.with_extension("draft");
        let _ = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &self.path));
    }

    /// The tour is over.
    pub(super) fn remove(&self) {
        *crate::ui::dashboard::lock(&self.begun) = None;
        let _ = std::fs::remove_file(&self.path);
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Shows the notes until the reader leaves; without a terminal, once.
#[must_use]
pub fn notes(args: &Args) -> ExitCode {
    let path = state_dir(args).join(NAME);
    let in_ascii = is_ascii(args);
    if !isatty(io::stdout()) {
        let Some(page) = page(std::fs::read_to_string(&path).ok().as_deref(), seconds()) else {
            return fail("no tour is on: TOUR in the console, or understudy tour, begins one");
        };
        return written(say(&page, in_ascii));
    }
    let mut shown = String::new();
    loop {
        let waiting = "No tour is on. TOUR in the console, or understudy tour, begins one. Ctrl-C leaves.\n".to_owned();
        let page = page(std::fs::read_to_string(&path).ok().as_deref(), seconds()).unwrap_or(waiting);
        if page != shown {
            if let Err(error) = say(&format!("{CLEAR}{page}"), in_ascii) {
                return written(Err(error));
            }
            shown = page;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The notes with the time that was spent; `None` when the file holds none.
fn page(file: Option<&str>, now: u64) -> Option<String> {
    let (times, text) = file?.split_once('\n')?;
    let (tour, scene) = times.split_once(' ')?;
    let spent = |since: &str| {
        let seconds = now.saturating_sub(since.parse().ok()?);
        Some(format!("{}:{:02}", seconds / 60, seconds % 60))
    };
    Some(format!("{} in this scene, {} in all\n\n{text}", spent(scene)?, spent(tour)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_was_spent_stands_above_the_notes() {
        assert_eq!(page(Some("100 160\nwords\n"), 225).as_deref(), Some("1:05 in this scene, 2:05 in all\n\nwords\n"));
        assert_eq!(page(Some("words"), 225), None);
        assert_eq!(page(None, 225), None);
    }
}
