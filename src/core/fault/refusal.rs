//! Why an order was not carried out.

use crate::core::protocol::{Rank, SwapError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a rank does not carry out a [`Control`](super::Control).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlError {
    /// This server has crashed, and stays so until it recovers.
    Down(Rank),
    /// This server is to crash, and has crashed before.
    AlreadyDown(Rank),
    /// This server is to recover, and lives.
    NotDown(Rank),
    /// The disk of this server took something and could not keep it: what is on it is in doubt while the process lives.
    DiskFailed(Rank),
    /// This server is to lose its disk, and has none.
    NoDisk(Rank),
    /// What is on the disk of this server is not known yet.
    ReadsDisk(Rank),
    /// This server was stopped before.
    AlreadyPaused(Rank),
    /// This server is to go on, and was not stopped.
    NotPaused(Rank),
    /// Only a primary serves requests, and this server is none.
    ServesNobody(Rank),
    /// The role is not handed over.
    Swap(SwapError),
    /// Only the metadata server can start over.
    NotMetadata,
    /// This rank has no client.
    NoClient(Rank),
    /// This rank has no server.
    NoServer(Rank),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(rank) => write!(f, "server {rank} is down"),
            Self::AlreadyDown(rank) => write!(f, "server {rank} is already down"),
            Self::NotDown(rank) => write!(f, "server {rank} is not down"),
            Self::DiskFailed(rank) => {
                write!(f, "the disk of server {rank} has failed: KILL {rank}, and a new process may try")
            }
            Self::NoDisk(rank) => write!(
                f,
                "server {rank} has no disk: CRASH {rank} takes its memory; --data DIR gives every server a disk, \
                 and in the simulator --sim --disks"
            ),
            Self::ReadsDisk(rank) => write!(f, "server {rank} is reading its disk: try again in a moment"),
            Self::AlreadyPaused(rank) => write!(f, "server {rank} is already paused"),
            Self::NotPaused(rank) => write!(f, "server {rank} is not paused"),
            Self::ServesNobody(rank) => {
                write!(f, "server {rank} is not primary: only who serves requests can crash at one")
            }
            Self::Swap(why) => why.fmt(f),
            Self::NotMetadata => f.write_str("RESET is for the metadata server, rank 0"),
            Self::NoClient(rank) => write!(f, "server {rank} is no client"),
            Self::NoServer(rank) => write!(f, "rank {rank} is no server: name a server, `primary` or `backup`"),
        }
    }
}

impl std::error::Error for ControlError {}

impl From<SwapError> for ControlError {
    fn from(why: SwapError) -> Self {
        Self::Swap(why)
    }
}
