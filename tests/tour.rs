//! The tour: every scene comes out as it says, always the same way; whoever writes one learns what is wrong with it.

#[cfg(feature = "mpi")]
mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use understudy::app::play_scene;
use understudy::ui::tour::scene::{TourAnswer, TourScene, TourSign};
use understudy::ui::tour::{faults, scenes};

/// What the program says to these words, and its exit code. Nothing is typed.
fn tour(words: &[&str]) -> (String, String, i32) {
    said(&mut Command::new(env!("CARGO_BIN_EXE_understudy")), words)
}

fn said(command: &mut Command, words: &[&str]) -> (String, String, i32) {
    command.arg("tour").args(words).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let output = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (text(output.stdout), text(output.stderr), output.status.code().expect("it was not killed"))
}

fn lecture() -> Vec<TourScene> {
    scenes::lecture().expect("they are scenes")
}

#[test]
fn every_scene_of_the_lecture_comes_out_as_it_says_and_always_the_same_way() {
    let lecture = lecture();
    assert_eq!(lecture.len(), 10);
    for scene in &lecture {
        let played = play_scene(scene).expect("it begins");
        assert_eq!(faults(scene, &played), Vec::<String>::new(), "{}: {played:#?}", scene.name);
        assert!(played.verdict.starts_with("linearizable"), "{}: {}", scene.name, played.verdict);
        assert_eq!(play_scene(scene).as_ref(), Ok(&played), "{}", scene.name);
    }
}

#[test]
fn every_scene_says_how_the_store_was_judged_what_exactly_was_answered_and_what_happened() {
    for scene in lecture().iter().chain(&scenes::of_rules().expect("they are scenes")) {
        let is = |sign: fn(&TourSign) -> bool| scene.proof.iter().any(|proof| sign(&proof.what));
        assert!(is(|sign| matches!(sign, TourSign::Verdict(_))), "{} has no verdict", scene.name);
        let last = scene.play.last().expect("something happens");
        let is_exact = matches!(&last.expected[..], [TourAnswer::Is(_) | TourAnswer::IsNot(_)]);
        assert!(is_exact, "{}: {} has no answer", scene.name, last.command);
        // A bad line leaves no events; that is its point.
        let is_quiet = ["bad-line", "sessions", "join-before-count"].contains(&scene.name.as_str());
        assert!(is_quiet || is(|sign| matches!(sign, TourSign::Event(_))), "{} has no event", scene.name);
        assert!(!scene.saw.is_empty(), "{} does not say what was seen", scene.name);
    }
}

/// A scene that is not so: with other text in the place of some.
fn spoilt(from: &str, to: &str) -> Vec<String> {
    let scene = scenes::find("dead-or-slow").expect("it is there");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&scene.file)).expect("text");
    assert!(text.contains(from), "{from}");
    let spoilt = understudy::ui::tour::scene::read("x", "x.txt", &text.replacen(from, to, 1)).expect("a scene");
    faults(&spoilt, &play_scene(&spoilt).expect("it begins"))
}

#[test]
fn a_scene_that_does_not_come_out_is_found() {
    assert!(spoilt("→ red", "→ blue")[0].contains("GET color is answered red, and blue was announced"));
    assert!(spoilt("no event crashed", "event crashed")[0].contains("no event says `crashed`"));
    assert!(spoilt("event server 1 paused", "no event server 1 paused")[0].contains("an event says `server 1 paused`"));
    assert!(spoilt("linearizable: 3", "linearizable: 4")[0].contains("CHECK says: linearizable: 3"));
    // Without the second failover's time.
    assert!(!spoilt("PAUSE 1", "CRASH 1").is_empty(), "it does not say that it was paused");
}

#[test]
fn they_are_listed_checked_and_told() {
    let (list, _, code) = tour(&["--list"]);
    assert_eq!(code, 0);
    assert!(list.contains("   3  dead-or-slow          Dead, or only slow"), "{list}");
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");

    let (checked, _, code) = tour(&["--check", "3", "lease"]);
    assert_eq!(code, 0, "{checked}");
    let passed: Vec<&str> = checked.lines().filter_map(|line| line.strip_prefix("passed      ")).collect();
    assert!(passed.len() == 2 && passed[0].starts_with("dead-or-slow") && passed[1].starts_with("lease"), "{checked}");

    let (told, _, code) = tour(&["--plain", "3"]);
    assert_eq!(code, 0);
    for words in [
        "Scene 3 of 10: Dead",
        "3. No. And it need not.",
        "> PAUSE 1",
        "event: view 2: primary 2",
        "Right: 3. ",
        "Why: ",
    ] {
        assert!(told.contains(words), "no `{words}` in\n{told}");
    }
    assert!(told.find("Why: ") > told.find("> GET color"), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");

    let (_, why, code) = tour(&["--check", "eleven"]);
    assert_eq!(code, 1);
    assert!(why.contains("there is no scene eleven: choose 1 to 10, or one of who-has-it"), "{why}");
}

#[test]
fn whoever_writes_a_scene_learns_what_is_wrong_and_where() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scenes");
    std::fs::create_dir_all(&folder).expect("room");
    let file = folder.join("mine.txt");
    let name = file.to_str().expect("plain");
    let write = |options: &str, answer: &str| {
        let text = format!(
            "title Mine\n[ask]\nq\n- a\n* b\n[setup]\n{options}\nPUT a 1\n[do]\nGET a\n→ {answer}\n[see]\nverdict \
             linearizable\n[why]\nw\n"
        );
        std::fs::File::create(&file).and_then(|mut file| file.write_all(text.as_bytes())).expect("room");
        tour(&["--check", name])
    };
    let (said, _, code) = write("--servers 3", "1");
    assert_eq!((said.as_str(), code), ("passed      mine  Mine\n", 0));
    let (said, _, code) = write("--servers 3", "2");
    assert_eq!(code, 1);
    assert!(said.contains("FAILED      mine") && said.contains("mine.txt:10: GET a is answered 1"), "{said}");
    for (options, wrong) in [
        ("--servers 9", "mine.txt:7: invalid value '9' for '--servers <N>'"),
        ("--door 1", "mine.txt:7: --door is no option of a scene: there are --servers"),
        ("--servers 2 bench", "mine.txt:7: "),
        ("PTU a 1", "mine.txt:7: unknown command 'PTU': did you mean PUT?"),
    ] {
        let (_, said, code) = write(options, "1");
        assert_eq!(code, 1, "{options}");
        assert!(said.contains(wrong), "{options}: {said}");
    }
}

#[test]
#[cfg(feature = "mpi")]
fn over_mpi_the_same_is_seen_or_the_reason_why_it_is_not() {
    let _turn = support::job::Turn::take();
    let place = support::job::Place::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    place.furnish(&mut command);
    let scenes = ["--check", "--mpi", "dead-or-slow", "quick-restart", "late-letter"];
    let (told, why, code) = said(&mut command, &scenes);
    assert_eq!(code, 0, "{told}{why}");
    let starts = ["passed      dead-or-slow", "passed      quick-restart", "not played  late-letter"];
    assert!(told.lines().zip(starts).all(|(line, start)| line.starts_with(start)), "{told}");
}
