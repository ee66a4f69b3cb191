//! Finds the session's processes by their descent from us, as a last resort and inside a PID namespace. We
//! are a subreaper, so a process that loses its parents becomes our child. After our death only the marker in
//! their environment distinguishes them from others.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::error::ContainmentError;
use super::session_id::{LEAF, MARKER, SessionId};
use crate::sys::process::children;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::environ::variables;
use crate::sys::procfs::stat;
use crate::sys::procfs::walk;
use crate::sys::procfs::walk::all_pids;

/// Processes that fork all the time are stopped within this many rounds, or killed while they run.
const ROUNDS: usize = 20;

#[derive(Debug)]
pub(super) struct ProcessTree {
    id: SessionId,
    supervisor: Pid,
    /// The first process of the session's PID namespace, to which its orphans are re-parented.
    init: Option<(Pid, u64)>,
    is_in_pid_namespace: bool,
    /// Whether we had children before the session.
    has_preexisting: bool,
    /// Children of ours that do not belong to the session.
    spared: RefCell<HashSet<Pid>>,
    /// The first process of each leaf.
    leaders: RefCell<Vec<(String, Pid)>>,
    /// The leaf of each process seen in the last walk. A process can lose the attributes that identify its leaf.
    origins: RefCell<HashMap<(Pid, u64), Option<String>>>,
    /// The processes we stopped.
    stopped: RefCell<Vec<TreeMember>>,
}

/// One living process of the session.
#[derive(Clone, Debug)]
pub(super) struct TreeMember {
    pub pid: Pid,
    start_time: u64,
    /// The leaf it belongs to, if that is known.
    pub leaf: Option<String>,
}

impl ProcessTree {
    pub(super) fn new(id: SessionId, preexisting: &[Pid], init: Option<Pid>) -> Self {
        Self {
            id,
            supervisor: rustix::process::getpid(),
            is_in_pid_namespace: init.is_some(),
            init: init.and_then(|init| Some((init, stat::start_time(init)?))),
            has_preexisting: !preexisting.is_empty(),
            spared: RefCell::new(preexisting.iter().copied().chain(init).collect()),
            leaders: RefCell::default(),
            origins: RefCell::default(),
            stopped: RefCell::default(),
        }
    }

    pub(super) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(super) fn is_in_pid_namespace(&self) -> bool {
        self.is_in_pid_namespace
    }

    pub(super) fn spare(&self, pid: Pid) {
        self.spared.borrow_mut().insert(pid);
    }

    pub(super) fn note_leader(&self, leaf: &str, pid: Pid) {
        self.leaders.borrow_mut().push((leaf.to_string(), pid));
    }

    /// The living processes of the session. The list is complete only while none of them forks.
    pub(super) fn members(&self) -> Result<Vec<TreeMember>, ContainmentError> {
        // Without /proc, only ECHILD proves that there are none.
        if let Err(error) = walk::check() {
            let any_left = !self.are_we_the_supervisor() || children::any_left().unwrap_or(true);
            return if any_left {
                Err(on("list the children of", self.supervisor)(error))
            } else {
                Ok(Vec::new())
            };
        }
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        // Repeated, because a process that loses its parent during the walk becomes a root.
        for _ in 0..ROUNDS {
            let mut pending: Vec<_> = self.roots()?.into_iter().map(|root| (root, None)).collect();
            pending.retain(|(pid, _)| seen.insert(*pid));
            if pending.is_empty() {
                break;
            }
            while let Some((pid, above)) = pending.pop() {
                let Some(start_time) = stat::start_time(pid) else { continue };
                let known = || self.origins.borrow().get(&(pid, start_time)).cloned().flatten();
                let leaf = self.led_by(pid).or(above).or_else(known).or_else(|| self.leaf_by_itself(pid));
                let mut below = walk::children(pid).map_err(on("list the children of", pid))?;
                below.retain(|child| seen.insert(*child));
                pending.extend(below.into_iter().map(|child| (child, leaf.clone())));
                self.origins.borrow_mut().insert((pid, start_time), leaf.clone());
                members.push(TreeMember { pid, start_time, leaf });
            }
        }
        let living: HashSet<_> = members.iter().map(|member| (member.pid, member.start_time)).collect();
        self.origins.borrow_mut().retain(|origin, _| living.contains(origin));
        Ok(members)
    }

    /// The living processes of one leaf.
    pub(super) fn branch(&self, leaf: &str) -> Result<Vec<Pid>, ContainmentError> {
        let members = self.members()?.into_iter();
        Ok(members.filter(|it| it.leaf.as_deref() == Some(leaf)).map(|it| it.pid).collect())
    }

    /// Whether the process belongs to the session.
    pub(super) fn contains(&self, pid: Pid) -> bool {
        if !self.are_we_the_supervisor() {
            return self.carries_marker(pid);
        }
        let mut at = pid;
        while let Some(parent) = stat::parent(at) {
            if parent == self.supervisor {
                return !self.spared.borrow().contains(&at) && !self.may_belong_to_a_stranger(at);
            }
            if self.init.is_some_and(|(init, _)| init == parent) {
                return true;
            }
            at = parent;
        }
        false
    }

    pub(super) fn kill(&self) -> Result<(), ContainmentError> {
        self.kill_where(|_| true)
    }

    pub(super) fn kill_branch(&self, leaf: &str) -> Result<(), ContainmentError> {
        self.kill_where(|member| member.leaf.as_deref() == Some(leaf))
    }

    /// Stops all of them, or continues those that it stopped.
    pub(super) fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        if frozen {
            let stopped = self.stop_where(|member| !stat::is_stopped(member.pid))?;
            self.stopped.borrow_mut().extend(stopped);
        } else {
            self.stopped.take().iter().for_each(|member| drop(member.signal(Signal::SIGCONT)));
        }
        Ok(())
    }

    /// Stops the processes first, so that they cannot fork before they are killed.
    fn kill_where(&self, wanted: impl Fn(&TreeMember) -> bool) -> Result<(), ContainmentError> {
        let mut all = Ok(());
        for member in self.stop_where(wanted)? {
            // A process that we are not allowed to kill must not leave the others stopped forever.
            all = all.and(member.signal(Signal::SIGKILL).map_err(on("kill", member.pid)));
        }
        all
    }

    fn stop_where(&self, wanted: impl Fn(&TreeMember) -> bool) -> Result<Vec<TreeMember>, ContainmentError> {
        let mut stopped = Vec::new();
        let mut seen = HashSet::new();
        for _ in 0..ROUNDS {
            let mut new = self.members()?;
            new.retain(|member| seen.insert((member.pid, member.start_time)) && wanted(member));
            if new.is_empty() {
                break;
            }
            // If we are not allowed to stop a process (another user's), killing it fails too, and that error
            // is reported.
            new.iter().for_each(|member| drop(member.signal(Signal::SIGSTOP)));
            stopped.append(&mut new);
        }
        Ok(stopped)
    }

    /// The processes from which the others descend.
    fn roots(&self) -> Result<Vec<Pid>, ContainmentError> {
        let mut roots = Vec::new();
        if self.are_we_the_supervisor() {
            let us = rustix::process::getpid();
            let children = children::list().map_err(on("list the children of", us))?;
            let spared = self.spared.borrow();
            let children = children.into_iter().filter(|child| !spared.contains(child));
            roots.extend(children.filter(|&child| !self.may_belong_to_a_stranger(child)));
        } else {
            let us = rustix::process::getpid();
            let all =
                all_pids().map_err(ContainmentError::on("list the processes in", Path::new("/proc")))?;
            roots.extend(all.filter(|&pid| pid != us && self.carries_marker(pid)));
        }
        if let Some((init, start_time)) = self.init {
            if stat::start_time(init) == Some(start_time) {
                roots.extend(walk::children(init).map_err(on("list the children of", init))?);
            }
        }
        Ok(roots)
    }

    /// Whether this may be an orphan of a child that we had before the session: such orphans become our
    /// children too.
    fn may_belong_to_a_stranger(&self, child: Pid) -> bool {
        self.has_preexisting
            && self.led_by(child).is_none()
            && !self.carries_marker(child)
            && stat::start_time(child).is_none_or(|it| !self.origins.borrow().contains_key(&(child, it)))
    }

    fn led_by(&self, pid: Pid) -> Option<String> {
        let leaders = self.leaders.borrow();
        Some(leaders.iter().find(|(_, leader)| *leader == pid)?.0.clone())
    }

    /// The leaf that an orphan came from, according to its environment or to its session (setsid(2)): each
    /// service starts in one of its own.
    fn leaf_by_itself(&self, pid: Pid) -> Option<String> {
        let [nearest, leaf] = variables(pid, [MARKER, LEAF]).unwrap_or_default();
        let is_ours = nearest.is_some_and(|id| id == self.id.to_string().as_str());
        // In a nested session, the variable names a leaf of the nested one.
        if let Some(leaf) = leaf.filter(|_| is_ours) {
            return leaf.into_string().ok();
        }
        let session = stat::session_of(pid)?;
        self.led_by(session)
    }

    fn carries_marker(&self, pid: Pid) -> bool {
        self.id.marks(pid).unwrap_or(false)
    }

    fn are_we_the_supervisor(&self) -> bool {
        rustix::process::getpid() == self.supervisor
    }
}

impl TreeMember {
    /// Sends a signal if the pid is still that of this process. It is not an error if it has exited.
    fn signal(&self, signal: Signal) -> std::io::Result<()> {
        match Process::open(self.pid)? {
            // Checked after opening the pidfd: before that, the pid may have been reused.
            Some(process) if stat::start_time(self.pid) == Some(self.start_time) => {
                process.signal(signal).map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

fn on<E: Into<std::io::Error>>(operation: &'static str, pid: Pid) -> impl FnOnce(E) -> ContainmentError {
    move |error| ContainmentError::on(operation, Path::new(&format!("/proc/{pid}")))(error)
}
