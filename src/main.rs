//! Arguments → launcher, rank, or tool.

#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;
use understudy::args::{Args, Tool};
use understudy::{bench, fuzz, launch};

/// Keys and values are many small pieces that come and go with every request, and now and then a big one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = launch::guardian() {
        return code;
    }
    let args = Args::parse();
    if let Some(Tool::Fuzz(wanted)) = &args.tool {
        return if wanted.watch {
            understudy::app::watch(&args, wanted.seeds.start, &wanted.chaos())
        } else {
            fuzz::main(wanted)
        };
    }
    if args.sim {
        return understudy::app::run_sim(&args);
    }
    #[cfg(feature = "mpi")]
    if launch::is_rank() {
        return understudy::app::run_rank(&args);
    }
    match &args.tool {
        Some(Tool::Bench(wanted)) if wanted.part.is_none() => bench::run(&args, wanted),
        _ => launch::run(&args),
    }
}
