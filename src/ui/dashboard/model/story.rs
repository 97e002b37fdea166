//! The events: one sentence each, in the order in which they happened.

use crate::core::protocol::{Event, Rank, Role, Time, View};
use std::collections::VecDeque;
use std::fmt::Write;

/// Older events are forgotten.
pub const EVENTS_MAX: usize = 500;

/// What sort of thing a sentence tells; gives it its sign and its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something failed.
    Bad,
    /// Somebody noticed that something may be wrong.
    Doubt,
    /// The order of things changed.
    Turn,
    /// Something works again.
    Good,
    /// State moves between servers.
    State,
    /// An operator did it.
    Operator,
}

/// A line of the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it happened.
    pub at: Time,
    /// What sort of thing.
    pub tone: Tone,
    /// The sentence.
    pub text: String,
    /// How often in a row; it is then the newest of these.
    pub times: u32,
    /// What it is one of many of.
    sort: Option<Sort>,
}

/// Events that come by the hundred under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Spared,
    GaveUp,
}

/// All that is still remembered, oldest first.
#[derive(Debug, Clone)]
pub struct Story {
    lines: VecDeque<Line>,
    missed: u64,
}

impl Story {
    pub(super) fn new() -> Self {
        Self { lines: VecDeque::new(), missed: 0 }
    }

    /// Reports of different ranks cross; a line goes where its time puts it.
    pub(super) fn tell(&mut self, at: Time, tone: Tone, text: String) {
        self.tell_one_of(None, at, tone, text);
    }

    /// The same, folded into the line before if that is of the same sort.
    pub(super) fn tell_one_of(&mut self, sort: Option<Sort>, at: Time, tone: Tone, text: String) {
        let later = self.lines.iter().rev().take_while(|line| line.at > at).count();
        let place = self.lines.len() - later;
        if let Some(before) = place.checked_sub(1).and_then(|before| self.lines.get_mut(before))
            && sort.is_some()
            && before.sort == sort
        {
            *before = Line { at, tone, text, times: before.times.saturating_add(1), sort };
            return;
        }
        self.lines.insert(place, Line { at, tone, text, times: 1, sort });
        if self.lines.len() > EVENTS_MAX {
            self.lines.pop_front();
        }
    }

    pub(super) fn missed(&mut self, events: u64) {
        self.missed = self.missed.saturating_add(events);
    }

    /// Whether a line says exactly this.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.text == text)
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> + ExactSizeIterator {
        self.lines.iter()
    }

    /// How many events happened too fast to be told one by one.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.missed
    }
}

/// What this event is one of many of, if it is.
pub(super) fn sort(event: &Event) -> Option<Sort> {
    match event {
        Event::Spared { .. } => Some(Sort::Spared),
        Event::GaveUp { .. } => Some(Sort::GaveUp),
        _ => None,
    }
}

/// What the screen says of an event; `None` for what another event already says.
#[must_use]
pub fn sentence(rank: Rank, event: &Event) -> Option<(Tone, String)> {
    Some(match event {
        Event::Applied { .. } => return None,
        // `Crashed`, `Recovered`, `Forgot` and the transfer tell the rest.
        Event::RoleChanged { to: Role::Down | Role::Idle | Role::Joining, .. } => return None,
        Event::RoleChanged { from, to, view } => (Tone::Turn, format!("server {rank} {from} → {to}, view {view}")),
        Event::Suspected { .. } => (Tone::Doubt, format!("server {rank} {event}")),
        Event::ViewChanged { view, reason, .. } => (Tone::Turn, format!("{}: {reason}", members(view))),
        Event::Serving { view, op } => (Tone::Good, format!("server {rank} answers in view {view}, from op {op}")),
        Event::TransferStarted { .. } => (Tone::State, format!("server {rank} {event}")),
        Event::TransferDone { .. } => (Tone::State, event.to_string()),
        Event::Forgot { incarnation } => {
            (Tone::State, format!("server {rank} left the view, starts empty as incarnation {incarnation}"))
        }
        Event::Crashed { .. } => (Tone::Bad, format!("server {rank} {event}")),
        Event::Spared { .. } => (Tone::Doubt, event.to_string()),
        Event::Recovered { incarnation } => {
            (Tone::State, format!("server {rank} restarted empty, incarnation {incarnation}"))
        }
        Event::GaveUp { .. } => (Tone::Bad, event.to_string()),
        Event::Operator { what } => (Tone::Operator, what.clone()),
    })
}

fn members(view: &View) -> String {
    let mut text = format!("view {}: primary {}", view.number, view.primary.rank);
    match view.backups.len() {
        0 => text.push_str(", no backup"),
        1 => text.push_str(", backup"),
        _ => text.push_str(", backups"),
    }
    for backup in &view.backups {
        let _ = write!(text, " {}", backup.rank);
    }
    text
}
