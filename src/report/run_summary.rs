//! The supervisor's summary of a session, made at its end.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::json::{ComponentSummary, PhaseSummary, rounded_seconds};
use super::known_leaks::BaselineSummary;
use super::timeline::{ComponentTimes, Timeline};
use crate::leftovers::Leftovers;
use crate::plan::{PerService, ServiceId};
use crate::runtime::exit_code::Exit;
use crate::scratch::Ended;
use crate::stacks::Stack;
use crate::teardown::{Cause, Component, Context, Role, Verdict};

/// What was found and done after the last process had ended.
#[derive(Clone, Copy)]
pub(crate) struct Aftermath<'a> {
    pub baseline: Option<&'a BaselineSummary>,
    pub leftovers: &'a Leftovers,
    /// The end of the session's temporary directory.
    pub tmp: Option<&'a Ended>,
}

pub(crate) struct RunSummary<'a> {
    pub cause: &'a Cause,
    pub verdict: &'a Verdict,
    pub aftermath: Aftermath<'a>,
    pub timeline: &'a Timeline,
    pub context: &'a Context,
    pub exit: Exit,
    /// The log of each service of the plan; `None` if it was not started.
    pub logs: PerService<Option<PathBuf>>,
    /// What the processes waited for when a hung session was ended.
    pub why: &'a [String],
    pub stacks: &'a [Stack],
}

impl RunSummary<'_> {
    pub(crate) fn command(&self) -> ComponentSummary {
        self.component(&self.timeline.command, |component| component.role == Role::Command)
    }

    /// Summarizes the service with this name and this id in the plan.
    pub(crate) fn service(&self, id: ServiceId, name: &str) -> ComponentSummary {
        let is_service = |component: &Component| component.role == Role::Service && component.name == name;
        self.component(&self.timeline.services[id], is_service)
    }

    /// Why this service ended the session, if it did.
    pub(crate) fn service_problem(&self, id: ServiceId) -> Option<String> {
        let (service, problem) = self.cause.failed_service()?;
        (service == id).then(|| problem.to_string())
    }

    fn component(&self, times: &ComponentTimes, is_it: impl Fn(&Component) -> bool) -> ComponentSummary {
        let index = self.context.components.iter().position(is_it);
        let status = index.and_then(|index| self.context.components[index].status);
        let span = index.and_then(|index| self.verdict.spans.get(index)).copied().unwrap_or_default();
        let killed = self.end_of_phase("kill");
        let gone = span.gone.map(|at| self.timeline.at(at));
        let gone = gone.or(span.asked.and(killed)).or(times.ended).or(killed).filter(|_| index.is_some());
        let signal = status.and_then(|status| status.signal());
        let signal = signal.and_then(|signal| Signal::try_from(signal).ok());
        ComponentSummary {
            started_at_seconds: times.started.map(rounded_seconds),
            ready_at_seconds: times.ready.map(rounded_seconds),
            stop_requested_at_seconds: span.asked.map(|at| rounded_seconds(self.timeline.at(at))),
            exited_at_seconds: times.ended.map(rounded_seconds),
            gone_at_seconds: gone.map(rounded_seconds),
            exit_code: status.and_then(|status| status.code()),
            signal: signal.map(|signal| signal.to_string()),
        }
    }

    fn end_of_phase(&self, name: &str) -> Option<Duration> {
        let phase = self.verdict.phases.iter().find(|(phase, _)| *phase == name);
        phase.map(|(_, ended)| self.timeline.at(*ended))
    }

    /// The phases of the teardown, each of which starts when the one before it ends.
    pub(crate) fn phases(&self) -> Vec<PhaseSummary> {
        let mut started = self.timeline.teardown.unwrap_or_default();
        let phase = |&(name, ended)| {
            let ended = self.timeline.at(ended);
            let started = std::mem::replace(&mut started, ended);
            let (started_at_seconds, ended_at_seconds) = (rounded_seconds(started), rounded_seconds(ended));
            PhaseSummary { name, started_at_seconds, ended_at_seconds }
        };
        self.verdict.phases.iter().map(phase).collect()
    }
}
