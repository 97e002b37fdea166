//! The core: values only. Time, chance and messages are handed in; messages, events and wishes come out.
//!
//! Nothing below this module knows a clock, a thread, a file, a socket or MPI, so the same code runs over MPI, in the
//! simulator and under the model checker, and every fault in it has a seed.
//!
//! | room | what it holds |
//! |---|---|
//! | [`store`] | the replicated state machine |
//! | [`protocol`] | views, leases, replication: server (a file a role), client, metadata server |
//! | [`disk`] | a log as bytes: what is written, and which of it is to be believed |
//! | [`fault`] | dice, and links that lose and delay |
//! | [`load`] | workloads, and the ledger that knows which answers are possible |
//! | [`node`] | a rank as a value: what lives on it, its way out, what it tells |

pub mod disk;
pub mod fault;
pub mod load;
pub mod node;
pub mod protocol;
pub mod store;
