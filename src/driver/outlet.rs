//! Where a node's messages leave: past the injected faults of the network, and past the observer.

use super::observer::Observer;
use crate::fault::{Control, Fate, Links};
use crate::protocol::{Event, Message, Outbox, Rank, Time};
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
    /// What is told about it.
    pub observer: Observer,
}

impl Outlet {
    /// Perfect links.
    #[must_use]
    pub fn new(rank: Rank, seed: u64, observer: Observer) -> Self {
        Self { rank, links: Links::new(seed, u64::from(rank.0)), delayed: BTreeMap::new(), sent: 0, observer }
    }

    /// Hands on everything in `outbox`, events to the observer (and to `tell`), messages to `emit` or to their fate.
    pub fn drain(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        emit: &mut dyn FnMut(Rank, Message),
        tell: &mut dyn FnMut(&Event),
    ) {
        for event in outbox.events.drain(..) {
            self.observer.event(now, &event);
            tell(&event);
        }
        let perfect = self.links.are_perfect();
        for (to, message) in outbox.sends.drain(..) {
            if perfect || to == self.rank {
                self.observer.sent(now, to, &message, false);
                emit(to, message);
            } else {
                self.send_through_faults(now, to, message, emit, tell);
            }
        }
    }

    fn send_through_faults(
        &mut self,
        now: Time,
        to: Rank,
        message: Message,
        emit: &mut dyn FnMut(Rank, Message),
        tell: &mut dyn FnMut(&Event),
    ) {
        let fate = self.links.decide(to);
        let full = self.delayed.len() >= DELAYED_MAX;
        let lost = fate == Fate::Lost || full;
        self.observer.sent(now, to, &message, lost);
        match fate {
            // The display has it from the observer; this is for logs and transcripts.
            _ if lost && !message.is_background() => tell(&Event::Lost { to, message: message.to_string() }),
            _ if lost => {}
            Fate::Lost => {}
            Fate::After(Duration::ZERO) => emit(to, message),
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
    pub fn release(&mut self, now: Time, emit: &mut dyn FnMut(Rank, Message)) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                return;
            }
            let (to, message) = first.remove();
            emit(to, message);
        }
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
