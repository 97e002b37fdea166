//! What a run has met: which faults were injected, and into which situations they led the cluster.
//!
//! A fuzzer that never meets a situation proves nothing about it, so every situation has a name here and is
//! listed with its count, also when that is zero.

use std::fmt;
use std::time::Duration;

/// A closed list of things that are counted, each with a name.
macro_rules! counted {
    ($(#[$doc:meta])* $list:ident { $($(#[$about:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $list {
            $(#[doc = $name] $(#[$about])* $variant,)*
        }

        impl $list {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the table.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl fmt::Display for $list {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

counted! {
    /// What goes wrong on purpose.
    Fault {
        Crash = "crash",
        Pause = "pause",
        Resume = "resume",
        CutOneWay = "cut one way",
        CutBothWays = "cut both ways",
        CutMetadata = "cut from the metadata server",
        Heal = "heal the network",
        Loss = "loss",
        Delay = "delay",
        Duplication = "duplication",
        Reordering = "reordering",
        Swap = "swap",
        Reset = "reset",
        Clocks = "clocks of different rates",
        Stall = "rank without a turn",
        Slow = "rank with few turns",
        Hold = "turn held up in its middle",
        Sleep = "host asleep",
        ClockAhead = "clock set ahead on waking",
        Stray = "messages late or again",
        Work = "turns that take time",
        SlowWork = "turns on a slow machine",
        KillAll = "everything killed",
        PowerCut = "power cut",
        DiskSlow = "disk that hangs",
        DiskFails = "disk that fails",
        DiskDamage = "damage to a log",
        Wipe = "memory and disk lost",
    }
}

counted! {
    /// Where it led to.
    Situation {
        Formed = "view of empty servers formed",
        Failover = "primary replaced",
        BegunWithTail = "view begun with uncommitted writes",
        FalseSuspicion = "primary replaced that was alive",
        BackupRemoved = "silent backup removed",
        RestartedRemoved = "restarted backup removed",
        Joined = "server joined",
        HandedOver = "primary handed over",
        Suspicion = "suspicion",
        DeathProven = "death of a member proven",
        TwoAskers = "two servers asked for the same view",
        LateChangeView = "request for a view came too late",
        CrashOnArrival = "crash on arrival of a request",
        CrashBeforePrepare = "crash before Prepare",
        CrashAfterPrepare = "crash after Prepare",
        CrashBeforeReply = "crash before the answer",
        CrashBetween = "crash between requests",
        Spared = "dice spared the last server",
        TransferStarted = "transfer started",
        TransferDone = "transfer done",
        LongTransfer = "transfer of many parts",
        WriteDuringTransfer = "write during a transfer",
        JoinInterrupted = "joining server crashed",
        JoinFailedOver = "primary replaced during a join",
        IdleRecruited = "idle server recruited",
        Forgot = "server forgot its state",
        Refused = "message of an older view refused",
        WrongServer = "request to a server that is not primary",
        RepeatedAnswer = "repeated request answered from the client table",
        RepeatedElsewhere = "repeated request answered by another primary",
        PrepareOvertaken = "Prepare overtaken by a later one",
        ReadWithoutLease = "read waited for a lease",
        ZombieWoke = "replaced primary woke up",
        Unknown = "outcome unknown",
        CameBack = "all were down and came back from their disks",
        TornEnd = "torn end of a log",
        DamageTold = "damaged log told",
        SessionSilent = "session ended after a silence",
        SessionLeft = "session ended by its client",
        SessionTold = "client told that its session has ended",
    }
}

impl Fault {
    /// Only clusters with disks meet it.
    #[must_use]
    pub fn is_of_disks(self) -> bool {
        self >= Self::KillAll
    }
}

impl Situation {
    /// Only clusters with disks meet it, or those whose sessions end.
    #[must_use]
    pub fn is_special(self) -> bool {
        self >= Self::CameBack
    }
}

/// Counts of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    faults: Vec<u64>,
    situations: Vec<u64>,
    /// The longest that a turn has worked, at the pace of an ordinary machine.
    pub longest_turn: Duration,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            faults: vec![0; Fault::ALL.len()],
            situations: vec![0; Situation::ALL.len()],
            longest_turn: Duration::ZERO,
        }
    }
}

impl Coverage {
    /// A fault was injected.
    pub fn inject(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// A situation was met.
    pub fn meet(&mut self, situation: Situation) {
        self.situations[situation as usize] += 1;
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Coverage) {
        let pairs = self.faults.iter_mut().zip(&other.faults).chain(self.situations.iter_mut().zip(&other.situations));
        pairs.for_each(|(mine, theirs)| *mine += theirs);
        self.longest_turn = self.longest_turn.max(other.longest_turn);
    }

    /// Every fault with its count.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.iter().copied().zip(self.faults.iter().copied())
    }

    /// Every situation with its count.
    pub fn situations(&self) -> impl Iterator<Item = (Situation, u64)> + '_ {
        Situation::ALL.iter().copied().zip(self.situations.iter().copied())
    }

    /// How often a situation was met.
    #[must_use]
    pub fn count(&self, situation: Situation) -> u64 {
        self.situations[situation as usize]
    }
}
