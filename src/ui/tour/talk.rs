//! Where a lecture is: a value that keys go into, and out of which comes what is to be done.
//!
//! ```text
//!            1…4                 PgDn                 PgDn
//!   Asked ────────▶ Played(0) ────────▶ Played(n) ────────▶ Told ──PgDn──▶ the next scene
//!     ▲                │  PgUp: the scene once more  │        │
//!     └────────────────┴─────────────────────────────┴────────┘
//! ```
//!
//! While a question is open nothing but a number leads on: what happens stays hidden until the class has guessed.

use super::scene::TourScene;
use super::text::{self, TourParagraph};
use crate::ui::commands::presenter::TourKey;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TourCue {
    /// A fresh cluster, its setup, then the question.
    Begin,
    /// The next command.
    Step(usize),
    /// The right answer, and why.
    Truth,
    /// That cannot be done now: why.
    Refuse(String),
    /// Nothing.
    Nothing,
    /// The end.
    Leave,
}

/// How far a scene is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TourPhase {
    Asked,
    /// This many commands were carried out.
    Played(usize),
    Told,
}

/// A lecture, and where it is.
#[derive(Debug, Clone)]
pub struct Talk {
    scenes: Vec<TourScene>,
    at: usize,
    phase: TourPhase,
    guess: Option<usize>,
    hands: Vec<u32>,
}

impl Talk {
    /// At the question of one of these scenes.
    #[must_use]
    pub fn new(scenes: Vec<TourScene>, at: usize) -> Self {
        let at = at.min(scenes.len().saturating_sub(1));
        Self { scenes, at, phase: TourPhase::Asked, guess: None, hands: Vec::new() }
    }

    /// The scene that it is at.
    #[must_use]
    pub fn scene(&self) -> Option<&TourScene> {
        self.scenes.get(self.at)
    }

    /// Which scene this is, of how many; `None` for one alone.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        (self.scenes.len() > 1).then_some((self.at + 1, self.scenes.len()))
    }

    /// While a question is open, keys that break something sleep.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.phase == TourPhase::Asked
    }

    /// What a key leads to.
    pub fn press(&mut self, key: TourKey) -> TourCue {
        let (answers, steps) = self.scene().map_or((0, 0), |scene| (scene.ask.answers.len(), scene.play.len()));
        match (key, self.phase) {
            (TourKey::Leave, _) => TourCue::Leave,
            // That is the screen's business: nothing of the lecture changes.
            (TourKey::Blank, _) => TourCue::Nothing,
            (TourKey::Guess(guess), TourPhase::Asked) if guess < answers => {
                self.guess = Some(guess);
                self.go_on(0, steps)
            }
            (TourKey::Guess(_) | TourKey::Next, TourPhase::Asked) => {
                TourCue::Refuse(format!("first a guess: press a number, 1 to {answers}"))
            }
            (TourKey::Guess(_), _) => TourCue::Refuse("the guess was made: PgDn goes on".into()),
            (TourKey::Next, TourPhase::Played(done)) => self.go_on(done, steps),
            (TourKey::Next, TourPhase::Told) if self.at + 1 < self.scenes.len() => self.go(self.at + 1),
            (TourKey::Next, TourPhase::Told) => TourCue::Leave,
            (TourKey::Back, TourPhase::Asked) if self.at > 0 => self.go(self.at - 1),
            (TourKey::Back, _) => self.go(self.at),
        }
    }

    fn go_on(&mut self, done: usize, steps: usize) -> TourCue {
        if done < steps {
            self.phase = TourPhase::Played(done + 1);
            return TourCue::Step(done);
        }
        self.phase = TourPhase::Told;
        TourCue::Truth
    }

    /// To the question of another scene, or of this one again.
    fn go(&mut self, at: usize) -> TourCue {
        if at != self.at {
            self.hands.clear();
        }
        self.at = at;
        self.phase = TourPhase::Asked;
        self.guess = None;
        TourCue::Begin
    }

    /// How many hands went up for each answer.
    ///
    /// # Errors
    /// Unless there is a number for each answer.
    pub fn count_hands(&mut self, hands: &[u32]) -> Result<(), String> {
        let answers = self.scene().map_or(0, |scene| scene.ask.answers.len());
        if hands.len() != answers {
            return Err(format!("there are {answers} answers: give a number for each"));
        }
        self.hands = hands.to_vec();
        Ok(())
    }

    /// The title, and which of how many it is.
    #[must_use]
    pub fn heading(&self) -> String {
        self.scene().map(|scene| text::heading(scene, self.place())).unwrap_or_default()
    }

    /// What is shown over the cards now, if something is; `verdict` is what `CHECK` says.
    #[must_use]
    pub fn page(&self, verdict: &str) -> Option<String> {
        match self.phase {
            TourPhase::Asked => Some(self.question()),
            TourPhase::Played(_) => None,
            TourPhase::Told => Some(self.truth(verdict)),
        }
    }

    /// The same by its paragraphs, for a screen that has room between them.
    #[must_use]
    pub fn paragraphs(&self, verdict: &str) -> Vec<TourParagraph> {
        match (self.scene(), self.phase) {
            (Some(scene), TourPhase::Asked) => text::question_paragraphs(scene),
            (Some(scene), TourPhase::Told) => text::truth_paragraphs(scene, self.guess, &self.hands, verdict),
            (Some(_), TourPhase::Played(_)) | (None, _) => Vec::new(),
        }
    }

    /// What is shown while the question is open.
    #[must_use]
    pub fn question(&self) -> String {
        self.scene().map(text::question).unwrap_or_default()
    }

    /// What is shown at the end.
    #[must_use]
    pub fn truth(&self, verdict: &str) -> String {
        let Some(scene) = self.scene() else { return String::new() };
        text::truth(scene, self.guess, &self.hands, verdict)
    }

    /// What the next key does, in the words of the key bar: keys and what they do.
    #[must_use]
    pub fn keys(&self) -> Vec<(String, String)> {
        let Some(scene) = self.scene() else { return Vec::new() };
        let key = |key: &str, label: &str| (key.to_owned(), label.to_owned());
        let next = match self.phase {
            TourPhase::Asked => (format!("1-{}", scene.ask.answers.len()), "your guess".to_owned()),
            TourPhase::Played(done) => {
                let command = scene.play.get(done).map_or("what was right", |step| &step.command);
                ("PgDn".to_owned(), command.to_owned())
            }
            TourPhase::Told if self.at + 1 < self.scenes.len() => key("PgDn", "next scene"),
            TourPhase::Told => key("PgDn", "the end"),
        };
        let back = if self.is_asking() && self.at > 0 { "scene before" } else { "once more" };
        let place = self.place().map(|(number, all)| key(&format!("scene {number}/{all}"), ""));
        let others = [next, key("PgUp", back), key("F2", "freeze"), key("b", "blank"), key("Esc", "leave")];
        place.into_iter().chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::tour::scenes;

    fn talk(at: usize) -> Talk {
        Talk::new(scenes::lecture().expect("they are scenes"), at)
    }

    #[test]
    fn nothing_happens_before_a_guess_and_everything_one_by_one_after_it() {
        let mut talk = talk(2);
        assert!(talk.is_asking());
        assert!(matches!(talk.press(TourKey::Next), TourCue::Refuse(why) if why.contains("1 to 3")));
        assert!(matches!(talk.press(TourKey::Guess(3)), TourCue::Refuse(_)));
        assert_eq!(talk.press(TourKey::Guess(1)), TourCue::Step(0));
        assert!(!talk.is_asking());
        let steps = talk.scene().expect("there is one").play.len();
        for step in 1..steps {
            assert_eq!(talk.press(TourKey::Next), TourCue::Step(step));
        }
        assert_eq!(talk.press(TourKey::Next), TourCue::Truth);
        let truth = talk.truth("linearizable");
        assert!(truth.contains("Right: 3. ") && truth.contains("You chose 2, which is wrong"), "{truth}");
        assert_eq!(talk.press(TourKey::Next), TourCue::Begin);
        assert_eq!(talk.place(), Some((4, 10)));
    }

    #[test]
    fn back_is_the_scene_once_more_and_then_the_one_before() {
        let mut talk = talk(1);
        talk.press(TourKey::Guess(0));
        assert_eq!(talk.press(TourKey::Back), TourCue::Begin);
        assert_eq!(talk.place(), Some((2, 10)));
        assert_eq!(talk.press(TourKey::Back), TourCue::Begin);
        assert_eq!(talk.place(), Some((1, 10)));
        assert_eq!(talk.press(TourKey::Back), TourCue::Begin);
        assert_eq!(talk.place(), Some((1, 10)));
    }

    #[test]
    fn the_hands_of_the_class_stand_beside_the_truth() {
        let mut talk = talk(2);
        assert!(talk.count_hands(&[1, 2]).is_err());
        assert_eq!(talk.count_hands(&[3, 12, 5]), Ok(()));
        talk.press(TourKey::Guess(2));
        let truth = talk.truth("linearizable");
        assert!(truth.contains("The class: 3 for 1, 12 for 2, 5 for 3: 25% were right"), "{truth}");
    }

    #[test]
    fn the_last_scene_ends_it() {
        let mut talk = talk(9);
        let steps = talk.scene().expect("there is one").play.len();
        talk.press(TourKey::Guess(0));
        for _ in 0..steps {
            talk.press(TourKey::Next);
        }
        assert!(talk.keys()[1].1 == "the end", "{:?}", talk.keys());
        assert_eq!(talk.press(TourKey::Next), TourCue::Leave);
    }
}
