//! The same servers lead again and again: what an acknowledgement that lingers ([`super::linger`]) needs to do harm.
//!
//! A word of an older view harms only when what it acknowledged is gone, when its number means another write by now,
//! and when somebody waits for exactly that. Chance hardly ever brings that about, so in these runs nothing is left to
//! it but the moments: there is no other fault, and one intrigue follows another.
//!
//! | intrigue | what happens |
//! |---|---|
//! | usurper | One backup hears nothing from the primary, and suspects it. It leads with a shorter log than the third server, which throws away what it has acknowledged. No client reaches anybody until the old primary leads again. Then writes are under way that do not reach the third server, and what it once acknowledged comes. |
//! | … of a dead one | The same, but the third server has another life by then. |
//! | lease | The only backup has learnt to be patient, and grants long leases. It crashes, and its next life, which knows nothing of that, is back at once and suspects the primary. |

use super::World;
use super::chaos::{chances, crash, give};
use super::coverage::Fault;
use crate::core::fault::Control;
use crate::core::node::ServerHost;
use crate::core::protocol::{METADATA, Member, Rank, Server, Time};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::time::Duration;

/// So many intrigues a run.
const INTRIGUES: u32 = 8;
/// Before the next one everybody is heard for so long, in microseconds.
const PEACE_US: Range<u64> = 1_000..20_000;
/// What is waited for is looked for this often, in microseconds.
const LOOK_US: Range<u64> = 200..1_200;
/// An intrigue in which something takes longer is given up.
const PATIENCE: Duration = Duration::from_millis(400);
/// Nothing reaches the third server for no longer than this.
const DECISIVE_MAX: Duration = Duration::from_millis(40);
/// While somebody is unheard, one look in this many is when the beginning of the view comes again.
const AGAIN_ONE_IN: u32 = 8;
/// What lingers comes within this, in microseconds, …
const COMES_US: u64 = 1_000;
/// … and then what was cut is heard again, or a moment later.
const HEALS_US: Range<u64> = 1_000..4_000;
/// A backup that is unheard for so long, in microseconds, becomes so patient that it can be unheard for longer.
const GAPS_US: [Range<u64>; 3] = [28_000..38_000, 40_000..55_000, 60_000..85_000];
/// In between it is heard, and answers.
const HEARD_US: Range<u64> = 11_000..25_000;

/// Who has which part.
#[derive(Debug, Clone, Copy)]
struct Plotters {
    primary: Rank,
    usurper: Rank,
    /// Whose acknowledgements linger.
    third: Rank,
    /// It is to have another life before they come.
    dies: bool,
}

#[derive(Debug, Clone, Copy)]
enum Intrigue {
    Peace,
    /// The usurper hears nothing from the primary.
    Unheard(Plotters),
    /// The old primary is to lead again.
    Back(Plotters),
    /// It does. Nothing from it reaches the third server.
    Decisive(Plotters),
    /// There is to be one backup only, the usurper.
    Alone(Plotters),
    /// It has gaps: so many by now.
    Gaps(Plotters, usize),
    /// It is heard again after them.
    Heard(Plotters, usize),
    /// It has crashed; this was its life.
    Reborn(Plotters, Member),
    /// Its next life does not hear the primary.
    Suspects(Plotters),
    Over,
}

/// Decides who leads.
pub(super) struct Shuttle {
    rng: ChaCha8Rng,
    next: Time,
    stage: Intrigue,
    /// This stage is given up then.
    until: Time,
    left: u32,
    quiet: bool,
}

impl Shuttle {
    /// Of this seed, in a world that begins now; with no more than so many intrigues.
    pub(super) fn new(seed: u64, now: Time, most: u32) -> Self {
        let (rng, left) = (chances(seed, 10), INTRIGUES.min(most));
        Self { rng, next: now, stage: Intrigue::Peace, until: now + PATIENCE, left, quiet: false }
    }

    /// When the next deed is due.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// True when all that was to be done is done.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// No client asks for anything now.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Does what is due.
    pub(super) fn strike(&mut self, world: &mut World) {
        self.next = world.now() + self.within(LOOK_US);
        let patient = world.now() < self.until;
        match self.stage {
            Intrigue::Peace if patient => self.begin(world),
            Intrigue::Unheard(cast) if patient => self.usurp(world, cast),
            Intrigue::Back(cast) if patient => self.bring_back(world, cast),
            Intrigue::Decisive(cast) if patient => self.decide(world, cast),
            Intrigue::Alone(cast) if patient => {
                if world.view_now().is_some_and(|view| view.backups.len() == 1 && serves(world, view.primary.rank)) {
                    self.widen_gap(world, cast, 0);
                }
            }
            Intrigue::Gaps(cast, gaps) => {
                cut(world, cast.primary, cast.usurper, false);
                self.enter(world, Intrigue::Heard(cast, gaps));
                self.next = world.now() + self.within(HEARD_US);
            }
            Intrigue::Heard(cast, gaps) => self.widen_gap(world, cast, gaps),
            Intrigue::Reborn(cast, before) if patient => self.deliver_lease(world, cast, before),
            Intrigue::Suspects(cast) if patient && world.primary() == Some(cast.primary) => {}
            _ => self.end(world),
        }
    }

    fn within(&mut self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.rng.random_range(range))
    }

    fn enter(&mut self, world: &World, stage: Intrigue) {
        (self.stage, self.until) = (stage, world.now() + PATIENCE);
    }

    /// All is well, and somebody is about to plot.
    fn begin(&mut self, world: &mut World) {
        let Some(view) = world.view_now().cloned() else { return };
        let primary = view.primary.rank;
        if view.backups.len() < 2 || !serves(world, primary) {
            return;
        }
        // A primary hands over to the lowest rank that can lead: the highest would never lead again.
        if view.backups.iter().all(|backup| backup.rank < primary) {
            return swap(world);
        }
        let at = self.rng.random_range(0..view.backups.len());
        let other = (at + self.rng.random_range(1..view.backups.len())) % view.backups.len();
        let (usurper, third) = (view.backups[at].rank, view.backups[other].rank);
        let kind = self.rng.random_range(0..8);
        let cast = Plotters { primary, usurper, third, dies: kind >= 3 };
        if kind < 6 {
            unhear(world, cast);
            self.enter(world, Intrigue::Unheard(cast));
        } else if let Some(fault) = crash(world, third) {
            // In a whole view there is no place for another life before the primary knows of the death.
            world.invariants_mut().coverage.inject(fault);
            self.enter(world, Intrigue::Alone(cast));
        }
    }

    /// The usurper suspects the primary, and nobody else does anything.
    fn usurp(&mut self, world: &mut World, cast: Plotters) {
        if world.primary() != Some(cast.usurper) {
            if self.rng.random_range(0..AGAIN_ONE_IN) == 0 {
                let now = world.now();
                world.network_mut().begin_again(now, cast.primary, cast.third);
            }
            return;
        }
        cut(world, cast.primary, cast.usurper, false);
        cut(world, cast.primary, METADATA, false);
        cut_clients(world, true);
        self.quiet = true;
        if cast.dies {
            crash_and_recover(world, cast.third);
        }
        self.enter(world, Intrigue::Back(cast));
    }

    /// Everybody has a part in the view again, and the primary hands over until the old one leads.
    fn bring_back(&mut self, world: &mut World, cast: Plotters) {
        let Some(view) = world.view_now() else { return };
        let (primary, whole) = (view.primary.rank, view.backups.len() >= 2);
        if !whole || !serves(world, primary) {
            return;
        }
        if primary != cast.primary {
            return swap(world);
        }
        cut(world, cast.primary, cast.third, true);
        cut_clients(world, false);
        self.quiet = false;
        self.enter(world, Intrigue::Decisive(cast));
        self.until = world.now() + DECISIVE_MAX;
    }

    /// When a write is under way, what lingers comes.
    fn decide(&mut self, world: &mut World, cast: Plotters) {
        if server(world, cast.primary).is_some_and(|server| server.op() > server.store().op()) {
            self.recall(world, cast.third, cast.primary);
            self.until = world.now();
            self.next = world.now() + self.within(HEALS_US);
        }
    }

    fn recall(&mut self, world: &mut World, from: Rank, to: Rank) {
        world.note(format!("what {from} has said to {to} comes again"));
        let (now, most) = (world.now(), Duration::from_micros(COMES_US));
        world.network_mut().recall(now, from, to, most);
    }

    /// A backup becomes patient, and dies when it is.
    fn widen_gap(&mut self, world: &mut World, cast: Plotters, gaps: usize) {
        if gaps < GAPS_US.len() {
            cut(world, cast.primary, cast.usurper, true);
            self.enter(world, Intrigue::Gaps(cast, gaps + 1));
            self.next = world.now() + self.within(GAPS_US[gaps].clone());
        } else if let Some(before) = server(world, cast.usurper).map(Server::member) {
            crash_and_recover(world, cast.usurper);
            self.enter(world, Intrigue::Reborn(cast, before));
        } else {
            self.end(world);
        }
    }

    /// Its next life has a part in the view: now comes what it has granted before, and it suspects the primary.
    fn deliver_lease(&mut self, world: &mut World, cast: Plotters, before: Member) {
        let member = world.view_now().and_then(|view| view.member_on(cast.usurper));
        if member.is_none_or(|member| member == before) || world.primary() != Some(cast.primary) {
            return;
        }
        self.recall(world, cast.usurper, cast.primary);
        unhear(world, cast);
        self.enter(world, Intrigue::Suspects(cast));
    }

    /// Everybody is heard again.
    fn end(&mut self, world: &mut World) {
        let ranks: Vec<Rank> = world.servers().keys().copied().chain(world.clients()).collect();
        world.note("everybody is heard again");
        for rank in ranks {
            let _ = world.control(rank, &Control::Heal);
            let _ = world.control(rank, &Control::Recover);
        }
        self.quiet = false;
        self.left -= 1;
        self.enter(world, if self.left > 0 { Intrigue::Peace } else { Intrigue::Over });
        self.next = world.now() + self.within(PEACE_US);
    }
}

fn server(world: &World, rank: Rank) -> Option<&Server> {
    world.servers().get(&rank).and_then(ServerHost::server)
}

fn serves(world: &World, rank: Rank) -> bool {
    let primary = server(world, rank).and_then(Server::as_primary);
    primary.is_some_and(|primary| primary.is_serving())
}

/// The usurper hears nothing from the primary, and the primary cannot get rid of it.
fn unhear(world: &mut World, cast: Plotters) {
    cut(world, cast.primary, cast.usurper, true);
    cut(world, cast.primary, METADATA, true);
    world.invariants_mut().coverage.inject(Fault::CutOneWay);
}

/// The primary hands over, if there is one that can.
fn swap(world: &mut World) {
    if let Some(primary) = world.primary()
        && give(world, primary, &Control::Swap, "swap")
    {
        world.invariants_mut().coverage.inject(Fault::Swap);
    }
}

fn crash_and_recover(world: &mut World, victim: Rank) {
    if let Some(fault) = crash(world, victim) {
        world.invariants_mut().coverage.inject(fault);
        give(world, victim, &Control::Recover, "recover");
    }
}

/// What one server sends to a rank is lost, or no longer.
fn cut(world: &mut World, from: Rank, to: Rank, cut: bool) {
    let what = if cut { "unheard" } else { "heard again" };
    give(world, from, &Control::Cut { peer: to, cut }, &format!("{what} by {to}:"));
}

/// No client reaches any server, or all do again. (That on rank 0 always does: the metadata server is there, too.)
fn cut_clients(world: &mut World, cut: bool) {
    world.note(if cut { "no client is heard" } else { "clients are heard again" });
    let servers: Vec<Rank> = world.servers().keys().copied().collect();
    for client in world.clients().into_iter().filter(|client| *client != METADATA) {
        for server in &servers {
            let _ = world.control(client, &Control::Cut { peer: *server, cut });
        }
    }
}
