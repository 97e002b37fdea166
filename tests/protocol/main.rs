//! The nodes of the protocol one by one, by hand: messages and time go in, messages and events come out.
//!
//! The simulator's seeds and the transcripts try whole clusters. Here is what they cannot see: what a node does with
//! what no honest peer sends, what it says of itself, and its limits.

mod client;
mod deaths;
mod detour;
mod disks;
mod metadata;
mod node;
mod patience;
mod servers;
mod sessions;
mod slices;
mod transfer;
mod values;

use metadata::{change, formed};
use node::*;
use std::sync::Arc;
use std::time::Duration;
use understudy::core::protocol::server::{LOG_BYTES_MAX, LOG_OPS_MAX, held};
use understudy::core::protocol::{
    Client, Config, CrashPoint, Doom, Event, Incarnation, METADATA, Member, Message, Metadata, Outbox, Outcome, Rank,
    Reason, Request, Role, Rule, Rules, Server, SwapError, Time, Timing, View, ViewNumber,
};
use understudy::core::store::{Bytes, ClientId, Command, LogEntry, OpNumber, Reply, Seq, StoreError};

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
