//! What all probes have in common.

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;

use rustix::process::Pid;

use crate::sys::sockets::Listener;

/// How far a probe has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Passed,
    Pending,
    /// This attempt failed; says why. Another one follows after a pause.
    Failed(String),
    /// The readiness command is to be started now.
    RunCommand,
}

/// One kind of probe. It is checked only while the service's ports are the session's own.
pub(super) trait ProbeCheck: Debug {
    /// Advances the probe without blocking. `listener` is the service's own, if it has a port.
    fn check(&mut self, listener: Option<&Listener>) -> io::Result<Progress>;

    /// Why it has not passed, before any attempt failed.
    fn unanswered(&self) -> String;

    /// The readiness command was started.
    fn command_started(&mut self, _pid: Pid) {}

    /// A child ended; `None` if it was not the readiness command.
    fn note_exit(&mut self, _pid: Pid, _status: ExitStatus) -> Option<Progress> {
        None
    }

    /// Readable when there is something to check.
    fn wakes_on(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
