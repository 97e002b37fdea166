//! One client's part of the load: what to ask next, and when; what came back, and how soon.

use super::checker::{Checker, Expected, Finding, KEYS};
use super::mix::Load;
use super::{LoadOrder, Report};
use crate::core::protocol::{Completion, Outcome, Rank, Time};
use crate::core::store::{Command, Reply, Seq};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most requests that the load has outstanding at each client.
pub const WINDOW: usize = 32;
/// One write in this many counts, the others put.
const COUNTS_ONE_IN: u64 = 4;
/// A client that falls behind its rate makes up for at most this much time.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);
/// Reports are made this often.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// The rate is that of the last this much time.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// The load of one client.
#[derive(Debug)]
pub struct Loader {
    order: Option<LoadOrder>,
    draws: Load,
    checker: Checker,
    outstanding: BTreeMap<Seq, Expected>,
    writes: u64,
    /// With a rate: the next request is due.
    next_at: Time,
    report: Report,
    /// Since when an answer has been waited for.
    waiting_since: Time,
    primary: Option<Rank>,
    next_report: Time,
    /// What was done when the rate was last told, and when that was.
    rate_from: (Time, u64),
}

impl Loader {
    /// The load of the client on `rank`: nothing yet.
    #[must_use]
    pub fn new(rank: Rank, seed: u64) -> Self {
        let draws = Load::new(seed ^ (u64::from(rank.0) << 32), KEYS, 0.0, 0).with_popular_keys();
        Self {
            order: None,
            draws,
            checker: Checker::new(rank.0),
            outstanding: BTreeMap::new(),
            writes: 0,
            next_at: Time::default(),
            report: Report { clients: 1, ..Report::default() },
            waiting_since: Time::default(),
            primary: None,
            next_report: Time::NEVER,
            rate_from: (Time::default(), 0),
        }
    }

    /// Begins anew with this load; `None` asks nothing more.
    pub fn set(&mut self, now: Time, order: Option<LoadOrder>) {
        self.order = order;
        self.report.workload = order.map(|order| order.workload);
        self.next_report = now;
        if let Some(order) = order {
            self.draws.set_reads(order.workload.reads());
            let Report { lost, duplicated, first_fault, .. } = std::mem::take(&mut self.report);
            let workload = Some(order.workload);
            self.report = Report { clients: 1, workload, lost, duplicated, first_fault, ..Report::default() };
            self.next_at = now;
            self.waiting_since = now;
            self.rate_from = (now, 0);
        }
    }

    /// What to ask under this number now, if anything.
    pub fn next(&mut self, now: Time, seq: Seq) -> Option<Command> {
        let order = self.order?;
        if self.outstanding.len() >= WINDOW {
            return None;
        }
        if let Some(rate) = order.per_second {
            if now < self.next_at {
                return None;
            }
            let earliest = now - CATCH_UP_MAX;
            self.next_at = self.next_at.max(earliest) + Duration::from_secs_f64(1.0 / rate);
        }
        if self.outstanding.is_empty() {
            self.waiting_since = now;
        }
        let (key, reads) = self.draws.draw();
        self.writes += u64::from(!reads);
        let (command, expected) = if reads {
            self.checker.read(key)
        } else if self.writes.is_multiple_of(COUNTS_ONE_IN) {
            self.checker.count()
        } else {
            self.checker.write(key)
        };
        self.outstanding.insert(seq, expected);
        Some(command)
    }

    /// An operation of this client has ended; true when it was one of the load's.
    pub fn ended(&mut self, completion: &Completion) -> bool {
        let Some(expected) = self.outstanding.remove(&completion.seq) else { return false };
        match &completion.outcome {
            Outcome::Unknown => self.report.unanswered += 1,
            Outcome::Done(reply) => {
                self.report.unanswered += u64::from(matches!(reply, Reply::Error(_)));
                self.report.operations += 1;
                self.report.latencies.record(completion.returned.since(completion.call));
                self.report.downtime = self.report.downtime.max(completion.returned.since(self.waiting_since));
                self.waiting_since = completion.returned;
            }
        }
        match self.checker.judge(expected, completion) {
            Finding::Fine | Finding::Nothing => {}
            Finding::Lost(text) => {
                self.report.lost += 1;
                self.report.fault(text);
            }
            Finding::Duplicated(text) => {
                self.report.duplicated += 1;
                self.report.fault(text);
            }
        }
        true
    }

    /// The client believes that this server is the primary.
    pub fn led_by(&mut self, primary: Option<Rank>) {
        if primary.is_some() && self.primary != primary {
            self.report.failovers += u64::from(self.primary.is_some());
            self.primary = primary;
        }
    }

    /// When [`Loader::next`] has something, unless an answer comes before.
    #[must_use]
    pub fn deadline(&self) -> Time {
        match self.order {
            None => Time::NEVER,
            Some(_) if self.outstanding.len() >= WINDOW => Time::NEVER,
            Some(LoadOrder { per_second: Some(_), .. }) => self.next_at,
            // There is room: at once.
            Some(_) => Time::default(),
        }
    }

    /// When [`Loader::report`] has something.
    #[must_use]
    pub fn report_deadline(&self) -> Time {
        self.next_report
    }

    /// The report that is due, if one is; with `at_once`, in any case.
    pub fn report(&mut self, now: Time, at_once: bool) -> Option<Report> {
        if now < self.next_report && !at_once {
            return None;
        }
        let is_over = self.order.is_none() && self.outstanding.is_empty();
        self.next_report = if is_over { Time::NEVER } else { now + REPORT_INTERVAL };
        let (since, before) = self.rate_from;
        let passed = now.since(since);
        if is_over {
            self.report.per_second = 0;
        } else if passed >= RATE_INTERVAL || self.report.per_second == 0 {
            let done = (self.report.operations - before) as f64;
            self.report.per_second = (done / passed.as_secs_f64().max(1e-3)) as u64;
            if passed >= RATE_INTERVAL {
                self.rate_from = (now, self.report.operations);
            }
        }
        if !self.outstanding.is_empty() {
            self.report.downtime = self.report.downtime.max(now.since(self.waiting_since));
        }
        Some(self.report.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Workload;
    use super::*;
    use crate::core::store::ClientId;

    fn ms(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn answer(loader: &mut Loader, seq: u64, call: Time, returned: Time) {
        let outcome = Outcome::Done(Reply::Nil);
        let (client, command) = (ClientId::on(0), Command::Count);
        let completion = Completion { client, seq: Seq(seq), command, outcome, call, returned, epoch: 1 };
        assert!(loader.ended(&completion));
    }

    #[test]
    fn as_fast_as_it_goes_keeps_a_window_outstanding() {
        let mut loader = Loader::new(Rank(3), 1);
        assert_eq!(loader.next(ms(1), Seq(1)), None);
        loader.set(ms(1), Some(LoadOrder { workload: Workload::C, per_second: None }));
        let asked = (1..).take_while(|seq| loader.next(ms(1), Seq(*seq)).is_some()).count();
        assert_eq!((asked, loader.deadline()), (WINDOW, Time::NEVER));
        answer(&mut loader, 1, ms(1), ms(2));
        assert!(loader.deadline() < ms(2) && loader.next(ms(2), Seq(100)).is_some());
        loader.set(ms(3), None);
        assert_eq!((loader.next(ms(3), Seq(101)), loader.deadline()), (None, Time::NEVER));
    }

    #[test]
    fn a_rate_is_kept_and_what_was_missed_is_not_made_up_for() {
        let mut loader = Loader::new(Rank(3), 1);
        loader.set(ms(1), Some(LoadOrder { workload: Workload::C, per_second: Some(100.0) }));
        let mut seq = 0;
        let mut run = |loader: &mut Loader, from: u64, to: u64| {
            let before = seq;
            for now in from..to {
                while loader.next(ms(now), Seq(seq + 1)).is_some() {
                    seq += 1;
                    answer(loader, seq, ms(now), ms(now));
                }
            }
            seq - before
        };
        assert!((99..=101).contains(&run(&mut loader, 1, 1_001)));
        assert!(run(&mut loader, 9_000, 9_001) <= 11);
    }

    #[test]
    fn downtime_is_time_without_an_answer_while_somebody_waits() {
        let mut loader = Loader::new(Rank(3), 1);
        loader.set(ms(1), Some(LoadOrder { workload: Workload::C, per_second: Some(1.0) }));
        assert!(loader.next(ms(1), Seq(1)).is_some());
        answer(&mut loader, 1, ms(1), ms(11));
        // Nobody waits for nine hundred milliseconds.
        assert!(loader.next(ms(1_001), Seq(2)).is_some());
        assert_eq!(loader.report(ms(1_021), true).map(|report| report.downtime), Some(Duration::from_millis(20)));
        answer(&mut loader, 2, ms(1_001), ms(1_051));
        let report = loader.report(ms(1_100), true).expect("at once");
        assert_eq!((report.operations, report.downtime), (2, Duration::from_millis(50)));
        assert_eq!((report.lost, report.duplicated), (0, 0));
    }
}
