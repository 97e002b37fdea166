//! Which message is whose: each is handed to the role that it is for, if it is of this view.

#![allow(clippy::collapsible_match, reason = "a guard of an arm does nothing; these look, and answer")]

use super::joining::Next;
use super::{Left, RoleState, Server};
use crate::core::protocol::message::Message;
use crate::core::protocol::view::{METADATA, Rank};
use crate::core::protocol::{Outbox, Time};
use std::sync::Arc;

impl Server {
    pub(super) fn take_in(&mut self, now: Time, from: Rank, message: Message, out: &mut Outbox) {
        debug_assert!(self.core.crashed.is_none(), "a crashed server is handed nothing");
        out.work += message.units();
        let of_views = matches!(
            message,
            Message::ViewIs { .. } | Message::Refused { .. } | Message::Welcome { .. } | Message::Retire { .. }
        );
        if self.core.retired.is_some() && !of_views {
            return;
        }
        match message {
            Message::Request(request) => {
                let doom = self.armed.take();
                self.on_request(now, from, request, doom, out);
            }
            Message::ViewIs { view } | Message::Refused { view } => self.learn(now, view, out),
            Message::Welcome { view, recruit } => {
                if let Some(view) = view {
                    self.learn(now, view, out);
                }
                if let RoleState::Joining(joining) = &mut self.state {
                    joining.set_recruited(&self.core, recruit, out);
                }
            }
            Message::GetView => {
                if let Some(view) = &self.core.view {
                    out.send(from, Message::ViewIs { view: Arc::clone(view) });
                }
            }
            Message::Retire { view, reset, off } if from == METADATA && view == self.core.view_number() => {
                self.retire(now, reset, off, out);
            }
            Message::Retire { .. } => {}
            Message::Confirm { to, asked } => {
                let next = to.number == self.core.view_number().next() && to.primary == self.core.me;
                match &mut self.state {
                    RoleState::Backup(backup) if next => backup.confirm(&to, asked, out),
                    RoleState::Primary(primary) if next => primary.confirm(to, asked, out),
                    _ => {}
                }
            }
            message @ (Message::StartView { .. }
            | Message::Prepare { .. }
            | Message::Heartbeat { .. }
            | Message::Handover { .. }
            | Message::Snapshot { .. }
            | Message::StartOver { .. }) => self.take_in_from_primary(now, from, message, out),
            message @ (Message::PrepareOk { .. }
            | Message::HeartbeatOk { .. }
            | Message::StartViewOk { .. }
            | Message::SnapshotOk { .. }
            | Message::Join { .. }) => self.take_in_from_peer(now, from, message, out),
            Message::Reply { .. }
            | Message::NotPrimary { .. }
            | Message::Announce { .. }
            | Message::Retired { .. }
            | Message::Held { .. }
            | Message::ChangeView { .. }
            // Whoever hands messages to a server has unpacked them.
            | Message::Relay(_) => {}
        }
    }

    /// What only the primary of a view sends.
    fn take_in_from_primary(&mut self, now: Time, from: Rank, message: Message, out: &mut Outbox) {
        match message {
            Message::StartView { view, commit, tail, sent } => {
                self.learn(now, Arc::clone(&view), out);
                if self.is_current(now, from, view.number, out)
                    && let RoleState::Backup(backup) = &mut self.state
                {
                    backup.on_start_view(&mut self.core, now, commit, tail, sent, out);
                }
            }
            Message::Prepare { view, commit, entry } => {
                if self.is_current(now, from, view, out) {
                    match &mut self.state {
                        RoleState::Backup(backup) => backup.on_prepare(&mut self.core, now, commit, entry, out),
                        RoleState::Joining(joining) => {
                            joining.on_prepare(&mut self.core, now, from, commit, entry, out);
                        }
                        RoleState::Primary(_) => {}
                    }
                }
            }
            Message::Heartbeat { view, commit, sent, round_trip } => {
                if self.is_current(now, from, view, out) {
                    match &mut self.state {
                        RoleState::Backup(backup) => {
                            backup.on_heartbeat(&mut self.core, now, commit, sent, round_trip, out);
                        }
                        RoleState::Joining(joining) => {
                            joining.on_heartbeat(&mut self.core, now, from, commit, sent, round_trip, out);
                        }
                        RoleState::Primary(_) => {}
                    }
                }
            }
            Message::Handover { view, op } => {
                if self.is_current(now, from, view, out)
                    && let RoleState::Backup(backup) = &mut self.state
                {
                    backup.on_handover(&mut self.core, now, from, op, out);
                }
            }
            Message::Snapshot { view, to, transfer, index, part } => {
                if self.is_current(now, from, view, out)
                    && to == self.core.me.incarnation
                    && let RoleState::Joining(joining) = &mut self.state
                    && joining.on_snapshot(&mut self.core, now, from, transfer, index, part, out) == Next::StartOver
                {
                    self.forget(now, Left::Life, out);
                }
            }
            Message::StartOver { view, incarnation } => {
                if self.is_current(now, from, view, out)
                    && incarnation == self.core.me.incarnation
                    && matches!(self.state, RoleState::Joining(_))
                {
                    self.forget(now, Left::Life, out);
                }
            }
            _ => {}
        }
    }

    /// What only those send who follow a primary, or want to.
    fn take_in_from_peer(&mut self, now: Time, from: Rank, message: Message, out: &mut Outbox) {
        match message {
            Message::PrepareOk { view, incarnation, op } => {
                self.on_peer(now, from, view, incarnation, out, |primary, core, member, out| {
                    primary.on_ack(core, now, member, op, None, out);
                });
            }
            Message::HeartbeatOk { view, incarnation, op, sent, lease } => {
                self.on_peer(now, from, view, incarnation, out, |primary, core, member, out| {
                    primary.on_ack(core, now, member, op, Some((sent, lease)), out);
                });
            }
            Message::StartViewOk { view, incarnation, op, sent, lease } => {
                self.on_peer(now, from, view, incarnation, out, |primary, core, member, out| {
                    primary.on_started(core, now, member, op, (sent, lease), out);
                });
            }
            Message::SnapshotOk { view, incarnation, transfer, next } => {
                self.on_peer(now, from, view, incarnation, out, |primary, core, member, out| {
                    primary.on_snapshot_ok(core, now, member, transfer, next, out);
                });
            }
            Message::Join { member, offer } => {
                if member.rank == from {
                    match &mut self.state {
                        RoleState::Primary(primary) => primary.on_join(&mut self.core, now, member, offer, out),
                        _ => self.point_to_view(from, out),
                    }
                }
            }
            _ => {}
        }
    }
}
