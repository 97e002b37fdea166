//! Sessions: how they end, and what becomes of those who ask afterwards.

use super::*;
use understudy::core::store::{Exporter, Importer, Silent};

const IDLE: Duration = Duration::from_secs(60);

fn config() -> Config {
    let timing = Timing { idle: IDLE, ..Timing::default() };
    Config { timing, ..Config::new(3) }
}

/// When a session has been silent for long that was silent since `ms`.
fn silent_since(ms: u64) -> Time {
    at(ms) + IDLE
}

fn told(node: &Node, client: ClientId) -> Vec<Reply> {
    let own = |message: &&Message| match message {
        Message::Reply { client: own, reply, .. } if *own == client => Some(reply.clone()),
        _ => None,
    };
    node.sent(Rank(client.rank())).iter().filter_map(own).collect()
}

fn append(node: &mut Node, now: Time, client: ClientId, seq: u64) -> Vec<Reply> {
    node.ask(now, client, seq, Command::Append { key: "k".into(), value: "x".into() });
    told(node, client)
}

fn ended() -> Vec<Reply> {
    vec![Reply::Error(StoreError::SessionEnded)]
}

/// The log entries that end silent sessions among what was just sent to server 2.
fn ends(node: &Node) -> Vec<Silent> {
    let end = |message: &&Message| match message {
        Message::Prepare { entry, .. } => match &entry.command {
            Command::End(silent) if entry.client == ClientId::PRIMARY => Some((**silent).clone()),
            _ => None,
        },
        _ => None,
    };
    node.sent(TWO.rank).iter().filter_map(end).collect()
}

#[test]
fn several_clients_of_a_rank_are_strangers_to_each_other() {
    let mut node = Node::primary(&[]);
    let clients = [(0, 0), (0, 1), (1, 0), (1, 7)].map(|(life, number)| ClientId::new(9, life, number));
    for (before, client) in (0..).zip(clients) {
        assert_eq!(append(&mut node, at(1), client, 1), [Reply::Integer(before + 1)]);
    }
    for (before, client) in (0..).zip(clients) {
        assert_eq!(append(&mut node, at(2), client, 1), [Reply::Integer(before + 1)], "the same answer");
    }
}

#[test]
fn five_thousand_clients_live_and_are_let_go_of_some_at_a_time() {
    const CLIENTS: u32 = 5_000;
    let mut node = Node::primary_in(config(), &[]);
    // Of ranks, and of numbers.
    let client = |at: u32| if at.is_multiple_of(2) { ClientId::on(10 + at) } else { ClientId::new(9, 0, at) };
    for number in 0..CLIENTS {
        let answer = append(&mut node, at(1), client(number), 1);
        assert_eq!(answer, [Reply::Integer(i64::from(number) + 1)]);
    }
    assert_eq!(append(&mut node, at(1), client(0), 1), [Reply::Integer(1)], "all of them are remembered");
    let store = node.server.store();
    assert_eq!(store.sessions().len(), CLIENTS as usize);
    let (mut exporter, mut importer) = (Exporter::default(), Importer::default());
    std::iter::from_fn(|| exporter.next_chunk(store)).for_each(|chunk| importer.add(chunk));
    let copy = importer.finish(exporter.finish(store)).expect("a whole state");
    assert_eq!(copy.full_digest(), store.full_digest(), "a new backup knows them");

    let (mut turns, mut left) = (0, CLIENTS as usize);
    while left > 0 {
        let op = node.server.store().op().0;
        node.tick(silent_since(2) + Duration::from_millis(turns));
        let now = node.server.store().sessions().len();
        assert!(left - now <= 256 && node.server.store().op().0 - op <= 1, "a bounded step a turn");
        (left, turns) = (now, turns + 1);
        assert!(turns < 100, "{left} left");
    }
    let late = silent_since(2) + Duration::from_secs(1);
    assert_eq!(append(&mut node, late, client(0), 1), ended());
    assert_eq!(append(&mut node, late, client(4_999), 2), ended());
    assert!(node.server.store().sessions().ended_ranges() <= CLIENTS as usize / 2 + 64, "a rank has few");
    assert_eq!(node.server.store().op().0, u64::from(CLIENTS) + 20, "nothing was carried out again");
}

#[test]
fn a_silent_session_ends_by_an_entry_and_whoever_wrote_meanwhile_keeps_his() {
    let mut node = Node::primary_in(config(), &[TWO]);
    let [silent, awake] = [8, 9].map(ClientId::on);
    for client in [silent, awake] {
        node.ask(at(1), client, 1, put("v"));
    }
    node.acknowledge(at(2), TWO, 2, at(2));
    node.tick(silent_since(0));
    assert!(ends(&node).is_empty(), "not yet");
    // The one writes again before the entry that would end both.
    let now = silent_since(1);
    node.acknowledge(now, TWO, 2, now);
    node.ask(now, awake, 2, put("w"));
    node.tick(now);
    let [end] = &ends(&node)[..] else { panic!("{:?}", node.out.sends) };
    assert_eq!((end.before, &end.clients), (1, &vec![silent, awake]));
    node.tick(now + Duration::from_millis(1));
    assert!(ends(&node).is_empty(), "once");
    // What comes after it is not carried out, although it was logged; what came before is.
    node.ask(now, silent, 2, put("never"));
    assert_eq!(node.names(TWO.rank), ["Prepare"]);
    node.acknowledge(now, TWO, 5, now);
    assert_eq!((told(&node, awake), told(&node, silent)), (vec![Reply::Ok], ended()));
    let stored = node.server.store().read(&Command::Get { key: "k".into() });
    assert_eq!(stored, Reply::Value("w".into()));
    // Whenever it asks again, and whether or not it waits for something.
    node.ask(now, silent, 2, put("never"));
    assert_eq!(told(&node, silent), ended());
    let request = |seq: u64, command: Command| {
        let (seq, acked, after) = (Seq(seq), Seq(0), Seq(2));
        Message::Request(Request { client: silent, seq, acked, after, epoch: 1, command: command.into() })
    };
    node.hear(now, Rank(8), request(3, put("never")));
    assert_eq!(told(&node, silent), ended());
    node.hear(now, Rank(8), request(4, Command::Count));
    assert_eq!(told(&node, silent), [Reply::Integer(1)], "a read needs no session");
}

#[test]
fn a_new_primary_whose_clock_is_ahead_ends_nobody_before_it_has_led_for_as_long() {
    let ahead = 1_000 * 60 * 60 * 24;
    let mut node = Node::of_with(TWO, &view(1, ONE, &[TWO]), Config { unix_ms: ahead, ..config() });
    node.hear(at(0), ONE.rank, start(&view(1, ONE, &[TWO])));
    node.prepare(at(1), 1, 1);
    node.hear(at(2), METADATA, Message::ViewIs { view: view(2, TWO, &[]) });
    node.tick(silent_since(1));
    assert_eq!((node.server.role(), node.server.store().sessions().len()), (Role::Primary, 1));
    node.tick(silent_since(2));
    assert_eq!(node.server.store().sessions().len(), 0);
}

#[test]
fn a_client_that_leaves_has_left() {
    let mut node = Node::primary(&[]);
    let client = ClientId::on(9);
    assert_eq!(append(&mut node, at(1), client, 1), [Reply::Integer(1)]);
    for answer in [vec![Reply::Ok], ended()] {
        node.ask(at(2), client, 2, Command::Leave);
        assert_eq!(told(&node, client), answer);
    }
    // What a slow network brings late.
    assert_eq!(append(&mut node, at(3), client, 1), ended());
    assert_eq!(append(&mut node, at(3), ClientId::new(9, 0, 1), 2), [Reply::Integer(2)], "its next name");
    assert_eq!(node.server.store().sessions().len(), 1);
}

#[test]
fn nobody_ends_the_session_of_another_client() {
    let mut node = Node::primary(&[]);
    assert_eq!(append(&mut node, at(1), CONSOLE, 1), [Reply::Integer(1)]);
    let silent = Silent { before: u64::MAX, clients: vec![CONSOLE] };
    let both = vec![Command::Leave, Command::End(Box::new(silent.clone()))];
    node.ask(at(2), ClientId::on(9), 1, Command::End(Box::new(silent)));
    node.ask(at(2), ClientId::on(9), 2, Command::multi(both, Vec::new()));
    assert_eq!(append(&mut node, at(3), CONSOLE, 2), [Reply::Integer(2)]);
    assert_eq!(append(&mut node, at(3), ClientId::on(9), 3), [Reply::Integer(3)]);
}

// ---- the client's side -----------------------------------------------------------------------

const CLIENT: ClientId = ClientId::on(3);
const NEXT: ClientId = ClientId::new(3, 0, 4);

fn client() -> Client {
    let timing = Timing { idle: IDLE, ..Timing::default() };
    let mut client = Client::new(Rank(3), timing).named(CLIENT, 4);
    client.handle(at(0), Message::ViewIs { view: view(1, ONE, &[]) }, &mut Outbox::default());
    client
}

fn reply(client: ClientId, seq: u64, reply: Reply) -> Message {
    Message::Reply { client, seq: Seq(seq), view: ViewNumber(1), reply }
}

/// Whose requests were sent, and their numbers.
fn asked(out: &Outbox) -> Vec<(ClientId, u64, Command)> {
    let request = |(_, message): &(Rank, Message)| match message {
        Message::Request(request) => Some((request.client, request.seq.0, (*request.command).clone())),
        _ => None,
    };
    out.sends.iter().filter_map(request).collect()
}

#[test]
fn whose_session_has_ended_goes_on_and_says_that_it_does_not_know() {
    let (mut client, mut out) = (client(), Outbox::default());
    client.submit(at(1), put("a"), &mut out);
    client.submit(at(1), Command::Count, &mut out);
    client.submit(at(1), put("b"), &mut out);
    let mut out = Outbox::default();
    // Not its own, or of a name that it had before: no matter.
    client.handle(at(2), reply(NEXT, 1, ended().remove(0)), &mut out);
    assert_eq!((client.id(), client.outstanding(), out.sends.len()), (CLIENT, 3, 0));
    client.handle(at(2), reply(CLIENT, 1, ended().remove(0)), &mut out);
    let unknown = |seq| (CLIENT, Seq(seq), Outcome::Unknown);
    let done: Vec<_> = std::iter::from_fn(|| client.pop_completion()).map(|c| (c.client, c.seq, c.outcome)).collect();
    assert_eq!(done, [unknown(1), unknown(3)], "the writes may have happened, and are not asked again");
    let gave_up = |seq| Event::GaveUp { client: CLIENT, seq: Seq(seq) };
    assert_eq!(out.events, [gave_up(1), gave_up(3), Event::SessionEnded { client: CLIENT, next: NEXT }]);
    let mut out = Outbox::default();
    client.handle(at(3), reply(CLIENT, 3, ended().remove(0)), &mut out);
    assert_eq!((client.id(), out.sends.len(), out.events.len()), (NEXT, 0, 0), "once is enough");
    for (other, left) in [(ClientId::new(3, 0, 1), 1), (ClientId::new(3, 1, 0), 1), (CLIENT, 0)] {
        client.handle(at(3), reply(other, 2, Reply::Integer(7)), &mut Outbox::default());
        assert_eq!(client.outstanding(), left, "the read is answered all the same");
    }
    client.pop_completion().expect("the read");
    client.submit(at(4), put("c"), &mut out);
    assert_eq!(asked(&out), [(NEXT, 4, put("c"))]);
    client.handle(at(5), reply(NEXT, 4, Reply::Ok), &mut out);
    let last = client.pop_completion().expect("it was answered");
    assert_eq!((last.client, last.outcome), (NEXT, Outcome::Done(Reply::Ok)));
}

#[test]
fn a_client_that_was_silent_for_half_as_long_goes_on_under_its_next_name() {
    let (mut client, mut out) = (client(), Outbox::default());
    client.submit(at(1), put("a"), &mut out);
    client.handle(at(2), reply(CLIENT, 1, Reply::Ok), &mut out);
    let submit = |client: &mut Client, now: Time, command: Command| {
        let mut out = Outbox::default();
        client.submit(now, command, &mut out);
        asked(&out)
    };
    let soon = at(0) + IDLE / 2;
    assert_eq!(submit(&mut client, soon, put("b")), [(CLIENT, 2, put("b"))]);
    let later = soon + IDLE / 2;
    assert_eq!(submit(&mut client, later, Command::Count), [(CLIENT, 3, Command::Count)], "reads need no session");
    assert_eq!(submit(&mut client, later, put("c")), [(CLIENT, 4, put("c"))], "b has no answer");
    for seq in 2..=4 {
        client.handle(later, reply(CLIENT, seq, Reply::Ok), &mut Outbox::default());
    }
    let late = later + IDLE / 2;
    assert_eq!(submit(&mut client, late, put("d")), [(CLIENT, 6, Command::Leave), (NEXT, 5, put("d"))]);
    let done: Vec<_> = std::iter::from_fn(|| client.pop_completion()).map(|c| c.seq.0).collect();
    assert_eq!(done, [1, 2, 3, 4], "the farewell is no operation");
}

#[test]
fn a_client_leaves_when_its_writes_are_answered() {
    let (mut client, mut out) = (client(), Outbox::default());
    client.submit(at(1), put("a"), &mut out);
    client.submit(at(1), Command::Count, &mut out);
    assert!(!client.leave(&mut out));
    client.handle(at(2), reply(CLIENT, 1, Reply::Ok), &mut out);
    let mut out = Outbox::default();
    assert!(client.leave(&mut out));
    assert_eq!((asked(&out), client.id()), (vec![(CLIENT, 3, Command::Leave)], NEXT));
    // The answer to that is for nobody, least of all for a read that is asked next.
    let next = client.submit(at(4), Command::Count, &mut out);
    client.handle(at(5), reply(CLIENT, 3, Reply::Ok), &mut out);
    assert!(client.awaits(next));
}
