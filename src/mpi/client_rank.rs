//! The loop of a further client's rank: it asks what the load says, or what comes in at its door, and tells rank 0 how
//! that goes.

use super::clock;
use super::end::{EndWatch, Ended};
use super::link::Link;
use super::log::Log;
use super::turn::{self, Acted, Hull, Node};
use crate::cluster::{DoorWord, Lodger};
use crate::core::fault::Control;
use crate::core::node::{FrontHost, Outputs};
use crate::core::protocol::client::WINDOW_MAX;
use crate::core::protocol::{Completion, METADATA, Rank, Time};
use crate::mpi::transport::{Packet, Transport};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Finished operations travel to rank 0 this often.
const FINISHED_INTERVAL: Duration = Duration::from_millis(20);
/// Word that there are none, so that what others did can be judged, travels this often.
const NONE_FINISHED_INTERVAL: Duration = Duration::from_millis(200);

/// At most this many of them travel in one piece.
const FINISHED_MAX: usize = 256;
/// A lodger's commands wait while more than this of what was finished has not been taken by rank 0, in bytes: nothing
/// of it may be lost.
const UNTOLD_BYTES_MAX: usize = 8 << 20;
/// The lodger leaves room for this many requests of the load.
const WINDOW_KEPT: usize = 1_024;
/// How much a lodger has to do is told this often.
const FIGURES_INTERVAL: Duration = Duration::from_millis(500);

/// Finished operations on their way to rank 0, where they are judged.
#[derive(Debug, Default)]
struct Finished {
    /// As many as end within the interval: no more than the load asks for in that time.
    completions: Vec<Completion>,
    last: Time,
}

impl Finished {
    fn take(&mut self, now: Time, at_once: bool, running_since: Time) -> Vec<Packet> {
        if now < self.deadline() && !at_once {
            return Vec::new();
        }
        self.last = now;
        let mut packets = Vec::new();
        let mut left = std::mem::take(&mut self.completions);
        loop {
            let rest = left.split_off(left.len().min(FINISHED_MAX));
            // What follows in the next piece is still running as far as this one says.
            let running_since = rest.iter().map(|completion| completion.call).fold(running_since, Time::min);
            packets.push(Packet::Finished { completions: left, running_since });
            if rest.is_empty() {
                return packets;
            }
            left = rest;
        }
    }

    fn deadline(&self) -> Time {
        self.last + if self.completions.is_empty() { NONE_FINISHED_INTERVAL } else { FINISHED_INTERVAL }
    }
}

/// Who lives on this rank and asks the cluster for others, and the others of its kind.
pub struct Lodging {
    /// Who.
    pub lodger: Box<dyn Lodger>,
    /// Where it is to be found.
    pub address: SocketAddr,
    /// On which ranks there are others.
    pub others: BTreeSet<Rank>,
    /// Somebody wants to know what was finished for it.
    pub is_judged: bool,
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
    lodging: Option<Lodging>,
    next_figures: Time,
}

/// Runs the client on this rank until the cluster ends.
pub fn run<T: Transport>(
    link: &mut Link<T>,
    host: FrontHost,
    lodging: Option<Lodging>,
    log: Log,
    is_orphan: &dyn Fn() -> bool,
) -> Ended {
    if let Some(lodging) = &lodging {
        link.doorbell.listen_also(lodging.lodger.bell());
        link.push(METADATA, &Packet::Door(DoorWord::Open { at: lodging.address.to_string() }));
    }
    turn::run(&mut ClientRank {
        hull: Hull::new(link, log),
        host,
        outputs: Outputs::default(),
        finished: Finished::default(),
        end: EndWatch::new(clock::now(), is_orphan),
        told_to_leave: false,
        orders: Vec::new(),
        lodging,
        next_figures: Time::default(),
    })
}

impl<'a, T: Transport> ClientRank<'a, T> {
    /// Takes what has ended. True when there was anything.
    fn hear(&mut self, now: Time) -> bool {
        let mut any = false;
        while let Some(completion) = self.host.pop_completion() {
            any = true;
            let is_told = self.lodging.as_mut().is_none_or(|lodging| {
                !lodging.lodger.answered(now, completion.seq, &completion.outcome) | lodging.is_judged
            });
            if is_told {
                self.finished.completions.push(completion);
            }
        }
        any
    }

    /// Takes on what the lodger asks for. True when there was anything.
    fn serve_lodger(&mut self, now: Time) -> bool {
        let Some(Lodging { lodger, .. }) = &mut self.lodging else { return false };
        let worked = lodger.receive(now);
        let is_ahead = self.hull.link.waiting_bytes(METADATA) > UNTOLD_BYTES_MAX;
        let room = WINDOW_MAX.saturating_sub(self.host.client().outstanding() + WINDOW_KEPT);
        let room = if is_ahead { 0 } else { room };
        let mut next = |host: &FrontHost| lodger.next_command(host.next_seq());
        worked | (self.host.submit_all(now, room, &mut next, &mut self.outputs) > 0)
    }

    /// Tells the other lodgers what this one has to say, and rank 0 how much it has to do. True when there was a word.
    fn tell_for_lodger(&mut self, now: Time) -> bool {
        let Some(Lodging { lodger, others, .. }) = &mut self.lodging else { return false };
        let mut worked = false;
        while let Some((to, word)) = lodger.next_word() {
            worked = true;
            let packet = Packet::Door(word);
            for other in others.iter().filter(|other| to.is_none_or(|to| to == **other)) {
                self.hull.link.push(*other, &packet);
            }
        }
        if now >= self.next_figures {
            self.next_figures = now + FIGURES_INTERVAL;
            self.hull.link.push(METADATA, &Packet::Door(DoorWord::Figures(lodger.figures())));
        }
        worked
    }

    /// On that rank there is no other lodger, or none any more.
    fn forget(&mut self, now: Time, rank: Rank) {
        if let Some(lodging) = &mut self.lodging
            && lodging.others.remove(&rank)
        {
            lodging.lodger.forget(now, rank);
        }
    }

    fn deadline(&self) -> Time {
        let own = self.host.deadline().min(self.host.report_deadline()).min(self.finished.deadline());
        let lodger =
            self.lodging.as_ref().map_or(Time::NEVER, |lodging| lodging.lodger.deadline().min(self.next_figures));
        own.min(self.end.deadline()).min(lodger)
    }

    /// Reports, and what has finished. Who has given an order looks at them when its end is told.
    fn tell(&mut self, now: Time) {
        let at_once = !self.orders.is_empty();
        let running_since = self.host.client().running_since(now);
        let ended = self.finished.take(now, at_once || self.told_to_leave, running_since);
        // A door takes no part in the load.
        let load = self
            .host
            .load_report(now, at_once)
            .filter(|_| self.lodging.is_none())
            .map(|report| Packet::Load(Box::new(report)));
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
            Packet::Gone { process } => {
                if let Some(rank) = self.hull.link.forget(process) {
                    self.forget(now, rank);
                }
            }
            Packet::Door(DoorWord::Shut { .. }) => self.forget(now, from),
            Packet::Placed(place) => self.hull.link.place(&place),
            Packet::Door(word) => {
                if let Some(lodging) = &mut self.lodging {
                    lodging.lodger.hear(now, from, word);
                }
            }
            _ => {}
        }
    }

    fn act(&mut self, now: Time) -> Acted<Ended> {
        self.hear(now);
        let lodged = self.serve_lodger(now);
        self.host.tick(now, &mut self.outputs);
        if self.hear(now) {
            // There is room for more now.
            self.host.tick(now, &mut self.outputs);
        }
        // Before what follows from it: rank 0 hears the cause first.
        self.tell(now);
        let told = self.tell_for_lodger(now);
        let worked = self.hull.carry_out(now, &mut self.outputs) | lodged | told;
        let end = self.end.come(now, self.told_to_leave, &mut self.hull.log);
        Acted { worked, expecting: self.host.client().outstanding() > 0, due: self.deadline(), end }
    }

    /// What the lodger has to say leaves after what the others have to hear.
    fn aside(&mut self) -> bool {
        self.lodging.iter_mut().for_each(|lodging| lodging.lodger.send());
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::Outcome;
    use crate::core::store::{ClientId, Command, Seq};

    #[test]
    fn what_comes_in_a_later_piece_is_still_running_in_an_earlier_one() {
        let completion = |number: u64| Completion {
            client: ClientId::on(3),
            seq: Seq(number),
            command: Command::Count,
            outcome: Outcome::Unknown,
            call: Time(1_000 - number),
            returned: Time(2_000),
            epoch: 1,
        };
        let count = 2 * FINISHED_MAX as u64 + 1;
        let mut finished = Finished { completions: (0..count).map(completion).collect(), last: Time(0) };
        let packets = finished.take(Time(3_000), true, Time(2_500));
        let mut untold: Vec<u64> = (0..count).rev().collect();
        for packet in packets {
            let Packet::Finished { completions, running_since } = packet else { panic!("{packet:?}") };
            completions.iter().for_each(|completion| assert_eq!(untold.pop(), Some(completion.seq.0)));
            let oldest = untold.iter().map(|number| Time(1_000 - number)).min().unwrap_or(Time(2_500));
            assert_eq!(running_since, oldest);
        }
        assert!(untold.is_empty());
    }
}
