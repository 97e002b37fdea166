//! The whole program in a real terminal: what a person types and presses, what they see, and what they find
//! when it is over, however it ended.
//!
//! Around the program is a shell, as it is in life: it must be able to read its terminal again afterwards, and
//! what it prints must scroll over the whole screen.
#![cfg(feature = "mpi")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::Termios;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::data::Data;
use support::job::{GONE_WITHIN, Place, Turn, UNDERSTUDY};
use support::terminal::{CTRL_C, CTRL_D, CTRL_X, F5, Size, Terminal};

/// The first screen is promised within two seconds; the rest is for a busy machine.
const FIRST_SCREEN_WITHIN: Duration = Duration::from_secs(10);
const SMALL: Size = Size(80, 24);
/// No dice, and who is down stays down until it is told otherwise.
const BY_HAND: &[&str] = &["--failure-rate", "0", "--recover-after", "never", "--seed", "7"];
/// Without job control: nothing here puts the terminal back, so whatever is whole was made so by the program.
/// When the launcher was killed the shell comes first, and its reads fail until it is in the foreground again.
const SHELL: &str =
    r#""$@"; echo "exit status $?"; until read -r _; do sleep 0.05; done; seq -f 'line %g' 60; read -r _"#;

/// A terminal with a shell in it that runs the program.
struct Screen {
    terminal: Terminal,
    place: Rc<Place>,
    before: Termios,
    _turn: Turn,
}

impl Screen {
    fn start(args: &[&str]) -> Self {
        Self::of(&[&[UNDERSTUDY], args].concat())
    }

    fn of(words: &[&str]) -> Self {
        Self::sized(words, SMALL)
    }

    fn sized(words: &[&str], size: Size) -> Self {
        let turn = Turn::take();
        let place = Rc::new(Place::new());
        let mut command = Command::new("setsid");
        command.args(["--ctty", "sh", "-c", SHELL, "sh"]).args(words);
        place.furnish(&mut command);
        let known = Rc::clone(&place);
        let terminal = Terminal::start(command, size)
            .telling(move || format!("== processes {:?}\n== logs\n{}", known.processes(), known.logs()));
        let before = terminal.modes();
        Self { terminal, place, before, _turn: turn }
    }

    /// Waits for the first screen: both servers in their roles, and the prompt.
    #[track_caller]
    fn wait_ready(&self) {
        let begun = Instant::now();
        self.terminal.wait("the first screen", |terminal| {
            terminal.shows("server 1 · PRIMARY")
                && terminal.shows("server 2 · BACKUP")
                && terminal.last() == "understudy[view 1 · primary 1]>"
        });
        let took = begun.elapsed();
        println!("first screen after {took:.2?}");
        assert!(took < FIRST_SCREEN_WITHIN, "{took:?}");
        assert!(!self.terminal.echoes());
    }

    #[track_caller]
    fn wait_roles(&self, primary: u32, backup: u32) {
        self.terminal.wait_shows(&format!("server {primary} · PRIMARY"));
        self.terminal.wait_shows(&format!("server {backup} · BACKUP"));
    }

    /// The half-typed line stands behind the prompt, with the cursor at its end. While the state in the prompt
    /// changes, the prompt keeps the width that it had when the line was begun.
    #[track_caller]
    fn wait_typed(&self, text: &str) {
        let is_typed = |last: &str| last.split_once("]>").is_some_and(|(_, typed)| typed.trim_start() == text);
        self.terminal.wait(&format!("half-typed: {text}"), |terminal| is_typed(&terminal.last()));
        let column = self.terminal.cursor().1;
        let last = self.terminal.last();
        let end = if text.is_empty() { usize::from(column) } else { last.chars().count() };
        assert_eq!(usize::from(column), end, "the cursor is not at the end of {last:?}");
    }

    #[track_caller]
    fn kill(&self, who: Option<Pid>, signal: Signal) {
        let Some(pid) = who else { self.terminal.fail("there is no such process") };
        kill_process(pid, signal).expect("it is ours");
    }

    /// After the end: this exit status, the terminal whole, nobody left.
    #[track_caller]
    fn check_whole(mut self, code: i32) {
        let ended = Instant::now();
        let terminal = &self.terminal;
        terminal.wait("the end", |terminal| terminal.shows("exit status "));
        if !terminal.shows(&format!("exit status {code}")) {
            terminal.fail(&format!("not exit status {code}"));
        }
        let shell = terminal.pid();
        terminal.wait("nobody left", |_| {
            self.place.processes().iter().all(|pid| pid.as_raw_nonzero().get() as u32 == shell)
        });
        assert!(ended.elapsed() < GONE_WITHIN, "{:?}", ended.elapsed());

        // A launcher that was killed leaves this to rank 0, which needs a moment.
        terminal.wait("the foreground group back", |terminal| terminal.foreground() == shell);
        terminal.wait("the modes back", |terminal| same(&terminal.modes(), &self.before));
        assert!(terminal.echoes());
        terminal.wait("the cursor shown, nothing switched on", |terminal| {
            let screen = terminal.screen();
            let screen = screen.screen();
            let pen = (screen.fgcolor(), screen.bgcolor()) == (vt100::Color::Default, vt100::Color::Default);
            let plain = !(screen.bold() || screen.inverse() || screen.underline() || screen.dim());
            let switched = screen.bracketed_paste() || screen.alternate_screen() || screen.application_cursor();
            pen && plain && !screen.hide_cursor() && !switched
        });

        // The shell reads its terminal, and what it prints scrolls over the whole screen.
        self.terminal.press("\r");
        let rows = usize::from(self.terminal.screen().screen().size().0.get());
        let mut expected: Vec<_> = (62 - rows..=60).map(|number| format!("line {number}")).collect();
        expected.push(String::new());
        self.terminal.wait("the whole screen scrolled", |terminal| terminal.lines() == expected);
        self.terminal.press("\r");
        self.terminal.wait_end();
        let litter = self.place.litter(Pid::INIT, false);
        assert!(litter.is_empty(), "left behind: {litter:?}");
    }
}

fn same(one: &Termios, other: &Termios) -> bool {
    one.input_modes == other.input_modes
        && one.output_modes == other.output_modes
        && one.control_modes == other.control_modes
        && one.local_modes == other.local_modes
}

fn chord(letter: char) -> String {
    format!("{CTRL_X}{letter}")
}

#[test]
fn the_first_minute_of_a_person() {
    let mut screen = Screen::start(&["--failure-rate", "0", "--recover-after", "1.5", "--seed", "7"]);
    screen.wait_ready();
    screen.terminal.press("PUT color red\r");
    screen.terminal.wait_line("OK");
    screen
        .terminal
        .wait("the key on a card", |terminal| terminal.lines().iter().any(|line| line.contains(" color  red ")));

    screen.terminal.press("PUT color gre");
    screen.wait_typed("PUT color gre");
    screen.terminal.press(F5);
    screen.terminal.wait_shows("server 1 · DOWN");
    screen.terminal.wait_shows("server 2 · PRIMARY");
    screen.terminal.wait_line("F5 crash primary: OK");
    screen.wait_typed("PUT color gre");
    screen.terminal.wait_shows("server 1 · BACKUP");
    screen.terminal.wait("the view in the prompt", |t| t.last().starts_with("understudy[view 3 · primary 2]> "));
    screen.wait_typed("PUT color gre");
    screen.terminal.press("en\rGET color\r");
    screen.terminal.wait_line("\"green\"");

    screen.terminal.press("QUIT\r");
    screen.check_whole(0);
}

#[test]
fn every_key_as_a_chord() {
    let mut screen = Screen::start(BY_HAND);
    screen.wait_ready();
    screen.terminal.press("GET col");

    screen.terminal.press(&chord('c'));
    screen.terminal.wait_line("F5 crash primary: OK");
    screen.terminal.wait_shows("server 1 · DOWN");
    screen.terminal.wait_shows("server 2 · PRIMARY");
    screen.terminal.press(&chord('b'));
    screen
        .terminal
        .wait("the reason", |t| t.lines().iter().any(|line| line.starts_with("F6 crash backup: there is no")));
    screen.terminal.press(&chord('r'));
    screen.terminal.wait_line("F4 recover: OK");
    screen.wait_roles(2, 1);

    screen.terminal.press(&chord('b'));
    screen.terminal.wait_line("F6 crash backup: OK");
    screen.terminal.wait_shows("server 1 · DOWN");
    screen.terminal.press(&chord('r'));
    screen.wait_roles(2, 1);

    screen.terminal.press(&chord('p'));
    screen.terminal.wait_line("F8 pause: OK");
    screen.terminal.wait_shows("server 2 · PAUSED");
    screen.terminal.wait_shows("server 1 · PRIMARY");
    screen.terminal.press(&chord('p'));
    screen.wait_roles(1, 2);

    screen.terminal.press(&chord('l'));
    screen.terminal.wait_line("F7 cut link: OK");
    screen.terminal.wait_shows("JOINING");
    screen.terminal.press(&chord('l'));
    screen.terminal.wait("both again", |terminal| terminal.shows("· PRIMARY") && terminal.shows("· BACKUP"));

    screen.terminal.wait_shows("· failure rate 0%");
    screen.terminal.press(&chord('d'));
    screen.terminal.wait_shows("· failure rate 20%");
    screen.terminal.press(&chord('d'));
    screen.terminal.wait_shows("· failure rate 0%");

    screen.terminal.press(&chord('h'));
    screen.terminal.wait_shows("Type a word to search");
    screen.wait_typed("GET col");
    screen.terminal.press(CTRL_C);
    screen.wait_typed("");
    screen.terminal.press(CTRL_D);
    screen.check_whole(0);
}

#[test]
fn what_is_too_long_for_the_prompt_is_read_on_a_page() {
    let mut screen = Screen::start(BY_HAND);
    screen.wait_ready();
    // The help, from its first line, while a line is half typed; Esc closes it, and the line is as it was.
    screen.terminal.press("GET col");
    screen.terminal.press(&chord('h'));
    screen.terminal.wait("the whole help", |terminal| {
        ["GET key", "the value of a key", "AS n command", "Esc: close"].iter().all(|text| terminal.shows(text))
    });
    screen.wait_typed("GET col");
    screen.terminal.press("\x1b");
    screen.wait_roles(1, 2);
    screen.wait_typed("GET col");
    screen.terminal.press(&chord('h'));
    screen.terminal.wait_shows("the value of a key");
    screen.terminal.press(&chord('h'));
    screen.wait_roles(1, 2);
    screen.terminal.press(CTRL_C);
    screen.wait_typed("");

    for number in 1..=20 {
        screen.terminal.press(&format!("PUT key{number:02} v\r"));
    }
    screen.terminal.wait("twenty keys", |terminal| terminal.shows("20 keys"));
    screen.terminal.press("KEYS\r");
    screen.terminal.wait("the first page", |t| t.shows("1) \"key01\"") && t.shows("1-15 of 20"));
    screen.terminal.press("\x1b[6~");
    screen.terminal.wait("the last page", |t| t.shows("20) \"key20\"") && t.shows("6-20 of 20"));
    screen.terminal.press("\x1b[5~");
    screen.terminal.wait_shows("1-15 of 20");
    screen.terminal.press("\x1b");
    screen.wait_roles(1, 2);
    // The next command closes it as well.
    screen.terminal.press("HELP break\r");
    screen.terminal.wait_shows("CUT a b [oneway]");
    screen.terminal.press("COUNT\r");
    screen.terminal.wait_line("(integer) 20");
    screen.wait_roles(1, 2);
    screen.terminal.press(CTRL_D);
    screen.check_whole(0);
}

#[test]
fn in_ascii_every_cell_is() {
    let mut screen = Screen::sized(&[&[UNDERSTUDY, "--ascii"], BY_HAND].concat(), SMALL);
    screen.terminal.wait("the first screen", |terminal| terminal.last() == "understudy[view 1 | primary 1]>");
    for keys in ["PUT a h\u{e4}\u{2764}\u{fe0f}\r", "GET a\r", "HELP\r", "VIEW\r", "CUT 1 2 oneway\r", "HEAL\r"] {
        screen.terminal.press(keys);
        std::thread::sleep(Duration::from_millis(150));
        let lines = screen.terminal.lines();
        assert!(lines.iter().all(|line| line.is_ascii()), "{}", lines.join("\n"));
    }
    screen.terminal.wait_shows("]> HEAL");
    screen.terminal.press(CTRL_D);
    screen.check_whole(0);
}

#[test]
fn the_half_typed_line_survives_other_sizes() {
    let mut screen = Screen::start(BY_HAND);
    screen.wait_ready();
    screen.terminal.press("PUT a 1\r");
    screen.terminal.wait_line("OK");
    screen.terminal.press("PUT color gre");
    screen.wait_typed("PUT color gre");
    for size in [Size(100, 30), Size(60, 18), Size(120, 36), SMALL] {
        screen.terminal.resize(size);
        screen.wait_roles(1, 2);
        screen.terminal.wait("the header", |terminal| terminal.lines()[0].starts_with(" understudy · view 1"));
        screen.terminal.wait("the prompt on the last row", |terminal| terminal.cursor().0 + 1 == size.1);
        screen.wait_typed("PUT color gre");
        // Nothing of the other size is left, and nothing is there twice.
        let times = |text: &str| screen.terminal.lines().iter().filter(|line| line.contains(text)).count();
        screen.terminal.wait("everything once", |_| {
            ["server 1 · PRIMARY", " F1", " PUT color gre"].iter().all(|text| times(text) == 1)
        });
    }
    screen.terminal.press("en\rGET color\r");
    screen.terminal.wait_line("\"green\"");
    screen.terminal.press("quit\r");
    screen.check_whole(0);
}

/// A line is half typed when the end comes.
fn half_typed() -> Screen {
    let mut screen = Screen::start(BY_HAND);
    screen.wait_ready();
    screen.terminal.press("PUT color gre");
    screen.wait_typed("PUT color gre");
    screen
}

#[test]
fn whole_after_rank_0_was_killed() {
    let screen = half_typed();
    screen.kill(screen.place.rank(0), Signal::KILL);
    screen.check_whole(1);
}

#[test]
fn whole_after_mpirun_was_killed() {
    let screen = half_typed();
    screen.kill(screen.place.mpirun(), Signal::KILL);
    screen.check_whole(1);
}

#[test]
fn whole_after_the_launcher_was_asked_to_leave() {
    let screen = half_typed();
    screen.kill(screen.place.launcher(), Signal::TERM);
    screen.check_whole(143);
}

#[test]
fn whole_after_the_launcher_was_killed() {
    let screen = half_typed();
    screen.kill(screen.place.launcher(), Signal::KILL);
    screen.check_whole(137);
}

#[test]
fn a_killed_server_is_seen_and_the_terminal_is_whole_in_the_end() {
    let mut screen = Screen::start(BY_HAND);
    screen.wait_ready();
    screen.terminal.press("PUT color red\r");
    screen.terminal.wait_line("OK");
    screen.kill(screen.place.rank(1), Signal::KILL);
    screen.terminal.wait_shows("server 2 · PRIMARY");
    screen.terminal.press("GET color\r");
    screen.terminal.wait_line("\"red\"");
    screen.terminal.press(CTRL_D);
    screen.check_whole(0);
}

#[test]
fn what_was_on_the_disks_is_on_the_cards_after_a_start() {
    let data = Data::new("screen");
    let args = [BY_HAND, &["--data", data.text()]].concat();
    for is_first in [true, false] {
        let mut screen = Screen::start(&args);
        screen.terminal.wait_shows("server 1 · PRIMARY");
        if is_first {
            screen.terminal.press("PUT color red\r");
        }
        screen.terminal.wait("the key on both cards", |terminal| {
            terminal.lines().iter().any(|line| line.matches(" color  red ").count() == 2)
        });
        screen.terminal.press(CTRL_D);
        screen.check_whole(0);
    }
}
