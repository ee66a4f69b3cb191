//! Creates processes with fork(2), clone(2) and clone3(2).

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use rustix::process::Pid;

use super::pidfd::Process;

/// See clone3(2). Some versions of the libc crate declare it with too narrow a type, so that it overflows to
/// 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Like fork(2), with additional `flags` of clone(2), such as `CLONE_PARENT` for a sibling, or
/// `CLONE_NEWPID`.
///
/// # Safety
/// As fork(2): if other threads exist, the child may only call async-signal-safe functions. `flags` must not
/// contain `CLONE_VM`.
pub(super) unsafe fn fork_with(flags: c_int) -> nix::Result<libc::pid_t> {
    // SAFETY: the caller keeps the contract above.
    unsafe { clone(flags | libc::SIGCHLD) }
}

/// # Safety
/// As [`fork_with`].
unsafe fn clone(flags: c_int) -> nix::Result<libc::pid_t> {
    let flags = flags as libc::c_ulong;
    // SAFETY: without CLONE_VM the child has its own copy of the memory and of the stack. The first two
    // arguments have the same order on every architecture except s390, where a null stack and the flags are
    // swapped.
    let pid = unsafe {
        #[cfg(target_arch = "s390x")]
        let pid = libc::syscall(libc::SYS_clone, 0, flags, 0, 0, 0);
        #[cfg(not(target_arch = "s390x"))]
        let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        pid
    };
    Errno::result(pid as libc::pid_t)
}

/// Forks a child that sends no signal when it exits, so that only `__WALL` makes wait(2) see it. `None` in the
/// child.
///
/// # Safety
/// As fork(2): with other threads alive the child may only call async-signal-safe functions.
pub(super) unsafe fn fork_unseen() -> nix::Result<Option<Pid>> {
    // SAFETY: the caller keeps the contract above.
    unsafe { clone(0) }.map(Pid::from_raw)
}

/// Whether clone3(2) can be called here. The kernel answers EINVAL to a call without arguments; a seccomp
/// filter rejects the call earlier, with another error.
pub(crate) fn has_clone3() -> bool {
    // SAFETY: with a size of 0 the kernel reads nothing and creates no process.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<libc::clone_args>(), 0) };
    answer == -1 && Errno::last() == Errno::EINVAL
}

/// Forks, directly into the cgroup `directory` with clone3 if there is one. Returns `None` in the child.
///
/// # Safety
/// As fork(2): if other threads exist, the child may only call async-signal-safe functions.
pub(super) unsafe fn fork(directory: Option<BorrowedFd<'_>>) -> io::Result<Option<Process>> {
    let Some(directory) = directory else {
        // SAFETY: the caller keeps the contract above.
        let pid = unsafe { libc::fork() };
        return Pid::from_raw(Errno::result(pid)?).map(Process::open_new_child).transpose();
    };
    let mut pidfd: c_int = -1;
    let mut args = into_cgroup(directory, &mut pidfd);
    // SAFETY: no CLONE_VM, so the child has its own copy of the memory and of the stack;
    // `args` and `pidfd` outlive the call (clone3(2)).
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match (Errno::result(pid)?, Pid::from_raw(pid as i32)) {
        (_, Some(pid)) => {
            // SAFETY: the kernel has just stored a new descriptor there, which nothing else owns.
            let fd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Process::from_parts(pid, fd)))
        }
        (_, None) => Ok(None),
    }
}

/// The arguments of a clone3(2) that creates a child in the cgroup `directory` and stores its pidfd.
pub(super) fn into_cgroup(directory: BorrowedFd<'_>, pidfd: &mut c_int) -> libc::clone_args {
    // SAFETY: clone_args consists of plain numbers, for which zero means "not used".
    let mut args = unsafe { std::mem::zeroed::<libc::clone_args>() };
    args.flags = libc::CLONE_PIDFD as u64 | CLONE_INTO_CGROUP;
    args.pidfd = &raw mut *pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = directory.as_raw_fd() as u64;
    args
}
