//! fork(2), clone(2) and clone3(2): the ways to make a process.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use rustix::process::Pid;

use super::pidfd::Process;

/// clone3(2). Some versions of libc declare it too narrow, so that it overflows to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// As fork(2), with more of clone(2)'s `flags`: `CLONE_PARENT` for a sibling, `CLONE_NEWPID` and the like.
///
/// # Safety
/// As fork(2): with other threads alive the child may only call async-signal-safe functions. No `CLONE_VM`.
pub(super) unsafe fn fork_with(flags: c_int) -> nix::Result<libc::pid_t> {
    let flags = (flags | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: without CLONE_VM the child has its own copy of the memory and of the stack. The first two
    // arguments are the same everywhere but on s390, where a null stack and the flags change places.
    let pid = unsafe {
        #[cfg(target_arch = "s390x")]
        let pid = libc::syscall(libc::SYS_clone, 0, flags, 0, 0, 0);
        #[cfg(not(target_arch = "s390x"))]
        let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        pid
    };
    Errno::result(pid as libc::pid_t)
}

/// Whether clone3(2) may be called here: it finds fault with no arguments at all (EINVAL), but a seccomp
/// filter does not let it come that far.
pub(crate) fn has_clone3() -> bool {
    // SAFETY: with a size of 0 the kernel reads nothing and makes no process.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<libc::clone_args>(), 0) };
    answer == -1 && Errno::last() == Errno::EINVAL
}

/// Forks: into `directory` by clone3, or in place. `None` in the child.
///
/// # Safety
/// As fork(2): with other threads alive the child may only call async-signal-safe functions.
pub(super) unsafe fn fork(directory: Option<BorrowedFd<'_>>) -> io::Result<Option<Process>> {
    let Some(directory) = directory else {
        // SAFETY: the caller's.
        let pid = unsafe { libc::fork() };
        return match Errno::result(pid)? {
            0 => Ok(None),
            // Our own unreaped child: the number cannot have changed hands.
            pid => match Pid::from_raw(pid).map(Process::open).transpose()?.flatten() {
                Some(process) => Ok(Some(process)),
                None => Err(io::Error::other("the kernel denies a child it has just made")),
            },
        };
    };
    let mut pidfd: c_int = -1;
    // SAFETY: clone_args is plain numbers, for which zero means "not used".
    let mut args = unsafe { std::mem::zeroed::<libc::clone_args>() };
    args.flags = libc::CLONE_PIDFD as u64 | CLONE_INTO_CGROUP;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = directory.as_raw_fd() as u64;
    // SAFETY: no CLONE_VM, so the child has its own copy of the memory and of the stack;
    // `args` and `pidfd` outlive the call (clone3(2)).
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match (Errno::result(pid)?, Pid::from_raw(pid as i32)) {
        (_, Some(pid)) => {
            // SAFETY: the kernel has just put a new descriptor there, which nobody else owns.
            let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Process::from_parts(pid, fd)))
        }
        (_, None) => Ok(None),
    }
}
