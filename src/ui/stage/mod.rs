//! The stage: what has happened can be stopped, gone through step by step, and gone back over.
//!
//! Everything on the screen is a fold over one stream ([`News`](crate::cluster::News)). So a recording of that stream
//! is all that is needed to see any moment again, and the same moment is the same picture, cell by cell, however one
//! came to it.
//!
//! | file | what it holds |
//! |---|---|
//! | [`recording`] | the stream in a file: written while the cluster runs, read afterwards |
//! | [`reel`] | the stream in memory, bounded, with models at intervals |
//! | [`player`] | where one is in it: step, turn, start, end |
//! | [`caption`] | what a step is, and the rule at work, in one sentence |
//! | [`live`] | freeze, step and back over a cluster that lives |
//! | `bar`, `speed` | what the stage and a replay have in common: the last row, steps a second |
//! | [`replay`] | the screen and the keys: `understudy replay FILE` |
//!
//! # Caveats
//!
//! A recording holds what rank 0 was told, which is a sample under load: reports carry a bounded number of messages and
//! keys, and say how many they left out. A step is one piece of news, and a report may tell of several events at once.

mod bar;
pub mod caption;
pub mod live;
pub mod player;
pub mod recording;
pub mod reel;
pub mod replay;
mod speed;

pub use live::LiveStage;
pub use player::Player;
pub use recording::{Recorder, Recording};
