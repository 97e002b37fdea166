//! What somebody may do to one message that is on its way, where time is virtual.

use std::fmt;

/// What to do to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// It never arrives.
    Drop,
    /// It arrives late, after others that left later.
    Hold,
    /// It arrives now, before others that left earlier.
    Deliver,
    /// It arrives, and once more a moment later.
    Double,
}

impl Meddling {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Drop, Self::Hold, Self::Deliver, Self::Double];

    /// In one word, as commands name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Hold => "hold",
            Self::Deliver => "deliver",
            Self::Double => "double",
        }
    }
}

impl fmt::Display for Meddling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "dropped",
            Self::Hold => "held",
            Self::Deliver => "delivered now",
            Self::Double => "doubled",
        })
    }
}
