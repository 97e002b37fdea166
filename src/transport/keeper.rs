//! Why the death of a process stays silent on the network.
//!
//! When a process dies, the kernel closes its TCP connections, and the peers notice. To Open MPI 4 that is a reason
//! to end the *survivors*: its send path answers a broken connection with `abort`, whatever error handler is set
//! (`pml_ob1_sendreq.c: FATAL`). Between processes of one start on one host it uses shared memory, where a death is
//! mere silence; but replacements, and ranks on other hosts, are reached over TCP.
//!
//! So every rank has a keeper: a small process that shares its table of descriptors. As long as the keeper lives, the
//! kernel keeps the connections open after the rank has died; data that still comes fills a buffer and then
//! waits. For the peers the dead rank is silent, which is what this program's own protocol is made to notice.
//!
//! ```text
//!   rank ──fork, descriptors shared──▶ keeper: sleeps until the rank has died,
//!                                       closes everything but TCP connections,
//!                                       sleeps until mpirun has gone, ends
//! ```
//!
//! # Caveats
//!
//! - One sleeping process for each rank, and one for each that was killed: it is made before MPI starts, so it
//!   holds next to no memory. It ends with the job.
//! - Linux only (`clone` with `CLONE_FILES`, `pidfd_open`). Without a keeper a second death can end the job.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::process::{PidfdFlags, getpid, getppid, pidfd_open};
use std::collections::BTreeSet;
use std::fs;

/// The kernel's tables of TCP sockets.
const TCP_TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// The column of such a table that holds the inode.
const INODE_COLUMN: usize = 9;

/// Starts this process's keeper. To be called while there are no other threads.
///
/// # Errors
/// When the system refuses: then the death of this process may be more than silence to its peers.
pub fn start() -> Result<(), String> {
    let no_pidfd = |error: rustix::io::Errno| format!("pidfd_open: {error}");
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(no_pidfd)?;
    let parent = getppid().ok_or("no parent in sight")?;
    let parent = pidfd_open(parent, PidfdFlags::empty()).map_err(no_pidfd)?;
    super::mpi::fork_sharing_descriptors(|| keep(&own, &parent))?;
    // The table is shared: closed here would be closed there.
    let _ = (own.into_raw_fd(), parent.into_raw_fd());
    Ok(())
}

fn keep(rank: &OwnedFd, mpirun: &OwnedFd) {
    let mut both = [PollFd::new(rank, PollFlags::IN), PollFd::new(mpirun, PollFlags::IN)];
    while poll(&mut both, None).is_err() {}
    if !both[1].revents().is_empty() {
        return;
    }
    close_all_but_tcp(mpirun.as_raw_fd());
    let mut one = [PollFd::new(mpirun, PollFlags::IN)];
    while poll(&mut one, None).is_err() {}
}

/// Others wait for the rest to be closed: mpirun for the ends of its pipes, a replacement for the doorbell's name.
fn close_all_but_tcp(kept: RawFd) {
    let inodes: BTreeSet<String> = TCP_TABLES
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            let inode = |line: &str| line.split_whitespace().nth(INODE_COLUMN).map(|inode| format!("socket:[{inode}]"));
            table.lines().filter_map(inode).collect::<Vec<_>>()
        })
        .collect();
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|&descriptor| descriptor != kept) {
        let target = fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap_or_default();
        if !inodes.contains(target.to_str().unwrap_or_default()) {
            let _ = nix::unistd::close(descriptor);
        }
    }
}
