//! The disks of a world, and what becomes of it when everything stops at once.

use super::World;
use crate::core::disk::{Fsync, Owner};
use crate::core::fault::Control;
use crate::core::node::{DiskOrder, FrontHost, ServerHost, Setup, first_life};
use crate::core::protocol::{DiskStatus, Incarnation, METADATA, Rank, Recovered, Time};
use crate::sim::coverage::{Fault, Situation};
use crate::sim::platter::Platter;
use crate::sim::work::Work;
use std::collections::BTreeMap;

/// Disks for a cluster with an audience: none of their writes takes much longer than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSetup {
    /// When what was written is synced.
    pub fsync: Fsync,
    /// A write takes this many times what it takes on a good disk.
    pub pace: u32,
}

/// The disks of all servers, and of the metadata server.
#[derive(Debug)]
pub(super) struct Disks {
    platters: BTreeMap<Rank, Platter>,
    fsync: Fsync,
    run: u64,
    /// They were wanted like this, if they are for an audience.
    wanted: Option<DiskSetup>,
}

impl World {
    /// A cluster with an audience that is just being started, with disks or without.
    #[must_use]
    pub fn on_stage(setup: Setup, disks: Option<DiskSetup>) -> Self {
        let mut world = Self::new(setup);
        if let Some(wanted) = disks {
            world.add_disks(wanted.fsync);
            world.make_steady(wanted);
        }
        world
    }

    fn make_steady(&mut self, wanted: DiskSetup) {
        let Some(disks) = &mut self.disks else { return };
        disks.wanted = Some(wanted);
        for platter in disks.platters.values_mut() {
            platter.set_pace(wanted.pace);
            platter.set_steady();
        }
    }

    /// The disks of a cluster with an audience.
    #[must_use]
    pub fn disk_setup(&self) -> Option<DiskSetup> {
        self.disks.as_ref().and_then(|disks| disks.wanted)
    }

    /// What is on this rank's disk, if it has one.
    #[must_use]
    pub fn disk_status(&self, rank: Rank) -> Option<DiskStatus> {
        let platter = self.disks.as_ref()?.platters.get(&rank)?;
        Some(platter.status(self.now))
    }

    /// Gives every server a disk, and the metadata server one, before the first step.
    pub fn add_disks(&mut self, fsync: Fsync) {
        let seed = self.setup.seed;
        let ranks = std::iter::once(METADATA).chain(self.setup.config.server_ranks());
        let platter = |rank: Rank| {
            // What the metadata server decides is on its disk before anybody hears of it, whatever servers do.
            let fsync = if rank == METADATA { Fsync::Always } else { fsync };
            (rank, Platter::new(Owner { cluster: seed, rank }, fsync, seed))
        };
        self.invariants.set_disks();
        self.disks = Some(Disks { platters: ranks.map(platter).collect(), fsync, run: 0, wanted: None });
        self.start_again();
    }

    /// From the next start on the whole state is written anew after this many bytes.
    pub fn set_snapshot_bytes(&mut self, bytes: u64) {
        self.setup.config.snapshot_bytes = bytes;
    }

    /// True when there are disks.
    #[must_use]
    pub fn has_disks(&self) -> bool {
        self.disks.is_some()
    }

    /// What is acknowledged is on the disk, also when the power fails.
    #[must_use]
    pub fn survives_power_cuts(&self) -> bool {
        self.disks.as_ref().is_some_and(|disks| disks.fsync == Fsync::Always)
    }

    /// All processes start, with what is on their disks.
    fn start_again(&mut self) {
        let Some(disks) = &mut self.disks else { return };
        let (setup, run) = (self.setup.clone(), disks.run);
        let one_is_enough = disks.fsync == Fsync::Always;
        let ranks: Vec<Rank> = disks.platters.keys().copied().collect();
        disks.run += 1;
        let mut had: BTreeMap<Rank, Recovered> = ranks.into_iter().map(|rank| (rank, self.open_disk(rank))).collect();
        for rank in setup.config.client_ranks() {
            let had = had.remove(&rank).unwrap_or_default();
            let front = FrontHost::new(rank, rank.0, &setup).with_disk(&setup, run, had, one_is_enough);
            self.fronts.insert(rank, front);
        }
        for rank in setup.config.server_ranks() {
            let had = had.remove(&rank).unwrap_or_default();
            self.start_server(rank, first_life(run), had);
        }
        self.record(self.record);
    }

    /// A new process reads what is on its disk.
    fn open_disk(&mut self, rank: Rank) -> Recovered {
        let Some(platter) = self.disks.as_mut().and_then(|disks| disks.platters.get_mut(&rank)) else {
            return Recovered::default();
        };
        platter.restart();
        let had = platter.read();
        if std::mem::take(&mut platter.torn_bytes) > 0 {
            self.invariants.coverage.meet(Situation::TornEnd);
        }
        had.unwrap_or_else(|_| {
            self.invariants.coverage.meet(Situation::DamageTold);
            Recovered::default()
        })
    }

    fn start_server(&mut self, rank: Rank, incarnation: Incarnation, had: Recovered) {
        let mut host = ServerHost::with_disk(rank, incarnation, rank.0, self.setup.clone(), had);
        host.set_detail(true);
        self.servers.insert(rank, host);
    }

    /// A server's disk fails, and with it the server ends.
    pub fn fail_disk(&mut self, rank: Rank) {
        let Some(platter) = self.disks.as_mut().and_then(|disks| disks.platters.get_mut(&rank)) else { return };
        platter.fail();
        self.with_server(rank, Work::default(), |server, _, now, out| {
            server.disk_failed(now, "input/output error".into(), out);
        });
        self.network.die(rank, self.now);
        self.after_step();
    }

    /// Servers whose disks have failed.
    #[must_use]
    pub fn failed_disks(&self) -> Vec<Rank> {
        self.servers.values().filter(|host| host.has_failed_disk()).map(ServerHost::rank).collect()
    }

    /// A new process is started in the place of this server's, and reads its disk.
    pub fn replace(&mut self, rank: Rank) {
        let incarnation = self.servers[&rank].status(self.local(rank)).incarnation;
        let had = self.open_disk(rank);
        self.inbox.remove(&rank);
        self.start_server(rank, incarnation, had);
        self.record(self.record);
        self.after_step();
    }

    /// From now on a write takes this many times what it takes on a good disk: on the disk of this rank.
    pub fn set_disk_pace(&mut self, rank: Rank, pace: u32) {
        if let Some(platter) = self.disks.as_mut().and_then(|disks| disks.platters.get_mut(&rank)) {
            platter.set_pace(pace);
        }
    }

    /// All machines lose power at once and start again, as they were last told to; this server's does so later, as if
    /// it had crashed.
    pub fn power_cut(&mut self, late: Option<Rank>) {
        let Some(server) = self.servers.values().next().filter(|_| self.disks.is_some()) else { return };
        let failure_rate = server.status(self.now).failure_rate;
        let rules = self.fronts[&METADATA].metadata().map(|metadata| metadata.rules());
        (self.setup.failure_rate, self.setup.config.rules) = (failure_rate, rules.unwrap_or_default());
        if !self.survives_power_cuts() {
            self.invariants.forget();
        }
        self.lose_everything(true, None);
        if let Some(late) = late {
            let _ = self.control(late, &Control::Crash);
        }
    }

    /// Everything is killed at once, and starts again; with `power`, the machines stop too. One server's log may be
    /// damaged meanwhile.
    pub fn lose_everything(&mut self, power: bool, damaged: Option<Rank>) {
        if self.disks.is_none() {
            return;
        }
        for client in self.clients() {
            self.with_front(client, Work::default(), |front, now, out| {
                front.give_up(now, out);
                out.sends.clear();
            });
        }
        let now = self.now;
        let Some(disks) = &mut self.disks else { return };
        for platter in disks.platters.values_mut() {
            if power { platter.lose_power(now) } else { platter.kill() }
        }
        if let Some(platter) = damaged.and_then(|rank| disks.platters.get_mut(&rank))
            && platter.flip()
        {
            self.invariants.coverage.inject(Fault::DiskDamage);
        }
        self.network.clear();
        self.inbox.clear();
        self.invariants.all_lost();
        self.start_again();
        self.after_step();
    }

    /// A rank's wishes for its disk.
    pub(super) fn order_disk(&mut self, rank: Rank, orders: Vec<DiskOrder>) {
        let now = self.now;
        let Some(platter) = self.disks.as_mut().and_then(|disks| disks.platters.get_mut(&rank)) else { return };
        let mut found = None;
        for order in orders {
            match order {
                DiskOrder::Write(record) => {
                    platter.hand(now, record);
                    if platter.hung.take().is_some() {
                        self.invariants.coverage.inject(Fault::DiskSlow);
                    }
                }
                DiskOrder::Read => found = Some(platter.read()),
            }
        }
        if let Some(had) = found {
            self.with_server(rank, Work::default(), |server, _, now, out| server.recovered(now, had, out));
        }
    }

    /// When the next disk has news, and whose. A rank that is stopped, or has no turn, does not hear of it.
    pub(super) fn next_disk(&self) -> (Time, Rank) {
        let platters = self.disks.iter().flat_map(|disks| &disks.platters);
        let due = platters.filter(|(rank, _)| !self.servers.get(rank).is_some_and(ServerHost::is_paused));
        let due = due.map(|(rank, platter)| (self.machines[rank].next_turn(platter.due().max(self.now)), *rank));
        due.min().unwrap_or((Time::NEVER, METADATA))
    }

    /// The disk has done what it was to do.
    pub(super) fn disk_done(&mut self, rank: Rank) {
        let now = self.now;
        let platter = self.disks.as_mut().and_then(|disks| disks.platters.get_mut(&rank));
        let Some(ticket) = platter.and_then(|platter| platter.complete(now)) else { return };
        if self.servers.contains_key(&rank) {
            self.with_server(rank, Work::default(), |server, _, now, out| server.durable(now, ticket, out));
        } else {
            self.with_front(rank, Work::default(), |front, now, out| front.durable(now, ticket, out));
        }
    }

    /// Disks take no longer than they have to.
    pub(super) fn calm_disks(&mut self) {
        let now = self.now;
        for platter in self.disks.iter_mut().flat_map(|disks| disks.platters.values_mut()) {
            platter.set_calm(now);
        }
    }
}
