//! Primary/backup replication with a metadata server and leases.

pub mod event;
pub mod message;
pub mod observation;
pub mod time;
pub mod view;

pub use event::{CrashCause, CrashPoint, Event, Role};
pub use message::{Message, Reason, Request, SnapshotPart};
pub use observation::{Flight, KeyView, Observation, ServerStatus};
pub use time::{Time, Timing};
pub use view::{Incarnation, METADATA, Member, Rank, View, ViewNumber};
