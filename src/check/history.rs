//! One client operation as the client saw it.

use crate::core::protocol::{Completion, Outcome, Time};
use crate::core::store::{ClientId, Command, Seq};
use std::fmt;

/// An operation with its call and its return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: ClientId,
    /// The client's number of the request.
    pub seq: Seq,
    /// Counts `RESET`s: histories of different epochs are separate.
    pub epoch: u32,
    /// What was asked.
    pub command: Command,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was asked.
    pub call: Time,
    /// When it was answered; `None` when it never was, and may take effect at any time.
    pub returned: Option<Time>,
}

impl Operation {
    /// The operation that a client has just finished.
    #[must_use]
    pub fn new(completion: Completion) -> Self {
        let Completion { client, seq, command, outcome, call, returned, epoch } = completion;
        let returned = (outcome != Outcome::Unknown).then_some(returned);
        Self { client, seq, epoch, command, outcome, call, returned }
    }
}

impl From<Operation> for Completion {
    fn from(operation: Operation) -> Self {
        let Operation { client, seq, epoch, command, outcome, call, returned } = operation;
        Self { client, seq, command, outcome, call, returned: returned.unwrap_or(call), epoch }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}#{} {} ", self.client, self.seq, self.command)?;
        match (&self.outcome, self.returned) {
            (Outcome::Done(reply), Some(returned)) => write!(f, "→ {reply}  [{} – {returned}]", self.call),
            _ => write!(f, "→ (unknown)  [{} – …]", self.call),
        }
    }
}
