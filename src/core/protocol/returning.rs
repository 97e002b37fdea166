//! The whole cluster was down, and comes back: whose disk leads?
//!
//! The metadata server has on its own disk which view was the last. Whoever was a member of it has everything that was
//! ever acknowledged, in its log of the highest view: not in the longest log, for what is in that may have been pushed
//! aside by a later view. So the servers tell what they have ([`Held`]), and:
//!
//! * when all members of the last view are back, the one with the highest view, and in it the newest write, leads;
//! * when what is acknowledged is on the disk first (`--fsync always`), one of them is enough, after a moment's wait;
//! * otherwise all of them are waited for, until an operator says that those that are there must do.
//!
//! When the metadata server's own disk is gone, all servers are waited for.
//!
//! When everything stopped between the decision on the first view of an epoch and its first record on a server's disk,
//! nobody was ever answered in that epoch. One member of the last view proves that if its log shows that this life of
//! it has not installed any view of the epoch ([`Returning::is_stillborn`]): who joins later has written that before it
//! counts, and who was there from the first view on has been waited for ever since. Then the servers start over by
//! themselves.

use super::message::{Held, Shelf};
use super::view::{Member, Rank, View};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What the servers said last of their disks.
pub(super) type Shelves = BTreeMap<Rank, (Member, Shelf)>;

/// What is known while nobody leads.
#[derive(Debug, Clone, Default)]
pub(super) struct Returning {
    /// The last view; `None`: the metadata server does not know it.
    pub(super) last: Option<Arc<View>>,
    /// The life whose log the last view began with, if all were down before. As long as its primary has not written
    /// down that it leads that view, it has answered nobody in it.
    pub(super) from: Option<Member>,
    /// Some of the members are enough.
    pub(super) some_are_enough: bool,
}

/// Why nobody leads yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// These servers have not said what is on their disks.
    Silent(Vec<Rank>),
    /// These have nothing on their disks that counts, and the others may not have everything.
    Empty(Vec<Rank>),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |ranks: &[Rank]| ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Silent(ranks) => write!(f, "waiting for the disk of server {}", names(ranks)),
            Self::Empty(ranks) => write!(
                f,
                "server {} has nothing on its disk, and what was acknowledged last may have been there only",
                names(ranks)
            ),
        }
    }
}

impl Returning {
    /// A server says this: if it was a member of the last view, nobody was ever answered in that epoch.
    pub(super) fn is_stillborn(&self, rank: Rank, shelf: &Shelf) -> bool {
        let Some((view, member)) = self.last.as_ref().and_then(|view| Some((view, view.member_on(rank)?))) else {
            return false;
        };
        let has_written = shelf.lives.is_some_and(|(first, last)| (first..=last).contains(&member));
        has_written && shelf.held.is_none_or(|held| held.epoch < view.epoch)
    }

    /// The servers that have to tell.
    fn wanted(&self, servers: u32) -> Vec<Rank> {
        match &self.last {
            Some(view) => view.members().map(|member| member.rank).collect(),
            None => (1..=servers).map(Rank).collect(),
        }
    }

    /// True for a log that has everything.
    fn counts(&self, held: &Held) -> bool {
        // A member of the first view of an epoch may have had its life in the epoch before.
        let of =
            |view: &View| held.epoch == view.epoch && (view.contains(held.holder) || self.from == Some(held.holder));
        self.last.as_ref().is_none_or(|view| of(view))
    }

    /// Who leads, and with what. `patient`: others may still come.
    pub(super) fn leader(
        &self,
        told: &Shelves,
        servers: u32,
        patient: bool,
        highest_view: bool,
    ) -> Result<(Member, Held), Waiting> {
        let wanted = self.wanted(servers);
        let of = |rank: &Rank| told.get(rank).and_then(|(_, shelf)| shelf.held).filter(|held| self.counts(held));
        let silent: Vec<Rank> = wanted.iter().filter(|rank| !told.contains_key(rank)).copied().collect();
        let empty: Vec<Rank> =
            wanted.iter().filter(|rank| of(rank).is_none() && !silent.contains(rank)).copied().collect();
        let there = wanted.iter().any(|rank| of(rank).is_some());
        // Without a last view, whoever has nothing may never have had anything.
        let all = silent.is_empty() && (empty.is_empty() || self.last.is_none());
        if !there || !(all || (self.some_are_enough && (!patient || silent.is_empty()))) {
            return Err(if silent.is_empty() { Waiting::Empty(empty) } else { Waiting::Silent(silent) });
        }
        let told = told.values().filter_map(|(member, shelf)| Some((*member, shelf.held?)));
        let best = if highest_view {
            let counting = told.filter(|(_, held)| self.counts(held));
            counting.max_by_key(|(member, held)| (held.epoch, held.view, held.op, std::cmp::Reverse(member.rank)))
        } else {
            told.max_by_key(|(member, held)| (held.op, std::cmp::Reverse(member.rank)))
        };
        best.ok_or(Waiting::Empty(empty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Incarnation, ViewNumber};
    use crate::core::store::OpNumber;

    fn member(rank: u32, life: u64) -> Member {
        Member { rank: Rank(rank), incarnation: Incarnation(life) }
    }

    fn returning() -> Returning {
        let view = View { number: ViewNumber(7), epoch: 1, primary: member(1, 1), backups: vec![member(2, 1)] };
        Returning { last: Some(view.into()), ..Returning::default() }
    }

    fn told(told: &[(u32, Option<(u64, u64)>)]) -> Shelves {
        let shelf = |rank: u32, has: Option<(u64, u64)>| {
            let held = has.map(|(view, op)| Held {
                holder: member(rank, 1),
                view: ViewNumber(view),
                epoch: 1,
                op: OpNumber(op),
            });
            Shelf { held, lives: None }
        };
        told.iter().map(|(rank, has)| (Rank(*rank), (member(*rank, 9), shelf(*rank, *has)))).collect()
    }

    #[test]
    fn all_members_are_waited_for_and_the_highest_view_leads() {
        let leader = |has: &[(u32, Option<(u64, u64)>)]| returning().leader(&told(has), 3, true, true);
        assert_eq!(leader(&[]), Err(Waiting::Silent(vec![Rank(1), Rank(2)])));
        assert_eq!(leader(&[(2, Some((7, 5))), (3, Some((7, 9)))]), Err(Waiting::Silent(vec![Rank(1)])));
        assert_eq!(leader(&[(1, None), (2, Some((7, 5)))]), Err(Waiting::Empty(vec![Rank(1)])));
        let found = leader(&[(1, Some((6, 8))), (2, Some((7, 5))), (3, Some((5, 99)))]).unwrap();
        assert_eq!((found.0, found.1.op), (member(2, 9), OpNumber(5)));
        let found = leader(&[(1, Some((7, 5))), (2, Some((7, 5)))]).unwrap();
        assert_eq!(found.0, member(1, 9));
    }

    #[test]
    fn the_longest_log_is_not_the_one() {
        let three = told(&[(1, Some((7, 8))), (2, Some((7, 8))), (3, Some((5, 99)))]);
        assert_eq!(returning().leader(&three, 3, true, true).unwrap().0, member(1, 9));
        assert_eq!(returning().leader(&three, 3, true, false).unwrap().0, member(3, 9), "without the rule");
    }

    #[test]
    fn one_is_enough_if_it_has_everything_on_its_disk() {
        let one = Returning { some_are_enough: true, ..returning() };
        let mut has = told(&[(2, Some((7, 5))), (3, Some((7, 9)))]);
        assert_eq!(one.leader(&has, 3, true, true), Err(Waiting::Silent(vec![Rank(1)])), "after a moment's wait");
        assert_eq!(one.leader(&has, 3, false, true).unwrap().0, member(2, 9));
        has.remove(&Rank(2));
        assert!(one.leader(&has, 3, false, true).is_err(), "server 3 was no member");
    }

    #[test]
    fn without_the_last_view_all_servers_are_waited_for() {
        let lost = Returning { some_are_enough: true, ..Returning::default() };
        let mut has = told(&[(2, Some((7, 5))), (3, Some((8, 3)))]);
        assert_eq!(lost.leader(&has, 3, true, true), Err(Waiting::Silent(vec![Rank(1)])));
        has.extend(told(&[(1, None)]));
        assert_eq!(lost.leader(&has, 3, true, true).unwrap().0, member(3, 9));
    }

    #[test]
    fn an_epoch_that_no_disk_knows_of_has_never_begun() {
        let last = returning();
        let nothing = |lives: &[u64]| {
            let lives = lives.first().zip(lives.last()).map(|(first, last)| (member(2, *first), member(2, *last)));
            Shelf { held: None, lives }
        };
        assert!(last.is_stillborn(Rank(2), &nothing(&[1])) && last.is_stillborn(Rank(2), &nothing(&[1, 5])));
        assert!(!last.is_stillborn(Rank(2), &nothing(&[])), "its log is gone, or damaged");
        assert!(!last.is_stillborn(Rank(2), &nothing(&[2, 5])), "its log is another one, and younger");
        assert!(!last.is_stillborn(Rank(3), &nothing(&[1])), "it was no member");
        let (_, has) = told(&[(2, Some((7, 0)))])[&Rank(2)];
        let has = |epoch| Shelf { held: has.held.map(|held| Held { epoch, ..held }), ..nothing(&[1]) };
        assert!(!last.is_stillborn(Rank(2), &has(1)) && last.is_stillborn(Rank(2), &has(0)));
    }
}
