//! What goes onto a disk, and what comes back from it.
//!
//! A log is a row of [`Record`]s. What they mean is decided here and nowhere else: [`Recovery`] folds over them and
//! gives what a server had ([`Recovered`]). How records become bytes, and which bytes are to be believed, is
//! [`crate::core::disk`]'s.
//!
//! A whole state is in the log as well, part by part: [`Record::Begin`], then [`Record::Part`]s up to the last one. So
//! a snapshot is a stretch of the log, and what comes before it is needed no more.
//!
//! # Caveats
//!
//! Between [`Record::Begin`] and the last part the log goes on: writes that were taken in meanwhile are part of both,
//! and count once.

use super::history::History;
use super::message::SnapshotPart;
use super::view::{Member, View, ViewNumber};
use crate::core::store::{Importer, LogEntry, OpNumber, SnapshotError, Store};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// One thing that must not be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A life of a server begins with what the records before this one hold.
    Life { member: Member },
    /// A life of a server begins, and what the records before this one hold counts no more.
    Forgot { member: Member },
    /// This member has, in this view, the log up to `keep` and nothing else: it installed the view, or was given
    /// everything by its primary.
    View { member: Member, view: Arc<View>, keep: OpNumber },
    /// A write was taken in, in this view, when everything up to `commit` was known to be committed.
    Entry { view: ViewNumber, commit: OpNumber, entry: Arc<LogEntry> },
    /// A whole state follows, which this member has in this view. `replaces`: it comes from another server, and what
    /// the records before hold counts no more once all of it is there.
    Begin { member: Member, view: Option<Arc<View>>, replaces: bool },
    /// A part of it.
    Part { part: Arc<SnapshotPart> },
    /// The metadata server was started; `run` counts its starts.
    Run { run: u64 },
    /// The metadata server has decided on a view; `from`: its primary leads it with what this life had.
    Chosen { view: Arc<View>, from: Option<Member> },
    /// The same, and which run it is: what the records before this one hold is needed no more.
    Summary { run: u64, view: Arc<View>, from: Option<Member> },
}

impl Record {
    /// The newest write in a log after this record, with that one before it.
    #[must_use]
    pub fn newest_op(&self, before: OpNumber) -> OpNumber {
        match self {
            Self::Entry { entry, .. } => entry.op,
            Self::View { keep, .. } => before.min(*keep),
            // What was there counts no more, at once or when the other state is whole.
            Self::Forgot { .. } | Self::Begin { replaces: true, .. } => OpNumber(0),
            Self::Part { part } => match &**part {
                SnapshotPart::Finale(finale) => before.max(finale.op),
                _ => before,
            },
            _ => before,
        }
    }

    /// The name in print.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Life { .. } => "Life",
            Self::Forgot { .. } => "Forgot",
            Self::View { .. } => "View",
            Self::Entry { .. } => "Entry",
            Self::Begin { .. } => "Begin",
            Self::Part { .. } => "Part",
            Self::Run { .. } => "Run",
            Self::Chosen { .. } => "Chosen",
            Self::Summary { .. } => "Summary",
        }
    }

    /// True when what comes before this record is needed no more once it, or the state that begins with it, is there.
    #[must_use]
    pub fn replaces_what_was(&self) -> bool {
        matches!(self, Self::Begin { .. } | Self::Forgot { .. } | Self::Summary { .. })
    }
}

impl fmt::Display for Record {
    /// The common notation: `Entry view=3 op=7 commit=6 c0#12 PUT a 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Life { member } | Self::Forgot { member } => write!(f, " {member}"),
            Self::View { member, view, keep } => write!(f, " {member} {view} keep={keep}"),
            Self::Entry { view, commit, entry } => {
                let LogEntry { op, client, seq, command, .. } = &**entry;
                write!(f, " view={view} op={op} commit={commit} c{client}#{seq} {command}")
            }
            Self::Begin { member, replaces, .. } => {
                write!(f, " {member}{}", if *replaces { " from another server" } else { "" })
            }
            Self::Part { part } => match &**part {
                SnapshotPart::Chunk(chunk) => write!(f, " keys={}", chunk.pieces.len()),
                SnapshotPart::Finale(finale) => write!(f, " last op={} digest={:016x}", finale.op, finale.digest),
                // Those are in a log as writes.
                SnapshotPart::Missing(_) | SnapshotPart::NoneMissing => Ok(()),
            },
            Self::Run { run } => write!(f, " {run}"),
            Self::Chosen { view, from: None } => write!(f, " {view}"),
            Self::Chosen { view, from: Some(from) } => write!(f, " {view} from={from}"),
            Self::Summary { run, view, from: None } => write!(f, " run={run} {view}"),
            Self::Summary { run, view, from: Some(from) } => write!(f, " run={run} {view} from={from}"),
        }
    }
}

/// Why a row of records makes no sense, although each of them is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nonsense {
    /// A write follows that is not the next.
    Gap { expected: OpNumber, found: OpNumber },
    /// Part of a state that has not begun.
    NoBeginning,
    /// A whole state is not what it says it is.
    Snapshot(SnapshotError),
    /// The writes before a snapshot do not give what is in it.
    Digest { op: OpNumber },
    /// A view drops writes that were known to be committed.
    Committed { op: OpNumber, keep: OpNumber },
    /// There is no whole state to begin with.
    NoState,
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { expected, found } => write!(f, "op {expected} should follow, and there is op {found}"),
            Self::NoBeginning => f.write_str("part of a state that has not begun"),
            Self::Snapshot(error) => error.fmt(f),
            Self::Digest { op } => write!(f, "the writes up to op {op} do not give what the snapshot says"),
            Self::Committed { op, keep } => write!(f, "a view keeps writes up to op {keep}, but op {op} is committed"),
            Self::NoState => f.write_str("there is no whole state that the log begins with"),
        }
    }
}

/// What a server has when it comes back.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The life that ended.
    pub member: Option<Member>,
    /// The life that had what is in the log, and the newest view that this belongs to.
    pub holder: Option<(Member, Arc<View>)>,
    /// The life that has installed that view; without one, the first life in the log. It, the one that ended, and all
    /// in between have installed no other.
    pub since: Option<Member>,
    /// Everything that is known to be committed.
    pub store: Store,
    /// What follows, in order, not known to be committed.
    pub log: VecDeque<Arc<LogEntry>>,
    /// The latest writes of what is committed.
    pub history: History,
    /// The newest view that the metadata server has decided on.
    pub chosen: Option<Arc<View>>,
    /// The life whose log its primary leads it with, if all were down before.
    pub chosen_from: Option<Member>,
    /// How often the metadata server was started.
    pub run: u64,
    /// How many records of the metadata server there are since the last summary.
    pub since_summary: u64,
}

impl Recovered {
    /// The newest write there is.
    #[must_use]
    pub fn op(&self) -> OpNumber {
        OpNumber(self.store.op().0 + self.log.len() as u64)
    }
}

/// A state that is coming.
#[derive(Debug)]
struct Coming {
    /// `None`: what it will hold is known already.
    importer: Option<Importer>,
    replaces: bool,
    holder: Option<(Member, Arc<View>)>,
}

/// Reads a row of records.
#[derive(Debug)]
pub struct Recovery {
    member: Option<Member>,
    holder: Option<(Member, Arc<View>)>,
    since: Option<Member>,
    /// `None` as long as the log's first state is not whole.
    store: Option<Store>,
    log: VecDeque<Arc<LogEntry>>,
    history: History,
    committed: OpNumber,
    coming: Option<Coming>,
    chosen: Option<Arc<View>>,
    chosen_from: Option<Member>,
    run: u64,
    since_summary: u64,
}

impl Recovery {
    /// Before the first record. `from_start`: it is the first that was ever written.
    #[must_use]
    pub fn new(from_start: bool) -> Self {
        Self {
            member: None,
            holder: None,
            since: None,
            store: from_start.then(Store::default),
            log: VecDeque::new(),
            history: History::default(),
            committed: OpNumber(0),
            coming: None,
            chosen: None,
            chosen_from: None,
            run: 0,
            since_summary: 0,
        }
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// When it cannot follow those before.
    pub fn take(&mut self, record: Record) -> Result<(), Nonsense> {
        match record {
            Record::Life { member } => {
                self.coming = None;
                self.member = Some(member);
                self.since = self.since.or(Some(member));
            }
            Record::Forgot { member } => {
                *self = Self { member: Some(member), since: Some(member), ..Self::new(true) };
            }
            Record::View { member, view, keep } => {
                self.keep(keep)?;
                self.since = Some(member);
                self.holder = Some((member, view));
            }
            Record::Entry { commit, entry, .. } => {
                let expected = self.op().map(OpNumber::next);
                if let Some(expected) = expected.filter(|expected| *expected != entry.op) {
                    return Err(Nonsense::Gap { expected, found: entry.op });
                }
                self.log.push_back(entry);
                self.commit(commit);
            }
            Record::Begin { member, view, replaces } => {
                let importer = (replaces || self.store.is_none()).then(Importer::default);
                self.member = self.member.max(Some(member));
                self.coming = Some(Coming { importer, holder: view.map(|view| (member, view)), replaces });
            }
            Record::Part { part } => self.part(Arc::unwrap_or_clone(part))?,
            Record::Run { run } => {
                self.run = run;
                self.since_summary += 1;
            }
            Record::Chosen { view, from } => {
                (self.chosen, self.chosen_from) = (Some(view), from);
                self.since_summary += 1;
            }
            Record::Summary { run, view, from } => {
                *self = Self { run, chosen: Some(view), chosen_from: from, ..Self::new(true) };
            }
        }
        Ok(())
    }

    /// The newest write so far; `None` when the log says nothing of it.
    fn op(&self) -> Option<OpNumber> {
        let stored = self.store.as_ref().map(Store::op);
        self.log.back().map(|entry| entry.op).or(stored)
    }

    fn keep(&mut self, keep: OpNumber) -> Result<(), Nonsense> {
        if let Some(op) = self.store.as_ref().map(Store::op).filter(|op| *op > keep) {
            return Err(Nonsense::Committed { op, keep });
        }
        while self.log.pop_back_if(|entry| entry.op > keep).is_some() {}
        self.committed = self.committed.min(keep);
        Ok(())
    }

    fn commit(&mut self, commit: OpNumber) {
        self.committed = self.committed.max(commit);
        let Some(store) = &mut self.store else { return };
        while store.op() < self.committed
            && let Some(entry) = self.log.pop_front()
        {
            store.apply(LogEntry::clone(&entry));
            self.history.push(entry, store);
        }
    }

    fn part(&mut self, part: SnapshotPart) -> Result<(), Nonsense> {
        let Some(coming) = self.coming.as_mut() else {
            // Of a log whose older files were being removed, the oldest one left may begin in the middle of a state.
            return if self.store.is_none() { Ok(()) } else { Err(Nonsense::NoBeginning) };
        };
        let finale = match part {
            SnapshotPart::Chunk(chunk) => {
                if let Some(importer) = &mut coming.importer {
                    importer.add(chunk);
                }
                return Ok(());
            }
            SnapshotPart::Finale(finale) => finale,
            SnapshotPart::Missing(_) | SnapshotPart::NoneMissing => return Ok(()),
        };
        let (op, digest) = (finale.op, finale.digest);
        let Some(Coming { importer, holder, replaces }) = self.coming.take() else { return Ok(()) };
        if let Some(importer) = importer {
            let store = importer.finish(*finale).map_err(Nonsense::Snapshot)?;
            while self.log.pop_front_if(|entry| entry.op <= op).is_some() {}
            if let Some(found) = self.log.front().map(|entry| entry.op).filter(|first| *first != op.next()) {
                return Err(Nonsense::Gap { expected: op.next(), found });
            }
            self.history = History::of(&store);
            self.store = Some(store);
            // Of its own state: a view that was installed meanwhile is newer.
            if replaces || self.holder.is_none() {
                self.since = holder.as_ref().map(|(member, _)| *member).or(self.since);
                self.holder = holder;
            }
        }
        self.commit(op);
        match &self.store {
            Some(store) if store.op() == op && store.digest() != digest => Err(Nonsense::Digest { op }),
            _ => Ok(()),
        }
    }

    /// After the last record.
    ///
    /// # Errors
    /// When there was no whole state to begin with.
    pub fn finish(self) -> Result<Recovered, Nonsense> {
        let Self { member, holder, since, store, log, history, chosen, chosen_from, run, since_summary, .. } = self;
        let store = store.ok_or(Nonsense::NoState)?;
        Ok(Recovered { member, holder, since, store, log, history, chosen, chosen_from, run, since_summary })
    }
}
