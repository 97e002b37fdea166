//! `CLIENT LIST`, `CLIENT KILL`, `CLIENT UNBLOCK`: about all connections, at whatever door they have come in.
//!
//! The door that is asked does its own part and asks the others for theirs. One that does not answer in time, or is
//! gone meanwhile, is left out. Within a transaction nothing can wait: there it is about this door alone.

use super::connection::{Connection, Hold, Id};
use super::hall::Hall;
use super::resp::Writer;
use super::rows::{DoorAnswer, Visit};
use crate::core::protocol::{Rank, Time};
use crate::core::store::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// A line of `CLIENT LIST`.
pub(super) fn line(connection: &Connection, now: Time) -> String {
    let shown = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let flags = match () {
        () if connection.hold == Hold::Blocked => "b",
        () if connection.transaction.is_some() => "x",
        () if connection.subscriptions() > 0 => "P",
        () => "N",
    };
    let queued = connection.transaction.as_ref().map_or(-1, |transaction| transaction.count() as i64);
    format!(
        "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub=0 multi={queued} \
         qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem=0 tot-mem={} events=r cmd={} \
         user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        connection.id,
        connection.peer,
        connection.local,
        shown(&connection.name),
        now.since(connection.since).as_secs(),
        now.since(connection.active).as_secs(),
        connection.db.index(),
        connection.channels.len(),
        connection.patterns.len(),
        connection.parser.held_bytes(),
        connection.out.len(),
        connection.room_bytes(),
        connection.last,
        connection.version.number(),
        shown(&connection.library.0),
        shown(&connection.library.1),
    )
}

/// The word at this place, as text.
fn text(words: &[Bytes], at: usize) -> String {
    words.get(at).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default()
}

fn is(words: &[Bytes], at: usize, word: &str) -> bool {
    words.get(at).is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whom a `CLIENT LIST` means.
#[derive(Debug)]
struct Listed {
    ids: Option<Vec<Id>>,
    kind: Option<String>,
}

impl Listed {
    fn read(words: &[Bytes]) -> Result<Self, String> {
        let all = Self { ids: None, kind: None };
        match words.len() {
            2 => Ok(all),
            4 if is(words, 2, "type") => {
                let wanted = text(words, 3).to_ascii_lowercase();
                if !["normal", "master", "replica", "slave", "pubsub"].contains(&wanted.as_str()) {
                    return Err(format!("ERR Unknown client type '{}'", text(words, 3)));
                }
                Ok(Self { kind: Some(wanted), ..all })
            }
            4.. if is(words, 2, "id") => {
                let numbers: Option<Vec<Id>> = (3..words.len()).map(|at| text(words, at).parse().ok()).collect();
                Ok(Self { ids: Some(numbers.ok_or("ERR Invalid client ID")?), ..all })
            }
            _ => Err("ERR syntax error".into()),
        }
    }

    fn is(&self, connection: &Connection) -> bool {
        let listens = connection.subscriptions() > 0;
        let is_kind = match self.kind.as_deref() {
            None => true,
            Some("normal") => !listens,
            Some("pubsub") => listens,
            Some(_) => false,
        };
        is_kind && self.ids.as_ref().is_none_or(|ids| ids.contains(&connection.id))
    }
}

/// Whom a `CLIENT KILL` means.
#[derive(Debug, Default)]
struct Meant {
    id: Option<Id>,
    address: Option<String>,
    local: Option<String>,
    kind: Option<String>,
    nobody: bool,
    not_me: bool,
}

impl Meant {
    fn read(words: &[Bytes]) -> Result<Self, String> {
        let mut meant = Self { not_me: true, ..Self::default() };
        if !words.len().is_multiple_of(2) {
            return Err("ERR syntax error".into());
        }
        for at in (2..words.len()).step_by(2) {
            let value = text(words, at + 1);
            match text(words, at).to_ascii_lowercase().as_str() {
                "id" => {
                    let id = value.parse().ok().filter(|id| *id > 0);
                    meant.id = Some(id.ok_or("ERR client-id should be greater than 0")?);
                }
                "addr" => meant.address = Some(value),
                "laddr" => meant.local = Some(value),
                "type" => meant.kind = Some(value.to_ascii_lowercase()),
                "user" if value == "default" => {}
                "user" => return Err(format!("ERR No such user '{value}'")),
                "skipme" => match value.to_ascii_lowercase().as_str() {
                    "yes" => meant.not_me = true,
                    "no" => meant.not_me = false,
                    _ => return Err("ERR syntax error".into()),
                },
                _ => return Err("ERR syntax error".into()),
            }
        }
        meant.nobody = matches!(meant.kind.as_deref(), Some("master" | "replica" | "slave"));
        Ok(meant)
    }

    fn is(&self, connection: &Connection) -> bool {
        let listens = connection.subscriptions() > 0;
        !self.nobody
            && self.id.is_none_or(|id| id == connection.id)
            && self.address.as_ref().is_none_or(|address| *address == connection.peer.to_string())
            && self.local.as_ref().is_none_or(|local| *local == connection.local.to_string())
            && self.kind.as_ref().is_none_or(|kind| (kind == "pubsub") == listens)
    }
}

/// Something about all connections.
#[derive(Debug)]
enum About {
    List(Listed),
    Kill { meant: Meant, is_old_form: bool },
    Unblock { id: Id, with_error: bool },
}

impl About {
    /// What these words ask, from `CLIENT` on.
    fn read(words: &[Bytes]) -> Result<Self, String> {
        match text(words, 1).to_ascii_lowercase().as_str() {
            "list" => Listed::read(words).map(Self::List),
            "kill" if words.len() == 3 => {
                let meant = Meant { address: Some(text(words, 2)), ..Meant::default() };
                Ok(Self::Kill { meant, is_old_form: true })
            }
            "kill" => Meant::read(words).map(|meant| Self::Kill { meant, is_old_form: false }),
            _ => {
                let id = text(words, 2).parse().map_err(|_| "ERR value is not an integer or out of range")?;
                let with_error = match words.len() {
                    3 => false,
                    _ if is(words, 3, "timeout") => false,
                    _ if is(words, 3, "error") => true,
                    _ => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
                };
                Ok(Self::Unblock { id, with_error })
            }
        }
    }

    /// Does it at this door: the lines that are listed, or how many it was done to. `me`: who asks, if he is here.
    fn here(&self, hall: &mut Hall, me: Option<&mut Connection>, now: Time) -> DoorPart {
        match self {
            Self::List(listed) => {
                let others = hall.connections.values().flatten().map(|connection| &**connection);
                let all = others.chain(me.as_deref()).filter(|connection| listed.is(connection));
                let lines: BTreeMap<Id, String> = all.map(|found| (found.id, line(found, now))).collect();
                DoorPart { lines: lines.into_values().collect(), count: 0 }
            }
            Self::Kill { meant, .. } => {
                let others = hall.connections.values().flatten().filter(|connection| meant.is(connection));
                let ids: Vec<Id> = others.map(|connection| connection.id).collect();
                for id in &ids {
                    if let Some(connection) = hall.connection(*id) {
                        connection.drop_it();
                    }
                    hall.mark_dirty(*id);
                }
                let me = me.filter(|me| !meant.not_me && meant.is(me));
                let count = ids.len() + usize::from(me.is_some());
                me.into_iter().for_each(|me| me.closing = true);
                DoorPart { lines: String::new(), count: count as u64 }
            }
            Self::Unblock { id, with_error } => {
                DoorPart { lines: String::new(), count: hall.unblock(*id, *with_error).into() }
            }
        }
    }

    fn write(&self, out: &mut Writer<'_>, lines: &str, count: u64) {
        match self {
            Self::List(_) => out.verbatim(lines),
            Self::Kill { is_old_form: true, .. } if count == 0 => out.error("ERR No such client"),
            Self::Kill { is_old_form: true, .. } => out.ok(),
            Self::Kill { .. } | Self::Unblock { .. } => out.integer(i64::try_from(count).unwrap_or(i64::MAX)),
        }
    }
}

/// What came of it at one door.
#[derive(Debug)]
pub(super) struct DoorPart {
    pub lines: String,
    pub count: u64,
}

/// What has come of it so far, by door, and who has not answered yet.
#[derive(Debug)]
pub struct Gathering {
    about: About,
    parts: BTreeMap<Rank, DoorPart>,
    left: BTreeSet<Rank>,
}

impl Gathering {
    /// A door has answered, or is gone. True when all have.
    pub(super) fn heard(&mut self, from: Rank, part: Option<DoorPart>) -> bool {
        if self.left.remove(&from) {
            self.parts.extend(part.map(|part| (from, part)));
        }
        self.left.is_empty()
    }

    /// The answer to whoever asked.
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        let lines: String = self.parts.values().map(|part| part.lines.as_str()).collect();
        self.about.write(out, &lines, self.parts.values().map(|part| part.count).sum());
    }
}

/// `CLIENT LIST`, `KILL` or `UNBLOCK`.
pub(super) fn about(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let about = About::read(visit.words)?;
    let part = about.here(visit.hall, Some(visit.me), visit.now);
    let left = if visit.in_exec { BTreeSet::new() } else { visit.hall.others.ranks().clone() };
    if left.is_empty() {
        return visit.say(|out| about.write(out, &part.lines, part.count));
    }
    let parts = BTreeMap::from([(visit.hall.others.rank, part)]);
    Ok(DoorAnswer::Gather(visit.words.to_vec(), Gathering { about, parts, left }))
}

impl Hall {
    /// Another door has been asked, and wants to know what comes of it here.
    pub(super) fn part(&mut self, now: Time, words: &[Bytes]) -> DoorPart {
        let nothing = DoorPart { lines: String::new(), count: 0 };
        About::read(words).map_or(nothing, |about| about.here(self, None, now))
    }
}
