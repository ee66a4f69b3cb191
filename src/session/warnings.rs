//! `--warn-after`: says that the command still runs, and goes on.

use std::time::Duration;

use crate::runtime::clock;
use crate::sys::time::Instant;

/// When to warn: after the time that was asked for, then after twice that time, and so on. A run that hangs overnight is
/// looked at in the morning, and needs more than one line, but not hundreds.
#[derive(Debug)]
pub(super) struct Warnings {
    begin: Instant,
    after: Duration,
}

impl Warnings {
    /// The command has just started.
    pub(super) fn begin(after: Duration) -> Self {
        Self { begin: clock::now(), after }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        self.begin + self.after
    }

    /// For how long the command has run, if it is time to say so.
    pub(super) fn due(&mut self) -> Option<Duration> {
        if clock::now() < self.next() {
            return None;
        }
        let after = self.after;
        self.after = after.saturating_mul(2);
        Some(after)
    }
}
