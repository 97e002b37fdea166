//! Detours: what goes by another server, what does not, and when it ends.

use super::*;
use understudy::core::protocol::detour::{Carried, Relay};
use understudy::core::protocol::{Arrival, Detours};

fn detours(rank: u32) -> Detours {
    Detours::new(Rank(rank), &Config::new(3))
}

fn announce() -> Message {
    Message::Announce { member: ONE, role: Role::Primary, view: ViewNumber(1), op: OpNumber(0) }
}

fn welcome() -> Message {
    Message::Welcome { view: None, recruit: false }
}

fn relay(from: u32, to: u32, by: u32, unheard: bool, message: &Message) -> Message {
    let message = Carried::new(message).expect("it goes by detours");
    Message::Relay(Box::new(Relay { from: Rank(from), to: Rank(to), by: Rank(by), unheard, message }))
}

/// What leaves when `message` is to be sent.
fn say(detours: &mut Detours, ms: u64, to: Rank, message: &Message, late: bool) -> Vec<(Rank, Message)> {
    let mut sends = vec![(to, message.clone())];
    detours.add(at(ms), &mut sends, |_| late);
    sends
}

fn arrives(detours: &mut Detours, ms: u64, sender: u32, message: Message) -> Option<(Rank, Message)> {
    match detours.arrived(at(ms), Rank(sender), message, Some(Rank(2))) {
        Arrival::Here(from, message) => Some((from, message)),
        _ => None,
    }
}

#[test]
fn a_server_without_answer_announces_itself_by_all_others() {
    let mut one = detours(1);
    for ms in [0, 100, 200, 300] {
        assert_eq!(say(&mut one, ms, METADATA, &announce(), false).len(), 1 + 2 * usize::from(ms == 300));
    }
    let said: Vec<_> = say(&mut one, 400, METADATA, &announce(), false);
    let by = |by| (Rank(by), relay(1, 0, by, true, &announce()));
    assert_eq!(said, [(METADATA, by(3).1), by(2), by(3)], "the direct words name another way back each time");
    assert_eq!(arrives(&mut one, 401, 0, welcome()), Some((METADATA, welcome())));
    assert_eq!(say(&mut one, 500, METADATA, &announce(), false), [(METADATA, announce())]);
}

#[test]
fn what_came_by_a_detour_is_answered_by_it_until_both_hear_each_other() {
    let mut zero = detours(0);
    assert_eq!(arrives(&mut zero, 0, 2, relay(1, 0, 2, true, &announce())), Some((Rank(1), announce())));
    let answer = relay(0, 1, 2, false, &welcome());
    assert_eq!(say(&mut zero, 1, Rank(1), &welcome(), false), [(Rank(1), answer.clone()), (Rank(2), answer)]);
    // It was told something and is not heard directly: that, too, keeps the detour.
    assert!(arrives(&mut zero, 900, 2, relay(1, 0, 2, false, &announce())).is_some());
    assert_eq!(say(&mut zero, 1_800, Rank(1), &welcome(), false).len(), 2);
    // Both hear each other.
    assert!(arrives(&mut zero, 1_801, 1, relay(1, 0, 2, false, &announce())).is_some());
    assert!(arrives(&mut zero, 1_802, 2, relay(1, 0, 2, false, &announce())).is_some());
    assert_eq!(say(&mut zero, 1_901, Rank(1), &welcome(), false), [(Rank(1), welcome())]);
}

#[test]
fn who_hears_but_is_not_heard_learns_which_way_it_goes() {
    let mut one = detours(1);
    assert!(arrives(&mut one, 0, 0, relay(0, 1, 3, true, &welcome())).is_some());
    let by = relay(1, 0, 3, false, &announce());
    assert_eq!(say(&mut one, 1, METADATA, &announce(), false), [(METADATA, by.clone()), (Rank(3), by)]);
}

#[test]
fn a_client_asks_by_turns_what_is_late() {
    let mut four = Detours::new(Rank(4), &Config { clients: 1, ..Config::new(3) });
    assert_eq!(say(&mut four, 0, Rank(1), &Message::GetView, false).len(), 1);
    let by: Vec<Rank> = (1..5).map(|ms| say(&mut four, ms, Rank(1), &Message::GetView, true)[1].0).collect();
    assert_eq!(by, [Rank(2), Rank(3), Rank(2), Rank(3)]);
}

#[test]
fn what_goes_by_a_detour_leaves_right_behind_what_goes_directly() {
    let mut four = Detours::new(Rank(4), &Config { clients: 1, ..Config::new(3) });
    let request = |seq| {
        let (client, acked, after, command) = (ClientId::on(4), Seq(0), Seq(0), Arc::new(put("v")));
        Message::Request(Request { client, seq: Seq(seq), acked, after, epoch: 1, command })
    };
    let is_late = |message: &Message| matches!(message, Message::Request(request) if request.seq.0 % 3 != 0);
    let mut sends: Vec<_> = (1..=300).map(|seq| (Rank(1), request(seq))).collect();
    four.add(at(0), &mut sends, is_late);
    let by = |seq| relay(4, 1, 2, false, &request(seq));
    let expected = (1..=300).flat_map(|seq| match seq % 3 {
        0 => vec![(Rank(1), request(seq))],
        _ => vec![(Rank(1), by(seq)), (Rank(2), by(seq))],
    });
    assert!(sends.into_iter().eq(expected));
}

#[test]
fn a_server_carries_one_step_and_requests_to_the_primary_it_knows() {
    let onward = |detours: &mut Detours, sender: u32, message: Message| match detours.arrived(
        at(0),
        Rank(sender),
        message,
        Some(Rank(2)),
    ) {
        Arrival::Onward(to, message) => Some((to, message)),
        _ => None,
    };
    let request = Message::Request(Request {
        client: ClientId::on(0),
        seq: Seq(1),
        acked: Seq(0),
        after: Seq(0),
        epoch: 1,
        command: Arc::new(put("v")),
    });
    let mut three = detours(3);
    let there = (METADATA, relay(1, 0, 3, true, &announce()));
    assert_eq!(onward(&mut three, 1, relay(1, 0, 3, true, &announce())), Some(there));
    let to_the_primary = (Rank(2), relay(0, 2, 3, true, &request));
    assert_eq!(onward(&mut three, 0, relay(0, 1, 3, true, &request)), Some(to_the_primary));
    assert_eq!(arrives(&mut detours(2), 0, 0, relay(0, 1, 2, true, &request)), Some((METADATA, request.clone())));
    // Not what another one says, not what another one is to carry, not to nobody, and not as a client.
    assert_eq!(onward(&mut three, 2, relay(1, 0, 3, true, &announce())), None);
    assert_eq!(onward(&mut three, 1, relay(1, 0, 2, true, &announce())), None);
    assert_eq!(onward(&mut three, 1, relay(1, 9, 3, true, &announce())), None);
    assert_eq!(onward(&mut detours(0), 1, relay(1, 2, 0, true, &announce())), None);
    // Nobody speaks for somebody else.
    assert_eq!(arrives(&mut detours(0), 0, 3, relay(1, 0, 2, true, &announce())), None);
    assert_eq!(arrives(&mut detours(0), 0, 3, relay(3, 0, 9, true, &announce())), None);
}

#[test]
fn leases_go_by_no_detour() {
    let (view, incarnation, op, sent) = (ViewNumber(1), Incarnation(1), OpNumber(0), at(1));
    for message in [
        Message::Heartbeat { view, commit: op, sent, round_trip: Duration::ZERO },
        Message::HeartbeatOk { view, incarnation, op, sent, lease: Duration::ZERO },
        Message::StartViewOk { view, incarnation, op, sent, lease: Duration::ZERO },
    ] {
        assert_eq!(Carried::new(&message), None);
    }
}
