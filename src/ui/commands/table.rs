//! The one table of commands.
//!
//! [`COMMANDS`] holds what there is to know of every command: its names, its arguments and their
//! kinds, what it does in one line, an example. The parser, `HELP`, completion, hints, the suggestion
//! for a mistyped name and the tables of the README are all read from it, so a command that is added
//! here is complete everywhere.

use super::action::{Action, LoadWish, Shot, Who};
pub use super::kind::WordKind;
use super::stored;
use crate::core::fault::Meddling;
use crate::core::load::{LoadOrder, RATE_MAX, Workload};
use crate::core::protocol::{CrashPoint, Rank, Rule};
use crate::core::store::bytes::preview;
use crate::core::store::commands::RowId;
use crate::core::store::{Bytes, Command};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

/// `EVENTS` without a number shows this many.
pub const EVENTS_COUNT_DEFAULT: usize = 10;
/// `EVENTS` shows no more than this.
pub const EVENTS_COUNT_MAX: usize = 10_000;
/// The longest `DELAY`.
pub const DELAY_MAX_MS: f64 = 60_000.0;
/// The longest `SLEEP`: a day.
pub const SLEEP_MAX_SECONDS: f64 = 86_400.0;
/// The largest class.
pub const HANDS_MAX: u32 = 100_000;

/// One argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// As usage lines name it.
    pub name: &'static str,
    /// What it is.
    pub kind: WordKind,
    /// It may be left out. Only at the end of the list.
    pub optional: bool,
}

const fn needed(name: &'static str, kind: WordKind) -> Parameter {
    Parameter { name, kind, optional: false }
}

const fn optional(name: &'static str, kind: WordKind) -> Parameter {
    Parameter { name, kind, optional: true }
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandGroup {
    /// Read and write the store.
    Data,
    /// Break something, or mend it.
    Break,
    /// Look at the cluster, and the console itself.
    Look,
}

impl CommandGroup {
    /// All groups, in the order in which they are shown.
    pub const ALL: [CommandGroup; 3] = [Self::Data, Self::Break, Self::Look];

    /// As `HELP` and the README call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Break => "break",
            Self::Look => "look",
        }
    }
}

/// All there is to know of a command.
#[derive(Debug)]
pub struct CommandSpec {
    /// In capitals.
    pub name: &'static str,
    /// Other names of the same.
    pub aliases: &'static [&'static str],
    /// What it needs.
    pub parameters: &'static [Parameter],
    /// What it is for.
    pub group: CommandGroup,
    /// What it does, in one line.
    pub help: &'static str,
    /// A line that works.
    pub example: &'static str,
    /// The store's row, where it is the store's table that says how its words are read.
    pub row: Option<RowId>,
    pub(super) build: fn(&mut Arguments) -> Result<Action, String>,
}

const KEY: &[Parameter] = &[needed("key", WordKind::Key)];
const KEY_VALUE: &[Parameter] = &[needed("key", WordKind::Key), needed("value", WordKind::Value)];
const WHO: &[Parameter] = &[needed("who", WordKind::Server)];
const HANDS: &[Parameter] = &[
    needed("a", WordKind::Hands),
    needed("b", WordKind::Hands),
    optional("c", WordKind::Hands),
    optional("d", WordKind::Hands),
];
const P: &[Parameter] = &[needed("p", WordKind::Probability)];

/// The one whose words are another command's.
pub const AS: &str = "AS";

/// Every command, in the order in which they are shown.
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "GET",
        aliases: &[],
        parameters: KEY,
        group: CommandGroup::Data,
        help: "the value of a key, or (nil)",
        example: "GET color",
        row: None,
        build: |a| Ok(Action::Data(Command::Get { key: a.bytes() })),
    },
    CommandSpec {
        name: "PUT",
        aliases: &[],
        parameters: KEY_VALUE,
        group: CommandGroup::Data,
        help: "stores a value, whether or not the key is there",
        example: "PUT color \"dark red\"",
        row: None,
        build: |a| Ok(Action::Data(Command::Put { key: a.bytes(), value: a.bytes() })),
    },
    CommandSpec {
        name: "ADD",
        aliases: &[],
        parameters: KEY_VALUE,
        group: CommandGroup::Data,
        help: "stores a value only if the key is new, else (nil)",
        example: "ADD color red",
        row: None,
        build: |a| Ok(Action::Data(Command::Add { key: a.bytes(), value: a.bytes() })),
    },
    CommandSpec {
        name: "UPDATE",
        aliases: &[],
        parameters: KEY_VALUE,
        group: CommandGroup::Data,
        help: "stores a value only if the key is there, else (nil)",
        example: "UPDATE color blue",
        row: None,
        build: |a| Ok(Action::Data(Command::Update { key: a.bytes(), value: a.bytes() })),
    },
    CommandSpec {
        name: "DELETE",
        aliases: &[],
        parameters: KEY,
        group: CommandGroup::Data,
        help: "removes a key; answers 1, or 0 if there was none",
        example: "DELETE color",
        row: None,
        build: |a| Ok(Action::Data(Command::Delete { key: a.bytes() })),
    },
    CommandSpec {
        name: "APPEND",
        aliases: &[],
        parameters: KEY_VALUE,
        group: CommandGroup::Data,
        help: "appends to a value; answers its new length in bytes",
        example: "APPEND log \"one more line\\n\"",
        row: None,
        build: |a| Ok(Action::Data(Command::Append { key: a.bytes(), value: a.bytes() })),
    },
    CommandSpec {
        name: "INCR",
        aliases: &[],
        parameters: KEY,
        group: CommandGroup::Data,
        help: "adds one to a 64-bit number; answers the new number",
        example: "5 INCR visits",
        row: None,
        build: |a| Ok(Action::Data(Command::Incr { key: a.bytes() })),
    },
    CommandSpec {
        name: "KEYS",
        aliases: &[],
        parameters: &[optional("glob", WordKind::Pattern)],
        group: CommandGroup::Data,
        help: "all keys, or those that match a glob such as user:*",
        example: "KEYS user:*",
        row: None,
        build: |a| Ok(Action::Data(Command::Keys { pattern: a.optional_bytes().unwrap_or_else(|| "*".into()) })),
    },
    CommandSpec {
        name: "COUNT",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Data,
        help: "how many keys there are",
        example: "COUNT",
        row: None,
        build: |_| Ok(Action::Data(Command::Count)),
    },
    CommandSpec {
        name: AS,
        aliases: &[],
        parameters: &[needed("n", WordKind::Rank), needed("command", WordKind::Topic)],
        group: CommandGroup::Data,
        help: "asks as the client on rank n (--clients), with its own idea of the primary",
        example: "AS 3 GET color",
        row: None,
        // Its words are another command's.
        build: |_| Err(format!("{AS} needs a client's rank and a command: usage: {AS} n command")),
    },
    CommandSpec {
        name: "CRASH",
        aliases: &[],
        parameters: &[
            needed("who", WordKind::Server),
            optional("at", WordKind::Word),
            optional("point", WordKind::Point),
        ],
        group: CommandGroup::Break,
        help: "a server loses its memory, not its disk; with a point: when a request gets there",
        example: "CRASH primary at before-reply",
        row: None,
        build: |a| {
            let who = a.who()?;
            Ok(if a.word()? { Action::CrashAt(who, a.point()?) } else { Action::Crash(who) })
        },
    },
    CommandSpec {
        name: "WIPE",
        aliases: &[],
        parameters: WHO,
        group: CommandGroup::Break,
        help: "a server loses its memory and its disk (with --data or --disks)",
        example: "WIPE backup",
        row: None,
        build: |a| Ok(Action::Wipe(a.who()?)),
    },
    CommandSpec {
        name: "KILL",
        aliases: &[],
        parameters: WHO,
        group: CommandGroup::Break,
        help: "a server's process dies by SIGKILL",
        example: "KILL backup",
        row: None,
        build: |a| Ok(Action::Kill(a.who()?)),
    },
    CommandSpec {
        name: "POWERCUT",
        aliases: &[],
        parameters: &[optional("who", WordKind::Server)],
        group: CommandGroup::Break,
        help: "simulator: all machines lose power and start again; who: later, as after CRASH",
        example: "POWERCUT",
        row: None,
        build: |a| Ok(Action::PowerCut(a.optional_who()?)),
    },
    CommandSpec {
        name: "PAUSE",
        aliases: &[],
        parameters: WHO,
        group: CommandGroup::Break,
        help: "a server stops and keeps its memory",
        example: "PAUSE primary",
        row: None,
        build: |a| Ok(Action::Pause(a.who()?)),
    },
    CommandSpec {
        name: "RESUME",
        aliases: &[],
        parameters: WHO,
        group: CommandGroup::Break,
        help: "a paused server goes on with its old memory",
        example: "RESUME 1",
        row: None,
        build: |a| Ok(Action::Resume(a.who()?)),
    },
    CommandSpec {
        name: "RECOVER",
        aliases: &[],
        parameters: &[optional("who", WordKind::Server)],
        group: CommandGroup::Break,
        help: "restarts a server, empty or with its disk; alone: all; 0: with disks there are",
        example: "RECOVER",
        row: None,
        build: |a| Ok(Action::Recover(a.optional_who()?)),
    },
    CommandSpec {
        name: "CUT",
        aliases: &[],
        parameters: &[needed("a", WordKind::Rank), needed("b", WordKind::Rank), optional("oneway", WordKind::Word)],
        group: CommandGroup::Break,
        help: "the link between two ranks drops everything; oneway: only from a to b",
        example: "CUT 1 2",
        row: None,
        build: |a| Ok(Action::Cut { a: a.who()?, b: a.who()?, oneway: a.word()? }),
    },
    CommandSpec {
        name: "HEAL",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Break,
        help: "ends every cut, loss and delay",
        example: "HEAL",
        row: None,
        build: |_| Ok(Action::Heal),
    },
    CommandSpec {
        name: "LOSS",
        aliases: &[],
        parameters: P,
        group: CommandGroup::Break,
        help: "every link loses messages with this probability",
        example: "LOSS 10%",
        row: None,
        build: |a| Ok(Action::Loss(a.probability()?)),
    },
    CommandSpec {
        name: "DELAY",
        aliases: &[],
        parameters: &[needed("ms", WordKind::Millis)],
        group: CommandGroup::Break,
        help: "every link holds messages back by this many milliseconds",
        example: "DELAY 5",
        row: None,
        build: |a| Ok(Action::Delay(a.millis()?)),
    },
    CommandSpec {
        name: "FAILRATE",
        aliases: &[],
        parameters: P,
        group: CommandGroup::Break,
        help: "each request makes the primary crash with this probability",
        example: "FAILRATE 0.2",
        row: None,
        build: |a| Ok(Action::FailRate(a.probability()?)),
    },
    CommandSpec {
        name: "FLIGHTS",
        aliases: &[],
        parameters: &[optional("deed", WordKind::Deed), optional("n", WordKind::Count)],
        group: CommandGroup::Break,
        help: "simulator: the messages on their way; or drop, hold, deliver, double the n-th",
        example: "FLIGHTS drop 1",
        row: None,
        build: |a| {
            let deed = a.optional_deed()?;
            let number = a.optional_count()?.unwrap_or(1);
            Ok(Action::Flights(deed.map(|deed| (deed, number))))
        },
    },
    CommandSpec {
        name: "FIRE",
        aliases: &[],
        parameters: WHO,
        group: CommandGroup::Break,
        help: "simulator: a server's next timer fires before it hears anything else",
        example: "FIRE backup",
        row: None,
        build: |a| Ok(Action::Fire(a.who()?)),
    },
    CommandSpec {
        name: "SWAP",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Break,
        help: "the primary hands over to a backup, and nothing is retried",
        example: "SWAP",
        row: None,
        build: |_| Ok(Action::Swap),
    },
    CommandSpec {
        name: "RULE",
        aliases: &[],
        parameters: &[optional("name", WordKind::Rule), optional("on/off", WordKind::Switch)],
        group: CommandGroup::Break,
        help: "switches a rule of the protocol, to see what it is for; alone: lists them",
        example: "RULE fencing off",
        row: None,
        build: |a| {
            let rule = a.optional_rule()?;
            let switch = a.optional_switch()?;
            Ok(rule.zip(switch).map_or(Action::Rules(rule), |(rule, on)| Action::SetRule(rule, on)))
        },
    },
    CommandSpec {
        name: "RESET",
        aliases: &[],
        parameters: &[optional("anyway", WordKind::Word)],
        group: CommandGroup::Break,
        help: "starts over, all data is gone; anyway: although a primary may still answer",
        example: "RESET",
        row: None,
        build: |a| Ok(Action::Reset { anyway: a.word()? }),
    },
    CommandSpec {
        name: "STATUS",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Look,
        help: "the view, and the process, role, keys, op number, disk and turns of every rank",
        example: "STATUS",
        row: None,
        build: |_| Ok(Action::Status),
    },
    CommandSpec {
        name: "VIEW",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Look,
        help: "the history of views, and why each came about",
        example: "VIEW",
        row: None,
        build: |_| Ok(Action::View),
    },
    CommandSpec {
        name: "EVENTS",
        aliases: &[],
        parameters: &[optional("n", WordKind::Count)],
        group: CommandGroup::Look,
        help: "the latest events (10, or n)",
        example: "EVENTS 20",
        row: None,
        build: |a| Ok(Action::Events(a.optional_count()?.unwrap_or(EVENTS_COUNT_DEFAULT))),
    },
    CommandSpec {
        name: "DIAGRAM",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Look,
        help: "who said what to whom, and when it was heard; again: the cards",
        example: "DIAGRAM",
        row: None,
        build: |_| Ok(Action::Diagram),
    },
    CommandSpec {
        name: "SHOT",
        aliases: &[],
        parameters: &[
            needed("file", WordKind::Value),
            optional("what", WordKind::Motif),
            optional("ground", WordKind::Ground),
        ],
        group: CommandGroup::Look,
        help: "a picture for slides, .svg or .txt: the screen or the diagram, light or dark",
        example: "SHOT failover.svg diagram",
        row: None,
        build: |a| Ok(Action::Shot(a.shot()?)),
    },
    CommandSpec {
        name: "LATENCY",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Look,
        help: "how long requests take",
        example: "LATENCY",
        row: None,
        build: |_| Ok(Action::Latency),
    },
    CommandSpec {
        name: "LOAD",
        aliases: &[],
        parameters: &[optional("rate", WordKind::Load), optional("workload", WordKind::Workload)],
        group: CommandGroup::Look,
        help: "on, off, or requests a second: all clients ask, and check; alone: how it goes",
        example: "LOAD 1000 B",
        row: None,
        build: |a| Ok(Action::Load(a.load()?)),
    },
    CommandSpec {
        name: "CHECK",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Look,
        help: "judges whether all answers so far are linearizable",
        example: "CHECK",
        row: None,
        build: |_| Ok(Action::Check),
    },
    CommandSpec {
        name: "SLEEP",
        aliases: &[],
        parameters: &[needed("seconds", WordKind::Seconds)],
        group: CommandGroup::Look,
        help: "waits, in scripts",
        example: "SLEEP 0.5",
        row: None,
        build: |a| Ok(Action::Sleep(a.seconds()?)),
    },
    CommandSpec {
        name: "TOUR",
        aliases: &[],
        parameters: &[optional("scene", WordKind::Scene)],
        group: CommandGroup::Look,
        help: "scenes for a class: a question, your guess, and then what happens",
        example: "TOUR 3",
        row: None,
        build: |a| Ok(Action::Tour(a.text(&[WordKind::Scene]))),
    },
    CommandSpec {
        name: "HANDS",
        aliases: &[],
        parameters: HANDS,
        group: CommandGroup::Look,
        help: "how many hands went up for each answer: shown beside the truth",
        example: "HANDS 3 12 5",
        row: None,
        build: |a| Ok(Action::Hands(a.hands()?)),
    },
    CommandSpec {
        name: "PRESENT",
        aliases: &[],
        parameters: &[],
        group: CommandGroup::Look,
        help: "big numbers for the back row; again: all panels",
        example: "PRESENT",
        row: None,
        build: |_| Ok(Action::Present),
    },
    CommandSpec {
        name: "BRANCH",
        aliases: &[],
        parameters: &[optional("name", WordKind::Branch), optional("new-name", WordKind::Branch)],
        group: CommandGroup::Look,
        help: "simulator: what happened otherwise; goes on with one, or gives it another name",
        example: "BRANCH a",
        row: None,
        build: |a| {
            let name = a.text(&[WordKind::Branch]);
            Ok(Action::Branch(name.map(|name| (name, a.text(&[WordKind::Branch])))))
        },
    },
    CommandSpec {
        name: "HELP",
        aliases: &[],
        parameters: &[optional("command", WordKind::Topic)],
        group: CommandGroup::Look,
        help: "all commands; or one of them, or data, break, look, keyboard, explained",
        example: "HELP CUT",
        row: None,
        build: |a| Ok(Action::Help(a.optional_bytes().map(|topic| preview(&topic, 40)))),
    },
    CommandSpec {
        name: "QUIT",
        aliases: &["EXIT"],
        parameters: &[],
        group: CommandGroup::Look,
        help: "leaves; so does Ctrl-D on an empty line",
        example: "QUIT",
        row: None,
        build: |_| Ok(Action::Quit),
    },
];

impl CommandSpec {
    /// Name and aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The parameters from number `from` on, as a usage line shows them: `key value`, `a b [oneway]`.
    #[must_use]
    pub fn parameters_text(&self, from: usize) -> String {
        let shown = |p: &Parameter| if p.optional { format!("[{}]", p.name) } else { p.name.to_owned() };
        self.parameters.iter().skip(from).map(shown).collect::<Vec<_>>().join(" ")
    }

    /// `PUT key value`.
    #[must_use]
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.parameters_text(0)).trim_end().to_owned()
    }

    /// Reads the words after the name.
    ///
    /// # Errors
    /// When they are too few, too many, or of the wrong kind: which, and the usage line.
    pub fn parse(&self, words: Vec<Vec<u8>>) -> Result<Action, String> {
        let needed = self.parameters.iter().filter(|p| !p.optional).count();
        if words.len() < needed {
            return Err(format!("{} needs {}: usage: {}", self.name, self.parameters_text(words.len()), self.usage()));
        }
        if self.row.is_some() {
            return stored::parse(self, words);
        }
        if words.len() > self.parameters.len() {
            let extra = preview(&words[self.parameters.len()], 20);
            let way_out = if self.parameters.iter().any(|p| p.kind == WordKind::Value) {
                "; quote a value with blanks: \"two words\""
            } else {
                ""
            };
            return Err(format!("'{extra}' is too much for {}: usage: {}{way_out}", self.name, self.usage()));
        }
        let mut arguments = Arguments { spec: self, words: words.into_iter(), at: 0 };
        (self.build)(&mut arguments)
    }
}

/// The words after the name, taken one by one.
pub(super) struct Arguments<'a> {
    spec: &'a CommandSpec,
    words: std::vec::IntoIter<Vec<u8>>,
    at: usize,
}

impl Arguments<'_> {
    /// The next word, which must be one of `kinds` by the table.
    fn next(&mut self, kinds: &[WordKind]) -> Option<Vec<u8>> {
        let parameter = &self.spec.parameters[self.at];
        assert!(kinds.contains(&parameter.kind), "{}: {} is no {kinds:?}", self.spec.name, parameter.name);
        self.at += 1;
        self.words.next()
    }

    fn optional_bytes(&mut self) -> Option<Bytes> {
        self.next(&[WordKind::Key, WordKind::Value, WordKind::Pattern, WordKind::Topic]).map(Bytes::from)
    }

    /// `parse` has counted the words: what is needed is there.
    fn bytes(&mut self) -> Bytes {
        self.optional_bytes().expect("needed arguments were counted")
    }

    fn text(&mut self, kinds: &[WordKind]) -> Option<String> {
        self.next(kinds).map(|word| String::from_utf8_lossy(&word).into_owned())
    }

    fn wrong(&self, word: &str, should_be: &str) -> String {
        let name = self.spec.parameters[self.at - 1].name;
        let word = preview(word.as_bytes(), 20);
        format!("'{word}' is no {name}: give {should_be}; usage: {}", self.spec.usage())
    }

    fn optional_who(&mut self) -> Result<Option<Who>, String> {
        let Some(word) = self.text(&[WordKind::Server, WordKind::Rank]) else { return Ok(None) };
        match word.to_ascii_lowercase().as_str() {
            "primary" => Ok(Some(Who::Primary)),
            "backup" => Ok(Some(Who::Backup)),
            number if super::parse::is_repeat(number.as_bytes()) => match number.parse() {
                Ok(rank) => Ok(Some(Who::Rank(Rank(rank)))),
                Err(_) => Err(self.wrong(&word, "a rank such as 1, or primary, or backup")),
            },
            _ => Err(self.wrong(&word, "a rank such as 1, or primary, or backup")),
        }
    }

    fn who(&mut self) -> Result<Who, String> {
        Ok(self.optional_who()?.expect("needed arguments were counted"))
    }

    /// True when the optional word is there; any other word is an error.
    fn word(&mut self) -> Result<bool, String> {
        let Some(word) = self.text(&[WordKind::Word]) else { return Ok(false) };
        let expected = self.spec.parameters[self.at - 1].name;
        if word.eq_ignore_ascii_case(expected) {
            Ok(true)
        } else {
            Err(self.wrong(&word, &format!("the word {expected}, or nothing")))
        }
    }

    fn optional_rule(&mut self) -> Result<Option<Rule>, String> {
        let Some(word) = self.text(&[WordKind::Rule]) else { return Ok(None) };
        word.parse().map(Some).map_err(|_| self.wrong(&word, &format!("one of {}", Rule::names())))
    }

    fn point(&mut self) -> Result<CrashPoint, String> {
        let word = self.text(&[WordKind::Point]).unwrap_or_default();
        let known = CrashPoint::ALL.into_iter().find(|point| word.eq_ignore_ascii_case(point.name()));
        let names = CrashPoint::ALL.map(CrashPoint::name).join(", ");
        known.ok_or_else(|| self.wrong(&word, &format!("one of {names}")))
    }

    fn optional_deed(&mut self) -> Result<Option<Meddling>, String> {
        let Some(word) = self.text(&[WordKind::Deed]) else { return Ok(None) };
        let known = Meddling::ALL.into_iter().find(|deed| word.eq_ignore_ascii_case(deed.name()));
        known
            .map(Some)
            .ok_or_else(|| self.wrong(&word, &format!("one of {}", Meddling::ALL.map(Meddling::name).join(", "))))
    }

    fn optional_switch(&mut self) -> Result<Option<bool>, String> {
        let Some(word) = self.text(&[WordKind::Switch]) else { return Ok(None) };
        match word.to_ascii_lowercase().as_str() {
            "on" => Ok(Some(true)),
            "off" => Ok(Some(false)),
            _ => Err(self.wrong(&word, "on or off")),
        }
    }

    fn hands(&mut self) -> Result<Vec<u32>, String> {
        let mut hands = Vec::new();
        while self.at < self.spec.parameters.len() {
            let Some(word) = self.text(&[WordKind::Hands]) else { break };
            let count = word.parse().ok().filter(|count| *count <= HANDS_MAX);
            hands.push(count.ok_or_else(|| self.wrong(&word, &format!("a number from 0 to {HANDS_MAX}")))?);
        }
        Ok(hands)
    }

    fn shot(&mut self) -> Result<Shot, String> {
        let file = PathBuf::from(std::ffi::OsString::from_vec(self.bytes().to_vec()));
        let known =
            file.extension().is_some_and(|end| end.eq_ignore_ascii_case("svg") || end.eq_ignore_ascii_case("txt"));
        if !known {
            return Err(self.wrong(&file.to_string_lossy(), "a name that ends in .svg or .txt"));
        }
        let diagram = self.one_of(WordKind::Motif, ["screen", "diagram"])?;
        let dark = self.one_of(WordKind::Ground, ["light", "dark"])?.unwrap_or(false);
        Ok(Shot { file, diagram, dark })
    }

    /// Whether an optional word is the second of these.
    fn one_of(&mut self, kind: WordKind, words: [&str; 2]) -> Result<Option<bool>, String> {
        let Some(word) = self.text(&[kind]) else { return Ok(None) };
        let known = words.iter().position(|known| word.eq_ignore_ascii_case(known));
        known.map(|at| Some(at == 1)).ok_or_else(|| self.wrong(&word, &format!("{} or {}", words[0], words[1])))
    }

    fn probability(&mut self) -> Result<f64, String> {
        let word = self.text(&[WordKind::Probability]).expect("needed arguments were counted");
        let parsed = match word.strip_suffix('%') {
            Some(percent) => number(percent).map(|p| p / 100.0),
            None => number(&word),
        };
        parsed
            .filter(|p| (0.0..=1.0).contains(p))
            .ok_or_else(|| self.wrong(&word, "a probability between 0 and 1 such as 0.2, or 20%"))
    }

    fn millis(&mut self) -> Result<f64, String> {
        let word = self.text(&[WordKind::Millis]).expect("needed arguments were counted");
        number(word.strip_suffix("ms").unwrap_or(&word))
            .filter(|ms| (0.0..=DELAY_MAX_MS).contains(ms))
            .ok_or_else(|| self.wrong(&word, &format!("milliseconds between 0 and {DELAY_MAX_MS}")))
    }

    fn seconds(&mut self) -> Result<Duration, String> {
        let word = self.text(&[WordKind::Seconds]).expect("needed arguments were counted");
        number(word.strip_suffix('s').unwrap_or(&word))
            .filter(|s| (0.0..=SLEEP_MAX_SECONDS).contains(s))
            .map(Duration::from_secs_f64)
            .ok_or_else(|| self.wrong(&word, &format!("seconds between 0 and {SLEEP_MAX_SECONDS}")))
    }

    fn load(&mut self) -> Result<Option<LoadWish>, String> {
        let Some(word) = self.text(&[WordKind::Load]) else { return Ok(None) };
        let per_second =
            match word.to_ascii_lowercase().as_str() {
                "off" => return Ok(Some(LoadWish::Off)),
                "on" => None,
                rate => Some(number(rate).filter(|rate| (1.0..=RATE_MAX).contains(rate)).ok_or_else(|| {
                    self.wrong(&word, &format!("on, off, or requests a second from 1 to {RATE_MAX}"))
                })?),
            };
        let workload = self.workload()?.unwrap_or(Workload::A);
        Ok(Some(LoadWish::On(LoadOrder { workload, per_second })))
    }

    fn workload(&mut self) -> Result<Option<Workload>, String> {
        let Some(word) = self.text(&[WordKind::Workload]) else { return Ok(None) };
        match Workload::ALL.into_iter().find(|workload| word.eq_ignore_ascii_case(workload.name())) {
            Some(workload) => Ok(Some(workload)),
            None => Err(self.wrong(&word, "A (half reads), B (95 % reads), or C (only reads)")),
        }
    }

    fn optional_count(&mut self) -> Result<Option<usize>, String> {
        let Some(word) = self.text(&[WordKind::Count]) else { return Ok(None) };
        match word.parse() {
            Ok(count @ 1..=EVENTS_COUNT_MAX) => Ok(Some(count)),
            _ => Err(self.wrong(&word, &format!("a number from 1 to {EVENTS_COUNT_MAX}"))),
        }
    }
}

/// A decimal number; not `inf`, not `1e3`.
fn number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if plain { text.parse().ok() } else { None }
}

/// Our own verbs, and after them the rest of what the store can do.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    COMMANDS.iter().chain(stored::STORED.iter())
}

/// The command of this name or alias, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static CommandSpec> {
    all().find(|spec| spec.names().any(|n| n.as_bytes().eq_ignore_ascii_case(name)))
}

/// The name that was probably meant, if one is near.
#[must_use]
pub fn nearest(name: &[u8]) -> Option<&'static str> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_uppercase();
    // One slip in three letters, two in six, three in a longer word.
    let slips_max = (name.chars().count() / 3).clamp(1, 3);
    // The distance is computed letter by letter: a whole book is not compared.
    if name.is_empty() || name.len() > 20 {
        return None;
    }
    all()
        .flat_map(CommandSpec::names)
        .map(|known| (strsim::osa_distance(&name, known), known))
        .filter(|(slips, known)| *slips <= slips_max || (name.len() >= 3 && known.starts_with(&name)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

/// The commands as Markdown tables, one for each group, for the README.
#[must_use]
pub fn markdown_tables() -> String {
    let mut text = String::new();
    for group in CommandGroup::ALL {
        text.push_str(&format!("| {} | |\n|---|---|\n", group.name()));
        for spec in COMMANDS.iter().filter(|spec| spec.group == group) {
            let aliases: String = spec.aliases.iter().map(|alias| format!(" (`{alias}`)")).collect();
            text.push_str(&format!("| `{}`{aliases} | {} |\n", spec.usage(), spec.help.replace('|', "\\|")));
        }
        text.push('\n');
    }
    for group in stored::GROUPS {
        text.push_str(&format!("| {group} | |\n|---|---|\n"));
        for spec in stored::of_group(group) {
            text.push_str(&format!("| `{}` | {} |\n", spec.usage().replace('|', "\\|"), spec.help));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::help::help;
    use super::super::parse;
    use super::*;

    fn action(line: &str) -> Result<Action, String> {
        parse::request(line.as_bytes()).map(|request| request.expect("no comment").action)
    }

    #[test]
    fn every_command_is_complete() {
        for spec in COMMANDS {
            assert!(spec.names().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_uppercase())), "{}", spec.name);
            assert!(!spec.help.is_empty() && spec.help.len() <= 80, "{}", spec.name);
            assert!(spec.parameters.is_sorted_by_key(|p| p.optional), "{}: an optional one comes first", spec.name);
            action(spec.example).unwrap_or_else(|why| panic!("{}: {why}", spec.example));
            let explained = help(Some(spec.name)).expect("every command has help");
            assert!(explained.contains(spec.help) && explained.contains(spec.example), "{explained}");
        }
    }

    #[test]
    fn every_kind_is_read_in_each_of_its_ways() {
        assert_eq!(action("failrate 20%"), Ok(Action::FailRate(0.2)));
        assert_eq!(action("Loss .5"), Ok(Action::Loss(0.5)));
        assert_eq!(action("delay 5ms"), Ok(Action::Delay(5.0)));
        assert_eq!(action("SLEEP 0.25"), Ok(Action::Sleep(Duration::from_millis(250))));
        assert_eq!(action("crash PRIMARY"), Ok(Action::Crash(Who::Primary)));
        assert_eq!(action("recover"), Ok(Action::Recover(None)));
        assert_eq!(action("recover 2"), Ok(Action::Recover(Some(Who::Rank(Rank(2))))));
        let oneway = Action::Cut { a: Who::Rank(Rank(1)), b: Who::Backup, oneway: true };
        assert_eq!(action("cut 1 backup ONEWAY"), Ok(oneway));
        assert_eq!(action("exit"), Ok(Action::Quit));
        assert_eq!(action("keys"), Ok(Action::Data(Command::Keys { pattern: "*".into() })));
    }

    #[test]
    fn wrong_arguments_get_the_reason_and_the_usage_line() {
        for (line, expected) in [
            ("GET", "GET needs key: usage: GET key"),
            ("put a", "PUT needs value: usage: PUT key value"),
            ("GET a b", "'b' is too much for GET: usage: GET key"),
            ("PUT a b c", "'c' is too much for PUT: usage: PUT key value; quote a value with blanks: \"two words\""),
            ("CRASH me", "'me' is no who: give a rank such as 1, or primary, or backup; usage: CRASH who [at] [point]"),
            (
                "CRASH 99999999999",
                "'99999999999' is no who: give a rank such as 1, or primary, or backup; usage: CRASH who [at] [point]",
            ),
            ("CUT 1 2 both", "'both' is no oneway: give the word oneway, or nothing; usage: CUT a b [oneway]"),
            ("LOSS 1.5", "'1.5' is no p: give a probability between 0 and 1 such as 0.2, or 20%; usage: LOSS p"),
            ("EVENTS 0", "'0' is no n: give a number from 1 to 10000; usage: EVENTS [n]"),
        ] {
            assert_eq!(action(line), Err(expected.to_owned()));
        }
        for wrong in
            ["LOSS nan", "LOSS -1", "LOSS 101%", "DELAY inf", "DELAY 1e3", "SLEEP 86401", "LOSS .", "LOSS 1.2.3"]
        {
            assert!(action(wrong).is_err(), "{wrong}");
        }
    }
}
