//! Silence and lease follow the weather, and what was promised is kept.

use super::*;

fn heartbeat(sent: u64, round_trip: u64) -> Message {
    let round_trip = Duration::from_millis(round_trip);
    Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(0), sent: at(sent), round_trip }
}

/// The lease that a backup grants for a heartbeat.
fn granted(node: &mut Node, now: u64, round_trip: u64) -> u64 {
    node.hear(at(now), ONE.rank, heartbeat(now, round_trip));
    match node.sent(ONE.rank)[..] {
        [Message::HeartbeatOk { lease, .. }] => u64::try_from(lease.as_millis()).expect("short"),
        ref other => panic!("{other:?}"),
    }
}

/// The first millisecond, of this many, in which it asks to be primary.
fn asks_at(node: &mut Node, from: u64, until: u64) -> Option<u64> {
    (from..until).find(|ms| {
        node.tick(at(*ms));
        node.names(METADATA).contains(&"ChangeView")
    })
}

#[test]
fn on_a_quiet_machine_and_a_fast_network_a_silence_is_short() {
    let mut backup = Node::backup();
    for ms in (10..500).step_by(10) {
        backup.tick(at(ms));
        assert_eq!(granted(&mut backup, ms, 0), 40);
    }
    assert_eq!(asks_at(&mut backup, 490, 800), Some(541));
}

#[test]
fn the_lease_outlives_a_long_way_and_the_promise_outlives_the_weather() {
    let mut backup = Node::backup();
    assert_eq!(granted(&mut backup, 10, 100), 240);
    assert_eq!(backup.server.silence(at(10)), Some(Duration::from_millis(300)));
    // The network is fast again; but the primary may read under the long lease until 250.
    assert_eq!(granted(&mut backup, 20, 0), 40);
    assert_eq!(backup.server.silence(at(20)), Some(Duration::from_millis(50)));
    let mut retired = Node { server: backup.server.clone(), out: Outbox::default() };
    assert_eq!(asks_at(&mut backup, 20, 800), Some(311));
    retired.hear(at(30), METADATA, Message::Retire { view: ViewNumber(1), reset: 1, off: false });
    let [(_, Message::Retired { holds, .. })] = &retired.out.sends[..] else { panic!("{:?}", retired.out) };
    assert_eq!(*holds, Duration::from_millis(280), "RESET waits for the promise");
}

#[test]
fn a_promise_is_kept_from_view_to_view() {
    let mut backup = Node::backup();
    assert_eq!(granted(&mut backup, 10, 100), 240);
    backup.hear(at(20), METADATA, Message::ViewIs { view: view(2, ONE, &[TWO, THREE]) });
    backup.hear(at(21), ONE.rank, start(&view(2, ONE, &[TWO, THREE])));
    let fast =
        Message::Heartbeat { view: ViewNumber(2), commit: OpNumber(0), sent: at(22), round_trip: Duration::ZERO };
    backup.hear(at(22), ONE.rank, fast);
    assert_eq!(asks_at(&mut backup, 22, 800), Some(322), "it started the view with a long lease, too");
}

#[test]
fn late_words_make_patient_and_a_primary_that_was_only_late_is_a_lesson() {
    let mut backup = Node::backup();
    granted(&mut backup, 10, 0);
    granted(&mut backup, 50, 0);
    assert_eq!(backup.server.silence(at(50)), Some(Duration::from_millis(80)), "twice the gap");
    assert_eq!(asks_at(&mut backup, 50, 800), Some(131));
    backup.hear(at(140), METADATA, Message::ViewIs { view: view(2, TWO, &[THREE]) });
    assert_eq!(backup.server.role(), Role::Primary);
    backup.hear(at(141), ONE.rank, heartbeat(60, 0));
    backup.hear(at(142), THREE.rank, started(ViewNumber(2), THREE, at(140)));
    assert_eq!(backup.server.silence(at(142)), Some(Duration::from_millis(182)), "91 ms were not the end");
}

#[test]
fn who_has_never_been_heard_has_more_time_for_its_first_word() {
    let first_word = Timing::default().first_word.as_millis() as u64;
    let mut backup = Node::of(TWO, &view(1, ONE, &[TWO]));
    assert_eq!(asks_at(&mut backup, 0, 800), Some(first_word + 1));
    let mut primary = Node::of(ONE, &view(1, ONE, &[TWO]));
    assert_eq!(asks_at(&mut primary, 0, 800), Some(first_word + 1));
}

#[test]
fn the_primary_measures_the_way_and_tells_it() {
    let mut primary = Node::primary(&[TWO, THREE]);
    let told = |primary: &mut Node, now, to: Member| {
        primary.tick(at(now));
        match primary.sent(to.rank)[..] {
            [Message::Heartbeat { round_trip, .. }] => round_trip.as_millis(),
            ref other => panic!("{other:?}"),
        }
    };
    primary.acknowledge(at(41), TWO, 0, at(1));
    primary.acknowledge(at(41), THREE, 0, at(40));
    assert_eq!((told(&mut primary, 45, TWO), told(&mut primary, 60, THREE)), (40, 0));
    assert_eq!(primary.server.silence(at(60)), Some(Duration::from_millis(120)), "the slowest of them");
}

#[test]
fn who_cannot_stay_asks_more_and_more_rarely() {
    let mut node = joiner();
    let mut asked = 2;
    let mut waits = Vec::new();
    for number in 2..9 {
        // It gets the first part, then the view changes without it: the transfer is over, and so is this life.
        let primary = if number % 2 == 0 { TWO } else { ONE };
        let chunk = Arc::new(understudy::core::protocol::SnapshotPart::Chunk(Default::default()));
        let before = if number % 2 == 0 { ONE } else { TWO };
        let part = Message::Snapshot {
            view: ViewNumber(number - 1),
            to: node.server.member().incarnation,
            transfer: 1,
            index: 0,
            part: chunk,
        };
        node.hear(at(asked + 1), before.rank, part);
        node.hear(at(asked + 2), METADATA, Message::ViewIs { view: view(number, primary, &[]) });
        assert_eq!(node.server.member().incarnation, Incarnation(number));
        let next = (asked + 2..asked + 5_000).find(|ms| {
            node.tick(at(*ms));
            node.names(primary.rank).contains(&"Join")
        });
        let next = next.expect("it asks again");
        waits.push(next - asked - 2);
        asked = next;
    }
    assert_eq!(waits, [0, 10, 30, 70, 150, 310, 630]);
}
