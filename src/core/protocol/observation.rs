//! What a rank reports to the console: its state, the events since the last report, and a sample of
//! the messages it sent. Bounded in size and in rate; under load the sample is a sample, and says so.

use super::view::{Incarnation, Rank, ViewNumber};
use super::{Event, MessageKind, Role, Time};
use crate::core::store::{Bytes, OpNumber};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most events in one report; further ones are counted in [`Observation::events_dropped`].
pub const OBSERVED_EVENTS_MAX: usize = 64;
/// The most messages told one by one in one report; further ones only count.
pub const OBSERVED_FLIGHTS_MAX: usize = 24;
/// The most receipts told one by one in one report.
pub const OBSERVED_RECEIPTS_MAX: usize = 24;
/// The most heartbeats in one report: those of an idle interval.
pub const OBSERVED_BEATS_MAX: usize = 32;
/// The most changed keys in one report.
pub const OBSERVED_KEYS_MAX: usize = 32;
/// Keys and values are cut to this many bytes for display.
pub const OBSERVED_BYTES_MAX: usize = 64;
/// In the long run reports are sent at most this often; a few may follow each other at once.
pub const OBSERVATION_INTERVAL_MS: u64 = 33;
/// When nothing happens, a report is sent this often all the same: it carries the lease and proves life.
pub const OBSERVATION_IDLE_INTERVAL_MS: u64 = 250;

/// One report of one rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Whose report.
    pub rank: Rank,
    /// Its operating system process.
    pub pid: u32,
    /// When it was made, by the sender's clock.
    pub at: Time,
    /// The server's state; `None` for ranks that are no server.
    pub server: Option<ServerStatus>,
    /// What happened since the last report, oldest first.
    pub events: Vec<(Time, Event)>,
    /// Events that did not fit.
    pub events_dropped: u64,
    /// A sample of the messages sent since the last report, oldest first.
    pub flights: Vec<Flight>,
    /// Messages sent that are not in the sample.
    pub flights_dropped: u64,
    /// A sample of the messages taken in since the last report, but for those of the background, oldest first.
    pub receipts: Vec<Receipt>,
    /// When heartbeats were sent since the last report (as many as fit), oldest first.
    pub beats: Vec<Time>,
    /// Keys that changed since the last report (a sample under load), oldest first.
    pub keys: Vec<KeyView>,
    /// All keys are gone (crash, reset): forget what was shown before `keys`.
    pub keys_cleared: bool,
    /// How long the turns of the rank's loop take; `None` where time is virtual.
    pub turns: Option<TurnTimes>,
}

impl Observation {
    /// A report in which nothing has happened.
    #[must_use]
    pub fn empty(rank: Rank, pid: u32, at: Time) -> Self {
        Self {
            rank,
            pid,
            at,
            server: None,
            events: Vec::new(),
            events_dropped: 0,
            flights: Vec::new(),
            flights_dropped: 0,
            receipts: Vec::new(),
            beats: Vec::new(),
            keys: Vec::new(),
            keys_cleared: false,
            turns: None,
        }
    }
}

/// How long the turns of a rank's loop took in the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TurnTimes {
    /// The longest.
    pub longest: Duration,
    /// Of those in which something was done, all but one in a hundred took no longer.
    pub p99: Duration,
}

/// The state of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// In one word.
    pub role: Role,
    /// Stopped by an operator; its role is what it believes.
    pub paused: bool,
    /// Which life.
    pub incarnation: Incarnation,
    /// The newest view it knows (0: none).
    pub view: ViewNumber,
    /// The newest write in its log.
    pub op: OpNumber,
    /// The newest write it knows to be committed, and has applied.
    pub commit: OpNumber,
    /// How many keys it holds.
    pub keys: u64,
    /// [`crate::core::store::Store::digest`].
    pub digest: u64,
    /// As primary: how much longer it may answer reads, and the full length of a lease. `None` when
    /// it needs no lease (no backups) or is not primary.
    pub lease: Option<(Duration, Duration)>,
    /// A peer that is silent for longer is suspected: it follows how late words are and how long they travel. `None`
    /// when it has nobody to suspect.
    pub silence: Option<Duration>,
    /// Whom it should hear, and has not heard directly for a while: the metadata server, and of its view the primary
    /// or, as primary, the backups.
    pub silent: Vec<Rank>,
    /// As primary: it answers clients (the take-over is complete).
    pub serving: bool,
    /// As joining server: keys received so far, and how many there are in all.
    pub transfer: Option<(u64, u64)>,
    /// Down: restarts by itself after this long (`None`: only by command).
    pub back_in: Option<Duration>,
    /// The probability with which a request makes it crash.
    pub failure_rate: f64,
    /// Frames from peers that could not be understood and were dropped.
    pub garbage: u64,
    /// Its disk, if it has one.
    pub disk: Option<DiskStatus>,
}

/// What a server has on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskStatus {
    /// The newest write that was written to it: who kills the process does not take it away.
    pub written: OpNumber,
    /// The newest write that was synced: a power cut does not take it away.
    pub synced: OpNumber,
    /// How large its files are, in bytes.
    pub bytes: u64,
    /// It has failed, and is not used any more.
    pub failed: bool,
    /// It is being read: this many bytes so far, of this many.
    pub reading: Option<(u64, u64)>,
}

/// One message that was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flight {
    /// When, by the sender's clock.
    pub at: Time,
    /// The receiver.
    pub to: Rank,
    /// What sort of message.
    pub kind: MessageKind,
    /// The message in the common notation.
    pub text: String,
    /// A network fault swallowed it.
    pub lost: bool,
}

/// One message that was taken in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// When, by the receiver's clock.
    pub at: Time,
    /// Who sent it.
    pub from: Rank,
    /// What sort of message.
    pub kind: MessageKind,
    /// The message in the common notation, by which its departure is known.
    pub text: String,
}

/// A key and its value, cut for display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyView {
    /// The key's first bytes.
    pub key: Bytes,
    /// The value's first bytes; `None` when the key is gone.
    pub value: Option<Bytes>,
    /// The value's whole length in bytes.
    pub value_bytes: u64,
    /// When it expires.
    pub expires: Option<Time>,
    /// The write that stored it (or, for a key that is gone, the newest write).
    pub op: OpNumber,
}
