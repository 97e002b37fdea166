//! What the further clients asked last, and what they were answered: as their own reports tell it.

use super::words;
use crate::core::protocol::{Event, MessageKind, Observation, Rank, Time};
use std::collections::BTreeMap;

/// The last request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRequest {
    /// When it was sent, or when its answer came.
    pub at: Time,
    /// What was asked.
    pub command: String,
    /// The answer; `None` while it waits.
    pub answer: Option<String>,
    /// Which request of which client: `c3#2`.
    id: String,
}

/// All of them that have asked anything.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    last: BTreeMap<Rank, LastRequest>,
}

impl Clients {
    /// Folds the report of a client in, which is none of the servers and not rank 0.
    pub(super) fn observe(&mut self, observation: &Observation, trusted: impl Fn(Time) -> Time) {
        let rank = observation.rank;
        for flight in observation.flights.iter().filter(|flight| flight.kind == MessageKind::Request) {
            let Some(id) = id(&flight.text) else { continue };
            // A request that is sent once more is the same one.
            if self.last.get(&rank).is_none_or(|last| last.id != id) {
                let command = words::content(flight.kind, &flight.text).to_owned();
                let asked = LastRequest { at: trusted(flight.at), command, answer: None, id: id.to_owned() };
                self.last.insert(rank, asked);
            }
        }
        let Some(last) = self.last.get_mut(&rank) else { return };
        for receipt in observation.receipts.iter().filter(|receipt| receipt.kind == MessageKind::Reply) {
            if id(&receipt.text) == Some(last.id.as_str()) {
                let answer = words::content(receipt.kind, &receipt.text).to_owned();
                (last.at, last.answer) = (trusted(receipt.at), Some(answer));
            }
        }
        for (at, event) in &observation.events {
            if let Event::GaveUp { client, seq } = event
                && last.id == format!("c{client}#{seq}")
            {
                (last.at, last.answer) = (trusted(*at), Some("(unknown)".to_owned()));
            }
        }
    }

    /// Who asked last comes first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<(Rank, &LastRequest)> {
        let mut all: Vec<(Rank, &LastRequest)> = self.last.iter().map(|(rank, asked)| (*rank, asked)).collect();
        all.sort_by_key(|(_, asked)| std::cmp::Reverse(asked.at));
        all
    }
}

/// `c3#2`, which stands behind the name of the message.
fn id(text: &str) -> Option<&str> {
    text.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{Flight, Receipt};
    use crate::core::store::{ClientId, Seq};

    #[test]
    fn a_client_asks_waits_and_is_answered_or_gives_up() {
        let mut clients = Clients::default();
        let mut hear = |at: u64, flight: Option<&str>, receipt: Option<&str>, event: Option<Event>| {
            let mut report = Observation::empty(Rank(3), 1, Time(9));
            let (at, kind) = (Time(at), MessageKind::Request);
            let sent = |text: &str| Flight { at, to: Rank(1), kind, text: text.to_owned(), lost: false };
            let kind = MessageKind::Reply;
            let came = |text: &str| Receipt { at, from: Rank(1), kind, text: text.to_owned() };
            report.flights.extend(flight.map(sent));
            report.receipts.extend(receipt.map(came));
            report.events.extend(event.map(|event| (at, event)));
            clients.observe(&report, |at| at);
            let all = clients.newest_first();
            all.first().map(|(rank, asked)| (*rank, asked.command.clone(), asked.answer.clone()))
        };
        let told = |command: &str, answer: Option<&str>| Some((Rank(3), command.to_owned(), answer.map(str::to_owned)));
        assert_eq!(hear(1, None, Some("Reply c3#1 blue"), None), None, "nobody knows what that answers");
        assert_eq!(hear(2, Some("Request c3#2 GET color"), None, None), told("GET color", None));
        assert_eq!(hear(3, None, Some("Reply c3#1 blue"), None), told("GET color", None), "of another request");
        assert_eq!(hear(4, None, Some("Reply c3#2 light blue"), None), told("GET color", Some("light blue")));
        assert_eq!(hear(5, Some("Request c3#2 GET color"), None, None), told("GET color", Some("light blue")));
        assert_eq!(hear(6, Some("Request c3#3 INCR n"), None, None), told("INCR n", None));
        let gave_up = |seq| Some(Event::GaveUp { client: ClientId::on(3), seq: Seq(seq) });
        assert_eq!(hear(7, None, None, gave_up(2)), told("INCR n", None));
        assert_eq!(hear(8, None, None, gave_up(3)), told("INCR n", Some("(unknown)")));
    }
}
