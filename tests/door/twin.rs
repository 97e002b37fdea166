//! The door beside a real redis-server: the same random commands to both, the same answers, in both versions of the
//! protocol, many in one write, some of them in transactions, and while our primary is killed.

use crate::answer::{Answer, Line, Redis};
use crate::author::{Author, order, rounded};
use crate::cluster::{open, primary};
use crate::support::skip::{can_run, program};
use rustix::process::{Signal, kill_process};
use std::time::Duration;
use understudy::core::store::Bytes;

/// This many commands are compared, half of them in each version of the protocol.
const COMMANDS: usize = 100_000;
/// At most this many in one write.
const BATCH_MAX: u32 = 64;
/// Our primary is killed when this many more were sent.
const KILL_INTERVAL: usize = 6_000;
/// More differences than this are not told.
const WRONG_MAX: usize = 20;

/// What answers mean, without what has no meaning. `queued` are the names of a transaction's commands so far.
fn meaning(words: &[Bytes], answer: Answer, queued: &mut Vec<String>) -> Answer {
    let name = words[0].to_string().to_uppercase();
    match (name.as_str(), answer) {
        ("MULTI", answer) => {
            queued.clear();
            answer
        }
        ("EXEC", Answer::Array(items)) => {
            let names = std::mem::take(queued);
            Answer::Array(items.into_iter().zip(names).map(|(item, name)| one(&name, item)).collect())
        }
        (_, answer) if answer == Answer::Text("QUEUED".into()) => {
            queued.push(name);
            answer
        }
        (_, answer) => one(&name, answer),
    }
}

fn one(name: &str, answer: Answer) -> Answer {
    let answer = order(name).map_or_else(|| answer.clone().unordered(), |by_pairs| answer.clone().sorted(by_pairs));
    rounded(name, answer)
}

/// Some commands, now and then as a transaction.
fn batch(author: &mut Author) -> Vec<Vec<Bytes>> {
    let count = 1 + author.throw(BATCH_MAX);
    let mut batch: Vec<Vec<Bytes>> = (0..count).map(|_| author.write()).collect();
    if author.one_in(3) {
        let (begin, end) = (author.throw(count) as usize, author.throw(count) as usize);
        let (begin, end) = (begin.min(end), begin.max(end));
        let last = if author.one_in(6) { "DISCARD" } else { "EXEC" };
        batch.insert(end, vec![last.into()]);
        batch.insert(begin, vec!["MULTI".into()]);
    }
    batch
}

#[test]
fn the_door_answers_as_redis_does_while_the_primary_is_killed() {
    let lacks: Vec<String> = program("redis-server", "redis-server").into_iter().collect();
    if !can_run("the_door_answers_as_redis_does_while_the_primary_is_killed", &lacks) {
        return;
    }
    let mut redis = Redis::start().expect("it was found");
    let (mut job, port) = open(&["--servers", "3"]);
    let mut ours = Line::open(port).expect("the door is open");
    let (mut asked, mut kills, mut wrong) = (0, 0, Vec::new());
    for version in [2, 3] {
        for line in [&mut redis.line, &mut ours] {
            line.ask(&["HELLO".into(), version.to_string().into()]);
            line.ask(&["FLUSHALL".into()]);
        }
        let mut author = Author::new(version);
        let (mut their_queue, mut our_queue) = (Vec::new(), Vec::new());
        let until = asked + COMMANDS / 2;
        while asked < until && wrong.len() < WRONG_MAX {
            let batch = batch(&mut author);
            let is_killing = (asked + batch.len()) / KILL_INTERVAL > asked / KILL_INTERVAL;
            let victim = is_killing.then(|| primary(&mut job));
            redis.line.send(&batch);
            ours.send(&batch);
            if let Some(victim) = victim {
                // Sometimes before the first of them is carried out, sometimes after the last.
                std::thread::sleep(Duration::from_micros(u64::from(author.throw(1_500))));
                kill_process(victim, Signal::KILL).expect("it is ours");
                kills += 1;
            }
            asked += batch.len();
            for words in &batch {
                let expected = meaning(words, redis.line.read(), &mut their_queue);
                let found = meaning(words, ours.read(), &mut our_queue);
                if expected != found {
                    let line: Vec<String> = words.iter().map(|word| word.preview(40)).collect();
                    let line = line.join(" ");
                    wrong.push(format!("RESP{version}, {asked}: {line}\n  redis {expected:?}\n  ours  {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers differ, after {kills} kills:\n{}", wrong.len(), wrong.join("\n"));
    eprintln!("{asked} commands were answered alike, {kills} kills in between");
    assert!(asked >= COMMANDS && kills >= COMMANDS / KILL_INTERVAL - 1, "{asked} commands, {kills} kills");
    job.end(0);
}
