//! This process as a rank under mpirun: who does what, and how it ends.

use super::verdict::Court;
use super::{Play, complain, enter_screen, fail, new_model, random_seed, setup};
use crate::args::{Args, Tool};
use crate::bench;
use crate::dashboard::lock;
use crate::driver::client_rank;
use crate::driver::end::Ended;
use crate::driver::log::Log;
use crate::driver::{ConsoleRank, Desk, Doors, FrontHost, Link, Respawn, clock, server_rank};
use crate::launch::{self, Attachment, Order, ParentWatch};
use crate::protocol::{Incarnation, METADATA, Rank};
use crate::store::ClientId;
#[cfg(target_os = "linux")]
use crate::transport::keeper;
use crate::transport::mpi::MpiTransport;
use crate::transport::wire::{Start, encode};
use crate::transport::{Doorbell, Packet, Transport};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// After the goodbye a rank that still hangs in MPI is ended.
const EXIT_DEADLINE: Duration = Duration::from_millis(400);

/// Runs this process as the rank that it is.
#[must_use]
pub fn run_rank(args: &Args) -> ExitCode {
    if let Some(why) = launch::left_over() {
        return fail(&why);
    }
    // A replacement is rank 0 of a world of its own, and no console.
    if args.replaces.is_some() {
        return run_server(args);
    }
    let first = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"].iter().find_map(|name| std::env::var(name).ok());
    match &args.tool {
        _ if first.as_deref() != Some("0") => run_server(args),
        Some(Tool::Bench(wanted)) => bench::rank::run(args, wanted),
        _ => run_console(args),
    }
}

/// Something that only processes on one machine, able to see each other's pids, share.
pub(crate) fn host_name() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), pids.display())
}

/// A number that the ranks of this job share, and no other job.
pub(crate) fn job_number(start: &Start) -> u64 {
    start.seed ^ (u64::from(start.pid) << 32)
}

/// Ends the process soon, whatever MPI is waiting for.
pub(crate) fn exit_soon(code: u8) {
    let _ = thread::Builder::new().name("exit".into()).spawn(move || {
        thread::sleep(EXIT_DEADLINE);
        signal_hook::low_level::exit(i32::from(code));
    });
}

// ---- servers -----------------------------------------------------------------------------------

fn run_server(args: &Args) -> ExitCode {
    let _ = launch::block_terminal_signals();
    // Named after mpirun, which is this process's parent, but not that of the rank itself.
    let logs = launch::job_dir(args).ok();
    #[cfg(target_os = "linux")]
    return keeper::keep(|keeper| serve(args, logs.as_deref(), &|rank_zero| keeper.has_started(rank_zero)));
    #[cfg(not(target_os = "linux"))]
    return ExitCode::from(serve(args, logs.as_deref(), &|_| {}));
}

/// A server's rank, from beginning to end.
fn serve(args: &Args, logs: Option<&Path>, has_started: &dyn Fn(Option<u32>)) -> u8 {
    let alone = launch::alone();
    let watch = ParentWatch::new();
    let _ = watch.exit_when_orphaned();
    let transport = match args.replaces {
        Some(place) => MpiTransport::init_replacement(Rank(place.rank), place.ranks),
        None => MpiTransport::init(),
    };
    let mut transport = match transport {
        Ok(transport) => transport,
        Err(error) => return complain(&error.to_string()),
    };
    if args.replaces.is_none() && transport.ranks() < 2 {
        let code = complain(&alone);
        exit_soon(code);
        transport.finalize();
        return code;
    }
    let is_orphan = || !watch.parent_is_alive();
    let (start, early) = match server_rank::wait_for_start(&mut transport, &is_orphan) {
        Ok(start) => start,
        Err(error) => return complain(&error),
    };
    let host = host_name();
    let rank_zero = (start.host == host).then_some(start.pid);
    if let Some(pid) = rank_zero {
        watch.rank_zero_is(pid);
    }
    has_started(rank_zero);
    let rank = transport.rank();
    let doorbell = match Doorbell::open(job_number(&start), rank, transport.ranks()) {
        Ok(doorbell) => doorbell,
        Err(error) => return complain(&format!("no doorbell: {error}")),
    };
    let log = Log::create(logs, rank, clock::now());
    let setup = setup(args, transport.ranks().max(2 + args.clients), start.seed, start.observe);
    let mut link = Link::new(transport, doorbell);
    link.put_back(early);
    link.push(METADATA, &Packet::Hello { pid: std::process::id(), host });
    let ended = if rank.0 > setup.config.servers {
        let host = FrontHost::new(rank, std::process::id(), &setup);
        client_rank::run(&mut link, host, log, &is_orphan)
    } else {
        let host = server_rank::host(rank, start.incarnation, setup);
        server_rank::run(&mut link, host, log, Doors::new(&start.peers), &is_orphan)
    };
    let transport = link.into_transport();
    if ended == Ended::Told && transport.is_whole() {
        exit_soon(0);
        transport.finalize();
        return 0;
    }
    transport.abandon();
    if ended == Ended::Orphaned {
        launch::processes::remove_shared_memory();
    }
    signal_hook::low_level::exit(i32::from(ended == Ended::Orphaned))
}

// ---- console -----------------------------------------------------------------------------------

fn run_console(args: &Args) -> ExitCode {
    let alone = launch::alone();
    let desk: Arc<OnceLock<Desk>> = Arc::default();
    let attachment: Arc<OnceLock<Attachment>> = Arc::default();
    let orders = { (Arc::clone(&desk), Arc::clone(&attachment)) };
    let attached = launch::attach(args, move |order| on_order(order, orders.0.get(), orders.1.get()));
    let attached = match attached {
        Ok(attached) => attached,
        Err(error) => return fail(&error.to_string()),
    };
    let _ = attachment.set(attached.clone());
    break_off_on_panic(&attached);
    let screen = attached.stdin_is_terminal() && attached.stdout_is_terminal() && !launch::asks_for_line_mode(args);

    let court = match Court::open(args) {
        Ok(court) => court,
        Err(why) => {
            attached.break_off(1);
            return fail(&why);
        }
    };

    // The screen comes up while MPI does.
    let now = clock::now();
    let seed = args.seed.unwrap_or_else(random_seed);
    let model = new_model(args, seed, now);
    let painter = match screen.then(enter_screen).transpose() {
        Ok(painter) => painter,
        Err(error) => return fail(&format!("the terminal cannot be drawn on: {error}")),
    };
    let mut transport = match attached.with_stderr_in_the_log(MpiTransport::init) {
        Ok(transport) => transport,
        Err(error) => return fail(&error.to_string()),
    };
    let ranks = transport.ranks();
    if ranks < 2 + args.clients {
        attached.break_off(1);
        return fail(&alone);
    }
    lock(&model).setup.servers = ranks - 1 - args.clients;
    court.expect((ranks - args.clients..ranks).map(ClientId));

    let start = Start {
        seed,
        pid: std::process::id(),
        host: host_name(),
        observe: true,
        ranks,
        incarnation: Incarnation(1),
        peers: Vec::new(),
    };
    let job = job_number(&start);
    for rank in (1..ranks).map(Rank) {
        let frame = encode(&Packet::Start(Box::new(start.clone())), Vec::new());
        if transport.send(rank, frame).is_err() {
            return fail("MPI takes no messages");
        }
    }
    let doorbell = match Doorbell::open(job, METADATA, ranks) {
        Ok(doorbell) => doorbell,
        Err(error) => return fail(&format!("no doorbell: {error}")),
    };
    let (the_desk, asks) = match doorbell.ringer(job, METADATA) {
        Ok(ringer) => Desk::waking(move || ringer.ring()),
        Err(error) => return fail(&format!("no doorbell: {error}")),
    };
    let _ = desk.set(the_desk.clone());
    attached.report_pids(&[std::process::id()]);

    let front = FrontHost::new(METADATA, std::process::id(), &setup(args, ranks, start.seed, start.observe));
    let log = Log::create(launch::job_dir(args).ok().as_deref(), METADATA, clock::now());
    let mut link = Link::new(transport, doorbell);
    let mut all_alive = false;
    let play = Play { args, desk: the_desk, model, painter, court, clock: Box::new(clock::now) };
    let code = play.run(|news, drawn| {
        all_alive =
            ConsoleRank::new(&mut link, front, asks, log, start, drawn, news).with_respawn(respawn(args, ranks)).run();
    });
    let _ = io::stdout().flush();
    exit_soon(code);
    attached.finish(code);
    let transport = link.into_transport();
    if all_alive && transport.is_whole() {
        transport.finalize();
    } else {
        transport.abandon();
    }
    signal_hook::low_level::exit(i32::from(code))
}

/// A replacement gets the arguments of the one whose place it takes.
fn respawn(args: &Args, ranks: u32) -> Respawn {
    // What is not text is a command of `-c`, which is not for servers.
    let own: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    Respawn {
        automatic: !args.no_respawn,
        arguments: Box::new(move |rank| {
            let place = ["--replaces".to_owned(), format!("{rank}/{ranks}")];
            own.iter().cloned().chain(place).collect()
        }),
    }
}

fn on_order(order: Order, desk: Option<&Desk>, attachment: Option<&Attachment>) {
    match order {
        // What the person at the prompt is doing is broken off; the others are told to leave.
        Order::Leave | Order::Interrupt => {
            if let Some(desk) = desk {
                desk.quit();
                thread::sleep(EXIT_DEADLINE / 2);
            }
            let code = if order == Order::Interrupt { 130 } else { 143 };
            if let Some(attachment) = attachment {
                attachment.break_off(code);
            }
            signal_hook::low_level::exit(i32::from(code));
        }
        Order::Orphaned => {}
    }
}

/// A panic in any thread of rank 0 ends the cluster: the screen first, then the message.
fn break_off_on_panic(attached: &Attachment) {
    let attached = attached.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        attached.break_off(101);
        before(info);
        signal_hook::low_level::exit(101);
    }));
}
