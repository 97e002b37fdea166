//! The continuous judgement, over clusters in the simulator: they are asked for values of every kind while servers
//! crash.

use std::collections::BTreeMap;
use understudy::check::{Judgement, Operation, Witness};
use understudy::core::protocol::{Completion, Outcome, Rank, Time};
use understudy::core::store::{ClientId, Command, Reply};
use understudy::sim::chaos::{self, heal_all};
use understudy::sim::{Chaos, Script, World};

/// What the witness was told in one go: by the clients of a rank, and since when what they still have running runs.
type Word = (ClientId, Vec<Operation>, Time);

/// What all clients told in the run of a seed, as it went.
fn words(seed: u64) -> Vec<Word> {
    let chaos = Chaos { operations: 400, values: true, ..Chaos::default() };
    let mut world = chaos::start(seed, &chaos, false);
    let mut script = Script::new(seed, &chaos, world.now());
    let (mut words, mut told) = (Vec::new(), 0);
    while let Some(next) = script.next() {
        while world.step(next) {}
        script.act(&mut world);
        tell(&world, &mut told, &mut words);
    }
    heal_all(&mut world);
    world.run_until(std::time::Duration::from_secs(30), |world| {
        world.clients().iter().all(|client| world.front(*client).clients().iter().all(|own| own.outstanding() == 0))
    });
    tell(&world, &mut told, &mut words);
    assert!(world.violation().is_none(), "{:?}", world.violation());
    words
}

fn tell(world: &World, told: &mut usize, words: &mut Vec<Word>) {
    let mut new: BTreeMap<Rank, Vec<Operation>> = world.clients().into_iter().map(|rank| (rank, Vec::new())).collect();
    for operation in &world.history()[*told..] {
        new.entry(Rank(operation.client.rank())).or_default().push(operation.clone());
    }
    *told = world.history().len();
    for (rank, operations) in new {
        let client = ClientId::on(rank.0);
        words.push((client, operations, world.running_since(client)));
    }
}

/// What the witness says at the end, without looking at the whole history again.
fn judged(words: &[Word]) -> Judgement {
    let mut witness = Witness::default();
    words.iter().for_each(|(client, _, _)| witness.expect(*client));
    for (client, operations, running_since) in words {
        let completions = operations.iter().map(|operation| Completion::from(operation.clone()));
        witness.finished(*client, completions, *running_since).expect("nothing is written");
    }
    witness.standing()
}

#[test]
fn what_is_done_to_values_of_every_kind_is_judged_as_it_is_done() {
    let (mut operations, mut skipped) = (0, 0);
    for seed in 0..30 {
        match judged(&words(seed)) {
            Judgement::Linearizable { operations: judged, .. } => operations += judged,
            Judgement::Partly { operations: judged, skipped: left } => {
                operations += judged;
                skipped += left;
            }
            Judgement::Failed(contradiction) => panic!("seed {seed}: {contradiction}"),
        }
    }
    println!("{operations} operations judged, {skipped} not");
    assert!(operations > 10_000 && skipped * 50 < operations, "{operations} judged, {skipped} not");
}

fn is(command: &Command, name: &str) -> bool {
    matches!(command, Command::Call(call) if call.row().name == name)
}

/// Another answer than was given, for some.
type Lie = dyn Fn(&Command, &Reply) -> Option<Reply>;

/// Changes the first answer that `lie` knows another one for, when some have been told before; false if there is none.
fn spoil(words: &mut [Word], lie: &Lie) -> bool {
    let late = words.len() / 3;
    for operation in words[late..].iter_mut().flat_map(|(_, operations, _)| operations) {
        if let Outcome::Done(reply) = &operation.outcome
            && let Some(other) = lie(&operation.command, reply)
        {
            operation.outcome = Outcome::Done(other);
            return true;
        }
    }
    false
}

#[test]
fn a_wrong_answer_among_many_right_ones_is_found_as_it_is_given() {
    let lies: [(&str, &Lie); 5] = [
        ("a pop of what was never pushed", &|command, reply| {
            let was_popped = is(command, "lpop") && matches!(reply, Reply::Value(_));
            was_popped.then(|| Reply::Value("never".into()))
        }),
        ("a lost increment", &|command, reply| match reply {
            Reply::Integer(number) if is(command, "hincrby") && *number > 10 => Some(Reply::Integer(number - 5)),
            _ => None,
        }),
        ("a push that was done twice", &|command, reply| match reply {
            Reply::Integer(number) if is(command, "rpush") => Some(Reply::Integer(number + 1)),
            _ => None,
        }),
        ("a member taken that was not there", &|command, reply| {
            (is(command, "spop") && *reply != Reply::Nil).then(|| Reply::Value("never".into()))
        }),
        ("half of an EXEC", &|command, reply| match (command, reply) {
            (Command::Multi(_), Reply::Array(parts)) if parts.len() == 2 => {
                Some(Reply::Array(vec![parts[0].clone(), Reply::Integer(0)]))
            }
            _ => None,
        }),
    ];
    let runs: Vec<Vec<Word>> = (100..110).map(words).collect();
    for (what, lie) in lies {
        let told = runs.iter().cloned().map(|mut words| spoil(&mut words, lie).then_some(words));
        let spoilt: Vec<Vec<Word>> = told.flatten().collect();
        let found = spoilt.iter().filter(|words| matches!(judged(words), Judgement::Failed(_))).count();
        println!("{what}: found in {found} of {} runs", spoilt.len());
        assert!(spoilt.len() >= 8 && found + 1 >= spoilt.len(), "{what}: found in {found} of {}", spoilt.len());
    }
}
