//! Instructions, not seconds: what a request costs each role, as callgrind counts it.
//!
//! `cargo bench --bench instructions` prints a table and compares it with the committed one, which is
//! `tests/bench/instructions.tsv`; `-- --write` puts the new one in its place. It takes a minute and needs
//! `valgrind`; how busy the machine is does not matter.
//!
//! | | what is counted |
//! |---|---|
//! | core | the protocol's own values: messages go in and come out as they are |
//! | loop | the same behind frames: a rank's turn without the network below it, its naps, and the clock |
//!
//! A request is a GET or a PUT of 64 bytes under a key of 16, one at a time or 64 in one turn, with one backup.
//! Every role has the turns that the request needs, and no empty ones: the client two, the primary one for a GET and
//! two for a PUT, the backup one. One role is counted at a time: this program runs itself under callgrind, which
//! collects only while that role has its turn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::process::Command as Process;
use std::rc::Rc;
use understudy::core::node::{FrontHost, Outputs, ServerHost, Setup};
use understudy::core::protocol::{
    Client, Config, Incarnation, METADATA, Member, Message, Metadata, Outbox, Rank, Server, Time, Timing,
};
use understudy::core::store::{Bytes, Command};
use understudy::mpi::link::Link;
use understudy::mpi::transport::{Doorbell, Packet, Process as ProcessNumber, Transport};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions.tsv");
/// Requests of one count.
const REQUESTS: usize = 4096;
const KEYS: usize = 512;
/// What a turn takes, by the clock that the ranks see.
const TURN_NS: u64 = 5_000;

const LAYERS: [&str; 2] = ["core", "loop"];
const COMMANDS: [&str; 2] = ["GET", "PUT"];
const GROUPS: [usize; 2] = [1, 64];
const ROLES: [&str; 3] = ["client", "primary", "backup"];

fn command(kind: &str, at: usize) -> Command {
    let key = Bytes::from(format!("key:{:012}", at % KEYS));
    match kind {
        "GET" => Command::Get { key },
        _ => Command::Put { key, value: Bytes::from(vec![at as u8; 64]) },
    }
}

/// What turns: rank 0 with the client, 1 the primary, 2 the backup.
trait Cluster {
    fn client(&mut self, now: Time, asked: Vec<Command>);
    fn server(&mut self, now: Time, rank: Rank);
    fn answered(&mut self) -> usize;
}

// ---- the turns that are counted: callgrind knows them by their names ------------------------------

#[inline(never)]
fn counted_client(cluster: &mut dyn Cluster, now: Time, asked: Vec<Command>) {
    cluster.client(now, asked);
}

#[inline(never)]
fn counted_primary(cluster: &mut dyn Cluster, now: Time) {
    cluster.server(now, Rank(1));
    std::hint::black_box(now);
}

#[inline(never)]
fn counted_backup(cluster: &mut dyn Cluster, now: Time) {
    cluster.server(now, Rank(2));
    std::hint::black_box(&now);
}

// ---- core: messages from hand to hand ---------------------------------------------------------------

struct Core {
    client: Client,
    metadata: Metadata,
    servers: [Server; 2],
    out: Outbox,
    inboxes: [Vec<(Rank, Message)>; 3],
}

impl Core {
    fn new() -> Self {
        let config = Config::new(2);
        let server = |rank| Server::new(Member { rank: Rank(rank), incarnation: Incarnation(1) }, config.clone());
        Self {
            client: Client::new(METADATA, Timing::default()),
            metadata: Metadata::new(config.clone()),
            servers: [server(1), server(2)],
            out: Outbox::default(),
            inboxes: Default::default(),
        }
    }

    fn send_from(&mut self, from: Rank) {
        self.out.events.clear();
        for (to, message) in self.out.sends.drain(..) {
            self.inboxes[to.0 as usize].push((from, message));
        }
    }
}

impl Cluster for Core {
    fn client(&mut self, now: Time, asked: Vec<Command>) {
        let mut inbox = std::mem::take(&mut self.inboxes[0]);
        for (from, message) in inbox.drain(..) {
            if message.is_for_metadata() {
                self.metadata.handle(now, from, message, &mut self.out);
            } else {
                self.client.handle(now, message, &mut self.out);
            }
        }
        self.inboxes[0] = inbox;
        self.metadata.tick(now, &mut self.out);
        self.client.tick(now, &mut self.out);
        for command in asked {
            self.client.submit(now, command, &mut self.out);
        }
        self.send_from(METADATA);
    }

    fn server(&mut self, now: Time, rank: Rank) {
        let mut inbox = std::mem::take(&mut self.inboxes[rank.0 as usize]);
        let server = &mut self.servers[rank.0 as usize - 1];
        for (from, message) in inbox.drain(..) {
            server.handle(now, from, message, &mut self.out);
        }
        server.tick(now, &mut self.out);
        self.inboxes[rank.0 as usize] = inbox;
        self.send_from(rank);
    }

    fn answered(&mut self) -> usize {
        std::iter::from_fn(|| self.client.pop_completion()).count()
    }
}

// ---- loop: the same behind frames -------------------------------------------------------------------

type Frames = Rc<RefCell<[Vec<(Rank, Vec<u8>)>; 3]>>;

/// A network within this thread.
struct Hand {
    rank: Rank,
    frames: Frames,
    spare: Vec<Vec<u8>>,
}

impl Transport for Hand {
    fn ranks(&self) -> u32 {
        3
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        let mut arrived = std::mem::take(&mut self.frames.borrow_mut()[self.rank.0 as usize]);
        let count = arrived.len();
        for (from, mut frame) in arrived.drain(..) {
            deliver(from, &frame);
            frame.clear();
            self.spare.push(frame);
        }
        self.frames.borrow_mut()[self.rank.0 as usize] = arrived;
        count
    }

    fn send(&mut self, to: Rank, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        self.frames.borrow_mut()[to.0 as usize].push((self.rank, frame));
        Ok(())
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    fn unsent(&self) -> usize {
        0
    }
}

struct Loop {
    front: FrontHost,
    servers: [ServerHost; 2],
    links: Vec<Link<Hand>>,
    outputs: Outputs,
}

impl Loop {
    fn new() -> Result<Self, Box<dyn Error>> {
        let config = Config::new(2);
        let setup = Setup { config, seed: 1, failure_rate: 0.0, recover_after: None, observe: false };
        let frames = Frames::default();
        let link = |rank| -> Result<Link<Hand>, Box<dyn Error>> {
            let bell = Doorbell::open(u64::from(std::process::id()) << 32 | 0xbe11, ProcessNumber(rank), 3)?;
            Ok(Link::new(Hand { rank: Rank(rank), frames: Rc::clone(&frames), spare: Vec::new() }, bell))
        };
        Ok(Self {
            front: FrontHost::new(METADATA, 0, &setup),
            servers: [1, 2].map(|rank| ServerHost::new(Rank(rank), Incarnation(1), 0, setup.clone())),
            links: (0..3).map(link).collect::<Result<_, _>>()?,
            outputs: Outputs::default(),
        })
    }

    /// What came for a rank, and what leaves because of it.
    fn turn(&mut self, now: Time, rank: Rank, mut act: impl FnMut(&mut Self, Option<(Rank, Message)>)) {
        let at = rank.0 as usize;
        let mut inbox = self.links[at].receive();
        for (from, packet) in inbox.drain(..) {
            self.links[at].heard(from, &packet, now);
            if let Packet::Message(message) = packet {
                act(self, Some((from, message)));
            }
        }
        self.links[at].handled(inbox, Vec::new());
        act(self, None);
        self.outputs.events.clear();
        for (to, message) in self.outputs.sends.drain(..) {
            self.links[at].push(to, &Packet::Message(message));
        }
        self.links[at].flush(now);
    }
}

impl Cluster for Loop {
    fn client(&mut self, now: Time, asked: Vec<Command>) {
        let mut asked = asked.into_iter();
        self.turn(now, METADATA, |own, message| match message {
            Some((from, message)) => own.front.handle(now, from, message, &mut own.outputs),
            None => {
                own.front.tick(now, &mut own.outputs);
                let count = asked.len();
                own.front.submit_all(now, count, &mut |_| asked.next(), &mut own.outputs);
            }
        });
    }

    fn server(&mut self, now: Time, rank: Rank) {
        self.turn(now, rank, |own, message| {
            let host = &mut own.servers[rank.0 as usize - 1];
            match message {
                Some((from, message)) => host.handle(now, from, message, &mut own.outputs),
                None => {
                    host.tick(now, &mut own.outputs);
                    host.take_work();
                    assert!(host.report(now, false).is_none());
                }
            }
        });
    }

    fn answered(&mut self) -> usize {
        std::iter::from_fn(|| self.front.pop_completion()).count()
    }
}

// ---- a count ----------------------------------------------------------------------------------------

/// Plays what is counted; under callgrind, or without, to see that it works.
fn play(layer: &str, kind: &str, group: usize) -> Result<(), Box<dyn Error>> {
    let mut cluster: Box<dyn Cluster> = if layer == "core" { Box::new(Core::new()) } else { Box::new(Loop::new()?) };
    let cluster = cluster.as_mut();
    let mut now = Time(1_000_000_000);
    // Until somebody leads, and all keys are there.
    for at in 0..1000 {
        now.0 += 1_000_000;
        let asked = if at < KEYS { vec![command("PUT", at)] } else { Vec::new() };
        cluster.client(now, asked);
        (1..=2).for_each(|rank| cluster.server(now, Rank(rank)));
        cluster.answered();
    }
    let mut next = 0;
    while next < REQUESTS {
        let asked: Vec<Command> = (next..next + group).map(|at| command(kind, at)).collect();
        next += group;
        now.0 += TURN_NS;
        counted_client(cluster, now, asked);
        counted_primary(cluster, now);
        if kind == "PUT" {
            now.0 += TURN_NS;
            counted_backup(cluster, now);
            counted_primary(cluster, now);
        } else {
            cluster.server(now, Rank(2)); // It renews the lease: no part of a GET.
        }
        now.0 += TURN_NS;
        counted_client(cluster, now, Vec::new());
        let answered = cluster.answered();
        if answered != group {
            return Err(format!("{layer} {kind}: {answered} of {group} were answered").into());
        }
    }
    Ok(())
}

/// Instructions a request, in one role.
fn count(layer: &str, kind: &str, group: usize, role: &str) -> Result<u64, Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("understudy-instructions-{}.out", std::process::id()));
    let output = Process::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect=*counted_{role}*"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["--play", layer, kind, &group.to_string()])
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error} (apt-get install -y valgrind)"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let counted = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    let total = counted.lines().find_map(|line| line.strip_prefix("summary: ")).ok_or("callgrind gave no summary")?;
    let total: u64 = total.trim().parse()?;
    Ok(total / REQUESTS as u64)
}

/// `layer command group role` and the count, tab between them.
fn committed() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    let row = |line: &str| {
        let (name, count) = line.rsplit_once('\t')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

fn compare(write: bool) -> Result<(), Box<dyn Error>> {
    let before = committed();
    let mut table = String::new();
    println!("{:<24} {:>8} {:>10} {:>6}", "instructions a request", "now", "committed", "ratio");
    for (layer, kind) in LAYERS.iter().flat_map(|layer| COMMANDS.map(|kind| (layer, kind))) {
        for (group, role) in GROUPS.iter().flat_map(|group| ROLES.map(|role| (group, role))) {
            if kind == "GET" && role == "backup" {
                continue;
            }
            let name = format!("{layer}\t{kind}\t{group}\t{role}");
            let now = count(layer, kind, *group, role)?;
            let (old, ratio) = match before.get(&name) {
                Some(old) => (old.to_string(), format!("{:.2}", now as f64 / *old as f64)),
                None => ("-".to_owned(), "-".to_owned()),
            };
            println!("{:<24} {now:>8} {old:>10} {ratio:>6}", name.replace('\t', " "));
            writeln!(table, "{name}\t{now}")?;
        }
    }
    if write {
        std::fs::write(COMMITTED, table)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--play", layer, kind, group] => play(layer, kind, group.parse()?),
        // `cargo test --benches`: only that it can be played.
        [] => LAYERS.iter().try_for_each(|layer| COMMANDS.iter().try_for_each(|kind| play(layer, kind, 64))),
        ["--bench"] => compare(false),
        ["--write", "--bench"] => compare(true),
        _ => Err("usage: cargo bench --bench instructions [-- --write]".into()),
    }
}
