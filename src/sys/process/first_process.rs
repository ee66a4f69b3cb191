//! The first process of a PID namespace, as in a container, inherits the orphans of all others, including those
//! that `docker exec` starts beside the session. So cgrun continues as a child of that process: as a subreaper, it
//! only inherits the orphans of the session. The first process reaps the rest, and passes signals on.

use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::process::Pid;

use crate::sys::procfs::walk;

/// The exit code for a failure of cgrun.
const UNKNOWN: c_int = 125;

static IS_BEHIND_US: AtomicBool = AtomicBool::new(false);
/// Where cgrun tells the first process the guardian's pid: memory that both share.
static GUARDIAN: AtomicPtr<AtomicI32> = AtomicPtr::new(null_mut());

/// Whether our parent is the first process of our PID namespace, and only reaps and passes signals on to us.
pub(crate) fn is_behind_us() -> bool {
    IS_BEHIND_US.load(Ordering::Relaxed)
}

/// Names the process that ends the session if cgrun is killed, so that the first process waits for it.
pub(crate) fn wait_for(guardian: Pid) {
    if let Some(named) = named_guardian() {
        named.store(guardian.as_raw_nonzero().get(), Ordering::Relaxed);
    }
}

fn named_guardian() -> Option<&'static AtomicI32> {
    // SAFETY: null, or memory that is never unmapped.
    unsafe { GUARDIAN.load(Ordering::Relaxed).as_ref() }
}

fn share_memory() {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: new memory, which is zero and aligned to a page.
    let memory = unsafe { libc::mmap(null_mut(), size_of::<AtomicI32>(), access, kind, -1, 0) };
    if memory != libc::MAP_FAILED {
        GUARDIAN.store(memory.cast(), Ordering::Relaxed);
    }
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
    share_memory();
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

/// Whether the guardian is our child, as the children of a process are before we learn of its death.
fn has_guardian() -> bool {
    let Some(pid) = named_guardian().map(|it| it.load(Ordering::Relaxed)).filter(|pid| *pid > 0) else {
        return false;
    };
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: as above; waitid(2) fills it and reaps nothing.
    unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut std::mem::zeroed(), how) == 0 }
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
