//! Packets, and how they share a frame.
//!
//! ```text
//! frame = version (1 byte) · packet · packet · …        packet = postcard encoding, self-delimiting
//! ```
//!
//! Decoding never allocates more than the frame's own length suggests: byte strings are bounded by what
//! is left of the frame, and sequences grow as their elements are read. What cannot be understood is
//! dropped with the rest of its frame, and counted.

use super::Transport;
use super::raw::Play;
use crate::fault::Control;
use crate::protocol::{Completion, Incarnation, Message, Observation, Rank, Time};
use crate::workload::Report;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The first byte of every frame: both sides must be of the same make.
pub const WIRE_VERSION: u8 = 1;
/// A frame is handed to the network once it holds this many bytes; one packet may exceed it. MPI sends so much at once,
/// without asking the receiver first, and the receiver is at work on it while the rest of the turn is still being
/// written: with 256 requests outstanding half as fast again as one frame for the whole turn.
pub const FRAME_BYTES: usize = 2 << 10;
/// The most bytes that wait for one peer that takes no frames; further packets are dropped.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// What travels between ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Packet {
    /// The protocol's own.
    Message(Message),
    /// An order of the console to a rank.
    Control { id: u64, control: Control },
    /// The rank has carried out the order, or says why not.
    ControlDone { id: u64, result: Result<(), String> },
    /// A report to the console.
    Observation(Box<Observation>),
    /// A client to the console: how its load goes.
    Load(Box<Report>),
    /// A client to the console, for a history: what has ended; what is still running was asked at or after that time.
    Finished { completions: Vec<Completion>, running_since: Time },
    /// Rank 0 to every rank, first of all: with this you start.
    Start(Box<Start>),
    /// The answer to `Start`: I am this process.
    Hello { pid: u32, host: String },
    /// The benchmark to a server: leave the protocol alone and hand plain messages on.
    Play(Box<Play>),
    /// Rank 0 to every rank: this rank's process is dead, send it nothing.
    Gone { rank: Rank },
    /// A replacement to rank 0: `peer` can reach me under this name.
    Opened { peer: Rank, port: String },
    /// Rank 0 to a rank: `peer` is a new process, and can be reached under this name.
    Connect { peer: Rank, port: String },
}

impl Packet {
    /// True for what comes at regular intervals whether or not anything happens: no reason to stay awake.
    #[must_use]
    pub fn is_background(&self) -> bool {
        match self {
            Self::Message(message) => message.is_background(),
            Self::Observation(_) | Self::Load(_) | Self::Finished { .. } => true,
            _ => false,
        }
    }

    /// False for what its receiver may find when it next looks by itself. The primary wakes for every heartbeat that
    /// it sends, and a lease counts from when that was sent, however late the answer is read.
    #[must_use]
    pub fn wants_a_ring(&self) -> bool {
        !matches!(self, Self::Message(Message::HeartbeatOk { .. }))
    }
}

/// What rank 0 knows and the others do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The seed of all random choices.
    pub seed: u64,
    /// Rank 0's process, and the name of its host.
    pub pid: u32,
    /// The host that `pid` is on.
    pub host: String,
    /// Whether to report.
    pub observe: bool,
    /// How many ranks there are: a replacement cannot see that in its own world.
    pub ranks: u32,
    /// Which life of its server the process begins with.
    pub incarnation: Incarnation,
    /// To a replacement: the ranks that are to be let come.
    pub peers: Vec<Rank>,
}

/// A frame that could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The first byte is not [`WIRE_VERSION`].
    Version(u8),
    /// There is nothing in it.
    Empty,
    /// Packet number `at` (from 0) is no packet.
    Packet { at: usize },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(
                    f,
                    "frame of version {version}, this is version {WIRE_VERSION}: start the same program on all ranks"
                )
            }
            Self::Empty => f.write_str("empty frame"),
            Self::Packet { at } => write!(f, "packet {at} of a frame cannot be read: the rest of the frame is dropped"),
        }
    }
}

impl std::error::Error for WireError {}

/// Adds a packet to a frame, starting the frame if it is empty.
///
/// # Panics
/// Never: every packet can be encoded.
pub fn encode(packet: &Packet, frame: Vec<u8>) -> Vec<u8> {
    let mut frame = frame;
    if frame.is_empty() {
        frame.push(WIRE_VERSION);
    }
    postcard::serialize_with_flavor(packet, Append(frame)).expect("packets can be encoded")
}

/// Appends to a frame, byte strings in one piece (postcard's own way goes byte by byte).
struct Append(Vec<u8>);

impl Flavor for Append {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self::Output> {
        Ok(self.0)
    }
}

/// Hands over the packets of a frame.
///
/// # Errors
/// When the frame, or the rest of it, cannot be understood. The packets before were handed over.
pub fn decode(frame: &[u8], mut each: impl FnMut(Packet)) -> Result<(), WireError> {
    let (version, mut rest) = frame.split_first().ok_or(WireError::Empty)?;
    if *version != WIRE_VERSION {
        return Err(WireError::Version(*version));
    }
    let mut at = 0;
    while !rest.is_empty() {
        let (packet, after) = postcard::take_from_bytes::<Packet>(rest).map_err(|_| WireError::Packet { at })?;
        each(packet);
        rest = after;
        at += 1;
    }
    Ok(())
}

/// What one rank is about to send, by peer.
#[derive(Debug)]
pub struct Outgoing {
    frames: Vec<Vec<u8>>,
    /// Peers whose frame is not empty.
    dirty: Vec<Rank>,
    /// Peers that were handed a frame since the last look.
    sent: Vec<Rank>,
    dropped: u64,
}

impl Outgoing {
    /// Nothing for any of `ranks` peers.
    #[must_use]
    pub fn new(ranks: u32) -> Self {
        Self { frames: vec![Vec::new(); ranks as usize], dirty: Vec::new(), sent: Vec::new(), dropped: 0 }
    }

    /// Packets dropped because their receiver took no frames.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a packet for `to`. A full frame leaves at once.
    pub fn push(&mut self, transport: &mut impl Transport, to: Rank, packet: &Packet) {
        let Some(frame) = self.frames.get_mut(to.0 as usize) else { return };
        if frame.len() >= WAITING_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        if frame.is_empty() {
            self.dirty.push(to);
            if frame.capacity() == 0 {
                *frame = transport.buffer();
            }
        }
        *frame = encode(packet, std::mem::take(frame));
        if frame.len() >= FRAME_BYTES {
            self.hand_over(transport, to);
        }
    }

    /// Everything that was added leaves, as far as the peers take it.
    pub fn flush(&mut self, transport: &mut impl Transport) {
        let mut at = 0;
        while at < self.dirty.len() {
            let to = self.dirty[at];
            if !self.frames[to.0 as usize].is_empty() {
                self.hand_over(transport, to);
            }
            if self.frames[to.0 as usize].is_empty() {
                self.dirty.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    fn hand_over(&mut self, transport: &mut impl Transport, to: Rank) {
        let place = &mut self.frames[to.0 as usize];
        match transport.send(to, std::mem::take(place)) {
            Ok(()) if self.sent.last() != Some(&to) => self.sent.push(to),
            Ok(()) => {}
            Err(unsent) => *place = unsent,
        }
    }

    /// Drops what waits for a peer that is dead.
    pub fn forget(&mut self, to: Rank) {
        if let Some(frame) = self.frames.get_mut(to.0 as usize) {
            frame.clear();
        }
    }

    /// The peers that were handed frames since the last call (some perhaps more than once).
    pub fn take_sent(&mut self) -> impl Iterator<Item = Rank> + '_ {
        self.sent.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Request, ViewNumber};
    use crate::store::{Bytes, ClientId, Command, LogEntry, OpNumber, Reply, Seq};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
    }

    fn command() -> impl Strategy<Value = Command> {
        prop_oneof![
            bytes().prop_map(|key| Command::Get { key }),
            (bytes(), bytes()).prop_map(|(key, value)| Command::Put { key, value }),
            (bytes(), bytes()).prop_map(|(key, value)| Command::Append { key, value }),
            bytes().prop_map(|pattern| Command::Keys { pattern }),
            Just(Command::Count),
        ]
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let numbers = (any::<u32>(), any::<u64>(), any::<u64>());
        prop_oneof![
            (numbers, command()).prop_map(|((client, seq, acked), command)| {
                let (client, seq, acked) = (ClientId(client), Seq(seq), Seq(acked));
                Packet::Message(Message::Request(Request {
                    client,
                    seq,
                    acked,
                    after: acked,
                    epoch: 1,
                    command: command.into(),
                }))
            }),
            (numbers, command()).prop_map(|((client, seq, op), command)| {
                let entry =
                    LogEntry { op: OpNumber(op), client: ClientId(client), seq: Seq(seq), acked: Seq(0), command };
                Packet::Message(Message::Prepare {
                    view: ViewNumber(seq),
                    commit: OpNumber(op),
                    entry: Arc::new(entry),
                })
            }),
            (any::<u32>(), any::<u64>(), prop::collection::vec(bytes(), 0..20)).prop_map(|(client, seq, keys)| {
                let (client, seq, view) = (ClientId(client), Seq(seq), ViewNumber(seq));
                Packet::Message(Message::Reply { client, seq, view, reply: Reply::Keys(keys) })
            }),
            (any::<u64>(), any::<u64>()).prop_map(|(view, op)| Packet::Message(Message::PrepareOk {
                view: ViewNumber(view),
                incarnation: Incarnation(op),
                op: OpNumber(op),
            })),
            (any::<u64>(), ".*").prop_map(|(id, why)| Packet::ControlDone { id, result: Err(why) }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_sent_arrives(packets in prop::collection::vec(packet(), 0..20)) {
            let frame = packets.iter().fold(vec![WIRE_VERSION], |frame, packet| encode(packet, frame));
            let mut arrived = Vec::new();
            prop_assert_eq!(decode(&frame, |packet| arrived.push(packet)), Ok(()));
            prop_assert_eq!(arrived, packets);
        }

        #[test]
        fn garbage_is_refused_without_panic(garbage in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&garbage, |_| {});
            let mut frame = vec![WIRE_VERSION];
            frame.extend(garbage);
            let _ = decode(&frame, |_| {});
        }

        #[test]
        fn a_damaged_frame_is_refused_without_panic(
            packets in prop::collection::vec(packet(), 1..5),
            at: usize,
            bit in 0u8..8,
        ) {
            let mut frame = packets.iter().fold(vec![WIRE_VERSION], |frame, packet| encode(packet, frame));
            let at = at % frame.len();
            frame[at] ^= 1 << bit;
            let _ = decode(&frame, |_| {});
            frame.truncate(at);
            let _ = decode(&frame, |_| {});
        }
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        // A `Keys` reply that claims to hold 2^60 keys.
        let reply = Reply::Keys(Vec::new());
        let message = Message::Reply { client: ClientId(0), seq: Seq(1), view: ViewNumber(1), reply };
        let mut frame = encode(&Packet::Message(message), Vec::new());
        frame.pop();
        frame.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(decode(&frame, |_| {}), Err(WireError::Packet { at: 0 }));
        assert_eq!(decode(&[], |_| {}), Err(WireError::Empty));
        assert_eq!(decode(&[9, 1], |_| {}), Err(WireError::Version(9)));
    }
}
