//! What the screen knows: a fold over the ranks' reports and a few facts of this process.
//!
//! The model decides nothing and asks nobody. Reports ([`Observation`]) go in as they arrive, in any
//! order between ranks; so do the client's requests and answers and what the operator did to the
//! network. What comes out is everything [`super::view`] needs to draw, and how long the picture
//! stays as it is ([`Model::still_for`]), so that an idle screen costs nothing.
//!
//! | file | what it folds |
//! |---|---|
//! | [`server`] | one card: state, keys, what just happened to it |
//! | [`story`] | the events, one sentence each |
//! | [`diagram`] | what was said to whom, and when it was heard |
//! | [`clients`] | what further clients asked last |
//! | [`flights`] | messages under way, slowed for the eye |
//! | [`stopwatch`] | the phases of a failover |
//! | [`latency`] | quantiles and the sparkline |
//! | [`words`] | what stands in the words of a message |
//! | [`page`] | a long text, shown over everything until it is closed |
//!
//! Everything is bounded: cards by the number of servers, keys, events, flights and latencies by the
//! constants of their files. Nothing costs more when the stores grow.
//!
//! # Caveats
//!
//! Reports carry the sender's clock. On one host all ranks read the same monotonic clock, and the
//! stopwatch compares their times; a time that lies in the future or too far in the past (another
//! host's clock) is replaced by the time of arrival, which costs accuracy of one report interval.

pub mod clients;
pub mod diagram;
pub mod flights;
pub mod latency;
pub mod page;
pub mod server;
pub mod stopwatch;
pub mod story;
pub mod words;

use crate::cluster::{LiveVerdict, News, Sight, Standing};
use crate::core::fault::Control;
use crate::core::load::Report;
use crate::core::protocol::view::METADATA;
use crate::core::protocol::{Event, MessageKind, Observation, Rank, Reason, Time, View, ViewNumber};
use clients::Clients;
use diagram::Diagram;
use flights::Flights;
use latency::Latency;
use serde::{Deserialize, Serialize};
use server::ServerModel;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stopwatch::{Cue, Stopwatch};
use story::Story;

/// The client box remembers this many finished operations.
pub const OPERATIONS_MAX: usize = 16;
/// Texts handed in from outside are cut to this many characters.
const TEXT_CHARS_MAX: usize = 96;
/// A report's time may differ from its arrival by this much; beyond that the arrival counts.
const CLOCK_TRUST: Duration = Duration::from_secs(5);
/// What a model weighs on which nothing has been told: the histograms, the messages in the air, the last operations.
const WEIGHT_EMPTY: usize = 128 << 10;
/// What a card adds, and each of its keys.
const WEIGHT_SERVER: usize = 1 << 10;
const WEIGHT_KEY: usize = 512;
/// A frame of an animation.
pub const FRAME: Duration = Duration::from_millis(33);

/// What is known before the first report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSetup {
    /// How many servers there are: ranks 1 to this.
    pub servers: u32,
    /// The seed, for the header.
    pub seed: u64,
    /// The failure rate until a server reports its own.
    pub failure_rate: f64,
    /// Whether messages fly (`--no-animation`: not).
    pub animated: bool,
    /// How many times longer everybody waits before they suspect somebody (`--pace`).
    pub pace: f64,
}

impl ModelSetup {
    /// That nothing here takes as long as it usually does: `slowed ×20`.
    #[must_use]
    pub fn slowed(&self) -> Option<String> {
        match self.pace {
            1.0 => None,
            pace if pace > 1.0 => Some(format!("slowed ×{pace}")),
            pace => Some(format!("pace ×{pace}")),
        }
    }
}

/// A finished operation of the client.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedOperation {
    /// What was asked.
    pub command: String,
    /// What came back.
    pub reply: String,
    /// How long that took.
    pub took: Duration,
}

/// What the operator did to the network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetworkFaults {
    /// Links that drop everything, by direction.
    pub cut: BTreeSet<(Rank, Rank)>,
    /// Probability that a message is lost.
    pub loss: f64,
    /// Every message is held back for this many milliseconds.
    pub delay_ms: f64,
}

impl NetworkFaults {
    /// `rank` has carried out an order about its links.
    fn fold(&mut self, rank: Rank, control: &Control) {
        match control {
            Control::Cut { peer, cut: true } => drop(self.cut.insert((rank, *peer))),
            Control::Cut { peer, cut: false } => drop(self.cut.remove(&(rank, *peer))),
            Control::Loss { probability } => self.loss = *probability,
            Control::Delay { ms } => self.delay_ms = *ms,
            // All are told; each mends what it sends on. The metadata server is told with them.
            Control::Heal if rank == METADATA => *self = Self::default(),
            Control::Heal => self.cut.retain(|(from, _)| *from != rank),
            _ => {}
        }
    }

    /// True when nothing that `from` sends reaches `to`.
    #[must_use]
    pub fn is_cut(&self, from: Rank, to: Rank) -> bool {
        self.cut.contains(&(from, to))
    }
}

/// Everything the screen shows.
#[derive(Debug, Clone)]
pub struct Model {
    /// What was known before the first report.
    pub setup: ModelSetup,
    /// When the screen came up: the zero of the times in the events.
    pub started: Time,
    /// A notice that must not be overlooked, such as a protocol that was made unsafe on purpose.
    pub unsafe_notice: Option<String>,
    /// Which rule blocks when the cluster cannot serve, and what would unblock it.
    pub why: Option<String>,
    /// The checker's verdict, once there is one.
    pub verdict: Option<LiveVerdict>,
    /// What was done to the network.
    pub network: NetworkFaults,
    /// How many ranks after the servers are clients.
    pub clients: u32,
    /// This many of them, the last ones, are doors.
    pub doors: u32,
    /// How the load goes, once there has been one.
    pub load: Option<Report>,
    /// How the door is, where there is one.
    pub door: Option<Sight>,
    servers: Vec<ServerModel>,
    view: Option<Arc<View>>,
    asked: Option<(Time, String)>,
    operations: VecDeque<FinishedOperation>,
    others: Clients,
    story: Story,
    flights: Flights,
    diagram: Diagram,
    stopwatch: Stopwatch,
    latency: Latency,
}

impl Model {
    /// A screen on which nothing has been reported yet.
    #[must_use]
    pub fn new(setup: ModelSetup, now: Time) -> Self {
        Self {
            servers: (1..=setup.servers).map(|rank| ServerModel::new(Rank(rank), now)).collect(),
            started: now,
            unsafe_notice: None,
            verdict: None,
            why: None,
            network: NetworkFaults::default(),
            clients: 0,
            doors: 0,
            load: None,
            door: None,
            view: None,
            asked: None,
            operations: VecDeque::new(),
            others: Clients::default(),
            story: Story::new(),
            flights: Flights::new(),
            diagram: Diagram::default(),
            stopwatch: Stopwatch::new(),
            latency: Latency::new(now),
            setup,
        }
    }

    /// Folds one piece of the stream in, which arrived at `now`. Nothing else changes what is known of the cluster.
    /// True when something happened that deserves a frame at once; false when it only proves life.
    pub fn fold(&mut self, now: Time, news: &News) -> bool {
        // What comes of it depends on the news and their times alone, not on when somebody looked.
        self.tick(now);
        match news {
            News::Observation(observation) => return self.observe(now, observation),
            News::Asked { at, command } => self.asked = Some((*at, clipped(command))),
            News::Answered { at, command, reply, took } => self.answered(*at, command, reply, *took),
            News::Gone { rank } => self.gone(now, *rank),
            News::Stopped { rank, stopped } => self.stopped(now, *rank, *stopped),
            News::Network { rank, control } => self.network.fold(*rank, control),
            News::Load(report) => self.load = Some((**report).clone()),
            News::Door(sight) => self.door = Some(*sight),
            News::Why(why) => self.explain(now, why.as_deref()),
            News::Verdict(verdict) => self.verdict = Some(*verdict),
            News::Unsafe(warning) => self.unsafe_notice.clone_from(warning),
            News::Note(text) => self.story.tell(now, story::Tone::Operator, clipped(text)),
            News::Dropped { from, to, text } => self.diagram.dropped(*from, *to, text),
            News::Finished { .. } | News::Branched { .. } => return false,
        }
        true
    }

    /// A report.
    fn observe(&mut self, now: Time, observation: &Observation) -> bool {
        let Observation { rank, pid, server, events, events_dropped, flights, keys, keys_cleared, .. } = observation;
        let rank = *rank;
        let mut lively = !events.is_empty() || !keys.is_empty() || *keys_cleared || *events_dropped > 0;

        for (at, event) in events {
            self.happened(now, trusted(now, *at), rank, event);
        }
        for (at, sort, text) in story::refusals(observation) {
            self.story.tell_one_of(Some(sort), trusted(now, at), story::Tone::Doubt, text);
        }
        self.story.missed(*events_dropped);
        self.diagram.observe(observation, |at| trusted(now, at));

        if rank.0 > self.setup.servers {
            self.others.observe(observation, |at| trusted(now, at));
        }
        let primary_before = self.primary();
        if let Some(card) = self.servers.get_mut(index(rank)) {
            let before = card.state(now);
            card.report(now, *pid, server.clone());
            card.fold_keys(now, keys, *keys_cleared);
            let after = card.state(now);
            lively |= before != after;
            if after == Standing::Paused && before != Standing::Paused {
                self.stopwatch.mark(now, Cue::Fault { rank, primary: primary_before == Some(rank) });
            } else if before == Standing::Paused && after == Standing::Primary {
                self.stopwatch.mark(now, Cue::FalseAlarm { rank });
            }
        }

        lively |= self.compare();
        for flight in flights {
            lively |= !flights::FlightKind::of(flight.kind).is_background();
            if flight.kind == MessageKind::Reply && flight.to != METADATA {
                // Our own client says itself when it was answered.
                self.stopwatch.mark(trusted(now, flight.at), Cue::Answer { asked: None });
            }
            if self.setup.animated {
                self.flights.launch(now, rank, flight);
            }
        }
        lively
    }

    /// What the servers believe is compared with the view. True when a server is seen in another light.
    fn compare(&mut self) -> bool {
        let Some(view) = &self.view else { return false };
        let mut changed = false;
        for server in &mut self.servers {
            let before = server.state(Time(0));
            server.compare(view);
            changed |= before != server.state(Time(0));
        }
        changed
    }

    /// The client's request was answered (or given up), after `took`.
    fn answered(&mut self, now: Time, command: &str, reply: &str, took: Duration) {
        let asked = now - took;
        self.asked = None;
        self.latency.record(now, took);
        self.stopwatch.mark(now, Cue::Answer { asked: Some(asked) });
        if self.operations.len() == OPERATIONS_MAX {
            self.operations.pop_front();
        }
        self.operations.push_back(FinishedOperation { command: clipped(command), reply: clipped(reply), took });
    }

    /// The process behind `rank` has ended: not merely silent.
    fn gone(&mut self, now: Time, rank: Rank) {
        let primary = self.primary() == Some(rank);
        let Some(card) = self.servers.get_mut(index(rank)) else { return };
        if card.is_gone() {
            return;
        }
        card.gone(now);
        self.story.tell(now, story::Tone::Bad, format!("server {rank}: its process is gone"));
        self.diagram.noted(now, rank, story::Tone::Bad, "its process is gone".to_owned());
        self.stopwatch.mark(now, Cue::Fault { rank, primary });
    }

    /// The operator stopped (or continued) the process behind `rank`, which therefore cannot say so itself.
    fn stopped(&mut self, now: Time, rank: Rank, stopped: bool) {
        let primary = self.primary() == Some(rank);
        let Some(card) = self.servers.get_mut(index(rank)) else { return };
        card.stopped(now, stopped);
        if stopped {
            self.stopwatch.mark(now, Cue::Fault { rank, primary });
        }
    }

    /// Nobody is served, or all are again; the header has no room for every sentence, the events have.
    fn explain(&mut self, now: Time, why: Option<&str>) {
        if let Some(why) = why.filter(|why| self.why.as_deref() != Some(*why)) {
            self.story.tell(now, story::Tone::Doubt, why.to_owned());
        }
        // A clock that runs for ever tells nothing.
        self.stopwatch.hold(why.map(|_| now));
        self.why = why.map(str::to_owned);
    }

    /// About how many bytes of memory this takes, from above.
    #[must_use]
    pub fn weight(&self) -> usize {
        let keys: usize = self.servers.iter().map(|server| server.keys().len()).sum();
        WEIGHT_EMPTY
            + diagram::WEIGHT
            + (self.servers.len() + self.clients as usize) * WEIGHT_SERVER
            + keys * WEIGHT_KEY
            + self.story.weight()
    }

    /// Time passed: forgets what is over.
    pub fn tick(&mut self, now: Time) {
        self.flights.land(now);
        self.latency.age(now);
    }

    /// For a picture that is to stand: of the messages in the air only those launched at or after `since`. Gives how
    /// long after it the picture should stand.
    pub fn stand(&mut self, since: Time) -> Duration {
        self.flights.stand(since)
    }

    /// In a picture that stands: lets the messages fly on for this long in all. What clocks show does not change.
    pub fn fly_on(&mut self, ahead: Duration) {
        self.flights.fly_on(ahead);
    }

    /// How long the picture stays as it is if nothing else is reported.
    #[must_use]
    pub fn still_for(&self, now: Time) -> Duration {
        let up = now.since(self.started);
        let next_second = SECOND - Duration::from_nanos(u64::from(up.subsec_nanos()));
        let mut still = next_second;
        still = still.min(self.flights.still_for(now, self.started));
        if let Some((since, _)) = &self.asked {
            still = still.min(coarse(now.since(*since)));
        }
        if self.stopwatch.is_running() {
            still = still.min(if self.stopwatch.runs_for(now) < SECOND {
                FRAME
            } else {
                coarse(self.stopwatch.runs_for(now))
            });
        }
        for server in &self.servers {
            still = still.min(server.still_for(now));
        }
        still.max(Duration::from_millis(1))
    }

    fn happened(&mut self, now: Time, at: Time, rank: Rank, event: &Event) {
        // The simulator's verdict is a reason, and an event as well: one line is enough.
        let told = |sentence: &str| self.why.as_deref() == Some(sentence) && self.story.has(sentence);
        if let Some((tone, sentence)) = story::sentence(rank, event).filter(|(_, sentence)| !told(sentence)) {
            self.story.tell_one_of(story::sort(rank, event), at, tone, sentence);
        }
        match event {
            Event::Crashed { .. } => {
                let primary = self.primary() == Some(rank) || self.view_primary() == Some(rank);
                if let Some(card) = self.servers.get_mut(index(rank)) {
                    card.crashed(now, at);
                }
                self.stopwatch.mark(at, Cue::Fault { rank, primary });
            }
            Event::Suspected { peer, silent_ms } => {
                self.stopwatch.mark(at, Cue::Suspected { rank: peer.rank, silent_ms: *silent_ms });
            }
            Event::KnownDead { peer } => self.stopwatch.mark(at, Cue::Suspected { rank: peer.rank, silent_ms: 0 }),
            Event::ViewChanged { view, reason, .. } => {
                let silent_ms = match reason {
                    Reason::PrimarySilent { silent_ms, .. } => Some(*silent_ms),
                    Reason::PrimaryDied { .. } => Some(0),
                    _ => None,
                };
                let changed = self.view_primary() != Some(view.primary.rank);
                let formed = *reason == Reason::Formed;
                let primary = view.primary.rank;
                self.stopwatch.mark(at, Cue::Decided { view: view.number, primary, silent_ms, formed });
                if self.view.as_ref().is_none_or(|known| known.number < view.number) {
                    self.view = Some(Arc::clone(view));
                    if let Some(card) = self.servers.get_mut(index(view.primary.rank)).filter(|_| changed) {
                        card.light_up(now);
                    }
                }
            }
            Event::Serving { view, .. } => self.stopwatch.mark(at, Cue::Serving { view: *view }),
            _ => {}
        }
    }

    /// The number of the newest view that anybody reported, 0 before the first.
    #[must_use]
    pub fn view_number(&self) -> ViewNumber {
        let decided = self.view.as_ref().map_or(ViewNumber(0), |view| view.number);
        self.servers.iter().filter_map(|s| s.status().map(|status| status.view)).fold(decided, ViewNumber::max)
    }

    /// The server that answers the clients now, if there is one.
    #[must_use]
    pub fn primary(&self) -> Option<Rank> {
        self.servers
            .iter()
            .filter(|s| s.is_trusted() && s.status().is_some_and(|status| status.serving))
            .max_by_key(|s| s.status().map(|status| status.view))
            .map(|s| s.rank)
    }

    /// The members of the newest view: the primary's rank, then the backups'.
    #[must_use]
    pub fn members(&self) -> Vec<Rank> {
        let number = self.view_number();
        if let Some(view) = self.view.as_ref().filter(|view| view.number == number) {
            return view.members().map(|m| m.rank).collect();
        }
        let mut members: Vec<&ServerModel> =
            self.servers.iter().filter(|s| s.status().is_some_and(|t| t.view == number) && s.is_member()).collect();
        members.sort_by_key(|s| (!s.leads(), s.rank));
        members.into_iter().map(|s| s.rank).collect()
    }

    fn view_primary(&self) -> Option<Rank> {
        self.members().first().copied()
    }

    /// The cards, in rank order.
    #[must_use]
    pub fn servers(&self) -> &[ServerModel] {
        &self.servers
    }

    /// Every server and what it is, for completing `who`.
    #[must_use]
    pub fn roles(&self, now: Time) -> Vec<(Rank, Standing)> {
        self.servers.iter().map(|server| (server.rank, server.state(now))).collect()
    }

    /// The keys on the screen that start with `prefix`, in order, for completion. Keys that are not
    /// plain text, or that were cut for display, are left out.
    #[must_use]
    pub fn known_keys(&self, prefix: &str) -> Vec<String> {
        let known: BTreeSet<&str> = self
            .servers
            .iter()
            .filter(|server| server.is_member())
            .flat_map(|server| server.keys())
            .filter(|shown| shown.view.key.len() < crate::core::protocol::observation::OBSERVED_BYTES_MAX)
            .filter_map(|shown| std::str::from_utf8(&shown.view.key).ok())
            .filter(|key| key.starts_with(prefix) && !key.chars().any(char::is_control))
            .collect();
        known.into_iter().map(str::to_owned).collect()
    }

    /// The failure rate of the primary, or of anybody, or as it was set up.
    #[must_use]
    pub fn failure_rate(&self) -> f64 {
        let primary = self.primary().and_then(|rank| self.servers.get(index(rank)));
        let anybody = self.servers.iter().filter(|s| s.is_trusted()).chain(&self.servers);
        primary
            .into_iter()
            .chain(anybody)
            .find_map(ServerModel::status)
            .map_or(self.setup.failure_rate, |s| s.failure_rate)
    }

    /// True when there is something that must not be overlooked.
    #[must_use]
    pub fn has_notice(&self) -> bool {
        self.unsafe_notice.is_some() || self.why.is_some()
    }

    /// The request that waits for its answer, and since when.
    #[must_use]
    pub fn outstanding(&self) -> Option<(Time, &str)> {
        self.asked.as_ref().map(|(since, command)| (*since, command.as_str()))
    }

    /// The latest finished operations, oldest first.
    #[must_use]
    pub fn operations(&self) -> impl DoubleEndedIterator<Item = &FinishedOperation> {
        self.operations.iter()
    }

    /// The events.
    #[must_use]
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// What the further clients asked last.
    #[must_use]
    pub fn others(&self) -> &Clients {
        &self.others
    }

    /// True while a box of their own shows the further clients: under load that of rank 0 sums them up.
    #[must_use]
    pub fn shows_clients(&self) -> bool {
        self.clients > 0 && self.load.is_none()
    }

    /// The ranks of the further clients.
    pub fn client_ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        let servers = self.setup.servers;
        (servers + 1..=servers + self.clients).map(Rank)
    }

    /// Whether a further client is a door: the last ones are.
    #[must_use]
    pub fn is_door(&self, rank: Rank) -> bool {
        let last = self.setup.servers + self.clients;
        (last + 1).saturating_sub(self.doors) <= rank.0 && rank.0 <= last
    }

    /// The messages under way.
    #[must_use]
    pub fn flights(&self) -> &Flights {
        &self.flights
    }

    /// What was said to whom.
    #[must_use]
    pub fn diagram(&self) -> &Diagram {
        &self.diagram
    }

    /// The phases of the last failover.
    #[must_use]
    pub fn stopwatch(&self) -> &Stopwatch {
        &self.stopwatch
    }

    /// How long answers take.
    #[must_use]
    pub fn latency(&self) -> &Latency {
        &self.latency
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// How long a shown duration stays as it is: tenths of a second in the first ten seconds, then seconds.
pub(crate) fn coarse(shown: Duration) -> Duration {
    if shown < SECOND * 10 { SECOND / 10 } else { SECOND }
}

/// Where the card of `rank` is; rank 0 and the clients beyond the servers have none.
fn index(rank: Rank) -> usize {
    (rank.0 as usize).wrapping_sub(1)
}

/// The sender's time if this process can make sense of it, else the time of arrival.
fn trusted(now: Time, at: Time) -> Time {
    if at > now || now.since(at) > CLOCK_TRUST { now } else { at }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
