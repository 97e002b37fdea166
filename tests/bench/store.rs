//! The store: writes, reads, digest, snapshot.

use divan::Bencher;
use divan::counter::ItemsCount;
use understudy::core::store::{Bytes, ClientId, Command, Exporter, Importer, LogEntry, Seq, Stamp, Store};

const KEYS: u64 = 100_000;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn apply(store: &mut Store, command: Command) {
    let op = store.op().next();
    store.apply(LogEntry {
        op,
        client: ClientId::on(0),
        seq: Seq(op.0),
        acked: Seq(op.0 - 1),
        stamp: Stamp::default(),
        command,
    });
}

fn filled() -> Store {
    let mut store = Store::default();
    for number in 0..KEYS {
        apply(&mut store, Command::Put { key: key(number), value: Bytes::from(vec![7; 64]) });
    }
    store
}

/// Overwrites one of many keys.
#[divan::bench]
fn put(bencher: Bencher) {
    let mut store = filled();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        apply(&mut store, Command::Put { key: key(number % KEYS), value: Bytes::from(vec![7; 64]) });
    });
}

/// Reads one of many keys.
#[divan::bench]
fn get(bencher: Bencher) {
    let store = filled();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        store.read(&Command::Get { key: key(number % KEYS) })
    });
}

/// The whole state out of one store and into another.
#[divan::bench(sample_count = 10)]
fn transfer(bencher: Bencher) {
    let store = filled();
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        let (mut exporter, mut importer) = (Exporter::default(), Importer::default());
        while let Some(chunk) = exporter.next_chunk(&store) {
            importer.add(chunk);
        }
        importer.finish(exporter.finish(&store)).expect("nothing was lost")
    });
}
