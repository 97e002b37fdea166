//! `CONFIG`: a fixed table of what clients and tools ask for.
//!
//! Most of it is only remembered: it is there so that a program that sets `save ""` or asks for `appendonly` goes on.
//! What a door obeys is said beside it.

use super::rows::{DoorAnswer, Visit};
use crate::cluster::DoorWord;
use crate::core::store::{Bytes, DATABASES, KeyPattern};

use std::collections::BTreeMap;
use std::time::Duration;

/// The most connections, unless `CONFIG SET maxclients` says something else.
const CLIENTS_MAX: usize = 20_000;
/// A value is no longer than this, in bytes.
const VALUE_BYTES_MAX: usize = 512;
/// Whose value is a number.
const NUMBERS: &[&str] =
    &["maxclients", "timeout", "slowlog-log-slower-than", "slowlog-max-len", "hz", "tcp-keepalive"];
/// Whose value is yes or no.
const SWITCHES: &[&str] = &["appendonly", "activerehashing", "lazyfree-lazy-user-del", "lazyfree-lazy-user-flush"];
/// What cannot be changed while the door is open.
const FIXED: &[&str] = &["databases", "port", "bind", "requirepass", "dir", "cluster-enabled"];
/// What the servers obey, and know from their start.
const MAX_MEMORY: &str = "maxmemory";
/// The units of sizes, as Redis has them.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
];
/// Everything else, as it is at first.
const TABLE: &[(&str, &str)] = &[
    ("save", ""),
    ("appendonly", "no"),
    ("appendfsync", "everysec"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("timeout", "0"),
    ("tcp-keepalive", "300"),
    ("databases", "16"),
    ("cluster-enabled", "no"),
    ("notify-keyspace-events", ""),
    ("slowlog-log-slower-than", "10000"),
    ("slowlog-max-len", "128"),
    ("latency-monitor-threshold", "0"),
    ("hz", "10"),
    ("dir", "/"),
    ("activerehashing", "yes"),
    ("active-expire-effort", "1"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("lua-time-limit", "5000"),
    ("busy-reply-threshold", "5000"),
    ("proto-max-bulk-len", "16777216"),
    ("client-query-buffer-limit", "67108864"),
    ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
    ("list-max-listpack-size", "-2"),
    ("list-max-ziplist-size", "-2"),
    ("list-compress-depth", "0"),
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("hash-max-ziplist-entries", "512"),
    ("hash-max-ziplist-value", "64"),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("zset-max-ziplist-entries", "128"),
    ("zset-max-ziplist-value", "64"),
    ("min-replicas-to-write", "0"),
    ("close-on-replica-write", "yes"),
    ("rdb-key-save-delay", "0"),
    ("loglevel", "notice"),
];

/// What `CONFIG` knows, and the password.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whoever comes has to give it.
    pub password: Option<Bytes>,
    values: BTreeMap<String, String>,
}

impl Settings {
    /// As it is at first.
    #[must_use]
    pub fn new(password: Option<Bytes>, port: u16, address: &str) -> Self {
        let own = [
            ("maxclients".to_owned(), CLIENTS_MAX.to_string()),
            ("port".to_owned(), port.to_string()),
            ("bind".to_owned(), address.to_owned()),
        ];
        let values = TABLE.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(own).collect();
        Self { password, values }
    }

    /// The same in a cluster whose servers store this many bytes at most (0: as many as they can).
    #[must_use]
    pub fn with_max_memory(mut self, bytes: u64) -> Self {
        self.values.insert(MAX_MEMORY.to_owned(), bytes.to_string());
        self
    }

    /// What was set at another door counts here too.
    pub fn take_on(&mut self, pairs: Vec<(String, String)>) {
        let known = pairs.into_iter().filter(|(name, value)| self.check(name, value).is_ok());
        let known: Vec<(String, String)> = known.collect();
        self.values.extend(known);
    }

    /// `maxmemory`, in bytes; 0: without a limit.
    #[must_use]
    pub fn max_memory(&self) -> u64 {
        self.number(MAX_MEMORY)
    }

    fn number(&self, name: &str) -> u64 {
        self.values.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// `maxclients`.
    #[must_use]
    pub fn max_clients(&self) -> usize {
        usize::try_from(self.number("maxclients")).unwrap_or(CLIENTS_MAX)
    }

    /// `timeout`: an idle connection ends after this long.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        Some(self.number("timeout")).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn check(&self, name: &str, value: &str) -> Result<(), String> {
        let refused = |why: &str| Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"));
        if FIXED.contains(&name) {
            return refused("can't set immutable config");
        }
        if !self.values.contains_key(name) {
            return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"));
        }
        if NUMBERS.contains(&name) && value.parse::<i64>().is_err() {
            return refused("argument couldn't be parsed into an integer");
        }
        if name == "notify-keyspace-events" && !value.is_empty() {
            return refused("keyspace notifications are not supported here");
        }
        if name == MAX_MEMORY {
            return match memory(value) {
                None => refused("argument must be a memory value"),
                Some(bytes) if bytes != self.max_memory() => {
                    refused("the servers have this limit from their start: --max-memory SIZE")
                }
                Some(_) => Ok(()),
            };
        }
        if SWITCHES.contains(&name) && !matches!(value, "yes" | "no") {
            return refused("argument must be 'yes' or 'no'");
        }
        if name == "maxclients" && !(1..=CLIENTS_MAX as i64).contains(&value.parse().unwrap_or(0)) {
            return refused(&format!("argument must be between 1 and {CLIENTS_MAX} inclusive"));
        }
        if name == "timeout" && value.parse::<u32>().is_err() {
            return refused("argument must be between 0 and 2147483647 inclusive");
        }
        if value.len() > VALUE_BYTES_MAX {
            return refused("argument is too long");
        }
        Ok(())
    }
}

/// A size such as `100mb`, in bytes.
fn memory(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// `CONFIG`.
pub(super) fn config(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let sub = visit.text(1).to_ascii_lowercase();
    match (sub.as_str(), visit.words.len()) {
        ("get", 3..) => get(visit),
        ("set", 4..) if visit.words.len().is_multiple_of(2) => set(visit),
        ("resetstat", 2) => {
            let now = visit.now;
            visit.hall.counters.reset(now);
            visit.hall.others.tell(|| DoorWord::ResetStats);
            visit.ok()
        }
        ("rewrite", 2) => Err("ERR The server is running without a config file".into()),
        ("get" | "set" | "resetstat" | "rewrite", _) => {
            Err(format!("ERR wrong number of arguments for 'config|{sub}' command"))
        }
        _ => Err(format!("ERR unknown subcommand '{}'. Try CONFIG HELP.", visit.text(1))),
    }
}

fn get(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let patterns: Vec<KeyPattern> =
        visit.words[2..].iter().map(|pattern| KeyPattern::new(&Bytes::from(pattern.to_ascii_lowercase()))).collect();
    let is_asked = |name: &str| patterns.iter().any(|pattern| pattern.matches(&Bytes::from(name)));
    let settings = &visit.hall.settings;
    let found: Vec<(String, String)> = settings
        .values
        .iter()
        .filter(|(name, _)| is_asked(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    visit.say(|out| {
        out.map(found.len());
        for (name, value) in &found {
            out.bulk(name);
            out.bulk(value);
        }
    })
}

fn set(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let pairs: Vec<(String, String)> =
        (2..visit.words.len()).step_by(2).map(|at| (visit.text(at).to_ascii_lowercase(), visit.text(at + 1))).collect();
    for (at, (name, value)) in pairs.iter().enumerate() {
        visit.hall.settings.check(name, value)?;
        if pairs[..at].iter().any(|(before, _)| before == name) {
            return Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - duplicate parameter"));
        }
    }
    // What was accepted as the limit of memory is what it was, in other words.
    let pairs: Vec<(String, String)> = pairs.into_iter().filter(|(name, _)| name != MAX_MEMORY).collect();
    visit.hall.others.tell(|| DoorWord::Settings(pairs.clone()));
    visit.hall.settings.values.extend(pairs);
    visit.ok()
}

const _: () = assert!(DATABASES == 16, "CONFIG GET databases says so");
