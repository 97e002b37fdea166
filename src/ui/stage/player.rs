//! Where one is in what has happened, and how one moves in it.

use super::caption::caption;
use super::recording::Recording;
use super::reel::Reel;
use crate::cluster::News;
use crate::core::protocol::Time;
use crate::ui::commands::moves::Move;
use crate::ui::dashboard::Model;
use std::collections::VecDeque;
use std::time::Duration;

/// A pause between two steps that is longer is told.
const PAUSE_TOLD: Duration = Duration::from_secs(1);

/// A reel, and a place in it.
#[derive(Debug, Clone)]
pub struct Player {
    reel: Reel,
    model: Model,
    /// The same as it is shown: of the messages in the air only those of this step.
    picture: Model,
    /// What this step is, in a sentence.
    caption: Option<String>,
    moves_for: Duration,
    at: usize,
}

impl Player {
    /// At the start of a recording.
    #[must_use]
    pub fn new(recording: Recording) -> Self {
        let Recording { heading, pieces } = recording;
        let mut model = Model::new(heading.setup, heading.begun);
        model.clients = heading.clients;
        model.unsafe_notice = heading.warning;
        let mut reel = Reel::new(model.clone(), heading.begun, usize::MAX);
        pieces.iter().for_each(|(at, news)| reel.push(*at, news));
        Self { reel, picture: model.clone(), model, caption: None, moves_for: Duration::ZERO, at: 0 }
    }

    /// At the start of what will come, of which this many bytes are kept.
    #[must_use]
    pub fn live(model: &Model, begun: Time, bytes_max: usize) -> Self {
        let reel = Reel::new(model.clone(), begun, bytes_max).by_moment();
        Self { reel, picture: model.clone(), model: model.clone(), caption: None, moves_for: Duration::ZERO, at: 0 }
    }

    /// A piece has come, and this is the model now.
    pub fn push(&mut self, at: Time, news: &News, model: &Model) {
        self.reel.push(at, news);
        self.reel.keep(self.reel.end(), model);
    }

    /// To the end, where the model is this.
    pub fn join(&mut self, model: &Model) {
        self.model = model.clone();
        self.at = self.reel.end();
        self.show();
    }

    /// Forgets everything after this time, and is there.
    pub fn cut(&mut self, at: Time) {
        let place = self.reel.place_at(at);
        self.at = self.reel.bring(&mut self.model, self.at, place);
        self.reel.cut(self.at);
        self.show();
    }

    /// From now on this many bytes are kept.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.reel.set_bytes_max(bytes_max);
    }

    fn show(&mut self) {
        self.picture = self.model.clone();
        self.caption = caption(&self.reel.step_at(self.at), &self.model);
        self.moves_for = self.picture.stand(self.now());
    }

    /// The model here.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The same as it is to be shown: of the messages in the air only those of this step.
    #[must_use]
    pub fn picture(&self) -> &Model {
        &self.picture
    }

    /// What this step is, in a sentence.
    #[must_use]
    pub fn caption(&self) -> Option<&str> {
        self.caption.as_deref()
    }

    /// The picture so long after the step: when its messages are in the air, all of it stands. Its clocks do from the
    /// beginning: a failover takes as long as it took.
    pub fn fly_on(&mut self, since: Duration) {
        self.picture.fly_on(since.min(self.moves_for));
    }

    /// True while the picture moves, so long after the step.
    #[must_use]
    pub fn moves(&self, since: Duration) -> bool {
        since < self.moves_for
    }

    /// The time here.
    #[must_use]
    pub fn now(&self) -> Time {
        self.reel.time(self.at)
    }

    /// How long after the beginning this is, and how long the whole is.
    #[must_use]
    pub fn times(&self) -> (Duration, Duration) {
        let begun = self.reel.time(self.reel.first());
        (self.now().since(begun), self.reel.time(self.reel.end()).since(begun))
    }

    /// Which step this is, of how many.
    #[must_use]
    pub fn step(&self) -> (usize, usize) {
        let steps = self.reel.steps();
        (steps.partition_point(|step| *step <= self.at), steps.len())
    }

    /// How many bytes are kept, of how many at most.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        self.reel.bytes()
    }

    /// True at the last step, and behind it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.reel.steps().back().is_none_or(|last| self.at >= *last)
    }

    /// How long nothing happened before this step, if that is worth a word.
    #[must_use]
    pub fn pause_before(&self) -> Option<Duration> {
        Some(self.reel.pause_before(self.at)).filter(|pause| *pause >= PAUSE_TOLD)
    }

    /// Goes where a move leads. False when that is here, or when it leads nowhere.
    pub fn follow(&mut self, wanted: Move) -> bool {
        match wanted {
            Move::Forward => self.forward(),
            Move::Back => self.back(),
            Move::NextTurn => self.next_turn(),
            Move::LastTurn => self.last_turn(),
            Move::Start => self.start(),
            Move::End => self.end(),
            Move::Enter | Move::Play | Move::Faster | Move::Slower | Move::Leave => false,
            // A recording is over: nothing is on its way.
            Move::Choose | Move::Read | Move::Drop => false,
        }
    }

    /// To the next step. False when there is none.
    pub fn forward(&mut self) -> bool {
        let next = after(self.reel.steps(), self.at);
        next.is_some_and(|next| self.go(next))
    }

    /// To the step before. False at the start.
    pub fn back(&mut self) -> bool {
        let steps = self.reel.steps();
        let here = steps.partition_point(|step| *step <= self.at);
        // Behind a step, where nothing more has happened, one is still at it.
        let before = here.checked_sub(2).and_then(|before| steps.get(before)).copied();
        self.go(before.unwrap_or(self.reel.first()))
    }

    /// To the next turn of the story: a fault, a view, an answer. False when there is none.
    pub fn next_turn(&mut self) -> bool {
        let next = after(self.reel.turns(), self.at);
        next.is_some_and(|next| self.go(next))
    }

    /// To the turn before. False at the start.
    pub fn last_turn(&mut self) -> bool {
        let before = before(self.reel.turns(), self.at);
        self.go(before.unwrap_or(self.reel.first()))
    }

    /// To the start.
    pub fn start(&mut self) -> bool {
        self.go(self.reel.first())
    }

    /// To the end.
    pub fn end(&mut self) -> bool {
        self.go(self.reel.end())
    }

    /// To a place. False when one is there already.
    fn go(&mut self, to: usize) -> bool {
        if to == self.at {
            return false;
        }
        self.at = self.reel.bring(&mut self.model, self.at, to);
        self.show();
        true
    }
}

fn after(places: &VecDeque<usize>, at: usize) -> Option<usize> {
    places.get(places.partition_point(|place| *place <= at)).copied()
}

fn before(places: &VecDeque<usize>, at: usize) -> Option<usize> {
    places.get(places.partition_point(|place| *place < at).checked_sub(1)?).copied()
}
