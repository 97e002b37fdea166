//! The console against a cluster that is one thread and one store: what is typed, what comes back, byte
//! for byte, and which orders reach which rank.

use crossbeam_channel::Receiver;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use understudy::cluster::{Ask, ClusterStatus, Desk, Post, RankStatus, Standing};
use understudy::core::fault::Control;
use understudy::core::load::Report;
use understudy::core::protocol::{
    DiskStatus, Event, Incarnation, METADATA, Member, Rank, Reason, Time, View, ViewNumber,
};
use understudy::core::protocol::{Outcome, Rule, Rules, ViewRecord};
use understudy::core::store::{ClientId, LogEntry, OpNumber, Seq, Stamp, Store};
use understudy::ui::commands::{Action, keys, parse};
use understudy::ui::console::knowledge::{FixedKnowledge, Picture, ServerPicture};
use understudy::ui::console::{Answer, ConsoleSession, ExitStatus, Knowledge, Resolved, run_commands, run_lines};

/// How long commands on keys that start with `slow` take.
const SLOW: Duration = Duration::from_millis(600);

/// A cluster of a metadata server and servers 1 and 2, where every order is carried out at once.
#[derive(Default)]
struct Cluster {
    store: Store,
    down: BTreeMap<Rank, bool>,
    paused: BTreeMap<Rank, bool>,
    primary: Option<Rank>,
    view: u64,
    rules: Rules,
    cuts: BTreeSet<(Rank, Rank)>,
    /// Servers have disks; what was wiped has nothing on it.
    has_disks: bool,
    wiped: BTreeSet<Rank>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// A session at a fresh cluster, and the log of orders and notes that reached it.
    fn session() -> (ConsoleSession, Arc<Mutex<Vec<String>>>) {
        Self::start(false)
    }

    fn start(has_disks: bool) -> (ConsoleSession, Arc<Mutex<Vec<String>>>) {
        let (desk, asks) = Desk::new();
        let mut cluster = Cluster { primary: Some(Rank(1)), view: 1, has_disks, ..Cluster::default() };
        let log = Arc::clone(&cluster.log);
        std::thread::spawn(move || cluster.serve(&asks));
        (ConsoleSession::new(desk, Arc::new(FixedKnowledge::default()), Resolved::Cluster), log)
    }

    fn serve(&mut self, asks: &Receiver<Ask>) {
        for ask in asks {
            match ask {
                Ask::Execute { command, answer } => {
                    if command.key().is_some_and(|key| key.starts_with(b"slow")) {
                        std::thread::sleep(SLOW);
                    }
                    let outcome = if command.key().is_some_and(|key| key.starts_with(b"lost")) {
                        Outcome::Unknown
                    } else if command.is_read() {
                        Outcome::Done(self.store.read(&command))
                    } else {
                        let op = self.store.op().next();
                        let seq = Seq(op.0);
                        let acked = Seq(op.0 - 1);
                        Outcome::Done(self.store.apply(LogEntry {
                            op,
                            client: ClientId::on(0),
                            seq,
                            acked,
                            stamp: Stamp::default(),
                            command,
                        }))
                    };
                    let _ = answer.send(Ok(outcome));
                }
                Ask::Control { to, control, answer } => {
                    self.note(format!("{to}: {control:?}"));
                    let _ = answer.send(self.control(to, &control));
                }
                Ask::Kill { answer, .. } => drop(answer.send(Err("nothing to kill".into()))),
                Ask::Status { answer } => {
                    let _ = answer.send(self.status());
                }
                Ask::Load { answer } => drop(answer.send(Report::default())),
                Ask::Note { event } => match event {
                    Event::Operator { what } => self.note(format!("note: {what}")),
                    other => self.note(format!("{other:?}")),
                },
                Ask::PowerCut { late, answer } => {
                    self.note(format!("power cut, late: {late:?}"));
                    let _ = answer.send(Ok(()));
                }
                // Here time passes by itself.
                Ask::Pass { answer, .. } => drop(answer),
                Ask::ExecuteAs { .. } | Ask::Submit { .. } | Ask::Stand { .. } | Ask::Step => {}
                Ask::Fork { .. } | Ask::Switch { .. } | Ask::Rename { .. } | Ask::Branches { .. } => {}
                Ask::Underway { .. } | Ask::Meddle { .. } | Ask::Fire { .. } => {}
                Ask::Quit => return,
            }
        }
    }

    fn note(&self, line: String) {
        self.log.lock().expect("nobody panics while holding the log").push(line);
    }

    fn control(&mut self, to: Rank, control: &Control) -> Result<(), String> {
        match control {
            Control::Wipe if !self.has_disks => return Err("there is no disk".into()),
            Control::Crash | Control::Wipe => {
                if *control == Control::Wipe {
                    self.wiped.insert(to);
                }
                self.down.insert(to, true);
                self.view += 1;
                self.primary = [Rank(1), Rank(2)].into_iter().find(|rank| !self.down.contains_key(rank));
            }
            Control::Recover => drop(self.down.remove(&to)),
            Control::Rules { rules } => self.rules = *rules,
            Control::Cut { peer, cut: true } => drop(self.cuts.insert((to, *peer))),
            Control::Cut { peer, cut: false } => drop(self.cuts.remove(&(to, *peer))),
            Control::Pause => drop(self.paused.insert(to, true)),
            Control::Resume => drop(self.paused.remove(&to)),
            Control::Duplicate { .. } => return Err("refused".into()),
            _ => {}
        }
        Ok(())
    }

    fn status(&self) -> ClusterStatus {
        let member = |rank| Member { rank, incarnation: Incarnation(1) };
        let servers = [Rank(1), Rank(2)];
        let role = |rank: &Rank| match rank {
            rank if self.down.contains_key(rank) => Standing::Down,
            rank if self.paused.contains_key(rank) => Standing::Paused,
            rank if self.primary == Some(*rank) => Standing::Primary,
            _ => Standing::Backup,
        };
        let view = self.primary.map(|primary| {
            let backups = servers.into_iter().filter(|rank| *rank != primary && !self.down.contains_key(rank));
            let backups = backups.map(member).collect();
            Arc::new(View { number: ViewNumber(self.view), epoch: 0, primary: member(primary), backups })
        });
        let metadata =
            RankStatus { rank: METADATA, pid: 100, post: Post::Metadata, turns: None, silence: None, disk: None };
        let server = |rank: Rank| RankStatus {
            rank,
            pid: 100 + rank.0,
            post: Post::Server {
                standing: role(&rank),
                keys: self.store.len() as u64,
                op: self.store.op(),
                incarnation: Incarnation(1),
            },
            turns: None,
            silence: None,
            disk: self.has_disks.then(|| {
                let written = if self.wiped.contains(&rank) { OpNumber(0) } else { self.store.op() };
                DiskStatus { written, synced: OpNumber(0), bytes: 1_536, ..DiskStatus::default() }
            }),
        };
        let record = |view: &Arc<View>| ViewRecord {
            at: Time(1_000_000_000),
            view: Arc::clone(view),
            reason: Reason::PrimarySilent { primary: member(Rank(1)), silent_ms: 51 },
            asked_by: Some(Rank(2)),
        };
        ClusterStatus {
            failovers: 0,
            primary: self.primary,
            ranks: std::iter::once(metadata).chain(servers.map(server)).collect(),
            views: view.iter().map(record).collect(),
            view,
            now: Time(4_200_000_000),
            why: None,
            data_gone: false,
            has_disks: self.has_disks,
            is_simulated: true,
            rules: self.rules,
            cuts: self.cuts.clone(),
        }
    }
}

/// Another cluster at the same desk, as in a scene of the tour, has its own rules, cuts and dice.
#[test]
fn what_was_done_to_one_cluster_is_not_believed_of_another() {
    let ((session, _), (guest, _)) = (Cluster::session(), Cluster::session());
    let rule = || session.perform(&Action::Rules(Some(Rule::Sessions)));
    let is_off = |answer: Answer| matches!(answer, Answer::Text(text) if text.contains("OFF"));
    assert_eq!(session.perform(&Action::SetRule(Rule::Sessions, false)), Answer::Ok);
    assert!(is_off(rule()));
    session.desk().divert(Some(guest.desk().clone()));
    assert!(!is_off(rule()), "all rules are in force there");
    assert_eq!(session.perform(&Action::SetRule(Rule::Lease, false)), Answer::Ok);
    assert!(!is_off(rule()), "one more rule off there is one rule off");
    session.desk().divert(None);
    assert!(is_off(rule()), "and ours are as we left them");
}

/// Runs a script on a fresh cluster.
fn play(script: &[u8]) -> (Vec<u8>, ExitStatus, Vec<String>) {
    play_at(Cluster::session(), script)
}

fn play_at(
    (session, log): (ConsoleSession, Arc<Mutex<Vec<String>>>),
    script: &[u8],
) -> (Vec<u8>, ExitStatus, Vec<String>) {
    let mut out = Vec::new();
    let status = run_lines(script, &mut out, &session).expect("memory can be read and written");
    let _ = session.desk().status();
    let log = log.lock().expect("the cluster lives").clone();
    (out, status, log)
}

/// The same, as text, when all went well.
#[track_caller]
fn answers(script: &str) -> String {
    let (out, status, _) = play(script.as_bytes());
    assert_eq!(status, ExitStatus::Success, "{}", String::from_utf8_lossy(&out));
    String::from_utf8(out).expect("these answers are text")
}

/// The one error that a script is answered.
#[track_caller]
fn error(script: &str) -> String {
    let (out, status, _) = play(script.as_bytes());
    let out = String::from_utf8(out).expect("these answers are text");
    assert_eq!(status, ExitStatus::AnsweredError, "{out}");
    out.lines().find_map(|line| line.strip_prefix("(error) ")).expect("there is an error").to_owned()
}

#[test]
fn every_data_command_answers_raw() {
    assert_eq!(answers("PUT a 1\nGET a\nDELETE a\nGET a\n"), "OK\n1\n1\n(nil)\n");
    assert_eq!(
        answers("set k v\nadd k w\nupdate k x\nget k\nupdate new y\nadd new z\n"),
        "OK\n(nil)\nOK\nx\n(nil)\nOK\n"
    );
    assert_eq!(answers("del k\nappend k ab\nappend k c\nget k\ncount\n"), "0\n2\n3\nabc\n1\n");
    assert_eq!(
        answers("put b 1\nput a 1\nput user:1 1\nkeys\nkeys u*\nkeys none"),
        "OK\nOK\nOK\na\nb\nuser:1\nuser:1\n\n"
    );
    assert_eq!(answers("3 INCR n"), "1\n2\n3\n");
}

#[test]
fn any_bytes_pass_through() {
    let (out, status, _) = play(b"PUT \xff\x00k \"a\\x00\\n\\\"b\"\r\nGET \xff\x00k\nGET '\xff\x00k'\n");
    assert_eq!((out.as_slice(), status), (&b"OK\na\0\n\"b\na\0\n\"b\n"[..], ExitStatus::Success));
    assert_eq!(answers("PUT '' \"\"\nGET \"\"\nCOUNT"), "OK\n\n1\n");
}

#[test]
fn comments_and_empty_lines_say_nothing_and_the_last_line_needs_no_newline() {
    assert_eq!(answers("# a script\n\n   \n  # more\nSLEEP 0.01\nCOUNT"), "OK\n0\n");
    assert_eq!(answers(""), "");
}

#[test]
fn errors_make_the_exit_status_and_the_script_goes_on() {
    let (out, status, _) = play(b"PUT a x\nINCR a\nGET a\n");
    let expected = "OK\n(error) value is not a 64-bit integer: PUT a number first, or DELETE the key\nx\n";
    assert_eq!((String::from_utf8_lossy(&out).as_ref(), status), (expected, ExitStatus::AnsweredError));
    assert_eq!(error("GET"), "GET needs key: usage: GET key");
    assert_eq!(error("GTE a"), "unknown command 'GTE': did you mean GET? HELP lists all commands");
    assert!(error("PUT a \"b").starts_with("column 7: the quote \" is not closed"));
    assert!(error("PUT a 'b'c").starts_with("column 10: a closing quote must be followed by a blank"));
}

#[test]
fn an_unknown_outcome_is_no_error() {
    assert_eq!(answers("PUT lost 1\nCOUNT\n"), "(unknown)\n0\n");
}

#[test]
fn too_large_keys_and_values_are_refused_and_nothing_is_stored() {
    let key = "k".repeat(1025);
    assert!(error(&format!("PUT {key} v")).starts_with("key of 1025 bytes is too long: at most 1024 bytes"));
    let value = "v".repeat((1 << 20) + 1);
    assert!(error(&format!("PUT k {value}\nCOUNT")).starts_with("value of 1048577 bytes is too long"));
    let value = "v".repeat(1 << 20);
    assert_eq!(answers(&format!("PUT k {value}\nGET k")).len(), 3 + (1 << 20) + 1);
}

#[test]
fn a_line_beyond_all_limits_is_skipped_and_counted() {
    let mut script = b"PUT a 1\nPUT a ".to_vec();
    script.resize(script.len() + (9 << 20), b'x');
    script.extend_from_slice(b"\nGET a\n");
    let (out, status, _) = play(&script);
    let expected = "OK\n(error) line 2 has 9437190 bytes and was skipped: at most 8388608 bytes\n1\n";
    assert_eq!((String::from_utf8_lossy(&out).as_ref(), status), (expected, ExitStatus::AnsweredError));
}

#[test]
fn quit_ends_the_script_and_commands_of_the_command_line_are_lines() {
    assert_eq!(answers("COUNT\nQUIT\nPUT a 1\n"), "0\n");
    let (session, _) = Cluster::session();
    let mut out = Vec::new();
    let status = run_commands(&["PUT a 1", "GET a", "exit", "GET a"], &mut out, &session).expect("memory is written");
    assert_eq!((out.as_slice(), status), (&b"OK\n1\n"[..], ExitStatus::Success));
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (session, _) = Cluster::session();
    let start = Instant::now();
    let status = run_lines(&b"100000 INCR n\nCOUNT\n"[..], Gone, &session).expect("a broken pipe is a success");
    assert_eq!(status, ExitStatus::Success);
    assert!(start.elapsed() < Duration::from_secs(2), "the repetition went on without a reader");
}

#[test]
fn every_answer_is_out_before_the_next_line_is_read() {
    let (session, _) = Cluster::session();
    let (reader, mut writer) = io::pipe().expect("pipes are available");
    let (mut answered, answers) = io::pipe().expect("pipes are available");
    let console = std::thread::spawn(move || run_lines(io::BufReader::new(reader), answers, &session));
    let mut buffer = [0; 16];
    for (line, expected) in [("PUT a 1\n", &b"OK\n"[..]), ("GET a\n", b"1\n")] {
        writer.write_all(line.as_bytes()).expect("the console reads");
        let read = io::Read::read(&mut answered, &mut buffer).expect("the console answers");
        assert_eq!(&buffer[..read], expected);
    }
    drop(writer);
    assert_eq!(console.join().expect("no panic").expect("no error"), ExitStatus::Success);
}

#[test]
fn status_and_view_are_stable_for_scripts() {
    let before = "view 1 primary 1 backups 2\n\
                  rank 0 pid 100 role METADATA\n\
                  rank 1 pid 101 role PRIMARY keys 1 op 1 incarnation 1\n\
                  rank 2 pid 102 role BACKUP keys 1 op 1 incarnation 1\n";
    assert_eq!(answers("PUT a 1\nSTATUS"), format!("OK\n{before}"));
    let after = answers("CRASH primary\nSTATUS");
    assert!(
        after.starts_with("OK\nview 2 primary 2 backups none\nrank 0 pid 100 role METADATA\nrank 1 pid 101 role DOWN"),
        "{after}"
    );
    assert_eq!(
        answers("VIEW"),
        "view 1 primary 1 backups 2: server 1 silent for 51 ms, asked by server 2 (3.2 s ago)\n"
    );
    assert_eq!(answers("CRASH 1\nCRASH 2\nSTATUS").lines().nth(2), Some("view 0 primary none backups none"));
}

#[test]
fn orders_reach_the_ranks_they_are_for() {
    let orders = |script: &str| {
        let (out, status, log) = play(script.as_bytes());
        assert_eq!(status, ExitStatus::Success, "{}", String::from_utf8_lossy(&out));
        log
    };
    assert_eq!(orders("CRASH primary"), ["1: Crash"]);
    assert_eq!(orders("crash backup\nrecover"), ["2: Crash", "2: Recover"]);
    assert_eq!(
        orders("PAUSE 2\nRESUME 2"),
        ["note: server 2 paused", "2: Pause", "note: server 2 goes on", "2: Resume"]
    );
    let cut = ["note: link 1 – 2 cut", "1: Cut { peer: Rank(2), cut: true }", "2: Cut { peer: Rank(1), cut: true }"];
    assert_eq!(orders("CUT primary backup"), cut);
    assert_eq!(orders("CUT 0 2 oneway"), ["note: link 0 → 2 cut", "0: Cut { peer: Rank(2), cut: true }"]);
    assert_eq!(orders("HEAL"), ["note: all links healed", "0: Heal", "1: Heal", "2: Heal"]);
    let loss = ["0", "1", "2"].map(|rank| format!("{rank}: Loss {{ probability: 0.1 }}"));
    assert_eq!(orders("LOSS 10%")[1..], loss);
    assert_eq!(orders("DELAY 5")[3], "2: Delay { ms: 5.0 }");
    let rate = ["note: failure rate 20%", "1: FailureRate { probability: 0.2 }", "2: FailureRate { probability: 0.2 }"];
    assert_eq!(orders("FAILRATE 20%"), rate);
    assert_eq!(orders("SWAP"), ["1: Swap"]);
    let rules = |off: u8| ["0", "1", "2"].map(|rank| format!("{rank}: Rules {{ rules: Rules {{ off: {off} }} }}"));
    assert_eq!(orders("RULE sessions off")[1..], rules(8));
    assert_eq!(orders("RULE sessions off\nRULE lease OFF\nRULE sessions on")[9..], rules(2));
    assert_eq!(orders("RESET")[1], "0: Reset");
}

#[test]
fn what_cannot_be_done_now_is_refused_with_the_reason() {
    assert_eq!(error("CRASH 1\nCRASH 1"), "server 1 is already down: RECOVER 1 brings it back");
    assert_eq!(error("RECOVER"), "no server is down: there is nothing to recover");
    assert_eq!(error("RECOVER 1"), "server 1 is not down: it is primary");
    assert_eq!(error("RESUME 1"), "server 1 is not paused: it is primary");
    assert_eq!(error("PAUSE 2\nPAUSE 2"), "server 2 is already paused: RESUME 2 lets it go on");
    assert_eq!(error("CRASH 7"), "there is no rank 7: choose 0, 1, 2, primary, backup");
    assert_eq!(error("CRASH 0"), "rank 0 is no server: choose 1, 2, primary, backup");
    assert_eq!(error("CUT 1 primary"), "rank 1 has no link to itself: name two ranks, such as CUT 1 2");
    assert_eq!(
        error("CRASH 2\nCRASH backup"),
        "there is no backup right now: server 2 is down (RECOVER 2); wait, or bring it back"
    );
    assert_eq!(
        error("CRASH 1\nCRASH 2\nSWAP"),
        "there is no primary right now: servers 1, 2 are down; RECOVER brings them back"
    );
    assert!(error("KILL primary").starts_with("KILL needs servers that are processes"));
}

#[test]
fn kill_is_whatever_the_driver_makes_of_it() {
    let (session, _) = Cluster::session();
    let session = session.with_kill(Box::new(|rank| if rank == Rank(1) { Ok(()) } else { Err("no".into()) }));
    let mut out = Vec::new();
    let status = run_lines(&b"KILL primary\nKILL backup\n"[..], &mut out, &session).expect("memory is written");
    assert_eq!((out.as_slice(), status), (&b"OK\n(error) no\n"[..], ExitStatus::AnsweredError));
}

/// A session as the prompt has it, and what the screen shows.
fn screen() -> (ConsoleSession, Arc<FixedKnowledge>, Arc<Mutex<Vec<String>>>) {
    let (session, log) = Cluster::session();
    let server = |rank, standing| ServerPicture { rank: Rank(rank), standing };
    let knowledge = Arc::new(FixedKnowledge::new(Picture {
        view: ViewNumber(1),
        primary: Some(Rank(1)),
        backups: vec![Rank(2)],
        servers: vec![server(1, Standing::Primary), server(2, Standing::Backup)],
        failure_rate: 0.35,
        ..Picture::default()
    }));
    let shown: Arc<dyn Knowledge> = Arc::<FixedKnowledge>::clone(&knowledge);
    (ConsoleSession::new(session.desk().clone(), shown, Resolved::Screen), knowledge, log)
}

fn key(function: u8) -> &'static keys::KeySpec {
    keys::KEYS.iter().find(|key| key.function == function).expect("there is such a key")
}

#[test]
fn keys_toggle_what_the_screen_shows() {
    let (session, knowledge, log) = screen();
    let press = |function| session.perform(&key(function).action);
    let taken = || std::mem::take(&mut *log.lock().expect("the cluster lives"));

    assert_eq!(press(7), Answer::Ok);
    assert_eq!(session.desk().status().cuts.len(), 2);
    assert_eq!(press(7), Answer::Ok);
    assert_eq!(session.desk().status().cuts.len(), 0);
    let _ = session.desk().status();
    assert!(taken().iter().filter(|line| line.contains("cut: false")).count() == 2);

    assert_eq!(press(8), Answer::Ok);
    let mut picture = knowledge.picture();
    picture.servers[0].standing = Standing::Paused;
    picture.primary = Some(Rank(2));
    knowledge.set_picture(picture.clone());
    assert_eq!(press(8), Answer::Ok);
    let _ = session.desk().status();
    assert_eq!(taken(), ["note: server 1 paused", "1: Pause", "note: server 1 goes on", "1: Resume"]);

    assert_eq!(press(9), Answer::Ok);
    picture.failure_rate = 0.0;
    knowledge.set_picture(picture);
    assert_eq!(press(9), Answer::Ok);
    let _ = session.desk().status();
    let rates: Vec<_> = taken().into_iter().filter(|line| line.starts_with("1: ")).collect();
    assert_eq!(rates, ["1: FailureRate { probability: 0.0 }", "1: FailureRate { probability: 0.35 }"]);
}

#[test]
fn a_key_means_what_the_screen_shows_and_says_why_it_cannot() {
    let (session, knowledge, _) = screen();
    let mut picture = knowledge.picture();
    picture.servers[1].standing = Standing::Down;
    picture.backups.clear();
    knowledge.set_picture(picture);
    let why = |function| match session.perform(&key(function).action) {
        Answer::Error(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(6), "there is no backup right now: server 2 is down (RECOVER 2); wait, or bring it back");
    assert_eq!(
        why(7),
        "there is no link to cut: there is no backup right now: server 2 is down (RECOVER 2); wait, or bring it back"
    );
    assert_eq!(session.perform(&key(4).action), Answer::Ok);
    assert!(matches!(session.perform(&key(1).action), Answer::Text(text) if text.contains("F5 crash primary")));
}

/// As the screen shows it when server 1 has crashed.
fn only_server_2(knowledge: &FixedKnowledge) {
    let mut picture = knowledge.picture();
    picture.servers[0].standing = Standing::Down;
    picture.servers[1].standing = Standing::Primary;
    picture.primary = Some(Rank(2));
    picture.backups.clear();
    knowledge.set_picture(picture);
}

#[test]
fn a_key_that_takes_the_only_copy_must_be_pressed_again() {
    let (session, knowledge, log) = screen();
    let start = Instant::now();
    let press = |function, after_ms| session.press(key(function), start + Duration::from_millis(after_ms));
    let crashes = || log.lock().expect("the cluster lives").iter().filter(|line| line.ends_with(": Crash")).count();
    assert_eq!((press(5, 0), crashes()), (Answer::Ok, 1), "another server has the data");
    only_server_2(&knowledge);
    let only = "server 2 has the only copy of the data (0 keys): press F5 again within 3 s to lose it";
    let warning = Answer::Error(only.into());
    assert_eq!(press(5, 500), warning);
    assert_eq!(press(5, 3_600), warning, "that was too late to count as the second time");
    assert_eq!(press(9, 4_000), Answer::Ok);
    assert_eq!(press(5, 4_500), warning, "something else was pressed in between");
    assert!(matches!(press(3, 5_000), Answer::Error(why) if why.contains("press F3 again")), "another key");
    assert_eq!((press(5, 5_500), crashes()), (warning, 1));
    let lost = "server 2 had the only copy of the data (0 keys), and it is gone: RESET starts over empty";
    assert_eq!((press(5, 8_000), crashes()), (Answer::Done(lost.into()), 2));
}

#[test]
fn a_typed_command_does_as_it_is_told_and_says_what_was_lost() {
    let (out, status, log) = play(b"PUT a 1\nPUT b 2\nCRASH 1\nCRASH primary\n");
    assert_eq!((out.as_slice(), status), (&b"OK\nOK\nOK\nOK\n"[..], ExitStatus::Success));
    let lost = "note: server 2 had the only copy of the data (2 keys), and it is gone: RESET starts over empty";
    assert_eq!(log, ["1: Crash", "2: Crash", lost]);
}

#[test]
fn with_disks_a_crash_takes_no_copy_and_a_wipe_does() {
    let disks = || Cluster::start(true);
    let (out, _, log) = play_at(disks(), b"PUT a 1\nCRASH 1\nCRASH 2\n");
    assert_eq!(out, b"OK\nOK\nOK\n");
    let back = "note: server 2 had the only copy of the data (1 key) in its memory: it comes back from the disk";
    assert_eq!(log, ["1: Crash", "2: Crash", back]);
    let (out, status, log) = play_at(disks(), b"PUT a 1\nWIPE backup\nWIPE primary\n");
    assert_eq!((out.as_slice(), status), (&b"OK\nOK\nOK\n"[..], ExitStatus::Success));
    let wiped = |rank| [format!("note: server {rank} loses its memory and its disk"), format!("{rank}: Wipe")];
    let gone = "note: server 1 had the only copy of the data, and it is gone: RESET starts over empty";
    assert_eq!(log, [&wiped(2)[..], &wiped(1), &[gone.to_owned()]].concat());
    let (out, status, _) = play(b"WIPE 1\n");
    assert_eq!((out.as_slice(), status), (&b"(error) there is no disk\n"[..], ExitStatus::AnsweredError));
}

#[test]
fn all_lose_power_and_one_may_come_back_later() {
    let (out, _, log) = play_at(Cluster::start(true), b"POWERCUT\nPOWERCUT backup\n");
    assert_eq!(out, b"OK\nOK\n");
    let all = "note: the power fails: everything stops at once, and starts again";
    let late = [format!("{all}, but for server 2"), "power cut, late: Some(Rank(2))".to_owned()];
    assert_eq!(log, [&[all.to_owned(), "power cut, late: None".to_owned()][..], &late].concat());
    assert_eq!(error("POWERCUT 3\n"), "there is no rank 3: choose 0, 1, 2, primary, backup");
}

#[test]
fn a_rule_of_disks_is_not_switched_where_there_are_none() {
    let (out, _, _) = play_at(Cluster::start(true), b"RULE persist-view off\n");
    assert_eq!(out, b"OK\n");
    let why = error("RULE persist-view off\n");
    assert!(why.starts_with("rule persist-view is about disks, and there are none: --data DIR"), "{why}");
}

#[test]
fn a_key_needs_no_second_press_where_the_disk_has_the_data() {
    let (session, log) = Cluster::start(true);
    let (_, knowledge, _) = screen();
    let shown: Arc<dyn Knowledge> = Arc::<FixedKnowledge>::clone(&knowledge);
    let session = ConsoleSession::new(session.desk().clone(), shown, Resolved::Screen);
    let crashes = || log.lock().expect("the cluster lives").iter().filter(|line| line.ends_with(": Crash")).count();
    assert_eq!(session.press(key(5), Instant::now()), Answer::Ok);
    only_server_2(&knowledge);
    let back = "server 2 had the only copy of the data (0 keys) in its memory: it comes back from the disk";
    assert_eq!((session.press(key(5), Instant::now()), crashes()), (Answer::Done(back.into()), 2));
}

#[test]
fn a_person_who_resets_disks_is_asked_again_and_a_script_is_not() {
    let reset = Action::Reset { anyway: false };
    let resets = |log: &Mutex<Vec<String>>| {
        log.lock().expect("the cluster lives").iter().filter(|line| line.starts_with("0: Reset")).count()
    };
    let (session, log) = Cluster::start(true);
    let person = ConsoleSession::new(session.desk().clone(), Arc::new(FixedKnowledge::default()), Resolved::Screen);
    let asked = "RESET empties all disks, too: RESET again within 20 s does it";
    assert_eq!((person.perform(&reset), resets(&log)), (Answer::Error(asked.into()), 0));
    assert_eq!((person.perform(&reset), resets(&log)), (Answer::Ok, 1));
    let anyway = person.perform(&Action::Reset { anyway: true });
    assert_eq!((anyway, resets(&log)), (Answer::Error(asked.into()), 1), "the next one is another one");
    assert_eq!((session.perform(&reset), resets(&log)), (Answer::Ok, 2));
    // Without disks nobody is asked.
    let (session, _, log) = screen();
    assert_eq!((session.perform(&reset), resets(&log)), (Answer::Ok, 1));
}

#[test]
fn a_repetition_and_a_sleep_can_be_interrupted() {
    let (session, _, _) = screen();
    let interrupter = session.interrupter();
    let request = |line: &[u8]| parse::request(line).expect("it is well formed").expect("it is no comment");
    let mut answers = Vec::new();
    session.run(&request(b"1000 INCR n"), |answer| {
        answers.push(answer);
        interrupter.store(answers.len() == 3, std::sync::atomic::Ordering::SeqCst);
        true
    });
    assert_eq!(answers.len(), 4);
    assert_eq!(answers[3], Answer::Error("interrupted after 3 of 1000 times".into()));

    let start = Instant::now();
    std::thread::scope(|scope| {
        let sleep = scope.spawn(|| session.run(&request(b"SLEEP 60"), |answer| matches!(answer, Answer::Error(_))));
        while !sleep.is_finished() && start.elapsed() < Duration::from_secs(50) {
            interrupter.store(true, std::sync::atomic::Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn events_and_latency_come_from_the_model() {
    let (session, knowledge, _) = screen();
    let text = |line: &[u8]| {
        let mut out = Vec::new();
        run_lines(line, &mut out, &session).expect("memory is written");
        String::from_utf8(out).expect("text")
    };
    assert_eq!(text(b"EVENTS"), "no events yet\n");
    (0..20).for_each(|i| knowledge.push_event(format!("event {i}")));
    assert_eq!(text(b"EVENTS 2"), "event 18\nevent 19\n");
    assert_eq!(text(b"EVENTS").lines().count(), 10);
    assert_eq!(text(b"LATENCY"), "no requests yet\n");
}

#[test]
fn a_question_mark_after_a_command_explains_it() {
    use understudy::ui::commands::Action;
    let explained = |line: &str| understudy::ui::commands::parse::request(line.as_bytes()).map(|r| r.map(|r| r.action));
    let help = |name: &str| Ok(Some(Action::Help(Some(name.to_owned()))));
    assert_eq!(explained("crash ?"), help("CRASH"));
    assert_eq!(explained("PUT ?"), help("PUT"));
    assert_eq!(explained("get?"), help("GET"));
    assert_eq!(explained("STATUS ?"), help("STATUS"));
    // Where a question mark is a key, or a glob, it is that.
    assert!(matches!(explained("KEYS ?"), Ok(Some(Action::Data(_)))));
    assert!(matches!(explained("GET ?"), Ok(Some(Action::Data(_)))));
    assert!(explained("CRASH 1 ?").is_err());
}
