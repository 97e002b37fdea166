//! What rank 0 tells: one stream, from which screen, line mode and judges take what they show.

use crate::core::fault::Control;
use crate::core::load::Report;
use crate::core::protocol::{Completion, Observation, Rank, Time};
use crate::core::store::ClientId;
use std::time::Duration;

/// What the console is told.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A rank's report.
    Observation(Box<Observation>),
    /// The client sent a request.
    Asked { at: Time, command: String },
    /// The client's request ended. Without words when nobody wants to see single requests.
    Answered { at: Time, command: String, reply: String, took: Duration },
    /// Requests of a client ended; what it still has running was asked at or after `running_since`.
    Finished { client: ClientId, completions: Vec<Completion>, running_since: Time },
    /// A rank's process has ended.
    Gone { rank: Rank },
    /// A rank's process was stopped, or goes on.
    Stopped { rank: Rank, stopped: bool },
    /// An order about the network was carried out by a rank.
    Network { rank: Rank, control: Control },
    /// How the load of all clients goes.
    Load(Box<Report>),
    /// Why nobody is served, or that somebody is again.
    Why(Option<String>),
    /// Which rules of the protocol are switched off, in words; `None` when all are in force.
    Unsafe(Option<String>),
}
