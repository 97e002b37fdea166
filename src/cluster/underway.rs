//! What is on its way, where that can be seen.

use crate::core::protocol::Rank;
use std::fmt;
use std::time::Duration;

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underway {
    /// Its number, while nothing moves.
    pub number: u64,
    /// Who sent it.
    pub from: Rank,
    /// To whom.
    pub to: Rank,
    /// The message in the common notation.
    pub text: String,
    /// It arrives after so long.
    pub arrives_in: Duration,
}

impl fmt::Display for Underway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, text, arrives_in, .. } = self;
        write!(f, "{from} → {to} {text}, arrives in {} µs", arrives_in.as_micros())
    }
}
