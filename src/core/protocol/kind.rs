//! What sort of message something is, without what it carries: for whoever only tells of messages.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds, and a list of them in the same order.
macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// The sort of a [`Message`](super::Message): its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "they are the messages of the same names")]
        pub enum MessageKind {
            $($kind,)*
        }

        impl MessageKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The name in transcripts, logs and on the screen.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }
        }
    };
}

kinds! {
    Request, Reply, NotPrimary,
    GetView, ViewIs, Announce, Held, Welcome, ChangeView, Confirm,
    Retire, Retired,
    Prepare, PrepareOk, Heartbeat, HeartbeatOk, StartView, StartViewOk, Refused, Handover,
    Join, StartOver, Snapshot, SnapshotOk,
    Relay,
}

impl MessageKind {
    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
