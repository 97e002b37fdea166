//! What the operating system knows of a process: CPU time, context switches, memory.

use std::fs;
use std::time::Duration;

/// What a process has used up so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time on a core, all threads.
    pub cpu: Duration,
    /// How often it gave its core away, or had to.
    pub switches: u64,
}

impl std::ops::Sub for Usage {
    type Output = Usage;
    fn sub(self, earlier: Usage) -> Usage {
        Usage { cpu: self.cpu.saturating_sub(earlier.cpu), switches: self.switches.saturating_sub(earlier.switches) }
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(all: I) -> Usage {
        all.fold(Usage::default(), |sum, one| Usage { cpu: sum.cpu + one.cpu, switches: sum.switches + one.switches })
    }
}

/// What `pid` has used up; nothing when it is gone. To the nanosecond, where the usual clock ticks are too
/// coarse for an idle process.
#[must_use]
pub fn usage(pid: u32) -> Usage {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Usage::default() };
    threads
        .flatten()
        .map(|thread| {
            let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let nanos = read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            let switches = read("status")
                .lines()
                .filter_map(|line| line.split_once("ctxt_switches:"))
                .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
                .sum();
            Usage { cpu: Duration::from_nanos(nanos), switches }
        })
        .sum()
}

/// Bytes of memory that `pid` really occupies.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// The ranks among the descendants of `ancestor`: processes that an mpirun started.
#[must_use]
pub fn ranks_under(ancestor: u32) -> Vec<u32> {
    let everybody: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![ancestor];
    let mut at = 0;
    while at < family.len() {
        let head = family[at];
        family.extend(everybody.iter().filter(|(_, parent)| *parent == head).map(|(pid, _)| *pid));
        at += 1;
    }
    family.retain(|pid| is_rank(*pid));
    family
}

fn parent(pid: u32) -> Option<u32> {
    // The command name stands in parentheses and may contain anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn is_rank(pid: u32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let variables = ["OMPI_COMM_WORLD_RANK=", "PMIX_RANK=", "PMI_RANK="];
    environment.split(|byte| *byte == 0).any(|one| variables.iter().any(|name| one.starts_with(name.as_bytes())))
}

/// The machine in one line, for those who read the figures later.
#[must_use]
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {}, Linux {}", field("model name").unwrap_or_else(|| "unknown CPU".into()), kernel.trim())
}

/// How many programs wanted a core at once, averaged over the last minute.
#[must_use]
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let me = std::process::id();
        let before = usage(me);
        let begun = std::time::Instant::now();
        // Where others want the cores, it takes a while to get some of them.
        while (usage(me) - before).cpu <= Duration::from_millis(2) {
            assert!(begun.elapsed() < Duration::from_secs(10), "nothing is counted");
        }
        assert!(resident_bytes(me) > 1 << 20);
        assert!(ranks_under(me).is_empty());
    }
}
