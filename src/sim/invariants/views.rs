//! There is one history of views; the primary of the next view was a member of the one before.

use super::Violation;
use crate::core::protocol::{Metadata, ViewNumber};

/// How much of the history has been looked at.
#[derive(Debug, Default)]
pub struct Views {
    seen: ViewNumber,
}

impl Views {
    /// Looks at the views that are new since the last call.
    ///
    /// # Errors
    /// When a view does not follow from the one before.
    pub fn check(&mut self, metadata: &Metadata) -> Result<(), Violation> {
        let newest = metadata.view().map_or(ViewNumber(0), |view| view.number);
        if newest == self.seen {
            return Ok(());
        }
        let views: Vec<_> = metadata.records().iter().map(|record| &record.view).collect();
        for pair in views.windows(2).filter(|pair| pair[1].number > self.seen) {
            let (old, new) = (pair[0], pair[1]);
            let follows = new.number == old.number.next();
            let same_epoch = new.epoch == old.epoch;
            if !follows || (same_epoch && !old.contains(new.primary)) {
                return Err(Violation::new("views", format!("{new} does not follow from {old}")));
            }
        }
        self.seen = newest;
        Ok(())
    }
}
