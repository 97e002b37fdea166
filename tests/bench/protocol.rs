//! A whole request through client, primary and backup, as plain values.

use divan::Bencher;
use understudy::core::protocol::{
    Client, Config, Incarnation, METADATA, Member, Message, Metadata, Outbox, Rank, Server, Time, Timing,
};
use understudy::core::store::{Bytes, Command};

/// A cluster without links: messages go from hand to hand.
struct Cluster {
    now: Time,
    client: Client,
    metadata: Metadata,
    servers: Vec<Server>,
    out: Outbox,
    under_way: Vec<(Rank, Rank, Message)>,
}

impl Cluster {
    fn new(servers: u32) -> Self {
        let config = Config::new(servers);
        let server = |rank| Server::new(Member { rank: Rank(rank), incarnation: Incarnation(1) }, config.clone());
        let mut cluster = Self {
            now: Time(1_000_000_000),
            client: Client::new(METADATA, Timing::default()),
            metadata: Metadata::new(config.clone()),
            servers: (1..=servers).map(server).collect(),
            out: Outbox::default(),
            under_way: Vec::new(),
        };
        for _ in 0..100 {
            cluster.now.0 += 1_000_000;
            cluster.tick();
            cluster.settle();
        }
        cluster
    }

    fn send_from(&mut self, from: Rank) {
        self.out.events.clear();
        let sends = self.out.sends.drain(..).map(|(to, message)| (from, to, message));
        self.under_way.extend(sends);
    }

    fn tick(&mut self) {
        self.metadata.tick(self.now, &mut self.out);
        self.client.tick(self.now, &mut self.out);
        self.send_from(METADATA);
        for at in 0..self.servers.len() {
            self.servers[at].tick(self.now, &mut self.out);
            self.send_from(Rank(at as u32 + 1));
        }
    }

    /// Hands messages over until none is left.
    fn settle(&mut self) {
        while !self.under_way.is_empty() {
            for (from, to, message) in std::mem::take(&mut self.under_way) {
                match to {
                    METADATA if message.is_for_metadata() => {
                        self.metadata.handle(self.now, from, message, &mut self.out);
                    }
                    METADATA => self.client.handle(self.now, message, &mut self.out),
                    Rank(rank) => {
                        let server = &mut self.servers[rank as usize - 1];
                        server.handle(self.now, from, message, &mut self.out);
                        server.tick(self.now, &mut self.out);
                    }
                }
                self.send_from(to);
            }
        }
    }

    fn execute(&mut self, command: Command) {
        self.now.0 += 1_000;
        self.client.submit(self.now, command, &mut self.out);
        self.send_from(METADATA);
        self.settle();
        assert!(self.client.pop_completion().is_some(), "answered");
        if self.now.0.is_multiple_of(1_000_000) {
            self.tick();
            self.settle();
        }
    }
}

/// PUT through primary and this many servers in all.
#[divan::bench(args = [1, 2, 4, 8])]
fn put(bencher: Bencher, servers: u32) {
    let mut cluster = Cluster::new(servers);
    let (key, value) = (Bytes::from("0123456789abcdef"), Bytes::from(vec![7; 64]));
    bencher.bench_local(|| cluster.execute(Command::Put { key: key.clone(), value: value.clone() }));
}

/// GET from the primary of two.
#[divan::bench]
fn get(bencher: Bencher) {
    let mut cluster = Cluster::new(2);
    let key = Bytes::from("0123456789abcdef");
    cluster.execute(Command::Put { key: key.clone(), value: Bytes::from(vec![7; 64]) });
    bencher.bench_local(|| cluster.execute(Command::Get { key: key.clone() }));
}
