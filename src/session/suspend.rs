//! Ctrl-Z: the whole session stops, and `fg` continues it.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::running_session::Session;
use crate::runtime::clock;
use crate::sys::job_control::ControllingTerminal;
use crate::sys::process::children;
use crate::sys::signals::{self, Caught};
use crate::sys::time::{self, Instant};

/// A command may restore the terminal before it stops (editors do). After this time it is stopped anyway.
const TIDYING: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(2);

impl Session<'_> {
    /// Whether the command has stopped itself, as pagers do on Ctrl-Z. The shell waits only for us and would
    /// not notice. Without a terminal this is ignored, because nothing would resume us.
    ///
    /// If it has stopped because it uses the terminal from a process group of its own, it gets the terminal instead.
    pub(super) fn command_stopped(&mut self) -> Result<Option<Caught>> {
        let Some(command) = self.context.command().filter(|command| command.status.is_none()) else {
            return Ok(None);
        };
        let signal = children::stopped_by(command.leader.pid)
            .context("cannot read the state of the command (waitid)")?;
        let caught = signal.map(|signal| Caught { signal, from_terminal: true });
        let Some(caught) = caught.filter(|it| it.is_about_stopping()) else {
            self.foreground.set_stuck(false);
            return Ok(None);
        };
        let Some(terminal) = ControllingTerminal::open() else { return Ok(None) };
        let is_left_stopped = caught.is_about_terminal_use()
            && self.foreground.lend(&terminal, &command.leader)
            || self.foreground.is_stuck();
        Ok((!is_left_stopped).then_some(caught))
    }

    /// Stops the session's processes and ourselves until SIGCONT. The session's clock is paused, so no
    /// deadline passes.
    pub(super) fn suspend(&mut self, caught: Caught) -> Result<()> {
        self.report.clear();
        if let Some(command) = self.context.command() {
            if !caught.from_terminal {
                self.pass_on(caught.signal, command);
            }
            let patience = Instant::now() + TIDYING;
            while children::is_running(command.leader.pid)? && Instant::now() < patience {
                time::sleep(POLL);
            }
        }
        self.context.containment.freeze(true)?;
        let begin = Instant::now();
        // A SIGCONT that has already arrived would not come again.
        let stopped = match signals::is_pending(Signal::SIGCONT) {
            true => Ok(()),
            // The terminal stopped only the command's own group, instead of the whole job.
            false if self.foreground.is_lent() => signals::stop_group_by(caught.signal),
            false => signals::stop_by(caught.signal),
        };
        clock::stood_still(begin.elapsed());
        self.context.containment.freeze(false)?;
        stopped.context("cannot suspend cgrun")?;
        // No shell can stop and continue us, so a continued command would only stop again.
        let is_stuck = caught.is_about_terminal_use() && !signals::is_pending(Signal::SIGCONT);
        self.foreground.set_stuck(is_stuck);
        // While we were stopped, another process may have got the pid of a command that has been reaped.
        let command = self.context.command().filter(|command| command.status.is_none());
        if let Some(command) = command.filter(|_| !is_stuck) {
            self.foreground.resume(&command.leader);
            // Whatever continued us may not have continued the command.
            self.pass_on(Signal::SIGCONT, command);
        }
        Ok(())
    }
}
