//! The stream of news in a file.
//!
//! ```text
//!   understudy recording 4\n
//!   length  Heading            lengths are 32 bits, little-endian; both in postcard's encoding
//!   length  (Time, News)
//!   length  (Time, News)  …    to the end of the file; what is cut off there is left out
//! ```
//!
//! Writing has a thread of its own: the loop that tells the news must not wait for a disk. What the thread cannot keep
//! up with is left out, and a sentence in the recording says how much.

use crate::cluster::News;
use crate::core::protocol::Time;
use crate::ui::dashboard::ModelSetup;
use crossbeam_channel::{Sender, bounded};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::thread::JoinHandle;

/// The first line of a recording; the number changes with the format.
const MAGIC: &[u8] = b"understudy recording 4\n";
/// The longest piece that is read (16 MiB): longer ones are not written by this program.
const PIECE_BYTES_MAX: usize = 16 << 20;
/// At most this many pieces wait for the disk.
const WAITING_MAX: usize = 4_096;
/// A recording ends at this size (1 GiB): hours of a lecture.
pub const RECORDING_BYTES_MAX: u64 = 1 << 30;

/// What was known before the first piece.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heading {
    /// What the cluster was started with.
    pub setup: ModelSetup,
    /// How many further ranks are clients.
    pub clients: u32,
    /// The rules that were switched off, in words.
    pub warning: Option<String>,
    /// When it began.
    pub begun: Time,
}

/// Why a file cannot be played.
#[derive(Debug)]
pub enum RecordingError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It does not begin as recordings do.
    NoRecording,
    /// It is one, but makes no sense from this byte on.
    Damaged(u64),
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::NoRecording => f.write_str("this is no recording of this version: --record FILE makes one"),
            Self::Damaged(at) => write!(f, "it is damaged at byte {at}: record again"),
        }
    }
}

impl std::error::Error for RecordingError {}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    pieces: Option<Sender<(Time, News)>>,
    left_out: u64,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Recorder {
    /// Begins a recording in a new file, or in place of an old one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, heading: &Heading) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(MAGIC)?;
        write_piece(&mut file, heading)?;
        file.flush()?;
        let (pieces, waiting) = bounded::<(Time, News)>(WAITING_MAX);
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || {
            let mut written = 0;
            while let Ok(piece) = waiting.recv() {
                for piece in std::iter::once(piece).chain(waiting.try_iter()) {
                    if written < RECORDING_BYTES_MAX {
                        written += write_piece(&mut file, &piece)?;
                    }
                }
                // Whatever ends this process, what happened until then can be seen.
                file.flush()?;
            }
            Ok(())
        })?;
        Ok(Self { pieces: Some(pieces), left_out: 0, thread: Some(thread) })
    }

    /// Takes down a piece of news.
    pub fn record(&mut self, at: Time, news: &News) {
        // Whole operations are for the judge; no picture shows them.
        if matches!(news, News::Finished { .. }) {
            return;
        }
        let Some(pieces) = &self.pieces else { return };
        if self.left_out > 0 {
            let missed = News::Note(format!("{} pieces of the recording are missing here", self.left_out));
            if pieces.try_send((at, missed)).is_ok() {
                self.left_out = 0;
            }
        }
        self.left_out += u64::from(pieces.try_send((at, news.clone())).is_err());
    }

    /// The end.
    ///
    /// # Errors
    /// When not everything could be written.
    pub fn close(mut self) -> io::Result<()> {
        self.pieces = None;
        let ended = self.thread.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::Error::other("its thread has panicked")))
    }
}

fn write_piece(file: &mut impl Write, piece: &impl Serialize) -> io::Result<u64> {
    let bytes = postcard::to_stdvec(piece).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&bytes)?;
    Ok(4 + u64::from(length))
}

/// A recording that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// What was known before.
    pub heading: Heading,
    /// What was told, and when.
    pub pieces: Vec<(Time, News)>,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is no recording, or a damaged one. An end that is cut off is no damage.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let mut bytes = Vec::new();
        File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(RecordingError::Unreadable)?;
        Self::read(&bytes)
    }

    /// Reads what such a file holds.
    ///
    /// # Errors
    /// As [`Recording::open`].
    pub fn read(bytes: &[u8]) -> Result<Self, RecordingError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(RecordingError::NoRecording)?;
        let mut next = || -> Result<Option<&[u8]>, RecordingError> {
            let at = (bytes.len() - rest.len()) as u64;
            let Some((length, after)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            let length = u32::from_le_bytes(*length) as usize;
            if length > PIECE_BYTES_MAX {
                return Err(RecordingError::Damaged(at));
            }
            let Some((piece, after)) = after.split_at_checked(length) else { return Ok(None) };
            rest = after;
            Ok(Some(piece))
        };
        let damaged = |piece: &[u8]| RecordingError::Damaged(piece.as_ptr() as u64 - bytes.as_ptr() as u64);
        let first = next()?.ok_or(RecordingError::NoRecording)?;
        let heading: Heading = postcard::from_bytes(first).map_err(|_| damaged(first))?;
        let mut pieces: Vec<(Time, News)> = Vec::new();
        while let Some(piece) = next()? {
            pieces.push(postcard::from_bytes(piece).map_err(|_| damaged(piece))?);
        }
        Ok(Self { heading, pieces })
    }
}
