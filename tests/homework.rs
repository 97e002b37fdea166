//! The pages for teachers and students: every command of theirs can be typed, and answers what they say.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Commands that need a terminal of their own.
const ON_A_SCREEN: &[&str] = &["understudy --present tour", "understudy notes"];

/// The text of a page, without the marks of a comment.
fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs").join(name);
    let text = std::fs::read_to_string(path).expect("the page is there");
    text.lines().map(|line| line.strip_prefix("//!").map_or("", |line| line.strip_prefix(' ').unwrap_or(line))).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    )
}

/// The blocks of a page that are of this kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let start = format!("```{kind}\n");
    page.split(&start).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("homework");
    std::fs::create_dir_all(&folder).expect("room");
    folder
}

/// Types a command; gives what is answered.
fn typed(line: &str) -> String {
    let words = line.strip_prefix("understudy ").unwrap_or_else(|| panic!("{line} is another program's")).split(' ');
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command.args(words).current_dir(folder()).env("LC_ALL", "C.UTF-8").stdin(std::process::Stdio::null());
    let output = command.output().expect("the program starts");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn try_all(name: &str) -> usize {
    let mut commands = 0;
    let mut said = String::new();
    let page = page(name);
    for line in blocks(&page, "sh").iter().flat_map(|block| block.lines()) {
        if let Some(words) = line.strip_prefix("# → ") {
            assert!(said.contains(words), "{name}: no `{words}` in\n{said}");
        } else if !ON_A_SCREEN.contains(&line) {
            said = typed(line);
            commands += 1;
        }
    }
    commands
}

#[test]
fn the_commands_of_the_lecture_are_true() {
    assert_eq!(try_all("lecture.rs"), 2);
}

#[test]
fn the_commands_of_the_homework_are_true_and_so_is_its_scene() {
    let scenes = blocks(&page("homework.rs"), "text");
    assert_eq!(scenes.len(), 1);
    std::fs::write(folder().join("mine.txt"), &scenes[0]).expect("room");
    assert_eq!(try_all("homework.rs"), 6);
}
