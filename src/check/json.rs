//! Histories as lines of JSON, one operation a line: the files of `--history`.
//!
//! ```json
//! {"client":0,"seq":12,"op":"put","key":"a","arg":"1","call_ns":1500,"return_ns":2100,"outcome":"ok","result":"OK"}
//! ```
//!
//! | field | |
//! |---|---|
//! | `client` | the number of its rank; for a further client on rank r, a larger number that is its own |
//! | `op` | the command's name in small letters |
//! | `key`, `arg` | key and value; for `keys` the glob is the `arg`. Bytes that are not UTF-8: base64 in `key64`, `arg64` |
//! | `return_ns` | null when the outcome is unknown |
//! | `outcome` | `ok`, `failed` (certainly without effect), `unknown` |
//! | `result` | what line mode prints, null for `(nil)` and when unknown; or base64 in `result64` |
//! | `result_keys64` | only when a key holds a newline, so that `result` does not say where it ends: each key in base64 |
//! | `args` | of commands that are not among the first nine: the words after the key; of an `exec` its commands |
//! | `exact64` | of these: command and outcome exactly, for the reader |
//! | `epoch` | only when it is not 1: grows with every `RESET` |
//!
//! The reader believes nothing: every line is bounded, and what does not fit is an error that names the line.

use super::Operation;
use crate::core::protocol::{Outcome, Time};
use crate::core::store::{Bytes, ClientId, Command, KeyList, Reply, Seq, StoreError};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};

/// The longest line that is read (64 MiB): a value of 1 MiB fits however it is written.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Why a history cannot be read.
#[derive(Debug)]
pub enum HistoryError {
    /// The file.
    Io(io::Error),
    /// This line, from 1, and what is wrong with it.
    JsonLine(usize, String),
}

impl std::fmt::Display for HistoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::JsonLine(number, what) => write!(f, "line {number}: {what}"),
        }
    }
}

impl std::error::Error for HistoryError {}

#[derive(Serialize, Deserialize)]
struct JsonLine {
    client: u64,
    seq: u64,
    op: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arg64: Option<String>,
    call_ns: u64,
    return_ns: Option<u64>,
    outcome: String,
    #[serde(default)]
    result: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result_keys64: Option<Vec<String>>,
    /// The words after the key, of a command that has no `arg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    args: Option<Vec<String>>,
    /// Command and outcome of such a one, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exact64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
}

/// The words after the key, for people and scripts; bytes that are no text are escaped.
fn words(command: &Command) -> Option<Vec<String>> {
    let shown = |args: &[Bytes]| args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
    match command {
        Command::Call(call) => Some(shown(&call.args[usize::from(command.key().is_some()).min(call.args.len())..])),
        Command::Multi(multi) => Some(multi.commands.iter().map(ToString::to_string).collect()),
        _ => None,
    }
}

/// One operation as a line of JSON, without a newline.
///
/// # Panics
/// Never: a line can always be written.
#[must_use]
pub fn to_line(operation: &Operation) -> String {
    let Operation { client, seq, epoch, command, outcome, call, returned } = operation;
    let argument = match command {
        Command::Keys { pattern } => Some(pattern),
        other => other.value(),
    };
    let (key, key64) = text_or_base64(command.key().map(|key| &**key));
    let (arg, arg64) = text_or_base64(argument.map(|bytes| &**bytes));
    let (word, printed) = match outcome {
        Outcome::Unknown => ("unknown", None),
        Outcome::Done(reply @ Reply::Error(_)) => ("failed", Some(reply.to_string().into_bytes())),
        Outcome::Done(reply) => ("ok", printed(reply)),
    };
    let (result, result64) = text_or_base64(printed.as_deref());
    let line = JsonLine {
        client: ClientId::new(client.rank(), 0, client.number()).into(),
        seq: seq.0,
        op: command.name().to_lowercase(),
        key,
        key64,
        arg,
        arg64,
        call_ns: call.0,
        return_ns: returned.map(|returned| returned.0),
        outcome: word.to_owned(),
        result,
        result64,
        result_keys64: keys_one_by_one(outcome),
        args: words(command),
        exact64: words(command).and_then(|_| postcard::to_stdvec(&(command, outcome)).ok()).map(|bytes| base64(&bytes)),
        epoch: (*epoch != 1).then_some(*epoch),
    };
    serde_json::to_string(&line).expect("a line can always be written")
}

/// What line mode prints, without the newline; `None` for `(nil)`.
fn printed(reply: &Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Nil => None,
        Reply::Value(value) => Some(value.to_vec()),
        Reply::Keys(keys) => Some(keys.join(b'\n')),
        other => Some(other.to_string().into_bytes()),
    }
}

fn keys_one_by_one(outcome: &Outcome) -> Option<Vec<String>> {
    let Outcome::Done(Reply::Keys(keys)) = outcome else { return None };
    let ambiguous = keys.iter().any(|key| key.contains(&b'\n')) || (keys.len() == 1 && keys.size_bytes() == 0);
    ambiguous.then(|| keys.iter().map(base64).collect())
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(std::str::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text.to_owned()), None),
        Some(Err(_)) => (None, bytes.map(base64)),
    }
}

/// Writes a history.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(operations: &[Operation], out: &mut dyn Write) -> io::Result<()> {
    operations.iter().try_for_each(|operation| writeln!(out, "{}", to_line(operation)))
}

/// Reads a history; empty lines are passed over.
///
/// # Errors
/// When the file cannot be read, or a line is not one of a history.
pub fn read(mut from: impl BufRead) -> Result<Vec<Operation>, HistoryError> {
    let mut operations = Vec::new();
    for number in 1.. {
        let mut line = Vec::new();
        let bytes = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(HistoryError::Io)?;
        if bytes == 0 {
            break;
        }
        if bytes as u64 == LINE_BYTES_MAX {
            return Err(HistoryError::JsonLine(number, format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            operations.push(from_line(text).map_err(|what| HistoryError::JsonLine(number, what))?);
        }
    }
    Ok(operations)
}

/// Reads one line.
///
/// # Errors
/// What is wrong with it.
pub fn from_line(line: &[u8]) -> Result<Operation, String> {
    let line: JsonLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let key = bytes_of("key", line.key.clone(), line.key64.as_deref())?;
    let argument = bytes_of("arg", line.arg.clone(), line.arg64.as_deref())?;
    let result = bytes_of("result", line.result.clone(), line.result64.as_deref())?;
    let exact = line.exact64.as_deref().map(|coded| {
        let bytes = from_base64(coded).ok_or("exact64 is not base64")?;
        postcard::from_bytes::<(Command, Outcome)>(&bytes).map_err(|_| "exact64 is no command with its outcome")
    });
    let exact = exact.transpose()?;
    let command = match &exact {
        Some((exact, _)) => exact.clone(),
        None => command(&line.op, key, argument)?,
    };
    let outcome = match line.outcome.as_str() {
        "unknown" if line.return_ns.is_some() => return Err("an unknown outcome has no return_ns".into()),
        "unknown" => Outcome::Unknown,
        "ok" | "failed" if exact.is_some() => exact.map_or(Outcome::Unknown, |(_, outcome)| outcome),
        "ok" => Outcome::Done(reply(&command, result, line.result_keys64.as_deref())?),
        "failed" => Outcome::Done(Reply::Error(refusal(result)?)),
        other => return Err(format!("outcome {other:?}: ok, failed or unknown")),
    };
    let returned = line.return_ns.map(Time);
    if outcome != Outcome::Unknown && returned.is_none_or(|returned| returned.0 < line.call_ns) {
        return Err("return_ns must not be before call_ns".into());
    }
    let epoch = line.epoch.unwrap_or(1);
    Ok(Operation {
        client: line.client.into(),
        seq: Seq(line.seq),
        epoch,
        command,
        outcome,
        call: Time(line.call_ns),
        returned,
    })
}

fn bytes_of(name: &str, text: Option<String>, coded: Option<&str>) -> Result<Option<Bytes>, String> {
    match (text, coded) {
        (Some(_), Some(_)) => Err(format!("either {name} or {name}64")),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(coded)) => from_base64(coded).map(Some).ok_or_else(|| format!("{name}64 is not base64")),
        (None, None) => Ok(None),
    }
}

fn command(name: &str, key: Option<Bytes>, argument: Option<Bytes>) -> Result<Command, String> {
    Ok(match (name, key, argument) {
        ("get", Some(key), None) => Command::Get { key },
        ("put", Some(key), Some(value)) => Command::Put { key, value },
        ("add", Some(key), Some(value)) => Command::Add { key, value },
        ("update", Some(key), Some(value)) => Command::Update { key, value },
        ("delete", Some(key), None) => Command::Delete { key },
        ("append", Some(key), Some(value)) => Command::Append { key, value },
        ("incr", Some(key), None) => Command::Incr { key },
        ("keys", None, Some(pattern)) => Command::Keys { pattern },
        ("count", None, None) => Command::Count,
        _ => return Err(format!("op {name:?} with this key and arg is no command")),
    })
}

fn reply(command: &Command, result: Option<Bytes>, keys: Option<&[String]>) -> Result<Reply, String> {
    let number = |text: &Bytes| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    Ok(match (command, result) {
        (Command::Keys { .. }, Some(result)) => Reply::Keys(match keys {
            Some(keys) => keys.iter().map(|key| from_base64(key)).collect::<Option<_>>().ok_or("not base64")?,
            None if result.is_empty() => KeyList::default(),
            None => result.split(|byte| *byte == b'\n').collect(),
        }),
        (Command::Get { .. }, Some(value)) => Reply::Value(value),
        (Command::Get { .. } | Command::Add { .. } | Command::Update { .. }, None) => Reply::Nil,
        (Command::Put { .. } | Command::Add { .. } | Command::Update { .. }, Some(word)) if &*word == b"OK" => {
            Reply::Ok
        }
        (Command::Delete { .. } | Command::Append { .. } | Command::Incr { .. } | Command::Count, Some(text)) => {
            Reply::Integer(number(&text).ok_or("the result is no number")?)
        }
        _ => return Err(format!("{} does not answer so", command.name())),
    })
}

/// The refusal that prints as this.
fn refusal(result: Option<Bytes>) -> Result<StoreError, String> {
    let text = result.as_ref().and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let number = text.split(' ').find_map(|word| word.parse().ok()).unwrap_or_default();
    let all = [
        StoreError::NotAnInteger,
        StoreError::Overflow,
        StoreError::KeyTooLong(number),
        StoreError::ValueTooLong(number),
        StoreError::TooManyKeys,
        StoreError::SessionEnded,
    ];
    let found = all.into_iter().find(|error| Reply::Error(error.clone()).to_string() == text);
    found.ok_or_else(|| format!("{text:?} is no refusal of the store"))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Bytes> {
    let digits = text.trim_end_matches('=').as_bytes();
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for digit in group {
            bits = bits << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::store::commands;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            "[a-z\n\"]{0,6}".prop_map(Bytes::from),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from),
        ]
    }

    fn errors() -> impl Strategy<Value = Reply> {
        prop_oneof![
            Just(StoreError::NotAnInteger),
            Just(StoreError::Overflow),
            any::<u64>().prop_map(StoreError::KeyTooLong),
            any::<u64>().prop_map(StoreError::ValueTooLong),
            Just(StoreError::TooManyKeys),
            Just(StoreError::SessionEnded),
        ]
        .prop_map(Reply::Error)
    }

    fn exchanges() -> impl Strategy<Value = (Command, Reply)> {
        (0..9_u8, bytes(), bytes(), bytes(), any::<i64>(), any::<bool>(), prop::collection::vec(bytes(), 0..3))
            .prop_map(|(kind, key, value, seen, number, nil, keys)| {
                let ok = if nil { Reply::Nil } else { Reply::Ok };
                match kind {
                    0 => (Command::Get { key }, if nil { Reply::Nil } else { Reply::Value(seen) }),
                    1 => (Command::Put { key, value }, Reply::Ok),
                    2 => (Command::Add { key, value }, ok),
                    3 => (Command::Update { key, value }, ok),
                    4 => (Command::Delete { key }, Reply::Integer(number)),
                    5 => (Command::Append { key, value }, Reply::Integer(number)),
                    6 => (Command::Incr { key }, Reply::Integer(number)),
                    7 => (Command::Keys { pattern: value }, Reply::Keys(keys.iter().collect())),
                    _ => (Command::Count, Reply::Integer(number)),
                }
            })
    }

    /// Commands that are not among the first nine, with answers of other shapes.
    fn calls() -> impl Strategy<Value = (Command, Reply)> {
        let parts = (0..8_u8, bytes(), bytes(), any::<i64>(), prop::collection::vec(bytes(), 0..4));
        parts.prop_map(|(kind, key, value, number, more)| {
            let call = |name: &str, args: &[&Bytes]| {
                let words: Vec<Bytes> = std::iter::once(name.into()).chain(args.iter().copied().cloned()).collect();
                commands::parse(&words).expect("there is such a command")
            };
            let values: Vec<Reply> = more.iter().cloned().map(Reply::Value).collect();
            let pairs = values.iter().map(|value| (value.clone(), Reply::Integer(number))).collect();
            match kind {
                0 => (call("lpush", &[&key, &value]), Reply::Integer(number)),
                1 => (call("lpop", &[&key, &"2".into()]), Reply::Array(values)),
                2 => (call("smembers", &[&key]), Reply::Set(values)),
                3 => (call("hgetall", &[&key]), Reply::Map(pairs)),
                4 => (call("zrange", &[&key, &"0".into(), &"-1".into(), &"WITHSCORES".into()]), Reply::Pairs(pairs)),
                5 => (call("set", &[&key, &value, &"EX".into(), &"10".into()]), Reply::Ok),
                6 => (call("lpop", &[&key]), Reply::Nil),
                _ => {
                    let commands = vec![call("incr", &[&key]), call("hset", &[&key, &value, &value])];
                    let answers = vec![Reply::Integer(number), Reply::Error(StoreError::WRONG_TYPE)];
                    (Command::multi(commands, Vec::new()), Reply::Array(answers))
                }
            }
        })
    }

    fn operations() -> impl Strategy<Value = Operation> {
        let numbers = (
            (0..=ClientId::RANK_MAX, 0..=ClientId::NUMBER_MAX),
            any::<u64>(),
            0..3_u32,
            0..u64::MAX / 2,
            any::<u32>(),
            0..5_u8,
        );
        (prop_oneof![exchanges(), calls()], errors(), numbers).prop_map(
            |((command, reply), error, (client, seq, epoch, call, length, kind))| {
                let outcome = match kind {
                    0 => Outcome::Unknown,
                    1 => Outcome::Done(error),
                    _ => Outcome::Done(reply),
                };
                let returned = (kind > 0).then_some(Time(call + u64::from(length)));
                let (client, seq, call) = (ClientId::new(client.0, 0, client.1), Seq(seq), Time(call));
                Operation { client, seq, epoch, command, outcome, call, returned }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(history in prop::collection::vec(operations(), 0..8)) {
            let mut file = Vec::new();
            write(&history, &mut file).unwrap();
            prop_assert_eq!(read(&file[..]).unwrap(), history);
        }

        #[test]
        fn hostile_lines_are_refused_in_words(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            operation in operations(),
            cut in any::<prop::sample::Index>(),
        ) {
            let _ = read(&noise[..]);
            let mut line = to_line(&operation).into_bytes();
            let at = cut.index(line.len());
            line[at] ^= 1;
            if let Err(HistoryError::JsonLine(number, what)) = read(&line[..]) {
                prop_assert!(number == 1 && !what.is_empty());
            }
            line.truncate(at);
            prop_assert!(at == 0 || read(&line[..]).is_err());
        }

        #[test]
        fn base64_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(from_base64(&base64(&bytes)), Some(Bytes::from(bytes)));
        }
    }

    #[test]
    fn a_line_is_as_documented() {
        let operation = Operation {
            client: ClientId::on(0),
            seq: Seq(12),
            epoch: 1,
            command: Command::Put { key: "a".into(), value: "1".into() },
            outcome: Outcome::Done(Reply::Ok),
            call: Time(1500),
            returned: Some(Time(2100)),
        };
        let line = r#"{"client":0,"seq":12,"op":"put","key":"a","arg":"1","call_ns":1500,"return_ns":2100,"outcome":"ok","result":"OK"}"#;
        assert_eq!(to_line(&operation), line);
        let raw = Bytes::from(&b"\xff"[..]);
        let unknown = Operation {
            command: Command::Put { key: raw.clone(), value: raw },
            outcome: Outcome::Unknown,
            returned: None,
            ..operation
        };
        let line = r#"{"client":0,"seq":12,"op":"put","key64":"/w==","arg64":"/w==","call_ns":1500,"return_ns":null,"outcome":"unknown","result":null}"#;
        assert_eq!(to_line(&unknown), line);
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(from_base64("YQ="), None);
        assert_eq!(from_base64("Y==="), None);
    }
}
