//! What goes wrong on purpose.
//!
//! | file | what it holds |
//! |---|---|
//! | [`control`] | what an operator can do to a server or a link |
//! | [`dice`] | each request makes the primary crash with a given probability, from a seed |
//! | [`links`] | cuts, loss, delay, duplication and reordering, per link |
//! | [`meddling`] | what may be done to one message on its way |
//! | [`refusal`] | why an order was not carried out |
//!
//! Nothing here knows how it is drawn, and nothing here reads a clock or a global random source: the
//! same seed and the same requests give the same failures, in the simulator and over MPI.

pub mod control;
pub mod dice;
pub mod links;
pub mod meddling;
pub mod refusal;

pub use control::Control;
pub use dice::{Dice, Roll};
pub use links::{Conditions, Fate, Links};
pub use meddling::Meddling;
pub use refusal::ControlError;
