//! The stage over a cluster that lives: freeze, step, back, and on again.
//!
//! Over MPI freezing stops the picture, not the cluster: requests are still answered, and a bar says how far behind
//! the picture is. In the simulator time itself stands, and a step forward from now is the next thing that is worth a
//! look. Either way the past is what the screen was told ([`Player`]), as much of it as [`KEPT_BYTES_MAX`] holds.
//!
//! ```text
//!  stage -12.4 s · report 31/64 · the cluster runs on, End: now              kept 3 of 64 MiB
//!  stage · step 64/64 · time stands, → the next thing happens                       kept 1 of 64 MiB
//! ```

use super::bar;
use super::player::Player;
use super::replay::FRAME;
use super::speed::Speed;
use crate::cluster::{Desk, News};
use crate::core::protocol::Time;
use crate::ui::commands::moves::Move;
use crate::ui::dashboard::{Chosen, Face, KeyHint, Lookback, Model, Theme, view};
use ratatui::Frame;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// So much of what the screen was told is kept (64 MiB): more than ten minutes of a class that is busy with it.
pub const KEPT_BYTES_MAX: usize = 64 << 20;
/// The bar counts tenths of a second.
const BAR_EVERY: Duration = Duration::from_millis(100);
const MIB: f64 = 1_048_576.0;

/// Where the stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Off: the dashboard is what it always is.
    Off,
    /// On, and the picture is that of now.
    Now,
    /// The picture stands.
    Frozen,
    /// One step after the other.
    Playing,
}

/// The stage over a cluster that lives.
pub struct LiveStage {
    player: Player,
    at: At,
    speed: Speed,
    stepped: Instant,
    /// The desk of a cluster whose time can stand.
    simulator: Option<Desk>,
    /// Which branch this is; and the others, at their ends.
    branch: usize,
    others: BTreeMap<usize, Player>,
    /// A message that was chosen among those on their way.
    chosen: Option<Chosen>,
    ascii: bool,
}

impl LiveStage {
    /// Off, at the beginning. `simulator`: the desk of a cluster whose time can stand.
    #[must_use]
    pub fn new(model: &Model, begun: Time, simulator: Option<Desk>, ascii: bool) -> Self {
        let player = Player::live(model, begun, KEPT_BYTES_MAX);
        let (at, speed, stepped) = (At::Off, Speed::default(), Instant::now());
        Self { player, at, speed, stepped, simulator, branch: 0, others: BTreeMap::new(), chosen: None, ascii }
    }

    /// Where one is, and in what.
    #[must_use]
    pub fn player(&self) -> &Player {
        &self.player
    }

    fn freeze(&mut self, live: &Model) {
        // Frozen already, one stays where one is.
        if matches!(self.at, At::Off | At::Now) {
            self.player.join(live);
        }
        self.at = At::Frozen;
    }

    /// Another branch goes on. All of them together keep no more than the one did: what was left gives way first.
    fn go_on_in(&mut self, to: usize, forked: Option<Time>, live: &mut Model) {
        let next = match forked {
            Some(at) => {
                let mut next = self.player.clone();
                next.cut(at);
                next
            }
            None => self.others.remove(&to).unwrap_or_else(|| self.player.clone()),
        };
        let before = std::mem::replace(&mut self.player, next);
        self.others.insert(self.branch, before);
        (self.branch, self.chosen) = (to, None);
        let share = KEPT_BYTES_MAX / 2 / self.others.len();
        self.others.values_mut().for_each(|other| other.set_bytes_max(share));
        self.player.set_bytes_max(KEPT_BYTES_MAX / 2);
        self.player.end();
        live.clone_from(self.player.model());
    }

    fn forward(&mut self) {
        if !self.player.forward()
            && let Some(desk) = &self.simulator
        {
            // Now is the last that has happened: time goes on by one step.
            self.player.end();
            desk.step();
        }
    }

    /// The picture has stood long enough.
    fn play(&mut self) {
        if self.at != At::Playing || self.stepped.elapsed() < self.speed.stands() {
            return;
        }
        self.stepped = Instant::now();
        self.forward();
        if self.simulator.is_none() && self.player.is_over() {
            self.at = At::Now;
        }
    }

    /// Where one is, in a line; `now` is the time of the live picture.
    #[must_use]
    pub fn bar(&self, now: Time) -> String {
        let dot = if self.ascii { "-" } else { "·" };
        let (step, steps) = self.player.step();
        let behind = now.since(self.player.now());
        if let Some(Chosen { text, from, to, place, all }) = &self.chosen {
            let arrow = if self.ascii { "->" } else { "→" };
            let what = format!("message {place} of {all}: {from} {arrow} {to} {text}");
            return format!(" {what} {dot} Enter reads, Delete drops, Tab the next");
        }
        let mut bar = " stage".to_owned();
        if !self.others.is_empty() {
            bar.push_str(&format!(" {dot} branch {} of {}", self.branch + 1, self.others.len() + 1));
        }
        match self.at {
            At::Off | At::Now => return format!("{bar} {dot} now {dot} Space freezes, Esc leaves"),
            _ if self.simulator.is_none() => bar.push_str(&format!(" -{:.1} s", behind.as_secs_f64())),
            _ => {}
        }
        // Over MPI a step is what one rank reports at a time.
        let what = if self.simulator.is_some() { "step" } else { "report" };
        bar.push_str(&format!(" {dot} {what} {step}/{steps} {dot} "));
        match (self.at, &self.simulator) {
            (At::Playing, _) => bar.push_str(&format!("{} a second", self.speed.per_second())),
            (_, None) => bar.push_str("the cluster runs on, End: now"),
            (_, Some(_)) if step < steps => bar.push_str("time stands, End: now, a command forks"),
            (_, Some(_)) if self.ascii => bar.push_str("time stands, -> the next thing happens"),
            (_, Some(_)) => bar.push_str("time stands, → the next thing happens"),
        }
        if let Some(pause) = self.player.pause_before() {
            bar.push_str(&format!(" {dot} after {:.0} s", pause.as_secs_f64()));
        }
        bar
    }

    fn kept(&self) -> String {
        let all = std::iter::once(&self.player).chain(self.others.values());
        let bytes: usize = all.map(|player| player.bytes().0).sum();
        format!("kept {:.0} of {:.0} MiB", (bytes as f64 / MIB).ceil(), KEPT_BYTES_MAX as f64 / MIB)
    }

    fn draw_bar(&self, frame: &mut Frame, theme: &Theme, now: Time) {
        bar::draw(frame, (&self.bar(now), theme.bar_key), (&self.kept(), theme.bar), theme.bar);
    }
}

impl Lookback for LiveStage {
    fn choose(&mut self, chosen: Option<Chosen>) {
        self.chosen = chosen;
    }

    fn branched(&mut self, to: usize, forked: Option<Time>, live: &mut Model) {
        self.go_on_in(to, forked, live);
    }

    fn in_the_past(&self) -> Option<Time> {
        let (step, steps) = self.player.step();
        let is_past = self.simulator.is_some() && self.at != At::Off && step < steps;
        is_past.then(|| self.player.now())
    }

    fn told(&mut self, at: Time, news: &News, live: &Model) {
        let is_at_end = self.player.is_over();
        self.player.push(at, news, live);
        // While time stands, what comes follows from the step that was just made, or from an act.
        if self.simulator.is_some() && self.at != At::Off && is_at_end {
            self.player.join(live);
            self.stepped = Instant::now();
        }
    }

    fn act(&mut self, wanted: Move, live: &Model) {
        self.chosen = None;
        match wanted {
            Move::Leave => self.at = At::Off,
            _ if self.at == At::Off && wanted != Move::Enter => return,
            Move::Enter => self.freeze(live),
            Move::Play => match self.at {
                At::Off | At::Now | At::Playing => self.freeze(live),
                At::Frozen => self.at = At::Playing,
            },
            _ if self.speed.follow(wanted) => {}
            Move::End if self.simulator.is_none() => self.at = At::Now,
            _ => {
                self.freeze(live);
                if wanted == Move::Forward {
                    self.forward();
                } else {
                    self.player.follow(wanted);
                }
            }
        }
        self.stepped = Instant::now();
    }

    fn draw(
        &mut self,
        frame: &mut Frame,
        (live, face): (&Model, &Face),
        theme: &Theme,
        keys: &[KeyHint],
        now: Time,
    ) -> bool {
        self.play();
        match self.at {
            At::Off => return false,
            At::Now => view::draw(frame, live, face, theme, keys, now),
            At::Frozen | At::Playing => {
                self.player.fly_on(self.stepped.elapsed());
                let stands_at = self.player.now();
                let face = face.saying(self.player.caption().map(str::to_owned));
                view::draw(frame, self.player.picture(), &face, theme, keys, stands_at);
            }
        }
        self.draw_bar(frame, theme, now);
        true
    }

    fn shown(&self) -> Option<(&Model, Option<&str>, Time)> {
        let is_past = matches!(self.at, At::Frozen | At::Playing);
        is_past.then(|| (self.player.picture(), self.player.caption(), self.player.now()))
    }

    fn still_for(&self) -> Option<Duration> {
        let since = self.stepped.elapsed();
        match self.at {
            At::Off | At::Now => None,
            _ if self.player.moves(since) => Some(FRAME),
            At::Playing => Some(self.speed.stands().saturating_sub(since)),
            At::Frozen => Some(BAR_EVERY),
        }
    }
}
