//! Exhaustive for the small: every order of everything that can happen to a small cluster, within bounds.
//!
//! The model's state holds the protocol's own values ([`Server`], [`Metadata`], [`Client`]) and the messages in
//! flight; its actions are what a network, a clock and bad luck can do to them. `stateright` walks through all
//! of them and looks at every state. So nothing is modelled twice, and nothing can be modelled wrongly but the world
//! around:
//!
//! | in the world | in the model |
//! |---|---|
//! | delay, reordering | any message in flight may be the next to arrive, or arrive after time has passed |
//! | loss | a message that never arrives: that is the case at every point of every path |
//! | duplication | a message arrives and stays in flight, a bounded number of times |
//! | time | one clock that jumps by [`STEP`], a bounded number of times; timers fire then, everywhere |
//! | a cut | time passes, and no heartbeat from or to one server arrives, a bounded number of times |
//! | a slow or paused server | the same, and its timers do not fire either, a bounded number of times |
//! | a crash | a server's memory is gone, a bounded number of times; it may restart, as a stranger |
//! | a disk | what was handed over is on it at any later moment, or never |
//! | everything is killed | memories and what is not on a disk are gone; see `disks` |
//! | clients | each asks the commands of its list, one after the other, at any moment: strings, a list, an `EXEC` |
//!
//! # What is abstracted, and where it is covered instead
//!
//! * **Time** is coarse. A lease lasts for one jump and a half, a silent peer is suspected at the second jump: the
//!   order of the limits (lease before suspicion) is that of the real ones, their sizes are not. In between, everything
//!   takes no time. The simulator (`tests/seeds.rs`) has real durations; clocks with different rates are nowhere.
//! * **Heartbeats, announcements and their answers** arrive at once, or never: at each jump, all of them, or all but
//!   those from and to one server. A late one renews no lease (it counts from when it was sent); the simulator
//!   delays them like everything else.
//! * **Repetitions by time-out** are left out: what is in flight stays in flight, so they would only be duplicates,
//!   which are there. A client still repeats its request to a new primary.
//! * **The beginning**: every run begins with all servers in the first view. How it is formed is in the simulator
//!   and in the transcripts, and so are hand-over, RESET and the dice.
//! * **Messages that can change nothing any more** (an answer that nobody waits for, a view that is known) are dropped.
//!
//! # That it can fail
//!
//! Without a rule of the protocol it finds the shortest way to a violation. (Without fencing that way is longer than
//! these walks: seeds find it, `tests/rules.rs`.)
//!
//! `UNDERSTUDY_MODEL=long` widens the bounds: minutes and gigabytes instead of seconds.

mod disks;

use disks::Disk;
use stateright::{Checker, Model, Property};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};
use understudy::check::{Operation, Verdict, check};
use understudy::core::protocol::{
    Client, Config, Event, Incarnation, METADATA, Member, Message, Metadata, Outbox, Outcome, Rank, Role, Rule, Rules,
    Server, Time, Timing,
};
use understudy::core::store::{Bytes, ClientId, Command, OpNumber, Seq, commands};
use xxhash_rust::xxh3::Xxh3;

/// Time jumps by so much.
const STEP: Duration = Duration::from_millis(10);
/// Longer than any run.
const NEVER: Duration = Duration::from_secs(3600);

// ---- the world ---------------------------------------------------------------------------------

/// How much may happen.
#[derive(Debug, Clone)]
struct Scope {
    servers: u32,
    /// What each client asks, one after the other.
    scripts: Vec<Vec<Command>>,
    may: Left,
    rules: Rules,
    /// Walk only so far; everywhere, if `None`.
    depth: Option<usize>,
    /// Only this property is looked at; all of them, if `None`.
    only: Option<&'static str>,
    /// What has happened when the walk begins, one after the other, with all that follows from it.
    before: Vec<(Action, Settling)>,
    /// Everybody has a disk.
    disks: bool,
}

impl Scope {
    fn config(&self) -> Config {
        let mut config = Config::new(self.servers);
        config.clients = u32::try_from(self.scripts.len()).expect("few clients");
        config.rules = self.rules;
        config.timing = Timing {
            heartbeat: STEP,
            lease: STEP * 3 / 2,
            silence: STEP * 8 / 5,
            retry: NEVER,
            announce: NEVER,
            formation: if self.disks { STEP } else { NEVER },
            request_deadline: NEVER,
            idle: NEVER * 4,
            stall: STEP * 6 / 5,
            ..Timing::default()
        }
        .rigid();
        // All entries have the same time: when a write was taken in shall not make another state of it.
        config.unix_ms = u64::MAX;
        config
    }

    fn client(&self, at: usize) -> Rank {
        Rank(self.servers + 1 + u32::try_from(at).expect("few clients"))
    }
}

/// How what follows from an action comes to rest.
#[derive(Debug, Clone, Copy)]
struct Settling {
    /// These messages do not arrive.
    lost: fn(&Flying) -> bool,
    /// This disk writes nothing.
    stuck: Option<Rank>,
}

/// Everything arrives, and every disk writes.
const WELL: Settling = Settling { lost: |_| false, stuck: None };

/// A value and a number that stands for it.
#[derive(Debug)]
struct Known<T> {
    value: Arc<T>,
    digest: u64,
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), digest: self.digest }
    }
}

impl<T: fmt::Debug> Known<T> {
    fn new(value: T) -> Self {
        let digest = digest(format_args!("{}", settled(&format!("{value:?}"))));
        Self { value: Arc::new(value), digest }
    }
}

/// The same text without what decides nothing here: how late words were ([`Timing::rigid`] heeds no weather), when a
/// transfer made its last step and its parts were sent (no walk is long enough to ask for them again, and none has two
/// at once), and by how much a time lies beyond all walks.
fn settled(text: &str) -> String {
    const MOOT: [&str; 3] = ["progress: ", "spoke: Some(", "(Some("];
    let mut settled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("Time(").into_iter().chain(rest.find("weather: ")).min() {
        settled.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with("weather: ") { rest.find("round_trips") } else { rest.find(')') };
        let (found, after) = rest.split_at(end.expect("what is derived has an end"));
        let nanos = found.strip_prefix("Time(").and_then(|number| number.parse::<u128>().ok());
        let moot = MOOT.iter().any(|before| settled.ends_with(before));
        if nanos.is_some_and(|nanos| nanos < NEVER.as_nanos()) && !moot {
            settled.push_str(found);
        }
        rest = after;
    }
    settled + rest
}

fn digest(text: fmt::Arguments<'_>) -> u64 {
    struct Sum(Xxh3);
    impl fmt::Write for Sum {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut sum = Sum(Xxh3::new());
    sum.write_fmt(text).expect("adding up cannot fail");
    sum.0.digest()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Flying {
    from: Rank,
    to: Rank,
    message: Message,
}

impl fmt::Display for Flying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{} → n{} {}", self.from, self.to, self.message)
    }
}

/// What may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    /// Jumps of time.
    steps: u8,
    /// Of them, jumps during which a server is cut off.
    cuts: u8,
    /// Of them, jumps that a server sleeps through.
    naps: u8,
    crashes: u8,
    restarts: u8,
    duplicates: u8,
    /// A server is told for certain that another one is dead.
    proofs: u8,
    /// All servers and the metadata server are killed at once.
    kills: u8,
}

/// What an onlooker has seen of the servers and the clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Seen {
    /// Which request each write was.
    effects: BTreeMap<OpNumber, (ClientId, Seq)>,
    /// The store's digest after each write.
    digests: BTreeMap<OpNumber, u64>,
    /// The newest write that a client has an answer to.
    acknowledged: OpNumber,
    /// The first property that was violated.
    wrong: Option<&'static str>,
}

#[derive(Clone)]
struct State {
    now: Time,
    left: Left,
    servers: Vec<Option<Known<Server>>>,
    /// The life that a server that is down begins next.
    lives: Vec<Incarnation>,
    metadata: Known<Metadata>,
    /// The metadata server's, and those of the servers; none of them in a cluster without.
    disks: Vec<Known<Disk>>,
    clients: Vec<Known<Client>>,
    /// How much of its list each client has asked.
    asked: Vec<usize>,
    network: BTreeMap<u64, Arc<Flying>>,
    seen: Seen,
    /// Calls and answers in their order: that, not the time, is what counts.
    history: Arc<Vec<Operation>>,
    calls: Vec<u64>,
    moments: u64,
}

impl State {
    /// Everything that decides what can happen next, and what it means.
    fn key(&self) -> impl Hash + PartialEq + '_ {
        let servers: Vec<u64> = self.servers.iter().map(|server| server.as_ref().map_or(0, |s| s.digest)).collect();
        let clients: Vec<u64> = self.clients.iter().map(|client| client.digest).collect();
        let network: Vec<u64> = self.network.keys().copied().collect();
        let history = digest(format_args!("{:?}", self.history));
        let disks: Vec<u64> = self.disks.iter().map(|disk| disk.digest).collect();
        let about = (self.now, self.left, &self.lives, self.metadata.digest, &self.asked, &self.calls, history, disks);
        (servers, clients, network, about, &self.seen)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.metadata.value.view().map_or_else(|| "no view".to_owned(), ToString::to_string);
        write!(f, "{view};")?;
        for (at, server) in self.servers.iter().enumerate() {
            match server {
                None => write!(f, " server {} down;", at + 1)?,
                Some(Known { value, .. }) => {
                    let view = value.view().map_or(0, |view| view.number.0);
                    let serves = if value.serves_reads(self.now) { " serves" } else { "" };
                    let (op, commit) = (value.op(), value.store().op());
                    write!(f, " server {}@{view} {} op {op} commit {commit}{serves};", at + 1, value.role())?;
                }
            }
        }
        write!(f, " {} in flight; wrong: {:?}", self.network.len(), self.seen.wrong)
    }
}

/// What happens next.
#[derive(Clone, PartialEq)]
enum Action {
    Deliver {
        number: u64,
        keep: bool,
        shown: Arc<Flying>,
    },
    /// Time passes; one server may be cut off meanwhile, and even sleep.
    Time {
        without: Option<Rank>,
        asleep: bool,
    },
    Crash(Rank),
    Restart(Rank),
    Ask(usize),
    /// A server hears that all lives of another one before its next one are over.
    Prove {
        to: Rank,
        dead: Rank,
    },
    /// What was handed to this rank's disk is on it.
    Disk(Rank),
    /// All servers and the metadata server are killed; they start again, this one perhaps later.
    KillAll {
        late: Option<Rank>,
    },
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver { keep: false, shown, .. } => write!(f, "{shown}"),
            Self::Deliver { shown, .. } => write!(f, "{shown} (and once more)"),
            Self::Time { without: None, .. } => f.write_str("─ time passes"),
            Self::Time { without: Some(rank), asleep: false } => write!(f, "─ time passes, server {rank} is cut off"),
            Self::Time { without: Some(rank), asleep: true } => write!(f, "─ time passes, server {rank} sleeps"),
            Self::Crash(rank) => write!(f, "─ crash {rank}"),
            Self::Restart(rank) => write!(f, "─ recover {rank}"),
            Self::Prove { to, dead } => write!(f, "─ server {to} knows that {dead} is dead"),
            Self::Ask(client) => write!(f, "─ client {client} asks"),
            Self::Disk(rank) => write!(f, "─ it is on the disk of {rank}"),
            Self::KillAll { late: None } => f.write_str("─ all are killed, and come back"),
            Self::KillAll { late: Some(rank) } => write!(f, "─ all are killed, and come back but for server {rank}"),
        }
    }
}

// ---- what happens in it ------------------------------------------------------------------------

impl Scope {
    fn begin(&self) -> State {
        let config = self.config();
        let server = |rank| Server::new(Member { rank, incarnation: Incarnation(1) }, config.clone());
        let clients: Vec<_> = (0..self.scripts.len()).map(|at| self.client(at)).collect();
        let mut state = State {
            now: Time(0) + STEP,
            left: self.may,
            servers: config.server_ranks().map(|rank| Some(Known::new(server(rank)))).collect(),
            lives: vec![Incarnation(1); self.servers as usize],
            metadata: Known::new(Metadata::new(config.clone())),
            disks: Vec::new(),
            clients: clients.iter().map(|rank| Known::new(Client::new(*rank, config.timing))).collect(),
            asked: vec![0; clients.len()],
            network: BTreeMap::new(),
            seen: Seen::default(),
            history: Arc::default(),
            calls: vec![0; clients.len()],
            moments: 0,
        };
        if self.disks {
            self.add_disks(&mut state);
        } else {
            config.server_ranks().for_each(|rank| self.tick_server(&mut state, rank));
        }
        self.settle(&mut state, WELL);
        assert!(state.servers.iter().flatten().all(|server| server.value.holds_data()), "{state:?}");
        for (action, settling) in &self.before {
            state = self.next_state(&state, action.clone()).expect("it can happen");
            self.settle(&mut state, *settling);
        }
        state
    }

    /// One message after the other arrives, those of the lower ranks first, and all disks write, until nothing is under
    /// way.
    fn settle(&self, state: &mut State, Settling { lost, stuck }: Settling) {
        loop {
            state.network.retain(|_, flying| !lost(flying));
            if let Some(rank) = Self::writing(state).into_iter().find(|rank| Some(*rank) != stuck) {
                self.written(state, rank);
            } else if let Some((&number, _)) =
                state.network.iter().min_by_key(|(number, flying)| (flying.from, **number))
            {
                self.deliver(state, number, false);
            } else {
                return;
            }
        }
    }

    fn send(&self, state: &mut State, from: Rank, out: Outbox) {
        self.hand(state, from, out.writes);
        for event in out.events {
            if let Event::Applied { op, client, seq } = event {
                state.seen.applied(op, client, seq);
            }
        }
        for (to, message) in out.sends {
            let to_metadata = matches!(
                message,
                Message::GetView | Message::Announce { .. } | Message::ChangeView { .. } | Message::Held { .. }
            );
            if (to == METADATA) == to_metadata {
                let flying = Flying { from, to, message };
                let number = digest(format_args!("{flying:?}"));
                state.network.insert(number, Arc::new(flying));
            }
        }
    }

    /// A server does something, and then what it has put off.
    fn with_server(&self, state: &mut State, rank: Rank, act: impl FnOnce(&mut Server, Time, &mut Outbox)) {
        let at = rank.0 as usize - 1;
        let Some(known) = &state.servers[at] else { return };
        let mut server = (*known.value).clone();
        let mut out = Outbox { detail: true, ..Outbox::default() };
        act(&mut server, state.now, &mut out);
        server.tick(state.now, &mut out);
        state.seen.reached(&server);
        state.servers[at] = Some(Known::new(server));
        self.send(state, rank, out);
    }

    fn tick_server(&self, state: &mut State, rank: Rank) {
        self.with_server(state, rank, |_, _, _| {});
    }

    fn with_metadata(&self, state: &mut State, act: impl FnOnce(&mut Metadata, Time, &mut Outbox)) {
        let mut metadata = (*state.metadata.value).clone();
        let mut out = Outbox::default();
        act(&mut metadata, state.now, &mut out);
        // What it counts and remembers for people decides nothing.
        let digest = if self.disks {
            digest(format_args!("{}", settled(&format!("{metadata:?}"))))
        } else {
            digest(format_args!("{:?} {:?}", metadata.view(), metadata.known()))
        };
        state.metadata = Known { value: Arc::new(metadata), digest };
        self.send(state, METADATA, out);
    }

    fn with_client(&self, state: &mut State, at: usize, act: impl FnOnce(&mut Client, Time, &mut Outbox)) {
        let mut client = (*state.clients[at].value).clone();
        let mut out = Outbox::default();
        act(&mut client, state.now, &mut out);
        let rank = self.client(at);
        while let Some(completion) = client.pop_completion() {
            state.moments += 1;
            let mut operation = Operation::new(completion);
            (operation.call, operation.returned) = (Time(state.calls[at]), Some(Time(state.moments)));
            state.calls[at] = 0;
            state.seen.answered(&operation);
            Arc::make_mut(&mut state.history).push(operation);
            if matches!(check(&self.history(state)), Verdict::Failed(_)) {
                state.seen.wrong("linearizable");
            }
        }
        state.clients[at] = Known::new(client);
        self.send(state, rank, out);
    }

    /// What was answered, and what was asked and may have happened.
    fn history(&self, state: &State) -> Vec<Operation> {
        let pending = (0..self.scripts.len()).filter(|at| state.calls[*at] > 0).map(|at| Operation {
            client: ClientId::on(self.client(at).0),
            seq: Seq(state.asked[at] as u64),
            epoch: 1,
            command: self.scripts[at][state.asked[at] - 1].clone(),
            outcome: Outcome::Unknown,
            call: Time(state.calls[at]),
            returned: None,
        });
        state.history.iter().cloned().chain(pending).collect()
    }

    fn deliver(&self, state: &mut State, number: u64, keep: bool) {
        let flying = if keep { state.network.get(&number).cloned() } else { state.network.remove(&number) };
        let Some(Flying { from, to, message }) = flying.as_deref().cloned() else { return };
        if to == METADATA {
            self.with_metadata(state, |metadata, now, out| metadata.handle(now, from, message, out));
        } else if to.0 <= self.servers {
            self.with_server(state, to, |server, now, out| server.handle(now, from, message, out));
        } else {
            let at = (to.0 - self.servers - 1) as usize;
            self.with_client(state, at, |client, now, out| client.handle(now, message, out));
        }
    }

    fn pass(&self, state: &mut State, without: Option<Rank>, asleep: bool) {
        state.now = state.now + STEP;
        self.with_metadata(state, |metadata, now, out| metadata.tick(now, out));
        for rank in (1..=self.servers).map(Rank).filter(|rank| !asleep || without != Some(*rank)) {
            self.tick_server(state, rank);
        }
        self.deliver_background(state, without);
    }

    /// What is sent at regular intervals arrives at once, but not from or to this server.
    fn deliver_background(&self, state: &mut State, without: Option<Rank>) {
        let is_background = |(_, flying): &(&u64, &Arc<Flying>)| flying.message.is_background();
        while let Some((&number, flying)) = state.network.iter().find(is_background) {
            if without.is_some_and(|rank| flying.from == rank || flying.to == rank) {
                state.network.remove(&number);
            } else {
                self.deliver(state, number, false);
            }
        }
    }

    fn drop_moot(&self, state: &mut State) {
        let mut network = std::mem::take(&mut state.network);
        network.retain(|_, flying| !self.is_moot(state, flying));
        state.network = network;
    }

    /// True for a message that can change nothing, now or later.
    fn is_moot(&self, state: &State, Flying { to, message, .. }: &Flying) -> bool {
        let client = to.0.checked_sub(self.servers + 1).map(|at| &state.clients[at as usize].value);
        let known = match client {
            Some(client) => client.view(),
            None if *to == METADATA => state.metadata.value.view(),
            None => match &state.servers[to.0 as usize - 1] {
                Some(server) => server.value.view(),
                None => return false,
            },
        };
        let knows = |number| known.is_some_and(|view| view.number >= number);
        match message {
            Message::ViewIs { view } | Message::Refused { view } => knows(view.number),
            Message::NotPrimary { view: Some(view), .. } => knows(view.number),
            Message::Reply { seq, .. } => {
                client.is_some_and(|client| client.outstanding() == 0 || *seq != Seq(client.next_seq().0 - 1))
            }
            _ => false,
        }
    }
}

impl Seen {
    fn wrong(&mut self, property: &'static str) {
        self.wrong.get_or_insert(property);
    }

    fn applied(&mut self, op: OpNumber, client: ClientId, seq: Seq) {
        let elsewhere = self.effects.iter().any(|(other, request)| *other != op && *request == (client, seq));
        if elsewhere {
            self.wrong("exactly_once");
        }
        if *self.effects.entry(op).or_insert((client, seq)) != (client, seq) {
            self.wrong("prefix");
        }
    }

    fn reached(&mut self, server: &Server) {
        let store = server.store();
        let digest = store.full_digest();
        if *self.digests.entry(store.op()).or_insert(digest) != digest {
            self.wrong("prefix");
        }
    }

    fn answered(&mut self, operation: &Operation) {
        let request = (operation.client, operation.seq);
        let op = self.effects.iter().find(|(_, effect)| **effect == request).map(|(op, _)| *op);
        if let (Outcome::Done(_), Some(op)) = (&operation.outcome, op) {
            self.acknowledged = self.acknowledged.max(op);
        }
    }
}

impl Model for Scope {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.seen.wrong.is_some() {
            return;
        }
        for (number, shown) in &state.network {
            let deliver = |keep| Action::Deliver { number: *number, keep, shown: Arc::clone(shown) };
            actions.push(deliver(false));
            if state.left.duplicates > 0 {
                actions.push(deliver(true));
            }
        }
        let servers = || (1..=self.servers).map(Rank);
        let up = |rank: &Rank| state.servers[rank.0 as usize - 1].is_some();
        if state.left.steps > 0 {
            actions.push(Action::Time { without: None, asleep: false });
            let without = |asleep| move |rank| Action::Time { without: Some(rank), asleep };
            if state.left.cuts > 0 {
                // Of two servers, one that is cut off is the other one cut off.
                actions.extend(servers().filter(up).skip(usize::from(self.servers == 2)).map(without(false)));
            }
            if state.left.naps > 0 {
                actions.extend(servers().filter(up).map(without(true)));
            }
        }
        if state.left.crashes > 0 {
            actions.extend(servers().filter(up).map(Action::Crash));
        }
        actions.extend(Self::writing(state).into_iter().map(Action::Disk));
        if state.left.kills > 0 {
            let late = servers().map(Some).filter(|_| state.left.restarts > 0 || self.only.is_some());
            actions.extend(std::iter::once(None).chain(late).map(|late| Action::KillAll { late }));
        }
        if state.left.restarts > 0 {
            actions.extend(servers().filter(|rank| !up(rank)).map(Action::Restart));
        }
        if state.left.proofs > 0 {
            let crashed = |rank: &Rank| state.lives[rank.0 as usize - 1] > Incarnation(1);
            let prove = |dead: Rank| servers().filter(up).filter(move |to| *to != dead).map(move |to| (to, dead));
            let proofs = servers().filter(crashed).flat_map(prove);
            actions.extend(proofs.map(|(to, dead)| Action::Prove { to, dead }));
        }
        for (at, script) in self.scripts.iter().enumerate() {
            if state.asked[at] < script.len() && state.clients[at].value.outstanding() == 0 {
                actions.push(Action::Ask(at));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Deliver { number, keep, .. } => {
                state.left.duplicates -= u8::from(keep);
                self.deliver(&mut state, number, keep);
            }
            Action::Time { without, asleep } => {
                state.left.steps -= 1;
                state.left.naps -= u8::from(asleep);
                state.left.cuts -= u8::from(without.is_some() && !asleep);
                self.pass(&mut state, without, asleep);
            }
            Action::Crash(rank) => {
                state.left.crashes -= 1;
                let at = rank.0 as usize - 1;
                let server = state.servers[at].take()?;
                state.lives[at] = server.value.member().incarnation.next();
                self.forget_unwritten(&mut state, rank);
            }
            Action::Restart(rank) => {
                state.left.restarts -= 1;
                let at = rank.0 as usize - 1;
                let member = Member { rank, incarnation: state.lives[at] };
                state.servers[at] = Some(Known::new(self.server(&state, member)));
                self.tick_server(&mut state, rank);
            }
            Action::Disk(rank) => self.written(&mut state, rank),
            Action::KillAll { late } => {
                state.left.kills -= 1;
                self.kill_all(&mut state, late);
            }
            Action::Prove { to, dead } => {
                state.left.proofs -= 1;
                let before = state.lives[dead.0 as usize - 1];
                self.with_server(&mut state, to, |server, now, out| server.died(now, dead, before, out));
            }
            Action::Ask(at) => {
                let command = self.scripts[at][state.asked[at]].clone();
                state.asked[at] += 1;
                state.moments += 1;
                state.calls[at] = state.moments;
                self.with_client(&mut state, at, |client, now, out| {
                    client.submit(now, command, out);
                });
            }
        }
        self.deliver_background(&mut state, None);
        self.drop_moot(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let all = [
            Property::always("one_server", |_: &Scope, state: &State| serving(state).count() <= 1),
            Property::always("durability", |_: &Scope, state: &State| {
                serving(state).all(|server| server.store().op() >= state.seen.acknowledged)
            }),
            Property::always("prefix", |_: &Scope, state: &State| state.seen.wrong != Some("prefix")),
            Property::always("exactly_once", |_: &Scope, state: &State| state.seen.wrong != Some("exactly_once")),
            Property::always("linearizable", |_: &Scope, state: &State| state.seen.wrong != Some("linearizable")),
            Property::sometimes("everybody is answered", |scope: &Scope, state: &State| {
                state.history.len() == scope.scripts.iter().map(Vec::len).sum::<usize>()
            }),
            Property::sometimes("the primary is replaced", |_: &Scope, state: &State| {
                serving(state).any(|server| server.member().rank != Rank(1))
            }),
        ];
        all.into_iter().filter(|property| self.only.is_none_or(|only| only == property.name)).collect()
    }
}

fn serving(state: &State) -> impl Iterator<Item = &Server> {
    let serves = |server: &&Server| server.role() == Role::Primary && server.serves_reads(state.now);
    state.servers.iter().flatten().map(|server| &*server.value).filter(serves)
}

// ---- the walks ---------------------------------------------------------------------------------

fn put(value: &str) -> Command {
    Command::Put { key: "k".into(), value: value.into() }
}

fn get() -> Command {
    Command::Get { key: "k".into() }
}

fn incr() -> Command {
    Command::Incr { key: "n".into() }
}

/// The command of this line, of any kind.
fn words(line: &str) -> Command {
    let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
    commands::parse(&words).expect("a command")
}

/// An `EXEC` on values of three kinds.
fn exec() -> Command {
    Command::multi(vec![incr(), words("RPUSH q v"), words("HINCRBY h f 1")], Vec::new())
}

/// Nothing happens but that time passes.
const CALM: Left = Left { steps: 2, cuts: 0, naps: 0, crashes: 0, restarts: 0, duplicates: 0, proofs: 0, kills: 0 };

/// This much in a cluster of two servers, everywhere.
fn two_servers(scripts: &[&[Command]], may: Left) -> Scope {
    let scripts = scripts.iter().map(|script| script.to_vec()).collect();
    Scope {
        servers: 2,
        scripts,
        may,
        rules: Rules::default(),
        depth: None,
        only: None,
        before: Vec::new(),
        disks: false,
    }
}

/// Whether to walk as far as memory and patience reach.
fn is_long() -> bool {
    std::env::var("UNDERSTUDY_MODEL").is_ok_and(|value| value == "long")
}

/// Walks through everything, and demands that nothing is ever wrong, and that something happens at all.
fn hold(name: &str, scope: Scope) {
    let begun = Instant::now();
    let checker = scope.clone().checker().threads(if is_long() { 2 } else { 1 });
    let checker = if let Some(depth) = scope.depth { checker.target_max_depth(depth) } else { checker };
    let checker = checker.spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let bound = if scope.depth.is_some() { "and no deeper" } else { "which is all" };
    println!("{name}: {states} states, up to {depth} steps deep, {bound}, in {:.1?}", begun.elapsed());
    checker.assert_properties();
}

#[test]
fn two_servers_and_a_client() {
    let more = u8::from(is_long());
    let script = if is_long() { vec![put("1"), get()] } else { vec![put("1")] };
    hold("two servers", two_servers(&[&script], Left { steps: 3 + more, cuts: 2, ..CALM }));
}

#[test]
fn two_servers_a_writer_and_a_reader() {
    // A stale read is nine steps away, as the walk without leases shows below.
    let depth = (!is_long()).then_some(12);
    hold("a writer and a reader", Scope { depth, ..two_servers(&[&[put("1")], &[get()]], Left { cuts: 2, ..CALM }) });
}

#[test]
fn two_servers_that_crash_and_restart() {
    let more = u8::from(is_long());
    let scope = two_servers(&[&[put("1")]], Left { steps: 3, crashes: 1, restarts: 1, cuts: more, ..CALM });
    hold("crash and restart", scope);
}

#[test]
fn two_servers_that_know_of_deaths() {
    let more = u8::from(is_long());
    let may = Left { steps: 2, crashes: 1, restarts: more, proofs: 1 + more, ..CALM };
    hold("proofs of death", two_servers(&[&[words("LPUSH q v"), words("RPOP q")]], may));
}

#[test]
fn two_servers_that_sleep() {
    let more = u8::from(is_long());
    hold("sleep", two_servers(&[&[put("1"), get()]], Left { steps: 2 + more, naps: 2, ..CALM }));
}

#[test]
fn two_servers_and_messages_that_arrive_twice() {
    let cuts = 2 * u8::from(is_long());
    hold("duplicates", two_servers(&[&[exec()]], Left { crashes: 1, cuts, duplicates: 1, ..CALM }));
}

#[test]
fn three_servers_and_a_client() {
    let more = u8::from(is_long());
    hold(
        "three servers",
        Scope { servers: 3, ..two_servers(&[&[put("1")]], Left { steps: 3, crashes: 1, cuts: more, ..CALM }) },
    );
}

// ---- it can fail -------------------------------------------------------------------------------

/// Walks until the property is violated without the rule.
fn fail(rule: Rule, property: &'static str, scope: Scope) {
    let scope = Scope { rules: Rules::without(&[rule]), only: Some(property), ..scope };
    let checker = scope.checker().spawn_bfs().join();
    let states = checker.unique_state_count();
    let path =
        checker.discovery(property).unwrap_or_else(|| panic!("without {rule}, {property} holds: {states} states"));
    println!("without {rule}, {property} is violated after {states} states:");
    path.into_actions().iter().for_each(|action| println!("    {action:?}"));
}

#[test]
fn without_wait_for_all_a_write_is_lost() {
    fail(Rule::WaitForAll, "durability", two_servers(&[&[put("1")]], Left { crashes: 1, ..CALM }));
}

#[test]
fn without_leases_two_servers_answer_and_a_read_is_stale() {
    fail(Rule::Lease, "one_server", two_servers(&[&[put("1")]], Left { cuts: 2, ..CALM }));
    fail(Rule::Lease, "linearizable", two_servers(&[&[put("1")], &[get()]], Left { cuts: 2, ..CALM }));
}

#[test]
fn without_a_proof_of_death_the_living_are_buried() {
    fail(Rule::ProofOfDeath, "one_server", two_servers(&[&[put("1")]], Left { cuts: 1, ..CALM }));
}

#[test]
fn without_sessions_a_request_takes_effect_twice() {
    let may = Left { duplicates: 1, ..CALM };
    fail(Rule::Sessions, "exactly_once", two_servers(&[&[incr()]], may));
    fail(Rule::Sessions, "exactly_once", two_servers(&[&[exec()]], may));
}

#[test]
fn without_incarnations_a_write_is_forgotten() {
    fail(Rule::Incarnation, "durability", two_servers(&[&[put("1")]], Left { crashes: 1, restarts: 1, ..CALM }));
}

#[test]
fn without_the_tail_a_write_is_thrown_away() {
    fail(Rule::Tail, "durability", two_servers(&[&[put("1")]], Left { crashes: 1, ..CALM }));
}

#[test]
fn without_join_before_count_an_empty_server_takes_over() {
    // The walk to there is long: it begins when the backup has died and the primary serves alone.
    let may = Left { steps: 4, crashes: 2, restarts: 1, ..CALM };
    let time = Action::Time { without: None, asleep: false };
    let before = [Action::Ask(0), Action::Crash(Rank(2)), time.clone(), time].map(|action| (action, WELL)).to_vec();
    let scope = Scope { before, ..two_servers(&[&[put("1")]], may) };
    fail(Rule::JoinBeforeCount, "durability", scope.clone());
    // With the rule there is no such way.
    hold("join before count", scope);
}
