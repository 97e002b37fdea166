//! What was said to whom, and when it was heard: the rows of the space–time diagram, oldest first.
//!
//! Ranks tell what they send and what they take in; the two are brought together here, in whatever order they are told.
//! Every message that was told of is an arrow, a loss, or pending. Time runs downward and not to scale: there is one
//! row a receipt, and a departure has its own only if its sender did something else before the message was taken in.
//!
//! # Caveats
//!
//! Messages are told apart by their words: of two that say the same the one that left first is taken to arrive first.
//! Under load what is told is a sample. A receipt whose departure was not told is not shown, and what was not told at
//! all is counted ([`DiagramRow::Missing`]).

use super::story::{self, Tone};
use super::words;
use crate::core::protocol::{Event, Flight, MessageKind, Observation, Rank, Receipt, Role, Time};
use crate::ui::dashboard::model::flights::FlightKind;
use std::collections::VecDeque;
use std::time::Duration;

/// Older entries are forgotten.
pub const ENTRIES_MAX: usize = 160;
/// Receipts that wait for word of their departure.
const RECEIPTS_MAX: usize = 64;
/// Heartbeats that are remembered.
const BEATS_MAX: usize = 512;
/// When nothing happens for this long, that is a row.
pub const SILENCE_MIN: Duration = Duration::from_millis(5);
/// A label has no more characters.
const LABEL_CHARS_MAX: usize = 32;
/// What a diagram weighs, in bytes, from above.
pub(super) const WEIGHT: usize = 40 << 10;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// Who sent it.
    pub from: Rank,
    /// To whom.
    pub to: Rank,
    /// What sort of message.
    pub kind: MessageKind,
    /// When it left.
    pub sent: Time,
    /// When it was taken in; more than once if it came again.
    pub received: Vec<Time>,
    /// A fault swallowed it.
    pub lost: bool,
    /// All of its words, by which its receipt is known.
    text: String,
}

impl Arrow {
    /// In a few words: what is written along it.
    #[must_use]
    pub fn label(&self) -> String {
        label(self.kind, &self.text)
    }

    /// Whether this is word of its receipt, by this rank.
    fn is_told_by(&self, by: Rank, receipt: &Receipt) -> bool {
        let is_same_way = self.from == receipt.from && self.to == by;
        !self.lost && is_same_way && self.kind == receipt.kind && self.text == receipt.text
    }

    /// All of its words.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What happened at one moment.
#[derive(Debug, Clone)]
enum DiagramEntry {
    Arrow(Arrow),
    View { at: Time, text: String },
    Mark { at: Time, rank: Rank, tone: Tone, text: String },
    Role { at: Time, rank: Rank, role: Role },
    Missing { at: Time, count: u64 },
}

impl DiagramEntry {
    fn at(&self) -> Time {
        match self {
            Self::Arrow(arrow) => arrow.sent,
            Self::View { at, .. } | Self::Mark { at, .. } | Self::Role { at, .. } | Self::Missing { at, .. } => *at,
        }
    }
}

/// A row of the diagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiagramRow<'a> {
    /// A message leaves, and its sender does something else before it is taken in.
    Departure(&'a Arrow),
    /// A message is taken in. It left in this row, or (`late`) in one above.
    Receipt { arrow: &'a Arrow, at: Time, late: bool },
    /// It is lost.
    Loss(&'a Arrow),
    /// It has left, and nobody has taken it in.
    Pending(&'a Arrow),
    /// There is a new view.
    View { at: Time, text: &'a str },
    /// Something happens at a rank.
    Mark { at: Time, rank: Rank, tone: Tone, text: &'a str },
    /// From here on a server is something else.
    Role { at: Time, rank: Rank, role: Role },
    /// Nothing was told for this long but this many heartbeats.
    Silence { at: Time, lasts: Duration, beats: u64 },
    /// This many messages were not told one by one.
    Missing { at: Time, count: u64 },
}

impl DiagramRow<'_> {
    /// When.
    #[must_use]
    pub fn at(&self) -> Time {
        match self {
            Self::Departure(arrow) | Self::Loss(arrow) | Self::Pending(arrow) => arrow.sent,
            Self::Receipt { at, .. } | Self::View { at, .. } | Self::Mark { at, .. } | Self::Role { at, .. } => *at,
            Self::Silence { at, .. } | Self::Missing { at, .. } => *at,
        }
    }

    /// At one moment: what is taken in comes before what it leads to, and that before what leaves because of it.
    fn class(&self) -> u8 {
        match self {
            Self::Receipt { .. } | Self::Missing { .. } => 0,
            Self::View { .. } | Self::Mark { .. } | Self::Role { .. } | Self::Silence { .. } => 1,
            Self::Departure(arrow) if arrow.received.contains(&arrow.sent) => 0,
            Self::Departure(_) | Self::Loss(_) | Self::Pending(_) => 2,
        }
    }

    /// Whether it is something that this rank did.
    fn is_at(&self, rank: Rank) -> bool {
        match self {
            Self::Receipt { arrow, .. } => arrow.to == rank,
            Self::Mark { rank: at, .. } => *at == rank,
            _ => false,
        }
    }
}

/// All that is remembered.
#[derive(Debug, Clone, Default)]
pub struct Diagram {
    /// In order of time.
    entries: VecDeque<DiagramEntry>,
    /// Heartbeats that were sent.
    beats: VecDeque<Time>,
    /// Receipts whose departure has not been told yet.
    receipts: VecDeque<(Rank, Receipt)>,
    /// What servers were before the oldest entry.
    roles: Vec<(Rank, Role)>,
}

impl Diagram {
    /// Folds a report in, which arrived at `now`.
    pub(super) fn observe(&mut self, observation: &Observation, trusted: impl Fn(Time) -> Time) {
        let Observation { rank, at, events, flights, flights_dropped, receipts, beats, .. } = observation;
        for (at, event) in events {
            self.happened(trusted(*at), *rank, event);
        }
        for flight in flights.iter().filter(|flight| !FlightKind::of(flight.kind).is_background()) {
            self.sent(trusted(flight.at), *rank, flight);
        }
        for receipt in receipts {
            let receipt = Receipt { at: trusted(receipt.at), ..receipt.clone() };
            if !self.received(*rank, &receipt) {
                self.receipts.push_back((*rank, receipt));
            }
        }
        while self.receipts.len() > RECEIPTS_MAX {
            self.receipts.pop_front();
        }
        for beat in beats.iter().map(|beat| trusted(*beat)) {
            let later = self.beats.iter().rev().take_while(|other| **other > beat).count();
            self.beats.insert(self.beats.len() - later, beat);
        }
        while self.beats.len() > BEATS_MAX {
            self.beats.pop_front();
        }
        if *flights_dropped > 0 {
            self.enter(DiagramEntry::Missing { at: trusted(*at), count: *flights_dropped });
        }
    }

    /// An entry goes where its time puts it.
    fn enter(&mut self, entry: DiagramEntry) {
        let later = self.entries.iter().rev().take_while(|other| other.at() > entry.at()).count();
        self.entries.insert(self.entries.len() - later, entry);
        while self.entries.len() > ENTRIES_MAX {
            if let Some(DiagramEntry::Role { rank, role, .. }) = self.entries.pop_front() {
                self.roles.retain(|(known, _)| *known != rank);
                self.roles.push((rank, role));
            }
        }
    }

    fn happened(&mut self, at: Time, rank: Rank, event: &Event) {
        if let Event::RoleChanged { to, .. } = event {
            self.enter(DiagramEntry::Role { at, rank, role: *to });
            return;
        }
        match (event, story::sentence(rank, event)) {
            (Event::ViewChanged { .. }, Some((_, text))) => self.enter(DiagramEntry::View { at, text }),
            (_, Some((tone, text))) => {
                let own = format!("server {rank} ");
                let text = text.strip_prefix(&own).unwrap_or(&text).to_owned();
                self.enter(DiagramEntry::Mark { at, rank, tone, text });
            }
            (_, None) => {}
        }
    }

    /// Somebody took a message off its way: the newest of those that say this and have not arrived.
    pub(super) fn dropped(&mut self, from: Rank, to: Rank, text: &str) {
        let arrows = self.entries.iter_mut().rev().filter_map(|entry| match entry {
            DiagramEntry::Arrow(arrow) => Some(arrow),
            _ => None,
        });
        let is_it = |arrow: &&mut Arrow| arrow.from == from && arrow.to == to && arrow.text == text;
        if let Some(arrow) = arrows.filter(is_it).find(|arrow| !arrow.lost && arrow.received.is_empty()) {
            arrow.lost = true;
        }
    }

    /// What is told beside the reports.
    pub(super) fn noted(&mut self, at: Time, rank: Rank, tone: Tone, text: String) {
        self.enter(DiagramEntry::Mark { at, rank, tone, text });
    }

    fn sent(&mut self, at: Time, from: Rank, flight: &Flight) {
        let Flight { to, kind, text, lost, .. } = flight;
        let (received, text) = (Vec::new(), text.clone());
        let arrow = Arrow { from, to: *to, kind: *kind, sent: at, received, lost: *lost, text };
        // It may have been taken in before anybody was told that it had left. (Under load many receipts wait whose
        // departure is never told: they are not moved for nothing.)
        let mut told = Vec::new();
        if self.receipts.iter().any(|(by, receipt)| arrow.is_told_by(*by, receipt)) {
            let waiting = std::mem::take(&mut self.receipts).into_iter();
            let (own, left): (Vec<_>, Vec<_>) = waiting.partition(|(by, receipt)| arrow.is_told_by(*by, receipt));
            (told, self.receipts) = (own, left.into());
        }
        self.enter(DiagramEntry::Arrow(arrow));
        for (by, receipt) in told {
            self.received(by, &receipt);
        }
    }

    /// Brings a receipt together with its departure. False when that has not been told.
    fn received(&mut self, by: Rank, receipt: &Receipt) -> bool {
        let mut told: Vec<&mut Arrow> = self
            .entries
            .iter_mut()
            .filter_map(|entry| match entry {
                DiagramEntry::Arrow(arrow) => Some(arrow),
                _ => None,
            })
            .filter(|arrow| arrow.is_told_by(by, receipt))
            .collect();
        // The first that nobody has taken in; if all were, the last of them has come again. One that left later it can
        // only be where clocks differ.
        let has_left = |arrow: &Arrow| arrow.sent <= receipt.at;
        let place = told.iter().position(|arrow| has_left(arrow) && arrow.received.is_empty());
        let place = place.or_else(|| told.iter().rposition(|arrow| has_left(arrow)));
        let place = place.or_else(|| told.iter().position(|arrow| arrow.received.is_empty()));
        let Some(arrow) = place.and_then(|place| told.get_mut(place)) else { return false };
        // Clocks of two hosts may differ.
        arrow.received.push(receipt.at.max(arrow.sent));
        true
    }

    /// What this server was before the first row.
    #[must_use]
    pub fn role_before(&self, rank: Rank) -> Option<Role> {
        self.roles.iter().find(|(known, _)| *known == rank).map(|(_, role)| *role)
    }

    /// Whether some row says what this server has become.
    #[must_use]
    pub fn is_told_of(&self, rank: Rank) -> bool {
        self.entries.iter().any(|entry| matches!(entry, DiagramEntry::Role { rank: told, .. } if *told == rank))
    }

    /// The rows, oldest first.
    #[must_use]
    pub fn rows(&self) -> Vec<DiagramRow<'_>> {
        let mut rows: Vec<DiagramRow<'_>> = self.entries.iter().flat_map(rows_of).collect();
        rows.sort_by_key(|row| (row.at(), row.class()));
        let own: Vec<(usize, &Arrow)> = rows
            .iter()
            .enumerate()
            .filter_map(|(place, row)| match row {
                DiagramRow::Receipt { arrow, at, .. } => {
                    let between = |other: &&DiagramRow| other.at() > arrow.sent && other.at() < *at;
                    let busy = rows.iter().filter(between).any(|other| other.is_at(arrow.from));
                    let again = arrow.received.first() != Some(at);
                    (busy || again).then_some((place, *arrow))
                }
                _ => None,
            })
            .collect();
        let mut departures: Vec<&Arrow> = Vec::new();
        for (place, arrow) in own {
            if let DiagramRow::Receipt { late, .. } = &mut rows[place] {
                *late = true;
            }
            if !departures.iter().any(|known| std::ptr::eq(*known, arrow)) {
                departures.push(arrow);
            }
        }
        // Where a message came twice, and its first receipt stands for its departure too, that one is a row as well.
        for arrow in &departures {
            for row in &mut rows {
                if let DiagramRow::Receipt { arrow: other, late, .. } = row
                    && std::ptr::eq(*other, *arrow)
                {
                    *late = true;
                }
            }
        }
        // In front, so that it stays above a receipt of the same moment.
        let mut rows: Vec<DiagramRow<'_>> = departures.into_iter().map(DiagramRow::Departure).chain(rows).collect();
        rows.sort_by_key(|row| (row.at(), row.class()));
        self.with_silence(rows)
    }

    fn with_silence<'a>(&'a self, rows: Vec<DiagramRow<'a>>) -> Vec<DiagramRow<'a>> {
        let mut all: Vec<DiagramRow<'a>> = Vec::with_capacity(rows.len() * 2);
        for row in rows {
            let before = all.last().map(DiagramRow::at);
            if let Some(before) = before.filter(|before| row.at().since(*before) >= SILENCE_MIN) {
                let beats = self.beats.iter().filter(|beat| **beat > before && **beat < row.at()).count();
                let lasts = row.at().since(before);
                all.push(DiagramRow::Silence { at: before, lasts, beats: beats as u64 });
            }
            all.push(row);
        }
        all
    }
}

fn rows_of(entry: &DiagramEntry) -> Vec<DiagramRow<'_>> {
    match entry {
        DiagramEntry::Arrow(arrow) if arrow.lost => vec![DiagramRow::Loss(arrow)],
        DiagramEntry::Arrow(arrow) if arrow.received.is_empty() => vec![DiagramRow::Pending(arrow)],
        DiagramEntry::Arrow(arrow) => {
            arrow.received.iter().map(|at| DiagramRow::Receipt { arrow, at: *at, late: false }).collect()
        }
        DiagramEntry::View { at, text } => vec![DiagramRow::View { at: *at, text }],
        DiagramEntry::Mark { at, rank, tone, text } => {
            vec![DiagramRow::Mark { at: *at, rank: *rank, tone: *tone, text }]
        }
        DiagramEntry::Role { at, rank, role } => vec![DiagramRow::Role { at: *at, rank: *rank, role: *role }],
        DiagramEntry::Missing { at, count } => vec![DiagramRow::Missing { at: *at, count: *count }],
    }
}

/// What is written along an arrow.
fn label(kind: MessageKind, text: &str) -> String {
    use MessageKind as M;
    let of = |key: &str| words::value(text, key).map(|value| format!("{key}={value}")).unwrap_or_default();
    let detail = match kind {
        M::Request | M::Reply => words::content(kind, text).to_owned(),
        M::Prepare | M::PrepareOk | M::Handover => of("op"),
        M::Snapshot => of("part"),
        M::SnapshotOk => of("next"),
        M::ViewIs | M::ChangeView | M::Confirm | M::StartView | M::Refused | M::Welcome => {
            let confirmed = if words::is_confirmed(text) { ", confirmed" } else { "" };
            format!("view {}{confirmed}", words::view(text).unwrap_or_default())
        }
        _ => String::new(),
    };
    let label = if detail.is_empty() { kind.to_string() } else { format!("{kind} {detail}") };
    match label.char_indices().nth(LABEL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &label[..end]),
        None => label,
    }
}
