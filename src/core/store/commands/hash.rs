//! Hashes: fields and their values.

use super::super::command::VALUE_BYTES_MAX;
use super::super::state::parse_integer;
use super::super::value::Fields;
use super::super::{Bytes, Reply, StoreError, StoreView, Transaction};
use super::args::{integer, is, parse_float};
use super::decimals::add_decimals;
use super::keys::{Scanning, scanning};
use super::{CommandResult, ONE_KEY, Run::Read, Run::Write, TableLine};

pub(super) const ROWS: &[TableLine] = &[
    ("HSET", -4, Write(hset), "denyoom fast", ONE_KEY, "key field value [field value ...]", "Set fields of a hash"),
    ("HMSET", -4, Write(hmset), "denyoom fast", ONE_KEY, "key field value [field value ...]", "Set fields of a hash"),
    ("HSETNX", 4, Write(hsetnx), "denyoom fast", ONE_KEY, "key field value", "Set a field only if it is not there"),
    ("HGET", 3, Read(hget), "fast", ONE_KEY, "key field", "The value of a field"),
    ("HMGET", -3, Read(hmget), "fast", ONE_KEY, "key field [field ...]", "The values of several fields"),
    ("HDEL", -3, Write(hdel), "fast", ONE_KEY, "key field [field ...]", "Remove fields"),
    ("HGETALL", 2, Read(hgetall), "", ONE_KEY, "key", "All fields and values"),
    ("HKEYS", 2, Read(hkeys), "", ONE_KEY, "key", "All fields"),
    ("HVALS", 2, Read(hvals), "", ONE_KEY, "key", "All values of a hash"),
    ("HLEN", 2, Read(hlen), "fast", ONE_KEY, "key", "How many fields there are"),
    ("HEXISTS", 3, Read(hexists), "fast", ONE_KEY, "key field", "Whether there is such a field"),
    ("HSTRLEN", 3, Read(hstrlen), "fast", ONE_KEY, "key field", "The length of a field's value in bytes"),
    ("HINCRBY", 4, Write(hincrby), "denyoom fast", ONE_KEY, "key field increment", "Add to the number in a field"),
    (
        "HINCRBYFLOAT",
        4,
        Write(hincrbyfloat),
        "denyoom fast",
        ONE_KEY,
        "key field increment",
        "Add to the decimal number in a field",
    ),
    ("HSCAN", -3, Read(hscan), "", ONE_KEY, "key cursor [MATCH pattern] [COUNT n]", "Fields, some at a time"),
    ("HRANDFIELD", -2, Read(hrandfield), "", ONE_KEY, "key [count [WITHVALUES]]", "Fields by chance"),
];

/// The most elements that are chosen by chance at once, when they may repeat.
pub(super) const CHOSEN_MAX: u64 = 1 << 20;

fn value(bytes: &[u8]) -> Reply {
    Reply::Value(bytes.into())
}

fn set_all(run: &mut Transaction<'_>, args: &mut [Bytes], name: &str) -> CommandResult<usize> {
    let (key, fields) = args.split_at_mut(1);
    if !fields.len().is_multiple_of(2) {
        return Err(StoreError::told(format!("ERR wrong number of arguments for '{name}' command")));
    }
    run.edit_hash(&key[0], |hash, edit| {
        let set = |pair: &mut [Bytes]| {
            edit.element(&pair[0]);
            let value = std::mem::take(&mut pair[1]);
            usize::from(hash.set(&pair[0], value))
        };
        fields.chunks_exact_mut(2).map(set).sum()
    })
}

fn hset(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    set_all(run, args, "hset").map(Reply::count)
}

fn hmset(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    set_all(run, args, "hmset").map(|_| Reply::Ok)
}

fn hsetnx(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    if run.view().hash(&args[0])?.is_some_and(|hash| hash.contains(&args[1])) {
        return Ok(Reply::Integer(0));
    }
    set_all(run, args, "hsetnx").map(Reply::count)
}

fn hget(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(view.hash(&args[0])?.and_then(|hash| hash.get(&args[1])).map_or(Reply::Nil, value))
}

fn hmget(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let hash = view.hash(&args[0])?;
    let values = args[1..].iter().map(|field| hash.and_then(|hash| hash.get(field)).map_or(Reply::Nil, value));
    Ok(Reply::Array(values.collect()))
}

fn hdel(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let removed = run.edit_hash(&args[0], |hash, edit| {
        let gone = |field: &&Bytes| {
            let gone = hash.remove(field).is_some();
            if gone {
                edit.element(field);
            }
            gone
        };
        args[1..].iter().filter(gone).count()
    })?;
    Ok(Reply::count(removed))
}

fn hgetall(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let all = view.hash(&args[0])?.into_iter().flat_map(Fields::iter);
    Ok(Reply::Map(all.map(|(field, own)| (value(field), value(own))).collect()))
}

fn hkeys(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let all = view.hash(&args[0])?.into_iter().flat_map(Fields::iter);
    Ok(Reply::Array(all.map(|(field, _)| value(field)).collect()))
}

fn hvals(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let all = view.hash(&args[0])?.into_iter().flat_map(Fields::iter);
    Ok(Reply::Array(all.map(|(_, own)| value(own)).collect()))
}

fn hlen(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::count(view.hash(&args[0])?.map_or(0, Fields::len)))
}

fn hexists(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::Integer(i64::from(view.hash(&args[0])?.is_some_and(|hash| hash.contains(&args[1])))))
}

fn hstrlen(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::count(view.hash(&args[0])?.and_then(|hash| hash.get(&args[1])).map_or(0, <[u8]>::len)))
}

fn hincrby(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let by = integer(&args[2])?;
    let current = match run.view().hash(&args[0])?.and_then(|hash| hash.get(&args[1])) {
        None => 0,
        Some(own) => parse_integer(own).ok_or(StoreError::said("ERR hash value is not an integer"))?,
    };
    let number = current.checked_add(by).ok_or(StoreError::said("ERR increment or decrement would overflow"))?;
    set_one(run, args, number.to_string().into())?;
    Ok(Reply::Integer(number))
}

fn set_one(run: &mut Transaction<'_>, args: &[Bytes], value: Bytes) -> CommandResult<()> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLong(value.len() as u64));
    }
    run.edit_hash(&args[0], |hash, edit| {
        edit.element(&args[1]);
        hash.set(&args[1], value);
    })
}

fn hincrbyfloat(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    if parse_float(&args[2]).ok_or(StoreError::NO_FLOAT)?.is_infinite() {
        return Err(StoreError::said("ERR value is NaN or Infinity"));
    }
    let sum = {
        let view = run.view();
        let current = view.hash(&args[0])?.and_then(|hash| hash.get(&args[1])).unwrap_or(b"0");
        parse_float(current).ok_or(StoreError::said("ERR hash value is not a float"))?;
        add_decimals(current, &args[2])?
    };
    set_one(run, args, sum.clone())?;
    Ok(Reply::Value(sum))
}

fn hscan(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let scan = scanning(&args[1..], false)?;
    let Some(hash) = view.hash(&args[0])? else { return Scanning::answer(0, Vec::new()) };
    let (next, found) = hash.scan(scan.cursor, scan.count);
    let found = found.into_iter().filter(|(field, _)| scan.matches(field));
    Scanning::answer(next, found.flat_map(|(field, own)| [value(field), value(own)]).collect())
}

/// How many are to be chosen, and whether the same may be chosen twice.
pub(super) fn chosen(count: &[u8]) -> CommandResult<(u64, bool)> {
    let count = integer(count)?;
    let out_of_range = StoreError::said("ERR value is out of range");
    if count < 0 && count.unsigned_abs() > CHOSEN_MAX {
        return Err(out_of_range);
    }
    Ok((count.unsigned_abs(), count < 0))
}

fn hrandfield(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let with_values = match &args[1..] {
        [] | [_] => false,
        [_, word] if is(word, "WITHVALUES") => true,
        _ => return Err(StoreError::SYNTAX),
    };
    let mut chance = view.chance();
    let hash = view.hash(&args[0])?;
    let Some(count) = args.get(1) else {
        let one = hash.and_then(|hash| hash.choose(&mut chance));
        return Ok(one.map_or(Reply::Nil, |(field, _)| value(field)));
    };
    let (count, may_repeat) = chosen(count)?;
    let Some(hash) = hash else { return Ok(Reply::Array(Vec::new())) };
    let found = choose_some(hash, count, may_repeat, &mut chance);
    if with_values {
        return Ok(Reply::Pairs(found.into_iter().map(|(field, own)| (value(field), value(own))).collect()));
    }
    Ok(Reply::Array(found.into_iter().map(|(field, _)| value(field)).collect()))
}

/// Some fields or members by chance.
pub(super) fn choose_some<'a>(
    fields: &'a Fields,
    count: u64,
    may_repeat: bool,
    chance: &mut super::super::Chance,
) -> Vec<(&'a [u8], &'a [u8])> {
    if may_repeat {
        return (0..count).filter_map(|_| fields.choose(chance)).collect();
    }
    let len = fields.len() as u64;
    if count >= len {
        return fields.iter().collect();
    }
    // Of a few that are asked for, hardly any are found twice.
    if count * 8 < len {
        let mut found = std::collections::BTreeMap::new();
        let mut order = Vec::new();
        while (order.len() as u64) < count {
            let Some((field, own)) = fields.choose(chance) else { break };
            if found.insert(field, ()).is_none() {
                order.push((field, own));
            }
        }
        return order;
    }
    // Otherwise each is taken with the chance that is left for it.
    let mut wanted = count;
    let mut left = len;
    let taken = fields.iter().filter(|_| {
        let take = chance.below(left) < wanted;
        left -= 1;
        wanted -= u64::from(take);
        take
    });
    taken.collect()
}
