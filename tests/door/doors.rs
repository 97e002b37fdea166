//! Several doors of a real cluster, at one address.

use crate::cluster::{Client, end_service, kill_primary, open, open_service, wait_for};
use crate::support::job::{Place, run};
use crate::support::status::Status;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections that count.
const CONNECTIONS: usize = 30;
/// Somebody who waits at one door hears of a push at another within this time.
const WOKEN: Duration = Duration::from_secs(1);

/// On which rank the door is that this one has come in at.
fn door_of(client: &mut Client) -> u64 {
    let id: u64 = client.ask("CLIENT ID").trim_start_matches(':').parse().expect("a number");
    id >> 40
}

/// One more client, at a door where none of these ranks is.
fn elsewhere(port: u16, not: &[u64]) -> (Client, u64) {
    wait_for("a connection to another door", || {
        let mut client = Client::new(port);
        let door = door_of(&mut client);
        (!not.contains(&door)).then_some((client, door))
    })
}

/// The lines of an array of bulk strings and numbers.
fn lines(client: &mut Client) -> Vec<String> {
    let count: usize = client.line().trim_start_matches(['*', '>']).parse().expect("a length");
    let element = |_| match client.line() {
        length if length.starts_with('$') => client.line(),
        other => other,
    };
    (0..count).map(element).collect()
}

/// How many doors there are, as one of them knows.
fn doors(client: &mut Client) -> Option<usize> {
    field(client, "doors")
}

/// A number of `INFO clients`.
fn field(client: &mut Client, name: &str) -> Option<usize> {
    let info = client.ask("INFO clients");
    info.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok())
}

#[test]
fn connections_are_spread_over_the_doors_and_each_request_takes_effect_once() {
    let (mut job, port) = open(&["--servers", "3", "--doors", "2"]);
    elsewhere(port, &[0]);
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::new(port)).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let counting = |mut client: Client| {
        let is_over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            let (door, mut counted) = (door_of(&mut client), 0);
            // A slow machine may have failed over three times before this.
            while !is_over.load(Ordering::Relaxed) || counted < 20 {
                let answer = client.ask("INCR n");
                assert!(answer.starts_with(':'), "{answer}");
                counted += 1;
            }
            (door, counted)
        })
    };
    let counting: Vec<_> = clients.into_iter().map(counting).collect();
    for _ in 0..3 {
        kill_primary(&mut job);
    }
    job.wait_status("the view is whole", Status::is_whole);
    is_over.store(true, Ordering::Relaxed);
    let ended: Vec<(u64, usize)> = counting.into_iter().map(|thread| thread.join().expect("it ends well")).collect();
    let used: BTreeSet<u64> = ended.iter().map(|(door, _)| *door).collect();
    let counted: usize = ended.iter().map(|(_, counted)| counted).sum();
    assert!(counted >= CONNECTIONS * 20, "{counted} in all");
    assert!(used.len() >= 2, "only the doors on {used:?} have had connections");
    job.expect("GET n", &counted.to_string());
    let checked = job.ask("CHECK");
    assert!(checked.contains("linearizable"), "{checked}");
    // The load is not for doors.
    job.expect("LOAD 100", "OK");
    wait_for("the load goes", || {
        let load = job.ask("LOAD");
        assert!(load.contains(" clients 1 "), "{load}");
        (!load.contains(" operations 0 ")).then_some(())
    });
    job.end(0);
}

#[test]
fn who_waits_at_one_door_is_woken_by_what_comes_in_at_another() {
    let (job, port) = open_service(&["--doors", "1"]);
    let (mut waiting, door) = elsewhere(port, &[0]);
    let (mut pushing, _) = elsewhere(port, &[door]);
    waiting.send("BLPOP queue 10\r\n");
    wait_for("somebody is seen to wait, at the other door too", || {
        field(&mut pushing, "blocked_clients").filter(|waiting| *waiting == 1)
    });
    let pushed = Instant::now();
    assert_eq!(pushing.ask("RPUSH queue job"), ":1");
    assert_eq!(lines(&mut waiting), ["queue", "job"]);
    assert!(pushed.elapsed() < WOKEN, "{:?}", pushed.elapsed());
    // What is watched is one for all doors.
    assert_eq!(waiting.ask("WATCH k"), "+OK");
    assert_eq!(pushing.ask("SET k other"), "+OK");
    waiting.send("MULTI\r\nSET k mine\r\nEXEC\r\n");
    assert_eq!([waiting.line(), waiting.line(), waiting.line()], ["+OK", "+QUEUED", "*-1"]);
    end_service(job);
}

#[test]
fn messages_and_settings_go_from_door_to_door() {
    let (job, port) = open_service(&["--doors", "2"]);
    let (mut listener, first) = elsewhere(port, &[0]);
    let (mut by_pattern, second) = elsewhere(port, &[0, first]);
    let (mut publisher, _) = elsewhere(port, &[first, second]);
    listener.send("SUBSCRIBE news\r\n");
    assert_eq!(lines(&mut listener), ["subscribe", "news", ":1"]);
    by_pattern.send("PSUBSCRIBE n*\r\n");
    assert_eq!(lines(&mut by_pattern), ["psubscribe", "n*", ":1"]);
    // It arrives whether or not it is known yet that somebody listens.
    publisher.ask("PUBLISH news 1");
    assert_eq!(lines(&mut listener), ["message", "news", "1"]);
    assert_eq!(lines(&mut by_pattern), ["pmessage", "n*", "news", "1"]);
    wait_for("both are counted", || {
        publisher.send("PUBSUB NUMSUB news\r\n");
        (lines(&mut publisher) == ["news", ":1"]).then_some(())
    });
    assert_eq!(publisher.ask("PUBSUB NUMPAT"), ":1");
    assert_eq!(publisher.ask("PUBLISH news 2"), ":2");
    assert_eq!(lines(&mut listener), ["message", "news", "2"]);
    drop(listener);
    wait_for("one is gone", || (publisher.ask("PUBLISH news 3") == ":1").then_some(()));

    assert_eq!(publisher.ask("CONFIG SET maxclients 77"), "+OK");
    let (mut other, _) = elsewhere(port, &[0, second]);
    wait_for("it was told", || field(&mut other, "maxclients").filter(|most| *most == 77));
    end_service(job);
}

#[test]
fn connections_at_other_doors_are_listed_killed_and_released() {
    let (job, port) = open_service(&["--doors", "2"]);
    let (mut waiting, first) = elsewhere(port, &[0]);
    let (mut killed, second) = elsewhere(port, &[0, first]);
    let (mut asking, _) = elsewhere(port, &[first, second]);
    let id = |client: &mut Client| client.ask("CLIENT ID").trim_start_matches(':').to_owned();
    let (waits, dies) = (id(&mut waiting), id(&mut killed));
    assert_eq!(waiting.ask("CLIENT SETNAME patient"), "+OK");
    waiting.send("BLPOP queue 0\r\n");
    // What is asked behind it is answered behind it.
    asking.send("CLIENT LIST\r\nPING\r\n");
    let length: usize = asking.line().trim_start_matches('$').parse().expect("a length");
    let list = asking.text(length);
    assert!([&waits, &dies].iter().all(|id| list.contains(&format!("id={id} "))), "{list}");
    assert!(list.contains("name=patient"), "{list}");
    assert_eq!(asking.line(), "+PONG");

    assert_eq!(asking.ask(&format!("CLIENT UNBLOCK {waits} ERROR")), ":1");
    assert!(waiting.line().starts_with("-UNBLOCKED"));
    assert_eq!(asking.ask(&format!("CLIENT UNBLOCK {waits}")), ":0");
    assert_eq!(asking.ask(&format!("CLIENT KILL ID {dies}")), ":1");
    killed.expect_end();
    // A door that stands still is not waited for for ever.
    let process = job.processes_of(u32::try_from(second).expect("few ranks"))[0];
    job.signal(process, Signal::STOP);
    let list = asking.ask(&format!("CLIENT LIST ID {waits} {dies}"));
    assert!(list.contains(&waits) && !list.contains(&dies), "{list}");
    job.signal(process, Signal::CONT);
    end_service(job);
}

#[test]
fn the_death_of_a_door_ends_its_own_connections_and_no_others() {
    let (job, port) = open_service(&["--doors", "1"]);
    let (mut lost, door) = elsewhere(port, &[0]);
    let (mut stays, _) = elsewhere(port, &[door]);
    lost.send("SUBSCRIBE news\r\n");
    assert_eq!(lines(&mut lost), ["subscribe", "news", ":1"]);
    wait_for("it is counted", || (stays.ask("PUBLISH news 1") == ":1").then_some(()));
    let process = job.processes_of(u32::try_from(door).expect("few ranks"))[0];
    job.signal(process, Signal::KILL);
    wait_for("one is left", || doors(&mut stays).filter(|doors| *doors == 1));
    assert_eq!(stays.ask("PUBLISH news 2"), ":0");
    assert_eq!(stays.ask("SET a 1"), "+OK");
    // That it is dead is known before the kernel has closed its sockets, oldest first.
    lost.rest();
    for _ in 0..20 {
        assert_eq!(Client::new(port).ask("GET a"), "1");
    }
    end_service(job);
}

#[test]
fn every_door_wants_the_password() {
    let folder = Place::new();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").expect("there is room");
    let file = file.to_str().expect("it is text");
    let (job, port) = open_service(&["--doors", "2", "--password-file", file]);
    let mut seen = BTreeSet::new();
    wait_for("all doors were asked", || {
        let mut client = Client::new(port);
        assert!(client.ask("GET a").starts_with("-NOAUTH"));
        assert!(client.ask("AUTH wrong").starts_with("-WRONGPASS"));
        assert_eq!(client.ask("AUTH secret"), "+OK");
        assert_eq!(client.ask("SET a 1"), "+OK");
        seen.insert(door_of(&mut client));
        (seen.len() == 3).then_some(())
    });
    end_service(job);
}

#[test]
fn further_doors_stand_beside_a_first_one() {
    let said = run(&["--doors", "2", "-c", "COUNT"], b"").stderr;
    assert!(said.contains("--doors 2") && said.contains("give --door PORT"), "{said}");
}

/// Somebody who would share his port with anybody.
fn sharing() -> TcpListener {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("there is one");
    sockopt::set_socket_reuseport(&socket, true).expect("it can be");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    rustix::net::bind(&socket, &any).expect("there is a free port");
    rustix::net::listen(&socket, 8).expect("it can be");
    TcpListener::from(socket)
}

#[test]
fn doors_do_not_share_a_port_with_another_program() {
    let taken = sharing();
    let port = taken.local_addr().expect("it has one").port().to_string();
    let said = run(&["--door", &port, "--doors", "2", "-c", "COUNT"], b"").stderr;
    assert!(said.contains(&format!("no door at 127.0.0.1:{port}")) && said.contains("another port"), "{said}");
}
