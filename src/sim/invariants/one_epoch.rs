//! Once `RESET` has begun a new epoch, nobody answers for an old one: what would be answered there is lost.

use super::Violation;
use crate::check::Operation;
use crate::protocol::{METADATA, Outcome, Rank, Time, View, ViewNumber};
use std::collections::BTreeMap;

/// Whether a violation counts. Until the protocol fences epochs off, it is only looked for by tests.
pub const COUNTS: bool = false;

/// When epochs began.
#[derive(Debug, Default)]
pub struct OneEpoch {
    /// The newest epoch, and its first view.
    newest: (u32, ViewNumber),
    /// By the time of the world.
    begun: BTreeMap<u32, Time>,
}

impl OneEpoch {
    /// The metadata server has decided on a view.
    pub fn on_view(&mut self, now: Time, view: &View) {
        if view.epoch > self.newest.0 {
            self.newest = (view.epoch, view.number);
            self.begun.insert(view.epoch, now);
        }
    }

    /// A server answers a request in this view.
    ///
    /// # Errors
    /// When the view belongs to an epoch that is over.
    pub fn on_reply(&self, from: Rank, view: ViewNumber) -> Result<(), Violation> {
        let (epoch, first) = self.newest;
        if view >= first || from == METADATA {
            return Ok(());
        }
        let what = format!("server {from} answers in view {view}, but epoch {epoch} has begun with view {first}");
        Err(Violation::new("one_epoch", what))
    }

    /// A client has an answer.
    ///
    /// # Errors
    /// When it asked after a newer epoch had begun, and was served in an older one.
    pub fn on_answer(&self, operation: &Operation) -> Result<(), Violation> {
        let newer = self.begun.range(operation.epoch + 1..).next();
        match newer.filter(|_| operation.epoch > 0 && operation.outcome != Outcome::Unknown) {
            Some((epoch, begun)) if operation.call > *begun => {
                let Operation { client, seq, epoch: old, .. } = operation;
                let what =
                    format!("client {client} asked {seq} after epoch {epoch} had begun, and epoch {old} answered");
                Err(Violation::new("one_epoch", what))
            }
            _ => Ok(()),
        }
    }
}
