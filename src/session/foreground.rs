//! The terminal during the command, treated as a shell treats it for its jobs. The shell above cannot do this because it
//! does not know the command: the terminal follows a command that makes its own process group, and its modes are
//! restored if the command is killed.

use std::time::Duration;

use rustix::process::{Pid, getpgrp};

use crate::runtime::clock;
use crate::sys::job_control::{ControllingTerminal, Termios, group_of};
use crate::sys::process::pidfd::Process;
use crate::sys::time::Instant;

/// When to check whether the command has made its own process group, counted from its start. timeout(1) makes one, and
/// nothing announces that its child has stopped because it reads from the terminal. A shell with job control gives itself
/// the terminal long before that, and must not be disturbed.
const CHECK: Duration = Duration::from_secs(1);
/// How often to check whether a stopped command that no shell can continue can have the terminal now.
const STUCK_TICK: Duration = Duration::from_secs(1);

/// What is known about the terminal. It is opened for each use, because another program may wait until no process
/// has it open.
#[derive(Default)]
pub(super) struct Foreground {
    /// The modes before the command started; `None` if it did not start in the foreground.
    modes: Option<Termios>,
    /// When to check whether the command has its own process group.
    check_at: Option<Instant>,
    /// The command's own process group, if it has the terminal instead of ours.
    lent_to: Option<Pid>,
    /// The command is stopped, and no shell can continue it.
    is_stuck: bool,
}

impl Foreground {
    /// Called when the command starts.
    pub(super) fn at_start(terminal: Option<&ControllingTerminal>) -> Self {
        let modes = terminal.filter(|it| it.is_ours()).and_then(|it| it.modes().ok());
        let check_at = modes.is_some().then(|| clock::now() + CHECK);
        Self { modes, check_at, ..Self::default() }
    }

    /// When to call [`check`](Self::check).
    pub(super) fn deadline(&self) -> Option<Instant> {
        let stuck = self.is_stuck.then(|| clock::now() + STUCK_TICK);
        self.check_at.into_iter().chain(stuck).min()
    }

    pub(super) fn is_lent(&self) -> bool {
        self.lent_to.is_some()
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    pub(super) fn set_stuck(&mut self, is_stuck: bool) {
        self.is_stuck = is_stuck;
    }

    /// Lends the terminal to a running command that has made its own process group, once the check is due.
    pub(super) fn check(&mut self, command: Option<&Process>) {
        if self.check_at.take_if(|due| clock::now() >= *due).is_none() {
            return;
        }
        let Some(command) = command.filter(|command| group_of(command.pid) == Some(command.pid)) else {
            return;
        };
        if let Some(terminal) = ControllingTerminal::open().filter(ControllingTerminal::is_ours) {
            self.lend(&terminal, command);
        }
    }

    /// Gives the terminal to the command's own process group and continues that group. `false` if there is no such group,
    /// or another one uses the terminal.
    pub(super) fn lend(&mut self, terminal: &ControllingTerminal, command: &Process) -> bool {
        let Some(group) = group_of(command.pid).filter(|&group| group != getpgrp()) else { return false };
        // The kernel refuses a group of another session.
        if !terminal.is_free() || terminal.give_to(group).is_err() {
            return false;
        }
        self.lent_to = Some(group);
        self.is_stuck = false;
        continue_group(group);
        true
    }

    /// Continues the command after we were stopped, with the terminal if it had it before.
    pub(super) fn resume(&mut self, command: &Process) {
        if self.modes.is_none() {
            // The command has come to the foreground.
            let terminal = ControllingTerminal::open().filter(ControllingTerminal::is_ours);
            self.modes = terminal.and_then(|it| it.modes().ok());
        }
        let Some(group) = self.lent_to else { return };
        let has_it = ControllingTerminal::open().is_some_and(|terminal| self.lend(&terminal, command));
        if !has_it && group_of(command.pid) == Some(group) {
            continue_group(group);
        }
    }

    /// Takes the terminal back from the command's group, or from a group that has no processes left.
    pub(super) fn take_back(&mut self) {
        let lent_to = self.lent_to.take();
        if lent_to.is_none() && self.modes.is_none() {
            return;
        }
        let is_left = |terminal: &ControllingTerminal| {
            !terminal.is_ours()
                && (lent_to.is_some_and(|group| terminal.is_given_to(group)) || terminal.is_free())
        };
        if let Some(terminal) = ControllingTerminal::open().filter(is_left) {
            let _ = terminal.give_to(getpgrp());
        }
    }

    /// Restores the modes if we are in the foreground, as a shell does after a job that was killed.
    pub(super) fn restore_modes(&self) {
        let Some(modes) = &self.modes else { return };
        if let Some(terminal) = ControllingTerminal::open().filter(ControllingTerminal::is_ours) {
            let _ = terminal.set_modes(modes);
        }
    }
}

/// Only for a group that the command is in: until it is reaped, no other group can have that number.
fn continue_group(group: Pid) {
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::CONT);
}
