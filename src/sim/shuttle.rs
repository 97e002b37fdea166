//! The same servers lead again and again: what an acknowledgement that lingers ([`super::linger`]) needs to do harm.
//!
//! The primary hands over, often right after a view has begun. Or a backup crashes. Or a backup is made to usurp: it
//! hears nothing from the primary, takes over with a shorter log than another backup, which throws away what it has
//! acknowledged, and hands over again before any client has reached it. So the numbers of those writes are free for
//! others.

use super::World;
use super::chaos::{chances, crash, give};
use super::coverage::Fault;
use crate::core::fault::Control;
use crate::core::protocol::{METADATA, Rank, Time};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::time::Duration;

/// The next deed comes after one of these, in microseconds.
const GAP_US: [Range<u64>; 2] = [200..3_000, 3_000..60_000];
/// A backup hears nothing from the primary for about a silence, in microseconds.
const UNHEARD_US: Range<u64> = 45_000..80_000;
/// No client reaches it for this long afterwards.
const UNASKED_US: Range<u64> = 1_000..20_000;

/// Decides who leads.
pub(super) struct Shuttle {
    rng: ChaCha8Rng,
    next: Time,
    /// Who usurps, and whom it does not hear.
    usurper: Option<(Rank, Rank)>,
    /// Whom no client reaches.
    unasked: Option<Rank>,
}

impl Shuttle {
    /// Of this seed, in a world that begins now.
    pub(super) fn new(seed: u64, now: Time) -> Self {
        Self { rng: chances(seed, 10), next: now, usurper: None, unasked: None }
    }

    /// When the next deed is due.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// Does what is due.
    pub(super) fn strike(&mut self, world: &mut World) {
        let gap = self.deed(world);
        self.next = world.now() + Duration::from_micros(self.rng.random_range(gap));
    }

    /// Does something, and says how soon the next deed comes.
    fn deed(&mut self, world: &mut World) -> Range<u64> {
        if let Some((backup, primary)) = self.usurper.take() {
            give(world, primary, &Control::Cut { peer: backup, cut: false }, &format!("heard again by {backup}:"));
            swap(world);
            return UNASKED_US;
        }
        if let Some(rank) = self.unasked.take() {
            cut_off(world, rank, false);
        }
        let backups = world.view_now().map(|view| view.backups.clone()).unwrap_or_default();
        if let Some(primary) = world.primary()
            && !backups.is_empty()
        {
            let backup = backups[self.rng.random_range(0..backups.len())].rank;
            match self.rng.random_range(0..10) {
                0..5 => swap(world),
                5..9 => {
                    give(world, primary, &Control::Cut { peer: backup, cut: true }, &format!("unheard by {backup}:"));
                    cut_off(world, backup, true);
                    (self.usurper, self.unasked) = (Some((backup, primary)), Some(backup));
                    world.invariants_mut().coverage.inject(Fault::CutOneWay);
                    return UNHEARD_US;
                }
                _ => crash(world, backup).into_iter().for_each(|fault| world.invariants_mut().coverage.inject(fault)),
            }
        }
        GAP_US[self.rng.random_range(0..GAP_US.len())].clone()
    }
}

/// The primary hands over, if there is one that can.
fn swap(world: &mut World) {
    if let Some(primary) = world.primary()
        && give(world, primary, &Control::Swap, "swap")
    {
        world.invariants_mut().coverage.inject(Fault::Swap);
    }
}

/// No client reaches this server, or all do again. (That on rank 0 always does: the metadata server is there, too.)
fn cut_off(world: &mut World, server: Rank, cut: bool) {
    world.note(format!("clients and {server}: {}", if cut { "cut" } else { "healed" }));
    for client in world.clients().into_iter().filter(|client| *client != METADATA) {
        let _ = world.control(client, &Control::Cut { peer: server, cut });
    }
}
