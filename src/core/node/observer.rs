//! Collects what a rank has to tell, bounded in size and rate, and never in the way of the data path.

use super::brief::brief;
use crate::core::protocol::observation::{
    OBSERVATION_IDLE_INTERVAL_MS, OBSERVATION_INTERVAL_MS, OBSERVED_BEATS_MAX, OBSERVED_EVENTS_MAX,
    OBSERVED_FLIGHTS_MAX, OBSERVED_RECEIPTS_MAX,
};
use crate::core::protocol::{
    Event, Flight, KeyView, Message, MessageKind, Observation, Rank, Receipt, ServerStatus, Time,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Of heartbeats and other background messages, one a link is told this often.
const BACKGROUND_SAMPLE_MS: u64 = 1_000;
/// This many reports may follow each other at once; then they come at intervals. So each hop of what happens by itself
/// is told as it happens, and before what follows from it, and under load a report is still one of few.
const AT_ONCE_MAX: u32 = 16;
/// And this many more, when there is an event to tell.
const AT_ONCE_EVENTS_MAX: u32 = 10;
/// A message's text is cut to this many characters.
pub const FLIGHT_TEXT_CHARS: usize = 80;

/// What has happened since the last report.
#[derive(Debug)]
pub struct Observer {
    rank: Rank,
    pid: u32,
    enabled: bool,
    events: Vec<(Time, Event)>,
    events_dropped: u64,
    flights: Vec<Flight>,
    flights_dropped: u64,
    receipts: Vec<Receipt>,
    beats: Vec<Time>,
    background_told: BTreeMap<(Rank, MessageKind), Time>,
    last_report: Option<Time>,
    /// If every report had kept its interval, the next would be due then.
    paced: Time,
    /// Something is worth a report before the idle interval is over.
    news: bool,
}

impl Observer {
    /// An observer for `rank` in process `pid`; a disabled one costs a branch.
    #[must_use]
    pub fn new(rank: Rank, pid: u32, enabled: bool) -> Self {
        Self {
            rank,
            pid,
            enabled,
            events: Vec::new(),
            events_dropped: 0,
            flights: Vec::new(),
            flights_dropped: 0,
            receipts: Vec::new(),
            beats: Vec::new(),
            background_told: BTreeMap::new(),
            last_report: None,
            paced: Time::default(),
            news: true,
        }
    }

    /// Something happened.
    pub fn event(&mut self, now: Time, event: &Event) {
        if !self.enabled {
            return;
        }
        self.news = true;
        if self.events.len() < OBSERVED_EVENTS_MAX {
            self.events.push((now, event.clone()));
        } else {
            self.events_dropped += 1;
        }
    }

    /// A message was sent, or lost on purpose.
    pub fn sent(&mut self, now: Time, to: Rank, message: &Message, lost: bool) {
        if !self.enabled || to == self.rank {
            return;
        }
        if message.kind() == MessageKind::Heartbeat && !lost && self.beats.last() != Some(&now) {
            // One for all backups.
            self.beats.extend((self.beats.len() < OBSERVED_BEATS_MAX).then_some(now));
        }
        if message.is_background() {
            let told = self.background_told.entry((to, message.kind())).or_default();
            if now.since(*told) < Duration::from_millis(BACKGROUND_SAMPLE_MS) && *told != Time::default() {
                return;
            }
            *told = now;
        } else {
            self.news = true;
        }
        if self.flights.len() == OBSERVED_FLIGHTS_MAX {
            self.flights_dropped += 1;
            return;
        }
        let text = brief(message, FLIGHT_TEXT_CHARS);
        self.flights.push(Flight { at: now, to, kind: message.kind(), text, lost });
    }

    /// A message was taken in. That alone is no news: what comes of it is. What comes at regular intervals is not kept.
    pub fn received(&mut self, now: Time, from: Rank, message: &Message) {
        if self.enabled && !message.is_background() && self.receipts.len() < OBSERVED_RECEIPTS_MAX {
            let text = brief(message, FLIGHT_TEXT_CHARS);
            self.receipts.push(Receipt { at: now, from, kind: message.kind(), text });
        }
    }

    /// True when there is anything to tell that does not wait for the idle interval.
    #[must_use]
    pub fn has_words(&self) -> bool {
        self.news || !self.receipts.is_empty()
    }

    /// True when something has happened since the last report that is worth a look.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// Something outside changed that the next report should show soon.
    pub fn touch(&mut self) {
        self.news = true;
    }

    /// When the next report is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if !self.enabled {
            return Time::NEVER;
        }
        let Some(last) = self.last_report else { return Time::default() };
        if !self.has_words() {
            return last + Duration::from_millis(OBSERVATION_IDLE_INTERVAL_MS);
        }
        let more = if self.events.is_empty() { 0 } else { AT_ONCE_EVENTS_MAX };
        let ahead = Duration::from_millis(OBSERVATION_INTERVAL_MS) * (AT_ONCE_MAX + more);
        self.paced - ahead
    }

    /// The report that is due now, if one is. `state` is asked only then.
    pub fn report(
        &mut self,
        now: Time,
        state: impl FnOnce() -> (Option<ServerStatus>, Vec<KeyView>, bool),
    ) -> Option<Observation> {
        if now < self.deadline() {
            return None;
        }
        Some(self.report_now(now, state))
    }

    /// A report without waiting.
    pub fn report_now(
        &mut self,
        now: Time,
        state: impl FnOnce() -> (Option<ServerStatus>, Vec<KeyView>, bool),
    ) -> Observation {
        let (server, keys, keys_cleared) = state();
        self.last_report = Some(now);
        // Reports that were asked for do not keep those back for ever that nobody asks for.
        let interval = Duration::from_millis(OBSERVATION_INTERVAL_MS);
        let latest = now + interval * (AT_ONCE_MAX + AT_ONCE_EVENTS_MAX);
        self.paced = (self.paced.max(now) + interval).min(latest);
        self.news = false;
        Observation {
            rank: self.rank,
            pid: self.pid,
            at: now,
            server,
            events: std::mem::take(&mut self.events),
            events_dropped: std::mem::take(&mut self.events_dropped),
            flights: std::mem::take(&mut self.flights),
            flights_dropped: std::mem::take(&mut self.flights_dropped),
            receipts: std::mem::take(&mut self.receipts),
            beats: std::mem::take(&mut self.beats),
            keys,
            keys_cleared,
            turns: None,
        }
    }
}
