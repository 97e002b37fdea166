//! Where a node's messages leave: past the injected faults of the network, and past the observer.

use super::Outputs;
use super::observer::Observer;
use crate::core::fault::{Control, Fate, Links};
use crate::core::protocol::{Message, Outbox, Rank, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most messages held back at once by injected delays; further ones are lost.
const DELAYED_MAX: usize = 65_536;

/// The way out of one rank.
#[derive(Debug)]
pub struct Outlet {
    rank: Rank,
    links: Links,
    delayed: BTreeMap<(Time, u64), (Rank, Message)>,
    sent: u64,
    /// How many messages have left.
    left: u64,
    /// What was lost on purpose, with the number that had left before; kept only for those who ask for detail.
    lost: Option<Vec<(u64, Rank, Message)>>,
    /// What is told about it.
    pub observer: Observer,
}

impl Outlet {
    /// Perfect links.
    #[must_use]
    pub fn new(rank: Rank, seed: u64, observer: Observer) -> Self {
        let (links, delayed) = (Links::new(seed, u64::from(rank.0)), BTreeMap::new());
        Self { rank, links, delayed, sent: 0, left: 0, lost: None, observer }
    }

    /// Starts to keep what is lost on purpose, for [`Outlet::take_lost`].
    pub fn keep_lost(&mut self) {
        self.lost.get_or_insert_default();
    }

    /// True when something has happened since the last report that is worth a look.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.observer.has_news()
    }

    /// True when there is anything to tell that does not wait long.
    #[must_use]
    pub fn has_words(&self) -> bool {
        self.observer.has_words()
    }

    /// What was lost on purpose since the last call, each with the number of messages that left before it
    /// since this rank began, and that number now.
    pub fn take_lost(&mut self) -> (Vec<(u64, Rank, Message)>, u64) {
        (self.lost.as_mut().map(std::mem::take).unwrap_or_default(), self.left)
    }

    /// Hands on everything in `outbox`: events (the observer hears of them), and messages, unless faults meet them.
    pub fn drain(&mut self, now: Time, outbox: &mut Outbox, out: &mut Outputs) {
        for event in outbox.events.drain(..) {
            self.observer.event(now, &event);
            out.events.push(event);
        }
        let perfect = self.links.are_perfect();
        for (to, message) in outbox.sends.drain(..) {
            if perfect || to == self.rank {
                self.observer.sent(now, to, &message, false);
                self.left += u64::from(to != self.rank);
                out.sends.push((to, message));
            } else {
                self.send_through_faults(now, to, message, out);
            }
        }
    }

    fn send_through_faults(&mut self, now: Time, to: Rank, message: Message, out: &mut Outputs) {
        let fate = self.links.decide(to);
        let full = self.delayed.len() >= DELAYED_MAX;
        let lost = fate == Fate::Lost || full;
        self.observer.sent(now, to, &message, lost);
        match fate {
            _ if lost => {
                let left = self.left;
                self.lost.iter_mut().for_each(|kept| kept.push((left, to, message.clone())));
            }
            Fate::Lost => {}
            Fate::After(Duration::ZERO) => {
                self.left += 1;
                out.sends.push((to, message));
            }
            Fate::After(wait) => self.hold(now + wait, to, message),
            Fate::Twice(first, second) => {
                self.hold(now + first, to, message.clone());
                self.hold(now + second, to, message);
            }
        }
    }

    fn hold(&mut self, until: Time, to: Rank, message: Message) {
        self.sent += 1;
        self.delayed.insert((until, self.sent), (to, message));
    }

    /// Sends what was held back long enough.
    pub fn release(&mut self, now: Time, out: &mut Outputs) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                return;
            }
            let (to, message) = first.remove();
            self.left += 1;
            out.sends.push((to, message));
        }
    }

    /// What is held back by injected delays: to where, and what.
    pub fn held_back(&self) -> impl Iterator<Item = (Rank, &Message)> {
        self.delayed.values().map(|(to, message)| (*to, message))
    }

    /// When [`Outlet::release`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.delayed.first_key_value().map_or(Time::NEVER, |((due, _), _)| *due)
    }

    /// Carries out an order about the network; `false` when it is about something else.
    pub fn control(&mut self, control: &Control) -> bool {
        match control {
            Control::Cut { peer, cut } => self.links.set_cut(*peer, *cut),
            Control::Loss { probability } => self.links.conditions_mut().loss = *probability,
            Control::Delay { ms } => {
                self.links.conditions_mut().delay = Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
            }
            Control::Duplicate { probability } => self.links.conditions_mut().duplicate = *probability,
            Control::Reorder { probability } => self.links.conditions_mut().reorder = *probability,
            Control::Heal => self.links.heal(),
            _ => return false,
        }
        self.observer.touch();
        true
    }
}
