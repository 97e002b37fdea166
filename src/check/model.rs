//! What one key can be, and what one operation does to it.
//!
//! The checker tries millions of steps, so it does not run the [`Store`](crate::core::store::Store) but a model of a
//! single key: a value is its length, a fingerprint, and its bytes when they are few enough to be a number.
//! Fingerprints of two parts give that of the whole, so an `APPEND` to a long value costs no copy. That the
//! model and the store do the same is a property test below.
//!
//! A key can also be [`State::Any`]: nothing is known of it yet. A monitor that begins in the middle of a
//! history needs that, and so does a contradiction that is to be shown without everything before it.

use crate::core::store::{Bytes, Command, KEY_BYTES_MAX, Reply, StoreError, VALUE_BYTES_MAX};

/// The longest decimal 64-bit integer, in bytes.
const SHORT_BYTES_MAX: usize = 20;
/// Fingerprints are polynomials modulo this Mersenne prime …
const MODULUS: u64 = (1 << 61) - 1;
/// … at this point.
const BASE: u64 = 0x1b3a_5c7d_9e0f_2143;

/// A value, in 40 bytes whatever its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelValue {
    bytes: u64,
    fingerprint: u64,
    /// The bytes themselves, if they are at most [`SHORT_BYTES_MAX`].
    short: [u8; SHORT_BYTES_MAX],
}

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    reduce((product & u128::from(MODULUS)) as u64 + (product >> 61) as u64)
}

/// Of a number below twice the modulus.
fn reduce(number: u64) -> u64 {
    if number >= MODULUS { number - MODULUS } else { number }
}

fn power(mut exponent: u64) -> u64 {
    let (mut result, mut square) = (1, BASE);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
        exponent >>= 1;
    }
    result
}

impl ModelValue {
    /// The value of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let fingerprint = bytes.iter().fold(0, |sum, byte| reduce(multiply(sum, BASE) + u64::from(*byte) + 1));
        let mut short = [0; SHORT_BYTES_MAX];
        if bytes.len() <= SHORT_BYTES_MAX {
            short[..bytes.len()].copy_from_slice(bytes);
        }
        Self { bytes: bytes.len() as u64, fingerprint, short }
    }

    /// This value with `tail` behind it.
    #[must_use]
    pub fn append(&self, tail: &ModelValue) -> Self {
        let fingerprint = reduce(multiply(self.fingerprint, power(tail.bytes)) + tail.fingerprint);
        let (bytes, mut short) = (self.bytes + tail.bytes, [0; SHORT_BYTES_MAX]);
        if bytes <= SHORT_BYTES_MAX as u64 {
            let (head, rest) = short.split_at_mut(self.bytes as usize);
            head.copy_from_slice(&self.short[..head.len()]);
            rest[..tail.bytes as usize].copy_from_slice(&tail.short[..tail.bytes as usize]);
        }
        Self { bytes, fingerprint, short }
    }

    /// The number that these bytes are the one way to write of, if they are one.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        let bytes = self.short.get(..usize::try_from(self.bytes).ok()?)?;
        let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
        (number.to_string().as_bytes() == bytes).then_some(number)
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// The bytes themselves, when they are few.
    pub(super) fn short(&self) -> Option<&[u8]> {
        self.short.get(..self.len())
    }

    /// A number that differs when the values differ, for all that one can see.
    pub(super) fn digest(&self) -> u64 {
        self.fingerprint ^ self.bytes.rotate_left(32)
    }

    fn of_integer(number: i64) -> Self {
        Self::of(number.to_string().as_bytes())
    }
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Anything.
    Any,
    /// Not there.
    Absent,
    /// There, with this value.
    Present(ModelValue),
}

/// A command on one key, with everything that has to be computed only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelCommand {
    /// `GET`
    Get,
    /// `PUT`
    Put(ModelValue),
    /// `ADD`
    Add(ModelValue),
    /// `UPDATE`
    Update(ModelValue),
    /// `DELETE`
    Delete,
    /// `APPEND`
    Append(ModelValue),
    /// `INCR`
    Incr,
}

/// An answer, likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelAnswer {
    /// `OK`
    Ok,
    /// `(nil)`
    Nil,
    /// The value of a `GET`.
    Value(ModelValue),
    /// A number.
    Integer(i64),
    /// `INCR` of what is no number.
    NotAnInteger,
    /// `INCR` of the largest number.
    Overflow,
    /// `APPEND` to this many bytes.
    TooLong(u64),
    /// Something that this command is never answered.
    Nonsense,
}

impl ModelCommand {
    /// The command, if it is about one key.
    #[must_use]
    pub fn of(command: &Command) -> Option<Self> {
        Some(match command {
            Command::Get { .. } => Self::Get,
            Command::Put { value, .. } => Self::Put(ModelValue::of(value)),
            Command::Add { value, .. } => Self::Add(ModelValue::of(value)),
            Command::Update { value, .. } => Self::Update(ModelValue::of(value)),
            Command::Delete { .. } => Self::Delete,
            Command::Append { value, .. } => Self::Append(ModelValue::of(value)),
            Command::Incr { .. } => Self::Incr,
            Command::Keys { .. }
            | Command::Count
            | Command::Call(_)
            | Command::Multi(_)
            | Command::Expire(_)
            | Command::Leave
            | Command::End(_) => return None,
        })
    }

    /// The state after this command was carried out, whatever it answered.
    #[must_use]
    pub fn effect(&self, state: State) -> State {
        match (self, state) {
            (Self::Get, _) => state,
            (Self::Put(value), _) | (Self::Add(value), State::Absent) | (Self::Update(value), State::Present(_)) => {
                State::Present(*value)
            }
            (Self::Add(_), State::Present(_)) | (Self::Update(_), State::Absent) => state,
            (Self::Delete, _) => State::Absent,
            (Self::Append(tail), State::Absent) => State::Present(*tail),
            (Self::Append(tail), State::Present(value)) if value.bytes + tail.bytes <= VALUE_BYTES_MAX as u64 => {
                State::Present(value.append(tail))
            }
            (Self::Append(_), State::Present(_)) => state,
            (Self::Incr, State::Absent) => State::Present(ModelValue::of_integer(1)),
            (Self::Incr, State::Present(value)) => match value.integer().and_then(|number| number.checked_add(1)) {
                Some(number) => State::Present(ModelValue::of_integer(number)),
                None => state,
            },
            (Self::Add(_) | Self::Update(_) | Self::Append(_) | Self::Incr, State::Any) => State::Any,
        }
    }

    /// The answer in a state that is known.
    fn answer(&self, state: State) -> ModelAnswer {
        let present = matches!(state, State::Present(_));
        match (self, state) {
            (Self::Get, State::Present(value)) => ModelAnswer::Value(value),
            (Self::Get, _) => ModelAnswer::Nil,
            (Self::Put(_), _) => ModelAnswer::Ok,
            (Self::Add(_), _) if present => ModelAnswer::Nil,
            (Self::Update(_), _) if !present => ModelAnswer::Nil,
            (Self::Add(_) | Self::Update(_), _) => ModelAnswer::Ok,
            (Self::Delete, _) => ModelAnswer::Integer(i64::from(present)),
            (Self::Append(tail), _) => {
                let head = if let State::Present(value) = state { value.bytes } else { 0 };
                match head + tail.bytes {
                    length if length > VALUE_BYTES_MAX as u64 => ModelAnswer::TooLong(length),
                    length => ModelAnswer::Integer(length.cast_signed()),
                }
            }
            (Self::Incr, State::Present(value)) => match value.integer() {
                None => ModelAnswer::NotAnInteger,
                Some(number) => number.checked_add(1).map_or(ModelAnswer::Overflow, ModelAnswer::Integer),
            },
            (Self::Incr, _) => ModelAnswer::Integer(1),
        }
    }

    /// The state that this command brings about when it is answered so (or, with `None`, somehow), if it
    /// changes anything; [`State::Any`] when that depends on the state before.
    #[must_use]
    pub fn brings(&self, answer: Option<&ModelAnswer>) -> Option<State> {
        if answer.is_some_and(|answer| self.changes_nothing(answer)) {
            return None;
        }
        match (self, answer) {
            (Self::Get, _) => None,
            (Self::Put(value) | Self::Add(value) | Self::Update(value), _) => Some(State::Present(*value)),
            (Self::Delete, _) => Some(State::Absent),
            (Self::Incr, Some(ModelAnswer::Integer(number))) => Some(State::Present(ModelValue::of_integer(*number))),
            (Self::Append(_) | Self::Incr, _) => Some(State::Any),
        }
    }

    /// The one state in which this command can be answered so, if there is only one.
    #[must_use]
    pub fn needs(&self, answer: &ModelAnswer) -> Option<State> {
        match (self, answer) {
            (Self::Get, ModelAnswer::Value(value)) => Some(State::Present(*value)),
            (Self::Get | Self::Update(_), ModelAnswer::Nil)
            | (Self::Add(_), ModelAnswer::Ok)
            | (Self::Delete, ModelAnswer::Integer(0)) => Some(State::Absent),
            (Self::Incr, ModelAnswer::Integer(number)) if *number != 1 => {
                number.checked_sub(1).map(|before| State::Present(ModelValue::of_integer(before)))
            }
            _ => None,
        }
    }

    /// True when this answer says that the command changed nothing, whatever the state was.
    #[must_use]
    pub fn changes_nothing(&self, answer: &ModelAnswer) -> bool {
        match self {
            Self::Get => true,
            Self::Put(_) => false,
            Self::Add(_) | Self::Update(_) => *answer == ModelAnswer::Nil,
            Self::Delete => *answer == ModelAnswer::Integer(0),
            Self::Append(_) | Self::Incr => !matches!(answer, ModelAnswer::Integer(_)),
        }
    }

    /// The state after this command was answered so, if it can be answered so in `state`.
    #[must_use]
    pub fn admits(&self, state: State, answer: &ModelAnswer) -> Option<State> {
        if state != State::Any {
            return (self.answer(state) == *answer).then(|| self.effect(state));
        }
        // What the answer tells about a state of which nothing was known.
        Some(match (self, answer) {
            (Self::Get, ModelAnswer::Value(value)) => State::Present(*value),
            (Self::Get, ModelAnswer::Nil) | (Self::Update(_), ModelAnswer::Nil) => State::Absent,
            (Self::Put(value) | Self::Add(value) | Self::Update(value), ModelAnswer::Ok) => State::Present(*value),
            (Self::Delete, ModelAnswer::Integer(0 | 1)) => State::Absent,
            (Self::Append(tail), ModelAnswer::Integer(length)) if *length == tail.bytes.cast_signed() => {
                State::Present(*tail)
            }
            (Self::Append(tail), ModelAnswer::Integer(length)) if *length > tail.bytes.cast_signed() => State::Any,
            (Self::Incr, ModelAnswer::Integer(number)) if *number > i64::MIN => {
                State::Present(ModelValue::of_integer(*number))
            }
            (Self::Incr, ModelAnswer::Overflow) => State::Present(ModelValue::of_integer(i64::MAX)),
            (Self::Add(_), ModelAnswer::Nil)
            | (Self::Append(_), ModelAnswer::TooLong(_))
            | (Self::Incr, ModelAnswer::NotAnInteger) => State::Any,
            _ => return None,
        })
    }
}

impl ModelAnswer {
    /// The answer; `None` when it says nothing about the store: it was refused before it came so far.
    #[must_use]
    pub fn of(command: &Command, reply: &Reply) -> Option<Self> {
        if command.check_limits().is_err() {
            return None;
        }
        Some(match reply {
            Reply::Ok => Self::Ok,
            Reply::Nil => Self::Nil,
            Reply::Value(value) => Self::Value(ModelValue::of(value)),
            Reply::Integer(number) => Self::Integer(*number),
            Reply::Error(StoreError::NotAnInteger) => Self::NotAnInteger,
            Reply::Error(StoreError::Overflow) => Self::Overflow,
            Reply::Error(StoreError::ValueTooLong(bytes)) => Self::TooLong(*bytes),
            Reply::Error(_) => return None,
            _ => Self::Nonsense,
        })
    }
}

/// The key of a command, as long as it is one that the store takes.
#[must_use]
pub fn key(command: &Command) -> Option<&Bytes> {
    command.key().filter(|key| key.len() <= KEY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::store::{ClientId, LogEntry, Seq, Stamp, Store};
    use proptest::prelude::*;

    fn commands() -> impl Strategy<Value = Command> {
        let key = || Bytes::from("k");
        let short = prop_oneof![
            "[0-9]{0,3}",
            "-?[0-9]{1,2}",
            "[a-z]{0,30}",
            Just("9223372036854775806".to_owned()),
            Just("-9223372036854775808".to_owned()),
            (VALUE_BYTES_MAX - 3..VALUE_BYTES_MAX).prop_map(|n| "x".repeat(n)),
        ];
        (0..9_u8, short).prop_map(move |(kind, text)| {
            let value = Bytes::from(text);
            match kind {
                0 => Command::Put { key: key(), value },
                1 => Command::Add { key: key(), value },
                2 => Command::Update { key: key(), value },
                3 => Command::Delete { key: key() },
                4 | 5 => Command::Append { key: key(), value },
                6 | 7 => Command::Incr { key: key() },
                _ => Command::Get { key: key() },
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// The model answers, and changes, exactly as the store does; and a state of which nothing is known
        /// admits whatever the store does.
        #[test]
        fn the_model_does_what_the_store_does(commands in prop::collection::vec(commands(), 1..40)) {
            let mut store = Store::default();
            let mut state = State::Absent;
            for command in commands {
                let act = ModelCommand::of(&command).unwrap();
                let stamp = Stamp::default();
                let value = |stored: &crate::core::store::Stored| ModelValue::of(stored.value.as_string().unwrap());
                let reply = if command.is_read() {
                    store.read(&command)
                } else {
                    let op = store.op().next();
                    let (client, command) = (ClientId::on(0), command.clone());
                    store.apply(LogEntry { op, client, seq: Seq(op.0), acked: Seq(0), stamp, command })
                };
                let answer = ModelAnswer::of(&command, &reply).unwrap();
                let after = store.get(b"k").map_or(State::Absent, |stored| State::Present(value(stored)));
                prop_assert_eq!(act.admits(state, &answer), Some(after), "{:?}", command);
                prop_assert_eq!(act.effect(state), after);
                let from_any = act.admits(State::Any, &answer);
                prop_assert!(from_any == Some(after) || from_any == Some(State::Any), "{:?}", command);
                use ModelAnswer::{Integer, Nil, Nonsense, NotAnInteger, Ok};
                for other in [Ok, Nil, Integer(77), NotAnInteger, Nonsense] {
                    prop_assert!(other == answer || act.admits(state, &other).is_none());
                }
                prop_assert!(!act.changes_nothing(&answer) || after == state);
                prop_assert!(act.needs(&answer).is_none_or(|needed| needed == state), "{:?}", command);
                let brings = act.brings(Some(&answer));
                prop_assert!(brings.is_none_or(|brought| brought == State::Any || brought == after), "{:?}", command);
                prop_assert!(brings.is_some() || after == state, "{:?}", command);
                state = after;
            }
        }
    }

    #[test]
    fn parts_have_the_fingerprint_of_the_whole() {
        let (head, tail) = (vec![7_u8; 100_000], vec![0_u8; 33]);
        assert_eq!(ModelValue::of(&head).append(&ModelValue::of(&tail)), ModelValue::of(&[head, tail].concat()));
        assert_ne!(ModelValue::of(b"\0"), ModelValue::of(b""));
        assert_ne!(ModelValue::of(b"ab"), ModelValue::of(b"ba"));
    }
}
