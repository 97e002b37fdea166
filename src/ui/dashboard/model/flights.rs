//! Messages under way, slowed so that an eye can follow.
//!
//! A message takes microseconds; on the screen it takes more than half a second. Reports of one `PUT`
//! arrive within one interval, so the messages that follow from each other are started one after the
//! other: request, Prepare, acknowledgement, answer. Under load most messages are not drawn: a track
//! (one direction of one link) carries a few at a time, the rest only count. Lost ones are always drawn.

use super::{FRAME, words};
use crate::core::protocol::{Flight, MessageKind, Rank, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// At most this many messages are in the air at once.
pub const FLIGHTS_MAX: usize = 48;
/// At most this many of them on one track.
pub const FLIGHTS_PER_TRACK_MAX: usize = 3;
/// A message flies for this long.
pub const FLIGHT_TIME: Duration = Duration::from_millis(560);
/// A lost one ends half way and stays there for this long.
pub const WRECK_TIME: Duration = Duration::from_millis(700);
/// A message that follows from another starts this much after it.
const STAGE: Duration = Duration::from_millis(420);
/// Two messages on one track keep this distance.
const SPACING: Duration = Duration::from_millis(110);
/// A picture that stands shows a message so long after its start.
const IN_THE_AIR: Duration = Duration::from_millis(340);
/// And stands after this long, whatever is still to start.
const STANDS_MAX: Duration = Duration::from_millis(2_500);
/// Heartbeats seen this recently tick.
const HEARD_RECENTLY: Duration = Duration::from_millis(1_600);
/// Once a second, for this long.
const TICK: Duration = Duration::from_millis(250);
const TICK_EVERY: Duration = Duration::from_secs(1);

/// What sort of message: gives it its sign and its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlightKind {
    /// Client → primary.
    Request,
    /// Primary → backup: a write.
    Prepare,
    /// The acknowledgements.
    Ok,
    /// Primary → client.
    Reply,
    /// A join and the state that it brings.
    State,
    /// Who is who.
    View,
    /// At regular intervals, whether or not anything happens.
    Heartbeat,
}

impl FlightKind {
    /// How a message of this sort is shown.
    #[must_use]
    pub fn of(kind: MessageKind) -> Self {
        use MessageKind as M;
        match kind {
            M::Request => Self::Request,
            M::Prepare => Self::Prepare,
            M::PrepareOk | M::SnapshotOk => Self::Ok,
            M::Reply => Self::Reply,
            M::Join | M::Snapshot => Self::State,
            M::Heartbeat | M::HeartbeatOk | M::Announce | M::Held | M::Welcome => Self::Heartbeat,
            M::NotPrimary | M::Refused | M::Relay | M::StartOver => Self::View,
            M::GetView | M::ViewIs | M::ChangeView | M::Confirm | M::Retire | M::Retired => Self::View,
            M::StartView | M::StartViewOk | M::Handover => Self::View,
        }
    }

    /// True for heartbeats.
    #[must_use]
    pub fn is_background(self) -> bool {
        self == Self::Heartbeat
    }
}

/// A message in the air.
#[derive(Debug, Clone, PartialEq)]
pub struct Flying {
    /// From where.
    pub from: Rank,
    /// To where.
    pub to: Rank,
    /// What sort.
    pub kind: FlightKind,
    /// A word or two to fly beside it where there is room.
    pub label: String,
    /// A fault swallowed it.
    pub lost: bool,
    launched: Time,
    starts: Time,
    /// In a picture that stands, messages fly on while all clocks stand.
    ahead: Duration,
}

impl Flying {
    /// How far it is, 0 to 1; `None` before the start and after the end.
    #[must_use]
    pub fn progress(&self, now: Time) -> Option<f64> {
        let now = now + self.ahead;
        if now < self.starts || now >= self.ends() {
            return None;
        }
        let share = now.since(self.starts).as_secs_f64() / FLIGHT_TIME.as_secs_f64();
        Some(if self.lost { share.min(0.5) } else { share.min(1.0) })
    }

    /// A lost message that has come to its end.
    #[must_use]
    pub fn is_wreck(&self, now: Time) -> bool {
        self.lost && (now + self.ahead).since(self.starts) >= FLIGHT_TIME / 2
    }

    fn ends(&self) -> Time {
        self.starts + if self.lost { FLIGHT_TIME / 2 + WRECK_TIME } else { FLIGHT_TIME }
    }
}

/// All messages in the air.
#[derive(Debug, Clone)]
pub struct Flights {
    flying: Vec<Flying>,
    heard: BTreeMap<(Rank, Rank), Time>,
    left_out: u64,
}

impl Flights {
    pub(super) fn new() -> Self {
        Self { flying: Vec::new(), heard: BTreeMap::new(), left_out: 0 }
    }

    pub(super) fn launch(&mut self, now: Time, from: Rank, flight: &Flight) {
        let kind = FlightKind::of(flight.kind);
        if kind.is_background() && !flight.lost {
            self.heard.insert((from, flight.to), now);
            return;
        }
        if kind.is_background() && self.on_track(from, flight.to).any(|f| f.lost) {
            return; // On a cut link one lost heartbeat at a time says enough.
        }
        let busy = self.on_track(from, flight.to).count() >= FLIGHTS_PER_TRACK_MAX;
        if (busy || self.flying.len() >= FLIGHTS_MAX) && !self.make_room(from, flight) {
            self.left_out += 1;
            return;
        }
        let behind = self.on_track(from, flight.to).map(|f| f.starts + SPACING).max();
        let starts = (now + self.stage(now, from, flight.kind)).max(behind.unwrap_or(now));
        let label = label(kind, flight);
        self.flying.push(Flying {
            from,
            to: flight.to,
            kind,
            label,
            lost: flight.lost,
            launched: now,
            starts,
            ahead: Duration::ZERO,
        });
    }

    /// A lost message takes the place of one that arrived.
    fn make_room(&mut self, from: Rank, flight: &Flight) -> bool {
        let on_track = |f: &Flying| f.from == from && f.to == flight.to;
        match self.flying.iter().position(|f| flight.lost && !f.lost && on_track(f)) {
            Some(place) => {
                self.flying.remove(place);
                true
            }
            None => false,
        }
    }

    /// How long a message waits for those that it follows from.
    fn stage(&self, now: Time, from: Rank, kind: MessageKind) -> Duration {
        use MessageKind as M;
        match kind {
            M::Prepare | M::StartView | M::Refused | M::NotPrimary | M::Snapshot | M::ViewIs => STAGE,
            M::PrepareOk | M::SnapshotOk | M::StartViewOk => STAGE * 2,
            M::Reply => {
                let wrote = self.flying.iter().any(|f| {
                    f.kind == FlightKind::Prepare
                        && f.from == from
                        && now.since(f.starts) < STAGE
                        && f.starts + STAGE > now
                });
                if wrote { STAGE * 3 } else { STAGE }
            }
            _ => Duration::ZERO,
        }
    }

    fn on_track(&self, from: Rank, to: Rank) -> impl Iterator<Item = &Flying> {
        self.flying.iter().filter(move |f| f.from == from && f.to == to)
    }

    /// Keeps only what was launched at or after `since`, and starts it now. Gives how long after that the picture may
    /// stand: all of it is in the air, or was.
    pub(super) fn stand(&mut self, since: Time) -> Duration {
        self.flying.retain(|f| f.launched >= since);
        let wait = self.flying.iter().map(|f| f.starts.since(since)).min().unwrap_or_default();
        for flying in &mut self.flying {
            flying.starts = flying.starts - wait;
        }
        let last = self.flying.iter().map(|f| f.starts.since(since)).max();
        last.map_or(Duration::ZERO, |last| (last + IN_THE_AIR).min(STANDS_MAX))
    }

    /// Lets the messages fly on for this long in all, while the clocks stand.
    pub(super) fn fly_on(&mut self, ahead: Duration) {
        self.flying.iter_mut().for_each(|flying| flying.ahead = ahead);
    }

    pub(super) fn land(&mut self, now: Time) {
        self.flying.retain(|f| now + f.ahead < f.ends());
    }

    pub(super) fn still_for(&self, now: Time, started: Time) -> Duration {
        let under_way = self.flying.iter().filter(|f| now + f.ahead < f.ends());
        let next = under_way.map(|f| f.starts.since(now + f.ahead).max(FRAME)).min();
        let mut still = next.unwrap_or(Duration::MAX);
        if self.heard.values().any(|at| now.since(*at) < HEARD_RECENTLY) {
            let phase = phase(now, started);
            still = still.min(if phase < TICK { TICK - phase } else { TICK_EVERY - phase });
        }
        still
    }

    /// The messages to draw, those that started first below the later ones.
    #[must_use]
    pub fn in_the_air(&self) -> &[Flying] {
        &self.flying
    }

    /// True while the track from `from` to `to` shows that heartbeats pass: briefly, once a second,
    /// on all tracks at once.
    #[must_use]
    pub fn ticks(&self, from: Rank, to: Rank, now: Time, started: Time) -> bool {
        phase(now, started) < TICK && self.heard.get(&(from, to)).is_some_and(|at| now.since(*at) < HEARD_RECENTLY)
    }
}

fn phase(now: Time, started: Time) -> Duration {
    Duration::from_nanos(u64::from(now.since(started).subsec_nanos()))
}

/// What flies beside the sign: the name, and the op number if there is one.
fn label(kind: FlightKind, flight: &Flight) -> String {
    match (kind, words::value(&flight.text, "op")) {
        (FlightKind::Prepare | FlightKind::Ok, Some(op)) => format!("{} op={op}", flight.kind),
        _ => flight.kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame is due when the next message starts by the time that the messages have, not by that of the clocks.
    #[test]
    fn a_picture_whose_clocks_stand_is_still_until_the_next_message_starts() {
        let now = Time(1_000_000_000);
        let mut flights = Flights::new();
        let sent = |kind| Flight { at: now, to: Rank(2), kind, text: kind.to_string(), lost: false };
        flights.launch(now, Rank(1), &sent(MessageKind::Prepare));
        assert_eq!(flights.still_for(now, now), STAGE);
        flights.fly_on(STAGE - FRAME * 2);
        assert_eq!(flights.still_for(now, now), FRAME * 2);
        flights.fly_on(STAGE + FLIGHT_TIME);
        assert_eq!(flights.still_for(now, now), Duration::MAX, "it has arrived, and nothing moves");
    }
}
