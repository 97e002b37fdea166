//! The nodes of the protocol one by one, by hand: messages and time go in, messages and events come out.
//!
//! The simulator's seeds and the transcripts try whole clusters. Here is what they cannot see: what a node does with
//! what no honest peer sends, what it says of itself, and its limits.

use std::sync::Arc;
use std::time::Duration;
use understudy::protocol::server::{LOG_BYTES_MAX, LOG_OPS_MAX, held};
use understudy::protocol::{
    Client, Config, CrashPoint, Doom, Event, Incarnation, METADATA, Member, Message, Metadata, Outbox, Outcome, Rank,
    Reason, Request, Role, Rule, Rules, Server, Time, Timing, View, ViewNumber,
};
use understudy::store::session::SESSIONS_MAX;
use understudy::store::{Bytes, ClientId, Command, LogEntry, OpNumber, Reply, Seq, StoreError};

fn at(ms: u64) -> Time {
    Time::default() + Duration::from_millis(ms)
}

fn member(rank: u32, incarnation: u64) -> Member {
    Member { rank: Rank(rank), incarnation: Incarnation(incarnation) }
}

fn view(number: u64, primary: Member, backups: &[Member]) -> Arc<View> {
    Arc::new(View { number: ViewNumber(number), epoch: 1, primary, backups: backups.to_vec() })
}

fn put(value: &str) -> Command {
    Command::Put { key: Bytes::from("k"), value: Bytes::from(value) }
}

#[test]
fn ranks_are_the_console_then_servers_then_clients() {
    let config = Config { clients: 2, ..Config::new(3) };
    let ranks = |ranks: &mut dyn Iterator<Item = Rank>| ranks.map(|rank| rank.0).collect::<Vec<_>>();
    assert_eq!(config.ranks(), 6);
    assert_eq!(ranks(&mut config.server_ranks()), [1, 2, 3]);
    assert_eq!(ranks(&mut config.client_ranks()), [0, 4, 5]);
    assert_eq!(ranks(&mut Config::new(2).client_ranks()), [0]);
}

#[test]
fn times_are_nanoseconds_and_never_negative() {
    let (early, late) = (at(3), at(7) + Duration::from_micros(5));
    assert_eq!((late - early, early - late), (Duration::from_micros(4_005), Duration::ZERO));
    assert_eq!((late.as_millis(), late.to_string()), (7, "7.005ms".to_owned()));
    assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
}

#[test]
fn a_view_knows_its_members() {
    let view = view(4, TWO, &[ONE, THREE]);
    assert_eq!(view.members().collect::<Vec<_>>(), [TWO, ONE, THREE]);
    assert_eq!((view.member_on(Rank(3)), view.member_on(Rank(4))), (Some(THREE), None));
    assert!(view.contains(ONE) && !view.contains(member(1, 2)));
    let next = view.successor(THREE, [TWO, ONE, TWO]);
    assert_eq!((next.number, next.primary, &next.backups[..]), (ViewNumber(5), THREE, &[ONE, TWO][..]));
    assert_eq!(
        (view.to_string(), next.successor(ONE, []).to_string()),
        ("view 4 primary 2 backups 1,3".into(), "view 6 primary 1 backups none".into())
    );
}

// ---- the client ------------------------------------------------------------------------------------

const CLIENT: ClientId = ClientId(3);

fn client_in(view: &Arc<View>) -> Client {
    let mut client = Client::new(Rank(CLIENT.0), Timing::default());
    client.handle(at(0), Message::ViewIs { view: Arc::clone(view) }, &mut Outbox::default());
    client
}

fn answer(client: ClientId, seq: u64) -> Message {
    Message::Reply { client, seq: Seq(seq), view: ViewNumber(1), reply: Reply::Ok }
}

#[test]
fn a_client_says_since_when_something_of_it_is_running() {
    let (mut client, mut out) = (client_in(&view(1, member(1, 1), &[])), Outbox::default());
    assert_eq!(client.running_since(at(7)), at(7) + Duration::from_nanos(1), "what is asked next");
    let next = client.next_seq();
    assert_eq!(client.submit(at(10), put("a"), &mut out), next);
    client.submit(at(12), put("b"), &mut out);
    assert_eq!(client.running_since(at(20)), at(10));
    client.handle(at(21), answer(CLIENT, 1), &mut out);
    assert_eq!(client.running_since(at(22)), at(12));
}

#[test]
fn answers_to_others_are_not_for_this_client() {
    let (mut client, mut out) = (client_in(&view(1, member(1, 1), &[member(2, 1)])), Outbox::default());
    client.submit(at(10), put("a"), &mut out);
    let newer = Some(view(2, member(2, 1), &[]));
    let other = ClientId(CLIENT.0 + 1);
    client.handle(at(11), answer(other, 1), &mut out);
    client.handle(at(11), Message::NotPrimary { client: other, seq: Seq(1), view: newer.clone() }, &mut out);
    assert_eq!((client.outstanding(), client.view().map(|view| view.number)), (1, Some(ViewNumber(1))));
    client.handle(at(12), Message::NotPrimary { client: CLIENT, seq: Seq(1), view: newer }, &mut out);
    assert_eq!(client.view().map(|view| view.number), Some(ViewNumber(2)));
    client.handle(at(13), answer(CLIENT, 1), &mut out);
    assert_eq!(client.pop_completion().map(|completion| completion.outcome), Some(Outcome::Done(Reply::Ok)));
}

#[test]
fn a_request_says_what_the_client_has_and_which_write_comes_before() {
    let mut client = client_in(&view(1, member(1, 1), &[]));
    let ask = |client: &mut Client, command: Command| {
        let mut out = Outbox::default();
        client.submit(at(10), command, &mut out);
        match &out.sends[..] {
            [(Rank(1), Message::Request(Request { seq, acked, after, .. }))] => (seq.0, acked.0, after.0),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(&mut client, put("a")), (1, 0, 0));
    assert_eq!(ask(&mut client, Command::Count), (2, 0, 1));
    assert_eq!(ask(&mut client, put("b")), (3, 0, 1), "a write waits for no read");
    client.handle(at(11), answer(CLIENT, 1), &mut Outbox::default());
    assert_eq!(ask(&mut client, put("c")), (4, 1, 3));
    (2..=4).for_each(|seq| client.handle(at(12), answer(CLIENT, seq), &mut Outbox::default()));
    assert_eq!(ask(&mut client, put("d")), (5, 4, 0));
}

#[test]
fn a_request_is_repeated_however_late_the_clock_is_looked_at() {
    let (mut client, mut out) = (client_in(&view(1, member(1, 1), &[])), Outbox::default());
    client.submit(at(10), put("a"), &mut out);
    let sent = |client: &mut Client, now: Time| {
        let mut out = Outbox::default();
        client.tick(now, &mut out);
        out.sends.iter().filter(|(to, message)| *to == Rank(1) && matches!(message, Message::Request(_))).count()
    };
    let retry = Timing::default().retry;
    assert_eq!(client.deadline(), at(10) + retry);
    assert_eq!(sent(&mut client, at(10) + retry / 2), 0);
    assert_eq!(sent(&mut client, at(10) + retry * 3), 1);
    let deadline = Timing::default().request_deadline;
    assert_eq!(sent(&mut client, at(10) + deadline * 2), 0);
    assert_eq!(client.pop_completion().map(|completion| completion.outcome), Some(Outcome::Unknown));
    assert_eq!(client.deadline(), Time::NEVER);
}

// ---- the metadata server ---------------------------------------------------------------------------

fn announce(metadata: &mut Metadata, now: Time, member: Member) -> Vec<(Rank, Message)> {
    let (role, view, op) = (Role::Idle, ViewNumber(0), OpNumber(0));
    let mut out = Outbox::default();
    metadata.handle(now, member.rank, Message::Announce { member, role, view, op }, &mut out);
    out.sends
}

/// What the answer to an announcement of `member` says about joining.
fn is_recruited(metadata: &mut Metadata, now: Time, member: Member) -> bool {
    let answers = announce(metadata, now, member);
    let recruit = answers.iter().find_map(|(to, message)| match message {
        Message::Welcome { recruit, .. } if *to == member.rank => Some(*recruit),
        _ => None,
    });
    recruit.expect("every announcement is answered")
}

/// Asks for a view; true when it was accepted.
fn change(metadata: &mut Metadata, from: Rank, to: &Arc<View>, reason: Reason) -> bool {
    let mut out = Outbox::default();
    metadata.handle(at(5_000), from, Message::ChangeView { to: Arc::clone(to), reason }, &mut out);
    let accepted = out.events.iter().any(|event| matches!(event, Event::ViewChanged { .. }));
    assert_eq!(accepted, metadata.view() == Some(to));
    let expected = if accepted { metadata.view().into_iter().count() } else { 0 };
    assert_eq!(out.events.len(), expected);
    accepted
}

/// Servers 1 to `servers` in view 1, all in their first life, with 1 as primary.
fn formed(config: Config) -> Metadata {
    let servers = config.servers;
    let mut metadata = Metadata::new(config);
    for rank in 1..=servers {
        announce(&mut metadata, at(0), member(rank, 1));
    }
    metadata
}

#[test]
fn the_first_view_is_formed_when_all_are_there_or_after_a_while() {
    let mut metadata = Metadata::new(Config::new(3));
    let formation = Timing::default().formation;
    let mut out = Outbox::default();
    metadata.tick(at(1), &mut out);
    assert!(metadata.is_forming());
    assert_eq!(metadata.deadline(), at(1) + formation);
    announce(&mut metadata, at(100), member(1, 1));
    announce(&mut metadata, at(1) + formation / 2, member(3, 1));
    announce(&mut metadata, at(1) + formation, member(2, 1));
    let formed = metadata.view().expect("two of three are there, and it is late").clone();
    assert_eq!((formed.number, formed.epoch), (ViewNumber(1), 1));
    let expected = (member(2, 1), &[member(3, 1)][..]);
    assert_eq!((formed.primary, &formed.backups[..]), expected, "server 1 was last heard too long ago");
    assert!(!metadata.is_forming());
    assert_eq!((metadata.deadline(), metadata.requests()), (Time::NEVER, 3));
}

#[test]
fn when_nobody_is_there_in_time_the_first_to_come_makes_the_view() {
    let mut metadata = Metadata::new(Config::new(2));
    let mut out = Outbox::default();
    metadata.tick(at(1), &mut out);
    metadata.tick(at(1) + Timing::default().formation, &mut out);
    assert_eq!((out.sends.len(), metadata.deadline()), (0, Time::NEVER));
    announce(&mut metadata, at(60_000), member(2, 7));
    assert_eq!(metadata.view().map(|view| view.primary), Some(member(2, 7)));
}

#[test]
fn everybody_is_told_of_a_view_its_primary_first() {
    let mut metadata = formed(Config { clients: 1, ..Config::new(3) });
    let to = view(2, member(2, 1), &[member(3, 1)]);
    let reason = Reason::PrimarySilent { primary: member(1, 1), silent_ms: 60 };
    let mut out = Outbox::default();
    metadata.handle(at(5_000), Rank(2), Message::ChangeView { to: Arc::clone(&to), reason }, &mut out);
    let told: Vec<u32> = out.sends.iter().map(|(rank, _)| rank.0).collect();
    assert_eq!(told, [2, 1, 3, 0, 4]);
    assert!(out.sends.iter().all(|(_, message)| *message == Message::ViewIs { view: Arc::clone(&to) }));
    assert_eq!(metadata.failovers(), 1);
    let record = metadata.records().back().expect("two views were decided");
    assert_eq!((record.at, &record.view, record.reason, record.asked_by), (at(5_000), &to, reason, Some(Rank(2))));
    assert!(metadata.is_client(Rank(4)) && !metadata.is_client(Rank(3)));
}

#[test]
fn only_a_change_that_follows_the_view_and_keeps_its_rules_is_accepted() {
    let (one, two, three) = (member(1, 1), member(2, 1), member(3, 1));
    let metadata = formed(Config { replicas: 2, ..Config::new(3) });
    assert_eq!(metadata.view(), Some(&view(1, one, &[two])));
    let reason = Reason::Handover;
    let asks = |from: u32, to: View| change(&mut metadata.clone(), Rank(from), &Arc::new(to), reason);
    let to = |number, epoch, primary, backups: &[Member]| View {
        number: ViewNumber(number),
        epoch,
        primary,
        backups: backups.to_vec(),
    };
    assert!(asks(1, to(2, 1, one, &[])), "the primary goes on alone");
    assert!(asks(2, to(2, 1, two, &[])), "the backup takes over");
    assert!(asks(2, to(2, 1, two, &[one])), "the backup is handed over to");
    assert!(asks(1, to(2, 1, one, &[two, three])), "the primary brings in another one");
    assert!(!asks(2, to(1, 1, two, &[])), "an old number");
    assert!(!asks(2, to(3, 1, two, &[])), "a number was left out");
    assert!(!asks(2, to(2, 2, two, &[])), "only a RESET begins an epoch");
    assert!(!asks(1, to(2, 1, two, &[])), "asked by another than its primary");
    assert!(!asks(3, to(2, 1, three, &[])), "by no member");
    assert!(!asks(2, to(2, 1, member(2, 2), &[])), "by another life of a member");
    assert!(!asks(1, to(2, 1, one, &[one])), "its own backup");
    assert!(!asks(2, to(2, 1, two, &[three])), "a backup brings in a stranger");
    let mut restarted = metadata.clone();
    announce(&mut restarted, at(4_000), member(2, 2));
    announce(&mut restarted, at(4_000), member(3, 2));
    let of_the_dead = |from, to: View| change(&mut restarted.clone(), Rank(from), &Arc::new(to), reason);
    assert!(!of_the_dead(2, to(2, 1, two, &[])), "the asker has started again since");
    assert!(!of_the_dead(1, to(2, 1, one, &[two, three])), "the newcomer has started again since");
    assert!(of_the_dead(1, to(2, 1, one, &[member(3, 2)])));
}

#[test]
fn a_refused_change_is_answered_with_the_view() {
    let mut metadata = formed(Config::new(2));
    let now = Arc::clone(metadata.view().expect("formed"));
    let mut out = Outbox::default();
    let to = view(3, member(2, 1), &[]);
    metadata.handle(at(1), Rank(2), Message::ChangeView { to, reason: Reason::Handover }, &mut out);
    metadata.handle(at(2), Rank(7), Message::GetView, &mut out);
    let is = Message::ViewIs { view: now };
    assert_eq!(out.sends, [(Rank(2), is.clone()), (Rank(7), is)]);
    assert_eq!((metadata.requests(), metadata.failovers()), (4, 0));
}

#[test]
fn only_servers_announce_themselves_and_only_newer_lives_count() {
    let mut metadata = formed(Config { clients: 1, ..Config::new(2) });
    let before = metadata.known().clone();
    let (role, view, op) = (Role::Idle, ViewNumber(0), OpNumber(0));
    for (from, liar) in [(1, member(2, 9)), (3, member(3, 1)), (0, member(0, 1))] {
        let mut out = Outbox::default();
        metadata.handle(at(9), Rank(from), Message::Announce { member: liar, role, view, op }, &mut out);
        assert!(out.sends.is_empty(), "{liar} by {from}: {:?}", out.sends);
    }
    assert_eq!(metadata.known(), &before);
    announce(&mut metadata, at(10), member(1, 3));
    announce(&mut metadata, at(11), member(1, 2));
    assert_eq!(metadata.known()[&Rank(1)].member, member(1, 3));
    announce(&mut metadata, at(12), member(1, 3));
    assert_eq!(metadata.known()[&Rank(1)].heard, at(12));
}

#[test]
fn a_free_place_is_for_the_lowest_rank_that_waits_for_it() {
    let mut metadata = formed(Config { replicas: 2, ..Config::new(4) });
    assert!(!is_recruited(&mut metadata, at(100), member(3, 1)), "the view is full");
    assert!(change(&mut metadata, Rank(2), &view(2, member(2, 1), &[]), Reason::Handover));
    // Server 1 was removed in this life: it waits for no place, and whoever is heard late is gone.
    let now = at(5_000);
    announce(&mut metadata, now, member(1, 1));
    assert!(is_recruited(&mut metadata, now, member(3, 1)));
    assert!(!is_recruited(&mut metadata, now, member(4, 1)), "server 3 comes before");
    announce(&mut metadata, now, member(1, 2));
    assert!(!is_recruited(&mut metadata, now, member(3, 1)), "in its next life server 1 comes before");
    let later = now + Timing::default().announce * 8;
    assert!(is_recruited(&mut metadata, later, member(4, 1)), "nobody else was heard for long");
}

#[test]
fn a_reset_begins_an_epoch_with_those_who_show_up() {
    let mut metadata = formed(Config::new(3));
    let mut out = Outbox::default();
    metadata.tick(at(90), &mut out);
    metadata.reset(at(100));
    assert!(metadata.is_resetting() && metadata.is_forming());
    let until = at(100) + Timing::default().announce * 3;
    assert_eq!(metadata.deadline(), until);
    announce(&mut metadata, at(150), member(2, 1));
    announce(&mut metadata, at(160), member(3, 2));
    metadata.tick(at(399), &mut out);
    assert_eq!((metadata.view().map(|view| view.epoch), out.events.len()), (Some(1), 0));
    metadata.tick(until, &mut out);
    let expected = View { number: ViewNumber(2), epoch: 2, primary: member(2, 1), backups: vec![member(3, 2)] };
    assert_eq!(metadata.view().map(|view| &**view), Some(&expected));
    assert!(!metadata.is_resetting() && !metadata.is_forming());
}

#[test]
fn the_metadata_server_remembers_so_many_views() {
    use understudy::protocol::metadata::VIEW_RECORDS_MAX;
    let mut metadata = formed(Config::new(2));
    for number in 2..=VIEW_RECORDS_MAX as u64 + 3 {
        assert!(change(&mut metadata, Rank(1), &view(number, member(1, 1), &[]), Reason::Handover));
    }
    assert_eq!(metadata.records().len(), VIEW_RECORDS_MAX);
    assert_eq!(metadata.records().front().map(|record| record.view.number), Some(ViewNumber(4)));
}

// ---- the servers -----------------------------------------------------------------------------------

const ONE: Member = Member { rank: Rank(1), incarnation: Incarnation(1) };
const TWO: Member = Member { rank: Rank(2), incarnation: Incarnation(1) };
const CONSOLE: ClientId = ClientId(METADATA.0);

/// A server, and what it wanted done by the last call.
struct Node {
    server: Server,
    out: Outbox,
}

impl Node {
    fn new(me: Member, config: Config) -> Self {
        Self { server: Server::new(me, config), out: Outbox::default() }
    }

    /// A member of this view since time 0.
    fn of(me: Member, view: &Arc<View>) -> Self {
        Self::of_with(me, view, Config::new(3))
    }

    fn of_with(me: Member, view: &Arc<View>, config: Config) -> Self {
        let mut node = Self::new(me, config);
        node.tick(at(0));
        node.hear(at(0), METADATA, Message::ViewIs { view: Arc::clone(view) });
        node
    }

    /// The primary of a view with these backups, all of whom have started and granted a lease at time 0.
    fn primary(backups: &[Member]) -> Self {
        Self::primary_with(backups, Config::new(3))
    }

    fn primary_with(backups: &[Member], config: Config) -> Self {
        let view = view(1, ONE, backups);
        let mut node = Self::of_with(ONE, &view, config);
        for backup in backups {
            let (view, incarnation, op, sent) = (view.number, backup.incarnation, OpNumber(0), at(0));
            node.hear(at(0), backup.rank, Message::StartViewOk { view, incarnation, op, sent });
        }
        node
    }

    /// A backup of server 1, started at time 0.
    fn backup() -> Self {
        let view = view(1, ONE, &[TWO]);
        let mut node = Self::of(TWO, &view);
        let (commit, tail, sent) = (OpNumber(0), Vec::new(), at(0));
        node.hear(at(0), ONE.rank, Message::StartView { view, commit, tail, sent });
        assert_eq!(node.server.role(), Role::Backup);
        node
    }

    fn hear(&mut self, now: Time, from: Rank, message: Message) {
        self.out = Outbox::default();
        self.server.handle(now, from, message, &mut self.out);
    }

    fn tick(&mut self, now: Time) {
        self.out = Outbox::default();
        self.server.tick(now, &mut self.out);
    }

    fn ask(&mut self, now: Time, client: ClientId, seq: u64, command: Command) {
        let request =
            Request { client, seq: Seq(seq), acked: Seq(0), after: Seq(0), epoch: 1, command: command.into() };
        self.hear(now, Rank(client.0), Message::Request(request));
    }

    /// What was sent to `to` by the last call.
    fn sent(&self, to: Rank) -> Vec<&Message> {
        self.out.sends.iter().filter(|(rank, _)| *rank == to).map(|(_, message)| message).collect()
    }

    fn names(&self, to: Rank) -> Vec<&'static str> {
        self.sent(to).into_iter().map(Message::name).collect()
    }

    /// A heartbeat was answered that was sent at `sent`: a lease, and all writes up to `op`.
    fn acknowledge(&mut self, now: Time, by: Member, op: u64, sent: Time) {
        let (view, incarnation) = (ViewNumber(1), by.incarnation);
        self.hear(now, by.rank, Message::HeartbeatOk { view, incarnation, op: OpNumber(op), sent });
    }

    fn prepare(&mut self, now: Time, op: u64, commit: u64) {
        let (client, seq, acked, command) = (CONSOLE, Seq(op), Seq(0), put("v"));
        let entry = Arc::new(LogEntry { op: OpNumber(op), client, seq, acked, command });
        self.hear(now, ONE.rank, Message::Prepare { view: ViewNumber(1), commit: OpNumber(commit), entry });
    }
}

#[test]
fn a_server_that_is_not_primary_says_who_is() {
    let mut node = Node::new(TWO, Config::new(3));
    let refusal = |view| Message::NotPrimary { client: CONSOLE, seq: Seq(4), view };
    node.ask(at(1), CONSOLE, 4, put("a"));
    assert_eq!(node.out.sends, [(METADATA, refusal(None))]);
    node.hear(at(1), Rank(3), Message::GetView);
    assert!(node.out.sends.is_empty(), "it knows of no view");
    let mut node = Node::backup();
    let view = view(1, ONE, &[TWO]);
    node.ask(at(1), CONSOLE, 4, put("a"));
    assert_eq!(node.out.sends, [(METADATA, refusal(Some(Arc::clone(&view))))]);
    node.hear(at(1), Rank(3), Message::GetView);
    assert_eq!(node.out.sends, [(Rank(3), Message::ViewIs { view: Arc::clone(&view) })]);
    let member = member(3, 1);
    node.hear(at(1), Rank(3), Message::Join { member });
    assert_eq!(node.out.sends, [(Rank(3), Message::Refused { view })]);
    node.hear(at(1), Rank(2), Message::Join { member });
    assert!(node.out.sends.is_empty(), "a server asks for itself");
}

#[test]
fn an_older_view_is_refused_and_a_newer_one_asked_about() {
    let mut node = Node::of(TWO, &view(5, ONE, &[TWO]));
    let heartbeat = |view| Message::Heartbeat { view: ViewNumber(view), commit: OpNumber(0), sent: at(1) };
    node.hear(at(1), Rank(3), heartbeat(4));
    assert_eq!(node.names(Rank(3)), ["Refused"]);
    node.hear(at(1), Rank(3), heartbeat(6));
    assert_eq!(node.names(Rank(3)), ["GetView"]);
    assert_eq!(node.out.sends.len(), 1);
}

#[test]
fn a_server_announces_itself_often_until_it_has_a_place() {
    let timing = Timing::default();
    let announced = |node: &mut Node, now| {
        node.tick(now);
        node.names(METADATA).contains(&"Announce")
    };
    let mut node = Node::new(TWO, Config::new(2));
    assert!(announced(&mut node, at(0)));
    assert!(!announced(&mut node, at(0) + timing.retry / 2));
    assert!(announced(&mut node, at(0) + timing.retry));
    let mut node = Node::primary(&[]);
    node.tick(at(20));
    assert!(!announced(&mut node, at(20) + timing.announce / 2));
    assert!(announced(&mut node, at(20) + timing.announce));
}

#[test]
fn a_server_wants_a_turn_before_it_would_take_itself_for_stalled() {
    let timing = Timing::default();
    let mut node = Node::new(TWO, Config::new(2));
    assert_eq!(node.server.deadline(), Time::default(), "at once");
    node.tick(at(3));
    assert_eq!(node.server.deadline(), at(3) + timing.heartbeat);
    let mut node = Node::backup();
    [20, 40, 49].into_iter().for_each(|ms| node.tick(at(ms)));
    assert_eq!(node.server.deadline(), at(50) + Duration::from_nanos(1), "when it would suspect the primary");
    node.prepare(at(49), 1, 0);
    assert_eq!(node.server.deadline(), Time::default(), "to acknowledge at the end of this turn");
    let mut node = Node::primary(&[TWO]);
    [4, 8].into_iter().for_each(|ms| node.tick(at(ms)));
    assert_eq!(node.server.deadline(), at(14), "to send heartbeats");
}

#[test]
fn a_backup_suspects_after_more_than_the_silence_that_it_observed() {
    let turns = |node: &mut Node, from: u64, to: u64| {
        for ms in (from..to).step_by(10) {
            node.tick(at(ms));
            assert!(node.out.events.is_empty(), "at {ms}");
        }
        node.tick(at(to));
        node.out.events.clone()
    };
    let mut node = Node::backup();
    assert!(turns(&mut node, 0, 50).is_empty());
    assert!(!node.server.has_proposed());
    node.tick(at(51));
    assert_eq!(node.out.events, [Event::Suspected { peer: ONE, silent_ms: 51 }]);
    let (to, reason) = (view(2, TWO, &[]), Reason::PrimarySilent { primary: ONE, silent_ms: 51 });
    let change = Message::ChangeView { to, reason };
    assert_eq!(node.out.sends, [(METADATA, change.clone())]);
    assert!(node.server.has_proposed());
    // From now on it grants no lease; it still acknowledges, and asks again.
    node.hear(at(52), ONE.rank, Message::Heartbeat { view: ViewNumber(1), commit: OpNumber(0), sent: at(52) });
    assert!(node.out.sends.is_empty());
    node.tick(at(60));
    assert!(node.out.sends.is_empty());
    node.tick(at(71));
    assert_eq!(node.sent(METADATA), [&change]);
    assert!(node.out.events.is_empty());
    // A turn may take as long as it takes to be a stall.
    let stall = Timing::default().stall.as_millis() as u64;
    let mut node = Node::backup();
    (0..=3).for_each(|turn| node.tick(at(turn * stall)));
    assert_eq!(node.out.events, [Event::Suspected { peer: ONE, silent_ms: 3 * stall }]);
    // Who was held up has not observed anything.
    let mut node = Node::backup();
    node.tick(at(90));
    assert!(node.out.events.is_empty());
    assert!(turns(&mut node, 100, 140).is_empty());
    node.tick(at(141));
    assert_eq!(node.out.events, [Event::Suspected { peer: ONE, silent_ms: 51 }]);
}

#[test]
fn a_backup_acknowledges_once_a_turn_and_keeps_what_came_too_early() {
    let mut node = Node::backup();
    for op in [1, 2, 4, 5] {
        node.prepare(at(1), op, 1);
        assert!(node.out.sends.is_empty());
    }
    assert_eq!((node.server.op(), node.server.store().op(), node.server.queued()), (OpNumber(2), OpNumber(1), 3));
    node.tick(at(1));
    let (view, incarnation) = (ViewNumber(1), Incarnation(1));
    assert_eq!(node.sent(ONE.rank), [&Message::PrepareOk { view, incarnation, op: OpNumber(2) }]);
    node.tick(at(2));
    assert!(node.sent(ONE.rank).is_empty());
    node.prepare(at(2), 3, 5);
    assert_eq!((node.server.op(), node.server.store().op(), node.server.queued()), (OpNumber(5), OpNumber(5), 0));
    for op in 7..10_000 {
        node.prepare(at(3), op, 5);
    }
    assert_eq!(node.server.queued(), 1024, "not everything that comes too early is kept");
}

#[test]
fn writes_under_way_are_limited_and_so_are_those_that_wait() {
    let mut node = Node::primary(&[TWO]);
    let all = LOG_OPS_MAX + held::HELD_MAX;
    for seq in 1..=all as u64 + 10 {
        node.ask(at(1), CONSOLE, seq, put("v"));
        let prepared = node.names(TWO.rank) == ["Prepare"];
        assert_eq!(prepared, seq as usize <= LOG_OPS_MAX, "request {seq}");
    }
    assert_eq!(node.server.queued(), all);
    node.ask(at(1), CONSOLE, all as u64, put("v"));
    assert_eq!(node.server.queued(), all, "repetitions wait once");
    node.ask(at(1), ClientId(9), 1, Command::Count);
    assert_eq!(node.names(Rank(9)), ["Reply"], "reads need no place in the log");
    node.acknowledge(at(2), TWO, 100, at(1));
    assert_eq!(node.names(METADATA).iter().filter(|name| **name == "Reply").count(), 100);
    assert_eq!(node.names(TWO.rank).iter().filter(|name| **name == "Prepare").count(), 100, "those that waited");
}

/// A write of exactly that size.
fn mebibyte() -> Command {
    let command = Command::Put { key: Bytes::from("k"), value: Bytes::from(vec![b'v'; (1 << 20) - 1]) };
    assert_eq!(command.size_bytes(), 1 << 20);
    command
}

#[test]
fn bytes_under_way_are_limited_too() {
    let mut node = Node::primary(&[TWO]);
    for seq in 1..=200 {
        node.ask(at(1), CONSOLE, seq, mebibyte());
    }
    let (logged, held) = (LOG_BYTES_MAX >> 20, held::HELD_BYTES_MAX >> 20);
    assert_eq!(node.server.queued(), logged + held);
    // What was answered makes room.
    node.acknowledge(at(2), TWO, 3, at(1));
    assert_eq!(node.server.queued(), logged + held - 3);
    for seq in 201..=300 {
        node.ask(at(3), CONSOLE, seq, mebibyte());
    }
    assert_eq!(node.server.queued(), logged + held);
}

#[test]
fn so_many_clients_may_write() {
    let mut node = Node::primary(&[]);
    for client in 10..10 + SESSIONS_MAX as u32 {
        node.ask(at(1), ClientId(client), 1, put("v"));
        assert!(matches!(node.sent(Rank(client))[..], [Message::Reply { reply: Reply::Ok, .. }]));
    }
    let refused = Reply::Error(StoreError::TooManyClients);
    node.ask(at(1), ClientId(9), 1, put("v"));
    assert!(matches!(node.sent(Rank(9))[..], [Message::Reply { reply, .. }] if *reply == refused));
    node.ask(at(1), ClientId(9), 2, Command::Count);
    assert!(matches!(node.sent(Rank(9))[..], [Message::Reply { reply: Reply::Integer(1), .. }]));
    node.ask(at(1), ClientId(10), 2, put("w"));
    assert!(matches!(node.sent(Rank(10))[..], [Message::Reply { reply: Reply::Ok, .. }]));
}

#[test]
fn reads_are_answered_while_every_backup_grants_a_lease() {
    let lease = Timing::default().lease;
    let three = member(3, 1);
    let mut node = Node::primary(&[TWO, three]);
    let answered = |node: &mut Node, now, seq| {
        assert_eq!(node.server.serves_reads(now), node.server.as_primary().expect("it is").lease_until() > now);
        node.ask(now, CONSOLE, seq, Command::Count);
        !node.sent(METADATA).is_empty()
    };
    assert!(answered(&mut node, at(39), 1));
    assert!(!answered(&mut node, at(0) + lease, 2), "the lease has ended");
    assert_eq!(node.server.queued(), 1);
    node.acknowledge(at(41), TWO, 0, at(30));
    assert!(node.sent(METADATA).is_empty(), "server 3 grants none");
    node.acknowledge(at(42), three, 0, at(20));
    assert_eq!(node.names(METADATA), ["Reply"], "what waited is answered");
    assert_eq!(node.server.as_primary().expect("it is").lease_until(), at(60));
    assert_eq!(node.server.queued(), 0);
    node.acknowledge(at(43), three, 0, at(10));
    assert!(answered(&mut node, at(59), 3), "an old answer takes nothing away");
}

#[test]
fn a_primary_crashes_for_the_dice_only_when_a_backup_has_shown_that_it_lives() {
    let doom = Doom { point: CrashPoint::AfterPrepare, drawn: 0.1 };
    let mut node = Node::primary(&[TWO]);
    assert!(!node.server.is_doomed());
    node.server.arm(doom);
    assert!(node.server.is_doomed());
    node.ask(at(5), CONSOLE, 1, put("v"));
    assert_eq!((node.names(TWO.rank), node.server.crashed()), (vec!["Heartbeat"], None));
    assert!(node.server.is_doomed());
    node.acknowledge(at(6), TWO, 0, at(4));
    assert_eq!(node.server.crashed(), None, "that was sent before");
    node.ask(at(6), CONSOLE, 2, put("w"));
    assert_eq!((node.server.queued(), node.out.sends.len()), (1, 0), "others wait");
    node.acknowledge(at(7), TWO, 0, at(5));
    assert_eq!(node.server.crashed(), Some((doom, OpNumber(1))));
    assert_eq!(node.names(TWO.rank), ["Prepare"]);
    // Before its answer: until then it is doomed.
    let doom = Doom { point: CrashPoint::BeforeReply, drawn: 0.1 };
    let mut node = Node::primary(&[TWO]);
    node.server.arm(doom);
    node.ask(at(5), CONSOLE, 1, put("v"));
    node.acknowledge(at(6), TWO, 0, at(5));
    assert_eq!((node.server.is_doomed(), node.server.crashed()), (true, None));
    node.acknowledge(at(7), TWO, 1, at(5));
    assert_eq!((node.server.crashed(), node.names(METADATA).len()), (Some((doom, OpNumber(1))), 0));
    // While it takes over: it may crash as soon as it serves.
    let mut node = Node::of(ONE, &view(1, ONE, &[TWO]));
    node.server.arm(doom);
    node.ask(at(5), CONSOLE, 1, put("v"));
    assert_eq!((node.server.is_doomed(), node.server.queued()), (true, 1));
}

#[test]
fn the_dice_spare_the_last_server_with_the_data() {
    let doom = Doom { point: CrashPoint::AfterPrepare, drawn: 0.1 };
    let is_spared = |node: &mut Node| {
        node.server.arm(doom);
        node.ask(at(5), CONSOLE, 1, put("v"));
        node.out.events == [Event::Spared { drawn: 0.1 }]
    };
    let mut alone = Node::primary(&[]);
    assert!(is_spared(&mut alone));
    assert_eq!((alone.names(METADATA), alone.server.is_doomed()), (vec!["Reply"], false));
    let mut with_newcomer = primary_with(20_000);
    with_newcomer.hear(at(2), THREE.rank, Message::Join { member: THREE });
    let mut restarted = Node::primary(&[TWO]);
    restarted.hear(at(2), TWO.rank, Message::Join { member: member(2, 2) });
    for node in [&mut with_newcomer, &mut restarted] {
        let before = node.server.op();
        node.server.arm(doom);
        node.ask(at(5), ClientId(9), 1, put("v"));
        assert_eq!(node.out.events, [Event::Spared { drawn: 0.1 }]);
        assert_eq!(node.server.op(), before.next());
    }
    // Where a crashed server comes back by itself, it is waited for, but not for ever.
    let dice_patience = Duration::from_millis(100);
    let mut node = Node::primary_with(&[], Config { dice_patience, ..Config::new(3) });
    assert!(!is_spared(&mut node));
    for ms in [15, 30, 45, 60, 75, 90, 105] {
        node.tick(at(ms));
        assert!(node.out.events.is_empty() && node.server.is_doomed(), "at {ms}");
    }
    node.tick(at(106));
    assert_eq!((node.out.events.len(), node.names(METADATA).contains(&"Reply")), (1, true));
}

#[test]
fn a_primary_is_rid_of_a_backup_that_has_started_again_and_of_no_other() {
    let mut node = Node::primary(&[TWO]);
    assert!(!node.server.has_proposed());
    node.hear(at(2), TWO.rank, Message::Join { member: TWO });
    assert!(node.out.sends.is_empty(), "this life is a member");
    node.hear(at(2), TWO.rank, Message::Join { member: member(2, 2) });
    let (to, reason) = (view(2, ONE, &[]), Reason::Restarted { backup: TWO });
    assert_eq!(node.out.sends, [(METADATA, Message::ChangeView { to, reason })]);
    assert!(node.server.has_proposed());
}

#[test]
fn rules_can_be_switched_at_any_time() {
    let mut node = Node::of(TWO, &view(5, ONE, &[TWO]));
    node.server.set_rules(Rules::without(&[Rule::Fencing]));
    let (commit, tail, sent) = (OpNumber(0), Vec::new(), at(0));
    node.hear(at(0), ONE.rank, Message::StartView { view: view(5, ONE, &[TWO]), commit, tail, sent });
    node.hear(at(1), Rank(3), Message::Heartbeat { view: ViewNumber(4), commit: OpNumber(0), sent: at(1) });
    assert_eq!(node.names(ONE.rank), ["HeartbeatOk"], "an older view counts");
    let mut primary = Node::primary(&[TWO]);
    primary.server.set_rules(Rules::without(&[Rule::Incarnation]));
    primary.hear(at(2), TWO.rank, Message::Join { member: member(2, 2) });
    assert!(primary.out.sends.is_empty(), "one life is as good as the other");
    let mut metadata = formed(Config::new(2));
    metadata.set_rules(Rules::without(&[Rule::Incarnation]));
    let of_another_life = view(2, member(2, 2), &[]);
    assert!(change(&mut metadata, Rank(2), &of_another_life, Reason::Handover));
}

#[test]
fn what_a_new_primary_does_not_take_over_makes_room() {
    let mut node = Node::of(THREE, &view(1, ONE, &[TWO, THREE]));
    let start = |view: &Arc<View>| {
        let (view, commit, tail, sent) = (Arc::clone(view), OpNumber(0), Vec::new(), at(0));
        Message::StartView { view, commit, tail, sent }
    };
    node.hear(at(0), ONE.rank, start(&view(1, ONE, &[TWO, THREE])));
    for op in 1..=10 {
        let (client, seq, acked, command) = (CONSOLE, Seq(op), Seq(0), mebibyte());
        let entry = Arc::new(LogEntry { op: OpNumber(op), client, seq, acked, command });
        node.hear(at(1), ONE.rank, Message::Prepare { view: ViewNumber(1), commit: OpNumber(0), entry });
    }
    assert_eq!(node.server.op(), OpNumber(10));
    node.hear(at(2), TWO.rank, start(&view(2, TWO, &[THREE])));
    assert_eq!(node.server.op(), OpNumber(0));
    node.hear(at(3), METADATA, Message::ViewIs { view: view(3, THREE, &[TWO]) });
    let (view, incarnation, op, sent) = (ViewNumber(3), TWO.incarnation, OpNumber(0), at(3));
    node.hear(at(3), TWO.rank, Message::StartViewOk { view, incarnation, op, sent });
    for seq in 1..=100 {
        node.ask(at(4), CONSOLE, seq, mebibyte());
    }
    assert_eq!(node.server.op(), OpNumber(LOG_BYTES_MAX as u64 >> 20));
}

#[test]
fn only_a_primary_with_a_backup_hands_over_and_says_why_it_cannot() {
    assert!(Node::backup().server.swap(at(1)).unwrap_err().contains("is not primary"));
    assert!(Node::primary(&[]).server.swap(at(1)).unwrap_err().contains("no backup"));
    let mut node = Node::primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, put("v"));
    assert_eq!(node.server.swap(at(1)), Ok(()));
    assert!(node.server.swap(at(1)).unwrap_err().contains("busy"));
    node.ask(at(2), CONSOLE, 2, put("w"));
    assert_eq!(node.server.queued(), 2, "one is under way, one waits for the new primary");
    node.acknowledge(at(3), TWO, 1, at(2));
    assert_eq!(node.sent(TWO.rank), [&Message::Handover { view: ViewNumber(1), op: OpNumber(1) }]);
    assert!(!node.server.serves_reads(at(3)), "the other may be primary already");
    // It is told again; when nothing comes of it, the metadata server is asked to settle it.
    let handovers = |node: &mut Node, from: u64, to: u64| -> Vec<u64> {
        let told = |ms: &u64| {
            node.tick(at(*ms));
            let told = node.names(TWO.rank).contains(&"Handover");
            assert!(!node.names(METADATA).contains(&"ChangeView"), "at {ms}");
            node.acknowledge(at(*ms), TWO, 1, at(*ms));
            told
        };
        (from..to).filter(told).collect()
    };
    assert_eq!(handovers(&mut node, 4, 103), [23, 43, 63, 83]);
    let mut undecided = Node { server: node.server.clone(), out: Outbox::default() };
    undecided.tick(at(103));
    let (to, reason) = (view(2, ONE, &[TWO]), Reason::Handover);
    assert!(undecided.sent(METADATA).contains(&&Message::ChangeView { to, reason }));
    node.hear(at(104), METADATA, Message::ViewIs { view: view(2, TWO, &[ONE]) });
    assert_eq!((node.server.role(), node.names(TWO.rank)), (Role::Backup, vec!["Request"]));
    // A backup that cannot be reached: everything goes on as before.
    let mut node = Node::primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, put("v"));
    assert_eq!(node.server.swap(at(1)), Ok(()));
    for ms in (10..=100).step_by(10) {
        node.tick(at(ms));
        node.acknowledge(at(ms), TWO, 0, at(ms));
        assert!(node.server.swap(at(ms)).unwrap_err().contains("busy"), "at {ms}");
    }
    node.tick(at(110));
    assert!(node.server.serves_reads(at(110)));
    assert_eq!(node.server.swap(at(110)), Ok(()), "it has stopped handing over");
}

// ---- the transfer of the state -----------------------------------------------------------------------

const THREE: Member = Member { rank: Rank(3), incarnation: Incarnation(1) };

/// A primary, alone, with so many keys.
fn primary_with(keys: u64) -> Node {
    let mut node = Node::primary(&[]);
    for number in 1..=keys {
        let key = Bytes::from(format!("key{number:06}"));
        node.ask(at(1), CONSOLE, number, Command::Put { key, value: Bytes::from("v") });
    }
    assert_eq!(node.server.store().len() as u64, keys);
    node
}

/// Server 3, told to join.
fn joiner() -> Node {
    let mut node = Node::of(THREE, &view(1, ONE, &[]));
    let welcome = Message::Welcome { view: Some(view(1, ONE, &[])), recruit: true };
    assert_eq!(node.server.role(), Role::Idle);
    node.hear(at(2), METADATA, welcome);
    assert_eq!(node.out.events, [Event::RoleChanged { from: Role::Idle, to: Role::Joining, view: ViewNumber(1) }]);
    node.tick(at(2));
    assert_eq!(node.sent(ONE.rank), [&Message::Join { member: THREE }]);
    node
}

/// Hands everything that `from` has just sent to `to`, and gives what `to` sends back to that, all of it.
fn pass(now: Time, from: &Node, to: &mut Node) -> Vec<Message> {
    let (sender, receiver) = (from.server.member().rank, to.server.member().rank);
    let mut answers = Vec::new();
    for message in from.sent(receiver) {
        to.hear(now, sender, message.clone());
        answers.extend(to.sent(sender).into_iter().cloned());
    }
    answers
}

#[test]
fn a_server_joins_with_all_the_data_and_not_before() {
    let (mut primary, mut joiner) = (primary_with(5), joiner());
    assert_eq!((joiner.server.generation(), joiner.server.receiving(), joiner.server.holds_data()), (0, None, false));
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE });
    assert_eq!(primary.out.events, [Event::TransferStarted { to: THREE, keys: 5 }]);
    let parts = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(primary.names(THREE.rank), ["Snapshot", "Snapshot"], "the keys, and the end");
    joiner.hear(at(3), ONE.rank, parts[0].clone());
    assert_eq!((joiner.server.receiving(), joiner.server.store().len()), (Some(5), 0));
    let ok = |next| {
        let (view, incarnation) = (ViewNumber(1), THREE.incarnation);
        Message::SnapshotOk { view, incarnation, transfer: (1 << 32) + 1, next }
    };
    assert_eq!(joiner.sent(ONE.rank), [&ok(1)]);
    joiner.hear(at(3), ONE.rank, parts[0].clone());
    assert_eq!(joiner.sent(ONE.rank), [&ok(1)], "a part that comes twice counts once");
    joiner.hear(at(3), ONE.rank, parts[1].clone());
    assert_eq!((joiner.server.receiving(), joiner.server.store().len()), (None, 5));
    assert_eq!((joiner.server.generation(), joiner.server.holds_data()), (1, false));
    // What is written meanwhile follows, and is not answered before the newcomer has it.
    primary.ask(at(4), CONSOLE, 6, put("late"));
    assert_eq!((primary.names(THREE.rank), primary.names(METADATA).len()), (vec!["Prepare"], 0));
    assert!(pass(at(4), &primary, &mut joiner).is_empty());
    joiner.tick(at(4));
    assert_eq!(joiner.names(ONE.rank), ["PrepareOk"]);
    primary.hear(at(5), THREE.rank, ok(2));
    let heartbeat = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    assert!(matches!(heartbeat[..], [Message::Heartbeat { sent, .. }] if sent == at(5)), "its lease is missing");
    let grants = pass(at(5), &primary, &mut joiner);
    assert!(matches!(grants[..], [Message::HeartbeatOk { op: OpNumber(6), sent, .. }] if sent == at(5)));
    let mut late = Node { server: primary.server.clone(), out: Outbox::default() };
    late.hear(at(5) + Timing::default().lease, THREE.rank, grants[0].clone());
    assert!(late.out.events.is_empty(), "the lease has ended when it comes");
    primary.hear(at(6), THREE.rank, grants[0].clone());
    assert_eq!(primary.out.events, [Event::TransferDone { to: THREE, keys: 5, op: OpNumber(5) }]);
    assert_eq!(primary.names(METADATA), ["ChangeView", "Reply"], "both are safe from here on");
    let accepted = view(2, ONE, &[THREE]);
    joiner.hear(at(7), METADATA, Message::ViewIs { view: accepted });
    assert_eq!((joiner.server.role(), joiner.server.holds_data(), joiner.server.generation()), (Role::Backup, true, 1));
}

#[test]
fn a_transfer_sends_no_more_than_is_taken() {
    let mut primary = primary_with(20_000);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE });
    assert_eq!(primary.names(THREE.rank), ["Snapshot"; 4]);
    let sent = |primary: &Node| {
        let (to, keys) = primary.server.as_primary().expect("it is").transfers().next().expect("one runs");
        assert_eq!(to, THREE);
        keys
    };
    let first = sent(&primary);
    assert!((1..20_000).contains(&first), "{first}");
    let ok = |transfer, next| {
        let (view, incarnation) = (ViewNumber(1), THREE.incarnation);
        Message::SnapshotOk { view, incarnation, transfer, next }
    };
    let transfer = (1 << 32) + 1;
    primary.hear(at(3), THREE.rank, ok(transfer, 3));
    assert_eq!(primary.names(THREE.rank), ["Snapshot"; 3]);
    assert!(sent(&primary) > first);
    for (stranger, next) in [(transfer, 3), (transfer, 2), (transfer, 9), (transfer + 1, 4), (transfer - 1, 4)] {
        primary.hear(at(4), THREE.rank, ok(stranger, next));
        assert!(primary.out.sends.is_empty(), "transfer {stranger}, next {next}");
    }
    // What is not acknowledged comes again, ever more rarely; a newcomer that stays silent is let go.
    let again = |primary: &mut Node, ms| {
        primary.tick(at(ms));
        primary.names(THREE.rank).len()
    };
    let retry = Timing::default().retry.as_millis() as u64;
    let repeated: Vec<u64> = (4..300).filter(|ms| again(&mut primary, *ms) == 4).collect();
    assert_eq!(repeated, [3 + retry, 3 + 2 * retry, 3 + 4 * retry, 3 + 8 * retry]);
    assert_eq!(primary.server.as_primary().expect("it is").transfers().count(), 1);
    let silence = Timing::default().silence.as_millis() as u64;
    (300..=4 + 6 * silence).for_each(|ms| primary.tick(at(ms)));
    assert_eq!(primary.server.as_primary().expect("it is").transfers().count(), 1);
    primary.tick(at(5 + 6 * silence));
    assert_eq!(primary.server.as_primary().expect("it is").transfers().count(), 0);
}

#[test]
fn a_newcomer_asks_again_and_begins_each_transfer_in_a_new_life() {
    let timing = Timing::default();
    let mut node = joiner();
    let asks = |node: &mut Node, now| {
        node.tick(now);
        node.names(ONE.rank).contains(&"Join")
    };
    assert!(!asks(&mut node, at(2) + timing.retry / 2));
    assert!(asks(&mut node, at(2) + timing.retry));
    // While parts arrive it does not ask.
    let mut primary = primary_with(20_000);
    primary.hear(at(30), THREE.rank, Message::Join { member: THREE });
    let parts = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    node.hear(at(30), ONE.rank, parts[0].clone());
    assert!(!asks(&mut node, at(30) + timing.retry * 10));
    assert!(asks(&mut node, at(31) + timing.retry * 10));
    // Another transfer than the one that has begun: everything is forgotten.
    primary.hear(at(300), THREE.rank, Message::Join { member: THREE });
    assert!(primary.out.sends.is_empty(), "it is being served");
    let Message::Snapshot { view, transfer, index, part } = parts[0].clone() else { unreachable!() };
    let newer = Message::Snapshot { view, transfer: transfer + 1, index, part };
    node.hear(at(301), Rank(2), newer.clone());
    assert_eq!(node.server.member(), THREE, "from somebody who is not primary");
    node.hear(at(302), ONE.rank, newer);
    assert_eq!(node.out.events, [Event::Forgot { incarnation: Incarnation(2) }]);
    assert_eq!((node.server.member(), node.server.receiving()), (member(3, 2), None));
    assert_eq!(node.server.generation(), 1);
    // A life that has had its transfer gets no other one.
    for ms in (300..1_000).step_by(10) {
        primary.tick(at(ms));
    }
    primary.hear(at(1_000), THREE.rank, Message::Join { member: THREE });
    let start_over = Message::StartOver { view: ViewNumber(1), incarnation: THREE.incarnation };
    assert_eq!(primary.sent(THREE.rank), [&start_over]);
    node.hear(at(1_001), ONE.rank, start_over);
    assert_eq!(node.server.member(), member(3, 2), "that was said to an earlier life");
    let to_this = Message::StartOver { view: ViewNumber(1), incarnation: Incarnation(2) };
    node.hear(at(1_002), ONE.rank, to_this);
    assert_eq!(node.server.member(), member(3, 3));
    primary.hear(at(1_003), THREE.rank, Message::Join { member: member(3, 3) });
    assert_eq!(primary.names(THREE.rank), ["Snapshot"; 4]);
}

#[test]
fn a_server_tells_which_keys_have_changed() {
    let mut node = Node::primary(&[]);
    node.server.store_mut().watch(10);
    node.ask(at(1), CONSOLE, 1, put("v"));
    assert_eq!(node.server.store_mut().take_changed_if_any(), Some(vec![Bytes::from("k")]));
}

#[test]
fn a_server_without_a_place_keeps_its_life_and_may_be_sent_away_again() {
    let mut node = joiner();
    node.hear(at(3), METADATA, Message::ViewIs { view: view(2, ONE, &[TWO]) });
    assert_eq!((node.server.member(), node.out.events.len()), (THREE, 0), "it has nothing to forget");
    node.hear(at(4), METADATA, Message::Welcome { view: None, recruit: false });
    assert_eq!(node.server.role(), Role::Idle);
    assert_eq!(node.out.events, [Event::RoleChanged { from: Role::Joining, to: Role::Idle, view: ViewNumber(2) }]);
}

#[test]
fn a_newcomer_listens_only_to_where_its_state_comes_from() {
    let (mut primary, mut node) = (primary_with(3_000), joiner());
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE });
    let parts = primary.sent(THREE.rank).into_iter().cloned().collect::<Vec<_>>();
    let heartbeat = |view| Message::Heartbeat { view: ViewNumber(view), commit: OpNumber(0), sent: at(3) };
    let entry = |op| {
        let (client, seq, acked, command) = (CONSOLE, Seq(op), Seq(0), put("late"));
        Arc::new(LogEntry { op: OpNumber(op), client, seq, acked, command })
    };
    let prepare = |view, op| Message::Prepare { view: ViewNumber(view), commit: OpNumber(0), entry: entry(op) };
    let is_deaf = |node: &mut Node, from: Rank, view, op| {
        let before = node.server.op();
        node.hear(at(3), from, heartbeat(view));
        let granted = !node.out.sends.is_empty();
        node.hear(at(3), from, prepare(view, op));
        node.tick(at(3));
        !granted && !node.names(from).contains(&"PrepareOk") && node.server.op() == before
    };
    node.hear(at(3), ONE.rank, parts[0].clone());
    assert!(is_deaf(&mut node, ONE.rank, 1, 1), "it has not got everything yet");
    // An older transfer counts for nothing; a view of the same primary changes nothing.
    let Message::Snapshot { view: number, transfer, index, part } = parts[1].clone() else { unreachable!() };
    node.hear(at(3), ONE.rank, Message::Snapshot { view: number, transfer: transfer - 1, index, part });
    assert!(node.out.sends.is_empty());
    node.hear(at(3), METADATA, Message::ViewIs { view: view(2, ONE, &[TWO]) });
    assert!(node.server.receiving().is_some() && node.out.events.is_empty());
    for part in &parts[1..] {
        let Message::Snapshot { transfer, index, part, .. } = part.clone() else { unreachable!() };
        node.hear(at(4), ONE.rank, Message::Snapshot { view: ViewNumber(2), transfer, index, part });
    }
    assert_eq!((node.server.receiving(), node.server.store().len()), (None, 3_000));
    assert!(is_deaf(&mut node, TWO.rank, 2, 3_001), "server 2 is a backup");
    assert!(!is_deaf(&mut node, ONE.rank, 2, 3_001));
    node.hear(at(5), METADATA, Message::ViewIs { view: view(3, TWO, &[]) });
    assert_eq!(node.server.member(), member(3, 2), "of another primary it can get nothing more of that");
}

#[test]
fn a_server_that_receives_the_state_holds_no_write_up() {
    let mut primary = primary_with(20_000);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE });
    primary.ask(at(3), ClientId(9), 1, put("v"));
    assert_eq!((primary.names(Rank(9)), primary.names(THREE.rank).len()), (vec!["Reply"], 0));
}

#[test]
fn a_new_epoch_begins_empty_with_the_same_lives_of_its_members() {
    let epoch = |number: u64, backups: &[Member]| {
        let (number, epoch, primary, backups) = (ViewNumber(number), 2, ONE, backups.to_vec());
        Message::ViewIs { view: Arc::new(View { number, epoch, primary, backups }) }
    };
    let written = || {
        let mut node = Node::backup();
        node.prepare(at(1), 1, 1);
        assert_eq!(node.server.store().len(), 1);
        node
    };
    let mut stays = written();
    stays.hear(at(2), METADATA, epoch(2, &[TWO]));
    assert_eq!((stays.server.member(), stays.server.role(), stays.server.store().len()), (TWO, Role::Backup, 0));
    let mut goes = written();
    goes.hear(at(2), METADATA, epoch(2, &[THREE]));
    assert_eq!((goes.server.member(), goes.server.role(), goes.server.store().len()), (member(2, 2), Role::Idle, 0));
}

#[test]
fn what_is_not_acknowledged_is_sent_again_ever_more_rarely() {
    let mut node = Node::primary(&[TWO]);
    node.ask(at(1), CONSOLE, 1, put("v"));
    let repeated = |node: &mut Node, from: u64, to: u64, op: u64| -> Vec<u64> {
        let is_sent = |ms: &u64| {
            // Heartbeats arrive and are answered all the while.
            node.acknowledge(at(*ms), TWO, op, at(*ms));
            node.tick(at(*ms));
            node.names(TWO.rank).contains(&"Prepare")
        };
        (from..to).filter(is_sent).collect()
    };
    assert_eq!(repeated(&mut node, 2, 320, 0), [20, 40, 80, 160]);
    assert_eq!(repeated(&mut node, 320, 640, 0), [320, 480], "at most eight times as rarely");
    assert!(repeated(&mut node, 640, 1_000, 1).is_empty());
    node.ask(at(1_000), CONSOLE, 2, put("w"));
    assert!(!repeated(&mut node, 1_001, 1_021, 1).is_empty(), "when nothing is missing it does not grow patient");
}

#[test]
fn a_view_of_its_own_takes_no_lease_from_a_primary() {
    let mut node = Node::primary(&[TWO, THREE]);
    let until = |node: &Node| node.server.as_primary().expect("it is").lease_until();
    node.acknowledge(at(10), TWO, 0, at(9));
    assert_eq!(until(&node), at(40));
    node.hear(at(11), METADATA, Message::ViewIs { view: view(2, ONE, &[TWO]) });
    assert_eq!((until(&node), node.names(TWO.rank)), (at(49), vec!["StartView"]));
    node.hear(at(12), METADATA, Message::ViewIs { view: view(3, ONE, &[]) });
    assert_eq!(until(&node), Time::NEVER);
}

#[test]
fn a_newcomer_that_falls_silent_at_the_end_holds_writes_up_for_a_moment_only() {
    let mut primary = primary_with(5);
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE });
    primary.ask(at(3), ClientId(9), 1, put("v"));
    assert_eq!((primary.names(THREE.rank), primary.names(Rank(9)).len()), (vec!["Prepare"], 0));
    for ms in 4..=52 {
        primary.tick(at(ms));
        assert!(primary.names(Rank(9)).is_empty(), "at {ms}");
    }
    primary.tick(at(53));
    assert_eq!((primary.names(Rank(9)), primary.server.has_proposed()), (vec!["Reply"], false));
}

#[test]
fn what_is_written_while_the_state_is_sent_is_sent_again() {
    let (mut primary, mut node) = (primary_with(20_000), joiner());
    primary.hear(at(2), THREE.rank, Message::Join { member: THREE });
    let mut answers = pass(at(2), &primary, &mut node);
    let rewritten = Command::Put { key: Bytes::from("key000001"), value: Bytes::from("again") };
    primary.ask(at(3), ClientId(9), 1, rewritten);
    assert_eq!(primary.names(Rank(9)), ["Reply"]);
    while node.server.receiving().is_some() {
        let mut next = Vec::new();
        for answer in answers {
            primary.hear(at(4), THREE.rank, answer);
            next.extend(pass(at(4), &primary, &mut node));
        }
        assert!(!next.is_empty(), "the transfer has come to a stop");
        answers = next;
    }
    assert_eq!(node.server.member(), THREE, "nothing was wrong with it");
    assert_eq!(node.server.store().full_digest(), primary.server.store().full_digest());
}
