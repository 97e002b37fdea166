//! How a process waits: for rank 0's first word, and, if that makes it a spare, for the place of somebody who has died.
//!
//! A spare costs no processor time. It sleeps at its doorbell; rank 0 rings when it has something to say, and nobody
//! else knows it.

use crate::core::fault::Control;
use crate::core::protocol::{Rank, Time};
use crate::mpi::transport::wire::{Start, decode};
use crate::mpi::transport::{Doorbell, Packet, Transport};
use std::time::Duration;

/// How long a rank waits for rank 0's first word.
pub const START_DEADLINE: Duration = Duration::from_secs(60);
/// A spare looks this often by itself, in case a ring was lost: well before rank 0 takes it for dead
/// ([`HELLO_DEADLINE`](super::succession::HELLO_DEADLINE)). (Its end does not wait for that: a thread watches.)
const REST: Duration = Duration::from_secs(2);
/// Who was rung keeps looking for this long: a frame may be seen a moment after its ring.
const AWAKE: Duration = Duration::from_millis(20);
/// Where rank 0 cannot ring because it is on another host, it looks this often.
const REST_REMOTE: Duration = Duration::from_millis(50);
/// While rank 0's first word is waited for, or something was just rung for, this often.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// What a wait has brought.
#[derive(Debug)]
pub enum Waited {
    /// With this it starts, and this came right behind it.
    Start(Box<Start>, Vec<(Rank, Packet)>),
    /// It is told to leave.
    Leave,
    /// Nobody is there any more who could tell it anything.
    Orphaned,
}

/// What has come, if rank 0 has said something of weight. A transport may hand over one frame at a time, and there is
/// one ring for several: all of them are taken, or the word that matters would wait for the next ring.
fn look<T: Transport>(transport: &mut T) -> Option<Waited> {
    let mut start = None;
    let mut early = Vec::new();
    let mut dead = Vec::new();
    let mut told_to_leave = false;
    let mut take = |from, frame: &[u8]| {
        let _ = decode(frame, |packet| match packet {
            Packet::Start(found) => start = Some(found),
            Packet::Control { control: Control::Leave, .. } => told_to_leave = true,
            Packet::Gone { process } if start.is_none() => dead.push(process),
            packet => early.push((from, packet)),
        });
    };
    while transport.receive(&mut take) > 0 {}
    for process in dead {
        transport.forget(process);
    }
    match start {
        _ if told_to_leave => Some(Waited::Leave),
        Some(start) => Some(Waited::Start(start, early)),
        None => None,
    }
}

/// Waits for rank 0's first word.
///
/// # Errors
/// When it does not come.
pub fn wait_for_start<T: Transport>(transport: &mut T, is_orphan: &dyn Fn() -> bool) -> Result<Waited, String> {
    let begun: Time = super::clock::now();
    loop {
        if let Some(waited) = look(transport) {
            return Ok(waited);
        }
        if super::clock::now().since(begun) > START_DEADLINE || is_orphan() {
            return Err("rank 0 did not say how to start".to_owned());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Sleeps as a spare until rank 0 has a place for it.
pub fn sleep<T: Transport>(
    transport: &mut T,
    doorbell: &Doorbell,
    can_be_rung: bool,
    is_orphan: &dyn Fn() -> bool,
) -> Waited {
    let mut rung = super::clock::now();
    loop {
        if let Some(waited) = look(transport) {
            return waited;
        }
        if is_orphan() {
            return Waited::Orphaned;
        }
        let now = super::clock::now();
        let rest = match can_be_rung && !transport.is_moving() {
            true if now.since(rung) < AWAKE => LOOK_AGAIN,
            true => REST,
            false => REST_REMOTE,
        };
        if doorbell.rest(rest) {
            rung = super::clock::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::Incarnation;
    use crate::mpi::transport::wire::encode;
    use crate::mpi::transport::{Place, Process};
    use std::collections::VecDeque;

    /// Hands over one frame at a time, as MPI does, and shows the next one late.
    struct OneByOne {
        frames: VecDeque<(Time, Vec<u8>)>,
    }

    impl Transport for OneByOne {
        fn ranks(&self) -> u32 {
            5
        }

        fn receive(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
            let seen = self.frames.pop_front_if(|(at, _)| *at <= crate::mpi::clock::now());
            seen.map_or(0, |(_, frame)| {
                deliver(Rank(0), &frame);
                1
            })
        }

        fn send(&mut self, _: Rank, _: Vec<u8>) -> Result<(), Vec<u8>> {
            Ok(())
        }

        fn unsent(&self) -> usize {
            0
        }
    }

    fn frame(packet: &Packet) -> Vec<u8> {
        encode(packet, Vec::new())
    }

    fn start() -> Packet {
        let place = Place { rank: Rank(1), process: Process(3), addresses: Vec::new() };
        Packet::Start(Box::new(Start {
            seed: 1,
            pid: 1,
            host: "here".to_owned(),
            observe: false,
            ranks: 3,
            together: 5,
            several_hosts: false,
            token: 1,
            process: Process(3),
            rank: Rank(1),
            incarnation: Incarnation(1_001),
            places: vec![place],
            deathwatch: None,
            disks: None,
            door: None,
        }))
    }

    /// How long a spare sleeps that is rung once for these frames.
    fn slept_with_one_ring(job: u64, frames: Vec<(Time, Vec<u8>)>) -> Duration {
        let job = job | u64::from(std::process::id());
        let bell = Doorbell::open(job, Process(3), 5).unwrap();
        let mut rank_zero = Doorbell::open(job, Process(0), 5).unwrap();
        rank_zero.ring(Rank(3));
        let begun = crate::mpi::clock::now();
        let waited = sleep(&mut OneByOne { frames: frames.into() }, &bell, true, &|| false);
        assert!(matches!(waited, Waited::Start(..)), "{waited:?}");
        crate::mpi::clock::now().since(begun)
    }

    #[test]
    fn one_ring_is_enough_for_several_frames() {
        let now = crate::mpi::clock::now();
        let gone = |process| (now, frame(&Packet::Gone { process: Process(process) }));
        let frames = vec![gone(4), gone(1), (now, frame(&start()))];
        let slept = slept_with_one_ring(0x5ba2_0000_0000, frames);
        assert!(slept < Duration::from_secs(1), "{slept:?}");
    }

    #[test]
    fn a_ring_may_come_before_what_it_rings_for_is_seen() {
        let soon = crate::mpi::clock::now() + Duration::from_millis(5);
        let slept = slept_with_one_ring(0x5ba3_0000_0000, vec![(soon, frame(&start()))]);
        assert!(slept < Duration::from_secs(1), "{slept:?}");
    }
}
