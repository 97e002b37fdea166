//! Newtypes for the numbers that must never be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a number with a name of its own: ordered, small, printed as the bare number.
#[macro_export]
#[doc(hidden)]
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number that follows.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("numbers do not run out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A client's own number of a request, consecutive from 1.
    Seq(u64)
}
number! {
    /// The place of a write in the one order of all writes, consecutive from 1; 0 is the empty store.
    OpNumber(u64)
}

/// A client: one of those on a rank, in one of the lives of that rank's process.
///
/// ```text
///    63        44 43        24 23          0
///   ┌────────────┬────────────┬─────────────┐
///   │    rank    │ incarnation│   number    │   so a rank's clients lie side by side, older lives first
///   └────────────┴────────────┴─────────────┘
/// ```
///
/// As a number, and so wherever it is written, the rank comes last: the first client of a rank in its first life is
/// the number of the rank. It is printed as its rank, or with its number behind that when it is not the first:
/// `3`, `3.1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct ClientId(u64);

const NUMBER_BITS: u32 = 24;
const INCARNATION_BITS: u32 = 20;
const RANK_BITS: u32 = 20;
const _: () = assert!(RANK_BITS + INCARNATION_BITS + NUMBER_BITS == u64::BITS);

impl ClientId {
    /// The highest rank on which a client may live.
    pub const RANK_MAX: u32 = (1 << RANK_BITS) - 1;
    /// The highest incarnation of a client's rank; a process that is started more often keeps it.
    pub const INCARNATION_MAX: u64 = (1 << INCARNATION_BITS) - 1;
    /// The highest number of a client on its rank, in one life.
    pub const NUMBER_MAX: u32 = (1 << NUMBER_BITS) - 1;
    /// Nobody's: what a primary writes of its own accord. Nothing is remembered of it, and nobody is answered.
    pub const PRIMARY: Self = Self::from_number(u32::MAX as u64);

    /// The first client on a rank, in its first life.
    ///
    /// # Panics
    /// Beyond [`ClientId::RANK_MAX`].
    #[must_use]
    pub const fn on(rank: u32) -> Self {
        assert!(rank <= Self::RANK_MAX, "clients live on the first million ranks");
        Self((rank as u64) << (u64::BITS - RANK_BITS))
    }

    /// The client of this number in the rank's life `incarnation`, both from 0.
    ///
    /// # Panics
    /// Beyond [`ClientId::NUMBER_MAX`], and as [`ClientId::on`].
    #[must_use]
    pub const fn new(rank: u32, incarnation: u64, number: u32) -> Self {
        assert!(number <= Self::NUMBER_MAX, "numbers of clients do not run out");
        let incarnation = if incarnation > Self::INCARNATION_MAX { Self::INCARNATION_MAX } else { incarnation };
        Self(Self::on(rank).0 | incarnation << NUMBER_BITS | number as u64)
    }

    /// The rank it lives on.
    #[must_use]
    pub const fn rank(self) -> u32 {
        (self.0 >> (u64::BITS - RANK_BITS)) as u32
    }

    /// In which life of its rank.
    #[must_use]
    pub const fn incarnation(self) -> u64 {
        self.0 >> NUMBER_BITS & Self::INCARNATION_MAX
    }

    /// Which of the clients there.
    #[must_use]
    pub const fn number(self) -> u32 {
        (self.0 & Self::NUMBER_MAX as u64) as u32
    }

    /// The last one there can be on a rank.
    pub(super) const fn last_on(rank: u32) -> Self {
        Self::new(rank, Self::INCARNATION_MAX, Self::NUMBER_MAX)
    }

    /// The last one there can be in the lives of its rank before this one.
    pub(super) fn last_of_the_life_before(self) -> Option<Self> {
        let before = self.incarnation().checked_sub(1)?;
        Some(Self::new(self.rank(), before, Self::NUMBER_MAX))
    }

    /// The one that comes next on the same rank.
    pub(super) fn next_on_rank(self) -> Option<Self> {
        self.0.checked_add(1).map(Self).filter(|next| next.rank() == self.rank())
    }

    const fn from_number(number: u64) -> Self {
        Self(number.rotate_right(RANK_BITS))
    }
}

impl From<u64> for ClientId {
    fn from(number: u64) -> Self {
        Self::from_number(number)
    }
}

impl From<ClientId> for u64 {
    fn from(client: ClientId) -> Self {
        client.0.rotate_left(RANK_BITS)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            _ if *self == Self::PRIMARY => f.pad("primary"),
            0 => self.rank().fmt(f),
            number => write!(f, "{}.{number}", self.rank()),
        }
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({}@{}.{})", self.rank(), self.incarnation(), self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_rank_a_life_and_a_number() {
        let all =
            [(3, 0, 0), (3, 0, 1), (3, 0, ClientId::NUMBER_MAX), (3, 1, 0), (4, 0, 0), (ClientId::RANK_MAX, 7, 9)];
        let ids = all.map(|(rank, incarnation, number)| ClientId::new(rank, incarnation, number));
        assert_eq!(ids.map(|id| (id.rank(), id.incarnation(), id.number())), all);
        assert!(ids.is_sorted(), "a rank's clients lie side by side, older lives first");
        assert_eq!(ids.map(|id| ClientId::from(u64::from(id))), ids);
        assert_eq!(ids[..4].iter().map(ClientId::to_string).collect::<Vec<_>>(), ["3", "3.1", "3.16777215", "3"]);
        assert_eq!(ClientId::new(3, u64::MAX, 0).incarnation(), ClientId::INCARNATION_MAX);
        assert_eq!((size_of::<ClientId>(), ClientId::PRIMARY.to_string().as_str()), (8, "primary"));
    }

    #[test]
    fn the_first_client_of_a_rank_is_written_as_the_rank() {
        assert_eq!([0, 3, 70_000].map(|rank| u64::from(ClientId::on(rank))), [0, 3, 70_000]);
        let bytes = |client: ClientId| postcard::to_stdvec(&client).expect("a number can be encoded");
        assert_eq!((bytes(ClientId::on(3)), bytes(ClientId::new(3, 0, 1)).len()), (vec![3], 3));
        assert_eq!(bytes(ClientId::PRIMARY), bytes(ClientId::from(u64::from(u32::MAX))));
        for client in [ClientId::PRIMARY, ClientId::new(3, 9, 7)] {
            assert_eq!(postcard::from_bytes(&bytes(client)), Ok(client));
        }
    }
}
