//! The desk: where the console hands in what a person wants, and gets it back answered.
//!
//! The rank's loop (over MPI or over the simulator) holds the other end of the channel. Everything
//! that is asked is answered, also when the answer is "unknown".

use super::Standing;
use super::branch::Branch;
use super::underway::Underway;
use crate::core::fault::{Control, Meddling};
use crate::core::load::Report;
use crate::core::protocol::{
    DiskStatus, Event, Incarnation, Outcome, Rank, Rules, Time, TurnTimes, View, ViewNumber, ViewRecord,
};
use crate::core::store::{Command, OpNumber};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One wish of the console.
#[derive(Debug)]
pub enum Ask {
    /// Run a command on the store.
    Execute { command: Command, answer: Sender<Executed> },
    /// The same, as the client on this rank.
    ExecuteAs { client: Rank, command: Command, answer: Sender<Executed> },
    /// Give an order to a rank; answered when the rank has carried it out.
    Control { to: Rank, control: Control, answer: Sender<Result<(), String>> },
    /// Kill a rank's process; answered when the signal is sent.
    Kill { rank: Rank, answer: Sender<Result<(), String>> },
    /// The state of the whole cluster, freshly asked from every rank.
    Status { answer: Sender<ClusterStatus> },
    /// How the load goes: the sum over all clients, as they last reported.
    Load { answer: Sender<Report> },
    /// Put a line into the events: what an operator did.
    Note { event: Event },
    /// Let so much virtual time pass, where time is virtual and waits to be told; else the answer is dropped.
    Pass { duration: Duration, answer: Sender<()> },
    /// Run a command on the store, and never mind the answer: the news tell it.
    Submit { command: Command },
    /// What is on its way, where that can be seen, now or at this time; else the answer is dropped.
    Underway { at: Option<Time>, answer: Sender<Vec<Underway>> },
    /// Do this to the message with this number.
    Meddle { number: u64, how: Meddling, answer: Sender<Result<(), String>> },
    /// Let the next timer of this rank fire before it hears anything else.
    Fire { rank: Rank, answer: Sender<Result<(), String>> },
    /// All machines lose power at once, where they are simulated, and start again; this server's later.
    PowerCut { late: Option<Rank>, answer: Sender<Result<(), String>> },
    /// Virtual time stands, or goes on. Where time passes by itself, nothing comes of it.
    Stand { stands: bool },
    /// Go back to this time, and on from there in a branch of its own, where time is virtual and can.
    Fork { at: Time, answer: Sender<Result<(), String>> },
    /// Go on at the end of this branch.
    Switch { to: usize, answer: Sender<Result<(), String>> },
    /// Call the branch by this name.
    Rename { branch: usize, name: String, answer: Sender<Result<(), String>> },
    /// The branches; where there can be none the answer is dropped.
    Branches { answer: Sender<Vec<Branch>> },
    /// While virtual time stands: let the next thing happen that is worth a look.
    Step,
    /// End the cluster.
    Quit,
}

/// What became of a command; or why nobody can carry it out.
pub type Executed = Result<Outcome, String>;

/// What a rank is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// Rank 0: console, client, metadata server.
    Metadata,
    /// A further client; how it is, unless it works.
    Client(Option<Standing>),
    /// The same, where other programs come in.
    Door(Option<Standing>),
    /// A server: how it is, how many keys it has, its newest op number, and its incarnation.
    Server { standing: Standing, keys: u64, op: OpNumber, incarnation: Incarnation },
}

impl fmt::Display for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => f.write_str("METADATA"),
            Self::Client(None) => f.write_str("CLIENT"),
            Self::Door(None) => f.write_str("DOOR"),
            Self::Client(Some(standing)) | Self::Door(Some(standing)) | Self::Server { standing, .. } => {
                standing.fmt(f)
            }
        }
    }
}

/// What `STATUS` tells of one rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankStatus {
    /// Which rank.
    pub rank: Rank,
    /// Its process.
    pub pid: u32,
    /// What it is.
    pub post: Post,
    /// How long the turns of its loop take; `None` where time is virtual, or nothing was heard yet.
    pub turns: Option<TurnTimes>,
    /// A silence that is longer makes it suspect its peers; `None` when it has none.
    pub silence: Option<Duration>,
    /// A server's disk, if it has one.
    pub disk: Option<DiskStatus>,
}

impl RankStatus {
    /// How it is, if it is a server.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        match self.post {
            Post::Server { standing, .. } => Some(standing),
            Post::Metadata | Post::Client(_) | Post::Door(_) => None,
        }
    }

    /// True for a further client.
    #[must_use]
    pub fn is_client(&self) -> bool {
        matches!(self.post, Post::Client(_) | Post::Door(_))
    }
}

/// What `STATUS` and `VIEW` tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterStatus {
    /// The current view.
    pub view: Option<Arc<View>>,
    /// The primary, if it is believed to answer.
    pub primary: Option<Rank>,
    /// Every rank.
    pub ranks: Vec<RankStatus>,
    /// How often another server became primary because the one before had fallen silent.
    pub failovers: u64,
    /// The latest views, oldest first.
    pub views: Vec<ViewRecord>,
    /// Now, by the clock of [`ViewRecord::at`].
    pub now: Time,
    /// Why nobody is served, if that lasts.
    pub why: Option<String>,
    /// Nobody has the data any more, as `why` says.
    pub data_gone: bool,
    /// Servers have disks: what is in their memories is there as well.
    pub has_disks: bool,
    /// The machines are simulated: what is on its way can be seen, and all of them can lose their power.
    pub is_simulated: bool,
    /// The rules in force.
    pub rules: Rules,
    /// Links that were cut by order and not healed, from → to.
    pub cuts: BTreeSet<(Rank, Rank)>,
}

impl ClusterStatus {
    /// The number of the current view, 0 before the first.
    #[must_use]
    pub fn view_number(&self) -> ViewNumber {
        self.view.as_ref().map_or(ViewNumber(0), |view| view.number)
    }
}

/// The console's end of the channel. Clones share it.
#[derive(Clone)]
pub struct Desk {
    asks: Sender<Ask>,
    /// Wakes the loop that serves the other end.
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Who answers instead, for a while.
    guest: Arc<Mutex<Guest>>,
}

/// Another desk in the place of this one.
#[derive(Default)]
struct Guest {
    desk: Option<Desk>,
    /// The how many-th it is.
    number: u64,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// Why there are no branches.
const ONE_PAST: &str = "what has happened can be changed in the simulator only: --sim";
/// At most this many wishes wait for the loop.
const ASKS_MAX: usize = 1024;
/// A loop that does not answer for this long is gone.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

impl Desk {
    /// A desk and the end that the loop serves.
    #[must_use]
    pub fn new() -> (Self, Receiver<Ask>) {
        Self::waking(|| {})
    }

    /// The same; `wake` is called whenever something was handed in, for a loop that does not wait on the channel.
    #[must_use]
    pub fn waking(wake: impl Fn() + Send + Sync + 'static) -> (Self, Receiver<Ask>) {
        let (asks, served) = bounded(ASKS_MAX);
        (Self { asks, wake: Arc::new(wake), guest: Arc::default() }, served)
    }

    /// From now on whatever is asked is asked there; `None`: here again. All clones follow.
    pub fn divert(&self, to: Option<Desk>) {
        let mut guest = self.guest();
        guest.number += u64::from(to.is_some());
        guest.desk = to;
    }

    /// True while somebody else answers.
    #[must_use]
    pub fn is_diverted(&self) -> bool {
        self.guest().desk.is_some()
    }

    /// Whose cluster answers: 0 for the one of this desk, another number for each that stands in for it.
    #[must_use]
    pub fn whose(&self) -> u64 {
        let guest = self.guest();
        if guest.desk.is_some() { guest.number } else { 0 }
    }

    fn guest(&self) -> MutexGuard<'_, Guest> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_in(&self, ask: Ask) -> Option<()> {
        let guest = self.guest().desk.clone();
        if let Some(guest) = guest.filter(|_| !matches!(ask, Ask::Quit)) {
            return guest.hand_in(ask);
        }
        self.asks.send(ask).ok()?;
        (self.wake)();
        Some(())
    }

    /// Runs one command and waits for its outcome.
    ///
    /// # Errors
    /// When nobody can carry it out: why.
    pub fn execute(&self, command: Command) -> Executed {
        self.ask(|answer| Ask::Execute { command, answer }).unwrap_or(Ok(Outcome::Unknown))
    }

    /// Runs one command as the client on this rank, and waits for its outcome.
    ///
    /// # Errors
    /// When nobody can carry it out: why.
    pub fn execute_as(&self, client: Rank, command: Command) -> Executed {
        self.ask(|answer| Ask::ExecuteAs { client, command, answer }).unwrap_or(Ok(Outcome::Unknown))
    }

    /// Gives an order to a rank and waits until it is carried out.
    ///
    /// # Errors
    /// When the rank refuses, with the reason, or does not answer.
    pub fn control(&self, to: Rank, control: Control) -> Result<(), String> {
        self.ask(|answer| Ask::Control { to, control, answer }).unwrap_or_else(|| Err("the cluster has ended".into()))
    }

    /// Kills a rank's process.
    ///
    /// # Errors
    /// Why it cannot be killed.
    pub fn kill(&self, rank: Rank) -> Result<(), String> {
        self.ask(|answer| Ask::Kill { rank, answer }).unwrap_or_else(|| Err("the cluster has ended".into()))
    }

    /// The state of the cluster.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        self.ask(|answer| Ask::Status { answer }).unwrap_or_default()
    }

    /// How the load goes, as the clients last reported.
    #[must_use]
    pub fn load(&self) -> Report {
        self.ask(|answer| Ask::Load { answer }).unwrap_or_default()
    }

    /// Tells the events what an operator did.
    pub fn note(&self, what: impl Into<String>) {
        self.hand_in(Ask::Note { event: Event::Operator { what: what.into() } });
    }

    /// What is on its way, or was at this time; `None` where nobody can see that.
    #[must_use]
    pub fn underway(&self, at: Option<Time>) -> Option<Vec<Underway>> {
        self.ask(|answer| Ask::Underway { at, answer })
    }

    /// Does this to the message with this number.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub fn meddle(&self, number: u64, how: Meddling) -> Result<(), String> {
        self.ask(|answer| Ask::Meddle { number, how, answer }).unwrap_or_else(|| Err("the cluster has ended".into()))
    }

    /// Lets the next timer of this rank fire.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn fire(&self, rank: Rank) -> Result<(), String> {
        self.ask(|answer| Ask::Fire { rank, answer }).unwrap_or_else(|| Err("the cluster has ended".into()))
    }

    /// Takes the power of all machines at once; this server's comes back later than the others.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn power_cut(&self, late: Option<Rank>) -> Result<(), String> {
        self.ask(|answer| Ask::PowerCut { late, answer }).unwrap_or_else(|| Err("the cluster has ended".into()))
    }

    /// Lets virtual time pass. False where time passes by itself, and whoever wants to wait has to.
    #[must_use]
    pub fn pass(&self, duration: Duration) -> bool {
        self.ask(|answer| Ask::Pass { duration, answer }).is_some()
    }

    /// Asks for one command and does not wait: what becomes of it is among the news.
    pub fn submit(&self, command: Command) {
        self.hand_in(Ask::Submit { command });
    }

    /// Lets virtual time stand, or go on.
    pub fn stand(&self, stands: bool) {
        self.hand_in(Ask::Stand { stands });
    }

    /// Goes back to this time, and on from there in a branch of its own.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn fork(&self, at: Time) -> Result<(), String> {
        self.ask(|answer| Ask::Fork { at, answer }).unwrap_or_else(|| Err(ONE_PAST.to_owned()))
    }

    /// Goes on at the end of this branch.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn switch(&self, to: usize) -> Result<(), String> {
        self.ask(|answer| Ask::Switch { to, answer }).unwrap_or_else(|| Err(ONE_PAST.to_owned()))
    }

    /// Calls a branch by this name.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn rename(&self, branch: usize, name: String) -> Result<(), String> {
        self.ask(|answer| Ask::Rename { branch, name, answer }).unwrap_or_else(|| Err(ONE_PAST.to_owned()))
    }

    /// The branches, in the order in which they began; `None` where there can be none.
    #[must_use]
    pub fn branches(&self) -> Option<Vec<Branch>> {
        self.ask(|answer| Ask::Branches { answer })
    }

    /// While virtual time stands: lets the next thing happen that is worth a look.
    pub fn step(&self) {
        self.hand_in(Ask::Step);
    }

    /// Ends the cluster.
    pub fn quit(&self) {
        self.hand_in(Ask::Quit);
    }

    fn ask<T>(&self, make: impl FnOnce(Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = bounded(1);
        self.hand_in(make(answer))?;
        answered.recv_timeout(ANSWER_DEADLINE).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_diverted_is_asked_elsewhere_but_the_end_is_meant_for_here() {
        let ((house, asks), (guest, asked)) = (Desk::new(), Desk::new());
        let clone = house.clone();
        house.divert(Some(guest));
        clone.note("one");
        assert!(clone.is_diverted() && asks.is_empty() && asked.len() == 1);
        clone.quit();
        assert!(matches!(asks.try_recv(), Ok(Ask::Quit)) && asked.len() == 1);
        house.divert(None);
        clone.note("two");
        assert!(!clone.is_diverted() && asks.len() == 1);
    }
}
