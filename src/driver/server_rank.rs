//! The loop of a server's rank.

use super::clock;
use super::host::{ServerHost, Setup, Sink};
use super::link::Link;
use super::log::Log;
use super::pace::{Pace, Waiting};
use crate::fault::Control;
use crate::protocol::{METADATA, Message, Rank, Time};
use crate::transport::{Packet, Transport};
use std::time::Duration;

/// The operating system is asked this often whether this rank still has a reason to live.
const ORPHAN_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The console said so.
    Told,
    /// mpirun or rank 0 is gone.
    Orphaned,
}

/// Runs the server on this rank until the cluster ends.
pub fn run<T: Transport>(
    link: &mut Link<T>,
    mut host: ServerHost,
    mut log: Log,
    is_orphan: &dyn Fn() -> bool,
) -> Ended {
    let mut pace = Pace::new(clock::now());
    let mut next_check = clock::now() + ORPHAN_CHECK_INTERVAL;
    let mut sends: Vec<(Rank, Message)> = Vec::new();
    loop {
        let mut inbox = link.receive();
        let now = clock::now();
        let worked = inbox.iter().any(|(_, packet)| !packet.is_background());
        let mut told_to_leave = false;
        let mut part = None;
        {
            let mut sink =
                Sink { emit: &mut |to, message| sends.push((to, message)), tell: &mut |event| log.event(now, event) };
            for (from, packet) in inbox.drain(..) {
                link.heard(from, now);
                match packet {
                    Packet::Message(message) => host.handle(now, from, message, &mut sink),
                    Packet::Control { control: Control::Leave, .. } => told_to_leave = true,
                    Packet::Control { id, control } => {
                        let result = host.control(now, &control, &mut sink);
                        if control == Control::Observe
                            && let Some(observation) = host.report(now, true)
                        {
                            link.push(METADATA, &Packet::Observation(Box::new(observation)));
                        }
                        link.push(METADATA, &Packet::ControlDone { id, result });
                    }
                    Packet::Play(play) => part = Some(play),
                    _ => {}
                }
            }
            host.tick(now, &mut sink);
        }
        link.handled(inbox);
        for (to, message) in sends.drain(..) {
            link.push(to, &Packet::Message(message));
        }
        host.set_garbage(link.garbage());
        if let Some(observation) = host.report(now, false) {
            link.push(METADATA, &Packet::Observation(Box::new(observation)));
        }
        link.flush(now);
        if let Some(part) = part {
            link.play(&part);
            continue;
        }
        log.tick(now);
        if told_to_leave {
            log.line(now, "told to leave");
            log.flush();
            return Ended::Told;
        }
        if now >= next_check {
            next_check = now + ORPHAN_CHECK_INTERVAL;
            if is_orphan() {
                log.line(now, "mpirun or rank 0 is gone");
                log.flush();
                return Ended::Orphaned;
            }
        }
        let due = host.deadline().min(host.report_deadline()).min(next_check);
        let waiting = Waiting { expecting: false, moving: link.is_moving(), due };
        pace.wait(now, worked, waiting, &link.doorbell);
    }
}

/// A server's host as rank 0's first word describes it.
#[must_use]
pub fn host(rank: Rank, setup: Setup) -> ServerHost {
    ServerHost::new(rank, crate::protocol::Incarnation(1), std::process::id(), setup)
}

/// How long a rank waits for rank 0's first word.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// Waits for rank 0's first word.
///
/// # Errors
/// When it does not come.
pub fn wait_for_start<T: Transport>(
    transport: &mut T,
    is_orphan: &dyn Fn() -> bool,
) -> Result<crate::transport::wire::Start, String> {
    let begun: Time = clock::now();
    loop {
        let mut start = None;
        transport.receive(&mut |_, frame| {
            let _ = crate::transport::wire::decode(frame, |packet| {
                if let Packet::Start(found) = packet {
                    start = Some(*found);
                }
            });
        });
        if let Some(start) = start {
            return Ok(start);
        }
        if clock::now().since(begun) > START_DEADLINE || is_orphan() {
            return Err("rank 0 did not say how to start".to_owned());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
