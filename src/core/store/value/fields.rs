//! Fields and their values: a hash, and a set (whose values are empty).
//!
//! While it is small it is packed, in the order in which fields came; then it is a table.

use super::packed::{self, PACKED_ELEMENT_BYTES_MAX, PACKED_ELEMENTS_MAX};
use crate::core::store::Bytes;
use crate::core::store::table::{Chance, Table};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A field and its value.
pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// A hash or a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields(FieldsForm);

#[derive(Debug, Clone, PartialEq)]
enum FieldsForm {
    /// Field, value, field, value …
    Packed(Bytes),
    Table(Box<Summed>),
}

/// A table that knows the sum of its elements' digests.
#[derive(Debug, Clone, PartialEq, Default)]
struct Summed {
    table: Table<Bytes>,
    sum: u64,
    bytes: usize,
}

fn digest_of(field: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(field))
}

impl Summed {
    fn insert(&mut self, field: Bytes, value: Bytes) -> Option<Bytes> {
        let name = xxh3_64(&field);
        self.sum = self.sum.wrapping_add(xxh3_64_with_seed(&value, name));
        self.bytes += field.len() + value.len();
        let length = field.len();
        let old = self.table.insert(field, value);
        if let Some(old) = &old {
            self.sum = self.sum.wrapping_sub(xxh3_64_with_seed(old, name));
            self.bytes -= length + old.len();
        }
        old
    }

    fn remove(&mut self, field: &[u8]) -> Option<Bytes> {
        let (_, old) = self.table.remove(field)?;
        self.sum = self.sum.wrapping_sub(digest_of(field, &old));
        self.bytes -= field.len() + old.len();
        Some(old)
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self(FieldsForm::Packed(Bytes::default()))
    }
}

impl Fields {
    /// An empty table, to be filled with what was no longer packed elsewhere.
    pub(in crate::core::store) fn unpacked() -> Self {
        Self(FieldsForm::Table(Box::default()))
    }

    /// What was packed elsewhere; `None` when it cannot have been.
    pub(in crate::core::store) fn from_packed(packed: Bytes) -> Option<Self> {
        let count = packed::count(&packed)?;
        (count.is_multiple_of(2) && count <= PACKED_ELEMENTS_MAX).then_some(Self(FieldsForm::Packed(packed)))
    }

    /// The packed elements, while they are.
    pub(in crate::core::store) fn packed(&self) -> Option<&Bytes> {
        match &self.0 {
            FieldsForm::Packed(packed) => Some(packed),
            FieldsForm::Table(_) => None,
        }
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            FieldsForm::Packed(packed) => packed::iter(packed).count() / 2,
            FieldsForm::Table(summed) => summed.table.len(),
        }
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            FieldsForm::Packed(packed) => packed.is_empty(),
            FieldsForm::Table(summed) => summed.table.is_empty(),
        }
    }

    /// Bytes of all fields and values.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match &self.0 {
            FieldsForm::Packed(packed) => packed.len(),
            FieldsForm::Table(summed) => summed.bytes + summed.table.len() * super::ELEMENT_COST_BYTES,
        }
    }

    /// What the digest of the store knows of it: O(1) for a table.
    pub(in crate::core::store) fn digest(&self) -> u64 {
        match &self.0 {
            FieldsForm::Packed(packed) => xxh3_64(packed),
            FieldsForm::Table(summed) => summed.sum ^ (summed.table.len() as u64).rotate_left(40),
        }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match &self.0 {
            FieldsForm::Packed(packed) => pairs(packed).find(|(own, _)| *own == field).map(|(_, value)| value),
            FieldsForm::Table(summed) => summed.table.get(field).map(|value| &**value),
        }
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Sets a field; true when it is new.
    pub fn set(&mut self, field: &Bytes, value: Bytes) -> bool {
        if let FieldsForm::Packed(packed) = &self.0 {
            let fits = field.len() <= PACKED_ELEMENT_BYTES_MAX && value.len() <= PACKED_ELEMENT_BYTES_MAX;
            if fits && let Some((new, is_new)) = with(packed, field, &value) {
                self.0 = FieldsForm::Packed(new);
                return is_new;
            }
            self.unpack();
        }
        match &mut self.0 {
            FieldsForm::Table(summed) => summed.insert(field.clone(), value).is_none(),
            FieldsForm::Packed(_) => unreachable!("it has just been unpacked"),
        }
    }

    fn unpack(&mut self) {
        if let FieldsForm::Packed(packed) = &self.0 {
            let mut summed = Box::<Summed>::default();
            for (field, value) in pairs(packed) {
                summed.insert(field.into(), value.into());
            }
            self.0 = FieldsForm::Table(summed);
        }
    }

    /// Removes a field; returns its value.
    pub fn remove(&mut self, field: &[u8]) -> Option<Bytes> {
        match &mut self.0 {
            FieldsForm::Packed(packed) => {
                let old = pairs(packed).find(|(own, _)| *own == field)?.1.into();
                let kept: Vec<&[u8]> =
                    pairs(packed).filter(|(own, _)| *own != field).flat_map(|(own, value)| [own, value]).collect();
                *packed = packed::pack(&kept);
                Some(old)
            }
            FieldsForm::Table(summed) => summed.remove(field),
        }
    }

    /// All fields and values.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Field<'_>> + '_> {
        match &self.0 {
            FieldsForm::Packed(packed) => Box::new(pairs(packed)),
            FieldsForm::Table(summed) => Box::new(summed.table.iter().map(|(field, value)| (&**field, &**value))),
        }
    }

    /// The fields after this one in a table; those of a packed one have no order to go on from.
    pub(in crate::core::store) fn after<'a>(
        &'a self,
        field: Option<&'a Bytes>,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
        let table = match &self.0 {
            FieldsForm::Packed(_) => None,
            FieldsForm::Table(summed) => Some(&summed.table),
        };
        table.into_iter().flat_map(move |table| table.after(field))
    }

    /// Some of them from a cursor on, and the next cursor.
    #[must_use]
    pub fn scan(&self, from: u64, count: usize) -> (u64, Vec<Field<'_>>) {
        match &self.0 {
            FieldsForm::Packed(packed) => (0, pairs(packed).collect()),
            FieldsForm::Table(summed) => {
                let (next, found) = summed.table.scan(from, count);
                (next, found.into_iter().map(|(field, value)| (&**field, &**value)).collect())
            }
        }
    }

    /// One of them by chance.
    #[must_use]
    pub fn choose(&self, chance: &mut Chance) -> Option<Field<'_>> {
        match &self.0 {
            FieldsForm::Packed(packed) => pairs(packed).nth(usize::try_from(chance.below(self.len() as u64)).ok()?),
            FieldsForm::Table(summed) => summed.table.choose(chance).map(|(field, value)| (&**field, &**value)),
        }
    }

    /// Forgets up to `count` fields; true when none is left.
    pub(in crate::core::store) fn forget(&mut self, count: u64) -> bool {
        match &mut self.0 {
            FieldsForm::Packed(_) => true,
            FieldsForm::Table(summed) => {
                (0..count).all(|_| summed.table.pop_first().is_some());
                summed.table.is_empty()
            }
        }
    }
}

fn pairs(packed: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut elements = packed::iter(packed);
    std::iter::from_fn(move || Some((elements.next()?, elements.next()?)))
}

/// The same with one field set, and whether it is new; `None` when it would be too many.
fn with(old: &[u8], field: &[u8], value: &[u8]) -> Option<(Bytes, bool)> {
    let mut new = Vec::with_capacity(old.len() + field.len() + value.len() + 2);
    let (mut is_new, mut count) = (true, 0);
    for (own, before) in pairs(old) {
        let found = own == field;
        is_new &= !found;
        count += 2;
        packed::push(&mut new, own);
        packed::push(&mut new, if found { value } else { before });
    }
    if is_new {
        packed::push(&mut new, field);
        packed::push(&mut new, value);
        count += 2;
    }
    (count <= PACKED_ELEMENTS_MAX).then(|| (new.into(), is_new))
}
