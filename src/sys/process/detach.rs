//! Forks a detached process, which no signal to us reaches: it has its own session, is a child of the host's
//! first process, and keeps only the descriptors that it needs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;

/// Forks a detached process, which runs `body` and exits. Returns once it is detached.
///
/// Must be called while this process has a single thread. Processes that are orphaned during the call do not
/// become our children.
pub(crate) fn fork_detached(body: impl FnOnce()) -> io::Result<()> {
    // If we remained a subreaper, it would be re-parented to us.
    let subreaper = nix::sys::prctl::get_child_subreaper()?;
    nix::sys::prctl::set_child_subreaper(false)?;
    let result = fork_twice(body);
    nix::sys::prctl::set_child_subreaper(subreaper)?;
    result
}

fn fork_twice(body: impl FnOnce()) -> io::Result<()> {
    // SAFETY: this process has one thread, so the child finds no lock held.
    match Errno::result(unsafe { libc::fork() })? {
        0 => {
            // SAFETY: as above; it exits without unwinding, so no code of the parent runs.
            unsafe {
                match libc::fork() {
                    0 => {
                        libc::setsid();
                        let _ = catch_unwind(AssertUnwindSafe(body));
                        libc::_exit(0)
                    }
                    -1 => libc::_exit(Errno::last_raw()),
                    _ => libc::_exit(0),
                }
            }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for the child just made; `status` outlives the call.
            while unsafe { libc::waitpid(pid, &mut status, 0) } == -1 {
                match Errno::last() {
                    Errno::EINTR => {}
                    errno => return Err(errno.into()),
                }
            }
            match libc::WEXITSTATUS(status) {
                0 => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
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
    let null = open_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
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
    std::mem::forget(null);
    Ok(())
}
