//! Says what the processes of a running session wait for.

use super::running_session::Session;
use crate::containment::LeafName;
use crate::leaks::InheritedMarks;
use crate::plan::ServiceId;
use crate::sys::terminal;
use crate::why::{Explanation, Subject};

/// What stands before each line: `cgrun:   `.
const INDENT: usize = 9;

impl Session<'_> {
    /// Prints what the processes wait for, and returns those lines.
    pub(super) fn report_running_processes(&self) -> Vec<String> {
        self.report_explanation(&Explanation::of(self.subjects(), 0, InheritedMarks::ours()))
    }

    /// The same for a service that is not ready, and for its readiness command. Nothing if neither runs.
    pub(super) fn report_what_service_waits_for(&self, service: ServiceId) -> Vec<String> {
        let name = &self.plan.services[service].name;
        let is_its = |leaf: &LeafName| match leaf {
            LeafName::Service(it) | LeafName::Probe(it) => it == name,
            LeafName::Command => false,
        };
        let subjects = self.subjects();
        if !subjects.iter().any(|(_, leaf)| leaf.as_ref().is_some_and(is_its)) {
            return Vec::new();
        }
        self.report_explanation(&Explanation::of_components(subjects, InheritedMarks::ours(), is_its))
    }

    fn subjects(&self) -> Vec<Subject> {
        let members = self.context.components.iter().flat_map(|component| {
            let members = component.leaf.members().unwrap_or_default();
            members.into_iter().map(|pid| (pid, Some(component.leaf_name())))
        });
        members.collect()
    }

    fn report_explanation(&self, explanation: &Explanation) -> Vec<String> {
        let width = terminal::stderr_is_a_terminal().then(|| terminal::columns().saturating_sub(INDENT));
        explanation.lines(width).iter().for_each(|line| self.report.error(&format!("  {line}")));
        explanation.lines(None)
    }
}
