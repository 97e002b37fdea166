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

use super::{Bytes, Call, Command, Db, StoreError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether a command changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
    /// How many words, the name included; negative: at least so many.
    pub arity: i16,
    /// Whether it changes something.
    pub kind: Kind,
    /// Redis' other flags: `fast`, `denyoom`, `blocking`, `movablekeys`.
    pub flags: &'static [&'static str],
    /// Position of the first key (the name is 0; 0: no key), of the last (negative: counted from the end), and from
    /// key to key.
    pub keys: (i16, i16, i16),
    /// The kind of value, as Redis groups its commands: `string`, `list`, …
    pub group: &'static str,
    /// What follows the name, for people.
    pub syntax: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
}

impl Row {
    /// Redis' flags, `write` or `readonly` first.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static str> {
        let kind = if self.kind == Kind::Read { "readonly" } else { "write" };
        std::iter::once(kind).chain(self.flags.iter().copied())
    }

    /// Whether it may have so many words, the name included.
    #[must_use]
    pub fn accepts(&self, words: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// Where the keys stand among the arguments (0: the first after the name).
    pub fn key_positions(&self, args: &[Bytes]) -> impl Iterator<Item = usize> + use<> {
        let (first, last, step) = self.keys;
        let words = i64::try_from(args.len()).unwrap_or(i64::MAX - 1) + 1;
        let last = if last < 0 { words + i64::from(last) } else { i64::from(last) };
        let end = if first == 0 { 0 } else { usize::try_from(last.min(words - 1) + 1).unwrap_or(0) };
        let first = usize::try_from(first).unwrap_or(0);
        (first..end).step_by(usize::try_from(step).unwrap_or(1).max(1)).map(|at| at - 1)
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
        let at = table().position(|row| row.name.as_bytes().eq_ignore_ascii_case(name))?;
        u16::try_from(at).ok().map(Self)
    }

    /// The row.
    ///
    /// # Panics
    /// Never: a number without a row is not let in.
    #[must_use]
    pub fn row(self) -> &'static Row {
        table().nth(self.0.into()).expect("it was looked up")
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
        let known = table().nth(number.into()).map(|_| Self(number));
        known.ok_or_else(|| serde::de::Error::custom("no such command"))
    }
}

/// All commands.
pub fn table() -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
}

/// The command of this name, in any letters.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    RowId::find(name).map(RowId::row)
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
    if db == Db::default()
        && let Some(plain) = plain(row.name, args)
    {
        return Ok(plain);
    }
    Ok(Command::Call(Box::new(Call { db, row: id, args: args.to_vec() })))
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

macro_rules! row {
    ($name:literal $shown:literal $arity:literal $kind:ident $flags:tt $keys:tt
     $group:literal $syntax:literal $summary:literal) => {
        Row {
            name: $name,
            shown: $shown,
            arity: $arity,
            kind: Kind::$kind,
            flags: &$flags,
            keys: $keys,
            group: $group,
            syntax: $syntax,
            summary: $summary,
        }
    };
}

const ROWS: &[Row] = &[
    row!("get" "GET" 2 Read ["fast"] (1, 1, 1) "string" "key" "The value of a key."),
    row!("set" "SET" -3 Write ["denyoom"] (1, 1, 1) "string" "key value" "Stores a value."),
    row!("put" "PUT" 3 Write ["denyoom"] (1, 1, 1) "string" "key value" "Stores a value."),
    row!("add" "ADD" 3 Write ["denyoom"] (1, 1, 1) "string" "key value" "Stores a value if there is none."),
    row!("update" "UPDATE" 3 Write ["denyoom"] (1, 1, 1) "string" "key value" "Stores a value if there is one."),
    row!("append" "APPEND" 3 Write ["denyoom", "fast"] (1, 1, 1) "string" "key value" "Appends to a value."),
    row!("incr" "INCR" 2 Write ["denyoom", "fast"] (1, 1, 1) "string" "key" "Adds one to a number."),
    row!("del" "DEL" -2 Write [] (1, -1, 1) "generic" "key [key ...]" "Removes keys."),
    row!("delete" "DELETE" 2 Write [] (1, 1, 1) "generic" "key" "Removes a key."),
    row!("keys" "KEYS" 2 Read [] (0, 0, 0) "generic" "pattern" "The keys that match a glob."),
    row!("count" "COUNT" 1 Read ["fast"] (0, 0, 0) "server" "" "How many keys there are."),
    row!("dbsize" "DBSIZE" 1 Read ["fast"] (0, 0, 0) "server" "" "How many keys there are."),
    row!("version" "VERSION" 2 Read ["fast"] (1, 1, 1) "generic" "key" "The write that changed it last."),
];

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
