//! A scene in plain words: for logs, for screen readers, and for the pages of the dashboard.

use super::played::PlayedStep;
use super::scene::{TourScene, TourStep};
use super::talk::Talk;
use textwrap::{Options, WordSplitter};

/// Lines are no longer: a page on a terminal of 80 columns holds them.
const COLUMNS: usize = 76;

/// A paragraph in lines that fit; what begins with a mark (`1. `) stands to the right of it.
fn paragraph(mark: &str, text: &str) -> String {
    let below = " ".repeat(mark.chars().count());
    let options = Options::new(COLUMNS).word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options.initial_indent(mark).subsequent_indent(&below)) + "\n"
}

/// Which scenes there are, a line each.
#[must_use]
pub fn list(lecture: &[TourScene], of_rules: &[TourScene]) -> String {
    let all = || lecture.iter().chain(of_rules);
    let width = all().map(|scene| scene.name.len()).max().unwrap_or(0);
    let mut text = "The lecture:\n".to_owned();
    for (at, scene) in lecture.iter().enumerate() {
        text.push_str(&format!("{:>4}  {:<width$}  {}\n", at + 1, scene.name, scene.title));
    }
    text.push_str("\nWhat each rule of the protocol is for:\n");
    for scene in of_rules {
        text.push_str(&format!("      {:<width$}  {}\n", scene.name, scene.title));
    }
    text
}

/// The title of a scene, and which of how many it is.
#[must_use]
pub fn heading(scene: &TourScene, place: Option<(usize, usize)>) -> String {
    match place {
        Some((number, all)) => format!("Scene {number} of {all}: {}", scene.title),
        None => scene.title.clone(),
    }
}

/// A paragraph of what is shown over the cards, and what stands to the left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TourParagraph {
    /// To the left of it.
    pub mark: TourMark,
    /// Not yet in lines.
    pub text: String,
}

/// What stands to the left of a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TourMark {
    /// Nothing.
    None,
    /// The number of this answer.
    Answer(usize),
    /// The number of this answer, which is the right one.
    Right(usize),
    /// What it is about.
    Word(&'static str),
}

impl TourParagraph {
    fn new(mark: TourMark, text: impl Into<String>) -> Self {
        Self { mark, text: text.into() }
    }

    /// In lines that fit, with its mark.
    fn in_lines(&self) -> String {
        let mark = match self.mark {
            TourMark::None => String::new(),
            TourMark::Answer(number) => format!("{number}. "),
            TourMark::Right(number) => format!("Right: {number}. "),
            TourMark::Word(word) => format!("{word}: "),
        };
        paragraph(&mark, &self.text)
    }
}

/// The question, then its answers.
#[must_use]
pub fn question_paragraphs(scene: &TourScene) -> Vec<TourParagraph> {
    let answers = (1..).zip(&scene.ask.answers);
    let answers = answers.map(|(number, answer)| TourParagraph::new(TourMark::Answer(number), answer));
    std::iter::once(TourParagraph::new(TourMark::None, &scene.ask.text)).chain(answers).collect()
}

/// The question with its answers.
#[must_use]
pub fn question(scene: &TourScene) -> String {
    let mut lines = question_paragraphs(scene).iter().map(TourParagraph::in_lines).collect::<Vec<_>>();
    lines.insert(1, "\n".to_owned());
    lines.concat()
}

/// A command, what was told before it, its answers, and what happened meanwhile.
#[must_use]
pub fn step(step: &TourStep, done: &PlayedStep) -> String {
    let mut text = String::new();
    for said in &step.says {
        text.push_str(&paragraph("", said));
    }
    text.push_str(&format!("> {}\n", step.command));
    for answer in &done.answers {
        text.push_str(&paragraph("  ", answer));
    }
    for event in &done.events {
        text.push_str(&paragraph("  event: ", event));
    }
    text
}

/// The right answer beside what was guessed, what there was to see, and why.
#[must_use]
pub fn truth_paragraphs(scene: &TourScene, guess: Option<usize>, hands: &[u32], verdict: &str) -> Vec<TourParagraph> {
    let right = scene.ask.right;
    let answer = scene.ask.answers.get(right).map_or("", |answer| answer);
    let mut told = vec![TourParagraph::new(TourMark::Right(right + 1), answer)];
    if let Some(guess) = guess {
        let so = if guess == right { "which is right" } else { "which is wrong" };
        told.push(TourParagraph::new(TourMark::None, format!("You chose {}, {so}.", guess + 1)));
    }
    let all: u32 = hands.iter().sum();
    if all > 0 {
        let counts = hands.iter().enumerate().map(|(at, count)| format!("{count} for {}", at + 1));
        let were = hands.get(right).map_or(0, |count| count * 100 / all);
        let counts = counts.collect::<Vec<_>>().join(", ");
        told.push(TourParagraph::new(TourMark::Word("The class"), format!("{counts}: {were}% were right")));
    }
    told.extend(scene.saw.iter().map(|said| TourParagraph::new(TourMark::Word("Seen"), said)));
    told.push(TourParagraph::new(TourMark::Word("CHECK"), verdict));
    told.push(TourParagraph::new(TourMark::Word("Why"), &scene.why));
    told
}

/// The same in lines.
#[must_use]
pub fn truth(scene: &TourScene, guess: Option<usize>, hands: &[u32], verdict: &str) -> String {
    truth_paragraphs(scene, guess, hands, verdict).iter().map(TourParagraph::in_lines).collect()
}

/// What a lecturer reads, and the class does not: the question, what is right, the next key, what to say.
#[must_use]
pub fn notes(talk: &Talk) -> String {
    let Some(scene) = talk.scene() else { return String::new() };
    let right = scene.ask.right;
    let answer = scene.ask.answers.get(right).map_or("", |answer| answer);
    let next = talk.keys().into_iter().find(|(key, label)| !label.is_empty() && !key.is_empty());
    let next = next.map(|(key, label)| format!("{key}: {label}")).unwrap_or_default();
    let mut text = format!("{}\n\n{}\n", talk.heading(), question(scene));
    text.push_str(&paragraph("Right:  ", &format!("{}. {answer}", right + 1)));
    text.push_str(&paragraph("Next:   ", &next));
    if talk.is_asking() {
        text.push_str(&paragraph("        ", "HANDS and a number for each answer counts the show of hands"));
    }
    text.push('\n');
    text.push_str(&paragraph("Why:    ", &scene.why));
    if !scene.notes.is_empty() {
        text.push_str(&paragraph("Say:    ", &scene.notes));
    }
    text
}
