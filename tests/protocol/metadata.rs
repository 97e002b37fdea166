//! The metadata server: the first view, changes of the view one condition at a time, places, RESET.

use super::*;

pub fn announce(metadata: &mut Metadata, now: Time, member: Member) -> Vec<(Rank, Message)> {
    let (role, view, op) = (Role::Idle, ViewNumber(0), OpNumber(0));
    let mut out = Outbox::default();
    metadata.handle(now, member.rank, Message::Announce { member, role, view, op }, &mut out);
    out.sends
}

/// What the answer to an announcement of `member` says about joining.
pub fn is_recruited(metadata: &mut Metadata, now: Time, member: Member) -> bool {
    let answers = announce(metadata, now, member);
    let recruit = answers.iter().find_map(|(to, message)| match message {
        Message::Welcome { recruit, .. } if *to == member.rank => Some(*recruit),
        _ => None,
    });
    recruit.expect("every announcement is answered")
}

/// Asks for a view, and confirms it when asked back; true when it was accepted.
pub fn change(metadata: &mut Metadata, from: Rank, to: &Arc<View>, reason: Reason) -> bool {
    let (now, before) = (at(5_000), metadata.view().cloned());
    let mut out = Outbox::default();
    metadata.handle(now, from, Message::ChangeView { to: Arc::clone(to), reason, confirms: None }, &mut out);
    assert_eq!((out.events.len(), metadata.view()), (0, before.as_ref()), "nothing is decided by the request alone");
    if out.sends != [(from, Message::Confirm { to: Arc::clone(to), asked: now })] {
        return false;
    }
    let confirmed = Message::ChangeView { to: Arc::clone(to), reason, confirms: Some(now) };
    metadata.handle(now, from, confirmed, &mut out);
    let accepted = out.events.iter().any(|event| matches!(event, Event::ViewChanged { .. }));
    assert_eq!(accepted, metadata.view() == Some(to));
    let expected = if accepted { metadata.view().into_iter().count() } else { 0 };
    assert_eq!(out.events.len(), expected);
    accepted
}

/// Servers 1 to `servers` in view 1, all in their first life, with 1 as primary.
pub fn formed(config: Config) -> Metadata {
    let servers = config.servers;
    let mut metadata = Metadata::new(config);
    for rank in 1..=servers {
        announce(&mut metadata, at(0), member(rank, 1));
    }
    metadata
}

#[test]
fn the_first_view_is_formed_when_all_are_there_or_after_a_while() {
    let mut metadata = Metadata::new(Config::new(3));
    let formation = Timing::default().formation;
    let mut out = Outbox::default();
    metadata.tick(at(1), &mut out);
    assert!(metadata.is_forming());
    assert_eq!(metadata.deadline(), at(1) + formation);
    announce(&mut metadata, at(100), member(1, 1));
    announce(&mut metadata, at(1) + formation / 2, member(3, 1));
    announce(&mut metadata, at(1) + formation, member(2, 1));
    let formed = metadata.view().expect("two of three are there, and it is late").clone();
    assert_eq!((formed.number, formed.epoch), (ViewNumber(1), 1));
    let expected = (member(2, 1), &[member(3, 1)][..]);
    assert_eq!((formed.primary, &formed.backups[..]), expected, "server 1 was last heard too long ago");
    assert!(!metadata.is_forming());
    assert_eq!((metadata.deadline(), metadata.requests()), (Time::NEVER, 3));
}

#[test]
fn when_nobody_is_there_in_time_the_first_to_come_makes_the_view() {
    let mut metadata = Metadata::new(Config::new(2));
    let mut out = Outbox::default();
    metadata.tick(at(1), &mut out);
    metadata.tick(at(1) + Timing::default().formation, &mut out);
    assert_eq!((out.sends.len(), metadata.deadline()), (0, Time::NEVER));
    announce(&mut metadata, at(60_000), member(2, 7));
    assert_eq!(metadata.view().map(|view| view.primary), Some(member(2, 7)));
}

#[test]
fn everybody_is_told_of_a_view_its_primary_first() {
    let mut metadata = formed(Config { clients: 1, ..Config::new(3) });
    let to = view(2, member(2, 1), &[member(3, 1)]);
    let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 60 };
    let mut out = Outbox::default();
    let confirmed = Message::ChangeView { to: Arc::clone(&to), reason, confirms: Some(at(5_000)) };
    metadata.handle(at(5_000), Rank(2), confirmed, &mut out);
    let told: Vec<u32> = out.sends.iter().map(|(rank, _)| rank.0).collect();
    assert_eq!(told, [2, 1, 3, 0, 4]);
    assert!(out.sends.iter().all(|(_, message)| *message == Message::ViewIs { view: Arc::clone(&to) }));
    assert_eq!(metadata.failovers(), 1);
    let record = metadata.records().back().expect("two views were decided");
    assert_eq!((record.at, &record.view, record.reason, record.asked_by), (at(5_000), &to, reason, Some(Rank(2))));
    assert!(metadata.is_client(Rank(4)) && !metadata.is_client(Rank(3)));
}

#[test]
fn only_a_change_that_follows_the_view_and_keeps_its_rules_is_accepted() {
    let (one, two, three) = (member(1, 1), member(2, 1), member(3, 1));
    let metadata = formed(Config { replicas: 2, ..Config::new(3) });
    assert_eq!(metadata.view(), Some(&view(1, one, &[two])));
    let reason = Reason::Handover;
    let asks = |from: u32, to: View| change(&mut metadata.clone(), Rank(from), &Arc::new(to), reason);
    let to = |number, epoch, primary, backups: &[Member]| View {
        number: ViewNumber(number),
        epoch,
        primary,
        backups: backups.to_vec(),
    };
    assert!(asks(1, to(2, 1, one, &[])), "the primary goes on alone");
    assert!(asks(2, to(2, 1, two, &[])), "the backup takes over");
    assert!(asks(2, to(2, 1, two, &[one])), "the backup is handed over to");
    assert!(asks(1, to(2, 1, one, &[two, three])), "the primary brings in another one");
    assert!(!asks(2, to(1, 1, two, &[])), "an old number");
    assert!(!asks(2, to(3, 1, two, &[])), "a number was left out");
    assert!(!asks(2, to(2, 2, two, &[])), "only a RESET begins an epoch");
    assert!(!asks(1, to(2, 1, two, &[])), "asked by another than its primary");
    assert!(!asks(3, to(2, 1, three, &[])), "by no member");
    assert!(!asks(2, to(2, 1, member(2, 2), &[])), "by another life of a member");
    assert!(!asks(1, to(2, 1, one, &[one])), "its own backup");
    assert!(!asks(2, to(2, 1, two, &[three])), "a backup brings in a stranger");
    let mut restarted = metadata.clone();
    announce(&mut restarted, at(4_000), member(2, 2));
    announce(&mut restarted, at(4_000), member(3, 2));
    let of_the_dead = |from, to: View| change(&mut restarted.clone(), Rank(from), &Arc::new(to), reason);
    assert!(!of_the_dead(2, to(2, 1, two, &[])), "the asker has started again since");
    assert!(!of_the_dead(1, to(2, 1, one, &[two, three])), "the newcomer has started again since");
    assert!(of_the_dead(1, to(2, 1, one, &[member(3, 2)])));
}

/// Who asked may be dead when its request is looked at: only a confirmation that is fresh makes a view.
#[test]
fn a_confirmation_that_is_old_is_asked_for_again_with_more_patience() {
    let mut metadata = formed(Config::new(2));
    let silence = Timing::default().silence;
    let to = view(2, member(2, 1), &[]);
    let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 60 };
    let mut answer = |now: Time, confirms: Option<Time>| {
        let mut out = Outbox::default();
        metadata.handle(now, Rank(2), Message::ChangeView { to: Arc::clone(&to), reason, confirms }, &mut out);
        out.sends.into_iter().map(|(_, message)| message).next()
    };
    let ask = |asked| Some(Message::Confirm { to: view(2, member(2, 1), &[]), asked });
    let just_late = silence + Duration::from_nanos(1);
    assert_eq!(answer(at(1_000), None), ask(at(1_000)));
    assert_eq!(answer(at(1_000) + just_late, Some(at(1_000))), ask(at(1_000) + just_late));
    assert_eq!(answer(at(2_000), Some(at(2_001))), ask(at(2_000)), "no question was asked in the future");
    // Twice it was not believed: a network that slow is believed after four times as long.
    assert_eq!(answer(at(3_000), None), ask(at(3_000)));
    assert_eq!(
        answer(at(3_000) + silence * 4, Some(at(3_000))),
        Some(Message::ViewIs { view: view(2, member(2, 1), &[]) })
    );
}

#[test]
fn a_refused_change_is_answered_with_the_view() {
    let mut metadata = formed(Config::new(2));
    let now = Arc::clone(metadata.view().expect("formed"));
    let mut out = Outbox::default();
    let to = view(3, member(2, 1), &[]);
    metadata.handle(at(1), Rank(2), Message::ChangeView { to, reason: Reason::Handover, confirms: None }, &mut out);
    metadata.handle(at(2), Rank(7), Message::GetView, &mut out);
    let is = Message::ViewIs { view: now };
    assert_eq!(out.sends, [(Rank(2), is.clone()), (Rank(7), is)]);
    assert_eq!((metadata.requests(), metadata.failovers()), (4, 0));
}

#[test]
fn only_servers_announce_themselves_and_only_newer_lives_count() {
    let mut metadata = formed(Config { clients: 1, ..Config::new(2) });
    let before = metadata.known().clone();
    let (role, view, op) = (Role::Idle, ViewNumber(0), OpNumber(0));
    for (from, liar) in [(1, member(2, 9)), (3, member(3, 1)), (0, member(0, 1))] {
        let mut out = Outbox::default();
        metadata.handle(at(9), Rank(from), Message::Announce { member: liar, role, view, op }, &mut out);
        assert!(out.sends.is_empty(), "{liar} by {from}: {:?}", out.sends);
    }
    assert_eq!(metadata.known(), &before);
    announce(&mut metadata, at(10), member(1, 3));
    announce(&mut metadata, at(11), member(1, 2));
    assert_eq!(metadata.known()[&Rank(1)].member, member(1, 3));
    announce(&mut metadata, at(12), member(1, 3));
    assert_eq!(metadata.known()[&Rank(1)].heard, at(12));
}

#[test]
fn a_free_place_is_for_the_lowest_rank_that_waits_for_it() {
    let mut metadata = formed(Config { replicas: 2, ..Config::new(4) });
    assert!(!is_recruited(&mut metadata, at(100), member(3, 1)), "the view is full");
    assert!(change(&mut metadata, Rank(2), &view(2, member(2, 1), &[]), Reason::Handover));
    // Server 1 was removed in this life: it waits for no place, and whoever is heard late is gone.
    let now = at(5_000);
    announce(&mut metadata, now, member(1, 1));
    assert!(is_recruited(&mut metadata, now, member(3, 1)));
    assert!(!is_recruited(&mut metadata, now, member(4, 1)), "server 3 comes before");
    announce(&mut metadata, now, member(1, 2));
    assert!(!is_recruited(&mut metadata, now, member(3, 1)), "in its next life server 1 comes before");
    let later = now + Timing::default().announce * 8;
    assert!(is_recruited(&mut metadata, later, member(4, 1)), "nobody else was heard for long");
}

#[test]
fn a_reset_begins_an_epoch_with_those_who_show_up() {
    let mut metadata = formed(Config::new(3));
    let mut out = Outbox::default();
    metadata.tick(at(90), &mut out);
    metadata.reset(at(100), true);
    assert!(metadata.is_resetting() && metadata.is_forming());
    let until = at(100) + Timing::default().announce * 3;
    assert_eq!(metadata.deadline(), until);
    announce(&mut metadata, at(150), member(2, 1));
    announce(&mut metadata, at(160), member(3, 2));
    metadata.tick(at(399), &mut out);
    assert_eq!((metadata.view().map(|view| view.epoch), out.events.len()), (Some(1), 0));
    metadata.tick(until, &mut out);
    let expected = View { number: ViewNumber(2), epoch: 2, primary: member(2, 1), backups: vec![member(3, 2)] };
    assert_eq!(metadata.view().map(|view| &**view), Some(&expected));
    assert!(!metadata.is_resetting() && !metadata.is_forming());
}

#[test]
fn a_life_that_was_removed_is_not_in_the_view_after_a_reset() {
    let mut metadata = formed(Config::new(3));
    assert!(change(&mut metadata, Rank(1), &view(2, member(1, 1), &[member(3, 1)]), Reason::Handover));
    metadata.reset(at(5_000), true);
    // Server 2 has not heard of it yet: when it does, it forgets, and goes on as another life.
    for rank in 1..=3 {
        announce(&mut metadata, at(5_001), member(rank, 1));
    }
    metadata.tick(at(5_000) + Timing::default().announce * 3, &mut Outbox::default());
    let expected = View { number: ViewNumber(3), epoch: 2, primary: member(1, 1), backups: vec![member(3, 1)] };
    assert_eq!(metadata.view().map(|view| &**view), Some(&expected));
}

#[test]
fn the_metadata_server_remembers_so_many_views() {
    use understudy::core::protocol::metadata::VIEW_RECORDS_MAX;
    let mut metadata = formed(Config::new(2));
    for number in 2..=VIEW_RECORDS_MAX as u64 + 3 {
        assert!(change(&mut metadata, Rank(1), &view(number, member(1, 1), &[]), Reason::Handover));
    }
    assert_eq!(metadata.records().len(), VIEW_RECORDS_MAX);
    assert_eq!(metadata.records().front().map(|record| record.view.number), Some(ViewNumber(4)));
}

/// What the members of view 1 say when they are told that the epoch ends.
fn retired(metadata: &mut Metadata, now: Time, by: Member, holds: Duration) -> Outbox {
    let mut out = Outbox::default();
    let message = Message::Retired { view: ViewNumber(1), incarnation: by.incarnation, reset: 1, holds };
    metadata.handle(now, by.rank, message, &mut out);
    out
}

#[test]
fn a_reset_waits_until_nobody_can_answer_in_the_old_epoch() {
    let asked = |metadata: &mut Metadata| {
        metadata.reset(at(100), false);
        let mut out = Outbox::default();
        metadata.tick(at(100), &mut out);
        let told: Vec<u32> = out.sends.iter().map(|(rank, _)| rank.0).collect();
        assert_eq!(told, [1, 2]);
        assert!(out.sends.iter().all(|(_, message)| message.name() == "Retire"));
    };
    let is_over = |metadata: &mut Metadata, now: Time| {
        metadata.tick(now, &mut Outbox::default());
        announce(metadata, now, member(1, 1));
        announce(metadata, now, member(2, 1));
        metadata.view().is_some_and(|view| view.epoch == 2)
    };
    // The primary serves no more.
    let mut metadata = formed(Config::new(2));
    asked(&mut metadata);
    assert!(metadata.is_resetting() && !is_over(&mut metadata, at(101)));
    retired(&mut metadata, at(102), member(1, 1), Duration::ZERO);
    assert!(is_over(&mut metadata, at(102)) && metadata.reset_refusal().is_none());
    // A backup grants no more, and what it has granted ends, by whatever clock.
    let mut metadata = formed(Config::new(2));
    asked(&mut metadata);
    retired(&mut metadata, at(102), member(2, 1), Duration::from_millis(40));
    assert!(!is_over(&mut metadata, at(151)) && is_over(&mut metadata, at(152)));
    // The primary is known to be dead.
    let mut metadata = formed(Config::new(2));
    asked(&mut metadata);
    metadata.note_over(Rank(1), metadata.newest_life(Rank(1)).expect("it was heard of").next());
    announce(&mut metadata, at(103), member(1, 2));
    announce(&mut metadata, at(103), member(2, 1));
    assert_eq!(metadata.view().map(|view| (view.epoch, view.primary)), Some((2, member(1, 2))));
}

#[test]
fn a_reset_is_refused_when_nobody_of_the_old_epoch_can_be_asked() {
    let mut metadata = formed(Config::new(2));
    metadata.reset(at(100), false);
    let mut out = Outbox::default();
    metadata.tick(at(1_099), &mut out);
    assert!(metadata.is_resetting());
    metadata.tick(at(1_100), &mut out);
    assert!(!metadata.is_resetting());
    assert!(metadata.reset_refusal().is_some_and(|why| why.contains("server 1") && why.contains("RESET anyway")));
    // Who hears of it only now is told to go on.
    let out = retired(&mut metadata, at(1_200), member(1, 1), Duration::ZERO);
    assert_eq!(out.sends, [(Rank(1), Message::Retire { view: ViewNumber(1), reset: 1, off: true })]);
    // The operator does not mind.
    metadata.reset(at(1_300), true);
    announce(&mut metadata, at(1_301), member(2, 1));
    let mut out = Outbox::default();
    metadata.tick(at(1_700), &mut out);
    assert_eq!(metadata.view().map(|view| (view.epoch, view.primary)), Some((2, member(2, 1))));
    assert!(metadata.reset_refusal().is_none());
}

/// A server that cannot join, whatever keeps it, does not keep others from joining.
#[test]
fn who_does_not_get_in_for_long_keeps_nobody_waiting() {
    let mut metadata = formed(Config { replicas: 2, ..Config::new(4) });
    assert!(change(&mut metadata, Rank(1), &view(2, member(1, 1), &[]), Reason::Handover));
    for ms in (6_000..=7_000).step_by(100) {
        assert!(is_recruited(&mut metadata, at(ms), member(3, 1)));
        assert!(!is_recruited(&mut metadata, at(ms), member(4, 1)), "server 3 may still come");
    }
    assert!(is_recruited(&mut metadata, at(7_001), member(3, 1)));
    assert!(is_recruited(&mut metadata, at(7_001), member(4, 1)));
}
