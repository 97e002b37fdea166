//! `understudy replay FILE`, and the recording of what it plays.

use super::{is_ascii, say, theme};
use crate::cluster::News;
use crate::core::protocol::Time;
use crate::launch::args::Args;
use crate::launch::{complain, fail};
use crate::ui::dashboard::Model;
use crate::ui::dashboard::model::story::StoryLine;
use crate::ui::stage::recording::Heading;
use crate::ui::stage::replay::{Replay, run};
use crate::ui::stage::{Player, Recorder, Recording};
use rustix::termios::isatty;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Plays a recording on this terminal; without one, tells its events.
#[must_use]
pub fn replay(args: &Args, file: &Path) -> ExitCode {
    let recording = match Recording::open(file) {
        Ok(recording) => recording,
        Err(error) => return fail(&format!("{}: {error}", file.display())),
    };
    let mut player = Player::new(recording);
    let done = if args.plain || !isatty(io::stdout()) || !isatty(io::stdin()) {
        player.end();
        tell(player.model(), is_ascii(args))
    } else {
        run(Replay::new(player, is_ascii(args)), &theme(args))
    };
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(&format!("the recording cannot be shown: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The events, one a line, with their time since the beginning.
fn tell(model: &Model, in_ascii: bool) -> io::Result<()> {
    let told = |line: &StoryLine| format!("{:>9.3} {}\n", line.at.since(model.started).as_secs_f64(), line.text);
    say(&model.story().lines().map(told).collect::<String>(), in_ascii)
}

/// What a recording is made of, if one is wanted: shared by those who tell and who ends it.
#[derive(Clone, Default)]
pub(super) struct Tape(Arc<Mutex<Option<Recorder>>>);

impl Tape {
    /// The recording that the arguments ask for.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn open(args: &Args, model: &Model) -> Result<Self, String> {
        let Some(path) = &args.record else { return Ok(Self::default()) };
        let heading = Heading {
            setup: model.setup.clone(),
            clients: model.clients,
            warning: model.unsafe_notice.clone(),
            begun: model.started,
        };
        let recorder = Recorder::create(path, &heading)
            .map_err(|error| format!("the recording {} cannot be made: {error}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(Some(recorder)))))
    }

    /// Takes down a piece of news.
    pub(super) fn record(&self, at: Time, news: &News) {
        let mut recorder = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorder.iter_mut().for_each(|recorder| recorder.record(at, news));
    }

    /// The end. True when all of it could be written; else that was said.
    pub(super) fn close(&self) -> bool {
        let recorder = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match recorder.map(Recorder::close) {
            Some(Err(error)) => {
                complain(&format!("the recording is not whole: {error}"));
                false
            }
            _ => true,
        }
    }
}
