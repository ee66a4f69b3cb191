//! Contains a session's processes, and chooses how.
//!
//! | kind | held by | killed by |
//! |---|---|---|
//! | cgroup | one cgroup, with a leaf for each service and one for the command | one write to `cgroup.kill` |
//! | pidns | a PID namespace | the kernel, with its first process |
//! | tree | descent from the supervisor, a subreaper; the session's marker | stopping and killing the processes one by one |
//!
//! A cgroup and a PID namespace can be combined.

pub(crate) mod cgroup;
mod contained;
mod container;
mod error;
mod holder;
mod kind;
mod leaf;
mod leaf_name;
mod pid_namespace;
mod process_tree;
mod select;
mod session_id;
mod sockets;
mod tree_holder;

pub(crate) use cgroup::metadata::{
    Owner, Ownership, namespace as own_namespace, read as read_metadata, read_outside, read_scratch,
    write_outside, write_scratch, write_shard,
};
pub(crate) use cgroup::placement::{Mount, Source, Unavailable, find_source};
pub(crate) use cgroup::systemd::{manages_this_host, private_socket as manager_socket};
pub(crate) use cgroup::{SessionCgroup, Shelter, is_empty, session_members, visible_sessions};
pub(crate) use contained::Containment;
pub(crate) use container::Container;
pub(crate) use error::ContainmentError;
pub(crate) use kind::{Kind, Require};
pub(crate) use leaf::Leaf;
pub(crate) use leaf_name::LeafName;
pub(crate) use pid_namespace::{NoNamespace, PidNamespace};
pub(crate) use select::choose;
pub(crate) use session_id::{LEAF, MARKER, OUTER, PREFIX, SessionId};
pub(crate) use sockets::Sockets;
