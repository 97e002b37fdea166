//! On several hosts: why the death of a rank is mere silence, to its peers and to mpirun.
//!
//! When a process dies the kernel closes what it had open, and others notice. Two of them take it badly:
//!
//! - Open MPI 4 ends the *survivors*: its send path answers a broken TCP connection with `abort`, whatever error
//!   handler is set (`pml_ob1_sendreq.c: FATAL`). Between the processes of one host it uses shared memory, where a
//!   death is silent, and who comes later is no process of MPI; but ranks on other hosts are reached over TCP.
//! - mpirun ends the job, unless it was told to go on; and even then it makes a mess of its own bookkeeping.
//!
//! So the process that mpirun has started becomes the *keeper*, and the rank is its child, with which it shares one
//! table of descriptors:
//!
//! ```text
//!   mpirun ── keeper ── rank          the rank is killed:   mpirun ── keeper
//!                │        │                                              │
//!                └─ table ┘ of connections to peers, mpirun, …           └─ table, as it was
//! ```
//!
//! As long as the keeper lives the kernel keeps the connections open; data that still comes fills a buffer and waits.
//! Nobody is told of the death but those who ask for it: rank 0, which looks at the rank's pid, and the
//! protocol, which notices silence. The keeper ends when the rank has ended by itself, or else with the job.
//!
//! # Caveats
//!
//! - One sleeping process for each that mpirun has started, spares included, for as long as the job lasts. It is the
//!   rank before it did anything, so it holds next to no memory.
//! - A kept rank runs in a thread of its own: what the C library remembers of the main thread is wrong after `clone`.
//! - Linux only (`CLONE_FILES`, `pidfd_open`). Elsewhere ranks have no keeper, and a kill may end the job.
//! - When a rank of another host was killed, its keeper there does not see rank 0 end, and waits for mpirun.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getppid, kill_process, pidfd_open,
    set_parent_process_death_signal, waitpid,
};
use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;

/// The kernel's tables of TCP sockets.
const TCP_TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// The column of such a table that holds the inode.
const INODE_COLUMN: usize = 9;
/// Said of a rank 0 on another machine: no process has this number.
const ELSEWHERE: u32 = 0;
/// The exit code of a keeper whose rank did not end by itself.
const BEREAVED_EXIT_CODE: u8 = 1;

/// The rank's word to its keeper.
#[derive(Debug)]
pub struct Keeper {
    /// `None`: there is no keeper.
    tell: Option<OwnedFd>,
}

impl Keeper {
    /// Tells that MPI has started, and which process rank 0 is, if it is on this machine: when it has ended, the job
    /// has.
    pub fn has_started(&self, rank_zero: Option<u32>) {
        if let Some(tell) = &self.tell {
            let _ = rustix::io::write(tell, &rank_zero.unwrap_or(ELSEWHERE).to_ne_bytes());
        }
    }
}

/// Runs `rank` in a child of this process, and keeps its connections. To be called while there are no other threads.
/// When the system refuses a keeper, `rank` runs in this process.
pub fn keep(rank: impl Fn(Keeper) -> u8 + Send + Sync) -> ExitCode {
    let mpirun = getppid().and_then(|parent| pidfd_open(parent, PidfdFlags::empty()).ok());
    let (Some(mpirun), Ok((hear, tell))) = (mpirun, pipe_with(PipeFlags::CLOEXEC)) else {
        return ExitCode::from(rank(Keeper { tell: None }));
    };
    let tell = std::sync::Mutex::new(Some(tell));
    let child = super::mpi::fork_sharing_descriptors(|| {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let keeper = Keeper { tell: tell.lock().ok().and_then(|mut tell| tell.take()) };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("rank".into()).spawn_scoped(scope, || rank(keeper));
            thread.ok().and_then(|thread| thread.join().ok()).unwrap_or(BEREAVED_EXIT_CODE)
        })
    });
    // What the child closes is closed here as well, and the other way round: the end for telling is the child's.
    let tell = tell.into_inner().ok().flatten();
    match child {
        Ok(child) => {
            std::mem::forget(tell);
            ExitCode::from(watch(child, &mpirun, &hear))
        }
        Err(_) => ExitCode::from(rank(Keeper { tell })),
    }
}

fn watch(rank: Pid, mpirun: &OwnedFd, hear: &OwnedFd) -> u8 {
    let Ok(child) = pidfd_open(rank, PidfdFlags::empty()) else { return wait_for(rank).unwrap_or(BEREAVED_EXIT_CODE) };
    let mut rank_zero: Option<OwnedFd> = None;
    let mut started = false;
    loop {
        let ready = if !started {
            wait_for_any(&[child.as_fd(), mpirun.as_fd(), hear.as_fd()])
        } else {
            wait_for_any(&[child.as_fd(), mpirun.as_fd()])
        };
        match ready {
            0 => break,
            1 => {
                let _ = kill_process(rank, Signal::KILL);
                return BEREAVED_EXIT_CODE;
            }
            _ => {
                let mut pid = [0; 4];
                let read = rustix::io::read(hear, &mut pid);
                started = read == Ok(4);
                let elsewhere = pid == ELSEWHERE.to_ne_bytes();
                let pid = Pid::from_raw(i32::from_ne_bytes(pid)).filter(|_| started);
                rank_zero = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                if rank_zero.is_none() && !(started && elsewhere) {
                    break; // It has ended already, or nothing will be told.
                }
            }
        }
    }
    match wait_for(rank) {
        Some(code) => code,
        // The others wait for it inside MPI: they shall see that it is gone.
        None if !started => BEREAVED_EXIT_CODE,
        None => {
            let kept: Vec<BorrowedFd<'_>> =
                std::iter::once(mpirun.as_fd()).chain(rank_zero.as_ref().map(AsFd::as_fd)).collect();
            close_local_sockets();
            wait_for_any(&kept);
            BEREAVED_EXIT_CODE
        }
    }
}

/// The exit code of a rank that ended by itself; `None` if it was killed.
fn wait_for(rank: Pid) -> Option<u8> {
    loop {
        match waitpid(Some(rank), WaitOptions::empty()) {
            Ok(Some((_, status))) => return code(status),
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(_) => return Some(BEREAVED_EXIT_CODE),
        }
    }
}

fn code(status: WaitStatus) -> Option<u8> {
    status.exit_status().map(|code| u8::try_from(code).unwrap_or(BEREAVED_EXIT_CODE))
}

/// Waits until one of these is ready, and says which.
fn wait_for_any(descriptors: &[BorrowedFd<'_>]) -> usize {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    loop {
        let _ = poll(&mut polled, None);
        if let Some(at) = polled.iter().position(|one| !one.revents().is_empty()) {
            return at;
        }
    }
}

/// A replacement waits for the doorbell's name. Everything else may stay open.
fn close_local_sockets() {
    let tcp: BTreeSet<String> = TCP_TABLES
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            let inode = |line: &str| line.split_whitespace().nth(INODE_COLUMN).map(|inode| format!("socket:[{inode}]"));
            table.lines().filter_map(inode).collect::<Vec<_>>()
        })
        .collect();
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open {
        let target = fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap_or_default();
        let target = target.to_str().unwrap_or_default();
        if target.starts_with("socket:") && !tcp.contains(target) {
            let _ = nix::unistd::close(descriptor);
        }
    }
}
