//! The prompt in a real pseudo-terminal: bytes go in as a keyboard sends them, and a terminal emulator
//! tells what a person would see.
//!
//! The program in the terminal is this very test binary: [`prompt_in_a_terminal`] runs the prompt when it
//! finds the variable [`HISTORY`] in its environment, and does nothing otherwise.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::terminal::{CTRL_C, CTRL_D, CTRL_L, CTRL_X, CTRL_Z, F4, F5, Size, Terminal, UP};
use understudy::console::{Knowledge, Picture, PromptConfig, Session, Sight, run_prompt};
use understudy::driver::{Ask, ClusterStatus, Desk, Outcome, RankStatus};
use understudy::fault::Control;
use understudy::protocol::{Incarnation, Member, Rank, View, ViewNumber};
use understudy::store::{Bytes, ClientId, LogEntry, Seq, Store};

/// Where the prompt in the terminal keeps its history.
const HISTORY: &str = "UNDERSTUDY_TEST_HISTORY";
/// How long a `GET slow` takes.
const SLOW: Duration = Duration::from_millis(800);

/// What the screen shows is what the cluster says.
struct Asked(Desk);

impl Knowledge for Asked {
    fn picture(&self) -> Picture {
        Picture::default().refreshed(&self.0.status())
    }
    fn keys_with_prefix(&self, prefix: &[u8], _: usize) -> Vec<Bytes> {
        ["color", "fruit"].into_iter().filter(|key| key.as_bytes().starts_with(prefix)).map(Bytes::from).collect()
    }
    fn latency(&self) -> String {
        String::new()
    }
    fn check(&self, _: u64) -> Result<String, String> {
        Ok(String::new())
    }
    fn events(&self, _: usize) -> Vec<String> {
        Vec::new()
    }
}

/// A cluster of two servers; its status is answered by another thread than its commands, so that the
/// prompt knows the state while a command waits.
fn cluster() -> (Desk, Desk) {
    let (desk, asks) = Desk::new();
    let (status_desk, status_asks) = Desk::new();
    let primary = Arc::new(Mutex::new((1u64, Rank(1))));
    let shown = Arc::clone(&primary);
    std::thread::spawn(move || {
        for ask in status_asks {
            let Ask::Status { answer } = ask else { continue };
            let (view, primary) = *shown.lock().expect("no panic");
            let member = |rank| Member { rank, incarnation: Incarnation(1) };
            let server = |rank: Rank| RankStatus {
                rank,
                pid: 1,
                role: if rank == primary { "PRIMARY" } else { "DOWN" }.into(),
                server: Some((0, understudy::store::OpNumber(0), 1)),
            };
            let view = View { number: ViewNumber(view), epoch: 0, primary: member(primary), backups: vec![] };
            let ranks = [Rank(1), Rank(2)].map(server).to_vec();
            let view = Some(Arc::new(view));
            let _ = answer.send(ClusterStatus { view, primary: Some(primary), ranks, ..ClusterStatus::default() });
        }
    });
    std::thread::spawn(move || {
        let mut store = Store::default();
        for ask in asks {
            match ask {
                Ask::Execute { command, answer } if command.is_read() => {
                    if command.key().is_some_and(|key| key.starts_with(b"slow")) {
                        std::thread::sleep(SLOW);
                    }
                    let _ = answer.send(Outcome::Done(store.read(&command)));
                }
                Ask::Execute { command, answer } => {
                    let op = store.op().next();
                    let entry = LogEntry { op, client: ClientId(0), seq: Seq(op.0), acked: Seq(op.0 - 1), command };
                    let _ = answer.send(Outcome::Done(store.apply(entry)));
                }
                Ask::Control { control, answer, .. } => {
                    if control == Control::Crash {
                        let mut primary = primary.lock().expect("no panic");
                        *primary = (primary.0 + 1, Rank(3 - primary.1.0));
                    }
                    let _ = answer.send(Ok(()));
                }
                Ask::Kill { answer, .. } => drop(answer.send(Err("nothing to kill".into()))),
                Ask::Status { answer } => drop(answer.send(ClusterStatus::default())),
                Ask::Load { answer } => drop(answer.send(understudy::workload::Report::default())),
                Ask::Note { .. } => {}
                Ask::Pass { answer, .. } => drop(answer),
                Ask::Quit => return,
            }
        }
    });
    (desk, status_desk)
}

#[test]
fn prompt_in_a_terminal() {
    let Some(history) = std::env::var_os(HISTORY) else { return };
    let (desk, status_desk) = cluster();
    let session = Session::new(desk, Arc::new(Asked(status_desk)), Sight::Screen);
    let (redraw, redraws) = crossbeam_channel::bounded(1);
    run_prompt(PromptConfig {
        session: Arc::new(session),
        history_path: Some(history.into()),
        mono: false,
        printer_ready: Box::new(|handle| {
            std::thread::spawn(move || redraws.into_iter().all(|()| handle.print("redrawn")));
        }),
        redraw,
        help: None,
    })
    .expect("the terminal works");
}

/// A pseudo-terminal with the prompt in it.
fn start(history: &Path) -> Terminal {
    let mut command = Command::new(std::env::current_exe().expect("this program has a name"));
    command.args(["--exact", "prompt_in_a_terminal", "--nocapture", "--test-threads=1"]).env(HISTORY, history);
    Terminal::start(command, Size(80, 24))
}

#[test]
fn a_person_types_and_presses_keys() {
    let folder = std::env::temp_dir().join(format!("understudy-prompt-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is room for a history");
    let history = folder.join("sub").join("history");
    let mut terminal = start(&history);
    terminal.wait_last("understudy[view 1 · primary 1]>");
    assert!(!terminal.echoes());

    // Completion and hints.
    terminal.press("pu\t");
    terminal.wait_last("understudy[view 1 · primary 1]> put key value");
    terminal.press("co\t");
    terminal.wait_last("understudy[view 1 · primary 1]> put color value");
    terminal.press("red\r");
    terminal.wait_line("OK");
    terminal.press(" GET color\r");
    terminal.wait_line("\"red\"");

    // A key leaves the half-typed line alone, and the prompt tells the new state.
    terminal.press("PUT color gre");
    terminal.wait_last("understudy[view 1 · primary 1]> PUT color gre");
    terminal.press(F5);
    terminal.wait_line("F5 crash primary: OK");
    terminal.wait_last("understudy[view 2 · primary 2]> PUT color gre");
    terminal.press(&format!("{CTRL_X}c"));
    terminal.wait_last("understudy[view 3 · primary 1]> PUT color gre");
    terminal.press(&format!("{F4}{CTRL_X}b"));
    terminal.wait_line("F4 recover: OK");
    terminal.wait("a reason", |t| t.lines().iter().any(|line| line.starts_with("F6 crash backup: there is no backup")));

    // Neither of these may wipe the screen or stop the program.
    terminal.press(CTRL_L);
    terminal.wait_line("redrawn");
    terminal.press(CTRL_Z);
    terminal.wait("the reason", |t| t.lines().iter().any(|line| line.starts_with("Ctrl-Z cannot stop")));
    terminal.press("en");
    terminal.wait_last("understudy[view 3 · primary 1]> PUT color green");
    terminal.press(CTRL_C);
    terminal.wait_last("understudy[view 3 · primary 1]>");

    // What is typed while a command waits is not echoed twice.
    terminal.press("GET slow\r");
    std::thread::sleep(SLOW / 2);
    terminal.press("COUNT");
    terminal.wait_last("understudy[view 3 · primary 1]> COUNT");
    terminal.wait_line("(nil)");
    terminal.press("\r");
    terminal.wait_line("(integer) 1");
    assert!(!terminal.lines().iter().any(|line| line.starts_with("COUNT")), "{:?}", terminal.lines());

    // Several lines at once, as a paste without brackets sends them.
    terminal.press("INCR n\rINCR n\r3 INCR n\r");
    terminal.wait_line("(integer) 5");

    terminal.press(CTRL_D);
    terminal.wait_success();
    assert!(terminal.echoes());
    drop(terminal);

    // The history is there again, without the line that began with a blank.
    let mut terminal = start(&history);
    terminal.wait_last("understudy[view 1 · primary 1]>");
    terminal.press(&UP.repeat(4));
    terminal.wait_last("understudy[view 1 · primary 1]> GET slow");
    terminal.press(UP);
    terminal.wait_last("understudy[view 1 · primary 1]> put color red");
    terminal.press(CTRL_C);
    terminal.wait_last("understudy[view 1 · primary 1]>");
    terminal.press("quit\r");
    terminal.wait_success();
    drop(terminal);
    let _ = std::fs::remove_dir_all(folder);
}
