//! The log on a disk: what is written is read again, and nothing else is.

mod bound;
mod bytes;
mod cabinet;
mod files;
