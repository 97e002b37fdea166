//! Arguments → launcher, rank, or tool.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use understudy::launch::args::{Args, Tool};
use understudy::launch::{self, manual};
use understudy::tools::{bench, fuzz, log};

/// Keys and values are many small pieces that come and go with every request, and now and then a big one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = launch::guardian() {
        return code;
    }
    launch::processes::raise_descriptor_limit();
    let args = manual::parse();
    match &args.tool {
        Some(Tool::Man) => return manual::print_page(),
        Some(Tool::Completions { shell }) => return manual::print_completions(*shell),
        Some(Tool::Fuzz(wanted)) if wanted.watch => {
            return understudy::app::watch(&args, wanted.seeds.start, &wanted.chaos());
        }
        Some(Tool::Fuzz(wanted)) => return fuzz::main(wanted),
        Some(Tool::Log(wanted)) => return log::main(wanted),
        Some(Tool::Replay { file }) => return understudy::app::replay(&args, file),
        Some(Tool::Tour(wanted)) => return understudy::app::tour(&args, wanted),
        Some(Tool::Notes) => return understudy::app::notes(&args),
        Some(Tool::Bench(_) | Tool::Serve) | None => {}
    }
    if args.sim {
        return understudy::app::run_sim(&args);
    }
    if let Some(Tool::Bench(wanted)) = &args.tool
        && wanted.measures_nothing()
    {
        return bench::run(&args, wanted);
    }
    over_mpi(&args)
}

#[cfg(feature = "mpi")]
fn over_mpi(args: &Args) -> ExitCode {
    if let Some(place) = args.replaces {
        return understudy::app::run_replacement(args, place);
    }
    if launch::is_rank() {
        return understudy::app::run_rank(args, bench::rank::run);
    }
    match &args.tool {
        Some(Tool::Bench(wanted)) if wanted.part.is_none() => bench::run(args, wanted),
        _ => launch::run(args),
    }
}

#[cfg(not(feature = "mpi"))]
fn over_mpi(_: &Args) -> ExitCode {
    understudy::launch::fail(
        "built without MPI: play the cluster in the simulator with --sim, try it with `understudy fuzz`, or build it \
         with the default features (cargo build --release)",
    )
}
