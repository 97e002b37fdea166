//! The loop of a further client's rank: it asks what the load says, and tells rank 0 how that goes.

use super::clock;
use super::end::{EndWatch, Ended};
use super::link::Link;
use super::log::Log;
use super::turn::{self, Acted, Hull, Node};
use crate::core::fault::Control;
use crate::core::node::{FrontHost, Outputs};
use crate::core::protocol::{Completion, METADATA, Rank, Time};
use crate::mpi::transport::{Packet, Transport};
use std::time::Duration;

/// Finished operations travel to rank 0 this often.
const FINISHED_INTERVAL: Duration = Duration::from_millis(20);
/// Word that there are none, so that what others did can be judged, travels this often.
const NONE_FINISHED_INTERVAL: Duration = Duration::from_millis(200);

/// Finished operations on their way to rank 0, where they are judged.
#[derive(Debug, Default)]
struct Finished {
    /// As many as end within the interval: no more than the load asks for in that time.
    completions: Vec<Completion>,
    last: Time,
}

impl Finished {
    fn take(&mut self, now: Time, at_once: bool, running_since: Time) -> Option<Packet> {
        if now < self.deadline() && !at_once {
            return None;
        }
        self.last = now;
        Some(Packet::Finished { completions: std::mem::take(&mut self.completions), running_since })
    }

    fn deadline(&self) -> Time {
        self.last + if self.completions.is_empty() { NONE_FINISHED_INTERVAL } else { FINISHED_INTERVAL }
    }
}

/// A client on its rank.
struct ClientRank<'a, T> {
    hull: Hull<'a, T>,
    host: FrontHost,
    outputs: Outputs,
    finished: Finished,
    end: EndWatch<'a>,
    told_to_leave: bool,
    /// The ends of orders; they are told last.
    orders: Vec<Packet>,
}

/// Runs the client on this rank until the cluster ends.
pub fn run<T: Transport>(link: &mut Link<T>, host: FrontHost, log: Log, is_orphan: &dyn Fn() -> bool) -> Ended {
    turn::run(&mut ClientRank {
        hull: Hull::new(link, log),
        host,
        outputs: Outputs::default(),
        finished: Finished::default(),
        end: EndWatch::new(clock::now(), is_orphan),
        told_to_leave: false,
        orders: Vec::new(),
    })
}

impl<'a, T: Transport> ClientRank<'a, T> {
    /// Reports, and what has finished. Who has given an order looks at them when its end is told.
    fn tell(&mut self, now: Time) {
        let at_once = !self.orders.is_empty();
        let running_since = self.host.client().running_since(now);
        let ended = self.finished.take(now, at_once || self.told_to_leave, running_since);
        let load = self.host.load_report(now, at_once).map(|report| Packet::Load(Box::new(report)));
        let observation = if at_once { Some(self.host.report_at_once(now)) } else { self.host.report(now) };
        let observation = observation.map(|mut observation| {
            observation.turns = Some(self.hull.turns.times());
            Packet::Observation(Box::new(observation))
        });
        for packet in ended.into_iter().chain(load).chain(observation).chain(self.orders.drain(..)) {
            self.hull.link.push(METADATA, &packet);
        }
    }
}

impl<'a, T: Transport + 'a> Node<'a> for ClientRank<'a, T> {
    type Transport = T;
    type End = Ended;

    fn hull(&mut self) -> &mut Hull<'a, T> {
        &mut self.hull
    }

    fn packet(&mut self, now: Time, from: Rank, packet: Packet) {
        match packet {
            Packet::Message(message) => self.host.handle(now, from, message, &mut self.outputs),
            Packet::Control { control: Control::Leave, .. } => self.told_to_leave = true,
            Packet::Control { id, control } => {
                let result = self.host.control(now, &control, &mut self.outputs);
                self.orders.push(Packet::ControlDone { id, result });
            }
            Packet::Gone { process } => drop(self.hull.link.forget(process)),
            Packet::Placed(place) => self.hull.link.place(&place),
            _ => {}
        }
    }

    fn act(&mut self, now: Time) -> Acted<Ended> {
        self.host.tick(now, &mut self.outputs);
        let before = self.finished.completions.len();
        self.finished.completions.extend(std::iter::from_fn(|| self.host.pop_completion()));
        if self.finished.completions.len() > before {
            // There is room for more now.
            self.host.tick(now, &mut self.outputs);
        }
        // Before what follows from it: rank 0 hears the cause first.
        self.tell(now);
        let worked = self.hull.carry_out(now, &mut self.outputs);
        let end = self.end.come(now, self.told_to_leave, &mut self.hull.log);
        let deadline = self.host.deadline().min(self.host.report_deadline());
        let due = deadline.min(self.finished.deadline()).min(self.end.deadline());
        Acted { worked, expecting: self.host.client().outstanding() > 0, due, end }
    }
}
