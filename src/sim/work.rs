//! How long a turn takes: in proportion to what it takes in, does, and says.
//!
//! The figures are those of an ordinary machine, rounded up. They are not there to measure speed, but so that one
//! turn that does too much is felt by everybody who waits for a heartbeat.

use crate::core::protocol::{Message, SnapshotPart};
use crate::core::store::{Chunk, Reply};
use std::time::Duration;

/// A turn, whatever it does.
pub const TURN_NS: u64 = 1_000;
/// A message is taken in, or sent.
pub const MESSAGE_NS: u64 = 500;
/// A byte of a key or a value is encoded or decoded.
pub const BYTE_NS: u64 = 2;
/// A unit of what a server counts itself.
pub const UNIT_NS: u64 = 100;
/// A key is looked at for a part of a snapshot.
pub const KEY_NS: u64 = 300;
/// A write is applied.
pub const APPLY_NS: u64 = 400;

/// What was done in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    messages: u64,
    bytes: u64,
    keys: u64,
    units: u64,
    /// Writes applied.
    pub applied: u64,
}

impl Work {
    /// A message is taken in, or sent.
    pub fn message(&mut self, message: &Message) {
        self.messages += 1;
        match message {
            Message::Relay(relay) => {
                self.messages -= 1;
                self.message(&relay.carried());
            }
            Message::Request(request) => self.bytes += request.command.size_bytes() as u64,
            Message::Reply { reply, .. } => self.reply(reply),
            Message::Prepare { entry, .. } => self.bytes += entry.command.size_bytes() as u64,
            Message::StartView { tail, .. } => {
                self.bytes += tail.iter().map(|entry| entry.command.size_bytes() as u64).sum::<u64>();
                self.messages += tail.len() as u64;
            }
            Message::Snapshot { part, .. } => match &**part {
                SnapshotPart::Chunk(chunk) => self.chunk(chunk),
                SnapshotPart::Finale(finale) => self.chunk(&finale.rest),
                SnapshotPart::Missing(entries) => {
                    self.bytes += entries.iter().map(|entry| entry.command.size_bytes() as u64).sum::<u64>();
                    self.messages += entries.len() as u64;
                }
                SnapshotPart::NoneMissing => {}
            },
            _ => {}
        }
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Value(value) => self.bytes += value.len() as u64,
            // It is packed, and copied as a whole.
            Reply::Keys(keys) => self.bytes += (keys.size_bytes() / 4) as u64,
            _ => {}
        }
    }

    fn chunk(&mut self, chunk: &Chunk) {
        self.keys += chunk.len() as u64;
        self.bytes += chunk.size_bytes() as u64;
    }

    /// What a server has counted itself, in units of [`crate::core::store::work`].
    pub fn counted(&mut self, units: u64) {
        self.units += units;
    }

    /// How long all of it takes.
    #[must_use]
    pub fn takes(&self) -> Duration {
        let Self { messages, bytes, keys, units, applied } = self;
        let counted = units * UNIT_NS;
        let told = messages * MESSAGE_NS + bytes * BYTE_NS + keys * KEY_NS + applied * APPLY_NS;
        Duration::from_nanos(TURN_NS + counted.max(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::ViewNumber;
    use crate::core::store::{Bytes, ClientId, Seq};

    #[test]
    fn a_long_answer_takes_longer_but_not_long() {
        let keys = |count: usize| {
            let reply = Reply::Keys((0..count).map(|key| Bytes::from(format!("user:{key:06}"))).collect());
            let mut work = Work::default();
            work.message(&Message::Reply { client: ClientId::on(0), seq: Seq(1), view: ViewNumber(1), reply });
            work.takes()
        };
        assert!(keys(1) < Duration::from_micros(3));
        assert!(keys(100_000) > Duration::from_micros(500), "{:?}", keys(100_000));
        assert!(keys(100_000) < Duration::from_millis(3), "{:?}", keys(100_000));
    }
}
