//! Once `RESET` has begun a new epoch, nobody answers for an old one: what would be answered there is lost.

use super::Violation;
use crate::check::Operation;
use crate::core::node::ServerHost;
use crate::core::protocol::{Outcome, Time, View, ViewNumber};
use std::collections::BTreeMap;

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

    /// A server has just done something; its own clock shows `now`. (What it said before may still be under way.)
    ///
    /// # Errors
    /// When it would answer a read in an epoch that is over.
    pub fn on_server(&self, now: Time, host: &ServerHost) -> Result<(), Violation> {
        let (epoch, first) = self.newest;
        let Some(server) = host.server().filter(|server| server.serves_reads(now)) else { return Ok(()) };
        match server.view().filter(|view| view.epoch < epoch) {
            Some(view) => {
                let (rank, number) = (host.rank(), view.number);
                let what =
                    format!("server {rank} answers in view {number}, but epoch {epoch} has begun with view {first}");
                Err(Violation::new("one_epoch", what))
            }
            None => Ok(()),
        }
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
