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

use super::Process;
use crate::core::protocol::Rank;
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
    job: u64,
    socket: Arc<OwnedFd>,
    /// By rank.
    peers: Vec<RungPeer>,
    /// What else wakes the sleeper, when it can be read.
    also: Option<Arc<OwnedFd>>,
}

#[derive(Debug)]
struct RungPeer {
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

/// A bell belongs to a process: its successor has another, however long the kernel takes to bury it.
fn address(job: u64, process: Process) -> io::Result<SocketAddrUnix> {
    let name = format!("understudy-{job:016x}-{process}");
    Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}

impl Doorbell {
    /// The longest sleep when every peer can ring.
    pub const NAP_MAX: Duration = Duration::from_millis(25);
    /// The longest sleep when some peer cannot.
    pub const NAP_REMOTE_MAX: Duration = Duration::from_millis(1);

    /// Opens the bell of a process of `job` (any number that the ranks of one job share, and no other job). Until it is
    /// told otherwise, each of this many ranks is the process of the same number.
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn open(job: u64, process: Process, ranks: u32) -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        bind(&socket, &address(job, process)?)?;
        let peer = |peer| Ok(RungPeer { address: address(job, Process(peer))?, out_of_reach: false });
        let peers = (0..ranks).map(peer).collect::<io::Result<_>>()?;
        Ok(Self { job, socket: Arc::new(socket), peers, also: None })
    }

    /// From now on this wakes the sleeper as well, when it can be read.
    pub fn listen_also(&mut self, to: Arc<OwnedFd>) {
        self.also = Some(to);
    }

    /// A handle with which threads of this process, which has this number, wake it.
    ///
    /// # Errors
    /// When the name cannot be formed (it always can).
    pub fn ringer(&self, process: Process) -> io::Result<Ringer> {
        Ok(Ringer { socket: Arc::clone(&self.socket), address: address(self.job, process)? })
    }

    /// From now on that rank is that process.
    pub fn place(&mut self, rank: Rank, process: Process) {
        if let (Some(peer), Ok(address)) = (self.peers.get_mut(rank.0 as usize), address(self.job, process)) {
            *peer = RungPeer { address, out_of_reach: false };
        }
    }

    /// Nobody plays that rank any more.
    pub fn forget(&mut self, rank: Rank) {
        if let Some(peer) = self.peers.get_mut(rank.0 as usize) {
            peer.out_of_reach = false;
        }
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
        self.rest(nap.min(longest));
    }

    /// The same for somebody who is needed only when rung for. True when somebody has rung.
    pub fn rest(&self, longest: Duration) -> bool {
        let seconds = i64::try_from(longest.as_secs()).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: i64::from(longest.subsec_nanos()) };
        let also = self.also.as_deref().unwrap_or(&self.socket);
        let mut waiting = [PollFd::new(&*self.socket, PollFlags::IN), PollFd::new(also, PollFlags::IN)];
        let count = 1 + usize::from(self.also.is_some());
        let woken = poll(&mut waiting[..count], Some(&timeout)).is_ok_and(|ready| ready > 0);
        // One ring is one wake; what else has been rung meanwhile ends the next sleep at once.
        woken && recv(&*self.socket, &mut [0_u8; 8][..], RecvFlags::DONTWAIT).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_ring_wakes_the_sleeper() {
        let job = 0xbe11_0000 | u64::from(std::process::id());
        let sleeper = Doorbell::open(job, Process(1), 2).unwrap();
        let mut other = Doorbell::open(job, Process(0), 2).unwrap();
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
        let mut early = Doorbell::open(job, Process(0), 2).unwrap();
        early.ring(Rank(1));
        assert!(early.peers[1].out_of_reach);
        let _late = Doorbell::open(job, Process(1), 2).unwrap();
        early.ring(Rank(1));
        assert!(!early.peers[1].out_of_reach);
    }

    #[test]
    fn a_ring_for_a_rank_wakes_the_process_that_plays_it_now() {
        let job = 0xbe11_2000 | u64::from(std::process::id());
        let mut other = Doorbell::open(job, Process(0), 2).unwrap();
        let successor = Doorbell::open(job, Process(7), 2).unwrap();
        other.place(Rank(1), Process(7));
        other.ring(Rank(1));
        let begun = Instant::now();
        successor.rest(Duration::from_secs(20));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
