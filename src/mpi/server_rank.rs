//! The loop of a server's rank.

use super::clock;
use super::end::{EndWatch, Ended};
use super::link::Link;
use super::log::Log;
use super::turn::{self, Acted, Hull, Node};
use crate::core::fault::Control;
use crate::core::node::{Outputs, ServerHost, Setup};
use crate::core::protocol::{METADATA, Member, Rank, Time};
use crate::core::store::work::SLICE_UNITS;
use crate::disk::{DiskNews, Scribe};
use crate::mpi::transport::raw::RawPlay;
use crate::mpi::transport::{Packet, Transport};
use std::time::Duration;

/// Once this much was done in a turn, what else has come waits for the next one.
const TURN_UNITS: u64 = 2 * SLICE_UNITS;
/// A disk that is still being read after this long is told of, and then this often.
const READING_SOON: Duration = Duration::from_millis(300);
const READING_AGAIN: Duration = Duration::from_secs(1);

/// A server on its rank.
struct ServerRank<'a, T> {
    hull: Hull<'a, T>,
    host: ServerHost,
    outputs: Outputs,
    end: EndWatch<'a>,
    told_to_leave: bool,
    /// That a disk is being read is worth no word before this.
    quiet_until: Time,
    /// It is worth a line then.
    next_line: Time,
    /// A part in the benchmark's baseline.
    part: Option<Box<RawPlay>>,
}

/// Runs the server on this rank, which begins as `me`, until the cluster ends. A disk is being opened.
pub fn run<T: Transport>(
    link: &mut Link<T>,
    me: Member,
    setup: Setup,
    disk: Option<Scribe>,
    log: Log,
    is_orphan: &dyn Fn() -> bool,
) -> Ended {
    let now = clock::now();
    let Member { rank, incarnation } = me;
    let make = if disk.is_some() { ServerHost::reading_disk } else { ServerHost::new };
    let host = make(rank, incarnation, std::process::id(), setup);
    let hull = Hull::new(link, log).with_disk(disk);
    let (end, outputs, part) = (EndWatch::new(now, is_orphan), Outputs::default(), None);
    let (quiet_until, next_line) = (now + READING_SOON, now + READING_SOON);
    turn::run(&mut ServerRank { hull, host, outputs, end, told_to_leave: false, quiet_until, next_line, part })
}

impl<'a, T: Transport> ServerRank<'a, T> {
    /// A moment's reading is no news.
    fn is_quiet(&self, now: Time) -> bool {
        self.host.is_reading_disk() && now < self.quiet_until
    }

    fn tell(&mut self, now: Time, at_once: bool) {
        if let Some(mut observation) = self.host.report(now, at_once) {
            observation.turns = Some(self.hull.turns.times());
            observation.server.iter_mut().for_each(|status| status.disk = self.hull.disk_status());
            self.hull.link.push(METADATA, &Packet::Observation(Box::new(observation)));
        }
    }

    /// Takes in what the disk has to say.
    fn hear_disk(&mut self, now: Time) {
        while let Some(news) = self.hull.disk_news() {
            match news {
                DiskNews::Durable(ticket) => self.host.durable(now, ticket, &mut self.outputs),
                DiskNews::Recovered(had) => self.host.recovered(now, *had, &mut self.outputs),
                DiskNews::Failed(why) => self.host.disk_failed(now, why, &mut self.outputs),
            }
        }
    }

    /// A disk that takes a while to read is worth a line now and then.
    fn tell_reading(&mut self, now: Time) {
        if !self.host.is_reading_disk() || now < self.next_line {
            return;
        }
        self.next_line = now + READING_AGAIN;
        if let Some((read, bytes)) = self.hull.disk_status().and_then(|status| status.reading) {
            self.host.note_reading(now, read, bytes, &mut self.outputs);
        }
    }

    fn on_order(&mut self, now: Time, id: u64, control: &Control) {
        let result = self.host.control(now, control, &mut self.outputs);
        if *control == Control::Observe {
            self.tell(now, true);
        }
        self.hull.link.push(METADATA, &Packet::ControlDone { id, result });
    }
}

impl<'a, T: Transport + 'a> Node<'a> for ServerRank<'a, T> {
    type Transport = T;
    type End = Ended;

    fn hull(&mut self) -> &mut Hull<'a, T> {
        &mut self.hull
    }

    fn packet(&mut self, now: Time, from: Rank, packet: Packet) {
        match packet {
            Packet::Message(message) => self.host.handle(now, from, message, &mut self.outputs),
            Packet::Control { control: Control::Leave, .. } => self.told_to_leave = true,
            Packet::Control { id, control } => self.on_order(now, id, &control),
            Packet::Gone { process } => drop(self.hull.link.forget(process)),
            Packet::Over { rank, before } if from == METADATA => {
                self.host.died(now, rank, before, &mut self.outputs);
            }
            Packet::Placed(place) => self.hull.link.place(&place),
            Packet::Play(play) => self.part = Some(play),
            _ => {}
        }
    }

    fn is_full(&self) -> bool {
        self.host.work() >= TURN_UNITS
    }

    fn act(&mut self, now: Time) -> Acted<Ended> {
        self.hear_disk(now);
        self.tell_reading(now);
        self.host.tick(now, &mut self.outputs);
        self.host.take_work();
        self.host.set_garbage(self.hull.link.garbage());
        // Before what follows from it: rank 0 hears the cause first.
        let quiet = self.is_quiet(now);
        if !quiet {
            self.tell(now, false);
        }
        let worked = self.hull.carry_out(now, &mut self.outputs);
        let end = if self.part.is_some() { None } else { self.end.come(now, self.told_to_leave, &mut self.hull.log) };
        let report = if quiet { self.quiet_until } else { self.host.report_deadline() };
        let due = self.host.deadline().min(report).min(self.end.deadline());
        let expecting = self.host.server().is_some_and(|server| server.queued() > 0);
        Acted { worked, expecting, due, end }
    }

    fn aside(&mut self) -> bool {
        self.part.take().is_some_and(|part| {
            self.hull.link.play(&part);
            true
        })
    }
}
