//! The README's pictures are scripted runs of the program, and play here as tests.
//!
//! `UNDERSTUDY_PICTURES=assets cargo test --release --test pictures` makes them anew, on a quiet machine: `load.svg`,
//! `five.svg`, and the recordings `demo.cast`, `paused.cast` and `steps.cast`, of which a renderer of asciicasts
//! makes the moving ones: `svg-term --in assets/demo.cast --out assets/demo.svg --from 100 --window` (from npm:
//! svg-term-cli, whose own first frame is blank). With figures that the README denies, because the machine was busy,
//! nothing is made, and the test fails.
#![cfg(feature = "mpi")]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::film::{contradictions, svg};
use support::job::{Place, Turn, UNDERSTUDY};
use support::terminal::{CTRL_D, ESCAPE, F2, F5, LEFT, PAGE_DOWN, RIGHT, Size, Terminal};

/// Where the pictures go, if they are wanted.
fn folder() -> Option<PathBuf> {
    std::env::var_os("UNDERSTUDY_PICTURES").map(PathBuf::from)
}

/// A script: its name and its lines. A line is a size, arguments, a pause (when recording), keys, or what must be seen;
/// `full` says that the first frame is complete, `picture` that a still one is taken, `virtual` that no time on the
/// screen is that of the machine.
fn play(name: &str, script: &str) {
    let lines = || script.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
    let said = |word: &str| lines().find(|(first, _)| *first == word).map_or("", |(_, rest)| rest);
    let (columns, rows) = said("size").split_once('x').expect("columns and rows");
    let size = Size(columns.parse().expect("a number"), rows.parse().expect("a number"));

    let _turn = Turn::take();
    let place = Place::new();
    let mut command = Command::new("setsid");
    command.args(["--ctty", UNDERSTUDY]);
    let is_virtual = lines().any(|(word, _)| word == "virtual");
    if folder().is_none() && !is_virtual {
        // With this much patience a busy machine changes no view.
        command.args(["--pace", "4"]);
    }
    command.args(said("arguments").split(' '));
    place.furnish(&mut command);
    let mut terminal = Terminal::start(command, size);
    let mut faults = Vec::new();
    for (word, rest) in lines() {
        match word {
            "#" | "size" | "arguments" | "virtual" | "" => {}
            "wait" if folder().is_some() => {
                std::thread::sleep(Duration::from_secs_f64(rest.parse().expect("seconds")));
                if !is_virtual {
                    faults.extend(contradictions(&terminal.lines()));
                }
            }
            "wait" => {}
            "see" => terminal.wait_shows(rest),
            "full" => terminal.begin_recording(),
            "enter" => terminal.press("\r"),
            "key" => terminal.press(key(rest).unwrap_or_else(|| panic!("assets/{name}.txt: what is the key {rest}?"))),
            "type" => {
                for letter in rest.chars() {
                    terminal.press(&letter.to_string());
                    if folder().is_some() {
                        std::thread::sleep(Duration::from_millis(90));
                    }
                }
            }
            "picture" => {
                let picture = svg(terminal.screen().screen());
                assert!(picture.contains("PRIMARY") && picture.ends_with("</svg>\n"), "{picture}");
                if let Some(folder) = folder().filter(|_| faults.is_empty()) {
                    std::fs::write(folder.join(format!("{name}.svg")), picture).expect("the folder is there");
                }
            }
            _ => panic!("assets/{name}.txt: what is {word:?}?"),
        }
    }
    assert!(faults.is_empty(), "the machine is too busy for pictures, nothing was made:\n{}", faults.join("\n"));
    let recording = terminal.recording();
    terminal.press(CTRL_D);
    terminal.wait_success();
    if let (Some(folder), Some(recording)) = (folder(), recording) {
        std::fs::write(folder.join(format!("{name}.cast")), recording).expect("the folder is there");
    }
}

/// What a terminal sends for a key.
fn key(name: &str) -> Option<&'static str> {
    Some(match name {
        "F2" => F2,
        "F5" => F5,
        "Right" => RIGHT,
        "Left" => LEFT,
        "PgDn" => PAGE_DOWN,
        "Esc" => ESCAPE,
        _ => return None,
    })
}

#[test]
fn the_moving_picture_is_what_happens() {
    play("demo", include_str!("../assets/demo.txt"));
}

#[test]
fn the_scene_of_the_paused_primary_is_what_happens() {
    play("paused", include_str!("../assets/paused.txt"));
}

#[test]
fn freezing_stepping_and_going_back_is_what_happens() {
    play("steps", include_str!("../assets/steps.txt"));
}

#[test]
fn the_picture_of_load_is_what_happens() {
    play("load", include_str!("../assets/load.txt"));
}

#[test]
fn the_picture_of_five_servers_is_what_happens() {
    play("five", include_str!("../assets/five.txt"));
}

#[test]
fn figures_that_the_readme_denies_are_found() {
    let busy = [
        "│ PUT color red OK 62.1ms │",
        "decide              ▇    20 ms",
        "failover 244 ms",
        " p50 7.2ms  p99 60.1ms",
        "detect       ▇▇▇▇▇▇▇    143 ms",
    ];
    let quiet = [
        "│ PUT color red OK 637µs │",
        "server 2 suspects server 1: silent for 50 ms  decide              ▇   0.3 ms",
        "failover 52 ms",
        " p50 362µs  p99 38ms",
        " 00:02.3 view 2: primary 2, no backup: server 1 silent for 50 ms",
        "detect       ▇▇▇▇▇▇▇     50 ms",
        "│ a value of 900 ms │",
    ];
    let lines: Vec<String> = busy.iter().chain(&quiet).map(|line| (*line).to_owned()).collect();
    assert_eq!(contradictions(&lines), busy);
}
