//! The dashboard: what it looks like, what it makes of reports, and what it writes.
//!
//! Pictures are compared as a whole, in two grids: the signs, and below them a letter for each style, so
//! that a lost colour is as much a failure as a lost word.

mod painting;
mod pictures;
mod reports;
mod scenes;
