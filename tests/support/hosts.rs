//! Several hosts, as network namespaces joined by a switch.
//!
//! Every host has a network of its own and a name of its own; mpirun reaches it through an agent that takes the place
//! of ssh. Where namespaces are not permitted (they need root), tests that want them are skipped with a word.

use super::job::{Job, Place, UNDERSTUDY};
use super::skip;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The network of all hosts.
const NETWORK: &str = "10.77.0";
/// Hosts 1 to n at a switch; gone when dropped.
pub struct Hosts {
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
    pub fn start(test: &str, count: u32) -> Option<Self> {
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
    pub fn plug(&self, host: u32, up: bool) {
        let up = if up { "up" } else { "down" };
        ip(&format!("-n {} link set port{host} {up}", self.name)).expect("the switch is ours");
    }

    /// Where this host is.
    pub fn address(host: u32) -> String {
        format!("{NETWORK}.{host}")
    }

    /// A program on this host.
    pub fn command(&self, host: u32, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.name), program]);
        command
    }

    /// The program on host 1, its ranks on all hosts by turns.
    pub fn job(&self, args: &[&str]) -> Job {
        Job::of(args, |place| {
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
    fn agent(&self, place: &Place) -> PathBuf {
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
