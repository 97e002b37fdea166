//! The baseline of the benchmark: the same ranks, the same path, the same bytes, and no protocol at all.
//!
//! How fast is a store on MPI allowed to be? As fast as MPI itself carries the bytes. So the servers can
//! be told to leave the protocol for a while and to hand plain messages on, in the very processes and over
//! the very queues that the store uses a moment later. What a client then sees is the limit that the
//! store is held against.
//!
//! ```text
//! GET   client ──▶ echo ──▶ client                            forward_bytes there, back_bytes back
//! PUT   client ──▶ relay ──▶ every backup ──▶ relay ──▶ client
//! ```
//!
//! Blocking calls, one message each: the straightforward MPI program that someone would write by hand.
//! All servers stop their protocol meanwhile, those without a part as well: nobody hears a heartbeat, so
//! nobody may count the silence. Afterwards every server finds that it was itself held up, and suspects
//! no one.

use crate::core::protocol::Rank;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The first byte of a message that is handed on.
pub const GO_ON: u8 = 0;
/// The first byte of a message that ends the play.
pub const STOP: u8 = 1;
/// What a server sends to the client when it has left the protocol. The client sends nothing before that: a server that
/// takes its part later than the others, or not at all, would leave them waiting.
pub const READY: u8 = 2;
/// Who has no part looks this often whether the play is over.
const REST_NAP: Duration = Duration::from_micros(500);

/// Plain messages, and nothing in between. Blocks, as plain MPI programs do.
pub trait RawWire {
    /// Sends `bytes`.
    fn send(&mut self, to: Rank, bytes: &[u8]);

    /// Waits for a message from `from` (or from anybody), and tells from whom it is.
    fn receive(&mut self, from: Option<Rank>, buffer: &mut [u8]) -> Rank;

    /// True when a message has arrived.
    fn has_arrived(&mut self) -> bool;
}

/// What a server does until it is told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawPlay {
    /// Its part.
    pub part: RawPart,
    /// The client's rank.
    pub client: Rank,
    /// Bytes of a message away from the client.
    pub forward_bytes: u32,
    /// Bytes of a message towards the client.
    pub back_bytes: u32,
}

/// A part in the play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawPart {
    /// Answers the client at once.
    Echo,
    /// Hands everything on to all `backups`, and answers the client when all of them have answered.
    Relay { backups: Vec<Rank> },
    /// Answers the relay.
    Backup { relay: Rank },
    /// Sleeps.
    Rest,
}

/// A server's side: plays until the message comes that says stop.
pub fn play(wire: &mut dyn RawWire, play: &RawPlay) {
    wire.send(play.client, &[READY]);
    let longest = play.forward_bytes.max(play.back_bytes).max(1) as usize;
    let mut buffer = vec![GO_ON; longest];
    match &play.part {
        RawPart::Echo => answer(wire, play.client, play.back_bytes, &mut buffer),
        RawPart::Backup { relay } => answer(wire, *relay, play.back_bytes, &mut buffer),
        RawPart::Relay { backups } => relay(wire, play, backups, &mut buffer),
        RawPart::Rest => {
            while !wire.has_arrived() {
                std::thread::sleep(REST_NAP);
            }
            wire.receive(None, &mut buffer);
        }
    }
}

fn answer(wire: &mut dyn RawWire, asker: Rank, back_bytes: u32, buffer: &mut [u8]) {
    let back = vec![GO_ON; back_bytes.max(1) as usize];
    loop {
        wire.receive(Some(asker), buffer);
        if buffer[0] == STOP {
            return;
        }
        wire.send(asker, &back);
    }
}

fn relay(wire: &mut dyn RawWire, play: &RawPlay, backups: &[Rank], buffer: &mut [u8]) {
    let forward = play.forward_bytes.max(1) as usize;
    let back = vec![GO_ON; play.back_bytes.max(1) as usize];
    // How many messages each backup has answered; a message is answered when all have answered it.
    let mut acked = vec![0_u64; backups.len()];
    let mut answered = 0;
    loop {
        let from = wire.receive(None, buffer);
        if let Some(at) = backups.iter().position(|backup| *backup == from) {
            acked[at] += 1;
            while acked.iter().all(|acks| *acks > answered) {
                answered += 1;
                wire.send(play.client, &back);
            }
            continue;
        }
        let over = buffer[0] == STOP;
        for backup in backups {
            wire.send(*backup, &buffer[..if over { 1 } else { forward }]);
        }
        if over {
            return;
        }
        if backups.is_empty() {
            wire.send(play.client, &back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, unbounded};

    /// A wire of channels, one mailbox a rank.
    struct Channels {
        rank: Rank,
        mailbox: Receiver<(Rank, Vec<u8>)>,
        to: Vec<Sender<(Rank, Vec<u8>)>>,
    }

    impl RawWire for Channels {
        fn send(&mut self, to: Rank, bytes: &[u8]) {
            self.to[to.0 as usize].send((self.rank, bytes.to_vec())).unwrap();
        }

        fn receive(&mut self, from: Option<Rank>, buffer: &mut [u8]) -> Rank {
            let (sender, bytes) = self.mailbox.recv().unwrap();
            assert!(from.is_none_or(|from| from == sender));
            buffer[..bytes.len()].copy_from_slice(&bytes);
            sender
        }

        fn has_arrived(&mut self) -> bool {
            !self.mailbox.is_empty()
        }
    }

    fn wires(ranks: u32) -> Vec<Channels> {
        let (to, mailboxes): (Vec<_>, Vec<_>) = (0..ranks).map(|_| unbounded()).unzip();
        let wire = |(rank, mailbox)| Channels { rank: Rank(rank), mailbox, to: to.clone() };
        (0..ranks).zip(mailboxes).map(wire).collect()
    }

    #[test]
    fn a_relay_answers_when_all_backups_have() {
        let mut wires = wires(4).into_iter();
        let mut client = wires.next().unwrap();
        let backups = vec![Rank(2), Rank(3)];
        let parts = [
            RawPart::Relay { backups: backups.clone() },
            RawPart::Backup { relay: Rank(1) },
            RawPart::Backup { relay: Rank(1) },
        ];
        let servers: Vec<_> = wires
            .zip(parts)
            .map(|(mut wire, part)| {
                let script = RawPlay { part, client: Rank(0), forward_bytes: 32, back_bytes: 8 };
                std::thread::spawn(move || play(&mut wire, &script))
            })
            .collect();
        let mut buffer = [GO_ON; 32];
        for _ in 0..3 {
            client.receive(None, &mut buffer);
            assert_eq!(buffer[0], READY);
        }
        for _ in 0..3 {
            client.send(Rank(1), &[GO_ON; 32]);
        }
        for _ in 0..3 {
            assert_eq!(client.receive(None, &mut buffer), Rank(1));
        }
        client.send(Rank(1), &[STOP]);
        for server in servers {
            server.join().unwrap();
        }
        assert!(!client.has_arrived());
    }
}
