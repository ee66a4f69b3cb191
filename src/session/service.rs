//! One service of a running session.

use std::os::fd::OwnedFd;

use super::service_log::Log;
use crate::readiness::Waiting;
use crate::sys::time::Instant;

/// The states of a service. Only the state machine changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceState {
    NotStarted,
    Starting,
    Ready,
    /// None of its processes is left.
    Ended,
}

/// A service that was started.
pub(super) struct StartedService {
    /// Its index among the components of the teardown.
    pub component: usize,
    pub log: Log,
    /// Keeps its standard input from ending.
    pub _input: Option<OwnedFd>,
    /// The wait for its readiness. Dropped once it is over, which closes the probe's connection.
    pub waiting: Option<Waiting>,
    /// Its first process exited successfully and left others running, as a daemon does.
    pub is_daemon: bool,
    /// When it was killed together with the command, because the whole session ran out of memory. The
    /// command's exit is about to follow.
    pub killed_with_all: Option<Instant>,
}
