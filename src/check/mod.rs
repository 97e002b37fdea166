//! Was it correct? Judges a history of client operations without looking at the servers.
//!
//! | file | what it holds |
//! |---|---|
//! | [`history`] | one client operation as the client saw it |
//! | [`linear`] | the linearizability checker |

pub mod history;
pub mod linear;

pub use history::Operation;
pub use linear::{Contradiction, Verdict, check};
