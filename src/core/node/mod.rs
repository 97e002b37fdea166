//! A rank as a value: what lives on it, what can happen to it, and what it tells.
//!
//! | file | what it holds |
//! |---|---|
//! | [`host`] | a server with its misfortunes |
//! | [`front`] | a client, with the metadata server on rank 0 |
//! | [`outlet`] | the way out of a host: past injected network faults |
//! | [`observer`] | what a rank has to tell, bounded |
//! | [`doors`] | what doors tell each other |
//! | [`brief`](mod@brief) | the beginning of something's words |

pub mod brief;
pub mod doors;
pub mod front;
pub mod host;
pub mod observer;
pub mod outlet;

pub use front::FrontHost;
pub use host::{DiskOrder, Outputs, ServerHost, Setup, first_life};
