//! What an operator can do to a server or a link. These orders travel beside the protocol's messages
//! and are not subject to the faults that they cause.

use crate::core::load::LoadOrder;
use crate::core::protocol::{CrashPoint, Rank, Rules};
use crate::core::store::Command;
use serde::{Deserialize, Serialize};

/// An order to one rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Control {
    /// Lose your memory and fall silent.
    Crash,
    /// The same, and lose your disk as well.
    Wipe,
    /// As primary: crash at this point of the next request.
    Arm { point: CrashPoint },
    /// Start again now, empty.
    Recover,
    /// Stop, keep your memory.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Drop (or no longer drop) everything you send to `peer`.
    Cut { peer: Rank, cut: bool },
    /// Lose each message you send with this probability.
    Loss { probability: f64 },
    /// Hold back each message you send for this many milliseconds.
    Delay { ms: f64 },
    /// Send each message twice with this probability.
    Duplicate { probability: f64 },
    /// Let each message be overtaken with this probability.
    Reorder { probability: f64 },
    /// All of the network's faults end.
    Heal,
    /// As primary: crash at a request with this probability.
    FailureRate { probability: f64 },
    /// As primary: hand over to a backup.
    Swap,
    /// As metadata server: start over with empty stores, once nobody can answer with the old ones.
    Reset,
    /// The same, whoever may still answer.
    ResetAnyway,
    /// Follow these rules from now on.
    Rules { rules: Rules },
    /// As client: ask for this, all the time; `None`: no more.
    Load { order: Option<LoadOrder> },
    /// As client: ask for this, once.
    Ask { command: Command },
    /// Tell how you are, now.
    Observe,
    /// The cluster ends.
    Leave,
}
