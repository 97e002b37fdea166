//! Which process is which rank, and the way to it: over MPI, or over a socket.
//!
//! Ranks are what the loops know; processes are what lives and dies. All bookkeeping is by process, so what a dead one
//! has left behind (a frame on its way, half of a long one) never passes for its successor's.

use super::mpi::MpiWorld;
use super::offspring::Offspring;
use super::sockets::{Job, Sockets};
use super::wire::Start;
use super::{Change, Place, Process, RawWire, Transport};
use crate::core::protocol::{METADATA, Rank};
use rustix::fd::OwnedFd;
use std::net::SocketAddr;

/// What Open MPI is told about giving the core away, see [`Transport::gives_way`].
const YIELD_VARIABLE: &str = "OMPI_MCA_mpi_yield_when_idle";

/// The way of this process to all others.
#[derive(Debug)]
pub struct Mesh {
    /// `None`: this process came later.
    world: Option<MpiWorld>,
    /// `None` until the job's number is known; rank 0's child has one socket from the beginning.
    sockets: Option<Sockets>,
    /// At rank 0, once it can start others.
    offspring: Option<Offspring>,
    rank: Rank,
    /// Who each rank is; behind the ranks the spares, each under its own number.
    processes: Vec<Option<Process>>,
    /// This many processes were started together.
    together: u32,
    /// The first number that was not given to a process.
    next: u32,
}

impl Mesh {
    /// A process of the world. Until it is told otherwise every rank is the process of the same number.
    #[must_use]
    pub fn of_world(world: MpiWorld) -> Self {
        let size = world.size();
        Self {
            rank: Rank(world.index()),
            world: Some(world),
            sockets: None,
            offspring: None,
            processes: (0..size).map(|index| Some(Process(index))).collect(),
            together: size,
            next: size,
        }
    }

    /// A process that came later and knows rank 0 over this socket, and nobody else yet.
    #[must_use]
    pub fn of_child(rank: Rank, socket: OwnedFd) -> Self {
        // Its number and the job's come with the first word; nobody else is reached before.
        let mut sockets = Sockets::new(Process(u32::MAX), Job { number: 0, token: 0 });
        sockets.join(Process(METADATA.0), socket);
        Self {
            rank,
            world: None,
            sockets: Some(sockets),
            offspring: None,
            processes: vec![Some(Process(METADATA.0))],
            together: 1,
            next: u32::MAX,
        }
    }

    /// Learns which job this is, which process of it, and how many were started together.
    pub fn join(&mut self, process: Process, job: Job, together: u32) {
        self.together = together;
        match &mut self.sockets {
            Some(sockets) => sockets.introduce(process, job),
            None => self.sockets = Some(Sockets::new(process, job)),
        }
    }

    /// Takes the place that rank 0's word names, among those that it names. Returns where others may come to it.
    ///
    /// # Errors
    /// When nobody can come.
    pub fn take_place(&mut self, start: &Start) -> std::io::Result<Vec<SocketAddr>> {
        self.rank = start.rank;
        self.processes.iter_mut().skip(1).for_each(|process| *process = None);
        self.processes.resize(self.processes.len().max(start.ranks as usize), None);
        for place in &start.places {
            self.set_process(place.rank, Some(place.process));
            // Who is in the world goes to those who came later; who came later is come to.
            if self.world.is_some() && !self.is_of_world(place.process) {
                self.go_to(place);
            }
        }
        match &mut self.sockets {
            Some(sockets) if self.world.is_none() => sockets.listen(start.several_hosts),
            _ => Ok(Vec::new()),
        }
    }

    /// The same, able to start further processes.
    #[must_use]
    pub fn with_offspring(self, offspring: Offspring) -> Self {
        Self { offspring: Some(offspring), ..self }
    }

    /// MPI, to end it; `None` in a process that came later.
    #[must_use]
    pub fn into_world(self) -> Option<MpiWorld> {
        self.world
    }

    fn is_of_world(&self, process: Process) -> bool {
        process.0 < self.together
    }

    fn set_process(&mut self, rank: Rank, process: Option<Process>) {
        let at = rank.0 as usize;
        if at >= self.processes.len() {
            self.processes.resize(at + 1, None);
        }
        self.processes[at] = process;
    }

    fn go_to(&mut self, place: &Place) {
        if let Some(sockets) = &mut self.sockets {
            sockets.go_to(place.process, &place.addresses);
        }
    }
}

fn rank_of(processes: &[Option<Process>], process: Process) -> Option<Rank> {
    // Mostly it is where it was in the beginning.
    let home = processes.get(process.0 as usize).is_some_and(|there| *there == Some(process));
    if home {
        return Some(Rank(process.0));
    }
    let at = processes.iter().position(|there| *there == Some(process))?;
    u32::try_from(at).ok().map(Rank)
}

impl Transport for Mesh {
    fn ranks(&self) -> u32 {
        u32::try_from(self.processes.len()).unwrap_or(u32::MAX)
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Rank, &[u8])) -> usize {
        let processes = &self.processes;
        let mut hand_over = |process, frame: &[u8]| {
            // Who has no rank (yet, or no more) has nothing to say.
            if let Some(rank) = rank_of(processes, process) {
                deliver(rank, frame);
            }
        };
        let mut delivered = 0;
        if let Some(world) = &mut self.world {
            delivered += world.receive(&mut |index, frame| hand_over(Process(index), frame));
        }
        if let Some(sockets) = &mut self.sockets {
            delivered += sockets.receive(&mut hand_over);
        }
        delivered
    }

    fn send(&mut self, to: Rank, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        let process = self.processes.get(to.0 as usize).copied().flatten();
        match (process, &mut self.world, &mut self.sockets) {
            (Some(process), Some(world), _) if process.0 < world.size() => world.send(process.0, frame),
            (Some(process), world, Some(sockets)) => {
                let free = sockets.send(process, frame)?;
                if let (Some(world), Some(free)) = (world, free) {
                    world.give_buffer(free);
                }
                Ok(())
            }
            // Lost, as on a network: the protocol is made for that.
            (None, ..) | (_, _, None) => Ok(()),
        }
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.world.as_mut().map(MpiWorld::buffer).unwrap_or_default()
    }

    fn unsent(&self) -> usize {
        self.world.as_ref().map_or(0, MpiWorld::unsent) + self.sockets.as_ref().map_or(0, Sockets::unsent)
    }

    fn is_moving(&self) -> bool {
        self.world.as_ref().is_some_and(MpiWorld::is_moving)
            || self.sockets.as_ref().is_some_and(|sockets| sockets.unsent() > 0 || sockets.is_receiving())
    }

    fn gives_way(&self) -> bool {
        self.world.is_some() && std::env::var_os(YIELD_VARIABLE).is_some_and(|said| said != "0")
    }

    fn raw(&mut self) -> Option<&mut dyn RawWire> {
        self.world.as_mut().map(|world| world as &mut dyn RawWire)
    }

    fn survives_a_death(&self) -> Result<(), String> {
        MpiWorld::survives_a_death()
    }

    fn forget(&mut self, process: Process) -> Option<Rank> {
        let rank = rank_of(&self.processes, process);
        if let Some(rank) = rank {
            self.set_process(rank, None);
        }
        match (&mut self.world, &mut self.sockets) {
            (Some(world), _) if process.0 < world.size() => world.forget(process.0),
            (_, Some(sockets)) => sockets.forget(process),
            (_, None) => {}
        }
        rank
    }

    fn place(&mut self, place: &Place) {
        if let Some(before) = rank_of(&self.processes, place.process) {
            self.set_process(before, None);
        }
        self.set_process(place.rank, Some(place.process));
        // Rank 0 and its child have their sockets from birth; a process of the world comes to those who came later.
        if self.offspring.is_none() && !self.is_of_world(place.process) {
            self.go_to(place);
        }
    }

    fn start(&mut self, arguments: &[String]) -> Option<Process> {
        let process = Process(self.next);
        let socket = self.offspring.as_ref()?.start(process, arguments);
        self.next += 1;
        if let (Some(sockets), Some(socket)) = (&mut self.sockets, socket) {
            sockets.join(process, socket);
        }
        Some(process)
    }

    fn take_change(&mut self) -> Option<Change> {
        self.offspring.as_ref()?.take_change()
    }
}
