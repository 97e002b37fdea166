//! A server with its misfortunes, and what every host is started with and says.
//!
//! A host is still a plain value: time and messages go in, messages come out. The MPI loop and the
//! simulator run the very same hosts, so a crash, a dice roll or a cut link means the same in both.

use super::observer::Observer;
use super::outlet::Outlet;
use crate::core::fault::{Control, ControlError, Dice, Roll};
use crate::core::protocol::observation::{OBSERVED_BYTES_MAX, OBSERVED_KEYS_MAX};
use crate::core::protocol::{
    Arrival, Config, CrashCause, CrashPoint, Detours, Doom, Event, Incarnation, KeyView, Member, Message, Observation,
    Outbox, Rank, Record, Recovered, Request, Role, Server, ServerStatus, Time,
};
use crate::core::store::{Bytes, ClientId, OpNumber, Seq, Store, UnixMs};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Of this many clients it is known for which of their requests the dice were rolled last. With more, a repetition may
/// be taken for another request.
const ROLLED_MAX: usize = 1024;
/// Lives of every start of a cluster with disks are numbered from a number of its own on.
const LIVES_PER_RUN: u64 = 1_000_000;

/// The first life of a server in the `run`th start of a cluster with disks (0: without).
#[must_use]
pub fn first_life(run: u64) -> Incarnation {
    Incarnation(run * LIVES_PER_RUN + 1)
}

/// What a cluster is started with.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// What the protocol needs to know.
    pub config: Config,
    /// Of all random choices.
    pub seed: u64,
    /// Probability of a crash per request.
    pub failure_rate: f64,
    /// A crashed server restarts by itself after this long.
    pub recover_after: Option<Duration>,
    /// Whether ranks report what they see.
    pub observe: bool,
}

/// What a host wants done, in the order in which it wanted it. Whoever runs it drains this before the next input.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Messages that leave, and for whom.
    pub sends: Vec<(Rank, Message)>,
    /// What happened.
    pub events: Vec<Event>,
    /// What the disk is to do.
    pub disk: Vec<DiskOrder>,
}

/// What a disk is to do. Writes are numbered: the first one is 1.
#[derive(Debug, Clone, PartialEq)]
pub enum DiskOrder {
    /// Write this after what was written before.
    Write(Record),
    /// The memory is lost: what is on the disk? To be answered with [`ServerHost::recovered`].
    Read,
}

/// A server's disk, as its host knows it.
#[derive(Debug, Clone, Copy, Default)]
struct HostDisk {
    /// The last number that was given to a write.
    written: u64,
    state: DiskState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum DiskState {
    #[default]
    Ready,
    /// It is being read.
    Reading,
    /// It has failed, and is not to be used again.
    Failed,
}

/// A server and everything that can happen to it.
#[derive(Debug)]
pub struct ServerHost {
    rank: Rank,
    setup: Setup,
    incarnation: Incarnation,
    server: Option<Server>,
    down_until: Option<Time>,
    paused: bool,
    dice: Dice,
    /// The next request makes it crash because somebody wanted that.
    is_armed: bool,
    /// The newest request of each client that the dice were rolled for: a repetition is the same request,
    /// so how often a client had to repeat itself does not change who fails when.
    rolled: BTreeMap<ClientId, Seq>,
    detours: Detours,
    outlet: Outlet,
    outbox: Outbox,
    /// Stores that are let go of, a slice at a time.
    rubbish: Vec<Store>,
    /// What was done since somebody asked, in units of [`crate::core::store::work`].
    work: u64,
    /// For the display: which store was last reported.
    reported_generation: Option<(Incarnation, u64)>,
    reported_role: Option<Role>,
    garbage: u64,
    disk: Option<HostDisk>,
}

impl ServerHost {
    /// The host of the server on `rank`, which starts as this incarnation.
    #[must_use]
    pub fn new(rank: Rank, incarnation: Incarnation, pid: u32, mut setup: Setup) -> Self {
        let silence = setup.config.timing.silence;
        let soon_back = setup.config.replicas > 1 && setup.recover_after.is_some_and(|wait| wait < silence);
        setup.config.dice_patience = if soon_back { silence } else { Duration::ZERO };
        let observer = Observer::new(rank, pid, setup.observe);
        let dice = Dice::new(setup.seed, Member { rank, incarnation }, setup.failure_rate);
        let outlet = Outlet::new(rank, setup.seed, observer);
        let mut host = Self {
            rank,
            incarnation,
            server: None,
            down_until: None,
            paused: false,
            dice,
            is_armed: false,
            rolled: BTreeMap::new(),
            detours: Detours::new(rank, &setup.config),
            outlet,
            outbox: Outbox::default(),
            rubbish: Vec::new(),
            work: 0,
            reported_generation: None,
            reported_role: None,
            garbage: 0,
            disk: None,
            setup,
        };
        host.start(None);
        host
    }

    /// The same with a disk, on which this was found.
    #[must_use]
    pub fn with_disk(rank: Rank, incarnation: Incarnation, pid: u32, setup: Setup, had: Recovered) -> Self {
        let mut host = Self::new(rank, incarnation, pid, setup);
        host.disk = Some(HostDisk::default());
        host.incarnation = host.later_life(&had);
        host.start(Some(had));
        host
    }

    /// The same with a disk that is still being read: the server is down until [`ServerHost::recovered`].
    #[must_use]
    pub fn reading_disk(rank: Rank, incarnation: Incarnation, pid: u32, setup: Setup) -> Self {
        let disk = Some(HostDisk { written: 0, state: DiskState::Reading });
        Self { server: None, disk, ..Self::new(rank, incarnation, pid, setup) }
    }

    /// A life that is later than any that its disk knows of.
    fn later_life(&self, had: &Recovered) -> Incarnation {
        let holder = had.holder.as_ref().map(|(member, _)| *member);
        let known = had.member.max(holder).map(|member| member.incarnation.next());
        known.max(Some(self.incarnation)).unwrap_or_default()
    }

    /// Everything up to this number is on the disk.
    pub fn durable(&mut self, now: Time, ticket: u64, out: &mut Outputs) {
        if let Some(server) = &mut self.server {
            server.durable(now, ticket, &mut self.outbox);
            self.after(now, out);
        }
    }

    /// What was on the disk, as asked for; or why it counts for nothing.
    pub fn recovered(&mut self, now: Time, had: Result<Recovered, String>, out: &mut Outputs) {
        let Some(disk) = self.disk.as_mut().filter(|disk| disk.state == DiskState::Reading) else { return };
        disk.state = DiskState::Ready;
        let had = had.unwrap_or_else(|what| {
            self.outbox.tell(Event::LogDamaged { what });
            Recovered::default()
        });
        let (op, is_first) = (had.op(), had.member.is_none());
        self.incarnation = self.later_life(&had);
        self.start(Some(had));
        if !is_first {
            self.outbox.tell(Event::Restarted { incarnation: self.incarnation, op });
        }
        self.outlet.drain(now, &mut self.outbox, out);
    }

    /// The disk has failed, or is not to be used: why. What it says from now on cannot be believed, so this server is
    /// over.
    pub fn disk_failed(&mut self, now: Time, why: String, out: &mut Outputs) {
        self.disk.iter_mut().for_each(|disk| disk.state = DiskState::Failed);
        self.outbox.tell(Event::DiskFailed { what: why });
        self.crash(now, CrashCause::Command, None, out);
        self.down_until = None;
        self.outlet.drain(now, &mut self.outbox, out);
    }

    /// So much of the log was read so far, in bytes.
    pub fn note_reading(&mut self, now: Time, read: u64, bytes: u64, out: &mut Outputs) {
        self.outbox.tell(Event::ReadsDisk { read, bytes });
        self.outlet.drain(now, &mut self.outbox, out);
    }

    /// True while its disk is being read.
    #[must_use]
    pub fn is_reading_disk(&self) -> bool {
        self.disk.is_some_and(|disk| disk.state == DiskState::Reading)
    }

    /// True when its disk has failed: only a new process may use it again.
    #[must_use]
    pub fn has_failed_disk(&self) -> bool {
        self.disk.is_some_and(|disk| disk.state == DiskState::Failed)
    }

    /// The server, unless it is down.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Its present life; while it is down the next one, at the earliest.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Where it runs.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// True while it is stopped with its memory.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Also tell every applied write.
    pub fn set_detail(&mut self, detail: bool) {
        self.outbox.detail = detail;
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

    /// Frames from peers that could not be understood so far.
    pub fn set_garbage(&mut self, garbage: u64) {
        self.garbage = garbage;
    }

    /// What was done since the last call, in units of [`crate::core::store::work`].
    pub fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    /// What was done since [`ServerHost::take_work`].
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work
    }

    /// All lives of the server on `rank` before that one are over, for certain ([`Server::died`]).
    pub fn died(&mut self, now: Time, rank: Rank, before: Incarnation, out: &mut Outputs) {
        if let Some(server) = self.server.as_mut().filter(|_| !self.paused) {
            server.died(now, rank, before, &mut self.outbox);
            self.after(now, out);
        }
    }

    /// The next request that arrives meets this fate, whatever the dice say.
    pub fn arm(&mut self, point: CrashPoint) {
        if let Some(server) = &mut self.server {
            server.arm(Doom { point, drawn: 0.0 });
        }
    }

    fn start(&mut self, had: Option<Recovered>) {
        let member = Member { rank: self.rank, incarnation: self.incarnation };
        let rate = self.dice.rate;
        self.dice = Dice::new(self.setup.seed, member, rate);
        self.rolled.clear();
        self.detours = Detours::new(self.rank, &self.setup.config);
        let config = self.setup.config.clone();
        let mut server = match (had, &self.disk) {
            (Some(had), Some(disk)) => Server::with_disk(member, config, had, disk.written),
            _ => Server::new(member, config),
        };
        if self.setup.observe {
            server.store_mut().watch(OBSERVED_KEYS_MAX);
        }
        self.server = Some(server);
        self.down_until = None;
    }

    /// Takes in one message.
    pub fn handle(&mut self, now: Time, from: Rank, message: Message, out: &mut Outputs) {
        if self.paused {
            return;
        }
        let Some(server) = &mut self.server else { return };
        self.outlet.observer.received(now, from, &message);
        let primary = server.view().map(|view| view.primary.rank);
        let (from, message) = match self.detours.arrived(now, from, message, primary) {
            Arrival::Here(from, message) => (from, message),
            Arrival::Onward(to, message) => {
                self.outbox.send(to, message);
                return self.outlet.drain(now, &mut self.outbox, out);
            }
            Arrival::Nothing => return,
        };
        if let Message::Request(Request { client, seq, .. }) = message
            && server.role() == Role::Primary
            && self.dice.rate > 0.0
            && self.rolled.get(&client).is_none_or(|newest| seq > *newest)
        {
            if self.rolled.len() >= ROLLED_MAX {
                self.rolled.clear();
            }
            self.rolled.insert(client, seq);
            let Roll { drawn, point } = self.dice.roll();
            if drawn < self.dice.rate && !self.is_armed {
                server.arm(Doom { drawn, point });
            }
        }
        server.handle(now, from, message, &mut self.outbox);
        self.after(now, out);
    }

    /// Does what time asks for.
    pub fn tick(&mut self, now: Time, out: &mut Outputs) {
        if self.paused {
            return;
        }
        self.forget_some();
        self.outlet.release(now, out);
        if self.server.is_none() && self.down_until.is_some_and(|until| now >= until) {
            self.recover(now, out);
        }
        if let Some(server) = &mut self.server {
            server.tick(now, &mut self.outbox);
            self.after(now, out);
        }
    }

    /// When [`ServerHost::tick`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if self.paused {
            return Time::NEVER;
        }
        let own = match &self.server {
            Some(server) => server.deadline(),
            None => self.down_until.unwrap_or(Time::NEVER),
        };
        if self.rubbish.is_empty() { own.min(self.outlet.deadline()) } else { Time::default() }
    }

    /// A slice of what is to be let go of.
    fn forget_some(&mut self) {
        if let Some(store) = self.rubbish.last_mut() {
            self.work += self.setup.config.slice;
            if store.forget_some(self.setup.config.slice) {
                self.rubbish.pop();
            }
        }
    }

    /// Carries out an order.
    ///
    /// # Errors
    /// Why it cannot be carried out.
    pub fn control(&mut self, now: Time, control: &Control, out: &mut Outputs) -> Result<(), ControlError> {
        let rank = self.rank;
        if self.outlet.control(control) {
            return Ok(());
        }
        match control {
            Control::Crash if self.server.is_none() => return Err(ControlError::AlreadyDown(rank)),
            Control::Crash => self.crash(now, CrashCause::Command, None, out),
            Control::Wipe => self.wipe(now, out)?,
            Control::Arm { point } => match &mut self.server {
                Some(server) if server.role() == Role::Primary => {
                    server.arm(Doom { point: *point, drawn: 0.0 });
                    self.is_armed = true;
                }
                Some(_) => return Err(ControlError::ServesNobody(rank)),
                None => return Err(ControlError::AlreadyDown(rank)),
            },
            Control::Recover if self.server.is_some() => return Err(ControlError::NotDown(rank)),
            Control::Recover if self.has_failed_disk() => return Err(ControlError::DiskFailed(rank)),
            Control::Recover => self.recover(now, out),
            Control::Pause if self.paused => return Err(ControlError::AlreadyPaused(rank)),
            Control::Pause => self.paused = true,
            Control::Resume if !self.paused => return Err(ControlError::NotPaused(rank)),
            Control::Resume => self.paused = false,
            Control::FailureRate { probability } => self.dice.rate = *probability,
            Control::Swap => {
                let Some(server) = &mut self.server else { return Err(ControlError::Down(rank)) };
                server.swap(now)?;
                server.tick(now, &mut self.outbox);
                self.after(now, out);
            }
            Control::Rules { rules } => {
                self.setup.config.rules = *rules;
                if let Some(server) = &mut self.server {
                    server.set_rules(*rules);
                }
            }
            Control::Reset | Control::ResetAnyway => return Err(ControlError::NotMetadata),
            Control::Load { .. } | Control::Ask { .. } => return Err(ControlError::NoClient(rank)),
            _ => {}
        }
        self.outlet.observer.touch();
        Ok(())
    }

    fn after(&mut self, now: Time, out: &mut Outputs) {
        self.work += std::mem::take(&mut self.outbox.work);
        self.rubbish.append(&mut self.outbox.rubbish);
        self.detours.add(now, &mut self.outbox.sends, |_| false);
        if let Some(disk) = &mut self.disk {
            disk.written += self.outbox.writes.len() as u64;
            out.disk.extend(self.outbox.writes.drain(..).map(DiskOrder::Write));
        }
        // What left before the crash has left.
        self.outlet.drain(now, &mut self.outbox, out);
        if let Some((Doom { point, drawn }, op)) = self.server.as_ref().and_then(Server::crashed) {
            let dice = CrashCause::Dice { drawn, rate: self.dice.rate };
            let cause = if std::mem::take(&mut self.is_armed) { CrashCause::Command } else { dice };
            self.crash(now, cause, Some((point, op)), out);
        }
    }

    fn crash(&mut self, now: Time, cause: CrashCause, at: Option<(CrashPoint, OpNumber)>, out: &mut Outputs) {
        let Some(mut server) = self.server.take() else { return };
        self.rubbish.push(std::mem::take(server.store_mut()));
        let (from, view) = (server.role(), server.view().map_or(Default::default(), |view| view.number));
        self.incarnation = server.member().incarnation.next();
        (self.paused, self.is_armed) = (false, false);
        self.down_until = self.setup.recover_after.map(|wait| now + wait);
        self.outbox.tell(Event::Crashed { cause, at });
        self.outbox.tell(Event::RoleChanged { from, to: Role::Down, view });
        self.outlet.drain(now, &mut self.outbox, out);
        if self.setup.recover_after == Some(Duration::ZERO) {
            self.recover(now, out);
        }
    }

    /// Memory and disk are lost. What was on the disk counts no more from the moment the disk knows of that.
    fn wipe(&mut self, now: Time, out: &mut Outputs) -> Result<(), ControlError> {
        let rank = self.rank;
        let next = self.server.as_ref().map(|server| server.member().incarnation.next());
        let member = Member { rank, incarnation: next.unwrap_or(self.incarnation) };
        let disk = self.disk.as_mut().ok_or(ControlError::NoDisk(rank))?;
        match disk.state {
            DiskState::Ready => {}
            DiskState::Reading => return Err(ControlError::ReadsDisk(rank)),
            DiskState::Failed => return Err(ControlError::DiskFailed(rank)),
        }
        disk.written += 1;
        out.disk.push(DiskOrder::Write(Record::Forgot { member }));
        self.crash(now, CrashCause::Command, None, out);
        Ok(())
    }

    fn recover(&mut self, now: Time, out: &mut Outputs) {
        if let Some(disk) = &mut self.disk {
            self.down_until = None;
            if disk.state == DiskState::Ready {
                disk.state = DiskState::Reading;
                out.disk.push(DiskOrder::Read);
            }
            return;
        }
        self.start(None);
        self.outbox.tell(Event::Recovered { incarnation: self.incarnation });
        self.outlet.drain(now, &mut self.outbox, out);
    }

    // ---- observation ---------------------------------------------------------------------------

    /// The report that is due, if one is; with `at_once`, in any case.
    pub fn report(&mut self, now: Time, at_once: bool) -> Option<Observation> {
        if !self.setup.observe && !at_once {
            return None;
        }
        // After the whole store was replaced these are the keys that were written last.
        let changed = self.server.as_mut().map(|server| server.store_mut().take_changed_if_any()).unwrap_or_default();
        let role = self.server.as_ref().map_or(Role::Down, Server::role);
        if changed.is_some() || self.reported_role != Some(role) {
            self.outlet.observer.touch();
        }
        if !at_once && now < self.outlet.observer.deadline() {
            if let (Some(changed), Some(server)) = (changed, &mut self.server) {
                server.store_mut().put_back_changed(changed);
            }
            return None;
        }
        self.reported_role = Some(role);
        let generation = self.server.as_ref().map(|server| (self.incarnation, server.generation()));
        let cleared = generation != self.reported_generation;
        self.reported_generation = generation;
        let keys = match &self.server {
            Some(server) => changed_keys(server.store(), changed.unwrap_or_default(), self.setup.config.unix_ms),
            None => Vec::new(),
        };
        let status = self.status(now);
        Some(self.outlet.observer.report_now(now, || (Some(status), keys, cleared)))
    }

    /// When [`ServerHost::report`] will have something.
    #[must_use]
    pub fn report_deadline(&self) -> Time {
        self.outlet.observer.deadline()
    }

    /// What it tells of itself.
    #[must_use]
    pub fn status(&self, now: Time) -> ServerStatus {
        let server = self.server.as_ref();
        let primary = server.and_then(Server::as_primary);
        let lease = primary.map(|primary| primary.lease_until()).filter(|until| *until != Time::NEVER);
        ServerStatus {
            role: server.map_or(Role::Down, Server::role),
            paused: self.paused,
            incarnation: server.map_or(self.incarnation, |server| server.member().incarnation),
            view: server.and_then(Server::view).map_or(Default::default(), |view| view.number),
            op: server.map_or(OpNumber(0), Server::op),
            commit: server.map_or(OpNumber(0), |server| server.store().op()),
            keys: server.map_or(0, |server| server.store().len() as u64),
            digest: server.map_or(0, |server| server.store().digest()),
            lease: lease
                .map(|until| (until.since(now), primary.and_then(|primary| primary.lease()).unwrap_or_default())),
            silence: server.and_then(|server| server.silence(now)),
            silent: server.map_or(Vec::new(), |server| self.detours.silent(now, server.listens_to())),
            serving: primary.is_some_and(|primary| primary.is_serving()),
            transfer: server.and_then(Server::receiving),
            back_in: self.down_until.filter(|_| server.is_none()).map(|until| until.since(now)),
            failure_rate: self.dice.rate,
            garbage: self.garbage,
            disk: None,
        }
    }
}

/// The keys that writes changed, each once, as they are now.
fn changed_keys(store: &Store, changed: Vec<Bytes>, unix_ms: UnixMs) -> Vec<KeyView> {
    let mut seen = BTreeSet::new();
    let newest_first = changed.into_iter().rev().filter(|key| seen.insert(key.clone()));
    let mut keys: Vec<KeyView> = newest_first.map(|key| key_view(store, &key, unix_ms)).collect();
    keys.reverse();
    keys
}

fn key_view(store: &Store, key: &Bytes, unix_ms: UnixMs) -> KeyView {
    let cut = |bytes: &[u8]| Bytes::from(&bytes[..bytes.len().min(OBSERVED_BYTES_MAX)]);
    let stored = store.get(key);
    KeyView {
        key: cut(key),
        value_bytes: stored.map_or(0, |stored| match stored.value.as_string() {
            Some(value) => value.len() as u64,
            None => 0,
        }),
        value: stored.map(|stored| cut(&stored.value.brief(OBSERVED_BYTES_MAX))),
        expires: stored
            .filter(|stored| stored.expires != 0)
            .map(|stored| Time(stored.expires.saturating_sub(unix_ms).saturating_mul(1_000_000))),
        op: stored.map_or(store.op(), |stored| stored.op),
    }
}
