//! Would it be noticed? A protocol with a flaw must fail within a few seeds of the simulator.
//!
//! A flaw is put into the messages that servers take in, or into their timing, so the protocol itself needs no
//! switches for it. The rules have tests of their own (`tests/rules.rs`).
//!
//! That words of an earlier life or of an older view count for nothing is held by one comparison each
//! (`Server::is_current`, `Primary::peer_mut`). What is needed to notice that it is missing meets rarely by chance, so
//! those seeds are asked whose runs are about nothing else (`sim::linger`, `sim::shuttle`), and what is committed is
//! counted at every member of the view (`sim::invariants::copies`). One such word does no harm by itself: the mere
//! lease of an older view, granted by the same life (`server::patience` says why). In the same words the number of the
//! newest write is what does harm. A crash ends promises, so a lease of an earlier life is noticed by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use understudy::core::protocol::{Incarnation, Message, Rank, Role, Server, SnapshotPart, Timing, ViewNumber};
use understudy::core::store::{Chunk, OpNumber, Seq};
use understudy::sim::chaos::lingers;
use understudy::sim::{Bend, Chaos, Flaw, RunOutcome, run_flawed};

/// So many of the seeds in which acknowledgements come late by views: each flaw of theirs is noticed by one in nine,
/// and most by one in four.
const SEEDS: usize = 60;

/// Runs seeds until one fails; an assertion of the protocol is as good as a violation.
fn noticed(what: &str, flaw: Flaw, seeds: u64) {
    noticed_in(&Chaos::default(), what, flaw, seeds);
}

fn noticed_in(chaos: &Chaos, what: &str, flaw: Flaw, seeds: u64) {
    noticed_among(0..seeds, chaos, what, flaw);
}

/// The same among seeds in which acknowledgements come late by views.
fn noticed_late(what: &str, bend: Bend, seeds: usize) {
    let chaos = Chaos { lingers: true, ..Chaos::default() };
    noticed_among((0..).filter(|seed| lingers(*seed, &chaos)).take(seeds), &chaos, what, bent(bend));
}

fn noticed_among(mut seeds: impl Iterator<Item = u64>, chaos: &Chaos, what: &str, flaw: Flaw) {
    let fails = |seed: &u64| {
        let outcome = catch_unwind(AssertUnwindSafe(|| run_flawed(*seed, chaos, flaw).outcome));
        match outcome {
            Ok(RunOutcome::Clean) => false,
            Ok(RunOutcome::Violated(violation)) => {
                println!("{what}: seed {seed} violates {violation}");
                true
            }
            Err(_) => {
                println!("{what}: seed {seed} fails an assertion");
                true
            }
        }
    };
    assert!(seeds.any(|seed| fails(&seed)), "{what}: no seed noticed");
}

fn bent(bend: Bend) -> Flaw {
    Flaw { bend: Some(bend), timing: None }
}

fn timed(change: impl FnOnce(&mut Timing)) -> Flaw {
    let mut timing = Timing::default();
    change(&mut timing);
    Flaw { timing: Some(timing), bend: None }
}

#[test]
fn a_silence_as_long_as_a_lease() {
    noticed("silence = lease", timed(|timing| timing.silence = timing.lease), 300);
}

#[test]
fn a_lease_that_is_a_little_too_long_for_the_clocks() {
    noticed("lease of 49.5 ms", timed(|timing| timing.lease = Duration::from_micros(49_500)), 300);
    noticed("lease of 45 ms", timed(|timing| timing.lease = Duration::from_millis(45)), 1_000);
}

#[test]
fn a_backup_that_has_asked_to_be_primary_and_starts_the_view_all_the_same() {
    fn bend(server: &Server, _: Rank, message: &mut Message) -> Option<Message> {
        let Message::StartView { view, commit, tail, sent } = message else { return None };
        let asks = server.role() == Role::Backup && server.has_proposed();
        let current = server.view().is_some_and(|current| current.number == view.number);
        let (incarnation, sent) = (server.member().incarnation, *sent);
        let op = server.op().max(OpNumber(commit.0 + tail.len() as u64));
        let lease = Timing::default().lease;
        (asks && current).then_some(Message::StartViewOk { view: view.number, incarnation, op, sent, lease })
    }
    noticed("StartViewOk after having asked", bent(bend), 8_000);
}

#[test]
fn a_backup_that_has_asked_to_be_primary_and_grants_leases_all_the_same() {
    fn bend(server: &Server, _: Rank, message: &mut Message) -> Option<Message> {
        let Message::Heartbeat { view, sent, .. } = message else { return None };
        let asks = server.role() == Role::Backup && server.has_proposed();
        let current = server.view().is_some_and(|current| current.number == *view);
        let (incarnation, op, sent) = (server.member().incarnation, server.op(), *sent);
        let lease = Timing::default().lease;
        (asks && current).then_some(Message::HeartbeatOk { view: *view, incarnation, op, sent, lease })
    }
    noticed("HeartbeatOk after having asked", bent(bend), 8_000);
}

#[test]
fn a_lease_that_is_longer_than_what_the_backup_promised() {
    fn bend(_: &Server, _: Rank, message: &mut Message) -> Option<Message> {
        if let Message::HeartbeatOk { lease, .. } | Message::StartViewOk { lease, .. } = message {
            *lease = *lease * 5 / 4;
        }
        None
    }
    noticed("a lease longer than promised", bent(bend), 1_000);
}

#[test]
fn a_transfer_that_ignores_the_writes_behind_it() {
    fn bend(_: &Server, _: Rank, message: &mut Message) -> Option<Message> {
        if let Message::Snapshot { part, .. } = message
            && let SnapshotPart::Finale(finale) = Arc::make_mut(part)
        {
            finale.rest = Chunk::default();
        }
        None
    }
    noticed("a transfer that ignores the writes behind it", bent(bend), 500);
}

#[test]
fn an_answer_that_is_forgotten_one_too_early() {
    fn bend(_: &Server, _: Rank, message: &mut Message) -> Option<Message> {
        if let Message::Request(request) = message {
            request.acked = Seq(request.acked.0 + 1);
        }
        None
    }
    noticed("an answer forgotten one too early", bent(bend), 2_000);
}

#[test]
fn writes_of_a_client_that_do_not_wait_for_each_other() {
    fn bend(_: &Server, _: Rank, message: &mut Message) -> Option<Message> {
        if let Message::Request(request) = message {
            request.after = Seq(0);
        }
        None
    }
    noticed("after = 0", bent(bend), 2_000);
}

/// Of the words of an older view or life: which are taken for those of now.
#[derive(Clone, Copy, PartialEq)]
enum Taken {
    /// That the view has begun.
    Start,
    Acknowledgement,
    Answer,
    /// The answer to a heartbeat, but for the number of the newest write.
    Lease,
}

/// The view and the life that these words are of, and the newest write that they tell of.
fn words_of(message: &mut Message, taken: Taken) -> Option<(&mut ViewNumber, &mut Incarnation, &mut OpNumber)> {
    match message {
        Message::StartViewOk { view, incarnation, op, .. } if taken == Taken::Start => Some((view, incarnation, op)),
        Message::PrepareOk { view, incarnation, op } if taken == Taken::Acknowledgement => {
            Some((view, incarnation, op))
        }
        Message::HeartbeatOk { view, incarnation, op, .. } if matches!(taken, Taken::Answer | Taken::Lease) => {
            Some((view, incarnation, op))
        }
        _ => None,
    }
}

/// A word of an older view, from the life that has a part in this one, is taken for one of now.
fn of_an_older_view(server: &Server, from: Rank, message: &mut Message, taken: Taken) -> Option<Message> {
    let (current, peer) = (server.view()?.number, server.peer(from)?.incarnation);
    let (view, _, op) = words_of(message, taken).filter(|(view, life, _)| **view < current && **life == peer)?;
    *view = current;
    *op = if taken == Taken::Lease { OpNumber(0) } else { *op };
    None
}

/// A word of an earlier life is taken for one of now, whatever view that life was in.
fn of_an_earlier_life(server: &Server, from: Rank, message: &mut Message, taken: Taken) -> Option<Message> {
    let (current, peer) = (server.view()?.number, server.peer(from)?.incarnation);
    let (view, life, op) = words_of(message, taken).filter(|(_, life, _)| **life < peer)?;
    (*view, *life) = (current, peer);
    *op = if taken == Taken::Lease { OpNumber(0) } else { *op };
    None
}

#[test]
fn that_an_older_view_has_begun_counts() {
    noticed_late("StartViewOk of an older view", |s, from, m| of_an_older_view(s, from, m, Taken::Start), SEEDS);
}

#[test]
fn an_acknowledgement_of_an_older_view_that_counts() {
    let bend: Bend = |s, from, m| of_an_older_view(s, from, m, Taken::Acknowledgement);
    noticed_late("PrepareOk of an older view", bend, SEEDS);
}

#[test]
fn an_answer_to_a_heartbeat_of_an_older_view_that_counts() {
    noticed_late("HeartbeatOk of an older view", |s, from, m| of_an_older_view(s, from, m, Taken::Answer), SEEDS);
}

#[test]
fn that_a_view_has_begun_for_an_earlier_life_counts() {
    noticed_late("StartViewOk of an earlier life", |s, from, m| of_an_earlier_life(s, from, m, Taken::Start), SEEDS);
}

#[test]
fn an_acknowledgement_of_an_earlier_life_that_counts() {
    let bend: Bend = |s, from, m| of_an_earlier_life(s, from, m, Taken::Acknowledgement);
    noticed_late("PrepareOk of an earlier life", bend, SEEDS);
}

#[test]
fn an_answer_to_a_heartbeat_of_an_earlier_life_that_counts() {
    noticed_late("HeartbeatOk of an earlier life", |s, from, m| of_an_earlier_life(s, from, m, Taken::Answer), SEEDS);
}

#[test]
fn a_lease_of_an_earlier_life_that_counts() {
    noticed_late("a lease of an earlier life", |s, from, m| of_an_earlier_life(s, from, m, Taken::Lease), SEEDS);
}

/// It would be a flaw no seed could notice: the promise behind it holds as long as the life that gave it.
#[test]
fn the_mere_lease_of_an_older_view_does_no_harm() {
    let chaos = Chaos { lingers: true, ..Chaos::default() };
    let flaw = bent(|s, from, m| of_an_older_view(s, from, m, Taken::Lease));
    for seed in (0..).filter(|seed| lingers(*seed, &chaos)).take(SEEDS) {
        assert_eq!(run_flawed(seed, &chaos, flaw).outcome, RunOutcome::Clean, "seed {seed}");
    }
}
