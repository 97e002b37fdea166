//! The simulator as a stage: the same console and dashboard over a cluster on virtual time, without MPI.
//!
//! Virtual time follows the wall clock, so that a person can watch. What a person asks comes in over the
//! [`Desk`](crate::cluster::Desk) and what happens goes out as [`News`], exactly as on rank 0 over MPI: the
//! console and the dashboard cannot tell the difference, but for the processes that are none.
//!
//! A script is played in its own time ([`SimStage::scripted`]): a command takes the virtual time that it needs,
//! `SLEEP` lets virtual time pass at once, and between two commands the clock stands. So the same seed and the
//! same script always end the same way, however busy the machine is.

use super::World;
use super::chaos::{self, Script};
use super::invariants::{heals, linearizable};
use crate::cluster::desk::{Executed, Post};
use crate::cluster::why::{Life, Situation};
use crate::cluster::{Ask, ClusterStatus, News, RankStatus, Standing};
use crate::core::fault::Control;
use crate::core::load::{LoadOrder, Report};
use crate::core::protocol::{Completion, Event, METADATA, Member, Outcome, Rank, Role, ServerStatus, Time};
use crate::core::store::{ClientId, Seq};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The stage looks at the wall clock at least this often while something is going on.
const TURN: Duration = Duration::from_millis(5);
/// A `RESET` is carried out within this much virtual time, if a server lives.
const RESET_MAX: Duration = Duration::from_millis(2_500);
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

/// A world with an audience.
pub struct SimStage<'a> {
    world: World,
    clock: VirtualClock,
    asks: Receiver<Ask>,
    news: Box<dyn FnMut(News) + 'a>,
    executing: BTreeMap<Seq, (Sender<Executed>, String)>,
    /// How much of the history has been told.
    answered: usize,
    loads: BTreeMap<Rank, Report>,
    told_violation: bool,
    /// Links cut by order, from → to.
    cuts: BTreeSet<(Rank, Rank)>,
    /// A server served at this time.
    served: Time,
    why: Option<String>,
    /// Set when nobody has the data any more: that, and the way out.
    data_gone: Option<String>,
    script: Option<Script>,
    /// After a script: the cluster must be whole again by then.
    healing_until: Option<Time>,
    /// Virtual time passes so many times slower than time.
    slowness: f64,
    scripted: bool,
    /// When something was last asked.
    asked: Instant,
}

impl<'a> SimStage<'a> {
    /// `world` serves `asks` and tells `news`; `clock` shows its time.
    #[must_use]
    pub fn new(world: World, clock: VirtualClock, asks: Receiver<Ask>, news: Box<dyn FnMut(News) + 'a>) -> Self {
        let mut world = world;
        // Who switches a rule off wants to see what comes of it.
        world.go_on();
        Self {
            world,
            clock,
            asks,
            news,
            executing: BTreeMap::new(),
            answered: 0,
            loads: BTreeMap::new(),
            told_violation: false,
            cuts: BTreeSet::new(),
            served: Time::default(),
            why: None,
            data_gone: None,
            script: None,
            healing_until: None,
            slowness: 1.0,
            scripted: false,
            asked: Instant::now(),
        }
    }

    /// The same, while a run of the fuzzer is played, so many times slower than life.
    #[must_use]
    pub fn playing(self, script: Script, slowness: f64) -> Self {
        Self { script: Some(script), slowness, ..self }
    }

    /// The same; `scripted`: nobody watches, so time need not follow the wall clock.
    #[must_use]
    pub fn scripted(self, scripted: bool) -> Self {
        Self { scripted, ..self }
    }

    fn clock_stands(&self) -> bool {
        self.scripted && self.asked.elapsed() < SCRIPT_PAUSE_MAX
    }

    /// Plays until somebody asks to quit.
    pub fn run(mut self) {
        let mut last = Instant::now();
        if self.scripted {
            self.pass(SCRIPT_START);
        }
        loop {
            let passed = last.elapsed().min(CATCH_UP_MAX);
            last = Instant::now();
            if !self.clock_stands() {
                self.play(passed.div_f64(self.slowness));
            }
            self.clock.set(self.world.now());
            self.after_turn();
            match self.asks.recv_timeout(TURN) {
                Ok(Ask::Quit) | Err(RecvTimeoutError::Disconnected) => return self.tell_the_rest(),
                Ok(ask) => {
                    self.asked = Instant::now();
                    self.on_ask(ask);
                    self.asked = Instant::now();
                    // A request takes microseconds of virtual time: do not make its sender wait a turn.
                    self.settle();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Lets virtual time pass; the script acts in it.
    fn play(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        while let Some(script) = &mut self.script {
            let Some(next) = script.next() else {
                self.script = None;
                self.end_script();
                break;
            };
            if next > until || self.world.violation().is_some() {
                break;
            }
            while self.world.step(next) {}
            script.act(&mut self.world);
        }
        while self.world.step(until) {}
        self.judge_when_healed();
    }

    /// Everything was asked: the faults end, and the cluster must heal.
    fn end_script(&mut self) {
        chaos::heal_all(&mut self.world);
        self.note("the script is over: all faults end, and the cluster heals");
        self.healing_until = Some(self.world.now() + Duration::from_millis(heals::HEAL_MS_MAX));
    }

    fn judge_when_healed(&mut self) {
        let Some(until) = self.healing_until else { return };
        if !heals::is_healed(&self.world) && self.world.now() < until {
            return;
        }
        self.healing_until = None;
        let healed = if heals::is_healed(&self.world) { Ok(()) } else { heals::judge(&mut self.world).map(|_| ()) };
        match healed.and_then(|()| linearizable::judge(self.world.history())) {
            Ok(()) => self.note("healed, and all answers are linearizable"),
            Err(violation) => {
                self.told_violation = true;
                (self.news)(News::Why(Some(format!("violated: {violation}"))));
            }
        }
    }

    fn note(&mut self, what: &str) {
        let now = self.world.local(METADATA);
        self.world.front_mut(METADATA).note(now, &Event::Operator { what: what.to_owned() });
    }

    /// Lets virtual time run ahead by the little that an undisturbed request needs; under a script, until it is
    /// answered.
    fn settle(&mut self) {
        self.pass(Duration::from_micros(300));
        while self.scripted && !self.executing.is_empty() {
            self.pass(STEP);
        }
    }

    /// Lets virtual time pass.
    fn pass(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        loop {
            let step = until.since(self.world.now()).min(STEP);
            self.world.run_for(step);
            self.clock.set(self.world.now());
            self.after_turn();
            if self.world.now() >= until {
                return;
            }
        }
    }

    /// What happened last is told before the end.
    fn tell_the_rest(&mut self) {
        for rank in self.world.servers().keys().copied().collect::<Vec<_>>() {
            let now = self.world.local(rank);
            if let Some(observation) = self.world.server_mut(rank).report(now, true) {
                (self.news)(News::Observation(Box::new(observation)));
            }
        }
        for rank in self.world.clients() {
            let now = self.world.local(rank);
            let observation = self.world.front_mut(rank).report_at_once(now);
            (self.news)(News::Observation(Box::new(observation)));
        }
    }

    fn after_turn(&mut self) {
        let mut answers = Vec::new();
        for at in self.answered..self.world.history().len() {
            let operation = &self.world.history()[at];
            let (client, returned) = (operation.client, operation.returned);
            let completion = Completion::from(operation.clone());
            // Other clients number their requests alike.
            if client == ClientId(METADATA.0)
                && let Some((answer, command)) = self.executing.remove(&completion.seq)
            {
                let outcome = completion.outcome.clone();
                let reply = match &outcome {
                    Outcome::Done(reply) => reply.to_string(),
                    Outcome::Unknown => "(unknown)".to_owned(),
                };
                let now = self.world.now();
                let took = returned.unwrap_or(now).since(completion.call);
                (self.news)(News::Answered { at: now, command, reply, took });
                answers.push((answer, outcome));
            }
            let (completions, running_since) = (vec![completion], self.world.running_since(client));
            (self.news)(News::Finished { client, completions, running_since });
        }
        if self.answered < self.world.history().len() {
            for rank in self.world.clients() {
                let (client, completions) = (ClientId(rank.0), Vec::new());
                let running_since = self.world.running_since(client);
                (self.news)(News::Finished { client, completions, running_since });
            }
        }
        // Whoever has an answer finds it in the history.
        for (answer, outcome) in answers {
            let _ = answer.send(Ok(outcome));
        }
        self.answered = self.world.history().len();
        // A script is judged by its whole history; a person may play for hours.
        if self.script.is_none() && self.healing_until.is_none() {
            self.world.forget_history();
            self.answered = 0;
        }
        let servers: Vec<Rank> = self.world.servers().keys().copied().collect();
        for rank in servers.into_iter().chain(self.world.clients()) {
            if let Some(observation) = self.world.report(rank) {
                self.world.front_mut(METADATA).note_report(&observation);
                (self.news)(News::Observation(Box::new(observation)));
            }
        }
        for rank in self.world.clients() {
            let now = self.world.local(rank);
            if let Some(report) = self.world.front_mut(rank).load_report(now, false) {
                self.loads.insert(rank, report);
                (self.news)(News::Load(Box::new(Report::sum(self.loads.values()))));
            }
        }
        if let Some(violation) = self.world.violation().filter(|_| !self.told_violation) {
            self.told_violation = true;
            let what = format!("violated {violation}");
            let now = self.world.local(METADATA);
            (self.news)(News::Why(Some(what.clone())));
            self.world.front_mut(METADATA).note(now, &Event::Operator { what });
        }
        if !self.told_violation {
            self.tell_why();
        }
    }

    fn await_reset(&mut self) -> Result<(), String> {
        let pace = self.world.setup().config.timing.announce.as_secs_f64() / 0.1;
        let metadata = |world: &World| world.front(METADATA).metadata().cloned();
        self.world.run_until(RESET_MAX.mul_f64(pace.max(1.0)), |world| {
            metadata(world).is_none_or(|metadata| !metadata.is_resetting())
        });
        let refusal = metadata(&self.world).and_then(|metadata| metadata.reset_refusal().map(str::to_owned));
        refusal.map_or(Ok(()), Err)
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Execute { command, answer } => {
                if self.data_gone.is_some() && !self.told_violation {
                    self.tell_why();
                }
                if let Some(why) = &self.data_gone {
                    let _ = answer.send(Err(why.clone()));
                    return;
                }
                let text = command.to_string();
                (self.news)(News::Asked { at: self.world.now(), command: text.clone() });
                let seq = self.world.front(METADATA).next_seq();
                self.executing.insert(seq, (answer, text));
                self.world.submit(METADATA, command);
            }
            Ask::Control { to, control, answer } => {
                let known = self.world.clients().contains(&to) || self.world.servers().contains_key(&to);
                let control = slowed(control);
                let mut result =
                    if known { self.world.control(to, &control) } else { Err(format!("there is no rank {to}")) };
                if result.is_ok() && matches!(control, Control::Reset | Control::ResetAnyway) {
                    result = self.await_reset();
                }
                if result.is_ok() {
                    self.tell_control(to, control);
                }
                let _ = answer.send(result);
            }
            Ask::Status { answer } => {
                if !self.told_violation {
                    self.tell_why();
                }
                let _ = answer.send(self.status());
            }
            Ask::Kill { rank, answer } => {
                let why = format!("in the simulator server {rank} is no process: CRASH {rank} takes its memory");
                let _ = answer.send(Err(why));
            }
            Ask::Load { answer } => {
                for rank in self.world.clients() {
                    let now = self.world.local(rank);
                    let report = self.world.front_mut(rank).load_report(now, true);
                    self.loads.extend(report.map(|report| (rank, report)));
                }
                self.loads.retain(|rank, report| *rank != METADATA || report.operations > 0);
                let _ = answer.send(Report::sum(self.loads.values()));
            }
            Ask::Note { event } => {
                let now = self.world.local(METADATA);
                self.world.front_mut(METADATA).note(now, &event);
            }
            Ask::Pass { duration, answer } => {
                if self.clock_stands() {
                    self.pass(duration);
                    let _ = answer.send(());
                }
            }
            Ask::Quit => {}
        }
    }

    /// One sentence when nobody is served, as on rank 0 over MPI.
    fn tell_why(&mut self) {
        let now = self.world.now();
        let view = self.world.view_now().cloned();
        let life = |member: &Member| {
            let host = &self.world.servers()[&member.rank];
            match host.server() {
                Some(server) if server.member() != *member => Life::Lost,
                _ if host.is_paused() => Life::Paused,
                None => Life::Lost,
                Some(server) => {
                    Life::Lives { serving: server.as_primary().is_some_and(|primary| primary.is_serving()) }
                }
            }
        };
        let mut situation = Situation {
            lives: view.iter().flat_map(|view| view.members()).map(|member| (member.rank, life(&member))).collect(),
            cuts: self.cuts.clone(),
            view: view.as_ref(),
            blocked_for: Duration::ZERO,
        };
        if situation.is_served() {
            self.served = now;
        }
        let waiting = now.since(self.world.running_since(ClientId(METADATA.0)));
        situation.blocked_for = now.since(self.served).max(waiting);
        let why = situation.why();
        self.data_gone = situation.data_gone();
        if why != self.why {
            self.why.clone_from(&why);
            (self.news)(News::Why(why));
        }
        // Whoever waits for an answer is told that none will come.
        if let Some(why) = &self.data_gone {
            for (answer, command) in std::mem::take(&mut self.executing).into_values() {
                (self.news)(News::Answered { at: now, command, reply: "(unknown)".to_owned(), took: waiting });
                let _ = answer.send(Err(why.clone()));
            }
        }
    }

    fn tell_control(&mut self, rank: Rank, control: Control) {
        match control {
            Control::Cut { peer, cut: true } => drop(self.cuts.insert((rank, peer))),
            Control::Cut { peer, cut: false } => drop(self.cuts.remove(&(rank, peer))),
            Control::Heal => self.cuts.retain(|(from, _)| *from != rank),
            _ => {}
        }
        match control {
            Control::Pause => (self.news)(News::Stopped { rank, stopped: true }),
            Control::Resume => (self.news)(News::Stopped { rank, stopped: false }),
            Control::Rules { rules } if rank == METADATA => (self.news)(News::Unsafe(rules.warning())),
            Control::Cut { .. } | Control::Loss { .. } | Control::Delay { .. } | Control::Heal => {
                (self.news)(News::Network { rank, control });
            }
            _ => {}
        }
    }

    fn status(&self) -> ClusterStatus {
        let pid = std::process::id();
        let own = RankStatus { rank: METADATA, pid, post: Post::Metadata, turns: None, silence: None };
        let view = self.world.front(METADATA).metadata().and_then(|metadata| metadata.view()).cloned();
        let now = self.world.local(METADATA);
        let servers = self.world.servers().values().map(|host| {
            let ServerStatus { keys, op, incarnation, silence, .. } = host.status(now);
            let standing = Standing::reported(host.rank(), Some(&host.status(now)), view.as_deref());
            RankStatus {
                rank: host.rank(),
                pid,
                post: Post::Server { standing, keys, op, incarnation },
                turns: None,
                silence,
            }
        });
        let clients = self.world.clients().into_iter().filter(|rank| *rank != METADATA);
        let clients =
            clients.map(|rank| RankStatus { rank, pid, post: Post::Client(None), turns: None, silence: None });
        let serves = |rank: &Rank| !self.world.servers()[rank].is_paused() && self.world.role(*rank) == Role::Primary;
        ClusterStatus {
            primary: view.as_ref().map(|view| view.primary.rank).filter(serves),
            ranks: std::iter::once(own).chain(servers).chain(clients).collect(),
            failovers: self.world.front(METADATA).metadata().map_or(0, |metadata| metadata.failovers()),
            views: self
                .world
                .front(METADATA)
                .metadata()
                .map(|metadata| metadata.records().iter().cloned().collect())
                .unwrap_or_default(),
            view: view.clone(),
            now: self.world.local(METADATA),
            why: self.why.clone(),
            data_gone: self.data_gone.is_some(),
        }
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
