//! Messages on their way: how long each travels, and which of them come late, or again.

use super::linger::Linger;
use crate::core::protocol::{Message, Rank, Time};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// A message travels at least and at most this long, in microseconds, unless a fault says otherwise.
const TRAVEL_US: std::ops::Range<u64> = 3..60;
/// What comes late or again does so after up to one of these, in microseconds: within its view, after a change of
/// view, and after several, and after the sender and the receiver may have had other lives.
const LATE_US: [u64; 4] = [2_000, 30_000, 300_000, 3_000_000];

/// One message on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Who sent it.
    pub from: Rank,
    /// Who gets it.
    pub to: Rank,
    /// The message.
    pub message: Message,
    /// When it left its sender.
    left: Time,
    /// It is late, or comes again: others overtake it.
    stray: bool,
}

/// How likely it is that a message goes astray.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stray {
    /// It comes in time, and once more later.
    pub again: f64,
    /// It comes late.
    pub late: f64,
}

/// All links.
#[derive(Debug)]
pub struct Network {
    flying: BTreeMap<(Time, u64), Delivery>,
    /// Messages keep their order on a link, as MPI's do.
    last_arrival: BTreeMap<(Rank, Rank), Time>,
    sent: u64,
    stray: Stray,
    chances: ChaCha8Rng,
    /// How many went astray so far, and when the last of them arrives.
    strayed: (u64, Time),
    linger: Option<Linger>,
}

impl Network {
    /// Links on which nothing is under way.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chances = ChaCha8Rng::seed_from_u64(seed);
        chances.set_stream(u64::MAX - 1);
        let (flying, last_arrival) = (BTreeMap::new(), BTreeMap::new());
        let (stray, strayed) = (Stray::default(), Default::default());
        Self { flying, last_arrival, sent: 0, stray, chances, strayed, linger: None }
    }

    /// Messages on their way.
    #[must_use]
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// Messages go astray as often as this from now on.
    pub fn set_stray(&mut self, stray: Stray) {
        self.stray = stray;
    }

    /// When the last message arrives that went astray.
    #[must_use]
    pub fn strays_until(&self) -> Time {
        self.strayed.1
    }

    /// How many messages went astray.
    #[must_use]
    pub fn strayed(&self) -> u64 {
        self.strayed.0
    }

    /// A message leaves its sender at this time; `rng` decides how long it travels.
    pub fn send(&mut self, left: Time, from: Rank, to: Rank, message: Message, rng: &mut ChaCha8Rng) {
        let travel = Duration::from_micros(rng.random_range(TRAVEL_US));
        if self.lingers(left, from, to, &message) {
            return;
        }
        if self.stray != Stray::default() {
            let drawn = self.chances.random::<f64>();
            let Stray { again, late } = self.stray;
            if drawn < again + late {
                let wait = Duration::from_micros(self.late_us());
                let delivery = Delivery { from, to, message: message.clone(), left, stray: true };
                self.strayed = (self.strayed.0 + 1, self.strayed.1.max(left + wait));
                self.fly(left + wait, delivery);
            }
            if drawn < late {
                return;
            }
        }
        let last = self.last_arrival.entry((from, to)).or_default();
        let arrival = (left + travel).max(*last);
        *last = arrival;
        self.fly(arrival, Delivery { from, to, message, left, stray: false });
    }

    /// From now on acknowledgements linger, or no longer.
    pub(super) fn set_linger(&mut self, linger: Option<Linger>) {
        self.linger = linger;
    }

    /// True when this message is held back and does not come in time. What was held back comes when a new view or a
    /// new life begins.
    fn lingers(&mut self, left: Time, from: Rank, to: Rank, message: &Message) -> bool {
        let Some(linger) = &mut self.linger else { return false };
        let (due, held) = linger.pass(Delivery { from, to, message: message.clone(), left, stray: true });
        self.come_late(left, due);
        held
    }

    fn come_late(&mut self, now: Time, due: impl IntoIterator<Item = (Duration, Delivery)>) {
        for (wait, late) in due {
            self.strayed = (self.strayed.0 + 1, self.strayed.1.max(now + wait));
            self.fly(now + wait, late);
        }
    }

    /// All that lingers between two servers comes within this time.
    pub(super) fn recall(&mut self, now: Time, from: Rank, to: Rank, most: Duration) {
        let due = self.linger.as_mut().map(|linger| linger.recall(from, to, most));
        self.come_late(now, due.unwrap_or_default());
    }

    /// The words with which the newest view has begun between two servers come once more.
    pub(super) fn begin_again(&mut self, now: Time, from: Rank, to: Rank) {
        let again = self.linger.as_ref().and_then(|linger| linger.begin_again(from, to));
        self.come_late(now, again.map(|again| (Duration::ZERO, again)));
    }

    fn late_us(&mut self) -> u64 {
        let most = LATE_US[self.chances.random_range(0..LATE_US.len())];
        self.chances.random_range(1_000..most)
    }

    fn fly(&mut self, arrival: Time, delivery: Delivery) {
        self.sent += 1;
        self.flying.insert((arrival, self.sent), delivery);
    }

    /// When the next message arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Time {
        self.flying.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at)
    }

    /// Takes the message that arrives next.
    pub fn arrive(&mut self) -> Option<Delivery> {
        self.flying.pop_first().map(|(_, delivery)| delivery)
    }

    /// What is on its way, in the order in which it arrives: when, its number, from where, to where, and what.
    pub fn underway(&self) -> impl Iterator<Item = (Time, u64, Rank, Rank, &Message)> {
        self.flying.iter().map(|((at, number), delivery)| {
            let Delivery { from, to, message, .. } = delivery;
            (*at, *number, *from, *to, message)
        })
    }

    /// What has left its sender by now and has not arrived: to where, and what.
    pub fn departed(&self, now: Time) -> impl Iterator<Item = (Rank, &Message)> {
        let departed = self.flying.values().filter(move |delivery| delivery.left <= now);
        departed.map(|delivery| (delivery.to, &delivery.message))
    }

    fn take_one(&mut self, number: u64) -> Option<(Time, Delivery)> {
        let key = self.flying.keys().find(|(_, known)| *known == number).copied()?;
        self.flying.remove(&key).map(|delivery| (key.0, delivery))
    }

    /// It never arrives. False when it is not on its way.
    pub fn drop_one(&mut self, number: u64) -> bool {
        self.take_one(number).is_some()
    }

    /// It arrives at another time, whatever it overtakes.
    pub fn move_one(&mut self, number: u64, to: impl FnOnce(Time) -> Time) -> bool {
        let Some((arrival, delivery)) = self.take_one(number) else { return false };
        self.flying.insert((to(arrival), number), Delivery { stray: true, ..delivery });
        true
    }

    /// It arrives, and once more so much later.
    pub fn double_one(&mut self, number: u64, later: Duration) -> bool {
        let Some((arrival, delivery)) = self.take_one(number) else { return false };
        self.flying.insert((arrival, number), delivery.clone());
        self.fly(arrival + later, Delivery { stray: true, ..delivery });
        true
    }

    /// What would reach this rank up to then comes right after it, in the same order.
    pub fn hold_back(&mut self, to: Rank, until: Time) {
        let after = until + Duration::from_nanos(1);
        let early = self.flying.extract_if(.., |(at, _), delivery| delivery.to == to && *at < after);
        let held: Vec<((Time, u64), Delivery)> = early.collect();
        for ((_, number), delivery) in held {
            let last = self.last_arrival.entry((delivery.from, to)).or_default();
            *last = after.max(*last);
            self.flying.insert((after, number), delivery);
        }
    }

    /// The sender dies now: what it has not sent yet will never leave.
    pub fn die(&mut self, from: Rank, now: Time) {
        self.flying.retain(|_, delivery| delivery.from != from || delivery.left <= now);
        self.find_last();
    }

    /// What was to leave later leaves now: its sender is no longer held up.
    pub fn hurry(&mut self, now: Time) {
        self.last_arrival.clear();
        for ((arrival, number), mut delivery) in std::mem::take(&mut self.flying) {
            let mut arrival = arrival;
            if !delivery.stray {
                let last = self.last_arrival.entry((delivery.from, delivery.to)).or_default();
                arrival = Time(arrival.0 - delivery.left.0.saturating_sub(now.0)).max(*last);
                *last = arrival;
            }
            delivery.left = delivery.left.min(now);
            self.flying.insert((arrival, number), delivery);
        }
    }

    /// Everything that is under way is lost.
    pub fn clear(&mut self) {
        self.flying.clear();
        self.last_arrival.clear();
    }

    fn find_last(&mut self) {
        self.last_arrival.clear();
        for ((arrival, _), delivery) in self.flying.iter().filter(|(_, delivery)| !delivery.stray) {
            self.last_arrival.insert((delivery.from, delivery.to), *arrival);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    /// Sends this many messages from rank 1 to rank 2, all leaving then.
    fn send(network: &mut Network, count: u64, left: Time) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..count).for_each(|_| network.send(left, Rank(1), Rank(2), Message::GetView, &mut rng));
    }

    fn arrivals(network: &mut Network) -> Vec<Time> {
        std::iter::from_fn(|| Some(network.next_arrival()).filter(|_| network.arrive().is_some())).collect()
    }

    #[test]
    fn messages_go_astray_as_often_as_they_should() {
        let mut network = Network::new(7);
        network.set_stray(Stray { again: 0.1, late: 0.1 });
        send(&mut network, 10_000, ms(1));
        assert!((1_800..2_200).contains(&network.strayed()), "{}", network.strayed());
        let last = network.strays_until();
        assert!(last > ms(2_500) && last < ms(3_002), "{last}");
        let arrivals = arrivals(&mut network);
        assert!((10_900..11_100).contains(&arrivals.len()), "{}", arrivals.len());
        assert_eq!(arrivals.last(), Some(&last));
        assert!(arrivals.iter().filter(|at| **at < ms(2)).count() >= 8_900);
    }

    #[test]
    fn what_has_not_left_dies_with_its_sender_or_hurries() {
        let mut network = Network::new(7);
        send(&mut network, 3, ms(1));
        send(&mut network, 5, ms(900));
        network.hurry(ms(2));
        assert_eq!(network.flying(), 8);
        send(&mut network, 1, ms(3));
        send(&mut network, 4, ms(800));
        network.die(Rank(1), ms(4));
        send(&mut network, 1, ms(5));
        let arrivals = arrivals(&mut network);
        assert_eq!(arrivals.len(), 10);
        assert!(arrivals.is_sorted() && arrivals[9] < ms(6), "{arrivals:?}");
    }
}
