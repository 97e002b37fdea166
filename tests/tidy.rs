//! House style, checked by an ordinary test: what a compiler does not mind and a reader does.
//!
//! Each test reads the sources and lists every place that breaks its rule, so that one run shows all of them.

use std::path::{Path, PathBuf};
use understudy::core::protocol::Rule;
use understudy::ui::commands::{keys, moves, presenter, table};
use understudy::ui::tour::scenes;

/// A file with more lines than this wants to be two.
const FILE_LINES_MAX: usize = 900;
/// As rustfmt has it; comments and strings are not formatted by it.
const LINE_COLUMNS_MAX: usize = 120;
/// All that may lie at the top of the repository, besides what begins with a dot and what git ignores.
const TOP_LEVEL: &[&str] = &["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "assets", "src", "tests"];
/// What the build makes there.
const BUILT: &[&str] = &["target"];
/// The files that may be unsafe: MPI, and memory that processes share, are foreign ground.
const MAY_BE_UNSAFE: &[&str] = &["src/mpi/transport/mpi.rs", "src/mpi/transport/deathwatch.rs"];
/// The files (or folders) that may print without further ado. Answers are written where an error can be returned.
const MAY_PRINT: &[&str] = &["src/app/", "src/launch/manual.rs", "src/tools/"];

/// Who may import whom, from the ground up: each room only those that stand above it in this table.
const ROOMS: &[(&str, &[&str])] = &[
    ("core/store", &[]),
    ("core/protocol", &["core/store"]),
    ("core/disk", &["core/store", "core/protocol"]),
    ("check", &["core/store", "core/protocol"]),
    ("core/load", &["core/store", "core/protocol"]),
    ("core/fault", &["core/store", "core/protocol", "core/load"]),
    ("core/node", &["core/store", "core/protocol", "core/load", "core/fault"]),
    ("cluster", &["core"]),
    ("disk", &["core"]),
    ("mpi/transport", &["core"]),
    ("mpi", &["core", "cluster", "disk", "mpi/transport"]),
    ("sim", &["core", "cluster", "check"]),
    ("door", &["core", "cluster"]),
    ("ui/commands", &["core"]),
    ("ui/console", &["core", "cluster", "ui/commands"]),
    ("ui/dashboard", &["core", "cluster", "ui/commands"]),
    ("ui/stage", &["core", "cluster", "ui/commands", "ui/dashboard"]),
    ("ui/tour", &["core", "ui/commands"]),
    ("docs", &["ui/tour"]),
    ("launch", &["core", "sim", "ui/dashboard"]),
    ("app", &["core", "check", "cluster", "disk", "mpi", "door", "sim", "ui", "launch"]),
    ("tools", &["core", "cluster", "disk", "mpi", "sim", "launch", "app"]),
];
/// Folders of rooms: what is directly in them belongs to nobody.
const STOREYS: &[&str] = &["core", "ui"];

/// The rooms that are plain values: time and chance are handed in, and nothing else comes from outside.
const PURE: &[&str] = &["core/store", "core/protocol", "core/disk", "core/load", "core/fault", "core/node"];
/// What would make them something else.
const IMPURE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "std::thread",
    "std::net",
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "rand::rng",
    "rand::random",
    "HashMap",
    "HashSet",
    "std::{",
];

/// A source file.
struct Source {
    /// From the top of the repository.
    name: String,
    text: String,
}

impl Source {
    /// The room it belongs to, if it is part of the library: the innermost of the table.
    fn room(&self) -> Option<&'static str> {
        let inside = self.name.strip_prefix("src/")?;
        innermost(&inside.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::"))
    }

    /// Lines without their comments, with their numbers; blank where there was nothing else.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
    }

    /// As [`Source::code`], without the tests at the end of the file.
    fn code_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }

    fn at(&self, number: usize, what: &str) -> String {
        format!("{}:{number}: {what}", self.name)
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below these folders.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&top().join(folder), &mut files);
    }
    files.sort();
    let source = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).expect("sources are text"),
        name: path.strip_prefix(top()).expect("it is below the top").display().to_string(),
    };
    files.into_iter().map(source).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn is_part_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in the line, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part_of_a_name) && !line[at + word.len()..].starts_with(is_part_of_a_name)
    })
}

/// Whether a macro of this name is called.
fn calls_macro(line: &str, name: &str) -> bool {
    has_word(line, name) && line.contains(&format!("{name}!"))
}

#[test]
fn files_begin_by_saying_what_they_are_for() {
    let silent = |source: &Source| !source.text.starts_with("//! ");
    let faults: Vec<_> = sources(&["src", "tests"]).into_iter().filter(silent).map(|source| source.name).collect();
    none(&faults);
}

#[test]
fn files_and_lines_are_not_too_long() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests"]) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(source.at(lines, "too many lines"));
        }
        for (at, line) in source.text.lines().enumerate() {
            if line.chars().count() > LINE_COLUMNS_MAX && !cannot_be_broken(line) {
                faults.push(source.at(at + 1, "too many columns"));
            }
            if line.ends_with(char::is_whitespace) {
                faults.push(source.at(at + 1, "white space at the end"));
            }
        }
    }
    none(&faults);
}

/// A row of a table in a comment, and a raw string.
fn cannot_be_broken(line: &str) -> bool {
    line.starts_with("//! |") || line.contains("r#\"")
}

#[test]
fn only_foreign_ground_is_unsafe() {
    let mut faults = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !MAY_BE_UNSAFE.contains(&source.name.as_str())) {
        let is_unsafe = |line: &str| has_word(line, "unsafe") || line.contains("allow(unsafe_code");
        let places = source.code().filter(|(_, line)| is_unsafe(line));
        faults.extend(places.map(|(at, line)| source.at(at, line)));
    }
    none(&faults);
}

#[test]
fn nothing_is_left_undone_and_no_test_is_left_out() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests"]) {
        let left_out = format!("#[{}", "ignore");
        for (at, line) in source.code() {
            if ["todo", "unimplemented", "dbg"].iter().any(|name| calls_macro(line, name)) || line.contains(&left_out) {
                faults.push(source.at(at, line));
            }
        }
    }
    none(&faults);
}

#[test]
fn only_the_edges_of_the_program_print() {
    let mut faults = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !MAY_PRINT.iter().any(|may| source.name.starts_with(may))) {
        let prints = |line: &str| ["print", "println", "eprint", "eprintln"].iter().any(|name| calls_macro(line, name));
        let places = source.code_before_tests().filter(|(_, line)| prints(line));
        faults.extend(places.map(|(at, line)| source.at(at, line)));
    }
    none(&faults);
}

#[test]
fn the_core_is_a_value() {
    let mut faults = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| source.room().is_some_and(|room| PURE.contains(&room))) {
        for (at, line) in source.code_before_tests() {
            if let Some(impure) = IMPURE.iter().find(|impure| line.contains(**impure)) {
                faults.push(source.at(at, impure));
            }
        }
    }
    none(&faults);
}

#[test]
fn only_the_transport_names_mpi() {
    let names = |line: &str| {
        let path = |(at, _): (usize, &str)| !line[..at].ends_with(|c| is_part_of_a_name(c) || c == ':' || c == '"');
        line.match_indices("mpi::").any(path) || line.trim_start().starts_with("use mpi")
    };
    let mut faults = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| source.room() != Some("mpi/transport")) {
        // A file may have a module of that name.
        let has_own = source.code().any(|(_, line)| line.trim_end().ends_with("mod mpi;"));
        let places = source.code().filter(|(_, line)| !has_own && names(line));
        faults.extend(places.map(|(at, line)| source.at(at, line)));
    }
    none(&faults);
}

/// The name of a type that this line defines, if it stands for itself and not in something else.
fn defined_type(line: &str) -> Option<&str> {
    let words = line.strip_prefix("pub").map_or(line, |rest| {
        rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest).trim_start()
    });
    let (kind, rest) = words.split_once(' ')?;
    let name = &rest[..rest.find(|c| !is_part_of_a_name(c)).unwrap_or(rest.len())];
    ["struct", "enum", "trait", "type", "union"].contains(&kind).then_some(name)
}

#[test]
fn every_type_has_a_name_of_its_own() {
    let sources = sources(&["src"]);
    let mut known: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
    let mut faults = Vec::new();
    for source in &sources {
        for (at, line) in source.code_before_tests() {
            let Some(name) = defined_type(line) else { continue };
            if let Some(other) = known.insert(name, source.at(at, name)) {
                faults.push(format!("{}, as {other}", source.at(at, name)));
            }
        }
    }
    assert!(known.len() > 300, "types are found: {}", known.len());
    none(&faults);
}

/// The innermost room that a path (`core::store::glob`) leads into.
fn innermost(path: &str) -> Option<&'static str> {
    let leads_into = |room: &&str| {
        let room = room.replace('/', "::");
        path.strip_prefix(&room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    ROOMS.iter().map(|(room, _)| *room).filter(leads_into).max_by_key(|room| room.len())
}

/// Whether `other` is this room, or one of a storey that may be imported as a whole.
fn covers(allowed: &str, other: &str) -> bool {
    allowed == other || other.strip_prefix(allowed).is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn every_room_imports_only_what_is_below_it() {
    let mut faults = Vec::new();
    for (at, (room, below)) in ROOMS.iter().enumerate() {
        for other in below.iter().filter(|other| !ROOMS[..at].iter().any(|(room, _)| covers(other, room))) {
            faults.push(format!("the table: {other} is not below {room}"));
        }
    }
    for source in sources(&["src"]) {
        let Some(room) = source.room() else {
            let storey = |name: &&str| source.name == format!("src/{name}/mod.rs");
            if !["src/lib.rs", "src/main.rs"].contains(&source.name.as_str()) && !STOREYS.iter().any(storey) {
                faults.push(format!("{} belongs to no room of the table", source.name));
            }
            continue;
        };
        let (_, below) = ROOMS.iter().find(|(known, _)| *known == room).expect("rooms come from the table");
        for (at, line) in source.code() {
            for path in imported(line) {
                match innermost(path) {
                    Some(other) if other != room && !below.iter().any(|allowed| covers(allowed, other)) => {
                        faults.push(source.at(at, &format!("{room} must not import {other}")));
                    }
                    None if STOREYS.contains(&path) => faults.push(source.at(at, "name the room, not the storey")),
                    _ => {}
                }
            }
        }
    }
    none(&faults);
}

/// The paths that directly follow the name of this crate.
fn imported(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, start)| {
        let rest = &line[at + start.len()..];
        let end = rest.find(|c| !is_part_of_a_name(c) && c != ':').unwrap_or(rest.len());
        rest[..end].trim_end_matches(':')
    })
}

#[test]
fn the_top_of_the_repository_is_tidy() {
    let names = std::fs::read_dir(top()).expect("the repository can be read").map(|entry| {
        let name = entry.expect("the repository can be read").file_name();
        name.into_string().expect("names are text")
    });
    let unknown = |name: &String| {
        !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) && !BUILT.contains(&name.as_str())
    };
    none(&names.filter(unknown).collect::<Vec<_>>());
}

#[test]
fn the_package_has_the_pictures_of_the_readme_and_no_folders_that_begin_with_a_dot() {
    let manifest = std::fs::read_to_string(top().join("Cargo.toml")).expect("there is a manifest");
    let excluded = manifest.lines().find(|line| line.starts_with("exclude = "));
    assert_eq!(excluded, Some("exclude = [\".*\"]"), "names with a dot, and nothing else");
    let readme = std::fs::read_to_string(top().join("README.md")).expect("there is a README");
    let links = readme.match_indices("](").filter_map(|(at, _)| readme[at + 2..].split(')').next());
    let missing = links.filter(|link| !link.contains("://") && !top().join(link).exists());
    none(&missing.map(|link| format!("README.md: {link} is not there")).collect::<Vec<_>>());
    assert!(readme.matches("![").count() >= 4, "moving, load, five servers, figures");
}

/// What stands in the README between `<!-- name -->` and `<!-- /name -->`.
fn readme_part(readme: &str, name: &str) -> String {
    let (start, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let part = readme.split_once(&start).and_then(|(_, rest)| rest.split_once(&end)).map(|(part, _)| part);
    part.unwrap_or_else(|| panic!("README.md has no {start} … {end}")).trim().to_owned()
}

#[test]
fn the_tables_of_the_readme_are_those_of_the_program() {
    let Ok(readme) = std::fs::read_to_string(top().join("README.md")) else {
        panic!("there is no README.md");
    };
    let tables = [
        ("commands", table::markdown_tables()),
        ("keys", keys::markdown_table()),
        ("moves", moves::markdown_table()),
        ("presenter", presenter::markdown_table()),
        ("rules", rules_table()),
    ];
    for (name, table) in tables {
        let table = table.trim();
        assert!(readme_part(&readme, name) == table, "README.md must have between its marks for {name}:\n\n{table}\n");
    }
}

#[test]
fn the_readme_shows_every_room() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap_or_default();
    let is_inside = |room: &str| ROOMS.iter().any(|(other, _)| room.starts_with(&format!("{other}/")));
    let rooms = ROOMS.iter().map(|(room, _)| *room).filter(|room| !is_inside(room));
    let missing: Vec<&str> = rooms.filter(|room| !readme.contains(&format!("](src/{room}/mod.rs)"))).collect();
    assert!(missing.is_empty(), "README.md does not say what lives in {missing:?}");
}

/// Every rule, what goes wrong without it, and the scene that shows it.
fn rules_table() -> String {
    let row = |rule: Rule| {
        let file = scenes::file_of(rule).unwrap_or_else(|| panic!("{rule} has no scene"));
        assert!(top().join(file).is_file(), "{file} is missing");
        format!("| `{rule}`: {} | {} | [`TOUR {rule}`]({file}) |\n", rule.says(), rule.without())
    };
    let rows: String = Rule::ALL.into_iter().map(row).collect();
    format!("| rule | without it | see |\n|---|---|---|\n{rows}")
}
