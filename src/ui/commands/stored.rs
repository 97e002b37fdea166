//! The store's own table as the console knows commands: those of Redis, beside our own verbs.
//!
//! A row of [`crate::core::store::commands`] says how many words a command takes and what they are called; usage
//! lines, hints, completion and `HELP` follow from that.

use super::action::Action;
use super::table::{COMMANDS, CommandGroup, CommandSpec, Parameter, WordKind};
use crate::core::store::commands::{self, Row, RowId};
use crate::core::store::{Bytes, StoreError};
use std::sync::LazyLock;

/// Every command of the store that is no verb of ours.
pub static STORED: LazyLock<Vec<CommandSpec>> = LazyLock::new(|| {
    let is_ours = |row: &Row| COMMANDS.iter().any(|spec| spec.names().any(|name| name == row.shown));
    let rows = commands::table().filter(|row| !is_ours(row));
    rows.filter_map(|row| Some(spec(row, RowId::of(row.name)?))).collect()
});

/// The groups of Redis, as `HELP` knows them.
pub const GROUPS: [&str; 6] = ["strings", "generic", "hashes", "lists", "sets", "sorted-sets"];

/// Those of one group, by its name there or by that of Redis.
pub fn of_group(group: &str) -> impl Iterator<Item = &'static CommandSpec> + use<'_> {
    let in_group = move |spec: &&CommandSpec| spec.row.is_some_and(|id| group.starts_with(id.row().group));
    STORED.iter().filter(in_group)
}

fn spec(row: &'static Row, id: RowId) -> CommandSpec {
    let parameters = parameters(row.syntax);
    let example = format!("{} {}", row.shown, examples(&parameters).join(" "));
    CommandSpec {
        name: row.shown,
        aliases: &[],
        // Made once, for as long as the program runs.
        parameters: Vec::leak(parameters),
        group: CommandGroup::Data,
        help: row.summary,
        example: String::leak(example.trim_end().to_owned()),
        row: Some(id),
        build: |_| Err("it is built from its words".to_owned()),
    }
}

/// Words that would do, for the example.
fn examples(parameters: &[Parameter]) -> Vec<&'static str> {
    let word = |parameter: &Parameter| match parameter.name {
        "seconds" | "milliseconds" | "increment" | "decrement" | "numkeys" | "score" => "1",
        "index" | "start" | "min" | "offset" | "cursor" => "0",
        "stop" | "end" | "max" => "-1",
        name if name.contains('|') => name.split('|').next().unwrap_or(name),
        name => name,
    };
    parameters.iter().filter(|parameter| !parameter.optional).map(word).collect()
}

/// `key field [value …]`: what is needed word by word, and each pair of brackets as one.
fn parameters(syntax: &'static str) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    let mut rest = syntax;
    while !rest.is_empty() {
        let (name, optional, after) = match rest.strip_prefix('[') {
            Some(inside) => {
                let end = closing(inside);
                (&inside[..end], true, inside.get(end + 1..).unwrap_or(""))
            }
            None => {
                let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                (word, false, after)
            }
        };
        let is_key = matches!(name, "key" | "source" | "destination" | "newkey" | "key1" | "key2" | "key ...");
        let kind = if is_key { WordKind::Key } else { WordKind::Value };
        parameters.push(Parameter { name, kind, optional });
        rest = after.trim_start();
    }
    parameters
}

/// Where the bracket is closed that was opened before this.
fn closing(inside: &str) -> usize {
    let mut depth = 1;
    let end = inside.bytes().position(|byte| {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.unwrap_or(inside.len())
}

/// A line of such a command.
pub(super) fn parse(spec: &CommandSpec, words: Vec<Vec<u8>>) -> Result<Action, String> {
    let all: Vec<Bytes> = std::iter::once(spec.name.into()).chain(words.into_iter().map(Bytes::from)).collect();
    let why = |error: StoreError| {
        let text = error.to_string();
        format!("{}: usage: {}", text.strip_prefix("ERR ").unwrap_or(&text), spec.usage())
    };
    commands::parse(&all).map(Action::Data).map_err(why)
}

#[cfg(test)]
mod tests {
    use super::super::help::help;
    use super::super::parse;
    use super::*;

    #[test]
    fn every_command_of_the_store_is_complete() {
        assert!(STORED.len() > 100, "{}", STORED.len());
        for spec in STORED.iter() {
            let request =
                parse::request(spec.example.as_bytes()).unwrap_or_else(|why| panic!("{}: {why}", spec.example));
            assert!(matches!(request.map(|request| request.action), Some(Action::Data(_))), "{}", spec.example);
            assert!(help(Some(spec.name)).is_ok_and(|text| text.contains(spec.help)), "{}", spec.name);
            let needed = spec.parameters.iter().filter(|parameter| !parameter.optional).count();
            let row = spec.row.map(RowId::row).expect("it is the store's");
            let least = usize::from(row.arity.unsigned_abs()) - 1;
            assert_eq!(needed, least, "{}: the syntax and the arity say the same", spec.name);
            if needed > 0 {
                let why = parse::request(spec.name.as_bytes()).unwrap_err();
                assert!(why.contains("usage: "), "{why}");
            }
        }
        for group in GROUPS {
            assert!(help(Some(group)).is_ok_and(|text| text.lines().count() == of_group(group).count()), "{group}");
        }
    }
}
