//! A server with its outbox, and servers in the situations that the cases begin with.

use super::*;

pub const ONE: Member = Member { rank: Rank(1), incarnation: Incarnation(1) };
pub const TWO: Member = Member { rank: Rank(2), incarnation: Incarnation(1) };
pub const CONSOLE: ClientId = ClientId::on(METADATA.0);

/// A server, and what it wanted done by the last call.
pub struct Node {
    pub server: Server,
    pub out: Outbox,
}

impl Node {
    pub fn new(me: Member, config: Config) -> Self {
        Self { server: Server::new(me, config), out: Outbox::default() }
    }

    /// A member of this view since time 0.
    pub fn of(me: Member, view: &Arc<View>) -> Self {
        Self::of_with(me, view, Config::new(3))
    }

    pub fn of_with(me: Member, view: &Arc<View>, config: Config) -> Self {
        let mut node = Self::new(me, config);
        node.tick(at(0));
        node.hear(at(0), METADATA, Message::ViewIs { view: Arc::clone(view) });
        node
    }

    /// The primary of a view with these backups, all of whom have started and granted a lease at time 0.
    pub fn primary(backups: &[Member]) -> Self {
        Self::primary_in(Config::new(3), backups)
    }

    pub fn primary_in(config: Config, backups: &[Member]) -> Self {
        let view = view(1, ONE, backups);
        let mut node = Self::of_with(ONE, &view, config);
        for backup in backups {
            node.hear(at(0), backup.rank, started(view.number, *backup, at(0)));
        }
        node
    }

    /// A backup of server 1, started at time 0.
    pub fn backup() -> Self {
        let view = view(1, ONE, &[TWO]);
        let mut node = Self::of(TWO, &view);
        node.hear(at(0), ONE.rank, start(&view));
        assert_eq!(node.server.role(), Role::Backup);
        node
    }

    pub fn hear(&mut self, now: Time, from: Rank, message: Message) {
        self.out = Outbox::default();
        self.server.handle(now, from, message, &mut self.out);
    }

    pub fn tick(&mut self, now: Time) {
        self.out = Outbox::default();
        self.server.tick(now, &mut self.out);
    }

    /// All lives of that rank before this one are over, for certain.
    pub fn learn_death(&mut self, now: Time, rank: Rank, before: Incarnation) {
        self.out = Outbox::default();
        self.server.died(now, rank, before, &mut self.out);
    }

    pub fn ask(&mut self, now: Time, client: ClientId, seq: u64, command: Command) {
        let request =
            Request { client, seq: Seq(seq), acked: Seq(0), after: Seq(0), epoch: 1, command: command.into() };
        self.hear(now, Rank(client.rank()), Message::Request(request));
    }

    /// What was sent to `to` by the last call.
    pub fn sent(&self, to: Rank) -> Vec<&Message> {
        self.out.sends.iter().filter(|(rank, _)| *rank == to).map(|(_, message)| message).collect()
    }

    pub fn names(&self, to: Rank) -> Vec<&'static str> {
        self.sent(to).into_iter().map(Message::name).collect()
    }

    /// A heartbeat was answered that was sent at `sent`: a lease, and all writes up to `op`.
    pub fn acknowledge(&mut self, now: Time, by: Member, op: u64, sent: Time) {
        let (view, incarnation) = (ViewNumber(1), by.incarnation);
        self.hear(
            now,
            by.rank,
            Message::HeartbeatOk { view, incarnation, op: OpNumber(op), sent, lease: Timing::default().lease },
        );
    }

    pub fn prepare(&mut self, now: Time, op: u64, commit: u64) {
        let entry = entry(op, put("v"));
        self.hear(now, ONE.rank, Message::Prepare { view: ViewNumber(1), commit: OpNumber(commit), entry });
    }
}

/// The console's write number `op`.
pub fn entry(op: u64, command: Command) -> Arc<LogEntry> {
    Arc::new(LogEntry {
        op: OpNumber(op),
        client: CONSOLE,
        seq: Seq(op),
        acked: Seq(0),
        stamp: understudy::core::store::Stamp::default(),
        command,
    })
}

/// A primary begins this view, with nothing written yet.
pub fn start(view: &Arc<View>) -> Message {
    Message::StartView { view: Arc::clone(view), commit: OpNumber(0), tail: Vec::new(), sent: at(0) }
}

/// The answer of this backup, which grants a lease from `sent` on.
pub fn started(view: ViewNumber, backup: Member, sent: Time) -> Message {
    Message::StartViewOk {
        view,
        incarnation: backup.incarnation,
        op: OpNumber(0),
        sent,
        lease: Timing::default().lease,
    }
}

/// The newcomer, server 3, has all parts of the transfer before `next`.
pub fn has_parts(transfer: u64, next: u64) -> Message {
    Message::SnapshotOk { view: ViewNumber(1), incarnation: THREE.incarnation, transfer, next }
}

/// A write of exactly that size.
pub fn mebibyte() -> Command {
    let command = Command::Put { key: Bytes::from("k"), value: Bytes::from(vec![b'v'; (1 << 20) - 1]) };
    assert_eq!(command.size_bytes(), 1 << 20);
    command
}

pub const THREE: Member = Member { rank: Rank(3), incarnation: Incarnation(1) };

/// A primary, alone, with this many keys.
pub fn primary_with(keys: u64) -> Node {
    let mut node = Node::primary(&[]);
    for number in 1..=keys {
        let key = Bytes::from(format!("key{number:06}"));
        node.ask(at(1), CONSOLE, number, Command::Put { key, value: Bytes::from("v") });
    }
    assert_eq!(node.server.store().len() as u64, keys);
    node
}

/// Server 3, told to join.
pub fn joiner() -> Node {
    let mut node = Node::of(THREE, &view(1, ONE, &[]));
    let welcome = Message::Welcome { view: Some(view(1, ONE, &[])), recruit: true };
    assert_eq!(node.server.role(), Role::Idle);
    node.hear(at(2), METADATA, welcome);
    assert_eq!(node.out.events, [Event::RoleChanged { from: Role::Idle, to: Role::Joining, view: ViewNumber(1) }]);
    node.tick(at(2));
    assert_eq!(node.sent(ONE.rank), [&Message::Join { member: THREE, offer: None }]);
    node
}

/// Hands everything that `from` has just sent to `to`, and gives what `to` sends back to that, all of it.
pub fn pass(now: Time, from: &Node, to: &mut Node) -> Vec<Message> {
    let (sender, receiver) = (from.server.member().rank, to.server.member().rank);
    let mut answers = Vec::new();
    for message in from.sent(receiver) {
        to.hear(now, sender, message.clone());
        answers.extend(to.sent(sender).into_iter().cloned());
    }
    answers
}
