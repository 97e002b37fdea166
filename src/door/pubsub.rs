//! `PUBLISH` and `SUBSCRIBE`: what is published goes to whoever listens at this door, and is not logged.

use super::connection::{Connection, Id};
use super::hall::{Hall, forget};
use super::resp::Writer;
use super::rows::{DoorAnswer, Visit};
use crate::core::store::{Bytes, KeyPattern};
use std::collections::{BTreeMap, BTreeSet};

/// The most channels and patterns of one connection.
const SUBSCRIPTIONS_MAX: usize = 16_384;

/// What is listened to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SubscribedBy {
    Channel,
    Pattern,
}

impl SubscribedBy {
    fn register(self, hall: &mut Hall) -> &mut BTreeMap<Bytes, BTreeSet<Id>> {
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
    }
    for pattern in std::mem::take(&mut me.patterns) {
        forget(&mut hall.patterns, &pattern, me.id);
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

/// `PUBLISH`.
pub(super) fn publish(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let (channel, message) = (visit.words[1].clone(), visit.words[2].clone());
    let listeners: Vec<Id> = visit.hall.channels.get(&channel).into_iter().flatten().copied().collect();
    let matching: Vec<(Bytes, Id)> = visit
        .hall
        .patterns
        .iter()
        .filter(|(pattern, _)| KeyPattern::new(pattern).matches(&channel))
        .flat_map(|(pattern, ids)| ids.iter().map(|id| (pattern.clone(), *id)))
        .collect();
    for id in &listeners {
        hand(visit, *id, |out| {
            out.push(3);
            out.bulk("message");
            out.bulk(&channel);
            out.bulk(&message);
        });
    }
    for (pattern, id) in &matching {
        hand(visit, *id, |out| {
            out.push(4);
            out.bulk("pmessage");
            out.bulk(pattern);
            out.bulk(&channel);
            out.bulk(&message);
        });
    }
    visit.hall.counters.published += 1;
    let count = listeners.len() + matching.len();
    visit.say(|out| out.integer(count as i64))
}

/// `PUBSUB`.
pub(super) fn pubsub(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let sub = visit.text(1).to_ascii_lowercase();
    match (sub.as_str(), visit.words.len()) {
        ("channels", 2 | 3) => {
            let pattern = visit.words.get(2).map(|pattern| KeyPattern::new(pattern));
            let is_asked = |channel: &Bytes| pattern.as_ref().is_none_or(|pattern| pattern.matches(channel));
            let found: Vec<Bytes> = visit.hall.channels.keys().filter(|name| is_asked(name)).cloned().collect();
            visit.say(|out| {
                out.array(found.len());
                found.iter().for_each(|name| out.bulk(name));
            })
        }
        ("numsub", _) => {
            let count = |name: &Bytes| visit.hall.channels.get(name).map_or(0, BTreeSet::len);
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
            let count = visit.hall.patterns.len();
            visit.say(|out| out.integer(count as i64))
        }
        ("channels" | "numpat", _) => Err(format!("ERR wrong number of arguments for 'pubsub|{sub}' command")),
        _ => Err(format!("ERR unknown subcommand '{}'. Try PUBSUB HELP.", visit.text(1))),
    }
}
