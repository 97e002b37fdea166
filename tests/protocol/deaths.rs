//! What a server does that knows, and does not suspect, that another one is dead.

use super::*;

#[test]
fn a_backup_that_knows_of_its_primarys_death_waits_for_no_lease() {
    let mut node = Node::backup();
    node.hear(
        at(1),
        ONE.rank,
        Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(0), sent: at(1), round_trip: Duration::ZERO },
    );
    // An earlier life is dead: that says nothing.
    node.learn_death(at(2), ONE.rank, ONE.incarnation);
    assert!(node.out.sends.is_empty() && node.out.events.is_empty());
    node.learn_death(at(2), ONE.rank, ONE.incarnation.next());
    let change =
        Message::ChangeView { to: view(2, TWO, &[]), reason: Reason::PrimaryDied { primary: ONE }, confirms: None };
    assert_eq!(node.sent(METADATA).last(), Some(&&change));
    assert_eq!(node.out.events, [Event::KnownDead { peer: ONE }]);
    // Once is enough, and it grants nothing more.
    node.learn_death(at(3), ONE.rank, ONE.incarnation.next());
    assert!(node.out.sends.is_empty() && node.out.events.is_empty());
    node.hear(
        at(4),
        ONE.rank,
        Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(0), sent: at(1), round_trip: Duration::ZERO },
    );
    assert!(node.out.sends.is_empty(), "{:?}", node.out.sends);
}

#[test]
fn who_takes_over_leaves_out_whom_it_knows_to_be_dead() {
    let mut node = Node::new(TWO, Config::new(3));
    node.hear(at(0), METADATA, Message::ViewIs { view: view(1, ONE, &[TWO, THREE]) });
    node.learn_death(at(1), THREE.rank, THREE.incarnation.next());
    assert!(node.sent(METADATA).iter().all(|message| !matches!(message, Message::ChangeView { .. })));
    node.learn_death(at(1), ONE.rank, ONE.incarnation.next());
    let asked = |message: &&&Message| matches!(message, Message::ChangeView { to, .. } if *to == view(2, TWO, &[]));
    assert_eq!(node.sent(METADATA).iter().filter(asked).count(), 1, "{:?}", node.out.sends);
}

#[test]
fn a_primary_is_rid_of_a_dead_backup_at_once() {
    let mut node = Node::primary(&[TWO, THREE]);
    node.tick(at(4));
    node.learn_death(at(5), TWO.rank, TWO.incarnation.next());
    let change =
        Message::ChangeView { to: view(2, ONE, &[THREE]), reason: Reason::BackupDied { backup: TWO }, confirms: None };
    assert!(node.sent(METADATA).contains(&&change), "{:?}", node.out.sends);
    assert!(node.out.events.contains(&Event::KnownDead { peer: TWO }));
    // Its successor is somebody else.
    node.learn_death(at(6), TWO.rank, TWO.incarnation.next());
    assert!(node.out.sends.is_empty());
}
