//! Clients under load: in the simulator, and over real MPI while servers are crashed, killed and cut off.
//!
//! What the load says of itself is believed only because one test lies to it: a key that is taken away behind its
//! back must show as lost.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use support::job::{Job, PATIENCE, Place};
use support::load::{number, wait_progress};
use understudy::check::{Operation, Verdict, check, json};
use understudy::core::fault::Control;
use understudy::core::load::{LoadOrder, Report, Workload};
use understudy::core::node::Setup;
use understudy::core::protocol::{Config, METADATA, Rank, Reason, Role};
use understudy::core::store::Command;
use understudy::sim::World;

// ---- in the simulator ------------------------------------------------------------------------------

fn world(servers: u32, replicas: u32, clients: u32) -> World {
    let config = Config { clients, replicas, ..Config::new(servers) };
    let recover_after = (replicas == servers).then_some(Duration::from_millis(100));
    let mut world = World::new(Setup { config, seed: 11, failure_rate: 0.0, recover_after, observe: true });
    assert!(world.run_until(Duration::from_secs(5), |world| world.view_now().is_some()));
    world.run_for(Duration::from_millis(50));
    world
}

fn load(world: &mut World, rate: f64) {
    let order = LoadOrder { workload: Workload::A, per_second: Some(rate) };
    for client in world.clients().into_iter().filter(|client| *client != METADATA) {
        world.control(client, &Control::Load { order: Some(order) }).expect("it is a client");
    }
}

fn loaded(world: &mut World) -> Report {
    let now = world.now();
    let clients = world.clients().into_iter().filter(|client| *client != METADATA).collect::<Vec<_>>();
    let reports: Vec<Report> =
        clients.iter().filter_map(|client| world.front_mut(*client).load_report(now, true)).collect();
    Report::sum(reports.iter())
}

#[test]
fn ten_failovers_under_load_lose_nothing_and_repeat_nothing() {
    let mut world = world(3, 3, 3);
    load(&mut world, 300.0);
    for _ in 0..10 {
        world.run_for(Duration::from_millis(400));
        let primary = world.primary().expect("there is a view");
        world.control(primary, &Control::Crash).expect("it is up");
    }
    world.run_for(Duration::from_secs(1));
    let report = loaded(&mut world);
    assert_eq!((report.lost, report.duplicated, report.unanswered), (0, 0, 0), "{report}");
    assert_eq!((report.clients, report.failovers), (3, 10), "{report}");
    assert!((4_000..=4_600).contains(&report.operations), "{report}");
    let downtime = report.downtime.as_millis();
    assert!((50..200).contains(&downtime), "{report}");
    assert_eq!(world.violation(), None);
    // Somebody who did not take part thinks the same.
    assert_eq!(check(world.history()), Verdict::Ok);
}

#[test]
fn what_is_taken_away_behind_its_back_shows() {
    for (command, lost) in [
        (Command::Delete { key: "load:3:0".into() }, true),
        (Command::Put { key: "load:3:0".into(), value: "999999".into() }, false),
        (Command::Incr { key: "load:3:counter".into() }, false),
        (Command::Put { key: "load:3:counter".into(), value: "1".into() }, true),
    ] {
        let mut world = world(2, 2, 1);
        load(&mut world, 1_000.0);
        world.run_for(Duration::from_secs(2));
        let before = loaded(&mut world);
        assert_eq!((before.lost, before.duplicated), (0, 0), "{before}");
        world.submit(METADATA, command.clone());
        world.run_for(Duration::from_secs(2));
        let after = loaded(&mut world);
        assert_eq!((after.lost > 0, after.duplicated > 0), (lost, !lost), "{command}: {after}");
        assert!(after.first_fault.is_some(), "{after}");
    }
}

#[test]
fn after_a_reset_the_load_begins_anew() {
    let mut world = world(2, 2, 2);
    load(&mut world, 500.0);
    world.run_for(Duration::from_secs(1));
    world.control(METADATA, &Control::Reset).expect("rank 0 is the metadata server");
    world.run_for(Duration::from_secs(2));
    let report = loaded(&mut world);
    assert!(report.operations > 2_000, "{report}");
    assert_eq!((report.lost, report.duplicated), (0, 0), "{report}");
}

#[test]
fn an_idle_server_takes_the_place_of_a_lost_one() {
    let mut world = world(4, 2, 1);
    let announce = world.setup().config.timing.announce;
    load(&mut world, 300.0);
    let role = |world: &World| (1..=4).map(|rank| world.role(Rank(rank))).collect::<Vec<_>>();
    assert_eq!(role(&world), [Role::Primary, Role::Backup, Role::Idle, Role::Idle]);
    for lost in [1, 2, 3] {
        world.control(Rank(lost), &Control::Crash).expect("it is up");
        let members =
            |world: &World| world.view_now().map(|view| view.members().map(|member| member.rank.0).collect::<Vec<_>>());
        let taken = |world: &World| members(world).is_some_and(|now| now.len() == 2 && !now.contains(&lost));
        // Silence is noticed, the next announcement is answered by a summons, the state is sent.
        assert!(world.run_until(announce * 3, taken), "{lost}: {:?}", members(&world));
        world.run_for(Duration::from_millis(1));
        assert_eq!(world.holders().len(), 2);
        world.control(Rank(lost), &Control::Recover).expect("it is down");
        world.run_for(announce * 3);
    }
    let joins = world.front(METADATA).metadata().expect("rank 0").records();
    assert_eq!(joins.iter().filter(|record| matches!(record.reason, Reason::Joined { .. })).count(), 3);
    let report = loaded(&mut world);
    assert_eq!((report.lost, report.duplicated), (0, 0), "{report}");
}

#[test]
fn the_metadata_server_does_not_notice_the_load() {
    let requests = |rate: Option<f64>| {
        let mut world = world(2, 2, 2);
        if let Some(rate) = rate {
            load(&mut world, rate);
        }
        let asked = |world: &World| world.front(METADATA).metadata().expect("rank 0").requests();
        let before = asked(&world);
        world.run_for(Duration::from_secs(10));
        assert!(rate.is_none_or(|rate| loaded(&mut world).operations as f64 > rate * 19.0));
        asked(&world) - before
    };
    let idle = requests(None);
    assert!(idle > 0);
    for rate in [10.0, 100.0, 1_000.0] {
        assert!(requests(Some(rate)).abs_diff(idle) <= 5, "{idle} in 10 s without load, {rate}/s: more");
    }
}

// ---- over MPI --------------------------------------------------------------------------------------

/// Waits until the program has said this about why nobody is served.
#[track_caller]
fn wait_why(job: &mut Job, sentence: &str) {
    let begun = Instant::now();
    while !job.stderr().contains(sentence) {
        if begun.elapsed() > PATIENCE {
            job.fail(&format!("nobody says: {sentence}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing is answered for a while.
#[track_caller]
fn wait_standstill(job: &mut Job, why: &str) {
    let begun = Instant::now();
    loop {
        let before = number(&job.ask("LOAD"), "operations");
        std::thread::sleep(Duration::from_millis(300));
        if number(&job.ask("LOAD"), "operations") == before {
            return;
        }
        if begun.elapsed() > PATIENCE {
            job.fail(&format!("still answered in spite of {why}"));
        }
    }
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn two_clients_see_failovers_and_lose_nothing() {
    let mut job = Job::start(&["--clients", "2", "--failure-rate", "0", "--recover-after", "0.1"]);
    let status = job.wait_led_by(1, &[2]);
    assert_eq!((status.role(3), status.role(4)), ("CLIENT", "CLIENT"), "{status}");
    assert!(status.ranks[3].server.is_none(), "{status}");
    let line = job.ask("LOAD");
    assert!(line.starts_with("load off clients 2 operations 0 per-second 0 "), "{line}");
    job.expect("LOAD 2000", "OK");
    wait_progress(&mut job, PATIENCE, 500);
    for break_it in ["CRASH primary", "SWAP", "KILL primary"] {
        job.expect(break_it, "OK");
        wait_progress(&mut job, PATIENCE, 500);
        job.wait_status("both serve again", |status| {
            status.primary.is_some_and(|primary| status.is_led_by(primary, &[3 - primary]))
        });
    }
    let line = wait_progress(&mut job, PATIENCE, 500);
    assert!(line.starts_with("load on workload A clients 2 "), "{line}");
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    assert!(number(&line, "failovers") >= 3 && number(&line, "downtime-ms") >= 10, "{line}");
    job.expect("LOAD off", "OK");
    job.expect("LOAD 500 c", "OK");
    let line = wait_progress(&mut job, PATIENCE, 100);
    assert!(line.starts_with("load on workload C "), "{line}");
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    job.expect("LOAD off", "OK");
    assert!(job.ask("LOAD").starts_with("load off clients 2 "));
    // The check can fail: with the counter set back, the next answers are too low.
    job.expect("LOAD 500 A", "OK");
    wait_progress(&mut job, PATIENCE, 100);
    job.expect("PUT load:3:counter 1", "OK");
    let line = wait_progress(&mut job, PATIENCE, 200);
    assert!(number(&line, "lost") > 0 && line.contains("first-fault INCR load:3:counter"), "{line}");
    job.end(0);
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn without_further_clients_the_console_loads() {
    let mut job = Job::start(&["--failure-rate", "0"]);
    job.expect("PUT a 1", "OK");
    job.expect("LOAD on B", "OK");
    wait_progress(&mut job, PATIENCE, 1_000);
    job.expect("GET a", "1");
    let line = wait_progress(&mut job, PATIENCE, 1_000);
    assert!(line.starts_with("load on workload B clients 1 "), "{line}");
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    job.expect("LOAD off", "OK");
    job.expect("GET a", "1");
    job.end(0);
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn an_idle_server_is_recruited() {
    let mut job = Job::start(&["--servers", "3", "--replicas", "2", "--failure-rate", "0", "--recover-after", "never"]);
    job.expect("PUT a 1", "OK");
    let status = job.wait_led_by(1, &[2]);
    assert_eq!(status.role(3), "IDLE", "{status}");
    job.expect("CRASH primary", "OK");
    let status = job.wait_led_by(2, &[3]);
    assert_eq!(status.server(3).keys, 1, "{status}");
    job.tell("VIEW");
    for (start, asked) in [
        ("view 1 primary 1 backups 2: all servers empty and equal (", ""),
        ("view 2 primary 2 backups none: server 1 silent for ", " ms, asked by server 2 ("),
        ("view 3 primary 2 backups 3: server 3 is up to date, asked by server 2 (", ""),
    ] {
        let line = job.answer();
        assert!(line.starts_with(start) && line.contains(asked) && line.ends_with(" s ago)"), "{line}");
    }
    // Who comes back is not needed.
    job.expect("RECOVER", "OK");
    let status = job.wait_status("server 1 is idle", |status| status.role(1) == "IDLE");
    assert!(status.is_led_by(2, &[3]), "{status}");
    job.expect("KILL 2", "OK");
    job.wait_status("server 1 is needed again", |status| status.is_led_by(3, &[1]));
    job.expect("GET a", "1");
    job.end(0);
}

/// With a history every client is judged by it, the further ones as well.
#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn the_operations_of_all_clients_are_in_the_history() {
    let place = Place::new();
    let file = place.path().join("history.jsonl");
    let path = file.to_str().expect("a plain name");
    let mut job = Job::start(&["--clients", "2", "--failure-rate", "0", "--recover-after", "0.1", "--history", path]);
    job.wait_led_by(1, &[2]);
    job.expect("LOAD 400", "OK");
    job.expect("PUT a 1", "OK");
    // The second one only when there are two copies again: else all would be lost.
    for (survivor, other) in [(2, 1), (1, 2)] {
        job.expect("CRASH primary", "OK");
        job.wait_led_by(survivor, &[other]);
    }
    wait_progress(&mut job, PATIENCE, 400);
    job.expect("LOAD off", "OK");
    job.expect("SLEEP 0.5", "OK");
    let operations = number(&job.ask("LOAD"), "operations");
    job.expect("COUNT", &job_count(&operations_of(&file)).to_string());
    let verdict = job.ask("CHECK");
    assert!(verdict.starts_with("linearizable: "), "{verdict}");
    job.end(0);
    let history = operations_of(&file);
    let of = |client: u32| history.iter().filter(|operation| operation.client.rank() == client).count() as u64;
    assert_eq!(of(3) + of(4), operations, "all that was answered, and nothing twice");
    assert!(of(0) >= 2 && of(3) > 100 && of(4) > 100, "{} {} {}", of(0), of(3), of(4));
    assert_eq!(check(&history), Verdict::Ok);
}

fn operations_of(file: &Path) -> Vec<Operation> {
    let text = std::fs::read(file).expect("it was written");
    json::read(text.as_slice()).expect("every line is an operation")
}

/// How many keys there must be, when nothing is deleted.
fn job_count(history: &[Operation]) -> usize {
    let written = history.iter().filter(|operation| !operation.command.is_read());
    written.filter_map(|operation| operation.command.key()).collect::<BTreeSet<_>>().len()
}

/// Without one as well: what they write is not held against the answers that the console gets.
#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn check_judges_the_operations_of_all_clients() {
    let mut job = Job::start(&["--clients", "1", "--failure-rate", "0"]);
    job.expect("PUT a 1", "OK");
    job.expect("COUNT", "1");
    job.expect("LOAD 500", "OK");
    wait_progress(&mut job, PATIENCE, 300);
    assert!(job.ask("COUNT").parse::<u64>().is_ok_and(|count| count > 1));
    assert_ne!(job.ask("GET load:1:counter"), "");
    assert_ne!(job.ask("GET load:3:counter"), "(nil)");
    let verdict = job.ask("CHECK");
    let judged = verdict.split(' ').skip_while(|word| !word.chars().all(|c| c.is_ascii_digit()));
    let judged: String = judged.take_while(|word| word.chars().all(|c| c.is_ascii_digit())).collect();
    assert!(judged.parse::<u64>().is_ok_and(|judged| judged > 300), "{verdict}");
    assert!(!verdict.contains("not linearizable"), "{verdict}");
    job.end(0);
}

/// The console's own requests and answers, each way; then those of the backup and the metadata server.
#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn links_of_the_console_are_cut_in_each_direction() {
    let mut job = Job::start(&["--failure-rate", "0", "--recover-after", "never"]);
    job.wait_led_by(1, &[2]);
    job.expect("LOAD 500", "OK");
    for cut in ["CUT 0 1 oneway", "CUT 1 0 oneway"] {
        wait_progress(&mut job, PATIENCE, 50);
        job.expect(cut, "OK");
        // What cannot go directly goes by the other server.
        wait_progress(&mut job, PATIENCE, 50);
        job.expect("HEAL", "OK");
    }
    for cut in ["CUT 0 backup oneway", "CUT backup 0 oneway"] {
        let line = wait_progress(&mut job, PATIENCE, 50);
        assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
        let backup = job.wait_status("both serve", |status| !status.backups.is_empty()).backups[0];
        job.expect(cut, "OK");
        // Only the metadata server can make the backup primary, and only when it has asked it back.
        job.expect("CRASH primary", "OK");
        wait_standstill(&mut job, cut);
        let sentence = match cut.starts_with("CUT 0") {
            true => format!("server {backup}, which would take over, does not hear the metadata server"),
            false => format!("server {backup}, which would take over, cannot reach the metadata server"),
        };
        wait_why(&mut job, &sentence);
        job.expect("HEAL", "OK");
        wait_progress(&mut job, PATIENCE, 50);
        job.expect("RECOVER", "OK");
        job.wait_led_by(backup, &[3 - backup]);
    }
    job.end(0);
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn a_cluster_without_data_says_what_is_left_to_do() {
    let mut job = Job::start(&["--failure-rate", "0", "--recover-after", "never"]);
    job.wait_led_by(1, &[2]);
    job.expect("PAUSE 2", "OK");
    job.wait_status("server 1 is alone", |status| status.primary == Some(1) && status.backups.is_empty());
    job.expect("PAUSE 1", "OK");
    wait_why(&mut job, "server 1 is paused, and nobody else has the data. RESUME 1 lets it go on");
    job.expect("RESUME 2", "OK");
    job.expect("RESUME 1", "OK");
    job.wait_led_by(1, &[2]);
    job.expect("PUT a 1", "OK");
    job.expect("CRASH 1", "OK");
    job.expect("CRASH 2", "OK");
    wait_why(&mut job, "so the data is gone. RESET starts over empty");
    job.expect("RECOVER", "OK");
    job.expect("RESET", "OK");
    job.expect("GET a", "(nil)");
    job.end(0);
}

#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn links_of_a_client_are_cut_in_each_direction() {
    let mut job = Job::start(&["--clients", "1", "--failure-rate", "0"]);
    job.wait_led_by(1, &[2]);
    job.expect("LOAD 500", "OK");
    for cut in ["CUT 3 1 oneway", "CUT 1 3 oneway"] {
        wait_progress(&mut job, PATIENCE, 50);
        job.expect(cut, "OK");
        // What cannot go directly goes by the other server; others are served as before.
        wait_progress(&mut job, PATIENCE, 50);
        job.expect("PUT a 1", "OK");
        job.expect("HEAL", "OK");
    }
    // A client that hears nothing from the metadata server learns of the new primary from the servers, or not at all:
    // whoever it is, it goes on when the link is back.
    job.expect("CUT 0 3 oneway", "OK");
    job.expect("SWAP", "OK");
    job.expect("CUT 3 0", "OK");
    job.expect("HEAL", "OK");
    let line = wait_progress(&mut job, PATIENCE, 50);
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    job.end(0);
}

/// Every rank drops and delays what it sends, the clients and the metadata server too, while the roles change.
#[test]
#[cfg_attr(not(feature = "mpi"), ignore = "needs MPI")]
fn messages_of_all_ranks_are_lost_and_late() {
    let mut job = Job::start(&["--clients", "2", "--failure-rate", "0", "--recover-after", "0.1"]);
    job.wait_led_by(1, &[2]);
    job.expect("LOAD 300", "OK");
    wait_progress(&mut job, PATIENCE, 100);
    job.expect("LOSS 10%", "OK");
    job.expect("DELAY 2", "OK");
    for break_it in ["SWAP", "CRASH primary"] {
        wait_progress(&mut job, PATIENCE, 50);
        job.ask(break_it);
    }
    wait_progress(&mut job, PATIENCE, 50);
    // What was lost was asked for again: that is how one sees that anything was.
    let line = job.ask("LOAD");
    assert!(number(&line, "p99-us") > 2 * 2_000, "{line}");
    job.expect("HEAL", "OK");
    let line = wait_progress(&mut job, PATIENCE, 100);
    assert_eq!((number(&line, "lost"), number(&line, "duplicated")), (0, 0), "{line}");
    job.expect("LOAD off", "OK");
    let verdict = job.ask("CHECK");
    assert!(verdict.starts_with("linearizable: "), "{verdict}");
    job.end(0);
}
