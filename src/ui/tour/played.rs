//! What became of a scene, and whether it came out as it says.

use super::scene::{TourAnswer, TourScene, TourSign, TourStep};

/// One command, carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlayedStep {
    /// What was answered, line by line, as line mode writes it.
    pub answers: Vec<String>,
    /// What was told meanwhile.
    pub events: Vec<String>,
}

/// A scene that was played to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlayedScene {
    /// What came before the question.
    pub setup: Vec<PlayedStep>,
    /// What came after it.
    pub play: Vec<PlayedStep>,
    /// What `CHECK` answers at the end.
    pub verdict: String,
    /// Everything that was told, in the order in which it happened.
    pub events: Vec<String>,
}

/// Every place in which the scene did not come out as it says.
#[must_use]
pub fn faults(scene: &TourScene, played: &PlayedScene) -> Vec<String> {
    let steps = scene.setup.iter().zip(&played.setup).chain(scene.play.iter().zip(&played.play));
    let mut faults: Vec<String> =
        steps.filter_map(|(step, done)| Some(at(scene, step.line, &step_fault(step, &done.answers)?))).collect();
    let mut events = played.events.iter();
    for proof in &scene.proof {
        let holds = match &proof.what {
            TourSign::Verdict(verdict) => played.verdict.starts_with(verdict.as_str()),
            TourSign::Event(event) => events.any(|told| told.contains(event.as_str())),
            TourSign::NoEvent(event) => !played.events.iter().any(|told| told.contains(event.as_str())),
        };
        if !holds {
            let what = match &proof.what {
                TourSign::Verdict(_) => format!("CHECK says: {}", played.verdict),
                TourSign::Event(event) => format!("no event says `{event}` (after those above)"),
                TourSign::NoEvent(event) => format!("an event says `{event}`"),
            };
            faults.push(at(scene, proof.line, &what));
        }
    }
    faults
}

fn at(scene: &TourScene, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", scene.file)
}

/// What is wrong with the answers of a step, if something is.
#[must_use]
pub fn step_fault(step: &TourStep, answers: &[String]) -> Option<String> {
    let is_error = |line: &&String| line.starts_with("(error)");
    if step.expected.is_empty() {
        let error = answers.iter().find(is_error)?;
        return Some(format!("{} is answered {error}", step.command));
    }
    let mut left = answers.iter();
    for expected in &step.expected {
        let (found, wanted) = match expected {
            TourAnswer::Is(wanted) => (left.next() == Some(wanted), wanted.clone()),
            TourAnswer::IsNot(wrong) => (left.next().is_some_and(|line| line != wrong), format!("not {wrong}")),
            TourAnswer::LaterBegins(start) => (left.any(|line| line.starts_with(start.as_str())), format!("… {start}")),
        };
        if !found {
            return Some(format!("{} is answered {}, and {wanted} was announced", step.command, answers.join(" / ")));
        }
    }
    // What comes after a line that was looked for is not announced.
    let open = matches!(step.expected.last(), Some(TourAnswer::LaterBegins(_)));
    let more = left.len();
    (!open && more > 0).then(|| format!("{} is answered {more} lines more than announced", step.command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::tour::scene;

    fn step(expected: &str) -> TourStep {
        let text = format!(
            "title t\n[ask]\nq\n- a\n* b\n[do]\nGET a\n{expected}\n[see]\nverdict linearizable\nevent one\nevent two\n\
             no event three\n[why]\nw\n"
        );
        scene::read("x", "x", &text).expect("a scene").play.remove(0)
    }

    fn fault(expected: &str, answers: &[&str]) -> Option<String> {
        let answers: Vec<String> = answers.iter().map(|line| (*line).to_owned()).collect();
        step_fault(&step(expected), &answers)
    }

    #[test]
    fn answers_are_as_announced() {
        assert_eq!(fault("", &["1"]), None);
        assert!(fault("", &["(error) no"]).is_some());
        assert_eq!(fault("→ 1\n→ 2", &["1", "2"]), None);
        assert!(fault("→ 1", &["1", "2"]).is_some_and(|why| why.contains("1 lines more")));
        assert!(fault("→ 1\n→ 2", &["1"]).is_some());
        assert!(fault("→ not 1", &["1"]).is_some() && fault("→ not 1", &[]).is_some());
        assert_eq!(fault("→ not 1", &["2"]), None);
        assert_eq!(fault("→ … rank 2", &["view", "rank 2 BACKUP", "why"]), None);
        assert!(fault("→ … rank 2", &["view", "rank 1"]).is_some());
    }

    #[test]
    fn what_was_to_be_seen_is_looked_for_in_its_order() {
        let text = "title t\n[ask]\nq\n- a\n* b\n[do]\nGET a\n[see]\nverdict linearizable\nevent one\nevent two\n\
                    no event three\n[why]\nw\n";
        let scene = scene::read("x", "x.txt", text).expect("a scene");
        let played = |verdict: &str, events: &[&str]| PlayedScene {
            play: vec![PlayedStep::default()],
            verdict: verdict.to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            ..PlayedScene::default()
        };
        assert_eq!(faults(&scene, &played("linearizable: 1", &["zero", "one", "and two"])), Vec::<String>::new());
        assert_eq!(
            faults(&scene, &played("not so", &["two", "one", "three"])),
            [
                "x.txt:9: CHECK says: not so",
                "x.txt:11: no event says `two` (after those above)",
                "x.txt:12: an event says `three`",
            ]
        );
    }
}
