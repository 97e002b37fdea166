//! The console over the simulator: no MPI, no other process.

use super::verdict::Court;
use super::{Playing, enter_screen, fail, new_model, random_seed, setup};
use crate::cluster::Desk;
use crate::launch;
use crate::launch::args::Args;
use crate::sim::{Chaos, DiskSetup, Script, SimStage, VirtualClock, World, chaos};
use crate::ui::tour::TourScene;
use rustix::termios::isatty;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

/// Scenes, and with which of them it begins.
pub(super) type Tour = (Vec<TourScene>, usize);

/// A script is played this many times slower than life: a failover of 60 ms takes as long as one can follow it.
const WATCH_SLOWNESS: f64 = 20.0;

/// Those who watch have disks of the ordinary kind: a sync takes up to some milliseconds.
const DISK_PACE: f64 = 8.0;

/// Plays the cluster in this process.
#[must_use]
pub fn run_sim(args: &Args) -> ExitCode {
    let seed = args.seed.unwrap_or_else(random_seed);
    if args.watch {
        return watch(args, seed, &Chaos::default());
    }
    play(args, seed, world(args, seed), None, |stage| stage)
}

/// The simulated cluster that was asked for. In slow motion its disks are slow as well, so that one sees them work.
pub(super) fn world(args: &Args, seed: u64) -> World {
    let pace = (DISK_PACE * args.pace).round() as u32;
    let disks = args.disks.then(|| DiskSetup { fsync: args.fsync.into(), pace });
    World::on_stage(setup(args, args.servers + args.clients + 1, seed, true), disks)
}

/// Plays a cluster in this process, and a tour in its place from the start.
pub(super) fn show(args: &Args, tour: Tour) -> ExitCode {
    let seed = args.seed.unwrap_or_else(random_seed);
    play(args, seed, world(args, seed), Some(tour), |stage| stage)
}

/// Plays a run of the fuzzer for an audience, in slow motion.
#[must_use]
pub fn watch(args: &Args, seed: u64, chaos: &Chaos) -> ExitCode {
    let world = chaos::start(seed, chaos, true);
    let script = Script::new(seed, chaos, world.now());
    let args = Args { servers: chaos.servers, failure_rate: world.setup().failure_rate, ..args.clone() };
    play(&args, seed, world, None, |stage| stage.playing(script, WATCH_SLOWNESS * args.pace))
}

fn play<'a>(
    args: &Args,
    seed: u64,
    world: World,
    tour: Option<Tour>,
    prepare: impl FnOnce(SimStage<'a>) -> SimStage<'a> + 'a,
) -> ExitCode {
    let clock = VirtualClock::default();
    let court = match Court::open(args) {
        Ok(court) => court.at_once(),
        Err(why) => return fail(&why),
    };
    let screen = isatty(io::stdin()) && isatty(io::stdout()) && !launch::asks_for_line_mode(args);
    let painter = match screen.then(enter_screen).transpose() {
        Ok(painter) => painter,
        Err(error) => return fail(&format!("the terminal cannot be drawn on: {error}")),
    };
    let (desk, asks) = Desk::new();
    let (model, telling) = (Arc::new(Mutex::new(new_model(args, seed, clock.now()))), clock.clone());
    // Who types sees time pass; a file or a pipe has none.
    let scripted = !args.command.is_empty() || !isatty(io::stdin());
    let clock_of = Arc::new(move || telling.now());
    let play = Playing { args, desk, model, painter, court, clock: clock_of, is_simulated: true, tour };
    let code = play.run(|news, _| prepare(SimStage::new(world, clock, asks, news).scripted(scripted)).run());
    let _ = io::stdout().flush();
    ExitCode::from(code)
}
