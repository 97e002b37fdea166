//! Makes up commands for two stores that should answer alike, and knows which parts of an answer have no meaning.

use crate::answer::Answer;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use understudy::core::store::Bytes;

/// Makes up commands: keys of all kinds, so that many are of the wrong one, and arguments that are sometimes none.
pub struct Author {
    dice: ChaCha8Rng,
    /// How many times it has named.
    times: u64,
}

impl Author {
    /// One of many.
    pub fn new(seed: u64) -> Self {
        Self { dice: ChaCha8Rng::seed_from_u64(seed), times: 0 }
    }

    /// One of the numbers below this.
    pub fn throw(&mut self, below: u32) -> u32 {
        self.dice.random_range(0..below)
    }

    /// True once in this many times.
    pub fn one_in(&mut self, many: u32) -> bool {
        self.throw(many) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.choose(&mut self.dice).copied().expect("there are some")
    }

    fn word(&mut self, what: &str) -> String {
        match what {
            "K" => self.pick(&["a", "b", "c", "d", "e", "f"]).into(),
            "H" => format!("h{}", self.dice.random_range(0..4)),
            "L" => format!("l{}", self.dice.random_range(0..4)),
            "S" => format!("s{}", self.dice.random_range(0..4)),
            "Z" => format!("z{}", self.dice.random_range(0..4)),
            "V" => match self.dice.random_range(0..10) {
                0 => "x".repeat(100),
                1..=4 => self.dice.random_range(-20..20).to_string(),
                5 => String::new(),
                6 => "9223372036854775807".into(),
                7 => "3.25".into(),
                _ => self.pick(&["one", "two", "three"]).into(),
            },
            "M" => {
                let many = self.dice.random_range(0..3) == 0;
                format!("m{}", self.dice.random_range(0..if many { 300 } else { 12 }))
            }
            "N" => match self.dice.random_range(0..20) {
                0 => "x".into(),
                1 => "-9223372036854775808".into(),
                2 => "1.5".into(),
                _ => self.dice.random_range(-8..12).to_string(),
            },
            "P" => self.dice.random_range(1..5).to_string(),
            "F" => match self.dice.random_range(0..24) {
                0 => "inf".into(),
                1 => "-inf".into(),
                2 => "nan".into(),
                3 => "1x".into(),
                _ => format!("{}", f64::from(self.dice.random_range(-40..40)) / 4.0),
            },
            "D" => match self.dice.random_range(0..6) {
                0 => format!("{}e{}", self.dice.random_range(-99..99), self.dice.random_range(-25..30)),
                1 => format!("{}.{}", self.dice.random::<i64>(), self.dice.random::<u64>()),
                2 => format!("0.{}", self.dice.random::<u64>()),
                3 => format!(
                    "-{}.{}e{}",
                    self.dice.random::<u32>(),
                    self.dice.random::<u32>(),
                    self.dice.random_range(-9..9)
                ),
                4 => format!("{}", self.dice.random::<u64>()),
                _ => format!("{}", f64::from(self.dice.random_range(-400..400)) / 100.0),
            },
            "B" => match self.dice.random_range(0..8) {
                0 => "-inf".into(),
                1 => "+inf".into(),
                2 => "(1.5".into(),
                3 => "x".into(),
                _ => format!("{}", self.dice.random_range(-10..10)),
            },
            "X" => match self.dice.random_range(0..6) {
                0 => "-".into(),
                1 => "+".into(),
                2 => "m1".into(),
                3 => "(m1".into(),
                _ => format!("[m{}", self.dice.random_range(0..12)),
            },
            "SIDE" => self.pick(&["LEFT", "RIGHT", "left", "up"]).into(),
            "T" => self.time(),
            other => other.into(),
        }
    }

    /// A time to live, in seconds or milliseconds: what it is given to is there for longer than the test takes, or is
    /// gone at once. The two programs look at the clock one after the other (and after a failover, much later), so
    /// nothing may depend on what passes in between. `GT` and `LT` find times that grow with each command, or fall by
    /// more than what passes.
    fn time(&mut self) -> String {
        self.times += 1;
        match self.dice.random_range(0..6) {
            0 => (1_000_000 + self.times).to_string(),
            1 => (9_000_000_000 - 10_000 * self.times).to_string(),
            2 => "-1".into(),
            3 => "0".into(),
            4 => (5_000_000 + self.times).to_string(),
            _ => "x".into(),
        }
    }

    /// A command from a pattern: capitals stand for something, `?` makes the rest optional, `*` repeats the word
    /// before it.
    pub fn write(&mut self) -> Vec<Bytes> {
        let pattern = *PATTERNS.choose(&mut self.dice).expect("there are some");
        let mut words: Vec<Bytes> = Vec::new();
        let mut rest = pattern.split(' ').collect::<Vec<_>>();
        // Now and then something is missing, or the key is of another kind.
        if self.dice.random_range(0..60) == 0 && rest.len() > 1 {
            rest.pop();
        }
        for what in rest {
            match what {
                "?" if self.dice.random_range(0..2) == 0 => break,
                "?" => {}
                _ if what.contains('*') => {
                    let parts: Vec<&str> = what.split('*').filter(|part| !part.is_empty()).collect();
                    for _ in 0..self.dice.random_range(1..4) {
                        for part in &parts {
                            words.push(self.word(part).into());
                        }
                    }
                }
                _ if what.contains('|') => {
                    let parts: Vec<&str> = what.split('|').collect();
                    let part = self.pick(&parts);
                    words.extend(
                        part.split('_')
                            .filter(|part| !part.is_empty())
                            .map(|p| self.word(p).into())
                            .collect::<Vec<Bytes>>(),
                    );
                }
                "H" | "L" | "S" | "Z" if self.dice.random_range(0..25) == 0 => {
                    let kind = self.pick(&["K", "H", "L", "S", "Z"]);
                    words.push(self.word(kind).into());
                }
                _ => words.push(self.word(what).into()),
            }
        }
        words
    }
}

const PATTERNS: &[&str] = &[
    "SET K V",
    "SET K V NX|XX|GET|KEEPTTL|EX_T|PX_T|EXAT_T|PXAT_T|bad",
    "SET K V NX|XX GET|EX_T",
    "GET K",
    "GETSET K V",
    "SETNX K V",
    "SETEX K T V",
    "PSETEX K T V",
    "GETDEL K",
    "GETEX K ? EX_T|PX_T|PERSIST|bad",
    "MGET K* H",
    "MSET K*V*",
    "MSETNX K*V*",
    "APPEND K V",
    "STRLEN K",
    "INCR K",
    "DECR K",
    "INCRBY K N",
    "DECRBY K N",
    "INCRBYFLOAT K D",
    "INCRBYFLOAT n D",
    "SET n D",
    "HINCRBYFLOAT H M D",
    "HINCRBYFLOAT H n D",
    "HSET H n D",
    "GETRANGE K N N",
    "SETRANGE K N V",
    "LCS K K ? LEN",
    "SUBSTR K N N",
    "DEL K*",
    "UNLINK H*",
    "EXISTS K* L",
    "TOUCH K*",
    "TYPE H",
    "TYPE K",
    "EXPIRE K T ? NX|XX|GT|LT|bad",
    "PEXPIRE K T",
    "EXPIRE H T",
    "EXPIREAT K T",
    "PEXPIREAT K T",
    "PERSIST K",
    "TTL K",
    "PTTL H",
    "EXPIRETIME K",
    "PEXPIRETIME K",
    "RENAME K K",
    "RENAME L L",
    "RENAMENX K K",
    "COPY K K ? REPLACE",
    "COPY Z Z REPLACE",
    "KEYS *",
    "KEYS h?",
    "HSET H M*V*",
    "HMSET H M*V*",
    "HSETNX H M V",
    "HGET H M",
    "HMGET H M*",
    "HDEL H M*",
    "HGETALL H",
    "HKEYS H",
    "HVALS H",
    "HLEN H",
    "HEXISTS H M",
    "HSTRLEN H M",
    "HINCRBY H M N",
    "HSET H M V",
    "HSET H M V",
    "LPUSH L V*",
    "RPUSH L V*",
    "LPUSH L M*",
    "RPUSH L M*",
    "LPUSHX L V",
    "RPUSHX L V",
    "LLEN L",
    "LRANGE L N N",
    "LINDEX L N",
    "LSET L N V",
    "LINSERT L BEFORE|AFTER|bad V V",
    "LTRIM L N 9",
    "LREM L N V",
    "LPOS L V",
    "LPOP L",
    "RPOP L",
    "LPOP L N",
    "RPOP L N",
    "LMOVE L L SIDE SIDE",
    "RPOPLPUSH L L",
    "LMPOP P L L SIDE ? COUNT P",
    "LMPOP 1 L LEFT",
    "LINSERT L BEFORE m1 V",
    "SADD S M*",
    "SADD S N*",
    "SREM S M*",
    "SISMEMBER S M",
    "SMISMEMBER S M*",
    "SMEMBERS S",
    "SCARD S",
    "SMOVE S S M",
    "SUNION S*",
    "SINTER S*",
    "SDIFF S*",
    "SUNIONSTORE S S*",
    "SINTERSTORE S S*",
    "SDIFFSTORE S S*",
    "SINTERCARD 2 S S ? LIMIT P",
    "SINTERCARD P S S",
    "ZADD Z F*M*",
    "ZADD Z NX|XX|GT|LT|CH|INCR F M",
    "ZADD Z NX|XX|GT|LT CH F*M*",
    "ZADD Z XX|GT INCR F M",
    "ZINCRBY Z F M",
    "ZSCORE Z M",
    "ZMSCORE Z M*",
    "ZREM Z M*",
    "ZCARD Z",
    "ZRANK Z M",
    "ZREVRANK Z M",
    "ZPOPMIN Z ? P",
    "ZPOPMAX Z ? N",
    "ZMPOP 1 Z MIN|MAX|bad ? COUNT P",
    "ZRANGE Z N N ? WITHSCORES",
    "ZRANGE Z N N LIMIT N N ? WITHSCORES",
    "ZRANGE Z N N REV ? WITHSCORES",
    "ZRANGE Z B B BYSCORE ? LIMIT N N",
    "ZRANGE Z B B BYSCORE REV WITHSCORES",
    "ZRANGESTORE Z Z N N ? REV",
    "ZRANGESTORE Z Z B B BYSCORE LIMIT N N",
    "ZREVRANGE Z N N ? WITHSCORES",
    "ZRANGEBYSCORE Z B B ? WITHSCORES",
    "ZRANGEBYSCORE Z B B LIMIT N N",
    "ZREVRANGEBYSCORE Z B B ? LIMIT N N",
    "ZCOUNT Z B B",
    "ZREMRANGEBYRANK Z N N",
    "ZREMRANGEBYSCORE Z B B",
    "ZUNION 2 Z Z ? WITHSCORES",
    "ZUNION 2 Z S WEIGHTS F F WITHSCORES",
    "ZINTER 2 Z Z AGGREGATE SUM|MIN|MAX|bad WITHSCORES",
    "ZDIFF 2 Z Z ? WITHSCORES",
    "ZUNIONSTORE Z P Z Z",
    "ZUNIONSTORE Z 2 Z Z AGGREGATE MIN|MAX",
    "ZINTERSTORE Z 2 Z S",
    "ZINTERSTORE Z 2 Z Z WEIGHTS F F",
    "ZDIFFSTORE Z 2 Z Z",
    "ZINTERCARD 2 Z Z ? LIMIT N",
    "nosuch K V",
];

/// Answers whose order has no meaning, and whether it is pairs that have none.
pub fn order(name: &str) -> Option<bool> {
    match name {
        "HGETALL" => Some(true),
        "HKEYS" | "HVALS" | "SMEMBERS" | "SUNION" | "SINTER" | "SDIFF" | "KEYS" => Some(false),
        _ => None,
    }
}

/// Both servers' clocks run: what depends on the millisecond is rounded.
pub fn rounded(name: &str, answer: Answer) -> Answer {
    match (name, answer) {
        ("PTTL" | "TTL" | "EXPIRETIME" | "PEXPIRETIME", Answer::Number(number)) if number > 0 => Answer::Number(1),
        (_, answer) => answer,
    }
}
