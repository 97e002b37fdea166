//! A scene in a file, and how it is read. The format is told in [`super`].

use crate::ui::commands::parse;

/// The fewest and the most answers that a question has.
const ANSWERS: std::ops::RangeInclusive<usize> = 2..=4;

/// A question, and what answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct TourScene {
    /// The name that it is asked for by: that of its file.
    pub name: String,
    /// Where it was read from, for those who have to mend it.
    pub file: String,
    /// What stands above it.
    pub title: String,
    /// Why it would prove nothing over MPI, if it would not.
    pub not_over_mpi: Option<String>,
    /// What the class is asked.
    pub ask: TourQuestion,
    /// The options of its cluster, and their line.
    pub options: (usize, Vec<String>),
    /// What has happened before the question.
    pub setup: Vec<TourStep>,
    /// What happens after it.
    pub play: Vec<TourStep>,
    /// What there was to see, in words.
    pub saw: Vec<String>,
    /// What must have been there to see.
    pub proof: Vec<TourProof>,
    /// Why it came out like this.
    pub why: String,
    /// What is for the lecturer alone.
    pub notes: String,
}

/// A question and its answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TourQuestion {
    /// In one paragraph.
    pub text: String,
    /// What may be guessed.
    pub answers: Vec<String>,
    /// Which of them is right.
    pub right: usize,
}

/// One command of a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct TourStep {
    /// Where it stands in the file.
    pub line: usize,
    /// What the class is told before it, a line each.
    pub says: Vec<String>,
    /// As it is typed.
    pub command: String,
    /// What it asks for.
    pub request: parse::CommandLine,
    /// What is answered. None: anything but an error.
    pub expected: Vec<TourAnswer>,
}

/// What one line of an answer is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TourAnswer {
    /// This.
    Is(String),
    /// Anything else.
    IsNot(String),
    /// This one, or a later one, begins so.
    LaterBegins(String),
}

/// What must have been there to see when all is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TourProof {
    /// Where it stands in the file.
    pub line: usize,
    /// What.
    pub what: TourSign,
}

/// One thing to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TourSign {
    /// What `CHECK` answers begins so.
    Verdict(String),
    /// An event says this, after the one named before.
    Event(String),
    /// No event says this.
    NoEvent(String),
}

/// The sections, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SceneSection {
    Head,
    Ask,
    Setup,
    Do,
    See,
    Why,
    Notes,
}

impl SceneSection {
    const ALL: [Self; 7] = [Self::Head, Self::Ask, Self::Setup, Self::Do, Self::See, Self::Why, Self::Notes];

    const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Ask => "ask",
            Self::Setup => "setup",
            Self::Do => "do",
            Self::See => "see",
            Self::Why => "why",
            Self::Notes => "notes",
        }
    }
}

/// Reads a scene; `file` is what errors call it.
///
/// # Errors
/// The first thing that is wrong, with its file and line.
pub fn read(name: &str, file: &str, text: &str) -> Result<TourScene, String> {
    let mut reading = Reading::new(name, file);
    for (at, line) in text.lines().enumerate() {
        reading.line = at + 1;
        reading.take(line.trim_end()).map_err(|what| reading.wrong(what))?;
    }
    reading.line = text.lines().count().max(1);
    reading.end().map_err(|what| reading.wrong(what))?;
    Ok(reading.scene)
}

/// A scene of which some lines have been read.
struct Reading {
    scene: TourScene,
    section: SceneSection,
    line: usize,
    /// What the class is told before the next command.
    says: Vec<String>,
    has_right: bool,
}

impl Reading {
    fn new(name: &str, file: &str) -> Self {
        let scene = TourScene {
            name: name.to_owned(),
            file: file.to_owned(),
            title: String::new(),
            not_over_mpi: None,
            ask: TourQuestion::default(),
            options: (1, Vec::new()),
            setup: Vec::new(),
            play: Vec::new(),
            saw: Vec::new(),
            proof: Vec::new(),
            why: String::new(),
            notes: String::new(),
        };
        Self { scene, section: SceneSection::Head, line: 1, says: Vec::new(), has_right: false }
    }

    fn wrong(&self, what: String) -> String {
        format!("{}:{}: {what}", self.scene.file, self.line)
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        if line.starts_with('#') {
            return Ok(());
        }
        if let Some(name) = line.strip_prefix('[') {
            return self.turn_to(name.strip_suffix(']').unwrap_or(name));
        }
        if line.is_empty() {
            return Ok(());
        }
        match self.section {
            SceneSection::Head => self.head(line),
            SceneSection::Ask => self.ask(line),
            SceneSection::Setup | SceneSection::Do => self.happen(line),
            SceneSection::See => self.see(line),
            SceneSection::Why => {
                add(&mut self.scene.why, line);
                Ok(())
            }
            SceneSection::Notes => {
                add(&mut self.scene.notes, line);
                Ok(())
            }
        }
    }

    fn turn_to(&mut self, name: &str) -> Result<(), String> {
        let known = SceneSection::ALL.into_iter().skip(1);
        let Some(section) = known.clone().find(|section| section.name() == name) else {
            let names: Vec<_> = known.map(|section| format!("[{}]", section.name())).collect();
            return Err(format!("[{name}] is no section: there are {}", names.join(", ")));
        };
        if section <= self.section {
            let (late, before) = (section.name(), self.section.name());
            return Err(format!("[{late}] stands before [{before}], and only once"));
        }
        self.nothing_unsaid()?;
        self.section = section;
        Ok(())
    }

    fn head(&mut self, line: &str) -> Result<(), String> {
        match line.split_once(' ').map(|(word, rest)| (word, rest.trim())) {
            Some(("title", title)) => title.clone_into(&mut self.scene.title),
            Some(("mpi", "yes")) => {}
            Some(("mpi", said)) if said.starts_with("no, ") => {
                self.scene.not_over_mpi = said.get(4..).map(str::to_owned);
            }
            Some(("mpi", _)) => return Err("`mpi yes`, or `mpi no, WHY`".into()),
            _ => return Err("before [ask] stand `title …` and `mpi yes` or `mpi no, WHY`".into()),
        }
        Ok(())
    }

    fn ask(&mut self, line: &str) -> Result<(), String> {
        let ask = &mut self.scene.ask;
        let (answer, is_right) = match (line.strip_prefix("- "), line.strip_prefix("* ")) {
            (Some(answer), _) => (answer, false),
            (None, Some(answer)) => (answer, true),
            (None, None) if ask.answers.is_empty() => {
                add(&mut ask.text, line);
                return Ok(());
            }
            (None, None) => return Err("after the first answer stand answers only: `- wrong`, `* right`".into()),
        };
        if is_right && std::mem::replace(&mut self.has_right, true) {
            return Err("a second answer is marked as right".into());
        }
        if is_right {
            ask.right = ask.answers.len();
        }
        ask.answers.push(answer.trim().to_owned());
        Ok(())
    }

    /// A line of `[setup]` or `[do]`.
    fn happen(&mut self, line: &str) -> Result<(), String> {
        let steps = if self.section == SceneSection::Setup { &mut self.scene.setup } else { &mut self.scene.play };
        if let Some(said) = line.strip_prefix("say ") {
            self.says.push(said.trim().to_owned());
            return Ok(());
        }
        if let Some(expected) = expected(line) {
            let step = steps.last_mut().filter(|_| self.says.is_empty());
            step.ok_or("an answer stands below the command that it answers")?.expected.push(expected);
            return Ok(());
        }
        if line.starts_with("--") {
            if self.section != SceneSection::Setup || !steps.is_empty() || !self.scene.options.1.is_empty() {
                return Err("the options of the cluster are one line, the first of [setup]".into());
            }
            self.scene.options = (self.line, line.split_whitespace().map(str::to_owned).collect());
            return Ok(());
        }
        let request = parse::request(line.as_bytes())?.ok_or("this is no command")?;
        let says = std::mem::take(&mut self.says);
        steps.push(TourStep { line: self.line, says, command: line.to_owned(), request, expected: Vec::new() });
        Ok(())
    }

    fn see(&mut self, line: &str) -> Result<(), String> {
        let sign = |start: &str| line.strip_prefix(start).map(|rest| rest.trim().to_owned());
        let what = if let Some(verdict) = sign("verdict ") {
            TourSign::Verdict(verdict)
        } else if let Some(event) = sign("event ") {
            TourSign::Event(event)
        } else if let Some(event) = sign("no event ") {
            TourSign::NoEvent(event)
        } else if let Some(said) = sign("say ") {
            self.scene.saw.push(said);
            return Ok(());
        } else {
            return Err("in [see] stand `say …`, `verdict …`, `event …`, `no event …`".into());
        };
        self.scene.proof.push(TourProof { line: self.line, what });
        Ok(())
    }

    fn nothing_unsaid(&self) -> Result<(), String> {
        if self.says.is_empty() { Ok(()) } else { Err("after `say` there is a command that it is said of".into()) }
    }

    /// The file is over: is everything there?
    fn end(&mut self) -> Result<(), String> {
        self.nothing_unsaid()?;
        let scene = &self.scene;
        let has_verdict = scene.proof.iter().any(|proof| matches!(proof.what, TourSign::Verdict(_)));
        let lacks = [
            (scene.title.is_empty(), "a title: `title …` at its head"),
            (scene.ask.text.is_empty(), "a question in [ask]"),
            (!ANSWERS.contains(&scene.ask.answers.len()), "two to four answers in [ask]"),
            (!self.has_right, "the right answer in [ask]: `* …`"),
            (scene.play.is_empty(), "a command in [do]"),
            (!has_verdict, "what CHECK says in [see]: `verdict …`"),
            (scene.why.is_empty(), "a reason in [why]"),
        ];
        match lacks.into_iter().find(|(lacks, _)| *lacks) {
            Some((_, what)) => Err(format!("the scene lacks {what}")),
            None => Ok(()),
        }
    }
}

/// One more line of a paragraph.
fn add(paragraph: &mut String, line: &str) {
    if !paragraph.is_empty() {
        paragraph.push(' ');
    }
    paragraph.push_str(line.trim());
}

/// What a line announces as an answer, if it does.
fn expected(line: &str) -> Option<TourAnswer> {
    let said = line.strip_prefix('→').or_else(|| line.strip_prefix("->"))?.trim_start();
    let later = said.strip_prefix("… ").or_else(|| said.strip_prefix("... "));
    Some(match (later, said.strip_prefix("not ")) {
        (Some(later), _) => TourAnswer::LaterBegins(later.to_owned()),
        (None, Some(wrong)) => TourAnswer::IsNot(wrong.to_owned()),
        (None, None) => TourAnswer::Is(said.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: &str = "\
# for whoever reads the file
title A title
mpi yes

[ask]
Who has
it?
- nobody
* all

[setup]
--servers 3 --pace 2
PUT a 1

[do]
say It is read.
GET a
→ 1

[see]
say It is there.
verdict linearizable
event view 1
no event crashed

[why]
Because
it is.
";

    fn wrong(from: &str, to: &str) -> String {
        assert!(SCENE.contains(from), "{from}");
        read("x", "x.txt", &SCENE.replacen(from, to, 1)).expect_err("it is wrong")
    }

    #[test]
    fn a_scene_is_read() {
        let scene = read("x", "x.txt", SCENE).expect("it is one");
        assert_eq!((scene.title.as_str(), scene.ask.text.as_str()), ("A title", "Who has it?"));
        assert_eq!((scene.ask.answers.len(), scene.ask.right), (2, 1));
        assert_eq!(scene.options, (12, ["--servers", "3", "--pace", "2"].map(str::to_owned).to_vec()));
        assert_eq!((scene.setup.len(), scene.play.len()), (1, 1));
        assert_eq!(scene.play[0].says, ["It is read."]);
        assert_eq!(scene.play[0].expected, [TourAnswer::Is("1".into())]);
        assert_eq!((scene.saw.len(), scene.proof.len(), scene.proof[1].line), (1, 3, 23));
        assert_eq!(scene.why, "Because it is.");
        let scene = read("x", "x.txt", &SCENE.replace("mpi yes", "mpi no, it is too fast")).expect("it is one");
        assert_eq!(scene.not_over_mpi.as_deref(), Some("it is too fast"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert!(wrong("[why]", "[who]").starts_with("x.txt:26: [who] is no section: there are [ask], [setup], [do]"));
        assert_eq!(wrong("[see]", "[ask]"), "x.txt:20: [ask] stands before [do], and only once");
        assert!(wrong("GET a", "GTE a").starts_with("x.txt:17: unknown command 'GTE': did you mean GET?"));
        assert_eq!(wrong("* all", "- all"), "x.txt:28: the scene lacks the right answer in [ask]: `* …`");
        assert_eq!(wrong("- nobody", "* nobody"), "x.txt:9: a second answer is marked as right");
        assert_eq!(wrong("- nobody\n", ""), "x.txt:27: the scene lacks two to four answers in [ask]");
        assert!(wrong("verdict", "werdict").starts_with("x.txt:22: in [see] stand"));
        assert!(wrong("verdict linearizable\n", "").contains("lacks what CHECK says"));
        assert_eq!(wrong("mpi yes", "mpi perhaps"), "x.txt:3: `mpi yes`, or `mpi no, WHY`");
        assert_eq!(wrong("GET a\n→ 1", "→ 1\nGET a"), "x.txt:17: an answer stands below the command that it answers");
        assert!(wrong("GET a\n→ 1\n", "").starts_with("x.txt:18: after `say` there is a command"));
        assert!(wrong("PUT a 1", "PUT a 1\n--servers 2").starts_with("x.txt:14: the options of the cluster are one"));
        assert!(read("x", "x.txt", "").expect_err("nothing").starts_with("x.txt:1: "));
    }
}
