//! Recordings: what was on the screen can be stopped, stepped through, and gone back over.

mod support;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use understudy::ui::commands::moves::Move;
use understudy::ui::dashboard::{Face, Theme, ThemeName, view};
use understudy::ui::stage::recording::RecordingError;
use understudy::ui::stage::replay::Replay;
use understudy::ui::stage::{Player, Recording};

/// A failover, as a script.
const SCRIPT: [&str; 7] = ["PUT a 1", "CRASH primary", "GET a", "SLEEP 3", "RECOVER", "PUT b 2", "SLEEP 5"];

fn understudy(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_understudy")).args(words).output().expect("the program starts")
}

/// Plays the script over the simulator and records it.
fn recorded(name: &str) -> PathBuf {
    support::sim::recorded_in(name, &SCRIPT)
}

fn player(file: &Path) -> Player {
    Player::new(Recording::open(file).expect("it was just recorded"))
}

/// The picture here, the moment after it came to be so.
fn picture(player: &Player) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(100, 30)).expect("memory");
    let theme = Theme::new(ThemeName::Dark, false);
    terminal
        .draw(|frame| view::draw(frame, player.model(), &Face::default(), &theme, &[], player.now()))
        .expect("memory");
    terminal.backend().buffer().clone()
}

#[test]
fn so_many_steps_forward_and_back_are_the_same_picture() {
    let file = recorded("steps.recording");
    let mut player = player(&file);
    let mut pictures = vec![picture(&player)];
    while player.forward() {
        pictures.push(picture(&player));
    }
    assert!(pictures.len() > 20, "a failover has more to it than {} steps", pictures.len());
    assert!(player.is_over() && player.step().0 == pictures.len() - 1);
    for (at, before) in pictures.iter().enumerate().rev().skip(1) {
        assert!(player.back());
        assert_eq!(picture(&player), *before, "step {at}, on the way back");
    }
    assert!(!player.back(), "this is the start");
    for (at, after) in pictures.iter().enumerate().skip(1) {
        assert!(player.forward());
        assert_eq!(picture(&player), *after, "step {at}, the second time");
    }
    // The end is what a screen would have shown that never stopped.
    let all = Recording::open(&file).expect("it was read before");
    player.end();
    let mut model = understudy::ui::dashboard::Model::new(all.heading.setup.clone(), all.heading.begun);
    for (at, news) in &all.pieces {
        model.fold(*at, news);
        model.tick(*at);
    }
    let (now, theme) = (player.now(), Theme::new(ThemeName::Dark, false));
    let mut terminal = Terminal::new(TestBackend::new(100, 30)).expect("memory");
    terminal.draw(|frame| view::draw(frame, &model, &Face::default(), &theme, &[], now)).expect("memory");
    assert_eq!(picture(&player), *terminal.backend().buffer());
}

#[test]
fn turns_are_fewer_than_steps_and_a_pause_is_told() {
    let mut replay = player(&recorded("turns.recording"));
    let mut turns = 0;
    let mut pauses = Vec::new();
    while replay.next_turn() {
        turns += 1;
    }
    let (_, steps) = replay.step();
    assert!((5..steps).contains(&turns), "{turns} turns, {steps} steps");
    assert!(replay.last_turn());
    replay.start();
    while replay.forward() {
        pauses.extend(replay.pause_before());
    }
    assert!(!pauses.is_empty(), "the script sleeps");
    let mut replay = Replay::new(player(&recorded("bar.recording")), false);
    assert!(replay.bar().contains("step 1 of") && replay.bar().ends_with("frozen"), "{}", replay.bar());
    assert!(replay.act(Move::Play) && replay.bar().contains("1 steps a second"));
    assert!(replay.act(Move::Forward) && replay.bar().contains("step 2 of"), "a step freezes: {}", replay.bar());
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("memory");
    let theme = Theme::new(ThemeName::Mono, true);
    terminal.draw(|frame| replay.draw(frame, &theme, Duration::ZERO)).expect("memory");
    assert!(terminal.backend().to_string().contains("replay"));
    assert!(!replay.act(Move::Leave));
}

#[test]
fn without_a_terminal_the_events_are_told() {
    let output = understudy(&["replay", recorded("events.recording").to_str().expect("a plain name")]);
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    let order = ["view 1: primary 1, backup 2", "server 1 crashed", "server 2 suspects server 1", "view 2: primary 2"];
    let places: Vec<usize> =
        order.iter().map(|words| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"))).collect();
    assert!(places.is_sorted(), "{told}");
}

#[test]
fn what_is_cut_off_is_left_out_and_what_is_damaged_is_named() {
    let whole = fs::read(recorded("damage.recording")).expect("it is there");
    let all = Recording::read(&whole).expect("it is whole").pieces.len();
    let half = Recording::read(&whole[..whole.len() / 2]).expect("an end that is cut off is no damage").pieces.len();
    assert!(0 < half && half < all);
    assert!(matches!(Recording::read(b"#!/bin/sh\n"), Err(RecordingError::NoRecording)));
    let mut lie = whole.clone();
    let at = whole.iter().position(|byte| *byte == b'\n').expect("the first line") + 1;
    lie[at + 3] = 0xff;
    assert!(matches!(Recording::read(&lie), Err(RecordingError::Damaged(place)) if place == at as u64));
    // Nothing that a file may hold makes it panic.
    for at in (0..whole.len()).step_by(97) {
        let mut bent = whole.clone();
        bent[at] ^= 0x55;
        let _ = Recording::read(&bent).map(Player::new).map(|mut player| player.end());
    }
    let output = understudy(&["replay", "/dev/null"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no recording"), "{output:?}");
}
