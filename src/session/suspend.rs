//! Ctrl-Z: the whole session stops, and goes on with `fg`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::Session;
use crate::runtime::clock;
use crate::sys::children;
use crate::sys::signals::{self, Caught};
use crate::sys::tty;

/// A command may have to put the terminal in order before it stops (editors do). After this time it
/// is stopped as it is.
const TIDYING: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(2);

impl Session<'_> {
    /// Whether the command has stopped by itself, as pagers do on Ctrl-Z. The shell waits for us alone
    /// and could not tell. Without a terminal nobody could resume us.
    pub(super) fn command_stopped(&self) -> Result<Option<Caught>> {
        let Some(command) = self.context.command().filter(|command| command.status.is_none()) else {
            return Ok(None);
        };
        let signal = children::stopped_by(command.leader.pid).context("cannot look at the command")?;
        let stopped = signal.map(|signal| Caught { signal, from_terminal: true });
        Ok(stopped.filter(|it| it.is_about_stopping() && tty::has_terminal()))
    }

    /// Stops the session's processes and ourselves, until somebody sends SIGCONT. Time stands still
    /// meanwhile: no deadline passes.
    pub(super) fn suspend(&mut self, caught: Caught) -> Result<()> {
        self.report.clear();
        if let Some(command) = self.context.command() {
            if !caught.from_terminal {
                self.pass_on(caught.signal, command);
            }
            let patience = Instant::now() + TIDYING;
            while children::is_running(command.leader.pid)? && Instant::now() < patience {
                std::thread::sleep(LOOK);
            }
        }
        self.context.containment.freeze(true)?;
        let begin = Instant::now();
        // Whoever has continued us meanwhile would not do so again.
        let stopped =
            if signals::is_pending(Signal::SIGCONT) { Ok(()) } else { signals::stop_by(caught.signal) };
        clock::stood_still(begin.elapsed());
        self.context.containment.freeze(false)?;
        stopped.context("cannot stop ourselves")?;
        if let Some(command) = self.context.command() {
            // Whoever continued us may not have continued it.
            self.pass_on(Signal::SIGCONT, command);
        }
        Ok(())
    }
}
