//! The sessions of this host, seen from outside: lists them, finds one and its
//! processes, and tears down the stale ones.

mod entry;
mod find;
mod list;
mod members;
pub(crate) mod stale_containers;
pub(crate) mod sweep;

pub(crate) use entry::{SessionEntry, SessionState};
pub(crate) use find::{Session, find_session};
pub(crate) use list::{SessionList, cgroup_mount, list_sessions, list_signed_sessions};
pub(crate) use members::{Members, members};
