//! Tests that cannot run here say so: at once, and once more when all tests have run.
//!
//! A test program's output is swallowed when its tests pass, so who skips a test leaves a note as well, and the last
//! test program (`tests/what_was_skipped.rs`) reads the notes to whoever ran them all. A test that runs takes its own
//! note away: what is read is what happened last.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the notes are.
pub fn notes() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped")
}

/// Whether this test can run. If it lacks something it is skipped, with a word.
#[must_use]
pub fn can_run(test: &str, lacks: &[String]) -> bool {
    let note = notes().join(test);
    let _ = std::fs::remove_file(&note);
    if lacks.is_empty() {
        return true;
    }
    let why = lacks.join("; ");
    // Not `eprintln`, which is swallowed.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
    std::fs::create_dir_all(notes()).and_then(|()| std::fs::write(note, why)).expect("cargo made the folder for this");
    false
}

/// What the notes in this folder say.
pub fn summary(notes: &Path) -> String {
    let mut lines: Vec<String> = std::fs::read_dir(notes)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|note| {
            let why = std::fs::read_to_string(note.path()).ok()?;
            Some(format!("  {}: {why}\n", note.file_name().to_string_lossy()))
        })
        .collect();
    lines.sort();
    match lines.len() {
        0 => "no test was skipped\n".to_owned(),
        1 => format!("1 test was skipped:\n{}", lines.concat()),
        many => format!("{many} tests were skipped:\n{}", lines.concat()),
    }
}

/// What a test that has to be root lacks.
pub fn root() -> Option<String> {
    (!rustix::process::geteuid().is_root()).then(|| "it needs root".to_owned())
}

/// What a test lacks that calls this program of this package.
pub fn program(name: &str, package: &str) -> Option<String> {
    let found = Command::new(name).arg("--version").output();
    found.is_err().then(|| format!("`{name}` is not found: install {package}"))
}
