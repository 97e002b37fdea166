//! What an operation tells of the store: the command to carry out on a copy of it, and what that must answer.
//!
//! Chance and clocks are the servers' own, so what they decided is taken from the answer: an `SPOP` becomes the removal
//! of what it returned, an `EXPIRE GT` that was carried out becomes one without the condition. An `EXEC` is settled
//! part by part. Answers that tell nothing that can be compared are left out.

use super::Operation;
use super::stored::{self, StoredKey, places};
use crate::core::protocol::{Outcome, Time};
use crate::core::store::{Bytes, Call, Command, Multi, Reply, StoreError, commands};
use std::borrow::Cow;

/// What an operation tells.
#[derive(Debug)]
pub(super) enum Settled<'o> {
    /// This.
    Item(StoredItem<'o>),
    /// Nothing: it changed nothing, and its answer does not depend on what is stored under its keys.
    Nothing,
    /// It may have changed more than can be tried.
    Open,
}

/// What is asked of the store, and what it must answer.
#[derive(Debug)]
pub(super) struct StoredItem<'o> {
    pub(super) operation: &'o Operation,
    pub(super) command: Cow<'o, Command>,
    /// `None`: anything, or it never happened.
    pub(super) expected: Option<Cow<'o, Reply>>,
    /// It must happen, but need not among these.
    pub(super) may_wait: bool,
}

/// A command and its answer.
type Telling<'o> = (Cow<'o, Command>, Cow<'o, Reply>);

/// What this operation tells.
pub(super) fn settle(operation: &Operation) -> Settled<'_> {
    let Operation { command, outcome, .. } = operation;
    if command.check_limits().is_err() {
        return Settled::Nothing;
    }
    if stored::flushed(command).is_some() {
        let expected = (*outcome != Outcome::Unknown).then_some(Cow::Borrowed(&Reply::Ok));
        return item(operation, Cow::Borrowed(command), expected);
    }
    let told = match outcome {
        Outcome::Unknown if command.is_read() => return Settled::Nothing,
        Outcome::Unknown | Outcome::Done(Reply::Error(StoreError::AnswerForgotten)) => {
            return unanswered(command).map_or(Settled::Open, |command| item(operation, command, None));
        }
        Outcome::Done(reply) => told(command, reply),
    };
    told.map_or(Settled::Nothing, |(command, reply)| item(operation, command, Some(reply)))
}

fn item<'o>(operation: &'o Operation, command: Cow<'o, Command>, expected: Option<Cow<'o, Reply>>) -> Settled<'o> {
    Settled::Item(StoredItem { operation, command, expected, may_wait: false })
}

impl StoredItem<'_> {
    /// When it returned, if it must have happened by then.
    pub(super) fn end(&self) -> Time {
        let must = self.expected.is_some() && !self.may_wait;
        self.operation.returned.filter(|_| must).unwrap_or(Time::NEVER)
    }

    /// The set of an `SPOP` of which nothing is known.
    pub(super) fn unknown_pop(&self) -> Option<StoredKey> {
        match &*self.command {
            Command::Call(call) if self.expected.is_none() && call.row().name == "spop" => {
                Some((call.db, call.args.first()?.clone()))
            }
            _ => None,
        }
    }

    /// Whether the store answers what was answered.
    pub(super) fn agrees(&self, found: &Reply) -> bool {
        self.expected.as_ref().is_none_or(|expected| agree(&self.command, found, expected))
    }
}

fn agree(command: &Command, found: &Reply, expected: &Reply) -> bool {
    match (command, found, expected) {
        // How long it is until a key expires depends on clocks; that it does, or is not there, does not.
        (Command::Call(call), Reply::Integer(found), Reply::Integer(expected)) if tells_expiry(call) => {
            found.min(&0) == expected.min(&0)
        }
        (Command::Multi(multi), Reply::Array(found), Reply::Array(expected)) => {
            let parts = multi.commands.iter().zip(found.iter().zip(expected));
            found.len() == expected.len()
                && parts.into_iter().all(|(command, (found, expected))| agree(command, found, expected))
        }
        _ => found == expected,
    }
}

fn tells_expiry(call: &Call) -> bool {
    matches!(call.row().name, "ttl" | "pttl" | "expiretime" | "pexpiretime")
}

/// What may have happened when there is no answer; `None` when that is too much.
fn unanswered(command: &Command) -> Option<Cow<'_, Command>> {
    match command {
        Command::Multi(multi) => {
            let is_open = |part: &Command| matches!(part, Command::Call(call) if is_pop(call) || has_condition(call));
            (!multi.commands.iter().any(is_open)).then(|| without_watches(multi, command))
        }
        Command::Call(call) if is_pop(call) && call.args.len() > 1 => None,
        Command::Call(call) if has_condition(call) => without_condition(call).map(Cow::Owned),
        other => Some(Cow::Borrowed(other)),
    }
}

fn is_pop(call: &Call) -> bool {
    call.row().name == "spop"
}

/// What an answer tells, with chance and clocks taken out of it.
fn told<'o>(command: &'o Command, reply: &'o Reply) -> Option<Telling<'o>> {
    match (command, reply) {
        (_, Reply::Error(error)) if !is_of_the_store(error) => None,
        (Command::Multi(multi), Reply::Array(replies)) if replies.len() == multi.commands.len() => {
            told_by_parts(multi, command, reply, replies)
        }
        (Command::Multi(_), _) => None,
        (Command::Keys { .. } | Command::Count | Command::Expire(_) | Command::Leave | Command::End(_), _) => None,
        (Command::Call(call), reply) => told_by_call(call, command, reply),
        (command, reply) => Some((Cow::Borrowed(command), Cow::Borrowed(reply))),
    }
}

fn told_by_parts<'o>(
    multi: &'o Multi,
    command: &'o Command,
    reply: &'o Reply,
    all: &'o [Reply],
) -> Option<Telling<'o>> {
    let parts: Vec<Telling<'o>> =
        multi.commands.iter().zip(all).filter_map(|(part, reply)| told(part, reply)).collect();
    let is_own = |(command, _): &Telling<'_>| matches!(command, Cow::Borrowed(_));
    if parts.len() == all.len() && parts.iter().all(is_own) {
        return Some((without_watches(multi, command), Cow::Borrowed(reply)));
    }
    let (commands, replies): (Vec<Command>, Vec<Reply>) =
        parts.into_iter().map(|(command, reply)| (command.into_owned(), reply.into_owned())).unzip();
    (!commands.is_empty())
        .then(|| (Cow::Owned(Command::multi(commands, Vec::new())), Cow::Owned(Reply::Array(replies))))
}

/// What was watched is told by op numbers, which are others here.
fn without_watches<'o>(multi: &Multi, command: &'o Command) -> Cow<'o, Command> {
    if multi.watched.is_empty() {
        return Cow::Borrowed(command);
    }
    Cow::Owned(Command::multi(multi.commands.clone(), Vec::new()))
}

fn told_by_call<'o>(call: &'o Call, command: &'o Command, reply: &'o Reply) -> Option<Telling<'o>> {
    let own = Some((Cow::Borrowed(command), Cow::Borrowed(reply)));
    if let Reply::Error(_) = reply {
        return own;
    }
    match call.row().name {
        "spop" => told_by_pop(call, reply),
        "srandmember" if call.args.len() == 1 => told_by_choice(call, reply, "sismember", "scard"),
        "hrandfield" if call.args.len() == 1 => told_by_choice(call, reply, "hexists", "hlen"),
        "srandmember" | "hrandfield" | "zrandmember" | "object" | "version" | "sscan" | "hscan" | "zscan" => None,
        _ if has_condition(call) => match reply {
            Reply::Integer(1) => Some((Cow::Owned(without_condition(call)?), Cow::Borrowed(reply))),
            _ => None,
        },
        _ if call.row().is_read() && call.keys().next().is_none() => None,
        _ => own,
    }
}

/// An `SPOP` that returned members is the removal of these.
fn told_by_pop(call: &Call, reply: &Reply) -> Option<Telling<'static>> {
    let members: Vec<Bytes> = match reply {
        Reply::Value(member) => vec![member.clone()],
        Reply::Set(members) => members.iter().filter_map(value).collect(),
        _ => Vec::new(),
    };
    if members.is_empty() {
        // Of a set that is not empty, none may have been wanted.
        let wanted_none = call.args.get(1).is_some_and(|count| **count == *b"0");
        return if wanted_none { None } else { told_as(call, "scard", Vec::new(), 0) };
    }
    let count = i64::try_from(members.len()).ok()?;
    told_as(call, "srem", members, count)
}

/// One that was chosen by chance was there; when there was none, nothing was.
fn told_by_choice(call: &Call, reply: &Reply, is_there: &str, how_many: &str) -> Option<Telling<'static>> {
    match reply {
        Reply::Value(chosen) => told_as(call, is_there, vec![chosen.clone()], 1),
        _ => told_as(call, how_many, Vec::new(), 0),
    }
}

/// The same as if this had been asked of the same key, and answered with this number.
fn told_as(call: &Call, name: &str, rest: Vec<Bytes>, number: i64) -> Option<Telling<'static>> {
    let mut words: Vec<Bytes> = vec![name.into(), call.args.first()?.clone()];
    words.extend(rest);
    Some((Cow::Owned(commands::parse_in(call.db, &words).ok()?), Cow::Owned(Reply::Integer(number))))
}

/// True for an `EXPIRE` that compares two moments, which depend on clocks.
fn has_condition(call: &Call) -> bool {
    let expires = matches!(call.row().name, "expire" | "pexpire" | "expireat" | "pexpireat");
    expires && call.args.iter().skip(2).any(is_condition)
}

fn is_condition(word: &Bytes) -> bool {
    word.eq_ignore_ascii_case(b"GT") || word.eq_ignore_ascii_case(b"LT")
}

/// The same when its condition held. A key that does not expire does so later than any other.
fn without_condition(call: &Call) -> Option<Command> {
    let is_later = call.args.iter().skip(2).any(|word| word.eq_ignore_ascii_case(b"GT"));
    let must_expire = is_later && !call.args.iter().skip(2).any(|word| word.eq_ignore_ascii_case(b"XX"));
    let mut words: Vec<Bytes> = vec![call.row().name.into()];
    words.extend(call.args.iter().take(2).cloned());
    words.extend(call.args.iter().skip(2).filter(|word| !is_condition(word)).cloned());
    words.extend(must_expire.then(|| Bytes::from("XX")));
    commands::parse_in(call.db, &words).ok()
}

/// True for a refusal that the store itself decides by what it holds and what it is asked.
fn is_of_the_store(error: &StoreError) -> bool {
    match error {
        StoreError::NotAnInteger | StoreError::Overflow | StoreError::ValueTooLong(_) => true,
        // Whether a moment is too far away to be written down depends on the clock.
        StoreError::Redis(text) => *error != StoreError::OUT_OF_MEMORY && !text.contains("invalid expire time"),
        _ => false,
    }
}

/// The bytes of an answer.
pub(super) fn value(reply: &Reply) -> Option<Bytes> {
    if let Reply::Value(bytes) = reply { Some(bytes.clone()) } else { None }
}

/// The keys of an item that expire one day, as far as they are among these.
pub(super) fn touched(item: &StoredItem<'_>) -> Vec<StoredKey> {
    let mut touched = places(&item.command);
    touched.sort_unstable();
    touched.dedup();
    touched
}
