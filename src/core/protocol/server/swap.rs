//! Why a primary does not hand its role over.

use crate::core::protocol::Rank;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a [`Server::swap`](super::Server::swap) did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwapError {
    /// This server leads nobody.
    NotPrimary(Rank),
    /// It does not serve at the moment.
    Busy,
    /// Nobody has what the primary has.
    NoBackup,
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrimary(rank) => write!(f, "server {rank} is not primary: SWAP is for the primary"),
            Self::Busy => f.write_str("the primary is busy taking over or handing over: try again"),
            Self::NoBackup => f.write_str("there is no backup to hand over to: RECOVER one first"),
        }
    }
}

impl std::error::Error for SwapError {}
