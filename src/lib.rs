//! Understudy: a replicated key-value store on MPI that can be broken on purpose and watched as it survives.

#[cfg(feature = "mpi")]
pub mod app;
pub mod args;
pub mod bench;
pub mod check;
pub mod console;
pub mod dashboard;
pub mod driver;
pub mod fault;
pub mod launch;
pub mod protocol;
pub mod sim;
pub mod store;
pub mod transport;
