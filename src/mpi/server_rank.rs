//! The loop of a server's rank.

use super::clock;
use super::end::{End, Ended};
use super::link::Link;
use super::log::Log;
use super::pace::{Pace, Waiting};
use super::turns::Turns;
use crate::core::fault::Control;
use crate::core::node::host::{ServerHost, Setup, Sink};
use crate::core::protocol::{Incarnation, METADATA, Message, Rank};
use crate::core::store::work::SLICE_UNITS;
use crate::mpi::transport::{Packet, Transport};
use std::time::Duration;

/// A turn that took longer than this is worth a line in the log: no nap is that long.
pub const HELD_UP: Duration = Duration::from_millis(30);
/// Once this much was done in a turn, what else has come waits for the next one.
const TURN_UNITS: u64 = 2 * SLICE_UNITS;

/// Runs the server on this rank until the cluster ends.
pub fn run<T: Transport>(
    link: &mut Link<T>,
    mut host: ServerHost,
    mut log: Log,
    is_orphan: &dyn Fn() -> bool,
) -> Ended {
    let mut pace = Pace::new(clock::now());
    let mut turned = clock::now();
    let mut turns = Turns::new(turned);
    let mut end = End::new(clock::now(), is_orphan);
    let mut sends: Vec<(Rank, Message)> = Vec::new();
    loop {
        let mut inbox = link.receive();
        let now = clock::now();
        if now.since(turned) > HELD_UP {
            log.line(now, &format!("this loop was held up for {:.1?}", now.since(turned)));
        }
        turned = now;
        let heard = !inbox.is_empty();
        let mut worked = inbox.iter().any(|(_, packet)| !packet.is_background());
        let mut told_to_leave = false;
        let mut part = None;
        let mut rest = Vec::new();
        {
            let mut sink =
                Sink { emit: &mut |to, message| sends.push((to, message)), tell: &mut |event| log.event(now, event) };
            host.take_work();
            let mut packets = inbox.drain(..);
            // By ones: what is done with one may be all that can be done in this turn.
            while host.work() < TURN_UNITS
                && let Some((from, packet)) = packets.next()
            {
                link.heard(from, &packet, now);
                match packet {
                    Packet::Message(message) => host.handle(now, from, message, &mut sink),
                    Packet::Control { control: Control::Leave, .. } => told_to_leave = true,
                    Packet::Gone { process } => {
                        link.forget(process);
                    }
                    Packet::Placed(place) => link.place(&place),
                    Packet::Play(play) => part = Some(play),
                    Packet::Control { id, control } => {
                        let result = host.control(now, &control, &mut sink);
                        if control == Control::Observe
                            && let Some(mut observation) = host.report(now, true)
                        {
                            observation.turns = Some(turns.times());
                            link.push(METADATA, &Packet::Observation(Box::new(observation)));
                        }
                        link.push(METADATA, &Packet::ControlDone { id, result });
                    }
                    _ => {}
                }
            }
            rest.extend(packets);
            host.tick(now, &mut sink);
        }
        worked |= !rest.is_empty();
        link.handled(inbox, rest);
        for (to, message) in sends.drain(..) {
            // Who asks will be answered, and should be awake then.
            worked |= !message.is_background();
            link.push(to, &Packet::Message(message));
        }
        host.set_garbage(link.garbage());
        if let Some(mut observation) = host.report(now, false) {
            observation.turns = Some(turns.times());
            link.push(METADATA, &Packet::Observation(Box::new(observation)));
        }
        link.flush(now);
        if let Some(part) = part {
            link.play(&part);
            turned = clock::now();
            turns.begin(turned);
            continue;
        }
        log.tick(now);
        if let Some(ended) = end.come(now, told_to_leave, &mut log) {
            return ended;
        }
        let due = host.deadline().min(host.report_deadline()).min(end.deadline());
        let expecting = host.server().is_some_and(|server| server.queued() > 0);
        turns.end(clock::now(), heard || worked, &mut log);
        if pace.wait(now, worked, Waiting { heard, expecting, moving: link.is_moving(), due }, &link.doorbell) {
            turns.begin(clock::now());
        }
    }
}

/// A server's host as rank 0's first word describes it.
#[must_use]
pub fn host(rank: Rank, incarnation: Incarnation, setup: Setup) -> ServerHost {
    ServerHost::new(rank, incarnation, std::process::id(), setup)
}
