//! What a line or a key asks for.

use crate::core::fault::Meddling;
use crate::core::load::LoadOrder;
use crate::core::protocol::{CrashPoint, Rank, Rule};
use crate::core::store::Command;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A server, as an operator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// By its rank.
    Rank(Rank),
    /// Whoever is primary.
    Primary,
    /// The lowest-ranked backup.
    Backup,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rank(rank) => rank.fmt(f),
            Self::Primary => f.write_str("primary"),
            Self::Backup => f.write_str("backup"),
        }
    }
}

/// What is wished of the load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LoadWish {
    /// This, of all clients together.
    On(LoadOrder),
    /// No more.
    Off,
}

/// A picture for slides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// Where it goes: an SVG or a text, as its name ends.
    pub file: PathBuf,
    /// Of the diagram, or of the screen; `None`: of what is shown.
    pub diagram: Option<bool>,
    /// On dark ground.
    pub dark: bool,
}

/// What a line or a key asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A command on the store.
    Data(Command),
    /// The same, asked by the client on this rank.
    As(Rank, Command),
    /// A server loses its memory.
    Crash(Who),
    /// A server loses its memory and its disk.
    Wipe(Who),
    /// The primary crashes at this point of the next request.
    CrashAt(Who, CrashPoint),
    /// All machines lose power at once and start again; this server's later.
    PowerCut(Option<Who>),
    /// A server's process is killed.
    Kill(Who),
    /// A server stops and keeps its memory.
    Pause(Who),
    /// A paused server goes on.
    Resume(Who),
    /// A crashed server, or all of them, start again now.
    Recover(Option<Who>),
    /// A link drops everything, both ways or only from `a` to `b`.
    Cut { a: Who, b: Who, oneway: bool },
    /// All of the network's faults end.
    Heal,
    /// Every link loses messages with this probability.
    Loss(f64),
    /// Every link holds messages back for this many milliseconds.
    Delay(f64),
    /// Each request makes the primary crash with this probability.
    FailRate(f64),
    /// The primary hands over.
    Swap,
    /// Which rules of the protocol are in force, or whether this one is.
    Rules(Option<Rule>),
    /// A rule of the protocol is switched on or off.
    SetRule(Rule, bool),
    /// Start over with empty stores; `anyway`: although a primary may still answer with the old ones.
    Reset {
        /// Whether that is known.
        anyway: bool,
    },
    /// The state of every rank.
    Status,
    /// The history of views.
    View,
    /// The latest events.
    Events(usize),
    /// Whether all client operations so far are linearizable.
    Check,
    /// How long requests take.
    Latency,
    /// The load: on or off; `None`: how it goes.
    Load(Option<LoadWish>),
    /// The tour, from this scene on.
    Tour(Option<String>),
    /// How many hands went up for each answer.
    Hands(Vec<u32>),
    /// What there is, or one command, explained.
    Help(Option<String>),
    /// Wait, in scripts.
    Sleep(Duration),
    /// Leave.
    Quit,
    /// What is on its way; or this is done to the message that arrives as the n-th.
    Flights(Option<(Meddling, usize)>),
    /// The next timer of a server fires before it hears anything else.
    Fire(Who),
    /// The space–time diagram, or the cards again.
    Diagram,
    /// Big numbers for the back row, or all panels again.
    Present,
    /// The branches of what has happened; or this one goes on; or it has another name from now on.
    Branch(Option<(String, Option<String>)>),
    /// A picture in a file.
    Shot(Shot),
    /// A key: on the stage, or off it.
    Stage,
    /// A key: cut the link between primary and backup, or heal what is cut.
    ToggleLink,
    /// A key: pause the primary, or resume who is paused.
    TogglePause,
    /// A key: the dice off, or on again at the rate they had.
    ToggleDice,
}

impl Action {
    /// True when it shows something of what is there, or another branch of it, and changes nothing: it may be done
    /// while one looks at the past, and while a question is open.
    #[must_use]
    pub fn only_looks(&self) -> bool {
        let looks_on = matches!(self, Self::Help(_) | Self::Stage | Self::Diagram | Self::Present | Self::Shot(_));
        looks_on || matches!(self, Self::Flights(None) | Self::Branch(_) | Self::Hands(_) | Self::Quit)
    }
}
