//! Golden transcripts: one situation a file, named like a sentence, in the common notation.
//!
//! `n1@3 → n2 Prepare op=7` is a message that node 1, in view 3, sends to node 2; `⇥` is one that a cut link
//! swallows; `⇨` a change of role. Heartbeats and announcements are left out. Every transcript also runs all
//! invariants of the simulator after every step. Run with `UPDATE_GOLDENFILES=1` to write them anew, and
//! read what changed.

use goldenscript::{Command, Context, Runner};
use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;
use understudy::check::{Verdict, check};
use understudy::core::disk::Fsync;
use understudy::core::fault::Control;
use understudy::core::node::Setup;
use understudy::core::protocol::{Config, CrashPoint, Event, METADATA, Outcome, Rank};
use understudy::core::store::{self, Bytes};
use understudy::sim::{Recall, What, World};

/// Waiting commands give up after this much virtual time.
const SETTLE_MAX: Duration = Duration::from_secs(7);

#[derive(Default)]
struct Stage {
    world: Option<World>,
    /// Show single applied writes.
    detail: bool,
}

impl Stage {
    fn world(&mut self) -> Result<&mut World, Box<dyn Error>> {
        self.world.as_mut().ok_or_else(|| "say `servers N` first".into())
    }

    fn told(&mut self) -> String {
        let detail = self.detail;
        let Some(world) = &mut self.world else { return String::new() };
        let mut text = String::new();
        for happening in world.take_happenings() {
            let hidden = match &happening.what {
                What::Told(Event::Applied { .. }) => !detail,
                // The script itself says what was done.
                What::Done(_) => true,
                _ => false,
            };
            if !hidden && !happening.is_background() {
                let _ = writeln!(text, "{happening}");
            }
        }
        if let Some(violation) = world.violation() {
            let _ = writeln!(text, "VIOLATED {violation}");
        }
        text
    }

    fn start(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let servers: u32 = args.next_pos().ok_or("how many?")?.parse()?;
        let mut config = Config::new(servers);
        config.clients = args.take_key("clients").map_or(Ok(0), str::parse)?;
        config.replicas = args.take_key("replicas").map_or(Ok(servers), str::parse)?;
        if let Some(idle) = args.take_key("idle") {
            config.timing.idle = duration(idle)?;
        }
        if let Some(name) = args.take_key("without") {
            config.rules.set(name.parse()?, false);
        }
        let recover_after = args.take_key("recover").map(duration).transpose()?;
        let disks = match args.take_key("disks") {
            None => None,
            Some("always") => Some(Fsync::Always),
            Some("no") => Some(Fsync::Never),
            Some(other) => return Err(format!("no disks {other}").into()),
        };
        let raw = args.take_key("formed").is_some_and(|formed| formed == "no");
        let seed = args.take_key("seed").map_or(Ok(1), str::parse)?;
        let mut world = World::new(Setup { config, seed, failure_rate: 0.0, recover_after, observe: false });
        if let Some(fsync) = disks {
            world.add_disks(fsync);
        }
        if raw {
            world.record(Recall::Everything);
        } else {
            let primary = Rank(1);
            world.run_until(SETTLE_MAX, |w| {
                w.servers()[&primary].server().is_some_and(|server| server.serves_reads(w.now()))
            });
            world.run_for(Duration::from_millis(5));
            world.record(Recall::Everything);
        }
        self.world = Some(world);
        Ok(String::new())
    }

    fn status(&mut self) -> Result<String, Box<dyn Error>> {
        let world = self.world()?;
        let mut text = world.view_now().map_or_else(|| "no view\n".to_owned(), |view| format!("{view}\n"));
        for host in world.servers().values() {
            let rank = host.rank();
            let _ = match host.server() {
                None => writeln!(text, "server {rank} down"),
                Some(server) => writeln!(
                    text,
                    "server {rank} {}{} incarnation {} commit {} op {} keys {}{}",
                    server.role(),
                    if host.is_paused() { " (paused)" } else { "" },
                    server.member().incarnation,
                    server.store().op(),
                    server.op(),
                    server.store().len(),
                    if server.serves_reads(world.now()) { ", serves" } else { "" },
                ),
            };
        }
        Ok(text)
    }

    fn operations(&mut self) -> Result<String, Box<dyn Error>> {
        let mut text = String::new();
        for operation in self.world()?.history() {
            let outcome = match &operation.outcome {
                Outcome::Done(reply) => reply.to_string(),
                Outcome::Unknown => "(unknown)".to_owned(),
            };
            let _ = writeln!(text, "c{}#{} {} → {outcome}", operation.client, operation.seq, operation.command);
        }
        Ok(text)
    }

    fn judge(&mut self) -> Result<String, Box<dyn Error>> {
        let world = self.world()?;
        let verdict = match check(world.history()) {
            Verdict::Ok => "linearizable".to_owned(),
            Verdict::Unknown => "unknown".to_owned(),
            Verdict::Failed(_) => "NOT linearizable".to_owned(),
        };
        Ok(world.violation().map_or(verdict, |violation| format!("VIOLATED {violation}")))
    }

    fn control(&mut self, to: Rank, control: &Control) -> Result<String, Box<dyn Error>> {
        self.world()?.control(to, control)?;
        Ok(self.told())
    }

    fn submit(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let client: u32 = args.take_key("client").map_or(Ok(0), str::parse)?;
        let mut next = || args.next_pos().map(Bytes::from).ok_or("too few words");
        let wanted = match command.name.as_str() {
            "get" => store::Command::Get { key: next()? },
            "put" => store::Command::Put { key: next()?, value: next()? },
            "add" => store::Command::Add { key: next()?, value: next()? },
            "update" => store::Command::Update { key: next()?, value: next()? },
            "delete" => store::Command::Delete { key: next()? },
            "append" => store::Command::Append { key: next()?, value: next()? },
            "incr" => store::Command::Incr { key: next()? },
            _ => store::Command::Count,
        };
        self.world()?.submit(Rank(client), wanted);
        Ok(self.told())
    }

    fn settle(&mut self) -> Result<String, Box<dyn Error>> {
        let world = self.world()?;
        let clients = world.clients();
        world.run_until(SETTLE_MAX, |w| clients.iter().all(|rank| w.front(*rank).client().outstanding() == 0));
        Ok(self.told())
    }
}

fn duration(text: &str) -> Result<Duration, Box<dyn Error>> {
    let millis = text.strip_suffix("ms").ok_or("give a duration such as 5ms")?;
    Ok(Duration::from_secs_f64(millis.parse::<f64>()? / 1e3))
}

impl Runner for Stage {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut rank = || -> Result<Rank, Box<dyn Error>> { Ok(Rank(args.next_pos().ok_or("which?")?.parse()?)) };
        match command.name.as_str() {
            "servers" => self.start(command),
            "get" | "put" | "add" | "update" | "delete" | "append" | "incr" | "count" => self.submit(command),
            "run" => {
                let wanted = duration(args.next_pos().ok_or("how long?")?)?;
                self.world()?.run_for(wanted);
                Ok(self.told())
            }
            // As `run`, without telling what happened.
            "pass" => {
                let wanted = duration(args.next_pos().ok_or("how long?")?)?;
                self.world()?.run_for(wanted);
                self.told();
                Ok(String::new())
            }
            "settle" => self.settle(),
            "status" => self.status(),
            "operations" => self.operations(),
            "judge" => self.judge(),
            "detail" => {
                self.detail = true;
                Ok(String::new())
            }
            "crash" => self.control(rank()?, &Control::Crash),
            "recover" => self.control(rank()?, &Control::Recover),
            "pause" => self.control(rank()?, &Control::Pause),
            "resume" => self.control(rank()?, &Control::Resume),
            "swap" => self.control(rank()?, &Control::Swap),
            "reset" => self.control(METADATA, &Control::Reset),
            "cut" | "mend" => {
                let (a, b) = (rank()?, rank()?);
                let cut = command.name == "cut";
                let oneway = args.next_pos() == Some("oneway");
                let mut text = self.control(a, &Control::Cut { peer: b, cut })?;
                if !oneway {
                    text += &self.control(b, &Control::Cut { peer: a, cut })?;
                }
                Ok(text)
            }
            // From now on the disk of a rank is this many times slower.
            "disk" => {
                let (at, pace) = (rank()?, args.next_pos().ok_or("how slow?")?.parse()?);
                self.world()?.set_disk_pace(at, pace);
                Ok(String::new())
            }
            // Everything stops at once, and starts again with what is on the disks.
            "kill-all" | "power-cut" => {
                self.world()?.lose_everything(command.name == "power-cut", None);
                Ok(self.told())
            }
            "reorder" => {
                let (at, probability) = (rank()?, args.next_pos().ok_or("how often?")?.parse()?);
                self.control(at, &Control::Reorder { probability })
            }
            "arm" => {
                let at = rank()?;
                let point = match args.next_pos() {
                    Some("arrival") => CrashPoint::Arrival,
                    Some("before-prepare") => CrashPoint::BeforePrepare,
                    Some("after-prepare") => CrashPoint::AfterPrepare,
                    Some("before-reply") => CrashPoint::BeforeReply,
                    _ => return Err("arrival, before-prepare, after-prepare or before-reply?".into()),
                };
                self.world()?.server_mut(at).arm(point);
                Ok(String::new())
            }
            other => Err(format!("no command {other}").into()),
        }
    }
}

#[test]
fn transcripts_are_as_they_were() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir).expect("tests/transcripts is there").flatten().collect();
    paths.sort_by_key(std::fs::DirEntry::path);
    assert!(paths.len() >= 30, "only {} transcripts", paths.len());
    for path in paths {
        println!("{}", path.path().display());
        goldenscript::run(&mut Stage::default(), path.path()).expect("the transcript is readable");
    }
}
