//! Layer 6: processes that left the containment. This is not a cause of its own: it follows every other
//! layer.
//!
//! Their parents are dead at that point, so the kernel has made them children of the nearest subreaper, the
//! supervisor. If it has no child left, there are no orphans. If the supervisor is dead, or the guardian had
//! to be replaced (some orphans may then have gone to the parent of cgrun), they are found by the session's
//! marker in their environment instead. Children are asked to exit with SIGTERM and get a grace of their own,
//! unless the user has already asked twice. Processes found by their marker are killed at once. The exit code
//! is that of the layer before, or 122 if an orphan survives or could have hidden from us.

use nix::sys::signal::Signal;

use super::cause::Cause;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphans {
    supervisor_died: bool,
    guardian_replaced: bool,
}

impl Orphans {
    pub(crate) const STOP_SIGNAL: Signal = Signal::SIGTERM;

    pub(crate) fn after(cause: &Cause, guardian_replaced: bool) -> Self {
        Self { supervisor_died: cause.is_supervisor_dead(), guardian_replaced }
    }

    /// Whether the supervisor is the parent of all orphans.
    pub(crate) fn are_our_children(self) -> bool {
        !self.supervisor_died
    }

    /// Whether some may be children of another process, so that only the marker identifies them.
    pub(crate) fn have_only_their_marker(self) -> bool {
        self.supervisor_died || self.guardian_replaced
    }

    /// Describes the processes that no search could have found, if only the process tree holds the session.
    pub(crate) fn out_of_reach(self) -> Option<&'static str> {
        match (self.supervisor_died, self.guardian_replaced) {
            (true, _) => Some(
                "cgrun was killed, and only the process tree held the session: processes that cleared their \
                 environment cannot be found any more",
            ),
            (_, true) => Some(
                "the guardian was killed and replaced, and only the process tree holds the session: processes that \
                 lost their parent at that moment and cleared their environment cannot be found any more",
            ),
            (false, false) => None,
        }
    }
}
