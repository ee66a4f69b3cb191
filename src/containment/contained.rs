//! The containment of one session: a holder, and a PID namespace if there is one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;

use super::cgroup::files::read_keyed;
use super::cgroup::{SessionCgroup, Shelter};
use super::error::ContainmentError;
use super::holder::Holder;
use super::kind::Kind;
use super::leaf::Leaf;
use super::leaf_name::LeafName;
use super::pid_namespace::PidNamespace;
use super::process_tree::ProcessTree;
use super::session_id::SessionId;
use super::sockets::Sockets;
use crate::sys::sockets::Listener;

/// The containment of one session.
#[derive(Debug)]
pub(crate) struct Containment {
    pub id: SessionId,
    holder: Box<dyn Holder>,
    namespace: Option<Rc<PidNamespace>>,
}

impl Containment {
    pub(crate) fn cgroup(cgroup: SessionCgroup, namespace: Option<PidNamespace>) -> Self {
        Self { id: cgroup.id.clone(), holder: Box::new(cgroup), namespace: namespace.map(Rc::new) }
    }

    /// Holds by descent from this process, and by a PID namespace if there is one. `preexisting` are
    /// children that we had before the session.
    pub(crate) fn tree(id: SessionId, preexisting: &[Pid], namespace: Option<PidNamespace>) -> Self {
        let namespace = namespace.map(Rc::new);
        let tree = ProcessTree::new(id.clone(), preexisting, namespace.as_ref().map(|it| it.init()));
        Self { id, holder: Box::new(Rc::new(tree)), namespace }
    }

    pub(crate) fn kind(&self) -> Kind {
        let kind = self.holder.kind();
        if self.namespace.is_some() { kind.in_pid_namespace() } else { kind }
    }

    /// Notes a child of ours that does not belong to the session.
    pub(crate) fn spare(&self, pid: Pid) {
        self.holder.spare(pid);
    }

    /// The first process of its PID namespace. It is our child, and not a component of the session.
    pub(crate) fn init(&self) -> Option<Pid> {
        Some(self.namespace.as_ref()?.init())
    }

    /// Freezes or thaws everything in it. Takes effect a little later.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        self.holder.freeze(frozen)
    }

    /// Whether everything in it is frozen. Always `true` without a cgroup.
    pub(crate) fn is_frozen(&self) -> Result<bool, ContainmentError> {
        self.holder.is_frozen()
    }

    /// Whether a process can leave it and live on.
    pub(crate) fn can_be_left(&self) -> bool {
        self.namespace.is_none()
    }

    /// See [`Holder::contains`].
    pub(crate) fn contains(&self, pid: Pid) -> io::Result<bool> {
        self.holder.contains(pid)
    }

    /// Makes a leaf for a component.
    pub(crate) fn leaf(&self, name: &LeafName) -> Result<Leaf, ContainmentError> {
        let name = name.to_string();
        Ok(Leaf::new(self.holder.leaf(&name)?, name, self.namespace.clone()))
    }

    /// Whether any process lives in it. Zombies do not count. A PID namespace lives as long as its first
    /// process.
    pub(crate) fn is_populated(&self) -> Result<bool, ContainmentError> {
        let namespace_lives = self.namespace.as_ref().is_some_and(|namespace| !namespace.has_ended());
        Ok(namespace_lives || self.holder.is_populated()?)
    }

    /// See [`Holder::events`].
    pub(crate) fn events(&self) -> Option<BorrowedFd<'_>> {
        self.holder.events()
    }

    /// The descriptors that are needed to tear down the session.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let namespace = self.namespace.as_ref().map(|namespace| namespace.process().as_fd());
        self.events().into_iter().chain(self.holder.mount()).chain(namespace)
    }

    /// Kills every process in it. They exit after the call has returned.
    pub(crate) fn kill(&self) -> Result<(), ContainmentError> {
        let killed = self.namespace.as_ref().map_or(Ok(()), |namespace| namespace.kill());
        self.holder.kill().and(killed)
    }

    pub(crate) fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        self.holder.members()
    }

    /// The members that are in none of `leaves`.
    pub(crate) fn members_outside<'a>(
        &self,
        leaves: impl Iterator<Item = &'a Leaf>,
    ) -> Result<Vec<Pid>, ContainmentError> {
        let names: Vec<_> = leaves.map(Leaf::name).collect();
        let mut members = self.holder.members_outside(&names)?;
        members.retain(|pid| Some(*pid) != self.init());
        Ok(members)
    }

    /// The ids of its session and of the visible sessions inside it.
    pub(crate) fn session_ids(&self) -> Result<Vec<SessionId>, ContainmentError> {
        self.holder.session_ids()
    }

    /// How the sockets of its processes are recognized among `listeners`.
    pub(crate) fn sockets(&self, listeners: &[Listener]) -> Result<Sockets, ContainmentError> {
        self.holder.sockets(listeners)
    }

    /// Removes it. Success proves it empty, except for a process tree, where the supervisor's children are the
    /// proof. Removing it twice is not an error.
    pub(crate) fn remove(&self, limit: Duration) -> Result<(), ContainmentError> {
        if let Some(namespace) = &self.namespace {
            namespace.end(limit)?;
        }
        self.holder.remove()
    }

    /// Whether the kernel killed all of the session because its memory ran out (`memory.oom.group`). Some of
    /// its processes may still be exiting.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let killed = self.path().and_then(|path| read_keyed(path, "memory.events.local", "oom_group_kill"));
        killed.is_some_and(|count| count > 0)
    }

    /// See [`Holder::shelter`].
    pub(crate) fn shelter(&self, guardian: Pid) -> Option<Shelter> {
        self.holder.shelter(guardian)
    }

    /// The directory of its cgroup.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.holder.path()
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        self.holder.name()
    }

    /// Whether it can be proven empty after the supervisor has died.
    pub(crate) fn outlives_supervisor(&self) -> bool {
        self.kind() != Kind::Tree
    }
}
