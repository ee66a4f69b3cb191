//! A leaked process.

use std::ffi::OsString;
use std::fmt;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::held::Held;
use super::origin::Origin;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::{ProcStat, ProcessKey};

/// See [`Leak::place`].
pub(crate) type Place = (Option<usize>, Pid);

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
    pub held: Held,
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
    /// It was found and ended while the command was running.
    EndedBefore {
        by: EndedBy,
        /// Which entry of the leak log says so: only within an entry, and among the others, are pids unique.
        entry: usize,
    },
}

/// What has ended a leak before cgrun's teardown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum EndedBy {
    #[serde(rename = "pytest plugin")]
    PytestPlugin,
    #[serde(rename = "cgrun ps")]
    Ps,
}

impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PytestPlugin => "the pytest plugin",
            Self::Ps => "cgrun ps",
        })
    }
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

    /// What has ended it before cgrun's teardown.
    pub(crate) fn ended_by(&self) -> Option<EndedBy> {
        match self.how {
            How::EndedBefore { by, .. } => Some(by),
            _ => None,
        }
    }

    /// A key among the leaks of a session: those that were ended before can have had a pid that is used again.
    pub(crate) fn place(&self) -> Place {
        (self.entry(), self.pid())
    }

    /// The place where its parent is, if that leaked too.
    pub(crate) fn parent_place(&self) -> Option<Place> {
        self.stat.parent.map(|parent| (self.entry(), parent))
    }

    fn entry(&self) -> Option<usize> {
        match self.how {
            How::EndedBefore { entry, .. } => Some(entry),
            _ => None,
        }
    }

    /// A unique key: the pid may be reused later, but not with the same start time.
    pub(crate) fn key(&self) -> ProcessKey {
        self.stat.key()
    }
}
