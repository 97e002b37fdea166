//! The client: requests, repetitions, and whose answers count.

use super::*;

const CLIENT: ClientId = ClientId::on(3);

fn client_in(view: &Arc<View>) -> Client {
    let mut client = Client::new(Rank(CLIENT.rank()), Timing::default());
    client.handle(at(0), Message::ViewIs { view: Arc::clone(view) }, &mut Outbox::default());
    client
}

fn answer(client: ClientId, seq: u64) -> Message {
    Message::Reply { client, seq: Seq(seq), view: ViewNumber(1), reply: Reply::Ok }
}

#[test]
fn a_client_says_since_when_something_of_it_is_running() {
    let (mut client, mut out) = (client_in(&view(1, member(1, 1), &[])), Outbox::default());
    assert_eq!(client.running_since(at(7)), at(7) + Duration::from_nanos(1), "what is asked next");
    let next = client.next_seq();
    assert_eq!(client.submit(at(10), put("a"), &mut out), next);
    client.submit(at(12), put("b"), &mut out);
    assert_eq!(client.running_since(at(20)), at(10));
    client.handle(at(21), answer(CLIENT, 1), &mut out);
    assert_eq!(client.running_since(at(22)), at(12));
}

#[test]
fn answers_to_others_are_not_for_this_client() {
    let (mut client, mut out) = (client_in(&view(1, member(1, 1), &[member(2, 1)])), Outbox::default());
    client.submit(at(10), put("a"), &mut out);
    let newer = Some(view(2, member(2, 1), &[]));
    let other = ClientId::on(CLIENT.rank() + 1);
    client.handle(at(11), answer(other, 1), &mut out);
    client.handle(at(11), Message::NotPrimary { client: other, seq: Seq(1), view: newer.clone() }, &mut out);
    assert_eq!((client.outstanding(), client.view().map(|view| view.number)), (1, Some(ViewNumber(1))));
    client.handle(at(12), Message::NotPrimary { client: CLIENT, seq: Seq(1), view: newer }, &mut out);
    assert_eq!(client.view().map(|view| view.number), Some(ViewNumber(2)));
    client.handle(at(13), answer(CLIENT, 1), &mut out);
    assert_eq!(client.pop_completion().map(|completion| completion.outcome), Some(Outcome::Done(Reply::Ok)));
}

#[test]
fn a_request_says_what_the_client_has_and_which_write_comes_before() {
    let mut client = client_in(&view(1, member(1, 1), &[]));
    let ask = |client: &mut Client, command: Command| {
        let mut out = Outbox::default();
        client.submit(at(10), command, &mut out);
        match &out.sends[..] {
            [(Rank(1), Message::Request(Request { seq, acked, after, .. }))] => (seq.0, acked.0, after.0),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(&mut client, put("a")), (1, 0, 0));
    assert_eq!(ask(&mut client, Command::Count), (2, 0, 1));
    assert_eq!(ask(&mut client, put("b")), (3, 0, 1), "a write waits for no read");
    client.handle(at(11), answer(CLIENT, 1), &mut Outbox::default());
    assert_eq!(ask(&mut client, put("c")), (4, 1, 3));
    (2..=4).for_each(|seq| client.handle(at(12), answer(CLIENT, seq), &mut Outbox::default()));
    assert_eq!(ask(&mut client, put("d")), (5, 4, 0));
}

#[test]
fn a_request_is_repeated_however_late_the_clock_is_looked_at() {
    let (mut client, mut out) = (client_in(&view(1, member(1, 1), &[])), Outbox::default());
    client.submit(at(10), put("a"), &mut out);
    let sent = |client: &mut Client, now: Time| {
        let mut out = Outbox::default();
        client.tick(now, &mut out);
        out.sends.iter().filter(|(to, message)| *to == Rank(1) && matches!(message, Message::Request(_))).count()
    };
    let retry = Timing::default().retry;
    assert_eq!(client.deadline(), at(10) + retry);
    assert_eq!(sent(&mut client, at(10) + retry / 2), 0);
    assert_eq!(sent(&mut client, at(10) + retry * 3), 1);
    let deadline = Timing::default().request_deadline;
    assert_eq!(sent(&mut client, at(10) + deadline * 2), 0);
    assert_eq!(client.pop_completion().map(|completion| completion.outcome), Some(Outcome::Unknown));
    assert_eq!(client.deadline(), Time::NEVER);
}
