//! A part of the session: one service, or the command.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::process::Pid;

use super::cgroup::CgroupLeaf;
use super::error::ContainmentError;
use super::pid_namespace::PidNamespace;
use super::process_tree::Tree;
use crate::sys::pidfd::Process;
use crate::sys::spawn::{Program, Setting, SpawnError, spawn};

#[derive(Debug)]
pub struct Leaf {
    holder: Holder,
    namespace: Option<Rc<PidNamespace>>,
}

#[derive(Debug)]
enum Holder {
    Cgroup(CgroupLeaf),
    Branch { tree: Rc<Tree>, name: String },
}

impl Leaf {
    pub(super) fn of_cgroup(leaf: CgroupLeaf, namespace: Option<Rc<PidNamespace>>) -> Self {
        Self { holder: Holder::Cgroup(leaf), namespace }
    }

    pub(super) fn of_tree(tree: Rc<Tree>, name: &str, namespace: Option<Rc<PidNamespace>>) -> Self {
        Self { holder: Holder::Branch { tree, name: name.to_string() }, namespace }
    }

    pub fn cgroup(&self) -> Option<&CgroupLeaf> {
        match &self.holder {
            Holder::Cgroup(leaf) => Some(leaf),
            Holder::Branch { .. } => None,
        }
    }

    pub(super) fn branch(&self) -> Option<&str> {
        match &self.holder {
            Holder::Cgroup(_) => None,
            Holder::Branch { name, .. } => Some(name),
        }
    }

    /// Starts a program as its first process.
    pub fn start(&self, program: &Program, setting: &Setting<'_>) -> Result<Process, SpawnError> {
        let namespace = self.namespace.as_ref().map(|namespace| namespace.entrance());
        match &self.holder {
            Holder::Cgroup(leaf) => leaf.host(|into| spawn(program, setting, Some(into), namespace)),
            Holder::Branch { tree, name } => {
                let leader = spawn(program, setting, None, namespace)?;
                tree.note_leader(name, leader.pid);
                Ok(leader)
            }
        }
    }

    pub fn is_populated(&self) -> Result<bool, ContainmentError> {
        match &self.holder {
            Holder::Cgroup(leaf) => leaf.is_populated(),
            Holder::Branch { tree, name } => Ok(!tree.branch(name)?.is_empty()),
        }
    }

    /// Readable for priority data (`POLLPRI`) when that may have changed, where the kernel tells. It
    /// holds such notices back for 10 to 15 ms.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup().map(AsFd::as_fd)
    }

    pub fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        match &self.holder {
            Holder::Cgroup(leaf) => leaf.members(),
            Holder::Branch { tree, name } => tree.branch(name),
        }
    }

    /// Whether the process is in it; in a process tree, whether it is in the session.
    pub fn contains(&self, pid: Pid) -> io::Result<bool> {
        match &self.holder {
            Holder::Cgroup(leaf) => leaf.contains(pid),
            Holder::Branch { tree, .. } => Ok(tree.contains(pid)),
        }
    }

    pub fn kill(&self) -> Result<(), ContainmentError> {
        match &self.holder {
            Holder::Cgroup(leaf) => leaf.kill(),
            Holder::Branch { tree, name } => tree.kill_branch(name),
        }
    }

    /// Tries to remove it; removing the whole says why, where that cannot be done.
    pub fn remove_if_empty(&self) {
        if let Holder::Cgroup(leaf) = &self.holder {
            leaf.remove_if_empty();
        }
    }

    /// Stops its processes where they stand, or lets them go on, unseen by them and their parents. Takes
    /// effect a little later. Only a cgroup can do that.
    pub fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        self.cgroup().map_or(Ok(()), |leaf| leaf.freeze(frozen))
    }

    /// Whether it stands still, or cannot be made to.
    pub fn is_frozen(&self) -> Result<bool, ContainmentError> {
        self.cgroup().map_or(Ok(true), CgroupLeaf::is_frozen)
    }
}
