//! The state that all phases of a teardown share, and how they wait.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::Pid;

use super::asked::Asked;
use super::cancelled::Cancelled;
use super::component::Component;
use super::context::Context;
use super::layers::Cause;
use super::stop_requests::StopRequests;
use super::time_budget::TimeBudget;
use super::verdict::Verdict;
use crate::runtime::events::{Event, Events, Wake};
use crate::sys::process::children::{self, ReapedByKernel};
use crate::sys::procfs::walk;
use crate::sys::signals::Caught;
use crate::sys::time::Instant;
use crate::text::plain;

/// Children are reaped for at most this long before anything else is checked.
const REAPING: Duration = Duration::from_millis(200);

/// Lets the supervisor act while its session is torn down.
pub(crate) trait Supervisor {
    fn announce(&self, _message: &str) {}

    /// A signal has asked cgrun to exit.
    fn note_request(&mut self, _signal: Signal) {}

    /// Replaces the guardian if it was killed, so that another process could still finish the teardown.
    fn ensure_guardian(&mut self, _context: &mut Context) {}
}

/// The supervisor is dead.
pub(crate) struct NoSupervisor;

impl Supervisor for NoSupervisor {}

pub(crate) struct Teardown<'a> {
    pub(super) context: &'a mut Context,
    pub(super) cause: &'a Cause,
    pub(super) verdict: Verdict,
    pub(super) requests: StopRequests,
    pub(super) budget: TimeBudget,
    pub(super) asked: Asked,
    /// The children that we had at the start of the teardown.
    pub(super) first_children: Vec<Pid>,
    /// Processes that were killed in the containment and have not exited in time. They have not escaped.
    pub(super) unkillable: Vec<Pid>,
    /// Whether podman's monitors have had time to finish before all was killed.
    pub(super) monitors_had_time: bool,
    pub(super) reaped_by_kernel: Option<ReapedByKernel>,
    events: &'a Events,
    supervisor: &'a mut dyn Supervisor,
}

impl<'a> Teardown<'a> {
    pub(crate) fn new(
        context: &'a mut Context,
        cause: &'a Cause,
        events: &'a Events,
        supervisor: &'a mut dyn Supervisor,
    ) -> Self {
        let mut verdict = Verdict::new(&context.allow);
        verdict.allowed_by_tests =
            context.leak_log.as_ref().map(|log| log.read().allowed).unwrap_or_default();
        Self {
            verdict,
            requests: StopRequests::new(cause),
            budget: TimeBudget::new(context.stop_within, cause.received().is_some_and(has_waiting_sender)),
            asked: Asked::default(),
            first_children: Vec::new(),
            unkillable: Vec::new(),
            monitors_had_time: false,
            reaped_by_kernel: None,
            context,
            cause,
            events,
            supervisor,
        }
    }

    pub(super) fn ensure_guardian(&mut self) {
        self.supervisor.ensure_guardian(self.context);
    }

    /// Notes the work of a command that is still running, because the teardown cancels it.
    pub(super) fn note_cancellation(&mut self) {
        if self.context.command().is_some_and(Component::is_running_command) {
            let noted = self.context.note_cancellation(self.cause.received());
            self.verdict.expect(noted);
        }
        if let (Some(_), Err(error)) = (&self.context.cancelled, walk::check()) {
            self.verdict.unknown(format!("cannot determine which processes leaked: {error}"));
        }
        self.context.cancelled.take_if(|it| !it.is_recent(self.context.grace));
        let asked = self.context.cancelled.iter().flat_map(Cancelled::asked_by_terminal);
        asked.for_each(|(process, signal)| self.asked.note(process, signal));
    }

    /// Waits until one of `wakes` is ready, a child exits, a signal arrives, or `until` has passed.
    pub(super) fn wait(&mut self, wakes: &[Wake<'_>], until: Instant) {
        let events = self.events.wait(wakes, Some(until));
        let events = events.map_err(|error| format!("cannot wait for events (ppoll): {}", plain(&error)));
        for event in self.verdict.expect(events).unwrap_or_default() {
            if let Event::Signal(caught) = event {
                if caught.is_about_ending() {
                    self.supervisor.note_request(caught.signal);
                }
            }
            match event {
                Event::Exited(pid, status) => self.context.note_exit(pid, status),
                Event::Signal(caught) if self.requests.note(caught) => {
                    if has_waiting_sender(caught) {
                        self.budget.limit(self.context.stop_within.after_signal);
                    }
                    self.supervisor.announce(&format!(
                        "received {} while cleaning up; send it again to kill everything now",
                        caught.signal
                    ));
                }
                Event::Signal(_) => {}
            }
        }
    }

    /// Reaps the children that have exited.
    pub(super) fn reap(&mut self) -> io::Result<()> {
        let (ended, _) = children::reap(REAPING)?;
        ended.into_iter().for_each(|(pid, status)| self.context.note_exit(pid, status));
        Ok(())
    }
}

/// Whether the signal comes from a program that may kill us later, and not from a key or a hangup.
fn has_waiting_sender(caught: Caught) -> bool {
    !caught.from_terminal
}
