//! What a door answers by itself: about the connection, and what there is not.

use super::connection::Replies;
use super::everybody;
use super::hall::{Shape, Then};
use super::pubsub;
use super::resp::Version;
use super::rows::{DoorAnswer, Visit};
use crate::core::store::commands::parse_in;
use crate::core::store::{Bytes, Db};

/// The version of Redis whose commands these are; clients look whether it is old.
pub const REDIS_VERSION: &str = "7.0.15";
/// A name, or that of a library, is no longer than this, in bytes.
const NAME_BYTES_MAX: usize = 256;

fn wrong_number(of: &str) -> String {
    format!("ERR wrong number of arguments for '{of}' command")
}

/// The same time for every wrong password.
fn is_equal(one: &[u8], two: &[u8]) -> bool {
    let differs = one.iter().zip(two).fold(one.len() ^ two.len(), |differs, (a, b)| differs | usize::from(a ^ b));
    differs == 0
}

/// Lets somebody in who knows the password.
fn let_in(visit: &mut Visit<'_>, user: Option<&Bytes>, password: &Bytes) -> Result<(), String> {
    let is_known = user.is_none_or(|user| &user[..] == b"default");
    let is_right = visit.hall.settings.password.as_ref().is_none_or(|right| is_equal(right, password));
    if !is_known || !is_right {
        return Err("WRONGPASS invalid username-password pair or user is disabled.".into());
    }
    visit.me.trusted = true;
    visit.me.parser.trusted = true;
    Ok(())
}

/// `AUTH`.
pub(super) fn auth(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let (user, password) = match visit.args().to_vec().as_slice() {
        [password] => (None, password.clone()),
        [user, password] => (Some(user.clone()), password.clone()),
        _ => return Err("ERR syntax error".into()),
    };
    if user.is_none() && visit.hall.settings.password.is_none() {
        return Err("ERR AUTH <password> called without any password configured for the default user. Are you sure \
                    your configuration is correct?"
            .into());
    }
    let_in(visit, user.as_ref(), &password)?;
    visit.ok()
}

/// `HELLO`.
pub(super) fn hello(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let mut version = visit.me.version;
    if let Some(word) = visit.words.get(1) {
        version = match &word[..] {
            b"2" => Version::Resp2,
            b"3" => Version::Resp3,
            other if other.iter().all(u8::is_ascii_digit) => return Err("NOPROTO unsupported protocol version".into()),
            _ => return Err("ERR Protocol version is not an integer or out of range".into()),
        };
    }
    let (mut at, mut name) = (2, None);
    while at < visit.words.len() {
        let left = visit.words.len() - at - 1;
        if visit.is(at, "auth") && left >= 2 {
            let (user, password) = (visit.words[at + 1].clone(), visit.words[at + 2].clone());
            let_in(visit, Some(&user), &password)?;
            at += 3;
        } else if visit.is(at, "setname") && left >= 1 {
            name = Some(checked_name(&visit.words[at + 1], "Client names")?);
            at += 2;
        } else {
            return Err(format!("ERR Syntax error in HELLO option '{}'", visit.text(at)));
        }
    }
    if !visit.me.trusted {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time"
            .into());
    }
    if let Some(name) = name {
        visit.me.name = name;
    }
    visit.me.version = version;
    let id = visit.me.id;
    visit.say(|out| {
        out.map(7);
        out.bulk("server");
        out.bulk("redis");
        out.bulk("version");
        out.bulk(REDIS_VERSION);
        out.bulk("proto");
        out.integer(version.number());
        out.bulk("id");
        out.integer(i64::try_from(id).unwrap_or(i64::MAX));
        out.bulk("mode");
        out.bulk("standalone");
        out.bulk("role");
        out.bulk("master");
        out.bulk("modules");
        out.array(0);
    })
}

/// `SELECT`.
pub(super) fn select(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let number = visit.text(1).parse::<i64>().map_err(|_| "ERR value is not an integer or out of range")?;
    let db = u64::try_from(number).ok().and_then(Db::new).ok_or("ERR DB index is out of range")?;
    visit.me.db = db;
    visit.ok()
}

/// `PING`.
pub(super) fn ping(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.words.len() > 2 {
        return Err(wrong_number("ping"));
    }
    let said = visit.words.get(1).cloned();
    let is_listener = visit.me.subscriptions() > 0 && visit.me.version == Version::Resp2;
    visit.say(|out| match said {
        said if is_listener => {
            out.array(2);
            out.bulk("pong");
            out.bulk(said.unwrap_or_default());
        }
        Some(said) => out.bulk(said),
        None => out.simple("PONG"),
    })
}

/// `ECHO`.
pub(super) fn echo(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let said = visit.words[1].clone();
    visit.say(|out| out.bulk(said))
}

/// `QUIT`.
pub(super) fn quit(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    visit.me.closing = true;
    visit.ok()
}

/// `RESET`.
pub(super) fn reset(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    pubsub::forget_all(visit.hall, visit.me);
    visit.me.reset();
    let trusted = visit.hall.settings.password.is_none();
    (visit.me.trusted, visit.me.parser.trusted) = (trusted, trusted);
    visit.say(|out| out.simple("RESET"))
}

/// `WAIT`: a write is answered when all backups have it.
pub(super) fn wait(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.text(1).parse::<i64>().is_err() {
        return Err("ERR value is not an integer or out of range".into());
    }
    match visit.text(2).parse::<i64>() {
        Err(_) => return Err("ERR timeout is not an integer or out of range".into()),
        Ok(..0) => return Err("ERR timeout is negative".into()),
        Ok(_) => {}
    }
    let backups = visit.hall.facts.backups.len();
    visit.say(|out| out.integer(backups as i64))
}

/// `TIME`.
pub(super) fn time(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let wall = visit.hall.facts.wall;
    visit.say(|out| {
        out.array(2);
        out.bulk(wall.as_secs().to_string());
        out.bulk(wall.subsec_micros().to_string());
    })
}

/// `LASTSAVE`.
pub(super) fn last_save(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let open_for = visit.now.since(visit.hall.counters.opened);
    let opened = visit.hall.facts.wall.saturating_sub(open_for).as_secs();
    visit.say(|out| out.integer(i64::try_from(opened).unwrap_or(i64::MAX)))
}

/// What there is not, and will not be.
pub(super) fn refused(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let name = visit.text(0).to_ascii_uppercase();
    Err(match name.as_str() {
        "REPLICAOF" | "SLAVEOF" | "PSYNC" => {
            format!("ERR {name} is not for this store: who leads and who follows is decided by its own servers")
        }
        "SAVE" | "BGSAVE" => "ERR nothing is saved here: the data is in the memory of the servers".into(),
        "SHUTDOWN" => "ERR SHUTDOWN is not for clients: the console's QUIT ends the cluster".into(),
        _ => format!("ERR {name} is not supported here: the console shows what happens"),
    })
}

/// `CLUSTER`.
pub(super) fn cluster(_: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    Err("ERR This instance has cluster support disabled".into())
}

/// `DEBUG`.
pub(super) fn debug(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.is(1, "sleep") {
        return Err("ERR DEBUG SLEEP is refused: the console's PAUSE holds one server up, and the store goes on".into());
    }
    Err("ERR DEBUG command not allowed: the console's commands break things on purpose".into())
}

/// `LATENCY`.
pub(super) fn latency(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.is(1, "reset") {
        return visit.say(|out| out.integer(0));
    }
    if visit.is(1, "latest") || visit.is(1, "history") {
        return visit.say(|out| out.array(0));
    }
    Err("ERR LATENCY is not supported here: INFO stats tells the slowest answer".into())
}

/// `MEMORY`.
pub(super) fn memory(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    if visit.is(1, "doctor") {
        return visit.say(|out| out.verbatim("The console's STATUS tells how the servers are."));
    }
    if visit.is(1, "usage") && visit.words.len() >= 3 {
        let words = ["exists".into(), visit.words[2].clone()];
        let command = parse_in(visit.me.db, &words).map_err(|error| error.redis_text().into_owned())?;
        return Ok(DoorAnswer::Ask(command, Then::Shape(Shape::Room(visit.words[2].len()))));
    }
    Err("ERR MEMORY is not supported here, but for USAGE and DOCTOR: the data is in the servers, not in the door"
        .into())
}

/// `SLOWLOG`.
pub(super) fn slowlog(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    match visit.text(1).to_ascii_lowercase().as_str() {
        "get" => visit.say(|out| out.array(0)),
        "len" => visit.say(|out| out.integer(0)),
        "reset" => visit.ok(),
        _ => Err(format!("ERR unknown subcommand '{}'. Try SLOWLOG HELP.", visit.text(1))),
    }
}

// ---- CLIENT ------------------------------------------------------------------------------------

/// A name without blanks and control characters, as `CLIENT LIST` needs it.
fn checked_name(name: &Bytes, what: &str) -> Result<Bytes, String> {
    if name.len() > NAME_BYTES_MAX || !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters."));
    }
    Ok(name.clone())
}

/// `CLIENT`.
pub(super) fn client(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let sub = visit.text(1).to_ascii_lowercase();
    match (sub.as_str(), visit.words.len()) {
        ("id", 2) => {
            let id = visit.me.id;
            visit.say(|out| out.integer(i64::try_from(id).unwrap_or(i64::MAX)))
        }
        ("info", 2) => {
            let text = everybody::line(visit.me, visit.now);
            visit.say(|out| out.verbatim(&text))
        }
        ("getname", 2) => {
            let name = visit.me.name.clone();
            visit.say(|out| if name.is_empty() { out.null() } else { out.bulk(name) })
        }
        ("setname", 3) => {
            visit.me.name = checked_name(&visit.words[2], "Client names")?;
            visit.ok()
        }
        ("setinfo", 4) => set_info(visit),
        ("no-evict" | "no-touch", 3) if visit.is(2, "on") || visit.is(2, "off") => visit.ok(),
        ("unpause", 2) => visit.ok(),
        ("getredir", 2) => visit.say(|out| out.integer(-1)),
        ("reply", 3) => reply(visit),
        ("list", _) | ("kill", 3..) | ("unblock", 3 | 4) => everybody::about(visit),
        ("pause", 3 | 4) => Err("ERR CLIENT PAUSE is not supported: a door holds nobody up".into()),
        ("tracking" | "caching" | "trackinginfo", _) => {
            Err(format!("ERR CLIENT {} is not supported here", sub.to_ascii_uppercase()))
        }
        (
            "id" | "info" | "getname" | "setname" | "setinfo" | "no-evict" | "no-touch" | "unpause" | "reply" | "kill"
            | "unblock" | "pause" | "getredir",
            _,
        ) => Err(wrong_number(&format!("client|{sub}"))),
        _ => Err(format!("ERR unknown subcommand '{}'. Try CLIENT HELP.", visit.text(1))),
    }
}

fn set_info(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let attribute = visit.text(2).to_ascii_lowercase();
    let value = visit.words[3].clone();
    match attribute.as_str() {
        "lib-name" => visit.me.library.0 = checked_name(&value, "lib-name")?,
        "lib-ver" => visit.me.library.1 = checked_name(&value, "lib-ver")?,
        _ => return Err(format!("ERR Unrecognized option '{}'", visit.text(2))),
    }
    visit.ok()
}

fn reply(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    match visit.text(2).to_ascii_lowercase().as_str() {
        "on" => {
            visit.me.replies = Replies::On;
            visit.ok()
        }
        "off" => {
            visit.me.replies = Replies::Off;
            Ok(DoorAnswer::Silent)
        }
        "skip" => {
            if visit.me.replies == Replies::On {
                visit.me.replies = Replies::Skip;
            }
            Ok(DoorAnswer::Silent)
        }
        _ => Err("ERR syntax error".into()),
    }
}
