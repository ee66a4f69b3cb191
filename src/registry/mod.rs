//! The sessions of this host, seen from outside: which there are, and how to end the stale ones.

mod entry;
mod list;
pub(crate) mod sweep;

pub(crate) use entry::{SessionEntry, SessionState};
pub(crate) use list::{cgroup_mount, list_sessions};
