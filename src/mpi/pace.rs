//! How a rank waits: it knows the difference between busy, expecting, and idle.
//!
//! While there is work a rank does not wait at all. When there was some a moment ago, it looks again at once and lets
//! others run in between. Soon it naps: for so short a time that what comes without a ring ages little, but in a sleep
//! that leaves its core to the others. When nothing has come for a while it sleeps at its doorbell until somebody rings
//! or something is due.
//!
//! There may be more ranks than cores, and other programs that want these as well, first of all the clients of a door.
//! To yield is cheap only among those who yield in turn: whoever gives the core to a program that computes has it back
//! when that one's slice is over, milliseconds later, and pays so for every hop of a request. Who sleeps gives the core
//! away as well, but is put before that program when it wakes, because it has used less. So a rank that has waited long
//! for its core to come back does not yield for some time, but naps at once. A nap also collects: what comes meanwhile
//! shares a turn, and its frames.
//!
//! Heartbeats and reports are no work: an idle cluster sleeps.

use super::clock;
use crate::core::protocol::Time;
use crate::mpi::transport::Doorbell;
use std::time::Duration;

/// After work, look again at once for this long: who asks one thing after the other asks again within this time.
pub const YIELDING: Duration = Duration::from_micros(50);
/// Who had to wait so long for the core that it gave away has given it to somebody who computes,
const CROWDED: Duration = Duration::from_micros(200);
/// and gives none away like this for this many times as long,
const CROWDED_TIMES: u32 = 20;
/// but for no longer than this.
const CROWDED_MAX: Duration = Duration::from_millis(100);
/// While the last work lies no longer back than `AWAKE`, what has come without a ring is looked for this often.
const NAP_AWAKE: Duration = Duration::from_micros(100);
/// So long after work somebody may still want more, or wait for something that gave no ring.
const AWAKE: Duration = Duration::from_millis(20);
/// A rank that waits for an answer, or for a long frame that moves only while both sides look after it, stays awake for
/// this long.
const EXPECTING: Duration = Duration::from_millis(50);

/// What is still moving then is looked after this often; the other side may be dead.
const NAP_MOVING: Duration = Duration::from_millis(1);

/// What a rank that has nothing to do waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Something has just come, if only a heartbeat: more may lie behind it, which would age in its sleep.
    pub heard: bool,
    /// An answer to something it sent is on its way.
    pub expecting: bool,
    /// Frames are being sent or received, piece by piece.
    pub moving: bool,
    /// At this moment there is something to do in any case.
    pub due: Time,
}

/// The state of waiting.
#[derive(Debug)]
pub struct Pace {
    last_work: Time,
    /// The transport gives the core away by itself.
    transport_yields: bool,
    /// Until then somebody is taken to want the core for longer.
    crowded_until: Time,
}

impl Pace {
    /// Wide awake. `transport_yields`: it gives the core away by itself whenever nothing has come.
    #[must_use]
    pub fn new(now: Time, transport_yields: bool) -> Self {
        // Otherwise the kernel makes naps half as long again. Where it refuses, they are longer.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        Self { last_work: now, transport_yields, crowded_until: now }
    }

    /// Somebody wants the cores for longer: then whoever has nothing to do naps at once, here and at its peers.
    #[must_use]
    pub fn is_crowded(&self, now: Time) -> bool {
        now < self.crowded_until
    }

    /// The end of a turn: waits as long as makes sense. True when the core was left to others.
    pub fn wait(&mut self, now: Time, worked: bool, waiting: Awaited, doorbell: &Doorbell) -> bool {
        if worked {
            self.last_work = now;
            return false;
        }
        if waiting.heard {
            return false;
        }
        let idle = now.since(self.last_work);
        let awake = if waiting.expecting || waiting.moving { EXPECTING } else { AWAKE };
        if idle < YIELDING && self.transport_yields {
            return false;
        } else if idle < YIELDING && !self.is_crowded(now) {
            let before = clock::now();
            rustix::thread::sched_yield();
            let back = clock::now();
            let away = back.since(before);
            if away > CROWDED {
                self.crowded_until = back + (away * CROWDED_TIMES).min(CROWDED_MAX);
            }
        } else if waiting.due > now {
            let longest = match () {
                () if idle < awake => NAP_AWAKE,
                () if waiting.moving => NAP_MOVING,
                () => Duration::MAX,
            };
            doorbell.sleep(waiting.due.since(now).min(longest));
        }
        true
    }
}
