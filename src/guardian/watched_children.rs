//! The children of the supervisor that are outside the session's cgroup. After its death, nothing distinguishes
//! such a process from a stranger: it becomes a child of the host's first process, and may have cleared its
//! environment. So the guardian looks for them while the supervisor lives.

use std::collections::HashMap;
use std::time::Duration;

use rustix::event::Timespec;

use crate::containment;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcessKey;
use crate::sys::procfs::walk::children;
use crate::teardown::Context;

/// How often to look. One look takes microseconds.
pub(super) const EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

#[derive(Debug, Default)]
pub(super) struct WatchedChildren(HashMap<ProcessKey, Process>);

impl WatchedChildren {
    /// Looks at the children of the supervisor.
    pub(super) fn look(&mut self, supervisor: &Process, context: &Context) {
        let mut found = HashMap::new();
        let Ok(children) = children(supervisor.pid) else { return };
        for pid in children.into_iter().filter(|&pid| context.is_outside(pid)) {
            let opened = Process::open_with_stat(pid);
            let child = opened.filter(|(_, stat)| stat.parent == Some(supervisor.pid));
            found.extend(child.map(|(process, stat)| (stat.key(), process)));
        }
        // If the supervisor has died, these may be the children of another process with its pid.
        if supervisor.wait(Duration::ZERO).unwrap_or(true) {
            return;
        }
        let is_known = found.len() == self.0.len() && found.keys().all(|it| self.0.contains_key(it));
        self.0 = found;
        if let Some(cgroup) = context.containment.path().filter(|_| !is_known) {
            // For a sweep, if we are killed too. Without the attribute it does not find them.
            let _ = containment::write_outside(cgroup, self.0.keys().copied());
        }
    }

    /// Those that are still alive.
    pub(super) fn living(self) -> Vec<Process> {
        self.0.into_values().filter(|process| !process.has_exited()).collect()
    }
}
