//! Ways around a broken link: what cannot reach the metadata server or a client directly goes by another server.
//!
//! A link may be broken one way only, and the other side may not know. So whoever waits in vain says the same once
//! more by another server; whoever hears something that way answers that way too, for a while, and on the direct way
//! says which way it goes, for the other side may hear that alone. When both hear each other directly again, the
//! detour ends by itself. While all links are good nobody waits in vain, and nothing here sends anything.
//!
//! What came by a detour is nothing but a late message. Between servers nothing goes by detours, and leases cannot:
//! there is no such [`Carried`].

use super::message::{Message, Reason, Request};
use super::view::{METADATA, Member, Rank, View, ViewNumber};
use super::{Config, Role, Time};
use crate::core::store::{ClientId, OpNumber, Reply, Seq};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Who has waited for this many announce intervals tries another way; who is not heard for as long is cut off.
const PATIENCE_ANNOUNCES: u32 = 3;
/// A detour is used for this many announce intervals after it was last seen to be needed.
const DETOUR_ANNOUNCES: u32 = 10;

/// What goes by a detour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the messages of the same names")]
pub enum Carried {
    Request(Request),
    Reply { client: ClientId, seq: Seq, view: ViewNumber, reply: Reply },
    NotPrimary { client: ClientId, seq: Seq, view: Option<Arc<View>> },
    GetView,
    ViewIs { view: Arc<View> },
    Announce { member: Member, role: Role, view: ViewNumber, op: OpNumber },
    Welcome { view: Option<Arc<View>>, recruit: bool },
    ChangeView { to: Arc<View>, reason: Reason, confirms: Option<Time> },
    Confirm { to: Arc<View>, asked: Time },
}

impl Carried {
    /// The message, if it is one that goes by detours.
    #[must_use]
    pub fn new(message: &Message) -> Option<Self> {
        Some(match message.clone() {
            Message::Request(request) => Self::Request(request),
            Message::Reply { client, seq, view, reply } => Self::Reply { client, seq, view, reply },
            Message::NotPrimary { client, seq, view } => Self::NotPrimary { client, seq, view },
            Message::GetView => Self::GetView,
            Message::ViewIs { view } => Self::ViewIs { view },
            Message::Announce { member, role, view, op } => Self::Announce { member, role, view, op },
            Message::Welcome { view, recruit } => Self::Welcome { view, recruit },
            Message::ChangeView { to, reason, confirms } => Self::ChangeView { to, reason, confirms },
            Message::Confirm { to, asked } => Self::Confirm { to, asked },
            _ => return None,
        })
    }
}

impl From<Carried> for Message {
    fn from(carried: Carried) -> Self {
        match carried {
            Carried::Request(request) => Self::Request(request),
            Carried::Reply { client, seq, view, reply } => Self::Reply { client, seq, view, reply },
            Carried::NotPrimary { client, seq, view } => Self::NotPrimary { client, seq, view },
            Carried::GetView => Self::GetView,
            Carried::ViewIs { view } => Self::ViewIs { view },
            Carried::Announce { member, role, view, op } => Self::Announce { member, role, view, op },
            Carried::Welcome { view, recruit } => Self::Welcome { view, recruit },
            Carried::ChangeView { to, reason, confirms } => Self::ChangeView { to, reason, confirms },
            Carried::Confirm { to, asked } => Self::Confirm { to, asked },
        }
    }
}

/// A message and its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Who says it.
    pub from: Rank,
    /// To whom.
    pub to: Rank,
    /// The server that carries it; the same words may also come directly.
    pub by: Rank,
    /// Of late, `from` has heard nothing from `to` directly.
    pub unheard: bool,
    /// What is said.
    pub message: Carried,
}

impl Relay {
    /// What is said, as a message.
    #[must_use]
    pub fn carried(&self) -> Message {
        self.message.clone().into()
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{} → n{} by n{} {}", self.from, self.to, self.by, self.carried())
    }
}

/// What is to be done with a message that has arrived.
#[derive(Debug)]
pub enum Arrival {
    /// It is for this rank, from that one.
    Here(Rank, Message),
    /// It is to be carried on.
    Onward(Rank, Message),
    /// It is for nobody.
    Nothing,
}

/// The detours that one rank uses.
#[derive(Debug, Clone)]
pub struct Detours {
    me: Rank,
    servers: u32,
    announce: Duration,
    /// Since when each rank has been told something, and has not been heard directly.
    unheard: Vec<Option<Time>>,
    /// When each rank was last heard directly; before that, when this rank began to listen.
    heard: Vec<Option<Time>>,
    /// To whom something goes by which server, until when.
    ways: BTreeMap<Rank, (Rank, Time)>,
    /// Announcements since the last answer, and when the first of them was made.
    unanswered: u32,
    unanswered_since: Time,
    /// Which server is to carry the next repetition.
    turn: u32,
}

impl Detours {
    /// No detours yet.
    #[must_use]
    pub fn new(me: Rank, config: &Config) -> Self {
        Self {
            me,
            servers: config.servers,
            announce: config.timing.announce,
            unheard: vec![None; config.ranks() as usize],
            heard: vec![None; config.ranks() as usize],
            ways: BTreeMap::new(),
            unanswered: 0,
            unanswered_since: Time::default(),
            turn: 0,
        }
    }

    /// How long a client waits for an answer before it asks by another server.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.announce * PATIENCE_ANNOUNCES
    }

    /// A message has arrived. `primary` is whom this rank takes for the primary.
    pub fn arrived(&mut self, now: Time, sender: Rank, message: Message, primary: Option<Rank>) -> Arrival {
        if let Some(unheard) = self.unheard.get_mut(sender.0 as usize) {
            *unheard = None;
        }
        if let Some(heard) = self.heard.get_mut(sender.0 as usize) {
            *heard = Some(now);
        }
        match message {
            Message::Relay(relay) if relay.to == self.me => self.relayed(now, sender, *relay),
            Message::Relay(relay) => self.carry(sender, *relay, primary),
            message => self.here(sender, message),
        }
    }

    fn here(&mut self, from: Rank, message: Message) -> Arrival {
        if from == METADATA && matches!(message, Message::Welcome { .. }) {
            self.unanswered = 0;
        }
        Arrival::Here(from, message)
    }

    fn relayed(&mut self, now: Time, sender: Rank, Relay { from, by, unheard, message, .. }: Relay) -> Arrival {
        let is_possible = self.is_rank(from) && self.is_server(by) && from != self.me && by != self.me && by != from;
        if !is_possible || (sender != from && sender != by) {
            return Arrival::Nothing;
        }
        if unheard || self.is_unheard(now, from) {
            self.ways.insert(from, (by, now + self.announce * DETOUR_ANNOUNCES));
        }
        self.here(from, message.into())
    }

    /// Carries only what comes from who says it: one step, no more.
    fn carry(&self, sender: Rank, relay: Relay, primary: Option<Rank>) -> Arrival {
        let is_mine = relay.by == self.me && self.is_server(self.me) && relay.from == sender;
        if !is_mine || !self.is_rank(relay.to) || relay.to == sender {
            return Arrival::Nothing;
        }
        // The client may not know who is primary now.
        let to = match relay.message {
            Carried::Request(_) => primary.unwrap_or(relay.to),
            _ => relay.to,
        };
        if to == self.me {
            return Arrival::Here(sender, relay.message.into());
        }
        Arrival::Onward(to, Message::Relay(Box::new(Relay { to, ..relay })))
    }

    /// Adds to what is about to be sent what goes by detours. A client waits in vain for the answers to what is `late`.
    pub fn add(&mut self, now: Time, sends: &mut Vec<(Rank, Message)>, late: impl Fn(&Message) -> bool) {
        self.ways.retain(|_, (_, until)| now < *until);
        for heard in &mut self.heard {
            heard.get_or_insert(now);
        }
        let (turn, mut used) = (self.turn, false);
        // What leaves besides, and after which of them.
        let mut more = Vec::new();
        for (at, (to, message)) in sends.iter_mut().enumerate() {
            let (to, mut others) = (*to, Vec::new());
            if to == METADATA && self.is_server(self.me) {
                if self.waits_in_vain(now, message) {
                    used = true;
                    others.extend((1..=self.servers).map(Rank).filter(|by| *by != self.me));
                }
            } else if to != self.me && !self.is_server(self.me) && late(message) {
                let by: Vec<Rank> = (1..=self.servers).map(Rank).filter(|by| *by != to).collect();
                others.extend(by.get(turn as usize % by.len().max(1)));
                used = true;
            }
            if to == self.me || (self.is_server(to) && self.is_server(self.me)) {
                continue;
            }
            if let Some(unheard) = self.unheard.get_mut(to.0 as usize) {
                unheard.get_or_insert(now);
            }
            let way = self.ways.get(&to).map(|(by, _)| *by);
            if way.is_none() && others.is_empty() {
                continue;
            }
            let Some(carried) = Carried::new(message) else { continue };
            let unheard = self.is_unheard(now, to);
            let relay =
                |by| Message::Relay(Box::new(Relay { from: self.me, to, by, unheard, message: carried.clone() }));
            // Directly, too, it says which way to answer: perhaps only the way back is broken.
            let by = way.unwrap_or_else(|| others[turn as usize % others.len()]);
            *message = relay(by);
            if way.is_some() {
                others.retain(|other| *other != by);
                others.push(by);
            }
            more.extend(others.into_iter().map(|by| (at, (by, relay(by)))));
        }
        if !more.is_empty() {
            // In one go: a client may repeat a whole window of late requests at once.
            let mut more = more.into_iter().peekable();
            for (at, send) in std::mem::take(sends).into_iter().enumerate() {
                sends.push(send);
                sends.extend(std::iter::from_fn(|| Some(more.next_if(|(after, _)| *after == at)?.1)));
            }
        }
        self.turn = turn.wrapping_add(u32::from(used));
    }

    /// Counts this server's announcements. True for what is said to a metadata server that does not answer.
    fn waits_in_vain(&mut self, now: Time, message: &Message) -> bool {
        let patient = self.unanswered < PATIENCE_ANNOUNCES || now.since(self.unanswered_since) < self.patience();
        match message {
            Message::Announce { .. } => {
                if self.unanswered == 0 {
                    self.unanswered_since = now;
                }
                self.unanswered += 1;
                !patient
            }
            Message::ChangeView { .. } => !patient,
            _ => false,
        }
    }

    /// Which of these, who have reason to speak, have not been heard directly for a while.
    #[must_use]
    pub fn silent(&self, now: Time, expected: impl IntoIterator<Item = Rank>) -> Vec<Rank> {
        let heard = |rank: Rank| self.heard.get(rank.0 as usize).copied().flatten();
        let is_silent = |rank: &Rank| heard(*rank).is_some_and(|heard| now.since(heard) >= self.patience());
        expected.into_iter().filter(|rank| *rank != self.me).filter(is_silent).collect()
    }

    /// Which servers have not been heard directly for a while: all of them announce themselves.
    #[must_use]
    pub fn silent_servers(&self, now: Time) -> Vec<Rank> {
        self.silent(now, (1..=self.servers).map(Rank))
    }

    fn is_unheard(&self, now: Time, rank: Rank) -> bool {
        let since = self.unheard.get(rank.0 as usize).copied().flatten();
        since.is_some_and(|since| now.since(since) >= self.patience())
    }

    fn is_server(&self, rank: Rank) -> bool {
        (1..=self.servers).contains(&rank.0)
    }

    fn is_rank(&self, rank: Rank) -> bool {
        (rank.0 as usize) < self.unheard.len()
    }
}
