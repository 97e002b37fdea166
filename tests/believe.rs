//! What the program offers to those who doubt it: `CHECK`, `--history`, `fuzz`, `--sim`, over the real binary.

mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;
use support::job::{Job, Place, UNDERSTUDY, run_within};
use understudy::check::{Verdict, check, json};
use understudy::core::protocol::Outcome;

/// Hundreds of requests with a failover every few of them.
const LONG: std::time::Duration = std::time::Duration::from_secs(120);

/// The program without a cluster: fuzz, or the simulator with this input.
fn alone(args: &[&str], input: &str) -> Output {
    let place = Place::new();
    let mut command = Command::new(UNDERSTUDY);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    place.furnish(&mut command);
    let mut child = command.spawn().expect("the program is built");
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes()).expect("it reads its input");
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// ---- the witness ---------------------------------------------------------------------------------

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn check_judges_a_session_full_of_failovers() {
    let mut input = String::new();
    for number in 0..300 {
        input.push_str(&format!("PUT k{} v{number}\nINCR n\nGET k{}\n", number % 7, (number + 3) % 7));
    }
    input.push_str("CHECK\n");
    let ended = run_within(LONG, &["--failure-rate", "0.1", "--seed", "3", "--recover-after", "0"], input.as_bytes());
    let said = ended.text();
    let last = said.lines().last().unwrap_or_default();
    let rest = last.strip_prefix("linearizable: 900 operations, 0 unknown, ");
    let failovers = rest.and_then(|rest| rest.split(' ').next()).and_then(|number| number.parse::<u64>().ok());
    assert!(failovers.is_some_and(|failovers| failovers >= 5), "{last}\n{}", ended.stderr);
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn the_history_has_every_operation_once_also_the_unknown_ones() {
    let place = Place::new();
    let path = place.path().join("history.jsonl");
    let file = path.display().to_string();
    let mut job = Job::start(&[
        "--failure-rate",
        "0",
        "--recover-after",
        "never",
        "--no-respawn",
        "--pace",
        "0.5",
        "--history",
        &file,
    ]);
    job.expect("PUT a \"\\xff\"", "OK");
    job.expect("GET b", "(nil)");
    job.expect("INCR n", "1");
    assert!(job.ask("ADD a 1").starts_with("(nil)"));
    job.expect("CUT 0 1", "OK");
    job.expect("CUT 0 2", "OK");
    job.expect("PUT a 2", "(unknown)");
    job.expect("HEAL", "OK");
    job.ask("GET a");
    job.expect("CHECK", "linearizable: 6 operations, 1 unknown, 0 failovers");
    job.end(0);
    let text = std::fs::read_to_string(&path).expect("the history was written");
    let operations = json::read(text.as_bytes()).expect("it can be read");
    let seqs: Vec<u64> = operations.iter().map(|operation| operation.seq.0).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6], "{text}");
    assert_eq!(operations.iter().filter(|operation| operation.outcome == Outcome::Unknown).count(), 1, "{text}");
    assert_eq!(check(&operations), Verdict::Ok);
    assert!(text.lines().nth(1).is_some_and(|line| line.contains("\"result\":null")), "{text}");
    assert!(text.lines().next().is_some_and(|line| line.contains("\"arg64\":\"/w==\"")), "{text}");
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn a_history_that_cannot_be_written_is_an_error_before_anything_starts() {
    for args in [["--sim", "--history", "/nowhere/at/all"], ["--plain", "--history", "/nowhere/at/all"]] {
        let output = alone(&args, "PUT a 1\n");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
        assert!(text(&output.stderr).contains("/nowhere/at/all cannot be made"), "{}", text(&output.stderr));
    }
}

// ---- the simulator -------------------------------------------------------------------------------

/// Which server crashed where, in order, as the events tell it.
fn crashes(stderr: &str) -> Vec<String> {
    stderr.lines().filter(|line| line.contains("crashed") && line.contains("dice")).map(str::to_owned).collect()
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn the_same_seed_and_commands_fail_alike_over_mpi_and_in_the_simulator() {
    // So slow that on a busy machine, too, a restarted server is back before the dice give up waiting for it.
    let commands: String = (0..14).map(|number| format!("PUT k{number} v\nSLEEP 1\n")).collect();
    let args = ["--seed", "11", "--failure-rate", "0.4", "--recover-after", "0", "--pace", "6"];
    let simulated = {
        let commands = commands.clone();
        thread::spawn(move || alone(&[args.as_slice(), &["--sim"]].concat(), &commands))
    };
    let real = run_within(LONG, &args, commands.as_bytes());
    let simulated = simulated.join().expect("it ends");
    let expected = crashes(&text(&simulated.stderr));
    assert!(expected.len() >= 3, "{}", text(&simulated.stderr));
    assert_eq!(crashes(&real.stderr), expected, "over MPI:\n{}", real.stderr);
}

// ---- fuzz ----------------------------------------------------------------------------------------

#[test]
fn fuzz_tells_what_it_met_and_that_all_was_clean() {
    let output = alone(&["fuzz", "--seeds", "0..300"], "");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("300 seeds, ") && said.ends_with("\nall clean\n"), "{said}");
    // A run ends after a time even if not everything was asked.
    let operations: u64 = said.split(' ').nth(2).and_then(|word| word.parse().ok()).expect("a number of operations");
    assert!((89_000..=90_000).contains(&operations), "{said}");
    let never: Vec<&str> = said.lines().filter(|line| line.trim_start().starts_with("never")).collect();
    assert!(never.is_empty(), "situations that no seed met: {never:?}");
}

#[test]
fn fuzz_finds_what_a_missing_rule_breaks_and_its_own_words_repeat_it() {
    let output = alone(&["fuzz", "--without", "wait-for-all", "--seeds", "0..2000"], "");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let command = said.lines().find_map(|line| line.strip_prefix("repeat it with: understudy ")).expect("a command");
    let repeated = alone(&command.split(' ').collect::<Vec<_>>(), "");
    assert_eq!(repeated.status.code(), Some(1), "{command}\n{}", text(&repeated.stdout));
    let violated = |said: &str| said.lines().find(|line| line.starts_with("seed ")).map(str::to_owned);
    assert_eq!(violated(&text(&repeated.stdout)), violated(&said));
}

#[test]
fn fuzz_refuses_what_it_cannot_understand() {
    let refusals = [
        (["fuzz", "--seeds", "9..3"], "give seeds such as 0..1000"),
        (["fuzz", "--without", "gravity"], "the rules are wait-for-all"),
        (["fuzz", "--for", "soon"], "give a time such as 60s"),
    ];
    for (args, why) in refusals {
        let output = alone(&args, "");
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
}

// ---- without MPI ---------------------------------------------------------------------------------

#[test]
#[cfg(not(feature = "mpi"))]
fn without_mpi_one_true_line_says_what_can_be_done() {
    for args in [["--plain"].as_slice(), &["-c", "GET a"], &["bench"], &["bench", "--quick"]] {
        // It does not read its input: it may have ended before anything could be written.
        let output = alone(args, "");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
        let said = text(&output.stderr);
        assert!(said.starts_with("understudy: built without MPI: ") && said.lines().count() == 1, "{said}");
        assert!(said.contains("--sim") && said.contains("fuzz") && said.contains("default features"), "{said}");
    }
}
