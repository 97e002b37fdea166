//! How a server is, in one word: the same in `STATUS`, on its card, and for whoever completes a line.

use crate::core::protocol::{Member, Rank, Role, ServerStatus, View};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a server is: the role it reported, or what is known better from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Has not reported yet.
    Starting,
    /// Its process is gone.
    Dead,
    /// Crashed: no memory, no answers.
    Down,
    /// Stopped, with its memory.
    Paused,
    /// Alive and empty, not needed.
    Idle,
    /// Receiving the state.
    Joining,
    /// Acknowledges every write.
    Backup,
    /// Answers the clients.
    Primary,
    /// Takes itself for the primary, and the view says otherwise: it has not heard of it.
    OldPrimary,
    /// Takes itself for a backup, and the view says otherwise.
    OldBackup,
}

impl Standing {
    /// How the server on `rank` is by its last report, where neither the operating system nor an operator knows better.
    #[must_use]
    pub fn reported(rank: Rank, status: Option<&ServerStatus>, view: Option<&View>) -> Self {
        let Some(status) = status else { return Self::Starting };
        if status.paused {
            return Self::Paused;
        }
        let member = Member { rank, incarnation: status.incarnation };
        Self::of(status.role, view.is_some_and(|view| contradicts(status.role, member, view)))
    }

    /// A role, or what it is where the view says otherwise.
    #[must_use]
    pub fn of(role: Role, is_behind: bool) -> Self {
        match role {
            Role::Primary if is_behind => Self::OldPrimary,
            Role::Backup if is_behind => Self::OldBackup,
            Role::Primary => Self::Primary,
            Role::Backup => Self::Backup,
            Role::Joining => Self::Joining,
            Role::Idle => Self::Idle,
            Role::Down => Self::Down,
        }
    }

    /// In capitals; with a question mark for what the view contradicts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Dead => "DEAD",
            Self::Down => "DOWN",
            Self::Paused => "PAUSED",
            Self::Idle => "IDLE",
            Self::Joining => "JOINING",
            Self::Backup => "BACKUP",
            Self::Primary => "PRIMARY",
            Self::OldPrimary => "PRIMARY?",
            Self::OldBackup => "BACKUP?",
        }
    }

    /// Crashed or dead: it can be recovered, and cannot be crashed.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Dead | Self::Down)
    }

    /// It has not heard of the view.
    #[must_use]
    pub fn is_behind(self) -> bool {
        matches!(self, Self::OldPrimary | Self::OldBackup)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether a server that takes itself for this has not heard of `view`.
fn contradicts(role: Role, member: Member, view: &View) -> bool {
    match role {
        Role::Primary => view.primary != member,
        Role::Backup => !view.contains(member),
        Role::Down | Role::Idle | Role::Joining => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Incarnation, ViewNumber};

    #[test]
    fn a_role_that_the_view_contradicts_is_doubted() {
        let member = |rank, incarnation| Member { rank: Rank(rank), incarnation: Incarnation(incarnation) };
        let view = View { number: ViewNumber(4), epoch: 1, primary: member(2, 1), backups: vec![member(3, 7)] };
        let word = |role, rank, incarnation| {
            Standing::of(role, contradicts(role, member(rank, incarnation), &view)).to_string()
        };
        assert_eq!(word(Role::Primary, 2, 1), "PRIMARY");
        assert_eq!(word(Role::Primary, 1, 1), "PRIMARY?");
        assert_eq!(word(Role::Primary, 3, 7), "PRIMARY?", "it is a backup now");
        assert_eq!(word(Role::Backup, 3, 7), "BACKUP");
        assert_eq!(word(Role::Backup, 3, 6), "BACKUP?");
        // It will take over in a moment: it has the data.
        assert_eq!(word(Role::Backup, 2, 1), "BACKUP");
        assert_eq!(word(Role::Joining, 1, 1), "JOINING");
        assert_eq!(Standing::reported(Rank(1), None, Some(&view)), Standing::Starting);
    }
}
