//! Our children: those that we started, and those re-parented to us because we are a subreaper.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal};
use rustix::process::{Pid, WaitIdOptions, WaitOptions};

use crate::sys::procfs::walk;
use crate::sys::time::{self, Instant};

/// No pid is larger (`PID_MAX_LIMIT`, linux/threads.h).
const MOST_PIDS: i32 = 1 << 22;
/// How often to look at a killed process. No event announces the exit of a group.
const DYING: Duration = Duration::from_millis(1);

/// Makes orphaned descendants our children from now on (prctl(2), `PR_SET_CHILD_SUBREAPER`). Children do not
/// inherit this.
pub(crate) fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Reaps exited children, without waiting, for about `limit`: in a fork storm they may exit faster than they
/// can be reaped. The flag is true if some may be left.
pub(crate) fn reap(limit: Duration) -> io::Result<(Vec<(Pid, ExitStatus)>, bool)> {
    let deadline = Instant::now() + limit;
    let mut ended = Vec::new();
    while let Some(child) = reap_one()? {
        ended.push(child);
        if Instant::now() >= deadline {
            return Ok((ended, true));
        }
    }
    Ok((ended, false))
}

fn reap_one() -> io::Result<Option<(Pid, ExitStatus)>> {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Ok(Some((pid, ExitStatus::from_raw(status.as_raw())))),
        Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Reaps the killed processes of a group that a child of ours leads, as far as they are our children, for at most `limit`.
/// Returns the status of the leader.
pub(crate) fn reap_group(leader: Pid, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    let mut status = None;
    loop {
        match rustix::process::waitpgid(leader, WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == leader => status = Some(ExitStatus::from_raw(ended.as_raw())),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) if Instant::now() < deadline => time::sleep(DYING),
            Ok(None) | Err(_) => return status,
        }
    }
}

/// While this exists, the kernel reaps our children when they exit, and nobody learns their status (sigaction(2), SIG_IGN
/// for SIGCHLD).
pub(crate) struct ReapedByKernel(());

impl ReapedByKernel {
    pub(crate) fn from_now_on() -> io::Result<Self> {
        set_action_on_exit(SigHandler::SigIgn).map(|()| Self(()))
    }
}

impl Drop for ReapedByKernel {
    fn drop(&mut self) {
        let _ = set_action_on_exit(SigHandler::SigDfl);
    }
}

fn set_action_on_exit(action: SigHandler) -> io::Result<()> {
    // SAFETY: neither action is a handler of ours, so nothing of ours runs in signal context.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, action) }?;
    Ok(())
}

/// Whether any child is left, living or dead. `false` is confirmed by the kernel (ECHILD).
pub(crate) fn any_left() -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::process::waitid(rustix::process::WaitId::All, options) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::CHILD) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The children that we already have when we start: those of the program that executed cgrun in its place.
pub(crate) fn inherited() -> io::Result<Vec<Pid>> {
    let every_kind = WaitIdOptions::from_bits_retain(libc::__WALL as u32);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT | every_kind;
    match rustix::process::waitid(rustix::process::WaitId::All, options) {
        Err(rustix::io::Errno::CHILD) => Ok(Vec::new()),
        _ => list(),
    }
}

/// Whether this child of ours is neither stopped nor dead.
pub(crate) fn is_running(pid: Pid) -> io::Result<bool> {
    let options =
        WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::process::waitid(rustix::process::WaitId::Pid(pid), options) {
        Ok(status) => Ok(status.is_none()),
        Err(rustix::io::Errno::CHILD) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The signal that has stopped this child of ours, if it is stopped now.
pub(crate) fn stopped_by(pid: Pid) -> io::Result<Option<Signal>> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::process::waitid(rustix::process::WaitId::Pid(pid), options) {
        Ok(status) => Ok(status.and_then(|it| Signal::try_from(it.stopping_signal()?).ok())),
        Err(rustix::io::Errno::CHILD) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The pids of our children. They cannot be used again before we reap them.
pub(crate) fn list() -> io::Result<Vec<Pid>> {
    match walk::check() {
        Ok(()) => walk::children(rustix::process::getpid()),
        Err(_) if any_left()? => Ok(list_without_proc()),
        Err(_) => Ok(Vec::new()),
    }
}

/// Asks the kernel for each pid that was allocated since we were started: all of our children have one of these.
fn list_without_proc() -> Vec<Pid> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let is_child = |pid: &Pid| rustix::process::waitid(rustix::process::WaitId::Pid(*pid), options).is_ok();
    let us = rustix::process::getpid().as_raw_nonzero().get();
    // The kernel allocates pids in ascending order, and wraps around.
    let (first, second) = match newest_pid() {
        Some(newest) if newest > us => (us..newest, 0..0),
        Some(newest) => (us..MOST_PIDS, 1..newest),
        None => (1..MOST_PIDS, 0..0),
    };
    first.chain(second).filter_map(Pid::from_raw).filter(is_child).collect()
}

/// The next pid that the kernel allocates, found out by forking a child.
fn newest_pid() -> Option<i32> {
    // SAFETY: the child only exits.
    match unsafe { libc::fork() } {
        // SAFETY: exits without unwinding, so no code of the parent runs.
        0 => unsafe { libc::_exit(0) },
        pid => {
            rustix::process::waitpid(Some(Pid::from_raw(pid)?), WaitOptions::empty()).ok()?;
            Some(pid)
        }
    }
}
