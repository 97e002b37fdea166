//! Ranges of sorted sets: by rank, by score, and by member.

use super::super::value::{Value, Zset};
use super::super::{Bytes, Reply, StoreError, StoreView, Transaction};
use super::args::{integer, is, parse_float, range};
use super::zset::{pair, remove_all};
use super::{CommandResult, ONE_KEY, Run::Read, Run::Write, TWO_KEYS, TableLine};

pub(super) const ROWS: &[TableLine] = &[
    (
        "ZRANGE",
        -4,
        Read(zrange),
        "",
        ONE_KEY,
        "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset n] [WITHSCORES]",
        "A range of members",
    ),
    (
        "ZRANGESTORE",
        -5,
        Write(zrangestore),
        "denyoom",
        TWO_KEYS,
        "destination source start stop [BYSCORE|BYLEX] [REV] [LIMIT offset n]",
        "Store a range of members",
    ),
    ("ZREVRANGE", -4, Read(zrevrange), "", ONE_KEY, "key start stop [WITHSCORES]", "A range of members, downwards"),
    (
        "ZRANGEBYSCORE",
        -4,
        Read(zrangebyscore),
        "",
        ONE_KEY,
        "key min max [WITHSCORES] [LIMIT offset n]",
        "The members with scores in a range",
    ),
    (
        "ZREVRANGEBYSCORE",
        -4,
        Read(zrevrangebyscore),
        "",
        ONE_KEY,
        "key max min [WITHSCORES] [LIMIT offset n]",
        "The members with scores in a range, downwards",
    ),
    ("ZRANGEBYLEX", -4, Read(zrangebylex), "", ONE_KEY, "key min max [LIMIT offset n]", "The members in a range"),
    (
        "ZREVRANGEBYLEX",
        -4,
        Read(zrevrangebylex),
        "",
        ONE_KEY,
        "key max min [LIMIT offset n]",
        "The members in a range, downwards",
    ),
    ("ZCOUNT", 4, Read(zcount), "fast", ONE_KEY, "key min max", "How many members have scores in a range"),
    ("ZLEXCOUNT", 4, Read(zlexcount), "fast", ONE_KEY, "key min max", "How many members are in a range"),
    ("ZREMRANGEBYRANK", 4, Write(zremrangebyrank), "", ONE_KEY, "key start stop", "Remove a range of members"),
    (
        "ZREMRANGEBYSCORE",
        4,
        Write(zremrangebyscore),
        "",
        ONE_KEY,
        "key min max",
        "Remove the members with scores in a range",
    ),
    ("ZREMRANGEBYLEX", 4, Write(zremrangebylex), "", ONE_KEY, "key min max", "Remove the members in a range"),
];

/// What a range is given by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RangeBy {
    Rank,
    Score,
    Lex,
}

/// A range and what is to be shown of it.
struct Range {
    by: RangeBy,
    reverse: bool,
    offset: usize,
    /// `None`: an offset that lies nowhere.
    count: Option<usize>,
    with_scores: bool,
}

impl Range {
    fn new(by: RangeBy, reverse: bool) -> Self {
        Self { by, reverse, offset: 0, count: Some(usize::MAX), with_scores: false }
    }

    /// Reads the options after start and stop.
    fn options(mut self, args: &[Bytes], general: bool, takes_scores: bool) -> CommandResult<Self> {
        let (mut at, mut limited) = (0, false);
        while let Some(arg) = args.get(at) {
            match () {
                () if is(arg, "WITHSCORES") && takes_scores => self.with_scores = true,
                () if is(arg, "LIMIT") && at + 2 < args.len() => {
                    let (offset, count) = (integer(&args[at + 1])?, integer(&args[at + 2])?);
                    self.count = Some(usize::try_from(count).unwrap_or(usize::MAX)).filter(|_| offset >= 0);
                    self.offset = usize::try_from(offset).unwrap_or(0);
                    limited = count != -1;
                    at += 2;
                }
                () if general && is(arg, "BYSCORE") && self.by == RangeBy::Rank => self.by = RangeBy::Score,
                () if general && is(arg, "BYLEX") && self.by == RangeBy::Rank => self.by = RangeBy::Lex,
                () if general && is(arg, "REV") => self.reverse = true,
                () => return Err(StoreError::SYNTAX),
            }
            at += 1;
        }
        if limited && self.by == RangeBy::Rank {
            return Err(StoreError::said(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if self.by == RangeBy::Rank {
            // A limit of -1 is none, and its offset means nothing.
            (self.offset, self.count) = (0, Some(usize::MAX));
        }
        if self.with_scores && self.by == RangeBy::Lex {
            return Err(StoreError::said("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        Ok(self)
    }

    /// What start and stop mean, before a set is looked at.
    fn bounds(&self, start: &Bytes, stop: &Bytes) -> CommandResult<Bounds> {
        let (low, high) = if self.reverse { (stop, start) } else { (start, stop) };
        Ok(match self.by {
            RangeBy::Rank => Bounds::Rank(integer(start)?, integer(stop)?, self.reverse),
            RangeBy::Score => {
                let not_float = || StoreError::said("ERR min or max is not a float");
                let (low, high) = (score_bound(low), score_bound(high));
                Bounds::Score(low.ok_or_else(not_float)?, high.ok_or_else(not_float)?)
            }
            RangeBy::Lex => {
                let not_valid = || StoreError::said("ERR min or max not valid string range item");
                let (low, high) = (lex_bound(low), lex_bound(high));
                Bounds::Lex(low.ok_or_else(not_valid)?, high.ok_or_else(not_valid)?)
            }
        })
    }

    /// The members, in the order that was asked for.
    fn members<'a>(&self, zset: &'a Zset, bounds: &Bounds) -> Vec<(&'a [u8], f64)> {
        let (from, end) = bounds.ranks(zset);
        let Some(wanted) = self.count else { return Vec::new() };
        let count = end.saturating_sub(from).saturating_sub(self.offset).min(wanted);
        if count == 0 {
            return Vec::new();
        }
        if self.reverse {
            zset.downwards(end - 1 - self.offset).take(count).collect()
        } else {
            zset.upwards(from + self.offset).take(count).collect()
        }
    }
}

/// Between what.
enum Bounds {
    /// Start, stop, and whether they count from the highest.
    Rank(i64, i64, bool),
    /// Scores, and whether each is left out.
    Score((f64, bool), (f64, bool)),
    Lex(Lex, Lex),
}

/// The end of a range of members.
enum Lex {
    Lowest,
    Highest,
    At(Bytes, bool),
}

fn score_bound(arg: &[u8]) -> Option<(f64, bool)> {
    match arg.strip_prefix(b"(") {
        Some(rest) => Some((parse_float(rest)?, true)),
        None => Some((parse_float(arg)?, false)),
    }
}

fn lex_bound(arg: &[u8]) -> Option<Lex> {
    match arg {
        b"-" => Some(Lex::Lowest),
        b"+" => Some(Lex::Highest),
        [b'[', rest @ ..] => Some(Lex::At(rest.into(), false)),
        [b'(', rest @ ..] => Some(Lex::At(rest.into(), true)),
        _ => None,
    }
}

impl Bounds {
    /// The ranks that it begins with and ends before.
    fn ranks(&self, zset: &Zset) -> (usize, usize) {
        match self {
            Self::Rank(start, stop, reverse) => {
                let length = zset.len();
                let (from, count) = range(*start, *stop, length);
                if *reverse { (length - from - count, length - from) } else { (from, from + count) }
            }
            Self::Score((low, low_out), (high, high_out)) => {
                let from = zset.rank(|score, _| if *low_out { score <= *low } else { score < *low });
                let end = zset.rank(|score, _| if *high_out { score < *high } else { score <= *high });
                (from, end.max(from))
            }
            Self::Lex(low, high) => {
                let from = zset.rank(|_, member| match low {
                    Lex::Lowest => false,
                    Lex::Highest => true,
                    Lex::At(at, out) => member < &**at || (*out && member == &**at),
                });
                let end = zset.rank(|_, member| match high {
                    Lex::Lowest => false,
                    Lex::Highest => true,
                    Lex::At(at, out) => member < &**at || (!*out && member == &**at),
                });
                (from, end.max(from))
            }
        }
    }
}

fn answer(view: &StoreView<'_>, args: &[Bytes], range: &Range) -> CommandResult {
    let bounds = range.bounds(&args[1], &args[2])?;
    let found = view.zset(&args[0])?.map(|zset| range.members(zset, &bounds)).unwrap_or_default();
    if range.with_scores {
        return Ok(Reply::Pairs(found.into_iter().map(pair).collect()));
    }
    Ok(Reply::Array(found.into_iter().map(|(member, _)| Reply::Value(member.into())).collect()))
}

fn zrange(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let range = Range::new(RangeBy::Rank, false).options(&args[3..], true, true)?;
    answer(view, args, &range)
}

fn zrangestore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let range = Range::new(RangeBy::Rank, false).options(&args[4..], true, false)?;
    let bounds = range.bounds(&args[2], &args[3])?;
    let mut new = Zset::default();
    for (member, score) in run.view().zset(&args[1])?.map(|zset| range.members(zset, &bounds)).unwrap_or_default() {
        new.set(&member.into(), score);
    }
    let count = new.len();
    run.put(&args[0], Value::Zset(new));
    Ok(Reply::count(count))
}

fn zrevrange(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let range = match &args[3..] {
        [] => Range::new(RangeBy::Rank, true),
        [word] if is(word, "WITHSCORES") => Range { with_scores: true, ..Range::new(RangeBy::Rank, true) },
        _ => return Err(StoreError::SYNTAX),
    };
    answer(view, args, &range)
}

fn zrangebyscore(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let range = Range::new(RangeBy::Score, false).options(&args[3..], false, true)?;
    answer(view, args, &range)
}

fn zrevrangebyscore(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let range = Range::new(RangeBy::Score, true).options(&args[3..], false, true)?;
    answer(view, args, &range)
}

fn zrangebylex(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let range = Range::new(RangeBy::Lex, false).options(&args[3..], false, false)?;
    answer(view, args, &range)
}

fn zrevrangebylex(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let range = Range::new(RangeBy::Lex, true).options(&args[3..], false, false)?;
    answer(view, args, &range)
}

fn count(view: &StoreView<'_>, args: &[Bytes], by: RangeBy) -> CommandResult {
    let bounds = Range::new(by, false).bounds(&args[1], &args[2])?;
    let (from, end) = view.zset(&args[0])?.map_or((0, 0), |zset| bounds.ranks(zset));
    Ok(Reply::count(end - from))
}

fn zcount(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    count(view, args, RangeBy::Score)
}

fn zlexcount(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    count(view, args, RangeBy::Lex)
}

fn remove(run: &mut Transaction<'_>, args: &[Bytes], by: RangeBy) -> CommandResult {
    let range = Range::new(by, false);
    let bounds = range.bounds(&args[1], &args[2])?;
    let gone: Vec<Bytes> = {
        let Some(zset) = run.view().zset(&args[0])? else { return Ok(Reply::Integer(0)) };
        range.members(zset, &bounds).into_iter().map(|(member, _)| member.into()).collect()
    };
    remove_all(run, &args[0], &gone).map(Reply::count)
}

fn zremrangebyrank(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    remove(run, args, RangeBy::Rank)
}

fn zremrangebyscore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    remove(run, args, RangeBy::Score)
}

fn zremrangebylex(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    remove(run, args, RangeBy::Lex)
}
