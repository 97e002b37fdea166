//! How long a silence must be before it means something: that depends on the weather.
//!
//! On a quiet machine with a fast network a peer that says nothing for [`Timing::silence`] is dead. Where other
//! programs want the processors too, everybody is late now and then; where the network is slow, a lease has half
//! ended when it arrives. So every server keeps two measures, and takes the longest of three silences:
//!
//! | measure | how | silence |
//! |---|---|---|
//! | | | [`Timing::silence`], at least |
//! | lateness | the longest gap between two words of a peer, the server's own late turns included; also the gap that ends when one speaks who was suspected wrongly. Remembered for [`Timing::memory`], twice at most. Longer gaps than [`Timing::busy_max`] are stops, which say nothing of the weather | twice the gap, at most [`Timing::busy_max`] |
//! | round trip | the shortest of the last moments, so that a busy machine does not count; the primary measures it, and tells its backups in every heartbeat | three times as long, at most [`Timing::slow_max`] |
//!
//! # Why that is safe
//!
//! Nobody has to agree with anybody. A backup grants a lease that is shorter than its own silence by the margin for the
//! clocks ([`Timing::lease_of`]), says in the grant how long it is, and keeps to what it promised whatever its silence
//! becomes afterwards: before [`Promise::until`] it asks for no view without the primary. A longer silence of a primary
//! is only ever slower.

use crate::core::protocol::{Rank, Time, Timing};
use std::collections::BTreeMap;
use std::time::Duration;

/// The silence is this many times the longest gap between two words.
const GAPS: u32 = 2;
/// The silence is this many times the round trip: a lease must outlive its way here, and the way of the next one.
const ROUND_TRIPS: u32 = 3;
/// A round trip is forgotten when it is older than one or two of these many retry intervals.
const ROUND_TRIP_RETRIES: u32 = 12;

/// What a server has learnt of the weather.
#[derive(Debug, Clone, Default)]
pub(super) struct Weather {
    /// The longest gap since then, and the longest of as long a time before.
    gap: Duration,
    gap_before: Duration,
    since: Time,
    /// To ranks that are far away.
    round_trips: BTreeMap<Rank, RoundTrip>,
    /// Those that were suspected in this view or the one before it, and when they were last heard.
    suspects: BTreeMap<Rank, Time>,
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    shortest: Duration,
    shortest_before: Duration,
    since: Time,
}

impl RoundTrip {
    fn known(self) -> Duration {
        self.shortest.min(self.shortest_before)
    }
}

impl Weather {
    /// A peer spoke after it had said nothing for so long.
    pub(super) fn note_gap(&mut self, timing: &Timing, now: Time, gap: Duration) {
        // What changes nothing is not remembered.
        if gap * GAPS <= timing.silence || gap > timing.busy_max {
            return;
        }
        if now.since(self.since) >= timing.memory {
            self.gap_before = if now.since(self.since) < timing.memory * 2 { self.gap } else { Duration::ZERO };
            (self.gap, self.since) = (Duration::ZERO, now);
        }
        self.gap = self.gap.max(gap);
    }

    /// A peer is suspected that was heard last at this time.
    pub(super) fn note_suspect(&mut self, timing: &Timing, rank: Rank, heard: Time) {
        if timing.busy_max > timing.silence {
            self.suspects.insert(rank, heard);
        }
    }

    /// A word of an older view: if it comes from one that was suspected, the suspicion was wrong.
    pub(super) fn note_old_word(&mut self, timing: &Timing, now: Time, rank: Rank) {
        if let Some(heard) = self.suspects.remove(&rank) {
            self.note_gap(timing, now, now.since(heard));
        }
    }

    /// A message to this rank was answered after so long. What took longer than anything that is waited for was a stop:
    /// it says nothing of the network, and nobody would repeat anything soon enough to find out.
    pub(super) fn note_round_trip(&mut self, timing: &Timing, now: Time, rank: Rank, took: Duration) {
        if took * ROUND_TRIPS <= timing.silence || timing.slow_max <= timing.silence {
            self.round_trips.remove(&rank);
            return;
        }
        if took > timing.slow_max {
            return;
        }
        let fresh = RoundTrip { shortest: took, shortest_before: took, since: now };
        let known = self.round_trips.entry(rank).or_insert(fresh);
        if now.since(known.since) >= timing.retry * ROUND_TRIP_RETRIES {
            *known = RoundTrip { shortest: took, shortest_before: known.shortest, since: now };
        }
        known.shortest = known.shortest.min(took);
    }

    /// The other side has measured the round trip.
    pub(super) fn learn_round_trip(&mut self, timing: &Timing, now: Time, rank: Rank, measured: Duration) {
        self.round_trips.remove(&rank);
        self.note_round_trip(timing, now, rank, measured);
    }

    /// The round trip to this rank; zero if it is of no account.
    pub(super) fn round_trip(&self, rank: Rank) -> Duration {
        self.round_trips.get(&rank).map_or(Duration::ZERO, |known| known.known())
    }

    /// A peer on this rank that has said nothing for longer is suspected.
    pub(super) fn silence(&self, timing: &Timing, now: Time, rank: Rank) -> Duration {
        let age = now.since(self.since);
        let gap = if age < timing.memory {
            self.gap.max(self.gap_before)
        } else if age < timing.memory * 2 {
            self.gap
        } else {
            Duration::ZERO
        };
        let busy = (gap * GAPS).min(timing.busy_max);
        let slow = (self.round_trip(rank) * ROUND_TRIPS).min(timing.slow_max);
        timing.silence.max(busy).max(slow)
    }

    /// The same for one that has never been heard: nothing is known of the way to it.
    pub(super) fn first_silence(&self, timing: &Timing, now: Time, rank: Rank) -> Duration {
        self.silence(timing, now, rank).max(timing.first_word)
    }

    /// What was said to this rank is said again after this long.
    pub(super) fn retry(&self, timing: &Timing, rank: Rank) -> Duration {
        timing.retry.max((self.round_trip(rank) * 2).min(timing.slow_max / 4))
    }
}

/// What a server owes to the primaries to which it has granted leases.
///
/// It is the server's own, not its role's, and outlives views: whatever comes, as long as this life lasts it asks for
/// no view without its primary before the end of the longest promise that it has given to anybody. (Only a primary
/// that hands over, or is dead for certain, is followed at once: neither serves anybody any more.) So a lease by
/// itself would be as good in a later view as in the one in which it was granted. That those of older views are
/// refused with everything else of an older view is for the rest of what they say: which writes a server has, which it
/// may have thrown away since. A promise ends with the life that gave it; and to another process than the one that it
/// was granted to a lease means nothing, for that one's clock says since when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Promise {
    /// Before this it asks for no view without the primary.
    pub(super) until: Time,
}

impl Promise {
    /// Grants a lease `now`, to one that is suspected after such a silence. Tells how long it is.
    pub(super) fn grant(&mut self, timing: &Timing, now: Time, silence: Duration) -> Duration {
        self.until = self.until.max(now + silence);
        timing.lease_of(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Rank = Rank(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn gaps_are_remembered_for_a_minute_or_two_and_stops_are_none() {
        let (timing, mut weather) = (Timing::default(), Weather::default());
        let silence = |weather: &Weather, now| weather.silence(&timing, at(now), PEER);
        weather.note_gap(&timing, at(100), ms(25));
        assert_eq!(silence(&weather, 100), ms(50), "an ordinary gap");
        weather.note_gap(&timing, at(100), ms(30));
        assert_eq!(silence(&weather, 100), ms(60));
        weather.note_gap(&timing, at(200), ms(201));
        assert_eq!(silence(&weather, 200), ms(60), "a stop");
        weather.note_gap(&timing, at(300), ms(150));
        assert_eq!(silence(&weather, 300), ms(200), "bounded");
        weather.note_gap(&timing, at(70_000), ms(40));
        assert_eq!(silence(&weather, 70_000), ms(200), "of the minute before");
        weather.note_gap(&timing, at(131_000), ms(28));
        assert_eq!(silence(&weather, 131_000), ms(80));
        assert_eq!(silence(&weather, 195_000), ms(56));
        assert_eq!(silence(&weather, 260_000), ms(50));
    }

    #[test]
    fn a_long_calm_leaves_nothing_of_the_minute_before() {
        let (timing, mut weather) = (Timing::default(), Weather::default());
        weather.note_gap(&timing, at(0), ms(100));
        weather.note_gap(&timing, at(300_000), ms(30));
        assert_eq!(weather.silence(&timing, at(300_000), PEER), ms(60));
    }

    #[test]
    fn who_was_suspected_and_speaks_was_only_late() {
        let (timing, mut weather) = (Timing::default(), Weather::default());
        weather.note_old_word(&timing, at(60), PEER);
        weather.note_suspect(&timing, PEER, at(100));
        weather.note_old_word(&timing, at(170), Rank(3));
        assert_eq!(weather.silence(&timing, at(170), PEER), ms(50));
        weather.note_old_word(&timing, at(170), PEER);
        assert_eq!(weather.silence(&timing, at(170), PEER), ms(140));
    }

    #[test]
    fn the_shortest_round_trip_of_the_last_moments_counts() {
        let (timing, mut weather) = (Timing::default(), Weather::default());
        weather.note_round_trip(&timing, at(0), PEER, ms(100));
        weather.note_round_trip(&timing, at(10), PEER, ms(80));
        weather.note_round_trip(&timing, at(20), PEER, ms(120));
        assert_eq!(weather.silence(&timing, at(20), PEER), ms(240));
        assert_eq!(weather.silence(&timing, at(20), Rank(3)), ms(50), "the way to another");
        assert_eq!((weather.retry(&timing, PEER), weather.retry(&timing, Rank(3))), (ms(160), ms(20)));
        weather.note_round_trip(&timing, at(300), PEER, ms(150));
        weather.note_round_trip(&timing, at(600), PEER, ms(150));
        assert_eq!(weather.round_trip(PEER), ms(150), "the network has become slower");
        weather.note_round_trip(&timing, at(610), PEER, ms(500));
        weather.learn_round_trip(&timing, at(610), PEER, ms(500));
        assert_eq!(weather.silence(&timing, at(610), PEER), timing.slow_max);
        assert_eq!(weather.retry(&timing, PEER), ms(250), "bounded, for patience doubles");
        weather.note_round_trip(&timing, at(615), Rank(3), ms(5_000));
        assert_eq!(weather.round_trip(Rank(3)), ms(0), "a host that slept");
        weather.note_round_trip(&timing, at(620), PEER, ms(1));
        assert_eq!(weather.silence(&timing, at(620), PEER), ms(50), "and fast again");
        assert_eq!(weather.first_silence(&timing, at(620), PEER), timing.first_word);
    }

    #[test]
    fn a_promise_is_kept_whatever_the_silence_becomes() {
        let (timing, mut promise) = (Timing::default(), Promise::default());
        assert_eq!(promise.grant(&timing, at(10), ms(200)), ms(160));
        assert_eq!(promise.grant(&timing, at(20), ms(50)), ms(40));
        assert_eq!(promise.until, at(210));
        assert_eq!(promise.grant(&timing, at(190), ms(50)), ms(40));
        assert_eq!(promise.until, at(240));
    }
}
