//! How a rank waits: it knows the difference between busy, expecting, and idle.
//!
//! While there is work a rank does not wait at all. When there was some a moment ago, it spins, then
//! yields (there may be more ranks than cores: a spinning rank starves the one it waits for). When
//! nothing has come for a while it sleeps at its doorbell until somebody rings or something is due.

use crate::protocol::Time;
use crate::transport::Doorbell;
use std::time::Duration;

/// After work, look again at once for this long.
const SPIN: Duration = Duration::from_micros(5);
/// Then let others run in between, for this long.
const YIELD: Duration = Duration::from_micros(150);
/// A rank that waits for an answer stays awake for this long.
const EXPECTING: Duration = Duration::from_micros(400);

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

    /// The end of a turn: waits as long as makes sense, at most until `due`. `expecting`: an answer to
    /// something this rank sent is on its way.
    pub fn wait(&mut self, now: Time, worked: bool, expecting: bool, due: Time, doorbell: &Doorbell) {
        if worked {
            self.last_work = now;
            return;
        }
        let idle = now.since(self.last_work);
        static P: std::sync::OnceLock<Vec<u64>> = std::sync::OnceLock::new();
        let p = P.get_or_init(|| {
            std::env::var("PACE").unwrap_or("5,150,400".into()).split(',').map(|x| x.parse().unwrap()).collect()
        });
        let awake = Duration::from_micros(if expecting { p[2] } else { p[1] });
        let _ = (EXPECTING, YIELD, SPIN);
        if idle < Duration::from_micros(p[0]) {
            std::hint::spin_loop();
        } else if idle < awake {
            rustix::thread::sched_yield();
        } else if due > now {
            doorbell.sleep(due.since(now));
        }
    }
}
