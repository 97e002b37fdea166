//! Strings: bytes, and the numbers that are written in them.

use super::super::command::VALUE_BYTES_MAX;
use super::super::state::{UnixMs, parse_integer};
use super::super::{Bytes, Reply, StoreError, StoreView, Transaction, Value};
use super::args::{integer, is, range};
use super::decimals::add_decimals;
use super::{ALL_KEYS, CommandResult, ONE_KEY, Run::Read, Run::Write, TWO_KEYS, TableLine};

pub(super) const ROWS: &[TableLine] = &[
    ("GET", 2, Read(get), "fast", ONE_KEY, "key", "The value of a key"),
    (
        "SET",
        -3,
        Write(set),
        "denyoom",
        ONE_KEY,
        "key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]",
        "Store a value",
    ),
    ("PUT", 3, Write(put), "denyoom", ONE_KEY, "key value", "Store a value, whether or not the key is there"),
    ("ADD", 3, Write(add), "denyoom", ONE_KEY, "key value", "Store a value only if the key is not there"),
    ("UPDATE", 3, Write(update), "denyoom", ONE_KEY, "key value", "Store a value only if the key is there"),
    ("SETNX", 3, Write(setnx), "denyoom fast", ONE_KEY, "key value", "Store a value only if the key is not there"),
    ("SETEX", 4, Write(setex), "denyoom", ONE_KEY, "key seconds value", "Store a value that expires"),
    ("PSETEX", 4, Write(psetex), "denyoom", ONE_KEY, "key milliseconds value", "Store a value that expires"),
    ("GETSET", 3, Write(getset), "denyoom fast", ONE_KEY, "key value", "Store a value; the answer is the old one"),
    ("GETDEL", 2, Write(getdel), "fast", ONE_KEY, "key", "The value of a key, which is removed"),
    (
        "GETEX",
        -2,
        Write(getex),
        "fast",
        ONE_KEY,
        "key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]",
        "The value of a key, and when it expires",
    ),
    ("MGET", -2, Read(mget), "fast", ALL_KEYS, "key [key ...]", "The values of several keys"),
    ("MSET", -3, Write(mset), "denyoom", (1, -1, 2), "key value [key value ...]", "Store several values"),
    (
        "MSETNX",
        -3,
        Write(msetnx),
        "denyoom",
        (1, -1, 2),
        "key value [key value ...]",
        "Store several values only if none of the keys is there",
    ),
    ("APPEND", 3, Write(append), "denyoom fast", ONE_KEY, "key value", "Append to a value"),
    ("STRLEN", 2, Read(strlen), "fast", ONE_KEY, "key", "The length of a value in bytes"),
    ("INCR", 2, Write(incr), "denyoom fast", ONE_KEY, "key", "Add one to a number"),
    ("DECR", 2, Write(decr), "denyoom fast", ONE_KEY, "key", "Take one from a number"),
    ("INCRBY", 3, Write(incrby), "denyoom fast", ONE_KEY, "key increment", "Add to a number"),
    ("DECRBY", 3, Write(decrby), "denyoom fast", ONE_KEY, "key decrement", "Take from a number"),
    ("INCRBYFLOAT", 3, Write(incrbyfloat), "denyoom fast", ONE_KEY, "key increment", "Add to a decimal number"),
    ("GETRANGE", 4, Read(getrange), "", ONE_KEY, "key start end", "A part of a value"),
    ("SUBSTR", 4, Read(getrange), "", ONE_KEY, "key start end", "A part of a value"),
    ("SETRANGE", 4, Write(setrange), "denyoom", ONE_KEY, "key offset value", "Overwrite a part of a value"),
    ("LCS", -3, Read(lcs), "", TWO_KEYS, "key1 key2 [LEN]", "What two values have in common, in the same order"),
];

fn value_or_nil(value: Option<&Bytes>) -> Reply {
    value.map_or(Reply::Nil, |value| Reply::Value(value.clone()))
}

fn get(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    view.string(&args[0]).map(value_or_nil)
}

/// When something expires that is given in these units, from now on or since 1970.
pub(super) fn moment(now: UnixMs, number: &[u8], unit: &str, command: &str) -> CommandResult<UnixMs> {
    let invalid = || StoreError::told(format!("ERR invalid expire time in '{command}' command"));
    let number = integer(number)?;
    let (is_seconds, is_relative) = match unit {
        "EX" => (true, true),
        "PX" => (false, true),
        "EXAT" => (true, false),
        _ => (false, false),
    };
    if number <= 0 {
        return Err(invalid());
    }
    let ms = if is_seconds { number.checked_mul(1000).ok_or_else(invalid)? } else { number };
    let base = if is_relative { i64::try_from(now).unwrap_or(i64::MAX) } else { 0 };
    Ok(base.checked_add(ms).ok_or_else(invalid)?.unsigned_abs())
}

const UNITS: [&str; 4] = ["EX", "PX", "EXAT", "PXAT"];

/// The options of a `SET`.
#[derive(Default)]
struct SetOptions {
    only_new: bool,
    only_old: bool,
    get: bool,
    keep: bool,
    expires: Option<(usize, &'static str)>,
}

fn set_options(args: &[Bytes]) -> CommandResult<SetOptions> {
    let mut options = SetOptions::default();
    let mut at = 2;
    while let Some(arg) = args.get(at) {
        let unit = UNITS.into_iter().find(|unit| is(arg, unit));
        if is(arg, "NX") && !options.only_old {
            options.only_new = true;
        } else if is(arg, "XX") && !options.only_new {
            options.only_old = true;
        } else if is(arg, "GET") {
            options.get = true;
        } else if is(arg, "KEEPTTL") && options.expires.is_none() {
            options.keep = true;
        } else if let Some(unit) = unit.filter(|_| !options.keep && options.expires.is_none() && at + 1 < args.len()) {
            at += 1;
            options.expires = Some((at, unit));
        } else {
            return Err(StoreError::SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

fn set(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let options = set_options(args)?;
    let expires = match options.expires {
        Some((at, unit)) => moment(run.now(), &args[at], unit, "set")?,
        None => 0,
    };
    let view = run.view();
    let old = view.get(&args[0]);
    let answer = if options.get { Some(value_or_nil(view.string(&args[0])?)) } else { None };
    if (options.only_new && old.is_some()) || (options.only_old && old.is_none()) {
        return Ok(answer.unwrap_or(Reply::Nil));
    }
    let expires = if options.keep { old.map_or(0, |old| old.expires) } else { expires };
    let value = Value::String(std::mem::take(&mut args[1]));
    if expires != 0 && expires <= run.now() {
        run.remove(&args[0]);
    } else {
        run.put_with(&args[0], value, expires);
    }
    Ok(answer.unwrap_or(Reply::Ok))
}

fn put(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let value = Value::String(std::mem::take(&mut args[1]));
    run.put(&args[0], value);
    Ok(Reply::Ok)
}

fn add(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    if run.view().get(&args[0]).is_some() { Ok(Reply::Nil) } else { put(run, args) }
}

fn update(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    if run.view().get(&args[0]).is_none() { Ok(Reply::Nil) } else { put(run, args) }
}

fn setnx(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    Ok(Reply::Integer(i64::from(add(run, args)? == Reply::Ok)))
}

fn setex(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let expires = moment(run.now(), &args[1], "EX", "setex")?;
    let value = Value::String(std::mem::take(&mut args[2]));
    run.put_with(&args[0], value, expires);
    Ok(Reply::Ok)
}

fn psetex(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let expires = moment(run.now(), &args[1], "PX", "psetex")?;
    let value = Value::String(std::mem::take(&mut args[2]));
    run.put_with(&args[0], value, expires);
    Ok(Reply::Ok)
}

fn getset(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let old = value_or_nil(run.view().string(&args[0])?);
    put(run, args)?;
    Ok(old)
}

fn getdel(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let old = value_or_nil(run.view().string(&args[0])?);
    run.remove(&args[0]);
    Ok(old)
}

fn getex(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let unit = match &*args {
        [_] => None,
        [_, word] if is(word, "PERSIST") => Some("PERSIST"),
        [_, word, _] => Some(UNITS.into_iter().find(|unit| is(word, unit)).ok_or(StoreError::SYNTAX)?),
        _ => return Err(StoreError::SYNTAX),
    };
    let view = run.view();
    let Some(value) = view.string(&args[0])? else { return Ok(Reply::Nil) };
    let value = Reply::Value(value.clone());
    let expires = match unit {
        Some("PERSIST") => Some(0),
        Some(unit) => Some(moment(run.now(), &args[2], unit, "getex")?),
        None => None,
    };
    let is_set = view.get(&args[0]).is_some_and(|stored| stored.expires != 0);
    match expires {
        Some(at) if at != 0 && at <= run.now() => drop(run.remove(&args[0])),
        Some(at) if at != 0 || is_set => run.set_expiry(&args[0], at),
        _ => {}
    }
    Ok(value)
}

fn mget(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let values = args.iter().map(|key| view.string(key).ok().flatten());
    Ok(Reply::Array(values.map(value_or_nil).collect()))
}

fn mset(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(StoreError::said("ERR wrong number of arguments for 'mset' command"));
    }
    for pair in args.chunks_exact_mut(2) {
        put(run, pair)?;
    }
    Ok(Reply::Ok)
}

fn msetnx(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(StoreError::said("ERR wrong number of arguments for 'msetnx' command"));
    }
    if args.iter().step_by(2).any(|key| run.view().get(key).is_some()) {
        return Ok(Reply::Integer(0));
    }
    mset(run, args)?;
    Ok(Reply::Integer(1))
}

fn append(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    append_to(run, &args[0], &args[1])
}

/// `APPEND`
pub(in super::super) fn append_to(run: &mut Transaction<'_>, key: &Bytes, tail: &[u8]) -> CommandResult {
    let view = run.view();
    let head: &[u8] = view.string(key)?.map_or(&[], |value| value);
    let length = head.len() + tail.len();
    if length > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLong(length as u64));
    }
    let value = Bytes::from([head, tail].concat());
    run.put_string(key, value);
    Ok(Reply::count(length))
}

fn strlen(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::count(view.string(&args[0])?.map_or(0, |value| value.len())))
}

/// Adds to the number that a key holds.
pub(in super::super) fn increment(run: &mut Transaction<'_>, key: &Bytes, by: i64) -> CommandResult {
    let current = match run.view().string(key)? {
        None => 0,
        Some(value) => parse_integer(value).ok_or(StoreError::NotAnInteger)?,
    };
    let number = current.checked_add(by).ok_or(StoreError::Overflow)?;
    run.put_string(key, number.to_string().into());
    Ok(Reply::Integer(number))
}

fn incr(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    increment(run, &args[0], 1)
}

fn decr(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    increment(run, &args[0], -1)
}

fn incrby(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let by = integer(&args[1])?;
    increment(run, &args[0], by)
}

fn decrby(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let by = integer(&args[1])?;
    let by = by.checked_neg().ok_or(StoreError::said("ERR decrement would overflow"))?;
    increment(run, &args[0], by)
}

fn incrbyfloat(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let sum = {
        let view = run.view();
        let current: &[u8] = view.string(&args[0])?.map_or(b"0", |value| value);
        add_decimals(current, &args[1])?
    };
    run.put_string(&args[0], sum.clone());
    Ok(Reply::Value(sum))
}

fn getrange(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let (start, end) = (integer(&args[1])?, integer(&args[2])?);
    let value: &[u8] = view.string(&args[0])?.map_or(&[], |value| value);
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Value(Bytes::default()));
    }
    // Unlike a list's, an end before the beginning is the beginning.
    let end = if end < 0 { (end.saturating_add(value.len().cast_signed() as i64)).max(0) } else { end };
    let (from, count) = range(start, end, value.len());
    Ok(Reply::Value(value[from..from + count].into()))
}

fn setrange(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let offset = integer(&args[1])?;
    let offset = usize::try_from(offset).map_err(|_| StoreError::said("ERR offset is out of range"))?;
    let view = run.view();
    let old: &[u8] = view.string(&args[0])?.map_or(&[], |value| value);
    if args[2].is_empty() {
        return Ok(Reply::count(old.len()));
    }
    let end = offset.saturating_add(args[2].len());
    if end > VALUE_BYTES_MAX {
        return Err(StoreError::said("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    let mut new = old.to_vec();
    new.resize(end.max(old.len()), 0);
    new[offset..end].copy_from_slice(&args[2]);
    let length = new.len();
    run.put_string(&args[0], new.into());
    Ok(Reply::count(length))
}

/// The most comparisons of one `LCS`: some milliseconds.
const LCS_STEPS_MAX: usize = 1 << 22;

fn lcs(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let not_strings = |_| StoreError::said("ERR The specified keys must contain string values");
    let empty = Bytes::default();
    let one = view.string(&args[0]).map_err(not_strings)?.unwrap_or(&empty);
    let two = view.string(&args[1]).map_err(not_strings)?.unwrap_or(&empty);
    let only_length = match &args[2..] {
        [] => false,
        [word] if is(word, "LEN") => true,
        _ => return Err(StoreError::SYNTAX),
    };
    let width = two.len() + 1;
    if (one.len() + 1).saturating_mul(width) > LCS_STEPS_MAX {
        return Err(StoreError::said("ERR the values are too long to be compared"));
    }
    let mut lengths = vec![0_u32; (one.len() + 1) * width];
    for (i, a) in one.iter().enumerate() {
        for (j, b) in two.iter().enumerate() {
            lengths[(i + 1) * width + j + 1] = match a == b {
                true => lengths[i * width + j] + 1,
                false => lengths[i * width + j + 1].max(lengths[(i + 1) * width + j]),
            };
        }
    }
    let length = lengths[one.len() * width + two.len()];
    if only_length {
        return Ok(Reply::Integer(length.into()));
    }
    let (mut i, mut j, mut common) = (one.len(), two.len(), Vec::new());
    while i > 0 && j > 0 {
        if one[i - 1] == two[j - 1] {
            common.push(one[i - 1]);
            (i, j) = (i - 1, j - 1);
        } else if lengths[(i - 1) * width + j] > lengths[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    common.reverse();
    Ok(Reply::Value(common.into()))
}
