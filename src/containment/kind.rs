//! The kinds of containment, and which of them a user requires.

use std::fmt;
use std::str::FromStr;

/// The kinds of containment, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) enum Kind {
    #[serde(rename = "tree")]
    Tree,
    #[serde(rename = "pidns")]
    Pidns,
    #[serde(rename = "cgroup")]
    Cgroup,
    #[serde(rename = "cgroup+pidns")]
    CgroupAndPidns,
}

impl Kind {
    /// This kind combined with a PID namespace.
    pub(crate) fn in_pid_namespace(self) -> Self {
        match self {
            Self::Tree | Self::Pidns => Self::Pidns,
            Self::Cgroup | Self::CgroupAndPidns => Self::CgroupAndPidns,
        }
    }

    /// The guarantee that a cgroup gives before Linux 5.14, which brought `cgroup.kill`.
    pub(crate) const WITHOUT_CGROUP_KILL: &str = "the processes of the cgroup are killed one by one until none is left; a root \
         process that leaves the cgroup is found as a child of cgrun";

    /// The guarantee it gives, for people.
    pub(crate) fn guarantee(self) -> &'static str {
        match self {
            Self::Tree => {
                "as long as cgrun is running, every descendant is found and killed, one by one; if cgrun itself \
                 is killed, a process that cleared its environment may survive"
            }
            Self::Pidns => {
                "the kernel kills everything at once, even if cgrun is killed; no process can leave"
            }
            Self::Cgroup => {
                "one write to cgroup.kill kills everything at once; a root process that leaves the cgroup is found \
                 as a child of cgrun"
            }
            Self::CgroupAndPidns => {
                "one write to cgroup.kill kills everything at once; a process that leaves the cgroup dies with \
                 the namespace"
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tree => "process tree",
            Self::Pidns => "PID namespace",
            Self::Cgroup => "cgroup",
            Self::CgroupAndPidns => "cgroup and PID namespace",
        })
    }
}

/// The weakest kind that the user accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Require(pub Kind);

impl FromStr for Require {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cgroup" => Ok(Self(Kind::Cgroup)),
            "pidns" => Ok(Self(Kind::Pidns)),
            "tree" => Ok(Self(Kind::Tree)),
            "cgroup+pidns" | "pidns+cgroup" => Ok(Self(Kind::CgroupAndPidns)),
            _ => Err(format!("invalid containment {text:?}; use cgroup, pidns, tree or cgroup+pidns")),
        }
    }
}
