//! What happens, line by line, in the common notation.
//!
//! ```text
//! n1@3 → n2 Prepare op=7 commit=6 c0#7 PUT a 1      rank 1, in view 3, sends to rank 2
//! n1@3 ⇥ n2 Prepare op=7 commit=6 c0#7 PUT a 1      the same, lost on purpose
//! n2@3 backup ⇨ n2@4 primary                        a change of role, with the views before and after
//! n2@4 serves view 4 from op 7                      anything else that a node tells
//! ─ crash 1                                         what was done to the cluster
//! ```

use crate::core::protocol::{Event, Message, Rank, Time, ViewNumber};
use std::fmt;

/// How much of what happens is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// Nothing: the fastest.
    Nothing,
    /// The last lines, without heartbeats and announcements.
    Recent,
    /// Everything since the last look.
    Everything,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// When.
    pub at: Time,
    /// On which rank.
    pub rank: Rank,
    /// The newest view it knew before.
    pub before: ViewNumber,
    /// The newest view it knows now.
    pub view: ViewNumber,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// It sent a message.
    Sent { to: Rank, message: Message },
    /// It sent a message that was lost on purpose.
    Lost { to: Rank, message: Message },
    /// It told something.
    Told(Event),
    /// Somebody did something to the cluster.
    Done(String),
}

impl Happening {
    /// True for what is sent at regular intervals.
    #[must_use]
    pub fn is_background(&self) -> bool {
        matches!(&self.what, What::Sent { message, .. } | What::Lost { message, .. } if message.is_background())
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, before, view, .. } = self;
        match &self.what {
            What::Sent { to, message } => write!(f, "n{rank}@{view} → n{to} {message}"),
            What::Lost { to, message } => write!(f, "n{rank}@{view} ⇥ n{to} {message}"),
            What::Told(Event::RoleChanged { from, to, view }) => {
                write!(f, "n{rank}@{before} {from} ⇨ n{rank}@{view} {to}")
            }
            What::Told(event) => write!(f, "n{rank}@{view} {event}"),
            What::Done(what) => write!(f, "─ {what}"),
        }
    }
}
