//! What holds the session's processes, and how it is chosen.
//!
//! | kind | held by | ends with |
//! |---|---|---|
//! | cgroup | one cgroup, with a leaf for each service and one for the command | one write to `cgroup.kill` |
//! | pidns | a PID namespace | its first process, by the kernel |
//! | tree | descent from the supervisor, a subreaper; the session's marker | one process after the other |
//!
//! A cgroup and a PID namespace can be had together.

mod bounds;
mod cgroup;
mod choice;
mod controllers;
mod disks;
mod error;
mod held;
mod id;
mod kmsg;
mod leaf;
mod limit;
mod limits;
mod metadata;
mod pidns;
mod set;
mod source;
mod struck;
mod systemd;
mod tree;
mod usage;

pub use cgroup::{SessionCgroup, is_empty, session_directories};
pub use choice::{Kind, Require, choose};
pub use controllers::{clear_seats, why_not};
pub use error::ContainmentError;
pub use held::{Containment, Sockets};
pub use id::{LEAF, MARKER, SessionId};
pub use kmsg::Victim;
pub use leaf::Leaf;
pub use limit::Controller;
pub use limits::{Wanted, limit, limit_leaf};
pub use metadata::{Owner, Ownership, read as read_metadata};
pub use pidns::{NoNamespace, PidNamespace};
pub use source::{Mount, Source, Unavailable, find_source};
#[cfg(test)]
pub use struck::Killed;
pub use struck::{At, Struck};
pub use systemd::{manages_this_host, private_socket as manager_socket};
pub use usage::{Figures, Measured, Usage};
