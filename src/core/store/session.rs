//! The client table: what every client has been told, so that a repeated request has one effect.
//!
//! After Viewstamped Replication Revisited (Liskov and Cowling, 2012), §4.1, with two additions. A client may have a
//! window of requests out, so a session holds all answers that the client has not yet acknowledged; a client's writes
//! take effect in the order of their sequence numbers. And a session ends: the client says so, or has written nothing
//! for long. Whose session has ended is told that, and nothing of it is carried out any more: it cannot be known
//! whether it was before.
//!
//! # What it takes
//!
//! There is no limit on the number of clients. A session takes some 200 bytes, and its answers, of which there are at
//! most [`SESSION_REPLIES_MAX`] and [`SESSION_BYTES_MAX`]. Who has ended is a few ranges of clients a rank
//! ([`ENDED_RANGES_MAX`]), for a rank numbers its clients one after the other.

use super::{ClientId, Reply, Seq, StoreError, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// The most answers that are kept for one client: the largest window a client may use.
pub const SESSION_REPLIES_MAX: usize = 8192;
/// The most bytes of answers that are kept for one client (4 MiB): answers are part of every snapshot. Of what is
/// more, the oldest are forgotten: who asks for one again is told that, and that it was carried out.
pub const SESSION_BYTES_MAX: usize = 4 << 20;
/// The most ranges of clients that are remembered of one rank because their sessions have ended. When there would be
/// more, the two oldest become one: a client between them that has never written is told that its session has ended,
/// and goes on as another one.
pub const ENDED_RANGES_MAX: usize = 64;
/// A shorter answer is not worth forgetting.
const FORGOTTEN_BYTES_MIN: usize = 256;

/// What is remembered of one client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Session {
    /// The newest write that took effect.
    pub last: Seq,
    /// The time of that write.
    pub written: UnixMs,
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
pub struct Sessions {
    open: BTreeMap<ClientId, Session>,
    /// The sessions of these have ended, from the one to the other: ranges that do not touch, each on one rank. What is
    /// open has not, whatever they say.
    ended: BTreeMap<ClientId, ClientId>,
}

impl Sessions {
    /// What is remembered of `client`.
    #[must_use]
    pub fn get(&self, client: ClientId) -> Option<&Session> {
        self.open.get(&client)
    }

    /// True when the session of this client has ended: it never writes again.
    #[must_use]
    pub fn has_ended(&self, client: ClientId) -> bool {
        self.is_in_an_ended_range(client) && !self.open.contains_key(&client)
    }

    fn is_in_an_ended_range(&self, client: ClientId) -> bool {
        self.ended.range(..=client).next_back().is_some_and(|(_, last)| client <= *last)
    }

    /// How many clients have a session.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True when no client has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// In how many ranges those are whose sessions have ended.
    #[must_use]
    pub fn ended_ranges(&self) -> usize {
        self.ended.len()
    }

    /// The clients after this one that have a session, in order.
    pub fn after(&self, client: Option<ClientId>) -> impl Iterator<Item = (ClientId, &Session)> {
        let from = client.map_or(Bound::Unbounded, Bound::Excluded);
        self.open.range((from, Bound::Unbounded)).map(|(client, session)| (*client, session))
    }

    /// Remembers that `seq` took effect at that time with `reply`, and forgets what the client has acknowledged.
    pub(super) fn record(&mut self, client: ClientId, seq: Seq, acked: Seq, time: UnixMs, reply: Reply) {
        let session = self.open.entry(client).or_default();
        if seq <= session.last {
            return; // Only with the duplicate filter switched off: the first answer stands.
        }
        (session.last, session.written) = (seq, time);
        while session.replies.front().is_some_and(|(s, _)| *s <= acked) || session.replies.len() >= SESSION_REPLIES_MAX
        {
            session.forget_oldest();
        }
        session.keep(seq, reply);
    }

    /// Ends the sessions of those of these clients who have written nothing since `before`. Says of how many.
    pub(super) fn end_silent(&mut self, clients: &[ClientId], before: UnixMs) -> usize {
        let is_silent = |client: &&ClientId| self.get(**client).is_some_and(|session| session.written <= before);
        let silent: Vec<ClientId> = clients.iter().filter(is_silent).copied().collect();
        silent.iter().for_each(|client| self.end(*client));
        silent.len()
    }

    /// Ends the session of this client.
    pub(super) fn end(&mut self, client: ClientId) {
        self.open.remove(&client);
        // A rank that lives again has ended its life before.
        if let Some(before) = client.last_of_the_life_before() {
            self.add_ended(ClientId::on(client.rank()), before);
        }
        self.add_ended(client, client);
        let of_rank = ClientId::on(client.rank())..=ClientId::last_on(client.rank());
        if self.ended.range(of_rank.clone()).nth(ENDED_RANGES_MAX).is_some() {
            let mut oldest = self.ended.range(of_rank);
            if let (Some((&first, _)), Some((_, &last))) = (oldest.next(), oldest.next()) {
                self.add_ended(first, last);
            }
        }
    }

    /// All from the one to the other, together with the ranges that these touch.
    fn add_ended(&mut self, mut first: ClientId, mut last: ClientId) {
        // From the last range that begins before its end, downwards.
        let end = last.next_on_rank().unwrap_or(last);
        while let Some((&from, &to)) = self.ended.range(..=end).next_back()
            && (to >= first || to.next_on_rank() == Some(first))
        {
            self.ended.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.ended.insert(first, last);
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
            sessions.record(client, Seq(seq), Seq(0), 0, Reply::Integer(seq as i64));
        }
        sessions.record(client, Seq(3), Seq(0), 1, Reply::Nil);
        sessions.record(client, Seq(5), Seq(2), 2, Reply::Ok);
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
            sessions.record(client, Seq(seq), Seq(0), 0, if seq == 2 { Reply::Ok } else { long.clone() });
        }
        let session = sessions.get(client).expect("just recorded");
        let forgotten = Reply::Error(StoreError::AnswerForgotten);
        let kept = [Some(&forgotten), Some(&Reply::Ok), Some(&long)];
        assert_eq!([1, 2, 3].map(|seq| session.reply(Seq(seq))), kept);
        sessions.record(client, Seq(7), Seq(6), 0, Reply::Ok);
        assert_eq!(sessions.get(client).expect("just recorded").bytes, 0);
    }

    #[test]
    fn so_many_answers_are_kept() {
        let (mut sessions, client) = (Sessions::default(), ClientId::on(7));
        for seq in 1..=SESSION_REPLIES_MAX as u64 + 2 {
            sessions.record(client, Seq(seq), Seq(0), 0, Reply::Ok);
        }
        let session = sessions.get(client).expect("just recorded");
        assert_eq!(
            (session.pending_replies(), session.reply(Seq(2)), session.reply(Seq(3))),
            (SESSION_REPLIES_MAX, None, Some(&Reply::Ok))
        );
    }

    fn writes(sessions: &mut Sessions, client: ClientId, time: UnixMs) {
        let seq = sessions.get(client).map_or(Seq(0), |session| session.last).next();
        sessions.record(client, seq, Seq(0), time, Reply::Ok);
    }

    #[test]
    fn who_has_written_nothing_for_long_has_no_session_any_more() {
        let mut sessions = Sessions::default();
        let [one, two, three] = [1, 2, 3].map(ClientId::on);
        [(one, 10), (two, 20), (one, 30)].into_iter().for_each(|(client, time)| writes(&mut sessions, client, time));
        assert_eq!(sessions.end_silent(&[one, two, three], 20), 1, "one has written since, three never did");
        assert_eq!([one, two, three].map(|client| sessions.has_ended(client)), [false, true, false]);
        assert_eq!((sessions.len(), sessions.get(two)), (1, None));
        assert_eq!(sessions.end_silent(&[one, two, three], 30), 1);
        assert_eq!(sessions.after(None).count(), 0);
    }

    #[test]
    fn who_has_ended_takes_little_room_however_many_there_were() {
        let mut sessions = Sessions::default();
        let client = |number: u32| ClientId::new(7, 1, number);
        let living = [3, 50_000];
        for number in 0..100_000 {
            writes(&mut sessions, client(number), 0);
            if !living.contains(&number) {
                sessions.end(client(number));
            }
        }
        assert_eq!((sessions.len(), sessions.ended_ranges()), (2, 3), "up to 2, up to 49 999, and the rest");
        assert!((0..100_000).all(|number| sessions.has_ended(client(number)) != living.contains(&number)));
        assert!(!sessions.has_ended(client(100_000)), "who comes next");
        sessions.end(client(50_000));
        assert_eq!(sessions.ended_ranges(), 2);
        assert!(sessions.has_ended(ClientId::new(7, 0, 9)), "of the life before");
        assert!(![6, 8].map(ClientId::on).into_iter().any(|client| sessions.has_ended(client)), "of other ranks");
    }

    #[test]
    fn gaps_that_nobody_fills_are_closed_and_who_lives_in_them_lives_on() {
        let mut sessions = Sessions::default();
        let client = |number: u32| ClientId::new(7, 0, number);
        writes(&mut sessions, client(1), 0);
        for number in (0..4 * ENDED_RANGES_MAX as u32).step_by(2) {
            sessions.end(client(number));
            assert!(sessions.ended_ranges() <= ENDED_RANGES_MAX);
        }
        assert!(!sessions.has_ended(client(1)), "it is in a range, and open");
        assert!(sessions.has_ended(client(3)), "it has never written, and never will");
        assert!(!sessions.has_ended(client(4 * ENDED_RANGES_MAX as u32 - 3)), "it may still");
        sessions.end(client(1));
        assert!(sessions.has_ended(client(1)));
        for rank in [6, 8] {
            sessions.end(ClientId::on(rank));
        }
        assert_eq!(sessions.ended_ranges(), ENDED_RANGES_MAX + 2, "each rank has its own");
    }

    proptest::proptest! {
        #[test]
        fn the_ranges_say_the_same_as_a_list(all in proptest::collection::vec((0..3_u32, 0..2_u64, 0..40_u32), 0..60)) {
            let (mut sessions, mut list) = (Sessions::default(), std::collections::BTreeSet::new());
            for (rank, incarnation, number) in all {
                sessions.end(ClientId::new(rank, incarnation, number));
                list.insert((rank, incarnation, number));
            }
            let ranges: Vec<_> = sessions.ended.iter().collect();
            for pair in ranges.windows(2) {
                let (before, next) = (*pair[0].1, *pair[1].0);
                proptest::prop_assert!(before < next && before.next_on_rank() != Some(next), "{before:?} {next:?}");
            }
            for rank in 0..3 {
                for number in 0..41 {
                    let lives_again = list.iter().any(|(own, incarnation, _)| *own == rank && *incarnation == 1);
                    for incarnation in 0..2 {
                        let has = lives_again && incarnation == 0 || list.contains(&(rank, incarnation, number));
                        let id = ClientId::new(rank, incarnation, number);
                        proptest::prop_assert_eq!(sessions.has_ended(id), has, "{:?}", id);
                    }
                }
            }
        }
    }
}
