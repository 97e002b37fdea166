//! The keys of a `KEYS`, packed into one piece of memory.
//!
//! An answer may hold hundreds of thousands of keys. As one vector of byte strings every step of its way (encoding,
//! decoding, remembering, showing) would go key by key and hold up the rank that takes it; packed it is copied as a
//! whole, and shared where it is only handed on.
//!
//! ```text
//! packed = key · key · …        key = its length in two bytes, low one first · its bytes
//! ```

use super::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Bytes of a key's length.
const LENGTH_BYTES: usize = 2;

/// A list of keys that is made once, then only read and shared.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyList {
    packed: Arc<Vec<u8>>,
    len: usize,
}

impl KeyList {
    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.packed[..];
        std::iter::from_fn(move || {
            let (key, after) = split_key(rest)?;
            rest = after;
            Some(key)
        })
    }

    /// Bytes of all keys together.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.packed.len() - self.len * LENGTH_BYTES
    }

    /// All keys, with this byte between them.
    #[must_use]
    pub fn join(&self, between: u8) -> Vec<u8> {
        let mut joined = Vec::with_capacity(self.packed.len());
        for (at, key) in self.iter().enumerate() {
            if at > 0 {
                joined.push(between);
            }
            joined.extend_from_slice(key);
        }
        joined
    }
}

/// The first key, and what follows it; `None` at the end, and where the rest is no key.
fn split_key(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

/// Adds keys to a list.
#[derive(Debug, Clone, Default)]
pub struct KeyPacker {
    packed: Vec<u8>,
    len: usize,
}

impl KeyPacker {
    /// Adds a key behind the others.
    ///
    /// # Panics
    /// With a key of 64 KiB or more: keys have a much lower limit.
    pub fn push(&mut self, key: &[u8]) {
        let length = u16::try_from(key.len()).expect("keys have a limit");
        self.packed.extend_from_slice(&length.to_le_bytes());
        self.packed.extend_from_slice(key);
        self.len += 1;
    }

    /// Bytes of all keys together.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.packed.len() - self.len * LENGTH_BYTES
    }

    /// The finished list.
    #[must_use]
    pub fn finish(self) -> KeyList {
        KeyList { packed: Arc::new(self.packed), len: self.len }
    }
}

impl<K: AsRef<[u8]>> FromIterator<K> for KeyList {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut packer = KeyPacker::default();
        keys.into_iter().for_each(|key| packer.push(key.as_ref()));
        packer.finish()
    }
}

impl fmt::Debug for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Bytes::from)).finish()
    }
}

impl Serialize for KeyList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&**self.packed, serializer)
    }
}

impl<'de> Deserialize<'de> for KeyList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        let (mut rest, mut len) = (&packed[..], 0);
        while !rest.is_empty() {
            (_, rest) = split_key(rest).ok_or_else(|| D::Error::custom("no list of keys"))?;
            len += 1;
        }
        Ok(Self { packed: Arc::new(packed), len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_gives_back_its_keys(
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        ) {
            let list: KeyList = keys.iter().collect();
            prop_assert_eq!(list.len(), keys.len());
            prop_assert_eq!(list.size_bytes(), keys.iter().map(Vec::len).sum::<usize>());
            prop_assert!(list.iter().eq(keys.iter()));
            let copy: KeyList = postcard::from_bytes(&postcard::to_stdvec(&list).unwrap()).unwrap();
            prop_assert_eq!(copy, list);
        }

        #[test]
        fn what_is_no_list_is_refused(packed in prop::collection::vec(0_u8..4, 0..20)) {
            let encoded = postcard::to_stdvec(serde_bytes::Bytes::new(&packed)).unwrap();
            if let Ok(list) = postcard::from_bytes::<KeyList>(&encoded) {
                prop_assert_eq!(list.iter().collect::<KeyList>().packed, packed.into());
            }
        }
    }

    #[test]
    fn a_list_that_is_cut_off_is_refused() {
        let list: KeyList = ["ab", "c"].iter().collect();
        for cut in 1..list.packed.len() {
            let encoded = postcard::to_stdvec(serde_bytes::Bytes::new(&list.packed[..cut])).unwrap();
            assert_eq!(postcard::from_bytes::<KeyList>(&encoded).is_ok(), cut == 4, "cut to {cut} bytes");
        }
    }
}
