//! Was it correct? Judges a history of client operations without looking at the servers.
//!
//! | file | what it holds |
//! |---|---|
//! | [`history`] | one client operation as the client saw it |
//! | [`json`] | histories as lines of JSON: the files of `--history` |
//! | [`model`] | what one key can be, and what one operation does to it |
//! | [`linear`] | the linearizability checker, for a whole history |
//! | `stored` | the same for values of every kind: with the store itself as the model |
//! | `settled` | what one operation tells of the store, without chance and clocks |
//! | `stored_search` | the orders of operations that a store explains |
//! | [`monitor`] | the same question asked continuously, at bounded cost |
//! | `track` | the keys that the monitor judges together |
//! | [`witness`] | sees every operation of a session: `CHECK`, the badge, `--history` |

pub mod history;
pub mod json;
pub mod linear;
pub mod model;
pub mod monitor;
mod search;
mod settled;
mod stored;
mod stored_search;
mod track;
pub mod witness;

pub use history::Operation;
pub use linear::{Contradiction, Verdict, check};
pub use monitor::{Monitor, MonitorStanding};
pub use witness::{Judgement, Witness};
