//! The process that started this one.

use std::io;

use nix::unistd::getsid;
use rustix::process::{Pid, getpid, getppid};

use super::first_process;
use super::pidfd::Process;

/// Why the process that started us cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwatchable {
    #[error("it has already exited")]
    Gone,
    #[error("it is in another PID namespace")]
    Elsewhere,
    #[error("our parent is process 1, which also inherits us if that process has exited")]
    MayBeGone,
}

/// The process that started us. Unlike a signal for its death (`PR_SET_PDEATHSIG`), this stands for the whole process, and not
/// for the thread that forked us.
pub(crate) fn find() -> io::Result<Process> {
    let parent = getppid().ok_or_else(|| io::Error::other(Unwatchable::Elsewhere))?;
    let process = Process::open(parent)?;
    // The pid belongs to our parent only if it still is our parent.
    let process = process.filter(|it| getppid() == Some(parent) && !it.has_exited());
    let process = process.ok_or_else(|| io::Error::other(Unwatchable::Gone))?;
    match why_not_the_starter(parent) {
        Some(why) => Err(io::Error::other(why)),
        None => Ok(process),
    }
}

/// Whether our parent may be a process that has inherited us. A process is born into the POSIX session of its parent, so
/// another one is not the parent of a process that leads no session.
fn why_not_the_starter(parent: Pid) -> Option<Unwatchable> {
    if first_process::is_behind_us() {
        return None;
    }
    let session = |pid: Pid| getsid(Some(nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get()))).ok();
    let ours = session(getpid());
    let leads = ours.is_some_and(|it| it.as_raw() == getpid().as_raw_nonzero().get());
    if !leads && ours != session(parent) {
        return Some(Unwatchable::Gone);
    }
    parent.is_init().then_some(Unwatchable::MayBeGone)
}
