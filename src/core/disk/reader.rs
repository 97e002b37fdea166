//! Reading a log: what is whole, what is a torn end, and what is damage.

use super::frame::{self, Framed};
use super::segment::{FORMAT, Header, HeaderFault, Mark, Owner, RECORDS_AT, SECTOR_BYTES, file_name};
use crate::core::protocol::durable::{Nonsense, Record, Recovered, Recovery};
use std::fmt;

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// The file.
    pub file: u64,
    /// The byte in it.
    pub at: u64,
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte {}", file_name(self.file), self.at)
    }
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub place: LogPlace,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// What can be wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The file does not begin as ours do.
    NotOurs,
    /// It is of a format that this program does not know.
    Format(u32),
    /// It is somebody else's log.
    Owner { expected: Owner, found: Owner },
    /// Its name says that it is another file than it is.
    Number { found: u64 },
    /// It does not follow the file before.
    Chain,
    /// A file is missing.
    Missing,
    /// The file ends before what was written to it.
    CutOff { proven: u64 },
    /// A record is not what was written there.
    Broken,
    /// A record is whole, and no record.
    Unreadable,
    /// It does not fit those before.
    Nonsense(Nonsense),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("the beginning of the file is damaged, or it is no log of ours"),
            Self::Format(format) => write!(f, "the log has format {format}, and this program knows format {FORMAT}"),
            Self::Owner { expected, found } => write!(f, "this is the log of {found}, not of {expected}"),
            Self::Number { found } => write!(f, "this is {}, under another name", file_name(*found)),
            Self::Chain => f.write_str("it does not follow the file before it"),
            Self::Missing => f.write_str("the file is missing"),
            Self::CutOff { proven } => write!(f, "the file ends here, but was written up to byte {proven}"),
            Self::Broken => f.write_str("what is here is not what was written"),
            Self::Unreadable => f.write_str("a record that this program cannot read"),
            Self::Nonsense(nonsense) => nonsense.fmt(f),
        }
    }
}

/// Where a log ends, to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// Whose log it is.
    pub owner: Owner,
    /// The oldest file.
    pub first: u64,
    /// The newest file.
    pub number: u64,
    /// Where it ends.
    pub at: u64,
    /// The last hash.
    pub chain: u64,
    /// That of its newest mark.
    pub serial: u64,
    /// This many bytes of what was being written at the end do not count.
    pub torn_bytes: u64,
}

/// How a log ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// Where; `None` when nothing was ever written.
    pub end: Option<LogEnd>,
    /// A file that was being made, and is to be removed first.
    pub stillborn: Option<u64>,
}

/// Reads the files of a log, one after the other.
#[derive(Debug)]
pub struct Reader {
    boot: u64,
    owner: Option<Owner>,
    ending: Ending,
    sealed: bool,
}

impl Reader {
    /// Before the first file, on a machine whose boot has this number. Without an owner, whoever the first file
    /// belongs to.
    #[must_use]
    pub fn new(owner: Option<Owner>, boot: u64) -> Self {
        Self { boot, owner, ending: Ending::default(), sealed: false }
    }

    /// Takes in the next file, in the order of their numbers, and hands on what is in it. `last`: there is no other.
    ///
    /// # Errors
    /// The first damage. What was handed on before is whole.
    pub fn file(
        &mut self,
        number: u64,
        bytes: &[u8],
        last: bool,
        take: &mut dyn FnMut(&LogPlace, Record) -> Result<(), Nonsense>,
    ) -> Result<(), Damage> {
        let damage = |at: u64, fault: Fault| Err(Damage { place: LogPlace { file: number, at }, fault });
        let before = self.ending.end.as_ref();
        if let Some(missing) = before.map(|end| end.number + 1).filter(|next| *next != number) {
            return Err(Damage { place: LogPlace { file: missing, at: 0 }, fault: Fault::Missing });
        }
        let mark = Mark::newest(bytes);
        let proven = mark.map_or(0, |mark| mark.proven(self.boot));
        if last && is_stillborn(bytes) && proven <= RECORDS_AT && !self.sealed && (number == 1 || before.is_some()) {
            self.ending.stillborn = Some(number);
            return Ok(());
        }
        let header = match Header::from_bytes(bytes) {
            Ok(header) => header,
            Err(HeaderFault::Format(format)) => return damage(0, Fault::Format(format)),
            Err(HeaderFault::NotOurs) => return damage(0, Fault::NotOurs),
        };
        let expected = *self.owner.get_or_insert(header.owner);
        if header.owner != expected {
            return damage(0, Fault::Owner { expected, found: header.owner });
        }
        if header.number != number {
            return damage(0, Fault::Number { found: header.number });
        }
        if before.map_or(number == 1 && header.chain != 0, |end| end.chain != header.chain) {
            return damage(0, Fault::Chain);
        }
        let Some(mark) = mark else { return damage(SECTOR_BYTES as u64, Fault::NotOurs) };
        let first = before.map_or(number, |end| end.first);
        let (owner, at, chain, serial, torn_bytes) = (expected, RECORDS_AT, header.chain, mark.serial, 0);
        let mut end = LogEnd { owner, first, number, at, chain, serial, torn_bytes };
        self.records(bytes, last, &mark, &mut end, take)?;
        self.sealed = mark.sealed;
        self.ending.end = Some(end);
        Ok(())
    }

    fn records(
        &self,
        bytes: &[u8],
        last: bool,
        mark: &Mark,
        end: &mut LogEnd,
        take: &mut dyn FnMut(&LogPlace, Record) -> Result<(), Nonsense>,
    ) -> Result<(), Damage> {
        let proven = mark.proven(self.boot);
        loop {
            let place = LogPlace { file: end.number, at: end.at };
            let rest = usize::try_from(end.at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            if rest.is_empty() && end.at >= proven {
                return Ok(());
            }
            let (record, taken, hash) = match frame::read(rest, end.chain) {
                Framed::Whole { record, bytes, hash } => (record, bytes, hash),
                Framed::Short if end.at < proven || !last => {
                    return Err(Damage { place, fault: Fault::CutOff { proven: proven.max(end.at) } });
                }
                Framed::Short => {
                    end.torn_bytes = rest.len() as u64;
                    return Ok(());
                }
                Framed::Broken => {
                    // A sector that never reached the disk reads as zeros: only a machine that stopped leaves one.
                    if last && end.at >= proven && self.boot != mark.boot && has_empty_sector(bytes, end.at) {
                        end.torn_bytes = rest.len() as u64;
                        return Ok(());
                    }
                    return Err(Damage { place, fault: Fault::Broken });
                }
            };
            let Ok(record) = postcard::from_bytes::<Record>(record) else {
                return Err(Damage { place, fault: Fault::Unreadable });
            };
            take(&place, record).map_err(|nonsense| Damage { place, fault: Fault::Nonsense(nonsense) })?;
            end.at += taken as u64;
            end.chain = hash;
        }
    }

    /// After the last file: how the log ends.
    ///
    /// # Errors
    /// When the last file says that there is another one.
    pub fn finish(self) -> Result<Ending, Damage> {
        match &self.ending.end {
            Some(end) if self.sealed => {
                Err(Damage { place: LogPlace { file: end.number + 1, at: 0 }, fault: Fault::Missing })
            }
            _ => Ok(self.ending),
        }
    }
}

/// What the files of a log give, and how it ends.
///
/// # Errors
/// When the log is damaged.
pub fn recover<B: AsRef<[u8]>>(
    files: impl IntoIterator<Item = (u64, B)>,
    owner: Option<Owner>,
    boot: u64,
) -> Result<(Recovered, Ending), Damage> {
    let mut files = files.into_iter().peekable();
    let mut reader = Reader::new(owner, boot);
    let first = files.peek().map_or(1, |(number, _)| *number);
    let mut recovery = Recovery::new(first == 1);
    while let Some((number, bytes)) = files.next() {
        let last = files.peek().is_none();
        reader.file(number, bytes.as_ref(), last, &mut |_, record| recovery.take(record))?;
    }
    let ending = reader.finish()?;
    let damage = |nonsense| Damage { place: LogPlace { file: first, at: 0 }, fault: Fault::Nonsense(nonsense) };
    Ok((recovery.finish().map_err(damage)?, ending))
}

/// Somebody was making this file, and no record was ever written to it: its first sectors, or one of them, are missing.
fn is_stillborn(bytes: &[u8]) -> bool {
    let (header, rest) = bytes.split_at(bytes.len().min(SECTOR_BYTES));
    let (mark, _) = rest.split_at(rest.len().min(SECTOR_BYTES));
    let is_empty = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    let length = bytes.len() as u64;
    length < RECORDS_AT || (length == RECORDS_AT && (is_empty(header) || is_empty(mark)))
}

/// From there on, there is a sector (or what of it belongs to the file) with nothing in it.
fn has_empty_sector(bytes: &[u8], at: u64) -> bool {
    let Ok(at) = usize::try_from(at) else { return false };
    let sectors = (at / SECTOR_BYTES..).map(|sector| sector * SECTOR_BYTES).take_while(|begin| *begin < bytes.len());
    let parts = sectors.map(|begin| &bytes[begin.max(at)..(begin + SECTOR_BYTES).min(bytes.len())]);
    parts.into_iter().any(|part| part.iter().all(|byte| *byte == 0))
}
