//! What a client may ask, what it is answered, and the limits of both.

use super::commands::{Row, RowId};
use super::{Bytes, ClientId, OpNumber, StoreError, UnixMs};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// The longest value, in bytes (1 MiB); an `APPEND` that would pass it is refused.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The most key bytes that one `KEYS` answers (4 MiB), so that no single answer holds up a rank.
pub const KEYS_REPLY_BYTES_MAX: usize = 4 << 20;
/// How many databases there are; the prompt uses the first.
pub const DATABASES: usize = 16;
/// The most commands of one `EXEC`.
pub const MULTI_COMMANDS_MAX: usize = 16_384;
/// The most arguments of one command.
pub const ARGUMENTS_MAX: usize = 1 << 20;

/// In words a command shows no more arguments than this.
const SHOWN_ARGUMENTS: usize = 4;

/// One operation on the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The value of a key, or nil.
    Get { key: Bytes },
    /// Store a value, whether or not the key is there.
    Put { key: Bytes, value: Bytes },
    /// Store a value only if the key is not there.
    Add { key: Bytes, value: Bytes },
    /// Store a value only if the key is there.
    Update { key: Bytes, value: Bytes },
    /// Remove a key; answers how many keys that removed (0 or 1).
    Delete { key: Bytes },
    /// Append to a value (a missing key is empty); answers the new length in bytes.
    Append { key: Bytes, value: Bytes },
    /// Add one to a decimal 64-bit integer (a missing key is 0); answers the new number.
    Incr { key: Bytes },
    /// All keys that match a glob ([`super::glob`]), in byte order.
    Keys { pattern: Bytes },
    /// How many keys there are.
    Count,
    /// Any other command of [`super::commands`].
    Call(Box<Call>),
    /// `EXEC`: several commands as one, if nothing that was watched has changed.
    Multi(Box<Multi>),
    /// The primary's own: these keys are past their time.
    Expire(Box<[(Db, Bytes)]>),
    /// The client's last word: its session ends.
    Leave,
    /// The primary's own: the sessions of those who have written nothing for long end.
    End(Box<Silent>),
}

/// Clients that have written nothing for long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// Who has written after this time after all is left alone.
    pub before: UnixMs,
    /// All others of these.
    pub clients: Vec<ClientId>,
}

/// A command of the table with its arguments, in one of the databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Received")]
pub struct Call {
    /// The database.
    pub db: Db,
    /// Which command.
    pub row: RowId,
    /// What follows the name.
    pub args: Vec<Bytes>,
}

/// A command as it arrives.
#[derive(Deserialize)]
struct Received {
    db: Db,
    row: RowId,
    args: Vec<Bytes>,
}

impl TryFrom<Received> for Call {
    type Error = &'static str;
    fn try_from(Received { db, row, args }: Received) -> Result<Self, Self::Error> {
        let fits = row.row().accepts(args.len() + 1);
        if fits { Ok(Self { db, row, args }) } else { Err("a command with a wrong number of arguments") }
    }
}

/// The commands of an `EXEC`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Multi {
    /// What to do, in order.
    #[serde(deserialize_with = "super::depth::deeper")]
    pub commands: Vec<Command>,
    /// What must not have changed.
    pub watched: Vec<Watched>,
}

/// A key that a client watches, and the write that had changed it last when it began to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The database.
    pub db: Db,
    /// The key.
    pub key: Bytes,
    /// What [`Command::version`] answered.
    pub op: OpNumber,
}

/// The number of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Db(u8);

impl Db {
    /// The database of this number, if there is one.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| usize::from(*number) < DATABASES).map(Self)
    }

    /// All databases.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..DATABASES as u8).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl<'de> Deserialize<'de> for Db {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::new(number.into()).ok_or_else(|| serde::de::Error::custom("no such database"))
    }
}

impl Call {
    /// The command's row in the table.
    #[must_use]
    pub fn row(&self) -> &'static Row {
        self.row.row()
    }

    /// The keys that it is about.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.row().key_positions(&self.args).filter_map(|at| self.args.get(at))
    }
}

impl Command {
    /// `EXEC` of these commands; nothing happens when a watched key has changed.
    #[must_use]
    pub fn multi(commands: Vec<Command>, watched: Vec<Watched>) -> Self {
        Self::Multi(Box::new(Multi { commands, watched }))
    }

    /// A question for the write that changed a key last, for `WATCH`: its op number, or 0 when there is no such key.
    ///
    /// # Panics
    /// Never: the table has that command.
    #[must_use]
    pub fn version(db: Db, key: Bytes) -> Self {
        let row = RowId::of("version").expect("the table has it");
        Self::Call(Box::new(Call { db, row, args: vec![key] }))
    }

    /// True for what is answered from committed state without a place in the order of writes.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Get { .. } | Self::Keys { .. } | Self::Count => true,
            Self::Call(call) => call.row().is_read(),
            _ => false,
        }
    }

    /// The one key this command reads or writes, if it is about one key of the first database.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Get { key }
            | Self::Put { key, .. }
            | Self::Add { key, .. }
            | Self::Update { key, .. }
            | Self::Delete { key }
            | Self::Append { key, .. }
            | Self::Incr { key } => Some(key),
            Self::Call(call) => {
                let mut keys = call.keys();
                let first = keys.next().filter(|_| call.db == Db::default());
                first.filter(|_| keys.next().is_none())
            }
            Self::Keys { .. } | Self::Count | Self::Multi(_) | Self::Expire(_) | Self::Leave | Self::End(_) => None,
        }
    }

    /// All keys of the first database that this command names.
    #[must_use]
    pub fn named_keys(&self) -> Vec<&Bytes> {
        match self {
            Self::Call(call) if call.db == Db::default() => call.keys().collect(),
            Self::Multi(multi) => multi.commands.iter().flat_map(Self::named_keys).collect(),
            other => other.key().into_iter().collect(),
        }
    }

    /// The bytes that a write brings along.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put { value, .. }
            | Self::Add { value, .. }
            | Self::Update { value, .. }
            | Self::Append { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The name as a user types it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "GET",
            Self::Put { .. } => "PUT",
            Self::Add { .. } => "ADD",
            Self::Update { .. } => "UPDATE",
            Self::Delete { .. } => "DELETE",
            Self::Append { .. } => "APPEND",
            Self::Incr { .. } => "INCR",
            Self::Keys { .. } => "KEYS",
            Self::Count => "COUNT",
            Self::Call(call) => call.row().shown,
            Self::Multi(_) => "EXEC",
            Self::Expire(_) => "EXPIRED",
            Self::Leave => "LEAVE",
            Self::End(_) => "ENDED",
        }
    }

    /// True for what is refused when there is no memory left: it could make the store larger.
    #[must_use]
    pub fn needs_memory(&self) -> bool {
        match self {
            Self::Put { .. } | Self::Add { .. } | Self::Update { .. } | Self::Append { .. } | Self::Incr { .. } => true,
            Self::Call(call) => call.row().has_flag("denyoom"),
            Self::Multi(multi) => multi.commands.iter().any(Self::needs_memory),
            _ => false,
        }
    }

    /// The lists and sorted sets that this command may bring into being: who waits for one to pop from it can look
    /// again once it was carried out.
    pub fn grows(&self) -> Vec<(Db, &Bytes)> {
        match self {
            Self::Call(call) => {
                let positions = call.row().grown_positions(&call.args);
                positions.filter_map(|at| Some((call.db, call.args.get(at)?))).collect()
            }
            Self::Multi(multi) => multi.commands.iter().flat_map(Self::grows).collect(),
            _ => Vec::new(),
        }
    }

    /// The database and the glob of a `KEYS`.
    #[must_use]
    pub fn keys_pattern(&self) -> Option<(Db, &Bytes)> {
        match self {
            Self::Keys { pattern } => Some((Db::default(), pattern)),
            Self::Call(call) if call.row().name == "keys" => Some((call.db, call.args.first()?)),
            _ => None,
        }
    }

    /// Bytes of key and value, for limits on queues.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Call(call) => call.args.iter().map(|arg| arg.len()).sum(),
            Self::Multi(multi) => {
                let watched: usize = multi.watched.iter().map(|watched| watched.key.len()).sum();
                watched + multi.commands.iter().map(Self::size_bytes).sum::<usize>()
            }
            Self::Expire(keys) => keys.iter().map(|(_, key)| key.len()).sum(),
            Self::End(silent) => silent.clients.len() * size_of::<ClientId>(),
            other => other.key().map_or(0, |k| k.len()) + other.value().map_or(0, |v| v.len()),
        }
    }

    /// Refuses keys and values beyond the limits. Clients check before they send, servers before they accept.
    ///
    /// # Errors
    /// [`StoreError::KeyTooLong`] and [`StoreError::ValueTooLong`].
    pub fn check_limits(&self) -> Result<(), StoreError> {
        let check_key = |key: &Bytes| match key.len() {
            length if length > KEY_BYTES_MAX => Err(StoreError::KeyTooLong(length as u64)),
            _ => Ok(()),
        };
        let check_value = |value: &Bytes| match value.len() {
            length if length > VALUE_BYTES_MAX => Err(StoreError::ValueTooLong(length as u64)),
            _ => Ok(()),
        };
        match self {
            Self::Keys { pattern } => check_key(pattern),
            Self::Call(call) => {
                call.keys().try_for_each(check_key)?;
                call.args.iter().try_for_each(check_value)
            }
            Self::Multi(multi) if multi.commands.len() > MULTI_COMMANDS_MAX => {
                Err(StoreError::told(format!("ERR more than {MULTI_COMMANDS_MAX} commands in one EXEC")))
            }
            Self::Multi(multi) => {
                multi.watched.iter().try_for_each(|watched| check_key(&watched.key))?;
                multi.commands.iter().try_for_each(Self::check_limits)
            }
            other => {
                other.key().map_or(Ok(()), check_key)?;
                other.value().map_or(Ok(()), check_value)
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Keys { pattern } => write!(f, " {pattern}"),
            Self::Call(call) => {
                if call.db != Db::default() {
                    write!(f, "[{}]", call.db.0)?;
                }
                call.args.iter().take(SHOWN_ARGUMENTS).try_for_each(|arg| write!(f, " {}", arg.preview(24)))?;
                f.write_str(if call.args.len() > SHOWN_ARGUMENTS { " …" } else { "" })
            }
            Self::Multi(multi) => multi
                .commands
                .iter()
                .take(SHOWN_ARGUMENTS)
                .enumerate()
                .try_for_each(|(at, command)| write!(f, "{}{command}", if at > 0 { "; " } else { " " })),
            Self::Expire(keys) => {
                keys.iter().take(SHOWN_ARGUMENTS).try_for_each(|(_, key)| write!(f, " {}", key.preview(24)))?;
                f.write_str(if keys.len() > SHOWN_ARGUMENTS { " …" } else { "" })
            }
            Self::End(silent) => {
                silent.clients.iter().take(SHOWN_ARGUMENTS).try_for_each(|client| write!(f, " c{client}"))?;
                f.write_str(if silent.clients.len() > SHOWN_ARGUMENTS { " …" } else { "" })
            }
            other => {
                if let Some(key) = other.key() {
                    write!(f, " {}", key.preview(24))?;
                }
                other.value().map_or(Ok(()), |value| write!(f, " {}", value.preview(24)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_their_limits() {
        let bytes = |count: usize| Bytes::from(vec![b'x'; count]);
        let put = |key: usize, value: usize| Command::Put { key: bytes(key), value: bytes(value) };
        assert_eq!(put(KEY_BYTES_MAX, VALUE_BYTES_MAX).check_limits(), Ok(()));
        let too_long = Err(StoreError::KeyTooLong(KEY_BYTES_MAX as u64 + 1));
        assert_eq!(put(KEY_BYTES_MAX + 1, 1).check_limits(), too_long);
        assert_eq!(Command::Keys { pattern: bytes(KEY_BYTES_MAX + 1) }.check_limits(), too_long);
        let too_long = Err(StoreError::ValueTooLong(VALUE_BYTES_MAX as u64 + 1));
        assert_eq!(put(1, VALUE_BYTES_MAX + 1).check_limits(), too_long);
        assert_eq!((put(3, 5).size_bytes(), Command::Count.size_bytes()), (8, 0));
    }
}
