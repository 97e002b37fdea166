//! Hostile input: whatever bytes come from outside, nobody panics, and nobody believes them.
//!
//! Every decoder is handed bytes at random, and valid input that was damaged. (The same functions are fuzzed with
//! coverage: `tests/fuzz`.) And a server's loop that receives garbage from a peer drops it and counts it.

#[path = "fuzz/decoders.rs"]
mod decoders;

use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use understudy::check::{Operation, json};
use understudy::core::fault::Control;
use understudy::core::node::{Outputs, Setup};
use understudy::core::protocol::detour::{Carried, Relay};
use understudy::core::protocol::{
    Config, Incarnation, METADATA, Member, Message, Observation, Outcome, Rank, Reason, Request, SnapshotPart, Time,
    View, ViewNumber,
};
use understudy::core::store::{ClientId, Command, Exporter, LogEntry, OpNumber, Reply, Seq, Stamp, Store};
use understudy::mpi::end::Ended;
use understudy::mpi::log::Log;
use understudy::mpi::transport::wire::{decode, encode};
use understudy::mpi::transport::{Doorbell, Packet, Process, Transport};
use understudy::mpi::{Link, clock, server_rank};
use understudy::sim::World;
use understudy::ui::commands::table::COMMANDS;

// ---- valid input -------------------------------------------------------------------------------

fn put(number: u64) -> Command {
    Command::Put { key: format!("k{number}").into(), value: "v".repeat(usize::from(number as u8)).into() }
}

fn entry(number: u64) -> LogEntry {
    LogEntry {
        op: OpNumber(number),
        client: ClientId::on(0),
        seq: Seq(number),
        acked: Seq(0),
        stamp: Stamp::default(),
        command: put(number),
    }
}

fn view() -> Arc<View> {
    let member = |rank| Member { rank: Rank(rank), incarnation: Incarnation(1) };
    Arc::new(View { number: ViewNumber(3), epoch: 1, primary: member(1), backups: vec![member(2), member(3)] })
}

/// A frame with messages of many kinds.
fn valid_frame() -> Vec<u8> {
    let (client, seq, view_number, op) = (ClientId::on(0), Seq(7), ViewNumber(3), OpNumber(9));
    let request = Request { client, seq, acked: Seq(5), after: Seq(6), epoch: 1, command: put(200).into() };
    let reply = Reply::Keys(["a", &"b".repeat(40)].iter().collect());
    let tail = (1..4).map(|number| Arc::new(entry(number))).collect();
    let messages = [
        Message::Request(request),
        Message::Reply { client, seq, view: view_number, reply },
        Message::ViewIs { view: view() },
        Message::ChangeView { to: view(), reason: Reason::Handover, confirms: None },
        Message::Prepare { view: view_number, commit: op, entry: Arc::new(entry(8)) },
        Message::PrepareOk { view: view_number, incarnation: Incarnation(1), op },
        Message::StartView { view: view(), commit: op, tail, sent: Time(5) },
        Message::Join { member: view().primary, offer: None },
        Message::Relay(Box::new(Relay {
            from: Rank(1),
            to: Rank(0),
            by: Rank(2),
            unheard: true,
            message: Carried::ChangeView { to: view(), reason: Reason::Handover, confirms: None },
        })),
    ];
    let parts = snapshot_parts().into_iter().enumerate();
    let parts = parts.map(|(index, part)| Message::Snapshot {
        view: view_number,
        to: Incarnation(2),
        transfer: 1,
        index: index as u64,
        part: Arc::new(part),
    });
    let orders = [Control::Cut { peer: Rank(2), cut: true }, Control::Delay { ms: 1.5 }, Control::Leave];
    let orders = orders.into_iter().map(|control| Packet::Control { id: 4, control });
    let packets = messages.into_iter().chain(parts).map(Packet::Message).chain(orders);
    packets.fold(Vec::new(), |frame, packet| encode(&packet, frame))
}

fn snapshot_parts() -> Vec<SnapshotPart> {
    let mut store = Store::default();
    (1..20).for_each(|number| drop(store.apply(entry(number))));
    let mut exporter = Exporter::default();
    let mut parts: Vec<_> = std::iter::from_fn(|| exporter.next_chunk(&store)).map(SnapshotPart::Chunk).collect();
    parts.push(SnapshotPart::Finale(Box::new(exporter.finish(&store))));
    parts
}

fn valid_snapshot() -> Vec<u8> {
    let parts = snapshot_parts().into_iter();
    parts.flat_map(|part| postcard::to_stdvec(&part).expect("a part can be encoded")).collect()
}

fn valid_history() -> Vec<u8> {
    let operation = |(number, outcome): (u64, Outcome)| Operation {
        client: ClientId::on(1),
        seq: Seq(number),
        epoch: 1 + (number as u32 % 2),
        command: if number == 2 { Command::Get { key: b"\xff\n"[..].into() } } else { put(number) },
        returned: (outcome != Outcome::Unknown).then_some(Time(number + 10)),
        outcome,
        call: Time(number),
    };
    let outcomes = [Outcome::Done(Reply::Ok), Outcome::Done(Reply::Nil), Outcome::Unknown];
    let operations: Vec<_> = (1..).zip(outcomes).map(operation).collect();
    let mut text = Vec::new();
    json::write(&operations, &mut text).expect("memory can be written");
    text
}

#[test]
fn what_is_damaged_below_was_whole() {
    let mut packets = 0;
    decode(&valid_frame(), |_| packets += 1).expect("the frame is valid");
    assert!(packets > 10);
    assert_eq!(json::read(&*valid_history()).expect("the history is valid").len(), 3);
    let whole = valid_snapshot();
    let (_, rest) = postcard::take_from_bytes::<SnapshotPart>(&whole).expect("the snapshot is valid");
    assert!(!rest.is_empty());
    for (name, decoder, valid) in decoders_with_input() {
        println!("{name}: {} bytes", valid.len());
        decoder(&valid);
    }
}

type Decoder = fn(&[u8]);

fn decoders_with_input() -> [(&'static str, Decoder, Vec<u8>); 5] {
    let lines: Vec<u8> = COMMANDS.iter().flat_map(|spec| format!("{} ", spec.example).into_bytes()).collect();
    [
        ("frame", decoders::frame, valid_frame()),
        ("snapshot", decoders::snapshot, valid_snapshot()),
        ("history", decoders::history, valid_history()),
        ("console", decoders::console, lines),
        ("door", decoders::door, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nSET \"a b\" c\r\n".to_vec()),
    ]
}

/// What can become of bytes on their way.
#[derive(Debug, Clone)]
enum Damage {
    Flip {
        at: prop::sample::Index,
        bit: u8,
    },
    Set {
        at: prop::sample::Index,
        byte: u8,
    },
    Insert {
        at: prop::sample::Index,
        bytes: Vec<u8>,
    },
    Cut {
        at: prop::sample::Index,
    },
    /// A length that lies: the largest number that a variable-length integer holds.
    Lie {
        at: prop::sample::Index,
    },
    Double {
        at: prop::sample::Index,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set { at, byte }),
        (at(), prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
        at().prop_map(|at| Damage::Cut { at }),
        at().prop_map(|at| Damage::Lie { at }),
        at().prop_map(|at| Damage::Double { at }),
    ]
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage {
        if bytes.is_empty() {
            break;
        }
        let place = |at: &prop::sample::Index| at.index(bytes.len());
        match one {
            Damage::Flip { at, bit } => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Damage::Set { at, byte } => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Damage::Insert { at, bytes: more } => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Cut { at } => bytes.truncate(at.index(bytes.len())),
            Damage::Lie { at } => {
                let at = place(at);
                bytes.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
            }
            Damage::Double { at } => {
                let tail = bytes[at.index(bytes.len())..].to_vec();
                bytes.extend(tail);
            }
        }
    }
    bytes
}

/// Separators, quotes, escapes, brackets, signs, and a little to stand between them.
const TELLING: &[u8] = b"\0\t\n\x0b\x0c\r \"'\\*$+-:,.;[]{}()<>=019xneaGET\x7f\x80\xff";

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (_, decoder, _) in decoders_with_input() {
            decoder(&bytes);
        }
        let mut frame = vec![valid_frame()[0]];
        frame.extend(&bytes);
        decoders::frame(&frame);
    }

    /// Bytes that mean something to a reader of text stand beside each other more often than by chance.
    #[test]
    fn any_text_is_survived(bytes in prop::collection::vec(prop::sample::select(TELLING), 0..60)) {
        for (_, decoder, _) in decoders_with_input() {
            decoder(&bytes);
        }
    }

    #[test]
    fn damaged_input_is_survived(damage in prop::collection::vec(damage(), 1..6)) {
        for (_, decoder, valid) in decoders_with_input() {
            decoder(&damaged(valid, &damage));
        }
    }
}

/// A `Multi` in a `Multi`, or a reply in a reply, takes two bytes a level: a frame could have a million.
#[test]
fn values_that_lie_in_each_other_too_deeply_are_refused() {
    let wrap = |inner: Command| Command::multi(vec![inner], Vec::new());
    let nested = |levels: usize| (0..levels).fold(put(1), |inner, _| wrap(inner));
    let read = |bytes: &[u8]| postcard::from_bytes::<Command>(bytes).is_ok();
    assert!(read(&postcard::to_stdvec(&nested(2)).expect("it can be encoded")));
    assert!(!read(&postcard::to_stdvec(&nested(50)).expect("it can be encoded")));
    // The bytes that begin a level, a million times.
    let (one, two) = (postcard::to_stdvec(&nested(1)).expect("bytes"), postcard::to_stdvec(&nested(2)).expect("bytes"));
    let same = one.iter().zip(&two).take_while(|(one, two)| one == two).count();
    assert!(!read(&one[..same].repeat(1_000_000)));
    let reply = postcard::to_stdvec(&Reply::Array(vec![Reply::Array(Vec::new())])).expect("bytes");
    for level in [Reply::Array(vec![Reply::Ok]), Reply::Set(vec![Reply::Ok])] {
        let begins = &postcard::to_stdvec(&level).expect("bytes")[..2];
        assert!(postcard::from_bytes::<Reply>(&begins.repeat(1_000_000)).is_err());
    }
    // And afterwards what is not deep is read as before.
    assert!(postcard::from_bytes::<Reply>(&reply).is_ok());
}

// ---- garbage over the wire ---------------------------------------------------------------------

/// A network that delivers what it was given, and keeps what was sent.
struct Wire {
    arriving: VecDeque<(Rank, Vec<u8>)>,
    sent: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Transport for Wire {
    fn ranks(&self) -> u32 {
        3
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        let Some((from, frame)) = self.arriving.pop_front() else { return 0 };
        deliver(from, &frame);
        1
    }

    fn send(&mut self, _: Rank, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        self.sent.borrow_mut().push(frame);
        Ok(())
    }

    fn unsent(&self) -> usize {
        0
    }
}

#[test]
fn a_server_that_receives_garbage_drops_it_counts_it_and_goes_on() {
    let order = |id, control| (METADATA, encode(&Packet::Control { id, control }, Vec::new()));
    let mut broken = valid_frame();
    broken.truncate(broken.len() / 2);
    broken.extend([0xff; 12]);
    let garbage = [Vec::new(), vec![0xff; 64], b"GET / HTTP/1.1\r\n".to_vec(), broken];
    let count = garbage.len() as u64;
    let mut arriving: VecDeque<_> = garbage.into_iter().map(|frame| (Rank(2), frame)).collect();
    arriving.extend([order(1, Control::Observe), order(2, Control::Observe), order(3, Control::Leave)]);

    let sent = Rc::new(RefCell::new(Vec::new()));
    let job = u64::from(std::process::id()) << 20 | 0x6a5b;
    let doorbell = Doorbell::open(job, Process(1), 3).expect("a socket can be had");
    let mut link = Link::new(Wire { arriving, sent: Rc::clone(&sent) }, doorbell);
    let setup = Setup { config: Config::new(2), seed: 1, failure_rate: 0.0, recover_after: None, observe: true };
    let log = Log::create(None, Rank(1), clock::now());
    let me = Member { rank: Rank(1), incarnation: Incarnation(1) };
    let ended = server_rank::run(&mut link, me, setup, None, log, &|| false);
    assert_eq!(ended, Ended::Told);
    assert_eq!(link.garbage(), count);

    let mut reports: Vec<Observation> = Vec::new();
    for frame in sent.borrow().iter() {
        decode(frame, |packet| {
            if let Packet::Observation(report) = packet {
                reports.push(*report);
            }
        })
        .expect("what a server sends can be read");
    }
    let counts: Vec<u64> = reports.iter().filter_map(|report| report.server.as_ref()).map(|s| s.garbage).collect();
    assert_eq!(counts.last(), Some(&count), "{counts:?}");
}

/// Nobody takes over because somebody who is not the primary says that the primary hands over.
#[test]
fn a_handover_from_somebody_else_changes_nothing() {
    let setup = Setup { config: Config::new(3), seed: 1, failure_rate: 0.0, recover_after: None, observe: false };
    let mut world = World::new(setup);
    assert!(world.run_until(Duration::from_secs(5), |world| world.view_now().is_some()));
    world.run_for(Duration::from_millis(50));
    let (now, number) = (world.now(), world.view_now().expect("just seen").number);
    for (from, asks) in [(Rank(3), false), (Rank(0), false), (Rank(1), true)] {
        let mut out = Outputs::default();
        let backup = world.server_mut(Rank(2));
        let op = backup.server().expect("it is up").op();
        backup.handle(now, from, Message::Handover { view: number, op }, &mut out);
        let sent = out.sends;
        let asked = sent.iter().any(|(to, message)| *to == METADATA && matches!(message, Message::ChangeView { .. }));
        assert_eq!(asked, asks, "from {from}: {sent:?}");
    }
}
