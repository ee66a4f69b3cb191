//! Layer 6 for who is no parent: where the supervisor is dead, or was no subreaper for a moment, what
//! left the cgroup is nobody's child here. Its environment still carries the marker of the session, or
//! of one in it, whose guardian ended with this one.

use std::io;

use rustix::process::Pid;

use super::snapshot::How;
use super::verdict::Verdict;
use super::{Remains, kill};
use crate::clock;
use crate::containment::SessionId;
use crate::sys::pidfd::Process;
use crate::sys::proc::{self, ProcessInfo};

/// Kills every process with the marker, until a walk over the host finds none.
pub fn end(remains: &Remains, verdict: &mut Verdict) {
    let Some(sessions) = verdict.expect(remains.containment.ids()) else { return };
    let deadline = clock::now() + remains.kill_wait;
    // Killed at least once, however short the limit.
    let mut killed = false;
    loop {
        let walk = match proc::walk() {
            Ok(walk) => walk,
            Err(error) => return verdict.unknown(format!("cannot list the host's processes: {error}")),
        };
        let too_late = killed && clock::now() >= deadline;
        let mut found = false;
        // We may be in the session ourselves: a sweep from a shell that a dead cgrun left.
        let others = walk.filter(|&pid| pid != rustix::process::getpid());
        let is_ours = |pid: &Pid| match carries(*pid, &sessions) {
            Ok(is_ours) => is_ours,
            Err(error) => {
                verdict.unknown(format!("cannot tell whether pid {pid} is of the session: {error}"));
                false
            }
        };
        let ours: Vec<_> = others.filter(is_ours).collect();
        for info in ours.into_iter().filter_map(ProcessInfo::read) {
            found = true;
            if too_late {
                verdict.survivors.push(format!("{info} carries the session's marker and does not end"));
            } else {
                end_one(info, &sessions, remains, verdict);
            }
        }
        if !found || too_late {
            return;
        }
        killed = true;
    }
}

/// Kills a process if it carries the marker of one of these sessions.
pub fn end_one(info: ProcessInfo, sessions: &[SessionId], remains: &Remains, verdict: &mut Verdict) {
    // The marker is read after opening: only then is it surely this process's.
    if let Ok(Some(process)) = Process::open(info.pid)
        && carries(info.pid, sessions).unwrap_or(false)
    {
        verdict.add_leak(How::Escaped, info);
        kill::one(&process, remains, verdict);
    }
}

/// Whether the process was executed with the marker of one of these sessions. A zombie has no
/// environment any more. An error where it could not be told.
pub fn carries(pid: Pid, sessions: &[SessionId]) -> io::Result<bool> {
    for session in sessions {
        if session.marks(pid)? {
            return Ok(true);
        }
    }
    Ok(false)
}
