//! The one table of commands, the one table of keys, and how a line or a key becomes an action.
//!
//! | file | what it holds |
//! |---|---|
//! | [`table`] | the one table of commands: parser, help, completion, hints and README derive from it |
//! | [`kind`] | the kinds of words that commands take |
//! | [`stored`] | the store's own table, as the console knows commands |
//! | [`guide`] | what F1 shows: all of it, or what a search leaves |
//! | [`help`] | what `HELP` answers |
//! | [`keys`] | the one table of keys: bindings, key bar and README derive from it |
//! | [`moves`] | the one table of moves, through what has happened |
//! | [`presenter`] | the one table of keys for a presenter on the tour |
//! | [`parse`] | bytes into words (quotes and escapes as in redis-cli), words into a request |
//! | [`action`] | what a line or a key asks for |

pub mod action;
pub mod guide;
pub mod help;
pub mod keys;
pub mod kind;
pub mod moves;
pub mod parse;
pub mod presenter;
pub mod stored;
pub mod table;

pub use action::{Action, Who};
pub use parse::CommandLine;
