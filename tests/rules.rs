//! Every rule is there for a reason: without it, something goes wrong that does not go wrong with it.
//!
//! Three ways to show that, for each rule: random runs find a violation of just the property that the rule
//! protects; a transcript (`tests/transcripts/rules_without_…`) tells the shortest story of it; a scene of the tour
//! (`assets/tour/rules`) plays it for a class. The same seeds, and the same scenes, end well with the rule.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use understudy::app::play_scene;
use understudy::core::protocol::{Rule, Rules};
use understudy::sim::{Chaos, RunOutcome, run};
use understudy::ui::tour::{PlayedScene, faults, scenes};

/// The property that breaks without a rule (a file in `src/sim/invariants`), and how many seeds may be tried.
fn protects(rule: Rule) -> (&'static str, u64) {
    match rule {
        Rule::WaitForAll | Rule::Incarnation | Rule::JoinBeforeCount | Rule::Tail => ("durability", 30),
        Rule::Lease | Rule::ProofOfDeath => ("one_server", 30),
        // A late message has to meet a server that is just waiting for it.
        Rule::Fencing => ("exactly_once", 1_500),
        Rule::Sessions => ("exactly_once", 30),
        // Who asks has to die while the request travels.
        Rule::Confirm => ("survivor", 400),
        Rule::SyncBeforeAck | Rule::PersistView | Rule::RecoverHighestView => ("durability", 400),
    }
}

/// Runs seeds without the rule until its property is violated, and each of them with the rule.
fn break_it(rule: Rule) {
    let (property, seeds) = protects(rule);
    let with = Chaos { disks: rule.is_of_disks(), ..Chaos::default() };
    let without = Chaos { rules: Rules::without(&[rule]), ..with.clone() };
    for seed in 0..seeds {
        assert_eq!(run(seed, &with).outcome, RunOutcome::Clean, "repeat it with: {}", with.command(seed));
        match run(seed, &without).outcome {
            RunOutcome::Violated(violation) if violation.invariant == property => {
                println!("without {rule}: seed {seed} violates {violation}");
                return;
            }
            // Where one thing goes wrong, another may be noticed first.
            RunOutcome::Violated(_) | RunOutcome::Clean => {}
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
fn without_a_proof_of_death_the_living_are_buried() {
    break_it(Rule::ProofOfDeath);
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
fn without_sync_before_ack_an_acknowledged_write_is_on_no_disk() {
    break_it(Rule::SyncBeforeAck);
}

#[test]
fn without_persist_view_a_view_that_was_left_long_ago_counts() {
    break_it(Rule::PersistView);
}

#[test]
fn without_recover_highest_view_the_longest_log_pushes_others_aside() {
    break_it(Rule::RecoverHighestView);
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
        let goes_wrong = text.contains("VIOLATED") || text.contains("NOT linearizable");
        assert!(text.contains(&format!("without={rule}")) && goes_wrong, "{name} shows nothing");
    }
}

// ---- scenes ----------------------------------------------------------------------------------------------

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Plays a script through the simulator, in line mode, on two servers of which a crashed one restarts at once.
fn answers(script: &str) -> Vec<String> {
    let logs = std::env::temp_dir().join(format!("understudy-rules-{}", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args("--sim --seed 1 --servers 2 --failure-rate 0 --recover-after 0 --log-dir".split(' '))
        .arg(&logs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("it was piped");
    input.write_all(script.as_bytes()).expect("the program reads its script");
    drop(input);
    let output = child.wait_with_output().expect("the program ends");
    let _ = fs::remove_dir_all(&logs);
    String::from_utf8(output.stdout).expect("answers are text").lines().map(str::to_owned).collect()
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

#[test]
fn every_rule_has_a_scene_that_shows_what_it_announces_and_only_without_the_rule() {
    for (rule, scene) in Rule::ALL.into_iter().zip(scenes::of_rules().expect("they are scenes")) {
        let text = fs::read_to_string(top().join(&scene.file)).expect("a scene is text");
        assert_eq!(scene.name, rule.name());
        assert!(scene.ask.text.contains(rule.says()), "{rule}: the scene does not say the rule: {}", scene.ask.text);
        assert!(text.contains(rule.without()), "{rule}: the scene does not say what goes wrong");
        let without = ["--without".to_owned(), rule.name().to_owned()];
        let (with, last) = scene.options.1.split_at(scene.options.1.len() - without.len());
        assert_eq!(last, without, "{rule}: the last option switches it off");

        let played = play_scene(&scene).expect("it begins");
        assert_eq!(faults(&scene, &played), Vec::<String>::new(), "without {rule}: {played:#?}");

        let mut safe = scene.clone();
        safe.options.1 = with.to_vec();
        let played_safely = play_scene(&safe).expect("it begins");
        let last = |played: &PlayedScene| played.play.last().map(|step| step.answers.clone());
        assert_ne!(last(&played_safely), last(&played), "with {rule} it must not go wrong");
        assert!(played_safely.verdict.starts_with("linearizable"), "with {rule}: {}", played_safely.verdict);
        // All but the end is the same.
        let but_last = |played: &PlayedScene| -> Vec<Vec<String>> {
            let steps = played.setup.iter().chain(&played.play).map(|step| step.answers.clone());
            steps.take(scene.setup.len() + scene.play.len() - 1).collect()
        };
        assert_eq!(but_last(&played_safely), but_last(&played), "with {rule}");
    }
}
