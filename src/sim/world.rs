//! Virtual time, the network, the cluster.

use super::coverage::Situation;
use super::happening::{Happening, Record, What};
use super::invariants::{Invariants, Violation};
use crate::check::Operation;
use crate::driver::{FrontHost, ServerHost, Setup, Sink};
use crate::fault::Control;
use crate::protocol::{Event, Incarnation, METADATA, Message, Rank, Role, Time, View, ViewNumber};
use crate::store::{ClientId, Command};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A message travels at least and at most this long, in microseconds, unless a fault says otherwise.
const TRAVEL_US: std::ops::Range<u64> = 3..60;
/// Messages that wait for a paused server; more would be a flood.
const BACKLOG_MAX: usize = 200_000;
/// The most lines kept of what happened last.
const RECENT_MAX: usize = 60;

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
    record: Record,
    happenings: VecDeque<Happening>,
    invariants: Invariants,
    violation: Option<Violation>,
    /// A violation does not end the run.
    goes_on: bool,
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
            record: Record::Nothing,
            happenings: VecDeque::new(),
            invariants,
            violation: None,
            goes_on: false,
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

    /// Forgets the finished operations.
    pub fn forget_history(&mut self) {
        self.history.clear();
    }

    /// What this client still has running was asked at or after this.
    #[must_use]
    pub fn running_since(&self, client: ClientId) -> Time {
        self.front(Rank(client.0)).client().running_since(self.now())
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

    /// The first thing that should never have happened.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Time goes on after the first violation, for those who want to see what comes of it.
    pub fn go_on(&mut self) {
        self.goes_on = true;
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

    /// Says how much of what happens is to be kept from now on.
    pub fn record(&mut self, record: Record) {
        self.record = record;
        if record != Record::Nothing {
            self.servers.values_mut().for_each(|server| server.outlet_mut().keep_lost());
            self.fronts.values_mut().for_each(|front| front.outlet_mut().keep_lost());
        }
    }

    /// What was kept since the last call, oldest first.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings).into()
    }

    /// Puts what was done to the cluster among what happens.
    pub fn note(&mut self, what: impl Into<String>) {
        let view = self.view_of(METADATA);
        self.remember(METADATA, view, What::Done(what.into()));
    }

    /// The newest view that a rank knows.
    fn view_of(&self, rank: Rank) -> ViewNumber {
        let view = match (self.servers.get(&rank), self.fronts.get(&rank)) {
            (Some(host), _) => host.server().and_then(|server| server.view()),
            (None, Some(front)) => front.metadata().map_or(front.client().view(), |metadata| metadata.view()),
            (None, None) => None,
        };
        view.map_or(ViewNumber(0), |view| view.number)
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

    /// True when the data would be gone with this server: in the current view, or in a view that a server has just
    /// confirmed and that may be the current one at any moment, nobody else has them.
    #[must_use]
    pub fn is_last_holder(&self, rank: Rank) -> bool {
        let running = || self.servers.values().filter_map(ServerHost::server);
        let current = self.view_now();
        let confirmed = running().filter_map(|server| server.confirmed()).map(|view| &**view);
        let next = confirmed.filter(|view| current.is_some_and(|current| view.number > current.number));
        let only =
            |view: &View| running().all(|s| s.member().rank == rank || !view.contains(s.member()) || !s.holds_data());
        current.into_iter().chain(next).any(only)
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
        if result.is_ok() && matches!(control, Control::Resume | Control::Crash) {
            self.wake(to);
        }
        self.after_step();
        result
    }

    /// A server that was stopped finds what has arrived meanwhile.
    fn wake(&mut self, rank: Rank) {
        let replaced = self.view_now().is_none_or(|view| view.primary.rank != rank);
        if replaced && self.role(rank) == Role::Primary {
            self.invariants.coverage.meet(Situation::ZombieWoke);
        }
        for delivery in self.backlog.remove(&rank).unwrap_or_default() {
            self.deliver(delivery);
        }
    }

    /// Does the next thing that is due, at most up to `until`. False when nothing was due.
    pub fn step(&mut self, until: Time) -> bool {
        if self.violation.is_some() && !self.goes_on {
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
        if let Some(server) = self.servers.get(&to) {
            self.invariants.on_delivery(self.now, server, &message);
            self.with_server(to, |server, now, sink| {
                server.handle(now, from, message, sink);
                server.tick(now, sink);
            });
        } else {
            if let (Message::ChangeView { to: view, .. }, Some(current)) = (&message, self.view_now()) {
                let (asked, current) = (view.number, current.number);
                self.invariants.on_change_view(from, asked, current);
            }
            self.with_front(to, |front, now, sink| front.handle(now, from, message, sink));
        }
    }

    fn with_server(&mut self, rank: Rank, act: impl FnOnce(&mut ServerHost, Time, &mut Sink<'_>)) {
        let (now, before) = (self.now, self.view_of(rank));
        let (mut sends, mut events) = (Vec::new(), Vec::new());
        let mut sink =
            Sink { emit: &mut |to, message| sends.push((to, message)), tell: &mut |event| events.push(event.clone()) };
        let host = self.servers.get_mut(&rank).unwrap_or_else(|| panic!("there is no server {rank}"));
        act(host, now, &mut sink);
        let lost = host.outlet_mut().take_lost();
        self.take_in(rank, before, sends, lost, events);
        self.invariants.on_server(now, &self.servers[&rank]);
    }

    fn with_front(&mut self, rank: Rank, act: impl FnOnce(&mut FrontHost, Time, &mut Sink<'_>)) {
        let (now, before) = (self.now, self.view_of(rank));
        let (mut sends, mut events) = (Vec::new(), Vec::new());
        let mut sink =
            Sink { emit: &mut |to, message| sends.push((to, message)), tell: &mut |event| events.push(event.clone()) };
        let front = self.fronts.get_mut(&rank).unwrap_or_else(|| panic!("there is no client {rank}"));
        act(front, now, &mut sink);
        let lost = front.outlet_mut().take_lost();
        while let Some(completion) = front.pop_completion() {
            let operation = Operation::new(ClientId(rank.0), completion);
            self.invariants.on_answer(&operation);
            self.history.push(operation);
        }
        self.take_in(rank, before, sends, lost, events);
    }

    /// What a rank has told and sent, and the messages that were lost between those that it sent.
    fn take_in(
        &mut self,
        from: Rank,
        before: ViewNumber,
        sends: Vec<(Rank, Message)>,
        (lost, left): (Vec<(u64, Rank, Message)>, u64),
        events: Vec<Event>,
    ) {
        // What left before a crash has left: the crash is told after it.
        let crash = events.iter().position(|event| matches!(event, Event::Crashed { .. })).unwrap_or(events.len());
        let mut events = events.into_iter();
        self.tell(from, before, events.by_ref().take(crash));
        let mut lost = lost.into_iter().peekable();
        let first = left - sends.len() as u64;
        for (number, (to, message)) in (first..).zip(sends) {
            while let Some((_, to, message)) = lost.next_if(|(left_before, ..)| *left_before <= number) {
                self.remember(from, before, What::Lost { to, message });
            }
            self.send(from, before, to, message);
        }
        for (_, to, message) in lost {
            self.remember(from, before, What::Lost { to, message });
        }
        self.tell(from, before, events);
    }

    fn tell(&mut self, from: Rank, before: ViewNumber, events: impl Iterator<Item = Event>) {
        for event in events {
            self.invariants.on_event(from, &event, &self.servers);
            self.remember(from, before, What::Told(event));
        }
    }

    fn send(&mut self, from: Rank, before: ViewNumber, to: Rank, message: Message) {
        self.invariants.on_send(from, &message);
        if self.record != Record::Nothing {
            self.remember(from, before, What::Sent { to, message: message.clone() });
        }
        let travel = Duration::from_micros(self.rng.random_range(TRAVEL_US));
        let last = self.last_arrival.entry((from, to)).or_default();
        let arrival = (self.now + travel).max(*last);
        *last = arrival;
        self.sent += 1;
        self.flying.insert((arrival, self.sent), Delivery { from, to, message });
    }

    fn remember(&mut self, rank: Rank, before: ViewNumber, what: What) {
        if self.record == Record::Nothing {
            return;
        }
        let view = self.view_of(rank).max(before);
        let happening = Happening { at: self.now, rank, before, view, what };
        if self.record == Record::Recent {
            if happening.is_background() {
                return;
            }
            if self.happenings.len() == RECENT_MAX {
                self.happenings.pop_front();
            }
        }
        self.happenings.push_back(happening);
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
