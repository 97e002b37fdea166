//! The tour on the screen: scenes on clusters of their own, in the place of the one that is there.
//!
//! ```text
//!   prompt: keys, TOUR, HANDS ──▶ Lecture ──▶ its thread ── steps ──▶ Theatre (a simulated cluster)
//!                                    │ Talk: where it is                  │ News
//!   desk: diverted to the theatre ◀──┘                                    ▼
//!   dashboard: our cluster's news go on being folded, unseen; the guest's are shown
//! ```
//!
//! Our own cluster runs on meanwhile, and is there again when the tour is over.

use super::notes::NotesFile;
use super::theatre::{Theatre, arguments};
use super::{Hand, KnownCluster, ModelKnowledge, new_model};
use crate::cluster::{Desk, News};
use crate::core::protocol::Time;
use crate::launch::args::Args;
use crate::sim::VirtualClock;
use crate::ui::commands::moves::Move;
use crate::ui::commands::presenter::TourKey;
use crate::ui::console::answer::Palette;
use crate::ui::console::ascii::ascii;
use crate::ui::console::{PrintHandle, Stagehand, TourGuide};
use crate::ui::dashboard::model::page::{Page, PageMark, PagePart};
use crate::ui::dashboard::{KeyHint, Notice, WatchedCluster, lock};
use crate::ui::stage::LiveStage;
use crate::ui::tour::scene::TourStep;
use crate::ui::tour::talk::{Talk, TourCue};
use crate::ui::tour::text::{TourMark, TourParagraph};
use crate::ui::tour::{TourScene, played, scenes};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// At most this many keys wait while a command is carried out.
const WISHES_MAX: usize = 8;

/// What a lecture needs of the house.
pub(super) struct LectureHall {
    pub(super) args: Args,
    /// Whatever is asked there is asked of the scene's cluster meanwhile.
    pub(super) desk: Desk,
    pub(super) notices: Sender<Notice>,
    pub(super) knowledge: Arc<ModelKnowledge>,
    pub(super) hand: Arc<Hand>,
    pub(super) palette: Palette,
}

/// The tour, as keys and commands see it.
pub(super) struct Lecture {
    wishes: Sender<LectureWish>,
    state: Arc<LectureState>,
    notes: NotesFile,
}

/// Something for its thread.
enum LectureWish {
    Begin,
    Press(TourKey),
}

/// What its thread and the keys share.
struct LectureState {
    notices: Sender<Notice>,
    talk: Mutex<Option<Talk>>,
    /// What `CHECK` said at the end of the scene.
    verdict: Mutex<String>,
    printer: Mutex<Option<PrintHandle>>,
    /// The desk of the scene, to break off what waits there.
    scene: Mutex<Option<Desk>>,
    /// While this is set nothing is shown.
    blank: Arc<AtomicBool>,
    ascii: bool,
}

impl Lecture {
    /// Not yet begun.
    pub(super) fn start(hall: LectureHall) -> io::Result<Arc<Self>> {
        let (wishes, wished) = bounded(WISHES_MAX);
        let state = Arc::new(LectureState {
            notices: hall.notices.clone(),
            talk: Mutex::default(),
            verdict: Mutex::default(),
            printer: Mutex::default(),
            scene: Mutex::default(),
            blank: Arc::default(),
            ascii: hall.palette.ascii,
        });
        let notes = NotesFile::new(&hall.args);
        let (hurry, written) = (Arc::default(), notes.clone());
        let conductor = Conductor { hall, state: Arc::clone(&state), theatre: None, hurry, notes: written };
        thread::Builder::new().name("tour".into()).spawn(move || conductor.conduct(&wished))?;
        Ok(Arc::new(Self { wishes, state, notes }))
    }

    /// Set while nothing is to be shown.
    pub(super) fn blank(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.state.blank)
    }

    /// Where to print, from now on.
    pub(super) fn prints_on(&self, printer: PrintHandle) {
        *lock(&self.state.printer) = Some(printer);
    }

    /// Begins with one of these scenes.
    pub(super) fn begin_with(&self, scenes: Vec<TourScene>, at: usize) {
        *lock(&self.state.talk) = Some(Talk::new(scenes, at));
        self.state.break_off();
        let _ = self.wishes.send(LectureWish::Begin);
    }

    /// The key bar while a tour is on.
    pub(super) fn keys(&self) -> Option<Vec<KeyHint>> {
        let talk = lock(&self.state.talk);
        let keys = talk.as_ref()?.keys().into_iter();
        Some(keys.map(|(key, label)| KeyHint::new(key, label)).collect())
    }

    /// Shows the question, or what was right, again.
    pub(super) fn show_page(&self) {
        self.state.show_page();
    }

    /// The program ends.
    pub(super) fn end(&self) {
        let was_on = lock(&self.state.talk).take().is_some();
        self.state.break_off();
        if was_on {
            self.notes.remove();
        }
    }
}

impl TourGuide for Lecture {
    fn is_on(&self) -> bool {
        lock(&self.state.talk).is_some()
    }

    fn is_asking(&self) -> bool {
        lock(&self.state.talk).as_ref().is_some_and(Talk::is_asking)
    }

    fn press(&self, key: TourKey) {
        // Whatever goes on: that is at once. The key that ends it does nothing else.
        let was_blank = self.state.show_nothing(false);
        if was_blank {
            return;
        }
        match key {
            TourKey::Blank => {
                self.state.show_nothing(true);
                return;
            }
            TourKey::Leave | TourKey::Back => self.state.break_off(),
            TourKey::Guess(_) | TourKey::Next => {}
        }
        // Somebody leaning on a key: presses beyond the queue are dropped.
        let _ = self.wishes.try_send(LectureWish::Press(key));
    }

    fn begin(&self, scene: Option<&str>) -> Result<(), String> {
        let lecture = scenes::lecture()?;
        let first = scenes::find(scene.unwrap_or("1"))?;
        match lecture.iter().position(|known| *known == first) {
            Some(at) => self.begin_with(lecture, at),
            None => self.begin_with(vec![first], 0),
        }
        Ok(())
    }

    fn count_hands(&self, hands: &[u32]) -> Result<(), String> {
        let mut talk = lock(&self.state.talk);
        talk.as_mut().ok_or("nobody was asked: TOUR begins the tour")?.count_hands(hands)
    }
}

impl LectureState {
    fn say(&self, text: &str) {
        if let Some(printer) = &*lock(&self.printer) {
            printer.tell(&if self.ascii { ascii(text) } else { text.to_owned() });
        }
    }

    fn show_page(&self) {
        let written = |text: String| if self.ascii { ascii(&text) } else { text };
        let page = lock(&self.talk).as_ref().and_then(|talk| {
            let verdict = lock(&self.verdict);
            let (heading, text) = (written(talk.heading()), written(talk.page(&verdict)?));
            let slide = talk.paragraphs(&verdict).into_iter().map(|told| part(told, written)).collect();
            Some(Page::new(heading, &text).without_foot().with_slide(slide))
        });
        let _ = self.notices.send(Notice::Page(page));
    }

    /// Blank, or not. True if it was blank before.
    fn show_nothing(&self, blank: bool) -> bool {
        let before = self.blank.swap(blank, Ordering::SeqCst);
        if before != blank {
            let _ = self.notices.send(Notice::Look);
        }
        before
    }

    /// Whoever waits for an answer from the scene's cluster waits no longer.
    fn break_off(&self) {
        if let Some(desk) = lock(&self.scene).take() {
            desk.quit();
        }
    }
}

/// A paragraph of a scene as a page shows it.
fn part(told: TourParagraph, written: impl Fn(String) -> String) -> PagePart {
    let mark = match told.mark {
        TourMark::None => PageMark::None,
        TourMark::Answer(number) => PageMark::Number(number),
        TourMark::Right(number) => PageMark::Right(number),
        TourMark::Word(word) => PageMark::Word(word.to_owned()),
    };
    let text = if let PageMark::Right(_) = mark { format!("Right: {}", told.text) } else { told.text };
    PagePart { mark, text: written(text) }
}

/// The thread of a lecture.
struct Conductor {
    hall: LectureHall,
    state: Arc<LectureState>,
    theatre: Option<Theatre>,
    /// What comes before the question comes at once.
    hurry: Arc<AtomicBool>,
    notes: NotesFile,
}

impl Conductor {
    fn conduct(mut self, wished: &Receiver<LectureWish>) {
        for wish in wished {
            let cue = match wish {
                LectureWish::Begin => Some(TourCue::Begin),
                LectureWish::Press(key) => lock(&self.state.talk).as_mut().map(|talk| talk.press(key)),
            };
            self.write_notes();
            match cue {
                Some(TourCue::Begin) => self.begin(),
                Some(TourCue::Step(number)) => self.step(number),
                Some(TourCue::Truth) => self.truth(),
                Some(TourCue::Refuse(why)) => self.state.say(&why),
                Some(TourCue::Nothing) => {}
                Some(TourCue::Leave) | None => self.leave(),
            }
            self.write_notes();
        }
    }

    fn write_notes(&self) {
        match &*lock(&self.state.talk) {
            Some(talk) => self.notes.write(talk),
            None => self.notes.remove(),
        }
    }

    fn scene(&self) -> Option<TourScene> {
        lock(&self.state.talk).as_ref()?.scene().cloned()
    }

    /// A fresh cluster, what comes before the question, and the question.
    fn begin(&mut self) {
        let Some(scene) = self.scene() else { return };
        if let Err(why) = self.open(&scene) {
            self.state.say(&why);
            return self.leave();
        }
        self.hurry.store(true, Ordering::Relaxed);
        for step in &scene.setup {
            self.carry_out(&scene, step);
        }
        self.hurry.store(false, Ordering::Relaxed);
        self.state.show_page();
    }

    fn open(&mut self, scene: &TourScene) -> Result<(), String> {
        self.close();
        let args = Args { no_animation: self.hall.args.no_animation, ..arguments(scene)? };
        let (desk, asks) = Desk::new();
        let clock = VirtualClock::default();
        // The theatre folds what happens when it does, the dashboard when it gets around to it: a model for each.
        let (model, begun) = (new_model(&args, args.seed.unwrap_or_default(), clock.now()), clock.now());
        let lookback = LiveStage::new(&model, begun, Some(desk.clone()), self.hall.palette.ascii);
        let (model, shows) = (Arc::new(Mutex::new(model)), clock.clone());
        let guest = WatchedCluster::new(Arc::clone(&model), Some(Box::new(lookback)), Box::new(move || shows.now()));
        let notices = self.hall.notices.clone();
        let _ = notices.send(Notice::Guest(Some(Box::new(guest))));
        let tell = move |at: Time, news: &News| drop(notices.send(Notice::GuestNews(at, news.clone())));
        *lock(&self.state.scene) = Some(desk.clone());
        let theatre = Theatre::open(&args, clock, Arc::clone(&self.hurry), (desk.clone(), asks), tell)?;
        self.hall.knowledge.show(Some(KnownCluster { model, court: theatre.court() }));
        self.hall.desk.divert(Some(desk));
        self.theatre = Some(theatre);
        Ok(())
    }

    fn step(&mut self, number: usize) {
        let Some(scene) = self.scene() else { return };
        let _ = self.hall.notices.send(Notice::Page(None));
        if let Some(step) = scene.play.get(number) {
            self.carry_out(&scene, step);
        }
    }

    fn carry_out(&self, scene: &TourScene, step: &TourStep) {
        let Some(theatre) = &self.theatre else { return };
        let palette = self.hall.palette;
        // What is said last stands above the keys, until the next command.
        let (said, before) = step.says.split_last().map_or((None, &[][..]), |(said, before)| (Some(said), before));
        before.iter().for_each(|said| self.state.say(said));
        let caption = said.map(|said| if palette.ascii { ascii(said) } else { said.clone() });
        let _ = self.hall.notices.send(Notice::Caption(caption));
        self.state.say(&format!(
            "{} {}",
            palette.paint(palette.faint, ">"),
            palette.paint(palette.command, &step.command)
        ));
        let done = theatre.step(step);
        // Whoever leaves meanwhile does not want to know.
        if lock(&self.state.scene).is_none() {
            return;
        }
        done.answers.iter().for_each(|answer| self.state.say(answer));
        if let Some(fault) = played::step_fault(step, &done.answers) {
            self.state.say(&palette.paint(palette.error, &format!("{}:{}: {fault}", scene.file, step.line)));
        }
    }

    fn truth(&mut self) {
        if let Some(theatre) = &self.theatre {
            *lock(&self.state.verdict) = theatre.verdict();
        }
        self.state.show_page();
    }

    /// The cluster of the scene is gone.
    fn close(&mut self) {
        if self.hall.hand.is_on() {
            self.hall.hand.go(Move::Leave);
        }
        self.state.break_off();
        self.theatre = None;
        self.hall.desk.divert(None);
        self.hall.knowledge.show(None);
    }

    fn leave(&mut self) {
        let was_on = self.theatre.is_some();
        *lock(&self.state.talk) = None;
        self.close();
        let _ = self.hall.notices.send(Notice::Guest(None));
        let _ = self.hall.notices.send(Notice::Page(None));
        self.state.show_nothing(false);
        if was_on {
            self.state.say("the tour is over: this is your own cluster again");
        }
    }
}
