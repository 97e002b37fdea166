//! Frames between ranks, past the death of any of them.
//!
//! | file | what it holds |
//! |---|---|
//! | [`wire`] | packets, and how they share a frame |
//! | [`mesh`] | which process is which rank, and the way to it |
//! | [`mpi`] | frames over MPI, among the processes that were started together |
//! | [`sockets`] | frames over sockets, to and from the processes that came later |
//! | [`stream`] | frames on one socket: non-blocking, bounded |
//! | [`offspring`] | how such a process is started |
//! | [`raw`] | the benchmark's baseline: plain messages along the store's paths |
//! | [`keeper`] | on several hosts: why the death of a process stays silent on the network |
//! | [`deathwatch`] | how the death of a process is known at once, and for certain |
//! | [`doorbell`] | how a rank sleeps, and is woken by its peers |
//!
//! Everything for one peer within one turn of a rank's loop leaves as one frame: batching comes for
//! free, and it adapts to the load. When a peer does not take its frames, they wait, bounded, and then
//! are dropped: to the protocol that is a lossy network, which it is made for.
//!
//! # Who takes the place of the dead
//!
//! A *rank* is a part in the play; a *process* plays it until it dies. Rank 0 says who plays what.
//!
//! ```text
//!   started together:  0 ── 1 ── 2 ── spare 3 ── spare 4        MPI: one world, every way exists from the start
//!   1 dies:            0 ── 3 ── 2 ────────────── spare 4        process 3 is rank 1 from now on
//!   no spare is left:  0 ── 3 ── 6                               process 6 is new, and is no process of MPI:
//!                                                                it is reached over sockets
//! ```
//!
//! 1. Rank 0 learns of a death (by the process table, by its child's end) and tells everybody: `Gone`.
//! 2. It gives the place to a sleeping spare, or starts a process from its own running image, whatever has become of
//!    the program's file. It tells the process how to `Start`, and the others where it is: `Placed`.
//! 3. A process that came later listens; whoever was there before, or is a spare that has just been woken, goes to it.
//!
//! Nothing of this waits for anybody. MPI connects nobody while ranks serve: as long as it does that anywhere in a
//! process (`MPI_Comm_spawn`, `MPI_Comm_accept`, `MPI_Comm_connect`), every other call in the process may be caught in
//! its search for somebody who has died in the meantime. A broken socket is a way that is lost, and sought again.
//!
//! # Caveats
//!
//! - A process over a socket pays a system call for every frame and every look: some microseconds more for a request.
//! - Frames over TCP (several hosts) are as open to who can read the network as those of MPI; a random number that only
//!   the job knows keeps strangers out.

#[cfg(target_os = "linux")]
pub mod deathwatch;
pub mod doorbell;
#[cfg(all(feature = "mpi", target_os = "linux"))]
pub mod keeper;
#[cfg(feature = "mpi")]
pub mod mesh;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod offspring;
pub mod raw;
pub mod sockets;
pub mod stream;
pub mod wire;

pub use doorbell::Doorbell;
#[cfg(feature = "mpi")]
pub use mesh::Mesh;
pub use raw::RawWire;
pub use wire::{Outgoing, Packet};

use crate::core::protocol::Rank;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// The most frames that wait for one peer below the loop.
pub const SENDS_MAX: usize = 48;

/// The number of a process within its job: first those that were started together, in MPI's order, then those that
/// came later. No number is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Process(pub u32);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which process is a rank, and where it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The rank.
    pub rank: Rank,
    /// The process that is this rank from now on.
    pub process: Process,
    /// Where it listens, if it came later and there are several hosts; on one host its number is enough.
    pub addresses: Vec<SocketAddr>,
}

/// What a loop needs of a network.
pub trait Transport {
    /// How many can be named: the ranks, and behind them the spares, each by its number as a process.
    fn ranks(&self) -> u32;

    /// Hands over the frames that have arrived, in order for each sender; returns how many.
    fn receive(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize;

    /// Starts to send a frame. Gives it back when too many are under way to this peer already.
    ///
    /// # Errors
    /// The frame, unsent.
    fn send(&mut self, to: Rank, frame: Vec<u8>) -> Result<(), Vec<u8>>;

    /// An empty buffer for a frame, used before if possible.
    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Frames on their way that the peers have not taken yet.
    fn unsent(&self) -> usize;

    /// True while frames are on their way piece by piece, in or out: they move only while somebody calls.
    fn is_moving(&self) -> bool {
        self.unsent() > 0
    }

    /// True when it gives the core away by itself whenever nothing has come.
    fn gives_way(&self) -> bool {
        false
    }

    /// The wire below, for the benchmark's baseline; `None` where there is none.
    fn raw(&mut self) -> Option<&mut dyn RawWire> {
        None
    }
    /// Whether the others go on when a rank's process dies.
    ///
    /// # Errors
    /// Why they do not.
    fn survives_a_death(&self) -> Result<(), String> {
        Err("the ranks of this cluster are no processes".to_owned())
    }

    /// This process is dead: nothing is sent to it any more, and what it has sent counts no longer. Returns which rank
    /// it was.
    fn forget(&mut self, _process: Process) -> Option<Rank> {
        None
    }

    /// From now on that rank is that process.
    fn place(&mut self, _place: &Place) {}

    /// Starts a new process with these arguments, in the background ([`Change`] tells what becomes of it). It can be
    /// placed and sent to at once.
    fn start(&mut self, _arguments: &[String]) -> Option<Process> {
        None
    }

    /// The next thing that has become of a process that was started.
    fn take_change(&mut self) -> Option<Change> {
        None
    }
}

/// What has become of a process that was started here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It runs.
    Started { process: Process, pid: u32 },
    /// It has ended, or could not be started.
    Ended { process: Process, end: ProcessEnd },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessEnd {
    /// In words, for a person.
    pub how: String,
    /// By SIGKILL: that says nothing about the next one.
    pub killed: bool,
}
