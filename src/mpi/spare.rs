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
/// A spare looks this often by itself, in case a ring was lost. (Its end does not wait for that: a thread watches.)
const REST: Duration = Duration::from_secs(10);
/// Where rank 0 cannot ring because it is on another host, it looks this often.
const REST_REMOTE: Duration = Duration::from_millis(50);
/// While rank 0's first word is waited for, this often.
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

/// What came at one look, if rank 0 has said something of weight.
fn look<T: Transport>(transport: &mut T) -> Option<Waited> {
    let mut start = None;
    let mut early = Vec::new();
    let mut dead = Vec::new();
    let mut told_to_leave = false;
    transport.receive(&mut |from, frame| {
        let _ = decode(frame, |packet| match packet {
            Packet::Start(found) => start = Some(found),
            Packet::Control { control: Control::Leave, .. } => told_to_leave = true,
            Packet::Gone { process } if start.is_none() => dead.push(process),
            packet => early.push((from, packet)),
        });
    });
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
    loop {
        if let Some(waited) = look(transport) {
            return waited;
        }
        if is_orphan() {
            return Waited::Orphaned;
        }
        let moving = transport.is_moving();
        doorbell.rest(if can_be_rung && !moving { REST } else { REST_REMOTE });
    }
}
