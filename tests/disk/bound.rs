//! However much is written, the disk does not grow beyond what is alive.

use crate::cabinet::Folder;
use crate::files::OWNER;
use understudy::core::disk::Fsync;
use understudy::core::protocol::{
    Config, Incarnation, METADATA, Member, Message, Outbox, Recovered, Request, Server, Time, View, ViewNumber,
};
use understudy::core::store::{Bytes, ClientId, Command, Seq};
use understudy::disk::Cabinet;
use understudy::disk::cabinet::SEGMENT_BYTES_MAX;

/// Writes that are handed in before the disk is heard.
const GROUP: u64 = 500;
const GROUP_BYTES: usize = 1 << 20;

/// A server that is alone, with a real disk.
struct Alone {
    server: Server,
    out: Outbox,
    cabinet: Cabinet,
    written: u64,
    asked: u64,
    waiting: usize,
    bytes_max: u64,
}

impl Alone {
    fn new(folder: &Folder) -> Self {
        let me = Member { rank: OWNER.rank, incarnation: Incarnation(1) };
        let server = Server::with_disk(me, Config::new(2), Recovered::default(), 0);
        let (cabinet, _) = Cabinet::open(&folder.0, OWNER, Fsync::Never).expect("it can be opened");
        let mut alone =
            Self { server, out: Outbox::default(), cabinet, written: 0, asked: 0, waiting: 0, bytes_max: 0 };
        alone.server.tick(Time(0), &mut alone.out);
        alone.write();
        let view = View { number: ViewNumber(1), epoch: 1, primary: me, backups: Vec::new() };
        alone.server.handle(Time(0), METADATA, Message::ViewIs { view: view.into() }, &mut alone.out);
        alone.write();
        alone
    }

    /// What is to be written is written, and the server hears of it, until there is nothing any more.
    fn write(&mut self) {
        while !self.out.writes.is_empty() {
            let records = std::mem::take(&mut self.out.writes);
            self.cabinet.write(&records).expect("the disk is well");
            self.written += records.len() as u64;
            self.bytes_max = self.bytes_max.max(self.cabinet.status().bytes);
            self.server.durable(Time(0), self.written, &mut self.out);
        }
        (self.out.sends, self.out.events) = Default::default();
    }

    fn put(&mut self, key: u64, value: &Bytes) {
        self.asked += 1;
        let (seq, acked) = (Seq(self.asked), Seq(self.asked.saturating_sub(GROUP)));
        let command = Command::Put { key: format!("key{key}").into(), value: value.clone() }.into();
        let request = Request { client: ClientId::on(0), seq, acked, after: Seq(0), epoch: 1, command };
        self.server.handle(Time(0), METADATA, Message::Request(request), &mut self.out);
        self.waiting += value.len();
        if self.asked.is_multiple_of(GROUP) || self.waiting > GROUP_BYTES {
            self.waiting = 0;
            self.write();
        }
    }

    /// This many keys are overwritten so often, in turns. Gives the bytes of all keys and values.
    fn overwrite(&mut self, keys: u64, times: u64, bytes: usize) -> u64 {
        let value = Bytes::from(vec![b'v'; bytes]);
        (0..times).for_each(|at| self.put(at % keys, &value));
        self.write();
        assert_eq!((self.server.op().0, self.server.store().op().0), (times, times), "all of it was taken in");
        (0..keys).map(|key| format!("key{key}").len() + bytes).sum::<usize>() as u64
    }
}

#[test]
fn a_thousand_keys_overwritten_a_million_times() {
    let folder = Folder::new("bound");
    let mut alone = Alone::new(&folder);
    let live = alone.overwrite(1_000, 1_000_000, 64);
    let bound = 2 * live + 2 * SEGMENT_BYTES_MAX;
    assert!(alone.bytes_max <= bound, "{} bytes for {live}, at most {bound}", alone.bytes_max);
    let in_files: u64 = folder.files().map(|file| file.metadata().expect("it is there").len()).sum();
    assert_eq!(alone.cabinet.status().bytes, in_files, "what is said is what is there");
    let digest = alone.server.store().full_digest();
    drop(alone);
    let (_, found) = Cabinet::open(&folder.0, OWNER, Fsync::Never).expect("it can be opened");
    // The last write is not known to be committed.
    assert!(found.damage.is_none() && found.had.op().0 == 1_000_000);
    let mut store = found.had.store;
    found.had.log.into_iter().for_each(|entry| drop(store.apply(std::sync::Arc::unwrap_or_clone(entry))));
    assert!(store.full_digest() == digest, "what is read is what was there");
}

/// Where much is alive the whole of it is written anew less often: there is the old one, writes of half as much, and
/// the new one.
#[test]
fn a_hundred_megabytes_overwritten() {
    let folder = Folder::new("large");
    let mut alone = Alone::new(&folder);
    let live = alone.overwrite(1_000, 6_000, 100_000);
    let bound = live * 5 / 2 + 2 * SEGMENT_BYTES_MAX;
    assert!(alone.bytes_max <= bound, "{} bytes for {live}, at most {bound}", alone.bytes_max);
}
