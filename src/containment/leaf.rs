//! The containment of one component of a session.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::process::Pid;

use super::error::ContainmentError;
use super::holder::LeafHolder;
use super::pid_namespace::PidNamespace;
use crate::sys::process::pidfd::Process;
use crate::sys::process::spawn::{Program, SpawnError, SpawnOptions};

/// The leaf of one component: a service, the command, or the commands that probe a service.
#[derive(Debug)]
pub(crate) struct Leaf {
    holder: Box<dyn LeafHolder>,
    name: String,
    namespace: Option<Rc<PidNamespace>>,
}

impl Leaf {
    pub(super) fn new(
        holder: Box<dyn LeafHolder>,
        name: String,
        namespace: Option<Rc<PidNamespace>>,
    ) -> Self {
        Self { holder, name, namespace }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Starts a program as its first process.
    pub(crate) fn start(&self, program: &Program, options: &SpawnOptions<'_>) -> Result<Process, SpawnError> {
        let namespace = self.namespace.as_ref().map(|namespace| namespace.entrance());
        self.holder.start(program, options, namespace)
    }

    pub(crate) fn is_populated(&self) -> Result<bool, ContainmentError> {
        self.holder.is_populated()
    }

    /// Readable for priority data (`POLLPRI`) when that may have changed, 10 to 15 ms late; `None` if the kernel
    /// gives no notice.
    pub(crate) fn events(&self) -> Option<BorrowedFd<'_>> {
        self.holder.events()
    }

    pub(crate) fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        self.holder.members()
    }

    /// See [`LeafHolder::contains`].
    pub(crate) fn contains(&self, pid: Pid) -> io::Result<bool> {
        self.holder.contains(pid)
    }

    pub(crate) fn kill(&self) -> Result<(), ContainmentError> {
        self.holder.kill()
    }

    /// See [`LeafHolder::remove_if_empty`].
    pub(crate) fn remove_if_empty(&self) {
        self.holder.remove_if_empty();
    }

    /// See [`LeafHolder::freeze`].
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        self.holder.freeze(frozen)
    }

    /// See [`LeafHolder::is_frozen`].
    pub(crate) fn is_frozen(&self) -> Result<bool, ContainmentError> {
        self.holder.is_frozen()
    }

    /// The directory of its cgroup.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.holder.path()
    }
}
