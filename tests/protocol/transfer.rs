//! How a server gets the state and joins.

use super::*;

#[test]
fn a_server_joins_with_all_the_data_and_not_before() {
    let (mut primary, mut joiner) = (primary_with(5), joiner());
    assert_eq!((joiner.server.generation(), joiner.server.receiving(), joiner.server.holds_data()), (0, None, false));
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    assert_eq!(primary.out.events, [Event::TransferStarted { to: THREE, keys: 5 }]);
    let parts = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(primary.names(THREE.rank), ["Snapshot", "Snapshot"], "the keys, and the end");
    joiner.hear(at(3), ONE.rank, parts[0].clone());
    assert_eq!((joiner.server.receiving(), joiner.server.store().len()), (Some((5, 5)), 0));
    let ok = |next| has_parts((1 << 32) + 1, next);
    assert_eq!(joiner.sent(ONE.rank), [&ok(1)]);
    joiner.hear(at(3), ONE.rank, parts[0].clone());
    assert_eq!(joiner.sent(ONE.rank), [&ok(1)], "a part that comes twice counts once");
    joiner.hear(at(3), ONE.rank, parts[1].clone());
    assert_eq!((joiner.server.receiving(), joiner.server.store().len()), (None, 5));
    assert_eq!((joiner.server.generation(), joiner.server.holds_data()), (1, false));
    // What is written meanwhile follows, and is not answered before the newcomer has it.
    primary.ask(at(4), CONSOLE, 6, put("late"));
    assert_eq!((primary.names(THREE.rank), primary.names(METADATA).len()), (vec!["Prepare"], 0));
    assert!(pass(at(4), &primary, &mut joiner).is_empty());
    joiner.tick(at(4));
    assert_eq!(joiner.names(ONE.rank), ["PrepareOk"]);
    primary.hear(at(5), THREE.rank, ok(2));
    let heartbeat = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    assert!(matches!(heartbeat[..], [Message::Heartbeat { sent, .. }] if sent == at(5)), "its lease is missing");
    let grants = pass(at(5), &primary, &mut joiner);
    assert!(matches!(grants[..], [Message::HeartbeatOk { op: OpNumber(6), sent, .. }] if sent == at(5)));
    let mut late = Node { server: primary.server.clone(), out: Outbox::default() };
    late.hear(at(5) + Timing::default().lease, THREE.rank, grants[0].clone());
    assert!(late.out.events.is_empty(), "the lease has ended when it comes");
    primary.hear(at(6), THREE.rank, grants[0].clone());
    assert_eq!(primary.out.events, [Event::TransferDone { to: THREE, keys: 5, op: OpNumber(5) }]);
    assert_eq!(primary.names(METADATA), ["ChangeView", "Reply"], "both are safe from here on");
    let accepted = view(2, ONE, &[THREE]);
    joiner.hear(at(7), METADATA, Message::ViewIs { view: accepted });
    assert_eq!((joiner.server.role(), joiner.server.holds_data(), joiner.server.generation()), (Role::Backup, true, 1));
}

#[test]
fn a_transfer_sends_no_more_than_is_taken() {
    let mut primary = primary_with(20_000);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    assert_eq!(primary.names(THREE.rank), ["Snapshot"; 4]);
    let sent = |primary: &Node| {
        let (to, keys) = primary.server.as_primary().expect("it is").transfers().next().expect("one runs");
        assert_eq!(to, THREE);
        keys
    };
    let first = sent(&primary);
    assert!((1..20_000).contains(&first), "{first}");
    let transfer = (1 << 32) + 1;
    primary.hear(at(3), THREE.rank, has_parts(transfer, 3));
    assert_eq!(primary.names(THREE.rank), ["Snapshot"; 3]);
    assert!(sent(&primary) > first);
    for (stranger, next) in [(transfer, 3), (transfer, 2), (transfer, 9), (transfer + 1, 4), (transfer - 1, 4)] {
        primary.hear(at(4), THREE.rank, has_parts(stranger, next));
        assert!(primary.out.sends.is_empty(), "transfer {stranger}, next {next}");
    }
    // The first part that is missing comes again, ever more rarely; a newcomer that stays silent is let go.
    let again = |primary: &mut Node, ms| {
        primary.tick(at(ms));
        let again = primary.sent(THREE.rank).into_iter().map(|message| match message {
            Message::Snapshot { index, .. } => *index,
            other => panic!("{other}"),
        });
        let again = again.collect::<Vec<_>>();
        primary.out.sends.clear();
        again == [3]
    };
    let retry = Timing::default().retry.as_millis() as u64;
    let repeated: Vec<u64> = (4..300).filter(|ms| again(&mut primary, *ms)).collect();
    assert_eq!(repeated, [3 + retry, 3 + 2 * retry, 3 + 4 * retry, 3 + 8 * retry]);
    assert_eq!(primary.server.as_primary().expect("it is").transfers().count(), 1);
    let silence = Timing::default().silence.as_millis() as u64;
    (300..=4 + 6 * silence).for_each(|ms| primary.tick(at(ms)));
    assert_eq!(primary.server.as_primary().expect("it is").transfers().count(), 1);
    primary.tick(at(5 + 6 * silence));
    assert_eq!(primary.server.as_primary().expect("it is").transfers().count(), 0);
}

#[test]
fn a_newcomer_asks_again_and_begins_each_transfer_in_a_new_life() {
    let timing = Timing::default();
    let mut node = joiner();
    let asks = |node: &mut Node, now| {
        node.tick(now);
        node.names(ONE.rank).contains(&"Join")
    };
    assert!(!asks(&mut node, at(2) + timing.retry / 2));
    assert!(asks(&mut node, at(2) + timing.retry));
    // While parts arrive it does not ask.
    let mut primary = primary_with(20_000);
    primary.hear(at(30), THREE.rank, Message::Join { member: THREE, offer: None });
    let parts = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    node.hear(at(30), ONE.rank, parts[0].clone());
    assert!(!asks(&mut node, at(30) + timing.retry * 10));
    assert!(asks(&mut node, at(31) + timing.retry * 10));
    // Another transfer than the one that has begun: everything is forgotten.
    primary.hear(at(300), THREE.rank, Message::Join { member: THREE, offer: None });
    assert_eq!(primary.sent(THREE.rank), [&parts[0]], "it is being served: the first part may be lost");
    let Message::Snapshot { view, to, transfer, index, part } = parts[0].clone() else { unreachable!() };
    let newer = Message::Snapshot { view, to, transfer: transfer + 1, index, part };
    node.hear(at(301), Rank(2), newer.clone());
    assert_eq!(node.server.member(), THREE, "from somebody who is not primary");
    node.hear(at(302), ONE.rank, newer);
    assert_eq!(node.out.events, [Event::Forgot { incarnation: Incarnation(2) }]);
    assert_eq!((node.server.member(), node.server.receiving()), (member(3, 2), None));
    assert_eq!(node.server.generation(), 1);
    // A life that has had its transfer gets no other one.
    for ms in (300..1_000).step_by(10) {
        primary.tick(at(ms));
    }
    primary.hear(at(1_000), THREE.rank, Message::Join { member: THREE, offer: None });
    let start_over = Message::StartOver { view: ViewNumber(1), incarnation: THREE.incarnation };
    assert_eq!(primary.sent(THREE.rank), [&start_over]);
    node.hear(at(1_001), ONE.rank, start_over);
    assert_eq!(node.server.member(), member(3, 2), "that was said to an earlier life");
    let to_this = Message::StartOver { view: ViewNumber(1), incarnation: Incarnation(2) };
    node.hear(at(1_002), ONE.rank, to_this);
    assert_eq!(node.server.member(), member(3, 3));
    primary.hear(at(1_003), THREE.rank, Message::Join { member: member(3, 3), offer: None });
    assert_eq!(primary.names(THREE.rank), ["Snapshot"; 4]);
}

#[test]
fn a_server_without_a_place_keeps_its_life_and_may_be_sent_away_again() {
    let mut node = joiner();
    node.hear(at(3), METADATA, Message::ViewIs { view: view(2, ONE, &[TWO]) });
    assert_eq!((node.server.member(), node.out.events.len()), (THREE, 0), "it has nothing to forget");
    node.hear(at(4), METADATA, Message::Welcome { view: None, recruit: false });
    assert_eq!(node.server.role(), Role::Idle);
    assert_eq!(node.out.events, [Event::RoleChanged { from: Role::Joining, to: Role::Idle, view: ViewNumber(2) }]);
}

#[test]
fn a_newcomer_listens_only_to_where_its_state_comes_from() {
    let (mut primary, mut node) = (primary_with(3_000), joiner());
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    let parts = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    let heartbeat = |view| Message::Heartbeat {
        view: ViewNumber(view),
        commit: OpNumber(0),
        sent: at(3),
        round_trip: Duration::ZERO,
    };
    let prepare =
        |view, op| Message::Prepare { view: ViewNumber(view), commit: OpNumber(0), entry: entry(op, put("late")) };
    let is_deaf = |node: &mut Node, from: Rank, view, op| {
        let before = node.server.op();
        node.hear(at(3), from, heartbeat(view));
        let granted = !node.out.sends.is_empty();
        node.hear(at(3), from, prepare(view, op));
        node.tick(at(3));
        !granted && !node.names(from).contains(&"PrepareOk") && node.server.op() == before
    };
    node.hear(at(3), ONE.rank, parts[0].clone());
    assert!(node.server.receiving().is_some_and(|(got, all)| 0 < got && got < all && all == 3_000));
    assert!(is_deaf(&mut node, ONE.rank, 1, 1), "it has not got everything yet");
    // An older transfer counts for nothing; a view of the same primary changes nothing.
    let Message::Snapshot { view: number, to, transfer, index, part } = parts[1].clone() else { unreachable!() };
    node.hear(at(3), ONE.rank, Message::Snapshot { view: number, to, transfer: transfer - 1, index, part });
    assert!(node.out.sends.is_empty());
    node.hear(at(3), METADATA, Message::ViewIs { view: view(2, ONE, &[TWO]) });
    assert!(node.server.receiving().is_some() && node.out.events.is_empty());
    for part in &parts[1..] {
        let Message::Snapshot { to, transfer, index, part, .. } = part.clone() else { unreachable!() };
        node.hear(at(4), ONE.rank, Message::Snapshot { view: ViewNumber(2), to, transfer, index, part });
    }
    assert_eq!((node.server.receiving(), node.server.store().len()), (None, 3_000));
    assert!(is_deaf(&mut node, TWO.rank, 2, 3_001), "server 2 is a backup");
    assert!(!is_deaf(&mut node, ONE.rank, 2, 3_001));
    node.hear(at(5), METADATA, Message::ViewIs { view: view(3, TWO, &[]) });
    assert_eq!(node.server.member(), member(3, 2), "of another primary it can get nothing more of that");
}

#[test]
fn a_server_that_receives_the_state_holds_no_write_up() {
    let mut primary = primary_with(20_000);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    primary.ask(at(3), ClientId::on(9), 1, put("v"));
    assert_eq!((primary.names(Rank(9)), primary.names(THREE.rank).len()), (vec!["Reply"], 0));
}

#[test]
fn a_newcomer_that_falls_silent_at_the_end_holds_writes_up_for_a_moment_only() {
    let mut primary = primary_with(5);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    primary.ask(at(3), ClientId::on(9), 1, put("v"));
    assert_eq!((primary.names(THREE.rank), primary.names(Rank(9)).len()), (vec!["Prepare"], 0));
    // It has said nothing yet: the network may be slow.
    let patience = Timing::default().first_word.as_millis() as u64;
    for ms in 4..=2 + patience {
        primary.tick(at(ms));
        assert!(primary.names(Rank(9)).is_empty(), "at {ms}");
    }
    primary.tick(at(3 + patience));
    assert_eq!((primary.names(Rank(9)), primary.server.has_proposed()), (vec!["Reply"], false));
}

#[test]
fn what_is_written_while_the_state_is_sent_is_sent_again() {
    let (mut primary, mut node) = (primary_with(20_000), joiner());
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    let mut answers = pass(at(2), &primary, &mut node);
    let rewritten = Command::Put { key: Bytes::from("key000001"), value: Bytes::from("again") };
    primary.ask(at(3), ClientId::on(9), 1, rewritten);
    assert_eq!(primary.names(Rank(9)), ["Reply"]);
    while node.server.receiving().is_some() {
        let mut next = Vec::new();
        for answer in answers {
            primary.hear(at(4), THREE.rank, answer);
            next.extend(pass(at(4), &primary, &mut node));
        }
        assert!(!next.is_empty(), "the transfer has come to a stop");
        answers = next;
    }
    assert_eq!(node.server.member(), THREE, "nothing was wrong with it");
    assert_eq!(node.server.store().full_digest(), primary.server.store().full_digest());
}

/// What is repeated for a life that is over must not be taken by the next one, which has asked for a transfer of its
/// own.
#[test]
fn a_part_for_an_earlier_life_is_not_taken() {
    let (mut primary, mut node) = (primary_with(20_000), joiner());
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    let Message::Snapshot { view, to, transfer, index, part } = primary.sent(THREE.rank)[0].clone() else {
        unreachable!()
    };
    assert_eq!((to, index), (THREE.incarnation, 0));
    let other = to.next();
    node.hear(at(3), ONE.rank, Message::Snapshot { view, to: other, transfer, index, part: Arc::clone(&part) });
    assert!(node.out.sends.is_empty() && node.server.receiving().is_none());
    node.hear(at(3), ONE.rank, Message::Snapshot { view, to, transfer, index, part });
    assert_eq!(node.names(ONE.rank), ["SnapshotOk"]);
}

/// A late word of an earlier life counts for nothing: what that one had, the present one may lack, and would never be
/// sent again. The same words from the present life count.
#[test]
fn what_an_earlier_life_has_the_present_one_may_lack() {
    let new = member(3, 2);
    let view = ViewNumber(1);
    let prepare_ok = |incarnation| Message::PrepareOk { view, incarnation, op: OpNumber(6) };
    let heartbeat_ok = |incarnation| {
        let (sent, lease) = (at(5), Timing::default().lease);
        Message::HeartbeatOk { view, incarnation, op: OpNumber(6), sent, lease }
    };
    let parts_ok = |incarnation| Message::SnapshotOk { view, incarnation, transfer: (1 << 32) + 2, next: 2 };
    // The first life has the whole state and the write behind it; its words travel slowly, and it dies.
    let mut primary = primary_with(5);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    primary.hear(at(3), THREE.rank, has_parts((1 << 32) + 1, 2));
    primary.ask(at(4), ClientId::on(9), 1, put("v"));
    assert_eq!((primary.names(THREE.rank), primary.names(Rank(9)).len()), (vec!["Prepare"], 0));
    // The second one has nothing yet, and what it is sent is lost.
    primary.hear(at(5), THREE.rank, Message::Join { member: new, offer: None });
    let alone = Node { server: primary.server.clone(), out: Outbox::default() };
    let answers = |words: &[Message]| {
        let mut primary = Node { server: alone.server.clone(), out: Outbox::default() };
        let mut sent = Vec::new();
        for word in words {
            primary.hear(at(6), THREE.rank, word.clone());
            sent.extend(primary.out.sends.iter().map(|(to, message)| (*to, message.name())));
        }
        let has = |name: &str, rank: Rank| sent.contains(&(rank, name));
        (has("Reply", Rank(9)), has("ChangeView", METADATA))
    };
    let (old, new) = (THREE.incarnation, new.incarnation);
    assert_eq!(answers(&[prepare_ok(old)]), (false, false), "nobody but the primary has the write");
    assert_eq!(answers(&[heartbeat_ok(old)]), (false, false));
    assert_eq!(answers(&[parts_ok(old), heartbeat_ok(old)]), (false, false), "it would be made a member");
    assert_eq!(answers(&[parts_ok(new), heartbeat_ok(old), prepare_ok(old)]), (false, false));
    assert!(answers(&[prepare_ok(new)]).0);
    assert_eq!(answers(&[parts_ok(new), heartbeat_ok(new)]), (true, true));
}
