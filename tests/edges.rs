//! At the edges of the program: what is said when all is lost, what is written where nobody reads, which bytes are
//! taken, and which signs are shown. Played in the simulator: these edges are the same over MPI.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// "At once" for a process that has to be started, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(4);
/// What takes longer is waiting for something that does not come.
const NEVER: Duration = Duration::from_secs(60);
/// No dice, and who is down stays down until it is told otherwise.
const CALM: &[&str] = &["--failure-rate", "0", "--recover-after", "never"];

fn understudy() -> Command {
    with(CALM)
}

fn with(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    command
        .args(["--sim", "--seed", "1"])
        .args(options)
        .env("LC_ALL", "C.UTF-8")
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs these lines as `-c` each.
fn run(lines: &[&str]) -> (String, String, Option<i32>) {
    let mut command = understudy();
    for line in lines {
        command.args(["-c", line]);
    }
    texts(command.output().expect("it starts"))
}

/// Runs this as a script.
fn play(mut command: Command, script: &[u8]) -> (String, String, Option<i32>) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("it is piped").write_all(script).expect("it reads");
    texts(child.wait_with_output().expect("it ends"))
}

fn texts(output: Output) -> (String, String, Option<i32>) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn when_the_data_is_gone_every_command_says_so_at_once() {
    let begun = Instant::now();
    let lines =
        ["PUT a 1", "SLEEP 0.1", "CRASH 1", "CRASH 2", "GET a", "PUT a 2", "COUNT", "STATUS", "RECOVER", "RECOVER"];
    let (out, err, code) = run(&lines);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    let answers: Vec<&str> = out.lines().collect();
    let gone = "has lost its memory, so the data is gone. RESET starts over empty";
    assert_eq!(answers[..4], ["OK"; 4], "{out}");
    for refused in &answers[4..7] {
        assert!(
            refused.starts_with("(error) nobody is served: every server of view") && refused.ends_with(gone),
            "{out}"
        );
    }
    let why = answers.iter().find(|line| line.starts_with("why ")).expect("STATUS says why");
    assert!(why.ends_with(gone), "{out}");
    // Servers that come back come back empty; and then there is none to bring back.
    let recovered = answers.iter().rposition(|line| *line == "OK").expect("RECOVER starts them");
    assert!(answers[recovered + 1].starts_with("(error) nobody is served") && answers[recovered + 1].ends_with(gone));
    assert_eq!(code, Some(1));
    assert!(err.contains("server 2 had the only copy of the data (1 key), and it is gone: RESET starts over"), "{err}");
}

#[test]
fn after_a_reset_everybody_is_served_again() {
    let (out, _, code) = run(&["CRASH 1", "CRASH 2", "RECOVER", "SLEEP 1", "RESET", "PUT a 1", "GET a"]);
    assert_eq!((out.as_str(), code), ("OK\nOK\nOK\nOK\nOK\nOK\n1\n", Some(0)));
}

#[test]
fn a_history_that_cannot_be_written_is_told_and_makes_the_exit_status() {
    for few in [1, 3_000] {
        let mut command = understudy();
        command.args(["--history", "/dev/full", "-c", &format!("{few} INCR n")]);
        let (out, err, code) = texts(command.output().expect("it starts"));
        assert_eq!(out.lines().count(), few, "the commands are carried out");
        let told = err.lines().filter(|line| line.starts_with("understudy: the history /dev/full ends here")).count();
        assert_eq!((told, code), (1, Some(1)), "{err}");
    }
}

#[test]
fn commands_are_bytes() {
    let mut command = understudy();
    for line in [&b"PUT k\xff \xfe\x80"[..], b"GET k\xff"] {
        command.arg("-c").arg(OsString::from(OsStr::from_bytes(line)));
    }
    let output = command.output().expect("it starts");
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"OK\n\xfe\x80\n"[..], Some(0)));
}

#[test]
fn a_script_may_begin_with_a_byte_order_mark() {
    let (out, _, code) = play(understudy(), b"\xef\xbb\xbfPUT a 1\r\nGET a\r\n");
    assert_eq!((out.as_str(), code), ("OK\n1\n", Some(0)));
    // Elsewhere it is a part of what was written.
    let (out, _, code) = play(understudy(), b"COUNT\n\xef\xbb\xbfCOUNT\n");
    assert!(out.starts_with("0\n(error) unknown command") && code == Some(1), "{out}");
}

#[test]
fn nobody_waits_for_a_stderr_that_is_not_read() {
    let (mut reader, writer) = std::io::pipe().expect("pipes are available");
    let mut command = with(&["--recover-after", "0", "-c", "3000 INCR n"]);
    let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().expect("it starts");
    drop(command);
    let mut stdout = child.stdout.take().expect("it is piped");
    let answers = std::thread::spawn(move || {
        let mut out = String::new();
        stdout.read_to_string(&mut out).map(|_| out)
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().expect("it is ours") {
            Some(status) => break status,
            None if begun.elapsed() > NEVER => break child.kill().and_then(|()| child.wait()).expect("it is ours"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert_eq!(status.code(), Some(0), "after {:?}", begun.elapsed());
    let out = answers.join().expect("no panic").expect("it is text");
    assert_eq!(out.lines().count(), 3_000, "{}", &out[out.len().saturating_sub(60)..]);
    let mut told = String::new();
    reader.read_to_string(&mut told).expect("it is text");
    assert!(told.len() > 60_000, "a pipe holds 64 KiB, and there was more to tell: {}", told.len());
}

#[test]
fn in_a_locale_without_utf8_only_ascii_is_shown() {
    let script =
        b"HELP\nHELP CUT\nCUT 1 2 oneway\nSTATUS\nVIEW\nEVENTS 50\nLATENCY\nCHECK\nRULE\nGTE \xc3\xa4\nCRASH 9\n";
    for (locale, flag) in [("C", None), ("C.UTF-8", Some("--ascii"))] {
        let mut command = understudy();
        command.env("LC_ALL", locale).args(flag);
        let (out, err, _) = play(command, script);
        assert!(out.contains("GET key | PUT key value"), "{out}");
        assert!(out.is_ascii(), "{out}");
        assert!(err.contains("link 1 -> 2 cut") && err.is_ascii(), "{err}");
    }
    // Values are bytes, whatever the locale is.
    let mut command = understudy();
    command.env("LC_ALL", "C");
    assert_eq!(play(command, "PUT a ä\nGET a\n".as_bytes()).0, "OK\nä\n");
}
