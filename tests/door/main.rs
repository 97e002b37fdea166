//! The door: what Redis clients say, and what they are answered.

#[cfg(feature = "mpi")]
#[path = "../twin/answer.rs"]
mod answer;
#[cfg(feature = "mpi")]
#[path = "../twin/author.rs"]
mod author;
#[cfg(feature = "mpi")]
mod clients;
#[cfg(feature = "mpi")]
mod cluster;
#[cfg(feature = "mpi")]
mod crowd;
#[cfg(feature = "mpi")]
mod doors;
mod hall;
mod resp;
#[cfg(feature = "mpi")]
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "mpi")]
mod twin;
#[cfg(feature = "mpi")]
mod values;
#[cfg(feature = "mpi")]
mod web;
