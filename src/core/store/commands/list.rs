//! Lists. What takes from them is in [`super::list_pops`].

use super::super::value::List;
use super::super::{Bytes, Reply, StoreError, StoreView, Transaction};
use super::args::{integer, is, range};
use super::{CommandResult, ONE_KEY, Run::Read, Run::Write, TableLine};

pub(super) const ROWS: &[TableLine] = &[
    ("LPUSH", -3, Write(lpush), "denyoom fast", ONE_KEY, "key element [element ...]", "Push at the head of a list"),
    ("RPUSH", -3, Write(rpush), "denyoom fast", ONE_KEY, "key element [element ...]", "Push at the tail of a list"),
    (
        "LPUSHX",
        -3,
        Write(lpushx),
        "denyoom fast",
        ONE_KEY,
        "key element [element ...]",
        "Push at the head of a list if there is one",
    ),
    (
        "RPUSHX",
        -3,
        Write(rpushx),
        "denyoom fast",
        ONE_KEY,
        "key element [element ...]",
        "Push at the tail of a list if there is one",
    ),
    ("LLEN", 2, Read(llen), "fast", ONE_KEY, "key", "The length of a list"),
    ("LRANGE", 4, Read(lrange), "", ONE_KEY, "key start stop", "A part of a list"),
    ("LINDEX", 3, Read(lindex), "", ONE_KEY, "key index", "An element of a list"),
    ("LSET", 4, Write(lset), "denyoom", ONE_KEY, "key index element", "Put another element in the place of one"),
    ("LINSERT", 5, Write(linsert), "denyoom", ONE_KEY, "key BEFORE|AFTER pivot element", "Insert beside an element"),
    ("LTRIM", 4, Write(ltrim), "", ONE_KEY, "key start stop", "Keep a part of a list"),
    ("LREM", 4, Write(lrem), "", ONE_KEY, "key count element", "Remove elements that are equal to this one"),
    ("LPOS", -3, Read(lpos), "", ONE_KEY, "key element [RANK n] [COUNT n] [MAXLEN n]", "Where an element is"),
];

/// The number of the element at one end.
pub(super) fn end_number(list: &List, at_head: bool) -> i64 {
    let last = i64::try_from(list.len()).unwrap_or(i64::MAX) - 1;
    if at_head { list.first() } else { list.first() + last }
}

/// Pushes one element.
pub(super) fn push_one(run: &mut Transaction<'_>, key: &Bytes, item: Bytes, at_head: bool) -> CommandResult<usize> {
    push_all(run, key, &mut [item], at_head)
}

fn push_all(run: &mut Transaction<'_>, key: &Bytes, items: &mut [Bytes], at_head: bool) -> CommandResult<usize> {
    run.edit_list(key, |list, edit| {
        for item in items {
            list.push(std::mem::take(item), at_head);
            edit.item(end_number(list, at_head));
        }
        list.len()
    })
}

fn push(run: &mut Transaction<'_>, args: &mut [Bytes], at_head: bool, must_exist: bool) -> CommandResult {
    let (key, items) = args.split_at_mut(1);
    if run.view().list(&key[0])?.is_none() && must_exist {
        return Ok(Reply::Integer(0));
    }
    push_all(run, &key[0], items, at_head).map(Reply::count)
}

fn lpush(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    push(run, args, true, false)
}

fn rpush(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    push(run, args, false, false)
}

fn lpushx(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    push(run, args, true, true)
}

fn rpushx(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    push(run, args, false, true)
}

fn llen(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    Ok(Reply::count(view.list(&args[0])?.map_or(0, List::len)))
}

fn lrange(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let (start, stop) = (integer(&args[1])?, integer(&args[2])?);
    let Some(list) = view.list(&args[0])? else { return Ok(Reply::Array(Vec::new())) };
    let (from, count) = range(start, stop, list.len());
    Ok(Reply::Array(list.range(from, count).map(|item| Reply::Value(item.into())).collect()))
}

/// The place of an index that may count from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|at| *at < length)
}

fn lindex(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let Some(list) = view.list(&args[0])? else { return Ok(Reply::Nil) };
    let index = integer(&args[1])?;
    let item = place(index, list.len()).and_then(|at| list.get(at));
    Ok(item.map_or(Reply::Nil, |item| Reply::Value(item.into())))
}

fn lset(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let length = run.view().list(&args[0])?.map(List::len).ok_or(StoreError::said("ERR no such key"))?;
    let index = integer(&args[1])?;
    let at = place(index, length).ok_or(StoreError::said("ERR index out of range"))?;
    let item = std::mem::take(&mut args[2]);
    run.edit_list(&args[0], |list, edit| {
        list.set(at, item);
        edit.item(list.first() + i64::try_from(at).unwrap_or(i64::MAX));
    })?;
    Ok(Reply::Ok)
}

fn linsert(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let after = match () {
        () if is(&args[1], "AFTER") => 1,
        () if is(&args[1], "BEFORE") => 0,
        () => return Err(StoreError::SYNTAX),
    };
    let Some(list) = run.view().list(&args[0])? else { return Ok(Reply::Integer(0)) };
    let Some(at) = list.range(0, usize::MAX).position(|item| *item == *args[2]) else { return Ok(Reply::Integer(-1)) };
    let item = std::mem::take(&mut args[3]);
    let length = run.edit_list(&args[0], |list, edit| {
        list.insert(at + after, item);
        edit.moved();
        list.len()
    })?;
    Ok(Reply::count(length))
}

fn ltrim(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let (start, stop) = (integer(&args[1])?, integer(&args[2])?);
    let Some(length) = run.view().list(&args[0])?.map(List::len) else { return Ok(Reply::Ok) };
    let (from, count) = range(start, stop, length);
    if count == 0 {
        run.remove(&args[0]);
        return Ok(Reply::Ok);
    }
    if count < length {
        run.edit_list(&args[0], |list, edit| {
            let (first, last) = (end_number(list, true), end_number(list, false));
            list.trim(from, count);
            (first..list.first()).for_each(|number| edit.item(number));
            (end_number(list, false) + 1..=last).for_each(|number| edit.item(number));
        })?;
    }
    Ok(Reply::Ok)
}

fn lrem(run: &mut Transaction<'_>, args: &mut [Bytes]) -> CommandResult {
    let count = integer(&args[1])?;
    let most = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let removed = run.edit_list(&args[0], |list, edit| {
        let removed = list.remove(&args[2], most, count < 0);
        if removed > 0 {
            edit.moved();
        }
        removed
    })?;
    Ok(Reply::count(removed))
}

fn lpos(view: &StoreView<'_>, args: &[Bytes]) -> CommandResult {
    let (mut rank, mut count, mut most) = (1, None, usize::MAX);
    if !args.len().is_multiple_of(2) {
        return Err(StoreError::SYNTAX);
    }
    for option in args[2..].chunks_exact(2) {
        let number = |what: &str| {
            let negative = || StoreError::told(format!("ERR {what} can't be negative"));
            integer(&option[1]).ok().and_then(|number| usize::try_from(number).ok()).ok_or_else(negative)
        };
        match () {
            () if is(&option[0], "RANK") => {
                rank = integer(&option[1])?;
                if rank == i64::MIN {
                    return Err(StoreError::said(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                    ));
                }
                if rank == 0 {
                    return Err(StoreError::said(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                         or use negative to start from the end of the list",
                    ));
                }
            }
            () if is(&option[0], "COUNT") => count = Some(number("COUNT")?),
            () if is(&option[0], "MAXLEN") => most = number("MAXLEN")?,
            () => return Err(StoreError::SYNTAX),
        }
    }
    let wanted = match count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    let most = if most == 0 { usize::MAX } else { most };
    let list = view.list(&args[0])?;
    let length = list.map_or(0, List::len);
    let items: Vec<&[u8]> = list.map(|list| list.range(0, usize::MAX).collect()).unwrap_or_default();
    let order: Box<dyn Iterator<Item = usize>> =
        if rank > 0 { Box::new(0..length) } else { Box::new((0..length).rev()) };
    let skipped = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let places = order.take(most).filter(|at| *items[*at] == *args[1]).skip(skipped).take(wanted).map(Reply::count);
    let mut places: Vec<Reply> = places.collect();
    Ok(match count {
        Some(_) => Reply::Array(places),
        None => places.pop().unwrap_or(Reply::Nil),
    })
}
