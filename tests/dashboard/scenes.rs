//! Situations to look at: each is a model as the ranks' reports would have made it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use understudy::cluster::News;
use understudy::core::fault::Control;
use understudy::core::protocol::observation::{Flight, KeyView, Observation, ServerStatus};
use understudy::core::protocol::{
    CrashCause, CrashPoint, Event, Incarnation, Member, MessageKind, Rank, Reason, Role, Time, View, ViewNumber,
};
use understudy::core::store::{Bytes, OpNumber};
use understudy::ui::dashboard::{Face, KeyHint, Model, ModelSetup};

/// The stream of news, piece by piece, in fewer words.
pub trait Told {
    fn hear(&mut self, now: Time, observation: Observation) -> bool;
    fn hear_asked(&mut self, now: Time, command: &str);
    fn hear_answered(&mut self, now: Time, command: impl Into<String>, reply: &str, took: Duration);
    fn hear_gone(&mut self, now: Time, rank: Rank);
    fn hear_cut(&mut self, rank: Rank, peer: Rank, cut: bool);
    fn hear_why(&mut self, now: Time, why: Option<String>);
}

impl Told for Model {
    fn hear(&mut self, now: Time, observation: Observation) -> bool {
        self.fold(now, &News::Observation(Box::new(observation)))
    }

    fn hear_asked(&mut self, at: Time, command: &str) {
        self.fold(at, &News::Asked { at, command: command.to_owned() });
    }

    fn hear_answered(&mut self, at: Time, command: impl Into<String>, reply: &str, took: Duration) {
        self.fold(at, &News::Answered { at, command: command.into(), reply: reply.to_owned(), took });
    }

    fn hear_gone(&mut self, now: Time, rank: Rank) {
        self.fold(now, &News::Gone { rank });
    }

    fn hear_cut(&mut self, rank: Rank, peer: Rank, cut: bool) {
        self.fold(self.started, &News::Network { rank, control: Control::Cut { peer, cut } });
    }

    fn hear_why(&mut self, now: Time, why: Option<String>) {
        self.fold(now, &News::Why(why));
    }
}

/// A model and its clock.
pub struct Scene {
    pub model: Model,
    pub now: Time,
    pub face: Face,
    said: BTreeMap<u32, ServerStatus>,
}

pub fn keys() -> Vec<KeyHint> {
    vec![
        KeyHint::new("F1", "help"),
        KeyHint::new("F4", "recover").enabled(false),
        KeyHint::new("F5", "crash primary"),
        KeyHint::new("F6", "crash backup"),
        KeyHint::new("F7", "cut link").brief("cut"),
        KeyHint::new("F8", "pause"),
        KeyHint::new("F9", "dice off").brief("dice"),
    ]
}

/// Milliseconds after the start.
pub fn at(ms: u64) -> Time {
    Time((ms + 1_000_000) * 1_000_000)
}

pub fn member(rank: u32, incarnation: u64) -> Member {
    Member { rank: Rank(rank), incarnation: Incarnation(incarnation) }
}

pub fn view(number: u64, primary: Member, backups: &[Member]) -> Arc<View> {
    Arc::new(View { number: ViewNumber(number), epoch: 0, primary, backups: backups.to_vec() })
}

pub fn status(role: Role, view: u64, op: u64, keys: u64) -> ServerStatus {
    ServerStatus {
        role,
        paused: false,
        incarnation: Incarnation(1),
        view: ViewNumber(view),
        op: OpNumber(op),
        commit: OpNumber(op),
        keys,
        digest: op,
        lease: (role == Role::Primary).then_some((Duration::from_millis(34), Duration::from_millis(40))),
        silent: Vec::new(),
        silence: (role != Role::Down).then_some(Duration::from_millis(50)),
        serving: role == Role::Primary,
        transfer: None,
        back_in: None,
        failure_rate: 0.2,
        garbage: 0,
        disk: None,
    }
}

pub fn report(rank: u32, time: Time) -> Observation {
    Observation::empty(Rank(rank), 4_710 + rank, time)
}

pub fn flight(time: Time, to: u32, name: &str, text: &str, lost: bool) -> Flight {
    let kind = MessageKind::named(name).expect("a message has this name");
    Flight { at: time, to: Rank(to), kind, text: text.into(), lost }
}

pub fn key(name: &str, value: &str, op: u64) -> KeyView {
    KeyView {
        key: name.into(),
        value: Some(Bytes::from(value)),
        value_bytes: value.len() as u64,
        expires: None,
        op: OpNumber(op),
    }
}

impl Scene {
    pub fn new(servers: u32) -> Self {
        let setup = ModelSetup { servers, seed: 7, failure_rate: 0.2, animated: true, pace: 1.0 };
        Self { model: Model::new(setup, at(0)), now: at(0), face: Face::default(), said: BTreeMap::new() }
    }

    /// Time passes; the servers go on reporting what they reported last.
    pub fn wait(&mut self, ms: u64) {
        self.now = Time(self.now.0 + ms * 1_000_000);
        for (rank, mut status) in std::mem::take(&mut self.said) {
            status.back_in = status.back_in.map(|left| left.saturating_sub(Duration::from_millis(ms)));
            self.be(rank, status);
        }
        self.model.tick(self.now);
    }

    pub fn tell(&mut self, rank: u32, event: Event) {
        let mut observation = report(rank, self.now);
        observation.events.push((self.now, event));
        self.model.hear(self.now, observation);
    }

    pub fn be(&mut self, rank: u32, status: ServerStatus) {
        let mut observation = report(rank, self.now);
        observation.server = Some(status.clone());
        self.model.hear(self.now, observation);
        self.said.insert(rank, status);
    }

    pub fn hold(&mut self, rank: u32, status: ServerStatus, keys: &[KeyView]) {
        let mut observation = report(rank, self.now);
        observation.server = Some(status.clone());
        observation.keys = keys.to_vec();
        self.model.hear(self.now, observation);
        self.said.insert(rank, status);
    }

    pub fn fly(&mut self, from: u32, to: u32, name: &str, text: &str, lost: bool) {
        let mut observation = report(from, self.now);
        observation.flights.push(flight(self.now, to, name, text, lost));
        self.model.hear(self.now, observation);
    }

    /// All servers are up: 1 is primary, the others are its backups.
    pub fn formed(servers: u32) -> Self {
        let mut scene = Self::new(servers);
        scene.wait(400);
        let backups: Vec<Member> = (2..=servers).map(|rank| member(rank, 1)).collect();
        let view = view(1, member(1, 1), &backups);
        scene.tell(0, Event::ViewChanged { view, reason: Reason::Formed, asked_by: None });
        scene.wait(12);
        let role = |rank| if rank == 1 { Role::Primary } else { Role::Backup };
        for rank in 1..=servers {
            scene.tell(rank, Event::RoleChanged { from: Role::Idle, to: role(rank), view: ViewNumber(1) });
            let mut status = status(role(rank), 1, 0, 0);
            status.lease = status.lease.filter(|_| servers > 1);
            scene.be(rank, status);
        }
        scene.tell(1, Event::Serving { view: ViewNumber(1), op: OpNumber(0) });
        scene.wait(3_000);
        scene
    }

    /// And some keys were written.
    pub fn written(servers: u32) -> Self {
        let mut scene = Self::formed(servers);
        let keys = [
            key("name", "Ada Lovelace", 36),
            key("counter", "17", 38),
            key("city", "Köln", 39),
            key("planet", "Saturn", 40),
            key("fruit", "mango", 41),
            key("color", "red", 42),
        ];
        for rank in 1..=servers {
            let mut status = status(if rank == 1 { Role::Primary } else { Role::Backup }, 1, 42, 6);
            status.lease = status.lease.filter(|_| servers > 1);
            scene.hold(rank, status, &keys);
        }
        let took = [6, 7, 5, 9, 6, 6, 21, 7, 5, 6, 8, 6, 5, 7, 6, 14, 6, 6, 7, 5];
        for us in took {
            scene.model.hear_answered(scene.now, "GET city", "Köln", Duration::from_micros(us));
        }
        scene.model.hear_answered(scene.now, "PUT fruit mango", "OK", Duration::from_micros(8));
        scene.model.hear_answered(scene.now, "PUT color red", "OK", Duration::from_micros(6));
        scene.wait(2_000);
        scene
    }

    /// A PUT is under way.
    pub fn put(servers: u32, after_ms: u64) -> Self {
        let mut scene = Self::written(servers);
        scene.model.hear_asked(scene.now, "PUT color blue");
        scene.fly(0, 1, "Request", "Request c0#43 PUT color blue", false);
        for backup in 2..=servers {
            scene.fly(1, backup, "Prepare", "Prepare op=43 commit=42 c0#43 PUT color blue", false);
            scene.fly(backup, 1, "PrepareOk", "PrepareOk op=43", false);
        }
        scene.fly(1, 0, "Reply", "Reply c0#43 OK", false);
        scene.wait(1);
        let blue = [key("color", "blue", 43)];
        for rank in 1..=servers {
            let mut status = status(if rank == 1 { Role::Primary } else { Role::Backup }, 1, 43, 6);
            status.lease = status.lease.filter(|_| servers > 1);
            scene.hold(rank, status, &blue);
        }
        scene.model.hear_answered(scene.now, "PUT color blue", "OK", Duration::from_micros(7));
        scene.wait(after_ms);
        scene
    }

    /// The primary crashed with a request in its hands; the backup has not noticed yet, or has.
    pub fn crashed(servers: u32, after_ms: u64) -> Self {
        let mut scene = Self::written(servers);
        scene.model.hear_asked(scene.now, "PUT color green");
        scene.fly(0, 1, "Request", "Request c0#43 PUT color green", false);
        scene.wait(1);
        let cause = CrashCause::Dice { drawn: 0.13, rate: 0.2 };
        let crash = Event::Crashed { cause, at: Some((CrashPoint::AfterPrepare, OpNumber(43))) };
        let mut observation = report(1, scene.now);
        observation.events.push((scene.now, crash));
        observation.keys_cleared = true;
        let mut down = status(Role::Down, 1, 0, 0);
        down.back_in = Some(Duration::from_secs(3));
        observation.server = Some(down.clone());
        scene.model.hear(scene.now, observation);
        scene.said.insert(1, down);
        scene.fly(1, 2, "Prepare", "Prepare op=43 commit=42 c0#43 PUT color green", false);
        scene.wait(after_ms);
        scene
    }

    /// The backup has taken over.
    pub fn taken_over(servers: u32, after_ms: u64) -> Self {
        let mut scene = Self::crashed(servers, 41);
        scene.tell(2, Event::Suspected { peer: member(1, 1), silent_ms: 51 });
        scene.wait(1);
        let others: Vec<Member> = (3..=servers).map(|rank| member(rank, 1)).collect();
        let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 51 };
        let next = view(2, member(2, 1), &others);
        scene.tell(0, Event::ViewChanged { view: next, reason, asked_by: Some(Rank(2)) });
        scene.wait(1);
        scene.tell(2, Event::RoleChanged { from: Role::Backup, to: Role::Primary, view: ViewNumber(2) });
        scene.wait(2);
        scene.tell(2, Event::Serving { view: ViewNumber(2), op: OpNumber(43) });
        let mut alone = status(Role::Primary, 2, 43, 6);
        alone.lease = alone.lease.filter(|_| servers > 2);
        scene.hold(2, alone, &[key("color", "green", 43)]);
        for rank in 3..=servers {
            scene.hold(rank, status(Role::Backup, 2, 43, 6), &[key("color", "green", 43)]);
        }
        scene.wait(1);
        scene.fly(2, 0, "Reply", "Reply c0#43 OK", false);
        scene.model.hear_answered(scene.now, "PUT color green", "OK", Duration::from_millis(47));
        scene.wait(after_ms);
        scene
    }

    /// The crashed server is back and receives the state.
    pub fn joining(servers: u32) -> Self {
        let mut scene = Self::taken_over(servers, 2_950);
        scene.tell(1, Event::Recovered { incarnation: Incarnation(2) });
        scene.tell(2, Event::TransferStarted { to: member(1, 2), keys: 6 });
        let mut joining = status(Role::Joining, 2, 20, 3);
        joining.incarnation = Incarnation(2);
        joining.transfer = Some((3, 6));
        scene.be(1, joining);
        scene.fly(1, 2, "Join", "Join 1.2", false);
        scene.fly(2, 1, "Snapshot", "Snapshot part=0 keys=3", false);
        scene.wait(450);
        scene
    }

    /// The primary is stopped and believes in itself.
    pub fn paused() -> Self {
        let mut scene = Self::written(2);
        let mut paused = status(Role::Primary, 1, 42, 6);
        paused.paused = true;
        paused.lease = Some((Duration::ZERO, Duration::from_millis(40)));
        scene.tell(0, Event::Operator { what: "PAUSE 1".into() });
        scene.be(1, paused);
        scene.wait(52);
        scene.tell(2, Event::Suspected { peer: member(1, 1), silent_ms: 50 });
        scene.wait(1_500);
        scene.be(2, status(Role::Backup, 1, 42, 6));
        scene
    }

    /// The old primary goes on and has not heard that there is another.
    pub fn behind() -> Self {
        let mut scene = Self::paused();
        let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 50 };
        let view = view(2, member(2, 1), &[]);
        scene.tell(0, Event::ViewChanged { view, reason, asked_by: Some(Rank(2)) });
        let mut alone = status(Role::Primary, 2, 42, 6);
        alone.lease = None;
        scene.be(2, alone);
        scene.tell(2, Event::Serving { view: ViewNumber(2), op: OpNumber(42) });
        let mut old = status(Role::Primary, 1, 42, 6);
        old.lease = Some((Duration::ZERO, Duration::from_millis(40)));
        scene.be(1, old);
        scene.wait(100);
        scene
    }

    /// The link between the servers is cut, one way.
    pub fn cut() -> Self {
        let mut scene = Self::written(2);
        scene.tell(0, Event::Operator { what: "CUT 1 2 oneway".into() });
        scene.model.hear_cut(Rank(1), Rank(2), true);
        scene.fly(1, 2, "Prepare", "Prepare op=43 commit=42 c0#43 PUT color green", true);
        scene.fly(2, 1, "PrepareOk", "PrepareOk op=42", false);
        scene.model.hear_asked(scene.now, "PUT color green");
        scene.wait(700);
        scene
    }

    /// Nobody holds the data any more, and the screen says why.
    pub fn lost() -> Self {
        let mut scene = Self::formed(2);
        for rank in [2, 1] {
            scene.tell(rank, Event::Crashed { cause: CrashCause::Command, at: None });
            scene.be(rank, status(Role::Down, 1, 0, 0));
        }
        scene.said.remove(&2);
        scene.model.hear_gone(scene.now, Rank(2));
        let why = "no member of view 1 has kept its memory: RESET starts over with empty stores";
        scene.model.hear_why(scene.now, Some(why.into()));
        scene.wait(2_300);
        scene
    }

    /// A member has another value than the primary.
    pub fn differing() -> Self {
        let mut scene = Self::written(2);
        let mut behind = status(Role::Backup, 1, 41, 6);
        behind.digest = 1;
        scene.hold(2, behind, &[key("color", "blue", 40)]);
        scene.wait(1_200);
        scene
    }
}
