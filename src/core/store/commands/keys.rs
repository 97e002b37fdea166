//! What can be done with a key of any kind: remove, rename, expire, list.

use super::super::state::UnixMs;
use super::super::value::ValueKind;
use super::super::{Bytes, Db, KeyPattern, Reply, StoreError, StoreView, Transaction};
use super::args::{integer, is};
use super::{ALL_KEYS, CommandResult, NO_KEY, ONE_KEY, Run::Read, Run::Write, TWO_KEYS, TableLine};

pub(super) const ROWS: &[TableLine] = &[
    ("DEL", -2, Write(del), "", ALL_KEYS, "key [key ...]", "Remove keys"),
    ("DELETE", 2, Write(del), "", ONE_KEY, "key", "Remove a key"),
    ("UNLINK", -2, Write(del), "fast", ALL_KEYS, "key [key ...]", "Remove keys"),
    ("EXISTS", -2, Read(exists), "fast", ALL_KEYS, "key [key ...]", "How many of these keys there are"),
    ("TOUCH", -2, Read(exists), "fast", ALL_KEYS, "key [key ...]", "How many of these keys there are"),
    ("TYPE", 2, Read(type_of), "fast", ONE_KEY, "key", "The kind of a key's value"),
    ("OBJECT", -3, Read(object), "", (2, 2, 1), "ENCODING key", "How a value is stored"),
    ("VERSION", 2, Read(version), "fast", ONE_KEY, "key", "The op number of the write that changed a key last"),
    ("EXPIRE", -3, Write(expire), "fast", ONE_KEY, "key seconds [NX|XX|GT|LT]", "Let a key expire"),
    ("PEXPIRE", -3, Write(pexpire), "fast", ONE_KEY, "key milliseconds [NX|XX|GT|LT]", "Let a key expire"),
    ("EXPIREAT", -3, Write(expireat), "fast", ONE_KEY, "key unix-seconds [NX|XX|GT|LT]", "Let a key expire"),
    ("PEXPIREAT", -3, Write(pexpireat), "fast", ONE_KEY, "key unix-milliseconds [NX|XX|GT|LT]", "Let a key expire"),
    ("PERSIST", 2, Write(persist), "fast", ONE_KEY, "key", "Let a key stay after all"),
    ("TTL", 2, Read(ttl), "fast", ONE_KEY, "key", "In how many seconds a key expires"),
    ("PTTL", 2, Read(pttl), "fast", ONE_KEY, "key", "In how many milliseconds a key expires"),
    ("EXPIRETIME", 2, Read(expiretime), "fast", ONE_KEY, "key", "When a key expires, in seconds since 1970"),
    ("PEXPIRETIME", 2, Read(pexpiretime), "fast", ONE_KEY, "key", "When a key expires, in milliseconds since 1970"),
    ("RENAME", 3, Write(rename), "", TWO_KEYS, "key newkey", "Give a key another name"),
    ("RENAMENX", 3, Write(renamenx), "fast", TWO_KEYS, "key newkey", "Give a key another name, if that is free"),
    ("COPY", -3, Write(copy), "denyoom", TWO_KEYS, "source destination [DB n] [REPLACE]", "Copy a value"),
    ("MOVE", 3, Write(move_to), "fast", ONE_KEY, "key db", "Move a key to another database"),
    ("RANDOMKEY", 1, Read(randomkey), "", NO_KEY, "", "Any key"),
    ("KEYS", 2, Read(keys), "", NO_KEY, "pattern", "The keys that match a glob"),
    ("SCAN", -2, Read(scan), "", NO_KEY, "cursor [MATCH pattern] [COUNT n] [TYPE kind]", "The keys, some at a time"),
    ("COUNT", 1, Read(dbsize), "fast", NO_KEY, "", "How many keys there are"),
    ("DBSIZE", 1, Read(dbsize), "fast", NO_KEY, "", "How many keys there are"),
    ("FLUSHDB", -1, Write(flushdb), "", NO_KEY, "[ASYNC|SYNC]", "Remove all keys of this database"),
    ("FLUSHALL", -1, Write(flushall), "", NO_KEY, "[ASYNC|SYNC]", "Remove all keys"),
];

/// A scan looks at no more keys at once.
const SCAN_COUNT_MAX: usize = 20_000;

fn del(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    Ok(Reply::count(args.iter().filter(|key| run.remove(key)).count()))
}

fn exists(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::count(args.iter().filter(|key| view.get(key).is_some()).count()))
}

fn type_of(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::status(view.get(&args[0]).map_or("none", |stored| stored.value.kind().word())))
}

fn object(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let what = args[0].preview(64).to_string();
    let name = what.to_lowercase();
    if !["encoding", "refcount", "idletime", "freq"].contains(&name.as_str()) {
        return Err(StoreError::told(format!("ERR unknown subcommand '{what}'. Try OBJECT HELP.")));
    }
    let [_, key] = args else {
        return Err(StoreError::told(format!("ERR wrong number of arguments for 'object|{name}' command")));
    };
    let Some(stored) = view.get(key) else { return Ok(Reply::Nil) };
    match name.as_str() {
        "encoding" => Ok(Reply::Value(stored.value.encoding().into())),
        "refcount" => Ok(Reply::Integer(1)),
        "idletime" => Ok(Reply::Integer(0)),
        _ => Err(StoreError::said(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        )),
    }
}

fn version(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let op = view.get(&args[0]).map_or(0, |stored| stored.op.0);
    Ok(Reply::Integer(i64::try_from(op).unwrap_or(i64::MAX)))
}

/// `EXPIRE` and its like.
fn expire_at(run: &mut Transaction<'_>, args: &[Bytes], seconds: bool, relative: bool, name: &str) -> CommandResult {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in &args[2..] {
        match () {
            () if is(option, "NX") => nx = true,
            () if is(option, "XX") => xx = true,
            () if is(option, "GT") => gt = true,
            () if is(option, "LT") => lt = true,
            () => return Err(StoreError::told(format!("ERR Unsupported option {}", option.preview(64)))),
        }
    }
    if nx && (xx || gt || lt) {
        return Err(StoreError::said("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if gt && lt {
        return Err(StoreError::said("ERR GT and LT options at the same time are not compatible"));
    }
    let invalid = || StoreError::told(format!("ERR invalid expire time in '{name}' command"));
    let number = integer(&args[1])?;
    let ms = if seconds { number.checked_mul(1000).ok_or_else(invalid)? } else { number };
    let base = if relative { i64::try_from(run.now()).unwrap_or(i64::MAX) } else { 0 };
    let at = base.checked_add(ms).ok_or_else(invalid)?;
    let Some(stored) = run.view().get(&args[0]) else { return Ok(Reply::Integer(0)) };
    let old = i64::try_from(stored.expires).unwrap_or(i64::MAX);
    let refused =
        (nx && old != 0) || (xx && old == 0) || (gt && (old == 0 || at <= old)) || (lt && old != 0 && at >= old);
    if refused {
        return Ok(Reply::Integer(0));
    }
    match UnixMs::try_from(at) {
        Ok(at) if at > run.now() => run.set_expiry(&args[0], at),
        _ => drop(run.remove(&args[0])),
    }
    Ok(Reply::Integer(1))
}

fn expire(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    expire_at(run, args, true, true, "expire")
}

fn pexpire(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    expire_at(run, args, false, true, "pexpire")
}

fn expireat(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    expire_at(run, args, true, false, "expireat")
}

fn pexpireat(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    expire_at(run, args, false, false, "pexpireat")
}

fn persist(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let expires = run.view().get(&args[0]).is_some_and(|stored| stored.expires != 0);
    if expires {
        run.set_expiry(&args[0], 0);
    }
    Ok(Reply::Integer(i64::from(expires)))
}

/// -2 without a key, -1 when it does not expire.
fn expiry(view: &StoreView<'_>, key: &[u8], shown: impl Fn(i64, i64) -> i64) -> CommandResult {
    let ms = |ms: UnixMs| i64::try_from(ms).unwrap_or(i64::MAX);
    Ok(Reply::Integer(match view.get(key).map(|stored| stored.expires) {
        None => -2,
        Some(0) => -1,
        Some(at) => shown(ms(at), ms(view.now())),
    }))
}

fn ttl(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    expiry(view, &args[0], |at, now| ((at - now).max(0) + 500) / 1000)
}

fn pttl(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    expiry(view, &args[0], |at, now| (at - now).max(0))
}

fn expiretime(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    expiry(view, &args[0], |at, _| (at + 500) / 1000)
}

fn pexpiretime(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    expiry(view, &args[0], |at, _| at)
}

fn rename(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let Some(stored) = run.take(&args[0]) else { return Err(StoreError::said("ERR no such key")) };
    run.remove(&args[1]);
    run.put_with(&args[1], stored.value, stored.expires);
    Ok(Reply::Ok)
}

fn renamenx(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    if run.view().get(&args[0]).is_none() {
        return Err(StoreError::said("ERR no such key"));
    }
    if run.view().get(&args[1]).is_some() {
        return Ok(Reply::Integer(0));
    }
    rename(run, args)?;
    Ok(Reply::Integer(1))
}

fn database(number: &[u8]) -> CommandResult<Db> {
    let number = integer(number)?;
    let known = u64::try_from(number).ok().and_then(Db::new);
    known.ok_or(StoreError::said("ERR DB index is out of range"))
}

fn copy(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let (mut db, mut replace) = (run.view().db, false);
    let here = db;
    let mut at = 2;
    while let Some(option) = args.get(at) {
        match args.get(at + 1) {
            _ if is(option, "REPLACE") => replace = true,
            Some(number) if is(option, "DB") => {
                db = database(number)?;
                at += 1;
            }
            _ => return Err(StoreError::SYNTAX),
        }
        at += 1;
    }
    if db == here && args[0] == args[1] {
        return Err(StoreError::said("ERR source and destination objects are the same"));
    }
    let Some(stored) = run.view().get(&args[0]).cloned() else { return Ok(Reply::Integer(0)) };
    let mut there = run.at(db);
    if there.view().get(&args[1]).is_some() && !replace {
        return Ok(Reply::Integer(0));
    }
    there.remove(&args[1]);
    there.put_with(&args[1], stored.value, stored.expires);
    Ok(Reply::Integer(1))
}

fn move_to(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let db = database(&args[1])?;
    if db == run.view().db {
        return Err(StoreError::said("ERR source and destination objects are the same"));
    }
    if run.at(db).view().get(&args[0]).is_some() {
        return Ok(Reply::Integer(0));
    }
    let Some(stored) = run.take(&args[0]) else { return Ok(Reply::Integer(0)) };
    let mut there = run.at(db);
    there.remove(&args[0]);
    there.put_with(&args[0], stored.value, stored.expires);
    Ok(Reply::Integer(1))
}

fn randomkey(view: &StoreView<'_>, _: &[Bytes]) -> CommandResult {
    let mut chance = view.chance();
    Ok(view.store.any_key(view.db, view.now(), &mut chance).map_or(Reply::Nil, Reply::Value))
}

fn keys(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(view.store.keys_of(view.db, &args[0]))
}

fn dbsize(view: &StoreView<'_>, _: &[Bytes]) -> CommandResult {
    Ok(Reply::count(view.store.len_of(view.db)))
}

/// The options of the `SCAN` family.
pub(super) struct Scanning {
    pub(super) cursor: u64,
    pub(super) pattern: Option<KeyPattern>,
    pub(super) count: usize,
    kind: Option<Bytes>,
}

/// Reads cursor and options.
pub(super) fn scanning(args: &[Bytes], takes_kind: bool) -> CommandResult<Scanning> {
    let cursor = std::str::from_utf8(&args[0]).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or(StoreError::said("ERR invalid cursor"))?;
    let mut scan = Scanning { cursor, pattern: None, count: 10, kind: None };
    let mut options = args[1..].chunks_exact(2);
    for option in options.by_ref() {
        let [word, value] = option else { return Err(StoreError::SYNTAX) };
        match () {
            () if is(word, "COUNT") => {
                let count = integer(value)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(StoreError::SYNTAX)?;
                scan.count = count.min(SCAN_COUNT_MAX);
            }
            () if is(word, "MATCH") => scan.pattern = Some(KeyPattern::new(value)),
            () if is(word, "TYPE") && takes_kind => scan.kind = Some(value.clone()),
            () => return Err(StoreError::SYNTAX),
        }
    }
    if options.remainder().is_empty() { Ok(scan) } else { Err(StoreError::SYNTAX) }
}

impl Scanning {
    /// Whether this one is asked for.
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.compare(key).0)
    }

    /// The answer: where to go on, and what was found.
    pub(super) fn answer(next: u64, found: Vec<Reply>) -> CommandResult {
        Ok(Reply::Array(vec![Reply::Value(next.to_string().into()), Reply::Array(found)]))
    }
}

fn scan(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let scan = scanning(args, true)?;
    let is_asked_for = |kind: ValueKind| scan.kind.as_ref().is_none_or(|word| is(word, kind.word()));
    let (next, found) = view.store.scan_keys(view.db, scan.cursor, scan.count);
    let found = found
        .into_iter()
        .filter(|(key, stored)| !stored.is_past(view.now()) && is_asked_for(stored.value.kind()) && scan.matches(key));
    Scanning::answer(next, found.map(|(key, _)| Reply::Value(key.clone())).collect())
}

fn flush_mode(args: &[Bytes]) -> CommandResult<()> {
    match args {
        [] => Ok(()),
        [word] if is(word, "ASYNC") || is(word, "SYNC") => Ok(()),
        _ => Err(StoreError::SYNTAX),
    }
}

fn flushdb(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    flush_mode(args)?;
    let db = run.view().db;
    run.flush(db);
    Ok(Reply::Ok)
}

fn flushall(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    flush_mode(args)?;
    Db::all().for_each(|db| run.flush(db));
    Ok(Reply::Ok)
}
