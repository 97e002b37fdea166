//! `understudy tour`: which scenes there are, whether they come out, and what they tell.

use super::theatre::{play, words};
use super::{is_ascii, say, sim};
use crate::launch::args::{Args, TourArgs};
use crate::launch::{complain, fail, written};
use crate::ui::tour::{PlayedScene, PlayedStep, TourScene, faults, scene, scenes, text};
use rustix::termios::isatty;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What a tour can end with, but for its exit code.
type Toured = Result<ExitCode, TourTrouble>;

/// Why a tour cannot go on.
enum TourTrouble {
    /// Something is wrong with what was asked for.
    Wrong(String),
    /// Nobody reads what is told.
    Output(io::Error),
}

impl From<io::Error> for TourTrouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<String> for TourTrouble {
    fn from(wrong: String) -> Self {
        Self::Wrong(wrong)
    }
}

/// Does what the arguments ask of the tour.
#[must_use]
pub fn tour(args: &Args, wanted: &TourArgs) -> ExitCode {
    let teller = TourTeller { in_ascii: is_ascii(args) };
    let is_screen = isatty(io::stdin()) && isatty(io::stdout()) && !crate::launch::asks_for_line_mode(args);
    let done = if wanted.list {
        list(&teller)
    } else if wanted.check {
        check(&teller, wanted)
    } else if wanted.plain || wanted.mpi || !is_screen {
        tell(&teller, wanted)
    } else {
        show(args, wanted)
    };
    match done {
        Ok(code) => code,
        Err(TourTrouble::Wrong(why)) => fail(&why),
        Err(TourTrouble::Output(error)) => written(Err(error)),
    }
}

/// Plays a scene on a simulated cluster, from its beginning to its end.
///
/// # Errors
/// When it cannot begin.
pub fn play_scene(scene: &TourScene) -> Result<PlayedScene, String> {
    play(scene)
}

/// Words on stdout, of letters that can be read there.
struct TourTeller {
    in_ascii: bool,
}

impl TourTeller {
    fn say(&self, text: &str) -> io::Result<()> {
        say(text, self.in_ascii)
    }
}

fn list(teller: &TourTeller) -> Toured {
    teller.say(&text::list(&scenes::lecture()?, &scenes::of_rules()?))?;
    Ok(ExitCode::SUCCESS)
}

/// The scenes that are meant: by number, name, or file.
fn chosen(names: &[String]) -> Result<Vec<TourScene>, String> {
    let one = |name: &String| {
        let path = Path::new(name);
        if !path.is_file() {
            return scenes::find(name);
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let stem = path.file_stem().map_or_else(|| name.clone(), |stem| stem.to_string_lossy().into_owned());
        scene::read(&stem, name, &text)
    };
    names.iter().map(one).collect()
}

/// Those that are meant, or all.
fn chosen_or_all(names: &[String]) -> Result<Vec<TourScene>, String> {
    if !names.is_empty() {
        return chosen(names);
    }
    let mut all = scenes::lecture()?;
    all.extend(scenes::of_rules()?);
    Ok(all)
}

/// Plays a scene where it is wanted.
fn played(scene: &TourScene, over_mpi: bool) -> Result<PlayedScene, String> {
    if over_mpi { over_mpi_now(scene) } else { play(scene) }
}

fn check(teller: &TourTeller, wanted: &TourArgs) -> Toured {
    let scenes = chosen_or_all(&wanted.scenes)?;
    let width = scenes.iter().map(|scene| scene.name.len()).max().unwrap_or(0);
    let mut code = ExitCode::SUCCESS;
    for scene in &scenes {
        let name = format!("{:<width$}", scene.name);
        if let Some(why) = scene.not_over_mpi.as_ref().filter(|_| wanted.mpi) {
            teller.say(&format!("not played  {name}  {why}\n"))?;
            continue;
        }
        let faults = faults(scene, &played(scene, wanted.mpi)?);
        if faults.is_empty() {
            teller.say(&format!("passed      {name}  {}\n", scene.title))?;
            continue;
        }
        code = ExitCode::FAILURE;
        teller.say(&format!("FAILED      {name}  {}\n", scene.title))?;
        for fault in faults {
            teller.say(&format!("            {fault}\n"))?;
        }
    }
    Ok(code)
}

/// The console over a simulated cluster, and the tour in its place from the start.
fn show(args: &Args, wanted: &TourArgs) -> Toured {
    let lecture = scenes::lecture()?;
    let scenes = chosen(&wanted.scenes)?;
    let at = match &scenes[..] {
        [] => Some(0),
        [one] => lecture.iter().position(|known| known == one),
        _ => None,
    };
    let tour = match at {
        Some(at) => (lecture, at),
        None => (scenes, 0),
    };
    Ok(sim::show(args, tour))
}

/// Tells scenes in plain words; each waits for a guess where somebody is there to make one.
fn tell(teller: &TourTeller, wanted: &TourArgs) -> Toured {
    let lecture = scenes::lecture()?;
    let scenes = if wanted.scenes.is_empty() { lecture.clone() } else { chosen(&wanted.scenes)? };
    let mut guesses = if isatty(io::stdin()) { Some(io::stdin().lock().lines()) } else { None };
    let mut code = ExitCode::SUCCESS;
    for (at, scene) in scenes.iter().enumerate() {
        let number = lecture.iter().position(|known| known == scene).map(|number| (number + 1, lecture.len()));
        let gap = if at > 0 { "\n" } else { "" };
        teller.say(&format!("{gap}{}\n\n{}\n", text::heading(scene, number), text::question(scene)))?;
        let guess = match &mut guesses {
            Some(lines) => guess(teller, scene, lines)?,
            None => None,
        };
        let played = match &scene.not_over_mpi {
            Some(why) if wanted.mpi => return Err(format!("{} is not played over MPI: {why}", scene.name).into()),
            _ => played(scene, wanted.mpi)?,
        };
        let steps = |steps: &[scene::TourStep], done: &[PlayedStep]| -> String {
            steps.iter().zip(done).map(|(step, done)| text::step(step, done)).collect()
        };
        teller.say(&format!("Before:\n{}\n", steps(&scene.setup, &played.setup)))?;
        teller.say(&format!("Now:\n{}\n", steps(&scene.play, &played.play)))?;
        teller.say(&text::truth(scene, guess, &[], &played.verdict))?;
        for fault in faults(scene, &played) {
            code = ExitCode::from(complain(&format!("this is not what the scene says: {fault}")));
        }
    }
    Ok(code)
}

/// Asks until there is a number, or nobody wants to guess.
fn guess(
    teller: &TourTeller,
    scene: &TourScene,
    lines: &mut impl Iterator<Item = io::Result<String>>,
) -> io::Result<Option<usize>> {
    let answers = scene.ask.answers.len();
    loop {
        teller.say(&format!("Your guess, 1 to {answers} (Enter: none): "))?;
        let Some(line) = lines.next().transpose()? else { return Ok(None) };
        match line.trim().parse::<usize>() {
            Ok(number) if (1..=answers).contains(&number) => return Ok(Some(number - 1)),
            Err(_) if line.trim().is_empty() => return Ok(None),
            _ => {}
        }
    }
}

/// No command: its refusal parts the answers of a script.
const MARK: &str = "end-of-step";
/// As many events as are remembered.
const EVENTS: &str = "EVENTS 500";

/// The same commands over MPI: a script for a cluster of their own.
fn over_mpi_now(scene: &TourScene) -> Result<PlayedScene, String> {
    // What is wrong with its options is told as ever.
    super::theatre::arguments(scene)?;
    let trouble = |error: io::Error| format!("the cluster cannot be started: {error}");
    let own = std::env::current_exe().map_err(trouble)?;
    let mut cluster = Command::new(own);
    cluster.args(words(scene)).arg("--plain").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut cluster = cluster.spawn().map_err(trouble)?;
    let commands = scene.setup.iter().chain(&scene.play).map(|step| step.command.as_str());
    let script: String = commands.chain(["CHECK", EVENTS]).map(|line| format!("{line}\n{MARK}\n")).collect();
    let input = cluster.stdin.take();
    input.map_or(Ok(()), |mut input| input.write_all(script.as_bytes())).map_err(trouble)?;
    let output = cluster.wait_with_output().map_err(trouble)?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut answers: Vec<Vec<String>> = vec![Vec::new()];
    for line in output.lines() {
        match answers.last_mut() {
            Some(last) if !line.contains(MARK) => last.push(line.to_owned()),
            _ => answers.push(Vec::new()),
        }
    }
    let steps = scene.setup.len() + scene.play.len();
    if answers.len() != steps + 3 {
        return Err(format!("the cluster ended before the scene: {}", output.lines().last().unwrap_or("not a word")));
    }
    let events = answers.remove(steps + 1);
    let verdict = answers.remove(steps).join(" ");
    let mut done = answers.into_iter().map(|answers| PlayedStep { answers, events: Vec::new() });
    let setup = done.by_ref().take(scene.setup.len()).collect();
    Ok(PlayedScene { setup, play: done.take(scene.play.len()).collect(), verdict, events })
}
