//! Ctrl-Z: the whole session stops, and `fg` continues it.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::running_session::Session;
use crate::runtime::clock;
use crate::sys::process::children;
use crate::sys::signals::{self, Caught};
use crate::sys::terminal;
use crate::sys::time::{self, Instant};

/// A command may restore the terminal before it stops (editors do). After this time it is stopped anyway.
const TIDYING: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(2);

impl Session<'_> {
    /// Whether the command has stopped itself, as pagers do on Ctrl-Z. The shell waits only for us and would
    /// not notice. Without a terminal this is ignored, because nothing would resume us.
    pub(super) fn command_stopped(&self) -> Result<Option<Caught>> {
        let Some(command) = self.context.command().filter(|command| command.status.is_none()) else {
            return Ok(None);
        };
        let signal = children::stopped_by(command.leader.pid)
            .context("cannot read the state of the command (waitid)")?;
        let stopped = signal.map(|signal| Caught { signal, from_terminal: true });
        Ok(stopped.filter(|it| it.is_about_stopping() && terminal::has_terminal()))
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
        let stopped =
            if signals::is_pending(Signal::SIGCONT) { Ok(()) } else { signals::stop_by(caught.signal) };
        clock::stood_still(begin.elapsed());
        self.context.containment.freeze(false)?;
        stopped.context("cannot stop ourselves")?;
        if let Some(command) = self.context.command() {
            // Whatever continued us may not have continued the command.
            self.pass_on(Signal::SIGCONT, command);
        }
        Ok(())
    }
}
