//! Newtypes for the numbers that must never be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a number with a name of its own: ordered, small, printed as the bare number.
#[macro_export]
#[doc(hidden)]
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number that follows.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("numbers do not run out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A client: the rank it lives on.
    ClientId(u32)
}
number! {
    /// A client's own number of a request, consecutive from 1.
    Seq(u64)
}
number! {
    /// The place of a write in the one order of all writes, consecutive from 1; 0 is the empty store.
    OpNumber(u64)
}

impl ClientId {
    /// Nobody's: what a primary writes of its own accord. Nothing is remembered of it, and nobody is answered.
    pub const PRIMARY: Self = Self(u32::MAX);
}
