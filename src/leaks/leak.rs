//! A leaked process.

use std::ffi::OsString;

use rustix::process::Pid;

use super::origin::Origin;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::{ProcStat, ProcessKey};

#[derive(Clone, Debug)]
pub(crate) struct Leak {
    pub how: How,
    pub process: ProcessInfo,
    pub stat: ProcStat,
    /// Whether it has left the command's session (setsid(2)), which is the supervisor's.
    pub is_daemon: bool,
    /// This and the next are read only for a report.
    pub executable: Option<OsString>,
    pub working_directory: Option<OsString>,
    /// The addresses on which it listens for TCP connections.
    pub listening: Vec<String>,
    /// Read only for a report: the streams among the command's `stdin`, `stdout` and `stderr` that it has open.
    pub streams: Vec<&'static str>,
    /// Its cgroup, as the kernel names it. Read only for a report.
    pub cgroup: Option<String>,
    pub started_during: Option<Origin>,
    /// Whether its environment was cleared: even the session's marker is missing.
    pub has_cleared_environment: bool,
    /// Whether it was asked to exit, and was still alive when its grace was over.
    pub had_to_be_killed: bool,
    /// Whether the baseline lists it.
    pub is_known: bool,
}

/// How a process leaked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It was still alive after the command had exited.
    OutlivedCommand,
    /// It belongs to this service, and was still alive when the service's grace was over.
    OutlivedService(String),
    /// It belongs to the readiness command of this service.
    OutlivedProbe(String),
    /// It had moved to another cgroup of the session.
    ChangedCgroup,
    /// It had left the session's cgroup.
    Escaped,
}

/// A process of which only the name was read.
#[derive(Debug)]
pub(crate) struct Undescribed {
    pub pid: Pid,
    /// The name as the kernel stores it; empty if even that is hidden from us.
    pub name: String,
}

impl Leak {
    pub(crate) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// A unique key: the pid may be reused later, but not with the same start time.
    pub(crate) fn key(&self) -> ProcessKey {
        self.stat.key()
    }
}
