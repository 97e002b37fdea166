//! The console over the simulator: no MPI, no other process.

use super::{Play, enter_screen, new_model, random_seed, setup};
use crate::args::Args;
use crate::driver::Desk;
use crate::launch;
use crate::sim::{SimStage, VirtualClock, World};
use rustix::termios::isatty;
use std::io::{self, Write};
use std::process::ExitCode;

/// Plays the cluster in this process.
#[must_use]
pub fn run_sim(args: &Args) -> ExitCode {
    let seed = args.seed.unwrap_or_else(random_seed);
    let world = World::new(setup(args, args.servers + args.clients + 1, seed, true));
    let clock = VirtualClock::default();
    let screen = isatty(io::stdin()) && isatty(io::stdout()) && !launch::asks_for_line_mode(args);
    let painter = match screen.then(enter_screen).transpose() {
        Ok(painter) => painter,
        Err(error) => {
            eprintln!("understudy: the terminal cannot be drawn on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (desk, asks) = Desk::new();
    let (model, telling) = (new_model(args, seed, clock.now()), clock.clone());
    let play = Play { args, desk, model, painter, clock: Box::new(move || telling.now()) };
    let code = play.run(|news, _| SimStage::new(world, clock, asks, news).run());
    let _ = io::stdout().flush();
    ExitCode::from(code)
}
