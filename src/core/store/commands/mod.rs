//! The one table of the store's commands: what a parser, a help text and a door need to know, and what each one does.
//!
//! A command travels as its row and its arguments ([`super::Call`]) and is carried out by its row's function on every
//! server, in the order in which Redis looks at arguments and keys: so a command that Redis would queue in a `MULTI`
//! and refuse in the `EXEC` is refused there here as well. What can be refused at once (an unknown name, a wrong
//! number of arguments) is refused by [`parse`].
//!
//! To add a command: a row in the file of its kind, and the function that it names. Everything else follows from the
//! row: the parser, completion, hints, HELP, the README's table (a test says what to put there), and what a door says
//! of it.

mod args;
mod decimals;
mod hash;
mod keys;
mod list;
mod list_pops;
mod set;
pub(super) mod strings;
mod zset;
mod zset_algebra;
mod zset_ranges;

use super::transaction::{StoreView, Transaction};
use super::{Bytes, Call, Command, Db, Reply, StoreError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::LazyLock;

/// What a command comes to, or one of its steps.
pub type CommandResult<T = Reply> = Result<T, StoreError>;

/// What carries a command out.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// It is answered from what is there.
    Read(fn(&StoreView<'_>, &[Bytes]) -> CommandResult),
    /// It has a place in the order of writes. It may take its arguments away.
    Write(fn(&mut Transaction<'_>, &mut [Bytes]) -> CommandResult),
}

/// Whether a command changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// It is answered from what is there.
    Read,
    /// It has a place in the order of writes.
    Write,
}

/// One command.
#[derive(Debug)]
pub struct Row {
    /// As Redis lists it, in small letters.
    pub name: &'static str,
    /// As a user types it.
    pub shown: &'static str,
    /// How many words, the name included; negative: at least this many.
    pub arity: i16,
    /// What carries it out.
    pub run: Run,
    /// Whether it changes something.
    pub kind: CommandKind,
    /// Redis' other flags: `fast`, `denyoom`, `blocking`, `movablekeys`.
    pub flags: Vec<&'static str>,
    /// Position of the first key (the name is 0; 0: no key), of the last (negative: counted from the end), and from
    /// key to key.
    pub keys: Keys,
    /// The kind of value, as Redis groups its commands: `string`, `list`, …
    pub group: &'static str,
    /// What follows the name, for people.
    pub syntax: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
}

/// Where the keys stand, as Redis says it: first, last, step.
pub type Keys = (i16, i16, i16);

/// A row as it is written down: name, arity, what carries it out, flags, keys, syntax, summary.
type TableLine = (&'static str, i16, Run, &'static str, Keys, &'static str, &'static str);

/// No key.
const NO_KEY: Keys = (0, 0, 0);
/// The first argument.
const ONE_KEY: Keys = (1, 1, 1);
/// The first two.
const TWO_KEYS: Keys = (1, 2, 1);
/// All arguments.
const ALL_KEYS: Keys = (1, -1, 1);

impl Row {
    /// True for what changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.kind == CommandKind::Read
    }

    /// Redis' flags, `write` or `readonly` first.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static str> {
        let kind = if self.is_read() { "readonly" } else { "write" };
        std::iter::once(kind).chain(self.flags.iter().copied())
    }

    /// Whether it has one of Redis' flags.
    #[must_use]
    pub fn has_flag(&self, flag: &str) -> bool {
        self.all_flags().any(|own| own == flag)
    }

    /// Whether it may have this many words, the name included.
    #[must_use]
    pub fn accepts(&self, words: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// Where the keys stand among the arguments (0: the first after the name).
    pub fn key_positions(&self, args: &[Bytes]) -> std::vec::IntoIter<usize> {
        let (first, last, step) = self.keys;
        let words = i64::try_from(args.len()).unwrap_or(i64::MAX - 1) + 1;
        let last = if last < 0 { words + i64::from(last) } else { i64::from(last) };
        let end = if first == 0 { 0 } else { usize::try_from(last.min(words - 1) + 1).unwrap_or(0) };
        let first = usize::try_from(first).unwrap_or(0);
        let fixed = (first..end).step_by(usize::try_from(step).unwrap_or(1).max(1)).map(|at| at - 1);
        // A number says how many keys follow.
        let counted = self.counted_at().and_then(|at| Some((at, args::integer(args.get(at)?).ok()?)));
        let counted = counted.map_or(0..0, |(at, count)| {
            let end = at.saturating_add(1).saturating_add(usize::try_from(count).unwrap_or(0));
            at + 1..end.min(args.len())
        });
        fixed.chain(counted).collect::<Vec<_>>().into_iter()
    }

    /// Where the number of keys stands.
    fn counted_at(&self) -> Option<usize> {
        match self.name {
            "zunionstore" | "zinterstore" | "zdiffstore" => Some(1),
            "zunion" | "zinter" | "zdiff" | "zintercard" | "sintercard" | "lmpop" | "zmpop" => Some(0),
            _ => None,
        }
    }

    /// Where the keys of lists and sorted sets stand that may come into being.
    pub(super) fn grown_positions(&self, args: &[Bytes]) -> std::vec::IntoIter<usize> {
        let at = match self.name {
            "lpush" | "rpush" | "zadd" | "zincrby" | "zunionstore" | "zinterstore" | "zdiffstore" | "zrangestore"
            | "move" => vec![0],
            "lmove" | "rpoplpush" | "rename" | "renamenx" | "copy" => vec![1],
            _ => Vec::new(),
        };
        at.into_iter().filter(|at| *at < args.len()).collect::<Vec<_>>().into_iter()
    }
}

/// A row's place in the table: what travels of a command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowId(u16);

impl RowId {
    /// The row of this name, in any letters.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::find(name.as_bytes())
    }

    fn find(name: &[u8]) -> Option<Self> {
        let mut small = [0; NAME_BYTES_MAX];
        let small = small.get_mut(..name.len())?;
        small.copy_from_slice(name);
        small.make_ascii_lowercase();
        let small: &[u8] = small;
        let at = TABLE.binary_search_by(|row| row.name.as_bytes().cmp(small)).ok()?;
        u16::try_from(at).ok().map(Self)
    }

    /// The row.
    ///
    /// # Panics
    /// Never: a number without a row is not let in.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &TABLE[usize::from(self.0)]
    }
}

impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        let known = TABLE.get(usize::from(number)).map(|_| Self(number));
        known.ok_or_else(|| serde::de::Error::custom("no such command"))
    }
}

/// No name is longer.
const NAME_BYTES_MAX: usize = 24;

/// All commands, by name: so that a number means the same on every server of one version.
static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let groups: [(&str, &[&[TableLine]]); 6] = [
        ("generic", &[keys::ROWS]),
        ("string", &[strings::ROWS]),
        ("hash", &[hash::ROWS]),
        ("list", &[list::ROWS, list_pops::ROWS]),
        ("set", &[set::ROWS]),
        ("sorted-set", &[zset::ROWS, zset_ranges::ROWS, zset_algebra::ROWS]),
    ];
    let row = |group: &'static str, line: &TableLine| {
        let (shown, arity, run, flags, keys, syntax, summary) = *line;
        // Made once, for as long as the program runs.
        let name: &'static str = Box::leak(shown.to_lowercase().into_boxed_str());
        let kind = if matches!(run, Run::Read(_)) { CommandKind::Read } else { CommandKind::Write };
        let flags = flags.split_whitespace().collect();
        Row { name, shown, arity, run, kind, flags, keys, group, syntax, summary }
    };
    let lines = groups.iter().flat_map(|(group, parts)| parts.iter().flat_map(|part| part.iter()).map(|l| (*group, l)));
    let mut table: Vec<Row> = lines.map(|(group, line)| row(group, line)).collect();
    table.sort_by_key(|row| row.name);
    table
});

/// All commands, by name.
pub fn table() -> impl Iterator<Item = &'static Row> {
    TABLE.iter()
}

/// A command of the first database from its words.
///
/// # Errors
/// An unknown name or a wrong number of arguments, in the words of Redis.
pub fn parse(words: &[Bytes]) -> Result<Command, StoreError> {
    parse_in(Db::default(), words)
}

/// A command from its words.
///
/// # Errors
/// As [`parse`].
pub fn parse_in(db: Db, words: &[Bytes]) -> Result<Command, StoreError> {
    let Some((name, args)) = words.split_first() else { return Err(StoreError::said("ERR empty command")) };
    let Some(id) = RowId::find(name) else { return Err(unknown(name, args)) };
    let row = id.row();
    if !row.accepts(words.len()) {
        return Err(StoreError::told(format!("ERR wrong number of arguments for '{}' command", row.name)));
    }
    Ok(command_of(db, id, args))
}

/// The command of a row with these arguments, of which there must be as many as the row accepts.
#[must_use]
pub fn command_of(db: Db, id: RowId, args: &[Bytes]) -> Command {
    let plain = if db == Db::default() { plain(id.row().name, args) } else { None };
    plain.unwrap_or_else(|| Command::Call(Box::new(Call { db, row: id, args: args.to_vec() })))
}

/// The commonest commands have a variant of their own, which costs less.
fn plain(name: &str, args: &[Bytes]) -> Option<Command> {
    Some(match (name, args) {
        ("get", [key]) => Command::Get { key: key.clone() },
        ("set" | "put", [key, value]) => Command::Put { key: key.clone(), value: value.clone() },
        ("add", [key, value]) => Command::Add { key: key.clone(), value: value.clone() },
        ("update", [key, value]) => Command::Update { key: key.clone(), value: value.clone() },
        ("del" | "delete" | "unlink", [key]) => Command::Delete { key: key.clone() },
        ("append", [key, value]) => Command::Append { key: key.clone(), value: value.clone() },
        ("incr", [key]) => Command::Incr { key: key.clone() },
        ("keys", [pattern]) => Command::Keys { pattern: pattern.clone() },
        ("dbsize" | "count", []) => Command::Count,
        _ => return None,
    })
}

/// The answer of Redis to a name that it does not know; clients look for its first words.
fn unknown(name: &[u8], args: &[Bytes]) -> StoreError {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(128)]).into_owned();
    let mut begin = String::new();
    for arg in args {
        if begin.len() >= 128 {
            break;
        }
        begin.push_str(&format!("'{}' ", shown(arg)));
    }
    StoreError::told(format!("ERR unknown command '{}', with args beginning with: {begin}", shown(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(Bytes::from).collect()
    }

    #[test]
    fn a_command_is_looked_up_and_its_words_are_counted() {
        let said = |line: &str| parse(&words(line)).unwrap_err().redis_text().into_owned();
        assert_eq!(parse(&words("gEt k")), Ok(Command::Get { key: "k".into() }));
        assert_eq!(said("get"), "ERR wrong number of arguments for 'get' command");
        assert_eq!(said("del"), "ERR wrong number of arguments for 'del' command");
        assert_eq!(said("foo a b"), "ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
        let two = parse(&words("DEL a b")).unwrap();
        let Command::Call(call) = &two else { panic!("{two:?}") };
        assert_eq!(call.keys().collect::<Vec<_>>(), ["a", "b"].map(Bytes::from).iter().collect::<Vec<_>>());
        assert_eq!((two.key(), two.to_string()), (None, "DEL a b".into()));
        let copy: Command = postcard::from_bytes(&postcard::to_stdvec(&two).unwrap()).unwrap();
        assert_eq!(copy, two);
    }

    #[test]
    fn a_command_that_does_not_exist_is_not_let_in() {
        let encoded = postcard::to_stdvec(&(0_u8, u16::MAX, Vec::<Bytes>::new())).unwrap();
        assert!(postcard::from_bytes::<Call>(&encoded).is_err());
        let encoded = postcard::to_stdvec(&(16_u8, 0_u16, Vec::<Bytes>::new())).unwrap();
        assert!(postcard::from_bytes::<Call>(&encoded).is_err());
    }
}
