//! Small collections: all elements one behind the other in one piece of memory.
//!
//! ```text
//! packed = element · element · …     element = its length (one byte, or 255 and four bytes) · its bytes
//! ```

use crate::core::store::Bytes;

/// A collection of more elements is not packed (pairs count twice).
pub(super) const PACKED_ELEMENTS_MAX: usize = 256;
/// Nor is one with a longer element.
pub(super) const PACKED_ELEMENT_BYTES_MAX: usize = 64;

/// Adds an element.
pub(super) fn push(packed: &mut Vec<u8>, element: &[u8]) {
    match u8::try_from(element.len()) {
        Ok(length) if length < u8::MAX => packed.push(length),
        _ => {
            packed.push(u8::MAX);
            let length = u32::try_from(element.len()).expect("elements have a limit");
            packed.extend_from_slice(&length.to_le_bytes());
        }
    }
    packed.extend_from_slice(element);
}

/// The elements, in order.
pub(super) fn iter(packed: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = packed;
    std::iter::from_fn(move || {
        let (element, after) = split(rest)?;
        rest = after;
        Some(element)
    })
}

/// The first element and what follows it; `None` at the end, and where the rest is no element.
fn split(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first()?;
    if *length < u8::MAX {
        return rest.split_at_checked(usize::from(*length));
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// How many elements there are; `None` when this is nothing packed.
pub(super) fn count(packed: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (packed, 0);
    while !rest.is_empty() {
        (_, rest) = split(rest)?;
        count += 1;
    }
    Some(count)
}

/// Packs elements.
pub(super) fn pack<E: AsRef<[u8]>>(elements: &[E]) -> Bytes {
    let bytes = elements.iter().map(|element| element.as_ref().len() + 1).sum();
    let mut packed = Vec::with_capacity(bytes);
    elements.iter().for_each(|element| push(&mut packed, element.as_ref()));
    packed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_found_again() {
        let elements = [Bytes::from("a"), "".into(), vec![b'x'; 254].into(), vec![b'y'; 255].into()];
        let packed = pack(&elements);
        assert!(iter(&packed).eq(elements.iter().map(|element| &**element)));
        assert_eq!(count(&packed), Some(4));
        assert_eq!(count(&packed[..packed.len() - 1]), None, "cut off");
        assert_eq!(count(&[255, 1]), None);
    }
}
