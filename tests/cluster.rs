//! The whole program over real MPI, in line mode: started as a user starts it, asked, broken, killed.
//!
//! Every test starts a cluster of its own; at most two run at the same time (see [`support::job`]). Nothing
//! here depends on how fast the machine is, only on what must come about in the end.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::{Pid, Signal};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::job::{GONE_WITHIN, Job, Place, UNDERSTUDY, run, run_within};
use support::skip;
use support::status::ServerPart;

/// Hundreds of requests with a failover every few of them.
const LONG: Duration = Duration::from_secs(120);
/// No dice, and who is down stays down until it is told otherwise.
const BY_HAND: &[&str] = &["--failure-rate", "0", "--recover-after", "never"];

// ---- line mode -----------------------------------------------------------------------------------

#[test]
fn the_first_minute_of_a_script() {
    let ended = run(&["--failure-rate", "0"], b"PUT a 1\nGET a\nDELETE a\nGET a\n");
    assert_eq!(ended.text(), "OK\n1\n1\n(nil)\n", "{ended:?}");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    println!("start, four commands, end: {:.2?}", ended.took);
}

#[test]
fn commands_as_arguments() {
    let args = ["--failure-rate", "0", "-c", "PUT a 1", "-c", "GET a", "-c", "# nothing", "-c", "2 INCR a"];
    // What is piped in is not read.
    let ended = run(&args, b"GET b\n");
    assert_eq!((ended.text().as_str(), ended.status.code()), ("OK\n1\n2\n3\n", Some(0)), "{ended:?}");
}

#[test]
fn commands_as_arguments_are_bytes_for_mpirun_too() {
    let mut job = Job::of(&["--failure-rate", "0"], |_| {
        let mut shell = Command::new("sh");
        let script = r#"exec "$0" "$@" -c "$(printf 'PUT k\377 v\376')" -c "$(printf 'GET k\377')""#;
        shell.args(["-c", script, UNDERSTUDY]);
        shell
    });
    let ended = job.wait_end();
    assert_eq!((ended.stdout.as_slice(), ended.status.code()), (&b"OK\nv\xfe\n"[..], Some(0)), "{ended:?}");
    job.wait_gone();
}

#[test]
fn every_command_answers_a_line_as_it_should() {
    let mut job = Job::start(BY_HAND);
    for (line, answer) in [
        ("KEYS", ""),
        ("COUNT", "0"),
        ("PUT color red", "OK"),
        (
            "set \"two words\" 'it''s'",
            "(error) column 21: a closing quote must be followed by a blank: put a blank \
          there, or \\\" for a quote within quotes",
        ),
        ("set \"two words\" \"it's\"", "OK"),
        ("Get 'two words'", "it's"),
        ("ADD color blue", "(nil)"),
        ("ADD fruit mango", "OK"),
        ("UPDATE color green", "OK"),
        ("UPDATE nothing x", "(nil)"),
        ("GET nothing", "(nil)"),
        ("get color", "green"),
        ("APPEND color ish", "8"),
        ("APPEND log \"one\\x20line\"", "8"),
        ("INCR n", "1"),
        ("INCR color", "(error) value is not a 64-bit integer"),
        ("COUNT", "5"),
        ("KEYS [c-f]*", "color\nfruit"),
        ("DELETE color", "1"),
        ("DEL color", "0"),
        ("3 INCR n", "2\n3\n4"),
        ("SLEEP 0.05", "OK"),
        ("HELP COUNT", "COUNT: how many keys there are\nexample: COUNT"),
        ("LOSS 0", "OK"),
        ("DELAY 0", "OK"),
        ("FAILRATE 0", "OK"),
        ("CUT 1 2 oneway", "OK"),
        ("HEAL", "OK"),
        ("GET", "(error) GET needs key: usage: GET key"),
        ("CRASH 0", "(error) rank 0 is no server: choose 1, 2"),
        ("RESUME 1", "(error) server 1 is not paused: it is "),
        ("CUT 1 9", "(error) there is no rank 9: choose 0, 1, 2"),
        ("GTE x", "(error) unknown command 'GTE': did you mean GET?"),
    ] {
        job.tell(line);
        for expected in answer.split('\n') {
            let answered = job.answer();
            // An error may go on: who is primary changes under the test's feet after a cut.
            let fits = if expected.starts_with('(') { answered.starts_with(expected) } else { answered == expected };
            if !fits {
                job.fail(&format!("{line}: {answered:?}, expected {expected:?}"));
            }
        }
    }
    // Comments and empty lines are not answered.
    job.tell("# nothing\n\n   # indented");
    job.expect("GET fruit", "mango");
    let answer = job.ask("KILL 0");
    assert!(answer.starts_with("(error) "), "{answer}");
    let answer = job.ask("LATENCY");
    assert!(answer.starts_with("p50 "), "{answer}");
    let answer = job.ask("VIEW");
    assert!(answer.starts_with("view 1 primary 1 backups 2: all servers empty and equal ("), "{answer}");
    job.end(1);
}

#[test]
fn quit_ends_at_once_and_an_error_is_remembered() {
    let ended = run(BY_HAND, b"PUT a 1\nQUIT\nGET a\n");
    assert_eq!((ended.text().as_str(), ended.status.code()), ("OK\n", Some(0)), "{ended:?}");
    let ended = run(BY_HAND, b"FRY a\nPUT a 1\nHELP\nSLEEP 0.3\nEVENTS 3\n");
    let text = ended.text();
    assert!(text.starts_with("(error) unknown command 'FRY'") && text.contains("\nOK\ndata  GET key · "), "{ended:?}");
    let event = "server 1 answers in view 1, from op 0";
    assert!(text.contains(event) && ended.stderr.contains(event), "events go to stderr as well: {ended:?}");
    assert!(!text.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended:?}");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
}

#[test]
fn status_is_stable_and_tells_the_truth() {
    let mut job = Job::start(BY_HAND);
    job.expect("PUT a 1", "OK");
    job.expect("PUT b 2", "OK");
    // The backup learns what is committed with the next heartbeat.
    let same = ServerPart { keys: 2, op: 2, incarnation: 1 };
    let status = job.wait_status("the backup has everything", |status| status.server(2) == same);
    assert_eq!((status.view, status.primary, status.backups.as_slice()), (1, Some(1), &[2][..]), "{status}");
    assert_eq!((status.role(0), status.role(1), status.role(2)), ("METADATA", "PRIMARY", "BACKUP"), "{status}");
    assert_eq!(status.server(1), same);
    assert!(status.ranks[0].server.is_none(), "{status}");
    check_pids(&status, UNDERSTUDY);
    job.end(0);
}

/// Every rank is a living process of its own, of this very program.
fn check_pids(status: &support::status::Status, program: &str) {
    let program = std::fs::canonicalize(program).expect("the program exists");
    let mut pids: Vec<_> = status.ranks.iter().map(|rank| rank.pid).collect();
    for pid in &pids {
        let running = std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
        assert_eq!(running, program, "{status}");
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), status.ranks.len(), "{status}");
}

#[test]
fn keys_and_values_of_any_bytes_up_to_the_limits() {
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let every_byte: Vec<u8> = (0..=255).collect();
    let value: Vec<u8> = every_byte.iter().copied().cycle().take(1 << 20).collect();
    let key: Vec<u8> = every_byte.iter().copied().cycle().take(1 << 10).collect();
    let mut input = Vec::new();
    let mut expected = Vec::new();
    let mut step = |line: &str, answer: &[u8]| {
        input.extend_from_slice(line.as_bytes());
        input.push(b'\n');
        expected.extend_from_slice(answer);
        expected.push(b'\n');
    };
    let (key, too_long_key) = (escaped(&key), escaped(&[&key[..], b"x"].concat()));
    step(&format!("PUT \"{key}\" \"{}\"", escaped(&value)), b"OK");
    step(&format!("GET \"{key}\""), &value);
    let letters = "x".repeat(value.len());
    step(&format!("PUT big {letters}"), b"OK");
    step("GET big", letters.as_bytes());
    let too_long = b"(error) value of 1048577 bytes is too long: at most 1048576 bytes (1 MiB); nothing stored";
    step(&format!("PUT bigger {letters}x"), too_long);
    step(&format!("PUT big {letters}x"), too_long);
    step("APPEND big x", too_long);
    step("GET bigger", b"(nil)");
    step("GET big", letters.as_bytes());
    let too_long = b"(error) key of 1025 bytes is too long: at most 1024 bytes; nothing stored";
    step(&format!("PUT \"{too_long_key}\" 1"), too_long);
    step("COUNT", b"2");
    // The large state moves to a new backup and survives there.
    step("CRASH backup", b"OK");
    step("SLEEP 0.2", b"OK");
    step("RECOVER", b"OK");
    step("SLEEP 1", b"OK");
    step("CRASH primary", b"OK");
    step("GET big", letters.as_bytes());
    step(&format!("GET \"{key}\""), &value);
    let ended = run(BY_HAND, &input);
    if ended.stdout != expected {
        let at = ended.stdout.iter().zip(&expected).take_while(|(one, other)| one == other).count();
        let from = at.saturating_sub(20);
        let shown = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[from.min(bytes.len())..(at + 200).min(bytes.len())]).into_owned()
        };
        panic!("differs at byte {at}: {:?}, expected {:?}", shown(&ended.stdout), shown(&expected));
    }
    assert_eq!(ended.status.code(), Some(1));
}

/// A rule is switched off while a server is dead. Over its successor, which loses its memory and restarts at once, an
/// empty primary answers: so it has heard of the rule.
#[test]
fn a_replacement_follows_the_rules_of_now() {
    let mut job = Job::start(&["--failure-rate", "0", "--recover-after", "0", "--no-respawn", "--pace", "20"]);
    job.wait_led_by(1, &[2]);
    job.expect("PUT color red", "OK");
    job.expect("KILL 2", "OK");
    job.wait_led_by(1, &[]);
    job.expect("RULE incarnation off", "OK");
    job.expect("RECOVER 2", "OK");
    job.wait_led_by(1, &[2]);
    job.expect("SWAP", "OK");
    job.wait_led_by(2, &[1]);
    job.expect("CRASH 2", "OK");
    job.expect("GET color", "(nil)");
    job.end(0);
}

// ---- the dice ------------------------------------------------------------------------------------

#[test]
fn nothing_is_lost_while_the_dice_fall() {
    let mut input = String::new();
    let mut expected = "OK\n".repeat(500);
    for number in 0..500 {
        input.push_str(&format!("PUT key{} value{number}\n", number % 50));
    }
    for number in 0..50 {
        input.push_str(&format!("GET key{number}\n"));
        expected.push_str(&format!("value{}\n", 450 + number));
    }
    input.push_str("COUNT\nSTATUS\n");
    expected.push_str("50\n");
    let args = ["--failure-rate", "0.2", "--seed", "7", "--recover-after", "0"];
    let ended = run_within(LONG, &args, input.as_bytes());
    let text = ended.text();
    let status = text.strip_prefix(&expected).unwrap_or_else(|| panic!("not the last values: {ended:?}"));
    let view: u64 = status.split(' ').nth(1).and_then(|view| view.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(view > 24, "only {view} views");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    println!("550 requests, {view} views: {:.1?}", ended.took);
}

#[test]
fn three_hundred_increments_count_to_three_hundred() {
    let args = ["--failure-rate", "0.2", "--seed", "7", "--recover-after", "0"];
    let ended = run_within(LONG, &args, &b"INCR n\n".repeat(300));
    let expected: String = (1..=300).map(|number| format!("{number}\n")).collect();
    assert_eq!(ended.text(), expected, "{}", ended.stderr);
    assert!(ended.stderr.contains("crashed"), "{ended:?}");
    println!("300 increments: {:.1?}", ended.took);
}

#[test]
fn the_dice_are_switched_by_command_and_spare_the_last() {
    let mut job = Job::start(BY_HAND);
    job.expect("PUT a 1", "OK");
    job.expect("FAILRATE 100%", "OK");
    job.expect("PUT a 2", "OK");
    job.expect("INCR a", "3");
    let status = job.wait_status("server 1 is down", |status| status.role(1) == "DOWN");
    assert!(status.is_led_by(2, &[]), "{status}");
    job.expect("FAILRATE 0", "OK");
    job.expect("RECOVER", "OK");
    job.wait_led_by(2, &[1]);
    job.expect("INCR a", "4");
    let status = job.wait_led_by(2, &[1]);
    assert_eq!(status.view, 3, "nobody crashes any more:\n{status}");
    job.end(0);
}

// ---- breaking by command -------------------------------------------------------------------------

#[test]
fn crash_recover_swap_and_reset() {
    let mut job = Job::start(BY_HAND);
    job.expect("PUT a 1", "OK");
    job.expect("CRASH primary", "OK");
    // The very next request waits for the failover.
    job.expect("GET a", "1");
    job.expect("INCR a", "2");
    let status = job.wait_led_by(2, &[]);
    assert_eq!((status.view, status.role(1)), (2, "DOWN"), "{status}");
    let answer = job.ask("CRASH 1");
    assert!(answer.starts_with("(error) server 1 is already down"), "{answer}");
    let answer = job.ask("SWAP");
    assert!(answer.starts_with("(error) no backup to hand over to"), "{answer}");

    job.expect("RECOVER 1", "OK");
    let status = job.wait_led_by(2, &[1]);
    assert_eq!((status.view, status.server(1).incarnation, status.server(1).keys), (3, 2, 1), "{status}");
    let answer = job.ask("RECOVER");
    assert_eq!(answer, "(error) no server is down: there is nothing to recover");

    job.expect("SWAP", "OK");
    let status = job.wait_led_by(1, &[2]);
    assert_eq!((status.view, status.server(1).incarnation, status.server(2).incarnation), (4, 2, 1), "{status}");
    job.expect("INCR a", "3");

    job.expect("CRASH backup", "OK");
    job.expect("INCR a", "4");
    let status = job.wait_led_by(1, &[]);
    assert_eq!(status.role(2), "DOWN", "{status}");
    job.expect("RECOVER", "OK");
    job.wait_led_by(1, &[2]);

    job.expect("RESET", "OK");
    job.expect("GET a", "(nil)");
    job.expect("COUNT", "0");
    job.wait_status("empty members", |status| {
        status.primary.is_some() && status.backups.len() == 1 && status.server(1).keys + status.server(2).keys == 0
    });
    job.expect("PUT a new", "OK");
    job.expect("GET a", "new");
    job.end(1);
}

#[test]
fn a_crashed_server_comes_back_by_itself() {
    let mut job = Job::start(&["--failure-rate", "0", "--recover-after", "0.3"]);
    job.expect("PUT a 1", "OK");
    job.expect("CRASH 1", "OK");
    let status = job.wait_led_by(2, &[1]);
    assert_eq!((status.view, status.server(1).incarnation), (3, 2), "{status}");
    job.expect("CRASH 2", "OK");
    job.wait_led_by(1, &[2]);
    job.expect("GET a", "1");
    job.end(0);
}

#[test]
fn a_paused_primary_wakes_up_as_a_stranger() {
    let mut job = Job::start(BY_HAND);
    job.expect("PUT a old", "OK");
    job.expect("PAUSE primary", "OK");
    job.expect("PUT a new", "OK");
    let status = job.wait_led_by(2, &[]);
    assert_eq!(status.role(1), "PAUSED", "{status}");
    let state = std::fs::read_to_string(format!("/proc/{}/stat", status.pid(1))).expect("it lives");
    assert!(state.contains(") T "), "the process itself is stopped: {state}");
    job.expect("SLEEP 1", "OK");
    let answer = job.ask("CRASH 1");
    assert_eq!(answer, "(error) server 1 is paused and hears nothing: RESUME 1 first");
    job.expect("RESUME 1", "OK");
    for _ in 0..200 {
        job.expect("GET a", "new");
    }
    let status = job.wait_led_by(2, &[1]);
    assert!(status.server(1).incarnation > 1, "it has forgotten what it knew:\n{status}");
    job.expect("CRASH 2", "OK");
    job.expect("GET a", "new");
    job.end(1);
}

#[test]
fn cut_links_heal() {
    let mut job = Job::start(BY_HAND);
    job.expect("PUT n 0", "OK");
    job.wait_led_by(1, &[2]);
    let mut n = 0;
    let mut view = 1;
    for cut in ["CUT 1 2", "CUT primary backup oneway", "CUT backup primary oneway"] {
        job.expect(cut, "OK");
        for _ in 0..10 {
            n += 1;
            job.expect("INCR n", &n.to_string());
        }
        job.wait_status("one of the two is left", |status| status.backups.is_empty());
        n += 1;
        job.expect("INCR n", &n.to_string());
        job.expect("HEAL", "OK");
        let status = job.wait_status("both again", |status| {
            status.primary.is_some_and(|primary| status.is_led_by(primary, &[3 - primary]))
        });
        assert!(status.view > view, "{status}");
        view = status.view;
        job.expect("GET n", &n.to_string());
    }
    job.end(0);
}

#[test]
fn lost_and_late_messages() {
    let mut job = Job::start(&["--failure-rate", "0", "--recover-after", "never", "--seed", "3", "--pace", "2"]);
    job.expect("PUT n 0", "OK");
    job.expect("LOSS 10%", "OK");
    for number in 1..=20 {
        job.expect("INCR n", &number.to_string());
    }
    job.expect("HEAL", "OK");
    job.expect("DELAY 5", "OK");
    let begun = Instant::now();
    for number in 21..=40 {
        job.expect("INCR n", &number.to_string());
    }
    // There and back, and in between to the backup and back unless it was left out.
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(20 * 2 * 5), "20 late requests took only {took:?}");
    job.expect("HEAL", "OK");
    job.expect("GET n", "40");
    job.end(0);
}

#[test]
fn a_request_that_nobody_hears_ends_as_unknown() {
    let mut job = Job::start(&["--failure-rate", "0", "--recover-after", "never", "--pace", "0.5"]);
    job.expect("PUT a 1", "OK");
    job.expect("CUT 0 1", "OK");
    job.expect("CUT 0 2", "OK");
    job.expect("PUT a 2", "(unknown)");
    job.expect("HEAL", "OK");
    // Nobody heard of it, and nobody hears of it later.
    job.expect("GET a", "1");
    // An unknown outcome is no error.
    job.end(0);
}

#[test]
fn one_server() {
    let mut job = Job::start(&["--servers", "1", "--failure-rate", "0.5", "--recover-after", "never"]);
    job.expect("PUT a 1", "OK");
    for number in 2..=20 {
        job.expect("INCR a", &number.to_string());
    }
    let status = job.status();
    assert!(status.is_led_by(1, &[]) && status.view == 1, "the dice spare the only one:\n{status}");
    // A hand does not. An empty server never becomes primary by itself.
    job.expect("CRASH 1", "OK");
    job.expect("RECOVER 1", "OK");
    job.expect("SLEEP 0.5", "OK");
    let status = job.status();
    assert_eq!(status.primary, None, "{status}");
    job.expect("RESET", "OK");
    job.wait_led_by(1, &[]);
    job.expect("GET a", "(nil)");
    job.end(0);
}

#[test]
fn five_servers() {
    let mut job = Job::start(&["--servers", "5", "--failure-rate", "0", "--recover-after", "never"]);
    job.expect("PUT a 1", "OK");
    let status = job.wait_led_by(1, &[2, 3, 4, 5]);
    check_pids(&status, UNDERSTUDY);
    for number in 2..=4 {
        job.expect("CRASH primary", "OK");
        job.expect("INCR a", &number.to_string());
        job.wait_status("a new primary", |status| status.primary.is_some() && status.backups.len() == 5 - number);
    }
    job.expect("RECOVER", "OK");
    let status = job.wait_status("all five again", |status| status.backups.len() == 4 && status.primary.is_some());
    // Those that come back at the same time may do so in one view.
    assert!(status.view >= 5, "{status}");
    job.expect("GET a", "4");
    job.end(0);
}

// ---- other ways to start -------------------------------------------------------------------------

#[test]
fn without_mpirun_one_line_says_what_to_install() {
    let output = Command::new(UNDERSTUDY)
        .args(["-c", "GET a"])
        .env("PATH", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("UNDERSTUDY_MPIRUN")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("understudy: no mpirun in PATH: install one"), "{stderr}");
    assert!(stderr.contains("apt-get install -y openmpi-bin libopenmpi-dev libclang-dev"), "{stderr}");
    assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)), "{stderr}");
}

#[test]
fn under_an_mpirun_that_a_person_typed() {
    let mut job = Job::of(&["--failure-rate", "0", "--recover-after", "0.2"], |_| {
        let mut mpirun = Command::new("mpirun");
        mpirun.args(["-n", "3", "--oversubscribe", "--enable-recovery", UNDERSTUDY]);
        mpirun
    });
    job.expect("PUT a 1", "OK");
    job.expect("GET a", "1");
    let status = job.wait_led_by(1, &[2]);
    check_pids(&status, UNDERSTUDY);
    job.expect("CRASH primary", "OK");
    job.expect("INCR a", "2");
    job.wait_led_by(2, &[1]);
    job.end(0);
}

#[test]
fn as_an_ordinary_user() {
    const NOBODY: u32 = 65534;
    let mut lacks: Vec<String> = [skip::root(), skip::program("setpriv", "util-linux")].into_iter().flatten().collect();
    if lacks.is_empty() {
        let became =
            Command::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"]).status();
        lacks.extend((!became.is_ok_and(|status| status.success())).then(|| "root may not become another user".into()));
    }
    if !skip::can_run("as_an_ordinary_user", &lacks) {
        return;
    }
    let mut program = String::new();
    let mut job = Job::of(&["--failure-rate", "0"], |place: &Place| {
        // The build's own directory may be closed to others.
        let copy = place.path().join("understudy");
        std::fs::copy(UNDERSTUDY, &copy).expect("there is room for a copy");
        for path in [place.path().to_owned(), place.path().join("home"), place.path().join("tmp")] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do this");
        }
        program = copy.display().to_string();
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program]).current_dir(place.path());
        setpriv
    });
    job.expect("PUT a 1", "OK");
    job.expect("CRASH primary", "OK");
    job.expect("GET a", "1");
    let status = job.status();
    check_pids(&status, &program);
    for rank in &status.ranks {
        let status = std::fs::read_to_string(format!("/proc/{}/status", rank.pid)).expect("it lives");
        assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{status}");
    }
    job.end(0);
}

// ---- killing -------------------------------------------------------------------------------------

/// A cluster with a key in it, both servers in their roles, and the pids of its ranks.
fn ready() -> (Job, [Pid; 3]) {
    let mut job = Job::start(BY_HAND);
    job.expect("PUT a 1", "OK");
    let status = job.wait_led_by(1, &[2]);
    let pids = [0, 1, 2].map(|rank| status.process(rank));
    (job, pids)
}

/// The end that must follow: this exit code, this word on stderr, nobody left.
#[track_caller]
fn ends(mut job: Job, code: Option<i32>, word: &str) {
    let ended = job.wait_end();
    let gone = job.wait_gone();
    assert_eq!(ended.status.code(), code, "{ended:?}");
    assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    println!("everybody gone {gone:.2?} after the program that was started");
}

#[test]
fn a_killed_server_leaves_the_others_serving() {
    for victim in [1, 2] {
        let mut job = Job::start(&[BY_HAND, &["--no-respawn"]].concat());
        job.expect("PUT a 1", "OK");
        let status = job.wait_led_by(1, &[2]);
        let dead = status.pid(u32::try_from(victim).expect("1 or 2"));
        job.signal(Pid::from_raw(dead).expect("a pid is not 0"), Signal::KILL);
        job.expect("INCR a", "2");
        let survivor = 3 - u32::try_from(victim).expect("1 or 2");
        let status = job.wait_status("the dead one is known to be dead", |status| {
            status.role(3 - survivor) == "DEAD" && status.is_led_by(survivor, &[])
        });
        assert_eq!(status.view, 2, "{status}");
        job.expect("GET a", "2");
        let answer = job.ask(&format!("CRASH {victim}"));
        assert!(answer.starts_with("(error) "), "{answer}");
        job.expect("GET a", "2");
        job.end(1);
    }
}

#[test]
fn a_killed_rank_0_ends_the_job() {
    let (job, pids) = ready();
    job.signal(pids[0], Signal::KILL);
    ends(job, Some(1), "died without a word");
}

#[test]
fn a_killed_mpirun_ends_the_job() {
    let (job, _) = ready();
    job.signal(job.mpirun(), Signal::KILL);
    ends(job, Some(1), "mpirun died (signal 9)");
}

#[test]
fn a_killed_launcher_ends_the_job() {
    let (mut job, _) = ready();
    let killed = Instant::now();
    job.signal(job.pid(), Signal::KILL);
    let ended = job.wait_end();
    job.wait_gone();
    assert_eq!(ended.status.code(), None, "{ended:?}");
    assert!(killed.elapsed() < GONE_WITHIN, "{:?}", killed.elapsed());
}

#[test]
fn a_killed_launcher_takes_a_paused_server_along() {
    let (mut job, _) = ready();
    job.expect("PAUSE 1", "OK");
    job.signal(job.pid(), Signal::KILL);
    job.wait_end();
    job.wait_gone();
}

/// What these tests were told to ignore (by `nohup`, say), the programs that they start are told to ignore, too.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim).unwrap_or_default();
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[test]
fn the_launcher_ends_the_job_when_it_is_asked_to() {
    let signals = [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)];
    for (signal, code) in signals.into_iter().filter(|(signal, _)| !is_ignored(*signal)) {
        let (mut job, _) = ready();
        job.expect("PAUSE 2", "OK");
        job.signal(job.pid(), signal);
        ends(job, Some(code), "");
    }
}

/// mpirun tells rank 0, sometimes in time for a word.
#[test]
fn an_mpirun_that_is_told_to_end_ends_the_job_always_in_the_same_way() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (job, _) = ready();
        let told = Instant::now();
        job.signal(job.mpirun(), signal);
        ends(job, Some(1), "understudy: ");
        assert!(told.elapsed() < GONE_WITHIN, "{:?}", told.elapsed());
    }
}

/// The console is stopped and hears of nothing: the others end the job.
#[test]
fn a_killed_launcher_takes_a_stopped_console_along() {
    let (mut job, pids) = ready();
    job.signal(pids[0], Signal::STOP);
    job.signal(job.pid(), Signal::KILL);
    let killed = Instant::now();
    job.wait_end();
    job.wait_gone();
    println!("everybody gone {:.2?} after the launcher", killed.elapsed());
    assert!(killed.elapsed() < GONE_WITHIN, "{:?}", killed.elapsed());
}

/// However low the shell has set its limit of open files, and whatever the user has told MPI about networks.
#[test]
fn few_descriptors_and_networks_that_are_excluded_keep_nobody_from_coming_back() {
    let mut job = Job::of(&["--failure-rate", "0", "--spares", "0"], |_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"ulimit -n 100; exec "$0" "$@""#, UNDERSTUDY]);
        shell.env("OMPI_MCA_btl_tcp_if_exclude", "lo,docker0").env("OMPI_MCA_oob_tcp_if_exclude", "docker0");
        shell
    });
    job.expect("PUT a 0", "OK");
    job.wait_led_by(1, &[2]);
    for kill in 1..=30 {
        job.expect("KILL backup", "OK");
        job.expect("INCR a", &kill.to_string());
        job.wait_status("a new process is a member", |status| {
            status.is_whole() && status.server(2).incarnation > kill * 1_000
        });
    }
    job.end(0);
}

#[test]
fn a_killed_mpirun_that_a_person_typed_leaves_nobody() {
    let mut job = Job::of(BY_HAND, |_| {
        let mut mpirun = Command::new("mpirun");
        mpirun.args(["-n", "3", "--oversubscribe", "--enable-recovery", UNDERSTUDY]);
        mpirun
    });
    job.expect("PUT a 1", "OK");
    let status = job.wait_led_by(1, &[2]);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", status.pid(0))).expect("it lives");
    let shared = maps.lines().filter_map(|line| Some(Path::new(&line[line.find("/dev/shm/vader_segment")?..])));
    let shared: Vec<_> = shared.collect();
    assert!(shared.iter().any(|file| file.exists()), "where does MPI keep its shared memory?\n{maps}");
    job.signal(job.pid(), Signal::KILL);
    job.wait_end();
    job.wait_gone();
    let left: Vec<_> = shared.into_iter().filter(|file| file.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}
