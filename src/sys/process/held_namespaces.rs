//! New namespaces that a child holds, so that another program can be connected to them before this process enters them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::fork::fork;
use super::namespace::map_user;
use super::pidfd::Process;
use super::{capabilities, detach};

/// How long the child may take, even on a slow machine.
const BEGINNING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

#[derive(Debug)]
pub(crate) struct HeldNamespaces {
    child: Process,
    /// The child exits when this is closed.
    line: Option<OwnedFd>,
    flags: CloneFlags,
}

impl HeldNamespaces {
    /// Must be called while this process has a single thread.
    pub(crate) fn create(flags: CloneFlags) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // SAFETY: this process has one thread, so the child finds no lock held.
        let Some(child) = (unsafe { fork(None) })? else {
            let made = make(flags).and_then(|()| detach::keep_only(&[theirs.as_fd()]));
            let errno = made.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            let _ = send(&theirs, &errno.to_ne_bytes(), SendFlags::NOSIGNAL);
            while matches!(recv(&theirs, &mut [0u8; 1][..], RecvFlags::empty()), Err(rustix::io::Errno::INTR))
            {
            }
            // SAFETY: exits without unwinding, so no code of the parent runs.
            unsafe { libc::_exit(0) }
        };
        drop(theirs);
        let held = Self { child, line: Some(ours), flags };
        held.hear().map(|()| held)
    }

    fn hear(&self) -> io::Result<()> {
        let silent = || io::Error::other("the child that creates them sent no reply");
        let line = self.line.as_ref().ok_or_else(silent)?;
        if !matches!(poll(&mut [PollFd::new(line, PollFlags::IN)], Some(&BEGINNING)), Ok(1)) {
            return Err(silent());
        }
        let mut errno = [0u8; 4];
        match recv(line, &mut errno, RecvFlags::DONTWAIT)? {
            (4, _) if errno == [0; 4] => Ok(()),
            (4, _) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            _ => Err(silent()),
        }
    }

    /// The process that is in them.
    pub(crate) fn pid(&self) -> Pid {
        self.child.pid
    }

    /// Moves this process into them.
    ///
    /// Must be called while this process has a single thread.
    pub(crate) fn enter(self) -> io::Result<()> {
        Ok(setns(&self.child, self.flags)?)
    }
}

impl Drop for HeldNamespaces {
    fn drop(&mut self) {
        self.line = None;
        let _ = waitpid(Some(self.child.pid), WaitOptions::empty());
    }
}

fn make(flags: CloneFlags) -> io::Result<()> {
    // In the user namespace they have no meaning until they are mapped.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(flags)?;
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        map_user(uid, gid)?;
    }
    // A program with fewer capabilities than this process could not look into its namespaces, and neither if this process had
    // acted as another user before (ptrace(2)).
    capabilities::drop_all()?;
    Ok(nix::sys::prctl::set_dumpable(true)?)
}
