//! How many steps pass in a second while the stage plays.

use crate::ui::commands::moves::Move;
use std::time::Duration;

/// Steps a second, from slow to fast.
const SPEEDS: [f64; 7] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];
/// The one that it begins with.
const SPEED_FIRST: usize = 2;

/// One of several speeds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed(usize);

impl Default for Speed {
    fn default() -> Self {
        Self(SPEED_FIRST)
    }
}

impl Speed {
    /// Faster or slower, if that is what is wanted. False when it is something else.
    pub(super) fn follow(&mut self, wanted: Move) -> bool {
        self.0 = match wanted {
            Move::Faster => (self.0 + 1).min(SPEEDS.len() - 1),
            Move::Slower => self.0.saturating_sub(1),
            _ => return false,
        };
        true
    }

    /// Steps a second.
    pub(super) fn per_second(self) -> f64 {
        SPEEDS[self.0]
    }

    /// How long a step stands.
    pub(super) fn stands(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second())
    }
}
