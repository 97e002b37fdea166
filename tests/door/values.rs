//! Values of every kind in a real cluster: what all servers have is the same, and time passes for whoever reads.

use crate::answer::Line;
use crate::author::Author;
use crate::cluster::{Client, open, primary, wait_for};
use rustix::process::{Signal, kill_process};
use std::collections::BTreeSet;
use std::time::Duration;

/// Random commands between two looks at the servers.
const COMMANDS: usize = 1_500;
const LOOKS: usize = 6;
const SERVERS: usize = 3;
/// A time to live that is over before anybody gives up waiting.
const LIFE_MS: i64 = 1_500;

/// What the door says of each server: how many writes it has carried out, and the digest of what it has.
fn members(door: &mut Client) -> Vec<(u64, String)> {
    let info = door.ask("INFO replication");
    let lines = info.lines().filter_map(|line| line.strip_prefix("member")?.split_once(":op="));
    let split = lines.filter_map(|(_, rest)| rest.split_once(",digest="));
    split.map(|(op, digest)| (op.parse().expect("a number"), digest.trim_end().to_owned())).collect()
}

#[test]
fn equal_op_numbers_mean_equal_digests_for_every_kind_of_value() {
    let (mut job, port) = open(&["--servers", "3"]);
    let (mut line, mut door) = (Line::open(port).expect("the door is open"), Client::new(port));
    let mut author = Author::new(12);
    let (mut digests, mut seen) = (BTreeSet::new(), 0);
    for look in 0..LOOKS {
        let commands: Vec<_> = (0..COMMANDS).map(|_| author.write()).collect();
        for (at, some) in commands.chunks(50).enumerate() {
            line.send(some);
            if at == COMMANDS / 100 && look % 2 == 1 {
                // Whoever takes the dead one's place receives the state while it changes.
                kill_process(primary(&mut job), Signal::KILL).expect("it is ours");
            }
            some.iter().for_each(|_| drop(line.read()));
        }
        // One of each kind, small at first and large in the end.
        for number in 0..100 {
            let n = look * 100 + number;
            line.send(
                &[
                    format!("RPUSH own:list {n}"),
                    format!("SADD own:set {n}"),
                    format!("HSET own:hash {n} {n}"),
                    format!("ZADD own:zset {n} {n}"),
                ]
                .map(|text| text.split(' ').map(Into::into).collect()),
            );
            (0..4).for_each(|_| drop(line.read()));
        }
        let kinds = ["list", "set", "hash", "zset"].map(|kind| door.ask(&format!("TYPE own:{kind}")));
        assert!(kinds.iter().all(|kind| kind != "+none"), "{kinds:?}");
        let all = wait_for("all servers have carried out the same writes", || {
            let all = members(&mut door);
            // What is told is a moment old: it may be what was told at the last look.
            (all.len() == SERVERS && all.iter().all(|(op, _)| *op == all[0].0 && *op > seen)).then_some(all)
        });
        seen = all[0].0;
        assert!(all.iter().all(|(_, digest)| *digest == all[0].1), "after {look} looks: {all:?}");
        digests.insert(all[0].1.clone());
    }
    assert_eq!(digests.len(), LOOKS, "they say something: {digests:?}");
    job.end(0);
}

#[test]
fn a_key_of_an_idle_cluster_comes_closer_to_its_end_and_goes() {
    let (job, port) = open(&[]);
    let mut door = Client::new(port);
    door.send(&format!("SET k v PX {LIFE_MS}\r\nHSET h f v\r\nPEXPIRE h {LIFE_MS}\r\n"));
    assert_eq!([door.line(), door.line(), door.line()], ["+OK", ":1", ":1"]);
    // Nobody writes any more.
    let mut left =
        |key: &str| door.ask(&format!("PTTL {key}")).trim_start_matches(':').parse::<i64>().expect("a number");
    let first = left("k");
    assert!((1..=LIFE_MS).contains(&first), "{first}");
    wait_for("time passes for readers", || (left("k") < first - 200).then_some(()));
    for key in ["k", "h"] {
        wait_for("it goes", || (left(key) == -2).then_some(()));
    }
    // Those that nobody asks for go as well.
    door.send(&format!("SET unseen v PX {}\r\n", LIFE_MS / 10));
    assert_eq!(door.line(), "+OK");
    wait_for("only the key is left that does not expire", || {
        std::thread::sleep(Duration::from_millis(50));
        (door.ask("DBSIZE") == ":1").then_some(())
    });
    job.end(0);
}
