//! Who takes the place of a dead process.
//!
//! What rank 0 has to remember about that: which spares sleep, who waits for a replacement, which ones are on their
//! way, whom to tell, and which orders about the network a rank had been given, so that its successor lives under the
//! same conditions.

use crate::core::fault::Control;
use crate::core::protocol::{Incarnation, Rank, Time};
use crate::mpi::transport::{Process, ProcessEnd};
use crossbeam_channel::Sender;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A replacement that has not said hello after this long is killed, and the next one takes its place.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// This many processes in a row that end by themselves before their first word are enough: the next would do the same.
pub const FAILURES_MAX: u32 = 3;
/// This many in a row that are killed before it: somebody, or the system for want of memory, does not want any.
pub const KILLED_MAX: u32 = 100;
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

/// A replacement on its way: from being chosen or started until it says hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// Which process.
    pub process: Process,
    /// Since when.
    pub since: Time,
}

/// A process that sleeps until it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spare {
    /// Its pid.
    pub pid: u32,
    /// It is on rank 0's host.
    pub local: bool,
}

/// What rank 0 remembers about replacements.
#[derive(Debug, Default)]
pub struct Succession {
    /// Those that have said hello, by number.
    pub spares: BTreeMap<Process, Spare>,
    waiting: VecDeque<Rank>,
    under_way: BTreeMap<Rank, UnderWay>,
    /// How many in a row have ended, or were killed, before their first word.
    failures: BTreeMap<Rank, (u32, u32)>,
    /// The last life that a process of this rank was told to begin with, whether it was heard of or not.
    given: BTreeMap<Rank, Incarnation>,
    /// Who asked for a replacement, and is told when it is there.
    asked: Vec<(Rank, Sender<Result<(), String>>)>,
    /// The orders about the network and the dice that a rank is under.
    orders: BTreeMap<Rank, Vec<Control>>,
}

impl Succession {
    /// `rank` needs a replacement.
    pub fn wish(&mut self, rank: Rank) {
        if !self.under_way.contains_key(&rank) && !self.waiting.contains(&rank) {
            self.waiting.push_back(rank);
        }
    }

    /// The same, and somebody wants to be told.
    pub fn ask(&mut self, rank: Rank, answer: Sender<Result<(), String>>) {
        self.failures.remove(&rank);
        self.asked.push((rank, answer));
        self.wish(rank);
    }

    /// Whose replacement is to be started now.
    pub fn take_next(&mut self) -> Option<Rank> {
        self.waiting.pop_front()
    }

    /// The life that the next process of `rank` begins with, if `last` is the last that was heard of.
    pub fn give(&mut self, rank: Rank, last: Incarnation) -> Incarnation {
        let given = self.given.entry(rank).or_insert(Incarnation(0));
        *given = next_process(last.max(*given));
        *given
    }

    /// The first life of the rank's process, as far as it was given here.
    #[must_use]
    pub fn given(&self, rank: Rank) -> Incarnation {
        self.given.get(&rank).copied().unwrap_or(Incarnation(0))
    }

    /// This process is on its way.
    pub fn begun(&mut self, rank: Rank, process: Process, now: Time) {
        self.under_way.insert(rank, UnderWay { process, since: now });
    }

    /// The replacement of `rank` that is on its way.
    #[must_use]
    pub fn under_way(&self, rank: Rank) -> Option<UnderWay> {
        self.under_way.get(&rank).copied()
    }

    /// All ranks whose replacement is on its way.
    pub fn all_under_way(&self) -> impl Iterator<Item = Rank> + '_ {
        self.under_way.keys().copied()
    }

    /// In whose place this process is on its way.
    #[must_use]
    pub fn rank_of(&self, process: Process) -> Option<Rank> {
        self.under_way.iter().find(|(_, under_way)| under_way.process == process).map(|(rank, _)| *rank)
    }

    /// A replacement that takes too long.
    #[must_use]
    pub fn late(&self, now: Time) -> Option<Rank> {
        let is_late = |under_way: &UnderWay| now.since(under_way.since) > HELLO_DEADLINE;
        self.under_way.iter().find(|(_, under_way)| is_late(under_way)).map(|(rank, _)| *rank)
    }

    /// It could not be started, or has died before its first word. True when the next one follows at once.
    pub fn failed(&mut self, rank: Rank, end: &ProcessEnd) -> bool {
        self.under_way.remove(&rank);
        let (ended, killed) = self.failures.entry(rank).or_default();
        *ended += u32::from(!end.killed);
        *killed += u32::from(end.killed);
        let again = *ended < FAILURES_MAX && *killed < KILLED_MAX;
        if again {
            self.waiting.push_front(rank);
        } else {
            self.failures.remove(&rank);
            self.answer(rank, &Err(end.how.clone()));
        }
        again
    }

    /// The replacement has said hello. Returns since when it was under way.
    pub fn arrived(&mut self, rank: Rank) -> Option<Time> {
        let under_way = self.under_way.remove(&rank)?;
        self.failures.remove(&rank);
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
    fn no_life_is_given_twice_whether_it_was_heard_of_or_not() {
        let mut succession = Succession::default();
        assert_eq!(succession.give(Rank(1), Incarnation(3)), Incarnation(1_001));
        assert_eq!(succession.give(Rank(1), Incarnation(3)), Incarnation(2_001));
        assert_eq!(succession.give(Rank(1), Incarnation(5_002)), Incarnation(6_001));
        assert_eq!(succession.give(Rank(2), Incarnation(1)), Incarnation(1_001));
    }

    #[test]
    fn each_rank_has_one_replacement_on_its_way_and_the_next_follows_at_once() {
        let mut succession = Succession::default();
        for rank in [1, 2, 1] {
            succession.wish(Rank(rank));
        }
        assert_eq!(
            [succession.take_next(), succession.take_next(), succession.take_next()],
            [Some(Rank(1)), Some(Rank(2)), None]
        );
        succession.begun(Rank(1), Process(5), Time(5));
        succession.begun(Rank(2), Process(6), Time(6));
        succession.wish(Rank(1));
        assert_eq!(succession.take_next(), None);
        assert_eq!((succession.rank_of(Process(6)), succession.rank_of(Process(7))), (Some(Rank(2)), None));
        assert_eq!(succession.arrived(Rank(1)), Some(Time(5)));
        assert_eq!(succession.arrived(Rank(1)), None);
        assert!(succession.failed(Rank(2), &killed(true)));
        assert_eq!(succession.take_next(), Some(Rank(2)));
        succession.begun(Rank(2), Process(7), Time(8));
        assert_eq!(succession.late(Time(8) + HELLO_DEADLINE), None);
        assert_eq!(succession.late(Time(9) + HELLO_DEADLINE), Some(Rank(2)));
    }

    #[test]
    fn who_asked_is_told_when_there_is_no_use_in_another_try() {
        let mut succession = Succession::default();
        for kills in 0..FAILURES_MAX + 3 {
            assert!(succession.failed(Rank(1), &killed(true)), "{kills} kills say nothing about the program");
        }
        let (answer, answered) = crossbeam_channel::bounded(1);
        succession.ask(Rank(1), answer);
        assert!((1..FAILURES_MAX).all(|_| succession.failed(Rank(1), &killed(false))));
        assert!(answered.is_empty());
        assert!(!succession.failed(Rank(1), &killed(false)));
        assert_eq!(answered.try_recv(), Ok(Err("its end".to_owned())));
    }

    fn killed(killed: bool) -> ProcessEnd {
        ProcessEnd { how: "its end".to_owned(), killed }
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
