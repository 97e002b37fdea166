//! The commands that a door answers itself: a table, beside that of the store.
//!
//! What is in neither is unknown, and said to be so in the words that clients look for.

use super::connection::Connection;
use super::everybody::Gathering;
use super::hall::{Hall, Then};
use super::resp::Writer;
use super::{blocking, docs, info, local, pubsub, scripts, settings, transaction};
use crate::core::protocol::Time;
use crate::core::store::commands::{self, CommandKind, RowId};
use crate::core::store::{Bytes, Command};

/// What has become of a request.
#[derive(Debug)]
pub enum DoorAnswer {
    /// It is answered.
    Said,
    /// There is nothing to be said.
    Silent,
    /// The cluster is to be asked.
    Ask(Command, Then),
    /// The other doors are to be asked the same.
    Gather(Vec<Bytes>, Gathering),
}

/// A request, who asks, and where.
#[derive(Debug)]
pub struct Visit<'a> {
    /// By the loop's clock.
    pub now: Time,
    /// All others.
    pub hall: &'a mut Hall,
    /// Who asks.
    pub me: &'a mut Connection,
    /// What.
    pub words: &'a [Bytes],
    /// What is answered.
    pub out: &'a mut Vec<u8>,
    /// It is one of the commands of an `EXEC`: nothing may wait.
    pub in_exec: bool,
}

impl Visit<'_> {
    /// Answers.
    pub fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.out, self.me.version)
    }

    /// What follows the name.
    #[must_use]
    pub fn args(&self) -> &[Bytes] {
        &self.words[1..]
    }

    /// Whether the argument at this place is this word, in any letters.
    #[must_use]
    pub fn is(&self, at: usize, word: &str) -> bool {
        self.words.get(at).is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The argument at this place as text.
    #[must_use]
    pub fn text(&self, at: usize) -> String {
        self.words.get(at).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default()
    }

    /// `OK`.
    ///
    /// # Errors
    /// Never: so that it can be the last word of a command.
    pub fn ok(&mut self) -> Result<DoorAnswer, String> {
        self.writer().ok();
        Ok(DoorAnswer::Said)
    }

    /// Answers in a few words.
    ///
    /// # Errors
    /// Never, as [`Visit::ok`].
    pub fn say(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> Result<DoorAnswer, String> {
        write(&mut self.writer());
        Ok(DoorAnswer::Said)
    }
}

type Perform = fn(&mut Visit<'_>) -> Result<DoorAnswer, String>;

/// A command of the door.
#[derive(Debug)]
pub struct Own {
    /// In small letters.
    pub name: &'static str,
    /// As in Redis: how many words; negative: at least.
    pub arity: i16,
    /// Redis' flags.
    pub flags: &'static [&'static str],
    /// First key, last key, step.
    pub keys: (i16, i16, i16),
    /// The kind.
    pub group: &'static str,
    /// A sentence.
    pub summary: &'static str,
    act: Perform,
    when: When,
}

/// When a command is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// At once; in a transaction with the others.
    Any,
    /// When everything before it is answered; in a transaction with the others.
    Quiet,
    /// At once, in a transaction too.
    Never,
}

/// A command of either table.
#[derive(Debug, Clone, Copy)]
pub enum DoorRow {
    /// The door's.
    Own(&'static Own),
    /// The store's.
    Store(RowId),
}

impl DoorRow {
    /// In small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own(own) => own.name,
            Self::Store(id) => id.row().name,
        }
    }

    /// Whether it waits for the `EXEC`.
    #[must_use]
    pub fn is_queued(self) -> bool {
        !matches!(self, Self::Own(own) if own.when == When::Never)
    }

    /// Whether it waits until everything before it is answered.
    #[must_use]
    pub fn is_quiet(self) -> bool {
        matches!(self, Self::Own(own) if own.when == When::Quiet)
    }
}

macro_rules! own {
    ($name:literal $arity:literal $flags:tt $keys:tt $group:literal $when:ident $act:expr, $summary:literal) => {
        Own {
            name: $name,
            arity: $arity,
            flags: &$flags,
            keys: $keys,
            group: $group,
            summary: $summary,
            act: $act,
            when: When::$when,
        }
    };
}

/// The door's own commands.
pub const OWN: &[Own] = &[
    own!("auth" -2 ["noscript", "loading", "stale", "fast", "no_auth"] (0, 0, 0)
        "connection" Never local::auth, "Gives the password."),
    own!("bgsave" -1 ["admin", "noscript"] (0, 0, 0) "server" Any local::refused, "Refused: nothing is saved."),
    own!("blmove" 6 ["write", "denyoom", "noscript", "blocking"] (1, 2, 1)
        "list" Quiet blocking::blmove, "Moves an element from one list to another, and waits for one."),
    own!("blmpop" -5 ["write", "blocking", "movablekeys"] (0, 0, 0)
        "list" Quiet blocking::blmpop, "Pops elements from the first list that has some, and waits for one."),
    own!("blpop" -3 ["write", "noscript", "blocking"] (1, -2, 1)
        "list" Quiet blocking::blpop, "Pops the first element of a list, and waits for one."),
    own!("brpop" -3 ["write", "noscript", "blocking"] (1, -2, 1)
        "list" Quiet blocking::brpop, "Pops the last element of a list, and waits for one."),
    own!("brpoplpush" 4 ["write", "denyoom", "noscript", "blocking"] (1, 2, 1)
        "list" Quiet blocking::brpoplpush, "Moves the last element of a list to another, and waits for one."),
    own!("bzmpop" -5 ["write", "blocking", "movablekeys"] (0, 0, 0)
        "sorted-set" Quiet blocking::bzmpop, "Pops members of the first sorted set that has some, or waits."),
    own!("bzpopmax" -3 ["write", "noscript", "fast", "blocking"] (1, -2, 1)
        "sorted-set" Quiet blocking::bzpopmax, "Pops the member with the highest score, and waits for one."),
    own!("bzpopmin" -3 ["write", "noscript", "fast", "blocking"] (1, -2, 1)
        "sorted-set" Quiet blocking::bzpopmin, "Pops the member with the lowest score, and waits for one."),
    own!("client" -2 ["admin", "noscript", "loading", "stale"] (0, 0, 0)
        "connection" Any local::client, "About connections."),
    own!("cluster" -2 ["admin", "stale"] (0, 0, 0)
        "cluster" Any local::cluster, "Refused: this is not a cluster in Redis' sense."),
    own!("command" -1 ["loading", "stale"] (0, 0, 0) "server" Any docs::command, "About commands."),
    own!("config" -2 ["admin", "noscript", "loading", "stale"] (0, 0, 0)
        "server" Any settings::config, "About settings."),
    own!("debug" -2 ["admin", "noscript", "loading", "stale"] (0, 0, 0)
        "server" Any local::debug, "Refused: nothing here may sleep."),
    own!("discard" 1 ["noscript", "loading", "stale", "fast", "allow_busy"] (0, 0, 0)
        "transactions" Never transaction::discard, "Forgets the commands of a transaction."),
    own!("echo" 2 ["loading", "stale", "fast"] (0, 0, 0) "connection" Any local::echo, "Says the same."),
    own!("eval" -3 ["noscript", "stale", "skip_monitor", "movablekeys"] (0, 0, 0)
        "scripting" Any scripts::eval, "Runs one of the scripts that are known here."),
    own!("evalsha" -3 ["noscript", "stale", "skip_monitor", "movablekeys"] (0, 0, 0)
        "scripting" Any scripts::evalsha, "Runs one of the scripts that are known here."),
    own!("exec" 1 ["noscript", "loading", "stale", "skip_slowlog"] (0, 0, 0)
        "transactions" Never transaction::exec, "Carries a transaction out."),
    own!("function" -2 ["noscript"] (0, 0, 0)
        "scripting" Any scripts::function, "Refused, but for FLUSH, LIST and STATS."),
    own!("hello" -1 ["noscript", "loading", "stale", "fast", "no_auth"] (0, 0, 0)
        "connection" Never local::hello, "Chooses the version of the protocol."),
    own!("info" -1 ["loading", "stale"] (0, 0, 0) "server" Any info::info, "How the cluster is."),
    own!("lastsave" 1 ["loading", "stale", "fast"] (0, 0, 0)
        "server" Any local::last_save, "When the door was opened: nothing is saved."),
    own!("latency" -2 ["admin", "noscript", "loading", "stale"] (0, 0, 0)
        "server" Any local::latency, "Nothing: see INFO."),
    own!("memory" -2 ["readonly"] (0, 0, 0) "server" Any local::memory, "USAGE: what a key takes at least."),
    own!("monitor" 1 ["admin", "noscript", "loading", "stale"] (0, 0, 0) "server" Any local::refused, "Refused."),
    own!("multi" 1 ["noscript", "loading", "stale", "fast", "allow_busy"] (0, 0, 0)
        "transactions" Never transaction::multi, "Begins a transaction."),
    own!("ping" -1 ["fast"] (0, 0, 0) "connection" Any local::ping, "Is anybody there?"),
    own!("psubscribe" -2 ["pubsub", "noscript", "loading", "stale"] (0, 0, 0)
        "pubsub" Quiet pubsub::psubscribe, "Listens to all channels whose names match."),
    own!("psync" -3 ["admin", "noscript"] (0, 0, 0) "server" Any local::refused, "Refused."),
    own!("publish" 3 ["pubsub", "loading", "stale", "fast"] (0, 0, 0)
        "pubsub" Quiet pubsub::publish, "Tells all who listen to a channel."),
    own!("pubsub" -2 ["pubsub", "loading", "stale"] (0, 0, 0) "pubsub" Any pubsub::pubsub, "Who listens."),
    own!("punsubscribe" -1 ["pubsub", "noscript", "loading", "stale"] (0, 0, 0)
        "pubsub" Quiet pubsub::punsubscribe, "Listens no longer to these patterns."),
    own!("quit" -1 ["noscript", "loading", "stale", "fast", "no_auth"] (0, 0, 0)
        "connection" Never local::quit, "Ends the connection."),
    own!("replicaof" 3 ["admin", "noscript", "stale"] (0, 0, 0) "server" Any local::refused, "Refused."),
    own!("reset" 1 ["noscript", "loading", "stale", "fast", "no_auth"] (0, 0, 0)
        "connection" Never local::reset, "Makes the connection as it was at first."),
    own!("role" 1 ["noscript", "loading", "stale", "fast"] (0, 0, 0)
        "server" Any info::role, "That of a primary, and its backups."),
    own!("save" 1 ["admin", "noscript", "no_multi"] (0, 0, 0) "server" Any local::refused, "Refused: nothing saved."),
    own!("script" -2 ["noscript"] (0, 0, 0)
        "scripting" Any scripts::script, "About the scripts that are known here."),
    own!("select" 2 ["loading", "stale", "fast"] (0, 0, 0) "connection" Any local::select, "Chooses the database."),
    own!("sentinel" -2 ["admin", "noscript", "loading", "stale"] (0, 0, 0)
        "sentinel" Any info::sentinel, "Where the doors are."),
    own!("shutdown" -1 ["admin", "noscript", "no_multi"] (0, 0, 0) "server" Any local::refused, "Refused."),
    own!("slaveof" 3 ["admin", "noscript", "stale"] (0, 0, 0) "server" Any local::refused, "Refused."),
    own!("slowlog" -2 ["admin", "loading", "stale"] (0, 0, 0) "server" Any local::slowlog, "Nothing: see INFO."),
    own!("subscribe" -2 ["pubsub", "noscript", "loading", "stale"] (0, 0, 0)
        "pubsub" Quiet pubsub::subscribe, "Listens to channels."),
    own!("time" 1 ["loading", "stale", "fast"] (0, 0, 0) "server" Any local::time, "The time of day."),
    own!("unsubscribe" -1 ["pubsub", "noscript", "loading", "stale"] (0, 0, 0)
        "pubsub" Quiet pubsub::unsubscribe, "Listens no longer to these channels."),
    own!("unwatch" 1 ["noscript", "loading", "stale", "fast", "allow_busy"] (0, 0, 0)
        "transactions" Any transaction::unwatch, "Watches nothing any more."),
    own!("wait" 3 ["noscript"] (0, 0, 0) "generic" Quiet local::wait, "How many backups have everything: all."),
    own!("watch" -2 ["noscript", "loading", "stale", "fast", "allow_busy"] (1, -1, 1)
        "transactions" Never transaction::watch, "EXEC does nothing if these keys have changed."),
];

/// The command that these words are, if it may have this many.
///
/// # Errors
/// An unknown name or a wrong number of arguments, in the words of Redis.
pub fn find(name: &[u8], words: &[Bytes]) -> Result<DoorRow, String> {
    let mut small = [0; NAME_BYTES_MAX];
    let known = small.get_mut(..name.len()).and_then(|small| {
        small.copy_from_slice(name);
        small.make_ascii_lowercase();
        let small: &[u8] = small;
        let own = OWN.binary_search_by(|own| own.name.as_bytes().cmp(small)).ok().map(|at| DoorRow::Own(&OWN[at]));
        own.or_else(|| RowId::of(std::str::from_utf8(small).ok()?).map(DoorRow::Store))
    });
    let Some(row) = known else { return Err(commands::parse(words).err().map_or_else(String::new, said)) };
    let accepts = match row {
        DoorRow::Own(own) => {
            let arity = usize::from(own.arity.unsigned_abs());
            if own.arity < 0 { words.len() >= arity } else { words.len() == arity }
        }
        DoorRow::Store(id) => id.row().accepts(words.len()),
    };
    if accepts {
        return Ok(row);
    }
    // Redis knows some second words as commands of their own.
    let second = words.get(1).filter(|_| row.name() == "object");
    let second = second.map_or_else(String::new, |word| format!("|{}", word.preview(64).to_string().to_lowercase()));
    Err(format!("ERR wrong number of arguments for '{}{second}' command", row.name()))
}

/// No name is longer, in bytes.
const NAME_BYTES_MAX: usize = 32;

#[expect(clippy::needless_pass_by_value, reason = "it is handed over to be told")]
fn said(error: crate::core::store::StoreError) -> String {
    error.redis_text().into_owned()
}

/// Whether this client may say so now.
///
/// # Errors
/// Why not, in the words of Redis.
pub fn may(me: &Connection, row: DoorRow) -> Result<(), String> {
    let name = row.name();
    if !me.trusted && !matches!(name, "auth" | "hello" | "quit" | "reset") {
        return Err("NOAUTH Authentication required.".into());
    }
    if let (DoorRow::Own(own), true) = (row, me.transaction.is_some())
        && own.flags.contains(&"no_multi")
    {
        return Err("ERR Command not allowed inside a transaction".into());
    }
    let is_listener = me.subscriptions() > 0 && me.version == super::resp::Version::Resp2;
    let for_listeners =
        matches!(name, "subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "ping" | "quit" | "reset");
    if is_listener && !for_listeners {
        return Err(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context"
        ));
    }
    Ok(())
}

/// Carries a command out, or says whom to ask.
///
/// # Errors
/// Why not, in the words of Redis.
pub fn act(visit: &mut Visit<'_>, row: DoorRow) -> Result<DoorAnswer, String> {
    match row {
        DoorRow::Own(own) => (own.act)(visit),
        DoorRow::Store(id) => Ok(DoorAnswer::Ask(commands::command_of(visit.me.db, id, visit.args()), Then::Reply)),
    }
}

/// Redis' flags of a command of the store.
pub fn flags(id: RowId) -> Vec<&'static str> {
    let row = id.row();
    let kind = if row.kind == CommandKind::Read { "readonly" } else { "write" };
    std::iter::once(kind).chain(row.flags.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_shares_no_name_with_that_of_the_store() {
        assert!(OWN.is_sorted_by(|one, two| one.name < two.name));
        let twice: Vec<_> = OWN.iter().filter(|own| RowId::of(own.name).is_some()).map(|own| own.name).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!(OWN.iter().all(|own| own.name.len() <= NAME_BYTES_MAX));
    }
}
