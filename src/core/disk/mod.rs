//! A log on a disk, as bytes: what is written, and which of it is to be believed when it is read again.
//!
//! Nothing here reads or writes a file. A [`Journal`] says what is to be done to the files of one rank ([`Step`]), a
//! [`Reader`] is handed what is in them. So real files, a simulated disk that breaks, and a test that flips every bit
//! run the same code.
//!
//! ```text
//! log-00000007                                              log-00000008
//! ┌────────┬──────┬──────┬────────┬────────┬───┬────────┐   ┌────────┬──
//! │ header │ mark │ mark │ record │ record │ … │ record │   │ header │
//! └────────┴──────┴──────┴────────┴────────┴───┴────────┘   └────────┴──
//!   whose    how far it was     each hash goes over the       its chain begins with the
//!   it is    written, synced    record and the hash before    last hash of the file before
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`segment`] | the head of a file: whose it is, and how far it is known to go |
//! | [`frame`] | a record as bytes, chained to the one before |
//! | [`journal`] | writing: which bytes go where, and in which order |
//! | [`reader`] | reading: what is whole, what is a torn end, what is damage |
//!
//! # What is a torn end, and what is damage
//!
//! Who crashes while it writes leaves an end that is not whole: that was never acknowledged and is cut off. Everything
//! else that is not whole is damage, for what is behind it may have been acknowledged. The two are told apart so:
//!
//! * A file has two [`Mark`]s, written in turn: *everything up to here was written*, and *everything up to here is on
//!   the disk*. What is not whole before the mark is damage. The first mark counts as long as the machine has not been
//!   started anew since (its boot has a number), for then what was written is there, whoever was killed.
//! * Behind the mark, what is *short* is a torn end. What has a *sector of zeros* is one if the machine was started
//!   anew: a sector that never reached the disk reads as zeros. Anything else is damage.
//! * A file that is not the last is whole, or damaged; and a file that says that another one follows has one.
//!
//! # Caveats
//!
//! What cannot be told: when the power failed, and *then* the end of the last file was cut off or zeroed by somebody
//! else, no further back than the newest mark that had reached the disk. With a sync before each acknowledgement that
//! is the last pause of some milliseconds in the writing; with one a second, up to two seconds back; without any,
//! wherever the system was. That reads like a torn end. Other members have it still; with the last copy it is lost, and
//! nothing says so.

pub mod frame;
pub mod journal;
pub mod reader;
pub mod segment;

pub use journal::{Journal, Step};
pub use reader::{Damage, Ending, Fault, LogEnd, LogPlace, Reader, recover};
pub use segment::{Header, Mark, Owner, file_name, file_number};

/// When what was written is synced: brought from the system's memory to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before it is acknowledged.
    Always,
    /// Once a second.
    #[default]
    EverySecond,
    /// When the system likes.
    Never,
}
