//! The interface that all probes share.

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;

use rustix::process::Pid;

use crate::sys::sockets::Listener;

/// The progress of a probe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Passed,
    Pending,
    /// This attempt failed, for the given reason. Another one follows after a pause.
    Failed(String),
    /// The readiness command must be started now.
    RunCommand,
}

/// One kind of probe. It is checked only while the service's ports are the session's own.
pub(super) trait ProbeCheck: Debug {
    /// Advances the probe without blocking. `listener` is the service's own, if it has a port.
    fn check(&mut self, listener: Option<&Listener>) -> io::Result<Progress>;

    /// Gives up the request in progress, because the service's ports are not the session's own.
    fn abandon(&mut self) {}

    /// Why it has not passed, if no attempt has failed yet.
    fn unanswered(&self) -> String;

    /// Notes that the readiness command was started.
    fn command_started(&mut self, _pid: Pid) {}

    /// Notes that a child exited. `None` if it was not the readiness command.
    fn note_exit(&mut self, _pid: Pid, _status: ExitStatus) -> Option<Progress> {
        None
    }

    /// Readable when there is something to check.
    fn wakes_on(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
