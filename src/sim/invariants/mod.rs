//! What must hold, always: one property a file, checked after every step of the simulator.
//!
//! | file | property |
//! |---|---|
//! | [`views`] | one history of views; the primary of the next view was a member of the one before |
//! | [`one_server`] | at most one server answers at any instant |
//! | [`prefix`] | stores with the same op number are the same |
//! | [`durability`] | an acknowledged write is in the state of every later primary |
//! | [`exactly_once`] | a request takes effect at most once, and every answer to it is the same |
//! | [`linearizable`] | the clients' history has an order that explains it |
//! | [`heals`] | when all faults end, everything is as before |
//! | [`bounded`] | no queue grows without bound |

pub mod bounded;
pub mod durability;
pub mod exactly_once;
pub mod heals;
pub mod linearizable;
pub mod one_server;
pub mod prefix;
pub mod views;

use crate::check::Operation;
use crate::driver::ServerHost;
use crate::protocol::{Config, Event, Message, Metadata, Rank, Time};
use std::collections::BTreeMap;
use std::fmt;

/// Something that should never have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the property: that of its file.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// A violation of `invariant`.
    #[must_use]
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// All properties that are checked on the way.
#[derive(Debug)]
pub struct Invariants {
    views: views::Views,
    prefix: prefix::Prefix,
    durability: durability::Durability,
    exactly_once: exactly_once::ExactlyOnce,
    /// The first violation found between two checks.
    found: Option<Violation>,
    /// How often something worth counting happened, by name.
    pub situations: BTreeMap<&'static str, u64>,
}

impl Invariants {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(_config: &Config) -> Self {
        Self {
            views: views::Views::default(),
            prefix: prefix::Prefix::default(),
            durability: durability::Durability::default(),
            exactly_once: exactly_once::ExactlyOnce::default(),
            found: None,
            situations: BTreeMap::new(),
        }
    }

    /// Counts a situation.
    pub fn count(&mut self, situation: &'static str) {
        *self.situations.entry(situation).or_default() += 1;
    }

    fn note(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.found.get_or_insert(violation);
        }
    }

    /// A message arrives at a server.
    pub fn on_delivery(&mut self, _from: Rank, _to: Rank, message: &Message) {
        if let Message::Refused { .. } = message {
            self.count("refused by a newer view");
        }
    }

    /// A node sends a message.
    pub fn on_send(&mut self, message: &Message) {
        if let Message::Reply { client, seq, reply, .. } = message {
            let result = self.exactly_once.on_reply(*client, *seq, reply);
            if let Ok(true) = result {
                self.count("repeated request answered from the client table");
            }
            self.note(result.map(|_| ()));
        }
    }

    /// A node tells an event.
    pub fn on_event(&mut self, rank: Rank, event: &Event) {
        match event {
            Event::Applied { op, client, seq } => {
                let result = self.exactly_once.on_applied(rank, *op, *client, *seq);
                self.note(result);
            }
            Event::Crashed { at: Some((point, _)), .. } => self.count(match point {
                crate::protocol::CrashPoint::Arrival => "crash on arrival",
                crate::protocol::CrashPoint::BeforePrepare => "crash before Prepare",
                crate::protocol::CrashPoint::AfterPrepare => "crash after Prepare",
                crate::protocol::CrashPoint::BeforeReply => "crash before the answer",
            }),
            Event::Crashed { at: None, .. } => self.count("crash between requests"),
            Event::Suspected { .. } => self.count("suspicion"),
            Event::TransferStarted { .. } => self.count("transfer started"),
            Event::TransferDone { .. } => self.count("transfer done"),
            Event::Forgot { .. } => self.count("state forgotten"),
            Event::GaveUp { .. } => self.count("outcome unknown"),
            _ => {}
        }
        if let Event::ViewChanged { reason, .. } = event {
            self.count(match reason {
                crate::protocol::Reason::Formed => "view formed",
                crate::protocol::Reason::PrimarySilent { .. } => "failover",
                crate::protocol::Reason::BackupSilent { .. } => "backup removed",
                crate::protocol::Reason::Restarted { .. } => "restarted backup removed",
                crate::protocol::Reason::Joined { .. } => "server joined",
                crate::protocol::Reason::Handover => "handover",
            });
        }
    }

    /// A client has an answer.
    pub fn on_answer(&mut self, operation: &Operation) {
        let op = self.exactly_once.op_of(operation.client, operation.seq);
        self.durability.on_answer(operation, op);
    }

    /// A server has just done something.
    pub fn on_server(&mut self, now: Time, host: &ServerHost) {
        let result = self.prefix.on_server(host);
        self.note(result);
        let result = self.durability.on_server(now, host);
        self.note(result);
    }

    /// After every step.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(
        &mut self,
        now: Time,
        metadata: &Metadata,
        servers: &BTreeMap<Rank, ServerHost>,
    ) -> Result<(), Violation> {
        if let Some(violation) = self.found.take() {
            return Err(violation);
        }
        self.views.check(metadata)?;
        one_server::check(now, servers)?;
        bounded::check(servers)
    }
}
