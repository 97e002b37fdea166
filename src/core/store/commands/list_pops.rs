//! What takes from lists, and moves from one to another.
//!
//! Nothing waits here: with nothing to take these answer nil, and whoever talks to the client waits and asks again.

use super::super::{Bytes, Reply, StoreError, Transaction};
use super::args::{integer, is, positive};
use super::list::{end_number, push_one};
use super::{CommandResult, ONE_KEY, Run::Write, TWO_KEYS, TableLine};

pub(super) const ROWS: &[TableLine] = &[
    ("LPOP", -2, Write(lpop), "fast", ONE_KEY, "key [count]", "Take from the head of a list"),
    ("RPOP", -2, Write(rpop), "fast", ONE_KEY, "key [count]", "Take from the tail of a list"),
    (
        "LMOVE",
        5,
        Write(lmove),
        "denyoom",
        TWO_KEYS,
        "source destination LEFT|RIGHT LEFT|RIGHT",
        "Move an element from list to list",
    ),
    ("RPOPLPUSH", 3, Write(rpoplpush), "denyoom", TWO_KEYS, "source destination", "Move an element from tail to head"),
    (
        "LMPOP",
        -4,
        Write(lmpop),
        "movablekeys",
        (0, 0, 0),
        "numkeys key [key ...] LEFT|RIGHT [COUNT n]",
        "Take from the first list that is there",
    ),
];

/// Takes up to `count` elements.
fn take(run: &mut Transaction<'_>, key: &Bytes, count: usize, at_head: bool) -> CommandResult<Vec<Bytes>> {
    run.edit_list(key, |list, edit| {
        let mut taken = Vec::new();
        while taken.len() < count {
            let number = end_number(list, at_head);
            let Some(item) = list.pop(at_head) else { break };
            edit.item(number);
            taken.push(item);
        }
        taken
    })
}

fn pop(run: &mut Transaction<'_>, args: &[Bytes], at_head: bool) -> CommandResult {
    let count = match args {
        [_] => None,
        [_, count] => Some(positive(count)?),
        _ => {
            let name = if at_head { "lpop" } else { "rpop" };
            return Err(StoreError::told(format!("ERR wrong number of arguments for '{name}' command")));
        }
    };
    let is_there = run.view().list(&args[0])?.is_some();
    match count {
        None => Ok(take(run, &args[0], 1, at_head)?.pop().map_or(Reply::Nil, Reply::Value)),
        Some(_) if !is_there => Ok(Reply::NilArray),
        Some(count) => take(run, &args[0], count, at_head).map(|taken| Reply::Array(Reply::values(taken))),
    }
}

fn lpop(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    pop(run, args, true)
}

fn rpop(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    pop(run, args, false)
}

/// `LEFT` or `RIGHT`.
fn is_head(word: &[u8]) -> CommandResult<bool> {
    match () {
        () if is(word, "LEFT") => Ok(true),
        () if is(word, "RIGHT") => Ok(false),
        () => Err(StoreError::SYNTAX),
    }
}

fn move_one(run: &mut Transaction<'_>, from: &Bytes, to: &Bytes, from_head: bool, to_head: bool) -> CommandResult {
    if run.view().list(from)?.is_none() {
        return Ok(Reply::Nil);
    }
    run.view().list(to)?;
    let Some(item) = take(run, from, 1, from_head)?.pop() else { return Ok(Reply::Nil) };
    push_one(run, to, item.clone(), to_head)?;
    Ok(Reply::Value(item))
}

fn lmove(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let (from, to) = (is_head(&args[2])?, is_head(&args[3])?);
    move_one(run, &args[0], &args[1], from, to)
}

fn rpoplpush(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    move_one(run, &args[0], &args[1], false, true)
}

/// The keys and the rest of `numkeys key [key ...] …`.
pub(super) fn counted_keys(args: &[Bytes]) -> CommandResult<(&[Bytes], &[Bytes])> {
    let positive = || StoreError::said("ERR numkeys should be greater than 0");
    let count = integer(&args[0]).map_err(|_| positive())?;
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(positive)?;
    args[1..].split_at_checked(count).ok_or(StoreError::SYNTAX)
}

/// The count of `COUNT n` at the end of the arguments.
pub(super) fn count_option(rest: &[Bytes]) -> CommandResult<usize> {
    match rest {
        [] => Ok(1),
        [word, count] if is(word, "COUNT") => {
            let positive = || StoreError::said("ERR count should be greater than 0");
            let count = integer(count).map_err(|_| positive())?;
            usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(positive)
        }
        _ => Err(StoreError::SYNTAX),
    }
}

fn lmpop(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let (keys, rest) = counted_keys(args)?;
    let (side, rest) = rest.split_first().ok_or(StoreError::SYNTAX)?;
    let (at_head, count) = (is_head(side)?, count_option(rest)?);
    for key in keys {
        let taken = take(run, key, count, at_head)?;
        if !taken.is_empty() {
            return Ok(Reply::Array(vec![Reply::Value(key.clone()), Reply::Array(Reply::values(taken))]));
        }
    }
    Ok(Reply::NilArray)
}
