//! What holds the session's processes, and how it is chosen.
//!
//! | kind | held by | ends with |
//! |---|---|---|
//! | cgroup | one cgroup, with a leaf for each service and one for the command | one write to `cgroup.kill` |
//! | pidns | a PID namespace | its first process, by the kernel |
//! | tree | descent from the supervisor, a subreaper; the session's marker | one process after the other |
//!
//! A cgroup and a PID namespace can be had together.

mod cgroup;
mod choice;
mod error;
mod held;
mod id;
mod leaf;
mod metadata;
mod pidns;
mod source;
mod systemd;
mod tree;

pub use cgroup::{SessionCgroup, is_empty, session_directories};
pub use choice::{Kind, Require, choose};
pub use error::ContainmentError;
pub use held::{Containment, Sockets};
pub use id::{LEAF, SessionId};
pub use leaf::Leaf;
pub use metadata::{Owner, Ownership, read as read_metadata};
pub use pidns::{NoNamespace, PidNamespace};
pub use source::{Mount, Source, Unavailable, find_source};
pub use systemd::{manages_this_host, private_socket as manager_socket};
