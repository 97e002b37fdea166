//! Where one is in a recording.
//!
//! A place is a number: so many pieces are folded in. Models are kept at intervals, and the way back is the nearest of
//! them and a few pieces forward, so a step back costs no more than a step forward, whatever the length.

use super::recording::Recording;
use crate::cluster::News;
use crate::core::protocol::{Event, Time};
use crate::ui::dashboard::Model;
use crate::ui::dashboard::model::flights::FlightKind;
use std::time::Duration;

/// A model is kept every so many pieces.
const KEPT_EVERY: usize = 256;
/// A pause between two steps that is longer is told.
const PAUSE_TOLD: Duration = Duration::from_secs(1);

/// A recording, and a place in it.
#[derive(Debug)]
pub struct Player {
    pieces: Vec<(Time, News)>,
    /// The places at which something happens that one wants to see.
    steps: Vec<usize>,
    /// The models at 0, [`KEPT_EVERY`], twice that, … as far as one has been.
    kept: Vec<Model>,
    model: Model,
    at: usize,
    begun: Time,
}

impl Player {
    /// At the start of a recording.
    #[must_use]
    pub fn new(recording: Recording) -> Self {
        let Recording { heading, pieces } = recording;
        let mut model = Model::new(heading.setup, heading.begun);
        model.clients = heading.clients;
        model.unsafe_notice = heading.warning;
        let steps = (1..=pieces.len()).filter(|at| is_telling(&pieces[at - 1].1)).collect();
        Self { pieces, steps, kept: vec![model.clone()], model, at: 0, begun: heading.begun }
    }

    /// The model here.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The time here.
    #[must_use]
    pub fn now(&self) -> Time {
        self.at.checked_sub(1).map_or(self.begun, |last| self.pieces[last].0.max(self.begun))
    }

    /// How long after the beginning this is, and how long the whole is.
    #[must_use]
    pub fn times(&self) -> (Duration, Duration) {
        let end = self.pieces.last().map_or(self.begun, |(at, _)| *at);
        (self.now().since(self.begun), end.since(self.begun))
    }

    /// Which step this is, of how many.
    #[must_use]
    pub fn step(&self) -> (usize, usize) {
        (self.steps.partition_point(|step| *step <= self.at), self.steps.len())
    }

    /// True at the end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.steps.last().is_none_or(|last| self.at >= *last)
    }

    /// How long nothing happened before this step, if that is worth a word.
    #[must_use]
    pub fn pause_before(&self) -> Option<Duration> {
        let (number, _) = self.step();
        let here = *self.steps.get(number.checked_sub(1)?)?;
        let before = *self.steps.get(number.checked_sub(2)?)?;
        let pause = self.pieces[here - 1].0.since(self.pieces[before - 1].0);
        (pause >= PAUSE_TOLD).then_some(pause)
    }

    /// To the next step. False when there is none.
    pub fn forward(&mut self) -> bool {
        let next = self.steps.get(self.steps.partition_point(|step| *step <= self.at)).copied();
        next.is_some_and(|next| self.go(next))
    }

    /// To the step before. False at the start.
    pub fn back(&mut self) -> bool {
        let earlier = self.steps.partition_point(|step| *step < self.at);
        let before = earlier.checked_sub(1).map_or(0, |before| self.steps[before]);
        self.go(before)
    }

    /// To the next turn of the story: a fault, a view, an answer. False when there is none.
    pub fn next_turn(&mut self) -> bool {
        let next = self.steps.iter().find(|step| **step > self.at && is_turn(&self.pieces[**step - 1].1)).copied();
        next.is_some_and(|next| self.go(next))
    }

    /// To the turn before. False at the start.
    pub fn last_turn(&mut self) -> bool {
        let turn = |step: &&usize| **step < self.at && is_turn(&self.pieces[**step - 1].1);
        let before = self.steps.iter().rev().find(turn).copied().unwrap_or(0);
        self.go(before)
    }

    /// To the start.
    pub fn start(&mut self) -> bool {
        self.go(0)
    }

    /// To the end.
    pub fn end(&mut self) -> bool {
        self.go(self.pieces.len())
    }

    /// To a place. False when one is there already.
    fn go(&mut self, to: usize) -> bool {
        if to == self.at {
            return false;
        }
        let kept = (to / KEPT_EVERY).min(self.kept.len() - 1);
        // Forward from here, unless a kept model is nearer, or behind.
        if to < self.at || kept * KEPT_EVERY > self.at {
            self.model = self.kept[kept].clone();
            self.at = kept * KEPT_EVERY;
        }
        while self.at < to {
            let (at, news) = &self.pieces[self.at];
            self.model.fold(*at, news);
            self.model.tick(*at);
            self.at += 1;
            if self.at == self.kept.len() * KEPT_EVERY {
                self.kept.push(self.model.clone());
            }
        }
        true
    }
}

/// Whether anything in it is worth a look.
fn is_telling(news: &News) -> bool {
    match news {
        News::Observation(observation) => {
            !observation.events.is_empty()
                || observation.flights.iter().any(|flight| !FlightKind::of(&flight.name).is_background())
        }
        News::Asked { .. }
        | News::Answered { .. }
        | News::Gone { .. }
        | News::Stopped { .. }
        | News::Network { .. }
        | News::Why(_)
        | News::Unsafe(_)
        | News::Note(_) => true,
        News::Finished { .. } | News::Load(_) | News::Door(_) | News::Verdict(_) => false,
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
