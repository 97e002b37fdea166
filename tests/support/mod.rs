//! What the tests of the whole program share.

#![allow(dead_code, reason = "every test program uses its own part")]

pub mod data;
pub mod film;
pub mod hosts;
pub mod job;
pub mod load;
pub mod sim;
pub mod skip;
pub mod status;
pub mod terminal;
