//! Phase 3: stops descendants that left the containment, as layer 6 requires.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::by_marker::carries_marker;
use super::inner_inits::Grace;
use super::kill::why;
use super::kill_progress::KillProgress;
use crate::leaks::How;
use crate::runtime::clock;
use crate::sys::process::children;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::stat::{self, ProcStat};
use crate::sys::procfs::walk;
use crate::teardown::layers::Orphans;
use crate::teardown::running_teardown::Teardown;
use crate::text::plain;

const LOOK: Duration = Duration::from_millis(20);

/// The children of the session that are left.
struct Remaining {
    children: Vec<ProcessInfo>,
    /// Those that /proc does not show.
    hidden: Vec<Pid>,
}

impl Teardown<'_> {
    pub(in crate::teardown) fn end_escaped(&mut self) {
        let orphans = Orphans::after(self.cause);
        if orphans.are_our_children() {
            self.end_children();
        } else {
            self.kill_by_marker();
            self.note_possible_escapees();
        }
        if !self.context.containment.outlives_supervisor() {
            orphans.out_of_reach().into_iter().for_each(|what| self.verdict.unknown(what));
        }
    }

    /// Stops all remaining children: asks them first, unless the user has asked twice, then kills them. The
    /// children of an exiting child become our children in turn, until ECHILD proves that none is left.
    fn end_children(&mut self) {
        let mut noted = HashSet::new();
        let mut kill_from = clock::now() + self.budget.share(self.context.grace, 1);
        let grace = Grace::until(kill_from);
        // Starts with the first kill, however short the limit is.
        let mut progress: Option<KillProgress> = None;
        while let Some(Remaining { children, hidden }) = self.children_of_session() {
            let left = children.len() + hidden.len();
            if progress.as_mut().is_some_and(|progress| progress.is_stuck(left)) {
                return self.note_stuck(&children);
            }
            let now = clock::now();
            // A signal may have limited the time.
            kill_from = now + self.budget.share(kill_from - now, 1);
            if self.requests.end_the_grace() {
                kill_from = kill_from.min(now);
            }
            let kills = now >= kill_from;
            if kills {
                self.finish_monitors();
                progress.get_or_insert_with(|| KillProgress::new(self.context.kill_wait));
            }
            let seen: Vec<_> = children.iter().filter_map(|it| ProcStat::read(it.pid)).collect();
            let first = std::mem::take(&mut self.first_children);
            self.asked.look(&seen, Orphans::STOP_SIGNAL, |it| first.contains(&it.pid));
            self.first_children = first;
            for process in children {
                if noted.insert(process.pid) {
                    self.note_escaped(process);
                }
            }
            if !kills {
                self.kill_inner_inits_of(&seen, Orphans::STOP_SIGNAL, grace);
            }
            for pid in hidden {
                if noted.insert(pid) {
                    self.note_hidden(pid);
                    ask_child(pid);
                }
                if kills {
                    self.kill_child(pid);
                }
            }
            for process in seen {
                if kills {
                    self.kill_child(process.pid);
                } else if self.asked.is_due(&process, Orphans::STOP_SIGNAL, Some(kill_from)) {
                    self.asked.note(process.key(), Orphans::STOP_SIGNAL);
                    ask_child(process.pid);
                }
            }
            // Poll, because no event announces a re-parenting except the exit of the parent.
            self.wait(&[], clock::now() + LOOK);
        }
    }

    /// The living children to stop. `None` if none is left, or if that cannot be determined.
    fn children_of_session(&mut self) -> Option<Remaining> {
        let any_left = self.reap().and_then(|()| children::any_left());
        let any_left =
            any_left.map_err(|error| format!("cannot determine whether children are left (waitid): {error}"));
        if !self.verdict.expect(any_left)? {
            return None;
        }
        self.ensure_guardian();
        if let Err(error) = walk::check() {
            self.verdict.unknown(format!("cannot determine which processes leaked: {error}"));
            let hidden = self.hidden_children().unwrap_or_default();
            return (!hidden.is_empty()).then_some(Remaining { children: Vec::new(), hidden });
        }
        let children = children::list().map_err(|error| format!("cannot list cgrun's children: {error}"));
        let mut listed = self.verdict.expect(children)?;
        listed.retain(|&pid| !self.context.is_cgruns(pid));
        let mut children: Vec<_> =
            listed.iter().copied().filter_map(ProcessInfo::read).filter(|it| !it.is_zombie).collect();
        // The children of one that has just died may have become ours since they were listed.
        let is_complete = !listed.is_empty() && children.len() == listed.len();
        let init = self.context.containment.init();
        children.retain(|process| Some(process.pid) != init);
        if self.context.had_preexisting_children {
            self.spare_strangers(&mut children);
        }
        (!children.is_empty() || !is_complete).then_some(Remaining { children, hidden: Vec::new() })
    }

    /// The children to stop if /proc does not show them. Children from before the session, and their orphans, cannot
    /// be distinguished from them.
    fn hidden_children(&self) -> io::Result<Vec<Pid>> {
        if self.context.had_preexisting_children {
            return Ok(Vec::new());
        }
        let init = self.context.containment.init();
        Ok(children::list()?.into_iter().filter(|&pid| Some(pid) != init).collect())
    }

    fn note_hidden(&mut self, pid: Pid) {
        if !self.unkillable.contains(&pid) && self.context.cancelled.is_none() {
            self.verdict.undescribed.insert(pid);
        }
    }

    /// Removes the children that cgrun had before the session, and their orphans. Those orphans also become
    /// our children, and only the marker distinguishes them from orphans of the session.
    fn spare_strangers(&mut self, children: &mut Vec<ProcessInfo>) {
        children.retain(|process| !self.context.preexisting_children.contains(&process.pid));
        let sessions = self.verdict.expect(self.context.containment.session_ids()).unwrap_or_default();
        children.retain(|process| {
            let is_ours = carries_marker(process.pid, &sessions).unwrap_or(false);
            if !is_ours {
                self.verdict.unknown(format!(
                    "cannot determine whether {process} belongs to this session or to a process that existed before it; it was left alone"
                ));
            }
            is_ours
        });
    }

    /// Notes an escaped process. One that was killed in the containment, or is exiting, has not escaped: it
    /// leaves its cgroup before it becomes a zombie.
    fn note_escaped(&mut self, process: ProcessInfo) {
        let has_leaked = !self.unkillable.contains(&process.pid) && !self.context.is_cancelled(process.pid);
        if has_leaked && !stat::is_exiting(process.pid) {
            self.verdict.add_leak(How::Escaped, process);
        }
    }

    /// Kills an unreaped child of ours: no other process can have its pid.
    fn kill_child(&mut self, pid: Pid) {
        let killed = Process::open(pid).and_then(|child| match child {
            Some(child) => child.signal(Signal::SIGKILL),
            None => Ok(false),
        });
        if let Err(error) = killed {
            self.verdict.unknown(format!("cannot kill pid {pid}: {}", plain(&error)));
        }
    }

    fn note_stuck(&mut self, children: &[ProcessInfo]) {
        let escaped = children.iter().filter(|process| !self.unkillable.contains(&process.pid));
        self.verdict.survivors.extend(escaped.map(|process| {
            let why = why(process.pid);
            format!("{process} left the session's cgroup and did not exit after SIGKILL{why}")
        }));
        if children.is_empty() {
            self.verdict.unknown("a child process that cannot be listed has not exited");
        }
    }
}

/// Asks an unreaped child of ours to exit. A failure does not matter: only ECHILD proves that it has exited.
fn ask_child(pid: Pid) {
    if let Ok(Some(child)) = Process::open(pid) {
        let _ = child.signal(Orphans::STOP_SIGNAL);
        let _ = child.signal(Signal::SIGCONT);
    }
}
