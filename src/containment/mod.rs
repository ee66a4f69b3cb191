//! What holds the session's processes: one cgroup for the session, a leaf for each service and one
//! for the command.

mod cgroup;
mod error;
mod id;
mod metadata;
mod source;

pub use cgroup::{Leaf, SessionCgroup, is_empty, session_directories};
pub use error::CgroupError;
pub use id::{MARKER, SessionId};
pub use metadata::{Owner, Ownership, read as read_metadata};
pub use source::Mount;
