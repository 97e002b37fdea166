//! The rules that keep the store correct, each of which can be switched off to see what it is for.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rule {
    /// A write is answered only after every backup acknowledged it.
    WaitForAll,
    /// A read is answered only under a lease from every backup.
    Lease,
    /// Messages of older views are refused.
    Fencing,
    /// A repeated request has no second effect.
    Sessions,
    /// A restarted server is a stranger.
    Incarnation,
    /// A joining server counts only once it has everything.
    JoinBeforeCount,
    /// A new primary keeps the writes that it does not know to be committed.
    Tail,
    /// A view counts only once its primary has confirmed that it leads it.
    Confirm,
    /// Only a proof that the primary is dead makes waiting for the end of its lease needless; silence is none.
    ProofOfDeath,
    /// With a disk: what is acknowledged is on the disk first.
    SyncBeforeAck,
    /// With a disk: a view is on the metadata server's disk before anybody hears of it.
    PersistView,
    /// With disks: when all come back, the log of the highest view leads.
    RecoverHighestView,
}

impl Rule {
    /// All rules, in the order in which they are explained.
    pub const ALL: [Rule; 12] = [
        Self::WaitForAll,
        Self::Lease,
        Self::Fencing,
        Self::Sessions,
        Self::Incarnation,
        Self::JoinBeforeCount,
        Self::Tail,
        Self::Confirm,
        Self::ProofOfDeath,
        Self::SyncBeforeAck,
        Self::PersistView,
        Self::RecoverHighestView,
    ];

    /// True for those that are about disks: without disks they change nothing.
    #[must_use]
    pub fn is_of_disks(self) -> bool {
        matches!(self, Self::SyncBeforeAck | Self::PersistView | Self::RecoverHighestView)
    }

    /// Why switching it would change nothing where there are no disks, if it would not.
    #[must_use]
    pub fn idle_without_disks(self) -> Option<String> {
        self.is_of_disks().then(|| {
            format!(
                "rule {self} is about disks, and there are none: --data DIR gives every server a disk, --sim --disks a \
                 simulated one, fuzz --disk those of its runs"
            )
        })
    }

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WaitForAll => "wait-for-all",
            Self::Lease => "lease",
            Self::Fencing => "fencing",
            Self::Sessions => "sessions",
            Self::Incarnation => "incarnation",
            Self::JoinBeforeCount => "join-before-count",
            Self::Tail => "tail",
            Self::Confirm => "confirm",
            Self::ProofOfDeath => "proof-of-death",
            Self::SyncBeforeAck => "sync-before-ack",
            Self::PersistView => "persist-view",
            Self::RecoverHighestView => "recover-highest-view",
        }
    }

    /// What it says, in one sentence.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::WaitForAll => "a write is answered only after every backup acknowledged it",
            Self::Lease => "a read is answered only under a lease from every backup",
            Self::Fencing => "messages of older views are refused",
            Self::Sessions => "a repeated request has no second effect",
            Self::Incarnation => "a restarted server is a stranger",
            Self::JoinBeforeCount => "a joining server counts only once it has everything",
            Self::Tail => "a new primary keeps the writes that it does not know to be committed",
            Self::Confirm => "a view counts only once its primary has confirmed that it leads it",
            Self::ProofOfDeath => "without a proof that the primary is dead its lease is waited for",
            Self::SyncBeforeAck => "what is acknowledged is on the disk first",
            Self::PersistView => "a view is on the metadata server's disk before anybody hears of it",
            Self::RecoverHighestView => "when all come back, the log of the highest view leads",
        }
    }

    /// What goes wrong without it, in one sentence.
    #[must_use]
    pub fn without(self) -> &'static str {
        match self {
            Self::WaitForAll => "a write that only the primary has is answered OK, and dies with it",
            Self::Lease => "a primary that was replaced does not know it, and two servers answer reads",
            Self::Fencing => "a late message of a replaced primary pushes an acknowledged write aside",
            Self::Sessions => "a request that is repeated takes effect again and again",
            Self::Incarnation => "a server that forgot everything is taken for one that has everything",
            Self::JoinBeforeCount => "a server that has received nothing yet may become primary",
            Self::Tail => "the new primary throws away a write that was answered OK",
            Self::ProofOfDeath => "a primary that is only slow is taken for dead, and reads on under its lease",
            Self::Confirm => "a view whose primary has died meanwhile throws out the server that has the data",
            Self::SyncBeforeAck => "a write that was answered OK is not on any disk when all are killed",
            Self::PersistView => "after a restart the data of a view that was left long ago count",
            Self::RecoverHighestView => "the longest log pushes aside what was acknowledged after it was left",
        }
    }

    /// All their names, for those who have not hit on one.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// There is no rule of this name; says which there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchRule;

impl fmt::Display for NoSuchRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rules are {}", Rule::names())
    }
}

impl std::error::Error for NoSuchRule {}

impl FromStr for Rule {
    type Err = NoSuchRule;

    fn from_str(text: &str) -> Result<Self, NoSuchRule> {
        let rule = Self::ALL.into_iter().find(|rule| text.eq_ignore_ascii_case(rule.name()));
        rule.ok_or(NoSuchRule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which rules hold. All of them, unless somebody wants to see what happens without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Rules {
    off: u16,
}

impl Rules {
    /// True when `rule` is in force.
    #[must_use]
    pub fn on(self, rule: Rule) -> bool {
        self.off & (1 << rule as u16) == 0
    }

    /// Switches one rule.
    pub fn set(&mut self, rule: Rule, on: bool) {
        if on {
            self.off &= !(1 << rule as u16);
        } else {
            self.off |= 1 << rule as u16;
        }
    }

    /// All rules but these.
    #[must_use]
    pub fn without(off: &[Rule]) -> Self {
        let mut rules = Self::default();
        off.iter().for_each(|rule| rules.set(*rule, false));
        rules
    }

    /// What to warn of, in words: `None` when every rule is in force.
    #[must_use]
    pub fn warning(self) -> Option<String> {
        let off: Vec<Rule> = self.switched_off().collect();
        match off.as_slice() {
            [] => None,
            [rule] => Some(format!("rule {rule} is off: {}", rule.without())),
            many => {
                let names: Vec<&str> = many.iter().map(|rule| rule.name()).collect();
                Some(format!("rules {} are off: nothing that is promised holds", names.join(", ")))
            }
        }
    }

    /// The rules that are switched off.
    pub fn switched_off(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.into_iter().filter(move |rule| !self.on(*rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_called_by_their_names() {
        for rule in Rule::ALL {
            assert_eq!(rule.name().parse(), Ok(rule));
            assert_eq!(rule.name().to_uppercase().parse(), Ok(rule));
        }
        assert!("fence".parse::<Rule>().unwrap_err().to_string().contains("wait-for-all"));
    }

    #[test]
    fn every_rule_is_switched_by_itself() {
        for rule in Rule::ALL {
            let mut rules = Rules::default();
            rules.set(rule, false);
            assert_eq!((rules.switched_off().collect::<Vec<_>>(), rules), (vec![rule], Rules::without(&[rule])));
            assert!(Rule::ALL.into_iter().all(|other| rules.on(other) == (other != rule)));
            let mut others = Rules::without(&Rule::ALL);
            others.set(rule, true);
            assert!(Rule::ALL.into_iter().all(|other| others.on(other) == (other == rule)));
        }
    }

    #[test]
    fn the_warning_says_what_is_off() {
        assert_eq!(Rules::default().warning(), None);
        let one = Rules::without(&[Rule::Fencing]).warning();
        let expected = "rule fencing is off: a late message of a replaced primary pushes an acknowledged write aside";
        assert_eq!(one.as_deref(), Some(expected));
        let two = Rules::without(&[Rule::Tail, Rule::Lease]).warning();
        assert_eq!(two.as_deref(), Some("rules lease, tail are off: nothing that is promised holds"));
        assert_eq!(format!("{:>9}|", Rule::Tail), "     tail|");
        let sentences = Rule::ALL.iter().flat_map(|rule| [rule.says(), rule.without()]);
        assert_eq!(sentences.filter(|sentence| sentence.contains(' ')).count(), 2 * Rule::ALL.len());
    }
}
