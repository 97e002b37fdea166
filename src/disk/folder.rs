//! Folders and the files in them.

use super::cabinet::OpenError;
use crate::core::disk::segment::SECTOR_BYTES;
use crate::core::disk::{Damage, Ending, Header, Owner, file_number, recover};
use crate::core::protocol::{Rank, Recovered};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Names of folders begin so; the rank follows.
const RANK_FOLDER: &str = "rank-";
/// Where Linux says which boot of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The folder of a rank.
#[must_use]
pub fn of_rank(data: &Path, rank: Rank) -> PathBuf {
    data.join(format!("{RANK_FOLDER}{rank}"))
}

/// The files of a log in this folder, in their order.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(file_number) {
            files.push((number, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The folders with logs that this one is, or holds, in the order of their ranks.
///
/// # Errors
/// When it cannot be read.
pub fn logs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !files(folder)?.is_empty() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut ranks = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let rank = entry.file_name().to_str().and_then(|name| name.strip_prefix(RANK_FOLDER)?.parse::<u32>().ok());
        if let Some(rank) = rank {
            ranks.push((rank, entry.path()));
        }
    }
    ranks.sort_unstable();
    Ok(ranks.into_iter().map(|(_, path)| path).collect())
}

/// The number of the cluster whose logs are in this folder. Damaged ones say nothing.
///
/// # Errors
/// When something cannot be read, or the logs are of two clusters: then nobody may write to either.
pub fn cluster(data: &Path) -> Result<Option<u64>, OpenError> {
    if !data.exists() {
        return Ok(None);
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io(path, error)
    };
    let mut first: Option<(PathBuf, Owner)> = None;
    for log in logs(data).map_err(io(data))? {
        for (_, path) in files(&log).map_err(io(&log))? {
            let mut head = vec![0; SECTOR_BYTES];
            let read = fs::File::open(&path).and_then(|mut file| file.read(&mut head)).map_err(io(&path))?;
            let Ok(Header { owner, .. }) = Header::from_bytes(&head[..read]) else { continue };
            match &first {
                None => first = Some((path, owner)),
                Some((_, known)) if known.cluster == owner.cluster => {}
                Some(known) => return Err(OpenError::TwoClusters(known.clone(), (path, owner))),
            }
        }
    }
    Ok(first.map(|(_, owner)| owner.cluster))
}

/// The number of this boot of the machine: it changes when the machine is started anew.
///
/// # Errors
/// When the system does not tell.
pub fn boot() -> io::Result<u64> {
    Ok(xxh3_64(&fs::read(BOOT_ID)?))
}

/// Why a log could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The system does not give it.
    Io(PathBuf, io::Error),
    /// It is damaged.
    Damage(PathBuf, Damage),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Damage(folder, damage) => write!(f, "{}/{damage}", folder.display()),
        }
    }
}

/// What the log in this folder gives, and how it ends. `progress` is told how many bytes were read, of how many.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn read(
    folder: &Path,
    owner: Option<Owner>,
    boot: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Recovered, Ending), ReadError> {
    let io = |path: &Path, error| ReadError::Io(path.to_owned(), error);
    let files = files(folder).map_err(|error| io(folder, error))?;
    let mut all_bytes = 0;
    for (_, path) in &files {
        all_bytes += fs::metadata(path).map_err(|error| io(path, error))?.len();
    }
    let (mut trouble, mut read_bytes) = (None, 0);
    // A file at a time: a log may be larger than memory.
    let contents = files.into_iter().map_while(|(number, path)| match fs::read(&path) {
        Ok(bytes) => {
            progress(read_bytes, all_bytes);
            read_bytes += bytes.len() as u64;
            Some((number, bytes))
        }
        Err(error) => {
            trouble = Some(ReadError::Io(path, error));
            None
        }
    });
    let read = recover(contents, owner, boot);
    match trouble {
        Some(trouble) => Err(trouble),
        None => read.map_err(|damage| ReadError::Damage(folder.to_owned(), damage)),
    }
}
