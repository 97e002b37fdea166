//! What several sorted sets have together. Plain sets count as well, with a score of 1 for every member.

use super::super::value::{Fields, Value, Zset};
use super::super::{Bytes, Reply, StoreError, StoreView, Transaction};
use super::args::{integer, is, parse_float};
use super::set::limit_option;
use super::zset::pair;
use super::{CommandResult, NO_KEY, ONE_KEY, Run::Read, Run::Write, TableLine};
use std::collections::BTreeMap;

pub(super) const ROWS: &[TableLine] = &[
    (
        "ZUNION",
        -3,
        Read(zunion),
        "movablekeys",
        NO_KEY,
        "numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "What is in any of these sets",
    ),
    (
        "ZINTER",
        -3,
        Read(zinter),
        "movablekeys",
        NO_KEY,
        "numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "What is in all of these sets",
    ),
    (
        "ZDIFF",
        -3,
        Read(zdiff),
        "movablekeys",
        NO_KEY,
        "numkeys key [key ...] [WITHSCORES]",
        "What is in the first of these sets only",
    ),
    (
        "ZUNIONSTORE",
        -4,
        Write(zunionstore),
        "denyoom movablekeys",
        ONE_KEY,
        "destination numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX]",
        "Store what is in any of these sets",
    ),
    (
        "ZINTERSTORE",
        -4,
        Write(zinterstore),
        "denyoom movablekeys",
        ONE_KEY,
        "destination numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX]",
        "Store what is in all of these sets",
    ),
    (
        "ZDIFFSTORE",
        -4,
        Write(zdiffstore),
        "denyoom movablekeys",
        ONE_KEY,
        "destination numkeys key [key ...]",
        "Store what is in the first of these sets only",
    ),
    (
        "ZINTERCARD",
        -3,
        Read(zintercard),
        "movablekeys",
        NO_KEY,
        "numkeys key [key ...] [LIMIT n]",
        "How much is in all of these sets",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algebra {
    Union,
    Inter,
    Diff,
}

#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, two: f64) -> f64 {
        match self {
            // Two infinities that cancel each other out.
            Self::Sum if (one + two).is_nan() => 0.0,
            Self::Sum => one + two,
            Self::Min => one.min(two),
            Self::Max => one.max(two),
        }
    }
}

/// A set of either kind.
#[derive(Clone, Copy)]
enum Input<'a> {
    Set(&'a Fields),
    Zset(&'a Zset),
}

impl<'a> Input<'a> {
    fn of(view: &StoreView<'a>, key: &Bytes) -> CommandResult<Option<Self>> {
        match view.get(key).map(|stored| &stored.value) {
            None => Ok(None),
            Some(Value::Set(set)) => Ok(Some(Self::Set(set))),
            Some(Value::Zset(zset)) => Ok(Some(Self::Zset(zset))),
            Some(_) => Err(StoreError::WRONG_TYPE),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Set(set) => set.len(),
            Self::Zset(zset) => zset.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Set(set) => set.contains(member).then_some(1.0),
            Self::Zset(zset) => zset.score(member),
        }
    }

    fn iter(self) -> Box<dyn Iterator<Item = (&'a [u8], f64)> + 'a> {
        match self {
            Self::Set(set) => Box::new(set.iter().map(|(member, _)| (member, 1.0))),
            Self::Zset(zset) => Box::new(zset.iter()),
        }
    }
}

/// What is asked for.
struct Question<'k> {
    keys: &'k [Bytes],
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// The keys that a number says how many they are, and what follows them.
fn split<'k>(args: &'k [Bytes], name: &str) -> CommandResult<(&'k [Bytes], &'k [Bytes])> {
    let count = integer(&args[0])?;
    if count < 1 {
        return Err(StoreError::told(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    args[1..].split_at_checked(usize::try_from(count).unwrap_or(usize::MAX)).ok_or(StoreError::SYNTAX)
}

fn question<'k>(
    view: &StoreView<'_>,
    args: &'k [Bytes],
    what: Algebra,
    stores: bool,
    name: &str,
) -> CommandResult<Question<'k>> {
    let (keys, rest) = split(args, name)?;
    inputs(view, keys)?;
    let mut question = Question { keys, weights: vec![1.0; keys.len()], aggregate: Aggregate::Sum, with_scores: false };
    let mut at = 0;
    while let Some(arg) = rest.get(at) {
        let left = rest.len() - at - 1;
        match () {
            () if what != Algebra::Diff && is(arg, "WEIGHTS") && left >= keys.len() => {
                let not_float = || StoreError::said("ERR weight value is not a float");
                let weights = rest[at + 1..=at + keys.len()].iter();
                question.weights =
                    weights.map(|w| parse_float(w).ok_or_else(not_float)).collect::<CommandResult<_>>()?;
                at += keys.len();
            }
            () if what != Algebra::Diff && is(arg, "AGGREGATE") && left >= 1 => {
                question.aggregate = match &rest[at + 1] {
                    word if is(word, "SUM") => Aggregate::Sum,
                    word if is(word, "MIN") => Aggregate::Min,
                    word if is(word, "MAX") => Aggregate::Max,
                    _ => return Err(StoreError::SYNTAX),
                };
                at += 1;
            }
            () if !stores && is(arg, "WITHSCORES") => question.with_scores = true,
            () => return Err(StoreError::SYNTAX),
        }
        at += 1;
    }
    Ok(question)
}

fn inputs<'a>(view: &StoreView<'a>, keys: &[Bytes]) -> CommandResult<Vec<Option<Input<'a>>>> {
    keys.iter().map(|key| Input::of(view, key)).collect()
}

fn weighed(weight: f64, score: f64) -> f64 {
    let product = weight * score;
    if product.is_nan() { 0.0 } else { product }
}

impl Question<'_> {
    fn answer(&self, view: &StoreView<'_>, what: Algebra) -> CommandResult<Zset> {
        let inputs = inputs(view, self.keys)?;
        let found = match what {
            Algebra::Union => self.union(&inputs),
            Algebra::Inter => self.inter(&inputs),
            Algebra::Diff => difference(&inputs),
        };
        let mut zset = Zset::default();
        for (member, score) in found {
            zset.set(&member.into(), score);
        }
        Ok(zset)
    }

    /// Those that are there with their weights, the smallest first, as Redis goes through them: with fractions and
    /// infinities the order makes a difference.
    fn by_size<'a>(&self, inputs: &[Option<Input<'a>>]) -> Vec<(Input<'a>, f64)> {
        let there = inputs.iter().zip(&self.weights).filter_map(|(input, weight)| Some(((*input)?, *weight)));
        let mut there: Vec<_> = there.collect();
        there.sort_by_key(|(input, _)| input.len());
        there
    }

    fn union<'a>(&self, inputs: &[Option<Input<'a>>]) -> Vec<(&'a [u8], f64)> {
        let mut scores: BTreeMap<&[u8], f64> = BTreeMap::new();
        for (input, weight) in self.by_size(inputs) {
            for (member, score) in input.iter() {
                let score = weighed(weight, score);
                scores.entry(member).and_modify(|sum| *sum = self.aggregate.of(*sum, score)).or_insert(score);
            }
        }
        scores.into_iter().collect()
    }

    fn inter<'a>(&self, inputs: &[Option<Input<'a>>]) -> Vec<(&'a [u8], f64)> {
        let there = self.by_size(inputs);
        let Some(((smallest, first_weight), others)) = there.split_first() else { return Vec::new() };
        if there.len() < inputs.len() {
            return Vec::new();
        }
        let sum = |(member, score): (&'a [u8], f64)| {
            // Infinity times nothing is nothing for the first one; for the others it takes part as no number.
            let first = weighed(*first_weight, score);
            let sum = others
                .iter()
                .try_fold(first, |sum, (input, weight)| Some(self.aggregate.of(sum, weight * input.score(member)?)));
            Some((member, sum?))
        };
        smallest.iter().filter_map(sum).collect()
    }
}

fn difference<'a>(inputs: &[Option<Input<'a>>]) -> Vec<(&'a [u8], f64)> {
    let Some((Some(first), others)) = inputs.split_first() else { return Vec::new() };
    let in_none = |member: &[u8]| others.iter().flatten().all(|other| other.score(member).is_none());
    first.iter().filter(|(member, _)| in_none(member)).collect()
}

fn answer(view: &StoreView<'_>, args: &[Bytes], what: Algebra, name: &str) -> CommandResult {
    let question = question(view, args, what, false, name)?;
    let found = question.answer(view, what)?;
    if question.with_scores {
        return Ok(Reply::Pairs(found.iter().map(pair).collect()));
    }
    Ok(Reply::Array(found.iter().map(|(member, _)| Reply::Value(member.into())).collect()))
}

fn store(run: &mut Transaction<'_>, args: &[Bytes], what: Algebra, name: &str) -> CommandResult {
    let view = run.view();
    let zset = question(&view, &args[1..], what, true, name)?.answer(&view, what)?;
    let count = zset.len();
    run.put(&args[0], Value::Zset(zset));
    Ok(Reply::count(count))
}

fn zunion(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    answer(view, args, Algebra::Union, "zunion")
}

fn zinter(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    answer(view, args, Algebra::Inter, "zinter")
}

fn zdiff(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    answer(view, args, Algebra::Diff, "zdiff")
}

fn zunionstore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    store(run, args, Algebra::Union, "zunionstore")
}

fn zinterstore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    store(run, args, Algebra::Inter, "zinterstore")
}

fn zdiffstore(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    store(run, args, Algebra::Diff, "zdiffstore")
}

fn zintercard(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let (keys, rest) = split(args, "zintercard")?;
    let inputs = inputs(view, keys)?;
    let limit = limit_option(rest)?;
    let Some(mut all) = inputs.into_iter().collect::<Option<Vec<_>>>() else {
        return Ok(Reply::Integer(0));
    };
    all.sort_by_key(|input| input.len());
    let in_all = |(member, _): &(&[u8], f64)| all[1..].iter().all(|input| input.score(member).is_some());
    Ok(Reply::count(all[0].iter().filter(in_all).take(limit).count()))
}
