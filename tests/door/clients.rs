//! Real clients, as they are, while the primary is killed again and again.

use crate::cluster::{kill_primary, open};
use crate::support::job::Job;
use crate::support::skip::{can_run, program};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Each client works for this many seconds.
const SECONDS: &str = "3";
/// The primary is killed this often meanwhile.
const KILL_INTERVAL: Duration = Duration::from_millis(900);

/// What tests in JavaScript need, and the packages that it comes in.
pub const NODE: &[(&str, &str)] = &[("node", "nodejs"), ("npm", "npm")];

/// A folder with what a test needs, or what is missing for one.
pub type Folder<'a> = &'a dyn Fn() -> Result<PathBuf, String>;

/// These folders, if these programs (and the packages that they come in) are there and everything can be fetched;
/// otherwise the test is said to be skipped.
pub fn with_folders(test: &str, programs: &[(&str, &str)], folders: &[Folder<'_>]) -> Option<Vec<PathBuf>> {
    let mut lacks: Vec<String> = programs.iter().filter_map(|(name, package)| program(name, package)).collect();
    let mut found = Vec::new();
    if lacks.is_empty() {
        for folder in folders {
            folder().map_or_else(|why| lacks.push(why), |folder| found.push(folder));
        }
    }
    can_run(test, &lacks).then_some(found)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A folder with these files and the packages that they name, installed anew when the files have changed; or what is
/// missing for one.
pub fn packages(folder: &str, files: &[PathBuf], install: impl FnOnce(&Path) -> Output) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().map_err(|error| error.to_string())?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut whole = Vec::new();
    for file in files {
        let text = std::fs::read(file).map_err(|error| error.to_string())?;
        std::fs::write(folder.join(file.file_name().unwrap_or_default()), &text).map_err(|error| error.to_string())?;
        whole.extend(text);
    }
    let stamp = folder.join("installed");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == whole) {
        return Ok(folder);
    }
    let output = install(&folder);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        return Err(format!("its packages cannot be fetched: {said}"));
    }
    std::fs::write(&stamp, whole).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// The packages of `tests/clients/package.json`, and these programs beside them.
pub fn npm(programs: &[&str]) -> Result<PathBuf, String> {
    let folder = packages("clients-npm", &[source("package.json")], |folder| {
        let args = ["install", "--no-audit", "--no-fund", "--ignore-scripts"];
        Command::new("npm").args(args).current_dir(folder).output().expect("it was looked for before")
    })?;
    for program in programs {
        std::fs::copy(source(program), folder.join(program)).map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

fn pip() -> Result<PathBuf, String> {
    packages("clients-pip", &[source("requirements.txt")], |folder| {
        let venv = Command::new("python3").args(["-m", "venv", "."]).current_dir(folder).output();
        let venv = venv.expect("it was looked for before");
        if !venv.status.success() {
            return venv;
        }
        let args = ["install", "--quiet", "-r", "requirements.txt"];
        Command::new("bin/pip").args(args).current_dir(folder).output().expect("a new environment has it")
    })
}

/// Runs a client while the primary is killed again and again.
fn run(job: &mut Job, command: &mut Command) {
    let mut client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it was looked for before");
    while client.try_wait().expect("it is ours").is_none() {
        std::thread::sleep(KILL_INTERVAL);
        kill_primary(job);
    }
    let ended = client.wait_with_output().expect("it has ended");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    eprint!("{said}");
}

#[test]
fn clients_in_javascript_notice_no_kill() {
    let name = "clients_in_javascript_notice_no_kill";
    let Some(folders) = with_folders(name, NODE, &[&|| npm(&["clients.mjs"])]) else { return };
    let (mut job, port) = open(&["--servers", "3"]);
    for client in ["ioredis5", "ioredis6", "node-redis", "node-redis-2", "libraries"] {
        let mut command = Command::new("node");
        command.args(["clients.mjs", &port.to_string(), client, SECONDS]).current_dir(&folders[0]);
        run(&mut job, &mut command);
    }
    job.end(0);
}

#[test]
fn clients_in_python_notice_no_kill() {
    let programs = [("python3", "python3-venv")];
    let Some(folders) = with_folders("clients_in_python_notice_no_kill", &programs, &[&pip]) else { return };
    let (mut job, port) = open(&["--servers", "3"]);
    let mut command = Command::new(folders[0].join("bin/python"));
    command.arg(source("clients.py")).args([&port.to_string(), SECONDS]);
    run(&mut job, &mut command);
    job.end(0);
}
