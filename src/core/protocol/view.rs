//! Ranks, members and views.

use crate::number;
use serde::{Deserialize, Serialize};
use std::fmt;

number! {
    /// An MPI rank. Rank 0 is console and metadata server, 1..=N are servers, then come further clients.
    Rank(u32)
}
number! {
    /// Which life of a server this is: new at every (re)start, so a restarted server is a stranger.
    Incarnation(u64)
}
number! {
    /// The number of a view; never repeats, also not across a `RESET`.
    ViewNumber(u64)
}

/// The rank of the metadata server and the console.
pub const METADATA: Rank = Rank(0);

/// One life of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Where it runs.
    pub rank: Rank,
    /// Which life it is.
    pub incarnation: Incarnation,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.rank, self.incarnation)
    }
}

/// Who holds the data, and who of them is in charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// One higher than the view before.
    pub number: ViewNumber,
    /// Counts the `RESET`s: every epoch starts with empty stores.
    pub epoch: u32,
    /// The one that answers.
    pub primary: Member,
    /// Those whose acknowledgement every write needs, in rank order.
    pub backups: Vec<Member>,
}

impl View {
    /// Primary and backups.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        std::iter::once(self.primary).chain(self.backups.iter().copied())
    }

    /// True when this very life of the server belongs to the view.
    #[must_use]
    pub fn contains(&self, member: Member) -> bool {
        self.members().any(|m| m == member)
    }

    /// The member on `rank`, whichever life.
    #[must_use]
    pub fn member_on(&self, rank: Rank) -> Option<Member> {
        self.members().find(|m| m.rank == rank)
    }

    /// The view after this one, with these members.
    #[must_use]
    pub fn successor(&self, primary: Member, backups: impl IntoIterator<Item = Member>) -> View {
        let mut backups: Vec<Member> = backups.into_iter().collect();
        backups.sort_unstable();
        backups.dedup();
        assert!(!backups.contains(&primary), "{primary} cannot be its own backup");
        View { number: self.number.next(), epoch: self.epoch, primary, backups }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view {} primary {} backups ", self.number, self.primary.rank)?;
        if self.backups.is_empty() {
            return f.write_str("none");
        }
        for (i, backup) in self.backups.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { "," } else { "" }, backup.rank)?;
        }
        Ok(())
    }
}
