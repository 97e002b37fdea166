//! How the death of a process is known at once, and for certain.
//!
//! Every process holds a lock in memory that it shares with rank 0, and never lets it go. For each of them a thread
//! of rank 0 waits for that lock. When a process ends, however it ends, the kernel finds the locks that its threads
//! still hold and gives them to whoever waits (`PTHREAD_MUTEX_ROBUST`, `EOWNERDEAD`): a tenth of a millisecond after
//! a SIGKILL, before the dead one's memory is torn down, which a `pidfd` or a socket would wait for.
//!
//! A thread whose lock the kernel has given away runs no more code of ours. So this is a proof, and no suspicion: who
//! is dead answers nobody. What it has sent may still be on its way.
//!
//! ```text
//!   process 1 ──holds──▶ slot 1 ◀──waits── a thread of rank 0 ──▶ channel, and a ring for rank 0's loop
//!   process 2 ──holds──▶ slot 2 ◀──waits── another one
//! ```
//!
//! The memory belongs to no file (`memfd`): others reach it as `/proc/PID/fd/N` of rank 0's process, and nothing is
//! left of it afterwards.
//!
//! # Caveats
//!
//! Only on rank 0's host, and on Linux. A process that is stopped, or hangs, still holds its lock. Everything else is
//! left to heartbeats, and works without this.

#![allow(unsafe_code, reason = "shared memory, and locks in it, are foreign ground")]

use super::Process;
use super::doorbell::Ringer;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::fs::{MemfdFlags, Mode, OFlags, fstat, ftruncate, memfd_create, open};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// This many processes of a job have a lock; those that come later live without.
const SLOTS: usize = 4096;
/// A thread that waits needs no more.
const STACK_BYTES: usize = 64 << 10;

/// One process's lock.
#[repr(C, align(64))]
struct Slot {
    mutex: libc::pthread_mutex_t,
    /// 1 once it is locked for good.
    held: AtomicU32,
}

/// All slots, for as long as this process lives: nobody unmaps what a thread may be waiting in.
#[derive(Debug, Clone, Copy)]
struct Slots(NonNull<Slot>);

// SAFETY: what it points to is shared between processes anyway. It is never unmapped, `held` is atomic, and the mutex
// is touched by the functions of the C library only.
unsafe impl Send for Slots {}

impl Slots {
    fn map(memory: &OwnedFd) -> io::Result<Self> {
        let bytes = size_of::<Slot>() * SLOTS;
        if fstat(memory)?.st_size != bytes as i64 {
            return Err(io::Error::other("this is no memory for locks"));
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, at an address that the kernel chooses, of a file that is as long as that and is never
        // made shorter.
        let at = unsafe { mmap(std::ptr::null_mut(), bytes, protection, flags, memory, 0)? };
        NonNull::new(at.cast()).map(Self).ok_or_else(|| io::Error::other("mapped to nowhere"))
    }

    /// `None` for a process that has none.
    fn of(self, process: Process) -> Option<NonNull<Slot>> {
        let at = usize::try_from(process.0).ok().filter(|at| *at < SLOTS)?;
        // SAFETY: the mapping holds this many slots.
        Some(unsafe { self.0.add(at) })
    }
}

/// This process holds its lock from now on, as long as the calling thread lives: to be called by the thread that
/// serves. `pid` and `number` are rank 0's, see [`DeathWatch::number`].
///
/// # Errors
/// When rank 0's memory is out of reach, or there is no slot left: then this process lives without.
pub fn hold(pid: u32, number: i32, process: Process) -> io::Result<()> {
    let memory = open(format!("/proc/{pid}/fd/{number}"), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let slots = Slots::map(&memory)?;
    let slot = slots.of(process).ok_or_else(|| io::Error::other("there is no lock left"))?;
    // SAFETY: a slot belongs to the one process that has its number, which comes here once. Nobody else touches the
    // mutex before `held` says so. The attributes live as long as they are used.
    unsafe {
        let mutex = &raw mut (*slot.as_ptr()).mutex;
        let mut kind = std::mem::zeroed::<libc::pthread_mutexattr_t>();
        check(libc::pthread_mutexattr_init(&raw mut kind))?;
        check(libc::pthread_mutexattr_setpshared(&raw mut kind, libc::PTHREAD_PROCESS_SHARED))?;
        check(libc::pthread_mutexattr_setrobust(&raw mut kind, libc::PTHREAD_MUTEX_ROBUST))?;
        check(libc::pthread_mutex_init(mutex, &raw const kind))?;
        check(libc::pthread_mutexattr_destroy(&raw mut kind))?;
        check(libc::pthread_mutex_lock(mutex))?;
        (*slot.as_ptr()).held.store(1, Ordering::Release);
    }
    Ok(())
}

fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Waits until the process is dead. False when that cannot be known.
fn wait_for_death(slot: NonNull<Slot>) -> bool {
    // SAFETY: the mapping lives as long as this process; `held` has said that the mutex is ready. Whoever is given it
    // by the kernel makes it whole and lets it go, as the C library wants it.
    unsafe {
        let mutex = &raw mut (*slot.as_ptr()).mutex;
        let code = libc::pthread_mutex_lock(mutex);
        if code == libc::EOWNERDEAD {
            libc::pthread_mutex_consistent(mutex);
        }
        if code == 0 || code == libc::EOWNERDEAD {
            libc::pthread_mutex_unlock(mutex);
        }
        code == libc::EOWNERDEAD
    }
}

/// The locks of a job's processes, as rank 0 watches them.
#[derive(Debug)]
pub struct DeathWatch {
    memory: OwnedFd,
    slots: Slots,
    watched: BTreeSet<Process>,
    deaths: (Sender<Process>, Receiver<Process>),
    ringer: Ringer,
}

impl DeathWatch {
    /// Memory for a new job. With every death the bell is rung.
    ///
    /// # Errors
    /// When the kernel has none.
    pub fn create(ringer: Ringer) -> io::Result<Self> {
        let memory = memfd_create("understudy-deathwatch", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, (size_of::<Slot>() * SLOTS) as u64)?;
        let slots = Slots::map(&memory)?;
        Ok(Self { memory, slots, watched: BTreeSet::new(), deaths: unbounded(), ringer })
    }

    /// The number under which others of this host find the memory at this process.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.memory.as_raw_fd()
    }

    /// From now on the death of this process is told, if it holds its lock. True if so.
    pub fn watch(&mut self, process: Process) -> bool {
        if self.watched.contains(&process) {
            return true;
        }
        let Some(slot) = self.slots.of(process) else { return false };
        // SAFETY: the mapping lives as long as this process; `held` is atomic.
        if unsafe { (*slot.as_ptr()).held.load(Ordering::Acquire) } != 1 {
            return false;
        }
        let (slots, deaths, ringer) = (self.slots, self.deaths.0.clone(), self.ringer.clone());
        let wait = move || {
            let slot = slots.of(process);
            if slot.is_some_and(wait_for_death) && deaths.send(process).is_ok() {
                ringer.ring();
            }
        };
        let thread = std::thread::Builder::new().name(format!("deathwatch {process}")).stack_size(STACK_BYTES);
        let watched = thread.spawn(wait).is_ok();
        if watched {
            self.watched.insert(process);
        }
        watched
    }

    /// The next process that has died.
    #[must_use]
    pub fn next_death(&mut self) -> Option<Process> {
        let process = self.deaths.1.try_recv().ok()?;
        self.watched.remove(&process);
        Some(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpi::transport::Doorbell;
    use std::time::{Duration, Instant};

    fn deathwatch(job: u64) -> (DeathWatch, Doorbell) {
        let bell = Doorbell::open(job | u64::from(std::process::id()), Process(0), 1).unwrap();
        (DeathWatch::create(bell.ringer(Process(0)).unwrap()).unwrap(), bell)
    }

    /// A thread's death is told as that of a process is: the kernel does not distinguish them.
    #[test]
    fn a_death_is_told_with_a_ring_and_only_of_who_holds_on() {
        let (mut deathwatch, bell) = deathwatch(0x11fe_0000_0000);
        assert!(!deathwatch.watch(Process(1)), "nobody holds it");
        assert!(!deathwatch.watch(Process(u32::MAX)), "there is none");
        let (number, (go, wait)) = (deathwatch.number(), unbounded::<()>());
        let (ready, is_ready) = unbounded();
        let owner = std::thread::spawn(move || {
            ready.send(hold(std::process::id(), number, Process(1))).unwrap();
            let _ = wait.recv();
        });
        is_ready.recv().unwrap().unwrap();
        assert!(deathwatch.watch(Process(1)) && deathwatch.watch(Process(1)));
        assert!(!bell.rest(Duration::from_millis(50)) && deathwatch.next_death().is_none(), "it lives");
        drop(go);
        owner.join().unwrap();
        let begun = Instant::now();
        while !bell.rest(Duration::from_millis(100)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "no ring");
        }
        assert_eq!((deathwatch.next_death(), deathwatch.next_death()), (Some(Process(1)), None));
    }

    #[test]
    fn memory_of_another_kind_is_refused() {
        let other = memfd_create("something", MemfdFlags::CLOEXEC).unwrap();
        let why = hold(std::process::id(), other.as_raw_fd(), Process(1)).unwrap_err();
        assert!(why.to_string().contains("no memory for locks"), "{why}");
        assert!(hold(std::process::id(), 1_000_000, Process(1)).is_err());
    }
}
