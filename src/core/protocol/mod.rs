//! Primary/backup replication with a metadata server and leases.
//!
//! The family is that of PacificA (Lin et al., Microsoft Research, 2008) for the configuration and the
//! leases, of the view service of MIT 6.824 lab 2, and of Viewstamped Replication Revisited (Liskov and
//! Cowling, 2012) for the client table. Everything here is a plain value: messages and `now` go in,
//! messages and events come out ([`Outbox`]); there is no clock, no thread, no I/O and no random source.
//! The same code runs over MPI and in the simulator.
//!
//! # Who is who
//!
//! | value | where | job |
//! |---|---|---|
//! | [`Metadata`] | rank 0 | owns the current [`View`]: a compare-and-swap register, off the data path |
//! | [`Client`] | rank 0, further client ranks | sends requests, repeats them, never gives one two effects |
//! | [`Server`] | ranks 1..N | primary, backup, joining or idle: see [`server`] |
//!
//! Where a link to rank 0 or to a client is broken, another server carries what goes there: see [`detour`].
//!
//! # How a write travels
//!
//! ```text
//! client ──Request──▶ primary ──Prepare op=7──▶ every backup
//!                        ▲                          │
//!                        └────────PrepareOk op=7────┘
//! client ◀──Reply────── (commit 7, apply)      the commit number rides on the next Prepare or Heartbeat
//! ```
//!
//! # Why nothing acknowledged is lost
//!
//! A write is answered after *every* member of the view has it. A new primary is always a member of
//! the view before, and keeps even what it does not know to be committed. So whatever was answered is
//! in every later primary, as long as any server keeps its memory that had everything when the last answer
//! was given: a server that is left out of a view forgets only when the metadata server says so, and that
//! accepts a view only from a primary that has just confirmed, asked back, that it lives and leads it.
//! (A primary can still die after it has confirmed and before it answers anybody; nobody can tell that
//! from one that has answered. So this moment, a message long, counts as if it had.)
//!
//! # Why no read is stale
//!
//! The primary reads only while it holds a lease from every backup. An answered heartbeat is a lease for L counted
//! from when it was *sent*; the backup that granted it promises to ask for no view without the primary until G > L
//! after it has *received* the heartbeat, and from the moment it asks it grants no lease in that view again. Only
//! durations are compared, never the clocks of two machines. (Clock *rates* must agree within G/L = 25 %.)
//!
//! How long G is, each backup says for itself: 50 ms, or more where words are late or travel long. L comes with the
//! grant, always G less the margin for the clocks, and what was promised is kept when G becomes shorter again, from
//! role to role; also `RESET` waits for it. See `server::patience`.
//!
//! Who is known to be dead reads nothing more, so its lease is not waited for: [`Server::died`] is a proof, given by
//! the kernel when a process has ended, and never by silence. What the dead has sent may still arrive; that is a slow
//! network, as before.
//!
//! # Caveats
//!
//! * The metadata server does not fail over: it is rank 0, the console. When it ends, the cluster ends.
//! * A write needs every backup: one silent backup holds writes up until it is removed, about G later.
//! * G follows a round trip up to 1 s, a busy machine up to 200 ms. Beyond that reads wait for leases that have ended
//!   before they arrive, or views change for no reason: then all durations have to be longer (`--pace`).
//! * There is no disk. If all members of a view lose their memory, the data is gone, and the cluster
//!   says so and serves nobody until an operator says `RESET`.
//! * A clock that stands while the others' go on breaks the promise about reads. The sleep of a host is counted
//!   (`CLOCK_BOOTTIME`); a virtual machine that is suspended from outside, and not told of it when it goes on, may
//!   answer one lease too long.
//! * Faults are crashes, pauses, and a network that loses, delays, repeats and reorders. A server that
//!   lies is not among them.

pub mod client;
pub mod detour;
pub mod durable;
pub mod event;
pub mod history;
pub mod kind;
pub mod message;
pub mod metadata;
pub mod observation;
mod returning;
pub mod rules;
pub mod server;
pub mod time;
pub mod view;

use crate::core::store::work::SLICE_UNITS;
use crate::core::store::{Store, UnixMs};
pub use client::{Client, Completion, Outcome};
pub use detour::{Arrival, Detours};
pub use durable::{Record, Recovered, Recovery};
pub use event::{CrashCause, CrashPoint, Doom, Event, Role, plural};
pub use history::History;
pub use kind::MessageKind;
pub use message::{Message, Reason, Request, SnapshotPart};
pub use metadata::{Metadata, ViewRecord};
pub use observation::{DiskStatus, Flight, KeyView, Observation, Receipt, ServerStatus, TurnTimes};
pub use returning::Waiting;
pub use rules::{NoSuchRule, Rule, Rules};
pub use server::{Server, SwapError};
use std::time::Duration;
pub use time::{Time, Timing};
pub use view::{Incarnation, METADATA, Member, Rank, View, ViewNumber};

/// After this many bytes of writes (16 MiB) a server with a disk writes its whole state anew.
const SNAPSHOT_BYTES: u64 = 16 << 20;

/// What all nodes of a cluster must agree on before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Heartbeats, leases, patience.
    pub timing: Timing,
    /// Which rules hold.
    pub rules: Rules,
    /// Ranks `1..=servers` are servers.
    pub servers: u32,
    /// Ranks after the servers that are clients.
    pub clients: u32,
    /// How many clients live on each of these ranks.
    pub clients_a_rank: u32,
    /// How many servers a view has at most; the others stay idle until one is needed.
    pub replicas: u32,
    /// A request that is to make the primary crash waits this long for a backup to join, so that the data survives;
    /// then the dice spare the primary. Zero where a crashed server does not restart at once.
    pub dice_patience: Duration,
    /// How much is done at a time of what takes longer, in units of [`crate::core::store::work`].
    pub slice: u64,
    /// The time of day when this rank's own time was 0.
    pub unix_ms: UnixMs,
    /// Beyond this many bytes of keys and values a primary refuses what needs more.
    pub memory_bytes_max: u64,
    /// With a disk: after this many bytes of writes, about, the whole state is written anew, and older ones go. On the
    /// metadata server's disk, after this many bytes of views.
    pub snapshot_bytes: u64,
}

impl Config {
    /// `servers` servers that all hold the data, and no client but the console.
    #[must_use]
    pub fn new(servers: u32) -> Self {
        Self {
            timing: Timing::default(),
            rules: Rules::default(),
            servers,
            clients: 0,
            clients_a_rank: 1,
            replicas: servers,
            dice_patience: Duration::ZERO,
            slice: SLICE_UNITS,
            unix_ms: 0,
            memory_bytes_max: u64::MAX,
            snapshot_bytes: SNAPSHOT_BYTES,
        }
    }

    /// The ranks of the servers.
    pub fn server_ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        (1..=self.servers).map(Rank)
    }

    /// The ranks of the clients: the console, and those after the servers.
    pub fn client_ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        std::iter::once(METADATA).chain((self.servers + 1..=self.servers + self.clients).map(Rank))
    }

    /// How many ranks there are in all.
    #[must_use]
    pub fn ranks(&self) -> u32 {
        1 + self.servers + self.clients
    }
}

/// What a node wants done after it was handed something: drain it before you hand it the next thing.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Messages to send, in order.
    pub sends: Vec<(Rank, Message)>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Also tell [`Event::Applied`] (costs time with every write; checkers ask for it).
    pub detail: bool,
    /// What was done so far, in units of [`crate::core::store::work`]: whoever drains this counts it, and sets it back.
    pub work: u64,
    /// Stores that are needed no more: to be let go of a slice at a time ([`Store::forget_some`]).
    pub rubbish: Vec<Store>,
    /// What is to be written to this node's disk, in order. Each has a number, its ticket, consecutive from 1; when
    /// everything up to a ticket is on the disk, the node is told.
    pub writes: Vec<Record>,
}

impl Outbox {
    /// Asks for a message to be sent.
    pub fn send(&mut self, to: Rank, message: Message) {
        self.work += message.units();
        self.sends.push((to, message));
    }

    /// Tells that something happened.
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}
