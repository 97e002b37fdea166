//! `PUBLISH` and `SUBSCRIBE`: what is published goes to whoever listens, at this door and at the others, and is not
//! logged.
//!
//! It is handed to every door, whoever is known to listen there: who has subscribed a moment ago hears it too. Only the
//! numbers that `PUBLISH` and `PUBSUB` tell may be a moment old.

use super::connection::{Connection, Id};
use super::hall::{Hall, forget};
use super::resp::Writer;
use super::rows::{DoorAnswer, Visit};
use crate::cluster::DoorWord;
use crate::core::store::{Bytes, KeyPattern};
use std::collections::{BTreeMap, BTreeSet};

/// The most channels and patterns of one connection.
const SUBSCRIPTIONS_MAX: usize = 16_384;

/// What is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscribedBy {
    Channel,
    Pattern,
}

impl SubscribedBy {
    pub(super) fn register(self, hall: &mut Hall) -> &mut BTreeMap<Bytes, BTreeSet<Id>> {
        match self {
            Self::Channel => &mut hall.channels,
            Self::Pattern => &mut hall.patterns,
        }
    }

    fn own(self, me: &mut Connection) -> &mut BTreeSet<Bytes> {
        match self {
            Self::Channel => &mut me.channels,
            Self::Pattern => &mut me.patterns,
        }
    }

    fn word(self, begins: bool) -> &'static str {
        match (self, begins) {
            (Self::Channel, true) => "subscribe",
            (Self::Channel, false) => "unsubscribe",
            (Self::Pattern, true) => "psubscribe",
            (Self::Pattern, false) => "punsubscribe",
        }
    }
}

/// Says so: to a client that wants no replies as well, for this is none.
fn told(visit: &mut Visit<'_>, write: impl FnOnce(&mut Writer<'_>)) {
    if visit.in_exec { write(&mut visit.writer()) } else { visit.me.push(write) }
}

fn begin(visit: &mut Visit<'_>, by: SubscribedBy) -> Result<DoorAnswer, String> {
    if visit.me.subscriptions() + visit.args().len() > SUBSCRIPTIONS_MAX {
        return Err(format!("ERR a connection listens to at most {SUBSCRIPTIONS_MAX} channels and patterns"));
    }
    for name in &visit.words[1..] {
        by.register(visit.hall).entry(name.clone()).or_default().insert(visit.me.id);
        by.own(visit.me).insert(name.clone());
        visit.hall.tell_listeners(by, name);
        let count = visit.me.subscriptions();
        told(visit, |out| {
            out.push(3);
            out.bulk(by.word(true));
            out.bulk(name);
            out.integer(count as i64);
        });
    }
    Ok(if visit.in_exec { DoorAnswer::Said } else { DoorAnswer::Silent })
}

fn end(visit: &mut Visit<'_>, by: SubscribedBy) -> Result<DoorAnswer, String> {
    let named = visit.words[1..].to_vec();
    let names: Vec<Bytes> = if named.is_empty() { by.own(visit.me).iter().cloned().collect() } else { named };
    for name in &names {
        by.own(visit.me).remove(name);
        let id = visit.me.id;
        forget(by.register(visit.hall), name, id);
        visit.hall.tell_listeners(by, name);
        let count = visit.me.subscriptions();
        told(visit, |out| {
            out.push(3);
            out.bulk(by.word(false));
            out.bulk(name);
            out.integer(count as i64);
        });
    }
    if names.is_empty() {
        let count = visit.me.subscriptions();
        told(visit, |out| {
            out.push(3);
            out.bulk(by.word(false));
            out.null();
            out.integer(count as i64);
        });
    }
    Ok(if visit.in_exec { DoorAnswer::Said } else { DoorAnswer::Silent })
}

/// Listens to nothing any more, without a word.
pub(super) fn forget_all(hall: &mut Hall, me: &mut Connection) {
    for channel in std::mem::take(&mut me.channels) {
        forget(&mut hall.channels, &channel, me.id);
        hall.tell_listeners(SubscribedBy::Channel, &channel);
    }
    for pattern in std::mem::take(&mut me.patterns) {
        forget(&mut hall.patterns, &pattern, me.id);
        hall.tell_listeners(SubscribedBy::Pattern, &pattern);
    }
}

/// `SUBSCRIBE`.
pub(super) fn subscribe(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    begin(visit, SubscribedBy::Channel)
}

/// `PSUBSCRIBE`.
pub(super) fn psubscribe(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    begin(visit, SubscribedBy::Pattern)
}

/// `UNSUBSCRIBE`.
pub(super) fn unsubscribe(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    end(visit, SubscribedBy::Channel)
}

/// `PUNSUBSCRIBE`.
pub(super) fn punsubscribe(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    end(visit, SubscribedBy::Pattern)
}

/// Hands a message to one listener, who may be the publisher.
fn hand(visit: &mut Visit<'_>, to: Id, write: impl Fn(&mut Writer<'_>)) {
    if to == visit.me.id {
        return visit.me.push(write);
    }
    if let Some(listener) = visit.hall.connection(to) {
        listener.push(write);
    }
    visit.hall.mark_dirty(to);
}

/// Who listens to a channel here, and by which pattern.
fn audience(hall: &Hall, channel: &Bytes) -> Vec<(Option<Bytes>, Id)> {
    let listeners = hall.channels.get(channel).into_iter().flatten().map(|id| (None, *id));
    let matching = hall.patterns.iter().filter(|(pattern, _)| KeyPattern::new(pattern).matches(channel));
    let matching = matching.flat_map(|(pattern, ids)| ids.iter().map(|id| (Some(pattern.clone()), *id)));
    listeners.chain(matching).collect()
}

/// A message, as a listener hears it.
fn write_message(out: &mut Writer<'_>, pattern: Option<&Bytes>, channel: &Bytes, message: &Bytes) {
    match pattern {
        None => {
            out.push(3);
            out.bulk("message");
        }
        Some(pattern) => {
            out.push(4);
            out.bulk("pmessage");
            out.bulk(pattern);
        }
    }
    out.bulk(channel);
    out.bulk(message);
}

/// `PUBLISH`.
pub(super) fn publish(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let (channel, message) = (visit.words[1].clone(), visit.words[2].clone());
    let here = audience(visit.hall, &channel);
    for (pattern, id) in &here {
        hand(visit, *id, |out| write_message(out, pattern.as_ref(), &channel, &message));
    }
    visit.hall.counters.published += 1;
    let count = here.len() + visit.hall.others.audience(&channel);
    visit.hall.others.tell(|| DoorWord::Published { channel, message });
    visit.say(|out| out.integer(count as i64))
}

impl Hall {
    /// Something was published at another door.
    pub(super) fn publish_here(&mut self, channel: &Bytes, message: &Bytes) {
        for (pattern, id) in audience(self, channel) {
            if let Some(listener) = self.connection(id) {
                listener.push(|out| write_message(out, pattern.as_ref(), channel, message));
            }
            self.mark_dirty(id);
        }
    }
}

/// `PUBSUB`.
pub(super) fn pubsub(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let sub = visit.text(1).to_ascii_lowercase();
    match (sub.as_str(), visit.words.len()) {
        ("channels", 2 | 3) => {
            let pattern = visit.words.get(2).map(|pattern| KeyPattern::new(pattern));
            let is_asked = |channel: &Bytes| pattern.as_ref().is_none_or(|pattern| pattern.matches(channel));
            let elsewhere = visit.hall.others.names(SubscribedBy::Channel);
            let all: BTreeSet<&Bytes> = visit.hall.channels.keys().chain(elsewhere).collect();
            let found: Vec<Bytes> = all.into_iter().filter(|name| is_asked(name)).cloned().collect();
            visit.say(|out| {
                out.array(found.len());
                found.iter().for_each(|name| out.bulk(name));
            })
        }
        ("numsub", _) => {
            let hall = &*visit.hall;
            let here = |name: &Bytes| hall.channels.get(name).map_or(0, BTreeSet::len);
            let count = |name: &Bytes| here(name) + hall.others.listeners(SubscribedBy::Channel, name);
            let counts: Vec<(Bytes, usize)> = visit.words[2..].iter().map(|name| (name.clone(), count(name))).collect();
            visit.say(|out| {
                out.array(counts.len() * 2);
                for (name, count) in &counts {
                    out.bulk(name);
                    out.integer(*count as i64);
                }
            })
        }
        ("numpat", 2) => {
            let elsewhere = visit.hall.others.names(SubscribedBy::Pattern);
            let count = visit.hall.patterns.keys().chain(elsewhere).collect::<BTreeSet<_>>().len();
            visit.say(|out| out.integer(count as i64))
        }
        ("channels" | "numpat", _) => Err(format!("ERR wrong number of arguments for 'pubsub|{sub}' command")),
        _ => Err(format!("ERR unknown subcommand '{}'. Try PUBSUB HELP.", visit.text(1))),
    }
}
