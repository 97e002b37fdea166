//! Understudy: a replicated key-value store on MPI that can be broken on purpose and watched as it survives.

pub mod args;
pub mod dashboard;
pub mod driver;
pub mod fault;
pub mod protocol;
pub mod store;
