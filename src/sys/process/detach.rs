//! Forks a detached process, which no signal to us reaches: it has its own session, and keeps only the descriptors
//! that it needs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use rustix::process::Pid;

use super::fork::fork_unseen;

/// Forks a detached process, which runs `body` and exits. It is our child, so that it leaves no zombie if the
/// host's first process does not reap. wait(2) does not see it: ECHILD still proves that no other child is left.
///
/// Must be called while this process has a single thread.
pub(crate) fn fork_detached(body: impl FnOnce()) -> io::Result<Pid> {
    // SAFETY: this process has one thread, so the child finds no lock held.
    match unsafe { fork_unseen() }? {
        Some(pid) => Ok(pid),
        // SAFETY: as above; it exits without unwinding, so no code of the parent runs.
        None => unsafe {
            libc::setsid();
            let _ = catch_unwind(AssertUnwindSafe(body));
            libc::_exit(0)
        },
    }
}

/// Reaps a detached process that has exited.
pub(crate) fn reap_detached(pid: Pid) {
    // SAFETY: a null status is allowed (waitpid(2)).
    unsafe { libc::waitpid(pid.as_raw_nonzero().get(), std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
}

/// Some containers have no /dev/null. Nothing is read or written through what replaces it.
fn open_null() -> io::Result<OwnedFd> {
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty());
    null.or_else(|_| rustix::fs::memfd_create("null", rustix::fs::MemfdFlags::CLOEXEC))
        .map_err(io::Error::from)
}

/// Closes all descriptors except these, redirects the standard streams to /dev/null and leaves the working
/// directory, so that this process holds no pipe, lock or mount that others wait for.
pub(crate) fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    std::env::set_current_dir("/")?;
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).chain([0, 1, 2]).collect();
    kept.sort_unstable();
    let mut first = 0;
    for end in kept.into_iter().chain([u32::MAX]) {
        if first < end {
            // SAFETY: these descriptors are not used by anything that runs in this process from now on.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) })?;
        }
        first = end.saturating_add(1);
    }
    // Only now is a descriptor certainly free.
    let null = open_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
