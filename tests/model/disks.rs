//! Disks, and what becomes of everybody when all are killed at once.
//!
//! What a server, or the metadata server, hands to its disk is on it at any later moment, all that was handed over
//! until then; a kill takes what is not. That is `--fsync always`, where a power cut is no different from a kill.
//!
//! # What is abstracted
//!
//! * **The way back** after a kill of everybody is one step: disks write and messages arrive in their order until all
//!   is quiet. When it begins is what varies: between any two messages, and with any of the disks behind. Trouble on
//!   the way back is in the simulator (`fuzz --disk`).
//! * **Bytes**: torn ends and damage are in `tests/disk`.
//! * **Clients live on**: they repeat what was not answered, so exactly once is looked at across the kill.

use super::*;
use understudy::core::node::first_life;
use understudy::core::protocol::{Record, Recovered, Recovery};

/// A disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    on_it: Vec<Record>,
    /// Handed over, and not on it yet.
    coming: Vec<Record>,
    /// This many were on it when this life of its rank began to count.
    begun: usize,
}

impl Disk {
    fn read(&self) -> Recovered {
        let mut recovery = Recovery::new(true);
        for record in &self.on_it {
            recovery.take(record.clone()).unwrap_or_else(|nonsense| panic!("{nonsense} in {:?}", self.on_it));
        }
        recovery.finish().expect("it was read from the start")
    }
}

impl Scope {
    pub fn add_disks(&self, state: &mut State) {
        state.disks = (0..=self.servers).map(|_| Known::new(Disk::default())).collect();
        self.start(state, None);
    }

    fn with_disk<T>(state: &mut State, rank: Rank, act: impl FnOnce(&mut Disk) -> T) -> Option<T> {
        let known = state.disks.get_mut(rank.0 as usize)?;
        let mut disk = Disk::clone(&known.value);
        let result = act(&mut disk);
        *known = Known::new(disk);
        Some(result)
    }

    pub fn hand(&self, state: &mut State, rank: Rank, records: Vec<Record>) {
        if !records.is_empty() {
            Self::with_disk(state, rank, |disk| disk.coming.extend(records)).expect("who writes has a disk");
        }
    }

    /// Whose disks have something to write.
    pub fn writing(state: &State) -> Vec<Rank> {
        let writing = (0..).zip(&state.disks).filter(|(_, disk)| !disk.value.coming.is_empty());
        writing.map(|(rank, _)| Rank(rank)).collect()
    }

    /// What was handed over is on the disk, and its rank hears of it.
    pub fn written(&self, state: &mut State, rank: Rank) {
        let ticket = Self::with_disk(state, rank, |disk| {
            disk.on_it.append(&mut disk.coming);
            (disk.on_it.len() - disk.begun) as u64
        });
        let Some(ticket) = ticket else { return };
        if rank == METADATA {
            self.with_metadata(state, |metadata, now, out| metadata.durable(now, ticket, out));
        } else {
            self.with_server(state, rank, |server, now, out| server.durable(now, ticket, out));
        }
    }

    pub fn forget_unwritten(&self, state: &mut State, rank: Rank) {
        Self::with_disk(state, rank, |disk| disk.coming.clear());
    }

    /// This life of a server, with what is on its disk if it has one.
    pub fn server(&self, state: &State, member: Member) -> Server {
        match state.disks.get(member.rank.0 as usize) {
            None => Server::new(member, self.config()),
            Some(disk) => Server::with_disk(member, self.config(), disk.value.read(), disk.value.on_it.len() as u64),
        }
    }

    /// The metadata server and all servers but one begin, with what is on their disks.
    fn start(&self, state: &mut State, late: Option<Rank>) {
        let had = Self::with_disk(state, METADATA, |disk| {
            disk.begun = disk.on_it.len();
            disk.read()
        });
        let had = had.expect("it has a disk");
        let life = first_life(had.run);
        state.metadata = Known::new(Metadata::with_disk(self.config(), had, true));
        self.with_metadata(state, |metadata, now, out| metadata.tick(now, out));
        for rank in (1..=self.servers).map(Rank) {
            let at = rank.0 as usize - 1;
            let member = Member { rank, incarnation: life };
            state.lives[at] = life;
            let server = (late != Some(rank)).then(|| Known::new(self.server(state, member)));
            state.servers[at] = server;
            self.tick_server(state, rank);
        }
    }

    pub fn kill_all(&self, state: &mut State, late: Option<Rank>) {
        state.network.clear();
        (0..=self.servers).for_each(|rank| self.forget_unwritten(state, Rank(rank)));
        self.start(state, late);
        self.settle(state, WELL);
    }
}

// ---- the walks ---------------------------------------------------------------------------------

/// Two servers with disks.
fn two_disks(scripts: &[&[Command]], may: Left) -> Scope {
    Scope { disks: true, ..two_servers(scripts, may) }
}

#[test]
fn two_servers_with_disks_that_are_all_killed() {
    let more = u8::from(is_long());
    let may = Left { steps: 1 + more, kills: 1 + more, ..CALM };
    hold("all killed", two_disks(&[&[put("1"), get()]], may));
}

#[test]
fn two_servers_with_disks_one_of_which_died_before() {
    let may = Left { steps: 2, crashes: 1, restarts: u8::from(is_long()), kills: 1, ..CALM };
    hold("one dead, all killed", two_disks(&[&[incr()]], may));
}

#[test]
fn without_sync_before_ack_a_kill_of_all_takes_what_was_acknowledged() {
    fail(Rule::SyncBeforeAck, "durability", two_disks(&[&[put("1")]], Left { kills: 1, ..CALM }));
}

/// Server 1 is cut off for so long that server 2 takes over, if the metadata server's disk is not stuck. The first
/// client hears nothing.
fn taken_over(stuck: Option<Rank>) -> [(Action, Settling); 2] {
    let cut_off = Action::Time { without: Some(Rank(1)), asleep: false };
    let lost = |flying: &Flying| [flying.from, flying.to].contains(&Rank(1)) || flying.to == Rank(3);
    [cut_off.clone(), cut_off].map(|action| (action, Settling { lost, stuck }))
}

#[test]
fn without_persist_view_the_disk_of_an_older_view_leads() {
    let may = Left { steps: 3, cuts: 2, kills: 1, ..CALM };
    let before = taken_over(Some(METADATA)).to_vec();
    // The first client never hears of the second view, so the other one asks.
    let scope = Scope { before, ..two_disks(&[&[], &[put("1")]], may) };
    fail(Rule::PersistView, "durability", scope.clone());
    let depth = (!is_long()).then_some(10);
    hold("persist view", Scope { only: Some("durability"), depth, ..scope });
}

#[test]
fn without_recover_highest_view_the_longest_log_leads() {
    let may = Left { steps: 3, cuts: 2, kills: 1, ..CALM };
    let alone = Settling { lost: |flying| matches!(flying.message, Message::Prepare { .. }), ..WELL };
    let to_second = Settling { lost: |flying| [Rank(1), Rank(3)].contains(&flying.to), ..WELL };
    let before = [vec![(Action::Ask(0), alone)], taken_over(None).to_vec(), vec![(Action::Ask(1), to_second)]].concat();
    let scope = Scope { before, ..two_disks(&[&[put("1")], &[put("2")]], may) };
    fail(Rule::RecoverHighestView, "prefix", scope.clone());
    hold("highest view", Scope { only: Some("prefix"), ..scope });
}
