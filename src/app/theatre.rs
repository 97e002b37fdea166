//! A fresh simulated cluster on which a scene of the tour is played.

use super::verdict::Court;
use super::{ModelKnowledge, new_model, sim};
use crate::cluster::{Ask, Desk, News};
use crate::core::protocol::Time;
use crate::launch::args::Args;
use crate::sim::{SimStage, VirtualClock};
use crate::ui::console::{Answer, ConsoleSession, Resolved};
use crate::ui::dashboard::lock;
use crate::ui::dashboard::model::story;
use crate::ui::tour::scene::{TourScene, TourStep};
use crate::ui::tour::{PlayedScene, PlayedStep};
use clap::Parser;
use crossbeam_channel::Receiver;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What holds of a scene's cluster unless the scene says otherwise.
const USUAL: [(&str, &str); 3] = [("--seed", "1"), ("--failure-rate", "0"), ("--recover-after", "never")];
/// The options that a scene may have.
const OPTIONS: [&str; 11] = [
    "--servers",
    "--replicas",
    "--clients",
    "--pace",
    "--seed",
    "--failure-rate",
    "--recover-after",
    "--max-memory",
    "--disks",
    "--fsync",
    "--without",
];

/// The words that start the cluster of a scene.
pub(super) fn words(scene: &TourScene) -> Vec<String> {
    let own = &scene.options.1;
    let usual = USUAL.iter().filter(|(name, _)| !own.iter().any(|word| word == name));
    usual.flat_map(|(name, value)| [*name, *value]).map(str::to_owned).chain(own.iter().cloned()).collect()
}

/// The cluster of a scene, as arguments.
///
/// # Errors
/// What is wrong with its options, and where.
pub(super) fn arguments(scene: &TourScene) -> Result<Args, String> {
    let wrong = |what: &str| format!("{}:{}: {what}", scene.file, scene.options.0);
    let odd = scene.options.1.iter().find(|word| word.starts_with("--") && !OPTIONS.contains(&word.as_str()));
    if let Some(odd) = odd {
        return Err(wrong(&format!("{odd} is no option of a scene: there are {}", OPTIONS.join(", "))));
    }
    let words = words(scene).into_iter();
    let args = Args::try_parse_from(["understudy", "--sim"].map(str::to_owned).into_iter().chain(words));
    let args = args.map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        wrong(line.strip_prefix("error: ").unwrap_or(line))
    })?;
    args.check().map_err(|why| wrong(&why))?;
    if args.tool.is_some() { Err(wrong("options begin with --")) } else { Ok(args) }
}

/// A cluster that lives as long as its scene.
pub(super) struct Theatre {
    desk: Desk,
    session: ConsoleSession,
    court: Court,
    told: Arc<Mutex<Vec<(Time, String)>>>,
    plays: Option<JoinHandle<()>>,
}

impl Theatre {
    /// Starts the cluster of a scene ([`arguments`]). `clock` shows its time, `hear` is told its news and when they
    /// came; in a hurry nothing waits for the wall clock.
    ///
    /// # Errors
    /// What is wrong with this machine.
    pub(super) fn open(
        args: &Args,
        clock: VirtualClock,
        hurry: Arc<AtomicBool>,
        (desk, asks): (Desk, Receiver<Ask>),
        mut hear: impl FnMut(Time, &News) + Send + 'static,
    ) -> Result<Self, String> {
        let seed = args.seed.unwrap_or_default();
        let court = Court::open(args)?.at_once();
        let model = Arc::new(Mutex::new(new_model(args, seed, clock.now())));
        let told = Arc::new(Mutex::new(Vec::new()));
        let world = sim::world(args, seed);
        let (judging, folding, telling) = (court.clone(), Arc::clone(&model), Arc::clone(&told));
        let reading = clock.clone();
        let plays = thread::Builder::new().name("scene".into()).spawn(move || {
            let shows = clock.clone();
            let tell = move |mut news: News| {
                for news in judging.hear(&mut news).chain([news]) {
                    let now = shows.now();
                    lock(&folding).fold(now, &news);
                    lock(&telling).extend(sentences(now, &news));
                    hear(now, &news);
                }
            };
            SimStage::new(world, clock, asks, Box::new(tell)).told(hurry).run();
        });
        let plays = plays.map_err(|error| format!("no thread for the scene: {error}"))?;
        let knowledge = Arc::new(ModelKnowledge::new(model, court.clone(), Arc::new(move || reading.now()), None));
        let session = ConsoleSession::new(desk.clone(), knowledge, Resolved::Cluster);
        Ok(Self { desk, session, court, told, plays: Some(plays) })
    }

    /// Carries out a step of the scene.
    pub(super) fn step(&self, step: &TourStep) -> PlayedStep {
        let mut answers = Vec::new();
        self.session.run(&step.request, |answer: Answer| {
            let mut bytes = Vec::new();
            answer.write_raw(&mut bytes);
            answers.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
            true
        });
        PlayedStep { answers, events: self.events() }
    }

    /// What has been told since the last call.
    fn events(&self) -> Vec<String> {
        // Who is answered knows that everything before has been told.
        let _ = self.desk.status();
        let mut told = std::mem::take(&mut *lock(&self.told));
        told.sort_by_key(|(at, _)| *at);
        told.into_iter().map(|(_, sentence)| sentence).collect()
    }

    /// The judge of what is answered here.
    pub(super) fn court(&self) -> Court {
        self.court.clone()
    }

    /// What `CHECK` answers now.
    pub(super) fn verdict(&self) -> String {
        let failovers = self.desk.status().failovers;
        self.court.check(failovers).unwrap_or_else(|contradiction| contradiction)
    }
}

impl Drop for Theatre {
    fn drop(&mut self) {
        self.desk.quit();
        if let Some(plays) = self.plays.take() {
            let _ = plays.join();
        }
    }
}

/// What a piece of news says in words, and when that was.
fn sentences(now: Time, news: &News) -> Vec<(Time, String)> {
    match news {
        News::Observation(observation) => story::sentences(observation),
        News::Why(Some(why)) => vec![(now, why.clone())],
        _ => Vec::new(),
    }
}

/// Plays a scene from its beginning to its end.
///
/// # Errors
/// When it cannot begin.
pub(super) fn play(scene: &TourScene) -> Result<PlayedScene, String> {
    let (args, hurry) = (arguments(scene)?, Arc::new(AtomicBool::new(true)));
    let theatre = Theatre::open(&args, VirtualClock::default(), hurry, Desk::new(), |_, _| {})?;
    let mut played = PlayedScene { events: theatre.events(), ..PlayedScene::default() };
    for (steps, done) in [(&scene.setup, &mut played.setup), (&scene.play, &mut played.play)] {
        done.extend(steps.iter().map(|step| theatre.step(step)));
    }
    played.verdict = theatre.verdict();
    let later = played.setup.iter().chain(&played.play).flat_map(|step| step.events.iter().cloned());
    played.events.extend(later.collect::<Vec<_>>());
    Ok(played)
}
