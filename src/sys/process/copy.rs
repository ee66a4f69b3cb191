//! A copy of this process that runs beside it.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::process::{Pid, getpid, getppid};

use super::fork::fork;
use super::pidfd::Process;
use crate::sys::terminal::to_stderr;
use crate::text::plain;

/// The exit code for a failure of cgrun.
const FAILED: i32 = 125;

/// Where the copy writes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outputs<'a> {
    pub out: BorrowedFd<'a>,
    pub err: BorrowedFd<'a>,
}

/// Returns `None` in the copy, which is asked to exit (SIGTERM) if we die. It is in a process group of its own, so that a
/// signal of the terminal reaches only us, and it reads nothing. An error is always ours.
///
/// Must be called while this process has a single thread.
pub(crate) fn copy(outputs: Outputs<'_>) -> io::Result<Option<Process>> {
    let (us, nothing) = (getpid(), File::open("/dev/null")?);
    // SAFETY: this process has one thread, so the copy finds no lock held.
    if let Some(copy) = unsafe { fork(None) }? {
        return Ok(Some(copy));
    }
    match settle(us, &nothing, outputs) {
        Ok(()) => Ok(None),
        Err(error) => give_up(&error),
    }
}

fn settle(parent: Pid, nothing: &File, outputs: Outputs<'_>) -> io::Result<()> {
    rustix::stdio::dup2_stdin(nothing)?;
    rustix::stdio::dup2_stdout(outputs.out)?;
    rustix::stdio::dup2_stderr(outputs.err)?;
    let itself = nix::unistd::Pid::from_raw(0);
    nix::unistd::setpgid(itself, itself)?;
    // A process that uses the terminal gets an error, and is not stopped: nothing would ever continue it.
    for use_of_terminal in [Signal::SIGTTIN, Signal::SIGTTOU] {
        // SAFETY: SIG_IGN is no handler of ours, so nothing of ours runs in signal context.
        unsafe { signal(use_of_terminal, SigHandler::SigIgn) }?;
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    match getppid() {
        Some(pid) if pid == parent => Ok(()),
        _ => Err(io::Error::other("the process that started it has died")),
    }
}

/// Never returns to what the parent does next.
fn give_up(error: &io::Error) -> ! {
    to_stderr(&format!("cgrun: cannot set up the shard: {}\n", plain(error)));
    std::process::exit(FAILED)
}
