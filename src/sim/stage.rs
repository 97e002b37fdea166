//! The simulator as a stage: the same console and dashboard over a cluster on virtual time, without MPI.
//!
//! Virtual time follows the wall clock, so that a person can watch. What a person asks comes in over the
//! [`Desk`](crate::cluster::Desk) and what happens goes out as [`News`], exactly as on rank 0 over MPI: the
//! console and the dashboard cannot tell the difference, but for the processes that are none.
//!
//! A script is played in its own time ([`SimStage::scripted`]): a command takes the virtual time that it needs,
//! `SLEEP` lets virtual time pass at once, and between two commands the clock stands. So the same seed and the
//! same script always end the same way, however busy the machine is.
//!
//! While somebody looks closely ([`Ask::Stand`]) time stands, and each [`Ask::Step`] lets one thing happen that is
//! worth a look: a message that is no heartbeat leaves or is lost, an event, an answer. What is asked meanwhile is
//! on its way, and waits for the next step as everything else does.
//!
//! What has happened can be had again ([`Recipe`]). So one can go back ([`Ask::Fork`]) and do something else: a branch
//! begins, the others are kept, and any of them can be gone on with ([`Ask::Switch`]).

use super::World;
use super::branches::Branches;
use super::chaos::{self, Script};
use super::invariants::{heals, linearizable};
use super::recipe::{Act, Cooked, Recipe};
use crate::cluster::service::{OrderTold, Ordered, Seen};
use crate::cluster::{Ask, Cluster, News, Service, Underway};
use crate::core::fault::{Control, Meddling};
use crate::core::load::{LoadOrder, Report};
use crate::core::node::{FrontHost, ServerHost};
use crate::core::protocol::{Completion, Event, Incarnation, METADATA, Rank, ServerStatus, Time, TurnTimes};
use crate::core::store::{ClientId, Command};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The stage looks at the wall clock at least this often while something is going on.
const TURN: Duration = Duration::from_millis(5);
/// Load that is to go as fast as it can goes this fast at each client, in requests a second: virtual time would
/// let it go as fast as this machine can simulate, and faster.
const LOAD_PER_SECOND: f64 = 1_000.0;
/// A stage that was held up for longer than this skips the rest: nobody wants to watch it catch up.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// Virtual time, readable from every thread.
#[derive(Debug, Clone, Default)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// Virtual time now.
    #[must_use]
    pub fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, now: Time) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

/// Under a script the clock stands between commands; when none has come for this long, time follows the wall again.
const SCRIPT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// A script finds a cluster that has formed its first view and told of it.
const SCRIPT_START: Duration = Duration::from_millis(50);
/// The most virtual time that passes between two looks at what happened.
const STEP: Duration = Duration::from_millis(1);

/// If nothing happens that is worth a look, so much time passes with a step.
const STEP_IDLE: Duration = Duration::from_secs(1);

/// What makes virtual time pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tempo {
    /// The wall clock.
    Wall,
    /// What is asked, at once; the wall clock when nothing is asked for long.
    Script,
    /// What is asked, and nothing else: no faster than the wall clock, unless in a hurry.
    Told,
}

/// A world with an audience.
pub struct SimStage<'a> {
    scene: Scene,
    service: Service<'a>,
    asks: Receiver<Ask>,
    /// How much of the history has been told.
    answered: usize,
    told_violation: bool,
    script: Option<Script>,
    /// After a script: the cluster must be whole again by then.
    healing_until: Option<Time>,
    /// Virtual time passes this many times slower than time.
    slowness: f64,
    /// In a story that is told: who waits until when, and how much of the wall's time has not passed here yet.
    waits: Option<(Time, Sender<()>)>,
    owed: Duration,
    /// Nobody looks on: what is waited for comes at once.
    hurry: Arc<AtomicBool>,
}

/// Why there are no branches here.
const SCRIPTED: &str = "a script acts on this cluster by itself: what has happened cannot be changed";

const NO_DISKS: &str = "after a power cut nothing would be left: --sim --disks gives the servers disks; CRASH takes \
                        the memory of one";

/// The world as the service of rank 0 sees it.
struct Scene {
    world: World,
    /// What has happened otherwise, and how this world came to be; none where a script acts as well.
    branches: Option<Branches>,
    clock: VirtualClock,
    tempo: Tempo,
    /// Somebody looks closely: time passes by steps only.
    stands: bool,
    /// When something was last asked.
    asked: Instant,
    /// Virtual time that is to pass now, and who waits for it.
    to_pass: Option<(Duration, Sender<()>)>,
}

impl<'a> SimStage<'a> {
    /// `world` serves `asks` and tells `news`; `clock` shows its time.
    #[must_use]
    pub fn new(world: World, clock: VirtualClock, asks: Receiver<Ask>, news: Box<dyn FnMut(News) + 'a>) -> Self {
        let mut world = world;
        let branches = Recipe::of(&world).map(Branches::new);
        // Who switches a rule off wants to see what comes of it.
        world.go_on();
        let service = Service::new(news, true, world.now());
        let (asked, to_pass) = (Instant::now(), None);
        let scene = Scene { world, branches, clock, tempo: Tempo::Wall, stands: false, asked, to_pass };
        Self {
            scene,
            service,
            asks,
            answered: 0,
            told_violation: false,
            script: None,
            healing_until: None,
            slowness: 1.0,
            waits: None,
            owed: Duration::ZERO,
            hurry: Arc::default(),
        }
    }

    /// The same, while a run of the fuzzer is played, this many times slower than life.
    #[must_use]
    pub fn playing(self, script: Script, slowness: f64) -> Self {
        let mut this = Self { script: Some(script), slowness, ..self };
        this.scene.branches = None;
        this
    }

    /// The same; `scripted`: nobody watches, so time need not follow the wall clock.
    #[must_use]
    pub fn scripted(mut self, scripted: bool) -> Self {
        self.scene.tempo = if scripted { Tempo::Script } else { Tempo::Wall };
        self
    }

    /// The same; time passes only while somebody waits for it: no faster than the wall clock, unless `hurry` is set.
    #[must_use]
    pub fn told(mut self, hurry: Arc<AtomicBool>) -> Self {
        self.scene.tempo = Tempo::Told;
        Self { hurry, ..self }
    }

    /// Plays until somebody asks to quit.
    pub fn run(mut self) {
        let mut last = Instant::now();
        if self.scene.tempo != Tempo::Wall {
            self.pass(SCRIPT_START);
        }
        self.caught_up();
        loop {
            let passed = last.elapsed().min(CATCH_UP_MAX);
            last = Instant::now();
            if !self.scene.clock_stands() {
                self.play(passed.div_f64(self.slowness));
            }
            self.go_on_telling(passed);
            self.scene.clock.set(self.scene.world.now());
            self.after_turn();
            match self.asks.recv_timeout(TURN) {
                Ok(Ask::Quit) | Err(RecvTimeoutError::Disconnected) => return self.tell_the_rest(),
                Ok(Ask::Stand { stands }) => {
                    self.scene.stands = stands;
                    self.look();
                }
                Ok(Ask::Step) => self.step(),
                Ok(Ask::PowerCut { late, answer }) => drop(answer.send(self.power_cut(late))),
                Ok(Ask::Fork { at, answer }) => drop(answer.send(self.fork(at))),
                Ok(Ask::Switch { to, answer }) => drop(answer.send(self.switch(to))),
                Ok(Ask::Rename { branch, name, answer }) => {
                    let branches = self.scene.branches.as_mut().ok_or(SCRIPTED.to_owned());
                    let _ = answer.send(branches.and_then(|branches| branches.rename(branch, name)));
                }
                Ok(Ask::Branches { answer }) => {
                    let branches = self.scene.branches.as_ref().map(|branches| branches.list(&self.scene.world));
                    let _ = answer.send(branches.unwrap_or_default());
                }
                Ok(ask) => {
                    self.scene.asked = Instant::now();
                    self.service.on_ask(&mut self.scene, ask);
                    if let Some((duration, answer)) = self.scene.to_pass.take() {
                        self.wait(duration, answer);
                    }
                    self.scene.asked = Instant::now();
                    // A request takes microseconds of virtual time: do not make its sender wait a turn.
                    if self.scene.stands {
                        self.look();
                    } else {
                        self.settle();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Lets virtual time pass; the script acts in it.
    fn play(&mut self, duration: Duration) {
        let until = self.scene.world.now() + duration;
        while let Some(script) = &mut self.script {
            let Some(next) = script.next() else {
                self.script = None;
                self.end_script();
                break;
            };
            if next > until || self.scene.world.violation().is_some() {
                break;
            }
            self.advance(next);
            if let Some(script) = &mut self.script {
                script.act(&mut self.scene.world);
            }
        }
        self.advance(until);
        self.judge_when_healed();
    }

    /// Lets everything happen that is due up to `until`; what somebody reports is told at once, so that a cause is told
    /// before what follows from it.
    fn advance(&mut self, until: Time) {
        loop {
            if self.scene.world.has_words() {
                self.scene.clock.set(self.scene.world.now());
                self.tell_reports(false);
            }
            if !self.scene.world.step(until) {
                return;
            }
        }
    }

    /// Lets time pass until something happens that is worth a look.
    fn step(&mut self) {
        let until = self.scene.world.now() + STEP_IDLE;
        let worth_a_look = |world: &World, before: usize| world.has_news() || world.history().len() > before;
        let before = self.scene.world.history().len();
        while !worth_a_look(&self.scene.world, before) {
            let acts = self.script.as_mut().and_then(|script| script.next()).filter(|next| *next <= until);
            if self.scene.world.step(acts.unwrap_or(until)) {
                continue;
            }
            match &mut self.script {
                Some(script) if acts.is_some() => script.act(&mut self.scene.world),
                _ => break,
            }
        }
        self.look();
    }

    /// All machines lose power at once, and start again; this server's later.
    fn power_cut(&mut self, late: Option<Rank>) -> Result<(), String> {
        if !self.scene.world.has_disks() {
            return Err(NO_DISKS.to_owned());
        }
        self.scene.asked = Instant::now();
        // Nobody tells afterwards what he has not told by now.
        self.tell(true);
        for Underway { from, to, text, .. } in self.scene.world.underway(false) {
            self.service.tell(News::Dropped { from, to, text });
        }
        self.scene.note_act(Act::PowerCut(late));
        self.scene.world.power_cut(late);
        let servers: Vec<Rank> = self.scene.world.servers().keys().copied().collect();
        self.service.all_started_again(self.scene.world.clients().into_iter().chain(servers));
        self.look();
        Ok(())
    }

    /// Back to this time, in a branch of its own.
    fn fork(&mut self, at: Time) -> Result<(), String> {
        let branches = self.scene.branches.as_mut().ok_or(SCRIPTED)?;
        let (to, cooked) = branches.fork(&self.scene.world, at)?;
        self.go_on_in(cooked, News::Branched { to, at: Some(at) });
        Ok(())
    }

    /// To the end of a branch.
    fn switch(&mut self, to: usize) -> Result<(), String> {
        let branches = self.scene.branches.as_mut().ok_or(SCRIPTED)?;
        if let Some(cooked) = branches.switch(&self.scene.world, to)? {
            self.go_on_in(cooked, News::Branched { to, at: None });
        }
        Ok(())
    }

    /// Another world goes on in the place of this one.
    fn go_on_in(&mut self, Cooked { world, cuts, asked }: Cooked, told: News) {
        self.scene.world = world;
        self.scene.clock.set(self.scene.world.now());
        self.service.begin_again(self.scene.world.now(), cuts, asked);
        self.service.tell(told);
        self.told_violation = self.scene.world.violation().is_some();
        // Whoever waits for time to pass has been waiting in another branch.
        if let Some((_, answer)) = self.waits.take() {
            let _ = answer.send(());
        }
        self.owed = Duration::ZERO;
        for (client, completions, running_since) in self.finished_since(0) {
            self.service.tell(News::Finished { client, completions, running_since });
        }
        self.scene.world.forget_history();
        self.answered = 0;
    }

    /// Everybody tells at once how it is; whoever waits for an order gets to know what became of it.
    fn look(&mut self) {
        self.scene.clock.set(self.scene.world.now());
        self.tell(true);
        let until = self.scene.world.now() + STEP_IDLE;
        while self.service.owes_an_order() && self.scene.world.now() < until {
            self.pass(STEP);
            self.tell(true);
        }
    }

    /// Everything was asked: the faults end, and the cluster must heal.
    fn end_script(&mut self) {
        chaos::heal_all(&mut self.scene.world);
        self.note("the script is over: all faults end, and the cluster heals");
        self.healing_until = Some(self.scene.world.now() + Duration::from_millis(heals::HEAL_MS_MAX));
    }

    fn judge_when_healed(&mut self) {
        let Some(until) = self.healing_until else { return };
        if !heals::is_healed(&self.scene.world) && self.scene.world.now() < until {
            return;
        }
        self.healing_until = None;
        let healed =
            if heals::is_healed(&self.scene.world) { Ok(()) } else { heals::judge(&mut self.scene.world).map(|_| ()) };
        match healed.and_then(|()| linearizable::judge(self.scene.world.history())) {
            Ok(()) => self.note("healed, and all answers are linearizable"),
            Err(violation) => {
                self.told_violation = true;
                self.service.tell_last_word(format!("violated: {violation}"));
            }
        }
    }

    fn note(&mut self, what: &str) {
        self.scene.note(Event::Operator { what: what.to_owned() });
    }

    /// Lets virtual time run ahead by the little that an undisturbed request needs; under a script, until it is
    /// answered.
    fn settle(&mut self) {
        self.pass(Duration::from_micros(300));
        while self.scene.tempo == Tempo::Script && self.service.is_awaited() {
            self.pass(STEP);
        }
        self.go_on_telling(Duration::ZERO);
    }

    /// Lets so much time pass, and answers then.
    fn wait(&mut self, duration: Duration, answer: Sender<()>) {
        if self.scene.tempo == Tempo::Told {
            self.waits = Some((self.scene.world.now() + duration, answer));
            return;
        }
        self.pass(duration);
        let _ = answer.send(());
    }

    /// In a story that is told, the wall clock has gone on by so much: so may what somebody waits for.
    fn go_on_telling(&mut self, passed: Duration) {
        if self.scene.tempo != Tempo::Told || self.scene.stands {
            return;
        }
        self.owed += passed;
        let mut waited = false;
        while self.waits.is_some() || self.service.is_awaited() {
            let left = self.waits.as_ref().map(|(until, _)| until.since(self.scene.world.now()));
            let step = left.unwrap_or(STEP).min(STEP);
            if !self.hurry.load(Ordering::Relaxed) && self.owed < step {
                return;
            }
            self.owed = self.owed.saturating_sub(step);
            self.pass(step);
            if let Some((_, answer)) = self.waits.take_if(|(until, _)| *until <= self.scene.world.now()) {
                self.caught_up();
                let _ = answer.send(());
            }
            waited = true;
        }
        self.owed = Duration::ZERO;
        if waited || passed.is_zero() {
            self.caught_up();
        }
    }

    /// In a story that is told: everything that has happened is told before the clock stands.
    fn caught_up(&mut self) {
        if self.scene.tempo == Tempo::Told {
            self.tell(true);
        }
    }

    /// Lets virtual time pass.
    fn pass(&mut self, duration: Duration) {
        let until = self.scene.world.now() + duration;
        loop {
            let step = until.since(self.scene.world.now()).min(STEP);
            self.advance(self.scene.world.now() + step);
            self.scene.clock.set(self.scene.world.now());
            self.after_turn();
            if self.scene.world.now() >= until {
                return;
            }
        }
    }

    /// What happened last is told before the end.
    fn tell_the_rest(&mut self) {
        for rank in self.scene.world.servers().keys().copied().collect::<Vec<_>>() {
            let now = self.scene.world.local(rank);
            if let Some(observation) = self.scene.world.server_mut(rank).report(now, true) {
                self.service.reported(Box::new(observation));
            }
        }
        for rank in self.scene.world.clients() {
            let now = self.scene.world.local(rank);
            let observation = self.scene.world.front_mut(rank).report_at_once(now);
            self.service.reported(Box::new(observation));
        }
    }

    fn after_turn(&mut self) {
        self.tell(false);
    }

    /// Tells what there is to tell; `at_once`: also what could wait.
    fn tell(&mut self, at_once: bool) {
        self.tell_finished();
        self.tell_reports(at_once);
        let world = &mut self.scene.world;
        for rank in world.clients() {
            let now = world.local(rank);
            if let Some(report) = world.front_mut(rank).load_report(now, false) {
                self.service.loaded(rank, report);
            }
        }
        if let Some(violation) = world.violation().filter(|_| !self.told_violation) {
            self.told_violation = true;
            let what = format!("violated {violation}");
            self.service.tell_last_word(what.clone());
            self.scene.note(Event::Operator { what });
        }
        self.service.tend(&self.scene);
        self.service.tell_why(&self.scene);
    }

    /// Rank 0 first: what an operator did stands before what follows from it.
    fn tell_reports(&mut self, at_once: bool) {
        let world = &mut self.scene.world;
        let servers: Vec<Rank> = world.servers().keys().copied().collect();
        for rank in world.clients().into_iter().chain(servers) {
            if let Some(observation) = world.report(rank, at_once) {
                world.front_mut(METADATA).note_report(&observation);
                self.service.reported(Box::new(observation));
            }
        }
    }

    /// Operations that have ended since the last call, all clients' words together.
    fn tell_finished(&mut self) {
        for (client, completions, running_since) in self.finished_since(self.answered) {
            if client == ClientId::on(METADATA.0) {
                self.service.finished(completions, running_since);
            } else {
                self.service.tell(News::Finished { client, completions, running_since });
            }
        }
        let world = &mut self.scene.world;
        self.answered = world.history().len();
        // A script is judged by its whole history; a person may play for hours.
        if self.script.is_none() && self.healing_until.is_none() {
            world.forget_history();
            self.answered = 0;
        }
    }
}

impl SimStage<'_> {
    /// What clients have finished since this many operations had ended, if any of them has; and since when what they
    /// have still running may have been asked.
    fn finished_since(&self, answered: usize) -> Vec<(ClientId, Vec<Completion>, Time)> {
        let world = &self.scene.world;
        let ended = &world.history()[answered..];
        if ended.is_empty() {
            return Vec::new();
        }
        let of_client = |client: ClientId| {
            let ended = ended.iter().filter(|operation| operation.client.rank() == client.rank());
            let completions = ended.map(|operation| told(operation, world.now())).collect();
            (client, completions, world.running_since(client))
        };
        world.clients().into_iter().map(|rank| of_client(ClientId::on(rank.0))).collect()
    }
}

/// An operation as its client tells it.
fn told(operation: &crate::check::Operation, now: Time) -> Completion {
    let returned = operation.returned.unwrap_or(now);
    Completion { returned, ..Completion::from(operation.clone()) }
}

impl Scene {
    /// This is about to be done to the world.
    fn note_act(&mut self, act: Act) {
        if let Some(branches) = &mut self.branches {
            branches.note(&self.world, act);
        }
    }

    fn clock_stands(&self) -> bool {
        self.stands
            || match self.tempo {
                Tempo::Wall => false,
                Tempo::Script => self.asked.elapsed() < SCRIPT_PAUSE_MAX,
                Tempo::Told => true,
            }
    }
}

impl Cluster for Scene {
    fn now(&self) -> Time {
        self.world.now()
    }

    fn own_now(&self) -> Time {
        self.world.local(METADATA)
    }

    fn front(&self) -> &FrontHost {
        self.world.front(METADATA)
    }

    fn ranks(&self) -> Vec<Seen> {
        let pid = std::process::id();
        let status_of = |(rank, host): (&Rank, &ServerHost)| ServerStatus {
            disk: self.world.disk_status(*rank),
            ..host.status(self.world.local(*rank))
        };
        let seen = |rank, status| Seen { rank, pid, better: None, status, turns: None, began: Incarnation(0) };
        let servers = self.world.servers().iter();
        let servers = servers.map(|server| seen(*server.0, Some(status_of(server))));
        let clients = self.world.clients().into_iter().filter(|rank| *rank != METADATA);
        servers.chain(clients.map(|rank| seen(rank, None))).collect()
    }

    fn turns(&self) -> Option<TurnTimes> {
        None
    }

    fn submit(&mut self, command: Command) {
        self.note_act(Act::Submit(command.clone()));
        self.world.submit(METADATA, command);
    }

    fn order(&mut self, to: Rank, control: &Control, _: &OrderTold) -> Ordered {
        let known = self.world.clients().contains(&to) || self.world.servers().contains_key(&to);
        Ordered::Done(if known {
            let control = slowed(control.clone());
            self.note_act(Act::Order(to, control.clone()));
            self.world.control(to, &control).map_err(|why| why.to_string())
        } else {
            Err(format!("there is no rank {to}"))
        })
    }

    fn kill(&mut self, rank: Rank) -> Result<(), String> {
        Err(format!("in the simulator server {rank} is no process: CRASH {rank} takes its memory"))
    }

    /// Everything is known here at any time.
    fn ask_reports(&mut self) -> BTreeSet<Rank> {
        BTreeSet::new()
    }

    fn load_reports(&mut self) -> Vec<(Rank, Report)> {
        let clients = self.world.clients().into_iter();
        let report = |rank: Rank| {
            let now = self.world.local(rank);
            Some((rank, self.world.front_mut(rank).load_report(now, true)?))
        };
        clients.filter_map(report).collect()
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn underway(&self, at: Option<Time>) -> Option<Vec<Underway>> {
        match (at, &self.branches) {
            (Some(at), Some(branches)) => Some(branches.past(at).underway(false)),
            _ => Some(self.world.underway(false)),
        }
    }

    fn meddle(&mut self, number: u64, how: Meddling) -> Result<(), String> {
        self.note_act(Act::Meddle(number, how));
        if self.world.meddle(number, how) { Ok(()) } else { Err("it is not on its way any more".to_owned()) }
    }

    fn fire(&mut self, rank: Rank) -> Result<(), String> {
        self.note_act(Act::Fire(rank));
        self.world.fire(rank)
    }

    fn note(&mut self, event: Event) {
        if let (Event::Operator { what }, Some(branches)) = (&event, &mut self.branches) {
            branches.begun_by(what);
        }
        let now = self.world.local(METADATA);
        self.world.front_mut(METADATA).note(now, &event);
    }

    fn pass(&mut self, duration: Duration, answer: Sender<()>) {
        self.to_pass = self.clock_stands().then_some((duration, answer));
    }
}

/// The order, with a bound on what it costs to simulate.
fn slowed(control: Control) -> Control {
    match control {
        Control::Load { order: Some(LoadOrder { workload, per_second }) } => {
            let per_second = Some(per_second.unwrap_or(LOAD_PER_SECOND).min(LOAD_PER_SECOND));
            Control::Load { order: Some(LoadOrder { workload, per_second }) }
        }
        control => control,
    }
}
