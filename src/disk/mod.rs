//! The logs of a cluster in real files.
//!
//! What is in them, and in which order it is written, says [`crate::core::disk`]; here are the folders.
//!
//! | file | what it holds |
//! |---|---|
//! | [`folder`] | which folders and files there are, and what is in them |
//! | [`cabinet`] | the files of one log, written |
//! | [`brittle`] | a disk that fails as a test wants it |
//! | [`scribe`] | the thread that does it, and how a rank's loop talks to it |
//!
//! ```text
//! DIR/rank-0/log-00000001        the views that the metadata server has decided on
//! DIR/rank-1/log-00000041        what server 1 has acknowledged
//! DIR/rank-1/log-00000042
//! ```

pub mod brittle;
pub mod cabinet;
pub mod folder;
pub mod scribe;

pub use cabinet::{Cabinet, LogFound, OpenError};
pub use scribe::{DiskNews, Scribe};
