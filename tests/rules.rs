//! Every rule is there for a reason: without it, something goes wrong that does not go wrong with it.
//!
//! Three ways to show that, for each rule: random runs find a violation of just the property that the rule
//! protects; a transcript (`tests/transcripts/rules_without_…`) tells the shortest story of it; a scenario
//! (`assets/scenarios`) plays it from the console. The same seeds, and the same scripts, end well with the rule.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use understudy::core::protocol::{Rule, Rules};
use understudy::sim::{Chaos, Outcome, run};

/// The property that breaks without a rule (a file in `src/sim/invariants`), and how many seeds may be tried.
fn protects(rule: Rule) -> (&'static str, u64) {
    match rule {
        Rule::WaitForAll | Rule::Incarnation | Rule::JoinBeforeCount | Rule::Tail => ("durability", 30),
        Rule::Lease => ("one_server", 30),
        // A late message has to meet a server that is just waiting for it.
        Rule::Fencing => ("exactly_once", 1_500),
        Rule::Sessions => ("exactly_once", 30),
        // Who asks has to die while the request travels.
        Rule::Confirm => ("survivor", 400),
    }
}

/// Runs seeds without the rule until its property is violated, and each of them with the rule.
fn break_it(rule: Rule) {
    let (property, seeds) = protects(rule);
    let without = Chaos { rules: Rules::without(&[rule]), ..Chaos::default() };
    for seed in 0..seeds {
        let with = Chaos::default();
        assert_eq!(run(seed, &with).outcome, Outcome::Clean, "repeat it with: {}", with.command(seed));
        match run(seed, &without).outcome {
            Outcome::Violated(violation) if violation.invariant == property => {
                println!("without {rule}: seed {seed} violates {violation}");
                return;
            }
            // Where one thing goes wrong, another may be noticed first.
            Outcome::Violated(_) | Outcome::Clean => {}
        }
    }
    panic!("{seeds} seeds without {rule}, and {property} was never violated");
}

#[test]
fn without_wait_for_all_an_acknowledged_write_is_lost() {
    break_it(Rule::WaitForAll);
}

#[test]
fn without_leases_two_servers_answer() {
    break_it(Rule::Lease);
}

#[test]
fn without_fencing_a_replaced_primary_still_has_its_way() {
    break_it(Rule::Fencing);
}

#[test]
fn without_confirmation_the_dead_throw_out_the_living() {
    break_it(Rule::Confirm);
}

#[test]
fn without_sessions_a_request_takes_effect_twice() {
    break_it(Rule::Sessions);
}

#[test]
fn without_incarnations_an_empty_server_is_taken_for_a_full_one() {
    break_it(Rule::Incarnation);
}

#[test]
fn without_join_before_count_an_empty_server_becomes_primary() {
    break_it(Rule::JoinBeforeCount);
}

#[test]
fn without_the_tail_an_acknowledged_write_is_thrown_away() {
    break_it(Rule::Tail);
}

#[test]
fn the_warning_names_what_is_off() {
    assert_eq!(Rules::default().warning(), None);
    let one = Rules::without(&[Rule::Lease]).warning().expect("a rule is off");
    assert!(one.contains("lease") && one.contains(Rule::Lease.without()), "{one}");
    let all = Rules::without(&Rule::ALL).warning().expect("all rules are off");
    assert!(Rule::ALL.iter().all(|rule| all.contains(rule.name())), "{all}");
}

#[test]
fn every_rule_has_its_transcript() {
    for rule in Rule::ALL {
        let name = format!("tests/transcripts/rules_without_{}", rule.name().replace('-', "_"));
        let text = fs::read_to_string(top().join(&name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(text.contains(&format!("without={rule}")) && text.contains("VIOLATED"), "{name} shows nothing");
    }
}

// ---- scenarios -------------------------------------------------------------------------------------------

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A console script with what it is to answer.
struct Scenario {
    name: String,
    text: String,
    arguments: Vec<String>,
    /// One for each line of output: what it is, `not` what it is, or, after `… `, what some later line is.
    expected: Vec<String>,
}

impl Scenario {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a scenario is text");
        let name = path.file_stem().expect("a scenario has a name").to_string_lossy().into_owned();
        let after = |start: &'static str| text.lines().filter_map(move |line| line.strip_prefix(start));
        let play = after("# play: understudy ").next().unwrap_or_else(|| panic!("{name} does not say how to play it"));
        let arguments = play.split(' ').map(str::to_owned).collect();
        let expected = after("# → ").map(str::to_owned).collect();
        Self { arguments, expected, name, text }
    }

    /// The answers, through the simulator, in line mode.
    fn play(&self, arguments: &[String]) -> Vec<String> {
        let logs = std::env::temp_dir().join(format!("understudy-{}-{}", self.name, std::process::id()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args(arguments)
            .arg("--log-dir")
            .arg(&logs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut input = child.stdin.take().expect("it was piped");
        input.write_all(self.text.as_bytes()).expect("the program reads its script");
        drop(input);
        let output = child.wait_with_output().expect("the program ends");
        let _ = fs::remove_dir_all(&logs);
        String::from_utf8(output.stdout).expect("answers are text").lines().map(str::to_owned).collect()
    }

    /// What of the answers is not as announced.
    fn differs(&self, answers: &[String]) -> Option<String> {
        let mut answers = answers.iter();
        for expected in &self.expected {
            let found = match (expected.strip_prefix("… "), expected.strip_prefix("not ")) {
                (Some(later), _) => answers.any(|answer| answer.starts_with(later)),
                (None, Some(wrong)) => answers.next().is_some_and(|answer| answer != wrong),
                (None, None) => answers.next() == Some(expected),
            };
            if !found {
                return Some(format!("`{expected}` does not show"));
            }
        }
        // What comes after a line that was looked for is not announced.
        let open = self.expected.last().is_some_and(|last| last.starts_with("… "));
        (!open && answers.len() > 0).then(|| format!("{} answers more than announced", answers.len()))
    }
}

/// Plays a script on two servers of which a crashed one restarts at once.
fn answers(script: &str) -> Vec<String> {
    let words = "--sim --seed 1 --servers 2 --failure-rate 0 --recover-after 0";
    let arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let scenario = Scenario { name: "script".into(), text: script.into(), arguments, expected: Vec::new() };
    scenario.play(&scenario.arguments)
}

#[test]
fn a_server_that_restarts_follows_the_rules_of_now() {
    let script = "PUT color red\nCRASH 1\nSLEEP 1\nGET color\n";
    let last = |rules: &str| answers(&format!("{rules}{script}")).pop();
    assert_eq!(last("").as_deref(), Some("red"));
    assert_eq!(last("RULE incarnation off\n").as_deref(), Some("(nil)"));
    assert_eq!(last("RULE incarnation off\nRULE incarnation on\n").as_deref(), Some("red"));
}

#[test]
fn the_console_tells_which_rules_are_off() {
    let told = answers("RULE\nRULE tail off\nRULE tail\n");
    assert_eq!(told.len(), Rule::ALL.len() + 2, "{told:#?}");
    assert!(
        told.iter().zip(Rule::ALL).all(|(line, rule)| line.starts_with(rule.name()) && line.ends_with(rule.says()))
    );
    let last = &told[Rule::ALL.len() + 1];
    assert!(last.starts_with("tail ") && last.contains("OFF") && last.ends_with(Rule::Tail.without()));
}

fn scenarios() -> Vec<Scenario> {
    let entries = fs::read_dir(top().join("assets/scenarios")).expect("assets/scenarios is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    paths.iter().map(|path| Scenario::read(path)).collect()
}

#[test]
fn every_scenario_shows_what_it_announces_and_only_without_its_rule() {
    let scenarios = scenarios();
    assert_eq!(scenarios.len(), Rule::ALL.len());
    for scenario in scenarios {
        let rule: Rule = scenario.name.parse().unwrap_or_else(|why| panic!("{}: {why}", scenario.name));
        assert!(scenario.text.to_lowercase().contains(rule.says()), "{rule}: the scenario does not say the rule");
        assert!(scenario.text.contains(rule.without()), "{rule}: the scenario does not say what goes wrong");
        let without = ["--without".to_owned(), rule.name().to_owned()];
        let (with, last) = scenario.arguments.split_at(scenario.arguments.len() - without.len());
        assert_eq!(last, without, "{rule}: the last argument switches it off");

        let answers = scenario.play(&scenario.arguments);
        assert_eq!(scenario.differs(&answers), None, "without {rule}: {answers:#?}");
        assert_eq!(scenario.play(&scenario.arguments), answers, "{rule}: the same script ended differently");

        let safe = scenario.play(with);
        assert!(scenario.differs(&safe).is_some(), "with {rule} it must not go wrong: {safe:#?}");
        assert_eq!(safe[..safe.len() - 1], answers[..safe.len() - 1], "with {rule} all but the end is the same");
    }
}
