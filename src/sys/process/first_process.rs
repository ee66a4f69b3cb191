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
/// The signals that ask for an exit, which cgrun and its guardian block: none of them is killed by one.
const ASK_TO_EXIT: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
/// Room for the guardians and processes of all shards: a page.
const PLACES: usize = 1024;

type Places = [AtomicI32; PLACES];

static IS_BEHIND_US: AtomicBool = AtomicBool::new(false);
static IS_SHARD: AtomicBool = AtomicBool::new(false);
/// Where cgrun names the processes that the first process has to wait for: memory that all of them share.
static NAMED: AtomicPtr<Places> = AtomicPtr::new(null_mut());

/// Whether our parent, or that of the process that started us as a shard, is the first process of our PID namespace, and
/// only reaps and passes signals on to us.
pub(crate) fn is_behind_us() -> bool {
    IS_BEHIND_US.load(Ordering::Relaxed)
}

/// Whether the first process exits after our session, and takes all that is left with it. It outlives a shard.
pub(crate) fn exits_after_us() -> bool {
    is_behind_us() && !IS_SHARD.load(Ordering::Relaxed)
}

/// Must be called in a shard before it starts anything: the first process waits for it, even if what started it is killed.
pub(crate) fn we_are_a_shard() {
    IS_SHARD.store(true, Ordering::Relaxed);
    wait_for(rustix::process::getpid());
}

/// Names a process that ends a session if cgrun is killed, so that the first process waits for it.
pub(crate) fn wait_for(process: Pid) {
    replace(0, process.as_raw_nonzero().get());
}

/// Must be called when the process is reaped, because another one can get its pid.
pub(crate) fn forget(process: Pid) {
    replace(process.as_raw_nonzero().get(), 0);
}

/// Whether the process ends a session of this cgrun.
pub(crate) fn is_named(process: Pid) -> bool {
    named().any(|pid| pid == process)
}

fn places() -> &'static [AtomicI32] {
    // SAFETY: null, or memory of this size that is never unmapped.
    unsafe { NAMED.load(Ordering::Relaxed).as_ref() }.map_or(&[], |it| it)
}

/// Several processes do this at once.
fn replace(old: i32, new: i32) {
    let is_swapped = |it: &AtomicI32| {
        it.load(Ordering::Relaxed) == old
            && it.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    };
    let _ = places().iter().find(|it| is_swapped(it));
}

fn named() -> impl Iterator<Item = Pid> {
    places().iter().map(|it| it.load(Ordering::Relaxed)).filter(|it| *it > 0).filter_map(Pid::from_raw)
}

fn share_memory() {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: new memory, which is zero and aligned to a page.
    let memory = unsafe { libc::mmap(null_mut(), size_of::<Places>(), access, kind, -1, 0) };
    if memory != libc::MAP_FAILED {
        NAMED.store(memory.cast(), Ordering::Relaxed);
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

/// Reaps, and passes signals on to cgrun, until that exits. If it was killed, or a shard of it, a guardian ends the session: it
/// is our child now, and our own exit would kill it.
fn serve(cgrun: Pid, signals: &SigSet) -> ! {
    let mut ended = None;
    loop {
        if let Some(code) = ended.filter(|_| named_children().next().is_none()) {
            exit(code);
        }
        // SAFETY: a `siginfo_t` is plain numbers, which may all be zero; sigwaitinfo(2) fills it.
        let (signal, info) = unsafe {
            let mut info = std::mem::zeroed::<libc::siginfo_t>();
            (libc::sigwaitinfo(signals.as_ref(), &mut info), info)
        };
        match signal {
            libc::SIGCHLD => reap(cgrun, &mut ended),
            signal if signal > 0 => pass_on(signal, &info, cgrun, ended.is_some()),
            _ => {}
        }
    }
}

/// After cgrun, a request to exit makes those hurry that still work.
fn pass_on(signal: c_int, info: &libc::siginfo_t, cgrun: Pid, has_ended: bool) {
    let send = |pid: Pid| {
        // SAFETY: sends a signal to our own unreaped child.
        unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
    };
    if !has_ended {
        if is_from_outside(cgrun, signal, info) {
            send(cgrun);
        }
    } else if ASK_TO_EXIT.iter().any(|it| *it as c_int == signal)
        && is_from_outside(rustix::process::getpid(), signal, info)
    {
        named_children().for_each(send);
    }
}

/// Whether to pass a signal on. The terminal has sent its signals to cgrun too, except for a hangup. Signals that the
/// session sends to the first process are not meant for cgrun: its processes are below `top`.
fn is_from_outside(top: Pid, signal: c_int, info: &libc::siginfo_t) -> bool {
    if info.si_code == libc::SI_KERNEL {
        return signal == Signal::SIGHUP as c_int;
    }
    // SAFETY: a signal that a process has sent names its sender.
    let sender = Pid::from_raw(unsafe { info.si_pid() });
    sender.is_none_or(|sender| walk::ancestor_below(sender, top).is_none())
}

/// The named processes that are our children, as those of a process are before we learn of its death.
fn named_children() -> impl Iterator<Item = Pid> {
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    named().filter(move |pid| {
        let pid = pid.as_raw_nonzero().get() as libc::id_t;
        // SAFETY: a `siginfo_t` as above; waitid(2) fills it and reaps nothing.
        unsafe { libc::waitid(libc::P_PID, pid, &mut std::mem::zeroed(), how) == 0 }
    })
}

/// Notes the exit code of cgrun. If it was killed, that is as a shell reports it: the first process cannot kill itself with a
/// signal.
fn reap(cgrun: Pid, ended: &mut Option<c_int>) {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
        match Pid::from_raw(pid.max(0)) {
            Some(pid) if pid == cgrun && libc::WIFSIGNALED(status) => {
                *ended = Some(128 + libc::WTERMSIG(status))
            }
            Some(pid) if pid == cgrun && libc::WIFEXITED(status) => *ended = Some(libc::WEXITSTATUS(status)),
            Some(pid) => forget(pid),
            // Something else has reaped cgrun, so how it exited is unknown.
            None if pid < 0 && Errno::last() == Errno::ECHILD && ended.is_none() => exit(UNKNOWN),
            None => return,
        }
    }
}

fn exit(code: c_int) -> ! {
    // SAFETY: exits without unwinding; nothing of ours is left to do.
    unsafe { libc::_exit(code) }
}
