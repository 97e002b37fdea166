//! One sentence when nobody is served: which rule blocks, and what would unblock it.
//!
//! It follows from the view, from how its servers are, from the links that an operator has cut, and from who does not
//! hear whom: whatever has broken a link shows itself so. A failover needs a
//! moment, and so does a server that starts: only what lasts is worth a sentence. That everybody has lost the data is
//! told at once: no waiting brings it back.

use crate::core::protocol::{METADATA, Member, Rank, Role, ServerStatus, View};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What has not ended by itself after this long does not.
const LASTING: Duration = Duration::from_secs(1);
/// Servers may take this long to announce themselves.
const STARTING: Duration = Duration::from_secs(4);

/// How a member of the view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It has not reported yet.
    Unknown,
    /// It has the data; `serving`: as primary that answers.
    Lives { serving: bool },
    /// Stopped, with its memory.
    Paused,
    /// It has lost its memory, or its process is gone.
    Lost,
}

/// How a member is by its server's own report.
#[must_use]
pub fn life(member: Member, status: &ServerStatus) -> Life {
    match status {
        // An old report: the server has been brought in as this member since.
        ServerStatus { incarnation, .. } if *incarnation < member.incarnation => Life::Unknown,
        ServerStatus { incarnation, .. } if *incarnation > member.incarnation => Life::Lost,
        ServerStatus { paused: true, .. } => Life::Paused,
        // Old as well: whoever falls counts as its next life from then on.
        ServerStatus { role: Role::Down, .. } => Life::Unknown,
        ServerStatus { serving, .. } => Life::Lives { serving: *serving },
    }
}

/// What is known when somebody asks why.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The current view.
    pub view: Option<&'a View>,
    /// The members of the view.
    pub lives: BTreeMap<Rank, Life>,
    /// Links that an operator has cut, from → to.
    pub cuts: BTreeSet<(Rank, Rank)>,
    /// Links over which nothing has come for a while though something should have, from → to.
    pub silent: BTreeSet<(Rank, Rank)>,
    /// What the members have lost may be on their disks: who leads with that says the metadata server.
    pub has_disks: bool,
    /// For how long no server has served, or a request of the console has waited for its answer.
    pub blocked_for: Duration,
}

impl Situation<'_> {
    /// True when the view's primary answers.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.view.is_some_and(|view| self.life(view.primary.rank) == Life::Lives { serving: true })
    }

    fn life(&self, rank: Rank) -> Life {
        self.lives.get(&rank).copied().unwrap_or(Life::Unknown)
    }

    fn lives(&self, rank: Rank) -> bool {
        matches!(self.life(rank), Life::Lives { .. })
    }

    /// What is known of the broken link from one rank to another; `None` if nothing is wrong with it.
    fn broken(&self, from: Rank, to: Rank) -> Option<Broken> {
        let is_cut = self.cuts.contains(&(from, to));
        let is_silent = self.silent.contains(&(from, to));
        // The metadata server only answers, and so does a backup: who hears nothing says nothing.
        let only_answers = from == METADATA || self.view.is_some_and(|view| view.primary.rank == to);
        let is_explained = only_answers && self.silent.contains(&(to, from));
        (is_cut || is_silent && !is_explained).then_some(Broken { from, to, is_cut })
    }

    /// The broken link between two ranks, in either direction; rather one that an operator has cut.
    fn between(&self, a: Rank, b: Rank) -> Option<Broken> {
        let links = || [self.broken(a, b), self.broken(b, a)].into_iter().flatten();
        links().find(|link| link.is_cut).or_else(|| links().next())
    }

    /// The sentence, if there is one to say.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let Some(view) = self.view else {
            return (self.blocked_for >= STARTING).then(|| {
                "nobody is served: there is no view, because no server has announced itself: the log files tell what \
                 keeps the servers from starting"
                    .to_owned()
            });
        };
        self.all_lost(view).or_else(|| {
            if self.blocked_for < LASTING {
                return None;
            }
            match self.life(view.primary.rank) {
                Life::Lives { serving: false } => self.unaware(view).or_else(|| self.primary_is_hindered(view)),
                Life::Lives { serving: true } => self.primary_is_hindered(view),
                Life::Paused | Life::Lost => self.nobody_takes_over(view),
                Life::Unknown => None,
            }
            .or_else(|| self.something_is_broken())
        })
    }

    /// When nobody has the data any more: that, and the way out.
    #[must_use]
    pub fn data_gone(&self) -> Option<String> {
        let view = self.view?;
        let nobody = view.members().all(|member| self.life(member.rank) == Life::Lost);
        if nobody && !self.has_disks { self.all_lost(view) } else { None }
    }

    /// Whoever has the data may not be replaced by somebody who has not.
    fn all_lost(&self, view: &View) -> Option<String> {
        let of = |life: Life| -> Vec<Rank> {
            view.members().map(|member| member.rank).filter(|rank| self.life(*rank) == life).collect()
        };
        let (paused, lost) = (of(Life::Paused), of(Life::Lost));
        if paused.len() + lost.len() < view.members().count() || (self.has_disks && paused.is_empty()) {
            return None;
        }
        let number = view.number;
        Some(match paused.first() {
            Some(first) => format!(
                "nobody is served: of view {number}, {} paused{}, and nobody else has the data. RESUME {first} lets it \
                 go on, RESET starts over empty",
                servers(&paused, "is", "are"),
                if lost.is_empty() {
                    String::new()
                } else {
                    format!(" and {} lost the memory", servers(&lost, "has", "have"))
                }
            ),
            None => format!(
                "nobody is served: every server of view {number} ({}) has lost its memory, so the data is gone. RESET \
                 starts over empty",
                list(&lost)
            ),
        })
    }

    /// The primary lives, but cannot answer, or is not heard.
    fn primary_is_hindered(&self, view: &View) -> Option<String> {
        let primary = view.primary.rank;
        let link = self.between(primary, METADATA)?;
        let missing = view
            .backups
            .iter()
            .map(|backup| backup.rank)
            .find(|backup| !self.lives(*backup) || self.between(primary, *backup).is_some());
        Some(match missing {
            Some(backup) => format!(
                "nobody is served: server {primary}, the primary of view {}, must not answer without server {backup}, \
                 and cannot ask the metadata server for a view without it: {link}",
                view.number
            ),
            None => format!("the console is not served by server {primary}, the primary: {link}"),
        })
    }

    /// The primary is out, and a backup lives.
    fn nobody_takes_over(&self, view: &View) -> Option<String> {
        let primary = view.primary.rank;
        let heir = view.backups.iter().map(|backup| backup.rank).find(|backup| self.lives(*backup))?;
        // It asks, and it is asked back.
        let link = self.between(heir, METADATA)?;
        let cannot = if link.from == heir { "cannot reach" } else { "does not hear" };
        let out = if self.life(primary) == Life::Paused { "is paused" } else { "is lost" };
        Some(format!(
            "nobody is served: server {primary}, the primary of view {}, {out}, and server {heir}, which would take \
             over, {cannot} the metadata server: {link}",
            view.number
        ))
    }

    /// The metadata server has decided, and the one it was decided for does not know.
    fn unaware(&self, view: &View) -> Option<String> {
        let primary = view.primary.rank;
        let link = self.broken(METADATA, primary)?;
        let number = view.number;
        Some(format!(
            "nobody is served: server {primary} is the primary of view {number}, and has not heard of it: {link}"
        ))
    }

    /// No rule was found that blocks; but for some time not everybody has heard whom they should.
    fn something_is_broken(&self) -> Option<String> {
        if self.blocked_for < LASTING * 2 {
            return None;
        }
        let all = self.cuts.iter().chain(&self.silent);
        let mut broken: Vec<Broken> = all.filter_map(|(from, to)| self.broken(*from, *to)).collect();
        broken.sort_by_key(|link| !link.is_cut);
        Some(format!("the console is not served: {}", broken.first()?))
    }
}

/// A link over which nothing comes.
#[derive(Debug, Clone, Copy)]
struct Broken {
    from: Rank,
    to: Rank,
    /// By an operator.
    is_cut: bool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, is_cut } = self;
        if *is_cut {
            return write!(f, "the link {from} → {to} is cut. HEAL mends it");
        }
        write!(
            f,
            "nothing comes over the link {from} → {to}. Mend the network between them; if it is only slow, start with \
             --pace 3"
        )
    }
}

fn list(ranks: &[Rank]) -> String {
    ranks.iter().map(Rank::to_string).collect::<Vec<_>>().join(", ")
}

/// `server 1 is`, `servers 1, 2 are`.
fn servers(ranks: &[Rank], one: &str, many: &str) -> String {
    if ranks.len() == 1 { format!("server {} {one}", list(ranks)) } else { format!("servers {} {many}", list(ranks)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Incarnation, Member, ViewNumber};

    const SERVING: Life = Life::Lives { serving: true };
    const WAITING: Life = Life::Lives { serving: false };

    fn why(lives: &[(u32, Life)], cuts: &[(u32, u32)], blocked_for: Duration) -> String {
        let member = |rank| Member { rank: Rank(rank), incarnation: Incarnation(1) };
        let view = View { number: ViewNumber(4), epoch: 1, primary: member(1), backups: vec![member(2)] };
        let situation = Situation {
            view: Some(&view),
            lives: lives.iter().map(|(rank, life)| (Rank(*rank), *life)).collect(),
            cuts: cuts.iter().map(|(from, to)| (Rank(*from), Rank(*to))).collect(),
            silent: BTreeSet::new(),
            has_disks: false,
            blocked_for,
        };
        situation.why().unwrap_or_default()
    }

    #[test]
    fn a_healthy_cluster_and_a_failover_need_no_words() {
        assert_eq!(why(&[(1, SERVING), (2, WAITING)], &[], Duration::ZERO), "");
        assert_eq!(why(&[(1, Life::Lost), (2, WAITING)], &[(2, 0)], LASTING / 2), "");
        assert_eq!(why(&[(1, SERVING), (2, WAITING)], &[(1, 2)], LASTING), "");
        assert_eq!(why(&[], &[], LASTING), "", "nothing is known of anybody");
    }

    #[test]
    fn when_all_have_lost_the_data_only_a_reset_helps() {
        assert_eq!(
            why(&[(1, Life::Lost), (2, Life::Lost)], &[], Duration::ZERO),
            "nobody is served: every server of view 4 (1, 2) has lost its memory, so the data is gone. RESET starts \
             over empty"
        );
    }

    #[test]
    fn the_data_is_gone_when_nobody_is_left_who_had_it() {
        let gone = |lives: [Life; 2]| {
            let member = |rank| Member { rank: Rank(rank), incarnation: Incarnation(1) };
            let view = View { number: ViewNumber(4), epoch: 1, primary: member(1), backups: vec![member(2)] };
            let lives = BTreeMap::from([(Rank(1), lives[0]), (Rank(2), lives[1])]);
            let (cuts, silent, blocked_for) = (BTreeSet::new(), BTreeSet::new(), Duration::ZERO);
            let mut situation = Situation { view: Some(&view), lives, cuts, silent, has_disks: true, blocked_for };
            assert_eq!(situation.data_gone(), None, "what is on disks is not gone");
            situation.has_disks = false;
            situation.data_gone()
        };
        assert!(gone([Life::Lost, Life::Lost]).is_some_and(|why| why.contains("the data is gone. RESET")));
        for other in [Life::Paused, Life::Unknown, WAITING] {
            assert_eq!(gone([Life::Lost, other]), None);
        }
    }

    #[test]
    fn an_old_report_says_nothing_of_a_new_life() {
        let status = |role, incarnation, paused| ServerStatus {
            role,
            paused,
            incarnation: Incarnation(incarnation),
            view: ViewNumber(1),
            op: Default::default(),
            commit: Default::default(),
            keys: 0,
            digest: 0,
            lease: None,
            silence: None,
            silent: Vec::new(),
            serving: false,
            transfer: None,
            back_in: None,
            failure_rate: 0.0,
            garbage: 0,
            disk: None,
        };
        let member = Member { rank: Rank(1), incarnation: Incarnation(2) };
        assert_eq!(life(member, &status(Role::Primary, 1, false)), Life::Unknown);
        assert_eq!(life(member, &status(Role::Down, 2, false)), Life::Unknown, "it started as this after that");
        assert_eq!(life(member, &status(Role::Backup, 2, false)), WAITING);
        assert_eq!(life(member, &status(Role::Backup, 2, true)), Life::Paused);
        assert_eq!(life(member, &status(Role::Down, 3, false)), Life::Lost);
        assert_eq!(life(member, &status(Role::Idle, 3, true)), Life::Lost, "paused without the data");
    }

    #[test]
    fn who_is_paused_has_the_data() {
        assert_eq!(
            why(&[(1, Life::Lost), (2, Life::Paused)], &[], Duration::ZERO),
            "nobody is served: of view 4, server 2 is paused and server 1 has lost the memory, and nobody else has the \
             data. RESUME 2 lets it go on, RESET starts over empty"
        );
        assert_eq!(
            why(&[(1, Life::Paused), (2, Life::Paused)], &[], Duration::ZERO),
            "nobody is served: of view 4, servers 1, 2 are paused, and nobody else has the data. RESUME 1 lets it go \
             on, RESET starts over empty"
        );
    }

    #[test]
    fn an_heir_must_reach_the_metadata_server() {
        assert_eq!(
            why(&[(1, Life::Lost), (2, WAITING)], &[(2, 0)], LASTING),
            "nobody is served: server 1, the primary of view 4, is lost, and server 2, which would take over, cannot \
             reach the metadata server: the link 2 → 0 is cut. HEAL mends it"
        );
        assert!(why(&[(1, Life::Paused), (2, WAITING)], &[(2, 0)], LASTING).contains("view 4, is paused, and"));
        let deaf = why(&[(1, Life::Lost), (2, WAITING)], &[(0, 2)], LASTING);
        assert!(deaf.contains("server 2, which would take over, does not hear the metadata server: the link 0 → 2 is"));
    }

    #[test]
    fn a_primary_must_hear_that_it_is_one() {
        assert_eq!(
            why(&[(1, WAITING), (2, WAITING)], &[(0, 1)], LASTING),
            "nobody is served: server 1 is the primary of view 4, and has not heard of it: the link 0 → 1 is cut. \
             HEAL mends it"
        );
    }

    #[test]
    fn a_primary_must_not_answer_without_its_backups() {
        for (backup, cuts) in [(Life::Lost, vec![(1, 0)]), (WAITING, vec![(1, 0), (2, 1)])] {
            let why = why(&[(1, SERVING), (2, backup)], &cuts, LASTING);
            assert!(why.contains("must not answer without server 2") && why.contains("1 → 0 is cut. HEAL"), "{why}");
        }
    }

    #[test]
    fn the_console_may_be_the_one_who_is_cut_off() {
        assert_eq!(
            why(&[(1, SERVING), (2, WAITING)], &[(0, 1)], LASTING),
            "the console is not served by server 1, the primary: the link 0 → 1 is cut. HEAL mends it"
        );
    }

    #[test]
    fn without_a_view_the_servers_have_some_time_to_start() {
        let none = |blocked_for| {
            let (lives, cuts, silent) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
            Situation { view: None, lives, cuts, silent, has_disks: false, blocked_for }.why()
        };
        assert_eq!(none(STARTING / 2), None);
        assert!(none(STARTING).is_some_and(|why| why.contains("no server has announced itself")));
    }
}
