//! The replicated state machine: keys, values, and what every client has been told.
//!
//! Everything in this room is deterministic: the same operations in the same order give the same
//! [`Store`], byte for byte, on every server. What travels between servers is the *operation*, never
//! its result, so nothing here may look at a clock, a random source, or the order of a hash table.
//!
//! | file | what it holds |
//! |---|---|
//! | [`command`] | what a client may ask, and the limits of it |
//! | `depth` | how deep values from outside may lie in each other |
//! | [`commands`] | the one table of commands, and what each of them does: a file a kind of value |
//! | [`reply`], [`error`] | what it is answered |
//! | [`session`] | the client table: at most one effect per request (Viewstamped Replication Revisited, 2012, §4.1) |
//! | [`glob`] | which keys a `KEYS` asks for |
//! | [`keylist`] | the answer of a `KEYS`, packed |
//! | [`scan`] | a `KEYS` in slices, while writes go on |
//! | [`state`] | the store itself: apply an operation, answer a read, digest |
//! | [`snapshot`] | the whole state in bounded chunks, while writes go on |
//! | [`work`] | what things cost: nothing that grows with the data is done in one go |
//!
//! # Caveats
//!
//! The store lives in memory. There is no durable log: a value survives as long as one member of the
//! current view keeps its memory.

pub mod bytes;
pub mod command;
pub mod commands;
mod depth;
pub mod entries;
pub mod error;
pub mod glob;
pub mod ids;
pub mod keylist;
pub mod reply;
pub mod scan;
pub mod session;
pub mod snapshot;
pub mod state;
pub mod table;
pub mod transaction;
pub mod value;
pub mod work;

pub use bytes::Bytes;
pub use command::{
    Call, Command, DATABASES, Db, KEY_BYTES_MAX, KEYS_REPLY_BYTES_MAX, Multi, Silent, VALUE_BYTES_MAX, Watched,
};
pub use entries::{Stored, Touch};
pub use error::StoreError;
pub use glob::KeyPattern;
pub use ids::{ClientId, OpNumber, Seq};
pub use keylist::KeyList;
pub use reply::{Double, Reply};
pub use scan::Scan;
pub use session::{SESSION_REPLIES_MAX, Session, Sessions};
pub use snapshot::{Chunk, Exporter, Finale, Importer, SnapshotError};
pub use state::{EXPIRED_KEYS_MAX, LogEntry, Stamp, Store, UnixMs};
pub use table::{Chance, Table};
pub use transaction::{StoreView, Transaction};
pub use value::{Value, ValueKind};
