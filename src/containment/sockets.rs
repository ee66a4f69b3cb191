//! How the listening sockets of a session are recognized.

use crate::ports::made_in;
use crate::sys::sockets::Listener;

/// How to tell a session's sockets from others.
#[derive(Debug)]
pub(crate) enum Sockets {
    /// The inode numbers of the cgroups that they were created in.
    MadeIn(Vec<u64>),
    /// The inodes of the sockets that a process of the session has open.
    Open(Vec<u32>),
}

impl Sockets {
    /// Whether the socket belongs to the session.
    pub(crate) fn include(&self, listener: &Listener) -> bool {
        match self {
            Self::MadeIn(cgroups) => made_in(listener, cgroups),
            Self::Open(inodes) => inodes.contains(&listener.inode),
        }
    }
}
