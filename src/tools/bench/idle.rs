//! What an idle cluster costs: the real program, with and without its screen, watched from outside.

use super::processes::{Usage, ranks_under, usage};
use super::report::{BenchRow, Target};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it is watched.
const WATCH: Duration = Duration::from_secs(10);
const WATCH_QUICK: Duration = Duration::from_millis(500);
/// After the start everything comes to rest.
const REST: Duration = Duration::from_secs(2);
/// The cluster must have started after this long.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// The window that the dashboard is drawn in.
const WINDOW: &str = "stty rows 40 cols 140";

/// Measures both, and hands each figure to `row`.
///
/// # Errors
/// When the program cannot be started, or not in a terminal.
pub fn measure(servers: u32, quick: bool, row: &mut dyn FnMut(BenchRow)) -> Result<(), String> {
    let plain = watch(servers, false, quick)?;
    let dashboard = watch(servers, true, quick)?;
    let seconds = if quick { WATCH_QUICK } else { WATCH }.as_secs_f64();
    let figures = [("idle", "without the dashboard", plain, 2.0), ("idle", "with the dashboard", dashboard, 4.0)];
    for (at, (base, how, used, most)) in figures.into_iter().enumerate() {
        let suffix = if at == 0 { "" } else { "_dashboard" };
        let percent = used.cpu.as_secs_f64() / seconds * 100.0;
        let what = format!("CPU of all ranks of an idle cluster {how}, in % of one core");
        let against = format!("wanted: {most} % of one core");
        row(BenchRow::new(&format!("{base}_cpu{suffix}"), &what, percent, most, "%", &against)
            .wanted(Target::AtMost(1.0)));
        let what = format!("context switches of all ranks of an idle cluster {how}");
        // A heartbeat and its answer wake two ranks a hundred times a second.
        let least = 200.0;
        let name = format!("{base}_switches{suffix}");
        row(BenchRow::new(
            &name,
            &what,
            used.switches as f64 / seconds,
            least,
            "/s",
            "a heartbeat each 10 ms and its answer",
        ));
    }
    Ok(())
}

/// Ends the program however this ends.
struct RunningCluster(Child);

impl Drop for RunningCluster {
    fn drop(&mut self) {
        // It ends by itself when its input does.
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(b"\x04");
        }
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watch(servers: u32, screen: bool, quick: bool) -> Result<Usage, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?;
    let words = ["--servers", &servers.to_string(), "--failure-rate", "0"].map(str::to_owned);
    let mut command = if screen {
        // `script` gives it a terminal of its own.
        let mut script = Command::new("script");
        let line = format!("{WINDOW}; exec '{}' {}", program.display(), words.join(" "));
        script.args(["-qfc", &line, "/dev/null"]).env("TERM", "xterm-256color");
        script
    } else {
        let mut plain = Command::new(program);
        plain.args(&words).arg("--plain");
        plain
    };
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = RunningCluster(child.map_err(|error| format!("cannot watch an idle cluster: {error}"))?);
    let until = Instant::now() + START_DEADLINE;
    while ranks_under(running.0.id()).len() <= servers as usize {
        if Instant::now() > until {
            return Err("an idle cluster does not start".to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(REST);
    let ranks = ranks_under(running.0.id());
    let used = || ranks.iter().map(|pid| usage(*pid)).sum::<Usage>();
    let before = used();
    std::thread::sleep(if quick { WATCH_QUICK } else { WATCH });
    Ok(used() - before)
}
