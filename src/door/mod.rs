//! The door: RESP for other programs, in the loop of rank 0.
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
//! | [`transaction`], [`blocking`], [`pubsub`], [`scripts`] ([`sha1`]) | what needs more than one command of the store |
//! | [`counters`] | how much a door has done |
//! | [`sockets`] | the only file that touches the network |
//!
//! # Caveats
//!
//! * A message that is published reaches those who listen at this door, and is not logged.
//! * A pop that blocks takes what it gets even when its client has gone meanwhile, as in Redis.

pub mod blocking;
pub mod connection;
pub mod counters;
pub mod docs;

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

use crate::cluster::{Facts, Lodger, Sight};
use crate::core::protocol::{Outcome, Time};
use crate::core::store::{Bytes, Command, Seq};
use hall::{Hall, OrderTicket};
use rustix::fd::OwnedFd;
use settings::Settings;
use sockets::DoorSockets;
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

impl Door {
    /// Opens it. `max_memory`: what the servers store at most, in bytes (0: without a limit).
    ///
    /// # Errors
    /// When nobody can listen there.
    pub fn open(address: SocketAddr, password: Option<Bytes>, max_memory: u64, now: Time) -> io::Result<Self> {
        let sockets = DoorSockets::listen(address)?;
        let address = sockets.address()?;
        let settings = Settings::new(password, address.port(), &address.ip().to_string());
        let settings = settings.with_max_memory(max_memory);
        Ok(Self { hall: Hall::new(settings, now), sockets, address, under_way: BTreeMap::new() })
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

    fn sight(&self) -> Sight {
        let counters = &self.hall.counters;
        Sight {
            port: self.address.port(),
            connections: self.hall.connections.len(),
            per_second: counters.per_second(),
            slowest: counters.slowest(),
        }
    }
}
