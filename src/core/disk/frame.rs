//! A record as bytes: its length, a checksum of that, the record, and a hash over all of it and the hash before.
//!
//! ```text
//! ┌────────┬──────────────┬───────────────┬────────────────────────────┐
//! │ length │ its checksum │ record        │ hash                       │
//! │ 4      │ 4            │ length        │ 8                          │
//! └────────┴──────────────┴───────────────┴────────────────────────────┘
//! ```
//!
//! The length has a checksum of its own: a length that was damaged would else look like a record that is not all there.

use crate::core::protocol::durable::Record;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// Before a record.
const HEAD_BYTES: usize = 8;
/// Behind it.
const HASH_BYTES: usize = 8;

/// What begins at some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A record as it was written, how many bytes it takes, and its hash.
    Whole { record: &'a [u8], bytes: usize, hash: u64 },
    /// The bytes end before it does.
    Short,
    /// It is not what was written there.
    Broken,
}

fn head_sum(length: [u8; 4], chain: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = xxh3_64_with_seed(&length, chain).to_le_bytes();
    [a, b, c, d]
}

fn hash(length: [u8; 4], record: &[u8], chain: u64) -> u64 {
    let mut hasher = Xxh3::with_seed(chain);
    hasher.update(&length);
    hasher.update(record);
    hasher.digest()
}

/// Adds a record that follows the hash `chain`. Gives its own.
///
/// # Panics
/// When the record takes 4 GiB: what is in it has limits far below that.
pub fn write(record: &Record, chain: u64, bytes: &mut Vec<u8>) -> u64 {
    let begin = bytes.len();
    bytes.resize(begin + HEAD_BYTES, 0);
    let mut written = postcard::to_extend(record, std::mem::take(bytes)).expect("records can be encoded");
    let (_, framed) = written.split_at_mut(begin);
    let (head, record) = framed.split_at_mut(HEAD_BYTES);
    let length = u32::try_from(record.len()).expect("records are short").to_le_bytes();
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&head_sum(length, chain));
    let own = hash(length, record, chain);
    written.extend_from_slice(&own.to_le_bytes());
    *bytes = written;
    own
}

/// What begins here, if it follows the hash `chain`.
#[must_use]
pub fn read(bytes: &[u8], chain: u64) -> Framed<'_> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Framed::Short };
    let (Ok(length), Ok(sum)) = (<[u8; 4]>::try_from(&head[..4]), <[u8; 4]>::try_from(&head[4..])) else {
        return Framed::Short;
    };
    if head_sum(length, chain) != sum {
        return Framed::Broken;
    }
    let length_bytes = u32::from_le_bytes(length) as usize;
    let Some((record, rest)) = rest.split_at_checked(length_bytes) else { return Framed::Short };
    let Some(own) = rest.get(..HASH_BYTES).and_then(|own| own.try_into().ok()).map(u64::from_le_bytes) else {
        return Framed::Short;
    };
    match hash(length, record, chain) == own {
        true => Framed::Whole { record, bytes: HEAD_BYTES + length_bytes + HASH_BYTES, hash: own },
        false => Framed::Broken,
    }
}
