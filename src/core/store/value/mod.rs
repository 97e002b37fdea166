//! What a key can hold: a file a kind.
//!
//! Every kind has two forms. A small collection is packed into one piece of memory, because a thousand sessions of
//! three fields each must not cost a thousand trees; one that has grown stays a tree or a deque even if it shrinks
//! again. Which form a value has is part of the state that all servers agree on: it decides in which order members
//! are listed.
//!
//! Each knows its digest. That of a packed collection is taken from its bytes; that of a large one is a sum over its
//! elements that every change keeps up to date, so that a change costs the same whatever the size.

mod fields;
mod list;
mod packed;
mod zset;

pub use fields::Fields;
pub use list::List;
pub use zset::Zset;

use super::Bytes;
use std::mem::size_of;
use xxhash_rust::xxh3::xxh3_64;

/// This many elements are shown of a collection.
const BRIEF_ELEMENTS: usize = 4;
/// What an element of a large collection costs besides its bytes, about.
const ELEMENT_COST_BYTES: usize = 64;

/// What a key holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Bytes.
    String(Bytes),
    /// Fields and their values.
    Hash(Fields),
    /// Elements in an order of their own.
    List(List),
    /// Members.
    Set(Fields),
    /// Members with scores.
    Zset(Zset),
}

/// Strings are the commonest: the others must not make them larger than this.
const _: () = assert!(size_of::<Value>() <= 24);

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum ValueKind {
    /// See [`Value::String`].
    String,
    /// See [`Value::Hash`].
    Hash,
    /// See [`Value::List`].
    List,
    /// See [`Value::Set`].
    Set,
    /// See [`Value::Zset`].
    Zset,
}

impl ValueKind {
    /// As `TYPE` says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
        }
    }
}

impl Value {
    /// An empty value of this kind.
    #[must_use]
    pub fn empty(kind: ValueKind) -> Self {
        match kind {
            ValueKind::String => Self::String(Bytes::default()),
            ValueKind::Hash => Self::Hash(Fields::default()),
            ValueKind::List => Self::List(List::default()),
            ValueKind::Set => Self::Set(Fields::default()),
            ValueKind::Zset => Self::Zset(Zset::default()),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::String(_) => ValueKind::String,
            Self::Hash(_) => ValueKind::Hash,
            Self::List(_) => ValueKind::List,
            Self::Set(_) => ValueKind::Set,
            Self::Zset(_) => ValueKind::Zset,
        }
    }

    /// The bytes, if it is a string.
    #[must_use]
    pub fn as_string(&self) -> Option<&Bytes> {
        match self {
            Self::String(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// What it is, in a few words for the display: a string's bytes, `hash{3} user=ann …`, `list[12] first …`.
    #[must_use]
    pub fn brief(&self, bytes_max: usize) -> Bytes {
        let joined = |one: &[u8], two: &[u8]| [one, b"=", two].concat();
        let (mut text, some, all) = match self {
            Self::String(bytes) => return bytes.clone(),
            Self::Hash(fields) => {
                let some: Vec<Vec<u8>> = fields.iter().take(BRIEF_ELEMENTS).map(|(f, v)| joined(f, v)).collect();
                (format!("hash{{{}}}", fields.len()), some, fields.len())
            }
            Self::Set(fields) => {
                let some = fields.iter().take(BRIEF_ELEMENTS).map(|(member, _)| member.to_vec()).collect();
                (format!("set{{{}}}", fields.len()), some, fields.len())
            }
            Self::List(list) => {
                let some = list.range(0, BRIEF_ELEMENTS).map(<[u8]>::to_vec).collect();
                (format!("list[{}]", list.len()), some, list.len())
            }
            Self::Zset(zset) => {
                let shown = |(m, s): (&[u8], f64)| joined(m, super::Double(s).to_string().as_bytes());
                let some = zset.upwards(0).take(BRIEF_ELEMENTS).map(shown).collect();
                (format!("zset{{{}}}", zset.len()), some, zset.len())
            }
        };
        for element in some.iter().take_while(|element| element.len() < bytes_max) {
            text.push(' ');
            text.push_str(&super::bytes::preview(element, bytes_max));
        }
        text.push_str(if some.len() < all { " …" } else { "" });
        text.into()
    }

    /// How many elements it has; a string is one.
    #[must_use]
    pub fn elements(&self) -> usize {
        match self {
            Self::String(_) => 1,
            Self::Hash(fields) | Self::Set(fields) => fields.len(),
            Self::List(list) => list.len(),
            Self::Zset(zset) => zset.len(),
        }
    }

    /// True for a collection without elements, which no key may hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::String(_) => false,
            Self::Hash(fields) | Self::Set(fields) => fields.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Zset(zset) => zset.is_empty(),
        }
    }

    /// What it takes in memory, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::String(bytes) => bytes.len(),
            Self::Hash(fields) | Self::Set(fields) => fields.size_bytes(),
            Self::List(list) => list.size_bytes(),
            Self::Zset(zset) => zset.size_bytes(),
        }
    }

    /// The packed elements of a small collection, or the bytes of a string: what can be sent as it is.
    pub(super) fn packed(&self) -> Option<&Bytes> {
        match self {
            Self::String(bytes) => Some(bytes),
            Self::Hash(fields) | Self::Set(fields) => fields.packed(),
            Self::List(list) => list.packed(),
            Self::Zset(zset) => zset.packed(),
        }
    }

    /// The reverse of [`Value::packed`].
    pub(super) fn from_packed(kind: ValueKind, packed: Bytes) -> Option<Self> {
        Some(match kind {
            ValueKind::String => Self::String(packed),
            ValueKind::Hash => Self::Hash(Fields::from_packed(packed)?),
            ValueKind::Set => Self::Set(Fields::from_packed(packed)?),
            ValueKind::List => Self::List(List::from_packed(packed)?),
            ValueKind::Zset => Self::Zset(Zset::from_packed(packed)?),
        })
    }

    /// What the digest of the store knows of it. O(1) for what is large, but for a string.
    pub(super) fn digest(&self) -> u64 {
        match self {
            Self::String(bytes) => xxh3_64(bytes),
            Self::Hash(fields) => fields.digest().wrapping_add(1),
            Self::Set(fields) => fields.digest().wrapping_add(2),
            Self::List(list) => list.digest().wrapping_add(3),
            Self::Zset(zset) => zset.digest().wrapping_add(4),
        }
    }

    /// Forgets up to `count` elements; true when nothing is left that takes time to be let go.
    pub(super) fn forget(&mut self, count: u64) -> bool {
        match self {
            Self::String(_) => true,
            Self::Hash(fields) | Self::Set(fields) => fields.forget(count),
            Self::List(list) => list.forget(count),
            Self::Zset(zset) => zset.forget(count),
        }
    }

    /// As `OBJECT ENCODING` says it.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::String(bytes) if super::state::parse_integer(bytes).is_some() => "int",
            Self::String(bytes) if bytes.len() <= 44 => "embstr",
            Self::String(_) => "raw",
            Self::Hash(fields) if fields.packed().is_some() => "listpack",
            Self::Hash(_) => "hashtable",
            Self::List(_) => "quicklist",
            Self::Set(fields) if fields.len() <= 512 && fields.iter().all(|(m, _)| is_integer(m)) => "intset",
            Self::Set(_) => "hashtable",
            Self::Zset(zset) if zset.packed().is_some() => "listpack",
            Self::Zset(_) => "skiplist",
        }
    }
}

fn is_integer(bytes: &[u8]) -> bool {
    super::state::parse_integer(bytes).is_some()
}
