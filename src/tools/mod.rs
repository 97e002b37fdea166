//! Programs of their own beside the console, in the same binary.
//!
//! | room | what it holds |
//! |---|---|
//! | [`bench`](mod@bench) | how fast it is, and how fast it could be |
//! | [`fuzz`] | seeds on all cores until one fails |
//! | [`log`] | the log of a server, for a person to read |

pub mod bench;
pub mod fuzz;
pub mod log;
