//! The first process of a PID namespace inside the session, as in a container. Its parent (conmon) has to clean up
//! after it, so the parent must not be killed at the same time, or asked to exit before it has done that. The kernel
//! drops signals that a first process has no handler for, other than SIGKILL.

use std::collections::{HashMap, HashSet};

use nix::sys::signal::Signal;
use rustix::process::Pid;

use crate::runtime::clock;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::procfs::walk::{lineage, with_descendants};
use crate::sys::time::Instant;
use crate::teardown::running_teardown::Teardown;

/// The time that processes have to exit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    pub half: Instant,
    pub end: Instant,
}

impl Grace {
    /// The grace from now until `end`.
    pub(super) fn until(end: Instant) -> Self {
        let now = clock::now();
        Self { half: now + (end - now) / 2, end }
    }
}

impl Teardown<'_> {
    /// Kills the inner first processes that cannot be asked with this signal, and after half of the grace all others.
    /// Their ancestors get time to clean up. `is_ours` tells whether a process that was just opened may be killed.
    pub(super) fn kill_inner_inits(
        &mut self,
        seen: &[ProcStat],
        signal: Signal,
        grace: Grace,
        is_ours: impl Fn(Pid) -> bool,
    ) {
        let is_late = clock::now() >= grace.half;
        let by_pid: HashMap<Pid, &ProcStat> = seen.iter().map(|it| (it.pid, it)).collect();
        for init in seen {
            if !self.asked.is_inner_init(init) || init.handles(signal) && !is_late {
                continue;
            }
            let Some((process, stat)) = Process::open_with_stat(init.pid) else { continue };
            if stat.key() != init.key() || !is_ours(init.pid) {
                continue;
            }
            let ancestors =
                std::iter::successors(init.parent, |pid| by_pid.get(pid)?.parent).take(seen.len());
            for ancestor in ancestors.filter_map(|pid| by_pid.get(&pid)) {
                self.asked.spare(ancestor, grace.end);
            }
            // If this fails, the process is killed with the others.
            let _ = process.signal(Signal::SIGKILL);
        }
    }

    /// The same for children of ours that left the containment, and their descendants.
    pub(super) fn kill_inner_inits_of(&mut self, children: &[ProcStat], signal: Signal, grace: Grace) {
        let ours: HashSet<Pid> = children.iter().map(|it| it.pid).collect();
        let all: Vec<_> =
            with_descendants(ours.iter().copied()).into_iter().filter_map(ProcStat::read).collect();
        let descends = |pid: Pid| lineage(pid).take(all.len()).any(|it| ours.contains(&it));
        self.kill_inner_inits(&all, signal, grace, descends);
    }
}
