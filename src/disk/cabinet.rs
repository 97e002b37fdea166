//! The files of one log, written.

use super::{brittle, folder};
use crate::core::disk::{Damage, Ending, Fault, Fsync, Journal, Owner, Step, file_name};
use crate::core::protocol::{DiskStatus, Record, Recovered};
use crate::core::store::OpNumber;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file is closed when it has this many bytes (16 MiB), or a little more.
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
    /// Beside each other are logs of two clusters, in these files.
    TwoClusters((PathBuf, Owner), (PathBuf, Owner)),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::InUse(folder) => write!(f, "{}: another cluster uses it: give another --data", folder.display()),
            Self::NotOurs(folder, damage) => {
                write!(f, "{}/{damage}: give another --data, or move it away", folder.display())
            }
            Self::TwoClusters((one, owner), (other, other_owner)) => write!(
                f,
                "{} is of {owner}, and {} of {other_owner}: give another --data, or move away what does not \
                 belong there",
                one.display(),
                other.display()
            ),
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
    files: Files,
    /// The newest write that was written, and that was synced.
    written: OpNumber,
    synced: OpNumber,
    /// Held as long as this lives.
    _lock: File,
}

/// What a log gave, and what was wrong with it.
#[derive(Debug)]
pub struct LogFound {
    /// What is to be gone on with.
    pub had: Recovered,
    /// It was damaged, and counts for nothing: what, and where it is now.
    pub damage: Option<String>,
}

/// What is in the folder, how to go on, and what has to be done first.
fn read(
    folder: &Path,
    owner: Owner,
    boot: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(LogFound, Journal, Vec<Step>), OpenError> {
    let (found, ending) = match folder::read(folder, Some(owner), boot, progress) {
        Ok((had, ending)) => (LogFound { had, damage: None }, ending),
        Err(folder::ReadError::Io(path, error)) => return Err(OpenError::Io(path, error)),
        Err(folder::ReadError::Damage(_, damage)) if matches!(damage.fault, Fault::Owner { .. } | Fault::Format(_)) => {
            return Err(OpenError::NotOurs(folder.to_owned(), damage));
        }
        Err(folder::ReadError::Damage(_, damage)) => {
            let away = put_away(folder).map_err(|error| OpenError::Io(folder.to_owned(), error))?;
            let what = format!("{}/{damage}; the log is in {} now", folder.display(), away.display());
            (LogFound { had: Recovered::default(), damage: Some(what) }, Ending::default())
        }
    };
    let mut steps = Vec::new();
    let journal = Journal::after(&ending, owner, boot, SEGMENT_BYTES_MAX, &mut steps);
    Ok((found, journal, steps))
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
    pub fn open(folder: &Path, owner: Owner, fsync: Fsync) -> Result<(Self, LogFound), OpenError> {
        Self::open_and_tell(folder, owner, fsync, &mut |_, _| {})
    }

    /// The same; `progress` is told how many bytes were read, of how many.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open_and_tell(
        folder: &Path,
        owner: Owner,
        fsync: Fsync,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LogFound), OpenError> {
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
        let (found, journal, steps) = read(folder, owner, boot, progress)?;
        let mut files = Files::of(folder).map_err(io)?;
        files.carry_out(&steps).map_err(io)?;
        let op = found.had.op();
        let folder = folder.to_owned();
        Ok((Self { folder, owner, fsync, boot, journal, files, written: op, synced: op, _lock: lock }, found))
    }

    /// The same; if so, on a disk that fails as a test wants it ([`brittle`]).
    #[must_use]
    pub fn with_brittle_disk(mut self, is_brittle: bool) -> Self {
        self.files.is_brittle = is_brittle;
        self
    }

    /// Reads the log anew: whoever wrote to it has lost its memory. `progress`: as in [`Cabinet::open_and_tell`].
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read_again(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<LogFound, OpenError> {
        let (found, journal, steps) = read(&self.folder, self.owner, self.boot, progress)?;
        let io = |error| OpenError::Io(self.folder.clone(), error);
        self.journal = journal;
        // A damaged log was moved away.
        self.files = Files { is_brittle: self.files.is_brittle, ..Files::of(&self.folder).map_err(io)? };
        self.files.carry_out(&steps).map_err(io)?;
        (self.written, self.synced) = (found.had.op(), found.had.op());
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

    /// What is in it.
    #[must_use]
    pub fn status(&self) -> DiskStatus {
        let Self { written, synced, .. } = *self;
        DiskStatus { written, synced, bytes: self.files.sizes.values().sum(), failed: false, reading: None }
    }

    /// Writes these records, and has them on the disk if that is how it is synced, or if something depends on it. True
    /// when they are.
    ///
    /// # Errors
    /// When the disk fails: then it must not be used any more.
    pub fn write(&mut self, records: &[Record]) -> io::Result<bool> {
        let mut steps = Vec::new();
        let synced = self.journal.group(records, self.fsync, &mut steps);
        self.files.carry_out(&steps)?;
        self.written = records.iter().fold(self.written, |before, record| record.newest_op(before));
        if synced {
            self.synced = self.written;
        }
        self.synced = self.synced.min(self.written);
        Ok(synced)
    }

    /// Has everything that was written on the disk, and says so in the file.
    ///
    /// # Errors
    /// When the disk fails: then it must not be used any more.
    pub fn sync(&mut self) -> io::Result<()> {
        let mut steps = Vec::new();
        self.journal.sync(&mut steps);
        self.files.carry_out(&steps)?;
        self.synced = self.written;
        Ok(())
    }

    /// Has the last mark on the disk as well.
    ///
    /// # Errors
    /// When the disk fails: then it must not be used any more.
    pub fn sync_mark(&mut self) -> io::Result<()> {
        self.files.carry_out(&[Step::Sync { number: self.journal.number() }])
    }
}

/// The files, of which the one that was used last is open.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    open: Option<(u64, File)>,
    /// How many bytes each of them has.
    sizes: BTreeMap<u64, u64>,
    is_brittle: bool,
}

impl Files {
    /// Those that are there.
    fn of(folder: &Path) -> io::Result<Self> {
        let files = folder::files(folder)?.into_iter();
        let sizes = files.map(|(number, path)| Ok((number, fs::metadata(path)?.len()))).collect::<io::Result<_>>()?;
        Ok(Self { folder: folder.to_owned(), open: None, sizes, is_brittle: false })
    }

    fn carry_out(&mut self, steps: &[Step]) -> io::Result<()> {
        for step in steps {
            if self.is_brittle {
                brittle::meet(&self.folder, step)?;
            }
            match step {
                Step::Create { number, bytes } => {
                    let path = self.folder.join(file_name(*number));
                    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                    file.write_all_at(bytes, 0)?;
                    file.sync_all()?;
                    self.open = Some((*number, file));
                    sync_folder(&self.folder)?;
                    self.sizes.insert(*number, bytes.len() as u64);
                }
                Step::Write { number, at, bytes } => {
                    self.file(*number)?.write_all_at(bytes, *at)?;
                    let size = self.sizes.entry(*number).or_default();
                    *size = (*size).max(at + bytes.len() as u64);
                }
                Step::Sync { number } => self.file(*number)?.sync_data()?,
                Step::Cut { number, at } => {
                    let file = self.file(*number)?;
                    file.set_len(*at)?;
                    file.sync_all()?;
                    self.sizes.insert(*number, *at);
                }
                Step::Remove { number } => {
                    fs::remove_file(self.folder.join(file_name(*number)))?;
                    self.sizes.remove(number);
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, number: u64) -> io::Result<&File> {
        let file = match self.open.take().filter(|(open, _)| *open == number) {
            Some((_, file)) => file,
            None => OpenOptions::new().read(true).write(true).open(self.folder.join(file_name(number)))?,
        };
        Ok(&self.open.insert((number, file)).1)
    }
}
