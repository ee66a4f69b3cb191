//! The rules for cgrun's exit code that several layers share.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::runtime::exit_code::{self, Exit};

/// Everything that the exit depends on, apart from the cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionEnd {
    /// It is known that nothing survived.
    pub is_proven: bool,
    /// How the command exited; `None` if it never ran.
    pub command: Option<ExitStatus>,
    /// The command was killed because it did not exit when asked to.
    pub command_killed: bool,
    /// Something leaked, and `--on-leak fail` is set.
    pub leak_fails: bool,
}

impl SessionEnd {
    /// The exit if the session is not proven clean. Takes precedence over all other rules.
    pub(super) fn unless_proven(&self) -> Option<Exit> {
        (!self.is_proven).then_some(Exit::Code(exit_code::NOT_PROVEN))
    }

    /// The command's own exit. A leak can only turn a success into a failure.
    pub(super) fn like_command(&self) -> Exit {
        let Some(status) = self.command else { return Exit::Code(exit_code::FAILED) };
        match (status.code(), status.signal()) {
            (Some(0), _) if self.leak_fails => Exit::Code(exit_code::LEAKED),
            (Some(code), _) => Exit::Code(code as u8),
            (None, signal) => Exit::Code(128 + signal.unwrap_or_default() as u8),
        }
    }

    /// After a signal to cgrun: dies of the same signal if the command had not started, died of it, or had
    /// to be killed. A command that handled the signal decides with its own exit.
    pub(super) fn after_signal(&self, signal: Signal) -> Exit {
        let died_of_it = self.command.is_none() || self.died_of(signal);
        if died_of_it || self.command_killed { Exit::Signal(signal) } else { self.like_command() }
    }

    pub(super) fn died_of(&self, signal: Signal) -> bool {
        self.command.is_some_and(|status| status.signal() == Some(signal as i32))
    }
}
