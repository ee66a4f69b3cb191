//! The sessions of this host, seen from outside: which there are, and how to end the stale ones.

mod entry;
mod list;
pub mod sweep;

pub use entry::{SessionEntry, SessionState};
pub use list::{cgroup_mount, list_sessions};
