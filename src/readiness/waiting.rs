//! Waits for one service: runs its probe, with pauses and a deadline.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Pid;

use super::command::CommandCheck;
use super::http::HttpCheck;
use super::listeners::{ListenerCheck, NotOurs, PortListeners, own_listener};
use super::log::LogCheck;
use super::probe::{ProbeCheck, Progress};
use crate::plan::{Probe, ServicePlan};
use crate::runtime::clock;
use crate::sys::time::Instant;

/// No event announces that a socket starts to listen, so we look this often at first. One look takes 100 µs.
const OFTEN: Duration = Duration::from_millis(2);
/// How often we look in the end.
const SELDOM: Duration = Duration::from_millis(10);
/// In between, a look may come late by this part of the time that the service has taken so far.
const PART: u32 = 250;
/// The pause after a failed attempt: the first one, and the longest.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whether a service is ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    NotYet,
    /// Start the readiness command, and pass its pid to [`Waiting::command_started`].
    RunCommand,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub since: Instant,
    pub deadline: Instant,
    probe: Box<dyn ProbeCheck>,
    /// No attempt is made before this time.
    not_before: Instant,
    pause: Duration,
    /// Why the probe has not passed.
    why: String,
}

impl Waiting {
    pub(crate) fn begin(plan: &ServicePlan, log: &File) -> io::Result<Self> {
        let now = clock::now();
        let probe: Box<dyn ProbeCheck> = match &plan.probe {
            Probe::Started | Probe::Listening(_) => Box::new(ListenerCheck),
            Probe::Http(url) => Box::new(HttpCheck::new(url)),
            Probe::Log(regex) => Box::new(LogCheck::new(regex, log)?),
            Probe::Command(_) | Probe::Https(_) => Box::new(CommandCheck::default()),
        };
        Ok(Self {
            since: now,
            deadline: now + plan.ready_timeout,
            why: probe.unanswered(),
            probe,
            not_before: now,
            pause: PAUSE,
        })
    }

    pub(crate) fn check(&mut self, plan: &ServicePlan, found: &PortListeners<'_>) -> io::Result<Readiness> {
        let Ok(listener) = own_listener(plan, found) else {
            self.probe.abandon();
            return Ok(Readiness::NotYet);
        };
        if clock::now() < self.not_before {
            return Ok(Readiness::NotYet);
        }
        Ok(match self.probe.check(listener)? {
            Progress::Passed => Readiness::Ready,
            Progress::Pending => Readiness::NotYet,
            Progress::RunCommand => Readiness::RunCommand,
            Progress::Failed(why) => {
                self.pause_after(why);
                Readiness::NotYet
            }
        })
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Instant {
        let now = clock::now();
        now + interval(now - self.since)
    }

    /// Why the service is not ready, for the message when time runs out.
    pub(crate) fn why(&self, plan: &ServicePlan, found: &PortListeners<'_>) -> String {
        own_listener(plan, found).map_or_else(|not_ours| not_ours.to_string(), |_| self.why.clone())
    }

    /// Whether nothing listens yet on one of its ports.
    pub(crate) fn lacks_listener(&self, plan: &ServicePlan, found: &PortListeners<'_>) -> bool {
        matches!(own_listener(plan, found), Err(NotOurs::NoListener(_)))
    }

    /// Notes that the readiness command was started.
    pub(crate) fn command_started(&mut self, pid: Pid) {
        self.probe.command_started(pid);
    }

    /// Notes that a child exited, which may be the readiness command.
    pub(crate) fn note_exit(&mut self, pid: Pid, status: ExitStatus) {
        if let Some(Progress::Failed(why)) = self.probe.note_exit(pid, status) {
            self.pause_after(why);
        }
    }

    fn pause_after(&mut self, failure: String) {
        self.why = failure;
        self.not_before = clock::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Readable when there is something to check.
    pub(crate) fn wakes_on(&self) -> Option<BorrowedFd<'_>> {
        self.probe.wakes_on()
    }
}

/// The time between two looks at a service of this age.
fn interval(age: Duration) -> Duration {
    (age / PART).clamp(OFTEN, SELDOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_young_service_is_looked_at_more_often() {
        let ms = Duration::from_millis;
        for (age, wanted) in [(0, 2), (500, 2), (1_000, 4), (2_500, 10), (60_000, 10)] {
            assert_eq!(interval(ms(age)), ms(wanted), "{age} ms");
        }
    }
}
