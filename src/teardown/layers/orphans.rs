//! Layer 6: processes that left the containment. Not a cause of its own: it follows each of the others.
//!
//! By then their parents are dead, so the kernel has made them children of the nearest subreaper, the
//! supervisor: having no child left proves that there are none. If the supervisor is dead, or the guardian had
//! to be replaced (some orphans may then have gone to the parent of cgrun), they are found by the session's
//! marker in their environment instead.
//! Asked to end: children with SIGTERM, with the patience of the layer that came before. What is found by its
//! marker is killed at once.
//! Exit: that of the layer before; 122 if an orphan survives, or could have hidden from us.

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

    /// Only the supervisor is their parent.
    pub(crate) fn are_our_children(self) -> bool {
        !self.supervisor_died
    }

    /// Some may be children of another process.
    pub(crate) fn have_only_their_marker(self) -> bool {
        self.supervisor_died || self.guardian_replaced
    }

    /// What no search could have found, if nothing but the process tree holds the session.
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
