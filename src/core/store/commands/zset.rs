//! Sorted sets, member by member. Ranges are in [`super::zset_ranges`].

use super::super::value::Zset;
use super::super::{Bytes, Double, Reply, StoreError, StoreView, Transaction};
use super::args::{float, is, positive};
use super::hash::chosen;
use super::keys::{Scanning, scanning};
use super::list_pops::{count_option, counted_keys};
use super::{CommandResult, NO_KEY, ONE_KEY, Run::Read, Run::Write, TableLine};

pub(super) const ROWS: &[TableLine] = &[
    (
        "ZADD",
        -4,
        Write(zadd),
        "denyoom fast",
        ONE_KEY,
        "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]",
        "Add members to a sorted set",
    ),
    ("ZINCRBY", 4, Write(zincrby), "denyoom fast", ONE_KEY, "key increment member", "Add to a member's score"),
    ("ZSCORE", 3, Read(zscore), "fast", ONE_KEY, "key member", "The score of a member"),
    ("ZMSCORE", -3, Read(zmscore), "fast", ONE_KEY, "key member [member ...]", "The scores of several members"),
    ("ZREM", -3, Write(zrem), "fast", ONE_KEY, "key member [member ...]", "Remove members from a sorted set"),
    ("ZCARD", 2, Read(zcard), "fast", ONE_KEY, "key", "How many members there are"),
    ("ZRANK", 3, Read(zrank), "fast", ONE_KEY, "key member", "The place of a member, from the lowest score on"),
    ("ZREVRANK", 3, Read(zrevrank), "fast", ONE_KEY, "key member", "The place of a member, from the highest score on"),
    ("ZPOPMIN", -2, Write(zpopmin), "fast", ONE_KEY, "key [count]", "Take the members with the lowest scores"),
    ("ZPOPMAX", -2, Write(zpopmax), "fast", ONE_KEY, "key [count]", "Take the members with the highest scores"),
    (
        "ZMPOP",
        -4,
        Write(zmpop),
        "movablekeys",
        NO_KEY,
        "numkeys key [key ...] MIN|MAX [COUNT n]",
        "Take from the first sorted set that is there",
    ),
    ("ZRANDMEMBER", -2, Read(zrandmember), "", ONE_KEY, "key [count [WITHSCORES]]", "Members by chance"),
    ("ZSCAN", -3, Read(zscan), "", ONE_KEY, "key cursor [MATCH pattern] [COUNT n]", "Members, some at a time"),
];

/// A member and its score as an answer.
pub(super) fn pair((member, score): (&[u8], f64)) -> (Reply, Reply) {
    (Reply::Value(member.into()), Reply::Double(Double(score)))
}

#[derive(Default)]
struct AddOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    changed: bool,
    incr: bool,
}

impl AddOptions {
    /// Reads them; returns how many there are.
    fn read(args: &[Bytes]) -> (Self, usize) {
        let mut options = Self::default();
        for (at, arg) in args.iter().enumerate() {
            match () {
                () if is(arg, "NX") => options.nx = true,
                () if is(arg, "XX") => options.xx = true,
                () if is(arg, "GT") => options.gt = true,
                () if is(arg, "LT") => options.lt = true,
                () if is(arg, "CH") => options.changed = true,
                () if is(arg, "INCR") => options.incr = true,
                () => return (options, at),
            }
        }
        (options, args.len())
    }

    fn check(&self, pairs: usize) -> CommandResult<()> {
        match () {
            () if self.nx && self.xx => {
                Err(StoreError::said("ERR XX and NX options at the same time are not compatible"))
            }
            () if (self.nx && (self.gt || self.lt)) || (self.gt && self.lt) => {
                Err(StoreError::said("ERR GT, LT, and/or NX options at the same time are not compatible"))
            }
            () if self.incr && pairs > 1 => {
                Err(StoreError::said("ERR INCR option supports a single increment-element pair"))
            }
            () => Ok(()),
        }
    }

    /// The score that a member gets, if it gets one.
    fn score(&self, old: Option<f64>, given: f64) -> Option<f64> {
        let Some(old) = old else { return (!self.xx).then_some(given) };
        let new = if self.incr { old + given } else { given };
        let refused = self.nx || (self.gt && new <= old) || (self.lt && new >= old);
        (!refused).then_some(new)
    }
}

fn zadd(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let (options, count) = AddOptions::read(&args[1..]);
    let (key, rest) = (&args[0], &args[1 + count..]);
    if rest.is_empty() || !rest.len().is_multiple_of(2) {
        return Err(StoreError::SYNTAX);
    }
    options.check(rest.len() / 2)?;
    add_all(run, key, rest, &options)
}

fn add_all(run: &mut Transaction<'_>, key: &Bytes, rest: &[Bytes], options: &AddOptions) -> CommandResult {
    let pairs: Vec<(f64, &Bytes)> =
        rest.chunks_exact(2).map(|pair| Ok((float(&pair[0])?, &pair[1]))).collect::<CommandResult<_>>()?;
    if options.incr {
        let old = run.view().zset(key)?.and_then(|zset| zset.score(pairs[0].1));
        if old.is_some_and(|old| (old + pairs[0].0).is_nan()) {
            return Err(StoreError::said("ERR resulting score is not a number (NaN)"));
        }
    }
    let (mut added, mut updated, mut result) = (0, 0, None);
    run.edit_zset(key, |zset, edit| {
        for (given, member) in pairs {
            let old = zset.score(member);
            result = options.score(old, given);
            if let Some(score) = result.filter(|score| old != Some(*score)) {
                zset.set(member, score);
                edit.element(member);
                added += i64::from(old.is_none());
                updated += i64::from(old.is_some());
            }
        }
    })?;
    Ok(match () {
        () if options.incr => result.map_or(Reply::Nil, |score| Reply::Double(Double(score))),
        () if options.changed => Reply::Integer(added + updated),
        () => Reply::Integer(added),
    })
}

fn zincrby(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    add_all(run, &args[0], &args[1..], &AddOptions { incr: true, ..AddOptions::default() })
}

fn zscore(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let score = view.zset(&args[0])?.and_then(|zset| zset.score(&args[1]));
    Ok(score.map_or(Reply::Nil, |score| Reply::Double(Double(score))))
}

fn zmscore(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let zset = view.zset(&args[0])?;
    let score = |member: &Bytes| zset.and_then(|zset| zset.score(member));
    let scores = args[1..].iter().map(|member| score(member).map_or(Reply::Nil, |score| Reply::Double(Double(score))));
    Ok(Reply::Array(scores.collect()))
}

/// Removes members; returns how many there were.
pub(super) fn remove_all<M: AsRef<[u8]>>(run: &mut Transaction<'_>, key: &Bytes, all: &[M]) -> CommandResult<usize> {
    run.edit_zset(key, |zset, edit| {
        let gone = |member: &&M| {
            let gone = zset.remove(member.as_ref()).is_some();
            if gone {
                edit.element(member.as_ref());
            }
            gone
        };
        all.iter().filter(gone).count()
    })
}

fn zrem(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    remove_all(run, &args[0], &args[1..]).map(Reply::count)
}

fn zcard(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::count(view.zset(&args[0])?.map_or(0, Zset::len)))
}

fn zrank(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let rank = view.zset(&args[0])?.and_then(|zset| zset.rank_of(&args[1]));
    Ok(rank.map_or(Reply::Nil, Reply::count))
}

fn zrevrank(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let Some(zset) = view.zset(&args[0])? else { return Ok(Reply::Nil) };
    Ok(zset.rank_of(&args[1]).map_or(Reply::Nil, |rank| Reply::count(zset.len() - 1 - rank)))
}

/// Takes up to `count` members from one end.
fn take(run: &mut Transaction<'_>, key: &Bytes, count: usize, lowest: bool) -> CommandResult<Vec<(Bytes, f64)>> {
    let taken: Vec<(Bytes, f64)> = {
        let Some(zset) = run.view().zset(key)? else { return Ok(Vec::new()) };
        let members = if lowest { zset.upwards(0) } else { zset.downwards(zset.len() - 1) };
        members.take(count).map(|(member, score)| (member.into(), score)).collect()
    };
    let names: Vec<&Bytes> = taken.iter().map(|(member, _)| member).collect();
    remove_all(run, key, &names)?;
    Ok(taken)
}

fn pop(run: &mut Transaction<'_>, args: &[Bytes], lowest: bool) -> CommandResult {
    let count = match args {
        [_] => None,
        [_, count] => Some(positive(count)?),
        _ => return Err(StoreError::SYNTAX),
    };
    let taken = take(run, &args[0], count.unwrap_or(1), lowest)?;
    let pairs = taken.iter().map(|(member, score)| pair((member, *score)));
    Ok(match count {
        None => Reply::Array(pairs.flat_map(|(member, score)| [member, score]).collect()),
        Some(_) => Reply::Pairs(pairs.collect()),
    })
}

fn zpopmin(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    pop(run, args, true)
}

fn zpopmax(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    pop(run, args, false)
}

fn zmpop(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let (keys, rest) = counted_keys(args)?;
    let (end, rest) = rest.split_first().ok_or(StoreError::SYNTAX)?;
    let lowest = match () {
        () if is(end, "MIN") => true,
        () if is(end, "MAX") => false,
        () => return Err(StoreError::SYNTAX),
    };
    let count = count_option(rest)?;
    for key in keys {
        let taken = take(run, key, count, lowest)?;
        if !taken.is_empty() {
            let pairs = taken.iter().map(|(member, score)| pair((member, *score)));
            let pairs = pairs.map(|(member, score)| Reply::Array(vec![member, score]));
            return Ok(Reply::Array(vec![Reply::Value(key.clone()), Reply::Array(pairs.collect())]));
        }
    }
    Ok(Reply::NilArray)
}

fn zrandmember(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let with_scores = match &args[1..] {
        [] | [_] => false,
        [_, word] if is(word, "WITHSCORES") => true,
        _ => return Err(StoreError::SYNTAX),
    };
    let mut chance = view.chance();
    let zset = view.zset(&args[0])?;
    let Some(count) = args.get(1) else {
        let one = zset.and_then(|zset| zset.choose(&mut chance));
        return Ok(one.map_or(Reply::Nil, |(member, _)| Reply::Value(member.into())));
    };
    let (count, may_repeat) = chosen(count)?;
    let Some(zset) = zset else { return Ok(Reply::Array(Vec::new())) };
    let found: Vec<(&[u8], f64)> = if may_repeat {
        (0..count).filter_map(|_| zset.choose(&mut chance)).collect()
    } else {
        // Each is taken with the chance that is left for it.
        let (mut wanted, mut left) = (count, zset.len() as u64);
        let taken = zset.iter().filter(|_| {
            let take = chance.below(left) < wanted;
            left -= 1;
            wanted -= u64::from(take);
            take
        });
        taken.collect()
    };
    if with_scores {
        return Ok(Reply::Pairs(found.into_iter().map(pair).collect()));
    }
    Ok(Reply::Array(found.into_iter().map(|(member, _)| Reply::Value(member.into())).collect()))
}

fn zscan(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let scan = scanning(&args[1..], false)?;
    let Some(zset) = view.zset(&args[0])? else { return Scanning::answer(0, Vec::new()) };
    let (next, found) = zset.scan(scan.cursor, scan.count);
    let found = found.into_iter().filter(|(member, _)| scan.matches(member));
    let flat =
        found.flat_map(|(member, score)| [Reply::Value(member.into()), Reply::Value(super::args::printed(score))]);
    Scanning::answer(next, flat.collect())
}
