//! The door: what Redis clients say, and what they are answered.

#[cfg(feature = "mpi")]
mod clients;
#[cfg(feature = "mpi")]
mod cluster;
mod hall;
mod resp;
#[cfg(feature = "mpi")]
#[path = "../support/mod.rs"]
mod support;
