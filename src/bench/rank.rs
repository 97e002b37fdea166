//! Rank 0 of one part's cluster: starts the servers, measures, tells the figures line by line.

use super::front::Front;
use super::parts;
use super::report::Line;
use super::{BenchArgs, Part};
use crate::app::{exit_soon, fail, host_name, job_number, setup};
use crate::args::Args;
use crate::driver::{FrontHost, Link};
use crate::launch::{self, Order};
use crate::protocol::{Incarnation, METADATA, Rank};
use crate::transport::mpi::MpiTransport;
use crate::transport::wire::{Start, encode};
use crate::transport::{Doorbell, Packet, Transport};
use std::io::{self, Write};
use std::process::ExitCode;

/// The seed of a benchmark's cluster: nothing in it is left to chance.
const SEED: u64 = 5;

/// Tells the process that started this cluster something.
pub(super) fn say(line: &Line) {
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
    let mut transport = match attached.with_stderr_in_the_log(MpiTransport::init) {
        Ok(transport) => transport,
        Err(error) => return fail(&error.to_string()),
    };
    let ranks = transport.ranks();
    // Only the phases of a failover need the servers' own words.
    let observe = wanted.part == Some(Part::Failover);
    let start = Start {
        seed: SEED,
        pid: std::process::id(),
        host: host_name(),
        observe,
        ranks,
        incarnation: Incarnation(1),
        peers: Vec::new(),
    };
    for rank in (1..ranks).map(Rank) {
        let frame = encode(&Packet::Start(Box::new(start.clone())), Vec::new());
        if transport.send(rank, frame).is_err() {
            return fail("MPI takes no messages");
        }
    }
    let doorbell = match Doorbell::open(job_number(&start), METADATA, ranks) {
        Ok(doorbell) => doorbell,
        Err(error) => return fail(&format!("no doorbell: {error}")),
    };
    attached.report_pids(&[std::process::id()]);
    say(&Line::Mpi(MpiTransport::library().lines().next().unwrap_or_default().split(',').next().unwrap_or("").into()));
    let setup = setup(args, ranks, start.seed, start.observe);
    let host = FrontHost::new(METADATA, std::process::id(), &setup);
    let mut link = Link::new(transport, doorbell);
    let mut front = Front::new(&mut link, host, setup.config);
    let measured = front.wait_for_service().and_then(|()| parts::measure(&mut front, wanted));
    let code = match &measured {
        Ok(_) => 0,
        Err(why) => {
            say(&Line::Note(why.clone()));
            1
        }
    };
    let all_alive = front.leave(&measured.unwrap_or_default());
    exit_soon(code);
    attached.finish(code);
    if all_alive {
        link.into_transport().finalize();
    } else {
        link.into_transport().abandon();
    }
    signal_hook::low_level::exit(i32::from(code))
}
