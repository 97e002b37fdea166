//! The events: one sentence each, in the order in which they happened.

use super::words;
use crate::core::protocol::{Event, MessageKind, Observation, Rank, Reason, Role, Time, View};
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

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
pub struct StoryLine {
    /// When it happened.
    pub at: Time,
    /// What sort of thing.
    pub tone: Tone,
    /// The sentence.
    pub text: String,
    /// How often of late; it is then the newest of these.
    pub times: u32,
    /// What it is one of many of.
    sort: Option<Sort>,
}

/// Events that come by the hundred under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Spared,
    GaveUp,
    /// What a server does that comes and goes, and what others do because of it.
    Suspects(Rank, Rank),
    Forgets(Rank),
    Sends(Rank, Rank),
    HasState(Rank, Rank),
    Follows(Rank),
    Joins(Rank),
    IsLeftOut(Rank),
    Reads(Rank),
    Refuses(Rank, Rank, MessageKind),
}

impl Sort {
    /// Other lines may lie between two of this sort: they come round and round.
    fn is_of_a_round(self) -> bool {
        !matches!(self, Self::Spared | Self::GaveUp)
    }
}

/// What comes round again within this time is told in one line.
const ROUND: Duration = Duration::from_secs(2);
/// And within this many lines.
const ROUND_LINES: usize = 16;

/// All that is still remembered, oldest first.
#[derive(Debug, Clone)]
pub struct Story {
    lines: VecDeque<StoryLine>,
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
        if let Some(round) = sort.filter(|sort| sort.is_of_a_round())
            && let Some(before) = self.last_of(round, at, place)
        {
            let times = self.lines.remove(before).map_or(0, |line| line.times).saturating_add(1);
            self.lines.insert(place - 1, StoryLine { at, tone, text, times, sort });
            return;
        }
        if let Some(before) = place.checked_sub(1).and_then(|before| self.lines.get_mut(before))
            && sort.is_some()
            && before.sort == sort
        {
            *before = StoryLine { at, tone, text, times: before.times.saturating_add(1), sort };
            return;
        }
        self.lines.insert(place, StoryLine { at, tone, text, times: 1, sort });
        if self.lines.len() > EVENTS_MAX {
            self.lines.pop_front();
        }
    }

    /// The line of the same sort a moment before, among those before this place.
    fn last_of(&self, sort: Sort, at: Time, place: usize) -> Option<usize> {
        let near = self.lines.iter().enumerate().take(place).rev().take(ROUND_LINES);
        let found = near.into_iter().find(|(_, line)| line.sort == Some(sort))?;
        (at.since(found.1.at) <= ROUND).then_some(found.0)
    }

    pub(super) fn missed(&mut self, events: u64) {
        self.missed = self.missed.saturating_add(events);
    }

    /// Whether a line says exactly this.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.text == text)
    }

    /// About how many bytes of memory this takes.
    pub(super) fn weight(&self) -> usize {
        self.lines.iter().map(|line| size_of::<StoryLine>() + line.text.len()).sum()
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &StoryLine> + ExactSizeIterator {
        self.lines.iter()
    }

    /// How many events happened too fast to be told one by one.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.missed
    }
}

/// What this event is one of many of, if it is.
pub(super) fn sort(rank: Rank, event: &Event) -> Option<Sort> {
    Some(match event {
        Event::Spared { .. } => Sort::Spared,
        Event::GaveUp { .. } => Sort::GaveUp,
        Event::Suspected { peer, .. } | Event::KnownDead { peer } => Sort::Suspects(rank, peer.rank),
        Event::ReadsDisk { .. } => Sort::Reads(rank),
        Event::Forgot { .. } => Sort::Forgets(rank),
        Event::TransferStarted { to, .. } | Event::CatchUpStarted { to, .. } => Sort::Sends(rank, to.rank),
        Event::TransferDone { to, .. } => Sort::HasState(rank, to.rank),
        Event::RoleChanged { to: Role::Backup, .. } => Sort::Follows(rank),
        Event::ViewChanged { reason: Reason::Joined { member }, .. } => Sort::Joins(member.rank),
        Event::ViewChanged { reason: Reason::BackupSilent { backup, .. } | Reason::BackupDied { backup }, .. } => {
            Sort::IsLeftOut(backup.rank)
        }
        _ => return None,
    })
}

/// What the screen says of an event; `None` for what another event already says.
#[must_use]
pub fn sentence(rank: Rank, event: &Event) -> Option<(Tone, String)> {
    Some(match event {
        Event::Applied { .. } => return None,
        // `Crashed`, `Recovered`, `Forgot` and the transfer tell the rest.
        Event::RoleChanged { to: Role::Down | Role::Idle | Role::Joining, .. } => return None,
        Event::RoleChanged { from, to, view } => (Tone::Turn, format!("server {rank} {from} → {to}, view {view}")),
        Event::Suspected { .. } | Event::KnownDead { .. } => (Tone::Doubt, format!("server {rank} {event}")),
        Event::ViewChanged { view, reason, .. } => (Tone::Turn, format!("{}: {reason}", members(view))),
        Event::Serving { view, op } => (Tone::Good, format!("server {rank} answers in view {view}, from op {op}")),
        Event::TransferStarted { .. } => (Tone::State, format!("server {rank} {event}")),
        Event::TransferDone { .. } | Event::CatchUpStarted { .. } => (Tone::State, event.to_string()),
        Event::Forgot { incarnation } => {
            (Tone::State, format!("server {rank} left the view, starts empty as incarnation {incarnation}"))
        }
        Event::Crashed { .. } => (Tone::Bad, format!("server {rank} {event}")),
        Event::ReadsDisk { .. } => (Tone::State, format!("server {rank} {event}")),
        Event::LogDamaged { .. } | Event::DiskFailed { .. } => (Tone::Bad, format!("server {rank}: {event}")),
        Event::Spared { .. } => (Tone::Doubt, event.to_string()),
        Event::Recovered { incarnation } => {
            (Tone::State, format!("server {rank} restarted empty, incarnation {incarnation}"))
        }
        Event::Restarted { .. } => (Tone::State, format!("server {rank} {event}")),
        Event::CameBack { .. } => (Tone::Good, format!("server {rank} {event}")),
        Event::GaveUp { .. } => (Tone::Bad, event.to_string()),
        Event::Operator { what } => (Tone::Operator, what.clone()),
        Event::SessionEnded { .. } => (Tone::Bad, event.to_string()),
    })
}

/// What a server refused of late because it is of an older view: no event of the protocol, but one of the story. Of
/// several of a kind, the last. (Who is merely told that there is a newer view had said nothing that was refused.)
pub(super) fn refusals(observation: &Observation) -> Vec<(Time, Sort, String)> {
    use MessageKind as M;
    const LETTERS: [MessageKind; 6] =
        [M::Prepare, M::PrepareOk, M::StartView, M::StartViewOk, M::Snapshot, M::SnapshotOk];
    let rank = observation.rank;
    let mut told: Vec<(Time, Sort, String)> = Vec::new();
    for refusal in observation.flights.iter().filter(|flight| flight.kind == M::Refused) {
        let received = observation.receipts.iter().rev();
        let mut received = received.filter(|known| known.from == refusal.to && known.at == refusal.at);
        let Some(letter) = received.find(|known| LETTERS.contains(&known.kind)) else { continue };
        let op = words::value(&letter.text, "op").map_or_else(String::new, |op| format!(" op={op}"));
        let text = format!("server {rank} refuses an old {}{op} from server {}", letter.kind, refusal.to);
        let sort = Sort::Refuses(rank, refusal.to, letter.kind);
        told.retain(|(_, other, _)| *other != sort);
        told.push((refusal.at, sort, text));
    }
    told
}

/// Everything that a report says, in sentences, in the order in which it happened.
#[must_use]
pub fn sentences(observation: &Observation) -> Vec<(Time, String)> {
    let events = observation.events.iter();
    let events = events.filter_map(|(at, event)| Some((*at, sentence(observation.rank, event)?.1)));
    let mut all: Vec<_> = events.chain(refusals(observation).into_iter().map(|(at, _, text)| (at, text))).collect();
    all.sort_by_key(|(at, _)| *at);
    all
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Incarnation, Member, ViewNumber};

    fn told(story: &mut Story, ms: u64, rank: u32, event: &Event) {
        let (tone, text) = sentence(Rank(rank), event).expect("there is something to say");
        story.tell_one_of(sort(Rank(rank), event), Time(ms * 1_000_000), tone, text);
    }

    fn lines(story: &Story) -> Vec<(String, u32)> {
        story.lines().map(|line| (line.text.clone(), line.times)).collect()
    }

    #[test]
    fn what_comes_round_and_round_is_told_in_one_line_each() {
        let mut story = Story::new();
        let member = |incarnation| Member { rank: Rank(3), incarnation: Incarnation(incarnation) };
        for round in 1..=10 {
            let at = round * 150;
            told(&mut story, at, 1, &Event::Suspected { peer: member(round), silent_ms: 50 + round });
            told(&mut story, at + 10, 3, &Event::Forgot { incarnation: Incarnation(round + 1) });
            told(&mut story, at + 20, 1, &Event::TransferStarted { to: member(round + 1), keys: round });
        }
        assert_eq!(
            lines(&story),
            [
                ("server 1 suspects server 3: silent for 60 ms".to_owned(), 10),
                ("server 3 left the view, starts empty as incarnation 11".to_owned(), 10),
                ("server 1 sends 10 keys to server 3".to_owned(), 10),
            ]
        );
        // Another server's are another line, and what comes later begins anew.
        told(&mut story, 1_600, 2, &Event::Suspected { peer: member(11), silent_ms: 51 });
        told(&mut story, 9_000, 1, &Event::Suspected { peer: member(11), silent_ms: 52 });
        assert_eq!(lines(&story)[3..].iter().map(|line| line.1).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_letter_of_an_older_view_is_refused_by_name() {
        use crate::core::protocol::{Flight, Receipt};
        let at = Time(7);
        let sent =
            |to, text: &str| Flight { at, to: Rank(to), kind: MessageKind::Refused, text: text.into(), lost: false };
        let came = |from, at, text: &str| {
            let kind = MessageKind::named(text.split(' ').next().unwrap_or_default()).expect("a message");
            Receipt { at, from: Rank(from), kind, text: text.into() }
        };
        let mut report = Observation {
            events: vec![(Time(8), Event::Operator { what: "later".into() })],
            flights: vec![sent(1, "Refused view 2 primary 2 backups 3"), sent(3, "Refused view 2 primary 2 backups 3")],
            receipts: vec![
                came(3, Time(6), "Prepare op=1"),
                came(1, at, "Prepare op=4 commit=3"),
                came(1, at, "GetView"),
            ],
            ..Observation::empty(Rank(2), 1, at)
        };
        let told =
            |report: &Observation| -> Vec<String> { sentences(report).into_iter().map(|(_, text)| text).collect() };
        assert_eq!(told(&report), ["server 2 refuses an old Prepare op=4 from server 1", "later",]);
        // A hundred of one kind are one.
        report.flights = vec![sent(1, "Refused view 2 primary 2 backups 3"); 100];
        assert_eq!(told(&report).len(), 2);
    }

    #[test]
    fn a_change_of_the_primary_is_always_a_line_of_its_own() {
        let mut story = Story::new();
        for view in 1..=3 {
            let turn = Event::RoleChanged { from: Role::Backup, to: Role::Primary, view: ViewNumber(view) };
            told(&mut story, view * 10, 1, &turn);
        }
        assert_eq!(story.lines().len(), 3);
    }
}
