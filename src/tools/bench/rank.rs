//! Rank 0 of one part's cluster: starts the servers, measures, tells the figures line by line.

use super::front::Front;
use super::parts;
use super::report::ReportLine;
use super::{BenchArgs, BenchPart};
use crate::app::{Begun, begin, end_world, exit_soon, setup};
use crate::core::node::FrontHost;
use crate::core::protocol::METADATA;
use crate::launch::args::Args;
use crate::launch::fail;
use crate::launch::{self, Order};
use crate::mpi::Link;
use crate::mpi::transport::mpi::MpiWorld;
use std::io::{self, Write};
use std::process::ExitCode;

/// The seed of a benchmark's cluster: nothing in it is left to chance.
const SEED: u64 = 5;

/// Tells the process that started this cluster something.
pub(super) fn say(line: &ReportLine) {
    let text = serde_json::to_string(line).unwrap_or_default();
    // A reader that is gone is no reason to go on: the lifeline will say so.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Runs one part on rank 0.
#[must_use]
pub fn run(args: &Args, wanted: &BenchArgs) -> ExitCode {
    let attached = match launch::attach(args, |order| {
        if order != Order::Orphaned {
            signal_hook::low_level::exit(1);
        }
    }) {
        Ok(attached) => attached,
        Err(error) => return fail(&error.to_string()),
    };
    let world = match attached.with_stderr_in_the_log(MpiWorld::init) {
        Ok(world) => world,
        Err(error) => return fail(&error.to_string()),
    };
    // Only the phases of a failover need the servers' own words.
    let observe = wanted.part == Some(BenchPart::Failover);
    let Begun { mesh, doorbell, start, deathwatch } = match begin(args, world, 0, SEED, observe, None, None) {
        Ok(begun) => begun,
        Err(why) => return fail(&why),
    };
    attached.report_pids(&[std::process::id()]);
    say(&ReportLine::Mpi(
        MpiWorld::library().lines().next().unwrap_or_default().split(',').next().unwrap_or("").into(),
    ));
    let setup = setup(args, start.ranks, start.seed, start.observe);
    let host = FrontHost::new(METADATA, std::process::id(), &setup);
    let mut link = Link::new(mesh, doorbell);
    let mut front = Front::new(&mut link, host, setup.config, deathwatch);
    let measured = front.wait_for_service().and_then(|()| parts::measure(&mut front, wanted));
    let code = match &measured {
        Ok(_) => 0,
        Err(why) => {
            say(&ReportLine::Note(why.clone()));
            1
        }
    };
    let all_alive = front.leave(&measured.unwrap_or_default());
    exit_soon(code);
    attached.finish(code);
    end_world(link.into_transport(), all_alive);
    signal_hook::low_level::exit(i32::from(code))
}
