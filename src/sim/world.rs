//! Virtual time, the network, the cluster.

use super::invariants::{Invariants, Violation};
use crate::check::Operation;
use crate::driver::{FrontHost, ServerHost, Setup, Sink};
use crate::fault::Control;
use crate::protocol::{Event, Incarnation, METADATA, Message, Rank, Role, Time, ViewNumber};
use crate::store::{ClientId, Command};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

/// A message travels at least and at most this long, in microseconds, unless a fault says otherwise.
const TRAVEL_US: std::ops::Range<u64> = 3..60;
/// Messages that wait for a paused server; more would be a flood.
const BACKLOG_MAX: usize = 200_000;
/// The most lines kept of what happened last.
const RECENT_MAX: usize = 60;

/// A node and the view it is in: `n1@3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Which node.
    pub rank: Rank,
    /// The newest view it knows.
    pub view: ViewNumber,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}@{}", self.rank, self.view)
    }
}

/// Something that happened, for transcripts and for the report of a failing seed.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A message was sent; `background` for those that are sent at regular intervals.
    Sent { from: Party, to: Rank, text: String, background: bool },
    /// A message was lost on purpose.
    Lost { from: Party, to: Rank, text: String },
    /// A node told something; `before` it did what it tells of, it was in that view.
    Told { by: Party, before: Party, event: Event },
}

/// What a node wants done or told, in order.
enum Out {
    Send(Rank, Message),
    Tell(Event),
}

/// One message on its way.
#[derive(Debug, Clone)]
struct Delivery {
    from: Rank,
    to: Rank,
    message: Message,
}

/// A cluster on virtual time.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    now: Time,
    rng: ChaCha8Rng,
    servers: BTreeMap<Rank, ServerHost>,
    fronts: BTreeMap<Rank, FrontHost>,
    flying: BTreeMap<(Time, u64), Delivery>,
    /// Messages keep their order on a link, as MPI's do.
    last_arrival: BTreeMap<(Rank, Rank), Time>,
    backlog: BTreeMap<Rank, VecDeque<Delivery>>,
    sent: u64,
    delivered: u64,
    history: Vec<Operation>,
    recent: VecDeque<(Time, Happening)>,
    /// Told to the caller of [`World::take_happenings`], when it asked for it.
    told: Option<Vec<(Time, Happening)>>,
    invariants: Invariants,
    injected: BTreeMap<&'static str, u64>,
    violation: Option<Violation>,
}

impl World {
    /// A cluster that is just being started.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(setup.seed);
        rng.set_stream(u64::MAX);
        let config = &setup.config;
        let mut servers: BTreeMap<Rank, ServerHost> = config
            .server_ranks()
            .map(|rank| (rank, ServerHost::new(rank, Incarnation(1), rank.0, setup.clone())))
            .collect();
        servers.values_mut().for_each(|server| server.set_detail(true));
        let fronts = config.client_ranks().map(|rank| (rank, FrontHost::new(rank, rank.0, &setup))).collect();
        let invariants = Invariants::new(config);
        Self {
            now: Time(1),
            rng,
            servers,
            fronts,
            flying: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            backlog: BTreeMap::new(),
            sent: 0,
            delivered: 0,
            history: Vec::new(),
            recent: VecDeque::new(),
            told: None,
            invariants,
            injected: BTreeMap::new(),
            violation: None,
            setup,
        }
    }

    /// Virtual time since the start.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// What the cluster was started with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The seeded source of this world's chances.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    /// The servers.
    #[must_use]
    pub fn servers(&self) -> &BTreeMap<Rank, ServerHost> {
        &self.servers
    }

    /// One server.
    ///
    /// # Panics
    /// When there is no such server.
    pub fn server_mut(&mut self, rank: Rank) -> &mut ServerHost {
        self.servers.get_mut(&rank).unwrap_or_else(|| panic!("there is no server {rank}"))
    }

    /// One client (rank 0 is the console).
    ///
    /// # Panics
    /// When there is no such client.
    #[must_use]
    pub fn front(&self, rank: Rank) -> &FrontHost {
        &self.fronts[&rank]
    }

    /// One client, to take its reports.
    ///
    /// # Panics
    /// When there is no such client.
    pub fn front_mut(&mut self, rank: Rank) -> &mut FrontHost {
        self.fronts.get_mut(&rank).unwrap_or_else(|| panic!("there is no client {rank}"))
    }

    /// The ranks of the clients.
    #[must_use]
    pub fn clients(&self) -> Vec<Rank> {
        self.fronts.keys().copied().collect()
    }

    /// Every finished operation of every client.
    #[must_use]
    pub fn history(&self) -> &[Operation] {
        &self.history
    }

    /// What the invariants have counted on the way.
    #[must_use]
    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    /// The same, to count or take what was counted.
    pub fn invariants_mut(&mut self) -> &mut Invariants {
        &mut self.invariants
    }

    /// Counts a fault that was injected.
    pub fn count_injected(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    /// The faults that were injected.
    #[must_use]
    pub fn injected(&self) -> &BTreeMap<&'static str, u64> {
        &self.injected
    }

    /// The first thing that should never have happened.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The last things that happened, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &(Time, Happening)> {
        self.recent.iter()
    }

    /// Messages delivered so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Messages on their way.
    #[must_use]
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// Starts to collect (or drops) everything that happens.
    pub fn collect_happenings(&mut self, collect: bool) {
        self.told = collect.then(Vec::new);
    }

    /// What happened since the last call.
    pub fn take_happenings(&mut self) -> Vec<(Time, Happening)> {
        self.told.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The server that the metadata server names primary.
    #[must_use]
    pub fn primary(&self) -> Option<Rank> {
        self.view_now().map(|view| view.primary.rank)
    }

    /// The view at the metadata server.
    #[must_use]
    pub fn view_now(&self) -> Option<&crate::protocol::View> {
        self.fronts[&METADATA].metadata().and_then(|metadata| metadata.view()).map(|view| &**view)
    }

    /// Servers that are up and hold the data of the current view.
    #[must_use]
    pub fn holders(&self) -> Vec<Rank> {
        let Some(view) = self.view_now() else { return Vec::new() };
        let holds = |server: &&ServerHost| server.server().is_some_and(|s| view.contains(s.member()) && s.holds_data());
        self.servers.values().filter(holds).map(ServerHost::rank).collect()
    }

    /// A client asks for something.
    pub fn submit(&mut self, client: Rank, command: Command) {
        self.with_front(client, |front, now, sink| {
            front.submit(now, command, sink);
        });
    }

    /// An operator gives an order to a rank.
    ///
    /// # Errors
    /// When the rank refuses it.
    pub fn control(&mut self, to: Rank, control: &Control) -> Result<(), String> {
        let mut result = Ok(());
        if self.servers.contains_key(&to) {
            self.with_server(to, |server, now, sink| result = server.control(now, control, sink));
        } else {
            self.with_front(to, |front, now, sink| result = front.control(now, control, sink));
        }
        if *control == Control::Resume && result.is_ok() {
            for delivery in self.backlog.remove(&to).unwrap_or_default() {
                self.deliver(delivery);
            }
        }
        self.after_step();
        result
    }

    /// Does the next thing that is due, at most up to `until`. False when nothing was due.
    pub fn step(&mut self, until: Time) -> bool {
        if self.violation.is_some() {
            return false;
        }
        let arrival = self.flying.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at);
        let (timer, who) = self.next_timer();
        if arrival.min(timer) > until {
            self.now = self.now.max(until);
            return false;
        }
        if arrival <= timer {
            let ((at, _), delivery) = self.flying.pop_first().expect("just seen");
            self.now = self.now.max(at);
            self.deliver(delivery);
        } else {
            self.now = self.now.max(timer);
            self.tick(who);
        }
        self.after_step();
        true
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
    }

    /// Lets time pass until `done`, for at most `limit`. True when it came true.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let until = self.now + limit;
        while !done(self) {
            if !self.step(until) {
                return done(self);
            }
        }
        true
    }

    fn next_timer(&self) -> (Time, Rank) {
        let servers = self.servers.iter().map(|(rank, server)| (server.deadline(), *rank));
        let fronts = self.fronts.iter().map(|(rank, front)| (front.deadline(), *rank));
        servers.chain(fronts).min().expect("there is at least the console")
    }

    fn tick(&mut self, who: Rank) {
        if self.servers.contains_key(&who) {
            self.with_server(who, |server, now, sink| server.tick(now, sink));
        } else {
            self.with_front(who, |front, now, sink| front.tick(now, sink));
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Delivery { from, to, message } = delivery;
        if self.servers.get(&to).is_some_and(ServerHost::is_paused) {
            let backlog = self.backlog.entry(to).or_default();
            if backlog.len() < BACKLOG_MAX {
                backlog.push_back(Delivery { from, to, message });
            }
            return;
        }
        self.delivered += 1;
        if self.servers.contains_key(&to) {
            self.invariants.on_delivery(from, to, &message);
            self.with_server(to, |server, now, sink| {
                server.handle(now, from, message, sink);
                server.tick(now, sink);
            });
        } else {
            self.with_front(to, |front, now, sink| front.handle(now, from, message, sink));
        }
    }

    fn with_server(&mut self, rank: Rank, act: impl FnOnce(&mut ServerHost, Time, &mut Sink<'_>)) {
        let now = self.now;
        let (before, outs) = (self.party(rank), RefCell::new(Vec::new()));
        let mut sink = Sink {
            emit: &mut |to, message| outs.borrow_mut().push(Out::Send(to, message)),
            tell: &mut |event| outs.borrow_mut().push(Out::Tell(event.clone())),
        };
        act(self.servers.get_mut(&rank).unwrap_or_else(|| panic!("there is no server {rank}")), now, &mut sink);
        self.take_in(before, outs.into_inner());
        self.invariants.on_server(now, &self.servers[&rank]);
    }

    fn with_front(&mut self, rank: Rank, act: impl FnOnce(&mut FrontHost, Time, &mut Sink<'_>)) {
        let now = self.now;
        let (before, outs) = (self.party(rank), RefCell::new(Vec::new()));
        let mut sink = Sink {
            emit: &mut |to, message| outs.borrow_mut().push(Out::Send(to, message)),
            tell: &mut |event| outs.borrow_mut().push(Out::Tell(event.clone())),
        };
        let front = self.fronts.get_mut(&rank).unwrap_or_else(|| panic!("there is no client {rank}"));
        act(front, now, &mut sink);
        while let Some(completion) = front.pop_completion() {
            let operation = Operation::new(ClientId(rank.0), completion);
            self.invariants.on_answer(&operation);
            self.history.push(operation);
        }
        self.take_in(before, outs.into_inner());
    }

    /// A node, and the newest view that it knows.
    fn party(&self, rank: Rank) -> Party {
        let view = match (self.servers.get(&rank), self.fronts.get(&rank)) {
            (Some(host), _) => host.server().and_then(|server| server.view()),
            (None, Some(front)) => front.metadata().map_or(front.client().view(), |metadata| metadata.view()),
            (None, None) => None,
        };
        Party { rank, view: view.map_or(ViewNumber(0), |view| view.number) }
    }

    fn take_in(&mut self, before: Party, outs: Vec<Out>) {
        let mut party = self.party(before.rank);
        if party.view == ViewNumber(0) {
            party = before; // A crashed server knows no view any more; what it said, it said before.
        }
        for out in outs {
            match out {
                Out::Tell(event) => {
                    self.invariants.on_event(party.rank, &event);
                    self.remember(match event {
                        Event::Lost { to, message: text } => Happening::Lost { from: party, to, text },
                        event => Happening::Told { by: party, before, event },
                    });
                }
                Out::Send(to, message) => self.launch(party, to, message),
            }
        }
    }

    fn launch(&mut self, from: Party, to: Rank, message: Message) {
        self.invariants.on_send(&message);
        let background = message.is_background();
        if self.told.is_some() || !background {
            // Formatting costs more than the simulation itself: in full only for those who read everything.
            let text = if self.told.is_some() { message.to_string() } else { message.name().to_owned() };
            self.remember(Happening::Sent { from, to, text, background });
        }
        let travel = Duration::from_micros(self.rng.random_range(TRAVEL_US));
        let last = self.last_arrival.entry((from.rank, to)).or_default();
        let arrival = (self.now + travel).max(*last);
        *last = arrival;
        self.sent += 1;
        self.flying.insert((arrival, self.sent), Delivery { from: from.rank, to, message });
    }

    fn remember(&mut self, happening: Happening) {
        if let Some(told) = &mut self.told {
            told.push((self.now, happening.clone()));
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((self.now, happening));
    }

    fn after_step(&mut self) {
        if self.violation.is_none() {
            let metadata = self.fronts[&METADATA].metadata().expect("rank 0 is the metadata server");
            self.violation = self.invariants.check(self.now, metadata, &self.servers).err();
        }
    }

    /// Reports a violation that was found at the end of a run.
    pub fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// One word a server: for waiting in tests.
    #[must_use]
    pub fn role(&self, rank: Rank) -> Role {
        self.servers[&rank].server().map_or(Role::Down, |server| server.role())
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { from, to, text, .. } => write!(f, "{from} → n{to} {text}"),
            Self::Lost { from, to, text } => write!(f, "{from} ⇥ n{to} {text}"),
            Self::Told { by, before, event: Event::RoleChanged { from, to, .. } } => {
                write!(f, "{before} {from} ⇨ {by} {to}")
            }
            Self::Told { by, event, .. } => write!(f, "{by} {event}"),
        }
    }
}
