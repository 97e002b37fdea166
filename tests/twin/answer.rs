//! A server that speaks RESP, and what it answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use understudy::core::store::{Bytes, Reply};

/// An answer comes within this time, also when a server has just died.
const PATIENCE: Duration = Duration::from_secs(10);

/// A redis-server of our own, gone when this goes.
pub struct Redis {
    process: Child,
    pub line: Line,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    pub fn start() -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = Line::open(port) {
                return Some(Self { process, line });
            }
            assert!(Instant::now() < until, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A connection.
pub struct Line(BufReader<TcpStream>);

impl Line {
    pub fn open(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).expect("a socket has options");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has options");
        Some(Self(BufReader::new(stream)))
    }

    pub fn ask(&mut self, words: &[Bytes]) -> Answer {
        self.send(&[words.to_vec()]);
        self.read()
    }

    /// Several in one write.
    pub fn send(&mut self, requests: &[Vec<Bytes>]) {
        let mut bytes = Vec::new();
        for words in requests {
            bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.0.get_mut().write_all(&bytes).expect("it takes requests");
    }

    /// The next answer, in either version of the protocol.
    pub fn read(&mut self) -> Answer {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        let (kind, rest) = line.trim_end_matches('\n').trim_end_matches('\r').split_at(1);
        let count = || rest.parse::<usize>().expect("a length");
        match kind {
            "+" => Answer::Text(rest.into()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Number(rest.parse().expect("a number")),
            "$" if rest == "-1" => Answer::Nil,
            "$" | "=" => {
                let mut bytes = vec![0; count() + 2];
                self.0.read_exact(&mut bytes).expect("a value");
                bytes.truncate(bytes.len() - 2);
                Answer::Text(bytes.into())
            }
            "*" if rest == "-1" => Answer::NilArray,
            "*" | ">" => Answer::Array((0..count()).map(|_| self.read()).collect()),
            "~" => Answer::Set((0..count()).map(|_| self.read()).collect()),
            "%" => Answer::Map((0..count()).map(|_| (self.read(), self.read())).collect()),
            "_" => Answer::Null,
            "," => Answer::Double(rest.to_owned()),
            "#" => Answer::Bool(rest == "t"),
            other => panic!("{other:?} is no RESP"),
        }
    }
}

/// As RESP has it: the last five only in its third version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Nil,
    NilArray,
    Number(i64),
    Text(Bytes),
    Error(String),
    Array(Vec<Answer>),
    Null,
    Bool(bool),
    Double(String),
    Set(Vec<Answer>),
    Map(Vec<(Answer, Answer)>),
}

impl From<&Reply> for Answer {
    fn from(reply: &Reply) -> Self {
        let all = |items: &[Reply]| Self::Array(items.iter().map(Self::from).collect());
        match reply {
            Reply::Ok => Self::Text("OK".into()),
            Reply::Nil => Self::Nil,
            Reply::NilArray => Self::NilArray,
            Reply::Value(bytes) | Reply::Status(bytes) => Self::Text(bytes.clone()),
            Reply::Integer(number) => Self::Number(*number),
            Reply::Double(number) => Self::Text(number.to_string().into()),
            Reply::Error(error) => Self::Error(error.redis_text().into_owned()),
            Reply::Array(items) | Reply::Set(items) => all(items),
            Reply::Map(pairs) | Reply::Pairs(pairs) => {
                Self::Array(pairs.iter().flat_map(|(one, two)| [one.into(), two.into()]).collect())
            }
            Reply::Keys(keys) => Self::Array(keys.iter().map(|key| Self::Text(key.into())).collect()),
        }
    }
}

impl Answer {
    /// Where the order is of no meaning.
    pub fn sorted(self, by_pairs: bool) -> Self {
        let Self::Array(mut items) = self else { return self.unordered() };
        if by_pairs {
            let mut pairs: Vec<Vec<Answer>> = items.chunks(2).map(<[Answer]>::to_vec).collect();
            pairs.sort();
            return Self::Array(pairs.concat());
        }
        items.sort();
        Self::Array(items)
    }

    /// What says by itself that its order is of no meaning.
    pub fn unordered(self) -> Self {
        match self {
            Self::Set(mut items) => {
                items.sort();
                Self::Set(items)
            }
            Self::Map(mut pairs) => {
                pairs.sort();
                Self::Map(pairs)
            }
            other => other,
        }
    }
}
