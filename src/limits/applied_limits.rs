//! The limits that were applied to a session and its leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bounds::Bounds;
use super::controllers::Delegation;
use super::limit::Controller;
use super::profile_limits::ProfileLimits;
use crate::containment::LeafName;
use crate::runtime::clock;
use crate::sys::time::Instant;

/// The limits of a session and its leaves, and the changes to the cgroups above that they required.
#[derive(Debug, Default)]
pub(crate) struct AppliedLimits {
    pub session: Bounds,
    pub(super) leaves: BTreeMap<LeafName, Bounds>,
    pub(super) best_effort: bool,
    pub(super) of_profile: Option<ProfileLimits>,
    pub(super) since: Option<Instant>,
    pub(super) delegation: Delegation,
    pub(super) warnings: Vec<String>,
}

impl AppliedLimits {
    pub(crate) fn leaf(&self, name: &LeafName) -> Option<&Bounds> {
        self.leaves.get(name)
    }

    /// How long ago they were applied.
    pub(crate) fn age(&self) -> Duration {
        self.since.map(clock::since).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.controllers().is_empty()
    }

    /// Returns the warnings for the user, and forgets them.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Restores cgrun's own cgroup to its previous state. Must be called last, after the session's cgroup was
    /// removed.
    pub(crate) fn restore(&mut self) {
        self.delegation.restore();
    }

    #[cfg(test)]
    pub(crate) fn of(session: Bounds, leaf: LeafName, bounds: Bounds) -> Self {
        Self { session, leaves: [(leaf, bounds)].into(), ..Self::default() }
    }

    pub(super) fn controllers(&self) -> BTreeSet<Controller> {
        std::iter::once(&self.session).chain(self.leaves.values()).flat_map(Bounds::controllers).collect()
    }

    /// Gives up all limits of this controller.
    pub(super) fn give_up(&mut self, controller: Controller) {
        for bounds in std::iter::once(&mut self.session).chain(self.leaves.values_mut()) {
            let limits = bounds.limits().into_iter().filter(|limit| limit.controller() == controller);
            limits.for_each(|limit| bounds.give_up(limit));
        }
    }
}
