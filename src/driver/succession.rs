//! Who takes the place of a dead process.
//!
//! Rank 0 starts replacements one after the other, in a side thread of the transport. What it has to remember about
//! that is here: who waits for a replacement, which one is under way, whom to tell, and which orders about the network
//! a rank had been given, so that its successor lives under the same conditions.

use crate::fault::Control;
use crate::protocol::{Incarnation, Rank, Time};
use crossbeam_channel::Sender;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A replacement that has not said hello after this long is not waited for any more.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(20);
/// A replacement that could not be started is tried this many times in all.
pub const TRIES_MAX: u32 = 3;
/// Every process of a server begins with a life of its own thousand: nobody knows how many lives the dead one had
/// begun without anybody hearing of it.
const LIVES_PER_PROCESS: u64 = 1_000;

/// How replacements are started.
pub struct Respawn {
    /// As soon as a process is dead, or only when asked to.
    pub automatic: bool,
    /// The arguments of the process that takes this rank's place.
    pub arguments: Box<dyn Fn(Rank) -> Vec<String>>,
}

impl std::fmt::Debug for Respawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Respawn").field("automatic", &self.automatic).finish_non_exhaustive()
    }
}

/// The first life of a process that comes after one whose last known life this was.
#[must_use]
pub fn next_process(last: Incarnation) -> Incarnation {
    Incarnation((last.0 / LIVES_PER_PROCESS + 1) * LIVES_PER_PROCESS + 1)
}

/// A replacement that is being started.
#[derive(Debug, Clone, Copy)]
pub struct UnderWay {
    /// In whose place.
    pub rank: Rank,
    /// Since when.
    pub since: Time,
    /// The process is there, and was told how to start.
    pub started: bool,
}

/// What rank 0 remembers about replacements.
#[derive(Debug, Default)]
pub struct Succession {
    waiting: VecDeque<Rank>,
    under_way: Option<UnderWay>,
    tries: BTreeMap<Rank, u32>,
    /// Who asked for a replacement, and is told when it is there.
    asked: Vec<(Rank, Sender<Result<(), String>>)>,
    /// The orders about the network and the dice that a rank is under.
    orders: BTreeMap<Rank, Vec<Control>>,
}

impl Succession {
    /// `rank` needs a replacement.
    pub fn wish(&mut self, rank: Rank) {
        let is_coming = self.under_way.is_some_and(|under_way| under_way.rank == rank);
        if !is_coming && !self.waiting.contains(&rank) {
            self.waiting.push_back(rank);
        }
    }

    /// The same, and somebody wants to be told.
    pub fn ask(&mut self, rank: Rank, answer: Sender<Result<(), String>>) {
        self.tries.remove(&rank);
        self.asked.push((rank, answer));
        self.wish(rank);
    }

    /// Whose replacement is to be started now.
    pub fn begin(&mut self, now: Time) -> Option<Rank> {
        if self.under_way.is_some() {
            return None;
        }
        let rank = self.waiting.pop_front()?;
        self.under_way = Some(UnderWay { rank, since: now, started: false });
        Some(rank)
    }

    /// The replacement that is being started.
    #[must_use]
    pub fn under_way(&self) -> Option<UnderWay> {
        self.under_way
    }

    /// The process is there.
    pub fn started(&mut self, rank: Rank) {
        if let Some(under_way) = self.under_way.as_mut().filter(|under_way| under_way.rank == rank) {
            under_way.started = true;
        }
    }

    /// It could not be started, or has not said hello. True when it will be tried again.
    pub fn failed(&mut self, rank: Rank, why: &str) -> bool {
        self.under_way = None;
        let tries = self.tries.entry(rank).or_default();
        *tries += 1;
        let again = *tries < TRIES_MAX;
        if again {
            self.waiting.push_back(rank);
        } else {
            self.tries.remove(&rank);
            self.answer(rank, &Err(why.to_owned()));
        }
        again
    }

    /// The replacement has said hello. Returns since when it was under way.
    pub fn arrived(&mut self, rank: Rank) -> Option<Time> {
        let under_way = self.under_way.take_if(|under_way| under_way.rank == rank)?;
        self.tries.remove(&rank);
        self.answer(rank, &Ok(()));
        Some(under_way.since)
    }

    fn answer(&mut self, rank: Rank, result: &Result<(), String>) {
        for (_, answer) in self.asked.extract_if(.., |(asked, _)| *asked == rank) {
            let _ = answer.send(result.clone());
        }
    }

    /// `rank` has carried out an order.
    pub fn note_order(&mut self, rank: Rank, order: &Control) {
        let orders = self.orders.entry(rank).or_default();
        match order {
            Control::Heal => orders.retain(|order| matches!(order, Control::FailureRate { .. })),
            Control::Cut { peer, .. } => {
                orders.retain(|old| !matches!(old, Control::Cut { peer: other, .. } if other == peer));
                orders.push(order.clone());
            }
            Control::Loss { .. }
            | Control::Delay { .. }
            | Control::Duplicate { .. }
            | Control::Reorder { .. }
            | Control::FailureRate { .. } => {
                orders.retain(|old| std::mem::discriminant(old) != std::mem::discriminant(order));
                orders.push(order.clone());
            }
            _ => {}
        }
    }

    /// The links that are cut by order, from → to.
    pub fn cuts(&self) -> impl Iterator<Item = (Rank, Rank)> + '_ {
        let of_rank = |(from, orders): (&Rank, &Vec<Control>)| {
            let from = *from;
            let cut = move |order: &Control| match order {
                Control::Cut { peer, cut: true } => Some((from, *peer)),
                _ => None,
            };
            orders.iter().filter_map(cut).collect::<Vec<_>>()
        };
        self.orders.iter().flat_map(of_rank)
    }

    /// What a successor has to be told.
    #[must_use]
    pub fn orders(&self, rank: Rank) -> &[Control] {
        self.orders.get(&rank).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_process_is_a_stranger_whatever_the_last_one_did() {
        assert_eq!(next_process(Incarnation(1)), Incarnation(1_001));
        assert_eq!(next_process(Incarnation(7)), Incarnation(1_001));
        assert_eq!(next_process(Incarnation(1_003)), Incarnation(2_001));
    }

    #[test]
    fn one_at_a_time_and_each_only_once() {
        let mut succession = Succession::default();
        succession.wish(Rank(1));
        succession.wish(Rank(2));
        succession.wish(Rank(1));
        assert_eq!(succession.begin(Time(5)), Some(Rank(1)));
        succession.wish(Rank(1));
        assert_eq!(succession.begin(Time(6)), None);
        assert_eq!(succession.arrived(Rank(2)), None);
        assert_eq!(succession.arrived(Rank(1)), Some(Time(5)));
        assert_eq!(succession.begin(Time(7)), Some(Rank(2)));
        assert!(succession.failed(Rank(2), "no"));
        assert_eq!(succession.begin(Time(8)), Some(Rank(2)));
    }

    #[test]
    fn a_successor_lives_under_the_orders_of_the_dead() {
        let mut succession = Succession::default();
        let cut = |cut| Control::Cut { peer: Rank(2), cut };
        for order in [cut(true), Control::Delay { ms: 5.0 }, Control::Crash, Control::Delay { ms: 6.0 }, cut(false)] {
            succession.note_order(Rank(1), &order);
        }
        assert_eq!(succession.orders(Rank(1)), [Control::Delay { ms: 6.0 }, cut(false)]);
        succession.note_order(Rank(1), &Control::FailureRate { probability: 0.5 });
        succession.note_order(Rank(1), &Control::Heal);
        assert_eq!(succession.orders(Rank(1)), [Control::FailureRate { probability: 0.5 }]);
    }
}
