//! The tour on the screen: a class guesses first, then sees, and the console's own cluster is there again afterwards.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::terminal::{CTRL_D, ESCAPE, F2, F5, PAGE_DOWN, PAGE_UP, RIGHT, Size, Terminal};
use understudy::ui::tour::scenes;
use understudy::ui::tour::talk::Talk;

/// A page on a terminal of 80 columns and 24 rows.
const PAGE: (usize, usize) = (76, 15);

fn state(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn program(name: &str, words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_understudy"));
    program.args(words).env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
    program.env("XDG_STATE_HOME", state(name));
    program
}

/// What `understudy notes` says.
fn notes(name: &str) -> String {
    let output = program(name, &["notes"]).output().expect("the program starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_page_fits_on_a_small_terminal() {
    let all = scenes::lecture().expect("scenes").into_iter().chain(scenes::of_rules().expect("scenes"));
    for scene in all {
        let name = scene.name.clone();
        for said in scene.setup.iter().chain(&scene.play).flat_map(|step| &step.says) {
            let rows = understudy::ui::dashboard::panels::caption::rows(said, 80);
            assert!(rows.iter().all(|row| row.chars().count() <= 78), "{name}: cut off: {said}");
        }
        let mut talk = Talk::new(vec![scene], 0);
        let hands: Vec<u32> = talk.scene().expect("one").ask.answers.iter().map(|_| 12).collect();
        talk.count_hands(&hands).expect("one for each");
        let verdict = "linearizable: 10 operations, 10 unknown, 10 failovers";
        for page in [talk.question(), talk.truth(verdict)] {
            assert!(page.lines().all(|line| line.chars().count() <= PAGE.0), "{name}: {page}");
            assert!(page.lines().count() <= PAGE.1, "{name}: {} rows\n{page}", page.lines().count());
        }
        assert!(talk.heading().chars().count() < PAGE.0);
    }
}

#[test]
fn a_class_guesses_first_then_sees_and_learns_why() {
    // Who is here for the first time is not told to crash anything.
    let _ = std::fs::remove_dir_all(state("lecture"));
    let mut terminal = Terminal::start(program("lecture", &["tour", "3"]), Size(80, 24));
    terminal.wait_shows("Scene 3 of 10: Dead, or only slow");
    terminal.wait_shows("3. No. And it need not.");
    terminal.wait_last("understudy[view 1 · primary 1]>");
    assert!(!terminal.shows("Try: PUT"));
    // A clicker: its start button breaks nothing, and its next button shows nothing yet.
    terminal.press(F5);
    terminal.press(PAGE_DOWN);
    terminal.wait_shows("first a guess: press a number, 1 to 3");
    assert!(!terminal.shows("F5 crash primary"));
    // The lecturer's own screen.
    let told = notes("lecture");
    for words in ["Scene 3 of 10", "Right:  3. No.", "Next:   1-3: your guess", "Why:    Silence", "Say:    ", "in all"]
    {
        assert!(told.contains(words), "no {words} in {told}");
    }
    terminal.press("HANDS 3 12 5\r");
    terminal.wait_line("OK");
    terminal.press("2");
    terminal.wait_shows("> PAUSE 1");
    terminal.wait_shows("PAUSED");
    terminal.wait_shows("PgDn SLEEP 2");
    terminal.press(PAGE_DOWN);
    terminal.wait_shows("server 2 · PRIMARY");
    terminal.wait_last("understudy[view 2 · primary 2]>");
    assert!(notes("lecture").contains("Next:   PgDn: PUT color red"));
    for command in ["PUT color red", "RESUME 1", "SLEEP 2", "GET color"] {
        terminal.wait_shows(&format!("PgDn {command}"));
        terminal.press(PAGE_DOWN);
        terminal.wait_shows(&format!("> {command}"));
    }
    terminal.wait_shows("PgDn what was right");
    terminal.press(PAGE_DOWN);
    terminal.wait_shows("Right: 3. No. And it need not.");
    terminal.wait_shows("You chose 2, which is wrong.");
    terminal.wait_shows("The class: 3 for 1, 12 for 2, 5 for 3: 25% were right");
    terminal.wait_shows("CHECK: linearizable: 3 operations, 0 unknown, 1 failover");
    terminal.press(PAGE_DOWN);
    terminal.wait_shows("Scene 4 of 10");
    terminal.press(ESCAPE);
    terminal.wait_shows("this is your own cluster again");
    terminal.wait("the question is gone", |t| !t.shows("Scene 4 of 10:"));
    assert!(notes("lecture").is_empty());
    terminal.press(CTRL_D);
    terminal.wait_success();
}

#[test]
fn on_a_large_terminal_the_numbers_are_big() {
    let mut terminal = Terminal::start(program("lecture-large", &["tour", "all-empty"]), Size(160, 45));
    terminal.wait_shows("Scene 10 of 10");
    terminal.wait("big numbers", |t| t.shows("██████") && !t.shows("1. "));
    // Both at once, as a script or a slow line brings them: out of the scene, and out of the program.
    terminal.press(&format!("{ESCAPE}{CTRL_D}"));
    terminal.wait_success();
}

#[test]
fn the_consoles_own_cluster_runs_on_and_is_there_again() {
    let words = ["--sim", "--seed", "1", "--servers", "3", "--failure-rate", "0", "--recover-after", "never"];
    let mut terminal = Terminal::start(program("lecture-own", &words), Size(100, 30));
    terminal.wait_last("understudy[view 1 · primary 1]>");
    terminal.press("PUT fruit mango\r");
    terminal.wait_line("OK");
    terminal.press("CRASH 3\r");
    terminal.wait_shows("DOWN");
    terminal.press("TOUR 9\r");
    terminal.wait_shows("Scene 9 of 10");
    terminal.wait("another cluster", |t| !t.shows("mango"));
    // A command is typed as always, to the cluster of the scene; digits in it are digits.
    terminal.press("GET x1\r");
    terminal.wait_line("(nil)");
    // Blank, and back by any key, which does nothing else.
    terminal.press("b");
    terminal.wait("nothing is shown", |t| !t.shows("Scene 9 of 10"));
    terminal.press("1");
    terminal.wait_shows("Scene 9 of 10");
    terminal.press("1");
    terminal.wait_shows("restarted empty");
    // Freeze and step, in a scene.
    terminal.press(F2);
    terminal.wait_shows("time stands");
    terminal.press(RIGHT);
    terminal.press(ESCAPE);
    terminal.wait_shows("PgDn GET color");
    // Once more, from its question.
    terminal.press(PAGE_UP);
    terminal.wait_shows("1. (nil): server 1 is primary");
    terminal.press("TOUR lease\r");
    terminal.wait_shows("Without lease: a replaced primary");
    terminal.press("1");
    terminal.wait_shows("UNSAFE");
    terminal.press("TOUR nothing\r");
    terminal.wait_shows("there is no scene nothing");
    terminal.press(ESCAPE);
    terminal.wait_shows("mango");
    terminal.wait("the rules are in force", |t| !t.shows("UNSAFE"));
    terminal.press("GET fruit\r");
    terminal.wait_line("\"mango\"");
    terminal.press("HANDS 1 2\r");
    terminal.wait_shows("nobody was asked");
    terminal.press(CTRL_D);
    terminal.wait_success();
}
