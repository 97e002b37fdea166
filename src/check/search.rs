//! The search for an order that explains a history.
//!
//! Calls and returns stand in one list in the order of time. Whatever is called before the first return
//! in the list may come next; what is chosen is taken out of the list; when nothing fits, the last choice
//! is taken back (Wing and Gong, 1993; the list and the memory of what was tried: Lowe, 2017).
//!
//! Some observations keep the search short:
//!
//! * A state that is left for another must not be needed any more: when an answer still to be explained can
//!   only be given in that state, something that is still to come must bring the state back.
//! * Operations return in about the order in which they happened, so candidates are tried in that order.
//! * An answer that says that nothing was changed (that of a read, or `(nil)`), and fits, can be put first
//!   without loss: there is nothing to try besides.
//! * Of candidates that do and answer the same, the one that returned first can go first.
//! * An operation without a return matters only if somebody sees its effect: one whose effect is overwritten
//!   at once need not be tried.

use super::model::{ModelAnswer, ModelCommand, State};
use crate::core::protocol::Time;
use std::collections::{HashMap, HashSet};

/// What an operation does, on which of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum SearchAction {
    One {
        key: u32,
        act: ModelCommand,
    },
    Count,
    /// The keys that match, in order, and whether each was answered.
    Keys(Box<[(u32, bool)]>),
}

/// An operation as the search sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) call: Time,
    /// `None`: it may have happened at any time since its call, or not at all.
    pub(super) end: Option<Time>,
    pub(super) action: SearchAction,
    /// `None`: any answer will do.
    pub(super) answer: Option<ModelAnswer>,
}

impl Item {
    fn key(&self) -> Option<u32> {
        if let SearchAction::One { key, .. } = self.action { Some(key) } else { None }
    }

    /// The state that this brings about; [`State::Any`] when that depends.
    fn brings(&self) -> Option<(u32, State)> {
        let SearchAction::One { key, act } = self.action else { return None };
        act.brings(self.answer.as_ref()).map(|state| (key, state))
    }

    /// The one state in which this can be answered so. What need not happen needs nothing.
    fn needs(&self) -> Option<(u32, State)> {
        let SearchAction::One { key, act } = self.action else { return None };
        self.end?;
        act.needs(self.answer.as_ref()?).map(|state| (key, state))
    }

    fn changes_nothing(&self) -> bool {
        match (&self.action, &self.answer) {
            (SearchAction::One { act, .. }, Some(answer)) => act.changes_nothing(answer),
            (SearchAction::One { act, .. }, None) => *act == ModelCommand::Get,
            (SearchAction::Count | SearchAction::Keys(_), _) => true,
        }
    }
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchEnd {
    /// There is an order (and whoever was asked wanted no other).
    Order,
    /// There is none.
    Stuck,
    /// It took too many steps.
    GaveUp,
}

/// A choice that can be taken back.
struct Choice {
    item: u32,
    /// There was nothing to try besides.
    forced: bool,
    /// The key that changed, and what it was.
    undo: Option<(u32, State)>,
}

/// One search over the items of one partition.
pub(super) struct Search<'a> {
    items: &'a [Item],
    /// Items that do and answer the same have the same number.
    class: Vec<u32>,
    /// Items whose answer says that they changed nothing.
    changes_nothing: Vec<bool>,
    /// The states that matter: who brings them about, who needs them.
    states: HashMap<(u32, State), u32>,
    brings: Vec<u32>,
    needs: Vec<u32>,
    /// For every state that matters: items not placed that bring it about, and that need it.
    bringers: Vec<u32>,
    needers: Vec<u32>,
    /// Per key: items not placed that may bring about anything.
    wild: Vec<u32>,
    /// The list: node `2i` is the call of item `i`, `2i + 1` its return, the last node is both ends.
    next: Vec<u32>,
    prev: Vec<u32>,
    keys: Vec<State>,
    present: i64,
    digest: u128,
    /// Items that must be placed and are not.
    open: usize,
    tried: HashSet<u128>,
    path: Vec<Choice>,
}

/// No state that matters.
const NONE: u32 = u32::MAX;
/// Any state.
const WILD: u32 = u32::MAX - 1;

/// A number that looks random: the finaliser of SplitMix64, twice.
fn scatter(seed: u64) -> u128 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let low = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
    u128::from(mix(low ^ 0x5851_f42d_4c95_7f2d)) << 64 | u128::from(low)
}

fn share_of_state(key: u32, state: State) -> u128 {
    let content = match state {
        State::Any => return scatter(u64::from(key) << 2 | 1 << 40),
        State::Absent => return 0,
        State::Present(value) => value.digest(),
    };
    scatter(content ^ scatter(u64::from(key) << 2 | 2 << 40) as u64)
}

impl<'a> Search<'a> {
    /// A search over `items` with calls in ascending order, that starts with these keys.
    pub(super) fn new(items: &'a [Item], keys: Vec<State>) -> Self {
        let mut classes: HashMap<(&SearchAction, &Option<ModelAnswer>), u32> = HashMap::new();
        let class = items
            .iter()
            .map(|item| {
                let fresh = u32::try_from(classes.len()).expect("histories have fewer operations");
                *classes.entry((&item.action, &item.answer)).or_insert(fresh)
            })
            .collect();
        let mut states: HashMap<(u32, State), u32> = HashMap::new();
        let mut number = |state: Option<(u32, State)>| match state {
            None => NONE,
            Some((_, State::Any)) => WILD,
            Some(state) => {
                let fresh = u32::try_from(states.len()).expect("histories have fewer operations");
                *states.entry(state).or_insert(fresh)
            }
        };
        let brings: Vec<u32> = items.iter().map(|item| number(item.brings())).collect();
        let needs: Vec<u32> = items.iter().map(|item| number(item.needs())).collect();
        let count = |of: &[u32]| {
            let mut counts = vec![0; states.len()];
            of.iter().filter(|state| **state < WILD).for_each(|state| counts[*state as usize] += 1);
            counts
        };
        let mut wild = vec![0; keys.len()];
        let wild_items = items.iter().zip(&brings).filter(|(_, brings)| **brings == WILD);
        wild_items.filter_map(|(item, _)| item.key()).for_each(|key| wild[key as usize] += 1);
        let mut nodes: Vec<(Time, u32)> = Vec::with_capacity(items.len() * 2);
        for (node, item) in (0u32..).step_by(2).zip(items) {
            nodes.push((item.call, node));
            nodes.extend(item.end.map(|end| (end, node + 1)));
        }
        // At the same instant calls come first: then the two were concurrent.
        nodes.sort_by_key(|&(at, node)| (at, node & 1, node));
        let ends = items.len() * 2;
        let mut search = Self {
            items,
            class,
            changes_nothing: items.iter().map(Item::changes_nothing).collect(),
            bringers: count(&brings),
            needers: count(&needs),
            states,
            brings,
            needs,
            wild,
            next: vec![0; ends + 1],
            prev: vec![0; ends + 1],
            present: keys.iter().filter(|key| matches!(key, State::Present(_))).count().cast_signed() as i64,
            digest: (0u32..).zip(&keys).fold(0, |digest, (key, state)| digest ^ share_of_state(key, *state)),
            keys,
            open: items.iter().filter(|item| item.end.is_some()).count(),
            tried: HashSet::new(),
            path: Vec::new(),
        };
        let mut last = ends as u32;
        for &(_, node) in &nodes {
            search.next[last as usize] = node;
            search.prev[node as usize] = last;
            last = node;
        }
        search.next[last as usize] = ends as u32;
        search.prev[ends] = last;
        search
    }

    /// The keys as they are at this point.
    pub(super) fn keys(&self) -> &[State] {
        &self.keys
    }

    /// The items that have not been placed.
    pub(super) fn left(&self) -> impl Iterator<Item = usize> + '_ {
        let mut node = self.next[self.items.len() * 2];
        std::iter::from_fn(move || {
            let item = (node as usize) / 2;
            node = *self.next.get(node as usize)?;
            (item < self.items.len()).then_some(item)
        })
    }

    /// Searches. Every order found is shown to `enough`, which says whether it wants no other.
    pub(super) fn run(&mut self, steps_max: u64, mut enough: impl FnMut(&Self) -> bool) -> SearchEnd {
        let mut candidates: Vec<(Time, u32)> = Vec::new();
        let mut seen: Vec<u64> = vec![0; self.items.len()];
        // After taking back a choice: only what comes after it is left to try.
        let mut after: Option<(Time, u32)> = None;
        let mut found_any = false;
        for step in 1.. {
            if step > steps_max {
                return SearchEnd::GaveUp;
            }
            let mut advanced = false;
            if self.open == 0 {
                found_any = true;
                if enough(self) {
                    return SearchEnd::Order;
                }
            } else {
                self.collect(&mut candidates);
                advanced = (after.is_none() && self.place_free(&candidates))
                    || self.place_one(&candidates, after, &mut seen, step);
            }
            if advanced {
                after = None;
            } else {
                after = self.take_back();
                if after.is_none() {
                    return if found_any { SearchEnd::Order } else { SearchEnd::Stuck };
                }
            }
        }
        unreachable!("the steps are counted")
    }

    /// Whatever may come next, in the order in which it returned.
    fn collect(&self, candidates: &mut Vec<(Time, u32)>) {
        candidates.clear();
        let mut node = self.next[self.items.len() * 2];
        while node & 1 == 0 && (node as usize) < self.items.len() * 2 {
            let item = node / 2;
            candidates.push((self.items[item as usize].end.unwrap_or(Time::NEVER), item));
            node = self.next[node as usize];
        }
        candidates.sort_unstable();
    }

    /// Places something that fits and can change nothing, here or elsewhere.
    fn place_free(&mut self, candidates: &[(Time, u32)]) -> bool {
        for &(end, item) in candidates {
            if end == Time::NEVER || !self.changes_nothing[item as usize] {
                continue;
            }
            // Of a state that is not known yet it would tell something, so when it comes would matter.
            let tells = |(key, state): (u32, State)| self.keys[key as usize] != state;
            if self.outcome(item).is_some_and(|outcome| !outcome.is_some_and(tells)) {
                self.lift(item);
                self.path.push(Choice { item, forced: true, undo: None });
                return true;
            }
        }
        false
    }

    fn place_one(
        &mut self,
        candidates: &[(Time, u32)],
        after: Option<(Time, u32)>,
        seen: &mut [u64],
        step: u64,
    ) -> bool {
        for &(end, item) in candidates {
            let class = self.class[item as usize] as usize;
            if std::mem::replace(&mut seen[class], step) == step || after.is_some_and(|after| (end, item) <= after) {
                continue;
            }
            let Some(Some((key, state))) = self.outcome(item) else { continue };
            let before = self.keys[key as usize];
            let useless = end == Time::NEVER && state == before;
            if useless || self.would_hide_the_last(item) || (state != before && self.is_needed(item, key, before)) {
                continue;
            }
            self.lift(item);
            self.set(key, state);
            if self.tried.insert(self.digest) {
                self.path.push(Choice { item, forced: false, undo: Some((key, before)) });
                return true;
            }
            self.set(key, before);
            self.unlift(item);
        }
        false
    }

    /// What the item would make of its key, if it has one: `None` when it does not fit.
    fn outcome(&self, item: u32) -> Option<Option<(u32, State)>> {
        let Item { action, answer, .. } = &self.items[item as usize];
        match action {
            SearchAction::One { key, act } => {
                let state = self.keys[*key as usize];
                let next = match answer {
                    Some(answer) => act.admits(state, answer)?,
                    None => act.effect(state),
                };
                Some(Some((*key, next)))
            }
            SearchAction::Count => (*answer == Some(ModelAnswer::Integer(self.present))).then_some(None),
            SearchAction::Keys(matching) => {
                let is_present = |key: u32| matches!(self.keys[key as usize], State::Present(_));
                matching.iter().all(|(key, answered)| is_present(*key) == *answered).then_some(None)
            }
        }
    }

    /// True when `item` overwrites what an operation that need not have happened has just written.
    fn would_hide_the_last(&self, item: u32) -> bool {
        let Some(last) = self.path.last() else { return false };
        let SearchAction::One { key, act: ModelCommand::Put(_) } = self.items[item as usize].action else {
            return false;
        };
        self.items[last.item as usize].end.is_none() && last.undo.is_some_and(|(written, _)| written == key)
    }

    /// True when something that is not placed needs `state`, and nothing that is not placed could bring it back.
    fn is_needed(&self, item: u32, key: u32, state: State) -> bool {
        let Some(&number) = self.states.get(&(key, state)) else { return false };
        let others = |of: &[u32], mine: &[u32]| of[number as usize] - u32::from(mine[item as usize] == number);
        let wild = self.wild[key as usize] - u32::from(self.brings[item as usize] == WILD);
        wild == 0 && others(&self.needers, &self.needs) > 0 && others(&self.bringers, &self.brings) == 0
    }

    fn take_back(&mut self) -> Option<(Time, u32)> {
        while let Some(Choice { item, forced, undo }) = self.path.pop() {
            if let Some((key, before)) = undo {
                self.set(key, before);
            }
            self.unlift(item);
            if !forced {
                return Some((self.items[item as usize].end.unwrap_or(Time::NEVER), item));
            }
        }
        None
    }

    fn set(&mut self, key: u32, state: State) {
        let before = std::mem::replace(&mut self.keys[key as usize], state);
        self.digest ^= share_of_state(key, before) ^ share_of_state(key, state);
        self.present += i64::from(matches!(state, State::Present(_)));
        self.present -= i64::from(matches!(before, State::Present(_)));
    }

    fn lift(&mut self, item: u32) {
        self.unlink(item * 2);
        if self.items[item as usize].end.is_some() {
            self.unlink(item * 2 + 1);
            self.open -= 1;
        }
        self.count(item, u32::wrapping_sub);
        self.digest ^= scatter(u64::from(item));
    }

    fn unlift(&mut self, item: u32) {
        if self.items[item as usize].end.is_some() {
            self.relink(item * 2 + 1);
            self.open += 1;
        }
        self.count(item, u32::wrapping_add);
        self.relink(item * 2);
        self.digest ^= scatter(u64::from(item));
    }

    fn count(&mut self, item: u32, change: fn(u32, u32) -> u32) {
        let (brings, needs) = (self.brings[item as usize], self.needs[item as usize]);
        if brings < WILD {
            self.bringers[brings as usize] = change(self.bringers[brings as usize], 1);
        } else if brings == WILD
            && let Some(key) = self.items[item as usize].key()
        {
            self.wild[key as usize] = change(self.wild[key as usize], 1);
        }
        if needs < WILD {
            self.needers[needs as usize] = change(self.needers[needs as usize], 1);
        }
    }

    fn unlink(&mut self, node: u32) {
        let (prev, next) = (self.prev[node as usize], self.next[node as usize]);
        self.next[prev as usize] = next;
        self.prev[next as usize] = prev;
    }

    fn relink(&mut self, node: u32) {
        let (prev, next) = (self.prev[node as usize], self.next[node as usize]);
        self.next[prev as usize] = node;
        self.prev[next as usize] = node;
    }
}
