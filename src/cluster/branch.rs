//! What has happened otherwise: where time is virtual, whoever acts in the past begins a branch, and the others are
//! kept.

use crate::core::protocol::Time;
use std::fmt;

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its number, from 0: the first needs no act.
    pub number: usize,
    /// What it is called.
    pub name: String,
    /// The name of the one that it left, and when.
    pub from: Option<(String, Time)>,
    /// What was done first in it.
    pub what: Option<String>,
    /// How far it has come.
    pub until: Time,
    /// It is the one that goes on.
    pub is_here: bool,
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, from, what, until, is_here, .. } = self;
        let seconds = |at: &Time| format!("{:.3} s", at.since(Time(0)).as_secs_f64());
        let sign = if *is_here { '*' } else { ' ' };
        write!(f, "{sign} {name:<8} up to {}", seconds(until))?;
        if let Some((before, at)) = from {
            write!(f, ", left {before} at {}", seconds(at))?;
        }
        what.as_ref().map_or(Ok(()), |what| write!(f, ": {what}"))
    }
}
