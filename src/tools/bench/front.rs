//! Rank 0 of a benchmark: the client, the metadata server, and the other side of the baseline.

use super::measure::Samples;
use crate::core::fault::{Control, ControlError};
use crate::core::load::mix::Load;
use crate::core::load::{LoadOrder, Report};
use crate::core::node::{FrontHost, Outputs};
use crate::core::protocol::{Config, Event, Incarnation, METADATA, Outcome, Rank, Time, View};
use crate::core::store::{Command, Reply};
use crate::mpi::log::Log;
use crate::mpi::transport::deathwatch::DeathWatch;
use crate::mpi::transport::raw::{GO_ON, READY, RawPart, RawPlay, STOP};
use crate::mpi::transport::{Packet, Process, Transport};
use crate::mpi::turn::{self, Acted, Hull, Node};
use crate::mpi::{Link, clock};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The cluster must serve within this time.
const SERVING_DEADLINE: Duration = Duration::from_secs(20);
/// Waiting for a state that should come soon.
const SOON: Duration = Duration::from_secs(30);

/// The client's rank and its loop.
pub struct Front<'a, T> {
    hull: Hull<'a, T>,
    host: FrontHost,
    config: Config,
    outputs: Outputs,
    /// The processes of the ranks, as far as they have said hello.
    pub pids: BTreeMap<Rank, u32>,
    /// What happened, and where.
    pub events: Vec<(Time, Rank, Event)>,
    /// How the load of the further clients goes.
    loads: BTreeMap<Rank, Report>,
    /// Answers that were refusals, or never came.
    pub failed: u64,
    deathwatch: Option<DeathWatch>,
    controls: BTreeMap<u64, Result<(), ControlError>>,
    last_control: u64,
}

/// A turn in which something is asked.
struct Refilled<'f, 'a, T> {
    front: &'f mut Front<'a, T>,
    refill: &'f mut dyn FnMut(Time, &mut FrontHost, &mut Outputs),
}

impl<'a, T: Transport + 'a> Node<'a> for Refilled<'_, 'a, T> {
    type Transport = T;
    type End = ();

    fn hull(&mut self) -> &mut Hull<'a, T> {
        &mut self.front.hull
    }

    fn packet(&mut self, now: Time, from: Rank, packet: Packet) {
        let front = &mut *self.front;
        match packet {
            Packet::Message(message) => front.host.handle(now, from, message, &mut front.outputs),
            Packet::Hello { pid, .. } => {
                front.pids.insert(from, pid);
                if let Some(deathwatch) = &mut front.deathwatch {
                    deathwatch.watch(Process(from.0));
                }
            }
            Packet::Load(report) => drop(front.loads.insert(from, *report)),
            Packet::ControlDone { id, result } => drop(front.controls.insert(id, result)),
            Packet::Observation(observation) => {
                front.events.extend(observation.events.into_iter().map(|(at, event)| (at, from, event)));
            }
            _ => {}
        }
    }

    fn act(&mut self, now: Time) -> Acted<()> {
        let front = &mut *self.front;
        front.hear_deaths();
        (self.refill)(now, &mut front.host, &mut front.outputs);
        front.host.tick(now, &mut front.outputs);
        front.events.extend(front.outputs.events.iter().map(|event| (now, METADATA, event.clone())));
        let worked = front.hull.carry_out(now, &mut front.outputs);
        let expecting = front.host.client().outstanding() > 0;
        Acted { worked, expecting, due: front.host.deadline(), end: None }
    }
}

/// How a load is run.
#[derive(Debug, Clone, Copy)]
pub struct BenchRun {
    /// This many requests are outstanding at any time.
    pub window: usize,
    /// For so long nothing counts.
    pub warm: Duration,
    /// Then it counts for this long.
    pub counted: Duration,
}

impl<'a, T: Transport> Front<'a, T> {
    /// Rank 0 with its client and metadata server.
    pub fn new(link: &'a mut Link<T>, host: FrontHost, config: Config, deathwatch: Option<DeathWatch>) -> Self {
        Self {
            hull: Hull::new(link, Log::create(None, METADATA, clock::now())),
            host,
            config,
            outputs: Outputs::default(),
            pids: BTreeMap::new(),
            events: Vec::new(),
            loads: BTreeMap::new(),
            failed: 0,
            deathwatch,
            controls: BTreeMap::new(),
            last_control: 0,
        }
    }

    /// Nobody is replaced here, so a process is a rank.
    fn hear_deaths(&mut self) {
        while let Some(process) = self.deathwatch.as_mut().and_then(DeathWatch::next_death) {
            let rank = Rank(process.0);
            let newest = self.host.metadata().and_then(|metadata| metadata.newest_life(rank));
            let before = newest.unwrap_or(Incarnation(0)).next();
            self.host.note_over(rank, before);
            for other in self.config.server_ranks().filter(|other| *other != rank) {
                self.hull.link.push(other, &Packet::Over { rank, before });
            }
        }
    }

    /// The current view.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        self.host.metadata().and_then(|metadata| metadata.view())
    }

    /// One turn of the loop, in which `refill` may submit. Gives the time of it.
    pub fn turn(&mut self, refill: &mut dyn FnMut(Time, &mut FrontHost, &mut Outputs)) -> Time {
        let mut now = Time::default();
        let mut refill = |at: Time, host: &mut FrontHost, outputs: &mut Outputs| {
            now = at;
            refill(at, host, outputs);
        };
        let _: Option<()> = turn::turn(&mut Refilled { front: self, refill: &mut refill });
        now
    }

    /// Turns until `done` says so.
    ///
    /// # Errors
    /// When that takes too long, with `what` was waited for.
    pub fn wait_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), String> {
        let until = clock::now() + SOON;
        while !done(self) {
            if self.turn(&mut |_, _, _| {}) > until {
                return Err(format!("{what}: not within {} s", SOON.as_secs()));
            }
        }
        Ok(())
    }

    /// Turns for this long with nothing to ask.
    pub fn idle(&mut self, time: Duration) {
        let until = clock::now() + time;
        while self.turn(&mut |_, _, _| {}) < until {}
    }

    /// Waits until the first view has all servers and answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_service(&mut self) -> Result<(), String> {
        let until = clock::now() + SERVING_DEADLINE;
        while self.pids.len() + 1 < self.config.ranks() as usize
            || self.view().is_none_or(|view| view.members().count() < self.config.servers as usize)
        {
            if self.turn(&mut |_, _, _| {}) > until {
                return Err("the cluster does not come up".to_owned());
            }
        }
        self.execute(Command::Count).map(drop)
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn execute(&mut self, command: Command) -> Result<Reply, String> {
        let mut command = Some(command);
        let until = clock::now() + SERVING_DEADLINE;
        loop {
            let now = self.turn(&mut |now, host, outputs| {
                if let Some(command) = command.take() {
                    host.submit(now, command, outputs);
                }
            });
            match self.host.pop_completion().map(|completion| completion.outcome) {
                Some(Outcome::Done(reply)) => return Ok(reply),
                Some(Outcome::Unknown) => return Err("a request was not answered".to_owned()),
                None if now > until => return Err("a request was never answered".to_owned()),
                None => {}
            }
        }
    }

    /// Keeps a window of requests outstanding. `answered` hears of every answer and when it came; it may
    /// say that it is enough.
    pub fn load(&mut self, load: &mut Load, window: usize, answered: &mut dyn FnMut(Time, Duration) -> bool) {
        let mut go_on = true;
        let mut failed = 0;
        let mut outstanding = 0;
        while go_on || outstanding > 0 {
            self.turn(&mut |now, host, outputs| {
                while let Some(completion) = host.pop_completion() {
                    failed +=
                        u64::from(matches!(completion.outcome, Outcome::Unknown | Outcome::Done(Reply::Error(_))));
                    go_on &= answered(now, completion.returned.since(completion.call));
                }
                while go_on && host.client().outstanding() < window {
                    host.submit(now, load.command(), outputs);
                }
                outstanding = host.client().outstanding();
            });
        }
        self.failed += failed;
    }

    /// Runs a load and measures it.
    pub fn measure(&mut self, load: &mut Load, run: BenchRun) -> Samples {
        let mut samples = Samples::default();
        let from = clock::now() + run.warm;
        let until = from + run.counted;
        self.load(load, run.window, &mut |now, took| {
            if now >= from && now < until {
                samples.record(took);
            }
            now < until
        });
        samples.elapsed = run.counted;
        samples
    }

    /// Measures the limit: the same ranks hand plain messages on. `forward` bytes go out, `back` bytes come back.
    ///
    /// # Errors
    /// When this transport has no wire below.
    pub fn measure_raw(&mut self, path: Path, forward: u32, back: u32, run: BenchRun) -> Result<Samples, String> {
        let view = self.view().cloned().ok_or("there is no view")?;
        let primary = view.primary.rank;
        let backups: Vec<Rank> = view.backups.iter().map(|member| member.rank).collect();
        self.hull.link.raw().ok_or("this transport has no wire below")?;
        let play = |part| RawPlay { part, client: METADATA, forward_bytes: forward, back_bytes: back };
        let mut resting = Vec::new();
        for rank in self.config.server_ranks() {
            let part = match path {
                Path::PingPong if rank == primary => RawPart::Echo,
                Path::Relay if rank == primary => RawPart::Relay { backups: backups.clone() },
                Path::Relay if backups.contains(&rank) => RawPart::Backup { relay: primary },
                _ => {
                    resting.push(rank);
                    RawPart::Rest
                }
            };
            self.hull.link.push(rank, &Packet::Play(Box::new(play(part))));
        }
        self.wait_for_players()?;
        let samples = self.raw_client(primary, forward, back, run)?;
        let wire = self.hull.link.raw().ok_or("this transport has no wire below")?;
        for rank in std::iter::once(primary).chain(resting) {
            wire.send(rank, &[STOP]);
        }
        Ok(samples)
    }

    /// Until all servers have left the protocol for the baseline's plain messages.
    fn wait_for_players(&mut self) -> Result<(), String> {
        let (servers, mut ready) = (self.config.servers, 0);
        self.wait_until("all servers in the baseline", |front| {
            if let Some(wire) = front.hull.link.raw() {
                while wire.has_arrived() {
                    let mut buffer = [GO_ON];
                    wire.receive(None, &mut buffer);
                    ready += u32::from(buffer[0] == READY);
                }
            }
            ready == servers
        })
    }

    fn raw_client(&mut self, primary: Rank, forward: u32, back: u32, run: BenchRun) -> Result<Samples, String> {
        let message = vec![GO_ON; forward.max(1) as usize];
        let mut buffer = vec![GO_ON; back.max(1) as usize];
        let wire = self.hull.link.raw().ok_or("this transport has no wire below")?;
        let mut samples = Samples::default();
        let mut now = clock::now();
        let from = now + run.warm;
        let until = from + run.counted;
        let mut under_way: VecDeque<Time> = VecDeque::with_capacity(run.window);
        while now < until || !under_way.is_empty() {
            while now < until && under_way.len() < run.window {
                wire.send(primary, &message);
                under_way.push_back(now);
            }
            wire.receive(Some(primary), &mut buffer);
            now = clock::now();
            let sent = under_way.pop_front().expect("every answer was asked for");
            if now >= from && now < until {
                samples.record(now.since(sent));
            }
        }
        samples.elapsed = run.counted;
        Ok(samples)
    }

    /// Gives an order to a rank and waits until it is carried out.
    ///
    /// # Errors
    /// When it is refused.
    pub fn control(&mut self, to: Rank, control: Control) -> Result<(), String> {
        self.last_control += 1;
        let id = self.last_control;
        self.hull.link.push(to, &Packet::Control { id, control });
        self.wait_until("an order", |front| front.controls.contains_key(&id))?;
        self.controls.remove(&id).expect("just seen").map_err(|why| why.to_string())
    }

    /// The further clients do this from now on.
    ///
    /// # Errors
    /// When one of them refuses.
    pub fn order_clients(&mut self, order: Option<LoadOrder>) -> Result<(), String> {
        self.further_clients().try_for_each(|client| self.control(client, Control::Load { order }))
    }

    /// What the further clients have done since they were told to.
    ///
    /// # Errors
    /// When one of them does not say.
    pub fn clients_report(&mut self) -> Result<Report, String> {
        self.further_clients().try_for_each(|client| self.control(client, Control::Observe))?;
        Ok(Report::sum(self.loads.values()))
    }

    /// The clients that are not this rank itself.
    fn further_clients(&self) -> impl Iterator<Item = Rank> + use<T> {
        self.config.client_ranks().filter(|rank| *rank != METADATA)
    }

    /// Tells all living ranks to leave. True when all of them can.
    pub fn leave(self, dead: &[Rank]) -> bool {
        for rank in (1..self.config.ranks()).map(Rank).filter(|rank| !dead.contains(rank)) {
            self.hull.link.push(rank, &Packet::Control { id: 0, control: Control::Leave });
        }
        let until = clock::now() + Duration::from_millis(200);
        loop {
            self.hull.link.flush(clock::now());
            if self.hull.link.unsent() == 0 || clock::now() > until {
                return dead.is_empty();
            }
            drop(self.hull.link.receive());
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// The way of a plain message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// To the primary and back: the limit of a GET.
    PingPong,
    /// Over the primary to all backups and back: the limit of a PUT.
    Relay,
}
