//! The controlling terminal: which process group may read from it, and its modes (tty(4), termios(3)).
//!
//! Only for a process that blocks or ignores SIGTTOU: otherwise the kernel stops it for most of this if it is in the
//! background.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, getpgrp, test_kill_process_group};
pub(crate) use rustix::termios::Termios;
use rustix::termios::{OptionalActions, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

use super::procfs::stat::living_group_of;
use super::procfs::walk::all_pids;

/// An open handle on the controlling terminal.
pub(crate) struct ControllingTerminal(OwnedFd);

impl ControllingTerminal {
    /// `None` if this process has none.
    pub(crate) fn open() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open("/dev/tty", flags, Mode::empty()).ok().map(Self)
    }

    /// Whether our process group is in the foreground.
    pub(crate) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.0).is_ok_and(|group| group == getpgrp())
    }

    /// Whether the foreground process group is ours, or has no processes left.
    pub(crate) fn is_free(&self) -> bool {
        match tcgetpgrp(&self.0) {
            Ok(group) => group == getpgrp() || !has_members(group),
            // A group that we cannot see, in another PID namespace, is 0, which rustix treats as an error.
            Err(_) => false,
        }
    }

    pub(crate) fn is_given_to(&self, group: Pid) -> bool {
        tcgetpgrp(&self.0).is_ok_and(|foreground| foreground == group)
    }

    /// Puts `group` into the foreground. It has to be in our session (setsid(2)).
    pub(crate) fn give_to(&self, group: Pid) -> io::Result<()> {
        Ok(tcsetpgrp(&self.0, group)?)
    }

    pub(crate) fn modes(&self) -> io::Result<Termios> {
        Ok(tcgetattr(&self.0)?)
    }

    /// Sets them without waiting for pending output, because output that is never read would never be written.
    pub(crate) fn set_modes(&self, modes: &Termios) -> io::Result<()> {
        Ok(tcsetattr(&self.0, OptionalActions::Now, modes)?)
    }
}

/// The process group of `pid`; `None` if there is no such process.
pub(crate) fn group_of(pid: Pid) -> Option<Pid> {
    rustix::process::getpgid(Some(pid)).ok()
}

/// Whether a process of `group` lives. kill(2) also counts zombies, for example those that a stopped parent has not
/// reaped.
fn has_members(group: Pid) -> bool {
    !matches!(test_kill_process_group(group), Err(Errno::SRCH))
        && all_pids().is_ok_and(|mut pids| pids.any(|pid| living_group_of(pid) == Some(group)))
}
