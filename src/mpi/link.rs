//! A rank's way to the others: packets out, packets in, and who has to be woken.

use super::pace::YIELDING;
use crate::core::protocol::{Rank, Time};
use crate::mpi::transport::raw::{RawPlay, play};
use crate::mpi::transport::wire::{Outgoing, Packet, decode};
use crate::mpi::transport::{Doorbell, Place, Process, RawWire, Transport};
use std::time::Duration;

/// A peer that was not heard to do anything but its background chores for this long probably naps or sleeps (it looks
/// again at once for twice as long, see [`super::pace`]): a frame for it comes with a ring.
const ASLEEP_AFTER: Duration = Duration::from_micros(25);
const _: () = assert!(ASLEEP_AFTER.as_nanos() * 2 <= YIELDING.as_nanos());
/// Once rung, a peer needs no second ring for this long.
const RING_INTERVAL: Duration = YIELDING;

/// Transport, frames being filled, and the doorbell.
#[derive(Debug)]
pub struct Link<T> {
    transport: T,
    outgoing: Outgoing,
    /// The bell, once the job's number is known.
    pub doorbell: Doorbell,
    /// When each peer last did something, as far as was heard here.
    heard: Vec<Time>,
    rung: Vec<Time>,
    /// Peers for whom something was added that should not wait until they look by themselves.
    urgent: Vec<bool>,
    last_flush: Time,
    /// Everybody naps as soon as there is nothing to do.
    is_crowded: bool,
    garbage: u64,
    inbox: Vec<(Rank, Packet)>,
}

impl<T: Transport> Link<T> {
    /// The way of this rank to all others.
    pub fn new(transport: T, doorbell: Doorbell) -> Self {
        let ranks = transport.ranks();
        Self {
            outgoing: Outgoing::new(ranks),
            heard: vec![Time::default(); ranks as usize],
            rung: vec![Time::default(); ranks as usize],
            urgent: vec![false; ranks as usize],
            last_flush: Time::default(),
            is_crowded: false,
            garbage: 0,
            inbox: Vec::new(),
            doorbell,
            transport,
        }
    }

    /// Frames, or rests of frames, that could not be understood.
    pub fn garbage(&self) -> u64 {
        self.garbage
    }

    /// Takes in what has arrived; what was left over of an earlier time comes first, and alone. Look at the clock
    /// *after* this: a server that was held up between the two would otherwise judge its lease by an old time.
    pub fn receive(&mut self) -> Vec<(Rank, Packet)> {
        let mut inbox = std::mem::take(&mut self.inbox);
        if !inbox.is_empty() {
            return inbox;
        }
        let garbage = &mut self.garbage;
        self.transport.receive(&mut |from, frame| {
            if decode(frame, |packet| inbox.push((from, packet))).is_err() {
                *garbage += 1;
            }
        });
        inbox
    }

    /// Gives the emptied inbox back, to be used again. `rest` is what there was no time for.
    pub fn handled(&mut self, inbox: Vec<(Rank, Packet)>, rest: Vec<(Rank, Packet)>) {
        debug_assert!(inbox.is_empty());
        self.inbox = if rest.is_empty() { inbox } else { rest };
    }

    /// `packet` came from `from`: unless it is a chore of the background, that rank is awake.
    pub fn heard(&mut self, from: Rank, packet: &Packet, now: Time) {
        if let Some(heard) = self.heard.get_mut(from.0 as usize).filter(|_| !packet.is_background()) {
            *heard = now;
        }
    }

    /// Adds a packet to the frame for `to`.
    pub fn push(&mut self, to: Rank, packet: &Packet) {
        if let Some(urgent) = self.urgent.get_mut(to.0 as usize) {
            *urgent |= packet.wants_a_ring();
        }
        self.outgoing.push(&mut self.transport, to, packet);
    }

    /// Everything leaves; who probably sleeps is woken.
    pub fn flush(&mut self, now: Time) {
        self.outgoing.flush(&mut self.transport);
        // A rank that has slept, or was held up, does not know how old is what it has just heard.
        let late = self.is_crowded || now.since(self.last_flush) > ASLEEP_AFTER;
        self.last_flush = now;
        for to in self.outgoing.take_sent() {
            let at = to.0 as usize;
            let asleep = late || now.since(self.heard[at]) > ASLEEP_AFTER;
            if std::mem::take(&mut self.urgent[at]) && asleep && now.since(self.rung[at]) > RING_INTERVAL {
                self.rung[at] = now;
                self.doorbell.ring(to);
            }
        }
    }

    /// Whether peers are to be taken for awake because they were a moment ago: not where everybody naps at once.
    pub fn set_crowded(&mut self, is_crowded: bool) {
        self.is_crowded = is_crowded;
    }

    /// Frames that peers have not taken yet.
    pub fn unsent(&self) -> usize {
        self.transport.unsent()
    }

    /// So much waits for a peer that has not taken it yet.
    pub fn waiting_bytes(&self, to: Rank) -> usize {
        self.outgoing.waiting_bytes(to)
    }

    /// This process is dead: nothing is sent to it any more. Returns which rank it was.
    pub fn forget(&mut self, process: Process) -> Option<Rank> {
        let rank = self.transport.forget(process)?;
        self.outgoing.forget(rank);
        self.doorbell.forget(rank);
        Some(rank)
    }

    /// From now on that rank is that process.
    pub fn place(&mut self, place: &Place) {
        self.transport.place(place);
        self.outgoing.forget(place.rank);
        self.doorbell.place(place.rank, place.process);
        // It may be asleep, however lately its predecessor was heard.
        let at = place.rank.0 as usize;
        if let (Some(heard), Some(rung)) = (self.heard.get_mut(at), self.rung.get_mut(at)) {
            (*heard, *rung) = (Time::default(), Time::default());
        }
    }

    /// Packets that came before this rank could do anything with them: the next [`Link::receive`] begins with them.
    pub fn put_back(&mut self, early: Vec<(Rank, Packet)>) {
        self.inbox = early;
    }

    /// The transport, for what it does in the background.
    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// True while frames are on their way piece by piece, in or out.
    pub fn is_moving(&self) -> bool {
        self.transport.is_moving()
    }

    /// The wire below, for the benchmark's baseline.
    pub fn raw(&mut self) -> Option<&mut dyn RawWire> {
        self.transport.raw()
    }

    /// Takes a part in the benchmark's baseline, until it is over. Meanwhile nothing else happens here.
    pub fn play(&mut self, part: &RawPlay) {
        if let Some(wire) = self.transport.raw() {
            play(wire, part);
        }
    }

    /// The transport, to end it.
    pub fn into_transport(self) -> T {
        self.transport
    }
}
