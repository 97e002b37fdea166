//! What a node tells about itself: the one stream that the screen, the log and the transcripts are folds over.

use super::message::Reason;
use super::view::{Incarnation, Member, Rank, View, ViewNumber};
use crate::core::store::{ClientId, OpNumber, Seq};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a server is at this moment, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Crashed: no memory, no answers.
    Down,
    /// Alive and empty, not needed.
    Idle,
    /// Receiving the state from the primary.
    Joining,
    /// Acknowledges every write.
    Backup,
    /// Answers the clients.
    Primary,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Down => "down",
            Self::Idle => "idle",
            Self::Joining => "joining",
            Self::Backup => "backup",
            Self::Primary => "primary",
        })
    }
}

/// Where in the life of a request the primary crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CrashPoint {
    /// When the request arrives: nobody knows of it.
    Arrival,
    /// It is in the primary's log, no backup has heard of it.
    BeforePrepare,
    /// The Prepare messages are on their way.
    AfterPrepare,
    /// Committed, but the client is not told. For a read: read, but not told.
    BeforeReply,
}

impl CrashPoint {
    /// All four, in the order in which a request passes them.
    pub const ALL: [CrashPoint; 4] = [Self::Arrival, Self::BeforePrepare, Self::AfterPrepare, Self::BeforeReply];

    /// In one word, as commands name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::BeforePrepare => "before-prepare",
            Self::AfterPrepare => "after-prepare",
            Self::BeforeReply => "before-reply",
        }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arrival => "on arrival",
            Self::BeforePrepare => "before Prepare",
            Self::AfterPrepare => "after Prepare",
            Self::BeforeReply => "after commit, before the answer",
        })
    }
}

/// What the dice have in store for a request: the primary that serves it crashes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Doom {
    /// Where.
    pub point: CrashPoint,
    /// The number that was drawn, below the failure rate.
    pub drawn: f64,
}

/// Why a server crashed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum CrashCause {
    /// The dice: the drawn number was below the failure rate.
    Dice { drawn: f64, rate: f64 },
    /// Somebody asked for it.
    Command,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A server's role changed; `view` is the view it is in afterwards.
    RoleChanged { from: Role, to: Role, view: ViewNumber },
    /// A server has heard nothing from `peer` for too long and asks for a view without it.
    Suspected { peer: Member, silent_ms: u64 },
    /// A server knows that the process of `peer` has ended, and asks for a view without it.
    KnownDead { peer: Member },
    /// The metadata server decided.
    ViewChanged { view: Arc<View>, reason: Reason, asked_by: Option<Rank> },
    /// The primary of a new view answers from now on.
    Serving { view: ViewNumber, op: OpNumber },
    /// The primary started to send its state.
    TransferStarted { to: Member, keys: u64 },
    /// The primary started to send what comes after `op`, which the receiver has on its disk.
    CatchUpStarted { to: Member, op: OpNumber, missing: u64 },
    /// The receiver has the whole state, up to `op`.
    TransferDone { to: Member, keys: u64, op: OpNumber },
    /// A server left the view and forgot its state; it starts over as this incarnation.
    Forgot { incarnation: Incarnation },
    /// A write took effect here. Only told to those who ask for detail.
    Applied { op: OpNumber, client: ClientId, seq: Seq },
    /// A server crashed, while serving this request or between requests.
    Crashed { cause: CrashCause, at: Option<(CrashPoint, OpNumber)> },
    /// The dice fell, but this is the last server with the data.
    Spared { drawn: f64 },
    /// A crashed server started again, empty.
    Recovered { incarnation: Incarnation },
    /// The whole cluster was down; this server leads it again with what was on its disk.
    CameBack { op: OpNumber },
    /// A server started, and this was on its disk.
    Restarted { incarnation: Incarnation, op: OpNumber },
    /// What was on a server's disk counts for nothing, for it is damaged: what, and where.
    LogDamaged { what: String },
    /// A disk has failed, or is not to be used, and with it its server ends.
    DiskFailed { what: String },
    /// A server is reading its disk, which takes a while: so much of so many bytes.
    ReadsDisk { read: u64, bytes: u64 },
    /// A client got no answer in time.
    GaveUp { client: ClientId, seq: Seq },
    /// Anything an operator did, in words.
    Operator { what: String },
    /// A client was told that its session has ended; it goes on under another name.
    SessionEnded { client: ClientId, next: ClientId },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoleChanged { from, to, view } => write!(f, "{from} ⇨ {to}, view {view}"),
            Self::Suspected { peer, silent_ms } => {
                write!(f, "suspects server {}: silent for {silent_ms} ms", peer.rank)
            }
            Self::KnownDead { peer } => write!(f, "knows that server {} is dead", peer.rank),
            Self::ViewChanged { view, reason, asked_by: Some(by) } => {
                write!(f, "{view} ({reason}, asked by server {by})")
            }
            Self::ViewChanged { view, reason, asked_by: None } => write!(f, "{view} ({reason})"),
            Self::Serving { view, op } => write!(f, "serves view {view} from op {op}"),
            Self::TransferStarted { to, keys } => write!(f, "sends {keys} key{} to server {}", plural(*keys), to.rank),
            Self::CatchUpStarted { to, op, missing } => {
                let writes = format!("{missing} write{}", plural(*missing));
                write!(f, "server {} has all up to op {op} on its disk, {writes} missing", to.rank)
            }
            Self::TransferDone { to, keys, op } => {
                write!(f, "server {} has the state: {keys} key{}, op {op}", to.rank, plural(*keys))
            }
            Self::Forgot { incarnation } => {
                write!(f, "left the view, forgot everything, now incarnation {incarnation}")
            }
            Self::Applied { op, client, seq } => write!(f, "applied op={op} c{client}#{seq}"),
            Self::Crashed { cause, at } => {
                f.write_str("crashed")?;
                if let Some((point, op)) = at {
                    write!(f, " {point} op={op}")?;
                }
                match cause {
                    CrashCause::Dice { drawn, rate } => write!(f, " (dice {drawn:.2} < {rate:.2})"),
                    CrashCause::Command => Ok(()),
                }
            }
            Self::Spared { drawn } => write!(f, "dice {drawn:.2} spared the last server with the data"),
            Self::Recovered { incarnation } => write!(f, "restarted empty, incarnation {incarnation}"),
            Self::CameBack { op } => write!(f, "leads with what was on its disk, up to op {op}"),
            Self::Restarted { incarnation, op: OpNumber(0) } => {
                write!(f, "restarted with an empty disk, incarnation {incarnation}")
            }
            Self::Restarted { incarnation, op } => {
                write!(f, "restarted with its disk, up to op {op}, incarnation {incarnation}")
            }
            Self::GaveUp { client, seq } => write!(f, "client {client} gave up on request {seq}: outcome unknown"),
            Self::LogDamaged { what } => write!(f, "the log is damaged: {what}"),
            Self::DiskFailed { what } => write!(f, "its disk cannot be used: {what}"),
            Self::ReadsDisk { read, bytes } => {
                write!(f, "reads its disk: {} of {} MB", read / 1_000_000, bytes.div_ceil(1_000_000))
            }
            Self::Operator { what } => f.write_str(what),
            Self::SessionEnded { client, next } => {
                write!(f, "the session of client {client} has ended: it goes on as client {next}")
            }
        }
    }
}

/// What makes a plural of a word: `1 key`, `2 keys`.
#[must_use]
pub fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
