//! Frames over MPI: non-blocking, bounded, and past the death of processes.
//!
//! Only immediate calls are used (`MPI_Isend`, `MPI_Irecv`, `MPI_Improbe`, `MPI_Test`), because a
//! peer may die at any moment: with Open MPI under `--enable-recovery` a send to a dead rank "succeeds"
//! some sixty times and then never completes. So every peer has a limit on sends under way; beyond it
//! frames are given back. A buffer whose send never completes is never freed, for MPI may still read it.
//! A peer that is known to be dead ([`Transport::forget`]) is sent nothing at all.
//!
//! # Short frames and long ones
//!
//! A short frame arrives in one piece. For some of them a rank keeps receives posted, from whomever they come: MPI
//! puts a frame straight into its buffer, and one call finds it there. (Probing first costs two looks at the network,
//! a copy, and a request more for every frame.) A long frame is announced by an empty message and follows under a tag
//! of its own, into a buffer of its size; what the same sender sent behind it waits until it is there. So a peer that
//! dies in the middle of a long frame holds nobody up but itself.
//!
//! # Replacements
//!
//! A process that is started later has a world of its own. It reaches the others, and they it, over
//! communicators that join exactly two processes:
//!
//! ```text
//!   rank 0 ── MPI_Comm_spawn ──▶ replacement         who          way to the replacement
//!                                 │ MPI_Open_port    rank 0       the spawn's inter-communicator
//!   rank 0 ◀──── the port ────────┘ MPI_Comm_accept  everybody    one accept, one connect each
//!     └── the port ──▶ other rank ── MPI_Comm_connect
//! ```
//!
//! Spawning, accepting and connecting block, so each runs in a side thread, on a copy of `MPI_COMM_SELF`
//! of its own; the rank's loop goes on meanwhile and takes what has come out of it with
//! [`Transport::take_change`]. An attempt that hangs, because the other side has died, keeps its
//! thread and is overtaken by a newer attempt; what it still finds is thrown away.
//!
//! Why the raw calls: the safe ones drop return codes, and their requests borrow the buffer for a scope,
//! while a frame here lives as long as it travels. This is the one file with `unsafe` code.
//!
//! # Caveats
//!
//! - Communicators of the dead are never freed: that would wait for the dead. A kill costs some kilobytes.
//! - Under Open MPI 4 a replacement is reached over TCP, also on one host: the shared-memory transport
//!   joins only processes that were started together. A TCP connection that breaks ends the survivor; see
//!   [`super::keeper`] for why it does not break.
//! - A process that dies in the nanoseconds in which it appends to a peer's shared-memory queue can leave
//!   that queue torn. The peer then hears nobody, is taken for dead by the others, and has to be killed too.

#![allow(unsafe_code, reason = "MPI is a library in C")]

use super::{Change, RawWire, Transport};
use crate::protocol::{METADATA, Rank};
use crossbeam_channel::{Receiver, Sender, unbounded};
use mpi::ffi;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{AsRaw, Communicator, Destination, Source};
use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::mem::MaybeUninit;

/// The most sends under way to one peer.
pub const SENDS_MAX: usize = 48;
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
/// Of one peer's long frames, so many bytes are handed over at a time (one frame may exceed it): to take in more would
/// take too long.
const DELIVERED_BYTES_MAX: usize = 64 << 10;
/// Receives that are kept posted for short frames. What comes when all are taken waits inside MPI.
const POSTED: usize = 8;
/// An inter-communicator of two processes has one rank at the other end.
const OTHER_END: c_int = 0;

/// Why MPI could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitError {
    /// It was started before in this process.
    AlreadyInitialised,
    /// A replacement was started, but not by `MPI_Comm_spawn`.
    NoParent,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyInitialised => "MPI is initialised already in this process",
            Self::NoParent => "--replaces is for processes that rank 0 starts itself: leave it out",
        })
    }
}

impl std::error::Error for InitError {}

/// A communicator on its way between threads.
#[derive(Clone, Copy)]
struct Handle(ffi::MPI_Comm);

// SAFETY: a communicator handle is a number or a pointer to something that MPI locks itself; MPI was initialised for
// many threads, and no two threads use the same communicator at the same time.
unsafe impl Send for Handle {}

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

/// Where short frames come in: a communicator, and the receives that are posted on it, in that order.
struct Inlet {
    comm: Handle,
    /// Who is at its other end; `None` for the world, where the sender's number tells.
    pair: Option<Rank>,
    posted: VecDeque<Posted>,
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

/// How a peer is reached.
#[derive(Clone, Copy)]
enum Way {
    /// Not at all: dead, or not connected yet.
    None,
    /// It was started together with this rank.
    World,
    /// Over a communicator of two.
    Pair(Handle),
}

struct Peer {
    way: Way,
    /// Counts what was started in the background for this peer: only the newest counts.
    attempt: u64,
    sending: VecDeque<Sending>,
    /// Frames that have been announced but not fully received, and those behind them, oldest first.
    receiving: VecDeque<Receiving>,
}

/// What a side thread found.
enum Found {
    Port(String),
    Way { spawned: bool, result: Result<Handle, String> },
}

/// MPI as a [`Transport`].
pub struct MpiTransport {
    world: SimpleCommunicator,
    universe: Option<mpi::environment::Universe>,
    rank: Rank,
    peers: Vec<Peer>,
    /// The world's, if somebody may be reached over it, and one for each peer that is reached over a communicator of
    /// two.
    inlets: Vec<Inlet>,
    /// Somebody has died, or came later: then nobody may wait for everybody.
    is_whole: bool,
    has_threads: bool,
    arriving: usize,
    /// Frames that MPI has not taken entirely, of all peers.
    unsent: usize,
    pool: Pool,
    tell: Sender<(Rank, u64, Found)>,
    found: Receiver<(Rank, u64, Found)>,
}

impl fmt::Debug for MpiTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiTransport").field("rank", &self.rank).field("ranks", &self.ranks()).finish_non_exhaustive()
    }
}

impl MpiTransport {
    /// Initialises MPI in a process that was started together with the others.
    ///
    /// # Errors
    /// When it is initialised already.
    ///
    /// # Panics
    /// When MPI gives a negative rank: never.
    pub fn init() -> Result<Self, InitError> {
        let mut transport = Self::start()?;
        transport.rank = Rank(u32::try_from(transport.world.rank()).expect("ranks are not negative"));
        let ranks = u32::try_from(transport.world.size()).expect("sizes are not negative");
        transport.peers = (0..ranks).map(|_| Peer::new(Way::World)).collect();
        transport.inlets.push(Inlet::open(Handle(transport.world.as_raw()), None));
        Ok(transport)
    }

    /// Initialises MPI in a process that takes the place of `rank`, and was started by rank 0 for that. It reaches
    /// nobody but rank 0 yet.
    ///
    /// # Errors
    /// When it is initialised already, or rank 0 did not start this process.
    pub fn init_replacement(rank: Rank, ranks: u32) -> Result<Self, InitError> {
        let mut transport = Self::start()?;
        let mut parent = MaybeUninit::<ffi::MPI_Comm>::uninit();
        // SAFETY: MPI is initialised; it writes the handle, or the null handle.
        let parent = unsafe {
            ffi::MPI_Comm_get_parent(parent.as_mut_ptr());
            parent.assume_init()
        };
        // SAFETY: reading a constant that MPI exports as a variable.
        if parent == unsafe { ffi::RSMPI_COMM_NULL } {
            return Err(InitError::NoParent);
        }
        transport.rank = rank;
        transport.peers = (0..ranks).map(|_| Peer::new(Way::None)).collect();
        transport.is_whole = false;
        transport.set_way(METADATA, Handle(parent));
        Ok(transport)
    }

    fn start() -> Result<Self, InitError> {
        let (universe, threads) =
            mpi::initialize_with_threading(mpi::Threading::Multiple).ok_or(InitError::AlreadyInitialised)?;
        let world = universe.world();
        return_errors(Handle(world.as_raw()));
        let (tell, found) = unbounded();
        Ok(Self {
            world,
            universe: Some(universe),
            rank: METADATA,
            peers: Vec::new(),
            inlets: Vec::new(),
            is_whole: true,
            has_threads: threads == mpi::Threading::Multiple,
            arriving: 0,
            unsent: 0,
            pool: Pool::default(),
            tell,
            found,
        })
    }

    /// The name and version of the MPI library.
    #[must_use]
    pub fn library() -> String {
        mpi::environment::library_version().unwrap_or_else(|_| "unknown MPI".to_owned())
    }

    /// Whether everybody lives who was there at the start, and nobody else: then MPI can be ended the orderly way.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Ends MPI the orderly way. Waits for all other ranks to do the same: only when all of them are alive.
    pub fn finalize(mut self) {
        self.inlets.drain(..).for_each(Inlet::close);
        self.universe = None;
    }

    /// Leaves MPI alone: a finalize would wait for ranks that are gone.
    pub fn abandon(mut self) {
        self.inlets.drain(..).for_each(Inlet::leak);
        std::mem::forget(self.universe.take());
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

    fn start_send(&mut self, at: usize, (comm, rank): (ffi::MPI_Comm, c_int), tag: c_int, frame: Vec<u8>) {
        let Ok(count) = c_int::try_from(frame.len()) else { return };
        let mut request = MaybeUninit::<ffi::MPI_Request>::uninit();
        // SAFETY: the buffer's heap memory stays where it is until the request has completed: it is
        // kept in `sending` until `test` says so, and leaked with the peer otherwise.
        let code = unsafe {
            ffi::MPI_Isend(frame.as_ptr().cast(), count, ffi::RSMPI_UINT8_T, rank, tag, comm, request.as_mut_ptr())
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
    fn receive_one(&mut self, at: usize, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        let inlet = &mut self.inlets[at];
        let Some((source, frame)) = inlet.take(&mut self.pool) else { return 0 };
        let from = inlet.pair.unwrap_or(Rank(source));
        let is_pair = inlet.pair.is_some();
        let known = self.peers.get_mut(from.0 as usize);
        let Some(peer) = known.filter(|peer| peer.is_reached() && matches!(peer.way, Way::Pair(_)) == is_pair) else {
            // The last words of a dead process, or from nobody we know.
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
    fn deliver_arrived(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        let mut delivered = 0;
        for from in 0..self.peers.len() {
            let mut bytes = 0;
            while bytes < DELIVERED_BYTES_MAX
                && let Some(frame) = self.next_of(from)
            {
                bytes += frame.len();
                self.peers[from].receiving.pop_front();
                self.arriving -= 1;
                deliver(Rank(u32::try_from(from).expect("fewer ranks than u32::MAX")), &frame);
                self.pool.give(frame);
                delivered += 1;
            }
        }
        delivered
    }

    /// The next frame of this peer, taken out of `receiving`, if it is here.
    fn next_of(&mut self, from: usize) -> Option<Vec<u8>> {
        let (comm, rank) = self.reach(from)?;
        let first = self.peers[from].receiving.front_mut()?;
        if matches!(first, Receiving::Announced) {
            *first = begin_long(comm, rank, &mut self.pool)?;
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

    /// The communicator over which a peer is reached, and its rank there.
    fn reach(&self, peer: usize) -> Option<(ffi::MPI_Comm, c_int)> {
        match self.peers.get(peer)?.way {
            Way::World => Some((self.world.as_raw(), c_int::try_from(peer).ok()?)),
            Way::Pair(way) => Some((way.0, OTHER_END)),
            Way::None => None,
        }
    }

    /// From now on `peer` is reached over this communicator, and over no other.
    fn set_way(&mut self, peer: Rank, way: Handle) {
        self.forget(peer);
        return_errors(way);
        self.inlets.push(Inlet::open(way, Some(peer)));
        self.peers[peer.0 as usize].way = Way::Pair(way);
    }

    /// Runs `work` in a side thread, on a copy of `MPI_COMM_SELF`.
    fn start_attempt(
        &mut self,
        peer: Rank,
        spawned: bool,
        work: impl FnOnce(Handle, &dyn Fn(Found)) -> Result<Handle, String> + Send + 'static,
    ) {
        let Some(known) = self.peers.get_mut(peer.0 as usize) else { return };
        known.attempt += 1;
        let attempt = known.attempt;
        self.is_whole = false;
        let tell = self.tell.clone();
        let copy = copy_of_self();
        let failed = tell.clone();
        let thread = std::thread::Builder::new().name(format!("peer-{peer}")).spawn(move || {
            let result = copy.and_then(|own| {
                let found = work(own, &|found| drop(tell.send((peer, attempt, found))));
                free(own);
                found
            });
            let _ = tell.send((peer, attempt, Found::Way { spawned, result }));
        });
        if let Err(error) = thread {
            let result = Err(format!("no thread: {error}"));
            let _ = failed.send((peer, attempt, Found::Way { spawned, result }));
        }
    }
}

impl Peer {
    fn new(way: Way) -> Self {
        Self { way, attempt: 0, sending: VecDeque::new(), receiving: VecDeque::new() }
    }

    fn is_reached(&self) -> bool {
        !matches!(self.way, Way::None)
    }

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

impl Inlet {
    fn open(comm: Handle, pair: Option<Rank>) -> Self {
        let mut inlet = Self { comm, pair, posted: VecDeque::with_capacity(POSTED) };
        (0..POSTED).for_each(|_| inlet.post(Vec::new()));
        inlet
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
                self.comm.0,
                request.as_mut_ptr(),
            )
        };
        if code == SUCCESS {
            // SAFETY: on success MPI has written the request.
            self.posted.push_back(Posted { request: unsafe { request.assume_init() }, frame });
        }
    }

    /// The next short frame (an announcement is an empty one) and its sender's number, if it has arrived.
    fn take(&mut self, pool: &mut Pool) -> Option<(u32, Vec<u8>)> {
        let first = self.posted.front_mut()?;
        let mut flag: c_int = 0;
        let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
        // SAFETY: `request` is a receive of ours that was not freed; the out-pointers are of the right type.
        let code = unsafe { ffi::MPI_Test(&raw mut first.request, &raw mut flag, status.as_mut_ptr()) };
        if code == SUCCESS && flag == 0 {
            return None;
        }
        let Posted { mut frame, .. } = self.posted.pop_front()?;
        self.post(pool.take(WHOLE_BYTES_MAX));
        if code != SUCCESS {
            // Too long, say: from somebody who does not keep to the rules above.
            pool.give(frame);
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

    /// Nobody sends any more. MPI is told not to write to the buffers; should it be doing so now, they are still there.
    fn close(mut self) {
        for posted in &mut self.posted {
            // SAFETY: a receive of ours that was not freed, and that nobody tests any more.
            unsafe {
                ffi::MPI_Cancel(&raw mut posted.request);
                ffi::MPI_Request_free(&raw mut posted.request);
            }
        }
        self.leak();
    }

    /// Buffers that MPI may still use must outlive it.
    fn leak(self) {
        self.posted.into_iter().for_each(|posted| std::mem::forget(posted.frame));
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

/// With this, errors on the communicator are return codes instead of the end of the job.
fn return_errors(comm: Handle) {
    // SAFETY: MPI is initialised, the communicator is valid.
    unsafe { ffi::MPI_Comm_set_errhandler(comm.0, ffi::RSMPI_ERRORS_RETURN) };
}

/// What MPI says about an error code.
fn checked<T>(code: c_int, call: &str, value: T) -> Result<T, String> {
    if code == SUCCESS {
        return Ok(value);
    }
    let mut text = [0; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut length: c_int = 0;
    // SAFETY: the buffer is as long as MPI asks for; what it writes ends with a zero.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr(), &raw mut length) };
    Err(format!("{call}: {}", c_text(&text)))
}

fn c_text(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text.iter().map(|&byte| byte.to_ne_bytes()[0]).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Two threads must not act on one communicator: every side thread gets a copy. Local, so it never waits.
fn copy_of_self() -> Result<Handle, String> {
    let mut copy = MaybeUninit::<ffi::MPI_Comm>::uninit();
    // SAFETY: MPI is initialised; on success it has written the handle.
    unsafe {
        let code = ffi::MPI_Comm_dup(ffi::RSMPI_COMM_SELF, copy.as_mut_ptr());
        checked(code, "MPI_Comm_dup", ())?;
        let copy = Handle(copy.assume_init());
        return_errors(copy);
        Ok(copy)
    }
}

fn free(Handle(mut own): Handle) {
    // SAFETY: a copy of `MPI_COMM_SELF` that nobody else knows; freeing it waits for nobody.
    unsafe { ffi::MPI_Comm_free(&raw mut own) };
}

fn spawn(own: Handle, program: &CStr, arguments: &[CString]) -> Result<Handle, String> {
    let mut arguments: Vec<*mut c_char> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    arguments.push(std::ptr::null_mut());
    let mut way = MaybeUninit::<ffi::MPI_Comm>::uninit();
    let mut process: c_int = 0;
    // SAFETY: a program name, a null-terminated list of arguments (MPI only reads them; they live until after the
    // call), one process and so one error code.
    let code = unsafe {
        ffi::MPI_Comm_spawn(
            program.as_ptr(),
            arguments.as_mut_ptr(),
            1,
            ffi::RSMPI_INFO_NULL,
            0,
            own.0,
            way.as_mut_ptr(),
            &raw mut process,
        )
    };
    checked(code, "MPI_Comm_spawn", ())?;
    checked(process, "the process that MPI_Comm_spawn started", ())?;
    // SAFETY: on success MPI has written the communicator.
    Ok(Handle(unsafe { way.assume_init() }))
}

fn accept(own: Handle, tell: &dyn Fn(Found)) -> Result<Handle, String> {
    let mut port = [0; ffi::MPI_MAX_PORT_NAME as usize + 1];
    // SAFETY: the buffer is as long as MPI asks for.
    checked(unsafe { ffi::MPI_Open_port(ffi::RSMPI_INFO_NULL, port.as_mut_ptr()) }, "MPI_Open_port", ())?;
    tell(Found::Port(c_text(&port)));
    let mut way = MaybeUninit::<ffi::MPI_Comm>::uninit();
    // SAFETY: the port was just opened, `own` is this thread's; on success MPI writes the communicator.
    let code = unsafe { ffi::MPI_Comm_accept(port.as_ptr(), ffi::RSMPI_INFO_NULL, 0, own.0, way.as_mut_ptr()) };
    // SAFETY: as above; nobody comes to this port any more.
    unsafe { ffi::MPI_Close_port(port.as_ptr()) };
    checked(code, "MPI_Comm_accept", ())?;
    // SAFETY: on success MPI has written the communicator.
    Ok(Handle(unsafe { way.assume_init() }))
}

fn go_to(own: Handle, port: &CStr) -> Result<Handle, String> {
    let mut way = MaybeUninit::<ffi::MPI_Comm>::uninit();
    // SAFETY: a null-terminated name, `own` is this thread's; on success MPI writes the communicator.
    let code = unsafe { ffi::MPI_Comm_connect(port.as_ptr(), ffi::RSMPI_INFO_NULL, 0, own.0, way.as_mut_ptr()) };
    checked(code, "MPI_Comm_connect", ())?;
    // SAFETY: on success MPI has written the communicator.
    Ok(Handle(unsafe { way.assume_init() }))
}

impl Transport for MpiTransport {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn ranks(&self) -> u32 {
        u32::try_from(self.peers.len()).expect("fewer ranks than u32::MAX")
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        if self.unsent > 0 {
            (0..self.peers.len()).for_each(|to| self.collect_sent(to));
        }
        let mut delivered = 0;
        for at in 0..self.inlets.len() {
            delivered += self.receive_one(at, deliver);
        }
        if self.arriving == 0 { delivered } else { delivered + self.deliver_arrived(deliver) }
    }

    fn send(&mut self, to: Rank, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        let at = to.0 as usize;
        let Some(way) = self.reach(at) else {
            // Lost, as on a network: the protocol is made for that.
            self.pool.give(frame);
            return Ok(());
        };
        self.collect_sent(at);
        if self.peers[at].sending.len() >= SENDS_MAX {
            return Err(frame);
        }
        if frame.len() <= WHOLE_BYTES_MAX {
            self.start_send(at, way, TAG, frame);
        } else {
            self.start_send(at, way, TAG, Vec::new());
            self.start_send(at, way, LONG_TAG, frame);
        }
        Ok(())
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.pool.take(0)
    }

    fn unsent(&self) -> usize {
        self.unsent
    }

    fn is_moving(&self) -> bool {
        self.unsent + self.arriving > 0
    }

    fn raw(&mut self) -> Option<&mut dyn RawWire> {
        Some(self)
    }

    fn survives_a_death(&self) -> Result<(), String> {
        let library = Self::library();
        if !library.contains("Open MPI") {
            // MPICH says `MPICH Version:<tab>4.0.2`.
            let first = library.lines().next().unwrap_or("this MPI").replace("Version:", "");
            let name = first.split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(format!("under {name} the other ranks do not survive the death of one; Open MPI 4 and 5 can"));
        }
        if !self.has_threads {
            return Err("this Open MPI was built without MPI_THREAD_MULTIPLE, which replacements need".to_owned());
        }
        Ok(())
    }

    fn forget(&mut self, peer: Rank) {
        let Some(known) = self.peers.get_mut(peer.0 as usize) else { return };
        known.way = Way::None;
        self.unsent -= known.sending.len();
        self.arriving -= known.leak();
        let of_peer = self.inlets.iter().position(|inlet| inlet.pair == Some(peer));
        if let Some(inlet) = of_peer.map(|at| self.inlets.remove(at)) {
            inlet.leak();
        }
        self.is_whole = false;
    }

    fn replace(&mut self, peer: Rank, arguments: &[String]) {
        let program = std::env::current_exe().map_err(|error| format!("this program's own file: {error}"));
        let arguments: Result<Vec<CString>, _> =
            arguments.iter().map(|argument| CString::new(argument.as_str())).collect();
        self.start_attempt(peer, true, move |own, _| {
            let program = program?.into_os_string().into_encoded_bytes();
            let program = CString::new(program).map_err(|error| error.to_string())?;
            spawn(own, &program, &arguments.map_err(|error| error.to_string())?)
        });
    }

    fn open(&mut self, peer: Rank) {
        self.start_attempt(peer, false, accept);
    }

    fn connect(&mut self, peer: Rank, port: &str) {
        let port = CString::new(port);
        self.start_attempt(peer, false, move |own, _| go_to(own, &port.map_err(|error| error.to_string())?));
    }

    fn take_change(&mut self) -> Option<Change> {
        loop {
            let (peer, attempt, found) = self.found.try_recv().ok()?;
            if self.peers[peer.0 as usize].attempt != attempt {
                continue;
            }
            match found {
                Found::Port(port) => return Some(Change::Opened { peer, port }),
                Found::Way { spawned, result } => {
                    let result = result.map(|way| self.set_way(peer, way));
                    return Some(if spawned {
                        Change::Started { peer, result }
                    } else {
                        Change::Connected { peer, result }
                    });
                }
            }
        }
    }
}

impl Drop for MpiTransport {
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
impl RawWire for MpiTransport {
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
