//! The files of one log, written.

use super::folder;
use crate::core::disk::{Damage, Fault, Fsync, Journal, Owner, Step, file_name};
use crate::core::protocol::Recovered;
use rustix::fs::{FlockOperation, flock};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file is closed when it has so many bytes (16 MiB), or a little more.
pub const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// Whoever uses a folder holds a lock on this file.
const LOCK: &str = "lock";
/// Where a damaged log is put; a number follows.
const PUT_AWAY: &str = "damaged-";

/// Why a log cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// The system does not let us.
    Io(PathBuf, io::Error),
    /// Another process uses it.
    InUse(PathBuf),
    /// It is not ours, or of another version: it is left as it is.
    NotOurs(PathBuf, Damage),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::InUse(folder) => write!(f, "{}: another cluster uses it: give another --data", folder.display()),
            Self::NotOurs(folder, damage) => {
                write!(f, "{}/{damage}: give another --data, or move it away", folder.display())
            }
        }
    }
}

/// A log that is open.
#[derive(Debug)]
pub struct Cabinet {
    folder: PathBuf,
    owner: Owner,
    fsync: Fsync,
    boot: u64,
    journal: Journal,
    file: File,
    /// Held as long as this lives.
    _lock: File,
}

/// What a log gave, and what was wrong with it.
#[derive(Debug)]
pub struct Found {
    /// What is to be gone on with.
    pub had: Recovered,
    /// It was damaged, and counts for nothing: what, and where it is now.
    pub damage: Option<String>,
}

/// What is in the folder, how to go on, and what has to be done first.
fn read(folder: &Path, owner: Owner, boot: u64) -> Result<(Found, Journal, Vec<Step>), OpenError> {
    let mut steps = Vec::new();
    let begin = |steps: &mut Vec<Step>| Journal::begin(owner, boot, SEGMENT_BYTES_MAX, steps);
    match folder::read(folder, Some(owner), boot) {
        Ok((had, Some(end))) => {
            let journal = Journal::resume(&end, boot, SEGMENT_BYTES_MAX, &mut steps);
            Ok((Found { had, damage: None }, journal, steps))
        }
        Ok((had, None)) => Ok((Found { had, damage: None }, begin(&mut steps), steps)),
        Err(folder::ReadError::Io(path, error)) => Err(OpenError::Io(path, error)),
        Err(folder::ReadError::Damage(_, damage)) if matches!(damage.fault, Fault::Owner { .. } | Fault::Format(_)) => {
            Err(OpenError::NotOurs(folder.to_owned(), damage))
        }
        Err(folder::ReadError::Damage(_, damage)) => {
            let away = put_away(folder).map_err(|error| OpenError::Io(folder.to_owned(), error))?;
            let what = format!("{}/{damage}; the log is in {} now", folder.display(), away.display());
            Ok((Found { had: Recovered::default(), damage: Some(what) }, begin(&mut steps), steps))
        }
    }
}

/// Moves the files of a damaged log out of the way: nothing is overwritten.
fn put_away(folder: &Path) -> io::Result<PathBuf> {
    let free = |number: &u32| !folder.join(format!("{PUT_AWAY}{number}")).exists();
    let number = (1..).find(free).unwrap_or_default();
    let away = folder.join(format!("{PUT_AWAY}{number}"));
    fs::create_dir(&away)?;
    for (number, path) in folder::files(folder)? {
        fs::rename(path, away.join(file_name(number)))?;
    }
    sync_folder(folder)?;
    Ok(away)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Cabinet {
    /// Opens the log of a rank, or begins one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(folder: &Path, owner: Owner, fsync: Fsync) -> Result<(Self, Found), OpenError> {
        let io = |error| OpenError::Io(folder.to_owned(), error);
        fs::create_dir_all(folder).map_err(io)?;
        folder.parent().map_or(Ok(()), sync_folder).map_err(io)?;
        let lock = folder.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(|error| OpenError::Io(lock, error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(folder.to_owned())),
            Err(error) => return Err(io(error.into())),
        }
        let boot = folder::boot().map_err(io)?;
        let (found, journal, steps) = read(folder, owner, boot)?;
        let path = folder.join(file_name(journal.number()));
        let mut file = None;
        for step in &steps {
            carry_out(folder, &mut file, step).map_err(|error| OpenError::Io(path.clone(), error))?;
        }
        let file = file.ok_or_else(|| io(io::Error::other("no file")))?.1;
        Ok((Self { folder: folder.to_owned(), owner, fsync, boot, journal, file, _lock: lock }, found))
    }

    /// Reads the log anew: whoever wrote to it has lost its memory.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read_again(&mut self) -> Result<Found, OpenError> {
        let (found, journal, steps) = read(&self.folder, self.owner, self.boot)?;
        self.journal = journal;
        self.carry_out(&steps).map_err(|error| OpenError::Io(self.folder.clone(), error))?;
        Ok(found)
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// How it is synced.
    #[must_use]
    pub fn fsync(&self) -> Fsync {
        self.fsync
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes these records, and has them on the disk if that is how it is synced, or if something depends on it. True
    /// when they are.
    ///
    /// # Errors
    /// When the disk fails: then it must not be used any more.
    pub fn write(&mut self, records: &[crate::core::protocol::Record]) -> io::Result<bool> {
        let mut steps = Vec::new();
        self.journal.write(records, &mut steps);
        let synced = self.fsync == Fsync::Always || self.journal.wants_sync();
        if synced {
            steps.push(Step::Sync { number: self.journal.number() });
        }
        self.journal.mark(synced, &mut steps);
        self.carry_out(&steps)?;
        Ok(synced)
    }

    /// Has everything that was written on the disk, and says so in the file.
    ///
    /// # Errors
    /// When the disk fails: then it must not be used any more.
    pub fn sync(&mut self) -> io::Result<()> {
        let mut steps = vec![Step::Sync { number: self.journal.number() }];
        self.journal.mark(true, &mut steps);
        self.carry_out(&steps)
    }

    /// Has the last mark on the disk as well.
    ///
    /// # Errors
    /// When the disk fails: then it must not be used any more.
    pub fn sync_mark(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn carry_out(&mut self, steps: &[Step]) -> io::Result<()> {
        for step in steps {
            let (number, current) = (step.number(), self.journal.number());
            match step {
                // What the journal says of its newest file is done with the handle that is open.
                Step::Write { at, bytes, .. } if number == current => self.file.write_all_at(bytes, *at)?,
                Step::Sync { .. } if number == current => self.file.sync_data()?,
                _ => {
                    let mut opened = None;
                    carry_out(&self.folder, &mut opened, step)?;
                    if let Some((_, file)) = opened.filter(|(number, _)| *number == current) {
                        self.file = file;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Does one step; `file` is the one that was opened last.
fn carry_out(folder: &Path, file: &mut Option<(u64, File)>, step: &Step) -> io::Result<()> {
    let number = step.number();
    let path = folder.join(file_name(number));
    if let Step::Remove { .. } = step {
        return fs::remove_file(path);
    }
    if let Step::Create { bytes, .. } = step {
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        made.write_all_at(bytes, 0)?;
        made.sync_all()?;
        *file = Some((number, made));
        return sync_folder(folder);
    }
    if file.as_ref().is_none_or(|(open, _)| *open != number) {
        *file = Some((number, OpenOptions::new().read(true).write(true).open(&path)?));
    }
    let Some((_, file)) = file else { return Ok(()) };
    match step {
        Step::Write { at, bytes, .. } => file.write_all_at(bytes, *at),
        Step::Sync { .. } => file.sync_data(),
        Step::Cut { at, .. } => file.set_len(*at).and_then(|()| file.sync_all()),
        Step::Create { .. } | Step::Remove { .. } => Ok(()),
    }
}
