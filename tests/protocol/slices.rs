//! Nothing takes longer than a slice: what grows with the data is done bit by bit, while the server does all the rest.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use understudy::core::store::KeyList;
use understudy::core::store::work::SLICE_UNITS;

/// One call does no more: a slice each of commits, of requests that waited, and of a scan, and the last write or answer
/// of each goes over it.
const CALL_UNITS: u64 = 4 * SLICE_UNITS;
const KEYS: u64 = 300_000;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("user:{number:06}:name"))
}

fn put_key(number: u64) -> Command {
    Command::Put { key: key(number), value: Bytes::from("v") }
}

fn keys(pattern: &str) -> Command {
    Command::Keys { pattern: pattern.into() }
}

fn is_bounded(node: &Node) {
    assert!(node.out.work <= CALL_UNITS, "{} units in one call", node.out.work);
}

/// The answer to request `seq` of `client`, if the last call gave it.
fn answer(node: &Node, client: ClientId, seq: u64) -> Option<Reply> {
    node.sent(Rank(client.rank())).into_iter().find_map(|message| match message {
        Message::Reply { seq: answered, reply, .. } if answered.0 == seq => Some(reply.clone()),
        _ => None,
    })
}

/// A primary alone with many keys.
fn with_many_keys(keys: u64) -> Node {
    let mut node = Node::primary(&[]);
    for number in 1..=keys {
        node.ask(at(1), CONSOLE, number, put_key(number));
    }
    assert_eq!(node.server.store().len() as u64, keys);
    node
}

#[test]
fn keys_of_a_large_store_are_looked_at_in_slices_while_writes_and_reads_go_on() {
    let (mut node, asker) = (with_many_keys(KEYS), ClientId::on(9));
    // Long ones, so that the answer fits.
    let expected: KeyList = (1..=KEYS).filter(|number| number % 10 == 7).map(key).collect();
    node.ask(at(2), asker, 1, keys("*7:name"));
    is_bounded(&node);
    assert_eq!(answer(&node, asker, 1), None);
    let mut turns = 0;
    let found = loop {
        turns += 1;
        let now = at(2) + Duration::from_millis(turns);
        assert!(node.server.deadline() <= now, "it does not rest while there is more to do");
        node.tick(now);
        is_bounded(&node);
        if let Some(found) = answer(&node, asker, 1) {
            break found;
        }
        // Behind the scan and ahead of it, there and not there; and whoever repeats the question waits like everybody.
        for (at_key, seq) in [(KEYS + turns, 0), (turns * 7, 1), (KEYS - turns * 3, 2)] {
            let command = if seq == 0 { put_key(at_key) } else { Command::Delete { key: key(at_key) } };
            node.ask(now, CONSOLE, KEYS + turns * 3 + seq, command);
            is_bounded(&node);
            assert!(answer(&node, CONSOLE, KEYS + turns * 3 + seq).is_some());
        }
        node.ask(now, asker, 1, keys("*7:name"));
        assert!(node.out.sends.is_empty());
        node.ask(now, ClientId::on(8), turns, Command::Count);
        assert!(answer(&node, ClientId::on(8), turns).is_some());
    };
    assert!(turns >= 20, "{turns} turns");
    assert_eq!(found, Reply::Keys(expected), "the state in which it was asked");
    assert!(node.server.deadline() > at(3), "nothing is left to do");
    // Who has not heard the answer gets it once more, and no other.
    node.ask(at(500), asker, 1, keys("*7:name"));
    assert_eq!(answer(&node, asker, 1), Some(found));
}

#[test]
fn several_scans_wait_for_each_other_and_a_new_primary_is_asked_again() {
    let mut node = Node::primary(&[TWO]);
    for number in 1..=20_000 {
        node.ask(at(1), CONSOLE, number, put_key(number));
        if number % 1_000 == 0 {
            node.acknowledge(at(1), TWO, number, at(1));
        }
    }
    while node.server.store().len() < 20_000 {
        node.tick(at(1));
        is_bounded(&node);
    }
    for client in 5..=90 {
        node.ask(at(2), ClientId::on(client), 1, keys("*"));
        is_bounded(&node);
    }
    assert_eq!(node.server.queued(), 65, "one is served and so many wait; more are dropped");
    let mut answered = BTreeSet::new();
    while node.server.queued() > 0 {
        node.tick(at(3));
        is_bounded(&node);
        answered.extend((5..=90).filter(|client| answer(&node, ClientId::on(*client), 1).is_some()));
    }
    assert_eq!(answered, (5..=69).collect(), "in order");
    // Under way when another becomes primary: that one is asked, and this one does not answer any more.
    node.ask(at(4), ClientId::on(5), 2, keys("*"));
    node.ask(at(4), ClientId::on(6), 2, keys("*"));
    node.hear(at(5), METADATA, Message::ViewIs { view: view(2, TWO, &[ONE]) });
    let passed_on: Vec<_> = node.names(TWO.rank).into_iter().filter(|name| *name == "Request").collect();
    assert_eq!(passed_on.len(), 2);
    node.tick(at(6));
    assert!(node.sent(Rank(5)).is_empty() && node.sent(Rank(6)).is_empty());
}

#[test]
fn a_scan_that_outlives_its_lease_is_not_answered_before_there_is_a_new_one() {
    let (lease, asker) = (Timing::default().lease, ClientId::on(9));
    let mut node = Node::primary(&[TWO]);
    for number in 1..=20_000 {
        node.ask(at(1), CONSOLE, number, put_key(number));
        if number % 1_000 == 0 {
            node.acknowledge(at(1), TWO, number, at(1));
        }
    }
    (0..100).for_each(|_| node.tick(at(1)));
    assert_eq!(node.server.store().len(), 20_000);
    node.ask(at(2), asker, 1, keys("*"));
    let late = at(2) + lease;
    for _ in 0..100 {
        node.tick(late);
        assert_eq!(answer(&node, asker, 1), None);
    }
    node.acknowledge(late, TWO, 20_000, late);
    node.tick(late);
    assert!(matches!(answer(&node, asker, 1), Some(Reply::Keys(keys)) if keys.len() == 20_000));
}

#[test]
fn many_writes_committed_at_once_are_applied_in_slices_on_both_sides() {
    let mut primary = Node::primary(&[TWO]);
    let mut backup = Node::backup();
    let writes = LOG_OPS_MAX as u64;
    for seq in 1..=writes {
        primary.ask(at(1), CONSOLE, seq, put_key(seq));
        for message in primary.sent(TWO.rank) {
            backup.hear(at(1), ONE.rank, message.clone());
        }
    }
    primary.acknowledge(at(2), TWO, writes, at(1));
    is_bounded(&primary);
    let mut calls = 1;
    while primary.server.store().op() < OpNumber(writes) {
        assert!(primary.server.deadline() <= at(2));
        primary.tick(at(2));
        is_bounded(&primary);
        calls += 1;
    }
    assert!(calls >= 10, "{calls} calls");
    backup.hear(
        at(2),
        ONE.rank,
        Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(writes), sent: at(2), round_trip: Duration::ZERO },
    );
    is_bounded(&backup);
    assert_eq!(backup.names(ONE.rank), ["HeartbeatOk"], "the lease does not wait");
    let mut calls = 1;
    while backup.server.store().op() < OpNumber(writes) {
        assert!(backup.server.deadline() <= at(2));
        backup.tick(at(2));
        is_bounded(&backup);
        calls += 1;
    }
    assert!(calls >= 5, "{calls} calls");
    assert_eq!(backup.server.store().digest(), primary.server.store().digest());
    // Appending to a long value costs what the value is long.
    let mut primary = Node::primary(&[TWO]);
    let long = Command::Put { key: "k".into(), value: vec![b'v'; 1 << 19].into() };
    primary.ask(at(1), CONSOLE, 1, long);
    for seq in 2..=100 {
        primary.ask(at(1), CONSOLE, seq, Command::Append { key: "k".into(), value: "v".into() });
    }
    primary.acknowledge(at(2), TWO, 100, at(1));
    is_bounded(&primary);
    assert!(primary.server.store().op() < OpNumber(50), "{} at once", primary.server.store().op());
}

#[test]
fn a_large_store_that_is_forgotten_is_handed_over_to_be_let_go_of_slowly() {
    let mut node = with_many_keys(20_000);
    node.hear(at(2), METADATA, Message::ViewIs { view: view(2, TWO, &[]) });
    assert!(node.server.store().is_empty());
    let mut rubbish = std::mem::take(&mut node.out.rubbish);
    assert_eq!(rubbish.iter().map(|store| store.len()).sum::<usize>(), 20_000);
    let store = rubbish.iter_mut().find(|store| !store.is_empty()).expect("just counted");
    assert!(!store.forget_some(SLICE_UNITS), "not at once");
    assert_eq!(store.len() as u64, 20_000 - SLICE_UNITS);
    assert!(store.forget_some(SLICE_UNITS + 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However large slices are and whatever is written between them, an answer is the state of one moment between
    /// question and answer.
    #[test]
    fn keys_are_those_of_one_moment(
        slice in 1_u64..60,
        writes in prop::collection::vec((any::<bool>(), 0_u64..40, any::<bool>()), 1..200),
    ) {
        let mut node = Node::primary_in(Config { slice, ..Config::new(3) }, &[]);
        let state = |node: &Node| -> KeyList {
            let keys: std::collections::BTreeSet<&Bytes> = node.server.store().iter().map(|(key, _)| key).collect();
            keys.into_iter().collect()
        };
        // All states since the question was asked.
        let mut possible: Option<Vec<KeyList>> = None;
        let mut asked = 0;
        for (seq, (delete, number, ask)) in (1..).zip(writes) {
            let command = if delete { Command::Delete { key: key(number) } } else { put_key(number) };
            node.ask(at(1), CONSOLE, seq, command);
            while node.server.op() > node.server.store().op() {
                node.tick(at(1));
            }
            if ask && possible.is_none() {
                asked += 1;
                possible = Some(vec![state(&node)]);
                node.ask(at(1), ClientId::on(9), asked, keys("*"));
            } else {
                if let Some(states) = &mut possible {
                    states.push(state(&node));
                }
                node.tick(at(1));
            }
            if let Some(Reply::Keys(found)) = answer(&node, ClientId::on(9), asked) {
                let states = possible.take().expect("it was asked for");
                prop_assert!(states.contains(&found), "{:?} of {:?}", found, states);
            }
        }
    }
}
