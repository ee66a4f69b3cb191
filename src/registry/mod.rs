//! The sessions of this host, seen from outside: lists them, and tears down the stale ones.

mod entry;
mod list;
pub(crate) mod sweep;

pub(crate) use entry::{SessionEntry, SessionState};
pub(crate) use list::{SessionList, cgroup_mount, list_sessions, list_signed_sessions};
