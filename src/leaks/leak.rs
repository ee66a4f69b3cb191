//! A process that should not have been there.

use std::ffi::OsString;
use std::net::SocketAddr;

use rustix::process::Pid;

use super::origin::Origin;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::ProcStat;

#[derive(Clone, Debug)]
pub(crate) struct Leak {
    pub how: How,
    pub process: ProcessInfo,
    pub stat: ProcStat,
    /// It has left the command's session (setsid(2)), which is the supervisor's.
    pub is_daemon: bool,
    pub executable: Option<OsString>,
    pub working_directory: Option<OsString>,
    /// The addresses on which it listens for TCP connections.
    pub listening: Vec<SocketAddr>,
    /// Those of the command's `stdin`, `stdout` and `stderr` that it has open.
    pub streams: Vec<&'static str>,
    /// The cgroup it was in, as the kernel names it.
    pub cgroup: Option<String>,
    pub started_during: Option<Origin>,
    /// Its environment was cleared: even the session's marker is missing.
    pub has_cleared_environment: bool,
    /// It was asked to end, and was still there when its grace was over.
    pub had_to_be_killed: bool,
}

/// How a process leaked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It was still there after the command had ended.
    OutlivedCommand,
    /// It belongs to this service, and was still there when the service's grace was over.
    OutlivedService(String),
    /// It belongs to the readiness command of this service.
    OutlivedProbe(String),
    /// It had moved to another cgroup of the session.
    ChangedCgroup,
    /// It had left the session's cgroup.
    Escaped,
}

/// A process of which nothing was read but its name.
#[derive(Debug)]
pub(crate) struct Undescribed {
    pub pid: Pid,
    /// As the kernel keeps it; empty if even that is hidden from us.
    pub name: String,
}

impl Leak {
    pub(crate) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Another process may have the same pid later, but not with the same start time.
    pub(crate) fn key(&self) -> (Pid, u64) {
        (self.process.pid, self.stat.started)
    }
}
