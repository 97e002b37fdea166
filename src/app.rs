//! Puts the rooms together: what runs on which rank, in which thread.
//!
//! ```text
//! rank 0   main thread: MPI, client, metadata server (driver::console_rank)
//!            ▲ Desk                      │ News
//!          prompt thread (console)     dashboard thread (dashboard), or events on stderr
//! rank N   main thread: MPI and the server (driver::server_rank)
//! ```

use crate::args::{Args, RecoverAfter, ThemeName, Tool};
use crate::bench;
use crate::console::keys::KEYS;
use crate::console::{
    ExitStatus, Knowledge, Picture, PrintHandle, PromptConfig, ServerPicture, Session, Sight, Standing, run_commands,
    run_lines, run_prompt,
};
use crate::dashboard::{self, KeyHint, Model, Notice, Painter, Stage, State, Theme, lock};
use crate::driver::console_rank::{ConsoleRank, News};
use crate::driver::log::Log;
use crate::driver::{Desk, FrontHost, Link, Setup, clock, server_rank};
use crate::fault::Control;
use crate::launch::{self, Attachment, Order, ParentWatch};
use crate::protocol::{Config, METADATA, Rank, Timing};
use crate::store::Bytes;
use crate::transport::mpi::MpiTransport;
use crate::transport::wire::{Start, encode};
use crate::transport::{Doorbell, Packet, Transport};
use crossbeam_channel::Sender;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// After the goodbye a rank that still hangs in MPI is ended.
const EXIT_DEADLINE: Duration = Duration::from_millis(400);
/// Lines of the transcript that are drawn anew when the window changes its size.
const TRANSCRIPT_TAIL_LINES: usize = 40;
/// Keys offered by completion come from the screen: at most this many.
const COMPLETIONS_MAX: usize = 200;

/// Runs this process as the rank that it is.
#[must_use]
pub fn run_rank(args: &Args) -> ExitCode {
    let first = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"].iter().find_map(|name| std::env::var(name).ok());
    match &args.tool {
        _ if first.as_deref() != Some("0") => run_server(args),
        Some(Tool::Bench(wanted)) => bench::rank::run(args, wanted),
        None => run_console(args),
    }
}

pub(crate) fn setup(args: &Args, ranks: u32, start: &Start) -> Setup {
    let mut config = Config::new(ranks - 1);
    config.timing = Timing::at_pace(args.pace);
    Setup {
        config,
        seed: start.seed,
        failure_rate: args.failure_rate,
        recover_after: match args.recover_after {
            RecoverAfter::Seconds(seconds) => Some(Duration::from_secs_f64(seconds)),
            RecoverAfter::Never => None,
        },
        observe: start.observe,
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
    let watch = ParentWatch::new();
    let _ = launch::block_terminal_signals();
    let _ = watch.exit_when_orphaned();
    let mut transport = match MpiTransport::init() {
        Ok(transport) => transport,
        Err(error) => return fail(&error.to_string()),
    };
    let is_orphan = || !watch.parent_is_alive();
    let start = match server_rank::wait_for_start(&mut transport, &is_orphan) {
        Ok(start) => start,
        Err(error) => return fail(&error),
    };
    let host = host_name();
    if start.host == host {
        watch.rank_zero_is(start.pid);
    }
    let rank = transport.rank();
    let doorbell = match Doorbell::open(job_number(&start), rank, transport.ranks()) {
        Ok(doorbell) => doorbell,
        Err(error) => return fail(&format!("no doorbell: {error}")),
    };
    let log = Log::create(launch::job_dir(args).ok().as_deref(), rank, clock::now());
    let setup = setup(args, transport.ranks(), &start);
    let mut link = Link::new(transport, doorbell);
    link.push(METADATA, &Packet::Hello { pid: std::process::id(), host });
    match server_rank::run(&mut link, server_rank::host(rank, setup), log, &is_orphan) {
        server_rank::Ended::Told => {
            exit_soon(0);
            link.into_transport().finalize();
            ExitCode::SUCCESS
        }
        server_rank::Ended::Orphaned => {
            link.into_transport().abandon();
            signal_hook::low_level::exit(1)
        }
    }
}

pub(crate) fn fail(why: &str) -> ExitCode {
    eprintln!("understudy: {why}");
    ExitCode::FAILURE
}

// ---- console -----------------------------------------------------------------------------------

fn run_console(args: &Args) -> ExitCode {
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

    // The screen comes up while MPI does.
    let now = clock::now();
    let seed = args.seed.unwrap_or_else(random_seed);
    let model = Arc::new(Mutex::new(Model::new(
        dashboard::Setup { servers: args.servers, seed, failure_rate: args.failure_rate, animated: !args.no_animation },
        now,
    )));
    let painter = match screen.then(|| enter_screen(args)).transpose() {
        Ok(painter) => painter,
        Err(error) => return fail(&format!("the terminal cannot be drawn on: {error}")),
    };
    let mut transport = match MpiTransport::init() {
        Ok(transport) => transport,
        Err(error) => return fail(&error.to_string()),
    };
    let ranks = transport.ranks();
    if ranks < 2 {
        attached.break_off(1);
        return fail(
            "there is no server: start it without mpirun, or with at least two ranks (mpirun -n 3 understudy)",
        );
    }
    lock(&model).setup.servers = ranks - 1;

    let start = Start { seed, pid: std::process::id(), host: host_name(), observe: true };
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

    let front = FrontHost::new(METADATA, std::process::id(), &setup(args, ranks, &start));
    let log = Log::create(launch::job_dir(args).ok().as_deref(), METADATA, clock::now());
    let (notices, noticed) = dashboard::channel();
    let knowledge = Arc::new(ModelKnowledge { model: Arc::clone(&model) });
    let console = Console {
        desk: the_desk,
        knowledge,
        history: launch::state_dir(args).join("history"),
        mono: is_mono(args),
        commands: args.command.clone(),
    };
    let mut link = Link::new(transport, doorbell);
    let code: u8;
    let all_alive: bool;
    if let Some(painter) = painter {
        let (region, region_ready) = crossbeam_channel::bounded::<PrintHandle>(1);
        let stage = stage(args, Arc::clone(&model), region_ready);
        let drawing =
            thread::Builder::new().name("dashboard".into()).spawn(move || dashboard::run(&noticed, stage, painter));
        let prompting = console.start_prompt(region, notices.clone());
        let news = forward(notices.clone());
        let rank = ConsoleRank::new(&mut link, front, asks, log, host_name(), true, Box::new(news));
        all_alive = rank.run();
        code = prompting.and_then(|prompt| prompt.join().map_err(|_| io::Error::other("panic"))).unwrap_or(1);
        let _ = notices.send(Notice::Quit);
        if let Ok(drawing) = drawing {
            let _ = drawing.join();
        }
    } else {
        let reading = console.start_lines();
        let fold = Arc::clone(&model);
        let news = move |news| tell_stderr(&fold, news);
        let rank = ConsoleRank::new(&mut link, front, asks, log, host_name(), false, Box::new(news));
        all_alive = rank.run();
        code = reading.and_then(|lines| lines.join().map_err(|_| io::Error::other("panic"))).unwrap_or(1);
    }
    let _ = io::stdout().flush();
    exit_soon(code);
    attached.finish(code);
    if all_alive {
        link.into_transport().finalize();
    } else {
        link.into_transport().abandon();
    }
    signal_hook::low_level::exit(i32::from(code))
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

fn random_seed() -> u64 {
    // Short enough to be read out in a classroom.
    let nanos = clock::now().0 ^ u64::from(std::process::id()) << 20;
    nanos.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44
}

fn is_mono(args: &Args) -> bool {
    args.theme == ThemeName::Mono || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn is_ascii(args: &Args) -> bool {
    let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_none_or(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
    args.ascii || !utf8 || std::env::var_os("TERM").is_some_and(|term| term == "linux")
}

fn enter_screen(args: &Args) -> io::Result<Painter<io::Stdout>> {
    let _ = args;
    let (cols, rows) = dashboard::terminal_size().unwrap_or((80, 24));
    Painter::enter(io::stdout(), cols, rows)
}

fn stage(args: &Args, model: Arc<Mutex<Model>>, printer: crossbeam_channel::Receiver<PrintHandle>) -> Stage {
    let theme = Theme::new(if is_mono(args) { ThemeName::Mono } else { args.theme }, is_ascii(args));
    let mut print: Option<PrintHandle> = None;
    Stage {
        model,
        theme,
        keys: Box::new(key_bar),
        clock: Box::new(clock::now),
        size: Box::new(dashboard::terminal_size),
        region: Box::new(move |text| {
            print = print.take().or_else(|| printer.try_recv().ok());
            if let Some(print) = &print {
                let tail = print.recent(TRANSCRIPT_TAIL_LINES).join("\r\n");
                print.print(text + &tail);
            }
        }),
    }
}

/// The keys, dimmed when they could do nothing now.
fn key_bar(model: &Model) -> Vec<KeyHint> {
    let picture = picture(model);
    let down = picture.servers_that(Standing::is_down).next().is_some();
    let paused = picture.servers_that(|standing| standing == Standing::Paused).next().is_some();
    KEYS.iter()
        .map(|key| {
            let enabled = match key.function {
                4 => down,
                3 | 5 => picture.primary.is_some(),
                6 | 7 => picture.primary.is_some() && !picture.backups.is_empty() || !picture.cuts.is_empty(),
                8 => picture.primary.is_some() || paused,
                _ => true,
            };
            KeyHint::new(key.name(), key.label).enabled(enabled)
        })
        .collect()
}

struct Console {
    desk: Desk,
    knowledge: Arc<ModelKnowledge>,
    history: PathBuf,
    mono: bool,
    commands: Vec<String>,
}

impl Console {
    fn start_prompt(self, region: Sender<PrintHandle>, notices: Sender<Notice>) -> io::Result<thread::JoinHandle<u8>> {
        let (redraw, redraws) = crossbeam_channel::bounded(4);
        let redrawing = notices.clone();
        let _ = thread::Builder::new().name("redraw".into()).spawn(move || {
            for () in redraws {
                let _ = redrawing.send(Notice::Redraw);
            }
        });
        thread::Builder::new().name("prompt".into()).spawn(move || {
            let desk = self.desk.clone();
            let session = Session::new(self.desk, self.knowledge, Sight::Screen);
            let status = run_prompt(PromptConfig {
                session: Arc::new(session),
                history_path: Some(self.history),
                mono: self.mono,
                printer_ready: Box::new(move |printer| {
                    let _ = region.try_send(printer);
                }),
                redraw,
                help: None,
            });
            desk.quit();
            exit_code(status)
        })
    }

    fn start_lines(self) -> io::Result<thread::JoinHandle<u8>> {
        thread::Builder::new().name("lines".into()).spawn(move || {
            let desk = self.desk.clone();
            let session = Session::new(self.desk, self.knowledge, Sight::Cluster);
            let status = if self.commands.is_empty() {
                run_lines(BufReader::new(io::stdin()), io::stdout(), &session)
            } else {
                run_commands(&self.commands, io::stdout(), &session)
            };
            desk.quit();
            exit_code(status)
        })
    }
}

fn exit_code(status: io::Result<ExitStatus>) -> u8 {
    match status {
        Ok(ExitStatus::Success) => 0,
        Ok(ExitStatus::AnsweredError) => 1,
        Err(error) => {
            eprintln!("understudy: the console ended: {error}");
            1
        }
    }
}

/// From the loop to the dashboard, without ever waiting for it.
fn forward(notices: Sender<Notice>) -> impl FnMut(News) {
    move |news| {
        let notice = match news {
            News::Observation(observation) => Notice::Observation(observation),
            News::Asked { at, command } => Notice::Asked { at, command },
            News::Answered { at, command, reply, took } => Notice::Answered { at, command, reply, took },
            News::Gone { rank } => Notice::Gone { rank },
            News::Stopped { rank, stopped } => Notice::Stopped { rank, stopped },
            News::Why(why) => Notice::Why(why),
            News::Network { rank, control } => match control {
                Control::Cut { peer, cut } => Notice::Cut { a: rank, b: peer, oneway: true, cut },
                Control::Loss { probability } => Notice::Loss { probability },
                Control::Delay { ms } => Notice::Delay { ms },
                Control::Heal if rank == METADATA => Notice::Healed,
                _ => return,
            },
        };
        let _ = notices.try_send(notice);
    }
}

/// Line mode: events go to stderr, the model is kept for those who ask it.
fn tell_stderr(model: &Mutex<Model>, news: News) {
    let mut model = lock(model);
    let now = clock::now();
    match news {
        News::Observation(observation) => {
            for (_, event) in &observation.events {
                if let Some((_, sentence)) = dashboard::model::story::sentence(observation.rank, event) {
                    let _ = writeln!(io::stderr(), "{sentence}");
                }
            }
            model.observe(now, *observation);
        }
        News::Gone { rank } => {
            let _ = writeln!(io::stderr(), "server {rank}: its process is gone");
            model.gone(now, rank);
        }
        News::Stopped { rank, stopped } => model.stopped(now, rank, stopped),
        News::Network { rank, control: Control::Cut { peer, cut } } => model.network.set_cut(rank, peer, true, cut),
        News::Network { control: Control::Heal, .. } => model.network = dashboard::model::Network::default(),
        News::Why(why) => {
            if let Some(why) = &why {
                let _ = writeln!(io::stderr(), "{why}");
            }
            model.why = why;
        }
        News::Asked { .. } | News::Answered { .. } | News::Network { .. } => {}
    }
}

/// What the console may ask of the dashboard's model.
struct ModelKnowledge {
    model: Arc<Mutex<Model>>,
}

fn picture(model: &Model) -> Picture {
    let now = clock::now();
    let standing = |state: State| match state {
        State::Dead => Standing::Dead,
        State::Down => Standing::Down,
        State::Paused => Standing::Paused,
        State::Idle | State::Starting => Standing::Idle,
        State::Joining => Standing::Joining,
        State::Backup => Standing::Backup,
        State::Primary => Standing::Primary,
    };
    let servers: Vec<ServerPicture> =
        model.roles(now).into_iter().map(|(rank, state)| ServerPicture { rank, standing: standing(state) }).collect();
    let backups =
        servers.iter().filter(|server| server.standing == Standing::Backup).map(|server| server.rank).collect();
    Picture {
        view: model.view_number(),
        primary: model.primary(),
        backups,
        servers,
        clients: Vec::new(),
        cuts: model.network.cut.iter().copied().collect(),
        failure_rate: model.failure_rate(),
    }
}

impl Knowledge for ModelKnowledge {
    fn picture(&self) -> Picture {
        picture(&lock(&self.model))
    }

    fn keys_with_prefix(&self, prefix: &[u8], limit: usize) -> Vec<Bytes> {
        let Ok(prefix) = std::str::from_utf8(prefix) else { return Vec::new() };
        let keys = lock(&self.model).known_keys(prefix);
        keys.into_iter().take(limit.min(COMPLETIONS_MAX)).map(Bytes::from).collect()
    }

    fn latency(&self) -> String {
        match lock(&self.model).latency().quantiles() {
            Some((p50, p99)) => format!("p50 {p50:.1?}  p99 {p99:.1?}  (this client, the last minute)"),
            None => "no requests yet".to_owned(),
        }
    }

    fn events(&self, count: usize) -> Vec<String> {
        let model = lock(&self.model);
        let lines: Vec<String> = model.story().lines().rev().take(count).map(|line| line.text.clone()).collect();
        lines.into_iter().rev().collect()
    }
}
