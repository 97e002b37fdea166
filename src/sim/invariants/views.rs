//! There is one history of views; the primary of the next view was a member of the one before.

use super::Violation;
use crate::core::protocol::{Member, Metadata, Reason, ViewNumber};

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
        let records: Vec<_> = metadata.records().iter().collect();
        for pair in records.windows(2).filter(|pair| pair[1].view.number > self.seen) {
            let (old, new) = (&pair[0].view, &pair[1].view);
            // Whoever comes back leads with what a member of the view before had.
            let had = |holder: Member| {
                let from = matches!(pair[0].reason, Reason::CameBack { holder: before, .. } if before == holder);
                old.contains(holder) || from
            };
            let (follows, is_heir) = match pair[1].reason {
                Reason::CameBack { holder, .. } => (new.number > old.number, had(holder)),
                _ => (new.number == old.number.next(), old.contains(new.primary)),
            };
            let same_epoch = new.epoch == old.epoch;
            if !follows || (same_epoch && !is_heir) {
                return Err(Violation::new("views", format!("{new} does not follow from {old}")));
            }
        }
        self.seen = newest;
        Ok(())
    }
}
