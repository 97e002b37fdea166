//! Virtual time, the network, the cluster.

mod disks;
mod proofs;

pub use disks::DiskSetup;

use super::clock::Clock;
use super::coverage::Situation;
use super::happening::{Happening, Recall, What};
use super::invariants::{Invariants, Violation};
use super::linger::Linger;
use super::machine::Machine;
use super::network::{Delivery, Network, Stray};
use super::work::Work;
use crate::check::Operation;
use crate::core::fault::{Control, ControlError};
use crate::core::node::{FrontHost, Outputs, ServerHost, Setup};
use crate::core::protocol::{
    Client, Event, Incarnation, METADATA, Message, Observation, Outcome, Rank, Role, Server, Time, View, ViewNumber,
};
use crate::core::store::{ClientId, Command, Seq};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Messages that wait for a rank without a turn; more would be a flood.
const INBOX_MAX: usize = 200_000;
/// The most lines kept of what happened last.
const RECENT_MAX: usize = 60;

/// What a test makes of a message that a server is about to take in from this rank; what it returns is an answer in
/// the server's name. So a test can see whether a protocol with a flaw would be noticed.
pub type Bend = fn(&Server, Rank, &mut Message) -> Option<Message>;

/// A cluster on virtual time.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    now: Time,
    rng: ChaCha8Rng,
    servers: BTreeMap<Rank, ServerHost>,
    fronts: BTreeMap<Rank, FrontHost>,
    machines: BTreeMap<Rank, Machine>,
    network: Network,
    /// What has arrived and waits for a turn.
    inbox: BTreeMap<Rank, VecDeque<(Rank, Message)>>,
    delivered: u64,
    /// How often something has happened by itself.
    steps: u64,
    /// When what clients wait for was asked, by the time of this world: their own clocks cannot be compared.
    /// Of which client of a rank, and under which number.
    calls: BTreeMap<(Rank, u32, Seq), Time>,
    /// Turns take this many times what they take on an ordinary machine; 0: no time at all.
    slowness: f64,
    bend: Option<Bend>,
    history: Vec<Operation>,
    given_up: Vec<(Rank, Seq, Time)>,
    record: Recall,
    happenings: VecDeque<Happening>,
    invariants: Invariants,
    violation: Option<Violation>,
    /// A violation does not end the run.
    goes_on: bool,
    disks: Option<disks::Disks>,
    proofs: Option<proofs::Proofs>,
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
            machines: (0..config.ranks()).map(|rank| (Rank(rank), Machine::default())).collect(),
            network: Network::new(setup.seed),
            inbox: BTreeMap::new(),
            delivered: 0,
            steps: 0,
            calls: BTreeMap::new(),
            slowness: 0.0,
            bend: None,
            history: Vec::new(),
            given_up: Vec::new(),
            record: Recall::Nothing,
            happenings: VecDeque::new(),
            invariants,
            violation: None,
            goes_on: false,
            disks: None,
            proofs: None,
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

    /// Which requests clients gave up, and when.
    #[must_use]
    pub fn given_up(&self) -> &[(Rank, Seq, Time)] {
        &self.given_up
    }

    /// Forgets the finished operations.
    pub fn forget_history(&mut self) {
        self.history.clear();
        self.given_up.clear();
    }

    /// What the clients on the rank of this one still have running was asked at or after this.
    #[must_use]
    pub fn running_since(&self, client: ClientId) -> Time {
        let rank = Rank(client.rank());
        let running = self.calls.range((rank, 0, Seq(0))..=(rank, u32::MAX, Seq(u64::MAX)));
        running.map(|(_, call)| *call).min().unwrap_or(self.now + Duration::from_nanos(1))
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

    /// How often something has happened by itself: one [`World::step`] each.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Messages delivered so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Messages on their way.
    #[must_use]
    pub fn flying(&self) -> usize {
        self.network.flying()
    }

    // ---- machines and network ------------------------------------------------------------------

    /// What the rank's own clock shows now.
    #[must_use]
    pub fn local(&self, rank: Rank) -> Time {
        self.machines[&rank].clock.local(self.now)
    }

    /// The computer under a rank.
    ///
    /// # Panics
    /// When there is no such rank.
    pub fn machine_mut(&mut self, rank: Rank) -> &mut Machine {
        self.machines.get_mut(&rank).unwrap_or_else(|| panic!("there is no rank {rank}"))
    }

    /// From now on this is the rank's clock.
    pub fn set_clock(&mut self, rank: Rank, clock: Clock) {
        self.machine_mut(rank).clock = clock;
    }

    /// From now on turns take this many times what they take on an ordinary machine.
    pub fn set_slowness(&mut self, slowness: f64) {
        self.slowness = slowness;
    }

    /// From now on servers take in what this makes of their messages.
    pub fn set_bend(&mut self, bend: Option<Bend>) {
        self.bend = bend;
    }

    /// The rank gets no turn for this long.
    pub fn stall(&mut self, rank: Rank, wait: Duration) {
        let now = self.now;
        self.machine_mut(rank).stall(now, wait);
    }

    /// The rank's host sleeps for this long, while its clock goes on; on waking the clock is set ahead by `ahead`.
    pub fn sleep(&mut self, rank: Rank, wait: Duration, ahead: Duration) {
        self.stall(rank, wait);
        // Nobody reads it before the host wakes.
        self.machine_mut(rank).clock.jump(ahead);
    }

    /// For so long the rank gets a turn only once in every such stretch of time.
    pub fn slow(&mut self, rank: Rank, every: Duration, wait: Duration) {
        let now = self.now;
        self.machine_mut(rank).slow(now, every, wait);
    }

    /// Messages go astray as often as this from now on.
    pub fn set_stray(&mut self, stray: Stray) {
        self.network.set_stray(stray);
    }

    /// From now on acknowledgements linger.
    pub(super) fn set_linger(&mut self, linger: Linger) {
        self.network.set_linger(Some(linger));
    }

    /// The links.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The links, to do something to what is on its way.
    pub(super) fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// When this rank's next timer is due, by the time of this world.
    #[must_use]
    pub(super) fn timer(&self, rank: Rank) -> Time {
        let server = self.servers.get(&rank).filter(|server| !server.is_paused()).map(ServerHost::deadline);
        let deadline = server.or_else(|| self.fronts.get(&rank).map(FrontHost::deadline));
        let deadline = deadline.filter(|deadline| *deadline != Time::NEVER);
        deadline.map_or(Time::NEVER, |deadline| self.machines[&rank].clock.time(deadline))
    }

    /// Every rank has its turns again, and no further message goes astray. Clocks stay as they are, and what went
    /// astray before still arrives.
    pub fn calm(&mut self) {
        self.machines.values_mut().for_each(|machine| machine.calm(self.now));
        self.network.set_stray(Stray::default());
        self.network.set_linger(None);
        self.network.hurry(self.now);
        self.calm_disks();
    }

    /// Says how much of what happens is to be kept from now on.
    pub fn record(&mut self, record: Recall) {
        self.record = record;
        if record != Recall::Nothing {
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
    pub fn view_now(&self) -> Option<&crate::core::protocol::View> {
        self.fronts[&METADATA].metadata().and_then(|metadata| metadata.view()).map(|view| &**view)
    }

    /// Servers that are up and hold the data of the current view.
    #[must_use]
    pub fn holders(&self) -> Vec<Rank> {
        let Some(view) = self.view_now() else { return Vec::new() };
        let holds = |server: &&ServerHost| server.server().is_some_and(|s| view.contains(s.member()) && s.holds_data());
        self.servers.values().filter(holds).map(ServerHost::rank).collect()
    }

    /// True when the data would be gone with this server: in the current view, or in one whose confirmation is on its
    /// way at this moment, nobody else has them. (Whoever has confirmed a view may be answering in it for all that
    /// anybody else can know: a death that overtakes the confirmation is that of the view's primary.)
    #[must_use]
    pub fn is_last_holder(&self, rank: Rank) -> bool {
        let running = || self.servers.values().filter_map(ServerHost::server);
        let only =
            |view: &View| running().all(|s| s.member().rank == rank || !view.contains(s.member()) || !s.holds_data());
        self.view_now().is_some_and(only) || self.confirmations().iter().any(|view| only(view))
    }

    /// The views that follow the current one and whose confirmation has left a server and not reached rank 0.
    fn confirmations(&self) -> Vec<Arc<View>> {
        let Some(current) = self.view_now() else { return Vec::new() };
        let held_back = self.servers.values().flat_map(|server| server.outlet().held_back());
        let waiting = self.inbox.iter().flat_map(|(to, all)| all.iter().map(move |(_, message)| (*to, message)));
        let mut views = Vec::new();
        for (to, message) in held_back.chain(self.network.departed(self.now)).chain(waiting) {
            let carried = match message {
                Message::Relay(relay) if relay.to == METADATA => relay.carried(),
                message if to == METADATA => message.clone(),
                _ => continue,
            };
            if let Message::ChangeView { to, confirms: Some(_), .. } = carried
                && to.number > current.number
            {
                views.push(to);
            }
        }
        views
    }

    /// A client asks for something.
    pub fn submit(&mut self, client: Rank, command: Command) {
        self.with_front(client, Work::default(), |front, now, out| {
            front.submit(now, command, out);
        });
    }

    /// One of the clients on a rank asks for something; the first one is number 0.
    pub fn submit_to(&mut self, rank: Rank, at: usize, command: Command) {
        self.with_front(rank, Work::default(), |front, now, out| {
            front.submit_to(now, at, command, out);
        });
    }

    /// One of the clients on a rank leaves, and goes on under its next name. True when it did.
    pub fn leave(&mut self, rank: Rank, at: usize) -> bool {
        let mut left = false;
        self.with_front(rank, Work::default(), |front, now, out| left = front.leave(now, at, out));
        left
    }

    /// An operator gives an order to a rank.
    ///
    /// # Errors
    /// When the rank refuses it.
    pub fn control(&mut self, to: Rank, control: &Control) -> Result<(), ControlError> {
        let mut result = Ok(());
        if self.servers.contains_key(&to) {
            self.with_server(to, Work::default(), |server, _, now, out| result = server.control(now, control, out));
        } else {
            self.with_front(to, Work::default(), |front, now, out| result = front.control(now, control, out));
        }
        if result.is_ok() && matches!(control, Control::Crash | Control::Wipe) {
            self.network.die(to, self.now);
        }
        if result.is_ok() && matches!(control, Control::Resume | Control::Crash | Control::Wipe) {
            self.wake(to);
        }
        self.after_step();
        result
    }

    /// A server that was stopped may have its turns again.
    fn wake(&mut self, rank: Rank) {
        let replaced = self.view_now().is_none_or(|view| view.primary.rank != rank);
        if replaced && self.role(rank) == Role::Primary {
            self.invariants.coverage.meet(Situation::ZombieWoke);
        }
        if self.inbox.contains_key(&rank) && self.machines[&rank].next_turn(self.now) == self.now {
            self.take_turn(rank);
        }
    }

    /// Does the next thing that is due, at most up to `until`. False when nothing was due.
    pub fn step(&mut self, until: Time) -> bool {
        if self.violation.is_some() && !self.goes_on {
            return false;
        }
        let arrival = self.network.next_arrival();
        let (turn, who) = self.next_turn();
        let (disk, whose) = self.next_disk();
        let proof = self.next_proof();
        if arrival.min(turn).min(disk).min(proof) > until {
            self.now = self.now.max(until);
            return false;
        }
        if proof < arrival.min(turn).min(disk) {
            self.now = self.now.max(proof);
            self.hand_over_proof();
        } else if disk <= arrival.min(turn) {
            self.now = self.now.max(disk);
            self.disk_done(whose);
        } else if arrival <= turn {
            self.now = self.now.max(arrival);
            self.arrive();
        } else {
            self.now = self.now.max(turn);
            self.take_turn(who);
        }
        self.steps += 1;
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

    fn next_turn(&self) -> (Time, Rank) {
        let servers = self.servers.iter().map(|(rank, server)| (*rank, server.deadline(), server.is_paused()));
        let fronts = self.fronts.iter().map(|(rank, front)| (*rank, front.deadline(), false));
        let turns = servers.chain(fronts).map(|(rank, deadline, paused)| {
            let machine = &self.machines[&rank];
            let due = if !paused && self.inbox.contains_key(&rank) { self.now } else { machine.clock.time(deadline) };
            (machine.next_turn(due.max(self.now)), rank)
        });
        turns.min().expect("there is at least the console")
    }

    /// The next message arrives. Its receiver has a turn at once, if it can.
    fn arrive(&mut self) {
        let Some(Delivery { from, to, message, .. }) = self.network.arrive() else { return };
        let waiting = self.inbox.entry(to).or_default();
        if waiting.len() < INBOX_MAX {
            waiting.push_back((from, message));
        }
        let paused = self.servers.get(&to).is_some_and(ServerHost::is_paused);
        if !paused && self.machines[&to].next_turn(self.now) == self.now {
            self.take_turn(to);
        }
    }

    /// A rank takes in everything that has arrived, by one look at its clock, and does what time asks for.
    fn take_turn(&mut self, rank: Rank) {
        let waiting = self.inbox.remove(&rank).unwrap_or_default();
        let mut work = Work::default();
        waiting.iter().for_each(|(_, message)| work.message(message));
        self.delivered += waiting.len() as u64;
        if self.servers.contains_key(&rank) {
            let bend = self.bend;
            self.with_server(rank, work, |server, invariants, now, out| {
                for (from, mut message) in waiting {
                    let answer = bend.zip(server.server()).and_then(|(bend, server)| bend(server, from, &mut message));
                    invariants.on_delivery(now, server, &message);
                    server.handle(now, from, message, out);
                    out.sends.extend(answer.map(|answer| (from, answer)));
                }
                server.tick(now, out);
            });
            return;
        }
        for (from, message) in &waiting {
            let (from, message) = match message {
                Message::Relay(relay) => (relay.from, &relay.carried()),
                message => (*from, message),
            };
            if let (Message::ChangeView { to: view, .. }, Some(current)) = (message, self.view_now()) {
                let (asked, current) = (view.number, current.number);
                self.invariants.on_change_view(from, asked, current);
            }
        }
        self.with_front(rank, work, |front, now, out| {
            let is_due = waiting.is_empty();
            for (from, message) in waiting {
                front.handle(now, from, message, out);
            }
            if is_due {
                front.tick(now, out);
            }
        });
    }

    fn with_server(
        &mut self,
        rank: Rank,
        mut work: Work,
        act: impl FnOnce(&mut ServerHost, &mut Invariants, Time, &mut Outputs),
    ) {
        let (now, before) = (self.local(rank), self.view_of(rank));
        let mut out = Outputs::default();
        let host = self.servers.get_mut(&rank).unwrap_or_else(|| panic!("there is no server {rank}"));
        act(host, &mut self.invariants, now, &mut out);
        work.counted(host.take_work());
        let lost = host.outlet_mut().take_lost();
        self.take_in(rank, before, work, out, lost);
        self.invariants.on_server(now, &self.servers[&rank]);
    }

    fn with_front(&mut self, rank: Rank, work: Work, act: impl FnOnce(&mut FrontHost, Time, &mut Outputs)) {
        let (now, before) = (self.local(rank), self.view_of(rank));
        let mut out = Outputs::default();
        let front = self.fronts.get_mut(&rank).unwrap_or_else(|| panic!("there is no client {rank}"));
        let first: Vec<Seq> = front.clients().iter().map(Client::next_seq).collect();
        act(front, now, &mut out);
        let count = first.len() as u32;
        for (at, (first, client)) in (0..).zip(first.into_iter().zip(front.clients())) {
            let asked = (first.0..client.next_seq().0).map(Seq).filter(|seq| client.awaits(*seq));
            self.calls.extend(asked.map(|seq| ((rank, at, seq), self.now)));
        }
        let lost = front.outlet_mut().take_lost();
        while let Some(mut completion) = front.pop_completion() {
            let at = completion.client.number() % count;
            completion.call = self.calls.remove(&(rank, at, completion.seq)).unwrap_or(self.now);
            completion.returned = self.now;
            if completion.outcome == Outcome::Unknown {
                self.given_up.push((rank, completion.seq, self.now));
            }
            let operation = Operation::new(completion);
            self.invariants.on_answer(&operation);
            self.history.push(operation);
        }
        self.take_in(rank, before, work, out, lost);
    }

    /// What a rank has told and sent, and the messages that were lost between those that it sent.
    fn take_in(
        &mut self,
        from: Rank,
        before: ViewNumber,
        mut work: Work,
        Outputs { sends, events, disk }: Outputs,
        (lost, left): (Vec<(u64, Rank, Message)>, u64),
    ) {
        let at = self.now;
        // What left before a crash has left: the crash is told after it.
        let crash = events.iter().position(|event| matches!(event, Event::Crashed { .. })).unwrap_or(events.len());
        sends.iter().for_each(|(_, message)| work.message(message));
        work.applied += events.iter().filter(|event| matches!(event, Event::Applied { .. })).count() as u64;
        let longest = &mut self.invariants.coverage.longest_turn;
        *longest = work.takes().max(*longest);
        let takes = work.takes().mul_f64(self.slowness);
        let leave = self.machine_mut(from).work(at, takes);
        let mut events = events.into_iter();
        self.tell(from, before, events.by_ref().take(crash));
        let mut lost = lost.into_iter().peekable();
        let first = left - sends.len() as u64;
        for (number, (to, message)) in (first..).zip(sends) {
            while let Some((_, to, message)) = lost.next_if(|(left_before, ..)| *left_before <= number) {
                self.remember(from, before, What::Lost { to, message });
            }
            self.send(leave, from, before, to, message);
        }
        for (_, to, message) in lost {
            self.remember(from, before, What::Lost { to, message });
        }
        self.tell(from, before, events);
        if !disk.is_empty() {
            self.order_disk(from, disk);
        }
    }

    fn tell(&mut self, from: Rank, before: ViewNumber, events: impl Iterator<Item = Event>) {
        for event in events {
            self.invariants.on_event(self.now, from, &event, &self.servers);
            if matches!(event, Event::Crashed { .. }) {
                self.prove_death(from);
            }
            self.remember(from, before, What::Told(event));
        }
    }

    fn send(&mut self, leave: Time, from: Rank, before: ViewNumber, to: Rank, message: Message) {
        self.invariants.on_send(from, &message);
        if self.record != Recall::Nothing {
            self.remember(from, before, What::Sent { to, message: message.clone() });
        }
        self.network.send(leave, from, to, message, &mut self.rng);
    }

    fn remember(&mut self, rank: Rank, before: ViewNumber, what: What) {
        if self.record == Recall::Nothing {
            return;
        }
        let view = self.view_of(rank).max(before);
        let happening = Happening { at: self.now, rank, before, view, what };
        if self.record == Recall::Recent {
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
            let local = |rank: Rank| self.machines[&rank].clock.local(self.now);
            self.violation = self.invariants.check(&local, metadata, &self.servers).err();
        }
    }

    /// True when something has happened to some rank, since its last report, that is worth a look.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.servers.values().any(|server| server.outlet().has_news())
            || self.fronts.values().any(|front| front.outlet().has_news())
    }

    /// True when some rank has anything to tell.
    #[must_use]
    pub fn has_words(&self) -> bool {
        self.servers.values().any(|server| server.outlet().has_words())
            || self.fronts.values().any(|front| front.outlet().has_words())
    }

    /// The rank's report that is due, if one is (with `at_once`, in any case), by the time of this world.
    pub fn report(&mut self, rank: Rank, at_once: bool) -> Option<Observation> {
        let now = self.local(rank);
        let report = match self.servers.get_mut(&rank) {
            Some(server) => server.report(now, at_once),
            None if at_once => Some(self.front_mut(rank).report_at_once(now)),
            None => self.front_mut(rank).report(now),
        };
        let clock = self.machines[&rank].clock;
        let disk = self.disk_status(rank);
        report.map(|mut report| {
            report.at = clock.time(report.at);
            report.server.iter_mut().for_each(|status| status.disk = disk);
            report.events.iter_mut().for_each(|(at, _)| *at = clock.time(*at));
            report.flights.iter_mut().for_each(|flight| flight.at = clock.time(flight.at));
            report.receipts.iter_mut().for_each(|receipt| receipt.at = clock.time(receipt.at));
            report.beats.iter_mut().for_each(|beat| *beat = clock.time(*beat));
            report
        })
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
