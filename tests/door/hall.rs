//! A whole door without a socket: connections as a test holds them, and a store behind them.

use std::collections::VecDeque;
use std::time::Duration;
use understudy::core::protocol::{Outcome, Time};
use understudy::core::store::{Bytes, ClientId, Command, LogEntry, OpNumber, Seq, Store};
use understudy::door::connection::{Id, PIPELINE_MAX};
use understudy::door::hall::{ANSWER_DEADLINE, Hall};
use understudy::door::settings::Settings;

/// A door, and a store that answers when it is told to.
struct House {
    hall: Hall,
    store: Store,
    now: Time,
    /// Commands that were taken.
    taken: VecDeque<(u64, Command)>,
}

impl House {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(password: Option<&str>) -> Self {
        let settings = Settings::new(password.map(Bytes::from), 6379, "127.0.0.1");
        let now = Time(1);
        Self { hall: Hall::new(settings, now), store: Store::default(), now, taken: VecDeque::new() }
    }

    fn come(&mut self) -> Id {
        let address = "127.0.0.1:7".parse().expect("an address");
        self.hall.accept(self.now, address, address)
    }

    /// A client says something; nothing is answered by the cluster yet.
    fn send(&mut self, id: Id, bytes: &str) {
        self.hall.received(self.now, id, bytes.as_bytes());
        self.take();
    }

    fn take(&mut self) {
        while let Some(order) = self.hall.next_order() {
            self.taken.push_back(order);
        }
    }

    /// The cluster answers all that it was asked, as long as there is something.
    fn work(&mut self) {
        loop {
            self.hall.tick(self.now);
            self.take();
            let Some((ticket, command)) = self.taken.pop_front() else { return };
            let reply = if command.is_read() {
                self.store.read(&command)
            } else {
                let op = self.store.op().next();
                let (client, seq) = (ClientId::on(0), Seq(op.0));
                self.store.apply(LogEntry {
                    op: OpNumber(op.0),
                    client,
                    seq,
                    acked: Seq(0),
                    stamp: Default::default(),
                    command,
                })
            };
            self.hall.answered(self.now, ticket, &Outcome::Done(reply));
        }
    }

    /// What a client has been told since the last time.
    fn told(&mut self, id: Id) -> String {
        let out = self.hall.connection(id).map(|connection| std::mem::take(&mut connection.out)).unwrap_or_default();
        self.hall.sent(id);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Says something, lets the cluster work, and returns the answer.
    fn ask(&mut self, id: Id, line: &str) -> String {
        self.send(id, &format!("{line}\r\n"));
        self.work();
        self.told(id)
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.hall.tick(self.now);
        self.take();
    }
}

#[test]
fn requests_in_one_write_are_answered_in_order_and_see_what_came_before() {
    let mut house = House::new();
    let id = house.come();
    house.send(id, "SET k 1\r\nPING\r\nGET k\r\nECHO x\r\nINCR k\r\n");
    assert_eq!(house.told(id), "", "PING waits for its turn");
    house.work();
    assert_eq!(house.told(id), "+OK\r\n+PONG\r\n$1\r\n1\r\n$1\r\nx\r\n:2\r\n");
}

#[test]
fn a_read_does_not_see_what_comes_behind_it() {
    let mut house = House::new();
    let id = house.come();
    house.ask(id, "SET k 1");
    house.send(id, "GET k\r\nGET k\r\nSET k 2\r\nGET k\r\nMULTI\r\nINCR k\r\nEXEC\r\nGET k\r\n");
    let taken: Vec<_> = house.taken.iter().map(|(_, command)| command.name()).collect();
    assert_eq!(taken, ["GET", "GET"], "a primary may answer them after anything that it has been sent");
    house.work();
    let answers = "$1\r\n1\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n+OK\r\n+QUEUED\r\n*1\r\n:3\r\n$1\r\n3\r\n";
    assert_eq!(house.told(id), answers);
    // A read that nobody answers does not hold up its client for ever.
    house.send(id, "GET k\r\nINCR k\r\n");
    assert_eq!(house.taken.pop_front().map(|(_, command)| command.name()), Some("GET"));
    house.pass(ANSWER_DEADLINE);
    house.work();
    assert!(house.told(id).ends_with("\r\n:4\r\n"));
}

#[test]
fn who_waits_for_a_list_does_not_mind_something_else_in_its_place() {
    let mut house = House::new();
    let (one, pusher) = (house.come(), house.come());
    assert_eq!(house.ask(one, "BLPOP l 0"), "");
    for line in ["MULTI", "LPUSH l a", "DEL l", "SET l foo", "EXEC"] {
        house.ask(pusher, line);
    }
    assert_eq!(house.told(one), "");
    house.ask(pusher, "DEL l");
    house.ask(pusher, "LPUSH l b");
    assert_eq!(house.told(one), "*2\r\n$1\r\nl\r\n$1\r\nb\r\n");
    house.ask(pusher, "SET l foo");
    assert!(house.ask(one, "BLPOP l 0").starts_with("-WRONGTYPE"), "at once");
}

#[test]
fn who_wants_no_replies_still_waits_for_what_it_pops() {
    let mut house = House::new();
    let (one, pusher) = (house.come(), house.come());
    house.ask(one, "CLIENT REPLY OFF");
    // The read is under way, and has no place among the replies.
    house.send(one, "GET k\r\nBLPOP l 0\r\nSET done 1\r\n");
    house.work();
    assert_eq!(house.ask(pusher, "GET done"), "$-1\r\n", "the pop has not come back");
    assert_eq!(house.ask(pusher, "LPUSH l a"), ":1\r\n");
    house.work();
    assert_eq!(house.ask(pusher, "GET done"), "$1\r\n1\r\n");
    assert_eq!(house.ask(pusher, "LLEN l"), ":0\r\n");
    assert_eq!(house.told(one), "");
}

#[test]
fn an_unknown_command_is_refused_as_redis_does() {
    let mut house = House::new();
    let id = house.come();
    assert_eq!(house.ask(id, "foo a b"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n");
    assert_eq!(house.ask(id, "GET"), "-ERR wrong number of arguments for 'get' command\r\n");
    assert_eq!(house.ask(id, "select"), "-ERR wrong number of arguments for 'select' command\r\n");
    assert_eq!(house.ask(id, "SELECT 16"), "-ERR DB index is out of range\r\n");
}

#[test]
fn who_waits_too_long_is_told_that_nobody_knows_and_may_go_on() {
    let mut house = House::new();
    let id = house.come();
    house.send(id, "INCR n\r\n");
    assert_eq!(house.taken.len(), 1);
    house.pass(ANSWER_DEADLINE - Duration::from_millis(1));
    assert_eq!(house.told(id), "");
    house.pass(Duration::from_millis(1));
    assert_eq!(house.told(id), "-ERR no server has answered in time: it may or may not have happened\r\n");
    // The answer comes after all: to nobody.
    house.work();
    assert_eq!(house.told(id), "");
    assert_eq!(house.ask(id, "GET n"), "$1\r\n1\r\n");
}

#[test]
fn what_never_left_was_certainly_not_carried_out() {
    let mut house = House::new();
    let id = house.come();
    house.hall.received(house.now, id, b"INCR n\r\n");
    house.now = house.now + ANSWER_DEADLINE;
    house.hall.tick(house.now);
    let told = house.told(id);
    assert!(told.starts_with("-LOADING"), "{told}");
    house.take();
    assert!(house.taken.is_empty(), "it does not leave later either");
}

#[test]
fn one_connection_has_a_bounded_part_of_the_door() {
    let mut house = House::new();
    let (flood, other) = (house.come(), house.come());
    house.send(flood, &"INCR n\r\n".repeat(PIPELINE_MAX * 3));
    assert_eq!(house.taken.len(), PIPELINE_MAX, "no more of one connection are under way");
    house.send(other, "INCR m\r\n");
    assert_eq!(house.taken.len(), PIPELINE_MAX + 1, "the others do not feel it");
    house.work();
    assert_eq!(house.told(flood).matches("\r\n").count(), PIPELINE_MAX * 3);
    assert_eq!(house.told(other), ":1\r\n");
}

#[test]
fn who_does_not_read_is_not_read_from() {
    let mut house = House::new();
    let id = house.come();
    let long = "x".repeat(60_000);
    for _ in 0..40 {
        house.send(id, &format!("*2\r\n$4\r\nECHO\r\n${}\r\n{long}\r\n", long.len()));
    }
    let connection = house.hall.connection(id).expect("it is there");
    assert!(!connection.wants_input());
    assert!(connection.out.len() < 1_200_000, "{}", connection.out.len());
    // When it reads, it is told the rest without asking for anything more.
    let mut told = 0;
    while told < 40 * long.len() {
        let more = house.told(id).len();
        assert!(more > 0, "{told}");
        told += more;
        house.work();
    }
}

#[test]
fn large_answers_are_asked_for_a_few_at_a_time() {
    let mut house = House::new();
    let id = house.come();
    house.ask(id, &format!("SET big {}", "x".repeat(60_000)));
    house.ask(id, "SET small 1");
    house.send(id, &"GET small\r\n".repeat(2_000));
    let first = house.taken.len();
    house.work();
    house.told(id);
    house.send(id, &"GET big\r\n".repeat(2_000));
    let second = house.taken.len();
    house.work();
    house.told(id);
    house.hall.tick(house.now);
    house.take();
    let third = house.taken.len();
    assert!(first < 50 && second > 500 && third < 100, "{first} {second} {third}");
}

#[test]
fn a_transaction_is_one_command_and_its_replies_are_in_order() {
    let mut house = House::new();
    let id = house.come();
    house.send(id, "MULTI\r\nSET k 1\r\nPING\r\nINCR k\r\nEXEC\r\n");
    assert_eq!(house.taken.len(), 1);
    house.work();
    assert_eq!(house.told(id), "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+PONG\r\n:2\r\n");
    house.send(id, "MULTI\r\nfoo\r\nEXEC\r\nEXEC\r\n");
    let told = house.told(id);
    assert!(told.contains("-EXECABORT Transaction discarded because of previous errors."), "{told}");
    assert!(told.ends_with("-ERR EXEC without MULTI\r\n"), "{told}");
    assert_eq!(house.ask(id, "DISCARD"), "-ERR DISCARD without MULTI\r\n");
}

#[test]
fn what_is_published_reaches_who_listens_in_both_versions() {
    let mut house = House::new();
    let (two, three, publisher) = (house.come(), house.come(), house.come());
    house.ask(three, "HELLO 3");
    assert_eq!(house.ask(two, "SUBSCRIBE a"), "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(house.ask(three, "PSUBSCRIBE ?"), ">3\r\n$10\r\npsubscribe\r\n$1\r\n?\r\n:1\r\n");
    assert_eq!(house.ask(publisher, "PUBLISH a hi"), ":2\r\n");
    assert_eq!(house.told(two), "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n");
    assert_eq!(house.told(three), ">4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$2\r\nhi\r\n");
    assert!(house.ask(two, "GET a").starts_with("-ERR Can't execute 'get'"));
    assert_eq!(house.ask(three, "GET a"), "_\r\n");
    house.hall.gone(two);
    assert_eq!(house.ask(publisher, "PUBSUB NUMSUB a"), "*2\r\n$1\r\na\r\n:0\r\n");
}

#[test]
fn without_the_password_nobody_gets_anything() {
    let mut house = House::with(Some("secret"));
    let id = house.come();
    assert_eq!(house.ask(id, "GET a"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(house.ask(id, "PING"), "-NOAUTH Authentication required.\r\n");
    assert!(house.ask(id, "HELLO 3").starts_with("-NOAUTH"));
    assert!(house.ask(id, "AUTH wrong").starts_with("-WRONGPASS"));
    assert!(house.ask(id, "HELLO 3 AUTH default secret").starts_with("%7"));
    assert_eq!(house.ask(id, "GET a"), "_\r\n");
    house.ask(id, "RESET");
    assert_eq!(house.ask(id, "GET a"), "-NOAUTH Authentication required.\r\n");
}

#[test]
fn the_limit_of_memory_is_the_servers_and_is_told_alike_everywhere() {
    let mut house = House::new();
    let id = house.come();
    assert_eq!(house.ask(id, "CONFIG SET maxmemory 0"), "+OK\r\n", "as it is");
    house.hall.settings = house.hall.settings.clone().with_max_memory(200 << 20);
    assert_eq!(house.ask(id, "CONFIG GET maxmemory"), "*2\r\n$9\r\nmaxmemory\r\n$9\r\n209715200\r\n");
    assert!(house.ask(id, "INFO memory").contains("\r\nmaxmemory:209715200\r\n"));
    assert_eq!(house.ask(id, "CONFIG SET maxmemory 200MB"), "+OK\r\n");
    let refused = house.ask(id, "CONFIG SET maxmemory 100mb");
    assert!(refused.starts_with("-ERR CONFIG SET failed") && refused.contains("--max-memory"), "{refused}");
    assert!(house.ask(id, "CONFIG SET maxmemory 1tb").contains("must be a memory value"));
    assert!(house.ask(id, "INFO memory").contains("\r\nmaxmemory:209715200\r\n"));
}

#[test]
fn somebody_else_is_killed_or_shown() {
    let mut house = House::new();
    let (one, two) = (house.come(), house.come());
    house.ask(two, "CLIENT SETNAME bob");
    let list = house.ask(one, "CLIENT LIST");
    assert!(list.contains("name=bob") && list.matches("id=").count() == 2, "{list}");
    assert_eq!(house.ask(one, &format!("CLIENT KILL ID {two}")), ":1\r\n");
    assert!(house.hall.connection(two).expect("not removed yet").is_over());
}

#[test]
fn nobody_is_let_in_beyond_the_limit() {
    let mut house = House::new();
    let one = house.come();
    assert_eq!(house.ask(one, "CONFIG SET maxclients 1"), "+OK\r\n");
    let two = house.come();
    assert_eq!(house.told(two), "-ERR max number of clients reached\r\n");
    assert!(house.hall.connection(two).expect("not removed yet").is_over());
}

#[test]
fn many_idle_connections_cost_little() {
    let mut house = House::new();
    let ids: Vec<Id> = (0..10_000).map(|_| house.come()).collect();
    for id in &ids {
        house.send(*id, "PING\r\n");
        house.told(*id);
    }
    house.pass(Duration::from_secs(3));
    let room: usize = ids.iter().filter_map(|id| Some(house.hall.connection(*id)?.room_bytes())).sum();
    assert!(room < 10_000 * 64, "{room} bytes");
}

#[test]
fn a_push_within_exec_goes_along_a_chain_of_those_who_wait() {
    let mut house = House::new();
    let (one, two, three, pusher) = (house.come(), house.come(), house.come(), house.come());
    assert_eq!(house.ask(one, "BRPOPLPUSH b c 0"), "");
    assert_eq!(house.ask(two, "BRPOPLPUSH a b 0"), "");
    assert_eq!(house.ask(three, "BLPOP c 0"), "");
    house.ask(pusher, "MULTI");
    house.ask(pusher, "SET other x");
    house.ask(pusher, "RPUSH a foo");
    assert_eq!(house.ask(pusher, "EXEC"), "*2\r\n+OK\r\n:1\r\n");
    // No time passes: nobody has to look.
    assert_eq!(house.told(two), "$3\r\nfoo\r\n");
    assert_eq!(house.told(one), "$3\r\nfoo\r\n");
    assert_eq!(house.told(three), "*2\r\n$1\r\nc\r\n$3\r\nfoo\r\n");
}

#[test]
fn what_differed_from_redis_once() {
    let mut house = House::new();
    let id = house.come();
    house.ask(id, "ZADD z 1 a 2 b 3 c");
    let all = "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    assert_eq!(house.ask(id, "ZRANGE z 0 -1 LIMIT 1 -1"), all);
    assert_eq!(house.ask(id, "ZRANGE z 0 -1 LIMIT -5 -1"), all);
    assert!(house.ask(id, "ZRANGE z 0 -1 LIMIT 1 2").starts_with("-ERR syntax error, LIMIT is only supported"));
    house.ask(id, "ZADD five 5 m");
    house.ask(id, "ZADD none 0 m 1 n");
    house.ask(id, "ZINTERSTORE sum 2 none five WEIGHTS inf 1");
    assert_eq!(house.ask(id, "ZSCORE sum m"), "$1\r\n0\r\n");
    house.ask(id, "ZUNIONSTORE sum 2 none five WEIGHTS inf 1");
    assert_eq!(house.ask(id, "ZSCORE sum m"), "$1\r\n5\r\n");
    house.ask(id, "RPUSH l a b a");
    assert_eq!(house.ask(id, "LPOS l a RANK -9223372036854775807"), "$-1\r\n");
    assert!(house.ask(id, "LPOS l a RANK -9223372036854775808").starts_with("-ERR value is out of range"));
    let wrong = "-ERR wrong number of arguments for 'object|refcount' command\r\n";
    assert_eq!(house.ask(id, "OBJECT REFCOUNT"), wrong);
    assert_eq!(house.ask(id, "OBJECT REFCOUNT a b"), wrong);
    assert_eq!(house.ask(id, "OBJECT foo bar"), "-ERR unknown subcommand 'foo'. Try OBJECT HELP.\r\n");
}
