//! A SIGTERM to the guardian is meant for the session, so the supervisor gets it. Jenkins aborts a build with a SIGTERM to
//! all of its processes, children first, and waits for each: the guardian is signalled before the supervisor, and exits
//! only after the session.

use std::os::fd::{AsFd, BorrowedFd};

use crate::runtime::events::is_below;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::signals::{Sender, Signals};
use crate::teardown::Context;

/// The SIGTERMs that the guardian gets.
pub(super) struct Relay(Option<Signals>);

impl Relay {
    /// Must be called while SIGTERM is blocked, as it is in a child of the supervisor. Without a signalfd, SIGTERM stays
    /// blocked, and only this service to CI runners is missing.
    pub(super) fn new() -> Self {
        Self(Signals::sigterm().ok().flatten())
    }

    /// Readable when there is something to relay.
    pub(super) fn wakes_on(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn relay(&self, supervisor: &Process, context: &Context) {
        let Some(signals) = &self.0 else { return };
        while let Ok(Some((caught, sender))) = signals.next() {
            if !is_from_session(sender, supervisor, context) {
                // If it fails, the supervisor has exited, and the guardian tears down the session.
                let _ = supervisor.relay(caught.signal);
            }
        }
    }
}

/// A script in the session may run `kill -- -1`. That is no request of the user. Neither counts a sender that has exited:
/// CI runners and service managers stay.
fn is_from_session(sender: Sender, supervisor: &Process, context: &Context) -> bool {
    // In this order: a sender that exits meanwhile is no longer below anything.
    is_below(sender, supervisor.pid, &context.preexisting_children)
        || matches!(sender, Sender::Process(pid) if ProcStat::read(pid).is_none())
}
