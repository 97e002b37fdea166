//! Frames over MPI: non-blocking, bounded, and past the death of processes.
//!
//! Only immediate calls are used (`MPI_Isend`, `MPI_Irecv`, `MPI_Improbe`, `MPI_Test`), because a
//! peer may die at any moment: with Open MPI under `--enable-recovery` a send to a dead rank "succeeds"
//! some sixty times and then never completes. So every peer has a limit on sends under way; beyond it
//! frames are given back. A buffer whose send never completes is never freed, for MPI may still read it.
//! A peer that is known to be dead (`Transport::forget`) is sent nothing at all.
//!
//! # Short frames and long ones
//!
//! A short frame arrives in one piece. For some of them a rank keeps receives posted, from whomever they come: MPI
//! puts a frame straight into its buffer, and one call finds it there. (Probing first costs two looks at the network,
//! a copy, and a request more for every frame.) A long frame is announced by an empty message and follows under a tag
//! of its own, into a buffer of its size; what the same sender sent behind it waits until it is there. So a peer that
//! dies in the middle of a long frame holds nobody up but itself.
//!
//! # Only together
//!
//! MPI is asked for nothing but frames, among the processes that it has started together, spares included. It connects
//! nobody at run time: then no call of ours looks for somebody who may have died. Who comes later comes over
//! [`super::sockets`]. One thread calls MPI, so it needs no locks.
//!
//! Why the raw calls: the safe ones drop return codes, and their requests borrow the buffer for a scope,
//! while a frame here lives as long as it travels. This is the one file with `unsafe` code.
//!
//! # Caveats
//!
//! - What was being sent to a dead process is never freed: some hundred kilobytes at the most, once for each process
//!   that was started together with the others.
//! - A process that dies in the nanoseconds in which it appends to a peer's shared-memory queue can leave
//!   that queue torn. The peer then hears nobody, is taken for dead by the others, and has to be killed too.
//! - Between hosts MPI uses TCP, and a connection that breaks ends the survivor; see [`super::keeper`] for why it
//!   does not break.

#![allow(unsafe_code, reason = "MPI is a library in C")]

use super::{RawWire, SENDS_MAX};
use crate::core::protocol::Rank;
use mpi::ffi;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{AsRaw, Communicator, Destination, Source};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::fmt;
use std::mem::MaybeUninit;

/// Buffers up to this size are used again.
const POOLED_BYTES_MAX: usize = 1 << 20;
/// The most buffers of a kind kept for use again.
const POOLED_MAX: usize = 64;
/// A buffer with more room than this is a long one.
const SHORT_BYTES_MAX: usize = 16 << 10;
/// The tag of short frames, and of announcements.
const TAG: c_int = 0;
/// The tag of the benchmark's plain messages: they never mix with frames.
const RAW_TAG: c_int = 1;
/// The tag of long frames.
const LONG_TAG: c_int = 2;
/// A frame of up to this size is a short one: MPI never splits it, so once some of it is here all of it is. (The
/// shared-memory transport of Open MPI sends 4 KiB with their header in one piece, all others more.)
const WHOLE_BYTES_MAX: usize = 3 << 10;
/// Of one peer's long frames, this many bytes are handed over at a time (one frame may exceed it): to take in more
/// would take too long.
const DELIVERED_BYTES_MAX: usize = 64 << 10;
/// Receives that are kept posted for short frames. What comes when all are taken waits inside MPI.
const POSTED: usize = 8;

/// Why MPI could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitError;

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MPI is initialised already in this process")
    }
}

impl std::error::Error for InitError {}

/// Buffers to be used again: short ones and long ones, so that a long frame need not grow a short buffer.
#[derive(Default)]
struct Pool {
    short: Vec<Vec<u8>>,
    long: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer that was used for frames of this size before, if there is one.
    fn take(&mut self, length: usize) -> Vec<u8> {
        let buffers = if length > SHORT_BYTES_MAX { &mut self.long } else { &mut self.short };
        buffers.pop().unwrap_or_default()
    }

    fn give(&mut self, mut frame: Vec<u8>) {
        let buffers = if frame.capacity() > SHORT_BYTES_MAX { &mut self.long } else { &mut self.short };
        if buffers.len() < POOLED_MAX && (1..=POOLED_BYTES_MAX).contains(&frame.capacity()) {
            frame.clear();
            buffers.push(frame);
        }
    }
}

/// A frame on its way out. The buffer stays where it is until MPI is done with it.
struct Sending {
    request: ffi::MPI_Request,
    frame: Vec<u8>,
}

/// A receive that is posted for a short frame. The buffer stays where it is until MPI is done with it.
struct Posted {
    request: ffi::MPI_Request,
    frame: Vec<u8>,
}

/// A long frame, or a short one behind it.
enum Receiving {
    /// Announced.
    Announced,
    /// On its way.
    Moving {
        request: ffi::MPI_Request,
        /// Empty until all of it is there.
        frame: Vec<u8>,
        length: usize,
    },
    /// Here.
    Here(Vec<u8>),
}

/// One process of the world.
#[derive(Default)]
struct MpiPeer {
    is_dead: bool,
    sending: VecDeque<Sending>,
    /// Frames that have been announced but not fully received, and those behind them, oldest first.
    receiving: VecDeque<Receiving>,
}

/// The processes that were started together, by their numbers.
pub struct MpiWorld {
    world: SimpleCommunicator,
    universe: Option<mpi::environment::Universe>,
    peers: Vec<MpiPeer>,
    /// Receives for short frames, in the order in which they were posted.
    posted: VecDeque<Posted>,
    arriving: usize,
    /// Frames that MPI has not taken entirely, of all peers.
    unsent: usize,
    pool: Pool,
}

impl fmt::Debug for MpiWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("index", &self.index()).field("size", &self.size()).finish_non_exhaustive()
    }
}

impl MpiWorld {
    /// Initialises MPI in a process that was started together with the others.
    ///
    /// # Errors
    /// When it is initialised already.
    pub fn init() -> Result<Self, InitError> {
        let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled).ok_or(InitError)?;
        let world = universe.world();
        // SAFETY: MPI is initialised, the communicator is valid. From now on errors on it are return codes instead of
        // the end of the job.
        unsafe { ffi::MPI_Comm_set_errhandler(world.as_raw(), ffi::RSMPI_ERRORS_RETURN) };
        let mut world = Self {
            peers: (0..world.size()).map(|_| MpiPeer::default()).collect(),
            world,
            universe: Some(universe),
            posted: VecDeque::with_capacity(POSTED),
            arriving: 0,
            unsent: 0,
            pool: Pool::default(),
        };
        (0..POSTED).for_each(|_| world.post(Vec::new()));
        Ok(world)
    }

    /// The name and version of the MPI library.
    #[must_use]
    pub fn library() -> String {
        mpi::environment::library_version().unwrap_or_else(|_| "unknown MPI".to_owned())
    }

    /// The number of this process.
    #[must_use]
    pub fn index(&self) -> u32 {
        u32::try_from(self.world.rank()).unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::try_from(self.peers.len()).unwrap_or(u32::MAX)
    }

    /// Whether everybody lives: then MPI can be ended the orderly way.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.peers.iter().any(|peer| peer.is_dead)
    }

    /// Whether the others go on when a process dies.
    ///
    /// # Errors
    /// Why they do not.
    pub fn survives_a_death() -> Result<(), String> {
        let library = Self::library();
        if library.contains("Open MPI") {
            return Ok(());
        }
        // MPICH says `MPICH Version:<tab>4.0.2`.
        let first = library.lines().next().unwrap_or("this MPI").replace("Version:", "");
        let name = first.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(format!("under {name} the other ranks do not survive the death of one; Open MPI 4 and 5 can"))
    }

    /// Ends MPI the orderly way. Waits for all other processes to do the same: only when all of them are alive.
    pub fn finalize(mut self) {
        // Nobody sends any more. MPI is told not to write to the buffers; should it be doing so now, they are there.
        for posted in &mut self.posted {
            // SAFETY: a receive of ours that was not freed, and that nobody tests any more.
            unsafe {
                ffi::MPI_Cancel(&raw mut posted.request);
                ffi::MPI_Request_free(&raw mut posted.request);
            }
        }
        self.leak_posted();
        self.universe = None;
    }

    /// Leaves MPI alone: a finalize would wait for those who are gone.
    pub fn abandon(mut self) {
        self.leak_posted();
        std::mem::forget(self.universe.take());
    }

    /// Buffers that MPI may still use must outlive it.
    fn leak_posted(&mut self) {
        self.posted.drain(..).for_each(|posted| std::mem::forget(posted.frame));
    }

    /// An empty buffer for a frame, used before if possible.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.pool.take(0)
    }

    /// A buffer that is not needed any more.
    pub fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.pool.give(buffer);
    }

    /// Frames that MPI has not taken entirely.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// True while frames are under way, in or out.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.unsent + self.arriving > 0
    }

    /// This process is dead: nothing is sent to it any more, and what comes from it are its last words.
    pub fn forget(&mut self, index: u32) {
        let Some(peer) = self.peers.get_mut(index as usize) else { return };
        peer.is_dead = true;
        self.unsent -= peer.sending.len();
        self.arriving -= peer.leak();
    }

    /// Hands over the frames that have arrived, in order for each sender; returns how many.
    pub fn receive(&mut self, deliver: &mut dyn FnMut(u32, &[u8])) -> usize {
        if self.unsent > 0 {
            (0..self.peers.len()).for_each(|to| self.collect_sent(to));
        }
        let delivered = self.receive_one(deliver);
        if self.arriving == 0 { delivered } else { delivered + self.deliver_arrived(deliver) }
    }

    /// Starts to send a frame. What is sent to a dead process is lost.
    ///
    /// # Errors
    /// The frame, when too many are under way to it already.
    pub fn send(&mut self, to: u32, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        let at = to as usize;
        if self.peers.get(at).is_none_or(|peer| peer.is_dead) {
            self.pool.give(frame);
            return Ok(());
        }
        self.collect_sent(at);
        if self.peers[at].sending.len() >= SENDS_MAX {
            return Err(frame);
        }
        if frame.len() <= WHOLE_BYTES_MAX {
            self.start_send(at, TAG, frame);
        } else {
            self.start_send(at, TAG, Vec::new());
            self.start_send(at, LONG_TAG, frame);
        }
        Ok(())
    }

    fn collect_sent(&mut self, to: usize) {
        while let Some(first) = self.peers[to].sending.front_mut() {
            if !test(&mut first.request) {
                return;
            }
            let sent = self.peers[to].sending.pop_front().expect("just seen");
            self.unsent -= 1;
            self.pool.give(sent.frame);
        }
    }

    fn start_send(&mut self, at: usize, tag: c_int, frame: Vec<u8>) {
        let (Ok(count), Ok(to)) = (c_int::try_from(frame.len()), c_int::try_from(at)) else { return };
        let comm = self.world.as_raw();
        let mut request = MaybeUninit::<ffi::MPI_Request>::uninit();
        // SAFETY: the buffer's heap memory stays where it is until the request has completed: it is
        // kept in `sending` until `test` says so, and leaked with the peer otherwise.
        let code = unsafe {
            ffi::MPI_Isend(frame.as_ptr().cast(), count, ffi::RSMPI_UINT8_T, to, tag, comm, request.as_mut_ptr())
        };
        if code != SUCCESS {
            return;
        }
        // SAFETY: on success MPI has written the request.
        let mut request = unsafe { request.assume_init() };
        // A short frame is usually copied into the receiver's queue at once.
        if test(&mut request) {
            self.pool.give(frame);
        } else {
            self.peers[at].sending.push_back(Sending { request, frame });
            self.unsent += 1;
        }
    }

    /// Takes one short frame, if there is one. Not more: it is a sender's whole turn already, and looking for another
    /// one before this one is handled would put its answer off.
    fn receive_one(&mut self, deliver: &mut dyn FnMut(u32, &[u8])) -> usize {
        let Some((from, frame)) = self.take_posted() else { return 0 };
        let known = self.peers.get_mut(from as usize);
        let Some(peer) = known.filter(|peer| !peer.is_dead) else {
            // The last words of a dead process.
            self.pool.give(frame);
            return 0;
        };
        let is_announcement = frame.is_empty();
        if peer.receiving.is_empty() && !is_announcement {
            deliver(from, &frame);
            self.pool.give(frame);
            return 1;
        }
        peer.receiving.push_back(if is_announcement { Receiving::Announced } else { Receiving::Here(frame) });
        self.arriving += 1;
        0
    }

    /// Looks after long frames, and hands over those that are here.
    fn deliver_arrived(&mut self, deliver: &mut dyn FnMut(u32, &[u8])) -> usize {
        let mut delivered = 0;
        for from in 0..self.peers.len() {
            let mut bytes = 0;
            while bytes < DELIVERED_BYTES_MAX
                && let Some(frame) = self.next_of(from)
            {
                bytes += frame.len();
                self.peers[from].receiving.pop_front();
                self.arriving -= 1;
                deliver(u32::try_from(from).unwrap_or(u32::MAX), &frame);
                self.pool.give(frame);
                delivered += 1;
            }
        }
        delivered
    }

    /// The next frame of this peer, taken out of `receiving`, if it is here.
    fn next_of(&mut self, from: usize) -> Option<Vec<u8>> {
        let first = self.peers[from].receiving.front_mut()?;
        if matches!(first, Receiving::Announced) {
            *first = begin_long(self.world.as_raw(), c_int::try_from(from).ok()?, &mut self.pool)?;
        }
        match first {
            Receiving::Announced => None,
            Receiving::Here(frame) => Some(std::mem::take(frame)),
            Receiving::Moving { request, frame, length } => {
                if !test(request) {
                    return None;
                }
                // SAFETY: there was room for `length` bytes, and MPI has received the message, which was so long.
                unsafe { frame.set_len(*length) };
                Some(std::mem::take(frame))
            }
        }
    }

    fn post(&mut self, mut frame: Vec<u8>) {
        frame.reserve(WHOLE_BYTES_MAX);
        let mut request = MaybeUninit::<ffi::MPI_Request>::uninit();
        // SAFETY: a valid communicator; the buffer has room for as many bytes as are said and stays where it is (a
        // Vec's heap memory) until the request has completed: it is kept in `posted` until then, or leaked.
        let code = unsafe {
            ffi::MPI_Irecv(
                frame.as_mut_ptr().cast(),
                WHOLE_BYTES_MAX as c_int,
                ffi::RSMPI_UINT8_T,
                ffi::RSMPI_ANY_SOURCE,
                TAG,
                self.world.as_raw(),
                request.as_mut_ptr(),
            )
        };
        if code == SUCCESS {
            // SAFETY: on success MPI has written the request.
            self.posted.push_back(Posted { request: unsafe { request.assume_init() }, frame });
        }
    }

    /// The next short frame (an announcement is an empty one) and its sender's number, if it has arrived.
    fn take_posted(&mut self) -> Option<(u32, Vec<u8>)> {
        let first = self.posted.front_mut()?;
        let mut flag: c_int = 0;
        let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
        // SAFETY: `request` is a receive of ours that was not freed; the out-pointers are of the right type.
        let code = unsafe { ffi::MPI_Test(&raw mut first.request, &raw mut flag, status.as_mut_ptr()) };
        if code == SUCCESS && flag == 0 {
            return None;
        }
        let Posted { mut frame, .. } = self.posted.pop_front()?;
        let next = self.pool.take(WHOLE_BYTES_MAX);
        self.post(next);
        if code != SUCCESS {
            // Too long, say: from somebody who does not keep to the rules above.
            self.pool.give(frame);
            return None;
        }
        let mut count: c_int = 0;
        // SAFETY: with the flag set MPI has written the status, and `count` bytes, for which there was room.
        let source = unsafe {
            let status = status.assume_init();
            ffi::MPI_Get_count(&raw const status, ffi::RSMPI_UINT8_T, &raw mut count);
            frame.set_len(usize::try_from(count).unwrap_or(0));
            status.MPI_SOURCE
        };
        Some((u32::try_from(source).ok()?, frame))
    }
}

impl MpiPeer {
    /// Buffers that MPI may still use must outlive it. Returns how many frames will never arrive.
    fn leak(&mut self) -> usize {
        for sending in self.sending.drain(..) {
            std::mem::forget(sending.frame);
        }
        let arriving = self.receiving.len();
        for receiving in self.receiving.drain(..) {
            if let Receiving::Moving { frame, .. } = receiving {
                std::mem::forget(frame);
            }
        }
        arriving
    }
}

/// Starts to receive a long frame that was announced, once MPI has heard of it.
fn begin_long(comm: ffi::MPI_Comm, rank: c_int, pool: &mut Pool) -> Option<Receiving> {
    let mut flag: c_int = 0;
    let mut message = MaybeUninit::<ffi::MPI_Message>::uninit();
    let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
    // SAFETY: valid communicator; all out-pointers point to memory of the right type.
    let code =
        unsafe { ffi::MPI_Improbe(rank, LONG_TAG, comm, &raw mut flag, message.as_mut_ptr(), status.as_mut_ptr()) };
    if code != SUCCESS || flag == 0 {
        return None;
    }
    // SAFETY: with the flag set, MPI has written both.
    let (mut message, status) = unsafe { (message.assume_init(), status.assume_init()) };
    let mut count: c_int = 0;
    // SAFETY: `status` is that of a matched message.
    unsafe { ffi::MPI_Get_count(&raw const status, ffi::RSMPI_UINT8_T, &raw mut count) };
    let length = usize::try_from(count).unwrap_or(0);
    let mut frame = pool.take(length);
    frame.reserve(length);
    let mut request = MaybeUninit::<ffi::MPI_Request>::uninit();
    // SAFETY: the buffer has room for `count` bytes and stays where it is (a Vec's heap memory) until the
    // request has completed: it is kept in `receiving` until `test` says so.
    let code = unsafe {
        ffi::MPI_Imrecv(frame.as_mut_ptr().cast(), count, ffi::RSMPI_UINT8_T, &raw mut message, request.as_mut_ptr())
    };
    if code != SUCCESS {
        return None;
    }
    // SAFETY: on success MPI has written the request.
    Some(Receiving::Moving { request: unsafe { request.assume_init() }, frame, length })
}

/// `MPI_SUCCESS`, which the standard defines as 0.
const SUCCESS: c_int = 0;

/// True when the request has completed (or failed: then there is nothing more to wait for).
fn test(request: &mut ffi::MPI_Request) -> bool {
    let mut flag: c_int = 0;
    // SAFETY: `request` is a request of ours that was not freed; a completed one is set to the null
    // request by MPI, and testing that again is allowed and true.
    let code = unsafe { ffi::MPI_Test(request, &raw mut flag, ffi::RSMPI_STATUS_IGNORE) };
    code != SUCCESS || flag != 0
}

impl Drop for MpiWorld {
    fn drop(&mut self) {
        for peer in &mut self.peers {
            peer.leak();
        }
    }
}

/// Runs `child` in a new process that shares this one's table of descriptors and nothing else. What it returns is the
/// exit code of that process.
///
/// # Errors
/// When the system refuses.
#[cfg(target_os = "linux")]
pub(super) fn fork_sharing_descriptors(child: impl Fn() -> u8) -> Result<rustix::process::Pid, String> {
    const STACK_BYTES: usize = 256 << 10;
    let mut stack = vec![0; STACK_BYTES];
    let body = Box::new(|| isize::from(child()));
    let (flags, at_end) = (nix::sched::CloneFlags::CLONE_FILES, nix::sys::signal::Signal::SIGCHLD as c_int);
    // SAFETY: without `CLONE_VM` the child has its own copy of all memory, the stack that it runs on included. The
    // caller has no other threads yet, so no lock is held that nobody in the child could release.
    let pid = unsafe { nix::sched::clone(body, &mut stack, flags, Some(at_end)) };
    let pid = pid.map_err(|error| error.to_string())?;
    rustix::process::Pid::from_raw(pid.as_raw()).ok_or_else(|| "clone gave no process".to_owned())
}

/// The benchmark's baseline: MPI's own blocking calls, as a program would use them that has nothing else to do.
/// Only among ranks that were started together.
impl RawWire for MpiWorld {
    fn send(&mut self, to: Rank, bytes: &[u8]) {
        self.world.process_at_rank(to.0 as c_int).send_with_tag(bytes, RAW_TAG);
    }

    fn receive(&mut self, from: Option<Rank>, buffer: &mut [u8]) -> Rank {
        let status = match from {
            Some(rank) => self.world.process_at_rank(rank.0 as c_int).receive_into_with_tag(buffer, RAW_TAG),
            None => self.world.any_process().receive_into_with_tag(buffer, RAW_TAG),
        };
        Rank(u32::try_from(status.source_rank()).unwrap_or_default())
    }

    fn has_arrived(&mut self) -> bool {
        self.world.any_process().immediate_probe_with_tag(RAW_TAG).is_some()
    }
}
