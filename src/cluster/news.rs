//! What rank 0 tells: one stream, from which screen, line mode, judges and recordings take what they show.
//!
//! Everything that is known of a cluster in this process is a fold over this stream; nobody keeps a copy by hand.

use super::lodger::Sight;
use crate::core::fault::Control;
use crate::core::load::Report;
use crate::core::protocol::{Completion, Observation, Rank, Time};
use crate::core::store::ClientId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the judge of linearizability says of all client operations so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveVerdict {
    /// This many operations, and all are explained.
    Linearizable { operations: u64 },
    /// Nothing contradicts, but some could not be judged.
    Partly { operations: u64, skipped: u64 },
    /// The answers contradict each other.
    Broken,
}

/// One piece of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// A rank's report.
    Observation(Box<Observation>),
    /// The client sent a request.
    Asked { at: Time, command: String },
    /// The client's request ended. Without words when nobody wants to see single requests.
    Answered { at: Time, command: String, reply: String, took: Duration },
    /// Requests of a client ended; what it still has running was asked at or after `running_since`.
    Finished { client: ClientId, completions: Vec<Completion>, running_since: Time },
    /// A rank's process has ended.
    Gone { rank: Rank },
    /// A rank's process was stopped, or goes on.
    Stopped { rank: Rank, stopped: bool },
    /// An order about the network was carried out by a rank.
    Network { rank: Rank, control: Control },
    /// How the load of all clients goes.
    Load(Box<Report>),
    /// How the door is.
    Door(Sight),
    /// Why nobody is served, or that somebody is again.
    Why(Option<String>),
    /// Which rules of the protocol are switched off, in words; `None` when all are in force.
    Unsafe(Option<String>),
    /// Whether the answers so far are linearizable.
    Verdict(LiveVerdict),
    /// Somebody took this message off its way.
    Dropped { from: Rank, to: Rank, text: String },
    /// Another branch of what has happened goes on: this one, which is new and left the one before at this time
    /// (`at`), or is known. All requests that have ended in it are told again.
    Branched { to: usize, at: Option<Time> },
    /// Something that this process has to say, for the events.
    Note(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::Outcome;
    use crate::core::store::{Command, Reply, Seq};

    #[test]
    fn the_stream_can_be_written_down_and_read_again() {
        let completion = Completion {
            client: ClientId::new(4, 1, 2),
            seq: Seq(3),
            command: Command::Get { key: "k".into() },
            outcome: Outcome::Done(Reply::Value(vec![0xff, 0].into())),
            call: Time(1),
            returned: Time(2),
            epoch: 1,
        };
        let stream = vec![
            News::Asked { at: Time(1), command: "GET k".into() },
            News::Answered { at: Time(2), command: "GET k".into(), reply: "v".into(), took: Duration::from_micros(7) },
            News::Finished { client: ClientId::on(0), completions: vec![completion], running_since: Time(9) },
            News::Gone { rank: Rank(2) },
            News::Stopped { rank: Rank(1), stopped: true },
            News::Network { rank: Rank(1), control: Control::Cut { peer: Rank(2), cut: true } },
            News::Load(Box::default()),
            News::Why(Some("nobody".into())),
            News::Unsafe(None),
            News::Verdict(LiveVerdict::Partly { operations: 4, skipped: 1 }),
            News::Dropped { from: Rank(1), to: Rank(2), text: "Join".into() },
            News::Branched { to: 1, at: Some(Time(7)) },
            News::Note("a sentence".into()),
        ];
        let written = postcard::to_stdvec(&stream).expect("it can be written");
        assert_eq!(postcard::from_bytes::<Vec<News>>(&written), Ok(stream));
    }
}
