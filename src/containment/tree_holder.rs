//! Lets a process tree hold a session, and one branch of it hold a component.

use std::io;
use std::rc::Rc;

use rustix::process::Pid;

use super::error::ContainmentError;
use super::holder::{Holder, LeafHolder};
use super::kind::Kind;
use super::process_tree::ProcessTree;
use super::session_id::SessionId;
use super::sockets::Sockets;
use crate::sys::process::namespace::Entrance;
use crate::sys::process::pidfd::Process;
use crate::sys::process::spawn::{Program, SpawnError, SpawnOptions, spawn};
use crate::sys::procfs::descriptors::are_descriptors_visible;
use crate::sys::procfs::descriptors::holds_socket;
use crate::sys::procfs::stat;
use crate::sys::sockets::Listener;

impl Holder for Rc<ProcessTree> {
    fn kind(&self) -> Kind {
        Kind::Tree
    }

    fn spare(&self, pid: Pid) {
        self.as_ref().spare(pid);
    }

    fn leaf(&self, name: &str) -> Result<Box<dyn LeafHolder>, ContainmentError> {
        Ok(Box::new(Branch { tree: self.clone(), name: name.to_string() }))
    }

    /// In a PID namespace everything lives and dies with the namespace's first process.
    fn is_populated(&self) -> Result<bool, ContainmentError> {
        Ok(!self.is_in_pid_namespace() && !self.as_ref().members()?.is_empty())
    }

    fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        Ok(self.as_ref().members()?.into_iter().map(|member| member.pid).collect())
    }

    fn contains(&self, pid: Pid) -> io::Result<bool> {
        Ok(self.as_ref().contains(pid))
    }

    /// An exiting process has already lost its environment, so it counts neither as in a leaf nor as outside.
    fn members_outside(&self, leaves: &[&str]) -> Result<Vec<Pid>, ContainmentError> {
        let mut members = self.as_ref().members()?;
        members.retain(|member| !member.leaf.as_deref().is_some_and(|leaf| leaves.contains(&leaf)));
        Ok(members.into_iter().map(|member| member.pid).filter(|&pid| !stat::is_exiting(pid)).collect())
    }

    fn session_ids(&self) -> Result<Vec<SessionId>, ContainmentError> {
        Ok(vec![self.id().clone()])
    }

    fn sockets(&self, listeners: &[Listener]) -> Result<Sockets, ContainmentError> {
        if listeners.is_empty() {
            return Ok(Sockets::Open(Vec::new()));
        }
        let members = self.as_ref().members()?;
        // A process that hides its descriptors (prctl(2), `PR_SET_DUMPABLE`) may hold any socket that its
        // user opened after the ports were found free.
        let hidden = members.iter().any(|member| !are_descriptors_visible(member.pid));
        let us = rustix::process::geteuid().as_raw();
        let is_held = |listener: &&Listener| {
            hidden && listener.uid == us
                || members.iter().any(|member| holds_socket(member.pid, &[listener.inode]))
        };
        Ok(Sockets::Open(listeners.iter().filter(is_held).map(|listener| listener.inode).collect()))
    }

    fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        self.as_ref().freeze(frozen)
    }

    /// In a PID namespace everything is killed with the namespace.
    fn kill(&self) -> Result<(), ContainmentError> {
        if self.is_in_pid_namespace() { Ok(()) } else { self.as_ref().kill() }
    }

    fn name(&self) -> String {
        format!("session {}", self.id())
    }
}

/// The processes of one leaf.
#[derive(Debug)]
struct Branch {
    tree: Rc<ProcessTree>,
    name: String,
}

impl LeafHolder for Branch {
    fn start(
        &self,
        program: &Program,
        options: &SpawnOptions<'_>,
        namespace: Option<Entrance<'_>>,
    ) -> Result<Process, SpawnError> {
        let leader = spawn(program, options, None, namespace)?;
        self.tree.note_leader(&self.name, leader.pid);
        Ok(leader)
    }

    fn is_populated(&self) -> Result<bool, ContainmentError> {
        Ok(!self.members()?.is_empty())
    }

    fn members(&self) -> Result<Vec<Pid>, ContainmentError> {
        self.tree.branch(&self.name)
    }

    fn contains(&self, pid: Pid) -> io::Result<bool> {
        Ok(self.tree.as_ref().contains(pid))
    }

    fn kill(&self) -> Result<(), ContainmentError> {
        self.tree.kill_branch(&self.name)
    }
}
