//! Pops that wait: `BLPOP` and its kin.
//!
//! A blocking pop is an ordinary pop, logged like every other. When there was nothing to pop the connection waits
//! here, until a write that came through this door may have filled one of its keys; then it is tried again. Doors
//! tell each other whether anybody waits, and those where somebody does are told of what may have been filled
//! elsewhere. What came by another way (the prompt, or just before it was known that somebody waits) is noticed by a
//! question every `LOOK_INTERVAL`. Who waits longest at a door is tried first. The time limit is the door's own
//! affair: no server waits for anybody.

use super::connection::{Hold, Id};
use super::hall::{Hall, Shape, Then};
use super::rows::{DoorAnswer, Visit};
use crate::core::protocol::Time;
use crate::core::store::commands::parse_in;
use crate::core::store::{Bytes, Command, Db, Reply, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often a waiting connection asks whether its keys have been filled by another way.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    id: Id,
    db: Db,
    keys: Vec<Bytes>,
    pop: Command,
    /// What is popped goes there.
    fills: Option<Bytes>,
    shape: Shape,
    until: Time,
    next_look: Time,
    /// The cluster is being asked.
    is_asking: bool,
    /// A key may have been filled since it was asked.
    again: bool,
    /// There was nothing to pop once.
    has_waited: bool,
}

/// All who wait, who waits longest first.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: BTreeMap<u64, Waiter>,
    by_key: BTreeMap<Bytes, BTreeSet<u64>>,
    last: u64,
}

impl Waiters {
    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    fn begin(&mut self, waiter: Waiter) -> u64 {
        self.last += 1;
        for key in &waiter.keys {
            self.by_key.entry(key.clone()).or_default().insert(self.last);
        }
        self.waiting.insert(self.last, waiter);
        self.last
    }

    /// This one waits no longer.
    pub fn end(&mut self, number: u64) -> Option<Id> {
        let waiter = self.waiting.remove(&number)?;
        for key in &waiter.keys {
            if let Some(numbers) = self.by_key.get_mut(key) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        Some(waiter.id)
    }

    /// This connection waits no longer.
    pub fn leave(&mut self, id: Id) {
        let number = self.waiting.iter().find(|(_, waiter)| waiter.id == id).map(|(number, _)| *number);
        number.map(|number| self.end(number));
    }

    /// When somebody's time is over, or it is time to look.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let idle = self.waiting.values().filter(|waiter| !waiter.is_asking);
        idle.map(|waiter| waiter.until.min(waiter.next_look)).min().unwrap_or(Time::NEVER)
    }
}

impl Hall {
    /// One of these may be the name of a key that has been filled: whoever waits for it tries again, at every door.
    pub(super) fn wake_all(&mut self, now: Time, touched: &[Bytes]) {
        self.wake(now, touched);
        self.others.tell_filled(touched);
    }

    /// The same for those who wait here.
    pub(super) fn wake(&mut self, now: Time, touched: &[Bytes]) {
        let numbers: BTreeSet<u64> =
            touched.iter().filter_map(|key| self.waiters.by_key.get(key)).flatten().copied().collect();
        for number in numbers {
            self.try_again(now, number);
        }
    }

    fn try_again(&mut self, now: Time, number: u64) {
        let Some(waiter) = self.waiters.waiting.get_mut(&number) else { return };
        if waiter.is_asking {
            waiter.again = true;
            return;
        }
        (waiter.is_asking, waiter.again) = (true, false);
        let (id, pop) = (waiter.id, waiter.pop.clone());
        self.ask_for(now, id, pop, Then::Pop(number));
    }

    /// A pop was tried.
    pub(super) fn popped(&mut self, now: Time, number: u64, reply: &Reply) {
        let Some(waiter) = self.waiters.waiting.get_mut(&number) else { return };
        waiter.is_asking = false;
        let (id, shape) = (waiter.id, waiter.shape);
        // Who waits for a list does not mind that something else has been there meanwhile. (Where the element is to go
        // is another matter.)
        let is_other = |reply: &Reply| matches!(reply, Reply::Error(error) if *error == StoreError::WRONG_TYPE);
        let is_nothing = waiter.has_waited && waiter.fills.is_none() && is_other(reply);
        if is_nothing || matches!(reply, Reply::Nil | Reply::NilArray) {
            waiter.has_waited = true;
            if waiter.again {
                return self.try_again(now, number);
            }
            waiter.next_look = now + LOOK_INTERVAL;
            return self.end_late(now);
        }
        let filled = waiter.fills.clone();
        self.waiters.end(number);
        if let Some(connection) = self.connection(id) {
            connection.say(|out| out.shaped(shape, reply));
        }
        self.release(id);
        self.wake_all(now, filled.as_slice());
    }

    /// Somebody has looked whether there is something to pop.
    pub(super) fn looked(&mut self, now: Time, number: u64, reply: &Reply) {
        let Some(waiter) = self.waiters.waiting.get_mut(&number) else { return };
        waiter.is_asking = false;
        waiter.next_look = now + LOOK_INTERVAL;
        if waiter.again || matches!(reply, Reply::Integer(1..)) {
            self.try_again(now, number);
        }
    }

    /// Ends the waiting of those whose time is over, and looks for the others.
    pub(super) fn tick_waiters(&mut self, now: Time) {
        if self.waiters.deadline() > now {
            return;
        }
        self.end_late(now);
        let due = |waiter: &&mut Waiter| !waiter.is_asking && waiter.next_look <= now;
        let mut looks = Vec::new();
        for (number, waiter) in self.waiters.waiting.iter_mut().filter(|(_, waiter)| due(waiter)) {
            let words: Vec<Bytes> = std::iter::once("exists".into()).chain(waiter.keys.iter().cloned()).collect();
            waiter.next_look = now + LOOK_INTERVAL;
            if let Ok(look) = parse_in(waiter.db, &words) {
                waiter.is_asking = true;
                looks.push((*number, waiter.id, look));
            }
        }
        for (number, id, look) in looks {
            self.ask_for(now, id, look, Then::Look(number));
        }
    }

    fn end_late(&mut self, now: Time) {
        let late = |waiter: &Waiter| !waiter.is_asking && waiter.until <= now;
        let late: Vec<u64> =
            self.waiters.waiting.iter().filter(|(_, waiter)| late(waiter)).map(|(number, _)| *number).collect();
        for number in late {
            self.end_with_nothing(number);
        }
    }

    fn end_with_nothing(&mut self, number: u64) {
        let Some(id) = self.waiters.end(number) else { return };
        if let Some(connection) = self.connection(id) {
            connection.say(|out| out.null_array());
        }
        self.release(id);
    }

    /// `CLIENT UNBLOCK`: whether that connection was waiting.
    pub(super) fn unblock(&mut self, id: Id, with_error: bool) -> bool {
        let found = self.waiters.waiting.iter().find(|(_, waiter)| waiter.id == id).map(|(number, _)| *number);
        let Some(number) = found else { return false };
        if with_error {
            self.waiters.end(number);
            if let Some(connection) = self.connection(id) {
                connection.say(|out| out.error("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
            }
            self.release(id);
        } else {
            self.end_with_nothing(number);
        }
        true
    }
}

/// A pop and where to look for something to pop.
struct Pop {
    words: Vec<Bytes>,
    keys: Vec<Bytes>,
    fills: Option<Bytes>,
    shape: Shape,
}

/// Seconds, with a fraction, as `BLPOP` takes them; `None` is for ever.
fn timeout(word: &Bytes) -> Result<Option<Duration>, String> {
    let seconds = std::str::from_utf8(word).ok().and_then(|text| text.parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| !seconds.is_nan()).ok_or("ERR timeout is not a float or out of range")?;
    if seconds < 0.0 {
        return Err("ERR timeout is negative".into());
    }
    if seconds > 9_223_372_036_854_775.0 {
        return Err("ERR timeout is out of range".into());
    }
    if seconds == 0.0 {
        return Ok(None);
    }
    Ok(Some(Duration::from_secs_f64(seconds.min(1e9)).max(Duration::from_millis(1))))
}

fn block(visit: &mut Visit<'_>, timeout: Option<Duration>, pop: Pop) -> Result<DoorAnswer, String> {
    let db = visit.me.db;
    let command = parse_in(db, &pop.words).map_err(|error| error.redis_text().into_owned())?;
    if visit.in_exec {
        return Ok(DoorAnswer::Ask(command, Then::Shape(pop.shape)));
    }
    let number = visit.hall.waiters.begin(Waiter {
        id: visit.me.id,
        db,
        keys: pop.keys,
        pop: command.clone(),
        fills: pop.fills,
        shape: pop.shape,
        until: timeout.map_or(Time::NEVER, |timeout| visit.now + timeout),
        next_look: visit.now + LOOK_INTERVAL,
        is_asking: true,
        again: false,
        has_waited: false,
    });
    visit.hall.others.tell_waiting(true);
    visit.me.hold = Hold::Blocked;
    Ok(DoorAnswer::Ask(command, Then::Pop(number)))
}

/// `BLPOP` and the like: keys, and a time limit.
fn pop_one(visit: &mut Visit<'_>, pop: &str, side: &str, shape: Shape) -> Result<DoorAnswer, String> {
    let Some((last, keys)) = visit.args().split_last() else { return Err("ERR syntax error".into()) };
    let (timeout, keys) = (timeout(last)?, keys.to_vec());
    let mut words: Vec<Bytes> = vec![pop.into(), keys.len().to_string().into()];
    words.extend(keys.iter().cloned());
    words.extend([side.into(), "COUNT".into(), "1".into()]);
    block(visit, timeout, Pop { words, keys, fills: None, shape })
}

/// `BLMPOP` and the like: a time limit, and the words of the pop that does not block.
fn pop_many(visit: &mut Visit<'_>, pop: &str) -> Result<DoorAnswer, String> {
    let timeout = timeout(&visit.words[1])?;
    let mut words: Vec<Bytes> = vec![pop.into()];
    words.extend(visit.words[2..].iter().cloned());
    let count = std::str::from_utf8(&visit.words[2]).ok().and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let keys = visit.words[3..].iter().take(count).cloned().collect();
    block(visit, timeout, Pop { words, keys, fills: None, shape: Shape::Same })
}

/// `BLPOP`.
pub(super) fn blpop(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    pop_one(visit, "lmpop", "LEFT", Shape::Element)
}

/// `BRPOP`.
pub(super) fn brpop(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    pop_one(visit, "lmpop", "RIGHT", Shape::Element)
}

/// `BZPOPMIN`.
pub(super) fn bzpopmin(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    pop_one(visit, "zmpop", "MIN", Shape::Member)
}

/// `BZPOPMAX`.
pub(super) fn bzpopmax(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    pop_one(visit, "zmpop", "MAX", Shape::Member)
}

/// `BLMPOP`.
pub(super) fn blmpop(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    pop_many(visit, "lmpop")
}

/// `BZMPOP`.
pub(super) fn bzmpop(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    pop_many(visit, "zmpop")
}

/// `BLMOVE`.
pub(super) fn blmove(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let timeout = timeout(&visit.words[5])?;
    let words: Vec<Bytes> = std::iter::once("lmove".into()).chain(visit.words[1..5].iter().cloned()).collect();
    let (keys, fills) = (vec![visit.words[1].clone()], Some(visit.words[2].clone()));
    block(visit, timeout, Pop { words, keys, fills, shape: Shape::Same })
}

/// `BRPOPLPUSH`.
pub(super) fn brpoplpush(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let timeout = timeout(&visit.words[3])?;
    let words: Vec<Bytes> = std::iter::once("rpoplpush".into()).chain(visit.words[1..3].iter().cloned()).collect();
    let (keys, fills) = (vec![visit.words[1].clone()], Some(visit.words[2].clone()));
    block(visit, timeout, Pop { words, keys, fills, shape: Shape::Same })
}
