//! Says what the processes of a running session wait for.

use std::os::fd::{AsFd, BorrowedFd};

use super::running_session::Session;
use crate::containment::LeafName;
use crate::leaks::InheritedMarks;
use crate::plan::ServiceId;
use crate::stacks::{Intrusion, Stack, stacks};
use crate::sys::signals::Signals;
use crate::sys::terminal;
use crate::why::{Explanation, Subject};

/// What stands before each line: `cgrun:   `.
const INDENT: usize = 9;

/// What the processes of a hung session waited for.
#[derive(Debug, Default)]
pub(super) struct Hang {
    /// For people.
    pub lines: Vec<String>,
    pub stacks: Vec<Stack>,
}

impl Session<'_> {
    /// Prints what the processes wait for, and where in their code, and returns the same.
    pub(super) fn report_running_processes(&self, intrusion: Intrusion) -> Hang {
        let requests = requests();
        let interruption = requests.as_ref().map(AsFd::as_fd);
        let explanation = Explanation::of(self.subjects(), 0, InheritedMarks::ours(), interruption);
        self.report_explanation(&explanation, intrusion, interruption)
    }

    /// The same for a service that is not ready, and for its readiness command. Nothing if neither runs.
    pub(super) fn report_what_service_waits_for(&self, service: ServiceId) -> Hang {
        let name = &self.plan.services[service].name;
        let is_its = |leaf: &LeafName| match leaf {
            LeafName::Service(it) | LeafName::Probe(it) => it == name,
            LeafName::Command => false,
        };
        let subjects = self.subjects();
        if !subjects.iter().any(|(_, leaf)| leaf.as_ref().is_some_and(is_its)) {
            return Hang::default();
        }
        let requests = requests();
        let interruption = requests.as_ref().map(AsFd::as_fd);
        let explanation = Explanation::of_components(subjects, InheritedMarks::ours(), interruption, is_its);
        self.report_explanation(&explanation, Intrusion::Brief, interruption)
    }

    fn subjects(&self) -> Vec<Subject> {
        let members = self.context.components.iter().flat_map(|component| {
            let members = component.leaf.members().unwrap_or_default();
            members.into_iter().map(|pid| (pid, Some(component.leaf_name())))
        });
        members.collect()
    }

    fn report_explanation(
        &self,
        explanation: &Explanation,
        intrusion: Intrusion,
        interruption: Option<BorrowedFd<'_>>,
    ) -> Hang {
        let stacks = stacks(&explanation.suspects(), &self.plan.diagnose, intrusion, interruption);
        let width = terminal::stderr_is_a_terminal().then(|| terminal::columns().saturating_sub(INDENT));
        explanation.lines(width, &stacks).iter().for_each(|line| self.report.error(&format!("  {line}")));
        Hang { lines: explanation.lines(None, &stacks), stacks }
    }
}

/// Whoever wants us to exit does not have to wait until we have looked, nor for the tools.
fn requests() -> Option<Signals> {
    Signals::about_ending().ok()
}
