//! The loop of rank 0: the console's client, the metadata server, and what the console is told.
//!
//! What a person asks comes in over the [`Desk`](crate::cluster::Desk); what happens goes out as [`News`]. The loop
//! itself neither draws nor reads the terminal, so it never waits for one.

use super::clock;
use super::link::Link;
use super::log::Log;
use super::pace::{Pace, Waiting};
use super::server_rank::HELD_UP;
use super::succession::{HELLO_DEADLINE, Respawn, Spare, Succession};
use super::turns::Turns;
use crate::cluster::Standing;
use crate::cluster::desk::{Ask, ClusterStatus, Executed, Post, RankStatus};
use crate::cluster::why::{Life, Situation, life};
use crate::cluster::{Facts, Lodger, News, Peer};
use crate::core::fault::Control;
use crate::core::load::Report;
use crate::core::node::brief::brief;
use crate::core::node::host::{FrontHost, Sink};
use crate::core::protocol::client::WINDOW_MAX;
use crate::core::protocol::{
    Completion, Event, Incarnation, METADATA, Member, Message, Observation, Outcome, Rank, Role, Rules, ServerStatus,
    Time, TurnTimes, View,
};
use crate::core::store::{ClientId, OpNumber, Seq};
use crate::mpi::transport::wire::Start;
use crate::mpi::transport::{Change, End, Packet, Place, Process, Transport};
use crossbeam_channel::{Receiver, Sender};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// An order that is not carried out within this long has failed.
const CONTROL_DEADLINE: Duration = Duration::from_millis(1_000);
/// A `RESET` is refused or carried out within this long (at a slow pace it goes on in the background).
const RESET_DEADLINE: Duration = Duration::from_millis(2_500);
/// `STATUS` waits this long for the reports of all ranks; who has not answered is shown as last known.
const STATUS_DEADLINE: Duration = Duration::from_millis(150);
/// The operating system is asked this often how the ranks' processes are.
const PROCESS_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// An answer is told in no more characters than this.
const REPLY_TEXT_CHARS: usize = 256;
/// The lodger leaves room for so many requests of the prompt and of the load.
const WINDOW_KEPT: usize = 1_024;
/// How the lodger is shown to be is told this often.
const SIGHT_INTERVAL: Duration = Duration::from_millis(500);
/// The most wishes taken from the desk in one turn.
const ASKS_PER_TURN_MAX: usize = 256;
/// Leaving waits this long for the others to be told.
const LEAVE_DEADLINE: Duration = Duration::from_millis(100);

/// How a rank's process is, and what it last said.
#[derive(Debug, Clone)]
struct Known {
    process: Process,
    /// Where it listens, if it came later and there are several hosts.
    addresses: Vec<SocketAddr>,
    pid: u32,
    /// Its process can be looked at and signalled from here.
    local: bool,
    status: Option<ServerStatus>,
    turns: Option<TurnTimes>,
    stopped: bool,
    gone: bool,
    /// The first life of its process: nothing is left of those before.
    began: Incarnation,
}

impl Known {
    /// A process that has said nothing yet.
    fn new(process: Process, pid: u32, local: bool, began: Incarnation) -> Self {
        let (addresses, status, turns) = (Vec::new(), None, None);
        Self { process, addresses, pid, local, status, turns, stopped: false, gone: false, began }
    }

    fn place(&self, rank: Rank) -> Place {
        Place { rank, process: self.process, addresses: self.addresses.clone() }
    }
}

struct PendingStatus {
    answer: Sender<ClusterStatus>,
    missing: BTreeSet<Rank>,
    deadline: Time,
}

struct PendingControl {
    to: Rank,
    control: Control,
    answer: Sender<Result<(), String>>,
    deadline: Time,
}

/// Rank 0.
pub struct ConsoleRank<'a, T> {
    link: &'a mut Link<T>,
    front: FrontHost,
    asks: Receiver<Ask>,
    /// Told what happens; must not wait.
    news: Box<dyn FnMut(News) + 'a>,
    /// Whether somebody wants to see single requests: their words cost time.
    tell_requests: bool,
    /// Whether the operations of the load are told as well.
    log: Log,
    start: Start,
    respawn: Respawn,
    succession: Succession,
    known: BTreeMap<Rank, Known>,
    /// How the load goes, by client.
    loads: BTreeMap<Rank, Report>,
    executing: BTreeMap<Seq, (Sender<Executed>, String)>,
    controls: BTreeMap<u64, PendingControl>,
    statuses: Vec<PendingStatus>,
    /// Who waits for a `RESET` to be carried out, and until when.
    resets: Vec<(Sender<Result<(), String>>, Time)>,
    last_control: u64,
    /// The rules that an operator has set: a successor follows them too.
    rules: Option<Rules>,
    next_process_check: Time,
    why: Option<String>,
    /// Set when nobody has the data any more, and no request will ever be answered: that, and the way out.
    data_gone: Option<String>,
    /// A server served at this time, as far as was heard.
    served: Time,
    sends: Vec<(Rank, Message)>,
    turns: Turns,
    /// Who asks on behalf of other programs.
    lodger: Option<Box<dyn Lodger>>,
    next_sight: Time,
}

impl<'a, T: Transport> ConsoleRank<'a, T> {
    /// Rank 0 with its client and metadata server, serving `asks`. `start` is what the other ranks were told.
    pub fn new(
        link: &'a mut Link<T>,
        front: FrontHost,
        asks: Receiver<Ask>,
        log: Log,
        start: Start,
        tell_requests: bool,
        news: Box<dyn FnMut(News) + 'a>,
    ) -> Self {
        Self {
            link,
            front,
            asks,
            news,
            tell_requests,
            log,
            start,
            respawn: Respawn { automatic: false, arguments: Box::new(|_| Vec::new()) },
            succession: Succession::default(),
            known: BTreeMap::new(),
            loads: BTreeMap::new(),
            executing: BTreeMap::new(),
            controls: BTreeMap::new(),
            statuses: Vec::new(),
            resets: Vec::new(),
            last_control: 0,
            rules: None,
            next_process_check: Time::default(),
            why: None,
            data_gone: None,
            served: clock::now(),
            sends: Vec::new(),
            turns: Turns::new(clock::now()),
            lodger: None,
            next_sight: Time::default(),
        }
    }

    /// The same, with somebody who asks on behalf of other programs.
    #[must_use]
    pub fn with_lodger(self, lodger: Option<Box<dyn Lodger>>) -> Self {
        lodger.iter().for_each(|lodger| self.link.doorbell.listen_also(lodger.bell()));
        Self { lodger, ..self }
    }

    /// The same, able to replace dead processes.
    #[must_use]
    pub fn with_respawn(self, respawn: Respawn) -> Self {
        Self { respawn, ..self }
    }

    /// Runs until somebody asks to quit. True when all ranks are alive, so that MPI can end the orderly way.
    pub fn run(mut self) -> bool {
        let mut pace = Pace::new(clock::now());
        let mut turned = clock::now();
        self.turns.begin(turned);
        loop {
            let mut inbox = self.link.receive();
            let now = clock::now();
            if now.since(turned) > HELD_UP {
                self.log.line(now, &format!("this loop was held up for {:.1?}", now.since(turned)));
            }
            turned = now;
            let heard = !inbox.is_empty();
            let mut worked = inbox.iter().any(|(_, packet)| !packet.is_background());
            for (from, packet) in inbox.drain(..) {
                self.link.heard(from, &packet, now);
                self.on_packet(now, from, packet);
            }
            self.link.handled(inbox, Vec::new());
            for _ in 0..ASKS_PER_TURN_MAX {
                let Ok(ask) = self.asks.try_recv() else { break };
                worked = true;
                if matches!(ask, Ask::Quit) {
                    return self.leave(now);
                }
                self.on_ask(now, ask);
            }
            worked |= self.serve_lodger(now);
            self.with_front(now, |front, sink| front.tick(now, sink));
            self.finish_asks(now);
            self.tend_succession(now);
            if now >= self.next_process_check {
                self.next_process_check = now + PROCESS_CHECK_INTERVAL;
                self.check_processes(now);
                self.tell_why(now);
                self.tell_lodger(now);
            }
            if let Some(observation) = self.front.report(now) {
                (self.news)(News::Observation(Box::new(observation)));
            }
            if let Some(report) = self.front.load_report(now, false) {
                self.on_load(METADATA, report);
            }
            self.link.flush(now);
            self.lodger.iter_mut().for_each(|lodger| lodger.send());
            self.log.tick(now);
            let expecting = self.front.client().outstanding() > 0;
            let waiting = Waiting { heard, expecting, moving: self.link.is_moving(), due: self.deadline() };
            self.turns.end(clock::now(), heard || worked, &mut self.log);
            if pace.wait(now, worked, waiting, &self.link.doorbell) {
                self.turns.begin(clock::now());
            }
        }
    }

    fn deadline(&self) -> Time {
        let controls = self.controls.values().map(|control| control.deadline);
        let statuses = self.statuses.iter().map(|status| status.deadline);
        let resets = self.resets.iter().map(|(_, deadline)| *deadline);
        let asked = controls.chain(statuses).chain(resets).min().unwrap_or(Time::NEVER);
        let asked = asked.min(self.lodger.as_ref().map_or(Time::NEVER, |lodger| lodger.deadline()));
        self.front.deadline().min(self.front.report_deadline()).min(self.next_process_check).min(asked)
    }

    fn with_front<R>(&mut self, now: Time, act: impl FnOnce(&mut FrontHost, &mut Sink<'_>) -> R) -> R {
        let (log, sends) = (&mut self.log, &mut self.sends);
        let mut sink =
            Sink { emit: &mut |to, message| sends.push((to, message)), tell: &mut |event| log.event(now, event) };
        let result = act(&mut self.front, &mut sink);
        for (to, message) in self.sends.drain(..) {
            self.link.push(to, &Packet::Message(message));
        }
        let (mut completions, mut answers) = (Vec::new(), Vec::new());
        while let Some(completion) = self.front.pop_completion() {
            let Some((answer, text)) = self.executing.remove(&completion.seq) else {
                // One of the load's, or the lodger's.
                if let Some(lodger) = &mut self.lodger {
                    lodger.answered(now, completion.seq, &completion.outcome);
                }
                completions.push(completion);
                continue;
            };
            let reply = match &completion.outcome {
                _ if !self.tell_requests => String::new(),
                Outcome::Done(reply) => brief(reply, REPLY_TEXT_CHARS),
                Outcome::Unknown => "(unknown)".to_owned(),
            };
            let took = completion.returned.since(completion.call);
            (self.news)(News::Answered { at: completion.returned, command: text, reply, took });
            answers.push((answer, completion.outcome.clone()));
            completions.push(completion);
        }
        if !completions.is_empty() {
            self.tell_finished(now, completions);
        }
        // Whoever has an answer finds it in the history.
        for (answer, outcome) in answers {
            let _ = answer.send(Ok(outcome));
        }
        result
    }

    /// Takes on what the lodger asks for. True when there was anything.
    fn serve_lodger(&mut self, now: Time) -> bool {
        let Some(mut lodger) = self.lodger.take() else { return false };
        let mut worked = lodger.receive(now);
        let room = WINDOW_MAX.saturating_sub(self.front.client().outstanding() + WINDOW_KEPT);
        let commands = &mut |front: &FrontHost| lodger.next_command(front.next_seq());
        let asked = self.with_front(now, |front, sink| front.submit_all(now, room, commands, sink));
        worked |= asked > 0;
        self.lodger = Some(lodger);
        worked
    }

    /// Tells the lodger how the cluster is, and the screen how the lodger is.
    fn tell_lodger(&mut self, now: Time) {
        let Some(mut lodger) = self.lodger.take() else { return };
        let metadata = self.front.metadata().expect("rank 0 is the metadata server");
        let peer = |rank: Rank| Peer { rank, pid: self.known.get(&rank).map_or(0, |known| known.pid) };
        let view = metadata.view();
        let primary = view.map(|view| view.primary.rank);
        let status = primary.and_then(|rank| self.known.get(&rank)?.status.as_ref());
        lodger.tell(Facts {
            wall: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default(),
            view: view.map_or_else(Default::default, |view| view.number),
            primary: primary.map(peer),
            backups: view.iter().flat_map(|view| &view.backups).map(|member| peer(member.rank)).collect(),
            keys: status.map_or(0, |status| status.keys),
            op: status.map_or(0, |status| status.op.0),
            failovers: metadata.failovers(),
            data_gone: self.data_gone.clone(),
        });
        if now >= self.next_sight {
            self.next_sight = now + SIGHT_INTERVAL;
            (self.news)(News::Door(lodger.sight()));
        }
        self.lodger = Some(lodger);
    }

    /// What this rank's own client has finished, and since when what it still has running is running.
    fn tell_finished(&mut self, now: Time, completions: Vec<Completion>) {
        let (client, running_since) = (ClientId(METADATA.0), self.front.client().running_since(now));
        (self.news)(News::Finished { client, completions, running_since });
    }

    // ---- packets -------------------------------------------------------------------------------

    fn on_packet(&mut self, now: Time, from: Rank, packet: Packet) {
        match packet {
            Packet::Message(message) => self.with_front(now, |front, sink| front.handle(now, from, message, sink)),
            Packet::Observation(observation) => self.on_observation(from, observation),
            Packet::Load(report) => self.on_load(from, *report),
            Packet::Finished { completions, running_since } => {
                // Together with the other clients' word, so that all can be judged up to now.
                self.tell_finished(now, Vec::new());
                (self.news)(News::Finished { client: ClientId(from.0), completions, running_since });
            }
            Packet::ControlDone { id, result } => {
                if let Some(pending) = self.controls.remove(&id) {
                    if result.is_ok() {
                        self.succession.note_order(pending.to, &pending.control);
                        self.tell_network(pending.to, pending.control);
                    }
                    let _ = pending.answer.send(result);
                }
            }
            Packet::Hello { pid, host, addresses } => {
                let local = host == self.start.host;
                if from.0 >= self.start.ranks {
                    self.succession.spares.insert(Process(from.0), Spare { pid, local });
                    return;
                }
                let process = self.succession.under_way(from).map_or(Process(from.0), |under_way| under_way.process);
                self.known
                    .insert(from, Known { addresses, ..Known::new(process, pid, local, self.succession.given(from)) });
                self.welcome_successor(now, from);
            }
            Packet::Control { .. } | Packet::Start(_) | Packet::Gone { .. } | Packet::Placed(_) | Packet::Play(_) => {}
        }
    }

    fn on_observation(&mut self, from: Rank, observation: Box<Observation>) {
        if observation.rank != from {
            return;
        }
        if let Some(known) = self.known.get_mut(&from) {
            known.turns = observation.turns.or(known.turns);
            known.status = observation.server.clone().or(known.status.take());
        }
        self.front.note_report(&observation);
        for pending in &mut self.statuses {
            pending.missing.remove(&from);
        }
        (self.news)(News::Observation(observation));
    }

    fn on_load(&mut self, from: Rank, report: Report) {
        self.loads.insert(from, report);
        (self.news)(News::Load(Box::new(Report::sum(self.loads.values()))));
    }

    fn tell_network(&mut self, rank: Rank, control: Control) {
        let network =
            matches!(control, Control::Cut { .. } | Control::Loss { .. } | Control::Delay { .. } | Control::Heal);
        if network {
            (self.news)(News::Network { rank, control });
        }
    }

    // ---- asks ----------------------------------------------------------------------------------

    fn on_ask(&mut self, now: Time, ask: Ask) {
        match ask {
            Ask::Execute { command, answer } => {
                // Not from memory: a `RESET` may just have helped.
                if self.data_gone.is_some() {
                    self.tell_why(now);
                }
                if let Some(why) = &self.data_gone {
                    let _ = answer.send(Err(why.clone()));
                    return;
                }
                let text = if self.tell_requests { command.to_string() } else { String::new() };
                if self.tell_requests {
                    (self.news)(News::Asked { at: now, command: text.clone() });
                }
                let seq = self.front.next_seq();
                self.executing.insert(seq, (answer, text));
                self.with_front(now, |front, sink| front.submit(now, command, sink));
            }
            Ask::Control { to, control, answer } => self.on_control(now, to, control, answer),
            Ask::Kill { rank, answer } => {
                let result = self.kill(now, rank);
                let _ = answer.send(result);
            }
            Ask::Status { answer } => {
                let is_coming = |rank: &Rank| self.succession.under_way(*rank).is_some();
                let alive = self.known.iter().filter(|(_, known)| !known.stopped && !known.gone);
                let missing: BTreeSet<Rank> = alive.map(|(rank, _)| *rank).filter(|rank| !is_coming(rank)).collect();
                for rank in &missing {
                    self.link.push(*rank, &Packet::Control { id: 0, control: Control::Observe });
                }
                self.statuses.push(PendingStatus { answer, missing, deadline: now + STATUS_DEADLINE });
            }
            Ask::Load { answer } => {
                let own = self.front.load_report(now, true).filter(|report| report.operations > 0);
                self.loads.extend(own.map(|report| (METADATA, report)));
                let _ = answer.send(Report::sum(self.loads.values()));
            }
            Ask::Note { event } => self.front.note(now, &event),
            // Here time passes by itself.
            Ask::Pass { answer, .. } => drop(answer),
            Ask::Quit => {}
        }
    }

    fn on_control(&mut self, now: Time, to: Rank, control: Control, answer: Sender<Result<(), String>>) {
        if to == METADATA {
            let result = self.with_front(now, |front, sink| front.control(now, &control, sink));
            if result.is_ok() && matches!(control, Control::Reset | Control::ResetAnyway) {
                self.resets.push((answer, now + RESET_DEADLINE));
                return;
            }
            if let (Ok(()), Control::Rules { rules }) = (&result, &control) {
                self.rules = Some(*rules);
                (self.news)(News::Unsafe(rules.warning()));
            }
            if result.is_ok() {
                self.succession.note_order(to, &control);
                self.tell_network(to, control);
            }
            let _ = answer.send(result);
            return;
        }
        let Some(known) = self.known.get(&to).cloned() else {
            let _ = answer.send(Err(format!("there is no rank {to}, or it has not started yet")));
            return;
        };
        match control {
            Control::Recover if known.gone => match self.link.transport().survives_a_death() {
                Ok(()) => self.succession.ask(to, answer),
                Err(why) => drop(answer.send(Err(why))),
            },
            _ if known.gone => {
                drop(answer.send(Err(format!("server {to} is dead: its process {} is gone", known.pid))))
            }
            Control::Pause | Control::Resume if known.local => {
                drop(answer.send(self.stop_process(to, &known, control == Control::Pause)));
            }
            // It will hear of them when it goes on.
            Control::Rules { .. } if known.stopped => {
                self.link.push(to, &Packet::Control { id: 0, control });
                drop(answer.send(Ok(())));
            }
            _ if known.stopped => {
                let why = format!("server {to} is paused and hears nothing: RESUME {to} first");
                drop(answer.send(Err(why)));
            }
            control => {
                self.last_control += 1;
                let id = self.last_control;
                self.link.push(to, &Packet::Control { id, control: control.clone() });
                let deadline = now + CONTROL_DEADLINE;
                self.controls.insert(id, PendingControl { to, control, answer, deadline });
            }
        }
    }

    /// A real pause: the process itself is stopped, or goes on.
    fn stop_process(&mut self, rank: Rank, known: &Known, stop: bool) -> Result<(), String> {
        if known.stopped == stop {
            return Err(format!("server {rank} is {} paused", if stop { "already" } else { "not" }));
        }
        signal(known.pid, if stop { Signal::STOP } else { Signal::CONT })
            .map_err(|error| format!("process {} cannot be signalled: {error}", known.pid))?;
        self.set_stopped(rank, stop);
        Ok(())
    }

    fn set_stopped(&mut self, rank: Rank, stopped: bool) {
        if let Some(known) = self.known.get_mut(&rank)
            && known.stopped != stopped
        {
            known.stopped = stopped;
            (self.news)(News::Stopped { rank, stopped });
        }
    }

    fn finish_asks(&mut self, now: Time) {
        let late: Vec<u64> = self.controls.iter().filter(|(_, c)| now >= c.deadline).map(|(id, _)| *id).collect();
        for pending in late.into_iter().filter_map(|id| self.controls.remove(&id)) {
            let why = format!("rank {} did not answer within {} ms", pending.to, CONTROL_DEADLINE.as_millis());
            let _ = pending.answer.send(Err(why));
        }
        let metadata = self.front.metadata();
        let resetting = metadata.is_some_and(|metadata| metadata.is_resetting());
        let refusal = metadata.and_then(|metadata| metadata.reset_refusal()).map(str::to_owned);
        self.resets.retain(|(answer, deadline)| {
            if resetting && now < *deadline {
                return true;
            }
            let late = "no server has announced itself yet: the stores are emptied when one does".to_owned();
            let done = refusal.clone().map_or(Ok(()), Err);
            let _ = answer.send(if resetting { Err(late) } else { done });
            false
        });
        let mut at = 0;
        while at < self.statuses.len() {
            if self.statuses[at].missing.is_empty() || now >= self.statuses[at].deadline {
                let pending = self.statuses.remove(at);
                self.tell_why(now);
                let _ = pending.answer.send(self.status(now));
            } else {
                at += 1;
            }
        }
    }

    fn status(&self, now: Time) -> ClusterStatus {
        let metadata = self.front.metadata().expect("rank 0 is the metadata server");
        let view = metadata.view().cloned();
        let serving = |rank: &Rank| {
            self.known.get(rank).is_some_and(|known| {
                !known.stopped && !known.gone && known.status.as_ref().is_some_and(|s| s.role == Role::Primary)
            })
        };
        let turns = Some(self.turns.times());
        let own = RankStatus { rank: METADATA, pid: std::process::id(), post: Post::Metadata, turns, silence: None };
        let others = self.known.iter().map(|(rank, known)| RankStatus {
            rank: *rank,
            pid: known.pid,
            post: post(*rank, known, metadata.is_client(*rank), view.as_deref()),
            turns: known.turns,
            silence: known.status.as_ref().filter(|_| !known.gone).and_then(|status| status.silence),
        });
        let ranks = std::iter::once(own).chain(others).collect();
        ClusterStatus {
            primary: view.as_ref().map(|view| view.primary.rank).filter(serving),
            view,
            ranks,
            failovers: metadata.failovers(),
            views: metadata.records().iter().cloned().collect(),
            now,
            why: self.why.clone(),
            data_gone: self.data_gone.is_some(),
        }
    }

    // ---- processes -----------------------------------------------------------------------------

    fn check_processes(&mut self, now: Time) {
        for rank in self.known.keys().copied().collect::<Vec<_>>() {
            let known = &self.known[&rank];
            if !known.local || known.gone {
                continue;
            }
            match process_state(known.pid) {
                // A child's end is told, with the reason.
                ProcessState::Gone if known.process.0 >= self.start.together => {}
                ProcessState::Gone => self.bury(now, rank, None),
                state => self.set_stopped(rank, state == ProcessState::Stopped),
            }
        }
        let is_gone = |spare: &Spare| spare.local && process_state(spare.pid) == ProcessState::Gone;
        let gone: Vec<Process> =
            self.succession.spares.extract_if(.., |_, spare| is_gone(spare)).map(|(p, _)| p).collect();
        for process in gone {
            self.log.line(now, &format!("spare {process} is gone"));
            self.dismiss(process);
        }
    }

    fn kill(&mut self, now: Time, rank: Rank) -> Result<(), String> {
        if rank == METADATA {
            return Err("rank 0 is this console: QUIT ends it, and the cluster with it".to_owned());
        }
        let known =
            self.known.get(&rank).ok_or_else(|| format!("there is no rank {rank}, or it has not started yet"))?;
        if known.gone {
            return Err(format!("server {rank} is already dead"));
        }
        if !known.local {
            return Err(format!("server {rank} runs on another machine: kill its process {} there", known.pid));
        }
        self.link.transport().survives_a_death().map_err(|why| format!("KILL would end the cluster: {why}"))?;
        signal(known.pid, Signal::KILL).map_err(|error| format!("process {} cannot be killed: {error}", known.pid))?;
        self.bury(now, rank, None);
        Ok(())
    }

    /// Nobody sends to this process any more: it is dead.
    fn dismiss(&mut self, process: Process) {
        self.link.forget(process);
        self.tell_everybody(&Packet::Gone { process });
    }

    /// Tells all living processes, the spares too.
    fn tell_everybody(&mut self, packet: &Packet) {
        for (rank, _) in self.known.iter().filter(|(_, known)| !known.gone) {
            self.link.push(*rank, packet);
        }
        for spare in self.succession.spares.keys() {
            self.link.push(Rank(spare.0), packet);
        }
    }

    /// A process is dead: nobody sends to it any more, nobody waits for it, somebody takes its place.
    fn bury(&mut self, now: Time, rank: Rank, end: Option<End>) {
        let Some(known) = self.known.get_mut(&rank).filter(|known| !known.gone) else { return };
        (known.gone, known.stopped) = (true, false);
        let (pid, process) = (known.pid, known.process);
        self.log.line(now, &format!("server {rank}: process {pid} is gone"));
        self.dismiss(process);
        self.front.note_gone(rank);
        for pending in self.controls.extract_if(.., |_, pending| pending.to == rank).map(|(_, pending)| pending) {
            let _ = pending.answer.send(Err(format!("server {rank} has died: its process {pid} is gone")));
        }
        for pending in &mut self.statuses {
            pending.missing.remove(&rank);
        }
        (self.news)(News::Gone { rank });
        // A new process would count its requests from one again, and be taken for a client that repeats itself.
        let is_client = self.front.metadata().is_some_and(|metadata| metadata.is_client(rank));
        if self.succession.under_way(rank).is_some() {
            let how = || format!("its process {pid} has died before its first word");
            self.succession_failed(now, rank, &end.unwrap_or_else(|| End { how: how(), killed: true }));
        } else if !is_client && self.respawn.automatic && self.link.transport().survives_a_death().is_ok() {
            self.succession.wish(rank);
        }
    }

    // ---- replacements --------------------------------------------------------------------------

    fn tend_succession(&mut self, now: Time) {
        while let Some(change) = self.link.transport().take_change() {
            match change {
                Change::Started { process, pid } => {
                    if let Some(rank) = self.succession.rank_of(process) {
                        self.known.insert(rank, Known::new(process, pid, true, self.succession.given(rank)));
                    }
                }
                Change::Ended { process, end } => self.child_ended(now, process, end),
            }
        }
        if let Some(late) = self.succession.late(now) {
            let how = format!("it did not say hello within {} s", HELLO_DEADLINE.as_secs());
            self.give_up(now, late, End { how, killed: false });
        }
        while let Some(rank) = self.succession.take_next() {
            self.replace(now, rank);
        }
    }

    /// Somebody takes the place of a dead process: a spare, or a new one.
    fn replace(&mut self, now: Time, rank: Rank) {
        let incarnation = self.next_life(rank);
        let process = match self.succession.spares.pop_first() {
            Some((process, spare)) => {
                self.known.insert(rank, Known::new(process, spare.pid, spare.local, incarnation));
                process
            }
            None => {
                let arguments = (self.respawn.arguments)(rank);
                let Some(process) = self.link.transport().start(&arguments) else {
                    let how = "this process cannot start others".to_owned();
                    return self.succession_failed(now, rank, &End { how, killed: false });
                };
                process
            }
        };
        self.succession.begun(rank, process, now);
        let place = Place { rank, process, addresses: Vec::new() };
        self.link.place(&place);
        // A child is announced when it listens.
        if process.0 < self.start.together {
            self.announce(&place);
        }
        let others = self.known.iter().filter(|(other, known)| **other != rank && !known.gone);
        let own = Place { rank: METADATA, process: Process(METADATA.0), addresses: Vec::new() };
        let places = others.map(|(other, known)| known.place(*other)).chain([own, place]).collect();
        let start = Start { process, rank, incarnation, places, ..self.start.clone() };
        self.link.push(rank, &Packet::Start(Box::new(start)));
    }

    /// Tells the others who that rank is from now on.
    fn announce(&mut self, place: &Place) {
        for (other, _) in self.known.iter().filter(|(other, known)| **other != place.rank && !known.gone) {
            self.link.push(*other, &Packet::Placed(place.clone()));
        }
    }

    /// The life that a new process of this rank begins with: a stranger's.
    fn next_life(&mut self, rank: Rank) -> Incarnation {
        let metadata = self.front.metadata().expect("rank 0 is the metadata server");
        let announced = metadata.known().get(&rank).map(|known| known.member.incarnation);
        let in_view = metadata.view().and_then(|view| view.member_on(rank)).map(|member| member.incarnation);
        let reported = self.known.get(&rank).and_then(|known| known.status.as_ref()).map(|status| status.incarnation);
        let last = announced.max(in_view).max(reported).unwrap_or(Incarnation(0));
        self.succession.give(rank, last)
    }

    /// A process that was started here has ended, or could not be started.
    fn child_ended(&mut self, now: Time, process: Process, end: End) {
        let rank = self.known.iter().find(|(_, known)| known.process == process && !known.gone).map(|(rank, _)| *rank);
        if let Some(rank) = rank {
            self.bury(now, rank, Some(end));
        } else if let Some(rank) = self.succession.rank_of(process) {
            self.dismiss(process);
            self.succession_failed(now, rank, &end);
        }
    }

    /// A replacement that hangs is killed.
    fn give_up(&mut self, now: Time, rank: Rank, end: End) {
        let Some(under_way) = self.succession.under_way(rank) else { return };
        match self.known.get(&rank).filter(|known| known.process == under_way.process && !known.gone) {
            Some(known) => {
                if known.local {
                    let _ = signal(known.pid, Signal::KILL);
                }
                self.bury(now, rank, Some(end));
            }
            None => {
                self.dismiss(under_way.process);
                self.succession_failed(now, rank, &end);
            }
        }
    }

    fn welcome_successor(&mut self, now: Time, rank: Rank) {
        let Some(since) = self.succession.arrived(rank) else { return };
        let known = &self.known[&rank];
        let (pid, is_child) = (known.pid, known.process.0 >= self.start.together);
        if is_child {
            let place = known.place(rank);
            self.announce(&place);
        }
        let rules = self.rules.map(|rules| Control::Rules { rules });
        for control in self.succession.orders(rank).iter().cloned().chain(rules) {
            self.link.push(rank, &Packet::Control { id: 0, control });
        }
        let kind = if is_child { "" } else { ", a spare," };
        let what =
            format!("server {rank}: process {pid}{kind} takes its place, after {} ms", now.since(since).as_millis());
        self.note(now, what);
    }

    fn succession_failed(&mut self, now: Time, rank: Rank, end: &End) {
        let again = self.succession.failed(rank, end);
        let next = if again { "trying again".to_owned() } else { format!("RECOVER {rank} tries again") };
        self.note(now, format!("server {rank}: no process takes its place: {}; {next}", end.how));
    }

    fn note(&mut self, now: Time, what: String) {
        let event = Event::Operator { what };
        self.log.event(now, &event);
        self.front.note(now, &event);
    }

    /// One sentence when nobody is served.
    fn tell_why(&mut self, now: Time) {
        let metadata = self.front.metadata().expect("rank 0 is the metadata server");
        let view = metadata.view().cloned();
        let life = |member: &Member| match self.known.get(&member.rank) {
            Some(known) if known.gone || known.began > member.incarnation => Life::Lost,
            Some(Known { status: Some(status), stopped, .. }) => match life(*member, status) {
                Life::Lives { .. } | Life::Unknown if *stopped => Life::Paused,
                life => life,
            },
            Some(known) if known.stopped => Life::Paused,
            _ => Life::Unknown,
        };
        let mut situation = Situation {
            lives: view.iter().flat_map(|view| view.members()).map(|member| (member.rank, life(&member))).collect(),
            cuts: self.succession.cuts().collect(),
            view: view.as_deref(),
            blocked_for: Duration::ZERO,
        };
        if situation.is_served() {
            self.served = now;
        }
        let waiting = now.since(self.front.client().running_since(now));
        situation.blocked_for = now.since(self.served).max(waiting);
        let why = situation.why();
        self.data_gone = situation.data_gone();
        if why != self.why {
            self.why.clone_from(&why);
            (self.news)(News::Why(why));
        }
        // Whoever waits for an answer is told that none will come. (The request itself ends as unknown, in its time.)
        if let Some(why) = &self.data_gone {
            for (answer, command) in std::mem::take(&mut self.executing).into_values() {
                (self.news)(News::Answered { at: now, command, reply: "(unknown)".to_owned(), took: waiting });
                let _ = answer.send(Err(why.clone()));
            }
        }
    }

    fn leave(mut self, now: Time) -> bool {
        let mut all_alive = true;
        for (rank, known) in &self.known {
            all_alive &= !known.gone;
            if known.stopped {
                let _ = signal(known.pid, Signal::CONT);
            }
            if !known.gone {
                self.link.push(*rank, &Packet::Control { id: 0, control: Control::Leave });
            }
        }
        let dead = |rank: &Rank| self.known.get(rank).is_none_or(|known| known.gone);
        let coming = self.succession.all_under_way().filter(dead);
        let spares = self.succession.spares.keys().map(|process| Rank(process.0));
        for rank in coming.chain(spares) {
            self.link.push(rank, &Packet::Control { id: 0, control: Control::Leave });
        }
        self.with_front(now, |front, sink| front.give_up(now, sink));
        // What happened last is told before the end.
        let observation = self.front.report_at_once(now);
        (self.news)(News::Observation(Box::new(observation)));
        let until = now + LEAVE_DEADLINE;
        loop {
            self.link.flush(clock::now());
            if self.link.unsent() == 0 || clock::now() >= until {
                break;
            }
            let inbox = self.link.receive();
            drop(inbox);
            std::thread::sleep(Duration::from_micros(100));
        }
        self.log.event(now, &Event::Operator { what: "the end".to_owned() });
        self.log.flush();
        all_alive
    }
}

fn post(rank: Rank, known: &Known, is_client: bool, view: Option<&View>) -> Post {
    let seen = known.gone.then_some(Standing::Dead).or(known.stopped.then_some(Standing::Paused));
    if is_client {
        return Post::Client(seen);
    }
    let standing = seen.unwrap_or_else(|| Standing::reported(rank, known.status.as_ref(), view));
    match &known.status {
        Some(ServerStatus { keys, op, incarnation, .. }) => {
            Post::Server { standing, keys: *keys, op: *op, incarnation: *incarnation }
        }
        None => Post::Server { standing, keys: 0, op: OpNumber(0), incarnation: known.began },
    }
}

fn signal(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    kill_process(pid, signal)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessState {
    Running,
    Stopped,
    Gone,
}

fn process_state(pid: u32) -> ProcessState {
    // The state follows the command name, which stands in parentheses and may contain anything.
    let stat = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return ProcessState::Gone,
        Err(_) => return ProcessState::Running,
    };
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('T' | 't') => ProcessState::Stopped,
        Some('Z' | 'X') => ProcessState::Gone,
        _ => ProcessState::Running,
    }
}
