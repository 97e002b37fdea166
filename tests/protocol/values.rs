//! Time, chance and memory: what a primary adds to what it logs, and what it refuses.

use super::node::{CONSOLE, Node, ONE, TWO};
use super::*;
use understudy::core::store::{Bytes, Db, LogEntry, Stamp, StoreError, commands};

/// Some moment of this century.
const UNIX_MS: u64 = 1_800_000_000_000;

fn words(line: &str) -> Command {
    let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
    commands::parse(&words).expect("a command")
}

fn primary(backups: &[Member]) -> Node {
    Node::primary_in(Config { unix_ms: UNIX_MS, ..Config::new(3) }, backups)
}

/// What server 2 has been sent to log.
fn prepared(node: &Node) -> Vec<LogEntry> {
    let entry = |message: &&Message| match message {
        Message::Prepare { entry, .. } => Some((**entry).clone()),
        _ => None,
    };
    node.sent(TWO.rank).iter().filter_map(entry).collect()
}

fn answered(node: &Node) -> Vec<Reply> {
    let reply = |message: &&Message| match message {
        Message::Reply { reply, .. } => Some(reply.clone()),
        _ => None,
    };
    node.sent(METADATA).iter().filter_map(reply).collect()
}

#[test]
fn every_entry_has_a_time_that_never_goes_back_and_a_seed_of_its_own() {
    let mut node = primary(&[TWO]);
    let mut stamps = Vec::new();
    for (seq, ms) in [(1, 5), (2, 9), (3, 7)] {
        node.ask(at(ms), CONSOLE, seq, put("v"));
        stamps.extend(prepared(&node).into_iter().map(|entry| entry.stamp));
    }
    assert_eq!(stamps.iter().map(|stamp| stamp.time).collect::<Vec<_>>(), [5, 9, 9].map(|ms| UNIX_MS + ms));
    assert!(stamps[0].seed != stamps[1].seed && stamps[1].seed != stamps[2].seed);
    // A new primary whose clock is behind goes on where the old one was.
    let mut node = Node::of_with(TWO, &view(1, ONE, &[TWO]), Config { unix_ms: 1000, ..Config::new(3) });
    node.hear(at(0), ONE.rank, start(&view(1, ONE, &[TWO])));
    let stamp = Stamp { time: UNIX_MS, seed: 1 };
    let entry = LogEntry { op: OpNumber(1), client: CONSOLE, seq: Seq(1), acked: Seq(0), stamp, command: put("v") };
    let message = Message::Prepare { view: ViewNumber(1), commit: OpNumber(1), entry: entry.into() };
    node.hear(at(1), ONE.rank, message);
    node.hear(at(2), METADATA, Message::ViewIs { view: view(2, TWO, &[]) });
    node.ask(at(3), CONSOLE, 2, put("w"));
    assert_eq!(node.server.store().time(), UNIX_MS);
}

#[test]
fn a_key_past_its_time_goes_by_a_logged_entry() {
    let mut node = primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, words("SET a 1 PX 10"));
    node.acknowledge(at(2), TWO, 1, at(2));
    node.tick(at(8));
    assert!(prepared(&node).is_empty(), "not yet");
    node.tick(at(11));
    let entries = prepared(&node);
    let gone = Command::Expire([(Db::default(), Bytes::from("a"))].into());
    assert_eq!(
        entries.iter().map(|entry| (entry.client, &entry.command)).collect::<Vec<_>>(),
        [(ClientId::PRIMARY, &gone)]
    );
    node.tick(at(12));
    assert!(prepared(&node).is_empty(), "once, while it is under way");
    assert_eq!(node.server.store().len(), 1);
    node.acknowledge(at(13), TWO, 2, at(13));
    assert_eq!(node.server.store().len(), 0);
    assert!(answered(&node).is_empty(), "nobody had asked for it");
}

#[test]
fn who_reads_a_key_past_its_time_is_answered_when_that_is_logged() {
    let mut node = primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, words("SET a 1 PX 10"));
    node.acknowledge(at(2), TWO, 1, at(2));
    node.ask(at(10), CONSOLE, 2, words("GET a"));
    assert_eq!(answered(&node), [Reply::Value("1".into())]);
    node.ask(at(11), CONSOLE, 3, words("GET a"));
    assert!(answered(&node).is_empty());
    assert_eq!(prepared(&node).len(), 1);
    node.acknowledge(at(12), TWO, 2, at(12));
    assert_eq!(answered(&node), [Reply::Nil]);
}

#[test]
fn a_bounded_number_of_keys_goes_at_a_time() {
    let mut node = primary(&[]);
    for seq in 1..=300 {
        node.ask(at(1), CONSOLE, seq, words(&format!("SET k{seq} v PX 10")));
    }
    let (mut left, mut turns) = (300, 0);
    while left > 0 {
        node.tick(at(20 + turns));
        let now = node.server.store().len();
        assert!(left - now <= understudy::core::store::EXPIRED_KEYS_MAX, "{left} to {now}");
        (left, turns) = (now, turns + 1);
    }
    assert_eq!(turns, 3);
}

#[test]
fn beyond_the_memory_that_there_is_writes_are_refused_and_removals_are_not() {
    let mut node = Node::primary_in(Config { memory_bytes_max: 10_000, ..Config::new(3) }, &[]);
    let mut seq = 0;
    let mut ask = |line: &str| {
        seq += 1;
        node.ask(at(1), CONSOLE, seq, words(line));
        answered(&node).pop().expect("an answer")
    };
    assert_eq!(ask(&format!("HSET h f {}", "v".repeat(20_000))), Reply::Integer(1));
    let refused = Reply::Error(StoreError::OUT_OF_MEMORY);
    for line in ["SET a 1", "PUT a 1", "INCR n", "LPUSH l a", "ZADD z 1 a", "SADD s a", "SETRANGE a 1 b"] {
        assert_eq!(ask(line), refused, "{line}");
    }
    assert_eq!(ask("HSTRLEN h f"), Reply::Integer(20_000));
    assert_eq!(ask("DEL h"), Reply::Integer(1));
    assert_eq!(ask("SET a 1"), Reply::Ok);
}

#[test]
fn exec_is_one_entry_unless_something_watched_has_changed() {
    let mut node = primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, words("SET a 1"));
    node.acknowledge(at(1), TWO, 1, at(1));
    node.ask(at(1), CONSOLE, 2, Command::version(Db::default(), "a".into()));
    assert_eq!(answered(&node), [Reply::Integer(1)]);
    let watched = |op| vec![understudy::core::store::Watched { db: Db::default(), key: "a".into(), op: OpNumber(op) }];
    let both = || vec![words("INCR a"), words("LPUSH a x"), words("RPUSH l 1 2")];
    node.ask(at(2), CONSOLE, 3, Command::multi(both(), watched(1)));
    assert_eq!(prepared(&node).len(), 1);
    node.acknowledge(at(2), TWO, 2, at(2));
    let wrong = Reply::Error(StoreError::WRONG_TYPE);
    assert_eq!(answered(&node), [Reply::Array(vec![Reply::Integer(2), wrong, Reply::Integer(2)])]);
    node.ask(at(3), CONSOLE, 4, Command::multi(both(), watched(1)));
    node.acknowledge(at(3), TWO, 3, at(3));
    assert_eq!(answered(&node), [Reply::NilArray]);
    assert_eq!(node.server.store().get(b"l").map(|stored| stored.value.elements()), Some(2));
}

#[test]
fn the_time_to_live_goes_on_without_writes() {
    let mut node = primary(&[]);
    node.ask(at(1), CONSOLE, 1, words("SET a 1 PX 1000"));
    for (seq, ms) in [(2, 101), (3, 601)] {
        node.ask(at(ms), CONSOLE, seq, words("PTTL a"));
        assert_eq!(answered(&node).last(), Some(&Reply::Integer(1001 - ms as i64)));
    }
    node.ask(at(701), CONSOLE, 4, words("GETEX a PX 1000"));
    node.ask(at(901), CONSOLE, 5, words("PTTL a"));
    assert_eq!(answered(&node).last(), Some(&Reply::Integer(800)));
}
