//! Rank 0: the console's client, the metadata server, and the service that a person asks.
//!
//! What a person asks comes in over the [`Desk`](crate::cluster::Desk); what happens goes out as [`News`]. The loop
//! itself neither draws nor reads the terminal, so it never waits for one.

use super::clock;
use super::link::Link;
use super::log::Log;
use super::ranks::{ProcessFate, Ranks};
use super::succession::Respawn;
use super::turn::{self, Acted, Hull, Node};
use crate::cluster::{Ask, DoorFigures, DoorWord, Facts, Lodger, News, ServerFacts, Service, Sight};
use crate::core::node::FrontHost;
use crate::core::protocol::client::WINDOW_MAX;
use crate::core::protocol::{Event, METADATA, Rank, Time, ViewNumber};
use crate::core::store::ClientId;
use crate::disk::Scribe;
use crate::mpi::transport::deathwatch::DeathWatch;
use crate::mpi::transport::wire::Start;
use crate::mpi::transport::{Packet, Transport};
use crossbeam_channel::Receiver;
use std::collections::BTreeMap;
use std::time::Duration;

/// The operating system is asked this often how the ranks' processes are.
const PROCESS_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The lodger leaves room for this many requests of the prompt and of the load.
const WINDOW_KEPT: usize = 1_024;
/// How the lodger is shown to be is told this often.
const SIGHT_INTERVAL: Duration = Duration::from_millis(500);
/// The most wishes taken from the desk in one turn.
const ASKS_PER_TURN_MAX: usize = 256;
/// Leaving waits this long for the others to be told.
const LEAVE_DEADLINE: Duration = Duration::from_millis(100);

/// Rank 0.
pub struct ConsoleRank<'a, T> {
    ranks: Ranks<'a, T>,
    service: Service<'a>,
    asks: Receiver<Ask>,
    /// Something was heard in this turn: there may be more that waits to be heard.
    heard: bool,
    next_process_check: Time,
    /// Who asks on behalf of other programs.
    lodger: Option<Box<dyn Lodger>>,
    /// Others of its kind, and what they last said.
    doors: BTreeMap<Rank, Option<DoorFigures>>,
    /// Somebody wants to know what was finished for it.
    is_judged: bool,
    /// The view that the lodger was last told of.
    told_view: Option<ViewNumber>,
    next_sight: Time,
}

impl<'a, T: Transport + 'a> ConsoleRank<'a, T> {
    /// Rank 0 with its client and metadata server, serving `asks`. `start` is what the other ranks were told;
    /// `tell_requests`: somebody wants to see single requests.
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
            ranks: Ranks::new(link, front, log, start),
            service: Service::new(news, tell_requests, clock::now()).in_order(),
            asks,
            heard: false,
            next_process_check: Time::default(),
            lodger: None,
            doors: BTreeMap::new(),
            is_judged: true,
            told_view: None,
            next_sight: Time::default(),
        }
    }

    /// The same, with somebody who asks on behalf of other programs.
    #[must_use]
    pub fn with_lodger(self, lodger: Option<Box<dyn Lodger>>) -> Self {
        lodger.iter().for_each(|lodger| self.ranks.hull.link.doorbell.listen_also(lodger.bell()));
        Self { lodger, ..self }
    }

    /// The same; on these ranks are others of its kind.
    #[must_use]
    pub fn with_doors(mut self, doors: impl Iterator<Item = Rank>) -> Self {
        self.doors = doors.map(|rank| (rank, None)).collect();
        self.service.doors_are(self.doors.keys().copied());
        self
    }

    /// The same; unless `is_judged`, what the lodger's commands came to is told to nobody else.
    #[must_use]
    pub fn with_judge(self, is_judged: bool) -> Self {
        Self { is_judged, ..self }
    }

    /// The same, able to replace dead processes.
    #[must_use]
    pub fn with_respawn(self, respawn: Respawn) -> Self {
        Self { ranks: self.ranks.with_respawn(respawn), ..self }
    }

    /// The same, told of deaths by the kernel.
    #[must_use]
    pub fn with_deathwatch(self, deathwatch: Option<DeathWatch>) -> Self {
        Self { ranks: self.ranks.with_deathwatch(deathwatch), ..self }
    }

    /// The same with a disk.
    #[must_use]
    pub fn with_disk(self, disk: Option<Scribe>) -> Self {
        Self { ranks: self.ranks.with_disk(disk), ..self }
    }

    /// Runs until somebody asks to quit. True when all ranks are alive, so that MPI can end the orderly way.
    pub fn run(mut self) -> bool {
        turn::run(&mut self)
    }

    /// Takes wishes from the desk. True when there was one; `None` when it was the last.
    fn serve(&mut self, now: Time) -> Option<bool> {
        let mut asked = false;
        for _ in 0..ASKS_PER_TURN_MAX {
            let Ok(ask) = self.asks.try_recv() else { break };
            asked = true;
            if matches!(ask, Ask::Quit) {
                return None;
            }
            self.service.on_ask(&mut self.ranks, ask);
            self.hear(now, false);
        }
        Some(asked)
    }

    /// Hands on what has happened at the ranks. `whole`: also that nothing was finished, so that what others did can be
    /// judged up to now.
    fn hear(&mut self, now: Time, whole: bool) {
        for fate in self.ranks.take_fates() {
            match fate {
                ProcessFate::Lost { rank, pid } => {
                    self.service.lost(rank, pid);
                    self.door_is_gone(now, rank);
                }
                ProcessFate::Stopped { rank, stopped } => self.service.tell(News::Stopped { rank, stopped }),
            }
        }
        let mut finished = self.ranks.take_finished();
        if let Some(lodger) = &mut self.lodger {
            let is_judged = self.is_judged;
            finished.retain(|completion| !lodger.answered(now, completion.seq, &completion.outcome) | is_judged);
        }
        if whole || !finished.is_empty() {
            self.service.finished(finished, self.ranks.front.client().running_since(now));
        }
    }

    /// Takes on what the lodger asks for. True when there was anything.
    fn serve_lodger(&mut self, now: Time) -> bool {
        let Some(lodger) = &mut self.lodger else { return false };
        let worked = lodger.receive(now);
        let room = WINDOW_MAX.saturating_sub(self.ranks.front.client().outstanding() + WINDOW_KEPT);
        worked | (self.ranks.submit_all(now, room, &mut |front| lodger.next_command(front.next_seq())) > 0)
    }

    /// On that rank there is no door any more.
    fn door_is_gone(&mut self, now: Time, rank: Rank) {
        if self.doors.remove(&rank).is_none() {
            return;
        }
        self.lodger.iter_mut().for_each(|lodger| lodger.forget(now, rank));
        let left = self.doors.len() + 1;
        self.ranks
            .say(now, format!("the door on rank {rank} is gone, and its connections are closed; doors left: {left}"));
    }

    /// What a door says.
    fn hear_door(&mut self, now: Time, from: Rank, word: DoorWord) {
        match word {
            DoorWord::Open { at } => self.ranks.say(now, format!("rank {from} is a door at {at}")),
            DoorWord::Shut { why } => {
                self.doors.remove(&from);
                self.lodger.iter_mut().for_each(|lodger| lodger.forget(now, from));
                self.ranks.say(now, format!("rank {from} has no door: {why}"));
            }
            DoorWord::Figures(figures) => {
                if let Some(known) = self.doors.get_mut(&from) {
                    *known = Some(DoorFigures { rank: from, ..figures });
                }
            }
            word => self.lodger.iter_mut().for_each(|lodger| lodger.hear(now, from, word.clone())),
        }
    }

    /// The other doors hear what this one says. True when it has said anything.
    fn tell_doors(&mut self) -> bool {
        let Some(lodger) = &mut self.lodger else { return false };
        let mut worked = false;
        while let Some((to, word)) = lodger.next_word() {
            worked = true;
            let packet = Packet::Door(word);
            for door in self.doors.keys().filter(|door| to.is_none_or(|to| to == **door)) {
                self.ranks.hull.link.push(*door, &packet);
            }
        }
        worked
    }

    /// Tells the lodger how the cluster is, and the screen how the lodger is: when it is `time` for
    /// that, and of another view at once.
    fn tell_lodger(&mut self, now: Time, time: bool) {
        let (Some(lodger), Some(metadata)) = (&mut self.lodger, self.ranks.front.metadata()) else { return };
        let newest = metadata.view().map(|view| view.number);
        if !time && newest == self.told_view {
            return;
        }
        self.told_view = newest;
        let peer = |rank: Rank| {
            let (op, digest) = self.ranks.status(rank).map_or((0, 0), |status| (status.commit.0, status.digest));
            ServerFacts { rank, pid: self.ranks.pid(rank).unwrap_or(0), op, digest }
        };
        let view = metadata.view();
        let primary = view.map(|view| view.primary.rank);
        let status = primary.and_then(|rank| self.ranks.status(rank));
        let figures = lodger.figures();
        let doors: Vec<DoorFigures> = self.doors.values().flatten().copied().chain([figures]).collect();
        let all = doors.iter().filter(|door| door.rank != figures.rank);
        let sight = all.fold(figures.sight, |sum, door| Sight::and(sum, door.sight));
        let facts = Facts {
            wall: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default(),
            view: view.map_or_else(Default::default, |view| view.number),
            primary: primary.map(peer),
            backups: view.iter().flat_map(|view| &view.backups).map(|member| peer(member.rank)).collect(),
            keys: status.map_or(0, |status| status.keys),
            op: status.map_or(0, |status| status.op.0),
            failovers: metadata.failovers(),
            data_gone: self.service.data_gone().map(str::to_owned),
            doors,
        };
        for door in self.doors.keys() {
            self.ranks.hull.link.push(*door, &Packet::Door(DoorWord::Facts(Box::new(facts.clone()))));
        }
        lodger.tell(facts);
        if now >= self.next_sight {
            self.next_sight = now + SIGHT_INTERVAL;
            self.service.tell(News::Door(sight));
        }
    }

    fn leave(&mut self, now: Time) -> bool {
        let all_alive = self.ranks.dismiss_all(now);
        self.hear(now, false);
        // What happened last is told before the end.
        let observation = self.ranks.front.report_at_once(now);
        self.service.reported(Box::new(observation));
        self.service.release(now, false);
        let hull = &mut self.ranks.hull;
        let until = now + LEAVE_DEADLINE;
        loop {
            hull.link.flush(clock::now());
            if hull.link.unsent() == 0 || clock::now() >= until {
                break;
            }
            drop(hull.link.receive());
            std::thread::sleep(Duration::from_micros(100));
        }
        hull.log.event(now, &Event::Operator { what: "the end".to_owned() });
        hull.log.flush();
        all_alive
    }

    fn deadline(&self) -> Time {
        let front = &self.ranks.front;
        let own = front.deadline().min(front.report_deadline());
        let lodger = self.lodger.as_ref().map_or(Time::NEVER, |lodger| lodger.deadline());
        own.min(self.next_process_check).min(self.service.deadline()).min(lodger)
    }
}

impl<'a, T: Transport + 'a> Node<'a> for ConsoleRank<'a, T> {
    type Transport = T;
    type End = bool;

    fn hull(&mut self) -> &mut Hull<'a, T> {
        &mut self.ranks.hull
    }

    fn packet(&mut self, now: Time, from: Rank, packet: Packet) {
        self.ranks.set_now(now);
        self.heard = true;
        match packet {
            Packet::Message(message) => self.ranks.on_message(now, from, message),
            Packet::Observation(observation) => {
                if self.ranks.on_observation(from, &observation) {
                    self.service.reported(observation);
                }
            }
            Packet::Load(report) => self.service.loaded(from, *report),
            Packet::Finished { completions, running_since } => {
                // Together with the other clients' word.
                self.hear(now, true);
                self.service.tell(News::Finished { client: ClientId::on(from.0), completions, running_since });
            }
            Packet::ControlDone { id, result } => {
                if let Some((rank, control)) = self.service.carried_out(id, result) {
                    self.ranks.note_order(rank, &control);
                }
            }
            Packet::Door(word) => self.hear_door(now, from, word),
            Packet::Hello { pid, host, addresses } => self.ranks.on_hello(now, from, pid, &host, addresses),
            Packet::Control { .. }
            | Packet::Start(_)
            | Packet::Gone { .. }
            | Packet::Over { .. }
            | Packet::Placed(_)
            | Packet::Play(_) => {}
        }
    }

    fn act(&mut self, now: Time) -> Acted<bool> {
        self.ranks.set_now(now);
        self.hear(now, false);
        let Some(asked) = self.serve(now) else {
            return Acted { worked: true, expecting: false, due: now, end: Some(self.leave(now)) };
        };
        let lodged = self.serve_lodger(now);
        self.ranks.hear_disk(now);
        self.ranks.tick(now);
        self.hear(now, false);
        self.service.tend(&self.ranks);
        let checks = now >= self.next_process_check;
        if checks {
            self.next_process_check = now + PROCESS_CHECK_INTERVAL;
            self.ranks.check_processes(now);
            self.hear(now, false);
            self.service.tell_why(&self.ranks);
        }
        self.tell_lodger(now, checks);
        let told = self.tell_doors();
        let left = self.ranks.carry_out(now);
        if let Some(observation) = self.ranks.front.report(now) {
            self.service.reported(Box::new(observation));
        }
        if let Some(report) = self.ranks.front.load_report(now, false) {
            self.service.loaded(METADATA, report);
        }
        let expecting = self.ranks.front.client().outstanding() > 0;
        let waits = self.service.release(now, std::mem::take(&mut self.heard));
        let due = if waits { now } else { self.deadline() };
        Acted { worked: asked || lodged || told || left, expecting, due, end: None }
    }

    /// What the lodger has to say leaves after what the others have to hear.
    fn aside(&mut self) -> bool {
        self.lodger.iter_mut().for_each(|lodger| lodger.send());
        false
    }
}
