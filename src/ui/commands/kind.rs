//! The kinds of words that commands take.

/// What kind of word an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordKind {
    /// A key of the store.
    Key,
    /// A value of the store.
    Value,
    /// A glob over keys.
    Pattern,
    /// A server: rank, `primary`, `backup`.
    Server,
    /// The end of a link: as a server, or any other rank.
    Rank,
    /// 0 to 1, or a percentage.
    Probability,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// How many.
    Count,
    /// `on`, `off`, or requests a second.
    Load,
    /// A, B or C.
    Workload,
    /// Where in the life of a request.
    Point,
    /// The name of a command.
    Topic,
    /// The name of a rule of the protocol.
    Rule,
    /// `on` or `off`.
    Switch,
    /// What to do to a message.
    Deed,
    /// `screen` or `diagram`.
    Motif,
    /// `light` or `dark`.
    Ground,
    /// A scene of the tour.
    Scene,
    /// A branch of what has happened.
    Branch,
    /// How many hands.
    Hands,
    /// This very word.
    Word,
}

impl WordKind {
    /// What else there is to say of such a word.
    #[must_use]
    pub fn explained(self) -> Option<&'static str> {
        match self {
            Self::Key => Some("any bytes, at most 1 KiB; \"quotes\" for blanks, \"\\xff\" for any byte"),
            Self::Value => Some("any bytes, at most 1 MiB"),
            Self::Pattern => Some("* any bytes, ? one, [a-z] one of these, \\ before a literal one"),
            Self::Server => Some("a server's rank, or primary, or backup (the lowest-ranked of several)"),
            Self::Rank => Some("a rank (0 is the metadata server and the console), or primary, or backup"),
            Self::Probability => Some("0 to 1, or a percentage: 0.2 and 20% are the same"),
            Self::Point => Some("arrival, before-prepare, after-prepare, before-reply (committed, and not answered)"),
            Self::Rule => Some("a rule of the protocol, by the name that RULE lists"),
            Self::Load => Some("on: as fast as answers come, 32 outstanding at each client"),
            Self::Workload => {
                Some("A: half reads (the default); B: 95 % reads; C: only reads; popular keys as in YCSB")
            }
            Self::Deed => Some("drop, hold (150 ms), deliver (now), double (again 1 ms later)"),
            Self::Motif => Some("screen or diagram; without it, what is shown"),
            Self::Ground => Some("light (the default) or dark"),
            Self::Scene => Some("its number, or its name: `understudy tour --list` has them all"),
            Self::Branch => Some("as BRANCH lists them; acting in the past (F2, then ←) begins one"),
            Self::Hands => Some("how many hands went up for the first answer, the second, and so on"),
            Self::Millis | Self::Seconds | Self::Count | Self::Topic | Self::Switch | Self::Word => None,
        }
    }
}
