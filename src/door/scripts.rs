//! `EVAL` without Lua: a few fixed scripts of widely used libraries are known by their digest and run natively.
//!
//! Each of them becomes ordinary commands in one `EXEC`, so it is atomic and replicated like every other command.
//! What a script decides by what it has read is decided by the store itself where a command can (`SET NX`, `EXPIRE
//! NX`); where none can (a lock that is given back by its owner alone), it is read first, and the `EXEC` carries the
//! op numbers of what was read: when somebody else was faster, it is read again.
//!
//! A script that is not known gets an error that says what to use instead.

use super::connection::Id;
use super::hall::{Hall, Then};
use super::resp::Writer;
use super::rows::{DoorAnswer, Visit};
use super::sha1::sha1_hex;
use crate::core::protocol::Time;
use crate::core::store::commands::parse_in;
use crate::core::store::{Bytes, Command, Db, OpNumber, Reply, Watched};

/// What is said of a script that is not known.
const UNKNOWN: &str = "ERR this store runs no Lua: only the fixed scripts of rate-limit-redis, rate-limiter-flexible, \
                       @fastify/rate-limit and redlock are known; use MULTI/EXEC with WATCH, or commands such as SET \
                       NX PX, INCR, GETDEL instead";
/// What is said of a script's digest that is not known.
const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
/// What was read is read again at most so often, when others are always faster.
const TRIES_MAX: u32 = 16;

/// A script that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KnownScript {
    /// rate-limit-redis: counts a hit; the window begins with the first.
    RateIncrement,
    /// The same in older versions: the window may begin anew with every hit.
    RateIncrementOrReset,
    /// rate-limit-redis: how many hits there were.
    RateGet,
    /// rate-limiter-flexible: takes points.
    FlexibleTake,
    /// @fastify/rate-limit: counts a hit; the window may begin anew with every hit beyond the limit.
    FastifyIncrement,
    /// @fastify/rate-limit: how many hits there were.
    FastifyRead,
    /// redlock: takes all of some locks, if all are free.
    Lock,
    /// redlock: gives locks back that are one's own.
    Unlock,
    /// redlock: keeps locks that are one's own for longer.
    Extend,
}

/// The digests of the scripts as the libraries send them.
const KNOWN: &[(&str, KnownScript)] = &[
    // rate-limit-redis 6
    ("895b92e1712734e1b464999be23953485475357b", KnownScript::RateIncrement),
    // rate-limit-redis 4 and 5
    ("81dbecea94d2d10514719b20ed51faf711529d9d", KnownScript::RateIncrementOrReset),
    // rate-limit-redis 4 to 6
    ("6aeb97ed6086dcdeafdc6fda3999a0d0e38ec96a", KnownScript::RateGet),
    // rate-limiter-flexible 5 to 11
    ("a1de965f42e177aa339706bd580f049065eca79a", KnownScript::FlexibleTake),
    // @fastify/rate-limit 10 and 11
    ("b8a19d47785922bb04e7a9fdb49e90d89be1b8af", KnownScript::FastifyIncrement),
    // @fastify/rate-limit 11
    ("4c7d9ef62b3d4f8efd8d11d5d2fd1a56b1e723bc", KnownScript::FastifyRead),
    // redlock 4
    ("e5a322e2634ef59a516e8ea150cb085afafee684", KnownScript::Lock),
    ("0f0f23b9048b36752b5be114f357ba083449f908", KnownScript::Unlock),
    ("ce46f80993d5dac20dd066eb301a4e37994bdbed", KnownScript::Extend),
    // redlock 5 (beta)
    ("96da70f7716f27d278a5218544df37fd8b0a5e4c", KnownScript::Lock),
    ("e4612211c9f8f51c257e26e056b0a654b3187242", KnownScript::Unlock),
    ("aed6f382e410db8ba7926d4e5e9aab410bf2a78a", KnownScript::Extend),
];

fn known(digest: &str) -> Option<KnownScript> {
    let digest = digest.to_ascii_lowercase();
    KNOWN.iter().find(|(known, _)| *known == digest).map(|(_, script)| *script)
}

/// How a script's commands become its answer.
#[derive(Debug)]
pub enum Answering {
    /// The replies at these places of the `EXEC`, as numbers.
    Picked(&'static [usize]),
    /// A count and the time that is left, zeros when there is nothing.
    Read,
    /// What was read decides what is done: see [`ScriptStep`].
    Step(Box<ScriptStep>),
    /// This many, if nobody was faster.
    Count(Box<ScriptStep>, i64),
}

/// A script that reads first.
#[derive(Debug, Clone)]
pub struct ScriptStep {
    script: KnownScript,
    db: Db,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
    tries: u32,
}

/// A script's words are refused.
fn wrong(what: &str) -> String {
    format!("ERR {what}")
}

fn command(db: Db, words: Vec<Bytes>) -> Result<Command, String> {
    parse_in(db, &words).map_err(|error| error.redis_text().into_owned())
}

fn words<const N: usize>(words: [&Bytes; N]) -> Vec<Bytes> {
    words.into_iter().cloned().collect()
}

/// Runs a script that is known.
fn run(visit: &Visit<'_>, script: KnownScript) -> Result<DoorAnswer, String> {
    let count: usize = visit.text(2).parse().map_err(|_| wrong("value is not an integer or out of range"))?;
    if count > visit.words.len() - 3 {
        return Err(wrong("Number of keys can't be greater than number of args"));
    }
    let (keys, args) = visit.words[3..].split_at(count);
    let (db, set, zero) = (visit.me.db, Bytes::from("set"), Bytes::from("0"));
    let (px, ex, nx, pttl) = (Bytes::from("PX"), Bytes::from("EX"), Bytes::from("NX"), Bytes::from("pttl"));
    let (incr, get) = (Bytes::from("incr"), Bytes::from("get"));
    let lacks = || wrong("the script needs more keys or arguments than there are");
    let key = keys.first().ok_or_else(lacks)?;
    let arg = |at: usize| args.get(at).ok_or_else(lacks);
    let (lines, answering) = match script {
        KnownScript::RateIncrement | KnownScript::RateIncrementOrReset => {
            let is_older = script == KnownScript::RateIncrementOrReset;
            let window = arg(usize::from(is_older))?;
            let pexpire = Bytes::from("pexpire");
            let again = is_older && arg(0)?.as_ref() == b"1";
            let expire = if again { words([&pexpire, key, window]) } else { words([&pexpire, key, window, &nx]) };
            let lines =
                vec![words([&set, key, &zero, &px, window, &nx]), words([&incr, key]), expire, words([&pttl, key])];
            (lines, Answering::Picked(&[1, 3]))
        }
        KnownScript::RateGet | KnownScript::FastifyRead => {
            let picked = if script == KnownScript::RateGet { Answering::Picked(&[0, 1]) } else { Answering::Read };
            (vec![words([&get, key]), words([&pttl, key])], picked)
        }
        KnownScript::FlexibleTake => {
            let (points, seconds) = (arg(0)?, arg(1)?);
            let (incrby, expire) = (Bytes::from("incrby"), Bytes::from("expire"));
            let lines = vec![
                words([&set, key, &zero, &ex, seconds, &nx]),
                words([&incrby, key, points]),
                words([&expire, key, seconds, &nx]),
                words([&pttl, key]),
            ];
            (lines, Answering::Picked(&[1, 3]))
        }
        KnownScript::FastifyIncrement if arg(2)?.as_ref() != b"true" && arg(3)?.as_ref() != b"true" => {
            let window = arg(0)?;
            let lines = vec![words([&set, key, &zero, &px, window, &nx]), words([&incr, key]), words([&pttl, key])];
            (lines, Answering::Picked(&[1, 2]))
        }
        KnownScript::FastifyIncrement | KnownScript::Lock | KnownScript::Unlock | KnownScript::Extend => {
            let step = ScriptStep { script, db, keys: keys.to_vec(), args: args.to_vec(), tries: 0 };
            return Ok(DoorAnswer::Ask(step.reading()?, Then::Script(Answering::Step(Box::new(step)))));
        }
    };
    let commands: Result<Vec<Command>, String> = lines.into_iter().map(|line| command(db, line)).collect();
    Ok(DoorAnswer::Ask(Command::multi(commands?, Vec::new()), Then::Script(answering)))
}

/// A reply as a whole number.
fn number(reply: Option<&Reply>) -> Option<i64> {
    match reply {
        Some(Reply::Integer(number)) => Some(*number),
        Some(Reply::Value(digits)) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

impl ScriptStep {
    /// Values and versions of all keys.
    fn reading(&self) -> Result<Command, String> {
        let get = Bytes::from("get");
        let values: Result<Vec<Command>, String> =
            self.keys.iter().map(|key| command(self.db, words([&get, key]))).collect();
        let versions = self.keys.iter().map(|key| Command::version(self.db, key.clone()));
        Ok(Command::multi(values?.into_iter().chain(versions).collect(), Vec::new()))
    }

    /// What is to be done when this was read, and what is answered when that was done.
    fn writing(&self, values: &[Reply]) -> Result<(Vec<Vec<Bytes>>, i64), String> {
        let arg = |at: usize| self.args.get(at).ok_or_else(|| wrong("the script needs more arguments than there are"));
        let is_mine = |value: &Reply, mine: &Bytes| matches!(value, Reply::Value(value) if value == mine);
        let count = self.keys.len() as i64;
        let take = |key: &Bytes| -> Result<Vec<Bytes>, String> {
            let (set, px) = (Bytes::from("set"), Bytes::from("PX"));
            Ok(words([&set, key, arg(0)?, &px, arg(1)?]))
        };
        match self.script {
            KnownScript::Lock if values.iter().any(|value| *value != Reply::Nil) => Ok((Vec::new(), 0)),
            KnownScript::Extend if !values.iter().all(|value| arg(0).is_ok_and(|mine| is_mine(value, mine))) => {
                Ok((Vec::new(), 0))
            }
            KnownScript::Lock | KnownScript::Extend => {
                Ok((self.keys.iter().map(take).collect::<Result<_, _>>()?, count))
            }
            KnownScript::Unlock => {
                let mine = arg(0)?;
                let del = Bytes::from("del");
                let own = self.keys.iter().zip(values).filter(|(_, value)| is_mine(value, mine));
                let lines: Vec<Vec<Bytes>> = own.map(|(key, _)| words([&del, key])).collect();
                let count = lines.len() as i64;
                Ok((lines, count))
            }
            _ => self.counting(values),
        }
    }

    /// @fastify/rate-limit beyond the limit: what it answers is the time that is left.
    fn counting(&self, values: &[Reply]) -> Result<(Vec<Vec<Bytes>>, i64), String> {
        let arg = |at: usize| {
            let text = self.args.get(at).map(|arg| String::from_utf8_lossy(arg).into_owned());
            text.ok_or_else(|| wrong("the script needs more arguments than there are"))
        };
        let key = self.keys.first().ok_or_else(|| wrong("the script needs a key"))?;
        let not_a_number = || wrong("value is not an integer or out of range");
        let window: f64 = arg(0)?.parse().map_err(|_| not_a_number())?;
        let max: i64 = arg(1)?.parse().map_err(|_| not_a_number())?;
        let (continues, grows) = (arg(2)? == "true", arg(3)? == "true");
        let current = match values.first() {
            Some(Reply::Nil) | None => 1,
            value => number(value).and_then(|number| number.checked_add(1)).ok_or_else(not_a_number)?,
        };
        let beyond = current.saturating_sub(max).saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 2^53")]
        let longer = |beyond: i64| (window * 2_f64.powi(i32::try_from(beyond).unwrap_or(64))).min(LARGEST) as i64;
        #[expect(clippy::cast_possible_truncation, reason = "what is too large ends at the largest")]
        let window = match () {
            () if current == 1 || continues && current > max => Some(window as i64),
            () if grows && current > max => Some(longer(beyond)),
            () => None,
        };
        let mut lines = vec![vec!["incr".into(), key.clone()]];
        lines.extend(window.map(|window| vec!["pexpire".into(), key.clone(), window.to_string().into()]));
        lines.push(vec!["pttl".into(), key.clone()]);
        Ok((lines, window.unwrap_or(-1)))
    }
}

/// The largest whole number of JavaScript.
const LARGEST: f64 = 9_007_199_254_740_991.0;

impl Hall {
    /// The commands of a script were carried out: it is answered, or goes on.
    pub(super) fn scripted(&mut self, now: Time, id: Id, slot: u64, answering: Answering, reply: &Reply) {
        let failed = match (&answering, reply) {
            // What was read has changed meanwhile.
            (Answering::Count(step, _), Reply::Nil | Reply::NilArray) if step.tries < TRIES_MAX => None,
            (_, Reply::Array(replies)) => replies.iter().find(|reply| matches!(reply, Reply::Error(_))),
            (_, other) => Some(other),
        };
        if let Some(failed) = failed {
            return self.say_in(id, slot, |out| match failed {
                Reply::Error(_) => out.store(failed),
                _ => out.error("ERR others were always faster: try again"),
            });
        }
        let replies = if let Reply::Array(replies) = reply { replies.as_slice() } else { &[] };
        match answering {
            Answering::Picked(places) => self.say_in(id, slot, |out| {
                out.array(places.len());
                for at in places {
                    match replies.get(*at) {
                        // What GET answers for a key that is not there is `false` in Lua, and nil outside.
                        None | Some(Reply::Nil) => out.null(),
                        Some(value @ Reply::Value(_)) => out.store(value),
                        value => out.integer(number(value).unwrap_or(0)),
                    }
                }
            }),
            Answering::Read => self.say_in(id, slot, |out| {
                let count = number(replies.first()).unwrap_or(0);
                out.array(2);
                out.integer(count);
                out.integer(number(replies.get(1)).filter(|_| count != 0).unwrap_or(0).max(0));
            }),
            Answering::Step(step) => self.step(now, id, slot, *step, replies),
            Answering::Count(mut step, _) if replies.is_empty() && matches!(reply, Reply::Nil | Reply::NilArray) => {
                step.tries += 1;
                match step.reading() {
                    Ok(reading) => self.ask_on(now, id, slot, reading, Then::Script(Answering::Step(step))),
                    Err(why) => self.say_in(id, slot, |out| out.error(&why)),
                }
            }
            Answering::Count(step, count) => self.say_in(id, slot, |out| {
                if step.script != KnownScript::FastifyIncrement {
                    return out.integer(count);
                }
                out.array(2);
                out.integer(number(replies.first()).unwrap_or(0));
                out.integer(if count >= 0 { count } else { number(replies.last()).unwrap_or(0) });
            }),
        }
    }

    fn step(&mut self, now: Time, id: Id, slot: u64, step: ScriptStep, replies: &[Reply]) {
        let (values, versions) = replies.split_at(step.keys.len().min(replies.len()));
        let (lines, count) = match step.writing(values) {
            Ok(writing) => writing,
            Err(why) => return self.say_in(id, slot, |out| out.error(&why)),
        };
        if lines.is_empty() {
            return self.say_in(id, slot, |out| out.integer(count));
        }
        let commands: Result<Vec<Command>, String> = lines.into_iter().map(|line| command(step.db, line)).collect();
        let watched = step.keys.iter().zip(versions).map(|(key, version)| Watched {
            db: step.db,
            key: key.clone(),
            op: OpNumber(number(Some(version)).and_then(|op| u64::try_from(op).ok()).unwrap_or(0)),
        });
        match commands {
            Ok(commands) => {
                let writing = Command::multi(commands, watched.collect());
                self.ask_on(now, id, slot, writing, Then::Script(Answering::Count(Box::new(step), count)));
            }
            Err(why) => self.say_in(id, slot, |out| out.error(&why)),
        }
    }

    fn say_in(&mut self, id: Id, slot: u64, write: impl FnOnce(&mut Writer<'_>)) {
        if let Some(connection) = self.connection(id) {
            connection.fill(slot, write);
        }
    }
}

/// `EVAL`.
pub(super) fn eval(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let script = known(&sha1_hex(&visit.words[1])).ok_or(UNKNOWN)?;
    outside_of_exec(visit)?;
    run(visit, script)
}

/// `EVALSHA`.
pub(super) fn evalsha(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let script = known(&visit.text(1)).ok_or(NO_SCRIPT)?;
    outside_of_exec(visit)?;
    run(visit, script)
}

/// What becomes an `EXEC` itself cannot be in one.
fn outside_of_exec(visit: &Visit<'_>) -> Result<(), String> {
    if visit.in_exec { Err("ERR EVAL is not possible in a transaction here".into()) } else { Ok(()) }
}

/// `SCRIPT`.
pub(super) fn script(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    match (visit.text(1).to_ascii_lowercase().as_str(), visit.words.len()) {
        ("flush", _) => visit.ok(),
        ("load", 3) => {
            let digest = sha1_hex(&visit.words[2]);
            known(&digest).ok_or(UNKNOWN)?;
            visit.say(|out| out.bulk(&digest))
        }
        ("exists", 3..) => {
            let found: Vec<bool> = (2..visit.words.len()).map(|at| known(&visit.text(at)).is_some()).collect();
            visit.say(|out| {
                out.array(found.len());
                found.iter().for_each(|found| out.integer((*found).into()));
            })
        }
        ("kill", 2) => Err("NOTBUSY No scripts in execution right now.".into()),
        _ => Err(format!("ERR unknown subcommand '{}'. Try SCRIPT HELP.", visit.text(1))),
    }
}

/// `FUNCTION`.
pub(super) fn function(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    match visit.text(1).to_ascii_lowercase().as_str() {
        "flush" => visit.ok(),
        "list" => visit.say(|out| out.array(0)),
        _ => Err("ERR FUNCTION is not supported here: this store runs no Lua".into()),
    }
}
