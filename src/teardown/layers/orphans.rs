//! Layer 6: processes that left the containment. This is not a cause of its own: it follows every other
//! layer.
//!
//! Their parents are dead at that point, so the kernel has made them children of the nearest subreaper, the
//! supervisor. If it has no child left, there are no orphans. If the supervisor is dead, they are found by the
//! session's marker in their environment instead. Children are asked to exit with SIGTERM and get a grace of their own,
//! unless the user has already asked twice. Processes found by their marker are killed at once. The exit code
//! is that of the layer before, or 122 if an orphan survives or could have hidden from us.

use nix::sys::signal::Signal;

use super::cause::Cause;
use crate::sys::process::first_process;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphans {
    supervisor_died: bool,
}

impl Orphans {
    pub(crate) const STOP_SIGNAL: Signal = Signal::SIGTERM;

    pub(crate) fn after(cause: &Cause) -> Self {
        Self { supervisor_died: cause.is_supervisor_dead() }
    }

    /// Whether the supervisor, which runs this teardown, is the parent of all orphans. Otherwise only the marker
    /// identifies them.
    pub(crate) fn are_our_children(self) -> bool {
        !self.supervisor_died
    }

    /// Describes the processes that no search could have found, if only the process tree holds the session. As the first
    /// process of a PID namespace, cgrun exits after this, and the kernel kills them, unless this is one of several shards.
    pub(crate) fn out_of_reach(self) -> Option<&'static str> {
        (self.supervisor_died && !first_process::exits_after_us()).then_some(
            "cgrun was killed, and only the process tree held the session: processes that cleared their \
             environment cannot be found any more",
        )
    }
}
