//! How long a failover takes, phase by phase.
//!
//! ```text
//!   fault ──detect──▶ suspected ──decide──▶ view changed ──take over──▶ serving ──first answer──▶ answered
//! ```
//!
//! The marks come from different ranks, whose reports cross, so the stopwatch keeps the latest marks
//! in order of time and reads the phases off them anew with each mark. If nobody asks anything when the
//! new primary is ready, the last phase starts with the next request: an idle client is no downtime. When nobody can
//! take over, the stopwatch is held (`Stopwatch::hold`) until that has changed.

use crate::core::protocol::{Rank, Time, ViewNumber};
use std::time::Duration;

/// Marks that are kept; a failover has about five.
pub const MARKS_MAX: usize = 32;
/// A failover that did not end after this long is not counted on: the dashboard stops drawing its clock.
const PATIENCE: Duration = Duration::from_secs(60);
/// The reporter of a silence may exaggerate; no fault is dated back further than this.
const SILENCE_BELIEVED_MS: u64 = 10_000;

/// Something the stopwatch listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cue {
    /// A server crashed, died or was stopped; was it the primary?
    Fault { rank: Rank, primary: bool },
    /// It was stopped and goes on, as if nothing had been.
    FalseAlarm { rank: Rank },
    /// A server suspects this one, or knows that it is dead.
    Suspected { rank: Rank, silent_ms: u64 },
    /// The metadata server decided; `silent_ms` when it was because the primary was silent, or dead (0); `formed` when
    /// all servers start over, which is no failover.
    Decided { view: ViewNumber, primary: Rank, silent_ms: Option<u64>, formed: bool },
    /// The primary of a view answers from now on.
    Serving { view: ViewNumber },
    /// A client was answered; it had asked then.
    Answer { asked: Option<Time> },
}

/// The phases of one failover. A phase that is not over yet is `None`, as are all after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failover {
    /// When the primary fell.
    pub fault: Time,
    /// Until somebody suspected it.
    pub detect: Option<Duration>,
    /// Until the metadata server had decided.
    pub decide: Option<Duration>,
    /// Until the new primary was ready.
    pub take_over: Option<Duration>,
    /// Until a client had its answer.
    pub first_answer: Option<Duration>,
    /// When the phase that runs now began.
    pub phase_began: Time,
    lost: Rank,
    view: Option<ViewNumber>,
}

impl Failover {
    fn new(fault: Time, lost: Rank) -> Self {
        Self {
            fault,
            detect: None,
            decide: None,
            take_over: None,
            first_answer: None,
            phase_began: fault,
            lost,
            view: None,
        }
    }

    /// The four phases, by name.
    #[must_use]
    pub fn phases(&self) -> [(&'static str, Option<Duration>); 4] {
        [
            ("detect", self.detect),
            ("decide", self.decide),
            ("take over", self.take_over),
            ("first answer", self.first_answer),
        ]
    }

    /// All phases that are over.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.phases().into_iter().filter_map(|(_, took)| took).sum()
    }

    /// True when the client has been answered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.first_answer.is_some()
    }

    /// True when a new primary is ready, and only a request is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.take_over.is_some()
    }

    fn advance(&mut self, at: Time, mark: Cue) {
        match mark {
            Cue::Suspected { rank, .. } if rank == self.lost && self.detect.is_none() => {
                self.detect = Some(at.since(self.phase_began));
                self.phase_began = at;
            }
            Cue::Decided { view, primary, .. } if self.decide.is_none() && primary != self.lost => {
                if self.detect.is_none() {
                    self.detect = Some(at.since(self.phase_began));
                    self.phase_began = at;
                }
                self.decide = Some(at.since(self.phase_began));
                self.view = Some(view);
                self.phase_began = at;
            }
            // The view that was decided may be followed by another before anybody serves.
            Cue::Serving { view } if self.decide.is_some() && self.take_over.is_none() && Some(view) >= self.view => {
                self.take_over = Some(at.since(self.phase_began));
                self.phase_began = at;
            }
            Cue::Answer { asked } if self.take_over.is_some() && self.first_answer.is_none() => {
                let began = asked.map_or(self.phase_began, |asked| asked.max(self.phase_began));
                self.first_answer = Some(at.since(began));
                self.phase_began = at;
            }
            _ => {}
        }
    }
}

/// The stopwatch: the last failover, over or running.
#[derive(Debug, Clone)]
pub struct Stopwatch {
    /// In order of time.
    marks: Vec<(Time, Cue)>,
    failover: Option<Failover>,
    /// Nobody can take over since then.
    held: Option<Time>,
}

impl Stopwatch {
    pub(super) fn new() -> Self {
        Self { marks: Vec::new(), failover: None, held: None }
    }

    /// Nobody can take over since this moment, or (`None`) somebody can again.
    pub(super) fn hold(&mut self, since: Option<Time>) {
        self.held = since.map(|since| self.held.unwrap_or(since));
    }

    pub(super) fn mark(&mut self, at: Time, mark: Cue) {
        if matches!(mark, Cue::Answer { .. }) && self.failover.is_none_or(|f| f.is_over()) {
            return; // Thousands a second, and nobody waits for one.
        }
        let answers = self.marks.iter().filter(|(_, m)| matches!(m, Cue::Answer { .. })).count();
        if matches!(mark, Cue::Answer { .. }) && answers >= MARKS_MAX / 2 {
            return;
        }
        let later = self.marks.iter().rev().take_while(|(other, _)| *other > at).count();
        self.marks.insert(self.marks.len() - later, (at, mark));
        if self.marks.len() > MARKS_MAX {
            self.marks.remove(0);
        }
        self.read();
    }

    /// Reads the last failover off the marks.
    fn read(&mut self) {
        let mut failover: Option<Failover> = None;
        let mut primary: Option<Rank> = None;
        let mut before = self.failover;
        for &(at, mark) in &self.marks {
            match mark {
                Cue::Fault { rank, primary: was_primary } => {
                    let again = failover.is_some_and(|f| f.lost == rank && f.decide.is_none());
                    if (was_primary || primary == Some(rank)) && !again {
                        failover = Some(Failover::new(at, rank));
                    }
                }
                Cue::FalseAlarm { rank } if failover.is_some_and(|f| f.lost == rank && f.decide.is_none()) => {
                    failover = None;
                    before = before.filter(Failover::is_over);
                }
                Cue::Decided { primary: new, formed: true, .. } => {
                    failover = None;
                    before = before.filter(Failover::is_over);
                    primary = Some(new);
                }
                Cue::Decided { view: _, primary: new, silent_ms, formed: false } => {
                    // Nobody saw the fault itself (a cut link, say): it began when the silence did.
                    let unseen = failover.is_none_or(|f| f.decide.is_some());
                    if let Some(silent_ms) = silent_ms.filter(|_| unseen) {
                        let lost = primary.or(self.lost_at(at)).unwrap_or(Rank(u32::MAX));
                        let silent = Duration::from_millis(silent_ms.min(SILENCE_BELIEVED_MS));
                        let mut dated = Failover::new(at - silent, lost);
                        if let Some(suspected) = self.suspected_before(at) {
                            dated.advance(suspected, Cue::Suspected { rank: lost, silent_ms });
                        }
                        failover = Some(dated);
                    }
                    if failover.is_some_and(|f| f.lost == new && f.decide.is_none()) {
                        failover = None; // The same server goes on.
                        before = before.filter(Failover::is_over);
                    }
                    primary = Some(new);
                }
                _ => {}
            }
            if let Some(failover) = &mut failover {
                failover.advance(at, mark);
            }
        }
        self.failover = failover.or(before.filter(Failover::is_over));
        if self.failover.is_some_and(|f| f.is_over()) {
            // The answers have done their duty.
            let over = self.failover.map_or(Time(0), |f| f.phase_began);
            let mut seen = false;
            self.marks.retain(|(at, m)| {
                let answer = matches!(m, Cue::Answer { .. });
                let keep = !answer || (*at == over && !seen);
                seen |= answer && keep;
                keep
            });
        }
    }

    fn lost_at(&self, decided: Time) -> Option<Rank> {
        self.last_suspicion(decided).map(|(_, rank)| rank)
    }

    fn suspected_before(&self, decided: Time) -> Option<Time> {
        self.last_suspicion(decided).map(|(at, _)| at)
    }

    fn last_suspicion(&self, decided: Time) -> Option<(Time, Rank)> {
        self.marks
            .iter()
            .rev()
            .filter(|(at, _)| *at <= decided && decided.since(*at) < Duration::from_secs(1))
            .find_map(|(at, mark)| match mark {
                Cue::Suspected { rank, .. } => Some((*at, *rank)),
                _ => None,
            })
    }

    /// The last failover, over or not.
    #[must_use]
    pub fn failover(&self) -> Option<&Failover> {
        self.failover.as_ref()
    }

    /// True while something more than a request is missing.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.held.is_none() && self.is_open()
    }

    /// True when nobody has taken over, and nobody can.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some() && self.is_open()
    }

    fn is_open(&self) -> bool {
        self.failover.is_some_and(|f| !f.is_ready())
    }

    /// How long the running failover has been running, or had when it was held.
    #[must_use]
    pub fn runs_for(&self, now: Time) -> Duration {
        let now = self.held.map_or(now, |held| held.min(now));
        self.failover.map_or(Duration::ZERO, |f| now.since(f.fault).min(PATIENCE))
    }
}
