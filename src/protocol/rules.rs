//! The rules that keep the store correct, each of which can be switched off to see what it is for.

use serde::{Deserialize, Serialize};
use std::fmt;

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
}

impl Rule {
    /// All rules, in the order in which they are explained.
    pub const ALL: [Rule; 7] = [
        Self::WaitForAll,
        Self::Lease,
        Self::Fencing,
        Self::Sessions,
        Self::Incarnation,
        Self::JoinBeforeCount,
        Self::Tail,
    ];

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
        }
    }

    /// The rule of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Rule> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
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
    off: u8,
}

impl Rules {
    /// True when `rule` is in force.
    #[must_use]
    pub fn on(self, rule: Rule) -> bool {
        self.off & (1 << rule as u8) == 0
    }

    /// Switches one rule.
    pub fn set(&mut self, rule: Rule, on: bool) {
        if on {
            self.off &= !(1 << rule as u8);
        } else {
            self.off |= 1 << rule as u8;
        }
    }

    /// The rules that are switched off.
    pub fn switched_off(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.into_iter().filter(move |rule| !self.on(*rule))
    }
}
