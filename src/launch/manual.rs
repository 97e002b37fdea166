//! What the command line says of itself: `--help`, the manual page, completions for shells.
//!
//! Options and tools are described where they are defined ([`crate::launch::args`]); examples, files, environment and
//! exit statuses stand here, in tables from which both the end of `--help` and the manual page are made.

use crate::launch::args::Args;
use crate::launch::state::{FOLDER_IN_GENERAL, usual_folder};
use crate::launch::{print, written};
use clap::{Command, CommandFactory, FromArgMatches};
use clap_complete::Shell;
use clap_mangen::Man;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// What is typed and what for; or a name and what it means.
type ManualTable = &'static [(&'static str, &'static str)];

const EXAMPLES: ManualTable = &[
    ("understudy", "the console: two servers, and dice"),
    ("understudy --servers 5 --failure-rate 0", "five, which fail only when told to"),
    ("understudy --clients 3", "three more clients, for LOAD"),
    ("understudy -c 'PUT a 1' -c 'GET a'", "two commands, two answers, and out"),
    ("understudy --plain < script.txt", "the commands of a file"),
    ("understudy --sim", "over a simulator, without MPI"),
    ("understudy fuzz --for 60s", "random faults for a minute"),
    ("understudy --door 6379", "Redis clients come in at this port"),
    ("understudy serve --door 6379", "the same, without a console"),
    ("understudy --door 6379 --doors 2", "two more ranks let them in"),
    ("understudy --record FILE", "what happens can be seen again:"),
    ("understudy replay FILE", "freeze, step, back"),
    ("understudy tour", "a lecture: guess first, then see"),
    ("understudy tour --check FILE", "does a scene of your own come out?"),
    ("understudy bench --quick", "a glance at how fast it is"),
    ("understudy man | man -l -", "the manual page"),
    ("understudy completions bash > FILE", "Tab completes options: see README.md"),
];

const ENVIRONMENT: ManualTable = &[
    ("UNDERSTUDY_MPIRUN", "the mpirun to use, not the first one in PATH"),
    ("OMPI_MCA_…", "settings of Open MPI, handed on to it"),
    ("XDG_STATE_HOME", "where logs and history are, not ~/.local/state"),
    ("TMPDIR", "where MPI's files are, not /tmp: 32 MB are enough"),
    ("NO_COLOR", "if not empty: as --theme mono"),
    ("LC_ALL, LC_CTYPE, LANG", "the first that is set: without UTF-8, as --ascii"),
    ("TERM", "`dumb`: as --plain; `linux`: as --ascii"),
];

const EXIT_STATUSES: ManualTable = &[
    ("0", "all was answered; (nil) and (unknown) are answers too"),
    ("1", "an answer was an error; the cluster did not start, or broke;"),
    ("", "fuzz: a property was violated; log: it is damaged"),
    ("2", "the options were wrong"),
    ("128+n", "ended by signal n: 130 Ctrl-C, 143 TERM, 129 HUP"),
];

/// Reads the command line; ends the process if it asks for help, or cannot be understood.
#[must_use]
pub fn parse() -> Args {
    let folder = usual_folder().map_or_else(|| FOLDER_IN_GENERAL.to_owned(), |folder| folder.display().to_string());
    let matches = command(&folder).get_matches_from(serve_last(std::env::args_os()));
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Err(why) = args.check() {
        Args::command().error(clap::error::ErrorKind::ValueValidation, why).exit();
    }
    args
}

/// `serve` has the options of the console, which stand before a tool: so it is read as if it came last.
fn serve_last(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    if words.get(1).is_some_and(|word| word == "serve") {
        words[1..].rotate_left(1);
    }
    words
}

/// The command line with everything that its help says, when logs and history are kept in `folder`.
fn command(folder: &str) -> Command {
    let table = |title: &str, rows: ManualTable| {
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let row = |(name, meaning): &(&str, &str)| format!("  {name:width$}  {meaning}\n");
        format!("{title}:\n{}", rows.iter().map(row).collect::<String>())
    };
    let after = [
        table("Examples", EXAMPLES),
        table("Environment", ENVIRONMENT),
        table("Exit status", EXIT_STATUSES).trim_end().to_owned(),
    ];
    let kept = format!("Where logs and the command history are kept [default: {folder}]");
    Args::command().mut_arg("log_dir", |arg| arg.help(kept)).after_help(after.join("\n"))
}

/// `understudy man`.
#[must_use]
pub fn print_page() -> ExitCode {
    match page() {
        Ok(page) => written(print(&page)),
        Err(error) => crate::launch::fail(&format!("the manual page cannot be made: {error}")),
    }
}

/// The manual page of everything, the tools included.
fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let mut command = Args::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for tool in command.get_subcommands().filter(|tool| !tool.is_hide_set() && tool.get_name() != "help") {
        let about = tool.get_about().map(ToString::to_string).unwrap_or_default();
        section(&mut page, &format!("understudy {}", tool.get_name()).to_uppercase(), &about, &[])?;
        let mut options = Vec::new();
        Man::new(tool.clone()).render_options_section(&mut options)?;
        // Its options belong to its own section.
        page.extend(
            String::from_utf8_lossy(&options)
                .lines()
                .filter(|line| !line.starts_with(".SH"))
                .flat_map(|line| format!("{line}\n").into_bytes()),
        );
    }
    section(&mut page, "EXAMPLES", "", EXAMPLES)?;
    section(&mut page, "ENVIRONMENT", "", ENVIRONMENT)?;
    let files = "Logs and the history of the prompt; no data is kept.";
    section(&mut page, "FILES", "", &[(FOLDER_IN_GENERAL, files)])?;
    section(&mut page, "EXIT STATUS", "", EXIT_STATUSES)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn section(page: &mut Vec<u8>, title: &str, text: &str, rows: &[(&str, &str)]) -> io::Result<()> {
    writeln!(page, ".SH \"{}\"", escaped(title))?;
    if !text.is_empty() {
        writeln!(page, "{}", escaped(text))?;
    }
    for (name, meaning) in rows {
        // Without a name it goes on with what the row before began.
        if !name.is_empty() {
            writeln!(page, ".TP\n\\fB{}\\fR", escaped(name))?;
        }
        writeln!(page, "{}", escaped(meaning))?;
    }
    Ok(())
}

/// As text of a manual page: neither escapes nor, at its beginning, a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('…', "...");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// `understudy completions SHELL`.
#[must_use]
pub fn print_completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), env!("CARGO_PKG_NAME"), &mut script);
    written(print(&script))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::protocol::Rule;

    fn help() -> String {
        command("/home/a/.local/state/understudy").render_long_help().to_string()
    }

    #[test]
    fn help_is_grouped_and_says_what_one_has_to_know() {
        let help = help();
        let headings = ["Cluster:", "Faults:", "Display:", "Scripts:", "Files:", "Tools:", "Examples:", "Environment:"];
        for heading in headings.into_iter().chain(["Exit status:"]) {
            assert!(help.lines().any(|line| line == heading), "no {heading} in\n{help}");
        }
        assert_eq!(help.contains("seven minutes"), cfg!(feature = "mpi"), "the benchmark needs MPI\n{help}");
        for words in ["-c, --command <LINE>", "[default: /home/a/.local/state/understudy]"] {
            assert!(help.contains(words), "no {words} in\n{help}");
        }
        let without = help.split_once("--without <RULE>").expect("it is an option").1;
        for rule in Rule::ALL {
            assert!(without.split_once("\nDisplay:").is_some_and(|(text, _)| text.contains(rule.name())), "{help}");
        }
        let (_, tables) = help.split_once("\nExamples:").expect("they are there");
        assert!(tables.lines().all(|line| line.chars().count() <= 80), "a table that an 80 column terminal breaks");
        // One word means one thing.
        assert!(!help.contains("COMMAND"), "{help}");
    }

    #[test]
    fn every_option_is_in_a_group() {
        let command = command("x");
        let stray: Vec<_> = command.get_arguments().filter(|arg| arg.get_help_heading().is_none()).collect();
        // For processes that the program starts itself.
        assert!(stray.iter().all(|arg| arg.is_hide_set()), "{stray:?}");
    }

    #[test]
    fn the_examples_can_be_typed() {
        for (line, _) in EXAMPLES {
            let line = line.split(['<', '>', '|']).next().unwrap_or_default();
            // As a shell takes it apart, as far as the examples need it.
            let quoted = line.split('\'').enumerate();
            let words =
                quoted.flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
            let words = serve_last(words.into_iter().map(OsString::from));
            command("x").try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn the_manual_page_has_every_option_of_every_tool() {
        let page = String::from_utf8(page().expect("memory takes it")).expect("text").replace("\\-", "-");
        let mut command = Args::command();
        command.build();
        let shown = |command: &Command| !command.is_hide_set() && command.get_name() != "help";
        let tools = command.get_subcommands().filter(|tool| shown(tool));
        for command in std::iter::once(&command).chain(tools) {
            for long in command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{long}")), "no --{long} of {} in\n{page}", command.get_name());
            }
        }
        for name in ["EXAMPLES", "ENVIRONMENT", "FILES", "EXIT STATUS", "UNDERSTUDY FUZZ"] {
            assert!(page.contains(&format!(".SH \"{name}\"")), "no {name} in\n{page}");
        }
    }

    #[test]
    fn a_line_of_the_manual_is_no_request() {
        assert_eq!(escaped(".so it 'goes' \\n"), "\\&.so it \\(aqgoes\\(aq \\en");
    }

    #[test]
    fn every_shell_gets_our_options() {
        for shell in clap::ValueEnum::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate::<Shell, _>(*shell, &mut Args::command(), "understudy", &mut script);
            assert!(String::from_utf8_lossy(&script).contains("failure-rate"), "{shell}");
        }
    }
}
