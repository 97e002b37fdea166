//! What the screen was told, as it came, in this many bytes and no more.
//!
//! ```text
//!   first kept model                                    last one
//!   │ piece piece … 256 │ model │ piece piece … 256 │ model │ piece piece
//!   └── where one can go back to                                        └── now
//! ```
//!
//! A place is a number: this many pieces have come before it, since the beginning. The picture at a place is the model
//! kept nearest before it and the pieces in between, so a step back costs no more than a step forward, whatever the
//! length. When there is no more room the oldest pieces go, up to the second model.

use crate::cluster::News;
use crate::core::protocol::{Event, Time};
use crate::ui::dashboard::Model;
use crate::ui::dashboard::model::flights::FlightKind;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A model is kept after every this many pieces.
const KEPT_EVERY: usize = 256;
/// What a piece takes beside its bytes.
const PIECE_OVERHEAD_BYTES: usize = 64;

/// One piece, written down. Branches share what they have in common.
#[derive(Debug, Clone)]
struct ReelPiece {
    at: Time,
    bytes: Arc<[u8]>,
}

/// Pieces, and the models between them.
#[derive(Debug, Clone)]
pub struct Reel {
    /// The place of the oldest piece.
    first: usize,
    pieces: VecDeque<ReelPiece>,
    /// The places at which something has happened that one wants to see, oldest first.
    steps: VecDeque<usize>,
    /// Those of them at which the story takes a turn.
    turns: VecDeque<usize>,
    /// The models at some places; there is always one at the first.
    kept: VecDeque<(usize, Arc<Model>)>,
    begun: Time,
    bytes: usize,
    bytes_max: usize,
    /// What was told at the same moment is one step; else each piece is.
    by_moment: bool,
}

impl Reel {
    /// Nothing has come since this model.
    #[must_use]
    pub fn new(start: Model, begun: Time, bytes_max: usize) -> Self {
        let bytes = start.weight();
        let kept = VecDeque::from([(0, Arc::new(start))]);
        let (pieces, steps, turns) = Default::default();
        Self { first: 0, pieces, steps, turns, kept, begun, bytes, bytes_max, by_moment: false }
    }

    /// The same; what is told at the same moment is one step, as it is one picture on a screen that lives.
    #[must_use]
    pub fn by_moment(self) -> Self {
        Self { by_moment: true, ..self }
    }

    /// A piece comes.
    pub fn push(&mut self, at: Time, news: &News) {
        // What cannot be written down cannot be shown again; there is nothing of that kind.
        let Ok(bytes) = postcard::to_stdvec(news) else { return };
        let last = self.end();
        let goes_on = self.by_moment && self.steps.back() == Some(&last) && self.time(last) == at;
        self.bytes += bytes.len() + PIECE_OVERHEAD_BYTES;
        self.pieces.push_back(ReelPiece { at, bytes: bytes.into() });
        if goes_on {
            self.steps.pop_back();
        }
        let was_turn = goes_on && self.turns.pop_back_if(|turn| *turn == last).is_some();
        if goes_on || is_telling(news) {
            self.steps.push_back(last + 1);
        }
        if was_turn || is_turn(news) {
            self.turns.push_back(last + 1);
        }
    }

    /// This is the model at a place: it is kept if it is time for one. Then the oldest go, if there is no more room.
    pub fn keep(&mut self, place: usize, model: &Model) {
        if self.kept.back().is_some_and(|(last, _)| place < last + KEPT_EVERY) {
            return;
        }
        self.bytes += model.weight();
        self.kept.push_back((place, Arc::new(model.clone())));
        self.fit();
    }

    /// Forgets the oldest until all of it fits.
    fn fit(&mut self) {
        while self.bytes > self.bytes_max && self.forget() {}
    }

    /// From now on this many bytes are kept.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.fit();
    }

    /// Forgets everything that came after this place.
    pub fn cut(&mut self, place: usize) {
        for piece in self.pieces.drain(place.saturating_sub(self.first).min(self.pieces.len())..) {
            self.bytes -= piece.bytes.len() + PIECE_OVERHEAD_BYTES;
        }
        self.steps.truncate(self.steps.partition_point(|step| *step <= place));
        self.turns.truncate(self.turns.partition_point(|turn| *turn <= place));
        while let Some((_, later)) = self.kept.pop_back_if(|(kept, _)| *kept > place) {
            self.bytes -= later.weight();
        }
    }

    /// The last place at which it is not later than this.
    #[must_use]
    pub fn place_at(&self, at: Time) -> usize {
        self.first + self.pieces.partition_point(|piece| piece.at <= at)
    }

    /// Forgets everything before the second model. False when there is none.
    fn forget(&mut self) -> bool {
        if self.kept.len() < 2 {
            return false;
        }
        let Some((_, oldest)) = self.kept.pop_front() else { return false };
        self.bytes -= oldest.weight();
        let first = self.kept.front().map_or(self.first, |(place, _)| *place);
        for piece in self.pieces.drain(..first - self.first) {
            self.bytes -= piece.bytes.len() + PIECE_OVERHEAD_BYTES;
            self.begun = piece.at;
        }
        self.first = first;
        self.steps.drain(..self.steps.partition_point(|step| *step <= first));
        self.turns.drain(..self.turns.partition_point(|turn| *turn <= first));
        true
    }

    /// The place that one can go back to.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// The place behind the newest piece.
    #[must_use]
    pub fn end(&self) -> usize {
        self.first + self.pieces.len()
    }

    /// When the piece before this place came; at the first, when it begins.
    #[must_use]
    pub fn time(&self, place: usize) -> Time {
        let before = place.checked_sub(self.first + 1).and_then(|at| self.pieces.get(at));
        before.map_or(self.begun, |piece| piece.at.max(self.begun))
    }

    /// How many bytes it takes, and may take.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        (self.bytes, self.bytes_max)
    }

    /// The steps, oldest first.
    #[must_use]
    pub fn steps(&self) -> &VecDeque<usize> {
        &self.steps
    }

    /// The turns, oldest first.
    #[must_use]
    pub fn turns(&self) -> &VecDeque<usize> {
        &self.turns
    }

    /// How long nothing had happened before the step at or before this place.
    #[must_use]
    pub fn pause_before(&self, place: usize) -> Duration {
        let here = self.steps.partition_point(|step| *step <= place);
        let step = |back: usize| here.checked_sub(back).and_then(|at| self.steps.get(at)).copied();
        let (Some(here), Some(before)) = (step(1), step(2)) else { return Duration::ZERO };
        self.time(here).since(self.time(before))
    }

    /// What was told with the step at or before this place.
    #[must_use]
    pub fn step_at(&self, place: usize) -> Vec<(Time, News)> {
        let here = self.steps.partition_point(|step| *step <= place);
        let Some(to) = here.checked_sub(1).and_then(|at| self.steps.get(at)).copied() else { return Vec::new() };
        let from = here.checked_sub(2).and_then(|at| self.steps.get(at)).copied().unwrap_or(self.first);
        let pieces = self.pieces.range(from - self.first..to - self.first);
        pieces.filter_map(|piece| Some((piece.at, postcard::from_bytes(&piece.bytes).ok()?))).collect()
    }

    /// The model kept nearest before a place, and its own place.
    fn nearest(&self, place: usize) -> Option<&(usize, Arc<Model>)> {
        self.kept.get(self.kept.partition_point(|(kept, _)| *kept <= place).checked_sub(1)?)
    }

    /// Brings a model from one place to another; gives where it is then.
    pub fn bring(&mut self, model: &mut Model, from: usize, to: usize) -> usize {
        let to = to.clamp(self.first, self.end());
        let mut at = from;
        // Forward from here, unless a kept model is nearer, or behind.
        if let Some((kept, nearer)) = self.nearest(to).filter(|(kept, _)| to < from || *kept > from) {
            at = *kept;
            *model = Model::clone(nearer);
        }
        while at < to {
            let Some(piece) = self.pieces.get(at - self.first) else { break };
            if let Ok(news) = postcard::from_bytes(&piece.bytes) {
                model.fold(piece.at, &news);
            }
            at += 1;
            self.keep(at, model);
        }
        at
    }
}

/// Whether anything in it is worth a look.
fn is_telling(news: &News) -> bool {
    match news {
        News::Observation(observation) => {
            !observation.events.is_empty()
                || observation.flights.iter().any(|flight| !FlightKind::of(flight.kind).is_background())
        }
        News::Asked { .. }
        | News::Answered { .. }
        | News::Gone { .. }
        | News::Stopped { .. }
        | News::Network { .. }
        | News::Why(_)
        | News::Unsafe(_)
        | News::Dropped { .. }
        | News::Note(_) => true,
        News::Finished { .. } | News::Load(_) | News::Door(_) | News::Verdict(_) | News::Branched { .. } => false,
    }
}

/// Whether the story takes a turn with it.
fn is_turn(news: &News) -> bool {
    let turns =
        |event: &Event| matches!(event, Event::Crashed { .. } | Event::ViewChanged { .. } | Event::Serving { .. });
    match news {
        News::Observation(observation) => observation.events.iter().any(|(_, event)| turns(event)),
        News::Answered { .. } | News::Gone { .. } | News::Stopped { .. } | News::Why(Some(_)) => true,
        _ => false,
    }
}
