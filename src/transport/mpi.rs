//! Frames over MPI: non-blocking, bounded.
//!
//! Only immediate calls are used (`MPI_Isend`, `MPI_Improbe`, `MPI_Imrecv`, `MPI_Test`), because a
//! peer may die at any moment: with Open MPI under `--enable-recovery` a send to a dead rank "succeeds"
//! some sixty times and then never completes. So every peer has a limit on sends under way; beyond it
//! frames are given back. A buffer whose send never completes is never freed, for MPI may still read it.
//!
//! Why the raw calls: the safe ones drop return codes, and their requests borrow the buffer for a scope,
//! while a frame here lives as long as it travels. This is one of the two files with `unsafe` code.
//!
//! # Caveats
//!
//! MPI is initialised for use by one thread ([`mpi::Threading::Funneled`]): all calls come from the
//! thread that created the [`MpiTransport`].

use super::Transport;
use super::raw::RawWire;
use crate::protocol::Rank;
use mpi::ffi;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{AsRaw, Communicator, Destination, Source};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::fmt;
use std::mem::MaybeUninit;

/// The most sends under way to one peer.
pub const SENDS_MAX: usize = 48;
/// Buffers up to this size are used again.
const POOLED_BYTES_MAX: usize = 1 << 20;
/// The most buffers kept for use again.
const POOLED_MAX: usize = 128;
/// The tag of all frames.
const TAG: c_int = 0;
/// The tag of the benchmark's plain messages: they never mix with frames.
const RAW_TAG: c_int = 1;
/// A message of up to this size is never split: once it is seen, it is all there.
const WHOLE_BYTES_MAX: usize = 2048;

/// MPI could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyInitialised;

impl fmt::Display for AlreadyInitialised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MPI is initialised already in this process")
    }
}

impl std::error::Error for AlreadyInitialised {}

/// A frame on its way out. The buffer stays where it is until MPI is done with it.
struct Sending {
    request: ffi::MPI_Request,
    frame: Vec<u8>,
}

/// A frame on its way in.
struct Receiving {
    request: ffi::MPI_Request,
    frame: Vec<u8>,
}

/// What became of a look for frames.
enum Matched {
    Nothing,
    /// A long one is on its way into `receiving`.
    Begun,
    /// Here it is, and from whom.
    Whole(usize, Vec<u8>),
}

/// MPI's world as a [`Transport`].
pub struct MpiTransport {
    world: SimpleCommunicator,
    universe: Option<mpi::environment::Universe>,
    rank: Rank,
    ranks: u32,
    sending: Vec<VecDeque<Sending>>,
    /// How many there are in `sending`.
    unsent: usize,
    /// Frames that have been matched but not fully received, by sender, oldest first.
    receiving: Vec<VecDeque<Receiving>>,
    arriving: usize,
    pool: Vec<Vec<u8>>,
}

impl fmt::Debug for MpiTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiTransport").field("rank", &self.rank).field("ranks", &self.ranks).finish_non_exhaustive()
    }
}

impl MpiTransport {
    /// Initialises MPI.
    ///
    /// # Errors
    /// When it is initialised already.
    ///
    /// # Panics
    /// When MPI gives a negative rank: never.
    pub fn init() -> Result<Self, AlreadyInitialised> {
        let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled).ok_or(AlreadyInitialised)?;
        let world = universe.world();
        // SAFETY: MPI is initialised, the communicator is valid. With this, errors are return codes
        // instead of the end of the job.
        unsafe { ffi::MPI_Comm_set_errhandler(world.as_raw(), ffi::RSMPI_ERRORS_RETURN) };
        let rank = Rank(u32::try_from(world.rank()).expect("ranks are not negative"));
        let ranks = u32::try_from(world.size()).expect("sizes are not negative");
        Ok(Self {
            sending: (0..ranks).map(|_| VecDeque::new()).collect(),
            unsent: 0,
            receiving: (0..ranks).map(|_| VecDeque::new()).collect(),
            arriving: 0,
            pool: Vec::new(),
            world,
            universe: Some(universe),
            rank,
            ranks,
        })
    }

    /// The name and version of the MPI library.
    #[must_use]
    pub fn library() -> String {
        mpi::environment::library_version().unwrap_or_else(|_| "unknown MPI".to_owned())
    }

    /// Ends MPI the orderly way. Waits for all other ranks to do the same: only when all of them are alive.
    pub fn finalize(mut self) {
        self.universe = None;
    }

    /// Leaves MPI alone: a finalize would wait for ranks that are gone.
    pub fn abandon(mut self) {
        std::mem::forget(self.universe.take());
    }

    fn collect_sent(&mut self, to: usize) {
        while let Some(first) = self.sending[to].front_mut() {
            if !test(&mut first.request) {
                return;
            }
            let sent = self.sending[to].pop_front().expect("just seen");
            self.unsent -= 1;
            self.recycle(sent.frame);
        }
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        if self.pool.len() < POOLED_MAX && frame.capacity() <= POOLED_BYTES_MAX && frame.capacity() > 0 {
            self.pool.push(frame);
        }
    }

    /// Matches one frame that has arrived, if any, and receives it or starts to.
    fn match_one(&mut self) -> Matched {
        let mut flag: c_int = 0;
        let mut message = MaybeUninit::<ffi::MPI_Message>::uninit();
        let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
        // SAFETY: valid communicator; all out-pointers point to memory of the right type.
        let code = unsafe {
            ffi::MPI_Improbe(
                ffi::RSMPI_ANY_SOURCE,
                TAG,
                self.world.as_raw(),
                &raw mut flag,
                message.as_mut_ptr(),
                status.as_mut_ptr(),
            )
        };
        if code != SUCCESS || flag == 0 {
            return Matched::Nothing;
        }
        // SAFETY: with the flag set, MPI has written both.
        let (mut message, status) = unsafe { (message.assume_init(), status.assume_init()) };
        let mut count: c_int = 0;
        // SAFETY: `status` is that of a matched message.
        unsafe { ffi::MPI_Get_count(&raw const status, ffi::RSMPI_UINT8_T, &raw mut count) };
        let length = usize::try_from(count).unwrap_or(0);
        let from = usize::try_from(status.MPI_SOURCE).unwrap_or(usize::MAX);
        // A used buffer keeps its length, so that only what it grows by is filled in vain.
        let mut frame = self.pool.pop().unwrap_or_default();
        frame.resize(length, 0);
        let whole = length <= WHOLE_BYTES_MAX;
        if whole {
            // SAFETY: the buffer holds `count` bytes. This does not block: a message this short travels in
            // one piece, and it has arrived.
            let code = unsafe {
                ffi::MPI_Mrecv(
                    frame.as_mut_ptr().cast(),
                    count,
                    ffi::RSMPI_UINT8_T,
                    &raw mut message,
                    ffi::RSMPI_STATUS_IGNORE,
                )
            };
            return if code == SUCCESS { Matched::Whole(from, frame) } else { Matched::Nothing };
        }
        let mut request = MaybeUninit::<ffi::MPI_Request>::uninit();
        // SAFETY: the buffer holds `count` bytes and stays where it is (a Vec's heap memory) until the
        // request has completed: it is kept in `receiving` until `test` says so.
        let code = unsafe {
            ffi::MPI_Imrecv(
                frame.as_mut_ptr().cast(),
                count,
                ffi::RSMPI_UINT8_T,
                &raw mut message,
                request.as_mut_ptr(),
            )
        };
        if code != SUCCESS {
            return Matched::Nothing;
        }
        // SAFETY: on success MPI has written the request.
        let request = unsafe { request.assume_init() };
        match self.receiving.get_mut(from) {
            Some(queue) => {
                queue.push_back(Receiving { request, frame });
            }
            None => std::mem::forget(frame), // From nobody we know; MPI may still write to it.
        }
        Matched::Begun
    }

    fn deliver_arrived(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        let mut delivered = 0;
        for from in 0..self.receiving.len() {
            while let Some(first) = self.receiving[from].front_mut() {
                if !test(&mut first.request) {
                    break;
                }
                let arrived = self.receiving[from].pop_front().expect("just seen");
                self.arriving -= 1;
                deliver(Rank(u32::try_from(from).expect("fewer ranks than u32::MAX")), &arrived.frame);
                self.recycle(arrived.frame);
                delivered += 1;
            }
        }
        delivered
    }
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

impl Transport for MpiTransport {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn ranks(&self) -> u32 {
        self.ranks
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        if self.unsent > 0 {
            (0..self.sending.len()).for_each(|to| self.collect_sent(to));
        }
        // One frame a turn: it is a peer's whole turn already, and looking for another before this one is
        // handled would put its answer off.
        let mut delivered = 0;
        match self.match_one() {
            Matched::Nothing => {}
            Matched::Begun => self.arriving += 1,
            Matched::Whole(from, frame) => {
                match self.receiving.get_mut(from) {
                    // What began to arrive from the same sender before comes first.
                    Some(earlier) if !earlier.is_empty() => {
                        // SAFETY: a constant of the MPI library; such a request counts as completed.
                        let request = unsafe { ffi::RSMPI_REQUEST_NULL };
                        earlier.push_back(Receiving { request, frame });
                        self.arriving += 1;
                    }
                    _ => {
                        deliver(Rank(u32::try_from(from).expect("fewer ranks than u32::MAX")), &frame);
                        self.recycle(frame);
                        delivered = 1;
                    }
                }
            }
        }
        if self.arriving == 0 { delivered } else { delivered + self.deliver_arrived(deliver) }
    }

    fn send(&mut self, to: Rank, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        let at = to.0 as usize;
        self.collect_sent(at);
        if self.sending[at].len() >= SENDS_MAX {
            return Err(frame);
        }
        let Ok(count) = c_int::try_from(frame.len()) else { return Ok(()) };
        let mut request = MaybeUninit::<ffi::MPI_Request>::uninit();
        // SAFETY: the buffer's heap memory stays where it is until the request has completed: it is
        // kept in `sending` until `test` says so, and leaked with the transport otherwise.
        let code = unsafe {
            ffi::MPI_Isend(
                frame.as_ptr().cast(),
                count,
                ffi::RSMPI_UINT8_T,
                at as c_int,
                TAG,
                self.world.as_raw(),
                request.as_mut_ptr(),
            )
        };
        if code == SUCCESS {
            // SAFETY: on success MPI has written the request.
            let mut request = unsafe { request.assume_init() };
            // A small frame is usually copied into the receiver's queue at once.
            if test(&mut request) {
                self.recycle(frame);
            } else {
                self.sending[at].push_back(Sending { request, frame });
                self.unsent += 1;
            }
        }
        Ok(())
    }

    fn buffer(&mut self) -> Vec<u8> {
        let mut frame = self.pool.pop().unwrap_or_default();
        frame.clear();
        frame
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
}

/// The benchmark's baseline: MPI's own blocking calls, as a program would use them that has nothing else to do.
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

impl Drop for MpiTransport {
    fn drop(&mut self) {
        // Buffers that MPI may still use must outlive it.
        for sending in self.sending.drain(..).flatten() {
            std::mem::forget(sending.frame);
        }
        for receiving in self.receiving.drain(..).flatten() {
            std::mem::forget(receiving.frame);
        }
    }
}
