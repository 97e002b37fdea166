//! The shop of `assets/web` as its visitors see it, while the primary's process is killed again and again.

use crate::clients::{NODE, npm, packages, with_folders};
use crate::cluster::{Client, end_service, kill_primary_of_service, open_service};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The primary is killed this often.
const KILLS: usize = 10;
/// And this often while a browser looks.
const KILLS_IN_THE_BROWSER: usize = 3;
const SERVERS: usize = 3;
/// Nobody buys for longer than this.
const SECONDS_MAX: &str = "120";
const CHROMIUM: &str = "/usr/bin/chromium";

/// The application, which ends when this goes.
struct Shop {
    process: Child,
    url: String,
}

impl Shop {
    /// Opens it beside this door.
    fn open(folder: &Path, door: u16) -> Self {
        let mut command = Command::new("node");
        command.arg("server.mjs").current_dir(folder);
        command.env("DOOR", door.to_string()).env("PORT", "0").env("HITS_MAX", "1000000");
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it was looked for before");
        let mut said = String::new();
        let told = process.stdout.take().expect("it is a pipe");
        BufReader::new(told).read_line(&mut said).expect("it says where it is");
        let url = said.split_whitespace().next().expect("it says where it is").to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{said}");
        Self { process, url }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The shop with what it needs, as `npm ci` installs it; or what is missing for that.
fn shop() -> Result<PathBuf, String> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/web");
    let files = ["package.json", "package-lock.json", "server.mjs", "drive.mjs"].map(|name| web.join(name));
    packages("shop", &files, |folder| {
        Command::new("npm").args(["ci"]).current_dir(folder).output().expect("it was looked for before")
    })
}

/// Waits for the end of a program that must be content, and tells what it said.
fn content(program: Child) {
    let ended = program.wait_with_output().expect("it has ended");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    eprint!("{said}");
}

#[test]
fn visitors_of_the_shop_notice_no_kill() {
    let Some(folders) = with_folders("visitors_of_the_shop_notice_no_kill", NODE, &[&shop]) else { return };
    let folder = &folders[0];
    let (job, port) = open_service(&["--servers", &SERVERS.to_string()]);
    let shop = Shop::open(folder, port);
    let mut drive = Command::new("node");
    drive.args(["drive.mjs", &shop.url, SECONDS_MAX]).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let drive = drive.spawn().expect("it was looked for before");
    let mut door = Client::new(port);
    for _ in 0..KILLS {
        std::thread::sleep(std::time::Duration::from_millis(300));
        kill_primary_of_service(&job, &mut door, SERVERS - 1);
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let told = rustix::process::kill_process(rustix::process::Pid::from_child(&drive), rustix::process::Signal::TERM);
    told.expect("it is ours, and goes on until it is told to end");
    content(drive);
    drop(shop);
    end_service(job);
}

#[test]
fn a_browser_shows_the_shop_while_the_primary_is_killed() {
    let name = "a_browser_shows_the_shop_while_the_primary_is_killed";
    let programs = [NODE, &[(CHROMIUM, "chromium")]].concat();
    let Some(folders) = with_folders(name, &programs, &[&shop, &|| npm(&["browser.mjs"])]) else { return };
    let (job, port) = open_service(&["--servers", &SERVERS.to_string()]);
    let shop = Shop::open(&folders[0], port);
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shop.png");
    let mut browser = Command::new("node");
    browser.arg("browser.mjs").args([&shop.url, CHROMIUM]).arg(&picture).current_dir(&folders[1]);
    let mut browser = browser.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it was looked for before");
    let mut door = Client::new(port);
    // It says when it has seen the first page, and goes on buying.
    let mut hearing = BufReader::new(browser.stdout.take().expect("it is a pipe"));
    let mut said = String::new();
    hearing.read_line(&mut said).expect("it speaks");
    if said.starts_with("it is open") {
        for _ in 0..KILLS_IN_THE_BROWSER {
            std::thread::sleep(std::time::Duration::from_millis(500));
            kill_primary_of_service(&job, &mut door, SERVERS - 1);
        }
    }
    std::io::Read::read_to_string(&mut hearing, &mut said).expect("it speaks");
    content(browser);
    assert!(said.contains("bought"), "{said}");
    drop(shop);
    end_service(job);
}
