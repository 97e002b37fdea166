//! What has happened otherwise. A branch is a [`Recipe`] and how far it has come, so it takes hardly any memory, and
//! any of them can be gone on with.

use super::World;
use super::recipe::{Act, Cooked, Moment, Recipe};
use crate::cluster::Branch;
use crate::core::protocol::Time;

/// At most this many branches are kept: the alphabet names them.
const BRANCHES_MAX: usize = 26;
/// A name has no more characters.
const NAME_CHARS_MAX: usize = 16;

/// One of them.
#[derive(Debug)]
struct Kept {
    name: String,
    recipe: Recipe,
    from: Option<(usize, Time)>,
    what: Option<String>,
    /// How far it had come when it was left.
    left: Option<Moment>,
}

/// All of them, and which goes on.
#[derive(Debug)]
pub(super) struct Branches {
    all: Vec<Kept>,
    here: usize,
}

impl Branches {
    /// One, of a fresh world.
    pub(super) fn new(recipe: Recipe) -> Self {
        let first = Kept { name: "a".to_owned(), recipe, from: None, what: None, left: None };
        Self { all: vec![first], here: 0 }
    }

    /// This is about to be done to the world.
    pub(super) fn note(&mut self, world: &World, act: Act) {
        let here = &mut self.all[self.here];
        if let (None, Act::Submit(command)) = (&here.what, &act) {
            here.what = here.from.is_some().then(|| command.to_string());
        }
        here.recipe.note(world, act);
    }

    /// Somebody says what is done; the first of it is what the branch is about.
    pub(super) fn begun_by(&mut self, what: &str) {
        let here = &mut self.all[self.here];
        if here.from.is_some() && here.what.is_none() {
            here.what = Some(what.to_owned());
        }
    }

    /// Begins a branch that goes on from this time; gives its number and its world.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn fork(&mut self, world: &World, at: Time) -> Result<(usize, Cooked), String> {
        let number = self.all.len();
        if number == BRANCHES_MAX {
            return Err(format!("there are {BRANCHES_MAX} branches, and no more: BRANCH goes on with one of them"));
        }
        let here = &mut self.all[self.here];
        here.left = Some(Moment::of(world));
        let recipe = here.recipe.until(at);
        let cooked = recipe.at(at);
        let name = char::from(b'a' + u8::try_from(number).unwrap_or(u8::MAX)).to_string();
        self.all.push(Kept { name, recipe, from: Some((self.here, at)), what: None, left: None });
        self.here = number;
        Ok((number, cooked))
    }

    /// The world as it was at this time.
    pub(super) fn past(&self, at: Time) -> World {
        self.all[self.here].recipe.until(at).at(at).world
    }

    /// Goes on with another one; gives its world, unless it is the one that goes on.
    ///
    /// # Errors
    /// When there is no such branch.
    pub(super) fn switch(&mut self, world: &World, to: usize) -> Result<Option<Cooked>, String> {
        if to == self.here {
            return Ok(None);
        }
        let other = self.all.get(to).ok_or("there is no such branch: BRANCH lists them")?;
        let cooked = other.left.map_or_else(|| other.recipe.at(Time(0)), |left| other.recipe.at_moment(left));
        self.all[self.here].left = Some(Moment::of(world));
        self.here = to;
        Ok(Some(cooked))
    }

    /// Calls one by another name.
    ///
    /// # Errors
    /// When the name is taken, or too long.
    pub(super) fn rename(&mut self, branch: usize, name: String) -> Result<(), String> {
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(format!("a branch has a name of at most {NAME_CHARS_MAX} letters"));
        }
        if self.all.iter().any(|known| known.name.eq_ignore_ascii_case(&name)) {
            return Err(format!("there is a branch {name} already"));
        }
        let branch = self.all.get_mut(branch).ok_or("there is no such branch: BRANCH lists them")?;
        branch.name = name;
        Ok(())
    }

    /// All of them, in the order in which they began.
    pub(super) fn list(&self, world: &World) -> Vec<Branch> {
        let told = |(number, kept): (usize, &Kept)| Branch {
            number,
            name: kept.name.clone(),
            from: kept.from.map(|(from, at)| (self.all[from].name.clone(), at)),
            what: kept.what.clone(),
            until: kept.left.filter(|_| number != self.here).map_or(world.now(), |left| left.at),
            is_here: number == self.here,
        };
        self.all.iter().enumerate().map(told).collect()
    }
}
