//! New namespaces that a child holds, so that another program can be connected to them before this process enters them.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::fork::fork;
use super::line::Line;
use super::namespace::unshare;
use super::pidfd::Process;
use super::{capabilities, detach};

/// How long the child may take, even on a slow machine.
const BEGINNING: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct HeldNamespaces {
    child: Process,
    line: Line,
    flags: CloneFlags,
}

impl HeldNamespaces {
    /// Must be called while this process has a single thread.
    pub(crate) fn create(flags: CloneFlags) -> io::Result<Self> {
        let (ours, theirs) = Line::pair()?;
        // SAFETY: this process has one thread, so the child finds no lock held.
        let Some(child) = (unsafe { fork(None) })? else {
            drop(ours);
            match make(flags).and_then(|()| detach::keep_only(&[theirs.as_fd()])) {
                Ok(()) => {
                    theirs.say(&0i32.to_ne_bytes());
                    theirs.until_closed();
                }
                Err(error) => theirs.say(&error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes()),
            }
            // SAFETY: exits without unwinding, so no code of the parent runs.
            unsafe { libc::_exit(0) }
        };
        drop(theirs);
        let held = Self { child, line: ours, flags };
        let said = held.line.hear(BEGINNING)?;
        match <[u8; 4]>::try_from(said.as_slice()).map(i32::from_ne_bytes) {
            Ok(0) => Ok(held),
            Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
            Err(_) => Err(io::Error::other("the child that creates them died")),
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
        let _ = self.child.signal(Signal::SIGKILL);
        let _ = waitpid(Some(self.child.pid), WaitOptions::empty());
    }
}

fn make(flags: CloneFlags) -> io::Result<()> {
    unshare(flags)?;
    // A program with fewer capabilities than this process could not look into its namespaces, and neither if this process had
    // acted as another user before (ptrace(2)).
    capabilities::drop_all()?;
    Ok(nix::sys::prctl::set_dumpable(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_and_leaves_no_child() {
        // unshare(2) does not know the flag.
        let error = HeldNamespaces::create(CloneFlags::CLONE_PTRACE).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
