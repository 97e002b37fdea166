//! A million keys on the disks: how soon the first answer comes after a start, and how soon a server that missed a
//! thousand writes has everything. The bounds leave room for a busy machine and a program that is not optimised.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::data::Data;
use support::status::Status;
use understudy::core::disk::{Fsync, Owner};
use understudy::core::protocol::{Rank, Record};
use understudy::core::store::{ClientId, Command, LogEntry, OpNumber, Seq, Stamp};
use understudy::disk::{Cabinet, folder};

/// A program that is not optimised has less to read.
const KEYS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
const GROUP: u64 = 4_096;
/// Measured with a release build on two cores: 1.5 s, and 0.3 s, are wanted.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(60);
const WHOLE_AGAIN_MAX: Duration = Duration::from_secs(30);

/// Adds a write of each key to this rank's log, as if its server had been asked for them.
fn add_keys(data: &Data, rank: u32) {
    let cluster = folder::cluster(&data.0).expect("it can be read").expect("it has been started");
    let owner = Owner { cluster, rank: Rank(rank) };
    let (mut cabinet, found) = Cabinet::open(&data.of(rank), owner, Fsync::Never).expect("nobody uses it");
    let first = found.had.op().0;
    let (_, view) = found.had.holder.expect("it was in a view");
    let entry = |number: u64| {
        let op = OpNumber(first + number);
        let command = Command::Put { key: format!("key{number}").into(), value: format!("value {number}").into() };
        let (client, seq, acked) = (ClientId::on(7), Seq(number), Seq(number - 1));
        let entry = LogEntry { op, client, seq, acked, stamp: Stamp { time: 1, seed: number }, command };
        Record::Entry { view: view.number, commit: OpNumber(op.0 - 1), entry: Arc::new(entry) }
    };
    for begin in (1..=KEYS).step_by(GROUP as usize) {
        let records: Vec<Record> = (begin..=KEYS.min(begin + GROUP - 1)).map(entry).collect();
        cabinet.write(&records).expect("there is room");
    }
}

#[test]
fn many_keys_are_there_soon_and_a_server_that_missed_little_is_sent_little() {
    let data = Data::new("million");
    let mut job = data.start(2, &[]);
    job.expect("PUT key0 first", "OK");
    job.wait_status("the view is whole", Status::is_whole);
    job.end(0);
    [1, 2].into_iter().for_each(|rank| add_keys(&data, rank));
    let begun = Instant::now();
    let mut job = data.start(2, &["--no-respawn", "--spares", "0"]);
    // A busy machine takes longer than a client waits.
    let get = format!("GET key{KEYS}");
    while job.ask(&get) == "(unknown)" {
        assert!(begun.elapsed() < FIRST_ANSWER_MAX, "{}", job.stderr());
    }
    let first_answer = begun.elapsed();
    job.expect(&get, &format!("value {KEYS}"));
    assert!(first_answer < FIRST_ANSWER_MAX, "{first_answer:?}");
    // What takes longer than a moment is told.
    assert!(first_answer < Duration::from_secs(1) || job.stderr().contains("reads its disk: "), "{}", job.stderr());
    let status = job.wait_status("the view is whole", Status::is_whole);
    assert_eq!((status.server(1).keys, status.server(2).keys), (KEYS + 1, KEYS + 1));
    let away = status.backups[0];
    job.signal(status.process(away), Signal::KILL);
    job.wait_status("the other one is alone", |status| status.backups.is_empty());
    (0..1_000).for_each(|at| job.expect(&format!("PUT new{at} v"), "OK"));
    let begun = Instant::now();
    job.expect(&format!("RECOVER {away}"), "OK");
    job.wait_status("it has everything", |status| status.is_whole() && status.server(away).keys == KEYS + 1_001);
    let whole_again = begun.elapsed();
    assert!(whole_again < WHOLE_AGAIN_MAX, "{whole_again:?}");
    let said = job.stderr();
    let has = format!("server {away} has all up to op ");
    // At the start one of them may have missed the last write.
    let line = said.lines().rfind(|line| line.contains(&has)).unwrap_or_else(|| panic!("{said}"));
    assert!(line.ends_with(" on its disk, 1000 writes missing"), "{line}");
    assert!(!said.contains(" sends "), "not everything is sent: {said}");
    job.end(0);
    eprintln!("first answer after {first_answer:?}, whole again after {whole_again:?}");
}
