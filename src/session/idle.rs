//! `--idle-timeout`: notices that the command has done nothing for that long.

use std::time::Duration;

use super::activity::ActivityMeter;
use crate::runtime::clock;
use crate::sys::time::Instant;
use crate::teardown::Component;

/// How many times the command is looked at within the limit, which is also how exactly the limit is kept.
const LOOKS: u32 = 10;
/// In less, a few slow wakes would look like work.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);
/// Looking takes at most this part of the time, however many processes there are.
const SHARE: u32 = 20;

#[derive(Debug)]
pub(super) struct IdleWatch {
    limit: Duration,
    meter: ActivityMeter,
    worked_at: Instant,
    pub next_look: Instant,
}

impl IdleWatch {
    pub(super) fn begin(limit: Duration, command: &Component) -> Self {
        let now = clock::now();
        let meter = ActivityMeter::begin(command);
        Self { limit, meter, worked_at: now, next_look: now + interval(limit) }
    }

    /// Looks at the command if it is time to, and returns the limit if the command was idle for that long.
    pub(super) fn ran_out(&mut self, command: &Component) -> Option<Duration> {
        let now = clock::now();
        if now < self.next_look {
            return None;
        }
        // On a host that stood still or is overloaded, we are late, and the command had no chance to work either.
        let late = now - self.next_look;
        self.worked_at = if self.meter.has_worked(command) { now } else { self.worked_at + late };
        let end = self.worked_at + self.limit;
        if now >= end {
            return Some(self.limit);
        }
        let pause = interval(self.limit).max(clock::since(now) * SHARE);
        self.next_look = (clock::now() + pause).min(end);
        None
    }
}

fn interval(limit: Duration) -> Duration {
    (limit / LOOKS).clamp(SHORTEST, LONGEST)
}
