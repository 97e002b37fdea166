//! The service of rank 0: what a person asks at the [`Desk`](super::Desk), and what is told as [`News`].
//!
//! It is written once, over the small trait [`Cluster`], which the ranks over MPI and the simulator's stage implement.
//! The console and the dashboard cannot tell the difference, but for the processes that are none.
//!
//! ```text
//!   Desk ── Ask ──▶ Service ── submit, order, kill, report ──▶ Cluster (MPI, simulator)
//!                      ◀── finished, carried out, reported, loaded, lost ──┘
//!   screen, judges ◀── News
//! ```

use super::desk::{ANSWER_DEADLINE, Ask, ClusterStatus, Executed, Post, RankStatus};
use super::underway::Underway;
use super::why::{Life, Situation, life};
use super::{News, Standing};
use crate::core::fault::{Control, ControlError, Meddling};
use crate::core::load::Report;
use crate::core::node::FrontHost;
use crate::core::node::brief::brief;
use crate::core::protocol::{
    Completion, Event, Incarnation, METADATA, Member, Observation, Outcome, Rank, ServerStatus, Time, TurnTimes, View,
    Waiting,
};
use crate::core::store::{ClientId, Command, OpNumber, Seq};
use crossbeam_channel::Sender;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Disks may take this long to be read.
const DISKS_PATIENCE: Duration = Duration::from_secs(3);
/// An order that is not carried out within this long has failed.
pub const CONTROL_DEADLINE: Duration = Duration::from_millis(1_000);
/// A `RESET` is refused or carried out within this long (at a slow pace it goes on in the background).
const RESET_DEADLINE: Duration = Duration::from_millis(2_500);
/// `STATUS` waits this long for the reports of all ranks; who has not answered is shown as last known.
const STATUS_DEADLINE: Duration = Duration::from_millis(150);
/// What was heard waits for what is older, and may still be on its way, for no longer than this.
const ORDERED_MAX: Duration = Duration::from_millis(5);
const NO_POWER: &str = "only the simulator can take the power of all machines (--sim --disks): here, kill -9 all \
                        processes of the cluster at once, the launcher and mpirun too, and start it again with the \
                        same --data";
const ONLY_SIMULATED: &str = "single messages and timers can be chosen in the simulator only: --sim";
/// An answer is told in no more characters than this.
const REPLY_TEXT_CHARS: usize = 256;

/// Where the end of an order is told.
pub type OrderTold = Sender<Result<(), String>>;

/// What became of an order.
#[derive(Debug)]
pub enum Ordered {
    /// It was carried out, or cannot be: why.
    Done(Result<(), String>),
    /// It is under way under this number: [`Service::carried_out`] will tell.
    Sent(u64),
    /// Whoever runs the cluster has kept the way back, and answers in its time.
    Kept,
}

/// What is known of a rank other than 0.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which.
    pub rank: Rank,
    /// Its process.
    pub pid: u32,
    /// Dead or stopped, as the operating system or an operator knows better than its last report.
    pub better: Option<Standing>,
    /// What it last said, if it is a server and has said anything.
    pub status: Option<ServerStatus>,
    /// How long its turns take.
    pub turns: Option<TurnTimes>,
    /// The first life of its process: nothing is left of those before.
    pub began: Incarnation,
}

/// What the service needs of whoever runs the cluster.
pub trait Cluster {
    /// Now, by the clock of the news.
    fn now(&self) -> Time;
    /// Now, by rank 0's own clock.
    fn own_now(&self) -> Time {
        self.now()
    }
    /// Rank 0's host: its client, and the metadata server.
    fn front(&self) -> &FrontHost;
    /// All other ranks.
    fn ranks(&self) -> Vec<Seen>;
    /// How long the turns of rank 0 take, where that can be said.
    fn turns(&self) -> Option<TurnTimes>;
    /// Rank 0's client asks for a command; its number was [`FrontHost::next_seq`].
    fn submit(&mut self, command: Command);
    /// Gives an order to a rank.
    fn order(&mut self, to: Rank, control: &Control, answer: &OrderTold) -> Ordered;
    /// Kills a rank's process.
    ///
    /// # Errors
    /// Why it cannot be killed.
    fn kill(&mut self, rank: Rank) -> Result<(), String>;
    /// Asks all ranks for a report at once; gives those that will answer.
    fn ask_reports(&mut self) -> BTreeSet<Rank>;
    /// How the load goes at the clients of this process.
    fn load_reports(&mut self) -> Vec<(Rank, Report)>;
    /// Puts an event of rank 0 into the stream.
    fn note(&mut self, event: Event);
    /// True where machines and network are simulated.
    fn is_simulated(&self) -> bool {
        false
    }
    /// What is on its way, or was at this time, where that can be seen.
    fn underway(&self, _: Option<Time>) -> Option<Vec<Underway>> {
        None
    }
    /// Does this to the message with this number.
    ///
    /// # Errors
    /// Why it cannot be done.
    fn meddle(&mut self, _: u64, _: Meddling) -> Result<(), String> {
        Err(ONLY_SIMULATED.to_owned())
    }
    /// Lets the next timer of this rank fire before it hears anything else.
    ///
    /// # Errors
    /// Why it cannot be done.
    fn fire(&mut self, _: Rank) -> Result<(), String> {
        Err(ONLY_SIMULATED.to_owned())
    }
    /// Lets virtual time pass, and answers then; where time passes by itself the answer is dropped.
    fn pass(&mut self, duration: Duration, answer: Sender<()>);
}

struct PendingOrder {
    to: Rank,
    control: Control,
    answer: OrderTold,
    deadline: Time,
}

/// What the client on another rank was asked for. (Should its load ask for the very same, either answer will do.)
struct PendingElsewhere {
    client: Rank,
    command: Command,
    answer: Sender<Executed>,
    deadline: Time,
}

/// What is wrong with a disk.
struct DiskTrouble {
    what: String,
    /// Nothing will be heard of it any more.
    failed: bool,
}

struct PendingStatus {
    answer: Sender<ClusterStatus>,
    missing: BTreeSet<Rank>,
    deadline: Time,
}

/// The service.
pub struct Service<'a> {
    /// Told what happens; must not wait.
    news: Box<dyn FnMut(News) + 'a>,
    /// What is to be told, and when it was, while it waits for what is older.
    waiting: Option<Vec<(Time, News)>>,
    /// The first of them waits since then.
    waits_since: Option<Time>,
    /// Whether somebody wants to see single requests: their words cost time.
    tell_requests: bool,
    executing: BTreeMap<Seq, (Sender<Executed>, String)>,
    elsewhere: Vec<PendingElsewhere>,
    orders: BTreeMap<u64, PendingOrder>,
    statuses: Vec<PendingStatus>,
    /// Who waits for a `RESET` to be carried out, and until when.
    resets: Vec<(OrderTold, Time)>,
    /// How the load goes, by client.
    loads: BTreeMap<Rank, Report>,
    /// The clients that are doors.
    doors: BTreeSet<Rank>,
    /// Links cut by order, from → to.
    cuts: BTreeSet<(Rank, Rank)>,
    why: Option<String>,
    /// A sentence that stands whatever else happens.
    last_word: bool,
    /// Set when nobody has the data any more, and no request will ever be answered: that, and the way out.
    data_gone: Option<String>,
    /// What is wrong with the disk of a server, in its own words, until somebody serves or its process is another one.
    troubles: BTreeMap<Rank, DiskTrouble>,
    /// An operator has done something about it: until then there is hope that somebody will serve.
    hopeful_until: Time,
    /// A server served at this time, as far as was heard.
    served: Time,
}

impl<'a> Service<'a> {
    /// A service that tells `news`; the words of single requests only if somebody looks at them.
    pub fn new(news: Box<dyn FnMut(News) + 'a>, tell_requests: bool, now: Time) -> Self {
        Self {
            news,
            waiting: None,
            waits_since: None,
            tell_requests,
            executing: BTreeMap::new(),
            elsewhere: Vec::new(),
            orders: BTreeMap::new(),
            statuses: Vec::new(),
            resets: Vec::new(),
            loads: BTreeMap::new(),
            doors: BTreeSet::new(),
            cuts: BTreeSet::new(),
            why: None,
            last_word: false,
            data_gone: None,
            troubles: BTreeMap::new(),
            hopeful_until: now,
            served: now,
        }
    }

    /// The same, where ranks are not heard in the order in which they speak: what is told is told in the order of its
    /// times, as [`Service::release`] allows. So what follows from something is told after it.
    #[must_use]
    pub fn in_order(self) -> Self {
        Self { waiting: Some(Vec::new()), ..self }
    }

    /// The clients on these ranks are doors.
    pub fn doors_are(&mut self, doors: impl Iterator<Item = Rank>) {
        self.doors = doors.collect();
    }

    /// Tells what waits, if nothing older is on its way any more, or it has waited long enough. True when it goes on
    /// waiting; `more`: something else may have come meanwhile.
    pub fn release(&mut self, now: Time, more: bool) -> bool {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| !waiting.is_empty()) else { return false };
        let since = *self.waits_since.get_or_insert(now);
        if more && now.since(since) < ORDERED_MAX {
            return true;
        }
        self.waits_since = None;
        let mut told = std::mem::take(waiting);
        told.sort_by_key(|(at, _)| *at);
        told.drain(..).for_each(|(_, news)| (self.news)(news));
        self.waiting = Some(told);
        false
    }

    /// Tells it, or lets it wait; what has no time of its own stays behind what was told before it.
    fn tell_in_order(&mut self, news: News) {
        let Some(waiting) = self.waiting.as_mut().filter(|_| !matches!(news, News::Finished { .. })) else {
            return (self.news)(news);
        };
        let at = match &news {
            News::Observation(observation) => observation.at,
            News::Asked { at, .. } | News::Answered { at, .. } => *at,
            _ => waiting.iter().map(|(at, _)| *at).max().unwrap_or_default(),
        };
        waiting.push((at, news));
    }

    /// Puts something into the stream.
    pub fn tell(&mut self, news: News) {
        if let News::Finished { client, completions, .. } = &news
            && !self.elsewhere.is_empty()
        {
            self.finished_elsewhere(*client, completions);
        }
        self.tell_in_order(news);
    }

    /// Set when nobody has the data any more: that, and the way out.
    #[must_use]
    pub fn data_gone(&self) -> Option<&str> {
        self.data_gone.as_deref()
    }

    /// True while somebody waits for an answer.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.owes_an_order() || !(self.executing.is_empty() && self.elsewhere.is_empty())
    }

    /// The same, but for commands on the store.
    #[must_use]
    pub fn owes_an_order(&self) -> bool {
        !(self.orders.is_empty() && self.statuses.is_empty() && self.resets.is_empty())
    }

    /// When [`Service::tend`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let orders = self.orders.values().map(|order| order.deadline);
        let elsewhere = self.elsewhere.iter().map(|asked| asked.deadline);
        let statuses = self.statuses.iter().map(|status| status.deadline);
        let resets = self.resets.iter().map(|(_, deadline)| *deadline);
        orders.chain(elsewhere).chain(statuses).chain(resets).min().unwrap_or(Time::NEVER)
    }

    /// All has happened otherwise: these links are cut, and rank 0's client waits for this. Whoever waited for
    /// something waits no more.
    pub fn begin_again(&mut self, now: Time, cuts: BTreeSet<(Rank, Rank)>, asked: BTreeMap<Seq, String>) {
        let nobody = || crossbeam_channel::bounded(1).0;
        self.executing = asked.into_iter().map(|(seq, command)| (seq, (nobody(), command))).collect();
        self.elsewhere.clear();
        self.orders.clear();
        self.statuses.clear();
        self.resets.clear();
        self.loads.clear();
        (self.cuts, self.why, self.last_word, self.data_gone, self.served) = (cuts, None, false, None, now);
        self.troubles.clear();
    }

    /// All processes were stopped at once, and have started again: what was done to these ranks by order is over.
    pub fn all_started_again(&mut self, ranks: impl Iterator<Item = Rank>) {
        self.cuts.clear();
        self.troubles.clear();
        for rank in ranks {
            self.tell(News::Network { rank, control: Control::Heal });
            self.tell(News::Stopped { rank, stopped: false });
        }
        for (answer, _) in std::mem::take(&mut self.resets) {
            let _ = answer.send(Err("the power has failed meanwhile".to_owned()));
        }
        if !std::mem::take(&mut self.loads).is_empty() {
            self.tell(News::Load(Box::default()));
        }
    }

    // ---- what is asked -------------------------------------------------------------------------

    /// Carries out a wish. (Those that are about time itself, and [`Ask::Quit`], are for whoever runs the cluster.)
    pub fn on_ask<C: Cluster>(&mut self, cluster: &mut C, ask: Ask) {
        match ask {
            Ask::Execute { command, answer } => self.execute(cluster, command, answer),
            Ask::ExecuteAs { client, command, answer } => self.execute_as(cluster, client, command, answer),
            Ask::Control { to, control, answer } => self.order(cluster, to, control, answer),
            Ask::Kill { rank, answer } => drop(answer.send(cluster.kill(rank))),
            Ask::Status { answer } => {
                let missing = cluster.ask_reports();
                self.statuses.push(PendingStatus { answer, missing, deadline: cluster.now() + STATUS_DEADLINE });
            }
            Ask::Load { answer } => {
                self.loads.extend(cluster.load_reports());
                self.loads.retain(|rank, report| *rank != METADATA || report.operations > 0);
                let _ = answer.send(Report::sum(self.loads.values()));
            }
            Ask::Note { event } => cluster.note(event),
            Ask::Pass { duration, answer } => cluster.pass(duration, answer),
            Ask::Underway { at, answer } => {
                if let Some(underway) = cluster.underway(at) {
                    let _ = answer.send(underway);
                }
            }
            Ask::Meddle { number, how, answer } => {
                let chosen = cluster.underway(None).into_iter().flatten().find(|flying| flying.number == number);
                let done = cluster.meddle(number, how);
                if let (Meddling::Drop, Ok(()), Some(Underway { from, to, text, .. })) = (how, &done, chosen) {
                    self.tell(News::Dropped { from, to, text });
                }
                let _ = answer.send(done);
            }
            Ask::Fire { rank, answer } => drop(answer.send(cluster.fire(rank))),
            // Whoever simulates the machines has taken it.
            Ask::PowerCut { answer, .. } => drop(answer.send(Err(NO_POWER.to_owned()))),
            // Nobody waits at the other end.
            Ask::Submit { command } => self.execute(cluster, command, crossbeam_channel::bounded(1).0),
            Ask::Stand { .. } | Ask::Step | Ask::Quit => {}
            // Dropped, where whoever runs the cluster has not taken them: there is one past.
            Ask::Fork { .. } | Ask::Switch { .. } | Ask::Rename { .. } | Ask::Branches { .. } => {}
        }
    }

    fn execute<C: Cluster>(&mut self, cluster: &mut C, command: Command, answer: Sender<Executed>) {
        // Not from memory: a `RESET` may just have helped.
        if self.data_gone.is_some() {
            self.tell_why(cluster);
        }
        if let Some(why) = &self.data_gone {
            let _ = answer.send(Err(why.clone()));
            return;
        }
        let text = if self.tell_requests { command.to_string() } else { String::new() };
        if self.tell_requests {
            self.tell(News::Asked { at: cluster.now(), command: text.clone() });
        }
        self.executing.insert(cluster.front().next_seq(), (answer, text));
        cluster.submit(command);
    }

    fn execute_as<C: Cluster>(&mut self, cluster: &mut C, client: Rank, command: Command, answer: Sender<Executed>) {
        let (told, _) = crossbeam_channel::bounded(1);
        let control = Control::Ask { command: command.clone() };
        let ordered = cluster.order(client, &control, &told);
        if let Ordered::Done(Err(why)) = ordered {
            let _ = answer.send(Err(why));
            return;
        }
        if let Ordered::Sent(id) = ordered {
            let deadline = cluster.now() + CONTROL_DEADLINE;
            self.orders.insert(id, PendingOrder { to: client, control, answer: told, deadline });
        }
        let deadline = cluster.now() + ANSWER_DEADLINE;
        self.elsewhere.push(PendingElsewhere { client, command, answer, deadline });
    }

    /// What the client on another rank was asked for has come to its end.
    fn finished_elsewhere(&mut self, client: ClientId, completions: &[Completion]) {
        for completion in completions {
            self.answer_elsewhere(Rank(client.rank()), &completion.command, Ok(completion.outcome.clone()));
        }
    }

    fn answer_elsewhere(&mut self, client: Rank, command: &Command, executed: Executed) {
        let is_it = |asked: &PendingElsewhere| asked.client == client && asked.command == *command;
        if let Some(at) = self.elsewhere.iter().position(is_it) {
            let _ = self.elsewhere.remove(at).answer.send(executed);
        }
    }

    fn order<C: Cluster>(&mut self, cluster: &mut C, to: Rank, control: Control, answer: OrderTold) {
        if to == METADATA && control == Control::Recover {
            self.hopeful_until = cluster.now() + DISKS_PATIENCE;
        }
        match cluster.order(to, &control, &answer) {
            Ordered::Done(Ok(())) if matches!(control, Control::Reset | Control::ResetAnyway) => {
                self.resets.push((answer, cluster.now() + RESET_DEADLINE));
            }
            Ordered::Done(result) => {
                if result.is_ok() {
                    self.note_order(to, control);
                }
                let _ = answer.send(result);
            }
            Ordered::Sent(id) => {
                let deadline = cluster.now() + CONTROL_DEADLINE;
                self.orders.insert(id, PendingOrder { to, control, answer, deadline });
            }
            Ordered::Kept => {}
        }
    }

    /// The order under this number has come to its end. Gives whom it was for, and what it was, if it was carried out.
    pub fn carried_out(&mut self, id: u64, result: Result<(), ControlError>) -> Option<(Rank, Control)> {
        let PendingOrder { to, control, answer, .. } = self.orders.remove(&id)?;
        let result = result.map_err(|why| why.to_string());
        let done = result.is_ok();
        if let (Err(why), Control::Ask { command }) = (&result, &control) {
            self.answer_elsewhere(to, command, Err(why.clone()));
        }
        if done {
            self.note_order(to, control.clone());
        }
        // Whoever has given the order may look at once.
        self.release(Time::default(), false);
        let _ = answer.send(result);
        done.then_some((to, control))
    }

    /// An order was carried out: what everybody should know of it.
    fn note_order(&mut self, rank: Rank, control: Control) {
        match control {
            Control::Cut { peer, cut: true } => drop(self.cuts.insert((rank, peer))),
            Control::Cut { peer, cut: false } => drop(self.cuts.remove(&(rank, peer))),
            Control::Heal => self.cuts.retain(|(from, _)| *from != rank),
            _ => {}
        }
        match control {
            Control::Pause => self.tell(News::Stopped { rank, stopped: true }),
            Control::Resume => self.tell(News::Stopped { rank, stopped: false }),
            Control::Rules { rules } if rank == METADATA => self.tell(News::Unsafe(rules.warning())),
            Control::Cut { .. } | Control::Loss { .. } | Control::Delay { .. } | Control::Heal => {
                self.tell(News::Network { rank, control });
            }
            _ => {}
        }
    }

    // ---- what is heard -------------------------------------------------------------------------

    /// Rank 0's own client has finished this; what it still has running was asked at or after `running_since`.
    pub fn finished(&mut self, completions: Vec<Completion>, running_since: Time) {
        let mut answers = Vec::new();
        for completion in &completions {
            // Without a sender it is one of the load's.
            let Some((answer, command)) = self.executing.remove(&completion.seq) else { continue };
            let reply = match &completion.outcome {
                _ if !self.tell_requests => String::new(),
                Outcome::Done(reply) => brief(reply, REPLY_TEXT_CHARS),
                Outcome::Unknown => "(unknown)".to_owned(),
            };
            let took = completion.returned.since(completion.call);
            self.tell(News::Answered { at: completion.returned, command, reply, took });
            answers.push((answer, completion.outcome.clone()));
        }
        self.tell(News::Finished { client: ClientId::on(METADATA.0), completions, running_since });
        // Whoever has an answer finds it in the history.
        for (answer, outcome) in answers {
            let _ = answer.send(Ok(outcome));
        }
    }

    /// A rank's report.
    pub fn reported(&mut self, observation: Box<Observation>) {
        for pending in &mut self.statuses {
            pending.missing.remove(&observation.rank);
        }
        for (_, event) in &observation.events {
            if let Event::LogDamaged { what } | Event::DiskFailed { what } = event {
                let failed = matches!(event, Event::DiskFailed { .. });
                self.troubles.insert(observation.rank, DiskTrouble { what: what.clone(), failed });
            }
        }
        self.tell(News::Observation(observation));
    }

    /// How the load goes at one client.
    pub fn loaded(&mut self, client: Rank, report: Report) {
        self.loads.insert(client, report);
        self.tell(News::Load(Box::new(Report::sum(self.loads.values()))));
    }

    /// A rank's process is gone: nobody waits for it any more.
    pub fn lost(&mut self, rank: Rank, pid: u32) {
        for pending in self.orders.extract_if(.., |_, pending| pending.to == rank).map(|(_, pending)| pending) {
            let _ = pending.answer.send(Err(format!("server {rank} has died: its process {pid} is gone")));
        }
        for pending in &mut self.statuses {
            pending.missing.remove(&rank);
        }
        self.troubles.remove(&rank);
        self.tell(News::Gone { rank });
    }

    /// Answers whoever has waited long enough.
    pub fn tend<C: Cluster>(&mut self, cluster: &C) {
        let now = cluster.now();
        for pending in self.orders.extract_if(.., |_, order| now >= order.deadline).map(|(_, order)| order) {
            let why = format!("rank {} did not answer within {} ms", pending.to, CONTROL_DEADLINE.as_millis());
            let _ = pending.answer.send(Err(why));
        }
        // Whoever asked has given up; a client that has died never answers.
        self.elsewhere.retain(|asked| now < asked.deadline);
        self.tend_resets(cluster);
        let is_due = |status: &mut PendingStatus| status.missing.is_empty() || now >= status.deadline;
        let due: Vec<PendingStatus> = self.statuses.extract_if(.., is_due).collect();
        for pending in due {
            self.tell_why(cluster);
            self.release(now, false);
            let _ = pending.answer.send(self.status(cluster));
        }
    }

    fn tend_resets<C: Cluster>(&mut self, cluster: &C) {
        let now = cluster.now();
        if !self.resets.is_empty() {
            self.hopeful_until = now + DISKS_PATIENCE;
        }
        let metadata = cluster.front().metadata();
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
    }

    // ---- what is told --------------------------------------------------------------------------

    fn post(&self, seen: &Seen, is_client: bool, view: Option<&View>) -> Post {
        if self.doors.contains(&seen.rank) {
            return Post::Door(seen.better);
        }
        if is_client {
            return Post::Client(seen.better);
        }
        let standing = seen.better.unwrap_or_else(|| Standing::reported(seen.rank, seen.status.as_ref(), view));
        match &seen.status {
            Some(ServerStatus { keys, op, incarnation, .. }) => {
                Post::Server { standing, keys: *keys, op: *op, incarnation: *incarnation }
            }
            None => Post::Server { standing, keys: 0, op: OpNumber(0), incarnation: seen.began },
        }
    }

    fn status<C: Cluster>(&self, cluster: &C) -> ClusterStatus {
        let metadata = cluster.front().metadata();
        let view = metadata.and_then(|metadata| metadata.view()).cloned();
        let is_client = |rank: Rank| metadata.is_some_and(|metadata| metadata.is_client(rank));
        let own = RankStatus {
            rank: METADATA,
            pid: std::process::id(),
            post: Post::Metadata,
            turns: cluster.turns(),
            silence: None,
            disk: None,
        };
        let others = cluster.ranks().into_iter().map(|seen| RankStatus {
            rank: seen.rank,
            pid: seen.pid,
            post: self.post(&seen, is_client(seen.rank), view.as_deref()),
            turns: seen.turns,
            silence: seen.status.as_ref().filter(|_| seen.better != Some(Standing::Dead)).and_then(|s| s.silence),
            disk: seen.status.as_ref().and_then(|status| status.disk),
        });
        let ranks: Vec<RankStatus> = std::iter::once(own).chain(others).collect();
        let serves = |rank: &Rank| {
            let leads = |known: &RankStatus| matches!(known.standing(), Some(Standing::Primary | Standing::OldPrimary));
            ranks.iter().any(|known| known.rank == *rank && leads(known))
        };
        ClusterStatus {
            primary: view.as_ref().map(|view| view.primary.rank).filter(serves),
            view,
            failovers: metadata.map_or(0, |metadata| metadata.failovers()),
            views: metadata.map(|metadata| metadata.records().iter().cloned().collect()).unwrap_or_default(),
            now: cluster.own_now(),
            why: self.why.clone(),
            data_gone: self.data_gone.is_some(),
            has_disks: metadata.is_some_and(|metadata| metadata.has_disk()),
            is_simulated: cluster.is_simulated(),
            rules: metadata.map(|metadata| metadata.rules()).unwrap_or_default(),
            cuts: self.cuts.clone(),
            ranks,
        }
    }

    /// Says this and nothing else from now on.
    pub fn tell_last_word(&mut self, why: String) {
        self.last_word = true;
        self.why = Some(why.clone());
        self.tell(News::Why(Some(why)));
    }

    fn has_failed_disk(&self, rank: Rank) -> bool {
        self.troubles.get(&rank).is_some_and(|trouble| trouble.failed)
    }

    fn troubles_of(&self, ranks: &[Rank]) -> String {
        let troubles = ranks.iter().filter_map(|rank| self.troubles.get(rank));
        troubles.map(|trouble| trouble.what.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// The sentence when none of these can use its disk.
    fn disks_failed(&self, ranks: &[Rank]) -> Option<String> {
        let first = ranks.first().filter(|_| ranks.iter().all(|rank| self.has_failed_disk(*rank)))?;
        let troubles = self.troubles_of(ranks);
        Some(format!("nobody is served: {troubles}. When that is mended, KILL {first} lets a new process try"))
    }

    /// Why nobody leads yet where servers have disks, if that is worth a sentence by now.
    fn waits_for_disks(&self, waiting: &Waiting, seen: &BTreeMap<Rank, Seen>, blocked_for: Duration) -> Option<String> {
        let (ranks, is_known) = match waiting {
            Waiting::Silent(ranks) => (ranks, ranks.iter().any(|rank| self.has_failed_disk(*rank))),
            Waiting::Empty(ranks) => (ranks, ranks.iter().any(|rank| self.troubles.contains_key(rank))),
        };
        if !is_known && blocked_for < DISKS_PATIENCE {
            return None;
        }
        let is_read = |rank: &Rank| seen.get(rank).and_then(|seen| seen.status.as_ref()?.disk?.reading).is_some();
        let read: Vec<String> = ranks.iter().filter(|rank| is_read(rank)).map(ToString::to_string).collect();
        if !read.is_empty() {
            return Some(format!("nobody is served yet: the disk of server {} is being read", read.join(", ")));
        }
        let troubles = self.troubles_of(ranks);
        let troubles = if troubles.is_empty() { troubles } else { format!(" ({troubles})") };
        Some(format!(
            "nobody is served: {waiting}{troubles}. RECOVER 0 goes on with the disks that are there, RESET starts over \
             empty"
        ))
    }

    /// One sentence when nobody is served.
    pub fn tell_why<C: Cluster>(&mut self, cluster: &C) {
        if self.last_word {
            return;
        }
        let now = cluster.now();
        let seen: BTreeMap<Rank, Seen> = cluster.ranks().into_iter().map(|seen| (seen.rank, seen)).collect();
        let view = cluster.front().metadata().and_then(|metadata| metadata.view()).cloned();
        let lives =
            |member: Member| (member.rank, seen.get(&member.rank).map_or(Life::Unknown, |s| life_of(s, member)));
        let mut situation = Situation {
            lives: view.iter().flat_map(|view| view.members()).map(lives).collect(),
            cuts: self.cuts.clone(),
            silent: BTreeSet::new(),
            view: view.as_deref(),
            has_disks: cluster.front().metadata().is_some_and(|metadata| metadata.has_disk()),
            blocked_for: Duration::ZERO,
        };
        let hears = |rank: &Rank| matches!(situation.lives.get(rank), Some(Life::Lives { .. } | Life::Unknown));
        let unheard = |seen: &Seen| {
            let status = seen.status.iter().filter(|_| hears(&seen.rank));
            status.flat_map(|status| &status.silent).map(|from| (*from, seen.rank)).collect::<Vec<_>>()
        };
        let by_servers = seen.values().flat_map(unheard);
        let by_me = cluster.front().silent(cluster.own_now()).into_iter().map(|from| (from, METADATA));
        let speaks = |(from, _): &(Rank, Rank)| *from == METADATA || hears(from);
        let silent = by_servers.chain(by_me).filter(speaks).collect();
        situation.silent = silent;
        if situation.is_served() {
            self.served = now;
            self.troubles.clear();
        }
        let waiting = now.since(cluster.front().client().running_since(now));
        situation.blocked_for = now.since(self.served).max(waiting);
        let metadata = cluster.front().metadata();
        let disks = metadata.and_then(|metadata| metadata.waits_for_disks());
        let servers = seen.keys().copied().filter(|rank| !metadata.is_some_and(|metadata| metadata.is_client(*rank)));
        let wanted = match &view {
            Some(view) => view.members().map(|member| member.rank).collect(),
            None => servers.collect::<Vec<_>>(),
        };
        let disks_failed = self.disks_failed(&wanted);
        let why = match &disks {
            Some(waiting) => self.waits_for_disks(waiting, &seen, situation.blocked_for),
            // Somebody is about to lead: that is being written down.
            None if view.is_none() && metadata.is_some_and(|metadata| metadata.deciding().is_some()) => {
                self.why.clone()
            }
            None => disks_failed.clone().or_else(|| situation.why()),
        };
        // No waiting helps: every disk has told, or one that is waited for never will.
        let is_final = |waiting: &Waiting| match waiting {
            Waiting::Silent(ranks) => ranks.iter().any(|rank| self.has_failed_disk(*rank)),
            Waiting::Empty(_) => true,
        };
        let disks_gone = why.clone().filter(|_| disks.as_ref().map_or(disks_failed.is_some(), is_final));
        let disks_gone = disks_gone.filter(|_| now >= self.hopeful_until);
        self.data_gone = disks_gone.or_else(|| situation.data_gone());
        if why != self.why {
            self.why.clone_from(&why);
            self.tell(News::Why(why));
        }
        // Whoever waits for an answer is told that none will come. (The request itself ends as unknown, in its time.)
        if let Some(why) = self.data_gone.clone() {
            for (answer, command) in std::mem::take(&mut self.executing).into_values() {
                self.tell(News::Answered { at: now, command, reply: "(unknown)".to_owned(), took: waiting });
                let _ = answer.send(Err(why.clone()));
            }
        }
    }
}

fn life_of(seen: &Seen, member: Member) -> Life {
    let stopped = seen.better == Some(Standing::Paused);
    match &seen.status {
        _ if seen.better == Some(Standing::Dead) || seen.began > member.incarnation => Life::Lost,
        Some(status) => match life(member, status) {
            Life::Lives { .. } | Life::Unknown if stopped => Life::Paused,
            life => life,
        },
        None if stopped => Life::Paused,
        None => Life::Unknown,
    }
}
