//! The cgroup of one component of a session.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::events::CgroupEvents;
use super::files::{is_full, open_for_writing};
use super::kill::{freeze, is_in, kill};
use super::walk::members;
use crate::containment::error::ContainmentError;
use crate::containment::holder::LeafHolder;
use crate::sys::process::namespace::Entrance;
use crate::sys::process::pidfd::Process;
use crate::sys::process::spawn::{self, Program, SpawnError, SpawnOptions};

/// The cgroup of one component.
#[derive(Debug)]
pub(super) struct CgroupLeaf {
    path: PathBuf,
    name: String,
    directory: OwnedFd,
    events: CgroupEvents,
}

impl CgroupLeaf {
    /// Opens the leaf of this directory. `name` is its name in `/proc/PID/cgroup`.
    pub(super) fn open(path: PathBuf, name: String) -> Result<Self, ContainmentError> {
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_PATH)
            .open(&path)
            .map_err(ContainmentError::on("open the cgroup", &path))?
            .into();
        let events = CgroupEvents::open(&path)?;
        Ok(Self { path, name, directory, events })
    }

    /// Opens its `cgroup.procs`, for a process to join it.
    pub(super) fn procs(&self) -> Result<OwnedFd, ContainmentError> {
        let path = self.path.join("cgroup.procs");
        Ok(open_for_writing(&path).map_err(ContainmentError::on("open", &path))?.into())
    }

    /// Calls `start` with this leaf as the cgroup in which the new process starts.
    fn as_target<T>(&self, start: impl FnOnce(&spawn::TargetCgroup<'_>) -> T) -> T {
        let procs = || {
            // Joining a cgroup bypasses its process limit, which the kernel checks only at fork.
            let full = [Some(self.path.as_path()), self.path.parent()].into_iter().flatten().any(is_full);
            match full {
                true => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
                false => self.procs().map_err(|error| error.source),
            }
        };
        start(&spawn::TargetCgroup { directory: self.directory.as_fd(), procs: &procs })
    }
}

impl LeafHolder for CgroupLeaf {
    fn start(
        &self,
        program: &Program,
        options: &SpawnOptions<'_>,
        namespace: Option<Entrance<'_>>,
    ) -> Result<Process, SpawnError> {
        self.as_target(|target| spawn::spawn(program, options, Some(target), namespace))
    }

    fn is_populated(&self) -> Result<bool, ContainmentError> {
        self.events.is_populated()
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        members(&self.path)
    }

    fn contains(&self, pid: Pid) -> io::Result<bool> {
        // Without /proc, the cgroup's own list shows it.
        Ok(is_in(pid, &self.name)? || members(&self.path).is_ok_and(|members| members.contains(&pid)))
    }

    fn kill(&self) -> Result<(), ContainmentError> {
        kill(&self.path, &self.name)
    }

    fn remove_if_empty(&self) {
        let _ = std::fs::remove_dir(&self.path);
    }

    fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        freeze(&self.path, frozen)
    }

    fn is_frozen(&self) -> Result<bool, ContainmentError> {
        self.events.is_frozen()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}
