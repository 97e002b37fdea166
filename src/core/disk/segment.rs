//! The head of a file: whose log it is, which file of it, and how far it is known to go.

use crate::core::protocol::Rank;
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Where the records begin: after the header and two marks, a sector each.
pub const RECORDS_AT: u64 = 3 * SECTOR_BYTES as u64;
/// The layout of files and records. Another one is refused.
pub const FORMAT: u32 = 2;

const MAGIC: [u8; 8] = *b"UNDRSTDY";
const MARK_MAGIC: [u8; 8] = *b"log mark";
/// Where the checksum of a sector is.
const SUM_AT: usize = SECTOR_BYTES - 8;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The cluster's number, drawn when its first log was made.
    pub cluster: u64,
    /// The rank.
    pub rank: Rank,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of cluster {:016x}", self.rank, self.cluster)
    }
}

/// The first sector of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose it is.
    pub owner: Owner,
    /// Which file of the log: consecutive from 1.
    pub number: u64,
    /// The hash that its first record follows.
    pub chain: u64,
}

/// Why a first sector is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// It begins with something else, or is not whole.
    NotOurs,
    /// It is of another version.
    Format(u32),
}

/// Numbers, one after the other, and at the end a checksum.
fn sector(magic: [u8; 8], numbers: &[u64]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.resize(SUM_AT, 0);
    let sum = xxh3_64(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The numbers of a sector that is whole.
fn numbers<const N: usize>(magic: [u8; 8], bytes: &[u8]) -> Option<[u64; N]> {
    let sector = bytes.get(..SECTOR_BYTES)?;
    let number = |at: usize| Some(u64::from_le_bytes(sector.get(at..at + 8)?.try_into().ok()?));
    if !sector.starts_with(&magic) || number(SUM_AT)? != xxh3_64(&sector[..SUM_AT]) {
        return None;
    }
    let mut all = [0; N];
    for (at, place) in all.iter_mut().enumerate() {
        *place = number(8 + 8 * at)?;
    }
    Some(all)
}

impl Header {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let Self { owner: Owner { cluster, rank }, number, chain } = self;
        sector(MAGIC, &[u64::from(FORMAT), cluster, u64::from(rank.0), number, chain])
    }

    /// From the first bytes of a file.
    ///
    /// # Errors
    /// When they are no header, or one of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let [format, cluster, rank, number, chain] = numbers(MAGIC, bytes).ok_or(HeaderFault::NotOurs)?;
        if format != u64::from(FORMAT) {
            return Err(HeaderFault::Format(u32::try_from(format).unwrap_or(u32::MAX)));
        }
        let rank = Rank(u32::try_from(rank).map_err(|_| HeaderFault::NotOurs)?);
        Ok(Self { owner: Owner { cluster, rank }, number, chain })
    }
}

/// How far a file is known to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Grows with every mark of the file.
    pub serial: u64,
    /// The number of the machine's boot.
    pub boot: u64,
    /// Everything before this was written.
    pub written: u64,
    /// Everything before this is on the disk.
    pub synced: u64,
    /// Nothing will be added: there is a next file.
    pub sealed: bool,
}

impl Mark {
    /// That of a file with no records yet.
    #[must_use]
    pub fn first(boot: u64) -> Self {
        Self { serial: 0, boot, written: RECORDS_AT, synced: RECORDS_AT, sealed: false }
    }

    /// The one after this: everything before these places was written, and is on the disk.
    #[must_use]
    pub fn next(self, written: u64, synced: u64) -> Self {
        Self { serial: self.serial + 1, written, synced, ..self }
    }

    /// Where in the file this mark belongs.
    #[must_use]
    pub fn place(self) -> u64 {
        SECTOR_BYTES as u64 * (1 + self.serial % 2)
    }

    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let Self { serial, boot, written, synced, sealed } = self;
        sector(MARK_MAGIC, &[serial, boot, written, synced, u64::from(sealed)])
    }

    /// The newer one of those that are whole, from the first bytes of a file.
    #[must_use]
    pub fn newest(bytes: &[u8]) -> Option<Self> {
        let mark = |at: usize| {
            let [serial, boot, written, synced, sealed] = numbers(MARK_MAGIC, bytes.get(at..)?)?;
            Some(Self { serial, boot, written, synced, sealed: sealed == 1 })
        };
        let both = [mark(SECTOR_BYTES), mark(2 * SECTOR_BYTES)];
        both.into_iter().flatten().max_by_key(|mark| mark.serial)
    }

    /// Up to here everything must be there, when this machine's boot has this number.
    #[must_use]
    pub fn proven(self, boot: u64) -> u64 {
        if boot == self.boot { self.written.max(self.synced) } else { self.synced }
    }
}

/// The name of a file.
#[must_use]
pub fn file_name(number: u64) -> String {
    format!("log-{number:08}")
}

/// The number of a file of this name.
#[must_use]
pub fn file_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log-")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_were_written_and_no_flipped_bit_is_overlooked() {
        let header = Header { owner: Owner { cluster: 7, rank: Rank(2) }, number: 3, chain: u64::MAX };
        let mark = Mark { serial: 4, boot: 9, written: 5_000, synced: 4_000, sealed: true };
        assert_eq!(Header::from_bytes(&header.to_bytes()), Ok(header));
        let marked = |mark: Mark| {
            let mut file = vec![0; usize::try_from(RECORDS_AT).unwrap()];
            let at = usize::try_from(mark.place()).unwrap();
            file[at..at + SECTOR_BYTES].copy_from_slice(&mark.to_bytes());
            file
        };
        assert_eq!(Mark::newest(&marked(mark)), Some(mark));
        assert_eq!((mark.proven(9), mark.proven(8)), (5_000, 4_000));
        for at in 0..SECTOR_BYTES * 8 {
            let mut bytes = header.to_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            assert_eq!(Header::from_bytes(&bytes), Err(HeaderFault::NotOurs), "bit {at}");
            let mut file = marked(mark);
            file[SECTOR_BYTES + at / 8] ^= 1 << (at % 8);
            assert_eq!(Mark::newest(&file), None, "bit {at}");
        }
    }

    #[test]
    fn another_format_is_told_from_something_else() {
        let other = sector(MAGIC, &[1, 0, 0, 1, 0]);
        assert_eq!(Header::from_bytes(&other), Err(HeaderFault::Format(1)));
        assert_eq!(Header::from_bytes(b"#!/bin/sh"), Err(HeaderFault::NotOurs));
    }

    #[test]
    fn file_names_are_numbers() {
        assert_eq!((file_name(7), file_number("log-00000007")), ("log-00000007".to_owned(), Some(7)));
        assert!(
            ["log-7", "log-", "log-0000000x", "lock", "log-00000007~"].iter().all(|name| file_number(name).is_none())
        );
    }
}
