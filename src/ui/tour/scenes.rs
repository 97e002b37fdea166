//! The scenes that this program brings along.

use super::scene::{TourScene, read};
use crate::core::protocol::Rule;

/// A scene that is part of the program: its name and its file.
type BuiltIn = (&'static str, &'static str, &'static str);

macro_rules! scene {
    ($folder:literal, $name:literal) => {
        (
            $name,
            concat!("assets/tour/", $folder, $name, ".txt"),
            include_str!(concat!("../../../assets/tour/", $folder, $name, ".txt")),
        )
    };
}

/// The lecture, in its order.
const LECTURE: &[BuiltIn] = &[
    scene!("", "who-has-it"),
    scene!("", "four-deaths"),
    scene!("", "dead-or-slow"),
    scene!("", "cut-link"),
    scene!("", "two-rulers"),
    scene!("", "after-ok"),
    scene!("", "bad-line"),
    scene!("", "late-letter"),
    scene!("", "quick-restart"),
    scene!("", "all-empty"),
];

/// One for each rule: what goes wrong without it.
const RULES: &[BuiltIn] = &[
    scene!("rules/", "wait-for-all"),
    scene!("rules/", "lease"),
    scene!("rules/", "fencing"),
    scene!("rules/", "sessions"),
    scene!("rules/", "incarnation"),
    scene!("rules/", "join-before-count"),
    scene!("rules/", "tail"),
    scene!("rules/", "confirm"),
    scene!("rules/", "proof-of-death"),
    scene!("rules/", "sync-before-ack"),
    scene!("rules/", "persist-view"),
    scene!("rules/", "recover-highest-view"),
];

fn all_of(scenes: &[BuiltIn]) -> Result<Vec<TourScene>, String> {
    scenes.iter().map(|(name, file, text)| read(name, file, text)).collect()
}

/// The scenes of the lecture.
///
/// # Errors
/// None that a test would not have found.
pub fn lecture() -> Result<Vec<TourScene>, String> {
    all_of(LECTURE)
}

/// The scenes of the rules, in their order.
///
/// # Errors
/// None that a test would not have found.
pub fn of_rules() -> Result<Vec<TourScene>, String> {
    all_of(RULES)
}

/// The scene of this name, or of this number in the lecture.
///
/// # Errors
/// What there is, when there is none.
pub fn find(name: &str) -> Result<TourScene, String> {
    let by_number = name.parse::<usize>().ok().and_then(|number| LECTURE.get(number.checked_sub(1)?));
    let by_name = || LECTURE.iter().chain(RULES).find(|(known, ..)| known.eq_ignore_ascii_case(name));
    let Some((name, file, text)) = by_number.or_else(by_name) else {
        let names: Vec<&str> = LECTURE.iter().chain(RULES).map(|(name, ..)| *name).collect();
        return Err(format!("there is no scene {name}: choose 1 to {}, or one of {}", LECTURE.len(), names.join(", ")));
    };
    read(name, file, text)
}

/// The file of the scene of a rule.
#[must_use]
pub fn file_of(rule: Rule) -> Option<&'static str> {
    RULES.iter().find(|(name, ..)| *name == rule.name()).map(|(_, file, _)| *file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_can_be_read_and_found() {
        let (lecture, rules) = (lecture().expect("they are scenes"), of_rules().expect("they are scenes"));
        assert_eq!(find("3"), Ok(lecture[2].clone()));
        assert_eq!(find("DEAD-or-slow"), Ok(lecture[2].clone()));
        assert_eq!(find("lease").map(|scene| scene.name), Ok("lease".to_owned()));
        assert!(["0", "11", "-1", "", "nothing"].iter().all(|name| find(name).is_err()));
        let names: Vec<&str> = rules.iter().map(|scene| scene.name.as_str()).collect();
        assert_eq!(names, Rule::ALL.map(Rule::name));
        assert!(lecture.iter().chain(&rules).all(|scene| find(&scene.name).as_ref() == Ok(scene)));
    }
}
