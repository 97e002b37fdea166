//! How a rank sleeps, and is woken by its peers.
//!
//! MPI has no way to wait without burning a core: an MPI library on shared memory polls. A store that
//! does nothing must cost nothing, and yet answer at once. So every rank listens on a local datagram
//! socket: when it has had nothing to do for a moment it sleeps there, and whoever sends it a frame while
//! it is likely to sleep also rings. Only the wake-up travels this way, never data; a ring that is lost
//! costs the few milliseconds until the sleeper looks for itself ([`Doorbell::NAP_MAX`]).
//!
//! # Caveats
//!
//! Linux only (abstract socket names), and only between ranks of one host: a rank that has peers
//! elsewhere naps shorter ([`Doorbell::NAP_REMOTE_MAX`]).

use crate::protocol::Rank;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// A rank's bell, and the way to its peers' bells.
#[derive(Debug)]
pub struct Doorbell {
    socket: Arc<OwnedFd>,
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddrUnix,
    /// The last ring did not reach it: it has no bell yet, or sleeps on another host and cannot ring us either.
    out_of_reach: bool,
}

/// Rings one rank's bell; for threads of the same process.
#[derive(Debug, Clone)]
pub struct Ringer {
    socket: Arc<OwnedFd>,
    address: SocketAddrUnix,
}

impl Ringer {
    /// Wakes the rank.
    pub fn ring(&self) {
        let _ = sendto(&*self.socket, &[1], SendFlags::DONTWAIT, &self.address);
    }
}

fn address(job: u64, rank: Rank) -> io::Result<SocketAddrUnix> {
    let name = format!("understudy-{job:016x}-{rank}");
    Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}

impl Doorbell {
    /// The longest sleep when every peer can ring.
    pub const NAP_MAX: Duration = Duration::from_millis(25);
    /// The longest sleep when some peer cannot.
    pub const NAP_REMOTE_MAX: Duration = Duration::from_millis(1);

    /// Opens this rank's bell in `job` (any number that the ranks of one job share, and no other job).
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn open(job: u64, rank: Rank, ranks: u32) -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        bind(&socket, &address(job, rank)?)?;
        let peer = |peer| Ok(Peer { address: address(job, Rank(peer))?, out_of_reach: false });
        let peers = (0..ranks).map(peer).collect::<io::Result<_>>()?;
        Ok(Self { socket: Arc::new(socket), peers })
    }

    /// A handle with which threads of this process wake this rank.
    ///
    /// # Errors
    /// When the name cannot be formed (it always can).
    pub fn ringer(&self, job: u64, rank: Rank) -> io::Result<Ringer> {
        Ok(Ringer { socket: Arc::clone(&self.socket), address: address(job, rank)? })
    }

    /// Wakes a peer.
    pub fn ring(&mut self, peer: Rank) {
        if let Some(peer) = self.peers.get_mut(peer.0 as usize) {
            let result = sendto(&*self.socket, &[1], SendFlags::DONTWAIT, &peer.address);
            // A full queue means that it has been rung often enough.
            let full = [rustix::io::Errno::AGAIN, rustix::io::Errno::NOBUFS];
            peer.out_of_reach = result.is_err_and(|error| !full.contains(&error));
        }
    }

    /// Sleeps until somebody rings, for at most `nap`.
    pub fn sleep(&self, nap: Duration) {
        let longest =
            if self.peers.iter().any(|peer| peer.out_of_reach) { Self::NAP_REMOTE_MAX } else { Self::NAP_MAX };
        let nap = nap.min(longest);
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(nap.subsec_nanos()) };
        let mut waiting = [PollFd::new(&*self.socket, PollFlags::IN)];
        if poll(&mut waiting, Some(&timeout)).is_ok_and(|ready| ready > 0) {
            // One ring is one wake; what else has been rung meanwhile ends the next sleep at once.
            let _ = recv(&*self.socket, &mut [0_u8; 8][..], RecvFlags::DONTWAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_ring_wakes_the_sleeper() {
        let job = 0xbe11_0000 | u64::from(std::process::id());
        let sleeper = Doorbell::open(job, Rank(1), 2).unwrap();
        let mut other = Doorbell::open(job, Rank(0), 2).unwrap();
        other.ring(Rank(1));
        let begun = Instant::now();
        for _ in 0..50 {
            other.ring(Rank(1));
            sleeper.sleep(Doorbell::NAP_MAX);
        }
        assert!(begun.elapsed() < Doorbell::NAP_MAX * 25, "50 sleeps with a ring each took {:?}", begun.elapsed());
        other.ring(Rank(0));
        assert!(other.peers.iter().all(|peer| !peer.out_of_reach));
    }

    #[test]
    fn who_cannot_be_rung_now_may_be_rung_later() {
        let job = 0xbe11_1000 | u64::from(std::process::id());
        let mut early = Doorbell::open(job, Rank(0), 2).unwrap();
        early.ring(Rank(1));
        assert!(early.peers[1].out_of_reach);
        let _late = Doorbell::open(job, Rank(1), 2).unwrap();
        early.ring(Rank(1));
        assert!(!early.peers[1].out_of_reach);
    }
}
