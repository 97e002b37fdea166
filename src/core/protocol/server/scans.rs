//! `KEYS` as a primary serves it: one at a time, a slice a turn, while writes go on.
//!
//! The answer is the state at the moment at which its scan began, under a lease ([`crate::core::store::scan`]). It
//! leaves only while this server could still answer any other read: so nobody hears from a primary whose time is over.

use super::Core;
use super::held::RequestQueue;
use super::primary::{Phase, Primary};
use crate::core::protocol::message::Request;
use crate::core::protocol::{Outbox, Time};
use crate::core::store::{ClientId, Reply, Scan, Seq, Touch};

/// The most `KEYS` that wait for the one that is served; more are dropped, and their clients repeat them.
const WAITING_MAX: usize = 64;

/// The scans of one primary.
#[derive(Debug, Clone, Default)]
pub(super) struct Scans {
    running: Option<Running>,
    waiting: RequestQueue,
    /// The latest answer: who repeats the question has not heard it.
    answered: Option<(ClientId, Seq, Reply)>,
    /// There is more to do than a slice.
    pub(super) is_busy: bool,
}

#[derive(Debug, Clone)]
struct Running {
    request: Request,
    scan: Scan,
    /// Found, and waiting for a lease to be told.
    reply: Option<Reply>,
}

impl Scans {
    /// How many wait or are served.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.running.is_some())
    }

    /// True while a scan wants to know what is touched.
    pub(super) fn is_noting(&self) -> bool {
        matches!(&self.running, Some(Running { reply: None, .. }))
    }

    /// Something was touched.
    pub(super) fn note(&mut self, touch: &Touch) {
        if let Some(Running { scan, reply: None, .. }) = &mut self.running {
            scan.note(touch);
        }
    }

    /// Everything that is not answered, oldest first.
    pub(super) fn take_requests(&mut self) -> impl Iterator<Item = Request> + '_ {
        let running = self.running.take().map(|running| running.request);
        running.into_iter().chain(std::iter::from_fn(|| self.waiting.pop().map(|(request, _)| request)))
    }

    fn push(&mut self, request: Request) {
        let is_it = |running: &Running| (running.request.client, running.request.seq) == (request.client, request.seq);
        if self.waiting.len() < WAITING_MAX && !self.running.as_ref().is_some_and(is_it) {
            self.waiting.push(request, None);
        }
    }
}

impl Primary {
    /// A client asks for keys, and this server may answer reads.
    pub(super) fn on_keys(&mut self, core: &Core, now: Time, request: Request, out: &mut Outbox) {
        match &self.scans.answered {
            Some((client, seq, reply)) if (*client, *seq) == (request.client, request.seq) => {
                Self::answer(core, *client, *seq, reply.clone(), out);
            }
            _ => {
                self.scans.push(request);
                // A busy one goes on once a turn, however many ask meanwhile.
                if !self.scans.is_busy {
                    self.scan_on(core, now, out);
                }
            }
        }
    }

    /// Goes on with what is asked for, by a slice.
    pub(super) fn scan_on(&mut self, core: &Core, now: Time, out: &mut Outbox) {
        let end = out.work + core.config.slice;
        self.scans.is_busy = false;
        loop {
            let may_answer = self.is_serving() && self.has_leases(core, now);
            if self.scans.running.is_none() {
                // A scan must not begin where it could not be answered at once.
                if !may_answer || self.phase != Phase::Serving {
                    return;
                }
                let Some((request, _)) = self.scans.waiting.pop() else { return };
                let Some((db, pattern)) = request.command.keys_pattern() else { continue };
                let scan = Scan::new(db, pattern);
                self.scans.running = Some(Running { request, scan, reply: None });
            }
            let Some(running) = &mut self.scans.running else { return };
            if running.reply.is_none() {
                let (units, reply) = running.scan.step(&core.store, end.saturating_sub(out.work));
                out.work += units;
                running.reply = reply;
            }
            if running.reply.is_some() {
                if !may_answer {
                    return;
                }
                let Some(Running { request, reply: Some(reply), .. }) = self.scans.running.take() else { return };
                Self::answer(core, request.client, request.seq, reply.clone(), out);
                self.scans.answered = Some((request.client, request.seq, reply));
            }
            if out.work >= end {
                self.scans.is_busy = self.scans.len() > 0;
                return;
            }
        }
    }
}
