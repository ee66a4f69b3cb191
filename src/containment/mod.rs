//! What holds the session's processes, and how it is chosen.
//!
//! | kind | held by | ends with |
//! |---|---|---|
//! | cgroup | one cgroup, with a leaf for each service and one for the command | one write to `cgroup.kill` |
//! | pidns | a PID namespace | its first process, by the kernel |
//! | tree | descent from the supervisor, a subreaper; the session's marker | one process after the other |
//!
//! A cgroup and a PID namespace can be had together.

pub mod cgroup;
mod error;
mod held;
mod leaf;
mod pid_namespace;
mod process_tree;
mod select;
mod session_id;

pub use cgroup::metadata::{Owner, Ownership, read as read_metadata};
pub use cgroup::placement::{Mount, Source, Unavailable, find_source};
pub use cgroup::systemd::{manages_this_host, private_socket as manager_socket};
pub use cgroup::{SessionCgroup, is_empty, session_directories};
pub use error::ContainmentError;
pub use held::{Containment, Sockets};
pub use leaf::Leaf;
pub use pid_namespace::{NoNamespace, PidNamespace};
pub use select::{Kind, Require, choose};
pub use session_id::{LEAF, MARKER, PREFIX, SessionId};
