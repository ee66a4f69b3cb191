//! The last resort, and the eyes into a PID namespace: the session's processes are those that descend
//! from us. We are a subreaper, so whoever loses its parents becomes our child. Once we are dead only
//! the marker in their environment tells them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::error::ContainmentError;
use super::session_id::{LEAF, MARKER, SessionId};
use crate::sys::children;
use crate::sys::environ::variables;
use crate::sys::pidfd::Process;
use crate::sys::proc;

/// A crowd that forks all the time is brought to a stand in so many rounds, or is killed as it moves.
const ROUNDS: usize = 20;

#[derive(Debug)]
pub struct Tree {
    id: SessionId,
    supervisor: Pid,
    /// The first process of the session's PID namespace: its orphans are children of that.
    init: Option<(Pid, u64)>,
    /// We had children when we began.
    has_predating: bool,
    /// Children of ours that are not of the session.
    spared: RefCell<HashSet<Pid>>,
    /// The first process of each part.
    leaders: RefCell<Vec<(String, Pid)>>,
    /// Where those seen last came from: they may lose what tells it.
    origins: RefCell<HashMap<(Pid, u64), Option<String>>>,
    /// Whom we have stopped.
    stopped: RefCell<Vec<Member>>,
}

/// One living process of the session.
#[derive(Clone, Debug)]
pub struct Member {
    pub pid: Pid,
    start_time: u64,
    /// The part it belongs to, as far as that is known.
    part: Option<String>,
}

impl Tree {
    pub fn new(id: SessionId, predating: &[Pid], init: Option<Pid>) -> Self {
        Self {
            id,
            supervisor: rustix::process::getpid(),
            init: init.and_then(|init| Some((init, proc::start_time(init)?))),
            has_predating: !predating.is_empty(),
            spared: RefCell::new(predating.iter().copied().chain(init).collect()),
            leaders: RefCell::default(),
            origins: RefCell::default(),
            stopped: RefCell::default(),
        }
    }

    pub fn spare(&self, pid: Pid) {
        self.spared.borrow_mut().insert(pid);
    }

    pub fn note_leader(&self, part: &str, pid: Pid) {
        self.leaders.borrow_mut().push((part.to_string(), pid));
    }

    /// All of the session that live. Only at rest is the list whole.
    pub fn members(&self) -> Result<Vec<Member>, ContainmentError> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        // Who loses its parent while we walk becomes a root behind our back.
        for _ in 0..ROUNDS {
            let mut pending: Vec<_> = self.roots()?.into_iter().map(|root| (root, None)).collect();
            pending.retain(|(pid, _)| seen.insert(*pid));
            if pending.is_empty() {
                break;
            }
            while let Some((pid, above)) = pending.pop() {
                let Some(start_time) = proc::start_time(pid) else { continue };
                let known = || self.origins.borrow().get(&(pid, start_time)).cloned().flatten();
                let part = self.led_by(pid).or(above).or_else(known).or_else(|| self.part_by_itself(pid));
                let mut below = proc::children(pid).map_err(on("list the children of", pid))?;
                below.retain(|child| seen.insert(*child));
                pending.extend(below.into_iter().map(|child| (child, part.clone())));
                self.origins.borrow_mut().insert((pid, start_time), part.clone());
                members.push(Member { pid, start_time, part });
            }
        }
        let living: HashSet<_> = members.iter().map(|member| (member.pid, member.start_time)).collect();
        self.origins.borrow_mut().retain(|origin, _| living.contains(origin));
        Ok(members)
    }

    /// The living of one part.
    pub fn branch(&self, part: &str) -> Result<Vec<Pid>, ContainmentError> {
        let members = self.members()?.into_iter();
        Ok(members.filter(|it| it.part.as_deref() == Some(part)).map(|it| it.pid).collect())
    }

    /// The living of none of `parts`. Who is on the way out has lost its environment already, and is none.
    pub fn strays(&self, parts: &[&str]) -> Result<Vec<Pid>, ContainmentError> {
        let is_in = |member: &Member| member.part.as_deref().is_some_and(|part| parts.contains(&part));
        let strays = self.members()?.into_iter().filter(|it| !is_in(it)).map(|it| it.pid);
        Ok(strays.filter(|&pid| !proc::is_exiting(pid)).collect())
    }

    /// Whether the process is of the session.
    pub fn contains(&self, pid: Pid) -> bool {
        if !self.are_we_the_supervisor() {
            return self.carries_marker(pid);
        }
        let mut at = pid;
        while let Some(parent) = proc::parent(at) {
            if parent == self.supervisor {
                return !self.spared.borrow().contains(&at) && !self.may_be_a_strangers(at);
            }
            if self.init.is_some_and(|(init, _)| init == parent) {
                return true;
            }
            at = parent;
        }
        false
    }

    pub fn kill(&self) -> Result<(), ContainmentError> {
        self.kill_where(|_| true)
    }

    pub fn kill_branch(&self, part: &str) -> Result<(), ContainmentError> {
        self.kill_where(|member| member.part.as_deref() == Some(part))
    }

    /// Stops all of them, or lets go on whom that has stopped.
    pub fn freeze(&self, frozen: bool) -> Result<(), ContainmentError> {
        if frozen {
            let stopped = self.stop_where(|member| !proc::is_stopped(member.pid))?;
            self.stopped.borrow_mut().extend(stopped);
        } else {
            self.stopped.take().iter().for_each(|member| drop(member.signal(Signal::SIGCONT)));
        }
        Ok(())
    }

    /// Whoever stands still forks nobody who would be missed.
    fn kill_where(&self, wanted: impl Fn(&Member) -> bool) -> Result<(), ContainmentError> {
        let mut all = Ok(());
        for member in self.stop_where(wanted)? {
            // Whom we may not kill keeps nobody else alive, who would stand still for ever.
            all = all.and(member.signal(Signal::SIGKILL).map_err(on("kill", member.pid)));
        }
        all
    }

    fn stop_where(&self, wanted: impl Fn(&Member) -> bool) -> Result<Vec<Member>, ContainmentError> {
        let mut stopped = Vec::new();
        let mut seen = HashSet::new();
        for _ in 0..ROUNDS {
            let mut new = self.members()?;
            new.retain(|member| seen.insert((member.pid, member.start_time)) && wanted(member));
            if new.is_empty() {
                break;
            }
            // Whom we may not stop (another user's), we may not kill either; killing says so.
            new.iter().for_each(|member| drop(member.signal(Signal::SIGSTOP)));
            stopped.append(&mut new);
        }
        Ok(stopped)
    }

    /// Those from whom the others descend.
    fn roots(&self) -> Result<Vec<Pid>, ContainmentError> {
        let mut roots = Vec::new();
        if self.are_we_the_supervisor() {
            let us = rustix::process::getpid();
            let children = children::list().map_err(on("list the children of", us))?;
            let spared = self.spared.borrow();
            let children = children.into_iter().filter(|child| !spared.contains(child));
            roots.extend(children.filter(|&child| !self.may_be_a_strangers(child)));
        } else {
            let us = rustix::process::getpid();
            let all =
                proc::walk().map_err(ContainmentError::on("list the processes in", Path::new("/proc")))?;
            roots.extend(all.filter(|&pid| pid != us && self.carries_marker(pid)));
        }
        if let Some((init, start_time)) = self.init
            && proc::start_time(init) == Some(start_time)
        {
            roots.extend(proc::children(init).map_err(on("list the children of", init))?);
        }
        Ok(roots)
    }

    /// What a child from before the session leaves behind becomes our child as well.
    fn may_be_a_strangers(&self, child: Pid) -> bool {
        self.has_predating
            && self.led_by(child).is_none()
            && !self.carries_marker(child)
            && proc::start_time(child).is_none_or(|it| !self.origins.borrow().contains_key(&(child, it)))
    }

    fn led_by(&self, pid: Pid) -> Option<String> {
        let leaders = self.leaders.borrow();
        Some(leaders.iter().find(|(_, leader)| *leader == pid)?.0.clone())
    }

    /// What an orphan tells of where it came from: its environment, or the session (setsid(2)) that its
    /// service was started in.
    fn part_by_itself(&self, pid: Pid) -> Option<String> {
        let [nearest, part] = variables(pid, [MARKER, LEAF]).unwrap_or_default();
        let is_ours = nearest.is_some_and(|id| id == self.id.to_string().as_str());
        // In a session within this one, it names a part of that.
        if let Some(part) = part.filter(|_| is_ours) {
            return part.into_string().ok();
        }
        let session = proc::session_of(pid)?;
        self.led_by(session)
    }

    fn carries_marker(&self, pid: Pid) -> bool {
        self.id.marks(pid).unwrap_or(false)
    }

    fn are_we_the_supervisor(&self) -> bool {
        rustix::process::getpid() == self.supervisor
    }
}

impl Member {
    /// Sends a signal if it is still this process who has the number; no error where it has ended.
    fn signal(&self, signal: Signal) -> std::io::Result<()> {
        match Process::open(self.pid)? {
            // Asked after opening: only then is it surely the process meant.
            Some(process) if proc::start_time(self.pid) == Some(self.start_time) => {
                process.signal(signal).map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

fn on<E: Into<std::io::Error>>(operation: &'static str, pid: Pid) -> impl FnOnce(E) -> ContainmentError {
    move |error| ContainmentError::on(operation, Path::new(&format!("/proc/{pid}")))(error)
}
