//! What a turn of a rank's loop costs, counted rather than timed.
//!
//! A server that is silent for 50 ms is taken for dead. So nothing that grows with the data is done in one go: it is
//! cut into slices, and how large a slice is depends on what is counted here, not on a clock. That way a slice is the
//! same on every machine, in the simulator and in the tests.
//!
//! One unit is what an ordinary machine does in about a tenth of a microsecond.

/// One step of whatever is cut into slices: about a millisecond.
pub const SLICE_UNITS: u64 = 10_000;
/// To take in or to send a message, however short.
pub const MESSAGE_UNITS: u64 = 4;
/// To apply a write, however short, and to remember its answer.
pub const WRITE_UNITS: u64 = 6;
/// To look at a key, to forget one, or to take one in from a snapshot.
pub const KEY_UNITS: u64 = 1;
/// This many bytes are copied, hashed, or compared with a glob's pieces within one unit.
pub const BYTES_PER_UNIT: usize = 512;

/// What these bytes cost on their way through memory.
#[must_use]
pub fn units_of(bytes: usize) -> u64 {
    (bytes / BYTES_PER_UNIT) as u64
}
