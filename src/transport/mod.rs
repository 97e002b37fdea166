//! Frames between ranks.
//!
//! | file | what it holds |
//! |---|---|
//! | [`wire`] | packets, and how they share a frame |
//! | [`mpi`] | frames over MPI: non-blocking, bounded, the only file that names the `mpi` crate |
//! | [`raw`] | the benchmark's baseline: plain messages along the store's paths |
//! | [`doorbell`] | how a rank sleeps, and is woken by its peers |
//!
//! Everything for one peer within one turn of a rank's loop leaves as one frame: batching comes for
//! free, and it adapts to the load. When a peer does not take its frames, they wait, bounded, and then
//! are dropped: to the protocol that is a lossy network, which it is made for.

pub mod doorbell;
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
}
