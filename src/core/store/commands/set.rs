//! Sets: members, and what two or more of them have in common.

use super::super::value::{Fields, Value};
use super::super::{Bytes, Reply, StoreError, StoreView, Transaction};
use super::args::{integer, is, positive};
use super::hash::{choose_some, chosen};
use super::keys::{Scanning, scanning};
use super::list_pops::counted_keys;
use super::{ALL_KEYS, CommandResult, NO_KEY, ONE_KEY, Run::Read, Run::Write, TWO_KEYS, TableLine};
use std::collections::BTreeSet;

pub(super) const ROWS: &[TableLine] = &[
    ("SADD", -3, Write(sadd), "denyoom fast", ONE_KEY, "key member [member ...]", "Add members to a set"),
    ("SREM", -3, Write(srem), "fast", ONE_KEY, "key member [member ...]", "Remove members from a set"),
    ("SISMEMBER", 3, Read(sismember), "fast", ONE_KEY, "key member", "Whether it is a member"),
    ("SMISMEMBER", -3, Read(smismember), "fast", ONE_KEY, "key member [member ...]", "Which of these are members"),
    ("SMEMBERS", 2, Read(smembers), "", ONE_KEY, "key", "All members of a set"),
    ("SCARD", 2, Read(scard), "fast", ONE_KEY, "key", "How many members there are"),
    ("SPOP", -2, Write(spop), "fast", ONE_KEY, "key [count]", "Take members by chance"),
    ("SRANDMEMBER", -2, Read(srandmember), "", ONE_KEY, "key [count]", "Members by chance"),
    ("SMOVE", 4, Write(smove), "fast", TWO_KEYS, "source destination member", "Move a member from set to set"),
    ("SUNION", -2, Read(sunion), "", ALL_KEYS, "key [key ...]", "What is in any of these sets"),
    ("SINTER", -2, Read(sinter), "", ALL_KEYS, "key [key ...]", "What is in all of these sets"),
    ("SDIFF", -2, Read(sdiff), "", ALL_KEYS, "key [key ...]", "What is in the first of these sets only"),
    (
        "SUNIONSTORE",
        -3,
        Write(sunionstore),
        "denyoom",
        ALL_KEYS,
        "destination key [key ...]",
        "Store what is in any of these sets",
    ),
    (
        "SINTERSTORE",
        -3,
        Write(sinterstore),
        "denyoom",
        ALL_KEYS,
        "destination key [key ...]",
        "Store what is in all of these sets",
    ),
    (
        "SDIFFSTORE",
        -3,
        Write(sdiffstore),
        "denyoom",
        ALL_KEYS,
        "destination key [key ...]",
        "Store what is in the first of these sets only",
    ),
    (
        "SINTERCARD",
        -3,
        Read(sintercard),
        "movablekeys",
        NO_KEY,
        "numkeys key [key ...] [LIMIT n]",
        "How much is in all of these sets",
    ),
    ("SSCAN", -3, Read(sscan), "", ONE_KEY, "key cursor [MATCH pattern] [COUNT n]", "Members, some at a time"),
];

fn value(bytes: &[u8]) -> Reply {
    Reply::Value(bytes.into())
}

fn members(set: &Fields) -> impl Iterator<Item = &[u8]> {
    set.iter().map(|(member, _)| member)
}

fn add_all(run: &mut Transaction<'_>, key: &Bytes, all: &[Bytes]) -> CommandResult<usize> {
    run.edit_set(key, |set, edit| {
        let is_new = |member: &&Bytes| {
            let is_new = !set.contains(member) && set.set(member, Bytes::default());
            if is_new {
                edit.element(member);
            }
            is_new
        };
        all.iter().filter(is_new).count()
    })
}

fn remove_all<M: AsRef<[u8]>>(run: &mut Transaction<'_>, key: &Bytes, all: &[M]) -> CommandResult<usize> {
    run.edit_set(key, |set, edit| {
        let gone = |member: &&M| {
            let gone = set.remove(member.as_ref()).is_some();
            if gone {
                edit.element(member.as_ref());
            }
            gone
        };
        all.iter().filter(gone).count()
    })
}

fn sadd(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    add_all(run, &args[0], &args[1..]).map(Reply::count)
}

fn srem(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    remove_all(run, &args[0], &args[1..]).map(Reply::count)
}

fn sismember(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::Integer(i64::from(view.set(&args[0])?.is_some_and(|set| set.contains(&args[1])))))
}

fn smismember(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let set = view.set(&args[0])?;
    let is_member = |member: &Bytes| Reply::Integer(i64::from(set.is_some_and(|set| set.contains(member))));
    Ok(Reply::Array(args[1..].iter().map(is_member).collect()))
}

fn smembers(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::Set(view.set(&args[0])?.into_iter().flat_map(members).map(value).collect()))
}

fn scard(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::count(view.set(&args[0])?.map_or(0, Fields::len)))
}

fn spop(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let count = match &*args {
        [_] => None,
        [_, count] => Some(positive(count)?),
        _ => return Err(StoreError::SYNTAX),
    };
    let mut chance = run.chance().clone();
    let taken: Vec<Bytes> = {
        let view = run.view();
        let Some(set) = view.set(&args[0])? else {
            return Ok(if count.is_some() { Reply::Set(Vec::new()) } else { Reply::Nil });
        };
        let found = choose_some(set, count.unwrap_or(1) as u64, false, &mut chance);
        found.into_iter().map(|(member, _)| member.into()).collect()
    };
    *run.chance() = chance;
    remove_all(run, &args[0], &taken)?;
    Ok(match count {
        None => taken.into_iter().next().map_or(Reply::Nil, Reply::Value),
        Some(_) => Reply::Set(Reply::values(taken)),
    })
}

fn srandmember(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let mut chance = view.chance();
    match args {
        [key] => {
            let one = view.set(key)?.and_then(|set| set.choose(&mut chance));
            Ok(one.map_or(Reply::Nil, |(member, _)| value(member)))
        }
        [key, count] => {
            let (count, may_repeat) = chosen(count)?;
            let Some(set) = view.set(key)? else { return Ok(Reply::Array(Vec::new())) };
            let found = choose_some(set, count, may_repeat, &mut chance);
            Ok(Reply::Array(found.into_iter().map(|(member, _)| value(member)).collect()))
        }
        _ => Err(StoreError::SYNTAX),
    }
}

fn smove(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let Some(is_member) = run.view().set(&args[0])?.map(|set| set.contains(&args[2])) else {
        return Ok(Reply::Integer(0));
    };
    run.view().set(&args[1])?;
    if !is_member {
        return Ok(Reply::Integer(0));
    }
    if args[0] != args[1] {
        remove_all(run, &args[0], &args[2..])?;
        add_all(run, &args[1], &args[2..])?;
    }
    Ok(Reply::Integer(1))
}

/// What several sets have together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Together {
    Any,
    All,
    FirstOnly,
}

fn together<'a>(view: &StoreView<'a>, keys: &[Bytes], what: Together, limit: usize) -> CommandResult<Vec<&'a [u8]>> {
    let sets: Vec<Option<&Fields>> = keys.iter().map(|key| view.set(key)).collect::<CommandResult<_>>()?;
    match what {
        Together::Any => {
            let mut seen = BTreeSet::new();
            Ok(sets.into_iter().flatten().flat_map(members).filter(|member| seen.insert(*member)).collect())
        }
        Together::All => {
            let Some(mut sets) = sets.into_iter().collect::<Option<Vec<_>>>() else { return Ok(Vec::new()) };
            sets.sort_by_key(|set| set.len());
            let in_all = |member: &&[u8]| sets[1..].iter().all(|set| set.contains(member));
            Ok(members(sets[0]).filter(in_all).take(limit).collect())
        }
        Together::FirstOnly => {
            let Some((Some(first), others)) = sets.split_first() else { return Ok(Vec::new()) };
            let in_none = |member: &&[u8]| !others.iter().flatten().any(|set| set.contains(member));
            Ok(members(first).filter(in_none).collect())
        }
    }
}

fn answer(view: &StoreView<'_>, keys: &[Bytes], what: Together) -> CommandResult {
    Ok(Reply::Set(together(view, keys, what, usize::MAX)?.into_iter().map(value).collect()))
}

fn store(run: &mut Transaction<'_>, args: &[Bytes], what: Together) -> CommandResult {
    let mut set = Fields::default();
    for member in together(&run.view(), &args[1..], what, usize::MAX)? {
        set.set(&member.into(), Bytes::default());
    }
    let count = set.len();
    run.put(&args[0], Value::Set(set));
    Ok(Reply::count(count))
}

fn sunion(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    answer(view, args, Together::Any)
}

fn sinter(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    answer(view, args, Together::All)
}

fn sdiff(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    answer(view, args, Together::FirstOnly)
}

fn sunionstore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    store(run, args, Together::Any)
}

fn sinterstore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    store(run, args, Together::All)
}

fn sdiffstore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    store(run, args, Together::FirstOnly)
}

/// The limit of `LIMIT n` (0: none).
pub(super) fn limit_option(rest: &[Bytes]) -> CommandResult<usize> {
    match rest {
        [] => Ok(usize::MAX),
        [word, limit] if is(word, "LIMIT") => {
            let negative = || StoreError::said("ERR LIMIT can't be negative");
            let limit = usize::try_from(integer(limit).map_err(|_| negative())?).map_err(|_| negative())?;
            Ok(if limit == 0 { usize::MAX } else { limit })
        }
        _ => Err(StoreError::SYNTAX),
    }
}

/// As [`counted_keys`], with the words that Redis has for too many.
pub(super) fn counted_keys_of(args: &[Bytes]) -> CommandResult<(&[Bytes], &[Bytes])> {
    let too_many = || StoreError::said("ERR Number of keys can't be greater than number of args");
    counted_keys(args).map_err(|error| if error == StoreError::SYNTAX { too_many() } else { error })
}

fn sintercard(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let (keys, rest) = counted_keys_of(args)?;
    let limit = limit_option(rest)?;
    Ok(Reply::count(together(view, keys, Together::All, limit)?.len()))
}

fn sscan(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let scan = scanning(&args[1..], false)?;
    let Some(set) = view.set(&args[0])? else { return Scanning::answer(0, Vec::new()) };
    let (next, found) = set.scan(scan.cursor, scan.count);
    let found = found.into_iter().map(|(member, _)| member).filter(|member| scan.matches(member));
    Scanning::answer(next, found.map(value).collect())
}
