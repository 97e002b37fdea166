//! One turn of a rank's loop, whatever lives on the rank.
//!
//! ```text
//!   ┌─▶ receive packets ─▶ look at the clock ─▶ node: packets, orders, time ─▶ frames leave ─▶ wait ─┐
//!   └───────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The clock is looked at *after* packets were received: a rank that was held up between the two would otherwise judge
//! its lease by an old time.

use super::clock;
use super::link::Link;
use super::log::Log;
use super::pace::{Awaited, Pace};
use super::transport::{Packet, Transport};
use super::turns::Turns;
use crate::core::node::Outputs;
use crate::core::protocol::{DiskStatus, Rank, Time};
use crate::disk::{DiskNews, Scribe};
use std::time::Duration;

/// A turn that begins this long after the one before is worth a line in the log: no nap is that long.
const HELD_UP: Duration = Duration::from_millis(30);

/// What every rank's loop works with.
#[derive(Debug)]
pub struct Hull<'a, T> {
    /// The way to the others.
    pub link: &'a mut Link<T>,
    /// The log file.
    pub log: Log,
    /// How long turns take.
    pub turns: Turns,
    /// This rank's disk.
    disk: Option<Scribe>,
    pace: Pace,
    turned: Time,
}

impl<'a, T: Transport> Hull<'a, T> {
    /// Before the first turn.
    pub fn new(link: &'a mut Link<T>, log: Log) -> Self {
        let now = clock::now();
        let pace = Pace::new(now, link.transport().gives_way());
        Self { link, log, turns: Turns::new(now), disk: None, pace, turned: now }
    }

    /// The same with a disk.
    pub fn with_disk(self, disk: Option<Scribe>) -> Self {
        Self { disk, ..self }
    }

    /// What the disk has to say next.
    pub fn disk_news(&self) -> Option<DiskNews> {
        self.disk.as_ref()?.news()
    }

    /// What is on this rank's disk.
    pub fn disk_status(&self) -> Option<DiskStatus> {
        self.disk.as_ref().map(Scribe::status)
    }

    /// Carries out what a host wants done. True when more than chores of the background has left: whoever asks will be
    /// answered, and should be awake then.
    pub fn carry_out(&mut self, now: Time, outputs: &mut Outputs) -> bool {
        outputs.events.drain(..).for_each(|event| self.log.event(now, &event));
        if let Some(disk) = &self.disk {
            outputs.disk.drain(..).for_each(|order| disk.order(order));
        }
        let mut worked = false;
        for (to, message) in outputs.sends.drain(..) {
            worked |= !message.is_background();
            self.link.push(to, &Packet::Message(message));
        }
        worked
    }

    /// What came before this moment was no turn.
    pub fn begin_anew(&mut self) {
        self.turned = clock::now();
        self.turns.begin(self.turned);
    }
}

/// What a turn came to.
#[derive(Debug)]
pub struct Acted<E> {
    /// Something was done that others will want to go on with.
    pub worked: bool,
    /// An answer to something that was sent is on its way.
    pub expecting: bool,
    /// At this moment there is something to do in any case.
    pub due: Time,
    /// The loop ends.
    pub end: Option<E>,
}

/// What lives on a rank, as its loop sees it.
pub trait Node<'a> {
    /// How frames travel.
    type Transport: Transport + 'a;
    /// What the loop ends with.
    type End;

    /// What the loop works with.
    fn hull(&mut self) -> &mut Hull<'a, Self::Transport>;

    /// Takes in a packet.
    fn packet(&mut self, now: Time, from: Rank, packet: Packet);

    /// True when so much was done in this turn that what else has come waits for the next one.
    fn is_full(&self) -> bool {
        false
    }

    /// Does everything else: what time asks for, what is to be told. What it has to say is pushed onto the link.
    fn act(&mut self, now: Time) -> Acted<Self::End>;

    /// Everything has left. True when something else was done now that is no part of a turn.
    fn aside(&mut self) -> bool {
        false
    }
}

/// Turns until the node ends.
pub fn run<'a, N: Node<'a>>(node: &mut N) -> N::End {
    node.hull().begin_anew();
    loop {
        if let Some(end) = turn(node) {
            return end;
        }
    }
}

/// One turn, and as much of a rest after it as makes sense.
pub fn turn<'a, N: Node<'a>>(node: &mut N) -> Option<N::End> {
    let mut inbox = node.hull().link.receive();
    let now = clock::now();
    let hull = node.hull();
    if now.since(hull.turned) > HELD_UP {
        hull.log.line(now, &format!("this loop was held up for {:.1?}", now.since(hull.turned)));
    }
    hull.turned = now;
    hull.link.set_crowded(hull.pace.is_crowded(now));
    let heard = !inbox.is_empty();
    let mut worked = inbox.iter().any(|(_, packet)| !packet.is_background());
    let mut packets = inbox.drain(..);
    // By ones: what is done with one may be all that can be done in this turn.
    while !node.is_full()
        && let Some((from, packet)) = packets.next()
    {
        node.hull().link.heard(from, &packet, now);
        node.packet(now, from, packet);
    }
    let rest: Vec<(Rank, Packet)> = packets.collect();
    worked |= !rest.is_empty();
    node.hull().link.handled(inbox, rest);
    let acted = node.act(now);
    worked |= acted.worked;
    node.hull().link.flush(now);
    if node.aside() {
        node.hull().begin_anew();
        return acted.end;
    }
    let hull = node.hull();
    hull.log.tick(now);
    if acted.end.is_some() {
        return acted.end;
    }
    hull.turns.end(clock::now(), heard || worked, &mut hull.log);
    let moving = hull.link.is_moving();
    let waiting = Awaited { heard, expecting: acted.expecting, moving, due: acted.due };
    if hull.pace.wait(now, worked, waiting, &hull.link.doorbell) {
        hull.turns.begin(clock::now());
    }
    None
}
