//! What the console has to know of the cluster to be helpful.
//!
//! The dashboard folds the events into a model; the console sees it only through [`Knowledge`]. It may
//! be a little late and is never asked for a decision that matters: commands of a script are resolved
//! against a freshly asked status (see [`Resolved`](super::session::Resolved)).

use crate::cluster::{ClusterStatus, RankStatus, Standing};
use crate::core::protocol::{METADATA, Rank, ViewNumber};
use crate::core::store::Bytes;
use crate::ui::commands::action::Shot;
use std::sync::{Mutex, PoisonError};

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerPicture {
    /// Which.
    pub rank: Rank,
    /// How it is.
    pub standing: Standing,
}

/// The cluster at one moment, as far as the console needs it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Picture {
    /// The current view; 0 before the first.
    pub view: ViewNumber,
    /// Who answers, if anybody is believed to.
    pub primary: Option<Rank>,
    /// The backups that are up, in rank order.
    pub backups: Vec<Rank>,
    /// All servers, in rank order.
    pub servers: Vec<ServerPicture>,
    /// Further client ranks (not rank 0).
    pub clients: Vec<Rank>,
    /// This many of them, the last ones, are doors.
    pub doors: usize,
    /// Links that drop everything, from → to.
    pub cuts: Vec<(Rank, Rank)>,
    /// The probability with which a request makes the primary crash.
    pub failure_rate: f64,
}

impl Picture {
    /// How a server is; `None` for a rank that is no server.
    #[must_use]
    pub fn standing(&self, rank: Rank) -> Option<Standing> {
        self.servers.iter().find(|server| server.rank == rank).map(|server| server.standing)
    }

    /// Rank 0, the servers and the further clients.
    pub fn ranks(&self) -> impl Iterator<Item = Rank> + '_ {
        let servers = self.servers.iter().map(|server| server.rank);
        std::iter::once(METADATA).chain(servers).chain(self.clients.iter().copied())
    }

    /// The servers that are in this state.
    pub fn servers_that(&self, is: impl Fn(Standing) -> bool) -> impl Iterator<Item = Rank> {
        self.servers.iter().filter(move |server| is(server.standing)).map(|server| server.rank)
    }

    /// This picture with everything replaced that a fresh status knows better.
    #[must_use]
    pub fn refreshed(self, status: &ClusterStatus) -> Picture {
        let server = |rank: &RankStatus| Some(ServerPicture { rank: rank.rank, standing: rank.standing()? });
        let is_client = |rank: &&RankStatus| self.clients.contains(&rank.rank);
        let servers: Vec<_> = status.ranks.iter().filter(|rank| !is_client(rank)).filter_map(server).collect();
        let of_rank = |rank: Rank| servers.iter().find(|s| s.rank == rank).map(|s| s.standing);
        let members = status.view.iter().flat_map(|view| &view.backups).map(|member| member.rank);
        Picture {
            view: status.view_number(),
            primary: status.primary,
            backups: members.filter(|rank| of_rank(*rank).is_some_and(|s| !s.is_down())).collect(),
            clients: status.ranks.iter().filter(|r| r.is_client()).map(|r| r.rank).collect(),
            servers,
            ..self
        }
    }
}

/// What the console asks the dashboard's model. Asked at every key press: answers must be quick.
pub trait Knowledge: Send + Sync {
    /// The cluster now.
    fn picture(&self) -> Picture;
    /// Live keys that start with `prefix`, at most `limit`, in byte order. Keys that are known only in
    /// part (cut for display) are left out.
    fn keys_with_prefix(&self, prefix: &[u8], limit: usize) -> Vec<Bytes>;
    /// What `LATENCY` answers: one or more lines.
    fn latency(&self) -> String;
    /// What `CHECK` answers: the verdict on all client operations so far.
    ///
    /// # Errors
    /// When they contradict each other: how.
    fn check(&self, failovers: u64) -> Result<String, String>;
    /// The latest `count` events, oldest first, a line each.
    fn events(&self, count: usize) -> Vec<String>;
    /// Shows the diagram, or the cards again; where there is no screen, gives it as text.
    fn diagram(&self) -> Option<String> {
        None
    }
    /// Big numbers, or all panels again.
    ///
    /// # Errors
    /// Where there is no screen for them, or too small a one.
    fn present(&self) -> Result<(), String> {
        Err("the dashboard has big numbers, and there is none here".to_owned())
    }
    /// Puts a picture into its file.
    ///
    /// # Errors
    /// Why there is none.
    fn shoot(&self, shot: &Shot) -> Result<(), String> {
        Err(format!("there is nothing to see for {}", shot.file.display()))
    }
}

/// Knowledge that is told what it knows: for tests, and for line mode without a model.
#[derive(Debug, Default)]
pub struct FixedKnowledge {
    told: Mutex<KnownFacts>,
}

#[derive(Debug, Default)]
struct KnownFacts {
    picture: Picture,
    keys: Vec<Bytes>,
    events: Vec<String>,
}

impl FixedKnowledge {
    /// Knows this picture and nothing else.
    #[must_use]
    pub fn new(picture: Picture) -> Self {
        Self { told: Mutex::new(KnownFacts { picture, ..KnownFacts::default() }) }
    }

    /// From now on, this is how the cluster looks.
    pub fn set_picture(&self, picture: Picture) {
        self.lock().picture = picture;
    }

    /// From now on, these are the live keys.
    pub fn set_keys(&self, keys: impl IntoIterator<Item = Bytes>) {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        self.lock().keys = keys;
    }

    /// One more event.
    pub fn push_event(&self, line: impl Into<String>) {
        self.lock().events.push(line.into());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, KnownFacts> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Knowledge for FixedKnowledge {
    fn picture(&self) -> Picture {
        self.lock().picture.clone()
    }

    fn keys_with_prefix(&self, prefix: &[u8], limit: usize) -> Vec<Bytes> {
        self.lock().keys.iter().filter(|key| key.starts_with(prefix)).take(limit).cloned().collect()
    }

    fn latency(&self) -> String {
        "no requests yet".to_owned()
    }

    fn check(&self, failovers: u64) -> Result<String, String> {
        Ok(format!("linearizable: 0 operations, 0 unknown, {failovers} failovers"))
    }

    fn events(&self, count: usize) -> Vec<String> {
        let told = self.lock();
        told.events[told.events.len().saturating_sub(count)..].to_vec()
    }
}
