//! The processes with which a session ends (`--end-with-parent`).
//!
//! sshd starts a shell, and that starts us. If the connection is lost, sshd's process for it exits, and the shell goes on waiting
//! for us. But it leads a POSIX session, so it can be found, and with it the process that has started it, however many others
//! are between it and us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::getsid;
use rustix::process::{Pid, getpid};

use super::parent::{self, Unwatchable};
use super::pidfd::Process;
use crate::sys::procfs::stat;

/// Our parent, the leader of our POSIX session, and the leader's parent, as far as they are different processes.
#[derive(Debug)]
pub(crate) struct Starters(Vec<Process>);

impl Starters {
    pub(crate) fn find() -> io::Result<Self> {
        let mut found = vec![parent::find()?];
        // Its number belongs to no other process while we are in its session.
        let leader = getsid(None).ok().and_then(|it| Pid::from_raw(it.as_raw()));
        if let Some(leader) = leader.filter(|it| *it != getpid()) {
            // That of a daemon that has forked twice has exited long ago.
            found.extend(Process::open(leader)?);
            found.extend(parent_of(leader)?);
        }
        Ok(Self(found))
    }

    pub(crate) fn has_one_exited(&self) -> bool {
        self.0.iter().any(Process::has_exited)
    }

    /// Readable when they have exited.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }
}

/// `None` if it has exited, or if its parent is in no PID namespace of ours. Process 1 inherits processes, so as a parent it says
/// nothing.
fn parent_of(leader: Pid) -> io::Result<Option<Process>> {
    let Some(parent) = stat::parent(leader).filter(|it| !it.is_init()) else { return Ok(None) };
    let process = Process::open(parent)?.filter(|_| stat::parent(leader) == Some(parent));
    process.map(Some).ok_or_else(|| io::Error::other(Unwatchable::Gone))
}
