//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`: commands that become one entry of the log.
//!
//! What a client queues is kept as it was said. With `EXEC` the commands of the store become one command of the
//! cluster, which carries the op numbers of what was watched; what the door answers itself is answered at that
//! moment, and both are put together in order when the cluster has answered.

use super::connection::{Connection, Hold};
use super::hall::{Hall, Shape, Then};
use super::resp::Writer;
use super::rows::{self, DoorAnswer, Visit};
use crate::core::store::{Bytes, Command, OpNumber, Reply, Watched};

/// The most commands of a transaction.
const QUEUE_MAX: usize = 16_384;
/// The most bytes of a transaction.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// The most keys that one client watches.
const WATCHED_MAX: usize = 16_384;

/// What a client has queued.
#[derive(Debug, Clone, Default)]
pub struct DoorTransaction {
    queued: Vec<Vec<Bytes>>,
    bytes: usize,
    /// Something was refused: the rest will not be carried out either.
    pub is_spoilt: bool,
}

/// Where a reply of an `EXEC` comes from.
#[derive(Debug)]
pub enum Planned {
    /// The door has said it already.
    Said(Vec<u8>),
    /// The cluster, in this shape.
    Asked(Shape),
}

/// Queues a request.
pub fn queue(_hall: &mut Hall, me: &mut Connection, words: Vec<Bytes>) {
    let bytes: usize = words.iter().map(|word| word.len()).sum();
    let Some(transaction) = &mut me.transaction else { return };
    if transaction.queued.len() >= QUEUE_MAX || transaction.bytes + bytes > QUEUE_BYTES_MAX {
        transaction.is_spoilt = true;
        let why = format!("ERR a transaction has at most {QUEUE_MAX} commands and {QUEUE_BYTES_MAX} bytes");
        return me.say(|out| out.error(&why));
    }
    transaction.bytes += bytes;
    transaction.queued.push(words);
    me.say(|out| out.simple("QUEUED"));
}

/// `MULTI`.
pub(super) fn multi(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.me.transaction.is_some() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    visit.me.transaction = Some(DoorTransaction::default());
    visit.ok()
}

/// `DISCARD`.
pub(super) fn discard(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.me.transaction.take().is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    visit.me.watched.clear();
    visit.ok()
}

/// `UNWATCH`.
pub(super) fn unwatch(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    visit.me.watched.clear();
    visit.ok()
}

/// `WATCH`: the client goes on when the versions of the keys are known.
pub(super) fn watch(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.me.transaction.is_some() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    let keys = visit.args().to_vec();
    if visit.me.watched.len() + keys.len() > WATCHED_MAX {
        return Err(format!("ERR at most {WATCHED_MAX} keys can be watched"));
    }
    let db = visit.me.db;
    visit.me.hold = Hold::Watch;
    if let [key] = keys.as_slice() {
        return Ok(DoorAnswer::Ask(Command::version(db, key.clone()), Then::Watch(keys)));
    }
    let questions = keys.iter().map(|key| Command::version(db, key.clone())).collect();
    Ok(DoorAnswer::Ask(Command::multi(questions, Vec::new()), Then::Watch(keys)))
}

/// The versions of the watched keys have come.
pub(super) fn watched(me: &mut Connection, slot: u64, keys: Vec<Bytes>, reply: &Reply) {
    me.hold = Hold::No;
    let versions = match reply {
        Reply::Array(versions) => versions.as_slice(),
        version @ Reply::Integer(_) => std::slice::from_ref(version),
        other => return me.fill(slot, |out| out.store(other)),
    };
    let db = me.db;
    for (key, version) in keys.into_iter().zip(versions) {
        let Reply::Integer(op) = version else { continue };
        let is_new = !me.watched.iter().any(|watched| watched.db == db && watched.key == key);
        if is_new {
            me.watched.push(Watched { db, key, op: OpNumber(u64::try_from(*op).unwrap_or(0)) });
        }
    }
    me.fill(slot, |out| out.ok());
}

/// `EXEC`.
pub(super) fn exec(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let Some(transaction) = visit.me.transaction.take() else { return Err("ERR EXEC without MULTI".into()) };
    let watched = std::mem::take(&mut visit.me.watched);
    if transaction.is_spoilt {
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    let (mut plan, mut commands) = (Vec::new(), Vec::new());
    for words in &transaction.queued {
        let mut bytes = Vec::new();
        let version = visit.me.version;
        let mut inner = Visit { now: visit.now, hall: visit.hall, me: visit.me, words, out: &mut bytes, in_exec: true };
        let answer = rows::find(&words[0], words).and_then(|row| rows::act(&mut inner, row));
        plan.push(match answer {
            Ok(DoorAnswer::Ask(command, then)) => {
                commands.push(command);
                Planned::Asked(if let Then::Shape(shape) = then { shape } else { Shape::Same })
            }
            // Other doors are not asked here.
            Ok(DoorAnswer::Said | DoorAnswer::Silent | DoorAnswer::Gather(..)) => Planned::Said(bytes),
            Err(why) => {
                Writer::new(&mut bytes, version).error(&why);
                Planned::Said(bytes)
            }
        });
    }
    if commands.is_empty() && watched.is_empty() {
        finish(&mut visit.writer(), &plan, &Reply::Array(Vec::new()));
        return Ok(DoorAnswer::Said);
    }
    Ok(DoorAnswer::Ask(Command::multi(commands, watched), Then::Exec(plan)))
}

/// All replies of an `EXEC`, in order.
pub(super) fn finish(out: &mut Writer<'_>, plan: &[Planned], reply: &Reply) {
    let mut replies = match reply {
        Reply::Array(replies) => replies.iter(),
        Reply::Nil | Reply::NilArray => return out.null_array(),
        other => return out.store(other),
    };
    out.array(plan.len());
    for planned in plan {
        match (planned, matches!(planned, Planned::Asked(_)).then(|| replies.next()).flatten()) {
            (Planned::Said(bytes), _) => out.raw(bytes),
            (Planned::Asked(shape), Some(reply)) => out.shaped(*shape, reply),
            (Planned::Asked(_), None) => out.null(),
        }
    }
}

impl DoorTransaction {
    /// How many commands are queued.
    #[must_use]
    pub fn count(&self) -> usize {
        self.queued.len()
    }
}
