//! This process as a rank under mpirun: who does what, and how it ends.

use super::verdict::Court;
use super::{Playing, complain, enter_screen, fail, new_model, random_seed, setup};
use crate::cluster::{Desk, DoorWord, Lodger};
use crate::core::disk::{Fsync, Owner};
use crate::core::node::{FrontHost, first_life};
use crate::core::protocol::{METADATA, Member, Rank, Recovered};
use crate::core::store::{Bytes, ClientId};
use crate::disk::{Cabinet, LogFound, OpenError, Scribe, folder};
use crate::door::{Door, DoorPlan};
use crate::launch::args::{Args, BenchArgs, FsyncArg, RankPlace, Tool};
use crate::launch::{self, Attachment, Order, ParentWatch};
use crate::mpi::client_rank::{self, Lodging};
use crate::mpi::end::Ended;
use crate::mpi::log::Log;
use crate::mpi::spare::{self, Waited};
use crate::mpi::transport::deathwatch::{self, DeathWatch};
use crate::mpi::transport::doorbell::Ringer;
#[cfg(target_os = "linux")]
use crate::mpi::transport::keeper;
use crate::mpi::transport::mpi::MpiWorld;
use crate::mpi::transport::offspring::{Offspring, settle_in};
use crate::mpi::transport::wire::{Start, encode};
use crate::mpi::transport::{Doorbell, Mesh, Packet, Process, Transport};
use crate::mpi::{ConsoleRank, Link, Respawn, clock, server_rank};
use crate::ui::dashboard::lock;
use rustix::fd::OwnedFd;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// After the goodbye a rank that still hangs in MPI is ended.
const EXIT_DEADLINE: Duration = Duration::from_millis(400);

/// The beginning of 2026. Where nobody knows how often a cluster was started, the minutes since then are counted.
const RUNS_BEGIN_UNIX_MS: u64 = 1_767_225_600_000;
const MINUTE_MS: u64 = 60_000;
/// A folder that is in use is looked at again for this long, this often.
const FOLDER_PATIENCE: Duration = Duration::from_secs(3);
const FOLDER_AGAIN: Duration = Duration::from_millis(2);

/// Where random numbers come from that nobody can guess.
const RANDOM: &str = "/dev/urandom";

/// Runs this process as the rank that it is; `bench` is what rank 0 does instead of opening the console when a
/// measurement was asked for.
#[must_use]
pub fn run_rank(args: &Args, bench: fn(&Args, &BenchArgs) -> ExitCode) -> ExitCode {
    if let Some(why) = launch::left_over() {
        return fail(&why);
    }
    let first = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"].iter().find_map(|name| std::env::var(name).ok());
    match &args.tool {
        _ if first.as_deref() != Some("0") => run_server(args),
        Some(Tool::Bench(wanted)) => bench(args, wanted),
        _ => run_console(args),
    }
}

/// Runs this process in the place of a dead one: a child of rank 0, and no process of MPI.
#[must_use]
pub fn run_replacement(args: &Args, place: RankPlace) -> ExitCode {
    let _ = launch::block_terminal_signals();
    let socket = match settle_in() {
        Ok(socket) => socket,
        Err(error) => return fail(&error.to_string()),
    };
    let logs = launch::job_dir(args).ok();
    ExitCode::from(serve(args, logs.as_deref(), &|_| {}, Origin::Child(Rank(place.rank), socket)))
}

/// Whether the ranks run on more than one host, as far as MPI says.
fn several_hosts(args: &Args) -> bool {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    match (number("OMPI_COMM_WORLD_LOCAL_SIZE"), number("OMPI_COMM_WORLD_SIZE")) {
        (Some(here), Some(all)) => here < all,
        _ => args.hostfile.is_some(),
    }
}

/// What rank 0 has when all others have been told how to start.
pub(crate) struct Begun {
    pub(crate) mesh: Mesh,
    pub(crate) doorbell: Doorbell,
    pub(crate) start: Start,
    /// `None` where the kernel has none: then deaths are suspected.
    pub(crate) deathwatch: Option<DeathWatch>,
}

/// Tells the ranks of this world how to start. This many of its processes, the last ones, are spares.
///
/// # Errors
/// When something is missing for that.
pub(crate) fn begin(
    args: &Args,
    world: MpiWorld,
    spares: u32,
    seed: u64,
    observe: bool,
    disks: Option<(u64, u64)>,
    door: Option<SocketAddr>,
) -> Result<Begun, String> {
    let together = world.size();
    let mut token = [0; 16];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut token))
        .map_err(|error| format!("no random numbers: {RANDOM}: {error}"))?;
    let mut start = Start {
        seed,
        pid: std::process::id(),
        host: host_name(),
        observe,
        ranks: together - spares,
        together,
        several_hosts: several_hosts(args),
        token: u128::from_le_bytes(token),
        process: Process(METADATA.0),
        rank: METADATA,
        incarnation: first_life(disks.map_or(0, |(_, run)| run)),
        places: Vec::new(),
        deathwatch: None,
        disks,
        door,
    };
    let doorbell =
        Doorbell::open(start.job().number, start.process, together).map_err(|error| format!("no doorbell: {error}"))?;
    let deathwatch = doorbell.ringer(start.process).and_then(DeathWatch::create).ok();
    start.deathwatch = deathwatch.as_ref().map(DeathWatch::number);
    let mut mesh = Mesh::of_world(world);
    mesh.join(start.process, start.job(), together);
    for process in 1..together {
        let frame = encode(&Packet::Start(Box::new(start.for_process(Process(process)))), Vec::new());
        if mesh.send(Rank(process), frame).is_err() {
            return Err("MPI takes no messages".to_owned());
        }
    }
    Ok(Begun { mesh, doorbell, start, deathwatch })
}

/// Something that only processes on one machine, able to see each other's pids, share.
pub(crate) fn host_name() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), pids.display())
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
    // Named after mpirun, which is this process's parent, but not that of a rank that is kept.
    let logs = launch::job_dir(args).ok();
    #[cfg(target_os = "linux")]
    if several_hosts(args) {
        return keeper::keep(|keeper| {
            serve(args, logs.as_deref(), &|rank_zero| keeper.has_started(rank_zero), Origin::World)
        });
    }
    ExitCode::from(serve(args, logs.as_deref(), &|_| {}, Origin::World))
}

/// How this process has come to be.
enum Origin {
    /// mpirun has started it, together with the others.
    World,
    /// Rank 0 has, to be this rank; that is the way to it.
    Child(Rank, OwnedFd),
}

/// A rank other than 0, or a spare, from beginning to end.
fn serve(args: &Args, logs: Option<&Path>, has_started: &dyn Fn(Option<u32>), origin: Origin) -> u8 {
    let alone = launch::alone();
    let watch = ParentWatch::new();
    let _ = watch.exit_when_orphaned();
    let mut mesh = match origin {
        Origin::Child(rank, socket) => Mesh::of_child(rank, socket),
        Origin::World => match MpiWorld::init() {
            Ok(world) => Mesh::of_world(world),
            Err(error) => return complain(&error.to_string()),
        },
    };
    if args.replaces.is_none() && mesh.ranks() < 2 {
        let code = complain(&alone);
        exit_soon(code);
        if let Some(world) = mesh.into_world() {
            world.finalize();
        }
        return code;
    }
    let is_orphan = || !watch.parent_is_alive();
    let (mut start, mut early) = match spare::wait_for_start(&mut mesh, &is_orphan) {
        Ok(Waited::Start(start, early)) => (start, early),
        Ok(Waited::Leave) => return leave(mesh, Ended::Told),
        Ok(Waited::Orphaned) => return leave(mesh, Ended::Orphaned),
        Err(error) => return complain(&error),
    };
    let host = host_name();
    let rank_zero = (start.host == host).then_some(start.pid);
    if let Some(pid) = rank_zero {
        watch.rank_zero_is(pid);
        watch.launcher_is_here();
    }
    has_started(rank_zero);
    // Without a lock there its death is suspected instead.
    if let (Some(pid), Some(number)) = (rank_zero, start.deathwatch) {
        let _ = deathwatch::hold(pid, number, start.process);
    }
    mesh.join(start.process, start.job(), start.together);
    let mut addresses = match mesh.take_place(&start) {
        Ok(addresses) => addresses,
        Err(error) => return complain(&format!("nobody can come: {error}")),
    };
    let mut doorbell = match Doorbell::open(start.job().number, start.process, mesh.ranks()) {
        Ok(doorbell) => doorbell,
        Err(error) => return complain(&format!("no doorbell: {error}")),
    };
    let hello = |addresses| Packet::Hello { pid: std::process::id(), host: host.clone(), addresses };
    if start.is_for_a_spare() {
        let _ = mesh.send(METADATA, encode(&hello(Vec::new()), Vec::new()));
        match spare::sleep(&mut mesh, &doorbell, !start.several_hosts, &is_orphan) {
            Waited::Start(place, behind) => (start, early) = (place, behind),
            Waited::Leave => return leave(mesh, Ended::Told),
            Waited::Orphaned => return leave(mesh, Ended::Orphaned),
        }
        addresses = mesh.take_place(&start).unwrap_or_default();
    }
    start.places.iter().for_each(|place| doorbell.place(place.rank, place.process));
    let log = Log::create(logs, start.rank, clock::now());
    let mut setup = setup(args, start.ranks.max(2 + args.client_ranks()), start.seed, start.observe);
    setup.config.unix_ms = clock::unix_ms_at_zero();
    let is_client = start.rank.0 > setup.config.servers;
    let run = start.disks.map(|(_, run)| run);
    let disk = match disk_of_server(args, &start, is_client, &doorbell) {
        Ok(disk) => disk,
        Err(why) => return complain(&why),
    };
    // Before anybody hears that this rank is there.
    let lodging = further_door(args, &start);
    let mut link = Link::new(mesh, doorbell);
    link.put_back(early);
    link.push(METADATA, &hello(addresses));
    let ended = if is_client {
        let lodging = lodging.transpose().unwrap_or_else(|why| {
            // Nobody is to wait for its answers.
            let packet = Packet::Door(DoorWord::Shut { why });
            further_doors(args, start.ranks).chain([METADATA]).for_each(|door| link.push(door, &packet));
            None
        });
        let host = FrontHost::new(start.rank, std::process::id(), &setup);
        let host = match run {
            Some(run) => host.with_disk(&setup, run, Recovered::default(), false),
            None => host,
        };
        client_rank::run(&mut link, host, lodging, log, &is_orphan)
    } else {
        let me = Member { rank: start.rank, incarnation: start.incarnation };
        server_rank::run(&mut link, me, setup, disk, log, &is_orphan)
    };
    leave(link.into_transport(), ended)
}

/// The disk of a server, if it is to have one: its thread opens it.
fn disk_of_server(args: &Args, start: &Start, is_client: bool, doorbell: &Doorbell) -> Result<Option<Scribe>, String> {
    let (Some(data), Some((cluster, _)), false) = (&args.data, start.disks, is_client) else { return Ok(None) };
    let owner = Owner { cluster, rank: start.rank };
    let ringer = doorbell.ringer(start.process).map_err(|error| format!("no doorbell: {error}"))?;
    let (folder, fsync, is_brittle) = (folder::of_rank(data, owner.rank), args.fsync.into(), args.brittle_disks);
    let open = move |progress: &mut dyn FnMut(u64, u64)| {
        let opened = open_disk(&folder, owner, fsync, progress);
        opened.map(|(cabinet, found)| (cabinet.with_brittle_disk(is_brittle), found))
    };
    let scribe = Scribe::opening(open, move || ringer.ring());
    scribe.map(Some).map_err(|error| format!("no thread for the disk: {error}"))
}

/// Opens the log of a server.
fn open_disk(
    folder: &Path,
    owner: Owner,
    fsync: Fsync,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Cabinet, LogFound), String> {
    let begun = clock::now();
    // Whose place this process takes is dead already, but the kernel may still be closing its files.
    loop {
        match Cabinet::open_and_tell(folder, owner, fsync, progress) {
            Err(OpenError::InUse(_)) if clock::now().since(begun) < FOLDER_PATIENCE => {
                std::thread::sleep(FOLDER_AGAIN);
            }
            opened => return opened.map_err(|error| error.to_string()),
        }
    }
}

/// The end of a rank. MPI ends the orderly way only when everybody is there for it.
fn leave(mesh: Mesh, ended: Ended) -> u8 {
    match mesh.into_world() {
        Some(world) if ended == Ended::Told && world.is_whole() => {
            exit_soon(0);
            world.finalize();
            return 0;
        }
        Some(world) => world.abandon(),
        None => {}
    }
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
    let is_service = args.is_service();
    let attached = launch::attach(args, move |order| on_order(order, is_service, orders.0.get(), orders.1.get()));
    let attached = match attached {
        Ok(attached) => attached,
        Err(error) => return fail(&error.to_string()),
    };
    let _ = attachment.set(attached.clone());
    break_off_on_panic(&attached);
    let screen = attached.stdin_is_terminal()
        && attached.stdout_is_terminal()
        && !launch::asks_for_line_mode(args)
        && !is_service;

    let Belongings { door, court, disk: opened } = match Belongings::open(args) {
        Ok(belongings) => belongings,
        Err(why) => {
            attached.break_off(1);
            return fail(&why);
        }
    };

    // The screen comes up while MPI does.
    let now = clock::now();
    let seed = args.seed.unwrap_or_else(random_seed);
    let model = Arc::new(Mutex::new(new_model(args, seed, now)));
    let painter = match screen.then(enter_screen).transpose() {
        Ok(painter) => painter,
        Err(error) => return fail(&format!("the terminal cannot be drawn on: {error}")),
    };
    let world = match attached.with_stderr_in_the_log(MpiWorld::init) {
        Ok(world) => world,
        Err(error) => return fail(&error.to_string()),
    };
    let client_ranks = args.client_ranks();
    let spares = launch::spares(args).min(world.size().saturating_sub(2 + client_ranks));
    let ranks = world.size() - spares;
    if ranks < 2 + client_ranks {
        attached.break_off(1);
        return fail(&alone);
    }
    lock(&model).setup.servers = ranks - 1 - client_ranks;
    court.expect((ranks - client_ranks..ranks).map(ClientId::on));

    // Which ranks the others have is not known before MPI is.
    let door = door.map(|door| door.among(further_doors(args, ranks)));
    let at = door.as_ref().map(Door::address);
    let disks = opened.as_ref().map(|(cabinet, found)| (cabinet.owner().cluster, found.had.run));
    let Begun { mesh, doorbell, start, deathwatch } = match begin(args, world, spares, seed, true, disks, at) {
        Ok(begun) => begun,
        Err(why) => return fail(&why),
    };
    let ringer = match doorbell.ringer(start.process) {
        Ok(ringer) => ringer,
        Err(error) => return fail(&format!("no doorbell: {error}")),
    };
    let (front, disk) = match front(args, ranks, &start, opened, &ringer) {
        Ok(front) => front,
        Err(why) => return fail(&why),
    };
    let mesh = mesh.with_offspring(offspring(args, ringer.clone()));
    let (the_desk, asks) = Desk::waking(move || ringer.ring());
    let _ = desk.set(the_desk.clone());
    attached.report_pids(&[std::process::id()]);

    let log = Log::create(launch::job_dir(args).ok().as_deref(), METADATA, clock::now());
    let mut link = Link::new(mesh, doorbell);
    if let Some(at) = at {
        the_desk.note(format!("the door is open at {at}"));
    }
    let mut all_alive = false;
    let play = Playing {
        args,
        desk: the_desk,
        model,
        painter,
        court,
        clock: Arc::new(clock::now),
        is_simulated: false,
        tour: None,
    };
    let code = play.run(|news, drawn| {
        all_alive = ConsoleRank::new(&mut link, front, asks, log, start, drawn, news)
            .with_respawn(respawn(args, ranks))
            .with_deathwatch(deathwatch)
            .with_disk(disk)
            .with_lodger(door.map(|door| -> Box<dyn Lodger> { Box::new(door) }))
            .with_doors(further_doors(args, ranks))
            .with_judge(is_judged(args))
            .run();
    });
    let _ = io::stdout().flush();
    exit_soon(code);
    attached.finish(code);
    end_world(link.into_transport(), all_alive);
    signal_hook::low_level::exit(i32::from(code))
}

/// What rank 0 opens before MPI starts: whatever is in the way is told while nothing runs yet.
struct Belongings {
    door: Option<Door>,
    court: Court,
    disk: Option<(Cabinet, LogFound)>,
}

impl Belongings {
    fn open(args: &Args) -> Result<Self, String> {
        let (door, court) = (door(args)?, Court::open(args)?);
        Ok(Self { door, court, disk: args.data.as_deref().map(|data| disk_of_rank_zero(args, data)).transpose()? })
    }
}

/// What the core knows of rank 0, and its disk, if it has one.
fn front(
    args: &Args,
    ranks: u32,
    start: &Start,
    disk: Option<(Cabinet, LogFound)>,
    ringer: &Ringer,
) -> Result<(FrontHost, Option<Scribe>), String> {
    let setup = setup(args, ranks, start.seed, start.observe);
    let front = FrontHost::new(METADATA, std::process::id(), &setup);
    let Some((cabinet, found)) = disk else { return Ok((front, None)) };
    let ringer = ringer.clone();
    let scribe =
        Scribe::start(cabinet, move || ringer.ring()).map_err(|error| format!("no thread for the disk: {error}"))?;
    let always = args.fsync == FsyncArg::Always;
    Ok((front.with_disk(&setup, found.had.run, found.had, always), Some(scribe)))
}

/// The log of rank 0. What is found of the servers' logs on this host has to be of the same cluster.
fn disk_of_rank_zero(args: &Args, data: &Path) -> Result<(Cabinet, LogFound), String> {
    let found = folder::cluster(data).map_err(|error| error.to_string())?;
    let known = found.is_some();
    let cluster = match found {
        Some(cluster) => cluster,
        None => random_number()?,
    };
    let owner = Owner { cluster, rank: METADATA };
    // What the metadata server decides is on its disk before anybody hears of it, whatever the servers do.
    let (cabinet, mut found) =
        Cabinet::open(&folder::of_rank(data, METADATA), owner, Fsync::Always).map_err(|error| error.to_string())?;
    if known && found.had.run == 0 {
        // How often it was started is not known any more: numbers of requests and lives must be new ones all the same.
        found.had.run = clock::unix_ms_at_zero().saturating_sub(RUNS_BEGIN_UNIX_MS) / MINUTE_MS;
    }
    match &found.damage {
        Some(damage) => {
            Err(format!("{damage}: without it the last view is not known; start again, and all servers are waited for"))
        }
        None => Ok((cabinet.with_brittle_disk(args.brittle_disks), found)),
    }
}

/// A number that nobody can guess.
fn random_number() -> Result<u64, String> {
    let mut bytes = [0; 8];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| format!("no random numbers: {RANDOM}: {error}"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Whether somebody wants to know if what a door was answered is right. Without a console nobody asks, but for who
/// reads the history.
fn is_judged(args: &Args) -> bool {
    !args.is_service() || args.history.is_some()
}

/// The ranks of the doors beside that of rank 0, the last ones among these.
fn further_doors(args: &Args, ranks: u32) -> impl Iterator<Item = Rank> + use<> {
    (ranks.saturating_sub(args.door.doors)..ranks).map(Rank)
}

/// The door that the arguments ask for.
fn door(args: &Args) -> Result<Option<Door>, String> {
    let Some(address) = args.door.address else { return Ok(None) };
    door_on(args, METADATA, address).map(Some).map_err(|error| format!("{error}: give another port"))
}

/// The door on a rank.
fn door_on(args: &Args, rank: Rank, address: SocketAddr) -> Result<Door, String> {
    launch::processes::raise_descriptor_limit_for_a_door();
    let plan = DoorPlan {
        address,
        password: args.door.password()?.map(Bytes::from),
        max_memory: args.max_memory.unwrap_or(0),
        rank,
        is_shared: args.door.doors > 0,
    };
    Door::open(plan, clock::now()).map_err(|error| format!("no door at {address}: {error}"))
}

/// The door on this rank, if there is to be one.
fn further_door(args: &Args, start: &Start) -> Option<Result<Lodging, String>> {
    let address = start.door?;
    further_doors(args, start.ranks).find(|rank| *rank == start.rank)?;
    let all = || further_doors(args, start.ranks).chain([METADATA]);
    let door = door_on(args, start.rank, address).map_err(|error| match address.ip() {
        ip if ip.is_unspecified() || ip.is_loopback() || !start.several_hosts => format!("{error}: give another port"),
        _ => format!("{error}: on several hosts give --door 0.0.0.0:{}, which is each one's own", address.port()),
    });
    Some(door.map(|door| Lodging {
        address: door.address(),
        lodger: Box::new(door.among(all())),
        others: all().filter(|rank| *rank != start.rank).collect(),
        is_judged: is_judged(args),
    }))
}

/// The end of MPI at rank 0.
pub(crate) fn end_world(mesh: Mesh, all_alive: bool) {
    match mesh.into_world() {
        Some(world) if all_alive && world.is_whole() => world.finalize(),
        Some(world) => world.abandon(),
        None => {}
    }
}

/// Rank 0's children keep their logs where the others do.
fn offspring(args: &Args, ringer: Ringer) -> Offspring {
    let logs = launch::job_dir(args).ok();
    let environment = logs.iter().map(|dir| (launch::state::JOB_DIR_VARIABLE.into(), dir.into())).collect();
    let errors = logs.map(|dir| dir.join(launch::state::MPIRUN_LOG));
    Offspring::new(environment, errors, move || ringer.ring())
}

/// A replacement gets the arguments of the one whose place it takes.
fn respawn(args: &Args, ranks: u32) -> Respawn {
    // What is not text is a command of `-c`, which is not for servers.
    let own: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    Respawn {
        automatic: !args.no_respawn,
        arguments: Box::new(move |rank| {
            let place = ["--replaces".to_owned(), format!("{rank}/{ranks}")];
            // What belongs to all stands before a tool, or right behind `serve`.
            let (tool, rest) = own.split_at(usize::from(own.first().is_some_and(|word| word == "serve")));
            tool.iter().cloned().chain(place).chain(rest.iter().cloned()).collect()
        }),
    }
}

fn on_order(order: Order, is_service: bool, desk: Option<&Desk>, attachment: Option<&Attachment>) {
    match (order, desk) {
        // A service is told to end like that, and ends as if somebody had said QUIT.
        (Order::Leave | Order::Interrupt, Some(desk)) if is_service => return desk.quit(),
        _ => {}
    }
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
