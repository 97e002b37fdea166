//! The ranks as rank 0 knows and governs them: their processes, their last reports, who takes whose place.
//!
//! This is the [`Cluster`] over MPI that the service of rank 0 serves. What happens by itself ([`ProcessFate`]) is not
//! told by callbacks: whoever runs the loop takes it away after each step.

use super::processes::{ProcessState, process_state, signal};
use super::succession::{HELLO_DEADLINE, Respawn, Spare, Succession};
use super::turn::Hull;
use super::{Link, clock, log::Log};
use crate::cluster::Standing;
use crate::cluster::service::{Cluster, OrderTold, Ordered, Seen};
use crate::core::fault::Control;
use crate::core::load::Report;
use crate::core::node::{FrontHost, Outputs};
use crate::core::protocol::{
    Completion, Event, Incarnation, METADATA, Message, Observation, Rank, Rules, ServerStatus, Time, TurnTimes,
};
use crate::core::store::Command;
use crate::disk::{DiskNews, Scribe};
use crate::mpi::transport::deathwatch::DeathWatch;
use crate::mpi::transport::wire::Start;
use crate::mpi::transport::{Change, Packet, Place, Process, ProcessEnd, Transport};
use crossbeam_channel::Sender;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// What has become of a rank's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessFate {
    /// It has ended.
    Lost { rank: Rank, pid: u32 },
    /// It was stopped, or goes on.
    Stopped { rank: Rank, stopped: bool },
}

/// How a rank's process is, and what it last said.
#[derive(Debug, Clone)]
pub(super) struct KnownRank {
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

impl KnownRank {
    /// A process that has said nothing yet.
    pub(super) fn new(process: Process, pid: u32, local: bool, began: Incarnation) -> Self {
        let (addresses, status, turns) = (Vec::new(), None, None);
        Self { process, addresses, pid, local, status, turns, stopped: false, gone: false, began }
    }

    fn place(&self, rank: Rank) -> Place {
        Place { rank, process: self.process, addresses: self.addresses.clone() }
    }
}

/// How dead a process is that is buried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// It has ended.
    Dead,
    /// It was sent a SIGKILL: in a moment it will be.
    Killed,
}

/// A process that will be dead in a moment, and what is over then.
#[derive(Debug, Clone, Copy)]
struct Dying {
    rank: Rank,
    before: Incarnation,
    pid: u32,
}

/// All ranks, as seen from rank 0.
pub(super) struct Ranks<'a, T> {
    pub(super) hull: Hull<'a, T>,
    pub(super) front: FrontHost,
    outputs: Outputs,
    start: Start,
    respawn: Respawn,
    succession: Succession,
    known: BTreeMap<Rank, KnownRank>,
    fates: Vec<ProcessFate>,
    /// Who tells of deaths at once.
    deathwatch: Option<DeathWatch>,
    /// Processes that were killed from here and may not be dead yet.
    dying: BTreeMap<Process, Dying>,
    last_order: u64,
    /// The rules that an operator has set: a successor follows them too.
    rules: Option<Rules>,
    now: Time,
}

impl<'a, T: Transport> Ranks<'a, T> {
    /// Nobody has said anything yet. `start` is what the other ranks were told.
    pub(super) fn new(link: &'a mut Link<T>, front: FrontHost, log: Log, start: Start) -> Self {
        Self {
            hull: Hull::new(link, log),
            front,
            outputs: Outputs::default(),
            start,
            respawn: Respawn { automatic: false, arguments: Box::new(|_| Vec::new()) },
            succession: Succession::default(),
            known: BTreeMap::new(),
            fates: Vec::new(),
            deathwatch: None,
            dying: BTreeMap::new(),
            last_order: 0,
            rules: None,
            now: clock::now(),
        }
    }

    /// The same, able to replace dead processes.
    pub(super) fn with_respawn(self, respawn: Respawn) -> Self {
        Self { respawn, ..self }
    }

    /// The same, told of deaths by the kernel.
    pub(super) fn with_deathwatch(self, deathwatch: Option<DeathWatch>) -> Self {
        Self { deathwatch, ..self }
    }

    /// The same with a disk.
    pub(super) fn with_disk(self, disk: Option<Scribe>) -> Self {
        Self { hull: self.hull.with_disk(disk), ..self }
    }

    /// Takes in what rank 0's disk has to say.
    pub(super) fn hear_disk(&mut self, now: Time) {
        while let Some(news) = self.hull.disk_news() {
            match news {
                DiskNews::Durable(ticket) => self.front.durable(now, ticket, &mut self.outputs),
                DiskNews::Failed(why) => self.say(now, format!("{why}; the view cannot change any more")),
                DiskNews::Recovered(_) => {}
            }
        }
    }

    /// A turn begins.
    pub(super) fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// What has become of processes since the last call.
    pub(super) fn take_fates(&mut self) -> Vec<ProcessFate> {
        std::mem::take(&mut self.fates)
    }

    /// Rank 0's client asks for what `commands` gives, at most `room` of them. Gives how many there were.
    pub(super) fn submit_all(
        &mut self,
        now: Time,
        room: usize,
        commands: &mut dyn FnMut(&FrontHost) -> Option<Command>,
    ) -> usize {
        self.front.submit_all(now, room, commands, &mut self.outputs)
    }

    /// The process of a rank.
    pub(super) fn pid(&self, rank: Rank) -> Option<u32> {
        self.known.get(&rank).map(|known| known.pid)
    }

    /// What a server last said.
    pub(super) fn status(&self, rank: Rank) -> Option<&ServerStatus> {
        self.known.get(&rank)?.status.as_ref()
    }

    /// What rank 0's client has finished since the last call.
    pub(super) fn take_finished(&mut self) -> Vec<Completion> {
        std::iter::from_fn(|| self.front.pop_completion()).collect()
    }

    /// Does what time asks for.
    pub(super) fn tick(&mut self, now: Time) {
        self.hear_deaths(now);
        self.front.tick(now, &mut self.outputs);
        self.tend_succession(now);
    }

    /// What rank 0's host wants done is done. True when there was something to do.
    pub(super) fn carry_out(&mut self, now: Time) -> bool {
        self.hull.carry_out(now, &mut self.outputs)
    }

    // ---- packets -------------------------------------------------------------------------------

    /// A message of the protocol.
    pub(super) fn on_message(&mut self, now: Time, from: Rank, message: Message) {
        self.front.handle(now, from, message, &mut self.outputs);
    }

    /// A rank's report. False when it is not what it says.
    pub(super) fn on_observation(&mut self, from: Rank, observation: &Observation) -> bool {
        if observation.rank != from {
            return false;
        }
        if let Some(known) = self.known.get_mut(&from) {
            known.turns = observation.turns.or(known.turns);
            known.status = observation.server.clone().or(known.status.take());
        }
        self.front.note_report(observation);
        true
    }

    /// A process has said hello.
    pub(super) fn on_hello(&mut self, now: Time, from: Rank, pid: u32, host: &str, addresses: Vec<SocketAddr>) {
        let local = host == self.start.host;
        if from.0 >= self.start.ranks {
            self.succession.spares.insert(Process(from.0), Spare { pid, local });
            self.watch(Process(from.0), local);
            return;
        }
        let process = self.succession.under_way(from).map_or(Process(from.0), |under_way| under_way.process);
        let known = KnownRank::new(process, pid, local, self.succession.given(from));
        self.known.insert(from, KnownRank { addresses, ..known });
        self.watch(process, local);
        self.welcome_successor(now, from);
    }

    /// `rank` has carried out an order: its successor will live under the same conditions.
    pub(super) fn note_order(&mut self, rank: Rank, control: &Control) {
        self.succession.note_order(rank, control);
    }

    // ---- processes -----------------------------------------------------------------------------

    /// How the processes are by now.
    pub(super) fn check_processes(&mut self, now: Time) {
        for rank in self.known.keys().copied().collect::<Vec<_>>() {
            let known = &self.known[&rank];
            if !known.local || known.gone {
                continue;
            }
            match process_state(known.pid) {
                // A child's end is told, with the reason.
                ProcessState::Gone if known.process.0 >= self.start.together => {}
                ProcessState::Gone => self.bury(now, rank, None, Certainty::Dead),
                state => self.set_stopped(rank, state == ProcessState::Stopped),
            }
        }
        let is_gone = |pid: u32| process_state(pid) == ProcessState::Gone;
        let spares = self.succession.spares.iter().filter(|(_, spare)| spare.local && is_gone(spare.pid));
        for process in spares.map(|(process, _)| *process).collect::<Vec<_>>() {
            self.bury_spare(now, process);
        }
        let dead: Vec<Dying> =
            self.dying.extract_if(.., |_, dying| is_gone(dying.pid)).map(|(_, dying)| dying).collect();
        dead.into_iter().for_each(|dying| self.tell_over(dying.rank, dying.before));
    }

    /// Its death will be told at once, if it can be.
    fn watch(&mut self, process: Process, local: bool) {
        if let Some(deathwatch) = self.deathwatch.as_mut().filter(|_| local) {
            deathwatch.watch(process);
        }
    }

    /// What the kernel has told of deaths.
    fn hear_deaths(&mut self, now: Time) {
        while let Some(process) = self.deathwatch.as_mut().and_then(DeathWatch::next_death) {
            let rank =
                self.known.iter().find(|(_, known)| known.process == process && !known.gone).map(|(rank, _)| *rank);
            if let Some(dying) = self.dying.remove(&process) {
                self.tell_over(dying.rank, dying.before);
            } else if let Some(rank) = rank {
                self.bury(now, rank, None, Certainty::Dead);
            } else {
                self.bury_spare(now, process);
            }
        }
    }

    /// A proof: no life of this server before that one does anything any more.
    fn tell_over(&mut self, rank: Rank, before: Incarnation) {
        self.front.note_over(rank, before);
        for (other, _) in self.known.iter().filter(|(other, known)| **other != rank && !known.gone) {
            self.hull.link.push(*other, &Packet::Over { rank, before });
        }
    }

    /// The newest life of this server that was heard of.
    fn newest_life(&self, rank: Rank) -> Incarnation {
        let metadata = self.front.metadata().expect("rank 0 is the metadata server");
        let reported = self.known.get(&rank).and_then(|known| known.status.as_ref()).map(|status| status.incarnation);
        metadata.newest_life(rank).max(reported).unwrap_or(Incarnation(0))
    }

    fn bury_spare(&mut self, now: Time, process: Process) {
        if self.succession.spares.remove(&process).is_some() {
            self.hull.log.line(now, &format!("spare {process} is gone"));
            self.dismiss(process);
        }
    }

    fn set_stopped(&mut self, rank: Rank, stopped: bool) {
        if let Some(known) = self.known.get_mut(&rank)
            && known.stopped != stopped
        {
            known.stopped = stopped;
            self.fates.push(ProcessFate::Stopped { rank, stopped });
        }
    }

    /// A real pause: the process itself is stopped, or goes on.
    fn stop_process(&mut self, rank: Rank, stop: bool) -> Result<(), String> {
        let Some(known) = self.known.get_mut(&rank).filter(|known| known.stopped != stop) else {
            return Err(format!("server {rank} is {} paused", if stop { "already" } else { "not" }));
        };
        signal(known.pid, if stop { Signal::STOP } else { Signal::CONT })
            .map_err(|error| format!("process {} cannot be signalled: {error}", known.pid))?;
        known.stopped = stop;
        Ok(())
    }

    /// Nobody sends to this process any more: it is dead.
    fn dismiss(&mut self, process: Process) {
        self.hull.link.forget(process);
        self.tell_everybody(&Packet::Gone { process });
    }

    /// Tells all living processes, the spares too.
    fn tell_everybody(&mut self, packet: &Packet) {
        for (rank, _) in self.known.iter().filter(|(_, known)| !known.gone) {
            self.hull.link.push(*rank, packet);
        }
        for spare in self.succession.spares.keys() {
            self.hull.link.push(Rank(spare.0), packet);
        }
    }

    /// A process is dead: nobody sends to it any more, nobody waits for it, somebody takes its place.
    fn bury(&mut self, now: Time, rank: Rank, end: Option<ProcessEnd>, certainty: Certainty) {
        let before = self.newest_life(rank).next();
        let Some(known) = self.known.get_mut(&rank).filter(|known| !known.gone) else { return };
        (known.gone, known.stopped) = (true, false);
        let (pid, process) = (known.pid, known.process);
        self.hull.log.line(now, &format!("server {rank}: process {pid} is gone"));
        self.dismiss(process);
        match certainty {
            Certainty::Dead => self.tell_over(rank, before),
            Certainty::Killed => drop(self.dying.insert(process, Dying { rank, before, pid })),
        }
        self.fates.push(ProcessFate::Lost { rank, pid });
        // A new process would count its requests from one again, and be taken for a client that repeats itself.
        let is_client = self.front.metadata().is_some_and(|metadata| metadata.is_client(rank));
        if self.succession.under_way(rank).is_some() {
            let how = || format!("its process {pid} has died before its first word");
            self.succession_failed(now, rank, &end.unwrap_or_else(|| ProcessEnd { how: how(), killed: true }));
        } else if !is_client && self.respawn.automatic && self.hull.link.transport().survives_a_death().is_ok() {
            self.succession.wish(rank);
        }
    }

    // ---- replacements --------------------------------------------------------------------------

    fn tend_succession(&mut self, now: Time) {
        while let Some(change) = self.hull.link.transport().take_change() {
            match change {
                Change::Started { process, pid } => {
                    if let Some(rank) = self.succession.rank_of(process) {
                        self.known.insert(rank, KnownRank::new(process, pid, true, self.succession.given(rank)));
                    }
                }
                Change::Ended { process, end } => self.child_ended(now, process, end),
            }
        }
        if let Some(late) = self.succession.late(now) {
            let how = format!("it did not say hello within {} s", HELLO_DEADLINE.as_secs());
            self.give_up(now, late, ProcessEnd { how, killed: false });
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
                self.known.insert(rank, KnownRank::new(process, spare.pid, spare.local, incarnation));
                process
            }
            None => {
                let arguments = (self.respawn.arguments)(rank);
                let Some(process) = self.hull.link.transport().start(&arguments) else {
                    let how = "this process cannot start others".to_owned();
                    return self.succession_failed(now, rank, &ProcessEnd { how, killed: false });
                };
                process
            }
        };
        self.succession.begun(rank, process, now);
        let place = Place { rank, process, addresses: Vec::new() };
        self.hull.link.place(&place);
        // A child is announced when it listens.
        if process.0 < self.start.together {
            self.announce(&place);
        }
        let others = self.known.iter().filter(|(other, known)| **other != rank && !known.gone);
        let own = Place { rank: METADATA, process: Process(METADATA.0), addresses: Vec::new() };
        let places = others.map(|(other, known)| known.place(*other)).chain([own, place]).collect();
        let start = Start { process, rank, incarnation, places, ..self.start.clone() };
        self.hull.link.push(rank, &Packet::Start(Box::new(start)));
    }

    /// Tells the others who that rank is from now on.
    fn announce(&mut self, place: &Place) {
        for (other, _) in self.known.iter().filter(|(other, known)| **other != place.rank && !known.gone) {
            self.hull.link.push(*other, &Packet::Placed(place.clone()));
        }
    }

    /// The life that a new process of this rank begins with: a stranger's.
    fn next_life(&mut self, rank: Rank) -> Incarnation {
        let last = self.newest_life(rank);
        self.succession.give(rank, last)
    }

    /// A process that was started here has ended, or could not be started.
    fn child_ended(&mut self, now: Time, process: Process, end: ProcessEnd) {
        let rank = self.known.iter().find(|(_, known)| known.process == process && !known.gone).map(|(rank, _)| *rank);
        if let Some(rank) = rank {
            self.bury(now, rank, Some(end), Certainty::Dead);
        } else if let Some(rank) = self.succession.rank_of(process) {
            self.dismiss(process);
            self.succession_failed(now, rank, &end);
        }
    }

    /// A replacement that hangs is killed.
    fn give_up(&mut self, now: Time, rank: Rank, end: ProcessEnd) {
        let Some(under_way) = self.succession.under_way(rank) else { return };
        match self.known.get(&rank).filter(|known| known.process == under_way.process && !known.gone) {
            Some(known) => {
                if known.local {
                    let _ = signal(known.pid, Signal::KILL);
                }
                self.bury(now, rank, Some(end), Certainty::Killed);
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
            // Some may have come after it was told where the others are, and before they could be told of it.
            let later = |known: &&KnownRank| !known.gone && known.process > place.process;
            for (other, known) in self.known.iter().filter(|(_, known)| later(known)) {
                self.hull.link.push(rank, &Packet::Placed(known.place(*other)));
            }
        }
        let rules = self.rules.map(|rules| Control::Rules { rules });
        for control in self.succession.orders(rank).iter().cloned().chain(rules) {
            self.hull.link.push(rank, &Packet::Control { id: 0, control });
        }
        let kind = if is_child { "" } else { ", a spare," };
        let after = match now.since(since).as_millis() {
            0 => "at once".to_owned(),
            ms => format!("after {ms} ms"),
        };
        self.say(now, format!("server {rank}: process {pid}{kind} takes its place {after}"));
    }

    fn succession_failed(&mut self, now: Time, rank: Rank, end: &ProcessEnd) {
        let again = self.succession.failed(rank, end);
        let next = if again { "trying again".to_owned() } else { format!("RECOVER {rank} tries again") };
        self.say(now, format!("server {rank}: no process takes its place: {}; {next}", end.how));
    }

    /// Puts something that was not asked for among the events.
    pub(super) fn say(&mut self, now: Time, what: String) {
        let event = Event::Operator { what };
        self.hull.log.event(now, &event);
        self.front.note(now, &event);
    }

    // ---- the end -------------------------------------------------------------------------------

    /// Tells everybody to leave. True when all ranks are alive, so that MPI can end the orderly way.
    pub(super) fn dismiss_all(&mut self, now: Time) -> bool {
        let mut all_alive = true;
        for (rank, known) in &self.known {
            all_alive &= !known.gone;
            if known.stopped {
                let _ = signal(known.pid, Signal::CONT);
            }
            if !known.gone {
                self.hull.link.push(*rank, &Packet::Control { id: 0, control: Control::Leave });
            }
        }
        let dead = |rank: &Rank| self.known.get(rank).is_none_or(|known| known.gone);
        let coming = self.succession.all_under_way().filter(dead);
        let spares = self.succession.spares.keys().map(|process| Rank(process.0));
        for rank in coming.chain(spares) {
            self.hull.link.push(rank, &Packet::Control { id: 0, control: Control::Leave });
        }
        self.front.give_up(now, &mut self.outputs);
        self.carry_out(now);
        all_alive
    }
}

impl<T: Transport> Cluster for Ranks<'_, T> {
    fn now(&self) -> Time {
        self.now
    }

    fn front(&self) -> &FrontHost {
        &self.front
    }

    fn ranks(&self) -> Vec<Seen> {
        let seen = |(rank, known): (&Rank, &KnownRank)| Seen {
            rank: *rank,
            pid: known.pid,
            better: known.gone.then_some(Standing::Dead).or(known.stopped.then_some(Standing::Paused)),
            status: known.status.clone(),
            turns: known.turns,
            began: known.began,
        };
        self.known.iter().map(seen).collect()
    }

    fn turns(&self) -> Option<TurnTimes> {
        Some(self.hull.turns.times())
    }

    fn submit(&mut self, command: Command) {
        self.front.submit(self.now, command, &mut self.outputs);
    }

    fn order(&mut self, to: Rank, control: &Control, answer: &OrderTold) -> Ordered {
        if to == METADATA {
            let result = self.front.control(self.now, control, &mut self.outputs);
            if result.is_ok() {
                self.note_order(to, control);
            }
            if let (Ok(()), Control::Rules { rules }) = (&result, control) {
                self.rules = Some(*rules);
            }
            return Ordered::Done(result.map_err(|why| why.to_string()));
        }
        let Some(known) = self.known.get(&to) else {
            return Ordered::Done(Err(format!("there is no rank {to}, or it has not started yet")));
        };
        match control {
            Control::Recover if known.gone => match self.hull.link.transport().survives_a_death() {
                Ok(()) => {
                    self.succession.ask(to, answer.clone());
                    Ordered::Kept
                }
                Err(why) => Ordered::Done(Err(why)),
            },
            _ if known.gone => Ordered::Done(Err(format!("server {to} is dead: its process {} is gone", known.pid))),
            Control::Pause | Control::Resume if known.local => {
                Ordered::Done(self.stop_process(to, *control == Control::Pause))
            }
            // It will hear of them when it goes on.
            Control::Rules { .. } if known.stopped => {
                self.hull.link.push(to, &Packet::Control { id: 0, control: control.clone() });
                Ordered::Done(Ok(()))
            }
            _ if known.stopped => {
                Ordered::Done(Err(format!("server {to} is paused and hears nothing: RESUME {to} first")))
            }
            control => {
                self.last_order += 1;
                self.hull.link.push(to, &Packet::Control { id: self.last_order, control: control.clone() });
                Ordered::Sent(self.last_order)
            }
        }
    }

    fn kill(&mut self, rank: Rank) -> Result<(), String> {
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
        self.hull.link.transport().survives_a_death().map_err(|why| format!("KILL would end the cluster: {why}"))?;
        signal(known.pid, Signal::KILL).map_err(|error| format!("process {} cannot be killed: {error}", known.pid))?;
        self.bury(self.now, rank, None, Certainty::Killed);
        Ok(())
    }

    fn ask_reports(&mut self) -> BTreeSet<Rank> {
        let is_coming = |rank: &Rank| self.succession.under_way(*rank).is_some();
        let alive = self.known.iter().filter(|(_, known)| !known.stopped && !known.gone);
        let asked: BTreeSet<Rank> = alive.map(|(rank, _)| *rank).filter(|rank| !is_coming(rank)).collect();
        for rank in &asked {
            self.hull.link.push(*rank, &Packet::Control { id: 0, control: Control::Observe });
        }
        asked
    }

    fn load_reports(&mut self) -> Vec<(Rank, Report)> {
        self.front.load_report(self.now, true).map(|report| (METADATA, report)).into_iter().collect()
    }

    fn note(&mut self, event: Event) {
        self.front.note(self.now, &event);
    }

    fn pass(&mut self, _: Duration, answer: Sender<()>) {
        drop(answer);
    }
}
