//! What travels between ranks.
//!
//! Every message between servers carries the view its sender is in; a receiver in a newer view
//! refuses it and says so ([`Message::Refused`]). Answers also carry the sender's incarnation, so
//! that an answer given in an earlier life counts for nothing.

use super::detour::Relay;
use super::kind::MessageKind;
use super::view::{Incarnation, Member, View, ViewNumber};
use super::{Role, Time};
use crate::core::store::snapshot::CHUNK_BYTES;
use crate::core::store::work::{MESSAGE_UNITS, units_of};
use crate::core::store::{Chunk, ClientId, Command, Finale, LogEntry, OpNumber, Reply, Seq, UnixMs};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub client: ClientId,
    /// The client's number of this request.
    pub seq: Seq,
    /// The client has finished with all requests up to this one.
    pub acked: Seq,
    /// The client's newest unanswered write before this one (0: none). Reads and writes wait for it, so a client's
    /// writes take effect in its order and it reads what it wrote, even when a network reorders them. (A read that
    /// the network loses may still be answered after a later write.)
    pub after: Seq,
    /// The client's epoch: a request from before a `RESET` is not served after it.
    pub epoch: u32,
    /// What is asked; shared with the client, who may have to repeat it.
    pub command: Arc<Command>,
}

/// Why a view was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// All servers are empty and equal: the first view, or the first after a `RESET`.
    Formed,
    /// Nothing was heard from the primary for this many milliseconds.
    PrimarySilent { primary: Member, silent_ms: u64 },
    /// Nothing was heard from a backup for this many milliseconds.
    BackupSilent { backup: Member, silent_ms: u64 },
    /// The primary's process has ended, for certain.
    PrimaryDied { primary: Member },
    /// A backup's process has ended, for certain.
    BackupDied { backup: Member },
    /// A backup was found to have started a new life.
    Restarted { backup: Member },
    /// A server has all the data and may count.
    Joined { member: Member },
    /// `SWAP`: the primary handed over.
    Handover,
    /// Nobody was left; this server has come back with what was on its disk.
    CameBack { holder: Member, from: ViewNumber, op: OpNumber },
}

impl Reason {
    /// Another server leads because the one before is silent, or dead.
    #[must_use]
    pub fn is_failover(&self) -> bool {
        matches!(self, Self::PrimarySilent { .. } | Self::PrimaryDied { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Formed => f.write_str("all servers empty and equal"),
            Self::PrimarySilent { primary: m, silent_ms } | Self::BackupSilent { backup: m, silent_ms } => {
                write!(f, "server {} silent for {silent_ms} ms", m.rank)
            }
            Self::PrimaryDied { primary: m } | Self::BackupDied { backup: m } => write!(f, "server {} is dead", m.rank),
            Self::Restarted { backup } => write!(f, "server {} lost its memory", backup.rank),
            Self::Joined { member } => write!(f, "server {} is up to date", member.rank),
            Self::Handover => f.write_str("handed over on request"),
            Self::CameBack { from, op, .. } => write!(f, "back from disk with op {op} of view {from}"),
        }
    }
}

/// What a server had on its disk when it came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The life that had it.
    pub holder: Member,
    /// The view in which it had it.
    pub view: ViewNumber,
    /// The epoch of that view.
    pub epoch: u32,
    /// The newest write.
    pub op: OpNumber,
}

/// What is to be known of a disk when everybody comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shelf {
    /// What is on it that counts.
    pub held: Option<Held>,
    /// The first and the last life that have written to it since the newest view that is on it; `None` when there is
    /// nothing.
    pub lives: Option<(Member, Member)>,
}

/// What a joining server has on its disk of what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// In which epoch.
    pub epoch: u32,
    /// Up to this write.
    pub op: OpNumber,
    /// That write's time, and the digest after it: whoever took in something else has others.
    pub time: UnixMs,
    /// [`crate::core::store::Store::digest`].
    pub digest: u64,
}

/// One message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Client → primary.
    Request(Request),
    /// Primary → client.
    Reply { client: ClientId, seq: Seq, view: ViewNumber, reply: Reply },
    /// Server → client: ask someone else, see the view if I know one.
    NotPrimary { client: ClientId, seq: Seq, view: Option<Arc<View>> },

    /// Anybody → metadata server: which view is it?
    GetView,
    /// The newest view the sender knows.
    ViewIs { view: Arc<View> },
    /// Server → metadata server, at regular intervals. For the display and for joining only.
    Announce { member: Member, role: Role, view: ViewNumber, op: OpNumber },
    /// Server with a disk → metadata server, as long as it has no part in a view and receives nothing: what was on the
    /// disk.
    Held { member: Member, shelf: Shelf },
    /// Metadata server → server, the answer: the newest view, and whether to join it.
    Welcome { view: Option<Arc<View>>, recruit: bool },
    /// Member → metadata server: make `to` the view, if `to` follows the current one. Counts only as the answer to
    /// [`Message::Confirm`]: with the time of that question.
    ChangeView { to: Arc<View>, reason: Reason, confirms: Option<Time> },
    /// Metadata server → who asked for a view: it could be had. Do you still live, and will you lead it? `asked` is a
    /// time of the metadata server's clock, which comes back in the answer.
    Confirm { to: Arc<View>, asked: Time },

    /// Metadata server → member: `RESET` number `reset` is to end the epoch of this view. Serve nobody, and grant
    /// nothing, until there is another view; or, with `off`, go on: it came to nothing.
    Retire { view: ViewNumber, reset: u64, off: bool },
    /// Member → metadata server: I do not serve any more; what I granted holds for so long.
    Retired { view: ViewNumber, incarnation: Incarnation, reset: u64, holds: Duration },

    /// Primary → backup: the next write, and how far everything is committed.
    Prepare { view: ViewNumber, commit: OpNumber, entry: Arc<LogEntry> },
    /// Backup → primary: I have everything up to `op`.
    PrepareOk { view: ViewNumber, incarnation: Incarnation, op: OpNumber },
    /// Primary → backup: I am here. The round trip between us is so long (zero: of no account).
    Heartbeat { view: ViewNumber, commit: OpNumber, sent: Time, round_trip: Duration },
    /// Backup → primary: a lease of this length that starts when the heartbeat was `sent`.
    HeartbeatOk { view: ViewNumber, incarnation: Incarnation, op: OpNumber, sent: Time, lease: Duration },
    /// New view: drop what lies beyond your commit number and take this tail instead.
    StartView { view: Arc<View>, commit: OpNumber, tail: Vec<Arc<LogEntry>>, sent: Time },
    /// Backup → primary: done, I have everything up to `op`; also a lease as in `HeartbeatOk`.
    StartViewOk { view: ViewNumber, incarnation: Incarnation, op: OpNumber, sent: Time, lease: Duration },
    /// To a sender in an older view: there is a newer one.
    Refused { view: Arc<View> },
    /// Primary → chosen backup: everything is committed, I serve no more, you take over.
    Handover { view: ViewNumber, op: OpNumber },

    /// Joining server → primary: send me everything; or, with an offer, what comes after that.
    Join { member: Member, offer: Option<Offer> },
    /// Primary → joining server: this incarnation has had its transfer; forget it and come back as a new one.
    /// (One transfer a life, so that an acknowledgement can never be taken for that of another transfer.)
    StartOver { view: ViewNumber, incarnation: Incarnation },
    /// Primary → joining server, this life of it: part `index` of transfer `transfer`. (A later life that took it for
    /// its own could not take what it has asked for itself, and would have to forget again, and again.)
    Snapshot { view: ViewNumber, to: Incarnation, transfer: u64, index: u64, part: Arc<SnapshotPart> },
    /// Joining server → primary: I have all parts before `next`.
    SnapshotOk { view: ViewNumber, incarnation: Incarnation, transfer: u64, next: u64 },

    /// One of the messages above by way of another server: see [`super::detour`].
    Relay(Box<Relay>),
}

/// One message's worth of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotPart {
    /// Some entries.
    Chunk(Chunk),
    /// The end.
    Finale(Box<Finale>),
    /// Writes that the other one has not got.
    Missing(Vec<Arc<LogEntry>>),
    /// The end of those.
    NoneMissing,
}

impl SnapshotPart {
    /// The state is whole with it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finale(_) | Self::NoneMissing)
    }

    /// It is of those for who has the rest on its disk.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::NoneMissing)
    }
}

impl Message {
    /// What sort of message it is.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Request(_) => MessageKind::Request,
            Self::Reply { .. } => MessageKind::Reply,
            Self::NotPrimary { .. } => MessageKind::NotPrimary,
            Self::GetView => MessageKind::GetView,
            Self::ViewIs { .. } => MessageKind::ViewIs,
            Self::Announce { .. } => MessageKind::Announce,
            Self::Held { .. } => MessageKind::Held,
            Self::Welcome { .. } => MessageKind::Welcome,
            Self::ChangeView { .. } => MessageKind::ChangeView,
            Self::Confirm { .. } => MessageKind::Confirm,
            Self::Retire { .. } => MessageKind::Retire,
            Self::Retired { .. } => MessageKind::Retired,
            Self::Prepare { .. } => MessageKind::Prepare,
            Self::PrepareOk { .. } => MessageKind::PrepareOk,
            Self::Heartbeat { .. } => MessageKind::Heartbeat,
            Self::HeartbeatOk { .. } => MessageKind::HeartbeatOk,
            Self::StartView { .. } => MessageKind::StartView,
            Self::StartViewOk { .. } => MessageKind::StartViewOk,
            Self::Refused { .. } => MessageKind::Refused,
            Self::Handover { .. } => MessageKind::Handover,
            Self::Join { .. } => MessageKind::Join,
            Self::StartOver { .. } => MessageKind::StartOver,
            Self::Snapshot { .. } => MessageKind::Snapshot,
            Self::SnapshotOk { .. } => MessageKind::SnapshotOk,
            Self::Relay(_) => MessageKind::Relay,
        }
    }

    /// The name in transcripts, logs and on the screen.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// What it costs to send it, or to take it in, in units of [`crate::core::store::work`].
    #[must_use]
    pub fn units(&self) -> u64 {
        let (messages, bytes) = match self {
            Self::Request(request) => (1, request.command.size_bytes()),
            Self::Reply { reply, .. } => (1, reply.size_bytes()),
            Self::Prepare { entry, .. } => (1, entry.command.size_bytes()),
            Self::StartView { tail, .. } => {
                (1 + tail.len() as u64, tail.iter().map(|entry| entry.command.size_bytes()).sum())
            }
            Self::Snapshot { part, .. } => match &**part {
                SnapshotPart::Chunk(chunk) => (1 + chunk.len() as u64, CHUNK_BYTES),
                SnapshotPart::Finale(finale) => (1 + finale.rest.len() as u64, CHUNK_BYTES),
                SnapshotPart::Missing(entries) => {
                    (1 + entries.len() as u64, entries.iter().map(|entry| entry.command.size_bytes()).sum())
                }
                SnapshotPart::NoneMissing => (1, 0),
            },
            _ => (1, 0),
        };
        messages * MESSAGE_UNITS + units_of(bytes)
    }

    /// True for what the metadata server takes in; what else comes to rank 0 is for its client.
    #[must_use]
    pub fn is_for_metadata(&self) -> bool {
        matches!(
            self,
            Self::GetView | Self::Announce { .. } | Self::Held { .. } | Self::ChangeView { .. } | Self::Retired { .. }
        )
    }

    /// True for what is sent at regular intervals whether or not anything happens.
    #[must_use]
    pub fn is_background(&self) -> bool {
        match self {
            Self::Heartbeat { .. }
            | Self::HeartbeatOk { .. }
            | Self::Announce { .. }
            | Self::Held { .. }
            | Self::Welcome { .. } => true,
            Self::Relay(relay) => relay.carried().is_background(),
            _ => false,
        }
    }
}

impl fmt::Display for Message {
    /// The common notation: `Prepare op=7 commit=6 PUT a 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Request(r) => write!(f, " c{}#{} {}", r.client, r.seq, r.command),
            Self::Reply { client, seq, reply, .. } => write!(f, " c{client}#{seq} {reply}"),
            Self::NotPrimary { client, seq, .. } => write!(f, " c{client}#{seq}"),
            Self::GetView => Ok(()),
            Self::ViewIs { view } | Self::Refused { view } => write!(f, " {view}"),
            Self::Announce { member, role, .. } => write!(f, " {member} {role}"),
            Self::Held { member, shelf: Shelf { held: Some(Held { view, op, .. }), .. } } => {
                write!(f, " {member} view={view} op={op}")
            }
            Self::Held { member, .. } => write!(f, " {member} nothing"),
            Self::Welcome { view: Some(view), .. } => write!(f, " {view}"),
            Self::Welcome { view: None, .. } => f.write_str(" no view"),
            Self::ChangeView { to, reason, confirms: None } => write!(f, " {to} ({reason})"),
            Self::ChangeView { to, .. } => write!(f, " {to} (confirmed)"),
            Self::Confirm { to, .. } => write!(f, " {to}"),
            Self::Retire { reset, off, .. } => write!(f, " reset={reset}{}", if *off { " off" } else { "" }),
            Self::Retired { reset, .. } => write!(f, " reset={reset}"),
            Self::Prepare { commit, entry, .. } => {
                write!(f, " op={} commit={commit} c{}#{} {}", entry.op, entry.client, entry.seq, entry.command)
            }
            Self::PrepareOk { op, .. } => write!(f, " op={op}"),
            Self::HeartbeatOk { op, lease, .. } | Self::StartViewOk { op, lease, .. } => {
                write!(f, " op={op} lease={}ms", lease.as_millis())
            }
            Self::Heartbeat { commit, round_trip, .. } => {
                write!(f, " commit={commit}")?;
                if round_trip.is_zero() { Ok(()) } else { write!(f, " round-trip={}ms", round_trip.as_millis()) }
            }
            Self::StartView { view, commit, tail, .. } => write!(f, " {view} commit={commit} tail={}", tail.len()),
            Self::Handover { op, .. } => write!(f, " op={op}"),
            Self::Join { member, offer: None } => write!(f, " {member}"),
            Self::Join { member, offer: Some(offer) } => write!(f, " {member} has op={}", offer.op),
            Self::Snapshot { index, part, .. } => match &**part {
                SnapshotPart::Chunk(chunk) => write!(f, " part={index} keys={}", chunk.pieces.len()),
                SnapshotPart::Finale(finale) => write!(f, " part={index} last op={}", finale.op),
                SnapshotPart::Missing(entries) => write!(f, " part={index} writes={}", entries.len()),
                SnapshotPart::NoneMissing => write!(f, " part={index} last"),
            },
            Self::StartOver { incarnation, .. } => write!(f, " not as incarnation {incarnation}"),
            Self::SnapshotOk { next, .. } => write!(f, " next={next}"),
            Self::Relay(relay) => write!(f, " {relay}"),
        }
    }
}
