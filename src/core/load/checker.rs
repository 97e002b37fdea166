//! What an answer may be, from what one client knows of keys that only it writes.
//!
//! Values count up: the client's writes to one key take effect in its order, so
//!
//! ```text
//!   the newest write acknowledged, or seen, before the read was asked  ≤  what it reads  ≤  the newest write asked
//! ```
//!
//! A counter is stricter. The answer to the client's n-th `INCR` lies between its neighbours' answers: above that of
//! an earlier one, and at most as far above as there were requests in between. So a write that is lost shows as a
//! number that is too low, one that took effect twice as a number that is too high, and a request whose outcome is
//! unknown leaves room for exactly one.

use super::KEY_PREFIX;
use crate::core::protocol::{Completion, Outcome};
use crate::core::store::{Bytes, Command, Reply};
use std::collections::BTreeMap;

/// How many keys a client writes.
pub const KEYS: u32 = 1_000;
/// Answers of the counter that are remembered; must exceed the requests outstanding.
const ANSWERS_MAX: usize = 256;

/// What is known when a command is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Which state of the world: before or after a `RESET`.
    world: u32,
    what: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Read { key: u64, floor: u64 },
    Write { key: u64, number: u64 },
    Count { index: u64 },
}

/// What an answer shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It can be true.
    Fine,
    /// The store refused, or nobody knows the outcome.
    Nothing,
    /// Something that was acknowledged is not there.
    Lost(String),
    /// Something took effect twice, or came from nowhere.
    Duplicated(String),
}

/// One key that counts up.
#[derive(Debug, Clone, Copy, Default)]
struct Register {
    /// The newest write asked.
    asked: u64,
    /// The newest write acknowledged or seen.
    known: u64,
}

/// The knowledge of one client.
#[derive(Debug)]
pub struct Checker {
    prefix: String,
    epoch: u32,
    world: u32,
    registers: Vec<Register>,
    /// How many times the counter was asked to count.
    counted: u64,
    /// The counter's answers, by the number of the request.
    answers: BTreeMap<u64, i64>,
}

impl Checker {
    /// A client whose keys begin with `load:`, its rank, and a colon; nobody has written them.
    #[must_use]
    pub fn new(rank: u32) -> Self {
        let registers = vec![Register::default(); KEYS as usize];
        let prefix = format!("{KEY_PREFIX}{rank}:");
        Self { prefix, epoch: 0, world: 0, registers, counted: 0, answers: BTreeMap::new() }
    }

    fn key(&self, number: u64) -> Bytes {
        Bytes::from(format!("{}{number}", self.prefix))
    }

    /// Reads the key of this number, below [`KEYS`].
    pub fn read(&self, key: u64) -> (Command, Expected) {
        let floor = self.registers[key as usize].known;
        (Command::Get { key: self.key(key) }, self.expect(Asked::Read { key, floor }))
    }

    /// Writes the next value of the key of this number, below [`KEYS`].
    pub fn write(&mut self, key: u64) -> (Command, Expected) {
        let register = &mut self.registers[key as usize];
        register.asked += 1;
        let number = register.asked;
        let value = Bytes::from(number.to_string());
        (Command::Put { key: self.key(key), value }, self.expect(Asked::Write { key, number }))
    }

    /// Counts.
    pub fn count(&mut self) -> (Command, Expected) {
        self.counted += 1;
        let index = self.counted;
        let key = Bytes::from(format!("{}counter", self.prefix));
        (Command::Incr { key }, self.expect(Asked::Count { index }))
    }

    fn expect(&self, what: Asked) -> Expected {
        Expected { world: self.world, what }
    }

    /// Judges an answer by what was expected when it was asked.
    pub fn judge(&mut self, expected: Expected, completion: &Completion) -> Finding {
        if completion.epoch > self.epoch {
            self.begin(completion.epoch);
        }
        let Outcome::Done(reply) = &completion.outcome else { return Finding::Nothing };
        if expected.world != self.world || matches!(reply, Reply::Error(_)) {
            return Finding::Nothing;
        }
        let wrong = |why: String| format!("{} answered {reply}: {why}", completion.command);
        match (expected.what, reply) {
            (Asked::Read { key, floor }, Reply::Nil) => self.see(key, floor, 0, wrong),
            (Asked::Read { key, floor }, Reply::Value(value)) => match number(value) {
                Some(number) => self.see(key, floor, number, wrong),
                None => Finding::Duplicated(wrong("nobody wrote that".to_owned())),
            },
            (Asked::Write { key, number }, Reply::Ok) => {
                let register = &mut self.registers[key as usize];
                register.known = register.known.max(number);
                Finding::Fine
            }
            (Asked::Count { index }, Reply::Integer(answer)) => self.see_count(index, *answer, wrong),
            _ => Finding::Duplicated(wrong("that is no answer to it".to_owned())),
        }
    }

    /// After a `RESET` all stores are empty. (The first epoch is not one.)
    fn begin(&mut self, epoch: u32) {
        if self.epoch > 0 {
            self.world += 1;
            self.registers.iter_mut().for_each(|register| register.known = 0);
            self.answers.clear();
        }
        self.epoch = epoch;
    }

    fn see(&mut self, key: u64, floor: u64, number: u64, wrong: impl Fn(String) -> String) -> Finding {
        let register = &mut self.registers[key as usize];
        if number < floor {
            return Finding::Lost(wrong(format!("{floor} had been acknowledged or seen before it was asked")));
        }
        if number > register.asked {
            return Finding::Duplicated(wrong(format!("{} is the newest that was written", register.asked)));
        }
        register.known = register.known.max(number);
        Finding::Fine
    }

    fn see_count(&mut self, index: u64, answer: i64, wrong: impl Fn(String) -> String) -> Finding {
        let (before, least) = self.answers.range(..index).next_back().map_or((0, 0), |(at, answer)| (*at, *answer));
        let most = least + i64::try_from(index - before).unwrap_or(i64::MAX);
        let after = self.answers.range(index + 1..).next().map(|(at, answer)| (*at, *answer));
        let (lowest, highest) = match after {
            None => (least + 1, most),
            Some((at, later)) => {
                let between = i64::try_from(at - index).unwrap_or(i64::MAX);
                ((least + 1).max(later - between), most.min(later - 1))
            }
        };
        self.answers.insert(index, answer);
        while self.answers.len() > ANSWERS_MAX {
            self.answers.pop_first();
        }
        if answer < lowest {
            Finding::Lost(wrong(format!("it must be at least {lowest}")))
        } else if answer > highest {
            Finding::Duplicated(wrong(format!("it can be at most {highest}")))
        } else {
            Finding::Fine
        }
    }
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::Time;
    use crate::core::store::{ClientId, Seq};

    fn done(command: Command, reply: Reply, epoch: u32) -> Completion {
        let outcome = Outcome::Done(reply);
        Completion { client: ClientId::on(0), seq: Seq(1), command, outcome, call: Time(1), returned: Time(2), epoch }
    }

    fn answer(checker: &mut Checker, (command, expected): (Command, Expected), reply: Reply) -> Finding {
        checker.judge(expected, &done(command, reply, 1))
    }

    #[test]
    fn a_read_sees_what_was_acknowledged_or_something_newer() {
        let mut checker = Checker::new(3);
        let (first, second) = (checker.write(7), checker.write(7));
        assert_eq!(first.0, Command::Put { key: "load:3:7".into(), value: "1".into() });
        let early = checker.read(7);
        assert_eq!(answer(&mut checker, first, Reply::Ok), Finding::Fine);
        assert_eq!(answer(&mut checker, early, Reply::Nil), Finding::Fine);
        let late = checker.read(7);
        assert!(matches!(answer(&mut checker, late.clone(), Reply::Nil), Finding::Lost(_)));
        assert_eq!(answer(&mut checker, late.clone(), Reply::Value("2".into())), Finding::Fine);
        // Once seen, it stays, although nobody has acknowledged it.
        let later = checker.read(7);
        assert!(matches!(answer(&mut checker, later, Reply::Value("1".into())), Finding::Lost(_)));
        assert!(matches!(answer(&mut checker, late, Reply::Value("3".into())), Finding::Duplicated(_)));
        assert_eq!(answer(&mut checker, second, Reply::Ok), Finding::Fine);
    }

    #[test]
    fn a_counter_shows_what_is_lost_and_what_was_done_twice() {
        let mut checker = Checker::new(0);
        let asked: Vec<_> = (0..6).map(|_| checker.count()).collect();
        assert_eq!(answer(&mut checker, asked[0].clone(), Reply::Integer(1)), Finding::Fine);
        assert!(matches!(answer(&mut checker, asked[1].clone(), Reply::Integer(3)), Finding::Duplicated(_)));
        let mut checker = Checker::new(0);
        let asked: Vec<_> = (0..6).map(|_| checker.count()).collect();
        assert_eq!(answer(&mut checker, asked[1].clone(), Reply::Integer(2)), Finding::Fine);
        assert_eq!(answer(&mut checker, asked[0].clone(), Reply::Integer(1)), Finding::Fine, "late");
        assert!(matches!(answer(&mut checker, asked[2].clone(), Reply::Integer(2)), Finding::Lost(_)));
    }

    #[test]
    fn an_unknown_outcome_leaves_room_for_one() {
        for (reply, fine) in [(1, false), (2, true), (3, true), (4, false)] {
            let mut checker = Checker::new(0);
            let (first, lost, third) = (checker.count(), checker.count(), checker.count());
            assert_eq!(answer(&mut checker, first, Reply::Integer(1)), Finding::Fine);
            let unknown = Completion { outcome: Outcome::Unknown, ..done(lost.0, Reply::Ok, 1) };
            assert_eq!(checker.judge(lost.1, &unknown), Finding::Nothing);
            let finding = answer(&mut checker, third, Reply::Integer(reply));
            assert_eq!(finding == Finding::Fine, fine, "{reply}: {finding:?}");
        }
    }

    #[test]
    fn after_a_reset_nothing_is_expected_of_what_was_before() {
        let mut checker = Checker::new(0);
        let write = checker.write(0);
        assert_eq!(answer(&mut checker, write, Reply::Ok), Finding::Fine);
        let (before, count) = (checker.read(0), checker.count());
        assert_eq!(checker.judge(count.1, &done(count.0, Reply::Integer(1), 2)), Finding::Nothing);
        assert_eq!(checker.judge(before.1, &done(before.0, Reply::Nil, 2)), Finding::Nothing);
        let (after, count) = (checker.read(0), checker.count());
        assert_eq!(checker.judge(after.1, &done(after.0, Reply::Nil, 2)), Finding::Fine);
        assert_eq!(checker.judge(count.1, &done(count.0, Reply::Integer(1), 2)), Finding::Fine);
    }
}
