//! Packets, and how they share a frame.
//!
//! ```text
//! frame = version (1 byte) · packet · packet · …        packet = postcard encoding, self-delimiting
//! ```
//!
//! Decoding never allocates more than the frame's own length suggests: byte strings are bounded by what
//! is left of the frame, and sequences grow as their elements are read. What cannot be understood is
//! dropped with the rest of its frame, and counted.

use super::raw::RawPlay;
use super::sockets::Job;
use super::{Place, Process, Transport};
use crate::core::fault::{Control, ControlError};
use crate::core::load::Report;
use crate::core::node::doors::DoorWord;
use crate::core::protocol::{Completion, Incarnation, Message, Observation, Rank, Time};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

/// The first byte of every frame: both sides must be of the same make.
pub const WIRE_VERSION: u8 = 2;
/// A frame is handed to the network once it holds this many bytes; one packet may exceed it. MPI sends so much at once,
/// without asking the receiver first, and the receiver is at work on it while the rest of the turn is still being
/// written: with 256 requests outstanding half as fast again as one frame for the whole turn.
pub const FRAME_BYTES: usize = 2 << 10;
/// What waits because its receiver takes no frames is put into frames of this many bytes (one packet may exceed it):
/// to take in a longer one would hold up the receiver.
pub const WAITING_FRAME_BYTES: usize = 64 << 10;
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
    ControlDone { id: u64, result: Result<(), ControlError> },
    /// A report to the console.
    Observation(Box<Observation>),
    /// A client to the console: how its load goes.
    Load(Box<Report>),
    /// A client to the console, for a history: what has ended; what is still running was asked at or after that time.
    Finished { completions: Vec<Completion>, running_since: Time },
    /// Rank 0 to every rank, first of all: with this you start.
    Start(Box<Start>),
    /// The answer to `Start`: I am this process, and listen there if I came later and there are several hosts.
    Hello { pid: u32, host: String, addresses: Vec<SocketAddr> },
    /// The benchmark to a server: leave the protocol alone and hand plain messages on.
    Play(Box<RawPlay>),
    /// Rank 0 to every process: this one is dead, send it nothing.
    Gone { process: Process },
    /// Rank 0 to every server: all lives of the server on that rank before this one are over, for certain.
    Over { rank: Rank, before: Incarnation },
    /// Rank 0 to every process: that rank is that process from now on.
    Placed(Place),
    /// A door to another one, or to rank 0 and back.
    Door(DoorWord),
}

impl Packet {
    /// True for what comes at regular intervals whether or not anything happens: no reason to stay awake.
    #[must_use]
    pub fn is_background(&self) -> bool {
        match self {
            Self::Message(message) => message.is_background(),
            Self::Observation(_) | Self::Load(_) | Self::Finished { .. } => true,
            Self::Door(word) => matches!(word, DoorWord::Figures(_) | DoorWord::Facts(_)),
            _ => false,
        }
    }

    /// False for what its receiver may find when it next looks by itself. The primary wakes for every heartbeat that
    /// it sends, and a lease counts from when that was sent, however late the answer is read.
    #[must_use]
    pub fn wants_a_ring(&self) -> bool {
        !matches!(
            self,
            Self::Message(Message::HeartbeatOk { .. }) | Self::Door(DoorWord::Figures(_) | DoorWord::Facts(_))
        )
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
    /// How many ranks there are; behind them come the spares.
    pub ranks: u32,
    /// This many processes were started together, spares included.
    pub together: u32,
    /// Whether they run on more than one host.
    pub several_hosts: bool,
    /// Random: whoever knows it belongs to the job.
    pub token: u128,
    /// Which process this is,
    pub process: Process,
    /// and which rank it is from now on. A spare is none yet, and has its number as a process.
    pub rank: Rank,
    /// Which life of its server the process begins with.
    pub incarnation: Incarnation,
    /// Who the ranks are.
    pub places: Vec<Place>,
    /// The descriptor of rank 0's process that leads to the locks of those on its host ([`super::deathwatch`]).
    pub deathwatch: Option<i32>,
    /// With disks: the number of the cluster, and how often it was started before.
    pub disks: Option<(u64, u64)>,
    /// Where the door is, if further ranks are to open theirs there.
    pub door: Option<SocketAddr>,
}

impl Start {
    /// A number that the processes of this job share, and no other job.
    #[must_use]
    pub fn job(&self) -> Job {
        Job { number: self.seed ^ (u64::from(self.pid) << 32), token: self.token }
    }

    /// The same for a process that is still where it was in the beginning.
    #[must_use]
    pub fn for_process(&self, process: Process) -> Self {
        let place = |rank| Place { rank: Rank(rank), process: Process(rank), addresses: Vec::new() };
        let is_spare = process.0 >= self.ranks;
        let places = (0..self.ranks).map(place).chain(is_spare.then(|| place(process.0))).collect();
        Self { process, rank: Rank(process.0), places, ..self.clone() }
    }

    /// Whether the process is to sleep until it is needed.
    #[must_use]
    pub fn is_for_a_spare(&self) -> bool {
        self.rank.0 >= self.ranks
    }
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
    peers: Vec<Queue>,
    /// Peers with something waiting.
    dirty: Vec<Rank>,
    /// Peers that were handed a frame since the last look.
    sent: Vec<Rank>,
    dropped: u64,
}

/// What waits for one peer.
#[derive(Debug, Default)]
struct Queue {
    /// The frame that is being filled.
    filling: Vec<u8>,
    /// Frames that are long enough, and were not taken, oldest first.
    full: VecDeque<Vec<u8>>,
    /// Bytes of these.
    full_bytes: usize,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.filling.is_empty() && self.full.is_empty()
    }
}

impl Outgoing {
    /// Nothing for any of `ranks` peers.
    #[must_use]
    pub fn new(ranks: u32) -> Self {
        let peers = (0..ranks).map(|_| Queue::default()).collect();
        Self { peers, dirty: Vec::new(), sent: Vec::new(), dropped: 0 }
    }

    /// Packets dropped because their receiver took no frames.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a packet for `to`. A full frame leaves at once.
    pub fn push(&mut self, transport: &mut impl Transport, to: Rank, packet: &Packet) {
        let Some(queue) = self.peers.get_mut(to.0 as usize) else { return };
        if queue.full_bytes + queue.filling.len() >= WAITING_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        if queue.is_empty() {
            self.dirty.push(to);
        }
        if queue.filling.capacity() == 0 {
            queue.filling = transport.buffer();
        }
        queue.filling = encode(packet, std::mem::take(&mut queue.filling));
        if queue.filling.len() >= FRAME_BYTES {
            self.hand_over(transport, to);
        }
    }

    /// Everything that was added leaves, as far as the peers take it.
    pub fn flush(&mut self, transport: &mut impl Transport) {
        let mut at = 0;
        while at < self.dirty.len() {
            let to = self.dirty[at];
            self.hand_over(transport, to);
            if self.peers[to.0 as usize].is_empty() {
                self.dirty.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// What waits for `to` leaves, in order, as far as it is taken.
    fn hand_over(&mut self, transport: &mut impl Transport, to: Rank) {
        let queue = &mut self.peers[to.0 as usize];
        while let Some(frame) = queue.full.pop_front() {
            let bytes = frame.len();
            if let Err(unsent) = transport.send(to, frame) {
                queue.full.push_front(unsent);
                break;
            }
            queue.full_bytes -= bytes;
            note(&mut self.sent, to);
        }
        if queue.filling.is_empty() {
            return;
        }
        let frame = std::mem::take(&mut queue.filling);
        let taken = if queue.full.is_empty() { transport.send(to, frame) } else { Err(frame) };
        match taken {
            Ok(()) => note(&mut self.sent, to),
            Err(unsent) if unsent.len() < WAITING_FRAME_BYTES => queue.filling = unsent,
            Err(unsent) => {
                queue.full_bytes += unsent.len();
                queue.full.push_back(unsent);
            }
        }
    }

    /// So much waits for a peer that takes no frames.
    #[must_use]
    pub fn waiting_bytes(&self, to: Rank) -> usize {
        self.peers.get(to.0 as usize).map_or(0, |queue| queue.full_bytes + queue.filling.len())
    }

    /// Drops what waits for a peer that is dead.
    pub fn forget(&mut self, to: Rank) {
        if let Some(queue) = self.peers.get_mut(to.0 as usize) {
            *queue = Queue::default();
            self.dirty.retain(|dirty| *dirty != to);
        }
    }

    /// The peers that were handed frames since the last call (some perhaps more than once).
    pub fn take_sent(&mut self) -> impl Iterator<Item = Rank> + '_ {
        self.sent.drain(..)
    }
}

fn note(sent: &mut Vec<Rank>, to: Rank) {
    if sent.last() != Some(&to) {
        sent.push(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Request, ViewNumber};
    use crate::core::store::{Bytes, ClientId, Command, KeyList, LogEntry, OpNumber, Reply, Seq, Stamp};
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
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
        prop_oneof![
            (numbers, command()).prop_map(|((client, seq, acked), command)| {
                let (client, seq, acked) = (ClientId::from(client), Seq(seq), Seq(acked));
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
                let entry = LogEntry {
                    op: OpNumber(op),
                    client: client.into(),
                    seq: Seq(seq),
                    acked: Seq(0),
                    stamp: Stamp::default(),
                    command,
                };
                Packet::Message(Message::Prepare {
                    view: ViewNumber(seq),
                    commit: OpNumber(op),
                    entry: Arc::new(entry),
                })
            }),
            (any::<u64>(), any::<u64>(), prop::collection::vec(bytes(), 0..20)).prop_map(|(client, seq, keys)| {
                let (client, seq, view) = (ClientId::from(client), Seq(seq), ViewNumber(seq));
                Packet::Message(Message::Reply { client, seq, view, reply: Reply::Keys(keys.iter().collect()) })
            }),
            (any::<u64>(), any::<u64>()).prop_map(|(view, op)| Packet::Message(Message::PrepareOk {
                view: ViewNumber(view),
                incarnation: Incarnation(op),
                op: OpNumber(op),
            })),
            (any::<u64>(), any::<u32>())
                .prop_map(|(id, rank)| Packet::ControlDone { id, result: Err(ControlError::NotDown(Rank(rank))) }),
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

    /// A network that takes frames only while its window is open.
    struct SendWindow {
        open: usize,
        taken: Vec<Vec<u8>>,
    }

    impl Transport for SendWindow {
        fn ranks(&self) -> u32 {
            2
        }
        fn receive(&mut self, _: &mut dyn FnMut(Rank, &[u8])) -> usize {
            0
        }
        fn send(&mut self, _: Rank, frame: Vec<u8>) -> Result<(), Vec<u8>> {
            if self.open == 0 {
                return Err(frame);
            }
            self.open -= 1;
            self.taken.push(frame);
            Ok(())
        }
        fn unsent(&self) -> usize {
            0
        }
    }

    #[test]
    fn what_waits_for_a_slow_receiver_comes_in_order_and_in_frames_that_it_can_bear() {
        let mut window = SendWindow { open: 3, taken: Vec::new() };
        let mut outgoing = Outgoing::new(2);
        let packet = |number: u64| {
            let command = Command::Get { key: Bytes::from("k".repeat(500)) };
            let seq = Seq(number);
            let (client, acked, after) = (ClientId::on(0), Seq(0), Seq(0));
            Packet::Message(Message::Request(Request { client, seq, acked, after, epoch: 1, command: command.into() }))
        };
        for number in 0..1_000 {
            outgoing.push(&mut window, Rank(1), &packet(number));
            if number == 500 {
                window.open = 2;
            }
        }
        outgoing.flush(&mut window);
        window.open = usize::MAX;
        outgoing.flush(&mut window);
        let mut arrived = Vec::new();
        for frame in &window.taken {
            assert!(frame.len() < WAITING_FRAME_BYTES + 1_000, "{} bytes", frame.len());
            assert_eq!(decode(frame, |packet| arrived.push(packet)), Ok(()));
        }
        assert_eq!((arrived, outgoing.dropped()), ((0..1_000).map(packet).collect(), 0));
        assert!(window.taken.len() < 30, "{} frames", window.taken.len());
        window.open = 0;
        for number in 0..200_000 {
            outgoing.push(&mut window, Rank(1), &packet(number));
        }
        assert!(outgoing.dropped() > 0);
        outgoing.forget(Rank(1));
        window = SendWindow { open: 1, taken: Vec::new() };
        outgoing.flush(&mut window);
        assert_eq!(window.taken.len(), 0, "nothing waits for the dead");
        outgoing.push(&mut window, Rank(1), &packet(0));
        outgoing.flush(&mut window);
        assert_eq!(window.taken.len(), 1);
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        // A `Keys` reply that claims to hold 2^60 bytes.
        let reply = Reply::Keys(KeyList::default());
        let message = Message::Reply { client: ClientId::on(0), seq: Seq(1), view: ViewNumber(1), reply };
        let mut frame = encode(&Packet::Message(message), Vec::new());
        frame.pop();
        frame.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(decode(&frame, |_| {}), Err(WireError::Packet { at: 0 }));
        assert_eq!(decode(&[], |_| {}), Err(WireError::Empty));
        assert_eq!(decode(&[9, 1], |_| {}), Err(WireError::Version(9)));
    }
}
