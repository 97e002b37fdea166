//! Carries an action out at the cluster's [`Desk`].
//!
//! One session serves the prompt, the keys (from a thread of their own) and line mode. It keeps nothing
//! but what its own keys need, of each cluster that answers at the desk ([`Desk::whose`]): the failure rate that was
//! switched off, the key that must be pressed again. What is in force there the cluster itself says.
//!
//! # The last copy
//!
//! Two crashes within a few seconds lose everything, and a key is pressed quickly. So a key that would take the only
//! copy of the data says so, and must be pressed again ([`ConsoleSession::press`]). A command that is typed does as it
//! is told, and its answer says what was lost. Where servers have disks, a crash loses nothing, and needs no second
//! press; but a `RESET` takes all disks at once, and a person is asked again ([`Resolved::Screen`]); a script is not.
//!
//! # Who is meant
//!
//! A person who presses "crash primary" means the primary on the screen; a script means the primary at
//! this very moment, also directly after the command that changed it. [`Resolved`] tells the two apart.

use super::answer::Answer;
use super::knowledge::{Knowledge, Picture};
use crate::cluster::{ClusterStatus, Desk, Post, RankStatus, Standing};
use crate::core::fault::{Control, Meddling};
use crate::core::load::{LoadOrder, Report};
use crate::core::protocol::{CrashPoint, DiskStatus, METADATA, Member, Rank, Rule, Rules, Time, plural};
use crate::core::store::{Command, OpNumber};
use crate::ui::commands::action::{Action, LoadWish, Who};
use crate::ui::commands::help::help;
use crate::ui::commands::keys::KeySpec;
use crate::ui::commands::parse::CommandLine;
use crate::ui::commands::presenter::TourKey;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The rate at which the dice are switched on when they were never on before.
pub const FAILURE_RATE_DEFAULT: f64 = 0.2;
/// A key that takes the only copy of the data must be pressed again within this long.
pub const SECOND_PRESS_MAX: Duration = Duration::from_secs(3);
/// A `RESET` that takes disks must be typed again within this long.
pub const SECOND_RESET_MAX: Duration = Duration::from_secs(20);
/// A `SLEEP` looks this often whether it was interrupted.
const SLEEP_STEP: Duration = Duration::from_millis(20);

/// What `primary` and `backup` are resolved against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// What the screen shows: at once, and what the person meant.
    Screen,
    /// A status that is freshly asked from every rank.
    Cluster,
}

/// Kills the process of a rank, or says why it cannot.
pub type Kill = Box<dyn Fn(Rank) -> Result<(), String> + Send + Sync>;

/// Where somebody stands who looks at a cluster whose time is virtual.
pub trait Standpoint: Send + Sync {
    /// Time stands.
    fn time_stands(&self) -> bool;
    /// When what is looked at was, unless it is the present.
    fn past(&self) -> Option<Time>;
}

/// Leads through the scenes of the tour, where there is a screen for it.
pub trait TourGuide: Send + Sync {
    /// True while a tour is on.
    fn is_on(&self) -> bool;
    /// True while a question is open: what would break something sleeps.
    fn is_asking(&self) -> bool;
    /// A presenter's key.
    fn press(&self, key: TourKey);
    /// Begins with this scene, or the first.
    ///
    /// # Errors
    /// When there is no such scene.
    fn begin(&self, scene: Option<&str>) -> Result<(), String>;
    /// This many hands went up for each answer.
    ///
    /// # Errors
    /// When nobody was asked, or there is not a number for each answer.
    fn count_hands(&self, hands: &[u32]) -> Result<(), String>;
}

/// Where actions are carried out.
pub struct ConsoleSession {
    desk: Desk,
    knowledge: Arc<dyn Knowledge>,
    sight: Resolved,
    kill: Option<Kill>,
    tour: Option<Arc<dyn TourGuide>>,
    ascii: bool,
    interrupted: Arc<AtomicBool>,
    standpoint: Option<Arc<dyn Standpoint>>,
    memories: Mutex<BTreeMap<u64, Memory>>,
}

/// What keys have to remember of a cluster.
#[derive(Debug, Default)]
struct Memory {
    /// The rate before the dice were switched off.
    rate_before: Option<f64>,
    /// The key that would take the only copy of the data, whose that is, and when it was pressed.
    warned: Option<(u8, Rank, Instant)>,
    /// When a `RESET` was typed that would take the disks.
    reset_asked: Option<Instant>,
}

/// The only copy of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastCopy {
    /// Whose it is.
    rank: Rank,
    keys: u64,
}

impl fmt::Display for LastCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the only copy of the data ({} key{})", self.keys, plural(self.keys))
    }
}

impl ConsoleSession {
    /// A session at this desk.
    #[must_use]
    pub fn new(desk: Desk, knowledge: Arc<dyn Knowledge>, sight: Resolved) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        Self {
            desk,
            knowledge,
            sight,
            kill: None,
            tour: None,
            ascii: false,
            interrupted,
            standpoint: None,
            memories: Mutex::default(),
        }
    }

    /// The same, able to kill processes. Without this, `KILL` is refused with the reason.
    #[must_use]
    pub fn with_kill(self, kill: Kill) -> Self {
        Self { kill: Some(kill), ..self }
    }

    /// The same, with somebody who leads through scenes.
    #[must_use]
    pub fn with_tour(self, tour: Arc<dyn TourGuide>) -> Self {
        Self { tour: Some(tour), ..self }
    }

    /// The same, over a cluster whose time can stand.
    #[must_use]
    pub fn with_standpoint(self, standpoint: Arc<dyn Standpoint>) -> Self {
        Self { standpoint: Some(standpoint), ..self }
    }

    /// Virtual time stands: whoever waited for an answer would wait for ever.
    fn time_stands(&self) -> bool {
        self.standpoint.as_ref().is_some_and(|standpoint| standpoint.time_stands())
    }

    /// The same, with nothing beyond ASCII in its own words.
    #[must_use]
    pub fn with_ascii(self, ascii: bool) -> Self {
        Self { ascii, ..self }
    }

    /// An answer in the words that the terminal can show.
    #[must_use]
    pub fn worded(&self, answer: Answer) -> Answer {
        if self.ascii { answer.in_ascii() } else { answer }
    }

    /// Set it (from a signal handler, say) to end a `SLEEP` or a repeated command early.
    #[must_use]
    pub fn interrupter(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    /// What the session knows of the cluster.
    #[must_use]
    pub fn knowledge(&self) -> &dyn Knowledge {
        &*self.knowledge
    }

    /// The cluster's desk.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Carries a request out, as often as it says. `each` is told every answer and may stop by `false`.
    pub fn run(&self, request: &CommandLine, mut each: impl FnMut(Answer) -> bool) {
        self.interrupted.store(false, Ordering::SeqCst);
        for done in 0..request.times {
            if done > 0 && self.interrupted.load(Ordering::SeqCst) {
                each(Answer::Error(format!("interrupted after {done} of {} times", request.times)));
                return;
            }
            let answer = self.perform(&request.action);
            let ends = answer == Answer::Quit;
            if !each(answer) || ends {
                return;
            }
        }
    }

    /// What a key does, pressed at this moment.
    pub fn press(&self, key: &KeySpec, now: Instant) -> Answer {
        let target = match &key.action {
            Action::Crash(who) | Action::Kill(who) => self.server(*who, &self.picture()).ok(),
            _ => None,
        };
        let copy = target.and_then(|(rank, _)| {
            let status = self.desk.status();
            last_copy(&status, rank).filter(|_| !status.has_disks)
        });
        let warned = self.remembered(|memory| memory.warned.take());
        let Some(copy) = copy else { return self.perform(&key.action) };
        let is_second = warned.is_some_and(|(function, rank, at)| {
            (function, rank) == (key.function, copy.rank) && now.duration_since(at) <= SECOND_PRESS_MAX
        });
        if is_second {
            return self.perform(&key.action);
        }
        self.remembered(|memory| memory.warned = Some((key.function, copy.rank, now)));
        let (rank, name, seconds) = (copy.rank, key.name(), SECOND_PRESS_MAX.as_secs());
        self.worded(Answer::Error(format!(
            "server {rank} has {copy}: press {name} again within {seconds} s to lose it"
        )))
    }

    /// Carries one action out.
    pub fn perform(&self, action: &Action) -> Answer {
        self.worded(self.answer(action))
    }

    fn answer(&self, action: &Action) -> Answer {
        match action {
            Action::Data(command) => self.execute(command.clone()),
            Action::As(client, command) => self.execute_as(*client, command.clone()),
            Action::Crash(who) => self.crash(*who).into(),
            Action::Wipe(who) => self.wipe(*who).into(),
            Action::CrashAt(who, point) => self.crash_at(*who, *point).into(),
            Action::Kill(who) => self.kill(*who).into(),
            Action::PowerCut(late) => self.power_cut(*late).into(),
            Action::Pause(who) => self.pause(*who).into(),
            Action::Resume(who) => self.resume(*who).into(),
            Action::Recover(who) => self.recover(*who).into(),
            Action::Cut { a, b, oneway } => self.cut(*a, *b, *oneway).into(),
            Action::Heal => self.heal().into(),
            Action::Loss(probability) => {
                let note = format!("every link loses {} of its messages", percent(*probability));
                self.tell_network(&Control::Loss { probability: *probability }, &note).into()
            }
            Action::Delay(ms) => self
                .tell_network(&Control::Delay { ms: *ms }, &format!("every link holds messages back for {ms} ms"))
                .into(),
            Action::FailRate(probability) => self.fail_rate(*probability).into(),
            Action::Swap => self.swap().into(),
            Action::Reset { anyway } => self.reset(*anyway).into(),
            Action::Rules(rule) => Answer::Text(rules_text(self.desk.status().rules, *rule)),
            Action::SetRule(rule, on) => self.set_rule(*rule, *on).into(),
            Action::Status => Answer::Text(status_text(&self.desk.status())),
            Action::View => Answer::Text(views_text(&self.desk.status())),
            Action::Events(count) => Answer::Text(text_or(self.knowledge.events(*count).join("\n"), "no events yet")),
            Action::Check => {
                let failovers = self.desk.status().failovers;
                self.knowledge.check(failovers).map_or_else(Answer::Error, Answer::Text)
            }
            Action::Latency => Answer::Text(text_or(self.knowledge.latency(), "no requests yet")),
            Action::Load(None) => Answer::Text(self.load().to_string()),
            Action::Load(Some(LoadWish::On(order))) => self.load_on(order).into(),
            Action::Load(Some(LoadWish::Off)) => self.load_off().into(),
            Action::Tour(scene) => self.tour().and_then(|tour| tour.begin(scene.as_deref())).into(),
            Action::Hands(hands) => self.tour().and_then(|tour| tour.count_hands(hands)).into(),
            Action::Help(topic) => help(topic.as_deref()).map_or_else(Answer::Error, Answer::Text),
            Action::Sleep(duration) => self.sleep(*duration),
            Action::Quit => Answer::Quit,
            Action::Flights(deed) => self.flights(*deed),
            Action::Fire(who) => self.fire(*who).into(),
            Action::Diagram => self.knowledge.diagram().map_or(Answer::Ok, Answer::Text),
            Action::Present => self.knowledge.present().into(),
            Action::Branch(wish) => self.branch(wish.as_ref()),
            Action::Shot(shot) => self.knowledge.shoot(shot).into(),
            Action::Stage => Answer::Error("the stage is part of the dashboard, and there is none here".into()),
            Action::ToggleLink => self.toggle_link().into(),
            Action::TogglePause => self.toggle_pause().into(),
            Action::ToggleDice => self.toggle_dice().into(),
        }
    }

    fn tour(&self) -> Result<&dyn TourGuide, String> {
        let tour = self.tour.as_deref();
        tour.ok_or_else(|| "the tour needs the dashboard; without one: understudy tour --plain".to_owned())
    }

    fn execute(&self, command: Command) -> Answer {
        match command.check_limits() {
            Ok(()) if self.time_stands() => {
                self.desk.submit(command);
                Answer::Text("asked; time stands: → lets it travel, Esc lets time go on".into())
            }
            Ok(()) => self.desk.execute(command).into(),
            Err(too_long) => Answer::Error(too_long.to_string()),
        }
    }

    /// Asks as another client, which has its own idea of the primary.
    fn execute_as(&self, client: Rank, command: Command) -> Answer {
        let clients = self.picture().clients;
        if client == METADATA {
            return self.execute(command);
        }
        if !clients.contains(&client) {
            let known: Vec<_> = clients.iter().map(Rank::to_string).collect();
            let more =
                if known.is_empty() { "--clients N starts some" } else { &format!("choose {}", known.join(", ")) };
            return Answer::Error(format!("rank {client} is no client: {more}, or 0, the console"));
        }
        if let Err(too_long) = command.check_limits() {
            return Answer::Error(too_long.to_string());
        }
        self.desk.note(format!("client {client} asks: {command}"));
        if self.time_stands() {
            return self.desk.control(client, Control::Ask { command }).map(|()| None::<String>).into();
        }
        let answer = Answer::from(self.desk.execute_as(client, command));
        self.desk.note(format!("client {client} has its answer: {}", answer.in_short()));
        answer
    }

    fn crash(&self, who: Who) -> Result<Option<String>, String> {
        let (rank, standing) = self.server(who, &self.picture())?;
        if standing.is_down() {
            return Err(format!("server {rank} is already {}: RECOVER {rank} brings it back", in_words(standing)));
        }
        let status = self.desk.status();
        self.desk.control(rank, Control::Crash)?;
        Ok(self.lost(&status, rank))
    }

    /// Of one that is down already the disk is taken.
    fn wipe(&self, who: Who) -> Result<Option<String>, String> {
        let (rank, _) = self.server(who, &self.picture())?;
        let status = self.desk.status();
        self.order(rank, Control::Wipe, &format!("server {rank} loses its memory and its disk"))?;
        Ok(is_last_disk(&status, rank).then(|| {
            self.told(format!("server {rank} had the only copy of the data, and it is gone: RESET starts over empty"))
        }))
    }

    /// Nothing happens until a request comes.
    fn crash_at(&self, who: Who, point: CrashPoint) -> Result<(), String> {
        let picture = self.picture();
        let (rank, _) = self.server(who, &picture)?;
        if picture.backups.is_empty() {
            return Err(format!(
                "server {rank} has no backup that would answer: RECOVER one, and wait until it has joined"
            ));
        }
        self.order(rank, Control::Arm { point }, &format!("server {rank} will crash {point} of the next request"))
    }

    /// What was lost with the only copy, also for the events.
    fn lost(&self, before: &ClusterStatus, rank: Rank) -> Option<String> {
        let copy = last_copy(before, rank)?;
        Some(self.told(match before.has_disks {
            false => format!("server {rank} had {copy}, and it is gone: RESET starts over empty"),
            true => format!("server {rank} had {copy} in its memory: it comes back from the disk"),
        }))
    }

    /// An answer that stands among the events as well.
    fn told(&self, what: String) -> String {
        self.desk.note(what.clone());
        what
    }

    fn kill(&self, who: Who) -> Result<Option<String>, String> {
        let (rank, standing) = self.server(who, &self.picture())?;
        if standing == Standing::Dead {
            return Err(format!("server {rank} is already dead"));
        }
        let kill = self.kill.as_ref().ok_or_else(|| {
            format!("KILL needs servers that are processes, which they are not here: CRASH {who} takes their memory")
        })?;
        let status = self.desk.status();
        kill(rank)?;
        Ok(self.lost(&status, rank))
    }

    fn power_cut(&self, late: Option<Who>) -> Result<(), String> {
        let late = late.map(|who| self.server(who, &self.picture())).transpose()?.map(|(rank, _)| rank);
        let all = "the power fails: everything stops at once, and starts again";
        let note = late.map_or(all.to_owned(), |rank| format!("{all}, but for server {rank}"));
        let ClusterStatus { is_simulated, has_disks, .. } = self.desk.status();
        // What cannot happen here is not told as if it did: it is only refused.
        if !(is_simulated && has_disks) {
            return self.desk.power_cut(late);
        }
        self.noted(&note, || self.desk.power_cut(late))
    }

    fn pause(&self, who: Who) -> Result<(), String> {
        let (rank, standing) = self.server(who, &self.picture())?;
        if standing.is_down() {
            return Err(format!("server {rank} is {}: RECOVER {rank} first", in_words(standing)));
        }
        if standing == Standing::Paused {
            return Err(format!("server {rank} is already paused: RESUME {rank} lets it go on"));
        }
        self.order(rank, Control::Pause, &format!("server {rank} paused"))
    }

    fn resume(&self, who: Who) -> Result<(), String> {
        let (rank, standing) = self.server(who, &self.picture())?;
        if standing != Standing::Paused {
            return Err(format!("server {rank} is not paused: it is {}", in_words(standing)));
        }
        self.order(rank, Control::Resume, &format!("server {rank} goes on"))
    }

    /// Recovered servers are empty: when nobody has the data any more, that does not bring it back.
    fn recover(&self, who: Option<Who>) -> Result<Option<String>, String> {
        let status = self.desk.status();
        let gone = status.why.clone().filter(|_| status.data_gone);
        let picture = self.seen(&status);
        let Some(who) = who else {
            let down: Vec<_> = picture.servers_that(Standing::is_down).collect();
            if down.is_empty() {
                return Err(gone.unwrap_or_else(|| "no server is down: there is nothing to recover".into()));
            }
            return self.tell(down, &Control::Recover).map(|()| gone);
        };
        if who == Who::Rank(METADATA) {
            // It waits for disks, and those that are there must do.
            return self.desk.control(METADATA, Control::Recover).map(|()| None);
        }
        let (rank, standing) = self.server(who, &picture)?;
        if !standing.is_down() {
            let why = format!("server {rank} is not down: it is {}", in_words(standing));
            return Err(gone.map_or(why.clone(), |gone| format!("{why}; {gone}")));
        }
        self.desk.control(rank, Control::Recover).map(|()| gone)
    }

    fn cut(&self, a: Who, b: Who, oneway: bool) -> Result<(), String> {
        let picture = self.picture();
        let (a, b) = (rank_of(a, &picture)?, rank_of(b, &picture)?);
        if a == b {
            return Err(format!("rank {a} has no link to itself: name two ranks, such as CUT 1 2"));
        }
        if oneway {
            return self.noted(&format!("link {a} → {b} cut"), || self.set_cut(a, b, true));
        }
        self.noted(&format!("link {a} – {b} cut"), || {
            self.set_cut(a, b, true)?;
            self.set_cut(b, a, true)
        })
    }

    fn set_cut(&self, from: Rank, to: Rank, cut: bool) -> Result<(), String> {
        self.desk.control(from, Control::Cut { peer: to, cut })
    }

    fn heal(&self) -> Result<(), String> {
        self.tell_network(&Control::Heal, "all links healed")
    }

    fn fail_rate(&self, probability: f64) -> Result<(), String> {
        let servers: Vec<_> = self.picture().servers_that(|standing| standing != Standing::Dead).collect();
        self.noted(&format!("failure rate {}", percent(probability)), || {
            self.tell(servers, &Control::FailureRate { probability })
        })
    }

    /// What is on its way; or something is done to the message that arrives as the n-th.
    fn flights(&self, deed: Option<(Meddling, usize)>) -> Answer {
        let past = self.standpoint.as_ref().filter(|_| deed.is_none()).and_then(|standpoint| standpoint.past());
        let Some(underway) = self.desk.underway(past) else {
            return Answer::Error("single messages can be seen in the simulator only: --sim".into());
        };
        let Some((how, number)) = deed else {
            let lines = underway.iter().zip(1..).map(|(flying, number)| format!("{number} {flying}"));
            let all = lines.collect::<Vec<_>>().join("\n");
            return Answer::Text(text_or(all, "nothing is on its way but heartbeats; F2 lets time stand"));
        };
        let Some(chosen) = underway.get(number - 1) else {
            return Answer::Error(format!("{} messages are on their way: FLIGHTS lists them", underway.len()));
        };
        let note = format!("{how}: {} from {} to {}", chosen.text, chosen.from, chosen.to);
        self.noted(&note, || self.desk.meddle(chosen.number, how)).into()
    }

    /// The branches; or one of them goes on, or is called otherwise.
    fn branch(&self, wish: Option<&(String, Option<String>)>) -> Answer {
        let Some(branches) = self.desk.branches() else {
            return Answer::Error("what has happened can be changed in the simulator only: --sim".into());
        };
        let Some((name, new_name)) = wish else {
            let lines: Vec<String> = branches.iter().map(ToString::to_string).collect();
            return Answer::Text(text_or(lines.join("\n"), "a script acts here by itself: there is one past"));
        };
        let Some(branch) = branches.iter().find(|branch| branch.name.eq_ignore_ascii_case(name)) else {
            let known: Vec<&str> = branches.iter().map(|branch| branch.name.as_str()).collect();
            return Answer::Error(format!("there is no branch {name}: choose {}", known.join(", ")));
        };
        match new_name {
            Some(new_name) => self.desk.rename(branch.number, new_name.clone()).into(),
            None => self.desk.switch(branch.number).into(),
        }
    }

    fn fire(&self, who: Who) -> Result<(), String> {
        let (rank, _) = self.server(who, &self.picture())?;
        if !self.desk.status().is_simulated {
            return self.desk.fire(rank);
        }
        self.noted(&format!("the next timer of server {rank} fires"), || self.desk.fire(rank))
    }

    fn swap(&self) -> Result<(), String> {
        let picture = self.picture();
        let (primary, _) = self.server(Who::Primary, &picture)?;
        if picture.backups.is_empty() {
            return Err("no backup to hand over to: RECOVER one, and wait until it has joined".into());
        }
        self.desk.control(primary, Control::Swap)
    }

    fn reset(&self, anyway: bool) -> Result<(), String> {
        let control = if anyway { Control::ResetAnyway } else { Control::Reset };
        if self.sight == Resolved::Screen && self.desk.status().has_disks && !self.is_second_reset(Instant::now()) {
            let seconds = SECOND_RESET_MAX.as_secs();
            return Err(format!("RESET empties all disks, too: RESET again within {seconds} s does it"));
        }
        self.order(METADATA, control, "reset: everybody starts over with empty stores")
    }

    /// True for the second of two that follow each other closely.
    fn is_second_reset(&self, now: Instant) -> bool {
        self.remembered(|memory| {
            let is_second = memory.reset_asked.is_some_and(|at| now.duration_since(at) <= SECOND_RESET_MAX);
            memory.reset_asked = (!is_second).then_some(now);
            is_second
        })
    }

    /// The metadata server first: it knows the rules for every server that is started later.
    fn set_rule(&self, rule: Rule, on: bool) -> Result<(), String> {
        let ClusterStatus { mut rules, has_disks, .. } = self.desk.status();
        if let Some(why) = rule.idle_without_disks().filter(|_| !has_disks) {
            return Err(why);
        }
        rules.set(rule, on);
        let control = Control::Rules { rules };
        let note = if on { format!("rule {rule} on") } else { format!("rule {rule} off: {}", rule.without()) };
        self.noted(&note, || {
            self.desk.control(METADATA, control.clone())?;
            let picture = self.picture();
            let others = picture.ranks().filter(|rank| *rank != METADATA);
            self.tell(others.filter(|rank| picture.standing(*rank) != Some(Standing::Dead)).collect(), &control)
        })
    }

    fn toggle_link(&self) -> Result<(), String> {
        let picture = self.picture();
        let mut cuts = self.desk.status().cuts;
        cuts.extend(&picture.cuts);
        if cuts.is_empty() {
            rank_of(Who::Primary, &picture)?;
            return match rank_of(Who::Backup, &picture) {
                Ok(_) => self.cut(Who::Primary, Who::Backup, false),
                Err(why) => Err(format!("there is no link to cut: {why}")),
            };
        }
        for (from, to) in cuts {
            self.noted(&format!("link {from} → {to} healed"), || self.set_cut(from, to, false))?;
        }
        Ok(())
    }

    fn toggle_pause(&self) -> Result<(), String> {
        // A paused primary is soon no primary any more: who is paused comes first.
        let paused = self.picture().servers_that(|standing| standing == Standing::Paused).next();
        match paused {
            Some(rank) => self.resume(Who::Rank(rank)),
            None => self.pause(Who::Primary),
        }
    }

    fn toggle_dice(&self) -> Result<(), String> {
        let rate = self.picture().failure_rate;
        if rate > 0.0 {
            self.fail_rate(0.0)?;
            self.remembered(|memory| memory.rate_before = Some(rate));
            return Ok(());
        }
        let rate_before = self.remembered(|memory| memory.rate_before);
        self.fail_rate(rate_before.unwrap_or(FAILURE_RATE_DEFAULT))
    }

    /// The clients that load the cluster: the further ones, or else the console's own.
    fn loading_clients(&self) -> Vec<Rank> {
        let Picture { mut clients, doors, .. } = self.picture();
        clients.truncate(clients.len().saturating_sub(doors));
        if clients.is_empty() { vec![METADATA] } else { clients }
    }

    fn load_on(&self, order: &LoadOrder) -> Result<(), String> {
        let clients = self.loading_clients();
        let each = order.per_second.map(|rate| rate / clients.len() as f64);
        let speed =
            order.per_second.map_or("as fast as it goes".to_owned(), |rate| format!("{rate} requests a second"));
        let note = format!("load on: workload {}, {speed}, {} client(s)", order.workload, clients.len());
        let order = LoadOrder { per_second: each, ..*order };
        self.noted(&note, || self.tell(clients, &Control::Load { order: Some(order) }))
    }

    fn load_off(&self) -> Result<(), String> {
        self.noted("load off", || self.tell(self.loading_clients(), &Control::Load { order: None }))
    }

    /// How the load goes. Who is asked for a status tells that as well.
    fn load(&self) -> Report {
        let _ = self.desk.status();
        self.desk.load()
    }

    fn sleep(&self, duration: Duration) -> Answer {
        if self.desk.pass(duration) {
            return Answer::Ok;
        }
        let start = Instant::now();
        loop {
            let left = duration.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Answer::Ok;
            }
            if self.interrupted.load(Ordering::SeqCst) {
                return Answer::Error(format!("interrupted after {:.1} s", start.elapsed().as_secs_f64()));
            }
            std::thread::sleep(left.min(SLEEP_STEP));
        }
    }

    /// An order that leaves no event of its own: the operator's note is the event.
    fn order(&self, to: Rank, control: Control, note: &str) -> Result<(), String> {
        self.noted(note, || self.desk.control(to, control))
    }

    /// What an operator does stands before what follows from it; if it could not be done, that is noted as well.
    fn noted(&self, note: &str, act: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        self.desk.note(note);
        act().inspect_err(|why| self.desk.note(format!("not done: {why}")))
    }

    /// The network belongs to every rank, the metadata server and clients included.
    fn tell_network(&self, control: &Control, note: &str) -> Result<(), String> {
        let picture = self.picture();
        let alive = picture.ranks().filter(|rank| picture.standing(*rank) != Some(Standing::Dead)).collect();
        self.noted(note, || self.tell(alive, control))
    }

    /// Tells every one of these, also when some refuse.
    fn tell(&self, ranks: Vec<Rank>, control: &Control) -> Result<(), String> {
        let refusal = |rank: Rank| {
            let why = self.desk.control(rank, control.clone()).err()?;
            Some(format!("rank {rank}: {why}"))
        };
        let refusals: Vec<_> = ranks.into_iter().filter_map(refusal).collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals.join("; ")) }
    }

    fn picture(&self) -> Picture {
        match self.sight {
            Resolved::Screen => self.knowledge.picture(),
            Resolved::Cluster => self.seen(&self.desk.status()),
        }
    }

    /// The picture, when the status has just been asked.
    fn seen(&self, status: &ClusterStatus) -> Picture {
        let picture = self.knowledge.picture();
        match self.sight {
            Resolved::Screen => picture,
            Resolved::Cluster => picture.refreshed(status),
        }
    }

    /// Which server is meant, and how it is.
    fn server(&self, who: Who, picture: &Picture) -> Result<(Rank, Standing), String> {
        let rank = rank_of(who, picture)?;
        picture.standing(rank).map(|standing| (rank, standing)).ok_or_else(|| {
            format!("rank {rank} is no server: choose {}", choices(picture, picture.servers.iter().map(|s| s.rank)))
        })
    }

    /// What is remembered of the cluster that answers now. Of one that answered in its place before, nothing is.
    fn remembered<T>(&self, of: impl FnOnce(&mut Memory) -> T) -> T {
        let whose = self.desk.whose();
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.retain(|known, _| *known == 0 || *known == whose);
        of(memories.entry(whose).or_default())
    }
}

/// What is lost with this server, if nobody else has the data.
fn last_copy(status: &ClusterStatus, rank: Rank) -> Option<LastCopy> {
    let has_data = |member: &Member| {
        status.ranks.iter().any(|known| {
            let lives = matches!(known.standing(), Some(Standing::Primary | Standing::Backup | Standing::Paused));
            let is_member = matches!(known.post, Post::Server { incarnation, .. } if incarnation == member.incarnation);
            known.rank == member.rank && lives && is_member
        })
    };
    let mut holders = status.view.iter().flat_map(|view| view.members()).filter(has_data);
    let (holder, others) = (holders.next()?, holders.next());
    let Post::Server { keys, .. } = status.ranks.iter().find(|known| known.rank == rank)?.post else { return None };
    (holder.rank == rank && others.is_none()).then_some(LastCopy { rank, keys })
}

/// True when nobody else has the data, in memory or on a disk.
fn is_last_disk(status: &ClusterStatus, rank: Rank) -> bool {
    let has_data = |member: &Member| {
        let on_disk = |known: &RankStatus| known.disk.is_some_and(|disk| !disk.failed && disk.written > OpNumber(0));
        status.ranks.iter().any(|known| known.rank == member.rank && on_disk(known))
    };
    let mut holders = status.view.iter().flat_map(|view| view.members()).filter(|member| has_data(member));
    holders.next().is_some_and(|holder| holder.rank == rank) && holders.next().is_none()
}

/// Which rank is meant.
fn rank_of(who: Who, picture: &Picture) -> Result<Rank, String> {
    let down = |picture: &Picture| {
        let down: Vec<_> = picture.servers_that(Standing::is_down).map(|rank| rank.to_string()).collect();
        match down.as_slice() {
            [] => "wait for the failover".to_owned(),
            [one] => format!("server {one} is down (RECOVER {one}); wait, or bring it back"),
            many => format!("servers {} are down; RECOVER brings them back", many.join(", ")),
        }
    };
    match who {
        Who::Primary => picture.primary.ok_or_else(|| format!("there is no primary right now: {}", down(picture))),
        Who::Backup => {
            let lowest = picture.backups.iter().min().copied();
            lowest.ok_or_else(|| format!("there is no backup right now: {}", down(picture)))
        }
        Who::Rank(rank) if picture.ranks().any(|known| known == rank) => Ok(rank),
        Who::Rank(rank) => Err(format!("there is no rank {rank}: choose {}", choices(picture, picture.ranks()))),
    }
}

/// `1, 2, primary, backup`.
fn choices(picture: &Picture, ranks: impl Iterator<Item = Rank>) -> String {
    let mut choices: Vec<_> = ranks.map(|rank| rank.to_string()).collect();
    choices.extend(picture.primary.map(|_| "primary".to_owned()));
    choices.extend((!picture.backups.is_empty()).then(|| "backup".to_owned()));
    choices.join(", ")
}

fn in_words(standing: Standing) -> String {
    if standing.is_behind() { "behind the view".to_owned() } else { standing.name().to_ascii_lowercase() }
}

/// `20%`, `0.5%`.
fn percent(probability: f64) -> String {
    format!("{}%", (probability * 10_000.0).round() / 100.0)
}

fn text_or(text: String, when_empty: &str) -> String {
    if text.is_empty() { when_empty.to_owned() } else { text }
}

/// What `RULE` answers: a line for each rule, or for this one.
fn rules_text(rules: Rules, only: Option<Rule>) -> String {
    let line = |rule: Rule| match rules.on(rule) {
        true => format!("{rule:<21}on   {}", rule.says()),
        false => format!("{rule:<21}OFF  {}", rule.without()),
    };
    let asked = Rule::ALL.into_iter().filter(|rule| only.is_none_or(|only| only == *rule));
    asked.map(line).collect::<Vec<_>>().join("\n")
}

/// What `STATUS` answers: stable, for scripts.
#[must_use]
pub fn status_text(status: &ClusterStatus) -> String {
    let or_none = |text: String| text_or(text, "none");
    let primary = or_none(status.primary.map(|rank| rank.to_string()).unwrap_or_default());
    let backups = status.view.iter().flat_map(|view| &view.backups).map(|member| member.rank.to_string());
    let backups = or_none(backups.collect::<Vec<_>>().join(","));
    let mut text = format!("view {} primary {primary} backups {backups}", status.view_number());
    for rank in &status.ranks {
        text.push_str(&format!("\nrank {} pid {} role {}", rank.rank, rank.pid, rank.post));
        if let Post::Server { keys, op, incarnation, .. } = rank.post {
            text.push_str(&format!(" keys {keys} op {op} incarnation {incarnation}"));
        }
        if let Some(DiskStatus { written, synced, bytes, failed, .. }) = rank.disk {
            text.push_str(&format!(" disk-written {written} disk-synced {synced} disk-bytes {bytes}"));
            text.push_str(if failed { " disk-failed" } else { "" });
        }
        if let Some(turns) = rank.turns {
            let ms = |took: Duration| took.as_secs_f64() * 1e3;
            text.push_str(&format!(" turn-max-ms {:.1} turn-p99-ms {:.1}", ms(turns.longest), ms(turns.p99)));
        }
        if let Some(silence) = rank.silence {
            text.push_str(&format!(" silence-ms {}", silence.as_millis()));
        }
    }
    if let Some(why) = &status.why {
        text.push_str(&format!("\nwhy {why}"));
    }
    text
}

/// What `VIEW` answers: a line for each view, oldest first.
#[must_use]
pub fn views_text(status: &ClusterStatus) -> String {
    let line = |record: &crate::core::protocol::ViewRecord| {
        let asked = record.asked_by.map_or(String::new(), |rank| format!(", asked by server {rank}"));
        let ago = status.now.since(record.at).as_secs_f64();
        format!("{}: {}{asked} ({ago:.1} s ago)", record.view, record.reason)
    };
    text_or(
        status.views.iter().map(line).collect::<Vec<_>>().join("\n"),
        "no view yet: the servers have not announced themselves",
    )
}
