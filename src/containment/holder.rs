//! The traits of what can hold a session and its components: a cgroup, or the process tree. Either can be
//! combined with a PID namespace, which [`Containment`](super::Containment) and [`Leaf`](super::Leaf) add.

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::process::Pid;

use super::cgroup::Shelter;
use super::error::ContainmentError;
use super::kind::Kind;
use super::session_id::SessionId;
use super::sockets::Sockets;
use crate::sys::process::namespace::Entrance;
use crate::sys::process::pidfd::Process;
use crate::sys::process::spawn::{Program, SpawnError, SpawnOptions};
use crate::sys::sockets::Listener;

/// Holds all processes of a session.
pub(super) trait Holder: Debug {
    fn kind(&self) -> Kind;

    /// Notes a child of ours that does not belong to the session.
    fn spare(&self, _: Pid) {}

    /// Makes a leaf for a component.
    fn leaf(&self, name: &str) -> Result<Box<dyn LeafHolder>, ContainmentError>;

    /// Whether any process lives in it, however deep. Zombies do not count.
    fn is_populated(&self) -> Result<bool, ContainmentError>;

    /// Readable for priority data (`POLLPRI`) when that may have changed; `None` if the kernel gives no notice.
    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn members(&self) -> Result<Vec<Pid>, ContainmentError>;

    /// Whether the process is in it. In a process tree, this is reliable only while the supervisor is alive.
    fn contains(&self, pid: Pid) -> io::Result<bool>;

    /// The members that are in none of `leaves`.
    fn members_outside(&self, leaves: &[&str]) -> Result<Vec<Pid>, ContainmentError>;

    /// The ids of its session and of the visible sessions inside it.
    fn session_ids(&self) -> Result<Vec<SessionId>, ContainmentError>;

    /// How the sockets of its processes are recognized among `listeners`.
    fn sockets(&self, listeners: &[Listener]) -> Result<Sockets, ContainmentError>;

    /// Freezes or thaws everything in it. Takes effect a little later.
    fn freeze(&self, frozen: bool) -> Result<(), ContainmentError>;

    /// Whether everything in it is frozen. Always `true` without a cgroup.
    fn is_frozen(&self) -> Result<bool, ContainmentError> {
        Ok(true)
    }

    /// Kills every process in it. They exit after the call has returned.
    fn kill(&self) -> Result<(), ContainmentError>;

    /// Removes it. Removing it twice is not an error.
    fn remove(&self) -> Result<(), ContainmentError> {
        Ok(())
    }

    /// The directory of its cgroup.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Where its guardian has to be if the host kills all processes that it finds in cgrun's cgroup.
    fn shelter(&self, _: Pid) -> Option<Shelter> {
        None
    }

    /// The descriptor without which that path cannot be used.
    fn mount(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Its name for people; for a cgroup, its directory.
    fn name(&self) -> String;
}

/// Holds the processes of one component.
pub(super) trait LeafHolder: Debug {
    /// Starts a program as its first process.
    fn start(
        &self,
        program: &Program,
        options: &SpawnOptions<'_>,
        namespace: Option<Entrance<'_>>,
    ) -> Result<Process, SpawnError>;

    fn is_populated(&self) -> Result<bool, ContainmentError>;

    /// See [`Holder::events`].
    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn members(&self) -> Result<Vec<Pid>, ContainmentError>;

    /// Whether the process is in it; in a process tree, whether it is in the session.
    fn contains(&self, pid: Pid) -> io::Result<bool>;

    fn kill(&self) -> Result<(), ContainmentError>;

    /// Tries to remove it. If it cannot be removed, the session's removal reports why.
    fn remove_if_empty(&self) {}

    /// Freezes or thaws its processes, without them or their parents noticing. Takes effect a little later.
    /// Only a cgroup can do that.
    fn freeze(&self, _: bool) -> Result<(), ContainmentError> {
        Ok(())
    }

    /// Whether it is frozen, or cannot be frozen at all.
    fn is_frozen(&self) -> Result<bool, ContainmentError> {
        Ok(true)
    }

    /// The directory of its cgroup.
    fn path(&self) -> Option<&Path> {
        None
    }
}
