//! The door: RESP for other programs, in the loop of rank 0, and of further ranks under load (`--doors`).
//!
//! ```text
//!   redis-cli, ioredis, …            one turn of the loop                         the cluster
//!        │ bytes                                                                      ▲
//!        ▼                                                                            │
//!   sockets ──▶ hall: parse everything that has come ──▶ orders ──▶ protocol client ──┘
//!      ▲                        │                                         │
//!      └── one write each ◀── replies in order ◀──────────────────────── outcomes
//! ```
//!
//! The loop owns the sockets: there is no thread and no second runtime. All requests of a turn share the frames to the
//! primary, all replies of a turn to one connection share a write.
//!
//! # What a failover looks like from outside
//!
//! Like a request that takes a little longer. The TCP connection ends here and not at a server; what was under way is
//! repeated with its number by the protocol's client ([`crate::core::protocol::client`]), and takes effect once. Nobody
//! ever hears `READONLY`.
//!
//! | file | what it holds |
//! |---|---|
//! | [`resp`], [`shapes`] | requests in, replies out, for both versions of the protocol |
//! | [`connection`] | one connection as a value: replies in order, what it waits for, limits |
//! | [`hall`] | all connections as a value: orders to the cluster, outcomes, deadlines |
//! | [`rows`], [`docs`] | the door's own commands, and `COMMAND` |
//! | [`local`], [`info`], [`settings`] | what the door answers by itself |
//! | [`everybody`] | what concerns the connections of all doors |
//! | [`transaction`], [`blocking`], [`pubsub`], [`scripts`] ([`sha1`]) | what needs more than one command of the store |
//! | [`doors`] | what doors tell each other |
//! | [`counters`] | how much a door has done |
//! | [`sockets`] | the only file that touches the network |
//!
//! # Several doors
//!
//! Each is a client of the cluster on a rank of its own, at the same address and port: the system spreads connections
//! over them. What is stored is one for all. Messages that are published go from door to door, and so do settings; who
//! listens where is known to all.
//!
//! # Caveats
//!
//! * A message that is published reaches those who listen at that moment, and is not logged.
//! * A pop that waits at one door is woken by a push at another when it next looks, and not by who waits longest.
//! * Limits on connections and memory are each door's own.
//! * A pop that blocks takes what it gets even when its client has gone meanwhile, as in Redis.

pub mod blocking;
pub mod connection;
pub mod counters;
pub mod docs;
pub mod doors;
pub mod everybody;
pub mod hall;
pub mod info;
pub mod local;
pub mod pubsub;
pub mod resp;
pub mod rows;
pub mod scripts;
pub mod settings;
pub mod sha1;
pub mod shapes;
pub mod sockets;
pub mod transaction;

use crate::cluster::{DoorFigures, DoorWord, Facts, Lodger, Sight};
use crate::core::protocol::{METADATA, Outcome, Rank, Time};
use crate::core::store::{Bytes, Command, Seq};
use hall::{Hall, OrderTicket};
use rustix::fd::OwnedFd;
use settings::Settings;
use sockets::{Company, DoorSockets};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// A door: sockets, the hall behind them, and what the cluster has been asked for.
#[derive(Debug)]
pub struct Door {
    hall: Hall,
    sockets: DoorSockets,
    address: SocketAddr,
    under_way: BTreeMap<Seq, OrderTicket>,
}

/// What a door is to be.
#[derive(Debug)]
pub struct DoorPlan {
    /// Where.
    pub address: SocketAddr,
    /// What clients have to give.
    pub password: Option<Bytes>,
    /// What the servers store at most, in bytes (0: without a limit).
    pub max_memory: u64,
    /// On which rank it is.
    pub rank: Rank,
    /// Whether it shares the address with further doors.
    pub is_shared: bool,
}

impl Door {
    /// Opens it.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub fn open(plan: DoorPlan, now: Time) -> io::Result<Self> {
        let company = match plan.rank {
            METADATA if plan.is_shared => Company::First,
            METADATA => Company::Alone,
            _ => Company::Joining,
        };
        let sockets = DoorSockets::listen(plan.address, company)?;
        let address = sockets.address()?;
        let settings = Settings::new(plan.password, address.port(), &address.ip().to_string());
        let settings = settings.with_max_memory(plan.max_memory);
        let hall = Hall::new(settings, now).on(plan.rank);
        Ok(Self { hall, sockets, address, under_way: BTreeMap::new() })
    }

    /// The same; on these ranks are doors at the same address, its own among them or not.
    #[must_use]
    pub fn among(self, doors: impl Iterator<Item = Rank>) -> Self {
        Self { hall: self.hall.among(doors), ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Lodger for Door {
    fn bell(&self) -> Arc<OwnedFd> {
        self.sockets.bell()
    }

    fn tell(&mut self, facts: Facts) {
        self.hall.facts = facts;
    }

    fn receive(&mut self, now: Time) -> bool {
        let heard = self.sockets.receive(now, &mut self.hall);
        self.hall.tick(now);
        heard
    }

    fn next_command(&mut self, seq: Seq) -> Option<Command> {
        let (ticket, command) = self.hall.next_order()?;
        self.under_way.insert(seq, ticket);
        Some(command)
    }

    fn answered(&mut self, now: Time, seq: Seq, outcome: &Outcome) -> bool {
        let Some(ticket) = self.under_way.remove(&seq) else { return false };
        self.hall.answered(now, ticket, outcome);
        true
    }

    fn send(&mut self) {
        self.sockets.send(&mut self.hall);
    }

    fn deadline(&self) -> Time {
        self.hall.deadline()
    }

    fn figures(&self) -> DoorFigures {
        let figures = self.hall.figures();
        DoorFigures { sight: Sight { port: self.address.port(), ..figures.sight }, ..figures }
    }

    fn next_word(&mut self) -> Option<(Option<Rank>, DoorWord)> {
        self.hall.others.next_word()
    }

    fn hear(&mut self, now: Time, from: Rank, word: DoorWord) {
        self.hall.hear(now, from, word);
    }

    fn forget(&mut self, now: Time, rank: Rank) {
        self.hall.forget_door(now, rank);
    }
}
