//! The client table: what every client has been told, so that a repeated request has one effect.
//!
//! After Viewstamped Replication Revisited (Liskov and Cowling, 2012), §4.1, with one addition: a
//! client may have a window of requests out, so a session holds all answers that the client has not
//! yet acknowledged. A client's writes take effect in the order of their sequence numbers.

use super::{ClientId, Reply, Seq, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The most answers that are kept for one client: the largest window a client may use.
pub const SESSION_REPLIES_MAX: usize = 8192;
/// The most bytes of answers that are kept for one client (4 MiB): answers are part of every snapshot. Of what is
/// more, the oldest are forgotten: who asks for one again is told that, and that it was carried out.
pub const SESSION_BYTES_MAX: usize = 4 << 20;
/// A shorter answer is not worth forgetting.
const FORGOTTEN_BYTES_MIN: usize = 256;
/// The most clients.
pub const SESSIONS_MAX: usize = 1024;

/// What is remembered of one client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Session {
    /// The newest write that took effect.
    pub last: Seq,
    /// Answers that the client may still ask for again, oldest first.
    replies: VecDeque<(Seq, Reply)>,
    /// Bytes of all of them.
    bytes: usize,
}

impl Session {
    fn forget_oldest(&mut self) {
        let popped = self.replies.pop_front();
        self.bytes -= popped.map_or(0, |(_, reply)| reply.size_bytes());
    }

    fn keep(&mut self, seq: Seq, reply: Reply) {
        self.bytes += reply.size_bytes();
        self.replies.push_back((seq, reply));
        let mut oldest = self.replies.iter_mut().map(|(_, reply)| reply);
        while self.bytes > SESSION_BYTES_MAX {
            let Some(reply) = oldest.find(|reply| reply.size_bytes() >= FORGOTTEN_BYTES_MIN) else { break };
            self.bytes -= reply.size_bytes();
            *reply = Reply::Error(StoreError::AnswerForgotten);
        }
    }

    /// The answer given to write `seq`, if the client may still need it.
    #[must_use]
    pub fn reply(&self, seq: Seq) -> Option<&Reply> {
        let at = self.replies.partition_point(|(s, _)| *s < seq);
        self.replies.get(at).filter(|(s, _)| *s == seq).map(|(_, reply)| reply)
    }

    /// How many answers are kept.
    #[must_use]
    pub fn pending_replies(&self) -> usize {
        self.replies.len()
    }
}

/// All sessions: part of the replicated state and of every snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sessions(BTreeMap<ClientId, Session>);

impl Sessions {
    /// What is remembered of `client`.
    #[must_use]
    pub fn get(&self, client: ClientId) -> Option<&Session> {
        self.0.get(&client)
    }

    /// How many clients are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when no client has written anything yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers that `seq` took effect with `reply`, and forgets what the client has acknowledged.
    pub(super) fn record(&mut self, client: ClientId, seq: Seq, acked: Seq, reply: Reply) {
        let session = self.0.entry(client).or_default();
        if seq <= session.last {
            return; // Only with the duplicate filter switched off: the first answer stands.
        }
        session.last = seq;
        while session.replies.front().is_some_and(|(s, _)| *s <= acked) || session.replies.len() >= SESSION_REPLIES_MAX
        {
            session.forget_oldest();
        }
        session.keep(seq, reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_until_they_are_acknowledged() {
        let (mut sessions, client) = (Sessions::default(), ClientId::on(7));
        assert!(sessions.is_empty());
        for seq in 1..=4 {
            sessions.record(client, Seq(seq), Seq(0), Reply::Integer(seq as i64));
        }
        sessions.record(client, Seq(3), Seq(0), Reply::Nil);
        sessions.record(client, Seq(5), Seq(2), Reply::Ok);
        assert_eq!((sessions.is_empty(), sessions.len()), (false, 1));
        let session = sessions.get(client).expect("just recorded");
        assert_eq!((session.last, session.pending_replies()), (Seq(5), 3));
        let replies: Vec<_> = (1..=6).map(|seq| session.reply(Seq(seq)).cloned()).collect();
        let (three, four) = (Some(Reply::Integer(3)), Some(Reply::Integer(4)));
        assert_eq!(replies, [None, None, three, four, Some(Reply::Ok), None]);
    }

    #[test]
    fn long_answers_are_forgotten_before_there_are_too_many_bytes_of_them() {
        let (mut sessions, client) = (Sessions::default(), ClientId::on(7));
        let long = Reply::Value(vec![b'x'; SESSION_BYTES_MAX / 4].into());
        for seq in 1..=6 {
            sessions.record(client, Seq(seq), Seq(0), if seq == 2 { Reply::Ok } else { long.clone() });
        }
        let session = sessions.get(client).expect("just recorded");
        let forgotten = Reply::Error(StoreError::AnswerForgotten);
        let kept = [Some(&forgotten), Some(&Reply::Ok), Some(&long)];
        assert_eq!([1, 2, 3].map(|seq| session.reply(Seq(seq))), kept);
        sessions.record(client, Seq(7), Seq(6), Reply::Ok);
        assert_eq!(sessions.get(client).expect("just recorded").bytes, 0);
    }

    #[test]
    fn so_many_answers_are_kept() {
        let (mut sessions, client) = (Sessions::default(), ClientId::on(7));
        for seq in 1..=SESSION_REPLIES_MAX as u64 + 2 {
            sessions.record(client, Seq(seq), Seq(0), Reply::Ok);
        }
        let session = sessions.get(client).expect("just recorded");
        assert_eq!(
            (session.pending_replies(), session.reply(Seq(2)), session.reply(Seq(3))),
            (SESSION_REPLIES_MAX, None, Some(&Reply::Ok))
        );
    }
}
