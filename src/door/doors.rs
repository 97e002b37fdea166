//! What the doors at one address tell each other.
//!
//! Each has its own connections, and asks the cluster as a client of its own. Beside what is stored, which is one for
//! all, they share what people expect of one place: messages, settings, and the sums of `INFO`.

use super::everybody::DoorPart;
use super::hall::Hall;
use super::pubsub::SubscribedBy;
use crate::cluster::{DoorFigures, DoorWord, Sight};
use crate::core::protocol::{Rank, Time};
use crate::core::store::{Bytes, KeyPattern};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many listen to what, by door.
type Elsewhere = BTreeMap<Bytes, BTreeMap<Rank, usize>>;

/// The other doors, as far as this one knows.
#[derive(Debug, Default)]
pub struct Others {
    /// On which rank this one is.
    pub rank: Rank,
    /// Where there are others.
    doors: BTreeSet<Rank>,
    words: VecDeque<(Option<Rank>, DoorWord)>,
    channels: Elsewhere,
    patterns: Elsewhere,
    /// Where somebody waits for something to pop.
    waiting: BTreeSet<Rank>,
    /// They know that somebody waits here.
    know_of_waiting: bool,
}

impl Others {
    /// The others are these; its own rank may be among them.
    pub fn are(&mut self, doors: impl Iterator<Item = Rank>) {
        self.doors = doors.filter(|door| *door != self.rank).collect();
    }

    /// How many doors there are, this one included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.doors.len() + 1
    }

    /// Tells all others, if there are any.
    pub fn tell(&mut self, word: impl FnOnce() -> DoorWord) {
        if !self.doors.is_empty() {
            self.words.push_back((None, word()));
        }
    }

    /// Tells one.
    fn answer(&mut self, to: Rank, word: DoorWord) {
        self.words.push_back((Some(to), word));
    }

    /// Tells them that somebody waits here, or nobody any more, if they do not know.
    pub(super) fn tell_waiting(&mut self, waits: bool) {
        if std::mem::replace(&mut self.know_of_waiting, waits) != waits {
            self.tell(|| DoorWord::Waiting(waits));
        }
    }

    /// Somebody waits at another door.
    pub(super) fn anybody_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tells those where somebody waits that these keys may have been filled.
    pub(super) fn tell_filled(&mut self, keys: &[Bytes]) {
        if !keys.is_empty() {
            let word = |door: &Rank| (Some(*door), DoorWord::Filled(keys.to_vec()));
            self.words.extend(self.waiting.iter().map(word));
        }
    }

    /// Where they are.
    #[must_use]
    pub fn ranks(&self) -> &BTreeSet<Rank> {
        &self.doors
    }

    /// What is to be told next: to one, or to all.
    pub fn next_word(&mut self) -> Option<(Option<Rank>, DoorWord)> {
        self.words.pop_front()
    }

    /// That door is gone, and whoever came in there.
    pub fn forget(&mut self, door: Rank) {
        self.doors.remove(&door);
        self.waiting.remove(&door);
        for elsewhere in [&mut self.channels, &mut self.patterns] {
            elsewhere.retain(|_, counts| {
                counts.remove(&door);
                !counts.is_empty()
            });
        }
    }

    fn note_waiting(&mut self, door: Rank, waits: bool) {
        if waits && self.doors.contains(&door) {
            self.waiting.insert(door);
        } else {
            self.waiting.remove(&door);
        }
    }

    fn of(&self, by: SubscribedBy) -> &Elsewhere {
        match by {
            SubscribedBy::Channel => &self.channels,
            SubscribedBy::Pattern => &self.patterns,
        }
    }

    fn note(&mut self, door: Rank, by: SubscribedBy, name: Bytes, count: usize) {
        if !self.doors.contains(&door) {
            return;
        }
        let elsewhere = match by {
            SubscribedBy::Channel => &mut self.channels,
            SubscribedBy::Pattern => &mut self.patterns,
        };
        if count > 0 {
            elsewhere.entry(name).or_default().insert(door, count);
        } else if let Some(counts) = elsewhere.get_mut(&name) {
            counts.remove(&door);
            if counts.is_empty() {
                elsewhere.remove(&name);
            }
        }
    }

    /// What is listened to elsewhere.
    pub(super) fn names(&self, by: SubscribedBy) -> impl Iterator<Item = &Bytes> {
        self.of(by).keys()
    }

    /// How many listen to this channel elsewhere, or by this pattern.
    pub(super) fn listeners(&self, by: SubscribedBy, name: &Bytes) -> usize {
        self.of(by).get(name).map_or(0, |counts| counts.values().sum())
    }

    /// How many elsewhere hear what is published there, as last heard.
    #[must_use]
    pub fn audience(&self, channel: &Bytes) -> usize {
        let matching = self.patterns.iter().filter(|(pattern, _)| KeyPattern::new(pattern).matches(channel));
        let by_pattern: usize = matching.flat_map(|(_, counts)| counts.values()).sum();
        self.listeners(SubscribedBy::Channel, channel) + by_pattern
    }
}

impl Hall {
    /// Tells the others how many listen here now.
    pub(super) fn tell_listeners(&mut self, by: SubscribedBy, name: &Bytes) {
        let count = by.register(self).get(name).map_or(0, BTreeSet::len);
        let is_pattern = by == SubscribedBy::Pattern;
        self.others.tell(|| DoorWord::Listeners { is_pattern, name: name.clone(), count });
    }

    /// What another door, or rank 0, says.
    pub fn hear(&mut self, now: Time, from: Rank, word: DoorWord) {
        match word {
            DoorWord::Published { channel, message } => self.publish_here(&channel, &message),
            DoorWord::Listeners { is_pattern, name, count } => {
                let by = if is_pattern { SubscribedBy::Pattern } else { SubscribedBy::Channel };
                self.others.note(from, by, name, count);
            }
            DoorWord::Waiting(waits) => self.others.note_waiting(from, waits),
            DoorWord::Filled(keys) => self.wake(now, &keys),
            DoorWord::Settings(pairs) => self.settings.take_on(pairs),
            DoorWord::Question { ticket, words } => {
                let DoorPart { lines, count } = self.part(now, &words);
                self.others.answer(from, DoorWord::Answer { ticket, lines, count });
            }
            DoorWord::Answer { ticket, lines, count } => {
                self.gathered(now, from, ticket, Some(DoorPart { lines, count }))
            }
            DoorWord::ResetStats => self.counters.reset(now),
            DoorWord::Facts(facts) => self.facts = *facts,
            DoorWord::Open { .. } | DoorWord::Shut { .. } | DoorWord::Figures(_) => {}
        }
    }

    /// How much there is to do here. Where that is the sockets know.
    #[must_use]
    pub fn figures(&self) -> DoorFigures {
        let all = self.connections.values().flatten();
        DoorFigures {
            rank: self.others.rank,
            sight: Sight {
                port: 0,
                connections: self.connections.len(),
                per_second: self.counters.per_second(),
                slowest: self.counters.slowest(),
            },
            blocked: self.waiters.len(),
            listeners: all.filter(|connection| connection.subscriptions() > 0).count(),
            accepted: self.counters.connections,
            commands: self.counters.commands,
        }
    }

    /// How much the other doors have to do, as last heard.
    pub(super) fn figures_elsewhere(&self) -> impl Iterator<Item = &DoorFigures> {
        self.facts.doors.iter().filter(|door| self.others.doors.contains(&door.rank))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::Outcome;
    use crate::core::store::Reply;
    use crate::door::settings::Settings;
    use std::net::SocketAddr;

    const DOORS: [Rank; 2] = [Rank(0), Rank(4)];

    fn hall(rank: Rank) -> Hall {
        Hall::new(Settings::new(None, 1, "127.0.0.1"), Time(0)).on(rank).among(DOORS.into_iter())
    }

    /// Somebody who has said this.
    fn says(hall: &mut Hall, text: &str) -> u64 {
        let at: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let id = hall.accept(Time(0), at, at);
        hall.received(Time(0), id, text.as_bytes());
        id
    }

    /// What this one was answered since the last time.
    fn heard(hall: &mut Hall, id: u64) -> String {
        String::from_utf8(std::mem::take(&mut hall.connection(id).unwrap().out)).unwrap()
    }

    /// Each hears what the other has said, until there is nothing more.
    fn talk(halls: &mut [Hall; 2]) {
        for from in [0, 1, 0, 1] {
            while let Some((to, word)) = halls[from].others.next_word() {
                assert!(to.is_none_or(|to| to == DOORS[1 - from]));
                halls[1 - from].hear(Time(0), DOORS[from], word);
            }
        }
    }

    #[test]
    fn who_listens_at_another_door_hears_and_is_counted_until_it_goes() {
        let mut halls = DOORS.map(hall);
        let listener = says(&mut halls[1], "SUBSCRIBE c\r\nPSUBSCRIBE *\r\n");
        heard(&mut halls[1], listener);
        // Not counted yet, but told.
        let publisher = says(&mut halls[0], "PUBLISH c 1\r\n");
        assert_eq!(heard(&mut halls[0], publisher), ":0\r\n");
        talk(&mut halls);
        assert_eq!(heard(&mut halls[1], listener).matches("message").count(), 2);
        halls[0].received(
            Time(0),
            publisher,
            b"PUBLISH c 2\r\nPUBSUB NUMSUB c\r\nPUBSUB NUMPAT\r\nPUBSUB CHANNELS\r\n",
        );
        let said = ":2\r\n*2\r\n$1\r\nc\r\n:1\r\n:1\r\n*1\r\n$1\r\nc\r\n";
        assert_eq!(heard(&mut halls[0], publisher), said);
        halls[1].gone(listener);
        talk(&mut halls);
        halls[0].received(Time(0), publisher, b"PUBLISH c 3\r\nPUBSUB NUMPAT\r\nPUBSUB CHANNELS\r\n");
        assert_eq!(heard(&mut halls[0], publisher), ":0\r\n:0\r\n*0\r\n");
    }

    #[test]
    fn who_waits_is_woken_by_a_push_at_another_door() {
        let mut halls = DOORS.map(hall);
        let command = |hall: &mut Hall| hall.next_order().expect("there is one");
        let nil = Outcome::Done(Reply::Nil);
        let waiting = says(&mut halls[1], "BLPOP q 0\r\n");
        let (pop, _) = command(&mut halls[1]);
        halls[1].answered(Time(0), pop, &nil);
        talk(&mut halls);
        says(&mut halls[0], "RPUSH q a\r\n");
        let (push, _) = command(&mut halls[0]);
        halls[0].answered(Time(1), push, &Outcome::Done(Reply::Integer(1)));
        talk(&mut halls);
        let (_, again) = command(&mut halls[1]);
        assert!(again.to_string().starts_with("LMPOP 1 q"), "{again}: at once, and not when it looks next");
        // When nobody waits any more, nothing is told.
        halls[1].gone(waiting);
        halls[1].tick(Time(60_000_000_000));
        talk(&mut halls);
        says(&mut halls[0], "RPUSH q b\r\n");
        let (push, _) = command(&mut halls[0]);
        halls[0].answered(Time(2), push, &Outcome::Done(Reply::Integer(1)));
        assert_eq!(halls[0].others.next_word(), None);
    }

    #[test]
    fn a_dead_door_has_no_listeners_and_answers_nothing() {
        let mut halls = DOORS.map(hall);
        says(&mut halls[1], "SUBSCRIBE c\r\n");
        talk(&mut halls);
        let asking = says(&mut halls[0], "PUBLISH c 1\r\nCLIENT KILL TYPE pubsub\r\nPING\r\n");
        assert_eq!(heard(&mut halls[0], asking), ":1\r\n", "the other one is asked");
        halls[0].forget_door(Time(0), DOORS[1]);
        assert_eq!(heard(&mut halls[0], asking), ":0\r\n+PONG\r\n");
        halls[0].received(Time(0), asking, b"PUBLISH c 2\r\nCLIENT KILL TYPE pubsub\r\n");
        assert_eq!(heard(&mut halls[0], asking), ":0\r\n:0\r\n");
        assert_eq!(halls[0].others.count(), 1);
    }

    #[test]
    fn settings_are_told_and_not_told_again() {
        let mut halls = DOORS.map(hall);
        says(&mut halls[1], "CONFIG SET maxclients 5 timeout 7\r\n");
        talk(&mut halls);
        assert_eq!((halls[0].settings.max_clients(), halls[0].settings.get("timeout")), (5, Some("7")));
        assert!(halls.iter_mut().all(|hall| hall.others.next_word().is_none()));
    }
}
