//! Frames between ranks.
//!
//! | file | what it holds |
//! |---|---|
//! | [`wire`] | packets, and how they share a frame |
//! | [`mpi`] | frames over MPI: non-blocking, bounded, the only file that names the `mpi` crate |
//! | [`raw`] | the benchmark's baseline: plain messages along the store's paths |
//! | [`keeper`] | why the death of a process stays silent on the network |
//! | [`doorbell`] | how a rank sleeps, and is woken by its peers |
//!
//! Everything for one peer within one turn of a rank's loop leaves as one frame: batching comes for
//! free, and it adapts to the load. When a peer does not take its frames, they wait, bounded, and then
//! are dropped: to the protocol that is a lossy network, which it is made for.

pub mod doorbell;
#[cfg(all(feature = "mpi", target_os = "linux"))]
pub mod keeper;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod raw;
pub mod wire;

pub use doorbell::Doorbell;
pub use raw::RawWire;
pub use wire::{Outgoing, Packet};

use crate::protocol::Rank;

/// What a loop needs of a network.
pub trait Transport {
    /// This rank.
    fn rank(&self) -> Rank;

    /// How many ranks there are.
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

    /// `peer`'s process is dead: nothing is sent to it any more, and nothing is expected.
    fn forget(&mut self, _peer: Rank) {}

    /// Starts a process that takes the place of `peer`, which was forgotten, in the background: [`Change::Started`]
    /// tells when it is there. It runs this very binary with these arguments.
    fn replace(&mut self, _peer: Rank, _arguments: &[String]) {}

    /// Lets `peer` come, in the background: [`Change::Opened`] tells under which name, [`Change::Connected`] that it
    /// has.
    fn open(&mut self, _peer: Rank) {}

    /// Goes to `peer`, which has opened under this name, in the background: [`Change::Connected`] tells when it is
    /// reached.
    fn connect(&mut self, _peer: Rank, _port: &str) {}

    /// The next thing that has come out of what was started in the background.
    fn take_change(&mut self) -> Option<Change> {
        None
    }
}

/// What has come out of something that was started in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A process in the place of `peer` was started and is reached from now on; or why not.
    Started { peer: Rank, result: Result<(), String> },
    /// `peer` can come under this name: to be told to it.
    Opened { peer: Rank, port: String },
    /// `peer` is reached from now on; or why not.
    Connected { peer: Rank, result: Result<(), String> },
}
