//! The wire format: one packet, and a full turn's batch.

use divan::Bencher;
use divan::counter::ItemsCount;
use std::sync::Arc;
use understudy::core::protocol::{Message, ViewNumber};
use understudy::core::store::{Bytes, ClientId, Command, LogEntry, OpNumber, Seq, Stamp};
use understudy::mpi::transport::Packet;
use understudy::mpi::transport::wire::{decode, encode};

const BATCH: usize = 256;

fn prepare(value_bytes: usize) -> Packet {
    let command = Command::Put { key: Bytes::from("0123456789abcdef"), value: Bytes::from(vec![7; value_bytes]) };
    let entry = LogEntry {
        op: OpNumber(1_000_000),
        client: ClientId::on(0),
        seq: Seq(1_000_000),
        acked: Seq(999_000),
        stamp: Stamp::default(),
        command,
    };
    Packet::Message(Message::Prepare { view: ViewNumber(3), commit: OpNumber(999_999), entry: Arc::new(entry) })
}

/// Packets of 64-byte writes into one frame.
#[divan::bench]
fn encode_batch(bencher: Bencher) {
    let packet = prepare(64);
    let mut frame = Vec::new();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let mut filling = std::mem::take(&mut frame);
        filling.clear();
        for _ in 0..BATCH {
            filling = encode(divan::black_box(&packet), filling);
        }
        frame = filling;
    });
}

/// The same frame taken apart.
#[divan::bench]
fn decode_batch(bencher: Bencher) {
    let packet = prepare(64);
    let frame = (0..BATCH).fold(Vec::new(), |frame, _| encode(&packet, frame));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| decode(divan::black_box(&frame), drop));
}

/// One packet there and back, by size of its value.
#[divan::bench(args = [64, 4 << 10, 64 << 10, 1 << 20])]
fn round_trip(bencher: Bencher, value_bytes: usize) {
    let packet = prepare(value_bytes);
    let mut frame = Vec::new();
    bencher.bench_local(|| {
        let mut filling = std::mem::take(&mut frame);
        filling.clear();
        frame = encode(&packet, filling);
        decode(&frame, drop)
    });
}
