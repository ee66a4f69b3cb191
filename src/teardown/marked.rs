//! Layer 6 for who is no parent: where the supervisor is dead, what left the cgroup is nobody's child
//! here, but its environment still carries the session's marker.

use rustix::process::Pid;

use super::snapshot::{How, Leak};
use super::verdict::Verdict;
use super::{Remains, kill};
use crate::clock;
use crate::containment::{MARKER, SessionId};
use crate::sys::pidfd::Process;
use crate::sys::proc::{self, ProcessInfo};

/// Kills every process with the marker, until a walk over the host finds none.
pub fn end(remains: &Remains, verdict: &mut Verdict) {
    let deadline = clock::now() + remains.kill_wait;
    // Killed at least once, however short the limit.
    let mut killed = false;
    loop {
        let found = match proc::all() {
            Ok(all) => all.into_iter().filter(|&pid| carries(pid, &remains.cgroup.id)).collect::<Vec<_>>(),
            Err(error) => return verdict.unknown(format!("cannot list the host's processes: {error}")),
        };
        if found.is_empty() {
            return;
        }
        if killed && clock::now() >= deadline {
            let left = found.into_iter().filter_map(ProcessInfo::read);
            verdict.survivors.extend(
                left.map(|process| format!("{process} carries the session's marker and does not end")),
            );
            return;
        }
        for info in found.into_iter().filter_map(ProcessInfo::read) {
            end_one(info, remains, verdict);
        }
        killed = true;
    }
}

/// Kills a process if it carries the marker.
pub fn end_one(info: ProcessInfo, remains: &Remains, verdict: &mut Verdict) {
    // The marker is read after opening: only then is it surely this process's.
    if let Ok(Some(process)) = Process::open(info.pid)
        && carries(info.pid, &remains.cgroup.id)
    {
        verdict.leaks.push(Leak::new(How::Escaped, info));
        kill::one(&process, remains, verdict);
    }
}

/// Whether the process was executed with the marker of this session. A zombie has no environment any more.
pub fn carries(pid: Pid, session: &SessionId) -> bool {
    proc::variable(pid, MARKER).is_some_and(|value| value == session.as_str())
}
