//! `COMMAND`: what there is, made from the two tables of commands, so that redis-cli can complete and hint our own.

use super::resp::Writer;
use super::rows::{self, DoorAnswer, DoorRow, OWN, Visit};
use crate::core::store::Bytes;
use crate::core::store::commands::{self, RowId};

/// What is told of a command.
struct Doc {
    name: &'static str,
    arity: i16,
    flags: Vec<&'static str>,
    keys: (i16, i16, i16),
    group: &'static str,
    summary: &'static str,
    syntax: &'static str,
}

impl Doc {
    fn of(row: DoorRow) -> Self {
        match row {
            DoorRow::Own(own) => Self {
                name: own.name,
                arity: own.arity,
                flags: own.flags.to_vec(),
                keys: own.keys,
                group: own.group,
                summary: own.summary,
                syntax: "",
            },
            DoorRow::Store(id) => {
                let row = id.row();
                Self {
                    name: row.name,
                    arity: row.arity,
                    flags: rows::flags(id),
                    keys: row.keys,
                    group: row.group,
                    summary: row.summary,
                    syntax: row.syntax,
                }
            }
        }
    }

    fn categories(&self) -> Vec<String> {
        let fast = if self.flags.contains(&"fast") { "@fast" } else { "@slow" };
        let kind = if self.flags.contains(&"write") {
            Some("@write")
        } else if self.flags.contains(&"readonly") {
            Some("@read")
        } else {
            None
        };
        let group = format!("@{}", self.group.replace("sorted-set", "sortedset").replace("generic", "keyspace"));
        kind.map(str::to_owned).into_iter().chain([group, fast.to_owned()]).collect()
    }

    /// As `COMMAND` and `COMMAND INFO` tell it.
    fn info(&self, out: &mut Writer<'_>) {
        out.array(10);
        out.bulk(self.name);
        out.integer(self.arity.into());
        out.set(self.flags.len());
        self.flags.iter().for_each(|flag| out.simple(flag));
        out.integer(self.keys.0.into());
        out.integer(self.keys.1.into());
        out.integer(self.keys.2.into());
        let categories = self.categories();
        out.set(categories.len());
        categories.iter().for_each(|category| out.simple(category));
        // Tips, key specifications, subcommands: none are told.
        (0..3).for_each(|_| out.array(0));
    }

    /// As `COMMAND DOCS` tells it.
    fn docs(&self, out: &mut Writer<'_>) {
        let words: Vec<&str> = self.syntax.split(' ').filter(|word| !word.is_empty()).collect();
        out.bulk(self.name);
        out.map(if words.is_empty() { 3 } else { 4 });
        out.bulk("summary");
        out.bulk(self.summary);
        out.bulk("since");
        out.bulk("1.0.0");
        out.bulk("group");
        out.bulk(self.group);
        if words.is_empty() {
            return;
        }
        // The whole syntax as one argument: redis-cli shows it as it stands here.
        out.bulk("arguments");
        out.array(1);
        out.map(3);
        out.bulk("name");
        out.bulk(words[0].trim_matches(['[', ']']));
        out.bulk("type");
        out.bulk("string");
        out.bulk("display_text");
        out.bulk(self.syntax);
    }
}

fn all() -> Vec<Doc> {
    let store = commands::table().filter_map(|row| RowId::of(row.name)).map(DoorRow::Store);
    let mut all: Vec<Doc> = OWN.iter().map(DoorRow::Own).chain(store).map(Doc::of).collect();
    all.sort_by_key(|doc| doc.name);
    all
}

fn one(name: &Bytes) -> Option<Doc> {
    let name = name.to_ascii_lowercase();
    all().into_iter().find(|doc| doc.name.as_bytes() == name)
}

/// `COMMAND`.
pub(super) fn command(visit: &mut Visit<'_>) -> Result<DoorAnswer, String> {
    let sub = visit.text(1).to_ascii_lowercase();
    let names = visit.words.get(2..).unwrap_or_default().to_vec();
    match (sub.as_str(), visit.words.len()) {
        (_, 1) => visit.say(|out| {
            let all = all();
            out.array(all.len());
            all.iter().for_each(|doc| doc.info(out));
        }),
        ("count", 2) => visit.say(|out| out.integer(all().len() as i64)),
        ("info", _) => visit.say(|out| {
            let found: Vec<_> =
                if names.is_empty() { all().into_iter().map(Some).collect() } else { names.iter().map(one).collect() };
            out.array(found.len());
            found.iter().for_each(|doc| match doc {
                Some(doc) => doc.info(out),
                None => out.null_array(),
            });
        }),
        ("docs", _) => visit.say(|out| {
            let found: Vec<Doc> = if names.is_empty() { all() } else { names.iter().filter_map(one).collect() };
            out.map(found.len());
            found.iter().for_each(|doc| doc.docs(out));
        }),
        ("list", 2) => visit.say(|out| {
            let all = all();
            out.array(all.len());
            all.iter().for_each(|doc| out.bulk(doc.name));
        }),
        ("getkeys", 3..) => get_keys(visit, &names),
        ("count" | "getkeys" | "list", _) => Err(format!("ERR wrong number of arguments for 'command|{sub}' command")),
        _ => Err(format!("ERR unknown subcommand '{}'. Try COMMAND HELP.", visit.text(1))),
    }
}

fn get_keys(visit: &mut Visit<'_>, words: &[Bytes]) -> Result<DoorAnswer, String> {
    let Ok(row) = rows::find(&words[0], words) else { return Err("ERR Invalid command specified".into()) };
    let doc = Doc::of(row);
    let keys = positions(&doc, words);
    if keys.is_empty() {
        return Err("ERR The command has no key arguments".into());
    }
    visit.say(|out| {
        out.array(keys.len());
        keys.iter().for_each(|at| out.bulk(&words[*at]));
    })
}

/// Where the keys stand: by the table, or behind their number.
fn positions(doc: &Doc, words: &[Bytes]) -> Vec<usize> {
    if doc.flags.contains(&"movablekeys") {
        let at = match doc.name {
            "blmpop" | "bzmpop" | "eval" | "evalsha" => 2,
            "lmpop" | "zmpop" | "sintercard" | "zunion" | "zinter" | "zdiff" | "zintercard" => 1,
            _ => 0,
        };
        if at > 0 {
            let count = words.get(at).and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok());
            return (at + 1..words.len()).take(count.unwrap_or(0)).collect();
        }
    }
    let (first, last, step) = doc.keys;
    let last = if last < 0 { words.len() as i64 + i64::from(last) } else { i64::from(last) };
    let end = usize::try_from(last).unwrap_or(0).min(words.len() - 1);
    let (first, step) = (usize::try_from(first).unwrap_or(0), usize::try_from(step).unwrap_or(1).max(1));
    if first == 0 { Vec::new() } else { (first..=end).step_by(step).collect() }
}
