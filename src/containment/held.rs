//! The one thing that holds a session: a cgroup, a PID namespace, both, or the process tree.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;

use super::cgroup::SessionCgroup;
use super::error::ContainmentError;
use super::leaf::Leaf;
use super::pid_namespace::PidNamespace;
use super::process_tree::Tree;
use super::select::Kind;
use super::session_id::SessionId;
use crate::limits::Limited;
use crate::limits::keyed;
use crate::ports::made_in;
use crate::sys::proc;
use crate::sys::sock_diag::Listener;

/// What holds one session.
#[derive(Debug)]
pub struct Containment {
    pub id: SessionId,
    holder: Holder,
    namespace: Option<Rc<PidNamespace>>,
    pub limited: Limited,
}

#[derive(Debug)]
enum Holder {
    Cgroup(SessionCgroup),
    Tree(Rc<Tree>),
}

impl Containment {
    pub fn cgroup(cgroup: SessionCgroup, namespace: Option<PidNamespace>) -> Self {
        let namespace = namespace.map(Rc::new);
        let limited = Limited::default();
        Self { id: cgroup.id.clone(), holder: Holder::Cgroup(cgroup), namespace, limited }
    }

    /// Held by descent from us, where `predating` are children that we had before; and by a PID
    /// namespace, if there is one.
    pub fn tree(id: SessionId, predating: &[Pid], namespace: Option<PidNamespace>) -> Self {
        let namespace = namespace.map(Rc::new);
        let tree = Tree::new(id.clone(), predating, namespace.as_ref().map(|it| it.init()));
        let limited = Limited::default();
        Self { id, holder: Holder::Tree(Rc::new(tree)), namespace, limited }
    }

    pub fn kind(&self) -> Kind {
        match (&self.holder, &self.namespace) {
            (Holder::Cgroup(_), None) => Kind::Cgroup,
            (Holder::Cgroup(_), Some(_)) => Kind::CgroupAndPidns,
            (Holder::Tree(_), Some(_)) => Kind::Pidns,
            (Holder::Tree(_), None) => Kind::Tree,
        }
    }

    /// A child of ours that is not of the session.
    pub fn spare(&self, pid: Pid) {
        if let Holder::Tree(tree) = &self.holder {
            tree.spare(pid);
        }
    }

    /// The first process of its PID namespace. It is our child, and no part of the session.
    pub fn init(&self) -> Option<Pid> {
        Some(self.namespace.as_ref()?.init())
    }

    /// Stops everything in it where it stands, or lets it go on. Takes effect a little later.
    pub fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        match &self.holder {
            Holder::Cgroup(cgroup) => cgroup.freeze(frozen),
            Holder::Tree(tree) => tree.freeze(frozen),
        }
    }

    /// Makes a part of it.
    pub fn leaf(&self, name: &str) -> Result<Leaf, ContainmentError> {
        match &self.holder {
            Holder::Cgroup(cgroup) => {
                let leaf = cgroup.leaf(name)?;
                Ok(Leaf::of_cgroup(leaf, self.namespace.clone()))
            }
            Holder::Tree(tree) => Ok(Leaf::of_tree(tree.clone(), name, self.namespace.clone())),
        }
    }

    /// Whether any process lives in it. Dead ones that nobody reaped do not count. A PID namespace lives
    /// as long as its first process.
    pub fn is_populated(&self) -> Result<bool, ContainmentError> {
        let namespace = self.namespace.as_ref().map(|namespace| !namespace.has_ended());
        match (&self.holder, namespace) {
            (Holder::Cgroup(cgroup), namespace) => Ok(namespace == Some(true) || cgroup.is_populated()?),
            (Holder::Tree(_), Some(lives)) => Ok(lives),
            (Holder::Tree(tree), None) => Ok(!tree.members()?.is_empty()),
        }
    }

    /// Readable for priority data (`POLLPRI`) when that may have changed, where the kernel tells.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        match &self.holder {
            Holder::Cgroup(cgroup) => Some(cgroup.events()),
            Holder::Tree(_) => None,
        }
    }

    /// The descriptors that whoever ends the session needs.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let namespace = self.namespace.as_ref().map(|namespace| namespace.process().as_fd());
        self.events().into_iter().chain(namespace)
    }

    /// Ends every process in it. They end after the call has returned.
    pub fn kill(&self) -> Result<(), ContainmentError> {
        let killed = self.namespace.as_ref().map_or(Ok(()), |namespace| namespace.kill());
        match &self.holder {
            Holder::Cgroup(cgroup) => cgroup.kill().and(killed),
            // All that it could find is in the namespace, and ends with it.
            Holder::Tree(_) if self.namespace.is_some() => killed,
            Holder::Tree(tree) => tree.kill(),
        }
    }

    /// All processes in it.
    pub fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        match &self.holder {
            Holder::Cgroup(cgroup) => cgroup.members(),
            Holder::Tree(tree) => Ok(tree.members()?.into_iter().map(|member| member.pid).collect()),
        }
    }

    /// The processes in it that belong to none of `leaves`.
    pub fn strays<'a>(&self, leaves: impl Iterator<Item = &'a Leaf>) -> Result<Vec<Pid>, ContainmentError> {
        let mut strays = match &self.holder {
            Holder::Cgroup(cgroup) => cgroup.strays(leaves.filter_map(Leaf::cgroup))?,
            Holder::Tree(tree) => tree.strays(&leaves.filter_map(Leaf::branch).collect::<Vec<_>>())?,
        };
        strays.retain(|pid| Some(*pid) != self.init());
        Ok(strays)
    }

    /// Its id, and those of the sessions in it, as far as they can be seen.
    pub fn ids(&self) -> Result<Vec<SessionId>, ContainmentError> {
        match &self.holder {
            Holder::Cgroup(cgroup) => cgroup.ids(),
            Holder::Tree(_) => Ok(vec![self.id.clone()]),
        }
    }

    /// By what its sockets are known, for asking about some of these.
    pub fn sockets(&self, listeners: &[Listener]) -> Result<Sockets, ContainmentError> {
        match &self.holder {
            Holder::Cgroup(cgroup) => Ok(Sockets::MadeIn(cgroup.numbers()?)),
            Holder::Tree(_) if listeners.is_empty() => Ok(Sockets::Open(Vec::new())),
            Holder::Tree(tree) => {
                let mut open: Vec<u32> = listeners.iter().map(|listener| listener.inode).collect();
                let members = tree.members()?;
                // A process that hides its descriptors (prctl(2), `PR_SET_DUMPABLE`) may hold any that its
                // user has opened since the ports were found free.
                let hidden = members.iter().any(|member| !proc::shows_descriptors(member.pid));
                let us = rustix::process::geteuid().as_raw();
                let may_hide = |inode| hidden && listeners.iter().any(|it| it.inode == inode && it.uid == us);
                open.retain(|&inode| {
                    may_hide(inode) || members.iter().any(|member| proc::holds(member.pid, &[inode]))
                });
                Ok(Sockets::Open(open))
            }
        }
    }

    /// Removes it. Success proves it empty, but for a process tree, where the supervisor's children are
    /// the proof. Removing it twice is no error.
    pub fn remove(&self, limit: Duration) -> Result<(), ContainmentError> {
        if let Some(namespace) = &self.namespace {
            namespace.end(limit)?;
        }
        match &self.holder {
            Holder::Cgroup(cgroup) => cgroup.remove(),
            Holder::Tree(_) => Ok(()),
        }
    }

    /// The kernel has killed all of the session together, since it had no more memory to give it
    /// (`memory.oom.group`). Not all of it may have ended yet.
    pub fn is_out_of_memory(&self) -> bool {
        let killed = self.path().and_then(|path| keyed(path, "memory.events.local", "oom_group_kill"));
        killed.is_some_and(|count| count > 0)
    }

    /// The directory of its cgroup.
    pub fn path(&self) -> Option<&Path> {
        match &self.holder {
            Holder::Cgroup(cgroup) => Some(cgroup.path()),
            Holder::Tree(_) => None,
        }
    }

    /// Leaves our own cgroup as we found it, where limits had us change it. To be called by the last
    /// who leaves, once the session is removed.
    pub fn give_back(&mut self) {
        self.limited.give_back();
    }

    /// For people.
    pub fn name(&self) -> String {
        match &self.holder {
            Holder::Cgroup(cgroup) => cgroup.path().display().to_string(),
            Holder::Tree(_) => format!("session {}", self.id),
        }
    }

    /// Whether it can be known, once the supervisor is dead, that nothing of it lives.
    pub fn outlives_supervisor(&self) -> bool {
        self.kind() != Kind::Tree
    }
}

/// By what a session's sockets are known.
#[derive(Debug)]
pub enum Sockets {
    /// The numbers of the cgroups they were made in.
    MadeIn(Vec<u64>),
    /// Those of the asked for that a process of the session has open.
    Open(Vec<u32>),
}

impl Sockets {
    /// Whether the socket is the session's.
    pub fn include(&self, listener: &Listener) -> bool {
        match self {
            Self::MadeIn(cgroups) => made_in(listener, cgroups),
            Self::Open(inodes) => inodes.contains(&listener.inode),
        }
    }
}
