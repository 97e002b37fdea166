//! The program over the simulator: the same words and commands always end the same way.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use understudy::ui::stage::Recording;

/// What is the same in all of them: no dice, and who crashed stays away.
const CALM: [&str; 7] = ["--sim", "--seed", "1", "--failure-rate", "0", "--recover-after", "never"];

/// The program over the simulator, with further words; what it keeps goes into a folder of this name.
pub fn program(name: &str, words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_understudy"));
    program.args(CALM).args(words).env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
    program.env("XDG_STATE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    program
}

fn run(words: &[&str], commands: &[&str]) -> Output {
    let commands = commands.iter().flat_map(|line| ["-c", line]);
    program("sim", words).args(commands).output().expect("the program starts")
}

/// Plays commands; gives the answers, line by line, and what was told.
pub fn played(words: &[&str], commands: &[&str]) -> (Vec<String>, String) {
    let output = run(words, commands);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout).lines().map(str::to_owned).collect(), text(&output.stderr))
}

/// Plays commands, and records what happens; gives the file.
pub fn recorded_in(name: &str, commands: &[&str]) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let output = run(&["--record", file.to_str().expect("a plain name")], commands);
    assert!(output.status.success(), "{output:?}");
    file
}

/// The same, read again.
pub fn recorded(name: &str, commands: &[&str]) -> Recording {
    Recording::open(&recorded_in(name, commands)).expect("it was just recorded")
}
