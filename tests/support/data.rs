//! Folders for `--data`.

use super::job::{Job, UNDERSTUDY};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder for data, removed when dropped.
pub struct Data(pub PathBuf);

impl Data {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("understudy-data-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub fn text(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }

    pub fn of(&self, rank: u32) -> PathBuf {
        self.0.join(format!("rank-{rank}"))
    }

    /// The newest file of a rank's log.
    pub fn newest(&self, rank: u32) -> PathBuf {
        let files = std::fs::read_dir(self.of(rank)).expect("there is a log");
        let paths = files.map(|entry| entry.expect("it can be read").path());
        let logs = paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")));
        logs.max().expect("there is a file")
    }

    pub fn start(&self, servers: u32, options: &[&str]) -> Job {
        let servers = servers.to_string();
        let mut args = vec!["--plain", "--failure-rate", "0", "--servers", &servers, "--data", self.text()];
        args.extend(options);
        Job::start(&args)
    }

    pub fn log(&self, options: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(UNDERSTUDY).arg("log").arg(&self.0).args(options).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let to = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("it can be copied");
        }
    }
}
