//! The loop of a further client's rank: it asks what the load says, and tells rank 0 how that goes.

use super::clock;
use super::end::{End, Ended};
use super::link::Link;
use super::log::Log;
use super::pace::{Pace, Waiting};
use super::turns::Turns;
use crate::core::fault::Control;
use crate::core::node::host::{FrontHost, Sink};
use crate::core::protocol::{Completion, METADATA, Message, Rank, Time};
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

/// Runs the client on this rank until the cluster ends.
pub fn run<T: Transport>(link: &mut Link<T>, mut host: FrontHost, mut log: Log, is_orphan: &dyn Fn() -> bool) -> Ended {
    let mut pace = Pace::new(clock::now());
    let mut end = End::new(clock::now(), is_orphan);
    let mut sends: Vec<(Rank, Message)> = Vec::new();
    let mut finished = Finished::default();
    let mut turns = Turns::new(clock::now());
    loop {
        let mut inbox = link.receive();
        let now = clock::now();
        let heard = !inbox.is_empty();
        let mut worked = inbox.iter().any(|(_, packet)| !packet.is_background());
        let mut told_to_leave = false;
        let mut at_once = false;
        let mut answers = Vec::new();
        {
            let mut sink =
                Sink { emit: &mut |to, message| sends.push((to, message)), tell: &mut |event| log.event(now, event) };
            for (from, packet) in inbox.drain(..) {
                link.heard(from, &packet, now);
                match packet {
                    Packet::Message(message) => host.handle(now, from, message, &mut sink),
                    Packet::Control { control: Control::Leave, .. } => told_to_leave = true,
                    Packet::Gone { process } => {
                        link.forget(process);
                    }
                    Packet::Placed(place) => link.place(&place),
                    Packet::Control { id, control } => {
                        let result = host.control(now, &control, &mut sink);
                        at_once = true;
                        answers.push(Packet::ControlDone { id, result });
                    }
                    _ => {}
                }
            }
            host.tick(now, &mut sink);
            let before = finished.completions.len();
            while let Some(completion) = host.pop_completion() {
                finished.completions.push(completion);
            }
            if finished.completions.len() > before {
                // There is room for more now.
                host.tick(now, &mut sink);
            }
        }
        link.handled(inbox, Vec::new());
        for (to, message) in sends.drain(..) {
            worked |= !message.is_background();
            link.push(to, &Packet::Message(message));
        }
        // The reports first: who has asked looks at them when the answer comes.
        let load = host.load_report(now, at_once).map(|report| Packet::Load(Box::new(report)));
        let observation = if at_once { Some(host.report_at_once(now)) } else { host.report(now) };
        let observation = observation.map(|mut observation| {
            observation.turns = Some(turns.times());
            Packet::Observation(Box::new(observation))
        });
        let ended = finished.take(now, at_once || told_to_leave, host.client().running_since(now));
        for packet in ended.into_iter().chain(load).chain(observation).chain(answers) {
            link.push(METADATA, &packet);
        }
        link.flush(now);
        log.tick(now);
        if let Some(ended) = end.come(now, told_to_leave, &mut log) {
            return ended;
        }
        let due = host.deadline().min(host.report_deadline()).min(finished.deadline()).min(end.deadline());
        let expecting = host.client().outstanding() > 0;
        turns.end(clock::now(), heard || worked, &mut log);
        if pace.wait(now, worked, Waiting { heard, expecting, moving: link.is_moving(), due }, &link.doorbell) {
            turns.begin(clock::now());
        }
    }
}
