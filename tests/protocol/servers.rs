//! Primary and backup: what they answer, grant and refuse, what they ask for, and when.

use super::*;

#[test]
fn a_server_that_is_not_primary_says_who_is() {
    let mut node = Node::new(TWO, Config::new(3));
    let refusal = |view| Message::NotPrimary { client: CONSOLE, seq: Seq(4), view };
    node.ask(at(1), CONSOLE, 4, put("a"));
    assert_eq!(node.out.sends, [(METADATA, refusal(None))]);
    node.hear(at(1), Rank(3), Message::GetView);
    assert!(node.out.sends.is_empty(), "it knows of no view");
    let mut node = Node::backup();
    let view = view(1, ONE, &[TWO]);
    node.ask(at(1), CONSOLE, 4, put("a"));
    assert_eq!(node.out.sends, [(METADATA, refusal(Some(Arc::clone(&view))))]);
    node.hear(at(1), Rank(3), Message::GetView);
    assert_eq!(node.out.sends, [(Rank(3), Message::ViewIs { view: Arc::clone(&view) })]);
    let member = member(3, 1);
    node.hear(at(1), Rank(3), Message::Join { member, offer: None });
    assert_eq!(node.out.sends, [(Rank(3), Message::Refused { view })]);
    node.hear(at(1), Rank(2), Message::Join { member, offer: None });
    assert!(node.out.sends.is_empty(), "a server asks for itself");
}

#[test]
fn an_older_view_is_refused_and_a_newer_one_asked_about() {
    let mut node = Node::of(TWO, &view(5, ONE, &[TWO]));
    let heartbeat = |view| Message::Heartbeat {
        view: ViewNumber(view),
        commit: OpNumber(0),
        sent: at(1),
        round_trip: Duration::ZERO,
    };
    node.hear(at(1), Rank(3), heartbeat(4));
    assert_eq!(node.names(Rank(3)), ["Refused"]);
    node.hear(at(1), Rank(3), heartbeat(6));
    assert_eq!(node.names(Rank(3)), ["GetView"]);
    assert_eq!(node.out.sends.len(), 1);
}

#[test]
fn a_server_announces_itself_often_until_it_has_a_place() {
    let timing = Timing::default();
    let announced = |node: &mut Node, now| {
        node.tick(now);
        node.names(METADATA).contains(&"Announce")
    };
    let mut node = Node::new(TWO, Config::new(2));
    assert!(announced(&mut node, at(0)));
    assert!(!announced(&mut node, at(0) + timing.retry / 2));
    assert!(announced(&mut node, at(0) + timing.retry));
    let mut node = Node::primary(&[]);
    node.tick(at(20));
    assert!(!announced(&mut node, at(20) + timing.announce / 2));
    assert!(announced(&mut node, at(20) + timing.announce));
}

#[test]
fn a_server_wants_a_turn_before_it_would_take_itself_for_stalled() {
    let timing = Timing::default();
    let mut node = Node::new(TWO, Config::new(2));
    assert_eq!(node.server.deadline(), Time::default(), "at once");
    node.tick(at(3));
    assert_eq!(node.server.deadline(), at(3) + timing.heartbeat);
    let mut node = Node::backup();
    [20, 40, 49].into_iter().for_each(|ms| node.tick(at(ms)));
    assert_eq!(node.server.deadline(), at(50) + Duration::from_nanos(1), "when it would suspect the primary");
    node.prepare(at(49), 1, 0);
    assert_eq!(node.server.deadline(), Time::default(), "to acknowledge at the end of this turn");
    let mut node = Node::primary(&[TWO]);
    [4, 8].into_iter().for_each(|ms| node.tick(at(ms)));
    assert_eq!(node.server.deadline(), at(14), "to send heartbeats");
}

#[test]
fn a_backup_suspects_after_more_than_the_silence_that_it_observed() {
    let turns = |node: &mut Node, from: u64, to: u64| {
        for ms in (from..to).step_by(10) {
            node.tick(at(ms));
            assert!(node.out.events.is_empty(), "at {ms}");
        }
        node.tick(at(to));
        node.out.events.clone()
    };
    let mut node = Node::backup();
    assert!(turns(&mut node, 0, 50).is_empty());
    assert!(!node.server.has_proposed());
    node.tick(at(51));
    assert_eq!(node.out.events, [Event::Suspected { peer: ONE, silent_ms: 51 }]);
    let (to, reason) = (view(2, TWO, &[]), Reason::PrimarySilent { primary: ONE, silent_ms: 51 });
    let change = Message::ChangeView { to, reason, confirms: None };
    assert_eq!(node.out.sends, [(METADATA, change.clone())]);
    assert!(node.server.has_proposed());
    // From now on it grants no lease; it still acknowledges, and asks again.
    node.hear(
        at(52),
        ONE.rank,
        Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(0), sent: at(52), round_trip: Duration::ZERO },
    );
    assert!(node.out.sends.is_empty());
    node.tick(at(60));
    assert!(node.out.sends.is_empty());
    node.tick(at(71));
    assert_eq!(node.sent(METADATA), [&change]);
    assert!(node.out.events.is_empty());
    // A turn may take as long as it takes to be a stall.
    let stall = Timing::default().stall.as_millis() as u64;
    let mut node = Node::backup();
    (0..=3).for_each(|turn| node.tick(at(turn * stall)));
    assert_eq!(node.out.events, [Event::Suspected { peer: ONE, silent_ms: 3 * stall }]);
    // Who was held up has observed an ordinary turn's silence, and no more.
    let mut node = Node::backup();
    node.tick(at(90));
    assert!(node.out.events.is_empty());
    assert!(turns(&mut node, 100, 130).is_empty());
    node.tick(at(131));
    assert_eq!(node.out.events, [Event::Suspected { peer: ONE, silent_ms: 51 }]);
    // So one that never has a turn in time suspects in the end, too.
    let mut node = Node::backup();
    let suspects = |turn: &u64| {
        node.tick(at(turn * 30));
        !node.out.events.is_empty()
    };
    assert_eq!((1..20).find(suspects), Some(6));
}

#[test]
fn a_backup_acknowledges_once_a_turn_and_keeps_what_came_too_early() {
    let mut node = Node::backup();
    for op in [1, 2, 4, 5] {
        node.prepare(at(1), op, 1);
        assert!(node.out.sends.is_empty());
    }
    assert_eq!((node.server.op(), node.server.store().op(), node.server.queued()), (OpNumber(2), OpNumber(1), 3));
    node.tick(at(1));
    let (view, incarnation) = (ViewNumber(1), Incarnation(1));
    assert_eq!(node.sent(ONE.rank), [&Message::PrepareOk { view, incarnation, op: OpNumber(2) }]);
    node.tick(at(2));
    assert!(node.sent(ONE.rank).is_empty());
    node.prepare(at(2), 3, 5);
    assert_eq!((node.server.op(), node.server.store().op(), node.server.queued()), (OpNumber(5), OpNumber(5), 0));
    for op in 7..10_000 {
        node.prepare(at(3), op, 5);
    }
    assert_eq!(node.server.queued(), 1024, "not everything that comes too early is kept");
}

#[test]
fn writes_under_way_are_limited_and_so_are_those_that_wait() {
    let mut node = Node::primary(&[TWO]);
    let all = LOG_OPS_MAX + held::HELD_MAX;
    for seq in 1..=all as u64 + 10 {
        node.ask(at(1), CONSOLE, seq, put("v"));
        let prepared = node.names(TWO.rank) == ["Prepare"];
        assert_eq!(prepared, seq as usize <= LOG_OPS_MAX, "request {seq}");
    }
    assert_eq!(node.server.queued(), all);
    node.ask(at(1), CONSOLE, all as u64, put("v"));
    assert_eq!(node.server.queued(), all, "repetitions wait once");
    node.ask(at(1), ClientId::on(9), 1, Command::Count);
    assert_eq!(node.names(Rank(9)), ["Reply"], "reads need no place in the log");
    node.acknowledge(at(2), TWO, 100, at(1));
    assert_eq!(node.names(METADATA).iter().filter(|name| **name == "Reply").count(), 100);
    assert_eq!(node.names(TWO.rank).iter().filter(|name| **name == "Prepare").count(), 100, "those that waited");
}

#[test]
fn bytes_under_way_are_limited_too() {
    let mut node = Node::primary(&[TWO]);
    for seq in 1..=200 {
        node.ask(at(1), CONSOLE, seq, mebibyte());
    }
    let (logged, held) = (LOG_BYTES_MAX >> 20, held::HELD_BYTES_MAX >> 20);
    assert_eq!(node.server.queued(), logged + held);
    // What was answered makes room.
    node.acknowledge(at(2), TWO, 3, at(1));
    assert_eq!(node.server.queued(), logged + held - 3);
    for seq in 201..=300 {
        node.ask(at(3), CONSOLE, seq, mebibyte());
    }
    assert_eq!(node.server.queued(), logged + held);
}

#[test]
fn reads_are_answered_while_every_backup_grants_a_lease() {
    let lease = Timing::default().lease;
    let three = member(3, 1);
    let mut node = Node::primary(&[TWO, three]);
    let answered = |node: &mut Node, now, seq| {
        assert_eq!(node.server.serves_reads(now), node.server.as_primary().expect("it is").lease_until() > now);
        node.ask(now, CONSOLE, seq, Command::Count);
        !node.sent(METADATA).is_empty()
    };
    assert!(answered(&mut node, at(39), 1));
    assert!(!answered(&mut node, at(0) + lease, 2), "the lease has ended");
    assert_eq!(node.server.queued(), 1);
    node.acknowledge(at(41), TWO, 0, at(30));
    assert!(node.sent(METADATA).is_empty(), "server 3 grants none");
    node.acknowledge(at(42), three, 0, at(20));
    assert_eq!(node.names(METADATA), ["Reply"], "what waited is answered");
    assert_eq!(node.server.as_primary().expect("it is").lease_until(), at(60));
    assert_eq!(node.server.queued(), 0);
    node.acknowledge(at(43), three, 0, at(10));
    assert!(answered(&mut node, at(59), 3), "an old answer takes nothing away");
}

#[test]
fn a_primary_crashes_for_the_dice_only_when_a_backup_has_shown_that_it_lives() {
    let doom = Doom { point: CrashPoint::AfterPrepare, drawn: 0.1 };
    let mut node = Node::primary(&[TWO]);
    assert!(!node.server.is_doomed());
    node.server.arm(doom);
    assert!(node.server.is_doomed());
    node.ask(at(5), CONSOLE, 1, put("v"));
    assert_eq!((node.names(TWO.rank), node.server.crashed()), (vec!["Heartbeat"], None));
    assert!(node.server.is_doomed());
    node.acknowledge(at(6), TWO, 0, at(4));
    assert_eq!(node.server.crashed(), None, "that was sent before");
    node.ask(at(6), CONSOLE, 2, put("w"));
    assert_eq!((node.server.queued(), node.out.sends.len()), (1, 0), "others wait");
    node.acknowledge(at(7), TWO, 0, at(5));
    assert_eq!(node.server.crashed(), Some((doom, OpNumber(1))));
    assert_eq!(node.names(TWO.rank), ["Prepare"]);
    // Before its answer: until then it is doomed.
    let doom = Doom { point: CrashPoint::BeforeReply, drawn: 0.1 };
    let mut node = Node::primary(&[TWO]);
    node.server.arm(doom);
    node.ask(at(5), CONSOLE, 1, put("v"));
    node.acknowledge(at(6), TWO, 0, at(5));
    assert_eq!((node.server.is_doomed(), node.server.crashed()), (true, None));
    node.acknowledge(at(7), TWO, 1, at(5));
    assert_eq!((node.server.crashed(), node.names(METADATA).len()), (Some((doom, OpNumber(1))), 0));
    // While it takes over: it may crash as soon as it serves.
    let mut node = Node::of(ONE, &view(1, ONE, &[TWO]));
    node.server.arm(doom);
    node.ask(at(5), CONSOLE, 1, put("v"));
    assert_eq!((node.server.is_doomed(), node.server.queued()), (true, 1));
}

#[test]
fn the_dice_spare_the_last_server_with_the_data() {
    let doom = Doom { point: CrashPoint::AfterPrepare, drawn: 0.1 };
    let is_spared = |node: &mut Node| {
        node.server.arm(doom);
        node.ask(at(5), CONSOLE, 1, put("v"));
        node.out.events == [Event::Spared { drawn: 0.1 }]
    };
    let mut alone = Node::primary(&[]);
    assert!(is_spared(&mut alone));
    assert_eq!((alone.names(METADATA), alone.server.is_doomed()), (vec!["Reply"], false));
    let mut with_newcomer = primary_with(20_000);
    with_newcomer.hear(at(2), THREE.rank, Message::Join { member: THREE, offer: None });
    let mut restarted = Node::primary(&[TWO]);
    restarted.hear(at(2), TWO.rank, Message::Join { member: member(2, 2), offer: None });
    for node in [&mut with_newcomer, &mut restarted] {
        let before = node.server.op();
        node.server.arm(doom);
        node.ask(at(5), ClientId::on(9), 1, put("v"));
        assert_eq!(node.out.events, [Event::Spared { drawn: 0.1 }]);
        assert_eq!(node.server.op(), before.next());
    }
    // Where a crashed server comes back by itself, it is waited for, but not for ever.
    let dice_patience = Duration::from_millis(100);
    let mut node = Node::primary_in(Config { dice_patience, ..Config::new(3) }, &[]);
    assert!(!is_spared(&mut node));
    for ms in [15, 30, 45, 60, 75, 90, 105] {
        node.tick(at(ms));
        assert!(node.out.events.is_empty() && node.server.is_doomed(), "at {ms}");
    }
    node.tick(at(106));
    assert_eq!((node.out.events.len(), node.names(METADATA).contains(&"Reply")), (1, true));
}

#[test]
fn a_primary_is_rid_of_a_backup_that_has_started_again_and_of_no_other() {
    let mut node = Node::primary(&[TWO]);
    assert!(!node.server.has_proposed());
    node.hear(at(2), TWO.rank, Message::Join { member: TWO, offer: None });
    assert!(node.out.sends.is_empty(), "this life is a member");
    node.hear(at(2), TWO.rank, Message::Join { member: member(2, 2), offer: None });
    let (to, reason) = (view(2, ONE, &[]), Reason::Restarted { backup: TWO });
    assert_eq!(node.out.sends, [(METADATA, Message::ChangeView { to, reason, confirms: None })]);
    assert!(node.server.has_proposed());
}

/// The metadata server asks back before it decides: only what was asked for last, and is still wanted, is confirmed.
#[test]
fn who_asked_for_a_view_confirms_it_while_it_wants_it() {
    let confirm = |node: &mut Node, to: &Arc<View>| {
        node.hear(at(60), METADATA, Message::Confirm { to: Arc::clone(to), asked: at(7) });
        node.out.sends.clone()
    };
    let confirmed = |to: &Arc<View>, reason| {
        vec![(METADATA, Message::ChangeView { to: Arc::clone(to), reason, confirms: Some(at(7)) })]
    };
    let mut backup = Node::backup();
    let mine = view(2, TWO, &[]);
    assert!(confirm(&mut backup, &mine).is_empty(), "it has asked for nothing");
    [10, 20, 30, 40, 51].into_iter().for_each(|ms| backup.tick(at(ms)));
    assert!(backup.server.has_proposed());
    assert!(confirm(&mut backup, &view(2, TWO, &[ONE])).is_empty(), "it has asked for another one");
    assert!(confirm(&mut backup, &view(3, TWO, &[])).is_empty());
    let reason = Reason::PrimarySilent { primary: ONE, silent_ms: 51 };
    assert_eq!(confirm(&mut backup, &mine), confirmed(&mine, reason));

    let mut primary = Node::primary(&[TWO]);
    let alone = view(2, ONE, &[]);
    [10, 20, 30, 40, 51].into_iter().for_each(|ms| primary.tick(at(ms)));
    assert!(primary.server.has_proposed());
    let mut again = Node { server: primary.server.clone(), out: Outbox::default() };
    again.acknowledge(at(52), TWO, 0, at(50));
    again.tick(at(75));
    assert!(!again.server.has_proposed() && confirm(&mut again, &alone).is_empty(), "the backup has come back");
    let reason = Reason::BackupSilent { backup: TWO, silent_ms: 51 };
    assert_eq!(confirm(&mut primary, &alone), confirmed(&alone, reason));
    primary.acknowledge(at(61), TWO, 0, at(50));
    primary.tick(at(85));
    assert_eq!(confirm(&mut primary, &alone), confirmed(&alone, reason), "what was confirmed cannot be taken back");
}

/// A wish cannot be taken back: the view may come about at any later moment.
#[test]
fn who_has_asked_to_be_primary_grants_nothing_more_in_that_view() {
    let mut backup = Node::backup();
    [10, 20, 30, 40, 51].into_iter().for_each(|ms| backup.tick(at(ms)));
    assert!(backup.server.has_proposed());
    let mine = view(2, TWO, &[]);
    let heartbeat =
        Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(0), sent: at(50), round_trip: Duration::ZERO };
    for ms in [52, 53] {
        backup.hear(at(ms), ONE.rank, heartbeat.clone());
        assert!(backup.out.sends.is_empty() && backup.server.has_proposed(), "{:?}", backup.out);
        backup.hear(at(ms), METADATA, Message::Confirm { to: Arc::clone(&mine), asked: at(ms) });
        assert_eq!(backup.names(METADATA), ["ChangeView"], "it still wants what it asked for");
    }
    backup.hear(at(54), ONE.rank, start(&view(1, ONE, &[TWO])));
    assert!(backup.out.sends.is_empty(), "{:?}", backup.out);
}

/// A RESET ends the epoch: a member that was told so serves nobody, and grants nothing, until it hears otherwise.
#[test]
fn a_member_that_is_retired_does_nothing_until_there_is_another_view() {
    let retire = |reset, off| Message::Retire { view: ViewNumber(1), reset, off };
    let mut primary = Node::primary(&[TWO]);
    primary.hear(at(1), METADATA, retire(1, false));
    let said = |incarnation, holds| Message::Retired { view: ViewNumber(1), incarnation, reset: 1, holds };
    assert_eq!(primary.out.sends, [(METADATA, said(ONE.incarnation, Duration::ZERO))]);
    assert!(!primary.server.serves_reads(at(1)));
    primary.ask(at(2), CONSOLE, 1, put("v"));
    assert!(primary.out.sends.is_empty());
    let mut backup = Node::backup();
    backup.hear(at(10), METADATA, retire(1, false));
    let left = Timing::default().silence - Duration::from_millis(10);
    assert_eq!(backup.out.sends, [(METADATA, said(TWO.incarnation, left))], "so long its last lease may hold");
    backup.hear(
        at(11),
        ONE.rank,
        Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(0), sent: at(11), round_trip: Duration::ZERO },
    );
    assert!(backup.out.sends.is_empty());
    // It came to nothing: all goes on, and a late word of it is not heeded.
    primary.hear(at(12), METADATA, retire(1, true));
    primary.hear(at(13), METADATA, retire(1, false));
    assert!(primary.server.serves_reads(at(13)));
    primary.hear(at(14), Rank(3), retire(2, false));
    assert!(primary.server.serves_reads(at(14)), "only the metadata server may say so");
    primary.hear(at(15), METADATA, retire(2, false));
    assert!(!primary.server.serves_reads(at(15)));
    primary.hear(at(16), METADATA, Message::ViewIs { view: View { epoch: 2, ..(*view(2, ONE, &[])).clone() }.into() });
    assert!(primary.server.serves_reads(at(16)) && primary.server.store().is_empty());
}

#[test]
fn rules_can_be_switched_at_any_time() {
    let mut node = Node::of(TWO, &view(5, ONE, &[TWO]));
    node.server.set_rules(Rules::without(&[Rule::Fencing]));
    node.hear(at(0), ONE.rank, start(&view(5, ONE, &[TWO])));
    node.hear(
        at(1),
        Rank(3),
        Message::Heartbeat { view: ViewNumber(4), commit: OpNumber(0), sent: at(1), round_trip: Duration::ZERO },
    );
    assert_eq!(node.names(ONE.rank), ["HeartbeatOk"], "an older view counts");
    let mut primary = Node::primary(&[TWO]);
    primary.server.set_rules(Rules::without(&[Rule::Incarnation]));
    primary.hear(at(2), TWO.rank, Message::Join { member: member(2, 2), offer: None });
    assert!(primary.out.sends.is_empty(), "one life is as good as the other");
    let mut metadata = formed(Config::new(2));
    metadata.set_rules(Rules::without(&[Rule::Incarnation]));
    let of_another_life = view(2, member(2, 2), &[]);
    assert!(change(&mut metadata, Rank(2), &of_another_life, Reason::Handover));
}

#[test]
fn what_a_new_primary_does_not_take_over_makes_room() {
    let mut node = Node::of(THREE, &view(1, ONE, &[TWO, THREE]));
    node.hear(at(0), ONE.rank, start(&view(1, ONE, &[TWO, THREE])));
    for op in 1..=10 {
        let entry = entry(op, mebibyte());
        node.hear(at(1), ONE.rank, Message::Prepare { view: ViewNumber(1), commit: OpNumber(0), entry });
    }
    assert_eq!(node.server.op(), OpNumber(10));
    node.hear(at(2), TWO.rank, start(&view(2, TWO, &[THREE])));
    assert_eq!(node.server.op(), OpNumber(0));
    node.hear(at(3), METADATA, Message::ViewIs { view: view(3, THREE, &[TWO]) });
    node.hear(at(3), TWO.rank, started(ViewNumber(3), TWO, at(3)));
    for seq in 1..=100 {
        node.ask(at(4), CONSOLE, seq, mebibyte());
    }
    assert_eq!(node.server.op(), OpNumber(LOG_BYTES_MAX as u64 >> 20));
}

#[test]
fn only_a_primary_with_a_backup_hands_over_and_says_why_it_cannot() {
    assert_eq!(Node::backup().server.swap(at(1)), Err(SwapError::NotPrimary(Rank(2))));
    assert_eq!(Node::primary(&[]).server.swap(at(1)), Err(SwapError::NoBackup));
    let mut node = Node::primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, put("v"));
    assert_eq!(node.server.swap(at(1)), Ok(()));
    assert_eq!(node.server.swap(at(1)), Err(SwapError::Busy));
    node.ask(at(2), CONSOLE, 2, put("w"));
    assert_eq!(node.server.queued(), 2, "one is under way, one waits for the new primary");
    node.acknowledge(at(3), TWO, 1, at(2));
    assert_eq!(node.sent(TWO.rank), [&Message::Handover { view: ViewNumber(1), op: OpNumber(1) }]);
    assert!(!node.server.serves_reads(at(3)), "the other may be primary already");
    // It is told again; when nothing comes of it, the metadata server is asked to settle it.
    let handovers = |node: &mut Node, from: u64, to: u64| -> Vec<u64> {
        let told = |ms: &u64| {
            node.tick(at(*ms));
            let told = node.names(TWO.rank).contains(&"Handover");
            assert!(!node.names(METADATA).contains(&"ChangeView"), "at {ms}");
            node.acknowledge(at(*ms), TWO, 1, at(*ms));
            told
        };
        (from..to).filter(told).collect()
    };
    assert_eq!(handovers(&mut node, 4, 103), [23, 43, 63, 83]);
    let mut undecided = Node { server: node.server.clone(), out: Outbox::default() };
    undecided.tick(at(103));
    let (to, reason) = (view(2, ONE, &[TWO]), Reason::Handover);
    assert!(undecided.sent(METADATA).contains(&&Message::ChangeView { to, reason, confirms: None }));
    node.hear(at(104), METADATA, Message::ViewIs { view: view(2, TWO, &[ONE]) });
    assert_eq!((node.server.role(), node.names(TWO.rank)), (Role::Backup, vec!["Request"]));
    // A backup that cannot be reached: everything goes on as before.
    let mut node = Node::primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, put("v"));
    assert_eq!(node.server.swap(at(1)), Ok(()));
    for ms in (10..=100).step_by(10) {
        node.tick(at(ms));
        node.acknowledge(at(ms), TWO, 0, at(ms));
        assert_eq!(node.server.swap(at(ms)), Err(SwapError::Busy), "at {ms}");
    }
    node.tick(at(110));
    assert!(node.server.serves_reads(at(110)));
    assert_eq!(node.server.swap(at(110)), Ok(()), "it has stopped handing over");
}

#[test]
fn a_server_tells_which_keys_have_changed() {
    let mut node = Node::primary(&[]);
    node.server.store_mut().watch(10);
    node.ask(at(1), CONSOLE, 1, put("v"));
    assert_eq!(node.server.store_mut().take_changed_if_any(), Some(vec![Bytes::from("k")]));
}

#[test]
fn a_new_epoch_begins_empty_with_the_same_lives_of_its_members() {
    let epoch = |number: u64, backups: &[Member]| {
        let (number, epoch, primary, backups) = (ViewNumber(number), 2, ONE, backups.to_vec());
        Message::ViewIs { view: Arc::new(View { number, epoch, primary, backups }) }
    };
    let written = || {
        let mut node = Node::backup();
        node.prepare(at(1), 1, 1);
        assert_eq!(node.server.store().len(), 1);
        node
    };
    let mut stays = written();
    stays.hear(at(2), METADATA, epoch(2, &[TWO]));
    assert_eq!((stays.server.member(), stays.server.role(), stays.server.store().len()), (TWO, Role::Backup, 0));
    let mut goes = written();
    goes.hear(at(2), METADATA, epoch(2, &[THREE]));
    assert_eq!((goes.server.member(), goes.server.role(), goes.server.store().len()), (member(2, 2), Role::Idle, 0));
}

#[test]
fn what_is_not_acknowledged_is_sent_again_ever_more_rarely() {
    let mut node = Node::primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, put("v"));
    let repeated = |node: &mut Node, from: u64, to: u64, op: u64| -> Vec<u64> {
        let is_sent = |ms: &u64| {
            // Heartbeats arrive and are answered all the while.
            node.acknowledge(at(*ms), TWO, op, at(*ms));
            node.tick(at(*ms));
            node.names(TWO.rank).contains(&"Prepare")
        };
        (from..to).filter(is_sent).collect()
    };
    assert_eq!(repeated(&mut node, 2, 320, 0), [21, 41, 81, 161]);
    assert_eq!(repeated(&mut node, 320, 640, 0), [321, 481], "at most eight times as rarely");
    assert!(repeated(&mut node, 640, 1_000, 1).is_empty());
    node.ask(at(1_000), CONSOLE, 2, put("w"));
    assert!(!repeated(&mut node, 1_001, 1_021, 1).is_empty(), "when nothing is missing it does not grow patient");
}

#[test]
fn what_has_just_been_sent_is_not_sent_again_at_once() {
    let mut node = Node::primary(&[TWO]);
    node.acknowledge(at(1), TWO, 0, at(1));
    node.tick(at(1));
    // It was idle for longer than it waits for an acknowledgement.
    node.ask(at(22), CONSOLE, 1, put("v"));
    assert_eq!(node.names(TWO.rank), ["Prepare"]);
    node.tick(at(22));
    assert_eq!(node.names(TWO.rank), ["Heartbeat"]);
}

#[test]
fn a_view_of_its_own_takes_no_lease_from_a_primary() {
    let mut node = Node::primary(&[TWO, THREE]);
    let until = |node: &Node| node.server.as_primary().expect("it is").lease_until();
    node.acknowledge(at(10), TWO, 0, at(9));
    assert_eq!(until(&node), at(40));
    node.hear(at(11), METADATA, Message::ViewIs { view: view(2, ONE, &[TWO]) });
    assert_eq!((until(&node), node.names(TWO.rank)), (at(49), vec!["StartView"]));
    node.hear(at(12), METADATA, Message::ViewIs { view: view(3, ONE, &[]) });
    assert_eq!(until(&node), Time::NEVER);
}

/// The same server is primary once more, and an acknowledgement of its first time comes late: the write of that number
/// was another one, and the backup has thrown it away since. The same words of the present view count.
#[test]
fn what_was_acknowledged_in_an_older_view_may_be_gone() {
    let (old, new) = (ViewNumber(3), ViewNumber(5));
    let incarnation = TWO.incarnation;
    let started = |view, sent| started(view, TWO, sent);
    let mut begins = Node::of(ONE, &view(new.0, ONE, &[TWO]));
    begins.hear(at(1), TWO.rank, started(old, at(0)));
    begins.ask(at(1), CONSOLE, 1, Command::Get { key: Bytes::from("k") });
    assert_eq!(begins.names(METADATA), Vec::<&str>::new(), "its backup has not begun this view");
    begins.hear(at(2), TWO.rank, started(new, at(0)));
    begins.ask(at(3), CONSOLE, 1, Command::Get { key: Bytes::from("k") });
    assert_eq!(begins.names(METADATA), ["Reply"]);

    begins.ask(at(4), CONSOLE, 2, put("v"));
    assert_eq!(begins.names(TWO.rank), ["Prepare"]);
    let prepare_ok = |view| Message::PrepareOk { view, incarnation, op: OpNumber(1) };
    let heartbeat_ok = |view, op, sent| {
        let lease = Timing::default().lease;
        Message::HeartbeatOk { view, incarnation, op: OpNumber(op), sent, lease }
    };
    for late in [prepare_ok(old), heartbeat_ok(old, 1, at(4)), started(old, at(4))] {
        begins.hear(at(5), TWO.rank, late);
        assert_eq!(begins.names(METADATA), Vec::<&str>::new(), "nobody but the primary has this write");
    }
    begins.hear(at(6), TWO.rank, prepare_ok(new));
    assert_eq!(begins.names(METADATA), ["Reply"]);

    // Nor is a lease of then one of now.
    let read = |node: &mut Node, now, seq| {
        node.ask(now, CONSOLE, seq, Command::Get { key: Bytes::from("k") });
        !node.names(METADATA).is_empty()
    };
    assert!(read(&mut begins, at(39), 3));
    begins.hear(at(40), TWO.rank, heartbeat_ok(old, 1, at(30)));
    assert!(!read(&mut begins, at(41), 4));
    begins.hear(at(42), TWO.rank, heartbeat_ok(new, 1, at(30)));
    assert!(read(&mut begins, at(43), 5));
}
