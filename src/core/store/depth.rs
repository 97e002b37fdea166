//! How deep values from outside may lie in each other.
//!
//! A command may hold commands, and a reply replies. Whoever sends bytes could have a reader go down as many steps as
//! there are bytes, until its stack is full; so there is a limit, far beyond what is ever said.

use serde::{Deserialize, Deserializer, de::Error};
use std::cell::Cell;

/// The most levels: `EXEC` of a `ZMPOP` has four.
pub(crate) const DEPTH_MAX: u32 = 8;

thread_local! {
    /// The level that is being read. (serde has no other way down to where it is needed.)
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// One level down, as long as this lives.
struct Level;

impl Level {
    fn enter() -> Option<Self> {
        let depth = DEPTH.get();
        (depth < DEPTH_MAX).then(|| {
            DEPTH.set(depth + 1);
            Self
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Reads what lies one level deeper, for `deserialize_with`.
///
/// # Errors
/// When it cannot be read, or lies too deep.
pub(crate) fn deeper<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    let _level = Level::enter().ok_or_else(|| D::Error::custom("values lie in each other too deeply"))?;
    T::deserialize(deserializer)
}
