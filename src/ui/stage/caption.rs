//! One sentence for a step: what happens, and the rule at work.
//!
//! Every message and every event has one; of several that were told together the one speaks that changes most, and says
//! how many there are beside it. A sentence fits into a row of 80 columns.

use crate::cluster::News;
use crate::core::fault::Control;
use crate::core::protocol::{
    CrashPoint, Event, Flight, METADATA, MessageKind, Observation, Rank, Reason, Role, Time, Timing, plural,
};
use crate::core::store::OpNumber;
use crate::core::store::bytes::preview;
use crate::ui::dashboard::Model;
use crate::ui::dashboard::model::flights::FlightKind;
use crate::ui::dashboard::model::words;
use crate::ui::dashboard::panels::short;
use std::time::Duration;

/// A request, and an answer, in no more characters.
const WORDS_CHARS_MAX: usize = 34;

/// How much a sentence changes: of those that were told together the greatest speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Background,
    Message,
    Asked,
    Lost,
    Detail,
    Role,
    State,
    Act,
    Turn,
}

/// What happens in these pieces, which were told in this order; `model` is what is known after them.
#[must_use]
pub fn caption(pieces: &[(Time, News)], model: &Model) -> Option<String> {
    let said: Vec<(Weight, String)> = pieces.iter().flat_map(|(_, news)| said(news, model)).collect();
    let most = said.iter().map(|(weight, _)| *weight).max()?;
    let (_, sentence) = said.iter().find(|(weight, _)| *weight == most)?;
    let others = said.iter().filter(|(weight, _)| *weight > Weight::Background).count().saturating_sub(1);
    Some(if others > 0 { format!("{sentence} (+{others})") } else { sentence.clone() })
}

/// Everything that a piece says.
fn said(news: &News, model: &Model) -> Vec<(Weight, String)> {
    let one = match news {
        News::Observation(observation) => return reported(observation, model),
        News::Asked { command, .. } => (Weight::Asked, format!("the client asks: {}", in_short(command))),
        News::Answered { reply, took, .. } => {
            (Weight::Act, format!("the client has its answer after {}: {}", short(*took), in_short(reply)))
        }
        News::Gone { rank } => (Weight::Turn, format!("the process of server {rank} is gone, and its memory with it")),
        News::Stopped { rank, stopped: true } => {
            (Weight::Act, format!("server {rank} stops with its memory: whatever happens now, it will not know"))
        }
        News::Stopped { rank, stopped: false } => {
            (Weight::Act, format!("server {rank} goes on: what it says of an older view is refused (fencing)"))
        }
        News::Network { rank, control } => (Weight::Act, network(*rank, control)),
        News::Why(Some(why)) | News::Unsafe(Some(why)) => (Weight::Turn, why.clone()),
        News::Why(None) => (Weight::Turn, "somebody answers again".to_owned()),
        News::Unsafe(None) => (Weight::Turn, "all rules are in force again".to_owned()),
        News::Dropped { from, to, text } => {
            (Weight::Act, format!("{} from {from} to {to} never arrives", in_short(text)))
        }
        News::Note(text) => (Weight::Act, text.clone()),
        News::Finished { .. } | News::Load(_) | News::Door(_) | News::Verdict(_) | News::Branched { .. } => {
            return Vec::new();
        }
    };
    vec![one]
}

fn reported(observation: &Observation, model: &Model) -> Vec<(Weight, String)> {
    let Observation { rank, events, flights, .. } = observation;
    let events = events.iter().map(|(_, event)| of_event(*rank, event, model));
    let flights = flights.iter().map(|flight| match flight.lost {
        false => {
            let is_background = FlightKind::of(flight.kind).is_background();
            let weight = if is_background { Weight::Background } else { Weight::Message };
            (weight, of_message(*rank, flight, model))
        }
        true => (Weight::Lost, of_loss(*rank, flight)),
    });
    events.chain(flights).collect()
}

/// What became of the network.
fn network(rank: Rank, control: &Control) -> String {
    match control {
        Control::Cut { peer, cut: true } => {
            format!("nothing that rank {rank} sends reaches {peer} any more: it sounds like a crash")
        }
        Control::Cut { peer, cut: false } => format!("what rank {rank} sends reaches {peer} again"),
        Control::Loss { probability: 0.0 } => format!("rank {rank} loses no message any more"),
        Control::Loss { .. } => format!("rank {rank} loses messages: what is not acknowledged is sent again"),
        Control::Delay { ms } => format!("what rank {rank} sends takes {ms} ms longer: order still holds"),
        Control::Heal => format!("the links of rank {rank} are whole again"),
        _ => format!("rank {rank} has its orders"),
    }
}

// ---- messages ----------------------------------------------------------------------------------------------

/// What this message does, in a sentence.
fn of_message(from: Rank, flight: &Flight, model: &Model) -> String {
    use MessageKind as M;
    let (sender, to) = (name(from, flight.kind, model), name(flight.to, flight.kind, model));
    let word = |key: &str| words::value(&flight.text, key).unwrap_or("?");
    match flight.kind {
        M::Request => format!("{sender} asks {to}: the primary gives all writes one order"),
        M::Reply => format!("{sender} answers {to}: all members have it, or a lease lets it read"),
        M::NotPrimary => format!("{sender} does not lead: it tells {to} whom to ask instead"),
        M::GetView => format!("{sender} asks the metadata server for the newest view"),
        M::ViewIs => format!("{sender} tells {to} the newest view: who is not in it forgets all"),
        M::Announce => format!("{sender} says that it lives: for joining, never for a promotion"),
        M::Held => format!("{sender} tells what its disk has: the newest one may lead"),
        M::Welcome => format!("{sender} tells {to} the view, and whether it is wanted in it"),
        M::ChangeView if words::is_confirmed(&flight.text) => {
            format!("{sender} lives and will lead view {}: now that view may count (confirm)", view(flight))
        }
        M::ChangeView => format!("{sender} asks for view {}: of all wishes the first wins", view(flight)),
        M::Confirm => format!("{sender} asks {to}: alive, and ready to lead view {}? (confirm)", view(flight)),
        M::Retire => format!("RESET: {to} must not answer any more until there is another view"),
        M::Retired => format!("{sender} answers nobody; the leases that it gave still have to run out"),
        M::Prepare => format!("{sender} sends write {} to {to}: no answer before all have it", word("op")),
        M::PrepareOk => format!("{sender} has every write up to {}: no gaps (wait-for-all)", word("op")),
        M::Heartbeat => format!("{sender} shows {to} that it lives, and asks for a lease"),
        M::HeartbeatOk => format!("{sender} gives {to} a lease of {}, from when it was asked", word("lease")),
        M::StartView => {
            format!("{sender} leads view {}: {to} takes over its tail, {} (tail)", view(flight), tail(flight))
        }
        M::StartViewOk => format!("{sender} follows, with all up to op {}, and gives a lease", word("op")),
        M::Refused => format!("{sender} refuses {to}: it spoke for a view that is over (fencing)"),
        M::Handover => format!("{sender} has committed everything and answers no more: {to} takes over"),
        M::Join => format!("{sender} is empty and asks {to} for everything"),
        M::StartOver => format!("{sender} sends {to} into another life: each has one transfer"),
        M::Snapshot => format!("{sender} sends part {} of the state to {to}", word("part")),
        M::SnapshotOk => {
            format!("{sender} has {} parts, and does not count yet (join-before-count)", word("next"))
        }
        M::Relay => format!("the direct way is broken: it goes by another server, {sender} to {to}"),
    }
}

/// What comes of it that this message is lost.
fn of_loss(from: Rank, flight: &Flight) -> String {
    use MessageKind as M;
    let kind = flight.kind;
    let to = flight.to;
    let then = match kind {
        M::Request | M::Reply | M::NotPrimary => "asked again, it has one effect (sessions)",
        M::Prepare | M::PrepareOk => "it is sent again; nobody is answered before",
        M::Heartbeat | M::HeartbeatOk => "no lease comes of this one",
        M::ChangeView | M::Confirm | M::ViewIs | M::GetView => "the view waits until it is asked again",
        M::StartView | M::StartViewOk => "the new primary waits, and sends it again",
        M::Join | M::Snapshot | M::SnapshotOk | M::StartOver => "the transfer goes on with the next try",
        M::Announce | M::Held | M::Welcome => "the next one does as well",
        M::Retire | M::Retired => "RESET waits until it is said again",
        M::Refused => "the next old message is refused too",
        M::Handover => "the old primary says it again",
        M::Relay => "the next one may find its way",
    };
    format!("{kind} from {from} to {to} is lost: {then}")
}

/// The number of the view that this message is about.
fn view(flight: &Flight) -> &str {
    words::view(&flight.text).unwrap_or("?")
}

fn tail(flight: &Flight) -> String {
    match words::value(&flight.text, "tail").unwrap_or("?") {
        "1" => "1 write".to_owned(),
        writes => format!("{writes} writes"),
    }
}

// ---- events ------------------------------------------------------------------------------------------------

/// What this event means, in a sentence.
fn of_event(rank: Rank, event: &Event, model: &Model) -> (Weight, String) {
    let server = format!("server {rank}");
    match event {
        Event::RoleChanged { to, view, .. } => (Weight::Role, of_role(&server, *to, view.0)),
        Event::Suspected { peer, silent_ms } => (Weight::Turn, of_suspicion(rank, peer.rank, *silent_ms, model)),
        Event::KnownDead { peer } => (
            Weight::Turn,
            format!("server {rank} knows that {} is dead: no lease to wait for (proof-of-death)", peer.rank),
        ),
        Event::ViewChanged { view, reason, .. } => (Weight::Turn, of_view(view.number.0, view.primary.rank, reason)),
        Event::Serving { view, op: OpNumber(0) } => {
            (Weight::Turn, format!("{server} answers in view {view}, in which nothing is written yet"))
        }
        Event::Serving { view, op } => {
            (Weight::Turn, format!("{server} answers in view {view}: it kept all writes, up to op {op} (tail)"))
        }
        Event::TransferStarted { to, keys } => {
            (Weight::State, format!("{server} sends its {keys} key{} to server {}", plural(*keys), to.rank))
        }
        Event::CatchUpStarted { to, op, missing } => {
            (Weight::State, format!("server {} has all up to op {op} on its disk: {missing} missing", to.rank))
        }
        Event::TransferDone { to, op, .. } => (
            Weight::State,
            format!("server {} has everything up to op {op}: it may count (join-before-count)", to.rank),
        ),
        Event::Forgot { incarnation } => {
            (Weight::State, format!("{server} is in no view: it forgets all and is now incarnation {incarnation}"))
        }
        Event::Applied { op, .. } => (Weight::Detail, format!("{server} applies write {op}: all members have it")),
        Event::Crashed { at, .. } => (Weight::Turn, of_crash(&server, *at, rank, model)),
        Event::Spared { .. } => (Weight::State, format!("the dice spare {server}: nobody else has the data")),
        Event::Recovered { incarnation } => {
            (Weight::Turn, format!("{server} is back, empty: incarnation {incarnation}, a stranger (incarnation)"))
        }
        Event::Restarted { op: OpNumber(0), .. } => {
            (Weight::Turn, format!("{server} is back, its disk empty: a stranger (incarnation)"))
        }
        Event::Restarted { op, .. } => {
            (Weight::Turn, format!("{server} is back with its disk, up to op {op}: a stranger (incarnation)"))
        }
        Event::CameBack { op } => {
            (Weight::Turn, format!("{server} leads with its disk, up to op {op} (recover-highest-view)"))
        }
        Event::ReadsDisk { .. } => (Weight::State, format!("{server} {event}")),
        Event::LogDamaged { .. } => {
            (Weight::Turn, format!("the log of {server} is damaged: it takes all from the others"))
        }
        Event::DiskFailed { .. } => (Weight::Turn, format!("the disk of {server} fails: what it says counts no more")),
        Event::GaveUp { client, seq } => {
            (Weight::Act, format!("client {client} gives up on request {seq}: it may have happened, or not"))
        }
        Event::Operator { what } => (Weight::Act, what.clone()),
        Event::SessionEnded { client, next } => {
            (Weight::Act, format!("client {client} was silent for too long: it goes on as client {next}"))
        }
    }
}

/// A backup knows by then that the primary has no lease of it any more.
fn of_suspicion(rank: Rank, peer: Rank, silent_ms: u64, model: &Model) -> String {
    let status = model.servers().iter().find(|server| server.rank == rank).and_then(|server| server.status());
    let lease = status.and_then(|status| status.silence).map(|silence| Timing::default().lease_of(silence));
    let heard = format!("server {rank} heard nothing from {peer} for {silent_ms} ms");
    match lease.filter(|_| status.is_some_and(|status| status.role == Role::Backup)) {
        Some(lease) => format!("{heard}; a lease lasts {}: {peer} reads no more", lease.as_millis()),
        None => format!("{heard}: longer than a lease lasts"),
    }
}

fn of_role(server: &str, to: Role, view: u64) -> String {
    match to {
        Role::Primary => format!("{server} leads view {view}: who speaks for an older one is refused (fencing)"),
        Role::Backup => format!("{server} is backup in view {view}: no write is answered without its word"),
        Role::Joining => format!("{server} receives the state: it must not lead yet (join-before-count)"),
        Role::Idle => format!("{server} is empty and waits: nobody needs its word"),
        Role::Down => format!("{server} is down: it is silent, and nobody knows why"),
    }
}

fn of_view(view: u64, primary: Rank, reason: &Reason) -> String {
    match reason {
        Reason::Formed => format!("view {view} is formed: all are empty and equal, so server {primary} may lead"),
        Reason::PrimaryDied { primary: dead } => {
            format!("view {view} counts: server {primary} leads it, {} is dead and knows of nothing", dead.rank)
        }
        Reason::PrimarySilent { primary: lost, .. } => {
            format!("view {view} counts: server {primary} leads it, {} is out, whatever it believes", lost.rank)
        }
        Reason::BackupDied { backup } => {
            format!("view {view} counts: writes wait for server {} no more, it is dead", backup.rank)
        }
        Reason::BackupSilent { backup, .. } => {
            format!("view {view} counts: writes wait for server {} no more, and it starts over", backup.rank)
        }
        Reason::Restarted { backup } => {
            format!("view {view} counts: server {} lost its memory, so it is out (incarnation)", backup.rank)
        }
        Reason::Joined { member } => {
            format!("view {view} counts: server {} has everything, and every write needs it now", member.rank)
        }
        Reason::CameBack { from, op, .. } => {
            format!("view {view} counts: server {primary} has the newest disk, op {op} of view {from}")
        }
        Reason::Handover => format!("view {view} counts: server {primary} was handed everything, nothing is lost"),
    }
}

fn of_crash(server: &str, at: Option<(CrashPoint, OpNumber)>, rank: Rank, model: &Model) -> String {
    match at {
        Some((CrashPoint::Arrival, _)) => format!("{server} crashed, and the request with it: nobody else knows of it"),
        Some((CrashPoint::BeforePrepare, op)) => format!("{server} crashed, and op {op} with it: no backup has it"),
        Some((CrashPoint::AfterPrepare, op)) => {
            format!("{server} crashed, but op {op} is on its way: who has it keeps it (tail)")
        }
        Some((CrashPoint::BeforeReply, _)) => {
            format!("{server} crashed before its answer: asked again, done once (sessions)")
        }
        None => {
            let waits = model.members().into_iter().filter(|member| *member != rank);
            let waits = waits.filter_map(|member| Some((member, silence(member, model)?))).next();
            match waits {
                Some((waits, silence)) => {
                    let (lease, silence) = (Timing::default().lease_of(silence).as_millis(), silence.as_millis());
                    format!("{server} crashed: server {waits} waits {silence} ms, longer than a lease of {lease} ms")
                }
                None => format!("{server} crashed: its memory is gone"),
            }
        }
    }
}

/// After how long a silence it suspects somebody.
fn silence(rank: Rank, model: &Model) -> Option<Duration> {
    model.servers().iter().find(|server| server.rank == rank)?.status()?.silence
}

// ---- words -------------------------------------------------------------------------------------------------

/// Rank 0 is the client or the metadata server, as the message has it.
fn name(rank: Rank, kind: MessageKind, model: &Model) -> String {
    let is_asked = matches!(kind, MessageKind::Request | MessageKind::Reply | MessageKind::NotPrimary);
    match rank {
        METADATA if is_asked => "the client".to_owned(),
        METADATA => "metadata".to_owned(),
        Rank(rank) if rank > model.setup.servers => format!("client {rank}"),
        rank => format!("server {rank}"),
    }
}

fn in_short(text: &str) -> String {
    preview(text.as_bytes(), WORDS_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::{CrashCause, Incarnation, Member, View, ViewNumber};
    use crate::core::store::{ClientId, Seq};
    use crate::ui::dashboard::ModelSetup;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    /// With a word of others beside it, a sentence fits into a row.
    const COLUMNS_MAX: usize = 79 - " (+9)".len();

    fn model() -> Model {
        Model::new(ModelSetup { servers: 8, seed: 1, failure_rate: 0.0, animated: false, pace: 1.0 }, Time(0))
    }

    #[track_caller]
    fn fits(sentence: &str) {
        let columns = sentence.chars().count();
        assert!(columns <= COLUMNS_MAX && columns > 20, "{columns} columns: {sentence}");
    }

    #[test]
    fn every_message_has_a_sentence_of_its_own_that_fits() {
        let mut all = BTreeSet::new();
        for kind in MessageKind::ALL {
            let text = format!("{kind} view 1234 op=12345 lease=1000ms part=1234 next=1234 tail=1234");
            for text in [text.clone(), format!("{text} (confirmed)")] {
                let flight = Flight { at: Time(0), to: Rank(8), kind: *kind, text, lost: false };
                let sentence = of_message(Rank(7), &flight, &model());
                fits(&sentence);
                assert!(!sentence.contains('?') || *kind == MessageKind::Confirm, "{sentence}");
                all.insert(sentence);
                fits(&of_loss(Rank(7), &flight));
            }
        }
        assert_eq!(all.len(), MessageKind::ALL.len() + 1, "a wish for a view is no confirmation of it");
    }

    #[test]
    fn every_event_has_a_sentence_of_its_own_that_fits() {
        let member = Member { rank: Rank(8), incarnation: Incarnation(123) };
        let view = Arc::new(View { number: ViewNumber(1_234), epoch: 1, primary: member, backups: vec![] });
        let op = OpNumber(12_345);
        let mut events = vec![
            Event::Suspected { peer: member, silent_ms: 1_000 },
            Event::KnownDead { peer: member },
            Event::Serving { view: view.number, op },
            Event::TransferStarted { to: member, keys: 12_345 },
            Event::TransferDone { to: member, keys: 12_345, op },
            Event::CatchUpStarted { to: member, op, missing: 12_345 },
            Event::Forgot { incarnation: Incarnation(123) },
            Event::Applied { op, client: ClientId::on(9), seq: Seq(12_345) },
            Event::Spared { drawn: 0.1 },
            Event::Recovered { incarnation: Incarnation(123) },
            Event::Restarted { incarnation: Incarnation(123), op: OpNumber(1_234_567) },
            Event::CameBack { op: OpNumber(1_234_567) },
            Event::LogDamaged { what: "what is here is not what was written".into() },
            Event::DiskFailed { what: "No space left on device".into() },
            Event::GaveUp { client: ClientId::on(9), seq: Seq(12_345) },
            Event::SessionEnded { client: ClientId::on(9), next: ClientId::new(9, 0, 12) },
        ];
        for to in [Role::Down, Role::Idle, Role::Joining, Role::Backup, Role::Primary] {
            events.push(Event::RoleChanged { from: Role::Idle, to, view: view.number });
        }
        for reason in [
            Reason::Formed,
            Reason::PrimarySilent { primary: member, silent_ms: 1_000 },
            Reason::BackupSilent { backup: member, silent_ms: 1_000 },
            Reason::PrimaryDied { primary: member },
            Reason::BackupDied { backup: member },
            Reason::Restarted { backup: member },
            Reason::Joined { member },
            Reason::Handover,
            Reason::CameBack { holder: member, from: view.number, op },
        ] {
            events.push(Event::ViewChanged { view: Arc::clone(&view), reason, asked_by: None });
        }
        for point in CrashPoint::ALL.map(Some).into_iter().chain([None]) {
            events.push(Event::Crashed { cause: CrashCause::Command, at: point.map(|point| (point, op)) });
        }
        let sentences: BTreeSet<String> = events
            .iter()
            .map(|event| of_event(Rank(7), event, &model()).1)
            .inspect(|sentence| fits(sentence))
            .collect();
        assert_eq!(sentences.len(), events.len());
    }

    #[test]
    fn whatever_else_is_told_has_a_sentence_that_fits() {
        let (at, rank, took) = (Time(0), Rank(8), Duration::from_millis(999));
        let long = || "PUT color as long as it may be and longer than anybody will ever read".to_owned();
        let order = |control| News::Network { rank, control };
        let told = [
            News::Asked { at, command: long() },
            News::Answered { at, command: long(), reply: long(), took },
            News::Gone { rank },
            News::Stopped { rank, stopped: true },
            News::Stopped { rank, stopped: false },
            order(Control::Cut { peer: Rank(7), cut: true }),
            order(Control::Cut { peer: Rank(7), cut: false }),
            order(Control::Loss { probability: 0.0 }),
            order(Control::Loss { probability: 0.3 }),
            order(Control::Delay { ms: 123.5 }),
            order(Control::Heal),
            order(Control::Crash),
            News::Dropped { from: rank, to: Rank(7), text: long() },
            News::Why(None),
            News::Unsafe(None),
        ];
        let sentences: BTreeSet<String> = told
            .iter()
            .filter_map(|news| caption(&[(at, news.clone())], &model()))
            .inspect(|text| fits(text))
            .collect();
        assert_eq!(sentences.len(), told.len());
    }

    #[test]
    fn of_several_the_one_speaks_that_changes_most() {
        let news = |text: &str| (Time(0), News::Note(text.to_owned()));
        let asked = (Time(0), News::Asked { at: Time(0), command: "GET a".into() });
        let gone = (Time(0), News::Gone { rank: Rank(1) });
        let says = |pieces: &[(Time, News)]| caption(pieces, &model());
        assert_eq!(says(&[]), None);
        assert_eq!(says(&[asked.clone(), news("first"), news("then")]).as_deref(), Some("first (+2)"));
        assert!(says(&[asked, news("first"), gone]).is_some_and(|text| text.starts_with("the process of server 1")));
    }
}
