//! The first process of a PID namespace, as in a container, inherits the orphans of all others, including those
//! that `docker exec` starts beside the session. So cgrun continues as a child of that process: as a subreaper, it
//! only inherits the orphans of the session. The first process reaps the rest, and passes signals on.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::process::Pid;

use crate::sys::procfs::details::executable;
use crate::sys::procfs::walk;

/// The exit code for a failure of cgrun.
const UNKNOWN: c_int = 125;

static IS_BEHIND_US: AtomicBool = AtomicBool::new(false);

/// Whether our parent is the first process of our PID namespace, and only reaps and passes signals on to us.
pub(crate) fn is_behind_us() -> bool {
    IS_BEHIND_US.load(Ordering::Relaxed)
}

/// Returns in a child if we are the first process, which then exits as that child does. If there can be no child (a
/// process limit), it returns in the first process itself.
///
/// Must be called while this process has a single thread.
pub(crate) fn stand_before() {
    if !rustix::process::getpid().is_init() {
        return;
    }
    // If SIGCHLD was ignored when we were executed, the kernel would reap cgrun and not tell us.
    // SAFETY: installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    // A blocked signal stays pending, whereas the kernel would drop one that the first process does not handle.
    let all = SigSet::all();
    let Ok(before) = all.thread_swap_mask(SigmaskHow::SIG_SETMASK) else { return };
    // SAFETY: this process has one thread, so the child finds no lock held.
    let child = unsafe { libc::fork() };
    if let Some(child) = Pid::from_raw(child).filter(|_| child > 0) {
        serve(child, &all);
    }
    let _ = before.thread_set_mask();
    IS_BEHIND_US.store(child == 0, Ordering::Relaxed);
}

/// Reaps, and passes signals on to cgrun, until that exits. If a signal kills it, its guardian ends the session: it is our
/// child now, and our own exit would kill it.
fn serve(cgrun: Pid, signals: &SigSet) -> ! {
    let mut killed_by = None;
    loop {
        if let Some(signal) = killed_by {
            if !has_guardian() {
                // As a shell reports it: the first process cannot kill itself with a signal.
                exit(128 + signal);
            }
        }
        // SAFETY: a `siginfo_t` is plain numbers, which may all be zero; sigwaitinfo(2) fills it.
        let (signal, info) = unsafe {
            let mut info = std::mem::zeroed::<libc::siginfo_t>();
            (libc::sigwaitinfo(signals.as_ref(), &mut info), info)
        };
        match signal {
            libc::SIGCHLD => reap(cgrun, &mut killed_by),
            signal if signal > 0 && killed_by.is_none() && is_for(cgrun, signal, &info) => {
                // SAFETY: sends a signal to our own unreaped child.
                unsafe { libc::kill(cgrun.as_raw_nonzero().get(), signal) };
            }
            _ => {}
        }
    }
}

/// Whether to pass a signal on. The terminal has sent its signals to cgrun too, except for a hangup. Signals that the
/// session sends to the first process are not meant for cgrun.
fn is_for(cgrun: Pid, signal: c_int, info: &libc::siginfo_t) -> bool {
    if info.si_code == libc::SI_KERNEL {
        return signal == Signal::SIGHUP as c_int;
    }
    // SAFETY: a signal that a process has sent names its sender.
    let sender = Pid::from_raw(unsafe { info.si_pid() });
    sender.is_none_or(|sender| walk::ancestor_below(sender, cgrun).is_none())
}

/// Whether a child of ours runs our program. The children of a process become ours before we learn of its death.
fn has_guardian() -> bool {
    let own = rustix::process::getpid();
    let program = executable(own);
    program.is_some()
        && walk::children(own).is_ok_and(|all| all.into_iter().any(|it| executable(it) == program))
}

/// Notes the signal that has killed cgrun.
fn reap(cgrun: Pid, killed_by: &mut Option<c_int>) {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
        match Pid::from_raw(pid.max(0)) {
            Some(pid) if pid == cgrun && libc::WIFSIGNALED(status) => {
                *killed_by = Some(libc::WTERMSIG(status))
            }
            Some(pid) if pid == cgrun && libc::WIFEXITED(status) => exit(libc::WEXITSTATUS(status)),
            Some(_) => {}
            // Something else has reaped cgrun, so how it exited is unknown.
            None if pid < 0 && Errno::last() == Errno::ECHILD && killed_by.is_none() => exit(UNKNOWN),
            None => return,
        }
    }
}

fn exit(code: c_int) -> ! {
    // SAFETY: exits without unwinding; nothing of ours is left to do.
    unsafe { libc::_exit(code) }
}
