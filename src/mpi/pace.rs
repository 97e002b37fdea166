//! How a rank waits: it knows the difference between busy, expecting, and idle.
//!
//! While there is work a rank does not wait at all. When there was some a moment ago, it spins, then
//! yields (there may be more ranks than cores: a spinning rank starves the one it waits for). When
//! nothing has come for a while it sleeps at its doorbell until somebody rings or something is due.
//!
//! How long is a while? Falling asleep is cheap, waking up is not: where other programs want the cores
//! as well, a sleeper waits for its turn like everybody else, 20 ms a hop on a busy machine with a slow
//! scheduler tick, and every hop of a request pays it. So a rank sleeps only when the last request lies
//! longer back than such a turn takes. Heartbeats and reports are no work: an idle cluster sleeps.

use crate::core::protocol::Time;
use crate::mpi::transport::Doorbell;
use std::time::Duration;

/// After work, look again at once for this long: an answer that comes at once comes in this time.
const SPIN: Duration = Duration::from_micros(50);
/// Then let others run in between, for this long.
const AWAKE: Duration = Duration::from_millis(20);
/// A rank that waits for an answer, or for a long frame that moves only while both sides look after it, stays awake for
/// this long. It yields meanwhile: spinning would keep the core from the one that has to do the other half.
const EXPECTING: Duration = Duration::from_millis(50);

/// What is still moving then is looked after this often; the other side may be dead.
const NAP_MOVING: Duration = Duration::from_millis(1);

/// What a rank that has nothing to do waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
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
}

impl Pace {
    /// Wide awake.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { last_work: now }
    }

    /// The end of a turn: waits as long as makes sense. True when the core was left to others.
    pub fn wait(&mut self, now: Time, worked: bool, waiting: Waiting, doorbell: &Doorbell) -> bool {
        if worked {
            self.last_work = now;
            return false;
        }
        if waiting.heard {
            return false;
        }
        let v = &*V;
        let idle = now.since(self.last_work);
        if v.2 > 0 {
            if idle < Duration::from_micros(v.0) {
                std::hint::spin_loop();
                return false;
            }
            if idle < Duration::from_micros(v.1) {
                rustix::thread::sched_yield();
                return true;
            }
            if waiting.due > now {
                let aw = if waiting.expecting || waiting.moving { EXPECTING } else { AWAKE };
                let nap = if idle < aw {
                    Duration::from_micros(v.2)
                } else if waiting.moving {
                    NAP_MOVING
                } else {
                    Duration::MAX
                };
                doorbell.sleep(waiting.due.since(now).min(nap));
            }
            return true;
        }
        let awake = if waiting.expecting || waiting.moving { EXPECTING } else { AWAKE };
        if idle < SPIN {
            std::hint::spin_loop();
            return false;
        } else if idle < awake {
            rustix::thread::sched_yield();
        } else if waiting.due > now {
            let nap = if waiting.moving { NAP_MOVING } else { Duration::MAX };
            doorbell.sleep(waiting.due.since(now).min(nap));
        }
        true
    }
}

static V: std::sync::LazyLock<(u64, u64, u64)> = std::sync::LazyLock::new(|| {
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let g = |n: &str| std::env::var(n).ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    (g("U_SPIN"), g("U_YIELD"), g("U_NAP"))
});
