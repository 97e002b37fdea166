//! One server's card: what it reported last, and what just happened to it.

use super::coarse;
use crate::cluster::Standing;
use crate::core::protocol::{KeyView, Member, Rank, Role, ServerStatus, Time, View};
use std::time::Duration;

/// A card remembers this many keys, the newest ones.
pub const KEYS_MAX: usize = 64;
/// A changed key flashes for this long.
pub const FLASH: Duration = Duration::from_millis(600);
/// A new primary lights up, and a fallen server's title burns, for this long.
pub const LIT: Duration = Duration::from_millis(1_200);
/// A difference between two stores must last this long before it is marked: below, the reports have merely crossed.
pub const DIFFERENCE_SETTLED: Duration = Duration::from_millis(700);
/// A server that has not reported for this long is said to be silent.
pub const SILENT_AFTER: Duration = Duration::from_millis(1_500);

/// A key on the card.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownKey {
    /// As it was reported.
    pub view: KeyView,
    /// When that report came.
    pub changed: Time,
}

/// One server.
#[derive(Debug, Clone)]
pub struct ServerModel {
    /// Which one.
    pub rank: Rank,
    /// Its process, 0 before the first report.
    pub pid: u32,
    status: Option<ServerStatus>,
    heard: Time,
    gone: Option<Time>,
    stopped: Option<Time>,
    fell: Option<Time>,
    lit: Option<Time>,
    paused_since: Option<Time>,
    back_at: Option<Time>,
    out_for: Duration,
    lease_share: f64,
    lease_at: Time,
    /// It has not heard of the newest view, in which it has no such role any more.
    is_behind: bool,
    /// Newest op first.
    keys: Vec<ShownKey>,
}

impl ServerModel {
    pub(super) fn new(rank: Rank, now: Time) -> Self {
        Self {
            rank,
            pid: 0,
            status: None,
            heard: now,
            gone: None,
            stopped: None,
            fell: None,
            lit: None,
            paused_since: None,
            back_at: None,
            out_for: Duration::ZERO,
            lease_share: 0.0,
            lease_at: now,
            is_behind: false,
            keys: Vec::new(),
        }
    }

    pub(super) fn report(&mut self, now: Time, pid: u32, status: Option<ServerStatus>) {
        if self.gone.is_some() && pid == self.pid {
            return; // A last word that was under way when the process died.
        }
        self.gone = None;
        self.pid = pid;
        self.heard = now;
        let Some(status) = status else { return };

        let was = self.status.as_ref().map(|s| (s.role, s.paused));
        if status.role == Role::Down {
            let reads = status.disk.is_some_and(|disk| disk.reading.is_some());
            if !reads
                && was.is_none_or(|(role, _)| role != Role::Down)
                && self.fell.is_none_or(|fell| now.since(fell) > LIT)
            {
                self.fell = Some(now);
            }
            let back_at = status.back_in.map(|left| now + left);
            if self.back_at.is_none() || back_at.is_none() {
                self.out_for = status.back_in.unwrap_or_default();
            }
            self.back_at = back_at;
        } else {
            self.back_at = None;
        }
        if !status.paused {
            self.paused_since = None;
        } else if self.paused_since.is_none() {
            self.paused_since = Some(now);
        }
        self.fold_lease(now, &status);
        self.status = Some(status);
    }

    /// Between two heartbeats a healthy lease runs down by a quarter. Shown as it is it would flicker,
    /// so the bar shows the best of the last half second.
    fn fold_lease(&mut self, now: Time, status: &ServerStatus) {
        let share = match status.lease {
            Some((left, whole)) if !whole.is_zero() => (left.as_secs_f64() / whole.as_secs_f64()).clamp(0.0, 1.0),
            _ => 0.0,
        };
        if share >= self.lease_share || now.since(self.lease_at) > Duration::from_millis(500) {
            self.lease_share = share;
            self.lease_at = now;
        }
    }

    pub(super) fn fold_keys(&mut self, now: Time, keys: &[KeyView], cleared: bool) {
        if cleared {
            self.keys.clear();
        }
        let loading = self.status.as_ref().is_some_and(|s| s.role == Role::Joining);
        for view in keys.iter().cloned() {
            self.keys.retain(|shown| shown.view.key != view.key);
            if view.value.is_some() {
                let place = self.keys.partition_point(|shown| shown.view.op > view.op);
                let changed = if loading { Time(0) } else { now };
                self.keys.insert(place, ShownKey { view, changed });
                self.keys.truncate(KEYS_MAX);
            }
        }
        if let Some(status) = &self.status {
            // Reports sample under load, so a deletion may go untold: never show more than there is.
            self.keys.truncate(usize::try_from(status.keys).unwrap_or(usize::MAX));
        }
    }

    pub(super) fn crashed(&mut self, _now: Time, at: Time) {
        self.fell = Some(at);
        self.lit = None;
        self.keys.clear();
    }

    pub(super) fn gone(&mut self, now: Time) {
        self.gone = Some(now);
        self.fell = Some(now);
        self.stopped = None;
        self.keys.clear();
    }

    pub(super) fn stopped(&mut self, now: Time, stopped: bool) {
        self.stopped = stopped.then_some(now);
        self.heard = now;
    }

    pub(super) fn light_up(&mut self, now: Time) {
        self.lit = Some(now);
    }

    pub(super) fn still_for(&self, now: Time) -> Duration {
        let ends = |since: Option<Time>, lasts: Duration| {
            since.map(|s| s + lasts).filter(|end| *end > now).map_or(Duration::MAX, |end| end.since(now))
        };
        let mut still = ends(self.lit, LIT).min(ends(self.fell, LIT));
        if let Some(newest) = self.keys.iter().map(|shown| shown.changed).filter(|at| now.since(*at) < FLASH).min() {
            still = still.min(ends(Some(newest), FLASH));
        }
        match self.state(now) {
            Standing::Down => still.min(self.fell.map_or(Duration::MAX, |fell| coarse(now.since(fell)))),
            Standing::Primary => still.min(ends(Some(self.heard), SILENT_AFTER)),
            _ => still,
        }
    }

    /// What the card says.
    #[must_use]
    pub fn state(&self, _now: Time) -> Standing {
        if self.gone.is_some() {
            return Standing::Dead;
        }
        let Some(status) = &self.status else { return Standing::Starting };
        if self.stopped.is_some() || status.paused {
            return Standing::Paused;
        }
        Standing::of(status.role, self.is_behind)
    }

    /// What it believes is compared with the newest view.
    pub(super) fn compare(&mut self, view: &View) {
        self.is_behind = self.status.as_ref().is_some_and(|status| {
            let member = Member { rank: self.rank, incarnation: status.incarnation };
            let has_role = match status.role {
                Role::Primary => view.primary == member,
                _ => view.contains(member),
            };
            status.view < view.number && !has_role
        });
    }

    /// The last report.
    #[must_use]
    pub fn status(&self) -> Option<&ServerStatus> {
        self.status.as_ref()
    }

    /// True when the last report may be taken for how things are.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.gone.is_none() && self.stopped.is_none() && self.status.as_ref().is_some_and(|s| !s.paused)
    }

    /// True when its process is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// True when it holds the data, by its own account.
    #[must_use]
    pub fn is_member(&self) -> bool {
        let has_role = self.status.as_ref().is_some_and(|s| matches!(s.role, Role::Primary | Role::Backup));
        has_role && self.gone.is_none() && !self.is_behind
    }

    pub(super) fn leads(&self) -> bool {
        self.status.as_ref().is_some_and(|s| s.role == Role::Primary)
    }

    /// Its keys, newest first.
    #[must_use]
    pub fn keys(&self) -> &[ShownKey] {
        &self.keys
    }

    /// How much of the lease is left, 0 to 1, smoothed for the eye. `None` when it needs none.
    #[must_use]
    pub fn lease(&self) -> Option<f64> {
        self.status.as_ref().and_then(|s| s.lease).map(|_| self.lease_share)
    }

    /// How long ago it crashed or died, while it is out.
    #[must_use]
    pub fn out_since(&self, now: Time) -> Option<Duration> {
        self.fell.map(|fell| now.since(fell))
    }

    /// How long until it restarts by itself, and how much of the waiting is over (0 to 1).
    #[must_use]
    pub fn back_in(&self, now: Time) -> Option<(Duration, f64)> {
        let left = self.back_at?.since(now);
        let whole = self.out_for.max(left).as_secs_f64();
        Some((left, if whole > 0.0 { 1.0 - left.as_secs_f64() / whole } else { 1.0 }))
    }

    /// How long it has been stopped.
    #[must_use]
    pub fn paused_for(&self, now: Time) -> Option<Duration> {
        self.stopped.or(self.paused_since).map(|since| now.since(since))
    }

    /// How long it has not reported, if that is worth telling.
    #[must_use]
    pub fn silent_for(&self, now: Time) -> Option<Duration> {
        let silent = now.since(self.heard);
        (self.status.is_some() && self.gone.is_none() && silent >= SILENT_AFTER).then_some(silent)
    }

    /// True for a moment after it became primary.
    #[must_use]
    pub fn is_lit(&self, now: Time) -> bool {
        self.lit.is_some_and(|lit| now.since(lit) < LIT)
    }

    /// True for a moment after it fell.
    #[must_use]
    pub fn just_fell(&self, now: Time) -> bool {
        self.fell.is_some_and(|fell| now.since(fell) < LIT)
    }

    /// True when `peer` is known to hold something else under this key, and not only for a moment.
    /// Equal digests prove equality; without that, a key counts as missing only if all of the peer's keys are shown.
    #[must_use]
    pub fn differs_from(&self, peer: &ServerModel, shown: &ShownKey, now: Time) -> bool {
        let (Some(mine), Some(theirs)) = (&self.status, &peer.status) else { return false };
        if !self.is_member() || !peer.is_member() || mine.digest == theirs.digest {
            return false;
        }
        let settled = |changed: Time| now.since(changed) >= DIFFERENCE_SETTLED;
        match peer.keys.iter().find(|other| other.view.key == shown.view.key) {
            Some(other) => {
                (other.view.op != shown.view.op || other.view.value != shown.view.value)
                    && settled(shown.changed.max(other.changed))
            }
            None => peer.keys.len() as u64 == theirs.keys && settled(shown.changed),
        }
    }
}
