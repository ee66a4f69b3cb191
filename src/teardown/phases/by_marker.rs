//! Finds processes that are not our descendants, because the supervisor is dead or was not a subreaper for a
//! moment. Their environment still carries the marker of the session, or of a nested session whose guardian
//! died with this one.

use std::io;
use std::time::Duration;

use rustix::process::Pid;

use super::kill::why;
use crate::containment::SessionId;
use crate::leaks::How;
use crate::runtime::clock;
use crate::sys::process::pidfd::Process;
use crate::sys::procfs::process_info::ProcessInfo;
use crate::sys::procfs::walk::all_pids;
use crate::sys::time;
use crate::teardown::running_teardown::Teardown;

/// How long to wait for processes whose environment cannot be read yet.
const LOOK: Duration = Duration::from_millis(20);

impl Teardown<'_> {
    /// Kills every process with the marker, until a walk over the host finds none.
    pub(super) fn kill_by_marker(&mut self) {
        let Some(sessions) = self.verdict.expect(self.context.containment.session_ids()) else { return };
        let deadline = clock::now() + self.context.kill_wait;
        // Kill at least once, however short the limit is.
        let mut is_first = true;
        loop {
            let walk = all_pids().map_err(|error| format!("cannot list the host's processes: {error}"));
            let Some(walk) = self.verdict.expect(walk) else { return };
            let is_last = !is_first && clock::now() >= deadline;
            let (mut found, mut unread) = (0, Vec::new());
            // cgrun may be in the session itself, if the user runs a sweep from a shell that a dead cgrun
            // left behind.
            for pid in walk.filter(|&pid| pid != rustix::process::getpid()) {
                match carries_marker(pid, &sessions) {
                    Ok(false) => {}
                    Ok(true) => {
                        // Count it even if it is gone, because it may have forked a child that we have not
                        // seen.
                        found += 1;
                        self.kill_or_give_up(pid, &sessions, is_last);
                    }
                    Err(error) => unread.push((pid, error)),
                }
            }
            if is_last {
                unread.iter().for_each(|(pid, error)| self.verdict.unknown(cannot_attribute(*pid, error)));
                if found > 0 && self.verdict.survivors.is_empty() {
                    self.verdict.unknown("processes with the session's marker keep appearing");
                }
            }
            if is_last || found == 0 && unread.is_empty() {
                return;
            }
            if found == 0 {
                time::sleep(LOOK);
            }
            is_first = false;
        }
    }

    fn kill_or_give_up(&mut self, pid: Pid, sessions: &[SessionId], gives_up: bool) {
        let Some(process) = ProcessInfo::read(pid) else { return };
        if gives_up {
            let why = why(pid);
            let survivor =
                format!("{process} carries the session's marker and did not exit after SIGKILL{why}");
            self.verdict.survivors.push(survivor);
        } else {
            self.kill_if_marked(process, sessions);
        }
    }

    /// Kills a process if it carries the marker of one of these sessions.
    pub(super) fn kill_if_marked(&mut self, info: ProcessInfo, sessions: &[SessionId]) {
        // The marker is read after opening the pidfd: before that, the pid may have been reused.
        let Ok(Some(process)) = Process::open(info.pid) else { return };
        match carries_marker(info.pid, sessions) {
            Ok(true) => {
                self.verdict.add_leak(How::Escaped, info);
                self.kill_one(&process);
            }
            Ok(false) => {}
            Err(error) => self.verdict.unknown(cannot_attribute(info.pid, &error)),
        }
    }
}

fn cannot_attribute(pid: Pid, error: &io::Error) -> String {
    format!("cannot determine whether pid {pid} belongs to the session: {error}")
}

/// Whether the process was executed with the marker of one of these sessions. A zombie no longer has an environment.
///
/// # Errors
/// If its environment cannot be read.
pub(super) fn carries_marker(pid: Pid, sessions: &[SessionId]) -> io::Result<bool> {
    Ok(SessionId::all_of(pid)?.iter().any(|id| sessions.contains(id)))
}
