//! Several hosts, as network namespaces joined by a switch: `--hostfile`, and cables that are pulled out.
//!
//! Every host has a network of its own and a name of its own; mpirun reaches it through an agent that takes the place
//! of ssh. Where namespaces are not permitted (they need root), these tests are skipped with a word.
#![cfg(feature = "mpi")]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use support::job::{Job, PATIENCE, Place, UNDERSTUDY};
use support::load::{number, wait_progress};
use support::skip;

/// The network of all hosts.
const NETWORK: &str = "10.77.0";
/// After a cable was out TCP tries again ever more rarely: this takes as long again as it was out, and more.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// Hosts 1 to n at a switch; gone when dropped.
struct Hosts {
    name: String,
    count: u32,
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Hosts {
    /// `None`, after a word, where that is not permitted.
    fn start(test: &str, count: u32) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let hosts = Self { name: format!("us{}-{number}", std::process::id()), count };
        let mut lacks: Vec<String> = [skip::root(), skip::program("ip", "iproute2")].into_iter().flatten().collect();
        if lacks.is_empty() {
            lacks.extend(hosts.build().err().map(|why| format!("no network namespaces here: {why}")));
        }
        skip::can_run(test, &lacks).then_some(hosts)
    }

    fn build(&self) -> Result<(), String> {
        let name = &self.name;
        ip(&format!("netns add {name}"))?;
        ip(&format!("-n {name} link add switch type bridge"))?;
        ip(&format!("-n {name} link set switch up"))?;
        for host in 1..=self.count {
            ip(&format!("netns add {name}-{host}"))?;
            ip(&format!("-n {name} link add port{host} type veth peer name eth0 netns {name}-{host}"))?;
            ip(&format!("-n {name} link set port{host} master switch up"))?;
            ip(&format!("-n {name}-{host} addr add {NETWORK}.{host}/24 dev eth0"))?;
            ip(&format!("-n {name}-{host} link set lo up"))?;
            ip(&format!("-n {name}-{host} link set eth0 up"))?;
        }
        Ok(())
    }

    /// Pulls the cable of this host out of the switch, or puts it in again.
    fn plug(&self, host: u32, up: bool) {
        let up = if up { "up" } else { "down" };
        ip(&format!("-n {} link set port{host} {up}", self.name)).expect("the switch is ours");
    }

    /// The program on host 1, one rank on each host.
    fn job(&self, args: &[&str]) -> Job {
        let servers = (self.count - 1).to_string();
        let args = [&["--servers", &servers, "--failure-rate", "0"], args].concat();
        Job::of(&args, |place| {
            let hostfile = place.path().join("hosts");
            let lines = (1..=self.count).map(|host| format!("{NETWORK}.{host} slots=1\n"));
            std::fs::write(&hostfile, lines.collect::<String>()).expect("the place is ours");
            let agent = self.agent(place);
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &format!("{}-1", self.name), "unshare", "--uts", "sh", "-c"]);
            command.args(["hostname host1; exec \"$@\"", "sh", UNDERSTUDY, "--hostfile"]).arg(hostfile);
            command.env("OMPI_MCA_plm_rsh_agent", agent);
            for layer in ["btl", "oob"] {
                command.env(format!("OMPI_MCA_{layer}_tcp_if_include"), format!("{NETWORK}.0/24"));
            }
            command
        })
    }

    /// What mpirun calls instead of ssh: a host, and a line for its shell.
    fn agent(&self, place: &Place) -> std::path::PathBuf {
        let path = place.path().join("agent");
        let script = format!(
            "#!/bin/sh\nhost=${{1##*.}}\nshift\nexec ip netns exec {}-$host {named} \"hostname host$host; $*\"\n",
            self.name,
            named = "unshare --uts sh -c"
        );
        std::fs::write(&path, script).expect("the place is ours");
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
        path
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 1..=self.count {
            let _ = ip(&format!("netns del {}-{host}", self.name));
        }
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// The host that a rank runs on: by turns, rank 0 on the first.
fn host_of(rank: u32) -> u32 {
    rank + 1
}

/// Waits until both servers serve together again, whoever leads.
#[track_caller]
fn wait_whole(job: &mut Job) -> u32 {
    let begun = Instant::now();
    loop {
        let status = job.status();
        if let Some(primary) = status.primary.filter(|primary| status.is_led_by(*primary, &[3 - primary])) {
            return primary;
        }
        if begun.elapsed() > HEALED_WITHIN {
            job.fail(&format!("not whole again:\n{status}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_cable_is_pulled_out_and_put_in_again() {
    let Some(hosts) = Hosts::start("a_cable_is_pulled_out_and_put_in_again", 3) else { return };
    let mut job = hosts.job(&[]);
    wait_whole(&mut job);
    job.expect("PUT kept yes", "OK");
    job.expect("LOAD 300", "OK");
    wait_progress(&mut job, HEALED_WITHIN, 100);

    // The primary's: the other takes over and serves alone.
    let primary = wait_whole(&mut job);
    hosts.plug(host_of(primary), false);
    job.wait_status("the backup has taken over", |status| status.primary == Some(3 - primary));
    wait_progress(&mut job, HEALED_WITHIN, 300);
    job.expect("GET kept", "yes");
    hosts.plug(host_of(primary), true);
    assert_eq!(wait_whole(&mut job), 3 - primary);

    // The backup's: writes go on without it.
    let primary = 3 - primary;
    hosts.plug(host_of(3 - primary), false);
    job.wait_status("the primary is alone", |status| status.primary == Some(primary) && status.backups.is_empty());
    wait_progress(&mut job, HEALED_WITHIN, 300);
    hosts.plug(host_of(3 - primary), true);
    assert_eq!(wait_whole(&mut job), primary);

    // The console's: nobody is asked, nothing fails over, and what was asked is answered afterwards.
    hosts.plug(1, false);
    job.expect("SLEEP 1.5", "OK");
    let view = job.status().view;
    hosts.plug(1, true);
    wait_progress(&mut job, HEALED_WITHIN, 300);
    assert_eq!(job.status().view, view);

    job.expect("LOAD off", "OK");
    let line = job.ask("LOAD");
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    assert!(number(&line, "failovers") >= 1, "{line}");
    eprintln!("{line}");
    job.expect("GET kept", "yes");
    job.end(0);
}

/// By a spare, and by a process that is started on the first host and reached over TCP.
#[test]
fn a_server_on_another_host_is_killed_and_replaced() {
    let Some(hosts) = Hosts::start("b", 3) else { return };
    for spares in ["2", "0"] {
        let mut job = hosts.job(&["--spares", spares]);
        job.expect("PUT kept yes", "OK");
        for _ in 0..2 {
            let primary = wait_whole(&mut job);
            let before = job.status().pid(primary);
            job.expect("KILL primary", "OK");
            job.expect("GET kept", "yes");
            job.wait_status("another process", |status| status.pid(primary) != before && status.is_whole());
        }
        wait_whole(&mut job);
        job.expect("CRASH primary", "OK");
        job.expect("GET kept", "yes");
        job.end(0);
    }
}

#[test]
fn a_hostfile_that_is_none_is_told_in_one_line() {
    let place = Place::new();
    let empty = place.path().join("empty");
    std::fs::write(&empty, "# nobody\n").expect("the place is ours");
    for (file, word) in [(Path::new("/nowhere/hosts"), "cannot be read"), (&empty, "names no host")] {
        let mut job = Job::of(&["--hostfile", file.to_str().expect("a plain name")], |_| Command::new(UNDERSTUDY));
        let begun = Instant::now();
        let ended = job.wait_end();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(word) && ended.stderr.lines().count() == 1, "{ended:?}");
        assert!(begun.elapsed() < PATIENCE);
    }
}
