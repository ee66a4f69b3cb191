//! Layer 6 for who is no parent: where the supervisor is dead, or was no subreaper for a moment, what
//! left the cgroup is nobody's child here. Its environment still carries the marker of the session, or
//! of one in it, whose guardian ended with this one.

use std::io;
use std::time::Duration;

use rustix::process::Pid;

use super::verdict::Verdict;
use super::{Context, kill};
use crate::containment::SessionId;
use crate::leaks::How;
use crate::runtime::clock;
use crate::sys::pidfd::Process;
use crate::sys::proc::{self, ProcessInfo};

/// So long are those that could not be read yet left to themselves.
const LOOK: Duration = Duration::from_millis(20);

/// Kills every process with the marker, until a walk over the host finds none.
pub fn end(context: &Context, verdict: &mut Verdict) {
    let Some(sessions) = verdict.expect(context.containment.ids()) else { return };
    let deadline = clock::now() + context.kill_wait;
    // Killed at least once, however short the limit.
    let mut tried = false;
    loop {
        let walk = match proc::walk() {
            Ok(walk) => walk,
            Err(error) => return verdict.unknown(format!("cannot list the host's processes: {error}")),
        };
        let too_late = tried && clock::now() >= deadline;
        let (mut found, mut untold) = (0, Vec::new());
        // We may be in the session ourselves: a sweep from a shell that a dead cgrun left.
        for pid in walk.filter(|&pid| pid != rustix::process::getpid()) {
            match carries(pid, &sessions) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => {
                    untold.push((pid, error));
                    continue;
                }
            }
            // Also where it is gone meanwhile: it may have had a child behind our back.
            found += 1;
            match ProcessInfo::read(pid) {
                None => {}
                Some(info) if too_late => {
                    verdict.survivors.push(format!("{info} carries the session's marker and does not end"));
                }
                Some(info) => end_one(info, &sessions, context, verdict),
            }
        }
        if too_late {
            untold.iter().for_each(|(pid, error)| verdict.unknown(cannot_tell(*pid, error)));
            if found > 0 && verdict.survivors.is_empty() {
                verdict.unknown("processes with the session's marker come and go");
            }
        }
        if too_late || found == 0 && untold.is_empty() {
            return;
        }
        if found == 0 {
            std::thread::sleep(LOOK);
        }
        tried = true;
    }
}

/// Kills a process if it carries the marker of one of these sessions.
pub fn end_one(info: ProcessInfo, sessions: &[SessionId], context: &Context, verdict: &mut Verdict) {
    // The marker is read after opening: only then is it surely this process's.
    let Ok(Some(process)) = Process::open(info.pid) else { return };
    match carries(info.pid, sessions) {
        Ok(true) => {
            verdict.add_leak(How::Escaped, info);
            kill::one(&process, context, verdict);
        }
        Ok(false) => {}
        Err(error) => verdict.unknown(cannot_tell(info.pid, &error)),
    }
}

fn cannot_tell(pid: Pid, error: &io::Error) -> String {
    format!("cannot tell whether pid {pid} is of the session: {error}")
}

/// Whether the process was executed with the marker of one of these sessions. A zombie has no
/// environment any more. An error where it could not be told.
pub fn carries(pid: Pid, sessions: &[SessionId]) -> io::Result<bool> {
    Ok(SessionId::all_of(pid)?.iter().any(|id| sessions.contains(id)))
}
