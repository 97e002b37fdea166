//! `INFO`, `ROLE`, `SENTINEL`: how the cluster is, in the words of Redis.
//!
//! To a client a door is a primary that never changes. Who really leads stands beside Redis' own fields
//! (`primary_rank`, `primary_pid`, `view`), for those who want to know.

use super::hall::Hall;
use super::local::REDIS_VERSION;
use super::rows::{DoorAnswer, Visit};
use crate::cluster::{DoorFigures, ServerFacts};
use std::fmt::Write as _;

/// What clients call the cluster when they ask for it by name, unless they call it otherwise.
const MASTER_NAME: &str = "understudy";
/// A name of forty digits, as Redis has them: the same for ever, as the data is.
const RUN_ID: &str = "756e64657273747564792d646f6f722d30303031";
/// The sections, in Redis' order.
const SECTIONS: [&str; 9] =
    ["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "cluster", "keyspace"];

/// `INFO`.
pub(super) fn info(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let asked: Vec<String> = (1..visit.words.len()).map(|at| visit.text(at).to_ascii_lowercase()).collect();
    let all = asked.is_empty() || asked.iter().any(|name| matches!(name.as_str(), "all" | "default" | "everything"));
    let mut text = String::new();
    for name in SECTIONS.iter().filter(|name| all || asked.iter().any(|asked| asked == *name)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        section(visit, name, &mut text);
    }
    visit.say(|out| out.verbatim(&text))
}

fn section(visit: &Visit<'_>, name: &str, text: &mut String) {
    let mut title = name.to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if name == "cpu" {
        title.make_ascii_uppercase();
    }
    let _ = write!(text, "# {title}\r\n");
    match name {
        "server" => server(visit, text),
        "clients" => clients(visit, text),
        "memory" => memory(visit, text),
        "persistence" => text.push_str(
            "loading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:0\r\n\
             rdb_last_bgsave_status:ok\r\naof_enabled:0\r\naof_rewrite_in_progress:0\r\n\
             aof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\n",
        ),
        "stats" => stats(visit.hall, text),
        "replication" => replication(visit, text),
        "cpu" => text.push_str("used_cpu_sys:0.0\r\nused_cpu_user:0.0\r\n"),
        "cluster" => text.push_str("cluster_enabled:0\r\n"),
        _ => {
            let keys = visit.hall.facts.keys;
            if keys > 0 {
                let _ = write!(text, "db0:keys={keys},expires=0,avg_ttl=0\r\n");
            }
        }
    }
}

fn server(visit: &Visit<'_>, text: &mut String) {
    let up = visit.now.since(visit.hall.counters.opened).as_secs();
    let port = visit.hall.settings.get("port").unwrap_or("0");
    let _ = write!(
        text,
        "redis_version:{REDIS_VERSION}\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\n\
         understudy_version:{}\r\nos:{} {}\r\narch_bits:{}\r\nprocess_id:{}\r\nrun_id:{RUN_ID}\r\ntcp_port:{port}\r\n\
         server_time_usec:{}\r\nuptime_in_seconds:{up}\r\nuptime_in_days:{}\r\nhz:10\r\nexecutable:understudy\r\n\
         config_file:\r\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        usize::BITS,
        std::process::id(),
        visit.hall.facts.wall.as_micros(),
        up / 86_400,
    );
}

fn clients(visit: &Visit<'_>, text: &mut String) {
    let hall = &visit.hall;
    let own = hall.figures();
    let sum = |of: fn(&DoorFigures) -> usize| of(&own) + hall.figures_elsewhere().map(of).sum::<usize>();
    let _ = write!(
        text,
        "connected_clients:{}\r\ncluster_connections:0\r\nmaxclients:{}\r\nclient_recent_max_input_buffer:0\r\n\
         client_recent_max_output_buffer:0\r\nblocked_clients:{}\r\ntracking_clients:0\r\npubsub_clients:{}\r\n\
         clients_in_timeout_table:0\r\ndoors:{}\r\ndoor_rank:{}\r\n",
        sum(|door| door.sight.connections),
        hall.settings.max_clients(),
        sum(|door| door.blocked),
        sum(|door| door.listeners) + usize::from(visit.me.subscriptions() > 0),
        hall.others.count(),
        hall.others.rank,
    );
    for DoorFigures { rank, sight, .. } in hall.figures_elsewhere().chain([&own]) {
        let (connections, per_second) = (sight.connections, sight.per_second);
        let _ = write!(text, "door{rank}:connections={connections},ops_per_sec={per_second}\r\n");
    }
}

fn memory(visit: &Visit<'_>, text: &mut String) {
    let room: usize = visit.hall.connections.values().flatten().map(|connection| connection.room_bytes()).sum();
    let limit = visit.hall.settings.max_memory();
    let _ = write!(
        text,
        "used_memory:{room}\r\nused_memory_human:{}K\r\nused_memory_rss:{room}\r\nused_memory_peak:{room}\r\n\
         used_memory_lua:0\r\nmaxmemory:{limit}\r\nmaxmemory_human:{limit}B\r\nmaxmemory_policy:noeviction\r\n\
         mem_fragmentation_ratio:1.00\r\nmem_allocator:mimalloc\r\n",
        room >> 10,
    );
}

fn stats(hall: &Hall, text: &mut String) {
    let (counters, channels, patterns) = (&hall.counters, hall.channels.len(), hall.patterns.len());
    let elsewhere = |of: fn(&DoorFigures) -> u64| hall.figures_elsewhere().map(of).sum::<u64>();
    let _ = write!(
        text,
        "total_connections_received:{}\r\ntotal_commands_processed:{}\r\ninstantaneous_ops_per_sec:{}\r\n\
         total_net_input_bytes:{}\r\ntotal_net_output_bytes:{}\r\nrejected_connections:{}\r\nexpired_keys:0\r\n\
         evicted_keys:0\r\nkeyspace_hits:0\r\nkeyspace_misses:0\r\npubsub_channels:{channels}\r\n\
         pubsub_patterns:{patterns}\r\nlatest_fork_usec:0\r\ntotal_error_replies:{}\r\nunknown_outcomes:{}\r\n\
         slowest_lately_usec:{}\r\n",
        counters.connections + elsewhere(|door| door.accepted),
        counters.commands + elsewhere(|door| door.commands),
        counters.per_second() + elsewhere(|door| door.sight.per_second),
        counters.bytes_in,
        counters.bytes_out,
        counters.rejected,
        counters.errors,
        counters.unknown,
        counters.slowest().as_micros(),
    );
}

fn replication(visit: &Visit<'_>, text: &mut String) {
    let facts = &visit.hall.facts;
    let _ = write!(text, "role:master\r\nconnected_slaves:{}\r\n", facts.backups.len());
    for (at, backup) in facts.backups.iter().enumerate() {
        let _ = write!(text, "slave{at}:ip=127.0.0.1,port={},state=online,offset={},lag=0\r\n", backup.rank, facts.op);
    }
    let _ = write!(
        text,
        "master_failover_state:no-failover\r\nmaster_replid:{RUN_ID}\r\n\
         master_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:{}\r\n\
         second_repl_offset:-1\r\nrepl_backlog_active:0\r\n",
        facts.op
    );
    if let Some(ServerFacts { rank, pid, .. }) = &facts.primary {
        let _ = write!(text, "primary_rank:{rank}\r\nprimary_pid:{pid}\r\n");
    }
    for ServerFacts { rank, op, digest, .. } in facts.primary.iter().chain(&facts.backups) {
        let _ = write!(text, "member{rank}:op={op},digest={digest:016x}\r\n");
    }
    let _ = write!(text, "view:{}\r\nfailovers:{}\r\n", facts.view, facts.failovers);
}

/// `ROLE`.
pub(super) fn role(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let (op, backups) = (visit.hall.facts.op, visit.hall.facts.backups.clone());
    visit.say(|out| {
        out.array(3);
        out.bulk("master");
        out.integer(i64::try_from(op).unwrap_or(i64::MAX));
        out.array(backups.len());
        for backup in &backups {
            out.array(3);
            out.bulk("127.0.0.1");
            out.bulk(backup.rank.to_string());
            out.bulk(op.to_string());
        }
    })
}

/// `SENTINEL`: every door says where a living door is, and that is itself.
pub(super) fn sentinel(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let (ip, port) = (visit.me.local.ip().to_string(), visit.me.local.port().to_string());
    let name = visit.words.get(2).map_or_else(|| MASTER_NAME.into(), Clone::clone);
    let backups = visit.hall.facts.backups.len().to_string();
    let master = move |out: &mut super::resp::Writer<'_>| {
        let fields: [(&str, &str); 9] = [
            ("ip", &ip),
            ("port", &port),
            ("runid", RUN_ID),
            ("flags", "master"),
            ("role-reported", "master"),
            ("num-slaves", &backups),
            ("num-other-sentinels", "0"),
            ("quorum", "1"),
            ("failover-timeout", "4000"),
        ];
        out.map(fields.len() + 1);
        out.bulk("name");
        out.bulk(&name);
        for (field, value) in fields {
            out.bulk(field);
            out.bulk(value);
        }
    };
    let (ip, port) = (visit.me.local.ip().to_string(), visit.me.local.port().to_string());
    let sub = visit.text(1).to_ascii_lowercase();
    match (sub.as_str(), visit.words.len()) {
        ("get-master-addr-by-name", 3) => visit.say(|out| {
            out.array(2);
            out.bulk(ip);
            out.bulk(port);
        }),
        ("masters", 2) => visit.say(|out| {
            out.array(1);
            master(out);
        }),
        ("master", 3) => visit.say(master),
        ("sentinels" | "replicas" | "slaves", 3) => visit.say(|out| out.array(0)),
        ("myid", 2) => visit.say(|out| out.bulk(RUN_ID)),
        ("ckquorum", 3) => visit.say(|out| out.simple("OK 1 usable Sentinels.")),
        ("get-master-addr-by-name" | "masters" | "master" | "sentinels" | "replicas" | "slaves", _) => {
            Err(format!("ERR wrong number of arguments for 'sentinel|{sub}' command"))
        }
        _ => Err(format!("ERR unknown subcommand '{}'. Try SENTINEL HELP.", visit.text(1))),
    }
}
