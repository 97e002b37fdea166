//! Servers with disks: what they write down, and how one that comes back is sent what it misses.

use super::*;
use understudy::core::disk::Fsync;
use understudy::core::fault::{Control, ControlError};
use understudy::core::node::Setup;
use understudy::core::protocol::message::{Held, Offer, Shelf, SnapshotPart};
use understudy::core::protocol::{Record, Recovered, Recovery};
use understudy::sim::World;

/// A server with a disk.
struct Drive {
    node: Node,
    /// This many records were handed over.
    written: u64,
}

impl Drive {
    /// A member of this view since time 0, with an empty disk.
    fn of(me: Member, view: &Arc<View>) -> Self {
        let server = Server::with_disk(me, Config::new(3), Recovered::default(), 0);
        let mut drive = Self { node: Node { server, out: Outbox::default() }, written: 0 };
        drive.act(|node| node.tick(at(0)));
        drive.hear(at(0), METADATA, Message::ViewIs { view: Arc::clone(view) });
        drive
    }

    fn act(&mut self, act: impl FnOnce(&mut Node)) {
        act(&mut self.node);
        self.written += self.node.out.writes.len() as u64;
    }

    fn hear(&mut self, now: Time, from: Rank, message: Message) {
        self.act(|node| node.hear(now, from, message));
    }

    /// Everything it has written so far is on its disk.
    fn sync(&mut self, now: Time) {
        let written = self.written;
        self.act(|node| {
            node.out = Outbox::default();
            node.server.durable(now, written, &mut node.out);
        });
    }
}

#[test]
fn what_the_new_primary_has_as_well_is_never_missing_on_the_disk() {
    let first = view(1, ONE, &[TWO, THREE]);
    let mut drive = Drive::of(TWO, &first);
    drive.hear(at(0), ONE.rank, start(&first));
    (1..=4).for_each(|op| drive.act(|node| node.prepare(at(1), op, 1)));
    drive.sync(at(1));
    let mut node = drive.node;
    assert_eq!(node.sent(ONE.rank).len(), 2, "it is started, and has everything: {:?}", node.out.sends);
    // The next primary has writes 2 and 3 as well, and another one for 4.
    let second = view(2, THREE, &[TWO]);
    node.hear(at(2), METADATA, Message::ViewIs { view: Arc::clone(&second) });
    let tail = vec![entry(2, put("v")), entry(3, put("v")), entry(4, put("other")), entry(5, put("v"))];
    let commit = OpNumber(1);
    node.hear(at(3), THREE.rank, Message::StartView { view: second, commit, tail, sent: at(3) });
    let written: Vec<String> = node.out.writes.iter().map(ToString::to_string).collect();
    let [view, four, five] = &written[..] else { panic!("{written:#?}") };
    assert!(view.starts_with("View 2.1 view 2 ") && view.ends_with(" keep=3"), "{view}");
    assert!(four.contains(" op=4 ") && four.ends_with("other") && five.contains(" op=5 "), "{written:#?}");
    assert_eq!(node.server.op(), OpNumber(5));
}

#[test]
fn nobody_hears_of_a_life_before_its_disk_does() {
    let server = Server::with_disk(ONE, Config::new(3), Recovered::default(), 0);
    let mut node = Node { server, out: Outbox::default() };
    node.tick(at(0));
    assert_eq!((node.names(METADATA), node.out.writes.len()), (vec![], 1));
    assert!(node.server.deadline() > at(0), "it does not ask for turn after turn");
    node.server.durable(at(1), 1, &mut node.out);
    node.tick(at(1));
    assert_eq!(node.names(METADATA), ["Announce", "Held"]);
}

/// A primary that is alone, with this many writes of a mebibyte, and a server that has the first two of them.
fn behind(writes: u64) -> (Drive, Offer) {
    let mut primary = Drive::of(ONE, &view(1, ONE, &[]));
    primary.sync(at(0));
    write_more(&mut primary, 1, 2);
    let store = primary.node.server.store();
    let offer = Offer { epoch: 1, op: store.op(), time: store.time(), digest: store.digest() };
    write_more(&mut primary, 3, writes);
    assert_eq!(primary.node.server.store().op(), OpNumber(writes));
    (primary, offer)
}

fn write_more(primary: &mut Drive, from: u64, to: u64) {
    for seq in from..=to {
        primary.act(|node| node.ask(at(2), CONSOLE, seq, mebibyte()));
        primary.sync(at(2));
    }
}

/// More than are kept for those who come back.
const MANY: u64 = 40;

#[test]
fn who_is_too_slow_for_what_it_misses_is_told_as_often_as_it_asks() {
    let (mut primary, offer) = behind(20);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: Some(offer) });
    assert_eq!(primary.node.out.events, [Event::CatchUpStarted { to: THREE, op: OpNumber(2), missing: 18 }]);
    assert_eq!(primary.node.names(THREE.rank), ["Snapshot"; 4]);
    write_more(&mut primary, 21, 20 + MANY);
    let start_over = Message::StartOver { view: ViewNumber(1), incarnation: THREE.incarnation };
    primary.hear(at(3), THREE.rank, has_parts((1 << 32) + 1, 4));
    assert_eq!(primary.node.sent(THREE.rank), [&start_over]);
    // That is lost.
    for ms in [100, 200] {
        primary.hear(at(ms), THREE.rank, Message::Join { member: THREE, offer: None });
        assert_eq!(primary.node.sent(THREE.rank), [&start_over]);
        assert!(primary.node.out.events.is_empty(), "{:?}", primary.node.out.events);
    }
    let next = member(3, 2);
    primary.hear(at(300), THREE.rank, Message::Join { member: next, offer: None });
    assert_eq!(primary.node.out.events, [Event::TransferStarted { to: next, keys: 1 }]);
}

#[test]
fn who_waits_for_its_turn_for_too_long_is_sent_everything() {
    let (mut primary, offer) = behind(20);
    // Another one is served first.
    primary.hear(at(2), TWO.rank, Message::Join { member: TWO, offer: Some(offer) });
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: Some(offer) });
    assert!(primary.node.sent(THREE.rank).is_empty());
    write_more(&mut primary, 21, 20 + MANY);
    let (view, incarnation, transfer) = (ViewNumber(1), TWO.incarnation, (1 << 32) + 1);
    primary.hear(at(3), TWO.rank, Message::SnapshotOk { view, incarnation, transfer, next: 4 });
    primary.act(|node| node.tick(at(4)));
    let started: Vec<&Event> = primary.node.out.events.iter().collect();
    assert!(started.is_empty() || started == [&Event::TransferStarted { to: THREE, keys: 1 }], "{started:?}");
    primary.hear(at(5), THREE.rank, Message::Join { member: THREE, offer: Some(offer) });
    let parts = primary.node.sent(THREE.rank);
    assert!(
        matches!(parts[..], [Message::Snapshot { part, index: 0, .. }, ..] if matches!(**part, SnapshotPart::Chunk(_))),
        "{parts:?}"
    );
}

/// The metadata server of a cluster that has decided on a first view before, and its servers are back.
fn returned(shelf: Shelf) -> (Metadata, Outbox) {
    let chosen = Some(view(1, ONE, &[TWO]));
    let mut metadata = Metadata::with_disk(Config::new(2), Recovered { run: 1, chosen, ..Recovered::default() }, true);
    let mut out = Outbox::default();
    metadata.handle(at(0), Rank(1), announcement(member(1, 9)), &mut out);
    metadata.handle(at(0), Rank(2), announcement(member(2, 9)), &mut out);
    for rank in [1, 2] {
        metadata.handle(at(1), Rank(rank), Message::Held { member: member(rank, 9), shelf }, &mut out);
    }
    metadata.handle(at(2), Rank(1), announcement(member(1, 9)), &mut out);
    metadata.handle(at(2), Rank(2), announcement(member(2, 9)), &mut out);
    metadata.durable(at(3), u64::MAX, &mut out);
    (metadata, out)
}

fn announcement(member: Member) -> Message {
    Message::Announce { member, role: Role::Idle, view: ViewNumber(0), op: OpNumber(0) }
}

#[test]
fn a_view_that_no_disk_knows_of_was_never_led_and_the_servers_start_over() {
    let (metadata, _) = returned(Shelf { held: None, lives: Some((ONE, ONE)) });
    let view = metadata.view().expect("there is one");
    assert_eq!((view.number, view.epoch, view.members().count()), (ViewNumber(2), 2, 2));
    // Whose log is gone, or damaged, knows nothing of what was in it.
    let (metadata, _) = returned(Shelf::default());
    assert_eq!(metadata.view(), None);
    let waiting = metadata.waits_for_disks().expect("for the operator").to_string();
    assert!(waiting.starts_with("server 1, 2 has nothing on its disk"), "{waiting}");
}

/// The view that begins the new epoch is on its way to the disk: whoever has retired is not told to go on.
#[test]
fn a_reset_whose_view_is_being_written_lets_nobody_go_on() {
    let (mut metadata, _) = returned(Shelf { held: None, lives: Some((ONE, ONE)) });
    let primary = metadata.view().expect("there is one").primary;
    let mut out = Outbox::default();
    metadata.reset(at(100), false);
    metadata.tick(at(100), &mut out);
    let retired = |metadata: &mut Metadata, now: Time| {
        let (view, incarnation) = (ViewNumber(2), primary.incarnation);
        let mut out = Outbox::default();
        let message = Message::Retired { view, incarnation, reset: 1, holds: Duration::ZERO };
        metadata.handle(now, primary.rank, message, &mut out);
        out
    };
    retired(&mut metadata, at(101));
    for rank in [1, 2] {
        metadata.handle(at(102), Rank(rank), announcement(member(rank, 9)), &mut out);
    }
    assert_eq!((metadata.view().map(|view| view.epoch), metadata.is_resetting()), (Some(2), true));
    let out = retired(&mut metadata, at(103));
    assert!(out.sends.is_empty(), "{:?}", out.sends);
    metadata.durable(at(104), u64::MAX, &mut Outbox::default());
    assert_eq!((metadata.view().map(|view| view.epoch), metadata.is_resetting()), (Some(3), false));
}

/// A cluster in the simulator whose servers have disks, and which has one key.
fn world_with_disks() -> World {
    let mut world = World::new(Setup {
        config: Config::new(2),
        seed: 1,
        failure_rate: 0.0,
        recover_after: Some(Duration::from_millis(100)),
        observe: true,
    });
    world.add_disks(Fsync::EverySecond);
    world.submit(METADATA, put("v"));
    world.run_for(Duration::from_secs(5));
    world
}

#[test]
fn a_wiped_server_is_sent_everything() {
    let mut world = world_with_disks();
    let (one, two) = (Rank(1), Rank(2));
    world.control(one, &Control::Wipe).expect("it has a disk");
    assert_eq!((world.role(one), world.control(one, &Control::Recover)), (Role::Down, Ok(())));
    let reads = world.control(one, &Control::Wipe);
    assert!(matches!(reads, Ok(()) | Err(ControlError::ReadsDisk(Rank(1)))), "{reads:?}");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.holders(), [one, two]);
    let digest = |rank: Rank| world.servers()[&rank].server().map(|server| server.store().full_digest());
    assert_eq!(digest(one), digest(two));
    assert!(world.servers()[&one].incarnation() > Incarnation(1));
    // Of a crashed one the disk is still there to be taken.
    world.control(two, &Control::Crash).expect("it lives");
    world.control(two, &Control::Wipe).expect("its disk lives");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.holders(), [one, two]);
    assert_eq!(world.violation(), None);
}

#[test]
fn when_all_are_wiped_nobody_pretends() {
    let mut world = world_with_disks();
    for rank in [Rank(1), Rank(2)] {
        world.control(rank, &Control::Wipe).expect("it has a disk");
    }
    world.run_for(Duration::from_secs(10));
    assert!(world.holders().is_empty());
    let metadata = world.front(METADATA).metadata().expect("there is one");
    let why = metadata.waits_for_disks().expect("it waits").to_string();
    assert!(why.contains("server 1, 2 has nothing on its disk"), "{why}");
    world.control(METADATA, &Control::Reset).expect("it may");
    world.run_for(Duration::from_secs(5));
    assert_eq!((world.holders().len(), world.violation()), (2, None));
}

/// What a dashboard is told of a server's keys by the first report after a start with what was on the disks.
#[test]
fn the_keys_that_were_written_last_are_told_again_after_a_start() {
    // All of them are in the log as writes; all but a few are in the whole state that the log begins with.
    for snapshot_bytes in [u64::MAX, 1_500] {
        let mut world = world_with_disks();
        world.set_snapshot_bytes(snapshot_bytes);
        world.lose_everything(false, None);
        for number in 0..50 {
            let command = match number {
                // Written before, and so newer than it looks.
                45 => Command::Incr { key: "n".into() },
                3 => Command::Put { key: "n".into(), value: "1".into() },
                _ => Command::Put { key: format!("key{number}").into(), value: "v".into() },
            };
            world.submit(METADATA, command);
            world.run_for(Duration::from_millis(200));
        }
        world.lose_everything(false, None);
        world.run_for(Duration::from_secs(5));
        let name = |number| if number == 45 { "n".into() } else { format!("key{number}") };
        let last: Vec<String> = (18..50).map(name).collect();
        for rank in world.holders() {
            let report = world.report(rank, true).expect("it was asked");
            let told: Vec<String> = report.keys.iter().map(|view| view.key.to_string()).collect();
            assert_eq!(told, last, "server {rank}, snapshots every {snapshot_bytes} bytes");
            assert!(report.keys.iter().all(|view| view.value.is_some()), "as they are now");
        }
    }
}

#[test]
fn who_has_no_disk_cannot_be_wiped() {
    let setup = Setup { config: Config::new(1), seed: 1, failure_rate: 0.0, recover_after: None, observe: false };
    let mut world = World::new(setup);
    let refused = world.control(Rank(1), &Control::Wipe);
    assert_eq!(refused, Err(ControlError::NoDisk(Rank(1))));
    let why = ControlError::NoDisk(Rank(1)).to_string();
    assert!(why.contains("server 1 has no disk: CRASH 1 takes its memory"), "{why}");
}

/// What a life writes down when it hears of this view, if an earlier one was alone in view 7 of epoch 1.
fn written_by_a_later_life(earlier: Member, later: Member, view: Arc<View>) -> Vec<&'static str> {
    let old = View { number: ViewNumber(7), epoch: 1, primary: earlier, backups: vec![] };
    let holder = Some((earlier, old.into()));
    let had = Recovered { member: Some(earlier), holder, since: Some(earlier), ..Recovered::default() };
    let mut node = Node { server: Server::with_disk(later, Config::new(3), had, 0), out: Outbox::default() };
    node.tick(at(0));
    node.hear(at(1), METADATA, Message::ViewIs { view });
    node.out.writes.iter().map(Record::name).collect()
}

#[test]
fn that_a_life_knows_of_no_newer_epoch_outlives_the_next_life() {
    // Life 4 was a member when all went on without knowing of epoch 2, in whose first view it is.
    let (four, five) = (member(1, 4), member(1, 5));
    let first = Arc::new(View { number: ViewNumber(8), epoch: 2, primary: TWO, backups: vec![four] });
    let written = written_by_a_later_life(four, five, Arc::clone(&first));
    assert!(written.is_empty(), "what shows it stays on the disk: {written:?}");
    // So all of them can start over, and need not wait for what never was.
    let held = Held { holder: four, view: ViewNumber(7), epoch: 1, op: OpNumber(0) };
    let shelf = Shelf { held: Some(held), lives: Some((four, five)) };
    let last = Recovered { run: 1, chosen: Some(first), ..Recovered::default() };
    let mut metadata = Metadata::with_disk(Config::new(1), last, false);
    let mut out = Outbox::default();
    let me = member(1, 9);
    metadata.handle(at(0), Rank(1), announcement(me), &mut out);
    metadata.handle(at(1), Rank(1), Message::Held { member: me, shelf }, &mut out);
    metadata.handle(at(2), Rank(1), announcement(me), &mut out);
    metadata.durable(at(3), u64::MAX, &mut out);
    assert_eq!(metadata.view().map(|view| view.epoch), Some(3));
}

#[test]
fn what_is_of_an_old_epoch_goes_with_the_first_view_of_the_next() {
    let (four, five) = (member(1, 4), member(1, 5));
    let first = View { number: ViewNumber(8), epoch: 2, primary: five, backups: vec![TWO] };
    assert_eq!(written_by_a_later_life(four, five, first.into()), ["Forgot", "View"]);
}

/// Without a bound, a cluster that fails over for years fills rank 0's disk.
#[test]
fn of_the_views_on_the_metadata_servers_disk_the_older_ones_go() {
    let config = Config { snapshot_bytes: 1_000, ..Config::new(1) };
    let mut had = Recovered::default();
    let mut records = Vec::new();
    for run in 1..=40 {
        let mut metadata = Metadata::with_disk(config.clone(), had, true);
        let mut out = Outbox::default();
        metadata.handle(at(0), Rank(1), announcement(member(1, run)), &mut out);
        let shelf = Shelf { held: None, lives: Some((member(1, 1), member(1, run))) };
        metadata.handle(at(1), Rank(1), Message::Held { member: member(1, run), shelf }, &mut out);
        metadata.handle(at(2), Rank(1), announcement(member(1, run)), &mut out);
        metadata.durable(at(3), u64::MAX, &mut out);
        records.extend(out.writes);
        let mut recovery = Recovery::new(true);
        records.iter().cloned().for_each(|record| recovery.take(record).expect("it can follow"));
        had = recovery.finish().expect("it is whole");
        assert_eq!((had.run, had.chosen.as_ref()), (run, metadata.view()));
        assert!(had.since_summary <= 11, "{} records", had.since_summary);
    }
    let summaries = records.iter().filter(|record| matches!(record, Record::Summary { .. })).count();
    assert!((3..=8).contains(&summaries), "{summaries} summaries");
}
