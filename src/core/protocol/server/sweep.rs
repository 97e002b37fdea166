//! The end of sessions whose clients have written nothing for long: looked for by the primary, some of them a turn.

use super::Core;
use super::primary::{Phase, Primary};
use crate::core::protocol::{Outbox, Time};
use crate::core::store::{ClientId, Command, Sessions, Silent, UnixMs};

/// This many sessions are looked at in one turn.
const LOOKED_AT_MAX: usize = 256;

/// How far the search has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// No session is silent for long before this time of the log: nobody need look.
    due: UnixMs,
    /// A look at all of them has come this far …
    after: Option<ClientId>,
    /// … and none of those left alone is silent for long before this time.
    earliest: UnixMs,
}

impl Sweep {
    /// By the time of its log, a primary begins now. Its clock may be far ahead of that of the one before, so nobody is
    /// silent for long before it has led for that long.
    pub(super) fn begin(core: &Core, now: Time) -> Self {
        Self::from(core.log_time(now).saturating_add(idle_ms(core)))
    }

    fn from(due: UnixMs) -> Self {
        Self { due, after: None, earliest: UnixMs::MAX }
    }

    /// Looks at the next of them; gives those that have been silent for so long.
    fn look(&mut self, sessions: &Sessions, time: UnixMs, idle: UnixMs) -> Vec<ClientId> {
        let (mut silent, mut looked) = (Vec::new(), 0);
        for (client, session) in sessions.after(self.after).take(LOOKED_AT_MAX) {
            match session.written.checked_add(idle) {
                Some(end) if end <= time => silent.push(client),
                end => self.earliest = self.earliest.min(end.unwrap_or(UnixMs::MAX)),
            }
            self.after = Some(client);
            looked += 1;
        }
        if looked < LOOKED_AT_MAX {
            // Who writes from now on, is silent for long later than that.
            *self = Self::from(self.earliest.min(time.saturating_add(idle)));
        }
        silent
    }
}

fn idle_ms(core: &Core) -> UnixMs {
    UnixMs::try_from(core.config.timing.idle.as_millis()).unwrap_or(UnixMs::MAX)
}

impl Primary {
    /// Ends sessions that have been silent for long.
    pub(super) fn end_silent(&mut self, core: &mut Core, now: Time, out: &mut Outbox) {
        let time = core.log_time(now);
        if self.phase != Phase::Serving || core.is_log_full() || time < self.sweep.due {
            return;
        }
        let idle = idle_ms(core);
        let clients = self.sweep.look(core.store.sessions(), time, idle);
        if !clients.is_empty() {
            let silent = Silent { before: time - idle, clients };
            self.write(core, now, Command::End(Box::new(silent)), out);
        }
    }
}
