//! What `STATUS` says in line mode, read the way a script would read it.

use rustix::process::Pid;
use std::fmt;

/// The answer to one `STATUS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub view: u64,
    pub primary: Option<u32>,
    pub backups: Vec<u32>,
    /// One for each rank, in order.
    pub ranks: Vec<RankLine>,
    /// Why nobody is served, when nobody is.
    pub why: Option<String>,
}

/// A line about one rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankLine {
    pub rank: u32,
    pub pid: i32,
    pub role: String,
    /// For servers.
    pub server: Option<ServerPart>,
    /// For servers with a disk.
    pub disk: Option<DiskPart>,
    /// How long the turns of its loop take.
    pub turns: Option<TurnPart>,
    /// The silence after which it suspects its peers, in milliseconds.
    pub silence_ms: Option<u64>,
}

/// The part of the line that only servers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerPart {
    pub keys: u64,
    pub op: u64,
    pub incarnation: u64,
}

/// The part of the line about the disk: the newest writes that were written and synced, and the bytes of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskPart {
    pub written: u64,
    pub synced: u64,
    pub bytes: u64,
    pub failed: bool,
}

/// The part of the line about turns: the longest of the last seconds, and what all but a hundredth of them took, in
/// milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnPart {
    pub max: Tenths,
    pub p99: Tenths,
}

/// A number with one decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenths(pub u64);

impl Tenths {
    fn read(text: &str) -> Option<Self> {
        let (whole, tenth) = text.split_once('.')?;
        Some(Self(whole.parse::<u64>().ok()? * 10 + tenth.parse::<u64>().ok().filter(|tenth| *tenth < 10)?))
    }
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl Status {
    /// Reads the whole answer; panics when it is not exactly in the stable format.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let status = read(text).unwrap_or_else(|| panic!("no STATUS:\n{text}"));
        assert_eq!(status.to_string(), text, "not exactly the stable format");
        status
    }

    pub fn role(&self, rank: u32) -> &str {
        &self.rank(rank).role
    }

    pub fn server(&self, rank: u32) -> ServerPart {
        self.rank(rank).server.unwrap_or_else(|| panic!("rank {rank} is no server:\n{self}"))
    }

    pub fn disk(&self, rank: u32) -> DiskPart {
        self.rank(rank).disk.unwrap_or_else(|| panic!("rank {rank} has no disk:\n{self}"))
    }

    pub fn pid(&self, rank: u32) -> i32 {
        self.rank(rank).pid
    }

    /// The process of this rank, to be sent signals.
    pub fn process(&self, rank: u32) -> Pid {
        Pid::from_raw(self.pid(rank)).expect("STATUS names processes")
    }

    fn rank(&self, rank: u32) -> &RankLine {
        self.ranks.iter().find(|line| line.rank == rank).unwrap_or_else(|| panic!("no rank {rank}:\n{self}"))
    }

    /// Whether every server is in the view, in a living process.
    pub fn is_whole(&self) -> bool {
        let members = self.primary.iter().chain(&self.backups);
        members.count() == self.ranks.iter().filter(|line| line.server.is_some()).count()
            && self.ranks.iter().all(|line| line.role != "DEAD")
            && self.primary.iter().chain(&self.backups).all(|rank| ["PRIMARY", "BACKUP"].contains(&self.role(*rank)))
    }

    /// Whether this server is the primary and these are its backups, all of them by role as well.
    pub fn is_led_by(&self, primary: u32, backups: &[u32]) -> bool {
        self.primary == Some(primary)
            && self.role(primary) == "PRIMARY"
            && self.backups == backups
            && backups.iter().all(|rank| self.role(*rank) == "BACKUP")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let primary = self.primary.map_or("none".to_owned(), |rank| rank.to_string());
        let backups: Vec<_> = self.backups.iter().map(u32::to_string).collect();
        let backups = if backups.is_empty() { "none".to_owned() } else { backups.join(",") };
        write!(f, "view {} primary {primary} backups {backups}", self.view)?;
        for line in &self.ranks {
            write!(f, "\nrank {} pid {} role {}", line.rank, line.pid, line.role)?;
            if let Some(ServerPart { keys, op, incarnation }) = line.server {
                write!(f, " keys {keys} op {op} incarnation {incarnation}")?;
            }
            if let Some(DiskPart { written, synced, bytes, failed }) = line.disk {
                write!(f, " disk-written {written} disk-synced {synced} disk-bytes {bytes}")?;
                f.write_str(if failed { " disk-failed" } else { "" })?;
            }
            if let Some(TurnPart { max, p99 }) = line.turns {
                write!(f, " turn-max-ms {max} turn-p99-ms {p99}")?;
            }
            if let Some(silence) = line.silence_ms {
                write!(f, " silence-ms {silence}")?;
            }
        }
        if let Some(why) = &self.why {
            write!(f, "\nwhy {why}")?;
        }
        Ok(())
    }
}

fn read(text: &str) -> Option<Status> {
    let (text, why) = match text.split_once("\nwhy ") {
        Some((text, why)) => (text, Some(why.to_owned())),
        None => (text, None),
    };
    let mut lines = text.lines();
    let first: Vec<_> = lines.next()?.split(' ').collect();
    let ["view", view, "primary", primary, "backups", backups] = first[..] else { return None };
    let backups = match backups {
        "none" => Vec::new(),
        list => list.split(',').map(|rank| rank.parse().ok()).collect::<Option<_>>()?,
    };
    let primary = if primary == "none" { None } else { Some(primary.parse().ok()?) };
    let ranks = lines.map(read_rank).collect::<Option<_>>()?;
    Some(Status { view: view.parse().ok()?, primary, backups, ranks, why })
}

fn read_rank(line: &str) -> Option<RankLine> {
    let words: Vec<_> = line.split(' ').collect();
    let (words, silence_ms) = match &words[..] {
        [words @ .., "silence-ms", silence] => (words, Some(silence.parse().ok()?)),
        words => (words, None),
    };
    let (words, turns) = match words {
        [words @ .., "turn-max-ms", max, "turn-p99-ms", p99] => {
            (words, Some(TurnPart { max: Tenths::read(max)?, p99: Tenths::read(p99)? }))
        }
        words => (words, None),
    };
    let (words, failed) = match words {
        [words @ .., "disk-failed"] => (words, true),
        words => (words, false),
    };
    let (words, disk) = match words {
        [words @ .., "disk-written", written, "disk-synced", synced, "disk-bytes", bytes] => {
            let [written, synced, bytes] = [written, synced, bytes].map(|number| number.parse().ok());
            (words, Some(DiskPart { written: written?, synced: synced?, bytes: bytes?, failed }))
        }
        _ if failed => return None,
        words => (words, None),
    };
    let ["rank", rank, "pid", pid, "role", role, server @ ..] = words else { return None };
    let server = match server {
        [] => None,
        ["keys", keys, "op", op, "incarnation", incarnation] => {
            Some(ServerPart { keys: keys.parse().ok()?, op: op.parse().ok()?, incarnation: incarnation.parse().ok()? })
        }
        _ => return None,
    };
    Some(RankLine {
        rank: rank.parse().ok()?,
        pid: pid.parse().ok()?,
        role: (*role).to_owned(),
        server,
        disk,
        turns,
        silence_ms,
    })
}
