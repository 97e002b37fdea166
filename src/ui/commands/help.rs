//! What `HELP` answers: all commands, a group of them, or one explained; all of it read off the table.

use super::table::{COMMANDS, CommandGroup, CommandSpec, find, nearest};
use super::{keys, stored};

/// `HELP` fits into this many columns: those of a page on a terminal of 80.
const HELP_COLUMNS: usize = 76;

/// What `HELP` answers.
///
/// # Errors
/// When there is no such command: the nearest.
pub fn help(topic: Option<&str>) -> Result<String, String> {
    let Some(topic) = topic else { return Ok(help_overview()) };
    if let Some(spec) = find(topic.as_bytes()) {
        return Ok(help_command(spec));
    }
    if let Some(group) = CommandGroup::ALL.into_iter().find(|group| group.name().eq_ignore_ascii_case(topic)) {
        let of_group = COMMANDS.iter().filter(|spec| spec.group == group);
        return Ok(of_group.map(|s| format!("{:<20}{}", s.usage(), s.help)).collect::<Vec<_>>().join("\n"));
    }
    let redis: Vec<_> =
        stored::of_group(&topic.to_ascii_lowercase()).map(|s| format!("{}: {}", s.usage(), s.help)).collect();
    if !redis.is_empty() {
        return Ok(redis.join("\n"));
    }
    // A person asks for the key by its name as readily as for all of them.
    let asked = topic.to_ascii_uppercase();
    let of_keys: Vec<_> = keys::KEYS.iter().filter(|k| asked == "KEYBOARD" || asked == k.name()).collect();
    if !of_keys.is_empty() {
        return Ok(of_keys.iter().map(|k| k.help_line()).collect::<Vec<_>>().join("\n"));
    }
    let near = nearest(topic.as_bytes()).map_or(String::new(), |near| format!("did you mean {near}? "));
    Err(format!("no command '{topic}': {near}HELP lists all commands"))
}

/// All commands on a few lines: it has to fit under a dashboard.
fn help_overview() -> String {
    let mut lines = Vec::new();
    for group in CommandGroup::ALL {
        let of_group = COMMANDS.iter().filter(|spec| spec.group == group).map(CommandSpec::usage);
        lines.extend(wrap(&format!("{:<6}", group.name()), of_group));
    }
    lines.extend(wrap("redis ", stored::GROUPS.iter().map(|group| format!("HELP {group}"))));
    let keys = keys::KEYS.iter().map(|k| format!("{} {}", k.name(), k.label));
    lines.extend(wrap("keys  ", keys));
    lines.push("HELP command explains one; who: a rank, primary, backup; 5 INCR x repeats".to_owned());
    lines.join("\n")
}

/// The pieces, separated by ` · `, in lines of at most [`HELP_COLUMNS`], the first after `title`.
fn wrap(title: &str, pieces: impl Iterator<Item = String>) -> Vec<String> {
    let indent = " ".repeat(title.chars().count());
    let mut lines = vec![title.to_owned()];
    let mut columns = indent.len();
    for piece in pieces {
        let width = piece.chars().count();
        if columns > indent.len() && columns + " · ".chars().count() + width > HELP_COLUMNS {
            lines.push(indent.clone());
            columns = indent.len();
        }
        let line = lines.last_mut().expect("there is a first line");
        if columns > indent.len() {
            line.push_str(" · ");
            columns += 3;
        }
        line.push_str(&piece);
        columns += width;
    }
    lines
}

fn help_command(spec: &CommandSpec) -> String {
    let mut text = format!("{}: {}", spec.usage(), spec.help);
    if !spec.aliases.is_empty() {
        text.push_str(&format!("\nalso called: {}", spec.aliases.join(", ")));
    }
    for parameter in spec.parameters {
        if let Some(explained) = parameter.kind.explained() {
            text.push_str(&format!("\n{}: {explained}", parameter.name));
        }
    }
    text.push_str(&format!("\nexample: {}", spec.example));
    text
}

#[cfg(test)]
mod tests {
    use super::super::table::markdown_tables;
    use super::*;

    #[test]
    fn help_fits_under_a_dashboard_and_names_everything() {
        let text = help(None).expect("there is an overview");
        assert!(text.lines().all(|line| line.chars().count() <= HELP_COLUMNS), "{text}");
        assert!(text.lines().count() <= 17, "{text}");
        assert!(COMMANDS.iter().all(|spec| text.contains(&spec.usage())), "{text}");
        assert!(help(Some("break")).expect("a group").contains("CUT a b [oneway]"));
        assert!(help(Some("f5")).expect("a key").contains("Ctrl-X"));
        assert_eq!(help(Some("gett")), Err("no command 'gett': did you mean GET? HELP lists all commands".to_owned()));
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<_> = COMMANDS.iter().flat_map(CommandSpec::names).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn the_tables_of_the_readme_hold_every_command() {
        let tables = markdown_tables();
        assert!(COMMANDS.iter().all(|spec| tables.contains(&format!("| `{}`", spec.usage()))), "{tables}");
        assert!(tables.contains("| `QUIT` (`EXIT`) |"));
    }
}
