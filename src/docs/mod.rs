//! For those who teach with this program, and for their students.
//!
//! | page | for whom |
//! |---|---|
//! | [`lecture`] | twenty minutes in front of a class, minute by minute |
//! | [`homework`] | five exercises, with model answers |
//!
//! A test types every command of these pages and looks for what they say is answered.

pub mod homework;
pub mod lecture;
