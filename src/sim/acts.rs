//! Single acts: one message on its way is dropped, held, delivered or doubled; one timer fires before anything else is
//! heard. All of it is what a network may do, so with all rules on nothing comes of it that must not.

use super::World;
use crate::cluster::Underway;
use crate::core::fault::Meddling;
use crate::core::node::brief::brief;
use crate::core::node::observer::FLIGHT_TEXT_CHARS;
use crate::core::protocol::{Rank, Time};
use std::time::Duration;

/// What is held arrives so much later: after a change of view.
const HELD_FOR: Duration = Duration::from_millis(150);
/// What is doubled comes again after so long.
const AGAIN_AFTER: Duration = Duration::from_millis(1);
/// A timer that is due later than this is not worth waiting for.
const TIMER_MAX: Duration = Duration::from_secs(10);

impl World {
    /// The messages on their way, in the order in which they arrive; with those of the background, or without.
    #[must_use]
    pub fn underway(&self, background: bool) -> Vec<Underway> {
        let flying = self.network().underway().filter(|(.., message)| background || !message.is_background());
        let told = flying.map(|(arrival, number, from, to, message)| Underway {
            number,
            from,
            to,
            text: brief(message, FLIGHT_TEXT_CHARS),
            arrives_in: arrival.since(self.now()),
        });
        told.collect()
    }

    /// Does this to the message with this number. False when it is not on its way.
    pub fn meddle(&mut self, number: u64, how: Meddling) -> bool {
        let now = self.now();
        let network = self.network_mut();
        match how {
            Meddling::Drop => network.drop_one(number),
            Meddling::Hold => network.move_one(number, |arrival| arrival + HELD_FOR),
            Meddling::Deliver => network.move_one(number, |_| now),
            Meddling::Double => network.double_one(number, AGAIN_AFTER),
        }
    }

    /// Lets time pass until the next timer of this rank is due and has fired; whatever is on its way to it meanwhile
    /// comes after that.
    ///
    /// # Errors
    /// When it has none.
    pub fn fire(&mut self, rank: Rank) -> Result<(), String> {
        let due = self.timer(rank).max(self.now());
        if due == Time::NEVER || due.since(self.now()) > TIMER_MAX {
            return Err(format!("rank {rank} waits for no timer now"));
        }
        self.network_mut().hold_back(rank, due);
        while self.step(due) {
            self.network_mut().hold_back(rank, due);
        }
        Ok(())
    }
}
