//! A client, and on rank 0 the metadata server beside it. A plain value, as [`host`](super::host) is.

use super::host::{DiskOrder, Outputs, Setup};
use super::observer::Observer;
use super::outlet::Outlet;
use crate::core::fault::{Control, ControlError};
use crate::core::load::{Loader, Report};
use crate::core::protocol::{
    Arrival, Client, Completion, Detours, Event, Incarnation, METADATA, Message, Metadata, Observation, Outbox, Rank,
    Recovered, Role, Time,
};
use crate::core::store::{ClientId, Command, Seq};
use std::collections::VecDeque;

/// Requests of every start of a cluster with disks are numbered from a number of its own on.
const REQUESTS_PER_RUN: u64 = 1 << 40;

/// A client, and on rank 0 the metadata server beside it.
#[derive(Debug)]
pub struct FrontHost {
    rank: Rank,
    metadata: Option<Metadata>,
    /// At least one. Only the simulator has several on a rank.
    clients: Vec<Client>,
    loader: Loader,
    detours: Detours,
    outlet: Outlet,
    outbox: Outbox,
    /// Messages from this rank to itself.
    local: VecDeque<Message>,
    /// The metadata server has a disk.
    has_disk: bool,
}

impl FrontHost {
    /// The client on `rank`; on rank 0 with the metadata server.
    #[must_use]
    pub fn new(rank: Rank, pid: u32, setup: &Setup) -> Self {
        let observer = Observer::new(rank, pid, setup.observe);
        let mut host = Self {
            rank,
            metadata: (rank == METADATA).then(|| Metadata::new(setup.config.clone())),
            clients: Vec::new(),
            loader: Loader::new(rank, setup.seed),
            detours: Detours::new(rank, &setup.config),
            outlet: Outlet::new(rank, setup.seed, observer),
            outbox: Outbox::default(),
            local: VecDeque::new(),
            has_disk: false,
        };
        host.begin_clients(setup, 0);
        host
    }

    /// All clients of this rank begin, in its life `run`.
    fn begin_clients(&mut self, setup: &Setup, run: u64) {
        let count = if self.rank == METADATA { 1 } else { setup.config.clients_a_rank };
        let client = |number: u32| {
            let client = Client::new(self.rank, setup.config.timing);
            let id = ClientId::new(self.rank.0, run, number);
            client.named(id, count).numbered_after(Seq(run * REQUESTS_PER_RUN))
        };
        self.clients = (0..count).map(client).collect();
    }

    /// The same in a cluster with disks, which is started for the `run`th time: its clients are new ones,
    /// and numbers of requests go on. On rank 0
    /// with what is on its disk; `one_is_enough`: see [`Metadata::with_disk`].
    #[must_use]
    pub fn with_disk(mut self, setup: &Setup, run: u64, had: Recovered, one_is_enough: bool) -> Self {
        self.begin_clients(setup, run);
        self.has_disk = self.metadata.is_some();
        self.metadata = self.metadata.take().map(|_| Metadata::with_disk(setup.config.clone(), had, one_is_enough));
        self
    }

    /// Everything up to this number is on the metadata server's disk.
    pub fn durable(&mut self, now: Time, ticket: u64, out: &mut Outputs) {
        if let Some(metadata) = &mut self.metadata {
            metadata.durable(now, ticket, &mut self.outbox);
            self.after(now, out);
        }
    }

    /// Where it runs.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// The metadata server, on rank 0.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// Servers that have not been heard directly for a while.
    #[must_use]
    pub fn silent(&self, now: Time) -> Vec<Rank> {
        self.detours.silent_servers(now)
    }

    /// What is certain about the lives of a server, on the word of its own report: one that is down has no life now.
    pub fn note_report(&mut self, observation: &Observation) {
        if let (Some(metadata), Some(status)) = (&mut self.metadata, &observation.server)
            && status.role == Role::Down
        {
            metadata.note_over(observation.rank, status.incarnation);
        }
    }

    /// All lives of a server before this one are over, for certain.
    pub fn note_over(&mut self, rank: Rank, before: Incarnation) {
        if let Some(metadata) = &mut self.metadata {
            metadata.note_over(rank, before);
        }
    }

    /// The client; of several, the first.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.clients[0]
    }

    /// All clients on this rank.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Asks one of the clients on this rank for a command; the first one is number 0.
    ///
    /// # Panics
    /// When there is no such client.
    pub fn submit_to(&mut self, now: Time, at: usize, command: Command, out: &mut Outputs) -> Seq {
        let seq = self.clients[at].submit(now, command, &mut self.outbox);
        self.after(now, out);
        seq
    }

    /// One of the clients on this rank leaves, and goes on under its next name ([`Client::leave`]). True when it did.
    ///
    /// # Panics
    /// When there is no such client.
    pub fn leave(&mut self, now: Time, at: usize, out: &mut Outputs) -> bool {
        let left = self.clients[at].leave(&mut self.outbox);
        self.after(now, out);
        left
    }

    /// The number that the next command will have.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.client().next_seq()
    }

    /// The way out.
    #[must_use]
    pub fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// The way out, for those who want to know what was lost.
    pub fn outlet_mut(&mut self) -> &mut Outlet {
        &mut self.outlet
    }

    /// Asks for a command.
    pub fn submit(&mut self, now: Time, command: Command, out: &mut Outputs) -> Seq {
        self.submit_to(now, 0, command, out)
    }

    /// Asks for at most this many commands at once, as long as there are some; returns how many there were.
    pub fn submit_all(
        &mut self,
        now: Time,
        count: usize,
        next: &mut dyn FnMut(&Self) -> Option<Command>,
        out: &mut Outputs,
    ) -> usize {
        for at in 0..count {
            let Some(command) = next(self) else {
                self.after(now, out);
                return at;
            };
            self.clients[0].submit(now, command, &mut self.outbox);
        }
        self.after(now, out);
        count
    }

    /// Takes the oldest finished operation, the load's among them.
    pub fn pop_completion(&mut self) -> Option<Completion> {
        let (first, others) = self.clients.split_first_mut()?;
        if let Some(completion) = first.pop_completion() {
            self.loader.ended(&completion);
            return Some(completion);
        }
        others.iter_mut().find_map(Client::pop_completion)
    }

    /// Ends every outstanding request as unknown.
    pub fn give_up(&mut self, now: Time, out: &mut Outputs) {
        self.clients.iter_mut().for_each(|client| client.give_up(now, &mut self.outbox));
        self.after(now, out);
    }

    /// Takes in one message.
    pub fn handle(&mut self, now: Time, from: Rank, message: Message, out: &mut Outputs) {
        self.outlet.observer.received(now, from, &message);
        if let Arrival::Here(from, message) = self.detours.arrived(now, from, message, None) {
            self.dispatch(now, from, message);
        }
        self.after(now, out);
    }

    fn dispatch(&mut self, now: Time, from: Rank, message: Message) {
        match &mut self.metadata {
            Some(metadata) if message.is_for_metadata() => metadata.handle(now, from, message, &mut self.outbox),
            _ => {
                // Each knows what is not for it.
                let Some((first, others)) = self.clients.split_first_mut() else { return };
                others.iter_mut().for_each(|client| client.handle(now, message.clone(), &mut self.outbox));
                first.handle(now, message, &mut self.outbox);
            }
        }
    }

    /// Does what time asks for.
    pub fn tick(&mut self, now: Time, out: &mut Outputs) {
        self.outlet.release(now, out);
        if let Some(metadata) = &mut self.metadata {
            metadata.tick(now, &mut self.outbox);
        }
        self.clients.iter_mut().for_each(|client| client.tick(now, &mut self.outbox));
        self.load(now);
        self.after(now, out);
    }

    /// Asks for as much of the load as is due.
    fn load(&mut self, now: Time) {
        let client = &mut self.clients[0];
        self.loader.led_by(client.view().map(|view| view.primary.rank));
        while let Some(command) = self.loader.next(now, client.next_seq()) {
            client.submit(now, command, &mut self.outbox);
        }
    }

    /// When [`FrontHost::tick`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let metadata = self.metadata.as_ref().map_or(Time::NEVER, Metadata::deadline);
        let client = self.clients.iter().map(Client::deadline).min().unwrap_or(Time::NEVER);
        metadata.min(client).min(self.loader.deadline()).min(self.outlet.deadline())
    }

    /// Carries out an order.
    ///
    /// # Errors
    /// When the order is for servers.
    pub fn control(&mut self, now: Time, control: &Control, out: &mut Outputs) -> Result<(), ControlError> {
        if self.outlet.control(control) {
            return Ok(());
        }
        match (control, &mut self.metadata) {
            (Control::Reset | Control::ResetAnyway, Some(metadata)) => {
                metadata.reset(now, *control == Control::ResetAnyway);
                metadata.tick(now, &mut self.outbox);
                self.after(now, out);
                Ok(())
            }
            (Control::Recover, Some(metadata)) if metadata.waits_for_disks().is_some() => {
                metadata.come_back_anyway(now, &mut self.outbox);
                self.after(now, out);
                Ok(())
            }
            (Control::Rules { rules }, metadata) => {
                if let Some(metadata) = metadata {
                    metadata.set_rules(*rules);
                }
                Ok(())
            }
            (Control::Load { order }, _) => {
                self.loader.set(now, *order);
                Ok(())
            }
            (Control::Ask { command }, _) => {
                self.submit(now, command.clone(), out);
                Ok(())
            }
            (Control::FailureRate { .. } | Control::Observe | Control::Leave, _) => Ok(()),
            _ => Err(ControlError::NoServer(self.rank)),
        }
    }

    /// Puts an event of this rank into the stream.
    pub fn note(&mut self, now: Time, event: &Event) {
        self.outlet.observer.event(now, event);
    }

    /// The report that is due, if one is.
    pub fn report(&mut self, now: Time) -> Option<Observation> {
        self.outlet.observer.report(now, || (None, Vec::new(), false))
    }

    /// A report without waiting.
    pub fn report_at_once(&mut self, now: Time) -> Observation {
        self.outlet.observer.report_now(now, || (None, Vec::new(), false))
    }

    /// How the load goes, when it is time to tell; with `at_once`, in any case.
    pub fn load_report(&mut self, now: Time, at_once: bool) -> Option<Report> {
        self.loader.report(now, at_once)
    }

    /// When [`FrontHost::report`] or [`FrontHost::load_report`] will have something.
    #[must_use]
    pub fn report_deadline(&self) -> Time {
        self.outlet.observer.deadline().min(self.loader.report_deadline())
    }

    fn after(&mut self, now: Time, out: &mut Outputs) {
        loop {
            if self.has_disk {
                out.disk.extend(self.outbox.writes.drain(..).map(DiskOrder::Write));
            }
            let (clients, patience) = (&self.clients, self.detours.patience());
            let late = |message: &Message| clients.iter().any(|client| client.misses_answer(now, message, patience));
            self.detours.add(now, &mut self.outbox.sends, late);
            let before = out.sends.len();
            self.outlet.drain(now, &mut self.outbox, out);
            let rank = self.rank;
            self.local.extend(out.sends.extract_if(before.., |(to, _)| *to == rank).map(|(_, message)| message));
            let Some(message) = self.local.pop_front() else { return };
            self.dispatch(now, rank, message);
        }
    }
}
