//! A lodger in the loop of a rank: something that asks the cluster on behalf of others, such as a door. One lives on
//! rank 0; further ones on client ranks, and they talk to each other.
//!
//! The loop hands it time, outcomes and how the cluster is, and takes its commands; it hears of new work by a
//! descriptor that a sleeping loop waits for as well. Nothing here may wait.

pub use crate::core::node::doors::{DoorFigures, DoorWord, Facts, ServerFacts, Sight};
use crate::core::protocol::{Outcome, Rank, Time};
use crate::core::store::{Command, Seq};
use rustix::fd::OwnedFd;
use std::sync::Arc;

/// Who lives in a rank's loop and asks the cluster.
pub trait Lodger {
    /// Can be read when there is something to do.
    fn bell(&self) -> Arc<OwnedFd>;

    /// How the cluster is; told now and then.
    fn tell(&mut self, facts: Facts);

    /// Takes in what others want, and does what is due. True when there was anything to do.
    fn receive(&mut self, now: Time) -> bool;

    /// The next command for the cluster, if there is one; it will have this number there.
    fn next_command(&mut self, seq: Seq) -> Option<Command>;

    /// What has become of a command. False when it was not one of its own.
    fn answered(&mut self, now: Time, seq: Seq, outcome: &Outcome) -> bool;

    /// Hands out what it has to say.
    fn send(&mut self);

    /// At this moment there is something to do in any case.
    fn deadline(&self) -> Time;

    /// How much it has to do.
    fn figures(&self) -> DoorFigures;

    /// The next word for other lodgers: for that one, or for all.
    fn next_word(&mut self) -> Option<(Option<Rank>, DoorWord)>;

    /// Takes in what the lodger on another rank says.
    fn hear(&mut self, now: Time, from: Rank, word: DoorWord);

    /// The lodger on that rank is gone.
    fn forget(&mut self, now: Time, rank: Rank);
}
