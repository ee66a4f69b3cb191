//! A process held by its pidfd, so that a signal can never reach another process that reuses the pid.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags};

use crate::sys::poll::timeout_until;
use crate::sys::procfs::stat::ProcStat;
use crate::sys::signals::RELAYED;
use crate::sys::time::Instant;

/// A handle on one process. It keeps referring to that process even if the pid is reused.
#[derive(Debug)]
pub(crate) struct Process {
    pub pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// Takes over the descriptor that `clone3(CLONE_PIDFD)` returned.
    pub(crate) fn from_parts(pid: Pid, fd: OwnedFd) -> Self {
        Self { pid, fd }
    }

    /// Opens `pid`; `None` if no such process exists.
    ///
    /// Unless the process is an unreaped child of ours, the caller must check *afterwards* that it is the
    /// intended one: the pid may have been reused before the call (pidfd_open(2)).
    pub(crate) fn open(pid: Pid) -> io::Result<Option<Self>> {
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self { pid, fd })),
            // If it is reaped during the call, the error is EINVAL before Linux 6.15 and ENOENT since.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether a process has this pid, even if /proc hides it (`hidepid`, proc(5)).
    pub(crate) fn exists(pid: Pid) -> bool {
        Self::open(pid).is_ok_and(|process| process.is_some_and(|process| !process.has_exited()))
    }

    /// Opens `pid` and reads its stat, which then belongs to the opened process: it is read last, because until the
    /// pidfd is open, the pid may be reused. `None` if it has exited or cannot be opened.
    pub(crate) fn open_with_stat(pid: Pid) -> Option<(Self, ProcStat)> {
        let process = Self::open(pid).ok()??;
        Some((process, ProcStat::read(pid)?))
    }

    /// Opens a child that we have just created. If that fails, the child is killed and reaped.
    pub(super) fn open_new_child(pid: Pid) -> io::Result<Self> {
        // Our own unreaped child, so the pid cannot have been reused.
        let opened = Self::open(pid).and_then(|child| {
            let gone = "the kernel reports no such process for the child that was just created";
            child.ok_or_else(|| io::Error::other(gone))
        });
        if opened.is_err() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
        opened
    }

    /// Sends `signal`; `false` if the process has already exited.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let signal = rustix::process::Signal::from_named_raw(signal as i32)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        match rustix::process::pidfd_send_signal(&self.fd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends `signal` as sigqueue(3) does. Another cgrun takes that as a request even if we are in its session.
    pub(crate) fn request(&self, signal: Signal) -> io::Result<bool> {
        self.queue(signal, 0)
    }

    /// Passes on to a supervisor a `signal` that its guardian has received.
    pub(crate) fn relay(&self, signal: Signal) -> io::Result<bool> {
        self.queue(signal, RELAYED)
    }

    /// Sends `signal` with a number that the kernel does not use, but hands over.
    fn queue(&self, signal: Signal, number: libc::c_int) -> io::Result<bool> {
        // SAFETY: a siginfo_t is plain numbers, which may all be zero.
        let mut info = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
        info.si_signo = signal as libc::c_int;
        info.si_code = libc::SI_QUEUE;
        info.si_errno = number;
        // SAFETY: `info` outlives the call, which only reads it (pidfd_send_signal(2)).
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), info.si_signo, &raw const info, 0)
        };
        match Errno::result(sent) {
            Ok(_) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends `signal` to the process group that this process leads. Only for an unreaped child of ours: until
    /// it is reaped, no other group can have its number.
    pub(crate) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        let group = nix::unistd::Pid::from_raw(self.pid.as_raw_nonzero().get());
        Ok(nix::sys::signal::killpg(group, signal)?)
    }

    /// Waits until the process has exited, for at most `limit`. Returns whether it has.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let timeout = timeout_until(deadline, Instant::now());
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], timeout.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether it has exited. `false` if that cannot be determined.
    pub(crate) fn has_exited(&self) -> bool {
        self.wait(Duration::ZERO).unwrap_or(false)
    }
}

impl AsFd for Process {
    /// Readable once the process has exited.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
