//! The prompt in a real pseudo-terminal: bytes go in as a keyboard sends them, and a terminal emulator
//! tells what a person would see.
//!
//! The program in the terminal is this very test binary: [`prompt_in_a_terminal`] runs the prompt when it
//! finds the variable [`HISTORY`] in its environment, and does nothing otherwise.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::terminal::{CTRL_C, CTRL_D, CTRL_L, CTRL_X, CTRL_Z, F4, F5, RIGHT, Size, Terminal, UP};
use understudy::cluster::{Ask, ClusterStatus, Desk, Post, RankStatus, Standing};
use understudy::core::fault::Control;
use understudy::core::protocol::Outcome;
use understudy::core::protocol::{Incarnation, Member, Rank, View, ViewNumber};
use understudy::core::store::{Bytes, ClientId, LogEntry, OpNumber, Seq, Stamp, Store};
use understudy::ui::console::answer::Palette;
use understudy::ui::console::{ConsoleSession, Knowledge, Picture, PromptConfig, Resolved, run_prompt};

/// Where the prompt in the terminal keeps its history.
const HISTORY: &str = "UNDERSTUDY_TEST_HISTORY";
/// How long a `GET slow` takes.
const SLOW: Duration = Duration::from_millis(800);
/// Nothing is known of the cluster before.
const FIRST_VIEW_AFTER: Duration = Duration::from_millis(500);

/// What the screen shows is what the cluster says; nothing in the first moment.
struct Asked(Desk, Instant);

impl Knowledge for Asked {
    fn picture(&self) -> Picture {
        let is_known = self.1.elapsed() > FIRST_VIEW_AFTER;
        if is_known { Picture::default().refreshed(&self.0.status()) } else { Picture::default() }
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
                post: Post::Server {
                    standing: if rank == primary { Standing::Primary } else { Standing::Down },
                    keys: 0,
                    op: OpNumber(0),
                    incarnation: Incarnation(1),
                },
                turns: None,
                silence: None,
                disk: None,
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
                    let _ = answer.send(Ok(Outcome::Done(store.read(&command))));
                }
                Ask::Execute { command, answer } => {
                    let op = store.op().next();
                    let entry = LogEntry {
                        op,
                        client: ClientId::on(0),
                        seq: Seq(op.0),
                        acked: Seq(op.0 - 1),
                        stamp: Stamp::default(),
                        command,
                    };
                    let _ = answer.send(Ok(Outcome::Done(store.apply(entry))));
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
                Ask::Load { answer } => drop(answer.send(understudy::core::load::Report::default())),
                Ask::Note { .. } => {}
                Ask::Pass { answer, .. } => drop(answer),
                Ask::ExecuteAs { .. } | Ask::Submit { .. } | Ask::Stand { .. } | Ask::Step => {}
                Ask::Fork { .. } | Ask::Switch { .. } | Ask::Rename { .. } | Ask::Branches { .. } => {}
                Ask::Underway { .. } | Ask::Meddle { .. } | Ask::Fire { .. } | Ask::PowerCut { .. } => {}
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
    let session = ConsoleSession::new(desk, Arc::new(Asked(status_desk, Instant::now())), Resolved::Screen);
    let (redraw, redraws) = crossbeam_channel::bounded(1);
    run_prompt(PromptConfig {
        session: Arc::new(session),
        history_path: Some(history.into()),
        palette: Palette::COLOR,
        printer_ready: Box::new(|handle| {
            std::thread::spawn(move || {
                redraws.into_iter().all(|()| {
                    let lines = handle.recent(20);
                    let typed = lines.iter().rev().find(|line| line.contains("]>")).cloned().unwrap_or_default();
                    handle.print("redrawn") && handle.print(format!("typed last: {typed}"))
                })
            });
        }),
        redraw,
        pager: None,
        stage: None,
        tour: None,
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
    // The first prompt waits until there is something to tell.
    terminal.wait("the first prompt", |t| {
        assert!(!t.shows("view 0"), "{:?}", t.lines());
        t.last() == "understudy[view 1 · primary 1]>"
    });
    assert_eq!(terminal.cursor().1, 32);
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

    // What was typed stays on the screen with the state of then, and so it is when it is drawn again.
    terminal.press("COUNT");
    terminal.wait_last("understudy[view 3 · primary 1]> COUNT");
    terminal.press(F5);
    terminal.wait_last("understudy[view 4 · primary 2]> COUNT");
    terminal.press("\r");
    terminal.wait_line("(integer) 2");
    terminal.press(F5);
    terminal.wait_last("understudy[view 5 · primary 1]>");
    terminal.press(CTRL_L);
    terminal.wait_line("typed last: understudy[view 4 · primary 2]> COUNT");

    terminal.press(CTRL_D);
    terminal.wait_success();
    assert!(terminal.echoes());
    drop(terminal);

    // The history is there again, without the line that began with a blank.
    let mut terminal = start(&history);
    terminal.wait_last("understudy[view 1 · primary 1]>");
    terminal.press(&UP.repeat(5));
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

/// A prompt in a terminal, ready to be typed at.
fn ready(name: &str) -> (Terminal, std::path::PathBuf) {
    let folder = std::env::temp_dir().join(format!("understudy-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is room for a history");
    let terminal = start(&folder.join("history"));
    terminal.wait_last("understudy[view 1 · primary 1]>");
    (terminal, folder)
}

#[test]
fn a_long_line_scrolls_in_its_row() {
    let (mut terminal, folder) = ready("long");
    terminal.press("COUNT\r");
    terminal.wait_line("(integer) 0");
    terminal.wait_last("understudy[view 1 · primary 1]>");
    let row = terminal.cursor().0;
    let above = terminal.lines()[..usize::from(row)].to_vec();
    let is_tidy = |t: &Terminal| {
        let lines = t.lines();
        let (before, after) = lines.split_at(usize::from(row));
        t.cursor().0 == row && before == above && after[1..].iter().all(String::is_empty)
    };
    let digits: String = (0..60).map(|tens| format!("{tens:02}........")).collect();
    terminal.press(&format!("PUT a {digits}"));
    // The end, with the cursor behind it, on the last column but one.
    let end = |text: &str| format!("understudy[view 1 · primary 1]> …{text}");
    let tail = |line: &str, columns: usize| line[line.len() - columns..].to_owned();
    terminal.wait_last(&end(&tail(&digits, 45)));
    assert_eq!(terminal.cursor(), (row, 32 + 1 + 45));
    assert!(is_tidy(&terminal), "{:?}", terminal.lines());
    // Its beginning, and what is typed there.
    terminal.press("\x01");
    terminal.wait("the beginning", |t| t.last().starts_with("understudy[view 1 · primary 1]> PUT a 00........01"));
    assert_eq!(terminal.cursor(), (row, 32));
    terminal.press("X");
    terminal.wait("a letter more", |t| t.last().starts_with("understudy[view 1 · primary 1]> XPUT a 00........01"));
    assert_eq!(terminal.cursor(), (row, 33));
    // In the middle both sides are seen.
    terminal.press(&RIGHT.repeat(300));
    terminal.wait("both sides", |t| {
        let last = t.last();
        let at = usize::from(t.cursor().1);
        let under: String = last.chars().skip(at).take(8).collect();
        let before: String = last.chars().skip(at - 20).take(20).collect();
        last.ends_with('…') && digits[294..].starts_with(&under) && digits[..294].ends_with(&before)
    });
    assert!(is_tidy(&terminal), "{:?}", terminal.lines());
    // What is printed meanwhile stands above, and the line is as it was.
    terminal.press(CTRL_L);
    terminal.wait_line("redrawn");
    terminal.wait("the line", |t| t.last().ends_with('…'));
    terminal.press("\x01\x1b[3~\r");
    terminal.wait_line("OK");
    terminal.press("GET a\r");
    terminal.wait_shows(&digits[560..]);
    terminal.press(CTRL_D);
    terminal.wait_success();
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn what_a_terminal_says_late_is_no_text() {
    let (mut terminal, folder) = ready("late");
    let answers = ["\x1b[?62c", "\x1b]11;rgb:00/00\x07", "\x1bP1$r0m\x1b\\", "\x1b[27;5;13~", "\x1b[24;80R"];
    for (answer, letters) in answers.iter().zip(["GE", "T ", "co", "lo", "r"]) {
        terminal.press(answer);
        std::thread::sleep(Duration::from_millis(20));
        terminal.press(letters);
    }
    terminal.wait_last("understudy[view 1 · primary 1]> GET color");
    assert_eq!(terminal.cursor().1, 32 + 9);
    // In pieces, as over a slow line.
    for piece in ["\x1b]1", "1;rgb:0000/", "0000/0000\x1b", "\\", "\x1b[", "?62", "c"] {
        terminal.press(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.press("s\r");
    terminal.wait_line("understudy[view 1 · primary 1]> GET colors");
    terminal.wait_line("(nil)");
    terminal.press(CTRL_D);
    terminal.wait_success();
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn signs_of_several_characters_are_shown_as_escapes() {
    let (mut terminal, folder) = ready("signs");
    terminal.press("PUT a heart\u{2764}\u{fe0f}x");
    terminal.wait_last("understudy[view 1 · primary 1]> PUT a heart\u{2764}\\u{fe0f}x");
    assert_eq!(usize::from(terminal.cursor().1), 32 + "PUT a heart?".len() + "\\u{fe0f}x".len());
    terminal.press("\r");
    terminal.wait_line("OK");
    terminal.press("GET a\r");
    terminal.wait_line("\"heart\u{2764}\\xef\\xb8\\x8fx\"");
    // A list of completions stands above the line.
    terminal.press("RE\t");
    terminal.wait_line("RESUME    RECOVER   RESET     RENAME    RENAMENX");
    terminal.wait_last("understudy[view 1 · primary 1]> RE");
    terminal.press(CTRL_C);
    terminal.wait_last("understudy[view 1 · primary 1]>");
    terminal.press(CTRL_D);
    terminal.wait_success();
    let _ = std::fs::remove_dir_all(folder);
}
