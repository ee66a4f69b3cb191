//! podman's monitors, which are not killed before podman has cleaned up after their containers, if that takes only a moment.

use std::time::Duration;

use crate::containers::monitors::{Finishing, PATIENCE};
use crate::runtime::clock;
use crate::runtime::events::Wake;
use crate::sys::process::children;
use crate::sys::process::pidfd::Process;
use crate::teardown::running_teardown::Teardown;

/// How often to look for what podman has started meanwhile.
const LOOK: Duration = Duration::from_millis(10);

impl Teardown<'_> {
    /// Lets them finish before all that is left is killed. Once is enough.
    pub(super) fn finish_monitors(&mut self) {
        if std::mem::replace(&mut self.monitors_had_time, true) {
            return;
        }
        let children = children::list().unwrap_or_default();
        let outside = children.into_iter().filter(|&pid| self.context.is_outside(pid));
        let outside: Vec<_> = outside.filter_map(|pid| Process::open(pid).ok().flatten()).collect();
        let limit = self.budget.share(PATIENCE, 1);
        self.finish(Finishing::of(&self.context.containment, &outside, limit));
    }

    /// Waits for them, unless the user has no patience even for that.
    pub(super) fn finish(&mut self, mut finishing: Finishing) {
        while !self.requests.end_everything() && finishing.advance() {
            self.ensure_guardian();
            let wakes: Vec<_> = finishing.wakes_on().map(Wake::readable).into_iter().collect();
            self.wait(&wakes, clock::now() + LOOK);
        }
    }
}
